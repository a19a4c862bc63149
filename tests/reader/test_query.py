"""Filters: which runs a line of text chooses."""

import math
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.query import parse_filter
from mlog.reader.state import RunState, WriterState
from mlog.widths import text_width


def writer(host: str, main: bool, started: str = "") -> WriterState:
    return WriterState(
        "", 1, None, 1, host, 7, started, None, None, None, main, alive=False
    )


@pytest.fixture
def state() -> RunState:
    """A run that the filters below are asked about."""
    return RunState(
        Path("/runs/digits/20261123-182700-3f9a1c"),
        "20261123-182700-3f9a1c",
        experiment="digits",
        name="second try (wide)",
        status="Completed",
        created="2026-11-23T18:27:00.000000Z",
        ended="2026-11-23T18:28:30.000000Z",
        attempt=2,
        params={
            "lr": 0.001,
            "layers": 3,
            "model": "resnet",
            "shuffle": True,
            "seed": None,
            "sizes": [8, 16],
            "optim.name": "adam",
            "big": 2**53 + 1,
        },
        tags={"owner": "me", "gpu": None, "fold": "3", "note": "5 apples"},
        properties={"commit": "3f9a1c0"},
        metrics={
            "loss": {"last": 0.25, "min": 0.125, "max": 4, "count": 100},
            "val loss": {"last": 7, "min": 5, "max": 9, "count": 3},
            "train/acc": {"last": 0.9, "count": 1},
            "diverged": {"last": "NaN", "count": 2},
            "huge": {"last": "Infinity", "count": 1},
            "loss.max": {"last": 77, "count": 1},
        },
        writers=[writer("node1", True), writer("loader", False), writer("node2", True)],
    )


class TestFields:
    """Facts of a run, and what it was given or has logged, by name."""

    @pytest.mark.parametrize(
        "text",
        [
            "id=20261123-182700-3f9a1c",
            "name='second try (wide)'",
            "name~wide",
            "experiment=digits",
            "status=Completed",
            "status=completed",
            "attempt=2",
            "duration=90",
            "duration>=1.5e1",
            "host=node2",
            "metric.loss<0.3",
            "metric.loss.last<0.3",
            "metric.loss.min=0.125",
            "metric.loss.count>=100",
            "metric.train/acc=0.9",
            'metric."val loss"=7',
            'metric."val loss".max=9',
            "metric.'val loss'.count=3",
            "param.lr=1e-3",
            "param.model=resnet",
            "param.optim.name=adam",
            "tag.owner=me",
            "property.commit=3f9a1c0",
        ],
    )
    def test_are_found(self, state: RunState, text: str) -> None:
        assert parse_filter(text)(state)
        assert not parse_filter(f"not {text}")(state)

    def test_a_metric_whose_own_name_ends_like_a_statistic_comes_first(
        self, state: RunState
    ) -> None:
        assert parse_filter("metric.loss.max=77")(state)
        assert parse_filter('metric."loss.max"=77')(state)

    def test_a_name_in_quotes_is_not_taken_apart(self, state: RunState) -> None:
        assert parse_filter("metric.loss.min<1")(state)
        assert not parse_filter('metric."loss.min"<1')(state)

    def test_a_host_is_that_of_the_last_main_writer(self, state: RunState) -> None:
        state.writers = [writer("loader", False)]
        assert parse_filter("host=loader")(state)
        state.writers = []
        assert parse_filter("host!=loader")(state)

    @pytest.mark.parametrize(
        "field",
        [
            *("metric.none", "metric.none.min", "metric.train/acc.min"),
            *("param.none", "tag.none", "property.none"),
        ],
    )
    @pytest.mark.parametrize("sign", ["=", "==", "<", "<=", ">", ">=", "~"])
    @pytest.mark.parametrize("value", ["1", "text", '""'])
    def test_what_is_not_there_is_only_unequal(
        self, state: RunState, field: str, sign: str, value: str
    ) -> None:
        assert not parse_filter(f"{field}{sign}{value}")(state)
        assert parse_filter(f"{field}!={value}")(state)

    @pytest.mark.parametrize(
        ("field", "value"), [("created", "2026"), ("duration", "0"), ("host", "0")]
    )
    def test_facts_may_be_missing_too(self, field: str, value: str) -> None:
        empty = RunState(Path("/runs/e/r"), "r")
        fits = f"{field}>={value} or {field}<={value} or {field}~{value}"
        assert not parse_filter(fits)(empty)
        assert parse_filter(f"{field}!={value}")(empty)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("created>=yesterday", "expected a time like 2026-11-23"),
            ("created<23:37", "got '23:37'"),
            ("duration>x", "expected a number"),
            ("attempt=last", "expected a number"),
            ("attempt:3..1", "expected the lesser number first, got '3..1'"),
            ("mse<3", "so metric.mse, param.mse, tag.mse"),
        ],
    )
    def test_what_can_never_fit_is_refused(self, text: str, expected: str) -> None:
        """With a caret below it."""
        with pytest.raises(ValueError, match=re.escape(expected)) as caught:
            parse_filter(text)
        assert str(caught.value).endswith("^")

    def test_the_caret_stands_below_wide_characters_too(self) -> None:
        with pytest.raises(ValueError, match="got the end") as caught:
            parse_filter("日本 and (")
        assert str(caught.value).split("\n")[-1] == f"  {' ' * 10}^"


