"""`mlog tail`: the last entries of a run, and those that come."""

import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, BinaryIO

import click

from mlog.cli.lines import SHOWN_EVENTS, EntryLines, level_of, wants_colour
from mlog.cli.options import RunCommand, dir_option, find, run_argument
from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.reader.follow import Follower, Found

__all__ = ["command", "follow"]

_SHORTEST, _LONGEST, _SLOWER = 0.05, 0.25, 1.1
_QUIET = 0.5
"""Seconds without an entry after a run's end, in which other processes may still write."""

_EXAMPLES = """\b
Examples:
  mlog tail -f
  mlog tail baseline --level WARNING
  mlog tail -n 1000 --json | jq .metric
"""


def _level(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int:
    """Read a level's name or number."""
    if value is None:
        return logging.NOTSET
    names = logging.getLevelNamesMapping()
    if value.upper() in names:
        return names[value.upper()]
    if value.isascii() and value.isdigit():
        return int(value[:9])
    expected = "DEBUG, INFO, WARNING, ERROR, CRITICAL or a number"
    raise click.BadParameter(f"{value!r} is no level; expected {expected}")


@click.command("tail", cls=RunCommand, epilog=_EXAMPLES)
@run_argument
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on until it ends.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many of the last entries.",
)
@click.option("--level", callback=_level, metavar="LEVEL", help="Only from it on up.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are.")
@dir_option
def command(
    run: str, follows: bool, count: int, level: int, as_json: bool, dir_: str | None
) -> None:
    """Show the last entries of RUN (default: latest).

    Log lines, metrics and events of all its processes, by time. With -f it goes on
    until the run has ended, or until Ctrl-C.
    """
    follower = Follower(find(run, dir_))
    show = _Output(sys.stdout.buffer, _encoder(as_json))

    def wanted(found: Found) -> bool:
        event = found.entry.get("event")
        shown = event is None or event in SHOWN_EVENTS
        return shown and level_of(found.entry) >= level

    try:
        show(follower.last(count, wanted))
        if follows:
            follow(follower, lambda found: show(filter(wanted, found)))
    except FileNotFoundError as exc:
        raise MlogError(f"{follower.folder} was removed") from exc
    except BrokenPipeError:
        raise
    except BaseException:
        _report(follower)
        raise
    _report(follower)


def follow(
    follower: Follower,
    show: Callable[[Iterable[Found]], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show what is added to a run until it has ended.

    Args:
        follower: Reads the run.
        show: Called at each look, with what was found, if anything; uses it up.
        clock: Gives seconds.
        sleep: Waits some seconds: 0.05 while there is something new, slowly more, up
            to 0.25, while there is nothing.
    """
    pause, last_new = _SHORTEST, clock()
    while True:
        found = follower.poll()
        first = next(found, None)
        if first is not None:
            show(chain([first], found))
            pause, last_new = _SHORTEST, clock()
        elif follower.has_ended and clock() - last_new >= _QUIET:
            return
        else:
            show(())
            pause = min(pause * _SLOWER, _LONGEST)
        sleep(pause)


class _Output:
    """Writes entries to a stream, and flushes once they are all written."""

    def __init__(self, stream: BinaryIO, encode: Callable[[Found], bytes]) -> None:
        self._stream = stream
        self._encode = encode
        self._poll = _poll_for_reader(stream)

    def __call__(self, found: Iterable[Found]) -> None:
        """Write; also notice, when there is nothing to write, that nobody reads."""
        if self._poll is not None and self._poll.poll(0):
            raise BrokenPipeError
        write, encode = self._stream.write, self._encode
        for one in found:
            write(encode(one))
        self._stream.flush()


def _poll_for_reader(stream: BinaryIO) -> Any:
    """Return what reports the error of a pipe without a reader, where that is known."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # Windows; a test's own stream
        return None
    return poll


def _encoder(as_json: bool) -> Callable[[Found], bytes]:
    """Return what makes the bytes of an entry."""
    if as_json:
        return lambda found: found.raw + b"\n"
    text = EntryLines(colour=wants_colour(sys.stdout, os.environ)).text
    encoding = sys.stdout.encoding or "utf-8"
    return lambda found: text(found).encode(encoding, "backslashreplace")


def _report(follower: Follower) -> None:
    """Say what was passed over."""
    counts = [(follower.skipped, "damaged"), (follower.torn, "unfinished")]
    parts = [f"{n} {kind} line{'s'[: n != 1]}" for n, kind in counts if n]
    if parts:
        text = f"mlog: skipped {' and '.join(parts)} in {follower.folder}"
        click.echo(inline(text), err=True)
