"""How a process ends, told to the runs it leaves open.

While a run is open: uncaught exceptions are noted (`sys.excepthook`), `sys.exit` is
noted with its code, and SIGTERM, where it would have killed the process at once, ends
the runs first and is then raised again. All three are put back with the last run,
unless somebody else has replaced them since. `os._exit` and SIGKILL cannot be seen:
such a run has no end and reads as NotResponding.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn, Protocol

from mlog.errors import say

__all__ = ["Endable", "hold", "release"]


class Endable(Protocol):
    """A run that has to end with the process."""

    def end(self, status: str, error: object = None, *, at_exit: bool = False) -> None:
        """End the run; a second call does nothing."""

    def interrupted(self) -> None:
        """Note that a call on the run was cut off and will not go on."""


class _Exiting:
    """Lives as long as a `SystemExit` does, and tells where that was let go of.

    The interpreter drops it with no Python frame left: the process really exits. A
    program that caught it drops it from within a frame: it goes on.
    """

    def __init__(self, code: object) -> None:
        self.code = code

    def __del__(self) -> None:
        global _exiting
        if _exiting is self.code and _has_frames():
            _exiting = None


_CHILD_MAINS = ("multiprocessing.popen_fork", "multiprocessing.forkserver")
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

_lock = threading.RLock()
"""Held while a run is added or forgotten: the first and the last change the hooks."""

_open: list[Endable] = []
_uncaught: BaseException | None = None
_exiting: object = None
_excepthook_before: Callable[..., Any] | None = None
_exit_before: Callable[..., Any] | None = None
_term_is_ours = False
_term_waits = False
_multiprocessing_hook: "_Hook | None" = None


def hold(run: Endable) -> None:
    """End `run` with the process, with the status the process ends with."""
    global _uncaught, _exiting
    with _lock:
        if not _open:
            _uncaught = _exiting = None
            _install()
        _take_term()
        _open.append(run)
    _hook_multiprocessing()


def release(run: Endable) -> None:
    """Forget a run that has ended; put everything back with the last one."""
    with _lock:
        with contextlib.suppress(ValueError):
            _open.remove(run)
        if not _open:
            _remove()
    if not _open and _term_waits:
        _die(signal.SIGTERM)


def _install() -> None:
    global _excepthook_before, _exit_before
    _excepthook_before, sys.excepthook = sys.excepthook, _on_uncaught
    _exit_before, sys.exit = sys.exit, _on_exit


def _take_term() -> None:
    """Handle SIGTERM where nobody does; only the main thread may."""
    global _term_is_ours
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_term)
        _term_is_ours = True


def _remove() -> None:
    global _term_is_ours
    if sys.excepthook is _on_uncaught and _excepthook_before is not None:
        sys.excepthook = _excepthook_before
    if sys.exit is _on_exit and _exit_before is not None:
        sys.exit = _exit_before
    in_main = threading.current_thread() is threading.main_thread()
    if _term_is_ours and in_main:
        if signal.getsignal(signal.SIGTERM) is _on_term:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _term_is_ours = False


def _on_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Note the exception that ends the process; a prompt goes on after one."""
    global _uncaught
    if not hasattr(sys, "ps1"):
        _uncaught = error
    (_excepthook_before or sys.__excepthook__)(kind, error, trace)


def _on_exit(status: Any = None, /) -> NoReturn:
    """Exit the interpreter by raising SystemExit(status), and note the status."""
    global _exiting
    exit_before = _exit_before or sys.exit
    try:
        exit_before(status)
    except SystemExit as exc:
        code = _Code(exc.code)
        _exiting = code
        exc._mlog_exiting = _Exiting(code)  # type: ignore[attr-defined]
        raise
    raise SystemExit(status)


class _Code:
    """An exit status, with an identity of its own."""

    def __init__(self, value: object) -> None:
        self.value = value

    @property
    def is_failure(self) -> bool:
        return self.value not in (None, 0)


