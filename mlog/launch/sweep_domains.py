"""What a parameter may be: listed values, an exact range, or a distribution.

All are pure and small, also a range of many values. Numbers of a range are decimal: its
21 values from 0 to 1 by 0.05 are the floats that one would type, none is
0.15000000000000002.
"""

import json
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, TypeAlias

__all__ = [
    "INTEGER",
    "KINDS",
    "MAX_TRIALS",
    "NUMBER",
    "Choice",
    "Distribution",
    "Domain",
    "Past",
    "Range",
    "Value",
    "distinct",
    "domain_from",
    "domain_to",
    "multiple",
    "number_from",
    "text_of",
]

MAX_TRIALS = 100_000
"""Most trials of one sweep, and most values of one parameter."""

Value: TypeAlias = Any
"""Value of a parameter: number, text, True, False, None, or a list or dict of them."""

Past: TypeAlias = Sequence[tuple[Mapping[str, Value], float | None]]
"""Params of the trials that have ended, each with its value or None."""

INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]", re.ASCII)
_MAX_DIGITS = 18
_EXACT = Context(prec=700)  # enough for the sum of any two floats: 2**1024 + 2**-1074


@dataclass(frozen=True, slots=True)
class Choice:
    """Values that are listed.

    Attributes:
        values: At least one, in their order.
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        """Refuse too few and too many.

        Raises:
            ValueError: There is no value, or there are too many.
        """
        if not self.values:
            raise ValueError("there is no value to choose from")
        _check_count(len(self.values))

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self.values)

    def at(self, index: int) -> Value:
        """Return one value."""
        return self.values[index]

    def draw(self, chance: random.Random) -> Value:
        """Return a value by chance."""
        return chance.choice(self.values)

    @property
    def text(self) -> str:
        """As one types it after `--set name=`."""
        return ",".join(map(_token, self.values))


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from a first to a last, a step apart; exact.

    Attributes:
        start, stop, step: Decimals. `stop` belongs to it if the steps lead there.
    """

    start: Decimal
    stop: Decimal
    step: Decimal

    def __post_init__(self) -> None:
        """Refuse a range without values.

        Raises:
            ValueError: The step is 0 or leads away, or there are too many values, or
                they lie too near to each other to be told apart as floats.
        """
        for part in (self.start, self.stop, self.step):
            _check_float(part)
        if self.step == 0:
            raise ValueError("the step must not be 0")
        if (self.stop - self.start) * self.step < 0:
            way = "up" if self.stop > self.start else "down"
            raise ValueError(
                f"the range is empty: from {self.start} {way} to {self.stop} no step "
                f"of {self.step} leads"
            )
        _check_count(len(self))
        if not self.is_whole and math.ulp(self._largest) > abs(self.step):
            raise ValueError(
                f"a step of {self.step} is too small for floats of the size of "
                f"{self._largest:g}"
            )

    @property
    def is_whole(self) -> bool:
        """Whether its values are integers: all three numbers were given as such."""
        parts = (self.start, self.stop, self.step)
        return all(_exponent(part) == 0 for part in parts)

    @property
    def _largest(self) -> float:
        return max(abs(float(self.start)), abs(float(self.stop)))

    def __len__(self) -> int:
        """Return how many values there are."""
        span = _EXACT.subtract(self.stop, self.start)
        return min(int(_EXACT.divide(span, self.step)), 1 << 62) + 1

    def at(self, index: int) -> Value:
        """Return one value: an int, or the float nearest to the decimal."""
        exact = _EXACT.add(self.start, _EXACT.multiply(self.step, Decimal(index)))
        return int(exact) if self.is_whole else float(exact)

    def draw(self, chance: random.Random) -> Value:
        """Return a value by chance."""
        return self.at(chance.randrange(len(self)))

    @property
    def text(self) -> str:
        """As one types it after `--set name=`."""
        return f"{self.start}:{self.stop}:{self.step}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Numbers by chance, without end.

    Attributes:
        kind: One of `KINDS`.
        args: Its numbers, in the order that `KINDS` names.
    """

    kind: str
    args: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: They are none of such a distribution.
        """
        names = KINDS[self.kind]
        if len(self.args) != len(names):
            expected = ":".join(names)
            raise ValueError(
                f"{self.kind} takes {expected}, got {len(self.args)} numbers"
            )
        given = dict(zip(names, self.args, strict=True))
        for name, value in given.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        self._check(given)

    def _check(self, given: Mapping[str, float]) -> None:
        if "low" in given and given["low"] > given["high"]:
            low, high = given["low"], given["high"]
            raise ValueError(f"the range is empty: {low!r} is more than {high!r}")
        if self.kind == "log" and given["low"] <= 0:
            raise ValueError(
                f"log needs numbers > 0, got {given['low']!r}; there is no logarithm of it"
            )
        for name in ("sigma", "q"):
            if given.get(name, 1) <= 0:
                raise ValueError(f"{name} must be > 0, got {given[name]!r}")

    def draw(self, chance: random.Random) -> Value:
        """Return a number by chance."""
        base = self.kind.removeprefix("q")
        *args, q = self.args if base != self.kind else (*self.args, None)
        value = _DRAW[base](chance, *args)
        return value if q is None else _rounded(value, q)

    @property
    def text(self) -> str:
        """As one types it after `--set name=`, where the kind can be typed."""
        return ":".join([self.kind, *map(text_of, self.args)])


