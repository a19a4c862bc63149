"""Azure ML workspaces: the shape of their addresses, tokens, and the job's own run.

The workspace is a fake, as a real one needs an account in a cloud: it asks for a bearer
token, takes only paths of a workspace, and hands those of MLflow's API to a real MLflow
server. Its files and their storage are fakes, too; see `workspace`. What only the cloud
has (throttling, expiry, other refusals) is not shown by it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

import mlog
from mlog.reader.state import read_state
from mlog.shipping.sink import Sink
from mlog.shipping.sinks import azureml, open_sink
from mlog.shipping.sinks.mlflow_artifacts import artifact_name
from mlog.shipping.target import parse_route
from mlog.testing import check_sink
from tests.shipping.sinks.helpers import batches_of, facts_of, files_of, ship
from tests.shipping.sinks.receiver import Receiver, receiver
from tests.shipping.sinks.workspace import (
    BASE,
    SCOPE,
    FakeStorage,
    FakeWorkspace,
    mlflow_behind,
)

OpenSink = Callable[..., Sink]


@pytest.fixture
def cloud(received: Receiver, mlflow_url: str) -> Iterator[FakeWorkspace]:
    """Give the fake workspace, with a real server's API behind it."""
    with (
        receiver() as storage,
        httpx.Client(base_url=mlflow_url, trust_env=False) as client,
    ):
        found = FakeWorkspace(received, storage, token="good")
        found.api = mlflow_behind(client)
        yield found


@pytest.fixture
def workspace(cloud: FakeWorkspace) -> Receiver:
    """Give the server of the fake workspace."""
    return cloud.service


@pytest.fixture
def storage(cloud: FakeWorkspace) -> FakeStorage:
    """Give the fake storage of the workspace."""
    return cloud.storage


@pytest.fixture
def small_run(run_dir: Path) -> Path:
    with mlog.start_run("azure", params={"a": 1}) as run:
        run.log("loss", 0.5, step=1)
    assert run.path is not None
    return run.path


@pytest.fixture
def run_with_files(run_dir: Path, tmp_path: Path) -> Path:
    """Return a run of its own: the server is that of other tests, too."""
    file = tmp_path / "file"
    with mlog.start_run("azure files") as run:
        run.log("loss", 0.5, step=1)
        for name in ("weights.pt", "plots/50% #1 é?.txt", "empty.bin"):
            file.write_text("" if name == "empty.bin" else name)
            run.upload_file(name, str(file))
        run.register_model("azure/v:1", "weights.pt")
    assert run.path is not None
    return run.path


def post(url: str, path: str, body: Any) -> Any:
    reply = httpx.post(f"{url}/api/2.0/mlflow/{path}", json=body, trust_env=False)
    return reply.raise_for_status().json()


@pytest.mark.parametrize("version", ["v1.0", "v2.0"])
def test_a_run_arrives_below_the_path_of_the_workspace(
    workspace: Receiver, small_run: Path, open_url: OpenSink, version: str
) -> None:
    """Also for the older form of its address, which jobs are still given."""
    url = f"azureml+{workspace.url}/mlflow/{version}{SCOPE}"
    results = ship(small_run, open_url(url, MLOG_REMOTE_TOKEN="good"))
    assert {result.outcome for result in results} == {"delivered"}
    assert all(SCOPE in request.path for request in workspace.requests)


def test_artifacts_segments_and_models_go_into_its_storage(
    workspace: Receiver,
    storage: FakeStorage,
    mlflow_url: str,
    run_with_files: Path,
    open_url: OpenSink,
) -> None:
    """By the names they have on an MLflow server, also when all is sent again."""
    sink = open_url(f"azureml+{workspace.url}{BASE}", MLOG_REMOTE_TOKEN="good")
    for _ in range(2):
        results = ship(run_with_files, sink)
        assert {result.outcome for result in results} == {"delivered"}
    found = post(
        mlflow_url,
        "runs/search",
        {
            "experiment_ids": [_experiment_id(mlflow_url, run_with_files)],
            "filter": f"tags.mlog.run_id = '{run_with_files.name}'",
        },
    )
    [run_id] = [run["info"]["run_id"] for run in found["runs"]]
    start = f"ExperimentRun/dcid.{run_id}/"
    blobs = {path.removeprefix(start): data for path, data in storage.blobs.items()}
    expected = {
        artifact_name(str(path.relative_to(run_with_files))): path.read_bytes()
        for path in [
            *run_with_files.glob("*.jsonl"),
            *run_with_files.glob("artifacts/**/*"),
        ]
        if path.is_file()
    }
    models = {name: data for name, data in blobs.items() if name not in expected}
    assert {name: blobs.get(name) for name in expected} == expected
    assert [*models.values()] == [b"weights.pt"]
    assert next(iter(models)).startswith("models/")
    versions = httpx.get(
        f"{mlflow_url}/api/2.0/mlflow/model-versions/search",
        params={"filter": f"run_id='{run_id}'"},
        trust_env=False,
    ).json()["model_versions"]
    assert [version["version"] for version in versions] == ["1"]


def _experiment_id(mlflow_url: str, folder: Path) -> str:
    reply = httpx.get(
        f"{mlflow_url}/api/2.0/mlflow/experiments/get-by-name",
        params={"experiment_name": read_state(folder).experiment},
        trust_env=False,
    )
    return str(reply.raise_for_status().json()["experiment"]["experiment_id"])


