"""An experiment is a named group of runs."""

import pytest

from mlog.azureml.core import Experiment, Workspace
from mlog.azureml.exceptions import UserErrorException


@pytest.mark.parametrize(
    "name", ["exp", "größe / 1", "../x", "a" * 300, "ä" * 255, "日本"]
)
def test_any_text_names_an_experiment(workspace: Workspace, name: str) -> None:
    experiment = Experiment(workspace, name)
    assert experiment.name == name
    assert experiment.workspace is workspace
    run = experiment.start_logging()
    assert run.path is not None
    assert run.path.parent.parent == workspace.root
    assert run.experiment.name == name
    assert [found.id for found in experiment.get_runs()] == [run.id]


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_must_be_text(workspace: Workspace, name: str) -> None:
    with pytest.raises(UserErrorException, match="must be text"):
        Experiment(workspace, name)


def test_an_experiment_needs_a_workspace() -> None:
    with pytest.raises(UserErrorException, match=r"Workspace\.from_config\(\) finds"):
        Experiment(None, "a")  # type: ignore[arg-type]


def test_start_logging_takes_the_arguments_it_had(experiment: Experiment) -> None:
    """By name, or in their order."""
    run = experiment.start_logging(
        run_id="my-run",
        outputs=None,
        snapshot_directory=None,
        display_name="My run",
        description="words",
        tags={"a": "b"},
    )
    assert (run.id, run.display_name, run.description) == ("my-run", "My run", "words")
    assert run.tags == {"a": "b"}
    assert experiment.start_logging("second", "my-second-run").id == "my-second-run"
    with pytest.raises(TypeError, match="got 'nothing'"):
        experiment.start_logging(nothing=1)
    with pytest.raises(TypeError, match="one of them twice"):
        experiment.start_logging("a", name="b")


def test_runs_started_side_by_side_are_no_family(experiment: Experiment) -> None:
    first, second = (experiment.start_logging() for _ in range(2))
    assert first.parent is second.parent is None


def test_runs_are_had_with_or_without_children(experiment: Experiment) -> None:
    run = experiment.start_logging()
    child = run.child_run()
    assert [r.id for r in experiment.get_runs()] == [run.id]
    found = experiment.get_runs(include_children=True)
    assert {r.id for r in found} == {run.id, child.id}


def test_tags_of_an_experiment_may_change(experiment: Experiment) -> None:
    experiment.tag("a")
    experiment.set_tags({"b": 1, "c": "x"})
    experiment.remove_tags(["c", "never there"])
    experiment.refresh()
    assert experiment.tags == {"a": None, "b": "1"}
    assert Experiment(experiment.workspace, "exp").tags == experiment.tags


def test_an_archived_experiment_is_not_listed(workspace: Workspace) -> None:
    for name in ("a", "b"):
        Experiment(workspace, name).start_logging()

    def names(**wanted: object) -> list[str]:
        found = Experiment.list(workspace, **wanted)  # type: ignore[arg-type]
        return [experiment.name for experiment in found]

    experiment = Experiment(workspace, "a")
    assert experiment.archived_time is None
    experiment.archive()
    assert experiment.archived_time is not None
    assert names() == ["b"]
    assert names(view_type="ArchivedOnly") == ["a"]
    assert names(view_type="All") == ["a", "b"]
    with pytest.raises(UserErrorException, match="keeps its name"):
        experiment.reactivate("c")
    experiment.reactivate()
    assert names() == ["a", "b"]
    experiment.tag("kind", "x")
    assert names(tags="kind") == names(tags={"kind": "x"}) == ["a"]
    assert names(experiment_name="b") == ["b"]


def test_an_experiment_without_runs_can_be_forgotten(workspace: Workspace) -> None:
    experiment = Experiment(workspace, "a")
    experiment.tag("kind", "x")
    Experiment.delete(workspace, experiment.id)
    assert Experiment.list(workspace) == []
    with pytest.raises(UserErrorException, match="no experiment has the id"):
        Experiment.delete(workspace, experiment.id)
    experiment.start_logging()
    with pytest.raises(UserErrorException, match="has runs; remove"):
        Experiment.delete(workspace, experiment.id)


def test_the_portal_of_an_experiment_is_its_folder(experiment: Experiment) -> None:
    folder = experiment.workspace.root / "exp"
    assert experiment.get_portal_url() == folder.as_uri()
    assert experiment.get_docs_url().startswith("file://")
    assert folder.as_uri() in experiment._repr_html_()
    assert "exp" in repr(experiment)
