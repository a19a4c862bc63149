"""Filters for handlers and runs: by metric name, and by rank."""

import fnmatch
import logging
import os
from collections.abc import Callable, Mapping

from mlog.record import metric_of

__all__ = ["MetricFilter", "RankFilter"]


class MetricFilter(logging.Filter):
    """Lets records with metrics of certain names pass; safe from any thread.

    `MetricFilter()` on a file handler keeps all metrics and no lines;
    `MetricFilter(invert=True)` on a console handler hides metrics.
    """

    def __init__(self, names: str = "*", invert: bool = False) -> None:
        """Read the patterns.

        Args:
            names: Shell patterns separated by commas or blanks: "train/*, val/loss".
            invert: Whether to let everything else pass instead.
        """
        super().__init__()
        self._patterns = names.replace(",", " ").split()
        self._invert = invert

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a metric of the record fits (or, inverted, none does)."""
        metric = metric_of(record)
        fits = metric is not None and any(
            fnmatch.fnmatchcase(str(name), pattern)
            for name in metric
            for pattern in self._patterns
        )
        return fits is not self._invert


class RankFilter(logging.Filter):
    """Lets records of certain ranks of a distributed job pass; others are held back.

    A process that is no rank passes. Source of the variables: torchrun's and Slurm's
    documentation; see `mlog.run.identity`.
    """

    def __init__(
        self,
        *ranks: int,
        level: int = logging.CRITICAL + 1,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the ranks.

        Args:
            *ranks: Ranks that pass; none given: rank 0.
            level: From this level on records of all ranks pass.
            env: Where `RANK` or `SLURM_PROCID` is read; default: the environment.
        """
        super().__init__()
        self._ranks = frozenset(ranks or (0,))
        self._level = level
        self._rank: Callable[[], int | None] = lambda: _rank(
            os.environ if env is None else env
        )

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this process's rank is one of the chosen."""
        if record.levelno >= self._level:
            return True
        rank = self._rank()
        return rank is None or rank in self._ranks


def _rank(env: Mapping[str, str]) -> int | None:
    for name in ("RANK", "SLURM_PROCID"):
        text = env.get(name, "")
        if text.isdecimal():
            return int(text)
    return None
