"""What is said while an environment is prepared: entries of the run, and one file.

The entries have the logger `mlog.launch.build`; the file is the artifact
`azureml-logs/20_image_build_log.txt`, v1's name for it. Both grow line by line, so
whoever waits for the run sees them as they come. Without a line there is no file.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlog.launch.log_artifact import LogArtifact
from mlog.launch.processes import PREPARES, die_with_parent
from mlog.run.launched import BUILD, BUILD_LOG, NOTES
from mlog.run.lines import Lines, Piece
from mlog.run.printed import write_line
from mlog.run.recorder import Recorder

__all__ = ["BuildLog", "Cancelled"]

_TICK = 0.1
_CHUNK = 1 << 16
_GRACE = 3.0
_LAST = 12


class Cancelled(Exception):
    """Somebody wants the run ended while it is being prepared."""


class BuildLog:
    """Takes the lines of one preparation. For one thread; never raises for a full disk.

    Attributes:
        last: The last lines of what was run last, without secrets.
    """

    def __init__(
        self,
        recorder: Recorder,
        is_cancelled: Callable[[], bool],
        grace: float = _GRACE,
        show: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            recorder: Of the run.
            show: Shows a line to whoever watches.
            is_cancelled: Asked several times a second while something runs.
            grace: Seconds that it then has to end by itself.
        """
        self.last: deque[str] = deque(maxlen=_LAST)
        self._recorder = recorder
        self._is_cancelled = is_cancelled
        self._grace = grace
        self._show = show
        self._file: LogArtifact | None = None

    def line(self, text: str) -> None:
        """Take one line."""
        self._keep(text, BUILD, "INFO", "")

    def remark(self, text: str) -> None:
        """Take a line that is to be seen by whoever looks at the run."""
        self._keep(text, NOTES, "WARNING", "mlog: ")

    def _keep(self, text: str, logger: str, level: str, sign: str) -> None:
        redactor = self._recorder.redactor
        text = redactor.text(text) if redactor is not None else text
        self.last.append(text)
        self._show(f"{sign}{text}")
        try:
            if self._file is None:
                self._file = LogArtifact(self._recorder.writer.folder, BUILD_LOG)
            self._file.append(f"{text}\n".encode("utf-8", "replace"))
        except OSError as exc:
            self._recorder.writer.lose(exc.strerror or str(exc), None)
        write_line(self._recorder.writer, logger, level, text, {})

    def check(self) -> None:
        """Raise where somebody wants the run ended.

        Raises:
            Cancelled: So it is.
        """
        if self._is_cancelled():
            raise Cancelled

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None = None,
        given: str = "",
        keeps: Sequence[int] = (),
    ) -> int:
        """Run a command to its end with its output as lines; return its exit code.

        It gets SIGTERM when this process is gone (Linux); what it has started then is
        found by `living_of_run`.

        Args:
            command: What to run.
            env: Its environment.
            cwd: Its folder.
            given: Its standard input. It may hold secrets, so it gets no name on disk.
            keeps: Descriptors that it keeps open as long as it lives.

        Raises:
            OSError: It cannot be started.
            Cancelled: It was ended because somebody wants the run ended.
        """
        self.last.clear()
        with tempfile.TemporaryFile() as text:
            text.write(given.encode())
            text.seek(0)
            process = subprocess.Popen(
                command,
                stdin=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                cwd=cwd,
                env={**env, PREPARES: str(self._recorder.writer.folder.path)},
                process_group=0,
                preexec_fn=die_with_parent,
                pass_fds=tuple(keeps),
            )
        try:
            self._follow(process)
        except BaseException:
            _end(process, self._grace)
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
        return process.wait()

    def finish(self) -> dict[str, Any] | None:
        """Close the file, and return what `run.artifact` says of it; None without one."""
        if self._file is None:
            return None
        self._file.close()
        return self._file.facts()

    def _follow(self, process: "subprocess.Popen[bytes]") -> None:
        """Take what a process prints until it has closed its output or has ended."""
        assert process.stdout is not None
        lines = Lines()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                self.check()
                is_over = _has_exited(process)
                if not selector.select(0 if is_over else _TICK):
                    if is_over:  # what it left behind may hold the pipe for ever
                        break
                    continue
                data = os.read(process.stdout.fileno(), _CHUNK)
                if not data:
                    break
                for piece in lines.feed(data):
                    self._take(piece)
        for piece in lines.end():
            self._take(piece)

    def _take(self, piece: Piece) -> None:
        whole = piece.raw.splitlines() if piece.is_block else [piece.line]
        for line in whole:
            if line is not None:
                self.line(line.decode("utf-8", "replace").rstrip())


def _has_exited(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process has ended; it is not collected, so that its id stays its own."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def _end(process: "subprocess.Popen[bytes]", grace: float) -> None:
    """End a process and what it has started: asked first, then killed."""
    until = time.monotonic() + grace
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        while not _has_exited(process) and time.monotonic() < until:
            time.sleep(_TICK / 5)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
