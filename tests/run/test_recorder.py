"""What becomes of a record in a run: filters, memory, and code of others in between."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.errors import MlogWarning
from mlog.tap import getLogger
from tests.helpers import REPO, Entry, entries, gaps, lost, run_python

ENV = {"PYTHONPATH": str(REPO)}


@pytest.fixture(autouse=True)
def no_hidden_warnings(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test whose run warned where no warning was expected.

    Under `-W error` a warning of mlog's own goes to stderr instead of being raised.
    """
    yield
    assert "mlog: warning" not in capsys.readouterr().err


def logs(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "logs")


def said(run: mlog.Run) -> list[str]:
    return [entry["msg"] for entry in logs(run)]


def metrics(run: mlog.Run) -> list[Any]:
    assert run.path is not None
    return [entry["metric"] for entry in entries(run.path, "metrics")]


def dropped(run: mlog.Run) -> list[Any]:
    assert run.path is not None
    events = entries(run.path, "events")
    return [e["data"] for e in events if e["event"] == "run.dropped"]


# --- filters ---------------------------------------------------------------------------


def test_filters_decide_what_a_run_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Of lines and metrics alike; other handlers see them all the same."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    with mlog.start_run("e", filters=[lambda r: r.name != "b"]) as run:
        for name in ("a", "b"):
            logging.getLogger(name).info("line of %s", name)
            getLogger(name).info(metric={name: 1})
    assert said(run) == ["line of a"]
    assert metrics(run) == [{"a": 1}]
    assert "line of b\n" in capsys.readouterr().err


def test_a_metric_filter_chooses_metrics() -> None:
    with mlog.start_run("e", filters=[mlog.MetricFilter("train/*")]) as run:
        run.log("train/loss", 1)
        run.log("val/loss", 1)
        logging.getLogger("a").info("line")
    assert metrics(run) == [{"train/loss": 1}]
    assert not (run.path and (run.path / "logs.jsonl").exists())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace since 3.12")
def test_a_filter_may_replace_the_record() -> None:
    """For this run only: the record itself is everybody's."""

    def shorten(record: logging.LogRecord) -> logging.LogRecord:
        import copy

        short = copy.copy(record)
        short.msg, short.args = "replaced", ()
        return short

    with mlog.start_run("e", filters=[shorten]) as run:
        logging.getLogger("a").info("a long story of %s", "something")
        run.log("x", 1)
    assert said(run) == ["replaced"]


def test_a_filter_that_fails_costs_the_record_and_is_told() -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError("no")

    with mlog.start_run("e", filters=[broken]) as run:
        with pytest.warns(MlogWarning, match="are lost: ZeroDivisionError: no") as told:
            logging.getLogger("a").info("one")
        assert (told[0].filename, len(told)) == (__file__, 1)
        logging.getLogger("a").info("two")
    (told_to_file,) = dropped(run)
    assert (told_to_file["count"], told_to_file["reason"]) == (
        2,
        "ZeroDivisionError: no",
    )


# --- flight recorder -------------------------------------------------------------------


def test_a_flight_recorder_writes_the_lines_before_the_trouble() -> None:
    """Detail of the moments that matter only, oldest first, then the trouble."""
    with mlog.start_run("e", level="INFO", flight_recorder=2) as run:
        log = logging.getLogger("a")
        for number in range(4):
            log.debug("detail %d", number)
        assert not (run.path and (run.path / "logs.jsonl").exists())
        log.error("trouble")
        log.debug("after")
        log.error("more trouble")
    assert said(run) == ["detail 2", "detail 3", "trouble", "after", "more trouble"]
    assert gaps(run.path or "") == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_not_finite_is_trouble(value: float) -> None:
    with mlog.start_run("e", level="INFO", flight_recorder=10) as run:
        logging.getLogger("a").debug("detail")
        run.log("loss", 1.0)
        getLogger("a").debug(metric={"grad": 7})
        run.log("loss", value)
    assert said(run) == ["detail"]
    assert metrics(run) == [
        {"loss": 1.0},
        {"grad": 7},
        {"loss": metrics(run)[-1]["loss"]},
    ]
    assert metrics(run)[-1]["loss"] in ("NaN", "Infinity", "-Infinity")


