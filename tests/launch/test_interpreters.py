"""Finding a Python by the version that is asked for."""

import sys
from pathlib import Path

import pytest

from mlog.errors import MlogError
from mlog.launch.interpreters import clean_env, find_python, look_at, running


def machine(folder: Path, *versions: str) -> dict[str, str]:
    """Return an environment in which pyenv has installed (stand-ins for) Pythons."""
    for version in versions:
        python = folder / "pyenv/versions" / version / "bin/python3"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho {version}; echo $0\n")
        python.chmod(0o755)
    return {"PYENV_ROOT": str(folder / "pyenv"), "PATH": "/nothing", "HOME": "/nothing"}


def test_the_python_that_runs_this_is_preferred(tmp_path: Path) -> None:
    env = machine(tmp_path, "3.99.0")
    assert find_python(">=3.8", env) == (running(), None)
    assert running().path == sys.executable


def test_the_newest_that_fits_is_taken(tmp_path: Path) -> None:
    env = machine(tmp_path, "3.8.1", "3.8.18", "3.9.2", "2.7.18")
    found, remark = find_python("==3.8.*", env)
    assert (found.version, remark) == ("3.8.18", None)
    assert find_python(">=3.8,<3.10", env)[0].version == "3.9.2"


def test_another_release_will_do_with_a_remark(tmp_path: Path) -> None:
    env = machine(tmp_path, "3.8.1", "3.8.18")
    for wanted in ("==3.8.13", "==3.8.13.*"):
        found, remark = find_python(wanted, env)
        assert found.version == "3.8.18"
        assert remark is not None
        assert "3.8.18 is used" in remark


def test_a_python_on_the_path_is_found(tmp_path: Path) -> None:
    env = machine(tmp_path)
    python = tmp_path / "bin" / "python3.7"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 3.7.4; echo $0\n")
    python.chmod(0o755)
    found, _ = find_python("==3.7.*", {**env, "PATH": str(python.parent)})
    assert found.path == str(python)


def test_what_does_not_start_is_passed_over(tmp_path: Path) -> None:
    """As pyenv's stand-ins do for versions that are not chosen."""
    env = machine(tmp_path, "3.8.1")
    python = tmp_path / "pyenv/versions/3.8.1/bin/python3"
    python.write_text("#!/bin/sh\nexit 127\n")
    with pytest.raises(MlogError) as caught:
        find_python("==3.8.*", env)
    assert str(caught.value) == (
        f"there is no Python ==3.8.* on this machine (found: {running().version}); "
        "install it, or ask for another one (python=3.11 in the conda file)"
    )


def test_a_real_python_says_its_version(python310: str) -> None:
    found = look_at(python310, {"PATH": "/bin"})
    assert found is not None
    assert found.version.startswith("3.10.")
    assert look_at("/bin/true", {}) is None
    assert look_at("/nothing", {}) is None


def test_tools_know_nothing_of_the_run() -> None:
    env = clean_env({"MLOG_RUN": "r", "PYTHONPATH": "p", "VIRTUAL_ENV": "v", "A": "1"})
    assert env == {"A": "1", "MLOG_MODE": "off"}
