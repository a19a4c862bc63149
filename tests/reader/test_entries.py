"""Entries of a run, in order and filtered."""

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.errors import RunNotFoundError
from mlog.layout import SegmentName, writer_name
from mlog.reader.entries import iter_entries, read_blocks, read_writers, seconds_of

CUT = b'{"ts":"2026-11-23T18:27:00.000001Z","seq":7,"level":"INFO","msg":"cut he'
BEGIN = datetime(2026, 11, 23, 18, 27, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp" / "run"
    folder.mkdir(parents=True)
    return folder


def line(seq: int, ts: int | None = None, **fields: Any) -> bytes:
    """Return a line; `ts` are microseconds, and those of `seq` where not given."""
    stamp = f"2026-11-23T18:27:00.{seq if ts is None else ts:06d}Z"
    return json.dumps({"ts": stamp, "seq": seq, **fields}).encode() + b"\n"


def start(**facts: Any) -> bytes:
    return line(0, event="writer.start", data=facts)


def add(run: Path, name: str, *lines: bytes) -> None:
    with (run / name).open("ab") as file:
        file.write(b"".join(lines))


def seqs(entries: Iterable[dict[str, Any]]) -> list[int]:
    return [entry["seq"] for entry in entries]


class TestOrder:
    """Inside a writer by `seq`, between writers by the greatest `ts` so far."""

    def test_streams_of_a_writer_are_one_by_seq(self, run: Path) -> None:
        add(run, "events.jsonl", line(0), line(4))
        add(run, "metrics.jsonl", line(1), line(3))
        add(run, "logs.jsonl", line(2))
        assert seqs(iter_entries(run)) == [0, 1, 2, 3, 4]

    def test_neighbours_that_swapped_places_in_the_file_are_put_right(
        self, run: Path
    ) -> None:
        """Wherever the two stand; a block is read at a time."""
        order = list(range(3_000))
        for i in range(1, 2_999, 2):
            order[i], order[i + 1] = order[i + 1], order[i]
        add(run, "logs.jsonl", *(line(seq, msg="x" * 20) for seq in order))
        assert seqs(iter_entries(run)) == list(range(3_000))

    def test_a_clock_set_back_does_not_reorder_a_writer(self, run: Path) -> None:
        add(run, "logs.jsonl", line(0, ts=900), line(2, ts=100))
        add(run, "metrics.jsonl", line(1, ts=901), line(3, ts=101))
        assert seqs(iter_entries(run)) == [0, 1, 2, 3]

    def test_writers_are_merged_by_time(self, run: Path) -> None:
        add(run, "logs.jsonl", line(0, ts=10), line(1, ts=30))
        add(run, "logs-r1.jsonl", line(0, ts=20), line(1, ts=40))
        stamps = [entry["ts"] for entry in iter_entries(run)]
        assert stamps == sorted(stamps)

    def test_segments_follow_by_number(self, run: Path) -> None:
        """Not by name, where 10 stands before 2."""
        for seq, name in enumerate(["logs", "logs.1", "logs.2", "logs.10"]):
            add(run, f"{name}.jsonl", line(seq, ts=5))
        assert seqs(iter_entries(run)) == [0, 1, 2, 3]

    def test_reading_is_lazy(self, run: Path) -> None:
        """The beginning is there without a look at the end."""
        add(run, "logs.jsonl", *(line(seq, msg="x" * 100) for seq in range(9_000)))
        found = iter_entries(run)
        assert seqs(islice(found, 3)) == [0, 1, 2]
        (run / "logs.jsonl").unlink()
        assert 3 < len(seqs(found)) < 8_997


class TestFilters:
    """An entry is yielded if it passes all that are given."""

    def test_stream(self, run: Path) -> None:
        add(run, "events.jsonl", line(0))
        add(run, "metrics.jsonl", line(1))
        add(run, "logs.jsonl", line(2))
        assert seqs(iter_entries(run, "metrics")) == [1]
        assert seqs(iter_entries(run, "events")) == [0]

    @pytest.mark.parametrize(
        ("level", "expected"),
        [
            ("WARNING", [2, 3]),
            ("warning", [2, 3]),
            (logging.ERROR, [3]),
            (15, [1, 2, 3, 4, 5]),
            (10, [0, 1, 2, 3, 4, 5]),
        ],
    )
    def test_level_is_the_least_one(
        self, run: Path, level: int | str, expected: list[int]
    ) -> None:
        """By name or number; an unknown name of a line counts as INFO."""
        names = ["DEBUG", "INFO", "WARNING", "CRITICAL", "Level 15", "TRACEBACK"]
        add(run, "logs.jsonl", *(line(i, level=name) for i, name in enumerate(names)))
        add(run, "events.jsonl", line(6, event="run.end"))
        assert seqs(iter_entries(run, level=level)) == expected

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [("data", [0]), ("data.*", [1]), ("data*", [0, 1]), ("x[1]", [2]), ("?", [])],
    )
    def test_logger_is_a_name_or_a_pattern(
        self, run: Path, pattern: str, expected: list[int]
    ) -> None:
        for seq, name in enumerate(["data", "data.load", "x[1]"]):
            add(run, "logs.jsonl", line(seq, logger=name))
        add(run, "events.jsonl", line(3))
        assert seqs(iter_entries(run, logger=pattern)) == expected

    @pytest.mark.parametrize(
        ("step", "expected"),
        [(2, [2]), ((1, 3), [1, 2, 3]), (range(0, 5, 2), [0, 2, 4]), ((3, 1), [])],
    )
    def test_step_is_one_or_two_ends_or_a_range(
        self, run: Path, step: Any, expected: list[int]
    ) -> None:
        """Both ends of a pair are included; an entry without a step is not."""
        add(run, "metrics.jsonl", *(line(i, step=i) for i in range(5)))
        add(run, "metrics.jsonl", line(5), line(6, step="2"), line(7, step=True))
        assert seqs(iter_entries(run, step=step)) == expected

    @pytest.mark.parametrize(
        "since",
        [
            "2026-11-23T18:27:00.000002Z",
            "2026-11-23T19:27:00.000002+01:00",
            BEGIN.replace(microsecond=2),
            BEGIN.replace(microsecond=2).timestamp(),
        ],
    )
    def test_since_is_a_time_with_its_zone(self, run: Path, since: Any) -> None:
        add(run, "logs.jsonl", *map(line, range(4)))
        add(run, "logs.jsonl", b'{"ts":"once upon a time","seq":4}\n')
        assert seqs(iter_entries(run, since=since)) == [2, 3]

    def test_rank_0_includes_processes_without_a_rank(self, run: Path) -> None:
        add(run, "events.jsonl", start(attempt=1, rank=0))
        add(run, "events-host-12.jsonl", start(attempt=1))
        add(run, "events-r1.jsonl", start(attempt=1, rank=1))
        for seq, name in enumerate(["", "-host-12", "-r1"], 1):
            add(run, f"logs{name}.jsonl", line(seq))
        assert seqs(iter_entries(run, "logs", rank=0)) == [1, 2]
        assert seqs(iter_entries(run, "logs", rank=1)) == [3]
        assert seqs(iter_entries(run, "logs", rank=2)) == []

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"stream": "log"}, "'logs'.*got 'log'"),
            ({"level": "LOUD"}, "level must be.*DEBUG, INFO.*got 'LOUD'"),
            ({"step": 1.5}, "step must be.*got 1.5"),
            ({"step": (1, 2, 3)}, "step must be"),
            ({"since": "yesterday"}, "since must be.*got 'yesterday'"),
            ({"since": "2026-11-23T18:27:00"}, "with its zone"),
            ({"since": float("nan")}, "since must be"),
            ({"rank": "all"}, "rank must be"),
        ],
    )
    def test_a_wrong_filter_is_told_at_once(
        self, run: Path, filters: dict[str, Any], expected: str
    ) -> None:
        """Not only when the first entry is asked for."""
        with pytest.raises((TypeError, ValueError), match=expected):
            iter_entries(run, **filters)


