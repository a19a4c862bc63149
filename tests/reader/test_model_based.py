"""Whatever happens to a run while it is written: readers see what a plain list has.

Writers append, rotate, are killed in the middle of a line, begin again as a new
attempt; lines are damaged, or a cut one is glued before a whole one. In between the run
is read, in any order and as often as one likes, by all that reads entries.
"""

import json
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from mlog.layout import SegmentName
from mlog.reader.entries import iter_entries
from mlog.reader.follow import Follower, Found
from mlog.reader.jumps import entries_by_seq, older_by_seq
from mlog.reader.several import RunsFollower
from mlog.types import Stream

STREAMS: tuple[Stream, ...] = ("logs", "metrics", "events")
Key = tuple[str, int]


def stamp(micros: int) -> str:
    return f"2026-11-23T18:{micros // 60_000_000:02}:{micros // 1_000_000 % 60:02}." + (
        f"{micros % 1_000_000:06}Z"
    )


class Writer:
    """One process, and what it has written: entries in order of their numbers."""

    def __init__(self, run: Path, name: str) -> None:
        self.run = run
        self.name = name
        self.numbers: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self.seq = 0
        self.is_torn = False

    def segment(self, stream: Stream) -> SegmentName:
        return SegmentName(stream, self.name, self.numbers[stream])

    def append(self, stream: Stream, content: bytes) -> None:
        with open(self.run / self.segment(stream).filename, "ab") as file:
            file.write(content)


