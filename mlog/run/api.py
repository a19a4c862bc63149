"""`Run`: one execution, as the program that makes it sees it.

Everything a run is told becomes a record or an event of its own files; what is kept in
memory (params, tags) is only what `run.json` repeats for fast listing.
"""

import functools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, cast

import orjson

from mlog import context
from mlog.entry import exception_type, stamp
from mlog.errors import be_strict, warn_once
from mlog.plain import safe_str, to_json
from mlog.record import LeanMetric
from mlog.run import exits
from mlog.run.keeper import keeper
from mlog.run.recorder import Recorder, Silent
from mlog.run.status import failed_writers
from mlog.run.summary import Summary
from mlog.tap import clear_level_caches
from mlog.types import Metrics

__all__ = ["Run", "current_run"]

OFF = "off"
"""What child processes find in `MLOG_RUN` instead of the path of a run that is off."""

_LOGGER = "mlog"
_LEVEL = 20

_Given = ParamSpec("_Given")


def _harmless(
    method: Callable[Concatenate["Run", _Given], None],
) -> Callable[Concatenate["Run", _Given], None]:
    """Make a method warn where it would raise (but with `strict`)."""

    @functools.wraps(method)
    def guarded(run: "Run", *args: _Given.args, **kwargs: _Given.kwargs) -> None:
        try:
            method(run, *args, **kwargs)
        except Exception as exc:
            run._failed(method.__name__, exc)

    return cast("Callable[Concatenate[Run, _Given], None]", guarded)


