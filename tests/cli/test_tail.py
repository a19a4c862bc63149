"""`mlog tail` shows the last entries of a run, and those that come."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from mlog.cli.tail import _Dead, follow
from mlog.reader.follow import Found
from mlog.reader.several import RunsFollower
from tests.cli.conftest import Child, Mlog
from tests.helpers import FakeClock

RUN = "20261123-182700-aaaaaa"

WRITER = """
import logging, sys, mlog
logging.lastResort = None
log = logging.getLogger("train")
with mlog.start_run("live", segment_bytes=2048) as run:
    print(run.path, flush=True)
    for line in sys.stdin:
        kind, _, text = line.strip().partition(" ")
        if kind == "metric":
            log.info(metric={"loss": float(text)}, step=1)
        elif kind == "tag":
            run.tag("state", text)
        else:
            getattr(log, kind)(text)
"""
JOINER = """
import logging, mlog
logging.lastResort = None
logging.getLogger("worker").warning("from another process")
"""


@pytest.fixture
def run(run_dir: Path) -> Path:
    folder = run_dir / "mnist" / RUN
    folder.mkdir(parents=True)
    (folder / "events.jsonl").touch()
    return folder


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are shown as they are in the files."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def line(seq: int, **fields: Any) -> bytes:
    entry = {"ts": f"2026-11-23T18:27:00.{seq:03d}456Z", "seq": seq} | fields
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def log(seq: int, msg: str, level: str = "INFO", **fields: Any) -> bytes:
    return line(seq, level=level, logger="train", msg=msg, **fields)


def add(run: Path, name: str, *lines: bytes) -> None:
    with (run / name).open("ab") as file:
        file.write(b"".join(lines))


def tail(mlog: Mlog, *args: str) -> list[str]:
    """Return what is shown, without the day, which depends on when a test runs."""
    result = mlog("tail", *args)
    assert (result.exit_code, result.stderr) == (0, "")
    return [shown.removeprefix("2026-11-23 ") for shown in result.stdout.splitlines()]


class TestShown:
    """Log lines, metrics and the events people care for, as one, by time."""

    def test_streams_are_one(self, mlog: Mlog, run: Path) -> None:
        start = {"experiment": "mnist", "argv": ["train.py", "--lr", "0.1"]}
        end = {"status": "Completed", "metrics": {"loss": {"last": 0.3}}}
        add(run, "events.jsonl", line(0, event="writer.start", data={"pid": 1}))
        add(run, "events.jsonl", line(1, event="run.start", data=start))
        add(run, "events.jsonl", line(2, event="run.params", data={"lr": 0.1, "n": 3}))
        add(run, "logs.jsonl", log(3, "fitting", extra={"fold": 2}))
        metric = {"loss": 0.333333333, "acc": 1}
        add(run, "metrics.jsonl", line(4, level="INFO", logger="train", metric=metric))
        add(run, "metrics.jsonl", log(5, "best", "WARNING", metric=metric, step=7))
        add(run, "events.jsonl", line(6, event="run.tags", data={"state": "ok"}))
        add(run, "events.jsonl", line(7, event="run.heartbeat", data={}))
        add(run, "events.jsonl", line(8, event="run.unknown", data={}))
        add(run, "events.jsonl", line(9, event="run.end", data=end))
        add(run, "events.jsonl", line(10, event="writer.end", data={}))
        assert tail(mlog) == [
            "18:27:00.001 EVENT   run.start: mnist  train.py --lr 0.1",
            "18:27:00.002 EVENT   run.params: lr=0.1 n=3",
            "18:27:00.003 INFO    train: fitting  fold=2",
            "18:27:00.004 INFO    train: loss=0.333333 acc=1",
            "18:27:00.005 WARNING train: best  loss=0.333333 acc=1 step=7",
            "18:27:00.006 EVENT   run.tags: state=ok",
            "18:27:00.009 EVENT   run.end: Completed",
        ]

    def test_values_that_are_no_numbers(self, mlog: Mlog, run: Path) -> None:
        value = {"note": "good", "h": {"type": "mlog.histogram", "edges": [1, 2]}}
        entry = {"level": "INFO", "logger": "t", "value": value}
        add(run, "metrics.jsonl", line(0, metric={"a": "NaN"}, **entry))
        (shown,) = tail(mlog)
        assert shown.endswith(" t: a=NaN note=good h=<mlog.histogram>")

    def test_other_processes_are_named(self, mlog: Mlog, run: Path) -> None:
        add(run, "logs.jsonl", log(0, "one"), log(2, "three"))
        add(run, "logs-r1.jsonl", log(1, "two"))
        assert [shown[13:] for shown in tail(mlog)] == [
            "INFO    train: one",
            "INFO    [r1] train: two",
            "INFO    train: three",
        ]

    def test_lines_and_tracebacks_are_indented(self, mlog: Mlog, run: Path) -> None:
        trace = "Traceback:\n  File x\nValueError: no\n"
        exc = {"type": "ValueError", "msg": "no", "traceback": trace}
        add(run, "logs.jsonl", log(0, "a\nb", "ERROR", exc=exc, stack="Stack:\n  s"))
        assert tail(mlog) == [
            "18:27:00.000 ERROR   train: a",
            "    b",
            "    Traceback:",
            "      File x",
            "    ValueError: no",
            "    Stack:",
            "      s",
        ]

    def test_a_failed_run_shows_why(self, mlog: Mlog, run: Path) -> None:
        error = {"type": "ValueError", "msg": "no\nmore", "traceback": "Trace\n"}
        data = {"status": "Failed", "error": error}
        add(run, "events.jsonl", line(0, event="run.end", data=data))
        assert tail(mlog) == [
            r"18:27:00.000 EVENT   run.end: Failed  ValueError: no\nmore",
            "    Trace",
        ]

    def test_an_entry_of_another_day_shows_its_date(
        self, mlog: Mlog, run: Path
    ) -> None:
        old = b'{"ts":"1999-12-31T23:59:59.999999Z","seq":0,"level":"INFO","msg":"m"}\n'
        add(run, "logs.jsonl", old)
        shown = mlog("tail").stdout
        assert shown == "1999-12-31 23:59:59.999 INFO    : m\n"

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"level": 3, "logger": [], "msg": {"a": 1}},
            {"event": 5},
            {"event": "run.tags"},
            {"event": "run.tags", "data": [1]},
            {"event": "run.end", "data": {"status": 1, "error": "text"}},
            {"event": "run.start", "data": {"argv": "text", "experiment": 2}},
            {"metric": [1], "value": 2, "extra": 3, "step": "x"},
            {"exc": "text", "stack": {}},
            {"exc": {"traceback": 1}},
            {"ts": "yesterday"},
            {"ts": "2026-11-23T18:27:00"},
        ],
    )
    def test_fields_of_a_wrong_kind_do_no_harm(
        self, mlog: Mlog, run: Path, fields: dict[str, Any]
    ) -> None:
        """A file may come from anywhere; the entry after it is shown in any case."""
        add(run, "logs.jsonl", line(0, **fields), log(1, "after"))
        assert tail(mlog)[-1] == "18:27:00.001 INFO    train: after"

    @pytest.mark.parametrize(
        "evil",
        ["\x1b[2J", "\x1b]52;c;aGk=\x07", "\r", "\x08", "\x9b31m", "\u202e", "\x7f"],
    )
    def test_a_log_line_cannot_repaint_the_terminal(
        self, mlog: Mlog, run: Path, evil: str
    ) -> None:
        """Whatever part of an entry it is in."""
        parts = {"metric": {evil: 1}, "value": {evil: evil}, "extra": {evil: [evil]}}
        error = {"type": evil, "msg": evil, "traceback": evil}
        texts = {"level": evil, "logger": evil, "msg": evil, "stack": evil}
        add(run, "logs.jsonl", line(0, exc=error, step=evil, **texts, **parts))
        end = {"status": evil, "error": error}
        begin = {"experiment": evil, "argv": [evil]}
        add(run, "events.jsonl", line(1, event="run.end", data=end))
        add(run, "events.jsonl", line(2, event="run.start", data=begin))
        add(run, "events.jsonl", line(3, event="run.tags", data={evil: {evil: evil}}))
        add(run, "logs.jsonl", line(4, ts=evil))
        shown = mlog("tail").stdout
        assert shown.count("\n") == 8
        assert shown.replace("\n", "").isprintable()

    def test_letters_of_all_kinds_are_shown(self, mlog: Mlog, run: Path) -> None:
        text = "größer → 損失\u3000\xa0\t👍🏽 👩\u200d🔬"
        add(run, "logs.jsonl", log(0, text))
        (shown,) = tail(mlog)
        assert shown.endswith(f": {text}")


class TestChoice:
    """Which entries are shown."""

    def test_the_last_50(self, mlog: Mlog, run: Path) -> None:
        add(run, "logs.jsonl", *(log(n, f"m{n}") for n in range(60)))
        shown = tail(mlog)
        assert (len(shown), shown[0][-3:], shown[-1][-3:]) == (50, "m10", "m59")

    @pytest.mark.parametrize("count", [0, 1, 3, 100])
    def test_n_says_how_many(self, mlog: Mlog, run: Path, count: int) -> None:
        add(run, "logs.jsonl", *(log(n, f"m{n}") for n in range(4)))
        assert len(tail(mlog, "-n", str(count))) == min(count, 4)

    def test_entries_that_are_not_shown_do_not_count(
        self, mlog: Mlog, run: Path
    ) -> None:
        add(run, "logs.jsonl", log(0, "one"))
        add(run, "events.jsonl", *(line(n, event="run.heartbeat") for n in range(1, 9)))
        assert len(tail(mlog, "-n", "1")) == 1

    @pytest.mark.parametrize(
        ("level", "expected"),
        [
            ("DEBUG", "debug fine info odd warning error"),
            ("15", "fine info odd warning error"),
            ("info", "info odd warning error"),
            ("WARN", "warning error"),
            ("ERROR", "error"),
            ("CRITICAL", ""),
        ],
    )
    def test_level_says_from_where_on(
        self, mlog: Mlog, run: Path, level: str, expected: str
    ) -> None:
        """A level that only the program knows by name counts as INFO."""
        names = ["DEBUG", "Level 15", "INFO", "NOTICE", "WARNING", "ERROR"]
        texts = ["debug", "fine", "info", "odd", "warning", "error"]
        for seq, (name, text) in enumerate(zip(names, texts, strict=True)):
            add(run, "logs.jsonl", log(seq, text, name))
        shown = tail(mlog, "--level", level)
        assert " ".join(text.split()[-1] for text in shown) == expected

    def test_events_have_a_level_by_what_they_say(self, mlog: Mlog, run: Path) -> None:
        failed = {"status": "Failed"}
        add(run, "events.jsonl", line(0, event="run.tags", data={}))
        add(run, "events.jsonl", line(1, event="run.dropped", data={"count": 3}))
        add(run, "events.jsonl", line(2, event="run.end", data={"status": "Canceled"}))
        add(run, "events.jsonl", line(3, event="run.end", data=failed))
        add(run, "events.jsonl", line(4, event="run.end", data={"status": "Completed"}))
        shown = [text.split()[2] for text in tail(mlog, "--level", "WARNING")]
        assert shown == ["run.dropped:", "run.end:", "run.end:"]
        assert len(tail(mlog, "--level", "ERROR")) == 1

    def test_any_run_can_be_named(self, mlog: Mlog, run: Path, run_dir: Path) -> None:
        add(run, "logs.jsonl", log(0, "old"))
        newer = run_dir / "mnist" / "20261124-182700-bbbbbb"
        newer.mkdir()
        add(newer, "logs.jsonl", log(0, "new"))
        for ref, expected in ((), "new"), (("-2",), "old"), (("aaaaaa",), "old"):
            (shown,) = tail(mlog, *ref)
            assert shown.endswith(expected)
        assert len(tail(mlog, "-2", "-n", "1", "--dir", str(run_dir))) == 1

    def test_json_gives_the_lines_as_they_are(self, mlog: Mlog, run: Path) -> None:
        raw = b'{"ts":"2026-11-23T18:27:00.000000Z",  "seq":0, "msg":"\\u001b\xc3\xa4"}'
        add(run, "logs.jsonl", raw + b"\n", log(1, "b"))
        assert mlog("tail", "--json", "-n", "2").stdout_bytes == raw + b"\n" + log(
            1, "b"
        )


class TestFilters:
    """All that is given has to fit; without anything that does, the code is 1."""

    @pytest.fixture(autouse=True)
    def lines(self, run: Path) -> None:
        add(
            run,
            "logs.jsonl",
            line(0, level="INFO", logger="train.data", msg="loading Data"),
        )
        add(run, "logs.jsonl", log(1, "retry 1", "WARNING"), log(2, "retry 2", "ERROR"))
        metric = {"loss": 3.5}
        add(
            run,
            "metrics.jsonl",
            line(3, level="INFO", logger="train", metric=metric, step=7),
        )
        add(run, "events.jsonl", line(4, event="run.heartbeat", data={}))
        add(run, "events-r1.jsonl", line(0, event="writer.start", data={"rank": 1}))
        add(run, "logs-r1.jsonl", log(5, "of rank 1"))

    @pytest.mark.parametrize(
        ("args", "expected"),
        [
            (["--grep", "retry"], [1, 2]),
            (["--grep", "data"], [0]),
            (["--grep", "DATA"], []),
            (["--grep", "retry 2"], [2]),
            (["--logger", "train.*"], [0]),
            (["--logger", "train*"], [0, 1, 2, 3, 5]),
            (["--rank", "1"], [5]),
            (["--rank", "0"], [0, 1, 2, 3]),
            (["--filter", "level>=warning -/retry 2$/"], [1]),
            (["--filter", "loss>3 step:5..9"], [3]),
            (["--filter", "rank=1 or data"], [0, 5]),
            (["--filter", "event:*"], [0, 4]),
            (["--filter", "level>=info", "--grep", "of rank"], [5]),
            (["--level", "WARNING", "--filter", "-error retry"], [1, 2]),
            (["--level", "ERROR", "--grep", "retry"], [2]),
            (["--filter", "nothing"], []),
        ],
    )
    def test_choose(self, mlog: Mlog, args: list[str], expected: list[int]) -> None:
        result = mlog("tail", "--json", *args)
        assert [
            json.loads(text)["seq"] for text in result.stdout.splitlines()
        ] == expected
        searches = {"--grep", "--filter"} & {*args}
        assert result.exit_code == (1 if searches and not expected else 0)

    def test_a_wrong_filter_is_shown_with_its_mistake(self, mlog: Mlog) -> None:
        result = mlog("tail", "--filter", "level>=loud or x")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.endswith("  level>=loud or x\n         ^\n")

    def test_only_the_last_that_fit_are_shown(self, mlog: Mlog) -> None:
        assert tail(mlog, "-n", "1", "--grep", "retry")[0].endswith("retry 2")


class TestRepeats:
    """What says the same is one line, and counts as one."""

    def test_repeats_and_ranks(self, mlog: Mlog, run: Path) -> None:
        for rank in range(8):
            name = f"-r{rank}" if rank else ""
            data = {"rank": rank, "host": "node1"}
            start = line(0, event="writer.start", data=data)
            add(run, f"events{name}.jsonl", start)
            add(
                run,
                f"logs{name}.jsonl",
                log(2, "ready"),
                *(log(n, f"{rank}") for n in (4, 5)),
            )
        assert [text[13:] for text in tail(mlog)] == [
            "INFO    train: ready  ×8 ranks",
            "INFO    train: 0  ×2",
            *(f"INFO    [r{n}] train: {n}  ×2" for n in range(1, 8)),
        ]

    def test_the_last_n_are_lines_that_are_shown(self, mlog: Mlog, run: Path) -> None:
        add(
            run,
            "logs.jsonl",
            log(0, "a"),
            log(1, "b"),
            *(log(n, "c") for n in range(2, 500)),
        )
        assert [text.split("train: ")[1] for text in tail(mlog, "-n", "2")] == [
            "b",
            "c  ×498",
        ]
        assert len(tail(mlog, "-n", "2", "--each")) == 2

    def test_the_last_of_a_long_time_is_told(self, mlog: Mlog, run: Path) -> None:
        later = log(1, "a", ts="2026-11-23T18:29:31.000000Z")
        add(run, "logs.jsonl", log(0, "a"), later)
        (shown,) = tail(mlog)
        assert (
            shown == "18:27:00.000 INFO    train: a  ×2 until 2026-11-23 18:29:31.000"
        )

    def test_what_ranks_say_at_different_times_is_not_lost(
        self, mlog: Mlog, run: Path
    ) -> None:
        add(run, "logs.jsonl", log(1, "a"))
        add(run, "logs-r1.jsonl", log(2, "a", ts="2026-11-23T18:27:09.000000Z"))
        assert [text[13:] for text in tail(mlog)] == [
            "INFO    train: a",
            "INFO    [r1] train: a",
        ]

    def test_that_of_ranks_is_not_as_they_are_near(self, mlog: Mlog, run: Path) -> None:
        add(run, "events-r1.jsonl", line(0, event="writer.start", data={"rank": 1}))
        add(run, "logs.jsonl", log(1, "a"))
        add(run, "logs-r1.jsonl", log(2, "a", ts="2026-11-23T18:27:01.900000Z"))
        (shown,) = tail(mlog)
        assert shown == "18:27:00.001 INFO    train: a  ×2 ranks"

    def test_a_note_stands_in_the_first_line(self, mlog: Mlog, run: Path) -> None:
        add(run, "logs.jsonl", log(0, "a\nb"), log(1, "a\nb"))
        assert tail(mlog) == ["18:27:00.000 INFO    train: a  ×2", "    b"]


class TestRuns:
    """Several runs are one by time; each line names its run."""

    @pytest.fixture(autouse=True)
    def runs(self, run: Path, run_dir: Path) -> Path:
        other = run_dir / "mnist" / "20261124-182700-bbbbbb"
        other.mkdir()
        add(run, "logs.jsonl", log(0, "one"), log(2, "three"), log(3, "same"))
        add(other, "logs.jsonl", log(1, "two"), log(3, "same"))
        return other

    def test_by_six_digits(self, mlog: Mlog) -> None:
        assert [text[13:] for text in tail(mlog, "aaaaaa", "latest", "-2")] == [
            "aaaaaa INFO    train: one",
            "bbbbbb INFO    train: two",
            "aaaaaa INFO    train: three",
            "aaaaaa INFO    train: same",
            "bbbbbb INFO    train: same",
        ]
        assert len(tail(mlog, "aaaaaa", "latest", "-n", "2")) == 2

    def test_by_their_ids_where_these_are_names(
        self, mlog: Mlog, run_dir: Path
    ) -> None:
        for name in ("first", "a-long-name-of-more-than-twenty"):
            (run_dir / "mnist" / name).mkdir()
            add(run_dir / "mnist" / name, "logs.jsonl", log(0, name[0]))
        shown = tail(mlog, "first", "a-long-name-of-more-than-twenty")
        assert [text[13:33].strip() for text in shown] == [
            "first",
            "a-long-name-of-more…",
        ]

    def test_by_experiment_where_ids_are_equal(self, mlog: Mlog, run_dir: Path) -> None:
        for experiment in ("a", "b"):
            (run_dir / experiment / "same").mkdir(parents=True)
            add(run_dir / experiment / "same", "logs.jsonl", log(0, "m"))
        shown = tail(mlog, "a/same", "b/same")
        assert [text[13:19] for text in shown] == ["a/same", "b/same"]

    def test_one_that_is_not_there_is_one_line(self, mlog: Mlog) -> None:
        result = mlog("tail", "latest", "none")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("mlog: no run 'none' in ")

    def test_damage_is_told_of_each(self, mlog: Mlog, run: Path, runs: Path) -> None:
        add(run, "logs.jsonl", b"what?\n")
        add(runs, "logs.jsonl", b"what?\n")
        told = mlog("tail", "latest", "-2").stderr
        assert told.count("skipped 1 damaged line in") == 2


class TestAround:
    """All lines around a step or a time."""

    @pytest.fixture(autouse=True)
    def lines(self, run: Path) -> None:
        start = {"rank": 0, "host": "node1"}
        add(run, "events.jsonl", line(0, event="writer.start", data=start))
        for n in range(5):
            add(run, "logs.jsonl", log(100 * n + 10, f"in {n}", "DEBUG"))
            metric = {
                "level": "INFO",
                "logger": "train",
                "metric": {"loss": n},
                "step": n,
            }
            add(run, "metrics.jsonl", line(100 * n + 50, **metric))
        far = {"host": "node2"}
        add(run, "events-node2-7.jsonl", line(200, event="writer.start", data=far))
        add(run, "logs-node2-7.jsonl", log(230, "load"), log(231, "load"))

    def shown(self, mlog: Mlog, *args: str) -> list[str]:
        result = mlog("tail", *args)
        assert result.exit_code == 0
        return [
            text.removeprefix("2026-11-23 ")[13:] for text in result.stdout.splitlines()
        ]

    def test_a_time_at_which_nothing_was_logged(self, mlog: Mlog) -> None:
        """The message says when something was."""
        result = mlog("tail", "--around", "2020-01-01T12:00:00", "--window", "60")
        assert (result.exit_code, result.stdout) == (1, "")
        said = "mlog: nothing within 60 s of 2020-01-01 12:00:00 in "
        assert result.stderr.startswith(said)
        assert ": it went from 2026-11-23 " in result.stderr
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize("place", ["step:2", "step=2", "2"])
    def test_a_step(self, mlog: Mlog, place: str) -> None:
        """What is placed by the clock has a ≈, and why is told."""
        args = ("tail", "--around", place, "--window", "0")
        assert self.shown(mlog, *args[1:]) == [
            "DEBUG   train: in 2",
            "INFO    ≈[node2-7] train: load  ×2",
            "INFO    train: loss=2 step=2  ◀",
        ]
        assert mlog(*args).stderr.splitlines() == [
            "mlog: ≈: 1 process placed by the clock",
            "mlog: the clock of node2 is not compared: no steps in common",
        ]

    @pytest.mark.parametrize(
        "place",
        [
            "18:27:00.23",
            "ts:18:27:00.23",
            "2026-11-23 18:27:00.23",
            "time=2026-11-23T18:27:00.23Z",
        ],
    )
    def test_a_time(self, mlog: Mlog, place: str) -> None:
        """One without a zone is local, one without a day that of the run."""
        shown = self.shown(mlog, "--around", place, "--window", "0.03", "--each")
        assert shown == [
            "DEBUG   train: in 2",
            "INFO    ≈[node2-7] train: load",
            "INFO    ≈[node2-7] train: load",
            "INFO    train: loss=2 step=2",
        ]

    def test_filters_hold(self, mlog: Mlog) -> None:
        shown = self.shown(mlog, "--around", "2", "--level", "INFO", "--rank", "0")
        assert len(shown) == 6
        assert mlog("tail", "--around", "2", "--grep", "nothing").exit_code == 1
        misspelt = mlog("tail", "--filter", "levl>=warning")
        assert misspelt.exit_code == 1
        assert "did you mean level?" in misspelt.stderr
        shown = self.shown(mlog, "--around", "2", "--filter", "msg:in* -step:9..")
        assert len(shown) == 5

    def test_json_gives_the_lines_as_they_are(self, mlog: Mlog) -> None:
        result = mlog(
            "tail", "--around", "2", "--window", "0", "--json", "--grep", "load"
        )
        assert result.stdout_bytes == log(230, "load") + log(231, "load")

    def test_a_step_that_is_not_there_is_one_line(self, mlog: Mlog, run: Path) -> None:
        result = mlog("tail", "--around", "step:77")
        assert (result.exit_code, result.stdout) == (1, "")
        told = f"mlog: no steps from 72 to 82 in {run}: its steps go from 0 to 4\n"
        assert result.stderr == told

    @pytest.mark.parametrize(
        "args",
        [
            ["--around", "step:x"],
            ["--around", "noon"],
            ["--around", "step:1", "--window", "1.5"],
            ["--around", "step:1", "--window", "-1"],
            ["--around", "step:1", "-f"],
            ["--around", "step:1", "-n", "5"],
            ["--around", "step:1", "latest", "nothere"],
            ["--window", "5"],
        ],
    )
    def test_a_wrong_call_is_refused(self, mlog: Mlog, args: list[str]) -> None:
        result = mlog("tail", *args)
        assert result.exit_code == (1 if "nothere" in args else 2)
        assert result.stdout == ""
        assert isinstance(result.exception, SystemExit)


class TestDamage:
    """What is no entry is passed over, and counted on stderr at the end."""

    def test_counts_are_told(self, mlog: Mlog, run: Path) -> None:
        add(run, "logs.jsonl", b"what?\n\x00\n", log(0, "a"), log(1, "b")[:-1])
        add(run, "metrics.jsonl", log(2, "c")[:20])
        result = mlog("tail")
        assert result.exit_code == 0
        assert result.stdout.count("\n") == 1
        expected = "mlog: skipped 2 damaged lines and 2 unfinished lines in"
        assert result.stderr == f"{expected} {run}\n"

    def test_one_is_one(self, mlog: Mlog, run: Path) -> None:
        add(run, "logs.jsonl", b"what?\n")
        assert mlog("tail").stderr == f"mlog: skipped 1 damaged line in {run}\n"


class TestTrouble:
    @pytest.mark.parametrize(
        "args",
        [
            ["-n", "many"],
            ["-n", "-1"],
            ["-n", "-x"],
            ["--level", "LOUD"],
            ["--level", ""],
            ["--level", "-5"],
            ["--rank", "-1"],
            ["--filter", "level>="],
            ["--filter", "/(a+)+/"],
            ["--nonsense"],
        ],
    )
    def test_a_wrong_call_is_code_2(
        self, mlog: Mlog, run: Path, args: list[str]
    ) -> None:
        result = mlog("tail", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr
        assert isinstance(result.exception, SystemExit)

    def test_no_such_run_is_one_line(self, mlog: Mlog, run: Path) -> None:
        result = mlog("tail", "-f", "aaaaab")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("mlog: no run 'aaaaab' in ")
        assert result.stderr.count("\n") == 1

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
    def test_a_full_disk_is_one_line(self, start: Child, run: Path) -> None:
        add(run, "logs.jsonl", *(log(n, "m" * 500) for n in range(50)))
        with open("/dev/full", "wb") as full:
            child = start("-m", "mlog", "tail", stdout=full)
            _, problems = child.communicate()
        assert child.returncode == 1
        assert problems.startswith(b"mlog: ")
        assert os.strerror(errno.ENOSPC).encode() in problems
        assert problems.count(b"\n") == 1

    @pytest.mark.parametrize("args", [[], ["--json"], ["-f"]])
    def test_nobody_reading_any_more_is_quiet(
        self, start: Child, run: Path, args: list[str]
    ) -> None:
        """As in `mlog tail | head -n 1`; with -f also when nothing more comes."""
        add(run, "logs.jsonl", *(log(n, f"{n}" + "m" * 5_000) for n in range(50)))
        child = start("-m", "mlog", "tail", *args)
        assert child.stdout is not None
        assert child.stderr is not None
        with ended_in_time(child):
            child.stdout.readline()
            child.stdout.close()
            assert child.stderr.read() == b""
            assert child.wait() == 141


class TestColour:
    """Colours are for terminals."""

    @pytest.fixture
    def on_terminal(self, start: Child, run: Path) -> Callable[..., bytes]:
        """Show an error on a terminal; return what the terminal gets."""
        pty = pytest.importorskip("pty")

        def show(*args: str, **env: str) -> bytes:
            add(run, "logs.jsonl", log(0, "m", "ERROR"))
            terminal, end = pty.openpty()
            child = start("-m", "mlog", "tail", *args, stdout=end, env=env)
            os.close(end)
            shown = b""
            with contextlib.suppress(OSError):  # EIO: the last one has closed it
                while part := os.read(terminal, 4096):
                    shown += part
            os.close(terminal)
            assert child.wait() == 0
            return shown.replace(b"\r\n", b"\n")

        return show

    def test_a_terminal_gets_them(self, on_terminal: Callable[..., bytes]) -> None:
        shown = on_terminal()
        assert re.fullmatch(
            rb"\x1b\[2m.*18:27:00\.000\x1b\[0m \x1b\[91mERROR  \x1b\[0m train: m\n",
            shown,
        )

    @pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_who_wants_none_gets_none(
        self, on_terminal: Callable[..., bytes], env: dict[str, str]
    ) -> None:
        """Source: https://no-color.org."""
        assert b"\x1b" not in on_terminal(**env)

    def test_an_empty_no_color_says_nothing(
        self, on_terminal: Callable[..., bytes]
    ) -> None:
        assert b"\x1b" in on_terminal(NO_COLOR="")

    def test_json_has_none(self, on_terminal: Callable[..., bytes]) -> None:
        assert on_terminal("--json") == log(0, "m", "ERROR")

    def test_a_pipe_gets_none(self, start: Child, run: Path) -> None:
        """In whatever encoding; what that cannot say is escaped."""
        add(run, "logs.jsonl", log(0, "größer", "ERROR"))
        child = start("-m", "mlog", "tail", env={"PYTHONIOENCODING": "ascii"})
        shown, problems = child.communicate()
        assert shown.endswith(b"ERROR   train: gr\\xf6\\xdfer\n")
        assert problems == b""


