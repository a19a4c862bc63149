"""`Run`: one execution, as the program that makes it sees it.

Everything a run is told becomes a record or an event of its own files; what is kept in
memory (params, tags) is only what the program asks for most. The class is put together
from parts, one file each: facts, data types, files, models, children, reading, waiting.
"""

from collections.abc import Mapping
from typing import Any

from mlog import context
from mlog.errors import warn_once
from mlog.plain import safe_str
from mlog.run.core import runs_here
from mlog.run.data import DataMethods
from mlog.run.reading import ReadMethods
from mlog.run.registering import ModelMethods
from mlog.run.waiting import WaitMethods
from mlog.types import Metrics

__all__ = ["Run", "current_run", "run_of"]


class Run(DataMethods, ModelMethods, WaitMethods, ReadMethods):
    """One execution of a program: its metrics, params, tags, files, lines and events.

    Made by `mlog.start_run`; `mlog.open_run` gives one that is there already. As a
    context manager it ends with the block: Completed, Failed with the traceback after
    an exception, Canceled after Ctrl-C. Otherwise it ends with the process. Every
    method is safe from any thread; those that record (`log…`, `tag`, `set_tags`) never
    raise and return when the whole line is with the kernel.

    Attributes:
        id: Identifies the run below its root.
        name: Name for people; the id where none was given.
        experiment: Named group of runs it belongs to.
        path: Its folder; None for a run that is off.
        rank: Rank in a distributed job, None when alone.
    """

    def __init__(self) -> None:
        """Runs are not made by their class.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "a Run is made by mlog.start_run(experiment), "
            "or found by mlog.open_run('latest')"
        )

    # --- metrics; the other data types are in `mlog.run.data` ------------------------

    def log(
        self, name: str, value: Any, description: str = "", step: int | None = None
    ) -> None:
        """Record one metric value, or a string, in the run only (no console shows it).

        Args:
            name: 1-256 bytes; "/" groups names ("train/loss").
            value: Number, 0-d array or tensor (read by `.item()`, which waits for the
                GPU); NaN and infinities are kept. Strings and lists are kept as such.
            description: A word on it, kept with the value.
            step: Position on the x axis, any order.
        """
        extra = {"description": description} if description else None
        try:
            metrics = {name: value}
        except Exception:  # without a hash it is surely no name
            metrics = {safe_str(name): value}
        self._record(metrics, step, extra)

    def log_metrics(
        self,
        metrics: Metrics,
        step: int | None = None,
        *,
        time: float | None = None,
    ) -> None:
        """Record several metrics as one entry; see `log`.

        Args:
            metrics: Name to value.
            step: Position on the x axis, any order.
            time: When they were measured, in seconds since 1970. None: now.
        """
        if type(metrics) is not dict and not isinstance(metrics, Mapping):
            text = f"metrics must be a mapping, got {type(metrics).__name__}"
            warn_once("metric", text)
            return
        self._record(metrics, step, None, time)


def run_of(receiver: context.Receiver | None) -> Run | None:
    """Return the run a receiver belongs to."""
    run = runs_here.get(receiver) if receiver is not None else None
    return run if isinstance(run, Run) else None


def current_run() -> Run | None:
    """Return the run that a record made here would belong to, or None."""
    run = run_of(context.active())
    if run is not None:
        return run
    # A `RunHandler` that has not begun its run hands records to the first open one.
    return next(filter(None, map(run_of, context.receivers())), None)
