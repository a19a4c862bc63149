"""The signals that end a process, taken so that a sweep can be ended in order."""

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_GONE = {errno.EPIPE: "SIGPIPE", errno.EIO: "SIGHUP"}


class Signals:
    """Takes the signals that end a process, for the time of a sweep.

    The first one is only noted, so that trials can be ended in order; the second
    interrupts as Ctrl-C does. One that is ignored, or that somebody handles, stays.

    Attributes:
        number: Of the first signal. None: there was none.
        is_deaf: Whether nobody reads the output any more.
    """

    def __init__(self) -> None:
        """Take nothing yet."""
        self.number: int | None = None
        self.is_deaf = False

    @property
    def name(self) -> str:
        """Name of the signal, or ""."""
        return signal.Signals(self.number).name if self.number is not None else ""

    @contextmanager
    def taken(self) -> Iterator["Signals"]:
        """Take the signals within a block; only the main thread can."""
        former: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, n) for n in _NAMES if hasattr(signal, n)):
                handler = signal.getsignal(number)
                if handler in (signal.SIG_DFL, signal.default_int_handler):
                    former[number] = handler
                    signal.signal(number, self._take)
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextmanager
    def at_broken_pipe(self) -> Iterator[None]:
        """Take it as a signal if a reader or terminal goes away within a block."""
        try:
            yield
        except OSError as exc:
            name = _GONE.get(exc.errno or 0)
            if name is None:
                raise
            self.is_deaf = True
            if self.number is None:
                self.number = int(getattr(signal, name, signal.SIGTERM))

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
