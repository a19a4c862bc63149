"""Reading a run while it is written: its last entries, then what is added.

A run has any number of segments, and new ones appear with new writers and after a
rotation. They are only ever appended to, so that a size and an offset per segment say
what is new; nothing is locked and no file stays open. Size polling also works where
the file system tells nobody of changes (NFS, Lustre). Invariants:

- Only whole lines are read; a line without its newline is not there yet.
- A line that is no entry is skipped and counted; where a cut entry is glued before a
  whole one, the whole one counts.
- Inside a writer the order is that of `seq`, between writers that of the running
  maximum of `ts` (of `newest` the running minimum), both among what one call reads.
  Threads of a writer may swap entries; that is set right as far as one block reaches.

Source of the order: the README, "File format".
"""

import heapq
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlog.layout import SegmentName, parse_segment
from mlog.reader.blocks import MAX_LINE, MayFit, blocks_before, read_part
from mlog.types import Stream

__all__ = [
    "Follower",
    "Found",
    "parse_line",
]

_CHUNK = 1 << 18
_BLOCK = 1 << 16
_MAX_GLUED = 16
_LAST_EVENTS = 100


class Found(NamedTuple):
    """One entry and where it comes from.

    Attributes:
        entry: The parsed line; it has `ts` and `seq`, the rest is not checked.
        raw: The line as it stands in the file, without its newline.
        segment: What it was read from.
        folder: Of its run.
    """

    entry: dict[str, Any]
    raw: bytes
    segment: SegmentName
    folder: Path


@dataclass(slots=True)
class _Reading:
    """How far one segment has been read.

    Attributes:
        inode: Tells the file from another one of the same name.
        size: Its length when it was looked at last.
        offset: Everything before is done with; always the beginning of a line, unless
            `overlong` says that the rest of a line is still to be passed over.
    """

    segment: SegmentName
    inode: int
    size: int = 0
    offset: int = 0
    overlong: bool = False


