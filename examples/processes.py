"""Record several processes in one run: a parent and the workers it spawns.

Workers find the run by the environment (`MLOG_RUN`), join it when they import mlog, and
write files of their own. There is no lock between them and nothing to pass on.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import mlog

logger = mlog.getLogger(__name__)  # takes metric= in workers without a run, too


def estimate_pi(worker: int, steps: int = 200_000) -> float:
    """Sum a share of a series for pi; runs in a worker."""
    total = 0.0
    for n in range(worker, steps, 4):
        total += (-1) ** n * 4 / (2 * n + 1)
        if n % 20_000 == worker:
            logger.info(metric={"partial": total}, step=n)
    logger.info("worker %d is done, process %d", worker, os.getpid())
    return total


def main() -> None:
    """Spread the sum over two processes, and show who wrote what."""
    with mlog.start_run("pi", params={"workers": 2}) as run:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=spawn) as pool:
            pi = sum(pool.map(estimate_pi, range(4)))
        logger.info("pi is about %.6f", pi, metric={"pi": pi})
    if run.path is None:  # runs are switched off (MLOG_MODE=off)
        return
    print(f"pi is about {pi:.6f}; {run.path} holds")
    for file in sorted(run.path.glob("*.jsonl")):
        count = len(file.read_bytes().splitlines())
        print(f"  {file.name:<26}{count:>3} entries")


if __name__ == "__main__":
    main()
