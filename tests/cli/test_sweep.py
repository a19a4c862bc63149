"""`mlog sweep`, as somebody at a terminal sees it."""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlog.cli.sweep_table import Table
from mlog.launch.config import ScriptRunConfig
from mlog.launch.sweep_plan import Plan
from mlog.launch.sweep_sampling import Grid
from mlog.launch.sweep_signals import Signals
from mlog.launch.sweep_space import make_space
from mlog.launch.sweep_trials import Trial
from mlog.reader.find import iter_runs
from mlog.reader.state import read_state
from tests.helpers import REPO, run_python

Child = Callable[..., "subprocess.Popen[bytes]"]

MAIN = "from mlog.cli import main; main()"

TRAIN = """
import logging, os, pathlib, sys, time
alpha = float(sys.argv[sys.argv.index("--alpha") + 1])
if alpha == 0.3:
    sys.exit("bad alpha")
metric = {"mse": (alpha - 0.4) ** 2}
logging.getLogger("train").warning("", extra={"metric": metric})
hold = pathlib.Path(os.environ.get("HOLD", "/none"))
while hold.exists():
    time.sleep(0.01)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with the script."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def mlog_sweep(*args: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return run_python(MAIN, "sweep", *args, cwd=cwd, env=env)


def sweep_folder(text: str) -> Path:
    return Path(text.partition("→ ")[2].splitlines()[0])


def test_without_a_terminal_there_is_a_line_for_each_trial(source: Path) -> None:
    done = mlog_sweep(
        *("train.py", "--set", "alpha=0.2:0.4:0.1", "--metric", "mse", "-x", "1"),
        cwd=source,
    )
    assert done.returncode == 1  # one has failed
    assert "\x1b" not in done.stdout
    lines = [re.sub(r"\d\.\d s", "0.0 s", line) for line in done.stdout.splitlines()]
    lines = [re.sub(r"\b[0-9a-f]{6}\b", "abcdef", line) for line in lines]
    assert lines == [
        "trial  run     status        alpha         mse       time  note",
        "    1  abcdef  ✓ Completed     0.2        0.04      0.0 s  best so far",
        "    2  abcdef  ✕ Failed        0.3                  0.0 s  bad alpha",
        "    3  abcdef  ✓ Completed     0.4           0      0.0 s  best so far",
        "3 trials of 3: 2 Completed, 1 Failed",
        "best: mse 0 (trial 3), run abcdef: alpha=0.4",
        "a failed one: mlog show abcdef",
    ]
    folder = sweep_folder(done.stderr)
    assert done.stderr == f"mlog: sweep {folder.name[-6:]} → {folder}\n"
    trial = next(f for f in iter_runs(folder.parent.parent) if f != folder)
    assert read_state(trial).start["argv"][:3] == ["train.py", "-x", "1"]


def test_json_is_a_line_for_each_trial_and_one_for_the_sweep(source: Path) -> None:
    done = mlog_sweep(
        *("train.py", "--set", "alpha=0.1,0.4", "--metric", "mse", "--json"),
        *("--goal", "maximize", "--jobs", "2", "--tag", "team=a"),
        cwd=source,
    )
    assert done.returncode == 0, done.stderr
    *trials, last = map(json.loads, done.stdout.splitlines())
    assert sorted(t["params"]["alpha"] for t in trials) == [0.1, 0.4]
    assert {t["status"] for t in trials} == {"Completed"}
    assert last["best"] in trials
    assert last["best"]["params"] == {"alpha": 0.1}
    assert (last["status"], last["trials"], last["ended"]) == ("Completed", 2, 2)
    assert read_state(Path(last["path"])).tags["team"] == "a"


def test_commands_and_trials_from_a_file(source: Path) -> None:
    (source / "trials.jsonl").write_text('{"n": 1}\n\n{"n": "a b"}\n')
    line = ("--", "sh", "-c", 'echo "$0" "$@"', "<{n}>", "--jobs")
    done = mlog_sweep("--from", "trials.jsonl", "--json", *line, cwd=source)
    assert done.returncode == 0, done.stderr
    first, second, _ = map(json.loads, done.stdout.splitlines())
    log = Path(second["path"]) / "artifacts/user_logs/std_log.txt"
    assert log.read_text() == "<a b> --jobs\n"
    assert first["params"] == {"n": 1}
    (source / "trials.json").write_text('[{"n": 1}, {"n": 2}]')
    done = mlog_sweep(
        *("--from", "trials.json", "--pass", "variables"),
        *("--", "sh", "-c", "exit $((n - 1))"),
        cwd=source,
    )
    assert done.returncode == 1
    assert "2 trials of 2: 1 Completed, 1 Failed" in done.stdout


def test_a_metric_that_nobody_logs_is_told(source: Path) -> None:
    done = mlog_sweep("train.py", "--set", "alpha=0.1", "--metric", "acc", cwd=source)
    assert done.returncode == 1
    assert "mlog: trial 1 has logged no 'acc'; it has logged mse" in done.stdout
    said = "mlog: no trial has logged a finite 'acc'; trial 1 has logged mse"
    assert said in done.stderr.splitlines()


def test_a_detached_sweep_goes_on_by_itself(source: Path) -> None:
    done = mlog_sweep("train.py", "--set", "alpha=0.1,0.2", "--detach", cwd=source)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    waited = run_python(
        "import mlog, sys\n"
        "run = mlog.open_run(sys.argv[1])\n"
        "run.wait_for_completion(show_output=True)\n"
        "print(len(list(run.get_children(status='Completed'))))\n",
        str(folder),
    )
    assert waited.returncode == 0, waited.stderr
    assert waited.stdout.endswith("\n2\n")
    assert "mlog: trial 2 Completed: alpha=0.2" in waited.stdout


def test_ctrl_c_ends_the_trials_and_says_how_to_go_on(
    source: Path, start: Child, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    args = ("sweep", "train.py", "--set", "alpha=0.1,0.2", "--metric", "mse")
    child = start("-c", MAIN, *args, cwd=source, env={"HOLD": str(hold)})
    wait_for_running(tmp_path / "mlog-root")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "■ Canceled" in out.decode()
    said = err.decode().splitlines()[-1]
    match = re.fullmatch(
        r"mlog: the sweep was ended \(SIGINT\) with 2 of 2 trials left; go on with: "
        r"mlog sweep --resume ([0-9a-f]{6})",
        said,
    )
    assert match, said
    hold.unlink()
    done = mlog_sweep("--resume", match[1], "--jobs", "2", cwd=source)
    assert done.returncode == 0, done.stderr
    assert "2 trials of 2: 2 Completed" in done.stdout
    assert "going on: 0 of 2 trials are done" in done.stderr


def wait_for_running(root: Path) -> None:
    """Wait until some script has logged its metric."""
    end = time.monotonic() + 60
    while not list(root.rglob("metrics-*.jsonl")):
        assert time.monotonic() < end, "no trial runs"
        time.sleep(0.01)


def on_terminal(source: Path, columns: int, *args: str, **env: str) -> tuple[int, str]:
    """Run a sweep on a terminal; return exit code and all that was written to it.

    This end stays open until the child has ended and all is read: what is written last
    may otherwise be lost with the closing, on a busy machine.
    """
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", MAIN, "sweep", *args],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(REPO), "TERM": "xterm", **env},
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    written = b""
    try:
        is_over = False
        while select.select([main], [], [], 0 if is_over else 0.05)[0] or not is_over:
            is_over = child.poll() is not None
            while select.select([main], [], [], 0)[0]:
                written += os.read(main, 65_536)
        return child.wait(), written.decode()
    finally:
        child.kill()
        child.wait()
        os.close(other)
        os.close(main)


def screen(written: str) -> list[str]:
    """Return the lines that stay on a terminal, without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", written)
    lines: list[str] = []
    for part in re.split(r"(\r\x1b\[\d+A\x1b\[J)", text):
        if up := re.fullmatch(r"\r\x1b\[(\d+)A\x1b\[J", part):
            del lines[len(lines) - int(up[1]) :]
        else:
            lines += part.replace("\r\n", "\n").split("\n")[:-1]
    assert "\x1b" not in "".join(lines)
    return lines


