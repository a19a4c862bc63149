"""Supervisor, script or both killed at any point: right status, nothing lost, closable."""

import os
import random
import signal
from pathlib import Path

import pytest

from mlog.reader.state import read_state
from mlog.run.open import open_run
from tests.helpers import entries, lost
from tests.launch.conftest import Launch
from tests.launch.helpers import events, is_alive, printed, statuses, wait_until

# Prints numbers, and keeps beside it how far it has come: after the print has returned.
COUNT = """
import os, sys, logging
logging.getLogger("count").warning("begun")
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for i in range(1_000_000):
    print(i)
    if i % 100 == 0:
        logging.getLogger("count").info("at", extra={"metric": {"i": i}, "step": i})
    os.pwrite(fd, b"%9d" % i, 0)
"""

LATE = [random.Random(seed).randint(0, 30_000) for seed in (1, 2)]
"""How many lines are printed before something is killed."""


def count_in(path: Path) -> int:
    """Return the last number that was printed for certain; -1 before the first."""
    text = path.read_bytes() if path.exists() else b""
    return int(text) if len(text) == 9 else -1


def script_of(folder: Path) -> int:
    """Return the process id of the script."""
    found = [d["pid"] for d in events(folder, "run.status") if d["status"] == "Running"]
    pid: int = found[0]
    return pid


def numbers(folder: Path) -> list[int]:
    return [int(line) for line in printed(folder)]


@pytest.mark.parametrize("late", LATE)
def test_what_a_killed_script_has_printed_is_all_there(
    launch: Launch, tmp_path: Path, late: int
) -> None:
    run = launch(COUNT, tmp_path / "n")
    wait_until(lambda: count_in(tmp_path / "n") >= late, "it has come so far")
    os.kill(script_of(run.folder), signal.SIGKILL)
    wait_until(lambda: not is_alive(run.pid), "the supervisor ends")
    certain = count_in(tmp_path / "n")
    found = numbers(run.folder)
    assert found == list(range(len(found)))
    assert len(found) > certain
    assert lost(run.folder) == {}
    assert statuses(run.folder)[-1] == "Failed"
    (end,) = events(run.folder, "run.end")
    assert end["error"]["msg"].startswith("ended by SIGKILL")


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("also_script", [False, True])
def test_a_killed_supervisor_leaves_whole_lines_and_a_run_to_close(
    launch: Launch, tmp_path: Path, late: int, also_script: bool
) -> None:
    """What it had not read yet cannot be saved; the rest is there, without a gap.

    The script is told to end, as nobody hears it any more.
    """
    run = launch(COUNT, tmp_path / "n")
    wait_until(lambda: count_in(tmp_path / "n") >= late, "it has come so far")
    script = script_of(run.folder)
    os.kill(run.pid, signal.SIGKILL)
    if also_script:
        os.kill(script, signal.SIGKILL)
    wait_until(lambda: not is_alive(run.pid), "the supervisor is gone")
    wait_until(lambda: not is_alive(script), "the script is gone")
    found = numbers(run.folder)
    assert found == list(range(len(found)))
    assert lost(run.folder) == {}
    metrics = [e["metric"]["i"] for e in entries(run.folder, "metrics")]
    assert metrics == [i * 100 for i in range(len(metrics))]
    assert len(metrics) >= count_in(tmp_path / "n") // 100, "those are the script's own"
    assert read_state(run.folder).status == "NotResponding"
    open_run(run.folder).cancel()
    assert read_state(run.folder).status == "Canceled"


def test_a_supervisor_killed_before_the_script_starts(
    launch: Launch, source: Path
) -> None:
    """Here while it copies the source."""
    for i in range(300):
        (source / f"{i}.txt").write_text("x" * 1_000)
    run = launch("print('never mind')")
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(run.pid), "the supervisor is gone")
    wait_until(
        lambda: read_state(run.folder).status in ("NotResponding", "Completed"),
        "nobody writes it",
    )
    open_run(run.folder).cancel()
    assert read_state(run.folder).status in ("Canceled", "Completed")
