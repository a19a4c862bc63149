"""What all commands have in common."""

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Child, Mlog

COMMANDS = ("init", "path", "tail")


def test_help_names_every_command_with_an_example(mlog: Mlog) -> None:
    shown = mlog("--help")
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in shown.stdout
        assert f"mlog {name}" in shown.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_a_command_has_examples(mlog: Mlog, name: str, option: str) -> None:
    shown = mlog(name, option)
    assert shown.exit_code == 0
    assert f"\n    mlog {name}" in shown.stdout.partition("Examples:\n")[2]


def test_short_helps_are_whole_sentences(mlog: Mlog) -> None:
    """None is cut to fit on its line."""
    listed = mlog("--help").stdout.partition("Commands:")[2].partition("Examples")[0]
    assert len(listed.split(".\n")) > len(COMMANDS)
    assert "..." not in listed


def test_version_is_the_packages(mlog: Mlog) -> None:
    shown = mlog("--version")
    assert shown.exit_code == 0
    assert shown.stdout == f"mlog {sys.modules['mlog'].__version__}\n"


@pytest.mark.parametrize("args", [["paht"], ["--nonsense"], ["path", "--nonsense"]])
def test_a_wrong_call_is_code_2(mlog: Mlog, args: list[str]) -> None:
    result = mlog(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: No such" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells")
def test_a_closed_output_is_one_line(start: Child) -> None:
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    child = start("-c", code, "-m", "mlog", "path")
    assert child.communicate() == (b"", b"mlog: standard output is closed\n")
    assert child.returncode == 1


def test_the_script_and_the_module_are_one_command(start: Child) -> None:
    module = start("-m", "mlog", "--version")
    script = start("-c", "from mlog.cli import main; main()", "--version")
    assert module.communicate() == script.communicate()
    assert module.returncode == 0


def test_import_is_quick(start: Child) -> None:
    """A command pays only for what it uses; rich alone would double its time."""
    code = "import sys, mlog.cli.path; print(*sys.modules)"
    imported = start("-c", code).communicate()[0].split()
    heavy = {b"rich", b"httpx", b"asyncio", b"sqlite3", b"mlog.run", b"mlog.cli.tail"}
    assert heavy & set(imported) == set()


def test_a_command_writes_nothing_into_the_run_it_inherits(
    start: Child, tmp_path: Path
) -> None:
    """In a child process of a run, importing mlog joins it; looking is no writing."""
    code = """
import subprocess, sys, mlog
with mlog.start_run("test") as run:
    before = sorted(p.name for p in run.path.iterdir())
    done = subprocess.run([sys.executable, "-m", "mlog", "path"], capture_output=True)
    assert done.stdout.decode().strip() == str(run.path), done
    assert sorted(p.name for p in run.path.iterdir()) == before
"""
    child = start("-c", code)
    assert child.communicate() == (b"", b"")
    assert child.returncode == 0
