"""Files of an Azure ML workspace come home; workspace and storage are fakes.

A real one needs an account in a cloud. See `tests.shipping.sinks.workspace`.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mlog.cli import cli
from mlog.errors import MlogError
from mlog.sources.mlflow_client import Client, ServerError
from mlog.sources.workspace import (
    FileAddress,
    Workspace,
    WorkspaceFiles,
    workspace_at,
)
from tests.shipping.servers import mlflow_server
from tests.shipping.sinks.receiver import receiver
from tests.shipping.sinks.workspace import (
    BASE,
    SCOPE,
    TOKEN,
    FakeWorkspace,
    mlflow_behind,
)

RUN = "ExperimentRun/dcid.run-1/"


class Cloud(FakeWorkspace):
    """A workspace with its storage, and a client of it."""

    def has(self, **files: bytes) -> None:
        for name, data in files.items():
            self.artifacts.known.add(RUN + name)
            self.storage.blobs[RUN + name] = data

    def client(self, token: str = TOKEN) -> Client:
        env = {"MLFLOW_TRACKING_TOKEN": token}
        return Client(self.url, env, sleep=lambda seconds: None)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with receiver() as service, receiver() as storage:
        yield Cloud(service, storage)


def files_of(client: Client) -> WorkspaceFiles:
    workspace = workspace_at(client.url)
    assert workspace is not None
    return WorkspaceFiles(workspace, client)


def test_all_files_are_listed_page_by_page(cloud: Cloud) -> None:
    names = [f"f{n}" for n in range(5)]
    cloud.has(**{name: b"" for name in names})
    with cloud.client() as client:
        assert [*files_of(client).paths("7", "run-1")] == names
        assert [*files_of(client).paths("7", "run-2")] == []


def test_a_file_is_read_from_the_storage_without_the_token(cloud: Cloud) -> None:
    """The address proves itself; it holds characters that have to be quoted."""
    cloud.has(**{"outputs/a b+é.txt": b"content"})
    with (
        cloud.client() as client,
        files_of(client).open("7", "run-1", "outputs/a b+é.txt", 100) as file,
    ):
        assert file.read() == b"content"
    [request] = cloud.storage.server.requests
    assert "authorization" not in request.headers


def test_the_certificate_of_the_service_is_not_the_storages(
    cloud: Cloud, tmp_path: Path
) -> None:
    """It is not even loaded for the storage."""
    env = {"MLOG_REMOTE_CERT": str(tmp_path / "none")}
    with Client(cloud.url, env) as client:
        storage = client.beside("https://127.0.0.1:1", credentials=False)
        assert storage is client.beside("https://127.0.0.1:1", credentials=False)
        with pytest.raises(MlogError, match="MLOG_REMOTE_CERT must name"):
            client.beside("https://127.0.0.1:1")


def test_a_file_of_more_bytes_than_allowed_is_an_error(cloud: Cloud) -> None:
    cloud.has(a=b"x" * 101)
    with (
        cloud.client() as client,
        pytest.raises(ServerError, match="more than 100 bytes"),
        files_of(client).open("7", "run-1", "a", 100) as file,
    ):
        file.read()


def test_a_refusal_of_the_storage_shows_no_signature(cloud: Cloud) -> None:
    cloud.has(a=b"")
    signature = cloud.storage.signature(RUN + "a")
    cloud.storage.refuse = lambda request: (
        403,
        f"{signature} {request.path}".encode(),
    )
    with (
        cloud.client() as client,
        pytest.raises(ServerError) as caught,
        files_of(client).open("7", "run-1", "a", 100),
    ):
        pass
    assert signature not in str(caught.value)
    assert "sig=" not in str(caught.value).replace("sig=***", "")


@pytest.mark.parametrize("address", ["", "https://a.b/c", "ftp://a/b", "http://u@a/b"])
def test_another_kind_of_address_is_not_followed(cloud: Cloud, address: str) -> None:
    """The scheme is that of the workspace."""
    cloud.has(a=b"")
    cloud.artifacts.address = lambda path: address
    with (
        cloud.client() as client,
        pytest.raises(ServerError, match="gives no http address"),
        files_of(client).open("7", "run-1", "a", 100),
    ):
        pass


def test_a_refusal_of_the_workspace_is_told(cloud: Cloud) -> None:
    with cloud.client("other") as client, pytest.raises(ServerError, match="401"):
        list(files_of(client).paths("7", "run-1"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            f"https://w.api.azureml.ms{BASE}",
            Workspace("https://w.api.azureml.ms", SCOPE),
        ),
        (f"https://w:8/mlflow/v1.0{SCOPE}/", Workspace("https://w:8", SCOPE)),
        (f"https://w/mlflow{SCOPE}", None),
        (f"https://w{BASE}/x", None),
        ("https://mlflow.example.org", None),
    ],
)
def test_a_workspace_is_known_by_its_address(url: str, found: Workspace | None) -> None:
    assert workspace_at(url) == found


@given(st.text() | st.none() | st.integers())
def test_whatever_a_workspace_calls_an_address(text: object) -> None:
    """It is one of the scheme, or none."""
    found = FileAddress.of({"contentUri": text}, "https")
    assert found is None or found.host.startswith("https://")


def test_runs_come_home_with_their_files(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, from a workspace whose MLflow API is a real server's."""
    with (
        mlflow_server(tmp_path) as url,
        httpx.Client(base_url=url, trust_env=False) as api,
    ):
        made = api.post("/api/2.0/mlflow/experiments/create", json={"name": "old"})
        run = api.post("/api/2.0/mlflow/runs/create", json=made.json()).json()["run"]
        run_id = run["info"]["run_id"]
        facts = {
            "run_id": run_id,
            "key": "mse",
            "value": 0.5,
            "timestamp": 1,
            "step": 3,
        }
        api.post("/api/2.0/mlflow/runs/log-metric", json=facts).raise_for_status()

        cloud.api = mlflow_behind(api)
        path = f"ExperimentRun/dcid.{run_id}/outputs/model.pt"
        cloud.artifacts.known.add(path)
        cloud.storage.blobs[path] = b"weights"
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
        root = tmp_path / "root"
        line = ["import", "--from", "mlflow", cloud.url]
        done = CliRunner().invoke(cli, [*line, "--dir", str(root)])
        assert done.exit_code == 0, done.output
        [found] = root.glob("*/*/artifacts/outputs/model.pt")
        assert found.read_bytes() == b"weights"
        assert "1 value, 1 file" in done.output
