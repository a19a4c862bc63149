"""Writing into a run that somebody else began: as a child process, or afterwards.

Whoever joins writes its own segments and ends nothing but itself. What the run was
started with (levels, redaction) it finds in `run.start`.
"""

import atexit
import itertools
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from mlog.errors import MlogError
from mlog.folder import Folder, access_for, read_from
from mlog.layout import parse_segment
from mlog.redaction import Redactor, make_redactor
from mlog.run.keeper import keeper
from mlog.run.levels import LevelRule
from mlog.run.recorder import Recorder
from mlog.run.summary import summary_of
from mlog.run.writer import Place, Writer, WriterOptions

__all__ = [
    "end_joined",
    "end_visits",
    "joined",
    "open_run_folder",
    "options_of",
    "visiting",
]


def open_run_folder(path: Path) -> Folder:
    """Open the folder of a run that must be there.

    Raises:
        MlogError: It is no run's.
        UnsafePathError: It is a link.
        OSError: It is missing, or may not be opened.
    """
    access = access_for(path.parent, "private")
    parts = (path.parent.name, path.name)
    folder = Folder.open_below(path.parent.parent, parts, access, create=False)
    # Of ranks any may be the first to write, not only the main one.
    if not any(name == "run.json" or parse_segment(name) for name in folder.names()):
        raise MlogError(f"{path} is no run")
    return folder


def joined(folder: Folder, place: Place) -> Recorder:
    """Return what writes into an existing run; nothing is written before an entry."""
    options = options_of(folder.path)
    redactor = make_redactor(options["redact"])
    run_id = folder.path.name
    writer = Writer(folder, place, run_id, WriterOptions(), redactor, keeper.ensure)
    return Recorder(writer, LevelRule(options["level"]), redactor=redactor)


def visiting(path: Path) -> Recorder:
    """Return this process's recorder in a run that it did not start.

    There is one for each run and process; it ends with the process, or when so many
    others have come since that open files might run out. The tap knows nothing of it:
    only what the run object itself is told goes there.

    Raises:
        MlogError, OSError: See `open_run_folder`.
    """
    with _lock:
        recorder = _visits.get(path)
        if recorder is None or not recorder.is_open:
            recorder = joined(open_run_folder(path), Place(main=False))
            while len(_visits) >= _MOST:
                end_visits(next(iter(_visits)))
            if not _visits:
                _end_with_child()
            _visits[path] = recorder
            keeper.watch(recorder.writer)
        return recorder


def end_visits(path: Path | None = None) -> None:
    """End this process's visits, of one run or all; the runs themselves go on."""
    for there, recorder in list(_visits.items()):
        if path not in (None, there):
            continue
        _visits.pop(there, None)
        recorder.is_open = False
        recorder.settle()
        keeper.unwatch(recorder.writer)
        end_joined(recorder.writer, "Completed")
        recorder.writer.close()


def end_joined(
    writer: Writer, status: str, error: Mapping[str, Any] | None = None
) -> None:
    """End a writer that is not the run's main one, with a summary of its metrics.

    That of ranks is rank 0's affair, which has the same names.
    """
    alone = writer.started and writer.place.rank is None
    names = writer.made["metrics"] if alone else []
    writer.end(status, error, summary_of(writer.folder.path, names))


def options_of(path: Path) -> dict[str, Any]:
    """Return `level` and `redact` as a run was started with, by its files.

    Where they cannot be read they are the usual ones.
    """
    said = _options_said(path)
    redact = said.get("redact", True)
    return {
        "level": said.get("level", "auto"),
        "redact": Redactor(**redact) if isinstance(redact, dict) else redact,
    }


def _end_with_child() -> None:
    """End visits in a child that multiprocessing will leave by `os._exit`."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process():
        util.Finalize(None, end_visits, exitpriority=-100)


def _options_said(path: Path) -> Mapping[str, Any]:
    try:
        with read_from(path / "events.jsonl") as lines:
            for line in itertools.islice(lines, 10):
                if b'"run.start"' in line:
                    return dict(orjson.loads(line)["data"].get("options", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}


_MOST = 32  # each holds three files open, of the 1,024 that are usual

_visits: dict[Path, Recorder] = {}
"""By the run's folder; the oldest first."""

_lock = threading.RLock()


def _after_fork_in_child() -> None:
    """The parent's visits are its own; a child makes new ones."""
    global _lock
    _lock = threading.RLock()
    for recorder in _visits.values():
        recorder.is_open = False
    _visits.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

atexit.register(end_visits)