def _on_term(number: int, frame: FrameType | None) -> None:
    """End the runs as Canceled, then let SIGTERM do what it would have done."""
    global _term_waits
    cut_off = _is_inside(frame)
    for run in reversed(list(_open)):
        if cut_off:
            run.interrupted()
        _end(run, "Canceled", "SIGTERM")
    if _open:  # the signal came while a run was being ended; that comes first
        _term_waits = True
        return
    _die(number)


def _end(run: Endable, status: str, error: object) -> None:
    """End one run; what that raises (of a strict run) must not keep others open."""
    try:
        run.end(status, error, at_exit=True)
    except Exception as exc:
        say(f"mlog: warning: {exc}")


def _is_inside(frame: FrameType | None) -> bool:
    """Whether code of mlog was running, in a call that will never be finished."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False


def _die(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _at_exit() -> None:
    """End what is open, innermost first."""
    status, error = _verdict()
    runs = list(_open)
    for run in reversed(runs):
        _end(run, status, error)
    if runs and isinstance(error, KeyboardInterrupt):
        _die_by_ctrl_c(error)


def _die_by_ctrl_c(error: KeyboardInterrupt) -> None:
    """Let the interpreter end by SIGINT after all, where that was about to happen.

    It forgets that Ctrl-C ended it when a module is loaded that evaluates a text, as
    those with a namedtuple do; evaluating one that raises Ctrl-C reminds it.
    Source: CPython, pythonrun.c, `run_eval_code_obj`.
    """
    if error is getattr(sys, "last_value", None):  # else somebody only showed it
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _verdict() -> tuple[str, object]:
    """Return the status a process that is exiting gives its runs, and the error."""
    # A multiprocessing child exits while the exception is still on its way.
    error = _uncaught if _uncaught is not None else sys.exc_info()[1]
    if isinstance(error, KeyboardInterrupt):
        return "Canceled", error
    if isinstance(error, SystemExit):
        failed = error.code not in (None, 0)
        return (
            ("Failed", f"exit status {error.code}") if failed else ("Completed", None)
        )
    if error is not None:
        return "Failed", error
    if isinstance(_exiting, _Code) and _exiting.is_failure:
        return "Failed", f"exit status {_exiting.value}"
    code = _child_code()
    return ("Failed", f"exit status {code}") if code else ("Completed", None)


def _child_code() -> int:
    """Return what a multiprocessing child exits with, having done its work.

    Since Python 3.13 the exception is gone by then, and the frame that calls exit
    handlers knows the code alone; 0 in any other process.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if name == "multiprocessing.process":  # still at work: `sys.exc_info` tells
            return 0
        if name in _CHILD_MAINS:
            code = frame.f_locals.get("code")
            return code if isinstance(code, int) else 0
        frame = frame.f_back
    return 0


def _has_frames() -> bool:
    """Whether Python code, other than the finalizer that asks, is running here."""
    return sys._getframe(1).f_back is not None


class _Hook:
    """What multiprocessing remembers us by: it keeps weak references."""


def _hook_multiprocessing() -> None:
    """End runs in a child that multiprocessing will leave by `os._exit`."""
    global _multiprocessing_hook
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if _multiprocessing_hook is not None or util is None or process is None:
        return
    if not hasattr(util, "Finalize"):  # another thread is just importing it
        return
    _multiprocessing_hook = _Hook()
    util.register_after_fork(_multiprocessing_hook, _end_with_child)
    if process.parent_process() is not None:  # and it has begun its work
        _end_with_child()


def _end_with_child(_: object = None) -> None:
    util = sys.modules["multiprocessing.util"]
    util.Finalize(None, _at_exit, exitpriority=-100)


def _after_fork_in_child() -> None:
    """A forked child is not ended by what its parent was about to do."""
    global _lock, _uncaught, _exiting, _term_waits
    _lock = threading.RLock()
    _uncaught = _exiting = None
    _term_waits = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hook_multiprocessing, after_in_child=_after_fork_in_child
    )

atexit.register(_at_exit)
