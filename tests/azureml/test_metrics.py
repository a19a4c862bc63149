"""What is logged, and in which shape it is read."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mlog.azureml.core import Run, Workspace

CHARTS: dict[str, dict[str, Any]] = {
    "confusion_matrix": {
        "schema_type": "confusion_matrix",
        "schema_version": "1.0.0",
        "data": {"class_labels": ["a", "b"], "matrix": [[2, 1], [0, 3]]},
    },
    "accuracy_table": {
        "schema_type": "accuracy_table",
        "schema_version": "1.0.1",
        "data": {
            "probability_tables": [[[2, 1, 3, 0], [1, 0, 4, 1]]],
            "percentile_tables": [[[2, 1, 3, 0], [1, 0, 4, 1]]],
            "probability_thresholds": [0.0, 0.5],
            "percentile_thresholds": [0.0, 0.5],
            "class_labels": ["a"],
        },
    },
    "residuals": {
        "schema_type": "residuals",
        "schema_version": "1.0.0",
        "data": {"bin_edges": [-1.0, 0.0, 1.0], "bin_counts": [3, 4]},
    },
    "predictions": {
        "schema_type": "predictions",
        "schema_version": "1.0.0",
        "data": {
            "bin_averages": [0.1, 0.9],
            "bin_errors": [0.0, 0.1],
            "bin_counts": [5, 6],
            "bin_edges": [0.0, 0.5, 1.0],
        },
    },
}

# The smallest picture there is: one white pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63f80f00010101001b0f3dd80000000049454e44ae426082"
)


def test_a_value_is_itself_and_several_are_a_list(run: Run) -> None:
    """Values come in the order they were logged in; steps do not change that."""
    run.log("once", 0.5, "a word on it")
    run.log("text", "good")
    for step in (3, 1, 2):
        run.log("often", step / 10, step=step)
    run.log("nan", math.nan)
    found = run.get_metrics()
    assert math.isnan(found.pop("nan"))
    assert found == {"once": 0.5, "text": "good", "often": [0.3, 0.1, 0.2]}
    assert run.get_metrics("once") == {"once": 0.5}
    assert run.get_metrics("nothing") == {}


def test_lists_stay_lists_and_go_on(run: Run) -> None:
    run.log_list("many", [1, 2, 3])
    run.log_list("many", [4])
    run.log_list("one", [0.5])
    run.log_list("none", [])
    assert run.get_metrics() == {"many": [1, 2, 3, 4], "one": [0.5], "none": []}


def test_rows_become_columns(run: Run) -> None:
    """A row alone is itself; a column that a row lacks is None there."""
    run.log_row("single", x=1, y="a")
    run.log_row("ragged", x=1)
    run.log_row("ragged", "the second", x=2, y=0.5)
    assert run.get_metrics("single") == {"single": {"x": 1, "y": "a"}}
    assert run.get_metrics("ragged") == {"ragged": {"x": [1, 2], "y": [None, 0.5]}}


def test_a_table_is_columns(run: Run) -> None:
    run.log_table("sines", {"x": [0, 1], "y": [0.0, 0.84]})
    run.log_table("sines", {"x": [2], "y": [0.91]})
    expected = {"x": [0, 1, 2], "y": [0.0, 0.84, 0.91]}
    assert run.get_metrics() == {"sines": expected}


def test_an_image_is_a_file_of_the_run(run: Run) -> None:
    """A picture keeps its path; a plot is saved under its name."""

    class Plot:
        def savefig(self, target: Any, **kwargs: Any) -> None:
            if hasattr(target, "write"):
                target.write(PNG)
            else:
                Path(target).write_bytes(PNG)

    Path("dot.png").write_bytes(PNG)
    run.log_image("picture", path="dot.png")
    run.log_image("plots", plot=Plot())
    run.log_image("plots", plot=Plot())
    found = run.get_metrics()
    assert found["picture"] == "dot.png"
    assert len(set(found["plots"])) == 2
    assert set(run.get_file_names()) == {"dot.png", *found["plots"]}
    assert run.get_metrics("picture", populate=True) == {"picture": PNG}


@pytest.mark.parametrize("kind", CHARTS)
@pytest.mark.parametrize("as_text", [False, True])
def test_charts_are_kept_as_they_are(run: Run, kind: str, as_text: bool) -> None:
    """The JSON lies in a file of the run, under the metric's name."""
    value = CHARTS[kind]
    log = getattr(run, f"log_{kind}")
    log("chart", json.dumps(value) if as_text else value, "a word on it")
    assert run.get_file_names() == ["chart"]
    assert run.get_metrics(populate=True) == {"chart": value}
    run.download_file("chart", "copy.json")
    assert json.loads(Path("copy.json").read_text("utf-8")) == value


def test_metrics_of_all_children_come_by_run(workspace: Workspace, run: Run) -> None:
    run.log("a", 1)
    child = run.child_run()
    child.log("a", 2)
    child.child_run().log("a", 3)
    for each in (run, workspace.get_run(run.id)):
        found = each.get_metrics("a", recursive=True)
        assert found[run.id] == {"a": 1}
        assert found[child.id] == {"a": 2}
        assert sorted(said["a"] for said in found.values()) == [1, 2, 3]
