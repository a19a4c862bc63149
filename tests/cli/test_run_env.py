"""`mlog run --env`: what somebody at a terminal sees of an environment."""

import os
import re
from pathlib import Path

import pytest

from mlog.reader.state import read_state
from tests.helpers import run_python
from tests.launch.making import IMAGE, FakeDocker, make_wheel


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with wheels of its own, and pip set up to look nowhere else."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    folder = tmp_path / "source"
    (folder / "wheels").mkdir(parents=True)
    make_wheel(folder / "wheels", "gadget", "1.0")
    (folder / "train.py").write_text("import gadget; print(gadget.VERSION)\n")
    return folder


def mlog(*args: str, cwd: Path) -> tuple[int, str, str]:
    done = run_python("from mlog.cli import main; main()", *args, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def test_the_build_is_seen_as_it_goes(source: Path) -> None:
    """On standard error: standard output is the script's. `mlog show` says what it was."""
    (source / "requirements.txt").write_text("--no-index\n-f wheels\ngadget\n")
    code, out, err = mlog("run", "--env", "requirements.txt", "train.py", cwd=source)
    assert (code, out) == (0, "1.0\n"), err
    assert re.search(r"^building environment [0-9a-f]{32} with Python 3", err, re.M)
    assert re.search(r"^built in [0-9.]+ s: ", err, re.M)
    code, out, err = mlog("show", cwd=source)
    expected = r"runs in +virtual environment \(requirements.txt: gadget\)"
    assert re.search(expected, out)
    code, out, err = mlog("run", "train.py", cwd=source)
    assert code == 1
    assert "No module named 'gadget'" in err
    assert "runs in" not in mlog("show", cwd=source)[1]


def test_the_reason_is_one_message(source: Path) -> None:
    """It is that of the run; the log above it was shown as it came."""
    (source / "requirements.txt").write_text("--no-index\n-f wheels\nnobody-has-this\n")
    code, out, err = mlog("run", "--env", "requirements.txt", "train.py", cwd=source)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert "is Failed: requirements.txt cannot be installed: " in last
    assert "nobody-has-this" in last
    assert "\\n" not in last  # nor are several squeezed into one
    assert "Traceback" not in err
    folder = Path(err.partition("→ ")[2].splitlines()[0])
    assert read_state(folder).status == "Failed"


def test_an_image_is_named_with_its_engine(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a fake: there is no engine here, see `fake_docker.py`."""
    fake = FakeDocker(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{fake.client.parent}:{os.environ['PATH']}")
    command = [
        "run",
        "--env",
        f"docker:{IMAGE}",
        "--",
        "sh",
        "-c",
        "echo $IMAGE; exit 7",
    ]
    code, out, err = mlog(*command, cwd=source)
    assert (code, out) == (7, f"{IMAGE}\n"), err


@pytest.mark.parametrize(
    ("env", "code", "says"),
    [
        ("none.txt", 1, "there is no file none.txt to take packages from"),
        ("broken.yml", 1, "broken.yml cannot be read: line 1 of the conda file"),
        ("nonsense", 1, "there is no environment 'nonsense'; expected the path of an"),
        ("", 2, "environment must name one, got ''"),
        ("docker:", 2, "an image needs a name, got ''"),
    ],
)
def test_what_is_no_environment_is_told(
    source: Path, env: str, code: int, says: str
) -> None:
    (source / "broken.yml").write_text("dependencies numpy")
    found, out, err = mlog("run", "--env", env, "train.py", cwd=source)
    assert (found, out) == (code, "")
    assert says in err
    assert "Traceback" not in err
