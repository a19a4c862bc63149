"""From whatever people pass to what the file format allows. Pure, and never raises.

`split_metric` sorts the mapping of one metric call into numbers and other values;
`to_json` turns extra fields, params and the data of events into JSON. Arrays and
tensors are known by what they can do (`.shape`, `.item()`, `.tolist()`), so no array
library is ever imported here.

Invariants:
    - What comes back passes `orjson.dumps` without options and is strict JSON
      (RFC 8259): NaN and the infinities are the strings of that name.
    - Code of others that fails (`__str__`, `.items()`, `.item()`) costs its own value
      at most. `KeyboardInterrupt` and `SystemExit` pass.
    - Work and size are bounded, also for cycles and for mappings without end.

Source of the rules: the README, "File format".
"""

import reprlib
from array import array
from collections import UserString, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import islice
from math import isfinite, prod
from operator import index
from pathlib import PurePath
from typing import Any, TypeVar
from uuid import UUID

import orjson

from mlog.errors import warn_once

__all__ = [
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_LIST",
    "MAX_NAME",
    "MAX_TEXT",
    "clean_text",
    "cut_text",
    "safe_str",
    "split_metric",
    "step_of",
    "to_json",
]

MAX_TEXT = 262_144
"""Characters kept of one string, head and tail together."""

MAX_LIST = 1_000
"""Most numbers of a list metric, and most elements of an array in other fields."""

MAX_ITEMS = 10_000
"""Most items kept of one container in other fields; an ellipsis tells of the rest."""

MAX_DEPTH = 32
"""How deep containers may lie in each other."""

MAX_NAME = 256
"""Longest metric name, in bytes of UTF-8."""

_MAX_REPR = 2_000  # characters of the text of an `mlog.repr`
_MAX_NESTED = 100_000  # names that nested mappings may add to one metric call
_MAX_SIZE = 4_194_304  # characters of one whole `to_json`: four times the longest line
_COST = 8  # what a value counts for there, besides its text
_END_DOUBLE = 2**1024 - 2**970  # readers that take numbers as doubles refuse the line
_MIN_64, _END_64 = -(2**63), 2**64  # what orjson encodes by itself
_CHUNK = 1_048_576

_T = TypeVar("_T")


# --- text --------------------------------------------------------------------------


