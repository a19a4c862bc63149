"""`verify_run` says of each writer whether all it numbered is there."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.entry import event_fields
from mlog.errors import RunNotFoundError
from mlog.folder import PRIVATE, Folder
from mlog.reader.verify import verify_run
from mlog.reader.verify_results import Damage, RunCheck, WriterCheck
from mlog.run.writer import Place, Writer, WriterOptions
from tests import helpers
from tests.helpers import run_python

NOW = 2_000_000_000.0
"""Long after all that the files of these tests tell of."""

START: dict[str, Any] = {"event": "writer.start", "data": {"format": 1}}


def moment(millis: int) -> str:
    return f"2026-11-23T18:{millis // 60000:02}:{millis // 1000 % 60:02}.{millis % 1000:03}000Z"


def line(seq: int, millis: int = 0, **fields: Any) -> bytes:
    entry = {"ts": moment(millis), "seq": seq} | fields
    return json.dumps(entry).encode() + b"\n"


def event(seq: int, name: str, millis: int = 0, **data: Any) -> bytes:
    return line(seq, millis, event=name, data=data)


def add(folder: Path, name: str, *lines: bytes) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"".join(lines))


def check(folder: Path, **options: Any) -> RunCheck:
    return verify_run(folder, now=options.pop("now", NOW), **options)


def main_of(folder: Path, **options: Any) -> WriterCheck:
    """Return what is found of a run's only writer."""
    (writer,) = check(folder, **options).writers
    return writer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with nothing in it."""
    folder = tmp_path / "mnist" / "20261123-182700-aaaaaa"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def ended(run: Path) -> Path:
    """A run of ten entries that has ended, whole."""
    add(run, "events.jsonl", line(0, **START))
    add(run, "metrics.jsonl", *(line(seq, metric={"a": 1}) for seq in (1, 3, 5, 7)))
    add(run, "logs.jsonl", *(line(seq, msg="m") for seq in (2, 4, 6, 8)))
    add(run, "events.jsonl", event(9, "writer.end", last=9, status="Completed"))
    return run


class TestVerdict:
    """complete, lost or tail unproved, by the rules of the file format."""

    def test_all_numbers_up_to_the_end_are_complete(self, ended: Path) -> None:
        found = check(ended)
        (writer,) = found.writers
        assert (writer.verdict, writer.entries, writer.last) == ("complete", 10, 9)
        assert found.is_whole

    def test_a_run_by_mlog_is_complete(self, run_dir: Path) -> None:
        with mlog.start_run("real") as run:
            for step in range(300):
                run.log("loss", step)
            path = run.path
        assert path is not None
        found = check(path, now=time.time())
        assert (found.writers[0].verdict, found.is_whole) == ("complete", True)

    def test_a_missing_number_is_lost(self, ended: Path) -> None:
        """Also where a later one is there: nothing explains it."""
        (ended / "logs.jsonl").write_bytes(line(2) + line(8))
        writer = main_of(ended)
        assert (writer.verdict, writer.lost.ranges) == ("lost", [(4, 4), (6, 6)])
        assert not check(ended).is_whole

    def test_what_lacks_before_the_end_is_lost(self, run: Path) -> None:
        """The end tells the last number; what was written after it counts, too."""
        add(run, "events.jsonl", line(0, **START), event(5, "writer.end", last=5))
        add(run, "logs.jsonl", line(7))
        writer = main_of(run)
        assert (writer.lost.count, writer.lost.ranges) == (5, [(1, 4), (6, 6)])

    def test_without_an_end_the_tail_is_unproved(self, run: Path) -> None:
        """Nobody can tell whether there was one more; nothing is known to be lost."""
        add(run, "events.jsonl", line(0, **START), line(1))
        found = check(run)
        writer = found.writers[0]
        assert (writer.verdict, writer.ended) == ("tail unproved", False)
        assert found.is_whole

    def test_in_flight_are_those_of_the_last_second(self, run: Path) -> None:
        """The entry after the gap tells: more than a second before the last is lost."""
        add(run, "events.jsonl", line(0, **START))
        add(run, "logs.jsonl", line(2, 999), line(4, 1000), line(6, 2000))
        writer = main_of(run)
        assert (writer.lost.ranges, writer.in_flight.ranges) == (
            [(1, 1)],
            [(3, 3), (5, 5)],
        )

    def test_with_an_end_nothing_is_in_flight(self, run: Path) -> None:
        add(run, "events.jsonl", line(0, **START), event(3, "writer.end", last=3))
        writer = main_of(run)
        assert (writer.in_flight.count, writer.lost.ranges) == (0, [(1, 2)])

    def test_dropped_numbers_are_not_lost(self, run: Path) -> None:
        """A `run.dropped` names them, with the reason; the others are still lost."""
        drop: dict[str, Any] = {"reason": "max_log_bytes", "first": 1, "last": 4}
        add(run, "events.jsonl", line(0, **START), event(8, "run.dropped", **drop))
        add(run, "logs.jsonl", line(2))
        writer = main_of(run, now=NOW)
        assert writer.dropped.ranges == [(1, 1), (3, 4)]
        assert writer.reasons == ["max_log_bytes"]
        assert (writer.lost.ranges, writer.in_flight.ranges) == ([], [(5, 7)])

    def test_a_number_that_comes_twice_is_told(self, ended: Path) -> None:
        """It is no loss."""
        add(ended, "logs.1.jsonl", line(4), line(6))
        writer = main_of(ended)
        assert (writer.verdict, writer.duplicates.ranges) == (
            "complete",
            [(4, 4), (6, 6)],
        )

    def test_neighbours_may_swap_places(self, run: Path) -> None:
        add(run, "events.jsonl", line(0, **START))
        add(run, "logs.jsonl", *(line(seq) for seq in (2, 1, 5, 4, 3)))
        writer = main_of(run)
        assert (writer.lost.count, writer.duplicates.count) == (0, 0)

    def test_each_writer_is_judged(self, ended: Path) -> None:
        add(ended, "logs-r1.jsonl", line(3))
        found = check(ended)
        assert [(w.name, w.rank, w.verdict) for w in found.writers] == [
            ("", None, "complete"),
            ("r1", 1, "tail unproved"),
        ]
        assert found.writers[1].in_flight.ranges == [(0, 2)]

    def test_a_run_that_goes_on_is_alive(self, run_dir: Path) -> None:
        with mlog.start_run("live") as run:
            run.log("loss", 1)
            assert run.path is not None
            writer = main_of(run.path, now=time.time())
        assert (writer.alive, writer.verdict) == (True, "tail unproved")

    def test_no_segments_are_no_whole_run(self, run: Path) -> None:
        (run / "run.json").write_text("{}")
        found = check(run)
        assert (found.writers, found.is_whole) == ([], False)

    def test_no_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(RunNotFoundError, match="no such folder"):
            check(tmp_path / "nowhere")


class TestDamage:
    """What is broken is found, and told with its place."""

    def test_flipped_bytes(self, ended: Path) -> None:
        """The line that cannot be read is told, and its number is lost."""
        log = ended / "logs.jsonl"
        content = bytearray(log.read_bytes())
        content[len(line(2, msg="m")) + 3] ^= 0xFF
        log.write_bytes(content)
        writer = main_of(ended)
        size = len(line(4, msg="m"))
        assert writer.damages == [Damage("logs.jsonl", 2, size, size - 1, "damaged")]
        assert (writer.damaged, writer.lost.ranges) == (1, [(4, 4)])

    def test_a_flipped_newline_glues_two_lines(self, ended: Path) -> None:
        """The second is read; that the first is lost is told by its number."""
        log = ended / "logs.jsonl"
        log.write_bytes(log.read_bytes().replace(b"\n", b"\x0b", 1))
        writer = main_of(ended)
        assert [(d.kind, d.line, d.offset) for d in writer.damages] == [("glued", 1, 0)]
        assert (writer.damaged, writer.lost.ranges) == (0, [(2, 2)])

    def test_a_cut_entry_before_its_whole_form_is_no_loss(self, ended: Path) -> None:
        """So a disk that was full for a moment leaves it."""
        log = ended / "logs.jsonl"
        first, second, third, last = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(first + second + last[:40] + third)
        (ended / "logs.1.jsonl").write_bytes(last)
        found = check(ended)
        assert [(d.kind, d.line) for d in found.writers[0].damages] == [("glued", 3)]
        assert found.is_whole

    def test_a_cut_file(self, ended: Path) -> None:
        """What stands behind the last newline is no entry, and what lacks is lost."""
        log = ended / "logs.jsonl"
        os.truncate(log, log.stat().st_size - 5)
        writer = main_of(ended)
        at = 3 * len(line(2, msg="m"))
        torn = Damage("logs.jsonl", 4, at, len(line(8, msg="m")) - 5, "torn")
        assert writer.damages == [torn]
        assert (writer.damaged, writer.lost.ranges) == (0, [(8, 8)])

    def test_a_torn_tail_alone_is_no_loss(self, run: Path) -> None:
        add(run, "events.jsonl", line(0, **START), b'{"ts":"2026')
        found = check(run)
        assert [d.kind for d in found.writers[0].damages] == ["torn"]
        assert found.is_whole

    def test_garbage_without_a_number_is_damage(self, ended: Path) -> None:
        add(ended, "logs.jsonl", b"\n", b"hello\n", b'{"ts":"x","seq":-1}\n', b"[1]\n")
        found = check(ended)
        writer = found.writers[0]
        assert (writer.verdict, writer.damaged) == ("complete", 4)
        assert [d.line for d in writer.damages] == [5, 6, 7, 8]
        assert not found.is_whole

    @pytest.mark.parametrize("size", [(1 << 20) + 1, 3 << 20])
    def test_a_line_that_is_too_long(self, ended: Path, size: int) -> None:
        at = (ended / "logs.jsonl").stat().st_size
        add(ended, "logs.jsonl", b"x" * size + b"\n", line(4), b"y" * size)
        writer = main_of(ended)
        assert [(d.kind, d.line, d.offset, d.size) for d in writer.damages] == [
            ("damaged", 5, at, size),
            ("torn", 7, at + size + 1 + len(line(4)), size),
        ]
        assert writer.duplicates.ranges == [(4, 4)]

    def test_the_longest_line_is_an_entry(self, ended: Path) -> None:
        rest = len(line(10, msg=""))
        add(ended, "logs.jsonl", line(10, msg="x" * ((1 << 20) - rest)), line(11))
        writer = main_of(ended)
        assert (writer.entries, writer.damages) == (12, [])

    def test_a_removed_segment(self, run: Path) -> None:
        """It is named, since a later one is there, and its numbers are lost."""
        add(run, "events.jsonl", line(0, **START), event(4, "writer.end", last=4))
        add(run, "logs.jsonl", line(1))
        add(run, "logs.2.jsonl", line(3))
        writer = main_of(run)
        assert (writer.lost.ranges, writer.absent) == ([(2, 2)], ["logs.1.jsonl"])

    def test_a_dropped_segment_is_not_missed(self, run: Path) -> None:
        drop: dict[str, Any] = {"reason": "r", "first": 1, "last": 1}
        add(run, "events.jsonl", line(0, **START))
        add(run, "events.jsonl", event(4, "run.dropped", segment="logs.jsonl", **drop))
        add(run, "events.jsonl", event(6, "writer.end", last=6))
        add(run, "logs.1.jsonl", line(3))
        writer = main_of(run)
        assert (writer.lost.ranges, writer.absent) == ([(2, 2), (5, 5)], [])

    def test_a_link_is_not_followed(self, ended: Path, tmp_path: Path) -> None:
        (ended / "logs.jsonl").rename(tmp_path / "logs")
        (ended / "logs.jsonl").symlink_to(tmp_path / "logs")
        found = check(ended)
        assert [u.reason for u in found.writers[0].unreadable] == [
            "a link, not followed"
        ]
        assert (found.is_whole, found.writers[0].lost.count) == (False, 4)
        assert found.writers[0].verdict == "unreadable"

    def test_all_events_gone(self, ended: Path) -> None:
        """Then nothing tells of the writer but its numbers."""
        (ended / "events.jsonl").unlink()
        writer = main_of(ended)
        assert (writer.verdict, writer.in_flight.ranges) == ("tail unproved", [(0, 0)])

    def test_odd_events_do_no_harm(self, ended: Path) -> None:
        for data in ({"first": 1}, {"first": "a", "last": []}, {"first": 5, "last": 2}):
            add(ended, "events.jsonl", event(10, "run.dropped", **data))
        add(ended, "events.jsonl", line(11, event="run.dropped", data=3))
        add(ended, "events.jsonl", event(12, "writer.end", last="x"))
        add(ended, "events.jsonl", event(13, "run.artifact", path=3))
        assert main_of(ended).duplicates.ranges == [(10, 10), (10, 10)]

    def test_one_number_far_away_is_no_harm(self, ended: Path) -> None:
        add(ended, "logs.jsonl", line(1 << 61))
        writer = main_of(ended)
        assert writer.lost.ranges == [(10, (1 << 61) - 1)]


class TestRealDamage:
    """The same with files that mlog wrote."""

    CODE = """
