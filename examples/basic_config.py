"""Send everything to a run and to the console by `logging.basicConfig` alone.

`RunHandler` is an ordinary `logging.Handler`. Its run begins with the first record and
ends with the process; a line on stderr says where it is.
"""

import logging
import random

import mlog

console = mlog.ConsoleHandler()  # at most one line of bare metrics a second
logging.basicConfig(level=logging.INFO, handlers=[mlog.RunHandler("walk"), console])
logger = logging.getLogger(__name__)


def main() -> None:
    """Log a random walk: a number at each step, a sentence now and then."""
    rng = random.Random(7)
    place = 0.0
    for step in range(1_000):
        place += rng.gauss(0, 1)
        logger.info(metric={"place": place}, step=step)  # in the run, each of them
        logger.debug("moved to %.3f", place)  # in the run, too
        if step % 250 == 249:
            logger.info("after %d steps: %.2f", step + 1, place)  # on both


if __name__ == "__main__":
    main()
