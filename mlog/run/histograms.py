"""Histograms: values counted in bins, as NumPy counts. Pure.

Bins are half-open, the last one is closed. NumPy counts what is in its arrays; all else
is counted here, with the same result and without loading it.

Source: `numpy.histogram`.
"""

import sys
from bisect import bisect_right
from collections.abc import Sequence
from itertools import compress, pairwise
from math import isfinite, prod
from typing import Any, TypeAlias

from mlog.errors import warn_once
from mlog.plain import MAX_ITEMS
from mlog.run.images import Grid, grid_of
from mlog.run.tables import cell

__all__ = ["Bins", "check_edges", "edges_of", "histogram", "histogram_value"]

Bins: TypeAlias = "int | Sequence[float] | Any"
"""How many bins, or their edges."""

_MAX_BINS = MAX_ITEMS - 1


def histogram_value(
    values: Any = None,
    *,
    bins: Bins = 10,
    range: tuple[float, float] | None = None,
    weights: Any = None,
    edges: Any = None,
    counts: Any = None,
) -> dict[str, Any]:
    """Return the `mlog.histogram` value of values, or of bins that were counted before.

    Args:
        values, bins, range, weights: As for `histogram`.
        edges, counts: Of a histogram that is there already; instead of `values`.

    Raises:
        ValueError: Both or neither were given, or they do not fit together.
        TypeError: They are no numbers.
    """
    if (values is None) == (edges is None and counts is None):
        raise ValueError("a histogram needs values, or edges and counts, and not both")
    if values is not None:
        found = histogram(values, bins=bins, range=range, weights=weights)
        return {"type": "mlog.histogram", "edges": found[0], "counts": found[1]}
    ready_edges = _numbers(edges, "edges")
    ready_counts = _numbers(counts, "counts")
    check_edges(ready_edges, len(ready_counts), "edges", "counts")
    if len(ready_counts) > _MAX_BINS:
        raise _too_many(len(ready_counts))
    return {"type": "mlog.histogram", "edges": ready_edges, "counts": ready_counts}


def histogram(
    values: Any,
    *,
    bins: Bins = 10,
    range: tuple[float, float] | None = None,
    weights: Any = None,
) -> tuple[list[Any], list[Any]]:
    """Return edges and counts, as `numpy.histogram` counts.

    NumPy itself counts what is in its arrays. NaN and the infinities are left out,
    with one warning.

    Args:
        values: Numbers in any shape.
        bins: How many bins of one width, or their edges, which must not decrease. For
            an array, also the name of one of NumPy's rules, like "auto".
        range: Lowest and highest edge; by default the least and greatest value. What
            lies outside is not counted.
        weights: What each value counts for, in the shape of the values.

    Raises:
        ValueError: Bins, range or weights that make no histogram.
        TypeError: No numbers.
    """
    if isinstance(bins, int) and bins > _MAX_BINS:
        raise _too_many(bins)
    grid = grid_of(values, "a histogram")
    weighed = None if weights is None else grid_of(weights, "weights")
    if weighed is not None and prod(weighed.shape) != prod(grid.shape):
        raise ValueError(
            f"weights must be as many as values: {prod(weighed.shape)} weights, "
            f"{prod(grid.shape)} values"
        )
    count = _count_array if grid.is_array else _count_list
    edges, counts = count(grid, bins, range, weighed)
    if len(counts) > _MAX_BINS:
        raise _too_many(len(counts))
    return edges, counts


def edges_of(
    numbers: list[Any], bins: Bins, limits: tuple[float, float] | None
) -> list[Any]:
    """Return the edges of bins.

    Args:
        numbers: What is to be counted, finite.
        bins: How many bins, or their edges.
        limits: Lowest and highest edge. None: the least and greatest of the numbers.

    Raises:
        ValueError: They make no bins.
        TypeError: They are no numbers.
    """
    if isinstance(bins, str):
        raise ValueError(
            f"bins={bins!r} needs values in a NumPy array; give a number of bins or their edges"
        )
    if not isinstance(bins, int):
        single = cell(bins)
        if not isinstance(single, int) or hasattr(bins, "__len__"):
            return _given_edges(bins)
        bins = single
    if bins < 1 or isinstance(bins, bool):
        raise ValueError(f"bins must be at least 1, got {bins}")
    low, high = _outer_edges(numbers, limits)
    width = (high - low) / bins
    found = [place * width + low for place in range(bins)] + [high]
    if not all(a < b for a, b in pairwise(found)):
        raise ValueError(f"too many bins for the range: {bins} from {low} to {high}")
    return found


