"""The part of a run that keeps files: artifacts put up and fetched back, snapshots.

Every file goes through `ArtifactStore`; what is stored is then told by one
`run.artifact` event, after the file has its name.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from mlog.errors import MlogError
from mlog.run.artifacts import (
    ArtifactStore,
    Bar,
    Progress,
    Source,
    Stored,
    artifact_name,
    check_source,
    copy_out,
    guess_media_type,
)
from mlog.run.collect import collect, files_below
from mlog.run.core import RunCore, state_of

__all__ = ["FileMethods"]


class FileMethods(RunCore):
    """Methods of a run for its files. They raise clear errors, unlike those that log.

    A run that is off checks its arguments and stores nothing.
    """

    # --- storing -------------------------------------------------------------------

    def upload_file(
        self,
        name: str | os.PathLike[str],
        path_or_stream: Source,
        datastore_name: str | None = None,
    ) -> Stored:
        """Copy a file into the run. Returns when all of it is stored.

        Args:
            name: Name in the run; `/` between levels. An artifact of that name is
                replaced. `./outputs/x` means `outputs/x`.
            path_or_stream: Path, bytes, or a stream; a stream is read from where it
                stands and stays open.
            datastore_name: Azure's only; must be None.

        Raises:
            UnsafePathError: The name leads out of the run's folder.
            OSError: The file cannot be read, or not be stored (a full disk).
            ValueError, TypeError, MlogError: An argument is wrong.
        """
        _no_datastore(datastore_name)
        with Bar(name) as bar:
            return self._put(name, path_or_stream, progress=bar)

    def upload_files(
        self,
        names: Iterable[str | os.PathLike[str]],
        paths: Iterable[str | os.PathLike[str]],
        return_artifacts: bool = False,
        timeout_seconds: float | None = None,
        datastore_name: str | None = None,
    ) -> list[Stored] | None:
        """Copy several files into the run.

        All names and paths are checked before the first is stored.

        Args:
            names: Names in the run, one for each path.
            paths: Of the files.
            return_artifacts: Whether to return what was stored.
            timeout_seconds: After this no further file is begun.
            datastore_name: Azure's only; must be None.

        Raises:
            TypeError: There are more of one than of the other.
            TimeoutError: The time was over before the last file.
            OSError, ValueError, MlogError: As for `upload_file`.
        """
        _no_datastore(datastore_name)
        pairs = _pairs(names, paths)
        stored = self._put_all(pairs, timeout_seconds)
        return stored if return_artifacts else None

    def upload_folder(
        self,
        name: str | os.PathLike[str],
        path: str | os.PathLike[str],
        datastore_name: str | None = None,
    ) -> list[Stored]:
        """Copy a folder with all that is below it into the run.

        Links to files inside the folder are read; other links are left out, with a
        warning where they lead outside.

        Args:
            name: What the names begin with; empty or "." for nothing.
            path: Of the folder.
            datastore_name: Azure's only; must be None.

        Returns:
            What was stored, by name.

        Raises:
            NotADirectoryError: The path is no folder.
            OSError, ValueError, MlogError: As for `upload_file`.
        """
        _no_datastore(datastore_name)
        folder = Path(path)
        if not folder.is_dir():
            os.stat(folder)  # says so where nothing is there
            text = "not a folder; upload_file stores files"
            raise NotADirectoryError(errno.ENOTDIR, text, os.fspath(path))
        found = files_below(folder, never=self._own_folders())
        name = os.fspath(name)
        start = "" if name in ("", ".", "./") else artifact_name(name.rstrip("/\\"))
        pairs = [(f"{start}/{below}".lstrip("/"), file) for below, file in found]
        return self._put_all([(artifact_name(n), file) for n, file in pairs], None)

    # --- fetching ------------------------------------------------------------------

    def get_file_names(self) -> list[str]:
        """Return the names of all artifacts of the run, sorted."""
        return self._store().names() if self.path is not None else []

    def download_file(
        self,
        name: str | os.PathLike[str],
        output_file_path: str | os.PathLike[str] | None = None,
        _validate_checksum: bool = False,
    ) -> None:
        """Copy an artifact to a file. It appears as a whole, and replaces one.

        Args:
            name: Of the artifact.
            output_file_path: Of the file, or of a folder that is there. Default: the
                last part of the name, in the working directory.
            _validate_checksum: Whether the content must be what was stored.

        Raises:
            ArtifactNotFoundError: There is none; the message has the closest names.
            MlogError: The content was changed since it was stored.
            OSError: The file cannot be written.
        """
        self._need_path()
        name = artifact_name(name)
        sha256 = self._recorded_checksum(name) if _validate_checksum else None
        with Bar(name) as bar:
            target = _file_target(name, output_file_path)
            self._store().fetch(name, target, sha256=sha256, progress=bar)

    def download_files(
        self,
        prefix: str | os.PathLike[str] | None = None,
        output_directory: str | os.PathLike[str] | None = None,
        output_paths: Iterable[str | os.PathLike[str]] | None = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: float | None = None,
    ) -> None:
        """Copy several artifacts to a folder, or to files of their own.

        Args:
            prefix: Only names that begin with this. Default: all.
            output_directory: Folder to copy to; default: the working directory.
            output_paths: One path for each artifact, in the order of their names,
                below `output_directory`; instead of their names.
            batch_size: Without effect here; v1 asked its service for so many at a time.
            append_prefix: Whether the prefix stays a part of the files' paths.
            timeout_seconds: After this no further file is begun.

        Raises:
            ArtifactNotFoundError: No name begins with the prefix.
            ValueError: `output_paths` has another length, or a path twice.
            TimeoutError: The time was over before the last file.
        """
        self._need_path()
        store = self._store()
        prefix = None if prefix is None else os.fspath(prefix)
        names = store.names(prefix)
        if not names:
            raise store.not_found(prefix)
        below = _paths_below(names, prefix, output_paths, append_prefix)
        deadline = _Deadline(timeout_seconds, len(names))
        for name, path in zip(names, below, strict=True):
            deadline.check()
            with Bar(name) as bar:
                store.fetch(name, Path(output_directory or "", path), progress=bar)

    # --- snapshots -----------------------------------------------------------------

    def take_snapshot(
        self,
        file_or_folder_path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        max_files: int | None = None,
    ) -> str:
        """Keep a copy of source files in the run, as `snapshot.zip`; once in a run.

        Left out is what `.amlignore` names, or else each `.gitignore`; and always
        secrets, version control, virtual environments, caches and runs: see
        `mlog.run.snapshot`. What is inside the files is stored as it is.

        Args:
            file_or_folder_path: What to copy.
            max_bytes: Most bytes of all files; default 300 MiB.
            max_files: Most files; default 2,000.

        Returns:
            The id of the snapshot: a hash of names and contents.

        Raises:
            MlogError: The run has a snapshot, nothing is left to store, or there is too
                much; the message then names the largest.
            OSError: A file cannot be read, or the snapshot not be stored.
        """
        from mlog.run.snapshot import Limits, make_snapshot

        limits = Limits.of(max_bytes, max_files)
        source = Path(file_or_folder_path)
        if self.path is None:
            os.stat(source)
            return ""
        facts = make_snapshot(source, self._store().open_run(), limits=limits)
        data = {"id": facts.id, "size": facts.size, "files": facts.files}
        self._event("run.snapshot", data)
        return facts.id

    def get_snapshot_id(self) -> str:
        """Return the id of the run's snapshot.

        Raises:
            MlogError: The run has none.
        """
        from mlog.run.snapshot import open_snapshot

        self._need_path()
        with open_snapshot(self._store().open_run()) as snapshot:
            return snapshot.id

    def restore_snapshot(
        self,
        snapshot_id: str | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> str:
        """Copy the run's snapshot out, as a ZIP file.

        Args:
            snapshot_id: Must be the run's own; default: that.
            path: Folder to put `<id>.zip` into, or path of a `.zip` file. Default: the
                working directory.

        Returns:
            The absolute path of the ZIP file.

        Raises:
            MlogError: The run has no snapshot, or not this one.
            OSError: The file cannot be written.
        """
        from mlog.run.snapshot import open_snapshot

        self._need_path()
        with open_snapshot(self._store().open_run()) as snapshot:
            if snapshot_id not in (None, snapshot.id):
                raise MlogError(
                    f"run {self.id} has the snapshot {snapshot.id}, not {snapshot_id}"
                )
            target = _zip_target(snapshot.id, path)
            copy_out(snapshot.file, target)
        return str(target)

    # --- inside --------------------------------------------------------------------

    def _store(self) -> ArtifactStore:
        """Return the artifacts of this run; MlogError where it is off."""
        return ArtifactStore(self._need_path())

    def _put(
        self,
        name: str | os.PathLike[str],
        source: Source,
        media_type: str | None = None,
        *,
        progress: Progress | None = None,
    ) -> Stored:
        """Store one artifact and record it; errors as in `ArtifactStore.put`.

        A run that is off stores nothing, and says size 0 and no checksum.
        """
        if self.path is None:
            name = artifact_name(name)
            check_source(source)
            return Stored(name, 0, "", media_type or guess_media_type(name))
        stored = self._store().put(
            name, source, media_type=media_type, progress=progress
        )
        self._tell_artifact(stored)
        return stored

    def _put_all(
        self, pairs: list[tuple[str, Path]], timeout: float | None
    ) -> list[Stored]:
        deadline = _Deadline(timeout, len(pairs))
        stored = []
        for name, path in pairs:
            deadline.check()
            with Bar(name) as bar:
                stored.append(self._put(name, path, progress=bar))
        return stored

    def _collect(
        self, folders: Iterable[str], *, cwd: Path, since: float | None = None
    ) -> None:
        """Store what is in `outputs` and `logs`; see `mlog.run.collect`. Never fatal."""
        if self.path is not None:
            collect(
                self._store(),
                folders,
                cwd=cwd,
                since=since,
                told=self._tell_artifact,
            )

    def _tell_artifact(self, stored: Stored) -> None:
        self._event(
            "run.artifact",
            {
                "path": stored.path,
                "size": stored.size,
                "sha256": stored.sha256,
                "media_type": stored.media_type,
            },
        )

    def _own_folders(self) -> tuple[Path, ...]:
        """Name what is no file of the user's: all runs below this run's root."""
        return () if self.path is None else (self.path, self.path.parent.parent)

    def _recorded_checksum(self, name: str) -> str:
        artifact = state_of(self._need_path()).artifacts.get(name)
        recorded = artifact.sha256 if artifact is not None else ""
        if not recorded and self._store().status(name) is not None:
            raise MlogError(
                f"no checksum of {name!r} was recorded; "
                "download it without _validate_checksum"
            )
        return recorded


class _Deadline:
    """A time after which no further file is begun."""

    def __init__(self, seconds: float | None, files: int) -> None:
        import time

        self._clock = time.monotonic
        self._end = None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._files = files
        self._begun = 0

    def check(self) -> None:
        """Raise TimeoutError when the time is over, else count one more file."""
        if self._end is not None and self._clock() >= self._end:
            raise TimeoutError(
                f"{self._begun} of {self._files} files were copied in "
                f"timeout_seconds={self._seconds}; those are whole, the others missing"
            )
        self._begun += 1


def _no_datastore(name: str | None) -> None:
    if name is not None:
        raise MlogError(
            f"datastore_name={name!r}: datastores belonged to Azure; leave it out, "
            "and the file is stored in the run's folder"
        )


def _pairs(
    names: Iterable[str | os.PathLike[str]], paths: Iterable[str | os.PathLike[str]]
) -> list[tuple[str, Path]]:
    if isinstance(names, str | os.PathLike) or isinstance(paths, str | os.PathLike):
        raise TypeError("names and paths must be lists; upload_file stores one file")
    given_names, given_paths = list(names), list(paths)
    if len(given_names) != len(given_paths):
        raise TypeError(
            "names and paths must be of the same length, "
            f"got {len(given_names)} and {len(given_paths)}"
        )
    for path in given_paths:
        os.stat(path)
    ready = [artifact_name(name) for name in given_names]
    return list(zip(ready, map(Path, given_paths), strict=True))


def _file_target(name: str, output: str | os.PathLike[str] | None) -> Path:
    """Say which file an artifact is copied to."""
    last = name.rpartition("/")[2]
    if output is None:
        return Path(last)
    is_folder = os.path.isdir(output) or os.fspath(output).endswith(("/", os.sep))
    return Path(output, last) if is_folder else Path(output)


def _paths_below(
    names: list[str],
    prefix: str | None,
    output_paths: Iterable[str | os.PathLike[str]] | None,
    append_prefix: bool,
) -> list[str]:
    """Say where artifacts go below the folder they are copied to."""
    if output_paths is not None:
        paths = [os.fspath(path) for path in output_paths]
        if len(paths) != len(names):
            raise ValueError(
                f"output_paths must have one path for each of {len(names)} artifacts "
                f"({', '.join(names[:5])}…), got {len(paths)}"
            )
    elif append_prefix:
        paths = names
    else:
        paths = [_without(prefix or "", name) for name in names]
    if len(set(map(os.path.normpath, paths))) < len(paths):
        raise ValueError("two artifacts would be copied to one path; give output_paths")
    return paths


def _without(prefix: str, name: str) -> str:
    """Take the folders of a prefix from a name: `out` is one only of `out/x`."""
    plain = prefix.replace("\\", "/").removeprefix("./").rstrip("/")
    if name.startswith(f"{plain}/"):
        return name[len(plain) + 1 :]
    return name[plain.rfind("/") + 1 :]


def _zip_target(snapshot_id: str, path: str | os.PathLike[str] | None) -> Path:
    target = Path(os.path.abspath(path or "."))
    if target.suffix == ".zip" and not target.is_dir():
        return target
    return target / f"{snapshot_id}.zip"
