"""What is measured, each case in a process of its own (a run changes `logging`).

A case is a function from a `Setting` to a `Measured`. Imports of mlog stand inside:
some cases are about them.
"""

import contextlib
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.measure import (
    Call,
    Measured,
    Metrics,
    Setting,
    compare,
    compare_bare,
    floor,
    pool,
    rss_bytes,
    timed,
)

if TYPE_CHECKING:
    from mlog.logger import MetricLogger
    from mlog.run.api import Run

__all__ = ["CASES", "Case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        title: What it says.
        measure: Does the work.
        unit: What the figure is in.
        budget: What the figure should keep to. None: shown for information.
        at_least: Whether the budget is a lower bound.
    """

    title: str
    measure: Callable[[Setting], Measured]
    unit: str = "x floor"
    budget: float | None = None
    at_least: bool = False


# --- calls that write ----------------------------------------------------------------


def yardstick(setting: Setting) -> Measured:
    """The floor against itself: how far two equal things differ here."""
    return compare(floor(setting.folder), floor(setting.folder), setting)


def metric(setting: Setting) -> Measured:
    """The main promise: `logger.info(metric={4 floats}, step=i)`."""
    with _run(setting) as logger:
        info = logger.info
        return compare(
            floor(setting.folder), lambda i, m: info(metric=m, step=i), setting
        )


def message(setting: Setting) -> Measured:
    """The same with a message: an entry has file, line and function, too."""
    with _run(setting) as logger:
        info = logger.info
        return compare(
            floor(setting.folder), lambda i, m: info("step", metric=m, step=i), setting
        )


def run_log(setting: Setting) -> Measured:
    """`run.log_metrics`, past all handlers."""
    with _open_run(setting) as run:
        log = run.log_metrics
        return compare(floor(setting.folder), lambda i, m: log(m, step=i), setting)


def run_log_one(setting: Setting) -> Measured:
    """`run.log` of one value, against the logging call that says the same."""
    import mlog

    with _open_run(setting) as run:
        info, log = mlog.getLogger("train").info, run.log
        return compare(
            lambda i, _: info(metric={"loss": i / 3}, step=i),
            lambda i, _: log("loss", i / 3, step=i),
            setting,
        )


def extra_tapped(setting: Setting) -> Measured:
    """A library's own logger, made before mlog came, with `extra=`."""
    library = logging.getLogger("library")
    with _run(setting):
        info = library.info
        return compare(
            floor(setting.folder),
            lambda i, m: info("step", extra={"metric": m, "step": i}),
            setting,
        )


def extra_stock(setting: Setting) -> Measured:
    """A logger that stays a stock `logging.Logger`, through a `RunHandler`."""
    import mlog

    handler = mlog.RunHandler("bench", dir=setting.folder)
    logger = logging.Logger("foreign", logging.INFO)
    logger.addHandler(handler)
    info = logger.info
    measured = compare(
        floor(setting.folder),
        lambda i, m: info("step", extra={"metric": m, "step": i}),
        setting,
    )
    handler.run.complete()
    return measured


def numpy_scalars(setting: Setting) -> Measured:
    """Metrics as they come out of NumPy: four `float32` scalars."""
    import numpy as np

    arrays = [{name: np.float32(x) for name, x in m.items()} for m in pool()]
    size = len(arrays)
    with _run(setting) as logger:
        info = logger.info
        return compare(
            floor(setting.folder),
            lambda i, m: info(metric=arrays[i % size], step=i),
            setting,
        )


def plain_line(setting: Setting) -> Measured:
    """A log line, against stdlib's FileHandler with python-json-logger's orjson."""
    from pythonjsonlogger.orjson import OrjsonFormatter

    handler = logging.FileHandler(setting.folder / "stock.jsonl")
    handler.setFormatter(OrjsonFormatter(["created", "levelname", "name", "message"]))
    stock = logging.Logger("stock", logging.INFO)
    stock.addHandler(handler)
    with _run(setting) as logger:
        info, base = logger.info, stock.info
        return compare(
            lambda i, m: base("epoch %d: loss %.3f", i, m["loss"]),
            lambda i, m: info("epoch %d: loss %.3f", i, m["loss"]),
            setting,
        )


def beside(handlers: int, *, with_run: bool) -> Callable[[Setting], Measured]:
    """Return the case of a metric call that plain text handlers see as well."""

    def measure(setting: Setting) -> Measured:
        import mlog

        logger = mlog.getLogger("train")
        logger.setLevel(logging.INFO)
        for _ in range(handlers):
            handler = logging.FileHandler(os.devnull)
            form = "%(asctime)s %(levelname)s %(name)s %(message)s"
            handler.setFormatter(logging.Formatter(form))
            logger.addHandler(handler)
        info = logger.info
        off = not with_run  # a run that is off: no entry, no warning
        with mlog.start_run("bench", dir=setting.folder, disabled=off):
            return compare(
                floor(setting.folder), lambda i, m: info(metric=m, step=i), setting
            )

    return measure


# --- calls below the level -----------------------------------------------------------


def below(keywords: bool) -> Callable[[Setting], Measured]:
    """Return the case of `logger.debug` where nobody wants DEBUG."""

    def measure(setting: Setting) -> Measured:
        stock = logging.Logger("stock", logging.INFO)
        m = pool(1)[0]
        with _run(setting, level="INFO") as logger:
            base, debug = stock.debug, logger.debug
            if keywords:
                return compare_bare(
                    lambda: base("step"),
                    lambda: debug("step", metric=m, step=3),
                    _many(setting),
                )
            return compare_bare(
                lambda: base("step"), lambda: debug("step"), _many(setting)
            )

    return measure


def _many(setting: Setting) -> Setting:
    return Setting(setting.folder, setting.calls * 10, setting.repetitions)


# --- threads and processes -----------------------------------------------------------


def threads(setting: Setting) -> Measured:
    """Records per second of four threads together, as a multiple of one thread's."""
    write = floor(setting.folder)
    with _run(setting) as logger:
        info = logger.info

        def log(i: int, m: Metrics) -> object:
            return info(metric=m, step=i)

        _rate_of_threads(1, log, setting)
        pairs, floors = [], []
        for _ in range(setting.repetitions):
            pairs.append([_rate_of_threads(n, log, setting) for n in (1, 4)])
            floors.append([_rate_of_threads(n, write, setting) for n in (1, 4)])
    many = statistics.median(four for _, four in pairs)
    lowest = statistics.median(four / one for one, four in floors)
    note = f"{many:,.0f} records/s; the floor: {lowest:.2f} x one"
    return Measured([four / one for one, four in pairs], note=note)


def _rate_of_threads(count: int, call: Call, setting: Setting) -> float:
    each = setting.calls // count
    args = (call, pool(), each)
    work = [threading.Thread(target=_loop, args=args) for _ in range(count)]
    begin = time.perf_counter()
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    return each * count / (time.perf_counter() - begin)


def processes(setting: Setting) -> Measured:
    """The same with four processes that join one run."""
    with _open_run(setting):
        pairs = [
            (_rate_of_processes(1, setting), _rate_of_processes(4, setting))
            for _ in range(setting.repetitions)
        ]
    many = statistics.median(four for _, four in pairs)
    note = f"{many:,.0f} records/s on {os.cpu_count()} cores"
    return Measured([four / one for one, four in pairs], note=note)


def _rate_of_processes(count: int, setting: Setting) -> float:
    import multiprocessing

    calls = setting.calls * 3  # long enough beside the scatter of their starts
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.SimpleQueue()
    work = [
        context.Process(target=_process, args=(barrier, results, calls))
        for _ in range(count)
    ]
    for process in work:
        process.start()
    times: list[tuple[int, int]] = [results.get() for _ in work]
    for process in work:
        process.join()
    took = max(end for _, end in times) - min(begin for begin, _ in times)
    return count * calls / (took / 1e9)


def _process(barrier: Any, results: Any, calls: int) -> None:
    import mlog

    logger = mlog.getLogger("train")
    _work(logger, 1_000)  # the first entry opens the files
    barrier.wait()
    begin = time.time_ns()
    _work(logger, calls)
    results.put((begin, time.time_ns()))


def _work(logger: "MetricLogger", calls: int) -> None:
    info = logger.info
    _loop(lambda i, m: info(metric=m, step=i), pool(), calls)


def _loop(call: Call, steps: Sequence[Metrics], calls: int) -> None:
    size = len(steps)
    for i in range(calls):
        call(i, steps[i % size])


# --- size, memory, processor ---------------------------------------------------------


def bytes_per_record(setting: Setting) -> Measured:
    """Size of a metric entry on the disk."""
    with _open_run(setting) as run:
        import mlog

        _work(mlog.getLogger("train"), setting.calls)
        assert run.path is not None
        size = (run.path / "metrics.jsonl").stat().st_size / setting.calls
    write = floor(setting.folder)
    timed(write, pool(), setting.calls)
    lowest = (setting.folder / "floor.jsonl").stat().st_size / setting.calls
    return Measured([size], note=f"the floor's record: {lowest:.0f}")


def memory(setting: Setting) -> Measured:
    """How much more memory is resident after a million records (--quick: 100,000)."""
    with _open_run(setting):
        import mlog

        logger = mlog.getLogger("train")
        _work(logger, 1_000)
        before = rss_bytes()
        count = setting.calls * 50
        _work(logger, count)
        time.sleep(1.5)  # a round of the background thread
        grown = (rss_bytes() - before) / 2**20
    return Measured([grown], note=f"after {count:,} records")


def processor(setting: Setting) -> Measured:
    """Processor time of all threads per record, as a multiple of the floor's."""
    steps, write = pool(), floor(setting.folder)

    def cost(call: Call) -> float:
        begin = time.process_time_ns()
        timed(call, steps, setting.calls)
        return (time.process_time_ns() - begin) / setting.calls

    with _run(setting) as logger:
        info = logger.info
        pairs = [
            (cost(write), cost(lambda i, m: info(metric=m, step=i)))
            for _ in range(setting.repetitions + 1)
        ][1:]
    each = statistics.median(ours for _, ours in pairs) / 1e3
    return Measured([ours / base for base, ours in pairs], note=f"{each:.1f} µs")


# --- beginning and end ---------------------------------------------------------------


def importing(setting: Setting) -> Measured:
    """`import mlog` in a fresh process, net of a bare interpreter."""

    def seconds(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - begin

    seconds("import mlog")  # compile, and warm the page cache
    values = []
    for _ in range(max(9, setting.repetitions)):
        bare = seconds("pass")
        values.append((seconds("import mlog") - bare) * 1e3)
    code = "import sys; a = len(sys.modules); import mlog; print(len(sys.modules) - a)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return Measured(values, note=f"{done.stdout.strip()} modules")


_FIRST = """
import sys, time, mlog
modules, a = len(sys.modules), time.perf_counter()
run = mlog.start_run("bench", dir=sys.argv[1])
b = time.perf_counter()
modules = len(sys.modules) - modules
mlog.getLogger("train").info(metric={"loss": 0.5}, step=1)
c = time.perf_counter()
run.complete()
d = time.perf_counter()
print((b - a) * 1e3, (c - b) * 1e3, (d - c) * 1e3, modules)
"""


def first_run(part: int) -> Callable[[Setting], Measured]:
    """Return the case of the first start (0), entry (1) or end (2) of a process."""

    def measure(setting: Setting) -> Measured:
        values = []
        for _ in range(max(9, setting.repetitions)):
            done = subprocess.run(
                [sys.executable, "-c", _FIRST, str(setting.folder)],
                check=True,
                capture_output=True,
                text=True,
            )
            *times, modules = done.stdout.split()
            values.append(float(times[part]))
        note = f"with {modules} modules imported" if part == 0 else ""
        return Measured(values, note=note)

    return measure


def later_run(setting: Setting) -> Measured:
    """Start and end of a run in a process that had one before."""
    values = []
    for _ in range(setting.repetitions + 1):
        begin = time.perf_counter()
        with _open_run(setting):
            pass
        values.append((time.perf_counter() - begin) * 1e3)
    return Measured(values[1:])


# --- inside --------------------------------------------------------------------------


@contextlib.contextmanager
def _open_run(setting: Setting, **options: Any) -> Iterator["Run"]:
    import mlog

    with mlog.start_run("bench", dir=setting.folder, **options) as run:
        yield run


@contextlib.contextmanager
def _run(setting: Setting, **options: Any) -> Iterator["MetricLogger"]:
    """Open a run and give the logger whose calls are measured."""
    import mlog

    with _open_run(setting, **options):
        yield mlog.getLogger("train")


_PJL = "x json line"
_STOCK = "x stdlib"

CASES: dict[str, Case] = {
    "floor": Case("floor: orjson.dumps + os.write", yardstick),
    "metric": Case("metric= and step=", metric, budget=2.0),
    "message": Case("the same with a message", message),
    "run-log": Case("run.log_metrics", run_log),
    "log": Case("run.log", run_log_one, unit="x metric=", budget=1.15),
    "extra": Case("extra= on a library's logger", extra_tapped, budget=4.5),
    "stock": Case("extra= on a stock logger, RunHandler", extra_stock, budget=4.5),
    "numpy": Case("metric= of NumPy scalars", numpy_scalars),
    "line": Case("plain log line", plain_line, unit=_PJL, budget=0.6),
    "beside-0": Case("metric=, logger at INFO, 0 handlers", beside(0, with_run=True)),
    "beside-1": Case("metric=, 1 other text handler", beside(1, with_run=True)),
    "alone-1": Case("  the other handler alone", beside(1, with_run=False)),
    "beside-3": Case("metric=, 3 other text handlers", beside(3, with_run=True)),
    "alone-3": Case("  the other handlers alone", beside(3, with_run=False)),
    "below": Case("debug() below the level", below(False), unit=_STOCK, budget=1.4),
    "below-metric": Case(
        "  with metric= and step=", below(True), unit=_STOCK, budget=1.4
    ),
    "threads": Case("4 threads", threads, unit="x one"),
    "processes": Case(
        "4 processes", processes, unit="x one", budget=1.7, at_least=True
    ),
    "cpu": Case("processor time per record", processor),
    "bytes": Case("size of a record", bytes_per_record, unit="bytes"),
    "memory": Case("memory growth", memory, unit="MiB", budget=3.0),
    "import": Case("import mlog", importing, unit="ms", budget=50.0),
    "start": Case("first start of a run", first_run(0), unit="ms", budget=20.0),
    "entry": Case("first entry", first_run(1), unit="ms"),
    "end": Case("end of a run", first_run(2), unit="ms", budget=20.0),
    "later": Case("later run, start and end", later_run, unit="ms"),
}


def folder_of(name: str, root: Path) -> Path:
    """Make the folder that a case works in."""
    folder = root / name
    folder.mkdir()
    return folder
