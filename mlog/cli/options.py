"""What commands share: naming a run, and the root it is looked for in."""

import os
import re
from pathlib import Path

import click

from mlog.errors import RunNotFoundError
from mlog.layout import find_root
from mlog.reader.find import find_run, iter_runs

__all__ = ["RunCommand", "dir_option", "find", "run_argument"]

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
    "run", metavar="[RUN]", default="latest", callback=_with_hyphen
)

dir_option = click.option(
    "--dir",
    "dir_",
    metavar="FOLDER",
    help="Root of all runs. Default: MLOG_DIR, else the nearest .mlog folder upward, "
    "else the user's data folder.",
)


def find(ref: str, dir_: str | None) -> Path:
    """Return the folder of the run that somebody typed, absolute.

    Raises:
        MlogError: Nothing or several fit; the message says what to type next.
        click.BadParameter: The root's name stands for no folder.
    """
    try:
        root = find_root(dir_, env=os.environ, cwd=_cwd())
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--dir") from exc
    try:
        return find_run(ref, root=root)
    except RunNotFoundError as exc:
        if next(iter_runs(root), None) is not None:
            raise
        raise RunNotFoundError(
            f"no runs yet in {root}: start one with `mlog.start_run()` in a script, "
            "or name another folder with --dir"
        ) from exc


def _cwd() -> Path:
    try:
        return Path.cwd()
    except OSError:  # somebody removed it
        return Path(os.sep)
