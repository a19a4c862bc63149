"""`mlog tail`: the last entries of some runs, those that come, those around a moment.

Exit codes: 0; 1 with --grep or --filter when nothing fits, as of grep, and when there
is no such run; 2 for a wrong call.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from mlog.cli.choosing import choice_options, chosen
from mlog.cli.completing import complete_run
from mlog.cli.options import RunCommand, dir_option, find, root_of, typed
from mlog.cli.output import Output
from mlog.cli.place import Place, place_option, show_around
from mlog.cli.repeats import Group, Repeats, grouped
from mlog.errors import MlogError, RunNotFoundError
from mlog.escaping import inline
from mlog.reader.find import iter_runs
from mlog.reader.follow import Found
from mlog.reader.several import RunsFollower, Sources
from mlog.reader.state import read_state

__all__ = ["command", "follow"]

_SHORTEST, _LONGEST = 0.03, 0.25
_REST = 50
"""How many times as long as a look takes it rests: 2 % of a processor's core."""

_QUIET = 0.5
_LONG_QUIET = 10.0
_SEARCHES = ("grep", "filter", "rank", "logger")
"""Options with which to find nothing is told by the exit code."""

"""Seconds without an entry after a run's end, in which other processes may still write."""

_WAIT = 0.2
_MOST_READ = 20_000
"""Entries that are read at most for lines of repeats, so many for one."""

_EXAMPLES = """\b
Examples:
  mlog tail -f
  mlog tail baseline --level WARNING --rank 0
  mlog tail --filter 'level>=warning logger:train.* -retry'
  mlog tail latest -2 --grep 'out of memory'
  mlog tail baseline --around step:41207 --window 6
  mlog tail -n 1000 --json | jq .metric
"""


@click.command("tail", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "runs", metavar="[RUN]...", nargs=-1, callback=typed, shell_complete=complete_run
)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on until they end.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many of the last lines.",
)
@choice_options
@place_option
@click.option("--each", is_flag=True, help="Show lines that say the same one by one.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are.")
@dir_option
def command(
    runs: tuple[str, ...],
    follows: bool,
    count: int,
    around: Place | None,
    window: float | None,
    each: bool,
    as_json: bool,
    dir_: str | None,
    **choice: Any,
) -> None:
    """Show the last lines of RUN (default: latest), or follow it.

    Log lines, metrics and events of all processes, and of all runs named, are one, by
    time. With -f it goes on until the runs have ended, or until Ctrl-C; without a RUN
    it waits for the first one there.
    """
    sources = Sources()
    wanted, may_fit = chosen(sources, **choice)
    folders = _folders(runs, dir_, follows)
    output = Output(sys.stdout.buffer, as_json, folders, sources)
    shown = _Each() if each or as_json else Repeats(time.monotonic)
    searches = any(choice[name] not in (None, "", ()) for name in _SEARCHES)
    if around is not None or window is not None:
        _refuse_with_around(around, folders, follows)
        assert around is not None
        found_any = show_around(
            folders[0], around, window, wanted, output, each=each or as_json
        )
        if searches and not found_any:
            _hint(choice["filter"])
            sys.exit(1)
        return
    follower = RunsFollower(folders, wanted, may_fit)
    try:
        output(shown.begin(_last(follower, count, shown)))
        if follows:
            follow(follower, lambda found: output(shown(found)), quiet=_Dead(follower))
            output(shown.rest())
    except FileNotFoundError as exc:
        gone = [run.folder for run in follower.runs if not run.folder.exists()]
        raise MlogError(f"{gone[0] if gone else exc} was removed") from exc
    except KeyboardInterrupt:
        output(shown.rest())
        _report(follower)
        raise
    _report(follower)
    if searches and not follower.found_any:
        _hint(choice["filter"])
        sys.exit(1)


def _hint(filter: Any) -> None:
    """Say on stderr which field of a filter that found nothing may be misspelt."""
    if filter is None:
        return
    from mlog.reader.search import misspelt

    for name, other in misspelt(filter).items():
        text = f"mlog: {name!r} is a field of your own; did you mean {other}?"
        click.echo(inline(text), err=True)


