"""`Run.get_context()`: the run that code belongs to, or one of its own."""

import sys
from pathlib import Path

import pytest

import mlog
from mlog.azureml.core import Experiment, Run
from mlog.azureml.exceptions import RunEnvironmentException
from tests.helpers import run_python


def test_a_script_that_nobody_submitted_gets_a_real_run(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All is stored; one line says where."""
    run = Run.get_context()
    assert Run.get_context() is run
    run.log("loss", 0.5, step=3)
    run.tag("a", "b")
    assert run.get_metrics() == {"loss": 0.5}
    assert run.path is not None
    assert run.path.is_relative_to(run_dir)
    assert capsys.readouterr().err == f"mlog: run {run.id[-6:]} → {run.path}\n"


def test_its_outputs_are_taken_in() -> None:
    run = Run.get_context()
    Path("outputs").mkdir()
    Path("outputs/model.pkl").write_bytes(b"model")
    run.complete()
    assert run.get_file_names() == ["outputs/model.pkl"]


def test_without_a_launcher_there_is_no_submitted_run() -> None:
    """Also where a run was started here."""
    for _ in range(2):
        with pytest.raises(RunEnvironmentException, match="allow_offline=True"):
            Run.get_context(allow_offline=False)
        with pytest.raises(RunEnvironmentException):
            Run.get_submitted_run()
        Run.get_context()


def test_the_active_run_is_the_context(experiment: Experiment) -> None:
    run = experiment.start_logging()
    assert Run.get_context() is run
    with run.child_run() as child:
        assert Run.get_context() is child
    assert Run.get_context() is run


def test_a_run_of_mlog_gets_the_names_of_the_sdk() -> None:
    with mlog.start_run("plain") as run:
        found = Run.get_context()
        assert found.id == run.id
        assert found.experiment.name == "plain"
        assert found is mlog.current_run()


def test_no_run_is_an_offline_one() -> None:
    """Scripts ask for it to do without a run, which they need not."""
    from mlog.azureml.core.run import _OfflineRun, _SubmittedRun

    run = Run.get_context()
    assert not isinstance(run, _OfflineRun)
    assert isinstance(run, _SubmittedRun)
    assert not run.id.startswith("OfflineRun")


def test_a_script_has_one_run_all_its_life() -> None:
    """Code that asks after the end is given the run that ended."""
    run = Run.get_context()
    run.complete()
    assert Run.get_context() is run


def test_a_prompt_begins_a_new_run_after_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    run = Run.get_context()
    run.complete()
    assert Run.get_context().id != run.id


CHILD = """
from mlog.azureml.core import Run
run = Run.get_context(allow_offline=False)
assert Run.get_submitted_run() is run
run.log("from the child", 2)
with Run.get_context() as same:
    same.log("in a block", 3)
run.log("after it", 4)
print(run.id, run.experiment.name, run.experiment.workspace.root)
"""


def test_a_process_started_in_a_run_belongs_to_it(run: Run, run_dir: Path) -> None:
    """A block around it does not end it."""
    done = run_python(CHILD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [run.id, "exp", str(run_dir)]
    assert run.get_status() == "Running"
    found = run.get_metrics()
    assert found == {"from the child": 2, "in a block": 3, "after it": 4}


def test_nothing_is_kept_where_runs_are_switched_off(
    monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    monkeypatch.setenv("MLOG_MODE", "off")
    run = Run.get_context()
    run.log("a", 1)
    run.complete()
    assert run.get_file_names() == []
    assert not run_dir.exists()
