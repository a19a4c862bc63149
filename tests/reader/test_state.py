"""What the files of a run say of it, whatever state they are in."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import RunNotFoundError
from mlog.reader.state import Artifact, RunState, WriterState, read_state
from tests.helpers import REPO

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
LONG_AFTER = NOON + 1e6
ELSEWHERE = {"host": "node7", "boot": "another-boot", "pid": 12}


def at(second: float) -> str:
    """Return the time so many seconds after noon."""
    moment = datetime.fromtimestamp(NOON + second, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Events:
    """Writes the events of one writer, a second apart unless told otherwise."""

    def __init__(self, run: Path, writer: str = "", **facts: Any) -> None:
        self.path = run / f"events{writer and '-'}{writer}.jsonl"
        self.seq = 0
        self.second = 0.0
        self.facts = {"attempt": 1, "world_size": 1, **ELSEWHERE, **facts}

    def add(self, name: str, second: float | None = None, /, **data: Any) -> "Events":
        """Append an event."""
        second = self.second if second is None else second
        entry = {"ts": at(second), "seq": self.seq, "event": name, "data": data}
        self.seq, self.second = self.seq + 1, second + 1
        return self.raw(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def begin(self, second: float | None = None, /, **data: Any) -> "Events":
        """Append what a main writer begins with."""
        return self.hello(second).add("run.start", **data)

    def hello(self, second: float | None = None) -> "Events":
        """Append what every writer begins with."""
        return self.add("writer.start", second, **self.facts)

    def bye(self, status: str = "Completed", second: float | None = None) -> "Events":
        """Append what a writer ends with."""
        return self.add("writer.end", second, last=self.seq, status=status)

    def end(self, status: str = "Completed", **data: Any) -> "Events":
        """Append what a main writer ends with."""
        return self.add("run.end", status=status, **data).bye(status)

    def raw(self, line: bytes) -> "Events":
        """Append bytes."""
        with self.path.open("ab") as file:
            file.write(line)
        return self


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp" / "20261123-120000-3f9a1c"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def main(run: Path) -> Events:
    """The main writer, which has begun the run."""
    return Events(run).begin(experiment="digits, wide")


def document(run: Path, **content: Any) -> None:
    (run / "run.json").write_text(json.dumps(content))


def read(run: Path) -> RunState:
    """Read a run when no writer elsewhere can be alive any more."""
    return read_state(run, now=LONG_AFTER)


class TestFacts:
    """What the events of a run add up to."""

    def test_a_whole_run(self, run: Path) -> None:
        facts = {"experiment": "digits", "display_name": "first", "parent": "/gone/p"}
        main = Events(run, rank=0, world_size=2).begin(**facts, cwd="/work")
        main.add("run.environment", packages={"numpy": "2"}, user="me")
        main.add("run.params", lr=0.1, sizes=[1, 2])
        main.add("run.tags", owner="me", gpu=None)
        main.add("run.properties", commit="3f9a")
        main.add("run.artifact", path="a/b.png", size=3, sha256="00", media_type="x/y")
        main.add("run.child", run="c", path="/runs/exp/c")
        main.add("run.model", name="net", version=1, path="a")
        main.add("run.snapshot", id="s", size=5, files=2)
        loss = {"last": 0.5, "min": 0.5, "max": 2, "count": 9}
        main.end(metrics={"loss": loss})
        assert read(run) == RunState(
            run,
            run.name,
            experiment="digits",
            name="first",
            status="Completed",
            created=at(1),
            updated=at(11),
            ended=at(10),
            parent="/gone/p",
            children=["/runs/exp/c"],
            params={"lr": 0.1, "sizes": [1, 2]},
            tags={"owner": "me", "gpu": None},
            properties={"commit": "3f9a"},
            artifacts={"a/b.png": Artifact("a/b.png", 3, "00", "x/y", at(6))},
            metrics={"loss": loss},
            writers=[
                WriterState(
                    name="",
                    attempt=1,
                    rank=0,
                    world_size=2,
                    host="node7",
                    pid=12,
                    started=at(0),
                    ended=at(11),
                    status="Completed",
                    last_seq=11,
                    main=True,
                    alive=False,
                )
            ],
            start={**facts, "cwd": "/work"},
            environment={"packages": {"numpy": "2"}, "user": "me"},
            models=[{"name": "net", "version": 1, "path": "a"}],
            snapshot={"id": "s", "size": 5, "files": 2},
            read_at=LONG_AFTER,
        )

    def test_a_run_without_a_name_goes_by_its_id(self, run: Path, main: Events) -> None:
        state = read(run)
        assert (state.name, state.run_id) == (run.name, run.name)
        assert state.experiment == "digits, wide"

    def test_params_and_properties_are_set_once(self, run: Path, main: Events) -> None:
        main.add("run.params", a=1, b=2).add("run.params", c=3, a=9)
        main.add("run.properties", p="x").add("run.properties", p="y")
        state = read(run)
        assert list(state.params.items()) == [("a", 1), ("b", 2), ("c", 3)]
        assert state.properties == {"p": "x"}

    def test_tags_change_and_go(self, run: Path, main: Events) -> None:
        main.add("run.tags", a="1", b="2", c=None).add("run.tags", a="9")
        main.add("run.tags_removed", keys=["b", "never"]).add("run.tags", d="4")
        assert read(run).tags == {"a": "9", "c": None, "d": "4"}

    def test_name_and_description_may_change(self, run: Path, main: Events) -> None:
        main.add("run.update", display_name="x", description="y")
        main.add("run.update", description="")
        assert (read(run).name, read(run).description) == ("x", "")

    def test_the_last_artifact_of_a_path_counts(self, run: Path, main: Events) -> None:
        main.add("run.artifact", path="a", size=1).add("run.artifact", path="a", size=2)
        assert read(run).artifacts == {"a": Artifact("a", 2, "", "", at(3))}

    @pytest.mark.parametrize(
        "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "a\0b"]
    )
    def test_no_artifact_lies_outside(self, run: Path, main: Events, path: str) -> None:
        main.add("run.artifact", path=path, size=1)
        assert read(run).artifacts == {}

    def test_children_come_once_each(self, run: Path, main: Events) -> None:
        """A child that is gone on with is announced again."""
        for path in ("/r/e/b", "/r/e/a", "/r/e/b"):
            main.add("run.child", run=path[-1], path=path)
        assert read(run).children == ["/r/e/b", "/r/e/a"]

    def test_unknown_events_and_keys_say_nothing(self, run: Path, main: Events) -> None:
        before = read(run)
        main.add("run.future", a=1).add("run.status").add("run.heartbeat", x=1)
        after = read(run)
        after.updated = before.updated
        assert after == before


class TestTimes:
    def test_a_run_is_created_with_its_first_attempt(self, run: Path) -> None:
        Events(run).begin(5).end()
        Events(run, "a2", attempt=2).begin(50).end()
        state = read(run)
        assert (state.created, state.ended, state.attempt) == (at(6), at(52), 2)
        assert state.duration == 46

    def test_without_a_start_the_document_says_when(self, run: Path) -> None:
        Events(run).hello(9)
        assert read(run).created == at(9)
        document(run, created=at(3), updated=at(4))
        assert (read(run).created, read(run).updated) == (at(3), at(9))

    def test_the_last_entry_of_any_stream_is_the_last_sign(
        self, run: Path, main: Events
    ) -> None:
        entry = {"ts": at(70), "seq": 5, "metric": {"loss": 1}}
        (run / "metrics.jsonl").write_text(json.dumps(entry) + "\n")
        (run / "logs.2.jsonl").write_text(json.dumps(entry | {"ts": at(60)}) + "\n")
        assert read(run).updated == at(70)
        Events(run, "r1", rank=1).hello(71)
        assert read(run).updated == at(71)

    def test_a_run_lasts_until_now_while_it_is_alive(
        self, run: Path, main: Events
    ) -> None:
        state = read_state(run, now=NOON + 100)
        assert (state.status, state.duration, state.ended) == ("Running", 99, None)

    def test_else_until_its_last_sign(self, run: Path, main: Events) -> None:
        main.add("run.heartbeat", 61)
        assert (read(run).status, read(run).duration) == ("NotResponding", 60)

    def test_no_time_no_duration(self, run: Path) -> None:
        (run / "logs.jsonl").touch()
        assert read(run).duration is None


class TestStatus:
    """The end, if there is one; else whether anybody is there to make one."""

    @pytest.mark.parametrize("status", ["Completed", "Failed", "Canceled"])
    def test_is_that_of_the_end(self, run: Path, main: Events, status: str) -> None:
        main.end(status, error={"type": "ValueError", "msg": "bad"})
        state = read_state(run, now=NOON)
        assert state.status == status
        assert state.error == {"type": "ValueError", "msg": "bad"}
        assert [w.alive for w in state.writers] == [False]

    def test_a_later_attempt_undoes_the_end(self, run: Path, main: Events) -> None:
        main.end("Failed", error={"msg": "bad"})
        second = Events(run, "a2", attempt=2).begin(50)
        state = read_state(run, now=NOON + 60)
        assert (state.status, state.error, state.ended) == ("Running", None, None)
        assert read(run).status == "NotResponding"
        second.end()
        assert read(run).status == "Completed"

    def test_an_attempt_is_not_ended_by_an_earlier_one(self, run: Path) -> None:
        """Also where the clock of its host goes before that of the next one's."""
        Events(run).begin(0).add("run.end", 60, status="Failed", metrics={"a": {}})
        Events(run, "a2", attempt=2).begin(50)
        assert read_state(run, now=NOON + 61).status == "Running"
        assert read_state(run, now=NOON + 61).attempt == 2

    def test_another_process_may_end_an_abandoned_run(
        self, run: Path, main: Events
    ) -> None:
        Events(run, "a2", attempt=2).begin(50)
        visitor = Events(run, "node9-77").hello(500)
        assert read_state(run, now=NOON + 501).status == "NotResponding"
        visitor.end("Canceled")
        assert read(run).status == "Canceled"

    def test_others_write_on_after_the_end(self, run: Path, main: Events) -> None:
        main.end()
        Events(run, "node9-77").hello(500).add("run.tags", late="yes")
        state = read_state(run, now=NOON + 501)
        assert (state.status, state.ended) == ("Completed", at(2))
        assert (state.tags, state.updated) == ({"late": "yes"}, at(501))
        assert [w.alive for w in state.writers] == [False, True]

    def test_words_in_between_are_those_of_the_attempt(
        self, run: Path, main: Events
    ) -> None:
        main.add("run.status", status="Preparing")
        assert read_state(run, now=NOON).status == "Preparing"
        main.add("run.status", status="Finalizing")
        assert read_state(run, now=NOON).status == "Finalizing"
        assert read(run).status == "NotResponding"
        Events(run, "a2", attempt=2).begin(50)
        assert read_state(run, now=NOON + 51).status == "Running"

    def test_a_run_is_queued_before_its_start(self, run: Path) -> None:
        """Whoever prepares it speaks for it until it begins."""
        Events(run, "node7-12").hello().add("run.status", status="Queued")
        assert read_state(run, now=NOON).status == "Queued"
        assert read(run).status == "NotResponding"

    @pytest.mark.parametrize("status", [None, 5, "", {}])
    def test_an_end_without_a_word_is_none(
        self, run: Path, main: Events, status: object
    ) -> None:
        main.add("run.end", status=status)
        assert read_state(run, now=NOON).status == "Running"


