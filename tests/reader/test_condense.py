"""A series in few numbers: nothing that stands out is lost."""

import math
from array import array
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.condense import columns_of, summarize

NAN, INF = math.nan, math.inf

steps_and = st.lists(st.tuples(st.integers(-(2**53), 2**53), st.floats()), max_size=60)


class TestColumns:
    """A long series becomes columns that keep what stands out."""

    @given(steps_and, st.integers(1, 20))
    def test_each_point_is_in_a_column(
        self, series: list[tuple[int, float]], most: int
    ) -> None:
        """Its value lies between the column's least and greatest, or is counted."""
        steps, values = [s for s, _ in series], [v for _, v in series]
        columns = columns_of(steps, values, most)
        assert sum(column.count for column in columns) == len(series)
        for step, value in series:
            own = [c for c in columns if c.first <= step <= c.last]
            if math.isnan(value):
                assert any(c.nan for c in own)
            elif math.isinf(value):
                assert any(c.up if value > 0 else c.down for c in own)
            else:
                assert any(c.low <= value <= c.high for c in own)

    @given(steps_and, st.integers(1, 20))
    def test_there_are_no_more_than_asked_for_from_left_to_right(
        self, series: list[tuple[int, float]], most: int
    ) -> None:
        columns = columns_of([s for s, _ in series], [v for _, v in series], most)
        assert len(columns) <= max(most, 0)
        assert all(a.last <= b.first for a, b in pairwise(columns))

    def test_few_points_are_a_column_each(self) -> None:
        assert [c.end for c in columns_of([1, 2, 3], [5, 6, 7], 3)] == [5, 6, 7]

    def test_columns_are_equally_wide_and_empty_places_have_none(self) -> None:
        columns = columns_of([0, 1, 98, 99, 100], [1, 2, 3, 4, 5], 4)
        assert [(c.first, c.last) for c in columns] == [(0, 1), (98, 100)]

    def test_the_end_is_the_last_value_by_step(self) -> None:
        (column,) = columns_of([3, 1, 2], [30, 10, 20], 1)
        assert (column.end, column.low, column.high) == (30, 10, 30)

    def test_points_of_one_step_are_one_column(self) -> None:
        (column,) = columns_of([7] * 9, range(9), 4)
        assert (column.low, column.high, column.count) == (0, 8, 9)


class TestSummary:
    """A series in some numbers."""

    def test_of_a_series(self) -> None:
        found = summarize([10, 20, 30, 40], [3.0, NAN, 1.0, 2.0])
        assert (found.count, found.last, found.last_step) == (4, 2, 40)
        assert (found.low, found.low_step, found.high, found.high_step) == (
            1,
            30,
            3,
            10,
        )
        assert (found.nan, found.up, found.down) == (1, 0, 0)

    def test_infinities_are_no_extremes(self) -> None:
        found = summarize([0, 1, 2], [INF, 5, -INF])
        assert (found.low, found.high, found.up, found.down) == (5, 5, 1, 1)
        assert found.last == -INF

    def test_of_nothing(self) -> None:
        found = summarize([], [])
        assert found.count == 0
        assert math.isnan(found.last)

    def test_sum_that_overflows_hides_no_value(self) -> None:
        assert summarize([0, 1], [1.7e308, 1.7e308]).nan == 0
        assert summarize([0, 1], [1.7e308, 1.7e308]).high == 1.7e308

    @pytest.mark.parametrize(
        "values",
        [[1, 2, 3], (1.0, 2, True + 2), array("d", [1, 2, 3]), np.array([1, 2, 3])],
    )
    def test_any_sequence_of_numbers_will_do(self, values: Any) -> None:
        assert summarize(np.arange(3), values).high == 3

    def test_what_is_no_number_counts_as_nan(self) -> None:
        found = summarize(range(4), [None, "x", 10**400, -(10**400)])
        assert (found.nan, found.up, found.down) == (2, 1, 1)

    def test_steps_that_no_axis_can_show_are_replaced_by_the_index(self) -> None:
        assert summarize([NAN, 5, INF], [7, 8, 9]).last_step == 2

    def test_series_has_to_match_its_steps(self) -> None:
        with pytest.raises(ValueError, match="as many steps as values, got 1, 2"):
            summarize([1], [1, 2])
