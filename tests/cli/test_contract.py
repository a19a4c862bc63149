"""What holds for every command: options, exit codes, and one line for what is wrong.

0: found or done; 1: not there, or it cannot be; 2: a wrong call. Whatever a user can
cause ends without a traceback.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import mlog as library
from mlog.cli import cli
from tests.cli.conftest import Mlog
from tests.helpers import REPO

COMMANDS = cli.list_commands(click.Context(cli))

ON_A_RUN = {
    "compare": ("{}", "other"),
    "export": ("{}", "out", "--to", "csv"),
    "path": ("{}",),
    "plot": ("{}",),
    "report": ("{}", "-o", "report.html"),
    "rm": ("{}", "--dry-run"),
    "show": ("{}",),
    "tail": ("{}",),
    "verify": ("{}",),
}
"""Commands that take the name of a run, with other words that they need."""

ON_A_ROOT = {
    **{
        name: tuple(a.format("latest") for a in args) for name, args in ON_A_RUN.items()
    },
    "ls": (),
    "query": ("select run_id from runs",),
}
NO_ROOT = frozenset(("init", "completion"))
"""They have nothing to do with the runs of a root."""

ODD = "ünï\n\x1b[31m red \"'$(touch pwned)"


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def runs(cwd: Path) -> Path:
    """A root with a run, and one whose names are odd wherever they can be."""
    with library.start_run("mnist", run_id="run-one", name="baseline") as run:
        run.log("loss", 0.5, step=0)
        run.log("loss", 0.25, step=1)
    with library.start_run(
        ODD, run_id="run-two", name="other", params={ODD: ODD}
    ) as odd:
        odd.tag(ODD, ODD)
        odd.log(ODD, 1.0, step=0)
        odd.log("loss", 0.5, step=0)
    return Path(os.environ["MLOG_DIR"])


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text


class TestOptions:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_all_have_json_and_dir(self, name: str) -> None:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {option for param in command.params for option in param.opts}
        assert "--json" in options
        assert ("--dir" in options) is (name not in NO_ROOT)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_all_say_what_each_option_does(self, mlog: Mlog, name: str) -> None:
        """At 80 columns, without a line that is longer."""
        shown = mlog(name, "--help")
        assert max(map(len, shown.stdout.partition("Examples:")[0].splitlines())) <= 80

    @pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
    def test_an_unknown_option_is_a_wrong_call(self, mlog: Mlog, name: str) -> None:
        shown = mlog(name, "--no-such-option")
        assert shown.exit_code == 2
        assert shown.stdout == ""

    def test_an_unknown_command(self, mlog: Mlog) -> None:
        shown = mlog("lss")
        assert shown.exit_code == 2
        assert "No such command 'lss'" in shown.stderr


class TestExitCodes:
    @pytest.mark.parametrize("name", ON_A_ROOT)
    def test_found(self, mlog: Mlog, runs: Path, name: str) -> None:
        shown = mlog(name, *ON_A_ROOT[name])
        assert shown.exit_code == 0, shown.stderr

    @pytest.mark.parametrize("name", ON_A_RUN)
    def test_unknown_run(self, mlog: Mlog, runs: Path, name: str) -> None:
        """The closest names are offered."""
        args = [arg.format("basline") for arg in ON_A_RUN[name]]
        shown = mlog(name, *args)
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert one_line(shown.stderr), shown.stderr
        assert "did you mean baseline" in shown.stderr

    @pytest.mark.parametrize("name", ON_A_RUN)
    def test_ambiguous_beginning(self, mlog: Mlog, runs: Path, name: str) -> None:
        args = [arg.format("run-") for arg in ON_A_RUN[name]]
        shown = mlog(name, *args)
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert one_line(shown.stderr)
        assert "fits 2 runs" in shown.stderr
        assert "mnist/run-one" in shown.stderr

    @pytest.mark.parametrize("name", sorted(ON_A_ROOT.keys() - {"query"}))
    def test_empty_root(self, mlog: Mlog, cwd: Path, name: str) -> None:
        """It is said what to type next."""
        shown = mlog(name, *ON_A_ROOT[name])
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert one_line(shown.stderr)
        assert "mlog.start_run()" in shown.stderr

    def test_nothing_to_remove(self, mlog: Mlog, runs: Path) -> None:
        shown = mlog("prune", "--older-than", "1d", "--dry-run")
        assert (shown.exit_code, one_line(shown.stderr)) == (1, True)

    @pytest.mark.parametrize("name", ON_A_RUN)
    def test_odd_names_of_runs_do_nothing(
        self, mlog: Mlog, runs: Path, cwd: Path, name: str
    ) -> None:
        shown = mlog(name, *(arg.format(ODD) for arg in ON_A_RUN[name]))
        assert shown.exit_code == 1
        assert one_line(shown.stderr)
        assert "\x1b" not in shown.stderr
        assert not (cwd / "pwned").exists()

    @pytest.mark.parametrize(
        ("sql", "code", "says"),
        [
            ("selec 1", 2, "syntax error"),
            ("select nothing from runs", 2, "nothing"),
            ("select * from no_such_view", 2, "no_such_view"),
            ("", 2, ""),
        ],
    )
    def test_wrong_sql_is_a_wrong_call(
        self, mlog: Mlog, runs: Path, sql: str, code: int, says: str
    ) -> None:
        shown = mlog("query", sql)
        assert shown.exit_code == code
        assert says in shown.stderr
        assert "Traceback" not in shown.stderr


class TestOddContent:
    @pytest.mark.parametrize("name", sorted(ON_A_ROOT))
    def test_nothing_acts_on_the_terminal(
        self, mlog: Mlog, runs: Path, name: str
    ) -> None:
        args = [arg.replace("latest", "run-two") for arg in ON_A_ROOT[name]]
        shown = mlog(name, *args, "--dir", str(runs))
        assert shown.exit_code == 0, shown.stderr
        assert "\x1b" not in shown.stdout + shown.stderr

    @pytest.mark.parametrize("name", sorted(ON_A_ROOT))
    def test_json_is_json(self, mlog: Mlog, runs: Path, name: str) -> None:
        args = [arg.replace("latest", "run-two") for arg in ON_A_ROOT[name]]
        shown = mlog(name, *args, "--json")
        assert shown.exit_code == 0, shown.stderr
        for line in shown.stdout.splitlines():
            assert isinstance(json.loads(line), dict | list)


@pytest.fixture
def as_nobody() -> Callable[..., Any]:
    """Run the command as a user who may read nothing of root's."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")

    def call(*args: str, env: dict[str, str]) -> Any:
        code = (
            f"import os, sys; sys.path.insert(0, {str(REPO)!r})\n"
            "import mlog.cli, pkgutil, importlib\n"
            "for m in pkgutil.walk_packages(mlog.__path__, 'mlog.'):\n"
            "    if m.name.startswith(('mlog.cli', 'mlog.reader', 'mlog.run')):\n"
            "        importlib.import_module(m.name)\n"
            "import contextlib\n"
            "with contextlib.suppress(ImportError): import duckdb, _duckdb\n"
            "os.setgid(65534); os.setuid(65534)\n"
            f"sys.argv = ['mlog', *{args!r}]; mlog.cli.main()"
        )
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **env},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


