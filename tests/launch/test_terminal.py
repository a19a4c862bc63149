"""`mlog run` at a terminal: a pseudo-terminal that the test holds the other end of."""

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from mlog.reader.state import read_state
from tests.helpers import REPO, entries
from tests.launch.helpers import DEADLINE, printed, raw_log, wait_until

# Takes the terminal as its own, as a shell does for what it starts in front.
RUN = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from mlog.cli import main
main()
"""


class Terminal:
    """A terminal with `mlog run` in it."""

    def __init__(self, cwd: Path, *args: str, columns: int, **streams: int) -> None:
        self.master, slave = os.openpty()
        self.seen = b""
        self._from = 0
        self.resize(columns, 24)
        self.modes = termios.tcgetattr(self.master)
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, "run", *args],
            **{"stdin": slave, "stdout": slave, "stderr": slave, **streams},  # type: ignore[call-overload]
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(REPO), "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(slave)

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> None:
        """Read until there is something new with this in it."""
        wanted = text.encode()
        while self.seen.find(wanted, self._from) < 0:
            ready, _, _ = select.select([self.master], [], [], DEADLINE)
            assert ready, f"no {text!r} in {self.seen!r}"
            data = self._read()
            assert data, f"ended without {text!r} in {self.seen!r}"
        self._from = self.seen.find(wanted, self._from) + len(wanted)

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        while self._read():
            pass
        code: int = self.process.wait(DEADLINE)
        return code

    @property
    def folder(self) -> Path:
        line = self.seen.decode().partition("→ ")[2].splitlines()[0]
        return Path(line.strip())

    def _read(self) -> bytes:
        try:
            data = os.read(self.master, 65_536)
        except OSError:  # EIO: nobody has the other end open
            return b""
        self.seen += data
        return data


At: TypeAlias = Callable[..., Terminal]


@pytest.fixture
def at(source: Path, run_dir: Path) -> Iterator[At]:
    """Return a function that runs a program text at a terminal."""
    terminals: list[Terminal] = []

    def start(code: str, *options: str, columns: int = 80, **streams: int) -> Terminal:
        (source / "train.py").write_text(code)
        args = (*options, "train.py")
        terminals.append(Terminal(source, *args, columns=columns, **streams))
        return terminals[-1]

    yield start
    for each in terminals:
        if each.process.poll() is None:
            each.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.process.wait(DEADLINE)
        os.close(each.master)


def test_others_may_print_at_the_terminal_where_output_goes_elsewhere(at: At) -> None:
    """`| tee` prints there what the script does: each line has to begin at the left."""
    code = """
import sys
print("one", flush=True)
print("of stderr", file=sys.stderr, flush=True)
print(repr(input("word? ")))
"""
    reading, writing = os.pipe()
    terminal = at(code, stdout=writing)
    os.close(writing)
    with open(reading, "rb") as output:
        assert output.readline() == b"one\n"
        terminal.until("of stderr\r\n")
        modes = termios.tcgetattr(terminal.master)
        assert modes[1] & termios.OPOST  # what others print there is not changed
        assert not modes[3] & termios.ICANON
        terminal.type("x\r")
        assert terminal.end() == 0
        assert output.read() == b"word? 'x'\n"
    assert b"\r\r\n" not in terminal.seen
    assert termios.tcgetattr(terminal.master) == terminal.modes


def test_the_script_sees_a_terminal_of_the_same_size(at: At) -> None:
    code = """
import os, sys
print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)])
print(os.get_terminal_size(1), os.get_terminal_size(2))
open("/dev/tty", "w").write("to the terminal itself\\n")
"""
    terminal = at(code, columns=200)
    terminal.until("[True, True, True]")
    terminal.until("columns=200, lines=24) os.terminal_size(columns=200")
    terminal.until("to the terminal itself")
    assert terminal.end() == 0


def test_colours_and_bars_pass_untouched_and_are_kept_as_lines(at: At) -> None:
    code = r"""
import sys
print("\x1b[32mgreen\x1b[0m")
for i in range(3): sys.stderr.write(f"\r{i}/2"); sys.stderr.flush()
sys.stderr.write("\n")
"""
    terminal = at(code)
    assert terminal.end() == 0
    assert b"\x1b[32mgreen\x1b[0m\r\n" in terminal.seen
    assert b"\r0/2\r1/2\r2/2\r\n" in terminal.seen
    folder = terminal.folder
    assert printed(folder, "stdout") == ["\x1b[32mgreen\x1b[0m"]
    (bar,) = [e for e in entries(folder, "logs") if e["logger"] == "stderr"]
    assert (bar["msg"], bar["extra"]) == ("2/2", {"redraws": 2})
    assert sorted(raw_log(folder)) == sorted(b"\x1b[32mgreen\x1b[0m\n\r0/2\r1/2\r2/2\n")


def test_a_part_of_a_line_shows_at_once(at: At) -> None:
    terminal = at("import time\nprint('half', end='', flush=True)\ntime.sleep(60)")
    terminal.until("half")


def test_what_is_typed_reaches_the_script(at: At) -> None:
    terminal = at("name = input('name? ')\nprint('hello', name)")
    terminal.until("name? ")
    terminal.type("Ada\n")
    terminal.until("hello Ada")
    assert terminal.end() == 0


def test_a_debugger_works(at: At) -> None:
    terminal = at("x = 41\nbreakpoint()\nprint('after')")
    terminal.until("(Pdb) ")
    terminal.type("x + 1\n")
    terminal.until("42")
    terminal.type("c\n")
    terminal.until("after")
    assert terminal.end() == 0


def test_a_password_is_not_echoed(at: At) -> None:
    code = "import getpass\nprint(len(getpass.getpass('key? ')))"
    terminal = at(code)
    terminal.until("key? ")
    terminal.type("sesame\n")
    terminal.until("6")
    assert terminal.end() == 0
    assert b"sesame" not in terminal.seen
    assert b"sesame" not in raw_log(terminal.folder)


def test_a_typed_ctrl_c_is_the_scripts_and_cancels_the_run(at: At) -> None:
    code = """
