"""For test suites of users: fixtures that keep runs out of the way, and in sight.

pytest finds the fixtures `mlog_root` and `mlog_run` by itself once mlog is installed
(`-p no:mlog` leaves them out); a suite that does not use them runs as it would without.
Other tools, which need no pytest, call `isolated`.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from mlog import context
from mlog.layout import parse_segment
from mlog.tap import clear_level_caches
from mlog.types import Stream

if TYPE_CHECKING:
    from mlog.run.api import Run
    from mlog.shipping.check import MemorySink, check_sink

__all__ = [
    "MemorySink",
    "check_sink",
    "end_all_runs",
    "isolated",
    "mlog_root",
    "mlog_run",
    "read_entries",
]

_VARIABLES = ("MLOG_DIR", "MLOG_RUN", "MLOG_MODE", "MLOG_REMOTE", "_MLOG_RANK_PID")

_F = TypeVar("_F", bound=Callable[..., object])


def __getattr__(name: str) -> Any:
    """Import what is for writers of sinks when it is first used: few are."""
    if name not in ("MemorySink", "check_sink"):
        raise AttributeError(f"module 'mlog.testing' has no attribute {name!r}")
    from mlog.shipping import check

    return getattr(check, name)


def _fixture(function: _F) -> _F:
    """Make a pytest fixture of a function, where there is pytest."""
    try:
        import pytest
    except ModuleNotFoundError:
        return function
    return cast(_F, pytest.fixture(function))


@_fixture
def mlog_root(tmp_path: Path) -> Iterator[Path]:
    """Give the test a root of its own; runs it leaves open are ended."""
    with isolated(tmp_path / "mlog") as root:
        yield root


@_fixture
def mlog_run(mlog_root: Path) -> "Iterator[Run]":
    """Give the test an open, strict run in a root of its own."""
    from mlog.run.start import start_run

    with start_run("test", strict=True) as run:
        yield run


@contextlib.contextmanager
def isolated(root: str | os.PathLike[str]) -> Iterator[Path]:
    """Make every run started inside the block go to `root`, and end with it.

    Inside, no run that was open before takes any record or becomes a parent; after
    it, all is as it was, environment included. Runs with a `dir=` of their own go
    there. Not for several threads at once.

    Args:
        root: Need not exist; made with the first run.

    Yields:
        The root, absolute.
    """
    path = Path(root).absolute()
    environment = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ["MLOG_DIR"] = str(path)
    scope = context.scope()
    hidden, pending = _hide_runs()
    try:
        yield path
    finally:
        _end([r for r in context.receivers() if r not in pending])
        _end_visits()
        for receiver in hidden:
            if receiver.is_open:
                context.add_receiver(receiver)
        context.set_receiver(scope.run)
        context.set_step(scope.step)
        clear_level_caches()
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def end_all_runs() -> None:
    """Cancel every run this process has open, and forget handlers' pending ones."""
    _end(context.receivers())
    context.set_receiver(None)
    context.set_step(None)
    _end_visits()


def read_entries(
    folder: str | os.PathLike[str], stream: Stream | None = None
) -> list[dict[str, object]]:
    """Return the entries of a run's folder in order of file and line.

    Args:
        folder: The run's, as in `run.path`.
        stream: "metrics", "logs" or "events". None: all.

    Raises:
        ValueError: There is no such stream, or a line is no JSON.
        OSError: The folder cannot be read.
    """
    import orjson

    if stream is not None and stream not in get_args(Stream):
        expected = ", ".join(map(repr, get_args(Stream)))
        raise ValueError(f"stream must be one of {expected} or None, got {stream!r}")
    names = map(parse_segment, os.listdir(folder))
    found = [n for n in names if n is not None and stream in (None, n.stream)]
    found.sort(key=lambda name: (name.stream, name.writer, name.number))
    entries: list[dict[str, object]] = []
    for name in found:
        whole, _, _ = (Path(folder) / name.filename).read_bytes().rpartition(b"\n")
        entries += [orjson.loads(line) for line in whole.split(b"\n") if line]
    return entries


def _hide_runs() -> tuple[list[context.Receiver], list[context.Receiver]]:
    """Take all open runs out of the tap's sight.

    Returns:
        The runs, and what stays: handlers whose run has not begun.
    """
    hidden: list[context.Receiver] = []
    pending: list[context.Receiver] = []
    for receiver in context.receivers():
        (hidden if _run_of(receiver) is not None else pending).append(receiver)
    for receiver in hidden:
        context.remove_receiver(receiver)
    context.set_receiver(None)
    context.set_step(None)
    clear_level_caches()
    return hidden, pending


def _end(receivers: list[context.Receiver]) -> None:
    """Cancel the runs of receivers, the innermost first, and forget them."""
    for receiver in reversed(receivers):
        run = _run_of(receiver)
        if run is not None:
            run.cancel()
        context.remove_receiver(receiver)


def _run_of(receiver: context.Receiver) -> "Run | None":
    """Return a receiver's run; imported only where there are receivers."""
    from mlog.run.api import run_of

    return run_of(receiver)


def _end_visits() -> None:
    """Close what was opened to add to finished runs."""
    joining = sys.modules.get("mlog.run.joining")
    if joining is not None:
        joining.end_visits()
