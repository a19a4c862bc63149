"""Which run am I in? Decided from the environment and the parent process alone.

Processes that share a run never talk to each other: each must come to the same answer
from what its launcher told it. `identify` is that answer, a pure function;
`this_process` gathers the few facts it needs besides the environment.

    variable                    meaning                                       if unset
    --------------------------  --------------------------------------------  ----------
    MLOG_MODE                   off: record nothing; new: ignore MLOG_RUN;    be a child
                                join: join it instead of being its child
    MLOG_RUN                    path of the run inherited from above          none
    _MLOG_RANK_PID              process id of the rank that opened a run; in  no helper
                                another process it means: a helper of it
    RANK, WORLD_SIZE            this rank, and how many there are [1]         ask Slurm
    SLURM_PROCID,               the same, in a Slurm step of several tasks    alone
      SLURM_STEP_NUM_TASKS      [2]
    TORCHELASTIC_RUN_ID         id of the launch by torchrun; also unset by   ask Slurm
                                its default, the text none [1]
    SLURM_JOB_ID,               id of the step: <job>.<step> [2]              ask parent
      SLURM_STEP_ID
    LOCAL_RANK,                 number and count of the ranks of one          any count
      LOCAL_WORLD_SIZE          torchrun agent; read below torchrun only [1]
    TORCHELASTIC_RESTART_COUNT  how often torchrun restarted its ranks [1]    not told
    SLURM_RESTART_COUNT         how often the job was requeued; unset while   not told
                                it never was [3]

Precedence for the id of ranks: `run_id=`, `MLOG_RUN`, `TORCHELASTIC_RUN_ID`, the Slurm
step, the parent process (the ranks of one node are siblings), else a fresh one. The
counters are added up. An empty value counts as unset, nonsense for a rank as alone.

A batch script and an `salloc` shell also have `SLURM_PROCID=0`; what makes ranks is a
step of several tasks. Slurm numbers its own steps (batch, interactive, …) downward from
0xfffffffd, and an interactive one may claim the allocation's number of tasks.

Source: [1] PyTorch, "torchrun (Elastic Launch)", Environment Variables; accelerate uses
torchrun's launcher, deepspeed sets `RANK` and `WORLD_SIZE` too. [2] srun(1), OUTPUT
ENVIRONMENT VARIABLES. [3] sbatch(1), OUTPUT ENVIRONMENT VARIABLES.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple  # made six times as fast as a frozen dataclass

__all__ = ["Identity", "Process", "host_name", "identify", "this_process"]

_MODES = ("off", "new", "join")
_NUMBER = re.compile(r"[0-9]{1,10}")
_FIRST_SPECIAL_STEP = 0xFFFFFFF0
_INIT = 1


class Process(NamedTuple):
    """Facts about one process.

    Attributes:
        pid: Its process id.
        ppid: Its parent's process id.
        parent_started: Text that no other process on earth with the parent's process id
            has: its start in clock ticks and the boot id. None where it is unknown.
        host: Name of the machine.
    """

    pid: int
    ppid: int
    parent_started: str | None
    host: str


class Identity(NamedTuple):
    """What a process is to the run it starts.

    Attributes:
        run_id: The run's id as text, not yet a folder name. None: make a fresh one.
        join: Path of the inherited run to join, or None.
        parent: Path of the inherited run whose child the new run is, or None. It is no
            child if the caller gave the id of that very run, which only paths tell.
        rank: Number among the ranks, or None for a process that is none.
        world_size: How many ranks there are; 1 when alone.
        main: Whether this process creates the run and ends it.
        attempt: Restarts told by the launchers, plus 1. None: nobody told.
        off: Whether nothing is to be recorded.
    """

    run_id: str | None = None
    join: str | None = None
    parent: str | None = None
    rank: int | None = None
    world_size: int = 1
    main: bool = True
    attempt: int | None = None
    off: bool = False


def identify(
    env: Mapping[str, str],
    process: Process,
    *,
    run_id: str | None = None,
    nth: int = 1,
) -> Identity:
    """Decide which run a process starts or joins, and as what.

    Args:
        env: The environment as it was inherited: without what this process itself set
            in it for its children.
        process: Facts from `this_process`.
        run_id: The caller's id, which wins over every variable but `MLOG_MODE=off`.
        nth: 1 for the process's first start without an id, 2 for its second, …. Ranks
            call alike, so their n-th runs are one again.

    Raises:
        ValueError: `MLOG_MODE` has an unknown value.
    """
    mode = _mode(env)
    helper = env.get("_MLOG_RANK_PID", "") not in ("", str(process.pid))
    me = Identity() if helper else _place(env)
    if mode == "off":
        return me._replace(run_id=run_id or None, off=True)
    above = env.get("MLOG_RUN") or None if mode != "new" else None
    if run_id:
        return me._replace(run_id=run_id, parent=above, attempt=_attempt(env))
    if me.rank is not None and above:
        return _ranked_below(env, me, above, nth)
    if me.rank is not None:
        return _ranked(env, process, me, nth)
    if above and nth == 1 and (helper or mode == "join"):
        # A helper belongs to its rank's attempt; who else joins was not restarted.
        attempt = _attempt(env) if helper else None
        return _joined(me, above)._replace(attempt=attempt)
    # Restart counters say nothing here: two scripts of one batch job are two runs.
    return me._replace(parent=above)


def this_process() -> Process:
    """Gather the facts about the calling process; never raises."""
    ppid = os.getppid()
    return Process(os.getpid(), ppid, _started(ppid), host_name())


def _joined(me: Identity, run: str) -> Identity:
    """Join the run at a path, which somebody else has created and ends."""
    return me._replace(run_id=Path(run).name, join=run, main=False)


def _ranked_below(
    env: Mapping[str, str], me: Identity, above: str, nth: int
) -> Identity:
    """Let ranks join the run above them, and share its children after that."""
    me = me._replace(attempt=_attempt(env))
    if nth == 1:
        return _joined(me, above)
    return me._replace(run_id=f"{Path(above).name}-{nth}", parent=above)


def host_name() -> str:
    """Return the name of this machine; `socket`, which knows it too, loads slowly."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "host")  # Windows


