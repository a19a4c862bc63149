"""The README's code runs and prints what it says.

- A ```python block runs as a script of its own, in a folder of its own that has a copy
  of `examples/` and a root in which `examples/train.py` ran once. It exits with 0 and
  says nothing on stderr but `mlog: run … → …`.
- A ```text block right after it shows its output: then stderr may be used, too. With
  `<!-- checked -->` between the two, what is on stdout and then on stderr must be that
  text, where `...` stands for anything.
- A ```console block is run likewise, the `$ ` lines as one shell script; its other
  lines are the output, compared if `<!-- checked -->` stands before the block.
  Commands that set the project up or check it are compared with `pyproject.toml`
  and not run; one that follows a run for ever is ended after some seconds.
- `<!-- not run: reason -->` before a block leaves it out, and demands its reason.
"""

import doctest
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.helpers import REPO, run_python

README = REPO / "README.md"
SCRIPTS = Path(sys.executable).parent

ANNOUNCED = re.compile(r"^mlog: run \S+ → .+\n", re.MULTILINE)
# Commands of a developer, checked by .ci/run itself.
DEVELOPING = {
    "python -m pytest -n auto",
    "ruff check",
    "ruff format --check",
    "mypy",
    ".ci/run",
}
ENDLESS = re.compile(r"tail -[fF]\b|--follow\b|\bmlog (?:tail -f|ui)\b")
ENDLESS_SECONDS = 5
NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of the README.

    Attributes:
        line: Line of its fence, from 1.
        kind: First word after the fence.
        text: What it holds.
        comments: The HTML comments right before it.
        output: Text of the ```text block right after it, None without one.
        checked: Whether output is compared.
    """

    line: int
    kind: str
    text: str
    comments: tuple[str, ...]
    output: str | None = None
    checked: bool = False

    @property
    def skip(self) -> str | None:
        """The reason not to run it."""
        for comment in self.comments:
            if comment.startswith("not run"):
                return comment.removeprefix("not run").lstrip(":").strip()
        return None


def fenced(text: str) -> Iterator[tuple[Block, bool]]:
    """Yield each block, and whether only comments lie between it and the one before."""
    lines = iter(enumerate(text.splitlines(), 1))
    comments: list[str] = []
    after = False
    for number, line in lines:
        if comment := re.fullmatch(r"<!--\s*(.*?)\s*-->", line.strip()):
            comments.append(comment[1])
        elif line.startswith("```"):
            body = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                body.append(inner + "\n")
            kind = line[3:].split()[0] if line[3:].strip() else ""
            yield Block(number, kind, "".join(body), tuple(comments)), after
            comments, after = [], True
        elif line.strip():
            comments, after = [], False


def blocks(text: str) -> list[Block]:
    """Return the blocks that are code, each with the output that follows it."""
    found: list[Block] = []
    for block, after in fenced(text):
        checked = "checked" in block.comments
        if block.kind == "python":
            found.append(block)
        elif block.kind == "console":
            found.append(replace(block, checked=checked))
        elif block.kind == "text" and after and found and found[-1].kind == "python":
            found[-1] = replace(found[-1], output=block.text, checked=checked)
    return found


BLOCKS = blocks(README.read_text("utf-8")) if README.exists() else []


