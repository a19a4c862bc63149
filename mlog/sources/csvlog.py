"""Metrics in CSV files: of Lightning's CSVLogger, of a script, of `mlog export`.

The first row names the columns. One may be the step and one the time; every other is a
metric, and an empty cell no point. A column `run_id` parts a file into runs, whose rows
stand together; with columns `name` and `value` each row is one number of one metric.

A file is read through before anything is written: what is wrong is one error that names
the row. Rows of a file without times get the time of its last change.
"""

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TextIO

from mlog.errors import MlogError
from mlog.layout import slug
from mlog.plain import fit_text
from mlog.sources.copies import Advance, File, Origin, Point, value_from

__all__ = ["Columns", "CsvRun", "csv_runs"]

_STEPS = ("step", "global_step", "iteration", "epoch")
_TIMES = ("time", "timestamp", "ts", "wall_time", "date", "datetime")
_DELIMITERS = (",", ";", "\t")
_FILE = "metrics.csv"
_LONG = frozenset(("run_id", "name", "value"))
_NOT_METRICS = frozenset(("run_id", "rank", "attempt"))
_EARLIEST, _MILLI, _MICRO = 1e8, 1e11, 1e14
_LEAST, _END = -(1 << 63), 1 << 63
_MAX_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are what, as far as the caller says so.

    Attributes:
        step, time: Names of columns. None: the first that is named like one.
        metrics: Columns to the names of their metrics. Empty: all that are left.
    """

    step: str | None = None
    time: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)


class _Row(NamedTuple):
    run: str
    step: int | None
    time: int | None
    values: dict[str, float]


def csv_runs(
    path: Path, columns: Columns, experiment: str | None = None
) -> list["CsvRun"]:
    """Return the runs of a file, or of all files `metrics.csv` below a folder.

    Args:
        path: Of the file or folder.
        columns: Which columns are what.
        experiment: They go to; default: the name of the folder.

    Raises:
        MlogError: There is no file, or one is wrong; the message names the row.
        OSError: A file cannot be read.
    """
    if path.is_dir():
        files = sorted(
            Path(f) / _FILE for f, _, names in os.walk(path) if _FILE in names
        )
        if not files:
            raise MlogError(f"no file {_FILE} in {path} or below; name the file itself")
        top = path.absolute()
    else:
        files, top = [path], path.absolute().parent
    label = experiment or top.name or "csv"
    return [run for file in files for run in _Table(file, columns).runs(top, label)]


class CsvRun:
    """The rows of a run; a `SourceRun`."""

    def __init__(self, table: "_Table", label: str, origin: Origin) -> None:
        """Use `csv_runs`."""
        self._table, self._label = table, label
        self.origin = origin
        self.notes: list[str] = []

    def points(self, advance: Advance) -> Iterator[Point]:
        """Yield all points in the order of the rows."""
        for row in self._table.rows_of(self._label):
            advance(1)
            yield Point(row.time, row.step, row.values)

    def files(self) -> Iterator[File]:
        """Yield nothing."""
        return iter(())


@dataclass(slots=True)
class _Seen:
    """What a first look at a run's rows has found."""

    began: int | None = None
    ended: int | None = None
    rows: int = 0


