"""The picture of one metric as an inline SVG. Pure.

Invariants:
    - A long series is drawn in columns (`condense`), so no spike is lost, whatever the
      size of the picture.
    - NaN and the infinities are marks of their own: never left out, and never part of
      the scale.
    - Nothing that was logged can act on the page or the screen: texts are escaped,
      control characters shown. An SVG is XML of its own without script, ids or links.
"""

import html
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from mlog.escaping import escape, inline
from mlog.reader.condense import (
    Column,
    Summary,
    above_zero,
    columns_of,
    summarize,
)
from mlog.reader.numbers import exact, labelled_ticks, nice_ticks, short, tick_texts

__all__ = ["Frame", "axes", "curve", "marks", "markup", "picture", "svg_curve"]

_HEAD, _FOOT, _EDGE = 18.0, 15.0, 6.0  # pixels above, below and right of the plot
_LETTER = 6.0  # pixels of a character of a label, 10 px high
_TITLE_LETTER = 6.4  # the same of the title, which is bold and 11 px high
_TEXT_HEIGHT = 11.0  # least distance of the labels of the y axis
_MARK = 7.0  # least distance of two marks of a kind
_MAX_DOTS = 20  # points that get a dot each

# Mid tones with a contrast of at least 3:1 on white and on near black; a page that
# knows its background sets the variables.
_LINE = "var(--mlog-line,#2f7fc4)"
_BAD = "var(--mlog-bad,#d6453d)"


def markup(text: str) -> str:
    """Return the text for HTML or XML, also inside of quotes; controls are shown."""
    return html.escape(escape(text))


