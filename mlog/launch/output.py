"""What a submitted script prints: entries of its run, line by line, and one raw file.

The entries have the loggers `stdout` and `stderr`. The file is the artifact
`user_logs/std_log.txt`: both streams in the order in which they came, byte by byte but
for secrets. It is appended to while the script runs.
"""

import collections
import hashlib
import os
import time
from typing import Any

from mlog.entry import stamp
from mlog.errors import warn_once
from mlog.folder import OpenFile
from mlog.launch.lines import Lines, Piece
from mlog.run.recorder import Recorder
from mlog.run.waiting import NOTES, STD_LOG

__all__ = ["Output"]

_LAST = 20
_MAX_LAST = 1_000


class Output:
    """Takes the streams of one script. For one thread at a time; never raises.

    Attributes:
        last: The last lines of both streams, short ones, without secrets.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Prepare the raw file.

        Raises:
            OSError: It cannot be made.
        """
        *parents, name = ("artifacts", *STD_LOG.split("/"))
        folder = recorder.writer.folder
        for parent in parents:
            folder = folder.child(parent)
        self.last: collections.deque[str] = collections.deque(maxlen=_LAST)
        self._recorder = recorder
        self._lines = {"stdout": Lines(), "stderr": Lines()}
        self._file: OpenFile | None = folder.create(name)
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self, stream: str, data: bytes) -> None:
        """Take the next bytes of `stdout` or `stderr`."""
        self._put(stream, list(self._lines[stream].feed(data)))

    def end(self, stream: str) -> None:
        """Take note that a stream has ended."""
        self._put(stream, list(self._lines[stream].end()))

    def note(self, text: str) -> None:
        """Say something about the script, among what it prints."""
        self._write(NOTES, "WARNING", text, {})

    def finish(self) -> dict[str, Any]:
        """Close the raw file, and return what `run.artifact` says of it."""
        self._file = None
        return {
            "path": STD_LOG,
            "size": self._size,
            "sha256": self._digest.hexdigest(),
            "media_type": "text/plain",
        }

    def _put(self, stream: str, pieces: list[Piece]) -> None:
        self._append(self._clean(b"".join(piece.raw for piece in pieces)))
        for piece in pieces:
            if piece.line is None:
                continue
            extra: dict[str, Any] = {"redraws": piece.redraws} if piece.redraws else {}
            if piece.continues:
                extra["continues"] = True
            text = self._redacted(piece.line.decode("utf-8", "replace"))
            self.last.append(text[:_MAX_LAST])
            self._write(stream, "INFO", text, extra)

    def _write(self, logger: str, level: str, text: str, extra: dict[str, Any]) -> None:
        writer = self._recorder.writer
        if writer.scarce and level == "INFO":
            writer.lose("little disk space is left", None)
            return
        entry: dict[str, Any] = {
            "ts": stamp(time.time_ns() // 1_000),
            "seq": 0,
            "level": level,
            "logger": logger,
        }
        if text:
            entry["msg"] = text
        if extra:
            entry["extra"] = extra
        try:
            writer.write("logs", entry)
        except OSError as exc:  # the writer had to begin anew, and could not
            writer.lose(exc.strerror or str(exc), None)

    def _append(self, data: bytes) -> None:
        """Append to the raw file; once the disk refuses, no more is kept of it."""
        if self._file is None:
            return
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._file.fd, view)
                self._digest.update(view[:done])
                self._size += done
                view = view[done:]
        except OSError as exc:
            self._file = None
            text = f"{STD_LOG} ends here: {exc.strerror}; the lines themselves go on"
            warn_once("std_log", text)
            self.note(text)

    def _clean(self, raw: bytes) -> bytes:
        """Return bytes without secrets, and otherwise exactly as they are."""
        text = raw.decode("utf-8", "surrogateescape")
        return self._redacted(text).encode("utf-8", "surrogateescape")

    def _redacted(self, text: str) -> str:
        redactor = self._recorder.redactor
        return redactor.text(text) if redactor is not None else text
