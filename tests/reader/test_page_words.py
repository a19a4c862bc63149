"""Words for pages: short, on one line, with units."""

import pytest

from mlog.reader.page_words import cut, moment, one_line, size_text, span, value_text


def test_what_is_too_long_is_cut() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"


def test_one_line_is_short_also_with_controls_shown() -> None:
    assert one_line("a\nb\x1b") == "a\\nb\\x1b"
    assert one_line("\x1b" * 50, 10) == "\\x1b\\x1b\\…"


def test_a_text_is_its_own_value() -> None:
    assert value_text("a b") == "a b"
    assert value_text({"a": [1, None]}) == '{"a":[1,null]}'
    assert value_text([float("nan"), "é"]) == '[NaN,"é"]'


def test_a_moment_has_no_fractions() -> None:
    assert moment("2026-11-23T18:27:00.123456Z") == "2026-11-23 18:27:00 UTC"
    assert moment(None) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (6_120, "1 h 42 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_span_has_two_units(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (12_345, "12.3 kB"), (10**9, "1.0 GB")],
)
def test_a_size_has_its_unit(size: int, text: str) -> None:
    assert size_text(size) == text
