"""What mlog uses of orjson, in Python: for interpreters that orjson is not there for.

Slower by an order of magnitude, and the same in what counts: the same values are taken
and refused, text is compact UTF-8, NaN and infinities become null, and what is read
back is equal. Floats are written as Python writes them (1e+16 where orjson has 1e16).

Source: orjson's README, "Types" and "Serialize", "Deserialize".
"""

import dataclasses
import datetime
import enum
import json
import re
import uuid
from collections.abc import Callable
from json.encoder import encode_basestring
from math import isfinite
from typing import Any, NoReturn

__all__ = [
    "OPT_APPEND_NEWLINE",
    "OPT_INDENT_2",
    "Fragment",
    "JSONDecodeError",
    "JSONEncodeError",
    "dumps",
    "loads",
]

OPT_INDENT_2 = 1
OPT_APPEND_NEWLINE = 1 << 10

_MOST_DEPTH = 254
_LEAST, _END = -(1 << 63), 1 << 64
_SURROGATE = re.compile(r"\\u[dD][89abAB]|\\u[dD][c-fC-F]")

JSONEncodeError = TypeError


class JSONDecodeError(json.JSONDecodeError):
    """A text is no JSON."""


class Fragment:
    """A text that is JSON already."""

    __slots__ = ("contents",)

    def __init__(self, contents: bytes | str) -> None:
        """Keep the text as it is."""
        self.contents = contents


def dumps(
    value: Any,
    default: Callable[[Any], Any] | None = None,
    option: int | None = None,
) -> bytes:
    """Return the JSON of a value.

    Raises:
        JSONEncodeError: It has none.
    """
    option = option or 0
    indent = 2 if option & OPT_INDENT_2 else 0
    parts: list[str] = []
    try:
        _write(value, default, parts.append, indent, 0)
        text = "".join(parts).encode()
    except (UnicodeEncodeError, RecursionError, UnicodeDecodeError) as exc:
        raise JSONEncodeError(f"cannot be encoded: {exc}") from exc
    return text + b"\n" if option & OPT_APPEND_NEWLINE else text


def loads(text: bytes | bytearray | memoryview | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        JSONDecodeError: It is none.
    """
    try:
        as_text = text if isinstance(text, str) else bytes(text).decode()
        found = json.loads(
            as_text, parse_constant=_refuse, parse_int=_int, parse_float=_float
        )
        if _SURROGATE.search(as_text):  # pairs are fine, halves are no text
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        at = getattr(exc, "pos", 0)
        raise JSONDecodeError(str(exc), "", at if isinstance(at, int) else 0) from exc
    return found


def _write(
    value: Any, default: Any, put: Callable[[str], object], indent: int, depth: int
) -> None:
    kind = type(value)
    if kind is str:
        put(encode_basestring(value))
    elif kind is int:
        put(_number(value))
    elif kind is float:
        put(float.__repr__(value) if isfinite(value) else "null")
    elif value is None:
        put("null")
    elif value is True or value is False:
        put("true" if value else "false")
    elif depth > _MOST_DEPTH:
        raise JSONEncodeError("too deep")
    elif isinstance(value, dict):
        _write_dict(value, default, put, indent, depth)
    elif isinstance(value, list) or kind is tuple:
        _write_list(value, default, put, indent, depth)
    elif kind is Fragment:
        contents = value.contents
        put(contents if isinstance(contents, str) else contents.decode())
    else:
        _write_other(value, default, put, indent, depth)


def _write_dict(
    value: Any, default: Any, put: Callable[[str], object], indent: int, depth: int
) -> None:
    if not value:
        put("{}")
        return
    start, between, end = _spaces(indent, depth)
    put("{" + start)
    is_first = True
    for key, item in value.items():
        if type(key) is not str:
            raise JSONEncodeError("Dict key must be str")
        head = encode_basestring(key) + (": " if indent else ":")
        put(head if is_first else between + head)
        is_first = False
        _write(item, default, put, indent, depth + 1)
    put(end + "}")


def _write_list(
    value: Any, default: Any, put: Callable[[str], object], indent: int, depth: int
) -> None:
    if not value:
        put("[]")
        return
    start, between, end = _spaces(indent, depth)
    put("[" + start)
    for number, item in enumerate(value):
        if number:
            put(between)
        _write(item, default, put, indent, depth + 1)
    put(end + "]")


def _spaces(indent: int, depth: int) -> tuple[str, str, str]:
    """Return what stands after a bracket, between items and before a bracket."""
    if not indent:
        return "", ",", ""
    inner = "\n" + " " * (indent * (depth + 1))
    return inner, "," + inner, "\n" + " " * (indent * depth)


def _write_other(
    value: Any, default: Any, put: Callable[[str], object], indent: int, depth: int
) -> None:
    if isinstance(value, enum.Enum):
        _write(value.value, default, put, indent, depth + 1)
    elif isinstance(value, str):
        put(encode_basestring(str.__str__(value)))
    elif isinstance(value, int):
        put(_number(int.__int__(value)))
    elif isinstance(value, datetime.date | datetime.time):
        put(f'"{value.isoformat()}"')
    elif isinstance(value, uuid.UUID):
        put(f'"{value}"')
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        shown = {n: getattr(value, n) for n in names if not n.startswith("_")}
        _write(shown, default, put, indent, depth)
    elif default is not None:
        _write(default(value), default, put, indent, depth + 1)
    else:
        raise JSONEncodeError(f"Type is not JSON serializable: {type(value).__name__}")


def _number(value: int) -> str:
    if not _LEAST <= value < _END:
        raise JSONEncodeError("Integer exceeds 64-bit range")
    return int.__repr__(value)


def _int(text: str) -> int | float:
    if len(text) < 19:
        return int(text)
    value = int(text) if len(text) < 25 else None
    return value if value is not None and _LEAST <= value < _END else float(text)


def _float(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _refuse(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
