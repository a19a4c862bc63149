"""Histograms and the four charts of Azure ML v1: built from data, and checked."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mlog.errors import MlogWarning
from mlog.run.charts import (
    KINDS,
    accuracy_table,
    check,
    confusion_matrix,
    histogram,
    histogram_value,
    predictions,
    residuals,
)
from tests.odd_values import INF, NAN


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may be told again."""
    monkeypatch.setattr("mlog.errors._told", {})


# --- histograms --------------------------------------------------------------------

numbers = st.one_of(st.integers(-1_000, 1_000), st.floats(-1e6, 1e6, width=32))
edges_lists = st.lists(st.integers(-50, 50), min_size=2, max_size=10).map(sorted)
ranges = st.none() | st.tuples(st.floats(-100, -1), st.floats(1, 100))


def by_numpy(values: Any, **options: Any) -> tuple[list[Any], list[Any]]:
    counts, edges = np.histogram(values, **options)
    return edges.tolist(), counts.tolist()


@given(st.lists(numbers), st.integers(1, 50), ranges)
def test_counts_are_those_of_numpy(
    values: list[Any], bins: int, limits: tuple[float, float] | None
) -> None:
    """With values on the edges, and none at all."""
    wanted = by_numpy(np.array(values, dtype="f8"), bins=bins, range=limits)
    assert histogram(values, bins=bins, range=limits) == wanted


@given(st.lists(st.integers(-60, 60)), edges_lists)
def test_counts_between_given_edges_are_those_of_numpy(
    values: list[int], edges: list[int]
) -> None:
    """Also where an edge comes twice."""
    found = histogram(values, bins=edges)
    assert found == by_numpy(values, bins=edges)
    assert histogram(np.array(values, dtype="i8"), bins=edges) == found


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1))
def test_weights_count(pairs: list[tuple[int, int]]) -> None:
    values, weights = map(list, zip(*pairs, strict=True))
    wanted = by_numpy(values, bins=3, weights=weights)
    assert histogram(values, bins=3, weights=weights) == wanted
    assert histogram(np.array(values), bins=3, weights=weights) == wanted
    floats = [0.5 * weight for weight in weights]
    assert histogram(values, bins=3, weights=floats) == by_numpy(
        values, bins=3, weights=floats
    )


def test_the_last_bin_is_closed() -> None:
    assert histogram([0, 1, 2, 3], bins=3) == ([0.0, 1.0, 2.0, 3.0], [1, 1, 2])


@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f2", "f4", "f8"])
def test_an_array_of_any_type_and_shape_is_counted(dtype: str) -> None:
    values = np.array([[0, 1], [1, 1]], dtype=dtype)
    assert histogram(values, bins=2) == ([0.0, 0.5, 1.0], [1, 3])
    assert histogram(values.tolist(), bins=2) == ([0.0, 0.5, 1.0], [1, 3])


def test_numpy_may_choose_the_bins_of_an_array() -> None:
    values = np.arange(100.0)
    assert histogram(values, bins="auto") == by_numpy(values, bins="auto")
    with pytest.raises(ValueError, match="needs values in a NumPy array"):
        histogram([1, 2], bins="auto")


@pytest.mark.parametrize("make", [list, np.array])
def test_what_is_not_finite_is_left_out(make: Any) -> None:
    values = make([1.0, NAN, 3.0, INF, -INF])
    with pytest.warns(MlogWarning, match="3 of 5 values of a histogram are NaN"):
        found = histogram(values, bins=2, weights=[1, 5, 1, 5, 5])
    assert found == ([1.0, 2.0, 3.0], [1, 1])


