"""Reading a run while it grows."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.follow import Follower, Found, parse_line
from mlog.run.start import start_run
from tests.helpers import REPO, entries

CUT = b'{"ts":"2026-11-23T18:27:00.000001Z","seq":7,"level":"INFO","msg":"cut he'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp" / "run"
    folder.mkdir(parents=True)
    return folder


def line(seq: int, ts: int | None = None, **fields: Any) -> bytes:
    """Return a line; `ts` are microseconds, and those of `seq` where not given."""
    stamp = f"2026-11-23T18:27:00.{seq if ts is None else ts:06d}Z"
    return json.dumps({"ts": stamp, "seq": seq, **fields}).encode() + b"\n"


def add(run: Path, name: str, *lines: bytes) -> None:
    with (run / name).open("ab") as file:
        file.write(b"".join(lines))


def seqs(found: Iterable[Found]) -> list[int]:
    return [one.entry["seq"] for one in found]


def where(found: Iterable[Found]) -> list[tuple[str, int]]:
    return [(one.segment.filename, one.entry["seq"]) for one in found]


class TestOrder:
    """Inside a writer by `seq`, between writers by the running maximum of `ts`."""

    def test_streams_of_a_writer_are_one_by_seq(self, run: Path) -> None:
        add(run, "events.jsonl", line(0), line(4))
        add(run, "metrics.jsonl", line(1), line(3))
        add(run, "logs.jsonl", line(2))
        assert seqs(Follower(run).poll()) == [0, 1, 2, 3, 4]
        assert seqs(Follower(run).last(9)) == [0, 1, 2, 3, 4]

    def test_a_clock_set_back_does_not_reorder_a_writer(self, run: Path) -> None:
        add(run, "logs.jsonl", line(0, ts=900), line(2, ts=100))
        add(run, "metrics.jsonl", line(1, ts=901), line(3, ts=101))
        assert seqs(Follower(run).poll()) == [0, 1, 2, 3]
        assert seqs(Follower(run).last(9)) == [0, 1, 2, 3]

    def test_writers_are_merged_by_time(self, run: Path) -> None:
        add(run, "logs.jsonl", line(0, ts=10), line(1, ts=30))
        add(run, "logs-r1.jsonl", line(0, ts=20), line(1, ts=40))
        expected = [
            ("logs.jsonl", 0),
            ("logs-r1.jsonl", 0),
            ("logs.jsonl", 1),
            ("logs-r1.jsonl", 1),
        ]
        assert where(Follower(run).poll()) == expected
        assert where(Follower(run).last(9)) == expected

    def test_segments_follow_by_number(self, run: Path) -> None:
        """Not by name, where 10 stands before 2."""
        for seq, name in enumerate(["logs", "logs.1", "logs.2", "logs.10"]):
            add(run, f"{name}.jsonl", line(seq, ts=5))
        assert seqs(Follower(run).poll()) == [0, 1, 2, 3]
        assert seqs(Follower(run).last(2)) == [2, 3]


class TestPoll:
    """Each call gives what was added since the last."""

    def test_entries_come_once(self, run: Path) -> None:
        follower = Follower(run)
        add(run, "logs.jsonl", line(0))
        assert seqs(follower.poll()) == [0]
        assert seqs(follower.poll()) == []
        add(run, "logs.jsonl", line(1), line(2))
        assert seqs(follower.poll()) == [1, 2]

    def test_found_has_the_line_as_it_stands(self, run: Path) -> None:
        raw = b'{"ts" : "2026-11-23T18:27:00Z", "seq": 0, "later": [1]}'
        add(run, "logs-r1.3.jsonl", raw + b"\n")
        (found,) = Follower(run).poll()
        assert found.raw == raw
        assert found.entry == json.loads(raw)
        assert found.segment.filename == "logs-r1.3.jsonl"

    def test_new_segments_and_writers_are_found(self, run: Path) -> None:
        follower = Follower(run)
        add(run, "logs.jsonl", line(0))
        assert seqs(follower.poll()) == [0]
        add(run, "logs.1.jsonl", line(1))
        add(run, "metrics-r1.jsonl", line(2))
        assert seqs(follower.poll()) == [1, 2]

    def test_a_late_line_in_an_old_segment_is_read(self, run: Path) -> None:
        """A thread may write once more to a segment while others use the next."""
        follower = Follower(run)
        add(run, "logs.jsonl", line(0))
        add(run, "logs.1.jsonl", line(2))
        assert seqs(follower.poll()) == [0, 2]
        add(run, "logs.jsonl", line(1))
        assert seqs(follower.poll()) == [1]

    def test_file_cut_at_any_byte_gives_its_whole_lines(self, run: Path) -> None:
        """A line without its newline is not there yet; later it is, once."""
        whole = line(0) + line(1, msg="ä\\n") + line(2)
        for size in range(len(whole) + 1):
            path = run / "logs.jsonl"
            path.unlink(missing_ok=True)
            path.write_bytes(whole[:size])
            for follower in (Follower(run), Follower(run)):
                count = whole[:size].count(b"\n")
                assert seqs(follower.last(9)) == list(range(count))
                assert follower.torn == (not whole[:size].endswith(b"\n") and size > 0)
                with path.open("ab") as file:
                    file.write(whole[size:])
                assert seqs(follower.poll()) == list(range(count, 3))
                assert (follower.torn, follower.skipped) == (0, 0)
                path.write_bytes(whole[:size])

    def test_a_file_in_place_of_another_is_read_from_its_start(self, run: Path) -> None:
        """A writer begins again when somebody removed its files."""
        follower = Follower(run)
        add(run, "logs.jsonl", line(0), line(1))
        assert seqs(follower.poll()) == [0, 1]
        (run / "logs.jsonl").rename(run / "old")
        add(run, "logs.jsonl", line(2), line(3), line(4))
        assert seqs(follower.poll()) == [2, 3, 4]

    def test_a_removed_segment_is_forgotten(self, run: Path) -> None:
        follower = Follower(run)
        add(run, "logs.jsonl", line(0), b"torn")
        add(run, "logs.1.jsonl", line(1))
        assert seqs(follower.poll()) == [0, 1]
        (run / "logs.jsonl").unlink()
        assert seqs(follower.poll()) == []
        assert follower.torn == 0

    def test_other_files_folders_and_links_are_not_read(self, run: Path) -> None:
        """Links below the root are not followed."""
        (run.parent / "secret").write_bytes(line(0))
        (run / "logs.jsonl").symlink_to(run.parent / "secret")
        (run / "metrics.jsonl").mkdir()
        for name in ("LOGS.jsonl", "logs.01.jsonl", "run.json", "logs.jsonl.gz"):
            add(run, name, line(0))
        assert seqs(Follower(run).poll()) == []
        assert seqs(Follower(run).last(9)) == []

    def test_a_missing_folder_is_an_error(self, run: Path) -> None:
        follower = Follower(run)
        list(follower.poll())
        run.rmdir()
        with pytest.raises(FileNotFoundError):
            list(follower.poll())

    def test_reading_leaves_the_folder_as_it_was(self, run: Path) -> None:
        add(run, "logs.jsonl", line(0), b"torn")
        before = [(p.name, p.stat().st_mtime_ns) for p in run.iterdir()]
        follower = Follower(run)
        follower.last(9)
        list(follower.poll())
        assert [(p.name, p.stat().st_mtime_ns) for p in run.iterdir()] == before


class TestDamage:
    """What is no entry is passed over and counted, and its neighbours are read."""

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"what?",
            b"\x00" * 100,
            b"\xff\xfe",
            b"[1]",
            b"null",
            b"{}",
            b'{"ts":"2026-11-23T18:27:00Z"}',
            b'{"ts":1,"seq":0}',
            b'{"ts":"2026-11-23T18:27:00Z","seq":"0"}',
            b'{"ts":"2026-11-23T18:27:00Z","seq":NaN}',
            b"[" * 5_000,
            CUT,
        ],
    )
    def test_a_damaged_line_is_counted(self, run: Path, garbage: bytes) -> None:
        add(run, "logs.jsonl", line(0), garbage + b"\n", line(1))
        forwards, backwards = Follower(run), Follower(run)
        assert seqs(forwards.poll()) == [0, 1]
        assert seqs(backwards.last(9)) == [0, 1]
        assert (forwards.skipped, backwards.skipped) == (1, 1)

    def test_a_carriage_return_ends_no_line(self, run: Path) -> None:
        add(run, "logs.jsonl", b"a\rb\r\n", line(1))
        follower = Follower(run)
        assert seqs(follower.poll()) == [1]
        assert follower.skipped == 1

    def test_a_line_too_long_for_an_entry_is_one_damaged_line(self, run: Path) -> None:
        add(run, "logs.jsonl", line(0), b"x" * 3_500_000 + b"\n", line(1))
        forwards, backwards = Follower(run), Follower(run)
        assert seqs(forwards.poll()) == [0, 1]
        assert seqs(backwards.last(9)) == [0, 1]
        assert (forwards.skipped, backwards.skipped) == (1, 1)
        assert (forwards.torn, backwards.torn) == (0, 0)

    def test_an_endless_line_is_passed_over_while_it_grows(self, run: Path) -> None:
        follower = Follower(run)
        for _ in range(3):
            add(run, "logs.jsonl", b"x" * 1_500_000)
            assert seqs(follower.poll()) == []
        add(run, "logs.jsonl", b"\n", line(1))
        assert seqs(follower.poll()) == [1]
        assert (follower.skipped, follower.torn) == (1, 0)

    def test_the_longest_entry_is_read(self, run: Path) -> None:
        """An entry has up to 1 MiB, its newline included."""
        longest = line(1, msg="")
        longest = line(1, msg="x" * ((1 << 20) - len(longest)))
        assert len(longest) == 1 << 20
        add(run, "logs.jsonl", line(0), longest, line(2))
        forwards, backwards = Follower(run), Follower(run)
        assert seqs(forwards.poll()) == [0, 1, 2]
        assert seqs(backwards.last(9)) == [0, 1, 2]

    def test_a_whole_entry_behind_cut_ones_is_saved(self, run: Path) -> None:
        """On a full disk a cut entry may stay before the whole one of a thread."""
        whole = line(8, msg="whole", extra={"inner": {"ts": "x", "seq": 1}})
        add(run, "logs.jsonl", CUT + CUT + whole)
        follower = Follower(run)
        (found,) = follower.poll()
        assert (found.entry["msg"], follower.skipped) == ("whole", 0)

    def test_an_entry_quoted_in_a_message_is_not_taken_for_one(self) -> None:
        quoted = line(3, msg="told").decode().strip()
        cut = line(8, msg=quoted)[:-3]
        assert parse_line(cut) is None

    def test_glued_garbage_takes_no_time(self) -> None:
        assert parse_line(b'{"ts":"' * 150_000) is None


class TestLast:
    """The newest entries are found from the ends; then `poll` goes on."""

    def test_only_as_many_as_asked_for(self, run: Path) -> None:
        add(run, "logs.jsonl", *map(line, range(5)))
        assert seqs(Follower(run).last(2)) == [3, 4]
        assert seqs(Follower(run).last(0)) == []

    def test_only_wanted_ones_count(self, run: Path) -> None:
        add(run, "logs.jsonl", *map(line, range(9)))
        even = Follower(run).last(2, lambda found: found.entry["seq"] % 2 == 0)
        assert seqs(even) == [6, 8]

    def test_poll_goes_on_behind_it(self, run: Path) -> None:
        """Also for what was not returned, and for a line that had no newline yet."""
        add(run, "logs.jsonl", line(0), line(1), line(3)[:9])
        add(run, "metrics.jsonl", line(2))
        follower = Follower(run)
        assert seqs(follower.last(1)) == [2]
        assert (seqs(follower.poll()), follower.torn) == ([], 1)
        add(run, "logs.jsonl", line(3)[9:])
        assert (seqs(follower.poll()), follower.torn) == ([3], 0)

    def test_the_beginning_is_not_read(self, run: Path) -> None:
        """The end of a long run is there at once."""
        add(run, "logs.jsonl", b"garbage\n", *map(line, range(5_000)))
        follower = Follower(run)
        assert seqs(follower.last(3)) == [4_997, 4_998, 4_999]
        assert follower.skipped == 0

    def test_an_empty_run_has_none(self, run: Path) -> None:
        (run / "logs.jsonl").touch()
        assert Follower(run).last(9) == []

    @given(
        sizes=st.lists(st.integers(0, 3 << 16), min_size=1, max_size=12),
        count=st.integers(0, 13),
    )
    def test_it_is_the_end_of_all_entries(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        sizes: list[int],
        count: int,
    ) -> None:
        """Wherever lines lie in the blocks that are read."""
        run = tmp_path_factory.mktemp("run")
        for seq, size in enumerate(sizes):
            name = ("logs.jsonl", "metrics.jsonl")[seq % 3 == 0]
            add(run, name, line(seq, msg="x" * size))
        everything = list(Follower(run).poll())
        assert seqs(everything) == list(range(len(sizes)))
        newest = everything[max(0, len(sizes) - count) :]
        assert Follower(run).last(count) == newest


class TestEnd:
    """A run has ended with its `run.end`, until a new attempt starts."""

    @pytest.fixture(params=["poll", "last"])
    def read(self, request: pytest.FixtureRequest) -> Any:
        """Read everything, by each of the two ways; return whether it has ended."""

        def read(run: Path) -> bool:
            follower = Follower(run)
            if request.param == "poll":
                list(follower.poll())
            else:
                follower.last(0)
            return follower.has_ended

        return read

    def test_run_end_ends_it(self, run: Path, read: Any) -> None:
        add(run, "events.jsonl", line(0, event="writer.start", data={}))
        add(run, "events.jsonl", line(1, event="run.start", data={}))
        assert not read(run)
        add(run, "events.jsonl", line(2, event="run.end", data={"status": "Failed"}))
        assert read(run)
        add(run, "events.jsonl", line(3, event="writer.end", data={}))
        assert read(run)

    def test_the_end_of_another_process_is_not_the_runs(
        self, run: Path, read: Any
    ) -> None:
        add(run, "events.jsonl", line(0, event="run.start", data={}))
        add(run, "events-r1.jsonl", line(0, event="writer.start", data={}))
        add(run, "events-r1.jsonl", line(1, event="writer.end", data={}))
        assert not read(run)

    def test_a_new_attempt_goes_on(self, run: Path, read: Any) -> None:
        add(run, "events.jsonl", line(0, event="run.start", data={}))
        add(run, "events.jsonl", line(1, event="run.end", data={}))
        add(run, "events-a2.jsonl", line(0, ts=5, event="writer.start", data={}))
        add(run, "events-a2.jsonl", line(1, ts=6, event="run.start", data={}))
        assert not read(run)
        add(run, "events-a2.jsonl", line(2, ts=7, event="run.end", data={}))
        assert read(run)

    def test_a_message_about_it_does_not_end_it(self, run: Path, read: Any) -> None:
        add(run, "events.jsonl", line(0, event="run.tags", data={"a": "run.end"}))
        add(run, "logs.jsonl", line(1, msg='"run.end"'))
        assert not read(run)


WRITER = """
import logging, sys, threading
import mlog

