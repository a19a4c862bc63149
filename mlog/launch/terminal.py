"""A terminal lent to a submitted script: what it prints, what is typed, its size.

For each stream that is a terminal here the script gets a pseudo-terminal, so that it
shows colours and progress bars as it would without a launcher; `stdout` and `stderr`
get one each, and stay two streams of its run. The supervisor reads them, keeps what it
reads, and hands it on through pipes; here it is shown byte by byte.

Where stdin is a terminal, too, and this process is in its foreground, what is typed goes
to the script raw: its own terminal echoes, edits lines, and makes Ctrl-C a SIGINT.
Other input (a pipe, a file) is read by the script itself.
"""

import contextlib
import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from mlog.launch.attached import Attached

__all__ = ["Lent", "lend"]

_CHUNK = 1 << 16
_TYPED = 1_024
_STREAMS = {"stdout": 1, "stderr": 2}
_BACK_AGAIN = 300
"""Milliseconds after which it is looked whether this process is in front again."""

_NO_SIZE = b"\0" * 8
_LOCAL, _SPECIAL = 3, 6
"""Places in what `termios.tcgetattr` returns."""

_OUTPUT = 1


@contextlib.contextmanager
def lend() -> Iterator["Lent"]:
    """Prepare to lend this process's streams; closes all in the end."""
    lent = Lent()
    try:
        yield lent
    finally:
        lent.close()