class TestRanks:
    """A run of several processes."""

    def test_a_rank_that_failed_makes_the_run_failed(
        self, run: Path, main: Events
    ) -> None:
        Events(run, "r1", rank=1).hello().bye("Failed")
        Events(run, "r2", rank=2).hello().bye("Canceled")
        Events(run, "r3", rank=3).hello().bye("Failed")
        main.end()
        state = read(run)
        assert (state.status, state.error) == ("Failed", {"msg": "failed: r1, r3"})

    def test_other_processes_may_fail(self, run: Path, main: Events) -> None:
        Events(run, "node7-99").hello().bye("Failed")
        main.end()
        assert read(run).status == "Completed"

    def test_a_rank_of_an_earlier_attempt_is_over(
        self, run: Path, main: Events
    ) -> None:
        Events(run, "r1", rank=1).hello().bye("Failed")
        Events(run, "a2", attempt=2).begin(50).end()
        Events(run, "r1-a2", rank=1, attempt=2).hello(49).bye()
        assert read(run).status == "Completed"

    def test_ranks_that_restart_inside_an_attempt(
        self, run: Path, main: Events
    ) -> None:
        """The newest of them count, whose attempts the main writer knows nothing of."""
        Events(run, "r0", rank=0).hello(10).bye("Failed")
        Events(run, "r0-a2", rank=0, attempt=2).hello(20).bye()
        main.add("run.end", 30, status="Completed").bye()
        assert (read(run).status, read(run).attempt) == ("Completed", 1)

    def test_ranks_below_a_run_that_is_gone_on_with(
        self, run: Path, main: Events
    ) -> None:
        """They count from 1 again, and are known by their time."""
        Events(run, "r0", rank=0).hello(10).bye("Failed")
        second = Events(run, "a2", attempt=2).begin(50)
        assert read_state(run, now=NOON + 60).status == "Running"
        Events(run, "r0-3f9a", rank=0).hello(55).bye("Failed")
        second.end()
        assert (read(run).status, read(run).error) == (
            "Failed",
            {"msg": "failed: r0-3f9a"},
        )

    def test_a_run_is_alive_while_any_rank_is(self, run: Path, main: Events) -> None:
        Events(run, "r1", rank=1).hello(400)
        assert read_state(run, now=NOON + 401).status == "Running"
        assert read(run).status == "NotResponding"

    def test_other_processes_do_not_keep_it_alive(
        self, run: Path, main: Events
    ) -> None:
        """A data loader that outlives its trainer ends nothing."""
        Events(run, "node7-99").hello(400)
        state = read_state(run, now=NOON + 401)
        assert state.status == "NotResponding"
        assert [w.alive for w in state.writers] == [False, True]

    def test_events_of_several_writers_merge_by_time(
        self, run: Path, main: Events
    ) -> None:
        main.add("run.tags", 10, a="main").add("run.tags", 30, b="main")
        other = Events(run, "r1", rank=1).hello(5)
        other.add("run.tags", 20, a="r1", b="r1").add("run.params", 6, p="r1")
        main.add("run.params", 7, p="main")
        assert read(run).tags == {"a": "r1", "b": "main"}

    def test_inside_a_writer_the_number_decides(self, run: Path, main: Events) -> None:
        """Neighbours may swap in the file, and clocks be set back."""
        first, second = main.seq, main.seq + 1
        main.seq = second
        main.add("run.tags", 5, a="second")
        main.seq = first
        main.add("run.tags", 9, a="first")
        assert read(run).tags == {"a": "second"}

    def test_a_main_writer_is_known_by_its_start(self, run: Path) -> None:
        """Its name has random digits where another process had taken its own."""
        Events(run, "1f2e").begin().end()
        Events(run, "a2", attempt=2).hello(1)
        state = read(run)
        assert [(w.name, w.main) for w in state.writers] == [
            ("1f2e", True),
            ("a2", True),
        ]


