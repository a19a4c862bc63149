"""Histograms count as NumPy does, without it, too."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import MlogWarning
from mlog.run.histograms import histogram, histogram_value
from tests.odd_values import INF, NAN

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
