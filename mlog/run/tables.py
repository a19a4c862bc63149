"""Lists, rows and tables of any source, as typed values of the file format. Pure.

A table is a mapping of columns, a DataFrame (pandas, polars, Arrow) or a list of
records. What it is made of is found by what it can do, so no library is imported here
that the caller has not imported already.

Invariants:
    - Cells are exact: numbers as they are, text, True, False and None; NaN and the
      infinities are floats. A missing value of pandas or NumPy (`NA`, `NaT`) is None.
      A flat list of up to 1,000 of these is kept, too. Anything else becomes text, with
      one warning.
    - A long list or table becomes several values, each of at most `MAX_ENTRY` bytes of
      JSON and `MAX_ITEMS` rows. Readers put the values of one name together.
    - Nothing is returned of a value that is wrong anywhere.
"""

import sys
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from enum import Enum
from typing import Any

from mlog.errors import warn_once
from mlog.plain import (
    MAX_ITEMS,
    MAX_LIST,
    Names,
    class_name,
    clean_text,
    describe,
    fit_text,
    item_of,
    number_of,
    pairs_of,
    safe_str,
    shape_of,
    text_of,
    to_json,
)

__all__ = [
    "MAX_ENTRY",
    "MAX_ROW",
    "cell",
    "columns_of",
    "fits_entry",
    "items_of",
    "list_values",
    "on_host",
    "row_value",
    "scalar_of",
    "table_values",
]

MAX_ENTRY = 262_144
"""Bytes of JSON that one value aims to stay below."""

MAX_ROW = 900_000
"""Most bytes of JSON of a single row or item; an entry holds 1 MiB."""

_MAX_NAME = 1_000  # bytes of a column's name
_MISSING = frozenset({"NaTType", "NAType"})  # classes of pandas
_NUMBER = 25  # most characters of a 64-bit number and its comma
_FIXED = frozenset({float, bool, type(None)})


# --- typed values ------------------------------------------------------------------


def list_values(value: Any) -> list[dict[str, Any]]:
    """Return the `mlog.list` values of an iterable, in order; of an empty one, one.

    Args:
        value: Any iterable, also a generator, an array or a Series. A text is one item,
            with a warning, and not its characters.

    Raises:
        TypeError: A mapping, or no iterable.
        ValueError: An item that is too large.
    """
    if isinstance(value, str | bytes | bytearray):
        warn_once("list of text", "log_list was given a text; it is kept as one item")
        value = [value]
    cells = [cell(item) for item in items_of(value)]
    spans = _spans(_sizes(cells), 0, "item")
    return [{"type": "mlog.list", "values": cells[start:end]} for start, end in spans]


