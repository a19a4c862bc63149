"""One metric of several runs in one picture, as an inline SVG without script. Pure.

Each run has a colour and a dash pattern of its own, the same in all pictures. The
colours are CSS variables of the page, `--run-1` to `--run-4`: four that also people who
see fewer colours can tell apart, and then again with other dashes.
"""

from collections.abc import Iterator, Sequence

from mlog.reader.condense import Column, columns_of, summarize
from mlog.reader.curves import Frame, axes, curve, marks, markup, picture
from mlog.reader.numbers import exact, short
from mlog.reader.page_words import one_line
from mlog.reader.series import History

__all__ = ["MOST_RUNS", "overlay", "swatch"]

_COLOURS = 4
_DASHES = ("", "7 3", "2 3", "9 3 2 3")

MOST_RUNS = _COLOURS * len(_DASHES)
"""Runs that can be told apart in a picture."""

_WIDTH, _HEIGHT = 420, 190


def overlay(name: str, histories: Sequence[tuple[int, str, History]]) -> str:
    """Draw one metric of several runs over the same axes.

    Args:
        name: The metric's.
        histories: Place of the run, which chooses its colour; its name; its points.

    Returns:
        An SVG; "" where no run has a finite value.
    """
    most = _columns_for(len(histories))
    found = [
        (n, run, h, columns_of(h.steps, h.values, most)) for n, run, h in histories
    ]
    everything = [column for *_, columns in found for column in columns]
    if not any(column.is_drawn for column in everything):
        return ""
    frame, lines = axes(everything, _WIDTH, _HEIGHT, log=False)
    parts = [_title(name), lines]
    parts += [_run(n, _words(run, h), columns, frame) for n, run, h, columns in found]
    words = [name, *(_words(run, h) for _, run, h, _ in found)]
    return picture(parts, "\n".join(words), _WIDTH, _HEIGHT)


def swatch(place: int) -> str:
    """Return a short line as a run is drawn; "" for one that is in no picture."""
    if place >= MOST_RUNS:
        return ""
    return (
        '<svg class="swatch" width="30" height="10" viewBox="0 0 30 10"'
        ' aria-hidden="true"><path d="M1 5h28" fill="none" stroke-width="2.5"'
        f' style="stroke:{_colour(place)}"{_dash(place)}/></svg>'
    )


def _columns_for(runs: int) -> int:
    """Return how many columns a curve has: fewer where many keep the page large."""
    return max(60, (_WIDTH - 40) // 2 // (1 + runs // 6))


def _title(name: str) -> str:
    text = markup(one_line(name, 66))
    return f'<text x="2" y="11" font-size="11" font-weight="600">{text}</text>'


def _run(place: int, words: str, columns: list[Column], frame: Frame) -> str:
    """Return one run's curve in its colour, with its numbers as a tooltip."""
    colour = _colour(place)
    return (
        f'<g style="--mlog-line:{colour};--mlog-bad:{colour}">'
        f"<title>{markup(words)}</title><g{_dash(place)}>"
        f"{''.join(_curve(columns, frame))}</g>{''.join(marks(columns, frame))}</g>"
    )


def _curve(columns: list[Column], frame: Frame) -> Iterator[str]:
    if any(column.is_drawn for column in columns):
        yield from curve(columns, frame)


def _words(run: str, history: History) -> str:
    """Say in words what a curve shows."""
    found = summarize(history.steps, history.values)
    odd = found.nan + found.up + found.down
    more = f", {odd:,} not finite" if odd else ""
    return (
        f"{run}: last {short(found.last)} at step {exact(found.last_step)}, "
        f"min {short(found.low)}, max {short(found.high)}{more}"
    )


def _colour(place: int) -> str:
    return f"var(--run-{place % _COLOURS + 1})"


def _dash(place: int) -> str:
    dash = _DASHES[place // _COLOURS % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""
