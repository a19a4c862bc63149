"""Histograms and the four charts of Azure ML v1: built from data, and checked. Pure.

A chart is an envelope `{"schema_type", "schema_version", "data"}`:

| schema_type | data | rules |
|---|---|---|
| `confusion_matrix` | `class_labels` (C), `matrix` (C×C; a row is a true class) | square |
| `accuracy_table` | `probability_tables`, `percentile_tables` (C×M×4: TP, FP, TN, FN), `probability_thresholds`, `percentile_thresholds` (M), `class_labels` (C) | whole numbers >= 0; their sum is the same everywhere; TP+FN and TN+FP are the same at all thresholds of a class |
| `residuals` | `bin_edges` (n+1), `bin_counts` (n) | of predicted - actual |
| `predictions` | `bin_averages`, `bin_errors`, `bin_counts` (n each), `bin_edges` (n+1) | over bins of the true values: mean and standard deviation of the predicted ones; null in an empty bin |

Histograms count as NumPy does: bins are half-open, the last one is closed.

Source: azureml-core 1.61, `Run.log_confusion_matrix` and the three others;
`numpy.histogram`.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress, pairwise
from math import fsum, isfinite, isnan, prod, sqrt
from typing import Any, Literal, TypeAlias

from mlog.errors import warn_once
from mlog.plain import MAX_ITEMS, class_name, describe, safe_str
from mlog.run.images import Grid, grid_of
from mlog.run.tables import cell, items_of

__all__ = [
    "KINDS",
    "Bins",
    "Kind",
    "accuracy_table",
    "check",
    "confusion_matrix",
    "histogram",
    "histogram_value",
    "predictions",
    "residuals",
]

Kind: TypeAlias = Literal[
    "confusion_matrix", "accuracy_table", "residuals", "predictions"
]
"""The `schema_type` of a chart."""

Bins: TypeAlias = "int | Sequence[float] | Any"
"""How many bins, or their edges."""

_VERSIONS = {
    "confusion_matrix": "1.0.0",
    "accuracy_table": "1.0.1",
    "residuals": "1.0.0",
    "predictions": "1.0.0",
}
KINDS = tuple(_VERSIONS)
"""All of them."""

_MAX_BINS = MAX_ITEMS - 1


# --- histograms --------------------------------------------------------------------


def histogram_value(
    values: Any = None,
    *,
    bins: Bins = 10,
    range: tuple[float, float] | None = None,
    weights: Any = None,
    edges: Any = None,
    counts: Any = None,
) -> dict[str, Any]:
    """Return the `mlog.histogram` value of values, or of bins that were counted before.

    Args:
        values, bins, range, weights: As for `histogram`.
        edges, counts: Of a histogram that is there already; instead of `values`.

    Raises:
        ValueError: Both or neither were given, or they do not fit together.
        TypeError: They are no numbers.
    """
    if (values is None) == (edges is None and counts is None):
        raise ValueError("a histogram needs values, or edges and counts, and not both")
    if values is not None:
        found = histogram(values, bins=bins, range=range, weights=weights)
        return {"type": "mlog.histogram", "edges": found[0], "counts": found[1]}
    ready_edges = _numbers(edges, "edges")
    ready_counts = _numbers(counts, "counts")
    _check_edges(ready_edges, len(ready_counts), "edges", "counts")
    if len(ready_counts) > _MAX_BINS:
        raise _too_many(len(ready_counts))
    return {"type": "mlog.histogram", "edges": ready_edges, "counts": ready_counts}


def histogram(
    values: Any,
    *,
    bins: Bins = 10,
    range: tuple[float, float] | None = None,
    weights: Any = None,
) -> tuple[list[Any], list[Any]]:
    """Return edges and counts, as `numpy.histogram` counts.

    NumPy itself counts what is in its arrays. NaN and the infinities are left out,
    with one warning.

    Args:
        values: Numbers in any shape.
        bins: How many bins of one width, or their edges, which must not decrease. For
            an array, also the name of one of NumPy's rules, like "auto".
        range: Lowest and highest edge; by default the least and greatest value. What
            lies outside is not counted.
        weights: What each value counts for, in the shape of the values.

    Raises:
        ValueError: Bins, range or weights that make no histogram.
        TypeError: No numbers.
    """
    if isinstance(bins, int) and bins > _MAX_BINS:
        raise _too_many(bins)
    grid = grid_of(values, "a histogram")
    weighed = None if weights is None else grid_of(weights, "weights")
    if weighed is not None and prod(weighed.shape) != prod(grid.shape):
        raise ValueError(
            f"weights must be as many as values: {prod(weighed.shape)} weights, "
            f"{prod(grid.shape)} values"
        )
    count = _count_array if grid.is_array else _count_list
    edges, counts = count(grid, bins, range, weighed)
    if len(counts) > _MAX_BINS:
        raise _too_many(len(counts))
    return edges, counts


def _too_many(count: int) -> ValueError:
    return ValueError(f"a histogram has at most {_MAX_BINS:,} bins, got {count:,}")


def _count_array(
    grid: Grid, bins: Bins, limits: tuple[float, float] | None, weights: Grid | None
) -> tuple[list[Any], list[Any]]:
    numpy: Any = sys.modules["numpy"]
    values = grid.values.ravel()
    weighed = None if weights is None else numpy.asarray(weights.values).ravel()
    if grid.kind == "b":
        values = values.astype("u1")
    if grid.kind == "f":
        values = values.astype("f8")
        keep = numpy.isfinite(values)
        if not keep.all():
            _tell_left_out(int((~keep).sum()), values.size)
            values = values[keep]
            weighed = None if weighed is None else weighed[keep]
    counts, edges = numpy.histogram(values, bins, limits, weights=weighed)
    return edges.tolist(), counts.tolist()


def _count_list(
    grid: Grid, bins: Bins, limits: tuple[float, float] | None, weights: Grid | None
) -> tuple[list[Any], list[Any]]:
    numbers: list[Any] = grid.flat()
    weighed: list[Any] = [1] * len(numbers) if weights is None else weights.flat()
    keep = [isfinite(number) for number in numbers]
    if not all(keep):
        _tell_left_out(keep.count(False), len(keep))
        numbers = list(compress(numbers, keep))
        weighed = list(compress(weighed, keep))
    edges = _edges(numbers, bins, limits)
    zero = 0.0 if weights is not None and weights.kind == "f" else 0
    return edges, _counted(numbers, edges, weighed, zero)


def _tell_left_out(gone: int, count: int) -> None:
    text = f"{gone} of {count} values of a histogram are NaN or infinite"
    warn_once("non-finite histogram", f"{text}; they are left out")


def _edges(
    numbers: list[Any], bins: Bins, limits: tuple[float, float] | None
) -> list[Any]:
    if isinstance(bins, str):
        raise ValueError(
            f"bins={bins!r} needs values in a NumPy array; give a number of bins or their edges"
        )
    if not isinstance(bins, int):
        single = cell(bins)
        if not isinstance(single, int) or hasattr(bins, "__len__"):
            return _given_edges(bins)
        bins = single
    if bins < 1 or isinstance(bins, bool):
        raise ValueError(f"bins must be at least 1, got {bins}")
    low, high = _outer_edges(numbers, limits)
    width = (high - low) / bins
    found = [place * width + low for place in range(bins)] + [high]
    if not all(a < b for a, b in pairwise(found)):
        raise ValueError(f"too many bins for the range: {bins} from {low} to {high}")
    return found


def _given_edges(bins: Any) -> list[Any]:
    found = _numbers(bins, "bins")
    if len(found) < 2:
        raise ValueError(f"edges of bins must be two or more, got {len(found)}")
    if any(a > b for a, b in pairwise(found)):
        raise ValueError("edges of bins must not decrease")
    return found


def _outer_edges(
    numbers: list[Any], limits: tuple[float, float] | None
) -> tuple[float, float]:
    if limits is not None:
        low, high = float(limits[0]), float(limits[1])
        if not (isfinite(low) and isfinite(high)) or low > high:
            text = "range must be two finite numbers, the lower one first"
            raise ValueError(f"{text}, got {limits!r}")
    elif numbers:
        low, high = float(min(numbers)), float(max(numbers))
    else:
        low, high = 0.0, 1.0
    if low == high:
        return low - 0.5, high + 0.5
    if not isfinite(high - low):
        raise ValueError(f"the range from {low} to {high} is too wide for bins")
    return low, high


def _counted(
    numbers: list[Any], edges: list[Any], weights: list[Any], zero: float
) -> list[Any]:
    """Count; a value on an edge belongs to the bin that begins there."""
    counts: list[Any] = [zero] * (len(edges) - 1)
    low, high, last = edges[0], edges[-1], len(counts) - 1
    for number, weight in zip(numbers, weights, strict=True):
        if low <= number <= high:
            counts[min(bisect_right(edges, number) - 1, last)] += weight
    return counts


# --- charts from data --------------------------------------------------------------


def confusion_matrix(y_true: Any, y_pred: Any, labels: Any = None) -> dict[str, Any]:
    """Return the chart that counts for each true class what was predicted.

    Args:
        y_true, y_pred: Classes, equally many.
        labels: Order of the classes; by default all that come up, sorted. A pair with
            another class is not counted.

    Raises:
        ValueError: They are not equally many, or labels come twice.
        TypeError: They are no lists.
    """
    true, predicted = _pairs(y_true, y_pred, "y_pred")
    order = _labels(labels, [*true, *predicted])
    places = {label: place for place, label in enumerate(order)}
    matrix = [[0] * len(order) for _ in order]
    for actual, found in zip(true, predicted, strict=True):
        if actual in places and found in places:
            matrix[places[actual]][places[found]] += 1
    data = {"class_labels": [_label(each) for each in order], "matrix": matrix}
    return _envelope("confusion_matrix", data)


def accuracy_table(
    y_true: Any, probabilities: Any, labels: Any = None, *, points: int = 101
) -> dict[str, Any]:
    """Return the chart that ROC, precision-recall and lift curves are drawn from.

    Each class is counted against the rest; what has at least the probability of a
    threshold is positive.

    Args:
        y_true: Classes, n of them.
        probabilities: n×C, a column for each class. (n,) or n×1: of the second of two
            classes.
        labels: The classes in the order of the columns; by default those of `y_true`,
            sorted, else 0 to C-1.
        points: How many thresholds: from 0 to 1, evenly, and at as many percentiles of
            all probabilities.

    Raises:
        ValueError: Shapes and classes that do not fit, or no probabilities.
        TypeError: They are no lists.
    """
    true = _classes(y_true, "y_true")
    columns = _columns(probabilities, len(true))
    order = _column_labels(labels, true, len(columns))
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    even = [place / (points - 1) for place in range(points)]
    everything = sorted(value for column in columns for value in column)
    spread = [_quantile(everything, share) for share in even]
    ranked = [
        _ranked(column, [each == label for each in true])
        for column, label in zip(columns, order, strict=True)
    ]
    data = {
        "probability_tables": [_table(*each, even) for each in ranked],
        "percentile_tables": [_table(*each, spread) for each in ranked],
        "probability_thresholds": even,
        "percentile_thresholds": spread,
        "class_labels": [_label(label) for label in order],
    }
    return _envelope("accuracy_table", data)


def residuals(y_true: Any, y_pred: Any, bins: Bins = 10) -> dict[str, Any]:
    """Return the chart that counts the errors (predicted - actual) of a regression.

    Args:
        y_true, y_pred: Numbers, equally many.
        bins: As for `histogram`.

    Raises:
        ValueError: They are not equally many, or the bins make no histogram.
        TypeError: They are no numbers.
    """
    true, predicted = _number_pairs(y_true, y_pred)
    errors = [found - actual for actual, found in zip(true, predicted, strict=True)]
    edges, counts = histogram(errors, bins=bins)
    return _envelope("residuals", {"bin_edges": edges, "bin_counts": counts})


def predictions(y_true: Any, y_pred: Any, bins: Bins = 10) -> dict[str, Any]:
    """Return the chart of predicted over true values, with error bars.

    Args:
        y_true, y_pred: Numbers, equally many. Pairs with a NaN or an infinity are left
            out, with one warning.
        bins: Of the true values, as for `histogram`.

    Raises:
        ValueError: They are not equally many, or the bins make no histogram.
        TypeError: They are no numbers.
    """
    pairs = _finite_pairs(*_number_pairs(y_true, y_pred))
    edges = _edges([actual for actual, _ in pairs], bins, None)
    groups: list[list[float]] = [[] for _ in edges[1:]]
    for actual, found in pairs:
        if edges[0] <= actual <= edges[-1]:
            place = min(bisect_right(edges, actual) - 1, len(groups) - 1)
            groups[place].append(found)
    data = {
        "bin_averages": [_mean(group) for group in groups],
        "bin_errors": [_deviation(group) for group in groups],
        "bin_counts": [len(group) for group in groups],
        "bin_edges": edges,
    }
    return _envelope("predictions", data)


def _envelope(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"schema_type": kind, "schema_version": _VERSIONS[kind], "data": data}


def _pairs(y_true: Any, other: Any, name: str) -> tuple[list[Any], list[Any]]:
    true, found = _classes(y_true, "y_true"), _classes(other, name)
    _check_same(len(true), len(found), name)
    return true, found


def _check_same(true: int, found: int, name: str) -> None:
    if true != found:
        raise ValueError(
            f"y_true and {name} must be equally many: {true} and {found} values"
        )


def _classes(values: Any, name: str) -> list[Any]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} must be a list of classes, got {class_name(values)}")
    found = [cell(item) for item in items_of(values)]
    for place, item in enumerate(found):
        if isinstance(item, list) and len(item) == 1:  # a column of shape (n, 1)
            found[place] = item = item[0]
        if item is None or isinstance(item, list):
            text = f"{name} must hold one class each; item {place} is {item!r}"
            raise ValueError(text)
    return found


def _labels(labels: Any, seen: list[Any]) -> list[Any]:
    if labels is None:
        return _sorted(set(seen))
    found = _classes(labels, "labels")
    if len(set(found)) != len(found):
        raise ValueError(f"labels must differ, got {describe(found)[:200]}")
    return found


def _sorted(classes: Iterable[Any]) -> list[Any]:
    found = list(classes)
    try:
        return sorted(found)
    except TypeError:  # numbers and texts
        return sorted(found, key=safe_str)


def _label(label: Any) -> str:
    return safe_str(label)


def _columns(probabilities: Any, count: int) -> list[list[float]]:
    """Return the probabilities of each class."""
    grid = grid_of(probabilities, "probabilities")
    if len(grid.shape) not in (1, 2) or grid.shape[0] != count:
        told = "×".join(map(str, grid.shape))
        raise ValueError(
            f"probabilities must have the shape {count}×C, a row for each of y_true, "
            f"got {told}"
        )
    flat = [float(value) for value in grid.flat()]
    if not all(0 <= value <= 1 for value in flat):
        raise ValueError(
            "probabilities must lie in [0, 1]; the smallest is "
            f"{min(flat)}, the largest {max(flat)}"
        )
    width = grid.shape[1] if len(grid.shape) == 2 else 1
    if width == 1:
        return [[1 - value for value in flat], flat]
    return [flat[place::width] for place in range(width)]


def _column_labels(labels: Any, true: list[Any], count: int) -> list[Any]:
    order = _labels(labels, true)
    known = set(map(repr, range(count)))
    if labels is None and len(order) < count and {safe_str(t) for t in order} <= known:
        order = list(range(count))
    if len(order) != count:
        raise ValueError(
            f"there are {count} columns of probabilities and {len(order)} classes "
            f"{describe(order)[:200]}; labels= names the class of each column"
        )
    unknown = set(true) - set(order)
    if unknown:
        raise ValueError(
            f"y_true has classes that are not in labels: {_sorted(unknown)[:10]}"
        )
    return order


def _quantile(ordered: list[float], share: float) -> float:
    """Return a percentile, between two values in proportion, as NumPy does."""
    if not ordered:
        return share
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    low, high = ordered[below], ordered[above]
    return min(low + (high - low) * (place - below), high)


def _ranked(
    column: list[float], positive: list[bool]
) -> tuple[list[float], list[float]]:
    """Return the probabilities of what is of the class and of the rest, sorted."""
    pairs = list(zip(column, positive, strict=True))
    return sorted(p for p, is_one in pairs if is_one), sorted(
        p for p, is_one in pairs if not is_one
    )


def _table(
    positives: list[float], negatives: list[float], thresholds: list[float]
) -> list[list[int]]:
    """Return TP, FP, TN and FN at each threshold."""
    found = []
    for threshold in thresholds:
        missed = bisect_left(positives, threshold)
        right = bisect_left(negatives, threshold)
        found.append([len(positives) - missed, len(negatives) - right, right, missed])
    return found


def _number_pairs(y_true: Any, y_pred: Any) -> tuple[list[Any], list[Any]]:
    true = grid_of(y_true, "y_true").flat()
    found = grid_of(y_pred, "y_pred").flat()
    _check_same(len(true), len(found), "y_pred")
    return true, found


def _finite_pairs(true: list[Any], found: list[Any]) -> list[tuple[Any, Any]]:
    pairs = list(zip(true, found, strict=True))
    kept = [pair for pair in pairs if all(map(isfinite, pair))]
    gone = len(pairs) - len(kept)
    if gone:
        text = f"{gone} of {len(pairs)} pairs of log_predictions are NaN or infinite"
        warn_once("non-finite predictions", f"{text}; they are left out")
    return kept


def _mean(group: list[float]) -> float | None:
    return fsum(group) / len(group) if group else None


def _deviation(group: list[float]) -> float | None:
    """Return the standard deviation of all there is (`numpy.std`)."""
    if not group:
        return None
    mean = fsum(group) / len(group)
    return sqrt(fsum((value - mean) ** 2 for value in group) / len(group))


# --- checks ------------------------------------------------------------------------


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
            _check_edges(self.numbers("bin_edges"), count, "'bin_edges'", repr(other))
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


def _check_edges(edges: list[Any], count: int, name: str, other: str) -> None:
    if len(edges) != count + 1:
        raise ValueError(
            f"{name} must be one more than {other}: {len(edges)} edges, {count} counts"
        )
    if not all(map(isfinite, edges)):
        raise ValueError(f"{name} must be finite numbers")
    if any(a > b for a, b in pairwise(edges)):
        raise ValueError(f"{name} must not decrease")


def _numbers(values: Any, name: str) -> list[Any]:
    """Return a flat list of finite numbers."""
    if values is None:
        raise ValueError(f"{name} is missing: a histogram needs edges and counts")
    grid = grid_of(values, name)
    found = grid.flat()
    if len(grid.shape) != 1:
        raise ValueError(f"{name} must be a flat list of numbers")
    if not all(map(isfinite, found)):
        raise ValueError(f"{name} must be finite numbers")
    return found


_CHECKS: dict[str, Callable[[_Data], None]] = {
    "confusion_matrix": _check_matrix,
    "accuracy_table": _check_accuracy,
    "residuals": _check_residuals,
    "predictions": _check_predictions,
}
