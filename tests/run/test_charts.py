"""The four charts of Azure ML v1, built from data."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mlog.errors import MlogWarning
from mlog.run.charts import accuracy_table, confusion_matrix, predictions, residuals
from mlog.run.envelopes import check
from tests.odd_values import NAN

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
        ([0, 1], [0.5, NAN], None, r"must lie in \[0, 1\]; some are NaN"),
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
    counts, edges = np.histogram(np.array(predicted) - np.array(true), bins)
    wanted = {"bin_edges": edges.tolist(), "bin_counts": counts.tolist()}
    assert found["data"] == wanted
    assert check("residuals", found) == found


@given(pairs_of_numbers, st.integers(1, 9))
def test_predictions_have_mean_and_deviation_of_each_bin(
    pairs: list[tuple[int, int]], bins: int
) -> None:
    true, predicted = map(list, zip(*pairs, strict=True))
    found = predictions(true, predicted, bins)
    data = found["data"]
    counts, edges = np.histogram(true, bins)
    assert (data["bin_edges"], data["bin_counts"]) == (edges.tolist(), counts.tolist())
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
