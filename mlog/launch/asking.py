"""Requests to end a script, which others leave as a file in the folder of its run."""

import os
import signal
from pathlib import Path

from mlog.run.launched import CANCEL, TYPED

__all__ = ["Asking"]

_MOST = 64


class Asking:
    """Looks for requests; see `mlog.run.launched.request_cancel`.

    Attributes:
        why: What the request says.
    """

    def __init__(self, folder: Path) -> None:
        """Look into the folder of a run."""
        self.why = "cancelled on request"
        self._cancel = folder / CANCEL
        self._typed = folder / TYPED

    def wanted(self) -> signal.Signals | None:
        """Return the signal asked for; None while nobody has asked."""
        if not os.path.lexists(self._cancel):
            return None
        name = _read(self._cancel)
        if name in ("SIGINT", "SIGHUP"):
            self.why = name
        return getattr(signal, name) if name in _NAMES else signal.SIGTERM

    def typed_at(self) -> float | None:
        """Return when Ctrl-C was typed at the script's terminal, as `time.time`."""
        try:
            return os.lstat(self._typed).st_mtime
        except OSError:
            return None


_NAMES = ("SIGINT", "SIGHUP", "SIGTERM", "SIGKILL")


def _read(path: Path) -> str:
    """Return what is in a small file; "" where it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return ""
    try:
        return os.read(fd, _MOST).decode("ascii", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)
