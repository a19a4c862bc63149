"""When a trial is ended early: rules that compare it with the others, as it goes on.

A rule sees the series of the sweep's metric: each value that a trial has logged counts
as one interval. Trials are compared at the same interval, so that none is ended for
being younger. Pure.

Source of the rules: Azure ML SDK v1, `azureml.train.hyperdrive`, and Golovin et al.,
"Google Vizier", section 3.2.2 (median).
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from mlog.launch.sweep_domains import number_from

__all__ = [
    "Bandit",
    "Median",
    "Rule",
    "Series",
    "Truncation",
    "better",
    "parse_stop",
    "rule_from",
    "rule_to",
]


class Series:
    """Finite values of one trial, in order, and what they came to up to each of them.

    Attributes:
        bests: The best value up to and with each.
        means: The mean up to and with each.
    """

    def __init__(self, values: Iterable[float] = (), *, minimize: bool) -> None:
        """Begin with some values; `minimize`: whether a lesser one is better."""
        self.bests: list[float] = []
        self.means: list[float] = []
        self._minimize = minimize
        self._sum = 0.0
        for value in values:
            self.add(value)

    def add(self, value: float) -> None:
        """Add the next value."""
        self._sum += value
        best = better((value, *self.bests[-1:]), self._minimize)
        self.bests.append(best)
        self.means.append(self._sum / (len(self.means) + 1))

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self.bests)


@dataclass(frozen=True, slots=True)
class Rule:
    """What all rules share.

    Attributes:
        interval: Every how many values a trial is looked at.
        delay: How many values a trial has at least before it is looked at.
    """

    interval: int = 1
    delay: int = 0

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: They are none of such a rule.
        """
        for key, least in (("interval", 1), ("delay", 0)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(
                    f"{key} of {self.name} must be an integer >= {least}, got {value!r}"
                )

    def judge(
        self, own: Series, others: Iterable[Series], new: int, *, minimize: bool
    ) -> str | None:
        """Say why a trial is to be ended; None: it goes on.

        Args:
            own: Its values.
            others: Those of all other trials, also of ended ones.
            new: How many of its values have not been judged yet; they are the last.
            minimize: Whether a lesser value is better.
        """
        rivals = [series for series in others if len(series)]
        for count in range(len(own) - new + 1, len(own) + 1):
            if count % self.interval or count < max(1, self.delay):
                continue
            why = self._judge(own.bests[count - 1], rivals, count, minimize)
            if why is not None:
                return f"{self.name}: {why} after {count} value{'s'[: count > 1]}"
        return None

    def _judge(
        self, best: float, others: Sequence[Series], count: int, minimize: bool
    ) -> str | None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Median(Rule):
    """Ends what is worse at its best than the median of the others' averages."""

    name: ClassVar[str] = "median"

    def _judge(
        self, best: float, others: Sequence[Series], count: int, minimize: bool
    ) -> str | None:
        means = [s.means[count - 1] for s in others if len(s) >= count]
        if not means:
            return None
        middle = statistics.median(means)
        is_same = math.isclose(best, middle, rel_tol=1e-9)  # means are rounded
        if is_same or better((best, middle), minimize) == best:
            return None
        return f"{best:.6g} is worse than {middle:.6g}"


@dataclass(frozen=True, slots=True)
class Bandit(Rule):
    """Ends what is not within a distance of the best.

    Attributes:
        slack_factor: The distance as a part: with 0.1 and a best accuracy of 0.8 a
            trial below 0.8 / 1.1 is ended; with a best loss of 0.8 one above 0.88.
        slack_amount: The distance as an amount. One of the two is given.
    """

    slack_factor: float | None = None
    slack_amount: float | None = None

    name: ClassVar[str] = "bandit"

    def __post_init__(self) -> None:
        """Check the numbers."""
        Rule.__post_init__(self)
        given = [s for s in (self.slack_factor, self.slack_amount) if s is not None]
        if len(given) != 1:
            raise ValueError("bandit takes either slack_factor or slack_amount")
        if not _is_number(given[0]) or given[0] < 0:
            raise ValueError(f"the slack of bandit must be >= 0, got {given[0]!r}")

    def _judge(
        self, best: float, others: Sequence[Series], count: int, minimize: bool
    ) -> str | None:
        bests = [s.bests[min(count, len(s)) - 1] for s in others]
        if not bests:
            return None
        limit = self._loosened(better(bests, minimize), minimize)
        if better((best, limit), minimize) == best:
            return None
        return f"{best:.6g} is worse than {limit:.6g}"

    def _loosened(self, best: float, minimize: bool) -> float:
        """Return the worst value that is near enough to the best."""
        if self.slack_amount is not None:
            return best + self.slack_amount if minimize else best - self.slack_amount
        assert self.slack_factor is not None
        part = 1 + self.slack_factor
        return best * part if minimize == (best >= 0) else best / part


@dataclass(frozen=True, slots=True)
class Truncation(Rule):
    """Ends the worst ones.

    Attributes:
        percentage: How many of a hundred; from 1 to 99.
    """

    percentage: float = 20

    name: ClassVar[str] = "truncation"

    def __post_init__(self) -> None:
        """Check the numbers."""
        Rule.__post_init__(self)
        if not _is_number(self.percentage) or not 1 <= self.percentage <= 99:
            raise ValueError(
                f"percentage of truncation must be from 1 to 99, got {self.percentage!r}"
            )

    def _judge(
        self, best: float, others: Sequence[Series], count: int, minimize: bool
    ) -> str | None:
        bests = [s.bests[count - 1] for s in others if len(s) >= count]
        worse = sum(b != best and better((b, best), minimize) == best for b in bests)
        out = math.floor((len(bests) + 1) * self.percentage / 100)
        if worse >= out or all(b == best for b in bests):
            return None
        return f"{best:.6g} is among the worst {self.percentage:g} %"


_RULES: Mapping[str, type[Rule]] = {
    rule.name: rule for rule in (Median, Bandit, Truncation)
}


def parse_stop(text: str) -> Rule:
    """Read `NAME` or `NAME:key=value,…`.

    Raises:
        ValueError: There is no such rule, or it has no such number.
    """
    name, _, rest = text.partition(":")
    rule = _RULES.get(name)
    if rule is None:
        raise ValueError(f"there is no rule {name!r}; there are {', '.join(_RULES)}")
    given: dict[str, Any] = {}
    keys = [field.name for field in fields(rule)]
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if key not in keys:
            raise ValueError(f"{name} takes {', '.join(keys)}; got {item!r}")
        given[key] = number_from(value.strip())
        if isinstance(given[key], str):
            raise ValueError(f"{key} of {name} must be a number, got {value!r}")
    if rule is Bandit and not given.keys() & {"slack_factor", "slack_amount"}:
        given["slack_factor"] = 0.1
    return rule(**given)


def rule_to(rule: Rule) -> dict[str, Any]:
    """Return a rule as JSON."""
    return {"name": rule.name, **asdict(rule)}


def rule_from(said: Mapping[str, Any]) -> Rule:
    """Return the rule in JSON that `rule_to` has made.

    Raises:
        ValueError, KeyError, TypeError: It is none.
    """
    given = dict(said)
    return _RULES[given.pop("name")](**given)


def better(values: Iterable[float], minimize: bool) -> float:
    """Return the best of some values."""
    return min(values) if minimize else max(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
