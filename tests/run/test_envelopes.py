"""Charts that were built elsewhere are checked, and made plain."""

import copy
import json
from typing import Any

import numpy as np
import pytest

from mlog.run.charts import accuracy_table, confusion_matrix, predictions, residuals
from mlog.run.envelopes import KINDS, check
from tests.odd_values import INF, NAN

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
