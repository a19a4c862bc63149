"""Scripts in the SDK's style run unmodified, and nothing unexpected is printed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlog.azureml.core import Model, Workspace
from mlog.run.open import open_run, runs
from tests.helpers import REPO, lost

EXAMPLES = REPO / "examples" / "azureml"

needs_sklearn = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed"
)


@pytest.fixture(autouse=True)
def examples(in_a_folder_of_its_own: Path) -> Path:
    """Copy the scripts into the current folder."""
    shutil.copytree(EXAMPLES, ".", dirs_exist_ok=True)
    return Path.cwd()


def run_script(name: str) -> str:
    """Run a script, and return what it prints; stderr has only lines of mlog's own."""
    done = subprocess.run(
        [sys.executable, "-m", "mlog.azureml", name],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith(("mlog: run", "mlog: no config", "mlog: compute")), line
    for state in runs():
        assert state.path is not None
        assert lost(state.path) == {}
    return done.stdout


def test_every_script_has_a_test() -> None:
    tested = {"alpha_sweep", "register_best", "data_types", "child_runs"}
    tested |= {"submit_to_cluster", "hyperdrive"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_the_scripts_name_no_mlog() -> None:
    """They are what somebody has written for the SDK."""
    for path in EXAMPLES.rglob("*.py"):
        code = path.read_text("utf-8").partition('"""\n')[2].partition('"""\n')[2]
        assert "mlog" not in code


@needs_sklearn
def test_a_sweep_and_the_registration_of_its_best_model(run_dir: Path) -> None:
    out = run_script("alpha_sweep.py")
    assert "best alpha 0.40, mse 3295.7" in out
    assert "20 files" in out
    run = open_run("latest")
    assert run.status == "Completed"
    assert len(run.get_metrics()["mses"]) == 20
    assert "outputs/ridge_0.40.pkl" in run.get_file_names()
    out = run_script("register_best.py")
    assert "that is no file of the run" in out
    assert "diabetes-ridge 1 {'alpha': '0.40'} mean squared error 3295.7" in out
    model = Model(Workspace.from_config(), "diabetes-ridge")
    assert (model.version, model.run_id) == (1, run.id)


def test_every_type_of_data() -> None:
    out = run_script("data_types.py")
    run = open_run("latest")
    assert run.status == "Completed"
    found = run.get_metrics()
    assert found["count"] == 12345678901234567
    assert found["loss"] == [0.9, 0.5, 0.3]
    assert found["fibonacci"] == [1, 1, 2, 3, 5, 8]
    assert found["cosine"] == {"angle": [0.0, 0.5, 1.0], "cosine": [1.0, 0.88, 0.54]}
    assert found["ramp"] == "ramp.png"
    assert "notes/hello.txt" in run.get_file_names()
    assert list(run.history("loss").steps) == [0, 1, 2]
    assert f"Run {run.id} of data_types: Running" in out


@needs_sklearn
def test_child_runs_with_tags() -> None:
    out = run_script("child_runs.py")
    parent = next(run for run in runs("diabetes-models") if run.parent is None)
    assert parent.status == "Completed"
    assert parent.get_metrics() == {
        "models": {"model": ["linear", "ridge", "lasso"], "folds": [5, 5, 5]}
    }
    children = list(parent.get_children())
    assert {child.status for child in children} == {"Completed"}
    assert sorted(c.tags["family"] or "" for c in children if "family" in c.tags) == [
        *("lasso", "linear", "ridge"),
    ]
    assert "best alpha: 0.01" in out


@needs_sklearn
def test_a_cluster_is_had_and_the_best_of_three_scripts_registered() -> None:
    out = run_script("submit_to_cluster.py")
    assert out.count("Completed") == 3
    assert "registered diabetes version 1" in out
    found = runs("diabetes-submit")
    assert {run.status for run in found} == {"Completed"}
    best = max(found, key=lambda run: run.get_metrics()["r2"])
    model = Model(Workspace.from_config(), "diabetes")
    assert (model.run_id, model.tags) == (best.id, {"alpha": "0.01"})
    assert Path("down/model.pkl").read_bytes()


@needs_sklearn
def test_a_sweep_by_hyperdrive() -> None:
    out = run_script("hyperdrive.py")
    assert "Completed {'--learning-rate': 0.1} 3526" in out
    assert "registered diabetes-tuned version 1" in out
    best = Model(Workspace.from_config(), "diabetes-tuned").run_id
    assert f"best run: {best} last mse: 3526" in out
    found = runs("diabetes-tuning")
    (parent,) = [run for run in found if run.parent is None]
    assert (parent.status, len(found)) == ("Completed", 4)
    assert parent.tags["best_run"] == best
