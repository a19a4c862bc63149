"""Histories of metrics: every point there is, exact, in the order in which it was logged.

Points come out of the segments in columns: the values of a block's entries are put in
one long list, and cut up by name. Programs log the same names again and again, so that
mostly each n-th value belongs to one name. No object is made for an entry or a point.

Which points count:

- Of several ranks the least one that has the name, processes without a rank and rank 0
  being one; a `rank` picks another, "all" takes all.
- Where a later attempt has gone over the same steps again, its points replace those of
  the earlier ones: these end before the least step of any later attempt. Points without
  a step stay.
- Inside a process in order of `seq`, between processes by the greatest time so far.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from mlog.reader.entries import (
    NONFINITE,
    Block,
    WriterFiles,
    read_blocks,
    read_writers,
    seconds_of,
)

__all__ = [
    "Attempts",
    "History",
    "Rank",
    "Values",
    "are_numbers",
    "data_frame",
    "floats_in",
    "plain",
    "read_histories",
    "read_history",
    "read_values",
]

Rank: TypeAlias = int | Literal["all"] | None
Attempts: TypeAlias = Literal["latest", "all"]
Names: TypeAlias = str | Iterable[str] | None

_STEPS = frozenset({int, NoneType})
_END_STEP = 1 << 63
_EXACT = 1 << 53
"""Up to here every integer is a double."""

_T = TypeVar("_T")


# --- for users -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """All points of one metric. A copy: it does not follow the run.

    The columns are NumPy arrays where NumPy is installed, else lists.

    Attributes:
        name: The metric's.
        steps: Step of each point (int64). A point without one has its index.
        values: What was logged. Float64 for floats and integers up to 2**53; int64 for
            greater integers alone; objects for all else, so that each is exact: greater
            integers beside floats, texts, lists, and typed values as `plain` has them.
        times: Seconds since the epoch (float64).
        has_steps: Whether any point was logged with a step.
        ranks: Of `rank="all"` the rank of each point (int64), -1 where the process was
            none; else None.
    """

    name: str
    steps: Any
    values: Any
    times: Any
    has_steps: bool
    ranks: Any = None

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, Any, float]]:
        """Yield step, value and time of each point, as plain Python objects."""
        columns = map(_as_list, (self.steps, self.values, self.times))
        return zip(*columns, strict=True)

    def __repr__(self) -> str:
        """Name the metric, and say how many points it has."""
        count = f"{len(self)} point{'s'[: len(self) != 1]}"
        return f"<History of {self.name!r}: {count}>"

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` of step, value, time (UTC), and rank if there.

        Raises:
            ImportError: pandas is not installed.
        """
        pandas, columns = _pandas(), self._columns()
        columns["time"] = pandas.to_datetime(columns["time"], unit="us", utc=True)
        return pandas.DataFrame(columns)

    def to_polars(self) -> Any:
        """Return a `polars.DataFrame` of step, value, time (UTC), and rank if there.

        Raises:
            ImportError: polars is not installed.
        """
        try:
            import polars
        except ImportError as exc:
            raise ImportError("to_polars needs polars: pip install polars") from exc
        values = _as_list(self.values)
        numbers = {"float64": polars.Float64, "int64": polars.Int64}
        texts = polars.String if {*map(type, values)} == {str} else polars.Object
        dtype = numbers.get(_dtype(values), texts)
        columns = self._columns()
        columns["value"] = polars.Series(values, dtype=dtype, strict=False)
        moment = polars.Datetime("us", "UTC")
        return polars.DataFrame(columns, schema_overrides={"time": moment})

    def _columns(self) -> dict[str, Any]:
        micros = [round(time * 1e6) for time in _as_list(self.times)]
        columns = {"step": self.steps, "value": self.values, "time": micros}
        return columns if self.ranks is None else {**columns, "rank": self.ranks}


