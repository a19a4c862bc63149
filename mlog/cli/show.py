"""`mlog show`: all that is known of one run."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.fields import STATUS_COLOURS, age_text, json_text
from mlog.cli.lines import wants_colour
from mlog.cli.options import RunCommand, dir_option, find, run_argument
from mlog.cli.show_tables import (
    artifact_columns,
    child_columns,
    children,
    metric_columns,
    model_columns,
    shown_sinks,
    writer_columns,
)
from mlog.cli.sink_table import sink_errors, sink_fields
from mlog.cli.table import (
    Column,
    fit,
    fitted,
    pad,
    painted,
    print_lines,
    table_lines,
    width_of,
)
from mlog.errors import MlogError
from mlog.escaping import escape
from mlog.reader.alive import seconds_of
from mlog.reader.fields import mapping_from, text_from, whole_from
from mlog.reader.log_errors import MAX_LOG, LogErrors, read_errors
from mlog.reader.page_facts import SYMBOLS, read_others
from mlog.reader.page_words import (
    moment,
    one_line,
    rest_text,
    size_text,
    span,
    value_text,
)
from mlog.reader.state import RunState, WriterState, read_state
from mlog.shipping.status import SinkStatus, read_status
from mlog.widths import text_width

__all__ = ["command"]

_MOST = 40
"""Rows of a section where nothing else is said."""

_BOLD, _DIM, _RED = "\x1b[1m", "\x1b[2m", "\x1b[91m"
_MAX_LABEL = 32
_TRACEBACK = 12
"""Lines of a logged error's traceback."""

_EXAMPLES = """\b
Examples:
  mlog show
  mlog show baseline --packages
  mlog show -2 --json | jq .metrics.loss.min
"""


