"""Choosing entries by a line of text: `level>=warning logger:train.* -retry loss>3`.

The language is that of `mlog.reader.grammar`, the rules of comparison are those of
`mlog.reader.comparing`. Fields are

    level | logger | msg | event | ts | step | seq | file | line | func | thread | task
    stream | writer | rank | attempt | host
    metric.NAME | value.NAME | extra.NAME | data.NAME | exc.NAME
    NAME: of a metric, else a value, the caller's own field, what an event says

A word alone is looked for in the message, the names of logger and event, names and
values of metrics and fields (`name=value`), traceback and stack; in any case, unless
there is a capital letter in it.

Pure: nothing is read but the entry that is handed in.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from mlog.reader.comparing import (
    MISSING,
    Make,
    Test,
    Value,
    any_test,
    json_of,
    number_from,
    number_test,
    text_test,
    time_test,
)
from mlog.reader.grammar import Field, Filter, Leaf, Needle, Text, parse, unquoted
from mlog.reader.levels import level_from, level_of
from mlog.reader.patterns import MAX_TEXT
from mlog.reader.sources import Source

__all__ = ["Choice", "Entry", "matches_text", "misspelt", "parse_search"]

Entry: TypeAlias = dict[str, Any]
Choice: TypeAlias = Callable[[tuple[Entry, Source]], bool]
"""Decides about an entry and who wrote it."""

_Get: TypeAlias = Callable[[tuple[Entry, Source]], Any]

_GROUPS = ("metric", "value", "extra", "data")
_DEEP = (*_GROUPS, "exc")
_LETTERS = re.compile(r"[A-Za-z]{3}")
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9 _.;!*#%@()+-]+")


def parse_search(text: str) -> Filter[tuple[Entry, Source]]:
    """Turn a filter into a function of an entry and its source.

    Args:
        text: See the head of this module, and the README, "Filters".

    Raises:
        ValueError: It cannot be understood; the message points at the place.
    """
    return parse(text, _OfEntries())


def misspelt(filter: Filter[tuple[Entry, Source]]) -> dict[str, str]:
    """Return names of fields in a filter that look like others that entries have.

    Every name may be a caller's own field, so that it is no error; but where nothing is
    found it is worth a hint.
    """
    from difflib import get_close_matches  # slow to import, and only for this

    found = {}
    for name in sorted(filter.fields - _PLAIN.keys()):
        if "." not in name and (
            close := get_close_matches(name.lower(), _PLAIN, n=1, cutoff=0.8)
        ):
            found[name] = close[0]
    return found


def matches_text(text: str) -> Filter[tuple[Entry, Source]]:
    """Return what finds a text as it stands, in any case unless it has a capital."""
    return Filter(_OfEntries().text(Text(text)))


class _OfEntries:
    """What filters of entries can ask for."""

    example = "level>=warning or loss>3"

    def field(self, name: str) -> Field[tuple[Entry, Source]]:
        """Return a field of an entry; every name is one."""
        get, make = _field(name)

        def field(sign: str, value: Value) -> Choice:
            test = make(sign, value)
            return lambda subject: test(get(subject))

        return field

    def is_known(self, name: str) -> bool:
        """Whether `name:value` asks for a field."""
        group, dot, rest = name.partition(".")
        return name in _PLAIN or bool(dot and rest and group in _DEEP)

    def is_text(self, word: str) -> bool:
        """Whether a word alone is a text: also `level` is, but not `metric.loss`."""
        return word in _PLAIN or not self.is_known(word)

    def text(self, text: Text) -> Leaf[tuple[Entry, Source]]:
        """Return what finds a text in an entry."""
        if text.pattern is not None:
            search = text.pattern.search
            return Leaf(_finds(lambda told: search(told, 0, MAX_TEXT) is not None))
        wanted = text.text
        # In the JSON of an entry they stand as they are, or there is an escape. Numbers
        # may be written in several ways, but none of them has three letters.
        plain = [part for part in _PLAIN_TEXT.findall(wanted) if _LETTERS.search(part)]
        needle = max(plain, key=len, default="").encode()
        if wanted != wanted.lower():
            return Leaf(_finds(lambda told: wanted in told), Needle(needle))
        return Leaf(_finds(lambda told: wanted in told.lower()), Needle(needle, True))


def _finds(test: Callable[[str], bool]) -> Choice:
    """Return what decides by any of an entry's texts."""

    def finds(subject: tuple[Entry, Source]) -> bool:
        for told in _told(subject[0]):
            if test(told):
                return True
        return False

    return finds


