"""When a run is ended early, under the SDK's names."""

from collections.abc import Callable
from typing import Any

from mlog.azureml.train.hyperdrive.exceptions import HyperDriveConfigException
from mlog.launch.sweep_stop import Bandit, Median, Rule, Truncation

__all__ = [
    "BanditPolicy",
    "EarlyTerminationPolicy",
    "MedianStoppingPolicy",
    "NoTerminationPolicy",
    "TruncationSelectionPolicy",
]


class EarlyTerminationPolicy:
    """Base of the policies.

    Attributes:
        evaluation_interval: Every how many values of the primary metric a run is
            looked at.
        delay_evaluation: How many values it has at least before that.
        rule: What it comes to. None: no run is ended.
    """

    rule: Rule | None = None

    def __init__(self, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        """Remember the numbers."""
        self.evaluation_interval = evaluation_interval
        self.delay_evaluation = delay_evaluation


class NoTerminationPolicy(EarlyTerminationPolicy):
    """Ends no run early."""

    def __init__(self) -> None:
        """Do nothing."""
        super().__init__()


class BanditPolicy(EarlyTerminationPolicy):
    """Ends runs that are not within a distance of the best one.

    Attributes:
        slack_factor, slack_amount: The distance, as a part or as an amount.
    """

    def __init__(
        self,
        evaluation_interval: int = 1,
        slack_factor: float | None = None,
        slack_amount: float | None = None,
        delay_evaluation: int = 0,
    ) -> None:
        """Describe when a run is ended.

        Raises:
            HyperDriveConfigException: A number is wrong.
        """
        super().__init__(evaluation_interval, delay_evaluation)
        self.slack_factor = slack_factor
        self.slack_amount = slack_amount
        self.rule = _made(
            Bandit,
            interval=evaluation_interval,
            delay=delay_evaluation,
            slack_factor=slack_factor,
            slack_amount=slack_amount,
        )


class MedianStoppingPolicy(EarlyTerminationPolicy):
    """Ends runs that are worse at their best than the median of the others' means."""

    def __init__(self, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        """Describe when a run is ended.

        Raises:
            HyperDriveConfigException: A number is wrong.
        """
        super().__init__(evaluation_interval, delay_evaluation)
        self.rule = _made(Median, interval=evaluation_interval, delay=delay_evaluation)


class TruncationSelectionPolicy(EarlyTerminationPolicy):
    """Ends the worst runs.

    Attributes:
        truncation_percentage: How many of a hundred.
    """

    def __init__(
        self,
        truncation_percentage: int,
        evaluation_interval: int = 1,
        delay_evaluation: int = 0,
    ) -> None:
        """Describe when a run is ended.

        Raises:
            HyperDriveConfigException: A number is wrong.
        """
        super().__init__(evaluation_interval, delay_evaluation)
        self.truncation_percentage = truncation_percentage
        self.rule = _made(
            Truncation,
            interval=evaluation_interval,
            delay=delay_evaluation,
            percentage=truncation_percentage,
        )


def _made(kind: Callable[..., Rule], **numbers: Any) -> Rule:
    try:
        return kind(**numbers)
    except ValueError as exc:
        raise HyperDriveConfigException(str(exc)) from exc
