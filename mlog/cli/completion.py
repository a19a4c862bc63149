"""`mlog completion`: the script that makes a shell complete what mlog takes."""

import click
import orjson
from click.shell_completion import get_completion_class

from mlog.errors import MlogError

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  eval "$(mlog completion bash)"         in ~/.bashrc
  eval "$(mlog completion zsh)"          in ~/.zshrc, after compinit
  mlog completion fish > ~/.config/fish/completions/mlog.fish
"""


@click.command("completion", epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(shell: str, as_json: bool) -> None:
    """Print what makes SHELL complete commands, options and runs.

    Offered are the ids and names of runs, experiments and metrics below the root, as
    far as they need no quotes.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise MlogError(f"this version of click knows no {shell}")
    root = click.get_current_context().find_root().command
    script = kind(root, {}, "mlog", "_MLOG_COMPLETE").source()
    click.echo(orjson.dumps({"shell": shell, "script": script}) if as_json else script)
