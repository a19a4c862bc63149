"""Registered models: versions of files under a name, copied and never changed again.

    <root>/.models/<name>/<version>/
      .lock         claims the number, by being created exclusively; stays for ever
      files/…       the model, under the names it was registered with
      model.json    everything else; put there last, so without it there is no model

Invariants:

- A number is given once: also a deleted or half-written version keeps its own.
- Files are copies, whole and on the disk before `model.json` is; they carry their
  SHA-256. A killed registration leaves a folder without `model.json`, which nobody
  sees. Any number of processes may register at the same time.
- Only tags, description and new properties change later, as a whole and under a lock.
"""

import builtins
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import orjson

from mlog.entry import stamp
from mlog.errors import MlogError, ModelNotFoundError, UnsafePathError, warn_once
from mlog.folder import Access, Folder, access_for
from mlog.layout import find_root, slug
from mlog.plain import clean_text, safe_str, to_json
from mlog.redaction import make_redactor

__all__ = ["Model", "ModelFile", "Opener", "Wanted", "get", "models", "register"]

Opener: TypeAlias = Callable[[], BinaryIO]
"""Opens one file for reading; called once, and what it returns is closed."""

Wanted: TypeAlias = str | Mapping[str, str | None] | Iterable[str | Iterable[str]]
"""Tags to look for: a name, names, pairs, or name to value (None: any value)."""

