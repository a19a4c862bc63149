"""How the benchmarks measure: interleaved repetitions, ratios, percentiles.

The clock of a shared machine wanders, so no figure is compared with one of another
process or of another minute: each repetition times the yardstick first and the case
right after it, in the same process, and what counts is the ratio of the two medians.
"""

import array
import os
import platform
import random
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import orjson

__all__ = [
    "Call",
    "Measured",
    "Setting",
    "compare",
    "compare_bare",
    "floor",
    "machine_text",
    "percentile",
    "pool",
    "rss_bytes",
    "timed",
]

Metrics: TypeAlias = dict[str, float]
Call: TypeAlias = Callable[[int, Metrics], object]
"""Logs one training step: its number and four metrics."""

_NAMES = ("loss", "acc", "lr", "grad_norm")


@dataclass(frozen=True, slots=True)
class Setting:
    """What one case runs with.

    Attributes:
        folder: An empty folder of its own.
        calls: Number of calls in a repetition.
        repetitions: How often yardstick and case take turns.
    """

    folder: Path
    calls: int
    repetitions: int


@dataclass(slots=True)
class Measured:
    """What came out of one case.

    Attributes:
        values: One figure per repetition, in the unit of the case.
        p50, p99, p999: Nanoseconds per call over all repetitions. None: not timed.
        note: Something a reader should know beside the figure.
    """

    values: list[float] = field(default_factory=list)
    p50: float | None = None
    p99: float | None = None
    p999: float | None = None
    note: str = ""


def pool(size: int = 1024) -> list[Metrics]:
    """Return metrics of that many steps: full-precision floats, made before timing."""
    rng = random.Random(7)
    return [{name: rng.random() * 3 for name in _NAMES} for _ in range(size)]


def floor(folder: Path) -> Call:
    """Return the cheapest durable way to write a step: one dumps, one `os.write`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    fd = os.open(folder / "floor.jsonl", flags, 0o644)
    dumps, option, now, write = (
        orjson.dumps,
        orjson.OPT_APPEND_NEWLINE,
        time.time,
        os.write,
    )

    def log(i: int, m: Metrics) -> None:
        entry = {
            "t": now(),
            "level": "INFO",
            "logger": "train",
            "msg": "step",
            "step": i,
            "metric": m,
        }
        write(fd, dumps(entry, None, option))

    return log


def timed(call: Call, steps: Sequence[Metrics], count: int) -> "array.array[int]":
    """Call `count` times; return the nanoseconds of each call."""
    taken = array.array("q")
    push, clock, size = taken.append, time.perf_counter_ns, len(steps)
    for i in range(count):
        m = steps[i % size]
        begin = clock()
        call(i, m)
        push(clock() - begin)
    return taken


def compare(yardstick: Call, case: Call, setting: Setting) -> Measured:
    """Return the medians of `case` as multiples of those of `yardstick`."""
    steps = pool()
    for call in (yardstick, case):
        timed(call, steps, min(2_000, setting.calls))
    values, samples = [], array.array("q")
    for _ in range(setting.repetitions):
        base = statistics.median(timed(yardstick, steps, setting.calls))
        taken = timed(case, steps, setting.calls)
        values.append(statistics.median(taken) / base)
        samples.extend(taken)
    ordered = sorted(samples)
    return Measured(
        values,
        p50=percentile(ordered, 0.50),
        p99=percentile(ordered, 0.99),
        p999=percentile(ordered, 0.999),
    )


def compare_bare(
    yardstick: Callable[[], object], case: Callable[[], object], setting: Setting
) -> Measured:
    """Compare calls that are too short to be timed one by one, net of an empty call."""

    def empty() -> None:
        pass

    def per_call(call: Callable[[], object]) -> float:
        rounds = range(setting.calls)
        begin = time.perf_counter_ns()
        for _ in rounds:
            call()
        return (time.perf_counter_ns() - begin) / setting.calls

    values, net = [], []
    for _ in range(setting.repetitions):
        nothing, base, taken = per_call(empty), per_call(yardstick), per_call(case)
        values.append((taken - nothing) / (base - nothing))
        net.append(taken - nothing)
    return Measured(values, p50=statistics.median(net))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which that share of sorted values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rss_bytes() -> int:
    """Return the memory this process has resident now, or had at most without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def machine_text(folder: Path) -> str:
    """Say in a line what is measured on."""
    free = shutil.disk_usage(folder).free >> 30
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{os.cpu_count()} cores, {folder.parent} ({free} GiB free)"
    )
