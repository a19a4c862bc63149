"""The stand-in for orjson does what orjson does."""

import dataclasses
import datetime
import enum
import json
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.launch import plain_orjson

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_the_same_values_are_written(value: Any) -> None:
    """Floats may have another form, and are the same number."""
    ours, theirs = plain_orjson.dumps(value), orjson.dumps(value)
    assert repr(orjson.loads(ours)) == repr(orjson.loads(theirs))
    assert repr(plain_orjson.loads(theirs)) == repr(orjson.loads(theirs))


@given(VALUES.filter(lambda value: "e" not in repr(value)))
def test_the_text_is_the_same(value: Any) -> None:
    for option in (
        None,
        orjson.OPT_INDENT_2,
        orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    ):
        ours = plain_orjson.dumps(value, option=option)
        assert ours == orjson.dumps(value, option=option)


def test_options_have_the_same_values() -> None:
    for name in ("OPT_INDENT_2", "OPT_APPEND_NEWLINE"):
        assert getattr(plain_orjson, name) == getattr(orjson, name)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Name(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Number.ONE,
        Point(1, 2.5),
        Name("a"),
        datetime.datetime(2026, 11, 27, 1, 2, 3, 4),
        datetime.datetime(2026, 11, 27, tzinfo=datetime.UTC),
        datetime.date(2026, 11, 27),
        datetime.time(1, 2),
        uuid.UUID(int=7),
    ],
)
def test_what_orjson_knows_beyond_json_is_known(value: Any) -> None:
    assert plain_orjson.dumps([value]) == orjson.dumps([value])


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        {"\udfff": 1},
        1 << 64,
        -(1 << 63) - 1,
        {1: 2},
        {1},
        b"x",
        {Name("a"): 1},
    ],
)
def test_what_orjson_refuses_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        orjson.dumps([value])
    with pytest.raises(plain_orjson.JSONEncodeError):
        plain_orjson.dumps([value])


def test_a_default_is_asked() -> None:
    for module in (orjson, plain_orjson):
        assert module.dumps({"a": {1}}, default=sorted) == b'{"a":[1]}'


def test_a_fragment_is_written_as_it_is() -> None:
    found = plain_orjson.dumps({"a": plain_orjson.Fragment(b"1e400")})
    assert found == orjson.dumps({"a": orjson.Fragment(b"1e400")})


def test_what_is_too_deep_is_refused() -> None:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    with pytest.raises(TypeError):
        plain_orjson.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1 2", "NaN", "Infinity", "1e400", "01", "1.", '"\x01"', "{'a':1}"),
        *('"\\ud800"', '"\\udc00x"', "\ufeff1", b"\xff", b'"\xed\xa0\x80"', "[1,]"),
    ],
)
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    for loads in (orjson.loads, plain_orjson.loads):
        with pytest.raises(json.JSONDecodeError):
            loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *("123456789012345678901234567890", "18446744073709551616", "-0", "-0.0"),
        *('"\\ud83d\\ude00"', '{"a":1,"a":2}', " [ ] ", '"\\u0000"'),
    ],
)
def test_odd_texts_are_read_alike(text: str) -> None:
    for form in (text, text.encode(), bytearray(text.encode())):
        assert repr(plain_orjson.loads(form)) == repr(orjson.loads(form))
