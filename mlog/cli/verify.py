"""`mlog verify`: whether all that was logged is there."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.completing import complete_run
from mlog.cli.lines import wants_colour
from mlog.cli.options import (
    RunCommand,
    all_runs,
    dir_option,
    find,
    root_of,
    typed,
)
from mlog.cli.table import print_lines
from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.reader.page_words import count_text, size_text
from mlog.reader.verify import verify_run
from mlog.reader.verify_results import (
    ArtifactProblem,
    Damage,
    Numbers,
    RunCheck,
    WriterCheck,
)

__all__ = ["command"]

_DAMAGED = "with losses or damage"
_MAX_RANGES = 12
_MAX_LINES = 10
_MAX_COMPLETE = 8
_RESET, _GREEN, _YELLOW, _RED = "\x1b[0m", "\x1b[32m", "\x1b[33m", "\x1b[91m"
_COLOURS = {"complete": _GREEN, "tail unproved": _YELLOW}

_EXAMPLES = """\b
Examples:
  mlog verify
  mlog verify baseline -2 --deep          also the checksums of artifacts
  mlog verify --all                       every run; shows those that are not complete
  mlog verify --json | jq '.writers[].lost'
"""


@click.command("verify", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "runs", metavar="[RUN…]", nargs=-1, callback=typed, shell_complete=complete_run
)
@click.option("--all", "is_all", is_flag=True, help="All runs below the root.")
@click.option("--deep", is_flag=True, help="Also compute the checksums of artifacts.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per run.")
@dir_option
def command(
    runs: tuple[str, ...], is_all: bool, deep: bool, as_json: bool, dir_: str | None
) -> None:
    """Check that nothing logged to RUN (default: latest) is lost.

    Each process numbers its entries, so for each there is a verdict. "complete": all
    numbers up to its end are there. "lost": some are missing; "unreadable": they may
    be in files that cannot be read. "tail unproved": none is missing, but the process
    was killed or still runs, so that nobody can tell whether there was one more.

    The exit code is 0 when nothing is lost or damaged, else 1.
    """
    if is_all and runs:
        raise click.UsageError("--all is all runs: leave out RUN")
    folders = all_runs(root_of(dir_)) if is_all else _named(runs or ("latest",), dir_)
    show = _Output(as_json=as_json, only_incomplete=is_all)
    for folder in folders:
        try:
            show(verify_run(folder, deep=deep, now=time.time()))
        except (MlogError, OSError) as exc:
            show.failed(folder, exc)
    if is_all and not as_json:
        show.summary()
    if not show.are_whole:
        raise SystemExit(1)


def _named(runs: Iterable[str], dir_: str | None) -> list[Path]:
    return list(dict.fromkeys(find(run, dir_) for run in runs))


class _Output:
    """Shows one run after the other.

    Attributes:
        are_whole: Whether nothing was lost or damaged in any so far.
    """

    def __init__(self, *, as_json: bool, only_incomplete: bool) -> None:
        self.are_whole = True
        self._as_json = as_json
        self._only_incomplete = only_incomplete
        self._colours = _COLOURS if wants_colour(sys.stdout, os.environ) else None
        self._counts: Counter[str] = Counter()

    def __call__(self, check: RunCheck) -> None:
        verdict = _verdict(check)
        self.are_whole &= check.is_whole
        self._counts[verdict if check.is_whole else _DAMAGED] += 1
        if self._as_json:
            click.echo(orjson.dumps(_json(check, verdict)).decode())
        elif not self._only_incomplete:
            print_lines([self._head(check, verdict), *_below(check)])
        elif verdict != "complete":
            below = () if check.is_whole else _below(check)
            print_lines([self._head(check, verdict), *below])
        sys.stdout.flush()

    def failed(self, folder: Path, error: Exception) -> None:
        """Tell of a run that could not be read."""
        self.are_whole = False
        self._counts["not readable"] += 1
        name = f"{folder.parent.name}/{folder.name}"
        click.echo(inline(f"mlog: cannot check {name}: {error}"), err=True)

    def summary(self) -> None:
        """Say how many there are of each kind."""
        total = count_text(self._counts.total(), "run")
        kinds = ("complete", "tail unproved", _DAMAGED, "not readable")
        parts = [f"{self._counts[k]:,} {k}" for k in kinds if self._counts[k]]
        print_lines([f"{total}: {', '.join(parts)}"])

    def _head(self, check: RunCheck, verdict: str) -> str:
        if self._colours is not None:
            verdict = f"{self._colours.get(verdict, _RED)}{verdict}{_RESET}"
        return f"{inline(f'{check.folder.parent.name}/{check.folder.name}')}: {verdict}"


# --- words ---------------------------------------------------------------------------


def _verdict(check: RunCheck) -> str:
    """Return what there is to say of a run in one line."""
    if not check.writers:
        return "no entries: it has no segments"
    if parts := list(_troubles(check)):
        return ", ".join(parts)
    are_complete = all(writer.verdict == "complete" for writer in check.writers)
    return "complete" if are_complete else "tail unproved"


def _troubles(check: RunCheck) -> Iterator[str]:
    writers = check.writers
    if lost := sum(w.lost.count for w in writers if w.verdict == "lost"):
        yield "1 entry lost" if lost == 1 else f"{lost:,} entries lost"
    if unseen := sum(w.lost.count for w in writers if w.verdict == "unreadable"):
        yield f"{count_text(unseen, 'number')} not seen"
    if damaged := sum(writer.damaged for writer in writers):
        yield count_text(damaged, "damaged line")
    if unreadable := sum(len(writer.unreadable) for writer in writers):
        yield count_text(unreadable, "unreadable file")
    if missing := sum(ranks.ranks.count for ranks in check.missing_ranks):
        yield count_text(missing, "missing rank")
    if check.problems:
        verb = "differs" if len(check.problems) == 1 else "differ"
        yield f"{count_text(len(check.problems), 'artifact')} {verb}"


def _below(check: RunCheck) -> Iterator[str]:
    """Yield the lines on a run's parts."""
    plain = [w for w in check.writers if _is_plain(w)]
    collapses = len(plain) > _MAX_COMPLETE
    width = max((len(_label(w)) for w in check.writers), default=0)
    for writer in check.writers:
        if not (collapses and _is_plain(writer)):
            first, *more = _writer_lines(writer)
            yield f"  {_label(writer):<{width}}  {first}"
            yield from (f"  {'':<{width}}  {line}" for line in more)
    if collapses:
        entries = sum(writer.entries for writer in plain)
        yield f"  {len(plain):,} more writers: complete, {_entries(entries)}"
    for missing in check.missing_ranks:
        ranks = f"{_ranges(missing.ranks)} of {missing.world_size:,}"
        yield f"  missing ranks of attempt {missing.attempt}: {ranks}"
    if check.artifacts and not check.problems:
        how = "with their checksums" if check.hashed else "by their size"
        yield f"  {count_text(check.artifacts, 'artifact')}: complete, {how}"
    yield from _limited([_problem(problem) for problem in check.problems])


