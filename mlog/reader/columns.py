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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any, BinaryIO

import orjson

from mlog.reader.blocks import BLOCK, cut_lines, read_lines, reader_of
from mlog.reader.column import Floats, Integers, numbers
from mlog.reader.entries import NONFINITE
from mlog.reader.follow import parse_line
from mlog.reader.layouts import NUMBER_TYPES, Entry, Layout, Rows, Turns, flattened
from mlog.reader.stamps import joined, seconds_in

__all__ = ["NO_STEP", "Page", "read_pages"]

_LEAST, _END = -(1 << 63), 1 << 63
"""Of the integers in a column."""

NO_STEP = _LEAST
"""Stands in a column of steps for none."""

PAGE = 1 << 25
"""About how many bytes of lines are in a page."""


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


class _Reading:
    """Puts the entries of blocks into columns."""

    def __init__(self, start: int, bare: bool, last_time: float) -> None:
        self.start = start
        self.last_time = last_time
        self._bare = bare
        self.count = 0
        self._rows: dict[tuple[str, ...], Rows] = {}
        self._turns: Turns | None = None
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
        if not kinds <= NUMBER_TYPES:
            self._add_one_by_one(entries)
            return
        names = list(map(tuple, metrics))
        period = _period(names)
        if not period or () in names[:period]:
            self._add_each(names, values)
            return
        turns = [self._rows_of(each) for each in names[:period]]
        self._turns = Turns(turns, self._bare)
        self._turns.add_values(self.count, len(names), flattened(values))

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
            self._rows_of(own).add_few(places, flattened(values[i] for i in indexes))

    def _end_turns(self) -> None:
        if self._turns is not None:
            self._turns.close()
        self._turns = None

    def _rows_of(self, names: tuple[str, ...]) -> Rows:
        rows = self._rows.get(names)
        if rows is None:
            rows = self._rows[names] = Rows(names, self._bare)
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


_ALL_INTEGERS = frozenset({int})
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
