"""How a run begins and ends, and what the process notices of it.

The main writer of a run (the process that made it) writes `run.start` and `run.end`,
and keeps `run.json`, which repeats for people and for fast listing what the events say.
"""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from mlog import context
from mlog.entry import exception_type
from mlog.errors import MlogError, be_strict, warn_once
from mlog.plain import cut_text, safe_str
from mlog.run import exits
from mlog.run.capture import Capture
from mlog.run.cells import remember
from mlog.run.core import open_runs, runs_here
from mlog.run.document import write_document, write_first_document
from mlog.run.facts import FactMethods
from mlog.run.files import FileMethods
from mlog.run.joining import end_joined, open_run_folder
from mlog.run.keeper import Kept, keeper
from mlog.run.launched import request_cancel
from mlog.run.recorder import Recorder
from mlog.run.remote import Remote, finish_remotes, start_remotes
from mlog.run.status import fate_of_ranks
from mlog.run.summary import Summary
from mlog.tap import clear_level_caches

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
    from mlog.reader.state import RunState

__all__ = ["OFF", "Companion", "LifeMethods"]

OFF = "off"
"""What child processes find in `MLOG_RUN` instead of the path of a run that is off."""

_MAX_ERROR = 200_000  # characters of what ended a run, and of its traceback
_METRICS_EVERY = 5.0
"""Seconds after which `run.json` is written anew where only metrics have come."""


class Companion(Kept, Protocol):
    """Something that logs to a run beside the program: its console, sensors, rules."""

    def close(self) -> None:
        """Come to an end, while the run still takes entries. May raise."""


