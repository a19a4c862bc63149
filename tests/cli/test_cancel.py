"""`mlog cancel`: ends scripts, and runs that nobody writes any more."""

import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import Submitted, submit
from mlog.reader.state import read_state
from mlog.run.launched import request_cancel
from mlog.run.start import start_run
from tests.cli.conftest import Mlog
from tests.helpers import run_python
from tests.launch.helpers import events, is_alive, pid_in, wait_until

Launch = Callable[..., Submitted]

HANG = """
import os, pathlib, signal, sys, time
{}
pathlib.Path("tmp").write_text(str(os.getpid()))
pathlib.Path("tmp").rename(sys.argv[1])
while True: time.sleep(0.05)
"""


@pytest.fixture
def launch(tmp_path: Path, run_dir: Path) -> Any:
    """Return a function that submits a script which goes on until it is ended."""
    submitted: list[Submitted] = []

    def start(begin: str = "") -> Submitted:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(HANG.format(begin))
        pid = tmp_path / f"pid{len(submitted)}"
        config = ScriptRunConfig(source, "train.py", [pid])
        submitted.append(submit(config, experiment="e", root=run_dir))
        wait_until(lambda: pid_in(pid), "the script runs")
        return submitted[-1]

    yield start
    for each in submitted:
        if is_alive(each.pid):
            request_cancel(each.folder, by="SIGKILL")
        wait_until(partial(_is_gone, each.pid), f"end of {each}")


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)


def test_it_returns_when_the_run_has_ended(mlog: Mlog, launch: Launch) -> None:
    run = launch()
    done = mlog("cancel", "latest")
    assert (done.exit_code, done.output) == (0, f"{run.run_id}: Canceled\n")
    assert read_state(run.folder).status == "Canceled"


def test_several_are_ended_and_told_as_json(mlog: Mlog, launch: Launch) -> None:
    first, second = launch(), launch()
    done = mlog("cancel", first.run_id, second.run_id, first.run_id, "--json")
    told = [json.loads(line) for line in done.output.splitlines()]
    assert told == [
        {
            "run": run.run_id,
            "folder": str(run.folder),
            "was": "Running",
            "status": "Canceled",
        }
        for run in (first, second)
    ]


def test_it_need_not_wait(mlog: Mlog, launch: Launch) -> None:
    run = launch()
    done = mlog("cancel", run.run_id, "--no-wait")
    assert (done.exit_code, done.output) == (0, f"{run.run_id}: CancelRequested\n")
    wait_until(lambda: not is_alive(run.pid), "the run ends")
    assert read_state(run.folder).status == "Canceled"


def test_kill_leaves_no_time(mlog: Mlog, launch: Launch) -> None:
    run = launch("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert mlog("cancel", run.run_id, "--kill").exit_code == 0
    (end,) = events(run.folder, "run.end")
    assert end["error"] == {"msg": "cancelled on request", "exit_code": -9}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_script_without_a_supervisor_is_ended(
    mlog: Mlog, launch: Launch, tmp_path: Path
) -> None:
    """One that goes on although it was told to end when the supervisor died."""
    run = launch("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    script = pid_in(tmp_path / "pid0")
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(run.pid), "the supervisor is gone")
    assert is_alive(script)
    done = mlog("cancel", run.run_id, "--kill")
    assert done.output == (
        f"{run.run_id}: Canceled; ended what it had left running: {script}\n"
    )
    assert not is_alive(script)
    assert read_state(run.folder).status == "Canceled"


def test_a_run_that_does_not_respond_gets_an_end(mlog: Mlog, run_dir: Path) -> None:
    code = "import mlog, os; mlog.start_run('e'); os._exit(0)"
    assert run_python(code).returncode == 0
    done = mlog("cancel", "latest")
    assert done.exit_code == 0, done.stderr
    assert done.output.endswith(": Canceled\n")


def test_an_ended_run_is_refused(mlog: Mlog) -> None:
    start_run("e", run_id="old").complete()
    done = mlog("cancel", "old")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "mlog: run old has ended already: Completed\n"


def test_a_run_of_a_program_is_that_programs_affair(mlog: Mlog) -> None:
    start_run("e", run_id="mine")
    done = mlog("cancel", "mine")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"it is written by process {os.getpid()} on " in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), 2, "Missing argument 'RUN...'"),
        (("nobody",), 1, "no runs yet"),
    ],
)
def test_a_wrong_call_is_told(
    mlog: Mlog, args: tuple[str, ...], code: int, text: str
) -> None:
    done = mlog("cancel", *args)
    assert done.exit_code == code
    assert text in done.stderr