def _is_plain(writer: WriterCheck) -> bool:
    """Whether there is nothing to say but that it is complete."""
    parts = (writer.damages, writer.dropped.count, writer.duplicates.count)
    return writer.verdict == "complete" and writer.is_whole and not any(parts)


def _label(writer: WriterCheck) -> str:
    return writer.name or "main"


def _writer_lines(writer: WriterCheck) -> Iterator[str]:
    """Yield the verdict on a writer, and what else there is to say."""
    yield _first_line(writer)
    if writer.dropped.count:
        reasons = f" ({inline('; '.join(writer.reasons))})" if writer.reasons else ""
        yield f"{writer.dropped.count:,} dropped{reasons}: {_ranges(writer.dropped)}"
    if writer.in_flight.count:
        count = f"{writer.in_flight.count:,} in flight"
        yield f"{count}, not lost: {_ranges(writer.in_flight)}"
    if writer.duplicates.count:
        count = f"{writer.duplicates.count:,} more than once"
        yield f"{count}: {_ranges(writer.duplicates)}"
    yield from _limited([f"{name} is not there" for name in writer.absent])
    unreadable = (f"{u.segment} cannot be read: {u.reason}" for u in writer.unreadable)
    yield from _limited([inline(line) for line in unreadable])
    yield from _limited([_damage(damage) for damage in writer.damages])


def _first_line(writer: WriterCheck) -> str:
    if writer.lost.count:
        of = _entries(writer.last + 1)
        text = f"{writer.lost.count:,} of {of}"
        if writer.verdict == "unreadable":
            return f"{text} not seen, as files cannot be read: {_ranges(writer.lost)}"
        return f"lost {text}: {_ranges(writer.lost)}"
    why = "" if writer.ended else " (it still runs)" if writer.alive else " (no end)"
    return f"{writer.verdict}{why}, {_entries(writer.entries)}"


def _damage(damage: Damage) -> str:
    place = f"{damage.segment}, line {damage.line:,} at byte {damage.offset:,}"
    return {
        "damaged": f"{place}: damaged, {size_text(damage.size)}",
        "glued": f"{place}: a cut entry before a whole one",
        "torn": f"{place}: unfinished, {size_text(damage.size)}",
    }[damage.kind]


def _problem(problem: ArtifactProblem) -> str:
    what = {
        "missing": "is not there",
        "unreadable": f"cannot be read: {problem.found}",
        "size": f"has {problem.found} bytes, recorded were {problem.expected}",
        "sha256": "has another content: SHA-256 differs",
    }[problem.problem]
    return inline(f"  artifact {problem.path or repr('')} {what}")


def _limited(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MAX_LINES]
    if len(lines) > _MAX_LINES:
        yield f"… and {len(lines) - _MAX_LINES:,} more"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count:,} entries"


def _ranges(numbers: Numbers) -> str:
    """Return numbers as text: `3, 5-7`."""
    shown = numbers.ranges[:_MAX_RANGES]
    more = len(numbers.ranges) - len(shown) + numbers.more
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in shown)
    return f"{text} and {count_text(more, 'more range')}" if more else text


# --- JSON ----------------------------------------------------------------------------


def _json(check: RunCheck, verdict: str) -> dict[str, Any]:
    return {
        "run": check.folder.name,
        "experiment": check.folder.parent.name,
        "path": os.fsencode(check.folder).decode("utf-8", "replace"),
        "whole": check.is_whole,
        "summary": verdict,
        "writers": [_writer_json(writer) for writer in check.writers],
        "missing_ranks": check.missing_ranks,
        "artifacts": {
            "count": check.artifacts,
            "checksums": check.hashed,
            "problems": check.problems,
        },
    }


def _writer_json(writer: WriterCheck) -> dict[str, Any]:
    fields = orjson.loads(orjson.dumps(writer))
    return {"writer": fields.pop("name"), "verdict": writer.verdict, **fields}
