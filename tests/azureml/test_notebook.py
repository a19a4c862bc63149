"""Cells written for the SDK run in a notebook, after one that activates the alias."""

import ast
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mlog.run.open import runs
from tests.helpers import REPO

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient")
pytest.importorskip("ipykernel", reason="notebooks need ipykernel")

pytestmark = [
    # Of jupyter_client and zmq, whose event loops and sockets are their own affair.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ACTIVATE = "import mlog.azureml\nmlog.azureml.activate()"


def cells_of(script: Path) -> list[str]:
    """Cut a script into cells: at every statement of its top level."""
    source = script.read_text("utf-8")
    body = ast.parse(source).body[1:]  # without the docstring
    return [ast.get_source_segment(source, node) or "" for node in body]


def execute(cells: list[str]) -> list[dict[str, Any]]:
    """Execute cells in a kernel of this environment, and return all their outputs."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": os.getcwd()}},
    )
    client.execute(env={**os.environ, "PYTHONWARNINGS": "default"})
    return [output for cell in notebook.cells for output in cell.outputs]


def text_of(outputs: list[dict[str, Any]], name: str = "stdout") -> str:
    """Return what cells have printed."""
    texts = [
        o["text"] for o in outputs if o["output_type"] == "stream" and o["name"] == name
    ]
    return "".join(texts)


@pytest.fixture(autouse=True)
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel "python3" be this interpreter, and its files lie in `tmp_path`."""
    monkeypatch.setenv("JUPYTER_PATH", os.path.join(sys.prefix, "share", "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))


def test_a_script_cut_into_cells_runs_as_a_notebook() -> None:
    pytest.importorskip("sklearn", reason="the example needs scikit-learn")
    script = REPO / "examples" / "azureml" / "alpha_sweep.py"
    outputs = execute([ACTIVATE, *cells_of(script)])
    assert "best alpha 0.40, mse 3295.7" in text_of(outputs)
    (run,) = runs("diabetes-sweep")
    assert run.status == "Completed"
    assert len(run.get_file_names()) == 20


def test_the_extension_activates_it_and_details_are_shown() -> None:
    outputs = execute(
        [
            "%load_ext mlog.azureml",
            "from azureml.core import Experiment, Workspace\n"
            "from azureml.widgets import RunDetails",
            "run = Experiment(Workspace.from_config(), 'nb').start_logging()",
            "for step in range(5): run.log('loss', 1 / (step + 1), step=step)",
            "RunDetails(run).show()",
            "run.complete()\nrun",
        ]
    )
    shown = [
        o for o in outputs if o["output_type"] in ("display_data", "execute_result")
    ]
    assert len(shown) == 2
    assert "Completed" in shown[1]["data"]["text/plain"]
    (run,) = runs("nb")
    assert run.get_metrics()["loss"] == [1.0, 0.5, 1 / 3, 0.25, 0.2]


def test_a_notebook_begins_a_new_run_after_the_end() -> None:
    outputs = execute(
        [
            ACTIVATE,
            "from azureml.core import Run",
            "first = Run.get_context()\nfirst.complete()",
            "second = Run.get_context()\nsecond.complete()",
            "print(first.id != second.id)",
        ]
    )
    assert text_of(outputs) == "True\n"
    assert text_of(outputs, "stderr").count("mlog: run") == 2


def test_scripts_are_submitted_from_a_notebook() -> None:
    shutil.copytree(REPO / "examples" / "azureml" / "training", "training")
    Path("data.csv").write_text("a,b,target\n1,2,3\n2,3,5\n3,4,7\n")
    pytest.importorskip("sklearn", reason="the example needs scikit-learn")
    outputs = execute(
        [
            ACTIVATE,
            "from azureml.core import Experiment, ScriptRunConfig, Workspace",
            "config = ScriptRunConfig('training', 'train.py',\n"
            "    arguments=['--data', '../data.csv'.replace('..', __import__('os').getcwd())])",
            "run = Experiment(Workspace.from_config(), 'nb').submit(config)",
            "run.wait_for_completion(show_output=True)['status']",
        ]
    )
    assert "trained on 3 rows of data.csv" in text_of(outputs)
    assert outputs[-1]["data"]["text/plain"] == "'Completed'"
