"""`Run`: what it records, how it ends, and that nothing it is told can hurt."""

import asyncio
import json
import logging
import os
import shutil
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.errors import MlogWarning
from mlog.tap import getLogger
from tests.helpers import Entry, entries, lost, read_run


@pytest.fixture(autouse=True)
def no_hidden_warnings(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test whose run warned where no warning was expected.

    Under `-W error` a warning of mlog's own goes to stderr instead of being raised.
    """
    yield
    assert "mlog: warning" not in capsys.readouterr().err


@pytest.fixture
def run() -> mlog.Run:
    return mlog.start_run("test")


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def metrics(run: mlog.Run) -> list[Entry]:
    return entries(folder(run), "metrics")


def events(run: mlog.Run, name: str) -> list[Any]:
    return [e["data"] for e in entries(folder(run), "events") if e["event"] == name]


def summary(run: mlog.Run) -> dict[str, Any]:
    found = json.loads((folder(run) / "run.json").read_bytes())
    assert isinstance(found, dict)
    return found


# --- metrics ---------------------------------------------------------------------------


def test_log_writes_one_entry_that_is_there_when_it_returns(run: mlog.Run) -> None:
    run.log("train/loss", 0.25, step=3)
    (entry,) = metrics(run)
    assert entry["metric"] == {"train/loss": 0.25}
    assert (entry["step"], entry["level"], entry["logger"]) == (3, "INFO", "mlog")
    assert set(entry) == {"ts", "seq", "level", "logger", "step", "metric"}


def test_log_metrics_writes_several_as_one_entry(run: mlog.Run) -> None:
    run.log_metrics({"loss": 0.5, "acc": {"top1": 0.8, "top5": 1}}, step=1)
    (entry,) = metrics(run)
    assert entry["metric"] == {"loss": 0.5, "acc/top1": 0.8, "acc/top5": 1}


def test_a_description_stays_with_its_value(run: mlog.Run) -> None:
    run.log("loss", 1.0, "after warm-up")
    assert metrics(run)[0]["extra"] == {"description": "after warm-up"}


def test_the_step_and_fields_of_the_context_are_taken(run: mlog.Run) -> None:
    with mlog.step(7), mlog.bind(fold=2):
        run.log("loss", 1.0)
        run.log("loss", 2.0, step=8)
    assert [(e["step"], e["extra"]) for e in metrics(run)] == [
        (7, {"fold": 2}),
        (8, {"fold": 2}),
    ]


def test_metrics_of_a_run_are_shown_on_no_console(
    run: mlog.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.basicConfig(level=logging.DEBUG)
    run.log("loss", 1.0)
    assert capsys.readouterr().err == ""


def test_metrics_are_recorded_whatever_logging_says(run: mlog.Run) -> None:
    logging.disable(logging.CRITICAL)
    run.log("loss", 1.0)
    assert len(metrics(run)) == 1


class Hostile:
    """Fails at whatever is asked of it."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__

    def item(self) -> Any:
        raise ZeroDivisionError

    def __float__(self) -> float:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError


WRONG: list[tuple[str, Callable[[mlog.Run], None]]] = [
    ("value of no form", lambda run: run.log("x", object())),
    ("hostile value", lambda run: run.log("x", Hostile())),
    ("None as value", lambda run: run.log("x", None)),
    ("number as name", lambda run: run.log(3, 1.0)),  # type: ignore[arg-type]
    ("list as name", lambda run: run.log(["x"], 1.0)),  # type: ignore[arg-type]
    ("hostile name", lambda run: run.log(Hostile(), 1.0)),  # type: ignore[arg-type]
    ("empty name", lambda run: run.log("", 1.0)),
    ("long name", lambda run: run.log("n" * 300, 1.0)),
    ("surrogate in name", lambda run: run.log("\ud800", 1.0)),
    ("text as step", lambda run: run.log("x", 1.0, step="one")),  # type: ignore[arg-type]
    ("half a step", lambda run: run.log("x", 1.0, step=0.5)),  # type: ignore[arg-type]
    ("hostile step", lambda run: run.log("x", 1.0, step=Hostile())),  # type: ignore[arg-type]
    ("number as description", lambda run: run.log("x", 1.0, 3)),  # type: ignore[arg-type]
    ("huge int", lambda run: run.log("x", 10**400)),
    ("deep value", lambda run: run.log("x", _deep(10_000))),
]


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.filterwarnings("ignore::mlog.errors.MlogWarning")
@pytest.mark.parametrize("call", [c for _, c in WRONG], ids=[n for n, _ in WRONG])
def test_log_never_raises_and_keeps_what_can_be_kept(
    call: Callable[[mlog.Run], None], run: mlog.Run
) -> None:
    call(run)
    (entry,) = metrics(run)
    assert "metric" in entry or "value" in entry
    assert lost(folder(run)) == {}


@pytest.mark.parametrize("wrong", [0.3, None, [("a", 1)], "loss"])
def test_metrics_that_are_no_mapping_are_warned_about(
    wrong: Any, run: mlog.Run
) -> None:
    with pytest.warns(MlogWarning, match="metrics must be a mapping, got") as told:
        run.log_metrics(wrong)
    assert (told[0].filename, len(told)) == (__file__, 1)
    run.log_metrics(wrong)  # said once
    assert metrics(run) == []


def test_no_metrics_are_no_entry(run: mlog.Run) -> None:
    with pytest.warns(MlogWarning, match="holds no metrics"):
        run.log_metrics({})
    assert metrics(run) == []


# --- params and tags -------------------------------------------------------------------


def test_a_param_is_set_once(run: mlog.Run) -> None:
    run.log_params({"lr": 0.1, "layers": [1, 2]})
    run.log_params({"lr": 0.1})  # the same is no change
    with pytest.warns(MlogWarning, match=r"param 'lr' is 0.1 already") as told:
        run.log_params({"lr": 0.2, "depth": 3})
    assert told[0].filename == __file__
    assert run.params == {"lr": 0.1, "layers": [1, 2], "depth": 3}
    assert events(run, "run.params") == [
        {"lr": 0.1, "layers": [1, 2]},
        {"depth": 3},
    ]


def test_a_tag_may_change(run: mlog.Run) -> None:
    run.tag("stage", "one")
    run.set_tags({"stage": 2, "who": None})
    run.tag("flag")
    assert run.tags == {"stage": "2", "who": None, "flag": None}
    assert events(run, "run.tags")[0] == {"stage": "one"}


def test_params_may_hold_anything(run: mlog.Run) -> None:
    """Paths, numbers past 64 bit, NaN, surrogates: the run's files stay strict JSON."""
    run.log_params(
        {"path": Path("/a"), "big": 2**70, "nan": float("nan"), "\ud800": "\ud800"}
    )
    run.set_tags({"\ud800": "\ud800", 3: 4})  # type: ignore[dict-item]
    run.complete()
    assert summary(run)["params"]["path"] == "/a"
    assert summary(run)["tags"]["3"] == "4"


@pytest.mark.parametrize("method", ["log_params", "set_tags"])
def test_params_and_tags_that_are_no_mapping_are_warned_about(
    method: str, run: mlog.Run
) -> None:
    with pytest.warns(MlogWarning, match="must be a mapping.*got int") as told:
        getattr(run, method)(3)
    assert told[0].filename == __file__


def test_what_is_returned_is_a_copy(run: mlog.Run) -> None:
    run.log_params({"lr": 1})
    run.params["lr"] = 2
    run.tags["x"] = "y"
    assert (run.params, run.tags) == ({"lr": 1}, {})


# --- the end ---------------------------------------------------------------------------


def test_a_block_that_ends_normally_completes_the_run() -> None:
    with mlog.start_run("e") as run:
        assert run.status == "Running"
    assert run.status == "Completed"
    assert events(run, "run.end") == [{"status": "Completed"}]
    assert summary(run)["status"] == "Completed"
    assert not (folder(run) / ".lock").exists()


def test_an_exception_fails_the_run_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="boom"), mlog.start_run("e") as run:
        raise ValueError("boom")
    (end,) = events(run, "run.end")
    assert end["status"] == "Failed"
    assert (end["error"]["type"], end["error"]["msg"]) == ("ValueError", "boom")
    assert 'raise ValueError("boom")' in end["error"]["traceback"]
    assert summary(run)["error"] == end["error"]


