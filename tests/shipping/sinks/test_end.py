"""What a sink refuses when a run has ended is kept as dead letters, not forgotten."""

from collections.abc import Callable
from pathlib import Path

from mlog.shipping.shipper import Options, open_delivery
from mlog.shipping.sink import (
    Rejected,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Traits,
)
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from mlog.testing import MemorySink


class Refusing(MemorySink):
    """Takes entries, but no files, and finds at the end that points are missing."""

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        return SendResult("refused", "no room for files")

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        return SendResult("delivered", rejected=(Rejected("loss: not there", None, 3),))


def test_refusals_at_the_end_are_dead_letters(make_run: Callable[..., Path]) -> None:
    """A file with its name, entries with their number; the run counts as done."""
    sink = Refusing(Traits(segments="at_end"))
    route = parse_route("http://127.0.0.1", env={})
    delivery = open_delivery(make_run(), sink, route, Options("here"), World())
    while delivery.step() != "done":
        pass
    letters = delivery.place.dead()
    delivery.close()
    files = {"events.jsonl", "metrics.jsonl", "logs.jsonl"}
    assert {(x.file, x.reason, x.count) for x in letters} == {
        *((name, "no room for files", 1) for name in files),
        ("", "loss: not there", 3),
    }
    assert delivery.cursor.stats.dead == 6