import time
try:
    print("waiting")
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
"""
    terminal = at(code)
    terminal.until("waiting")
    terminal.type("\x03")
    terminal.until("saved")
    assert terminal.end() == 128 + signal.SIGINT
    state = read_state(terminal.folder)
    assert state.status == "Canceled"
    assert state.error == {"msg": "SIGINT", "exit_code": 0}


def test_a_script_that_does_not_listen_to_ctrl_c_is_ended_by_the_third(at: At) -> None:
    code = """
import signal, time
signal.signal(signal.SIGINT, lambda *_: print("no"))
print("ready")
while True: time.sleep(0.05)
"""
    terminal = at(code)
    terminal.until("ready")
    for _ in range(3):
        terminal.type("\x03")
        terminal.until("no")
    assert terminal.end() == 128 + signal.SIGINT
    assert read_state(terminal.folder).status == "Canceled"


def test_the_size_of_the_window_is_followed(at: At) -> None:
    code = """
import os, signal, time
def resized(*_): print(os.get_terminal_size(1), os.get_terminal_size(2))
signal.signal(signal.SIGWINCH, resized)
print("ready")
while True: time.sleep(0.05)
"""
    terminal = at(code)
    terminal.until("ready")
    terminal.resize(132, 50)
    terminal.until("columns=132, lines=50) os.terminal_size(columns=132, lines=50)")


@pytest.mark.parametrize("ending", ["raise SystemExit(3)", "time.sleep(60)"])
def test_the_terminal_is_left_as_it_was(at: At, ending: str) -> None:
    terminal = at(f"import time\nprint('ready')\n{ending}")
    terminal.until("ready")
    if "sleep" in ending:
        wait_until(lambda: _is_raw(terminal.master), "typing is raw")
        os.kill(terminal.process.pid, signal.SIGTERM)
    terminal.end()
    assert termios.tcgetattr(terminal.master) == terminal.modes


def _is_raw(master: int) -> bool:
    return not termios.tcgetattr(master)[3] & termios.ICANON


def test_a_terminal_that_is_closed_cancels_the_run(at: At) -> None:
    terminal = at("import time\nprint('ready')\ntime.sleep(60)")
    terminal.until("ready")
    folder = terminal.folder
    os.close(terminal.master)
    terminal.master = os.open(os.devnull, os.O_RDONLY)  # for the fixture
    terminal.process.wait(DEADLINE)
    wait_until(lambda: read_state(folder).status == "Canceled", "the run ends")
    error = read_state(folder).error or {}
    assert error["msg"] in ("SIGHUP", "cancelled on request")


def test_where_the_output_goes_elsewhere_it_is_no_terminal(
    at: At, tmp_path: Path
) -> None:
    """But what is shown on the terminal still is one: `mlog run train.py > file`."""
    code = "import sys\nprint(sys.stdout.isatty(), file=sys.stderr)\nprint('x' * 99)"
    with (tmp_path / "out").open("wb") as file:
        terminal = at(code, stdout=file.fileno())
        terminal.until("False")
        assert terminal.end() == 0
    assert (tmp_path / "out").read_bytes() == b"x" * 99 + b"\n"


def test_a_killed_launcher_leaves_the_script_running(at: At, tmp_path: Path) -> None:
    code = f"""
import pathlib, time
print("ready")
while not pathlib.Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.01)
print("went on")
"""
    terminal = at(code)
    terminal.until("ready")
    terminal.process.send_signal(signal.SIGKILL)
    terminal.process.wait(DEADLINE)
    (tmp_path / "go").touch()
    folder = terminal.folder
    wait_until(lambda: read_state(folder).status == "Completed", "the run ends")
    assert printed(folder) == ["ready", "went on"]


def test_a_reader_that_stops_does_not_keep_a_run_from_its_end(at: At) -> None:
    """The script waits for it, as without a launcher, the supervisor does not."""
    reading, writing = os.pipe()
    code = "import sys\nwhile True: sys.stdout.write('x' * 1_000_000)"
    terminal = at(code, stdout=writing)
    os.close(writing)
    terminal.until("→ ")
    terminal.until("\n")
    folder = terminal.folder
    log = folder / "artifacts/user_logs/std_log.txt"
    wait_until(lambda: log.exists() and log.stat().st_size > 1 << 20, "it prints")
    os.kill(terminal.process.pid, signal.SIGTERM)
    wait_until(lambda: read_state(folder).status == "Canceled", "the run ends")
    assert log.stat().st_size < 16 << 20
    assert terminal.process.poll() is None, "it still waits for its reader"
    os.close(reading)
    assert terminal.process.wait(DEADLINE) == 141
