"""Many runs, several hosts, one sink."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import MlogError
from mlog.folder import Folder
from mlog.http import HttpError
from mlog.reader.find import iter_runs
from mlog.shipping.check import MemorySink
from mlog.shipping.cursor import read_cursors
from mlog.shipping.dead import retry_dead
from mlog.shipping.shipper import BusyError, Options, Shipper, open_delivery
from mlog.shipping.sink import Batch, SendResult
from mlog.shipping.sinks import open_sink
from mlog.shipping.source import Source
from mlog.shipping.status import read_status
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from tests.helpers import REPO, FakeClock
from tests.http_server import Request, Server, reply
from tests.shipping.conftest import all_lines, entry

ROUTE = parse_route("https://host/?name=memory", env={})


class Ships:
    """A shipper on a clock that moves when it waits."""

    def __init__(self, sink: MemorySink, **options: Any) -> None:
        self.clock = FakeClock(1_795_500_000.0)
        self.told: list[str] = []
        self.stop_at = float("inf")
        self.on_wait: Callable[[], None] = lambda: None
        world = World(self.clock, self.clock, lambda: 0.5)
        given = Options(**{"host": "here", **options})
        self.shipper = Shipper(sink, ROUTE, given, self._wait, world, self.told.append)

    def _wait(self, seconds: float) -> bool:
        self.clock.advance(seconds)
        if seconds:
            self.on_wait()
        return self.clock.now >= self.stop_at

    def ship(self, root: Path) -> Shipper:
        self.shipper.ship(lambda: iter_runs(root))
        return self.shipper


def test_all_runs_arrive_once(make_run: Callable[..., Path], run_dir: Path) -> None:
    runs = [make_run(f"r{n}", metrics=n * 10) for n in range(8)]
    sink = MemorySink()
    shipper = Ships(sink).ship(run_dir)
    assert (shipper.done, shipper.active) == (8, {})
    assert sorted(sink.lines()) == sorted(x for run in runs for x in all_lines(run))
    assert shipper.entries == len(sink.lines())
    again = MemorySink()
    assert Ships(again).ship(run_dir).entries == 0
    assert again.calls == 0


def test_a_run_that_goes_on_is_left_where_it_is(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    """Without `follow` the shipper sends what is there, and ends."""
    run = make_run(ended=False)
    sink = MemorySink()
    assert Ships(sink).ship(run_dir).done == 0
    assert sorted(sink.lines()) == sorted(all_lines(run))
    assert sink.ends == {}


def test_a_service_picks_up_new_runs(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    """And what is added to those it has done with."""
    first = make_run("r1")
    sink = MemorySink()
    ships = Ships(sink, follow=True, rescan=10.0)
    start = ships.clock.now

    def happen() -> None:
        if ships.clock.now > start + 30 and not (run_dir / "exp" / "r2").exists():
            make_run("r2")
            end = entry(0, event="run.end", data={"status": "Failed"})
            (first / "events-a2.jsonl").write_bytes(end)

    ships.on_wait = happen
    ships.stop_at = start + 100
    ships.ship(run_dir)
    assert len(list(iter_runs(run_dir))) == 2
    wrote = [x for run in iter_runs(run_dir) for x in all_lines(run)]
    assert sorted(sink.lines()) == sorted(wrote)


def test_a_server_that_is_down_is_asked_by_one_run_at_a_time(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    """A hundred waiting runs do not hammer it."""
    for n in range(30):
        make_run(f"r{n}")
    tries: list[float] = []
    ships: Ships

    def answer(batch: Batch) -> SendResult:
        tries.append(ships.clock.now)
        if ships.clock.now < 1_795_500_000.0 + 3600:
            raise HttpError("down")
        return SendResult("delivered")

    ships = Ships(MemorySink(answer=answer))
    assert ships.ship(run_dir).done == 30
    hour = [moment for moment in tries if moment < 1_795_500_000.0 + 3600]
    assert len(hour) < 250


def test_a_run_the_sink_cannot_take_does_not_hold_up_others(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    for n in range(3):
        make_run(f"r{n}")

    def answer(batch: Batch) -> SendResult:
        is_bad = batch.run.run_id == "r0"
        return (
            SendResult("retry", "deleted there") if is_bad else SendResult("delivered")
        )

    sink = MemorySink(answer=answer)
    ships = Ships(sink)
    ships.stop_at = ships.clock.now + 60
    assert ships.ship(run_dir).done == 2
    [status] = read_status(run_dir / "exp" / "r0")
    assert (status.error, status.lag_entries) == ("deleted there", 24)


# --- hosts ---------------------------------------------------------------------------


def test_another_host_is_left_alone_while_it_is_at_it(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    """Unless told to take over, or it has not been seen for three minutes."""
    run = make_run(metrics=3)
    clock = FakeClock(1_795_500_000.0)
    world = World(clock, clock, lambda: 0.5)
    there = open_delivery(run, MemorySink(), ROUTE, Options(host="there"), world)
    there.step()
    here = Options(host="here")
    with pytest.raises(BusyError, match="from there; --take-over"):
        open_delivery(run, MemorySink(), ROUTE, here, world)
    clock.advance(181)
    sink = MemorySink()
    taken = open_delivery(run, sink, ROUTE, here, world)
    while taken.step() == "sent":
        pass
    assert len(sink.lines()) == len(all_lines(run)) - 4  # the events had been sent
    assert there.step() == "taken"
    assert [c.host for c in read_cursors(run)] == ["here"]
    taken.close()


def test_take_over(make_run: Callable[..., Path]) -> None:
    run = make_run()
    there = open_delivery(run, MemorySink(), ROUTE, Options(host="there"), World())
    here = Options(host="here", take_over=True)
    open_delivery(run, MemorySink(), ROUTE, here, World()).close()
    there.place.release()


def test_the_same_host_is_told_apart_by_a_lock(make_run: Callable[..., Path]) -> None:
    run = make_run()
    options = Options(host="here", take_over=True)
    first = open_delivery(run, MemorySink(), ROUTE, options, World())
    with pytest.raises(BusyError, match="by another process here"):
        open_delivery(run, MemorySink(), ROUTE, options, World())
    first.close()
    open_delivery(run, MemorySink(), ROUTE, options, World()).close()


def test_a_run_of_its_own_is_waited_for_until_another_here_lets_go(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    """The other one may leave before all is there: that of a run inside this one did."""
    run = make_run()
    other = open_delivery(run, MemorySink(), ROUTE, Options(host="here"), World())
    sink = MemorySink()
    ships = Ships(sink, follow=True, until=frozenset((run,)), rescan=None)
    start = ships.clock.now
    ships.stop_at = start + 60

    def happen() -> None:
        if ships.clock.now > start + 5:
            other.close()

    ships.on_wait = happen
    ships.shipper.stop_waiting()
    assert ships.ship(run_dir).done == 1
    assert sorted(sink.lines()) == sorted(all_lines(run))
    assert ships.shipper.busy == set()


def test_it_is_waited_for_an_hour_and_no_longer(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    run = make_run()
    other = open_delivery(run, MemorySink(), ROUTE, Options(host="here"), World())
    ships = Ships(MemorySink(), follow=True, until=frozenset((run,)), rescan=None)
    start = ships.clock.now
    ships.stop_at = start + 7200
    ships.shipper.stop_waiting()
    assert ships.ship(run_dir).busy == {run}
    assert 3600 <= ships.clock.now - start < 3700
    other.close()


def test_runs_of_others_are_only_read(
    make_run: Callable[..., Path], run_dir: Path, tmp_path: Path
) -> None:
    """With `state` nothing is made in a run; what its own shipper sent is known."""
    run = make_run(metrics=5)
    own = open_delivery(run, MemorySink(), ROUTE, Options(host="node"), World())
    own.step()
    own.close()
    before = sorted(path.name for path in run.rglob("*"))
    sink = MemorySink()
    assert Ships(sink, state=tmp_path / "state").ship(run_dir).done == 1
    assert sorted(path.name for path in run.rglob("*")) == before
    assert {batch.stream for batch in sink.batches} == {"metrics", "logs"}
    again = MemorySink()
    Ships(again, state=tmp_path / "state").ship(run_dir)
    assert again.calls == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs another user")
def test_a_run_that_may_not_be_written_needs_a_state(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    """The error says what to do about it. As another user: root may write anything."""
    run = make_run()
    for folder in (run, *list(run.parents)[:-1]):
        folder.chmod(folder.stat().st_mode | 0o055)
    for path in run.iterdir():
        path.chmod(0o644)
    code = f"""
