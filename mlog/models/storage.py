"""Where registered models lie: names and numbers, and files that are opened and copied.

What a file is called in a model leads nowhere else, and links are not followed. Texts
are free of secrets before they are written.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlog.errors import UnsafePathError
from mlog.folder import Folder, access_for
from mlog.plain import clean_text, safe_str, to_json
from mlog.redaction import make_redactor

__all__ = [
    "ALL",
    "FACTS",
    "FILES",
    "LOCK",
    "NUMBER",
    "ModelFile",
    "check_unicode",
    "cleaned",
    "copy_blocks",
    "numbers_in",
    "open_below",
    "open_file",
    "parts_of",
    "texts_from",
    "top_of",
]

ALL = ".models"
"""Folder of all models, below the root."""

FACTS = "model.json"
"""File of a version that says what it is, and makes it one."""

FILES = "files"
"""Folder of a version's files."""

LOCK = ".lock"
"""File that claims a version, and keeps others from changing it."""

NUMBER = re.compile(r"[1-9][0-9]{0,17}")
"""How a version is written."""

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its name, `/` between the levels, size and checksum."""

    path: str
    size: int
    sha256: str


def check_unicode(name: str) -> None:
    """Raise ValueError for a name that cannot be written as UTF-8."""
    if clean_text(name) != name:
        raise ValueError(f"{name!r} is no Unicode text; rename it")


def parts_of(name: str) -> list[str]:
    """Take a file's name in a model apart; it cannot lead out of the folder."""
    parts = name.split("/") if isinstance(name, str) else [""]
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        text = f"{name!r} is no name of a file in a model; 'weights/layer-1.bin' is one"
        raise UnsafePathError(text)
    check_unicode(name)
    return parts


def top_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the one file or folder that holds all files; () if there is none."""
    first = {parts_of(name)[0] for name in names}
    return tuple(first) if len(first) == 1 else ()


def numbers_in(model: Folder) -> list[int]:
    """Return the numbers that were given, also those of no whole version."""
    return [int(name) for name in model.names() if NUMBER.fullmatch(name)]


def open_below(root: Path, parts: Iterable[str]) -> Folder:
    """Return a folder of the registry; FileNotFoundError where it is not there."""
    return Folder.open_below(root, parts, access_for(root, "private"), create=False)


def open_file(version: Folder, name: str) -> BinaryIO:
    """Open one file of a version for reading."""
    *parents, last = (FILES, *parts_of(name))
    for part in parents:
        version = version.child(part, create=False)
    return version.open(last)


def copy_blocks(source: BinaryIO, target: BinaryIO) -> tuple[int, str]:
    """Copy a file block by block; return its size and SHA-256."""
    import hashlib  # only here: it loads slowly

    size, digest = 0, hashlib.sha256()
    while block := source.read(_BLOCK):
        target.write(block)
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def texts_from(what: str, given: Mapping[str, Any] | None) -> dict[str, str]:
    """Return tags or properties as texts; TypeError for what is no mapping."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} must be a mapping, got {type(given).__name__}")
    return {safe_str(key): safe_str(value) for key, value in given.items()}


def cleaned(
    facts: Mapping[str, Any], clean: Callable[[Any], Any] | None = None
) -> dict[str, Any]:
    """Return facts as they may be written: JSON-ready and without secrets."""
    if clean is not None:
        return dict(clean(dict(facts)))
    redactor = make_redactor(True)
    assert redactor is not None
    return dict(redactor.fields(to_json(dict(facts))))
