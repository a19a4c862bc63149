"""From the supervisor to the command that shows the script at a terminal: raw bytes.

Each byte goes on at once and as it came. Where the reader is slow (a paused terminal,
`| less`) the script has to wait, as it would without a launcher; the supervisor itself
never does. Where the reader is gone, nothing is shown any more, and all else goes on.
"""

import contextlib
import os
import select

from mlog.launch.attached import Attached

__all__ = ["Relay"]

_LIMIT = 1 << 20
"""Bytes that wait for the reader of a stream before the script has to wait, too."""

_PIPE = 1 << 16


class Relay:
    """Passes streams on. For one thread at a time; never raises."""

    def __init__(self, attached: Attached | None = None) -> None:
        """Take the writing ends of pipes; without any nothing is shown."""
        pipes = attached.relays if attached else {}
        is_terminal = attached is not None and "stderr" in attached.terminals
        self._ending = "\r\n" if is_terminal else "\n"
        self._pipes = dict(pipes)
        self._waiting = {name: bytearray() for name in pipes}
        for fd in pipes.values():
            os.set_blocking(fd, False)

    def take(self, stream: str, data: bytes) -> None:
        """Pass on the next bytes, or keep them until there is room."""
        if stream not in self._pipes:
            return
        waiting = self._waiting[stream]
        if not waiting:
            data = data[self._write(stream, data) :]
        waiting += data

    def say(self, text: str) -> None:
        """Show a line of mlog's own, on stderr."""
        self.take("stderr", f"{text}{self._ending}".encode("utf-8", "replace"))

    def is_full(self, stream: str) -> bool:
        """Whether so much waits that no more should be read."""
        return len(self._waiting.get(stream, b"")) >= _LIMIT

    @property
    def pending(self) -> dict[str, int]:
        """Streams with bytes that wait, to the descriptors that have no room for them."""
        return {name: fd for name, fd in self._pipes.items() if self._waiting[name]}

    def flush(self, stream: str) -> None:
        """Pass on what waits, as far as there is room."""
        waiting = self._waiting.get(stream)
        if waiting:
            del waiting[: self._write(stream, waiting)]

    def finish(self) -> None:
        """Wait until the reader has taken all, or is gone; then close the pipes."""
        while pending := self.pending:
            poll = select.poll()
            for fd in pending.values():
                poll.register(fd, select.POLLOUT)
            poll.poll()
            for name in pending:
                self.flush(name)
        for name in list(self._pipes):
            self._drop(name)

    def _write(self, stream: str, data: bytes | bytearray) -> int:
        """Write what there is room for; return how much is done with."""
        done = 0
        try:
            with memoryview(data) as view:
                while done < len(data):
                    done += os.write(self._pipes[stream], view[done : done + _PIPE])
        except BlockingIOError:
            return done
        except OSError:  # the reader is gone
            self._drop(stream)
            return len(data)
        return done

    def _drop(self, stream: str) -> None:
        with contextlib.suppress(OSError):
            os.close(self._pipes.pop(stream))
        self._waiting.pop(stream).clear()
