"""What a submitted script prints: entries of its run, line by line, and one raw file.

The entries have the loggers `stdout` and `stderr`. The file is the artifact
`user_logs/std_log.txt`: both streams in the order in which they came, byte by byte but
for secrets. It is appended to while the script runs. Before either, the bytes go as they
are to the command that shows them at a terminal, if there is one.
"""

import collections
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mlog.errors import warn_once
from mlog.launch.cleaning import Cleaner
from mlog.launch.log_artifact import LogArtifact
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
        self.last: collections.deque[str] = collections.deque(maxlen=_LAST)
        self.relay = relay
        self._recorder = recorder
        streams = ("stdout", "stderr")
        of_terminals = frozenset(terminals)
        self._lines = {
            name: Lines(of_terminal=name in of_terminals, blocks=True)
            for name in streams
        }
        self._cleaners = {name: Cleaner(recorder.redactor) for name in streams}
        self._file = LogArtifact(recorder.writer.folder, STD_LOG)

    def take(self, stream: str, data: bytes) -> None:
        """Take the next bytes of `stdout` or `stderr`."""
        self.relay.take(stream, data)
        self._put(stream, list(self._lines[stream].feed(data)))

    def end(self, stream: str) -> None:
        """Take note that a stream has ended."""
        self._put(stream, list(self._lines[stream].end()))

    def note(self, text: str) -> None:
        """Say something about the script, among what it prints."""
        self.relay.say(f"mlog: {text}")
        write_line(self._recorder.writer, NOTES, "WARNING", text, {})

    def finish(self) -> dict[str, Any]:
        """Close the raw file, and return what `run.artifact` says of it."""
        self._file.close()
        return self._file.facts()

    def _put(self, stream: str, pieces: list[Piece]) -> None:
        """Keep pieces; those without secrets together, as they may be very many."""
        cleaner = self._cleaners[stream]
        raw = b"".join([piece.raw for piece in pieces])
        if cleaner.lets_through(raw):
            self._append(raw)
            self._enter(stream, pieces)
            return
        for piece in pieces:
            clean = cleaner.clean(piece.raw)
            self._append(clean)
            self._enter(stream, [_cleaned(piece, clean, cleaner)])

    def _enter(self, stream: str, pieces: list[Piece]) -> None:
        """Make entries of what the lines of pieces hold."""
        usual: list[str] = []
        for piece in pieces:
            if piece.is_block:
                usual += _texts(piece.raw)
            elif piece.line is not None:
                text = piece.line.decode("utf-8", "replace")
                extra = _extra(piece)
                if not extra:
                    usual.append(text)
                    continue
                self._write_usual(stream, usual)
                usual = []
                self.last.append(text[:_MAX_LAST])
                write_line(self._recorder.writer, stream, "INFO", text, extra)
        self._write_usual(stream, usual)

    def _write_usual(self, stream: str, lines: list[str]) -> None:
        if lines:
            self.last.extend(line[:_MAX_LAST] for line in lines[-_LAST:])
            write_lines(self._recorder.writer, stream, lines)

    def _append(self, data: bytes) -> None:
        """Append to the raw file, up to the size that logs may have in all.

        Once the disk refuses, no more is kept of it.
        """
        if not self._file.is_open:
            return
        most = self._recorder.writer.options.max_log_bytes
        if self._file.size + len(data) > most:
            self._file.close()
            self.note(f"{STD_LOG} ends here: it has {most >> 20} MiB; lines go on")
            return
        try:
            self._file.append(data)
        except OSError as exc:
            text = f"{STD_LOG} ends here: {exc.strerror}; the lines themselves go on"
            warn_once("std_log", text)
            self.note(text)


def _texts(block: bytes) -> list[str]:
    r"""Return the lines of a block; the last may have lost its `\n` with a secret."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    lines = block.decode("utf-8", "replace").split("\n")
    if not lines[-1]:
        del lines[-1]
    return lines


def _extra(piece: Piece) -> dict[str, Any]:
    extra: dict[str, Any] = {"redraws": piece.redraws} if piece.redraws else {}
    if piece.continues:
        extra["continues"] = True
    return extra


def _cleaned(piece: Piece, clean: bytes, cleaner: Cleaner) -> Piece:
    """Return a piece with its line without secrets, as its bytes are already."""
    line = piece.line
    if line is not None:
        is_last_state = not piece.raw.startswith(line)
        line = cleaner.clean(line) if is_last_state else clean.rstrip(b"\r\n")
    return replace(piece, raw=clean, line=line)
