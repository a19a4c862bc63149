"""`AlertHandler`: a handler that tells somebody when a rule holds."""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from mlog import context
from mlog.alerting.actions import Alert, action_of
from mlog.alerting.rules import parse_rule
from mlog.entry import fields_of
from mlog.errors import warn_once
from mlog.redaction import Redactor
from mlog.run.api import Run, current_run

__all__ = ["AlertHandler"]

_WAITING = 100
"""Alerts that wait to be told at most."""

_PATIENCE = 5.0
"""Seconds that the end waits for them."""


class AlertHandler(logging.Handler):
    """Does something when what is recorded fits a rule.

    For `start_run(alerts=[…])`, where it sees all the run records, `run.log` included,
    or anywhere a `logging.Handler` goes. The rule is looked at where the record is made,
    in some microseconds; what is to be done is done on a thread of its own. Each alert
    is a `run.alert` event of the run. Never raises; an action that fails is told by one
    warning, and in the event.
    """

    def __init__(
        self,
        rule: str,
        action: Any,
        *,
        every: float = 300.0,
        level: int | str = logging.NOTSET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Parse rule and action; nothing is started.

        Args:
            rule: `"level>=error"`, `"loss > 5 for 3"`, `"non-finite"`, `"no entry for 10
                minutes"`, `"run ended"` or `"run failed"` (README, "Alerts").
            action: A function of the `Alert`, a command as a list, `"desktop"`, or the
                address of a webhook: `https://…`, `slack+https://…`, `discord+https://…`,
                `teams+https://…`, `ntfy+https://…`.
            every: Seconds within which it is told once; how often more, the next says.
            level: Of records that are looked at.
            clock: Gives seconds that only grow.

        Raises:
            ValueError, TypeError: One of them cannot be understood.
        """
        if not every >= 0:
            raise ValueError(f"every must be seconds >= 0, got {every!r}")
        # `logging` keeps every handler that began, to close it in the end.
        self._rule, self._action = parse_rule(rule), action_of(action)
        super().__init__(level)
        self.rule = rule
        self._every = every
        self._clock = clock
        self._redactor = Redactor()
        self._run: Run | None = None
        self._told: float | None = None
        self._held = 0
        self._waiting: queue.SimpleQueue[tuple[Alert, Run | None]] = queue.SimpleQueue()
        self._untold: list[tuple[Alert, Run | None]] = []
        self._idle = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def attend(self, run: Run) -> None:
        """Be told of the time and the end of a run; called by `start_run`."""
        self._run = run

    # --- what happens --------------------------------------------------------------

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record; the caller goes on at once."""
        try:
            _, entry = fields_of(record, context.scope(), self._redactor)
            self._consider(self._rule.entry(entry, self._clock()))
        except Exception:  # a rule that is not looked at is better than a lost training
            self.handleError(record)

    def keep(self, now: float) -> None:
        """Look at the time; called once a second while a run is open."""
        self._consider(self._rule.time(self._clock()))

    def park(self) -> None:
        """Nothing to do around a fork: a child begins a thread of its own."""

    def close(self) -> None:
        """Tell of the run's end, and wait a little until all is told."""
        self._forget_parent()
        run = self._run
        if run is not None:
            self._run = None
            self._consider(self._rule.end(run.status), run)
        with self._idle:
            self._idle.wait_for(lambda: not self._untold, timeout=_PATIENCE)
            left, self._untold = self._untold, []
        for alert, own in left:
            self._record(alert, own, "not done yet as the run ended")
        super().close()

    # --- alerts --------------------------------------------------------------------

    def _consider(self, why: str | None, run: Run | None = None) -> None:
        """Make an alert where the rule holds, unless there was one just now."""
        if why is None:
            return
        now = self._clock()
        if self._told is not None and now - self._told < self._every:
            self._held += 1
            return
        self._told, held, self._held = now, self._held, 0
        run = run or self._run or current_run()
        named = {"run": run.id, "experiment": str(run.experiment)} if run else {}
        self._tell(Alert(self.rule, why, held=held, **named), run)

    def _tell(self, alert: Alert, run: Run | None) -> None:
        self._forget_parent()
        with self._idle:
            if len(self._untold) >= _WAITING:
                self._held += 1
                return
            self._untold.append((alert, run))
        self._waiting.put((alert, run))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="mlog-alerts", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is exiting
                self._thread = None
                self._do(*self._waiting.get())

    def _forget_parent(self) -> None:
        """Begin anew in a forked child: thread and alerts have stayed behind."""
        if self._pid != os.getpid():
            self._pid, self._thread, self._untold = os.getpid(), None, []
            self._waiting, self._idle = queue.SimpleQueue(), threading.Condition()

    def _work(self) -> None:
        while True:
            self._do(*self._waiting.get())

    def _do(self, alert: Alert, run: Run | None) -> None:
        """Do what is to be done, and have it in the run."""
        error = None
        try:
            self._action.act(alert)
        except Exception as exc:
            error = f"{exc}"[:200] or type(exc).__name__
        if (alert, run) not in self._untold:  # nobody waits any more, and it is told
            return
        self._record(alert, run, error)
        with self._idle:
            if (alert, run) in self._untold:
                self._untold.remove((alert, run))
            self._idle.notify_all()

    def _record(self, alert: Alert, run: Run | None, error: str | None) -> None:
        """Have an alert in its run, and warn of one that could not be told."""
        if error is not None:
            with contextlib.suppress(Exception):  # a strict run raises warnings
                warn_once(f"alert {self.rule}", f"an alert could not be told: {error}")
        if run is not None:
            data = {**alert._asdict(), "action": self._action.kind}
            del data["run"], data["experiment"]
            run._event("run.alert", data if error is None else data | {"error": error})

    def __repr__(self) -> str:
        """Show the rule and the kind of action; an address is a secret."""
        return f"<AlertHandler {self.rule!r} → {self._action.kind}>"
