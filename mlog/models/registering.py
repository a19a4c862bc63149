"""`register`: files are copied into the registry as the next version of a model."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from mlog.entry import stamp
from mlog.errors import UnsafePathError
from mlog.folder import Access, Folder, access_for
from mlog.layout import slug
from mlog.models.model import Model, write_model
from mlog.models.storage import (
    ALL,
    FILES,
    LOCK,
    ModelFile,
    check_unicode,
    cleaned,
    copy_blocks,
    numbers_in,
    parts_of,
    texts_from,
    top_of,
)
from mlog.plain import safe_str

__all__ = ["Opener", "register"]

Opener: TypeAlias = Callable[[], BinaryIO]
"""Opens one file for reading; called once, and what it returns is closed."""

_MAX_NAME = 255


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
        "tags": texts_from("tags", tags),
        "properties": texts_from("properties", properties),
        "description": _text(description),
        "framework": _text(framework),
        "framework_version": _text(framework_version),
    }
    facts = cleaned(facts, clean)
    access = access or access_for(root, "private")
    folder = _claim(Folder.open_below(root, (ALL, slug(name)), access))
    try:
        below = folder.child(FILES)
        copied = tuple(_copy_in(below, name, take) for name, take in sources.items())
        model = Model(
            root=root,
            name=name,
            version=int(folder.path.name),
            path=folder.path.joinpath(FILES, *top_of(sources)),
            created_time=stamp(time.time_ns() // 1_000),
            run_id=run_id,
            run_path=None if run_path is None else Path(os.path.abspath(run_path)),
            files=copied,
            **facts,
        )
        write_model(model, folder)
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
    check_unicode(name)


def _text(value: Any) -> str | None:
    return None if value is None else safe_str(value)


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
        parts = parts_of(name)
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


def _claim(model: Folder) -> Folder:
    """Make the folder of the next version, which no other process gets."""
    version = max(numbers_in(model), default=0) + 1
    while True:
        folder = model.child(str(version))
        try:
            folder.create(LOCK)
        except FileExistsError:
            version += 1
        else:
            return folder


def _copy_in(folder: Folder, name: str, take: Opener) -> ModelFile:
    *parents, last = parts_of(name)
    for part in parents:
        folder = folder.child(part)
    with take() as source:
        told = folder.place(last, lambda file: copy_blocks(source, file), sync=True)
    return ModelFile(name, *told)


def _clear(folder: Folder) -> None:
    """Remove the files of a version that was not finished; its number stays taken."""
    import shutil

    try:
        if folder.status(FILES) is not None:
            shutil.rmtree(folder.child(FILES, create=False).path, ignore_errors=True)
    except (OSError, UnsafePathError):  # the first error is the one to tell
        return
