"""The times of many entries at once, as seconds since the epoch.

They are kept as one text with quotation marks between them, so that a million times are
no million objects, and NumPy, where it is installed, can look at all of them together.
"""

from array import array
from typing import Any

from mlog.reader.column import Floats, numpy_if_there
from mlog.reader.entries import seconds_of

__all__ = ["joined", "seconds_in"]

_LENGTH = len("2026-11-23T18:27:00.123456Z")
_BETWEEN = '"'
_TEXTS = 64
"""So many of them, each of a block of entries, stay in the processor's cache."""

_EXACT = 9e9
"""Seconds up to which all microseconds are exact as doubles: the year 2255."""

# Of the eight bytes from the point to the Z, the point being the lowest.
_ENDS, _POINT_AND_Z = 0xFF000000000000FF, 0x5A0000000000002E
_HIGH, _ZEROS, _SIXES = 0xF0F0F0F0F0F0, 0x303030303030, 0x060606060606
_DIGITS = 0x0F0F0F0F0F0F


def joined(stamps: list[str]) -> str:
    """Return some times as one text.

    Raises:
        TypeError: One is no text.
    """
    text = _BETWEEN.join(stamps)
    if text.count(_BETWEEN) != len(stamps) - 1:  # what holds one is no time
        return _BETWEEN.join("" if _BETWEEN in stamp else stamp for stamp in stamps)
    return text


def seconds_in(texts: list[str], last: float) -> Floats:
    """Return the seconds since the epoch of the times in some texts of `joined`.

    Args:
        texts: None of them without a time.
        last: The time before; stands for what is none.
    """
    times = array("d")
    for start in range(0, len(texts), _TEXTS):
        text = _BETWEEN.join(texts[start : start + _TEXTS])
        found = _at_once(text)
        if found is not None:
            times.frombytes(found)
            last = times[-1]
            continue
        for stamp in text.split(_BETWEEN):
            time = seconds_of(stamp)
            last = last if time is None else time
            times.append(last)
    return memoryview(times)


def _at_once(text: str) -> "bytes | None":
    """Do so by NumPy, several times as fast; None where that cannot be done.

    Each place of a time is looked at whole, so that what is elsewhere is found.
    """
    numpy, width = numpy_if_there(), _LENGTH + 1
    count, rest = divmod(len(text) + 1, width)
    if numpy is None or rest or not text.isascii():
        return None
    data = text.encode() + _BETWEEN.encode()

    def column(kind: str, offset: int) -> Any:
        """Return what stands at an offset in each of the times."""
        return numpy.ndarray((count,), kind, data, offset, (width,))

    ends = column("<u8", 19)
    digits = (ends >> 8) & 0xFFFFFFFFFFFF
    are_times = (
        (column("u1", 27) == ord(_BETWEEN)).all()
        and ((ends & _ENDS) == _POINT_AND_Z).all()
        and ((digits & _HIGH) == _ZEROS).all()
        and (((digits + _SIXES) & _HIGH) == _ZEROS).all()
    )
    if not are_times:
        return None
    # The 19 characters of a second, mostly those of the time before.
    is_new = numpy.zeros(count - 1, bool)
    for kind, offset in (("u8", 0), ("u8", 8), ("u2", 16), ("u1", 18)):
        part = column(kind, offset)
        is_new |= part[1:] != part[:-1]
    firsts = [0, *(numpy.flatnonzero(is_new) + 1).tolist()]
    whole = []
    for first in firsts:
        second = text[width * first : width * first + 19]
        base = seconds_of(f"{second}.000000Z")
        if base is None or abs(base) > _EXACT:
            return None
        whole.append(round(base) * 1_000_000)
    seconds = numpy.repeat(whole, numpy.diff([*firsts, count]))
    found: bytes = ((seconds + _number_of(digits)) / 1e6).tobytes()
    return found


def _number_of(digits: Any) -> Any:
    """Return the numbers of six digits each, the first in the lowest byte."""
    digits = digits & _DIGITS
    pairs = digits * 10 + (digits >> 8)
    found = (pairs & 0xFF) * 10_000
    found += ((pairs >> 16) & 0xFF) * 100
    found += (pairs >> 32) & 0xFF
    return found.astype("i8")
