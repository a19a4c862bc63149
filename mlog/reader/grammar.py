r"""The language of filters, which is one for runs and for entries.

    filter   = all { "or" all }
    all      = one { ["and"] one }
    one      = "not" one | "-" one | "(" filter ")" | term
    term     = word | "phrase" | /pattern/ | field operator value
    operator = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" | ":"
    value    = word | "phrase" | from..to (behind ":") | /pattern/ (behind ":" or "~")

`-` and `:` stand directly before what they belong to. What has blanks, brackets, quotes
or operators in it is put in quotes, as the name in `metric."val loss".min`; in quotes a
backslash takes the next character as it is, in a pattern `\/` is a `/`. `/pattern/i`
fits in any case. `word:…` is a field only where the word is the name of one, or a range of
numbers follows: `cuda:0` is a word.

What fields there are, and what a word alone means, a `Language` says.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, NoReturn, Protocol, TypeAlias, TypeVar

from mlog.reader.comparing import OPERATORS, Value
from mlog.reader.patterns import PatternError, pattern_of
from mlog.widths import text_width

__all__ = ["Field", "Filter", "Language", "Leaf", "Needle", "Text", "parse", "unquoted"]

S = TypeVar("S")
Fits: TypeAlias = Callable[[S], bool]

Field: TypeAlias = Callable[[str, Value], Fits[S]]
"""Makes a test of an operator and a value; raises ValueError for a wrong value."""

_MAX_DEPTH = 50
_BLANK = re.compile(r"\s*")
_WORD = re.compile(
    r"""(?:[^\s()=!<>~"'] | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')+""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(
    r"""(?:[^\s()=!<>~"':] | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')+""",
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(
    r""""((?:[^"\\]|\\.)*)" | '((?:[^'\\]|\\.)*)' | ([^"']+)""",
    re.VERBOSE | re.DOTALL,
)
_PATTERN = re.compile(r"/((?:[^/\\]|\\.)+)/(i?)(?=[\s()]|$)", re.DOTALL)
_RANGE = re.compile(r":(?:[+-]?\d[\d.e+-]*?\.\.|\.\.[+-]?\d)")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>|=|~")
_KEYWORDS = ("and", "or", "not")
_SIGNS_OF_OTHERS = {"&&": "and", "||": "or", "&": "and", "|": "or"}
_SHOWN = " ".join(sign for sign in OPERATORS if sign != ":")


@dataclass(frozen=True, slots=True)
class Text:
    """What a word, a phrase or a pattern alone stands for: a text to be found.

    Attributes:
        text: Without quotes; of a pattern what stands between the slashes.
        pattern: None for words and phrases.
    """

    text: str
    pattern: re.Pattern[str] | None = None


class Needle(NamedTuple):
    """Some ASCII text.

    Attributes:
        text: Lower case, if it may have any case.
        any_case: Whether it may.
    """

    text: bytes = b""
    any_case: bool = False


_ANYTHING = Needle()


@dataclass(frozen=True, slots=True)
class Leaf(Generic[S]):
    """One test.

    Attributes:
        fits: Decides.
        needle: What the JSON of everything that fits has in it, unless there is an
            escape in that; empty where nothing is known.
    """

    fits: Fits[S]
    needle: Needle = _ANYTHING


class Language(Protocol[S]):
    """What the words of a filter mean. All is called while a filter is parsed.

    Attributes:
        example: Of a field, for messages.
    """

    example: str

    def field(self, name: str) -> Field[S]:
        """Return a field by its name as it was typed.

        Raises:
            ValueError: There is none, or it cannot be one; the message says why.
        """

    def is_known(self, name: str) -> bool:
        """Whether `name:value` asks for a field and is no word."""

    def is_text(self, word: str) -> bool:
        """Whether a word without an operator may be a text to be found."""

    def text(self, text: Text) -> Leaf[S]:
        """Return what finds a text."""


class Filter(Generic[S]):
    """Decides whether a run or an entry fits: call it.

    Attributes:
        needle: As of a `Leaf`.
        fields: The names of fields in it, as they were typed.
    """

    __slots__ = ("_fits", "fields", "needle")

    def __init__(self, leaf: Leaf[S], fields: Iterable[str] = ()) -> None:
        """Keep what decides."""
        self._fits = leaf.fits
        self.needle = leaf.needle
        self.fields = frozenset(fields)

    def __call__(self, subject: S) -> bool:
        """Whether it fits."""
        return self._fits(subject)


def parse(text: str, language: Language[S]) -> Filter[S]:
    """Turn a text into a filter.

    Raises:
        ValueError: It cannot be understood; the message points at the place.
    """
    parser = _Parser(text, language)
    found = parser.parse()
    return Filter(found, parser.fields)


def unquoted(word: str) -> tuple[str, bool]:
    """Return what a word stands for, and whether there were quotes in it."""
    parts = list(_PART.finditer(word))
    found = [_unescaped(p[1] or p[2] or "") if p[3] is None else p[3] for p in parts]
    return "".join(found), any(p[3] is None for p in parts)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


# --- text to tests -------------------------------------------------------------------


class _Parser(Generic[S]):
    """Recursive descent over the characters of one filter."""

    def __init__(self, text: str, language: Language[S]) -> None:
        self._text = text
        self._language = language
        self._at = 0
        self.fields: set[str] = set()

    def parse(self) -> Leaf[S]:
        """Read all of it."""
        found = self._any_of(0)
        if self._at < len(self._text):
            self._refuse("expected and, or, or the end")
        return found

    def _any_of(self, depth: int) -> Leaf[S]:
        parts = [self._all_of(depth)]
        while self._takes("or"):
            parts.append(self._all_of(depth))
        if len(parts) == 1:
            return parts[0]
        return Leaf(_any_fits([part.fits for part in parts]))

    def _all_of(self, depth: int) -> Leaf[S]:
        parts = [self._one(depth)]
        while self._takes("and") or self._is_beside():
            parts.append(self._one(depth))
        if len(parts) == 1:
            return parts[0]
        needle = max((part.needle for part in parts), key=lambda n: len(n.text))
        return Leaf(_all_fit([part.fits for part in parts]), needle)

    def _is_beside(self) -> bool:
        """Whether another term comes without an `and`."""
        self._skip_blanks()
        if self._at >= len(self._text) or self._text[self._at] in ")=!<>~":
            return False
        before = self._text[self._at - 1]
        if self._text[self._at] == "(" and not (before.isspace() or before == ")"):
            self._refuse("expected a blank (a text with brackets in it in quotes)")
        return self._keyword() != "or"

    def _one(self, depth: int) -> Leaf[S]:
        self._skip_blanks()
        if depth > _MAX_DEPTH:
            self._refuse(f"expected at most {_MAX_DEPTH} nots and brackets around it")
        if self._takes("not"):
            return _negated(self._one(depth + 1))
        if self._text.startswith("-", self._at):
            return self._after_minus(depth)
        if self._text.startswith("(", self._at):
            return self._bracket(depth)
        return self._term()

    def _after_minus(self, depth: int) -> Leaf[S]:
        self._at += 1
        if self._text[self._at : self._at + 1].isspace() or self._at == len(self._text):
            self._refuse("expected a word right behind the - (a text - in quotes)")
        return _negated(self._one(depth + 1))

    def _bracket(self, depth: int) -> Leaf[S]:
        self._at += 1
        found = self._any_of(depth + 1)
        self._skip_blanks()
        if not self._text.startswith(")", self._at):
            self._refuse("expected and, or, or )")
        self._at += 1
        return found

    def _term(self) -> Leaf[S]:
        begin = self._at
        if self._text.startswith("/", begin):
            return self._language.text(self._pattern())
        expected = f"expected a word or a field, like {self._language.example}"
        name = self._word(expected, _NAME)
        if self._text.startswith(":", self._at):
            is_range = _RANGE.match(self._text, self._at) is not None
            if is_range or self._language.is_known(name):
                self._at += 1
                return self._comparison(":", name, begin)
            self._at = begin
            name = self._word(expected, _WORD)
        self._skip_blanks()
        sign = _OPERATOR.match(self._text, self._at)
        if sign is not None:
            self._at = sign.end()
            self._skip_blanks()
            return self._comparison(sign[0], name, begin)
        if not self._language.is_text(name):
            self._refuse(f"expected one of {_SHOWN} (the word itself in quotes)")
        self._at = begin + len(name)
        return self._language.text(Text(self._plain(name, begin)))

    def _plain(self, word: str, begin: int) -> str:
        """Return the text that a word alone stands for."""
        instead = _SIGNS_OF_OTHERS.get(word)
        if instead:
            self._refuse(f"expected {instead} (a text {word} in quotes)", begin)
        text, _ = unquoted(word)
        if not text:
            self._refuse("expected a text", begin)
        return text

    def _comparison(self, sign: str, name: str, begin: int) -> Leaf[S]:
        place = self._at
        value = self._value(sign)
        self.fields.add(name)
        try:
            make = self._language.field(name)
        except ValueError as exc:
            _refuse(self._text, begin, str(exc))
        try:
            return Leaf(make(sign, value))
        except ValueError as exc:
            _refuse(self._text, place, str(exc))

    def _value(self, sign: str) -> Value:
        if sign in (":", "~") and _PATTERN.match(self._text, self._at):
            found = self._pattern()
            return Value(found.text, pattern=found.pattern)
        text, is_quoted = unquoted(self._word("expected a value", _WORD))
        return Value(text, is_quoted)

    def _pattern(self) -> Text:
        match = _PATTERN.match(self._text, self._at)
        if match is None:
            self._refuse(
                r"expected / and a blank at the pattern's end (/ itself is \/ there, "
                "and a text that begins with it goes in quotes)"
            )
        try:
            pattern = pattern_of(match[1], ignore_case=bool(match[2]))
        except PatternError as exc:
            _refuse(self._text, match.start(1) + exc.place, str(exc))
        self._at = match.end()
        return Text(match[1], pattern)

    def _word(self, expected: str, kind: re.Pattern[str]) -> str:
        match = kind.match(self._text, self._at)
        if match is None:
            self._refuse(expected)
        if match[0].lower() in _KEYWORDS:
            self._refuse(f"{expected} (one that is a keyword in quotes)")
        self._at = match.end()
        return match[0]

    def _takes(self, keyword: str) -> bool:
        """Step over a keyword; False where anything else comes next."""
        self._skip_blanks()
        is_next = self._keyword() == keyword
        self._at += len(keyword) if is_next else 0
        return is_next

    def _keyword(self) -> str:
        match = _WORD.match(self._text, self._at)
        word = match[0].lower() if match else ""
        return word if word in _KEYWORDS else ""

    def _skip_blanks(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _refuse(self, expected: str, place: int | None = None) -> NoReturn:
        """Raise ValueError that says what was expected in a place, here by default."""
        at = self._at if place is None else place
        rest = self._text[at:]
        if not rest.strip():
            _refuse(self._text, len(self._text.rstrip()), f"{expected}, got the end")
        match = _WORD.match(rest) or _OPERATOR.match(rest)
        if match is None and rest[0] in "\"'":
            _refuse(self._text, at, f"no closing {rest[0]}")
        got = match[0] if match else rest[0]
        _refuse(self._text, at, f"{expected}, got {got!r}")


def _refuse(text: str, at: int, why: str) -> NoReturn:
    """Raise ValueError with the filter on a line, and a caret below the place."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    raise ValueError(f"filter: {why}\n  {shown}\n  {' ' * text_width(shown[:at])}^")


def _negated(part: Leaf[S]) -> Leaf[S]:
    fits = part.fits
    return Leaf(lambda subject: not fits(subject))


def _all_fit(parts: Iterable[Fits[S]]) -> Fits[S]:
    each = tuple(parts)

    def all_fit(subject: S) -> bool:
        for fits in each:
            if not fits(subject):
                return False
        return True

    return all_fit


def _any_fits(parts: Iterable[Fits[S]]) -> Fits[S]:
    each = tuple(parts)

    def any_fits(subject: S) -> bool:
        for fits in each:
            if fits(subject):
                return True
        return False

    return any_fits
