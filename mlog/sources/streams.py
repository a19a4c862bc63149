"""Where foreign lines come from: a file, what a command prints, a container, a unit.

Each gives lines with their places, from behind the last one that is known on. A file
that was replaced (a rotated log) or cut is begun anew, under a name of its own: its
first line is part of the source's name.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from mlog.errors import MlogError
from mlog.sources.attaching import Printed

__all__ = ["FileLines", "command_lines", "docker_line", "journal_line", "unit_lines"]

_HEAD = 256
_CHUNK = 1 << 18
_LONGEST = 1 << 20
_STILL = 2.0


class FileLines:
    """Reads a file on, also while it grows."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: It cannot be read, or is no regular file.
        """
        self._path = Path(os.path.abspath(path))
        self._file: IO[bytes] = open(self._path, "rb")
        if not self._path.is_file():
            self._file.close()
            raise MlogError(f"{path} is no regular file")
        self._offset = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is so much of the first line that it names the file."""
        head = self._head()
        return b"\n" in head or len(head) == _HEAD

    @property
    def source(self) -> str:
        """Names the file by its path and its first line."""
        sign = hashlib.sha256(self._head().partition(b"\n")[0]).hexdigest()[:8]
        return f"file:{self._path}#{sign}"

    def begin_behind(self, place: int | str | None) -> None:
        """Pass over what is known already."""
        self._offset = place if isinstance(place, int) else 0

    def read(self, *, last: bool = False) -> Iterator[Printed]:
        """Yield the lines that are whole by now.

        Args:
            last: Also what stands behind the last newline.
        """
        self._file.seek(self._offset)
        while data := self._file.read(_CHUNK):
            end = data.rfind(b"\n") + 1
            if not end:
                if len(data) < _CHUNK and not last:
                    return
                end = len(data)
            yield from self._lines(data[:end])
            self._file.seek(self._offset)

    def is_still(self, now: float) -> bool:
        """Whether nobody has written it lately: its last line is whole as it is."""
        return now - os.fstat(self._file.fileno()).st_mtime >= _STILL

    def was_replaced(self) -> bool:
        """Whether the path leads to another file by now, or the file was cut."""
        try:
            there = os.stat(self._path)
        except OSError:
            return False  # gone; perhaps the next one comes
        own = os.fstat(self._file.fileno())
        return own.st_ino != there.st_ino or own.st_size < self._offset

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lines(self, data: bytes) -> Iterator[Printed]:
        for line in data.splitlines(keepends=True):
            self._offset += len(line)
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if text:
                yield Printed(text, self._offset)

    def _head(self) -> bytes:
        self._file.seek(0)
        return self._file.read(_HEAD)


def command_lines(
    line: Sequence[str], *, started: Callable[["subprocess.Popen[bytes]"], None]
) -> Iterator[str]:
    """Yield the lines that a command prints on both its streams, as they come.

    Args:
        line: The command.
        started: Told the process, so that it can be ended.

    Raises:
        MlogError: It cannot be started, or fails; the message has its last line.
    """
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as exc:
        raise MlogError(f"{line[0]} cannot be started: {exc.strerror}") from exc
    started(process)
    last = ""
    assert process.stdout is not None
    with process.stdout as output:
        while data := output.readline(_LONGEST):
            last = data.decode("utf-8", "replace").rstrip("\r\n")
            if last:
                yield last
    code = process.wait()
    if code > 0:
        said = f": {last[:200]}" if last else ""
        raise MlogError(f"{line[0]} ended with exit code {code}{said}")


def docker_line(container: str, after: int | str | None, *, follow: bool) -> list[str]:
    """Return the command that gives a container's lines, each behind its time."""
    engine = next(filter(shutil.which, ("docker", "podman")), None)
    if engine is None:
        raise MlogError("there is neither docker nor podman on this machine")
    since = ["--since", after] if isinstance(after, str) else []
    return [
        *(engine, "logs", "--timestamps"),
        *(["--follow"] if follow else []),
        *since,
        "--",
        container,
    ]


def journal_line(unit: str, after: int | str | None, *, follow: bool) -> list[str]:
    """Return the command that gives a unit's lines as JSON, with their cursors."""
    if shutil.which("journalctl") is None:
        raise MlogError("there is no journalctl on this machine")
    behind = [f"--after-cursor={after}"] if isinstance(after, str) else []
    return [
        *("journalctl", "--output=json", f"--unit={unit}", "--no-pager", "--lines=all"),
        *(["--follow"] if follow else []),
        *behind,
    ]


def unit_lines(texts: Iterator[str]) -> Iterator[Printed]:
    """Make lines of what journalctl prints: JSON of time, priority and message."""
    for text in texts:
        try:
            found = json.loads(text)
        except ValueError:
            continue
        said = found.get("MESSAGE")
        if isinstance(said, list):  # bytes that are no UTF-8
            said = bytes(said).decode("utf-8", "replace")
        micros = int(found.get("__REALTIME_TIMESTAMP", time.time_ns() // 1_000))
        line = {
            "ts": micros / 1e6,
            "level": found.get("PRIORITY", "6"),
            "msg": said or "",
            "logger": found.get("SYSLOG_IDENTIFIER") or found.get("_COMM") or "journal",
        }
        yield Printed(json.dumps(line), found.get("__CURSOR"))