@pytest.mark.parametrize("values", [[], [NAN], np.array([])])
def test_no_values_are_counted_as_none(values: Any) -> None:
    if len(values):
        with pytest.warns(MlogWarning):
            found = histogram(values, bins=2)
    else:
        found = histogram(values, bins=2)
    assert found == ([0.0, 0.5, 1.0], [0, 0])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bins": 0}, "bins must be at least 1, got 0"),
        ({"bins": 10_000}, "at most 9,999 bins, got 10,000"),
        ({"bins": range(10_002)}, "at most 9,999 bins, got 10,001"),
        ({"bins": [1]}, "two or more, got 1"),
        ({"bins": [2, 1]}, "must not decrease"),
        ({"bins": [0, NAN]}, "must be finite"),
        ({"range": (1, 0)}, "the lower one first"),
        ({"range": (0, INF)}, "two finite numbers"),
        ({"weights": [1]}, "as many as values: 1 weights, 2 values"),
    ],
)
def test_bins_that_make_no_histogram_are_refused(options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        histogram([1, 2], **options)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.0, 5e-324], "too many bins for the range: 10"),
        ([-1.7e308, 1.7e308], "too wide for bins"),
    ],
)
def test_a_range_that_has_no_bins_is_refused(values: list[float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        histogram(values)


def test_the_bins_may_be_a_number_of_numpy() -> None:
    assert histogram([0, 1], bins=np.int64(2)) == histogram([0, 1], bins=2)
    assert histogram([0, 1], bins=np.array([0, 1])) == histogram([0, 1], bins=[0, 1])


def test_a_histogram_may_be_counted_already() -> None:
    counts, edges = np.histogram([1, 2, 2], bins=2)
    found = histogram_value(edges=edges, counts=counts)
    assert found == {
        "type": "mlog.histogram",
        "edges": [1.0, 1.5, 2.0],
        "counts": [1, 2],
    }
    assert histogram_value([1, 2, 2], bins=2) == found


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "needs values, or edges and counts"),
        ({"values": [1], "counts": [1]}, "and not both"),
        ({"edges": [1, 2]}, "counts is missing"),
        ({"counts": [1]}, "edges is missing"),
        ({"edges": [1, 2], "counts": [1, 2]}, "2 edges, 2 counts"),
        ({"edges": [2, 1], "counts": [1]}, "edges must not decrease"),
        ({"edges": [1, NAN], "counts": [1]}, "edges must be finite"),
        ({"edges": [[1, 2]], "counts": [1]}, "edges must be a flat list"),
        ({"edges": range(10_001), "counts": range(10_000)}, "at most 9,999 bins"),
    ],
)
def test_edges_and_counts_must_fit(options: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        histogram_value(**options)


# --- confusion matrix --------------------------------------------------------------

classes = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(st.tuples(classes, classes), min_size=1).filter(
        lambda p: len(set(sum(p, ()))) > 1
    )
)
def test_the_matrix_is_that_of_sklearn(pairs: list[tuple[str, str]]) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    found = confusion_matrix(true, predicted)
    labels = sorted({*true, *predicted})
    wanted = metrics.confusion_matrix(true, predicted, labels=labels).tolist()
    assert found["data"] == {"class_labels": labels, "matrix": wanted}
    assert check("confusion_matrix", found) == found


def test_labels_give_the_order() -> None:
    """A pair with another class is not counted, as in sklearn."""
    true, predicted, labels = [1, 2, 3, 1], np.array([1, 1, 3, 2]), [2, 1]
    found = confusion_matrix(true, predicted, labels)
    wanted = metrics.confusion_matrix(true, predicted, labels=labels).tolist()
    assert found["data"] == {"class_labels": ["2", "1"], "matrix": wanted}


def test_classes_of_several_types_have_an_order() -> None:
    found = confusion_matrix([1, "a"], ["a", True])
    assert found["data"]["class_labels"] == ["1", "a"]


def test_no_samples_are_no_classes() -> None:
    assert confusion_matrix([], [])["data"] == {"class_labels": [], "matrix": []}


def test_a_column_of_classes_is_a_list() -> None:
    """As scikit-learn and pandas may give it: shape (n, 1)."""
    column = np.array([[0], [1]])
    assert confusion_matrix(column, [0, 1]) == confusion_matrix([0, 1], [0, 1])


@pytest.mark.parametrize(
    ("true", "predicted", "labels", "error", "text"),
    [
        ([1], [1, 2], None, ValueError, "equally many: 1 and 2"),
        ([1], [1], [1, 1], ValueError, "labels must differ"),
        ([None], [1], None, ValueError, "y_true must hold one class each; item 0"),
        ([[0, 1]], [1], None, ValueError, "y_true must hold one class each"),
        ("abc", "abc", None, TypeError, "y_true must be a list of classes, got str"),
        (5, [5], None, TypeError, "expected a list"),
    ],
)
def test_wrong_classes_are_refused(
    true: Any, predicted: Any, labels: Any, error: Any, text: str
) -> None:
    with pytest.raises(error, match=text):
        confusion_matrix(true, predicted, labels)


# --- accuracy table ----------------------------------------------------------------


