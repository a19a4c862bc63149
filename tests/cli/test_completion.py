"""Completions, in the shells themselves: a word is typed, Tab, and the line is run."""

import os
import pty
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mlog as library
from mlog.cli import cli
from tests.cli.conftest import Mlog

BIN = Path(sys.executable).parent
HAS_COMMAND = (BIN / "mlog").exists()

SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'bind "set enable-bracketed-paste off"; eval "$(mlog completion bash)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(mlog completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "mlog completion fish | source"),
}


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # pragma: no cover
            os.execvpe(command[0], command, env)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def read_until(self, wanted: str) -> str:
        """Return what is shown up to a text; fails where it does not come."""
        shown, until = "", time.monotonic() + 30
        while wanted not in shown:
            ready, _, _ = select.select([self.fd], [], [], until - time.monotonic())
            if not ready:
                pytest.fail(f"{wanted!r} did not come: {shown!r}")
            shown += os.read(self.fd, 4096).decode("utf-8", "replace")
        return shown

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def runs() -> Path:
    """Two runs; returns the folder of the one named `parent`."""
    with library.start_run("mnist", name="parent") as run:
        run.log("loss", 1)
        run.log("accuracy", 1)
    with library.start_run("ridge", name="two words"):
        pass
    assert run.path is not None
    return run.path


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    command, setup = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    if not HAS_COMMAND:
        pytest.skip("the command mlog is not installed")
    env = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "dumb",
        "PS1": "$ ",
    }
    shell = Terminal(command, env)
    try:
        shell.type(f"{setup}; echo re''ady\n")
        shell.read_until("ready\r\n")
        yield shell
    finally:
        shell.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminals like these")
@pytest.mark.parametrize("terminal", SHELLS, indirect=True)
def test_a_name_is_completed(runs: Path, terminal: Terminal) -> None:
    terminal.type("mlog path par\t")
    terminal.read_until("ent")
    terminal.type("\n")
    assert str(runs) in terminal.read_until(runs.name)


Offer = Callable[..., list[str]]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Return what is offered for the last of some words."""

    def call(*words: str) -> list[str]:
        monkeypatch.setenv("_MLOG_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(("mlog", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        shown: Any = CliRunner().invoke(
            cli, [], prog_name="mlog", complete_var="_MLOG_COMPLETE"
        )
        assert shown.exit_code == 0
        return [line.removeprefix("plain,") for line in shown.stdout.split()]

    return call


class TestOffers:
    @pytest.mark.parametrize(
        "command", ["show", "path", "tail", "plot", "compare", "report", "verify", "rm"]
    )
    def test_runs(self, runs: Path, offer: Offer, command: str) -> None:
        """By name and id; a name that needs quotes is left out."""
        words = offer(command, "")
        assert words[0] == "latest"
        assert "parent" in words
        assert runs.name in words
        assert "two words" not in words
        assert offer(command, "par") == ["parent"]

    def test_short_ids_as_lists_show_them(self, runs: Path, offer: Offer) -> None:
        short = runs.name.rpartition("-")[2]
        assert short in offer("show", short[:3])

    def test_several_runs(self, runs: Path, offer: Offer) -> None:
        assert offer("compare", "latest", "par") == ["parent"]

    def test_runs_of_an_experiment(self, runs: Path, offer: Offer) -> None:
        assert offer("show", "mnist/") == [f"mnist/{runs.name}"]

    def test_experiments(self, runs: Path, offer: Offer) -> None:
        assert offer("ls", "") == ["mnist", "ridge"]
        assert offer("prune", "--experiment", "r") == ["ridge"]

    def test_metrics(self, runs: Path, offer: Offer) -> None:
        """Those of the run that was named."""
        assert offer("plot", "parent", "") == ["loss", "accuracy"]
        assert offer("ls", "--spark", "a") == ["accuracy"]

    def test_commands_and_options(self, offer: Offer) -> None:
        assert offer("comp") == ["compare", "completion"]
        assert "--json" in offer("show", "--")

    def test_files_and_folders_are_the_shells_affair(self, offer: Offer) -> None:
        assert offer("run", "tr") == ["file,tr"]
        assert offer("import", "lo") == ["file,lo"]
        assert offer("ls", "--dir", "x") == ["dir,x"]

    def test_another_root(self, runs: Path, tmp_path: Path, offer: Offer) -> None:
        assert offer("ls", "--dir", str(tmp_path / "empty"), "") == []

    def test_trouble_is_silent(self, offer: Offer, tmp_path: Path) -> None:
        assert offer("plot", "nope", "") == []
        assert offer("ls", "--dir", "~nobody-at-all", "") == []

    def test_broken_files(self, runs: Path, offer: Offer) -> None:
        (runs / "run.json").write_text("{")
        assert runs.name in offer("show", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script(mlog: Mlog, shell: str) -> None:
    shown = mlog("completion", shell)
    assert shown.exit_code == 0
    assert "_MLOG_COMPLETE" in shown.stdout
