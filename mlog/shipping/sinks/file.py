"""A mirror of runs in a folder, as another disk or a network share: the files as they are.

    file:///folder        <folder>/<experiment>/<run id>/<as in the run>

Segments are appended to; where a copy was interrupted it goes on. Artifacts, the
snapshot and `run.json` are put in place as a whole. Every reader of runs reads a mirror.
"""

import os
import shutil
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from mlog.errors import MlogError
from mlog.folder import PRIVATE, Folder
from mlog.layout import parse_segment
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Target,
    Traits,
)

__all__ = ["FileSink", "open_sink"]

_COMPARED = 4096


def open_sink(target: Target) -> "FileSink":
    """Make the sink of a `file://` target.

    Raises:
        MlogError: The URL names no folder of this machine.
    """
    parts = urlsplit(target.url)
    if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
        raise MlogError(f"expected file:///folder, got {target.url!r}")
    path = unquote(parts.path)
    if os.name == "nt" and path[2:3] == ":":  # /C:/folder
        path = path[1:]
    return FileSink(Path(path))


class FileSink:
    """Copies files into a folder. See the module."""

    traits = Traits(
        streams=frozenset(), artifacts=True, segments="growing", has_key=True
    )

    def __init__(self, folder: Path) -> None:
        """Prepare; the folder is made with the first file."""
        self._root = folder

    def send(self, batch: Batch) -> SendResult:
        """Not asked for by the traits."""
        return DELIVERED

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Copy a file, or what a segment has more than its copy."""
        *folders, name = file.name.split("/")
        parts = (*run.folder.parts[-2:], *folders)
        folder = Folder.open_below(self._root, parts, PRIVATE)
        if os.path.realpath(folder.path) == os.path.realpath(file.path.parent):
            return SendResult("blocked", f"{self._root} is where the runs are")
        with file.open() as source:
            if folders or parse_segment(name) is None:
                folder.place(name, lambda made: _copy(source, made), sync=True)
            else:
                _append(source, folder, name, file.size)
        return DELIVERED

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Nothing to do: the events say it."""
        return DELIVERED

    def close(self) -> None:
        """Nothing to do."""


def _copy(source: BinaryIO, made: BinaryIO) -> None:
    shutil.copyfileobj(source, made, 1 << 20)


def _append(source: BinaryIO, folder: Folder, name: str, size: int) -> None:
    """Make a copy as long as `size`; one that is longer was made by somebody else."""
    have = folder.size(name)
    if have > size:
        return
    held = folder.reopen(name)
    if have and not _is_beginning(source, held.fd, have):
        have = 0
        os.ftruncate(held.fd, 0)
    source.seek(have)
    while have < size:
        piece = memoryview(source.read(min(1 << 20, size - have)))
        if not piece:
            raise OSError(f"{name} has become shorter while it was copied")
        while piece:
            written = os.pwrite(held.fd, piece, have)
            have, piece = have + written, piece[written:]
    os.fsync(held.fd)


def _is_beginning(source: BinaryIO, copy: int, size: int) -> bool:
    """Whether a copy ends as the original does there."""
    start = max(0, size - _COMPARED)
    source.seek(start)
    return source.read(size - start) == os.pread(copy, size - start, start)
