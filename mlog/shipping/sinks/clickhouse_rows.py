"""Entries as rows of three ClickHouse tables, in the form JSONEachRow; and the tables.

| table | a row is | sorted by |
|---|---|---|
| `mlog_metrics` | one number of a metric entry | experiment, run, name, step |
| `mlog_logs` | a log line; also what a metric entry has beside numbers | experiment, run, time |
| `mlog_events` | an event | experiment, run, event, time |

The sorting keys end in writer and `seq`, which name an entry for ever, and the engine
is `ReplacingMergeTree`: a row that was inserted twice all the same goes when parts are
merged, and is not seen by `SELECT … FINAL`.

Objects (`value`, `extra`, `data`) are texts of JSON. Numbers are doubles, so that
integers beyond 2**53 lose digits; NaN and infinities are kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from mlog.shipping.sink import Batch

__all__ = ["EVENTS", "LOGS", "METRICS", "Rows", "rows_of", "schema"]

METRICS, LOGS, EVENTS = "metrics", "logs", "events"

_IDENTITY = """
    experiment LowCardinality(String),
    run_id String,
    writer LowCardinality(String),
    attempt UInt32,
    rank Nullable(Int32),
    seq UInt64,
    ts DateTime64(6, 'UTC'),"""

_COLUMNS = {
    METRICS: """
    level LowCardinality(String),
    logger LowCardinality(String),
    name LowCardinality(String),
    step Nullable(Int64),
    value Float64""",
    LOGS: """
    stream LowCardinality(String),
    level LowCardinality(String),
    logger LowCardinality(String),
    msg String,
    step Nullable(Int64),
    value String,
    extra String,
    file LowCardinality(String),
    line UInt32,
    func LowCardinality(String),
    thread LowCardinality(String),
    task LowCardinality(String),
    exc_type LowCardinality(String),
    exc_msg String,
    exc_traceback String,
    stack String,
    cut UInt64""",
    EVENTS: """
    event LowCardinality(String),
    data String""",
}
_SORTED = {
    METRICS: "experiment, run_id, name, step, writer, seq",
    LOGS: "experiment, run_id, ts, writer, seq",
    EVENTS: "experiment, run_id, event, ts, writer, seq",
}
_TEXTS = ("msg", "file", "func", "thread", "task", "stack")
_BESIDE_NUMBERS = frozenset(("msg", "value", "extra", "exc", "stack"))
_BAD = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(slots=True)
class Rows:
    """What a batch comes to.

    Attributes:
        lines: Table to its rows, a line of JSON each.
        refused: Index of an entry to why it makes no row.
    """

    lines: dict[str, list[bytes]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


def schema(database: str, prefix: str) -> list[str]:
    """Return the statements that make the tables where they are missing."""
    return [
        f"CREATE TABLE IF NOT EXISTS {database}.{prefix}{table} ({_IDENTITY}{columns}\n"
        f") ENGINE = ReplacingMergeTree ORDER BY ({_SORTED[table]})\n"
        "SETTINGS non_replicated_deduplication_window = 1000, allow_nullable_key = 1"
        for table, columns in _COLUMNS.items()
    ]


def rows_of(batch: Batch) -> Rows:
    """Return the rows of a batch, in the order of its entries."""
    rows = Rows()
    run, writer = batch.run, batch.writer
    identity = {
        "experiment": run.experiment,
        "run_id": run.run_id,
        "writer": writer.name,
        "attempt": writer.attempt,
        "rank": writer.rank,
    }
    for index, entry in enumerate(batch.entries):
        try:
            own = {**identity, "seq": entry["seq"], "ts": entry["ts"]}
            made = _rows(batch.stream, own, entry)
        except _BAD as exc:
            rows.refused[index] = f"ClickHouse cannot take it: {exc!r}"
            continue
        for table, lines in made.items():
            rows.lines.setdefault(table, []).extend(lines)
    return rows


def _rows(
    stream: str, own: Mapping[str, Any], entry: Mapping[str, Any]
) -> dict[str, Sequence[bytes]]:
    if stream == EVENTS:
        row = {"event": entry["event"], "data": _json(entry.get("data", {}))}
        return {EVENTS: [orjson.dumps({**own, **row})]}
    made: dict[str, Sequence[bytes]] = {}
    if stream == METRICS:
        made[METRICS] = _numbers(own, entry)
    if stream == LOGS or not _BESIDE_NUMBERS.isdisjoint(entry):
        made[LOGS] = [orjson.dumps({**own, **_line(stream, entry)})]
    return made


def _numbers(own: Mapping[str, Any], entry: Mapping[str, Any]) -> list[bytes]:
    """Return a row for each number; what they share is encoded once."""
    shared = {
        **own,
        "level": entry.get("level", ""),
        "logger": entry.get("logger", ""),
        "step": entry.get("step"),
    }
    head = orjson.dumps(shared)[:-1]
    return [
        b"%b,%b" % (head, orjson.dumps({"name": name, "value": value})[1:])
        for name, value in entry.get("metric", {}).items()
    ]


def _line(stream: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    trouble = entry.get("exc", {})
    return {
        "stream": stream,
        "level": entry.get("level", ""),
        "logger": entry.get("logger", ""),
        "step": entry.get("step"),
        "line": entry.get("line", 0),
        "cut": entry.get("cut", 0),
        **{key: entry.get(key, "") for key in _TEXTS},
        **{key: _json(entry[key]) for key in ("value", "extra") if key in entry},
        "exc_type": trouble.get("type", ""),
        "exc_msg": trouble.get("msg", ""),
        "exc_traceback": trouble.get("traceback", ""),
    }


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
