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

Reason: TypeAlias = Literal["cancel", "time"]
"""Why a script was ended from outside."""

_TICK = 0.1
_CHUNK = 1 << 18
_DRAIN = 2.0
"""Seconds that processes left behind by the script have to end by themselves."""

_LAST_WORDS = 0.5
"""Seconds to read what ended processes have printed last."""


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
    is_cancelled: Callable[[], bool],
    on_end: Callable[[Reason], None],
    seconds: float | None,
    grace: float,
    drain: float = _DRAIN,
    clock: Callable[[], float] = time.monotonic,
) -> End:
    """Take a script's output until it has ended, and end it where that is asked for.

    First comes SIGTERM to its whole process group, then SIGKILL. What the script leaves
    behind in its group when it ends by itself is ended too, a little later.

    Args:
        child: The script, running.
        output: Takes what it prints.
        is_cancelled: Asked several times a second whether somebody wants it ended.
        on_end: Told, once and before, that it will be ended.
        seconds: How long it may run. None: without limit.
        grace: Seconds between SIGTERM and SIGKILL.
        drain: Seconds for what is left behind.
        clock: Monotonic seconds.
    """
    watcher = _Watcher(child, output, grace, drain)
    deadline = clock() + (math.inf if seconds is None else seconds)
    try:
        while not watcher.is_over(clock()):
            watcher.read(_TICK)
            now = clock()
            if watcher.reason is not None or child.has_exited():
                continue
            if is_cancelled():
                watcher.stop("cancel", now, on_end)
            elif now >= deadline:
                watcher.stop("time", now, on_end)
    finally:
        watcher.close()
        code = child.collect()
    return End(code, watcher.reason)


class _Watcher:
    """State of one `watch`."""

    def __init__(
        self, child: Child, output: Output, grace: float, drain: float
    ) -> None:
        self.reason: Reason | None = None
        self._child = child
        self._output = output
        self._grace = grace
        self._drain = drain
        self._leave_at: float | None = None
        self._is_ending = False
        self._kill_at = math.inf
        self._give_up_at = math.inf
        self._selector = selectors.DefaultSelector()
        for name, stream in child.streams.items():
            self._selector.register(stream, selectors.EVENT_READ, name)

    def close(self) -> None:
        """Read no more."""
        for key in list(self._selector.get_map().values()):
            self._close(key)
        self._selector.close()

    def read(self, timeout: float) -> None:
        """Take what there is to read, or wait for it a moment."""
        if not self._selector.get_map():
            time.sleep(timeout / 10)
            return
        for key, _ in self._selector.select(timeout):
            try:
                data = os.read(key.fd, _CHUNK)
            except BlockingIOError:
                continue
            if data:
                self._output.take(key.data, data)
            else:
                self._close(key)

    def stop(
        self, reason: Reason, now: float, on_end: Callable[[Reason], None]
    ) -> None:
        """Begin to end the script."""
        self.reason = reason
        on_end(reason)
        self._terminate(now)

    def is_over(self, now: float) -> bool:
        """Whether nothing more will come; sends the signals that are due."""
        if now >= self._kill_at:
            self._child.signal(signal.SIGKILL)
            self._kill_at, self._give_up_at = math.inf, now + 1.0
        if not self._child.has_exited():
            return False
        is_quiet = not self._selector.get_map()
        if is_quiet and not self._child.others():
            return True
        if self._leave_at is None:
            self._leave_at = now + self._drain
        return now >= self._leave_at and not self._has_left_behind(now)

    def _has_left_behind(self, now: float) -> bool:
        """Whether there are processes to wait for; ends them where nobody has yet."""
        others = self._child.others()
        if not others:
            # Who has left the group still holds the pipe, and may do so for ever.
            self._output.note("the script has ended; what it left behind is not heard")
            return False
        if now >= self._give_up_at:
            return False
        if not self._is_ending:
            ids = ", ".join(map(str, others))
            self._output.note(
                f"the script has ended; ending what it left behind: {ids}"
            )
            self._terminate(now)
        self._leave_at = now + _LAST_WORDS
        return True

    def _terminate(self, now: float) -> None:
        self._child.signal(signal.SIGTERM)
        self._kill_at = now + self._grace
        self._is_ending = True

    def _close(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        self._output.end(key.data)
