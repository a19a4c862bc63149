"""The four charts of Azure ML v1, built from data. Pure; `envelopes` says what they are.

Source: azureml-core 1.61, `Run.log_confusion_matrix` and the three others.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from math import fsum, isfinite, sqrt
from typing import Any

from mlog.errors import warn_once
from mlog.plain import class_name, describe, safe_str
from mlog.run.envelopes import envelope_of
from mlog.run.histograms import Bins, edges_of, histogram
from mlog.run.images import grid_of
from mlog.run.tables import cell, items_of

__all__ = ["accuracy_table", "confusion_matrix", "predictions", "residuals"]


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
    return envelope_of("confusion_matrix", data)


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
    return envelope_of("accuracy_table", data)


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
    return envelope_of("residuals", {"bin_edges": edges, "bin_counts": counts})


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
    edges = edges_of([actual for actual, _ in pairs], bins, None)
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
    return envelope_of("predictions", data)


# --- classes -----------------------------------------------------------------------


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


# --- probabilities -----------------------------------------------------------------


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
    if any(value != value for value in flat):
        raise ValueError("probabilities must lie in [0, 1]; some are NaN")
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


# --- numbers -----------------------------------------------------------------------


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
