"""A trial while it runs: what it logs of the metric, and whether it is still there."""

import re
from collections.abc import Callable

from mlog.errors import RunNotFoundError
from mlog.launch.sweep_plan import Plan
from mlog.launch.sweep_stop import Series
from mlog.launch.sweep_trials import Trial
from mlog.reader.follow import Follower
from mlog.reader.state import RunState, read_state
from mlog.types import Stream

__all__ = ["Watched"]

_PATIENCE = 2.0
"""Seconds without an entry after which it is looked whether a trial is still there."""

_HIGHER_RANK = re.compile(r"r[1-9][0-9]*(-.*)?")
_ALL: tuple[Stream, ...] = ("events", "metrics")
_EVENTS: tuple[Stream, ...] = ("events",)


class Watched:
    """A trial that has not ended, and what it has logged of the metric.

    Attributes:
        trial: It.
        series: Values of the metric.
        new: How many of them no rule has judged yet.
        stop: Why it is to end; "" while it is not.
        stop_again: Whether it is to be run anew when the sweep is gone on with.
        is_asked: Whether it was asked to.
        is_again: Whether it was to be run anew when a former conductor ended it.
    """

    def __init__(self, trial: Trial, plan: Plan, clock: Callable[[], float]) -> None:
        """Watch a trial that has a run, or will have in a moment."""
        assert trial.path is not None
        self.trial = trial
        self.series = Series(minimize=plan.minimize)
        self.new = 0
        self.stop = ""
        self.stop_again = False
        self.is_asked = self.is_again = False
        self._path = trial.path
        self._metric = plan.metric
        self._clock = clock
        self._began = self._looked = clock()
        self._is_missing = False
        streams = _ALL if plan.metric is not None else _EVENTS
        self._follower = Follower(self._path, streams)

    @property
    def elapsed(self) -> float:
        """Seconds since it is watched."""
        return self._clock() - self._began

    def look(self) -> RunState | None:
        """Read what is new; return the run's state if it has ended or is gone."""
        try:
            news = self._read()
            if self._follower.has_ended:
                self._read()  # what others wrote just before the end
                return read_state(self._path)
        except (OSError, RunNotFoundError):
            news = False
        now = self._clock()
        if news:
            self._looked, self._is_missing = now, False
        elif now - self._looked >= _PATIENCE:
            self._looked = now
            return self._is_gone()
        return None

    def _is_gone(self) -> RunState | None:
        """Return the state of a run that nobody writes any more, at the second look."""
        try:
            state = read_state(self._path)
        except (OSError, RunNotFoundError):  # removed by somebody
            state = RunState(self._path, self._path.name)
        was, self._is_missing = self._is_missing, state.status == "NotResponding"
        return state if was and self._is_missing else None

    def _read(self) -> bool:
        news = False
        for found in self._follower.poll():
            news = True
            segment = found.segment
            if segment.stream == "metrics" and not _HIGHER_RANK.fullmatch(
                segment.writer
            ):
                self._take(found.entry.get("metric"))
        return news

    def _take(self, metrics: object) -> None:
        value = metrics.get(self._metric) if isinstance(metrics, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            return  # NaN and the infinities are texts
        self.series.add(value)
        self.new += 1
        self.trial.value = self.series.bests[-1]
