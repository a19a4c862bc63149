"""Filters of entries: which lines a line of text chooses."""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.entries import iter_entries
from mlog.reader.search import matches_text, misspelt, parse_search
from mlog.reader.several import may_have
from mlog.reader.sources import Source
from mlog.widths import text_width

Entry = dict[str, Any]
MAIN = Source()
RANK3 = Source("r3-a2", 2, 3, "node7", "boot", "2026-11-23T18:00:00.000000Z")

LOG: Entry = {
    "ts": "2026-11-23T18:27:00.123456Z",
    "seq": 7,
    "level": "WARNING",
    "logger": "train.data",
    "msg": "CUDA:0 out of Memory (retry 3)",
    "step": 41207,
    "file": "train.py",
    "line": 30,
    "func": "fit",
    "thread": "loader",
    "exc": {"type": "ValueError", "msg": "bad batch", "traceback": "Trace\n  File x"},
    "stack": "Stack here",
    "extra": {"fold": 2, "user": {"name": "Ann", "ids": [1, 2]}, "a.b": True},
}
METRIC: Entry = {
    "ts": "2026-11-23T18:27:01.000000Z",
    "seq": 8,
    "level": "INFO",
    "logger": "train",
    "step": 41208,
    "metric": {"loss": 3.5, "val/acc": "NaN", "val loss": 1, "huge": "Infinity"},
    "value": {"note": "diverged"},
}
EVENT: Entry = {
    "ts": "2026-11-23T18:28:00.000000Z",
    "seq": 9,
    "event": "run.end",
    "data": {"status": "Failed", "error": {"type": "OSError", "msg": "disk"}},
}


def fits(text: str, entry: Entry, source: Source = MAIN) -> bool:
    return parse_search(text)((entry, source))


class TestFields:
    """Keys of an entry, its source, and whatever has a name in it."""

    @pytest.mark.parametrize(
        "text",
        [
            *("level=WARNING", "level>=warning", "level:info..error", "level<40"),
            *("logger=train.data", "logger:train.*", "logger~data", "logger:/^tr/"),
            *("msg~Memory", "msg~/retry \\d/", "msg:CUDA*"),
            *("step=41207", "step:41200..41210", "step:41207", "step>41206.5"),
            *("seq=7", "line=30", "file=train.py", "func=fit", "thread:load*"),
            *("ts=2026-11-23", "ts>=2026-11-23T18:27", "ts:2026-11..2026-11-24"),
            *("stream=logs", "fold=2", "fold:1..3", "extra.fold>1", "user.name=Ann"),
            *("extra.user.ids~2", "a.b=true", "extra.a.b=true", "exc.type=ValueError"),
            *("none!=3", "extra.none!=x", "event!=run.end"),
        ],
    )
    def test_of_a_log_line(self, text: str) -> None:
        assert fits(text, LOG)
        assert not fits(f"not {text}", LOG)
        assert not fits(f"-{text}", LOG)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("loss>3", True),
            ("loss:3..4", True),
            ("metric.loss<3", False),
            ('metric."val loss"=1', True),
            ("'val loss'=1", True),
            ("val/acc=nan", True),
            ("val/acc>0", False),
            ("huge>1e300", True),
            ("note=diverged", True),
            ("value.note:div*", True),
            ("stream:metrics", True),
            ("data.status=Failed", False),
        ],
    )
    def test_of_a_metric(self, text: str, expected: bool) -> None:
        assert fits(text, METRIC) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            *(("event=run.end", True), ("event:run.*", True), ("stream=events", True)),
            *(("data.status=Failed", True), ("status=Failed", True)),
            *(("data.error.type=OSError", True), ("level>=error", True)),
            *(("logger=x", False), ("step>=0", False), ("logger!=x", True)),
        ],
    )
    def test_of_an_event(self, text: str, expected: bool) -> None:
        assert fits(text, EVENT) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            *(("rank=3", True), ("rank:2..4", True), ("rank=0", False)),
            *(("attempt=2", True), ("writer=r3-a2", True), ("writer:r*", True)),
            *(("host=node7", True), ("host!=node7", False)),
        ],
    )
    def test_of_who_wrote_it(self, text: str, expected: bool) -> None:
        assert fits(text, LOG, RANK3) == expected

    def test_who_is_no_rank_counts_as_rank_0(self) -> None:
        assert fits("rank=0 attempt=1 writer='' host!=x", LOG)


