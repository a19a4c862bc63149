"""Choosing runs by a line of text: `metric.mse<3000 and not (status=Failed or tag.old=1)`.

The language is that of `mlog.reader.grammar`, the rules of comparison are those of
`mlog.reader.comparing`. Fields are

    id | name | experiment | status | host | created | duration | attempt
    metric.NAME[.last|.min|.max|.count] | param.NAME | tag.NAME | property.NAME

A word alone is looked for in id, name, experiment, status, host and description of a
run, and in `name=value` of its params, tags and properties; in any case, unless there
is a capital letter in it.

Pure: nothing is read but the state that is handed in.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from mlog.reader.comparing import (
    MISSING,
    Make,
    any_test,
    json_of,
    number_from,
    number_test,
    text_test,
    time_test,
    word_test,
)
from mlog.reader.grammar import Field, Leaf, Text, parse, unquoted
from mlog.reader.patterns import MAX_TEXT
from mlog.reader.state import RunState

__all__ = ["parse_filter"]

Filter: TypeAlias = Callable[[RunState], bool]
_Get: TypeAlias = Callable[[RunState], Any]

_STATISTIC = re.compile(r"(.+)\.(last|min|max|count)", re.DOTALL)


def parse_filter(text: str) -> Filter:
    """Turn a filter into a function that says whether a run fits.

    Args:
        text: See the head of this module, and the README, "Filters".

    Raises:
        ValueError: It cannot be understood; the message points at the place.
    """
    return parse(text, _OfRuns())


class _OfRuns:
    """What filters of runs can ask for."""

    example = "metric.loss or status"

    def field(self, name: str) -> Field[RunState]:
        """Return a field of a run."""
        found = _field(name)
        if found is None:
            fields = ", ".join((*_PLAIN, *(f"{group}.NAME" for group in _NAMED)))
            groups = ", ".join(f"{group}.{name}" for group in _NAMED)
            raise ValueError(f"no field {name!r}; there are {fields} (so {groups})")
        return _tested(*found)

    def is_known(self, name: str) -> bool:
        """Whether `name:value` asks for a field."""
        group, dot, _ = name.partition(".")
        return name in _PLAIN or bool(dot and group in _NAMED)

    def is_text(self, word: str) -> bool:
        """Whether a word alone is a text: the name of a field is not."""
        return not self.is_known(word)

    def text(self, text: Text) -> Leaf[RunState]:
        """Return what finds a text in what is told of a run."""
        pattern, wanted = text.pattern, text.text
        if pattern is not None:
            search = pattern.search
            return Leaf(lambda state: any(search(t, 0, MAX_TEXT) for t in _told(state)))
        if wanted != wanted.lower():
            return Leaf(lambda state: any(wanted in t for t in _told(state)))
        return Leaf(lambda state: any(wanted in t.lower() for t in _told(state)))


def _tested(get: _Get, make: Make) -> Field[RunState]:
    def field(sign: str, value: Any) -> Filter:
        test = make(sign, value)
        return lambda state: test(get(state))

    return field


def _told(state: RunState) -> Iterator[str]:
    """Yield the texts that words are looked for in."""
    yield from (state.run_id, state.name, state.experiment, state.status)
    yield state.description
    host = _host(state)
    if isinstance(host, str):
        yield host
    for named in (state.params, state.tags, state.properties):
        for name, value in named.items():
            yield f"{name}={value if isinstance(value, str) else json_of(value)}"


# --- fields --------------------------------------------------------------------------


def _field(word: str) -> tuple[_Get, Make] | None:
    """Return how to get a field from a state, and how to test it.

    Raises:
        ValueError: There is no name behind the group's.
    """
    plain = _PLAIN.get(word)
    if plain is not None:
        return plain
    group, dot, rest = word.partition(".")
    if not dot or group not in _NAMED:
        return None
    name, _ = unquoted(rest)
    if not name:
        raise ValueError(f"expected a name after {word}")
    if group == "metric":
        return _metric(name, rest), any_test
    get_all = _NAMED[group]
    return lambda state: get_all(state).get(name, MISSING), any_test


def _metric(name: str, word: str) -> _Get:
    """Return how to get a metric's last value, or the statistic it is named with.

    A metric whose own name ends so comes first; `metric."a.min"` is never taken apart.
    """
    match = _STATISTIC.fullmatch(word)
    base, statistic = (unquoted(match[1])[0], match[2]) if match else (name, "last")

    def get(state: RunState) -> Any:
        if name in state.metrics:
            return _number_of(state.metrics[name].get("last", MISSING))
        return _number_of(state.metrics.get(base, {}).get(statistic, MISSING))

    return get


def _host(state: RunState) -> Any:
    """Return where the last main writer runs, else the last writer."""
    writers = [w for w in state.writers if w.main] or state.writers
    hosts = [writer.host for writer in writers if writer.host]
    return hosts[-1] if hosts else MISSING


def _duration(state: RunState) -> Any:
    return MISSING if state.duration is None else state.duration


def _number_of(value: Any) -> Any:
    """Return a number of the files as one; NaN and the infinities are texts there."""
    number = number_from(value) if isinstance(value, str) else None
    return value if number is None else number


_NAMED: Mapping[str, Callable[[RunState], Mapping[str, Any]]] = {
    "metric": lambda state: state.metrics,
    "param": lambda state: state.params,
    "tag": lambda state: state.tags,
    "property": lambda state: state.properties,
}

_PLAIN: Mapping[str, tuple[_Get, Make]] = {
    "id": (lambda state: state.run_id, text_test),
    "name": (lambda state: state.name, text_test),
    "experiment": (lambda state: state.experiment, text_test),
    "status": (lambda state: state.status, word_test),
    "host": (_host, text_test),
    "created": (lambda state: state.created, time_test),
    "duration": (_duration, number_test),
    "attempt": (lambda state: state.attempt, number_test),
}
