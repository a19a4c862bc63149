"""What a shell may put in the place of a word that is being typed.

Offered are words that need no quotes in any shell. Names of runs stand in their
`run.json`, so only those of the runs that have changed last are read. What cannot be
read is not offered; nothing is ever said.
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path

import click
import orjson
from click.shell_completion import CompletionItem

from mlog.folder import read_from
from mlog.layout import find_root
from mlog.reader.find import find_run, iter_runs, name_of

__all__ = [
    "complete_experiment",
    "complete_file",
    "complete_folder",
    "complete_metric",
    "complete_run",
]

_PLAIN = re.compile(r"[A-Za-z0-9_@%+,./=][A-Za-z0-9_@%+,./=-]*")
_FRESH_ID = re.compile(r"[0-9]{8}-[0-9]{6}-([0-9a-f]{6})")
_MAX_NAMED = 200
_MAX_OFFERED = 500
_MAX_DOCUMENT = 4 << 20

_Words = Iterator[tuple[str, str]]
"""Words, and what is said of each where the shell shows that."""

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offering(
    words: Callable[[click.Context, Path, str], _Words],
) -> _Complete:
    """Turn a function that yields words into one for click."""

    @wraps(words)
    def complete(
        ctx: click.Context, _param: click.Parameter, typed: str
    ) -> list[CompletionItem]:
        found: dict[str, str] = {}
        try:
            given = ctx.params.get("dir_")
            root = find_root(given, env=os.environ, cwd=Path.cwd())
            for word, said in words(ctx, root, typed):
                if word.startswith(typed) and _PLAIN.fullmatch(word):
                    found.setdefault(word, said)
                if len(found) == _MAX_OFFERED:
                    break
        except Exception:  # a half typed line must not be answered by an error
            pass
        return [CompletionItem(word, help=said or None) for word, said in found.items()]

    return complete


@_offering
def complete_run(ctx: click.Context, root: Path, typed: str) -> _Words:
    """Offer ids, whole and short, and names, the newest first; EXPERIMENT/ID after a slash."""
    runs = list(iter_runs(root))
    if "/" in typed:
        for run in runs:
            yield f"{run.parent.name}/{run.name}", ""
        return
    yield "latest", "the newest run"
    newest = sorted(runs, key=_changed, reverse=True)
    for run in newest[:_MAX_NAMED]:
        name = name_of(run)
        if name and name != run.name:
            yield name, f"{run.parent.name}/{run.name}"
    for run in newest:
        yield run.name, run.parent.name
    for run in newest:
        if (found := _FRESH_ID.fullmatch(run.name)) is not None:
            yield found[1], f"{run.parent.name}/{run.name}"  # as lists show it


@_offering
def complete_experiment(ctx: click.Context, root: Path, typed: str) -> _Words:
    """Offer experiments, by their names."""
    for folder in dict.fromkeys(run.parent for run in iter_runs(root)):
        yield folder.name, ""


@_offering
def complete_metric(ctx: click.Context, root: Path, typed: str) -> _Words:
    """Offer the metrics of the run that was named, else of the latest ones."""
    ref = ctx.params.get("run")
    if isinstance(ref, str):
        runs = [find_run(ref, root=root)]
    else:
        runs = sorted(iter_runs(root), key=_changed, reverse=True)[:_MAX_NAMED]
    for run in runs:
        metrics = _document(run).get("metrics")
        for name in metrics if isinstance(metrics, dict) else ():
            yield name, ""


def complete_file(
    ctx: click.Context, param: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Let the shell offer files."""
    return [CompletionItem(typed, type="file")]


def complete_folder(
    ctx: click.Context, param: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Let the shell offer folders."""
    return [CompletionItem(typed, type="dir")]


def _document(run: Path) -> dict[str, object]:
    """Return what `run.json` has; {} where it cannot be read."""
    try:
        with read_from(run / "run.json") as file:
            found = orjson.loads(file.read(_MAX_DOCUMENT))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _changed(run: Path) -> int:
    try:
        return os.stat(run).st_mtime_ns
    except OSError:
        return 0
