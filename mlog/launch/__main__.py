"""`python -m mlog.launch FOLDER`: the process behind a run; see `mlog.launch.submit`.

It is the supervisor of a script, or the conductor of a sweep.

The folder is there for whoever looks at a list of processes; the order itself comes
over stdin.
"""

import contextlib
import os
import sys
from pathlib import Path

import orjson

from mlog.launch.order import Order


def main() -> None:
    """Supervise one run, or conduct a sweep, in a process that nobody has to collect."""
    text = sys.stdin.buffer.read()
    if hasattr(os, "fork") and os.fork():
        os._exit(0)
    try:
        _carry_out(text)
    except Exception as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")


def _carry_out(text: bytes) -> None:
    """Do what was ordered; of the two only the one that is needed is imported."""
    if text.startswith(b'{"sweep":'):
        from mlog.launch.sweep_process import SweepOrder, conduct_order

        conduct_order(SweepOrder.decode(text), _tell)
    else:
        from mlog.launch.supervisor import supervise

        supervise(Order.decode(text), _tell)


def _tell(folder: Path) -> None:
    """Say that the run is there; from now on nobody hears this process."""
    from mlog.launch.submit import READY

    said = {"folder": str(folder), "pid": os.getpid()}
    with contextlib.suppress(BrokenPipeError):  # killed meanwhile; the run goes on
        os.write(1, READY + orjson.dumps(said) + b"\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


if __name__ == "__main__":
    main()
