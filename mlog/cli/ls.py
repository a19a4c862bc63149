"""`mlog ls`: the runs of a root as a table."""

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
import orjson

from mlog.cli.lines import wants_colour
from mlog.cli.options import dir_option
from mlog.cli.table import (
    Column,
    fitted,
    print_lines,
    table_lines,
    text_width,
    width_of,
)
from mlog.errors import MlogError, RunNotFoundError
from mlog.escaping import inline
from mlog.folder import read_from
from mlog.layout import SegmentName, find_root, parse_segment, slug
from mlog.reader.alive import seconds_of
from mlog.reader.curves import short, sparkline
from mlog.reader.fields import whole_from
from mlog.reader.find import iter_runs
from mlog.reader.follow import parse_line
from mlog.reader.page_facts import SYMBOLS
from mlog.reader.page_words import moment, one_line, span, value_text
from mlog.reader.query import parse_filter
from mlog.reader.series import are_numbers, read_history
from mlog.reader.state import RunState, read_state

__all__ = ["STATUS_COLOURS", "age_text", "command", "json_text"]

_MOST = 50
"""Runs in a table where nothing else is said."""

STATUS_COLOURS = {
    **{"Running": "\x1b[36m", "Completed": "\x1b[32m", "Failed": "\x1b[91m"},
    **{"Canceled": "\x1b[33m", "NotResponding": "\x1b[35m"},
}
_DIM = "\x1b[2m"

_FRESH_ID = re.compile(r"[0-9]{8}-[0-9]{6}-([0-9a-f]{6})")
_NAME = re.compile(r"""(?:[^,"]|"[^"]*")+""")
_STATISTIC = re.compile(r"(.+)\.(last|min|max|count)", re.DOTALL)
_TROUBLE = re.compile(
    rb'\n\{"ts":"[^"\n]*","seq":[0-9]+,"level":"(WARNING|ERROR|CRITICAL)"'
)
_DEFAULT_METRICS = 3
_OPTIONAL = 8
"""Rank of columns that nobody asked for."""

_SPARK = 16
_TAIL = 1 << 13
_BLOCK = 1 << 20
_MAX_LINE = 1 << 20
_MISSING = object()

_Get: TypeAlias = Callable[[RunState], Any]

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
        raise click.BadParameter(str(exc)) from exc


