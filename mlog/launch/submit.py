"""`submit`: start a supervisor, and return as soon as its run is there.

The supervisor makes the run, because it is who writes and ends it: there is nothing to
hand over. It says so by one line on a pipe, for which `submit` waits. After that the
two have nothing to do with each other: the submitting process may end, or be killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from mlog.errors import MlogError, say
from mlog.launch.config import ScriptRunConfig
from mlog.launch.order import Order
from mlog.layout import experiment_name, find_root, new_run_id, run_folder
from mlog.plain import to_json
from mlog.reader.find import find_run
from mlog.run.core import RunCore
from mlog.types import Mode

__all__ = ["READY", "Submitted", "definition_of", "start_process", "submit"]

READY = b"ready "
"""Beginning of the line by which a supervisor tells of its run; JSON follows."""

# A submitted script is a job of its own: no run above, no rank.
_NOT_INHERITED = (
    *("MLOG_RUN", "MLOG_MODE", "_MLOG_RANK_PID"),
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"),
    *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)


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

    Raises:
        FileNotFoundError, ValueError, TypeError: The config or an argument is wrong.
        RunNotFoundError: There is no such parent.
        MlogError: The run could not be made; the message says why.
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
    order = Order(
        root=str(folder),
        experiment=experiment_name(experiment, cwd=config.source, script=config.script),
        run_id=run_id or new_run_id(time.time(), os.urandom(3)),
        line=config.line,
        source=str(config.source),
        in_place=config.in_place,
        interpreter=config.interpreter,
        seconds=config.max_run_duration_seconds,
        grace=grace,
        variables={**config.variables, **(variables or {})},
        definition=definition_of(config),
        run={key: to_json(value) for key, value in options.items() if value},
    )
    run = start_process(order)
    if isinstance(parent, RunCore):
        parent._event("run.child", {"run": run.run_id, "path": str(run.folder)})
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
        "max_run_duration_seconds": config.max_run_duration_seconds,
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
    env = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
    # A session of its own: neither a Ctrl-C of this terminal nor its end reaches it.
    # The process started here forks the supervisor and ends, so that nobody has to
    # collect that one.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlog.launch", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=order.source,
        env=env,
        start_new_session=True,
    )
    try:
        ready, said = _talk(process, order)
    except BaseException:  # Ctrl-C: nobody would know of the run
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        raise
    finally:
        process.wait()
    if ready is None:
        raise MlogError(f"the run could not be made: {_last_line(said)}")
    if said:  # a warning
        say(said.decode("utf-8", "replace").rstrip())
    path, pid = Path(ready["folder"]), ready["pid"]
    return Submitted(path.name, path, pid)


def _talk(
    process: "subprocess.Popen[bytes]", order: Starting
) -> tuple[dict[str, Any] | None, bytes]:
    """Give the order; return the answer, and all that was said before it."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as answer:
        # A broken pipe: it could not even start, and says why.
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(order.encode())
        said: list[bytes] = []
        for line in answer:
            if line.startswith(READY):
                return orjson.loads(line[len(READY) :]), b"".join(said)
            said.append(line)
    return None, b"".join(said)


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else "its supervisor ended and said nothing"
