"""Requirement lines for pip: reading them from a file, and what they depend on.

Lines leave the folder of their file: they are written to pip's standard input, maybe by
another process, later. So nested files are put in their place, and paths are absolute.

Source: pip, "Requirements File Format".
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["local_files", "option_of", "read_requirements", "resolved"]

_COMMENT = re.compile(r"(^|\s+)#.*$")
_NESTED = ("-r", "--requirement")
_WITH_PATH = ("-c", "--constraint", "-f", "--find-links", "-e", "--editable")
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MOST_FILES = 50


def read_requirements(path: Path) -> list[str]:
    """Return the lines of a requirements file, those of nested files in their place.

    Raises:
        OSError: A file cannot be read.
        ValueError: Files name each other in a circle, or are not text.
    """
    lines: list[str] = []
    _read(path, lines, [])
    return lines


def resolved(lines: Iterable[str], folder: Path) -> list[str]:
    """Return lines with absolute paths, nested files in their place; errors as above."""
    found: list[str] = []
    for line in lines:
        _take(line, folder, found, [])
    return found


def option_of(line: str) -> tuple[str, str] | None:
    """Return name and value of an option; None for a requirement."""
    if not line.startswith("-"):
        return None
    if line[1:2] != "-" and len(line) > 2 and not line[2].isspace():
        return line[:2], line[2:].lstrip("= ")  # -rfile
    name, _, value = re.sub(r"\s+|=", " ", line, count=1).partition(" ")
    return name, value.strip()


def local_files(lines: Iterable[str]) -> str:
    """Return a digest of the files on this disk that lines name; "" without any.

    What is below a `--find-links` folder does not count, as that of an index does not.
    """
    digest = hashlib.sha256()
    found = False
    for line in lines:
        for file in _files_of(line):
            found = True
            digest.update(f"{file}\0".encode("utf-8", "surrogateescape"))
            digest.update(_content(file))
    return digest.hexdigest() if found else ""


def _read(path: Path, lines: list[str], above: list[Path]) -> None:
    path = Path(os.path.abspath(path))
    if path in above or len(above) >= _MOST_FILES:
        chain = " → ".join(str(each) for each in (*above, path))
        raise ValueError(f"requirements files name each other: {chain}")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ValueError(f"{path} is no text in UTF-8") from exc
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        _take(line, path.parent, lines, [*above, path])


def _take(line: str, folder: Path, lines: list[str], above: list[Path]) -> None:
    line = _COMMENT.sub("", line).strip()
    if not line:
        return
    option = option_of(line)
    if option is None:
        lines.append(_absolute_requirement(line, folder))
    elif option[0] in _NESTED and "://" not in option[1]:
        _read(folder / os.path.expanduser(option[1]), lines, above)
    elif option[0] in _WITH_PATH:
        lines.append(f"{option[0]} {_absolute(option[1], folder)}")
    else:
        lines.append(line)


def _absolute(text: str, folder: Path) -> str:
    """Return a path as an absolute one, if there is something; else the text."""
    if "://" in text:
        return text
    bare, bracket, extras = text.partition("[")
    path = folder / os.path.expanduser(bare.strip("'\""))
    return f"{path.absolute()}{bracket}{extras}" if path.exists() else text


def _absolute_requirement(line: str, folder: Path) -> str:
    is_path = line.startswith((".", "/", "~")) or line.split()[0].endswith(_ARCHIVES)
    return _absolute(line, folder) if is_path else line


def _files_of(line: str) -> Iterator[Path]:
    option = option_of(line)
    if option is not None and option[0] not in (
        "-c",
        "--constraint",
        "-e",
        "--editable",
    ):
        return
    text = option[1] if option is not None else line
    text = re.sub(r"^[^@]*@\s*file://", "", text.removeprefix("file://"))
    path = Path(text.partition("[")[0].partition(" ;")[0].strip())
    if path.is_absolute() and path.exists():
        yield path


def _content(path: Path) -> bytes:
    """Return the digest of a file, or of names, sizes and times below a folder."""
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
        return digest.digest()
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(f for f in folders if not _is_made(f))
        for name in sorted(names):
            file = Path(folder, name)
            try:
                stat = file.lstat()
            except OSError:
                continue
            told = f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
            digest.update(told.encode("utf-8", "surrogateescape"))
    return digest.digest()


def _is_made(folder: str) -> bool:
    """Whether a folder is one that tools make, not people."""
    return folder.startswith((".", "__pycache__")) or folder.endswith(".egg-info")