def read_history(
    folder: Path, name: str, *, rank: Rank = None, attempts: Attempts = "latest"
) -> History:
    """Return all points of a metric, also while the run is written; none if unknown.

    Args:
        folder: The run's.
        name: The metric's.
        rank: Of which rank; "all": of all of them. None: see the module.
        attempts: "latest": where attempts overlap in step, the latest wins; "all":
            every point that was ever logged.

    Raises:
        RunNotFoundError: There is no such folder.
        ValueError: `rank` or `attempts` is none.
    """
    found = read_histories(folder, name, rank=rank, attempts=attempts)
    return found.get(name) or _history(name, [], rank)


def read_histories(
    folder: Path,
    names: Names = None,
    *,
    rank: Rank = None,
    attempts: Attempts = "latest",
) -> dict[str, History]:
    """Return the histories of several metrics, in one pass; see `read_history`.

    Args:
        folder: The run's.
        names: One name or several; unknown ones are left out. None: all.
        rank: As for `read_history`, like `attempts`.
    """
    parts = _read(folder, names, rank, attempts, bare=False)
    return {name: _history(name, found, rank) for name, found in parts.items()}


def read_values(
    folder: Path,
    names: Names = None,
    *,
    rank: Rank = None,
    attempts: Attempts = "latest",
) -> dict[str, "Values"]:
    """Return only the values of metrics, in order; at least one for each name.

    Faster than `read_histories`, the arguments of which it has. Typed values are the
    dicts of the file format.
    """
    parts = _read(folder, names, rank, attempts, bare=True)
    found = {name: _merged(part) for name, part in parts.items()}
    return {n: Values(points.values, points.are_numbers) for n, points in found.items()}


class Values(NamedTuple):
    """Values of one metric, and whether all are numbers; False: that is not known."""

    values: list[Any]
    are_numbers: bool


def data_frame(columns: Mapping[str, Any]) -> Any:
    """Return a `pandas.DataFrame` of columns of the same length.

    Raises:
        ImportError: pandas is not installed.
    """
    return _pandas().DataFrame(dict(columns))


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as exc:
        raise ImportError("to_pandas needs pandas: pip install pandas") from exc
    return pandas


