"""Runs end by themselves when the process does, with the status it ends with."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import REPO, entries, lost, run_python

ENV = {"PYTHONPATH": str(REPO)}

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals and forks are those of POSIX"
)

START = """
import atexit, logging, os, signal, sys, threading
import mlog
run = mlog.start_run("e", run_id="r")
"""


def program(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program that starts with an open run `run`."""
    return run_python(START + code, *args, env=ENV)


@pytest.fixture
def folder(run_dir: Path) -> Path:
    """Return the folder of the child's run."""
    return run_dir / "e" / "r"


def ends(folder: Path) -> list[dict[str, Any]]:
    """Return what each `run.end` says."""
    found = entries(folder, "events")
    return [entry["data"] for entry in found if entry["event"] == "run.end"]


def messages(folder: Path) -> list[str]:
    return [entry["msg"] for entry in entries(folder, "logs")]


# --- exits -----------------------------------------------------------------------------

EXITS = {
    "falls off the end": ("", 0, "Completed"),
    "sys.exit()": ("sys.exit()", 0, "Completed"),
    "sys.exit(0)": ("sys.exit(0)", 0, "Completed"),
    "sys.exit(1)": ("sys.exit(1)", 1, "Failed"),
    "sys.exit with words": ("sys.exit('no data')", 1, "Failed"),
    "sys.exit deep inside": ("(lambda: (lambda: sys.exit(2))())()", 2, "Failed"),
    "sys.exit on the way out": (
        "try:\n    1 / 0\nfinally:\n    sys.exit(4)",
        4,
        "Failed",
    ),
    "sys.exit raised once more": (
        "try:\n    sys.exit(5)\nexcept SystemExit:\n    raise",
        5,
        "Failed",
    ),
    "caught": ("try:\n    sys.exit(1)\nexcept SystemExit:\n    pass", 0, "Completed"),
    "caught in a function": (
        "def f():\n    try:\n        sys.exit(1)\n"
        "    except SystemExit as exc:\n        return exc.code\nf()",
        0,
        "Completed",
    ),
    "caught, then another": (
        "try:\n    sys.exit(1)\nexcept SystemExit:\n    pass\nsys.exit(0)",
        0,
        "Completed",
    ),
    "in a thread": (
        "t = threading.Thread(target=lambda: sys.exit(1)); t.start(); t.join()",
        0,
        "Completed",
    ),
    "exception caught": (
        "try:\n    1 / 0\nexcept ArithmeticError: pass",
        0,
        "Completed",
    ),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); signal.pause()", -2, "Canceled"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", -2, "Canceled"),
    "with, sys.exit(1)": ("with run: sys.exit(1)", 1, "Failed"),
    "with, SystemExit(3)": ("with run: raise SystemExit(3)", 3, "Failed"),
    # Nothing tells a bare SystemExit from one that means success, which is common:
    # `raise SystemExit(main())`. `with start_run(…)` or sys.exit(3) say more.
    "SystemExit(3), without with": ("raise SystemExit(3)", 3, "Completed"),
    "SystemExit(0), without with": ("raise SystemExit(0)", 0, "Completed"),
}


@pytest.mark.parametrize("way", EXITS)
def test_a_run_left_open_ends_with_the_process(way: str, folder: Path) -> None:
    code, exit_code, status = EXITS[way]
    done = program(code)
    assert done.returncode == exit_code, done.stderr
    assert "mlog" not in done.stderr
    assert ends(folder)[-1]["status"] == status
    assert not list(folder.glob(".lock*"))
    assert lost(folder) == {}


def test_an_uncaught_exception_fails_the_run(folder: Path) -> None:
    """The traceback is in the run, and on stderr as ever."""
    done = program("raise ValueError('boom')")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: boom\n")
    (end,) = ends(folder)
    assert end["status"] == "Failed"
    assert (end["error"]["type"], end["error"]["msg"]) == ("ValueError", "boom")
    assert "Traceback (most recent call last)" in end["error"]["traceback"]


def test_sys_exit_is_told_with_its_status(folder: Path) -> None:
    program("sys.exit(3)")
    assert ends(folder)[0]["error"] == {"msg": "exit status 3"}


def test_nested_runs_all_end(folder: Path) -> None:
    program("inner = mlog.start_run('e', run_id='inner')\nsys.exit(1)")
    for place in (folder, folder.with_name("inner")):
        assert [end["status"] for end in ends(place)] == ["Failed"]


def test_an_exception_in_a_thread_does_not_end_the_run(folder: Path) -> None:
    """It does not end the process either."""
    code = """
threading.excepthook = lambda args: None
t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()
logging.getLogger("x").info("going on")
"""
    assert program(code).returncode == 0
    assert ends(folder)[0]["status"] == "Completed"
    assert messages(folder) == ["going on"]


def test_a_run_started_in_a_thread_ends_with_the_process(run_dir: Path) -> None:
    code = """
import threading, mlog
t = threading.Thread(target=lambda: mlog.start_run("e", run_id="t").log("x", 1))
t.start(); t.join()
raise ValueError
"""
    assert run_python(code, env=ENV).returncode == 1
    (end,) = ends(run_dir / "e" / "t")
    assert end["status"] == "Failed"
    assert end["metrics"]["x"]["count"] == 1


