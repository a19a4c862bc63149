"""Envelopes of the four charts of Azure ML v1: their kinds, and what each holds. Pure.

A chart is an envelope `{"schema_type", "schema_version", "data"}`:

| schema_type | data | rules |
|---|---|---|
| `confusion_matrix` | `class_labels` (C), `matrix` (C×C; a row is a true class) | square |
| `accuracy_table` | `probability_tables`, `percentile_tables` (C×M×4: TP, FP, TN, FN), `probability_thresholds`, `percentile_thresholds` (M), `class_labels` (C) | whole numbers >= 0; their sum is the same everywhere; TP+FN and TN+FP are the same at all thresholds of a class |
| `residuals` | `bin_edges` (n+1), `bin_counts` (n) | of predicted - actual |
| `predictions` | `bin_averages`, `bin_errors`, `bin_counts` (n each), `bin_edges` (n+1) | over bins of the true values: mean and standard deviation of the predicted ones; null in an empty bin |

`charts` builds them from data, `check` takes those that were built elsewhere.

Source: azureml-core 1.61, `Run.log_confusion_matrix` and the three others.
"""

from collections.abc import Callable, Mapping
from math import isfinite, isnan
from typing import Any, Literal, TypeAlias

from mlog.plain import class_name, safe_str
from mlog.run.histograms import check_edges
from mlog.run.tables import cell, items_of

__all__ = ["KINDS", "Kind", "check", "envelope_of"]

Kind: TypeAlias = Literal[
    "confusion_matrix", "accuracy_table", "residuals", "predictions"
]
"""The `schema_type` of a chart."""

_VERSIONS = {
    "confusion_matrix": "1.0.0",
    "accuracy_table": "1.0.1",
    "residuals": "1.0.0",
    "predictions": "1.0.0",
}
KINDS = tuple(_VERSIONS)
"""All of them."""


def envelope_of(kind: Kind, data: dict[str, Any]) -> dict[str, Any]:
    """Return the chart of a kind that holds the data, which is kept and not checked."""
    return {"schema_type": kind, "schema_version": _VERSIONS[kind], "data": data}


def check(kind: Kind | str, value: Any) -> dict[str, Any]:
    """Return a chart that is right, as plain lists and numbers.

    Args:
        kind: Its `schema_type`.
        value: The envelope as a mapping or as JSON text. Arrays become lists; further
            keys are kept.

    Raises:
        ValueError: It breaks a rule of its kind; the message says which, and where.
        TypeError: It is neither a mapping nor a text.
    """
    envelope = _parsed(value, kind)
    for key in ("schema_type", "schema_version", "data"):
        if key not in envelope:
            raise ValueError(f"{kind}: {key!r} is missing from the value")
    if envelope["schema_type"] != kind:
        text = f"{kind}: 'schema_type' must be {kind!r}"
        raise ValueError(f"{text}, got {envelope['schema_type']!r}")
    data = envelope["data"]
    if not isinstance(data, Mapping):
        raise ValueError(f"{kind}: 'data' must be a mapping, got {class_name(data)}")
    ready = {str(key): _plain(item) for key, item in data.items()}
    _CHECKS[kind](_Data(kind, ready))
    others = {str(k): _plain(v) for k, v in envelope.items() if k != "data"}
    return {**others, "data": ready}


def _parsed(value: Any, kind: str) -> Mapping[Any, Any]:
    if isinstance(value, str | bytes | bytearray):
        import json  # not orjson: v1's own text may have NaN in it

        try:
            value = json.loads(value)
        except ValueError as exc:
            raise ValueError(f"{kind}: the text is no JSON: {exc}") from None
        if not isinstance(value, dict):
            raise ValueError(f"{kind}: the JSON text must be an object")
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{kind}: expected a mapping or JSON text, got {class_name(value)}"
        )
    return value


def _plain(value: Any) -> Any:
    """Return arrays and tuples as lists, and numbers as Python's own."""
    if isinstance(value, Mapping):
        return {safe_str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | bytes) or value is None:
        return cell(value)
    try:
        items = items_of(value)
    except TypeError:
        return cell(value)
    return [_plain(item) for item in items] if _has_length(value) else cell(value)


def _has_length(value: Any) -> bool:
    try:
        len(value)
    except TypeError:
        return False
    return True