def _refuse_with_around(
    around: Place | None, folders: list[Path], follows: bool
) -> None:
    """Refuse what does not go with --around."""
    if around is None:
        raise click.UsageError("--window needs --around")
    if follows or len(folders) > 1:
        raise click.UsageError("--around takes one RUN, and no --follow")
    source = click.get_current_context().get_parameter_source("count")
    if source is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--around shows all lines: it takes no -n")


def follow(
    follower: RunsFollower,
    show: Callable[[Iterable[Found]], None],
    *,
    quiet: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show what is added to runs until they have ended.

    Args:
        follower: Reads the runs.
        show: Called at each look, with what was found, if anything; uses it up.
        quiet: Called after each ten seconds without anything new.
        clock: Gives seconds.
        sleep: Waits some seconds: 0.03, and up to 0.25 where a look takes long, as of
            many files on a network.
    """
    last_new = last_told = clock()
    while True:
        begin = clock()
        found = follower.poll()
        first = next(found, None)
        pause = min(max(_REST * (clock() - begin), _SHORTEST), _LONGEST)
        if first is not None:
            show(chain([first], found))
            last_new = last_told = clock()
        elif follower.has_ended and clock() - last_new >= _QUIET:
            return
        else:
            show(())
            if clock() - last_told >= _LONG_QUIET:
                quiet()
                last_told = clock()
        sleep(pause)


class _Dead:
    """Tells once of each run that nobody writes any more, though it has no end."""

    def __init__(self, follower: RunsFollower) -> None:
        self._follower = follower
        self._told: set[Path] = set()

    def __call__(self) -> None:
        """Look at the runs that have not ended."""
        for run in self._follower.runs:
            if run.has_ended or run.folder in self._told:
                continue
            try:
                is_dead = read_state(run.folder).status == "NotResponding"
            except (MlogError, OSError):  # removed just now: told elsewhere
                continue
            if is_dead:
                self._told.add(run.folder)
                text = (
                    f"mlog: {run.folder.name} does not respond and may have been "
                    "killed; waiting for it to be gone on with (Ctrl-C ends)"
                )
                click.echo(inline(text), err=True)


def _folders(runs: tuple[str, ...], dir_: str | None, follows: bool) -> list[Path]:
    """Return the folders of the runs that somebody typed, each once."""
    try:
        return list(dict.fromkeys(find(ref, dir_) for ref in runs or ("latest",)))
    except RunNotFoundError:
        root = root_of(dir_)
        if root.exists():
            os.listdir(root)  # raises where that is the reason
        if runs or not follows or next(iter_runs(root), None) is not None:
            raise
    told = f"mlog: no runs yet in {root}: waiting for the first (Ctrl-C ends it)"
    click.echo(inline(told), err=True)
    while next(iter_runs(root), None) is None:
        time.sleep(_WAIT)
    return [find("latest", dir_)]


# --- the last lines ------------------------------------------------------------------


@dataclass(frozen=True)
class _Each:
    """Shows each line for itself; the other way is `Repeats`."""

    def __call__(self, each: Iterable[Found]) -> Iterator[Group]:
        return (Group(found) for found in each)

    def begin(self, groups: Iterable[Group]) -> Iterator[Group]:
        return iter(groups)

    def rest(self) -> Iterator[Group]:
        return iter(())


def _last(
    follower: RunsFollower, count: int, shown: Repeats | _Each
) -> Iterable[Group]:
    """Return the last lines, of which some may stand for many entries."""
    newest = follower.newest()
    if isinstance(shown, _Each):
        return list(shown(list(islice(newest, count))[::-1]))
    found = list(islice(newest, count))
    groups = list(grouped(reversed(found)))
    while len(groups) < count and len(found) < _MOST_READ:
        more = list(islice(newest, max(len(found), count)))
        if not more:
            break
        found += more
        groups = list(grouped(reversed(found)))
    return groups[max(0, len(groups) - count) :]


def _report(follower: RunsFollower) -> None:
    """Say what was passed over."""
    for run in follower.runs:
        counts = [(run.skipped, "damaged"), (run.torn, "unfinished")]
        parts = [f"{n} {kind} line{'s'[: n != 1]}" for n, kind in counts if n]
        if parts:
            text = f"mlog: skipped {' and '.join(parts)} in {run.folder}"
            click.echo(inline(text), err=True)
