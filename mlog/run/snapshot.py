"""Snapshots: a copy of a folder of sources, as it was when the run began.

What belongs to a snapshot is decided by, first match first:

1. Always left out: the table below, version control, virtual environments, caches, runs
   and their root, the top-level folders `outputs` and `logs`, links that lead outside,
   and what is no regular file.
2. `.amlignore` in the folder, in the syntax of `.gitignore`. As in v1 the last line that
   fits a file, or a folder above it, decides: `*`, `!src/` keeps all of `src`.
3. Where that is not there, each `.gitignore` in the folder and below. Those above it
   and git's own lists (`.git/info/exclude`) are not read.

| left out always, as secrets (in any case of letters) |
|---|
| `.env*`, `*.pem`, `*.key`, `*.p12`, `*.pfx`, `*.ppk`, `*.jks`, `*.keystore`, `*.kdbx` |
| `id_rsa*`, `id_dsa*`, `id_ecdsa*`, `id_ed25519*`, `.ssh`, `.gnupg` |
| `.netrc`, `_netrc`, `.pypirc`, `.npmrc`, `.pgpass`, `.my.cnf`, `.htpasswd` |
| `.git-credentials`, `.dockercfg`, `.s3cfg`, `.boto`, `.databrickscfg`, `.vault-token` |
| `credentials`, `credentials.*`, `client_secret*.json`, `service?account*.json` |
| `application_default_credentials.json`, `kaggle.json`, `secrets.{json,toml,yaml,yml}` |
| `.aws`, `.azure`, `.kube`, `.docker`, `.gcloud` |

Invariants:

- Limits are checked before anything is written.
- The same names and contents give the same id and the same bytes on every machine with
  the same zlib: entries are sorted and have one date.
- The id stands in the comment of the ZIP file, so the file alone tells it.
"""

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from mlog.errors import MlogError, warn_once
from mlog.folder import Folder
from mlog.plain import clean_text

__all__ = [
    "SNAPSHOT",
    "Limits",
    "Snapshot",
    "SnapshotFacts",
    "SourceFile",
    "copy_snapshot",
    "make_snapshot",
    "open_snapshot",
    "source_files",
]

SNAPSHOT = "snapshot.zip"
"""Name of the snapshot in the run's folder."""

