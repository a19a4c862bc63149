"""Watching a script to its end: its output, its time, and requests to end it."""

import math
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mlog.launch.child import Child
from mlog.launch.output import Output

__all__ = ["End", "Reason", "watch"]

Reason: TypeAlias = Literal["cancel", "time", "typed"]
"""Why a script was ended from outside; "typed" is Ctrl-C at its own terminal."""

_TICK = 0.1
_CHUNK = 1 << 18
_READ, _READ_TERMINAL = 1 << 16, 1 << 13
"""Most bytes of one read; a terminal never gives more than a page."""

_TYPED = 10.0
"""Seconds after a typed Ctrl-C in which the end of a script is taken to be its effect."""

_DRAIN = 2.0
"""Seconds that processes left behind by the script have to end by themselves."""

_LAST_WORDS = 0.5
"""Seconds to read what ended processes have printed last."""

_REAP = 5.0
"""Seconds between two looks for ended processes that nobody collects."""

_FEW = 1_024
_SOON = 0.001
_REST = 0.002
"""Pause after few bytes that came soon after others: they are read together then."""


@dataclass(frozen=True, slots=True)
class End:
    """How a script ended.

    Attributes:
        code: Exit code; -9 for SIGKILL.
        reason: Why it was ended from outside. None: it ended by itself.
    """

    code: int
    reason: Reason | None


def watch(
    child: Child,
    output: Output,
    *,
    asked: Callable[[], signal.Signals | None],
    typed: Callable[[], float | None],
    on_end: Callable[[Reason], None],
    seconds: float | None,
    grace: float,
    drain: float = _DRAIN,
    clock: Callable[[], float] = time.monotonic,
) -> End:
    """Take a script's output until it has ended, and end it where that is asked for.

    First comes the signal that was asked for to its whole session, later SIGTERM where
    that was another one, then SIGKILL. What the script leaves behind in its session
    when it ends by itself is ended too, a little later.

    Args:
        child: The script, running.
        output: Takes what it prints.
        asked: Asked several times a second by which signal somebody wants it ended.
        typed: Asked at its end for the time, by `time.time`, of the last Ctrl-C that
            was typed at its terminal.
        on_end: Told, once and before, that it will be ended.
        seconds: How long it may run. None: without limit.
        grace: Seconds between the first signal and SIGKILL.
        drain: Seconds for what is left behind.
        clock: Monotonic seconds.
    """
    watcher = _Watcher(child, output, grace, drain)
    deadline = clock() + (math.inf if seconds is None else seconds)
    number: signal.Signals | None = None
    try:
        while not watcher.is_over(clock()):
            watcher.read(_TICK)
            now = clock()
            if child.has_exited():
                continue
            wanted = asked()
            if wanted is not None and wanted != number:
                number = wanted
                watcher.stop("cancel", wanted, now, on_end)
            elif now >= deadline:
                deadline = math.inf
                watcher.stop("time", signal.SIGTERM, now, on_end)
    finally:
        watcher.close()
        code = child.collect(strays=watcher.reason is not None)
    if watcher.reason is None and time.time() - (typed() or 0.0) <= _TYPED:
        watcher.reason = "typed"
    return End(code, watcher.reason)


