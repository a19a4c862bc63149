"""From any object to plain JSON. Pure, and never raises.

`to_json` turns extra fields, params and the data of events into JSON. Arrays and tensors
are known by what they can do (`.shape`, `.item()`, `.tolist()`), so no array library is
ever imported here; nor is anything else that `import mlog` would only load for this
module, like `decimal`, which no program without a Decimal needs.

Invariants:
    - What comes back passes `orjson.dumps` without options and is strict JSON
      (RFC 8259): NaN and the infinities are the strings of that name.
    - Code of others that fails (`__str__`, `.items()`, `.item()`) costs its own value
      at most. `KeyboardInterrupt` and `SystemExit` pass.
    - Work and size are bounded, also for cycles and for mappings without end.

Source of the rules: the README, "File format".
"""

import reprlib
import sys
from array import array
from collections import UserString, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from enum import Enum
from itertools import islice
from math import isfinite, prod
from operator import index
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from mlog.errors import StrictWarning, warn_once

if TYPE_CHECKING:
    from datetime import date, time, timedelta
    from decimal import Decimal
    from fractions import Fraction

__all__ = [
    "END_64",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_LIST",
    "MAX_TEXT",
    "MIN_64",
    "Names",
    "class_name",
    "clean_text",
    "cut_text",
    "describe",
    "elements_of",
    "fit_text",
    "is_leaf",
    "item_of",
    "number_of",
    "pairs_of",
    "safe_str",
    "shape_of",
    "text_of",
    "to_json",
]

MAX_TEXT = 262_144
"""Characters kept of one string, head and tail together."""

MAX_LIST = 1_000
"""Most numbers of a list metric, and most elements of an array in other fields."""

_NOTE = 50  # characters of a text that say how much of it was cut, at most
_MAX_DIGITS = 311  # those of the greatest double, and a sign

MAX_ITEMS = 10_000
"""Most items kept of one container in other fields; an ellipsis tells of the rest."""

MAX_DEPTH = 32
"""How deep containers may lie in each other."""

MIN_64 = -(2**63)
"""Least integer that orjson encodes by itself."""

END_64 = 2**64
"""Least integer that is too large for that."""

_MAX_REPR = 2_000  # characters of the text of an `mlog.repr`
_MAX_SIZE = 4_194_304  # characters of one whole `to_json`: four times the longest line
_COST = 8  # what a value counts for there, besides its text
_END_DOUBLE = 2**1024 - 2**970  # readers that take numbers as doubles refuse the line
_CHUNK = 1_048_576

_T = TypeVar("_T")
_Convert: TypeAlias = Callable[[Any], Any]


# --- what to do with a class -------------------------------------------------------


class _ByType:
    """Finds how to convert a value by the nearest base of its class.

    A class is given as "module.name" where its module may not be loaded: before it is,
    there are no values of that class.
    """

    __slots__ = ("_known", "_late")

    def __init__(self, table: Mapping[type | str, _Convert]) -> None:
        self._known = {k: v for k, v in table.items() if isinstance(k, type)}
        self._late = {k: v for k, v in table.items() if isinstance(k, str)}

    def get(self, kind: type) -> _Convert | None:
        """Return what the table says of a class, None where it says nothing."""
        late = bool(self._late)  # asked first: another thread may learn meanwhile
        found = self._nearest(kind)
        if found is None and late:
            self._learn()
            found = self._nearest(kind)
        return found

    def _nearest(self, kind: type) -> _Convert | None:
        for base in kind.__mro__:
            found = self._known.get(base)
            if found is not None:
                return found
        return None

    def _learn(self) -> None:
        """Look up the classes whose modules are loaded by now."""
        for path, convert in list(self._late.items()):
            module, _, name = path.partition(".")
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None:  # else not loaded, or not to its end
                self._known[kind] = convert
                self._late.pop(path, None)


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
        error = class_name(exc)
    try:
        return str.__str__(repr(value))
    except Exception:  # as above; the first error tells more
        return f"<{class_name(value)}: str() failed: {error}>"


def _safe_repr(value: object) -> str:
    try:
        return str.__str__(repr(value))
    except Exception as exc:  # the object's own code: anything can happen in it
        return f"<{class_name(value)}: repr() failed: {class_name(exc)}>"


def class_name(value: object) -> str:
    """Return the name of a value's class, short enough for a message."""
    return type(value).__name__[:200]


def _text(value: str) -> str:
    """Return a string of any class as a plain one, short enough and clean."""
    text = str.__str__(value)
    if len(text) > MAX_TEXT:
        warn_once(
            "long text",
            f"a text of {len(text):,} characters is too long for an entry and was cut: "
            f"{MAX_TEXT:,} are kept, of both ends; run.log_text keeps longer ones",
        )
        text = cut_text(text, MAX_TEXT - _NOTE)[0]  # which is not to be cut again
    return clean_text(text)