class _Table:
    """One file."""

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path = path
        self._asked = columns
        self._step: str | None = None
        self._time: str | None = None
        self._groups: Iterator[tuple[str, Iterator[_Row]]] = iter(())

    def runs(self, top: Path, experiment: str) -> Iterator[CsvRun]:
        """Yield the runs, once the whole file was looked at."""
        seen = self._look()
        status = self.path.stat()
        changed = status.st_mtime_ns // 1_000
        state = sha256(repr((status.st_size, changed)).encode()).hexdigest()
        params = _params_beside(self.path)
        self._groups = groupby(self._rows(), key=lambda row: row.run)
        for label, facts in seen.items():
            name, own, run_id, source = self._names(label, top, experiment)
            origin = Origin(
                tool="csv",
                source=source,
                state=state,
                run_id=run_id,
                experiment=own,
                name=fit_text(name.encode("utf-8", "replace").decode(), 500),
                began=changed if facts.began is None else facts.began,
                ended=changed if facts.ended is None else facts.ended,
                status="Completed",
                params=params.get(label) or params.get("", {}),
                size=facts.rows,
            )
            yield CsvRun(self, label, origin)

    def rows_of(self, label: str) -> Iterator[_Row]:
        """Yield the rows of a run; runs are asked for in the order of the file."""
        for found, rows in self._groups:
            if found == label:
                yield from rows
                return

    def _names(
        self, label: str, top: Path, experiment: str
    ) -> tuple[str, str, str, str]:
        """Return name, experiment, id and source of a run."""
        if label:
            group, _, run_id = label.rpartition("/")
            return run_id, group or experiment, slug(run_id), f"csv:{label}"
        path = Path(os.path.realpath(self.path))
        is_usual = path.name == _FILE
        name = os.path.relpath(path.parent, top) if is_usual else path.stem
        name = top.name if name == os.curdir else name.replace(os.sep, "/")
        source = f"csv:{os.fsencode(path).decode('utf-8', 'replace')}"
        digest = sha256(os.fsencode(path)).hexdigest()[:6]
        stem = slug(name)[:80].rstrip(".")
        return name, experiment, f"{stem}-{digest}", source

    def _look(self) -> dict[str, _Seen]:
        """Read the file through.

        Raises:
            MlogError: Something is wrong with it.
        """
        seen: dict[str, _Seen] = {}
        last = None
        for row in self._rows():
            if row.run in seen and row.run != last:
                text = f"its rows of the run {row.run!r} do not stand together"
                raise MlogError(f"{self.path}: {text}; sort it by run_id")
            last = row.run
            facts = seen.setdefault(row.run, _Seen())
            facts.rows += 1
            if row.time is not None:
                facts.began = min(facts.began or row.time, row.time)
                facts.ended = max(facts.ended or row.time, row.time)
        if not seen:
            raise MlogError(f"{self.path} has no rows with values")
        return seen

    # --- rows ----------------------------------------------------------------------

    def _rows(self) -> Iterator[_Row]:
        """Yield the rows with values.

        Raises:
            MlogError: The file is no such table.
        """
        with open(self.path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(file), strict=True)
            try:
                yield from self._parsed(reader)
            except csv.Error as exc:
                text = f"row {reader.line_num}: {exc}"
                raise MlogError(f"{self.path}, {text}") from None
            except UnicodeDecodeError:
                text = f"row {reader.line_num + 1} or later is no UTF-8 text"
                raise MlogError(f"{self.path}: {text}") from None

    def _parsed(self, reader: "Iterator[list[str]]") -> Iterator[_Row]:
        names = [name.strip() for name in next(reader, [])]
        self._check_names(names)
        is_long = _LONG <= {*names}
        metrics: dict[str, str] | None = None
        for number, cells in enumerate(reader, 2):
            if not any(cells):
                continue
            if len(cells) != len(names):
                text = f"{len(cells)} cells, but {len(names)} columns"
                raise self._wrong(number, text)
            row = {n: c.strip() for n, c in zip(names, cells, strict=True)}
            if metrics is None:
                metrics = self._choose(names, row)
            values = (
                self._long_value(number, row)
                if is_long
                else self._values(number, row, metrics)
            )
            if values:
                step = self._step_in(number, row)
                time = self._time_in(number, row)
                yield _Row(row.get("run_id", ""), step, time, values)

    def _check_names(self, names: list[str]) -> None:
        if len(names) < 2 or not all(names):
            shown = ", ".join(repr(n[:_MAX_SHOWN]) for n in names[:5]) or "nothing"
            text = "row 1 must name two columns or more, such as step,loss"
            raise MlogError(f"{self.path}: {text}; got {shown}")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise MlogError(f"{self.path}: row 1 names a column twice: {twice[0]!r}")
        asked = (self._asked.step, self._asked.time, *self._asked.metrics)
        for name in asked:
            if name is not None and name not in names:
                there = ", ".join(names)
                raise MlogError(f"{self.path} has no column {name!r}; it has {there}")

    def _choose(self, names: list[str], row: dict[str, str]) -> dict[str, str]:
        """Say which columns are step, time and metrics."""
        self._step = self._asked.step or _first(names, _STEPS)
        self._time = self._asked.time or _first(names, _TIMES)
        if self._time and not self._asked.time and _moment(row[self._time]) is None:
            self._time = None  # seconds since the start, say: a metric
        if self._asked.metrics:
            return dict(self._asked.metrics)
        taken = {self._step, self._time, *_NOT_METRICS}
        return {name: name for name in names if name not in taken}

    def _values(
        self, number: int, row: dict[str, str], metrics: dict[str, str]
    ) -> dict[str, float]:
        found = {}
        for column, name in metrics.items():
            if text := row[column]:
                found[name] = self._number(number, column, text)
        return found

    def _long_value(self, number: int, row: dict[str, str]) -> dict[str, float]:
        if not row["name"]:
            raise self._wrong(number, "the name of the metric is missing")
        text = row["value"]
        return {row["name"]: self._number(number, "value", text)} if text else {}

    def _number(self, number: int, column: str, text: str) -> float:
        try:
            return int(text)
        except ValueError:
            pass
        try:
            value = float(text)
        except ValueError:
            what = f"column {column!r}: expected a number, got {text[:_MAX_SHOWN]!r}"
            hint = "choose columns with --metric"
            raise self._wrong(number, f"{what}; {hint}") from None
        return value

    def _step_in(self, number: int, row: dict[str, str]) -> int | None:
        text = row[self._step] if self._step else ""
        if not text:
            return None
        try:
            value = float(text)
            step = int(text) if text.lstrip("+-").isdecimal() else int(value)
        except (ValueError, OverflowError):
            step, value = 0, math.nan
        if value != step or not _LEAST <= step < _END:
            what = f"column {self._step!r}: expected a whole step, got"
            raise self._wrong(number, f"{what} {text[:_MAX_SHOWN]!r}")
        return step

    def _time_in(self, number: int, row: dict[str, str]) -> int | None:
        text = row[self._time] if self._time else ""
        if not text:
            return None
        moment = _moment(text)
        if moment is None:
            what = f"column {self._time!r}: expected a time like 2026-11-23T18:27:00Z"
            hint = "or seconds since 1970, got"
            raise self._wrong(number, f"{what} {hint} {text[:_MAX_SHOWN]!r}")
        return moment

    def _wrong(self, number: int, text: str) -> MlogError:
        return MlogError(f"{self.path}, row {number}: {text}")


