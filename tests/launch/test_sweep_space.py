"""The grammar of `--set`, and the values it stands for."""

import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlog.launch.sweep_domains import (
    KINDS,
    Choice,
    Distribution,
    Domain,
    Range,
    domain_from,
    domain_to,
    text_of,
)
from mlog.launch.sweep_space import Space, make_space, parse_set


def values(text: str) -> list[Any]:
    """Return the values that stand behind `x=`."""
    domain = parse_set(f"x={text}")[1]
    assert not isinstance(domain, Distribution)
    return [domain.at(index) for index in range(len(domain))]


def test_a_decimal_range_has_the_numbers_one_would_type() -> None:
    """No 0.15000000000000002, and both ends."""
    found = values("0:1:0.05")
    assert len(found) == 21
    assert found == [float(f"{n // 20}.{n % 20 * 5:02}") for n in range(21)]
    assert [text_of(value) for value in found[:4]] == ["0.0", "0.05", "0.1", "0.15"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2,4,8", [2, 4, 8]),
        ("1:4", [1, 2, 3, 4]),
        ("1:8:3", [1, 4, 7]),
        ("4:1:-1", [4, 3, 2, 1]),
        ("1:0:-0.5", [1.0, 0.5, 0.0]),
        ("1e3:2e3:5e2", [1000.0, 1500.0, 2000.0]),
        ("5:5:1", [5]),
        ("0:1:0.5,2,5", [0.0, 0.5, 1.0, 2, 5]),
        ("relu,tanh", ["relu", "tanh"]),
        ('"a, b",c', ["a, b", "c"]),
        ('"1",1', ["1", 1]),
        (" 1 , 2 ", [1, 2]),
        ("1,1,1.0", [1, 1.0]),
        ("007,1e-3,1.50,.5", ["007", 0.001, 1.5, 0.5]),
        ("123456789012345678901", ["123456789012345678901"]),
        ("1e999", ["1e999"]),
        ("http://a:80,none", ["http://a:80", "none"]),
        ("true,nan", ["true", "nan"]),
        ("log:1e-4:1e-1:4", [0.0001, 0.001, 0.01, 0.1]),
        ("log:8:1:4", None),
        ("log:1:8:4", [1.0, 2.0, 4.0, 8.0]),
    ],
)
def test_values(text: str, expected: list[Any] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="range is empty"):
            values(text)
        return
    found = values(text)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("text", "kind", "args"),
    [
        ("0.0:0.5", "uniform", (0.0, 0.5)),
        ("uniform:1:8", "uniform", (1.0, 8.0)),
        ("log:1e-4:1e-1", "log", (1e-4, 1e-1)),
        ("normal:0:2", "normal", (0.0, 2.0)),
        ("lognormal:0:2", "lognormal", (0.0, 2.0)),
    ],
)
def test_distributions(text: str, kind: str, args: tuple[float, ...]) -> None:
    assert parse_set(f"x={text}") == ("x", Distribution(kind, args))


@pytest.mark.parametrize(
    ("text", "why", "at"),
    [
        ("alpha", "expected NAME=VALUES", 0),
        ("=1", "expected NAME=VALUES", 0),
        ("a b=1", "expected NAME=VALUES", 0),
        ("a=", "a value is missing here", 2),
        ("a=1,,2", "a value is missing here", 4),
        ("a=1,", "a value is missing here", 4),
        ("a=0:1:0", "the step must not be 0", 2),
        ("a=0:1:-1", "from 0 up to 1 no step of -1 leads", 2),
        ("a=5:1", "from 5 down to 1 no step of 1 leads", 2),
        ("a=0:x:1", "expected a number, got 'x'", 4),
        ("a=7,0:1:", "expected a number, got ''", 8),
        ("a=1:2:3:4", "too many colons", 2),
        ("a=0:1:1e-9", "1,000,000,001 values are too many", 2),
        ("a=1e16:1e16:0.1", "a step of 0.1 is too small", 2),
        ("a=0:1e999:1e998", "too great or too small for a float", 2),
        ("a=0:1e-999:1e-999", "too great or too small for a float", 2),
        ("a=0:99999999999999999999:9999999999999999999", "more than 64 bits", 2),
        ("a=log:0:1", "there is no logarithm", 2),
        ("a=log:1:2:x", "expected a number, got 'x'", 10),
        ("a=log:1:2:1", "needs a count from 2", 2),
        ("a=normal:1", "normal takes mu:sigma", 2),
        ("a=normal:1:0", "sigma must be > 0", 2),
        ("a=2.0:1.0", "the range is empty", 2),
        ("a=1,log:1:2", "cannot be one of several", 4),
        ('a="x', "a quote must stand", 2),
        ('a=1,x"y"', "a quote must stand", 4),
    ],
)
def test_what_cannot_be_understood_is_pointed_at(text: str, why: str, at: int) -> None:
    with pytest.raises(ValueError, match=r"^--set: ") as caught:
        parse_set(text)
    lines = str(caught.value).splitlines()
    assert why in lines[0]
    assert lines[1:] == [f"  {text}", f"  {' ' * at}^"]


numbers = st.decimals(
    min_value=-10_000, max_value=10_000, allow_nan=False, places=3
) | st.integers(-1_000, 1_000).map(Decimal)


