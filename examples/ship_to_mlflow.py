"""Train with an MLflow server as remote, then offline, and send that run later.

The example starts a server of its own, if MLflow is installed (`pip install mlflow`) and
its command is on the PATH. Without it both runs are recorded all the same: that is the
point. Files come first, a server is somewhere to send them.
"""

import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket

import httpx

import mlog

logger = logging.getLogger(__name__)


def train(rate: float, remote: str | None) -> None:
    """Walk down a parabola; all of it is logged."""
    place = 10.0
    params, name = {"rate": rate}, f"rate {rate}"
    with mlog.start_run("parabola", name=name, params=params, remote=remote):
        for step in range(200):
            place -= rate * 2 * place
            logger.info(metric={"place": place, "loss": place**2}, step=step)
        logger.info("arrived at %.3g", place)


@contextmanager
def mlflow_server(command: str) -> Iterator[str]:
    """Run an MLflow server in a temporary folder; give its address."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        store = [
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", f"{folder}/artifacts", "--serve-artifacts"),
        ]
        address = ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
        with Path(folder, "server.log").open("wb") as log:
            server = subprocess.Popen(
                [command, "server", *address, *store],
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Return when a server answers."""
    while server.poll() is None:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    sys.exit("the MLflow server did not start")


def show(url: str) -> None:
    """Print what the server has, by its own interface."""
    api = f"{url}/api/2.0/mlflow"
    with httpx.Client(trust_env=False) as client:
        query = {"experiment_name": "parabola"}
        found = client.get(f"{api}/experiments/get-by-name", params=query).json()
        body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
        for run in client.post(f"{api}/runs/search", json=body).json()["runs"]:
            query = {"run_id": run["info"]["run_id"], "metric_key": "loss"}
            points = client.get(f"{api}/metrics/get-history", params=query).json()
            name, status = run["info"]["run_name"], run["info"]["status"]
            print(f"  {name}: {status}, {len(points['metrics'])} points of loss")


def main() -> None:
    """Train twice, and show that both runs are on the server."""
    command = shutil.which("mlflow")
    if command is None:
        train(0.1, remote=None)
        print("recorded; MLflow is not installed, so there is no server to send it to")
        return
    with mlflow_server(command) as url:
        train(0.1, remote=f"mlflow+{url}")
        train(0.2, remote=None)  # no network here, say
        ship = [sys.executable, "-m", "mlog", "ship", "--all", "--to", f"mlflow+{url}"]
        subprocess.run(ship, check=True)
        print("on the server:")
        show(url)


if __name__ == "__main__":
    main()