@pytest.mark.parametrize("name", ["ls", "show"])
def test_permission_denied(
    runs: Path, as_nobody: Callable[..., Any], name: str
) -> None:
    """Runs are private: somebody else is told so, in one line."""
    done = as_nobody(name, env={"MLOG_DIR": str(runs)})
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done.stderr), done.stderr


@pytest.fixture
def shared(runs: Path) -> Iterator[Path]:
    """A root that all may look into, with a run and an experiment that are private.

    It lies beside the folders of pytest, as these are for their owner alone.
    """
    with library.start_run("mnist", run_id="private", name="mine") as own:
        own.log("loss", 1.0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        if not all(path.stat().st_mode & stat.S_IXOTH for path in Path(folder).parents):
            pytest.skip("the temporary folder is not for all")
        shutil.copytree(runs, root)
        for path in (Path(folder), root, root / "mnist", root / "mnist" / "run-one"):
            path.chmod(0o755)
        for file in (root / "mnist" / "run-one").iterdir():
            file.chmod(0o644)
        yield root


@pytest.mark.parametrize("ref", ["priv", "{root}/mnist/private"])
def test_a_run_that_may_not_be_read_is_not_said_to_be_missing(
    shared: Path, as_nobody: Callable[..., Any], ref: str
) -> None:
    """Whoever names it is told why, without the number the system has for it."""
    root = str(shared)
    done = as_nobody("path", ref.format(root=root), env={"MLOG_DIR": root})
    said = f"mlog: Permission denied: {root}/mnist/private\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_folders_that_may_not_be_read_are_named(
    shared: Path, as_nobody: Callable[..., Any]
) -> None:
    """What is looked for may be in one of them; a list tells how many it leaves out."""
    env = {"MLOG_DIR": str(shared)}
    done = as_nobody("path", "other", env=env)
    assert one_line(done.stderr)
    assert f"; not for you to read: {shared}" in done.stderr
    done = as_nobody("ls", env=env)
    assert done.returncode == 0
    assert "baseline" in done.stdout
    assert [line.partition(": Perm")[0] for line in done.stderr.splitlines()] == [
        "mlog: cannot read 1 run",
        "mlog: cannot read 1 folder",
    ]
    done = as_nobody("query", "select run_id from runs", env=env)
    assert (done.returncode, done.stdout) == (0, "run_id\nrun-one\n")
    assert done.stderr.startswith("mlog: cannot read 2 folders: Permission denied: ")
    done = as_nobody("doctor", env=env)
    assert "! closed runs  2 folders left out: Permission denied: " in done.stdout
    done = as_nobody("ls", ODD, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"mlog: Permission denied: {shared}")
