"""The exception tree, and warnings that are given once per cause.

Calls a program can react to (start, open, read) raise these. A logging call never
raises: what is wrong with it is told once through `warn_once`.
"""

import logging
import os
import sys
import warnings

__all__ = [
    "ActivityFailedError",
    "ArtifactNotFoundError",
    "MlogError",
    "MlogWarning",
    "ModelNotFoundError",
    "ModelPathNotFoundError",
    "RunExistsError",
    "RunNotFoundError",
    "StrictWarning",
    "UnsafePathError",
    "be_strict",
    "say",
    "show_warnings_plainly",
    "told",
    "warn_once",
]


class MlogError(Exception):
    """Base of every error that mlog raises for a state a caller can handle."""


class ActivityFailedError(MlogError):
    """A run that was waited for has failed, or is gone without an end."""


class RunNotFoundError(MlogError, LookupError):
    """No run answers to the name that was given."""


class RunExistsError(MlogError):
    """A run of that id is there already and going on with it was not asked for."""


class ModelNotFoundError(MlogError, LookupError):
    """No model, or no such version of one, is registered under the name given."""


class ModelPathNotFoundError(MlogError, LookupError):
    """What is to become a model is no artifact of the run."""


class ArtifactNotFoundError(MlogError, LookupError):
    """A run has no artifact of the name that was given."""


class UnsafePathError(MlogError):
    """A path below the root is a link, or leads out of the root."""


class MlogWarning(UserWarning):
    """Something was wrong with a call and what could be kept was kept."""


class StrictWarning(MlogWarning):
    """What would be a warning, raised because a run with `strict=True` is open.

    Only for catching inside mlog: code that lets no exception out has to let this one.
    """

    is_strict = True
    """Tells it where the class itself may be gone: when the interpreter ends."""


_told: dict[str, set[str]] = {}
"""Cause to what it was told about. No lock: one held at a fork would hang the child."""

_MOST = 20
"""So many warnings may one cause have, however many metrics it is about."""

_strict = 0

_INSIDE = tuple(
    os.path.dirname(path) + os.sep
    for path in (__file__, logging.addLevelName.__code__.co_filename)
)
"""Folders of the code that no warning is about: mlog and logging."""


def told(error: Exception) -> str:
    """Return what went wrong, for people: that of the system without its number."""
    if not isinstance(error, OSError) or not error.strerror or error.filename is None:
        return str(error)
    name = error.filename
    where = os.fsdecode(name) if isinstance(name, bytes) else name
    return f"{error.strerror}: {where}"


def warn_once(
    cause: str, text: str, *, about: str = "", stacklevel: int | None = None
) -> bool:
    """Warn about `cause` the first time it happens; afterwards do nothing.

    Never raises, also under `-W error`: the text then goes to stderr instead, because
    a logging call must not end a training run. Safe from any thread.

    Args:
        cause: What the warning is about, one word per kind of mistake ("step").
        text: The sentence shown to the user.
        about: What the cause has to do with here, the name of a metric for example: each
            is warned about, up to 20 of them.
        stacklevel: As in `warnings.warn`, counted from the caller of this function.
            Default: the nearest line that belongs to neither mlog nor logging.

    Returns:
        True the first time, False when this was told before.

    Raises:
        StrictWarning: A run with `strict=True` is open.
    """
    if _strict:
        raise StrictWarning(f"strict=True raises what is else a warning: {text}")
    told = _told.setdefault(cause, set())
    if about in told or len(told) >= _MOST:
        return False
    told.add(about)
    if len(told) == _MOST:
        text += " (more of this kind are not told)"
    level = _outside() if stacklevel is None else stacklevel + 1
    try:
        warnings.warn(text, MlogWarning, stacklevel=level)
    except Exception:  # -W error, or a showwarning of somebody's that fails
        say(f"mlog: warning: {text}")
    return True


def _outside() -> int:
    """Return the stacklevel, for `warn_once`, of the line a warning is about."""
    level, frame = 2, sys._getframe(2)
    while frame.f_code.co_filename.startswith(_INSIDE) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


def show_warnings_plainly() -> None:
    """Show mlog's warnings as one line: in its own programs no line of code is to blame."""
    before = warnings.formatwarning

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if issubclass(category, MlogWarning):
            return f"mlog: warning: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = shown


def be_strict(change: int) -> None:
    """Count one more (1) or one less (-1) open run with `strict=True`."""
    global _strict
    _strict += change


def say(text: str) -> None:
    """Write one line to stderr; a closed or missing stderr is no reason to fail."""
    try:
        sys.stderr.write(text + "\n")
    except Exception:  # stderr may be None, closed or full
        return
