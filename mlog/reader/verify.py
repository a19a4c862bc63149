"""Whether a run is whole: what is missing of each writer, by the numbers of its entries.

Each writer numbers its entries 0, 1, 2, … over its three streams. A missing number is
*lost* unless a `run.dropped` names it, or the writer has no `writer.end` and the number
lies in its last second: then it may be *in flight*, its call had not returned.
Invariants:

- Nothing is written, and no link below the run's folder is followed.
- Whatever the files hold, checking does not fail: what cannot be read is told.
- What was in the segments when the check began is read, so a run that goes on, or ends
  meanwhile, is judged by one moment.
- Memory does not grow with the run: the streams are read side by side, so that only
  what is missing has to be kept, as ranges. Of more than a million ranges the oldest
  are only counted, and a number that turns up in one of those counts as a second one.

Source of the rules: the README, "File format".
"""

import errno
import hashlib
import stat
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heapreplace
from itertools import islice, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import orjson

from mlog.errors import RunNotFoundError, UnsafePathError
from mlog.folder import PRIVATE, Folder, read_from
from mlog.layout import SegmentName
from mlog.reader import entries, events
from mlog.reader.alive import is_alive, is_time, seconds_of
from mlog.reader.fields import text_from, whole_from
from mlog.reader.follow import parse_line

__all__ = [
    "ArtifactProblem",
    "Damage",
    "MissingRanks",
    "Numbers",
    "RunCheck",
    "Unreadable",
    "WriterCheck",
    "verify_run",
]

Verdict: TypeAlias = Literal["complete", "lost", "tail unproved"]
_Range: TypeAlias = tuple[int, int]
_Drop: TypeAlias = tuple[int, int, str]
_Pairs: TypeAlias = list[tuple[int, str]]

_MAX_KEPT = 1_000
_MAX_GAPS = 1_000_000
_MAX_HELD = 50_000
_MAX_LINE = 1 << 20
_MAX_SEQ = 1 << 62
_CHUNK = 1 << 19
_PIECE = 1 << 15  # few enough objects not to wake Python's garbage collector
_BLOCK = 1 << 20
_SECOND = 1_000_000  # in microseconds
_NEVER = -_MAX_SEQ
_first, _second = itemgetter(0), itemgetter(1)


@dataclass(slots=True)
class Numbers:
    """Some `seq`, as ranges.

    Attributes:
        count: How many they are.
        ranges: First and last of each range, both included; at most 1,000 of them.
        more: How many ranges are left out.
    """

    count: int = 0
    ranges: list[_Range] = field(default_factory=list)
    more: int = 0

    def add(self, first: int, last: int) -> None:
        """Add numbers that are not among them; best in ascending order."""
        self.count += last - first + 1
        if self.ranges and not self.more and self.ranges[-1][1] == first - 1:
            self.ranges[-1] = (self.ranges[-1][0], last)
        elif len(self.ranges) < _MAX_KEPT:
            self.ranges.append((first, last))
        else:
            self.more += 1


