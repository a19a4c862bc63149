"""Emit metrics from a library that knows nothing of mlog.

`minimize` stands for the library: it imports `logging` only and gives its numbers as
`extra=`. Without mlog that is an ordinary line. With it the numbers are recorded.
"""

import logging
import sys
from collections.abc import Callable

logger = logging.getLogger("descent")  # a library would write __name__


def minimize(slope: Callable[[float], float], x: float, rate: float = 0.2) -> float:
    """Walk down a slope until it is flat; x after the last step."""
    step = 0
    while abs(gradient := slope(x)) > 1e-3:
        x -= rate * gradient
        fields = {"metric": {"x": x, "gradient": gradient}, "step": step}
        logger.info("step", extra=fields)
        step += 1
    logger.info("flat after %d steps", step)
    return x


def main() -> None:
    """Call the library without mlog, then with it."""
    logging.basicConfig(
        level=logging.INFO, format="  %(name)s: %(message)s", stream=sys.stdout
    )
    print("without mlog:")
    minimize(lambda x: 2 * (x - 3), x=3.002)

    import mlog

    print("with mlog the console shows the same:")
    with mlog.start_run("library") as run:
        minimize(lambda x: 2 * (x - 3), x=3.002)
    if run.path is None:  # runs are switched off (MLOG_MODE=off)
        return
    print(f"and the numbers are in {run.path}/metrics.jsonl:")
    print((run.path / "metrics.jsonl").read_text(), end="")


if __name__ == "__main__":
    main()
