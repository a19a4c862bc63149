"""`run.json`: what it says of a run, as far as the events do not."""

from pathlib import Path
from typing import Any

import orjson

from mlog.folder import read_from
from mlog.reader.alive import is_time
from mlog.reader.fields import mapping_from, text_from, whole_from

__all__ = ["Document"]

_MAX_DOCUMENT = 64 << 20


class Document:
    """`run.json`, read when it is first asked; {} where it cannot be read."""

    def __init__(self, folder: Path) -> None:
        """Prepare; the folder is the run's."""
        self._path = folder / "run.json"
        self._content: dict[str, Any] | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The whole of it."""
        if self._content is None:
            self._content = self._read()
        return self._content

    @property
    def attempt(self) -> int:
        """The attempt it is about."""
        return whole_from(self.content.get("attempt")) or 1

    def text(self, key: str) -> str:
        """Return a text in it, or ""."""
        return text_from(self.content.get(key))

    def time(self, key: str) -> str:
        """Return a time in it, or ""."""
        value = self.text(key)
        return value if is_time(value) else ""

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object in it, or {}."""
        return mapping_from(self.content.get(key))

    def _read(self) -> dict[str, Any]:
        try:
            with read_from(self._path) as file:
                return mapping_from(orjson.loads(file.read(_MAX_DOCUMENT)))
        except (OSError, ValueError):
            return {}
