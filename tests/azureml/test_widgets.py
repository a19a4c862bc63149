"""`RunDetails` shows a run as it is."""

from typing import Any

import pytest

from mlog.azureml.core import Experiment, Run
from mlog.azureml.widgets import RunDetails


def test_a_run_is_shown_as_text(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for step in range(10):
        run.log("loss", step)
    run.tag("stage", "final")
    child = run.child_run()
    RunDetails(run).show()
    out = capsys.readouterr().out
    assert f"Run {run.id} of exp: Running\n" in out
    assert "loss: … 7, 8, 9 (10 values)\n" in out
    assert "tag stage: final\n" in out
    assert f"child {child.id}: Running\n" in out


def test_its_data_can_be_had(experiment: Experiment) -> None:
    with experiment.start_logging() as run:
        run.log("a", 1)
    data = RunDetails(run).get_widget_data()
    assert (data["status"], data["run_metrics"]) == ("Completed", {"a": 1})
    assert data["run_properties"]["folder"] == str(run.path)


@pytest.mark.parametrize("thing", [None, "run", 3])
def test_only_a_run_has_details(thing: Any) -> None:
    with pytest.raises(TypeError, match="run_instance must be a Run"):
        RunDetails(thing)
