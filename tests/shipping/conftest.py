"""Runs to be sent."""

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest


@pytest.fixture
def make_run(run_dir: Path) -> Iterator[Callable[..., Path]]:
    """Write a run's folder by hand: so many metrics and log lines.

    Of a run that has not ended the writer lives until the test's end: its lock is held;
    unless it was killed.
    """
    locks = []

    def make(
        run_id: str = "r1",
        *,
        metrics: int = 10,
        logs: int = 10,
        ended: bool = True,
        killed: bool = False,
        experiment: str = "exp",
    ) -> Path:
        folder = run_dir / experiment / run_id
        folder.mkdir(parents=True, mode=0o700)
        seq = iter(range(1 << 30))
        events = [
            entry(next(seq), event="writer.start", data={"run": run_id, "attempt": 1}),
            entry(next(seq), event="run.start", data={"experiment": experiment}),
        ]
        points = [
            entry(next(seq), level="INFO", logger="t", step=n, metric={"loss": n / 2})
            for n in range(metrics)
        ]
        lines = [
            entry(next(seq), level="DEBUG" if n % 2 else "INFO", logger="t", msg=f"{n}")
            for n in range(logs)
        ]
        if not ended and not killed:
            locks.append(open(folder / ".lock", "wb"))
            fcntl.flock(locks[-1], fcntl.LOCK_EX)
        if ended:
            events.append(
                entry(next(seq), event="run.end", data={"status": "Completed"})
            )
            last = next(seq)
            data = {"last": last, "status": "Completed"}
            events.append(entry(last, event="writer.end", data=data))
        for name, found in (("events", events), ("metrics", points), ("logs", lines)):
            if found:
                (folder / f"{name}.jsonl").write_bytes(b"".join(found))
        return folder

    yield make
    for lock in locks:
        lock.close()


def entry(seq: int, **rest: Any) -> bytes:
    """Return the line of an entry."""
    minute, second = divmod(seq % 3600, 60)
    ts = f"2026-11-23T18:{minute:02d}:{second:02d}.{seq % 1_000_000:06d}Z"
    return orjson.dumps({"ts": ts, "seq": seq, **rest}) + b"\n"


def all_lines(folder: Path) -> list[bytes]:
    """Return all whole lines of a run."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        found += whole.split(b"\n") if whole else []
    return found