# --- typed values --------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return a metric's value without the wrapping of the file format.

    Numbers and texts are themselves; an `mlog.list` is a list; an `mlog.row` and an
    `mlog.table` are dicts by column; an `mlog.histogram` is a dict of edges and counts;
    an `mlog.repr` is its text; what lies in an artifact is the artifact's path. What is
    damaged or of an unknown type stays as it is.
    """
    if type(value) is not dict:
        return value
    match value:
        case {"type": "mlog.list", "values": list(values)}:
            return floats_in(values)
        case {"type": "mlog.row", "columns": dict(row)}:
            return dict(zip(row, floats_in(list(row.values())), strict=True))
        case {"type": "mlog.table", "columns": dict(table)}:
            columns = table.items()
            return {k: floats_in(c) if type(c) is list else c for k, c in columns}
        case {"type": "mlog.repr", "value": str(text)}:
            return text
        case {"type": "mlog.histogram", "edges": list(edges), "counts": list(counts)}:
            return {"edges": floats_in(edges), "counts": floats_in(counts)}
        case {"path": str(path)}:
            return path
    return value


def floats_in(values: list[Any]) -> list[Any]:
    """Return a list with floats in the place of the texts that stand for them."""
    if are_numbers(values):
        return values
    return [NONFINITE.get(v, v) if type(v) is str else v for v in values]


def are_numbers(values: list[Any]) -> bool:
    """Whether all are numbers; a sum is several times faster than a look at each."""
    try:
        sum(values)
    except TypeError:
        return False
    return True


# --- which points --------------------------------------------------------------------


@dataclass(slots=True)
class _Points:
    """Points of one metric from one writer, as columns.

    Attributes:
        values: What was logged; typed values are still wrapped.
        seqs: Number of each one's entry; empty like the next two in a bare reading.
        steps: None where it has none.
        times: Seconds since the epoch.
        are_numbers: Whether all values are numbers; False also where it is not known.
    """

    values: list[Any] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    steps: list[int | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    are_numbers: bool = True

    def arranged(self, order: Iterable[int]) -> "_Points":
        """Return the points of these indexes."""
        places = list(order)
        return _Points(
            _taken(self.values, places),
            _taken(self.seqs, places),
            _taken(self.steps, places),
            _taken(self.times, places),
            self.are_numbers,
        )

    def in_order(self) -> "_Points":
        """Return the points in order of `seq`."""
        return self.arranged(sorted(range(len(self.seqs)), key=self.seqs.__getitem__))


_Part: TypeAlias = tuple[WriterFiles, _Points]
_Wanted: TypeAlias = Callable[[str], bool]
_Place: TypeAlias = tuple[str, slice | list[int]]
"""A name, and which of many values are of that name."""


def _read(
    folder: Path, names: Names, rank: Rank, attempts: Attempts, *, bare: bool
) -> dict[str, list[_Part]]:
    """Return for each name its points of each writer, in order inside of it.

    Args:
        bare: Whether columns other than values may be left empty where only one writer
            has the name.
    """
    _check(rank, attempts)
    asked = None if names is None else {names} if isinstance(names, str) else {*names}
    groups = _by_rank(folder, rank)
    bare = bare and (rank != "all" or len(groups) == 1)
    parts: dict[str, list[_Part]] = {}
    for group in groups:
        taken = parts.keys() if rank is None else ()  # those of a lesser rank count
        if asked is not None and asked <= {*taken}:
            break
        wanted = _wanted(asked, frozenset(taken))
        for name, found in _read_group(folder, group, wanted, attempts, bare).items():
            parts.setdefault(name, []).extend(found)
    return parts


def _check(rank: Rank, attempts: Attempts) -> None:
    if rank not in (None, "all") and (type(rank) is not int or rank < 0):
        raise ValueError(f"rank must be a number >= 0, 'all' or None, got {rank!r}")
    if attempts not in ("latest", "all"):
        raise ValueError(f"attempts must be 'latest' or 'all', got {attempts!r}")


def _wanted(asked: set[str] | None, taken: frozenset[str]) -> _Wanted:
    return lambda name: name not in taken and (asked is None or name in asked)


def _by_rank(folder: Path, rank: Rank) -> list[list[WriterFiles]]:
    """Return the writers of each rank that count, the least rank first."""
    groups = defaultdict(list)
    for writer in read_writers(folder):
        own = writer.rank or 0
        if "metrics" in writer.segments and rank in (None, "all", own):
            groups[own].append(writer)
    return [groups[own] for own in sorted(groups)]


def _read_group(
    folder: Path,
    writers: list[WriterFiles],
    wanted: _Wanted,
    attempts: Attempts,
    bare: bool,
) -> dict[str, list[_Part]]:
    """Return the points of one rank's writers."""
    bare = bare and len(writers) == 1
    parts: dict[str, list[_Part]] = {}
    for writer in writers:
        for name, points in _read_writer(folder, writer, wanted, bare).items():
            parts.setdefault(name, []).append((writer, points))
    if attempts == "latest" and len({writer.attempt for writer in writers}) > 1:
        parts = {name: list(_latest(found)) for name, found in parts.items()}
    return parts


def _latest(parts: list[_Part]) -> Iterator[_Part]:
    """Leave out what later attempts have gone over again."""
    for writer, points in parts:
        later = chain.from_iterable(
            other.steps for by, other in parts if by.attempt > writer.attempt
        )
        least = min((step for step in later if step is not None), default=None)
        if least is not None:
            steps = enumerate(points.steps)
            kept = (i for i, step in steps if step is None or step < least)
            points = points.arranged(kept)
        if points.values:
            yield writer, points


def _merged(parts: list[_Part]) -> _Points:
    """Return the points of several writers as one, by the greatest time so far."""
    if len(parts) == 1:
        return parts[0][1]
    return _joined(parts).arranged(_order(parts))


def _joined(parts: list[_Part]) -> _Points:
    """Return the points of several writers, one writer after the other."""
    each = [points for _, points in parts]
    return _Points(
        [value for points in each for value in points.values],
        [seq for points in each for seq in points.seqs],
        [step for points in each for step in points.steps],
        [time for points in each for time in points.times],
        all(points.are_numbers for points in each),
    )


