"""What shipping costs: the shipper per entry, and the program that is recorded.

    python -m tests.bench.shipping [--quick] [--dir DIR]

Run it in the project's folder with the test extra installed, on a machine that does
nothing else. An NDJSON server in a process of its own reads each request and forgets
it. First a run of 400,000 metric entries is sent to it in batches of 1,000, as they are
and coded, with a cursor that is on the disk after each batch; "bare" posts the same
bodies by the same HTTP client, without files and cursors. Then a program logs metrics
without a remote and with one, whose server takes everything, is not there, or never
answers; what counts is the median of its calls, as a multiple of that without. Figures
are medians of the repetitions, in brackets the least and the greatest. Nothing here
passes or fails.

Options:
    --quick   A tenth of the entries: for a first look.
    --dir     Where to write; default: the temporary folder. On a disk each batch waits
              until its cursor is there; in memory (`/dev/shm`) the rest is seen.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson

from mlog.http import HttpClient
from mlog.shipping.shipper import Options, Shipper
from mlog.shipping.sink import Traits
from mlog.shipping.sinks.ndjson import NdjsonSink
from mlog.shipping.target import parse_route

_ENTRIES = 400_000
_BATCH = 1_000
_CALLS = 30_000
_REPETITIONS = 5
_NAMES = ("loss", "acc", "lr", "grad_norm")

_TRAINER = """
import json, logging, statistics, sys, time
import mlog

calls = int(sys.argv[1])
remote = sys.argv[2:] or False
run = mlog.start_run("bench", remote=remote, flush_timeout=0.0)
logger = logging.getLogger("train")
logger.setLevel("INFO")
metric = {"loss": 0.25, "acc": 0.5, "lr": 0.001, "grad_norm": 1.5}
for n in range(2000):
    logger.info("step", extra={"metric": metric, "step": n})
time.sleep(1.0)
taken, clock = [], time.perf_counter_ns
for n in range(calls):
    begin = clock()
    logger.info(metric=metric, step=n)
    taken.append(clock() - begin)
    if n % 50 == 0:
        time.sleep(0.001)  # the rest of a step
print(json.dumps([statistics.median(taken), sorted(taken)[int(calls * 0.99)]]))
"""


# --- the server ----------------------------------------------------------------------


def serve(answers: bool) -> None:
    """Take requests on a free port, which is printed, and forget them."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_talk, args=(connection, answers), daemon=True).start()


def _talk(connection: socket.socket, answers: bool) -> None:
    with contextlib.suppress(OSError):  # the client is gone
        _answer(connection, answers)


def _answer(connection: socket.socket, answers: bool) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    while True:
        while (end := data.find(b"\r\n\r\n")) < 0:
            more = connection.recv(1 << 16)
            if not more:
                return
            data += more
        head = data[:end].lower()
        start = head.index(b"content-length:") + 15
        length = int(
            head[start : head.find(b"\r", start) if b"\r" in head[start:] else None]
        )
        left = length - (len(data) - end - 4)
        data = data[end + 4 + length :] if left < 0 else b""
        while left > 0:
            left -= len(connection.recv(min(left, 1 << 20)))
        if answers:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@contextlib.contextmanager
