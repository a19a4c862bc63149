"""Which combinations of a space are tried: all, some by chance, or those of a list.

The trials of a sampling are numbered, and each is the same whenever it is asked for: a
sweep that was killed goes on with the same ones. Only the Bayesian one looks at what
the trials before have given.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mlog.launch.sweep_domains import MAX_TRIALS, Distribution, Past, Value
from mlog.launch.sweep_space import Space

__all__ = [
    "Bayesian",
    "Grid",
    "Listed",
    "Random",
    "Sampling",
    "check_trials",
    "sampling_from",
]


@dataclass(frozen=True, slots=True)
class Grid:
    """All combinations of a space.

    Attributes:
        space: Without distributions.
        most: After how many to stop. None: all.
    """

    space: Space
    most: int | None = None

    def __post_init__(self) -> None:
        """Refuse a space without end, or with too many combinations.

        Raises:
            ValueError: It is one.
        """
        for name, domain in self.space.domains.items():
            if isinstance(domain, Distribution):
                raise ValueError(
                    f"{name}: {domain.text} has no end, so that a grid of it has none; "
                    "give a step (FIRST:LAST:STEP), or draw some (--random N)"
                )
        check_trials(self.count)

    @property
    def count(self) -> int:
        """How many trials there are."""
        size = self.space.size
        assert size is not None
        return size if self.most is None else min(size, self.most)

    def params(self, number: int, past: Past, *, minimize: bool) -> dict[str, Value]:
        """Return the params of a trial; the last parameter changes first."""
        return self.space.at(number)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"kind": "grid", "space": self.space.to_json(), "most": self.most}


@dataclass(frozen=True, slots=True)
class Random:
    """Combinations by chance, none twice where there are enough.

    Attributes:
        space: Where they are drawn from.
        most: How many; fewer where the space has fewer.
        seed: The same seed gives the same trials.
    """

    space: Space
    most: int
    seed: int
    _order: dict[int, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a wrong count.

        Raises:
            ValueError: It is none.
        """
        check_trials(self.most)
        size = self.space.size
        if size is not None and size <= 1 << 60:
            places = random.Random(self.seed).sample(range(size), self.count)
            self._order.update(enumerate(places))

    @property
    def count(self) -> int:
        """How many trials there are."""
        size = self.space.size
        return self.most if size is None else min(self.most, size)

    def params(self, number: int, past: Past, *, minimize: bool) -> dict[str, Value]:
        """Return the params of a trial."""
        if number in self._order:
            return self.space.at(self._order[number])
        chance = random.Random(f"{self.seed}/{number}")
        domains = self.space.domains.items()
        return {name: domain.draw(chance) for name, domain in domains}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        said = {"kind": "random", "space": self.space.to_json()}
        return {**said, "most": self.most, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Listed:
    """Combinations that are given.

    Attributes:
        trials: The params of each.
    """

    trials: Sequence[Mapping[str, Value]]

    def __post_init__(self) -> None:
        """Refuse too few and too many.

        Raises:
            ValueError: There is none, or there are too many.
        """
        check_trials(len(self.trials))

    @property
    def count(self) -> int:
        """How many trials there are."""
        return len(self.trials)

    def params(self, number: int, past: Past, *, minimize: bool) -> dict[str, Value]:
        """Return the params of a trial."""
        return dict(self.trials[number])

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; the trials themselves, which may be many, are left out."""
        return {"kind": "list", "count": self.count}


@dataclass(frozen=True, slots=True)
class Bayesian:
    """Combinations that past ones make promising, by Optuna.

    Attributes:
        space: Where they are chosen from.
        most: How many.
        seed: For what is left to chance.
    """

    space: Space
    most: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse a wrong count, and a machine without Optuna.

        Raises:
            ValueError: It is none, or the space has what Optuna has no word for.
            ImportError: Optuna is not installed.
        """
        from mlog.launch.sweep_optuna import check_space

        check_trials(self.most)
        check_space(self.space)

    @property
    def count(self) -> int:
        """How many trials there are."""
        return self.most

    def params(self, number: int, past: Past, *, minimize: bool) -> dict[str, Value]:
        """Return the params of a trial; depends on what has ended by now."""
        from mlog.launch.sweep_optuna import suggest

        seed = self.seed + number
        return suggest(self.space, past, minimize=minimize, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        said = {"kind": "bayesian", "space": self.space.to_json()}
        return {**said, "most": self.most, "seed": self.seed}


Sampling: TypeAlias = Grid | Random | Listed | Bayesian
"""Which trials there are. Each has:

- `count`: how many there are;
- `params(number, past, minimize=…)`: the params of a trial, numbered from 0; only the
  Bayesian one looks at what has ended before, the others say the same at any time;
- `to_json()`: itself as JSON, with a key `kind`.
"""


def sampling_from(
    said: Mapping[str, Any], trials: Sequence[Mapping[str, Value]]
) -> Sampling:
    """Return the sampling in JSON that `to_json` has made.

    Args:
        said: The JSON.
        trials: Those of a `Listed`.

    Raises:
        ValueError, KeyError, TypeError: It is none.
    """
    if said["kind"] == "list":
        return Listed(list(trials))
    space = Space.from_json(said["space"])
    match said:
        case {"kind": "grid", "most": most}:
            return Grid(space, most)
        case {"kind": "random", "most": most, "seed": seed}:
            return Random(space, most, seed)
        case {"kind": "bayesian", "most": most, "seed": seed}:
            return Bayesian(space, most, seed)
    raise ValueError(f"{said['kind']!r} is no way of sampling")


def check_trials(count: object) -> None:
    """Refuse a number of trials that is none.

    Raises:
        ValueError: It is no integer, below 1, or above the most there may be.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"the number of trials must be an integer >= 1, got {count!r}")
    if count > MAX_TRIALS:
        raise ValueError(
            f"{count:,} trials are too many; a sweep has at most {MAX_TRIALS:,} "
            "(--random N draws some of them)"
        )
