"""Rows in ClickHouse's own engine: what is in the files is there, once.

The engine is chdb's, behind `chdb_shim`, which imitates only the HTTP around it.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import mlog
from mlog.shipping.sink import Batch, Sink
from mlog.shipping.sinks.clickhouse import ClickhouseSink
from mlog.shipping.sinks.clickhouse_rows import rows_of
from tests.helpers import entries
from tests.shipping.servers import clickhouse_server
from tests.shipping.sinks.helpers import batches_of, ship
from tests.shipping.sinks.receiver import Receiver

OpenSink = Callable[..., Sink]


def select(url: str, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query; NaN and infinities as texts."""
    settings = "output_format_json_quote_denormals = 1, output_format_json_quote_64bit_integers = 0"
    text = f"{query} SETTINGS {settings} FORMAT JSONEachRow"
    reply = httpx.post(url, content=text, trust_env=False).raise_for_status()
    return [json.loads(line) for line in reply.text.splitlines()]


@pytest.fixture
def database(clickhouse_url: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a sink with a database of this test's own."""
    name = "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]
    return f"clickhouse+{clickhouse_url}/{name}"


def name_in(database: str) -> str:
    return database.rpartition("/")[2]


@pytest.mark.parametrize("coding", ["zstd", "gzip", "identity"])
def test_every_entry_arrives_once(
    clickhouse_url: str,
    database: str,
    rich_run: Path,
    open_url: OpenSink,
    coding: str,
) -> None:
    """Compared entry by entry with the files, after all of it was sent twice."""
    for _ in range(2):  # as after a crash before the cursor was written
        sink = open_url(f"{database}?create=1&coding={coding}")
        assert all(not r.rejected for r in ship(rich_run, sink, size=100))
    db = name_in(database)
    metrics = select(clickhouse_url, f"SELECT * FROM {db}.mlog_metrics ORDER BY seq")
    expected = [
        (e["seq"], name, e.get("step"), _number(value), e["ts"])
        for e in entries(rich_run, "metrics")
        for name, value in e.get("metric", {}).items()
    ]
    found = [
        (r["seq"], r["name"], r["step"], _number(r["value"]), _ts(r)) for r in metrics
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    events = select(clickhouse_url, f"SELECT * FROM {db}.mlog_events ORDER BY seq")
    assert [(r["seq"], r["event"], json.loads(r["data"])) for r in events] == [
        (e["seq"], e["event"], e["data"]) for e in entries(rich_run, "events")
    ]
    lines = select(
        clickhouse_url,
        f"SELECT * FROM {db}.mlog_logs WHERE stream = 'logs' ORDER BY seq",
    )
    assert [(r["seq"], r["msg"], r["line"], _ts(r)) for r in lines] == [
        (e["seq"], e["msg"], e["line"], e["ts"]) for e in entries(rich_run, "logs")
    ]


def _number(value: Any) -> float:
    texts = {"NaN": math.nan, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}
    return texts[value] if value in texts else float(value)


def _ts(row: dict[str, Any]) -> str:
    return str(row["ts"]).replace(" ", "T") + "Z"


def test_what_a_metric_entry_has_beside_numbers_is_a_line(
    clickhouse_url: str, database: str, rich_run: Path, open_url: OpenSink
) -> None:
    ship(rich_run, open_url(f"{database}?create=1"))
    rows = select(
        clickhouse_url,
        f"SELECT msg, value, step FROM {name_in(database)}.mlog_logs "
        "WHERE stream = 'metrics' ORDER BY seq",
    )
    expected = [
        (e.get("msg", ""), e.get("value"), e.get("step"))
        for e in entries(rich_run, "metrics")
        if e.keys() & {"msg", "value"}
    ]
    found = [(r["msg"], json.loads(r["value"] or "null"), r["step"]) for r in rows]
    assert found == expected


def test_a_row_stored_twice_all_the_same_is_one_for_final(
    clickhouse_url: str, database: str, rich_run: Path, open_url: OpenSink
) -> None:
    """As when the server has forgotten the token: the sorting key names the entry."""
    for size in (100, 99):  # other bounds, other tokens
        ship(rich_run, open_url(f"{database}?create=1"), size=size)
    table = f"{name_in(database)}.mlog_metrics"
    (count,) = select(clickhouse_url, f"SELECT count() AS n FROM {table} FINAL")
    expected = sum(len(e.get("metric", {})) for e in entries(rich_run, "metrics"))
    assert count["n"] == expected


def test_missing_tables_are_told_with_the_way_out(
    database: str, rich_run: Path, open_url: OpenSink
) -> None:
    sink = open_url(database)
    result = sink.send(next(batches_of(rich_run, sink)))
    assert result.outcome == "blocked"
    assert "create=1" in result.error


def test_a_row_that_cannot_be_parsed_is_refused(
    database: str, rich_run: Path, open_url: OpenSink
) -> None:
    """The engine says 500 for it, and would for ever: the shipper isolates it."""
    sink = open_url(f"{database}?create=1")
    batch = next(batches_of(rich_run, sink))
    bad = batch.body.replace(b'"ts":"2', b'"ts":"x', 1)
    whole = Batch(batch.run, batch.writer, batch.segment, 0, len(bad), bad)
    assert sink.send(whole).outcome == "refused"
    assert sink.send(batch.part(1, batch.count)).outcome == "delivered"


def test_a_login(tmp_path: Path, rich_run: Path, open_url: OpenSink) -> None:
    """Wrong: blocked, and the password is shown nowhere."""
    with clickhouse_server(tmp_path, "ada", "s3cret-word") as url:
        address = url.removeprefix("http://")
        for login, outcome in (
            ("ada:s3cret-word", "delivered"),
            ("ada:no-word", "blocked"),
        ):
            sink = open_url(f"clickhouse+http://{login}@{address}?create=1")
            result = sink.send(next(batches_of(rich_run, sink)))
            assert result.outcome == outcome
            assert "-word" not in result.error


# --- answers, without a server -------------------------------------------------------


@pytest.fixture
def batch(rich_run: Path) -> Batch:
    sink = ClickhouseSink.__new__(ClickhouseSink)
    return next(b for b in batches_of(rich_run, sink) if b.stream == "metrics")


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"", "delivered"),
        (200, b"Code: 252. DB::Exception: Too many parts", "retry"),
        (200, b"Code: 27. DB::Exception: Cannot parse input", "refused"),
        (200, b"<html>Sign in", "blocked"),
        (500, b"Code: 27. DB::Exception: Cannot parse input", "refused"),
        (400, b"Code: 26. DB::Exception: Cannot parse quoted string", "refused"),
        (500, b"Code: 252. DB::Exception: Too many parts", "retry"),
        (500, b"Code: 241. DB::Exception: Memory limit exceeded", "retry"),
        (503, b"", "retry"),
        # As a server of version 18.16 was seen to answer:
        (500, b"Code: 89, e.displayText() = DB::Exception: Unknown", "blocked"),
        (404, b"Code: 115, e.displayText() = DB::Exception: Unknown", "blocked"),
        (401, b"Code: 193, e.displayText() = DB::Exception: Wrong", "blocked"),
        (404, b"Code: 60. DB::Exception: Table does not exist", "blocked"),
        (403, b"Code: 516. DB::Exception: Authentication failed", "blocked"),
        (500, b"Code: 497. DB::Exception: Not enough privileges", "blocked"),
        (413, b"", "too_large"),
    ],
)
def test_what_counts_is_the_code_of_the_error(
    batch: Batch,
    received: Receiver,
    open_url: OpenSink,
    status: int,
    body: bytes,
    outcome: str,
) -> None:
    received.answer = lambda request: (status, body)
    assert open_url(f"clickhouse+{received.url}").send(batch).outcome == outcome