class TestDamage:
    """What is no entry is passed over, and its neighbours are read."""

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
            b'{"seq":3}',
            b'{"ts":1,"seq":0}',
            b'{"ts":"2026-11-23T18:27:00Z","seq":"0"}',
            b'{"ts":"2026-11-23T18:27:00Z","seq":1.5}',
            b'{"ts":"2026-11-23T18:27:00Z","seq":NaN}',
            b"1,2",
            b"]",
            b"[",
            b"[" * 5_000,
            CUT,
            b"x" * 3_500_000,
        ],
    )
    def test_a_damaged_line_is_passed_over(self, run: Path, garbage: bytes) -> None:
        add(run, "logs.jsonl", line(1), garbage + b"\n", line(2))
        assert seqs(iter_entries(run)) == [1, 2]

    def test_a_whole_entry_behind_cut_ones_is_saved(self, run: Path) -> None:
        add(run, "logs.jsonl", line(1), CUT + CUT + line(8), line(9))
        assert seqs(iter_entries(run)) == [1, 8, 9]

    def test_file_cut_at_any_byte_gives_its_whole_lines(self, run: Path) -> None:
        """A line without its newline is not there yet."""
        whole = line(0) + line(1, msg="ä\\n") + line(2)
        for size in range(len(whole) + 1):
            (run / "logs.jsonl").write_bytes(whole[:size])
            count = whole[:size].count(b"\n")
            assert seqs(iter_entries(run)) == list(range(count))

    @given(
        sizes=st.lists(st.integers(0, 3 << 15), min_size=1, max_size=12),
        broken=st.sets(st.integers(0, 11)),
    )
    def test_lines_of_any_length_are_read(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        sizes: list[int],
        broken: set[int],
    ) -> None:
        """Wherever they lie in the blocks that are read."""
        run = tmp_path_factory.mktemp("run")
        for seq, size in enumerate(sizes):
            text = line(seq, msg="x" * size)
            add(run, "logs.jsonl", text[1:] if seq in broken else text)
        expected = [seq for seq in range(len(sizes)) if seq not in broken]
        assert seqs(iter_entries(run)) == expected

    def test_links_and_other_files_are_not_read(self, run: Path) -> None:
        (run.parent / "secret").write_bytes(line(0))
        (run / "logs.jsonl").symlink_to(run.parent / "secret")
        (run / "metrics.jsonl").mkdir()
        for name in ("LOGS.jsonl", "logs.01.jsonl", "run.json", "logs.jsonl.gz"):
            add(run, name, line(0))
        assert seqs(iter_entries(run)) == []

    def test_no_folder_is_no_run(self, run: Path) -> None:
        with pytest.raises(RunNotFoundError, match="no run folder"):
            iter_entries(run / "not there")


