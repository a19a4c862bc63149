"""The time line: what all processes logged around a step or a moment."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import mlog
from mlog.errors import MlogError, RunNotFoundError
from mlog.reader.around import Around, Then, metrics_at, read_around

BEGIN = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


class Process:
    """Writes what one process of a run writes; its clock may be wrong."""

    def __init__(self, run: Path, writer: str = "", **facts: Any) -> None:
        self.run = run
        self.writer = writer
        self.ahead = facts.pop("ahead", 0.0)
        self._seq = 0
        start = facts.pop("start", 0.0)
        data = {"attempt": 1, "host": "node1", "boot": "b1", **facts}
        self.entry("events", start, event="writer.start", data=data)

    def entry(self, stream: str, at: float, **keys: Any) -> dict[str, Any]:
        moment = BEGIN + timedelta(seconds=at + self.ahead)
        entry = {"ts": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", "seq": self._seq, **keys}
        self._seq += 1
        name = f"{stream}-{self.writer}" if self.writer else stream
        with open(self.run / f"{name}.jsonl", "ab") as file:
            file.write(orjson.dumps(entry) + b"\n")
        return entry

    def log(self, at: float, msg: str, **keys: Any) -> dict[str, Any]:
        return self.entry("logs", at, level="DEBUG", logger="t", msg=msg, **keys)

    def metric(self, at: float, step: int | None, **metric: Any) -> dict[str, Any]:
        where = {} if step is None else {"step": step}
        return self.entry(
            "metrics", at, level="INFO", logger="t", **where, metric=metric
        )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "exp" / "run"
    folder.mkdir(parents=True)
    return folder


def told(around: Around) -> list[str]:
    """Return who said what, with ≈ for what is placed by the clock."""
    return [
        f"{'' if line.is_exact else '≈'}{line.source.writer or 'main'}: "
        f"{line.entry.get('msg') or line.entry.get('step') or line.entry.get('event')}"
        for line in around.lines
    ]


def train(process: Process, steps: range, *, late: float = 0.0) -> None:
    """Log a line in the middle of each step, and a metric at its end, a second each."""
    for step in steps:
        process.log(step + 0.5 + late, f"in {step}")
        process.metric(step + 1 + late, step, loss=1 / (step + 1))


class TestSteps:
    """Exact by the numbers of each process that logged the step."""

    def test_lines_of_a_step_are_those_in_front_of_its_metric(self, run: Path) -> None:
        train(Process(run), range(5))
        assert told(read_around(run, step=2, window=0)) == ["main: in 2", "main: 2"]
        assert told(read_around(run, step=2, window=1)) == [
            *("main: in 1", "main: 1", "main: in 2", "main: 2", "main: in 3", "main: 3")
        ]

    def test_all_ranks_are_there_whatever_their_clocks_say(self, run: Path) -> None:
        """A rank an hour ahead; the lines are in the order of what really was."""
        train(Process(run, rank=0), range(5))
        far = Process(run, "r1", rank=1, host="node2", boot="b2", ahead=3600.0)
        train(far, range(5), late=0.1)
        found = read_around(run, step=2, window=0)
        assert told(found) == ["main: in 2", "r1: in 2", "main: 2", "r1: 2"]
        (skew,) = found.skews
        assert skew.seconds == pytest.approx(3600.1)
        assert str(skew).startswith("the clock of node2 is 3600.100 s ahead")

    def test_a_process_without_steps_is_placed_by_the_clock(self, run: Path) -> None:
        main, loader = Process(run), Process(run, "host-7")
        for at in (0.2, 1.9, 2.1):
            loader.log(at, f"load {at}")
        loader.metric(2.3, None, queue=5)
        for at in (2.9, 3.2):
            loader.log(at, f"load {at}")
        train(main, range(5))
        found = read_around(run, step=2, window=0)
        assert told(found) == [
            *("≈host-7: load 2.1", "≈host-7: None", "main: in 2", "≈host-7: load 2.9"),
            "main: 2",
        ]

    def test_its_own_steps_tell_where_its_lines_are_not(self, run: Path) -> None:
        main, loader = Process(run), Process(run, "host-7")
        loader.log(2.5, "of 2", step=2)
        loader.log(2.6, "of 9", step=9)
        train(main, range(5))
        assert "≈host-7: of 2" in told(read_around(run, step=2, window=0))
        assert "≈host-7: of 9" not in told(read_around(run, step=2, window=0))

    def test_a_far_process_without_steps_is_placed_by_what_is_known(
        self, run: Path
    ) -> None:
        """Its machine's clock is known from a rank that runs there, too."""
        train(Process(run), range(5))
        there: dict[str, Any] = {"host": "node2", "boot": "b2", "ahead": -50.0}
        train(Process(run, "r1", rank=1, **there), range(5))
        Process(run, "node2-7", **there).log(2.4, "there")
        found = read_around(run, step=2, window=0)
        assert told(found)[0] == "≈node2-7: there"
        assert [skew.seconds for skew in found.skews] == [-50.0]

    def test_the_latest_attempt_that_has_the_step_counts(self, run: Path) -> None:
        train(Process(run), range(5))
        again = Process(run, "a2", attempt=2, start=100)
        train(again, range(3, 7), late=100)
        assert told(read_around(run, step=4, window=0)) == ["a2: in 4", "a2: 4"]
        assert told(read_around(run, step=1, window=0)) == ["main: in 1", "main: 1"]
        first = read_around(run, step=4, window=0, attempt=1)
        assert told(first) == ["main: in 4", "main: 4"]
        assert first.attempt == 1

    def test_what_came_after_the_last_step_is_in_its_window(self, run: Path) -> None:
        """What ends a run stands there."""
        main = Process(run)
        train(main, range(3))
        main.log(4, "bang")
        main.entry("events", 5, event="run.end", data={"status": "Failed"})
        assert told(read_around(run, step=2, window=1))[-2:] == [
            *("main: bang", "main: run.end")
        ]
        assert told(read_around(run, step=2, window=0))[-1] == "main: 2"
        assert told(read_around(run, step=4, window=2))[-1] == "main: run.end"

    def test_a_step_between_two_that_were_logged_is_found(self, run: Path) -> None:
        main = Process(run)
        for step in (100, 200, 300):
            main.log(step - 1, f"before {step}")
            main.metric(step, step, loss=1.0)
        assert told(read_around(run, step=150, window=6)) == ["main: before 200"]

    def test_a_metric_says_what_steps_are_counted(self, run: Path) -> None:
        main = Process(run)
        for step in range(6):
            main.metric(step, step, loss=1.0)
            if step % 2:
                main.log(step, f"epoch {step // 2}")
                main.metric(step, step // 2, val=1.0)
        found = read_around(run, step=1, window=0, metric="val")
        assert told(found) == ["main: 2", "main: 3", "main: epoch 1", "main: 1"]

    def test_a_run_without_the_step_says_which_there_are(self, run: Path) -> None:
        train(Process(run), range(3, 8))
        with pytest.raises(MlogError, match=r"no steps from 95 to 105 in .+ 3 to 7"):
            read_around(run, step=100)
        with pytest.raises(MlogError, match=r"no step 5 of 'none' in .+"):
            read_around(run, step=5, window=0, metric="none")

    def test_a_run_without_steps_says_so(self, run: Path) -> None:
        Process(run).metric(1, None, loss=1.0)
        with pytest.raises(MlogError, match="its metrics have no steps"):
            read_around(run, step=0)


class TestMoment:
    """By the clock of the main process."""

    def test_lines_of_all_processes_and_attempts_are_there(self, run: Path) -> None:
        main, other = Process(run), Process(run, "a2", attempt=2, start=3)
        main.log(1, "one")
        main.log(2, "two")
        other.log(4, "four")
        other.log(9, "nine")
        moment = (BEGIN + timedelta(seconds=3)).timestamp()
        assert told(read_around(run, time=moment, seconds=1)) == [
            *("main: two", "a2: writer.start", "a2: four")
        ]
        text = (BEGIN + timedelta(seconds=9)).isoformat()
        assert told(read_around(run, time=text, seconds=0)) == ["a2: nine"]
        day = BEGIN + timedelta(seconds=1)
        assert told(read_around(run, time=day, seconds=0.5)) == ["main: one"]

    def test_other_clocks_are_set_right(self, run: Path) -> None:
        """By the steps near to it, and so marked."""
        train(Process(run), range(20))
        far = Process(run, "r1", rank=1, host="node2", boot="b2", ahead=10.0)
        train(far, range(20))
        moment = (BEGIN + timedelta(seconds=5.5)).timestamp()
        found = read_around(run, time=moment, seconds=0.1)
        assert told(found) == ["main: in 5", "≈r1: in 5"]
        assert [skew.seconds for skew in found.skews] == [10.0]

    def test_a_time_without_entries_has_none(self, run: Path) -> None:
        Process(run)
        assert list(read_around(run, time=0)) == []


class TestCalls:
    @pytest.mark.parametrize(
        ("args", "error"),
        [
            ({}, ValueError),
            ({"step": 1, "time": 2}, ValueError),
            ({"step": 1.5}, TypeError),
            ({"step": True}, TypeError),
            ({"step": 1, "window": -1}, ValueError),
            ({"time": 1, "seconds": float("nan")}, ValueError),
            ({"time": "yesterday"}, ValueError),
            ({"time": "2026-11-23T18:00:00"}, ValueError),
        ],
    )
    def test_wrong_ones_are_errors(
        self, run: Path, args: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            read_around(run, **args)

    def test_no_folder_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunNotFoundError):
            read_around(tmp_path / "none", step=1)

    def test_a_run_answers_itself(self, run_dir: Path) -> None:
        """Also while it goes on."""
        with mlog.start_run("live") as live:
            log = mlog.getLogger("t")
            for step in range(4):
                log.debug("in %d", step)
                log.info(metric={"loss": step / 2, "bad": float("nan")}, step=step)
            log.warning("late")
            found = live.around(2, 0)
            assert repr(found) == "<Around steps 2 to 2: 2 entries>"
            assert [entry.get("msg") for entry in found] == ["in 2", None]
            assert found.lines[1].entry["metric"]["bad"] != 0
            assert type(found.lines[1].entry["metric"]["bad"]) is float
            (late,) = live.entries(filter="late")
            then = live.metrics_at(late)
            assert (then["loss"].value, then["loss"].step) == (1.5, 3)
            (early,) = live.entries(filter='"in 2"')
            assert live.metrics_at(early)["loss"].value == 0.5
            assert len(live.around(time=early["ts"], seconds=60)) > 9


class TestMetricsAt:
    """The last value of each metric at the time of an entry."""

    def test_of_its_own_process_by_number(self, run: Path) -> None:
        """Also where several entries have one time."""
        main = Process(run)
        main.metric(1, 1, loss=1.0, acc=0.5)
        first = main.log(1, "first")
        second = main.metric(1, 2, loss=2.0)
        ts = second["ts"]
        assert metrics_at(run, first) == {
            **{"loss": Then(1.0, 1, ts, True), "acc": Then(0.5, 1, ts, True)}
        }
        assert metrics_at(run, second)["loss"] == Then(2.0, 2, ts, True)
        assert metrics_at(run, main.log(1, "third"))["loss"].value == 2.0

    def test_of_the_main_process_by_the_clock(self, run: Path) -> None:
        """As compared by steps that both have."""
        train(Process(run), range(20))
        far = Process(run, "r1", rank=1, host="node2", boot="b2", ahead=100.0)
        for step in range(20):
            far.metric(step + 1, step, speed=step)
        entry = far.log(15.5, "here")
        found = metrics_at(run, entry)
        assert (found["speed"].value, found["speed"].is_exact) == (19, True)
        assert (found["loss"].step, found["loss"].is_exact) == (14, False)

    def test_nan_is_a_number(self, run: Path) -> None:
        main = Process(run)
        main.metric(1, 1, loss="NaN")
        value = metrics_at(run, main.log(2, "x"))["loss"].value
        assert type(value) is float
        assert value != value

    def test_none_before_it_is_none(self, run: Path) -> None:
        main = Process(run)
        entry = main.log(1, "first")
        main.metric(2, 1, loss=1.0)
        assert metrics_at(run, entry) == {}

    @pytest.mark.parametrize(
        "entry",
        [{}, {"seq": 1, "ts": "x"}, {"seq": "1", "ts": 2}, {"seq": 99, "ts": ""}],
    )
    def test_an_entry_of_another_run_is_an_error(
        self, run: Path, entry: dict[str, Any]
    ) -> None:
        Process(run).log(1, "x")
        with pytest.raises(MlogError, match="no entry with seq"):
            metrics_at(run, entry)
