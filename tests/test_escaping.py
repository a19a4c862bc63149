"""Text that came from anywhere, made safe to show."""

from hypothesis import given
from hypothesis import strategies as st

from mlog.escaping import escape, inline


def test_controls_are_shown() -> None:
    assert escape("a\x1b[31m\x00\u202e\ud800\uffff") == (
        "a\\x1b[31m\\x00\\u202e\\ud800\\uffff"
    )


def test_lines_tabs_and_other_scripts_stay() -> None:
    assert escape("ä\n\t漢😀 👩\u200d🔬") == "ä\n\t漢😀 👩\u200d🔬"


def test_one_line_has_no_newlines_and_tabs() -> None:
    assert inline("a\n\tb\r\x07") == "a\\n\\tb\\r\\x07"


@given(st.text(st.characters()))
def test_what_was_escaped_stays_as_it_is(text: str) -> None:
    """So it does no harm where two parts of a program escape."""
    assert escape(escape(text)) == escape(text)
    assert inline(inline(text)) == inline(text)
