"""One column of values, exact and small, and what it is made of."""

import struct
from array import array
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "FLOATS",
    "INTEGERS",
    "MIXED",
    "NUMBERS",
    "OTHER",
    "TYPED",
    "Column",
    "Floats",
    "Integers",
    "are_numbers",
    "column_of",
    "listed",
    "numbers",
    "numpy_if_there",
    "packed",
]

_EXACT = 1 << 53
"""Up to here every integer is a double."""

Floats: TypeAlias = "memoryview[float]"
Integers: TypeAlias = "memoryview[int]"

# Kinds of columns.
FLOATS, INTEGERS, MIXED, NUMBERS, TYPED, OTHER = "d", "q", "m", "n", "j", ""


class Column(NamedTuple):
    """Values of one name in one layout.

    Attributes:
        kind: FLOATS, INTEGERS of 64 bits, MIXED (floats, and integers that floats hold
            exactly), NUMBERS of any kind, TYPED (texts and dicts), or OTHER.
        data: Numbers in memory for the first three, maybe with gaps, else a list.
        whole: Of MIXED, 1 for each that is an integer, else 0.
    """

    kind: str
    data: Any
    whole: bytes = b""

    @property
    def are_numbers(self) -> bool:
        """Whether all are numbers; False: that is not known."""
        return self.kind in (FLOATS, INTEGERS, MIXED, NUMBERS)

    def values(self) -> list[Any]:
        """Return them as they were logged."""
        if isinstance(self.data, list):
            return self.data
        found = listed(self.data)
        if self.kind == MIXED:
            at = self.whole.find(1)
            while at >= 0:
                found[at] = int(found[at])
                at = self.whole.find(1, at + 1)
        return found


def column_of(values: list[Any]) -> Column:
    """Return values in the smallest column that holds each of them exactly."""
    kinds = {*map(type, values)}
    if kinds <= {float}:
        return Column(FLOATS, packed("d", values))
    if kinds == {int}:
        try:
            return Column(INTEGERS, packed("q", values))
        except struct.error:
            return Column(OTHER, values)
    if kinds == {int, float}:
        whole = bytes(type(value) is int for value in values)
        integers = [value for value in values if type(value) is int]
        if max(integers) <= _EXACT and min(integers) >= -_EXACT:
            return Column(MIXED, packed("d", values), whole)
    if kinds <= {str, dict}:
        return Column(TYPED, values)
    return Column(OTHER, values)


def are_numbers(values: list[Any]) -> bool:
    """Whether all are numbers; a sum is several times faster than a look at each."""
    try:
        sum(values)
    except TypeError:
        return False
    return True


def numbers(kind: str, data: bytes | memoryview = b"") -> "memoryview[Any]":
    """Return numbers of a kind ("d" or "q") in some memory."""
    return memoryview(data).cast(kind)  # type: ignore[call-overload,no-any-return]


def packed(kind: str, values: list[Any]) -> "memoryview[Any]":
    """Return values as numbers of a kind; a struct.error if they have not room."""
    return numbers(kind, struct.pack(f"{len(values)}{kind}", *values))


def listed(column: "memoryview[Any]") -> list[Any]:
    """Return numbers as a list; an array makes one in half the time of a view."""
    code: Any = column.format
    return array(code, column.tobytes()).tolist()


def numpy_if_there() -> Any:
    """Return the module, where it is installed; else None."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy
