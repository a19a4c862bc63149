"""What git knows of the code: read from its files, the same as git itself says."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlog.run.repository import DirtyCheck, git_diff, git_facts, without_credentials
from tests.helpers import run_python

ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


@pytest.fixture(autouse=True)
def _clean_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's settings nor a hook that runs the tests decide anything."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


def git(folder: Path, *arguments: str) -> str:
    """Run git, which has to succeed, and return what it says."""
    done = subprocess.run(
        ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout.strip()


def commit(folder: Path, name: str = "train.py", text: str = "x = 1\n") -> str:
    """Commit one file and return the name of the commit."""
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-qm", "change")
    return git(folder, "rev-parse", "HEAD")


def new_repository(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with one commit on `main`."""
    folder = new_repository(tmp_path / "work")
    commit(folder)
    return folder


def by_git(folder: Path) -> dict[str, str]:
    """What git itself says of commit and branch."""
    branch = git(folder, "branch", "--show-current")
    facts = {"commit": git(folder, "rev-parse", "HEAD"), "branch": branch}
    return {key: value for key, value in facts.items() if value}


# --- commit and branch ---------------------------------------------------------------


def on_a_branch(work: Path) -> Path:
    return work


def in_a_subfolder(work: Path) -> Path:
    (work / "a" / "b").mkdir(parents=True)
    return work / "a" / "b"


def on_a_branch_with_a_path_for_a_name(work: Path) -> Path:
    git(work, "switch", "-qc", "feature/größer")
    return work


def with_a_detached_head(work: Path) -> Path:
    commit(work, text="x = 2\n")
    git(work, "checkout", "-q", "HEAD~1")
    return work


def at_a_tag(work: Path) -> Path:
    git(work, "tag", "-am", "one", "v1")
    git(work, "checkout", "-q", "v1")
    return work


def with_packed_refs(work: Path) -> Path:
    git(work, "branch", "main2")
    git(work, "tag", "-am", "one", "v1")
    git(work, "pack-refs", "--all")
    assert not (work / ".git" / "refs" / "heads" / "main").exists()
    return work


def with_a_ref_newer_than_the_packed_one(work: Path) -> Path:
    git(work, "pack-refs", "--all")
    commit(work, text="x = 2\n")
    return work


def with_a_symbolic_branch(work: Path) -> Path:
    git(work, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(work, "symbolic-ref", "HEAD", "refs/heads/alias")
    return work


def in_a_worktree(work: Path) -> Path:
    git(work, "worktree", "add", "-q", "-b", "other", str(work.parent / "tree"))
    commit(work.parent / "tree", text="x = 3\n")
    return work.parent / "tree"


def in_a_worktree_with_packed_refs(work: Path) -> Path:
    tree = in_a_worktree(work)
    git(work, "pack-refs", "--all")
    return tree


def in_a_submodule(work: Path) -> Path:
    outer = new_repository(work.parent / "outer")
    git(outer, "submodule", "add", "-q", str(work), "libs/work")
    return outer / "libs" / "work"


def behind_a_link(work: Path) -> Path:
    (work.parent / "link").symlink_to(work)
    return work.parent / "link"


def with_a_separate_git_folder(work: Path) -> Path:
    git(work, "init", "-q", "--separate-git-dir", str(work.parent / "elsewhere"))
    return work


def below_an_empty_git_folder(work: Path) -> Path:
    (work / "inner" / ".git").mkdir(parents=True)
    return work / "inner"


def with_long_object_names(work: Path) -> Path:
    folder = work.parent / "long"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main", "--object-format=sha256")
    assert len(commit(folder)) == 64
    return folder


@pytest.mark.parametrize(
    "make",
    [
        on_a_branch,
        in_a_subfolder,
        on_a_branch_with_a_path_for_a_name,
        with_a_detached_head,
        at_a_tag,
        with_packed_refs,
        with_a_ref_newer_than_the_packed_one,
        with_a_symbolic_branch,
        in_a_worktree,
        in_a_worktree_with_packed_refs,
        in_a_submodule,
        behind_a_link,
        with_a_separate_git_folder,
        below_an_empty_git_folder,
        with_long_object_names,
    ],
)
def test_commit_and_branch_are_those_git_names(
    work: Path, make: Callable[[Path], Path]
) -> None:
    folder = make(work)
    found = git_facts(folder)
    found.pop("remote", None)
    assert found == by_git(folder)


def test_without_a_commit_there_is_a_branch_all_the_same(tmp_path: Path) -> None:
    assert git_facts(new_repository(tmp_path)) == {"branch": "main"}


def test_outside_of_git_there_is_nothing(tmp_path: Path) -> None:
    assert git_facts(tmp_path) == {}
    assert git_facts(tmp_path / "missing") == {}
    assert git_facts("no\0path") == {}


def test_the_variable_of_git_is_followed(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook: `GIT_DIR` names the repository, relative to the folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setenv("GIT_DIR", "../work/.git")
    assert git_facts(outside) == by_git(outside)
    assert git_facts(outside, env={}) == {}
    assert git_facts(work, env={"GIT_DIR": str(tmp_path / "missing")}) == {}


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "ref: ", "ref: ../../x", "ref: refs/heads/../../../secret"],
)
def test_a_broken_head_tells_no_commit(work: Path, text: str) -> None:
    (work.parent / "secret").write_text("0" * 40)
    (work / ".git" / "HEAD").write_text(text)
    assert "commit" not in git_facts(work)


