"""The fields of a run: what it may have, by which names, in which order and words.

A field is a column of a table, something to sort by, or a key of a line of JSON.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from mlog.cli.demanded import last_step
from mlog.errors import MlogError
from mlog.reader.alive import seconds_of
from mlog.reader.numbers import short
from mlog.reader.page_facts import SYMBOLS
from mlog.reader.page_words import moment, one_line, span, value_text
from mlog.reader.state import RunState

__all__ = [
    "MISSING",
    "PLAIN",
    "STATUS_COLOURS",
    "Field",
    "age_text",
    "field_of",
    "is_number",
    "json_fields",
    "json_text",
    "nobody_has",
    "sorted_by",
    "status_colour",
    "status_text",
]

STATUS_COLOURS = {
    **{"Running": "\x1b[36m", "Completed": "\x1b[32m", "Failed": "\x1b[91m"},
    **{"Canceled": "\x1b[33m", "NotResponding": "\x1b[35m"},
}

MISSING = object()
"""Value of a field that a run does not have."""

_STATISTIC = re.compile(r"(.+)\.(last|min|max|count)", re.DOTALL)

_Get: TypeAlias = Callable[[RunState], Any]


# --- what a name stands for ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """Something that a run may have.

    Attributes:
        title: What stands above its column.
        get: Returns the value, or `MISSING`.
        text: Makes the text of a value.
    """

    title: str
    get: _Get
    text: Callable[[Any], str]


def field_of(name: str, states: Sequence[RunState]) -> Field:
    """Return the field that a name stands for.

    Alone it is the metric of that name if any of the runs has it, else the param, the
    tag or the property.
    """
    if name in PLAIN:
        get, text = PLAIN[name]
        return Field(name, get, text)
    group, _, bare = name.partition(".")
    if group not in _NAMED or not bare:
        bare = _bare(name)
        group = next((g for g in _NAMED if _is_in(g, bare, states)), "metric")
    is_metric = group == "metric"
    title = one_line(name.removeprefix("metric."), 40)
    text = _number_text if is_metric else _value_text
    return Field(title, partial(_NAMED[group], _bare(bare)), text)


def _is_in(group: str, name: str, states: Iterable[RunState]) -> bool:
    return any(_NAMED[group](name, state) is not MISSING for state in states)


def _bare(name: str) -> str:
    """Return a name without its quotes."""
    return name.replace('"', "")


def nobody_has(name: str, states: Sequence[RunState]) -> str:
    """Say that there is no such field, and what comes close."""
    from difflib import get_close_matches  # slow to import, and only for this

    groups = [g for s in states for g in (s.metrics, s.params, s.tags, s.properties)]
    names = {*PLAIN, *(key for group in groups for key in group)}
    bare = name.partition(".")[2] if name.partition(".")[0] in _NAMED else name
    others = sorted(names - {_bare(bare)})
    close = get_close_matches(_bare(bare), others, n=3, cutoff=0.6)
    offer = f"; did you mean {', '.join(close)}?" if close else ""
    return f"no run here has {name!r}{offer}"


# --- values --------------------------------------------------------------------------


def _metric(name: str, state: RunState) -> Any:
    """Return a metric's last value, or the statistic that its name ends in."""
    facts, statistic = state.metrics.get(name), "last"
    if facts is None and (match := _STATISTIC.fullmatch(name)) is not None:
        facts, statistic = state.metrics.get(match[1]), match[2]
    value = (facts or {}).get(statistic, MISSING)
    try:
        return float(value) if isinstance(value, str) else value  # "NaN", "-Infinity"
    except ValueError:
        return MISSING


def _from(
    get_all: Callable[[RunState], Mapping[str, Any]], name: str, state: RunState
) -> Any:
    return get_all(state).get(name, MISSING)


_NAMED: Mapping[str, Callable[[str, RunState], Any]] = {
    "metric": _metric,
    "param": partial(_from, lambda state: state.params),
    "tag": partial(_from, lambda state: state.tags),
    "property": partial(_from, lambda state: state.properties),
}


def _host(state: RunState) -> Any:
    """Return where the last main writer runs, else the last writer."""
    writers = [w for w in state.writers if w.main] or state.writers
    hosts = [writer.host for writer in writers if writer.host]
    return hosts[-1] if hosts else MISSING


