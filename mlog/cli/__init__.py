"""The command `mlog`. A file per command, imported when it is used.

Exit codes: 0; 1 when what was asked for is not there or cannot be done, with one line
on stderr; 2 for a wrong call; 130 after Ctrl-C; 141 when nobody reads the output any
more. No traceback for anything a user can cause.
"""

import gc
import importlib
import os
import sys
from typing import Any

import click

from mlog.errors import MlogError, show_warnings_plainly, told
from mlog.escaping import inline

__all__ = ["drop_output", "main"]

_COMMANDS = (
    *(
        "attach",
        "cancel",
        "compare",
        "completion",
        "doctor",
        "export",
        "import",
        "init",
        "ls",
    ),
    *("path", "plot", "prune", "query", "report", "rm", "run", "ship", "show"),
    *("sweep", "tail", "verify"),
)
_OBJECTS = 50_000
"""That come before Python looks for cycles among them; by default 700 to 2,000."""

_MODULES = {"import": "import_"}  # a keyword names no module

_EXAMPLES = """\b
Examples:
  mlog init                               keep this project's runs in .mlog/
  mlog path                               where the newest run is
  mlog run train.py --lr 0.1              run a script, with all it prints
  mlog tail -f                            watch it
  tail -f "$(mlog path)/metrics.jsonl"    the same with the system's own tools
"""


class _Commands(click.Group):
    """Imports a command when it is asked for, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name."""
        if cmd_name not in _COMMANDS:
            return None
        module = _MODULES.get(cmd_name, cmd_name)
        command = importlib.import_module(f"mlog.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            if getattr(sys, "stdout", None) is None:  # closed by the shell: >&-
                raise MlogError("standard output is closed")
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:
            drop_output()
            ctx.exit(141)
        except (MlogError, OSError) as exc:
            click.echo(f"mlog: {inline(told(exc))}", err=True)
            drop_output()
            ctx.exit(1)
        return result


def drop_output() -> None:
    """Let what is still buffered go nowhere, so that the exit is quiet."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or a test's own
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _open_standard() -> None:
    """Let standard streams that were closed lead nowhere.

    What is opened next would else get the number of one, and be taken for it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "", ""), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            if name:  # without standard output there is nothing to be done
                setattr(sys, name, open(number, mode, closefd=False))


def _show_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        # The package root is there in any case; nothing in the package imports it.
        click.echo(f"mlog {sys.modules['mlog'].__version__}")
        ctx.exit()


@click.command(
    cls=_Commands,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Look at the runs that mlog records.

    RUN is an id, its beginning or end, a name, EXPERIMENT/ID or a path; `latest` is the
    newest run, `-2` the one before it.
    """


def main() -> None:
    """Run the command line of this process; ends it."""
    _open_standard()
    show_warnings_plainly()
    # What commands make is no cycles: 10,000 runs are listed in two thirds of the time.
    gc.set_threshold(_OBJECTS, 20, 20)
    cli(prog_name="mlog")
