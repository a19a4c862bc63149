"""`mlog compare`: several runs side by side."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.completing import complete_run
from mlog.cli.lines import wants_colour
from mlog.cli.options import RunCommand, dir_option, find, typed
from mlog.cli.table import fit, pad, painted, print_lines, width_of
from mlog.reader.braille import LEAST_WIDTH, braille_plot, range_of
from mlog.reader.compare import (
    ABSENT,
    Comparison,
    MetricRow,
    Row,
    compare,
    delta_text,
    number_json,
    read_runs,
)
from mlog.reader.condense import Summary
from mlog.reader.numbers import short
from mlog.reader.page_facts import SAMPLE, Page
from mlog.reader.page_words import one_line, rest_text, value_text
from mlog.reader.series import History
from mlog.widths import text_width

__all__ = ["command", "typed"]

_BOLD, _DIM = "\x1b[1m", "\x1b[2m"
_GAP = "  "
_MAX_LABEL, _MIN_CELL, _MAX_CELL, _MAX_NAME = 36, 16, 44, 22
_MOST = 40  # rows of a part, where not all are asked for
_PLOTS = 6
_PLOT_LINES = 6
_NUMBERS = (("last", "last"), ("min", "low"), ("max", "high"))
_ALWAYS = ("id", "status", "duration", "commit")

_EXAMPLES = """\b
Examples:
  mlog compare                      the two newest runs
  mlog compare baseline latest -2   with the first as the one to compare with
  mlog compare -2 latest --plot
  mlog compare a1b2c3 d4e5f6 --packages --json | jq .params
"""


@click.command("compare", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "runs", metavar="[RUN RUN…]", nargs=-1, callback=typed, shell_complete=complete_run
)
@click.option("--all", "is_all", is_flag=True, help="Also what is the same in all.")
@click.option("--packages", is_flag=True, help="Also the packages that differ.")
@click.option("--plot", is_flag=True, help="Also curves, all with the same axes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@dir_option
def command(
    runs: tuple[str, ...],
    is_all: bool,
    packages: bool,
    plot: bool,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Show runs side by side: what differs, and what came out.

    Params and tags that differ, then last, least and greatest value of each metric with
    the distance to the first RUN, then facts such as duration and commit. Without a RUN
    the two newest are compared.
    """
    if len(runs) == 1:
        raise click.UsageError("give two or more runs, or none for the two newest")
    folders = [find(run, dir_) for run in runs or ("-2", "latest")]
    found = compare(read_runs(folders, most=_PLOTS if plot else 1))
    if as_json:
        print_lines([orjson.dumps(_json(found, is_all=is_all)).decode()])
        return
    width = width_of(sys.stdout, os.environ)
    colour = wants_colour(sys.stdout, os.environ)
    parts = _parts(found, is_all=is_all, packages=packages)
    lines = _blocks(found, list(parts), width, colour)
    print_lines(chain(lines, _plots(found, width) if plot else ()))


