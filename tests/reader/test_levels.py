"""Levels of entries, by name and number."""

import logging
from typing import Any

import pytest

from mlog.reader.levels import level_from, level_of, names_from
from mlog.reader.search import parse_search
from mlog.reader.sources import Source


@pytest.mark.parametrize(
    ("name", "number"),
    [("WARN", 30), ("Level 35", 35), ("TRACEBACK", 20), (None, 20), ([], 20)],
)
def test_a_level_counts_by_its_number(name: Any, number: int) -> None:
    """One that nobody knows is INFO."""
    entry = {"ts": "t", "seq": 1, "level": name}
    assert level_of(entry) == number
    search = parse_search(f"level={number} level>={number} -level>{number}")
    assert search((entry, Source()))


def test_names_and_numbers_are_read() -> None:
    found = [level_from(text) for text in ("debug", "Error", "15", "Level 7")]
    assert found == [10, 40, 15, 7]


@pytest.mark.parametrize("text", ["", "loud", "-5", "1.5", "٣"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no level; expected DEBUG, INFO"):
        level_from(text)


def test_names_from_a_number_on_are_all_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also those that this process has made up."""
    monkeypatch.setattr(logging, "_nameToLevel", {**logging._nameToLevel, "LOUD": 45})
    assert {*names_from(40)} == {"ERROR", "CRITICAL", "FATAL", "LOUD", "Level "}
