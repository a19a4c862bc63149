"""Runs begun in notebook cells, in a real kernel."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import run_python

pytest.importorskip("nbclient", reason="nbclient drives the kernel")
pytest.importorskip("ipykernel", reason="there is no kernel to drive")

_DRIVER = """
import json, sys
import nbformat
from nbclient import NotebookClient

sources = json.load(sys.stdin)
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
order = json.loads(sys.argv[1])
client = NotebookClient(notebook, timeout=60, kernel_name="python3")
outputs = []
with client.setup_kernel():
    for index in order:
        cell = client.execute_cell(notebook.cells[index], index)
        outputs.append(cell.outputs)
print(json.dumps(outputs))
"""


def executed(cells: list[str], order: list[int], root: Path) -> list[list[Any]]:
    """Return the outputs of each execution of the cells, in order."""
    code = _DRIVER.replace("json.load(sys.stdin)", repr(cells))
    done = run_python(
        code, json.dumps(order), env={"MLOG_DIR": str(root)}, warnings="default"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, list)
    return found


def text(outputs: list[Any], name: str) -> str:
    return "".join(o["text"] for o in outputs if o.get("name") == name)


def test_executing_a_cell_again_ends_the_run_it_had_begun(tmp_path: Path) -> None:
    cells = [
        "import mlog",
        "run = mlog.start_run('nb')\nrun.log('loss', 1)",
        "print([(r.status, r.parent_path) for r in mlog.runs('nb')])",
    ]
    outputs = executed(cells, [0, 1, 1, 2], tmp_path)
    assert text(outputs[1], "stderr") == ""
    said = text(outputs[2], "stderr")
    assert said.startswith("mlog: run ")
    assert said.endswith("ended, as its cell was executed again\n")
    assert len(said.splitlines()) == 1
    assert text(outputs[3], "stdout") == "[('Running', None), ('Completed', None)]\n"


def test_runs_of_one_execution_are_left_alone(tmp_path: Path) -> None:
    cells = [
        "import mlog\nparent = mlog.start_run('nb')\nchild = mlog.start_run('nb')",
        "print(parent.status, child.status, child.parent is parent)",
    ]
    outputs = executed(cells, [0, 1], tmp_path)
    assert text(outputs[1], "stdout") == "Running Running True\n"


def test_a_child_that_is_begun_again_keeps_its_parent(tmp_path: Path) -> None:
    """The new one takes the place of the old one, wherever that was."""
    cells = [
        "import mlog\nparent = mlog.start_run('above')",
        "child = mlog.start_run('below')",
        "print(child.parent is parent, parent.parent)",
    ]
    outputs = executed(cells, [0, 1, 2, 1, 2, 0, 1, 2], tmp_path)
    told = [text(outputs[at], "stdout") for at in (2, 4, 7)]
    assert told == ["True None\n"] * 3


def test_a_function_of_another_cell_begins_runs_of_the_cell_that_calls_it(
    tmp_path: Path,
) -> None:
    """Also where the frontend sends no ids of cells."""
    cells = [
        "import mlog\ndef train(): return mlog.start_run('nb')",
        "first = train()",
        "second = train()\nprint(first.status, second.status)",
    ]
    outputs = executed(cells, [0, 1, 2, 2], tmp_path)
    assert text(outputs[2], "stderr") == ""
    assert text(outputs[2], "stdout") == "Running Running\n"
    assert text(outputs[3], "stderr").count("executed again") == 1


def test_a_run_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    cells = [
        "import mlog\nrun = mlog.start_run('nb')\n"
        "for i in range(20): run.log('loss', 1 / (i + 1), step=i)\n"
        "run.complete()",
        "run",
    ]
    (output,) = executed(cells, [0, 1], tmp_path)[1]
    page = output["data"]["text/html"]
    assert "loss" in page
    assert "<svg" in page
    assert "Completed" in page
    assert "loss" in output["data"]["text/plain"]


def test_what_cells_print_is_recorded_and_shown(tmp_path: Path) -> None:
    """The notebook shows it as before, each cell its own."""
    cells = [
        "import mlog\nrun = mlog.start_run('nb', capture=True)\nprint('first')",
        "print('second')\nimport warnings; warnings.warn('careful')",
        "run.complete()\nprint('after')",
        "print([e['msg'] for e in run.entries('logs', logger='stdout')])",
    ]
    outputs = executed(cells, [0, 1, 2, 3], tmp_path)
    assert text(outputs[0], "stdout") == "first\n"
    assert text(outputs[1], "stdout") == "second\n"
    assert "UserWarning: careful" in text(outputs[1], "stderr")
    assert text(outputs[2], "stdout") == "after\n"
    assert text(outputs[3], "stdout") == "['first', 'second']\n"