def _order(parts: list[_Part]) -> list[int]:
    """Return the indexes of the joined points in the order of the merged ones."""
    running = (accumulate(points.times, max) for _, points in parts)
    times = list(chain.from_iterable(running))
    return sorted(range(len(times)), key=times.__getitem__)


# --- reading -------------------------------------------------------------------------


def _read_writer(
    folder: Path, writer: WriterFiles, wanted: _Wanted, bare: bool
) -> dict[str, _Points]:
    """Return the points of one writer by name, in order of `seq`."""
    columns = _Columns(wanted, bare)
    for block in read_blocks(folder, writer.segments["metrics"]):
        columns.add(block)
        del block  # before the next one is made, which takes its place in the cache
    if columns.are_ordered:
        return columns.points
    if bare:  # threads swapped entries over the border of two blocks
        return _read_writer(folder, writer, wanted, bare=False)
    return {name: points.in_order() for name, points in columns.points.items()}


class _Columns:
    """Takes the points out of the blocks of one writer.

    Attributes:
        points: By name; those of one block after those of the other.
        are_ordered: Whether that is the order of `seq`.
    """

    def __init__(self, wanted: _Wanted, bare: bool) -> None:
        self.points: dict[str, _Points] = {}
        self.are_ordered = True
        self._wanted = wanted
        self._bare = bare
        self._last_seq = -1
        self._last_time = 0.0
        self._names: list[str] = []
        self._found: list[_Place] = []

    def add(self, block: Block) -> None:
        """Take the next block."""
        if block.seqs[0] < self._last_seq:
            self.are_ordered = False
        self._last_seq = block.seqs[-1]
        metrics, values, numbers = _metrics_of(block.entries)
        found = self._wanted_places(list(chain.from_iterable(metrics)))
        for name, place in found:
            points = self._points(name)
            points.values += _taken(values, place)
            points.are_numbers = points.are_numbers and numbers
        if found and not self._bare:
            self._add_rest(block, metrics, found)

    def _add_rest(
        self,
        block: Block,
        metrics: list[dict[str, Any]],
        found: list[_Place],
    ) -> None:
        """Take the columns that the points of one entry share."""
        counts = list(map(len, metrics))
        seqs = _repeated(block.seqs, counts)
        steps = _repeated(_steps_of(block.entries), counts)
        times = _repeated(self._times_of(block.entries), counts)
        for name, place in found:
            points = self.points[name]
            points.seqs += _taken(seqs, place)
            points.steps += _taken(steps, place)
            points.times += _taken(times, place)

    def _wanted_places(self, names: list[str]) -> list[_Place]:
        """Return where the names of interest stand, in a list of those of all points."""
        if not names:
            return []
        known = self._names
        if len(names) > len(known) or names != known[: len(names)]:
            places = _places(names).items()
            self._found = [(n, place) for n, place in places if self._wanted(n)]
            # Only where they come in turns it is the same for another number of them.
            self._names = names if _are_slices(self._found) else []
        return self._found

    def _points(self, name: str) -> _Points:
        found = self.points.get(name)
        if found is None:
            found = self.points[name] = _Points()
        return found

    def _times_of(self, entries: list[dict[str, Any]]) -> list[float]:
        """Return the times of entries; for one that is none that of the entry before."""
        times = []
        last = self._last_time
        for entry in entries:
            seconds = seconds_of(entry["ts"])
            if seconds is not None:
                last = seconds
            times.append(last)
        self._last_time = last
        return times


def _metrics_of(
    entries: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[Any], bool]:
    """Return the points of each entry, the values of all, and whether all are numbers.

    A point is an item of its entry's dict, from name to value.
    """
    try:
        metrics = [entry["metric"] for entry in entries if "value" not in entry]
        values = _values_of(metrics)
        if len(metrics) == len(entries) and are_numbers(values):
            return metrics, values, True
    except (KeyError, TypeError):  # no metric in it, or none of the format
        pass
    metrics = [dict(_points_of(entry)) for entry in entries]
    values = _values_of(metrics)
    return metrics, values, are_numbers(values)


