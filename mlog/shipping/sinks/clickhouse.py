"""ClickHouse by its HTTP interface: `clickhouse+http(s)://user:password@host[:8123][/db]`.

Rows go to the tables of `clickhouse_rows`, a request for each. Every insert carries a
token made of the place of its batch in the run's files (`insert_deduplication_token`);
the shipper keeps the bounds of batches on the disk, so that after any crash the same
rows come with the same token and are stored once.

| parameter | meaning | default |
|---|---|---|
| `create` | `1`: make database and tables where they are missing | no |
| `prefix` | begins the names of the tables | `mlog_` |
| `coding` | `zstd`, `gzip` or `identity` | zstd with its library, else gzip |

ClickHouse answers 500 to most errors, also to those that will stay, and may answer 200
and an error: so what counts is the `Code: N` of its text, and success is an empty reply.

Source: ClickHouse documentation, HTTP interface and deduplication of inserts; its
`ErrorCodes.cpp`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import unquote, urlsplit, urlunsplit

from mlog.errors import MlogError
from mlog.http import Auth, Reply
from mlog.shipping.coding import checked_coding, coders
from mlog.shipping.http import bearer, client_of, result_of
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    Outcome,
    Rejected,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Target,
    Traits,
)
from mlog.shipping.sinks.clickhouse_rows import rows_of, schema

__all__ = ["ClickhouseSink", "open_sink"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CODE = re.compile(rb"Code: (\d{1,5})\b")

_OUTCOMES: Mapping[int, Outcome] = {
    # Something in the rows: cannot be parsed, too large, not of the type, constraint.
    **dict.fromkeys((6, 25, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131), "refused"),
    **dict.fromkeys((321, 349, 467, 469), "refused"),
    # Address, tables, settings or rights; somebody has to act.
    **dict.fromkeys((16, 44, 46, 47, 50, 60, 62, 81, 89, 115, 164), "blocked"),
    **dict.fromkeys((192, 193, 194, 291, 497, 516), "blocked"),
}
"""Code of an error to what it means; any other one is worth another try (too many
parts, too busy, no memory, no disk, no replica, …)."""

_TOO_OLD = "the server is too old; it has to be ClickHouse 22.3 or newer"
_HINTS = {
    60: "add create=1 to its URL, or make the tables (README, ClickHouse)",
    50: _TOO_OLD,
    115: _TOO_OLD,
    89: "add coding=gzip to its URL",
    81: "add create=1 to its URL, or make the database",
    16: "the tables are not those of this version of mlog (README, ClickHouse)",
}


def open_sink(target: Target) -> "ClickhouseSink":
    """Make the sink of a `clickhouse+http(s)://` target."""
    return ClickhouseSink(target)


class ClickhouseSink:
    """Inserts entries as rows. See the module."""

    traits = Traits(
        max_entries=20_000, max_bytes=8 << 20, needs_plan=True, has_key=True
    )

    def __init__(self, target: Target) -> None:
        """Prepare; nothing is sent.

        Raises:
            MlogError: A parameter or the name of the database is none.
        """
        query = dict(target.query)
        create, prefix = query.pop("create", "0"), query.pop("prefix", "mlog_")
        coding = query.pop("coding", None)
        if query:
            raise MlogError(
                f"a ClickHouse target takes create, prefix and coding, got {min(query)!r}"
            )
        if create not in ("0", "1"):
            raise MlogError(f"create must be 0 or 1, got {create!r}")
        parts = urlsplit(target.url)
        self._database = unquote(parts.path.strip("/")) or "default"
        self._prefix = prefix
        for name in (self._database, prefix or "_"):
            if _NAME.fullmatch(name) is None:
                raise MlogError(
                    "database and prefix must be plain names of letters, digits and _, "
                    f"got {name!r}"
                )
        known = coders()
        best = "zstd" if "zstd" in known else "gzip"
        self._coding = best if coding is None else checked_coding(coding)
        self._code = known[self._coding]
        self._create = create == "1"
        url = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        self._client = client_of(replace(target, url=url), auth=_auth(target))

    def send(self, batch: Batch) -> SendResult:
        """Insert the rows of a batch, the tables in turn."""
        if self._create:
            made = self._make_tables()
            if made.outcome != "delivered":
                return made
            self._create = False
        rows = rows_of(batch)
        for table, lines in rows.lines.items():
            result = self._insert(table, b"\n".join(lines), batch.key)
            if result.outcome != "delivered":
                return result
        found = sorted(rows.refused.items())
        rejected = tuple(Rejected(reason, index) for index, reason in found)
        return SendResult("delivered", rejected=rejected)

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Not asked for by the traits."""
        return DELIVERED

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Nothing is left to say: the end of a run is one of its events."""
        return DELIVERED

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _insert(self, table: str, lines: bytes, key: str) -> SendResult:
        if not lines:
            return DELIVERED
        name = f"{self._database}.{self._prefix}{table}"
        query = {
            "query": f"INSERT INTO {name} FORMAT JSONEachRow",
            "insert_deduplication_token": f"{key}:{table}",
            "date_time_input_format": "best_effort",
            "wait_end_of_query": "1",
            "async_insert": "0",
        }
        headers = {"content-type": "application/x-ndjson"}
        if self._coding != "identity":
            headers["content-encoding"] = self._coding
        reply = self._client.request(
            "POST", content=self._code(lines), query=query, headers=headers
        )
        return _result(reply)

    def _make_tables(self) -> SendResult:
        statements = schema(self._database, self._prefix)
        if self._database != "default":
            statements.insert(0, f"CREATE DATABASE IF NOT EXISTS {self._database}")
        for statement in statements:
            reply = self._client.request("POST", content=statement.encode())
            result = _result(reply)
            if result.outcome == "refused":
                return replace(result, outcome="blocked")
            if result.outcome != "delivered":
                return result
        return DELIVERED


def _auth(target: Target) -> Auth:
    """Return ClickHouse's own headers for a login, a bearer token otherwise."""
    if target.login is None:
        return bearer(target)
    user, password = target.login
    return lambda: {"x-clickhouse-user": user, "x-clickhouse-key": password}


def _result(reply: Reply) -> SendResult:
    """Say what a reply means: by the code of the error where it names one."""
    code = _code_of(reply)
    if code is None and reply.status == 200:
        if not reply.body.strip():
            return DELIVERED
        text = f"the server does not answer as ClickHouse does: {reply.text}"
        return SendResult("blocked", text)
    result = result_of(reply, delivered=())
    if code is None:
        return result
    hint = _HINTS.get(code)
    error = f"HTTP {reply.status}: {reply.text}" + (f"; {hint}" if hint else "")
    return SendResult(_OUTCOMES.get(code, "retry"), error, result.retry_after)


def _code_of(reply: Reply) -> int | None:
    """Return the code of the error that a reply names, in a header or at the end."""
    given = reply.headers.get("x-clickhouse-exception-code", "")
    if given.isdecimal():
        return int(given)
    found = _CODE.search(reply.body)
    return int(found[1]) if found else None