class TestComparing:
    """Numbers as numbers, texts as texts, times as far as they are given."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("param.layers=3.0", True),
            ("param.layers='3'", True),
            ("param.layers<10", True),
            ("param.layers=three", False),
            ("param.layers!=three", True),
            ("param.layers<three", False),
            ("param.layers>three", False),
            ("param.layers~3", True),
            ("param.big=9007199254740993", True),
            ("param.big=9007199254740992", False),
            ("param.lr=.001", True),
            ("param.lr<-5", False),
            ("metric.huge>1e308", True),
            ("metric.huge=inf", True),
            ("metric.diverged=nan", True),
            ("metric.diverged!=NaN", False),
            ("metric.diverged<1", False),
            ("metric.diverged!=1", True),
            ("metric.loss=nan", False),
        ],
    )
    def test_of_a_number(self, state: RunState, text: str, expected: bool) -> None:
        assert parse_filter(text)(state) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("tag.owner==me", True),
            ("tag.owner=Me", False),
            ("tag.owner<my", True),
            ("tag.owner~e", True),
            ("tag.owner~''", True),
            ("tag.fold=3.0", True),
            ("tag.fold<10", True),
            ("tag.fold<'10'", False),
            ("tag.fold='3.0'", False),
            ("tag.note=5", False),
            ("tag.note!=5", True),
            ("tag.note<6", False),
            ("tag.note>4", False),
            ("tag.note~5", True),
            ("name>=a", True),
            ("id>2026", True),
        ],
    )
    def test_of_a_text(self, state: RunState, text: str, expected: bool) -> None:
        assert parse_filter(text)(state) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("param.shuffle=true", True),
            ("param.shuffle=True", True),
            ("param.shuffle=1", False),
            ("param.shuffle<z", False),
            ("param.seed=null", True),
            ("tag.gpu=null", True),
            ("tag.gpu!=x", True),
            ("param.sizes=[8,16]", True),
            ("param.sizes~16", True),
            ("param.sizes>0", False),
        ],
    )
    def test_of_anything_else(self, state: RunState, text: str, expected: bool) -> None:
        assert parse_filter(text)(state) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("created=2026-11-23", True),
            ("created>=2026", True),
            ("created>2026-11-22", True),
            ("created>2026-11-23", False),
            ("created<=2026-11-23", True),
            ("created<2026-11-24", True),
            ("created>2026-11-23T18:26", True),
            ("created~T18:27", True),
            ("created!=2026-12", True),
        ],
    )
    def test_of_a_time(self, state: RunState, text: str, expected: bool) -> None:
        """A day includes all of its hours."""
        assert parse_filter(text)(state) == expected


class TestWords:
    """What stands alone is looked for in all that people call a run by."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("wide", True),
            ("WIDE", False),
            ("digits wide", True),
            ("digits narrow", False),
            ("digits -narrow", True),
            ("-wide or resnet", True),
            ("-(wide or narrow)", False),
            ("--wide", True),
            ("'second try'", True),
            ("-'second try'", False),
            ("/try .wide/", True),
            ("/TRY/", False),
            ("/TRY/i", True),
            ("-/^2026/", False),
            ("3f9a1c", True),
            ("completed", True),
            ("node2", True),
            ("owner=me", None),
            ("'owner=me'", True),
            ("'shuffle=true'", True),
            ("cuda:0", False),
            ("wide tag.owner=me or attempt=7", True),
            ("tag.owner=me tag.fold=3 -metric.loss>9", True),
            ("not wide", False),
        ],
    )
    def test_are_found(self, state: RunState, text: str, expected: bool | None) -> None:
        """In any case, unless a capital letter asks for itself."""
        if expected is None:  # a field that runs do not have
            with pytest.raises(ValueError, match="no field"):
                parse_filter(text)
        else:
            assert parse_filter(text)(state) == expected


