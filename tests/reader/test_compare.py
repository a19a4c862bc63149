"""Runs side by side: what differs comes first, and nothing is guessed."""

import math
from pathlib import Path
from typing import Any

import pytest

from mlog.reader.compare import (
    ABSENT,
    Comparison,
    MetricRow,
    Row,
    compare,
    delta_text,
    number_json,
    read_runs,
)
from mlog.reader.condense import Summary
from tests.reader.conftest import Writing

NAN, INF = math.nan, math.inf


def write(
    root: Path,
    number: int,
    params: dict[str, Any] | None = None,
    losses: tuple[Any, ...] = (),
    **start: Any,
) -> Path:
    run = Writing(root / "mnist" / f"20261123-18270{number}-{number:06}")
    run.event("writer.start", format=1, attempt=1, host="node7")
    run.event("run.start", **{"experiment": "mnist", "display_name": "fox"} | start)
    run.event("run.params", **params or {})
    for step, loss in enumerate(losses):
        run.metric({"loss": loss}, step)
    run.end()
    return run.folder


def compared(*folders: Path) -> Comparison:
    return compare(read_runs(folders))


class TestParams:
    """Those that differ come first, each kind in the order they were set."""

    def test_what_differs_comes_first(self, tmp_path: Path) -> None:
        one = write(tmp_path, 1, {"model": "ridge", "rate": 0.1, "seed": 1})
        two = write(tmp_path, 2, {"model": "ridge", "rate": 0.2, "depth": 3})
        rows = compared(one, two).params
        assert [(row.name, row.values, row.differs) for row in rows] == [
            ("rate", (0.1, 0.2), True),
            ("seed", (1, ABSENT), True),
            ("depth", (ABSENT, 3), True),
            ("model", ("ridge", "ridge"), False),
        ]

    @pytest.mark.parametrize(
        ("one", "other", "differs"),
        [
            *[(1, 1.0, False), (1, True, True), ("1", 1, True), (None, ABSENT, True)],
            *[({"a": [1]}, {"a": [1]}, False), ({"a": [1]}, {"a": [2]}, True)],
            *[(0, False, True), (None, None, False)],
        ],
    )
    def test_equal_is_what_json_says(
        self, one: object, other: object, differs: bool
    ) -> None:
        assert Row("x", (one, other)).differs is differs
        assert Row("x", (one, one, other)).differs is differs


class TestMetrics:
    """Last, least and greatest value, and the distance to the first run."""

    def test_numbers_of_each_run(self, tmp_path: Path) -> None:
        one = write(tmp_path, 1, losses=(3, 1, 2))
        two = write(tmp_path, 2, losses=(5, "NaN", 4))
        three = write(tmp_path, 3)
        (row,) = compared(one, two, three).metrics
        assert row.name == "loss"
        assert row.deltas("last") == (0, 2, None)
        assert row.deltas("low") == (0, 3, None)
        assert row.deltas("high") == (0, 2, None)
        assert row.found[2] is None

    def test_no_distance_without_a_first_value(self) -> None:
        found = Summary(1, 3.0, 3.0, 3.0)
        assert MetricRow("x", (None, found)).deltas("last") == (None, None)
        odd = Summary(1, NAN)
        assert MetricRow("x", (odd, found)).deltas("last") == (None, None)

    @pytest.mark.parametrize(
        ("first", "value", "text"),
        [
            *[(1.0, 1.0, ""), (4.0, 3.0, "-1 (-25 %)"), (-4.0, -3.0, "+1 (+25 %)")],
            *[(0.0, 2.0, "+2"), (1e-9, 1.0, "+1"), (200.0, 201.0, "+1 (+0.5 %)")],
            *[(1.0, INF, "Infinity"), (INF, 1.0, "-Infinity")],
        ],
    )
    def test_distance_as_text(self, first: float, value: float, text: str) -> None:
        assert delta_text(value, value - first).lstrip("+") == text.lstrip("+")

    def test_missing_distance_is_no_text(self) -> None:
        assert (delta_text(1, None), delta_text(1, NAN)) == ("", "")

    def test_numbers_for_json(self) -> None:
        found = [number_json(value) for value in (None, 1.5, NAN, -INF)]
        assert found == [None, 1.5, "NaN", "-Infinity"]


class TestFacts:
    """What else there is to say of the runs."""

    def test_commit_with_branch_and_changes(self, tmp_path: Path) -> None:
        git = {"commit": "0123456789abcdef", "branch": "main"}
        one = write(tmp_path, 1, git=git, argv=["train.py", "--lr", "0.1"])
        run = Writing(tmp_path / "mnist" / "changed")
        run.event("run.start", git=git)
        run.event("run.environment", git={"dirty": True}, packages={"numpy": "2.0"})
        found = compared(one, run.folder)
        facts = {row.name: row.values for row in found.facts}
        assert facts["commit"] == (
            "0123456789 main",
            "0123456789 main with changes",
        )
        assert facts["command"] == ("train.py --lr 0.1", ABSENT)
        assert facts["status"] == ("Completed", "NotResponding")
        assert facts["duration"][0] == "1 min 30 s"
        assert "attempt" not in facts
        assert (found.packages, len(found.unknown)) == ((), 1)

    def test_no_two_names_are_alike(self, tmp_path: Path) -> None:
        one, two = write(tmp_path, 1), write(tmp_path, 2)
        three = write(tmp_path, 3, display_name="owl")
        assert compared(one, two, three).names == ("fox 000001", "fox 000002", "owl")
        assert compared(three, three).names == ("owl 000003 (1)", "owl 000003 (2)")