# --- what is shown -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the table.

    Attributes:
        label: What stands on its left.
        cells: One for each run.
        is_minor: Whether it stands back behind the line above.
    """

    label: str
    cells: Sequence[str]
    is_minor: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """Some lines below a title.

    Attributes:
        title: What they are; "" for the first.
        lines: None where `note` says all.
        note: Said below them.
    """

    title: str
    lines: list[_Line] = field(default_factory=list)
    note: str = ""


def _parts(found: Comparison, *, is_all: bool, packages: bool) -> Iterator[_Part]:
    yield _pairs_part("params", found.params, is_all)
    yield _pairs_part("tags", found.tags, is_all)
    yield _metrics_part(found.metrics, is_all)
    facts = [r for r in found.facts if is_all or r.differs or r.name in _ALWAYS]
    yield _Part("runs", list(map(_pair, facts)))
    if found.unknown:
        text = f"packages of {', '.join(map(one_line, found.unknown))} are not known"
        yield _Part("", note=text)
        return
    if packages or is_all:
        yield _pairs_part("packages", found.packages, is_all)
        return
    different = sum(row.differs for row in found.packages)
    if different:
        noun = "package differs" if different == 1 else "packages differ"
        yield _Part("", note=f"{different:,} {noun}: --packages shows them")


def _pairs_part(title: str, rows: Sequence[Row], is_all: bool) -> _Part:
    """Return what differs, or everything; and how much is left out."""
    if not rows:
        return _Part("")
    different = [row for row in rows if row.differs]
    if is_all:
        count = (
            f"{len(different):,} of {len(rows):,} differ"
            if different
            else "all the same"
        )
        return _Part(f"{title} ({count})", list(map(_pair, rows)))
    if not different:
        return _Part(f"{title}: all {len(rows):,} the same")
    more = len(different) - _MOST
    return _Part(
        f"{title} that differ ({len(different):,} of {len(rows):,})",
        list(map(_pair, different[:_MOST])),
        f"{rest_text(more)}: --all" if more > 0 else "",
    )


def _pair(row: Row) -> _Line:
    cells = ["–" if v is ABSENT else one_line(value_text(v)) for v in row.values]
    return _Line(one_line(row.name), cells)


def _metrics_part(rows: Sequence[MetricRow], is_all: bool) -> _Part:
    if not rows:
        return _Part("no metrics")
    shown = rows if is_all else rows[:_MOST]
    more = len(rows) - len(shown)
    return _Part(
        f"metrics ({len(rows):,})",
        [line for row in shown for line in _metric(row)],
        f"{rest_text(more)}: --all" if more > 0 else "",
    )


def _metric(row: MetricRow) -> Iterator[_Line]:
    """Yield last, least and greatest value; only one line where all are one point."""
    alone = all(one is None or one.count == 1 for one in row.found)
    for word, key in _NUMBERS[: 1 if alone else 3]:
        is_last = key == "last"
        label = one_line(row.name) if is_last else f"  {word}"
        yield _Line(label, list(_numbers(row, key)), is_minor=not is_last)


def _numbers(row: MetricRow, key: str) -> Iterator[str]:
    """Yield the cells of a metric: the number, and how far it is from the first."""
    texts = ["–" if one is None else short(getattr(one, key)) for one in row.found]
    size = max(map(len, texts))
    for text, one, delta in zip(texts, row.found, row.deltas(key), strict=True):
        more = "" if one is None else delta_text(getattr(one, key), delta)
        yield f"{text:>{size}}  {more}".rstrip()


# --- as text -------------------------------------------------------------------------


def _blocks(
    found: Comparison, parts: list[_Part], width: int, colour: bool
) -> Iterator[str]:
    """Yield the table, below itself again with further runs where it is too wide.

    The first run, which the others are compared with, is in each.
    """
    lines = [line for part in parts for line in part.lines]
    labels = max((text_width(line.label) for line in lines), default=0)
    label = min(labels, _MAX_LABEL, max(8, width // 3)) + 2  # is indented
    sizes = _sizes(found, lines, width - label)
    paint: Callable[[str, str], str] = painted if colour else lambda text, _: text
    start = 1
    while start < len(sizes) or start == 1:
        stop = _stop(sizes, start, width - label)
        table = _Table([0, *range(start, stop)], sizes, label, width, paint)
        if start > 1:
            yield ""
        yield table.heading(found.names)
        yield from chain.from_iterable(map(table.part, parts))
        start = stop


def _sizes(found: Comparison, lines: list[_Line], width: int) -> list[int]:
    """Return the width of each run's column; a name gives way where room is short."""
    names = [text_width(name) for name in found.names]
    cells = [
        max((text_width(line.cells[n]) for line in lines), default=0)
        for n in range(len(names))
    ]

    def sizes(most_name: int, most: int) -> list[int]:
        each = zip(names, cells, strict=True)
        return [min(max(min(name, most_name), cell), most) for name, cell in each]

    wide = sizes(_MAX_CELL, _MAX_CELL)
    if sum(wide) + len(_GAP) * len(wide) <= width:
        return wide
    # Two have to stand side by side, however long a text of one of them is.
    beside = max(_MIN_CELL, (width - 2 * len(_GAP)) // 2)
    return sizes(_MAX_NAME, min(_MAX_CELL, beside))


def _stop(sizes: list[int], start: int, width: int) -> int:
    """Return the first run that has no room beside the first one; at least one has."""
    left = width - sizes[0] - len(_GAP)
    for stop in range(start, len(sizes)):
        left -= sizes[stop] + len(_GAP)
        if left < 0:
            return max(stop, start + 1)
    return len(sizes)


@dataclass(frozen=True, slots=True)
class _Table:
    """Makes the lines of some of the runs.

    Attributes:
        places: Which runs.
        sizes: Width of the column of each run there is.
        label: Width of what stands on the left.
        width: Most characters of a line.
        paint: Colours a text.
    """

    places: list[int]
    sizes: list[int]
    label: int
    width: int
    paint: Callable[[str, str], str]

    def heading(self, names: Sequence[str]) -> str:
        """Return the line with the names of the runs."""
        return self.paint(self._text("", names), _BOLD)

    def part(self, part: _Part) -> Iterator[str]:
        """Yield the lines of one part."""
        if part.title:
            yield self.paint(fit(part.title, self.width), _BOLD)
        for line in part.lines:
            text = self._text(f"  {line.label}", line.cells)
            yield self.paint(text, _DIM) if line.is_minor else text
        if part.note:
            yield fit(f"  {part.note}", self.width)

    def _text(self, label: str, cells: Sequence[str]) -> str:
        texts = [pad(fit(label, self.label), self.label)]
        texts += [pad(fit(cells[n], self.sizes[n]), self.sizes[n]) for n in self.places]
        return fit(_GAP.join(texts).rstrip(), self.width)


# --- curves --------------------------------------------------------------------------


def _plots(found: Comparison, width: int) -> Iterator[str]:
    """Yield the curves of the first metrics, the runs below each other."""
    drawn = list(_drawn(found))
    for name, histories in drawn[:_PLOTS]:
        within = range_of([(h.steps, h.values) for _, h in histories])
        yield ""
        yield fit(one_line(name), width)
        for run, history in histories:
            yield fit(f"  {run}", width)
            yield from braille_plot(
                history.steps,
                history.values,
                width=max(LEAST_WIDTH, width),
                height=_PLOT_LINES,
                within=within,
            )
    if not drawn:
        yield "no curves: no metric has more than one point"
    if len(drawn) > _PLOTS:
        yield f"{rest_text(len(drawn) - _PLOTS)}: mlog plot RUN METRIC"
    if any(page.is_sample for page in found.pages):
        yield SAMPLE


def _drawn(found: Comparison) -> Iterator[tuple[str, list[tuple[str, History]]]]:
    """Yield each metric with a curve, and the runs that have one."""
    for row in found.metrics:
        pairs = zip(found.names, found.pages, strict=True)
        histories = [(name, page.histories.get(row.name)) for name, page in pairs]
        several = [(name, h) for name, h in histories if h is not None and len(h) > 1]
        if several:
            yield row.name, several


# --- as JSON -------------------------------------------------------------------------


def _json(found: Comparison, *, is_all: bool) -> dict[str, Any]:
    def rows(of: Iterable[Row]) -> list[dict[str, Any]]:
        return [_row_json(row) for row in of if is_all or row.differs]

    return {
        "runs": [
            _run_json(name, page)
            for name, page in zip(found.names, found.pages, strict=True)
        ],
        "params": rows(found.params),
        "tags": rows(found.tags),
        "metrics": [
            {"name": row.name, "values": list(_metric_json(row))}
            for row in found.metrics
        ],
        "facts": rows(found.facts),
        "packages": rows(found.packages),
    }


def _row_json(row: Row) -> dict[str, Any]:
    """Return a row; a run that has no value has null."""
    values = [None if value is ABSENT else value for value in row.values]
    return {"name": row.name, "differs": row.differs, "values": values}


def _run_json(name: str, page: Page) -> dict[str, Any]:
    state = page.state
    return {
        "run": state.run_id,
        "experiment": state.experiment,
        "name": name,
        "path": _path_text(state.folder),
        "status": state.status,
        "created": state.created,
        "duration": state.duration,
    }


def _path_text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _metric_json(row: MetricRow) -> Iterator[dict[str, Any] | None]:
    for found, delta in zip(row.found, row.deltas("last"), strict=True):
        yield None if found is None else _summary_json(found, delta)


def _summary_json(found: Summary, delta: float | None) -> dict[str, Any]:
    numbers = {word: number_json(getattr(found, key)) for word, key in _NUMBERS}
    return {**numbers, "count": found.count, "delta": number_json(delta)}