import os, signal, sys, threading
import mlog
run = mlog.start_run("real", dir=sys.argv[1], run_id="r", segment_bytes=2000)
log = mlog.getLogger("work")
for step in range(200):
    log.info("step %d", step)
    log.info(metric={"loss": step}, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""

    @pytest.fixture
    def killed(self, tmp_path: Path) -> Path:
        done = run_python(self.CODE, str(tmp_path))
        assert done.returncode == -signal.SIGKILL, done.stderr
        return tmp_path / "real" / "r"

    def test_a_killed_run_is_unproved(self, killed: Path) -> None:
        found = check(killed, now=time.time())
        (writer,) = found.writers
        assert (writer.verdict, writer.alive) == ("tail unproved", False)
        assert writer.entries >= 400
        assert found.is_whole

    def test_a_removed_segment_is_lost(self, killed: Path) -> None:
        numbers = [e["seq"] for e in helpers.entries(killed / "logs.1.jsonl")]
        (killed / "logs.1.jsonl").unlink()
        add(killed, "events.jsonl", event(10_000, "writer.end", last=10_000))
        writer = main_of(killed)
        assert writer.absent == ["logs.1.jsonl"]
        lost = {n for a, b in writer.lost.ranges[:-1] for n in range(a, b + 1)}
        assert lost == set(numbers)

    def test_dropped_segments_are_no_loss(self, run: Path) -> None:
        """The oldest are removed by the writer, to keep within `max_log_bytes`."""
        folder = Folder.open_below(run.parent.parent, run.parts[-2:], PRIVATE)
        options = WriterOptions(segment_bytes=500, max_log_bytes=1500)
        writer = Writer(
            folder, Place(main=True, attempt=1), "r", options, None, lambda: None
        )
        for number in range(100):
            writer.write("logs", event_fields("x", {"number": number}))
        writer.keep(1.0)
        writer.end("Completed")
        found = main_of(run)
        assert (found.verdict, found.reasons) == ("complete", ["max_log_bytes"])
        assert found.dropped.count == found.last + 1 - found.entries > 50
        assert found.absent == []


class TestRanks:
    """Ranks that were expected, and of which there is nothing."""

    def rank(self, run: Path, name: str, seq: int = 0, **facts: Any) -> None:
        suffix = f"-{name}" if name else ""
        add(run, f"events{suffix}.jsonl", event(0, "writer.start", **facts))
        add(run, f"events{suffix}.jsonl", event(1, "writer.end", last=1))

    def test_missing_ranks_are_told(self, run: Path) -> None:
        self.rank(run, "", rank=0, world_size=8)
        self.rank(run, "r4", rank=4, world_size=8)
        found = check(run)
        (missing,) = found.missing_ranks
        assert (missing.attempt, missing.world_size) == (1, 8)
        assert missing.ranks.ranges == [(1, 3), (5, 7)]
        assert not found.is_whole

    def test_all_ranks_there(self, run: Path) -> None:
        self.rank(run, "", rank=0, world_size=2)
        self.rank(run, "r1", rank=1, world_size=2)
        assert check(run).is_whole

    def test_each_attempt_counts(self, run: Path) -> None:
        """After a restart there may be fewer."""
        self.rank(run, "", rank=0, world_size=3, attempt=1)
        self.rank(run, "r1", rank=1, world_size=3, attempt=1)
        self.rank(run, "r2", rank=2, world_size=3, attempt=1)
        self.rank(run, "a2", rank=0, world_size=2, attempt=2)
        (missing,) = check(run).missing_ranks
        assert (missing.attempt, missing.ranks.ranges) == (2, [(1, 1)])

    def test_a_rank_without_events_was_there(self, run: Path) -> None:
        """Its name tells; what it lost is another matter."""
        self.rank(run, "", rank=0, world_size=2)
        add(run, "logs-r1.jsonl", line(0))
        assert check(run).missing_ranks == []

    def test_other_processes_are_no_ranks(self, run: Path) -> None:
        self.rank(run, "", world_size=1)
        self.rank(run, "node7-123", world_size=1)
        assert check(run).missing_ranks == []

    @pytest.mark.parametrize("size", [1 << 60, -3, "x", None, True])
    def test_odd_world_sizes(self, run: Path, size: Any) -> None:
        self.rank(run, "", rank=0, world_size=size)
        found = check(run).missing_ranks
        assert [m.ranks.count for m in found] == ([size - 1] if size == 1 << 60 else [])


class TestArtifacts:
    """Files that the run put out are as `run.artifact` says."""

    def put(self, run: Path, path: str, content: bytes, **data: Any) -> Path:
        file = run / "artifacts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        facts: dict[str, Any] = {"path": path, "size": len(content), "sha256": digest}
        facts |= data
        seq = 10 + len(helpers.entries(run / "events.jsonl"))
        add(run, "events.jsonl", event(seq, "run.artifact", **facts))
        return file

    def problems(self, run: Path, **options: Any) -> list[tuple[Any, ...]]:
        found = check(run, **options).problems
        return [(p.path, p.problem, p.expected, p.found) for p in found]

    def test_all_as_they_were(self, ended: Path) -> None:
        self.put(ended, "model.pt", b"weights")
        self.put(ended, "sub/é.txt", b"")
        found = check(ended, deep=True)
        assert (found.artifacts, found.problems) == (2, [])

    def test_another_size(self, ended: Path) -> None:
        self.put(ended, "model.pt", b"weights").write_bytes(b"w")
        assert self.problems(ended) == [("model.pt", "size", 7, 1)]
        assert not check(ended).is_whole

    def test_another_content_is_seen_by_deep_only(self, ended: Path) -> None:
        file = self.put(ended, "model.pt", b"weights")
        file.write_bytes(b"WEIGHTS")
        assert self.problems(ended) == []
        ((path, problem, expected, found),) = self.problems(ended, deep=True)
        assert (path, problem) == ("model.pt", "sha256")
        assert found == hashlib.sha256(b"WEIGHTS").hexdigest() != expected

    def test_one_that_is_gone(self, ended: Path) -> None:
        self.put(ended, "a/b", b"x").unlink()
        assert self.problems(ended) == [("a/b", "missing", None, None)]
        (ended / "artifacts" / "a").rmdir()
        assert self.problems(ended) == [("a/b", "missing", None, None)]

    def test_the_last_one_of_a_name_counts(self, ended: Path) -> None:
        self.put(ended, "model.pt", b"old")
        self.put(ended, "model.pt", b"newer")
        assert self.problems(ended, deep=True) == []

    def test_links_are_not_followed(self, ended: Path, tmp_path: Path) -> None:
        file = self.put(ended, "a/b", b"x")
        (tmp_path / "b").write_bytes(b"x")
        file.unlink()
        file.symlink_to(tmp_path / "b")
        ((_, problem, _, _),) = self.problems(ended, deep=True)
        file.unlink()
        file.parent.rmdir()
        file.parent.symlink_to(tmp_path)
        ((_, other, _, _),) = self.problems(ended, deep=True)
        assert (problem, other) == ("unreadable", "unreadable")

    @pytest.mark.parametrize("path", ["../../secret", "", "/etc/passwd", "a\0b"])
    def test_a_path_that_leads_out(self, ended: Path, path: str) -> None:
        add(ended, "events.jsonl", event(10, "run.artifact", path=path, size=1))
        ((_, problem, _, _),) = self.problems(ended, deep=True)
        assert problem in ("unreadable", "missing")

    def test_without_size_and_sum_only_presence_counts(self, ended: Path) -> None:
        self.put(ended, "x", b"abc", size=None, sha256=None)
        assert self.problems(ended, deep=True) == []


# --- the rules, against the plain list of all numbers --------------------------------


streams = st.sampled_from(["logs.jsonl", "metrics.jsonl", "events.jsonl"])
numbered = st.tuples(streams, st.integers(0, 60))
all_times = st.lists(st.integers(0, 3000), min_size=61, max_size=61)
drop = st.tuples(st.integers(0, 60), st.integers(0, 20))


def as_set(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(
    st.lists(numbered, max_size=60),
    all_times,
    st.lists(drop, max_size=3),
    st.booleans(),
)
def test_numbers_are_judged_as_by_the_plain_rules(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[tuple[str, int]],
    times: list[int],
    drops: list[tuple[int, int]],
    ends: bool,
) -> None:
    """Whatever was written in whatever order: the same is missing, for one reason."""
    folder = tmp_path_factory.mktemp("run")
    add(folder, "events.jsonl", line(0, times[0], **START))
    for name, seq in written:
        add(folder, name, line(seq, times[seq]))
    for first, size in drops:
        data: dict[str, Any] = {"first": first, "last": first + size, "reason": "r"}
        add(folder, "events.jsonl", event(first, "run.dropped", times[first], **data))
    if ends:
        add(folder, "events.jsonl", event(50, "writer.end", times[50], last=50))
    writer = main_of(folder)
    wanted = helpers.gaps(folder).get("", {})
    assert as_set(writer.lost.ranges) == {n for n, why in wanted.items() if why is None}
    dropped = {n for n, why in wanted.items() if why and why.startswith("dropped")}
    assert as_set(writer.dropped.ranges) == dropped
    assert as_set(writer.in_flight.ranges) == wanted.keys() - dropped - as_set(
        writer.lost.ranges
    )
    seqs = [e["seq"] for e in helpers.entries(folder)]
    assert writer.duplicates.count == len(seqs) - len(set(seqs))
    assert writer.entries == len(seqs)


@pytest.mark.parametrize("missing", [0, 1, 20_000])
def test_streams_of_many_pieces(tmp_path: Path, missing: int) -> None:
    """Side by side they make one row of numbers, and what lacks is counted."""
    count = 60_000
    logs = [line(seq, seq // 20) for seq in range(1, count, 2)]
    add(tmp_path, "events.jsonl", line(0, **START))
    add(tmp_path, "events.jsonl", event(count, "writer.end", 3000, last=count))
    add(tmp_path, "metrics.jsonl", *(line(seq) for seq in range(2, count, 2)))
    add(tmp_path, "logs.jsonl", *logs[missing:])
    writer = main_of(tmp_path)
    assert (writer.lost.count, writer.duplicates.count) == (missing, 0)
    assert len(writer.lost.ranges) + writer.lost.more == missing