class TestWriters:
    """Attempt and rank are what the writer's first event says, else its name does."""

    @pytest.mark.parametrize("attempt", [1, 2, 17])
    @pytest.mark.parametrize("rank", [None, 0, 3])
    @pytest.mark.parametrize("main", [True, False])
    @pytest.mark.parametrize("suffix", ["", "-03fa"])
    def test_the_name_tells_it_without_events(
        self, run: Path, main: bool, rank: int | None, attempt: int, suffix: str
    ) -> None:
        """Also with the digits that are added where a name was taken."""
        name = writer_name(main=main, rank=rank, host="node", pid=7, attempt=attempt)
        segment = SegmentName("metrics", f"{name}{suffix}".lstrip("-"))
        add(run, segment.filename, line(1))
        (writer,) = read_writers(run)
        assert (writer.attempt, writer.rank) == (attempt, None if main else rank)

    def test_the_event_counts_more_than_the_name(self, run: Path) -> None:
        """A host may be called r2."""
        add(run, "events-r2-1234.jsonl", start(attempt=3))
        (writer,) = read_writers(run)
        assert (writer.attempt, writer.rank) == (3, None)

    def test_an_event_that_says_nothing_of_use_leaves_the_name(self, run: Path) -> None:
        add(run, "events-r2-a4.jsonl", line(0, event="run.start", data=[]))
        (writer,) = read_writers(run)
        assert (writer.attempt, writer.rank) == (4, 2)

    def test_they_come_by_attempt_and_rank(self, run: Path) -> None:
        for name in ("-r10", "-a2", "-r2", "", "-r1-a2"):
            add(run, f"metrics{name}.jsonl", line(0))
        names = [writer.name for writer in read_writers(run)]
        assert names == ["", "r2", "r10", "a2", "r1-a2"]

    def test_a_segment_removed_meanwhile_has_nothing(self, run: Path) -> None:
        add(run, "metrics.jsonl", line(0))
        add(run, "metrics.1.jsonl", line(1))
        (writer,) = read_writers(run)
        (run / "metrics.jsonl").unlink()
        (block,) = read_blocks(run, writer.segments["metrics"])
        assert block.seqs == [1]


class TestTimes:
    """Times are exact to the microsecond."""

    @given(st.datetimes(datetime(1970, 1, 1), datetime(2261, 1, 1)))
    def test_any_time_is_read(self, moment: datetime) -> None:
        utc = moment.replace(tzinfo=UTC)
        text = utc.isoformat(timespec="microseconds").replace("+00:00", "Z")
        assert seconds_of(text) == utc.timestamp()
        assert seconds_of(utc.isoformat()) == utc.timestamp()

    @pytest.mark.parametrize(
        "text", ["", "now", "2026-11-23T18:27:00.123456", "2026-11-23T18:27:0x.123456Z"]
    )
    def test_what_is_no_time_is_none(self, text: str) -> None:
        assert seconds_of(text) is None


def test_entries_of_a_real_run(tmp_path: Path) -> None:
    """While it is open; NaN and infinities are floats."""
    with mlog.start_run(dir=tmp_path) as run:
        mlog.getLogger("train").info("begin")
        run.log_metrics({"a": float("inf"), "b": 1}, step=4)
        assert run.path is not None
        (found,) = iter_entries(run.path, step=4)
        (told,) = iter_entries(run.path, logger="train")
    assert found["metric"] == {"a": float("inf"), "b": 1}
    assert told["msg"] == "begin"
