"""Where the steps of a run lie in the entries of a writer."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.layout import SegmentName
from mlog.reader.marks import Span, find_gap, find_spans, step_range

SEGMENTS = [SegmentName("metrics"), SegmentName("metrics", number=1)]
Place = tuple[int, float]


def line(seq: int, step: int | None, name: str = "loss", **fields: Any) -> bytes:
    at = {} if step is None else {"step": step}
    entry = {"ts": f"2026-11-23T18:27:00.{seq:06d}Z", "seq": seq, **at}
    entry |= {"metric": {name: 1.0}, **fields}
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def write(run: Path, steps: Sequence[int | None], cut: int | None = None) -> None:
    """Write a mark at each tenth number, in one segment or two."""
    lines = [line(10 * n, step) for n, step in enumerate(steps)]
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:cut]))
    if cut is not None:
        (run / "metrics.1.jsonl").write_bytes(b"".join(lines[cut:]))


def places(spans: list[Span]) -> list[Place]:
    return [(span.first, span.last) for span in spans]


class TestSpans:
    """From behind the mark before, up to the last mark of the steps."""

    @pytest.mark.parametrize(
        ("steps", "first", "last", "expected"),
        [
            ([0, 1, 2, 3], 1, 2, [(1, 20)]),
            ([0, 1, 2, 3], 0, 0, [(0, 0)]),
            ([0, 1, 2, 3], 3, 3, [(21, 30)]),
            ([0, 1, 2, 3], 2, 9, [(11, math.inf)]),
            ([0, 1, 1, 2], 1, 1, [(1, 20)]),
            ([0, 100, 200], 95, 105, [(1, 19)]),
            ([0, 100, 200], 95, 100, [(1, 10)]),
            ([0, None, 1, None, 2], 1, 1, [(1, 20)]),
            ([0, 2, 0, 1], 1, 2, [(1, 10), (21, math.inf)]),
            ([0, 1, 0, 1], 1, 1, [(1, 30)]),
            ([5, 6, 0, 7, 8], 5, 8, [(0, 40)]),
            ([5, 6, 0, 5, 6], 5, 6, [(0, 10), (21, 40)]),
            ([3, *[9] * 11, 4], 3, 4, [(0, 9), (111, 120)]),
            ([0, 1, 2], 7, 9, []),
            ([-3, -2, -1], -2, -2, [(1, 10)]),
            ([], 0, 9, []),
        ],
    )
    def test_are(
        self,
        tmp_path: Path,
        steps: list[int | None],
        first: int,
        last: int,
        expected: list[Place],
    ) -> None:
        write(tmp_path, steps)
        assert places(find_spans(tmp_path, SEGMENTS, first, last)) == expected

    @given(
        steps=st.lists(
            st.none() | st.integers(-1, 30) | st.sampled_from([99, 100, 1000]),
            max_size=40,
        ),
        rising=st.booleans(),
        first=st.integers(-1, 30),
        length=st.integers(0, 5),
        cut=st.none() | st.integers(0, 40),
    )
    def test_are_those_of_a_plain_list(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        steps: list[int | None],
        rising: bool,
        first: int,
        length: int,
        cut: int | None,
    ) -> None:
        """Also over the border of two segments."""
        run = tmp_path_factory.mktemp("run")
        if rising:
            steps = [*sorted(step for step in steps if step is not None)]
        write(run, steps, cut)
        marks = [(10 * n, step) for n, step in enumerate(steps) if step is not None]
        found = find_spans(run, SEGMENTS, first, first + length)
        assert places(found) == model(marks, first, first + length)
        inside = [seq for span in found for seq in (mark.seq for mark in span.marks)]
        assert inside == [seq for seq, s in marks if first <= s <= first + length]
        gaps = [
            (a + 1, b - 1)
            for (a, before), (b, after) in pairwise(marks)
            if before < first and after > first + length
        ]
        assert places(find_gap(run, SEGMENTS, first, first + length)) == gaps
        known = [step for _, step in marks]
        expected = (min(known), max(known)) if known else None
        assert step_range(run, SEGMENTS) == expected

    def test_a_gap_over_the_border_of_two_segments_is_one_of_several(
        self, tmp_path: Path
    ) -> None:
        """It is not hidden by one that lies in a single segment."""
        write(tmp_path, [0, 2, 0, 2], cut=1)
        assert places(find_gap(tmp_path, SEGMENTS, 1, 1)) == [(1, 9), (21, 29)]

    def test_only_marks_with_a_metric_count_if_it_is_named(
        self, tmp_path: Path
    ) -> None:
        """A program may log losses by batches, and others by epochs."""
        names = ["loss", "loss", "val", "loss", "val"]
        steps = [0, 1, 0, 2, 1]
        lines = [
            line(i, *both) for i, both in enumerate(zip(steps, names, strict=True))
        ]
        (tmp_path / "metrics.jsonl").write_bytes(b"".join(lines))
        assert places(find_spans(tmp_path, SEGMENTS, 1, 1, "val")) == [(3, 4)]
        assert places(find_spans(tmp_path, SEGMENTS, 2, 2, "loss")) == [(2, 3)]
        assert places(find_spans(tmp_path, SEGMENTS, 1, 1, "none")) == []

    def test_a_field_called_step_is_no_step(self, tmp_path: Path) -> None:
        """Nor is a text about one, nor a longer number."""
        (tmp_path / "metrics.jsonl").write_bytes(
            line(0, 1, extra={"step": 5})
            + line(1, None, extra={"step": 5})
            + line(2, None, msg='"step":5,')
            + line(3, 55)
            + b'{"ts":"t","seq":4,"step": 5 ,"metric":{}}\n'
            + line(5, None, extra={"step": 9})
            + line(6, 7)
        )
        assert places(find_spans(tmp_path, SEGMENTS, 5, 5)) == [(4, 4)]
        assert places(find_gap(tmp_path, SEGMENTS, 2, 3)) == [(1, 2)]

    def test_damage_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "metrics.jsonl").write_bytes(
            line(0, 0) + b'{"step":1\n' + line(2, 1) + b'x"step":1,\n' + line(3, 2)[:-1]
        )
        assert places(find_spans(tmp_path, SEGMENTS, 1, 1)) == [(1, 2)]

    def test_a_wide_window_is_one_place(self, tmp_path: Path) -> None:
        write(tmp_path, list(range(3_000)))
        assert places(find_spans(tmp_path, SEGMENTS, 500, 2_499)) == [(4_991, 24_990)]


def model(marks: list[tuple[int, int]], first: int, last: int) -> list[Place]:
    """Find the places of steps in a list of all marks, `(seq, step)`."""
    inside = [i for i, (_, step) in enumerate(marks) if first <= step <= last]
    groups: list[list[int]] = []
    for i in inside:
        before = groups[-1][-1] if groups else -99
        near = i - before <= 11
        if near and (i == before + 1 or marks[before][1] <= marks[i][1]):
            groups[-1].append(i)
        else:
            groups.append([i])
    found: list[Place] = []
    for group in groups:
        begin = marks[group[0] - 1][0] + 1 if group[0] else 0
        end: float = marks[group[-1]][0]
        if marks[group[-1]][1] < last:
            if group[-1] + 1 == len(marks):
                end = math.inf
            elif marks[group[-1] + 1][1] > last:
                end = marks[group[-1] + 1][0] - 1
        found.append((begin, end))
    return found