def row_value(columns: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the `mlog.row` value of a row given as column to cell.

    Raises:
        ValueError: No column, too many of them, or too large a row.
    """
    if not columns:
        raise ValueError("a row needs at least one column: log_row(name, column=value)")
    ready = {name: cell(value) for name, value in _named(columns.items())}
    _check_row(_size_of_names(ready) + sum(_sizes(list(ready.values()))), 0, "row")
    return {"type": "mlog.row", "columns": ready}


def table_values(value: Any) -> list[dict[str, Any]]:
    """Return the `mlog.table` values of a table, in order; of an empty one, one.

    Args:
        value: As for `columns_of`.

    Raises:
        TypeError: It is no table.
        ValueError: Columns of unequal lengths, too many columns, or too large a row.
    """
    columns = columns_of(value)
    sizes = [_sizes(cells) for cells in columns.values()]
    rows = map(sum, zip(*sizes, strict=True))
    return [
        {"type": "mlog.table", "columns": {k: v[a:b] for k, v in columns.items()}}
        for a, b in _spans(rows, _size_of_names(columns), "row")
    ]


def fits_entry(ready: Any) -> bool:
    """Whether JSON-ready data can be a value of one entry: not too large, not too long.

    A container of more than `MAX_ITEMS` items would be cut on its way to the file.
    """
    import orjson

    return _longest(ready) <= MAX_ITEMS and len(orjson.dumps(ready)) <= MAX_ENTRY


def _longest(ready: Any) -> int:
    if not isinstance(ready, list | dict):
        return 0
    inner = ready.values() if isinstance(ready, dict) else ready
    return max(len(ready), max(map(_longest, inner), default=0))


def _spans(sizes: Iterable[int], base: int, what: str) -> Iterator[tuple[int, int]]:
    """Yield where each value begins and ends; at least one, perhaps empty."""
    start = end = 0
    total = base
    for size in sizes:
        _check_row(base + size, end, what)
        if end > start and (total + size > MAX_ENTRY or end - start >= MAX_ITEMS):
            yield start, end
            start, total = end, base
        end, total = end + 1, total + size
    yield start, end


def _check_row(size: int, index: int, what: str) -> None:
    if size > MAX_ROW:
        raise ValueError(
            f"{what} {index} takes about {size:,} bytes, more than the {MAX_ROW:,} that "
            f"fit into one entry; put it into a file and use log_file"
        )


def _size_of_names(columns: Mapping[str, Any]) -> int:
    return 100 + sum(_size(name) + 4 for name in columns)


def _sizes(cells: list[Any]) -> list[int]:
    """Return about how many bytes of JSON each cell takes; never fewer than it does."""
    if _FIXED.issuperset(map(type, cells)):
        return [_NUMBER] * len(cells)
    return [_size(each) for each in cells]


def _size(ready: Any) -> int:
    if isinstance(ready, str):
        import orjson

        return len(orjson.dumps(ready)) + 1
    if isinstance(ready, list):
        return 3 + sum(map(_size, ready))
    if type(ready) is int and ready.bit_length() > 64:
        return ready.bit_length() // 3 + 4
    return _NUMBER


# --- cells -------------------------------------------------------------------------


def cell(value: Any) -> Any:
    """Return what a table or a list keeps of a value; see the rules of this module.

    Never raises an `Exception`. `.item()` of a tensor on a GPU waits for that GPU.
    """
    if type(value) is float or value is None or type(value) is bool:
        return value
    try:
        found = scalar_of(value)
        if found is None:
            found = _flat_list(value)
        if found is None and not _is_missing(value):
            found = _text_of_object(value)
    except Exception:  # code of the value's own class
        found = _text_of_object(value)
    return found


def scalar_of(value: Any) -> Any:
    """Return the number, text or bool of a value, None for all else."""
    if isinstance(value, bool):
        return bool(value)
    if type(value).__name__ in _MISSING:
        return None
    number = _number(value)
    if number is not None:
        return number
    text = text_of(value)
    if text is not None:
        return text
    if isinstance(value, Enum):
        return scalar_of(value.value)
    if isinstance(value, bytes | bytearray):
        text = to_json(value)
        return text if isinstance(text, str) else None
    item = item_of(value)
    return None if item is None or _is_missing(value) else _plain(item)


def _plain(item: Any) -> Any:
    """Return a scalar that an array held."""
    if isinstance(item, bool):
        return item
    number = _number(item)
    return text_of(item) if number is None else number


def _number(value: Any) -> int | float | str | None:
    """Return the exact number of a value; of a Decimal with more digits, its text."""
    ready = number_of(value)
    if ready is None:
        return None
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(ready, str):  # a Decimal that is "NaN" or infinite
        return float(ready)
    if not isinstance(ready, int | float):  # more than 64 bits
        return int(value)
    if isinstance(ready, float) and hasattr(value, "as_tuple"):
        return ready if type(value)(repr(ready)) == value else safe_str(value)
    return ready


def _is_missing(value: Any) -> bool:
    """Whether it stands for a value that is not there."""
    if value is None or type(value).__name__ in _MISSING:
        return True
    if type(value).__name__ in ("datetime64", "timedelta64"):
        return bool(value != value)
    return hasattr(value, "mask") and item_of(value) is None and value.size == 1


def _flat_list(value: Any) -> list[Any] | None:
    """Return a short list or 1-D array of scalars, None for all else."""
    if not isinstance(value, list | tuple | deque | range | array):
        shape = None if isinstance(value, type) else shape_of(value)
        if shape is None or len(shape) != 1:
            return None
    if len(value) > MAX_LIST:
        return None
    items = items_of(value)
    cells = [scalar_of(item) for item in items]
    gaps = any(
        c is None and not _is_missing(i) for c, i in zip(cells, items, strict=True)
    )
    return None if gaps else cells


def _text_of_object(value: Any) -> str:
    kind = class_name(value)
    warn_once(
        f"cell of {kind}",
        f"no number, text or short list in this {kind}; its description is kept",
    )
    return describe(value)


# --- where items come from ---------------------------------------------------------


def items_of(value: Any) -> list[Any]:
    """Return the items of an iterable, an array or a Series as a list.

    A set is sorted if its items can be.

    Raises:
        TypeError: A mapping, or no iterable.
    """
    if isinstance(value, list):
        return value
    if isinstance(value, Mapping):
        raise TypeError(
            f"expected a list, got a mapping ({class_name(value)}); log_row and "
            f"log_table take columns"
        )
    if isinstance(value, Set):
        return _sorted(value)
    read = getattr(value, "to_list", None)
    if callable(read) and not isinstance(value, type):
        return _without_nan_texts(value, list(read()))
    if not isinstance(value, type) and shape_of(value) is not None:
        return _items_of_array(value)
    try:
        return list(value)
    except TypeError as exc:
        raise TypeError(
            f"expected a list or another iterable, got {describe(value)[:100]} "
            f"({class_name(value)})"
        ) from exc


def _without_nan_texts(series: Any, items: list[Any]) -> list[Any]:
    """Put None where pandas has NaN for a text that is missing."""
    if getattr(getattr(series, "dtype", None), "kind", None) != "O":
        return items
    missing = [isinstance(item, float) and item != item for item in items]
    others = {type(i) for i, gone in zip(items, missing, strict=True) if not gone}
    if str not in others or not others <= {str, type(None)}:
        return items
    return [None if gone else i for i, gone in zip(items, missing, strict=True)]


def _sorted(value: Set[Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _items_of_array(value: Any) -> list[Any]:
    value = on_host(value)
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    numpy = sys.modules.get("numpy")
    if numpy is not None and kind == "M":  # `.tolist()` may give nanoseconds
        found = [None if t == "NaT" else t for t in value.astype(str).ravel().tolist()]
        return found
    if numpy is not None and kind == "m":
        value = value / numpy.timedelta64(1, "s")
    read = getattr(value, "tolist", None)
    found = read() if callable(read) else list(value)
    return found if isinstance(found, list) else [found]


def on_host(value: Any) -> Any:
    """Return a tensor without its gradient, in the memory of this machine."""
    for name in ("detach", "cpu"):
        method = getattr(value, name, None)
        if callable(method):
            value = method()
    if not hasattr(value, "tolist") and callable(read := getattr(value, "numpy", None)):
        value = read()  # TensorFlow's tensors
    return value


# --- where columns come from -------------------------------------------------------


def columns_of(value: Any) -> dict[str, list[Any]]:
    """Return the columns of a table, all of one length, with cells as they are kept.

    Args:
        value: A mapping of columns, where a column is an iterable, an array or a
            Series, or one scalar for a table of one row; a DataFrame of pandas or
            polars or a table of Arrow; a structured array; a list of mappings,
            dataclasses or namedtuples, where a missing name is None. Of a DataFrame's
            index, what is more than a plain numbering is kept as columns. Names
            that are no strings become some; a name that comes twice gets "~2".

    Raises:
        TypeError: It is no table.
        ValueError: Columns of unequal lengths, or too many of them.
    """
    pairs = _named(_column_pairs(value))
    columns = {name: [cell(item) for item in items] for name, items in pairs}
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {n}" for name, n in list(lengths.items())[:20])
        raise ValueError(f"the columns of a table must have one length: {told}")
    return columns


def _column_pairs(value: Any) -> Iterable[tuple[Any, list[Any]]]:
    if isinstance(value, Mapping):
        return [(name, _column(name, items)) for name, items in value.items()]
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        return _pandas_pairs(value)
    if hasattr(value, "get_column") and hasattr(value, "columns"):
        return [(name, value.get_column(name).to_list()) for name in value.columns]
    if hasattr(value, "column_names") and hasattr(value, "column"):
        names = value.column_names
        return [(name, value.column(i).to_pylist()) for i, name in enumerate(names)]
    fields = getattr(getattr(value, "dtype", None), "names", None)
    if fields:
        return [(name, items_of(value[name])) for name in fields]
    return _record_pairs(value)


def _column(name: Any, items: Any) -> list[Any]:
    if isinstance(items, Mapping):
        raise TypeError(
            f"column {safe_str(name)!r} is a mapping; a column is a list of values (a "
            f"DataFrame can be given as it is)"
        )
    if isinstance(items, list):
        return items
    if items is None or isinstance(items, Enum) or scalar_of(items) is not None:
        single = shape_of(items) in (None, ())
        return [items] if single or isinstance(items, str) else items_of(items)
    return [items] if _is_missing(items) else items_of(items)


def _pandas_pairs(frame: Any) -> Iterator[tuple[Any, list[Any]]]:
    index = frame.index
    numbered = getattr(index, "nlevels", 1) == 1 and index.name is None
    if not (numbered and getattr(index.dtype, "kind", None) in ("i", "u")):
        for level, name in enumerate(index.names):
            default = f"level_{level}" if len(index.names) > 1 else "index"
            values = index.get_level_values(level)
            items = _without_nan_texts(values, values.tolist())
            yield (default if name is None else name), items
    for place, name in enumerate(frame.columns):  # a name may come twice
        column = frame.iloc[:, place]
        yield name, _without_nan_texts(column, column.tolist())


def _record_pairs(value: Any) -> Iterable[tuple[Any, list[Any]]]:
    """Return the columns of a list of records, in the order their names come up."""
    if isinstance(value, str | bytes) or isinstance(value, type):
        raise _no_table(value)
    try:
        records = items_of(value)
    except TypeError as exc:
        raise _no_table(value) from exc
    found: dict[Any, list[Any]] = {}
    for count, record in enumerate(records):
        pairs = pairs_of(record)
        if pairs is None:
            raise _no_table(value)
        for name, item in pairs:
            column = found.setdefault(name, [])
            column.extend([None] * (count - len(column)))
            column.append(item)
    for column in found.values():
        column.extend([None] * (len(records) - len(column)))
    return found.items()


def _no_table(value: Any) -> TypeError:
    hint = "; call .collect() on it first" if hasattr(value, "collect") else ""
    return TypeError(
        f"expected a table: a mapping of columns, a DataFrame or a list of mappings; "
        f"got {class_name(value)}{hint}"
    )


def _named(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[str, Any]]:
    """Return the columns with names that are strings and differ."""
    names = Names(_MAX_NAME)
    found = [(names.free(_column_name(key)), items) for key, items in pairs]
    if len(found) > MAX_ITEMS:
        raise ValueError(
            f"a table has at most {MAX_ITEMS:,} columns, got {len(found):,}"
        )
    return found


def _column_name(key: Any) -> str:
    if isinstance(key, tuple):  # columns of several levels
        key = "/".join(safe_str(part) for part in key)
    return fit_text(clean_text(safe_str(key)), _MAX_NAME)
