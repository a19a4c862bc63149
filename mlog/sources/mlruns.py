"""Runs in a folder `mlruns`, as MLflow's file store has left them.

MLflow 3.13 and later refuse such folders. Nothing of MLflow is needed to read one:

    <mlruns>/<experiment id>/meta.yaml
    <mlruns>/<experiment id>/<run id>/meta.yaml
        metrics/<name>    lines `milliseconds value step`
        params/<name>, tags/<name>    the text
        artifacts/

Of the YAML only lines `name: value` are read, which is all that the store writes.
Links are not followed. A metric whose lines are not in order of time is sorted.

Source: MLflow, `store/tracking/file_store.py`.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlog.errors import MlogError
from mlog.folder import read_from
from mlog.sources.copies import Advance, File, Origin, Point
from mlog.sources.mlflow_facts import (
    Value,
    check_size,
    chosen,
    facts_of,
    merged_points,
    number_in,
    with_families,
)

__all__ = ["StoredRun", "stored_runs"]

_META = "meta.yaml"
_STATUS = {
    "1": "RUNNING",
    "2": "SCHEDULED",
    "3": "FINISHED",
    "4": "FAILED",
    "5": "KILLED",
}


def stored_runs(
    path: Path, experiments: tuple[str, ...] = (), *, max_file: int = 1 << 30
) -> Iterator[list["StoredRun"]]:
    """Yield the runs of each experiment, parents before their children.

    Args:
        path: Of the folder.
        experiments: Names or ids of those that are wanted; none: all.
        max_file: Bytes that a file may have to be taken over; 0: none is.

    Raises:
        MlogError: There are no experiments, or not that one.
        OSError: The folder cannot be read.
    """
    found = [(folder, _meta(folder)) for folder in _folders(path)]
    found = [(folder, meta) for folder, meta in found if meta]
    if not found:
        text = "no experiments of MLflow (<id>/meta.yaml)"
        raise MlogError(f"{text} in {path}; of a database give a server's address")
    names = {folder: meta.get("name") or folder.name for folder, meta in found}
    for folder in chosen(
        names, experiments, lambda folder: (names[folder], folder.name)
    ):
        runs = [
            StoredRun(run, meta, names[folder], max_file)
            for run in _folders(folder)
            if (meta := _meta(run)) and meta.get("lifecycle_stage") != "deleted"
        ]
        yield with_families(runs)


class StoredRun:
    """The folder of one run; a `SourceRun`."""

    origin: Origin
    parent_id: str

    def __init__(
        self, folder: Path, meta: dict[str, str], experiment: str, max_file: int
    ) -> None:
        """Read all but the points."""
        self._folder, self._max_file = folder, max_file
        self.notes: list[str] = []
        params = {n: _text(p) for n, p in _files(folder / "params")}
        tags = {n: _text(p) for n, p in _files(folder / "tags")}
        self._metrics = dict(_files(folder / "metrics"))
        sizes = [(n, p.stat().st_size) for n, p in self._metrics.items()]
        shape = orjson.dumps([meta, params, tags, sizes])
        info: dict[str, Any] = {
            "run_id": meta.get("run_id") or meta.get("run_uuid") or folder.name,
            "run_name": meta.get("run_name", ""),
            "user_id": meta.get("user_id", ""),
            "start_time": meta.get("start_time"),
            "end_time": meta.get("end_time"),
            "status": _STATUS.get(meta.get("status", "")) or meta.get("status"),
        }
        state = sha256(shape).hexdigest()
        self.origin = facts_of(info, params, tags, experiment, state)
        self.origin.size = sum(size for _, size in sizes)
        self.parent_id = tags.get("mlflow.parentRunId", "")

    def points(self, advance: Advance) -> Iterator[Point]:
        """Yield all points in order of time."""
        return merged_points(
            iter(self._history(name, path, advance))
            for name, path in self._metrics.items()
        )

    def _history(self, name: str, path: Path, advance: Advance) -> list[Value]:
        """Return the points of a metric by time; a line that is none is noted."""
        found, wrong = [], 0
        with read_from(path) as file:
            for line in file:
                advance(len(line))
                parts = line.decode("utf-8", "replace").split()
                try:
                    time, step = int(parts[0]), int(parts[2]) if parts[2:] else 0
                    value = number_in(parts[1])
                except (ValueError, IndexError):
                    value = None
                if value is None:
                    wrong += bool(parts)
                    continue
                found.append(Value(time, step, name, value))
        if wrong:
            self.notes.append(f"{path}: left out {wrong:,} lines that are no points")
        return sorted(found, key=attrgetter("time"))

    def files(self) -> Iterator[File]:
        """Yield all files below `artifacts`."""
        if not self._max_file:
            return
        top = self._folder / "artifacts"
        for name, path in _files(top):
            size = path.stat().st_size
            yield File(name, size, partial(self._open, path, size))

    def _open(self, path: Path, size: int) -> AbstractContextManager[BinaryIO]:
        check_size(size, self._max_file)
        return read_from(path)


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder; neither links nor hidden ones (`.trash`)."""
    with os.scandir(path) as entries:
        names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    return [path / name for name in sorted(names) if not name.startswith(".")]


def _files(top: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files in a folder and below, by their names with `/` in them."""
    for folder, below, names in os.walk(top):
        below.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(top).as_posix(), path


def _meta(folder: Path) -> dict[str, str]:
    """Return the lines of a folder's `meta.yaml`; {} without one."""
    try:
        text = (folder / _META).read_text("utf-8")
    except (OSError, ValueError):
        return {}
    found = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        value = value.strip()
        if colon and name.strip() == name and value != "null":
            found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(orjson.loads(value))
        except ValueError:
            return value[1:-1]
    return value


def _text(path: Path) -> str:
    with read_from(path) as file:
        return file.read(1 << 20).decode("utf-8", "replace").rstrip("\n")