def test_a_line_keeps_the_time_it_was_made() -> None:
    with mlog.start_run("e", level="INFO", flight_recorder=10) as run:
        logging.getLogger("a").debug("before")
        run.log("between", 1)
        logging.getLogger("a").error("trouble")
    assert run.path is not None
    (between,) = entries(run.path, "metrics")
    before, trouble = logs(run)
    assert before["ts"] <= between["ts"] <= trouble["ts"]


# --- records that log ------------------------------------------------------------------


def test_a_message_that_logs_is_kept_with_what_it_logs() -> None:
    """`__str__`, `__repr__` and `.item()` are code of others, and may log."""
    log = getLogger("a")

    class Chatty:
        def __str__(self) -> str:
            log.info("from str")
            return "shown"

        def __repr__(self) -> str:
            log.info("from repr")
            return "<shown>"

        def item(self) -> float:
            log.info("from item")
            return 2.0

    with mlog.start_run("e") as run:
        log.info("%s and %r", Chatty(), Chatty())
        log.info(Chatty())
        log.info(metric={"x": Chatty()})
    assert set(said(run)) == {
        "from str",
        "from repr",
        "shown and <shown>",
        "shown",
        "from item",
    }
    assert metrics(run) == [{"x": 2.0}]
    assert gaps(run.path or "") == {}


RECURSIVE: dict[str, str] = {
    "str": "log.info('%s', Evil())",
    "repr": "log.info('%r', Evil())",
    "message": "log.info(Evil())",
    "extra": "log.info('x', extra={'a': Evil()})",
    "metric": "log.info(metric={'a': Evil()})",
    "key": "log.info(metric={Evil(): 1})",
    "run.log": "run.log('a', Evil())",
    "tag": "run.tag('a', Evil())",
    "bind": "bound.__enter__(); log.info('x')",
}

