"""Handlers for files of the user's own."""

import errno
import gc
import json
import logging
import logging.config
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog import segments
from mlog.handlers import FlightRecorderHandler, JSONLHandler
from mlog.logger import always
from tests.helpers import Entry, entries, run_python

MakeRecord = Callable[..., logging.LogRecord]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own.jsonl"


def use(handler: logging.Handler, name: str = "own") -> mlog.MetricLogger:
    """Return a logger with just this handler."""
    logger = mlog.getLogger(name)
    logger.addHandler(handler)
    logger.propagate = False
    return logger


# --- JSONLHandler ------------------------------------------------------------------


def test_nothing_is_opened_before_the_first_record(path: Path) -> None:
    logger = use(JSONLHandler(path))
    assert not path.exists()
    logger.warning("now")
    assert [entry["msg"] for entry in entries(path)] == ["now"]


def test_every_record_is_a_line_when_the_call_returns(path: Path) -> None:
    logger = use(JSONLHandler(path))
    logger.setLevel(logging.DEBUG)
    for step in range(5):
        logger.debug("step %d", step, metric={"loss": step / 2}, step=step)
        assert entries(path)[-1]["step"] == step


def test_metrics_at_info_are_written_whatever_levels_say(path: Path) -> None:
    handler = JSONLHandler(path)
    logger = use(handler)
    logger.setLevel(logging.ERROR)
    logging.disable(logging.CRITICAL)
    logger.disabled = True
    logger.info(metric={"loss": 0.5}, step=1)
    logger.debug(metric={"hidden": 1})
    logger.warning("a line obeys")
    assert [entry["metric"] for entry in entries(path)] == [{"loss": 0.5}]


def test_the_handlers_own_level_holds_for_metrics_too(path: Path) -> None:
    logger = use(JSONLHandler(path, level="WARNING"))
    logger.info(metric={"loss": 0.5})
    logger.warning(metric={"loss": 0.6})
    assert [entry["metric"] for entry in entries(path)] == [{"loss": 0.6}]


def test_metrics_reach_the_handler_by_propagation_only(path: Path) -> None:
    use(JSONLHandler(path), "own")
    mlog.getLogger("own.child").info(metric={"a": 1})
    mlog.getLogger("own.apart").propagate = False
    mlog.getLogger("own.apart").info(metric={"b": 1})
    assert [entry["metric"] for entry in entries(path)] == [{"a": 1}]


def test_no_warning_about_a_missing_run_where_a_handler_takes_metrics(
    path: Path,
) -> None:
    use(JSONLHandler(path)).info(metric={"a": 1})
    assert len(entries(path)) == 1


def test_a_file_that_is_there_is_appended_to_and_keeps_its_mode(path: Path) -> None:
    path.write_text('{"old": 1}\n')
    path.chmod(0o644)
    use(JSONLHandler(path)).warning("new")
    assert len(entries(path)) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(("mode", "bits"), [("private", 0o600), ("group", 0o660)])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_new_file_has_the_mode_asked_for_under_any_umask(
    path: Path, mode: Any, bits: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        use(JSONLHandler(path, mode=mode)).warning("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == bits


def test_an_unknown_mode_is_refused_when_it_is_made(path: Path) -> None:
    with pytest.raises(ValueError, match="'private' or 'group', got 'public'"):
        JSONLHandler(path, mode="public")  # type: ignore[arg-type]


def test_a_closed_handler_opens_again_and_leaves_no_trace(path: Path) -> None:
    """`dictConfig` closes handlers that are still attached somewhere."""
    handler = JSONLHandler(path)
    logger = use(handler)
    logger.warning("one")
    handler.close()
    logger.warning("two")
    assert [entry["msg"] for entry in entries(path)] == ["one", "two"]
    logger.removeHandler(handler)
    del handler
    gc.collect()
    assert not [ref for ref in always if ref() is not None]


def test_threads_share_a_file_without_torn_lines(path: Path) -> None:
    logger = use(JSONLHandler(path))

    def work(name: int) -> None:
        for step in range(500):
            logger.warning("x" * 500, metric={"loss": 1.0}, step=name * 500 + step)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry["step"] for entry in entries(path)) == list(range(2000))


def test_a_file_that_cannot_be_opened_goes_to_handle_error_not_to_the_caller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(JSONLHandler(tmp_path / "missing" / "own.jsonl")).warning("x")
    assert "FileNotFoundError" in capsys.readouterr().err


def test_a_line_cut_short_is_written_whole_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake `os.write`: a disk that is full for one write cannot be had on demand."""
    write = os.write
    outcomes = [None, 20, None, None]

    def fake(fd: int, data: bytes) -> int:
        size = outcomes.pop(0)
        return write(fd, data if size is None else data[:size])

    monkeypatch.setattr(segments, "_write", fake)
    logger = use(JSONLHandler(path))
    for word in ("one", "two", "three"):
        logger.warning(word)
    lines = path.read_text().splitlines()
    assert len(lines) == 4
    assert len(lines[1]) == 20
    whole: list[Entry] = [json.loads(line) for n, line in enumerate(lines) if n != 1]
    assert [entry["msg"] for entry in whole] == ["one", "two", "three"]


def test_a_full_disk_is_no_exception_of_the_caller(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fake `os.write`, as above."""

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments, "_write", full)
    use(JSONLHandler(path)).warning("x")
    assert "No space left" in capsys.readouterr().err


