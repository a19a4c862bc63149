"""Histories of metrics: every point there is, exact, in the order in which it was logged.

Points come out of the segments in columns (see `mlog.reader.columns`), and from the
cache where they were read before. No object is made for an entry or a point.

Which points count:

- Of several ranks the least one that has the name, processes without a rank and rank 0
  being one; a `rank` picks another, "all" takes all.
- Where a later attempt has gone over the same steps again, its points replace those of
  the earlier ones: these end before the least step of any later attempt. Points without
  a step stay.
- Inside a process in order of `seq`, between processes by the greatest time so far.
"""

import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from mlog.reader.cache import cache_for
from mlog.reader.column import (
    FLOATS,
    Column,
    are_numbers,
    listed,
    numbers,
    numpy_if_there,
)
from mlog.reader.columns import NO_STEP, Page
from mlog.reader.entries import NONFINITE, WriterFiles, read_writers
from mlog.reader.kept_columns import read_columns
from mlog.reader.layouts import Places

__all__ = [
    "Attempts",
    "History",
    "Rank",
    "Values",
    "are_numbers",
    "data_frame",
    "data_frame_of_rows",
    "floats_in",
    "plain",
    "read_histories",
    "read_history",
    "read_values",
]

Rank: TypeAlias = int | Literal["all"] | None
Attempts: TypeAlias = Literal["latest", "all"]
Names: TypeAlias = str | Iterable[str] | None

_END_STEP = 1 << 63
_EXACT = 1 << 53
"""Up to here every integer is a double."""

_NO_STEP_BYTES = struct.pack("q", NO_STEP)

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
    keep: bool = False,
) -> dict[str, "Values"]:
    """Return only the values of metrics, in order; at least one for each name.

    Faster than `read_histories`, the arguments of which it has. Typed values are the
    dicts of the file format.

    Args:
        folder, names, rank, attempts: As for `read_histories`.
        keep: Whether what is read is kept for other processes, at the cost of that.
    """
    parts = _read(folder, names, rank, attempts, bare=not keep)
    found = {name: _merged(part) for name, part in parts.items()}
    return {
        name: Values(_as_list(points.values), points.are_numbers)
        for name, points in found.items()
    }


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


def data_frame_of_rows(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a `pandas.DataFrame` of rows; what one has not is None.

    Raises:
        ImportError: pandas is not installed.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return data_frame({name: [row.get(name) for row in rows] for name in names})


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


# --- which points --------------------------------------------------------------------


@dataclass(slots=True)
class _Points:
    """Points of one metric from one writer, as columns.

    Attributes:
        values: What was logged, an array if all are floats; typed values are wrapped.
        steps: NO_STEP where it has none; empty like the next one in a bare reading.
        times: Seconds since the epoch.
        are_numbers: Whether all values are numbers; False also where it is not known.
    """

    values: "list[Any] | memoryview[float]" = field(
        default_factory=lambda: numbers("d")
    )
    steps: "memoryview[int]" = field(default_factory=lambda: numbers("q"))
    times: "memoryview[float]" = field(default_factory=lambda: numbers("d"))
    are_numbers: bool = True

    def arranged(self, order: Iterable[int]) -> "_Points":
        """Return the points of these indexes."""
        places = list(order)
        values = [self.values[i] for i in places]
        is_list = isinstance(self.values, list)
        return _Points(
            values if is_list else memoryview(array("d", values)),
            _chosen(self.steps, places) if self.steps else self.steps,
            _chosen(self.times, places) if self.times else self.times,
            self.are_numbers,
        )


_Part: TypeAlias = tuple[WriterFiles, _Points]
_Wanted: TypeAlias = Callable[[str], bool]


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
        least = min((step for step in later if step != NO_STEP), default=None)
        if least is not None:
            steps = enumerate(points.steps)
            kept = (i for i, step in steps if step == NO_STEP or step < least)
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
        _joined_values([points.values for points in each]),
        _joined_arrays("q", [points.steps for points in each]),
        _joined_arrays("d", [points.times for points in each]),
        all(points.are_numbers for points in each),
    )


def _joined_values(
    parts: "list[list[Any] | memoryview[float]]",
) -> "list[Any] | memoryview[float]":
    arrays = [part for part in parts if not isinstance(part, list)]
    if len(arrays) == len(parts):
        return _joined_arrays("d", arrays)
    return list(chain.from_iterable(parts))


def _joined_lists(parts: Iterable[list[Any]]) -> list[Any]:
    first, *others = parts
    found = list(first) if others else first
    for part in others:  # whole lists: several times as fast as `chain`
        found += part
    return found


def _joined_arrays(code: str, parts: "list[memoryview[Any]]") -> "memoryview[Any]":
    if len(parts) == 1:
        return parts[0]
    return numbers(code, b"".join([part.tobytes() for part in parts]))


def _order(parts: list[_Part]) -> list[int]:
    """Return the indexes of the joined points in the order of the merged ones."""
    running = (accumulate(points.times, max) for _, points in parts)
    times = list(chain.from_iterable(running))
    return sorted(range(len(times)), key=times.__getitem__)


# --- reading -------------------------------------------------------------------------


_Piece: TypeAlias = tuple[Page, int, Places, Column]
"""A page, how many entries stand before it, entries of it, and what these hold."""


