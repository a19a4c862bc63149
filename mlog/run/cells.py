"""Runs of notebook cells: executing a cell again ends the run it had begun before.

A cell is known by the id its frontend sends (JupyterLab, VS Code), else by the file
name its code was compiled under, which is made from the text of the cell.

Source: Jupyter, "Messaging in Jupyter", cell ids in the metadata of requests; IPython
names compiled cells by a hash of their code.
"""

import contextlib
import os
import sys
from typing import Any, NamedTuple, Protocol

from mlog.context import Receiver
from mlog.errors import say

__all__ = ["Cell", "close_rerun", "current_cell", "remember"]


class Cell(NamedTuple):
    """One execution of one cell."""

    id: str
    execution: int


class Closable(Protocol):
    """A run that a cell has begun."""

    id: str

    @property
    def receiver(self) -> Receiver:
        """What takes its records."""

    @property
    def status(self) -> str:
        """Running, while it can be ended."""

    def end(self, status: str, error: object = None) -> None:
        """End it."""


_begun: list[tuple[Cell, Closable]] = []


def current_cell() -> Cell | None:
    """Return the cell that is being executed; None outside notebooks."""
    shell = _shell()
    if shell is None:
        return None
    try:
        parent = shell.get_parent()
        told = parent.get("metadata", {}).get("cellId")
        return Cell(str(told or _compiled_name()), int(shell.execution_count))
    except Exception:  # not a kernel, or one that does not tell
        return None


def close_rerun() -> list[Receiver]:
    """End the runs that an earlier execution of this cell has left open.

    Returns:
        What took the records of these runs: what was begun inside them is no longer
        around what is begun now.
    """
    cell, ended = current_cell(), []
    if cell is None:
        return []
    for begun, run in list(_begun):
        is_rerun = begun.id == cell.id and begun.execution != cell.execution
        if run.status == "Running" and not is_rerun:
            continue
        with contextlib.suppress(ValueError):  # another thread was faster
            _begun.remove((begun, run))
        if run.status == "Running":
            run.end("Completed")
            ended.append(run.receiver)
            say(f"mlog: run {run.id[-6:]} ended, as its cell was executed again")
    return ended


def remember(run: Closable) -> None:
    """Note that the cell which is being executed has begun a run."""
    cell = current_cell()
    if cell is not None:
        _begun.append((cell, run))


def _shell() -> Any:
    """Return the kernel's IPython shell, if this process is one."""
    if "ipykernel" not in sys.modules:
        return None
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)
    shell = get() if callable(get) else None
    return shell if hasattr(shell, "get_parent") else None


def _compiled_name() -> str:
    """Return the file name of the outermost caller that is a cell's code.

    That is the cell which is being executed; those inside it are functions that other
    cells have defined.
    """
    found, frame = "", sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if f"ipykernel_{os.getpid()}" in name or name.startswith("<ipython-input"):
            found = name
        frame = frame.f_back
    return found
