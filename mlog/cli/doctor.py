"""`mlog doctor`: whether all is as it should be, and a bundle for a bug report."""

import importlib.metadata
import io
import os
import platform
import re
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import orjson

from mlog.cli.checks import CHECKS, Finding, Place
from mlog.cli.completing import complete_run
from mlog.cli.lines import wants_colour
from mlog.cli.options import dir_option, find, root_of
from mlog.cli.table import painted, print_lines, width_of
from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.folder import read_from
from mlog.layout import parse_segment
from mlog.reader.page_words import size_text
from mlog.redaction import Redactor

__all__ = ["command"]

_SIGNS = {
    "fine": ("✓", "\x1b[32m"),
    "look": ("!", "\x1b[33m"),
    "fault": ("✕", "\x1b[91m"),
}
_TAIL = 256 << 10

_EXAMPLES = """\b
Examples:
  mlog doctor
  mlog doctor --json | jq '.findings[] | select(.grade != "fine")'
  mlog doctor --bundle                    a file for a bug report
  mlog doctor --bundle --run latest       with the events and last lines of a run
"""


@click.command("doctor", epilog=_EXAMPLES)
@click.option("--bundle", is_flag=True, help="Also write a zip file to send.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Name of that file. Default: mlog-doctor-<time>.zip here.",
)
@click.option(
    "--run",
    shell_complete=complete_run,
    help="With --bundle: also what this run's files say.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@dir_option
def command(
    bundle: bool,
    output: Path | None,
    run: str | None,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Look whether runs can be recorded, and what is worth a look.

    A line for each thing: ✓ fine, ! worth a look, ✕ keeps runs from being recorded.
    The exit code is 1 where there is a ✕.

    The bundle has these lines, the versions of all packages, and with --run the events
    and the last lines of a run. Secrets, your name and your home folder are taken out;
    look into it before you send it.
    """
    if (output or run) and not bundle:
        raise click.UsageError("-o and --run are for --bundle")
    root_of(dir_)  # refuses a wrong --dir
    place = Place(dir_, _cwd(), os.environ)
    folder = find(run, dir_) if run is not None else None
    findings = list(_all(place))
    if not as_json:
        colour = wants_colour(sys.stdout, os.environ)
        width = width_of(sys.stdout, os.environ) if sys.stdout.isatty() else 0
        print_lines(_lines(findings, colour=colour, width=width))
    facts = {"findings": [_facts(finding) for finding in findings]}
    if bundle:
        path = (output or Path(_name())).absolute()
        files = _bundle(path, findings, folder)
        facts |= {"bundle": str(path), "files": files}  # type: ignore[dict-item]
        if not as_json:
            _tell(path, files)
    if as_json:
        click.echo(orjson.dumps(facts))
    if any(finding.grade == "fault" for finding in findings):
        raise click.exceptions.Exit(1)


def _all(place: Place) -> Iterator[Finding]:
    """Yield what all checks find; one that fails is a finding, too."""
    for check in CHECKS:
        try:
            yield from check(place)
        except (OSError, MlogError, ValueError) as exc:
            topic = check.__name__.strip("_")
            yield Finding(topic, "look", f"cannot be looked at: {exc}")


def _lines(
    findings: list[Finding], *, colour: bool = False, width: int = 0
) -> Iterator[str]:
    """Yield a line for each finding; on a terminal more where it is not wide enough."""
    topics = max(len(finding.topic) for finding in findings)
    last = ""
    for finding in findings:
        sign, paint = _SIGNS[finding.grade]
        topic = finding.topic if finding.topic != last else ""
        last = finding.topic
        mark = painted(sign, paint) if colour else sign
        room = max(20, width - topics - 4) if width else sys.maxsize
        first, *more = _wrapped(inline(finding.text), room)
        if finding.hint:
            more += [f"→ {line}" for line in _wrapped(inline(finding.hint), room - 2)]
        yield f"{mark} {topic:<{topics}}  {first}"
        yield from (f"  {'':<{topics}}  {line}" for line in more)


def _wrapped(text: str, width: int) -> list[str]:
    wrapper = textwrap.TextWrapper(width, break_on_hyphens=False)
    return wrapper.wrap(text) or [""]


def _facts(finding: Finding) -> dict[str, object]:
    return {
        "topic": finding.topic,
        "grade": finding.grade,
        "text": finding.text,
        "hint": finding.hint or None,
        "facts": dict(finding.facts),
    }


def _cwd() -> Path:
    try:
        return Path.cwd()
    except OSError:  # somebody removed it
        return Path(os.sep)


# --- the bundle ----------------------------------------------------------------------


def _name() -> str:
    return time.strftime("mlog-doctor-%Y%m%d-%H%M%S.zip")


def _bundle(path: Path, findings: list[Finding], run: Path | None) -> dict[str, int]:
    """Write the zip file, for the user alone; returns what is in it.

    Raises:
        MlogError: The file is there already, or its folder is not.
        OSError: It cannot be written.
    """
    contents = dict(_contents(findings, run))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    if not path.parent.is_dir():
        raise MlogError(f"there is no folder {path.parent}")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = f"{path} is there already; name another file with -o"
        raise MlogError(text) from None
    with open(handle, "wb") as file:
        file.write(packed.getvalue())
    return {name: len(content) for name, content in contents.items()}


def _contents(findings: list[Finding], run: Path | None) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of the bundle's files, without secrets."""
    clean = _Cleaner()
    yield "doctor.txt", clean("".join(f"{line}\n" for line in _lines(findings)))
    facts = [_facts(finding) for finding in findings]
    indented = orjson.dumps(facts, option=orjson.OPT_INDENT_2)
    yield "doctor.json", clean(indented.decode())
    yield "packages.txt", clean("".join(f"{line}\n" for line in _installed()))
    if run is None:
        return
    for name in sorted(os.listdir(run)):
        if name == "run.json" or parse_segment(name) is not None:
            yield f"run/{name}", clean(_tail(run / name))


def _installed() -> list[str]:
    found = {
        f"{each.metadata['Name']}=={each.version}"
        for each in importlib.metadata.distributions()
    }
    return sorted(found, key=str.lower)


def _tail(path: Path) -> str:
    """Return the last lines of a file; a note where it cannot be read."""
    try:
        with read_from(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            content = file.read(_TAIL)
    except OSError as exc:
        return f"{exc.strerror}\n"
    if size > _TAIL:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace")


class _Cleaner:
    """Takes out secrets, the user's name and home folder, and the host's name."""

    def __init__(self) -> None:
        self._redactor = Redactor()
        home = os.path.expanduser("~")
        user = os.environ.get("USER") or os.environ.get("LOGNAME") or ""
        words = [(home, "~"), (user, "<user>"), (platform.node(), "<host>")]
        self._names = [
            (re.compile(rf"(?<![\w./-]){re.escape(name)}(?![\w-])"), word)
            for name, word in words
            if len(name) > 1 and name != "root"
        ]

    def __call__(self, text: str) -> bytes:
        lines = (self._redactor.text(line) for line in text.splitlines(keepends=True))
        clean = "".join(lines)
        for pattern, word in self._names:
            clean = pattern.sub(word, clean)
        return clean.encode("utf-8", "replace")


def _tell(path: Path, files: dict[str, int]) -> None:
    click.echo(f"\n{inline(str(path))} has")
    for name, size in files.items():
        click.echo(f"  {size_text(size):>9}  {inline(name)}")
