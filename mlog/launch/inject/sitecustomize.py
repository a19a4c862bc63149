"""Makes a submitted script, and what it starts, write into its run from the first line.

It also hands on each line that is printed as soon as it is whole.

This folder stands in front of `PYTHONPATH` for the script. Python imports this module
before the script; importing mlog joins the run of `MLOG_RUN`. Nothing here may fail,
and the module of this name that would have been imported otherwise comes next.

In a copy that was put below the root for another interpreter (`mlog.launch.carry`) the
packages beside it come last on `sys.path`: they never stand before the interpreter's
own. Read by any Python from 2.7 on, so it has no annotations.
"""

import os
import sys

__all__ = []  # type: list[str]

_OLDEST = (3, 11)


def _find_copy():
    # type: () -> None
    """Put the packages of a copy last on the path; elsewhere nothing is to be done."""
    top = os.path.abspath(__file__)
    for _ in ("sitecustomize.py", "inject", "launch", "mlog"):
        top = os.path.dirname(top)
    if not os.path.isfile(os.path.join(top, ".carried")):
        return
    import importlib.machinery

    around = os.path.dirname(top)
    suffix = next(iter(importlib.machinery.EXTENSION_SUFFIXES), "")
    for folder in (top, os.path.join(around, "deps"), around + "/native" + suffix):
        if os.path.isdir(folder) and folder not in sys.path:
            sys.path.append(folder)


def _join():
    # type: () -> None
    if sys.version_info < _OLDEST:
        return
    try:
        _find_copy()
        import mlog.types  # noqa: F401  # anything of mlog joins
    except Exception:  # an interpreter without mlog: nothing is joined
        return


def _print_whole_lines():
    # type: () -> None
    """Let each line that is printed into a pipe be one write, and come at once.

    As on a terminal. Without buffers (`python -u`) the parts of a line come one by one,
    and those of several processes get mixed up.
    """
    try:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    except Exception:  # closed, or replaced, or an old interpreter
        return


def _step_aside():
    # type: () -> None
    """Take this folder off the path, and import the next module of this name."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    try:
        import importlib.machinery
        import importlib.util
    except ImportError:  # Python 2
        return
    spec = importlib.machinery.PathFinder.find_spec(__name__, sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[__name__] = module
    spec.loader.exec_module(module)


_print_whole_lines()
_join()
_step_aside()
