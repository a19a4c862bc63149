"""Each sink keeps the contract, and has what is its own."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mlog.shipping.check import MemorySink, check_sink
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    RunFacts,
    RunFile,
    SendResult,
    Sink,
    Traits,
)
from mlog.shipping.sinks import open_sink
from mlog.shipping.target import parse_route
from mlog.testing import check_sink as exported
from tests.http_server import Server, reply

Read = Callable[[RunFacts], Iterable[int]]


def sink_of(url: str) -> Sink:
    return open_sink(parse_route(url, env={}).target)


def of_server(server: Server) -> Read:
    return lambda run: [n for r in server.taken for n in r.seqs]


def of_mirror(folder: Path) -> Read:
    def read(run: RunFacts) -> Iterator[int]:
        for path in folder.joinpath(*run.folder.parts[-2:]).glob("*.jsonl"):
            lines = path.read_bytes().splitlines()
            yield from (orjson.loads(line)["seq"] for line in lines)

    return read


def test_the_kit_is_exported() -> None:
    assert exported is check_sink


# --- the contract --------------------------------------------------------------------


def test_memory_sink_keeps_the_contract(tmp_path: Path) -> None:
    sink = MemorySink()
    check_sink(
        sink, tmp_path, read=lambda run: [orjson.loads(x)["seq"] for x in sink.lines()]
    )


@pytest.mark.parametrize("coding", ["gzip", "identity", "zstd"])
def test_ndjson_keeps_the_contract(server: Server, tmp_path: Path, coding: str) -> None:
    sink = sink_of(f"{server.url}?coding={coding}")
    check_sink(sink, tmp_path, read=of_server(server))
    codings = {
        r.headers.get("content-encoding", "identity") for r in server.taken if r.body
    }
    assert codings == {coding}


def test_file_keeps_the_contract(tmp_path: Path) -> None:
    there = tmp_path / "mirror"
    check_sink(sink_of(f"file://{there}"), tmp_path / "own", read=of_mirror(there))
    own = tmp_path / "own" / "check" / "run-1"
    for path in own.rglob("*"):
        copy = there / "check" / "run-1" / path.relative_to(own)
        assert (
            copy.is_dir() if path.is_dir() else path.read_bytes() == copy.read_bytes()
        )
        assert copy.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_fsspec_keeps_the_contract(tmp_path: Path, scheme: str) -> None:
    pytest.importorskip("fsspec")
    there = tmp_path / "store"
    sink = sink_of(f"fsspec+{scheme}://{there}")
    read = of_mirror(there) if scheme == "file" else None
    check_sink(sink, tmp_path / "own", read=read)


class _Broken(MemorySink):
    """A sink with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__(Traits(max_entries=0) if fault == "traits" else None)
        self._fault = fault

    def send(self, batch: Batch) -> Any:
        if self._fault == "raises":
            raise KeyError("x")
        if self._fault == "none":
            return None
        if self._fault == "outcome":
            return SendResult("fine")  # type: ignore[arg-type]
        if self._fault == "retry":
            return SendResult("retry", "busy")
        if self._fault == "loses" and batch.stream == "logs":
            return DELIVERED
        return super().send(batch)


@pytest.mark.parametrize("fault", ["traits", "none", "outcome", "retry", "loses"])
def test_the_kit_finds_faults(tmp_path: Path, fault: str) -> None:
    """A contract that nothing breaks would be worth nothing."""
    sink = _Broken(fault)
    with pytest.raises(
        AssertionError, match=r"max_entries|expected SendResult|outcome|busy|not there"
    ):
        check_sink(
            sink,
            tmp_path,
            read=lambda run: [orjson.loads(x)["seq"] for x in sink.lines()],
        )


# --- plain NDJSON --------------------------------------------------------------------


def batch_of(run: Path, sink: Sink) -> Batch:
    """Return the first batch of a run."""
    from mlog.layout import SegmentName
    from mlog.shipping.source import Source

    source = Source(run)
    folder = source.open()
    segment = SegmentName("logs")
    lines = source.read(folder, segment, 0, max_entries=100, max_bytes=1 << 20)
    assert lines is not None
    writer = source.writer(folder, "")
    return Batch(
        source.facts(folder), writer, segment, lines.start, lines.end, lines.body
    )


@pytest.fixture
def batch(make_run: Callable[..., Path]) -> Batch:
    return batch_of(make_run(), MemorySink())


