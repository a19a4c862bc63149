"""Which processes there are, and what becomes of them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlog.launch.processes import living_below, living_in_session, living_of_run
from mlog.run.launched import request_cancel
from tests.launch.conftest import Launch, wait_for_end
from tests.launch.helpers import (
    HANG,
    events,
    is_alive,
    pid_in,
    printed,
    statuses,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

Finished = Callable[..., Path]

AWAY = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "hang.py", sys.argv[1]], start_new_session=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


def test_processes_show_where_they_belong() -> None:
    code = "import sys; sys.stdin.read()"
    env = {**os.environ, "MLOG_RUN": "/no/such/run"}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=env,
    ) as child:
        (found,) = living_in_session(child.pid)
        assert (found.pid, found.parent, found.group) == (
            *(child.pid, os.getpid(), child.pid),
        )
        assert child.pid in [process.pid for process in living_below(os.getpid())]
        wait_until(lambda: living_of_run(Path("/no/such/run")), "it has started")
        assert [p.pid for p in living_of_run(Path("/no/such/run"))] == [child.pid]
        assert living_of_run(Path("/no/such")) == []
    assert living_in_session(child.pid) == []


def test_a_group_of_its_own_is_still_the_scripts(
    launch: Launch, source: Path, tmp_path: Path
) -> None:
    """As `timeout` and shells with job control make one."""
    (source / "hang.py").write_text(HANG)
    code = """
import subprocess, sys
subprocess.run([sys.executable, "hang.py", sys.argv[1]], process_group=0)
"""
    run = launch(code, tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the grandchild runs")
    assert request_cancel(run.folder)
    wait_for_end(run)
    assert not is_alive(pid_in(tmp_path / "pid"))


def test_a_cancelled_script_takes_with_it_what_has_left_its_session(
    launch: Launch, source: Path, tmp_path: Path
) -> None:
    """As torchrun's ranks have; nobody else would end them."""
    (source / "hang.py").write_text(HANG)
    run = launch(AWAY + "while True: time.sleep(0.05)", tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the grandchild runs")
    assert request_cancel(run.folder)
    wait_for_end(run)
    assert not is_alive(pid_in(tmp_path / "pid"))


def test_orphans_without_streams_are_named(
    finished: Finished, source: Path, tmp_path: Path
) -> None:
    """A daemon that has closed all and has no parent any more."""
    (source / "hang.py").write_text(HANG)
    quiet = "stdout=-3, stderr=-3, start_new_session=True"
    code = AWAY.replace("start_new_session=True", quiet)
    middle = "import os, subprocess, sys, time\nif os.fork(): os.wait(); sys.exit()\n"
    folder = finished(middle + code, tmp_path / "pid")
    daemon = pid_in(tmp_path / "pid")
    os.kill(daemon, 9)
    assert statuses(folder)[-1] == "Completed"
    (note,) = printed(folder, "mlog.launch")
    assert note.endswith(f" ({daemon})")
    assert "what it left running is not heard: python" in note


def test_a_memory_limit_holds_for_the_script(finished: Finished) -> None:
    code = "block = bytearray(1 << 30)\nprint('never')"
    folder = finished(code, config={"memory_limit": "700M"})
    assert statuses(folder)[-1] == "Failed"
    (end,) = events(folder, "run.end")
    assert end["error"]["msg"].endswith("MemoryError")
    assert events(folder, "run.launch")[0]["memory_limit"] == 700 << 20