# --- a curve -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the plot lies in the picture, and what its edges stand for.

    Attributes:
        left: Pixels from the picture's left edge, like `right`.
        top: Pixels from the picture's upper edge, like `bottom`.
        xs: Least and greatest step.
        ys: Least and greatest value of the y axis, on its scale.
        scale: Takes a value to the y axis: itself, or its logarithm.
    """

    left: float
    right: float
    top: float
    bottom: float
    xs: tuple[float, float]
    ys: tuple[float, float]
    scale: Callable[[float], float]

    def x(self, step: float) -> float:
        """Return the pixel of a step; the middle where there is only one."""
        return self.left + (self.right - self.left) * _share(step, self.xs)

    def y(self, value: float) -> float:
        """Return the pixel of a finite value."""
        share = _share(self.scale(value), self.ys)
        return self.bottom - (self.bottom - self.top) * share


def svg_curve(
    steps: Collection[Any],
    values: Collection[Any],
    *,
    title: str,
    width: int = 260,
    height: int = 90,
    log: bool = False,
) -> str:
    """Draw one metric over its steps as an inline SVG with axes.

    More points than fit are drawn as the band from the least to the greatest value of
    each column two pixels wide, with a line through the last ones. NaN and infinities
    are marks at the edge. The picture's tooltip has the exact last, least and greatest
    value, that of each place those which are drawn there.

    Texts and axes have the colour of the text around; `--mlog-line` and `--mlog-bad`
    (CSS variables) are the colours of the line and of marks.

    Args:
        steps: Position of each value, in any order; they may repeat.
        values: The values; what is no number counts as NaN.
        title: Name of the metric.
        width: Pixels, at least 120.
        height: Pixels, at least 60.
        log: Whether the y axis is logarithmic; values that are not positive are marked
            like minus infinity.

    Raises:
        ValueError: Not as many steps as values, or too small a picture.
    """
    if width < 120 or height < 60:
        raise ValueError(
            f"a curve needs at least 120 × 60 pixels, got {width}×{height}"
        )
    found = summarize(steps, values)
    of = above_zero(values) if log else values
    columns = columns_of(steps, of, max(1, (width - 40) // 2))
    parts = [_heading(title, found, width)]
    if any(column.is_drawn for column in columns):
        parts += _plot(columns, width, height, log)
    else:
        parts += _empty(columns, found, width, height)
    return picture(parts, _description(title, found, log, of), width, height)


def picture(parts: Iterable[str], description: str, width: int, height: int) -> str:
    """Return an SVG of parts that are SVG, with a text as its tooltip."""
    text = markup(description)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img"'
        ' font-family="system-ui,sans-serif" font-size="10" fill="currentColor"'
        ' style="max-width:100%;font-variant-numeric:tabular-nums">'
        f"<title>{text}</title>{''.join(parts)}</svg>"
    )


def _description(title: str, found: Summary, log: bool, values: Collection[Any]) -> str:
    """Say in words what the picture shows."""
    if not found.count:
        return f"{title}: no points"
    parts = [f"{title}: {found.count:,} point{'s' if found.count > 1 else ''}"]
    parts.append(f"last {exact(found.last)} at step {exact(found.last_step)}")
    if not math.isnan(found.low):
        parts.append(f"min {exact(found.low)} at step {exact(found.low_step)}")
        parts.append(f"max {exact(found.high)} at step {exact(found.high_step)}")
    parts += _odd_texts(found.nan, found.up, found.down)
    if log:
        below = sum(value == -math.inf for value in values) - found.down
        parts += [f"{below:,} not above 0, below the log scale"] if below else []
    return "; ".join(parts)


def _odd_texts(nan: int, up: int, down: int) -> list[str]:
    counts = {"NaN": nan, "Infinity": up, "-Infinity": down}
    return [f"{count:,} × {name}" for name, count in counts.items() if count]


def _heading(title: str, found: Summary, width: int) -> str:
    """Name the metric on the left and its last value on the right."""
    value = short(found.last) if found.count else ""
    room = int((width - 8 - len(value) * _TITLE_LETTER) / _TITLE_LETTER)
    name = title if len(title) <= room else "…" + title[-max(1, room - 1) :]
    return (
        f'<text x="2" y="11" font-size="11" font-weight="600">{markup(inline(name))}'
        f'</text><text x="{width - _EDGE:g}" y="11" font-size="11"'
        f' text-anchor="end">{value}</text>'
    )


def _empty(
    columns: list[Column], found: Summary, width: int, height: int
) -> Iterator[str]:
    """Say that there is no curve, and mark where points are that have no place."""
    text = "no finite values" if found.count else "no points"
    if found.count and not math.isnan(found.low):
        text = "no values above 0"
    yield (
        f'<text x="{width / 2:g}" y="{height / 2 + 6:g}" text-anchor="middle"'
        f' opacity=".75">{text}</text>'
    )
    if columns:
        xs = (columns[0].first, columns[-1].last)
        bottom = height - _FOOT
        frame = Frame(8, width - _EDGE, _HEAD, bottom, xs, (0, 1), float)
        yield _x_axis(frame)
        yield from marks(columns, frame)


def _plot(columns: list[Column], width: int, height: int, log: bool) -> Iterator[str]:
    frame, lines = axes(columns, width, height, log)
    yield lines
    yield from curve(columns, frame)
    yield from marks(columns, frame)
    yield _tooltips(columns, frame)


def axes(
    columns: list[Column], width: int, height: int, log: bool
) -> tuple[Frame, str]:
    """Return a frame that columns of one or more series fit in, and its axes as SVG.

    Args:
        columns: At least one with a finite value; above zero, if `log`.
        width: Of the picture in pixels, like `height`.
        log: Whether the y axis is logarithmic.
    """
    drawn = [column for column in columns if column.is_drawn]
    low, high = min(c.low for c in drawn), max(c.high for c in drawn)
    scale = math.log10 if log else float
    ys = _padded(scale(low), scale(high))
    bottom = height - _FOOT
    most = max(2, int((bottom - _HEAD) // 20))
    ticks, labels = labelled_ticks(low, high, most, log=log)
    left = min(width * 0.45, 8 + _LETTER * max(map(len, labels)))
    xs = (min(c.first for c in columns), max(c.last for c in columns))
    frame = Frame(left, width - _EDGE, _HEAD, bottom, xs, ys, scale)
    return frame, _y_axis(frame, ticks, labels) + _x_axis(frame)


def _padded(low: float, high: float) -> tuple[float, float]:
    """Widen a range a little, so that the curve does not lie on the frame."""
    if low == high:
        room = abs(low) * 0.1 or 1.0
    else:
        room = high * 0.04 - low * 0.04
    low, high = low - room, high + room
    return (max(low, -1.7e308), min(high, 1.7e308))


def _share(value: float, ends: tuple[float, float]) -> float:
    """Return where a number lies between two others, from 0 to 1."""
    span = ends[1] / 2 - ends[0] / 2  # halves: the difference may be no float
    if not span > 0:
        return 0.5
    return min(1.0, max(0.0, (value / 2 - ends[0] / 2) / span))


# --- parts of the picture ----------------------------------------------------------


def _y_axis(frame: Frame, ticks: list[float], labels: list[str]) -> str:
    """Return thin lines across the plot and their labels on its left."""
    left, right = _n(frame.left), _n(frame.right)
    lines, texts, below = "", "", math.inf
    for tick, label in zip(ticks, labels, strict=True):
        y = frame.y(tick)
        if below - y < _TEXT_HEIGHT:  # on a logarithmic axis they come nearer
            continue
        lines += f"M{left} {_n(y)}H{right}"
        x = _n(frame.left - 4)
        texts += f'<text x="{x}" y="{_n(y)}" dy="3.5">{label}</text>'
        below = y
    return (
        f'<path d="{lines}" stroke="currentColor" stroke-opacity=".14"/>'
        f'<g text-anchor="end" fill-opacity=".78">{texts}</g>'
    )


def _x_axis(frame: Frame) -> str:
    """Return the line below the plot with its labels."""
    low, high = frame.xs
    width = frame.right - frame.left
    ticks = _whole(nice_ticks(low, high, max(2, int(width // 55))))
    labels = tick_texts(ticks)
    texts = "".join(
        _x_label(frame, frame.x(tick), label)
        for tick, label in zip(ticks, labels, strict=True)
    )
    tips = "".join(f"M{_n(frame.x(tick))} {_n(frame.bottom)}v3" for tick in ticks)
    path = f"M{_n(frame.left)} {_n(frame.bottom)}H{_n(frame.right)}{tips}"
    return (
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".45"/>'
        f'<g fill-opacity=".78">{texts}</g>'
    )


def _whole(ticks: list[float]) -> list[float]:
    """Leave out the ticks between two steps, unless nothing else is there."""
    return [tick for tick in ticks if tick.is_integer()] or ticks


def _x_label(frame: Frame, x: float, label: str) -> str:
    """Return a label in the middle under its tick, but inside of the picture."""
    half = len(label) * _LETTER / 2
    x = min(x, frame.right + _EDGE - half - 1)
    return (
        f'<text x="{_n(x)}" y="{_n(frame.bottom + 12)}" text-anchor="middle">'
        f"{label}</text>"
    )


def curve(columns: list[Column], frame: Frame) -> Iterator[str]:
    """Yield the band, the line and the dots; a place without a value is a gap."""
    runs = [list(run) for drawn, run in groupby(columns, lambda c: c.is_drawn) if drawn]
    if any(column.low < column.high for run in runs for column in run):
        band = "".join(_band(run, frame) for run in runs)
        yield (
            f'<path class="mlog-band" d="{band}" style="fill:{_LINE};stroke:{_LINE}" fill-opacity=".32"'
            ' stroke-opacity=".6" stroke-linejoin="round"/>'
        )
    line = "".join(_polyline(run, frame) for run in runs)
    yield (
        f'<path class="mlog-line" d="{line}" fill="none" style="stroke:{_LINE}" stroke-width="1.5"'
        ' stroke-linejoin="round" stroke-linecap="round"/>'
    )
    dots = [run[0] for run in runs if len(run) == 1]
    if len(columns) <= _MAX_DOTS:
        dots = [column for run in runs for column in run]
    if dots:
        path = "".join(f"M{_at(c, c.end, frame)}h0" for c in dots)
        yield (
            f'<path d="{path}" fill="none" style="stroke:{_LINE}" stroke-width="4.5"'
            ' stroke-linecap="round"/>'
        )


def _band(run: list[Column], frame: Frame) -> str:
    """Return the outline of a band: along the greatest values, back along the least."""
    there = [_at(column, column.high, frame) for column in run]
    back = [_at(column, column.low, frame) for column in reversed(run)]
    return f"M{'L'.join(there + back)}Z"


def _polyline(run: list[Column], frame: Frame) -> str:
    return f"M{'L'.join(_at(column, column.end, frame) for column in run)}"


def _at(column: Column, value: float, frame: Frame) -> str:
    return f"{_n(frame.x(column.middle))} {_n(frame.y(value))}"


def marks(columns: list[Column], frame: Frame) -> Iterator[str]:
    """Yield crosses and arrows for what is not finite, and shade how far it reaches."""
    kinds = (
        ("nan", [c for c in columns if c.nan], "m-3 0l6 6m0-6l-6 6", frame.top),
        ("up", [c for c in columns if c.up], "m-3.5 6l3.5-6l3.5 6z", frame.top),
        ("down", [c for c in columns if c.down], "m-3.5-6h7l-3.5 6z", frame.bottom),
    )
    if any(found for _, found, _, _ in kinds):
        yield _shade(columns, frame)
    for name, found, shape, y in kinds:
        places = _apart(frame.x(column.middle) for column in found)
        path = "".join(f"M{_n(x)} {_n(y)}{shape}" for x in places)
        if path:
            fill = "none" if name == "nan" else _BAD
            yield (
                f'<path class="mlog-{name}" d="{path}" style="fill:{fill};stroke:{_BAD}"'
                ' stroke-width="1.6" stroke-linejoin="round"/>'
            )


def _shade(columns: list[Column], frame: Frame) -> str:
    """Return a faint area over all columns with something that is not finite."""
    path = ""
    for is_odd, run in groupby(columns, lambda c: bool(c.nan or c.up or c.down)):
        if not is_odd:
            continue
        ends = [*run]
        left = max(frame.left, frame.x(ends[0].first) - 1)
        right = min(frame.right, frame.x(ends[-1].last) + 1)
        path += (
            f"M{_n(left)} {_n(frame.top)}H{_n(right)}V{_n(frame.bottom)}H{_n(left)}Z"
        )
    return f'<path d="{path}" style="fill:{_BAD}" fill-opacity=".16"/>'


def _apart(places: Iterable[float]) -> Iterator[float]:
    """Leave out places too near to the one before."""
    before = -math.inf
    for place in places:
        if place - before >= _MARK:
            yield place
            before = place


def _tooltips(columns: list[Column], frame: Frame) -> str:
    """Return an area without colour around each column, whose tooltip has its values."""
    middles = [frame.x(column.middle) for column in columns]
    inner = [(a + b) / 2 for a, b in pairwise(middles)]
    ends = [frame.left, *inner, frame.right]
    areas = "".join(
        f'<path d="M{_n(a)} {_n(frame.top)}H{_n(b)}V{_n(frame.bottom)}H{_n(a)}Z">'
        f"<title>{_values_text(column)}</title></path>"
        for column, (a, b) in zip(columns, pairwise(ends), strict=True)
    )
    return f'<g fill="none" pointer-events="all">{areas}</g>'


def _values_text(column: Column) -> str:
    """Say what one column shows."""
    first, last = exact(column.first), exact(column.last)
    where = f"step {first}" if first == last else f"steps {first} to {last}"
    odd = _odd_texts(column.nan, column.up, column.down)
    if column.count == 1 and not odd:
        return f"{where}: {exact(column.end)}"
    if not column.is_drawn:
        return f"{where}: {', '.join(odd)}"
    ends = [f"min {exact(column.low)}", f"max {exact(column.high)}"]
    return f"{where}: {', '.join([*ends, f'last {exact(column.end)}', *odd])}"


def _n(number: float) -> str:
    """Return a coordinate to a tenth of a pixel."""
    return f"{number:.1f}".removesuffix(".0")