def _text_by_str(value: object) -> str:
    return _text(safe_str(value))


def _isoformat(value: "date | time") -> str:
    return _text(value.isoformat())


def _error_text(error: BaseException) -> str:
    message = safe_str(error)
    return _text(f"{class_name(error)}: {message}" if message else class_name(error))


_TEXT_FORMS: dict[type | str, _Convert] = {
    str: _text,
    UserString: _text_by_str,
    "datetime.date": _isoformat,
    "datetime.time": _isoformat,
    "pathlib.PurePath": _text_by_str,
    "uuid.UUID": _text_by_str,
}
_TEXTS = _ByType(_TEXT_FORMS)


def text_of(value: Any) -> str | None:
    """Return the text of a string, date, time, path or UUID, None for all else."""
    convert = _TEXTS.get(type(value))
    return None if convert is None else convert(value)


# --- numbers -----------------------------------------------------------------------


def _float(value: float) -> float | str:
    exact = float.__float__(value)
    if isfinite(exact):
        return exact
    if exact != exact:
        return "NaN"
    return "Infinity" if exact > 0 else "-Infinity"


def _int(value: int) -> Any:
    exact = int.__int__(value)
    if MIN_64 <= exact < END_64:
        return exact
    if abs(exact) >= _END_DOUBLE:
        return None
    import orjson

    return orjson.Fragment(str(exact).encode())


def _decimal(value: "Decimal") -> Any:
    if not value.is_finite():
        return "NaN" if value.is_nan() else _float(float(value))
    if value.adjusted() > 308:  # no double holds it; as an int it could take gigabytes
        return None
    whole = value.to_integral_value()
    if value == whole:
        return _int(int(whole))
    near = float(value)
    return near if isfinite(near) else None


def _fraction(value: "Fraction") -> Any:
    if value.denominator == 1:
        return _int(value.numerator)
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return None


def _seconds(value: "timedelta") -> float:
    return value.total_seconds()


_NUMBERS = _ByType(
    {
        bool: int,
        int: _int,
        float: _float,
        "decimal.Decimal": _decimal,
        "fractions.Fraction": _fraction,
        "datetime.timedelta": _seconds,
    }
)


def number_of(value: Any) -> Any:
    """Return the JSON number of a value, or "NaN" and its like; None: it is no number.

    An integer beyond 64 bits is an `orjson.Fragment`, one beyond a double no number.
    """
    convert = _NUMBERS.get(type(value))
    return None if convert is None else convert(value)


