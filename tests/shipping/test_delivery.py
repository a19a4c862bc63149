"""One run to one sink: order, retries, poison, gaps, the end; on a clock that is told."""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog.http import HttpError
from mlog.shipping.check import MemorySink
from mlog.shipping.delivery import RunDelivery, Step
from mlog.shipping.letter import DeadLetter
from mlog.shipping.retry import Backoff
from mlog.shipping.shipper import Options, open_delivery
from mlog.shipping.sink import Batch, Rejected, SendResult, Traits
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from tests.helpers import FakeClock
from tests.shipping.conftest import all_lines, entry

RETRY = SendResult("retry", "busy")
REFUSED = SendResult("refused", "bad entry")

Open = Callable[..., RunDelivery]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_795_500_000.0)


@pytest.fixture
def deliver(clock: FakeClock) -> Iterator[Open]:
    """Open deliveries of runs, on the told clock; closed after the test."""
    made: list[RunDelivery] = []

    def make(
        run: Path, sink: Any, *, query: str = "", follow: bool = False, **options: Any
    ) -> RunDelivery:
        world = World(
            clock, clock, lambda: 0.5, options.pop("reach", lambda point: None)
        )
        route = parse_route(f"https://host/?name=memory{query}", env={})
        chosen = Options(host="here", follow=follow, **options)
        made.append(open_delivery(run, sink, route, chosen, world))
        return made[-1]

    yield make
    for delivery in made:
        delivery.close()


def drive(delivery: RunDelivery, clock: FakeClock, most: int = 10_000) -> Step:
    """Step until nothing is left to do; a wait costs no time."""
    for _ in range(most):
        step = delivery.step()
        if step in ("idle", "done", "taken"):
            return step
        if step == "waits":
            clock.now = max(clock.now, delivery.next_try)
    raise AssertionError("it does not come to an end")


def dead(delivery: RunDelivery) -> list[DeadLetter]:
    return delivery.place.dead()


# --- the usual way -------------------------------------------------------------------