def test_a_batch_has_the_same_tokens_and_rows_each_time(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    """What was sent may be sent again after a crash, and is stored once."""
    received.answer = lambda request: (200, b"")
    for _ in range(2):
        open_url(f"clickhouse+{received.url}?coding=gzip").send(batch)
    sent = [(r.path, r.body) for r in received.requests]
    half = len(sent) // 2
    assert sent[:half] == sent[half:]
    tokens = [path for path, _ in sent[:half] if "insert_deduplication_token" in path]
    assert len(set(tokens)) == half == 2  # numbers, and what stands beside them


def test_an_entry_that_makes_no_row_is_named(batch: Batch) -> None:
    body = batch.lines[0] + b'\n{"ts":"x"}\n'
    rows = rows_of(Batch(batch.run, batch.writer, batch.segment, 0, len(body), body))
    assert rows.refused.keys() == {1}
    assert rows.lines["metrics"]


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("/a-b", "plain names"),
        ("?prefix=x;drop", "plain names"),
        ("?create=yes", "create must be 0 or 1"),
        ("?coding=lz4", "coding must be one of identity, gzip, zstd"),
        ("?table=x", "takes create, prefix and coding"),
    ],
)
def test_a_parameter_that_is_none_is_told(
    open_url: OpenSink, rest: str, text: str
) -> None:
    with pytest.raises(mlog.MlogError, match=text):
        open_url(f"clickhouse+http://localhost{rest}")
