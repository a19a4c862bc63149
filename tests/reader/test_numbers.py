"""Numbers as people read them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.numbers import exact, nice_ticks, short

NAN, INF = math.nan, math.inf

finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.floats()
moderate = st.floats(-1e6, 1e6)


class TestTicks:
    """Axes have round numbers."""

    @pytest.mark.parametrize(
        ("low", "high", "most", "expected"),
        [
            (0, 10, 5, [0, 2, 4, 6, 8, 10]),
            (0, 1, 2, [0, 0.5, 1]),
            (-0.3, 0.3, 3, [-0.2, 0, 0.2]),
            (0.1, 6.7, 2, [2, 4, 6]),
            (120_071, 124_950, 2, [122_000, 124_000]),
            (5, 5, 4, [5]),
            (-1.7e308, 1.7e308, 2, [-1e308, 0, 1e308]),
        ],
    )
    def test_are_multiples_of_1_2_5(
        self, low: float, high: float, most: int, expected: list[float]
    ) -> None:
        assert nice_ticks(low, high, most) == expected

    @given(finite, finite, st.integers(1, 8))
    def test_rise_inside_of_the_range(
        self, one: float, other: float, most: int
    ) -> None:
        low, high = sorted((one, other))
        ticks = nice_ticks(low, high, most)
        assert 1 <= len(ticks) <= 101
        assert all(a < b for a, b in pairwise(ticks))
        room = (high / 2 - low / 2) * 1e-6
        assert all(low - room <= tick <= high + room for tick in ticks)

    @given(moderate, st.floats(1e-3, 1e6), st.integers(2, 8))
    def test_are_at_least_two(self, low: float, span: float, most: int) -> None:
        assert len(nice_ticks(low, low + span, most)) >= 2


class TestNumbers:
    """Numbers for people, in short and with all digits."""

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (0.0, "0"),
            (5.0, "5"),
            (0.123456, "0.1235"),
            (0.00012341, "0.0001234"),
            (1.2e-7, "1.2e-7"),
            (9.99999, "10"),
            (41230.0, "41,230"),
            (-1234.56, "-1,235"),
            (1e12, "1e12"),
            (NAN, "NaN"),
            (-INF, "-Infinity"),
        ],
    )
    def test_short(self, value: float, expected: str) -> None:
        assert short(value) == expected

    @given(anything)
    def test_exact_reads_back(self, value: float) -> None:
        assert float(exact(value)) == value or math.isnan(value)

    @given(st.floats(-1e300, 1e300))
    def test_short_is_near(self, value: float) -> None:
        assert float(short(value).replace(",", "")) == pytest.approx(value, rel=1e-3)
        assert len(short(value)) <= 12