class TestColon:
    """`:` is "equals", with stars, or a range; `~` also takes a pattern."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("status:Comp*", True),
            ("status:completed", True),
            ("status:comp", False),
            ("experiment:[a-d]igits", True),
            ("name:/^second/", True),
            ("name~/^try/", False),
            ("name~/TRY/i", True),
            ("name:'second*'", False),
            ("metric.loss:0.2..0.3", True),
            ("metric.loss:0.3..", False),
            ("metric.loss:..0.25", True),
            ("metric.loss:0.25", True),
            ("metric.none:0..9", False),
            ("attempt:2..2", True),
            ("created:2026-11..2026-12", True),
            ("created:2026-11-23T18*", True),
            ("created:..2026-11-22", False),
            ("tag.fold:1..3", True),
            ("tag.owner:m*", True),
            ("tag.owner:a..n", True),
            ("param.sizes~/8,1/", True),
        ],
    )
    def test_means(self, state: RunState, text: str, expected: bool) -> None:
        assert parse_filter(text)(state) == expected


class TestLogic:
    """`not` binds closer than `and`, `and` closer than `or`."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("attempt=1 and attempt=1 or attempt=2", True),
            ("attempt=1 and (attempt=1 or attempt=2)", False),
            ("attempt=2 or attempt=1 and attempt=1", True),
            ("not attempt=1 and attempt=2", True),
            ("not (attempt=1 and attempt=2)", True),
            ("not not attempt=2", True),
            ("((attempt=2))", True),
            ("attempt=2 AND NOT attempt=1 Or attempt=3", True),
            ("  attempt\t=\n2  ", True),
            ("metric.loss<3000 and tag.owner=me and not"
             "(status=Failed or param.lr>=1e-2)", True),
        ],
    )  # fmt: skip
    def test_is_that_of_other_languages(
        self, state: RunState, text: str, expected: bool
    ) -> None:
        assert parse_filter(text)(state) == expected

    def test_a_keyword_in_quotes_is_a_text(self) -> None:
        state = RunState(Path("/runs/e/r"), "r", name="and", tags={"or": "not"})
        assert parse_filter("name='and' and tag.or='not'")(state)

    def test_long_chains_are_no_trouble(self, state: RunState) -> None:
        assert parse_filter(" and ".join(["attempt=2"] * 5_000))(state)
        assert not parse_filter(" or ".join(["attempt=1"] * 5_000))(state)

    @given(st.text(min_size=1), st.text())
    def test_any_name_and_any_value_can_be_quoted(self, name: str, value: str) -> None:
        def quoted(text: str) -> str:
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        fits = parse_filter(f"tag.{quoted(name)} = {quoted(value)}")
        assert fits(RunState(Path("/runs/e/r"), "r", tags={name: value}))
        assert not fits(RunState(Path("/runs/e/r"), "r", tags={name: value + "x"}))


Model = tuple[str, Callable[[RunState], bool]]
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
BLANKS = st.sampled_from([" ", "  ", "\t", "\n"])


@st.composite
def comparisons(draw: st.DrawFn) -> Model:
    """Make a comparison of a param with a number, and what it means."""
    name = draw(st.sampled_from("abc"))
    sign = draw(st.sampled_from(list(SIGNS)))
    value = draw(st.integers(-2, 2))
    blank = draw(st.sampled_from(["", " "]))

    def means(state: RunState) -> bool:
        if name not in state.params:
            return sign == "!="
        return SIGNS[sign](state.params[name], value)

    return f"param.{name}{blank}{sign}{blank}{value}", means


def combined(inner: st.SearchStrategy[Model]) -> st.SearchStrategy[Model]:
    """Combine filters by `and`, `or` and `not`, always in brackets."""

    def both(left: Model, right: Model, blank: str) -> Model:
        text = f"({left[0]}){blank}and{blank}({right[0]})"
        return text, lambda state: left[1](state) and right[1](state)

    def either(left: Model, right: Model, blank: str) -> Model:
        text = f"({left[0]}){blank}or{blank}({right[0]})"
        return text, lambda state: left[1](state) or right[1](state)

    def neither(one: Model, blank: str) -> Model:
        return f"not{blank}({one[0]})", lambda state: not one[1](state)

    return st.one_of(
        st.builds(both, inner, inner, BLANKS),
        st.builds(either, inner, inner, BLANKS),
        st.builds(neither, inner, BLANKS),
    )


@given(
    filter=st.recursive(comparisons(), combined, max_leaves=12),
    params=st.dictionaries(st.sampled_from("abc"), st.integers(-2, 2)),
)
def test_a_filter_means_what_python_means(
    filter: Model, params: dict[str, int]
) -> None:
    text, means = filter
    state = RunState(Path("/runs/e/r"), "r", params=params)
    assert parse_filter(text)(state) == means(state)