@dataclass(frozen=True, slots=True)
class Damage:
    """A place in a segment that is not as it should be.

    Attributes:
        segment: File name.
        line: Number of the line, from 1.
        offset: Bytes before it.
        size: Its bytes, without the newline.
        kind: "damaged": a line that holds no entry; "glued": one with something before
            a whole entry, which counts; "torn": what stands behind the last newline.
    """

    segment: str
    line: int
    offset: int
    size: int
    kind: Literal["damaged", "glued", "torn"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A segment that could not be read, and why."""

    segment: str
    reason: str


@dataclass(slots=True)
class WriterCheck:
    """What was found of one writer.

    Attributes:
        name: As in its file names; "" is the main writer of the first attempt.
        attempt: Which go at the run it belongs to.
        rank: None for a process that is none.
        alive: Whether it is still there.
        ended: Whether there is a `writer.end`.
        entries: How many were read.
        last: The highest number that was read, or that its end tells; -1: none.
        lost: Numbers that nothing explains.
        in_flight: Numbers that may not have been given to a file when it died.
        dropped: Missing numbers that a `run.dropped` names.
        reasons: Of those drops.
        duplicates: Numbers that came once more.
        damaged: How many lines hold no entry.
        damages: Those, glued and torn ones; at most 1,000.
        absent: Segments that are not there although later ones are, where numbers are
            lost; at most 1,000.
        unreadable: Segments that could not be read.
    """

    name: str
    attempt: int = 1
    rank: int | None = None
    alive: bool = False
    ended: bool = False
    entries: int = 0
    last: int = -1
    lost: Numbers = field(default_factory=Numbers)
    in_flight: Numbers = field(default_factory=Numbers)
    dropped: Numbers = field(default_factory=Numbers)
    reasons: list[str] = field(default_factory=list)
    duplicates: Numbers = field(default_factory=Numbers)
    damaged: int = 0
    damages: list[Damage] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What the numbers say, in a word or two."""
        if self.lost.count:
            return "lost"
        return "complete" if self.ended else "tail unproved"

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, damaged or out of reach, as far as files can tell."""
        return not (self.lost.count or self.damaged or self.unreadable)


@dataclass(frozen=True, slots=True)
class MissingRanks:
    """Ranks that an attempt should have had, and of which there is nothing.

    Attributes:
        attempt: Number of the attempt.
        world_size: How many ranks its writers tell of.
        ranks: The missing ones.
    """

    attempt: int
    world_size: int
    ranks: Numbers


@dataclass(frozen=True, slots=True)
class ArtifactProblem:
    """An artifact that is not what the run says it put out.

    Attributes:
        path: Below `artifacts/`.
        problem: "missing", "size", "sha256", or "unreadable".
        expected, found: Size or checksum; of one that cannot be read why, in `found`.
    """

    path: str
    problem: Literal["missing", "size", "sha256", "unreadable"]
    expected: int | str | None = None
    found: int | str | None = None


@dataclass(slots=True)
class RunCheck:
    """What was found of a run.

    Attributes:
        folder: The run's.
        writers: By attempt, rank (those without first) and name.
        missing_ranks: By attempt.
        artifacts: How many it tells of.
        hashed: Whether their content was looked at, not only their size.
        problems: Those that differ.
    """

    folder: Path
    writers: list[WriterCheck] = field(default_factory=list)
    missing_ranks: list[MissingRanks] = field(default_factory=list)
    artifacts: int = 0
    hashed: bool = False
    problems: list[ArtifactProblem] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost or damaged, as far as files can tell; False: no files."""
        if not self.writers or self.missing_ranks or self.problems:
            return False
        return all(writer.is_whole for writer in self.writers)


def verify_run(folder: Path, *, deep: bool = False, now: float) -> RunCheck:
    """Check the files of a run. Reads all of them, one after the other.

    Args:
        folder: The run's.
        deep: Whether to compute the checksums of artifacts, too.
        now: Seconds since the epoch, to tell whether somebody still writes.

    Raises:
        RunNotFoundError: There is no such folder, or no run in it.
        OSError: The folder may not be read.
    """
    told = {writer.name: writer for writer in events.read_writers(folder)}
    files = entries.read_writers(folder)
    streams = [_streams(folder, writer) for writer in files]  # of all at one moment
    check = RunCheck(folder, hashed=deep)
    for writer, segments in zip(files, streams, strict=True):
        said = told.get(writer.name) or events.WriterEvents(writer.name, [], "")
        found = WriterCheck(writer.name, writer.attempt, writer.rank)
        _check_writer(found, folder, segments, said, now)
        check.writers.append(found)
    check.missing_ranks = list(_missing_ranks(check.writers, told))
    recorded = _artifacts(list(told.values()))
    check.artifacts = len(recorded)
    problems = (_problem(folder, path, data, deep) for path, data in recorded.items())
    check.problems = [problem for problem in problems if problem is not None]
    return check


# --- writers -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment, and how many bytes of it are looked at."""

    name: SegmentName
    size: int


def _streams(folder: Path, writer: entries.WriterFiles) -> list[list[_Segment]]:
    """Return the segments of each stream of a writer, as long as they are now."""
    return [
        [_Segment(name, _size(folder / name.filename)) for name in names]
        for names in writer.segments.values()
    ]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # what is wrong with it is told when it is opened
        return 0


def _check_writer(
    check: WriterCheck,
    folder: Path,
    streams: list[list[_Segment]],
    said: events.WriterEvents,
    now: float,
) -> None:
    """Read all that a writer wrote, and fill what there is to say of it."""
    check.ended = said.end is not None
    check.alive = not check.ended and _is_alive(folder, said, now)
    scan = _Scan(_drops(said))
    for pairs in _side_by_side([_pairs(folder, s, check) for s in streams]):
        scan.add(pairs)
    if said.end is not None:
        scan.expect(whole_from(said.end["data"].get("last")) or 0)
    if scan.has_gaps and check.alive:  # it may have told of some meanwhile
        scan.drops = _drops(_read_again(folder, said))
    scan.judge(check)
    if check.lost.count:
        told = {text_from(data.get("segment")) for data in _drop_events(said)}
        absent = (name for stream in streams for name in _absent(stream))
        check.absent = list(islice((n for n in absent if n not in told), _MAX_KEPT))


def _is_alive(folder: Path, said: events.WriterEvents, now: float) -> bool:
    if not said.seen:  # the lock of a writer that is just beginning is left alone
        return False
    host, boot = text_from(said.facts.get("host")), text_from(said.facts.get("boot"))
    return is_alive(folder, said.name, host=host, boot=boot, seen=said.seen, now=now)


def _read_again(folder: Path, said: events.WriterEvents) -> events.WriterEvents:
    try:
        found = [w for w in events.read_writers(folder) if w.name == said.name]
    except RunNotFoundError:  # removed meanwhile
        found = []
    return found[0] if found else said


def _drop_events(said: events.WriterEvents) -> Iterator[dict[str, Any]]:
    return (e["data"] for e in said.events if e["event"] == "run.dropped")


def _drops(said: events.WriterEvents) -> list[_Drop]:
    """Return the numbers that each `run.dropped` names, ascending."""
    found = (
        (whole_from(data.get("first")), whole_from(data.get("last")), data)
        for data in _drop_events(said)
    )
    return sorted(
        (first, last, text_from(data.get("reason")))
        for first, last, data in found
        if first is not None and last is not None and first <= last
    )


def _absent(stream: list[_Segment]) -> Iterator[str]:
    """Yield the names of segments that are not there, although later ones are."""
    for low, high in pairwise([-1, *(segment.name.number for segment in stream)]):
        for number in range(low + 1, high):
            yield replace(stream[0].name, number=number).filename


def _missing_ranks(
    writers: list[WriterCheck], told: dict[str, events.WriterEvents]
) -> Iterator[MissingRanks]:
    """Yield for each attempt the ranks of which there is no writer."""
    for attempt in sorted({writer.attempt for writer in writers}):
        ranks = {
            writer.rank: told[writer.name].facts if writer.name in told else {}
            for writer in writers
            if writer.attempt == attempt and writer.rank is not None
        }
        sizes = (whole_from(facts.get("world_size")) for facts in ranks.values())
        world_size = max((size or 0 for size in sizes), default=0)
        missing = Numbers()
        seen = sorted(rank for rank in ranks if rank < world_size)
        for low, high in pairwise([-1, *seen, world_size]):
            if high - low > 1:
                missing.add(low + 1, high - 1)
        if missing.count:
            yield MissingRanks(attempt, world_size, missing)


# --- numbers -------------------------------------------------------------------------


class _Scan:
    """Takes the numbers of one writer, nearly in order, and keeps those that miss.

    Attributes:
        drops: What `run.dropped` events name, ascending.
    """

    def __init__(self, drops: list[_Drop]) -> None:
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

    def add(self, pairs: _Pairs) -> None:
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
        if self._next <= min(last, _MAX_SEQ):
            self._miss(self._next, min(last, _MAX_SEQ), _NEVER)
            self._next = min(last, _MAX_SEQ) + 1

    def judge(self, check: WriterCheck) -> None:
        """Say of each missing number what has become of it."""
        check.entries, check.last = self._count, self._next - 1
        check.duplicates = self._duplicates
        late = Numbers()
        newest = _micros(self._newest)
        since = _MAX_SEQ if check.ended or newest == _NEVER else newest - _SECOND
        self._settle(len(self._first), late, since)
        check.lost, check.dropped, check.in_flight = self._lost, self._dropped, late
        if check.dropped.count:
            check.reasons = sorted({reason for _, _, reason in self.drops if reason})

    def _see(self, newest: str, pairs: _Pairs) -> None:
        """Note the time of the newest entry; what is no time tells nothing."""
        if not is_time(newest):
            newest = max((ts for _, ts in pairs if is_time(ts)), default="")
        self._newest = max(self._newest, newest)

    def _miss(self, first: int, last: int, time: int) -> None:
        self._first.append(first)
        self._last.append(last)
        self._time.append(time)
        if len(self._first) > _MAX_GAPS:
            self._settle(_MAX_GAPS // 2, Numbers(), _MAX_SEQ)

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


def _union(drops: list[_Drop]) -> list[_Range]:
    """Return the ranges without overlaps, ascending."""
    found: list[_Range] = []
    for first, last, _ in drops:
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _divide(
    first: int, last: int, named: list[_Range], inside: Numbers, outside: Numbers
) -> None:
    """Add each part of a range to one of two, by whether it lies in a named range."""
    at = max(0, bisect_right(named, first, key=_first) - 1)
    while first <= last:
        low, high = named[at] if at < len(named) else (_MAX_SEQ, _MAX_SEQ)
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


# --- files ---------------------------------------------------------------------------


def _side_by_side(streams: list[Iterator[_Pairs]]) -> Iterator[_Pairs]:
    """Yield the numbers of streams put together, in order but for a few.

    The stream that has come least far is read on, so that little has to be held. How
    far one has come is the middle number of its last piece: a damaged one tells nothing.
    """
    reached = [(-1, place) for place in range(len(streams))]
    held: _Pairs = []
    while reached:
        pairs = next(streams[reached[0][1]], None)
        if pairs is None:
            heappop(reached)
        else:
            pairs.sort()
            held += pairs
            held.sort()
            heapreplace(reached, (pairs[len(pairs) // 2][0], reached[0][1]))
        until = reached[0][0] if reached and len(held) < _MAX_HELD else _MAX_SEQ
        count = bisect_right(held, until, key=_first)
        if count:
            yield held[:count]
            del held[:count]


def _pairs(
    folder: Path, stream: list[_Segment], check: WriterCheck
) -> Iterator[_Pairs]:
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

    def pairs(self, file: BinaryIO, size: int) -> Iterator[_Pairs]:
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

    def _parse_lines(self, piece: bytes, offset: int) -> _Pairs:
        """Return what can be read of lines of which not all are whole entries."""
        found: _Pairs = []
        for number, line in enumerate(piece.split(b"\n"), self._line):
            entry = parse_line(line)
            if entry is None or not 0 <= entry["seq"] < _MAX_SEQ:
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
        if len(check.damages) < _MAX_KEPT:
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


def _parse(lines: bytes) -> _Pairs | None:
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
    return found if min(seqs) >= 0 and max(seqs) < _MAX_SEQ else None


# --- artifacts -----------------------------------------------------------------------


def _artifacts(writers: list[events.WriterEvents]) -> dict[str, dict[str, Any]]:
    """Return what the last `run.artifact` of each path says."""
    return {
        text_from(event["data"].get("path")): event["data"]
        for _, event in events.in_order(writers)
        if event["event"] == "run.artifact"
    }


def _problem(
    folder: Path, path: str, data: dict[str, Any], deep: bool
) -> ArtifactProblem | None:
    """Return in what an artifact differs; None where it does not."""
    *parents, name = path.split("/")
    try:
        place = Folder.open_below(
            folder, ["artifacts", *parents], PRIVATE, create=False
        )
        status = place.status(name)
        if status is not None and stat.S_ISLNK(status.st_mode):
            raise UnsafePathError("a link, not followed")
        if status is None or not stat.S_ISREG(status.st_mode):
            return ArtifactProblem(path, "missing")
        size, sha256 = whole_from(data.get("size")), text_from(data.get("sha256"))
        if size not in (None, status.st_size):
            return ArtifactProblem(path, "size", size, status.st_size)
        found = _sha256(place, name) if deep and sha256 else sha256
    except (FileNotFoundError, NotADirectoryError):
        return ArtifactProblem(path, "missing")
    except (OSError, UnsafePathError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        return ArtifactProblem(path, "unreadable", found=reason)
    if found.lower() != sha256.lower():
        return ArtifactProblem(path, "sha256", sha256, found)
    return None


def _sha256(folder: Folder, name: str) -> str:
    digest = hashlib.sha256()
    with folder.open(name) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
