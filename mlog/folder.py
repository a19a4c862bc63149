"""A folder below the root: files made in it, with the right mode, never through a link.

The root itself and its parents may be links (`/data` often is one). Below it every
step is opened by `O_NOFOLLOW` relative to the step before, so nobody who can write
into the root can lead a run's files elsewhere. Where the system has no `dir_fd`
(Windows) the same is checked by `is_symlink`, which leaves a race.
"""

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from mlog.errors import UnsafePathError
from mlog.types import Mode

__all__ = [
    "GROUP",
    "PRIVATE",
    "Access",
    "Folder",
    "OpenFile",
    "access_for",
    "append_to",
    "read_from",
]

_BY_FD = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
_MAX_KEPT = 50  # characters of a name in that of its temporary file: 255 bytes in all
_serial = itertools.count()
_T = TypeVar("_T")


class Access(NamedTuple):
    """Permission bits of files and folders, kept under any umask."""

    file: int
    folder: int


PRIVATE = Access(file=0o600, folder=0o700)
"""For the user alone."""

GROUP = Access(file=0o660, folder=0o2770)
"""For the user's group; setgid, so that files keep the folder's group."""


def access_for(root: Path, mode: Mode) -> Access:
    """Return the access asked for by `mode`, or by a root with the setgid bit."""
    if mode not in ("private", "group"):
        raise ValueError(f"mode must be 'private' or 'group', got {mode!r}")
    try:
        shared = bool(root.stat().st_mode & stat.S_ISGID)
    except OSError:
        shared = False
    return GROUP if shared or mode == "group" else PRIVATE


class OpenFile:
    """A descriptor that is closed when the last thread using it lets go of it.

    Closing it by hand could hand its number to another file while a thread is just
    about to write; so nobody does.

    Attributes:
        fd: The descriptor.
        synced: Size up to which the file was put on the disk by whoever syncs it.
    """

    __slots__ = ("__weakref__", "fd", "synced")

    def __init__(self, fd: int) -> None:
        """Own the descriptor `fd`."""
        self.fd = fd
        self.synced = 0

    def __del__(self, _close=os.close) -> None:  # type: ignore[no-untyped-def]
        """Close the descriptor."""
        try:
            _close(self.fd)
        except OSError:  # nobody is left to tell
            return


