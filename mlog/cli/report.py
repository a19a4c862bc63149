"""`mlog report`: runs as one HTML file to look at and to send."""

import os
import sys
from pathlib import Path

import click
import orjson

from mlog.cli.completing import complete_run
from mlog.cli.options import RunCommand, dir_option, find, typed
from mlog.cli.saving import save
from mlog.escaping import inline
from mlog.reader.page_words import size_text
from mlog.reader.report import MAX_RUNS, report_html

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  mlog report                          the newest run
  mlog report baseline latest -o comparison.html
  mlog report -2 -o - | ssh host 'cat > public_html/run.html'
"""


@click.command("report", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "runs", metavar="[RUN…]", nargs=-1, callback=typed, shell_complete=complete_run
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    help="The file; - is standard output. Default: <id>.html or report.html here.",
)
@click.option(
    "--curves",
    type=click.IntRange(min=0, max=60),
    default=12,
    show_default=True,
    help="How many metrics to draw.",
)
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what was made.")
@dir_option
def command(
    runs: tuple[str, ...],
    output: Path | None,
    curves: int,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Make one HTML file of RUN (default: latest), or of several.

    Curves, params, metrics, the last errors with the lines around them, small images,
    the environment. The file needs nothing besides itself: no script, no network. It has
    at most 5 MB, and replaces a file of its name.
    """
    to_stdout = output == Path("-")
    if to_stdout and as_json:
        raise click.UsageError("--json and -o - both want standard output")
    if len(runs) > MAX_RUNS:
        raise click.UsageError(f"a report has at most {MAX_RUNS} runs, got {len(runs)}")
    folders = [find(run, dir_) for run in runs or ("latest",)]
    content = report_html(folders, max_curves=curves).encode()
    if to_stdout:
        sys.stdout.buffer.write(content)
        return
    path = (output or Path(_default(folders))).absolute()
    save(path, content)
    _tell(path, content, folders, as_json)


def _default(folders: list[Path]) -> str:
    return f"{folders[0].name}.html" if len(folders) == 1 else "report.html"


def _tell(path: Path, content: bytes, folders: list[Path], as_json: bool) -> None:
    text = os.fsencode(path).decode("utf-8", "replace")
    if as_json:
        runs = [folder.name for folder in folders]
        facts = {"path": text, "bytes": len(content), "runs": runs}
        click.echo(orjson.dumps(facts))
    else:
        click.echo(f"{inline(text)} ({size_text(len(content))})")
