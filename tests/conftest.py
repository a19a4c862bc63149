"""Fixtures for all tests: logging and environment as found, a root, records, a clock."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from mlog import errors
from mlog.tap import is_installed, uninstall
from mlog.testing import end_all_runs
from tests.helpers import FakeClock
from tests.http_server import Server, serving

# No deadline for a single example: a busy machine is no bug.
settings.register_profile("mlog", settings(), deadline=None)
settings.load_profile("mlog")

if os.environ.get("PYTEST_XDIST_WORKER"):
    # Workers ignore Ctrl-C, and what they start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_LAUNCHERS = ("MLOG_", "_MLOG_", "SLURM_", "TORCHELASTIC_")
_RANKS = ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


@pytest.fixture(autouse=True)
def clean_environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test start outside any job and run, with a root of its own."""
    for name in list(os.environ):
        if name.startswith(_LAUNCHERS) or name in _RANKS:
            monkeypatch.delenv(name)
    for name in ("COLUMNS", "LINES"):  # set by some who run pytest
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOG_DIR", str(tmp_path / "mlog-root"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def restore_logging(clean_environ: None) -> Iterator[None]:
    """Put `logging` back as it was, end runs left open, forget what was warned about.

    Comes after `clean_environ`, so that runs end in the environment they began in.
    """
    loggers = {logger: _state(logger) for logger in _loggers()}
    handlers = set(_handlers())
    logger_class = logging.getLoggerClass()
    factory = logging.getLogRecordFactory()
    disable, last_resort = logging.root.manager.disable, logging.lastResort
    raise_exceptions = logging.raiseExceptions
    yield
    if "mlog.run.api" in sys.modules:  # else there never was a run
        end_all_runs()
    while is_installed():
        uninstall()
    logging.captureWarnings(False)
    logging.raiseExceptions = raise_exceptions
    logging.lastResort = last_resort
    logging.setLogRecordFactory(factory)
    logging.setLoggerClass(logger_class)
    made = set(_handlers()) - handlers
    for logger in _loggers():
        _restore(logger, loggers.get(logger) or _unused(logger))
    for handler in made:
        handler.close()
    logging.disable(disable)  # also clears what loggers remember of levels
    errors._told.clear()


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(x for x in known if isinstance(x, logging.Logger))]


def _handlers() -> list[logging.Handler]:
    return [handler for logger in _loggers() for handler in logger.handlers]


def _state(logger: logging.Logger) -> dict[str, Any]:
    return {
        "__class__": type(logger),
        "level": logger.level,
        "handlers": list(logger.handlers),
        "filters": list(logger.filters),
        "propagate": logger.propagate,
        "disabled": logger.disabled,
    }


def _unused(logger: logging.Logger) -> dict[str, Any]:
    """Return the state of a new logger; libraries give theirs a NullHandler."""
    quiet = [h for h in logger.handlers if isinstance(h, logging.NullHandler)]
    return {
        "__class__": type(logger),
        "level": logging.NOTSET,
        "handlers": quiet,
        "filters": [],
        "propagate": True,
        "disabled": False,
    }


def _restore(logger: logging.Logger, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(logger, name, value)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return the root that runs of this test go to (`MLOG_DIR`)."""
    return tmp_path / "mlog-root"


@pytest.fixture
def fake_clock() -> FakeClock:
    """Return a clock that moves only when told."""
    return FakeClock()


@pytest.fixture
def make_record() -> Callable[..., logging.LogRecord]:
    """Return a maker of stock records: `make_record("loss is %s", 0.3, fold=2)`."""

    def make(
        msg: object = "hello",
        *args: object,
        name: str = "test",
        level: int = logging.INFO,
        exc_info: Any = None,
        **extra: object,
    ) -> logging.LogRecord:
        record = logging.LogRecord(
            name, level, __file__, 1, str(msg), args, exc_info, "caller"
        )
        record.__dict__.update(extra, msg=msg)
        return record

    return make


@pytest.fixture
def server() -> Iterator[Server]:
    """Return an HTTP server that takes everything."""
    with serving() as made:
        yield made
