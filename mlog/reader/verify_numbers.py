"""Which numbers of a writer are missing, and what explains them.

Memory does not grow with the run: numbers come nearly in order, so that only what is
missing has to be kept, as ranges. Of more than a million ranges the oldest are only
counted, and a number that turns up in one of those counts as a second one.
"""

from array import array
from bisect import bisect_right
from operator import itemgetter
from typing import TypeAlias

from mlog.reader.alive import is_time, seconds_of
from mlog.reader.verify_results import Numbers, Range, WriterCheck

__all__ = ["MAX_SEQ", "Drop", "Pairs", "Scan"]

Drop: TypeAlias = tuple[int, int, str]
"""First and last of the numbers that a `run.dropped` names, and its reason."""

Pairs: TypeAlias = list[tuple[int, str]]
"""Number and time of entries."""

_MAX_GAPS = 1_000_000
MAX_SEQ = 1 << 62
"""No entry has a number as great as this."""

_SECOND = 1_000_000  # in microseconds
_NEVER = -MAX_SEQ
_first, _second = itemgetter(0), itemgetter(1)


class Scan:
    """Takes the numbers of one writer, nearly in order, and keeps those that miss.

    Attributes:
        drops: What `run.dropped` events name, ascending.
    """

    def __init__(self, drops: list[Drop]) -> None:
        """Begin before the first number."""
        self.drops = drops
        self._count = 0
        self._duplicates = Numbers()
        self._next = 0
        self._newest = ""
        # The missing ranges, ascending, and the time of the entry after each.
        self._first, self._last, self._time = array("q"), array("q"), array("q")
        self._lost, self._dropped = Numbers(), Numbers()  # of ranges no longer kept

    @property
    def has_gaps(self) -> bool:
        """Whether any number is missing."""
        return bool(self._first or self._lost.count or self._dropped.count)

    def add(self, pairs: Pairs) -> None:
        """Take numbers, in their order, with the times of their entries."""
        self._count += len(pairs)
        self._see(max(map(_second, pairs)), pairs)
        begin, end = self._next, self._next + len(pairs)
        if pairs[0][0] == begin and list(map(_first, pairs)) == list(range(begin, end)):
            self._next = end
            return
        for seq, ts in pairs:
            if seq < self._next:
                self._fill(seq, ts)
                continue
            if seq > self._next:
                self._miss(self._next, seq - 1, _micros(ts))
            self._next = seq + 1

    def expect(self, last: int) -> None:
        """Take note that there must be numbers up to `last`."""
        if self._next <= min(last, MAX_SEQ):
            self._miss(self._next, min(last, MAX_SEQ), _NEVER)
            self._next = min(last, MAX_SEQ) + 1

    def judge(self, check: WriterCheck) -> None:
        """Say of each missing number what has become of it."""
        check.entries, check.last = self._count, self._next - 1
        check.duplicates = self._duplicates
        late = Numbers()
        newest = _micros(self._newest)
        since = MAX_SEQ if check.ended or newest == _NEVER else newest - _SECOND
        self._settle(len(self._first), late, since)
        check.lost, check.dropped, check.in_flight = self._lost, self._dropped, late
        if check.dropped.count:
            check.reasons = sorted({reason for _, _, reason in self.drops if reason})

    def _see(self, newest: str, pairs: Pairs) -> None:
        """Note the time of the newest entry; what is no time tells nothing."""
        if not is_time(newest):
            newest = max((ts for _, ts in pairs if is_time(ts)), default="")
        self._newest = max(self._newest, newest)

    def _miss(self, first: int, last: int, time: int) -> None:
        self._first.append(first)
        self._last.append(last)
        self._time.append(time)
        if len(self._first) > _MAX_GAPS:
            self._settle(_MAX_GAPS // 2, Numbers(), MAX_SEQ)

    def _fill(self, seq: int, ts: str) -> None:
        """Take a number that comes late; one that does not miss is a duplicate."""
        at = bisect_right(self._first, seq) - 1
        if at < 0 or seq > self._last[at]:
            self._duplicates.add(seq, seq)
            return
        first, last, time = self._first[at], self._last[at], self._time[at]
        parts = [(first, seq - 1, _micros(ts)), (seq + 1, last, time)]
        parts = [part for part in parts if part[0] <= part[1]]
        self._first[at : at + 1] = array("q", [part[0] for part in parts])
        self._last[at : at + 1] = array("q", [part[1] for part in parts])
        self._time[at : at + 1] = array("q", [part[2] for part in parts])

    def _settle(self, count: int, late: Numbers, since: int) -> None:
        """Sort the first ranges into dropped, late and lost, and forget them.

        Args:
            count: How many.
            late: Takes those that end at an entry of the time `since` or later.
        """
        columns = (self._first, self._last, self._time)
        named = _union(self.drops)
        for first, last, time in zip(
            *(column[:count] for column in columns), strict=True
        ):
            other = late if time >= since else self._lost
            _divide(first, last, named, self._dropped, other)
        for column in columns:
            del column[:count]


def _union(drops: list[Drop]) -> list[Range]:
    """Return the ranges without overlaps, ascending."""
    found: list[Range] = []
    for first, last, _ in drops:
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _divide(
    first: int, last: int, named: list[Range], inside: Numbers, outside: Numbers
) -> None:
    """Add each part of a range to one of two, by whether it lies in a named range."""
    at = max(0, bisect_right(named, first, key=_first) - 1)
    while first <= last:
        low, high = named[at] if at < len(named) else (MAX_SEQ, MAX_SEQ)
        if high < first:
            at += 1
            continue
        if first < low:
            end = min(last, low - 1)
            outside.add(first, end)
        else:
            end = min(last, high)
            inside.add(first, end)
        first = end + 1


def _micros(ts: str) -> int:
    """Return microseconds since the epoch; a time before all others for what is none."""
    seconds = seconds_of(ts)
    return _NEVER if seconds is None else round(seconds * 1_000_000)