def test_all_of_a_run_arrives_in_order(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """Every line as it stands in the files, each once, each stream in its order."""
    run = make_run(metrics=2500, logs=1500)
    sink = MemorySink()
    assert drive(deliver(run, sink), clock) == "done"
    assert sorted(sink.lines()) == sorted(all_lines(run))
    for stream in ("events", "metrics", "logs"):
        own = (run / f"{stream}.jsonl").read_bytes()
        assert b"\n".join(sink.lines(stream)) + b"\n" == own
    assert sink.ends["exp/r1"].status == "Completed"
    assert sink.batches[0].stream == "events"
    assert sink.batches[0].writer.attempt == 1


def test_a_second_shipper_has_nothing_to_do(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    run = make_run()
    first = deliver(run, MemorySink())
    drive(first, clock)
    first.close()
    sink = MemorySink()
    assert drive(deliver(run, sink), clock) == "done"
    assert sink.calls == 0


def test_a_line_is_sent_when_it_is_whole(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """What has no newline is not there yet."""
    run = make_run(logs=0, ended=False)
    line = entry(100, level="INFO", logger="t", msg="late")
    with open(run / "logs.jsonl", "wb", buffering=0) as file:
        file.write(line[:20])
        sink = MemorySink()
        delivery = deliver(run, sink)
        assert drive(delivery, clock) == "idle"
        assert sink.lines("logs") == []
        file.write(line[20:])
        assert drive(delivery, clock) == "idle"
        assert sink.lines("logs") == [line[:-1]]


def test_entries_wait_for_others_but_not_for_long(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """While a run goes on, a request a second is enough."""
    run = make_run(ended=False)
    sink = MemorySink()
    delivery = deliver(run, sink, follow=True, max_age=2.0)
    assert delivery.step() == "idle"
    clock.advance(1.9)
    assert delivery.step() == "idle"
    clock.advance(0.1)
    drive(delivery, clock)
    assert sorted(sink.lines()) == sorted(all_lines(run))


def test_levels_and_streams_are_left_out(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """DEBUG stays here; what is left out counts as sent, also for `mlog rm`."""
    run = make_run(metrics=3, logs=2000)
    sink = MemorySink()
    delivery = deliver(run, sink, query="&level=INFO&streams=logs,events")
    assert drive(delivery, clock) == "done"
    levels = {orjson.loads(line)["level"] for line in sink.lines("logs")}
    assert levels == {"INFO"}
    assert len(sink.lines("logs")) == 1000
    assert sink.lines("metrics") == []
    sizes = {path.name: path.stat().st_size for path in run.glob("*.jsonl")}
    assert {n: p.offset for n, p in delivery.cursor.segments.items()} == sizes


def test_what_is_no_entry_is_passed_over(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """A disk that ran full left half a line glued before a whole one, and rubbish."""
    run = make_run(logs=1)
    whole = entry(90, level="INFO", logger="t", msg="whole")
    with open(run / "logs.jsonl", "ab") as file:
        file.write(whole[:30] + whole + b"rubbish\n" + b"[1]\n")
        file.write(entry(91, level="INFO", logger="t", msg="last"))
    sink = MemorySink()
    delivery = deliver(run, sink)
    drive(delivery, clock)
    assert [orjson.loads(x)["msg"] for x in sink.lines("logs")] == [
        "0",
        "whole",
        "last",
    ]
    assert delivery.cursor.stats.skipped == 2


def test_artifacts_go_before_the_event_that_tells_of_them(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """Whoever reads of a file at the sink finds it there; no link is followed."""
    run = make_run(ended=False)
    (run / "artifacts" / "a").mkdir(parents=True)
    (run / "artifacts" / "a" / "m.bin").write_bytes(b"model")
    (run / "secret").write_bytes(b"secret")
    (run / "artifacts" / "link").symlink_to(run / "secret")
    (run / "artifacts" / "up").symlink_to(run.parent)
    with open(run / "events.jsonl", "ab") as file:
        for n, path in enumerate(
            ("a/m.bin", "link", "up/r1/secret", "../secret", "gone")
        ):
            file.write(entry(50 + n, event="run.artifact", data={"path": path}))
    sink = MemorySink()
    delivery = deliver(run, sink)
    drive(delivery, clock)
    assert sink.files == {"exp/r1/artifacts/a/m.bin": b"model"}
    letters = {letter.file for letter in dead(delivery)}
    assert letters == {"artifacts/link", "artifacts/up/r1/secret", "artifacts/gone"}


# --- failures ------------------------------------------------------------------------


def test_a_storm_costs_nothing_but_time(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """500, 502, 503, 429, lost replies, a sink that raises: the same is sent again."""
    run = make_run(metrics=50, logs=50)
    storm: list[SendResult | Exception] = [
        RETRY,
        SendResult("retry", "429", retry_after=120.0),
        HttpError("no answer"),
        OSError("no route"),
        ValueError("a mistake in the sink"),
        SendResult("blocked", "401"),
    ]
    sink = MemorySink(script=storm * 20)
    delivery = deliver(run, sink)
    began = clock.now
    assert drive(delivery, clock) == "done"
    assert sorted(sink.lines()) == sorted(all_lines(run))
    assert delivery.cursor.stats.retries == 120
    assert clock.now - began >= 20 * 120.0
    assert (delivery.cursor.error, dead(delivery)) == ("", [])


def test_a_server_that_is_down_for_days_loses_nothing(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """Tries go on for ever, and never further apart than the backoff says."""
    run = make_run(metrics=20, logs=0)
    end = clock.now + 5 * 86_400
    tries: list[float] = []

    def answer(batch: Batch) -> SendResult:
        tries.append(clock.now)
        return RETRY if clock.now < end else SendResult("delivered")

    sink = MemorySink(answer=answer)
    delivery = deliver(run, sink, backoff=Backoff(longest=3600.0))
    assert drive(delivery, clock) == "done"
    assert sorted(sink.lines()) == sorted(all_lines(run))
    assert max(b - a for a, b in pairwise(tries)) <= 3600.0


def test_the_last_error_is_seen(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    delivery = deliver(
        make_run(), MemorySink(script=[SendResult("retry", "a\x1b[2J" * 99)])
    )
    assert delivery.step() == "waits"
    [saved] = delivery.place.cursors().values()
    assert saved.error.startswith("a\\x1b[2Ja")
    assert (saved.failures, len(saved.error)) == (1, 300)


@pytest.mark.parametrize("jump", [-365 * 86_400.0, 365 * 86_400.0])
def test_the_wall_clock_may_jump(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock, jump: float
) -> None:
    """Waits go by a clock that only grows."""
    run = make_run()
    wall = FakeClock(clock.now)

    def answer(batch: Batch) -> SendResult:
        wall.advance(jump)
        return RETRY if clock.now < 1_795_500_005.0 else SendResult("delivered")

    sink = MemorySink(answer=answer)
    delivery = deliver(run, sink)
    delivery.world = World(wall, clock, lambda: 0.5)
    assert drive(delivery, clock) == "done"
    assert sorted(sink.lines()) == sorted(all_lines(run))


# --- size and poison -----------------------------------------------------------------


@given(limit=st.integers(1, 40), count=st.integers(0, 120))
@settings(max_examples=12)
def test_what_is_too_large_is_halved(
    limit: int, count: int, tmp_path_factory: Any
) -> None:
    """Whatever size a server takes, all that fits alone goes through."""
    with _delivery(tmp_path_factory, count, limit=limit) as (
        run,
        sink,
        delivery,
        clock,
    ):
        assert drive(delivery, clock) == "done"
        assert sorted(sink.lines()) == sorted(all_lines(run))
        assert dead(delivery) == []


@given(poison=st.sets(st.integers(0, 119), max_size=8))
@settings(max_examples=12)
def test_exactly_the_poisoned_entries_are_buried(
    poison: set[int], tmp_path_factory: Any
) -> None:
    """Wherever they stand, their neighbours go through, in order."""
    with _delivery(tmp_path_factory, 120, poison=poison) as (
        run,
        sink,
        delivery,
        clock,
    ):
        assert drive(delivery, clock) == "done"
        lines = (run / "logs.jsonl").read_bytes().split(b"\n")[:-1]
        good = [line for n, line in enumerate(lines) if n not in poison]
        assert sink.lines("logs") == good
        letters = dead(delivery)
        assert [x.entry for x in letters] == [lines[n] for n in sorted(poison)]
        assert all(x.reason == "bad entry" for x in letters)
        assert all(x.segment == "logs.jsonl" for x in letters)
        starts = [sum(len(x) + 1 for x in lines[:n]) for n in sorted(poison)]
        assert [x.offset for x in letters] == starts


def _delivery(
    factory: Any,
    count: int,
    *,
    limit: int = 1 << 30,
    poison: set[int] = frozenset(),  # type: ignore[assignment]
) -> Any:
    """Return a context with a delivery of a run of so many log lines."""
    import contextlib

    @contextlib.contextmanager
    def made() -> Iterator[Any]:
        run = factory.mktemp("root") / "exp" / "r1"
        run.mkdir(parents=True)
        lines = [
            entry(n + 10, level="INFO", logger="t", msg=str(n)) for n in range(count)
        ]
        (run / "logs.jsonl").write_bytes(b"".join(lines))
        end = entry(9, event="run.end", data={"status": "Completed"})
        start = entry(0, event="writer.start", data={})
        (run / "events.jsonl").write_bytes(start + end)
        bad = {lines[n][:-1] for n in poison}

        def answer(batch: Batch) -> SendResult:
            if batch.count > limit:
                return SendResult("too_large", "413")
            return REFUSED if bad & set(batch.lines) else SendResult("delivered")

        sink = MemorySink(answer=answer)
        clock = FakeClock(1_795_500_000.0)
        world = World(clock, clock, lambda: 0.5)
        route = parse_route("https://host/?name=memory", env={})
        delivery = open_delivery(run, sink, route, Options(host="here"), world)
        try:
            yield run, sink, delivery, clock
        finally:
            delivery.close()
            shutil.rmtree(run)

    return made()


def test_one_entry_that_is_too_large_is_buried(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    run = make_run(logs=5)
    lines = (run / "logs.jsonl").read_bytes().split(b"\n")

    def answer(batch: Batch) -> SendResult:
        too_large = lines[2] in batch.lines
        return SendResult("too_large", "413") if too_large else SendResult("delivered")

    delivery = deliver(run, MemorySink(answer=answer))
    drive(delivery, clock)
    assert [letter.entry for letter in dead(delivery)] == [lines[2]]


def test_a_sink_that_takes_nothing_at_all_is_not_believed(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """A wrong address says 400 to everything: that makes no dead letters."""
    run = make_run()
    sink = MemorySink(answer=lambda batch: REFUSED)
    delivery = deliver(run, sink)
    for _ in range(200):
        delivery.step()
        clock.now = max(clock.now, delivery.next_try)
    assert dead(delivery) == []
    assert "everything is refused" in delivery.cursor.error
    sink._answer = lambda batch: SendResult("delivered")
    assert drive(delivery, clock) == "done"
    assert sorted(sink.lines()) == sorted(all_lines(run))


def test_partial_success_buries_what_was_rejected(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """What the sink names goes into the file; where it does not, the count does."""
    run = make_run(metrics=4, logs=4)

    def answer(batch: Batch) -> SendResult:
        if batch.stream == "metrics":
            return SendResult("delivered", rejected=(Rejected("no", 2),))
        if batch.stream == "logs":
            return SendResult("delivered", rejected=(Rejected("some", count=3),))
        return SendResult("delivered")

    delivery = deliver(run, MemorySink(answer=answer))
    drive(delivery, clock)
    unnamed, named = sorted(dead(delivery), key=lambda letter: letter.segment)
    assert orjson.loads(named.entry)["step"] == 2
    assert (unnamed.entry, unnamed.count, unnamed.reason) == (b"", 3, "some")
    stats = delivery.cursor.stats
    assert (stats.entries, stats.dead) == (len(all_lines(run)) - 4, 4)


def test_a_line_that_only_looks_like_an_entry_is_buried(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """Where a sink has to parse, one bad line costs itself alone."""
    run = make_run(logs=5)
    bad = b'{"ts":"2026-11-23T18:27:00Z","seq":77,"msg":"\xff'
    with open(run / "logs.jsonl", "ab") as file:
        file.write(bad + b'"}\n')

    def answer(batch: Batch) -> SendResult:
        assert batch.entries
        return SendResult("delivered")

    sink = MemorySink(answer=answer)
    delivery = deliver(run, sink)
    assert drive(delivery, clock) == "done"
    assert len(sink.lines("logs")) == 5
    [letter] = dead(delivery)
    assert (letter.reason, letter.segment) == ("it is no JSON", "logs.jsonl")


# --- gaps ----------------------------------------------------------------------------


def test_a_removed_segment_is_told_of(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """The sink learns that something is missing, and from where on; once."""
    run = make_run(logs=4, ended=False)
    first = MemorySink()
    delivery = deliver(run, first)
    drive(delivery, clock)
    offset = (run / "logs.jsonl").stat().st_size
    delivery.close()
    (run / "logs.jsonl").unlink()  # with lines that nobody has seen, like logs.1
    (run / "logs.2.jsonl").write_bytes(entry(70, level="INFO", logger="t", msg="new"))
    sink = MemorySink()
    again = deliver(run, sink)
    drive(again, clock)
    gaps = [orjson.loads(b.body) for b in sink.batches if b.gap]
    told = [(g["event"], g["data"]["segment"], g["data"]["offset"]) for g in gaps]
    assert told == [
        ("ship.gap", "logs.1.jsonl", 0),
        ("ship.gap", "logs.jsonl", offset),
    ]
    assert all(batch.stream == "events" for batch in sink.batches if batch.gap)
    again.close()
    last = MemorySink()
    drive(deliver(run, last), clock)
    assert last.batches == []


def test_a_segment_removed_after_it_was_sent_is_no_gap(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """Dropping old log files for space loses nothing at the sink."""
    run = make_run(logs=4, ended=False)
    (run / "logs.1.jsonl").write_bytes(entry(70, level="INFO", logger="t", msg="new"))
    sink = MemorySink()
    delivery = deliver(run, sink)
    drive(delivery, clock)
    (run / "logs.jsonl").unlink()
    with open(run / "logs.1.jsonl", "ab") as file:
        file.write(entry(71, level="INFO", logger="t", msg="newer"))
    drive(delivery, clock)
    assert not any(batch.gap for batch in sink.batches)


# --- the end -------------------------------------------------------------------------


def test_a_run_that_goes_on_is_finished_again(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """A new attempt is sent like the first, and its end, too."""
    run = make_run()
    first = deliver(run, MemorySink())
    drive(first, clock)
    first.close()
    start = entry(0, event="writer.start", data={"attempt": 2})
    begin = entry(1, event="run.start", data={})
    end = entry(2, event="run.end", data={"status": "Failed"})
    last = entry(3, event="writer.end", data={"last": 3, "status": "Failed"})
    (run / "events-a2.jsonl").write_bytes(start + begin + end + last)
    sink = MemorySink()
    assert drive(deliver(run, sink), clock) == "done"
    assert sink.batches[0].writer.name == "a2"
    assert sink.ends["exp/r1"].status == "Failed"


def test_a_killed_run_is_finished_too(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """The half line of a killed writer is no entry, and keeps nobody waiting."""
    run = make_run(ended=False, killed=True)
    with open(run / "logs.jsonl", "ab") as file:
        file.write(b'{"ts":"2026-11-2')
    sink = MemorySink()
    delivery = deliver(run, sink)
    assert drive(delivery, clock) == "done"
    assert sink.ends["exp/r1"].status == "NotResponding"
    position = delivery.cursor.segments["logs.jsonl"]
    assert position.torn == 16
    assert position.offset + 16 == (run / "logs.jsonl").stat().st_size
    delivery.close()
    with open(run / "logs.jsonl", "ab") as file:  # it was only asleep
        file.write(b'3T18:27:00Z","seq":50}\n')
    again = MemorySink()
    assert drive(deliver(run, again), clock) == "done"
    assert [orjson.loads(line)["seq"] for line in again.lines()] == [50]


def test_plans_are_on_the_disk_before_what_they_plan(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    """After a crash a sink with dedup tokens gets the same bytes under the same key."""
    run = make_run(metrics=30, logs=0, ended=False)

    class Crash(Exception):
        pass

    def reach(point: str) -> None:
        if point == "sent" and keys:
            raise Crash

    keys: list[tuple[str, bytes]] = []

    def answer(batch: Batch) -> SendResult:
        if batch.stream == "metrics":
            keys.append((batch.key, batch.body))
        return SendResult("delivered")

    traits = Traits(needs_plan=True, has_key=True)
    delivery = deliver(run, MemorySink(traits, answer=answer), reach=reach)
    with pytest.raises(Crash):
        drive(delivery, clock)
    delivery.place.release()
    with open(run / "metrics.jsonl", "ab") as file:  # meanwhile the run went on
        file.write(entry(99, level="INFO", logger="t", step=9, metric={"loss": 0}))
    drive(deliver(run, MemorySink(traits, answer=answer)), clock)
    assert keys[1] == keys[0]
    assert keys[2][0].startswith("exp/r1/metrics.jsonl:")
    assert len(keys) == 3


def test_a_full_disk_stops_sending_until_it_is_not(
    make_run: Callable[..., Path],
    deliver: Open,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cursor that cannot be written must not fall far behind: no more is sent."""
    run = make_run(metrics=2000)
    sink = MemorySink()
    delivery = deliver(run, sink)
    save = delivery.place.save

    def fail(cursor: Any) -> None:
        raise OSError(28, "No space left on device")

    delivery.place.save = fail  # type: ignore[method-assign]
    for _ in range(20):
        assert delivery.step() == "waits"
        clock.now = max(clock.now, delivery.next_try)
    assert len(sink.batches) == 1
    assert "No space left" in delivery.cursor.error
    delivery.place.save = save  # type: ignore[method-assign]
    assert drive(delivery, clock) == "done"
    assert sorted(sink.lines()) == sorted(all_lines(run))


def test_backoff_is_the_callers_choice(
    make_run: Callable[..., Path], deliver: Open, clock: FakeClock
) -> None:
    sink = MemorySink(script=[RETRY])
    delivery = deliver(make_run(), sink, backoff=Backoff(first=100.0, longest=100.0))
    delivery.step()
    assert delivery.next_try == clock.now + 50.0
