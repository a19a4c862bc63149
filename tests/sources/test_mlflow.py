"""Runs of a real MLflow server, which the test starts on 127.0.0.1.

`MLOG_TEST_MLFLOW` is the path of the `mlflow` command of an environment of its own:
MLflow would bring dozens of packages into this one.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

import mlog
from mlog.cli import cli
from mlog.errors import MlogError
from mlog.http import Answer, HttpClient, HttpError
from mlog.reader.series import read_histories
from mlog.reader.state import read_state
from mlog.reader.verify import verify_run
from mlog.sources.copies import Copied, copy_run
from mlog.sources.mlflow import Server, address_of
from mlog.sources.mlflow_client import Client
from tests.helpers import entries

MLFLOW = (
    os.environ.get("MLOG_TEST_MLFLOW")
    or shutil.which("mlflow", path=os.path.dirname(sys.executable))
    or ""
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path(MLFLOW).is_file(),
        reason="no MLflow: MLOG_TEST_MLFLOW names no `mlflow` command",
    ),
]
T0 = 1_700_000_000_000
PREFIX = "/api/2.0/mlflow"


@dataclass
class Tracking:
    """A server with two experiments."""

    url: str
    api: httpx.Client
    parent: str = ""
    child: str = ""
    alive: str = ""

    def post(self, path: str, **content: Any) -> Any:
        found = self.api.post(PREFIX + path, json=content)
        found.raise_for_status()
        return found.json()

    def run(self, experiment: str, name: str, **tags: str) -> str:
        pairs = [{"key": k.replace("__", "."), "value": v} for k, v in tags.items()]
        made = self.post(
            "/runs/create",
            experiment_id=experiment,
            run_name=name,
            start_time=T0,
            user_id="ada",
            tags=pairs,
        )
        return str(made["run"]["info"]["run_id"])

    def metrics(self, run: str, name: str, values: list[Any], start: int = 0) -> None:
        """Log a value a second."""
        points = [
            {"key": name, "value": v, "timestamp": T0 + 1000 * n, "step": n}
            for n, v in enumerate(values, start)
        ]
        for at in range(0, len(points), 1000):
            self.post("/runs/log-batch", run_id=run, metrics=points[at : at + 1000])


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    work = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MLOG", "MLFLOW"))},
        "PATH": f"{Path(MLFLOW).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [MLFLOW, "server", "--workers", "1", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{work}/mlflow.db"]
    command += ["--artifacts-destination", str(work / "artifacts")]
    with open(work / "log", "wb") as log:
        server = subprocess.Popen(
            command, cwd=work, env=env, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=60) as api:
            wait_for(api, server, work / "log")
            yield fill(Tracking(url, api))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_for(api: httpx.Client, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server is there; it takes 5 to 60 seconds."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            if api.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)  # there is nothing else to wait for
    pytest.fail(f"MLflow did not start: {log.read_text()[-2000:]}")


def fill(tracking: Tracking) -> Tracking:
    """Put runs into the server."""
    exp = tracking.post("/experiments/create", name="exp one")["experiment_id"]
    other = tracking.post("/experiments/create", name="other")["experiment_id"]
    git = {"mlflow__source__git__commit": "abc123", "mlflow__source__name": "train.py"}
    note = {"mlflow__note__content": "some words"}
    parent = tracking.run(exp, "the parent", team="a", **git, **note)
    child = tracking.run(exp, "the child", mlflow__parentRunId=parent)
    tracking.metrics(parent, "loss", [1 / (n + 1) for n in range(1200)])
    tracking.metrics(parent, "val/acc", [n / 2 for n in range(1200)])
    tracking.metrics(parent, "odd", ["NaN", "Infinity", "-Infinity", -0.5])
    params = [("lr", "0.001"), ("opt", "sgd"), ("api_key", "k-123456")]
    pairs = [{"key": key, "value": value} for key, value in params]
    tracking.post("/runs/log-batch", run_id=parent, params=pairs)
    end = T0 + 2_000_000
    tracking.post("/runs/update", run_id=parent, status="FINISHED", end_time=end)
    tracking.post("/runs/update", run_id=child, status="FAILED", end_time=T0 + 1)
    for path, content in (("a/b c.txt", b"hello"), ("model.bin", bytes(300_000))):
        base = f"/api/2.0/mlflow-artifacts/artifacts/{exp}/{parent}/artifacts"
        tracking.api.put(f"{base}/{path}", content=content).raise_for_status()
    tracking.parent, tracking.child = parent, child
    tracking.alive = tracking.run(other, "still going")
    tracking.metrics(tracking.alive, "loss", [3, 2])
    return tracking


def imported(
    tracking: Tracking, root: Path, *experiments: str, **options: Any
) -> dict[str, Copied]:
    """Import all runs; returns what became of each, by its name."""
    found = {}
    with Client(tracking.url, {}) as client:
        for runs in Server(client, **options).runs(experiments):
            for run in runs:
                found[run.origin.name] = copy_run(run, root)
    return found


def test_a_run_comes_home_whole(tracking: Tracking, root: Path) -> None:
    copied = imported(tracking, root)["the parent"]
    state = read_state(copied.folder)
    assert (state.run_id, state.experiment) == (tracking.parent, "exp one")
    assert (state.status, state.description) == ("Completed", "some words")
    assert state.created == "2023-11-14T22:13:20.000000Z"
    assert state.duration == 2000
    assert state.params == {"lr": 0.001, "opt": "sgd", "api_key": "***"}
    assert state.tags["team"] == "a"
    assert state.start["git"] == {"commit": "abc123"}
    assert {a.path: a.size for a in state.artifacts.values()} == {
        "a/b c.txt": 5,
        "model.bin": 300_000,
    }
    assert (copied.folder / "artifacts" / "a" / "b c.txt").read_bytes() == b"hello"
    assert copied.notes == []
    assert verify_run(copied.folder, deep=True, now=time.time()).is_whole


def test_histories_are_exact(tracking: Tracking, root: Path) -> None:
    """They come in several pages; what was logged together is one entry."""
    copied = imported(tracking, root, "exp one")["the parent"]
    histories = read_histories(copied.folder)
    loss = [tuple(point) for point in histories["loss"]]
    assert loss == [(n, 1 / (n + 1), T0 / 1000 + n) for n in range(1200)]
    assert len(histories["val/acc"]) == 1200
    lines = entries(copied.folder, "metrics")
    assert lines[5]["metric"] == {"loss": 1 / 6, "val/acc": 2.5}
    odd = [line["metric"]["odd"] for line in lines if "odd" in line["metric"]]
    assert odd == ["NaN", "Infinity", "-Infinity", -0.5]
    assert len(lines) == 1200


def test_parents_and_children(tracking: Tracking, root: Path) -> None:
    imported(tracking, root)
    (child,) = mlog.open_run(tracking.parent, dir=root).get_children()
    assert (child.id, child.status) == (tracking.child, "Failed")
    assert child.parent is not None
    assert child.parent.id == tracking.parent


def test_importing_again_adds_what_is_new(tracking: Tracking, root: Path) -> None:
    first = imported(tracking, root)
    alive = read_state(first["still going"].folder)
    assert (alive.status, alive.metrics["loss"]["count"]) == ("NotResponding", 2)
    assert {c.what for c in imported(tracking, root).values()} == {"unchanged"}
    tracking.metrics(tracking.alive, "loss", [1, 0.5], start=2)
    tracking.post("/runs/update", run_id=tracking.alive, status="KILLED", end_time=T0)
    again = imported(tracking, root)
    assert (again["still going"].what, again["still going"].points) == ("continued", 2)
    assert again["the parent"].what == "unchanged"
    state = read_state(first["still going"].folder)
    assert (state.status, state.metrics["loss"]["last"]) == ("Canceled", 0.5)
    assert len(read_histories(state.folder)["loss"]) == 4


def test_files_can_be_left_out(tracking: Tracking, root: Path) -> None:
    some = imported(tracking, root / "some", "exp one", max_file=1000)["the parent"]
    assert list(read_state(some.folder).artifacts) == ["a/b c.txt"]
    assert "model.bin: has 300,000 bytes" in some.notes[0]
    none = imported(tracking, root / "none", "exp one", max_file=0)["the parent"]
    assert read_state(none.folder).artifacts == {}


def test_one_experiment(tracking: Tracking, root: Path) -> None:
    assert set(imported(tracking, root, "other")) == {"still going"}
    with pytest.raises(MlogError, match="no experiment 'nope' there") as error:
        imported(tracking, root, "nope")
    assert "exp one" in str(error.value)


def test_the_command(tracking: Tracking, root: Path) -> None:
    args = ("import", "--from", "mlflow", tracking.url, "--dir", str(root))
    shown = CliRunner().invoke(cli, args)
    assert shown.exit_code == 0, shown.stderr
    assert f"imported exp-one-7915c0/{tracking.parent} the parent (2,404 values" in (
        shown.stdout
    )
    assert (
        CliRunner().invoke(cli, args).stdout == "3 runs are here already, unchanged\n"
    )


def test_a_server_that_goes_away(
    tracking: Tracking, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was imported is told, and why there is no more."""
    real, asked = HttpClient.open, list[str]()

    def open_(client: HttpClient, method: str, path: str, **how: Any) -> Answer:
        asked.append(path)
        if len(asked) > 8:
            raise HttpError("no answer from there")
        return real(client, method, path, **how)

    monkeypatch.setattr(HttpClient, "open", open_)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    args = ("import", "--from", "mlflow", tracking.url, "--dir", str(root))
    shown = CliRunner().invoke(cli, args)
    assert shown.exit_code == 1
    assert shown.stdout.startswith("imported ")
    assert "mlog: stopped: no answer from there" in shown.stderr


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            "azureml://e.api.azureml.ms/mlflow/v1.0/x",
            "https://e.api.azureml.ms/mlflow/v1.0/x",
        ),
        ("mlflow+https://h", "https://h"),
        ("http://h:5000", "http://h:5000"),
    ],
)
def test_addresses_as_mlflow_takes_them(text: str, address: str) -> None:
    assert address_of(text) == address
