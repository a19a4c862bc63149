"""The conductor of a sweep: it submits trials, watches them, and ends its own run.

Trials are submitted scripts with a supervisor each, so that they go on when the
conductor is killed; one that goes on with the sweep finds them by the ids that were
written down before (see `mlog.launch.sweep_trials`).
"""

import collections
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mlog.entry import stamp
from mlog.errors import MlogError, RunNotFoundError
from mlog.launch.submit import submit
from mlog.launch.sweep_domains import text_of
from mlog.launch.sweep_plan import Plan, bare, title_of
from mlog.launch.sweep_sampling import Bayesian
from mlog.launch.sweep_signals import Signals
from mlog.launch.sweep_stop import Series
from mlog.launch.sweep_trials import Told, Trial, best_of, fill
from mlog.launch.sweep_watched import Watched
from mlog.layout import new_run_id, run_folder
from mlog.reader.series import read_history
from mlog.reader.state import RunState, read_state
from mlog.run.api import Run
from mlog.run.family import handle
from mlog.run.launched import CANCEL, NOTES, cancel_reason, request_cancel
from mlog.run.recorder import Recorder

__all__ = ["Conductor", "Onlooker", "line_of"]

_TICK = 0.05
_COMING = 1.0
"""Seconds in which a run appears whose supervisor has been started."""


class Onlooker(Protocol):
    """Is told how a sweep goes, in the thread that conducts it."""

    def ended(self, trial: Trial) -> None:
        """Take note that a trial has ended."""

    def noted(self, text: str) -> None:
        """Take note that something is odd."""

    def tick(self) -> None:
        """Look at the sweep, several times a second."""