def test_a_storage_that_refuses_keeps_the_file_waiting(
    workspace: Receiver, storage: FakeStorage, small_run: Path, open_url: OpenSink
) -> None:
    """An address that has expired is asked for anew; the signature is not shown."""
    sink = open_url(f"azureml+{workspace.url}{BASE}", MLOG_REMOTE_TOKEN="good")
    file = next(files_of(small_run, sink))
    storage.refuse = lambda request: (403, b"<Code>AuthenticationFailed</Code>")
    refused = sink.send_file(facts_of(small_run), file)
    assert refused.outcome == "blocked"
    assert refused.error == "the storage: HTTP 403: AuthenticationFailed"
    storage.refuse = lambda request: None
    assert sink.send_file(facts_of(small_run), file).outcome == "delivered"


def test_the_address_of_a_workspace_is_reached_by_https() -> None:
    sink = open_sink(
        parse_route(f"azureml://west.api.azureml.ms/mlflow/v1.0{SCOPE}", env={}).target
    )
    assert isinstance(sink, azureml.AzuremlSink)
    assert azureml._address(f"azureml://w.api.azureml.ms/mlflow/v1.0{SCOPE}") == (
        f"https://w.api.azureml.ms{BASE}"
    )
    sink.close()


def test_inside_a_job_its_own_run_is_used_and_its_status_left_alone(
    workspace: Receiver,
    storage: FakeStorage,
    mlflow_url: str,
    small_run: Path,
    open_url: OpenSink,
) -> None:
    """The service ends the run of a job; a second run of the program goes there, too."""
    name = f"job {small_run.name}"
    experiment = post(mlflow_url, "experiments/create", {"name": name})
    made = post(mlflow_url, "runs/create", experiment)["run"]["info"]
    sink = open_url(
        "azureml:",
        MLFLOW_TRACKING_URI=f"{workspace.url}{BASE}",
        MLFLOW_TRACKING_TOKEN="good",
        MLFLOW_RUN_ID=made["run_id"],
    )
    results = ship(small_run, sink)
    assert [r for r in results if r.outcome != "delivered" or r.rejected] == []
    found = post(mlflow_url, "runs/search", {"experiment_ids": [made["experiment_id"]]})
    (run,) = found["runs"]
    assert run["info"]["run_id"] == made["run_id"]
    assert run["info"]["status"] == "RUNNING"
    assert [m["key"] for m in run["data"]["metrics"]] == ["loss"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["mlog.run_id"] == small_run.name
    assert tags["mlog.status"] == "Completed"
    assert [path for path in storage.blobs if made["run_id"] not in path] == []
    assert len(storage.blobs) == 2
    assert "runs/create" not in json.dumps([r.path for r in workspace.requests])


def test_another_workspace_than_the_jobs_gets_runs_of_its_own(
    workspace: Receiver, small_run: Path, open_url: OpenSink
) -> None:
    sink = open_url(
        f"azureml+{workspace.url}{BASE}",
        MLFLOW_TRACKING_URI="azureml://elsewhere.api.azureml.ms/mlflow/v1.0/x",
        MLFLOW_TRACKING_TOKEN="good",
        MLFLOW_RUN_ID="0" * 32,
    )
    assert {result.outcome for result in ship(small_run, sink)} == {"delivered"}


def test_a_token_is_asked_for_with_every_request(
    workspace: Receiver, small_run: Path
) -> None:
    """Tokens of Azure live for an hour; after a refusal the next one counts."""
    tokens = iter(["expired", *["good"] * 100])
    url = f"azureml+{workspace.url}{BASE}"
    route = parse_route(url, env={}, token=lambda: next(tokens))
    sink = open_sink(route.target)
    batch = next(batches_of(small_run, sink))
    refused = sink.send(batch)
    assert refused.outcome == "blocked"
    assert "expired" not in refused.error
    assert sink.send(batch).outcome == "delivered"
    sink.close()


def test_azure_identity_gives_a_token_where_nothing_else_does(
    workspace: Receiver,
    small_run: Path,
    open_url: OpenSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Credential:
        def get_token(self, scope: str) -> Any:
            asked.append(scope)
            return SimpleNamespace(token="good")

    package, module = ModuleType("azure"), ModuleType("azure.identity")
    module.DefaultAzureCredential = Credential  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "azure", package)
    monkeypatch.setitem(sys.modules, "azure.identity", module)
    azureml._credential.cache_clear()
    sink = open_url(f"azureml+{workspace.url}{BASE}")
    assert sink.send(next(batches_of(small_run, sink))).outcome == "delivered"
    azureml._credential.cache_clear()
    assert set(asked) == {"https://management.azure.com/.default"}


def test_without_any_token_the_way_to_one_is_told(
    small_run: Path, open_url: OpenSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    azureml._credential.cache_clear()
    sink = open_url(f"azureml://west.api.azureml.ms{BASE}")
    with pytest.raises(mlog.MlogError, match=r"pip install .mlog-runs\[azure\]"):
        sink.send(next(batches_of(small_run, sink)))


def test_without_an_address_the_way_to_one_is_told(open_url: OpenSink) -> None:
    with pytest.raises(mlog.MlogError, match="needs a workspace"):
        open_url("azureml:")


def test_the_sink_keeps_the_contract(
    workspace: Receiver, open_url: OpenSink, tmp_path: Path
) -> None:
    url = f"azureml+{workspace.url}{BASE}"
    check_sink(open_url(url, MLOG_REMOTE_TOKEN="good"), tmp_path)


@pytest.mark.parametrize("path", ["", "/mlflow/v2.0", f"/api{SCOPE}"])
def test_an_address_that_is_no_workspaces_is_told_at_once(
    open_url: OpenSink, path: str
) -> None:
    with pytest.raises(mlog.MlogError, match="tracking URI ends in"):
        open_url(f"azureml://west.api.azureml.ms{path}")
