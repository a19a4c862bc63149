"""What commands share: naming a run, and the root it is looked for in."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import click

from mlog.cli.completing import complete_folder, complete_run
from mlog.errors import RunNotFoundError, told
from mlog.escaping import inline
from mlog.layout import find_root
from mlog.reader.find import (
    closed,
    experiment_folders,
    find_run,
    iter_runs,
    run_folders,
)

__all__ = [
    "RunCommand",
    "all_runs",
    "dir_option",
    "find",
    "no_experiment",
    "pairs",
    "report_closed",
    "root_of",
    "run_argument",
    "typed",
]

_MINUS = "\N{MINUS SIGN}"
_NTH = re.compile(r"-[1-9][0-9]*")


class RunCommand(click.Command):
    """A command with a RUN, which may be `-2`: no option, although it looks like one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the minus of such a RUN in a form that is no option's."""
        end = args.index("--") if "--" in args else len(args)
        shown = [_MINUS + a[1:] if _NTH.fullmatch(a) else a for a in args[:end]]
        return super().parse_args(ctx, shown + args[end:])


def _with_hyphen(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    return "-" + value[1:] if value.startswith(_MINUS) else value


run_argument = click.argument(
    "run",
    metavar="[RUN]",
    default="latest",
    callback=_with_hyphen,
    shell_complete=complete_run,
)

dir_option = click.option(
    "--dir",
    "dir_",
    metavar="FOLDER",
    shell_complete=complete_folder,
    help="Root of all runs. Default: MLOG_DIR, else the nearest .mlog folder upward, "
    "else the user's data folder.",
)


def pairs(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Read `k=v` as often as it was given."""
    found = {}
    for value in values:
        key, sign, text = value.partition("=")
        if not sign or not key:
            raise click.BadParameter(f"{value!r} is not of the form k=v", param=param)
        found[key] = text
    return found


def typed(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Give names of runs such as `-2`, which `RunCommand` has changed, their hyphen."""
    return tuple(_with_hyphen(_ctx, _param, value) for value in values)


def root_of(dir_: str | None) -> Path:
    """Return the root of all runs that `--dir` stands for; it need not be there.

    Raises:
        click.BadParameter: Its name stands for no folder.
    """
    try:
        return find_root(dir_, env=os.environ, cwd=_cwd())
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--dir") from exc


def all_runs(root: Path) -> list[Path]:
    """Return the folders of all runs; at least one.

    Raises:
        RunNotFoundError: There is none; the message says what to type next.
        OSError: The root, or what is in it, cannot be read.
    """
    folders = list(iter_runs(root))
    if folders:
        return folders
    for reason in closed(
        [root, *experiment_folders(root), *run_folders(root)]
    ).values():
        raise reason
    raise RunNotFoundError(_no_runs(root))


def no_experiment(name: str, there: list[str], root: Path) -> str:
    """Say that there is no such experiment, and what there is instead."""
    from difflib import get_close_matches  # slow to import, and only for this

    close = get_close_matches(name, there, n=3, cutoff=0.5)
    if close:
        return f"no experiment {name!r} in {root}; did you mean {', '.join(close)}?"
    more = f" and {len(there) - 8:,} more" if len(there) > 8 else ""
    return f"no experiment {name!r} in {root}; there are {', '.join(there[:8])}{more}"


def report_closed(folders: Iterable[Path]) -> None:
    """Say on stderr how many of some folders were left out, as they may not be read."""
    reasons = list(closed(folders).values())
    if reasons:
        count = f"{len(reasons):,} folder{'s'[: len(reasons) != 1]}"
        click.echo(inline(f"mlog: cannot read {count}: {told(reasons[0])}"), err=True)


def find(ref: str, dir_: str | None) -> Path:
    """Return the folder of the run that somebody typed, absolute.

    Raises:
        MlogError: Nothing or several fit; the message says what to type next.
        click.BadParameter: The root's name stands for no folder.
    """
    root = root_of(dir_)
    try:
        return find_run(ref, root=root)
    except RunNotFoundError as exc:
        if next(iter_runs(root), None) is not None:
            raise
        raise RunNotFoundError(_no_runs(root)) from exc


def _no_runs(root: Path) -> str:
    return (
        f"no runs yet in {root}: start one with `mlog.start_run()` in a script, "
        "or name another folder with --dir"
    )


def _cwd() -> Path:
    try:
        return Path.cwd()
    except OSError:  # somebody removed it
        return Path(os.sep)