def test_ndjson_says_what_it_sends(server: Server, batch: Batch) -> None:
    """The batch's key is for the server's own deduplication."""
    sink = sink_of(f"{server.url}?key=1&coding=identity")
    assert sink.send(batch) == DELIVERED
    sink.close()
    [request] = server.requests
    assert request.body == batch.body
    assert request.target == "/in?key=1"
    assert (
        request.headers["x-mlog-batch"]
        == batch.key
        == f"exp/r1/logs.jsonl:0-{batch.end}"
    )
    assert request.headers["x-mlog-run"] == "r1"
    assert request.headers["content-type"] == "application/x-ndjson"


def test_ndjson_uses_zstd_where_the_server_asks_for_it(
    server: Server, batch: Batch
) -> None:
    server.usual = reply(200, headers={"accept-encoding": "gzip;q=0.5, zstd"})
    sink = sink_of(server.url)
    sink.send(batch)
    sink.send(batch)
    sink.close()
    codings = [r.headers["content-encoding"] for r in server.requests]
    assert codings == ["gzip", "zstd"]
    assert [r.content for r in server.requests] == [batch.body] * 2


def test_ndjson_is_plain_for_a_server_that_knows_no_coding(
    server: Server, batch: Batch
) -> None:
    server.script = [reply(415)]
    sink = sink_of(server.url)
    assert sink.send(batch) == DELIVERED
    assert sink.send(batch) == DELIVERED
    sink.close()
    assert [r.body for r in server.requests[1:]] == [batch.body] * 2


# --- mirrors -------------------------------------------------------------------------


def test_a_mirror_goes_on_where_it_was_interrupted(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    """Half a copy is completed; a copy of something else is made anew."""
    run = make_run(logs=100)
    there = tmp_path / "m"
    copy = there / "exp" / "r1" / "logs.jsonl"
    copy.parent.mkdir(parents=True)
    content = (run / "logs.jsonl").read_bytes()
    file = RunFile("logs.jsonl", run / "logs.jsonl", len(content))
    sink = sink_of(f"file://{there}")
    facts = RunFacts("r1", "exp", "r1", run)
    for before in (content[:77], b"something else", content, b""):
        copy.write_bytes(before)
        assert sink.send_file(facts, file) == DELIVERED
        assert copy.read_bytes() == content


def test_a_mirror_follows_no_link_and_does_not_copy_onto_itself(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run()
    file = RunFile("logs.jsonl", run / "logs.jsonl", 10)
    facts = RunFacts("r1", "exp", "r1", run)
    same = sink_of(f"file://{run.parent.parent}").send_file(facts, file)
    assert (same.outcome, "where the runs are" in same.error) == ("blocked", True)
    there = tmp_path / "m"
    there.mkdir()
    (there / "exp").symlink_to(tmp_path)
    with pytest.raises(Exception, match="is a link"):
        sink_of(f"file://{there}").send_file(facts, file)


def test_a_mirror_is_read_like_the_runs(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    from mlog.reader.state import read_state

    run = make_run()
    there = tmp_path / "m"
    sink = sink_of(f"file://{there}")
    facts = RunFacts("r1", "exp", "r1", run)
    for path in run.glob("*.jsonl"):
        sink.send_file(facts, RunFile(path.name, path, path.stat().st_size))
    assert read_state(there / "exp" / "r1").status == "Completed"


def test_s3_gets_a_mirror(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Against moto's server, which speaks S3; read back by the client's own calls."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    moto = server_module.ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        options = {"key": "k", "secret": "s", "endpoint_url": url}
        store = s3fs.S3FileSystem(**options)
        store.mkdir("lake")
        query = f"key=k&secret=s&endpoint_url={url}"
        check_sink(sink_of(f"s3://lake/runs?{query}"), tmp_path / "own")
        own = tmp_path / "own" / "check" / "run-1" / "logs.jsonl"
        assert store.cat("lake/runs/check/run-1/logs.jsonl") == own.read_bytes()
        missing = sink_of(f"s3://nobody/runs?{query}")
        file = RunFile("logs.jsonl", own, own.stat().st_size)
        facts = RunFacts("run-1", "check", "r", own.parent)
        assert missing.send_file(facts, file).outcome == "blocked"
    finally:
        moto.stop()


def test_secrets_of_a_sink_are_not_in_its_repr(server: Server) -> None:
    sink = sink_of(server.url.replace("//", "//me:s3cret@") + "?api_key=t0ken")
    assert "s3cret" not in repr(sink)
    assert "t0ken" not in repr(sink)
    sink.close()
    assert os.environ.get("MLOG_REMOTE_TOKEN") is None