class ARun(RuleBasedStateMachine):
    """Writes a run, and remembers what is in it."""

    writers = Bundle("writers")
    folder: Path

    @initialize(target=writers)
    def begin(self) -> Any:
        self.clock = 0
        self.run = Path(mkdtemp(dir=ARun.folder))
        self.names = {""}
        self.written: list[tuple[str, str, int]] = []  # time, writer, number
        self.damaged = 0
        self.follower = Follower(self.run)
        self.followed: list[Key] = []
        return multiple(Writer(self.run, ""))

    # --- what happens ---

    @rule(target=writers, kind=st.sampled_from(["r1", "r2", "host-7", "a2", "r1-a2"]))
    def a_process_joins(self, kind: str) -> Any:
        if kind in self.names:
            return multiple()
        self.names.add(kind)
        return multiple(Writer(self.run, kind))

    @rule(
        writer=writers,
        stream=st.sampled_from(STREAMS),
        size=st.sampled_from([0, 10, 3_000, 40_000, 70_000]),
        seconds=st.integers(0, 3),
        count=st.integers(1, 4),
    )
    def it_writes(
        self, writer: Writer, stream: Stream, size: int, seconds: int, count: int
    ) -> None:
        if not self.may_write(writer):
            return
        for _ in range(count):
            writer.append(stream, self.line(writer, seconds, size))

    @rule(writer=writers, streams=st.permutations(STREAMS), seconds=st.integers(0, 3))
    def two_threads_swap_lines(
        self, writer: Writer, streams: list[Stream], seconds: int
    ) -> None:
        if self.may_write(writer):
            first, second = self.line(writer, seconds), self.line(writer, seconds)
            writer.append(streams[0], second)
            writer.append(streams[0], first)

    @rule(writer=writers, stream=st.sampled_from(STREAMS))
    def it_rotates(self, writer: Writer, stream: Stream) -> None:
        if not writer.is_torn:
            writer.numbers[stream] += 1

    @rule(writer=writers, size=st.integers(1, 60), stream=st.sampled_from(STREAMS))
    def it_is_killed_in_a_line(self, writer: Writer, size: int, stream: Stream) -> None:
        """What is there has no newline, so it is not there yet."""
        if self.may_write(writer):
            writer.append(stream, self.line(writer, 0, kept=False)[:size])
            writer.is_torn = True

    @rule(writer=writers, stream=st.sampled_from(STREAMS), size=st.integers(20, 60))
    def the_disk_is_full_for_a_line(
        self, writer: Writer, stream: Stream, size: int
    ) -> None:
        """A cut entry is left, glued before the next; it is written again elsewhere."""
        if self.may_write(writer):
            line = self.line(writer, 0)
            writer.append(stream, line[:size])
            writer.append(stream, self.line(writer, 0))
            writer.numbers[stream] += 1
            writer.append(stream, line)

    @rule(
        writer=writers,
        stream=st.sampled_from(STREAMS),
        garbage=st.sampled_from([b"what?\n", b"\x00\x00\n", b"{}\n", b"\n"]),
    )
    def a_line_is_damaged(self, writer: Writer, stream: Stream, garbage: bytes) -> None:
        if self.may_write(writer):
            writer.append(stream, garbage)
            self.damaged += 1

    @rule()
    def somebody_leaves_files(self) -> None:
        (self.run / "notes.txt").write_bytes(b"{}\n")
        (self.run / "logs.01.jsonl").write_bytes(self.any_line(0))

    # --- what is read ---

    @rule()
    def all_entries_are_read(self) -> None:
        assert keys(iter_entries(self.run)) == self.expected()

    @rule(count=st.integers(0, 12))
    def the_last_ones_are_read(self, count: int) -> None:
        expected = self.expected()
        newest = expected[max(0, len(expected) - count) :]
        assert of_found(Follower(self.run).last(count)) == newest
        assert of_found(RunsFollower([self.run]).last(count)) == newest

    @rule()
    def it_is_read_forwards_at_once(self) -> None:
        follower = Follower(self.run)
        assert of_found(follower.poll()) == self.expected()
        assert follower.skipped == self.damaged

    @rule(writer=writers, first=st.integers(0, 20), length=st.integers(0, 9))
    def some_numbers_are_read(self, writer: Writer, first: int, length: int) -> None:
        own = {seq for _, name, seq in self.written if name == writer.name}
        found: list[Found] = []
        older: list[Found] = []
        for stream in STREAMS:
            numbers = range(writer.numbers[stream] + 1)
            segments = [SegmentName(stream, writer.name, n) for n in numbers]
            found += entries_by_seq(self.run, segments, first, first + length)
            older += older_by_seq(self.run, segments, first, limit=1 << 40)
        wanted = sorted(seq for seq in own if first <= seq <= first + length)
        assert sorted({one.entry["seq"] for one in found}) == wanted
        assert {one.entry["seq"] for one in older} == {n for n in own if n <= first}

    @rule()
    def somebody_looks_again(self) -> None:
        """Each look gives what is new; among one another they may be out of order."""
        self.followed += of_found(self.follower.poll())

    @invariant()
    def what_was_followed_comes_once(self) -> None:
        if not hasattr(self, "followed"):
            return
        assert len(self.followed) == len({*self.followed})

    def teardown(self) -> None:
        if hasattr(self, "run"):
            self.somebody_looks_again()
            assert sorted(self.followed) == sorted(self.expected())
            assert self.follower.skipped == self.damaged

    # --- the list ---

    def may_write(self, writer: Writer) -> bool:
        return not writer.is_torn

    def line(
        self, writer: Writer, seconds: int, size: int = 0, kept: bool = True
    ) -> bytes:
        """Return the next entry of a writer; time goes on for all of them."""
        self.clock += seconds * 1_000_000 + 1
        seq, ts = writer.seq, stamp(self.clock)
        writer.seq += 1
        if kept:
            self.written.append((ts, writer.name, seq))
        return self.any_line(seq, ts=ts, writer=writer.name, msg="x" * size)

    def any_line(self, seq: int, ts: str = stamp(0), **fields: Any) -> bytes:
        return (
            json.dumps({"ts": ts, "seq": seq, **fields}, separators=(",", ":")).encode()
            + b"\n"
        )

    def expected(self) -> list[Key]:
        return [(writer, seq) for _, writer, seq in sorted(self.written)]


def keys(entries: Any) -> list[Key]:
    return [(entry["writer"], entry["seq"]) for entry in entries]


def of_found(found: Any) -> list[Key]:
    return keys(one.entry for one in found)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    ARun.folder = tmp_path


class TestARun(ARun.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
