"""A command in a session of its own, which is ended as a whole.

Its streams are pipes, or pseudo-terminals where whoever started it looks at terminals.
The process is not collected before everything is over: until then nobody else can get
its id, so that a signal to the session never meets a stranger.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlog.launch.attached import Attached
from mlog.launch.processes import (
    Process,
    die_with_parent,
    living_below,
    living_in_session,
    reap_below,
)

__all__ = ["Child", "describe"]

_PIPE_BYTES = 1 << 20
_STREAMS = ("stdout", "stderr")


class Child:
    """One command, started when this is made.

    Attributes:
        streams: `stdout` and `stderr` to descriptors to read from, which do not block.
        terminals: Those of them that are terminals to the command.
    """

    def __init__(
        self,
        line: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        attached: Attached | None = None,
        memory: int | None = None,
    ) -> None:
        """Start the command. It gets SIGTERM when this process is gone (Linux).

        Args:
            line: Command line.
            cwd: Folder it starts in.
            env: Its whole environment.
            attached: Whose terminals it gets, and what it reads. None: pipes, nothing.
            memory: Most bytes of address space of each of its processes.

        Raises:
            OSError: It cannot be started.
        """
        attached = attached or Attached()
        pairs = {name: attached.terminals.get(name) or _pipe() for name in _STREAMS}
        try:
            self._process = subprocess.Popen(
                line,
                stdin=_stdin(attached),
                stdout=pairs["stdout"][1],
                stderr=pairs["stderr"][1],
                cwd=cwd,
                env=env,
                start_new_session=True,
                preexec_fn=_preparation(memory, controls=bool(attached.control)),
            )
        except BaseException:
            for reading, _ in pairs.values():
                os.close(reading)
            raise
        finally:
            for _, writing in pairs.values():
                os.close(writing)
            if attached.stdin is not None:
                os.close(attached.stdin)
        self._has_exited = False
        self.terminals = frozenset(attached.terminals)
        self.streams = {name: reading for name, (reading, _) in pairs.items()}
        for reading in self.streams.values():
            os.set_blocking(reading, False)

    @property
    def pid(self) -> int:
        """Process id, and id of the session."""
        return self._process.pid

    def has_exited(self) -> bool:
        """Whether the command itself has ended; others of its session may be there."""
        if not self._has_exited:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            self._has_exited = os.waitid(os.P_PID, self.pid, flags) is not None
        return self._has_exited

    def signal(self, number: int, *, strays: bool = False) -> None:
        """Send a signal to all processes of the session.

        Args:
            number: Of the signal.
            strays: Whether also to those that have left it.
        """
        groups = {p.group for p in living_in_session(self.pid)}
        for group in {self.pid, *groups}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        for stray in self.strays() if strays else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(stray.pid, number)

    def others(self) -> list[Process]:
        """Return the other living processes of the session, where they show."""
        return [p for p in living_in_session(self.pid) if p.pid != self.pid]

    def strays(self) -> list[Process]:
        """Return what the command has started and what has left its session since."""
        mine = (os.getsid(0), self.pid)
        return [p for p in living_below(os.getpid()) if p.session not in mine]

    def reap(self) -> None:
        """Collect what the command has left behind and what has ended since."""
        reap_below(os.getpid(), but=self.pid)

    def close(self, stream: str) -> None:
        """Read no more from a stream."""
        os.close(self.streams.pop(stream))

    def collect(self, *, strays: bool = False) -> int:
        """Collect the ended process; return its exit code, -9 for SIGKILL.

        What is left of its session is killed before; see `signal`.
        """
        self.signal(signal.SIGKILL, strays=strays)
        for stream in list(self.streams):
            self.close(stream)
        return self._process.wait()


def describe(code: int) -> str:
    """Say in words how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"ended by {name}"


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe that holds much, so that a flood has to wait less."""
    reading, writing = os.pipe()
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        set_size = getattr(fcntl, "F_SETPIPE_SZ", None)
        if set_size is not None:
            fcntl.fcntl(writing, set_size, _PIPE_BYTES)
    return reading, writing


def _stdin(attached: Attached) -> int:
    if attached.control:
        return attached.terminals[attached.control][1]
    return subprocess.DEVNULL if attached.stdin is None else attached.stdin


def _preparation(memory: int | None, *, controls: bool) -> Callable[[], None]:
    """Return what the new process does before it becomes the command."""
    import fcntl
    import resource
    import termios

    def prepare() -> None:
        die_with_parent()
        if controls:  # for Ctrl-C, /dev/tty and the size of the window
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if memory is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return prepare
