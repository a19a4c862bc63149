"""Small JSON documents beside the runs: `<root>/.azureml/<kind>/<name>.json`.

What the service kept of workspaces, experiments, compute targets, environments and data
sets, as far as scripts read it back. The folder's name begins with a dot, so it is no
experiment. Documents are put in place as a whole; of two processes that write one at
the same time the later wins. Versions are claimed exclusively: no two get one number.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlog.folder import Folder, access_for, read_from
from mlog.layout import slug

__all__ = ["FOLDER", "add_version", "documents", "read", "remove", "versions", "write"]

FOLDER = ".azureml"
"""Name of the folder in the root of all runs."""

_MAX_STEM = 250


def read(root: Path, kind: str, name: str) -> dict[str, Any]:
    """Return a document; {} where there is none that can be read."""
    return _load(root / FOLDER / kind / _filename(name))


def write(root: Path, kind: str, name: str, document: Mapping[str, Any]) -> None:
    """Put a document in place.

    Raises:
        OSError, UnsafePathError: The root cannot be written to.
    """
    folder = _open(root, kind)
    folder.replace(_filename(name), _dump(document))


def remove(root: Path, kind: str, name: str) -> None:
    """Remove a document, if it is there."""
    _open(root, kind).remove(_filename(name))


def documents(root: Path, kind: str) -> list[dict[str, Any]]:
    """Return all documents of a kind, by name."""
    folder = root / FOLDER / kind
    names = sorted(path.name for path in folder.glob("[!.]*.json"))
    return [found for name in names if (found := _load(folder / name))]


def versions(root: Path, kind: str, name: str) -> dict[int, dict[str, Any]]:
    """Return all versions of a document, by number."""
    folder = root / FOLDER / kind / slug(name)
    paths = {int(p.stem): p for p in folder.glob("*.json") if p.stem.isdigit()}
    return {n: found for n in sorted(paths) if (found := _load(paths[n]))}


def add_version(root: Path, kind: str, name: str, document: Mapping[str, Any]) -> int:
    """Store a document as the next version; its `version` is set to the number.

    Raises:
        OSError, UnsafePathError: The root cannot be written to.
    """
    folder = _open(root, kind, slug(name))
    taken = [int(n[:-5]) for n in folder.names() if n[:-5].isdigit()]
    number = max(taken, default=0) + 1
    while True:
        try:
            folder.create(f"{number}.json")
        except FileExistsError:  # another process was faster
            number += 1
            continue
        document = {**document, "name": name, "version": number}
        folder.replace(f"{number}.json", _dump(document))
        return number


def _open(root: Path, *parts: str) -> Folder:
    access = access_for(root, "private")
    return Folder.open_below(root, (FOLDER, *parts), access)


def _filename(name: str) -> str:
    text = slug(name)
    if len(text) > _MAX_STEM:  # the end tells long names apart
        text = text[: _MAX_STEM - 7] + text[-7:]
    return f"{text}.json"


def _dump(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _load(path: Path) -> dict[str, Any]:
    try:
        with read_from(path) as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
