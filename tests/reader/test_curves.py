"""Pictures of one metric: nothing is lost, and nothing in a name can act."""

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog.escaping import escape
from mlog.reader.condense import columns_of
from mlog.reader.curves import markup, svg_curve

SVG = "{http://www.w3.org/2000/svg}"
NAN, INF = math.nan, math.inf

anything = st.floats()
moderate = st.floats(-1e6, 1e6)
steps_and = st.lists(st.tuples(st.integers(-(2**53), 2**53), anything), max_size=60)


def parsed(svg: str) -> ElementTree.Element:
    """Read a picture as strictly as an XML reader does."""
    return ElementTree.fromstring(svg)


def drawn(values: list[Any], **options: Any) -> ElementTree.Element:
    """Draw values over 0, 1, 2, … ."""
    return parsed(svg_curve(range(len(values)), values, title="loss", **options))


def paths(picture: ElementTree.Element, kind: str) -> str:
    """Return all of one kind of path: band, line, nan, up, down."""
    found = picture.iter(f"{SVG}path")
    return "".join(p.attrib["d"] for p in found if p.get("class") == f"mlog-{kind}")


def points(path: str) -> list[tuple[float, float]]:
    """Return the places a path goes through."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) ([-\d.]+)", path)]


def texts(picture: ElementTree.Element) -> list[str]:
    """Return the words that can be seen."""
    return ["".join(text.itertext()) for text in picture.iter(f"{SVG}text")]


def titles(picture: ElementTree.Element) -> list[str]:
    """Return the tooltips; the first is that of the whole picture."""
    return [title.text or "" for title in picture.iter(f"{SVG}title")]


class TestTexts:
    """What was logged is text, whatever it looks like."""

    def test_markup_is_escaped(self) -> None:
        assert markup("<a href='x' b=\"&\">") == (
            "&lt;a href=&#x27;x&#x27; b=&quot;&amp;&quot;&gt;"
        )

    @given(st.text(st.characters()))
    def test_any_text_is_xml(self, text: str) -> None:
        element = ElementTree.fromstring(f'<a b="{markup(text)}">{markup(text)}</a>')
        assert not list(element)


class TestCurve:
    """One metric as a picture."""

    @settings(max_examples=30)
    @given(st.lists(moderate, min_size=300, max_size=900))
    def test_band_holds_least_and_greatest_value_of_each_column(
        self, values: list[float]
    ) -> None:
        """To a tenth of a pixel, which is what coordinates are given in."""
        columns = columns_of(range(len(values)), values, 110)
        band = points(paths(drawn(values), "band"))
        if not band:
            assert all(c.low == c.high for c in columns)
            return
        upper, lower = band[: len(columns)], band[: len(columns) - 1 : -1]
        low, high = min(values), max(values)
        top, bottom = min(y for _, y in band), max(y for _, y in band)
        if high - low < 1e-3:
            return  # rounding of the values is more than that of the pixels

        def place(value: float) -> float:
            return top + (bottom - top) * (high - value) / (high - low)

        for column, (_, above), (_, below) in zip(columns, upper, lower, strict=True):
            assert above <= place(column.high) + 0.11
            assert below >= place(column.low) - 0.11

    def test_spike_reaches_the_top(self) -> None:
        """One point in a hundred thousand is the highest of the picture."""
        values = [0.5] * 100_000
        values[77_777] = 1e6
        band = points(paths(drawn(values), "band"))
        (x,) = (x for x, y in band if y == min(y for _, y in band))
        left, right = band[0][0], max(x for x, _ in band)
        assert (x - left) / (right - left) == pytest.approx(0.77777, abs=0.02)

    def test_has_at_most_a_column_for_two_pixels(self) -> None:
        rng = np.random.default_rng(1)
        line = points(paths(drawn(list(rng.random(50_000)), width=400), "line"))
        assert 150 <= len(line) <= 200

    def test_few_points_are_drawn_as_they_are(self) -> None:
        picture = drawn([1, 3, 2])
        (x0, y0), (x1, y1), (x2, y2) = points(paths(picture, "line"))
        assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
        assert y1 < y2 < y0
        assert paths(picture, "band") == ""

    def test_order_of_points_is_that_of_steps(self) -> None:
        one = svg_curve([1, 2, 3], [10, 20, 30], title="a")
        assert svg_curve([3, 1, 2], [30, 10, 20], title="a") == one

    def test_nan_is_marked_and_is_a_gap(self) -> None:
        picture = drawn([1, 2, NAN, 4, 5])
        assert paths(picture, "nan").startswith("M")
        assert paths(picture, "line").count("M") == 2
        assert "1 × NaN" in titles(picture)[0]

    def test_infinities_are_marked_at_their_edges(self) -> None:
        picture = drawn([1, INF, 2, -INF, 3])
        up, down = points(paths(picture, "up")), points(paths(picture, "down"))
        assert len(up) == len(down) == 1
        assert up[0][1] < down[0][1]
        assert {"1 × Infinity", "1 × -Infinity"} <= set(titles(picture)[0].split("; "))

    def test_nan_in_the_middle_of_many_points_is_marked(self) -> None:
        values = [1.0] * 50_000
        values[25_000] = NAN
        picture = drawn(values)
        ((x, _),) = points(paths(picture, "nan"))
        assert 120 < x < 170
        assert paths(picture, "line").count("M") == 1

    def test_marks_side_by_side_stay_apart(self) -> None:
        places = [x for x, _ in points(paths(drawn([1.0] + [NAN] * 999), "nan"))]
        assert len(places) > 10
        assert all(b - a >= 6.9 for a, b in pairwise(places))

    def test_one_point_is_a_dot(self) -> None:
        picture = drawn([0.125])
        assert len(points(paths(picture, "line"))) == 1
        assert 'stroke-linecap="round"' in svg_curve([3], [0.125], title="a")
        assert texts(picture)[:2] == ["loss", "0.125"]

    def test_constant_is_a_line_in_the_middle(self) -> None:
        picture = drawn([0.001] * 500)
        assert len({y for _, y in points(paths(picture, "line"))}) == 1
        assert "0.001" in texts(picture)[2:]

    def test_empty_says_so(self) -> None:
        picture = drawn([])
        assert "no points" in texts(picture)
        assert titles(picture) == ["loss: no points"]

    def test_nothing_finite_says_so_and_is_marked(self) -> None:
        picture = drawn([NAN, INF])
        assert "no finite values" in texts(picture)
        assert paths(picture, "nan")
        assert paths(picture, "up")

    def test_tooltip_has_exact_values(self) -> None:
        picture = parsed(svg_curve([10, 20, 30], [0.1, 1 / 3, 0.2], title="loss"))
        assert titles(picture)[0] == (
            "loss: 3 points; last 0.2 at step 30; min 0.1 at step 10; "
            "max 0.3333333333333333 at step 20"
        )
        assert "step 20: 0.3333333333333333" in titles(picture)

    def test_tooltip_of_a_column_tells_all_that_is_in_it(self) -> None:
        values = [0.5] * 1000
        values[0:2] = [NAN, 7.25]
        tips = titles(drawn(values))
        assert tips[1] == "steps 0 to 9: min 0.5, max 7.25, last 0.5, 1 × NaN"

    def test_numbers_beyond_the_reach_of_differences(self) -> None:
        ys = [y for _, y in points(paths(drawn([-1.7e308, 0, 1.7e308]), "line"))]
        assert ys[0] > ys[1] > ys[2]
        assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)

    @given(steps_and, st.booleans())
    def test_any_series_is_a_picture_inside_of_its_frame(
        self, series: list[tuple[int, float]], log: bool
    ) -> None:
        steps, values = [s for s, _ in series], [v for _, v in series]
        picture = parsed(svg_curve(steps, values, title="loss", log=log))
        for kind in ("band", "line"):
            for x, y in points(paths(picture, kind)):
                assert 0 <= x <= 260
                assert 0 <= y <= 90

    @pytest.mark.parametrize(("width", "height"), [(119, 90), (260, 59)])
    def test_too_small_is_refused(self, width: int, height: int) -> None:
        with pytest.raises(ValueError, match="at least 120 × 60 pixels, got"):
            svg_curve([1], [1], title="a", width=width, height=height)


class TestLogScale:
    """Powers of ten are equally far apart."""

    def test_powers_are_equally_far_apart(self) -> None:
        ys = [y for _, y in points(paths(drawn([1, 10, 100], log=True), "line"))]
        assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)

    def test_ticks_are_powers(self) -> None:
        labels = texts(drawn([10.0**n for n in range(-6, 3)], log=True))
        assert {"1e-6", "0.001", "1"} <= set(labels)

    def test_small_range_has_round_ticks(self) -> None:
        assert {"2", "5"} <= set(texts(drawn([1.5, 3, 7], log=True)))

    def test_what_is_not_above_zero_is_marked_below(self) -> None:
        picture = drawn([1, 0, -5, 10], log=True)
        assert paths(picture, "down")
        assert "2 not above 0, below the log scale" in titles(picture)[0]

    def test_nothing_above_zero_says_so(self) -> None:
        assert "no values above 0" in texts(drawn([0, -1], log=True))


class TestHostileNames:
    """A name is text, whatever it looks like."""

    NAMES = (
        "</title></svg><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "]]>&amp;<!--",
        "\x00\x1b]52;c;x\x07\u202e\ud800\uffff",
        "a\nb\tc",
    )

    @pytest.mark.parametrize("name", NAMES)
    def test_is_shown_as_it_is(self, name: str) -> None:
        picture = parsed(svg_curve([1, 2], [1, 2], title=name))
        used = {element.tag.removeprefix(SVG) for element in picture.iter()}
        assert used <= {"svg", "title", "text", "g", "path"}
        assert titles(picture)[0].startswith(escape(name))

    def test_long_one_is_cut_to_its_end_and_whole_in_the_tooltip(self) -> None:
        name = "group/" * 20 + "loss"
        picture = parsed(svg_curve([1, 2], [1, 2], title=name))
        assert texts(picture)[0].startswith("…")
        assert texts(picture)[0].endswith("/loss")
        assert titles(picture)[0].startswith(name)

    def test_picture_asks_for_nothing(self) -> None:
        """No id that could clash, no link, no style of the whole page."""
        svg = svg_curve(range(500), range(500), title="loss")
        address = "http://www.w3.org/2000/svg"
        assert svg.count("http") == svg.count(address) == 1
        assert not re.search(r"\b(id|href|src|url\(|<style|on\w+=)", svg)
