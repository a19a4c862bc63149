"""Lines of foreign logs: time, level, logger, text, fields."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.sources.foreign_lines import FORMATS, Line, parser_of

NOW = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)
AT = datetime(2026, 11, 27, 18, 27, 3, 500_000, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Times without a zone are local."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def parse(text: str, kind: str = "auto") -> Line:
    return parser_of(kind)(text, NOW)


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("2026-11-27 18:27:03,500", AT),
        ("2026-11-27T18:27:03.5Z", AT),
        ("2026-11-27T18:27:03.500000000Z", AT),
        ("2026-11-27T19:27:03.5+01:00", AT),
        ("2026-11-27 19:27:03.5 +0100", AT),
        ("2026/11/27 18:27:03.5 UTC", AT),
        ("[2026-11-27 18:27:03.5]", AT),
        ("Nov 27 18:27:03 myhost", AT - 0.5),
        ("1795804023.5", 1795804023.5),
        ("18:27:03.5", AT),
    ],
)
def test_times_in_front_of_a_text(stamp: str, time: float) -> None:
    found = parse(f"{stamp} WARNING disk is full")
    assert found.time == pytest.approx(time)
    assert (found.level, found.text) == ("WARNING", "WARNING disk is full")


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("[ERROR] db: lost", "ERROR"),
        ("err something", "ERROR"),
        ("main.c: fatal: no", "CRITICAL"),
        ("nothing of the kind", "INFO"),
        ("an error deep in the text is no level of it", "ERROR"),
        ("one two three error", "INFO"),
    ],
)
def test_levels_among_the_first_words(text: str, level: str) -> None:
    assert parse(text).level == level


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '{"ts":"2026-11-27T18:27:03.5Z","level":"warn","logger":"api","msg":"a","n":1}',
            Line(AT, "WARNING", "api", "a", {"n": 1}),
        ),
        (
            '{"time":1795804023500,"severity":"ERROR","message":"b"}',
            Line(1795804023.5, "ERROR", "", "b", {}),
        ),
        (
            '{"timestamp":1795804023500000000,"level":30,"event":"c","name":"x"}',
            Line(1795804023.5, "WARNING", "x", "c", {}),
        ),
        (
            'ts=2026-11-27T18:27:03.5Z level=error msg="it \\"broke\\"" code=7',
            Line(AT, "ERROR", "", 'it "broke"', {"code": "7"}),
        ),
    ],
)
def test_json_and_logfmt(text: str, line: Line) -> None:
    assert parse(text) == line


@pytest.mark.parametrize(
    "text", ["{no json", "[1, 2]", "x = 3, y = 4", "say msg=a b=c"]
)
def test_what_only_looks_like_it_is_a_text(text: str) -> None:
    assert parse(text) == Line(None, "INFO", "", text, {})


def test_a_named_format_takes_no_other() -> None:
    text = 'ts=2026-11-27T18:27:03Z level=error msg="a"'
    assert parse(text, "logfmt").level == "ERROR"
    assert parse(text, "text").text == text


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of auto, json, logfmt, text"):
        parser_of("xml")


@given(st.text(), st.sampled_from(FORMATS))
def test_any_text_is_a_line(text: str, kind: str) -> None:
    found = parser_of(kind)(text, NOW)
    assert found.level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    assert found.time is None or found.time == found.time
