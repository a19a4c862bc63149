"""Every example runs to its end and leaves whole, strictly readable runs."""

import ast
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers import REPO, entries, lost, run_python

SHOWN = {
    "submit.py": [
        "Streaming user_logs/std_log.txt",
        "alpha 100: mse 3082.6",
        "registered ridge:1 of line, mse 3082.6",
    ]
}
"""Lines that an example prints among others."""

EXAMPLES = sorted((REPO / "examples").glob("*.py"))


def absent_imports(script: Path) -> list[str]:
    """Return the packages that a script imports and this environment lacks."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(script.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    beside = {path.stem for path in script.parent.glob("*.py")}
    return sorted(name for name in tops - beside if find_spec(name) is None)


def parts_of(script: Path) -> list[Path]:
    """Return a script with those of the folder that it submits."""
    text = script.read_text("utf-8")
    submitted = script.parent.glob("*/*.py")
    return [script, *(p for p in submitted if f'"{p.parent.name}"' in text)]


def test_there_are_examples() -> None:
    """The README's main command runs this one."""
    assert "train.py" in [path.name for path in EXAMPLES]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_example(script: Path, tmp_path: Path, run_dir: Path) -> None:
    """An example needs no argument, account, server or GPU."""
    if absent := [name for path in parts_of(script) for name in absent_imports(path)]:
        pytest.skip(f"{script.name} needs {', '.join(absent)}")
    shutil.copytree(script.parent, tmp_path / "examples")
    done = run_python(
        tmp_path / "examples" / script.name,
        cwd=tmp_path,
        timeout=240,
        warnings="default",  # those of foreign packages are not the example's
    )
    assert done.returncode == 0, done.stderr
    assert set(SHOWN.get(script.name, [])) <= set(done.stdout.splitlines())
    assert "MlogWarning" not in done.stderr
    assert "mlog: warning" not in done.stderr
    runs = {path.parent for path in run_dir.rglob("events*.jsonl")}
    assert runs
    for run in runs:
        assert entries(run)
        assert lost(run) == {}
