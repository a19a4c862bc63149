"""A curve in characters: dots of Braille, with axes, for terminals. Pure.

Invariants:
    - A long series is drawn in columns one dot wide, each from its least to its
      greatest value, so no spike is lost, whatever the size of the picture.
    - NaN and the infinities are marks of their own above and below the plot, never
      part of the scale: `×` NaN, `↑` infinity, `↓` minus infinity, and on a logarithmic
      axis what is not above zero.

A character has two dots across and four down.
Source of their bits: Unicode, "Braille Patterns" (U+2800).
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlog.reader.condense import Column, above_zero, columns_of
from mlog.reader.numbers import labelled_ticks

__all__ = ["LEAST_WIDTH", "Range", "braille_plot", "range_of"]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_EMPTY = 0x2800
LEAST_WIDTH = 24
"""Characters of a line, at least."""

_LEAST_HEIGHT = 3
_WIDEST_LABEL = 12
_ROWS_PER_TICK = 3
_TICK_ROOM = 10


@dataclass(frozen=True, slots=True)
class Range:
    """What the axes of a plot reach over.

    Attributes:
        left: Least step.
        right: Greatest step.
        low: Least finite value; NaN when there is none.
        high: Greatest finite value, likewise.
    """

    left: float
    right: float
    low: float
    high: float


def range_of(
    series: Collection[tuple[Collection[Any], Collection[Any]]], *, log: bool = False
) -> Range | None:
    """Return the range of several series together; None without any point.

    Args:
        series: Steps and values of each.
        log: Whether the y axis is logarithmic.
    """
    found = [_columns(steps, values, 1, log) for steps, values in series]
    columns = [column for one in found for column in one]
    if not columns:
        return None
    low = min((c.low for c in columns if c.is_drawn), default=math.nan)
    high = max((c.high for c in columns if c.is_drawn), default=math.nan)
    left, right = min(c.first for c in columns), max(c.last for c in columns)
    return Range(left, right, low, high)


def braille_plot(
    steps: Collection[Any],
    values: Collection[Any],
    *,
    width: int = 80,
    height: int = 12,
    log: bool = False,
    within: Range | None = None,
) -> list[str]:
    """Draw one metric over its steps as lines of text.

    Args:
        steps: Position of each value, in any order; they may repeat.
        values: The values; what is no number counts as NaN.
        width: Characters of a line at most, at least 24.
        height: Lines of the plot itself, at least 3; axis and marks come on top.
        log: Whether the y axis is logarithmic.
        within: Range of the axes, that plots beside each other can be compared. None:
            that of the points. Every point must lie in it.

    Raises:
        ValueError: Too small a picture, or not as many steps as values.
    """
    if width < LEAST_WIDTH or height < _LEAST_HEIGHT:
        least = f"{LEAST_WIDTH} × {_LEAST_HEIGHT}"
        raise ValueError(f"a plot needs at least {least}, got {width} × {height}")
    within = within or range_of([(steps, values)], log=log)
    if within is None:
        return ["no points"]
    if math.isnan(within.low):
        return [f"no {'values above 0' if log else 'finite values'}"]
    labels = _y_labels(within, height, log)
    margin = max(map(len, labels.values()))
    grid = _Grid(within, width - margin - 2, height, log)
    columns = _columns(steps, values, grid.across, log)
    grid.draw(columns)
    return [
        *_marks(columns, grid, margin, "up"),
        *_rows(grid, labels, margin),
        *_x_axis(grid, margin),
        *_marks(columns, grid, margin, "down"),
    ]


def _columns(
    steps: Collection[Any], values: Collection[Any], most: int, log: bool
) -> list[Column]:
    return columns_of(steps, above_zero(values) if log else values, most)


# --- dots --------------------------------------------------------------------------


class _Grid:
    """The dots of a plot, and which of them stand for a step and a value.

    Attributes:
        within: What the edges stand for.
        width: In characters, like `height`.
        across: Dots from left to right.
    """

    def __init__(self, within: Range, width: int, height: int, log: bool) -> None:
        self.within = within
        self.width, self.height = width, height
        self.across = width * 2
        self._scale: Callable[[float], float] = math.log10 if log else float
        self._ends = self._scale(within.low), self._scale(within.high)
        self._cells = [[_EMPTY] * width for _ in range(height)]

    def draw(self, columns: list[Column]) -> None:
        """Set the dots of all columns, and those between neighbours."""
        for column in columns:
            if column.is_drawn:
                self._rise(self.x(column.middle), column.low, column.high)
        for one, other in pairwise(columns):
            if one.is_drawn and other.is_drawn:  # else there is a gap
                self._line(one, other)

    def lines(self) -> Iterator[str]:
        """Yield the plot, the upper line first."""
        for cells in self._cells:
            yield "".join(" " if c == _EMPTY else chr(c) for c in cells)

    def x(self, step: float) -> int:
        """Return the dot of a step, from the left."""
        share = _share(step, (self.within.left, self.within.right))
        return round(share * (self.across - 1))

    def y(self, value: float) -> int:
        """Return the dot of a finite value, from the top."""
        share = _share(self._scale(value), self._ends)
        return round((1 - share) * (self.height * 4 - 1))

    def _rise(self, x: int, low: float, high: float) -> None:
        for y in range(self.y(high), self.y(low) + 1):
            self._set(x, y)

    def _line(self, one: Column, other: Column) -> None:
        """Draw a straight line from the last value of a column to that of the next."""
        x, y = self.x(one.middle), self.y(one.end)
        right, down = self.x(other.middle) - x, self.y(other.end) - y
        count = max(abs(right), abs(down))
        for n in range(1, count):
            self._set(x + round(right * n / count), y + round(down * n / count))

    def _set(self, x: int, y: int) -> None:
        self._cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]


def _share(value: float, ends: tuple[float, float]) -> float:
    """Return where a number lies between two others, from 0 to 1."""
    span = ends[1] / 2 - ends[0] / 2  # halves: the difference may be no float
    if not span > 0:
        return 0.5
    return min(1.0, max(0.0, (value / 2 - ends[0] / 2) / span))


# --- axes --------------------------------------------------------------------------


def _y_labels(within: Range, height: int, log: bool) -> dict[float, str]:
    """Return the ticks of the y axis that have room, the greatest first."""
    most = max(2, height // _ROWS_PER_TICK)
    ticks, labels = labelled_ticks(within.low, within.high, most, log=log)
    pairs = zip(ticks, labels, strict=True)
    return {tick: label[:_WIDEST_LABEL] for tick, label in reversed([*pairs])}


def _rows(grid: _Grid, labels: dict[float, str], margin: int) -> Iterator[str]:
    """Yield the lines of the plot with the y axis on their left."""
    beside: dict[int, str] = {}
    for tick, label in labels.items():
        beside.setdefault(grid.y(tick) // 4, label)
    for number, line in enumerate(grid.lines()):
        label = beside.get(number, "")
        edge = "┤" if label else "│"
        yield f"{label:>{margin}} {edge}{line}".rstrip()


def _x_axis(grid: _Grid, margin: int) -> Iterator[str]:
    """Yield the line below the plot, and the labels of its ticks."""
    left, right = grid.within.left, grid.within.right
    most = max(2, grid.width // _TICK_ROOM)
    pairs = zip(*labelled_ticks(left, right, most), strict=True)
    ticks = [(tick, label) for tick, label in pairs]
    whole = [(tick, label) for tick, label in ticks if tick.is_integer()]
    line, text = ["─"] * grid.width, [" "] * (grid.width + margin + 2)
    free = 0
    for tick, label in whole or ticks:
        place = grid.x(tick) // 2
        begin = min(place + margin + 2 - len(label) // 2, len(text) - len(label))
        if begin < free:
            continue
        line[place] = "┬"
        text[begin : begin + len(label)] = label
        free = begin + len(label) + 1
    yield f"{'':{margin}} └{''.join(line)}"
    yield "".join(text).rstrip()


def _marks(columns: list[Column], grid: _Grid, margin: int, side: str) -> Iterator[str]:
    """Yield a line of marks for what is not finite, if there is any."""
    line = [" "] * grid.width
    for column in columns:
        place = grid.x(column.middle) // 2
        if side == "down" and column.down:
            line[place] = "↓"
        elif side == "up" and column.nan:
            line[place] = "×"
        elif side == "up" and column.up and line[place] == " ":
            line[place] = "↑"
    if any(mark != " " for mark in line):
        yield f"{'':{margin}}  {''.join(line)}".rstrip()