import os
from mlog.errors import MlogError
from mlog.shipping.check import MemorySink
from mlog.shipping.shipper import Options, open_delivery
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from pathlib import Path
os.setgid(65534); os.setuid(65534)
route = parse_route("https://host", env={{}})
try:
    open_delivery(Path({str(run)!r}), MemorySink(), route, Options(host="h"), World())
except MlogError as exc:
    print(exc)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        check=False,
    )
    assert "with --state" in result.stdout, result.stderr


def test_a_run_that_vanishes_is_told_of(
    make_run: Callable[..., Path], run_dir: Path, tmp_path: Path
) -> None:
    import shutil

    make_run("r1")
    make_run("r2")
    sink = MemorySink(answer=lambda batch: _vanish(run_dir / "exp" / "r1"))

    def _vanish(path: Path) -> SendResult:
        shutil.rmtree(path, ignore_errors=True)
        return SendResult("delivered")

    shipper = Ships(sink).ship(run_dir)
    assert shipper.done >= 1
    assert len(shipper.troubles) <= 1


def test_a_file_server_that_is_away_is_waited_for(
    make_run: Callable[..., Path], run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot be read for a while is sent when it can."""
    run = make_run()
    sink = MemorySink()
    ships = Ships(sink)
    back, read = ships.clock.now + 60, Source.segments

    def segments(self: Source, folder: Folder) -> Any:
        if ships.clock.now < back:
            raise OSError(116, "Stale file handle")
        return read(self, folder)

    monkeypatch.setattr(Source, "segments", segments)
    ships.ship(run_dir)
    assert sorted(sink.lines()) == sorted(all_lines(run))
    assert ships.told == []


def test_a_link_is_no_segment(
    make_run: Callable[..., Path], run_dir: Path, tmp_path: Path
) -> None:
    """Nobody can have another user's file sent."""
    run = make_run()
    wrote = all_lines(run)
    secret = tmp_path / "secret"
    secret.write_bytes(entry(1, level="INFO", logger="x", msg="secret"))
    (run / "logs-r1.jsonl").symlink_to(secret)
    os.mkfifo(run / "logs-r2.jsonl")
    sink = MemorySink()
    assert Ships(sink).ship(run_dir).done == 1
    assert sorted(sink.lines()) == sorted(wrote)


def test_a_damaged_cursor_stops_its_run_only(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    bad = make_run("r1")
    make_run("r2")
    (bad / ".ship").mkdir()
    (bad / ".ship" / "memory.here.json").write_text("rubbish")
    ships = Ships(MemorySink())
    assert ships.ship(run_dir).done == 1
    assert [text for text in ships.told if "is no cursor" in text]


# --- dead letters, status ------------------------------------------------------------


def test_dead_letters_are_sent_once_more(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    """What is taken now is no dead letter any more; what is refused again stays."""
    run = make_run(logs=6)
    lines = (run / "logs.jsonl").read_bytes().split(b"\n")
    bad = {lines[1], lines[4]}

    def answer(batch: Batch) -> SendResult:
        is_bad = bad & set(batch.lines)
        return SendResult("refused", "bad") if is_bad else SendResult("delivered")

    Ships(MemorySink(answer=answer)).ship(run_dir)
    assert [status.dead for status in read_status(run)] == [2]
    bad.remove(lines[1])
    sink = MemorySink(answer=answer)
    delivery = open_delivery(run, sink, ROUTE, Options(host="here"), World())
    assert retry_dead(delivery) == (1, 1)
    delivery.close()
    assert sink.lines() == [lines[1]]
    [status] = read_status(run)
    assert (status.dead, status.state) == (1, "done")


def test_status_says_how_far_a_sink_is(
    make_run: Callable[..., Path], run_dir: Path
) -> None:
    run = make_run(metrics=10, logs=0)
    assert read_status(run) == []
    script = [SendResult("delivered"), *[SendResult("retry", "busy")] * 99]
    ships = Ships(MemorySink(script=script))
    ships.stop_at = ships.clock.now + 5
    ships.ship(run_dir)
    [status] = read_status(run, now=1_795_456_842.0)
    assert (status.sink, status.url, status.host) == ("memory", "https://host/", "here")
    assert (status.entries, status.lag_entries) == (4, 10)
    assert status.lag_bytes == (run / "metrics.jsonl").stat().st_size
    assert status.lag_seconds == pytest.approx(40, abs=1)
    assert (status.state, status.error) == ("stopped", "busy")
    assert status.retries >= 1


def test_nothing_is_wrong_with_no_runs(tmp_path: Path) -> None:
    def none() -> Iterable[Path]:
        return ()

    ships = Ships(MemorySink())
    ships.shipper.ship(none)
    assert ships.shipper.done == 0
    with pytest.raises((MlogError, OSError)):
        read_status(tmp_path / "a" / "b")


def test_a_token_that_has_expired_is_asked_for_again(
    make_run: Callable[..., Path], run_dir: Path, server: Server, tmp_path: Path
) -> None:
    """401 is no fault of the entries: they wait until the file has a new token."""
    run = make_run()
    token = tmp_path / "token"
    token.write_text("old")

    def answer(request: Request, connection: socket.socket) -> None:
        good = request.headers["authorization"] == "Bearer new"
        reply(200 if good else 401)(request, connection)
        if good:
            taken.extend(request.lines)

    taken: list[bytes] = []
    server.usual = answer
    route = parse_route(f"{server.url}?name=s&token_file={token}", env={})
    sink = open_sink(route.target)
    ships = Ships(MemorySink())
    ships.shipper.sink, ships.shipper.route = sink, route
    start = ships.clock.now

    def renew() -> None:
        if ships.clock.now > start + 100:
            token.write_text("new")

    ships.on_wait = renew
    ships.ship(run_dir)
    sink.close()
    assert sorted(taken) == sorted(all_lines(run))
    assert len(server.requests) < 12
    [status] = read_status(run)
    assert (status.dead, status.state) == (0, "done")
