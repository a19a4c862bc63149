"""What readers have found out, kept for the next time; deleting it only costs time.

It lies in `.cache` below the root where the root is the user's own, else in the user's
cache folder. Invariants:

- A file is believed only if it belongs to the user who reads it, nobody else may write
  it, it was written whole, and it says itself what it was made from. It holds numbers
  and JSON, so nothing in it can be run.
- What is believed about a segment was read from a file of the same path and inode. Of
  one that has not changed since by a single write (size, times) all holds; of one that
  has grown only what was made from its beginning, if head and end of that are the same
  still: segments are only appended to.
- Files are put in place as a whole. Readers that come together each write their own,
  and the last one stays. Whatever goes wrong here costs time, and is never an error.

A file is a line of text with a checksum of all that follows, a line of JSON with what
it says of itself, and its body.
"""

import os
import stat
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import reduce
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from mlog.errors import UnsafePathError
from mlog.folder import PRIVATE, Folder

__all__ = ["Cache", "Stamp", "cache_for", "ends_of", "stamp_of"]

_MAGIC = b"mlog cache 2 %08x\n"
_FOLDER = ".cache"
_PROBE = 4096
_TROUBLE = (OSError, ValueError, RuntimeError, UnsafePathError)  # no home, too
_LARGE = 1 << 20
_MAX_BYTES = 2 << 30
"""Of all files of a cache together; the oldest go first."""


class Stamp(NamedTuple):
    """How a file is told from others, and from itself before a change.

    Attributes:
        inode: Of the file, and its device.
        size: In bytes.
        changed: When its content and its inode were changed, in nanoseconds.
    """

    inode: tuple[int, int]
    size: int
    changed: tuple[int, int]


def stamp_of(file: BinaryIO) -> Stamp:
    """Return the stamp of an open file."""
    found = os.fstat(file.fileno())
    return Stamp(
        (found.st_ino, found.st_dev),
        found.st_size,
        (found.st_mtime_ns, found.st_ctime_ns),
    )


def ends_of(file: BinaryIO, end: int) -> str:
    """Return a digest of head and end of what stands before an offset."""
    file.seek(0)
    head = file.read(min(_PROBE, end))
    file.seek(max(0, end - _PROBE))
    return blake2b(head + file.read(min(_PROBE, end)), digest_size=16).hexdigest()


class Cache:
    """The files of one root's cache. Safe from any thread and process.

    Its folder is made with the first file.
    """

    def __init__(self, root: Path) -> None:
        """Use `cache_for`.

        Args:
            root: Whose it is, absolute.
        """
        self._root = root

    def load(self, key: str) -> tuple[dict[str, Any], memoryview] | None:
        """Return what was kept under a key, and its body; None where nothing was."""
        folder = self._folder(create=False)
        if folder is None:
            return None
        try:
            with folder.open(self._name(key)) as file:
                if not _is_own(os.fstat(file.fileno())):
                    return None
                data = file.read()
            return _taken_apart(data, f"{self._root}\n{key}")
        except (*_TROUBLE, TypeError, KeyError):  # missing, cut, not ours
            return None

    def store(self, key: str, facts: Mapping[str, Any], body: Iterable[bytes]) -> None:
        """Keep something under a key, in the place of what was there."""
        folder = self._folder(create=True)
        if folder is None:
            return
        with suppress(*_TROUBLE, TypeError):  # also of a name that is no UTF-8
            whole = {"key": f"{self._root}\n{key}", **facts}
            parts = [orjson.dumps(whole, option=orjson.OPT_APPEND_NEWLINE), *body]
            crc = reduce(lambda crc, part: zlib.crc32(part, crc), parts, 0)
            size = sum(map(len, parts))
            if size >= _LARGE:
                _make_room(folder, size)
            parts.insert(0, _MAGIC % crc)
            folder.place(self._name(key), lambda file: file.writelines(parts))

    def _folder(self, *, create: bool) -> Folder | None:
        """Return where the files lie; None where there is no place."""
        for find in (_below, _beside):
            with suppress(*_TROUBLE):
                folder = find(self._root, create)
                if folder is not None:
                    return folder
        return None

    def _name(self, key: str) -> str:
        return blake2b(f"{self._root}\n{key}".encode(), digest_size=16).hexdigest()


def cache_for(root: Path) -> Cache:
    """Return the cache of a root; nothing is made yet."""
    return Cache(root.absolute())


def _make_room(folder: Folder, size: int) -> None:
    """Remove the oldest files, and what a crash has left, where there are many."""
    found = []
    for name in folder.names():
        if (status := folder.status(name)) is not None:
            found.append((status.st_mtime, status.st_size, name))
    left = sum(each for _, each, _ in found) + size
    for _, own, name in sorted(found):
        if left <= _MAX_BYTES:
            return
        folder.remove(name)
        left -= own


def _below(root: Path, create: bool) -> Folder | None:
    """Return the folder in a root that is the user's own and of nobody else."""
    if not _is_own(os.stat(root)):
        return None
    return _private(Folder.open_below(root, [_FOLDER], PRIVATE, create=create))


def _beside(root: Path, create: bool) -> Folder | None:
    """Return the folder among the user's caches."""
    import platformdirs  # only here: most roots are the user's own

    place = platformdirs.user_cache_path("mlog")
    return _private(Folder.open_below(place, ["readers"], PRIVATE, create=create))


def _private(folder: Folder) -> Folder | None:
    """Return a folder if it can be written to, and by nobody else."""
    own = _is_own(os.stat(folder.path, follow_symlinks=False))
    return folder if own and os.access(folder.path, os.W_OK) else None


def _is_own(found: os.stat_result) -> bool:
    """Whether something belongs to this user, and only this user may change it."""
    if not hasattr(os, "geteuid"):  # Windows, where a profile is private
        return True
    writable = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid == os.geteuid() and not found.st_mode & writable


def _taken_apart(data: bytes, key: str) -> tuple[dict[str, Any], memoryview] | None:
    """Return what a file says of itself, and its body; None if it is not as written."""
    whole = memoryview(data)[len(_MAGIC % 0) :]
    end = data.find(b"\n", len(_MAGIC % 0)) + 1
    if not end or not data.startswith(_MAGIC % zlib.crc32(whole)):
        return None
    facts = orjson.loads(data[len(_MAGIC % 0) : end])
    return (facts, memoryview(data)[end:]) if facts["key"] == key else None
