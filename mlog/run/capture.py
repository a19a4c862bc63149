"""What a run keeps of its surroundings, found out beside the work: `run.environment`.

The keeper's thread gathers it within its first rounds. A run that ends sooner gathers
it at its end, and waits for git for half a second at most.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlog.run.keeper import keeper
from mlog.run.machine import environment
from mlog.run.repository import DirtyCheck

__all__ = ["Capture"]

_PATIENCE = 0.5  # seconds


class Capture:
    """Tells a run about its surroundings once. Safe from any thread."""

    def __init__(
        self,
        tell: Callable[[str, Mapping[str, Any]], None],
        cwd: Path,
        *,
        has_git: bool = True,
    ) -> None:
        """Prepare; nothing is looked at yet.

        Args:
            tell: Writes an event by name and data.
            cwd: Working directory at the start; the program may leave it any time.
            has_git: Whether it lies in a repository, and git is worth asking.
        """
        self._has_git = has_git
        self._cwd = cwd
        self._tell: Callable[[str, Mapping[str, Any]], None] | None = tell
        self._check: DirtyCheck | None = None
        self._found: dict[str, Any] = {}
        self._lock = threading.Lock()

    def keep(self, now: float) -> None:
        """Go on with what is not known yet, without waiting for anything."""
        with self._lock:
            if self._tell is None:
                keeper.unwatch(self)
            elif self._check is None:
                self._begin()
                if self._check is None:
                    self._tell_all(None)
            else:
                dirty = self._check.poll()
                if not self._check.is_running:
                    self._tell_all(dirty)

    def park(self) -> None:
        """Nothing to do around a fork."""

    def finish(self, at_exit: bool) -> None:
        """Come to an end, and tell.

        Args:
            at_exit: The process is exiting. Loading `subprocess` then would make the
                interpreter forget that Ctrl-C ended it, so git is only asked if it
                need not be loaded.
        """
        keeper.unwatch(self)
        with self._lock:
            if self._tell is None:
                return
            if self._check is None:
                self._begin(ask_git=not at_exit or "subprocess" in sys.modules)
            check = self._check
            self._tell_all(check.finish(_PATIENCE) if check is not None else None)

    def _begin(self, *, ask_git: bool = True) -> None:
        self._check = DirtyCheck(self._cwd) if ask_git and self._has_git else None
        self._found = environment()

    def _tell_all(self, dirty: bool | None) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            git = {} if dirty is None else {"git": {"dirty": dirty}}
            tell("run.environment", git | self._found)
