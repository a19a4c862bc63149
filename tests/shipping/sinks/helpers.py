"""Driving a sink over the files of a run, without a shipper."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlog.layout import parse_segment
from mlog.reader.state import RunState, read_state
from mlog.shipping.sink import (
    Batch,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Sink,
    WriterFacts,
)
from tests.helpers import entries


def facts_of(folder: Path) -> RunFacts:
    """Return what the shipper knows of a run."""
    state = read_state(folder)
    return RunFacts(
        run_id=folder.name,
        experiment=state.experiment,
        name=state.name,
        folder=folder,
        parent=state.parent,
        created=state.created,
        start=state.start,
    )


def batches_of(folder: Path, sink: Sink, *, size: int | None = None) -> Iterator[Batch]:
    """Yield all a run has for a sink, events first, as the shipper would cut it."""
    run = facts_of(folder)
    size = size or sink.traits.max_entries
    for path in sorted(folder.glob("*.jsonl"), key=lambda p: (p.name[0] != "e", p)):
        segment = parse_segment(path.name)
        if segment is None or segment.stream not in sink.traits.streams:
            continue
        events = folder / path.name.replace(segment.stream, "events", 1)
        start = entries(events)[0]["data"]
        writer = WriterFacts(
            name=segment.writer,
            attempt=start["attempt"],
            rank=start.get("rank"),
            world_size=start["world_size"],
            host=start["host"],
            user=start["user"],
            pid=start["pid"],
            start=start,
        )
        lines = path.read_bytes().splitlines(keepends=True)
        place = 0
        for first in range(0, len(lines), size):
            body = b"".join(lines[first : first + size])
            yield Batch(run, writer, segment, place, place + len(body), body)
            place += len(body)


def files_of(folder: Path, sink: Sink) -> Iterator[RunFile]:
    """Yield the files of a run that a sink asks for."""
    state = read_state(folder)
    if sink.traits.artifacts:
        for found in state.artifacts.values():
            path = folder / "artifacts" / found.path
            yield RunFile(
                f"artifacts/{found.path}",
                path,
                path.stat().st_size,
                sha256=found.sha256,
                media_type=found.media_type,
            )
    if sink.traits.segments != "never":
        for path in sorted(folder.glob("*.jsonl")):
            yield RunFile(path.name, path, path.stat().st_size)


def end_of(state: RunState) -> RunEnd:
    """Return how a run ended."""
    return RunEnd(state.status, state.ended or state.updated, state.error)


def ship(folder: Path, sink: Sink, **how: Any) -> list[SendResult]:
    """Send all of a run that has ended, as the shipper would; return what came."""
    results = [sink.send(batch) for batch in batches_of(folder, sink, **how)]
    run = facts_of(folder)
    results += [sink.send_file(run, file) for file in files_of(folder, sink)]
    results.append(sink.finish(run, end_of(read_state(folder))))
    return results
