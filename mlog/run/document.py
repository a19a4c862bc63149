"""`run.json`: what the events say, once more, for people and for fast listing.

It is derived: whoever misses it reads the events, and it is written anew with the next
change. Only one process writes it at a time: the run's main writer while it lives, and
afterwards whoever changes something.

Source of its keys: the README, "File format".
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mlog.entry import stamp
from mlog.folder import Folder
from mlog.run.core import state_of
from mlog.run.writer import FORMAT

if TYPE_CHECKING:
    from mlog.reader.state import RunState

__all__ = ["write_document", "write_first_document"]

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def write_document(
    folder: Folder, status: str | None = None, metrics: Mapping[str, Any] | None = None
) -> None:
    """Write `run.json` from what the run's files say now.

    Args:
        folder: The run's.
        status: Its status where the caller knows better than the files.
        metrics: Per-metric summary, likewise.

    Raises:
        OSError: It cannot be written.
    """
    state = state_of(folder.path)
    data = _document(state) | ({} if status is None else {"status": status})
    if metrics is not None:
        data["metrics"] = metrics
    _replace(folder, data)


def write_first_document(
    folder: Folder, start: Mapping[str, Any], attempt: int
) -> None:
    """Write `run.json` of a run of which nothing but its `run.start` is there.

    It says the same as `write_document` would, without reading what was just written.

    Args:
        folder: The run's.
        start: The entry of `run.start`.
        attempt: Of its writer.

    Raises:
        OSError: It cannot be written.
    """
    run_id, said = folder.path.name, start["data"]
    data = {
        "format": FORMAT,
        "run_id": run_id,
        "experiment": said.get("experiment") or folder.path.parent.name,
        "display_name": said.get("display_name") or run_id,
        "status": "Running",
        "attempt": attempt,
        "created": start["ts"],
        "updated": stamp(time.time_ns() // 1_000),
        "parent": said.get("parent"),
        "params": {},
        "tags": {},
        "metrics": {},
    }
    _replace(folder, data)


def _replace(folder: Folder, data: Mapping[str, Any]) -> None:
    known = {key: value for key, value in data.items() if value is not None}
    folder.replace("run.json", orjson.dumps(known, option=_OPTIONS))


def _document(state: "RunState") -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run_id": state.run_id,
        "experiment": state.experiment,
        "display_name": state.name,
        "description": state.description or None,
        "status": state.status,
        "attempt": state.attempt,
        "created": state.created,
        "updated": stamp(time.time_ns() // 1_000),
        "ended": state.ended,
        "parent": state.parent,
        "params": state.params,
        "tags": state.tags,
        "properties": state.properties or None,
        "error": state.error,
        "metrics": state.metrics,
    }
