"""Filters for handlers and runs: by metric name, by rank, and one that adds a span."""

import fnmatch
import logging
import os
import sys
from collections.abc import Callable, Mapping

from mlog.record import metric_of

__all__ = ["MetricFilter", "RankFilter", "SpanFilter"]


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


class SpanFilter(logging.Filter):
    """Adds trace and span id of OpenTelemetry's current span to records; all pass.

    A program that does not load OpenTelemetry pays a look-up. The ids become fields of
    the entry (`extra.trace_id`, `extra.span_id`, in hex), which a sink for OTLP puts
    where backends look for them: `start_run(filters=[mlog.SpanFilter()])`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the ids where a span is open; a caller's own fields stay."""
        trace = sys.modules.get("opentelemetry.trace")
        if trace is None:
            return True
        try:
            span = trace.get_current_span().get_span_context()
            if span.is_valid:
                _set_new(record, "trace_id", f"{span.trace_id:032x}")
                _set_new(record, "span_id", f"{span.span_id:016x}")
                _set_new(record, "trace_flags", int(span.trace_flags))
        except Exception:  # half imported, or another library's span: no id is worth it
            return True
        return True


def _set_new(record: logging.LogRecord, name: str, value: object) -> None:
    if not hasattr(record, name):
        setattr(record, name, value)
