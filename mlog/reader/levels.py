"""Levels of entries, by their names and numbers."""

import logging
from collections.abc import Mapping
from typing import Any

from mlog.reader.fields import mapping_from, text_from

__all__ = ["level_from", "level_of", "names_from"]

_LEVELS = {
    **{"NOTSET": 0, "DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40},
    **{"CRITICAL": 50, "FATAL": 50},
}
_END_LEVELS = {"Failed": logging.ERROR, "Canceled": logging.WARNING}


def level_of(entry: Mapping[str, Any]) -> int:
    """Return the number of an entry's level; for one without a known name INFO.

    Events have none: an alert, a loss and a run that was cancelled count as WARNING, a
    run that failed as ERROR, others as INFO.
    """
    event = entry.get("event")
    if event is None:
        name = entry.get("level")
        number = _level_number(name) if isinstance(name, str) else None
        return logging.INFO if number is None else number
    if event == "run.end":
        status = text_from(mapping_from(entry.get("data")).get("status"))
        return _END_LEVELS.get(status, logging.INFO)
    warns = event in ("run.alert", "run.dropped")
    return logging.WARNING if warns else logging.INFO


def level_from(text: str) -> int:
    """Return the number of a level that somebody typed, as a name or a number.

    Raises:
        ValueError: There is no such level.
    """
    number = _level_number(text.upper())
    if number is None and text.isascii() and text.isdigit():
        number = int(text[:9])
    if number is None:
        expected = "DEBUG, INFO, WARNING, ERROR, CRITICAL or a number"
        raise ValueError(f"{text!r} is no level; expected {expected}")
    return number


def names_from(level: int) -> list[str]:
    """Return the names of all known levels from a number on, and "Level "."""
    known = logging.getLevelNamesMapping() | _LEVELS
    return [*(name for name, number in known.items() if number >= level), "Level "]


def _level_number(name: str) -> int | None:
    number = _LEVELS.get(name)
    if number is None:
        number = logging.getLevelNamesMapping().get(name)
    if number is None:
        word, _, digits = name.partition(" ")  # "Level 15"
        if word.upper() == "LEVEL" and digits.isascii() and digits.isdigit():
            number = int(digits[:4])
    return number