class Unshowable(Exception):
    """Fails when somebody wants to see it, and says False when asked."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    def __bool__(self) -> bool:
        return False


@pytest.mark.parametrize("error", [Unshowable(), ValueError("\ud800")])
def test_any_exception_can_fail_a_run(error: Exception) -> None:
    with pytest.raises(type(error)), mlog.start_run("e") as run:
        raise error
    (end,) = events(run, "run.end")
    assert end["status"] == summary(run)["status"] == "Failed"
    assert events(run, "writer.end")[0]["status"] == "Failed"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), "Canceled"),
        (asyncio.CancelledError(), "Canceled"),
        (GeneratorExit(), "Canceled"),
        (SystemExit(), "Completed"),
        (SystemExit(0), "Completed"),
        (SystemExit(1), "Failed"),
        (SystemExit("no data"), "Failed"),
    ],
    ids=repr,
)
def test_other_ends_of_a_block_have_their_status(
    error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), mlog.start_run("e") as run:
        raise error
    assert events(run, "run.end")[0]["status"] == summary(run)["status"] == status


@pytest.mark.parametrize(
    ("method", "status"),
    [("complete", "Completed"), ("fail", "Failed"), ("cancel", "Canceled")],
)
def test_a_run_ends_once(method: str, status: str, run: mlog.Run) -> None:
    """A second end does nothing but warn, whichever it is; that of the block is quiet."""
    with run, warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        getattr(run, method)()
        for other in (run.complete, run.fail, run.cancel):
            other()
    assert run.status == status
    assert [end["status"] for end in events(run, "run.end")] == [status]
    assert len(events(run, "writer.end")) == 1


def test_a_failure_may_be_told_in_words(run: mlog.Run) -> None:
    run.fail("the data is gone")
    assert summary(run)["error"] == {"msg": "the data is gone"}


def test_use_after_the_end_is_warned_about_once(run: mlog.Run) -> None:
    run.complete()
    before = read_run(folder(run))
    with pytest.warns(MlogWarning, match=f"run {run.id} has ended") as told:
        run.log("loss", 1.0)
    assert (told[0].filename, len(told)) == (__file__, 1)
    run.log_metrics({"loss": 1.0})
    run.log_params({"lr": 1})
    run.flush()
    assert read_run(folder(run)) == before
    assert run.params == {}


def test_loggers_are_free_again_after_the_end(run: mlog.Run) -> None:
    run.complete()
    logging.getLogger("x").warning("to nobody", extra={"metric": {"a": 1}})
    assert not (folder(run) / "logs.jsonl").exists()
    assert mlog.current_run() is None


def test_the_end_is_recorded_though_the_summary_cannot_be(run: mlog.Run) -> None:
    """`run.json` is for convenience; the events tell how the run ended."""
    (folder(run) / "run.json").unlink()
    (folder(run) / "run.json").mkdir()
    run.complete()
    assert events(run, "run.end")[0]["status"] == "Completed"


def test_ending_a_run_whose_folder_is_gone_warns_and_goes_on(run: mlog.Run) -> None:
    run.log("x", 1)
    shutil.rmtree(folder(run))
    with pytest.warns(MlogWarning, match=r"were removed|are lost"):
        run.complete()
    assert run.status == "Completed"
    assert mlog.current_run() is None


def test_many_threads_may_end_a_run(run: mlog.Run) -> None:
    start = threading.Barrier(8)

    def end() -> None:
        start.wait()
        run.complete()

    threads = [threading.Thread(target=end) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events(run, "run.end")) == 1
    assert len(events(run, "writer.end")) == 1


def test_a_summary_counts_every_entry_once_while_the_keeper_looks(
    run: mlog.Run,
) -> None:
    """The keeper's thread and the end read the same file; one at a time."""
    done = threading.Event()

    def keep() -> None:
        while not done.is_set():
            run.keep(0.0)

    threads = [threading.Thread(target=keep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(2_000):
        run.log("x", number)
    run.complete()
    done.set()
    for thread in threads:
        thread.join()
    assert summary(run)["metrics"]["x"]["count"] == 2_000
    assert summary(run)["status"] == "Completed"


# --- the rest --------------------------------------------------------------------------


def test_repr_tells_which_run_it_is(run: mlog.Run) -> None:
    assert repr(run) == f"<Run test/{run.id} Running in {run.path}>"
    off = mlog.start_run("quiet", disabled=True)
    assert repr(off) == "<Run quiet/off Running>"


def test_current_run_is_that_of_the_context(run: mlog.Run) -> None:
    """In other threads it is the process's oldest run."""
    seen: list[mlog.Run | None] = []
    with mlog.start_run("inner") as inner:
        assert mlog.current_run() is inner
        thread = threading.Thread(target=lambda: seen.append(mlog.current_run()))
        thread.start()
        thread.join()
    assert seen == [run]


def test_tasks_have_runs_of_their_own() -> None:
    """Each asyncio task is a context: runs started in it are its own."""

    async def fit(name: str, go: asyncio.Event) -> mlog.Run:
        with mlog.start_run(name) as run:
            await go.wait()
            getLogger("t").info(metric={"x": len(name)})
            logging.getLogger("t").info("from %s", name)
        return run

    async def main() -> list[mlog.Run]:
        go = asyncio.Event()
        tasks = [asyncio.create_task(fit(n, go), name=n) for n in ("a", "bb", "ccc")]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*tasks)

    for run in asyncio.run(main()):
        (metric,) = metrics(run)
        (line,) = entries(folder(run), "logs")
        assert metric["metric"] == {"x": len(run.experiment)}
        assert line["msg"] == f"from {run.experiment}"
        assert line["task"] == run.experiment
    assert "MLOG_RUN" not in os.environ


def test_a_run_started_in_a_thread_is_everybodys() -> None:
    """It is the process's only run, so records of all threads are its own."""
    made: list[mlog.Run] = []
    thread = threading.Thread(target=lambda: made.append(mlog.start_run("thread")))
    thread.start()
    thread.join()
    (run,) = made
    logging.getLogger("x").info("from the main thread")
    run.complete()
    assert [e["msg"] for e in entries(folder(run), "logs")] == ["from the main thread"]


def test_fields_named_like_keys_of_an_entry_change_no_summary(run_dir: Path) -> None:
    log = getLogger("a")
    with mlog.start_run("e") as run:
        log.info(metric={"loss": 0.5}, extra={"ts": "2020", "metric": 1}, step=1)
        log.info(metric={"acc": 0.5}, extra={"k": {"ts": "x", "seq": 77}})
    assert run.path is not None
    end = [e for e in entries(run.path, "events") if e["event"] == "run.end"]
    assert set(end[0]["data"]["metrics"]) == {"loss", "acc"}
    assert lost(run.path) == {}


def test_a_run_that_is_removed_just_before_its_end_says_so(run_dir: Path) -> None:
    with mlog.start_run("e") as run:
        run.log("loss", 1)
        assert run.path is not None
        shutil.rmtree(run.path)
        run.log("loss", 2)
        with pytest.warns(mlog.MlogWarning, match=r"were removed|are lost"):
            run.complete()
    found = entries(run.path, "events")
    names = [entry["event"] for entry in found]
    assert names[0] == "writer.start"
    assert names[-1] == "writer.end"
    assert {"run.dropped", "run.end"} < set(names)


def test_any_key_makes_a_tag(run_dir: Path) -> None:
    with mlog.start_run("e") as run:
        run.tag([], 1)  # type: ignore[arg-type]
    assert run.tags == {"[]": "1"}
