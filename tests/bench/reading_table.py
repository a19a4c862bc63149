"""Timing for the reading bench, and the table of its figures."""

import gc
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ROW = "{:<44}{:>11}  {:<18}{:<12}{}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a part of the bench needs to know.

    Attributes:
        root: Folder for what it writes; empty.
        quick: Whether small runs will do.
    """

    root: Path
    quick: bool

    @property
    def repetitions(self) -> int:
        """How often things are measured."""
        return 2 if self.quick else 5

    def number(self, full: int, quick: int) -> int:
        """Return a size."""
        return quick if self.quick else full


@dataclass(slots=True)
class Table:
    """Prints figures as they come."""

    title: str
    figures: dict[str, float] = field(default_factory=dict)

    def head(self, text: str) -> None:
        """Print what the next rows are about, and forget the figures before."""
        self.figures = {}
        print(f"\n{self.title}: {text}")

    def row(
        self,
        name: str,
        value: float,
        *,
        unit: str = "ms",
        aim: float | None = None,
        of: str | None = None,
        least: bool = False,
    ) -> None:
        """Print a figure.

        Args:
            name: What was measured.
            value: In the unit; seconds where that is ms.
            aim: The most it should be (or the least, with `least`): a multiple of the
                row `of`, else in the unit.
            of: Row it is shown as a multiple of.
        """
        self.figures[name] = value
        shown = value * 1e3 if unit == "ms" else value
        digits = 2 if shown < 10 else 0
        ratio = value / self.figures[of] if of else shown
        share = f"{ratio:.2f} x {of}" if of else ""
        bound, verdict = "", ""
        if aim is not None:
            bound = f"{'≥' if least else '≤'} {aim:,g}{'' if of else f' {unit}'}"
            met = ratio >= aim if least else ratio <= aim
            verdict = "ok" if met else "over" if not least else "under"
        cells = (name, f"{shown:,.{digits}f} {unit}", share, bound, verdict)
        print(_ROW.format(*cells).rstrip(), flush=True)


def processor_seconds() -> float:
    """Return the processor time of this process and of those it has waited for."""
    each = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in each)


def timed(
    repetitions: int, calls: Mapping[str, Callable[[], object]]
) -> dict[str, float]:
    """Return the median processor seconds of calls that take turns.

    The first turn is lost: it loads modules, and files into memory.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            gc.collect()
            begin = processor_seconds()
            found = call()
            seconds = processor_seconds() - begin
            del found  # not within the time
            if repetition:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def command(*arguments: str) -> list[str]:
    """Return the command line of `mlog`."""
    return [sys.executable, "-P", "-m", "mlog", *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which modules are compiled once."""
    names = ("PYTHONDONTWRITEBYTECODE", "MLOG_RUN", "MLOG_DIR")
    return {name: text for name, text in os.environ.items() if name not in names}


def run_quietly(line: Sequence[str]) -> None:
    """Run a command to its end; its output is thrown away."""
    subprocess.run(
        line, check=True, env=environment(), stdout=subprocess.DEVNULL, stderr=-3
    )


_PEAK = """\
import sys
from mlog.cli import main
sys.argv[0] = "mlog"
try:
    main()
except SystemExit:
    pass
with open("/proc/self/status") as file:
    (peak,) = (line.split()[1] for line in file if line.startswith("VmHWM"))
print(peak, file=sys.stderr)
"""


def peak_megabytes(*arguments: str) -> float:
    """Return the most memory that an `mlog` command has taken."""
    line = [sys.executable, "-P", "-c", _PEAK, *arguments]
    done = subprocess.run(
        line,
        check=True,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return int(done.stderr.split()[-1]) / 1024