def of_kind(kind: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.kind == kind]
    return pytest.mark.parametrize("block", found, ids=lambda b: f"line-{b.line}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root in which the README's main command ran once."""
    root = tmp_path_factory.mktemp("readme") / "root"
    script = REPO / "examples" / "train.py"
    if script.exists():
        run_python(
            script,
            env={"MLOG_DIR": str(root)},
            cwd=root.parent,
            timeout=240,
            warnings="default",
        )
    root.mkdir(mode=0o700, exist_ok=True)
    return root


@pytest.fixture
def place(
    trained: Path, tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the folder a block runs in, with a root that is its own, too."""
    shutil.copytree(trained, run_dir)
    work = tmp_path / "work"
    work.mkdir()
    if (REPO / "examples").exists():
        shutil.copytree(REPO / "examples", work / "examples")
    monkeypatch.setenv("PATH", f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}")
    return work


def compare(shown: str, printed: str) -> None:
    """Fail unless the README shows what was printed; `...` stands for anything."""
    shown, printed = (strip_ends(text) for text in (shown, printed))
    same = doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS)
    assert same, f"the README shows\n{shown}\nbut this was printed\n{printed}"


def strip_ends(text: str) -> str:
    """Leave out what no reader sees: blanks at the ends of lines and of the text."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"


def test_there_is_a_readme_with_code() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line-{block.line}")
def test_a_block_is_left_out_for_a_reason(block: Block) -> None:
    """`<!-- not run -->` alone is not enough."""
    assert block.skip != ""


@of_kind("python")
def test_python(block: Block, place: Path) -> None:
    """A block is a whole program."""
    if block.skip is not None:
        pytest.skip(block.skip)
    script = place / "example.py"
    script.write_text(block.text, "utf-8")
    done = run_python(script, cwd=place, env={"PYTHONUNBUFFERED": "1"})
    assert done.returncode == 0, done.stderr
    if block.output is None:
        assert ANNOUNCED.sub("", done.stderr) == ""
    elif block.checked:
        printed = done.stdout + done.stderr
        compare(block.output, with_announcement(block.output, printed))


def with_announcement(shown: str, printed: str) -> str:
    """Leave `mlog: run … → …` out of what was printed unless the README shows it."""
    return printed if "mlog: run" in shown else ANNOUNCED.sub("", printed)


@of_kind("console")
def test_console(block: Block, place: Path) -> None:
    """A block's commands run one after another in one shell."""
    if block.skip is not None:
        pytest.skip(block.skip)
    todo, shown = commands(block.text)
    for command in todo:
        if is_setup(command):
            check_setup(command)
    script = [c for c in todo if not is_setup(c) and c not in DEVELOPING]
    if not script:
        return
    status, printed = run_shell("\n".join(script), place)
    absent = re.search(r"^bash: .*?(\S+): command not found$", printed, re.MULTILINE)
    if status == NOT_FOUND and absent and absent[1] not in ("mlog", "python"):
        pytest.skip(f"{absent[1]} is not installed")
    assert status == 0, printed
    if block.checked:
        compare(shown, with_announcement(shown, printed))


def commands(text: str) -> tuple[list[str], str]:
    """Return the commands of a console block, and the output it shows.

    What is joined by && are several commands, as some are checked and others run.
    """
    todo: list[str] = []
    shown: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            todo.append(line[2:].replace(".venv/bin/", ""))
        elif todo and todo[-1].endswith("\\"):
            todo[-1] = todo[-1][:-1] + line.strip()
        else:
            shown.append(line + "\n")
    return [c for line in todo for c in line.split(" && ")], "".join(shown)


def is_setup(command: str) -> bool:
    return " -m venv " in command or "pip install" in command


def check_setup(command: str) -> None:
    """Fail unless a set-up command fits what `pyproject.toml` declares."""
    words = shlex.split(command)
    if "venv" in words:
        assert words[1:] == ["-m", "venv", ".venv"]
        return
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    required = words[words.index("install") + 1 :]
    for requirement in (word for word in required if word not in ("-e", "-q")):
        match = re.fullmatch(r"(\.|[\w-]+)(?:\[([\w,]+)\])?", requirement)
        assert match, f"not understood: {requirement}"
        assert match[1] in (".", project["name"])
        extras = set(match[2].split(",")) if match[2] else set()
        assert extras <= project["optional-dependencies"].keys()


def run_shell(script: str, cwd: Path) -> tuple[int, str]:
    """Run commands until one fails; return exit code, and stdout and stderr together.

    Endless ones are ended, and have then succeeded.
    """
    endless = ENDLESS.search(script) is not None
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(timeout=ENDLESS_SECONDS if endless else 240)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        printed, _ = shell.communicate()
        return (0 if endless else -signal.SIGKILL), printed
    return shell.returncode, printed


class TestTheRules:
    """What this file itself says of blocks, on a README of its own."""

    def test_output_belongs_to_the_block_before(self) -> None:
        text = "```python\nprint(1)\n```\n<!-- checked -->\n```text\n1\n```\n"
        (block,) = blocks(text)
        assert (block.text, block.output, block.checked) == ("print(1)\n", "1\n", True)

    def test_words_between_part_output_from_code(self) -> None:
        text = "```python\nprint(1)\n```\nwords\n\n```text\n1\n```\n"
        assert [block.output for block in blocks(text)] == [None]

    def test_a_reason_is_kept(self) -> None:
        """The comment counts for the block right after it, not for later ones."""
        text = (
            "<!-- not run: needs a GPU -->\n\n```python\n```\nwords\n```python\n```\n"
        )
        assert [block.skip for block in blocks(text)] == ["needs a GPU", None]
        assert blocks("<!-- not run -->\n```console\n```\n")[0].skip == ""

    def test_console_lines_are_commands_or_output(self) -> None:
        text = "$ mlog ls \\\n    --all\na run\n$ .venv/bin/python x.py && ls\n"
        assert commands(text) == (["mlog ls --all", "python x.py", "ls"], "a run\n")

    def test_setup_names_declared_extras(self) -> None:
        check_setup("python3 -m venv .venv")
        check_setup("pip install -e '.[test,examples]'")
        with pytest.raises(AssertionError):
            check_setup("pip install 'mlog-runs[nothing]'")

    def test_an_endless_command_is_ended(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("line\n")
        assert run_shell("tail -f file", tmp_path) == (0, "line\n")

    def test_ellipsis_stands_for_anything(self) -> None:
        compare("mlog: run ... → ...\n", "mlog: run 3f9a → /runs\n")
        with pytest.raises(AssertionError, match="the README shows"):
            compare("1\n", "2\n")