def _read_writer(
    folder: Path, writer: WriterFiles, wanted: _Wanted, bare: bool
) -> dict[str, _Points]:
    """Return the points of one writer by name, in order of `seq`."""
    cache = cache_for(folder.parent.parent)
    pages: list[Page] = []
    for segment in writer.segments["metrics"]:
        path = folder / segment.filename
        pages += read_columns(path, cache, bare=bare, wanted=wanted)
    are_ordered = _are_ordered(pages)
    if bare and not are_ordered:  # threads swapped entries over the border of blocks
        return _read_writer(folder, writer, wanted, bare=False)
    pieces = _pieces(pages, wanted)
    return {name: _put_together(own, are_ordered, bare) for name, own in pieces.items()}


def _are_ordered(pages: list[Page]) -> bool:
    """Whether all entries are in order of `seq`."""
    if not all(page.is_ordered for page in pages):
        return False
    return all(one.last_seq <= two.first_seq for one, two in pairwise(pages))


def _pieces(pages: list[Page], wanted: _Wanted) -> dict[str, list[_Piece]]:
    """Return where the points of each name are."""
    found: dict[str, list[_Piece]] = {}
    before = 0
    for page in pages:
        for layout in page.layouts:
            for name, column in zip(layout.names, layout.columns, strict=True):
                if column is not None and wanted(name):
                    piece = page, before, layout.places, column
                    found.setdefault(name, []).append(piece)
        before += page.count
    return found


def _put_together(pieces: list[_Piece], are_ordered: bool, bare: bool) -> _Points:
    """Return the points of one name in order."""
    columns = [column for *_, column in pieces]
    kinds = {column.kind for column in columns}
    points = _Points(
        _joined_arrays("d", [column.data for column in columns])
        if kinds == {FLOATS} and not bare
        else _joined_lists(map(Column.values, columns)),
        are_numbers=all(column.are_numbers for column in columns),
    )
    if not bare:
        steps = [_picked(page.steps, places) for page, _, places, _ in pieces]
        times = [_picked(page.times, places) for page, _, places, _ in pieces]
        points.steps, points.times = (
            _joined_arrays("q", steps),
            _joined_arrays("d", times),
        )
    if are_ordered and len({page.start for page, *_ in pieces}) == len(pieces):
        return points
    order: Iterable[int] = range(len(points.values))
    at = [before + i for _, before, places, _ in pieces for i in places]
    order = sorted(order, key=at.__getitem__)
    if not are_ordered:
        seqs = [_picked(page.seqs, places) for page, _, places, _ in pieces]
        order = sorted(order, key=_joined_arrays("q", seqs).__getitem__)
    return points.arranged(order)


def _picked(column: "memoryview[Any]", places: Places) -> "memoryview[Any]":
    """Return the items of some places."""
    if isinstance(places, range):
        return column[places.start : places.stop : places.step]
    return _chosen(column, places)


def _chosen(column: "memoryview[Any]", places: Iterable[int]) -> "memoryview[Any]":
    code: Any = column.format
    return memoryview(array(code, [column[i] for i in places]))


# --- arrays --------------------------------------------------------------------------


def _history(name: str, parts: list[_Part], rank: Rank) -> History:
    points = _merged(parts) if parts else _Points()
    steps: Any = points.steps
    if _may_lack(steps):
        steps = [i if step == NO_STEP else step for i, step in enumerate(steps)]
    values = points.values
    if isinstance(values, list) and not points.are_numbers:
        values = list(map(plain, values))
    return History(
        name=name,
        steps=_array(steps, "int64"),
        values=_array(values, _dtype(values)),
        times=_array(points.times, "float64"),
        has_steps=any(step != NO_STEP for step in points.steps),
        ranks=_array(_ranks(parts), "int64") if rank == "all" else None,
    )


def _ranks(parts: list[_Part]) -> list[int]:
    """Return the rank of each merged point, -1 for none."""
    joined = _repeated(
        (-1 if writer.rank is None else writer.rank for writer, _ in parts),
        (len(points.values) for _, points in parts),
    )
    return [joined[i] for i in _order(parts)] if len(parts) > 1 else joined


def _dtype(values: "list[Any] | memoryview[float]") -> str:
    """Return what NumPy can keep the values as, each of them exact."""
    if not isinstance(values, list):
        return "float64"
    kinds = {*map(type, values)}
    if kinds <= {float}:
        return "float64"
    if not kinds <= {int, float}:
        return "object"
    integers = [value for value in values if type(value) is int]
    if max(integers) <= _EXACT and min(integers) >= -_EXACT:
        return "float64"
    return "int64" if kinds == {int} and max(integers) < _END_STEP else "object"


def _array(values: "list[Any] | memoryview[Any]", dtype: str) -> Any:
    """Return an array, or the list itself where there is no NumPy."""
    numpy = numpy_if_there()
    if numpy is None:
        return values if isinstance(values, list) else listed(values)
    if dtype == "object":  # `array` would look into lists
        return numpy.fromiter(values, dtype=object, count=len(values))
    return numpy.array(values, dtype=dtype)


def _may_lack(steps: "memoryview[int]") -> bool:
    """Whether a step may be NO_STEP; False: none is."""
    numpy = numpy_if_there()
    if numpy is not None:
        return NO_STEP in numpy.asarray(steps)
    return _NO_STEP_BYTES in steps.tobytes()


def _repeated(column: Iterable[_T], counts: Iterable[int]) -> list[_T]:
    """Return each item so many times."""
    return list(chain.from_iterable(map(repeat, column, counts)))


def _as_list(column: Any) -> list[Any]:
    if isinstance(column, memoryview):
        return listed(column)
    found: list[Any] = column if isinstance(column, list) else column.tolist()
    return found
