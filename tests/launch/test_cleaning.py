"""Secrets in what a script prints, a line at a time and in a flood."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.launch.cleaning import Cleaner
from mlog.redaction import REDACTED, Redactor
from tests.test_redaction import ML_LINES, NAMED, TOKENS

SECRET_LINES = [
    *(line.format(secret) for line, secret in NAMED),
    *(f"got {token} here" for token in TOKENS.values() if "\n" not in token),
]
KEY = TOKENS["private key"] + "\n"
USUAL = b"step 3: loss=0.25, tokens=4096, see https://example.com/a\n"


def clean(data: bytes) -> bytes:
    return Cleaner(Redactor()).clean(data)


@pytest.mark.parametrize("line", SECRET_LINES)
def test_each_secret_is_found_in_its_line(line: str) -> None:
    expected = Redactor().text(line)
    assert REDACTED in expected
    assert clean(line.encode() + b"\n").decode() == expected + "\n"


@pytest.mark.parametrize("line", SECRET_LINES)
def test_each_secret_is_found_in_a_flood(line: str) -> None:
    """The rest of the flood goes through as it is."""
    flood = USUAL * 1_000
    expected = Redactor().text(line).encode()
    assert clean(flood + line.encode() + b"\n" + flood) == (
        flood + expected + b"\n" + flood
    )


@given(st.lists(st.sampled_from(SECRET_LINES + ML_LINES) | st.text(), max_size=6))
def test_it_finds_what_the_redactor_finds(lines: list[str]) -> None:
    lines = [re.sub(r"-----BEGIN|\n", "", line) for line in lines]
    text = "".join(f"{line}\n" for line in lines)
    expected = "".join(f"{Redactor().text(line)}\n" for line in lines)
    data = text.encode("utf-8", "surrogatepass")
    assert clean(data) == expected.encode("utf-8", "surrogatepass")


@given(st.binary())
def test_what_is_no_text_stays_as_it_is(data: bytes) -> None:
    if b"=" not in data and b":" not in data and b"-" not in data:
        assert clean(data) == data


def test_a_key_is_taken_out_as_a_whole() -> None:
    assert clean(f"before\n{KEY}after\n".encode()) == b"before\n***\nafter\n"


def test_a_key_that_comes_line_by_line_is_taken_out() -> None:
    cleaner = Cleaner(Redactor())
    lines = f"before\n{KEY}after\n".encode().splitlines(keepends=True)
    cleaned = b"".join(map(cleaner.clean, lines))
    assert b"MIIE" not in cleaned
    assert cleaned.startswith(b"before\n")
    assert cleaned.endswith(b"after\n")


def test_what_follows_a_key_without_an_end_is_shown() -> None:
    cleaner = Cleaner(Redactor())
    begin, body, _ = KEY.encode().splitlines(keepends=True)
    cleaned = [cleaner.clean(each) for each in (begin, body, b"step 1\n", b"step 2\n")]
    assert body not in b"".join(cleaned)
    assert cleaned[2:] == [b"step 1\n", b"step 2\n"]


def test_words_of_the_user_are_looked_for_in_each_line() -> None:
    cleaner = Cleaner(Redactor(names=["badge"], patterns=[r"id-\d+"]))
    assert cleaner.clean(USUAL + b"badge=7x id-123\n") == USUAL + b"badge=*** ***\n"


def test_bytes_with_a_nul_are_looked_through_to_the_end() -> None:
    token = TOKENS["npm"].encode()
    assert clean(b"\0\xff " + token + b"\n") == b"\0\xff ***\n"


def test_without_a_redactor_nothing_is_taken_out() -> None:
    assert Cleaner(None).clean(b"password=hunter2\n") == b"password=hunter2\n"
