"""A tracker for Hugging Face's Accelerate.

accelerator = Accelerator(log_with=MLogTracker("my-experiment"))
accelerator.init_trackers("my-experiment", config={"lr": 0.1})
"""

from collections.abc import Mapping
from typing import Any

from mlog.adapters import AdapterRun, framework, plain_params
from mlog.run.api import Run

__all__ = ["MLogTracker"]

framework("accelerate")
_Base: Any = framework("accelerate.tracking", "accelerate").GeneralTracker


class MLogTracker(_Base):  # type: ignore[misc]  # known when it runs
    """Logs what `accelerator.log` is given, on the main process.

    Attributes:
        name: What Accelerate calls it.
        requires_logging_directory: False: runs go where mlog's go.
    """

    name = "mlog"
    requires_logging_directory = False

    def __init__(
        self, experiment: str | None = None, *, run: Run | None = None, **options: Any
    ) -> None:
        """Prepare; no run is started.

        Args:
            experiment: Experiment of a run of its own.
            run: The run to log to. None: the active one, else one of its own, which
                ends with `accelerator.end_training()`.
            options: Further ones of `start_run`.
        """
        super().__init__()
        self._own = AdapterRun(run, experiment=experiment, **options)

    @property
    def tracker(self) -> Run:
        """The run."""
        return self._own.run

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Keep the configuration as params."""
        self._own.run.log_params(plain_params(values))

    def log(
        self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any
    ) -> None:
        """Log numbers and texts."""
        self._own.run.log_metrics(values, step)

    def finish(self) -> None:
        """End a run of its own."""
        self._own.end()
