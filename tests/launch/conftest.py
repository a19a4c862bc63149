"""A fixture that submits scripts and leaves no process behind."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import Submitted, submit
from mlog.run.launched import request_cancel
from tests.launch.helpers import events, is_alive, wait_until

Launch = Callable[..., Submitted]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return an empty folder for sources."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def launch(source: Path, run_dir: Path) -> Iterator[Launch]:
    """Return a function that submits a program text as `train.py`."""
    submitted: list[Submitted] = []

    def start(
        code: str = "",
        *arguments: Any,
        config: dict[str, Any] | None = None,
        **options: Any,
    ) -> Submitted:
        (source / "train.py").write_text(code)
        what = dict(config or {})
        if "command" not in what:
            what |= {"script": "train.py", "arguments": list(arguments)}
        options.setdefault("experiment", "scripts")
        options.setdefault("root", run_dir)
        submitted.append(submit(ScriptRunConfig(source, **what), **options))
        return submitted[-1]

    yield start
    for run in submitted:
        _end(run)


@pytest.fixture
def finished(launch: Launch) -> Callable[..., Path]:
    """Return a function like `launch` that waits for the end; returns the folder."""

    def start(*args: Any, **options: Any) -> Path:
        run = launch(*args, **options)
        wait_for_end(run)
        return run.folder

    return start


def _pyenv(version: str) -> str:
    """Return a Python of a version that pyenv has installed, or skip."""
    found = sorted(
        Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python")
    )
    if not found:
        pytest.skip(f"there is no Python {version} of pyenv here")
    return str(found[-1])


@pytest.fixture
def python310() -> str:
    """Return a Python that is too old for mlog."""
    return _pyenv("3.10")


@pytest.fixture
def another_python() -> str:
    """Return a Python that mlog runs on, whichever runs the tests."""
    return _pyenv("3.12" if sys.version_info[:2] != (3, 12) else "3.13")


def wait_for_end(run: Submitted) -> None:
    """Wait until a run has ended and its supervisor is gone."""
    wait_until(lambda: not is_alive(run.pid), f"end of {run}")
    assert events(run.folder, "run.end"), "the supervisor has left no end"


def _end(run: Submitted) -> None:
    if is_alive(run.pid):
        request_cancel(run.folder)
    wait_until(lambda: not is_alive(run.pid), f"end of {run}")
    for data in events(run.folder, "run.status"):
        if data["status"] == "Running" and is_alive(data["pid"]):
            os.killpg(data["pid"], signal.SIGKILL)
            pytest.fail(f"{run} has left its script behind")