_ALL = ".models"
_FACTS = "model.json"
_FILES = "files"
_LOCK = ".lock"
_FORMAT = 1
_BLOCK = 1 << 20
_MAX_NAME = 255
_MAX_SHOWN = 10
_serial = itertools.count()
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its name, `/` between the levels, size and checksum."""

    path: str
    size: int
    sha256: str


@dataclass(slots=True)
class Model:
    """One version of a model, as it is registered.

    Attributes:
        root: Folder that holds the registry, and the runs.
        name: What it was registered as.
        version: 1, 2, …; a later registration of the name has a higher one.
        path: The model's file, or the folder of its files. Not to be changed.
        created_time: When it was registered, RFC 3339 in UTC.
        tags: Texts that may change.
        properties: Texts that are set once.
        description: A word on it.
        framework: What it was made with, such as "ScikitLearn".
        framework_version: Of that.
        run_id: The run it comes from.
        run_path: Folder of that run.
        files: What it is made of.
    """

    root: Path
    name: str
    version: int
    path: Path
    created_time: str
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    run_id: str | None = None
    run_path: Path | None = None
    files: tuple[ModelFile, ...] = ()

    @property
    def id(self) -> str:
        """Name and version: `mnist:3`."""
        return f"{self.name}:{self.version}"

    @property
    def url(self) -> str:
        """The path as a `file:` URL."""
        return self.path.as_uri()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def download(
        self,
        target_dir: str | os.PathLike[str] = ".",
        exist_ok: bool = False,
        exists_ok: bool | None = None,
    ) -> Path:
        """Copy the model into a folder of the user's.

        Each file is in place as a whole, and is what was registered.

        Args:
            target_dir: Made with its parents where missing.
            exist_ok: Whether files that are there are replaced.
            exists_ok: An older name of that.

        Returns:
            Path of the copy: a file or a folder, as `path` is.

        Raises:
            FileExistsError: A file is there already; then nothing is copied.
            ModelNotFoundError: The model was deleted.
            MlogError: A file is not what was registered.
            OSError: It cannot be written.
        """
        target = Path(target_dir)
        targets = {file: target.joinpath(*_parts(file.path)) for file in self.files}
        if not (exist_ok or exists_ok):
            for path in targets.values():
                if os.path.lexists(path):
                    text = f"{path} is there already; exist_ok=True replaces it"
                    raise FileExistsError(text)
        for file, path in targets.items():
            self._copy_out(file, path)
        return target / self.path.relative_to(self._folder / _FILES)

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, here and in the registry; others stay."""
        new = _cleaned(_texts("tags", tags))
        self._change(lambda now: {"tags": {**now.tags, **new}})

    def remove_tags(self, keys: str | Iterable[str]) -> None:
        """Remove tags by name; one that is not there is no error."""
        gone = {keys} if isinstance(keys, str) else set(keys)
        self._change(
            lambda now: {"tags": {k: v for k, v in now.tags.items() if k not in gone}}
        )

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Set properties; ValueError for one that has another value already."""
        new = _cleaned(_texts("properties", properties))

        def change(now: Model) -> dict[str, Any]:
            for key, value in new.items():
                if now.properties.get(key, value) != value:
                    had = now.properties[key]
                    text = f"property {key!r} is {had!r} already and stays so"
                    raise ValueError(text)
            return {"properties": {**now.properties, **new}}

        self._change(change)

    def update(
        self, tags: Mapping[str, Any] | None = None, description: str | None = None
    ) -> None:
        """Replace all tags, or the description, or both; None leaves as is."""
        changes: dict[str, Any] = {}
        if tags is not None:
            changes["tags"] = _texts("tags", tags)
        if description is not None:
            changes["description"] = safe_str(description)
        changes = _cleaned(changes)
        self._change(lambda now: changes)

    def delete(self) -> None:
        """Remove this version and its files; its number is not given again.

        Raises:
            ModelNotFoundError: Somebody has deleted it already.
            OSError: It cannot be removed.
        """
        import shutil

        with self._locked() as folder:
            if not folder.remove(_FACTS):
                raise self._gone()
            if folder.status(_FILES) is not None:
                shutil.rmtree(folder.child(_FILES, create=False).path)

    @staticmethod
    def get(
        name: str,
        version: int | str | None = None,
        *,
        dir: str | os.PathLike[str] | None = None,
    ) -> "Model":
        """Return one version of a model; see `mlog.models.get`.

        Args:
            name, version: As there.
            dir: Root of all runs; default as for `start_run`.
        """
        return get(_root(dir), name, version)

    @staticmethod
    def list(
        name: str | None = None,
        *,
        tags: Wanted | None = None,
        properties: Wanted | None = None,
        run_id: str | None = None,
        latest: bool = False,
        dir: str | os.PathLike[str] | None = None,
    ) -> "builtins.list[Model]":
        """Return registered models, newest first; see `mlog.models.models`.

        Args:
            name, tags, properties, run_id, latest: As there.
            dir: Root of all runs; default as for `start_run`.
        """
        return models(
            _root(dir),
            name,
            tags=tags,
            properties=properties,
            run_id=run_id,
            latest=latest,
        )

    @property
    def _folder(self) -> Path:
        return self.root / _ALL / slug(self.name) / str(self.version)

    def _open(self) -> Folder:
        parts = (_ALL, slug(self.name), str(self.version))
        return _open_below(self.root, parts)

    def _gone(self) -> ModelNotFoundError:
        return ModelNotFoundError(f"model {self.id} was deleted from {self.root}")

    @contextmanager
    def _locked(self) -> Iterator[Folder]:
        """Keep other processes from changing the model meanwhile."""
        try:
            folder = self._open()
        except FileNotFoundError:
            raise self._gone() from None
        file = folder.reopen(_LOCK)
        try:
            import fcntl

            fcntl.flock(file.fd, fcntl.LOCK_EX)
        except (ImportError, OSError):  # Windows, or a file system without locks
            pass
        yield folder

    def _change(self, change: Callable[["Model"], Mapping[str, Any]]) -> None:
        """Change what is registered, and this object to what is registered then."""
        with self._locked() as folder:
            now = _read(self.root, folder)
            if now is None:
                raise self._gone()
            now = replace(now, **change(now))
            _write(now, folder)
        for attribute in fields(self):
            setattr(self, attribute.name, getattr(now, attribute.name))

    def _copy_out(self, file: ModelFile, target: Path) -> None:
        """Copy one file of the model to a path of the user's, in place as a whole."""
        with self._source(file.path) as source:
            target.parent.mkdir(parents=True, exist_ok=True)
            serial = f"{os.getpid()}-{next(_serial)}"
            temporary = target.with_name(f".{target.name[:50]}.{serial}.tmp")
            try:
                with open(temporary, "xb") as copy:
                    told = _copy(source, copy)
                if told != (file.size, file.sha256):
                    raise MlogError(
                        f"{file.path} of model {self.id} is not what was registered; "
                        "the disk or somebody has changed it"
                    )
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)

    def _source(self, name: str) -> BinaryIO:
        try:
            return _open_file(self._open(), name)
        except FileNotFoundError:
            if not os.path.exists(self._folder / _FACTS):
                raise self._gone() from None
            text = f"{name} of model {self.id} is missing in {self._folder}"
            raise MlogError(text) from None


# --- registering ---------------------------------------------------------------------