# --- signals ---------------------------------------------------------------------------


def test_sigterm_cancels_the_run_and_kills_the_process(folder: Path) -> None:
    """Whoever waits for the process sees that it died by the signal."""
    done = program("os.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()")
    assert done.returncode == -signal.SIGTERM
    assert done.stderr == ""
    (end,) = ends(folder)
    assert end == {"status": "Canceled", "error": {"msg": "SIGTERM"}}
    assert not (folder / ".lock").exists()


def test_sigterm_is_left_to_a_handler_of_the_users(folder: Path) -> None:
    code = """
import mlog, os, signal
signal.signal(signal.SIGTERM, lambda number, frame: print("mine"))
run = mlog.start_run("e", run_id="r")
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert ends(folder)[0]["status"] == "Completed"


def test_sigterm_that_is_ignored_stays_so(folder: Path) -> None:
    code = """
import mlog, os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
run = mlog.start_run("e", run_id="r")
os.kill(os.getpid(), signal.SIGTERM)
run.complete()
assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (0, "")
    assert ends(folder)[0]["status"] == "Completed"


def test_sigterm_while_the_run_is_ended_waits_for_the_end(folder: Path) -> None:
    code = """
import mlog.run.writer as writer
end = writer.Writer.end
def slow_end(self, status):
    os.kill(os.getpid(), signal.SIGTERM)
    end(self, status)
writer.Writer.end = slow_end
run.complete()
print("not reached")
"""
    done = program(code)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    assert [e["event"] for e in entries(folder, "events")][-2:] == [
        "run.end",
        "writer.end",
    ]
    assert ends(folder)[0]["status"] == "Completed"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_inside_a_call_leaves_explained_gaps_only(
    signum: signal.Signals, folder: Path
) -> None:
    """The number of a call that was cut off is named by a `run.dropped`."""
    code = """
import mlog.segments
write = mlog.segments._write
count = 0
def interrupted(fd, line):
    global count
    count += 1
    if count == 20:
        os.kill(os.getpid(), int(sys.argv[1]))
    return write(fd, line)
mlog.segments._write = interrupted
for number in range(100):
    logging.getLogger("x").warning("line %d", number, extra={"n": number})
"""
    done = program(code + "\n", str(int(signum)))
    assert done.returncode == -signum
    assert ends(folder)[0]["status"] == "Canceled"
    assert lost(folder) == {}
    assert len(messages(folder)) < 100


