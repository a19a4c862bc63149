"""`start_run(capture=…)`: what the program prints, warns of and dies of, as entries.

- `stdout`, `stderr`: what Python code writes to `sys.stdout` and `sys.stderr`, line by
  line, loggers of these names. It goes to where it went before first, untouched; a
  progress bar becomes one line with a count. What C code or child processes print is
  not seen (`mlog run` sees it), and what logging's own handlers print is not repeated.
- `warnings`: logger `py.warnings`, as `logging.captureWarnings` names it; they are
  shown as before.
- `exceptions`: those that nobody caught, in the main thread, in threads, and where
  Python can only report them (`sys.unraisablehook`); logger `uncaught`. asyncio logs
  its own.

With the run's end everything is as before, unless somebody else has replaced it since:
then what stands there passes everything on and records nothing.
"""

import contextlib
import logging
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

from mlog.run.lines import Lines, Piece
from mlog.run.printed import write_line
from mlog.run.recorder import Recorder

__all__ = ["KINDS", "Console", "kinds_of"]

KINDS = ("stdout", "stderr", "warnings", "exceptions")

_EMIT = logging.StreamHandler.emit.__code__
_busy = threading.local()


def kinds_of(capture: bool | str | Iterable[str] | None) -> frozenset[str]:
    """Return what `start_run(capture=…)` asks for: True is everything.

    Raises:
        ValueError: It names something else.
        TypeError: It is no text and no list of them.
    """
    if capture is None or isinstance(capture, bool):
        return frozenset(KINDS if capture else ())
    given = capture.split(",") if isinstance(capture, str) else list(capture)
    if not all(isinstance(kind, str) for kind in given):
        raise TypeError(f"capture must be names of {', '.join(KINDS)}, got {given!r}")
    found = frozenset(kind.strip() for kind in given if kind.strip())
    if unknown := sorted(found - set(KINDS)):
        raise ValueError(
            f"capture must be made of {', '.join(KINDS)}, got {unknown[0]!r}"
        )
    return found


