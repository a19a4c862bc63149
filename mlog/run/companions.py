"""What goes along with a run and logs to it: sensors, the console, alerts.

Chosen and checked before there is a run, and brought to it when it has begun. What is
not asked for is not loaded.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from mlog.run.life import LifeMethods
from mlog.run.recorder import Recorder

__all__ = ["Companions"]


class Companions:
    """The companions that `start_run` was asked for."""

    def __init__(
        self,
        system: bool | float,
        capture: bool | str | Iterable[str] | None,
        alerts: Iterable[Any],
    ) -> None:
        """Check the arguments of `start_run`.

        Raises:
            ValueError, TypeError: One of them is wrong.
        """
        self._interval: float | None = None
        self._kinds: frozenset[str] = frozenset()
        self._alerts = list(alerts)
        if system is not False:
            from mlog.run.system import interval_of

            self._interval = interval_of(system)
        if capture:
            from mlog.run.console import kinds_of

            self._kinds = kinds_of(capture)
        for alert in self._alerts:
            _check_alert(alert)

    @property
    def filters(self) -> list[Callable[[logging.LogRecord], bool]]:
        """What has the alerts look at each record, and lets all pass."""
        return [partial(_hear, alert) for alert in self._alerts]

    def join(self, run: LifeMethods, recorder: Recorder, *, of_machine: bool) -> None:
        """Bring them to a run that has begun.

        Args:
            run: The run.
            recorder: What takes its records.
            of_machine: Whether this process is the one of its machine that tells of it.
        """
        if self._interval is not None and of_machine:
            from mlog.run.system import SystemWatch, sensors

            find = partial(sensors, str(run.path))
            run.accompany(SystemWatch(run._measured, self._interval, find))
        for alert in self._alerts:
            alert.attend(run)
            run.accompany(alert)
        if self._kinds:
            from mlog.run.console import Console

            console = Console(recorder, self._kinds)
            run.accompany(console)
            console.begin()


def _check_alert(alert: Any) -> None:
    """Refuse what is no `AlertHandler` or something like it."""
    if not all(callable(getattr(alert, name, None)) for name in ("handle", "attend")):
        raise TypeError(f"alerts must be mlog.AlertHandler objects, got {alert!r}")


def _hear(alert: Any, record: logging.LogRecord) -> bool:
    if record.levelno >= alert.level:
        alert.handle(record)
    return True