class TestMetrics:
    """A summary of each metric, from the end or as last written in between."""

    def test_come_from_the_document_while_the_run_goes_on(
        self, run: Path, main: Events
    ) -> None:
        document(run, metrics={"loss": {"last": 1, "count": 1}, "odd": 5})
        assert read(run).metrics == {"loss": {"last": 1, "count": 1}}
        main.end(metrics={"loss": {"last": 2, "count": 2}})
        assert read(run).metrics == {"loss": {"last": 2, "count": 2}}

    def test_stay_when_somebody_else_ends_the_run(
        self, run: Path, main: Events
    ) -> None:
        document(run, metrics={"loss": {"last": 1, "count": 1}})
        Events(run, "node9-77").hello(500).end("Canceled")
        assert read(run).metrics == {"loss": {"last": 1, "count": 1}}

    def test_of_a_later_attempt_win(self, run: Path, main: Events) -> None:
        main.end(metrics={"a": {"last": 1}, "b": {"last": 1}})
        second = Events(run, "a2", attempt=2).begin(50)
        assert read(run).metrics == {"a": {"last": 1}, "b": {"last": 1}}
        second.end(metrics={"b": {"last": "NaN"}})
        assert read(run).metrics == {"a": {"last": 1}, "b": {"last": "NaN"}}