def _names(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> list[str]:
    """Read names between commas; one with a comma in it is quoted."""
    found = (name.strip() for value in values for name in _NAME.findall(value))
    return [name for name in found if name]


@click.command("ls", epilog=_EXAMPLES)
@click.argument("experiment", required=False)
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
@click.option("--spark", metavar="METRIC", help="Also draw its curve.")
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
    root = _root(dir_)
    there = _all_runs(root)
    folders = _of_experiment(there, experiment, root)
    found = _Runs()
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


# --- which runs ----------------------------------------------------------------------


def _root(dir_: str | None) -> Path:
    try:
        cwd = Path.cwd()
    except OSError:  # somebody removed it
        cwd = Path(os.sep)
    try:
        return find_root(dir_, env=os.environ, cwd=cwd)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--dir") from exc


def _all_runs(root: Path) -> list[Path]:
    """Return the folders of all runs; at least one.

    Raises:
        RunNotFoundError: There is none; the message says what to type next.
        OSError: The root cannot be read.
    """
    folders = list(iter_runs(root))
    if folders:
        return folders
    if root.exists():
        os.listdir(root)  # raises where that is the reason
    raise RunNotFoundError(
        f"no runs yet in {root}: start one with `mlog.start_run()` in a script, "
        "or name another folder with --dir"
    )


def _of_experiment(there: list[Path], experiment: str | None, root: Path) -> list[Path]:
    """Return the runs of an experiment, named as the user did or as its folder.

    Raises:
        RunNotFoundError: It has none; the message names some that have.
    """
    if experiment is None:
        return there
    name = slug(experiment)
    found = [folder for folder in there if folder.parent.name == name]
    if not found:
        names = ", ".join(sorted({folder.parent.name for folder in there})[:8])
        raise RunNotFoundError(
            f"no experiment {experiment!r} in {root}; there are {names}"
        )
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
        return states, len(folders) - found.failed
    states = [state for state in states if fits is None or fits(state)]
    if not states:
        raise MlogError(f"no run fits the filter; there are {len(folders):,} in all")
    return _sorted(states, sort)[: most or None], len(states)


class _Runs:
    """Reads runs, and counts those that cannot be read.

    Attributes:
        failed: How many those are.
        reason: Why the first of them could not be read.
    """

    def __init__(self) -> None:
        self.failed = 0
        self.reason = ""

    def read(self, folders: Iterable[Path]) -> list[RunState]:
        """Return what the files say of runs, newest first."""
        states = [state for state in map(self._read, folders) if state is not None]
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

    def _read(self, folder: Path) -> RunState | None:
        try:
            return read_state(folder)
        except (OSError, MlogError) as exc:  # removed just now, or not for us to read
            self.failed += 1
            self.reason = self.reason or str(exc)
            return None


def _is_dated(folder: Path) -> bool:
    """Whether the id begins with the second the run was created in."""
    return _FRESH_ID.fullmatch(folder.name) is not None


def _second(folder: Path) -> str:
    return folder.name[:15]


def _sorted(states: list[RunState], sort: str) -> list[RunState]:
    """Return runs in an order; those without the field come last, newest first.

    Raises:
        MlogError: No run has the field.
    """
    is_reversed = sort.startswith("-")
    name = sort.removeprefix("-")
    field = _field(name, states)
    dated = [(field.get(state), state) for state in states]
    there = [(_rank(v), state) for v, state in dated if not _is_nothing(v)]
    if not there and all(value is _MISSING for value, _ in dated):
        raise MlogError(f"cannot sort: {_nobody_has(name, states)}")
    there.sort(key=lambda one: one[0], reverse=is_reversed)
    last = sorted(
        (v is _MISSING, n) for n, (v, _) in enumerate(dated) if _is_nothing(v)
    )
    return [state for _, state in there] + [dated[n][1] for _, n in last]


def _is_nothing(value: Any) -> bool:
    """Whether a value has no place in an order: NaN, and one that is not there."""
    return value is _MISSING or value != value


def _rank(value: Any) -> tuple[int, float, str]:
    """Return what a value is ordered by: numbers, then texts."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, value, ""
    if not isinstance(value, str):
        return 1, 0.0, value_text(value)
    number = _number_in(value)
    return (1, 0.0, value) if number is None else (0, number, "")


def _number_in(text: str) -> float | None:
    """Return the number that a text is; None for any other, and for NaN."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _report(found: _Runs, shown: int, total: int) -> None:
    """Say on stderr what was left out."""
    if shown < total:
        text = f"mlog: {shown:,} of {total:,} runs; -n 0 shows all"
        click.echo(text, err=True)
    if found.failed:
        runs = f"{found.failed:,} run{'s'[: found.failed != 1]}"
        click.echo(inline(f"mlog: cannot read {runs}: {found.reason}"), err=True)


# --- fields --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """Something that a run may have.

    Attributes:
        title: What stands above its column.
        get: Returns the value, or `_MISSING`.
        text: Makes the text of a value.
    """

    title: str
    get: _Get
    text: Callable[[Any], str]


def _field(name: str, states: Sequence[RunState]) -> _Field:
    """Return the field that a name stands for.

    Alone it is the metric of that name if any of the runs has it, else the param, the
    tag or the property.
    """
    if name in _PLAIN:
        get, text = _PLAIN[name]
        return _Field(name, get, text)
    group, _, bare = name.partition(".")
    if group not in _NAMED or not bare:
        bare = _bare(name)
        group = next((g for g in _NAMED if _is_in(g, bare, states)), "metric")
    is_metric = group == "metric"
    title = one_line(name.removeprefix("metric."), 40)
    text = _number_text if is_metric else _value_text
    return _Field(title, partial(_NAMED[group], _bare(bare)), text)


def _is_in(group: str, name: str, states: Iterable[RunState]) -> bool:
    return any(_NAMED[group](name, state) is not _MISSING for state in states)


def _bare(name: str) -> str:
    """Return a name without its quotes."""
    return name.replace('"', "")


def _metric(name: str, state: RunState) -> Any:
    """Return a metric's last value, or the statistic that its name ends in."""
    facts, statistic = state.metrics.get(name), "last"
    if facts is None and (match := _STATISTIC.fullmatch(name)) is not None:
        facts, statistic = state.metrics.get(match[1]), match[2]
    value = (facts or {}).get(statistic, _MISSING)
    try:
        return float(value) if isinstance(value, str) else value  # "NaN", "-Infinity"
    except ValueError:
        return _MISSING


def _from(
    get_all: Callable[[RunState], Mapping[str, Any]], name: str, state: RunState
) -> Any:
    return get_all(state).get(name, _MISSING)


_NAMED: Mapping[str, Callable[[str, RunState], Any]] = {
    "metric": _metric,
    "param": partial(_from, lambda state: state.params),
    "tag": partial(_from, lambda state: state.tags),
    "property": partial(_from, lambda state: state.properties),
}


def _host(state: RunState) -> Any:
    """Return where the last main writer runs, else the last writer."""
    writers = [w for w in state.writers if w.main] or state.writers
    hosts = [writer.host for writer in writers if writer.host]
    return hosts[-1] if hosts else _MISSING


def _age(state: RunState) -> Any:
    created = seconds_of(state.created)
    return _MISSING if created is None else max(0.0, state.read_at - created)


def _last_step(state: RunState) -> Any:
    """Return the step in the end of the metrics that were written last."""
    found = max(_segments(state.folder, "metrics"), default=None)
    if found is None:
        return _MISSING
    for line in reversed(_last_lines(found[1])):
        step = whole_from((parse_line(line) or {}).get("step"))
        if step is not None:
            return step
    return _MISSING


def _segments(folder: Path, stream: str) -> Iterator[tuple[int, Path]]:
    """Yield the segments of a stream, with the time of their last change in ns."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                segment = parse_segment(entry.name)
                if isinstance(segment, SegmentName) and segment.stream == stream:
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_mtime_ns, Path(entry.path)
    except OSError:  # removed just now
        return


def _last_lines(path: Path) -> list[bytes]:
    """Return whole lines from the end of a file; none where it cannot be read."""
    try:
        with read_from(path) as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL)
            file.seek(start)
            return file.read(size - start).split(b"\n")[bool(start) : -1]
    except OSError:
        return []


def _missing_if_empty(value: Any) -> Any:
    return _MISSING if value in (None, "") else value


def _number_text(value: Any) -> str:
    """Return a metric with about four digits; an integer as it is up to nine."""
    if not isinstance(value, int | float):
        return _value_text(value)
    try:
        number = float(value)
    except OverflowError:
        return one_line(str(value), 12)
    if isinstance(value, int) and abs(value) < 10**9:
        return f"{value:,}"
    return short(number)


def _value_text(value: Any) -> str:
    return one_line("" if value is None else value_text(value), 200)


def _status_text(status: str) -> str:
    return f"{SYMBOLS.get(status, '…')} {one_line(status, 20)}"


def age_text(seconds: float) -> str:
    """Return how long ago something was, in its greatest unit: `3 min`, `12 d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds / size):,} {unit}"
    return f"{int(seconds)} s"


_PLAIN: Mapping[str, tuple[_Get, Callable[[Any], str]]] = {
    "id": (lambda state: state.run_id, _value_text),
    "name": (lambda state: _missing_if_empty(state.name), _value_text),
    "experiment": (lambda state: _missing_if_empty(state.experiment), _value_text),
    "status": (lambda state: state.status, _status_text),
    "host": (_host, _value_text),
    "created": (lambda state: _missing_if_empty(state.created), moment),
    "ended": (lambda state: _missing_if_empty(state.ended), moment),
    "age": (_age, age_text),
    "duration": (
        lambda state: _MISSING if state.duration is None else state.duration,
        span,
    ),
    "attempt": (lambda state: state.attempt, _number_text),
    "step": (_last_step, _number_text),
}


def _nobody_has(name: str, states: Sequence[RunState]) -> str:
    """Say that there is no such field, and what comes close."""
    from difflib import get_close_matches  # slow to import, and only for this

    groups = [g for s in states for g in (s.metrics, s.params, s.tags, s.properties)]
    names = {*_PLAIN, *(key for group in groups for key in group)}
    bare = name.partition(".")[2] if name.partition(".")[0] in _NAMED else name
    close = get_close_matches(_bare(bare), sorted(names), n=3, cutoff=0.6)
    offer = f"; did you mean {', '.join(close)}?" if close else ""
    return f"no run here has {name!r}{offer}"


# --- on demand -----------------------------------------------------------------------


def _spark(metric: str, state: RunState) -> str:
    """Draw the curve of a metric; "" where there is none."""
    values = read_history(state.folder, metric).values
    listed = values.tolist() if hasattr(values, "tolist") else values
    is_drawn = len(listed) > 1 and are_numbers(listed)
    return sparkline(listed, _SPARK) if is_drawn else ""


def _counts(state: RunState) -> tuple[int, int]:
    """Count the lines of a run's logs that are warnings, and those that are errors."""
    found: Counter[bytes] = Counter()
    for _, path in _segments(state.folder, "logs"):
        for block in _blocks(path):
            found.update(_TROUBLE.findall(block))
    return found[b"WARNING"], found[b"ERROR"] + found[b"CRITICAL"]


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a file in blocks that begin with a newline and end before one."""
    rest = b"\n"
    try:
        with read_from(path) as file:
            while block := file.read(_BLOCK):
                whole, newline, torn = (rest + block).rpartition(b"\n")
                yield whole
                rest = newline + torn if len(torn) <= _MAX_LINE else b"\n"
    except OSError:  # not for us to read, or removed just now
        return


# --- output --------------------------------------------------------------------------


def _print_json(states: Iterable[RunState], *, spark: str | None, counts: bool) -> None:
    for state in states:
        fields = _fields_of(state)
        if spark is not None:
            fields["spark"] = _spark(spark, state)
        if counts:
            fields["warnings"], fields["errors"] = _counts(state)
        click.echo(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE), nl=False)


def _fields_of(state: RunState) -> dict[str, Any]:
    """Return all that a line of JSON says of a run; times as the files have them."""
    step, host = _last_step(state), _host(state)
    return {
        "run": json_text(state.run_id),
        "experiment": json_text(state.experiment),
        "name": json_text(state.name),
        "status": state.status,
        "created": state.created or None,
        "updated": state.updated or None,
        "ended": state.ended,
        "duration": state.duration,
        "attempt": state.attempt,
        "step": None if step is _MISSING else step,
        "host": None if host is _MISSING else host,
        "parent": state.parent,
        "params": state.params,
        "tags": state.tags,
        "properties": state.properties,
        "metrics": state.metrics,
        "path": json_text(str(state.folder)),
    }


def json_text(name: str) -> str:
    """Return the name of a file as text; bytes that are none are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


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
        click.echo(inline(f"mlog: {_nobody_has(name, states)}"), err=True)
    names = ", ".join(c.title for c in left_out if c.rank < _OPTIONAL)
    if names:
        click.echo(f"mlog: no room for {names}; --json has everything", err=True)


def _is_absent(name: str, states: Sequence[RunState]) -> bool:
    get = _field(name, states).get
    return all(get(state) is _MISSING for state in states)


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
    statuses = [_status_text(state.status) for state in states]
    yield Column("status", statuses, colour_of=_status_colour)
    for name, rank in (("age", 5), ("duration", 6), ("step", 7)):
        column = _column(_field(name, states), states, rank=rank, colour_of=_dim)
        if any(column.cells) and name not in chosen.columns:
            yield column
    for name in chosen.columns:
        if name not in ("name", "status"):  # these are there in any case
            yield _column(_field(name, states), states, rank=2)
    if not chosen.columns:
        yield from _default_columns(states, chosen.sort)
    yield from _demanded(states, chosen)


def _default_columns(states: list[RunState], sort: str) -> Iterator[Column]:
    """Yield what the runs are sorted by, and the metrics that most of them have."""
    first = _field(sort, states)
    if sort not in _PLAIN or sort in ("attempt", "host", "ended"):
        yield _column(first, states, rank=2)
    for name in _shared_metrics(states):
        field = _field(f"metric.{name}", states)
        if field.title != first.title:
            yield _column(field, states, rank=_OPTIONAL)


def _demanded(states: list[RunState], chosen: _Chosen) -> Iterator[Column]:
    """Yield the columns for which whole files are read."""
    if chosen.counts:
        counts = [_counts(state) for state in states]
        for title, colour, number in (
            ("warnings", "Canceled", 0),
            ("errors", "Failed", 1),
        ):
            cells = [f"{c[number]:,}" if c[number] else "" for c in counts]
            paint = partial(_constant, STATUS_COLOURS[colour])
            yield Column(title, cells, is_right=True, rank=2, colour_of=paint)
    if chosen.spark:
        cells = [_spark(chosen.spark, state) for state in states]
        title = one_line(chosen.spark, 40)
        yield Column(title, cells, least=_SPARK, rank=1)


def _column(
    field: _Field,
    states: Iterable[RunState],
    *,
    rank: int,
    colour_of: Callable[[str], str] | None = None,
) -> Column:
    """Return the column of a field; numbers are never cut, but what is above them."""
    values = [field.get(state) for state in states]
    cells = ["" if value is _MISSING else field.text(value) for value in values]
    is_right = all(v is _MISSING or _is_number(v) for v in values)
    widest = max(map(text_width, cells), default=0) if is_right else 0
    least = max(8, widest)
    return Column(field.title, cells, is_right, least, rank, colour_of)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shared_metrics(states: Iterable[RunState]) -> list[str]:
    """Return the metrics that most runs have; of equals those of the newest."""
    shared = Counter(name for state in states for name in state.metrics)
    return [name for name, _ in shared.most_common(_DEFAULT_METRICS)]


def _status_colour(cell: str) -> str:
    return STATUS_COLOURS.get(cell[2:], "")


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
