"""The process that makes a submitted run, runs its script, and ends it.

It is the run's main writer. The script joins the run by `MLOG_RUN`, and writes its own
metrics and lines. Statuses are `run.status` events: NotStarted, Preparing, Running,
Finalizing, and CancelRequested where somebody asked for it; the last one is that of
`run.end`.
"""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from mlog.errors import MlogError
from mlog.folder import Folder
from mlog.launch.asking import Asking
from mlog.launch.build_log import Cancelled
from mlog.launch.child import Child, describe
from mlog.launch.order import Order
from mlog.launch.output import Output
from mlog.launch.preparing import Prepared, prepare
from mlog.launch.processes import adopt_orphans
from mlog.launch.relay import Relay
from mlog.launch.watch import End, Reason, watch
from mlog.layout import parse_segment
from mlog.redaction import Redactor
from mlog.run.api import Run
from mlog.run.collect import FOLDERS
from mlog.run.identity import host_name
from mlog.run.machine import hardware
from mlog.run.recorder import Recorder
from mlog.run.snapshot import copy_snapshot
from mlog.run.start import start_run
from mlog.run.summary import Summary

__all__ = ["supervise"]

_WORK = (".cache", "work")
_INJECT = Path(__file__).parent / "inject"
_HIGHER_RANK = re.compile(r"r[1-9][0-9]*(-.*)?")
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")


def supervise(order: Order, tell: Callable[[Path], None]) -> None:
    """Make a run, and bring it to its end.

    Args:
        order: What is to be done.
        tell: Told the run's folder as soon as the run is there; what it raises makes
            an end of the run.

    Raises:
        MlogError, OSError, ValueError, TypeError: The run cannot be made.
    """
    stopped = _Stopped()
    adopt_orphans()
    relay = Relay(order.attached)
    script, arguments = order.definition["script"], order.definition["arguments"]
    sys.argv = [script, *arguments] if script else list(order.line)  # for `run.start`
    run = start_run(
        order.experiment,
        run_id=order.run_id,
        dir=order.root,
        **order.run,
    )
    assert run.path is not None
    order = replace(order, root=str(run.path.parent.parent))  # it may be another one
    work: Folder | None = None
    try:
        supervisor = _Supervisor(order, run, stopped, relay)
        supervisor.begin()
        tell(supervisor.path)
        work = supervisor.prepare()
        supervisor.execute(Path(order.source) if work is None else work.path)
    except (OSError, MlogError) as exc:  # the text says all; the place is ours
        run.end("Failed", {"msg": str(exc)})
    except BaseException as exc:
        run.end("Failed", exc)
    finally:
        if work is not None:
            shutil.rmtree(work.path, ignore_errors=True)
        relay.finish()


