"""`python -m mlog.launch FOLDER`: the supervisor of one run; see `mlog.launch.starting`.

The folder is there for whoever looks at a list of processes; the order itself comes
over stdin.
"""

import os
import sys

from mlog.launch.order import Order
from mlog.launch.starting import tell_ready


def main() -> None:
    """Supervise one run in a process that nobody has to collect."""
    order = Order.decode(sys.stdin.buffer.read())
    if hasattr(os, "fork") and os.fork():
        os._exit(0)
    from mlog.launch.supervisor import supervise

    try:
        supervise(order, tell_ready)
    except Exception as exc:
        sys.exit(f"{type(exc).__name__}: {exc}")


if __name__ == "__main__":
    main()
