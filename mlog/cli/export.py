"""`mlog export`: runs as CSV, JSON, Parquet or TensorBoard's event files."""

import csv
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeAlias

import click
import orjson

from mlog.cli.completing import complete_folder, complete_run
from mlog.cli.options import RunCommand, dir_option, find, root_of, typed
from mlog.errors import MlogError, RunNotFoundError
from mlog.escaping import inline
from mlog.reader.alive import is_time
from mlog.reader.entries import NONFINITE, WriterFiles, read_blocks, read_writers
from mlog.reader.find import iter_runs
from mlog.reader.page_words import count_text, one_line, size_text, value_text
from mlog.reader.series import read_histories
from mlog.reader.state import RunState, read_state
from mlog.reader.tables import is_main, write_parquet
from mlog.reader.tfexport import began, write_events

__all__ = ["command"]

_BLOCK = 1 << 15
"""About the bytes of what is read at once."""

_COLUMNS = ("run_id", "name", "step", "time", "value", "rank", "attempt")
_STEPS = range(-(1 << 63), 1 << 63)

_MOST_NAMES = 5
"""Metrics that are named where values were left out."""

_Advance: TypeAlias = Callable[[int], None]

_EXAMPLES = """\b
Examples:
  mlog export --to csv out                   the newest run
  mlog export baseline latest --to csv --wide out
  mlog export a1b2c3 --to parquet out
  mlog export baseline latest --to tensorboard tb && tensorboard --logdir tb
  mlog export $(mlog ls mnist --json | jq -r .path) --to csv out
"""


def _folder_typed(ctx: click.Context, param: click.Parameter, value: str) -> str:
    return typed(ctx, param, (value,))[0]


