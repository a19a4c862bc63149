"""`mlog cancel`: ends submitted scripts, and runs that nobody writes any more."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.options import RunCommand, dir_option, find, typed
from mlog.errors import MlogError
from mlog.launch.processes import living_of_run
from mlog.reader.state import RunState, read_state
from mlog.run.identity import host_name
from mlog.run.launched import is_watched, launch_of, request_cancel
from mlog.run.open import open_run
from mlog.run.waiting import follow

__all__ = ["command"]

_FINAL = ("Completed", "Failed", "Canceled")
_GRACE = 5.0

_EXAMPLES = """\b
Examples:
  mlog cancel latest
  mlog cancel 3f9a1c baseline --no-wait
  mlog cancel 3f9a1c --kill               at once, without a time to tidy up
"""


@click.command("cancel", cls=RunCommand, epilog=_EXAMPLES)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, callback=typed)
@click.option("--kill", is_flag=True, help="End it by SIGKILL at once.")
@click.option("--no-wait", is_flag=True, help="Return when it has been asked.")
@click.option("--json", "as_json", is_flag=True, help="One object per run.")
@dir_option
def command(
    runs: tuple[str, ...], kill: bool, no_wait: bool, as_json: bool, dir_: str | None
) -> None:
    """End the script of a submitted run; the run becomes Canceled.

    The script gets SIGTERM, and SIGKILL where it is still there 10 seconds later. A run
    whose processes are gone without an end gets one.
    """
    folders = [find(run, dir_) for run in runs]
    states = [_check(read_state(folder)) for folder in dict.fromkeys(folders)]
    for state in states:
        told = {"run": state.run_id, "folder": str(state.folder), "was": state.status}
        told |= _cancel(state, kill=kill, wait=not no_wait)
        click.echo(orjson.dumps(told).decode() if as_json else _line(told))


def _check(state: RunState) -> RunState:
    """Refuse what cannot be ended from here, before anything is ended."""
    if state.status in _FINAL:
        raise MlogError(f"run {state.run_id} has ended already: {state.status}")
    if not launch_of(state.folder) and (alive := _alive(state)):
        raise MlogError(
            f"run {state.run_id} is no submitted script: it is written by {alive}; "
            "end that, and the run ends with it"
        )
    return state


def _alive(state: RunState) -> str:
    """Name the process that makes a run; "" where it is gone."""
    if state.status == "NotResponding":
        return ""
    found = [w for w in state.writers if w.alive]
    return ", ".join(f"process {w.pid} on {w.host}" for w in found)


def _cancel(state: RunState, *, kill: bool, wait: bool) -> dict[str, Any]:
    """End one run; return what to tell of it."""
    if is_watched(state) and request_cancel(state.folder, by=_signal(kill)):
        if not wait:
            return {"status": "CancelRequested"}
        status = follow(state.folder).status
        if status != "NotResponding":  # else its supervisor has died just now
            return {"status": status}
    ended = _end_left(state, kill=kill)
    open_run(state.folder).cancel()
    told = {"status": read_state(state.folder).status}
    return told | ({"ended": ended} if ended else {})


def _signal(kill: bool) -> str:
    return "SIGKILL" if kill else "SIGTERM"


def _end_left(state: RunState, *, kill: bool) -> list[int]:
    """End the processes that nobody watches any more; return their ids."""
    if not launch_of(state.folder) or not _ran_here(state):
        return []
    ended: set[int] = set()
    until = time.monotonic() + (0.0 if kill else _GRACE)
    while left := living_of_run(state.folder):
        number = signal.SIGTERM if time.monotonic() < until else signal.SIGKILL
        for process in left:
            if process.pid not in ended or number == signal.SIGKILL:
                _send(process.pid, number)
            ended.add(process.pid)
        time.sleep(0.05)
    return sorted(ended)


def _ran_here(state: RunState) -> bool:
    return any(writer.main and writer.host == host_name() for writer in state.writers)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise MlogError(f"process {pid} belongs to another user") from exc


def _line(told: dict[str, Any]) -> str:
    text = f"{Path(told['folder']).name}: {told['status']}"
    if ended := told.get("ended"):
        text += f"; ended what it had left running: {', '.join(map(str, ended))}"
    return text