@given(start=numbers, step=numbers, count=st.integers(1, 200))
def test_any_range_is_exact(start: Decimal, step: Decimal, count: int) -> None:
    """From the first to the last, each is the float nearest to its decimal."""
    assume(step != 0)
    stop = start + step * (count - 1)
    found = values(f"{start}:{stop}:{step}")
    assert len(found) == count
    exact = [Fraction(start) + index * Fraction(step) for index in range(count)]
    assert found == [float(value) for value in exact]
    beyond = stop + step / 2
    assert values(f"{start}:{beyond}:{step}") == list(map(float, exact))
    assert len(set(found)) == count


@given(start=st.integers(-1_000, 1_000), step=st.integers(1, 50), n=st.integers(1, 99))
def test_a_range_of_integers_has_integers(start: int, step: int, n: int) -> None:
    found = values(f"{start}:{start + step * (n - 1)}:{step}")
    assert found == list(range(start, start + step * n, step))
    assert {type(value) for value in found} == {int}


listed = st.lists(
    st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    min_size=1,
    max_size=5,
    unique_by=lambda value: (type(value).__name__, str(value)),
)


@given(listed)
def test_choices_are_read_back_as_they_are_shown(given_values: list[Any]) -> None:
    """The text of a domain is one that `--set` understands."""
    domain = make_space({"x": given_values}).domains["x"]
    assert parse_set(f"x={domain.text}")[1] == domain


@given(start=numbers, step=numbers, count=st.integers(1, 50))
def test_ranges_are_read_back_as_they_are_shown(
    start: Decimal, step: Decimal, count: int
) -> None:
    assume(step != 0)
    domain = Range(start, start + step * (count - 1), step)
    again = parse_set(f"x={domain.text}")[1]
    assert isinstance(again, Range)
    assert [again.at(n) for n in range(len(again))] == [
        domain.at(n) for n in range(count)
    ]


EACH: list[Domain] = [
    Choice((1, 2.5, "a", True, None, [1, 2])),
    Range(Decimal("0"), Decimal("1"), Decimal("0.05")),
    *(
        Distribution(
            kind,
            (1, 2, 0.5)[: len(args)] if "low" in args else (0, 1, 0.5)[: len(args)],
        )
        for kind, args in KINDS.items()
    ),
]


@pytest.mark.parametrize("domain", EACH, ids=lambda d: type(d).__name__)
def test_json_round_trip(domain: Domain) -> None:
    assert domain_from(domain_to(domain)) == domain


@pytest.mark.parametrize("said", [[], ["choice"], ["range", [1, 2, 3]], ["none", []]])
def test_other_json_is_refused(said: list[Any]) -> None:
    with pytest.raises(ValueError, match="is no set of values"):
        domain_from(said)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_lies_where_it_should(kind: str) -> None:
    args = (1.0, 3.0, 0.25) if "low" in KINDS[kind] else (0.0, 1.0, 0.25)
    domain = Distribution(kind, args[: len(KINDS[kind])])
    chance = random.Random(7)
    found = [domain.draw(chance) for _ in range(500)]
    if kind.startswith("q"):
        assert all(value * 4 == int(value * 4) for value in found)
    if kind in ("uniform", "log", "quniform"):
        assert all(1 <= value <= 3 for value in found)
    if kind in ("loguniform",):
        assert all(
            math.e <= value * (1 + 1e-9) and value <= math.e**3.1 for value in found
        )
    if "log" in kind:
        assert all(value >= 0 for value in found)
    if kind == "normal":
        assert abs(sum(found) / len(found)) < 0.2


def test_multiples_have_no_dust_and_stay_integers() -> None:
    chance = random.Random(1)
    drawn = {Distribution("quniform", (0, 1, 0.1)).draw(chance) for _ in range(300)}
    assert drawn == {n / 10 for n in range(11)}
    whole = Distribution("quniform", (1, 9, 2)).draw(chance)
    assert isinstance(whole, int)


def test_a_space_is_gone_through_with_the_last_parameter_first() -> None:
    space = make_space({"a": "1:2", "b": ["x", "y", "z"]})
    assert space.size == 6
    assert [space.at(n) for n in (0, 1, 3)] == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
    ]
    assert Space.from_json(space.to_json()) == space


def test_a_space_of_python_values() -> None:
    class Scalar:
        """As NumPy's."""

        def item(self) -> float:
            return 0.5

    space = make_space({"a": range(3), "b": (Scalar(), None), "c": 7, "--d": "1:2"})
    assert space.domains["a"] == Choice((0, 1, 2))
    assert space.domains["b"] == Choice((0.5, None))
    assert space.domains["c"] == Choice((7,))
    assert space.texts["--d"] == "1:2:1"


@pytest.mark.parametrize(
    ("given_space", "error", "text"),
    [
        ({}, ValueError, "space is empty"),
        ([1], TypeError, "must be a mapping from name to values, got list"),
        ({"a b": [1]}, ValueError, "a parameter's name must be one word, got 'a b'"),
        ({1: [1]}, ValueError, "a parameter's name must be one word, got 1"),
        ({"a": []}, ValueError, "a: there is no value to choose from"),
        ({"a": [math.nan]}, TypeError, "a: a value must be a finite number"),
        ({"a": [object()]}, TypeError, "a: a value must be"),
        ({"a": "1:2:0"}, ValueError, "the step must not be 0"),
        ({"a": range(100_001)}, ValueError, "100,001 values are too many"),
    ],
)
def test_wrong_spaces(given_space: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make_space(given_space)
