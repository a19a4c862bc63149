"""Several runs as one."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mlog.reader.follow import Found
from mlog.reader.several import RunsFollower, Sources, may_all, may_have, may_have_any


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    return folders


def add(run: Path, *micros: int, name: str = "logs", **fields: Any) -> None:
    with (run / f"{name}.jsonl").open("a") as file:
        for micro in micros:
            ts = f"2026-11-23T18:27:00.{micro:06d}Z"
            file.write(json.dumps({"ts": ts, "seq": micro, **fields}) + "\n")


def where(found: Iterable[Found]) -> list[tuple[str, int]]:
    return [(one.folder.name, one.entry["seq"]) for one in found]


def test_entries_are_in_order_of_time_both_ways(runs: list[Path]) -> None:
    """Of equal times those of the first run come first."""
    add(runs[0], 1, 3, 5)
    add(runs[1], 2, 3, 6)
    expected = [("a", 1), ("b", 2), ("a", 3), ("b", 3), ("a", 5), ("b", 6)]
    assert where(RunsFollower(runs).poll()) == expected
    assert where(RunsFollower(runs).newest()) == expected[::-1]
    assert where(RunsFollower(runs).last(2)) == expected[-2:]


def test_poll_goes_on_behind_the_newest(runs: list[Path]) -> None:
    add(runs[0], 1)
    follower = RunsFollower(runs)
    assert where(follower.last(9)) == [("a", 1)]
    add(runs[1], 2)
    add(runs[0], 3)
    assert where(follower.poll()) == [("b", 2), ("a", 3)]


def test_only_what_is_wanted_is_found(runs: list[Path]) -> None:
    add(runs[0], 1, 2, msg="x")
    wanted = RunsFollower(runs, lambda found: found.entry["seq"] == 2)
    assert not wanted.found_any
    assert where(wanted.last(9)) == [("a", 2)]
    assert wanted.found_any
    unread = RunsFollower(runs, may_fit=lambda content: b"y" in content)
    assert where(unread.last(9)) == []
    assert not unread.found_any


def test_they_have_ended_when_all_have(runs: list[Path]) -> None:
    follower = RunsFollower(runs)
    for run in runs:
        assert not follower.has_ended
        add(run, 1, name="events", event="run.end", data={})
        list(follower.poll())
    assert follower.has_ended


def test_damage_is_counted_over_all(runs: list[Path]) -> None:
    for run in runs:
        (run / "logs.jsonl").write_bytes(b"what?\ntorn")
    follower = RunsFollower(runs)
    list(follower.poll())
    assert (follower.skipped, follower.torn) == (2, 2)


def test_a_source_is_known_once_its_first_event_is_there(runs: list[Path]) -> None:
    """A file of logs may be seen before."""
    add(runs[0], 1, name="logs-host-7")
    (found,) = RunsFollower(runs).poll()
    sources = Sources()
    assert sources.of(found).rank is None
    data = {"rank": 3, "attempt": 2, "host": "node7"}
    add(runs[0], 0, name="events-host-7", event="writer.start", data=data)
    assert sources.of(found)[:4] == ("host-7", 2, 3, "node7")
    (runs[0] / "events-host-7.jsonl").unlink()
    assert sources.at(runs[0], "host-7").rank == 3


@pytest.mark.parametrize(
    ("line", "any_case", "exactly"),
    [
        (b"an error", True, True),
        (b"an ERROR", True, False),
        (b"nothing", False, False),
        (b"\\u0065rror", True, True),
        (b"a \\n", False, False),
        ("\N{KELVIN SIGN}".encode(), True, False),
    ],
)
def test_what_may_have_a_text(line: bytes, any_case: bool, exactly: bool) -> None:
    for case, expected in ((True, any_case), (False, exactly)):
        may_fit = may_have(b"error", case)
        assert may_fit is not None
        assert may_fit(line) == expected


def test_what_may_have_one_of_some_words() -> None:
    may_fit = may_have_any([b"ERROR", b"fatal"])
    found = [may_fit(x) for x in (b"ERROR", b"a fatal", b"error", b"\\u0045", b"\\n")]
    assert found == [True, True, False, True, False]


def test_tests_of_lines_are_put_together() -> None:
    one, other = may_have_any([b"a"]), may_have_any([b"b"])
    both = may_all([one, None, other])
    assert both is not None
    assert [both(line) for line in (b"ab", b"a", b"b")] == [True, False, False]
    assert may_all([None, one]) is one
    assert may_all([None]) is None
    assert may_have(b"", True) is None