@pytest.mark.parametrize("name", ["HEAD", "config", "packed-refs"])
def test_files_that_are_none_cost_only_themselves(work: Path, name: str) -> None:
    """A pipe is not waited for, a folder is not read."""
    path = work / ".git" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert set(git_facts(work)) in ({"commit", "branch"}, set())


def test_a_file_that_points_nowhere_ends_the_search(work: Path) -> None:
    """As for git: this folder was meant to be a working tree of its own."""
    (work / "broken").mkdir()
    (work / "broken" / ".git").write_text("gitdir: missing\n")
    assert git_facts(work / "broken") == {}


def test_refs_in_tables_are_asked_for(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository with `refstorage = reftable` has no files that could be read."""
    head = by_git(work)
    (work / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\ncase \"$*\" in *'rev-parse HEAD --symbolic-full-name HEAD')\n"
        f"echo {head['commit']}; echo refs/heads/main;; *) exit 1;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert git_facts(work) == head
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_facts(work) == {}


def test_facts_take_no_time(work: Path) -> None:
    """A start of a run has 20 ms for everything."""
    git(work, "remote", "add", "origin", "https://example.org/x.git")
    took = []
    for _ in range(20):
        start = time.perf_counter()
        git_facts(work)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.001


def test_facts_start_no_process_and_load_nothing(work: Path) -> None:
    code = f"""
import sys
from mlog.run.repository import git_facts
before = set(sys.modules)
assert git_facts({str(work)!r})["branch"] == "main"
assert set(sys.modules) == before
"""
    assert run_python(code).stderr == ""


# --- the remote ----------------------------------------------------------------------


def add_remotes(work: Path, **urls: str) -> None:
    for name, url in urls.items():
        git(work, "remote", "add", name, url)


@pytest.mark.parametrize(
    "urls",
    [
        {"origin": "https://example.org/a.git"},
        {"origin": "git@example.org:a/b.git", "fork": "git@example.org:c/b.git"},
        {"origin": "/srv/with blank/a.git"},
        {"origin": "https://example.org/a;b#c.git".replace("#", "%23")},
    ],
)
def test_the_remote_is_that_of_git(work: Path, urls: dict[str, str]) -> None:
    add_remotes(work, **urls)
    assert git_facts(work)["remote"] == git(work, "ls-remote", "--get-url")


def test_the_remote_of_the_branch_comes_first(work: Path) -> None:
    add_remotes(work, origin="https://a.org/x", upstream="https://b.org/x")
    git(work, "config", "branch.main.remote", "upstream")
    assert git_facts(work)["remote"] == git(work, "ls-remote", "--get-url")
    git(work, "checkout", "-q", "--detach")
    assert git_facts(work)["remote"] == git(work, "ls-remote", "--get-url")


def test_an_only_remote_needs_no_name(work: Path) -> None:
    add_remotes(work, github="https://a.org/x")
    assert git_facts(work)["remote"] == "https://a.org/x"


def test_a_branch_that_follows_a_local_one_has_the_usual_remote(work: Path) -> None:
    add_remotes(work, origin="https://a.org/x")
    git(work, "switch", "-qc", "topic", "--track", "main")
    assert git_facts(work)["remote"] == "https://a.org/x"


def test_a_worktree_has_the_remote_of_its_repository(work: Path) -> None:
    add_remotes(work, origin="https://a.org/x")
    assert git_facts(in_a_worktree(work))["remote"] == "https://a.org/x"


def test_a_submodule_has_a_remote_of_its_own(work: Path) -> None:
    folder = in_a_submodule(work)
    assert git_facts(folder)["remote"] == git(folder, "ls-remote", "--get-url")


@pytest.mark.parametrize(
    "config",
    [
        '[remote "origin"]\n\turl = https://a.org/x\n',
        '[REMOTE "origin"] URL = https://a.org/x ; why\n',
        '[remote "origin"]\r\n\turl = "https://a.org/x" # why\r\n',
        '[remote "origin"]\nurl=https://\\\na.org/x\n[core]\nx\n',
        '[remote "origin"]\nurl = https://a.org/x\nurl = https://b.org/x\n',
        '# [remote "other"]\n[remote "ori\\gin"]\n  url = https:"//a.org"/x  \n',
    ],
)
def test_a_config_is_read_as_git_reads_it(work: Path, config: str) -> None:
    (work / ".git" / "config").write_text(config, newline="")
    assert git(work, "ls-remote", "--get-url") == "https://a.org/x"
    assert git_facts(work)["remote"] == "https://a.org/x"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://host/a.git", "https://host/a.git"),
        ("https://user:token@host/a.git", "https://host/a.git"),
        ("https://ghp_token@host/a.git", "https://host/a.git"),
        ("https://user:to@ken@host:8443/a.git", "https://host:8443/a.git"),
        ("https://host/a.git?private_token=x#y", "https://host/a.git"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
        ("https://host/@scope/a", "https://host/@scope/a"),
        ("ssh://git@host:22/a.git", "ssh://git@host:22/a.git"),
        ("ssh://git:password@host/a.git", "ssh://git@host/a.git"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        ("user:token@host:a/b.git", "user@host:a/b.git"),
        ("cache::https://user:token@host/a", "cache::https://host/a"),
        ("file:///srv/a.git", "file:///srv/a.git"),
        ("../a.git", "../a.git"),
        ("C:\\repos\\me@work\\a", "C:\\repos\\me@work\\a"),
        ("https://user:to/ken@host/a", ""),
        ("https://user:12/34@host/a", ""),
        ("", ""),
    ],
)
def test_credentials_are_left_out(url: str, kept: str) -> None:
    assert without_credentials(url) == kept


def test_credentials_of_a_remote_are_left_out(work: Path) -> None:
    add_remotes(work, origin="https://me:token@example.org/x.git")
    assert git_facts(work)["remote"] == "https://example.org/x.git"


# --- changes -------------------------------------------------------------------------


def answer(folder: Path) -> bool | None:
    return DirtyCheck(folder).finish(30)


def unchanged(work: Path) -> None:
    pass


def touched(work: Path) -> None:
    os.utime(work / "train.py", (1, 1))


def untracked(work: Path) -> None:
    (work / "new.py").write_text("x")


def changed(work: Path) -> None:
    (work / "train.py").write_text("x = 2\n")


def staged(work: Path) -> None:
    changed(work)
    git(work, "add", "train.py")


def added(work: Path) -> None:
    untracked(work)
    git(work, "add", "new.py")


def removed(work: Path) -> None:
    (work / "train.py").unlink()


@pytest.mark.parametrize(
    ("change", "dirty"),
    [
        (unchanged, False),
        (touched, False),
        (untracked, False),
        (changed, True),
        (staged, True),
        (added, True),
        (removed, True),
    ],
)
def test_changes_of_tracked_files_count(
    work: Path, change: Callable[[Path], None], dirty: bool
) -> None:
    change(work)
    (work / "sub").mkdir()
    assert answer(work) is dirty
    assert answer(work / "sub") is dirty


@pytest.mark.parametrize("ask", [answer, git_diff])
def test_nothing_is_changed_in_the_repository(
    work: Path, ask: Callable[[Path], object]
) -> None:
    """Else a `git commit` at the same time could find the index locked."""
    touched(work)
    before = (work / ".git" / "index").stat().st_mtime_ns
    assert not ask(work)
    assert (work / ".git" / "index").stat().st_mtime_ns == before


def test_settings_of_the_user_change_no_answer(work: Path) -> None:
    """Only the changes of the folder one is in: not here."""
    git(work, "config", "diff.relative", "true")
    changed(work)
    (work / "sub").mkdir()
    assert answer(work / "sub") is True
    assert "x = 2" in (git_diff(work / "sub") or "")


def test_git_runs_no_program_of_the_repository(work: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    hooks = work / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(trap)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "diff.t.textconv"):
        git(work, "config", key, str(trap))
    (work / ".git" / "info").mkdir(exist_ok=True)
    (work / ".git" / "info" / "attributes").write_text("*.py diff=t\n")
    changed(work)
    assert answer(work) is True
    assert "x = 2" in (git_diff(work) or "")
    assert not (tmp_path / "ran").exists()


def test_nothing_is_known_outside_of_git(tmp_path: Path) -> None:
    assert answer(tmp_path) is None
    assert answer(tmp_path / "missing") is None
    assert answer(new_repository(tmp_path / "empty")) is None


@pytest.mark.parametrize("path", ["", "relative", "/nowhere"])
def test_nothing_is_known_without_git(
    work: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("PATH", path)
    assert answer(work) is None
    assert git_diff(work) is None


def test_a_git_in_the_folder_is_not_run(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = work / "git"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    trap.chmod(0o755)
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f".{os.pathsep}")
    assert answer(work) is None
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away"
)
def test_another_users_repository_is_read_but_git_is_not_heeded(work: Path) -> None:
    """Git refuses it ("dubious ownership"), and that is no answer."""
    head = by_git(work)
    for path in (work, work / ".git"):
        os.chown(path, 65534, 65534)
    assert answer(work) is None
    assert git_facts(work) == head


STATUS = "echo '# branch.oid 0'; echo '1 .M changed'"
"""What a git says that finds a changed file."""


@pytest.fixture
def slow_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """A git that answers "changed" when it is told to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nread line < "{pipe}"\n{STATUS}')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    end = os.open(pipe, os.O_RDWR)

    def go_on() -> None:
        os.write(end, b"\n")

    yield go_on
    os.close(end)


def test_the_answer_comes_when_it_comes(
    tmp_path: Path, slow_git: Callable[[], None]
) -> None:
    check = DirtyCheck(tmp_path)
    assert check.poll() is None
    assert check.is_running
    slow_git()
    assert check.finish(30) is True
    assert not check.is_running
    assert check.poll() is True
    assert check.finish() is True


@pytest.mark.usefixtures("slow_git")
def test_an_answer_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    check = DirtyCheck(tmp_path)
    assert check.finish(0) is None
    assert not check.is_running


@pytest.mark.usefixtures("slow_git")
def test_a_check_nobody_ends_leaves_no_process(tmp_path: Path) -> None:
    code = f"""
import os
from mlog.run.repository import DirtyCheck
check = DirtyCheck({str(tmp_path)!r})
del check
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
    done = run_python(code)
    assert (done.stdout, done.stderr) == ("no child\n", "")


@pytest.mark.parametrize(("change", "dirty"), [(unchanged, False), (changed, True)])
def test_no_exit_code_is_needed(
    work: Path, change: Callable[[Path], None], dirty: bool
) -> None:
    """With SIGCHLD ignored nobody learns it; `Popen` takes it for 0."""
    change(work)
    code = f"""
import signal
from mlog.run.repository import DirtyCheck
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print(DirtyCheck({str(work)!r}).finish(30), DirtyCheck("/").finish(30))
"""
    assert run_python(code).stdout == f"{dirty} None\n"


def test_somebody_else_may_take_the_exit_code(work: Path) -> None:
    changed(work)
    code = f"""
import os
from mlog.run.repository import DirtyCheck
check = DirtyCheck({str(work)!r})
os.wait()
print(check.finish(30))
"""
    assert run_python(code).stdout == "True\n"


def test_more_changes_than_a_pipe_holds(work: Path) -> None:
    for n in range(1_000):
        (work / f"{'long' * 30}{n}").write_text("1")
    git(work, "add", ".")
    assert answer(work) is True


def test_a_forked_child_leaves_the_parents_check_alone(
    tmp_path: Path, slow_git: Callable[[], None]
) -> None:
    code = f"""
import os
from mlog.run.repository import DirtyCheck
check = DirtyCheck({str(tmp_path)!r})
if (pid := os.fork()) == 0:
    os._exit(check.finish(0) is not None)
print(os.waitpid(pid, 0)[1], check.is_running)
print(check.finish(0))
"""
    assert run_python(code, warnings="ignore").stdout == "0 True\nNone\n"


# --- the patch -----------------------------------------------------------------------


def test_a_patch_can_be_applied(work: Path, tmp_path: Path) -> None:
    git(work, "config", "diff.noprefix", "true")
    git(work, "config", "color.ui", "always")
    changed(work)
    patch = tmp_path / "patch"
    patch.write_text(git_diff(work) or "")
    git(work, "checkout", "-q", "train.py")
    git(work, "apply", str(patch))
    assert (work / "train.py").read_text() == "x = 2\n"


def test_a_patch_without_changes_is_empty(work: Path) -> None:
    assert git_diff(work) == ""


def test_files_written_as_they_were_are_in_no_patch(work: Path) -> None:
    commit(work, "b.py")
    commit(work, "c.py")
    for name in ("train.py", "b.py", "c.py"):
        os.utime(work / name, (1, 1))
    (work / "b.py").write_text("diff --git a/x b/x\n")
    patch = git_diff(work) or ""
    assert patch.count("diff --git a/b.py b/b.py\n") == 1
    assert "+diff --git a/x b/x\n" in patch
    assert "train.py" not in patch
    assert "c.py" not in patch


def test_a_patch_is_cut(work: Path) -> None:
    (work / "train.py").write_text("y" * 1_000_000)
    patch = git_diff(work, max_bytes=300)
    assert patch is not None
    assert patch.startswith("diff --git a/train.py b/train.py\n")
    assert patch.endswith("y\n… cut after 300 bytes\n")
    assert len(patch.encode()) < 340


def test_a_patch_that_takes_too_long_is_none(
    tmp_path: Path, slow_git: Callable[[], None]
) -> None:
    assert git_diff(tmp_path, timeout=0.01) is None


def test_there_is_no_patch_outside_of_git(tmp_path: Path) -> None:
    assert git_diff(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_killed_git_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\nkill -{int(signal.SIGKILL)} $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert answer(tmp_path) is None
    assert git_diff(tmp_path) is None
