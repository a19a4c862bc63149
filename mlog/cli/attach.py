"""`mlog attach`: the log of another program on a run's time line."""

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from mlog.cli.completing import complete_run
from mlog.cli.options import RunCommand, dir_option, find, typed
from mlog.errors import MlogError
from mlog.reader.state import read_state
from mlog.sources.attaching import Attachment, Known, Printed, last_line
from mlog.sources.foreign_lines import FORMATS
from mlog.sources.streams import (
    FileLines,
    command_lines,
    docker_line,
    journal_line,
    unit_lines,
)

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  mlog attach latest --file server.log              what is there by now
  mlog attach latest --file server.log -f           and what comes, until the run ends
  mlog attach 3f9a1c --docker triton -f
  mlog attach latest --journal nvidia-persistenced
  mlog attach latest -- nvidia-smi dmon
"""

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_PAUSE = 0.25
_LOOK_EVERY = 2.0
_OVER = object()


@click.command("attach", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "words",
    metavar="RUN [-- COMMAND…]",
    nargs=-1,
    required=True,
    callback=typed,
    shell_complete=complete_run,
)
@click.option("--file", "file", type=click.Path(path_type=Path), help="A log file.")
@click.option("--docker", metavar="CONTAINER", help="What a container has printed.")
@click.option("--journal", metavar="UNIT", help="The journal of a systemd unit.")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="auto", show_default=True
)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Say what was done as JSON.")
@dir_option
def command(
    words: tuple[str, ...],
    file: Path | None,
    docker: str | None,
    journal: str | None,
    kind: str,
    follow: bool,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Put the log of another program on the time line of RUN.

    Its lines become entries with their own times, by a writer of its own, also after
    the run has ended. Done again, it goes on behind the last line that is there.
    """
    run, *line = words
    given = [x for x in (file, docker, journal, line or None) if x is not None]
    if len(given) != 1:
        raise click.UsageError(
            "give one of --file, --docker, --journal, or a command behind --"
        )
    folder = find(run, dir_)
    with contextlib.suppress(KeyboardInterrupt):  # -f has no other end
        if file is not None:
            count = _attach_file(folder, file, kind, follow=follow)
        else:
            count = _attach_command(folder, docker, journal, line, kind, follow=follow)
        told = {"run": folder.name, "path": str(folder), "lines": count}
        text = f"attached {count:,} lines to {folder.parent.name}/{folder.name}"
        click.echo(orjson.dumps(told).decode() if as_json else text)


def _now() -> datetime:
    return datetime.now(UTC)


def _attach_file(folder: Path, path: Path, kind: str, *, follow: bool) -> int:
    """Attach a file, and the ones that take its place; return how many lines."""
    count = 0
    waits: Iterator[object] = _until_the_end(folder) if follow else iter(())
    while True:
        if count:  # the next one may not be there yet
            while not path.exists() and next(waits, _OVER) is not _OVER:
                pass
        lines = FileLines(path)
        while follow and not lines.has_begun and next(waits, _OVER) is not _OVER:
            pass
        known = last_line(folder, lines.source)
        lines.begin_behind(known.at)
        with _attached(folder, lines.source, kind, known) as attachment:
            try:
                last = not follow and lines.is_still(time.time())
                attachment.take(lines.read(last=last), _now())
                for _ in waits:
                    if lines.was_replaced():
                        attachment.take(lines.read(last=True), _now())
                        break
                    attachment.take(lines.read(), _now())
                else:
                    attachment.take(lines.read(last=last or follow), _now())
                    return count + attachment.count
            finally:
                lines.close()
            count += attachment.count


def _until_the_end(folder: Path) -> Iterator[None]:
    """Yield now and then until the run has ended; once more after it has."""
    looked = time.monotonic()
    while True:
        time.sleep(_PAUSE)
        yield
        if time.monotonic() - looked < _LOOK_EVERY:
            continue
        looked = time.monotonic()
        if not read_state(folder).goes_on:
            yield
            return


def _attach_command(
    folder: Path,
    docker: str | None,
    journal: str | None,
    line: list[str],
    kind: str,
    *,
    follow: bool,
) -> int:
    if docker is not None:
        source = f"docker:{docker}"
        known = last_line(folder, source)
        line = docker_line(docker, known.at, follow=follow)
    elif journal is not None:
        source = f"journal:{journal}"
        known = last_line(folder, source)
        line, kind = journal_line(journal, known.at, follow=follow), "json"
    else:
        source, known = f"command:{' '.join(line)[:200]}", Known()
    started: list[subprocess.Popen[bytes]] = []
    texts = command_lines(line, started=started.append)
    try:
        with _attached(folder, source, kind, known) as attachment:
            if docker is not None:
                attachment.take(_behind(texts, known.at), _now())
            elif journal is not None:
                attachment.take(unit_lines(texts), _now())
            else:
                for text in texts:
                    attachment.take([Printed(text)], _now())
            return attachment.count
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _behind(texts: Iterator[str], after: int | str | None) -> Iterator[Printed]:
    """Make lines of what docker prints, its time being their place; no known ones."""
    for text in texts:
        stamp = text.partition(" ")[0]
        if not _STAMP.match(stamp):  # the engine's own words, an error for example
            continue
        if isinstance(after, str) and stamp <= after:
            continue
        yield Printed(text, stamp)


@contextlib.contextmanager
def _attached(
    folder: Path, source: str, kind: str, known: Known
) -> Iterator[Attachment]:
    attachment = Attachment(folder, source, kind, known.time)
    attachment.begin()
    try:
        yield attachment
    except OSError as exc:
        raise MlogError(f"{folder} cannot be written to: {exc.strerror}") from exc
    finally:
        attachment.close()
