"""How far the clocks of a run's machines are apart.

Ranks of a training take each step together. The times at which two of them logged the
same steps differ by what their clocks differ, but for some milliseconds; the median of
the differences is the estimate. Without steps in common only this is known: a process
joins a run after the run has started, so a clock by which it came earlier is behind.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mlog.reader.sources import Source
from mlog.reader.times import seconds_of

__all__ = ["Skew", "clock_of", "estimate"]

Steps = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Skew:
    """How far the clock of a machine is ahead of that of the run's main process.

    Attributes:
        host: The machine.
        seconds: To be taken from its times; less than 0: it is behind.
        spread: Half of the differences are nearer than this to their median; None
            where the estimate does not come from steps.
        steps: How many steps it comes from; 0: from the start alone, or from nothing.
        is_known: Whether there is an estimate at all; `seconds` is 0 without.
    """

    host: str
    seconds: float
    spread: float | None
    steps: int
    is_known: bool

    def __str__(self) -> str:
        """Say it in one line."""
        if not self.is_known:
            return f"the clock of {self.host} is not compared: no steps in common"
        way = "ahead" if self.seconds >= 0 else "behind"
        far = f"{abs(self.seconds):.3f} s {way}"
        if self.spread is None:
            return f"the clock of {self.host} is at least {far}, from its start"
        count = f"{self.steps} equal step{'s'[: self.steps != 1]}"
        return f"the clock of {self.host} is {far} (±{self.spread:.3f} s, from {count})"


def clock_of(source: Source) -> str:
    """Return what tells the clock of a process from others."""
    return source.boot or source.host


def estimate(
    main: Source, writers: Sequence[Source], steps: Mapping[str, Steps]
) -> dict[str, Skew]:
    """Estimate the clocks that are not the main process's.

    Args:
        main: The process whose clock the others are compared with.
        writers: All processes.
        steps: Times of some steps, in seconds, by the names of writers.

    Returns:
        By `clock_of`.
    """
    groups: dict[str, list[Source]] = defaultdict(list)
    for writer in writers:
        groups[clock_of(writer)].append(writer)
    own = groups.pop(clock_of(main), [])
    known = _earliest(own, steps)
    return {
        clock: _skew(others, _differences(known, others, steps), main)
        for clock, others in groups.items()
    }


def _earliest(writers: Iterable[Source], steps: Mapping[str, Steps]) -> Steps:
    """Return when a machine logged each step first."""
    found: dict[int, float] = {}
    for writer in writers:
        for step, seconds in steps.get(writer.writer, {}).items():
            found[step] = min(seconds, found.get(step, seconds))
    return found


def _differences(
    known: Steps, others: list[Source], steps: Mapping[str, Steps]
) -> list[float]:
    theirs = _earliest(others, steps)
    return [theirs[step] - known[step] for step in theirs.keys() & known.keys()]


def _skew(writers: list[Source], differences: list[float], main: Source) -> Skew:
    host = writers[0].host or "another machine"
    if differences:
        middle = median(differences)
        spread = median(abs(one - middle) for one in differences)
        return Skew(host, middle, spread, len(differences), True)
    begin = seconds_of(main.since)
    starts = [seconds_of(writer.since) for writer in writers]
    earliest = min((start for start in starts if start is not None), default=None)
    if begin is not None and earliest is not None and earliest < begin:
        return Skew(host, earliest - begin, None, 0, True)
    return Skew(host, 0.0, None, 0, False)