class _Watcher:
    """State of one `watch`."""

    def __init__(
        self, child: Child, output: Output, grace: float, drain: float
    ) -> None:
        self.reason: Reason | None = None
        self._child = child
        self._output = output
        self._relay = output.relay
        self._grace = grace
        self._drain = drain
        self._leave_at: float | None = None
        self._is_ending = False
        self._terminate_at = math.inf
        self._kill_at = math.inf
        self._give_up_at = math.inf
        self._read_at = 0.0
        self._reap_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._waits: dict[int, tuple[int, str]] = {}

    def close(self) -> None:
        """Read no more."""
        for stream in list(self._child.streams):
            self._close(stream)
        self._selector.close()

    def read(self, timeout: float) -> None:
        """Take what there is to read, or wait for it a moment."""
        self._update()
        if not self._waits:
            time.sleep(timeout / 10)
            return
        ready = [(key.data, key.events) for key, _ in self._selector.select(timeout)]
        taken = 0
        for stream, events in ready:
            if events == selectors.EVENT_WRITE:
                self._relay.flush(stream)
            else:
                taken += self._take(stream)
        self._rest(taken)

    def _update(self) -> None:
        """Wait for streams to read whose reader keeps up, and for readers that do not."""
        wanted = {
            fd: (selectors.EVENT_READ, stream)
            for stream, fd in self._child.streams.items()
            if not self._relay.is_full(stream)
        }
        for stream, fd in self._relay.pending.items():
            wanted[fd] = (selectors.EVENT_WRITE, stream)
        if wanted == self._waits:
            return
        for fd in self._waits:
            self._selector.unregister(fd)
        for fd, (events, stream) in wanted.items():
            self._selector.register(fd, events, stream)
        self._waits = wanted

    def _take(self, stream: str) -> int:
        """Take what a stream has, up to a chunk; return how much that was.

        A terminal gives a page at a time, so several reads make one.
        """
        parts: list[bytes] = []
        size, is_over = 0, False
        fd = self._child.streams[stream]
        most = _READ_TERMINAL if stream in self._child.terminals else _READ
        while size < _CHUNK and not is_over:
            try:
                data = os.read(fd, most)
            except BlockingIOError:
                break
            except OSError:  # what a terminal says when nobody has it open any more
                data = b""
            is_over = not data
            parts.append(data)
            size += len(data)
        if size:
            self._output.take(stream, b"".join(parts))
        if is_over:
            self._close(stream)
        return size

    def _rest(self, taken: int) -> None:
        """Let a script that prints many little things print some more meanwhile."""
        now = time.monotonic()
        if 0 < taken < _FEW and now - self._read_at < _SOON:
            time.sleep(_REST)
        if taken:
            self._read_at = time.monotonic()

    def stop(
        self,
        reason: Reason,
        number: signal.Signals,
        now: float,
        on_end: Callable[[Reason], None],
    ) -> None:
        """Begin to end the script, or go on by a stronger signal."""
        if self.reason is None:
            self.reason = reason
            on_end(reason)
        self._terminate(number, now)

    def is_over(self, now: float) -> bool:
        """Whether nothing more will come; sends the signals that are due."""
        self._escalate(now)
        if now >= self._reap_at:
            self._child.reap()
            self._reap_at = now + _REAP
        if not self._child.has_exited():
            return False
        is_quiet = not self._child.streams
        if is_quiet and not self._child.others():
            self._tell_strays()
            return True
        if self._leave_at is None:
            self._leave_at = now + self._drain
        return now >= self._leave_at and not self._has_left_behind(now)

    def _escalate(self, now: float) -> None:
        if now >= self._terminate_at:
            self._terminate_at = math.inf
            self._send(signal.SIGTERM)
        if now >= self._kill_at:
            self._kill_at, self._give_up_at = math.inf, now + 1.0
            self._send(signal.SIGKILL)

    def _has_left_behind(self, now: float) -> bool:
        """Whether there are processes to wait for; ends them where nobody has yet."""
        others = self._child.others()
        if not others:
            self._tell_strays()
            return False
        if now >= self._give_up_at:
            return False
        if not self._is_ending:
            names = ", ".join(map(str, others))
            self._output.note(
                f"the script has ended; ending what it left behind: {names}"
            )
            self._terminate(signal.SIGTERM, now)
        self._leave_at = now + _LAST_WORDS
        return True

    def _tell_strays(self) -> None:
        """Tell of processes that have left the session, as daemons do.

        They may hold the streams, and do so for ever, so they are not waited for.
        """
        strays = [] if self.reason else self._child.strays()
        if strays:
            names = ", ".join(map(str, strays))
            text = f"the script has ended; what it left running is not heard: {names}"
            self._output.note(text)
        elif self._child.streams:
            self._output.note("the script has ended; what it left behind is not heard")

    def _terminate(self, number: signal.Signals, now: float) -> None:
        self._send(number)
        self._kill_at = now + self._grace
        if number not in (signal.SIGTERM, signal.SIGKILL):
            self._terminate_at = now + self._grace / 2
        self._is_ending = True

    def _send(self, number: signal.Signals) -> None:
        self._child.signal(number, strays=self.reason is not None)

    def _close(self, stream: str) -> None:
        fd = self._child.streams[stream]
        if fd in self._waits:
            self._selector.unregister(fd)
            del self._waits[fd]
        self._child.close(stream)
        self._output.end(stream)
