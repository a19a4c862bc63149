"""A series in few numbers: columns of a picture, and a summary. Pure.

A column keeps its least and greatest value, so no spike is lost. NaN and the infinities
are counted: never left out, and never part of the range.
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

__all__ = [
    "Column",
    "Summary",
    "above_zero",
    "columns_of",
    "finite_of",
    "floats_of",
    "summarize",
]


@dataclass(frozen=True, slots=True)
class Column:
    """What is drawn at one place of the x axis.

    Attributes:
        first: Step of its first point.
        last: Step of its last point.
        low: Least finite value; NaN when there is none.
        high: Greatest finite value; NaN when there is none.
        end: Last finite value; NaN when there is none.
        count: Number of points, finite or not.
        nan: How many of them are NaN.
        up: How many are infinite.
        down: How many are minus infinity.
    """

    first: float
    last: float
    low: float
    high: float
    end: float
    count: int
    nan: int = 0
    up: int = 0
    down: int = 0

    @property
    def middle(self) -> float:
        """Step at which the column is drawn."""
        return self.first + (self.last - self.first) / 2

    @property
    def is_drawn(self) -> bool:
        """Whether there is a finite value."""
        return not math.isnan(self.low)


@dataclass(frozen=True, slots=True)
class Summary:
    """A series in some numbers.

    Attributes:
        count: Number of points, finite or not.
        last: Value of the greatest step; NaN without points.
        low: Least finite value; NaN when there is none.
        high: Greatest finite value; NaN when there is none.
        last_step: Step of `last`; NaN without points, like the next two.
        low_step: Step at which `low` was first reached.
        high_step: Step at which `high` was first reached.
        nan: How many points are NaN.
        up: How many are infinite.
        down: How many are minus infinity.
    """

    count: int = 0
    last: float = math.nan
    low: float = math.nan
    high: float = math.nan
    last_step: float = math.nan
    low_step: float = math.nan
    high_step: float = math.nan
    nan: int = 0
    up: int = 0
    down: int = 0


def summarize(steps: Collection[Any], values: Collection[Any]) -> Summary:
    """Return last, least and greatest value of a series, and what is not finite.

    Args:
        steps: Position of each value, in any order.
        values: The values; what is no number counts as NaN.
    """
    at, of = _points(steps, values)
    finite = finite_of(of)
    if not of:
        return Summary()
    low = min(finite, default=math.nan)
    high = max(finite, default=math.nan)
    nan, up, down = _odd_ones(of) if len(finite) < len(of) else (0, 0, 0)
    return Summary(
        *(len(of), of[-1], low, high, at[-1]),
        *(at[of.index(low)] if finite else math.nan,),
        *(at[of.index(high)] if finite else math.nan,),
        *(nan, up, down),
    )


def columns_of(
    steps: Collection[Any], values: Collection[Any], most: int
) -> list[Column]:
    """Return a series as at most so many columns of equal width, from left to right.

    Up to `most` points are a column each. Places without a point have no column.

    Args:
        steps: Position of each value, in any order; they may repeat.
        values: The values; what is no number counts as NaN.
        most: Greatest number of columns, at least 1.
    """
    at, of = _points(steps, values)
    if len(of) <= most:
        return [_column([x], [y]) for x, y in zip(at, of, strict=True)]
    spans = pairwise(_edges(at, most))
    return [_column(at[a:b], of[a:b]) for a, b in spans if a < b]


def above_zero(values: Collection[Any]) -> list[float]:
    """Return values for a logarithmic axis: what it cannot show is minus infinity."""
    return [-math.inf if value <= 0 else value for value in floats_of(values)]


def floats_of(numbers: Collection[Any]) -> list[float]:
    """Return a list or array as floats."""
    plain = numbers.tolist() if hasattr(numbers, "tolist") else numbers
    try:
        return [*map(float, plain)]
    except (TypeError, ValueError, OverflowError):
        return [*map(_float, plain)]


def finite_of(numbers: list[float]) -> list[float]:
    """Return the finite ones; the list itself where all are."""
    if math.isfinite(sum(numbers)):  # a sum is many times faster than a look at each
        return numbers
    return [*filter(math.isfinite, numbers)]


def _points(
    steps: Collection[Any], values: Collection[Any]
) -> tuple[list[float], list[float]]:
    """Return steps and values as floats, by rising step."""
    of = floats_of(values)
    at = floats_of(steps)
    if len(at) != len(of):
        raise ValueError(f"expected as many steps as values, got {len(at)}, {len(of)}")
    if len(finite_of(at)) < len(at):  # no axis can show these
        at = [float(n) for n in range(len(of))]
    if any(a > b for a, b in pairwise(at)):
        order = sorted(range(len(at)), key=at.__getitem__)
        at, of = [at[n] for n in order], [of[n] for n in order]
    return at, of


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return math.nan


def _odd_ones(values: list[float]) -> tuple[int, int, int]:
    """Count NaN, infinity and minus infinity."""
    nan = sum(map(math.isnan, values))
    return nan, values.count(math.inf), values.count(-math.inf)


def _column(at: list[float], of: list[float]) -> Column:
    finite = finite_of(of)
    nan, up, down = _odd_ones(of) if len(finite) < len(of) else (0, 0, 0)
    if not finite:
        void = math.nan
        return Column(at[0], at[-1], void, void, void, len(of), nan, up, down)
    low, high, end = min(finite), max(finite), finite[-1]
    return Column(at[0], at[-1], low, high, end, len(of), nan, up, down)


def _edges(at: list[float], count: int) -> Iterator[int]:
    """Yield where columns of equal width begin in the points, and the end."""
    span = at[-1] - at[0]
    yield 0
    for n in range(1, count):
        yield bisect_left(at, at[0] + span * (n / count))
    yield len(at)
