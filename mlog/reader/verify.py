"""Whether a run is whole: what is missing of each writer, by the numbers of its entries.

Each writer numbers its entries 0, 1, 2, … over its three streams. A missing number is
*lost* unless a `run.dropped` names it, or the writer has no `writer.end` and the number
lies in its last second: then it may be *in flight*, its call had not returned.
Invariants:

- Nothing is written, and no link below the run's folder is followed.
- Whatever the files hold, checking does not fail: what cannot be read is told.
- What was in the segments when the check began is read, so a run that goes on, or ends
  meanwhile, is judged by one moment.
- Memory does not grow with the run: the streams are read side by side (`verify_files`),
  so that only what is missing has to be kept (`verify_numbers`).

Source of the rules: the README, "File format".
"""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from mlog.errors import RunNotFoundError, UnsafePathError
from mlog.folder import PRIVATE, Folder
from mlog.reader import entries, events
from mlog.reader.alive import is_alive
from mlog.reader.fields import text_from, whole_from
from mlog.reader.verify_files import KnownSegment, pairs_of, side_by_side
from mlog.reader.verify_numbers import Drop, Scan
from mlog.reader.verify_results import (
    MAX_KEPT,
    ArtifactProblem,
    MissingRanks,
    Numbers,
    RunCheck,
    WriterCheck,
)

__all__ = ["verify_run"]

_BLOCK = 1 << 20


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


def _streams(folder: Path, writer: entries.WriterFiles) -> list[list[KnownSegment]]:
    """Return the segments of each stream of a writer, as long as they are now."""
    return [
        [KnownSegment(name, _size(folder / name.filename)) for name in names]
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
    streams: list[list[KnownSegment]],
    said: events.WriterEvents,
    now: float,
) -> None:
    """Read all that a writer wrote, and fill what there is to say of it."""
    check.ended = said.end is not None
    check.alive = not check.ended and _is_alive(folder, said, now)
    scan = Scan(_drops(said))
    for pairs in side_by_side([pairs_of(folder, s, check) for s in streams]):
        scan.add(pairs)
    if said.end is not None:
        scan.expect(whole_from(said.end["data"].get("last")) or 0)
    if scan.has_gaps and check.alive:  # it may have told of some meanwhile
        scan.drops = _drops(_read_again(folder, said))
    scan.judge(check)
    if check.lost.count:
        told = {text_from(data.get("segment")) for data in _drop_events(said)}
        absent = (name for stream in streams for name in _absent(stream))
        check.absent = list(islice((n for n in absent if n not in told), MAX_KEPT))


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


def _drops(said: events.WriterEvents) -> list[Drop]:
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


def _absent(stream: list[KnownSegment]) -> Iterator[str]:
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
