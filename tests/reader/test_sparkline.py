"""A line of blocks: what stands out stays."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.sparkline import sparkline

NAN, INF = math.nan, math.inf

finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.floats()


class TestSparkline:
    """One line of eight heights."""

    def test_heights(self) -> None:
        assert sparkline(range(8)) == "▁▂▃▄▅▆▇█"

    def test_what_is_not_finite_has_its_own_marks(self) -> None:
        assert sparkline([0, NAN, 1, INF, -INF]) == "▁×█↑↓"

    @pytest.mark.parametrize(
        ("values", "expected"), [([], ""), ([7], "▄"), ([7, 7], "▄▄"), ([NAN], "×")]
    )
    def test_nothing_one_and_constant(self, values: list[float], expected: str) -> None:
        assert sparkline(values) == expected

    @given(st.lists(finite, min_size=1), st.integers(2, 40))
    def test_extremes_stay(self, values: list[float], width: int) -> None:
        line = sparkline(values, width)
        assert len(line) <= width
        if max(values) / 2 > min(values) / 2:
            assert {"▁", "█"} <= set(line)

    def test_spike_stays_at_its_place(self) -> None:
        values = [0.5] * 10_000
        values[7_500] = 9.0
        assert sparkline(values, 8) == "▁▁▁▁▁▁█▁"

    @given(st.lists(anything, min_size=1), st.integers(2, 40))
    def test_what_is_not_finite_stays(self, values: list[float], width: int) -> None:
        """A stretch shows one of its marks, and the extremes farther off stay too."""
        line = sparkline(values, width)
        assert len(line) <= width
        assert any(not math.isfinite(v) for v in values) == bool(set(line) & {*"×↑↓"})

    def test_spike_beside_nan_stays(self) -> None:
        values = [0.5] * 1000
        values[300:302] = [9.0, NAN]
        line = sparkline(values, 10)
        assert "█×" in line

    def test_width_has_to_hold_a_pair(self) -> None:
        with pytest.raises(ValueError, match="width must be at least 2, got 1"):
            sparkline([1], 1)
