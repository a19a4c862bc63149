"""A run under the SDK's names: finding it, what it says, tags and properties."""

import re
import threading

import pytest

import mlog
from mlog.azureml.core import Experiment, Run, Workspace, get_run
from mlog.errors import RunNotFoundError


def test_a_run_is_had_by_experiment_and_id(experiment: Experiment, run: Run) -> None:
    """`Run(experiment, id)` and `get_run` give the run, also one that goes on."""
    run.log("loss", 0.5)
    for found in (Run(experiment, run.id), get_run(experiment, run.id)):
        assert found.id == run.id
        assert found.get_metrics() == {"loss": 0.5}
        assert found.experiment.workspace is run.experiment.workspace


def test_two_objects_of_a_run_are_one(experiment: Experiment, run: Run) -> None:
    """What one is told the other knows; either ends the run."""
    other = Run(experiment, run.id)
    other.tag("a", "1")
    assert run.tags == {"a": "1"}
    other.complete()
    assert run.status == "Completed"
    assert not [t for t in threading.enumerate() if t.name == "mlog-keeper"]


def test_a_class_of_ones_own_keeps_its_init(experiment: Experiment, run: Run) -> None:
    class Mine(Run):
        def __init__(self, experiment: Experiment, run_id: str) -> None:
            super().__init__(experiment, run_id)
            self.mine = True

    assert Mine(experiment, run.id).mine


def test_a_run_is_had_by_workspace_and_id(workspace: Workspace, run: Run) -> None:
    assert Run.get(workspace, run.id) is run
    assert workspace.get_run(run.id) is run
    run.complete()
    assert workspace.get_run(run.id[-6:]).status == "Completed"


def test_a_run_that_is_not_there_is_an_error(experiment: Experiment, run: Run) -> None:
    with pytest.raises(RunNotFoundError, match="no run 'nothing'"):
        Run(experiment, "nothing")
    with pytest.raises(RunNotFoundError, match="no run 'nothing'"):
        Run.get(experiment.workspace, "nothing")


def test_runs_are_listed_newest_first(experiment: Experiment) -> None:
    """Tags and properties are asked for by name, or by name and value."""
    first, second = (experiment.start_logging() for _ in range(2))
    child = first.child_run()
    first.tag("kind", "a")
    second.set_tags({"kind": "b"})
    second.add_properties({"p": "1"})
    for each in (child, first, second):
        each.complete()

    def ids(**wanted: object) -> list[str]:
        return [r.id for r in Run.list(experiment, **wanted)]  # type: ignore[arg-type]

    assert ids() == [second.id, first.id]
    assert ids(tags="kind") == [second.id, first.id]
    assert ids(tags={"kind": "a"}) == [first.id]
    assert ids(properties={"p": "1"}) == [second.id]
    assert ids(status="Failed") == []
    assert set(ids(include_children=True)) == {child.id, first.id, second.id}
    assert ids(type="azureml.scriptrun") == []


def test_a_run_says_what_it_is(experiment: Experiment) -> None:
    run = experiment.start_logging(name="first try")
    assert run.name == "first try"
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", run.id)
    assert run.type is None
    assert run.input_datasets == run.output_datasets == {}
    assert run.id in repr(run)


def test_runs_of_an_experiment_are_numbered(experiment: Experiment) -> None:
    runs = [experiment.start_logging() for _ in range(3)]
    assert [run.number for run in runs] == [1, 2, 3]


def test_a_run_knows_experiment_and_workspace(
    workspace: Workspace, experiment: Experiment, run: Run
) -> None:
    assert run.experiment.name == experiment.name
    assert run.experiment.workspace is workspace
    assert run.child_run().experiment.workspace.root == workspace.root


def test_name_and_description_may_change(workspace: Workspace, run: Run) -> None:
    run.display_name = "better"
    run.description = "with dropout"
    run.complete()
    run.description = "with dropout, ended"
    found = workspace.get_run(run.id)
    assert (found.display_name, found.name) == ("better", "better")
    assert found.description == "with dropout, ended"


def test_tags_may_change(workspace: Workspace, run: Run) -> None:
    """Values become texts; a tag without one is there, and None."""
    run.tag("stage", "draft")
    run.tag("seen")
    run.set_tags({"stage": "final", "alpha": 0.5})
    assert run.tags == {"stage": "final", "seen": None, "alpha": "0.5"}
    run.remove_tags(["seen", "never there"])
    run.complete()
    run.tag("late", "yes")
    assert run.get_tags() == {"stage": "final", "alpha": "0.5", "late": "yes"}
    assert workspace.get_run(run.id).tags == run.get_tags()


def test_properties_are_set_once(run: Run) -> None:
    run.add_properties({"author": "me"})
    run.add_properties({})
    run.add_properties({"author": "me", "n": 1})
    with pytest.raises(ValueError, match="property 'author' is 'me' already"):
        run.add_properties({"author": "you", "other": "x"})
    assert run.properties == run.get_properties() == {"author": "me", "n": "1"}


def test_the_portal_is_the_folder(run: Run) -> None:
    assert run.path is not None
    assert run.get_portal_url() == run.path.as_uri()
    assert run.get_docs_url().startswith("file://")


def test_it_is_a_run_of_mlog(run: Run) -> None:
    assert isinstance(run, mlog.Run)
    assert mlog.current_run() is run