class TestErrors:
    """A filter that cannot be understood is refused, and the place is shown."""

    @pytest.mark.parametrize(
        ("text", "place", "why"),
        [
            ("", 0, "a word or a field, like metric.loss or status, got the end"),
            ("  ", 0, "got the end"),
            ("metric.mse <", 12, "expected a value, got the end"),
            ("metric.mse < and tag.a=1", 13, "a keyword in quotes), got 'and'"),
            (
                "metric.mse",
                10,
                "expected one of = == != < <= > >= ~ (the word itself in",
            ),
            ("status", 6, "(the word itself in quotes), got the end"),
            ("tag.a=b tag.c", 13, "expected one of = == != < <= > >= ~"),
            ("tag.a=b && tag.c=d", 8, "expected and (a text && in quotes), got '&&'"),
            ("wide | long", 5, "expected or (a text | in quotes), got '|'"),
            ("tag.a=b(tag.c=d)", 7, "expected a blank (a text with brackets in it"),
            ("- wide", 1, "expected a word right behind the -"),
            ("wide -", 6, "expected a word right behind the -"),
            ("name: wide", 5, "expected a value, got"),
            ("''", 0, "expected a text"),
            ("/wide", 0, "expected / and a blank at the pattern's end"),
            ("/a/b", 0, "a text that begins with it goes in quotes"),
            ("/a(b/", 2, "expected a pattern, got missing )"),
            ("/(a+)+b/", 5, "expected no repeat or choice inside of a repeat"),
            ("name~/x[/", 7, "expected a pattern, got unterminated character set"),
            ("(tag.a=b", 8, "expected and, or, or ), got the end"),
            ("tag.a=b)", 7, "expected and, or, or the end, got ')'"),
            ("not", 3, "expected a word or a field"),
            ("= 3", 0, "a word or a field, like metric.loss or status, got '='"),
            ("tag.a =~ b", 7, "expected a value, got '~'"),
            ("tag.a ! b", 6, "(the word itself in quotes), got '!'"),
            ("name = 'wide", 7, "no closing '"),
            ('name = "wide\\"', 7, 'no closing "'),
            ("mse < 3", 0, "no field 'mse'; there are id, name, experiment, status"),
            ("metrics.mse < 3", 0, "metric.NAME, param.NAME, tag.NAME, property.NAME"),
            ("tag.=3", 0, "expected a name after tag."),
            ("tag.''=3", 0, "expected a name after tag."),
            ("(" * 60 + "id=1", 51, "at most 50 nots and brackets"),
            ("not " * 60 + "id=1", 204, "at most 50 nots and brackets"),
        ],
    )
    def test_point_at_the_place(self, text: str, place: int, why: str) -> None:
        with pytest.raises(ValueError, match="filter: ") as caught:
            parse_filter(text)
        first, shown, caret = str(caught.value).split("\n")
        assert why in first
        assert (shown, caret) == (f"  {text}", f"  {' ' * place}^")

    def test_show_a_filter_of_several_lines_on_one(self) -> None:
        with pytest.raises(ValueError, match="filter: ") as caught:
            parse_filter("tag.a=b\n\tand \x1b[31m =")
        assert str(caught.value).count("\n") == 2
        assert "\x1b" not in str(caught.value).split("\n")[1]

    def test_a_very_deep_filter_is_refused_like_any_other(self) -> None:
        with pytest.raises(ValueError, match="at most 50"):
            parse_filter("(" * 100_000)

    @given(st.text() | st.text("()=!<>~\"'\\ andortag.x1", max_size=30))
    def test_any_text_is_a_filter_or_a_clear_error(self, text: str) -> None:
        try:
            fits = parse_filter(text)
        except ValueError as exc:
            first, shown, caret = str(exc).split("\n")
            assert first.startswith("filter: ")
            assert len(caret) <= text_width(shown) + 1
        else:
            assert fits(RunState(Path("/runs/e/r"), "r")) in (True, False)

    @given(
        found=st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.integers())
        | st.just({1, 2}),
        sign=st.sampled_from([*SIGNS, "==", "~"]),
        value=st.sampled_from(["1", "x", "'1'", "nan", "1e999", "9" * 5_000, "null"]),
    )
    def test_whatever_a_run_holds_is_compared(
        self, found: Any, sign: str, value: str
    ) -> None:
        state = RunState(Path("/runs/e/r"), "r", params={"a": found})
        state.metrics = {"a": {"last": found}}
        for field in ("param.a", "metric.a"):
            answer = parse_filter(f"{field}{sign}{value}")(state)
            assert answer in (True, False)


@given(st.floats(), st.floats())
def test_every_float_is_compared_as_python_does(found: float, value: float) -> None:
    """Also with the last of its digits; NaN equals only itself."""
    state = RunState(Path("/runs/e/r"), "r", params={"a": found})
    for sign, means in SIGNS.items():
        expected = means(found, value)
        if math.isnan(found) and math.isnan(value):
            expected = sign == "="
        assert parse_filter(f"param.a {sign} {value!r}")(state) == expected
