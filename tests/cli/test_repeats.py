"""Lines that say the same, as one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.cli.repeats import Group, Repeats, grouped, key_of
from mlog.layout import SegmentName
from mlog.reader.follow import Found
from mlog.reader.sources import Source
from tests.helpers import FakeClock

RUN = Path("/runs/exp/run")
OTHER = Path("/runs/exp/other")


def found(
    msg: str, writer: str = "", at: float = 0, folder: Path = RUN, **keys: Any
) -> Found:
    seconds, micros = divmod(round(at * 1e6), 1_000_000)
    ts = f"2026-11-23T18:27:{seconds:02}.{micros:06}Z"
    entry = {"ts": ts, "seq": round(at * 100), "level": "INFO", "msg": msg, **keys}
    return Found(entry, orjson.dumps(entry), SegmentName("logs", writer), folder)


def shown(groups: Iterable[Group]) -> list[tuple[str, int, int]]:
    """Return text, number of lines and of processes of each group."""
    return [(g.first.entry["msg"], g.count, len(g.writers)) for g in groups]


class TestGrouped:
    """A line joins its process's last one, or that of another at nearly the same time."""

    def test_repeats_are_one(self) -> None:
        lines = [found("a"), found("a", at=1), found("a", at=30), found("b", at=31)]
        assert shown(grouped(lines)) == [("a", 3, 1), ("b", 1, 1)]
        assert next(grouped(lines)).last == "2026-11-23T18:27:30.000000Z"

    def test_what_came_in_between_parts_repeats(self) -> None:
        lines = [found("a"), found("b"), found("a"), found("b")]
        assert shown(grouped(lines)) == [(m, 1, 1) for m in "abab"]

    def test_what_another_process_says_in_between_does_not_part_them(self) -> None:
        lines = [found("a"), found("b", "r1", 1), found("a", at=9), found("b", "r1", 9)]
        assert shown(grouped(lines)) == [("a", 2, 1), ("b", 2, 1)]

    def test_ranks_that_say_the_same_are_one(self) -> None:
        """Also where their lines lie in between each other."""
        ranks = [f"r{n}" for n in range(4)]
        lines = [found(m, r, at) for at, r in enumerate(ranks) for m in "ab"]
        lines = [one for one in lines if one.entry["seq"] <= 200]
        assert shown(grouped(lines)) == [("a", 3, 3), ("b", 3, 3)]

    def test_ranks_that_are_late_are_not(self) -> None:
        lines = [found("a", "r0"), found("b", "r0"), found("a", "r1", at=2.5)]
        assert shown(grouped(lines)) == [("a", 1, 1), ("b", 1, 1), ("a", 1, 1)]

    @pytest.mark.parametrize(
        "keys",
        [
            {"level": "ERROR"},
            {"metric": {"loss": 1}},
            {"step": 3},
            {"extra": {"fold": 1}},
            {"exc": {"type": "E"}},
        ],
    )
    def test_what_differs_in_anything_is_not(self, keys: dict[str, Any]) -> None:
        assert len(list(grouped([found("a"), found("a", **keys)]))) == 2

    def test_two_runs_are_not(self) -> None:
        lines = [found("a"), found("a", folder=OTHER)]
        assert shown(grouped(lines)) == [("a", 1, 1)] * 2

    def test_events_are_not(self) -> None:
        event = found("a", event="run.tags", data={})
        assert key_of(event) == b""
        assert len(list(grouped([event, event]))) == 2

    def test_lines_of_others_are_not(self) -> None:
        """Where time and number stand behind, nothing tells that the rest is the same."""
        raw = b'{"level":"INFO","ts":"x","seq":%d}'
        lines = [found("a")._replace(raw=raw % number) for number in range(2)]
        assert len(list(grouped(lines))) == 2

    @given(
        st.lists(
            st.builds(
                found,
                st.sampled_from("abc"),
                st.sampled_from(["", "r1", "r2"]),
                st.floats(0, 5),
            ),
            max_size=200,
        )
    )
    def test_none_is_lost_and_firsts_keep_their_order(self, lines: list[Found]) -> None:
        lines.sort(key=lambda one: one.entry["ts"])
        groups = list(grouped(lines))
        assert sum(group.count for group in groups) == len(lines)
        place_of = {id(one): place for place, one in enumerate(lines)}
        places = [place_of[id(group.first)] for group in groups]
        assert places == sorted(places)

    @pytest.mark.parametrize(("step", "most"), [(1 / 10, 100), (0, 2_100)])
    def test_it_starts_before_all_is_there(self, step: float, most: int) -> None:
        """A long log is not kept."""
        seen = 0

        def endless() -> Iterable[Found]:
            nonlocal seen
            while True:
                seen += 1
                yield found(str(seen), at=seen * step)

        assert next(grouped(endless())).first.entry["msg"] == "1"
        assert seen <= most

    def test_a_burst_of_many_ranks_is_put_together(self) -> None:
        """Each of a hundred lines, though all ranks write them within a second."""
        lines = [
            found(f"line {n}", f"r{rank}", at=n / 1000)
            for rank in range(8)
            for n in range(100)
        ]
        lines.sort(key=lambda one: one.entry["ts"])
        assert [group.count for group in grouped(lines)] == [8] * 100


