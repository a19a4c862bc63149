"""A sweep that a process of its own conducts, for somebody who does not wait."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlog.launch.submit import Submitted, start_process
from mlog.launch.sweep import begin_sweep, fresh_id
from mlog.launch.sweep_plan import Plan
from mlog.launch.sweep_signals import Signals
from mlog.layout import experiment_name, find_root
from mlog.run.core import RunCore

__all__ = ["SweepOrder", "conduct_order", "start_sweep"]


@dataclass(frozen=True, slots=True)
class SweepOrder:
    """What the process is told that conducts a sweep for somebody else.

    It goes through a pipe, as there may be secrets in it.

    Attributes:
        root, experiment, run_id: Of the sweep's run.
        source: Folder that the process starts in.
        plan: The plan, as JSON.
        run: Further arguments of `begin_sweep`.
    """

    root: str
    experiment: str
    run_id: str
    source: str
    plan: dict[str, Any]
    run: dict[str, Any]

    def encode(self) -> bytes:
        """Return the JSON text."""
        return orjson.dumps({"sweep": {n: getattr(self, n) for n in self.__slots__}})

    @classmethod
    def decode(cls, text: bytes) -> "SweepOrder":
        """Return the order in a JSON text."""
        return cls(**orjson.loads(text)["sweep"])


def start_sweep(
    plan: Plan,
    *,
    experiment: str | None = None,
    root: str | os.PathLike[str] | None = None,
    parent: RunCore | None = None,
    run_id: str | None = None,
    **options: Any,
) -> Submitted:
    """Start a process that conducts a sweep, and return when its run is there.

    It goes on when the calling process ends.

    Args:
        plan: What is to be done.
        experiment, parent, run_id: As for `begin_sweep`.
        root: Its `dir`.
        **options: Further arguments of `begin_sweep` that are JSON.

    Raises:
        MlogError: The run could not be made; the message says why.
    """
    folder = find_root(root, env=os.environ, cwd=Path.cwd())
    config = plan.config
    if parent is not None and parent.path is not None:
        options["parent"] = str(parent.path)
    order = SweepOrder(
        root=str(folder),
        experiment=experiment_name(experiment, cwd=config.source, script=config.script),
        run_id=run_id or fresh_id(),
        source=str(config.source),
        plan=orjson.loads(plan.encode()),
        run=options,
    )
    started = start_process(order)
    if parent is not None:
        child = {"run": started.run_id, "path": str(started.folder)}
        parent._event("run.child", child)
    return started


def conduct_order(order: SweepOrder, tell: Callable[[Path], None]) -> None:
    """Conduct a sweep as ordered; the work of a process of its own.

    Args:
        order: What is to be done.
        tell: Told the run's folder as soon as the run is there.
    """
    signals = Signals()
    with signals.taken():
        plan = Plan.decode(orjson.dumps(order.plan))
        line = plan.config.line
        sys.argv = line[1:] if plan.config.script else line  # for `run.start`
        sweeping = begin_sweep(
            plan,
            experiment=order.experiment,
            dir=order.root,
            run_id=order.run_id,
            **order.run,
        )
        assert sweeping.run.path is not None
        tell(sweeping.run.path)
        sweeping.conduct(signals)