@pytest.mark.parametrize("way", ["os._exit(1)", "os.kill(os.getpid(), 9)"])
def test_a_killed_run_has_no_end_and_no_held_lock(way: str, folder: Path) -> None:
    """Readers take it for NotResponding: no `run.end`, and nobody holds the lock."""
    import fcntl

    program(f"run.log('x', 1)\n{way}")
    assert ends(folder) == []
    assert len(entries(folder, "metrics")) == 1
    with (folder / ".lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_living_run_holds_its_lock(folder: Path) -> None:
    code = """
import fcntl
lock = open(run.path / ".lock", "rb+")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("held")
"""
    assert program(code).stdout == "held\n"


# --- what was hooked is put back -------------------------------------------------------


def test_hooks_are_put_back_with_the_last_run() -> None:
    """Exactly as they were found, also when they were somebody's own."""
    code = """
import mlog, signal, sys
def hook(*args): pass
def leave(status=None): raise SystemExit(status)
sys.excepthook, sys.exit = hook, leave
before = (sys.excepthook, sys.exit, signal.getsignal(signal.SIGTERM))
def now(): return (sys.excepthook, sys.exit, signal.getsignal(signal.SIGTERM))
outer = mlog.start_run("a")
inner = mlog.start_run("b")
assert all(x is not y for x, y in zip(now(), before))
inner.complete()
assert all(x is not y for x, y in zip(now(), before))
outer.complete()
assert now() == before, (now(), before)
with mlog.start_run("c"): pass
assert now() == before
with mlog.start_run("d", disabled=True): pass
assert now() == before
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (0, "")


def test_hooks_of_somebody_else_are_left_in_place() -> None:
    """Who replaced a hook while the run was open keeps his."""
    code = """
import mlog, signal, sys
run = mlog.start_run("a")
def hook(*args): pass
def leave(status=None): raise SystemExit(status)
def term(number, frame): pass
sys.excepthook, sys.exit = hook, leave
signal.signal(signal.SIGTERM, term)
run.complete()
assert (sys.excepthook, sys.exit) == (hook, leave)
assert signal.getsignal(signal.SIGTERM) is term
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_hook_of_the_users_is_still_called(folder: Path) -> None:
    code = """
import sys, mlog
sys.excepthook = lambda kind, error, trace: print("mine:", error)
run = mlog.start_run("e", run_id="r")
raise ValueError("boom")
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stdout, done.stderr) == (1, "mine: boom\n", "")
    assert ends(folder)[0]["error"]["msg"] == "boom"


def test_sys_exit_behaves_as_ever() -> None:
    code = """
for args, code in [((), None), ((3,), 3), (("x",), "x"), (((1, 2),), (1, 2))]:
    try:
        sys.exit(*args)
    except SystemExit as exc:
        got = exc.code
    assert got == code, (got, code)
try:
    sys.exit(1, 2)
except TypeError:
    print("refused")
"""
    done = program(code)
    assert (done.stdout, done.stderr) == ("refused\n", "")


# --- the last entries ------------------------------------------------------------------


def test_entries_of_exit_handlers_are_kept(folder: Path) -> None:
    """Handlers registered before mlog was imported run last, after the run's end."""
    code = """
import atexit, logging
log = logging.getLogger("x")
atexit.register(lambda: (log.warning("before"), run.log("x", 1)))
import mlog
run = mlog.start_run("e", run_id="r")
atexit.register(lambda: log.warning("after"))
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (0, "after\nbefore\n")  # lastResort
    assert messages(folder) == ["after", "before"]
    assert len(entries(folder, "metrics")) == 1
    assert ends(folder)[0]["status"] == "Completed"
    assert lost(folder) == {}


def test_entries_after_logging_shutdown_are_kept(folder: Path) -> None:
    code = """
logging.basicConfig(handlers=[mlog.RunHandler()])
logging.shutdown()
logging.getLogger("x").info("still here")
run.log("x", 1)
"""
    done = program(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert messages(folder) == ["still here"]


LAST = """
class Last:
    def __init__(self, name):
        self.log, self.name, self.run = logging.getLogger("x"), name, run
    def __del__(self):
        self.log.info("gone: %s", self.name)
        self.run.log("gone", 1)
        self.run.tag("gone", self.name)
"""


def test_entries_of_destructors_are_kept(folder: Path) -> None:
    """Also of objects that die with the interpreter, after the run's end."""
    done = program(LAST + "now = Last('early'); del now; last = Last('global')")
    assert (done.returncode, done.stderr) == (0, "")
    assert messages(folder) == ["gone: early", "gone: global"]
    assert len(entries(folder, "metrics")) == 2
    assert ends(folder)[0]["status"] == "Completed"
    assert lost(folder) == {}


def test_entries_of_the_very_last_destructors_never_raise(folder: Path) -> None:
    """When modules are taken apart they may be lost, but in silence."""
    code = """
circle = Last("circle"); circle.me = circle
logging.getLogger("x").kept = Last("of a logger")
sys.modules["builtins"].kept = Last("of builtins")
mlog.kept = Last("of mlog")
sys.modules["mlog.run.recorder"].kept = Last("of the recorder")
"""
    done = program(LAST + code)
    assert (done.returncode, done.stderr) == (0, "")
    assert ends(folder)[0]["status"] == "Completed"
    assert lost(folder) == {}


def test_a_prompt_goes_on_after_an_exception(folder: Path) -> None:
    """In `python -i` an exception is a mistake, not the end."""
    lines = [
        "import mlog, logging",
        "run = mlog.start_run('e', run_id='r')",
        "1 / 0",
        "logging.getLogger('x').info('going on')",
        "run.status",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-i", "-c", ""],
        input="\n".join(lines) + "\n",
        env={**os.environ, **ENV, "TERM": "dumb", "PYTHON_HISTORY": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ZeroDivisionError" in done.stderr
    assert "'Running'" in done.stdout
    assert messages(folder) == ["going on"]
    assert ends(folder)[0]["status"] == "Completed"


def test_a_script_that_fails_before_its_prompt_has_failed(
    folder: Path, tmp_path: Path
) -> None:
    """`python -i script.py`: the prompt goes on with the run, the script has failed."""
    script = tmp_path / "fit.py"
    script.write_text(START + "raise ValueError('boom')\n")
    done = subprocess.run(
        [sys.executable, "-i", str(script)],
        input="run.log('x', 1)\n",
        env={**os.environ, **ENV, "TERM": "dumb", "PYTHON_HISTORY": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "boom" in done.stderr
    assert len(entries(folder, "metrics")) == 1
    assert ends(folder)[0]["status"] == "Failed"


def test_threads_that_start_and_end_runs_leave_the_hooks_as_they_were() -> None:
    """A hook that remembered itself as the one before would call itself for ever."""
    code = """
import sys, threading
from mlog.run import exits
class Run:
    def end(self, status, error=None, *, at_exit=False): pass
    def interrupted(self): pass
before = (sys.excepthook, sys.exit)
def work():
    for _ in range(2_000):
        run = Run()
        exits.hold(run)
        exits.release(run)
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert (sys.excepthook, sys.exit) == before
sys.exit(3)
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)", 0),
    ],
)
def test_a_process_dies_by_ctrl_c_whatever_its_runs_do_at_the_end(
    end: str, code: int
) -> None:
    """Storing outputs loads modules, which makes the interpreter forget Ctrl-C."""
    done = program(f"run._before_end = lambda at_exit: exec('1')\n{end}")
    assert done.returncode == code
