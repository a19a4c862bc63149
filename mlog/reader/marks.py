"""Where the steps of a run lie in the entries of one writer.

A mark is an entry of the metrics with a step. Lines of a step are those behind the last
mark of lesser steps, up to the step's own last mark: what was logged before a metric is
what led to it. Steps may be in any order and may repeat, and metrics of a program may
count by different things (batches, epochs); so the whole of the metrics is searched, as
bytes, and there may be several places.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from mlog.layout import SegmentName
from mlog.reader.blocks import (
    MAX_LINE,
    blocks_before,
    open_segment,
    read_parts,
    reader_of,
)
from mlog.reader.follow import parse_line

__all__ = ["Mark", "Span", "find_gap", "find_spans", "step_range"]

_CHUNK = 1 << 20
_NEAR = 1 << 14
_ANY = re.compile(rb'"step":\s*(-?\d+)')
_FIRST = re.compile(rb'"step":\s*(-?\d+)[^\n]*')
_FEW = 10
"""Marks of another count that may lie among those of a place, as of a validation."""

_MOST_LISTED = 1_000


class Mark(NamedTuple):
    """One entry of the metrics with a step.

    Attributes:
        seq: Its number.
        step: Its step.
        ts: Its time.
        number: Which of the segments it is in, from 0.
        start, end: Where its line stands there, with its newline.
    """

    seq: int
    step: int
    ts: str
    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """Some entries of a writer, by their numbers.

    Attributes:
        first, last: Both included; the last may be `math.inf`.
        before: The mark in front of it, if any.
        marks: Those in it whose steps were asked for.
    """

    first: int
    last: float
    before: Mark | None
    marks: list[Mark] = field(default_factory=list)


def find_spans(
    folder: Path,
    segments: list[SegmentName],
    first: int,
    last: int,
    metric: str | None = None,
) -> list[Span]:
    """Return where the steps from one to another lie; none where there is no mark.

    Args:
        folder: The run's.
        segments: Of the writer's metrics, in order.
        first, last: Steps, both included.
        metric: Only marks with this metric count.
    """
    metrics = _Metrics(folder, segments, metric)
    spans = []
    marks = list(metrics.with_steps(first, last))
    while marks:
        before = metrics.before(marks[0])
        count, after = _one_place(metrics, marks)
        spans.append(_span(before, marks[:count], after, last))
        del marks[:count]
    return spans


def find_gap(
    folder: Path,
    segments: list[SegmentName],
    first: int,
    last: int,
    metric: str | None = None,
) -> list[Span]:
    """Return where steps lie that have no mark: between one before and one behind."""
    metrics = _Metrics(folder, segments, metric)
    found = list(metrics.over_gaps(first, last)) if metric is None else []
    pairs = [(metrics.before(mark), mark) for mark in found] or pairwise(metrics.all())
    return [
        Span(before.seq + 1, mark.seq - 1, before)
        for before, mark in pairs
        if before is not None and before.step < first and mark.step > last
    ]


def step_range(folder: Path, segments: list[SegmentName]) -> tuple[int, int] | None:
    """Return about the least and the greatest step; None where there is no step."""
    steps = list(_Metrics(folder, segments, None).numbers())
    return (min(steps), max(steps)) if steps else None


def _one_place(metrics: "_Metrics", marks: list[Mark]) -> tuple[int, Mark | None]:
    """Return how many of some marks lie in one place, and the mark behind these."""
    count = 1
    while True:
        mark = marks[count - 1]
        following = marks[count] if count < len(marks) else None
        if following is not None and (mark.number, mark.end) == following[3:5]:
            count += 1
            continue
        after = beyond = metrics.after(mark)
        for _ in range(_FEW):
            if beyond is None or following is None or beyond == following:
                break
            beyond = metrics.after(beyond)
        is_near = following is not None and beyond == following
        if following is None or not is_near:
            return count, after
        if after != following and mark.step > following.step:  # another time over them
            return count, after
        count += 1


def _span(
    before: Mark | None, marks: list[Mark], after: Mark | None, last_step: int
) -> Span:
    """Return the entries around marks that follow each other.

    Steps that have no mark themselves lie in front of the next mark, or at the end.
    """
    seqs = [mark.seq for mark in marks]
    end: float = max(seqs)
    if marks[-1].step < last_step:
        if after is None:
            end = math.inf
        elif after.step > last_step:
            end = after.seq - 1
    begin = min(before.seq + 1, *seqs) if before is not None else 0
    return Span(begin, end, before, marks)


class _Metrics:
    """The marks of one writer, in the order of its files."""

    def __init__(
        self, folder: Path, segments: list[SegmentName], metric: str | None
    ) -> None:
        self._paths = [folder / segment.filename for segment in segments]
        self._metric = metric

    def with_steps(self, first: int, last: int) -> Iterator[Mark]:
        """Yield the marks from one step to another."""
        steps = range(first, last + 1)
        pattern = _ANY
        if len(steps) <= _MOST_LISTED:
            numbers = b"|".join(b"%d" % step for step in steps)
            pattern = re.compile(rb'"step":\s*(%b)(?!\d)' % numbers)
        for number in range(len(self._paths)):
            for mark in self._found(number, pattern, steps.__contains__):
                if mark.step in steps:
                    yield mark

    def all(self) -> Iterator[Mark]:
        """Yield all marks."""
        for number in range(len(self._paths)):
            yield from self._found(number, _ANY, lambda step: True)

    def over_gaps(self, first: int, last: int) -> Iterator[Mark]:
        """Yield marks behind `last` where the one in front seems to be before `first`.

        Only numbers are looked at, so that one of somebody else's fields may mislead.
        """
        before = last
        for number in range(len(self._paths)):
            for offset, chunk, stop in self._chunks(number):
                for match in _FIRST.finditer(chunk, 0, stop):
                    step = int(match[1])
                    if step > last and before < first:
                        begin = chunk.rfind(b"\n", 0, match.start()) + 1
                        line = chunk[begin : match.end()]
                        mark = self._mark(number, line, offset + begin)
                        if mark is not None:
                            yield mark
                    before = step

    def numbers(self) -> Iterator[int]:
        """Yield what look like the steps of all marks."""
        for number in range(len(self._paths)):
            for _, chunk, stop in self._chunks(number):
                yield from map(int, _FIRST.findall(chunk, 0, stop))

    def before(self, mark: Mark) -> Mark | None:
        """Return the mark in front of another."""
        for number in range(mark.number, -1, -1):
            end = mark.start if number == mark.number else self._size(number)
            place = end

            def read(start: int, length: int, number: int = number) -> bytes:
                return self._read(number, start, length)

            for block in blocks_before(read, end, _NEAR):
                for line in reversed(block.split(b"\n")):
                    place -= len(line) + 1
                    found = self._mark(number, line, place)
                    if found is not None:
                        return found
        return None

    def after(self, mark: Mark) -> Mark | None:
        """Return the mark behind another."""
        place = mark.end
        for number in range(mark.number, len(self._paths)):
            length = _NEAR
            while block := self._read(number, place, length):
                end = block.rfind(b"\n")
                if end < 0 and len(block) < length:
                    break
                if end < 0 and length <= MAX_LINE:
                    length *= 8
                    continue
                for line in block[: max(end, 0)].split(b"\n"):
                    found = self._mark(number, line, place)
                    if found is not None:
                        return found
                    place += len(line) + 1
                place += len(block) - end - 1 if end < 0 else 0
                length = min(2 * length, MAX_LINE)
            place = 0
        return None

    def _found(
        self, number: int, pattern: re.Pattern[bytes], wanted: Callable[[int], bool]
    ) -> Iterator[Mark]:
        """Yield the marks of a segment where a pattern finds a step."""
        for offset, chunk, stop in self._chunks(number):
            last = -1
            for match in pattern.finditer(chunk, 0, stop):
                if match.start() < last or not wanted(int(match[1])):
                    continue
                begin = chunk.rfind(b"\n", 0, match.start()) + 1
                end = chunk.index(b"\n", match.end())
                last = end
                mark = self._mark(number, chunk[begin:end], offset + begin)
                if mark is not None:
                    yield mark

    def _mark(self, number: int, line: bytes, place: int) -> Mark | None:
        entry = parse_line(line) if b'"step":' in line else None
        if entry is None or type(entry.get("step")) is not int:
            return None
        if self._metric is not None and not _has(entry, self._metric):
            return None
        end = place + len(line) + 1
        return Mark(entry["seq"], entry["step"], entry["ts"], number, place, end)

    def _chunks(self, number: int) -> Iterator[tuple[int, bytes, int]]:
        """Yield parts of a segment: where each begins, it, and how much is whole lines."""
        file = open_segment(self._paths[number])
        if file is None:
            return
        with file:
            read, size = reader_of(file)
            yield from read_parts(read, 0, size, _CHUNK)

    def _size(self, number: int) -> int:
        try:
            return self._paths[number].lstat().st_size
        except OSError:
            return 0

    def _read(self, number: int, start: int, length: int) -> bytes:
        """Read a part of a segment; b"" where there is none."""
        file = open_segment(self._paths[number])
        if file is None:
            return b""
        with file:
            file.seek(start)
            return file.read(length)


def _has(entry: dict[str, Any], metric: str) -> bool:
    for group in (entry.get("metric"), entry.get("value")):
        if type(group) is dict and metric in group:
            return True
    return False