def test_a_line_survives_sigkill(path: Path) -> None:
    code = (
        "import logging, os, signal, sys, mlog\n"
        "logging.basicConfig(handlers=[mlog.JSONLHandler(sys.argv[1])])\n"
        "logging.getLogger('x').info(metric={'loss': 0.5})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run_python(code, str(path))
    assert done.returncode == -9, done.stderr
    assert [entry["metric"] for entry in entries(path)] == [{"loss": 0.5}]


def test_dict_config_makes_the_handler(path: Path) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"train": {"()": "mlog.MetricFilter", "names": "train/*"}},
            "handlers": {
                "file": {
                    "class": "mlog.JSONLHandler",
                    "filename": str(path),
                    "static_fields": {"service": "trainer"},
                    "filters": ["train"],
                },
            },
            "loggers": {"own": {"handlers": ["file"], "propagate": False}},
        }
    )
    mlog.getLogger("own").info(metric={"train/loss": 0.5})
    mlog.getLogger("own").info(metric={"val/loss": 0.5})
    found = entries(path)
    assert [entry["metric"] for entry in found] == [{"train/loss": 0.5}]
    assert found[0]["service"] == "trainer"


# --- FlightRecorderHandler ---------------------------------------------------------


class Kept(logging.Handler):
    """Keeps messages; a plain handler of nobody's."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_records_are_handed_on_when_trouble_comes() -> None:
    target = Kept()
    logger = use(FlightRecorderHandler(target, capacity=3))
    logger.setLevel(logging.DEBUG)
    for step in range(5):
        logger.debug("step %d", step)
    assert target.messages == []
    logger.error("trouble")
    assert target.messages == ["step 3", "step 4", "trouble"]
    logger.debug("quiet again")
    assert len(target.messages) == 3


def test_a_metric_that_is_not_finite_is_trouble() -> None:
    target = Kept()
    logger = use(FlightRecorderHandler(target))
    logger.setLevel(logging.DEBUG)
    logger.info(metric={"loss": 0.5})
    logger.info(metric={"loss": float("nan")})
    assert target.messages == ["loss=0.5", "loss=nan"]


def test_the_target_may_be_a_file(path: Path) -> None:
    handler = FlightRecorderHandler(trigger="WARNING")
    handler.setTarget(JSONLHandler(path))
    logger = use(handler)
    logger.setLevel(logging.DEBUG)
    logger.debug("before %s", "it")
    logger.warning("it")
    assert [entry["msg"] for entry in entries(path)] == ["before it", "it"]


def test_capacity_must_be_positive() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        FlightRecorderHandler(capacity=0)


def test_a_flight_recorder_never_raises_into_the_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError("broken")

    logger = use(FlightRecorderHandler(Broken()))
    logger.error("x")
    assert "broken" in capsys.readouterr().err
