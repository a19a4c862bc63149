"""Segments: the one place that writes entries to a disk.

A segment is a file that one process appends to, one `os.write` per entry, so that what
a call has returned from is with the kernel and survives `kill -9`. There is no lock and
no buffer on that way: the kernel appends whole writes of any thread one after another
(`O_APPEND`; POSIX write(2)). It appears with its first entry, and is never renamed,
truncated or written again.

When a write comes back short (the disk just ran full), the segment is sealed with the
cut line in it and the whole entry goes to the next segment.
"""

import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import Literal, TypeAlias

from mlog.folder import OpenFile

__all__ = ["Segment", "Sync"]

Sync: TypeAlias = Literal["always", "later", "never"]
"""When entries go from the kernel to the disk."""

_write = os.write
_to_disk = getattr(os, "fdatasync", os.fsync)


class Segment:
    """The active segment of one stream, and the way from it to the next one.

    Safe from any thread and from signal handlers; made anew in a forked child.

    Attributes:
        number: Number of the active segment, 0 for the first.
        size: Bytes appended to it; a little behind under many threads.
    """

    def __init__(
        self,
        create: Callable[[int], OpenFile],
        *,
        max_bytes: int | None = None,
        sync: Sync = "never",
        before_open: Callable[[], None] | None = None,
    ) -> None:
        """Prepare a segment; nothing is opened before the first entry.

        Args:
            create: Makes the file of a segment number; raises FileExistsError when the
                number is taken, any OSError when it cannot.
            max_bytes: Size after which the next segment begins. None: never.
            sync: "always": an entry is on the disk when `append` returns. "later":
                somebody calls `sync`. "never": the kernel writes when it likes.
            before_open: Called each time before a file is opened or taken up again.
        """
        self._create = create
        self._max_bytes = max_bytes or sys.maxsize
        self._limit = 0 if sync == "always" else self._max_bytes
        self._sync_always = sync == "always"
        self._sync_later = sync == "later"
        self._before_open = before_open
        self._lock = threading.RLock()
        self._file: OpenFile | None = None
        self._parked: OpenFile | None = None
        self._sealed: list[OpenFile] = []
        self._next_number = 0
        self.number = 0
        self.size = 0

    def append(self, line: bytes) -> None:
        """Append one entry; returns when the whole line is with the kernel.

        Several whole lines at once are as well several entries.

        Raises:
            OSError: It could not be written. Nothing of it counts as written; of
                several lines the first ones may be there.
        """
        file = self._file
        if file is None:
            file = self._open()
        try:
            done = _write(file.fd, line)
        except OSError as exc:
            if exc.errno != errno.EFBIG or not self.size:
                raise
            done = 0  # this file may not grow, another one may
        if done != len(line):
            file = self._append_again(file, line, done)
        self.size = size = self.size + len(line)
        if size >= self._limit:
            self._after_append(file)

    def _after_append(self, file: OpenFile) -> None:
        if self.size >= self._max_bytes:
            self._seal(file)
        if self._sync_always:
            _to_disk(file.fd)

    def sync(self) -> bool:
        """Put everything appended so far on the disk; return whether there was any.

        Raises:
            OSError: The disk refused.
        """
        with self._lock:
            active = self._file or self._parked
            sealed = list(self._sealed)
        any_synced = active is not None and _sync(active)
        for file in sealed:
            if _sync(file):  # looked at again: a late thread may still write to it
                any_synced = True
                continue
            with self._lock:
                if file in self._sealed:
                    self._sealed.remove(file)
        return any_synced

    def adopt(self, file: OpenFile) -> None:
        """Use a file that was made elsewhere as segment 0."""
        with self._lock:
            self._file, self._next_number = file, 1

    def restart(self) -> None:
        """Begin again at segment 0, because the files are gone."""
        with self._lock:
            self._file = self._parked = None
            self._next_number = 0

    def park(self) -> None:
        """Make the next `append` call `before_open` again (after a fork)."""
        with self._lock:
            self._parked, self._file = self._file or self._parked, None

    def close(self) -> None:
        """Let go of the file; a later `append` goes on in the next segment."""
        with self._lock:
            self._file = self._parked = None
            self._sealed.clear()

    def is_lost(self) -> bool:
        """Whether the active file was removed by somebody else."""
        file = self._file
        try:
            return file is not None and os.fstat(file.fd).st_nlink == 0
        except OSError:  # a stale handle of a network file system
            return True

    def _open(self) -> OpenFile:
        if self._before_open is not None:
            self._before_open()
        with self._lock:
            if self._file is None and self._parked is not None:
                self._file, self._parked = self._parked, None
            if self._file is None:
                self._open_next()
            assert self._file is not None
            return self._file

    def _open_next(self) -> None:
        """Make the file of the next free number; the lock is held."""
        while True:
            number = self._next_number
            self._next_number = number + 1
            try:
                file = self._create(number)
            except FileExistsError:
                continue
            except OSError:
                self._next_number = number
                raise
            self.number, self.size = number, 0
            self._file = file
            return

    def _seal(self, file: OpenFile) -> None:
        """End this segment; a thread that comes late still writes to it."""
        with self._lock:
            if self._file is file:
                self._file = None
                if self._sync_later:
                    self._sealed.append(file)

    def _append_again(self, file: OpenFile, line: bytes, done: int) -> OpenFile:
        """Write a line that was cut short as a whole into the next segment.

        Of several lines those that are there as a whole stay where they are.
        """
        self._seal(file)
        file = self._open()
        line = line[line.rfind(b"\n", 0, done) + 1 :]
        if _write(file.fd, line) != len(line):
            self._seal(file)
            raise OSError(errno.ENOSPC, "short write")
        return file


def _sync(file: OpenFile) -> bool:
    """Put on the disk what was appended since the last time, if anything was."""
    size = os.fstat(file.fd).st_size  # counting it would cost each entry
    if size == file.synced:
        return False
    _to_disk(file.fd)
    file.synced = size
    return True
