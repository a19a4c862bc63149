"""Words for the pages of runs: texts on one line and cut, numbers with their units."""

import json
from typing import Any

import orjson

from mlog.escaping import inline

__all__ = [
    "MAX_VALUE",
    "count_text",
    "cut",
    "moment",
    "one_line",
    "rest_text",
    "size_text",
    "span",
    "value_text",
]

MAX_VALUE = 300
"""Most characters of a name or a value, where nothing else is said."""


def cut(text: str, most: int = MAX_VALUE) -> str:
    """Return a text of so many characters at most, its end left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def one_line(text: str, most: int = MAX_VALUE) -> str:
    r"""Return a text on one line, cut, with controls shown; newlines as `\n`."""
    return cut(inline(cut(text, most)), most)


def value_text(value: Any) -> str:
    """Return a value: a text as it is, anything else as JSON, to which NaN is added."""
    if isinstance(value, str):
        return value
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return repr(value)
    if "null" in text:  # what NaN and the infinities are to orjson
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text


def moment(ts: str | None) -> str:
    """Return a time without fractions: `2026-11-23 18:27:00 UTC`."""
    return f"{ts[:10]} {ts[11:19]} UTC" if ts else ""


def span(seconds: float | None) -> str:
    """Return a duration in the two greatest units that fit: `1 h 42 min`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    first = next(n for n, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def size_text(size: int) -> str:
    """Return a size with its unit: `12.3 kB`."""
    if size < 1000:
        return f"{size} B"
    power = min(4, (len(str(size)) - 1) // 3)
    return f"{size / 1000**power:.1f} {' kMGT'[power]}B"


def count_text(number: int, noun: str) -> str:
    """Return how many there are: `1 error`, `1,200 errors`."""
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def rest_text(number: int) -> str:
    """Say how many were left out."""
    return f"… and {number:,} more"