def register(
    root: str | os.PathLike[str],
    name: str,
    files: str | os.PathLike[str] | Mapping[str, Opener | str | os.PathLike[str]],
    *,
    tags: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    description: str | None = None,
    framework: str | None = None,
    framework_version: str | None = None,
    run_id: str | None = None,
    run_path: str | os.PathLike[str] | None = None,
    access: Access | None = None,
    clean: Callable[[Any], Any] | None = None,
) -> Model:
    """Copy files into the registry as the next version of a model.

    Returns when everything is on the disk. After an error there is no new version.

    Args:
        root: Folder of the registry, and of the runs; made where missing.
        name: Of the model, any text of at most 255 characters.
        files: A file, a folder (links in it to files are followed, others left out), or
            names with `/` between the levels, each with its path or what opens it.
        tags: Texts that may change; values become strings.
        properties: Texts that are set once; values become strings.
        description: A word on it.
        framework: What it was made with.
        framework_version: Of that.
        run_id: Run it comes from.
        run_path: Folder of that run.
        access: Mode of what is made; by default the root's.
        clean: Makes texts free of secrets. By default as for any run.

    Raises:
        ValueError, TypeError: The name is none, or there are no files.
        UnsafePathError: A file's name leads out, or a link is in the way.
        OSError: A file cannot be read or written.
    """
    root = Path(os.path.abspath(root))
    _check_name(name)
    sources = _sources(files, root)
    facts: dict[str, Any] = {
        "tags": _texts("tags", tags),
        "properties": _texts("properties", properties),
        "description": _text(description),
        "framework": _text(framework),
        "framework_version": _text(framework_version),
    }
    facts = _cleaned(facts, clean)
    access = access or access_for(root, "private")
    folder = _claim(Folder.open_below(root, (_ALL, slug(name)), access))
    try:
        below = folder.child(_FILES)
        copied = tuple(_copy_in(below, name, take) for name, take in sources.items())
        model = Model(
            root=root,
            name=name,
            version=int(folder.path.name),
            path=folder.path.joinpath(_FILES, *_top(sources)),
            created_time=stamp(time.time_ns() // 1_000),
            run_id=run_id,
            run_path=None if run_path is None else Path(os.path.abspath(run_path)),
            files=copied,
            **facts,
        )
        _write(model, folder)
    except BaseException:
        _clear(folder)
        raise
    return model


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a model's name must be text, got {name!r}")
    if not name.strip() or len(name) > _MAX_NAME or "\0" in name:
        text = (
            f"a model's name must have 1 to {_MAX_NAME} characters, got {name[:300]!r}"
        )
        raise ValueError(text)
    _check_unicode(name)


def _check_unicode(name: str) -> None:
    if clean_text(name) != name:
        raise ValueError(f"{name!r} is no Unicode text; rename it")


def _text(value: Any) -> str | None:
    return None if value is None else safe_str(value)


def _texts(what: str, given: Mapping[str, Any] | None) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    return {safe_str(key): safe_str(value) for key, value in given.items()}


def _cleaned(
    facts: Mapping[str, Any], clean: Callable[[Any], Any] | None = None
) -> dict[str, Any]:
    """Return facts as they may be written: JSON-ready and without secrets."""
    if clean is not None:
        return dict(clean(dict(facts)))
    redactor = make_redactor(True)
    assert redactor is not None
    return dict(redactor.fields(to_json(dict(facts))))


def _sources(files: Any, root: Path) -> dict[str, Opener]:
    """Return what opens each file of the new version, by its name there."""
    if isinstance(files, str | os.PathLike):
        found = _files_of(Path(os.path.abspath(files)), root)
    elif isinstance(files, Mapping):
        found = {name: _opener(source) for name, source in files.items()}
    else:
        kind = type(files).__name__
        raise TypeError(f"files must be a path or a mapping of them, got {kind}")
    if not found:
        raise ValueError(f"{files!r} has no files; a model needs one at least")
    for name in found:
        parts = _parts(name)
        if any("/".join(parts[:n]) in found for n in range(1, len(parts))):
            raise ValueError(f"{name!r} lies below another file of the model")
    return found


def _files_of(path: Path, root: Path) -> dict[str, Opener]:
    if not os.path.isdir(path):
        os.stat(path)  # raises for what is not there
        return {path.name: _opener(path)}
    found = {}
    for folder, below, names in os.walk(path):
        below[:] = sorted(n for n in below if not _same(os.path.join(folder, n), root))
        inside = Path(folder).relative_to(path)
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file():
                found[Path(path.name or "model", inside, name).as_posix()] = file
    return {name: _opener(file) for name, file in found.items()}


def _same(path: str, other: Path) -> bool:
    return os.path.exists(other) and os.path.samefile(path, other)


def _opener(source: Any) -> Opener:
    if isinstance(source, str | os.PathLike):
        return lambda: open(source, "rb")
    if callable(source):
        return source  # type: ignore[no-any-return]
    kind = type(source).__name__
    raise TypeError(f"a file must be a path or a function that opens one, got {kind}")


def _parts(name: str) -> list[str]:
    """Take a file's name in a model apart; it cannot lead out of the folder."""
    parts = name.split("/") if isinstance(name, str) else [""]
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        text = f"{name!r} is no name of a file in a model; 'weights/layer-1.bin' is one"
        raise UnsafePathError(text)
    _check_unicode(name)
    return parts


def _top(names: Iterable[str]) -> tuple[str, ...]:
    """Return the one file or folder that holds all files; () if there is none."""
    first = {_parts(name)[0] for name in names}
    return tuple(first) if len(first) == 1 else ()


def _claim(model: Folder) -> Folder:
    """Make the folder of the next version, which no other process gets."""
    version = max(_versions(model), default=0) + 1
    while True:
        folder = model.child(str(version))
        try:
            folder.create(_LOCK)
        except FileExistsError:
            version += 1
        else:
            return folder


def _versions(model: Folder) -> list[int]:
    """Return the numbers that were given, also those of no whole version."""
    return [int(name) for name in model.names() if _VERSION.fullmatch(name)]


def _copy_in(folder: Folder, name: str, take: Opener) -> ModelFile:
    *parents, last = _parts(name)
    for part in parents:
        folder = folder.child(part)
    with take() as source:
        told = folder.place(last, lambda file: _copy(source, file), sync=True)
    return ModelFile(name, *told)


def _copy(source: BinaryIO, target: BinaryIO) -> tuple[int, str]:
    """Copy a file block by block; return its size and SHA-256."""
    import hashlib  # only here: it loads slowly

    size, digest = 0, hashlib.sha256()
    while block := source.read(_BLOCK):
        target.write(block)
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _clear(folder: Folder) -> None:
    """Remove the files of a version that was not finished; its number stays taken."""
    import shutil

    try:
        if folder.status(_FILES) is not None:
            shutil.rmtree(folder.child(_FILES, create=False).path, ignore_errors=True)
    except (OSError, UnsafePathError):  # the first error is the one to tell
        return


# --- reading -------------------------------------------------------------------------


def models(
    root: str | os.PathLike[str],
    name: str | None = None,
    *,
    tags: Wanted | None = None,
    properties: Wanted | None = None,
    run_id: str | None = None,
    latest: bool = False,
) -> list[Model]:
    """Return registered models, newest first.

    Args:
        root: Folder of the registry; one that is not there holds none.
        name: Only the versions of this one.
        tags: Only models that have all of these.
        properties: The same for properties.
        run_id: Only models of this run.
        latest: Of each name only the highest of the versions that fit.
    """
    found = [
        model
        for model in _all(Path(os.path.abspath(root)), name)
        if (run_id is None or model.run_id == run_id)
        and _has(model.tags, tags)
        and _has(model.properties, properties)
    ]
    if latest:
        highest: dict[str, Model] = {}
        for model in sorted(found, key=lambda model: model.version):
            highest[model.name] = model
        found = list(highest.values())
    found.sort(key=lambda model: (model.created_time, model.version), reverse=True)
    return found


def get(
    root: str | os.PathLike[str], name: str, version: int | str | None = None
) -> Model:
    """Return one version of a model.

    Args:
        root: Folder of the registry.
        name: What it was registered as.
        version: Its number. None: the highest there is.

    Raises:
        ModelNotFoundError: There is none; the message names those there are.
        ValueError: `version` is no number.
    """
    number = None if version is None else _number(version)
    there = []
    for model in _all(Path(os.path.abspath(root)), name):
        if number in (None, model.version):
            return model
        there.append(model.version)
    if there:
        known = _shown(there)
        text = f"model {name!r} has no version {number}; it has {known}"
    else:
        known = _shown(sorted({model.name for model in models(root)})) or "none"
        text = f"no model {name!r} in {os.fspath(root)}; the models there: {known}"
    raise ModelNotFoundError(text)


def _root(dir: str | os.PathLike[str] | None) -> Path:
    return find_root(dir, env=os.environ, cwd=Path.cwd())


def _number(version: int | str) -> int:
    text = str(version)
    if isinstance(version, bool) or _VERSION.fullmatch(text) is None:
        raise ValueError(f"version must be an integer >= 1, got {version!r}")
    return int(text)


def _shown(items: Iterable[Any]) -> str:
    texts = [str(item) for item in items]
    more = f" and {len(texts) - _MAX_SHOWN} more" if len(texts) > _MAX_SHOWN else ""
    return ", ".join(texts[:_MAX_SHOWN]) + more


def _has(texts: Mapping[str, str], wanted: Wanted | None) -> bool:
    """Whether all wanted tags are there, with their values where those matter."""
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return wanted in texts
    if isinstance(wanted, Mapping):
        return all(
            key in texts and value in (None, texts[key])
            for key, value in wanted.items()
        )
    for item in wanted:
        key, *values = (item,) if isinstance(item, str) else item
        if key not in texts or any(value != texts[key] for value in values):
            return False
    return True


def _all(root: Path, name: str | None) -> Iterator[Model]:
    """Yield all whole versions, of one name or of all; of a name the highest first."""
    try:
        registry = _open_below(root, (_ALL,))
        folders = registry.names() if name is None else [slug(name)]
    except FileNotFoundError:
        return
    for folder in folders:
        for model in _versions_of(root, registry, folder):
            if name in (None, model.name):
                yield model


def _versions_of(root: Path, registry: Folder, name: str) -> Iterator[Model]:
    try:
        folder = registry.child(name, create=False)
        versions = sorted(_versions(folder), reverse=True)
    except (OSError, UnsafePathError):  # nothing of the registry's
        return
    for version in versions:
        try:
            model = _read(root, folder.child(str(version), create=False))
        except (OSError, UnsafePathError, ValueError, KeyError, TypeError) as exc:
            path = folder.path / str(version)
            warn_once(f"model {path}", f"model in {path} cannot be read: {exc!r}")
            continue
        if model is not None:
            yield model


def _open_below(root: Path, parts: Iterable[str]) -> Folder:
    return Folder.open_below(root, parts, access_for(root, "private"), create=False)


def _open_file(version: Folder, name: str) -> BinaryIO:
    *parents, last = (_FILES, *_parts(name))
    for part in parents:
        version = version.child(part, create=False)
    return version.open(last)


def _read(root: Path, folder: Folder) -> Model | None:
    """Return the model in the folder of a version; None where it is not whole."""
    try:
        with folder.open(_FACTS) as file:
            said = orjson.loads(file.read())
    except FileNotFoundError:
        return None
    run_path = said["run_path"]
    copied = tuple(ModelFile(**file) for file in said["files"])
    return Model(
        root=root,
        name=said["name"],
        version=int(folder.path.name),
        path=folder.path.joinpath(_FILES, *_top(file.path for file in copied)),
        created_time=said["created_time"],
        tags=dict(said["tags"]),
        properties=dict(said["properties"]),
        description=said["description"],
        framework=said["framework"],
        framework_version=said["framework_version"],
        run_id=said["run_id"],
        run_path=None if run_path is None else root / run_path,
        files=copied,
    )


def _write(model: Model, folder: Folder) -> None:
    """Put the facts of a model in place, which makes it one."""
    facts = {
        "format": _FORMAT,
        "name": model.name,
        "version": model.version,
        "created_time": model.created_time,
        "tags": model.tags,
        "properties": model.properties,
        "description": model.description,
        "framework": model.framework,
        "framework_version": model.framework_version,
        "run_id": model.run_id,
        "run_path": _below(model.run_path, model.root),
        "files": [
            {"path": file.path, "size": file.size, "sha256": file.sha256}
            for file in model.files
        ],
    }
    data = orjson.dumps(facts, option=orjson.OPT_INDENT_2)
    folder.place(_FACTS, lambda file: file.write(data), sync=True)


def _below(path: Path | None, root: Path) -> str | None:
    """Write a path relative to the root, which may be moved, where it lies below it."""
    if path is None:
        return None
    inside = path.is_relative_to(root)
    return (path.relative_to(root) if inside else path).as_posix()