class Lent:
    """The streams of this process, for one script.

    Attributes:
        attached: What the supervisor is to inherit.
    """

    def __init__(self) -> None:
        """Open pipes and pseudo-terminals."""
        self._former: list[Any] | None = None
        self._is_raw = False
        self._reads: dict[int, int] = {}
        self._given: list[int] = []
        terminals = {name: fd for name, fd in _STREAMS.items() if os.isatty(fd)}
        self._control = next(iter(terminals), "") if _is_ours(0) else ""
        # Output that goes elsewhere may come back to this terminal: `| tee`.
        self._is_shared = len(terminals) < len(_STREAMS)
        relays = {name: self._pipe(fd) for name, fd in _STREAMS.items()}
        self._terminals = {name: self._terminal(fd) for name, fd in terminals.items()}
        self.attached = Attached(
            relays=relays,
            terminals=self._terminals,
            control=self._control,
            stdin=self._stdin(),
            alive=self._pipe(-1),
        )

    def given(self) -> None:
        """Close what the supervisor has inherited by now."""
        for fd in self._given:
            os.close(fd)
        self._given.clear()

    def forked(self) -> None:
        """Close, in a supervisor that was forked, what is for the other process."""
        for fd in self._reads:
            os.close(fd)

    def close(self) -> None:
        """Let the terminal be as it was, and close all that is open."""
        self._restore()
        self.given()
        for fd in [*self._reads, *(master for master, _ in self._terminals.values())]:
            os.close(fd)
        self._reads.clear()
        self._terminals = {}

    def show(self, interrupted: Callable[[], None]) -> None:
        """Show what the script prints, and pass on what is typed, until all is over.

        Args:
            interrupted: Told of each Ctrl-C that is typed; the script has got it.

        Raises:
            OSError: What is printed cannot be shown; BrokenPipeError: nobody reads it.
        """
        poll = select.poll()
        for fd in self._reads:
            poll.register(fd, select.POLLIN)
        wait = _BACK_AGAIN if self._control else None
        with self._signals():
            self._take_over()
            while self._reads:
                if self._is_raw:
                    poll.register(0, select.POLLIN)
                for fd, _ in poll.poll(None if self._is_raw else wait):
                    if fd == 0:
                        self._pass_typed(poll, interrupted)
                    elif not self._pass_printed(fd):
                        poll.unregister(fd)
                        os.close(fd)
                        del self._reads[fd]
        self._restore()

    # --- what is printed -------------------------------------------------------------

    def _pass_printed(self, fd: int) -> bool:
        """Show the next bytes of a pipe; False at its end."""
        data = os.read(fd, _CHUNK)
        target = self._reads[fd]
        with memoryview(data) as view:
            done = 0
            while target >= 0 and done < len(data):
                done += _write(target, view[done:])
        return bool(data)

    # --- what is typed ---------------------------------------------------------------

    def _pass_typed(self, poll: select.poll, interrupted: Callable[[], None]) -> None:
        """Pass on what was typed; Ctrl-Z stops the script and this process."""
        try:
            data = os.read(0, _TYPED) if self._is_raw else b""
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            self._is_raw = False
            poll.unregister(0)
            return
        master, _ = self._terminals[self._control]
        makes_signals, keys = _signal_keys(master)
        if makes_signals and keys[1] in data:
            poll.unregister(0)
            self._stop(master)
            return
        is_interrupt = makes_signals and keys[0] in data
        with contextlib.suppress(OSError):  # the script has ended
            while data:
                data = data[_write(master, data) :]
        if is_interrupt:
            interrupted()

    def _stop(self, master: int) -> None:
        """Stop the script and this process, until somebody has them go on."""
        self._restore()
        group = os.tcgetpgrp(master)
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGSTOP)
        os.killpg(os.getpgrp(), signal.SIGTSTP)  # nothing happens without a shell
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGCONT)
        self._take_over()

    # --- the terminal ----------------------------------------------------------------

    def _take_over(self) -> None:
        """Let what is typed come raw, if this process is in the foreground.

        What is printed is left alone, too, unless others print at this terminal.
        """
        self._resize()
        if self._control and not self._is_raw and _is_ours(0):
            self._former = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSADRAIN)
            if self._is_shared:
                modes = termios.tcgetattr(0)
                modes[_OUTPUT] |= termios.OPOST
                termios.tcsetattr(0, termios.TCSADRAIN, modes)
            self._is_raw = True

    def _restore(self) -> None:
        if self._former is not None and _is_ours(0):
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, self._former)
        self._former, self._is_raw = None, False

    def _resize(self) -> None:
        """Give the script's terminals the size of the ones here.

        That which tells the script of it comes last.
        """
        for name in sorted(self._terminals, key=lambda name: name == self._control):
            master, _ = self._terminals[name]
            _copy_size(_STREAMS[name], master)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Follow the window's size, and being put to the back and to the front."""
        if not self._terminals:
            yield
            return

        def resize(number: int, frame: FrameType | None) -> None:
            self._resize()

        def resume(number: int, frame: FrameType | None) -> None:
            self._take_over()

        former = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGWINCH, resize),
                (signal.SIGCONT, resume),
            )
        }
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    # --- descriptors -----------------------------------------------------------------

    def _pipe(self, target: int) -> int:
        """Make a pipe whose bytes are shown on a descriptor; return its writing end."""
        reading, writing = os.pipe()
        self._reads[reading] = target
        self._given.append(writing)
        return writing

    def _terminal(self, fd: int) -> tuple[int, int]:
        """Make a pseudo-terminal with the modes of a terminal."""
        master, slave = os.openpty()
        modes = termios.tcgetattr(fd)
        if not self._control or self._is_shared:  # this one puts `\r` before `\n`
            modes[_OUTPUT] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        _copy_size(fd, master)
        self._given.append(slave)
        return master, slave

    def _stdin(self) -> int | None:
        """Return what the script reads where that is no terminal."""
        try:
            if self._control or os.isatty(0):
                return None
            own = os.dup(0)
        except OSError:  # it is closed
            return None
        self._given.append(own)
        return own


def _copy_size(source: int, target: int) -> None:
    """Give a terminal the size of another one, where that has any."""
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(source, termios.TIOCGWINSZ, _NO_SIZE)
        fcntl.ioctl(target, termios.TIOCSWINSZ, size)


def _write(fd: int, data: bytes | memoryview) -> int:
    """Write some of it; wait where a descriptor that does not block has no room."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll()
        return 0


def _is_ours(fd: int) -> bool:
    """Whether a descriptor is the terminal that this process may read from now."""
    try:
        return os.isatty(fd) and os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # a terminal, but not that of this session
        return False


def _signal_keys(master: int) -> tuple[bool, tuple[bytes, bytes]]:
    """Return whether keys make signals on a terminal, and those for SIGINT, SIGTSTP."""
    modes = termios.tcgetattr(master)
    special = modes[_SPECIAL]
    keys = special[termios.VINTR], special[termios.VSUSP]
    return bool(modes[_LOCAL] & termios.ISIG), keys
