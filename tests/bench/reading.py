"""What reading the metrics of a run costs, against a bare loop of `orjson.loads`.

    python -m tests.bench.reading [--quick] [--dir DIR]

Run it in the project's folder with the test extra installed, on a machine that does
nothing else. The yardstick ("floor") is `for line in file: orjson.loads(line)` over the
same file, which keeps nothing. Runs are written by `run.log_metrics`; then floor and
readers take turns in this process. Figures are processor time as multiples of the
floor's: medians of the repetitions' ratios, in brackets the least and the greatest.
Readers also have to keep what they return; "kept" is the floor that puts all values in
one list. Nothing here passes or fails.

Options:
    --quick   A tenth of the lines: for a first look.
    --dir     Where to write; default: the temporary folder.
"""

import argparse
import gc
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

import mlog
from mlog.reader.entries import iter_entries
from mlog.reader.metrics import read_metrics
from mlog.reader.series import read_histories, read_history

_STEPS = 100_000
_REPETITIONS = 9
_NAMES = [f"train/metric_{i}" for i in range(10)]
_ROW = "{:<34}{:>10}{:>8} {:<14}{:<7}{}"

Reader: TypeAlias = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One run to read.

    Attributes:
        title: What the table says of its lines.
        metrics: Yields what each call logs, with its step.
    """

    title: str
    metrics: Callable[[int], Iterator[tuple[int, dict[str, float]]]]


# --- runs ----------------------------------------------------------------------------


def wide(steps: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Ten names per line."""
    rng = random.Random(7)
    for step in range(steps):
        yield step, {name: rng.random() * 3 for name in _NAMES}


def turns(steps: int) -> Iterator[tuple[int, dict[str, float]]]:
    """One name per line, ten in turns."""
    for step, metrics in wide(steps):
        for name, value in metrics.items():
            yield step, {name: value}


def one(steps: int) -> Iterator[tuple[int, dict[str, float]]]:
    """One name, ten times as often."""
    rng = random.Random(7)
    for step in range(steps * 10):
        yield step, {"loss": rng.random() * 3}


CASES = [
    Case("10 names a line", wide),
    Case("1 name a line, 10 in turns", turns),
    Case("1 name a line", one),
]


# --- readers -------------------------------------------------------------------------


def floor(run: Path) -> None:
    """Parse each line and keep nothing."""
    loads = orjson.loads
    with open(run / "metrics.jsonl", "rb") as file:
        for line in file:
            loads(line)


def kept(run: Path) -> list[Any]:
    """Parse each line and keep the values, whatever their names are."""
    loads = orjson.loads
    values: list[Any] = []
    with open(run / "metrics.jsonl", "rb") as file:
        for line in file:
            values += loads(line)["metric"].values()
    return values


def one_history(run: Path) -> object:
    """Read one of the names."""
    name = next(iter(orjson.loads(_first_line(run))["metric"]))
    return read_history(run, name)


def all_entries(run: Path) -> int:
    """Go through all entries."""
    return sum(1 for _ in iter_entries(run))


READERS: dict[str, tuple[Reader, float | None]] = {
    "floor": (floor, None),
    "kept": (kept, None),
    "read_metrics": (read_metrics, 1.3),
    "read_history": (one_history, None),
    "read_histories": (read_histories, None),
    "iter_entries": (all_entries, None),
}
"""What is measured, and the most it should be as a multiple of the floor."""


def _first_line(run: Path) -> bytes:
    with open(run / "metrics.jsonl", "rb") as file:
        return file.readline()


# --- measuring -----------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; 0, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading")
    parser.add_argument("--quick", action="store_true", help="a tenth of the lines")
    parser.add_argument("--dir", help="where to write; default: the temporary folder")
    options = parser.parse_args(argv)
    steps = _STEPS // 10 if options.quick else _STEPS
    root = Path(tempfile.mkdtemp(prefix="mlog-bench-", dir=options.dir))
    try:
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {root}")
        for case in CASES:
            run = _written(case, root, steps)
            print(f"\n{case.title}: {_count(run):,} lines")
            print(_ROW.format("", "ms", "x floor", "(min..max)", "budget", ""))
            _show(_measured(run))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


def _written(case: Case, root: Path, steps: int) -> Path:
    """Write the run of a case."""
    with mlog.start_run("bench", dir=root, fsync_interval=None) as run:
        for step, metrics in case.metrics(steps):
            run.log_metrics(metrics, step=step)
    assert run.path is not None
    return run.path


def _count(run: Path) -> int:
    return (run / "metrics.jsonl").read_bytes().count(b"\n")


def _measured(run: Path) -> dict[str, list[float]]:
    """Return the seconds of each reader, one for each repetition."""
    taken: dict[str, list[float]] = {name: [] for name in READERS}
    for repetition in range(_REPETITIONS + 1):
        for name, (read, _) in READERS.items():
            seconds = _timed(read, run)
            if repetition:  # the first one warms up
                taken[name].append(seconds)
    return taken


def _timed(read: Reader, run: Path) -> float:
    gc.collect()
    begin = time.process_time()
    found = read(run)
    seconds = time.process_time() - begin
    del found  # not within the time
    return seconds


def _show(taken: dict[str, list[float]]) -> None:
    for name, seconds in taken.items():
        pairs = zip(seconds, taken["floor"], strict=True)
        ratios = [own / base for own, base in pairs]
        figure, budget = statistics.median(ratios), READERS[name][1]
        cells = [name, f"{statistics.median(seconds) * 1e3:.0f}", f"{figure:.2f}"]
        cells += [f"({min(ratios):.2f}..{max(ratios):.2f})"]
        cells += [f"≤ {budget:g}" if budget else "", _verdict(figure, budget)]
        print(_ROW.format(*cells).rstrip(), flush=True)


def _verdict(figure: float, budget: float | None) -> str:
    if budget is None:
        return ""
    return "ok" if figure <= budget else "over"


if __name__ == "__main__":
    sys.exit(main())