class LifeMethods(FileMethods, FactMethods):
    """Status and end of a run."""

    _companions: list[Companion]

    _status: str
    _summary: Summary | None
    _capture: Capture | None
    _env_before: str | None
    _has_grown: bool = False
    _is_new: bool
    _written: float = 0.0
    outputs: tuple[str, ...]
    """Folders whose files become artifacts when the run ends."""

    _cwd: Path
    remotes: tuple[str, ...] = ()
    """URLs of the sinks that the run is sent to while it goes on."""

    _shippers: tuple[Remote, ...] = ()

    @classmethod
    def made(
        cls,
        recorder: Recorder | None,
        *,
        run_id: str,
        experiment: str,
        name: str | None = None,
        path: Path | None = None,
        parent: str | None = None,
        said: "RunState | None" = None,
    ) -> Self:
        """Make the object of a run; `start_run` and `open_run` make the run itself.

        Args:
            recorder: Takes what it records. None: it is off (without a path), or
                somebody else's.
            run_id, experiment, name, path, parent: See the attributes.
            said: What its files said of it before.
        """
        run = cls.__new__(cls)
        if said is not None:
            experiment, parent = said.experiment or experiment, parent or said.parent
        run._identify(
            recorder,
            run_id=run_id,
            experiment=experiment,
            name=name,
            path=path,
            parent=parent,
        )
        run._remember(said, name)
        run._is_new = said is None
        run._status = "Running"
        run._summary = run._capture = run._env_before = None
        run.outputs = ()
        run._companions = []
        if run._own:
            remember(run)
        return run

    # --- life ----------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Status word: of an own run as this process knows it, else as the files say."""
        return self._status if self._own else self._state().status

    @property
    def redacted(self) -> int:
        """How many secrets this process has taken out so far."""
        redactor = self._recorder.redactor if self._recorder is not None else None
        return redactor.count if redactor is not None else 0

    def start(self) -> None:
        """Do nothing: a run is started when it is made. For scripts that call it."""

    def complete(self, _set_status: bool = True) -> None:
        """End the run as Completed; a second end does nothing.

        Args:
            _set_status: False: only put what was recorded on the disk.
        """
        if _set_status:
            self.end("Completed")
        else:
            self.flush()

    def fail(
        self,
        error_details: object = None,
        error_code: str | None = None,
        _set_status: bool = True,
    ) -> None:
        """End the run as Failed.

        Args:
            error_details: An exception, whose traceback is kept, or a text.
            error_code: A word for the kind of error, kept with it.
            _set_status: False: only put what was recorded on the disk.
        """
        if not _set_status:
            self.flush()
            return
        self._check_end("Failed")
        if error_code is None:
            self.end("Failed", error_details)
        else:
            self.end("Failed", _error(error_details) | {"code": safe_str(error_code)})

    def cancel(self) -> None:
        """End the run as Canceled; have a submitted script stopped, wherever it runs."""
        self._check_end("Canceled")
        if self._own or self.path is None or not request_cancel(self.path):
            self.end("Canceled")

    def _check_end(self, status: str) -> None:
        """Warn of an end that comes after another one, which stays."""
        if self._own and self._status not in ("Running", status):
            text = f"run {self.id} has ended as {self._status} and stays so"
            self._warn(f"{status} after {self._status}", f"{text}, not {status}")

    def flush(self, timeout_seconds: float = 300) -> None:
        """Put everything recorded so far on the disk (fsync), as far as it lets us.

        Args:
            timeout_seconds: Not used: there is no queue to wait for.
        """
        recorder = self._recorder or self._visitor
        if recorder is not None:
            try:
                recorder.writer.sync()
            except OSError as exc:
                warn_once("sync", f"{self.path} could not be synced: {exc}")

    def end(self, status: str, error: object = None, *, at_exit: bool = False) -> None:
        """End this process's part of the run, and the run if it is the main writer's.

        A run of another process is ended only if nobody writes it any more, as after a
        `kill -9`. Never raises. A second call does nothing.

        Args:
            status: Completed, Failed or Canceled.
            error: Exception or text.
            at_exit: The process is exiting: entries of destructors and exit handlers
                that still come are kept.
        """
        if not self._own:
            self._close_abandoned(status, error)
            return
        known = runs_here.get(self.receiver)
        if isinstance(known, LifeMethods) and known is not self:
            known.end(status, error, at_exit=at_exit)  # two objects share one run
            return
        with self._lock:
            if self._status != "Running":
                return
            self._status = status
        recorder = self._recorder
        try:
            if recorder is not None:
                self._conclude(recorder, error, at_exit)
        except Exception as exc:  # whatever the disk does, the program goes on
            warn_once("end", f"the end of run {self.id} was not recorded: {exc!r}")
        finally:
            self._leave(recorder, at_exit)
            self._finish_remotes()

    def interrupted(self) -> None:
        """Note that a call on this run was cut off and will not go on."""
        if self._recorder is not None and self._status == "Running":
            self._recorder.interrupted()

    def __enter__(self) -> Self:
        """Return the run, which is active from here on."""
        if self._own and self._status == "Running":
            self._activate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the run with the status the block ends with, if it has not ended."""
        if self._own and self._status != "Running":
            return
        if error is None:
            self.complete()
        elif _is_cancelled(error):
            self.end("Canceled", error)
        elif isinstance(error, SystemExit) and error.code in (None, 0):
            self.complete()
        else:
            self.fail(error)

    # --- beginning -----------------------------------------------------------------

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
            start = writer.event("run.start", facts)
            self._capture = Capture(self._event, self._cwd, has_git="git" in facts)
            keeper.watch(self._capture)
            self._write_json(start if self._is_new else None)
        keeper.watch(writer)
        keeper.watch(self)
        keeper.ensure()
        if recorder.strict:
            be_strict(1)
        context.add_receiver(recorder)
        clear_level_caches()
        exits.hold(self)

    def start_shippers(
        self, urls: tuple[str, ...], flush_timeout: float | None
    ) -> None:
        """Have the run sent to some sinks, by a process each."""
        assert self._recorder is not None
        self.remotes = urls
        if urls:
            folder = self._recorder.writer.folder
            self._shippers = tuple(start_remotes(folder, urls, flush_timeout))

    def accompany(self, companion: Companion) -> None:
        """Have something log to the run beside the program, until the run ends."""
        self._companions.append(companion)
        keeper.watch(companion)

    def begin_off(self) -> None:
        """Make a run that records nothing active, so that nobody misses one."""
        runs_here[self._silent] = self
        context.add_receiver(self._silent)
        exits.hold(self)

    def _activate(self) -> None:
        """Make the run the one that records of the calling context belong to."""
        if context.scope().run is not self.receiver:
            if self.receiver.outer is None:
                self.receiver.outer = context.scope().run
            context.set_receiver(self.receiver)
        self.enter_env()

    def enter_env(self) -> None:
        """Let child processes find this run (`MLOG_RUN`), and their rank taken."""
        if self in _exported:
            return
        self._env_before = os.environ.get("MLOG_RUN")
        os.environ["MLOG_RUN"] = self.env_value
        if self.rank is not None:
            os.environ["_MLOG_RANK_PID"] = str(os.getpid())
        _exported.append(self)

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
            os.environ.pop("_MLOG_RANK_PID", None)

    @property
    def env_value(self) -> str:
        """What `MLOG_RUN` says of this run to child processes: its path, or `off`."""
        return str(self.path) if self.path is not None else OFF

    # --- regular work, on the keeper's thread --------------------------------------

    def keep(self, now: float) -> None:
        """Bring `run.json` and the summary up to date."""
        recorder = self._recorder
        if recorder is None or not recorder.writer.place.main:
            return
        with self._lock:
            if self._catch_up(max_bytes=1 << 20):
                self._has_grown = True
            due = self._has_grown and now - self._written >= _METRICS_EVERY
            if (self._stale or due) and self._status == "Running":
                self._written = now
                self._write_json()

    def park(self) -> None:
        """Nothing to do around a fork; see `Writer.park`."""

    # --- ending --------------------------------------------------------------------

    def _conclude(self, recorder: Recorder, error: object, at_exit: bool) -> None:
        """Write the end, whatever becomes of what is to be done before it."""
        try:
            self._before_end(at_exit)
        except BaseException as exc:
            if self._status == "Completed" and not isinstance(exc, Exception):
                self._status, error = "Canceled", exc  # Ctrl-C while files are stored
            raise
        finally:
            if self._status != "Completed" and not at_exit:
                recorder.writer.start()  # said by the program: not to be lost
            self._write_end(recorder, error)

    def _before_end(self, at_exit: bool) -> None:
        """Do what has to be done while the run still takes entries."""
        recorder = self._recorder
        while self._companions:
            companion = self._companions.pop()
            keeper.unwatch(companion)
            companion.close()
        if self.outputs:
            self._collect(self.outputs, cwd=self._cwd)
        if self._capture is not None and recorder and recorder.writer.place.main:
            self._capture.finish(at_exit)

    def _write_end(self, recorder: Recorder, error: object) -> None:
        writer = recorder.writer
        recorder.settle()
        writer.find_again()
        if writer.place.main:
            if self._status == "Completed":
                self._status, why = fate_of_ranks(writer.folder.path, writer.name)
                error = why or error
            with self._lock:  # the keeper may be at it
                self._catch_up()
            data: dict[str, Any] = {"status": self._status}
            if error is not None:
                data["error"] = self._clean(_error(error))
            if metrics := self._summed():
                data["metrics"] = metrics
            writer.event("run.end", data)
            with self._lock:
                self._write_json()
            writer.end(self._status)
        else:
            said = self._clean(_error(error)) if error else None
            end_joined(writer, self._status, said)

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

    def _finish_remotes(self) -> None:
        """Wait a little for what sends the run; a run inside another does not wait."""
        if not self._shippers:
            return
        shippers, self._shippers = self._shippers, ()
        others = (run for run in open_runs() if isinstance(run, LifeMethods))
        wait = not any(run._shippers for run in others if run is not self)
        try:
            finish_remotes(shippers, wait=wait)
        except Exception as exc:  # whatever becomes of it, the program goes on
            warn_once("remote", f"the shipper of run {self.id} was lost: {exc!r}")

    def _close_abandoned(self, status: str, error: object) -> None:
        """End a run that nobody writes any more; leave any other as it is."""
        try:
            now = self._state().status
        except (OSError, MlogError) as exc:
            self._failed("the end", exc)
            return
        if now == "NotResponding":
            data: dict[str, Any] = {"status": status}
            if error is not None:
                data["error"] = self._clean(_error(error))
            self._event("run.end", data)
            self._changed()
        elif now not in ("Completed", "Failed", "Canceled"):
            text = f"run {self.id} is {now} in another process, which has to end it"
            warn_once(f"end of {self.id}", text)

    def _catch_up(self, max_bytes: int | None = None) -> bool:
        """Read on in what was logged; return whether there was anything."""
        if self._summary is None:
            return False
        try:
            return self._summary.catch_up(max_bytes)
        except OSError:  # removed by somebody: a summary is only a convenience
            return False

    def _summed(self) -> dict[str, dict[str, Any]]:
        """Return the summary of each metric: of the last attempt that has it."""
        own = self._summary.metrics if self._summary is not None else {}
        return self._metrics_before | own

    def _write_json(self, start: Mapping[str, Any] | None = None) -> None:
        """Write `run.json`, from which people read a run fast.

        Args:
            start: The entry of `run.start`, where that is all there is.
        """
        self._stale = self._has_grown = False
        recorder = self._recorder
        assert recorder is not None
        try:
            folder = recorder.writer.folder
            if start is not None:
                write_first_document(folder, start, recorder.writer.attempt)
                self._stale = True  # others may have written by now
            else:
                write_document(folder, self._status, self._summed())
        except (OSError, MlogError):  # derived: whoever misses it reads the events
            self._stale = True

    def _changed(self) -> None:
        """Let `run.json` follow a change that came after the end."""
        if self._own and self._status == "Running":
            return  # the keeper, or the end, will see to it
        try:
            path = self._need_path()
            state = self._state()
            if self._own or state.status in ("Completed", "Failed", "Canceled"):
                write_document(open_run_folder(path))
        except Exception:  # derived; also when the interpreter is being taken apart
            return


def _error(error: object) -> dict[str, Any]:
    """Return what `run.end` says of an error; nothing the error itself does can fail."""
    if isinstance(error, dict):
        return error
    if not isinstance(error, BaseException):
        return {} if error is None else {"msg": _short(error)}
    import traceback

    try:
        lines = traceback.format_exception(error)
    except Exception:  # an exception whose own code fails while it is shown
        lines = traceback.format_tb(error.__traceback__)
    return {
        "type": exception_type(type(error)),
        "msg": _short(error),
        "traceback": _short("".join(lines)),
    }


def _short(text: object) -> str:
    """Return a text that fits into the end of a run, whatever is strict."""
    return cut_text(safe_str(text), _MAX_ERROR)[0]


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
    runs_here.pop(receiver, None)  # it would keep itself alive: the run holds its key
    clear_level_caches()


def _after_fork_in_child() -> None:
    """Let go of the parent's locks and duties."""
    for run in open_runs():
        run._lock = threading.RLock()
        if isinstance(run, LifeMethods):
            run.outputs = ()  # who began the run collects, when all is written
            run._companions = []
            run._shippers = ()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _set_env(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)  # another thread may have been faster
    else:
        os.environ[name] = value


_exported: list[LifeMethods] = []
"""Runs that child processes may find by `MLOG_RUN`, in the order they were started."""
