"""Removing the folders of runs, so that nobody can turn it against other files.

Invariants:

- What is removed lies below the root and is reached by no link; links in it are removed
  themselves, not what they point at.
- A run is first renamed to `.removed-<id>-<8 hex digits>`, which no reader takes for a
  run, and then removed. What an interrupted removal leaves goes with the next one.
"""

import os
import re
import shutil
import stat
from pathlib import Path

from mlog.errors import MlogError, UnsafePathError, told

__all__ = ["remove_run", "size_of", "sweep"]

_LEFT_OVER = re.compile(r"\.removed-.+-[0-9a-f]{8}", re.DOTALL)
_MAX_NAME = 200
_BY_FD = os.rename in os.supports_dir_fd and shutil.rmtree.avoids_symlink_attacks
_BY_EFFECTIVE_ID = os.access in os.supports_effective_ids
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder; of one with two names there once."""
    total, seen = 0, set[int]()
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(path, name))
            except OSError:  # removed just now
                continue
            if status.st_ino not in seen:
                total += status.st_size
            if status.st_nlink > 1:
                seen.add(status.st_ino)
    return total


def remove_run(root: Path, folder: Path) -> None:
    """Remove a run.

    Raises:
        MlogError: Not all of it could be removed, or nothing, as told.
        OSError: Its experiment cannot be opened.
    """
    if closed := _closed_in(folder):
        raise MlogError(f"you may not remove what is in {closed}")
    with _Experiment(root / folder.parent.name) as experiment:
        hidden = experiment.hide(folder.name)
        try:
            experiment.remove(hidden)
        except OSError as exc:
            where = experiment.path / hidden
            raise MlogError(
                f"not all of it could be removed, see {where}: {told(exc)}"
            ) from exc


def _closed_in(folder: Path) -> Path | None:
    """Return a folder of a run out of which nothing may be removed; None: there is none.

    It is looked at beforehand, so that such a run stays whole and in its place.
    """
    for path, folders, files in os.walk(folder):
        if (folders or files) and not os.access(
            path, os.W_OK | os.X_OK, effective_ids=_BY_EFFECTIVE_ID
        ):
            return Path(path)
    return None


def sweep(root: Path) -> int:
    """Finish interrupted removals; return how many bytes that has freed."""
    freed = 0
    for path in _folders(root):
        try:
            with _Experiment(path) as experiment:
                for name in filter(_LEFT_OVER.fullmatch, experiment.names()):
                    size = size_of(path / name)
                    experiment.remove(name)
                    freed += size
        except (OSError, UnsafePathError):  # somebody else's, or just being removed
            continue
    return freed


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as found:
            return [Path(e) for e in found if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []


class _Experiment:
    """A folder of runs, held open, so that nobody can put a link into its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if _BY_FD:
            self._at = os.open(path, _FOLDER | os.O_NOFOLLOW)
        elif path.is_symlink():
            raise UnsafePathError(f"{path} is a link; links are not followed")

    def __enter__(self) -> "_Experiment":
        return self

    def __exit__(self, *_: object) -> None:
        if _BY_FD:
            os.close(self._at)

    def names(self) -> list[str]:
        """Return the names in it."""
        return os.listdir(self._at if _BY_FD else self.path)

    def hide(self, name: str) -> str:
        """Give a run a name that is no run's; return that."""
        hidden = f".removed-{name[:_MAX_NAME]}-{os.urandom(4).hex()}"
        if _BY_FD:
            status = os.stat(name, dir_fd=self._at, follow_symlinks=False)
        else:
            status = os.lstat(self.path / name)
        if not stat.S_ISDIR(status.st_mode):
            raise UnsafePathError(f"{self.path / name} is no folder, or a link")
        if _BY_FD:
            os.rename(name, hidden, src_dir_fd=self._at, dst_dir_fd=self._at)
        else:
            os.rename(self.path / name, self.path / hidden)
        return hidden

    def remove(self, name: str) -> None:
        """Remove a folder with all that is in it; a link in it is removed itself."""
        while name in self.names():
            try:
                if _BY_FD:
                    shutil.rmtree(name, dir_fd=self._at)
                else:
                    shutil.rmtree(self.path / name)
            except FileNotFoundError:  # another command removes it, too
                continue