class TestDocument:
    """`run.json` says what no event is left to say."""

    CONTENT: ClassVar[dict[str, Any]] = {
        "experiment": "digits, wide",
        "display_name": "first",
        "description": "words",
        "status": "Failed",
        "attempt": 3,
        "created": at(0),
        "updated": at(9),
        "ended": at(8),
        "parent": "/gone/p",
        "params": {"lr": 1},
        "tags": {"a": "1", "b": None, "c": 5},
        "properties": {"p": "x", "q": 5},
        "error": {"msg": "bad"},
        "metrics": {"loss": {"last": 1}},
    }

    def test_alone_it_is_enough(self, run: Path) -> None:
        document(run, **self.CONTENT)
        assert read(run) == RunState(
            run,
            run.name,
            experiment="digits, wide",
            name="first",
            description="words",
            status="Failed",
            error={"msg": "bad"},
            created=at(0),
            updated=at(9),
            ended=at(8),
            attempt=3,
            parent="/gone/p",
            params={"lr": 1},
            tags={"a": "1", "b": None},
            properties={"p": "x"},
            metrics={"loss": {"last": 1}},
            read_at=LONG_AFTER,
        )

    def test_alone_it_may_be_of_a_run_that_died(self, run: Path) -> None:
        document(run, **self.CONTENT | {"status": "Running"})
        assert read(run).status == "NotResponding"
        assert read_state(run, now=NOON + 10).status == "Running"

    def test_events_of_others_come_on_top(self, run: Path) -> None:
        """The main writer's were removed, and somebody has added to the run since."""
        document(run, **self.CONTENT)
        other = Events(run, "node9-77").hello(50)
        other.add("run.tags", a="2", d="4").add("run.tags_removed", keys=["b"])
        other.add("run.params", lr=2, new=3).add("run.update", display_name="second")
        state = read(run)
        assert state.name == "second"
        assert state.params == {"lr": 1, "new": 3}
        assert state.tags == {"a": "2", "b": None, "d": "4"}
        assert state.status == "Failed"

    def test_it_does_not_bring_back_what_events_took_away(
        self, run: Path, main: Events
    ) -> None:
        document(run, **self.CONTENT)
        main.add("run.tags", a="1").add("run.tags_removed", keys=["a"])
        state = read(run)
        assert (state.tags, state.params, state.parent) == ({}, {}, None)

    def test_it_ends_a_run_whose_disk_was_full(self, run: Path, main: Events) -> None:
        """The last events were refused, the document was not."""
        document(run, **self.CONTENT | {"attempt": 1})
        state = read(run)
        assert (state.status, state.ended) == ("Failed", at(8))
        assert (state.error, state.metrics) == ({"msg": "bad"}, {"loss": {"last": 1}})
        assert read_state(run, now=NOON).status == "Running"

    def test_it_ends_no_later_attempt(self, run: Path) -> None:
        document(run, **self.CONTENT | {"attempt": 1})
        Events(run, "a2", attempt=2).begin(50)
        assert read(run).status == "NotResponding"

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"5", b"\xff", b'{"status":[],"tags":[1]}']
    )
    def test_a_broken_one_says_nothing(
        self, run: Path, content: bytes, tmp_path: Path
    ) -> None:
        (run / "run.json").write_bytes(content)
        state = read(run)
        assert (state.status, state.tags, state.name) == ("NotResponding", {}, run.name)

    def test_a_link_is_none(self, run: Path, main: Events, tmp_path: Path) -> None:
        (tmp_path / "other.json").write_text('{"metrics":{"loss":{}}}')
        (run / "run.json").symlink_to(tmp_path / "other.json")
        assert read(run).metrics == {}


