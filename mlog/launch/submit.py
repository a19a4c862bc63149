"""`submit`: start a supervisor, and return as soon as its run is there.

The supervisor makes the run, because it is who writes and ends it: there is nothing to
hand over. It says so by one line on a pipe, for which `submit` waits. After that the
two have nothing to do with each other: the submitting process may end, or be killed.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mlog.errors import MlogError
from mlog.launch.attached import Attached
from mlog.launch.config import ScriptRunConfig
from mlog.launch.order import Order
from mlog.launch.starting import by_fork, by_interpreter
from mlog.layout import experiment_name, find_root, new_run_id, run_folder
from mlog.plain import to_json
from mlog.reader.find import find_run
from mlog.run.api import Run
from mlog.run.core import RunCore
from mlog.run.open import open_run
from mlog.types import Mode

__all__ = ["Submitted", "definition_of", "start_process", "submit"]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was submitted.

    Attributes:
        run_id: Its id.
        folder: Its folder, which is there.
        pid: Process id of its supervisor.
    """

    run_id: str
    folder: Path
    pid: int

    @property
    def run(self) -> Run:
        """A handle on it: to wait for, to read, to cancel."""
        return open_run(self.folder)


def submit(
    config: ScriptRunConfig,
    *,
    experiment: str | None = None,
    root: str | os.PathLike[str] | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    parent: RunCore | str | os.PathLike[str] | None = None,
    mode: Mode = "private",
    grace: float = 10.0,
    run_id: str | None = None,
    variables: Mapping[str, str] | None = None,
    show_output: bool = False,
    attached: Attached | None = None,
    forked: Callable[[], None] | None = None,
) -> Submitted:
    """Start a script as a run of its own, and return while it is being prepared.

    The script goes on when the calling process ends. A run that is open here becomes
    its parent only if it is given as such.

    Args:
        config: What is run.
        experiment: By default the name of the source folder's git folder, else the
            script's.
        root: As `dir` of `start_run`.
        name, params, tags: As for `start_run`.
        parent: Run of which this is a child: a run, its id, or its folder.
        mode: As for `start_run`.
        grace: Seconds the script has to end by itself when the run is cancelled,
            before it is killed.
        run_id: Its id; default: a fresh one.
        variables: Environment variables for the script, beside those of the config.
        show_output: Wait for its end and show what it prints; see
            `Run.wait_for_completion`.
        attached: Descriptors of this process for the script and its supervisor. None:
            the script reads nothing, and what it prints is only kept.
        forked: For the command line; see `mlog.launch.starting.by_fork`.

    Raises:
        FileNotFoundError, ValueError, TypeError: The config or an argument is wrong.
        RunNotFoundError: There is no such parent.
        MlogError: The run could not be made; the message says why.
        ActivityFailedError: It failed (with `show_output`).
    """
    if not isinstance(config, ScriptRunConfig):
        raise TypeError(f"config must be a ScriptRunConfig, got {config!r}")
    config.check()
    if os.environ.get("MLOG_MODE", "").strip().lower() == "off":
        raise MlogError(
            "MLOG_MODE=off: a submitted script needs a run to be watched and ended "
            "by; unset it, or run the script without submitting it"
        )
    folder = find_root(root, env=os.environ, cwd=Path.cwd())
    options = {
        "name": name,
        "params": dict(params or {}),
        "tags": dict(tags or {}),
        "parent": _parent(parent, folder),
        "mode": mode,
    }
    runs_in = config.runs_in
    order = Order(
        root=str(folder),
        experiment=experiment_name(experiment, cwd=config.source, script=config.script),
        run_id=run_id or new_run_id(time.time(), os.urandom(3)),
        line=config.line,
        source=str(config.source),
        in_place=config.in_place,
        interpreter=config.interpreter,
        environment=runs_in.encoded(),
        seconds=config.max_run_duration_seconds,
        grace=grace,
        variables={**config.variables, **(variables or {})},
        definition=definition_of(config),
        run={key: to_json(value) for key, value in options.items() if value},
        memory=config.memory,
        attached=attached,
    )
    run = start_process(order) if forked is None else _start_fork(order, forked)
    if isinstance(parent, RunCore):
        parent._event("run.child", {"run": run.run_id, "path": str(run.folder)})
    if show_output:
        run.run.wait_for_completion(show_output=True)
    return run


def _parent(parent: RunCore | str | os.PathLike[str] | None, root: Path) -> str | None:
    """Return the folder of a parent."""
    if isinstance(parent, RunCore):
        return str(parent.path) if parent.path else None
    return None if parent is None else str(find_run(os.fspath(parent), root=root))


def definition_of(config: ScriptRunConfig) -> dict[str, Any]:
    """Return what the run says of how it was submitted."""
    return {
        "script": config.script,
        "arguments": config.arguments,
        "command": config.command,
        "source_directory": str(config.source),
        "target": "local",
        "interpreter": config.interpreter,
        "environment": config.runs_in.described(),
        "max_run_duration_seconds": config.max_run_duration_seconds,
        "memory_limit": config.memory,
        "in_place": config.in_place,
    }


class Starting(Protocol):
    """What the process is told that makes a run: all that `mlog.launch` decodes."""

    @property
    def root(self) -> str:
        """Folder of all runs, absolute."""

    @property
    def experiment(self) -> str:
        """Of the run."""

    @property
    def run_id(self) -> str:
        """Of the run."""

    @property
    def source(self) -> str:
        """Folder that the process starts in."""

    def encode(self) -> bytes:
        """Return the text it gets."""


def start_process(order: Starting) -> Submitted:
    """Start the process that makes and watches the run; return when the run is there.

    Raises:
        MlogError: The run could not be made; the message says why.
    """
    folder = run_folder(Path(order.root), order.experiment, order.run_id)
    attached = order.attached if isinstance(order, Order) else None
    keeps = attached.descriptors if attached else ()
    ready = by_interpreter(order.encode(), folder, order.source, keeps)
    return Submitted(order.run_id, Path(ready["folder"]), ready["pid"])


def _start_fork(order: Order, forked: Callable[[], None]) -> Submitted:
    from mlog.launch.supervisor import supervise  # before the fork: for both

    ready = by_fork(partial(supervise, order), order.source, forked)
    return Submitted(order.run_id, Path(ready["folder"]), ready["pid"])