# --- arrays, known by what they can do ---------------------------------------------


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return the shape of an array, None for what has none; may raise."""
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(index(n) for n in islice(shape, 99))


def item_of(value: Any) -> Any:
    """Return the only item of a 0-d array or one of shape (1,), else None; may raise.

    Waits for the device where the array lies on one.
    """
    if isinstance(value, type) or (shape := shape_of(value)) not in (None, (), (1,)):
        return None
    if _is_time(value):
        return str(value[0] if shape else value)  # `.item()` may give nanoseconds
    if hasattr(value, "mask"):  # numpy.ma: `.item()` of what is masked out is 0.0
        found = value.tolist()
        return found[0] if shape else found
    get = getattr(value, "item", None)
    if not callable(get):
        get = getattr(value, "numpy", None)  # TensorFlow's tensors
        return item_of(get()) if callable(get) and shape is not None else None
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


def elements_of(value: Any) -> Any:
    """Return the nested lists of a small array, None for a large one; may raise."""
    shape = shape_of(value)
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
        shape = None if isinstance(value, type) else shape_of(value)
        if shape is None:
            return ""
        dtype = safe_str(getattr(value, "dtype", "unknown"))[:100]
        return f"{class_name(value)} shape={shape} dtype={dtype}"
    except Exception:  # something else is called shape there
        return ""


def describe(value: object) -> str:
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
    count = f"{class_name(value)} of {len(value)} items"
    if len(value) > MAX_ITEMS and isinstance(value, set | frozenset | dict):
        return count  # reprlib would sort them all
    text = _short.repr(value)
    return f"{count}: {text}" if len(value) > _short.maxlist else text


def _repr(value: object) -> dict[str, str]:
    return {"type": "mlog.repr", "value": describe(value)}


# --- containers --------------------------------------------------------------------


def pairs_of(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return names and values of a mapping, dataclass or namedtuple, else None."""
    if isinstance(value, Mapping):
        return value.items()
    if hasattr(type(value), "__dataclass_fields__") and not isinstance(value, type):
        from dataclasses import fields

        return [(f.name, _attribute(value, f.name)) for f in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    return None


def _attribute(value: object, name: str) -> Any:
    try:
        return getattr(value, name)
    except Exception as exc:  # never set, or a property that fails
        return f"<{class_name(exc)}>"


def _head(items: Iterable[_T], owner: Any) -> tuple[list[_T], int]:
    """Return the first items, in one step for other threads, and how many there are."""
    first = list(islice(items, MAX_ITEMS + 1))
    try:
        total = max(len(owner), len(first))
    except Exception:  # unsized, or a `__len__` that fails
        total = len(first)
    return first[:MAX_ITEMS], total


class Names:
    """Gives each name once: the second "loss" becomes "loss~2"."""

    __slots__ = ("_limit", "_told")

    def __init__(self, limit: int) -> None:
        """Make names of at most `limit` bytes of UTF-8 where one is changed."""
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
            other = fit_text(name, self._limit - len(end)) + end
            if other not in told:
                told[name], told[other] = count, 1
                return other


def fit_text(name: str, limit: int) -> str:
    """Cut a clean text to `limit` bytes of UTF-8, between two characters."""
    data = name.encode()
    return name if len(data) <= limit else data[:limit].decode(errors="ignore")


# --- any object --------------------------------------------------------------------


def to_json(value: object) -> Any:
    """Return a faithful JSON form of any object, ready for `orjson.dumps`.

    Mappings, dataclasses and namedtuples become objects, sequences and sets arrays
    (sets in the order of their JSON text), small arrays of numbers nested lists. An
    object without such a form becomes an `mlog.repr`. A container in itself is
    "<cycle>", one below `MAX_DEPTH` levels "<too deep>". After `MAX_ITEMS` items, or
    some megabytes in all, "…" tells how many were left out; which ones of a larger set
    is not defined.

    Safe from any thread; nothing passed is changed or kept. Never raises an `Exception`
    (but with `strict`, where a text has to be cut). `.item()` and `.tolist()` of a
    tensor on a GPU wait for that GPU.
    """
    try:
        return _Walk().json(value, 0)
    except StrictWarning:
        raise
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
            convert = _LEAVES.get(type(value))
            if convert is None:
                return self._container(value, depth)
            ready = convert(value)
        except StrictWarning:
            raise
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
        if (pairs := pairs_of(value)) is not None:
            return self._object(*_head(pairs, value), depth)
        if isinstance(value, Set):
            import orjson

            ready, left = self._items(*_head(value, value), depth)
            return sorted(ready, key=orjson.dumps) + _left_out(left)
        if isinstance(value, Sequence | deque | array):
            ready, left = self._items(*_head(value, value), depth)
            return ready + _left_out(left)
        return self._array(value, depth)

    def _object(self, pairs: list[tuple[Any, Any]], total: int, depth: int) -> Any:
        names = Names(MAX_TEXT)
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
            read = item_of if shape_of(value) in (None, ()) else elements_of
            found = read(value)
        if isinstance(found, list | tuple) or is_leaf(found):
            return self.json(found, depth)
        ready = _repr(value)
        self._room -= _size(ready)
        return ready


def is_leaf(found: object) -> bool:
    """Whether it is one number, text or the like: no container, array or None."""
    return found is not None and _LEAVES.get(type(found)) is not None


def _size(ready: Any) -> int:
    """Return about how many characters a text, a description or long digits take."""
    if isinstance(ready, str):
        return len(ready)
    if isinstance(ready, dict):
        return len(ready["value"])
    return 0 if ready is None or isinstance(ready, int | float) else 300


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


def _json_decimal(value: "Decimal") -> Any:
    """Return the number if it is exactly this one, else the digits."""
    number = _decimal(value)
    if number is None or (type(number) is float and value != number):
        return _text_by_str(value)
    return number


def _json_fraction(value: "Fraction") -> Any:
    """Return the number if it is exactly this one, else `1/3`."""
    number = _fraction(value)
    if number is None or (type(number) is float and value != number):
        return _text_by_str(value)
    return number


def _json_fragment(value: Any) -> Any:
    """Return the long integer that `_int` has made; anything else could be any text."""
    import orjson

    digits = orjson.dumps(value)
    is_digits = digits.removeprefix(b"-").isdigit() and len(digits) < _MAX_DIGITS
    is_exact = is_digits and str(int(digits)).encode() == digits  # not 007
    return value if is_exact else _repr(value)


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


_LEAVES = _ByType(
    {
        **_TEXT_FORMS,
        type(None): _none,
        bool: bool,
        int: _json_int,
        float: _float,
        complex: _json_complex,
        bytes: _json_bytes,
        bytearray: _json_bytes,
        memoryview: _repr,
        BaseException: _error_text,
        "datetime.timedelta": _seconds,
        "decimal.Decimal": _json_decimal,
        "fractions.Fraction": _json_fraction,
        "orjson.Fragment": _json_fragment,
    }
)
