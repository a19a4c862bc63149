"""From the arguments of a metric call to what the file format allows. Never raises.

`split_metric` sorts the mapping of one call into numbers and other values, each under a
name that the format allows; `step_of` takes the step.

Invariants: those of `mlog.plain`.

Source of the rules: the README, "File format".
"""

from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from math import isfinite
from typing import Any

from mlog.errors import StrictWarning, warn_once
from mlog.plain import (
    END_64,
    MAX_DEPTH,
    MAX_LIST,
    MIN_64,
    Names,
    class_name,
    clean_text,
    describe,
    elements_of,
    fit_text,
    is_leaf,
    item_of,
    number_of,
    pairs_of,
    safe_str,
    shape_of,
    text_of,
    to_json,
)

__all__ = ["MAX_NAME", "split_metric", "step_of"]

MAX_NAME = 256
"""Longest metric name, in bytes of UTF-8."""

_MAX_NESTED = 100_000  # names that nested mappings may add to one metric call


def split_metric(
    metric: Mapping[Any, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort the mapping of one metric call into numbers and other values.

    Numbers are kept exact; NaN and the infinities are the strings of that name, and an
    integer beyond the range of a double is kept as the text of an `mlog.repr`. Nested
    mappings, dataclasses and namedtuples flatten with "/". Strings, dates and paths are
    text, up to 1,000 numbers in a row an `mlog.list`, objects that say they are of a
    type `mlog.…` stay as they are, everything else is an `mlog.repr` and is warned
    about once. Two names that become the same one keep both: the second gets "~2".

    Safe from any thread; nothing passed is changed or kept. Never raises an
    `Exception` (but with `strict`). `.item()` and `.tolist()` of a tensor on a GPU wait
    for that GPU: log such a value seldom, or copy it first.

    Args:
        metric: Name to value. A name that is not a string becomes one.

    Returns:
        The numbers and the other values, both ready for `orjson.dumps`.
    """
    numbers: dict[str, Any] = {}
    values: dict[str, Any] = {}
    try:
        if type(metric) is dict and _is_plain(plain := metric.copy()):
            return plain, values
        _Split(numbers, values).add_all(metric)
    except StrictWarning:
        raise
    except Exception:  # no stack or memory left even to describe what failed
        values["_"] = {"type": "mlog.repr", "value": "<conversion failed>"}
    return numbers, values


def _is_plain(metric: dict[Any, Any]) -> bool:
    """Whether all names and numbers can be written as they are."""
    for name, value in metric.items():
        if type(name) is not str or not 0 < len(name) <= MAX_NAME or not name.isascii():
            return False
        kind = type(value)
        if kind is float:
            if not isfinite(value):
                return False
        elif kind is not int or not MIN_64 <= value < END_64:
            return False
    return True


class _Split:
    """One call of `split_metric`; fills the two dicts it is given."""

    def __init__(self, numbers: dict[str, Any], values: dict[str, Any]) -> None:
        self._numbers = numbers
        self._values = values
        self._names = Names(MAX_NAME)
        self._open: set[int] = set()
        self._room = _MAX_NESTED

    def add_all(self, metric: Mapping[Any, Any]) -> None:
        """Add what the mapping holds; of a dict, all of it."""
        limit = len(metric) if type(metric) is dict else self._room
        try:
            pairs = list(islice(metric.items(), limit + 1))
            named = [(_key_text(key), value) for key, value in pairs]
        except Exception:  # no mapping, or one whose `.items()` fails
            self._put_repr("_", metric)
            return
        self._open.add(id(metric))
        for name, value in named[:limit]:
            self._add_safely(name, value, 0)
        if len(named) > limit:
            self._put("…", "<more names left out>", metric)

    def _add_nested(
        self, prefix: str, owner: object, pairs: Iterable[tuple[Any, Any]], depth: int
    ) -> None:
        self._open.add(id(owner))
        try:
            for key, value in list(islice(pairs, self._room + 1)):
                if self._room <= 0:
                    self._put(prefix + "…", "<more names left out>", owner)
                    return
                self._room -= 1
                self._add_safely(prefix + _key_text(key), value, depth)
        finally:
            self._open.discard(id(owner))

    def _add_safely(self, name: str, value: Any, depth: int) -> None:
        try:
            self._add(name, value, depth)
        except StrictWarning:
            raise
        except Exception:  # code of the value's own class, or no stack left
            self._put_repr(name, value)

    def _add(self, name: str, value: Any, depth: int) -> None:
        if self._add_scalar(name, value):
            return
        if depth >= MAX_DEPTH:
            self._put_repr(name, value)
        elif isinstance(value, Enum):
            self._add(name, value.value, depth + 1)
        elif id(value) in self._open:
            self._put(name, "<cycle>", value)
        elif _is_typed(value):
            self._values[self._free(name)] = to_json(value)
        elif (pairs := pairs_of(value)) is not None:
            self._add_nested(f"{name[:MAX_NAME]}/", value, pairs, depth + 1)
        elif (numbers := _number_list(value)) is not None:
            ready = {"type": "mlog.list", "values": numbers}
            self._values[self._free(name)] = ready
        else:
            item = item_of(value)
            if not self._add_scalar(name, item):
                self._put_repr(name, item if is_leaf(item) else value)

    def _add_scalar(self, name: str, value: Any) -> bool:
        """Add a number or a text; False: it is neither."""
        if (number := number_of(value)) is not None:
            self._numbers[self._free(name)] = number
            return True
        if (text := text_of(value)) is not None:
            self._values[self._free(name)] = text
            return True
        return False

    def _put_repr(self, name: str, value: object) -> None:
        self._put(name, describe(value), value)

    def _put(self, name: str, text: str, value: object) -> None:
        """Keep a text in the place of a value, and say so once for its class."""
        ready = {"type": "mlog.repr", "value": text}
        name = self._free(name)
        self._values[name] = ready
        kind = class_name(value)
        warn_once(
            f"metric of {kind}",
            f"metric {name!r}: no number, text or short list of numbers in this "
            f"{kind}; a description of it is kept (type mlog.repr)",
        )

    def _free(self, name: str) -> str:
        return self._names.free(_metric_name(name))


def _key_text(key: object) -> str:
    """Return a key as text, not much longer than a name can be."""
    text = str.__str__(key) if isinstance(key, str) else safe_str(key)
    return text[: MAX_NAME + 1]


def _metric_name(text: str) -> str:
    """Return a name of 1 to 256 bytes."""
    name = clean_text(text)
    if not name:
        warn_once("empty metric name", 'a metric has an empty name; it is kept as "_"')
        return "_"
    short = fit_text(name, MAX_NAME)
    if short != name:
        warn_once(
            "long metric name",
            f"a metric name may have {MAX_NAME} bytes; a longer one is kept as {short}",
        )
    return short


def _is_typed(value: object) -> bool:
    """Whether it is an object of the file format, like an `mlog.table`."""
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    return isinstance(kind, str) and kind.startswith("mlog.")


def _number_list(value: Any) -> list[Any] | None:
    """Return the numbers of a short list or a 1-D array, None for all else."""
    if isinstance(value, list | tuple | range | deque | array):
        items = list(value) if len(value) <= MAX_LIST else None
    else:
        shape = None if isinstance(value, type) else shape_of(value)
        if shape is None or len(shape) != 1 or shape == (1,):
            return None
        items = elements_of(value)
    if items is None:
        return None
    numbers = [_inner_number(item) for item in items]
    return None if None in numbers else numbers


def _inner_number(value: Any) -> Any:
    """Return the number of a value, of an Enum's value or of an array's only item."""
    number = number_of(value)
    if number is None and isinstance(value, Enum):
        return number_of(value.value)
    return number_of(item_of(value)) if number is None else number


def step_of(step: object) -> int | None:
    """Return a step as an integer; what is none warns once and gives None.

    Integers, floats with an integer value and arrays with one such item are steps, in
    the range of 64 bits that every reader has; True and False are not. Never raises
    (but with `strict`).
    """
    if type(step) is int and MIN_64 <= step < 2**63:
        return step
    if step is None:
        return None
    try:
        found = step if isinstance(step, int | float) else item_of(step)
        if isinstance(found, int | float) and not isinstance(found, bool):
            whole = int(found)
            if whole == found and MIN_64 <= whole < 2**63:
                return whole
    except Exception:  # NaN, or an `.item()` that fails
        pass
    warn_once(
        "step",
        f"step must be an integer of 64 bits, got {describe(step)[:200]} "
        f"({class_name(step)}); the entry is kept without a step",
    )
    return None