def _values_of(metrics: list[dict[str, Any]]) -> list[Any]:
    return list(chain.from_iterable(map(dict.values, metrics)))


def _points_of(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of what an entry holds, whatever it is."""
    metric, value = entry.get("metric"), entry.get("value")
    for name, number in metric.items() if type(metric) is dict else ():
        if type(number) is str:
            number = NONFINITE.get(number)
        if isinstance(number, int | float):
            yield name, number
    for name, typed in value.items() if type(value) is dict else ():
        if isinstance(typed, str | dict):
            yield name, typed


def _places(names: list[str]) -> dict[str, slice | list[int]]:
    """Return where each name stands in a list of many."""
    period = _period(names)
    if period:
        return {name: slice(i, None, period) for i, name in enumerate(names[:period])}
    places: dict[str, slice | list[int]] = {}
    indexes: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        indexes[name].append(i)
    places.update(indexes)
    return places


def _are_slices(found: list[_Place]) -> bool:
    return bool(found) and type(found[0][1]) is slice


def _period(names: list[str]) -> int:
    """Return after how many names they begin again, in the same order to the end.

    0: they do not, or a name comes twice before.
    """
    try:
        period = names.index(names[0], 1)
    except (ValueError, IndexError):
        return 0
    if names[period:] != names[:-period] or len({*names[:period]}) < period:
        return 0
    return period


def _taken(column: list[_T], place: slice | list[int]) -> list[_T]:
    return column[place] if type(place) is slice else [column[i] for i in place]


def _repeated(column: Iterable[_T], counts: Iterable[int]) -> list[_T]:
    """Return each item so many times."""
    return list(chain.from_iterable(map(repeat, column, counts)))


def _steps_of(entries: list[dict[str, Any]]) -> list[int | None]:
    """Return the steps of entries; None where it is none of 64 bits."""
    steps = [entry.get("step") for entry in entries]
    if _STEPS.issuperset(map(type, steps)):
        if max(filter(None, steps), default=0) < _END_STEP:
            return steps
    return [s if type(s) is int and s < _END_STEP else None for s in steps]


# --- arrays --------------------------------------------------------------------------


def _history(name: str, parts: list[_Part], rank: Rank) -> History:
    points = _merged(parts) if parts else _Points()
    steps = points.steps
    if None in steps:
        steps = [i if step is None else step for i, step in enumerate(steps)]
    values = points.values
    if not are_numbers(values):
        values = list(map(plain, values))
    return History(
        name=name,
        steps=_array(steps, "int64"),
        values=_array(values, _dtype(values)),
        times=_array(points.times, "float64"),
        has_steps=any(step is not None for step in points.steps),
        ranks=_array(_ranks(parts), "int64") if rank == "all" else None,
    )


def _ranks(parts: list[_Part]) -> list[int]:
    """Return the rank of each merged point, -1 for none."""
    joined = _repeated(
        (-1 if writer.rank is None else writer.rank for writer, _ in parts),
        (len(points.values) for _, points in parts),
    )
    return [joined[i] for i in _order(parts)] if len(parts) > 1 else joined


def _dtype(values: list[Any]) -> str:
    """Return what NumPy can keep the values as, each of them exact."""
    kinds = {*map(type, values)}
    if kinds <= {float}:
        return "float64"
    if not kinds <= {int, float}:
        return "object"
    integers = [value for value in values if type(value) is int]
    if max(integers) <= _EXACT and min(integers) >= -_EXACT:
        return "float64"
    return "int64" if kinds == {int} and max(integers) < _END_STEP else "object"


def _array(values: list[Any], dtype: str) -> Any:
    """Return an array, or the list itself where there is no NumPy."""
    try:
        import numpy
    except ImportError:
        return values
    if dtype == "object":  # `array` would look into lists
        return numpy.fromiter(values, dtype=object, count=len(values))
    return numpy.array(values, dtype=dtype)


def _as_list(column: Any) -> list[Any]:
    found: list[Any] = column if isinstance(column, list) else column.tolist()
    return found
