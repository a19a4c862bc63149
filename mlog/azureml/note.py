"""Lines on stderr about what is different on this machine; each is said once."""

import os

from mlog.errors import say

__all__ = ["note"]

_said: set[str] = set()


def note(cause: str, text: str) -> None:
    """Say one line on stderr the first time `cause` comes up (`MLOG_QUIET=1`: never).

    Args:
        cause: What it is about; a second call with it says nothing.
        text: The line, without the leading "mlog:".
    """
    if cause in _said:
        return
    _said.add(cause)
    if os.environ.get("MLOG_QUIET", "") in ("", "0"):
        say(f"mlog: {text}")
