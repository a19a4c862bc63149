"""Names that MLflow takes, made of any name, and back.

MLflow takes letters, digits, `_ - . : /` and blanks, at most 250 characters, and only
what is a plain relative path; a batch with one other name is refused as a whole. So:

- Every other character is written `_x40_`: its code point in capital hex digits. So is
  a `/` that begins or ends a name or follows another, and the first dot of a part that
  is `.` or of a name that begins with `..`.
- A `_` that would begin such a group by chance is written `_x5F_`, so that the way back
  is exact. Usual names stay as they are.
- What is still too long is cut, and ends in a digest; a tag of the run, `long_tag`, says
  the name.

Source of the rules: MLflow 3.17, `mlflow/utils/validation.py`.
"""

import hashlib
import posixpath
import re

__all__ = ["MAX_KEY", "is_long", "key_of", "long_tag", "name_of"]

MAX_KEY = 250
"""Longest key of a metric, param or tag, in characters."""

_PLAIN = re.compile(r"[\w.\-: ]+(/[\w.\-: ]+)*")
_LOOKS_WRITTEN = re.compile(r"_(?=x[0-9A-F]{2})")
_WRITTEN = re.compile(r"_x([0-9A-F]{2,6})_")
_FOREIGN = re.compile(r"[^/\w.\-: ]")
_SLASH = re.compile(r"\A/|(?<=/)/|/\Z")
_DOT = re.compile(r"(?:(?<=/)|\A)\.(?=\.?(?:/|\Z))|\A\.(?=\.)")
_DIGEST = 16


def key_of(name: str) -> str:
    """Return the key under which MLflow keeps a name."""
    whole = _escaped(name)
    if len(whole) <= MAX_KEY:
        return whole
    head = whole[: MAX_KEY - _DIGEST - 1].rstrip("/")
    return f"{head}.{_digest(name)}"


def name_of(key: str) -> str:
    """Return the name of a key; of one that was cut see `long_tag`."""
    if "_x" not in key:
        return key
    return _WRITTEN.sub(_character, key)


def is_long(name: str) -> bool:
    """Whether the key of a name is cut, so that a tag has to say the name."""
    return len(name) > MAX_KEY // 10 and len(_escaped(name)) > MAX_KEY


def long_tag(name: str) -> str:
    """Return the key of the tag that says a name whose key is cut."""
    return f"mlog.name.{_digest(name)}"


def _escaped(name: str) -> str:
    if _PLAIN.fullmatch(name) and "_x" not in name and _is_plain_path(name):
        return name
    # In one pass over the original, so that nothing written is written again.
    marks = {
        match.start()
        for pattern in (_LOOKS_WRITTEN, _FOREIGN, _SLASH, _DOT)
        for match in pattern.finditer(name)
    }
    parts = (f"_x{ord(c):02X}_" if at in marks else c for at, c in enumerate(name))
    return "".join(parts) or "_"


def _is_plain_path(name: str) -> bool:
    return (
        posixpath.normpath(name) == name and not name.startswith("..") and name != "."
    )


def _character(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code <= 0x10FFFF else match[0]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