class Run:
    """One execution of a program: its metrics, params, tags, log lines and events.

    Made by `mlog.start_run`. As a context manager it ends with the block: Completed,
    Failed with the traceback after an exception, Canceled after Ctrl-C. Otherwise it
    ends with the process. Every method is safe from any thread; those that record
    never raise and return when the whole line is with the kernel.

    Attributes:
        id: Identifies the run below its root.
        name: Name for people; the id where none was given.
        experiment: Named group of runs it belongs to.
        path: Its folder.
        rank: Rank in a distributed job, None when alone.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        *,
        run_id: str,
        experiment: str,
        name: str | None = None,
        path: Path | None = None,
        parent: str | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        """Use `start_run`. Without a recorder the run is off: it takes and drops all.

        `earlier` is what `run.json` says of earlier attempts.
        """
        said = _Earlier(earlier or {})
        self.id = run_id
        self.name = name or said.text("display_name") or run_id
        self.experiment = said.text("experiment") or experiment
        self.path = path
        self.parent_path = parent or said.text("parent")
        self.rank = recorder.writer.place.rank if recorder else None
        self._recorder = recorder
        self._silent = Silent()
        self._status = "Running"
        self._params: dict[str, Any] = said.mapping("params")
        self._tags: dict[str, str] = said.mapping("tags")
        self._created = said.text("created") or stamp(time.time_ns() // 1_000)
        self._summary: Summary | None = None
        self._stale = False
        self._env_before: str | None = None
        self._lock = threading.RLock()
        if recorder is not None:
            _runs[recorder] = self

    # --- recording -----------------------------------------------------------------

    def log(
        self, name: str, value: Any, description: str = "", step: int | None = None
    ) -> None:
        """Record one metric value, or a string, in the run only (no console shows it).

        Args:
            name: 1-256 bytes; "/" groups names ("train/loss").
            value: Number, 0-d array or tensor (read by `.item()`, which waits for the
                GPU); NaN and infinities are kept. Strings and lists are kept as such.
            description: A word on it, kept with the value.
            step: Position on the x axis, any order.
        """
        extra = {"description": description} if description else None
        try:
            metrics = {name: value}
        except Exception:  # without a hash it is surely no name
            metrics = {safe_str(name): value}
        self._record(metrics, step, extra)

    def log_metrics(self, metrics: Metrics, step: int | None = None) -> None:
        """Record several metrics as one entry; see `log`."""
        if type(metrics) is not dict and not isinstance(metrics, Mapping):
            text = f"metrics must be a mapping, got {type(metrics).__name__}"
            warn_once("metric", text)
            return
        self._record(metrics, step, None)

    @_harmless
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record inputs of the run. A param is set once: a second value is refused.

        Args:
            params: Name to any value; secrets are redacted like everywhere.
        """
        if not isinstance(params, Mapping):
            text = f"params must be a mapping, got {type(params).__name__}"
            warn_once("params", text)
            return
        if self._has_ended():
            return
        ready = self._clean(dict(params))
        new = {k: v for k, v in ready.items() if k not in self._params}
        for key in ready.keys() - new.keys():
            if ready[key] != self._params[key]:
                text = f"param {key!r} is {self._params[key]!r} already and stays so"
                warn_once(f"param {key}", text)
        if new:
            self._params.update(new)
            self._event("run.params", new)

    @_harmless
    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; a tag may change. Values become strings."""
        if not isinstance(tags, Mapping):
            text = f"tags must be a mapping, got {type(tags).__name__}"
            warn_once("tags", text)
            return
        if self._has_ended():
            return
        ready = self._clean({safe_str(k): safe_str(v) for k, v in tags.items()})
        self._tags.update(ready)
        self._event("run.tags", ready)

    @_harmless
    def tag(self, key: str, value: Any = "") -> None:
        """Set one tag; see `set_tags`."""
        self.set_tags({safe_str(key): value})

    # --- life ----------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Running, Completed, Failed or Canceled, as far as this process knows."""
        return self._status

    @property
    def params(self) -> dict[str, Any]:
        """The params set by this process, as they were recorded."""
        return dict(self._params)

    @property
    def tags(self) -> dict[str, str]:
        """The tags set by this process, as they were recorded."""
        return dict(self._tags)

    @property
    def redacted(self) -> int:
        """How many secrets this process has taken out so far."""
        redactor = self._recorder.redactor if self._recorder is not None else None
        return redactor.count if redactor is not None else 0

    @property
    def is_off(self) -> bool:
        """Whether the run records nothing (`disabled=True`, `MLOG_MODE=off`)."""
        return self.path is None

    def complete(self) -> None:
        """End the run as Completed; a second end does nothing."""
        self.end("Completed")

    def fail(self, error: object = None) -> None:
        """End the run as Failed.

        Args:
            error: An exception, whose traceback is kept, or a text.
        """
        self.end("Failed", error)

    def cancel(self) -> None:
        """End the run as Canceled."""
        self.end("Canceled")

    def flush(self) -> None:
        """Put everything recorded so far on the disk (fsync), as far as it lets us."""
        if self._recorder is not None:
            try:
                self._recorder.writer.sync()
            except OSError as exc:
                warn_once("sync", f"{self.path} could not be synced: {exc}")

    def end(self, status: str, error: object = None, *, at_exit: bool = False) -> None:
        """End this process's part of the run, and the run if it is the main writer's.

        Never raises. A second call does nothing.

        Args:
            status: Completed, Failed or Canceled.
            error: Exception or text.
            at_exit: The process is exiting: entries of destructors and exit handlers
                that still come are kept.
        """
        with self._lock:
            if self._status != "Running":
                return
            self._status = status
        recorder = self._recorder
        try:
            if recorder is not None:
                self._write_end(recorder, error)
        except Exception as exc:  # whatever the disk does, the program goes on
            warn_once("end", f"the end of run {self.id} was not recorded: {exc!r}")
        finally:
            self._leave(recorder, at_exit)

    def interrupted(self) -> None:
        """Note that a call on this run was cut off and will not go on."""
        if self._recorder is not None and self._status == "Running":
            self._recorder.interrupted()

    def __enter__(self) -> Self:
        """Return the run; it is active since `start_run`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the run with the status the block ends with."""
        if error is None:
            self.complete()
        elif _is_cancelled(error):
            self.end("Canceled", error)
        elif isinstance(error, SystemExit) and error.code in (None, 0):
            self.complete()
        else:
            self.fail(error)

    def __repr__(self) -> str:
        """Return experiment, id, status and folder."""
        where = f" in {self.path}" if self.path else ""
        return f"<Run {self.experiment}/{self.id} {self._status}{where}>"

    # --- inside --------------------------------------------------------------------

    def begin(self, facts: Mapping[str, Any], *, announce: bool) -> None:
        """Make the run known: to its files, to the tap, and to the process's end.

        Args:
            facts: What `run.start` says.
            announce: Whether to write `run.start` (the main writer does).
        """
        recorder = self._recorder
        assert recorder is not None
        writer = recorder.writer
        self._summary = Summary(writer.folder.path, writer.made["metrics"])
        if announce:
            writer.start()
            writer.event("run.start", facts)
            self._write_json()
        keeper.watch(writer)
        keeper.watch(self)
        keeper.ensure()
        if recorder.strict:
            be_strict(1)
        context.add_receiver(recorder)
        clear_level_caches()
        exits.hold(self)

    def enter_env(self) -> None:
        """Let child processes find this run (`MLOG_RUN`), and their rank taken."""
        self._env_before = os.environ.get("MLOG_RUN")
        os.environ["MLOG_RUN"] = self.env_value
        if self.rank is not None:
            os.environ["_MLOG_RANK_PID"] = str(os.getpid())
        _exported.append(self)

    def begin_off(self) -> None:
        """Make a run that records nothing active, so that nobody misses one."""
        _runs[self._silent] = self
        context.add_receiver(self._silent)
        exits.hold(self)

    def _leave_env(self) -> None:
        """Undo `enter_env`, also where an inner run outlives this one."""
        if self not in _exported:
            return
        _exported.remove(self)
        for run in _exported:
            if run._env_before == self.env_value:
                run._env_before = self._env_before
        if os.environ.get("MLOG_RUN") == self.env_value:
            _set_env("MLOG_RUN", self._env_before)
        ranked = any(run.rank is not None for run in _exported)
        if not ranked and os.environ.get("_MLOG_RANK_PID") == str(os.getpid()):
            del os.environ["_MLOG_RANK_PID"]

    @property
    def env_value(self) -> str:
        """What `MLOG_RUN` says of this run to child processes: its path, or `off`."""
        return str(self.path) if self.path is not None else OFF

    @property
    def receiver(self) -> context.Receiver:
        """What the tap gives this run's records to."""
        return self._recorder or self._silent

    def keep(self, now: float) -> None:
        """Bring `run.json` and the summary up to date, on the keeper's thread."""
        recorder = self._recorder
        if recorder is None or not recorder.writer.place.main:
            return
        with self._lock:
            self._catch_up(max_bytes=1 << 20)
            if self._stale and self._status == "Running":
                self._write_json()

    def park(self) -> None:
        """Nothing to do around a fork; see `Writer.park`."""

    def _record(
        self, metrics: Metrics, step: int | None, extra: dict[str, Any] | None
    ) -> None:
        recorder = self._recorder
        if recorder is None or self._has_ended():
            return
        if extra is None and recorder.receive_metric(_LOGGER, _LEVEL, metrics, step):
            return
        try:
            frame = sys._getframe(2)
        except ValueError:  # called by the interpreter itself, by `atexit` for example
            frame = sys._getframe(1)
        code, offset = frame.f_code, frame.f_lasti
        record = LeanMetric(_LOGGER, _LEVEL, metrics, step, extra, code, offset)
        recorder.receive(record, False)

    def _failed(self, what: str, error: Exception) -> None:
        """Warn that a call could not be carried out; raise it in a strict run."""
        if self._recorder is not None and self._recorder.strict:
            raise error
        try:
            warn_once(what, f"{what} could not be recorded: {error!r}")
        except Exception:  # the interpreter is being taken apart, and mlog with it
            return

    def _has_ended(self) -> bool:
        """Whether nothing is recorded any more; says so once."""
        if self._recorder is None or self._recorder.is_open:
            return False
        warn_once("ended", f"run {self.id} has ended; nothing is recorded")
        return True

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        recorder = self._recorder
        if recorder is None or not recorder.is_open:
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

    def _write_end(self, recorder: Recorder, error: object) -> None:
        writer = recorder.writer
        recorder.settle()
        writer.find_again()
        if writer.place.main:
            if self._status == "Completed":
                failed = failed_writers(writer.folder.path, writer.name)
                if failed:
                    self._status = "Failed"
                    error = f"failed: {', '.join(failed)}"
            with self._lock:  # the keeper may be at it
                self._catch_up()
            data: dict[str, Any] = {"status": self._status}
            if error is not None:
                data["error"] = self._clean(_error(error))
            if self._summary is not None and self._summary.metrics:
                data["metrics"] = self._summary.metrics
            writer.event("run.end", data)
            with self._lock:
                self._write_json(data)
        writer.end(self._status)

    def _leave(self, recorder: Recorder | None, at_exit: bool) -> None:
        """Undo `begin`: the tap, the environment, the keeper, the exit hooks."""
        exits.release(self)
        keeper.unwatch(self)
        self._leave_env()
        if recorder is None:
            _deactivate(self._silent)
            return
        keeper.unwatch(recorder.writer)
        if recorder.strict:
            be_strict(-1)
        if at_exit:
            return
        _deactivate(recorder)
        recorder.writer.close()

    def _clean(self, value: Any) -> Any:
        """Return a value as it may be written: JSON-ready and without secrets."""
        redactor = self._recorder.redactor if self._recorder is not None else None
        ready = to_json(value)
        return redactor.fields(ready) if redactor is not None else ready

    def _catch_up(self, max_bytes: int | None = None) -> None:
        recorder, summary = self._recorder, self._summary
        if recorder is None or summary is None:
            return
        try:
            summary.catch_up(max_bytes)
        except OSError:  # removed by somebody: a summary is only a convenience
            return

    def _write_json(self, end: Mapping[str, Any] | None = None) -> None:
        """Write `run.json`, from which people read a run fast."""
        self._stale = False
        recorder = self._recorder
        assert recorder is not None
        writer = recorder.writer
        data: dict[str, Any] = {
            "format": 1,
            "run_id": self.id,
            "experiment": self._clean(self.experiment),
            "display_name": self._clean(self.name),
            "status": self._status,
            "attempt": writer.attempt,
            "created": self._created,
            "updated": stamp(time.time_ns() // 1_000),
            "params": self._params,
            "tags": self._tags,
        }
        if self.parent_path:
            data["parent"] = self._clean(self.parent_path)
        if self._summary is not None:
            data["metrics"] = self._summary.metrics
        if end is not None:
            data |= {"ended": data["updated"], **end}
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        try:
            writer.folder.replace("run.json", orjson.dumps(data, option=options))
        except OSError:  # derived: whoever misses it rebuilds it from the events
            self._stale = True


class _Earlier:
    """What `run.json` says of earlier attempts; anything else it holds is not there."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said

    def text(self, key: str) -> str | None:
        value = self._said.get(key)
        return value if isinstance(value, str) else None

    def mapping(self, key: str) -> dict[str, Any]:
        value = self._said.get(key)
        return dict(value) if isinstance(value, dict) else {}


def _error(error: object) -> dict[str, Any]:
    """Return what `run.end` says of an error; nothing the error itself does can fail."""
    if not isinstance(error, BaseException):
        return {"msg": safe_str(error)}
    import traceback

    try:
        lines = traceback.format_exception(error)
    except Exception:  # an exception whose own code fails while it is shown
        lines = traceback.format_tb(error.__traceback__)
    return {
        "type": exception_type(type(error)),
        "msg": safe_str(error),
        "traceback": "".join(lines),
    }


def _is_cancelled(error: BaseException) -> bool:
    """Whether somebody stopped the work, rather than something in it failed."""
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return True
    asyncio = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def _deactivate(receiver: context.Receiver) -> None:
    """Take a receiver out of the tap's sight; its outer run is active again."""
    receiver.is_open = False
    context.remove_receiver(receiver)
    if context.scope().run is receiver:
        context.set_receiver(receiver.outer)
    _runs.pop(receiver, None)  # it would keep itself alive: the run holds its key
    clear_level_caches()


def _after_fork_in_child() -> None:
    """Let go of locks that other threads of the parent may have held."""
    for run in list(_runs.values()):
        run._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _set_env(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


_exported: list[Run] = []
"""Runs that child processes may find by `MLOG_RUN`, in the order they were started."""

_runs: "weakref.WeakKeyDictionary[context.Receiver, Run]" = weakref.WeakKeyDictionary()


def run_of(receiver: context.Receiver | None) -> Run | None:
    """Return the run a receiver belongs to."""
    return _runs.get(receiver) if receiver is not None else None


def current_run() -> Run | None:
    """Return the run that a record made here would belong to, or None."""
    run = run_of(context.active())
    if run is not None:
        return run
    # A `RunHandler` that has not begun its run hands records to the first open one.
    return next(filter(None, map(run_of, context.receivers())), None)