class TestWords:
    """They are looked for in what a line says, not in what it is made of."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("memory", True),
            ("Memory", True),
            ("MEMORY", False),
            ("memory retry", True),
            ("memory -retry", False),
            ('"out of memory"', True),
            ('"of out"', False),
            ("/retry [0-9]/", True),
            ("/memory/", False),
            ("/memory/i", True),
            ("cuda:0", True),
            ("train.data", True),
            ("valueerror", True),
            ("batch", True),
            ("stack", True),
            ("fold=2 and 'fold=2'", True),
            ("ann", True),
            ("level", False),
            ("warning", False),
            ("41207", False),
            ("train.py", False),
            ("nothing or memory", True),
            ("(nothing or memory) fold=2", True),
            ("-(nothing or memory)", False),
        ],
    )
    def test_are_found(self, text: str, expected: bool) -> None:
        assert fits(text, LOG) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            *(("run.end", True), ("disk", True), ("status=Failed", True)),
            *(("'status=failed'", True), ("completed", False)),
        ],
    )
    def test_are_found_in_events(self, text: str, expected: bool) -> None:
        assert fits(text, EVENT) == expected

    def test_names_and_values_of_metrics_are_found(self) -> None:
        assert fits("'loss=3.5' val/acc 'note=div' infinity", METRIC)

    def test_matches_text_takes_a_text_as_it_stands(self) -> None:
        assert matches_text("(retry 3)")((LOG, Source()))
        assert not matches_text("-retry")((LOG, Source()))


class TestMisspelt:
    """Every name may be a field of the caller's own; some look like others."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("levl>=warning", {"levl": "level"}),
            ("Level>=warning", {"Level": "level"}),
            ("loger=x or trhead=y", {"loger": "logger", "trhead": "thread"}),
            ("level>=warning lost>3", {}),
            ("extra.levl=3", {}),
            ("word -other", {}),
        ],
    )
    def test_names_close_to_those_of_entries(
        self, text: str, expected: dict[str, str]
    ) -> None:
        assert misspelt(parse_search(text)) == expected


class TestErrors:
    """They point at the place."""

    @pytest.mark.parametrize(
        ("text", "place", "why"),
        [
            ("", 0, "expected a word or a field, like level>=warning or loss>3"),
            ("level>=loud", 7, "'loud' is no level; expected DEBUG"),
            ("level:info..loud", 6, "'loud' is no level"),
            ("level~err", 6, "expected = != < <= > >= or : behind level"),
            ("step:100..x", 5, "expected a number, or a range like 100..200"),
            ("rank=first", 5, "expected a number"),
            ("logger:", 7, "expected a value, got the end"),
            ("metric.loss", 11, "expected one of"),
            ("extra.''=1", 0, "expected a name after extra."),
            ("a (b", 4, "expected and, or, or )"),
            ("a or", 4, "got the end"),
            ("loss >> 3", 6, "expected a value, got '>'"),
            ("/(x|y)*/", 6, "expected no repeat or choice inside of a repeat"),
        ],
    )
    def test_point_at_the_place(self, text: str, place: int, why: str) -> None:
        with pytest.raises(ValueError, match="filter: ") as caught:
            parse_search(text)
        first, shown, caret = str(caught.value).split("\n")
        assert why in first
        assert (shown, caret) == (f"  {text}", f"  {' ' * place}^")

    @given(st.text() | st.text("()=!<>~:/-\"'\\ andorlevelstep.x1", max_size=30))
    def test_any_text_is_a_filter_or_a_clear_error(self, text: str) -> None:
        try:
            search = parse_search(text)
        except ValueError as exc:
            first, shown, caret = str(exc).split("\n")
            assert first.startswith("filter: ")
            assert len(caret) <= text_width(shown) + 1
        else:
            for entry in (LOG, METRIC, EVENT):
                assert search((entry, Source())) in (True, False)

    json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=4,
    )

    @given(
        key=st.sampled_from(
            ["level", "logger", "msg", "step", "metric", "extra", "exc"]
        ),
        held=json | st.dictionaries(st.sampled_from(["a", "b"]), json),
        text=st.sampled_from(
            ["level>10", "logger:x", "msg~/x/", "step:1..2", "a>3", "extra.a.b=1", "x"]
        ),
    )
    def test_whatever_an_entry_holds_is_compared(
        self, key: str, held: Any, text: str
    ) -> None:
        """A file may come from anywhere."""
        entry = {"ts": "yesterday", "seq": 1, key: held}
        assert fits(text, entry) in (True, False)


# --- against plain Python ------------------------------------------------------------

Model = tuple[str, Callable[[Entry], bool]]
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    **{"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">=": operator.ge},
}
LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30}
WORDS = ["loss", "Net", "retry", "a b"]
ENTRIES = st.fixed_dictionaries(
    {
        "ts": st.just("2026-11-23T18:27:00.000000Z"),
        "seq": st.just(1),
        "level": st.sampled_from(list(LEVELS)),
        "logger": st.sampled_from(["train", "train.data", "eval"]),
    },
    optional={
        "msg": st.lists(st.sampled_from([*WORDS, "NET", "b a"])).map(" ".join),
        "step": st.integers(-2, 4),
        "metric": st.dictionaries(st.sampled_from(["loss", "acc"]), st.integers(0, 3)),
    },
)