class TestNoRun:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(RunNotFoundError, match="no such folder"):
            read_state(tmp_path / "never")

    def test_a_file(self, run: Path) -> None:
        document(run)
        with pytest.raises(RunNotFoundError, match="no such folder"):
            read_state(run / "run.json")

    def test_a_folder_of_something_else(self, run: Path) -> None:
        (run / "notes.txt").touch()
        (run / "events.jsonl").mkdir()
        (run / "logs.jsonl").symlink_to("notes.txt")
        with pytest.raises(RunNotFoundError, match=r"neither a run\.json nor"):
            read_state(run)

    @pytest.mark.parametrize("name", ["events.jsonl", "metrics-r1.jsonl", "run.json"])
    def test_an_empty_file_makes_a_run(self, run: Path, name: str) -> None:
        """Of which nothing is known yet."""
        (run / name).touch()
        assert read(run) == RunState(
            run, run.name, experiment="exp", name=run.name, read_at=LONG_AFTER
        )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(
    "attempt rank world_size host pid boot status last experiment display_name parent "
    "description path size sha256 media_type keys metrics error name version".split()
)
NAMES = st.sampled_from(
    "writer.start writer.end run.start run.end run.status run.params run.tags "
    "run.tags_removed run.properties run.update run.artifact run.child run.snapshot "
    "run.environment run.model run.heartbeat run.dropped x".split()
)
ENTRIES = st.fixed_dictionaries(
    {
        "ts": st.sampled_from([at(1), at(2), "2026-99-99T00:00:00Z"]) | VALUES,
        "seq": st.integers(0, 5) | VALUES,
        "event": NAMES | VALUES,
        "data": st.dictionaries(KEYS, VALUES, max_size=5) | VALUES,
    }
)


