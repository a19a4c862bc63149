"""The one background thread: syncs, beats, and watches the disk for all open runs.

It starts with the first entry, stops while the process forks (the child must not
inherit its locks, and Python 3.12 warns of forks beside threads), and starts again
with the next entry.
"""

import contextlib
import os
import threading
import time
from typing import Protocol

from mlog.errors import MlogWarning, say, warn_once

__all__ = ["Keeper", "Kept", "keeper"]


class Kept(Protocol):
    """Something with regular work. Called on the keeper's thread; may raise."""

    def keep(self, now: float) -> None:
        """Do what is due at `now`, monotonic seconds."""

    def park(self) -> None:
        """Make the next entry call `Keeper.ensure` again."""


class Keeper:
    """Calls `keep` of everything it watches, once a tick. Safe from any thread."""

    def __init__(self, tick: float = 1.0) -> None:
        """Prepare; no thread is started.

        Args:
            tick: Seconds between two rounds.
        """
        self.tick = tick
        self._kept: list[Kept] = []
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, kept: Kept) -> None:
        """Add something to the rounds; the thread starts with `ensure`."""
        self._kept.append(kept)

    def unwatch(self, kept: Kept) -> None:
        """Take something out of the rounds; the thread ends with the last one."""
        with contextlib.suppress(ValueError):
            self._kept.remove(kept)
        if not self._kept:
            self.stop()
            if self._kept:  # another thread has added something just now
                self.ensure()

    def ensure(self) -> None:
        """Start the thread where it does not run.

        At interpreter exit no thread can be started; what it would have done is then
        done when the run ends.
        """
        if self._thread is not None or not self._kept:
            return
        if not self._starting.acquire(blocking=False):  # another thread is at it
            return
        try:
            if self._thread is None:
                self._start()
        finally:
            self._starting.release()

    def stop(self) -> None:
        """End the thread and wait for it, but not for a disk that hangs."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._wake.set()
        if thread is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # it is just being started, and
                thread.join(timeout=2.0)  # will see that it is to stop

    def before_fork(self) -> None:
        """Stop the thread, and let the next entry of each run start it again."""
        self.stop()
        for kept in list(self._kept):
            kept.park()

    def after_fork_in_child(self) -> None:
        """Forget the parent's runs and thread."""
        self._thread = None
        self._kept = []
        self._starting = threading.Lock()  # some thread may have held it

    def _start(self) -> None:
        self._wake = threading.Event()
        thread = threading.Thread(
            target=self._rounds, args=(self._wake,), name="mlog-keeper", daemon=True
        )
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread = None

    def _rounds(self, wake: threading.Event) -> None:
        while not wake.wait(self.tick):
            now = time.monotonic()
            for kept in list(self._kept):
                try:
                    kept.keep(now)
                except Exception as exc:  # the next round may succeed
                    _tell(exc)


def _tell(error: Exception) -> None:
    try:
        warn_once("keeper", f"background work failed: {error!r}")
    except MlogWarning as told:  # a strict run is open; no caller to raise it to
        say(f"mlog: warning: {told}")


keeper = Keeper()
"""The process's keeper."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=keeper.before_fork, after_in_child=keeper.after_fork_in_child
    )