@click.command("export", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "runs", metavar="[RUN…]", nargs=-1, callback=typed, shell_complete=complete_run
)
@click.argument(
    "out", metavar="DIR", callback=_folder_typed, shell_complete=complete_folder
)
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["csv", "json", "parquet", "tensorboard"]),
    help="What to make.",
)
@click.option("--wide", is_flag=True, help="With csv: also a column for each metric.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what was made.")
@dir_option
def command(
    runs: tuple[str, ...],
    out: str,
    form: str,
    wide: bool,
    force: bool,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Write RUN (default: latest), or several, into files in DIR.

    \b
    csv          metrics.csv: a line for each number, of all ranks and attempts;
                 params.csv; with --wide metrics_wide.csv: a line for each step
    json         RUN.json: facts, params, tags, metrics by columns
    parquet      metrics.parquet and params.parquet; needs mlog-runs[query]
    tensorboard  RUN/events.out.tfevents.…: numbers, texts, histograms, small
                 pictures, params and status (HPARAMS)

    Wide CSV and TensorBoard get the least rank that has the metric, and of attempts
    the latest. A file appears whole; one that is there already is left alone.
    """  # noqa: D301 (\b is click's)
    if wide and form != "csv":
        raise click.UsageError("--wide is for --to csv")
    if not runs:
        _check_is_no_run(out, dir_)
    folders = _chosen(runs or ("latest",), dir_)
    job = _Job(_labelled(folders), _folder(out, folders))
    targets = _TARGETS[form](job)
    if wide:
        targets[job.out / "metrics_wide.csv"] = _wide_csv
    _refuse(targets, force)
    with _progress(job):
        for path, write in targets.items():
            with _placed(path) as made:
                write(job, made)
    _tell(job, list(targets), as_json)


# --- what to do ----------------------------------------------------------------------


@dataclass(slots=True)
class _Job:
    """What is to be exported.

    Attributes:
        folders: Of the runs, by what they are called in the files.
        out: Where the files go.
        advance: Is told of bytes that were read.
        left_out: Of each metric, how many values had no place.
    """

    folders: dict[str, Path]
    out: Path
    advance: _Advance = field(default=lambda _: None)
    left_out: Counter[str] = field(default_factory=Counter)


_Write: TypeAlias = Callable[[_Job, Path], None]


def _chosen(runs: tuple[str, ...], dir_: str | None) -> list[Path]:
    """Return the folders of the runs, each once.

    Many runs are mostly named by their paths; the root is listed only once for them.
    """
    known = {os.fspath(run): run for run in iter_runs(root_of(dir_))}
    found = (known.get(run) or find(run, dir_) for run in runs)
    return list(dict.fromkeys(found))


def _check_is_no_run(out: str, dir_: str | None) -> None:
    """Refuse a lone argument that names a run: somebody forgot the folder.

    Raises:
        click.UsageError: It does.
    """
    if os.path.isdir(out) and not _is_run(Path(out)):
        return
    try:
        find(out, dir_)
    except MlogError:
        return
    raise click.UsageError(f"{out!r} is a run; the folder for the files comes after it")


def _is_run(folder: Path) -> bool:
    try:
        read_state(folder)
    except (OSError, RunNotFoundError):
        return False
    return True


def _folder(out: str, folders: Iterable[Path]) -> Path:
    """Return where the files go, which is in no run.

    Raises:
        MlogError: It is in one, or is no folder.
    """
    path = Path(os.path.realpath(out))
    for folder in folders:
        if path.is_relative_to(os.path.realpath(folder)):
            raise MlogError(f"{path} is in the run {folder.name}; name another folder")
    if path.exists() and not path.is_dir():
        raise MlogError(f"{path} is no folder")
    return path


def _labelled(folders: list[Path]) -> dict[str, Path]:
    """Return runs by their ids; by experiment and id where two ids are equal."""
    counts = Counter(folder.name for folder in folders)
    unique = max(counts.values()) == 1
    return {f.name if unique else f"{f.parent.name}/{f.name}": f for f in folders}


def _refuse(targets: Iterable[Path], force: bool) -> None:
    """Stop where a file is there already, before anything is written.

    Raises:
        MlogError: One is.
    """
    there = [path for path in targets if os.path.lexists(path)]
    if there and not force:
        more = f", and {len(there) - 1:,} more" if len(there) > 1 else ""
        raise MlogError(f"{there[0]} is there already{more}; --force replaces files")
    for path in there:
        if path.is_dir():
            raise MlogError(f"{path} is a folder, where a file should go")


@contextmanager
def _placed(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what is there in the end takes its place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlog-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        yield made
        os.replace(made, path)


@contextmanager
def _progress(job: _Job) -> Iterator[None]:
    """Show on a terminal how far it is, by bytes of metrics."""
    if not sys.stderr.isatty():
        yield
        return
    total = sum(_size(folder) for folder in job.folders.values())
    label = f"exporting {count_text(len(job.folders), 'run')}"
    with click.progressbar(length=total, label=label, file=sys.stderr) as shown:
        job.advance = shown.update
        yield
        shown.update(total)


def _size(folder: Path) -> int:
    """Return the bytes of a run's metrics."""
    with os.scandir(folder) as entries:
        return sum(e.stat().st_size for e in entries if e.name.startswith("metrics"))


def _tell(job: _Job, paths: list[Path], as_json: bool) -> None:
    """Say what was made."""
    sizes = [path.stat().st_size for path in paths]
    if as_json:
        files = [
            {"path": _path_text(path), "bytes": size}
            for path, size in zip(paths, sizes, strict=True)
        ]
        facts = {"runs": list(job.folders), "files": files, "left_out": job.left_out}
        click.echo(orjson.dumps(facts))
        return
    for path, size in zip(paths, sizes, strict=True):
        click.echo(f"{inline(_path_text(path))} ({size_text(size)})")
    if job.left_out:
        click.echo(f"mlog: {_left_out_text(job.left_out)}", err=True)


def _left_out_text(left_out: Counter[str]) -> str:
    values = count_text(left_out.total(), "value")
    names = [one_line(name, 60) for name in islice(left_out, _MOST_NAMES)]
    more = len(left_out) - len(names)
    of = ", ".join(names) + (f" and {more:,} more" if more else "")
    return f"left out {values} without a place there, of {of}"


def _path_text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


# --- points --------------------------------------------------------------------------


class _Point(NamedTuple):
    """A metric's value as it was logged; a typed value is a text or a dict."""

    name: str
    step: int | None
    time: str
    value: Any
    rank: int | None
    attempt: int


def _points(job: _Job, folder: Path) -> Iterator[_Point]:
    """Yield all points of a run, of one process after the other, in order."""
    for writer in read_writers(folder):
        rank = _rank(writer)
        for block in read_blocks(folder, writer.segments.get("metrics", [])):
            for entry in block.entries:
                yield from _points_of(entry, rank, writer.attempt)
            job.advance(_BLOCK)


def _rank(writer: WriterFiles) -> int | None:
    if writer.rank is None and is_main(writer.name):
        return 0
    return writer.rank


def _points_of(
    entry: dict[str, Any], rank: int | None, attempt: int
) -> Iterator[_Point]:
    metric, value, step = entry.get("metric"), entry.get("value"), entry.get("step")
    if type(step) is not int or step not in _STEPS:
        step = None
    time = entry["ts"] if is_time(entry["ts"]) else ""
    for name, number in metric.items() if type(metric) is dict else ():
        if _is_number(number):
            yield _Point(name, step, time, number, rank, attempt)
    for name, found in value.items() if type(value) is dict else ():
        if isinstance(found, str | dict):
            yield _Point(name, step, time, {"typed": found}, rank, attempt)


def _is_number(value: object) -> bool:
    """Whether it is a number, or the text of one that JSON has not."""
    return type(value) in (int, float) or (type(value) is str and value in NONFINITE)


# --- CSV -----------------------------------------------------------------------------


def _csv_targets(job: _Job) -> dict[Path, _Write]:
    return {job.out / "metrics.csv": _metrics_csv, job.out / "params.csv": _params_csv}


def _metrics_csv(job: _Job, path: Path) -> None:
    with _text_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for label, folder in job.folders.items():
            for point in _points(job, folder):
                if isinstance(point.value, dict):
                    job.left_out[point.name] += 1
                else:
                    writer.writerow((label, *point))


def _params_csv(job: _Job, path: Path) -> None:
    with _text_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("run_id", "name", "value"))
        for label, folder in job.folders.items():
            for name, value in read_state(folder).params.items():
                writer.writerow((label, name, value_text(value)))


