"""Shippers that are killed: at every point, at random, two at once, with the trainer."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlog.shipping.cursor import open_place, read_cursors
from tests.helpers import REPO
from tests.http_server import Server, hang_up, reply
from tests.shipping.conftest import all_lines

SHIP = """
import os, signal, sys, threading
from pathlib import Path
from mlog.shipping.world import World
from mlog.shipping.retry import Backoff
from mlog.shipping.shipper import Options, Shipper
from mlog.shipping.sinks import open_sink
from mlog.shipping.target import parse_route
from mlog.reader.find import iter_runs

url, root, point, nth = sys.argv[1:]
left = int(nth)

def reach(name):
    global left
    if name == point:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

route = parse_route(url, env=os.environ)
options = Options(host="here", backoff=Backoff(first=0.01, longest=0.02, pause=0.01))
sink = open_sink(route.target)
stop = threading.Event()
shipper = Shipper(sink, route, options, wait=stop.wait, world=World(reach=reach))
shipper.ship(lambda: iter_runs(Path(root)))
print("done", shipper.entries)
"""

Ship = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def ship(server: Server, run_dir: Path, tmp_path: Path) -> Iterator[Ship]:
    """Start shippers in processes of their own; ended with the test."""
    script = tmp_path / "ship.py"
    script.write_text(textwrap.dedent(SHIP))
    made: list[subprocess.Popen[str]] = []

    def start(point: str = "none", nth: int = 1, query: str = "") -> Any:
        url = server.url + "?name=s" + query
        command = [sys.executable, str(script), url, str(run_dir), point, str(nth)]
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        pipe = subprocess.PIPE
        made.append(
            subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True)
        )
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def end_of(process: "subprocess.Popen[str]") -> int:
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    return process.returncode


def check_delivered(server: Server, run: Path, *, in_flight: int) -> None:
    """All is there, nothing else; twice only what was in flight at a crash."""
    found, wrote = Counter(server.lines()), Counter(all_lines(run))
    assert set(found) == set(wrote)
    twice = sum((found - wrote).values())
    assert twice <= in_flight


@pytest.mark.parametrize("point", ["sent", "acked", "saved"])
def test_a_shipper_killed_at_any_point_loses_nothing(
    point: str, make_run: Callable[..., Path], server: Server, ship: Ship
) -> None:
    """Killed at the first such point, then at the second, and so on, to the end."""
    run = make_run(metrics=1200, logs=0)
    killed = 0
    while end_of(ship(point, nth=2)) != 0:
        killed += 1
        assert killed < 30
        assert all(cursor.url == server.url for cursor in read_cursors(run))
    assert killed >= 2
    requests = [r for r in server.taken if r.lines]
    biggest = max(len(r.lines) for r in requests)
    check_delivered(server, run, in_flight=killed * biggest)
    batches = Counter(r.headers["x-mlog-batch"] for r in requests)
    again = [key for key, count in batches.items() if count > 1]
    assert len(again) <= killed
    if point == "saved":  # the cursor was on the disk: nothing comes twice
        assert again == []


def test_a_shipper_killed_while_it_buries_keeps_each_letter_once(
    make_run: Callable[..., Path], server: Server, ship: Ship
) -> None:
    """The dead letter comes before the cursor, so it may be written twice, read once."""
    run = make_run(metrics=0, logs=60)
    lines = (run / "logs.jsonl").read_bytes().split(b"\n")
    server.poison = {lines[7], lines[33]}
    ends = [end_of(ship("buried", nth)) for nth in (1, 2, 3)]
    assert ends == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert set(server.lines()) == set(all_lines(run)) - server.poison
    place = open_place(run, "s", "here", state=None)
    assert {letter.entry for letter in place.dead()} == server.poison
    assert len(place.dead()) == 2
    assert (run / ".ship" / "s.dead.jsonl").read_bytes().count(b"\n") > 2


def test_lost_replies_make_duplicates_of_their_batch_only(
    make_run: Callable[..., Path], server: Server, ship: Ship
) -> None:
    """The server has it, and we do not know: it comes again under the same key."""
    run = make_run(metrics=1500, logs=0)
    server.script = [server.usual, hang_up, reply(503), hang_up]
    assert end_of(ship()) == 0
    found = Counter(server.lines())
    assert set(found) == set(all_lines(run))
    keys = Counter(r.headers["x-mlog-batch"] for r in server.taken if r.lines)
    assert sorted(keys.values())[-2:] == [1, 3]


def test_two_shippers_do_not_share_a_run(
    make_run: Callable[..., Path], server: Server, ship: Ship
) -> None:
    """Started at once, one of them does the work; nothing comes twice."""
    runs = [make_run(f"r{n}", metrics=500) for n in range(4)]
    for process in [ship() for _ in range(3)]:
        assert end_of(process) == 0
    found = Counter(server.lines())
    wrote = Counter(line for run in runs for line in all_lines(run))
    assert found == wrote


@pytest.mark.slow
def test_shipper_and_trainer_killed_at_random(
    server: Server, ship: Ship, run_dir: Path, tmp_path: Path
) -> None:
    """Delivered ⊇ what the trainer's calls had returned; ⊆ what stands in its files."""
    code = """
        import logging, mlog, sys
        with mlog.start_run("exp"):
            for n in range(10**6):
                logging.getLogger("t").info("n", metric={"loss": n}, step=n)
                print(n, flush=True)
    """
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    chance = random.Random(5)
    for _ in range(2):
        trainer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert trainer.stdout is not None
        trainer.stdout.readline()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            process = ship()
            try:
                process.wait(chance.uniform(0.2, 0.6))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        trainer.kill()
        rest, _ = trainer.communicate()
        returned = int(rest.rpartition("\n")[0].rpartition("\n")[2] or 0)
        assert end_of(ship()) == 0
        run = max(run_dir.glob("exp/*"), key=lambda path: path.name)
        found = set(server.lines())
        assert set(all_lines(run)) <= found
        metrics = (run / "metrics.jsonl").read_bytes().count(b"\n")
        assert metrics > returned
    wrote = {line for run in run_dir.glob("exp/*") for line in all_lines(run)}
    assert set(server.lines()) == wrote
