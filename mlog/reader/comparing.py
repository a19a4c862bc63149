"""Comparing what a run or an entry has with what somebody typed. Pure.

- What is not there is unequal to everything, and every other comparison is false.
- Numbers are compared as numbers, also where a tag has them as text; a value in quotes
  is a number only for fields that are. A number has no order among other texts.
- Texts are compared as they are, single words such as a status in any case.
- True, false, null, lists and objects are their JSON, in any case, and have no order.
- A time is compared as far as it is given: `created>=2026-11` is true from November on.
- `~` is "contains", or "a part fits the pattern" of a `/pattern/`.
- `:` is "equals", where `*`, `?` and `[…]` stand for other characters, or "lies between"
  the two ends of `1..5`, both included; one of them may be left out.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Any, TypeAlias

import orjson

from mlog.reader.patterns import MAX_TEXT

__all__ = [
    "MISSING",
    "OPERATORS",
    "Make",
    "Test",
    "Value",
    "any_test",
    "json_of",
    "number_from",
    "number_test",
    "text_test",
    "time_test",
    "word_test",
]

MISSING = object()
"""What a field is that is not there."""

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    ":": operator.eq,
}
OPERATORS = (*_COMPARE, "~")
"""All signs that can stand between a field and a value."""

_TIME = re.compile(r"[0-9]{4}(?![0-9])")
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Value:
    """What a field is compared with.

    Attributes:
        text: What was typed, without quotes.
        is_quoted: Whether there were quotes.
        pattern: Of `/pattern/`, else None.
    """

    text: str
    is_quoted: bool = False
    pattern: re.Pattern[str] | None = None


Test: TypeAlias = Callable[[Any], bool]
"""Decides about what a field holds."""

Make: TypeAlias = Callable[[str, Value], Test]
"""Makes a test of an operator and a value; raises ValueError for a wrong value."""


def _with_ranges(make: Make) -> Make:
    """Let a test be made of a range, too: of its ends."""

    def made(sign: str, value: Value) -> Test:
        ends = _ends(sign, value)
        if ends is None:
            return make(sign, value)
        first, last = ends
        tests = [make(">=", replace(value, text=first))] if first else []
        tests += [make("<=", replace(value, text=last))] if last else []
        return lambda found: all(test(found) for test in tests)

    return made


def _ends(sign: str, value: Value) -> tuple[str, str] | None:
    if sign != ":" or value.is_quoted or value.pattern is not None:
        return None
    first, dots, last = value.text.partition("..")
    return (first, last) if dots and (first or last) else None


@_with_ranges
def any_test(sign: str, value: Value) -> Test:
    """Return a test of a metric, param, tag, or field of the caller's own."""
    has_text, has_word = _relation(sign, value), _relation(sign, _lower(value))
    has_number = _number_relation(sign, value)
    is_number = not value.is_quoted and number_from(value.text) is not None
    is_number = is_number and sign != "~" and value.pattern is None

    def test(found: Any) -> bool:
        if isinstance(found, int | float) and not isinstance(found, bool):
            return has_number(found)
        if found is MISSING:
            return sign == "!="
        if not isinstance(found, str):
            return sign[0] not in "<>" and has_word(json_of(found).lower())
        if not is_number:
            return has_text(found)
        own = number_from(found)
        return sign == "!=" if own is None else has_number(own)

    return test


@_with_ranges
def text_test(sign: str, value: Value) -> Test:
    """Return a test of a text, character by character."""
    fits = _relation(sign, value)
    return lambda found: sign == "!=" if found is MISSING else fits(found)


@_with_ranges
def word_test(sign: str, value: Value) -> Test:
    """Return a test of a text in any case."""
    fits = _relation(sign, _lower(value))
    return lambda found: sign == "!=" if found is MISSING else fits(found.lower())


@_with_ranges
def time_test(sign: str, value: Value) -> Test:
    """Return a test of a time, as far as the value gives one.

    Raises:
        ValueError: It is to be before or after what is none.
    """
    if sign[0] in "<>" and _TIME.match(value.text) is None:
        example = "a time like 2026-11-23 or 2026-11-23T18:27"
        raise ValueError(f"expected {example}, got {value.text!r}")
    fits, length = _relation(sign, value), len(value.text)
    is_part = sign == "~" or value.pattern is not None or "*" in value.text

    def test(found: Any) -> bool:
        if not found or found is MISSING:
            return sign == "!="
        return fits(found if is_part else found[:length])

    return test


def number_test(sign: str, value: Value) -> Test:
    """Return a test of a number.

    Raises:
        ValueError: The value is none.
    """
    found = []
    for end in _ends(sign, value) or (value.text,):
        number = number_from(end)
        if end and (value.pattern is not None or number is None):
            expected = "a number, or a range like 100..200 behind a :"
            raise ValueError(f"expected {expected}, got {end!r}")
        found += [] if number is None else [number]
    if found != sorted(found):
        raise ValueError(f"expected the lesser number first, got {value.text!r}")
    return any_test(sign, value)


def number_from(text: str) -> float | None:
    """Return the number a text is, exact where it is whole; None where it is none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    try:
        return int(text)
    except ValueError:  # a fraction, or thousands of digits
        return float(text)


def json_of(value: Any) -> str:
    """Return a value of a file as its JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # no content of a file, but of a state somebody made
        return str(value)


def _lower(value: Value) -> Value:
    return replace(value, text=value.text.lower())


def _relation(sign: str, value: Value) -> Callable[[str], bool]:
    """Return a test of a text that is there."""
    pattern, wanted = value.pattern, value.text
    if pattern is not None:
        search = pattern.search
        return lambda found: search(found, 0, MAX_TEXT) is not None
    if sign == "~":
        return lambda found: wanted in found
    if sign == ":" and not value.is_quoted:
        match = re.compile(translate(wanted)).match
        return lambda found: found == wanted or match(found) is not None
    compare = _COMPARE[sign]
    return lambda found: compare(found, wanted)


def _number_relation(sign: str, value: Value) -> Callable[[float], bool]:
    """Return a test of a number, with a value that may be none."""
    if sign == "~" or value.pattern is not None:
        fits = _relation(sign, value)
        return lambda found: fits(json_of(found))
    wanted = number_from(value.text)
    if wanted is None:
        return lambda found: sign == "!="
    if wanted != wanted:  # NaN is what was asked for, which equals nothing otherwise
        return lambda found: (found != found) == (sign != "!=") and sign[0] not in "<>"
    compare = _COMPARE[sign]
    return lambda found: compare(found, wanted)
