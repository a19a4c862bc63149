"""Makes a submitted script, and what it starts, write into its run from the first line.

It also hands on each line that is printed as soon as it is whole.

This folder stands in front of `PYTHONPATH` for the script. Python imports this module
before the script; importing mlog joins the run of `MLOG_RUN`. Nothing here may fail,
and the module of this name that would have been imported otherwise comes next.
"""

import importlib.machinery
import importlib.util
import os
import sys

__all__ = ()  # no annotation: interpreters may be old


def _join() -> None:
    try:
        import mlog.types  # noqa: F401  # anything of mlog joins
    except Exception:  # an interpreter without mlog, or too old: nothing is joined
        return


def _print_whole_lines() -> None:
    """Let each line that is printed into a pipe be one write, and come at once.

    As on a terminal. Without buffers (`python -u`) the parts of a line come one by one,
    and those of several processes get mixed up.
    """
    try:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    except Exception:  # closed, or replaced, or an old interpreter
        return


def _step_aside() -> None:
    """Take this folder off the path, and import the next module of this name."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    spec = importlib.machinery.PathFinder.find_spec(__name__, sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[__name__] = module
    spec.loader.exec_module(module)


_print_whole_lines()
_join()
_step_aside()