class _Stopped:
    """Whether this process was told to end; the script is ended first."""

    def __init__(self) -> None:
        """Take the signals."""
        self.by: signal.Signals | None = None
        for name in _SIGNALS:
            signal.signal(getattr(signal, name), self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.by = signal.Signals(number)


class _Supervisor:
    """The steps of one run, in the order of the methods."""

    def __init__(self, order: Order, run: Run, stopped: _Stopped, relay: Relay) -> None:
        recorder = run.receiver
        assert isinstance(recorder, Recorder)
        assert run.path is not None
        self.path = run.path
        self._order = order
        self._run = run
        self._recorder = recorder
        self._stopped = stopped
        self._relay = relay
        self._asking = Asking(run.path)
        self._notes: list[str] = []

    def begin(self) -> None:
        """Say what is to be run."""
        redactor = self._recorder.redactor
        said = dict(self._order.definition)
        said["machine"] = {"host": host_name(), **hardware()}
        for key in ("arguments", "command"):
            if isinstance(redactor, Redactor) and isinstance(said.get(key), list):
                said[key] = redactor.argv(said[key])
        self._run._event("run.launch", said)
        self._status("NotStarted")

    def prepare(self) -> Folder | None:
        """Take the snapshot; return the copy that the script runs in, if it does."""
        self._status("Preparing")
        order = self._order
        is_empty = not os.listdir(order.source)  # enough for a command
        if order.in_place:
            if not is_empty:
                self._keep_source()
            return None
        access = self._recorder.writer.folder.access
        work = Folder.open_below(Path(order.root), (*_WORK, self.path.name), access)
        if is_empty:
            return work
        try:
            copy_snapshot(Path(order.source), work.path, never=[Path(order.root)])
            self._check_copy(work.path)
            # Of the copy: what is kept is what runs, whatever is edited meanwhile.
            self._run.take_snapshot(work.path)
        except BaseException:
            shutil.rmtree(work.path, ignore_errors=True)
            raise
        return work

    def _check_copy(self, copy: Path) -> None:
        """Refuse to run a script that no snapshot holds."""
        script = self._order.definition["script"]
        if script and not os.path.lexists(copy / script):
            raise MlogError(
                f"{script} is left out of the copy that is run: by .amlignore or "
                ".gitignore, or as a secret or cache; run it in place (--in-place, "
                "in_place=True), or leave it in"
            )

    def _keep_source(self) -> None:
        """Take a snapshot of a folder that is used in place.

        The script runs without one, too: in a folder of data, say, or of outputs only.
        """
        try:
            self._run.take_snapshot(self._order.source)
        except (MlogError, OSError) as exc:
            self._notes.append(f"no snapshot was taken: {exc}")

    def execute(self, cwd: Path) -> None:
        """Run the script in a folder, and end the run as it ended."""
        ready = self._find_environment(cwd)
        if ready is None or self._is_cancelled():
            self._run.end("Canceled", self._why("cancel"))
            return
        self._execute(ready, cwd)

    def _find_environment(self, cwd: Path) -> Prepared | None:
        """Return how the script is started; None: cancelled meanwhile."""
        try:
            ready = prepare(
                self._order,
                cwd=cwd,
                env=self._environment(),
                recorder=self._recorder,
                show=self._relay.say,
                is_cancelled=self._is_cancelled,
                tell=self._run._event,
            )
        except Cancelled:
            return None
        if ready.facts is not None:
            if self._run._capture is not None:  # first what it is not: this process's
                self._run._capture.finish(False)
            self._run._event("run.environment", ready.facts)
        return ready

    def _execute(self, ready: Prepared, cwd: Path) -> None:
        order = self._order
        attached = order.attached
        output = Output(
            self._recorder,
            self._relay,
            terminals=attached.terminals if attached else (),
        )
        for text in (*self._notes, *ready.notes):
            output.note(text)
        child = Child(
            ready.line,
            cwd=cwd,
            env=ready.env,
            attached=attached,
            memory=None if ready.in_container else order.memory,
        )
        started = time.time()
        self._status("Running", pid=child.pid)
        try:
            end = watch(
                child,
                output,
                asked=self._asked,
                typed=self._asking.typed_at,
                on_end=self._on_end,
                seconds=order.seconds,
                grace=order.grace,
            )
        finally:
            ready.close()
        self._status("Finalizing", exit_code=end.code)
        self._run._event("run.artifact", output.finish())
        self._collect(cwd, started)
        self._sum_up()
        said = ready.end_said(self.path, child.pid) if end.code == 0 else {}
        self._finish(end, said, list(output.last))

    def _finish(self, end: End, said: dict[str, Any], last: list[str]) -> None:
        if end.reason is not None:
            error = {"msg": self._why(end.reason), "exit_code": end.code}
            self._run.end("Canceled", error)
        elif end.code == 0:
            # `run.fail()`, and an exit of 0
            self._run.end(said.get("status") or "Completed", said.get("error"))
        else:
            text = describe(end.code)
            if last:
                text += "; its last lines:\n" + "\n".join(last)
            self._run.end("Failed", {"msg": text, "exit_code": end.code})

    def _on_end(self, reason: Reason) -> None:
        self._status("CancelRequested", reason=self._why(reason))

    def _why(self, reason: Reason) -> str:
        if reason == "time":
            return f"ran longer than max_run_duration_seconds={self._order.seconds:g}"
        by = signal.SIGINT if reason == "typed" else self._stopped.by
        return by.name if by is not None else self._asking.why

    def _is_cancelled(self) -> bool:
        return self._asked() is not None

    def _asked(self) -> signal.Signals | None:
        """Return the signal by which somebody wants the script to be ended."""
        return self._stopped.by or self._asking.wanted()

    def _status(self, word: str, **more: Any) -> None:
        self._run._event("run.status", {"status": word, **more})

    def _environment(self) -> dict[str, str]:
        """Return the script's environment; `MLOG_RUN` is in it since the run began."""
        order = self._order
        env = {**os.environ, "MLOG_DIR": order.root}
        env |= order.variables
        env["PYTHONPATH"] = _in_front(str(_INJECT), env.get("PYTHONPATH"))
        python = os.path.dirname(order.interpreter)
        if python:
            env["PATH"] = _in_front(python, env.get("PATH"))
        return env

    def _collect(self, cwd: Path, started: float) -> None:
        """Store `./outputs` and `./logs`; in place only what the script put there."""
        since = started if self._order.in_place else None
        self._run._collect(FOLDERS, cwd=cwd, since=since)

    def _sum_up(self) -> None:
        """Have the run's summary cover the metrics of the script, not of this process."""
        names = map(parse_segment, os.listdir(self.path))
        metrics = [n for n in names if n is not None and n.stream == "metrics"]
        metrics = [n for n in metrics if not _HIGHER_RANK.fullmatch(n.writer)]
        metrics.sort(key=lambda name: (name.writer, name.number))
        with self._run._lock:
            self._run._summary = Summary(self.path, [n.filename for n in metrics])


def _in_front(first: str, path: str | None) -> str:
    return os.pathsep.join([first, path]) if path else first
