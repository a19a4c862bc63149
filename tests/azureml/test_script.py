"""`python -m mlog.azureml script.py` runs a script as `python script.py` would."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import run_python


def azureml(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mlog.azureml` to its end; the caller looks at it."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "mlog.azureml", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def write(name: str, text: str) -> str:
    """Write a script."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, "utf-8")
    return name


ABOUT = """
import os, sys
import beside
print(__name__, __file__ == os.path.abspath(sys.argv[0]), __spec__, sys.argv[1:])
print(sys.path[0] == os.path.dirname(__file__), beside.X)
print(sys.modules["__main__"].__dict__ is globals())
"""


def test_a_script_is_main() -> None:
    """Name, file, arguments and path are what they are without mlog."""
    write("src/beside.py", "X = 'beside'\n")
    script = write("src/train.py", ABOUT)
    plain = run_python(Path(script), "--alpha", "0.5")
    here = azureml(script, "--alpha", "0.5")
    assert (here.returncode, here.stderr) == (0, "")
    assert here.stdout == plain.stdout
    assert "__main__ True None ['--alpha', '0.5']" in here.stdout


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit(3)",
        "import sys; sys.exit('a message')",
        "raise SystemExit",
        "def f():\n    1 / 0\nf()",
        "x = (",
        "import nothing_of_that_name",
        "raise KeyboardInterrupt",
        "import sys; sys.stdout.write('half a line')",
    ],
)
def test_a_script_ends_as_it_would(text: str) -> None:
    """Exit code, output and traceback are those of `python script.py`."""
    script = write("train.py", text)
    plain, here = run_python(Path(script)), azureml(script)
    assert here.returncode == plain.returncode
    assert here.stdout == plain.stdout
    if "KeyboardInterrupt" in text:  # the interpreter shows this one by itself
        assert here.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]
        assert here.returncode == -signal.SIGINT
    else:
        assert here.stderr == plain.stderr


def test_a_script_that_is_not_there() -> None:
    done = azureml("nothing.py")
    assert done.returncode == 2
    assert "can't open file" in done.stderr
    assert "No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_modules_and_folders_run_too() -> None:
    write("package/__init__.py", "")
    write("package/__main__.py", "import sys; print(__name__, sys.argv[1:])")
    assert azureml("-m", "package", "a").stdout == "__main__ ['a']\n"
    assert azureml("package", "a").stdout == "__main__ ['a']\n"
    missing = azureml("-m", "nothing_of_that_name")
    assert missing.returncode == 1
    assert "No module named nothing_of_that_name" in missing.stderr


def test_it_says_how_it_is_used() -> None:
    assert azureml("--help").stdout.startswith("usage: python -m mlog.azureml")
    for wrong in ([], ["--nothing"], ["-m"]):
        done = azureml(*wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: python -m mlog.azureml")


def test_what_is_installed_is_used_unless_forced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("site/azureml/core/__init__.py", "VERSION = 'the real one'\n")
    monkeypatch.setenv("PYTHONPATH", os.path.abspath("site"))
    script = write("train.py", "import azureml.core; print(azureml.core.VERSION)")
    left_alone = azureml(script)
    assert left_alone.stdout == "the real one\n"
    assert "azureml-core is installed and used" in left_alone.stderr
    forced = azureml("--force", script)
    assert forced.stdout != "the real one\n"
    assert forced.stderr == ""


CHILDREN = """
import multiprocessing, subprocess, sys

def work(n):
    from azureml.core import Run
    return Run.__module__

if __name__ == "__main__":
    from azureml.core import Run
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        print(pool.map(work, [1]))
        pool.close()
        pool.join()
    code = "from azureml.core import Run; print(Run.__module__)"
    subprocess.run([sys.executable, "-c", code], check=True)
"""


def test_its_children_find_the_alias() -> None:
    done = azureml(write("train.py", CHILDREN))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "['mlog.azureml.core.run']\nmlog.azureml.core.run\n"


def test_a_script_that_fails_leaves_a_failed_run(run_dir: Path) -> None:
    text = """
from azureml.core import Run
run = Run.get_context()
run.log("loss", 0.5)
print(run.id)
raise ValueError("no data")
"""
    done = azureml(write("train.py", text))
    assert done.returncode == 1
    (path,) = run_dir.glob(f"*/{done.stdout.strip()}/run.json")
    said = path.read_text("utf-8")
    assert '"Failed"' in said
    assert "no data" in said