@st.composite
def classified(draw: st.DrawFn) -> tuple[list[int], list[list[float]]]:
    """Return the classes of some samples and the probabilities of three."""
    true = draw(st.lists(st.integers(0, 2), min_size=1, max_size=20))
    row = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=3, max_size=3)
    return true, draw(st.lists(row, min_size=len(true), max_size=len(true)))


@settings(max_examples=20)
@given(classified())
def test_counts_are_those_of_sklearn_at_each_threshold(
    data: tuple[list[int], list[list[float]]],
) -> None:
    true, probabilities = data
    found = accuracy_table(true, probabilities, labels=[0, 1, 2], points=5)
    assert check("accuracy_table", found) == found
    table = found["data"]
    assert table["class_labels"] == ["0", "1", "2"]
    for name in ("probability", "percentile"):
        thresholds = table[f"{name}_thresholds"]
        for label in range(3):
            scores = np.array(probabilities)[:, label]
            actual = np.array(true) == label
            for threshold, row in zip(
                thresholds, table[f"{name}_tables"][label], strict=True
            ):
                matrix = metrics.confusion_matrix(
                    actual, scores >= threshold, labels=[False, True]
                )
                (tn, fp), (fn, tp) = matrix.tolist()
                assert row == [tp, fp, tn, fn]


@given(classified(), st.integers(2, 20))
def test_percentiles_are_those_of_numpy(
    data: tuple[list[int], list[list[float]]], points: int
) -> None:
    found = accuracy_table(*data, labels=[0, 1, 2], points=points)["data"]
    shares = np.linspace(0, 1, points)
    assert found["probability_thresholds"] == pytest.approx(shares.tolist())
    wanted = np.quantile(np.array(data[1]), shares).tolist()
    assert found["percentile_thresholds"] == pytest.approx(wanted)


def test_the_roc_curve_can_be_drawn_from_it() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 500)
    scores = np.round((rng.random(500) + true) / 2, 2)
    table = accuracy_table(true, scores)["data"]["probability_tables"][1]
    fall_out = [fp / (fp + tn) for _, fp, tn, _ in table]
    recall = [tp / (tp + fn) for tp, _, _, fn in table]
    area = metrics.auc(fall_out, recall)
    assert area == pytest.approx(metrics.roc_auc_score(true, scores), abs=1e-3)


@pytest.mark.parametrize("make", [list, np.array, lambda p: np.array(p)[:, None]])
def test_probabilities_of_two_classes_may_be_a_flat_list(make: Any) -> None:
    """They are those of the second class."""
    flat = [0.25, 0.75, 0.5]
    found = accuracy_table(["no", "yes", "no"], make(flat), points=3)
    both = [[1 - p, p] for p in flat]
    assert found == accuracy_table(["no", "yes", "no"], both, points=3)
    assert found["data"]["class_labels"] == ["no", "yes"]


def test_a_class_that_never_comes_up_keeps_its_column() -> None:
    found = accuracy_table([0, 0], [[0.5, 0.25, 0.25]] * 2, points=2)
    assert found["data"]["class_labels"] == ["0", "1", "2"]
    assert found["data"]["probability_tables"][2] == [[0, 2, 0, 0], [0, 0, 2, 0]]


