"""Curves in characters: nothing is lost, and the axes say what is where."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog.reader.braille import Range, braille_plot, range_of

NAN, INF = math.nan, math.inf

finite = st.floats(allow_nan=False, allow_infinity=False)


def drawn(values: list[float], **options: object) -> list[str]:
    """Draw values over 0, 1, 2, … ."""
    size = {"width": 40, "height": 6, **options}
    return braille_plot(range(len(values)), values, **size)  # type: ignore[arg-type]


def rows(lines: list[str]) -> list[str]:
    """Return the plot itself, without axes and marks."""
    return [line.partition(edge)[2] for line in lines for edge in "┤│" if edge in line]


def dots(lines: list[str]) -> int:
    cells = (ord(c) - 0x2800 for line in rows(lines) for c in line if c != " ")
    return sum(cell.bit_count() for cell in cells)


def test_the_whole_picture() -> None:
    assert drawn([1, 3, 2]) == [
        "3 ┤               ⢀⡠⠒⠉⠒⠢⠤⣀⡀",
        "  │            ⢀⠤⠊⠁       ⠈⠉⠒⠢⠤⢄⣀",
        "  │         ⣀⠤⠊⠁                 ⠉⠑⠒⠤⢄⣀",
        "2 ┤      ⣀⠔⠊                           ⠉",
        "  │   ⣀⠔⠊",
        "1 ┤⡠⠔⠉",
        "  └┬─────────────────┬─────────────────┬",
        "   0                 1                 2",
    ]


class TestNothingIsLost:
    """Each column reaches from its least to its greatest value."""

    @pytest.mark.parametrize("place", [0, 1, 4_999, 7_777, 9_999])
    @pytest.mark.parametrize("height", [9.0, -9.0])
    def test_a_spike_stands_out(self, place: int, height: float) -> None:
        values = [0.0] * 10_000
        values[place] = height
        plot = rows(drawn(values))
        edge = plot[0] if height > 0 else plot[-1]
        column = round(place / 9_999 * (len(max(plot, key=len)) - 1))
        assert edge[max(0, column - 1) : column + 2].strip()
        assert len(edge.strip()) <= 2

    @settings(max_examples=50)
    @given(st.lists(finite, min_size=1, max_size=200))
    def test_least_and_greatest_are_at_the_edges(self, values: list[float]) -> None:
        plot = rows(drawn(values))
        assert len(plot) == 6
        if min(values) < max(values):
            assert plot[0].strip()
            assert plot[-1].strip()
        else:
            assert dots(drawn(values)) >= 1

    @settings(max_examples=50)
    @given(
        st.lists(st.floats(), max_size=200),
        st.integers(24, 150),
        st.integers(3, 30),
        st.booleans(),
    )
    def test_any_values_fit_any_size(
        self, values: list[float], width: int, height: int, log: bool
    ) -> None:
        lines = drawn(values, width=width, height=height, log=log)
        assert all(len(line) <= width for line in lines)
        assert all(line.isprintable() for line in lines)


class TestMarks:
    """What is not finite stands above and below the plot, and not in its scale."""

    def test_each_kind_has_its_mark(self) -> None:
        lines = drawn([0, NAN, 1, INF, 2, -INF, 3])
        assert lines[0].split() == ["×", "↑"]
        assert lines[-1].split() == ["↓"]
        assert [line[0] for line in lines if "┤" in line] == ["2", "0"]

    def test_there_is_a_gap_where_no_value_is(self) -> None:
        assert dots(drawn([1, 1, 1])) > dots(drawn([1, NAN, 1])) > 0

    def test_without_marks_there_is_no_line_for_them(self) -> None:
        assert len(drawn([0, 1])) == 6 + 2

    def test_log_scale_marks_what_is_not_above_zero(self) -> None:
        lines = drawn([0, 1, 10, 100], log=True)
        assert lines[-1].split() == ["↓"]
        assert [line.split()[0] for line in lines if "┤" in line] == ["100", "10", "1"]


class TestAxes:
    """Round numbers, at the places where they belong."""

    def test_labels_are_round(self) -> None:
        lines = drawn([step / 7 for step in range(1_001)], height=12)
        labels = [line.split()[0] for line in lines if "┤" in line]
        assert labels == ["100", "50", "0"]
        assert lines[-1].split() == ["0", "500", "1000"]

    def test_steps_are_whole(self) -> None:
        assert drawn([1, 2])[-1].split() == ["0", "1"]

    def test_several_plots_can_have_the_same_axes(self) -> None:
        series = [([0, 1], [0.0, 1.0]), ([5, 10], [-9.0, 9.0])]
        within = range_of(series)
        assert within == Range(0, 10, -9, 9)
        first, second = (braille_plot(s, v, within=within) for s, v in series)
        assert first[-1] == second[-1]
        assert [r.split()[0] for r in first if "┤" in r] == ["5", "0", "-5"]

    def test_range_knows_what_is_not_finite(self) -> None:
        assert range_of([]) is None
        assert range_of([([], [])]) is None
        found = range_of([([3], [NAN])])
        assert found is not None
        assert math.isnan(found.low)


class TestNothingToDraw:
    """Then words say so."""

    def test_words(self) -> None:
        assert drawn([]) == ["no points"]
        assert drawn([NAN, INF]) == ["no finite values"]
        assert drawn([-1, 0], log=True) == ["no values above 0"]

    @pytest.mark.parametrize("size", [{"width": 23}, {"height": 2}])
    def test_too_small_a_picture_is_an_error(self, size: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="at least 24 × 3"):
            drawn([1], **size)
