"""Starting the process that makes a run, and hearing from it that the run is there.

Usually it is a new interpreter. A process that has one thread and nothing of a user in
it, as the command line has, may fork it instead, and save the time to import all again.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

from mlog.errors import MlogError, say

__all__ = ["READY", "by_fork", "by_interpreter", "tell_ready"]

READY = b"ready "
"""Beginning of the line by which a supervisor tells of its run; JSON follows."""

# A submitted script is a job of its own: no run above, no rank.
_NOT_INHERITED = (
    *("MLOG_RUN", "MLOG_MODE", "_MLOG_RANK_PID"),
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"),
    *("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)


def by_interpreter(
    text: bytes, folder: Path, cwd: str, keeps: Sequence[int] = ()
) -> dict[str, Any]:
    """Start a process that makes a run as a new interpreter; return when it is there.

    Args:
        text: What it is to do.
        folder: The run's, for whoever looks at a list of processes.
        cwd: Folder it starts in.
        keeps: Descriptors that it inherits.

    Returns:
        `folder` of the run, and `pid` of the process.

    Raises:
        MlogError: The run could not be made; the message says why.
    """
    # A session of its own: neither a Ctrl-C of this terminal nor its end reaches it.
    # The process started here forks the one that stays, and ends, so that nobody has
    # to collect that one.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlog.launch", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=_environment(),
        start_new_session=True,
        pass_fds=keeps,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with _ended_by_interrupt(process.pid), process.stdout as answer:
        try:
            # A broken pipe: it could not even start, and says why.
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(text)
            return _listen(answer)
        finally:
            process.wait()


def by_fork(
    work: Callable[[Callable[[Path], None]], None],
    cwd: str,
    forked: Callable[[], None],
) -> dict[str, Any]:
    """Start a process that makes a run as a fork of this one; else `by_interpreter`.

    Args:
        work: What it is to do; gets what to call with the run's folder.
        cwd: Folder it starts in.
        forked: Called in the new process, to let go of what is this one's only.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _go_on(work, cwd, forked, writing)
    os.close(writing)
    with _ended_by_interrupt(pid), open(reading, "rb") as answer:
        try:
            return _listen(answer)
        finally:
            os.waitpid(pid, 0)


def tell_ready(folder: Path) -> None:
    """Say, as a supervisor, that the run is there; from now on nobody hears it."""
    said = {"folder": str(folder), "pid": os.getpid()}
    with contextlib.suppress(BrokenPipeError):  # killed meanwhile; the run goes on
        os.write(1, READY + orjson.dumps(said) + b"\n")
    _hear(os.devnull)


def _go_on(
    work: Callable[[Callable[[Path], None]], None],
    cwd: str,
    forked: Callable[[], None],
    answer: int,
) -> NoReturn:
    """Go on as a process that nobody has to collect, and end without a return."""
    code = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        forked()
        _hear(os.devnull)
        os.dup2(answer, 1)
        os.dup2(answer, 2)
        os.close(answer)
        for name in _NOT_INHERITED:
            os.environ.pop(name, None)
        os.chdir(cwd)
        work(tell_ready)
        code = 0
    except BaseException as exc:
        os.write(2, f"{type(exc).__name__}: {exc}\n".encode())
    finally:
        os._exit(code)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}


def _hear(path: str) -> None:
    """Let the three standard streams be a file."""
    fd = os.open(path, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(fd, standard)
    if fd > 2:
        os.close(fd)


@contextlib.contextmanager
def _ended_by_interrupt(session: int) -> Iterator[None]:
    """End what was started where this is interrupted: nobody would know of the run."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session, signal.SIGTERM)
        raise


def _listen(answer: IO[bytes]) -> dict[str, Any]:
    """Return the answer; show what was said before it."""
    said: list[bytes] = []
    for line in answer:
        if line.startswith(READY):
            if said:  # a warning
                say(b"".join(said).decode("utf-8", "replace").rstrip())
            ready: dict[str, Any] = orjson.loads(line[len(READY) :])
            return ready
        said.append(line)
    raise MlogError(f"the run could not be made: {_last_line(b''.join(said))}")


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else "its supervisor ended and said nothing"
