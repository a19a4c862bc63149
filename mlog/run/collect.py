"""What a program put into `./outputs` and `./logs`, stored at the end of its run.

As Azure ML v1 did: all that lies in these folders is stored under its path, also what
was there before the run. Left out are hidden files below `logs`, and what is stored
already and has not changed since.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlog.errors import warn_once
from mlog.plain import clean_text
from mlog.run.artifacts import ArtifactStore, Stored, artifact_name

__all__ = ["FOLDERS", "Collected", "collect", "files_below", "folders_of"]

FOLDERS = ("outputs", "logs")
"""What is collected where nothing else is said, below the working directory."""

_BLOCK = 1 << 20
_SLACK = 2.0  # seconds: file systems with coarse times may round down


@dataclass(slots=True)
class Collected:
    """How it went.

    Attributes:
        stored: How many files were stored.
        unchanged: How many were stored before as they are.
        failed: What went wrong, one text for each file.
    """

    stored: int
    unchanged: int
    failed: list[str]


def folders_of(outputs: object) -> tuple[str, ...]:
    """Return the folders that `outputs=` of a start asks for.

    Args:
        outputs: None or True: `outputs` and `logs`; False: nothing; the path of a
            folder: that and `logs`; several paths: just those.

    Raises:
        TypeError: It is nothing of that kind.
    """
    if outputs is None or outputs is True:
        return FOLDERS
    if outputs is False:
        return ()
    if isinstance(outputs, str | os.PathLike):
        return (os.fspath(outputs), "logs")
    if isinstance(outputs, Iterable):
        return tuple(os.fspath(path) for path in outputs)
    raise TypeError(
        f"outputs must be True, False, a folder or a list of them, got {outputs!r}"
    )


def collect(
    store: ArtifactStore,
    folders: Iterable[str] = FOLDERS,
    *,
    cwd: Path,
    since: float | None = None,
    told: Callable[[Stored], None] | None = None,
) -> Collected:
    """Store what lies in some folders. Never raises but with `strict`.

    One file that cannot be stored does not keep others from it; one warning counts them.

    Args:
        store: Where to.
        folders: Relative to `cwd`; one that is not there is empty. An absolute path is
            stored under its last part.
        cwd: Working directory at the start of the run.
        since: Only files that came or changed after this, in seconds since the epoch.
            Default: all.
        told: Called with each file that was stored.
    """
    done = Collected(0, 0, [])
    never = (store.run, store.run.parent.parent)
    for folder in folders:
        try:
            for name, path in _candidates(cwd, folder, never, since, done.failed):
                _store_one(store, name, path, told, done)
        except Exception as exc:  # a folder that cannot be listed
            done.failed.append(f"{folder}: {exc}")
    if done.failed:
        text = (
            f"{len(done.failed)} files or folders of {', '.join(folders)} could not be "
            f"stored in run {store.run.name}; the first: {done.failed[0]}"
        )
        warn_once(f"collect {store.run}", text)
    return done


def files_below(
    folder: Path,
    *,
    never: Iterable[Path] = (),
    hidden: bool = True,
    failed: list[str] | None = None,
) -> Iterator[tuple[str, Path]]:
    """Yield the regular files below a folder: name relative to it, and path; sorted.

    Links to files inside the folder count as files. Other links are left out; of those
    that lead outside one warning tells.

    Args:
        folder: May itself be a link.
        never: Folders not to look into.
        hidden: Whether what begins with a dot counts.
        failed: Gets a text for each folder that cannot be read. Default: OSError.
    """
    real = os.path.realpath(folder)
    closed = {os.path.realpath(path) for path in never}
    outside: list[str] = []
    for here, folders, files in os.walk(folder, onerror=_teller(failed)):
        folders[:] = sorted(
            name
            for name in folders
            if (hidden or name[0] != ".")
            and not _leads_out(os.path.join(here, name), real, outside)
            and os.path.realpath(os.path.join(here, name)) not in closed
        )
        for name in sorted(files):
            path = os.path.join(here, name)
            if (hidden or name[0] != ".") and not _leads_out(path, real, outside):
                if os.path.isfile(path):
                    below = os.path.relpath(path, folder).replace(os.sep, "/")
                    yield clean_text(below), Path(path)
    if outside:
        text = (
            f"{len(outside)} links in {folder} lead outside of it and were left out, "
            f"such as {outside[0]}"
        )
        warn_once(f"links in {real}", text)


def _candidates(
    cwd: Path,
    folder: str,
    never: Iterable[Path],
    since: float | None,
    failed: list[str],
) -> Iterator[tuple[str, Path]]:
    """Yield artifact name and path of what is to be stored of one folder."""
    place = cwd / folder
    if not place.is_dir():
        return
    start = _start(folder, place)
    hidden = start.split("/")[-2:] != ["logs", ""]
    for below, path in files_below(place, never=never, hidden=hidden, failed=failed):
        if since is None or _came_after(path, since):
            yield start + below, path


def _start(folder: str, place: Path) -> str:
    """Return what the names of a folder's files begin with; "" for that of "."."""
    if os.path.isabs(folder) or ".." in Path(folder).parts:
        return artifact_name(place.resolve().name) + "/"
    plain = os.path.normpath(folder)
    return "" if plain == "." else artifact_name(plain) + "/"


def _store_one(
    store: ArtifactStore,
    name: str,
    path: Path,
    told: Callable[[Stored], None] | None,
    done: Collected,
) -> None:
    try:
        if _is_stored(store, name, path):
            done.unchanged += 1
            return
        stored = store.put(name, path)
        done.stored += 1
        if told is not None:
            told(stored)
    except Exception as exc:
        if os.path.lexists(path):  # else it was temporary, and needs no word
            done.failed.append(f"{name}: {exc}")


def _is_stored(store: ArtifactStore, name: str, path: Path) -> bool:
    """Whether the artifact is this file: by size and time of change, or content."""
    there, here = store.status(name), path.stat()
    if there is None or there.st_size != here.st_size:
        return False
    return there.st_mtime_ns == here.st_mtime_ns or _is_equal(store, name, path)


def _is_equal(store: ArtifactStore, name: str, path: Path) -> bool:
    with store.open(name) as there, path.open("rb") as here:
        while block := here.read(_BLOCK):
            if there.read(_BLOCK) != block:
                return False
        return not there.read(1)


def _came_after(path: Path, since: float) -> bool:
    """Whether a file was changed, made or moved after a time.

    A copy may keep the old time of its content; that of its inode is new.
    """
    found = path.stat()
    return max(found.st_mtime, found.st_ctime) >= since - _SLACK


def _leads_out(path: str, real: str, outside: list[str]) -> bool:
    """Whether a path is a link out of the folder `real`; then it is noted."""
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    if target == real or target.startswith(real.rstrip(os.sep) + os.sep):
        return False
    outside.append(path)
    return True


def _teller(failed: list[str] | None) -> Callable[[OSError], None]:
    def tell(error: OSError) -> None:
        if failed is None:
            raise error
        failed.append(f"{error.filename}: {error.strerror}")

    return tell
