"""Patterns that somebody typed: what could take for ever is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.patterns import PatternError, pattern_of


@pytest.mark.parametrize(
    "text",
    [
        *("loss=\\d+", "a|b", "(?:a|b)c*", "(a|b)?", "(\\d+)?", "[(+*|)]+", "\\(a+\\)+"),
        *("a{2}b{3,}", "(ab)+", "(a{1})*", "(?i:x)+", "[^]+]*", "x*+y", "^$", "{", "a{,2}"),
    ],
)  # fmt: skip
def test_usual_patterns_are_taken(text: str) -> None:
    assert pattern_of(text).pattern == text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        *(("(a+)+", 4), ("(a*)*b", 4), ("(a|a)*", 5), ("(?:(a+)b)+", 9)),
        *(("((a+)?){2,}", 7), ("(a+){30}", 4), ("(a|b|ab)*?c", 8), ("(.*,)*+x", 5)),
    ],
)
def test_a_repeat_in_a_repeat_is_refused(text: str, place: int) -> None:
    """It has twice as many ways to fit with each character of a text."""
    with pytest.raises(PatternError, match="can take for ever") as caught:
        pattern_of(text)
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        *(("a(b", 1, "missing"), ("a)b", 1, "unbalanced"), ("*", 0, "nothing to rep")),
        *(("[a", 0, "unterminated"), ("\\", 0, "bad escape"), ("x" * 1001, 0, "1000")),
        ("a(?P<b", 2, "got missing >"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, place: int, why: str) -> None:
    with pytest.raises(PatternError, match=why) as caught:
        pattern_of(text)
    assert caught.value.place >= place


@given(st.text(max_size=30) | st.text("ab()[]{}*+?|\\1,^", max_size=20))
def test_any_text_is_a_pattern_or_a_clear_error(text: str) -> None:
    """The error's place is in it; what is taken answers on equal letters at once."""
    place: int | None = None
    try:
        pattern = pattern_of(text)
    except PatternError as exc:
        place = exc.place
    else:
        found = pattern.search("a" * 12 + "!")
        assert found is None or found.re is pattern
    assert place is None or 0 <= place <= len(text)
