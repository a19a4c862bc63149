"""mlog for the interpreters and containers that have none: a copy below the root.

    <root>/.cache/carried/<hash>/site/mlog/     this mlog; `site/.carried` marks it
    <root>/.cache/carried/<hash>/deps/          what it needs, as far as it is Python
    <root>/.cache/carried/<hash>/native<tag>/   what of that is compiled, for the Python
                                                of this process (`.cpython-311-….so`)

`PYTHONPATH` of a script begins with `site/mlog/launch/inject`; what is there puts the
folders at the end of `sys.path`. All is taken from the running installation: there is
no network, and nothing is installed.

The copy differs in one line of some modules: `import orjson` has become an import of
`mlog.launch.stand_in`, which gives orjson where the script's Python has it or can use
the compiled one, and otherwise `mlog.launch.plain_orjson`. So nobody but mlog ever sees
a module of that name that is not orjson.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from mlog.folder import Access, Folder

__all__ = ["PACKAGE", "carried_path", "carry"]

PACKAGE = Path(__file__).absolute().parents[1]
"""Folder of the running mlog."""

_FOLDER = (".cache", "carried")
_FORM = 1
_DISTRIBUTION = "mlog-runs"
# Where the running mlog is no installed distribution (a zip, a path).
_USUAL = ("orjson", "python-json-logger", "platformdirs", "pathspec", "click", "httpx")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IMPORT = re.compile(rb"^([ \t]*)import orjson\b", re.MULTILINE)
_INSTEAD = rb"\1from mlog.launch.stand_in import orjson"
_OWN_WAY = "stand_in.py"
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES)
_STALE = 3_600.0


def carry(root: Path, access: Access) -> Path:
    """Return the folder of the copy, which is made if it is not there.

    Several processes may do so at once: it gets its name when it is whole.

    Raises:
        OSError: The cache cannot be written to.
    """
    cache = Folder.open_below(root, _FOLDER, access)
    packages = _packages()
    name = _hash(packages)
    place = cache.path / name
    if cache.status(name) is not None:
        return cache.child(name, create=False).path
    _remove_stale(cache.path)
    making = f".{name}.{os.getpid()}-{time.monotonic_ns()}.tmp"
    folder = cache.child(making)
    try:
        _copy(folder.path, packages)
        try:
            os.rename(folder.path, place)
        except OSError:  # another process was faster
            if not place.is_dir():
                raise
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)
    return place


def carried_path(path: str, copy: Path) -> str:
    """Return where a path of the running mlog lies in a copy; any other as it is."""
    try:
        inner = Path(path).relative_to(PACKAGE)
    except ValueError:
        return path
    return str(copy / "site" / "mlog" / inner)


def _copy(folder: Path, packages: dict[str, metadata.Distribution]) -> None:
    site = folder / "site"
    for source in _sources():
        target = site / "mlog" / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_adapted(source))
    for package in packages.values():
        files = list(_files_of(package))
        is_compiled = any(str(file).endswith(_COMPILED) for file in files)
        below = f"native{_COMPILED[0]}" if is_compiled else "deps"
        for file in files:
            target = folder / below / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(package.locate_file(file)), target)
    (site / ".carried").write_bytes(b"")  # last: without it nothing is used


def _adapted(source: Path) -> bytes:
    text = source.read_bytes()
    if source.suffix != ".py" or source.name == _OWN_WAY:
        return text
    return _IMPORT.sub(_INSTEAD, text)


def _sources() -> Iterator[Path]:
    """Yield the files of the running mlog."""
    for folder, folders, names in os.walk(PACKAGE):
        folders[:] = sorted(f for f in folders if f != "__pycache__")
        yield from (Path(folder, n) for n in sorted(names) if not n.endswith(".pyc"))


def _files_of(package: metadata.Distribution) -> Iterator[str]:
    """Yield the files of a distribution that lie in site-packages."""
    for file in package.files or ():
        text = file.as_posix()
        is_inside = not text.startswith(("..", "/")) and "__pycache__" not in text
        # Without what says that it is installed: in the script's Python it is not.
        is_inside = is_inside and "-info/" not in text
        if is_inside and os.path.isfile(str(package.locate_file(file))):
            yield text


def _packages() -> dict[str, metadata.Distribution]:
    """Return the installed distributions that mlog needs, and those that they need."""
    found: dict[str, metadata.Distribution] = {}
    todo = list(_required(_DISTRIBUTION) or _USUAL)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system, say
            continue
        todo += _required(name)
    return found


def _required(name: str) -> list[str]:
    """Return what a distribution needs without its extras."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    plain = [
        line for line in lines if "extra ==" not in line.replace("extra==", "extra ==")
    ]
    return [match[0].lower() for line in plain if (match := _NAME.match(line))]


def _hash(packages: dict[str, metadata.Distribution]) -> str:
    """Return what tells one copy from another: names, sizes and times, and versions."""
    told: list[object] = [_FORM, _COMPILED[0]]
    for source in _sources():
        stat = source.stat()
        told.append((str(source), stat.st_size, stat.st_mtime_ns))
    told += sorted((name, package.version) for name, package in packages.items())
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def _remove_stale(folder: Path) -> None:
    """Remove copies that were never finished, and that nobody is making any more."""
    for path in folder.glob(".*.tmp"):
        try:
            is_old = time.time() - path.stat().st_mtime > _STALE
        except OSError:
            continue
        if is_old:
            shutil.rmtree(path, ignore_errors=True)
