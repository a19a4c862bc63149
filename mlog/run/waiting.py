"""How a run is doing, and waiting until another process has ended it.

Whoever waits reads the run's entries as they come and none of them twice. Ctrl-C ends
the waiting, never the run.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlog.errors import ActivityFailedError, MlogError, say
from mlog.run.artifacts import ArtifactStore
from mlog.run.core import RunCore, state_of
from mlog.run.launched import launch_of
from mlog.run.screen import Screen

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
    from mlog.reader.state import RunState

__all__ = ["WaitMethods", "follow"]

_LOG_FOLDERS = ("user_logs/", "system_logs/", "azureml-logs/", "logs/")
_SHORTEST = 0.005
_LONGEST = 1.0
_LONGEST_SHOWN = 0.02
"""Seconds between two looks; where somebody watches, what comes has to show soon."""

_PATIENCE = 2.0
"""Seconds without an entry after which it is looked whether anybody writes the run."""


class WaitMethods(RunCore):
    """Status, details and logs of a run, also while another process makes it."""

    _status: str

    def get_status(self) -> str:
        """Return the status word, as the run's files say it now."""
        return self._status if self.path is None else state_of(self.path).status

    def get_detailed_status(self) -> dict[str, Any]:
        """Return `status`, and as `details` what ended the run, where something did."""
        if self.path is None:
            return {"status": self._status, "details": None}
        state = state_of(self.path)
        return {"status": state.status, "details": _message(state.error) or None}

    def get_details(self) -> dict[str, Any]:
        """Return what is known of the run, under v1's keys.

        `error` is there only where there is one. `logFiles` maps the names of log
        artifacts to `file:` URLs, `runDefinition` is what was submitted.

        Raises:
            MlogError: The run is off.
        """
        path = self._need_path()
        state = state_of(path)
        details: dict[str, Any] = {
            "runId": self.id,
            "target": "local",
            "status": state.status,
            "startTimeUtc": state.created,
            "endTimeUtc": state.ended,
            "error": _v1_error(state.error),
            "properties": dict(state.properties),
            "inputDatasets": [],
            "outputDatasets": [],
            "runDefinition": launch_of(path),
            "logFiles": {
                name: (path / "artifacts" / name).as_uri() for name in _logs(path)
            },
            "submittedBy": state.environment.get("user"),
        }
        return details if details["error"] else _without(details, "error")

    def get_details_with_logs(self) -> dict[str, Any]:
        """Return the details with the text of each log in place of its URL.

        Raises:
            MlogError: The run is off.
        """
        store = ArtifactStore(self._need_path())
        details = self.get_details()
        details["logFiles"] = {name: _text(store, name) for name in details["logFiles"]}
        return details

    def get_all_logs(
        self, destination: str | os.PathLike[str] | None = None
    ) -> list[str]:
        """Copy all log artifacts to a folder, and return the paths of the copies.

        Args:
            destination: The folder, made where missing; by default `assets/<run id>`.

        Raises:
            MlogError: The run is off.
            OSError: The folder cannot be written to.
        """
        store = ArtifactStore(self._need_path())
        folder = Path(destination) if destination else Path("assets", self.id)
        copies = {name: folder / name for name in _logs(store.run)}
        for name, target in copies.items():
            store.fetch(name, target)
        return [str(target) for target in copies.values()]

    def wait_for_completion(
        self,
        show_output: bool = False,
        wait_post_processing: bool = False,
        raise_on_error: bool = True,
    ) -> dict[str, Any]:
        """Wait until the run has ended, and return its details.

        Ctrl-C ends the waiting; the run goes on.

        Args:
            show_output: Whether to write what the script prints to `sys.stdout`, from
                its beginning and then line by line as it comes; of a run that is no
                submitted script its log lines.
            wait_post_processing: Not used: when a run has ended, all of it is there.
            raise_on_error: Whether a run that failed, or whose process is gone without
                an end, is an error.

        Raises:
            ActivityFailedError: It failed.
            MlogError: The run is off, or this process has it open itself.
        """
        path = self._need_path()
        if self._own and self._recorder is not None and self._recorder.is_open:
            raise MlogError(
                f"run {self.id} is open in this very process, which would wait for "
                "itself; end it by complete()"
            )
        screen = Screen(self.id, path, sys.stdout) if show_output else None
        try:
            state = follow(path, screen.show if screen else None)
        except KeyboardInterrupt:
            say(f"mlog: no longer waiting; run {self.id} goes on in {path}")
            raise
        details = self.get_details()
        if screen is not None:
            screen.sum_up(state, details)
        if raise_on_error and state.status in ("Failed", "NotResponding"):
            raise ActivityFailedError(_failure(state))
        return details


def follow(
    folder: Path,
    show: Callable[[Mapping[str, Any]], None] | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> "RunState":
    """Wait until a run has ended, or until nobody writes it any more.

    Args:
        folder: The run's.
        show: Gets each entry once, in order. None: what is there already is not read.
        sleep, clock: Seconds; for tests.

    Returns:
        What the files say then; its status is NotResponding where the run has no end.

    Raises:
        OSError: The folder is gone.
    """
    from mlog.reader.follow import Follower  # only here: few programs wait

    follower = Follower(folder)
    if show is None:
        follower.last(0)
    pause, since, missing = _SHORTEST, clock(), False
    while True:
        ended = follower.has_ended
        news = False
        for found in follower.poll():
            news = True
            if show is not None:
                show(found.entry)
        if ended:  # read once more, for what others wrote just before the end
            return state_of(folder)
        if news:
            pause, since, missing = _SHORTEST, clock(), False
        elif clock() - since >= _PATIENCE:
            state = state_of(folder)
            is_missing = state.status == "NotResponding"
            if is_missing and missing:  # twice: a beginning run has no lock yet
                return state
            since, missing = clock(), is_missing
        if not follower.has_ended:
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST if show is None else _LONGEST_SHOWN)


def _failure(state: "RunState") -> str:
    if state.status == "NotResponding":
        return (
            f"run {state.run_id} has no end, and the process that wrote it is gone; "
            f"what it had recorded is in {state.folder}"
        )
    why = _message(state.error) or "it says not why"
    return f"run {state.run_id} failed: {why}"


def _message(error: Mapping[str, Any] | None) -> str:
    """Return what `run.end` says of an error as one text."""
    if not error:
        return ""
    kind, text = error.get("type"), error.get("msg") or ""
    return f"{kind}: {text}" if kind else str(text)


def _v1_error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an error as v1 gave it: `{"error": {"code", "message", …}}`."""
    if not error:
        return None
    told = {"code": error.get("code") or "UserError", "message": _message(error)}
    debug = {"type": error.get("type"), "stackTrace": error.get("traceback")}
    debug = {key: value for key, value in debug.items() if value}
    return {"error": told | ({"debugInfo": debug} if debug else {})}


def _without(details: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != key}


def _logs(path: Path) -> list[str]:
    """Return the names of the artifacts that are logs."""
    names = ArtifactStore(path).names()
    return [name for name in names if name.startswith(_LOG_FOLDERS)]


def _text(store: ArtifactStore, name: str) -> str:
    with store.open(name) as file:
        return file.read().decode("utf-8", "replace")
