"""For test suites of users: fixtures that keep runs out of the way, and in sight.

pytest finds them by itself once mlog is installed; other tools call `isolated`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["end_all_runs", "isolated", "mlog_root", "mlog_run", "read_entries"]


@pytest.fixture
def mlog_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test a root of its own; runs it leaves open are ended."""
    root = tmp_path / "mlog"
    with isolated(root):
        yield root


@pytest.fixture
def mlog_run(mlog_root: Path) -> Iterator[object]:
    """Give the test an open, strict run in a root of its own."""
    from mlog.run.start import start_run

    with start_run("test", strict=True) as run:
        yield run


@contextlib.contextmanager
def isolated(root: str | os.PathLike[str]) -> Iterator[Path]:
    """Make every run started inside the block go to `root`, and end with it.

    The environment is put back as it was. Not for several threads at once.
    """
    names = ("MLOG_DIR", "MLOG_RUN", "MLOG_MODE", "_MLOG_RANK_PID")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ["MLOG_DIR"] = os.fspath(root)
    try:
        yield Path(root)
    finally:
        end_all_runs()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def end_all_runs() -> None:
    """Cancel every run this process has open, and forget handlers' pending ones."""
    from mlog import context
    from mlog.run.api import run_of

    for receiver in reversed(context.receivers()):
        run = run_of(receiver)
        if run is not None:
            run.cancel()
        context.remove_receiver(receiver)
    context.set_receiver(None)
    context.set_step(None)


def read_entries(
    folder: str | os.PathLike[str], stream: str = "*"
) -> list[dict[str, object]]:
    """Return the entries of a run's folder in order of file and line.

    Args:
        folder: The run's, as in `run.path`.
        stream: "metrics", "logs" or "events"; "*": all.
    """
    import orjson

    found: list[dict[str, object]] = []
    for path in sorted(Path(folder).glob(f"{stream}*.jsonl")):
        whole = path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        found.extend(orjson.loads(line) for line in whole.splitlines())
    return found
