"""The contract that every sink keeps, checked with the kit for writers of sinks."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest

from mlog.shipping.sink import RunFacts, Sink
from mlog.testing import check_sink
from tests.shipping.sinks.receiver import Receiver

OpenSink = Callable[..., Sink]


def test_mlflow(mlflow_url: str, open_url: OpenSink, tmp_path: Path) -> None:
    """Entries are not kept as such there; see `test_mlflow` for what is."""
    check_sink(open_url(f"mlflow+{mlflow_url}"), tmp_path)


def test_clickhouse(clickhouse_url: str, open_url: OpenSink, tmp_path: Path) -> None:
    """What comes twice is there once."""

    def read(run: RunFacts) -> Iterable[int]:
        times: dict[int, int] = {}
        for table, name in (("metrics", "name"), ("logs", "msg"), ("events", "event")):
            query = (
                f"SELECT seq, count() FROM contract.mlog_{table} GROUP BY seq, {name}"
            )
            reply = httpx.post(clickhouse_url, content=query, trust_env=False)
            for line in reply.raise_for_status().text.splitlines():
                seq, count = map(int, line.split())
                times[seq] = max(times.get(seq, 0), count)
        return [seq for seq, count in times.items() for _ in range(count)]

    sink = open_url(f"clickhouse+{clickhouse_url}/contract?create=1")
    check_sink(sink, tmp_path, read=read)


@pytest.mark.parametrize("query", ["", "?metrics=both"])
def test_otlp(
    received: Receiver, open_url: OpenSink, tmp_path: Path, query: str
) -> None:
    """The protocol has no key, so what comes twice is there twice."""

    def read(run: RunFacts) -> Iterable[int]:
        for request in received.requests:
            if request.path != "/v1/logs":
                continue
            (resource,) = json.loads(request.body)["resourceLogs"]
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    yield from (
                        int(pair["value"]["intValue"])
                        for pair in record["attributes"]
                        if pair["key"] == "mlog.seq"
                    )

    check_sink(open_url(f"otlp+{received.url}{query}"), tmp_path, read=read)
