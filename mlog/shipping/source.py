"""A run as the shipper reads it: who wrote what, and the next whole lines of a segment.

Invariants:

- Only whole lines are taken; one without its newline is not there yet.
- No link below the root is followed, be it a folder or a file: a shipper may read the
  runs of users it cannot trust.
- Lines are not parsed, unless a look at the bytes tells that one of them is odd. Then
  what is no entry is left out and counted, and of a cut entry glued before a whole one
  the whole one is taken.
"""

import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlog.errors import MlogError
from mlog.folder import PRIVATE, Folder
from mlog.layout import SegmentName, parse_segment
from mlog.reader.fields import mapping_from, text_from, whole_from
from mlog.reader.follow import parse_line
from mlog.shipping.sink import RunFacts, RunFile, WriterFacts

__all__ = ["Lines", "Source", "artifacts_in"]

_HEAD = 1 << 16
_LONGEST = 4 << 20
_BEGIN = b'{"ts":"'
_LEVEL = re.compile(rb'\{"ts":"[^"]*","seq":\d+,"level":"([^"]*)"')
_ARTIFACT = (b'"event":"run.artifact"', b'"event":"run.snapshot"')


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a segment.

    Attributes:
        start, end: The bytes of the segment that were looked at.
        body: The lines wanted, each with its newline.
        count: How many they are.
        starts: Where each begins; None: without a gap from `start`.
        skipped: How many lines were no entries.
    """

    start: int
    end: int
    body: bytes
    count: int
    starts: tuple[int, ...] | None = None
    skipped: int = 0


class Source:
    """One run's folder, opened anew for each round: a shipper may have thousands.

    Attributes:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        """Prepare; nothing is read yet."""
        self.path = path
        self._facts: RunFacts | None = None
        self._writers: dict[str, WriterFacts] = {}
        self._sizes: dict[str, float] = {}

    def open(self) -> Folder:
        """Open the run's folder.

        Raises:
            OSError: It is gone, or not for us to read.
            UnsafePathError: It is reached by a link.
        """
        root = self.path.parent.parent
        return Folder.open_below(root, self.path.parts[-2:], PRIVATE, create=False)

    def segments(self, folder: Folder) -> dict[str, tuple[SegmentName, int]]:
        """Return the segments that are there, each with its size; a link is none."""
        found: dict[str, tuple[SegmentName, int]] = {}
        for name in folder.names():
            segment = parse_segment(name)
            status = folder.status(name) if segment is not None else None
            if segment is None or status is None or not stat.S_ISREG(status.st_mode):
                continue
            found[name] = segment, status.st_size
        return found

    # --- facts -----------------------------------------------------------------------

    def facts(self, folder: Folder) -> RunFacts:
        """Return what is known of the run; folder names where nothing says more."""
        if self._facts is not None:
            return self._facts
        start: dict[str, Any] = {}
        created = ""
        for entry in _head(folder, SegmentName("events").filename):
            if entry.get("event") == "run.start":
                start, created = mapping_from(entry.get("data")), str(entry["ts"])
                break
        experiment = text_from(start.get("experiment")) or self.path.parent.name
        facts = RunFacts(
            run_id=self.path.name,
            experiment=experiment,
            name=text_from(start.get("display_name")) or self.path.name,
            folder=self.path,
            parent=text_from(start.get("parent")) or None,
            created=created,
            start=start,
        )
        if start:
            self._facts = facts
        return facts

    def writer(self, folder: Folder, name: str) -> WriterFacts:
        """Return what is known of a writer."""
        known = self._writers.get(name)
        if known is not None:
            return known
        first = next(_head(folder, SegmentName("events", name).filename), {})
        start = mapping_from(first.get("data"))
        if first.get("event") != "writer.start":
            return WriterFacts(name)
        facts = WriterFacts(
            name=name,
            attempt=whole_from(start.get("attempt")) or 1,
            rank=whole_from(start.get("rank")),
            world_size=whole_from(start.get("world_size")) or 1,
            host=text_from(start.get("host")),
            user=text_from(start.get("user")),
            pid=whole_from(start.get("pid")),
            start=start,
        )
        self._writers[name] = facts
        return facts

    # --- lines -----------------------------------------------------------------------

    def read(
        self,
        folder: Folder,
        segment: SegmentName,
        start: int,
        *,
        max_entries: int,
        max_bytes: int,
        level: int = 0,
    ) -> Lines | None:
        """Read the next whole lines of a segment.

        Args:
            folder: The run's folder.
            segment: Which one.
            start: Where to begin: the end of a line.
            max_entries, max_bytes: How much at most; a longer line comes alone.
            level: Lowest level of log lines that are wanted.

        Returns:
            What was read, be it without any line that is wanted; None: no whole line
            is there yet.

        Raises:
            OSError: The segment cannot be read.
        """
        name = segment.filename
        guess = int(max_entries * self._sizes.get(name, 256.0)) + 1
        chunk = self._chunk(folder, name, start, min(guess, max_bytes))
        if chunk is None:
            return None
        if not chunk.endswith(b"\n"):  # too long for an entry
            return Lines(start, start + len(chunk), b"", 0, skipped=1)
        count = chunk.count(b"\n")
        if count > max_entries:
            chunk, count = _without_last(chunk, count - max_entries), max_entries
        self._sizes[name] = 1.02 * len(chunk) / count
        return _wanted(chunk, count, start, level if segment.stream == "logs" else 0)

    def read_exactly(
        self, folder: Folder, segment: SegmentName, start: int, end: int, level: int
    ) -> Lines | None:
        """Read what a plan says; None if it is not there any more."""
        with folder.open(segment.filename) as file:
            file.seek(start)
            chunk = file.read(end - start)
        if len(chunk) < end - start or not chunk.endswith(b"\n"):
            return None
        level = level if segment.stream == "logs" else 0
        return _wanted(chunk, chunk.count(b"\n"), start, level)

    def whole_lines(self, folder: Folder, name: str, start: int) -> int:
        """Return where the last whole line of a segment ends; at least `start`."""
        with folder.open(name) as file:
            end = file.seek(0, os.SEEK_END)
            while end > start:
                begin = max(start, end - _HEAD)
                file.seek(begin)
                newline = file.read(end - begin).rfind(b"\n")
                if newline >= 0:
                    return begin + newline + 1
                end = begin
        return start

    def artifacts_between(
        self, folder: Folder, name: str, start: int, end: int
    ) -> list[RunFile]:
        """Return the files that the events in a part of a segment tell of."""
        with folder.open(name) as file:
            file.seek(start)
            content = file.read(end - start)
        return artifacts_in(self.path, content)

    def _chunk(
        self, folder: Folder, name: str, start: int, length: int
    ) -> bytes | None:
        """Read whole lines of about a length; one line where a single one is longer.

        A line longer than any entry comes as a chunk without a newline, its end with
        the next one.
        """
        with folder.open(name) as file:
            file.seek(start)
            chunk = file.read(length)
            while (end := chunk.rfind(b"\n") + 1) == 0:
                more = file.read(_HEAD)
                if not more:
                    return None
                newline = more.find(b"\n") + 1
                chunk += more[:newline] if newline else more
                if len(chunk) > _LONGEST and not newline:
                    return chunk
            return chunk[:end]