def _wide_csv(job: _Job, path: Path) -> None:
    """Write a line for each step; where a step comes again, its last value counts."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    names: dict[str, None] = {}
    for label, folder in job.folders.items():
        for name, history in read_histories(folder).items():
            for step, value, time in history:
                if isinstance(value, int | float):
                    row = rows.setdefault((label, step), {"": time})
                    row[""] = max(row[""], time)
                    row[name] = value
                    names[name] = None
    with _text_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("run_id", "step", "time", *names))
        order = {label: place for place, label in enumerate(job.folders)}
        for label, step in sorted(rows, key=lambda key: (order[key[0]], key[1])):
            row = rows[label, step]
            cells = (_number_text(row.get(name, "")) for name in names)
            writer.writerow((label, step, _time_text(row[""]), *cells))


def _time_text(seconds: float) -> str:
    """Return a time as in the files of a run."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(
        microseconds=round(seconds * 1e6)
    )
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _number_text(value: Any) -> Any:
    """Return a number as in the other files: `NaN`, not `nan`."""
    if isinstance(value, float) and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def _text_file(path: Path) -> TextIO:
    return open(path, "x", encoding="utf-8", errors="replace", newline="")


# --- JSON ----------------------------------------------------------------------------


def _json_targets(job: _Job) -> dict[Path, _Write]:
    def writer(label: str, folder: Path) -> _Write:
        return lambda job, path: _run_json(job, label, folder, path)

    return {job.out / f"{n}.json": writer(n, f) for n, f in job.folders.items()}


def _run_json(job: _Job, label: str, folder: Path, path: Path) -> None:
    state = read_state(folder)
    columns: dict[str, dict[str, list[Any]]] = {}
    for point in _points(job, folder):
        found = columns.setdefault(point.name, {key: [] for key in _COLUMNS[2:]})
        found["step"].append(point.step)
        found["time"].append(point.time)
        typed = isinstance(point.value, dict)
        found["value"].append(point.value["typed"] if typed else point.value)
        found["rank"].append(point.rank)
        found["attempt"].append(point.attempt)
    facts = {**_facts(state, label), "metrics": columns}
    with open(path, "xb") as file:
        file.write(orjson.dumps(facts) + b"\n")


def _facts(state: RunState, label: str) -> dict[str, Any]:
    return {
        "run_id": label,
        "experiment": state.experiment,
        "name": state.name,
        "status": state.status,
        "created": state.created or None,
        "ended": state.ended,
        "duration": state.duration,
        "error": state.error,
        "params": state.params,
        "tags": state.tags,
        "properties": state.properties,
    }


# --- Parquet -------------------------------------------------------------------------


def _parquet_targets(job: _Job) -> dict[Path, _Write]:
    is_unique = not any("/" in label for label in job.folders)
    label = "run_id" if is_unique else "experiment || '/' || run_id as run_id"
    metrics = f"""select {label}, name, step, ts at time zone 'UTC' as time, value,
        rank, attempt from metrics"""
    params = f"select {label}, name, value, number from params"

    def writer(sql: str) -> _Write:
        return lambda job, path: write_parquet(list(job.folders.values()), sql, path)

    return {
        job.out / "metrics.parquet": writer(metrics),
        job.out / "params.parquet": writer(params),
    }


# --- TensorBoard ---------------------------------------------------------------------


def _tensorboard_targets(job: _Job) -> dict[Path, _Write]:
    def writer(folder: Path) -> _Write:
        return lambda job, path: _events(job, folder, path)

    return {
        job.out / label / _events_name(read_state(folder)): writer(folder)
        for label, folder in job.folders.items()
    }


def _events_name(state: RunState) -> str:
    return f"events.out.tfevents.{int(began(state)):010}.mlog"


def _events(job: _Job, folder: Path, path: Path) -> None:
    job.left_out += write_events(folder, path)
    job.advance(_size(folder))


_TARGETS: dict[str, Callable[[_Job], dict[Path, _Write]]] = {
    "csv": _csv_targets,
    "json": _json_targets,
    "parquet": _parquet_targets,
    "tensorboard": _tensorboard_targets,
}
