"""Each example for a framework runs as it stands, where the framework is."""

import ast
import importlib.util
from pathlib import Path

import pytest

import mlog
from tests.helpers import REPO, run_python

EXAMPLES = sorted((REPO / "examples" / "frameworks").glob("*.py"))
RUNS = {"sklearn_search": 5, "optuna_study": 9}
"""How many runs an example makes, where it is not one."""


def frameworks_of(script: Path) -> list[str]:
    """Return what a script imports but for mlog."""
    names = set()
    for node in ast.walk(ast.parse(script.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    if "keras" in names:
        names.add("torch")
    return sorted(names - {"mlog"})


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example(script: Path, tmp_path: Path) -> None:
    """It ends well, and leaves a Completed run with metrics."""
    for name in frameworks_of(script):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    done = run_python(script, cwd=tmp_path, warnings="ignore", timeout=120)
    assert done.returncode == 0, done.stderr
    runs = list(mlog.runs())
    assert len(runs) == RUNS.get(script.stem, 1)
    assert {run.status for run in runs} == {"Completed"}
    assert all(run.get_metrics() for run in runs)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(script: Path) -> None:
    lines = [line for line in script.read_text().splitlines() if line.strip()]
    assert len(lines) <= 25


def test_there_is_an_example_for_each_adapter() -> None:
    adapters = {
        *("accelerate", "flaml", "keras", "lightgbm", "lightning", "optuna"),
        *("sklearn", "tensorboard", "transformers", "xgboost"),
    }
    assert {script.stem.partition("_")[0] for script in EXAMPLES} == adapters
