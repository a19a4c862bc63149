"""A command in a process group of its own, which is ended as a whole.

The process is not collected before everything is over: until then nobody else can get
its id, so that a signal to the group never meets a stranger.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Child", "describe"]


class Child:
    """One command, started when this is made.

    Attributes:
        streams: `stdout` and `stderr` to file objects to read from.
    """

    def __init__(
        self, line: Sequence[str], *, cwd: Path, env: Mapping[str, str]
    ) -> None:
        """Start the command.

        Raises:
            OSError: It cannot be started.
        """
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=env,
            process_group=0,
        )
        self._has_exited = False
        self.streams: dict[str, IO[bytes]] = {}
        for name in ("stdout", "stderr"):
            stream = getattr(self._process, name)
            os.set_blocking(stream.fileno(), False)
            self.streams[name] = stream

    @property
    def pid(self) -> int:
        """Process id, and id of the group."""
        return self._process.pid

    def has_exited(self) -> bool:
        """Whether the command itself has ended; others of its group may be there."""
        if not self._has_exited:
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            self._has_exited = os.waitid(os.P_PID, self.pid, flags) is not None
        return self._has_exited

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def others(self) -> list[int]:
        """Return the ids of other living processes of the group, where they show.

        Source: proc(5), /proc/pid/stat, fields 3 (state) and 5 (pgrp).
        """
        found = []
        for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
            if not name.isdigit() or int(name) == self.pid:
                continue
            try:
                stat = Path("/proc", name, "stat").read_bytes()
            except OSError:  # it has just ended
                continue
            state, _, group, *_ = stat.rpartition(b")")[2].split()
            if int(group) == self.pid and state not in (b"Z", b"X"):
                found.append(int(name))
        return found

    def collect(self) -> int:
        """Collect the ended process; return its exit code, -9 for SIGKILL.

        What is left of its group is killed before.
        """
        self.signal(signal.SIGKILL)
        for stream in self.streams.values():
            stream.close()
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
