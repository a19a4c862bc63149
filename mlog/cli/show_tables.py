"""The tables of `mlog show`: a row for each metric, file, process, child, sink."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlog.cli.fields import STATUS_COLOURS
from mlog.cli.sink_table import sink_columns
from mlog.cli.table import Column
from mlog.errors import MlogError
from mlog.reader.alive import seconds_of
from mlog.reader.fields import whole_from
from mlog.reader.numbers import short
from mlog.reader.page_facts import SYMBOLS
from mlog.reader.page_words import moment, one_line, size_text, span, value_text
from mlog.reader.state import RunState, WriterState, read_state
from mlog.shipping.status import SinkStatus

__all__ = [
    "Child",
    "artifact_columns",
    "child_columns",
    "children",
    "metric_columns",
    "model_columns",
    "shown_sinks",
    "writer_columns",
]

_GREEN, _RED = "\x1b[32m", "\x1b[91m"


def metric_columns(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[Column]:
    """Return a metric's name and statistics."""

    def of(statistic: str) -> list[str]:
        return [_number_text(facts.get(statistic)) for _, facts in rows]

    return [
        Column("name", [one_line(name, 120) for name, _ in rows], least=8),
        *(Column(title, of(title), is_right=True) for title in ("last", "min", "max")),
        Column("count", [_count_text(facts) for _, facts in rows], is_right=True),
    ]


def _count_text(facts: Mapping[str, Any]) -> str:
    count = whole_from(facts.get("count"))
    return "" if count is None else f"{count:,}"


def _number_text(value: Any) -> str:
    """Return a number of a metric: NaN and the infinities are texts in the files."""
    try:
        return "" if value is None else short(float(value))
    except (TypeError, ValueError, OverflowError):
        return one_line(value_text(value), 20)


def artifact_columns(rows: Sequence[Any]) -> list[Column]:
    """Return the files that the run put out."""
    return [
        Column("size", [size_text(a.size) for a in rows], is_right=True),
        Column("path", [one_line(a.path) for a in rows], least=20),
        Column("type", [one_line(a.media_type, 40) for a in rows], least=8),
    ]


def model_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the models that were registered."""

    def of(key: str) -> list[str]:
        values = (row.get(key) for row in rows)
        return ["" if v is None else one_line(value_text(v)) for v in values]

    return [
        Column("name", of("name"), least=8),
        Column("version", of("version"), is_right=True),
        Column("path", of("path"), least=20),
    ]


def writer_columns(rows: Sequence[WriterState]) -> list[Column]:
    """Return the processes that wrote the run, or do."""
    pids = ["" if w.pid is None else str(w.pid) for w in rows]
    ranks = ["" if w.rank is None else f"{w.rank}/{w.world_size}" for w in rows]
    attempts = [str(w.attempt) for w in rows]
    entries = ["" if w.last_seq is None else f"{w.last_seq + 1:,}" for w in rows]
    return [
        Column("writer", [w.name or "main" for w in rows]),
        Column("state", list(map(_state_of, rows)), colour_of=_state_colour),
        Column("rank", ranks, is_right=True),
        Column("attempt", attempts if {*attempts} > {"1"} else [""] * len(rows)),
        Column("host", [one_line(w.host, 60) for w in rows], least=8),
        Column("pid", pids, is_right=True),
        Column("started", [moment(w.started) for w in rows], rank=1),
        Column("duration", [_lifetime(w) for w in rows], is_right=True, rank=2),
        Column("entries", entries, is_right=True, rank=3),
    ]


def _lifetime(writer: WriterState) -> str:
    first, last = seconds_of(writer.started), seconds_of(writer.ended)
    return "" if first is None or last is None else span(max(0.0, last - first))


def _state_of(writer: WriterState) -> str:
    """Say whether a process is there, has said goodbye, or is gone without it."""
    if writer.alive:
        return "alive"
    if writer.ended is None:
        return "lost"
    word = writer.status
    return "ended" if word in (None, "Completed") else f"ended {one_line(word, 20)}"


def _state_colour(cell: str) -> str:
    return {"alive": _GREEN, "lost": _RED, "ended Failed": _RED}.get(cell, "")


@dataclass(frozen=True, slots=True)
class Child:
    """A child of the run, as far as it is still there.

    Attributes:
        path: Where it is, or was.
        run_id: Its id.
        state: What its files say; None where it is not there, or was not looked at.
    """

    path: Path
    run_id: str
    state: RunState | None


def children(state: RunState, most: int) -> list[Child]:
    """Return all children; what is beyond so many is not looked at."""
    return [_child(state, Path(p), n < most) for n, p in enumerate(state.children)]


def _child(state: RunState, told: Path, is_read: bool) -> Child:
    """Look for a child below the root as it is now, else where it was."""
    root = state.folder.parent.parent
    for path in (root.joinpath(*told.parts[-2:]), told) if is_read else ():
        try:
            return Child(path, told.name, read_state(path))
        except (OSError, ValueError, MlogError):  # removed, or elsewhere
            continue
    return Child(told, told.name, None)


def child_columns(rows: Sequence[Child]) -> list[Column]:
    """Return the runs inside of it."""
    names = ["" if c.state is None else one_line(c.state.name) for c in rows]
    words = ["not there" if c.state is None else c.state.status for c in rows]
    spans = ["" if c.state is None else span(c.state.duration) for c in rows]
    statuses = [one_line(f"{SYMBOLS.get(word, '…')} {word}", 24) for word in words]
    return [
        Column("id", [one_line(c.run_id, 60) for c in rows]),
        Column("name", names, least=8),
        Column("status", statuses, colour_of=lambda c: STATUS_COLOURS.get(c[2:], "")),
        Column("duration", spans, is_right=True),
    ]


def shown_sinks(rows: Sequence[SinkStatus]) -> list[Column]:
    """Return the columns of `mlog ship --status` that say something here."""
    columns = sink_columns(rows, time.time()) if rows else []
    titled = [replace(column, title=column.title.lower()) for column in columns]
    return [c for c in titled if {*c.cells} != {"0"} or c.title == "behind"]
