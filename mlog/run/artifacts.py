"""Artifacts: the files a run puts out, below `<run>/artifacts/` under the user's names.

Invariants:

- A file appears under its name as a whole. It is written beside the folder, as
  `<run>/.<name>.<pid>-<n>.tmp`, and renamed; only a killed process leaves that behind.
- Nothing is written or read outside the run's folder: names are checked, and every
  level is opened without following links. What is not a regular file is no artifact.
- A file is copied block by block, so its size does not matter, and has the time of
  change of the file it was copied from: an equal copy is known without reading it.
"""

import errno
import itertools
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, TextIO, TypeAlias

from mlog.errors import ArtifactNotFoundError, MlogError, UnsafePathError
from mlog.folder import Access, Folder, access_for, read_from
from mlog.plain import clean_text, safe_str

__all__ = [
    "ArtifactStore",
    "Bar",
    "Progress",
    "Source",
    "Stored",
    "artifact_name",
    "check_source",
    "copy_out",
    "guess_media_type",
]

Progress: TypeAlias = Callable[[int, int | None], None]
"""Told the bytes done and the bytes in all, where they are known, after each block."""

Source: TypeAlias = "bytes | str | os.PathLike[str] | BinaryIO | TextIO"
"""What becomes an artifact: bytes, the path of a file, or a stream (read to its end)."""

_FOLDER = "artifacts"
_BLOCK = 1 << 20
_MAX_NAME = 2_000  # bytes: whole paths are limited to 4,096 on Linux
_MAX_PART = 255
_MAX_COMPARED = 10_000
_MAX_LABEL = 40
_serial = itertools.count()
_DRIVE = re.compile(r"[A-Za-z]:")
# Source: Microsoft, "Naming Files, Paths, and Namespaces".
_NOT_ON_WINDOWS = re.compile(
    r'.*[<>:"|?*\x01-\x1f].*|.*[. ]|'
    r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?",
    re.IGNORECASE | re.DOTALL,
)


class Stored(NamedTuple):
    """One artifact as it was stored.

    Attributes:
        path: Its name, relative to the run's artifacts; `/` between the levels.
        size: In bytes.
        sha256: Of the content, 64 hex digits.
        media_type: Such as `image/png`.
    """

    path: str
    size: int
    sha256: str
    media_type: str


def artifact_name(
    text: str | os.PathLike[str], *, windows: bool = os.name == "nt"
) -> str:
    r"""Return the one spelling of an artifact's name: `./outputs/x` is `outputs/x`.

    Both `/` and `\` stand between levels, as v1 scripts were written on both systems.

    Args:
        text: What the user typed.
        windows: Whether names that Windows gives a meaning of its own are refused.

    Raises:
        UnsafePathError: It is absolute or has `..` in it.
        ValueError: It is empty, ends in `/`, or cannot be a file's name.
        TypeError: It is no text.
    """
    name = os.fspath(text)
    if not isinstance(name, str):
        raise TypeError(f"an artifact's name must be text, got {name!r}")
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or _DRIVE.match(plain) or ".." in parts:
        raise UnsafePathError(
            f"{name!r} leads out of the run's folder; "
            "give a name relative to it, such as 'outputs/model.pkl'"
        )
    if not parts or plain.endswith(("/", "/.")):
        raise ValueError(f"{name!r} names no file; 'outputs/model.pkl' would")
    for part in parts:
        _check_part(name, part, windows)
    joined = "/".join(parts)
    if len(joined.encode()) > _MAX_NAME:
        raise ValueError(
            f"an artifact's name may have {_MAX_NAME:,} bytes, got {name[:100]!r}…"
        )
    return joined


def _check_part(name: str, part: str, windows: bool) -> None:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} is no Unicode text") from None
    if "\0" in part:
        raise ValueError(f"{name!r} has a NUL in it")
    if size > _MAX_PART:
        raise ValueError(
            f"one level of a name may have {_MAX_PART} bytes, {part[:50]!r}… has {size}"
        )
    if windows and _NOT_ON_WINDOWS.fullmatch(part):
        raise ValueError(f"{part!r} cannot be a file's name on Windows")


