"""`Model`: one version of a model; found in the registry, copied out, and changed.

A folder without `model.json` is no model yet, or no longer. One that cannot be read is
told of by a warning and left out.
"""

import builtins
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import orjson

from mlog.errors import MlogError, ModelNotFoundError, UnsafePathError, warn_once
from mlog.folder import Folder
from mlog.layout import find_root, slug
from mlog.models.storage import (
    ALL,
    FACTS,
    FILES,
    LOCK,
    NUMBER,
    ModelFile,
    cleaned,
    copy_blocks,
    numbers_in,
    open_below,
    open_file,
    parts_of,
    texts_from,
    top_of,
)
from mlog.plain import safe_str

__all__ = ["Model", "Wanted", "get", "models", "write_model"]

Wanted: TypeAlias = str | Mapping[str, str | None] | Iterable[str | Iterable[str]]
"""Tags to look for: a name, names, pairs, or name to value (None: any value)."""

_FORMAT = 1
_MAX_SHOWN = 10
_serial = itertools.count()


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
        targets = {file: target.joinpath(*parts_of(file.path)) for file in self.files}
        if not (exist_ok or exists_ok):
            for path in targets.values():
                if os.path.lexists(path):
                    text = f"{path} is there already; exist_ok=True replaces it"
                    raise FileExistsError(text)
        for file, path in targets.items():
            self._copy_out(file, path)
        return target / self.path.relative_to(self._folder / FILES)

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, here and in the registry; others stay."""
        new = cleaned(texts_from("tags", tags))
        self._change(lambda now: {"tags": {**now.tags, **new}})

    def remove_tags(self, keys: str | Iterable[str]) -> None:
        """Remove tags by name; one that is not there is no error."""
        gone = {keys} if isinstance(keys, str) else set(keys)
        self._change(
            lambda now: {"tags": {k: v for k, v in now.tags.items() if k not in gone}}
        )

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Set properties; ValueError for one that has another value already."""
        new = cleaned(texts_from("properties", properties))

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
            changes["tags"] = texts_from("tags", tags)
        if description is not None:
            changes["description"] = safe_str(description)
        changes = cleaned(changes)
        self._change(lambda now: changes)

    def delete(self) -> None:
        """Remove this version and its files; its number is not given again.

        Raises:
            ModelNotFoundError: Somebody has deleted it already.
            OSError: It cannot be removed.
        """
        import shutil

        with self._locked() as folder:
            if not folder.remove(FACTS):
                raise self._gone()
            if folder.status(FILES) is not None:
                shutil.rmtree(folder.child(FILES, create=False).path)

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
        return self.root / ALL / slug(self.name) / str(self.version)

    def _open(self) -> Folder:
        parts = (ALL, slug(self.name), str(self.version))
        return open_below(self.root, parts)

    def _gone(self) -> ModelNotFoundError:
        return ModelNotFoundError(f"model {self.id} was deleted from {self.root}")

    @contextmanager
    def _locked(self) -> Iterator[Folder]:
        """Keep other processes from changing the model meanwhile."""
        try:
            folder = self._open()
        except FileNotFoundError:
            raise self._gone() from None
        file = folder.reopen(LOCK)
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
            write_model(now, folder)
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
                    told = copy_blocks(source, copy)
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
            return open_file(self._open(), name)
        except FileNotFoundError:
            if not os.path.exists(self._folder / FACTS):
                raise self._gone() from None
            text = f"{name} of model {self.id} is missing in {self._folder}"
            raise MlogError(text) from None


# --- finding -------------------------------------------------------------------------


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
    if isinstance(version, bool) or NUMBER.fullmatch(text) is None:
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
        registry = open_below(root, (ALL,))
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
        versions = sorted(numbers_in(folder), reverse=True)
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


# --- model.json ----------------------------------------------------------------------


def _read(root: Path, folder: Folder) -> Model | None:
    """Return the model in the folder of a version; None where it is not whole."""
    try:
        with folder.open(FACTS) as file:
            said = orjson.loads(file.read())
    except FileNotFoundError:
        return None
    run_path = said["run_path"]
    copied = tuple(ModelFile(**file) for file in said["files"])
    return Model(
        root=root,
        name=said["name"],
        version=int(folder.path.name),
        path=folder.path.joinpath(FILES, *top_of(file.path for file in copied)),
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


def write_model(model: Model, folder: Folder) -> None:
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
    folder.place(FACTS, lambda file: file.write(data), sync=True)


def _below(path: Path | None, root: Path) -> str | None:
    """Write a path relative to the root, which may be moved, where it lies below it."""
    if path is None:
        return None
    inside = path.is_relative_to(root)
    return (path.relative_to(root) if inside else path).as_posix()
