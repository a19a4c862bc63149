"""`mlog run`: a script as a run, as somebody at a terminal sees it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlog.reader.state import read_state
from mlog.run.waiting import follow
from tests.helpers import run_python

Child = Callable[..., "subprocess.Popen[bytes]"]

_RUN = ("-c", "from mlog.cli import main; main()", "run", "train.py")


def mlog_run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_python("from mlog.cli import main; main()", "run", *args, cwd=cwd)


def folder_in(text: str) -> Path:
    return Path(text.partition("→ ")[2].splitlines()[0])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def test_the_output_and_the_exit_code_are_the_scripts(source: Path) -> None:
    (source / "train.py").write_text(
        "import sys, logging\n"
        "print('to stdout', sys.argv[1:])\n"
        "print('to stderr', file=sys.stderr)\n"
        "logging.getLogger('train').info('a line', extra={'metric': {'loss': 1}})\n"
        "sys.exit(3)\n"
    )
    done = mlog_run("--tag", "team=a", "train.py", "--lr", "0.1", "-x", cwd=source)
    assert done.returncode == 3
    assert done.stdout == "to stdout ['--lr', '0.1', '-x']\n"
    state = read_state(folder_in(done.stderr))
    assert "to stderr\n" in done.stderr
    assert (state.status, state.tags) == ("Failed", {"team": "a"})
    assert state.metrics["loss"]["last"] == 1


def test_a_command_is_run_where_one_stands(source: Path) -> None:
    done = mlog_run("--", "sh", "-c", "pwd", cwd=source)
    assert (done.returncode, done.stdout) == (0, f"{source}\n"), done.stderr


def test_a_detached_run_prints_its_folder(source: Path) -> None:
    (source / "train.py").write_text("")
    done = mlog_run("--detach", "train.py", cwd=source)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    waited = run_python(
        "import mlog, sys\nmlog.open_run(sys.argv[1]).wait_for_completion()\n",
        str(folder),
    )
    assert waited.returncode == 0, waited.stderr
    assert read_state(folder).status == "Completed"


def test_a_script_for_the_azure_sdk_runs_as_it_is(source: Path) -> None:
    (source / "old.py").write_text(
        "from azureml.core import Run\n"
        "run = Run.get_context()\n"
        "run.log('loss', 0.5)\n"
        "run.complete()\n"
        "print(run.id)\n"
    )
    done = mlog_run("--azureml", "old.py", cwd=source)
    assert done.returncode == 0, done.stderr
    folder = folder_in(done.stderr)
    assert done.stdout.strip() == folder.name
    assert read_state(folder).status == "Completed"
    assert read_state(folder).metrics["loss"]["last"] == 0.5


def test_what_comes_through_a_pipe_is_read_by_the_script(
    source: Path, start: Child
) -> None:
    (source / "train.py").write_text("import sys; print(sys.stdin.read().upper())")
    child: Any = start(*_RUN, cwd=source, text=True, stdin=subprocess.PIPE)
    out, said = child.communicate("some data", timeout=30)
    assert (child.returncode, out) == (0, "SOME DATA\n"), said


def test_bytes_pass_as_they_are(source: Path) -> None:
    """Also a secret: only what is kept is redacted."""
    data = bytes(range(256)) * 2 + b"\r\r\n\npassword=hunter2\nno newline"
    (source / "train.py").write_text(
        f"import sys; sys.stdout.buffer.write({data!r}); sys.exit(7)"
    )
    done = subprocess.run(
        [sys.executable, *_RUN], cwd=source, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (7, data), done.stderr
    folder = folder_in(done.stderr.decode())
    raw = (folder / "artifacts/user_logs/std_log.txt").read_bytes()
    assert raw == data.replace(b"hunter2", b"***")


def test_a_limit_of_time_ends_the_script(source: Path) -> None:
    (source / "train.py").write_text("import time; time.sleep(60)")
    done = mlog_run("--max-duration", "0.3", "train.py", cwd=source)
    assert done.returncode == 128 + signal.SIGTERM
    state = read_state(folder_in(done.stderr))
    assert state.status == "Canceled"
    assert "max_run_duration_seconds=0.3" in str(state.error)
    why = "ran longer than max_run_duration_seconds=0.3"
    last = done.stderr.splitlines()[-1]
    assert last == f"mlog: run {state.run_id} was ended: {why}"


def test_what_the_supervisor_has_to_say_shows_on_stderr(source: Path) -> None:
    with (source / "big.bin").open("wb") as file:
        file.truncate(400 << 20)
    (source / "train.py").write_text("print('ran')")
    done = mlog_run("--in-place", "train.py", cwd=source)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "mlog: no snapshot was taken: " in done.stderr


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--", "no-such-program"), "No such file or directory: 'no-such-program'"),
        (("train.py",), "big.bin (400.0 MiB)"),
    ],
)
def test_a_run_that_cannot_start_says_why_in_one_line(
    source: Path, args: tuple[str, ...], text: str
) -> None:
    with (source / "big.bin").open("wb") as file:
        file.truncate(400 << 20)
    (source / "train.py").write_text("print('never')")
    done = mlog_run(*args, cwd=source)
    assert (done.returncode, done.stdout) == (1, "")
    _, line = (each for each in done.stderr.splitlines() if "no snapshot" not in each)
    assert "is Failed: " in line
    assert text in line
    state = read_state(folder_in(done.stderr))
    assert state.status == "Failed"
    assert text in str(state.error)


_WAITING = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)\n"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_script(source: Path, start: Child, name: str) -> None:
    (source / "train.py").write_text(_WAITING)
    child: Any = start(*_RUN, cwd=source, text=True)
    assert child.stdout.readline() == "ready\n"
    number = getattr(signal, name)
    os.kill(child.pid, number)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert read_state(folder_in(said)).status == "Canceled"


def test_a_run_that_nobody_watches_any_more_is_told(source: Path, start: Child) -> None:
    (source / "train.py").write_text(
        "import time\nprint('ready', flush=True)\ntime.sleep(6)\n"
    )
    child: Any = start(*_RUN, cwd=source, text=True)
    assert child.stdout.readline() == "ready\n"
    folder = folder_in(child.stderr.readline())
    first = json.loads((folder / "events.jsonl").read_text().splitlines()[0])
    os.kill(first["data"]["pid"], signal.SIGKILL)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "NotResponding: the process that watched the script is gone" in said


def test_a_script_whose_output_nobody_reads_is_ended(
    source: Path, start: Child
) -> None:
    """As it would be without the launcher: `mlog run train.py | head`."""
    (source / "train.py").write_text(
        "import time\nwhile True: print('more', flush=True); time.sleep(0.01)\n"
    )
    child: Any = start(*_RUN, cwd=source, text=True)
    assert child.stdout.readline() == "more\n"
    child.stdout.close()
    child.wait(timeout=30)
    assert child.returncode == 141
    assert follow(folder_in(child.stderr.read())).status == "Canceled"


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), 2, "Missing argument"),
        (("--memory", "much", "ls"), 2, 'a text like "512M" or "2G"'),
        (("--max-duration", "0", "train.py"), 2, "'--max-duration': 0.0 is not"),
        (("--tag", "x", "train.py"), 2, "not of the form k=v"),
        (("--bogus", "train.py"), 2, "No such option '--bogus'"),
        (("-x",), 2, "No such option '-x'"),
        (("../source",), 2, "../source is a folder; name the script in it"),
        (("none.py",), 1, "there is no script none.py"),
        (("--azureml", "ls"), 2, "--azureml is for Python scripts"),
    ],
)
def test_a_wrong_call_is_one_line(
    source: Path, args: tuple[str, ...], code: int, text: str
) -> None:
    done = mlog_run(*args, cwd=source)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_what_comes_after_the_script_is_the_scripts(source: Path) -> None:
    (source / "train.py").write_text("import sys; print(sys.argv[1:])")
    done = mlog_run("train.py", "--name", "x", "-v", "--", "--json", cwd=source)
    assert done.stdout == "['--name', 'x', '-v', '--', '--json']\n"
    done = mlog_run("--", "echo", "--name", "x", cwd=source)
    assert done.stdout == "--name x\n"


@pytest.mark.parametrize("number", [0, 2])
def test_a_standard_stream_may_be_closed(source: Path, number: int) -> None:
    """As daemons and some launchers have it: the script runs, and all of it ends."""
    (source / "train.py").write_text("import sys; print('ran', sys.stdin.read())")
    close = f'exec "$@" {number}>&-'
    done = subprocess.run(
        ["sh", "-c", close, "sh", sys.executable, *_RUN],
        cwd=source,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"ran \n")


def test_a_root_that_cannot_be_written_to_is_replaced(source: Path) -> None:
    """The script runs all the same, and one line says where it went."""
    (source / "train.py").write_text("import os; print(os.environ['MLOG_DIR'])")
    (source / "file").touch()
    done = mlog_run("--dir", str(source / "file"), "train.py", cwd=source)
    warned, ran = done.stderr.splitlines()
    assert warned.startswith(f"mlog: warning: {source / 'file'} cannot be written to")
    folder = folder_in(ran)
    assert (done.returncode, done.stdout) == (0, f"{folder.parent.parent}\n")
    assert read_state(folder).status == "Completed"
    shutil.rmtree(folder.parent.parent)


def test_a_script_that_its_snapshot_leaves_out_is_told(source: Path) -> None:
    (source / "train.py").write_text("print(1)")
    (source / ".amlignore").write_text("train.py")
    done = mlog_run("train.py", cwd=source)
    assert done.returncode == 1
    assert "is Failed: train.py is left out of the copy that is run" in done.stderr
    assert mlog_run("--in-place", "train.py", cwd=source).stdout == "1\n"


def test_sys_executable_is_the_interpreter_of_the_script(source: Path) -> None:
    (source / "train.py").write_text("import sys; print(sys.executable)")
    done = mlog_run("train.py", cwd=source)
    assert done.stdout.strip() == sys.executable