class TestNote:
    RANK, OTHER = Source("r1", rank=1), Source("host-1")

    @pytest.mark.parametrize(
        ("count", "writers", "sources", "note"),
        [
            (1, {""}, [], ""),
            (120, {""}, [], "×120"),
            (2, {"", "r1"}, [Source(), RANK], "×2 ranks"),
            (8, {"", "r1"}, [Source(), RANK], "×8, 2 ranks"),
            (3, {"a", "b", "c"}, [OTHER] * 3, "×3 processes"),
        ],
    )
    def test_says_how_many(
        self, count: int, writers: set[str], sources: list[Source], note: str
    ) -> None:
        first, *others = [found("a", writer) for writer in sorted(writers)]
        group = Group(first, b"k")
        for one in (others + [first] * count)[: count - 1]:
            group.join(one)
        assert group.note(sources) == note


class TestRepeats:
    """While lines come, a repeat of the last shown line waits a second."""

    def test_the_first_is_shown_at_once_and_repeats_once_a_second(
        self, fake_clock: FakeClock
    ) -> None:
        repeats = Repeats(fake_clock)
        assert shown(repeats([found("a")])) == [("a", 1, 1)]
        for _ in range(9):
            fake_clock.advance(0.1)
            assert shown(repeats([found("a")])) == []
        fake_clock.advance(0.1)
        assert shown(repeats([])) == [("a", 9, 1)]
        fake_clock.advance(0.5)
        assert shown(repeats([found("a")])) == []
        assert shown(repeats.rest()) == [("a", 1, 1)]
        assert shown(repeats.rest()) == []

    def test_what_is_there_at_the_beginning_is_shown(
        self, fake_clock: FakeClock
    ) -> None:
        """A repeat of the last of it waits like any other."""
        repeats = Repeats(fake_clock)
        groups = [Group(found("a"), b"k"), Group(found("a", "r1"), b"k")]
        assert list(repeats.begin(groups)) == groups
        assert shown(repeats.begin([Group(found("a"), key_of(found("a")))]))
        assert shown(repeats([found("a", at=1)])) == []
        assert shown(repeats.rest()) == [("a", 1, 1)]

    def test_something_else_brings_them_out(self, fake_clock: FakeClock) -> None:
        repeats = Repeats(fake_clock)
        assert shown(repeats([found("a"), found("a")])) == [("a", 2, 1)]
        assert shown(repeats([found("a")])) == []
        assert shown(repeats([found("b")])) == [("a", 1, 1), ("b", 1, 1)]
