"""Azure ML workspaces: the shape of their addresses, tokens, and the job's own run.

The workspace is a fake, as a real one needs an account in a cloud: it asks for a bearer
token, takes only paths of a workspace, and hands what is below them to a real MLflow
server. What only the cloud has (throttling, expiry, other refusals) is not shown by it.
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
from mlog.shipping.sink import Sink
from mlog.shipping.sinks import azureml, open_sink
from mlog.shipping.target import parse_route
from tests.shipping.sinks.helpers import batches_of, ship
from tests.shipping.sinks.receiver import Answer, Receiver, Request

OpenSink = Callable[..., Sink]

SCOPE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/lab"
    "/providers/Microsoft.MachineLearningServices/workspaces/vision"
)
BASE = f"/mlflow/v2.0{SCOPE}"


@pytest.fixture
def workspace(received: Receiver, mlflow_url: str) -> Iterator[Receiver]:
    """Give the fake workspace."""
    client = httpx.Client(base_url=mlflow_url, trust_env=False)

    def answer(request: Request) -> Answer:
        if request.headers.get("authorization") != "Bearer good":
            return 401, b'{"error":{"code":"UserError","message":"no token"}}'
        if not request.path.startswith(f"{BASE}/api/2.0/mlflow/"):
            return 404, b""
        reply = client.request(
            request.method,
            request.path.removeprefix(BASE),
            content=request.body,
            headers={"content-type": request.headers.get("content-type", "")},
        )
        return reply.status_code, reply.content

    received.answer = answer
    yield received
    client.close()


@pytest.fixture
def small_run(run_dir: Path) -> Path:
    with mlog.start_run("azure", params={"a": 1}) as run:
        run.log("loss", 0.5, step=1)
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
    assert all(request.path.startswith(BASE) for request in workspace.requests)
    assert not any("artifacts" in request.path for request in workspace.requests)


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
    workspace: Receiver, mlflow_url: str, small_run: Path, open_url: OpenSink
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
    sink = open_url("azureml://west.api.azureml.ms/mlflow/v2.0/x")
    with pytest.raises(mlog.MlogError, match=r"pip install .mlog-runs\[azure\]"):
        sink.send(next(batches_of(small_run, sink)))


def test_without_an_address_the_way_to_one_is_told(open_url: OpenSink) -> None:
    with pytest.raises(mlog.MlogError, match="needs a workspace"):
        open_url("azureml:")
