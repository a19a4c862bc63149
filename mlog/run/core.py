"""What every part of a run stands on: who it is, and how it records.

`Run` is put together from parts, one file each; all of them reach the run's files
through the few methods here. A run object is one of three:

- *own*: started by this process; its recorder takes the process's records, too.
- *opened*: a handle on a run that another process writes, or that has ended. It writes
  nothing until it is told something; then it joins the run as a writer of its own.
- *off*: records nothing (`disabled=True`, `MLOG_MODE=off`).
"""

import functools
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from mlog import context
from mlog.errors import MlogError, StrictWarning, told, warn_once
from mlog.plain import safe_str, to_json
from mlog.record import LeanMetric
from mlog.run.joining import visiting
from mlog.run.recorder import Recorder, Silent
from mlog.types import Metrics

if TYPE_CHECKING:
    from mlog.reader.state import RunState

__all__ = ["RunCore", "harmless", "open_runs", "runs_here", "state_of"]

_LOGGER = "mlog"
_LEVEL = 20
_MAX_SHOWN = 80  # characters of a name in a warning
_YEAR_10000 = 253_402_300_800 * 10**9

_Given = ParamSpec("_Given")
_Self = TypeVar("_Self", bound="RunCore")


def harmless(
    method: Callable[Concatenate[_Self, _Given], None],
) -> Callable[Concatenate[_Self, _Given], None]:
    """Make a method of a run warn where it would raise (but with `strict`)."""

    @functools.wraps(method)
    def guarded(run: _Self, /, *args: _Given.args, **kwargs: _Given.kwargs) -> None:
        try:
            method(run, *args, **kwargs)
        except Exception as exc:
            run._failed(method.__name__, exc)

    return cast("Callable[Concatenate[_Self, _Given], None]", guarded)


