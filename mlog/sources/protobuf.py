"""Messages of protobuf taken apart, without their descriptions.

Source: protobuf.dev, "Encoding".
"""

import struct
from collections.abc import Iterator
from typing import TypeAlias

__all__ = ["Fields", "fields_in", "numbers_in", "signed", "varints_in"]

Fields: TypeAlias = "dict[int, list[int | bytes]]"
"""Field numbers to their values: integers, or the bytes of anything else."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields_in(message: bytes) -> Fields:
    """Return the fields of a message.

    Raises:
        ValueError: It is none.
    """
    found: Fields = {}
    for number, value in _each(message):
        found.setdefault(number, []).append(value)
    return found


def numbers_in(values: list[int | bytes], form: str) -> list[float]:
    """Return the numbers of a repeated field of fixed size, packed or not.

    Args:
        values: Of the field.
        form: As for `struct`: "f" or "d".
    """
    size = struct.calcsize(form)
    content = b"".join(value for value in values if isinstance(value, bytes))
    count = len(content) // size
    return list(struct.unpack(f"<{count}{form}", content[: count * size]))


def varints_in(values: list[int | bytes]) -> list[int]:
    """Return the integers of a repeated field, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(signed(value))
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(signed(number))
    return found


def signed(number: int) -> int:
    """Return an int64 of the bits that a varint has."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _each(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind, start = key & 7, at
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, start = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        at = start + size
        if at > end:
            raise ValueError("a field goes over the end of its message")
        yield key >> 3, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number has no end")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & ((1 << 64) - 1), at
        shift += 7