class TestFollow:
    """With -f it goes on until the run has ended."""

    def test_a_live_run_is_followed_to_its_end(self, start: Child) -> None:
        """Lines of all streams, through rotations, and of a process that joins."""
        writer = start("-c", WRITER, stdin=subprocess.PIPE, stderr=None)
        with ended_in_time(writer) as (say, hear):
            path = Path(hear().strip())
            say("info first")
            tail = start(
                "-m", "mlog", "tail", "-f", path.name, stdin=subprocess.DEVNULL
            )
            with ended_in_time(tail) as (_, see):
                until(see, r"INFO    train: first$")
                say("metric 0.25")
                until(see, r"INFO    train: loss=0.25 step=1$")
                say("tag halfway")
                until(see, r"EVENT   run.tags: state=halfway$")
                for number in range(30):
                    say(f"warning {number} {'x' * 200}")
                    until(see, rf"WARNING train: {number} x+$")
                assert len(list(path.glob("logs*.jsonl"))) > 2
                start("-c", JOINER, env={"MLOG_RUN": str(path)}, stderr=None)
                until(see, r"WARNING \[.+\] worker: from another process$")
                cast(Any, writer.stdin).close()
                until(see, r"EVENT   run.end: Completed$")
                assert see() == ""
                assert tail.wait() == 0
                assert cast(Any, tail.stderr).read() == b""

    def test_the_first_run_is_waited_for(self, start: Child, run_dir: Path) -> None:
        """And one line says so."""
        tail = start("-m", "mlog", "tail", "-f")
        with ended_in_time(tail) as (_, see):
            told = cast(Any, tail.stderr).readline().decode()
            assert told == (
                f"mlog: no runs yet in {run_dir}: waiting for the first (Ctrl-C ends it)\n"
            )
            writer = start("-c", WRITER, stdin=subprocess.PIPE, stderr=None)
            with ended_in_time(writer) as (say, hear):
                hear()
                say("info first")
                until(see, r"INFO    train: first$")
                cast(Any, writer.stdin).close()
                until(see, r"EVENT   run.end: Completed$")
                assert tail.wait() == 0

    def test_a_restart_while_it_looks_is_followed(
        self, run: Path, fake_clock: FakeClock
    ) -> None:
        """The end of one attempt is none when the next has begun."""
        add(run, "events.jsonl", line(1, event="run.end", data={}))
        again = line(2, event="run.start", data={})
        late = {3: again, 60: line(3, event="run.end", data={})}
        looks = 0

        def sleep(seconds: float) -> None:
            nonlocal looks
            looks += 1
            fake_clock.advance(seconds)
            if looks in late:
                add(run, "events-a2.jsonl", late[looks])

        found: list[Found] = []
        follow(RunsFollower([run]), shown(found), clock=fake_clock, sleep=sleep)
        assert [one.entry["seq"] for one in found] == [1, 2, 3]

    def test_after_ten_quiet_seconds_it_asks_why(
        self, run: Path, fake_clock: FakeClock
    ) -> None:
        """Again after ten more, and anew when something came in between."""
        asked: list[float] = []
        begin, looks = fake_clock(), 0

        def sleep(seconds: float) -> None:
            nonlocal looks
            looks += 1
            fake_clock.advance(1.0)
            if looks == 25:
                add(run, "logs.jsonl", log(1, "late"))
            if looks == 40:
                add(run, "events.jsonl", line(2, event="run.end", data={}))

        def quiet() -> None:
            asked.append(fake_clock() - begin)

        follow(
            RunsFollower([run]), shown([]), quiet=quiet, clock=fake_clock, sleep=sleep
        )
        assert asked == [10.0, 20.0, 35.0]

    def test_a_run_that_was_killed_is_told_of_once(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It may be gone on with, so that it is still waited for."""
        add(run, "events.jsonl", line(0, event="writer.start", data={"attempt": 1}))
        dead = _Dead(RunsFollower([run]))
        dead()
        dead()
        assert capsys.readouterr().err == (
            f"mlog: {run.name} does not respond and may have been killed; waiting for "
            "it to be gone on with (Ctrl-C ends)\n"
        )

    def test_level_holds_for_what_comes(self, start: Child) -> None:
        writer = start("-c", WRITER, stdin=subprocess.PIPE, stderr=None)
        with ended_in_time(writer) as (say, hear):
            hear()
            tail = start("-m", "mlog", "tail", "-f", "--level", "ERROR", "--json")
            with ended_in_time(tail) as (_, see):
                say("info one")
                say("error two")
                assert json.loads(see())["msg"] == "two"
                say("warning three")
                say("critical four")
                assert json.loads(see())["msg"] == "four"

    def test_a_run_that_has_ended_ends_it(self, mlog: Mlog, run: Path) -> None:
        add(run, "events.jsonl", line(0, event="run.start", data={}))
        add(run, "events.jsonl", line(1, event="run.end", data={"status": "Failed"}))
        add(run, "logs.jsonl", log(2, "last words"))
        shown = tail(mlog, "-f", "-n", "1")
        assert shown == ["18:27:00.002 INFO    train: last words"]

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
    def test_ctrl_c_ends_it_with_130(self, start: Child, run: Path) -> None:
        add(run, "logs.jsonl", log(0, "m"), b"what?\n")
        child = start("-m", "mlog", "tail", "-f")
        with ended_in_time(child) as (_, see):
            until(see, "train: m$")
            child.send_signal(signal.SIGINT)
            assert child.wait() == 130
            told = cast(Any, child.stderr).read().decode()
            assert told == f"mlog: skipped 1 damaged line in {run}\n"

    def test_a_removed_run_is_one_line(self, start: Child, run: Path) -> None:
        add(run, "logs.jsonl", log(0, "m"))
        child = start("-m", "mlog", "tail", "-f")
        with ended_in_time(child) as (_, see):
            until(see, "train: m$")
            run.rename(run.parent / "elsewhere")
            assert child.wait() == 1
            told = cast(Any, child.stderr).read().decode()
            assert told == f"mlog: {run} was removed\n"

    @pytest.mark.parametrize(
        ("took", "pause"), [(0.0, 0.03), (0.002, 0.1), (0.004, 0.2), (1.0, 0.25)]
    )
    def test_it_looks_as_often_as_two_percent_of_a_core_allow(
        self, run: Path, fake_clock: FakeClock, took: float, pause: float
    ) -> None:
        """Every 30 ms, and down to 250 ms where a look takes long, as on a network."""
        pauses: list[float] = []

        class Slow(RunsFollower):
            def poll(self) -> Iterator[Found]:
                fake_clock.advance(took)
                return super().poll()

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            fake_clock.advance(seconds)
            if len(pauses) == 9:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            follow(Slow([run]), shown([]), clock=fake_clock, sleep=sleep)
        assert pauses == pytest.approx([pause] * 9)

    def test_after_the_end_it_waits_half_a_second_for_others(
        self, run: Path, fake_clock: FakeClock
    ) -> None:
        """Other processes may still write; each entry begins the wait anew."""
        late = {2: log(5, "late"), 4: log(6, "later")}
        looks = 0

        def sleep(seconds: float) -> None:
            nonlocal looks
            looks += 1
            fake_clock.advance(seconds)
            if looks in late:
                add(run, "logs-r1.jsonl", late[looks])

        add(run, "events.jsonl", line(1, event="run.end", data={}))
        found: list[Found] = []
        begin = fake_clock()
        follow(RunsFollower([run]), shown(found), clock=fake_clock, sleep=sleep)
        assert [one.entry["seq"] for one in found] == [1, 5, 6]
        assert 0.5 <= fake_clock() - begin < 1.0


def shown(found: list[Found]) -> Callable[[Iterable[Found]], None]:
    return found.extend


@contextlib.contextmanager
def ended_in_time(
    child: "subprocess.Popen[bytes]",
) -> Iterator[tuple[Callable[[str], None], Callable[[], str]]]:
    """Give ways to write and read a child's lines; it is killed after 30 seconds."""

    def say(text: str) -> None:
        stdin = cast(Any, child.stdin)
        stdin.write(f"{text}\n".encode())
        stdin.flush()

    def hear() -> str:
        line: bytes = cast(Any, child.stdout).readline()
        return line.decode()

    watch = threading.Timer(30, child.kill)
    watch.start()
    try:
        yield say, hear
    finally:
        watch.cancel()


def until(see: Callable[[], str], pattern: str) -> None:
    """Read lines until one fits."""
    lines: list[str] = []
    while line := see():
        lines.append(line)
        if re.search(pattern, line):
            return
    pytest.fail(f"no line fits {pattern!r}: {lines}")
