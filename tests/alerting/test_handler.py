"""`AlertHandler` in runs and on loggers."""

import gc
import logging
import logging.config
import os
import threading
from typing import Any

import pytest

import mlog
from mlog.alerting.actions import Alert
from mlog.errors import MlogWarning
from tests.helpers import FakeClock

TOLD: list[Alert] = []


def told(alert: Alert) -> None:
    """An action that `dictConfig` can name."""
    TOLD.append(alert)


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


def alerts_of(run: Any) -> list[dict[str, Any]]:
    return [e["data"] for e in run.entries("events") if e["event"] == "run.alert"]


class TestInARun:
    def test_metrics_of_any_kind_of_call_are_seen(self) -> None:
        alert = mlog.AlertHandler("loss > 5", told, every=0)
        with mlog.start_run("e", alerts=[alert]) as run:
            run.log("loss", 6, step=1)
            mlog.getLogger("train").info(metric={"loss": 7}, step=2)
            logging.getLogger("train").info("x", extra={"metric": {"loss": 8}})
            run.log("loss", 1)
        assert [a.text.partition(" step")[0] for a in TOLD] == [
            "INFO mlog: loss=6",
            "INFO train: loss=7",
            "INFO train: x loss=8",
        ]
        assert {(a.run, a.experiment) for a in TOLD} == {(run.id, "e")}

    def test_it_is_recorded_in_the_run(self) -> None:
        alert = mlog.AlertHandler("level>=error", told)
        with mlog.start_run("e", alerts=[alert]) as run:
            logging.getLogger("train").error("out of memory")
        (data,) = alerts_of(run)
        assert data == {
            "rule": "level>=error",
            "text": "ERROR train: out of memory",
            "held": 0,
            "action": "function",
        }

    def test_what_is_recorded_is_as_without(self) -> None:
        with mlog.start_run("e", alerts=[mlog.AlertHandler("a > 5", told)]) as run:
            for step in range(3):
                run.log("a", step, step=step)
            logging.getLogger("train").info("line")
        assert run.get_metrics() == {"a": [0, 1, 2]}
        assert [e["msg"] for e in run.entries("logs")] == ["line"]

    @pytest.mark.parametrize(("fails", "count"), [(True, 1), (False, 0)])
    def test_the_end_of_the_run(self, fails: bool, count: int) -> None:
        run = mlog.start_run("e", alerts=[mlog.AlertHandler("run failed", told)])
        run.fail("diverged") if fails else run.complete()
        assert [a.text for a in TOLD] == ["the run is Failed"] * count
        assert len(alerts_of(run)) == count

    def test_silence_is_noticed_by_the_clock(self) -> None:
        clock = FakeClock()
        alert = mlog.AlertHandler("no entry for 10 minutes", told, clock=clock)
        with mlog.start_run("e", alerts=[alert]) as run:
            alert.keep(0.0)
            clock.advance(601)
            alert.keep(0.0)
            run.log("a", 1)
        assert [a.text for a in TOLD] == ["no entry for 601 seconds"]

    def test_secrets_are_taken_out(self) -> None:
        with mlog.start_run("e", alerts=[mlog.AlertHandler("level>=error", told)]):
            logging.getLogger("train").error("password=hunter2hunter2")
        assert [a.text for a in TOLD] == ["ERROR train: password=***"]

    @pytest.mark.parametrize(
        ("rule", "action", "every"), [("loss >", told, 1), ("a", 3, 1), ("a", told, -1)]
    )
    def test_one_that_is_refused_leaves_nothing_behind(
        self, rule: str, action: Any, every: float
    ) -> None:
        """`logging.shutdown` closes every handler that began."""
        before = len(logging._handlerList)  # type: ignore[attr-defined]
        with pytest.raises((ValueError, TypeError)):
            mlog.AlertHandler(rule, action, every=every)
        gc.collect()
        assert len(logging._handlerList) == before  # type: ignore[attr-defined]
        logging.shutdown([])

    def test_one_that_takes_longer_than_the_end_is_recorded_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mlog.alerting.handler._PATIENCE", 0.01)
        done, over = threading.Event(), threading.Event()

        def slow(alert: Alert) -> None:
            done.wait(60)
            over.set()

        run = mlog.start_run("e", alerts=[mlog.AlertHandler("run ended", slow)])
        with pytest.warns(MlogWarning, match="not done yet as the run ended"):
            run.complete()
        done.set()
        assert over.wait(60)
        (alert,) = alerts_of(run)
        assert alert["error"] == "not done yet as the run ended"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_child_leaves_the_alerts_of_its_parent_alone(self) -> None:
        """It neither waits for them nor records them again."""
        done = threading.Event()
        alert = mlog.AlertHandler("a > 5", lambda alert: done.wait(60), every=0)
        with mlog.start_run("e", alerts=[alert]) as run:
            run.log("a", 6)
            if (child := os.fork()) == 0:
                alert.close()
                os._exit(len(alert._untold))
            assert os.waitpid(child, 0)[1] == 0
            done.set()
        assert [data.get("error") for data in alerts_of(run)] == [None]

    def test_something_else_is_refused_before_there_is_a_run(self) -> None:
        with pytest.raises(
            TypeError, match=r"must be mlog\.AlertHandler objects, got 3"
        ):
            mlog.start_run("e", alerts=[3])