@pytest.mark.parametrize("columns", [100, 40])
def test_on_a_terminal_what_goes_on_is_drawn_anew(source: Path, columns: int) -> None:
    args = ("train.py", "--set", "alpha=0.3:0.5:0.1", "--metric", "mse", "--jobs", "2")
    code, written = on_terminal(source, columns, *args)
    assert code == 1, written
    assert "\x1b[32m✓ Completed" in written
    assert "● Running" in written
    assert "of 3" in written
    lines = screen(written)
    table = [line for line in lines if re.match(r" *\d+  |trial  ", line)]
    numbers = [line.split()[0] for line in table]
    assert numbers[0] == "trial", written
    assert sorted(numbers[1:]) == ["1", "2", "3"], written
    assert all(len(line) < columns for line in table), written
    going_on = r" *\d+  .*● Running|.*\d of 3 ·"
    assert not [line for line in lines if re.match(going_on, line)], written


def test_colours_are_left_out_where_nobody_wants_them(source: Path) -> None:
    args = ("train.py", "--set", "alpha=0.1,0.2", "--metric", "mse")
    code, written = on_terminal(source, 80, *args, NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*m", written)
    code, written = on_terminal(source, 80, *args, TERM="dumb")
    assert code == 0
    assert "\x1b" not in written


def test_a_reader_that_goes_away_ends_the_sweep(source: Path, start: Child) -> None:
    args = ("sweep", "train.py", "--set", "alpha=0:0.9:0.1", "--json")
    child = start("-c", MAIN, *args, cwd=source)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    child.stdout = None
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGPIPE, err
    folder = sweep_folder(err.decode())
    assert read_state(folder).status == "Canceled"
    assert len(list(iter_runs(folder.parent.parent))) < 11


def test_a_terminal_that_goes_away_ends_the_sweep(
    source: Path, start: Child, run_dir: Path
) -> None:
    main, other = pty.openpty()
    args = ("sweep", "train.py", "--set", "alpha=0:0.9:0.1")
    env = {"TERM": "xterm"}
    child = start("-c", MAIN, *args, cwd=source, env=env, stdout=other)
    os.close(other)
    os.read(main, 10)
    os.close(main)
    _, err = child.communicate(timeout=60)
    folder = sweep_folder(err.decode())
    state = read_state(folder)
    assert (state.status, (state.error or {})["msg"]) == ("Canceled", "SIGHUP")
    assert b"go on with: mlog sweep --resume" in err


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["train.py"], 2, "give either --set NAME=VALUES, once or more, or --from"),
        (["train.py", "--set", "a=1", "--from", "x"], 2, "give either --set"),
        (["--set", "a=1"], 2, "what is to be run? Give a script.py, or a command"),
        (["--mertic", "x", "--set", "a=1"], 2, "No such option '--mertic'"),
        (["train.py", "--set", "a=0:1:0"], 2, "--set': the step must not be 0"),
        (["train.py", "--set", "a=0:1:0"], 2, "  a=0:1:0\n    ^\n"),
        (["train.py", "--set", "a=1", "--set", "a=2"], 2, "'a' is given twice"),
        (["train.py", "--set", "a=1", "--goal", "up"], 2, "'up' is not one of"),
        (["train.py", "--set", "a=1", "--stop", "luck"], 2, "no rule 'luck'"),
        (["train.py", "--set", "a=1", "--stop", "median"], 2, "name one (metric)"),
        (["train.py", "--set", "a=1", "--jobs", "0"], 2, "jobs must be an integer"),
        (["train.py", "--set", "a=1", "--random", "0"], 2, "number of trials must"),
        (["train.py", "--set", "a=0.0:1.0"], 2, "has no end"),
        (["train.py", "--set", "a=1:400", "--set", "b=1:400"], 2, "160,000 trials are"),
        (["train.py", "--set", "a=1", "--tag", "x"], 2, "not of the form k=v"),
        (["--azureml", "--set", "a=1", "--", "make"], 2, "--azureml is for Python"),
        (["none.py", "--set", "a=1"], 1, "mlog: there is no script none.py\n"),
        (["train.py", "--from", "none"], 1, "No such file"),
        (["train.py", "--from", "train.py"], 1, "mlog: train.py, line 2 is no JSON"),
        (["--resume", "latest"], 1, "mlog: "),
        (["--resume", "x", "--set", "a=1"], 2, "leave --set out"),
        (["--resume", "x", "train.py"], 2, "leave LINE out"),
    ],
)
def test_wrong_calls_are_one_clear_message(
    source: Path,
    run_dir: Path,
    mlog: Any,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(source)
    done = mlog("sweep", *args)
    assert (done.exit_code, text in done.stderr) == (code, True), done.stderr
    assert list(iter_runs(run_dir)) == []


def test_why_a_trial_was_ended_is_said_of_the_best_one_too(source: Path) -> None:
    """The first to end is the best so far, and may have been stopped as a bad one.

    The conductor is a stand-in: a real one ends trials in an order that is chance.
    """
    grid = Grid(make_space({"a": [1, 2]}))
    plan = Plan(ScriptRunConfig(source, "train.py"), grid, metric="mse")
    why = "median: 4 is worse than 2 after 1 value"
    stopped = Trial(1, {"a": 1}, "x-abcdef", None, "Canceled", 4.0, why, 0.1)
    conductor: Any = SimpleNamespace(plan=plan, count=2, best=stopped, past=[])
    out = io.StringIO()
    Table(conductor, out, {"COLUMNS": "120"}, Signals(), live=False).ended(stopped)
    assert why in out.getvalue()
    assert "best so far" not in out.getvalue()
