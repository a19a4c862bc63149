"""Metrics of one segment as columns: numbers side by side instead of a dict a line.

Programs log the same names again and again. The entries of a page that hold the same
names in the same order share a *layout*; of each name in it there is one column of
values, and of the layout one column that says which entries they are from. What
entries have in common (`seq`, step, time) stands in columns of the page.

Exactness: a float, an integer of 64 bits and a typed value come out of a column as
they would out of `orjson.loads` of their line. What no column can hold exactly (a
boolean, an integer beside texts) keeps a page from being stored, never from being read.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, BinaryIO, TypeAlias

import orjson

from mlog.reader.blocks import BLOCK, cut_lines, read_lines, reader_of
from mlog.reader.column import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    Column,
    Floats,
    Integers,
    are_numbers,
    column_of,
    numbers,
    numpy_if_there,
    packed,
)
from mlog.reader.entries import NONFINITE
from mlog.reader.follow import parse_line
from mlog.reader.stamps import joined, seconds_in

__all__ = ["NO_STEP", "Layout", "Page", "Places", "read_pages"]

_LEAST, _END = -(1 << 63), 1 << 63
"""Of the integers in a column."""

NO_STEP = _LEAST
"""Stands in a column of steps for none."""

PAGE = 1 << 25
"""About how many bytes of lines are in a page."""


Entry: TypeAlias = dict[str, Any]
Places: TypeAlias = "range | memoryview[int]"


@dataclass(slots=True)
class Layout:
    """Entries of a page with the same names in the same order.

    Attributes:
        names: Of the points of each entry; one may come twice.
        places: Indexes of the entries in the page.
        columns: Values of each name; None where it was not wanted.
    """

    names: tuple[str, ...]
    places: Places
    columns: "list[Column | None]"


@dataclass(slots=True)
class Page:
    """What some lines that follow each other in a segment hold.

    Attributes:
        start: Offset at which they begin.
        end: Offset at which they end.
        count: How many entries they hold.
        layouts: In the order in which they came first.
        seqs: `seq` of each entry; empty like the next two in a bare reading.
        steps: Step of each, NO_STEP for none.
        times: Seconds since the epoch; where it is no time that of the one before.
        is_ordered: Whether the entries are in order of `seq`.
        first_seq: Of the first entry.
        last_seq: Of the last one.
    """

    start: int
    end: int
    count: int = 0
    layouts: list[Layout] = field(default_factory=list)
    seqs: Integers = field(default_factory=lambda: numbers("q"))
    steps: Integers = field(default_factory=lambda: numbers("q"))
    times: Floats = field(default_factory=lambda: numbers("d"))
    is_ordered: bool = True
    first_seq: int = 0
    last_seq: int = 0


def read_pages(
    file: BinaryIO,
    start: int = 0,
    *,
    last_time: float = 0.0,
    bare: bool = False,
    wanted: Callable[[str], bool] | None = None,
) -> Iterator[Page]:
    """Yield what stands in a segment of metrics from an offset on.

    Args:
        file: Of the segment.
        start: At which a line begins.
        last_time: Of the entry before.
        bare: Whether `seqs`, `steps` and `times` may be left empty.
        wanted: Says of a name whether its values are kept. None: all are.
    """
    reading = _Reading(start, bare, last_time)
    read, size = reader_of(file)
    for offset, lines in read_lines(read, start, size, BLOCK):
        for block in cut_lines(lines):
            reading.add(block)
        end = offset + len(lines)
        if end - reading.start >= PAGE and reading.count and not bare:
            yield reading.page(end, wanted)
            reading = _Reading(end, bare, reading.last_time)
        start = end
    if reading.count:
        yield reading.page(start, wanted)


# --- one page ------------------------------------------------------------------------


class _Rows:
    """Entries of one layout, as they come.

    Attributes:
        names: Of the points of each entry.
        take: Returns the values of an entry's metrics, in order of the names.
        runs: Indexes of the entries.
    """

    __slots__ = ("_bare", "_flat", "_objects", "_parts", "names", "runs", "take")

    def __init__(self, names: tuple[str, ...], bare: bool) -> None:
        self.names = names
        self.take: Callable[[Entry], Any] = itemgetter(*names) if names else len
        self.runs: list[range | array[int]] = []
        self._bare = bare
        self._parts: list[list[Column]] = [[] for _ in names]
        self._flat = bytearray()
        self._objects: list[Any] = []

    def add(self, places: range, columns: Iterable[Column]) -> None:
        """Add entries.

        Args:
            places: Their indexes; one or more.
            columns: Their values, of each name.
        """
        self._settle()
        for parts, column in zip(self._parts, columns, strict=True):
            parts.append(column)
        last = self.runs[-1] if self.runs else None
        if (
            isinstance(last, range)
            and last.step == places.step
            and last[-1] + last.step == places[0]
        ):
            self.runs[-1] = range(last.start, places[-1] + 1, last.step)
        else:
            self.runs.append(places)

    def add_few(self, places: Iterable[int], values: list[Any]) -> None:
        """Add some entries, with all of their values, one entry's after the other's.

        They are put together with those that come later: a column has a cost.
        """
        is_float = not self._bare and {*map(type, values)} == _ALL_FLOATS
        if is_float and not self._objects:
            self._flat += struct.pack(f"{len(values)}d", *values)
        else:
            if self._flat:
                self._settle()
            self._objects += values
        last = self.runs[-1] if self.runs else None
        if not isinstance(last, array):
            last = array("q")
            self.runs.append(last)
        last.extend(places)

    def _settle(self) -> None:
        """Make columns of what was put together."""
        width = len(self.names)
        if self._flat:
            flat = bytes(self._flat)
            for i, parts in enumerate(self._parts):
                parts.append(Column(FLOATS, _each(flat, i, width)))
            self._flat.clear()
        if self._objects:
            make = _objects if self._bare else column_of
            for i, parts in enumerate(self._parts):
                parts.append(make(self._objects[i::width]))
            self._objects = []

    def layout(self, wanted: Callable[[str], bool] | None) -> Layout:
        """Return what has come."""
        self._settle()
        first = self.runs[0]
        is_one = len(self.runs) == 1 and isinstance(first, range)
        places = first if is_one else packed("q", [*chain.from_iterable(self.runs)])
        columns = [
            _one_column(parts) if wanted is None or wanted(name) else None
            for name, parts in zip(self.names, self._parts, strict=True)
        ]
        return Layout(self.names, places, columns)  # type: ignore[arg-type]


def _objects(values: list[Any]) -> Column:
    """Return a column of objects as they are, if they are numbers."""
    return Column(NUMBERS, values) if are_numbers(values) else column_of(values)


def _one_column(parts: list[Column]) -> Column:
    """Return the values of one name in one layout."""
    if len(parts) == 1:
        return parts[0]
    kinds = {part.kind for part in parts}
    if kinds in ({FLOATS}, {INTEGERS}):
        (kind,) = kinds
        return Column(kind, numbers(kind, b"".join([p.data.tobytes() for p in parts])))
    return column_of(list(chain.from_iterable(map(Column.values, parts))))


class _Turns:
    """Entries the names of which come in turns, as programs log again and again.

    Their values become numbers in memory at once, one entry's after the other's:
    objects that are let go of block by block stay in the processor's cache. In a bare
    reading, which is made to return objects, they are left as they are.
    """

    __slots__ = (
        *("_at", "_bare", "_count", "_flat", "_kept", "_objects", "_phase", "_rows"),
    )

    def __init__(self, rows: list[_Rows], bare: bool) -> None:
        """Begin with none.

        Args:
            rows: Where the entries belong to, in turns; none is without a name.
            bare: Whether objects are kept.
        """
        self._rows = rows
        self._bare = bare
        self._phase = 0  # whose turn the first entry was that is kept here
        self._at = 0  # its index
        self._count = 0
        self._flat = bytearray()
        self._objects: list[list[Any]] = []
        self._kept = 0  # how many

    def add(self, at: int, metrics: list[Any]) -> bool:
        """Take metrics whose names come as before; return whether they do.

        Nothing is taken where they do not.

        Args:
            at: Index of the first one.
            metrics: What entries hold that follow those before.
        """
        values = self._values(metrics)
        return values is not None and self.add_values(at, len(metrics), values)

    def add_values(self, at: int, count: int, values: list[Any]) -> bool:
        """Do so with their values, one entry's after the other's."""
        if not self._count:
            self._at = at
        if self._bare:
            if not are_numbers(values):
                return False
            self._keep(values)
            self._count += count
            return True
        kinds = {*map(type, values)}
        if kinds == _ALL_FLOATS:
            self._flat += struct.pack(f"{len(values)}d", *values)
            self._count += count
            return True
        if not kinds <= _NUMBERS:
            return False
        self.close()
        self._spread(at, count, lambda i, step: column_of(values[i::step]))
        self._phase = (self._phase + count) % len(self._rows)
        return True

    def close(self) -> None:
        """Hand what was kept to the rows."""
        count, self._count = self._count, 0
        if not count:
            return
        if self._bare:
            columns, self._objects, self._kept = self._objects, [], 0
            self._spread(self._at, count, lambda i, _: Column(NUMBERS, columns[i]))
        else:
            flat = bytes(self._flat)
            self._flat.clear()
            self._spread(
                self._at, count, lambda i, step: Column(FLOATS, _each(flat, i, step))
            )
        self._phase = (self._phase + count) % len(self._rows)

    def _keep(self, values: list[Any]) -> None:
        """Put objects into columns at once: later they would not be in the cache."""
        step = sum(len(rows.names) for rows in self._rows)
        self._objects = self._objects or [[] for _ in range(step)]
        for i, column in enumerate(self._objects):
            column += values[(i - self._kept) % step :: step]
        self._kept += len(values)

    def _values(self, metrics: list[Any]) -> list[Any] | None:
        """Return the values of metrics in order; None if there are other names."""
        rows, period = self._in_order(self._phase + self._count), len(self._rows)
        try:
            if period == 1:
                (own,) = rows
                if {*map(len, metrics)} != {len(own.names)}:
                    return None
                values = list(map(own.take, metrics))
                return _flattened(values) if len(own.names) > 1 else values
            values = [None] * len(metrics)
            for i, own in enumerate(rows[: len(metrics)]):
                some = metrics[i::period]
                if {*map(len, some)} != {len(own.names)}:
                    return None
                values[i::period] = map(own.take, some)
        except (KeyError, TypeError):
            return None
        if all(len(own.names) == 1 for own in rows):
            return values
        for i, own in enumerate(rows):
            if len(own.names) == 1:
                values[i::period] = zip(values[i::period])
        return _flattened(values)

    def _in_order(self, phase: int) -> list[_Rows]:
        """Return the rows from the one on whose turn it is."""
        phase %= len(self._rows)
        return self._rows[phase:] + self._rows[:phase]

    def _spread(
        self, at: int, count: int, column: Callable[[int, int], Column]
    ) -> None:
        """Hand entries to the rows, the first to the one whose turn it was.

        Args:
            at: Index of the first one.
            count: How many.
            column: Returns every so-manieth value from one on.
        """
        step, start = sum(len(rows.names) for rows in self._rows), 0
        for i, rows in enumerate(self._in_order(self._phase)):
            if i < count:
                places = range(at + i, at + count, len(self._rows))
                ends = range(start, start + len(rows.names))
                rows.add(places, [column(j, step) for j in ends])
            start += len(rows.names)


def _flattened(values: Iterable[Any]) -> list[Any]:
    return list(chain.from_iterable(values))


def _each(flat: bytes, start: int, step: int) -> Floats:
    """Return every so-manieth of some floats."""
    numpy = numpy_if_there()
    if numpy is None or step == 1:
        return numbers("d", flat)[start::step]
    return numbers("d", numpy.frombuffer(flat, "d")[start::step].tobytes())


class _Reading:
    """Puts the entries of blocks into columns."""

    def __init__(self, start: int, bare: bool, last_time: float) -> None:
        self.start = start
        self.last_time = last_time
        self._bare = bare
        self.count = 0
        self._rows: dict[tuple[str, ...], _Rows] = {}
        self._turns: _Turns | None = None
        self._seqs = bytearray()
        self._steps = bytearray()
        self._stamps: list[str] = []
        self._first_seq: int | None = None
        self._last_seq = _LEAST
        self._is_ordered = True

    def add(self, lines: bytes) -> None:
        """Take the entries of some lines, the last newline of which is left out."""
        entries, seqs, stamps = _parsed(lines)
        if not entries:
            return
        metrics = None
        try:
            metrics = [e["metric"] for e in entries if "value" not in e]
        except KeyError:
            pass
        if metrics is None or len(metrics) != len(entries):
            self._add_one_by_one(entries)
        elif self._turns is None or not self._turns.add(self.count, metrics):
            self._add_found(entries, metrics)
        self._add_rest(entries, seqs, stamps)
        self.count += len(entries)

    def _add_found(self, entries: list[Entry], metrics: list[Any]) -> None:
        """Take metrics whatever their names, and see how they come in turns."""
        self._end_turns()
        try:
            values = [list(metric.values()) for metric in metrics]
            kinds = {*map(type, chain.from_iterable(values))}
        except AttributeError:  # no dicts
            kinds = {type(None)}
        if not kinds <= _NUMBERS:
            self._add_one_by_one(entries)
            return
        names = list(map(tuple, metrics))
        period = _period(names)
        if not period or () in names[:period]:
            self._add_each(names, values)
            return
        turns = [self._rows_of(each) for each in names[:period]]
        self._turns = _Turns(turns, self._bare)
        self._turns.add_values(self.count, len(names), _flattened(values))

    def _add_one_by_one(self, entries: list[Entry]) -> None:
        """Take what entries hold, whatever it is."""
        self._end_turns()
        points = [list(_points_of(entry)) for entry in entries]
        names = [tuple(name for name, _ in each) for each in points]
        self._add_each(names, [[value for _, value in each] for each in points])

    def _add_each(self, names: list[tuple[str, ...]], values: list[list[Any]]) -> None:
        found: dict[tuple[str, ...], list[int]] = {}
        for i, own in enumerate(names):
            found.setdefault(own, []).append(i)
        for own, indexes in found.items():
            places = [self.count + i for i in indexes]
            self._rows_of(own).add_few(places, _flattened(values[i] for i in indexes))

    def _end_turns(self) -> None:
        if self._turns is not None:
            self._turns.close()
        self._turns = None

    def _rows_of(self, names: tuple[str, ...]) -> _Rows:
        rows = self._rows.get(names)
        if rows is None:
            rows = self._rows[names] = _Rows(names, self._bare)
        return rows

    def _add_rest(self, entries: list[Entry], seqs: list[int], stamps: str) -> None:
        """Take what the points of one entry share."""
        if seqs[0] < self._last_seq:
            self._is_ordered = False
        if self._first_seq is None:
            self._first_seq = seqs[0]
        self._last_seq = seqs[-1]
        if self._bare:
            return
        self._stamps.append(stamps)
        form = f"{len(entries)}q"
        self._seqs += struct.pack(form, *seqs)
        try:
            steps: list[Any] = [entry["step"] for entry in entries]
        except KeyError:
            steps = [entry.get("step") for entry in entries]
        if not _ALL_INTEGERS.issuperset(map(type, steps)):
            steps = [step if type(step) is int else NO_STEP for step in steps]
        try:
            self._steps += struct.pack(form, *steps)
        except struct.error:  # beyond 64 bits
            steps = [step if _LEAST < step < _END else NO_STEP for step in steps]
            self._steps += struct.pack(form, *steps)

    def page(self, end: int, wanted: Callable[[str], bool] | None) -> Page:
        """Return what was taken."""
        self._end_turns()
        times = seconds_in(self._stamps, self.last_time)
        if times:
            self.last_time = times[-1]
        return Page(
            self.start,
            end,
            self.count,
            [rows.layout(wanted) for rows in self._rows.values() if rows.runs],
            numbers("q", bytes(self._seqs)),
            numbers("q", bytes(self._steps)),
            times,
            self._is_ordered,
            self._first_seq or 0,
            self._last_seq if self.count else 0,
        )


_ALL_FLOATS = frozenset({float})
_ALL_INTEGERS = frozenset({int})
_NUMBERS = frozenset({int, float})
_SEQ = itemgetter("seq")


def _parsed(lines: bytes) -> tuple[list[Entry], list[int], str]:
    """Return the entries in some lines, by `seq`, `seq` of each, and all `ts` joined."""
    with_commas = lines.replace(b"\n", b",\n")
    count = len(with_commas) - len(lines) + 1
    try:
        entries = orjson.loads(b"[%b]" % with_commas)
        seqs = [entry["seq"] for entry in entries]
        stamps = joined([entry["ts"] for entry in entries])
        is_whole = len(seqs) == count and type(sum(seqs)) is int
        if is_whole and sorted(seqs) == seqs and seqs[0] >= _LEAST and seqs[-1] < _END:
            return entries, seqs, stamps
    except (ValueError, KeyError, TypeError):
        pass
    found = filter(None, map(parse_line, lines.split(b"\n")))
    entries = sorted((e for e in found if _LEAST <= e["seq"] < _END), key=_SEQ)
    return entries, [e["seq"] for e in entries], joined([e["ts"] for e in entries])


def _points_of(entry: Entry) -> Iterator[tuple[str, Any]]:
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


def _period(names: list[tuple[str, ...]]) -> int:
    """Return after how many entries their names begin again, in order to the end.

    0: they do not, or the same ones come twice before.
    """
    try:
        period = names.index(names[0], 1)
    except ValueError:
        return 0
    if names[period:] != names[:-period] or len({*names[:period]}) < period:
        return 0
    return period
