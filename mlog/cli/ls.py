"""`mlog ls`: which runs of a root are shown, and the table or the JSON of them."""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import orjson

from mlog.cli.completing import complete_experiment, complete_metric
from mlog.cli.demanded import CURVE_WIDTH, count_trouble, curve_of
from mlog.cli.fields import (
    MISSING,
    PLAIN,
    STATUS_COLOURS,
    Field,
    field_of,
    is_number,
    json_fields,
    nobody_has,
    sorted_by,
    status_colour,
    status_text,
)
from mlog.cli.lines import wants_colour
from mlog.cli.options import (
    all_runs,
    dir_option,
    no_experiment,
    report_closed,
    root_of,
)
from mlog.cli.table import (
    Column,
    fitted,
    print_lines,
    table_lines,
    width_of,
)
from mlog.errors import MlogError, RunNotFoundError, told
from mlog.escaping import inline
from mlog.layout import slug
from mlog.reader.find import closed, experiment_folders, is_run, run_folders
from mlog.reader.index import RunIndex
from mlog.reader.page_words import one_line
from mlog.reader.query import parse_filter
from mlog.reader.state import RunState
from mlog.widths import text_width

__all__ = ["command"]

_MOST = 50
"""Runs in a table where nothing else is said."""

_DIM = "\x1b[2m"

_FRESH_ID = re.compile(r"[0-9]{8}-[0-9]{6}-([0-9a-f]{6})")
_NAME = re.compile(r"""(?:[^,"]|"[^"]*")+""")
_DEFAULT_METRICS = 3
_OPTIONAL = 8
"""Rank of columns that nobody asked for."""

_EXAMPLES = """\b
Examples:
  mlog ls
  mlog ls mnist --filter 'metric.mse < 3000 and tag.owner = me' --sort mse
  mlog ls --columns mse,mse.min,param.lr,tag.owner -n 0
  mlog ls --spark loss --counts
  mlog ls --json | jq 'select(.status == "Failed") | .path'
"""


def _filter(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> Callable[[RunState], bool] | None:
    """Read a filter; a wrong one is a wrong call."""
    try:
        return None if value is None else parse_filter(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc).removeprefix("filter: ")) from exc


