"""Run a script or module as `__main__`, as `python` itself would."""

import importlib.machinery
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, TracebackType

from mlog.errors import say

__all__ = ["run_module", "run_script"]

_NOT_SHOWN = (
    os.path.dirname(__file__) + os.sep,
    "<frozen runpy>",
    "<frozen importlib",
)


def run_script(path: str, args: Sequence[str] = ()) -> None:
    """Run a script in this process, which does nothing else any more.

    `sys.argv`, `sys.path[0]`, `__main__`, exit codes and tracebacks are those of
    `python path args…`. Returns when the script has come to its end.

    Args:
        path: A file, or a folder or ZIP file with a `__main__.py`.
        args: Its arguments.

    Raises:
        SystemExit: The script ended by it, or by an exception (status 1), or there is
            no such script (status 2).
    """
    sys.argv[:] = [path, *args]
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        _drop_first_path()  # run_path puts its own there
        _as_usual(lambda: runpy.run_path(path, run_name="__main__"))
        return
    _replace_first_path(os.path.dirname(os.path.realpath(path)))
    file = os.path.abspath(path)
    loader = importlib.machinery.SourceFileLoader("__main__", file)
    try:
        source = loader.get_data(file)
    except OSError as exc:
        why = f"[Errno {exc.errno}] {exc.strerror}"
        say(f"{sys.executable}: can't open file {file!r}: {why}")  # as python does
        sys.exit(2)

    def run() -> None:
        main = _new_main(file, loader)
        exec(loader.source_to_code(source, file), main.__dict__)

    _as_usual(run)


def run_module(name: str, args: Sequence[str] = ()) -> None:
    """Run a module as `python -m name args…` would; see `run_script`."""
    sys.argv[:] = [name, *args]
    _as_usual(lambda: runpy.run_module(name, run_name="__main__", alter_sys=True))


def _new_main(path: str, loader: importlib.machinery.SourceFileLoader) -> ModuleType:
    """Make the `__main__` of a script; it stays to the end of the process."""
    main = ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = loader
    main.__builtins__ = sys.modules["builtins"]  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    return main


def _replace_first_path(folder: str) -> None:
    """Let a script import what lies beside it, and not what lies in the cwd."""
    if sys.flags.safe_path:  # python -P puts neither of them there
        return
    if sys.path:
        sys.path[0] = folder
    else:
        sys.path.append(folder)


def _drop_first_path() -> None:
    if sys.path and not sys.flags.safe_path:
        del sys.path[0]


def _as_usual(run: Callable[[], object]) -> None:
    """Call `run`; what it raises is shown without the frames that called it."""
    try:
        run()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:
        trace = _without_ours(exc.__traceback__)
        exc.__traceback__ = trace
        sys.excepthook(type(exc), exc, trace)
        failed = exc
    else:
        return
    # The hook has told the run of the exception; this only sets the exit status.
    raise SystemExit(1) from failed


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames at the beginning of a traceback that are not the script's."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_NOT_SHOWN):
            break
        trace = trace.tb_next
    return trace
