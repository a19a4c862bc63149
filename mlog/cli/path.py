"""`mlog path`: where a run, or the newest file of one of its streams, is."""

import os
import re
from pathlib import Path

import click
import orjson

from mlog import reader
from mlog.cli.options import RunCommand, dir_option, find, run_argument
from mlog.errors import MlogError
from mlog.layout import SegmentName, parse_segment

__all__ = ["command"]

_STREAMS = ("metrics", "logs", "events")
_MAIN = re.compile(r"(?:a([1-9][0-9]*))?")

_LNAV = Path(reader.__file__).with_name("formats") / "mlog.lnav.json"

_EXAMPLES = """\b
Examples:
  cd "$(mlog path)"
  tail -f "$(mlog path latest metrics)" | jq .metric
  mlog path -2 --json
  lnav -i "$(mlog path --lnav)" && lnav "$(mlog path)"
"""


@click.command("path", cls=RunCommand, epilog=_EXAMPLES)
@run_argument
@click.argument("stream", required=False, type=click.Choice(_STREAMS))
@click.option(
    "--lnav", is_flag=True, help="Where mlog's format for lnav is: `lnav -i FILE`."
)
@dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: str, stream: str | None, lnav: bool, dir_: str | None, as_json: bool
) -> None:
    """Print where RUN (default: latest) or its STREAM is.

    STREAM is metrics, logs or events: the file that the main process writes at last.
    """
    if lnav:
        facts = {"path": str(_LNAV)}
        click.echo(orjson.dumps(facts) if as_json else str(_LNAV))
        return
    folder = _find(run, stream, dir_)
    path = folder / _newest(folder, stream) if stream else folder
    if as_json:
        _print_json(folder, stream, path)
    else:
        click.echo(os.fsencode(path))  # whatever bytes its name is made of


def _find(run: str, stream: str | None, dir_: str | None) -> Path:
    """Find the run; a stream in the place of the run is explained."""
    try:
        return find(run, dir_)
    except MlogError as exc:
        if run not in _STREAMS or stream is not None:
            raise
        text = f"{exc}; for a stream of the newest run: `mlog path latest {run}`"
        raise MlogError(text) from exc


def _newest(folder: Path, stream: str) -> str:
    """Return the newest segment of a stream of the main writer."""
    found = [s for s in map(parse_segment, os.listdir(folder)) if s is not None]
    segments = [s for s in found if s.stream == stream]
    mains = [s for s in segments if _MAIN.fullmatch(s.writer)]
    if mains:
        return max(mains, key=_age).filename
    others = ", ".join(sorted(s.filename for s in segments))
    there = f", only of other processes: {others}" if others else ""
    raise MlogError(f"run {folder.name} has no {stream} of its main process{there}")


def _age(segment: SegmentName) -> tuple[int, int]:
    match = _MAIN.fullmatch(segment.writer)
    return int(match[1] or 1) if match else 0, segment.number


def _print_json(folder: Path, stream: str | None, path: Path) -> None:
    fields = {
        "run": folder.name,
        "experiment": folder.parent.name,
        "stream": stream,
        "path": os.fsencode(path).decode("utf-8", "replace"),
    }
    if stream is None:
        del fields["stream"]
    click.echo(orjson.dumps(fields).decode())
