"""Choosing runs by a line of text: `metric.mse<3000 and not (status=Failed or tag.old=1)`.

    filter      = all { "or" all }
    all         = one { "and" one }
    one         = "not" one | "(" filter ")" | field operator value
    operator    = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"
    field       = id | name | experiment | status | host | created | duration | attempt
                | metric.NAME[.last|.min|.max|.count] | param.NAME | tag.NAME
                | property.NAME

What has blanks, brackets, quotes or operators in it is put in quotes, as the name in
`metric."val loss".min`; in quotes a backslash takes the next character as it is. `~`
is true where the field's text contains the value. Rules of comparison:

- What is not there is unequal to everything, and every other comparison is false.
- Numbers are compared as numbers, also where a tag has them as text; a value in quotes
  is a number only for fields that are. A number has no order among other texts.
- Texts are compared as they are, a status in any case.
- True, false, null, lists and objects are their JSON, in any case, and have no order.
- A time is compared as far as it is given: `created>=2026-11` is true from November on.

Pure: nothing is read but the state that is handed in.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import orjson

from mlog.reader.state import RunState

__all__ = ["parse_filter"]

Filter: TypeAlias = Callable[[RunState], bool]
_Get: TypeAlias = Callable[[RunState], Any]

_MAX_DEPTH = 50
_MISSING = object()

_TOKEN = re.compile(
    r"""(?P<blank>\s+)
    | (?P<bracket>[()])
    | (?P<operator>==|!=|<=|>=|<|>|=|~)
    | (?P<word>(?:[^\s()=!<>~"'] | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')+)""",
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(
    r""""((?:[^"\\]|\\.)*)" | '((?:[^'\\]|\\.)*)' | ([^"']+)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)",
    re.ASCII | re.IGNORECASE,
)
_STATISTIC = re.compile(r"(.+)\.(last|min|max|count)", re.DOTALL)
_KEYWORDS = ("and", "or", "not")

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS = " ".join((*_COMPARE, "~"))


def parse_filter(text: str) -> Filter:
    """Turn a filter into a function that says whether a run fits.

    Args:
        text: See the head of this module, and the README, "Finding runs".

    Raises:
        ValueError: It cannot be understood; the message points at the place.
    """
    parser = _Parser(text)
    found = parser.any_of(0)
    if parser.kind != "end":
        parser.refuse("expected and, or, or the end")
    return found


# --- text to function ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, an operator, a bracket or the end, and where it stands.

    Attributes:
        kind: "word", "operator", "bracket" or "end".
        text: As it stands in the filter.
        start: Its place there.
    """

    kind: str
    text: str
    start: int


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._at = 0

    @property
    def kind(self) -> str:
        """Kind of the next token."""
        return self._next.kind

    def any_of(self, depth: int) -> Filter:
        """Read `a or b or …`."""
        filters = [self._all_of(depth)]
        while self._takes("or"):
            filters.append(self._all_of(depth))
        if len(filters) == 1:
            return filters[0]
        return lambda state: any(fits(state) for fits in filters)

    def refuse(self, expected: str, token: _Token | None = None) -> NoReturn:
        """Raise ValueError that says what was expected in the place of a token."""
        token = token or self._next
        got = "the end" if token.kind == "end" else repr(token.text)
        _refuse(self._text, token.start, f"{expected}, got {got}")

    def _all_of(self, depth: int) -> Filter:
        filters = [self._one(depth)]
        while self._takes("and"):
            filters.append(self._one(depth))
        if len(filters) == 1:
            return filters[0]
        return lambda state: all(fits(state) for fits in filters)

    def _one(self, depth: int) -> Filter:
        if depth > _MAX_DEPTH:
            self.refuse(f"expected at most {_MAX_DEPTH} nots and brackets around it")
        if self._takes("not"):
            fits = self._one(depth + 1)
            return lambda state: not fits(state)
        if self._next.text == "(":
            return self._bracket(depth)
        return self._comparison()

    def _bracket(self, depth: int) -> Filter:
        self._advance()
        found = self.any_of(depth + 1)
        if self._next.text != ")":
            self.refuse("expected and, or, or )")
        self._advance()
        return found

    def _comparison(self) -> Filter:
        name = self._word("expected a field, like metric.loss or status")
        get, compare = _field(self._text, name)
        if self.kind != "operator":
            self.refuse(f"expected one of {_OPERATORS}")
        sign = self._advance().text
        value = self._word("expected a value")
        wanted, is_quoted = _unquoted(value.text)
        return lambda state: compare(get(state), sign, wanted, is_quoted)

    def _word(self, expected: str) -> _Token:
        if self.kind != "word":
            self.refuse(expected)
        if self._next.text.lower() in _KEYWORDS:
            self.refuse(f"{expected} (one that is a keyword in quotes)")
        return self._advance()

    def _takes(self, keyword: str) -> bool:
        """Step over a keyword; False where another token comes next."""
        is_next = self.kind == "word" and self._next.text.lower() == keyword
        self._at += is_next
        return is_next

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _advance(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                _refuse(self._text, at, _unreadable(self._text[at]))
            if match.lastgroup != "blank":
                tokens.append(_Token(match.lastgroup or "", match[0], at))
            at = match.end()
        return [*tokens, _Token("end", "", len(self._text.rstrip()))]


def _unreadable(character: str) -> str:
    if character in "\"'":
        return f"no closing {character}"
    return f"expected one of {_OPERATORS}, got {character!r}"


def _unquoted(word: str) -> tuple[str, bool]:
    """Return what a word stands for, and whether there were quotes in it."""
    parts = list(_PART.finditer(word))
    found = [_unescaped(p[1] or p[2] or "") if p[3] is None else p[3] for p in parts]
    return "".join(found), any(p[3] is None for p in parts)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _refuse(text: str, at: int, why: str) -> NoReturn:
    """Raise ValueError with the filter on a line, and a caret below the place."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    raise ValueError(f"filter: {why}\n  {shown}\n  {' ' * at}^")


# --- fields --------------------------------------------------------------------------


_Compare: TypeAlias = Callable[[Any, str, str, bool], bool]
"""Compare what a run has with a value: `(found, operator, value, is_quoted)`."""


def _field(text: str, token: _Token) -> tuple[_Get, _Compare]:
    """Return how to get a field from a state, and how to compare it."""
    plain = _PLAIN.get(token.text)
    if plain is not None:
        return plain
    group, dot, rest = token.text.partition(".")
    if not dot or group not in _NAMED:
        names = ", ".join((*_PLAIN, *(f"{name}.NAME" for name in _NAMED)))
        why = f"no field {token.text!r}; there are {names}"
        _refuse(text, token.start, why)
    name, _ = _unquoted(rest)
    if not name:
        _refuse(text, token.start, f"expected a name after {token.text}")
    if group == "metric":
        return _metric(name, rest), _compare_any
    get_all = _NAMED[group]
    return lambda state: get_all(state).get(name, _MISSING), _compare_any


def _metric(name: str, word: str) -> _Get:
    """Return how to get a metric's last value, or the statistic it is named with.

    A metric whose own name ends so comes first; `metric."a.min"` is never taken apart.
    """
    match = _STATISTIC.fullmatch(word)
    base, statistic = (_unquoted(match[1])[0], match[2]) if match else (name, "last")

    def get(state: RunState) -> Any:
        if name in state.metrics:
            return _number_of(state.metrics[name].get("last", _MISSING))
        return _number_of(state.metrics.get(base, {}).get(statistic, _MISSING))

    return get


def _host(state: RunState) -> Any:
    """Return where the last main writer runs, else the last writer."""
    writers = [w for w in state.writers if w.main] or state.writers
    hosts = [writer.host for writer in writers if writer.host]
    return hosts[-1] if hosts else _MISSING


def _duration(state: RunState) -> Any:
    return _MISSING if state.duration is None else state.duration


_NAMED: Mapping[str, Callable[[RunState], Mapping[str, Any]]] = {
    "metric": lambda state: state.metrics,
    "param": lambda state: state.params,
    "tag": lambda state: state.tags,
    "property": lambda state: state.properties,
}


# --- comparing -----------------------------------------------------------------------


def _compare_any(found: Any, sign: str, value: str, is_quoted: bool) -> bool:
    """Compare a metric, param, tag or property."""
    if found is _MISSING:
        return sign == "!="
    if isinstance(found, int | float) and not isinstance(found, bool):
        return _compare_number(found, sign, value)
    if not isinstance(found, str):
        is_order = sign[0] in "<>"
        return not is_order and _compare_word(_json(found), sign, value, is_quoted)
    own, wanted = _number(found), None if is_quoted else _number(value)
    if sign == "~" or wanted is None:
        return _compare_text(found, sign, value, is_quoted)
    return sign == "!=" if own is None else _compare_numbers(own, sign, wanted)


def _compare_number(found: float, sign: str, value: str) -> bool:
    """Compare a number, with a value that may be none."""
    if sign == "~":
        return value in _json(found)
    wanted = _number(value)
    return sign == "!=" if wanted is None else _compare_numbers(found, sign, wanted)


def _compare_numbers(found: float, sign: str, wanted: float) -> bool:
    if found != found and wanted != wanted:  # NaN is what was asked for
        return sign in ("=", "==")
    return _COMPARE[sign](found, wanted)


def _compare_text(found: Any, sign: str, value: str, is_quoted: bool) -> bool:
    """Compare a text, character by character."""
    if found is _MISSING:
        return sign == "!="
    return value in found if sign == "~" else _COMPARE[sign](found, value)


def _compare_word(found: Any, sign: str, value: str, is_quoted: bool) -> bool:
    return _compare_text(found.lower(), sign, value.lower(), is_quoted)


def _compare_time(found: Any, sign: str, value: str, is_quoted: bool) -> bool:
    """Compare a time with the beginning of one."""
    if not found:
        return sign == "!="
    known = found if sign == "~" else found[: len(value)]
    return _compare_text(known, sign, value, is_quoted)


def _number(text: str) -> float | None:
    """Return the number a text is, exact where it is whole; None where it is none."""
    if _NUMBER.fullmatch(text) is None:
        return None
    try:
        return int(text)
    except ValueError:  # a fraction, or thousands of digits
        return float(text)


def _number_of(value: Any) -> Any:
    """Return a number of the files as one; NaN and the infinities are texts there."""
    number = _number(value) if isinstance(value, str) else None
    return value if number is None else number


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # no content of a file, but of a state somebody made
        return str(value)


_PLAIN: Mapping[str, tuple[_Get, _Compare]] = {
    "id": (lambda state: state.run_id, _compare_text),
    "name": (lambda state: state.name, _compare_text),
    "experiment": (lambda state: state.experiment, _compare_text),
    "status": (lambda state: state.status, _compare_word),
    "host": (_host, _compare_text),
    "created": (lambda state: state.created, _compare_time),
    "duration": (_duration, _compare_any),
    "attempt": (lambda state: state.attempt, _compare_any),
}
