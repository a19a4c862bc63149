"""`mlog.basicConfig` and the console it makes."""

import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.config import ConsoleHandler
from tests.helpers import REPO, FakeClock, entries, run_python

ENV = {"PYTHONPATH": str(REPO)}


@pytest.fixture
def console(fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what a console on root at INFO shows."""
    monkeypatch.setattr("time.localtime", lambda *_: (2026, 1, 1, 12, 0, 0, 0, 1, 0))
    stream = io.StringIO()
    logging.root.addHandler(ConsoleHandler(stream, clock=fake_clock))
    logging.root.setLevel(logging.INFO)
    return stream


def shown(console: io.StringIO) -> list[str]:
    """Return the lines without the time."""
    return [line.split(" ", 1)[1] for line in console.getvalue().splitlines()]


# --- the console -----------------------------------------------------------------------


def test_bare_metrics_are_shown_once_a_second(
    console: io.StringIO, fake_clock: FakeClock
) -> None:
    """They come every step; a terminal is for reading."""
    log = mlog.getLogger("fit")
    with mlog.start_run("e") as run:
        for step in range(25):
            log.info(metric={"loss": step / 10}, step=step)
            fake_clock.advance(0.1)
    assert shown(console) == [
        "INFO    fit: loss=0 step=0",
        "INFO    fit: loss=1 step=10",
        "INFO    fit: loss=2 step=20",
    ]
    assert run.path is not None
    assert len(entries(run.path, "metrics")) == 25


def test_each_logger_has_its_second(console: io.StringIO) -> None:
    with mlog.start_run("e"):
        for name in ("a", "b", "a", "b"):
            mlog.getLogger(name).info(metric={"x": 1})
    assert shown(console) == ["INFO    a: x=1", "INFO    b: x=1"]


def test_metrics_with_a_message_are_all_shown(console: io.StringIO) -> None:
    with mlog.start_run("e"):
        for epoch in range(3):
            mlog.getLogger("fit").info("epoch %d", epoch, metric={"acc": 0.5})
    assert shown(console) == [f"INFO    fit: epoch {n}  acc=0.5" for n in range(3)]


def test_lines_are_all_shown(console: io.StringIO) -> None:
    for number in range(3):
        logging.getLogger("a").warning("line %d", number)
    assert shown(console) == [f"WARNING a: line {n}" for n in range(3)]


def test_metrics_of_records_from_a_factory_are_limited_too(
    console: io.StringIO,
) -> None:
    """Somebody's own record factory makes stock records."""
    logging.setLogRecordFactory(lambda *args, **kw: logging.LogRecord(*args, **kw))
    with mlog.start_run("e"):
        for _ in range(3):
            mlog.getLogger("a").info(metric={"x": 1})
    assert shown(console) == ["INFO    a: x=1"]


# --- basicConfig -----------------------------------------------------------------------


def bare_root() -> None:
    """Leave root without handlers, as in a script; pytest adds some to each test."""
    logging.root.handlers.clear()


def test_basic_config_starts_a_run_and_shows_lines(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare_root()
    with mlog.basicConfig("mnist", params={"lr": 1}) as run:
        logging.getLogger("a").info("shown")
        logging.getLogger("a").debug("recorded")
    assert run.path is not None
    assert [e["msg"] for e in entries(run.path, "logs")] == ["shown", "recorded"]
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"mlog: run {run.id[-6:]} → {run.path}"
    assert second.endswith("INFO    a: shown")
    assert run.params == {"lr": 1}


@pytest.mark.parametrize(("value", "said"), [("1", 0), ("yes", 0), ("0", 1), ("", 1)])
def test_quiet_says_nothing(
    value: str,
    said: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare_root()
    monkeypatch.setenv("MLOG_QUIET", value)
    mlog.basicConfig("e").complete()
    assert capsys.readouterr().err.count("mlog: run") == said


def test_a_run_that_is_off_is_not_announced(capsys: pytest.CaptureFixture[str]) -> None:
    bare_root()
    mlog.basicConfig("e", disabled=True).complete()
    assert capsys.readouterr().err == ""


def test_start_run_itself_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever started it knows where it is."""
    bare_root()
    mlog.start_run("e").complete()
    assert capsys.readouterr() == ("", "")


def test_handlers_that_are_there_are_left_alone() -> None:
    """As `logging.basicConfig` does; the run is started in any case."""
    bare_root()
    mine = logging.StreamHandler(io.StringIO())
    logging.root.addHandler(mine)
    logging.root.setLevel(logging.ERROR)
    with mlog.basicConfig("e") as run:
        assert logging.root.handlers == [mine]
        assert logging.root.level == logging.ERROR
    assert run.status == "Completed"


def test_force_replaces_them() -> None:
    bare_root()
    closed: list[logging.Handler] = []

    class Mine(logging.Handler):
        def close(self) -> None:
            closed.append(self)
            super().close()

    mine = Mine()
    logging.root.addHandler(mine)
    with mlog.basicConfig("e", force=True):
        assert closed == [mine]
        assert [type(h) for h in logging.root.handlers] == [ConsoleHandler]


def test_the_console_can_be_another_stream_or_none() -> None:
    bare_root()
    stream = io.StringIO()
    with mlog.basicConfig("e", console=stream):
        logging.getLogger("a").info("here")
    assert stream.getvalue().endswith("a: here\n")
    logging.root.handlers.clear()
    with mlog.basicConfig("e", console=False):
        assert logging.root.handlers == []


@pytest.mark.parametrize(
    ("before", "console_level", "after"),
    [
        (logging.WARNING, "INFO", logging.INFO),
        (logging.WARNING, "ERROR", logging.WARNING),
        (logging.DEBUG, "INFO", logging.DEBUG),
        (logging.NOTSET, "INFO", logging.NOTSET),
    ],
)
def test_roots_level_is_lowered_only_as_far_as_the_console_needs(
    before: int, console_level: str, after: int
) -> None:
    bare_root()
    logging.root.setLevel(before)
    with mlog.basicConfig("e", console_level=console_level):
        assert logging.root.level == after


@pytest.mark.parametrize(
    "wrong",
    [{"console_level": "LOUD"}, {"level": "LOUD"}, {"mode": "public"}, {"no": 1}],
)
def test_a_wrong_argument_changes_nothing(wrong: dict[str, Any]) -> None:
    bare_root()
    mine = logging.NullHandler()
    logging.root.addHandler(mine)
    with pytest.raises((ValueError, TypeError)):
        mlog.basicConfig("e", force=True, **wrong)
    assert logging.root.handlers == [mine]
    assert mlog.current_run() is None


def test_a_script_in_one_line(run_dir: Path) -> None:
    """What a user sees: where the run is, then the program's lines."""
    code = """
import logging, mlog
mlog.basicConfig("e")
log = mlog.getLogger("fit")
log.info("starting")
for step in range(100):
    log.info(metric={"loss": 1 / (step + 1)}, step=step)
log.debug("not on the console")
log.warning("done\\x1b[31m")
"""
    done = run_python(code, env={**ENV, "TERM": "xterm"})
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (0, "")
    (folder,) = (run_dir / "e").iterdir()
    assert lines[0] == f"mlog: run {folder.name[-6:]} → {folder}"
    assert [line[9:] for line in lines[1:3]] == [
        "INFO    fit: starting",
        "INFO    fit: loss=1 step=0",
    ]
    assert lines[-1][9:] == "WARNING fit: done\\x1b[31m"
    assert len(lines) < 20
    assert len(entries(folder, "metrics")) == 100


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_any_encoding_of_the_console_will_do(encoding: str, tmp_path: Path) -> None:
    code = 'import mlog; mlog.basicConfig("e"); mlog.getLogger("a").info("Größe → ∞")'
    env = {**ENV, "PYTHONIOENCODING": encoding}
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr.startswith(b"mlog: run ")
    assert b"Traceback" not in done.stderr
