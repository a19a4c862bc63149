"""What events change in MLflow."""

from typing import Any

from mlog.shipping.sinks.mlflow_events import changes_of, start_tags


def event(name: str, **data: Any) -> dict[str, Any]:
    return {"ts": "2026-11-23T18:27:00.123456Z", "seq": 0, "event": name, "data": data}


def test_the_last_of_a_tag_counts_and_a_removed_one_goes() -> None:
    changes = changes_of(
        [
            event("run.tags", a="1", b="2"),
            event("run.tags_removed", keys=["b", 3]),
            event("run.tags", a="3", c=None),
        ]
    )
    assert changes.tags == {"a": ("3", 2), "c": ("", 2)}
    assert changes.removed == {"b"}
    set_again = changes_of(
        [event("run.tags_removed", keys=["b"]), event("run.tags", b="4")]
    )
    assert (set_again.tags, set_again.removed) == ({"b": ("4", 1)}, set())


def test_the_first_of_a_param_counts() -> None:
    changes = changes_of([event("run.params", a=1), event("run.params", a=2, b=3)])
    assert changes.params == {"a": ("1", 0), "b": ("3", 1)}
    assert changes.refused == {1: "param 'a' is set already, to '1'"}


def test_a_status_that_is_final_is_left_to_the_end() -> None:
    assert changes_of([event("run.start")]).status == "RUNNING"
    assert changes_of([event("run.status", status="Queued")]).status == "SCHEDULED"
    assert changes_of([event("run.status", status="Failed")]).status is None


def test_what_was_not_kept_is_told() -> None:
    changes = changes_of(
        [event("run.dropped", count=7, reason="disk"), event("ship.gap", segment="x")]
    )
    assert changes.tags["mlog.dropped"] == ("x was removed before it was sent", 1)


def test_events_of_another_shape_change_nothing() -> None:
    odd: list[dict[str, Any]] = [{"event": "run.params", "data": [1]}, {}, {"data": 1}]
    assert changes_of(odd) == changes_of([])


def test_where_a_run_comes_from_is_told_by_mlflows_own_tags() -> None:
    start = {"argv": ["train.py", "--x"], "git": {"commit": "c", "branch": "b"}}
    tags = start_tags(start)
    assert tags == {
        "mlflow.source.name": "train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "c",
        "mlflow.source.git.branch": "b",
    }
    assert start_tags({"argv": 3, "git": []}) == {"mlflow.source.type": "LOCAL"}


def test_user_and_host_are_those_of_the_main_process() -> None:
    writers = [
        event("writer.start", user="ada", host="a", rank=0),
        event("writer.start", user="ada", host="b", rank=1),
    ]
    tags = {"mlflow.user": ("ada", 0), "mlog.host": ("a", 0)}
    assert changes_of(writers).tags == tags
