"""Requests to end a script, which others leave as files in the folder of its run."""

import os
import signal
from pathlib import Path

from mlog.run.launched import TYPED, cancel_reason, cancel_signal

__all__ = ["Asking"]


class Asking:
    """Looks for requests; see `mlog.run.launched.request_cancel`."""

    def __init__(self, folder: Path) -> None:
        """Look into the folder of a run."""
        self._folder = folder

    def wanted(self) -> signal.Signals | None:
        """Return the signal asked for; None while nobody has asked."""
        name = cancel_signal(self._folder)
        return signal.Signals[name] if name else None

    @property
    def why(self) -> str:
        """Why the script is to be ended, in words."""
        name = cancel_signal(self._folder)
        by_signal = name if name in ("SIGINT", "SIGHUP") else ""
        return cancel_reason(self._folder) or by_signal or "cancelled on request"

    def typed_at(self) -> float | None:
        """Return when Ctrl-C was typed at the script's terminal, as `time.time`."""
        try:
            return os.lstat(self._folder / TYPED).st_mtime
        except OSError:
            return None