def _age(state: RunState) -> Any:
    created = seconds_of(state.created)
    return MISSING if created is None else max(0.0, state.read_at - created)


def _step(state: RunState) -> Any:
    step = last_step(state)
    return MISSING if step is None else step


def _missing_if_empty(value: Any) -> Any:
    return MISSING if value in (None, "") else value


def is_number(value: Any) -> bool:
    """Whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- order ---------------------------------------------------------------------------


def sorted_by(states: list[RunState], sort: str) -> list[RunState]:
    """Return runs in an order; those without the field come last, newest first.

    Raises:
        MlogError: No run has the field.
    """
    is_reversed = sort.startswith("-")
    name = sort.removeprefix("-")
    field = field_of(name, states)
    dated = [(field.get(state), state) for state in states]
    there = [(_rank(v), state) for v, state in dated if not _is_nothing(v)]
    if not there and all(value is MISSING for value, _ in dated):
        raise MlogError(f"cannot sort: {nobody_has(name, states)}")
    there.sort(key=lambda one: one[0], reverse=is_reversed)
    last = sorted((v is MISSING, n) for n, (v, _) in enumerate(dated) if _is_nothing(v))
    return [state for _, state in there] + [dated[n][1] for _, n in last]


def _is_nothing(value: Any) -> bool:
    """Whether a value has no place in an order: NaN, and one that is not there."""
    return value is MISSING or value != value


def _rank(value: Any) -> tuple[int, float, str]:
    """Return what a value is ordered by: numbers, then texts."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0, value, ""
    if not isinstance(value, str):
        return 1, 0.0, value_text(value)
    number = _number_in(value)
    return (1, 0.0, value) if number is None else (0, number, "")


def _number_in(text: str) -> float | None:
    """Return the number that a text is; None for any other, and for NaN."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


# --- texts ---------------------------------------------------------------------------


def _number_text(value: Any) -> str:
    """Return a metric with about four digits; an integer as it is up to nine."""
    if not isinstance(value, int | float):
        return _value_text(value)
    try:
        number = float(value)
    except OverflowError:
        return one_line(str(value), 12)
    if isinstance(value, int) and abs(value) < 10**9:
        return f"{value:,}"
    return short(number)


def _value_text(value: Any) -> str:
    return one_line("" if value is None else value_text(value), 200)


def status_text(status: str) -> str:
    """Return a status behind its symbol."""
    return f"{SYMBOLS.get(status, '…')} {one_line(status, 20)}"


def status_colour(cell: str) -> str:
    """Return the colour of a status behind its symbol; "" for an unknown one."""
    return STATUS_COLOURS.get(cell[2:], "")


def age_text(seconds: float) -> str:
    """Return how long ago something was, in its greatest unit: `3 min`, `12 d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds / size):,} {unit}"
    return f"{int(seconds)} s"


PLAIN: Mapping[str, tuple[_Get, Callable[[Any], str]]] = {
    "id": (lambda state: state.run_id, _value_text),
    "name": (lambda state: _missing_if_empty(state.name), _value_text),
    "experiment": (lambda state: _missing_if_empty(state.experiment), _value_text),
    "status": (lambda state: state.status, status_text),
    "host": (_host, _value_text),
    "created": (lambda state: _missing_if_empty(state.created), moment),
    "ended": (lambda state: _missing_if_empty(state.ended), moment),
    "age": (_age, age_text),
    "duration": (
        lambda state: MISSING if state.duration is None else state.duration,
        span,
    ),
    "attempt": (lambda state: state.attempt, _number_text),
    "step": (_step, _number_text),
}


# --- JSON ----------------------------------------------------------------------------


def json_fields(state: RunState) -> dict[str, Any]:
    """Return all that a line of JSON says of a run; times as the files have them."""
    host = _host(state)
    return {
        "run": json_text(state.run_id),
        "experiment": json_text(state.experiment),
        "name": json_text(state.name),
        "status": state.status,
        "created": state.created or None,
        "updated": state.updated or None,
        "ended": state.ended,
        "duration": state.duration,
        "attempt": state.attempt,
        "step": last_step(state),
        "host": None if host is MISSING else host,
        "parent": state.parent,
        "params": state.params,
        "tags": state.tags,
        "properties": state.properties,
        "metrics": state.metrics,
        "path": json_text(str(state.folder)),
    }


def json_text(name: str) -> str:
    """Return the name of a file as text; bytes that are none are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")