class TestDamage:
    """Whatever the files hold, the rest of them is read."""

    @pytest.mark.parametrize(
        "garbage",
        [
            b"what?\n",
            b"\n\n",
            b"\x00" * 99 + b"\n",
            b"\xff\xfe\n",
            b"[1]\n",
            b'{"ts":"2026-11-23T12:00:00Z","seq":7}\n',
            b'{"ts":"2026-11-23T12:00:00Z","seq":7,"event":"run.tags","data":[1]}\n',
            b'{"ts":"2026-11-23T12:00:00Z","seq":7,"event":["run.tags"],"data":{}}\n',
            b'{"ts":"9999","seq":7,"event":"run.tags","data":{"a":"wrong"}}\n',
            b'{"ts":"2026-11-23T12:00:00Z","seq":7,"event":"run.tags","data":{"a":"c',
            b'run.heartbeat","data":{}}\n',
            b'"event":"run.heartbeat","data":{}}\n',
            b"x" * 3_500_000 + b"\n",
            b"{" * 5_000 + b"\n",
        ],
    )
    def test_the_neighbours_of_a_damaged_line_are_read(
        self, run: Path, main: Events, garbage: bytes
    ) -> None:
        main.add("run.tags", a="1").raw(garbage).add("run.tags", b="2")
        assert read(run).tags == {"a": "1", "b": "2"}

    def test_a_line_without_its_newline_is_not_there_yet(
        self, run: Path, main: Events
    ) -> None:
        main.raw(b'{"ts":"2026-11-23T12:00:09Z","seq":2,"event":"run.end","data":{}}')
        assert read(run).ended is None

    def test_an_event_goes_on_in_the_next_segment(
        self, run: Path, main: Events
    ) -> None:
        """A short write seals a segment."""
        main.raw(b'{"ts":"2026-11-23T12:00:09Z","seq":2,"ev')
        main.path = run / "events.1.jsonl"
        main.end()
        assert read(run).status == "Completed"

    def test_values_of_wrong_types_are_left_out(self, run: Path) -> None:
        main = Events(run, rank="0", pid="x", attempt=-1, host=None, boot=[])
        main.begin(experiment=5, display_name=[], parent={})
        main.add("run.tags", a=5, b="x", c=True)
        main.add("run.properties", a=5, b="x", c=None)
        main.add("run.artifact", path=5).add("run.child", path=None)
        main.add("run.artifact", path="f", size="big", sha256=1, media_type=None)
        main.add("run.tags_removed", keys="b").add("run.tags_removed", keys=[[]])
        main.add("run.update", display_name=5, description=6)
        main.end(error="bad", metrics=[1])
        state = read(run)
        assert (state.experiment, state.name, state.parent) == ("exp", run.name, None)
        assert (state.tags, state.properties) == ({"b": "x"}, {"b": "x"})
        assert state.artifacts == {"f": Artifact("f", 0, "", "", at(6))}
        assert (state.error, state.metrics, state.attempt) == (None, {}, 1)
        assert [(w.rank, w.pid, w.host) for w in state.writers] == [(None, None, "")]

    @pytest.mark.parametrize("plant", ["link", "folder", "pipe"])
    def test_what_is_no_file_is_passed_over(
        self, run: Path, main: Events, plant: str
    ) -> None:
        path = run / "events-r1.jsonl"
        if plant == "link":
            path.symlink_to("events.jsonl")
        elif plant == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
        assert [w.name for w in read(run).writers] == [""]

    @given(lines=st.lists(ENTRIES.map(json.dumps) | st.text(), max_size=12))
    def test_nothing_in_a_file_makes_it_fail(
        self, tmp_path_factory: pytest.TempPathFactory, lines: list[str]
    ) -> None:
        run = tmp_path_factory.mktemp("run")
        text = "\n".join(lines).encode("utf-8", "surrogatepass")
        for name in ("events.jsonl", "events-r1.jsonl", "metrics.jsonl", "run.json"):
            (run / name).write_bytes(text)
        state = read(run)
        assert isinstance(state.status, str)
        assert state.duration is None or state.duration >= 0
        assert all(isinstance(key, str) for key in state.tags)

    def test_reading_leaves_the_folder_as_it_was(self, run: Path, main: Events) -> None:
        def look() -> list[tuple[str, int]]:
            return sorted((p.name, p.stat().st_mtime_ns) for p in run.iterdir())

        before = look()
        read_state(run)
        assert look() == before