class RunCore:
    """One execution of a program; see `mlog.run.api.Run` for what can be done with it.

    Attributes:
        id: Identifies the run below its root.
        path: Its folder; None for a run that is off.
        rank: Rank in a distributed job, None when alone.
    """

    id: str
    path: Path | None
    rank: int | None
    parent_path: str | None
    _parent: Any  # the run of `parent_path`, as far as there was an object for it
    _experiment: str
    _name: str
    _recorder: Recorder | None
    _visitor: Recorder | None
    _silent: Silent
    _own: bool
    _lock: "threading.RLock"
    _stale: bool

    @property
    def experiment(self) -> Any:
        """Name of the group of runs this one belongs to."""
        return self._experiment

    @property
    def is_off(self) -> bool:
        """Whether the run records nothing (`disabled=True`, `MLOG_MODE=off`)."""
        return self.path is None

    @property
    def _is_joined(self) -> bool:
        """Whether this process takes part in a run that another one has made."""
        return self._recorder is not None and not self._recorder.writer.place.main

    @property
    def receiver(self) -> context.Receiver:
        """What the tap gives this run's records to."""
        return self._recorder or self._silent

    def _identify(
        self,
        recorder: Recorder | None,
        *,
        run_id: str,
        experiment: str,
        name: str | None,
        path: Path | None,
        parent: str | None,
    ) -> None:
        """Say who the run is; first of all calls."""
        self.id = run_id
        self.path = path
        self.rank = recorder.writer.place.rank if recorder else None
        self.parent_path = parent
        self._parent = None
        self._experiment = experiment
        self._name = name or run_id
        self._recorder = recorder
        self._visitor = None
        self._silent = Silent()
        self._own = recorder is not None or path is None
        self._lock = threading.RLock()
        self._stale = False
        if recorder is not None:
            runs_here[recorder] = self

    def _record(
        self,
        metrics: Metrics,
        step: int | None,
        extra: dict[str, Any] | None,
        time: float | None = None,
    ) -> None:
        """Write one entry to the run alone; no console shows it. Never raises.

        Args:
            metrics: Name to number, text, or typed value of the file format.
            step: Position on the x axis.
            extra: Further fields, kept with the values.
            time: When it was, in seconds since 1970. None: now.
        """
        recorder = self._recorder
        if recorder is None or not recorder.is_open:
            recorder = self._late(False)
            if recorder is None:
                return
        if (
            time is None
            and extra is None
            and recorder.receive_metric(_LOGGER, _LEVEL, metrics, step)
        ):
            return
        try:
            frame = sys._getframe(2)
        except ValueError:  # called by the interpreter itself, by `atexit` for example
            frame = sys._getframe(1)
        code, offset = frame.f_code, frame.f_lasti
        record = LeanMetric(_LOGGER, _LEVEL, metrics, step, extra, code, offset)
        if time is not None:
            record.mlog_time_ns = _nanoseconds(time, record.mlog_time_ns)
        recorder.receive(record, False)

    def _measured(self, metrics: Metrics) -> None:
        """Write metrics that no call of the program's gave. Never raises."""
        recorder = self._recorder
        if recorder is not None and recorder.is_open:
            self._record(metrics, None, None)

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        """Write an event of the run, also where the run has ended. Never raises."""
        recorder = self._recorder
        if recorder is None or not recorder.is_open:
            recorder = self._late(True)
            if recorder is None:
                return
        try:
            recorder.writer.start()
            recorder.writer.event(name, data)
        except OSError as exc:
            recorder.writer.lose(exc.strerror or str(exc), None)
        except BaseException:  # Ctrl-C, or a signal handler that raises
            recorder.interrupted()
            raise
        self._stale = True

    def _late(self, after_end: bool) -> Recorder | None:
        """Return what takes entries of a run this process has not open; None: nobody.

        Args:
            after_end: Whether an own run that has ended may still be written to.
        """
        if self.path is None or (self._own and not after_end and self._has_ended()):
            return None
        visitor = self._visitor
        if visitor is None or not visitor.is_open:
            try:
                visitor = self._visitor = visiting(self.path)
            except (OSError, MlogError) as exc:
                self._failed("the record", exc)
                return None
        return visitor

    def _has_ended(self) -> bool:
        """Whether an own run takes no more entries; says so once."""
        if not self._own or self._recorder is None or self._recorder.is_open:
            return False
        self._warn("ended", f"run {self.id} has ended; nothing is recorded")
        return True

    def _warn(self, cause: str, text: str) -> None:
        """Warn once; raise it in a strict run, also when that has ended."""
        if self._recorder is not None and self._recorder.strict:
            raise StrictWarning(text)
        warn_once(cause, text)

    def _clean(self, value: Any) -> Any:
        """Return a value as it may be written: JSON-ready and without secrets."""
        recorder = self._recorder
        if recorder is None and self.path is not None:
            recorder = self._late(True)
        redactor = recorder.redactor if recorder is not None else None
        ready = to_json(value)
        return redactor.fields(ready) if redactor is not None else ready

    def _need_path(self) -> Path:
        """Return the run's folder.

        Raises:
            MlogError: The run is off and has none.
        """
        if self.path is None:
            raise MlogError(
                f"run {self.id} is off (disabled=True or MLOG_MODE=off) and keeps "
                "nothing; start it without that to store and read"
            )
        return self.path

    def _failed(self, what: str, error: Exception, name: object = None) -> None:
        """Warn that a call could not be carried out; raise it in a strict run.

        Args:
            what: The method.
            error: What went wrong.
            name: Of the metric that the call was about, if it was about one.
        """
        if self._recorder is not None and self._recorder.strict:
            raise error
        try:
            if isinstance(error, StrictWarning):  # another run is strict
                raise error
            kind = type(error).__name__
            why = told(error) if isinstance(error, OSError) else safe_str(error)
            call = what if name is None else f"{what}({_shown(name)})"
            text = f"{call} could not be recorded: {why or kind}"
            warn_once(f"{what} {kind}", text, about=call)
        except Exception as exc:
            if hasattr(exc, "is_strict"):
                raise
            return  # the interpreter is being taken apart, and mlog with it


def _shown(name: object) -> str:
    """Return the name of a metric as it would be written in the call, but not as long."""
    text = repr(name) if type(name) is str else safe_str(name)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _nanoseconds(time: float, now: int) -> int:
    """Return a time of the caller's; `now` where there is no such time to write."""
    try:
        given = int(time * 1e6 + 0.5) * 1_000  # the nearest microsecond, as an int
    except (TypeError, ValueError, OverflowError):
        given = -1
    if 0 <= given < _YEAR_10000:
        return given
    text = f"time must be seconds since 1970, got {safe_str(time)}; it is left out"
    warn_once("time", text)
    return now


runs_here: "weakref.WeakKeyDictionary[context.Receiver, RunCore]"
runs_here = weakref.WeakKeyDictionary()
"""The open runs of this process, by what takes their records."""


def open_runs() -> list[RunCore]:
    """Return the open runs of this process, while other threads start and end some."""
    receivers = [ref() for ref in runs_here.keyrefs()]  # one step: no thread comes in
    found = [runs_here.get(each) for each in receivers if each is not None]
    return [run for run in found if run is not None]


def state_of(folder: Path) -> "RunState":
    """Return what a run's files say now; see `mlog.reader.state.read_state`.

    The readers are loaded when something is first read: a start needs none of them.
    """
    from mlog.reader.state import read_state

    return read_state(folder)
