"""`python -m mlog.launch FOLDER`: the supervisor of one run; see `mlog.launch.submit`.

The folder is there for whoever looks at a list of processes; the order itself comes
over stdin.
"""

import os
import sys
from pathlib import Path

import orjson

from mlog.launch.order import Order


def main() -> None:
    """Supervise one run in a process that nobody has to collect."""
    order = Order.decode(sys.stdin.buffer.read())
    if hasattr(os, "fork") and os.fork():
        os._exit(0)
    from mlog.launch.supervisor import supervise

    try:
        supervise(order, _tell)
    except Exception as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")


def _tell(folder: Path) -> None:
    """Say that the run is there; from now on nobody hears this process."""
    from mlog.launch.submit import READY

    said = {"folder": str(folder), "pid": os.getpid()}
    os.write(1, READY + orjson.dumps(said) + b"\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


if __name__ == "__main__":
    main()