def _ranked(
    env: Mapping[str, str], process: Process, me: Identity, nth: int
) -> Identity:
    """Find the run that the ranks of one launch share."""
    launch = _torchrun_id(env) or _step_id(env)
    main = me.main
    if launch is None:
        launch = _siblings_id(env, process)
        # The siblings of one node share a run, so one of each node has to end it.
        main = main or (_by_torchrun(env) and _number(env, "LOCAL_RANK") == 0)
    if launch is None:  # nobody to share with
        return me._replace(main=True)
    run_id = f"{launch}-{nth}" if nth > 1 else launch
    # The launch is new with its id, so no counter means no restart.
    return me._replace(run_id=run_id, main=main, attempt=_attempt(env) or 1)


def _mode(env: Mapping[str, str]) -> str:
    """Return the mode asked for, or empty text."""
    mode = env.get("MLOG_MODE", "").strip().lower()
    if mode and mode not in _MODES:
        raise ValueError(
            f"MLOG_MODE must be one of {', '.join(_MODES)}, or unset; got {mode!r}"
        )
    return mode


def _place(env: Mapping[str, str]) -> Identity:
    """Return rank, world size and main; those of a process alone if told nonsense."""
    if env.get("RANK") and env.get("WORLD_SIZE"):
        rank, size = _number(env, "RANK"), _number(env, "WORLD_SIZE")
    elif _in_step(env):
        rank, size = _number(env, "SLURM_PROCID"), _number(env, "SLURM_STEP_NUM_TASKS")
    else:
        return Identity()
    if rank is None or size is None or size < 2 or rank >= size:
        return Identity()
    return Identity(rank=rank, world_size=size, main=rank == 0)


def _torchrun_id(env: Mapping[str, str]) -> str | None:
    """Return the id given to torchrun, if one was."""
    run_id = env.get("TORCHELASTIC_RUN_ID", "").strip()
    return run_id if run_id not in ("", "none") else None


def _step_id(env: Mapping[str, str]) -> str | None:
    """Return the id of a Slurm step whose tasks are the ranks, or launch them."""
    size = _number(env, "WORLD_SIZE")
    if _by_torchrun(env) and size and size == _number(env, "LOCAL_WORLD_SIZE"):
        return None  # one agent runs all ranks: other tasks of the step are other runs
    if not env.get("SLURM_JOB_ID") or not _in_step(env):
        return None
    return f"{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"


def _siblings_id(env: Mapping[str, str], process: Process) -> str | None:
    """Return an id that the children of one parent have in common."""
    # Init adopts ranks whose launcher is gone; torchrun may be a container's init.
    orphan = process.ppid <= _INIT and not _by_torchrun(env)
    if process.parent_started is None or orphan:
        return None
    return f"{process.ppid}-{process.parent_started}"


def _in_step(env: Mapping[str, str]) -> bool:
    """Tell whether this is one of several tasks of a Slurm step."""
    step, tasks = _number(env, "SLURM_STEP_ID"), _number(env, "SLURM_STEP_NUM_TASKS")
    return (
        step is not None
        and step < _FIRST_SPECIAL_STEP
        and tasks is not None
        and tasks > 1
    )


def _by_torchrun(env: Mapping[str, str]) -> bool:
    """Tell whether torchrun is above: it always sets the variable, if to `none`."""
    return "TORCHELASTIC_RUN_ID" in env


def _attempt(env: Mapping[str, str]) -> int | None:
    """Return the sum of the restart counters plus 1; None without a counter."""
    counters = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    told = [count for name in counters if (count := _number(env, name)) is not None]
    return sum(told) + 1 if told else None


def _number(env: Mapping[str, str], name: str) -> int | None:
    """Return a variable that is a whole number >= 0, else None."""
    text = env.get(name, "").strip()
    return int(text) if _NUMBER.fullmatch(text) else None


def _started(pid: int) -> str | None:
    """Return when a process started, as text unique to this boot; None if unknown.

    Source: proc(5), /proc/pid/stat, field 22 (starttime), and
    /proc/sys/kernel/random/boot_id.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().decode("ascii")
        # The second field is a name in parentheses that may hold blanks and more of
        # them; the third field follows the last one.
        ticks = int(stat.rpartition(b")")[2].split()[22 - 3])
    except (OSError, ValueError, IndexError):
        return None
    return f"{ticks}-{boot[:8]}"