class Conductor:
    """Brings the trials of one sweep to their end. For one thread.

    Attributes:
        run: The sweep's run, open.
        plan: What is to be done.
        trials: All that have begun, by number.
        running: Those that have not ended.
        over: Those that have, in the order in which they did.
        best: The best of them so far.
        stopping: Why no more trials are begun; "" while they are.
        onlooker: Is told how it goes.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        told: Mapping[int, Told],
        signals: Signals,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a sweep, or go on with one.

        Args:
            run: See the attributes.
            plan: See the attributes.
            told: What was done before.
            signals: Whether this process is to end.
            sleep, clock: Seconds; for tests.
        """
        assert run.path is not None
        self.run = run
        self.plan = plan
        self.trials: dict[int, Trial] = {}
        self.running: list[Watched] = []
        self.over: list[Trial] = []
        self.best: Trial | None = None
        self.onlooker: Onlooker | None = None
        self.stopping = ""
        self._root = run.path.parent.parent
        self._told = dict(told)
        self._signals = signals
        self._sleep = sleep
        self._clock = clock
        self._ended: dict[int, Series] = {}
        self._waiting: collections.deque[int] = collections.deque()
        self._began = clock()
        self._warned = False
        self._ended_early = 0

    # --- what there is to see ------------------------------------------------------

    @property
    def count(self) -> int:
        """How many trials there are in all."""
        return self.plan.sampling.count

    @property
    def left(self) -> int:
        """How many trials have not ended, or are to be run anew."""
        return self.count - len(self.over) + self._ended_early

    # --- conducting ----------------------------------------------------------------

    def conduct(self) -> None:
        """Do all that is left, and end the run.

        Raises:
            KeyboardInterrupt: This process was told to end twice.
        """
        try:
            self._take_up()
            while self.running or (self._waiting and not self.stopping):
                self._look_for_stop()
                self._begin_some()
                self._watch()
                if self.onlooker is not None:
                    self.onlooker.tick()
                if self.running:
                    self._sleep(_TICK)
            self._finish()
        except KeyboardInterrupt:
            self.run.end("Canceled", self.stopping or "interrupted")
            raise
        except BaseException as exc:
            self._stop_all("the sweep has failed")
            self.run.end("Failed", exc)
            raise

    def _take_up(self) -> None:
        """Go on where the sweep was: trials that have ended count, others are found."""
        lost: list[Trial] = []
        for number in range(1, self.count + 1):
            told = self._told.get(number)
            if told is None:
                self._waiting.append(number)
                continue
            trial = Trial(number, self._params(number, told))
            self._place(trial, told.run_id)
            if told.is_over:
                fill(trial, told.end)
                self.trials[number] = trial
                self._count(trial)
                self._remember(trial)
            elif not self._take_up_unfinished(trial, told):
                lost.append(trial)
        if lost:
            self._sleep(_COMING)  # one that is only just beginning seems lost, too
        for trial in lost:
            self._take_up_unfinished(trial, self._told[trial.number], is_last=True)

    def _take_up_unfinished(
        self, trial: Trial, told: Told, *, is_last: bool = False
    ) -> bool:
        """Watch a trial that goes on, note one that has ended, or run it anew.

        Args:
            trial: It.
            told: What was done before.
            is_last: Whether one that nobody seems to watch is lost.

        Returns:
            False: nobody seems to watch it; to be called again, a little later.
        """
        assert trial.path is not None
        try:
            state = read_state(trial.path)
        except (RunNotFoundError, OSError):
            self._waiting.append(trial.number)  # under its old id: see `_begin`
            return True
        is_lost = state.status == "NotResponding"
        if is_lost and not is_last:
            return False
        if is_lost or (told.is_again and state.status == "Canceled"):
            self._run_anew(trial, state)
            return True
        watched = self._watch_from_now(trial)
        watched.is_again = told.is_again
        watched.stop = str(told.stop.get("why", ""))
        return True

    def _run_anew(self, trial: Trial, state: RunState) -> None:
        """Run a trial again as another run; end the one that nobody watches."""
        if state.status == "NotResponding":
            handle(Run, state.folder).end(
                "Canceled", f"nobody watched it; trial {trial.number} is run anew"
            )
        self._told.pop(trial.number, None)
        self._waiting.append(trial.number)

    def _params(self, number: int, told: Told | None = None) -> dict[str, Any]:
        """Return the params of a trial: those it had, where they may be different."""
        sampling, minimize = self.plan.sampling, self.plan.minimize
        past: list[tuple[dict[str, Any], float | None]] = []
        if isinstance(sampling, Bayesian):
            if told is not None:
                return told.params
            past = [(trial.params, trial.value) for trial in self.over]
        return sampling.params(number - 1, past, minimize=minimize)

    def _place(self, trial: Trial, run_id: str) -> Path:
        trial.run_id = run_id
        trial.path = run_folder(self._root, self.run._experiment, run_id)
        return trial.path

    # --- beginning -----------------------------------------------------------------

    def _begin_some(self) -> None:
        while self._waiting and len(self.running) < self.plan.jobs:
            self._look_for_stop()
            if self.stopping:
                return
            self._begin(self._waiting.popleft())

    def _begin(self, number: int) -> None:
        """Submit a trial; under the id it was given before, if it was."""
        told = self._told.get(number)
        trial = Trial(number, self._params(number, told))
        run_id = told.run_id if told else new_run_id(time.time(), os.urandom(3))
        folder = self._place(trial, run_id)
        if told is not None and not told.end and self._is_coming(folder):
            self._watch_from_now(trial)
            return
        said = {"number": number, "run": run_id, "params": trial.params}
        self.run._event("run.trial", said)
        self.trials[number] = trial
        try:
            submitted = submit(
                self.plan.config_for(trial.params),
                experiment=self.run._experiment,
                root=self._root,
                name=title_of(trial.params),
                params={bare(name): value for name, value in trial.params.items()},
                tags=self.plan.tags,
                parent=self.run,
                run_id=run_id,
                variables=self.plan.variables_for(trial.params),
            )
        except (MlogError, OSError, ValueError, TypeError) as exc:
            if not _is_there(folder):  # else another process was faster
                trial.run_id, trial.path = "", None
                self._end(trial, "Failed", str(exc))
                return
        else:
            trial.path = submitted.folder  # another one, where the root refuses
        self._watch_from_now(trial)

    def _is_coming(self, folder: Path) -> bool:
        """Whether a run appears that was submitted when the sweep was killed."""
        end = self._clock() + _COMING
        while not _is_there(folder):
            if self._clock() >= end:
                return False
            self._sleep(_TICK)
        return True

    def _watch_from_now(self, trial: Trial) -> Watched:
        trial.status = "Running"
        self.trials[trial.number] = trial
        watched = Watched(trial, self.plan, self._clock)
        self.running.append(watched)
        return watched

    # --- watching ------------------------------------------------------------------

    def _watch(self) -> None:
        """See what is new of the trials; end those that a rule wants ended."""
        for watched in list(self.running):
            state = watched.look()
            if state is not None:
                self.running.remove(watched)
                self._conclude(watched, state)
            elif watched.stop:
                self._ask(watched)
            elif self.plan.rule is not None and watched.new:
                self._judge(watched)

    def _judge(self, watched: Watched) -> None:
        rule = self.plan.rule
        assert rule is not None
        number = watched.trial.number
        others = [other.series for other in self.running if other is not watched]
        others += [series for n, series in self._ended.items() if n != number]
        new, watched.new = watched.new, 0
        why = rule.judge(watched.series, others, new, minimize=self.plan.minimize)
        if why is not None:
            self._stop(watched, why, again=False)

    def _stop(self, watched: Watched, why: str, *, again: bool) -> None:
        """Have a trial ended; its run becomes Canceled, with the reason."""
        said = {"number": watched.trial.number, "why": why, "again": again}
        self.run._event("run.trial_stop", said)
        watched.stop, watched.stop_again = why, again
        self._ask(watched)

    def _ask(self, watched: Watched) -> None:
        """Ask a trial to end; where it is only just beginning, again at the next look."""
        path = watched.trial.path
        if path is None or watched.is_asked:
            return
        try:
            watched.is_asked = request_cancel(path, watched.stop)
        except (MlogError, OSError):  # it has no files yet, or they were removed
            return

    def _conclude(self, watched: Watched, state: RunState) -> None:
        """Take note of how a trial has ended."""
        trial, metric = watched.trial, self.plan.metric
        if watched.is_again and state.status == "Canceled":
            del self.trials[trial.number]
            self._run_anew(trial, state)
            return
        trial.seconds = state.duration
        if metric is not None:
            trial.value = _best(state.metrics.get(metric), self.plan.minimize)
        self._ended[trial.number] = watched.series
        self._ended_early += watched.stop_again and state.status == "Canceled"
        self._end(trial, state.status, _why(state))
        has_none = state.status == "Completed" and trial.value is None
        if metric is not None and has_none and not self._warned:
            self._warned = True
            logged = _logged(state.metrics)
            self._note(f"trial {trial.number} has logged no {metric!r}; {logged}")

    def _end(self, trial: Trial, status: str, why: str) -> None:
        """Write down the end of a trial."""
        trial.status, trial.why = status, why
        said = {
            "number": trial.number,
            "run": trial.run_id,
            "status": status,
            "value": trial.value,
            "seconds": trial.seconds,
            "why": why,
        }
        self.run._event("run.trial_end", {k: v for k, v in said.items() if v or v == 0})
        self._say(line_of(trial, self.plan.metric))
        self._count(trial)
        if self.best is trial:
            name = f"best/{self.plan.metric}"
            self.run.log(name, trial.value, step=len(self.over))
        if self.onlooker is not None:
            self.onlooker.ended(trial)

    def _count(self, trial: Trial) -> None:
        """Count a trial among those that have ended."""
        self.over.append(trial)
        known = [self.best] if self.best is not None else []
        both = sorted([*known, trial], key=lambda trial: trial.number)
        self.best = best_of(both, minimize=self.plan.minimize)

    def _remember(self, trial: Trial) -> None:
        """Have the values of a trial that ended before, for the rule."""
        metric = self.plan.metric
        if self.plan.rule is None or metric is None or trial.path is None:
            return
        try:
            values = read_history(trial.path, metric).values
        except (MlogError, OSError):  # removed
            return
        numbers = (v for v in values if isinstance(v, int | float) and math.isfinite(v))
        self._ended[trial.number] = Series(numbers, minimize=self.plan.minimize)

    # --- ending --------------------------------------------------------------------

    def _look_for_stop(self) -> None:
        """End the trials if somebody wants the sweep ended, or its time is over."""
        if self.stopping:
            return
        path, seconds = self.run.path, self.plan.seconds
        assert path is not None
        if self._signals.number is not None:
            why = self._signals.name
        elif os.path.lexists(path / CANCEL):
            why = cancel_reason(path) or "cancelled on request"
        elif seconds is not None and self._clock() - self._began >= seconds:
            why = f"the sweep ran longer than {seconds:g} s"
        else:
            return
        self.stopping = why
        self._stop_all(why)

    def _stop_all(self, why: str) -> None:
        """Have all trials ended, to be run anew when the sweep is gone on with."""
        for watched in self.running:
            if not watched.stop:
                self._stop(watched, why, again=True)

    def _finish(self) -> None:
        """Sum up, and end the run."""
        over, best = self.over, self.best
        said: dict[str, Any] = {"trials": self.count}
        said |= collections.Counter(trial.status for trial in over)
        if best is not None:
            said["best"] = {
                "number": best.number,
                "run": best.run_id,
                "value": best.value,
                "params": best.params,
            }
            self.run.set_tags({"best_run": best.run_id})
        self.run._event("run.sweep", said)
        if self.stopping:
            self.run.end("Canceled", self.stopping)
        elif over and all(trial.has_failed for trial in over):
            last = over[-1].why
            self.run.end("Failed", {"msg": f"all trials have failed; the last: {last}"})
        else:
            self.run.end("Completed")

    def _note(self, text: str) -> None:
        """Say that something is odd."""
        self._say(text, "WARNING")
        if self.onlooker is not None:
            self.onlooker.noted(text)

    def _say(self, text: str, level: str = "INFO") -> None:
        """Write a line into the sweep's run, for `mlog tail` and whoever waits."""
        recorder = self.run.receiver
        if not isinstance(recorder, Recorder):
            return
        redactor = recorder.redactor
        entry = {
            "ts": stamp(time.time_ns() // 1_000),
            "seq": 0,
            "level": level,
            "logger": NOTES,
            "msg": redactor.text(text) if redactor is not None else text,
        }
        try:
            recorder.writer.write("logs", entry)
        except OSError as exc:
            recorder.writer.lose(exc.strerror or str(exc), None)


def line_of(trial: Trial, metric: str | None) -> str:
    """Return a line that tells how a trial has ended."""
    text = f"trial {trial.number} {trial.status}: {title_of(trial.params)}"
    if metric is not None and trial.value is not None:
        text += f"; {metric} {text_of(trial.value)}"
    return f"{text}; {trial.why.splitlines()[0]}" if trial.why else text


def _is_there(folder: Path) -> bool:
    try:
        read_state(folder)
    except (RunNotFoundError, OSError):
        return False
    return True


def _best(said: Mapping[str, Any] | None, minimize: bool) -> float | None:
    """Return the best finite value that a summary of a metric tells of."""
    value = (said or {}).get("min" if minimize else "max")
    return value if isinstance(value, int | float) else None


def _why(state: RunState) -> str:
    if state.status == "Completed":
        return ""
    if state.status == "NotResponding":
        return "the process that watched it is gone"
    return str((state.error or {}).get("msg") or "it says not why")


def _logged(metrics: Mapping[str, Any]) -> str:
    names = sorted(metrics)
    if not names:
        return "it has logged no metric at all"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"it has logged {', '.join(names[:5])}{more}"