_SECRET = (
    *(".env*", "*.pem", "*.key", "*.p12", "*.pfx", "*.ppk", "*.jks", "*.keystore"),
    *("*.kdbx", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh", ".gnupg"),
    *(".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd"),
    *(".git-credentials", ".dockercfg", ".s3cfg", ".boto", ".databrickscfg"),
    *(".vault-token", "credentials", "credentials.*", "client_secret*.json"),
    *("service?account*.json", "application_default_credentials.json", "kaggle.json"),
    *("secrets.json", "secrets.toml", "secrets.yaml", "secrets.yml"),
    *(".aws", ".azure", ".kube", ".docker", ".gcloud"),
)
_NO_SOURCE = (
    *(".git", ".hg", ".svn", ".mlog", "__pycache__", "*.py[co]", "node_modules"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox"),
    *(".cache", ".ipynb_checkpoints", ".eggs", "*.egg-info", ".ds_store"),
)
_NEVER = re.compile("|".join(map(fnmatch.translate, (*_SECRET, *_NO_SOURCE))))
_NEVER_ON_TOP = frozenset({"outputs", "logs"})
_NO_FOLDER_OF_SOURCES = ("pyvenv.cfg", "conda-meta")

_AML_IGNORE, _GIT_IGNORE = ".amlignore", ".gitignore"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP file can hold
_BLOCK = 1 << 20
_BIG = 1 << 30  # from here on a file may outgrow 2 GiB, where a ZIP needs more fields
_MAX_BYTES, _MAX_FILES = 300 << 20, 2_000  # what Azure ML v1 took
_NAMED = 5
_SCANNED = 50  # times the limit: so many files are enough to name the largest


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a snapshot may hold.

    Attributes:
        max_bytes: Of all files, before they are packed.
        max_files: How many.
    """

    max_bytes: int = _MAX_BYTES
    max_files: int = _MAX_FILES

    @classmethod
    def of(cls, max_bytes: int | None, max_files: int | None) -> "Limits":
        """Take the usual limit where none is given.

        Raises:
            ValueError: A limit is below 1.
        """
        for name, limit in (("max_bytes", max_bytes), ("max_files", max_files)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {limit!r}")
        return cls(
            _MAX_BYTES if max_bytes is None else max_bytes,
            _MAX_FILES if max_files is None else max_files,
        )


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """One snapshot as it was stored.

    Attributes:
        id: Hash of the names and contents, 64 hex digits.
        size: Bytes of all files, before they were packed.
        files: How many.
    """

    id: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that belongs to a snapshot.

    Attributes:
        name: Relative to the source folder; `/` between levels.
        path: Where it is.
        size: In bytes, when it was found.
        executable: Whether its user may run it.
    """

    name: str
    path: Path
    size: int
    executable: bool


def make_snapshot(
    source: Path,
    target: Folder,
    *,
    limits: Limits | None = None,
    never: Iterable[Path] = (),
) -> SnapshotFacts:
    """Store a snapshot in the folder of a run, as `snapshot.zip`.

    Args:
        source: A file, or a folder.
        target: Folder of the run; it and the root of all runs are left out.
        limits: Of what may be stored.
        never: Further folders and files to leave out.

    Raises:
        MlogError: There is a snapshot already, or nothing or too much to store.
        OSError: A file cannot be read or the snapshot not be written; then there is none.
    """
    if target.status(SNAPSHOT) is not None:
        raise MlogError(
            f"run {target.path.name} has a snapshot already, which stays as it is; "
            "take another one in a run of its own"
        )
    own = (target.path, target.path.parent.parent)
    files = source_files(source, limits=limits, never=(*never, *own))
    try:
        return target.place(SNAPSHOT, lambda file: _pack(files, file), sync=True)
    except OSError as exc:
        if exc.filename is not None:  # a source that cannot be read
            raise
        text = f"{exc.strerror}: no snapshot was stored in {target.path}"
        raise OSError(exc.errno, text) from exc


def copy_snapshot(
    source: Path,
    target: Path,
    *,
    limits: Limits | None = None,
    never: Iterable[Path] = (),
) -> SnapshotFacts:
    """Copy what belongs to a snapshot to a folder, with times and rights.

    Args:
        source: A file, or a folder.
        target: Made where missing; files in it are replaced.
        limits: As for `make_snapshot`.
        never: As for `make_snapshot`.

    Raises:
        MlogError: There is nothing, or too much, to copy. Nothing was written.
        OSError: A file cannot be read or written.
    """
    import shutil  # only here: it is slow to import

    files = source_files(source, limits=limits, never=(*never, target))
    sums = _Sums()
    for file in files:
        copy = target / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file.path, copy)
        with copy.open("rb") as copied:
            sums.add(file.name, _blocks(copied))
    return sums.facts()


class Snapshot:
    """An open snapshot of a run; a context manager that closes it.

    Attributes:
        file: The ZIP file, at its beginning.
        id: Its id.
    """

    def __init__(self, file: BinaryIO, snapshot_id: str) -> None:
        """Use `open_snapshot`."""
        self.file = file
        self.id = snapshot_id

    def __enter__(self) -> Self:
        """Return the snapshot."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.file.close()


def open_snapshot(run: Folder) -> Snapshot:
    """Open the snapshot in the folder of a run.

    Raises:
        MlogError: There is none, or it is damaged.
        UnsafePathError: There is a link in its place.
    """
    from zipfile import BadZipFile, ZipFile  # only here: it is slow to import

    try:
        file = run.open(SNAPSHOT)
    except FileNotFoundError:
        text = f"run {run.path.name} has no snapshot; run.take_snapshot('.') makes one"
        raise MlogError(text) from None
    try:
        with ZipFile(file) as packed:
            snapshot_id = packed.comment.decode("ascii", "replace")
    except BadZipFile as exc:
        file.close()
        raise MlogError(f"{run.path / SNAPSHOT} is damaged: {exc}") from exc
    file.seek(0)
    return Snapshot(file, snapshot_id)


def source_files(
    source: Path, *, limits: Limits | None = None, never: Iterable[Path] = ()
) -> list[SourceFile]:
    """Return what belongs to a snapshot, sorted by name. Reads no contents.

    Args:
        source: A file, or a folder; may be a link.
        limits: Of how much that may be.
        never: Folders and files to leave out.

    Raises:
        MlogError: There is nothing, or too much.
        OSError: The source is not there, or a folder cannot be read.
    """
    limits = limits or Limits()
    if source.is_dir():
        scan = _Scan(source, never, limits.max_files * _SCANNED)
        files = sorted(scan.files(), key=lambda file: file.name)
        scan.tell_links()
    else:
        name = clean_text(source.name)
        files = [] if _is_never(name) else [_source_file(name, source)]
    if not files:
        raise MlogError(
            f"there is nothing to store in {source}: every file of it is left out, by "
            f"{_AML_IGNORE} or {_GIT_IGNORE} or as a secret, cache or environment"
        )
    if len(files) > limits.max_files or sum(f.size for f in files) > limits.max_bytes:
        raise MlogError(_too_much(source, files, limits))
    return files


# --- choosing ------------------------------------------------------------------------


def _is_never(name: str) -> bool:
    return _NEVER.match(name.lower()) is not None


def _source_file(name: str, path: Path) -> SourceFile:
    found = path.stat()
    return SourceFile(name, path, found.st_size, bool(found.st_mode & 0o100))


@dataclass(frozen=True, slots=True)
class _Level:
    """One ignore file.

    Git never looks into a folder that is left out. Azure ML v1 only compared the names
    of files: the last line that fits one, or a folder above it, decides.

    Attributes:
        above: Name of its folder, with `/` at the end.
        spec: What it says of names below that.
        as_v1: Whether it is read as Azure ML v1 did.
        takes_back: Whether a line of it begins with `!`.
    """

    above: str
    spec: Any
    as_v1: bool
    takes_back: bool

    @classmethod
    def read(cls, folder: str, above: str, name: str) -> "_Level | None":
        """Read the file `name` of a folder; None where there is none."""
        try:
            text = Path(folder, name).read_text("utf-8-sig", errors="replace")
        except (FileNotFoundError, IsADirectoryError):
            return None
        from pathspec import GitIgnoreSpec  # only here: most runs take no snapshot

        lines = text.splitlines()
        takes_back = any(line.startswith("!") for line in lines)
        spec = GitIgnoreSpec.from_lines(lines)
        return cls(above, spec, name == _AML_IGNORE, takes_back)

    def says(self, name: str) -> bool | None:
        """Whether a name is left out; None where the file does not say."""
        below = name[len(self.above) :]
        if self.as_v1 or below.endswith("/"):
            return self._last(below)
        found: bool | None = self.spec.check_file(below).include
        return found

    def _last(self, name: str) -> bool | None:
        for pattern in reversed(self.spec.patterns):
            if pattern.include is not None and pattern.match_file(name) is not None:
                return bool(pattern.include)
        return None


@dataclass(frozen=True, slots=True)
class _Rules:
    """What all ignore files above a name say; the one that lies deepest comes first."""

    levels: tuple[_Level, ...] = ()

    def with_file(self, folder: str, above: str, name: str) -> "_Rules":
        """Add the ignore file `name` of a folder, if it is there."""
        level = _Level.read(folder, above, name)
        return self if level is None else _Rules((level, *self.levels))

    def leave_out(self, name: str) -> bool:
        """Whether a file is left out, or a folder, whose name ends in `/`."""
        said = (level.says(name) for level in self.levels)
        return next((ignored for ignored in said if ignored is not None), False)

    def close(self, name: str) -> bool:
        """Whether a folder, whose name ends in `/`, need not be looked into."""
        if any(level.as_v1 and level.takes_back for level in self.levels):
            return False
        return self.leave_out(name)


@dataclass(slots=True)
class _Scan:
    """One look through a folder of sources.

    Attributes:
        source: The folder.
        never: Folders and files to leave out.
        most: After so many files the look ends.
    """

    source: Path
    never: Iterable[Path]
    most: int
    _real: str = ""
    _closed: frozenset[str] = frozenset()
    _outside: list[str] = field(default_factory=list)
    _seen: int = 0

    def files(self) -> Iterator[SourceFile]:
        """Yield what belongs to the snapshot."""
        self._real = os.path.realpath(self.source)
        closed = {os.path.realpath(path) for path in self.never}
        self._closed = frozenset(closed - {self._real})
        rules = _Rules().with_file(str(self.source), "", _AML_IGNORE)
        yield from self._look(str(self.source), "", rules, bool(rules.levels))

    def tell_links(self) -> None:
        """Warn of links that were left out."""
        if self._outside:
            text = (
                f"{len(self._outside)} links in {self.source} lead outside of it and "
                f"are not in the snapshot, such as {self._outside[0]}"
            )
            warn_once(f"links in {self._real}", text)

    def _look(
        self, folder: str, above: str, rules: _Rules, only_aml: bool
    ) -> Iterator[SourceFile]:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        names = {entry.name for entry in entries}
        if above and not _is_of_sources(names):
            return
        if not only_aml and _GIT_IGNORE in names:
            rules = rules.with_file(folder, above, _GIT_IGNORE)
        for entry in entries:
            if self._seen > self.most:
                return
            if self._is_left_out(entry, above):
                continue
            name = above + clean_text(entry.name)
            if entry.is_dir(follow_symlinks=False):
                if not rules.close(f"{name}/"):
                    yield from self._look(entry.path, f"{name}/", rules, only_aml)
            elif not rules.leave_out(name) and self._is_file(entry):
                self._seen += 1
                yield _source_file(name, Path(entry.path))

    def _is_left_out(self, entry: "os.DirEntry[str]", above: str) -> bool:
        if _is_never(entry.name) or (not above and entry.name in _NEVER_ON_TOP):
            return True
        return bool(self._closed) and os.path.realpath(entry.path) in self._closed

    def _is_file(self, entry: "os.DirEntry[str]") -> bool:
        """Whether an entry is a file, or a link to one inside the source."""
        if not entry.is_symlink():
            return entry.is_file()
        target = os.path.realpath(entry.path)
        if (target + os.sep).startswith(self._real.rstrip(os.sep) + os.sep):
            return entry.is_file() and not self._is_hidden(target)
        self._outside.append(entry.path)
        return False

    def _is_hidden(self, target: str) -> bool:
        """Whether what a link leads to is left out under its own name."""
        below = os.path.relpath(target, self._real).split(os.sep)
        return any(map(_is_never, below))


def _is_of_sources(names: set[str]) -> bool:
    """Whether a folder with these names in it is no environment and no run."""
    if not names.isdisjoint(_NO_FOLDER_OF_SOURCES):
        return False
    return not {"run.json", "events.jsonl"} <= names


def _too_much(source: Path, files: list[SourceFile], limits: Limits) -> str:
    total = sum(file.size for file in files)
    sizes: Counter[str] = Counter({file.name: file.size for file in files})
    largest = [f"{n} ({_bytes(size)})" for n, size in sizes.most_common(_NAMED)]
    text = (
        f"{source} has {_bytes(total)} in {len(files):,} files; a snapshot may have "
        f"{_bytes(limits.max_bytes)} in {limits.max_files:,}. "
        f"The largest: {', '.join(largest)}."
    )
    if len(files) > limits.max_files:
        folders = Counter(file.name.rpartition("/")[0] or "." for file in files)
        most = [f"{n} ({count:,})" for n, count in folders.most_common(_NAMED)]
        text += f" The folders with most files: {', '.join(most)}."
    return (
        f"{text} Name what is no source in {source / _AML_IGNORE} (same syntax as "
        f"{_GIT_IGNORE}, which it replaces). Or else: for take_snapshot, raise max_bytes "
        "and max_files; for a submitted script, run it in place (--in-place, "
        "in_place=True)"
    )


def _bytes(size: int) -> str:
    """Write a size for people."""
    if size < 1 << 10:
        return f"{size} B"
    for unit, power in (("KiB", 10), ("MiB", 20), ("GiB", 30)):
        if size < 1 << (power + 10) or unit == "GiB":
            return f"{size / (1 << power):,.1f} {unit}"
    return ""


# --- copying -------------------------------------------------------------------------


class _Sums:
    """Hash, size and number of the files of a snapshot, in the order of their names."""

    def __init__(self) -> None:
        import hashlib  # only here: it is slow to import

        self._new = hashlib.sha256
        self._all = hashlib.sha256()
        self._size = 0
        self._files = 0

    def add(
        self,
        name: str,
        blocks: Iterable[bytes],
        write: Callable[[bytes], object] | None = None,
    ) -> None:
        """Take one file, giving each block to `write`, too."""
        digest = self._new()
        for block in blocks:
            digest.update(block)
            self._size += len(block)
            if write is not None:
                write(block)
        self._all.update(name.encode() + b"\0" + digest.digest())
        self._files += 1

    def facts(self) -> SnapshotFacts:
        """Return what was taken so far."""
        return SnapshotFacts(self._all.hexdigest(), self._size, self._files)


def _pack(files: Iterable[SourceFile], file: BinaryIO) -> SnapshotFacts:
    """Write a ZIP file; a source that has vanished meanwhile is left out."""
    from zipfile import ZipFile  # only here: it is slow to import

    sums = _Sums()
    with ZipFile(file, "w") as packed:
        for source in files:
            try:
                content = source.path.open("rb")
            except FileNotFoundError:  # an editor's file, for example
                continue
            with content, _member(packed, source) as member:
                sums.add(source.name, _blocks(content), member.write)
        facts = sums.facts()
        packed.comment = facts.id.encode()
    return facts


def _member(packed: Any, source: SourceFile) -> Any:
    from zipfile import ZIP_DEFLATED, ZipInfo

    info = ZipInfo(source.name, _DATE)
    info.compress_type = ZIP_DEFLATED
    info.create_system = 3  # Unix, whose rights these are
    info.external_attr = (0o100755 if source.executable else 0o100644) << 16
    return packed.open(info, "w", force_zip64=source.size >= _BIG)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block
