"""Sending a run to a real MLflow server: against bare httpx, and MLflow's own client.

    MLOG_TEST_MLFLOW=…/bin/mlflow python -m tests.bench.shipping_mlflow [REPETITIONS]

All take turns on one server, so that a machine that wanders does so for each of them.
Figures are medians; points are counted from the first request to the last answer.

| row | what it does |
|---|---|
| bare httpx | posts batches of 1,000 points that are ready, and looks at the status |
| mlog, metrics | the same points from a run's files, by the sink alone |
| mlog, whole run | the shipper: run, params, points, cursor, files, points counted back |
| MLflow log_batch | `MlflowClient.log_batch` with 1,000 points, in its own environment |
| MLflow log_metric | `MlflowClient.log_metric`, a request for each point |
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

import mlog
from mlog.shipping.shipper import Options, open_delivery
from mlog.shipping.sink import Batch
from mlog.shipping.sinks import open_sink
from mlog.shipping.target import Route, parse_route
from mlog.shipping.world import World
from tests.shipping.servers import MLFLOW, mlflow_server
from tests.shipping.sinks.helpers import batches_of

STEPS = 2_500
NAMES = ("loss", "acc", "lr", "grad_norm")
POINTS = STEPS * len(NAMES)
SINGLE = 200

Figures = tuple[float, float]
"""Points a second, and CPU microseconds of the client for a point."""

_CLIENT = """
import json, sys, time
from mlflow import MlflowClient
from mlflow.entities import Metric
url, steps, names, single = sys.argv[1], *map(json.loads, sys.argv[2:])
client = MlflowClient(url)
experiment = client.get_experiment_by_name("own") or client.create_experiment("own")
experiment = getattr(experiment, "experiment_id", experiment)
run = client.create_run(experiment).info.run_id
now = time.time_ns() // 1_000_000
points = [Metric(n, s / 7, now, s) for s in range(steps) for n in names]
def timed(call):
    wall, cpu = time.perf_counter(), time.process_time()
    count = call()
    return count / (time.perf_counter() - wall), (time.process_time() - cpu) / count * 1e6
def batches():
    for start in range(0, len(points), 1_000):
        client.log_batch(run, metrics=points[start:start + 1_000])
    return len(points)
def one_by_one():
    for step in range(single):
        client.log_metric(run, "single", step / 7, step=step)
    return single
print(json.dumps([timed(batches), timed(one_by_one)]))
"""


def timed(call: Callable[[], int]) -> Figures:
    """Return the figures of a call, which returns the number of its points."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = call()
    took = time.perf_counter() - wall
    return count / took, (time.process_time() - cpu) / count * 1e6


def bare(url: str) -> Figures:
    """Post ready points with httpx."""
    api = f"{url}/api/2.0/mlflow"
    with httpx.Client(trust_env=False, timeout=120) as client:
        client.post(f"{api}/experiments/create", json={"name": "bare"})
        query = {"experiment_name": "bare"}
        found = client.get(f"{api}/experiments/get-by-name", params=query).json()
        body = {"experiment_id": found["experiment"]["experiment_id"]}
        run = client.post(f"{api}/runs/create", json=body).json()["run"]["info"]
        now = time.time_ns() // 1_000_000
        points = [
            {"key": name, "value": step / 7, "timestamp": now, "step": step}
            for step in range(STEPS)
            for name in NAMES
        ]

        def post() -> int:
            for start in range(0, POINTS, 1_000):
                piece = {"run_id": run["run_id"], "metrics": points[start:][:1_000]}
                client.post(f"{api}/runs/log-batch", json=piece).raise_for_status()
            return POINTS

        return timed(post)


def make_run(root: Path) -> Path:
    """Record the points with mlog."""
    with mlog.start_run("bench", dir=root, params={"rate": 0.1}) as run:
        logger = mlog.getLogger("bench")
        for step in range(STEPS):
            logger.info(metric=dict.fromkeys(NAMES, step / 7), step=step)
    if run.path is None:
        raise RuntimeError("runs are off (MLOG_MODE)")
    return run.path


def by_sink(route: Route, folder: Path) -> Figures:
    """Send a run's metrics by the sink alone; its run is made before."""
    sink = open_sink(route.target)
    events: list[Batch] = []
    metrics: list[Batch] = []
    for batch in batches_of(folder, sink, size=1_000):
        (metrics if batch.stream == "metrics" else events).append(batch)
    for batch in events:
        sink.send(batch)

    def send() -> int:
        for batch in metrics:
            if sink.send(batch).outcome != "delivered":
                raise RuntimeError("not delivered")
        return POINTS

    figures = timed(send)
    sink.close()
    return figures


def by_shipper(route: Route, folder: Path) -> Figures:
    """Send a whole run as `mlog ship` does."""
    sink = open_sink(route.target)
    delivery = open_delivery(folder, sink, route, Options("bench"), World())

    def send() -> int:
        while delivery.step() != "done":
            if delivery.failures:
                raise RuntimeError(delivery.cursor.error)
        return POINTS

    figures = timed(send)
    delivery.close()
    sink.close()
    return figures


def own_client(url: str) -> list[Figures]:
    """Send as many points with MLflow's own client."""
    python = Path(str(MLFLOW)).resolve().parent / "python"
    given = [json.dumps(value) for value in (STEPS, NAMES, SINGLE)]
    done = subprocess.run(
        [python, "-c", _CLIENT, url, *given],
        stdout=subprocess.PIPE,
        check=True,
        env={"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    found: list[Figures] = json.loads(done.stdout.splitlines()[-1])
    return found


def turns(url: str, root: Path) -> Iterator[tuple[str, Figures]]:
    """Yield the figures of each row once."""
    route = parse_route(f"mlflow+{url}", env={})
    yield "bare httpx", bare(url)
    yield "mlog, metrics", by_sink(route, make_run(root))
    yield "mlog, whole run", by_shipper(route, make_run(root))
    batches, single = own_client(url)
    yield "MLflow log_batch", batches
    yield "MLflow log_metric", single


def main() -> None:
    """Print a table."""
    if MLFLOW is None:
        sys.exit("MLOG_TEST_MLFLOW names no command, and mlflow is not on the PATH")
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder)) as url:
        for _ in range(repetitions):
            for row, figures in turns(url, Path(folder, "runs")):
                found.setdefault(row, []).append(figures)
    yardstick = statistics.median(rate for rate, _ in found["bare httpx"])
    print(f"{'':20}{'points/s':>10}{'x httpx':>9}{'CPU us/point':>14}")
    for row, each in found.items():
        rate, cpu = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{row:20}{rate:>10,.0f}{rate / yardstick:>9.2f}{cpu:>14.1f}")


if __name__ == "__main__":
    main()