def work(n):
    log = logging.getLogger(f"worker.{n}")
    for i in range(300):
        log.info("line %d", i)
        log.info(metric={"loss": i}, step=i)

with mlog.start_run("live", segment_bytes=8192) as run:
    print(run.path, flush=True)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
"""


def test_a_run_is_read_completely_while_threads_write_and_segments_change(
    tmp_path: Path,
) -> None:
    """Every entry once, and each segment's in its order."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO), "MLOG_DIR": str(tmp_path)},
    )
    assert child.stdout is not None
    with child:
        folder = Path(child.stdout.readline().strip())
        follower, found = Follower(folder), list[Found]()
        while child.poll() is None:
            found += follower.poll()
    found += follower.poll()
    assert child.returncode == 0
    assert (follower.skipped, follower.torn, follower.has_ended) == (0, 0, True)
    written = entries(folder)
    assert len(written) > 2_400
    assert sorted(seqs(found)) == sorted(entry["seq"] for entry in written)
    assert len({one.segment.filename for one in found}) > 5


def test_only_the_streams_that_are_wanted_are_read(run_dir: Path) -> None:
    """The end of the run is seen by its events."""
    with start_run("streams") as run:
        logging.getLogger("a").warning("a line")
        run.log("loss", 1)
    assert run.path is not None
    follower = Follower(run.path, ("events", "metrics"))
    streams = {found.segment.stream for found in follower.poll()}
    assert (streams, follower.has_ended) == ({"events", "metrics"}, True)