class TestSpeed:
    """Generous bounds: the point is what does not grow."""

    def best(self, run: Path) -> float:
        """Return the seconds of the fastest of several readings."""
        times = []
        for _ in range(15):
            begin = time.perf_counter()
            read(run)
            times.append(time.perf_counter() - begin)
        return min(times)

    def test_a_small_run_is_there_at_once(self, run: Path, main: Events) -> None:
        main.add("run.params", lr=1).add("run.tags", a="b").end()
        line = json.dumps({"ts": at(9), "seq": 0}).encode() + b"\n"
        for name in ("metrics.jsonl", "logs.jsonl", "logs.1.jsonl"):
            (run / name).write_bytes(line * 100_000)
        assert self.best(run) < 0.002

    def test_heartbeats_of_weeks_cost_little(self, run: Path, main: Events) -> None:
        for _ in range(100):
            main.add("run.heartbeat")
        beats = main.path.read_bytes().split(b"\n", 2)[2]
        main.raw(beats * 300).add("run.tags", a="b")  # three weeks
        assert read(run).tags == {"a": "b"}
        assert read(run).updated == at(102)
        assert self.best(run) < 0.1


PROGRAM = """
import os, sys, threading
from pathlib import Path
from mlog.folder import PRIVATE, Folder
from mlog.run.writer import Place, Writer, WriterOptions

folder = Folder.open_below(Path(sys.argv[1]), ["e", "r"], PRIVATE)
writers = []
for rank in sys.argv[2:]:
    place = Place(main=rank == "main", rank=None if rank == "main" else int(rank))
    writer = Writer(folder, place, "r", WriterOptions(), None, lambda: None)
    writer.start()
    if place.main:
        writer.event("run.start", {"experiment": "e"})
    writers.append(writer)
print("begun", flush=True)
for line in sys.stdin:
    writers[0].event("run.end", {"status": line.strip()})
    for writer in writers:
        writer.end(line.strip())
"""


