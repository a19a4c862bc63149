"""What MLflow would damage without a word is never sent."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.shipping.sinks.mlflow_batches import (
    in_batches,
    metrics_of,
    milliseconds,
    param_text,
    params_of,
    status_of,
    tags_of,
)
from mlog.shipping.sinks.mlflow_check import Acknowledged, mark_of

TS = "2026-11-23T18:27:00.123456Z"


def entry(**more: Any) -> dict[str, Any]:
    return {"ts": TS, "seq": 0, "level": "INFO", "logger": "x", **more}


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
)


@given(
    st.lists(
        st.builds(
            lambda m, s: entry(metric=m, step=s),
            st.dictionaries(st.text(min_size=1, max_size=9), numbers, max_size=4),
            st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=9,
    )
)
def test_points_hold_only_what_the_server_parses(found: list[dict[str, Any]]) -> None:
    """Finite doubles or the three texts, whole steps and times, as strict JSON."""
    metrics = metrics_of(found)
    assert metrics.refused == {}
    points = json.loads(orjson.dumps(metrics.points), parse_constant=pytest.fail)
    assert len(points) == sum(len(e["metric"]) for e in found)
    for point in points:
        assert isinstance(point["value"], float) or point["value"] in (
            *("NaN", "Infinity", "-Infinity"),
        )
        assert type(point["step"]) is int
        assert point["timestamp"] == 1795458420123


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": {"a": 1}, "step": 1.5},
        {"metric": {"a": 1}, "step": 2**63},
        {"metric": {"a": "word"}},
        {"metric": {"a": None}},
        {"metric": {"a": True}},
        {"metric": {"a": 10**400}},
        {"metric": {"a": 1}, "ts": "1969-12-31T23:59:59.000000Z"},
        {"metric": {"a": 1}, "ts": "yesterday"},
    ],
)
def test_an_entry_that_cannot_be_told_is_named_and_its_neighbours_go(
    wrong: dict[str, Any],
) -> None:
    good = entry(metric={"b": 2})
    found = metrics_of([good, entry(**wrong), good])
    assert found.refused.keys() == {1}
    assert [point["key"] for point in found.points if point["key"] == "b"] == ["b"] * 2


def test_a_point_without_a_step_gets_0_as_from_mlflows_own_client() -> None:
    assert metrics_of([entry(metric={"a": 1})]).points[0]["step"] == 0


def test_an_infinity_leaves_a_tag() -> None:
    found = metrics_of([entry(metric={"a": "-Infinity"}, step=3)], ".rank1")
    assert found.tags == {"mlog.infinite.a.rank1": f"-Infinity at step 3, {TS}"}


def test_a_request_has_at_most_1000_points() -> None:
    points = metrics_of([entry(metric={"a": n}) for n in range(2_001)]).points
    assert [len(piece) for piece in in_batches(points)] == [1_000, 1_000, 1]


def test_times_are_cut_to_milliseconds() -> None:
    assert milliseconds(TS) == 1795458420123
    assert milliseconds("1970-01-01T00:00:01Z") == 1_000


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), ("a", "a"), (True, "True"), (None, "None"), ([1, "b"], '[1,"b"]')],
)
def test_params_read_as_those_of_mlflows_own_client(value: object, text: str) -> None:
    assert param_text(value) == text


def test_texts_are_cut_where_the_server_would_cut_them_without_a_word() -> None:
    assert params_of({"a=b": "x" * 7_000}) == {"a_x3D_b": "x" * 5_999 + "…"}
    assert tags_of({"t": "y" * 9_000, "none": None}) == {
        "t": "y" * 7_999 + "…",
        "none": "",
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Completed", "FINISHED"),
        ("Failed", "FAILED"),
        ("Canceled", "KILLED"),
        ("NotResponding", "FAILED"),
        ("Queued", "SCHEDULED"),
        ("Finalizing", "RUNNING"),
    ],
)
def test_statuses(word: str, status: str) -> None:
    assert status_of(word) == status


def test_a_mark_is_that_of_the_point_as_the_server_gives_it_back() -> None:
    sent = metrics_of([entry(metric={"a": "Infinity", "b": "NaN", "c": 3})]).points
    back = [{**point, "value": float(point["value"])} for point in sent]
    back[0]["value"] = 1.7976931348623157e308
    back[1]["value"] = "NaN"
    assert list(map(mark_of, sent)) == list(map(mark_of, back))


def test_beyond_the_limit_only_the_newest_point_is_remembered() -> None:
    points = metrics_of([entry(metric={"a": n}, step=n) for n in (0, 2, 1)]).points
    sent = Acknowledged(1)
    sent.add(points)
    assert [len(marks) for marks in sent.marks.values()] == [1]
    assert sent.newest == {"a": (2, 1795458420123)}