class _Data:
    """The data of one chart, asked for part by part."""

    def __init__(self, kind: str, data: dict[str, Any]) -> None:
        self._kind = kind
        self._data = data

    def error(self, text: str) -> ValueError:
        return ValueError(f"{self._kind}: {text}")

    def items(self, key: str) -> list[Any]:
        found = self._data.get(key)
        if key not in self._data:
            raise self.error(f"{key!r} is missing from 'data'")
        if not isinstance(found, list):
            raise self.error(f"{key!r} must be a list, got {class_name(found)}")
        return found

    def numbers(self, key: str, *, gaps: bool = False) -> list[Any]:
        found = self.items(key)
        for place, item in enumerate(found):
            if gaps and isinstance(item, float) and isnan(item):
                found[place] = item = None
            if not _is_number(item) and not (gaps and item is None):
                text = f"{key!r} must hold finite numbers; item {place} is {item!r}"
                raise self.error(text)
        return found

    def labels(self) -> list[str]:
        found = self.items("class_labels")
        for place, item in enumerate(found):
            if not isinstance(item, str):
                raise self.error(
                    f"'class_labels' must hold strings; item {place} is {item!r}"
                )
        return found

    def edges(self, count: int, other: str) -> None:
        try:
            check_edges(self.numbers("bin_edges"), count, "'bin_edges'", repr(other))
        except ValueError as exc:
            text = str(exc).removeprefix(f"{self._kind}: ")
            raise self.error(text) from None

    def counts(self, key: str) -> list[Any]:
        found = self.numbers(key)
        if any(item < 0 for item in found):
            raise self.error(f"{key!r} must not be negative")
        return found


def _is_number(item: Any) -> bool:
    is_number = isinstance(item, int | float) and not isinstance(item, bool)
    return is_number and isfinite(item)


def _check_matrix(data: _Data) -> None:
    labels, rows = data.labels(), data.items("matrix")
    size = len(labels)
    if len(rows) != size:
        text = f"'matrix' must have a row for each of the {size} class labels"
        raise data.error(f"{text}, got {len(rows)}")
    for place, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != size:
            got = len(row) if isinstance(row, list) else class_name(row)
            text = f"'matrix' must be square; row {place} must have {size} numbers"
            raise data.error(f"{text}, got {got}")
        if not all(map(_is_number, row)):
            raise data.error(
                f"'matrix' must hold finite numbers; row {place} is {row!r:.200}"
            )


def _check_accuracy(data: _Data) -> None:
    labels = data.labels()
    totals: set[tuple[Any, str]] = set()
    for name in ("probability", "percentile"):
        thresholds = data.numbers(f"{name}_thresholds")
        key = f"{name}_tables"
        tables = data.items(key)
        if len(tables) != len(labels):
            text = f"{key!r} must have a table for each of the {len(labels)} classes"
            raise data.error(f"{text}, got {len(tables)}")
        for place, table in enumerate(tables):
            where = f"{key}[{place}]"
            _check_table(data, table, len(thresholds), where)
            totals.update((sum(row), where) for row in table[:1])
    if len({total for total, _ in totals}) > 1:
        told = ", ".join(f"{where} has {total}" for total, where in sorted(totals)[:6])
        raise data.error(f"TP+FP+TN+FN must be the same in all tables: {told}")


def _check_table(data: _Data, table: Any, count: int, where: str) -> None:
    if not isinstance(table, list) or len(table) != count:
        got = len(table) if isinstance(table, list) else class_name(table)
        text = f"{where} must have a row for each of the {count} thresholds"
        raise data.error(f"{text}, got {got}")
    for place, row in enumerate(table):
        fits = isinstance(row, list) and len(row) == 4
        if not fits or not all(_is_count(item) for item in row):
            text = f"{where}[{place}] must be four whole numbers TP, FP, TN, FN"
            raise data.error(f"{text}, got {row!r:.100}")
        first = table[0]
        if row[0] + row[3] != first[0] + first[3]:
            text = "TP+FN must be the same at all thresholds of a class"
            raise data.error(f"{text}; it changes at {where}[{place}]")
        if row[1] + row[2] != first[1] + first[2]:
            text = "TN+FP must be the same at all thresholds of a class"
            raise data.error(f"{text}; it changes at {where}[{place}]")


def _is_count(item: Any) -> bool:
    return _is_number(item) and item >= 0 and item == item // 1


def _check_residuals(data: _Data) -> None:
    data.edges(len(data.counts("bin_counts")), "bin_counts")


def _check_predictions(data: _Data) -> None:
    counts = data.counts("bin_counts")
    for key in ("bin_averages", "bin_errors"):
        found = data.numbers(key, gaps=True)
        if len(found) != len(counts):
            text = f"{key!r} and 'bin_counts' must be equally long"
            raise data.error(f"{text}: {len(found)} and {len(counts)}")
        for place, (item, count) in enumerate(zip(found, counts, strict=True)):
            if item is None and count:
                text = f"{key!r} has no number for bin {place}"
                raise data.error(f"{text}, which is not empty")
    data.edges(len(counts), "bin_counts")


_CHECKS: dict[str, Callable[[_Data], None]] = {
    "confusion_matrix": _check_matrix,
    "accuracy_table": _check_accuracy,
    "residuals": _check_residuals,
    "predictions": _check_predictions,
}