Domain: TypeAlias = Choice | Range | Distribution

KINDS: Mapping[str, tuple[str, ...]] = {
    "uniform": ("low", "high"),
    "log": ("low", "high"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "loguniform": ("low", "high"),
    "quniform": ("low", "high", "q"),
    "qloguniform": ("low", "high", "q"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
}
"""Distributions and their numbers. `log` takes the ends themselves, the `loguniform` of
the Azure ML SDK v1 their natural logarithms; `q…` rounds to multiples of q."""


def _log(chance: random.Random, low: float, high: float) -> float:
    value = math.exp(chance.uniform(math.log(low), math.log(high)))
    return min(max(value, low), high)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


_DRAW: Mapping[str, Any] = {
    "uniform": lambda chance, low, high: chance.uniform(low, high),
    "log": _log,
    "normal": lambda chance, mu, sigma: chance.gauss(mu, sigma),
    "lognormal": lambda chance, mu, sigma: _exp(chance.gauss(mu, sigma)),
    "loguniform": lambda chance, low, high: _exp(chance.uniform(low, high)),
}


def _rounded(value: float, q: float) -> Value:
    """Return the multiple of q that is nearest."""
    return multiple(round(value / q), q)


def multiple(count: int, q: float) -> Value:
    """Return a multiple of q, without float dust; an int where q is one."""
    exact = Decimal(count) * Decimal(str(q))
    return int(exact) if isinstance(q, int) else float(exact)


def domain_to(domain: Domain) -> list[Any]:
    """Return a domain as JSON: its kind, and what it is made of."""
    match domain:
        case Choice(values):
            return ["choice", list(values)]
        case Range(start, stop, step):
            return ["range", [str(start), str(stop), str(step)]]
        case Distribution(kind, args):
            return [kind, list(args)]


def domain_from(said: Sequence[Any]) -> Domain:
    """Return the domain in JSON that `domain_to` has made.

    Raises:
        ValueError: It is none.
    """
    match said:
        case ["choice", [*values]]:
            return Choice(tuple(values))
        case ["range", [str(start), str(stop), str(step)]]:
            return Range(Decimal(start), Decimal(stop), Decimal(step))
        case [str(kind), [*args]] if kind in KINDS:
            return Distribution(kind, tuple(args))
    raise ValueError(f"{said!r} is no set of values")


def text_of(value: Value) -> str:
    """Return a value as a script gets it: a text as it is, a number without loss.

    Lists and mappings are JSON.
    """
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def number_from(text: str) -> Value:
    """Return a number in a text as int or float; any other text as it is.

    So is a number that would lose something: 007, or one with too many digits.
    """
    if INTEGER.fullmatch(text):
        return int(text) if len(text) <= _MAX_DIGITS else text
    if NUMBER.fullmatch(text) and not _LEADING_ZERO.match(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def distinct(values: Iterable[Value]) -> Iterator[Value]:
    """Yield each value once, in order; 1 and 1.0 are two."""
    seen = set()
    for value in values:
        key = (type(value).__name__, text_of(value))
        if key not in seen:
            seen.add(key)
            yield value


def _token(value: Value) -> str:
    """Return a value so that `--set` reads it back."""
    if not isinstance(value, str):
        return text_of(value) if isinstance(value, int | float) else json.dumps(value)
    is_plain = re.fullmatch(r"[^\s,:\"'\\]+", value) and number_from(value) is value
    return value if is_plain else json.dumps(value)


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 1


def _check_float(number: Decimal) -> None:
    """Refuse what is no float, and an integer that other programs may not read."""
    near = float(number)
    if not math.isfinite(near) or (near == 0 and number != 0):
        raise ValueError(f"{number} is too great or too small for a float")
    if _exponent(number) == 0 and abs(number) >= 1 << 63:
        raise ValueError(f"{number} has more than 64 bits")


def _check_count(count: int) -> None:
    if count > MAX_TRIALS:
        raise ValueError(f"{count:,} values are too many; {MAX_TRIALS:,} may be tried")