EVIL = """
import logging, sys, mlog
from mlog.tap import getLogger
log = getLogger("a")
class Evil:
    def __str__(self):
        CALL
        return "evil"
    __repr__ = __str__
    def item(self):
        CALL
        return 1.0
    def __hash__(self): return 1
bound = mlog.bind(a=Evil())
"""


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("way", RECURSIVE)
def test_a_message_that_logs_itself_for_ever_ends_at_once(
    way: str, run_dir: Path
) -> None:
    """No RecursionError reaches the caller, and what follows is recorded."""
    call = RECURSIVE[way]
    inner = "log.info('again', extra={'a': self})" if way == "bind" else call
    inner = inner.replace("Evil()", "self")
    code = EVIL.replace("CALL", inner)
    code += f"run = mlog.start_run('e', run_id='r')\n{call}\nlog.info('still here')\n"
    if way == "bind":
        code = code.replace("log.info('still here')", "")
    done = run_python(code, env=ENV, warnings="ignore", timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    found = entries(run_dir / "e" / "r")
    assert len(found) < 2_000  # as deep as the stack is, if nothing else stops it
    if way != "bind":
        assert [e for e in found if e.get("msg") == "still here"]
    assert lost(run_dir / "e" / "r") == {}


@pytest.mark.parametrize("way", ["str", "message", "metric", "extra"])
def test_a_console_does_not_turn_it_into_a_hang(way: str, run_dir: Path) -> None:
    """Without mlog a console raises RecursionError here; with it, no worse."""
    call = RECURSIVE[way]
    code = EVIL.replace("CALL", call.replace("Evil()", "self"))
    code += f"""
logging.basicConfig(level=logging.INFO, stream=open("/dev/null", "w"))
logging.raiseExceptions = False
run = mlog.start_run('e', run_id='r')
try:
    {call}
except RecursionError:
    pass
log.info('still here')
"""
    done = run_python(code, env=ENV, warnings="ignore", timeout=10)
    assert done.returncode == 0
    assert "still here" in [e.get("msg") for e in entries(run_dir / "e" / "r", "logs")]


def test_a_call_near_the_end_of_the_stack_raises_nothing_of_mlogs(
    run_dir: Path,
) -> None:
    """Deep recursion of the program's own may log from its deepest point."""
    code = """
import contextlib, logging, mlog
log = logging.getLogger("a")
def dive(depth):
    try:
        return dive(depth + 1)
    except RecursionError:
        return depth
def log_from(left):
    if left:
        return log_from(left - 1)
    with contextlib.suppress(RecursionError):  # so near that any call raises it
        log.info("line")
run = mlog.start_run("e", run_id="r")
log.info("first")  # logging itself leaves its lock taken if this one is cut short
for left in range(5, 200):
    log_from(dive(0) - left)
log.info("still here")
"""
    done = run_python(code, env=ENV, warnings="ignore")
    assert (done.returncode, done.stderr) == (0, "")
    found = entries(run_dir / "e" / "r", "logs")
    assert found[-1]["msg"] == "still here"
    assert len(found) > 100
    assert lost(run_dir / "e" / "r") == {}


# --- signals ---------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no setitimer there")
def test_a_signal_handler_may_log_at_any_moment() -> None:
    """Also in the middle of a call on the same run: no deadlock, nothing lost."""
    log = getLogger("a")
    heard = 0

    def on_alarm(*_: object) -> None:
        nonlocal heard
        log.info("from the handler")
        log.info(metric={"signal": heard})
        heard += 1

    with mlog.start_run("e", segment_bytes=20_000) as run:
        before = signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            number = 0
            while heard < 50:
                log.info("line %d", number)
                log.info(metric={"x": number})
                run.tag("n", number)
                number += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    lines = said(run)
    assert [line for line in lines if line != "from the handler"] == [
        f"line {n}" for n in range(number)
    ]
    assert lines.count("from the handler") == heard
    assert sum("x" in m for m in metrics(run)) == number
    assert sum("signal" in m for m in metrics(run)) == heard
    assert gaps(run.path or "") == {}


CALLS = {
    "metric": "log.info(metric={'x': n}, step=n)",
    "line": "log.info('line %d', n)",
    "both": "log.info('line', metric={'x': n})",
    "run.log": "run.log('x', n)",
    "extra": "log.info('line', extra={'metric': {'x': n}, 'more': [n]})",
    "tag": "run.tag('n', n)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="no setitimer there")
@pytest.mark.parametrize("way", CALLS)
def test_ctrl_c_inside_a_call_leaves_explained_gaps_only(
    way: str, run_dir: Path
) -> None:
    """The call raises KeyboardInterrupt; a number it had taken is named."""
    code = f"""
import signal, mlog
from mlog.tap import getLogger
def interrupt(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
log = getLogger("a")
run = mlog.start_run("e", run_id="r")
def call(n): {CALLS[way]}
call(-1)
number = interrupted = 0
while interrupted < 60:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002 + number % 13 * 1e-5)
        while True:
            call(number)
            number += 1
    except KeyboardInterrupt:
        interrupted += 1
call(-2)
"""
    done = run_python(code, env=ENV, warnings="ignore")
    assert (done.returncode, done.stderr) == (0, "")
    assert lost(run_dir / "e" / "r") == {}


# --- the disk --------------------------------------------------------------------------


def test_what_the_disk_refuses_is_counted_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program goes on, and the file names what is missing when it can."""
    real, full = os.write, True

    def write(fd: int, line: bytes) -> int:
        if full and b'"metric"' in line:
            raise OSError(28, "No space left on device")
        return real(fd, line)

    with mlog.start_run("e") as run:
        run.log("x", 0)
        monkeypatch.setattr("mlog.segments._write", write)
        with pytest.warns(MlogWarning, match="are lost: No space left") as told:
            run.log("x", 1)
        run.log("x", 2)  # said once
        run.log("x", 3)
        assert (told[0].filename, len(told)) == (__file__, 1)
        full = False
        run.log("x", 4)
    assert [m["x"] for m in metrics(run)] == [0, 4]
    (note,) = dropped(run)
    assert (note["count"], note["reason"]) == (3, "No space left on device")
    assert lost(run.path or "") == {}


def test_records_of_many_threads_in_one_context_share_a_run() -> None:
    with mlog.start_run("e") as run:
        threads = [
            threading.Thread(target=logging.getLogger("a").info, args=("line %d", n))
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(said(run)) == sorted(f"line {n}" for n in range(20))


def test_what_a_message_logs_is_shown_once(run_dir: Path) -> None:
    """A `__str__` that logs is run for the entry and for the console; one shows it."""
    code = """
import logging, sys, mlog
from mlog.tap import getLogger
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
log = getLogger("a")
class Chatty:
    def __str__(self):
        log.info("inner")
        log.info(metric={"x": 1})
        return "outer"
with mlog.start_run("e", run_id="r"):
    log.info("%s", Chatty())
"""
    done = run_python(code, env=ENV)
    assert (done.stdout, done.stderr) == ("inner\nx=1\nouter\n", "")
    messages = [e.get("msg") for e in entries(run_dir / "e" / "r", "logs")]
    assert set(messages) == {"inner", "outer"}