def server(*, answers: bool = True) -> Iterator[str]:
    """Run a server in a process of its own; gives its address."""
    command = [sys.executable, "-m", "tests.bench.shipping", "--serve"]
    process = subprocess.Popen(
        [*command, "yes" if answers else "no"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/in"
    finally:
        process.kill()
        process.communicate()


# --- the shipper ---------------------------------------------------------------------


def write_run(root: Path, entries: int) -> Path:
    """Write an ended run with so many metric entries, as a run writes them."""
    rng = random.Random(5)
    folder = root / "bench" / "r1"
    folder.mkdir(parents=True)
    ts = "2026-11-23T18:27:00.123456Z"
    with open(folder / "metrics.jsonl", "wb") as file:
        for n in range(entries):
            metric = {name: rng.random() * 3 for name in _NAMES}
            entry = {"ts": ts, "seq": n + 2, "level": "INFO", "logger": "train"}
            file.write(orjson.dumps({**entry, "step": n, "metric": metric}) + b"\n")
    start = {"ts": ts, "seq": 0, "event": "writer.start", "data": {"attempt": 1}}
    end = {"ts": ts, "seq": 1, "event": "run.end", "data": {"status": "Completed"}}
    (folder / "events.jsonl").write_bytes(
        orjson.dumps(start) + b"\n" + orjson.dumps(end) + b"\n"
    )
    return folder


def cpu() -> float:
    """Return the processor seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ship(folder: Path, url: str, coding: str, batch: int = _BATCH) -> int:
    """Send the run in batches of at most so many; return how many entries went."""
    route = parse_route(f"{url}?coding={coding}&name={coding}", env={})
    sink = NdjsonSink(route.target)
    sink.traits = Traits(max_entries=batch, max_bytes=4 << 20)
    shipper = Shipper(sink, route, Options(host="bench"), wait=lambda seconds: False)
    shipper.ship(lambda: [folder])
    sink.close()
    shutil.rmtree(folder / ".ship")
    return shipper.entries


def post_bare(folder: Path, url: str) -> int:
    """Send the same bodies, read beforehand, by the same client."""
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    bodies = [b"".join(lines[n : n + _BATCH]) for n in range(0, len(lines), _BATCH)]
    client = HttpClient(url, {})
    began, used = time.perf_counter(), cpu()
    for body in bodies:
        client.request("POST", content=body)
    client.close()
    _bare.append((time.perf_counter() - began, cpu() - used))
    return len(lines)


_bare: list[tuple[float, float]] = []


def measure_shipper(folder: Path) -> None:
    """Print entries per second and processor time per entry."""
    cases: dict[str, Callable[[str], int]] = {
        "bare client": lambda url: post_bare(folder, url),
        "identity": lambda url: ship(folder, url, "identity"),
        "zstd": lambda url: ship(folder, url, "zstd"),
        "gzip": lambda url: ship(folder, url, "gzip"),
        "gzip, up to 5,000": lambda url: ship(folder, url, "gzip", 5_000),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    costs: dict[str, list[float]] = {name: [] for name in cases}
    with server() as url:
        for _ in range(_REPETITIONS):
            for name, case in cases.items():
                _bare.clear()
                began, used = time.perf_counter(), cpu()
                sent = case(url)
                wall, spent = time.perf_counter() - began, cpu() - used
                if _bare:
                    [(wall, spent)] = _bare
                rates[name].append(sent / wall)
                costs[name].append(1e6 * spent / sent)
    print(f"{'shipper, batches of 1,000':<28}{'entries/s':>26}{'µs CPU/entry':>24}")
    for name in cases:
        print(
            f"{name:<28}{spread(rates[name], ',.0f'):>26}{spread(costs[name], '.2f'):>24}"
        )
    print()


def measure_memory(root: Path) -> None:
    """Print the greatest memory of a `mlog ship` with a large run behind.

    First of all: Linux counts what the parent had when the child was started.
    """
    with server() as url:
        command = [
            sys.executable,
            "-m",
            "mlog",
            "ship",
            "--root",
            str(root),
            "--to",
            url,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    size = sum(path.stat().st_size for path in root.rglob("*.jsonl"))
    print(f"mlog ship of {size / 1e6:.0f} MB: at most {usage.ru_maxrss / 1e3:.0f} MB\n")


# --- the program ---------------------------------------------------------------------


def measure_trainer(root: Path, calls: int) -> None:
    """Print what a call costs with a remote, as a multiple of that without."""
    with server() as up, server(answers=False) as hanging:
        with socket.create_server(("127.0.0.1", 0)) as free:
            down = f"http://127.0.0.1:{free.getsockname()[1]}/in"
        cases = {"server up": up, "server down": down, "server hanging": hanging}
        ratios: dict[str, list[float]] = {name: [] for name in cases}
        tails: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(_REPETITIONS):
            for name, url in cases.items():
                median, tail = train(root, calls)
                own_median, own_tail = train(root, calls, url)
                ratios[name].append(own_median / median)
                tails[name].append(own_tail / tail)
    print(f"{'program with a remote':<28}{'median call':>26}{'99 % of calls':>24}")
    for name in cases:
        print(
            f"{name:<28}{spread(ratios[name], '.2f'):>26}{spread(tails[name], '.2f'):>24}"
        )


def train(root: Path, calls: int, *url: str) -> tuple[float, float]:
    """Run the program; return nanoseconds of its median call and of the 99th percentile."""
    folder = root / "train"
    shutil.rmtree(folder, ignore_errors=True)
    env = {**os.environ, "MLOG_DIR": str(folder), "MLOG_QUIET": "1"}
    command = [sys.executable, "-c", _TRAINER, str(calls), *url]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, check=True, timeout=600
    )
    _end_shippers(folder)
    median, tail = json.loads(done.stdout)
    return median, tail


def _end_shippers(root: Path) -> None:
    """End the shippers that the program has left behind."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            environ = (process / "environ").read_bytes()
        except OSError:
            continue
        if b"--handed" in command and f"MLOG_DIR={root}".encode() in environ:
            os.kill(int(process.name), signal.SIGKILL)


def spread(values: Sequence[float], form: str) -> str:
    """Return the median of some values, and the least and greatest."""
    middle = statistics.median(values)
    return f"{middle:{form}} [{min(values):{form}} {max(values):{form}}]"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dir")
    parser.add_argument("--serve", choices=["yes", "no"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve == "yes")
    share = 10 if given.quick else 1
    root = Path(tempfile.mkdtemp(prefix="mlog-bench-", dir=given.dir))
    try:
        folder = write_run(root, _ENTRIES // share)
        measure_memory(root)
        shutil.rmtree(folder / ".ship")
        measure_shipper(folder)
        measure_trainer(root, _CALLS // share)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
