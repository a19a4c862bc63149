"""Plain NDJSON over HTTP: the lines as they are, for Vector, Fluent Bit, own services.

    POST <url>                          Content-Type: application/x-ndjson
    X-Mlog-Batch: <run>/<segment>:<start>-<end>         the same when sent again
    X-Mlog-Run, X-Mlog-Experiment, X-Mlog-Rank, X-Mlog-Host
    X-Mlog-Finish: Completed            with an empty body: the run has ended

Success is 200, 201, 202 or 204. Bodies are coded by gzip level 1, or zstd where the
library is there and the server asks for it (`Accept-Encoding` of a reply, RFC 9110);
`?coding=identity|gzip|zstd` settles it. A server that answers 415 gets it uncoded.
"""

from collections.abc import Mapping
from urllib.parse import quote

from mlog.http import Reply
from mlog.shipping.coding import checked_coding, coders
from mlog.shipping.http import client_of, result_of
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Target,
    Traits,
)

__all__ = ["NdjsonSink", "open_sink"]


def open_sink(target: Target) -> "NdjsonSink":
    """Make the sink of an `http://` or `https://` target."""
    return NdjsonSink(target)


class NdjsonSink:
    """Posts batches to one address. See the module."""

    traits = Traits(max_entries=5_000, max_bytes=4 << 20)

    def __init__(self, target: Target) -> None:
        """Prepare."""
        query = dict(target.query)
        self._wanted = query.pop("coding", None)
        self._query = query
        self._client = client_of(target)
        self._coding = checked_coding(self._wanted or "gzip")
        self._coders = coders()

    def send(self, batch: Batch) -> SendResult:
        """Post the lines."""
        reply = self._post(batch.body, _headers(batch))
        if reply.status == 415 and self._coding != "identity" and not self._wanted:
            self._coding = "identity"
            reply = self._post(batch.body, _headers(batch))
        elif self._wanted is None and self._coding == "gzip":
            self._learn(reply)
        return result_of(reply)

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Not asked for by the traits."""
        return DELIVERED

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Post nothing but the run's end; a server that does not like that is left."""
        headers = {**_run_headers(run), "x-mlog-finish": quote(end.status)}
        result = result_of(self._post(b"", headers))
        return DELIVERED if result.outcome == "refused" else result

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        coding = self._coding if body else "identity"
        headers = {**headers, "content-type": "application/x-ndjson"}
        if coding != "identity":
            headers["content-encoding"] = coding
        return self._client.request(
            "POST",
            content=self._coders[coding](body),
            headers=headers,
            query=self._query,
        )

    def _learn(self, reply: Reply) -> None:
        """Use zstd from now on where the server says that it reads it."""
        asked = reply.headers.get("accept-encoding", "").lower()
        names = {part.partition(";")[0].strip() for part in asked.split(",")}
        if "zstd" in names and "zstd" in self._coders:
            self._coding = "zstd"


def _headers(batch: Batch) -> dict[str, str]:
    writer = batch.writer
    found = {**_run_headers(batch.run), "x-mlog-batch": quote(batch.key, safe="/:")}
    if writer.rank is not None:
        found["x-mlog-rank"] = str(writer.rank)
    if writer.host:
        found["x-mlog-host"] = quote(writer.host)
    return found


def _run_headers(run: RunFacts) -> dict[str, str]:
    return {
        "x-mlog-run": quote(run.run_id),
        "x-mlog-experiment": quote(run.experiment),
    }
