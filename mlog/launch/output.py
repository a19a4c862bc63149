"""What a submitted script prints: entries of its run, line by line, and one raw file.

The entries have the loggers `stdout` and `stderr`. The file is the artifact
`user_logs/std_log.txt`: both streams in the order in which they came, byte by byte but
for secrets. It is appended to while the script runs. Before either, the bytes go as they
are to the command that shows them at a terminal, if there is one.
"""

import collections
import hashlib
import os
from collections.abc import Iterable
from typing import Any

from mlog.errors import warn_once
from mlog.folder import OpenFile
from mlog.launch.cleaning import Cleaner
from mlog.launch.relay import Relay
from mlog.run.launched import NOTES, STD_LOG
from mlog.run.lines import Lines, Piece
from mlog.run.printed import write_line, write_lines
from mlog.run.recorder import Recorder

__all__ = ["Output"]

_LAST = 20
_MAX_LAST = 1_000


class Output:
    """Takes the streams of one script. For one thread at a time; never raises.

    Attributes:
        last: The last lines of both streams, short ones, without secrets.
        relay: Where the bytes go before they are kept.
    """

    def __init__(
        self, recorder: Recorder, relay: Relay, *, terminals: Iterable[str] = ()
    ) -> None:
        """Prepare the raw file.

        Args:
            recorder: Of the run.
            relay: See the attributes.
            terminals: Streams that are terminals to the script.

        Raises:
            OSError: The file cannot be made.
        """
        *parents, name = ("artifacts", *STD_LOG.split("/"))
        folder = recorder.writer.folder
        for parent in parents:
            folder = folder.child(parent)
        self.last: collections.deque[str] = collections.deque(maxlen=_LAST)
        self.relay = relay
        self._recorder = recorder
        streams = ("stdout", "stderr")
        self._terminals = frozenset(terminals)
        self._lines = {
            name: Lines(of_terminal=name in self._terminals) for name in streams
        }
        self._cleaners = {name: Cleaner(recorder.redactor) for name in streams}
        self._file: OpenFile | None = folder.create(name)
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self, stream: str, data: bytes) -> None:
        """Take the next bytes of `stdout` or `stderr`."""
        self.relay.take(stream, data)
        for piece in self._lines[stream].feed(data):
            self._put(stream, piece)

    def end(self, stream: str) -> None:
        """Take note that a stream has ended."""
        for piece in self._lines[stream].end():
            self._put(stream, piece)

    def note(self, text: str) -> None:
        """Say something about the script, among what it prints."""
        ending = "\r\n" if "stderr" in self._terminals else "\n"
        self.relay.take("stderr", f"mlog: {text}{ending}".encode())
        write_line(self._recorder.writer, NOTES, "WARNING", text, {})

    def finish(self) -> dict[str, Any]:
        """Close the raw file, and return what `run.artifact` says of it."""
        self._file = None
        return {
            "path": STD_LOG,
            "size": self._size,
            "sha256": self._digest.hexdigest(),
            "media_type": "text/plain",
        }

    def _put(self, stream: str, piece: Piece) -> None:
        cleaner = self._cleaners[stream]
        clean = cleaner.clean(piece.raw)
        self._append(clean)
        if piece.is_block:
            self._put_block(stream, clean)
        elif piece.line is not None:
            extra: dict[str, Any] = {"redraws": piece.redraws} if piece.redraws else {}
            if piece.continues:
                extra["continues"] = True
            is_last_state = not piece.raw.startswith(piece.line)
            line = cleaner.clean(piece.line) if is_last_state else clean.rstrip(b"\r\n")
            text = line.decode("utf-8", "replace")
            self.last.append(text[:_MAX_LAST])
            write_line(self._recorder.writer, stream, "INFO", text, extra)

    def _put_block(self, stream: str, clean: bytes) -> None:
        r"""Write whole lines; the last may have lost its `\n` with a secret."""
        if b"\r" in clean:
            clean = clean.replace(b"\r\n", b"\n")
        lines = clean.decode("utf-8", "replace").split("\n")
        if not lines[-1]:
            del lines[-1]
        self.last.extend(line[:_MAX_LAST] for line in lines[-_LAST:])
        if lines:
            write_lines(self._recorder.writer, stream, lines)

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