@st.composite
def terms(draw: st.DrawFn) -> Model:
    """Make one test, and what it means."""
    kind = draw(st.sampled_from(["level", "step", "range", "metric", "logger", "word"]))
    sign = draw(st.sampled_from(list(SIGNS)))
    number = draw(st.integers(-2, 4))
    if kind == "level":
        name = draw(st.sampled_from(list(LEVELS)))
        return f"level{sign}{name.lower()}", lambda entry: SIGNS[sign](
            LEVELS[entry["level"]], LEVELS[name]
        )
    if kind == "step":
        return (
            f"step{sign}{number}",
            lambda entry: (
                SIGNS[sign](entry["step"], number) if "step" in entry else sign == "!="
            ),
        )
    if kind == "range":
        return (
            f"step:{number}..{number + 2}",
            lambda entry: "step" in entry and number <= entry["step"] <= number + 2,
        )
    if kind == "metric":
        return (
            f"loss {sign} {number}",
            lambda entry: (
                SIGNS[sign](entry["metric"]["loss"], number)
                if "loss" in entry.get("metric", {})
                else sign == "!="
            ),
        )
    if kind == "logger":
        return "logger:train.*", lambda entry: entry["logger"].startswith("train.")
    word = draw(st.sampled_from(WORDS))

    def has_word(entry: Entry) -> bool:
        metric = entry.get("metric", {})
        told = [
            entry.get("msg", ""),
            entry["logger"],
            *map("{0[0]}={0[1]}".format, metric.items()),
        ]
        if word.islower():
            told = [text.lower() for text in told]
        return any(word in text for text in told)

    return f'"{word}"', has_word


def combined(inner: st.SearchStrategy[Model]) -> st.SearchStrategy[Model]:
    def both(left: Model, right: Model, between: str) -> Model:
        text = f"({left[0]}){between}({right[0]})"
        return text, lambda entry: left[1](entry) and right[1](entry)

    def either(left: Model, right: Model) -> Model:
        return f"({left[0]}) or ({right[0]})", lambda e: left[1](e) or right[1](e)

    def neither(one: Model, sign: str) -> Model:
        return f"{sign}({one[0]})", lambda entry: not one[1](entry)

    return st.one_of(
        st.builds(both, inner, inner, st.sampled_from([" and ", " "])),
        st.builds(either, inner, inner),
        st.builds(neither, inner, st.sampled_from(["-", "not "])),
    )


@given(filter=st.recursive(terms(), combined, max_leaves=10), entry=ENTRIES)
def test_a_filter_means_what_python_means(filter: Model, entry: Entry) -> None:
    """Also of what the line's bytes let expect: no line that fits is left unread."""
    text, means = filter
    search = parse_search(text)
    assert search((entry, Source())) == means(entry)
    may_fit = may_have(*search.needle)
    if means(entry) and may_fit is not None:
        assert may_fit(orjson.dumps(entry))


@given(
    text=st.text(min_size=1) | st.text("abC 1.-(=,", min_size=3),
    msg=st.text(),
    more=st.sampled_from(["", "\N{KELVIN SIGN}elvin", "\x1bkel", "İnput"]),
    ascii_only=st.booleans(),
)
def test_no_line_that_has_a_text_is_left_unread(
    text: str, msg: str, more: str, ascii_only: bool
) -> None:
    """However it is encoded: there may be escapes, or letters like ASCII in no case."""
    import json

    entry = {"ts": "t", "seq": 1, "msg": msg + text.upper() + more}
    line = json.dumps(entry, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    for wanted in (text, text.upper(), text.lower(), "kelvin", "input"):
        search = matches_text(wanted)
        may_fit = may_have(*search.needle)
        if search((entry, Source())) and may_fit is not None:
            assert may_fit(line)


def test_entries_of_a_run_are_filtered(tmp_path: Path) -> None:
    """By a text, or by a function, which gets NaN as a float."""
    lines = [
        {**METRIC, "seq": 1},
        {**METRIC, "seq": 2, "metric": {"loss": 1}},
    ]
    (tmp_path / "metrics.jsonl").write_bytes(
        b"".join(orjson.dumps(x) + b"\n" for x in lines)
    )
    (tmp_path / "logs-r3.jsonl").write_bytes(orjson.dumps(LOG) + b"\n")
    assert [e["seq"] for e in iter_entries(tmp_path, filter="loss>3 or rank=3")] == [
        7,
        1,
    ]
    assert [e["seq"] for e in iter_entries(tmp_path, filter="memory", rank=3)] == [7]
    found = iter_entries(
        tmp_path, filter=lambda e: e.get("metric", {}).get("val/acc", 0) != 0
    )
    assert [e["seq"] for e in found] == [1]
    with pytest.raises(ValueError, match="no level"):
        iter_entries(tmp_path, filter="level=loud")
    with pytest.raises(TypeError, match="a text or a function"):
        iter_entries(tmp_path, filter=3)  # type: ignore[arg-type]