def artifacts_in(run: Path, lines: bytes) -> list[RunFile]:
    """Return the files that some events tell of, each once, the last word of each."""
    if not any(mark in lines for mark in _ARTIFACT):
        return []
    found: dict[str, RunFile] = {}
    for line in lines.split(b"\n"):
        if not any(mark in line for mark in _ARTIFACT):
            continue
        entry = parse_line(line)
        data = mapping_from(entry.get("data")) if entry is not None else {}
        if entry is None or entry.get("event") == "run.snapshot":
            name = "snapshot.zip"
        else:
            path = text_from(data.get("path"))
            if not _is_inside(path):
                continue
            name = f"artifacts/{path}"
        found[name] = RunFile(
            name=name,
            path=run.joinpath(*name.split("/")),
            size=whole_from(data.get("size")) or 0,
            sha256=text_from(data.get("sha256")),
            media_type=text_from(data.get("media_type")),
        )
    return list(found.values())


def _without_last(chunk: bytes, count: int) -> bytes:
    """Return some lines without so many at their end."""
    if count > 1_000:
        rest = chunk.split(b"\n", chunk.count(b"\n") - count)[-1]
        return chunk[: len(chunk) - len(rest)]
    end = len(chunk) - 1
    for _ in range(count):
        end = chunk.rfind(b"\n", 0, end)
    return chunk[: end + 1]


def _wanted(chunk: bytes, count: int, start: int, level: int) -> Lines:
    """Take the wanted ones out of so many whole lines."""
    end = start + len(chunk)
    plain = chunk.startswith(_BEGIN) and chunk.count(_BEGIN) == count
    if plain and level <= 0:
        return Lines(start, end, chunk, count)
    kept: list[bytes] = []
    starts: list[int] = []
    skipped = 0
    place = start
    for line in chunk[:-1].split(b"\n"):
        good = line if plain else _salvaged(line)
        if good is None:
            skipped += 1
        elif level <= 0 or _level_of(good) >= level:
            kept.append(good)
            starts.append(place)
        place += len(line) + 1
    body = b"\n".join(kept) + b"\n" if kept else b""
    return Lines(start, end, body, len(kept), tuple(starts), skipped)


def _salvaged(line: bytes) -> bytes | None:
    """Return a line that is an entry, or the whole entry at its end, or None."""
    entry = parse_line(line)
    if entry is None:
        return None
    try:
        orjson.loads(line)
    except ValueError:
        return line[line.rfind(_BEGIN) :] if _is_at_end(line, entry) else None
    return line


def _is_at_end(line: bytes, entry: dict[str, Any]) -> bool:
    try:
        return bool(orjson.loads(line[line.rfind(_BEGIN) :]) == entry)
    except ValueError:
        return False


def _level_of(line: bytes) -> int:
    match = _LEVEL.match(line)
    if match is None:
        return logging.CRITICAL
    name = match[1].decode("utf-8", "replace")
    number = logging.getLevelNamesMapping().get(name)
    if number is None:
        word, _, digits = name.partition(" ")
        known = word == "Level" and digits.isascii() and digits.isdigit()
        number = int(digits[:9]) if known else logging.INFO
    return number


def _head(folder: Folder, name: str) -> Iterator[dict[str, Any]]:
    """Yield the first entries of a segment; nothing where it cannot be read."""
    try:
        with folder.open(name) as file:
            lines = file.read(_HEAD).split(b"\n")[:-1]
    except (OSError, MlogError):
        return
    yield from filter(None, map(parse_line, lines))


def _is_inside(path: str) -> bool:
    plain = all(part not in ("", ".", "..") for part in path.split("/"))
    return plain and "\\" not in path and "\0" not in path
