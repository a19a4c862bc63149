"""Fixtures for the SDK's names: the alias, a workspace, an experiment, a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlog.azureml import activate, alias, deactivate, note
from mlog.azureml.core import Experiment, Run, Workspace
from mlog.azureml.core import run as run_module


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in an empty folder, as scripts write into the current one."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every test see the lines that are said once, and have no run yet."""
    monkeypatch.setattr(note, "_said", set())
    monkeypatch.setattr(run_module, "_context", [])
    monkeypatch.setattr(Run, "_factories", {})
    yield
    deactivate()


@pytest.fixture
def azureml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import azureml` find mlog."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert activate()
    assert alias.is_active()


@pytest.fixture
def workspace(run_dir: Path) -> Workspace:
    """Return a workspace in the root of this test."""
    return Workspace.get("ws", subscription_id="sub", resource_group="group")


@pytest.fixture
def experiment(workspace: Workspace) -> Experiment:
    """Return an experiment without runs."""
    return Experiment(workspace, "exp")


@pytest.fixture
def run(experiment: Experiment) -> Run:
    """Return a run that goes on."""
    return experiment.start_logging()
