"""What a run keeps of its surroundings: gathered beside the work, told once."""

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.run.capture import Capture
from tests.helpers import entries, run_python


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a git folder with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "train.py").write_text("rate = 1\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for line in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", *line], cwd=folder, check=True, capture_output=True)
    monkeypatch.chdir(folder)
    return folder


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def events(path: Path, name: str) -> list[Any]:
    return [e["data"] for e in entries(path, "events") if e["event"] == name]


def test_a_run_knows_its_commit_and_whether_files_were_changed(
    repository: Path,
) -> None:
    with mlog.start_run("e") as clean:
        pass
    (repository / "train.py").write_text("rate = 2\n")
    with mlog.start_run("e") as changed:
        pass
    said = events(folder(clean), "run.start")[0]["git"]
    assert len(said["commit"]) == 40
    assert said["branch"] in ("main", "master")
    dirty = [
        events(folder(r), "run.environment")[0]["git"]["dirty"]
        for r in (clean, changed)
    ]
    assert dirty == [False, True]


def test_what_was_changed_is_kept_on_request_without_secrets(repository: Path) -> None:
    secret = "ghp_" + "a1B2c3D4" * 5
    (repository / "train.py").write_text(f"rate = 2\ntoken = '{secret}'\n")
    with mlog.start_run("e") as plain:
        pass
    with mlog.start_run("e", git_diff=True) as run:
        pass
    assert plain.get_file_names() == []
    assert run.get_file_names() == ["git.diff"]
    text = (folder(run) / "artifacts" / "git.diff").read_text()
    assert "+rate = 2" in text
    assert secret not in text


def test_a_diff_that_cannot_be_had_is_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.warns(mlog.MlogWarning, match="git cannot say"):
        mlog.start_run("e", git_diff=True).complete()


def test_only_the_main_writer_tells(repository: Path) -> None:
    code = "import mlog, logging; logging.getLogger('x').info('a line')"
    with mlog.start_run("e") as run:
        done = run_python(code)
        assert done.returncode == 0, done.stderr
    assert len(events(folder(run), "run.environment")) == 1


def test_no_environment_variable_is_kept(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMLESS_LOOKING", "x7Q-only-here")
    with mlog.start_run("e") as run:
        pass
    for file in folder(run).iterdir():
        assert b"x7Q-only-here" not in file.read_bytes()


def test_it_is_told_once_whoever_comes_first(repository: Path) -> None:
    """The keeper's rounds and the end may meet."""
    told: list[tuple[str, Mapping[str, Any]]] = []
    capture = Capture(lambda name, data: told.append((name, data)), repository)
    threads = [threading.Thread(target=capture.keep, args=(0.0,)) for _ in range(4)]
    threads += [
        threading.Thread(target=capture.finish, args=(False,)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.keep(1.0)
    assert [name for name, _ in told] == ["run.environment"]


def test_the_keeper_waits_for_nothing(repository: Path) -> None:
    """Git is started in one round, and asked for its answer in later ones."""
    told: list[Mapping[str, Any]] = []
    capture = Capture(lambda _, data: told.append(data), repository)
    capture.keep(0.0)
    assert told == []
    while not told:
        capture.keep(0.0)
    assert told[0]["git"] == {"dirty": False}


def test_ctrl_c_is_still_what_ends_a_process(repository: Path) -> None:
    """Loading `subprocess` at exit would hide it from the interpreter's own end."""
    code = "import mlog; mlog.start_run('e'); raise KeyboardInterrupt"
    assert run_python(code).returncode == (-2 if sys.platform != "win32" else 1)


def test_git_is_asked_about_the_folder_a_run_was_started_in(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "train.py").write_text("rate = 2\n")
    run = mlog.start_run("e")
    monkeypatch.chdir(tmp_path)
    run.complete()
    assert events(folder(run), "run.environment")[0]["git"] == {"dirty": True}


def test_git_is_not_started_outside_of_repositories(tmp_path: Path) -> None:
    told: list[Mapping[str, Any]] = []
    capture = Capture(lambda _, data: told.append(data), tmp_path, has_git=False)
    capture.keep(0.0)
    assert len(told) == 1
    assert "git" not in told[0]
