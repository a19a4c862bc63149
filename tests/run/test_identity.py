"""Which run a process is in: one row per way of starting it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlog.run.identity import Identity, Process, identify, this_process

SHELL = Process(pid=4711, ppid=4000, parent_started="123456-0f1e2d3c", host="node1")
OTHER = SHELL._replace(pid=4712, ppid=4001, parent_started="123999-0f1e2d3c")
UNKNOWN = SHELL._replace(parent_started=None)
INIT = SHELL._replace(ppid=1)
SIBLINGS = "4000-123456-0f1e2d3c"
LAUNCHER = "/runs/mnist/20261123-182700-3f9a1c"
LAUNCHER_ID = "20261123-182700-3f9a1c"


def torchrun(
    rank: int, world: int, *, nodes: int = 1, run_id: str = "none", restarts: int = 0
) -> dict[str, str]:
    """What torchrun tells one of its ranks."""
    local = world // nodes
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank % local),
        "LOCAL_WORLD_SIZE": str(local),
        "TORCHELASTIC_RUN_ID": run_id,
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
    }


def deepspeed(rank: int, world: int) -> dict[str, str]:
    """What deepspeed tells one of its ranks."""
    return {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}


def sbatch(job: int = 900, tasks: int = 4) -> dict[str, str]:
    """What Slurm tells a batch script, or the shell of a plain salloc."""
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_NTASKS": str(tasks),
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
    }


def srun(rank: int, tasks: int, *, job: int = 900, step: int = 0) -> dict[str, str]:
    """What Slurm tells one task of a step."""
    return sbatch(job, tasks) | {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_ID": str(step),
        "SLURM_STEP_NUM_TASKS": str(tasks),
    }


REQUEUED = {"SLURM_RESTART_COUNT": "2"}
INHERITED = {"MLOG_RUN": LAUNCHER}
ALONE = Identity()


def rank_of(run_id: str, rank: int, world: int, **more: Any) -> Identity:
    """The identity of a rank in a run of that id; attempt 1 unless said."""
    usual: dict[str, Any] = {"main": rank == 0, "attempt": 1}
    return Identity(run_id, rank=rank, world_size=world, **(usual | more))


def joined(rank: int | None = None, world: int = 1, **more: Any) -> Identity:
    """The identity of a process that joins the run above it."""
    run: dict[str, Any] = {"run_id": LAUNCHER_ID, "join": LAUNCHER, "main": False}
    return Identity(rank=rank, world_size=world, **(run | more))


def further(number: int, rank: int, world: int, **more: Any) -> Identity:
    """The identity of a rank in a further run below the run above it."""
    run_id = f"{LAUNCHER_ID}-{number}"
    return rank_of(run_id, rank, world, parent=LAUNCHER, **more)


CASES: list[tuple[str, dict[str, str], Process, dict[str, Any], Identity]] = [
    ("script on its own", {}, SHELL, {}, ALONE),
    ("second start of a script", {}, SHELL, {"nth": 2}, ALONE),
    ("empty variables are unset", dict.fromkeys(srun(0, 2), ""), SHELL, {}, ALONE),
    # torchrun, accelerate, deepspeed
    (
        "torchrun 2 ranks with id none: rank 0",
        torchrun(0, 2),
        SHELL,
        {},
        rank_of(SIBLINGS, 0, 2),
    ),
    (
        "torchrun 2 ranks with id none: rank 1",
        torchrun(1, 2),
        SHELL._replace(pid=4712),
        {},
        rank_of(SIBLINGS, 1, 2),
    ),
    (
        "second torchrun on the node",
        torchrun(0, 2),
        OTHER,
        {},
        rank_of("4001-123999-0f1e2d3c", 0, 2),
    ),
    (
        "torchrun with rdzv id",
        torchrun(1, 2, run_id="job 7"),
        SHELL,
        {},
        rank_of("job 7", 1, 2),
    ),
    (
        "torchrun with rdzv id on a second node",
        torchrun(3, 4, nodes=2, run_id="job7"),
        OTHER,
        {},
        rank_of("job7", 3, 4),
    ),
    ("torchrun world 1", torchrun(0, 1), SHELL, {}, ALONE),
    ("torchrun world 1 with rdzv id", torchrun(0, 1, run_id="j"), SHELL, {}, ALONE),
    (
        "torchrun restart",
        torchrun(1, 2, restarts=1),
        SHELL,
        {},
        rank_of(SIBLINGS, 1, 2, attempt=2),
    ),
    (
        "torchrun on two nodes without an id: a run per node, ended by its first rank",
        torchrun(2, 4, nodes=2),
        OTHER,
        {},
        rank_of("4001-123999-0f1e2d3c", 2, 4, main=True),
    ),
    (
        "torchrun on two nodes without an id: other ranks of the node",
        torchrun(3, 4, nodes=2),
        OTHER,
        {},
        rank_of("4001-123999-0f1e2d3c", 3, 4),
    ),
    (
        "torchrun as first process of a container",
        torchrun(1, 2),
        INIT,
        {},
        rank_of("1-123456-0f1e2d3c", 1, 2),
    ),
    ("deepspeed", deepspeed(1, 2), SHELL, {}, rank_of(SIBLINGS, 1, 2)),
    (
        "GPU bound per rank, so that every local rank is 0",
        deepspeed(1, 2) | {"LOCAL_RANK": "0"},
        SHELL,
        {},
        rank_of(SIBLINGS, 1, 2),
    ),
    (
        "ranks whose parent is unknown: a run each",
        torchrun(1, 2),
        UNKNOWN,
        {},
        Identity(rank=1, world_size=2, main=True),
    ),
    (
        "ranks adopted by init: a run each",
        deepspeed(1, 2),
        INIT,
        {},
        Identity(rank=1, world_size=2, main=True),
    ),
    # Slurm
    ("srun step of 4: rank 0", srun(0, 4), SHELL, {}, rank_of("900.0", 0, 4)),
    ("srun step of 4: rank 3", srun(3, 4), OTHER, {}, rank_of("900.0", 3, 4)),
    (
        "second srun in the sbatch",
        srun(0, 4, step=1),
        SHELL,
        {},
        rank_of("900.1", 0, 4),
    ),
    ("srun with 1 task", srun(0, 1), SHELL, {}, ALONE),
    ("sbatch without srun", sbatch(), SHELL, {}, ALONE),
    ("second script in the sbatch", sbatch(), OTHER, {}, ALONE),
    ("salloc shell", sbatch(), SHELL, {}, ALONE),
    (
        "salloc shell as interactive step",
        srun(0, 4, step=0xFFFFFFFA),
        SHELL,
        {},
        ALONE,
    ),
    ("job array task", srun(0, 2, job=901), SHELL, {}, rank_of("901.0", 0, 2)),
    ("job array task of one process", sbatch(job=901), SHELL, {}, ALONE),
    (
        "requeue",
        srun(1, 4) | REQUEUED,
        SHELL,
        {},
        rank_of("900.0", 1, 4, attempt=3),
    ),
    ("requeue of a script on its own", sbatch() | REQUEUED, SHELL, {}, ALONE),
    (
        "srun launching torchrun per node",
        srun(1, 2) | torchrun(5, 8, nodes=2),
        SHELL,
        {},
        rank_of("900.0", 5, 8),
    ),
    (
        "srun launching torchrun per node, requeued and restarted",
        srun(1, 2) | torchrun(5, 8, nodes=2, restarts=1) | REQUEUED,
        SHELL,
        {},
        rank_of("900.0", 5, 8, attempt=4),
    ),
    (
        "srun launching torchrun with rdzv id per node",
        srun(1, 2) | torchrun(5, 8, nodes=2, run_id="900"),
        SHELL,
        {},
        rank_of("900", 5, 8),
    ),
    (
        "srun launching an own torchrun in each task",
        srun(1, 4) | torchrun(1, 2),
        SHELL,
        {},
        rank_of(SIBLINGS, 1, 2),
    ),
    (
        "srun with 1 task launching torchrun",
        srun(0, 1) | torchrun(1, 2),
        SHELL,
        {},
        rank_of(SIBLINGS, 1, 2),
    ),
    (
        "srun step that exports RANK itself",
        srun(3, 4) | deepspeed(3, 4),
        SHELL,
        {},
        rank_of("900.0", 3, 4),
    ),
    (
        "batch script that exports WORLD_SIZE only",
        srun(3, 4) | {"WORLD_SIZE": "4"},
        SHELL,
        {},
        rank_of("900.0", 3, 4),
    ),
    # further runs of a process
    (
        "n-th start_run of ranks by torchrun",
        torchrun(1, 2),
        SHELL,
        {"nth": 3},
        rank_of(f"{SIBLINGS}-3", 1, 2),
    ),
    (
        "n-th start_run of ranks by Slurm",
        srun(0, 4),
        SHELL,
        {"nth": 2},
        rank_of("900.0-2", 0, 4),
    ),
    # an id from the caller
    ("given id", {}, SHELL, {"run_id": "x"}, Identity("x")),
    ("given id, empty", {}, SHELL, {"run_id": ""}, ALONE),
    (
        "given id of ranks",
        torchrun(1, 2, run_id="job7", restarts=1),
        SHELL,
        {"run_id": "x", "nth": 2},
        rank_of("x", 1, 2, attempt=2),
    ),
    (
        "given id of ranks without counters",
        srun(1, 2),
        SHELL,
        {"run_id": "x"},
        rank_of("x", 1, 2, attempt=None),
    ),
    (
        "given id in a requeued batch script",
        sbatch() | REQUEUED,
        SHELL,
        {"run_id": "x"},
        Identity("x", attempt=3),
    ),
    (
        "given id below a run",
        INHERITED,
        SHELL,
        {"run_id": "x"},
        Identity("x", parent=LAUNCHER),
    ),
    (
        "given id wins over MLOG_MODE=join",
        INHERITED | {"MLOG_MODE": "join"},
        SHELL,
        {"run_id": "x"},
        Identity("x", parent=LAUNCHER),
    ),
    (
        "given id of ranks below a run",
        INHERITED | torchrun(0, 2),
        SHELL,
        {"run_id": "x"},
        rank_of("x", 0, 2, parent=LAUNCHER),
    ),
    # below a run
    ("script below a run", INHERITED, SHELL, {}, Identity(parent=LAUNCHER)),
    (
        "second start of a script below a run",
        INHERITED,
        SHELL,
        {"nth": 2},
        Identity(parent=LAUNCHER),
    ),
    (
        "launcher with a run, and torchrun",
        INHERITED | torchrun(0, 2, run_id="job7"),
        SHELL,
        {},
        joined(0, 2, attempt=1),
    ),
    (
        "launcher with a run, and srun",
        INHERITED | srun(3, 4),
        SHELL,
        {},
        joined(3, 4),
    ),
    (
        "launcher with a run, and torchrun restarted",
        INHERITED | torchrun(1, 2, restarts=2),
        SHELL,
        {},
        joined(1, 2, attempt=3),
    ),
    (
        "launcher with a run, and torchrun: n-th start_run",
        INHERITED | torchrun(0, 2),
        SHELL,
        {"nth": 2},
        further(2, 0, 2),
    ),
    (
        "launcher with a run, and torchrun world 1",
        INHERITED | torchrun(0, 1),
        SHELL,
        {},
        Identity(parent=LAUNCHER),
    ),
    # helpers of a rank
    (
        "rank that opened a run is no helper of itself",
        srun(1, 4) | {"_MLOG_RANK_PID": "4711"},
        SHELL,
        {},
        rank_of("900.0", 1, 4),
    ),
    (
        "helper that inherited RANK",
        torchrun(1, 2) | INHERITED | {"_MLOG_RANK_PID": "4000"},
        SHELL,
        {},
        joined(attempt=1),
    ),
    (
        "helper of a Slurm task",
        srun(1, 4) | INHERITED | {"_MLOG_RANK_PID": "4000"},
        SHELL,
        {},
        joined(),
    ),
    (
        "second start of a helper",
        torchrun(1, 2) | INHERITED | {"_MLOG_RANK_PID": "4000"},
        SHELL,
        {"nth": 2},
        Identity(parent=LAUNCHER),
    ),
    (
        "helper without a run above",
        torchrun(1, 2) | {"_MLOG_RANK_PID": "4000"},
        SHELL,
        {},
        ALONE,
    ),
    (
        "helper with a given id",
        srun(1, 4) | INHERITED | {"_MLOG_RANK_PID": "4000"},
        SHELL,
        {"run_id": "x"},
        Identity("x", parent=LAUNCHER),
    ),
    # MLOG_MODE
    (
        "MLOG_MODE=join",
        INHERITED | {"MLOG_MODE": "join"},
        SHELL,
        {},
        joined(),
    ),
    (
        "MLOG_MODE=join in a requeued job: the run above is as new as its child",
        INHERITED | {"MLOG_MODE": "join"} | sbatch() | REQUEUED,
        SHELL,
        {},
        joined(),
    ),
    (
        "MLOG_MODE=join, second start",
        INHERITED | {"MLOG_MODE": "join"},
        SHELL,
        {"nth": 2},
        Identity(parent=LAUNCHER),
    ),
    ("MLOG_MODE=join, nothing above", {"MLOG_MODE": "join"}, SHELL, {}, ALONE),
    ("MLOG_MODE=new", INHERITED | {"MLOG_MODE": "new"}, SHELL, {}, ALONE),
    (
        "MLOG_MODE=new with ranks",
        INHERITED | {"MLOG_MODE": "new"} | srun(1, 4),
        SHELL,
        {},
        rank_of("900.0", 1, 4),
    ),
    (
        "MLOG_MODE=new in a helper",
        INHERITED | {"MLOG_MODE": "new", "_MLOG_RANK_PID": "4000"},
        SHELL,
        {},
        ALONE,
    ),
    ("MLOG_MODE=off", {"MLOG_MODE": "off"}, SHELL, {}, Identity(off=True)),
    (
        "MLOG_MODE=off with everything else",
        INHERITED | {"MLOG_MODE": " OFF "} | srun(1, 4),
        SHELL,
        {"run_id": "x"},
        Identity("x", rank=1, world_size=4, main=False, off=True),
    ),
    ("MLOG_MODE empty", {"MLOG_MODE": "", "MLOG_RUN": ""}, SHELL, {}, ALONE),
]


@pytest.mark.parametrize(
    ("env", "process", "arguments", "identity"),
    [pytest.param(*case, id=name) for name, *case in CASES],
)
def test_situation(
    env: dict[str, str], process: Process, arguments: dict[str, Any], identity: Identity
) -> None:
    """Each way of starting a process leads to one identity."""
    assert identify(env, process, **arguments) == identity


@pytest.mark.parametrize(
    ("rank", "size"),
    [
        ("-1", "2"),
        ("2", "2"),
        ("0", "-2"),
        ("0", "0"),
        ("one", "2"),
        ("0", "two"),
        ("0.0", "2"),
        ("+0", "2"),
        ("²", "4"),
        ("0", "9" * 5000),
    ],
)
def test_nonsense_about_ranks_means_alone(rank: str, size: str) -> None:
    """A stale or mistyped variable must not make strangers share a run."""
    assert identify({"RANK": rank, "WORLD_SIZE": size}, SHELL) == ALONE
    step = {"SLURM_PROCID": rank, "SLURM_STEP_NUM_TASKS": size}
    assert identify(srun(0, 2) | step, SHELL) == ALONE


@pytest.mark.parametrize("step", ["batch", "interactive", "-1", ""])
def test_step_without_a_number_means_alone(step: str) -> None:
    assert identify(srun(0, 2) | {"SLURM_STEP_ID": step}, SHELL) == ALONE


@pytest.mark.parametrize("counter", ["", "-1", "many"])
def test_nonsense_in_a_counter_is_no_counter(counter: str) -> None:
    env = srun(1, 2) | {"SLURM_RESTART_COUNT": counter}
    assert identify(env, SHELL).attempt == 1
    assert identify(env, SHELL, run_id="x").attempt is None


def test_unknown_mode_is_an_error_that_names_the_words() -> None:
    with pytest.raises(ValueError, match="one of off, new, join, or unset; got 'of'"):
        identify({"MLOG_MODE": "of"}, SHELL)


SHARING = [case for case in CASES if case[4].rank is not None and case[4].run_id]


@pytest.mark.parametrize(
    ("env", "process", "arguments", "identity"),
    [pytest.param(*case, id=name) for name, *case in SHARING],
)
def test_ranks_share_a_run_only_in_a_world_above_one(
    env: dict[str, str], process: Process, arguments: dict[str, Any], identity: Identity
) -> None:
    """Told that it is the only one, any rank becomes a process on its own."""
    only = {"RANK": "0", "WORLD_SIZE": "1", "SLURM_STEP_NUM_TASKS": "1"}
    assert identify(env | only, process, **arguments).rank is None


CHILD = """
import json, os
from mlog.run.identity import identify, this_process
me = this_process()
print(json.dumps([identify(os.environ, me).run_id, me.pid, me.ppid]))
"""

PARENT = """
import os, subprocess, sys
for rank in "01":
    env = os.environ | {"RANK": rank, "WORLD_SIZE": "2"}
    subprocess.run([sys.executable, "-c", sys.argv[1]], env=env, check=True)
