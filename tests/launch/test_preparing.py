"""Scripts in interpreters other than the one that submits."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlog.reader.state import read_state
from tests.helpers import entries
from tests.launch.helpers import events, printed, statuses

Finished = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def run_dir(root: Path) -> Path:
    """Return one root for all tests here, as making the copy of mlog takes time."""
    return root


CODE = """
import logging, sys
logging.getLogger("train").info("hello", metric={"loss": 0.5}, step=1)
print(sys.version.split()[0])
"""


def test_another_python_writes_into_the_run(
    finished: Finished, another_python: str
) -> None:
    """Though mlog is not installed there; and the run says what it ran in."""
    folder = finished(CODE, config={"environment": another_python})
    (version,) = printed(folder)
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"loss": 0.5}]
    state = read_state(folder)
    assert state.launch["environment"]["text"] == another_python
    assert state.environment["python"] == version
    assert state.environment["executable"] == another_python
    assert "orjson" not in state.environment["packages"]
    assert printed(folder, "mlog.launch") == []


def test_a_script_for_the_azure_sdk_runs_in_another_python(
    finished: Finished, another_python: str
) -> None:
    code = "from azureml.core import Run\nRun.get_context().log('a', 1)"
    folder = finished(code, config={"environment": another_python, "azureml": True})
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"a": 1}]


def test_a_child_of_a_script_in_another_python_joins_the_run(
    finished: Finished, another_python: str
) -> None:
    code = """
import subprocess, sys
child = "import logging; logging.getLogger('c').info(metric={'x': 1})"
subprocess.run([sys.executable, "-c", child], check=True)
"""
    folder = finished(code, config={"environment": another_python})
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"x": 1}]


def test_a_python_that_is_too_old_runs_without_metrics(
    finished: Finished, python310: str
) -> None:
    """What it prints is kept, and one line says why there is no more."""
    code = "import sys; print('out'); sys.stderr.write('err\\n'); sys.exit(3)"
    folder = finished(code, config={"environment": python310})
    assert (printed(folder), printed(folder, "stderr")) == (["out"], ["err"])
    assert events(folder, "run.end")[0]["error"]["exit_code"] == 3
    (note,) = printed(folder, "mlog.launch")
    assert note.startswith(
        "only what the script prints is recorded, no metrics: Python 3.10."
    )


def venv_with(folder: Path, name: str, text: str) -> Path:
    """Make a virtual environment with one package of a text; return its Python."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    package = folder / "lib" / version / "site-packages" / name
    package.mkdir()
    (package / "__init__.py").write_text(text)
    return folder / "bin" / "python"


def test_a_foreign_package_called_mlog_is_left_alone(
    finished: Finished, tmp_path: Path
) -> None:
    """One of that name is on the package index."""
    python = venv_with(tmp_path / "venv", "mlog", "WHOSE = 'theirs'")
    folder = finished(
        "import mlog; print(mlog.WHOSE)", config={"environment": tmp_path / "venv"}
    )
    assert printed(folder) == ["theirs"]
    (note,) = printed(folder, "mlog.launch")
    assert "another package has the name mlog there: " in note
    assert read_state(folder).environment["executable"] == str(python)


def test_an_environment_keeps_its_own_packages(
    finished: Finished, tmp_path: Path
) -> None:
    """Those of mlog come after them, and mlog does without an orjson that is too old."""
    venv_with(tmp_path / "venv", "orjson", "OLD = True")
    code = CODE + "\nimport orjson; print(orjson.OLD)"
    folder = finished(code, config={"environment": tmp_path / "venv"})
    assert printed(folder)[-1] == "True"
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"loss": 0.5}]


def test_an_interpreter_may_be_named(
    finished: Finished, another_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.path.dirname(another_python)
    name = "python" + ".".join(os.path.basename(os.path.dirname(folder)).split(".")[:2])
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    found = finished(CODE, config={"environment": name})
    assert read_state(found).environment["executable"] == f"{folder}/{name}"


def test_python_in_a_command_is_the_environments(
    finished: Finished, another_python: str
) -> None:
    command = "python -c 'import sys; print(sys.executable)'"
    config = {"command": command, "environment": another_python}
    (path,) = printed(finished(config=config))
    assert os.path.dirname(path) == os.path.dirname(another_python)


def test_a_shim_says_first_what_it_does_not_find(
    finished: Finished, tmp_path: Path
) -> None:
    """That of pyenv goes on with advice, in lines that mean nothing alone."""
    shim = tmp_path / "python3.99"
    shim.write_text(
        "#!/bin/sh\nprintf 'pyenv: not found\\n\\n  advice\\n' >&2\nexit 127\n"
    )
    shim.chmod(0o700)
    folder = finished("print('never')", config={"environment": str(shim)})
    message = events(folder, "run.end")[0]["error"]["msg"]
    assert message == f"{shim} does not run: pyenv: not found"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nonsense", "there is no environment 'nonsense'; expected the path of an in"),
        ("/no/such/python", "there is no interpreter /no/such/python"),
        ("/bin/true", "/bin/true does not run: "),
    ],
)
def test_an_environment_that_is_not_there_is_the_reason(
    finished: Finished, name: str, says: str
) -> None:
    folder = finished("print('never')", config={"environment": name})
    assert statuses(folder) == ["NotStarted", "Preparing", "Failed"]
    message = events(folder, "run.end")[0]["error"]["msg"]
    assert message.startswith(says)
    assert "\n" not in message
    assert printed(folder) == []