@click.command("show", cls=RunCommand, epilog=_EXAMPLES)
@run_argument
@click.option("--packages", is_flag=True, help="Also list the installed packages.")
@click.option(
    "--all", "everything", is_flag=True, help=f"Not only {_MOST} rows of each section."
)
@click.option(
    "--state",
    "cursors",
    metavar="FOLDER",
    help="Also look here for what was sent, as `mlog ship --state` keeps it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@dir_option
def command(
    run: str,
    packages: bool,
    everything: bool,
    cursors: str | None,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Show what is known of RUN (default: latest).

    Status, times, processes, params, tags, metrics, other values, files, environment,
    children, how far it was sent, what ended it, and the last errors of its log.
    """
    state = read_state(find(run, dir_))
    log = read_errors(state.folder)
    sinks = _sinks(state, cursors)
    if as_json:
        fields = _fields_of(state, log, sinks, packages=packages)
        click.echo(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE), nl=False)
        return
    sections = _Sections(
        state,
        width=width_of(sys.stdout, os.environ),
        colour=wants_colour(sys.stdout, os.environ),
        most=sys.maxsize if everything else _MOST,
    )
    print_lines(sections.lines(log, sinks, packages=packages))


def _sinks(state: RunState, cursors: str | None) -> list[SinkStatus]:
    """Return how far each sink is; the rest is shown also where that cannot be read."""
    try:
        place = None if cursors is None else Path(cursors).expanduser().absolute()
        return read_status(state.folder, state=place, now=state.read_at)
    except (OSError, MlogError):
        return []


# --- text ----------------------------------------------------------------------------


class _Sections:
    """Makes the lines of a run, section by section; one without content is left out."""

    def __init__(self, state: RunState, *, width: int, colour: bool, most: int) -> None:
        self._state = state
        self._width = width
        self._colour = colour
        self._most = most

    def lines(
        self, log: LogErrors, sinks: list[SinkStatus], *, packages: bool
    ) -> Iterator[str]:
        """Yield all lines, without newlines."""
        state = self._state
        environment = state.environment
        installed = mapping_from(environment.get("packages"))
        others = read_others(state)
        sections: list[tuple[str, Iterable[str]]] = [
            ("error", self._error()),
            (_counted("params", state.params), self._pairs(_texts_of(state.params))),
            (_counted("tags", state.tags), self._pairs(_texts_of(state.tags))),
            (
                _counted("properties", state.properties),
                self._pairs(_texts_of(state.properties)),
            ),
            (
                _counted("metrics", state.metrics),
                self._rows(metric_columns, state.metrics.items()),
            ),
            (_counted("values", others), self._pairs(_other_texts(others))),
            (
                _counted("artifacts", state.artifacts),
                self._rows(artifact_columns, state.artifacts.values()),
            ),
            (
                _counted("models", state.models),
                self._rows(model_columns, state.models),
            ),
            ("snapshot", self._pairs(_snapshot_facts(state))),
            ("git", self._pairs(_git_facts(state))),
            ("environment", self._pairs(_environment_facts(state))),
            ("packages", self._pairs(_texts_of(installed) if packages else {})),
            (
                _counted("processes", state.writers),
                self._rows(writer_columns, sorted(state.writers, key=_place)),
            ),
            (
                _counted("children", state.children),
                self._rows(child_columns, children(state, self._most)),
            ),
            ("shipping", self._shipping(sinks)),
            (_log_title(log), self._log(log)),
        ]
        yield from self._head()
        for title, found in sections:
            lines = list(found)
            if lines:
                yield ""
                yield self._paint(title, _BOLD)
                yield from lines

    def _head(self) -> Iterator[str]:
        state = self._state
        experiment = one_line(state.experiment or "?")
        status = f"{SYMBOLS.get(state.status, '…')} {one_line(state.status)}"
        colour = STATUS_COLOURS.get(state.status, "")
        name = self._paint(one_line(state.name or state.run_id), _BOLD)
        yield f"{experiment} / {name}  {self._paint(status, colour)}"
        yield from self._pairs(_head_facts(state), whole=("id", "folder", "parent"))

    def _error(self) -> Iterator[str]:
        """Yield what ended the run, with its traceback as it is."""
        error = self._state.error or {}
        kind, msg = text_from(error.get("type")), text_from(error.get("msg"))
        text = ": ".join(filter(None, (kind, msg)))
        for line in escape(text).splitlines():
            yield f"  {self._paint(line, _RED)}"
        code = error.get("code")
        if isinstance(code, int):
            yield f"  exit code {code}"
        for line in escape(text_from(error.get("traceback"))).rstrip().splitlines():
            yield f"    {line}"

    def _shipping(self, sinks: list[SinkStatus]) -> Iterator[str]:
        """Yield how far each sink is, then what went wrong last, in full."""
        yield from self._rows(shown_sinks, sinks)
        for error in sink_errors(sinks):
            yield f"  {self._paint(error, _RED)}"

    def _log(self, log: LogErrors) -> Iterator[str]:
        for entry in log.entries:
            head = f"{_clock(entry)}  {one_line(text_from(entry.get('logger')), 40)}: "
            exc = mapping_from(entry.get("exc"))
            kind, why = text_from(exc.get("type")), text_from(exc.get("msg"))
            reason = f"{kind}: {why}" if kind else why
            msg = text_from(entry.get("msg"))
            text = "  ".join(one_line(t) for t in dict.fromkeys((msg, reason)) if t)
            yield f"  {self._paint(fit(head + text, self._width - 2), _RED)}"
        if log.entries:
            yield from self._traceback_of(log.entries[-1])

    def _traceback_of(self, entry: Mapping[str, Any]) -> Iterator[str]:
        """Yield the end of the last error's traceback, unless that ended the run."""
        text = text_from(mapping_from(entry.get("exc")).get("traceback"))
        if text == text_from((self._state.error or {}).get("traceback")):
            return
        lines = escape(text).rstrip().splitlines()
        for line in lines[-_TRACEBACK:]:
            yield f"    {line}"

    def _pairs(
        self, pairs: Mapping[str, str], *, whole: Sequence[str] = ()
    ) -> Iterator[str]:
        """Yield names and texts, below each other; all but some cut to the width."""
        names = [one_line(name, 60) for name in islice(pairs, self._most)]
        size = min(_MAX_LABEL, max(map(text_width, names), default=0))
        texts = islice(pairs.values(), self._most)
        for name, text in zip(names, texts, strict=True):
            label = self._paint(pad(name, size), _DIM)
            room = self._width - 4 - max(size, text_width(name))
            shown = one_line(text, 4_000)
            cut = shown if name in whole else fit(shown, max(20, room))
            yield f"  {label}  {cut}".rstrip()
        yield from self._rest(len(pairs))

    def _rows(
        self, columns_of: Callable[[Any], Sequence[Column]], found: Iterable[Any]
    ) -> Iterator[str]:
        """Yield a table; its columns may be none."""
        rows = list(found)
        filled = [c for c in columns_of(rows[: self._most]) if any(c.cells)]
        if not filled:
            return
        columns, _ = fitted(filled, self._width - 2)
        lines = table_lines(columns, self._width - 2, colour=self._colour)
        yield from (f"  {line}" for line in lines)
        yield from self._rest(len(rows))

    def _rest(self, total: int) -> Iterator[str]:
        if total > self._most:
            yield f"  {rest_text(total - self._most)}; --all shows them"

    def _paint(self, text: str, colour: str) -> str:
        return painted(text, colour) if self._colour else text


def _counted(title: str, found: Sized) -> str:
    return f"{title} ({len(found):,})"


def _other_texts(others: Mapping[str, tuple[int, Any]]) -> dict[str, str]:
    """Return what is no number as a text, behind how often it was logged."""
    return {
        name: (f"({count:,} times) " if count > 1 else "") + value_text(last)
        for name, (count, last) in others.items()
    }


def _texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    return {k: "" if v is None else value_text(v) for k, v in values.items()}


def _without_empty(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in facts.items() if text}


def _head_facts(state: RunState) -> dict[str, str]:
    """Return what stands below the name."""
    writers = [w for w in state.writers if w.main] or state.writers
    writer = writers[-1] if writers else None
    argv = state.start.get("argv")
    facts = {
        "id": state.run_id,
        "folder": str(state.folder),
        "about": state.description,
        "started": _with_age(state.created, state),
        "ended": _with_age(state.ended, state),
        "last entry": _with_age(state.updated, state) if state.ended is None else "",
        "duration": span(state.duration),
        "attempt": str(state.attempt) if state.attempt > 1 else "",
        "user": text_from(state.environment.get("user")),
        "host": writer.host if writer else "",
        "pid": str(writer.pid) if writer and writer.pid is not None else "",
        "parent": state.parent or "",
        "command": _command_line(argv) if isinstance(argv, list) else "",
        "in folder": text_from(state.start.get("cwd")),
    }
    return _without_empty(facts)


def _with_age(ts: str | None, state: RunState) -> str:
    """Return a time, and how long ago it was."""
    seconds = seconds_of(ts)
    if seconds is None:
        return ""
    return f"{moment(ts)} ({age_text(max(0.0, state.read_at - seconds))} ago)"


def _command_line(argv: list[Any]) -> str:
    import shlex

    return shlex.join(word for word in argv if isinstance(word, str))


def _snapshot_facts(state: RunState) -> dict[str, str]:
    said = state.snapshot or {}
    size, files = whole_from(said.get("size")), whole_from(said.get("files"))
    facts = {
        "id": text_from(said.get("id")),
        "size": "" if size is None else size_text(size),
        "files": "" if files is None else f"{files:,}",
    }
    return _without_empty(facts)


def _git_facts(state: RunState) -> dict[str, str]:
    """Return commit, branch and remote, and whether files had been changed."""
    said = mapping_from(state.start.get("git"))
    later = mapping_from(state.environment.get("git"))
    is_dirty = (said | later).get("dirty")
    facts = {
        name: text_from((said | later).get(name))
        for name in ("commit", "branch", "remote")
    }
    if is_dirty is not None and any(facts.values()):
        facts["changed files"] = "yes" if is_dirty else "no"
    return _without_empty(facts)


def _environment_facts(state: RunState) -> dict[str, str]:
    said = state.environment
    cpu = mapping_from(said.get("cpu"))
    cores, ram = whole_from(cpu.get("count")), whole_from(said.get("ram_bytes"))
    model = text_from(cpu.get("model"))
    gpus = said.get("gpu")
    installed = mapping_from(said.get("packages"))
    submitted = text_from(mapping_from(state.launch.get("environment")).get("text"))
    facts = {
        "runs in": "" if submitted == "this interpreter" else submitted,
        "python": text_from(said.get("python")) or text_from(state.start.get("python")),
        "executable": text_from(said.get("executable")),
        "script": text_from(said.get("script")),
        "platform": text_from(said.get("platform")),
        "cpu": " × ".join(filter(None, (str(cores) if cores else "", model))),
        "gpu": _gpu_text(gpus) if isinstance(gpus, list) else "",
        "ram": size_text(ram) if ram else "",
        "packages": f"{len(installed):,}; --packages lists them" if installed else "",
    }
    return _without_empty(facts)


def _gpu_text(gpus: list[Any]) -> str:
    """Return the names of GPUs, equal ones counted."""
    names = [name for name in gpus if isinstance(name, str)]
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{n} × {name}" if n > 1 else name for name, n in counts.items())


# --- the log -------------------------------------------------------------------------


def _log_title(log: LogErrors) -> str:
    part = f" (in the last {MAX_LOG >> 20} MB of the log)" if log.is_part else ""
    return f"last errors{part}"


def _place(writer: WriterState) -> tuple[bool, bool, int, str, str]:
    """Order processes: the main ones, those without a rank, the ranks; by their start."""
    rank = writer.rank
    return not writer.main, rank is not None, rank or 0, writer.started, writer.name


def _clock(entry: Mapping[str, Any]) -> str:
    ts = text_from(entry.get("ts"))
    return moment(ts) if seconds_of(ts) is not None else ""


# --- JSON ----------------------------------------------------------------------------


def _fields_of(
    state: RunState, log: LogErrors, sinks: list[SinkStatus], *, packages: bool
) -> dict[str, Any]:
    """Return the whole state under the names it has in Python; times as in the files."""
    fields = dataclasses.asdict(state)
    environment = dict(fields.pop("environment"))
    if not packages:
        environment.pop("packages", None)
    folder = fields.pop("folder")
    return {
        "run": json_text(fields.pop("run_id")),
        **fields,
        "experiment": json_text(state.experiment),
        "name": json_text(state.name),
        "duration": state.duration,
        "values": {
            json_text(name): {"count": count, "last": last}
            for name, (count, last) in read_others(state).items()
        },
        "artifacts": list(fields["artifacts"].values()),
        "environment": environment,
        "shipping": list(map(sink_fields, sinks)),
        "last_errors": log.entries,
        "path": json_text(str(folder)),
    }