class Console:
    """Captures for one run, from `begin` to `close`. Never raises into the program."""

    def __init__(self, recorder: Recorder, kinds: frozenset[str]) -> None:
        """Prepare; nothing is replaced yet."""
        self._recorder = recorder
        self._kinds = kinds
        self._undo: list[Callable[[], None]] = []
        self._streams: list[_Stream] = []

    def begin(self) -> None:
        """Put itself between the program and its console."""
        for name in ("stdout", "stderr"):
            if name in self._kinds and getattr(sys, name, None) is not None:
                self._wrap(name)
        if "warnings" in self._kinds:
            self._replace(warnings, "showwarning", self._warned)
        if "exceptions" in self._kinds:
            self._replace(sys, "excepthook", self._uncaught)
            self._replace(threading, "excepthook", self._in_thread)
            self._replace(sys, "unraisablehook", self._unraisable)

    def keep(self, now: float) -> None:
        """Nothing to do now and then: lines are written as they come."""

    def park(self) -> None:
        """Nothing to do around a fork; see `_Stream`."""

    def close(self) -> None:
        """Put everything back; a line that has not ended is kept as it is."""
        while self._undo:
            self._undo.pop()()
        for stream in self._streams:
            stream.end()

    # --- replacing -----------------------------------------------------------------

    def _wrap(self, name: str) -> None:
        before = getattr(sys, name)
        stream = _Stream(before, name, self._recorder)
        self._streams.append(stream)
        setattr(sys, name, stream)

        def undo() -> None:
            if getattr(sys, name) is stream:
                setattr(sys, name, before)

        self._undo.append(undo)

    def _replace(self, module: Any, name: str, record: Callable[..., None]) -> None:
        """Call the hook of before first, and then `record` with the same arguments."""
        before = getattr(module, name)

        def hook(*args: Any, **kwargs: Any) -> Any:
            with _unheard():  # what it prints is told by the entry below
                result = before(*args, **kwargs)
            if self._undo:
                with contextlib.suppress(Exception):
                    record(*args, **kwargs)
            return result

        setattr(module, name, hook)

        def undo() -> None:
            if getattr(module, name) is hook:
                setattr(module, name, before)

        self._undo.append(undo)

    # --- hooks ---------------------------------------------------------------------

    def _warned(
        self,
        message: Any,
        category: type[Warning],
        filename: str,
        lineno: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        text = f"{category.__name__}: {message}"
        self._tell("py.warnings", logging.WARNING, text, filename, lineno)

    def _uncaught(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            self._failed("uncaught exception", (kind, error, trace))

    def _in_thread(self, args: Any) -> None:
        if not issubclass(args.exc_type, SystemExit):
            thread = args.thread.name if args.thread is not None else "a thread"
            found = (args.exc_type, args.exc_value, args.exc_traceback)
            self._failed(f"uncaught exception in {thread}", found)

    def _unraisable(self, args: Any) -> None:
        text = args.err_msg or "exception ignored"
        found = (args.exc_type, args.exc_value, args.exc_traceback)
        self._failed(f"{text}: {type(args.object).__name__}", found)

    def _failed(self, text: str, found: Any) -> None:
        trace = found[2]
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        path, line, name = "", 0, None
        if trace is not None:
            code = trace.tb_frame.f_code
            path, line, name = code.co_filename, trace.tb_lineno, code.co_name
        self._tell("uncaught", logging.CRITICAL, text, path, line, name, found)

    def _tell(
        self,
        logger: str,
        level: int,
        text: str,
        path: str,
        line: int,
        function: str | None = None,
        error: Any = None,
    ) -> None:
        """Write an entry of something that happened elsewhere."""
        record = logging.LogRecord(logger, level, path, line, text, (), error, function)
        self._recorder.receive(record, True)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Have this thread's printing only passed on, within the block."""
    before = getattr(_busy, "yes", False)
    _busy.yes = True
    try:
        yield
    finally:
        _busy.yes = before


class _Stream:
    """Stands for a text stream; passes everything on, and records whole lines.

    Everything but writing is the stream's own. Safe from any thread; in a forked child
    a new lock and an empty line are begun.
    """

    def __init__(self, stream: Any, name: str, recorder: Recorder) -> None:
        self._mlog_stream = stream
        self._mlog_name = name
        self._mlog_recorder: Recorder | None = recorder
        self._mlog_begin()
        _streams.add(self)

    def _mlog_begin(self) -> None:
        self._mlog_lock = threading.RLock()
        self._mlog_lines = Lines()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_mlog_"):  # of a copy that was not begun
            raise AttributeError(name)
        return getattr(self._mlog_stream, name)

    def __iter__(self) -> Any:
        return iter(self._mlog_stream)

    def __enter__(self) -> Any:
        self._mlog_stream.__enter__()
        return self

    def __exit__(self, *args: object) -> Any:
        return self._mlog_stream.__exit__(*args)

    def write(self, text: str) -> Any:
        """Write to where it goes, and then record what lines it ends."""
        result = self._mlog_stream.write(text)
        if self._mlog_recorder is not None and isinstance(text, str):
            self._mlog_take(text, sys._getframe(1).f_code is _EMIT)
        return result

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def _mlog_take(self, text: str, is_logging: bool) -> None:
        if is_logging or getattr(_busy, "yes", False):
            return  # the run has that record, or is just being told of this line
        try:
            data = text.encode("utf-8", "surrogateescape")
            with _unheard(), self._mlog_lock:
                for piece in self._mlog_lines.feed(data):
                    self._mlog_put(piece)
        except Exception:  # a line that is lost is better than a print that raises
            return

    def end(self) -> None:
        """Record what is left; from here on only pass on."""
        with self._mlog_lock:
            for piece in self._mlog_lines.end():
                self._mlog_put(piece)
            self._mlog_recorder = None

    def _mlog_put(self, piece: Piece) -> None:
        if piece.is_block:
            for raw in piece.raw.splitlines():
                self._mlog_write(raw, {})
        elif piece.line is not None:
            extra: dict[str, Any] = {"redraws": piece.redraws} if piece.redraws else {}
            if piece.continues:
                extra["continues"] = True
            self._mlog_write(piece.line, extra)

    def _mlog_write(self, line: bytes, extra: dict[str, Any]) -> None:
        recorder = self._mlog_recorder
        if recorder is None or not recorder.is_open:
            return
        text = line.decode("utf-8", "replace")
        if recorder.redactor is not None:
            text = recorder.redactor.text(text)
        recorder.writer.start()
        write_line(recorder.writer, self._mlog_name, "INFO", text, extra)


_streams: "weakref.WeakSet[_Stream]" = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for stream in list(_streams):
        stream._mlog_begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