def _told(entry: Entry) -> Iterator[str]:
    """Yield the texts that words are looked for in."""
    for key in ("msg", "logger", "event", "stack"):
        text = entry.get(key)
        if type(text) is str:
            yield text
    for group in _GROUPS:
        named = entry.get(group)
        for name, value in named.items() if type(named) is dict else ():
            yield f"{name}={value if type(value) is str else json_of(value)}"
    exc = entry.get("exc")
    for value in exc.values() if type(exc) is dict else ():
        if type(value) is str:
            yield value


# --- fields --------------------------------------------------------------------------


def _field(word: str) -> tuple[_Get, Make]:
    """Return how to get a field from an entry, and how to test it.

    Raises:
        ValueError: There is no name behind the group's.
    """
    plain = _PLAIN.get(word)
    if plain is not None:
        return plain
    group, dot, rest = word.partition(".")
    if dot and group in _DEEP:
        name, _ = unquoted(rest)
        if not name:
            raise ValueError(f"expected a name after {word}")
        return (lambda subject: _within(subject[0].get(group), name)), any_test
    name, _ = unquoted(word)
    return (lambda subject: _anywhere(subject[0], name)), any_test


def _anywhere(entry: Entry, name: str) -> Any:
    """Return what has a name in an entry, wherever it is."""
    for group in _GROUPS:
        found = _within(entry.get(group), name)
        if found is not MISSING:
            return found
    return MISSING


def _within(value: Any, name: str) -> Any:
    """Return what has a name in an object, or in an object in it: `a.b`."""
    if type(value) is not dict:
        return MISSING
    if name in value:
        return _number_of(value[name])
    first, dot, rest = name.partition(".")
    return _within(value.get(first), rest) if dot else MISSING


def _number_of(value: Any) -> Any:
    """Return NaN and the infinities, which are texts in the files, as numbers."""
    if type(value) is str and value in ("NaN", "Infinity", "-Infinity"):
        return number_from(value)
    return value


def _level_test(sign: str, value: Value) -> Test:
    """Return a test of a level's number, by names or numbers."""
    if value.pattern is not None or sign == "~":
        raise ValueError("expected = != < <= > >= or : behind level")
    first, dots, last = value.text.partition("..")
    ends = (first, last) if dots and sign == ":" else (value.text,)
    numbers = [str(level_from(end)) if end else "" for end in ends]
    return any_test(sign, Value("..".join(numbers)))


def _text_at(key: str) -> _Get:
    def get(subject: tuple[Entry, Source]) -> Any:
        text = subject[0].get(key)
        return text if type(text) is str else MISSING

    return get


def _whole_at(key: str) -> _Get:
    def get(subject: tuple[Entry, Source]) -> Any:
        number = subject[0].get(key)
        return number if type(number) is int else MISSING

    return get


def _stream(subject: tuple[Entry, Source]) -> str:
    entry = subject[0]
    if "event" in entry:
        return "events"
    return "metrics" if "metric" in entry or "value" in entry else "logs"


_PLAIN: Mapping[str, tuple[_Get, Make]] = {
    "level": (lambda subject: level_of(subject[0]), _level_test),
    **{key: (_text_at(key), text_test) for key in ("logger", "msg", "event")},
    "ts": (_text_at("ts"), time_test),
    **{key: (_whole_at(key), number_test) for key in ("step", "seq", "line")},
    **{key: (_text_at(key), text_test) for key in ("file", "func", "thread", "task")},
    "stream": (_stream, text_test),
    "writer": (lambda subject: subject[1].writer, text_test),
    "rank": (lambda subject: subject[1].rank or 0, number_test),
    "attempt": (lambda subject: subject[1].attempt, number_test),
    "host": (lambda subject: subject[1].host or MISSING, text_test),
}
