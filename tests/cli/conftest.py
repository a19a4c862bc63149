"""What tests of commands share: child processes, and a run to look at."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from mlog.cli import cli
from tests.helpers import REPO

Mlog: TypeAlias = Callable[..., Result]
Child: TypeAlias = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def mlog() -> Mlog:
    """Call a command in this process; returns exit code, stdout and stderr."""

    def call(*args: str, **kwargs: Any) -> Result:
        return CliRunner().invoke(cli, args, prog_name="mlog", **kwargs)

    return call


@pytest.fixture
def start() -> Iterator[Child]:
    """Start Python in children that are ended with the test."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(*args: str, **options: Any) -> "subprocess.Popen[bytes]":
        env = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONIOENCODING": "utf-8"}
        env |= options.pop("env", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        made: Any = subprocess.Popen([sys.executable, *args], env=env, **options)
        child: subprocess.Popen[bytes] = made
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            with contextlib.suppress(OSError):  # unsent input
                if stream is not None:
                    stream.close()


@pytest.fixture
def make_run(run_dir: Path) -> Callable[..., Path]:
    """Make a run folder with some files."""

    def make(run_id: str, *names: str, experiment: str = "mnist") -> Path:
        folder = run_dir / experiment / run_id
        folder.mkdir(parents=True)
        for name in names or ("events.jsonl",):
            (folder / name).touch()
        return folder

    return make
