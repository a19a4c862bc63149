"""Entries with the same names in the same order: how they come, and their columns.

Programs log the same names again and again, alone or in turns. Their values become
numbers in memory at once: objects that are let go of block by block stay in the
processor's cache.
"""

import struct
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias

from mlog.reader.column import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    Column,
    Floats,
    are_numbers,
    column_of,
    numbers,
    numpy_if_there,
    packed,
)

__all__ = ["NUMBER_TYPES", "Entry", "Layout", "Places", "Rows", "Turns", "flattened"]

Entry: TypeAlias = dict[str, Any]
Places: TypeAlias = "range | memoryview[int]"
"""Indexes of entries in a page."""

NUMBER_TYPES = frozenset({int, float})
"""Of values that columns hold; a boolean is none."""

_FLOATS_ONLY = frozenset({float})


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


class Rows:
    """Entries of one layout, as they come.

    Attributes:
        names: Of the points of each entry.
        take: Returns the values of an entry's metrics, in order of the names.
        runs: Indexes of the entries.
    """

    __slots__ = ("_bare", "_flat", "_objects", "_parts", "names", "runs", "take")

    def __init__(self, names: tuple[str, ...], bare: bool) -> None:
        """Begin with none.

        Args:
            names: Of the points of each entry.
            bare: Whether objects are kept as they are.
        """
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
        is_float = not self._bare and {*map(type, values)} == _FLOATS_ONLY
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
        if len(self.runs) == 1 and isinstance(first, range):
            places: Places = first
        else:
            places = packed("q", [*chain.from_iterable(self.runs)])
        columns = [
            _one_column(parts) if wanted is None or wanted(name) else None
            for name, parts in zip(self.names, self._parts, strict=True)
        ]
        return Layout(self.names, places, columns)


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


class Turns:
    """Entries the names of which come in turns, as programs log again and again.

    Their values become numbers in memory at once, one entry's after the other's:
    objects that are let go of block by block stay in the processor's cache. In a bare
    reading, which is made to return objects, they are left as they are.
    """

    __slots__ = (
        *("_at", "_bare", "_count", "_flat", "_kept", "_objects", "_phase", "_rows"),
    )

    def __init__(self, rows: list[Rows], bare: bool) -> None:
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
        if kinds == _FLOATS_ONLY:
            self._flat += struct.pack(f"{len(values)}d", *values)
            self._count += count
            return True
        if not kinds <= NUMBER_TYPES:
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
                return flattened(values) if len(own.names) > 1 else values
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
        return flattened(values)

    def _in_order(self, phase: int) -> list[Rows]:
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


def flattened(values: Iterable[Any]) -> list[Any]:
    """Return the values of all entries, one entry's after the other's."""
    return list(chain.from_iterable(values))


def _each(flat: bytes, start: int, step: int) -> Floats:
    """Return every so-manieth of some floats."""
    numpy = numpy_if_there()
    if numpy is None or step == 1:
        return numbers("d", flat)[start::step]
    return numbers("d", numpy.frombuffer(flat, "d")[start::step].tobytes())
