"""Give asyncio tasks steps, fields and runs of their own.

Run, step and bound fields belong to the context, and each task has its own: tasks that
take turns do not mix. A run that a task starts is a child of the run around it.
"""

import asyncio
import logging
import random

import mlog

logger = logging.getLogger(__name__)


async def fit(fold: int, rng: random.Random) -> None:
    """Log three epochs of one fold; nothing here names fold or step again."""
    with mlog.bind(fold=fold):
        for epoch in range(3):
            with mlog.step(epoch):
                await asyncio.sleep(rng.random() / 50)
                logger.info(metric={"loss": 1 / (epoch + 1) + rng.random() / 10})
                logger.info("epoch is done")


async def trial(rate: float) -> mlog.Run:
    """Try one learning rate in a run of its own."""
    with mlog.start_run("sweep", params={"rate": rate}) as run:
        for step in range(3):
            await asyncio.sleep(0.01)
            logger.info(metric={"loss": (1 - rate) ** step}, step=step)
    return run


async def main() -> None:
    """Run three folds in one run, then two trials as its children."""
    with mlog.start_run("sweep", name="parent") as run:
        await asyncio.gather(*(fit(n, random.Random(n)) for n in range(3)))
        trials = await asyncio.gather(*(trial(rate) for rate in (0.1, 0.5)))
    if run.path is None:  # runs are switched off (MLOG_MODE=off)
        return
    print(f"three folds in {run.path}/metrics.jsonl, each with step and fold:")
    with (run.path / "metrics.jsonl").open() as lines:
        print(next(lines), next(lines), next(lines), sep="", end="")
    for child in trials:
        print(f"child with {child.params}: {child.path}")


if __name__ == "__main__":
    asyncio.run(main())