class TestHowOften:
    def test_once_within_a_time_and_how_often_more(self) -> None:
        clock = FakeClock()
        alert = mlog.AlertHandler("a > 0", told, every=60, clock=clock)
        with mlog.start_run("e", alerts=[alert]) as run:
            for _ in range(5):
                run.log("a", 1)
            clock.advance(61)
            run.log("a", 1)
        assert [a.held for a in TOLD] == [0, 4]
        assert "(and 4 more times)" in TOLD[1].body


class TestActions:
    def test_the_caller_does_not_wait_for_it(self) -> None:
        started, go_on = threading.Event(), threading.Event()

        def slow(alert: Alert) -> None:
            started.set()
            assert go_on.wait(30)
            TOLD.append(alert)

        with mlog.start_run("e", alerts=[mlog.AlertHandler("a > 0", slow)]) as run:
            run.log("a", 1)
            assert started.wait(30)
            assert TOLD == [], "log has returned before it was done"
            go_on.set()
        assert len(TOLD) == 1, "the end of the run waits for it"

    def test_one_that_fails_is_told_and_the_run_goes_on(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def broken(alert: Alert) -> None:
            raise OSError("no mail today")

        with (
            mlog.start_run("e", alerts=[mlog.AlertHandler("a > 0", broken)]) as run,
            pytest.warns(MlogWarning, match="could not be told: no mail today"),
        ):
            run.log("a", 1)
            run._companions[0].close()
        (data,) = alerts_of(run)
        assert data["error"] == "no mail today"
        assert run.status == "Completed"

    def test_an_address_is_in_no_repr(self) -> None:
        alert = mlog.AlertHandler("run ended", "slack+https://hooks.example/T0/secret")
        assert repr(alert) == "<AlertHandler 'run ended' → slack>"


class TestAsAHandler:
    def test_by_dict_config(self) -> None:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {
                    "alert": {
                        "class": "mlog.AlertHandler",
                        "rule": "disk level>=warning",
                        "action": told,
                    }
                },
                "loggers": {"train": {"handlers": ["alert"]}},
            }
        )
        logging.getLogger("train").warning("the disk is full")
        for handler in logging.getLogger("train").handlers:
            handler.close()
        assert [a.text for a in TOLD] == ["WARNING train: the disk is full"]
        assert TOLD[0].run == "", "there is no run"

    def test_a_record_that_cannot_be_read_harms_nobody(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logging, "raiseExceptions", False)
        alert = mlog.AlertHandler("level>=error", told)
        alert.handle(logging.LogRecord("x", 40, "", 0, "%d", ("no number",), None))
        alert.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_tells_by_itself(self) -> None:
        read, write = os.pipe()

        def to_parent(alert: Alert) -> None:
            os.write(write, b"told")

        alert = mlog.AlertHandler("level>=error", to_parent, every=0)
        record = logging.LogRecord("x", 40, "", 0, "m", (), None)
        alert.handle(record)
        alert.close()
        assert os.read(read, 4) == b"told"
        child = os.fork()
        if child == 0:
            alert.handle(record)
            alert.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 4) == b"told"