class Folder:
    """One folder below a root, held open. Safe from any thread.

    Attributes:
        path: Where it is, for people and messages.
        access: Mode bits of what is made in it.
    """

    def __init__(self, path: Path, access: Access, held: OpenFile | None) -> None:
        """Use `open_below`; `held` is the open folder, None without `dir_fd`."""
        self.path = path
        self.access = access
        self._held = held

    @classmethod
    def open_below(
        cls, root: Path, parts: Iterable[str], access: Access, *, create: bool = True
    ) -> "Folder":
        """Open `root/part/…`, making what is missing.

        Args:
            root: Made with its parents where missing; may be or lie behind a link.
            parts: Plain names, one per level.
            access: Mode of what is made.
            create: Whether to make what is missing.

        Raises:
            UnsafePathError: A part is a link, or not a plain name.
            OSError: A folder cannot be made or opened.
        """
        if create and not root.is_dir():
            _make_root(root, access)
        folder = cls(root, access, _open_folder(root, None) if _BY_FD else None)
        for part in parts:
            folder = folder.child(part, create=create)
        return folder

    def child(self, name: str, *, create: bool = True) -> "Folder":
        """Open the folder `name` in this one; errors as in `open_below`."""
        _check_plain(name)
        path = self.path / name
        try:
            if create:
                self._make(name)
            held = _open_folder(name, self._fd) if _BY_FD else None
        except OSError as exc:
            _check_no_link(path, exc)
            raise
        if not _BY_FD:
            _check_no_link(path, None)
        return Folder(path, self.access, held)

    def create(self, name: str) -> OpenFile:
        """Make the file `name` for appending; it must not be there yet.

        Raises:
            FileExistsError: It is there already, also as a link.
            OSError: It cannot be made.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        return OpenFile(self._open(name, flags))

    def reopen(self, name: str) -> OpenFile:
        """Open the file `name` for reading and writing, making it where missing."""
        return OpenFile(self._open(name, os.O_RDWR | os.O_CREAT))

    def open(self, name: str) -> BinaryIO:
        """Open the regular file `name` for reading.

        Raises:
            UnsafePathError: It is a link, or not a plain name.
            OSError: It is not there, no regular file, or may not be read.
        """
        try:
            return _reader(self._open(name, _READ), self.path / name)
        except OSError as exc:
            _check_no_link(self.path / name, exc)
            raise

    def replace(self, name: str, data: bytes) -> None:
        """Put a file in place as a whole: readers see the old one or the new one.

        A crash may leave `.<name>.<pid>-<n>.tmp` behind.
        """
        self.place(name, lambda file: file.write(data))

    def place(
        self,
        name: str,
        write: Callable[[BinaryIO], _T],
        *,
        scratch: "Folder | None" = None,
        sync: bool = False,
    ) -> _T:
        """Put a file in place as a whole, as `replace` does, from what `write` writes.

        Args:
            name: Of the file; one that is there is replaced.
            write: Gets the file, new, empty and seekable. What it raises is passed on
                and leaves things as they were.
            scratch: Folder on the same disk that holds the file until it is whole.
            sync: Whether it is on the disk before it has its name, so that a power cut
                leaves none that is empty.

        Returns:
            What `write` returns.
        """
        _check_plain(name)
        made_in = scratch or self
        temporary = f".{name[:_MAX_KEPT]}.{os.getpid()}-{next(_serial)}.tmp"
        made_in.remove(temporary)  # of a crashed process with the same pid
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        fd = made_in._open(temporary, flags)
        try:
            with open(fd, "wb") as file:
                result = write(file)
                if sync:
                    file.flush()
                    os.fsync(fd)
            made_in._rename(temporary, self, name)
        except BaseException:
            made_in.remove(temporary)
            raise
        return result

    def remove(self, name: str) -> bool:
        """Remove the file `name`; return False if it was not there."""
        _check_plain(name)
        try:
            if _BY_FD:
                os.unlink(name, dir_fd=self._fd)
            else:
                (self.path / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """Return the names in this folder."""
        return os.listdir(self._fd if _BY_FD else self.path)

    def size(self, name: str) -> int:
        """Return the size of the file `name` in bytes; 0 if it is not there."""
        found = self.status(name)
        return found.st_size if found is not None else 0

    def status(self, name: str) -> os.stat_result | None:
        """Return what is known of `name`, of a link itself; None if it is not there."""
        _check_plain(name)
        try:
            if _BY_FD:
                return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            return os.lstat(self.path / name)
        except FileNotFoundError:
            return None

    def exists(self) -> bool:
        """Whether the folder still has its place; a removed one can be held open."""
        try:
            if not _BY_FD:
                return self.path.is_dir()
            held = os.fstat(self._fd)
            return held.st_nlink > 0 and os.path.samestat(held, os.stat(self.path))
        except OSError:
            return False

    def let_go(self) -> "Folder":
        """Return this place no longer held open; what is asked of that is an OSError.

        Whoever is just using this object is not disturbed.
        """
        return Folder(self.path, self.access, None)

    @property
    def _fd(self) -> int:
        if self._held is None:
            raise OSError(errno.EBADF, "the folder is no longer open", str(self.path))
        return self._held.fd

    def _open(self, name: str, flags: int) -> int:
        _check_plain(name)
        flags |= _NO_LINK | _BINARY
        if _BY_FD:
            fd = os.open(name, flags, self.access.file, dir_fd=self._fd)
        else:
            fd = os.open(self.path / name, flags, self.access.file)
        if flags & os.O_CREAT:
            _set_mode(fd, self.access.file)
        return fd

    def _rename(self, name: str, folder: "Folder", new: str) -> None:
        if _BY_FD:
            os.replace(name, new, src_dir_fd=self._fd, dst_dir_fd=folder._fd)
        else:
            os.replace(self.path / name, folder.path / new)

    def _make(self, name: str) -> None:
        try:
            if _BY_FD:
                os.mkdir(name, self.access.folder, dir_fd=self._fd)
                made = _open_folder(name, self._fd)
                _set_mode(made.fd, self.access.folder)
            else:
                os.mkdir(self.path / name, self.access.folder)
        except FileExistsError:
            return


def _check_plain(name: str) -> None:
    """Refuse what is not the name of something in this folder."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UnsafePathError(f"{name!r} is no plain name")


def _check_no_link(path: Path, cause: OSError | None) -> None:
    if path.is_symlink():
        message = f"{path} is a link; links below the root are not followed"
        raise UnsafePathError(message) from cause


def read_from(path: Path) -> BinaryIO:
    """Open a regular file for reading; a link, a pipe or a device is not opened.

    Raises:
        OSError: It is not there, no regular file, or may not be read.
    """
    return _reader(os.open(path, _READ | _NO_LINK | _BINARY), path)


def _reader(fd: int, path: Path) -> BinaryIO:
    """Own a descriptor of what must be a regular file."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(fd, "rb")


def append_to(path: Path, access: Access) -> OpenFile:
    """Open a file the user named for appending, making it with `access` if missing.

    An existing file keeps its mode, and may be a link: the name is the user's own.
    """
    flags = os.O_WRONLY | os.O_APPEND | _BINARY | getattr(os, "O_CLOEXEC", 0)
    try:
        file = OpenFile(os.open(path, flags | os.O_CREAT | os.O_EXCL, access.file))
    except FileExistsError:
        return OpenFile(os.open(path, flags))
    _set_mode(file.fd, access.file)
    return file


def _make_root(root: Path, access: Access) -> None:
    """Make the root with the right mode; its parents get the user's usual one."""
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        root.mkdir(mode=access.folder)
    except FileExistsError:
        return
    root.chmod(access.folder)


def _open_folder(name: str | Path, parent: int | None) -> OpenFile:
    flags = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
    if parent is not None:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    return OpenFile(os.open(name, flags, dir_fd=parent))


def _set_mode(fd: int, mode: int) -> None:
    """Give the file the mode meant, whatever the umask took away."""
    if not hasattr(os, "fchmod"):
        return
    try:
        os.fchmod(fd, mode)
    except OSError:  # another user's file, or a file system without modes
        return