@pytest.mark.parametrize(
    ("true", "probabilities", "labels", "text"),
    [
        ([0, 1], [[0.5, 0.5]], None, r"must have the shape 2×C.* got 1×2"),
        ([0], [[[0.5]]], None, "got 1×1×1"),
        ([0, 1], [0.5, 1.5], None, "smallest is 0.5, the largest 1.5"),
        ([0, 1], [0.5, NAN], None, r"must lie in \[0, 1\]"),
        (["a", "b", "c"], [[0.5, 0.5]] * 3, None, "2 columns of probabilities and 3"),
        (["a"], [[0.5, 0.5]], None, "labels= names the class of each column"),
        (["a", "c"], [[0.5, 0.5]] * 2, ["a", "b"], r"not in labels: \['c'\]"),
    ],
)
def test_classes_and_probabilities_must_fit(
    true: Any, probabilities: Any, labels: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        accuracy_table(true, probabilities, labels)


def test_a_table_has_two_thresholds_or_more() -> None:
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        accuracy_table([0, 1], [0.1, 0.9], points=1)


# --- residuals and predictions -----------------------------------------------------

pairs_of_numbers = st.lists(
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1
)


@given(pairs_of_numbers, st.integers(1, 9))
def test_residuals_are_predicted_minus_actual(
    pairs: list[tuple[int, int]], bins: int
) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    found = residuals(true, predicted, bins)
    edges, counts = by_numpy(np.array(predicted) - np.array(true), bins=bins)
    assert found["data"] == {"bin_edges": edges, "bin_counts": counts}
    assert check("residuals", found) == found


@given(pairs_of_numbers, st.integers(1, 9))
def test_predictions_have_mean_and_deviation_of_each_bin(
    pairs: list[tuple[int, int]], bins: int
) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    found = predictions(true, predicted, bins)
    data = found["data"]
    assert (data["bin_edges"], data["bin_counts"]) == by_numpy(true, bins=bins)
    places = np.digitize(true, data["bin_edges"][1:-1])
    for place, count in enumerate(data["bin_counts"]):
        inside = np.array(predicted)[places == place]
        if count:
            assert data["bin_averages"][place] == pytest.approx(inside.mean())
            assert data["bin_errors"][place] == pytest.approx(inside.std())
        else:
            assert data["bin_averages"][place] is data["bin_errors"][place] is None
    assert check("predictions", found) == found


def test_pairs_that_are_not_finite_are_left_out() -> None:
    with pytest.warns(MlogWarning, match="1 of 3 pairs of log_predictions"):
        found = predictions([0.0, 1.0, NAN], [0.0, 1.0, 1.0], bins=1)
    assert found["data"]["bin_counts"] == [2]


@pytest.mark.parametrize("build", [residuals, predictions])
def test_numbers_must_be_equally_many(build: Any) -> None:
    with pytest.raises(
        ValueError, match="y_true and y_pred must be equally many: 1 and 2"
    ):
        build([1], [1, 2])


# --- checks ------------------------------------------------------------------------

CHARTS: dict[str, dict[str, Any]] = {
    "confusion_matrix": confusion_matrix(["a", "b"], ["a", "a"]),
    "accuracy_table": accuracy_table([0, 1], [0.2, 0.9], points=3),
    "residuals": residuals([1, 2], [2, 2], 2),
    "predictions": predictions([1, 3], [2, 2], 3),
}


def test_there_is_a_chart_of_each_kind() -> None:
    assert set(CHARTS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_may_be_json_text(kind: str) -> None:
    assert check(kind, json.dumps(CHARTS[kind])) == CHARTS[kind]
    assert check(kind, json.dumps(CHARTS[kind]).encode()) == CHARTS[kind]


def test_arrays_become_lists() -> None:
    chart = copy.deepcopy(CHARTS["confusion_matrix"])
    chart["data"]["matrix"] = np.array(chart["data"]["matrix"])
    chart["data"]["class_labels"] = ("a", np.str_("b"))
    found = check("confusion_matrix", chart)
    assert found == CHARTS["confusion_matrix"]
    assert type(found["data"]["matrix"][0][0]) is int


def test_further_keys_are_kept() -> None:
    chart = copy.deepcopy(CHARTS["residuals"])
    chart["data"]["mean"] = np.float64(0.5)
    chart["source"] = "automl"
    found = check("residuals", chart)
    assert (found["source"], found["data"]["mean"]) == ("automl", 0.5)


def test_nan_is_no_number_of_an_empty_bin() -> None:
    """`numpy.mean` of nothing is NaN, which JSON does not have."""
    chart = copy.deepcopy(CHARTS["predictions"])
    assert chart["data"]["bin_averages"][1] is None
    chart["data"]["bin_averages"][1] = NAN
    assert check("predictions", chart) == CHARTS["predictions"]


def changed(kind: str, **data: Any) -> dict[str, Any]:
    chart = copy.deepcopy(CHARTS[kind])
    chart["data"] |= data
    return chart


def test_the_passed_chart_is_not_changed() -> None:
    chart = changed("predictions", bin_averages=[2.0, NAN, 2.0])
    check("predictions", chart)
    assert repr(chart["data"]["bin_averages"]) == "[2.0, nan, 2.0]"


GOOD = [[2, 1, 3, 0], [1, 0, 4, 1]]


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("confusion_matrix", {"matrix": [[1, 2]]}, "a row for each of the 2 .* got 1"),
        (
            "confusion_matrix",
            {"matrix": [[1, 2], [3]]},
            "square; row 1 must have 2 .* got 1",
        ),
        ("confusion_matrix", {"matrix": [1, 2]}, "row 0 must have 2 numbers, got int"),
        ("confusion_matrix", {"matrix": [[1, 2], [3, "x"]]}, "finite numbers; row 1"),
        ("confusion_matrix", {"matrix": [[1, 2], [3, NAN]]}, "finite numbers; row 1"),
        ("confusion_matrix", {"matrix": [[1, 2], [3, True]]}, "finite numbers; row 1"),
        ("confusion_matrix", {"matrix": 5}, "'matrix' must be a list, got int"),
        (
            "confusion_matrix",
            {"class_labels": [1, 2]},
            "must hold strings; item 0 is 1",
        ),
        ("accuracy_table", {"probability_tables": []}, "each of the 2 classes, got 0"),
        (
            "accuracy_table",
            {"percentile_thresholds": [0.5]},
            r"percentile_tables\[0\] must have a row for each of the 1 .* got 3",
        ),
        (
            "accuracy_table",
            {"probability_thresholds": [0.5], "probability_tables": [[[1, 2]]] * 2},
            r"probability_tables\[0\]\[0\] must be four whole numbers",
        ),
        (
            "accuracy_table",
            {
                "probability_thresholds": [0.5],
                "probability_tables": [[[1, 2, 3, -1]]] * 2,
            },
            "four whole numbers TP, FP, TN, FN",
        ),
        (
            "accuracy_table",
            {
                "probability_thresholds": [0, 1],
                "probability_tables": [GOOD, [[2, 1, 3, 0], [1, 0, 4, 0]]],
            },
            r"TP\+FN must be the same .* changes at probability_tables\[1\]\[1\]",
        ),
        (
            "accuracy_table",
            {
                "probability_thresholds": [0, 1],
                "probability_tables": [GOOD, [[2, 1, 3, 0], [1, 1, 4, 1]]],
            },
            r"TN\+FP must be the same .* changes at probability_tables\[1\]\[1\]",
        ),
        (
            "accuracy_table",
            {"probability_thresholds": [0, 1], "probability_tables": [GOOD, GOOD]},
            r"TP\+FP\+TN\+FN must be the same in all tables: percentile_tables\[0\] has 2",
        ),
        (
            "residuals",
            {"bin_counts": [1]},
            "one more than 'bin_counts': 3 edges, 1 counts",
        ),
        ("residuals", {"bin_edges": [2, 1, 0]}, "'bin_edges' must not decrease"),
        (
            "residuals",
            {"bin_edges": [0, 1, INF]},
            "'bin_edges' must hold finite numbers",
        ),
        ("residuals", {"bin_counts": [1, -1]}, "'bin_counts' must not be negative"),
        ("residuals", {"bin_counts": "12"}, "'bin_counts' must be a list, got str"),
        ("predictions", {"bin_errors": [1]}, "must be equally long: 1 and 3"),
        (
            "predictions",
            {"bin_averages": [None, None, 2.0]},
            "'bin_averages' has no number for bin 0, which is not empty",
        ),
        ("predictions", {"bin_edges": [0, 1]}, "2 edges, 3 counts"),
    ],
)
def test_a_chart_that_breaks_a_rule_is_refused(kind: str, data: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{kind}: .*{text}"):
        check(kind, changed(kind, **data))


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_the_data_is_needed(kind: str) -> None:
    for key in CHARTS[kind]["data"]:
        chart = copy.deepcopy(CHARTS[kind])
        del chart["data"][key]
        with pytest.raises(ValueError, match=f"{key!r} is missing from 'data'"):
            check(kind, chart)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ({}, ValueError, "'schema_type' is missing from the value"),
        ({"schema_type": "residuals"}, ValueError, "'schema_version' is missing"),
        (
            {"schema_type": "x", "schema_version": "1", "data": {}},
            ValueError,
            "'schema_type' must be 'residuals', got 'x'",
        ),
        (
            {"schema_type": "residuals", "schema_version": "1", "data": []},
            ValueError,
            "'data' must be a mapping, got list",
        ),
        ("{", ValueError, "the text is no JSON"),
        ("[1]", ValueError, "must be an object"),
        (5, TypeError, "expected a mapping or JSON text, got int"),
    ],
)
def test_what_is_no_chart_is_refused(value: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        check("residuals", value)
