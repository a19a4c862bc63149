"""The grammar of `--set NAME=VALUES`, and the space that several of them make.

2,4,8                    these values; numbers are numbers, all else is text
relu,tanh,"a, b"         texts; what has a comma, a colon or a blank in quotes
0:1:0.05                 from 0 to 1 by 0.05: exactly 21 values
10:1:-1                  downward
1:8                      integers from 1 to 8
0.0:0.5                  any number between (for --random)
0:1:0.5,2,5              ranges and values together
log:1e-4:1e-1            any number between, its logarithm uniform (for --random)
log:1e-4:1e-1:4          4 numbers from one to the other, each a factor apart
uniform:a:b              any number between, also between integers
normal:mu:sigma          normal distribution; lognormal:mu:sigma its exponential
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, NoReturn

from mlog.launch.sweep_domains import (
    INTEGER,
    MAX_TRIALS,
    NUMBER,
    Choice,
    Distribution,
    Domain,
    Range,
    Value,
    distinct,
    domain_from,
    domain_to,
    number_from,
)

__all__ = ["Space", "make_domain", "make_space", "parse_set"]

_KEYWORDS = ("log", "uniform", "normal", "lognormal")
_ITEM = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([^,"]*))\s*(,|$)', re.DOTALL)
_NAME = re.compile(r"[^\s=,{}]+")
_DIGITS = Context(prec=40)
_SIGNIFICANT = 12


@dataclass(frozen=True, slots=True)
class Space:
    """What is tried: a domain for each parameter, in order.

    Attributes:
        domains: By name; at least one.
    """

    domains: Mapping[str, Domain]

    @property
    def size(self) -> int | None:
        """How many combinations there are; None where one is a distribution."""
        sizes = [
            None if isinstance(domain, Distribution) else len(domain)
            for domain in self.domains.values()
        ]
        return None if None in sizes else math.prod(n for n in sizes if n is not None)

    def at(self, index: int) -> dict[str, Value]:
        """Return one combination; the last parameter changes first.

        Args:
            index: From 0 to below the size.
        """
        values: dict[str, Value] = {}
        for name, domain in reversed(list(self.domains.items())):
            assert not isinstance(domain, Distribution)
            index, place = divmod(index, len(domain))
            values[name] = domain.at(place)
        return {name: values[name] for name in self.domains}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: domain_to(domain) for name, domain in self.domains.items()}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "Space":
        """Return the space in JSON that `to_json` has made.

        Raises:
            ValueError: It is none.
        """
        return cls({name: domain_from(domain) for name, domain in said.items()})

    @property
    def texts(self) -> dict[str, str]:
        """What may be typed after `--set` for each parameter."""
        return {name: domain.text for name, domain in self.domains.items()}


def parse_set(text: str) -> tuple[str, Domain]:
    """Read `name=values`.

    Raises:
        ValueError: It cannot be understood; the message points at the place.
    """
    name, found, _ = text.partition("=")
    if not found or not _NAME.fullmatch(name):
        _refuse(text, 0, "expected NAME=VALUES, such as alpha=0:1:0.05")
    return name, _parse(text, len(name) + 1)


def make_space(given: Mapping[str, Any]) -> Space:
    """Return the space of a mapping from name to what `make_domain` takes.

    Raises:
        ValueError, TypeError: It cannot be understood.
    """
    if not isinstance(given, Mapping):
        raise TypeError(
            f"space must be a mapping from name to values, got {type(given).__name__}"
        )
    if not given:
        raise ValueError("space is empty; give at least one parameter with its values")
    for name in given:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"a parameter's name must be one word, got {name!r}")
    return Space({name: make_domain(name, values) for name, values in given.items()})


def make_domain(name: str, values: Any) -> Domain:
    """Return the domain of one parameter.

    Args:
        name: Its name, for messages.
        values: A domain; a text as after `--set name=`; or an iterable of values.

    Raises:
        ValueError, TypeError: It cannot be understood.
    """
    if isinstance(values, Choice | Range | Distribution):
        return values
    if isinstance(values, str):
        return _parse(f"{name}={values}", len(name) + 1)
    if not isinstance(values, Iterable) or isinstance(values, Mapping | bytes):
        values = [values]
    listed = [_plain(name, value) for value in values]
    try:
        return Choice(tuple(distinct(listed)))
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from exc


def _plain(name: str, value: Any) -> Value:
    """Return a value that is plain JSON; numbers of NumPy are taken out."""
    if hasattr(value, "item") and not hasattr(value, "keys"):
        value = value.item()
    if isinstance(value, tuple):
        value = list(value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise TypeError(
            f"{name}: a value must be a finite number, a text, or a list of them, "
            f"got {value!r}"
        ) from exc
    return value


# --- the grammar ---------------------------------------------------------------------


def _parse(text: str, start: int) -> Domain:
    """Read the values that begin at a place of a text."""
    items = list(_items(text, start))
    if len(items) == 1:
        return _item(text, *items[0])
    found: list[Value] = []
    for at, item, is_quoted in items:
        domain = _item(text, at, item, is_quoted)
        if isinstance(domain, Distribution):
            _refuse(text, at, f"{item} has no end, and cannot be one of several")
        found += (domain.at(n) for n in range(len(domain)))
        if len(found) > MAX_TRIALS:
            _refuse(text, at, f"more than {MAX_TRIALS:,} values are too many")
    return Choice(tuple(distinct(found)))


def _items(text: str, start: int) -> Iterable[tuple[int, str, bool]]:
    """Yield where each item between commas begins, its text, and if it was quoted."""
    at = start
    while True:
        match = _ITEM.match(text, at)
        if match is None:
            _refuse(text, at, "a quote must stand at the beginning and end of a value")
        quoted, bare, end = match.groups()
        if quoted is not None:
            try:
                yield match.start(1), json.loads(quoted), True
            except ValueError:
                _refuse(text, match.start(1), "this is no text in quotes")
        else:
            if not bare.strip():
                _refuse(text, match.start(2), "a value is missing here")
            yield match.start(2), bare.strip(), False
        if not end:
            return
        at = match.end()


def _item(text: str, at: int, item: str, is_quoted: bool) -> Domain:
    """Read one item: a value, a range, or a distribution."""
    first, *rest = item.split(":")
    if is_quoted or not rest:
        return Choice((item if is_quoted else number_from(item),))
    keyword = first if first in _KEYWORDS else ""
    if not keyword and not NUMBER.fullmatch(first):
        return Choice((item,))  # a text with a colon: http://…
    parts = rest if keyword else [first, *rest]
    place = at + (len(keyword) + 1 if keyword else 0)
    for part in parts:
        if not NUMBER.fullmatch(part):
            _refuse(text, place, f"expected a number, got {part!r}")
        place += len(part) + 1
    try:
        return _keyword(keyword, parts) if keyword else _range(parts)
    except ValueError as exc:
        _refuse(text, at, str(exc))


def _range(parts: list[str]) -> Domain:
    if len(parts) > 3:
        raise ValueError("a range is FIRST:LAST:STEP; there are too many colons")
    whole = all(map(INTEGER.fullmatch, parts))
    if len(parts) == 3:
        return Range(*map(Decimal, parts))
    if whole:
        return Range(Decimal(parts[0]), Decimal(parts[1]), Decimal(1))
    low, high = map(float, parts)
    return Distribution("uniform", (low, high))


def _keyword(keyword: str, parts: list[str]) -> Domain:
    if keyword == "log" and len(parts) == 3:
        return _factors(*parts)
    numbers = tuple(number_from(part) for part in parts)
    return Distribution(keyword, tuple(map(float, numbers)))


def _factors(low: str, high: str, count: str) -> Domain:
    """Return so many numbers from one to the other, each a factor apart."""
    Distribution("log", (float(low), float(high)))  # refuses what has no logarithm
    if not INTEGER.fullmatch(count) or not 2 <= int(count) <= MAX_TRIALS:
        raise ValueError(
            f"log:LOW:HIGH:COUNT needs a count from 2 to {MAX_TRIALS:,}, got {count}"
        )
    first, last, n = Decimal(low), Decimal(high), int(count)
    span = _DIGITS.subtract(_DIGITS.ln(last), _DIGITS.ln(first))
    values = [float(low)]
    for index in range(1, n - 1):
        part = _DIGITS.divide(_DIGITS.multiply(span, Decimal(index)), Decimal(n - 1))
        exact = _DIGITS.multiply(first, _DIGITS.exp(part))
        values.append(float(f"{exact:.{_SIGNIFICANT - 1}e}"))
    return Choice(tuple(distinct([*values, float(high)])))


def _refuse(text: str, at: int, why: str) -> NoReturn:
    """Raise ValueError with the text on a line, and a caret below the place."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    raise ValueError(f"--set: {why}\n  {shown}\n  {' ' * at}^")
