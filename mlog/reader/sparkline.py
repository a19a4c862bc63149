"""A series as one line of Unicode blocks, for terminals. Pure."""

import math
from collections.abc import Collection
from itertools import pairwise
from typing import Any

from mlog.reader.condense import finite_of, floats_of

__all__ = ["sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_NAN, _UP, _DOWN = "×", "↑", "↓"


def sparkline(values: Collection[Any], width: int = 24) -> str:
    """Draw a series as one line of Unicode blocks of eight heights.

    Up to `width` values are a block each. Of more, two blocks each stand for the least
    and the greatest value of a stretch, in their order, so that spikes stay. `×` is a
    NaN, `↑` and `↓` are the infinities; in a stretch with some of these the mark stands
    beside the value that is farther from the middle of the whole range.

    Args:
        values: In their order; what is no number counts as NaN.
        width: Most characters to return, at least 2.
    """
    if width < 2:
        raise ValueError(f"width must be at least 2, got {width!r}")
    of = floats_of(values)
    finite = finite_of(of)
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if len(of) > width:
        middle = low / 2 + high / 2
        pairs = width // 2
        cuts = [len(of) * n // pairs for n in range(pairs + 1)]
        of = [v for a, b in pairwise(cuts) for v in _two_of(of[a:b], middle)]
    return "".join(_block(value, low, high) for value in of)


def _two_of(values: list[float], middle: float) -> list[float]:
    """Return what two blocks show of a stretch."""
    finite = finite_of(values)
    odd = next((v for v in values if not math.isfinite(v)), None)
    if not finite:
        return [values[0], values[-1]]
    low, high = min(finite), max(finite)
    if odd is None:
        pair = [low, high]
    else:
        pair = [high if high - middle >= middle - low else low, odd]
    return sorted(pair, key=lambda one: _place(values, one))


def _place(values: list[float], wanted: float) -> int:
    """Return where a value first stands; NaN equals nothing, so it is asked for."""
    if math.isnan(wanted):
        return next(n for n, value in enumerate(values) if math.isnan(value))
    return values.index(wanted)


def _block(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return _NAN
    if math.isinf(value):
        return _UP if value > 0 else _DOWN
    span = high / 2 - low / 2
    if span <= 0:
        return _BLOCKS[3]
    return _BLOCKS[min(7, int((value / 2 - low / 2) / span * 8))]