def _delimiter(file: TextIO) -> str:
    """Return what parts the names in the first row."""
    try:
        first = file.readline()
    except UnicodeDecodeError:
        first = ""
    file.seek(0)
    return max(_DELIMITERS, key=first.count)


def _first(names: list[str], wanted: tuple[str, ...]) -> str | None:
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in wanted if name in lower), None)


def _moment(text: str) -> int | None:
    """Return a time in microseconds since 1970; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not _EARLIEST <= number < 1e17:
            return None
        scale = 1e6 if number < _MILLI else 1e3 if number < _MICRO else 1
        return round(number * scale)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _params_beside(path: Path) -> dict[str, dict[str, str | int | float]]:
    """Return the params of each run that files beside it have; "" is for all runs.

    Lightning writes `hparams.yaml`, of which lines `name: value` are taken;
    `mlog export` writes `params.csv`.
    """
    found: dict[str, dict[str, str | int | float]] = {}
    if path.name not in (_FILE, "metrics_wide.csv"):
        return found
    try:
        with open(path.with_name("params.csv"), encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("run_id") and row.get("name"):
                    own = found.setdefault(row["run_id"], {})
                    own[row["name"]] = value_from(row.get("value") or "")
    except (OSError, ValueError, csv.Error):
        pass
    try:
        text = path.with_name("hparams.yaml").read_text("utf-8")
    except (OSError, ValueError):
        return found
    for line in text.splitlines():
        name, colon, value = line.partition(": ")
        if colon and name.strip() == name and not name.startswith(("#", "-", "?")):
            own = found.setdefault("", {})
            own[name.strip("'\"")] = value_from(value.strip().strip("'\""))
    return found
