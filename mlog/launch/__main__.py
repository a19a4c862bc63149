"""`python -m mlog.launch FOLDER`: the process behind a run; see `mlog.launch.starting`.

It is the supervisor of a script, or the conductor of a sweep.

The folder is there for whoever looks at a list of processes; the order itself comes
over stdin.
"""

import os
import sys

from mlog.errors import show_warnings_plainly
from mlog.launch.order import Order
from mlog.launch.starting import tell_ready


def main() -> None:
    """Supervise one run, or conduct a sweep, in a process that nobody has to collect."""
    show_warnings_plainly()
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

        conduct_order(SweepOrder.decode(text), tell_ready)
    else:
        from mlog.launch.supervisor import supervise

        supervise(Order.decode(text), tell_ready)


if __name__ == "__main__":
    main()