def check_edges(edges: list[Any], count: int, name: str, other: str) -> None:
    """Raise ValueError for what are no edges of so many counts.

    Args:
        edges: Numbers.
        count: How many counts there are.
        name, other: What the message calls edges and counts.
    """
    if len(edges) != count + 1:
        raise ValueError(
            f"{name} must be one more than {other}: {len(edges)} edges, {count} counts"
        )
    if not all(map(isfinite, edges)):
        raise ValueError(f"{name} must be finite numbers")
    if any(a > b for a, b in pairwise(edges)):
        raise ValueError(f"{name} must not decrease")


def _too_many(count: int) -> ValueError:
    return ValueError(f"a histogram has at most {_MAX_BINS:,} bins, got {count:,}")


def _count_array(
    grid: Grid, bins: Bins, limits: tuple[float, float] | None, weights: Grid | None
) -> tuple[list[Any], list[Any]]:
    numpy: Any = sys.modules["numpy"]
    values = grid.values.ravel()
    weighed = None if weights is None else numpy.asarray(weights.values).ravel()
    if grid.kind == "b":
        values = values.astype("u1")
    if grid.kind == "f":
        values = values.astype("f8")
        keep = numpy.isfinite(values)
        if not keep.all():
            _tell_left_out(int((~keep).sum()), values.size)
            values = values[keep]
            weighed = None if weighed is None else weighed[keep]
    counts, edges = numpy.histogram(values, bins, limits, weights=weighed)
    return edges.tolist(), counts.tolist()


def _count_list(
    grid: Grid, bins: Bins, limits: tuple[float, float] | None, weights: Grid | None
) -> tuple[list[Any], list[Any]]:
    numbers: list[Any] = grid.flat()
    weighed: list[Any] = [1] * len(numbers) if weights is None else weights.flat()
    keep = [isfinite(number) for number in numbers]
    if not all(keep):
        _tell_left_out(keep.count(False), len(keep))
        numbers = list(compress(numbers, keep))
        weighed = list(compress(weighed, keep))
    edges = edges_of(numbers, bins, limits)
    zero = 0.0 if weights is not None and weights.kind == "f" else 0
    return edges, _counted(numbers, edges, weighed, zero)


def _tell_left_out(gone: int, count: int) -> None:
    text = f"{gone} of {count} values of a histogram are NaN or infinite"
    warn_once("non-finite histogram", f"{text}; they are left out")


def _given_edges(bins: Any) -> list[Any]:
    found = _numbers(bins, "bins")
    if len(found) < 2:
        raise ValueError(f"edges of bins must be two or more, got {len(found)}")
    if any(a > b for a, b in pairwise(found)):
        raise ValueError("edges of bins must not decrease")
    return found


def _outer_edges(
    numbers: list[Any], limits: tuple[float, float] | None
) -> tuple[float, float]:
    if limits is not None:
        low, high = float(limits[0]), float(limits[1])
        if not (isfinite(low) and isfinite(high)) or low > high:
            text = "range must be two finite numbers, the lower one first"
            raise ValueError(f"{text}, got {limits!r}")
    elif numbers:
        low, high = float(min(numbers)), float(max(numbers))
    else:
        low, high = 0.0, 1.0
    if low == high:
        return low - 0.5, high + 0.5
    if not isfinite(high - low):
        raise ValueError(f"the range from {low} to {high} is too wide for bins")
    return low, high


def _counted(
    numbers: list[Any], edges: list[Any], weights: list[Any], zero: float
) -> list[Any]:
    """Count; a value on an edge belongs to the bin that begins there."""
    counts: list[Any] = [zero] * (len(edges) - 1)
    low, high, last = edges[0], edges[-1], len(counts) - 1
    for number, weight in zip(numbers, weights, strict=True):
        if low <= number <= high:
            counts[min(bisect_right(edges, number) - 1, last)] += weight
    return counts


def _numbers(values: Any, name: str) -> list[Any]:
    """Return a flat list of finite numbers."""
    if values is None:
        raise ValueError(f"{name} is missing: a histogram needs edges and counts")
    grid = grid_of(values, name)
    found = grid.flat()
    if len(grid.shape) != 1:
        raise ValueError(f"{name} must be a flat list of numbers")
    if not all(map(isfinite, found)):
        raise ValueError(f"{name} must be finite numbers")
    return found