class ArtifactStore:
    """The artifacts of one run. Safe from any thread and process; holds nothing open.

    Attributes:
        run: Folder of the run.
        path: Folder of the artifacts; made with the first one.
    """

    def __init__(
        self, run: str | os.PathLike[str], access: Access | None = None
    ) -> None:
        """Use the run in the folder `run`, which must be there when a file is put.

        `access` is the mode of what is made; by default that of the run's folder.
        """
        self.run = Path(os.path.abspath(run))
        self.path = self.run / _FOLDER
        self._access = access or access_for(self.run, "private")

    def put(
        self,
        name: str | os.PathLike[str],
        source: Source,
        *,
        media_type: str | None = None,
        progress: Progress | None = None,
    ) -> Stored:
        """Copy a source to the artifact `name`, replacing one that is there.

        Returns when the content is on the disk and has its name. After an error nothing
        of it is there.

        Args:
            name: As for `artifact_name`.
            source: Bytes, the path of a file, or a stream, which is read from where it
                stands to its end and not closed; text becomes UTF-8.
            media_type: By default guessed from the name.
            progress: Told after each block.

        Raises:
            UnsafePathError: The name leads out of the run, or a link is in its place.
            ValueError, TypeError: The name or the source is none.
            OSError: The source cannot be read, or the artifact not be written.
            MlogError: The run's folder is gone, or another artifact is in the way.
        """
        name = artifact_name(name)
        with _open_source(source) as blocks:
            size, digest = self._write(name, blocks, progress)
        return Stored(name, size, digest, media_type or guess_media_type(name))

    def names(self, prefix: str | os.PathLike[str] | None = None) -> list[str]:
        """Return the names of all artifacts, sorted; those that begin with `prefix`."""
        try:
            folder = self.open_run().child(_FOLDER, create=False)
        except FileNotFoundError:
            return []
        start = _prefix(prefix)
        return sorted(name for name in _walk(folder, "") if name.startswith(start))

    def open(self, name: str) -> BinaryIO:
        """Open an artifact for reading.

        Raises:
            ArtifactNotFoundError: There is none of that name; the message has the
                closest ones.
            UnsafePathError: The name leads out of the run, or a link is in its place.
        """
        name = artifact_name(name)
        *parents, last = name.split("/")
        try:
            return self._folder(parents, create=False).open(last)
        except UnsafePathError:
            raise
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                raise
            raise self.not_found(name) from None

    def status(self, name: str) -> os.stat_result | None:
        """Return size and time of change of an artifact; None where there is none."""
        *parents, last = artifact_name(name).split("/")
        try:
            found = self._folder(parents, create=False).status(last)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if found is not None and stat.S_ISREG(found.st_mode) else None

    def fetch(
        self,
        name: str,
        target: str | os.PathLike[str],
        *,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Copy an artifact to a file of the user's, in place as a whole.

        Args:
            name: Of the artifact.
            target: Path of the file; folders above it are made, a file is replaced.
            sha256: What the content must have.
            progress: Told after each block.

        Raises:
            ArtifactNotFoundError: There is no such artifact.
            MlogError: The content has another checksum; the target stays as it was.
            OSError: The target cannot be written, or is no regular file.
        """
        with self.open(name) as file:
            blocks = _Blocks(file, os.fstat(file.fileno()).st_size)
            _copy_out(blocks, Path(target), sha256, progress)

    def not_found(self, name: str | None) -> ArtifactNotFoundError:
        """Return the error for a name, or a beginning of names, that is not there."""
        import difflib  # only here: it is slow to import

        names = self.names()
        close = difflib.get_close_matches(name or "", names[:_MAX_COMPARED], cutoff=0.4)
        hint = f"it has {len(names)} others" if names else "it has none at all"
        if close:
            hint = f"the closest are {', '.join(map(repr, close))}"
        what = "no artifacts" if name is None else f"no artifact {name!r}"
        return ArtifactNotFoundError(f"run {self.run.name} has {what}; {hint}")

    def open_run(self) -> Folder:
        """Open the run's folder; MlogError where it is gone."""
        parts = (self.run.parent.name, self.run.name)
        root = self.run.parent.parent
        try:
            return Folder.open_below(root, parts, self._access, create=False)
        except FileNotFoundError:
            text = f"{self.run} is not there; was the run's folder removed or moved?"
            raise MlogError(text) from None

    def _folder(self, parents: list[str], *, create: bool) -> Folder:
        folder = self.open_run()
        for part in (_FOLDER, *parents):
            folder = folder.child(part, create=create)
        return folder

    def _write(
        self, name: str, blocks: "_Blocks", progress: Progress | None
    ) -> tuple[int, str]:
        *parents, last = name.split("/")
        try:
            folder = self._folder(parents, create=True)
            _check_free(folder, last, name)
            return folder.place(
                last,
                lambda file: _copy(blocks, file, progress),
                scratch=self.open_run(),
                sync=True,
            )
        except NotADirectoryError:
            text = f"artifact {name!r} cannot be stored: one of its folders is a file"
            raise MlogError(text) from None
        except OSError as exc:
            if exc.strerror is None:  # of a stream that raises errors of its own
                raise
            text = f"{exc.strerror}: artifact {name!r} was not stored in {self.path}"
            raise OSError(exc.errno, text) from exc


def check_source(source: Source) -> None:
    """Raise what `ArtifactStore.put` would for a source that cannot be opened."""
    with _open_source(source):
        pass


def copy_out(source: Source, target: Path) -> None:
    """Copy a source to a file of the user's, in place as a whole; see `fetch`."""
    with _open_source(source) as blocks:
        _copy_out(blocks, target, None, None)


def guess_media_type(name: str) -> str:
    """Guess a media type from a name; `application/octet-stream` where none is known."""
    import mimetypes  # only here: it reads files of the system

    kind, packed = mimetypes.guess_type(name, strict=False)
    if packed:
        return f"application/{packed}"
    return kind or "application/octet-stream"


class Bar:
    """A line on a terminal that shows how far a big copy is; elsewhere nothing.

    A `Progress`, and a context manager that leaves the line empty at its end.
    """

    def __init__(
        self, label: object, stream: TextIO | None = None, *, least: int = 64 << 20
    ) -> None:
        """Show on `stream`, by default stderr, what has `least` bytes or more."""
        text = safe_str(label)[-_MAX_LABEL:]
        self._label = "".join(c if c.isprintable() else "?" for c in text)
        self._stream = sys.stderr if stream is None else stream
        self._least = least
        self._percent = -1

    def __call__(self, done: int, total: int | None) -> None:
        """Draw the line anew when the share has grown by one percent."""
        if total is None or total < self._least:
            return
        percent = min(100, done * 100 // total)
        if percent != self._percent and self._is_terminal():
            bar = "#" * (percent // 4)
            self._write(f"\r\x1b[K{self._label} [{bar:<25}] {percent:3}%")
            self._percent = percent

    def __enter__(self) -> Self:
        """Return the bar, which is not shown yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """Empty the line."""
        if self._percent >= 0:
            self._write("\r\x1b[K")

    def _is_terminal(self) -> bool:
        try:
            return self._stream.isatty()
        except Exception:  # stderr may be None, closed, or an object of somebody's
            return False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except Exception:  # what cannot be shown is no reason to fail
            return


@dataclass(slots=True)
class _Blocks:
    """A source, block by block.

    Attributes:
        file: What is read.
        total: Size of it in bytes, where known; it may change meanwhile.
        changed_ns: When its content was changed last, where known.
        owned: Whether the file is closed at the end.
    """

    file: Any
    total: int | None = None
    changed_ns: int | None = None
    owned: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.owned:
            self.file.close()

    def __iter__(self) -> Iterator[bytes]:
        while block := self.file.read(_BLOCK):
            yield _bytes_of(block)


def _open_source(source: Source) -> _Blocks:
    if isinstance(source, bytes | bytearray | memoryview):
        import io

        return _Blocks(io.BytesIO(source), memoryview(source).nbytes)
    if isinstance(source, str | os.PathLike):
        return _open_path(source)
    if callable(getattr(source, "read", None)):
        return _Blocks(source)
    raise TypeError(
        "expected the path of a file, bytes or a stream opened for reading, "
        f"got {type(source).__name__}"
    )


def _open_path(path: str | os.PathLike[str]) -> _Blocks:
    if stat.S_ISDIR(os.stat(path).st_mode):
        text = "a folder is no file; upload_folder stores folders"
        raise IsADirectoryError(errno.EISDIR, text, os.fspath(path))
    file = read_from(Path(os.path.realpath(path)))  # a link is the user's own
    found = os.fstat(file.fileno())
    return _Blocks(file, found.st_size, found.st_mtime_ns, owned=True)


def _bytes_of(block: object) -> bytes:
    if isinstance(block, str):
        return clean_text(block).encode()
    if isinstance(block, bytes | bytearray | memoryview):
        return bytes(block)
    raise TypeError(f"a stream must give bytes or text, got {type(block).__name__}")


def _copy(
    blocks: _Blocks,
    file: BinaryIO,
    progress: Progress | None,
    *,
    keep_time: bool = True,
) -> tuple[int, str]:
    """Copy a source to an open file; return its size and sha256."""
    import hashlib  # only here: it is slow to import

    digest = hashlib.sha256()
    size = 0
    for block in blocks:
        digest.update(block)
        file.write(block)
        size += len(block)
        if progress is not None:
            progress(size, blocks.total)
    if keep_time and blocks.changed_ns is not None:
        file.flush()
        _set_time(file, blocks.changed_ns)
    return size, digest.hexdigest()


def _copy_out(
    blocks: _Blocks, target: Path, sha256: str | None, progress: Progress | None
) -> None:
    target = Path(os.path.realpath(target))  # a link there is the user's own
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".mlog-{os.getpid()}-{next(_serial)}.tmp")
    temporary.unlink(missing_ok=True)  # of a crashed process with the same pid
    try:
        with temporary.open("xb") as file:
            _, digest = _copy(blocks, file, progress, keep_time=False)
        if sha256 is not None and digest != sha256:
            raise MlogError(
                f"{target} was not written: the content has sha256 {digest}, "
                f"recorded was {sha256}; the artifact was changed or is damaged"
            )
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _set_time(file: BinaryIO, changed_ns: int) -> None:
    if os.utime not in os.supports_fd:
        return
    try:
        os.utime(file.fileno(), ns=(changed_ns, changed_ns))
    except OSError:  # a file system without times: the copy is made again then
        return


def _check_free(folder: Folder, last: str, name: str) -> None:
    """Refuse what a file cannot or must not be put in the place of."""
    found = folder.status(last)
    if found is None or stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        text = f"artifact {name!r} cannot be stored: it is a folder of artifacts"
        raise MlogError(text)
    raise UnsafePathError(
        f"{folder.path / last} is a link or a device; artifacts are plain files"
    )


def _walk(folder: Folder, above: str) -> Iterator[str]:
    """Yield the names of all regular files below a folder; links are not followed."""
    for name in folder.names():
        found = folder.status(name) if _is_plain(name) else None
        if found is None:
            continue
        if stat.S_ISREG(found.st_mode):
            yield above + name
        elif stat.S_ISDIR(found.st_mode):
            yield from _walk(folder.child(name, create=False), f"{above}{name}/")


def _is_plain(name: str) -> bool:
    """Whether a file's name can be an artifact's; others were put there by hand."""
    return "\\" not in name and clean_text(name) == name


def _prefix(text: str | os.PathLike[str] | None) -> str:
    """Spell the beginning of a name as names are spelt."""
    plain = "" if text is None else os.fspath(text).replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:].lstrip("/")
    return plain
