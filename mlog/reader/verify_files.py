"""The numbers in the segments of a writer, and where these are damaged.

Whatever the files hold, reading does not fail: what cannot be read is noted. No link is
followed, and what was in a segment when the check began is read.
"""

import errno
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heapreplace
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal

import orjson

from mlog.folder import read_from
from mlog.layout import SegmentName
from mlog.reader.follow import parse_line
from mlog.reader.verify_numbers import MAX_SEQ, Pairs
from mlog.reader.verify_results import MAX_KEPT, Damage, Unreadable, WriterCheck

__all__ = ["KnownSegment", "pairs_of", "side_by_side"]

_MAX_HELD = 50_000
_MAX_LINE = 1 << 20
_CHUNK = 1 << 19
_PIECE = 1 << 15  # few enough objects not to wake Python's garbage collector


@dataclass(frozen=True, slots=True)
class KnownSegment:
    """A segment, and how many bytes of it are looked at."""

    name: SegmentName
    size: int


def side_by_side(streams: list[Iterator[Pairs]]) -> Iterator[Pairs]:
    """Yield the numbers of streams put together, in order but for a few.

    The stream that has come least far is read on, so that little has to be held. How
    far one has come is the middle number of its last piece: a damaged one tells nothing.
    """
    reached = [(-1, place) for place in range(len(streams))]
    held: Pairs = []
    while reached:
        pairs = next(streams[reached[0][1]], None)
        if pairs is None:
            heappop(reached)
        else:
            pairs.sort()
            held += pairs
            held.sort()
            heapreplace(reached, (pairs[len(pairs) // 2][0], reached[0][1]))
        until = reached[0][0] if reached and len(held) < _MAX_HELD else MAX_SEQ
        count = bisect_right(held, until, key=itemgetter(0))
        if count:
            yield held[:count]
            del held[:count]


def pairs_of(
    folder: Path, stream: list[KnownSegment], check: WriterCheck
) -> Iterator[Pairs]:
    """Yield number and time of each entry of a stream, some at a time.

    What is no entry, and what cannot be read, is noted.
    """
    for segment in stream:
        name = segment.name.filename
        try:
            with read_from(folder / name) as file:
                yield from _Reading(name, check).pairs(file, segment.size)
        except FileNotFoundError:  # dropped just now; its numbers tell
            continue
        except OSError as exc:
            is_link = exc.errno == errno.ELOOP
            reason = "a link, not followed" if is_link else exc.strerror or str(exc)
            check.unreadable.append(Unreadable(name, reason))


class _Reading:
    """Reads one segment, and notes where it is damaged."""

    def __init__(self, name: str, check: WriterCheck) -> None:
        self._name = name
        self._check = check
        self._line = 1

    def pairs(self, file: BinaryIO, size: int) -> Iterator[Pairs]:
        """Yield number and time of each entry in the first `size` bytes."""
        begin: int | None = None  # of a line that is too long for one read
        for offset, chunk in _chunks(file, size):
            if not chunk.endswith(b"\n"):
                begin = offset if begin is None else begin
                continue
            start = 0
            if begin is not None:
                start = chunk.index(b"\n") + 1
                self._note("damaged", begin, offset + start - 1 - begin)
                self._line += 1
                begin = None
            for at, piece in _pieces(chunk, start):
                found = _parse(piece) or self._parse_lines(piece, offset + at)
                self._line += piece.count(b"\n") + 1
                if found:
                    yield found
        if begin is not None:
            self._note("torn", begin, size - begin)

    def _parse_lines(self, piece: bytes, offset: int) -> Pairs:
        """Return what can be read of lines of which not all are whole entries."""
        found: Pairs = []
        for number, line in enumerate(piece.split(b"\n"), self._line):
            entry = parse_line(line)
            if entry is None or not 0 <= entry["seq"] < MAX_SEQ:
                self._note("damaged", offset, len(line), number)
            else:
                found.append((entry["seq"], entry["ts"]))
                if _parse(line) is None:
                    self._note("glued", offset, len(line), number)
            offset += len(line) + 1
        return found

    def _note(
        self,
        kind: Literal["damaged", "glued", "torn"],
        offset: int,
        size: int,
        line: int | None = None,
    ) -> None:
        check, line = self._check, self._line if line is None else line
        check.damaged += kind == "damaged"
        if len(check.damages) < MAX_KEPT:
            check.damages.append(Damage(self._name, line, offset, size, kind))


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the bytes of some whole lines at a time.

    What does not end with a newline is a part of a line that is too long for an entry,
    or what stands behind the last newline.
    """
    offset, length = 0, _CHUNK
    while offset < size:
        file.seek(offset)
        chunk = file.read(min(length, size - offset))
        end = chunk.rfind(b"\n") + 1
        if not chunk:  # cut by somebody
            return
        if not end and length < _MAX_LINE:
            length = _MAX_LINE
            continue
        yield offset, chunk[:end] if end else chunk
        offset, length = offset + (end or len(chunk)), _CHUNK


def _pieces(chunk: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield place and bytes of some lines at a time, without their last newline."""
    while start < len(chunk):
        stop = chunk.rfind(b"\n", start, start + _PIECE)
        if stop < 0:
            stop = chunk.index(b"\n", start)
        yield start, chunk[start:stop]
        start = stop + 1


def _parse(lines: bytes) -> Pairs | None:
    """Return number and time of each line; None where one is no whole entry.

    All are parsed as one array: that takes less time than one by one.
    """
    array = lines.replace(b"\n", b",\n")
    try:
        found = [(e["seq"], e["ts"]) for e in orjson.loads(b"[%b]" % array)]
    except (ValueError, KeyError, TypeError):
        return None
    if len(found) != len(array) - len(lines) + 1:
        return None
    seqs = [seq for seq, _ in found]
    if set(map(type, seqs)) != {int} or {type(ts) for _, ts in found} != {str}:
        return None
    return found if min(seqs) >= 0 and max(seqs) < MAX_SEQ else None