def _names(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> list[str]:
    """Read names between commas; one with a comma in it is quoted."""
    found = (name.strip() for value in values for name in _NAME.findall(value))
    return [name for name in found if name]


@click.command("ls", epilog=_EXAMPLES)
@click.argument("experiment", required=False, shell_complete=complete_experiment)
@click.option(
    "--filter", "fits", callback=_filter, metavar="TEXT", help="Only runs that fit."
)
@click.option(
    "--sort",
    metavar="FIELD",
    default="-created",
    show_default=True,
    help="In this order; with - in front the greatest first.",
)
@click.option(
    "--columns",
    multiple=True,
    callback=_names,
    metavar="FIELD,…",
    help="Show these instead of the metrics that most runs have.",
)
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    help=f"How many at most; 0: all. Default: {_MOST}, with --json all.",
)
@click.option(
    "--spark",
    metavar="METRIC",
    shell_complete=complete_metric,
    help="Also draw its curve.",
)
@click.option("--counts", is_flag=True, help="Also count warnings and errors.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@dir_option
def command(
    experiment: str | None,
    fits: Callable[[RunState], bool] | None,
    sort: str,
    columns: list[str],
    count: int | None,
    spark: str | None,
    counts: bool,
    as_json: bool,
    dir_: str | None,
) -> None:
    """List the runs of EXPERIMENT (default: of all), newest first.

    FIELD is id, name, experiment, status, host, created, ended, age, duration, attempt,
    step, metric.NAME (also with .min, .max or .count), param.NAME, tag.NAME or
    property.NAME; the NAME alone will do. --spark and --counts read whole files.
    """
    most = (0 if as_json else _MOST) if count is None else count
    root = root_of(dir_)
    there = run_folders(root)
    if not any(map(is_run, there)):
        there = all_runs(root)  # raises, and says why
    folders = _of_experiment(there, experiment, root)
    found = _Runs(RunIndex(root))
    shown, total = _choose(found, folders, fits, sort, most)
    if as_json:
        _print_json(shown, spark=spark, counts=counts)
    else:
        ids = Counter(_short(folder.name) for folder in there)
        chosen = _Chosen(
            columns,
            spark,
            counts,
            sort=sort.removeprefix("-"),
            several=experiment is None,
            ids=ids,
        )
        _print_table(shown, chosen)
    _report(found, len(shown), total if count is None else len(shown))
    if experiment is None:
        report_closed(experiment_folders(root))


# --- which runs ----------------------------------------------------------------------


def _of_experiment(there: list[Path], experiment: str | None, root: Path) -> list[Path]:
    """Return the runs of an experiment, named as the user did or as its folder.

    Raises:
        RunNotFoundError: It has none; the message names some that have.
        OSError: It cannot be read.
    """
    if experiment is None:
        return there
    name = slug(experiment)
    found = [folder for folder in there if folder.parent.name == name]
    for reason in closed([root / name]).values() if not found else ():
        raise reason
    if not found:
        names = sorted({folder.parent.name for folder in there})
        raise RunNotFoundError(no_experiment(experiment, names, root))
    return found


def _choose(
    found: "_Runs",
    folders: list[Path],
    fits: Callable[[RunState], bool] | None,
    sort: str,
    most: int,
) -> tuple[list[RunState], int]:
    """Return the runs to show, at least one, and how many there would be.

    Raises:
        MlogError: There is none, or none with the field to sort by.
    """
    is_plain = fits is None and sort == "-created"
    states = found.newest(folders, most) if is_plain else found.read(folders)
    if not states:
        raise MlogError(f"cannot read any of {len(folders):,} runs: {found.reason}")
    if is_plain:
        return states, len(folders) - found.failed - found.absent
    states = [state for state in states if fits is None or fits(state)]
    if not states:
        raise MlogError(f"no run fits the filter; there are {len(folders):,} in all")
    return sorted_by(states, sort)[: most or None], len(states)


class _Runs:
    """Reads runs, and counts those that cannot be read.

    Attributes:
        failed: How many those are.
        absent: How many folders were no run after all.
        reason: Why the first of them could not be read.
    """

    def __init__(self, index: RunIndex) -> None:
        self.failed = 0
        self.absent = 0
        self.reason = ""
        self._index = index

    def read(self, folders: Iterable[Path]) -> list[RunState]:
        """Return what the files say of runs, newest first."""
        states = list(self._states(folders))
        return sorted(states, key=lambda s: (s.created, s.run_id), reverse=True)

    def newest(self, folders: list[Path], count: int) -> list[RunState]:
        """Return the newest runs without a look at those that are surely older.

        Args:
            folders: All.
            count: How many; 0: all.
        """
        dated = sorted(filter(_is_dated, folders), key=_second, reverse=True)
        if not 0 < count < len(dated):
            return self.read(folders)[: count or None]
        oldest = _second(dated[count - 1])
        recent = (folder for folder in dated if _second(folder) >= oldest)
        others = (folder for folder in folders if not _is_dated(folder))
        return self.read([*recent, *others])[:count]

    def _states(self, folders: Iterable[Path]) -> Iterator[RunState]:
        for state in self._index.states(folders):
            if not isinstance(state, Exception):
                yield state
            elif isinstance(state, RunNotFoundError):
                self.absent += 1
            else:  # not for us to read
                self.failed += 1
                self.reason = self.reason or told(state)


def _is_dated(folder: Path) -> bool:
    """Whether the id begins with the second the run was created in."""
    return _FRESH_ID.fullmatch(folder.name) is not None


def _second(folder: Path) -> str:
    return folder.name[:15]


def _report(found: _Runs, shown: int, total: int) -> None:
    """Say on stderr what was left out."""
    if shown < total:
        text = f"mlog: {shown:,} of {total:,} runs; -n 0 shows all"
        click.echo(text, err=True)
    if found.failed:
        runs = f"{found.failed:,} run{'s'[: found.failed != 1]}"
        click.echo(inline(f"mlog: cannot read {runs}: {found.reason}"), err=True)


# --- output --------------------------------------------------------------------------


def _print_json(states: Iterable[RunState], *, spark: str | None, counts: bool) -> None:
    for state in states:
        fields = json_fields(state)
        if spark is not None:
            fields["spark"] = _curve(spark, state)
        if counts:
            fields["warnings"], fields["errors"] = _counts(state) or (None, None)
        click.echo(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE), nl=False)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What the user wants to see.

    Attributes:
        columns: Fields; none: the metrics that most runs have.
        spark: Metric to draw.
        counts: Whether to count warnings and errors.
        sort: Field the runs are sorted by.
        several: Whether runs of several experiments may be there.
        ids: How often each short id is there.
    """

    columns: list[str]
    spark: str | None
    counts: bool
    sort: str
    several: bool
    ids: Mapping[str, int]


def _print_table(states: list[RunState], chosen: _Chosen) -> None:
    width = width_of(sys.stdout, os.environ)
    columns, left_out = fitted(_columns(states, chosen), width)
    colour = wants_colour(sys.stdout, os.environ)
    print_lines(table_lines(columns, width, colour=colour))
    wanted = [name for name in chosen.columns if _is_absent(name, states)]
    if chosen.spark and not any(chosen.spark in state.metrics for state in states):
        wanted.append(chosen.spark)
    for name in wanted:
        click.echo(inline(f"mlog: {nobody_has(name, states)}"), err=True)
    names = ", ".join(c.title for c in left_out if c.rank < _OPTIONAL)
    if names:
        click.echo(f"mlog: no room for {names}; --json has everything", err=True)


def _is_absent(name: str, states: Sequence[RunState]) -> bool:
    get = field_of(name, states).get
    return all(get(state) is MISSING for state in states)


def _columns(states: list[RunState], chosen: _Chosen) -> Iterator[Column]:
    """Yield the columns of the table."""
    ids = [_short_id(state.run_id, chosen.ids) for state in states]
    yield Column("id", [one_line(text, 24) for text in ids])
    names = ["" if s.name == s.run_id else one_line(s.name) for s in states]
    if any(names):
        yield Column("name", names, least=8, rank=3)
    experiments = [one_line(state.experiment) for state in states]
    if chosen.several and len(set(experiments)) > 1:
        yield Column("experiment", experiments, least=8, rank=4)
    statuses = [status_text(state.status) for state in states]
    yield Column("status", statuses, colour_of=status_colour)
    for name, rank in (("age", 5), ("duration", 6), ("step", 7)):
        column = _column(field_of(name, states), states, rank=rank, colour_of=_dim)
        if any(column.cells) and name not in chosen.columns:
            yield column
    for name in chosen.columns:
        if name not in ("id", "name", "status"):  # these are there in any case
            yield _column(field_of(name, states), states, rank=2)
    if not chosen.columns:
        yield from _default_columns(states, chosen.sort)
    yield from _demanded(states, chosen)


def _default_columns(states: list[RunState], sort: str) -> Iterator[Column]:
    """Yield what the runs are sorted by, and the metrics that most of them have."""
    first = field_of(sort, states)
    if sort not in PLAIN or sort in ("attempt", "host", "ended"):
        yield _column(first, states, rank=2)
    for name in _shared_metrics(states):
        field = field_of(f"metric.{name}", states)
        if field.title != first.title:
            yield _column(field, states, rank=_OPTIONAL)


def _demanded(states: list[RunState], chosen: _Chosen) -> Iterator[Column]:
    """Yield the columns for which whole files are read."""
    if chosen.counts:
        counts = [_counts(state) or (0, 0) for state in states]
        for title, colour, number in (
            ("warnings", "Canceled", 0),
            ("errors", "Failed", 1),
        ):
            cells = [f"{c[number]:,}" if c[number] else "" for c in counts]
            paint = partial(_constant, STATUS_COLOURS[colour])
            yield Column(title, cells, is_right=True, rank=2, colour_of=paint)
    if chosen.spark:
        cells = [_curve(chosen.spark, state) for state in states]
        title = one_line(chosen.spark, 40)
        yield Column(title, cells, least=CURVE_WIDTH, rank=1)


def _counts(state: RunState) -> tuple[int, int] | None:
    """Count warnings and errors; None where a log may not be read, which is told."""
    try:
        return count_trouble(state)
    except OSError as exc:
        click.echo(inline(f"mlog: not counted: {told(exc)}"), err=True)
        return None


def _curve(metric: str, state: RunState) -> str:
    """Draw a curve; "" where its file cannot be read, which is told on stderr."""
    try:
        return curve_of(metric, state)
    except (OSError, MlogError) as exc:
        click.echo(inline(f"mlog: no curve: {told(exc)}"), err=True)
        return ""


def _column(
    field: Field,
    states: Iterable[RunState],
    *,
    rank: int,
    colour_of: Callable[[str], str] | None = None,
) -> Column:
    """Return the column of a field; numbers are never cut, but what is above them."""
    values = [field.get(state) for state in states]
    cells = ["" if value is MISSING else field.text(value) for value in values]
    is_right = all(v is MISSING or is_number(v) for v in values)
    widest = max(map(text_width, cells), default=0) if is_right else 0
    least = max(8, widest)
    return Column(field.title, cells, is_right, least, rank, colour_of)


def _shared_metrics(states: Iterable[RunState]) -> list[str]:
    """Return the metrics that most runs have; of equals those of the newest."""
    shared = Counter(name for state in states for name in state.metrics)
    return [name for name, _ in shared.most_common(_DEFAULT_METRICS)]


def _dim(_cell: str) -> str:
    return _DIM


def _constant(colour: str, _cell: str) -> str:
    return colour


def _short_id(run_id: str, ids: Mapping[str, int]) -> str:
    """Return what a run may be called: the end of a fresh id, where no other has it.

    Args:
        run_id: The whole of it.
        ids: How often each short id is there.
    """
    short_form = _short(run_id)
    return short_form if ids.get(short_form, 0) <= 1 else run_id


def _short(run_id: str) -> str:
    match = _FRESH_ID.fullmatch(run_id)
    return match[1] if match else run_id