def clean_text(text: str) -> str:
    """Return the text without lone surrogates, which UTF-8 cannot hold.

    Each becomes U+FFFD; a high and a low one in a row become the character they mean.
    Any other text comes back as it is, not copied.

    Source: RFC 3629, section 3 (no surrogates); The Unicode Standard, 3.9 (U+FFFD).
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def cut_text(text: str, limit: int = MAX_TEXT) -> tuple[str, int | None]:
    """Cut a text longer than `limit` characters to its head and its tail.

    Args:
        text: Any text; only the kept parts are copied.
        limit: Characters kept, the note in the middle not counted.

    Returns:
        The text and None; or head, `…[N characters cut]…`, tail, and the size of the
        whole in bytes of UTF-8.
    """
    size, limit = len(text), max(limit, 0)
    if size <= limit:
        return text, None
    tail = limit // 2
    head = text[: limit - tail]
    note = f"…[{size - limit} characters cut]…"
    return f"{head}{note}{text[size - tail :]}", _utf8_size(text)


def _utf8_size(text: str) -> int:
    """Return the bytes of the text in UTF-8, without encoding it in one piece."""
    if text.isascii():
        return len(text)
    return sum(
        len(text[start : start + _CHUNK].encode("utf-8", "surrogatepass"))
        for start in range(0, len(text), _CHUNK)
    )


def safe_str(value: object) -> str:
    """Return `str(value)`, else its repr, else `<ClassName: str() failed: ErrType>`.

    Raises no `Exception`, also where the object's own code does or recurses for ever.
    The text may be long and hold lone surrogates.
    """
    try:
        return str.__str__(str(value))
    except Exception as exc:  # the object's own code: anything can happen in it
        error = _class_name(exc)
    try:
        return str.__str__(repr(value))
    except Exception:  # as above; the first error tells more
        return f"<{_class_name(value)}: str() failed: {error}>"


def _safe_repr(value: object) -> str:
    try:
        return str.__str__(repr(value))
    except Exception as exc:  # the object's own code: anything can happen in it
        return f"<{_class_name(value)}: repr() failed: {_class_name(exc)}>"


def _class_name(value: object) -> str:
    return type(value).__name__[:200]


def _text(value: str) -> str:
    """Return a string of any class as a plain one, short enough and clean."""
    return clean_text(cut_text(str.__str__(value))[0])


def _text_by_str(value: object) -> str:
    return _text(safe_str(value))


def _isoformat(value: date | time) -> str:
    return _text(value.isoformat())


def _error_text(error: BaseException) -> str:
    message = safe_str(error)
    return _text(f"{_class_name(error)}: {message}" if message else _class_name(error))


# --- numbers: the JSON number, "NaN" and its like, or None: has no such form ---------


def _float(value: float) -> float | str:
    exact = float.__float__(value)
    if isfinite(exact):
        return exact
    if exact != exact:
        return "NaN"
    return "Infinity" if exact > 0 else "-Infinity"


def _int(value: int) -> Any:
    exact = int.__int__(value)
    if _MIN_64 <= exact < _END_64:
        return exact
    if abs(exact) >= _END_DOUBLE:
        return None
    return orjson.Fragment(str(exact).encode())


def _decimal(value: Decimal) -> Any:
    if not value.is_finite():
        return "NaN" if value.is_nan() else _float(float(value))
    if value.adjusted() > 308:  # no double holds it; as an int it could take gigabytes
        return None
    whole = value.to_integral_value()
    if value == whole:
        return _int(int(whole))
    near = float(value)
    return near if isfinite(near) else None


def _fraction(value: Fraction) -> Any:
    if value.denominator == 1:
        return _int(value.numerator)
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return None


def _seconds(value: timedelta) -> float:
    return value.total_seconds()


_NUMBERS: dict[type, Callable[[Any], Any]] = {
    bool: int,
    int: _int,
    float: _float,
    Decimal: _decimal,
    Fraction: _fraction,
    timedelta: _seconds,
}

_TEXTS: dict[type, Callable[[Any], str]] = {
    str: _text,
    UserString: _text_by_str,
    date: _isoformat,
    time: _isoformat,
    PurePath: _text_by_str,
    UUID: _text_by_str,
}


def _by_type(table: Mapping[type, _T], kind: type) -> _T | None:
    """Return what the table says of the nearest base of a class."""
    for base in kind.__mro__:
        found = table.get(base)
        if found is not None:
            return found
    return None


def _number(value: Any) -> Any:
    convert = _by_type(_NUMBERS, type(value))
    return None if convert is None else convert(value)


def _inner_number(value: Any) -> Any:
    """Return the number of a value, of an Enum's value or of an array's only item."""
    number = _number(value)
    if number is None and isinstance(value, Enum):
        return _number(value.value)
    return _number(_item(value)) if number is None else number


# --- arrays, known by what they can do ---------------------------------------------


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of an array, None for what has none; may raise."""
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(index(n) for n in islice(shape, 99))


def _item(value: Any) -> Any:
    """Return the only item of a 0-d array or one of shape (1,), else None; may raise.

    Waits for the device where the array lies on one.
    """
    if isinstance(value, type) or (shape := _shape(value)) not in (None, (), (1,)):
        return None
    if _is_time(value):
        return str(value[0] if shape else value)  # `.item()` may give nanoseconds
    if hasattr(value, "mask"):  # numpy.ma: `.item()` of what is masked out is 0.0
        found = value.tolist()
        return found[0] if shape else found
    get = getattr(value, "item", None)
    if not callable(get):
        get = getattr(value, "numpy", None)  # TensorFlow's tensors
        return _item(get()) if callable(get) and shape is not None else None
    found = get()
    if type(found) is type(value):  # numpy.longdouble has no Python equal
        return float(found) if _dtype_kind(value) == "f" else None
    return found


def _dtype_kind(value: Any) -> Any:
    """Return the `kind` of NumPy's dtypes, None where there is none."""
    return getattr(getattr(value, "dtype", None), "kind", None)


def _is_time(value: Any) -> bool:
    """Whether it is NumPy's datetime64 or timedelta64, or an array of them."""
    kind = _dtype_kind(value)
    return isinstance(kind, str) and kind in ("M", "m")