"""


def ranks_of_one_parent() -> list[tuple[str, int, int]]:
    """Start a process that starts two ranks; return what each of them says."""
    root = str(Path(__file__).parents[2])
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MLOG", "_MLOG"))}
    command = [sys.executable, "-c", PARENT, CHILD]
    done = subprocess.run(
        command, env=env | {"PYTHONPATH": root}, capture_output=True, check=True
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="start times are read from /proc")
def test_siblings_derive_one_id_and_other_parents_children_another() -> None:
    """Real processes: ranks of one launcher agree without talking to each other."""
    (id_0, pid_0, ppid_0), (id_1, pid_1, ppid_1) = ranks_of_one_parent()
    assert pid_0 != pid_1
    assert ppid_0 == ppid_1
    assert id_0 == id_1
    assert id_0.startswith(f"{ppid_0}-")
    (other, *_), _ = ranks_of_one_parent()
    assert other != id_0


def test_this_process_knows_itself() -> None:
    me = this_process()
    assert (me.pid, me.ppid) == (os.getpid(), os.getppid())
    assert me == this_process()


@pytest.mark.skipif(sys.platform != "linux", reason="start times are read from /proc")
def test_parent_with_an_odd_name_has_a_start_time(tmp_path: Path) -> None:
    """The name stands in parentheses before the start time and may hold any."""
    odd = tmp_path / "a) R (b"
    odd.symlink_to("/bin/sh")
    code = "from mlog.run.identity import this_process as t; print(t().parent_started)"
    script = f'"{sys.executable}" -c "{code}"; true'
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [odd, "-c", script],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    ticks, _, boot = done.stdout.strip().partition("-")
    assert ticks.isdecimal()
    assert len(boot) == 8
