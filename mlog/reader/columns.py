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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, BinaryIO, TypeAlias

import orjson

from mlog.reader.blocks import cut_lines, read_lines, reader_of
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
from mlog.reader.entries import NONFINITE, seconds_of
from mlog.reader.follow import parse_line

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
    for offset, lines in read_lines(read, start, size):
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

    Values become numbers in memory at once: objects that are let go of block by block
    stay in the processor's cache. As long as all are floats, those of all names stand
    one entry after the other; then each name gets a column of its own. In a bare
    reading, which is made to return objects, they are left as they are.

    Attributes:
        names: Of the points of each entry.
        take: Returns the values of an entry's metrics, in order of the names.
        runs: Indexes of the entries.
    """

    __slots__ = ("_columns", "_flat", "_objects", "names", "runs", "take")

    def __init__(self, names: tuple[str, ...], bare: bool) -> None:
        self.names = names
        self._objects: list[list[Any]] | None = [[] for _ in names] if bare else None
        self.take: Callable[[Entry], Any] = itemgetter(*names) if names else len
        self.runs: list[Sequence[int]] = []
        self._flat = bytearray()
        self._columns: list[_Growing] = []

    def add(self, places: Sequence[int], values: list[Any], kinds: set[type]) -> None:
        """Add entries.

        Args:
            places: Their indexes.
            values: Of all of them, one entry's after the other's.
            kinds: The values' types, and maybe others.
        """
        if self._objects is not None and kinds <= _NUMBERS and not self._columns:
            width = len(self.names)
            for i, column in enumerate(self._objects):
                column += values[i::width]
        elif kinds == _ALL_FLOATS and not self._columns:
            self._flat += struct.pack(f"{len(values)}d", *values)
        else:
            width = len(self.names)
            self._columns = self._columns or list(self._split())
            for i, growing in enumerate(self._columns):
                growing.add(values[i::width])
        last = self.runs[-1] if self.runs else None
        if (
            type(last) is range is type(places)
            and last.step == places.step
            and last[-1] + last.step == places[0]
        ):
            self.runs[-1] = range(last.start, places[-1] + 1, last.step)
        else:
            self.runs.append(places)

    def layout(self, wanted: Callable[[str], bool] | None) -> Layout:
        """Return what has come."""
        first = self.runs[0]
        is_one = len(self.runs) == 1 and isinstance(first, range)
        places = first if is_one else packed("q", [*chain.from_iterable(self.runs)])
        growing = self._columns or self._split()
        columns = [
            column.column() if wanted is None or wanted(name) else None
            for name, column in zip(self.names, growing, strict=True)
        ]
        return Layout(self.names, places, columns)  # type: ignore[arg-type]

    def _split(self) -> "Iterator[_Growing]":
        width, flat = len(self.names), numbers("d", bytes(self._flat))
        if self._objects is not None:
            yield from (_Growing(Column(NUMBERS, each)) for each in self._objects)
            return
        for i in range(width):
            yield _Growing(Column(FLOATS, flat[i::width]))


class _Growing:
    """Values of one name in one layout, as they come."""

    __slots__ = ("_parts",)

    def __init__(self, first: Column) -> None:
        self._parts = [first] if first.data else []

    def add(self, values: list[Any]) -> None:
        self._parts.append(column_of(values))

    def column(self) -> Column:
        if len(self._parts) == 1:
            return self._parts[0]
        kinds = {part.kind for part in self._parts}
        if kinds in ({FLOATS}, {INTEGERS}):
            (kind,) = kinds
            data = b"".join(part.data.tobytes() for part in self._parts)
            return Column(kind, numbers(kind, data))
        return column_of(list(chain.from_iterable(map(Column.values, self._parts))))


class _Reading:
    """Puts the entries of blocks into columns."""

    def __init__(self, start: int, bare: bool, last_time: float) -> None:
        self.start = start
        self.last_time = last_time
        self._bare = bare
        self.count = 0
        self._rows: dict[tuple[str, ...], _Rows] = {}
        self._turns: list[_Rows] = []  # in which entries come, as far as they do
        self._phase = 0
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
        elif not self._add_in_turns(metrics):
            self._add_found(entries, metrics)
        self._add_rest(entries, seqs, stamps)
        self.count += len(entries)

    def _add_in_turns(self, metrics: list[Any]) -> bool:
        """Take metrics whose names come as before; return whether they do.

        Nothing is taken where they do not.
        """
        turns, taken = self._turns, []
        kinds: set[type] = {float}
        period, count = len(turns), len(metrics)
        for i in range(min(period, count)):
            rows = turns[(self._phase + i) % period]
            some = metrics[i::period] if period > 1 else metrics
            width = len(rows.names)
            try:
                if {*map(len, some)} != {width}:
                    return False
                values = list(map(rows.take, some))
            except (KeyError, TypeError):
                return False
            if width > 1:
                values = list(chain.from_iterable(values))
            if not self._bare:
                kinds = {*map(type, values)}
            elif not are_numbers(values):
                return False
            if not kinds <= _NUMBERS:
                return False
            taken.append((rows, i, values, kinds))
        for rows, i, values, kinds in taken:
            places = range(self.count + i, self.count + count, period)
            rows.add(places, values, kinds)
        self._phase = (self._phase + count) % period if period else 0
        return bool(taken)

    def _add_found(self, entries: list[Entry], metrics: list[Any]) -> None:
        """Take metrics whatever their names, and see how they come in turns."""
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
        if period:
            for i in range(period):
                rows = self._rows_of(names[i])
                places = range(self.count + i, self.count + len(names), period)
                rows.add(places, list(chain.from_iterable(values[i::period])), kinds)
            turns = [self._rows_of(each) for each in names[:period]]
            self._phase = len(names) % period
            self._turns = turns if all(rows.names for rows in turns) else []
            return
        self._turns = []
        self._add_each(names, values, kinds)

    def _add_one_by_one(self, entries: list[Entry]) -> None:
        """Take what entries hold, whatever it is."""
        self._turns = []
        points = [list(_points_of(entry)) for entry in entries]
        names = [tuple(name for name, _ in each) for each in points]
        values = [[value for _, value in each] for each in points]
        self._add_each(names, values, {*map(type, chain.from_iterable(values))})

    def _add_each(
        self, names: list[tuple[str, ...]], values: list[list[Any]], kinds: set[type]
    ) -> None:
        for i, (own, found) in enumerate(zip(names, values, strict=True), self.count):
            self._rows_of(own).add((i,), found, kinds)

    def _rows_of(self, names: tuple[str, ...]) -> _Rows:
        rows = self._rows.get(names)
        if rows is None:
            rows = self._rows[names] = _Rows(names, self._bare)
        return rows

    def _add_rest(
        self, entries: list[Entry], seqs: list[int], stamps: list[str]
    ) -> None:
        """Take what the points of one entry share."""
        if seqs[0] < self._last_seq:
            self._is_ordered = False
        if self._first_seq is None:
            self._first_seq = seqs[0]
        self._last_seq = seqs[-1]
        if self._bare:
            return
        form = f"{len(entries)}q"
        self._stamps += stamps
        self._seqs += struct.pack(form, *seqs)
        steps: list[Any] = [entry.get("step") for entry in entries]
        if not _ALL_INTEGERS.issuperset(map(type, steps)):
            steps = [step if type(step) is int else NO_STEP for step in steps]
        try:
            self._steps += struct.pack(form, *steps)
        except struct.error:  # beyond 64 bits
            steps = [step if _LEAST < step < _END else NO_STEP for step in steps]
            self._steps += struct.pack(form, *steps)

    def page(self, end: int, wanted: Callable[[str], bool] | None) -> Page:
        """Return what was taken."""
        times = _times(self._stamps, self.last_time)
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


def _parsed(lines: bytes) -> tuple[list[Entry], list[int], list[str]]:
    """Return the entries in some lines, by `seq`, and `seq` and `ts` of each."""
    joined = lines.replace(b"\n", b",\n")
    count = len(joined) - len(lines) + 1
    try:
        entries = orjson.loads(b"[%b]" % joined)
        seqs = [entry["seq"] for entry in entries]
        stamps = [entry["ts"] for entry in entries]
        "".join(stamps)  # a TypeError if one is no text
        is_whole = len(seqs) == count and type(sum(seqs)) is int
        if is_whole and sorted(seqs) == seqs and seqs[0] >= _LEAST and seqs[-1] < _END:
            return entries, seqs, stamps
    except (ValueError, KeyError, TypeError):
        pass
    found = filter(None, map(parse_line, lines.split(b"\n")))
    entries = sorted((e for e in found if _LEAST <= e["seq"] < _END), key=_SEQ)
    return entries, [e["seq"] for e in entries], [e["ts"] for e in entries]


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


# --- columns -------------------------------------------------------------------------


def _times(stamps: list[str], last: float) -> "Floats":
    """Return the seconds since the epoch of many times.

    Args:
        last: The time before; stands for what is none.
    """
    found = _times_at_once(stamps)
    if found is not None:
        return found
    times = array("d")
    for stamp in stamps:
        time = seconds_of(stamp)
        last = last if time is None else time
        times.append(last)
    return memoryview(times)


def _times_at_once(stamps: list[str]) -> "Floats | None":
    """Do so by NumPy, several times as fast; None where that cannot be done."""
    numpy = numpy_if_there()
    if numpy is None:
        return None
    if not stamps or {*map(len, stamps)} != {_LENGTH}:
        return None
    text = "".join(stamps).encode("utf-8", "replace")
    if len(text) != _LENGTH * len(stamps):
        return None

    def column(kind: str, offset: int) -> Any:
        """Return what stands at an offset in each of the times."""
        return numpy.ndarray((len(stamps),), kind, text, offset, (_LENGTH,))

    # The 19 characters of a second, mostly those of the time before.
    is_new = numpy.zeros(len(stamps) - 1, bool)
    for kind, offset in (("u8", 0), ("u8", 8), ("u2", 16), ("u1", 18)):
        part = column(kind, offset)
        is_new |= part[1:] != part[:-1]
    firsts = [0, *(numpy.flatnonzero(is_new) + 1).tolist()]
    bases = [seconds_of(f"{stamps[i][:19]}.000000Z") for i in firsts]
    if (
        None in bases
        or (column("u1", 19) != 46).any()
        or (column("u1", 26) != 90).any()
    ):
        return None
    micros = numpy.zeros(len(stamps), "i8")
    for offset in range(20, 26):
        digits = column("u1", offset) - 48  # what is less than "0" becomes great
        if (digits > 9).any():
            return None
        micros = micros * 10 + digits
    whole = [round(each) * 1_000_000 for each in bases if each is not None]
    seconds = numpy.repeat(whole, numpy.diff([*firsts, len(stamps)]))
    return memoryview(((seconds + micros) / 1e6).tobytes()).cast("d")


_LENGTH = len("2026-11-23T18:27:00.123456Z")
