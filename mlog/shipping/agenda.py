"""What of a run is sent next: whole lines of one segment, a file, or word of a gap.

Invariants:

- Of the segments of a writer's stream only the first that is not done is read from.
- Events come first; the other streams and writers take turns.
- What comes out stands for bytes behind the cursor; the cursor is moved only past
  what nobody wants (other streams, other levels).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

import orjson

from mlog.folder import Folder
from mlog.layout import SegmentName, parse_segment
from mlog.shipping.cursor import Cursor
from mlog.shipping.sink import Batch, RunFile, Traits
from mlog.shipping.source import Lines, Source, artifacts_in
from mlog.shipping.target import Route
from mlog.shipping.world import World

__all__ = ["Agenda", "Size", "Todo", "rfc3339"]

_ORDER = ("events", "metrics", "logs")
_LONG_WAIT = 600.0

Todo: TypeAlias = "Batch | RunFile"
_Found: TypeAlias = "dict[str, tuple[SegmentName, int]]"


@dataclass(slots=True)
class Size:
    """How much a batch holds at most: less after a refusal for size, then more."""

    entries: int
    ceiling: int

    def grow(self, seconds: float) -> None:
        """Learn from a delivery that took so long."""
        if seconds < 1.0:
            self.entries = min(self.entries * 2, self.ceiling)
        elif seconds > 5.0:
            self.entries = max(self.entries // 2, 1)

    def shrink(self, count: int) -> None:
        """Learn that so many were too many."""
        self.entries = self.ceiling = max(count // 2, 1)


@dataclass(slots=True)
class Agenda:
    """Chooses what of one run is sent next.

    Attributes:
        source: The run.
        traits: What the sink takes.
        route: What is wanted of it.
        cursor: How far it is.
        world: Clocks.
        size: How large batches are now.
        max_age: Seconds that an entry waits for more to fill its batch.
        final: Nothing more is waited for.
        behind: Bytes that were not delivered, at the last look.
    """

    source: Source
    traits: Traits
    route: Route
    cursor: Cursor
    world: World
    size: Size
    max_age: float
    final: bool = False
    behind: int = 0
    _since: dict[str, float] = field(default_factory=dict)
    _turn: int = 0

    def next(self, folder: Folder) -> list[Todo]:
        """Return the next batch after the files that go before it; [] for nothing now.

        Raises:
            OSError, MlogError: The run's folder cannot be read.
        """
        found = self.source.segments(folder)
        for name, segment in self._missing(found):
            if gap := self._gap(folder, name, segment):
                return [gap]
        for name in [*self._planned(found), *self._by_turn(found)]:
            if todo := self._next_of(folder, name, found):
                self._turn += 1
                return todo
        return []

    def _planned(self, found: _Found) -> list[str]:
        """Return the segment of a batch that was being sent when a shipper died."""
        plan = self.cursor.plan
        if plan is None or plan[0] not in found:
            return []
        is_open = self.cursor.at(plan[0]).offset == plan[1]
        return [plan[0]] if is_open else []

    def _by_turn(self, found: _Found) -> list[str]:
        """Return of each writer's streams the first segment that has something new."""
        first: dict[tuple[int, str], str] = {}
        behind = 0
        for name, (segment, size) in sorted(found.items(), key=_by_number):
            position = self.cursor.at(name)
            if size > position.offset:
                behind += size - position.offset
                key = (_ORDER.index(segment.stream), segment.writer)
                first.setdefault(key, name)
            elif segment.next().filename in found:
                position.whole = True
        self.behind = behind
        events = [name for (order, _), name in sorted(first.items()) if order == 0]
        others = [name for (order, _), name in sorted(first.items()) if order != 0]
        turn = self._turn % len(others) if others else 0
        return events + others[turn:] + others[:turn]

    def _next_of(self, folder: Folder, name: str, found: _Found) -> list[Todo]:
        """Return what comes next of a segment."""
        segment, size = found[name]
        position = self.cursor.at(name)
        if self.traits.segments == "growing":
            return self._segment_file(folder, name, size)
        wanted = segment.stream in self.traits.streams & self.route.streams
        if not wanted and not (segment.stream == "events" and self.traits.artifacts):
            position.offset = self.source.whole_lines(folder, name, position.offset)
            return []
        is_planned = name in self._planned(found)
        if not is_planned and not self._is_due(name, size - position.offset):
            return []
        self._since.pop(name, None)
        todo: list[Todo] = []
        while (lines := self._read(folder, name, segment)) is not None:
            self.cursor.stats.skipped += lines.skipped
            if self.traits.artifacts and segment.stream == "events":
                todo += artifacts_in(self.source.path, lines.body)
            body = lines.body if wanted else b""
            if body or todo:
                return [*todo, self._batch(folder, segment, lines, body)]
            position.offset = lines.end
        if segment.next().filename in found:  # a short write ended it; see the format
            position.offset = max(position.offset, size)
        return []

    def _read(self, folder: Folder, name: str, segment: SegmentName) -> Lines | None:
        """Read the lines of the next batch, as they were planned where they were."""
        offset, plan = self.cursor.at(name).offset, self.cursor.plan
        if plan is not None and plan[:2] == (name, offset):
            lines = self.source.read_exactly(
                folder, segment, offset, plan[2], self.route.level
            )
            if lines is not None:
                return lines
        return self.source.read(
            folder,
            segment,
            offset,
            max_entries=self.size.entries,
            max_bytes=self.traits.max_bytes,
            level=self.route.level,
        )

    def _batch(
        self, folder: Folder, segment: SegmentName, lines: Lines, body: bytes
    ) -> Batch:
        facts = self.source.facts(folder)
        writer = self.source.writer(folder, segment.writer)
        batch = Batch(
            facts, writer, segment, lines.start, lines.end, body, lines.starts
        )
        if body:
            vars(batch)["count"] = lines.count  # so that nobody has to count again
        return batch

    def _is_due(self, name: str, waiting: int) -> bool:
        """Whether a segment has enough for a batch, or waits for long enough."""
        now = self.world.monotonic()
        since = self._since.setdefault(name, now)
        full = waiting >= self.traits.max_bytes // 4
        return full or self.final or now - since >= self.max_age

    def _segment_file(self, folder: Folder, name: str, size: int) -> list[Todo]:
        """Return a segment as a file, where it has grown by enough."""
        traits, sent = self.traits, self.cursor.at(name).offset
        now = self.world.monotonic()
        since = self._since.setdefault(name, now)
        patience = self.max_age if traits.growth <= 1.0 else _LONG_WAIT
        first = sent == 0 or size >= sent * max(traits.growth, 1.0) + 1
        due = self.final or now - since >= patience
        if not due and not (traits.growth > 1.0 and first):
            return []
        whole = self.source.whole_lines(folder, name, sent)
        if whole <= sent:
            return []
        self._since.pop(name, None)
        todo: list[Todo] = []
        if traits.artifacts and name.startswith("events"):
            files = self.source.artifacts_between(folder, name, sent, whole)
            todo += files
        path = self.source.path / name
        return [*todo, RunFile(name=name, path=path, size=whole, sent=sent)]

    # --- gaps ------------------------------------------------------------------------

    def _missing(self, found: _Found) -> Iterator[tuple[str, SegmentName]]:
        """Yield the segments that are gone before they were delivered."""
        if self.traits.segments == "growing":
            return
        known = set(self.cursor.segments)
        last: dict[tuple[str, str], int] = {}
        for each, _ in found.values():
            key = (each.stream, each.writer)
            last[key] = max(last.get(key, 0), each.number)
        for (stream, writer), number in last.items():
            for n in range(number):
                name = SegmentName(stream, writer, n).filename  # type: ignore[arg-type]
                known.add(name)
        for name in sorted(known - found.keys()):
            position, segment = self.cursor.segments.get(name), parse_segment(name)
            done = position is not None and (position.whole or position.gone)
            if segment is not None and not done:
                yield name, segment

    def _gap(self, folder: Folder, name: str, segment: SegmentName) -> Batch | None:
        """Return an event that tells of a segment that is gone; None: not wanted."""
        streams = self.traits.streams & self.route.streams
        position = self.cursor.at(name)
        if "events" not in streams or segment.stream not in streams:
            position.gone = True
            return None
        data = {
            "segment": name,
            "offset": position.offset,
            "after": position.seq,
            "reason": "removed before it was sent",
        }
        ts = rfc3339(self.world.wall())
        entry = {"ts": ts, "seq": position.seq + 1, "event": "ship.gap", "data": data}
        body = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        facts = self.source.facts(folder)
        writer = self.source.writer(folder, segment.writer)
        at = position.offset
        return Batch(facts, writer, segment, at, at, body, gap=True)


def rfc3339(seconds: float) -> str:
    """Return seconds since the epoch as a text of the file format."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _by_number(item: tuple[str, tuple[SegmentName, int]]) -> tuple[str, str, int]:
    segment = item[1][0]
    return segment.stream, segment.writer, segment.number
