"""What the files say of a submitted script, and requests that are left for it there.

Its supervisor (`mlog.launch`) reads them; anybody may leave them who may write into the
folder of its run.
"""

import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlog.folder import read_from
from mlog.layout import SegmentName
from mlog.run.core import state_of
from mlog.run.joining import open_run_folder

if TYPE_CHECKING:
    from mlog.reader.state import RunState

__all__ = [
    "BUILD",
    "BUILD_LOG",
    "CANCEL",
    "NOTES",
    "SCRIPT_RUN",
    "STD_LOG",
    "SWEEP",
    "TYPED",
    "cancel_reason",
    "cancel_signal",
    "is_watched",
    "launch_of",
    "note_typed",
    "request_cancel",
    "type_of",
]

CANCEL = ".cancel"
"""File in a run's folder that asks the supervisor of its script to end it.

It holds the name of the first signal, and in a further line the reason.
"""

TYPED = ".typed"
"""File in a run's folder whose time is that of the last Ctrl-C at its terminal."""

STD_LOG = "user_logs/std_log.txt"
"""Artifact with all that a submitted script has printed."""

NOTES = "mlog.launch"
"""Logger of what there is to say about a submitted script from outside."""

BUILD = "mlog.launch.build"
"""Logger of what is said while the environment of a script is built or looked for."""

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
"""Artifact with those lines."""

SCRIPT_RUN = "azureml.scriptrun"
"""Type of a submitted script, by the name it had in Azure ML."""

SWEEP = "hyperdrive"
"""Type of the run of a sweep, likewise."""

_ENDED = ("Completed", "Failed", "Canceled")
_FIRST_EVENTS = 50
_MAX_REASON = 1_000
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGKILL")


def request_cancel(path: Path, reason: str = "", *, by: str = "SIGTERM") -> bool:
    """Ask for a submitted script, or a sweep, to be ended; it becomes Canceled then.

    The request is a file in the run's folder, so it works from any process and machine
    that may write there, and cannot hit a stranger who has got a process's id. It is
    seen within a fraction of a second.

    Args:
        path: The run's folder.
        reason: Why, for the run's error.
        by: Name of the signal that the script gets first: SIGTERM, SIGINT, SIGHUP or
            SIGKILL. A later request with another one counts, too.

    Returns:
        False: nothing was done, as the run has ended, is no submitted script, or
            nobody watches the script any more.

    Raises:
        RunNotFoundError: There is no run in the folder.
        OSError: The folder cannot be written to.
    """
    state = state_of(path)
    if state.status in _ENDED or not is_watched(state) or not launch_of(path):
        return False
    open_run_folder(path).replace(CANCEL, f"{by}\n{reason}".encode("utf-8", "replace"))
    return True


def cancel_signal(path: Path) -> str:
    """Return the name of the signal that was asked for; "" where nobody has asked."""
    return _asked(path)[0]


def cancel_reason(path: Path) -> str:
    """Return the reason given to `request_cancel`, "" without one."""
    return _asked(path)[1]


def _asked(path: Path) -> tuple[str, str]:
    if not os.path.lexists(path / CANCEL):
        return "", ""
    text = ""
    with contextlib.suppress(OSError), read_from(path / CANCEL) as file:
        text = file.read(_MAX_REASON).decode("utf-8", "replace")
    name, _, reason = text.partition("\n")
    return name if name in _SIGNALS else "SIGTERM", reason.strip()


def is_watched(state: "RunState") -> bool:
    """Whether the process that made a run, and ends it, is still there."""
    return any(writer.main and writer.alive for writer in state.writers)


def note_typed(path: Path) -> None:
    """Tell the supervisor that Ctrl-C was typed at its script's terminal just now.

    The script has got it already, and may go on: it may be a debugger. If it ends soon
    it was cancelled.

    Raises:
        OSError: The folder cannot be written to.
    """
    open_run_folder(path).replace(TYPED, b"")


def launch_of(folder: Path) -> dict[str, Any]:
    """Return what was submitted; {} for a run that is no submitted script or sweep."""
    try:
        with read_from(folder / SegmentName("events").filename) as lines:
            for line in itertools.islice(lines, _FIRST_EVENTS):
                if b'"run.launch"' in line:
                    return dict(orjson.loads(line)["data"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}


def type_of(folder: Path) -> str | None:
    """Return the type of a run: `SCRIPT_RUN`, `SWEEP`, or None of any other run."""
    said = launch_of(folder)
    if "sweep" in said:
        return SWEEP
    return SCRIPT_RUN if said else None