def _elements(value: Any) -> Any:
    """Return the nested lists of a small array, None for a large one; may raise."""
    shape = _shape(value)
    if shape is None or prod(shape) > MAX_LIST:
        return None
    if _is_time(value):
        value = value.astype(str)
    if not hasattr(value, "tolist") and callable(get := getattr(value, "numpy", None)):
        value = get()  # TensorFlow's tensors
    return value.tolist() if hasattr(value, "tolist") else None


# --- what has no JSON form ---------------------------------------------------------


class _Short(reprlib.Repr):
    """Bounded reprs that touch only the first items of a container."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdeque = self.maxarray = 20
        self.maxdict = self.maxset = self.maxfrozenset = 20
        self.maxstring = self.maxother = 200

    def repr_int(self, x: int, level: int) -> str:
        """All digits of an integer, hexadecimal where decimal takes too long."""
        text = repr(x) if x.bit_length() < 2_000 else hex(x)
        return text if level == self.maxlevel else cut_text(text, self.maxother)[0]

    def repr_bytes(self, x: bytes | bytearray, level: int) -> str:
        """The first bytes, and how many there are if these are not all."""
        if len(x) <= self.maxother:
            return repr(x)
        return f"{x[: self.maxother]!r}… ({len(x)} bytes)"

    repr_bytearray = repr_bytes

    def repr_instance(self, x: Any, level: int) -> str:
        """Shape and dtype of an array, the own repr of anything else."""
        text = _summary(x) or _safe_repr(x)
        return text if level == self.maxlevel else cut_text(text, self.maxother)[0]


_short = _Short()


def _summary(value: object) -> str:
    """Return class, shape and dtype of an array, "" for anything else.

    Reads no element, so it waits for no device.
    """
    try:
        shape = None if isinstance(value, type) else _shape(value)
        if shape is None:
            return ""
        dtype = safe_str(getattr(value, "dtype", "unknown"))[:100]
        return f"{_class_name(value)} shape={shape} dtype={dtype}"
    except Exception:  # something else is called shape there
        return ""


def _describe(value: object) -> str:
    """Return a bounded text for any object."""
    try:
        text = _describe_known(value)
    except Exception:  # items or numbers whose own code fails
        text = _safe_repr(value)
    return clean_text(cut_text(text, _MAX_REPR)[0])


def _describe_known(value: Any) -> str:
    if isinstance(value, BaseException):
        return _error_text(value)
    if not isinstance(value, list | tuple | deque | array | set | frozenset | dict):
        return _short.repr(value)
    count = f"{_class_name(value)} of {len(value)} items"
    if len(value) > MAX_ITEMS and isinstance(value, set | frozenset | dict):
        return count  # reprlib would sort them all
    text = _short.repr(value)
    return f"{count}: {text}" if len(value) > _short.maxlist else text


def _repr(value: object) -> dict[str, str]:
    return {"type": "mlog.repr", "value": _describe(value)}


# --- containers --------------------------------------------------------------------


def _pairs(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return names and values of a mapping, dataclass or namedtuple, else None."""
    if isinstance(value, Mapping):
        return value.items()
    if is_dataclass(value) and not isinstance(value, type):
        return [(f.name, _attribute(value, f.name)) for f in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    return None


def _attribute(value: object, name: str) -> Any:
    try:
        return getattr(value, name)
    except Exception as exc:  # never set, or a property that fails
        return f"<{_class_name(exc)}>"


def _head(items: Iterable[_T], owner: Any) -> tuple[list[_T], int]:
    """Return the first items, in one step for other threads, and how many there are."""
    first = list(islice(items, MAX_ITEMS + 1))
    try:
        total = max(len(owner), len(first))
    except Exception:  # unsized, or a `__len__` that fails
        total = len(first)
    return first[:MAX_ITEMS], total


class _Names:
    """Gives each name once: the second "loss" becomes "loss~2"."""

    __slots__ = ("_limit", "_told")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._told: dict[str, int] = {}

    def free(self, name: str) -> str:
        """Return the name, or one made of it that was not given before."""
        told, count = self._told, self._told.get(name, 0)
        if not count:
            told[name] = 1
            return name
        while True:
            count += 1
            end = f"~{count}"
            other = _fit(name, self._limit - len(end)) + end
            if other not in told:
                told[name], told[other] = count, 1
                return other


def _fit(name: str, limit: int) -> str:
    """Cut a clean text to `limit` bytes of UTF-8, between two characters."""
    data = name.encode()
    return name if len(data) <= limit else data[:limit].decode(errors="ignore")


# --- metrics -----------------------------------------------------------------------


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
    `Exception`. `.item()` and `.tolist()` of a tensor on a GPU wait for that GPU: log
    such a value seldom, or copy it first.

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
        elif kind is not int or not _MIN_64 <= value < _END_64:
            return False
    return True


class _Split:
    """One call of `split_metric`; fills the two dicts it is given."""

    def __init__(self, numbers: dict[str, Any], values: dict[str, Any]) -> None:
        self._numbers = numbers
        self._values = values
        self._names = _Names(MAX_NAME)
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
        elif (pairs := _pairs(value)) is not None:
            self._add_nested(f"{name[:MAX_NAME]}/", value, pairs, depth + 1)
        elif (numbers := _number_list(value)) is not None:
            ready = {"type": "mlog.list", "values": numbers}
            self._values[self._free(name)] = ready
        else:
            item = _item(value)
            if not self._add_scalar(name, item):
                self._put_repr(name, item if _is_leaf(item) else value)

    def _add_scalar(self, name: str, value: Any) -> bool:
        """Add a number or a text; False: it is neither."""
        if (number := _number(value)) is not None:
            self._numbers[self._free(name)] = number
            return True
        if (convert := _by_type(_TEXTS, type(value))) is not None:
            text = convert(value)
            self._values[self._free(name)] = text
            return True
        return False

    def _put_repr(self, name: str, value: object) -> None:
        self._put(name, _describe(value), value)

    def _put(self, name: str, text: str, value: object) -> None:
        """Keep a text in the place of a value, and say so once for its class."""
        ready = {"type": "mlog.repr", "value": text}
        name = self._free(name)
        self._values[name] = ready
        kind = _class_name(value)
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
    short = _fit(name, MAX_NAME)
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
        shape = None if isinstance(value, type) else _shape(value)
        if shape is None or len(shape) != 1 or shape == (1,):
            return None
        items = _elements(value)
    if items is None:
        return None
    numbers = [_inner_number(item) for item in items]
    return None if None in numbers else numbers


def step_of(step: object) -> int | None:
    """Return a step as an integer; what is none warns once and gives None.

    Integers, floats with an integer value and arrays with one such item are steps, in
    the range of 64 bits that every reader has; True and False are not. Never raises.
    """
    if type(step) is int and _MIN_64 <= step < 2**63:
        return step
    if step is None:
        return None
    try:
        found = step if isinstance(step, int | float) else _item(step)
        if isinstance(found, int | float) and not isinstance(found, bool):
            whole = int(found)
            if whole == found and _MIN_64 <= whole < 2**63:
                return whole
    except Exception:  # NaN, or an `.item()` that fails
        pass
    warn_once(
        "step",
        f"step must be an integer of 64 bits, got {_describe(step)[:200]} "
        f"({_class_name(step)}); the entry is kept without a step",
    )
    return None


# --- other fields ------------------------------------------------------------------


def to_json(value: object) -> Any:
    """Return a faithful JSON form of any object, ready for `orjson.dumps`.

    Mappings, dataclasses and namedtuples become objects, sequences and sets arrays
    (sets in the order of their JSON text), small arrays of numbers nested lists. An
    object without such a form becomes an `mlog.repr`. A container in itself is
    "<cycle>", one below `MAX_DEPTH` levels "<too deep>". After `MAX_ITEMS` items, or
    some megabytes in all, "…" tells how many were left out; which ones of a larger set
    is not defined.

    Safe from any thread; nothing passed is changed or kept. Never raises an
    `Exception`. `.item()` and `.tolist()` of a tensor on a GPU wait for that GPU.
    """
    try:
        return _Walk().json(value, 0)
    except Exception:  # no stack or memory left even to describe what failed
        return "<conversion failed>"


class _Walk:
    """One call of `to_json`: the containers it is in, and the room that is left."""

    __slots__ = ("_open", "_room")

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._room = _MAX_SIZE

    def json(self, value: Any, depth: int) -> Any:
        """Return the JSON form of a value that lies in `depth` containers."""
        self._room -= _COST
        try:
            convert = _by_type(_LEAVES, type(value))
            if convert is None:
                return self._container(value, depth)
            ready = convert(value)
        except Exception:  # code of the value's own class, or no stack left
            ready = _repr(value)
        self._room -= _size(ready)
        return ready

    def _container(self, value: Any, depth: int) -> Any:
        if id(value) in self._open:
            return "<cycle>"
        if depth >= MAX_DEPTH:
            return "<too deep>"
        self._open.add(id(value))
        try:
            return self._unfold(value, depth + 1)
        finally:
            self._open.discard(id(value))

    def _unfold(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.json(value.value, depth)
        if (pairs := _pairs(value)) is not None:
            return self._object(*_head(pairs, value), depth)
        if isinstance(value, Set):
            ready, left = self._items(*_head(value, value), depth)
            return sorted(ready, key=orjson.dumps) + _left_out(left)
        if isinstance(value, Sequence | deque | array):
            ready, left = self._items(*_head(value, value), depth)
            return ready + _left_out(left)
        return self._array(value, depth)

    def _object(self, pairs: list[tuple[Any, Any]], total: int, depth: int) -> Any:
        names = _Names(MAX_TEXT)
        ready: dict[str, Any] = {}
        for key, item in pairs:
            if self._room <= 0:
                break
            name = names.free(_json_key(key))
            self._room -= len(name)
            ready[name] = self.json(item, depth)
        for note in _left_out(total - len(ready)):
            ready[names.free("…")] = note
        return ready

    def _items(self, items: list[Any], total: int, depth: int) -> tuple[list[Any], int]:
        """Return the items that there is room for, and how many are left out."""
        ready: list[Any] = []
        for item in items:
            if self._room <= 0:
                break
            ready.append(self.json(item, depth))
        return ready, total - len(ready)

    def _array(self, value: Any, depth: int) -> Any:
        """Return an array's items, or describe what is none."""
        found = None
        if not isinstance(value, type):
            found = _item(value) if _shape(value) in (None, ()) else _elements(value)
        if isinstance(found, list | tuple) or _is_leaf(found):
            return self.json(found, depth)
        ready = _repr(value)
        self._room -= _size(ready)
        return ready


def _is_leaf(found: object) -> bool:
    return found is not None and _by_type(_LEAVES, type(found)) is not None


def _size(ready: Any) -> int:
    """Return about how many characters a text, a description or long digits take."""
    if isinstance(ready, str):
        return len(ready)
    if isinstance(ready, dict):
        return len(ready["value"])
    return 300 if isinstance(ready, orjson.Fragment) else 0


def _left_out(count: int) -> list[str]:
    return [f"… {count} items left out"] if count > 0 else []


def _json_key(key: object) -> str:
    text = str.__str__(key) if isinstance(key, str) else safe_str(key)
    return clean_text(cut_text(text, _MAX_REPR)[0])


def _none(value: None) -> None:
    return None


def _json_int(value: int) -> Any:
    number = _int(value)
    return _repr(value) if number is None else number


def _json_decimal(value: Decimal) -> Any:
    """Return the number if it is exactly this one, else the digits."""
    number = _decimal(value)
    if number is None or (type(number) is float and Decimal(number) != value):
        return _text_by_str(value)
    return number


def _json_fraction(value: Fraction) -> Any:
    """Return the number if it is exactly this one, else `1/3`."""
    number = _fraction(value)
    if number is None or (type(number) is float and Fraction(number) != value):
        return _text_by_str(value)
    return number


def _json_complex(value: complex) -> Any:
    return _repr(complex(value))


def _json_bytes(value: bytes | bytearray) -> Any:
    """Return bytes that are text as text."""
    if len(value) > MAX_TEXT:
        return _repr(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return _repr(value)
    shown = text.replace("\n", "").replace("\r", "").replace("\t", "")
    return text if shown.isprintable() else _repr(value)


_LEAVES: dict[type, Callable[[Any], Any]] = {
    type(None): _none,
    bool: bool,
    int: _json_int,
    float: _float,
    **_TEXTS,
    timedelta: _seconds,
    Decimal: _json_decimal,
    Fraction: _json_fraction,
    complex: _json_complex,
    bytes: _json_bytes,
    bytearray: _json_bytes,
    memoryview: _repr,
    BaseException: _error_text,
}
