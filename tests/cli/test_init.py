"""`mlog init` makes the folder that runs of a project go to."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Child, Mlog

pytestmark = pytest.mark.usefixtures("no_dir")
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


@pytest.fixture
def no_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the nearest `.mlog` be the root."""
    monkeypatch.delenv("MLOG_DIR")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the command."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(params=[0o022, 0o077, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def git(folder: Path, *args: str) -> None:
    subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True)


def test_runs_started_below_go_there(start: Child, project: Path) -> None:
    """The whole way: the command, then a script, each in its own process."""
    child = start("-m", "mlog", "init")
    line = f"made {project}/.mlog: runs started in {project} or below go there\n"
    assert child.communicate() == (line.encode(), b"")
    assert child.returncode == 0
    below = project / "src" / "deep"
    below.mkdir(parents=True)
    script = "import mlog\nwith mlog.start_run('mnist') as r: print(r.path)"
    recorded, _ = start("-c", script, cwd=below).communicate()
    folder = Path(recorded.decode().strip())
    assert folder.parent.parent == project / ".mlog"
    shown, _ = start("-m", "mlog", "path", cwd=below).communicate()
    assert shown == recorded


def test_the_folder_is_for_the_user_alone(
    mlog: Mlog, project: Path, umask: int
) -> None:
    assert mlog("init").exit_code == 0
    assert mode(project / ".mlog") == 0o700


def test_group_opens_it_to_the_group(mlog: Mlog, project: Path, umask: int) -> None:
    """With the setgid bit, so that every run in it is the group's."""
    assert mlog("init", "--group").exit_code == 0
    assert mode(project / ".mlog") == 0o2770


def test_another_folder_can_be_named(mlog: Mlog, project: Path) -> None:
    (project / "other").mkdir()
    result = mlog("init", "other")
    assert result.stdout.startswith(f"made {project}/other/.mlog: ")
    assert (project / "other" / ".mlog").is_dir()


@pytest.mark.parametrize("option", [[], ["--group"]])
def test_a_second_call_changes_nothing(
    mlog: Mlog, project: Path, option: list[str]
) -> None:
    mlog("init", *option)

    def facts() -> tuple[int, int, int]:
        found = (project / ".mlog").stat()
        return found.st_ino, found.st_mode, found.st_mtime_ns

    before = facts()
    result = mlog("init", *option)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{project}/.mlog is there already: ")
    assert result.stdout.count("\n") == 1
    assert facts() == before


def test_group_opens_a_folder_that_is_there(mlog: Mlog, project: Path) -> None:
    mlog("init")
    assert "is open to its group" in mlog("init", "--group").stdout
    assert mode(project / ".mlog") == 0o2770


def test_a_shared_folder_is_not_closed_again(mlog: Mlog, project: Path) -> None:
    mlog("init", "--group")
    assert mlog("init").exit_code == 0
    assert mode(project / ".mlog") == 0o2770


@pytest.mark.parametrize("kind", ["link", "broken link", "file"])
def test_what_is_in_the_way_is_refused(mlog: Mlog, project: Path, kind: str) -> None:
    """Nothing is changed, neither it nor what a link leads to."""
    made, target = project / ".mlog", project / "target"
    if kind == "file":
        made.write_text("mine")
    else:
        made.symlink_to(target)
        if kind == "link":
            target.mkdir(mode=0o755)
    result = mlog("init", "--group")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlog: {made} is ")
    assert result.stderr.count("\n") == 1
    assert made.is_symlink() == (kind != "file")
    assert not target.exists() or mode(target) != 0o2770


@pytest.mark.parametrize("args", [["missing"], ["a-file"], ["a", "b"], ["--all"]])
def test_a_wrong_call_is_code_2(mlog: Mlog, project: Path, args: list[str]) -> None:
    (project / "a-file").touch()
    result = mlog("init", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_folder_that_refuses_is_one_line(mlog: Mlog) -> None:
    result = mlog("init", "/proc/self")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "/.mlog" in result.stderr
    assert result.stderr.count("\n") == 1


class TestNotes:
    """What else the user should know goes to stderr."""

    def test_mlog_dir_comes_first(
        self, mlog: Mlog, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLOG_DIR", "/elsewhere")
        assert "runs go to /elsewhere\n" in mlog("init").stderr
        monkeypatch.setenv("MLOG_DIR", str(project / ".mlog"))
        assert mlog("init").stderr == ""

    @needs_git
    def test_git_should_ignore_it(self, mlog: Mlog, project: Path) -> None:
        git(project, "init", "-q")
        (project / "below").mkdir()
        expected = f"add the line .mlog/ to {project}/.gitignore\n"
        assert mlog("init").stderr.endswith(expected)
        assert mlog("init", "below").stderr.endswith(expected)
        assert not (project / ".gitignore").exists()

    @needs_git
    @pytest.mark.parametrize("where", [".gitignore", ".git/info/exclude"])
    @pytest.mark.parametrize("text", [".mlog/", ".mlog", ".m*", "*\n!src"])
    def test_nothing_is_said_where_git_ignores_it(
        self, mlog: Mlog, project: Path, where: str, text: str
    ) -> None:
        git(project, "init", "-q")
        (project / where).write_text(f"{text}\n")
        assert mlog("init").stderr == ""

    @needs_git
    def test_a_taken_back_line_does_not_ignore_it(
        self, mlog: Mlog, project: Path
    ) -> None:
        git(project, "init", "-q")
        (project / ".gitignore").write_text(".mlog/\n!.mlog/\n")
        assert "git does not ignore it" in mlog("init").stderr

    def test_without_git_the_usual_line_is_looked_for(
        self, mlog: Mlog, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        (project / ".git").mkdir()
        assert "git does not ignore it" in mlog("init").stderr
        (project / ".gitignore").write_text("*.pyc\n/.mlog/\n")
        assert mlog("init").stderr == ""