class Follower:
    """Reads one run's segments, also while they grow. For one thread at a time.

    Writes nothing, and follows no link in the run's folder.

    Attributes:
        folder: The run's.
        skipped: Lines passed over so far because they are no entries.
        has_ended: Whether the run's end has been read, and no new attempt since.
    """

    def __init__(
        self,
        folder: Path,
        streams: Collection[Stream] = ("logs", "metrics", "events"),
    ) -> None:
        """Start in front of everything that is there; nothing is read yet.

        Args:
            folder: The run's.
            streams: Which are read; the end of a run stands in its events.
        """
        self.folder = folder
        self._streams = streams
        self.skipped = 0
        self.has_ended = False
        self._readings: dict[str, _Reading] = {}

    @property
    def torn(self) -> int:
        """How many segments end in a line without a newline, as far as looked at."""
        readings = self._readings.values()
        return sum(r.size > r.offset and not r.overlong for r in readings)

    def last(
        self, count: int, wanted: Callable[[Found], bool] = lambda found: True
    ) -> list[Found]:
        """Return the last entries there are, oldest first; `poll` goes on behind them.

        Reads backwards from the ends, only as far as needed.

        Args:
            count: How many at most.
            wanted: Which entries count and are returned.

        Raises:
            OSError: The folder cannot be read.
        """
        found = (found for _, found in self.newest() if wanted(found))
        return list(islice(found, count))[::-1]

    def newest(self, may_fit: MayFit | None = None) -> Iterator[tuple[str, Found]]:
        """Yield what there is, the newest first; `poll` goes on behind the newest.

        Reads backwards from the ends, as far as the iterator is used.

        Args:
            may_fit: Whether an entry that is of interest may be in some bytes; lines
                where it says no are left out unread. Events are always read.

        Returns:
            Pairs of the least `ts` of the writer so far, and an entry.

        Raises:
            OSError: The folder cannot be read.
        """
        self._look()
        for reading in self._readings.values():
            reading.offset = self._end_of_lines(reading)
        self.has_ended = self._find_end()
        streams = _by_writer(self._readings.values())
        each = [_running(self._backward(s, may_fit), "ts", min) for s in streams]
        # Of equal times the last goes first here, as `poll` has it the other way round.
        return heapq.merge(*each[::-1], key=itemgetter(0), reverse=True)

    def poll(self) -> Iterator[Found]:
        """Yield the entries added since the last call; the iterator is to be used up.

        Raises:
            OSError: The folder is gone or cannot be read.
        """
        self._look()
        streams = _by_writer(r for r in self._readings.values() if r.size > r.offset)
        writers = (_running(self._forward(s), "ts", max) for s in streams)
        for _, found in heapq.merge(*writers, key=itemgetter(0)):
            event = found.entry.get("event")
            if event == "run.end":
                self.has_ended = True
            elif event == "run.start":
                self.has_ended = False
            yield found

    # --- writers -------------------------------------------------------------------

    def _forward(self, streams: list[list[_Reading]]) -> Iterator[Found]:
        """Yield what is new of one writer."""
        each = (_running(self._new(stream), "seq", max) for stream in streams)
        return map(itemgetter(1), heapq.merge(*each, key=itemgetter(0)))

    def _backward(
        self, streams: list[list[_Reading]], may_fit: MayFit | None
    ) -> Iterator[Found]:
        """Yield what there is of one writer, newest first."""
        each = [_running(self._old(s, may_fit), "seq", min) for s in streams]
        merged = heapq.merge(*each[::-1], key=itemgetter(0), reverse=True)
        return map(itemgetter(1), merged)

    def _find_end(self) -> bool:
        """Whether the run's newest `run.end` is later than its newest `run.start`.

        The one is among the last events of a main writer, the other among its first.
        """
        events = [r for r in self._readings.values() if r.segment.stream == "events"]
        starts: list[str] = []
        ends: list[str] = []
        for reading in events:
            first = self._read(reading, 0, min(reading.offset, _BLOCK)).split(b"\n")
            starts += _times_of("run.start", first)
            last = chain.from_iterable(
                lines[::-1] for lines in self._lines_backward(reading)
            )
            ends += _times_of("run.end", islice(last, _LAST_EVENTS))
        return max(ends, default="") > max(starts, default="")

    # --- segments ------------------------------------------------------------------

    def _look(self) -> None:
        """See which segments there are and how long they have become."""
        seen: dict[str, _Reading] = {}
        for name in os.listdir(self.folder):
            known = self._readings.get(name)
            segment = known.segment if known is not None else parse_segment(name)
            if segment is None or segment.stream not in self._streams:
                continue
            try:
                status = os.lstat(self.folder / name)
            except OSError:  # removed just now
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            if known is None or not _is_same(known, status):
                known = _Reading(segment, status.st_ino)
            known.size = status.st_size
            seen[name] = known
        self._readings = seen

    def _new(self, stream: list[_Reading]) -> Iterator[Found]:
        """Yield the entries between the offsets of segments and their sizes."""
        return _sorted(chain.from_iterable(map(self._new_lines, stream)))

    def _new_lines(self, reading: _Reading) -> Iterator[list[Found]]:
        while reading.offset < reading.size:
            chunk = self._next_lines(reading)
            if not chunk:
                return
            lines = chunk.split(b"\n")
            del lines[-1]
            if reading.overlong:
                reading.overlong = False
                del lines[0]
            yield self._parse(reading, lines)

    def _next_lines(self, reading: _Reading) -> bytes:
        """Return the next whole lines and step over them; b"" when there are none."""
        while reading.offset < reading.size:
            for length in (_CHUNK, MAX_LINE):
                length = min(length, reading.size - reading.offset)
                chunk = self._read(reading, reading.offset, length)
                whole = chunk.rfind(b"\n") + 1
                if whole:
                    reading.offset += whole
                    return chunk[:whole]
            if len(chunk) < MAX_LINE:
                return b""
            self.skipped += not reading.overlong
            reading.overlong = True
            reading.offset += len(chunk)
        return b""

    def _old(self, stream: list[_Reading], may_fit: MayFit | None) -> Iterator[Found]:
        """Yield the entries in front of the offsets of segments, last first."""
        if may_fit is not None and stream[0].segment.stream == "events":
            may_fit = None
        each = (self._old_lines(reading, may_fit) for reading in stream[::-1])
        return _sorted(chain.from_iterable(each), reverse=True)

    def _old_lines(
        self, reading: _Reading, may_fit: MayFit | None
    ) -> Iterator[list[Found]]:
        for lines in self._lines_backward(reading, may_fit):
            yield self._parse(reading, lines)

    def _lines_backward(
        self, reading: _Reading, may_fit: MayFit | None = None
    ) -> Iterator[list[bytes]]:
        """Yield the lines in front of the offset of a segment, some at a time.

        The last come first; among those of one list the order is that of the file.
        """
        read = partial(self._read, reading)
        for block in blocks_before(read, reading.offset, may_fit=may_fit):
            lines = block.split(b"\n")
            yield lines if may_fit is None else list(filter(may_fit, lines))

    def _end_of_lines(self, reading: _Reading) -> int:
        """Return where the last whole line of a segment ends."""
        end = reading.size
        while end:
            start = max(0, end - _BLOCK)
            newline = self._read(reading, start, end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
        return 0

    def _read(self, reading: _Reading, start: int, length: int) -> bytes:
        """Read a part of a segment; b"" when it was removed or replaced."""
        path = self.folder / reading.segment.filename
        return read_part(path, reading.inode, start, length)

    def _parse(self, reading: _Reading, lines: Iterable[bytes]) -> list[Found]:
        """Return the entries in lines, and count what is none."""
        found = []
        segment, folder = reading.segment, self.folder
        for line in lines:
            entry = parse_line(line)
            if entry is not None:
                found.append(Found(entry, line, segment, folder))
            else:
                self.skipped += 1
        return found


def _sorted(blocks: Iterable[list[Found]], reverse: bool = False) -> Iterator[Found]:
    """Yield entries in order of `seq`, where none is out of place by over a block."""
    held: list[Found] = []
    for block in blocks:
        count = len(held)
        held += block
        held.sort(key=_seq, reverse=reverse)
        yield from held[:count]
        del held[:count]
    yield from held


def _seq(found: Found) -> int:
    seq: int = found.entry["seq"]
    return seq


def _by_writer(readings: Iterable[_Reading]) -> list[list[list[_Reading]]]:
    """Return for each writer the segments of each stream, in the order of numbers."""
    names = attrgetter("segment.writer", "segment.stream", "segment.number")
    streams = groupby(sorted(readings, key=names), key=lambda r: names(r)[:2])
    each = [(writer, list(stream)) for (writer, _), stream in streams]
    writers = groupby(each, key=itemgetter(0))
    return [[stream for _, stream in found] for _, found in writers]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the entry in a line, or None where there is none.

    When a disk ran full, a cut entry may stand glued before the whole one of another
    thread: then the whole one is returned.
    """
    start = 0
    for _ in range(_MAX_GLUED):
        try:
            entry = orjson.loads(line[start:] if start else line)
        except ValueError:
            start = line.find(b'{"ts":', start + 1)
            if start < 0:
                return None
        else:
            return entry if _is_entry(entry) else None
    return None


def _is_entry(value: Any) -> bool:
    """Whether a line's content has what every entry has."""
    return (
        type(value) is dict
        and type(value.get("ts")) is str
        and type(value.get("seq")) is int
    )


def _times_of(event: str, lines: Iterable[bytes]) -> list[str]:
    """Return the times of all events of a kind."""
    word = f'"{event}"'.encode()
    entries = (parse_line(line) for line in lines if word in line)
    return [e["ts"] for e in entries if e is not None and e.get("event") == event]


def _is_same(reading: _Reading, status: os.stat_result) -> bool:
    """Whether a file is still the one that was read, and has only grown."""
    return status.st_ino == reading.inode and status.st_size >= reading.offset


def _running(
    found: Iterable[Found], key: str, best: Callable[[Any, Any], Any]
) -> Iterator[tuple[Any, Found]]:
    """Yield each entry with the greatest (`max`) or least value of `key` up to it."""
    so_far = None
    for one in found:
        own = one.entry[key]
        so_far = own if so_far is None else best(so_far, own)
        yield so_far, one
