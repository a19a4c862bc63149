"""Names of the files that data is kept in, made of names of metrics or of paths."""

import os
import re
from pathlib import PurePath
from typing import Any

from mlog.plain import clean_text, fit_text, safe_str

__all__ = ["own_name", "safe_name", "text_of_name"]

_MAX_PART = 200  # bytes of one level of an artifact's name; step and time follow
_MAX_NAME = 256  # bytes of a metric's name
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
# Windows opens the device for these names, with any extension.
# Source: Microsoft, "Naming Files, Paths, and Namespaces".
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def text_of_name(name: object) -> str:
    """Return a name as text, whatever it is."""
    return name if isinstance(name, str) else safe_str(name)


def own_name(source: Any) -> str | None:
    """Return the name a file is stored under, as v1 did; None: it is no path.

    A relative path is kept as it is; of one that is absolute or leads upward, the last
    part.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    path = PurePath(os.fspath(source))
    return path.name if path.anchor or ".." in path.parts else path.as_posix()


def safe_name(text: str) -> str:
    """Return a name of an artifact for any text; most come back as they are."""
    plain = fit_text(clean_text(text_of_name(text)), 4 * _MAX_NAME).replace("\\", "/")
    parts = [_safe_part(part) for part in plain.split("/") if part not in ("", ".")]
    return "/".join(parts) or "_"


def _safe_part(part: str) -> str:
    """Return a name that a file can have on every system."""
    part = fit_text(_NOT_IN_NAMES.sub("_", part), _MAX_PART)
    if part != part.rstrip(". "):
        part = part.rstrip(". ") + "_"
    return f"_{part}" if _RESERVED.fullmatch(part) else part
