"""For whoever writes a sink: a sink in memory, and the contract that each must keep.

Exported by `mlog.testing`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from mlog.layout import SegmentName
from mlog.shipping.sink import (
    ALL_STREAMS,
    DELIVERED,
    Batch,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Sink,
    Traits,
    WriterFacts,
)
from mlog.shipping.source import Source
from mlog.types import Stream

__all__ = ["MemorySink", "check_sink"]

_OUTCOMES = ("delivered", "retry", "too_large", "refused", "blocked")
_TS = "2026-11-23T18:27:{:02d}.{:06d}Z"
_STATUSES = ("Completed", "Failed", "Canceled", "NotResponding")


class MemorySink:
    """Keeps all it gets; answers as it is told to. For one thread.

    Attributes:
        batches: What was delivered, in order.
        files: Content by `<experiment>/<run id>/<name>`.
        ends: How runs ended, by `<experiment>/<run id>`.
        calls: How often anything was asked for.
        is_closed: Whether `close` was called.
    """

    def __init__(
        self,
        traits: Traits | None = None,
        *,
        answer: Callable[[Batch], SendResult] | None = None,
        script: Iterable[SendResult | Exception] = (),
    ) -> None:
        """Prepare.

        Args:
            traits: What to say of itself. Default: all streams, and artifacts.
            answer: Says what becomes of a batch. Default: it is delivered.
            script: What to answer first; an exception is raised.
        """
        self._traits = traits or Traits(artifacts=True)
        self._answer = answer or (lambda batch: DELIVERED)
        self._script = deque(script)
        self.batches: list[Batch] = []
        self.files: dict[str, bytes] = {}
        self.ends: dict[str, RunEnd] = {}
        self.calls = 0
        self.is_closed = False

    @property
    def traits(self) -> Traits:
        """What it takes."""
        return self._traits

    def send(self, batch: Batch) -> SendResult:
        """Keep a batch, if the answer is that it is delivered."""
        result = self._next() or self._answer(batch)
        if result.outcome == "delivered":
            self.batches.append(batch)
        return result

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Keep a file."""
        result = self._next() or DELIVERED
        if result.outcome == "delivered":
            with file.open() as opened:
                self.files[f"{run.key}/{file.name}"] = opened.read(file.size)
        return result

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Note how a run ended."""
        result = self._next() or DELIVERED
        if result.outcome == "delivered":
            self.ends[run.key] = end
        return result

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    def lines(self, stream: Stream | None = None) -> list[bytes]:
        """Return the lines of all delivered batches, of one stream or of all."""
        return [
            line
            for batch in self.batches
            if stream in (None, batch.stream)
            for line in batch.lines
        ]

    def _next(self) -> SendResult | None:
        self.calls += 1
        if not self._script:
            return None
        result = self._script.popleft()
        if isinstance(result, Exception):
            raise result
        return result


def check_sink(
    sink: Sink,
    folder: Path,
    *,
    read: Callable[[RunFacts], Iterable[int]] | None = None,
) -> None:
    """Check that a sink, which can reach its server, keeps the contract of `Sink`.

    Args:
        sink: A new one; closed by this.
        folder: An empty folder for a run to be sent.
        read: Returns the `seq` of every entry of the run that arrived, as often as it
            is stored there. Default: what arrives is not looked at.

    Raises:
        AssertionError: It does not keep it; the message says in what.
    """
    traits = sink.traits
    _check_traits(sink, traits)
    run, source = _make_run(folder), Source(folder / "check" / "run-1")
    sent: list[int] = []
    for batch in _batches(source, run, traits):
        for _ in range(2):  # as after a lost reply: the same batch comes again
            _expect(sink.send(batch), f"batch {batch.key}")
        sent += [entry["seq"] for entry in batch.entries]
    _check_files(sink, source, run, traits)
    for status in _STATUSES:
        error = {"type": "ValueError", "msg": "bad", "traceback": "…"}
        end = RunEnd(status, _TS.format(59, 0), error if status == "Failed" else None)
        _expect(sink.finish(run, end), f"finish as {status}")
    if read is not None:
        _check_arrived(sorted(read(run)), sorted(sent), traits)
    sink.close()
    sink.close()


def _check_traits(sink: Sink, traits: Traits) -> None:
    assert isinstance(sink, Sink), f"{sink!r} lacks a method of Sink"
    assert sink.traits == traits, "traits change from call to call"
    assert traits.streams <= ALL_STREAMS, f"traits.streams: {traits.streams}"
    assert traits.max_entries >= 1, f"traits.max_entries: {traits.max_entries}"
    assert traits.max_bytes >= 1 << 16, f"traits.max_bytes: {traits.max_bytes}"
    assert traits.growth >= 1.0, f"traits.growth: {traits.growth}"


def _expect(result: object, what: str) -> None:
    assert isinstance(result, SendResult), (
        f"{what}: expected SendResult, got {result!r}"
    )
    assert result.outcome in _OUTCOMES, f"{what}: no such outcome: {result.outcome!r}"
    assert result.outcome == "delivered", f"{what}: {result.outcome}: {result.error}"
    for each in result.rejected:
        assert each.reason, f"{what}: an entry was rejected without a reason"


def _check_files(sink: Sink, source: Source, run: RunFacts, traits: Traits) -> None:
    path = source.path
    if traits.artifacts:
        name = "artifacts/folder/ärt ifact.bin"
        size = path.joinpath(*name.split("/")).stat().st_size
        file = RunFile(name, path.joinpath(*name.split("/")), size)
        for _ in range(2):
            _expect(sink.send_file(run, file), "an artifact")
    if traits.segments == "never":
        return
    for name in ("events.jsonl", "metrics.jsonl", "logs.jsonl"):
        size = (path / name).stat().st_size
        parts = (0, size // 2, size) if traits.segments == "growing" else (0, size)
        for sent, end in pairwise(parts):
            file = RunFile(name, path / name, end, sent=sent)
            _expect(sink.send_file(run, file), f"segment {name} up to {end}")


def _check_arrived(found: list[int], sent: list[int], traits: Traits) -> None:
    missing = set(sent) - set(found)
    assert not missing, f"delivered, but not there: {sorted(missing)[:10]}"
    strange = set(found) - set(sent)
    assert not strange or not sent, f"there, but never sent: {sorted(strange)[:10]}"
    if traits.has_key and sent:
        assert found == sent, "traits.has_key, but what came twice is there twice"


def _batches(source: Source, run: RunFacts, traits: Traits) -> Iterable[Batch]:
    folder = source.open()
    for stream in ("events", "metrics", "logs"):
        if stream not in traits.streams:
            continue
        segment = SegmentName(stream)
        start = 0
        while True:
            lines = source.read(
                folder,
                segment,
                start,
                max_entries=min(4, traits.max_entries),
                max_bytes=traits.max_bytes,
            )
            if lines is None:
                break
            writer = source.writer(folder, "")
            yield Batch(run, writer, segment, lines.start, lines.end, lines.body)
            start = lines.end
    if "events" in traits.streams:
        entry = {
            "ts": _TS.format(58, 0),
            "seq": 1000,
            "event": "ship.gap",
            "data": {"segment": "logs.1.jsonl", "offset": 0, "after": 7, "reason": "…"},
        }
        body = orjson.dumps(entry) + b"\n"
        yield Batch(
            run, WriterFacts(), SegmentName("logs", "", 1), 0, 0, body, gap=True
        )


def _make_run(root: Path) -> RunFacts:
    """Write a run whose entries have everything that entries can have."""
    path = root / "check" / "run-1"
    (path / "artifacts" / "folder").mkdir(parents=True)
    (path / "artifacts" / "folder" / "ärt ifact.bin").write_bytes(bytes(range(256)))
    seq = 0
    for stream, bodies in _entries().items():
        with open(path / f"{stream}.jsonl", "wb") as file:
            for body in bodies:
                entry = {"ts": _TS.format(seq, seq), "seq": seq, **body}
                file.write(orjson.dumps(entry) + b"\n")
                seq += 1
    source = Source(path)
    return source.facts(source.open())


def _entries() -> dict[str, list[dict[str, Any]]]:
    start = {
        "format": 1,
        "run": "run-1",
        "attempt": 1,
        "rank": 0,
        "world_size": 2,
        "user": "me",
        "host": "node-1",
        "pid": 4711,
        "boot": "b",
        "zone": "+0100",
    }
    begin = {
        "experiment": "Überprüfung / check",
        "display_name": "früh 'and' \"late\"",
        "python": "3.11",
        "argv": ["train.py", "--lr", "0.1"],
        "cwd": "/home/me",
        "git": {"commit": "0" * 40},
    }
    line = {"file": "train.py", "line": 7, "func": "main"}
    names = {"logger": "train", "level": "INFO"}
    events = [
        ("writer.start", start),
        ("run.start", begin),
        ("run.params", {"lr": 0.1, "layers": [1, 2], "name": "ä\n\x00", "none": None}),
        ("run.tags", {"owner": "me", "empty": ""}),
        ("run.properties", {"p": "1"}),
        ("run.artifact", {"path": "folder/ärt ifact.bin", "size": 256}),
        ("run.heartbeat", {}),
        ("run.unknown", {"some": {"thing": [1]}}),
    ]
    metrics: list[dict[str, Any]] = [
        {**names, "step": 0, "metric": {"loss": 0.5, "train/acc": 1, "ε": 1e-300}},
        {**names, "step": 1, "metric": {"loss": "NaN", "a": "Infinity"}},
        {**names, "metric": {"big": 2**63 - 1, "neg": -(2**63), "b": "-Infinity"}},
        {**names, "step": -3, "metric": {"loss": 0.25}, "msg": "with a text", **line},
        {**names, "value": {"word": "good", "l": {"type": "mlog.list", "values": [1]}}},
        {**names, "step": 2, "metric": {"odd = name? #1": 1.5}, "extra": {"ts": 1}},
    ]
    logs: list[dict[str, Any]] = [
        {**names, "msg": "plain", **line},
        {**names, "level": "WARNING", "msg": "two\nlines \x1b[31m\u2028 🜚", **line},
        {**names, "level": "Level 15", "msg": "x" * 20_000, "cut": 900_000},
        {
            **names,
            "level": "ERROR",
            "msg": "bad",
            **line,
            "thread": "worker",
            "task": "t",
            "exc": {"type": "ValueError", "msg": "v", "traceback": "Traceback …"},
            "extra": {"a": {"b": [None, True, 1.5, "c"]}, "": 0},
        },
        {**names, "level": "DEBUG", "extra": {"only": "extra"}},
    ]
    told = [{"event": name, "data": data} for name, data in events]
    return {"events": told, "metrics": metrics, "logs": logs}