@contextmanager
def _writing(root: Path, *ranks: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), *ranks],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "begun\n"
        yield child
    finally:
        child.kill()
        child.stdin.close()
        child.stdout.close()
        child.wait()


@pytest.fixture
def writing(
    tmp_path: Path,
) -> Callable[..., AbstractContextManager[subprocess.Popen[str]]]:
    """Return a maker of processes that hold writers of the run "e/r"."""
    return lambda *ranks: _writing(tmp_path, *ranks)


class TestProcesses:
    """Runs of real processes: alive, ended, killed."""

    def test_a_run_is_running_until_its_process_is_killed(
        self, tmp_path: Path, writing: Callable[..., Any]
    ) -> None:
        folder = tmp_path / "e" / "r"
        with writing("main") as child:
            for now in (None, LONG_AFTER + 1e9):
                state = read_state(folder, now=now)
                assert state.status == "Running"
                assert [w.alive for w in state.writers] == [True]
                assert state.writers[0].pid == child.pid
            child.send_signal(signal.SIGKILL)
            child.wait()
            state = read_state(folder)
            assert state.status == "NotResponding"
            assert [w.alive for w in state.writers] == [False]

    def test_a_run_that_was_ended_says_how(
        self, tmp_path: Path, writing: Callable[..., Any]
    ) -> None:
        with writing("main") as child:
            child.communicate("Canceled\n")
        state = read_state(tmp_path / "e" / "r")
        assert state.status == "Canceled"
        assert [(w.status, w.alive) for w in state.writers] == [("Canceled", False)]

    def test_a_rank_keeps_a_run_alive_whose_main_process_was_killed(
        self, tmp_path: Path, writing: Callable[..., Any]
    ) -> None:
        folder = tmp_path / "e" / "r"
        with writing("main") as main, writing("1") as rank:
            main.kill()
            main.wait()
            state = read_state(folder)
            assert state.status == "Running"
            assert {w.name: w.alive for w in state.writers} == {"": False, "r1": True}
            rank.kill()
            rank.wait()
            assert read_state(folder).status == "NotResponding"

    def test_a_second_attempt_brings_it_back(
        self, tmp_path: Path, writing: Callable[..., Any]
    ) -> None:
        folder = tmp_path / "e" / "r"
        with writing("main") as child:
            child.kill()
            child.wait()
        with writing("main") as child:
            state = read_state(folder)
            assert (state.status, state.attempt) == ("Running", 2)
            child.communicate("Completed\n")
        assert read_state(folder).status == "Completed"

    def test_reading_does_not_take_the_lock_from_a_writer(
        self, tmp_path: Path, writing: Callable[..., Any]
    ) -> None:
        """A folder without entries yet is left alone: its writer is just beginning."""
        folder = tmp_path / "e" / "r"
        folder.mkdir(parents=True)
        (folder / "events-r7.jsonl").touch()
        read_state(folder)
        with writing("main"):
            assert read_state(folder, now=LONG_AFTER + 1e9).status == "Running"
