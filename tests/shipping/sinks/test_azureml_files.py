"""Files into the storage of a workspace: the way, what stands in it, what stays secret.

Workspace and storage are fakes; the storage also Azure's own emulator, where there is.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import MlogError
from mlog.http import HttpError, Reply
from mlog.shipping.sink import RunFile
from mlog.shipping.sinks.azureml_files import WorkspaceStore
from mlog.shipping.sinks.mlflow_api import MlflowError
from mlog.shipping.sinks.mlflow_artifacts import StoreError
from mlog.shipping.sinks.mlflow_check import Acknowledged
from mlog.shipping.sinks.mlflow_runs import RemoteRun
from mlog.shipping.target import parse_route
from tests.shipping.servers import azurite_server
from tests.shipping.sinks.receiver import Receiver, Request, receiver
from tests.shipping.sinks.workspace import (
    BASE,
    TOKEN,
    FakeStorage,
    FakeWorkspace,
    account_query,
)

RUN = "ExperimentRun/dcid.run-1"


class Workspace(FakeWorkspace):
    """A fake workspace with its storage, and the store that is tested."""

    def __init__(self, server: Receiver, storage: Receiver) -> None:
        super().__init__(server, storage)
        self.target = parse_route(f"azureml+{self.url}", env={}).target

    def store(self, **options: Any) -> WorkspaceStore:
        auth = {"authorization": f"Bearer {TOKEN}"}
        return WorkspaceStore(self.target, lambda: auth, **options)

    def put(self, file: RunFile, name: str = "a/b.txt", **options: Any) -> None:
        store = self.store(**options)
        try:
            store.put(remote_run(), file, name)
        finally:
            store.close()


def remote_run() -> RemoteRun:
    return RemoteRun("run-1", "7", "azureml://there", "RUNNING", Acknowledged(0))


@pytest.fixture
def workspace(received: Receiver) -> Iterator[Workspace]:
    with receiver() as storage:
        yield Workspace(received, storage)


@pytest.fixture
def file(tmp_path: Path) -> RunFile:
    path = tmp_path / "artifacts" / "a" / "b.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    return RunFile("artifacts/a/b.txt", path, 10, media_type="text/plain")


def test_a_file_is_put_where_the_workspace_says(
    workspace: Workspace, file: RunFile
) -> None:
    """With its media type; its artifact is made first."""
    workspace.put(file)
    assert workspace.storage.blobs == {f"{RUN}/a/b.txt": b"0123456789"}
    [request] = workspace.storage.server.requests
    assert request.headers["x-ms-blob-content-type"] == "text/plain"
    assert [
        r.path.rpartition("/artifacts/")[2] for r in workspace.service.requests
    ] == ["batch/metadata"]


def test_the_token_of_the_workspace_does_not_go_to_the_storage(
    workspace: Workspace, file: RunFile
) -> None:
    """The address proves itself."""
    workspace.put(file)
    for request in workspace.storage.server.requests:
        assert TOKEN not in repr(request)


def test_what_is_there_already_is_replaced(workspace: Workspace, file: RunFile) -> None:
    """After a lost reply, or when a run was gone on with."""
    workspace.put(file)
    assert isinstance(file.path, Path)
    file.path.write_bytes(b"9876543210")
    workspace.put(file)
    assert workspace.storage.blobs == {f"{RUN}/a/b.txt": b"9876543210"}


def test_a_conflict_of_the_whole_request_is_one_of_its_path(
    workspace: Workspace, file: RunFile
) -> None:
    workspace.put(file)
    workspace.instead = lambda r: (409, b"{}") if r.method == "POST" else None
    workspace.put(file)


@pytest.mark.parametrize("size", [0, 4, 5, 8, 9, 10])
def test_a_large_file_goes_in_blocks(
    workspace: Workspace, file: RunFile, size: int
) -> None:
    """Each of a request's size; and no more than the file had when it was offered."""
    workspace.put(RunFile(file.name, file.path, size), block=4)
    assert workspace.storage.blobs == {f"{RUN}/a/b.txt": b"0123456789"[:size]}
    assert all(len(r.body) <= 4 or b"<" in r.body for r in _puts(workspace))
    assert len(_puts(workspace)) == (1 if size <= 4 else 1 + -(-size // 4))


def _puts(workspace: Workspace) -> list[Request]:
    return workspace.storage.server.requests


def test_a_file_that_became_shorter_is_tried_again(
    workspace: Workspace, file: RunFile
) -> None:
    """Nothing is stored of it."""
    with pytest.raises((OSError, HttpError)):
        workspace.put(RunFile(file.name, file.path, 11))
    assert workspace.storage.blobs == {}


@pytest.mark.parametrize(
    ("code", "outcome"), [("UserError", "refused"), ("ServiceError", "retry")]
)
def test_an_error_of_a_path_is_told(
    workspace: Workspace, file: RunFile, code: str, outcome: str
) -> None:
    """What is wrong with the path stays wrong; what is wrong with the service passes."""
    workspace.artifacts.errors["a/b.txt"] = {"code": code, "message": "so it is"}
    with pytest.raises(StoreError, match="so it is") as caught:
        workspace.put(file)
    assert caught.value.result.outcome == outcome
    assert workspace.storage.server.requests == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (401, "blocked"),
        (403, "blocked"),
        (429, "retry"),
        (503, "retry"),
        (400, "refused"),
    ],
)
def test_a_refusal_of_the_workspace_is_what_it_is_elsewhere(
    workspace: Workspace, file: RunFile, status: int, outcome: str
) -> None:
    workspace.instead = lambda request: (status, b'{"error":{"code":"X"}}')
    with pytest.raises(StoreError) as caught:
        workspace.put(file)
    assert caught.value.result.outcome == outcome


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (403, "blocked"),
        (409, "refused"),
        (500, "retry"),
        (503, "retry"),
        (200, "retry"),
    ],
)
def test_a_refusal_of_the_storage_shows_its_name_only(
    workspace: Workspace, file: RunFile, status: int, outcome: str
) -> None:
    """It may repeat the whole address, in some other spelling."""
    body = b"<Error><Code>SomeReason</Code><Message>sig=abc%2fd</Message></Error>"
    workspace.storage.refuse = lambda request: (status, body)
    with pytest.raises(StoreError) as caught:
        workspace.put(file)
    assert caught.value.result.outcome == outcome
    assert str(caught.value) == f"the storage: HTTP {status}: SomeReason"


@pytest.mark.parametrize("body", [b"sig=abc", b"<Code>sig=abc</Code>", b"<html>"])
def test_a_refusal_without_a_name_is_its_status(
    workspace: Workspace, file: RunFile, body: bytes
) -> None:
    workspace.storage.refuse = lambda request: (403, body)
    with pytest.raises(StoreError) as caught:
        workspace.put(file)
    assert str(caught.value) == "the storage: HTTP 403"


def test_the_address_is_sent_as_it_came(workspace: Workspace, file: RunFile) -> None:
    """Not in another spelling, which somebody on the way may check."""
    query = "sv=1&a=1&a=2&sig=ab%2fcd/%3d+=&rscd=a%20b"
    url = f"{workspace.storage.server.url}/c/a%20b%2Fc/é?{query}"
    workspace.artifacts.address = lambda path: url
    workspace.storage.refuse = lambda request: (201, b"")
    workspace.put(file, block=4)
    paths = [request.path for request in workspace.storage.server.requests]
    start = f"/c/a%20b%2Fc/%C3%A9?{query}&comp=block"
    assert all(path.startswith(start) for path in paths)
    assert len(paths) == 4


@pytest.mark.parametrize(
    "body",
    [
        b'["SIG"]',
        b'\xef\xbb\xbf{"artifactContentInformation":{"a":{"contentUri":"SIG"}}}',
        b"<html>SIG",
        b'{"errors":{"a/b.txt":{"error":{"code":"X","message":"no SIG here"}}}}',
    ],
)
@pytest.mark.parametrize("status", [200, 201, 207, 400, 500])
def test_no_answer_of_the_workspace_shows_an_address(
    workspace: Workspace, file: RunFile, status: int, body: bytes
) -> None:
    """Whatever is odd about it: nobody may know yet what in it is secret."""
    secret = b"https://a.blob.example/c?sv=1&sig=abcd%2fEFGH"
    workspace.instead = lambda request: (status, body.replace(b"SIG", secret))
    with pytest.raises(StoreError) as caught:
        workspace.put(file)
    assert "sig" not in f"{caught.value}{caught.value.result!r}".lower()


def test_another_success_than_200_is_one(workspace: Workspace, file: RunFile) -> None:
    def instead(request: Request) -> Any:
        answer = workspace.artifacts.answer(request)
        return answer and (201, answer[1])

    workspace.instead = instead
    workspace.put(file)
    assert workspace.storage.blobs == {f"{RUN}/a/b.txt": b"0123456789"}


def test_an_artifact_that_is_not_the_runs_is_refused(
    workspace: Workspace, file: RunFile
) -> None:
    """It stays so; other files go on."""
    conflict = {"code": "UserError", "message": "it already exists"}
    workspace.artifacts.errors["a/b.txt"] = conflict
    with pytest.raises(StoreError, match="HTTP 404") as caught:
        workspace.put(file)
    assert caught.value.result.outcome == "refused"


def test_a_run_that_is_gone_is_told_as_missing(
    workspace: Workspace, file: RunFile
) -> None:
    """So that it is looked for, as after any other call."""
    workspace.instead = lambda request: (404, b'{"error":{"code":"UserError"}}')
    with pytest.raises(MlflowError) as caught:
        workspace.put(file)
    assert caught.value.is_missing
    assert caught.value.result.outcome == "retry"


def test_an_address_that_expires_amid_a_file_is_asked_for_anew(
    workspace: Workspace, file: RunFile
) -> None:
    """What was stored so far stays; the refused block is sent again."""
    expired = iter([False, True, False, False, False, True, False])

    def refuse(request: Request) -> tuple[int, bytes] | None:
        return (403, b"<Code>AuthenticationFailed</Code>") if next(expired) else None

    workspace.storage.refuse = refuse
    workspace.put(file, block=3)
    assert workspace.storage.blobs == {f"{RUN}/a/b.txt": b"0123456789"}
    asked = [r.path.partition("?")[0][-5:] for r in workspace.service.requests]
    assert asked == ["adata", "write", "write"]


def test_a_refusal_of_the_first_block_is_not_one_of_an_old_address(
    workspace: Workspace, file: RunFile
) -> None:
    workspace.storage.refuse = lambda request: (403, b"")
    with pytest.raises(StoreError, match="HTTP 403"):
        workspace.put(file, block=3)
    assert len(workspace.service.requests) == 1


def test_nothing_is_made_for_a_file_that_cannot_be_read(
    workspace: Workspace, file: RunFile
) -> None:
    assert isinstance(file.path, Path)
    file.path.unlink()
    with pytest.raises(FileNotFoundError):
        workspace.put(file)
    assert workspace.service.requests == []


def test_the_certificate_is_for_the_workspace(
    workspace: Workspace, file: RunFile, tmp_path: Path
) -> None:
    """The storage does not get it, which would not load for a plain connection."""
    env = {"MLOG_REMOTE_CERT": str(tmp_path / "none"), "MLOG_REMOTE_PROXY": ""}
    workspace.target = parse_route(
        f"azureml+{workspace.service.url}{BASE}", env=env
    ).target
    store = workspace.store()
    storage = store._storage_at("https://127.0.0.1:1")
    assert storage is not None
    store.close()


@pytest.mark.parametrize(
    "address",
    [
        None,
        3,
        "",
        "ftp://x/y",
        "//x",
        "https://[",
        "https://a.b/c?sig=1",
        "http://u@h/c",
    ],
)
def test_another_kind_of_address_is_not_followed(
    workspace: Workspace, file: RunFile, address: Any
) -> None:
    """The scheme is that of the workspace: what came by TLS is not sent without."""
    workspace.artifacts.address = lambda path: address
    with pytest.raises(StoreError, match="gives no http address") as caught:
        workspace.put(file)
    assert caught.value.result.outcome == "retry"


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"", b"{}", b'{"errors":[]}'])
def test_an_answer_of_something_else_is_told(
    workspace: Workspace, file: RunFile, body: bytes
) -> None:
    workspace.instead = lambda request: (200, body)
    with pytest.raises(StoreError):
        workspace.put(file)


def test_a_second_storage_account_is_reached_too(
    workspace: Workspace, file: RunFile
) -> None:
    """One host a connection; the client of the last one is kept."""
    with receiver() as other:
        second = FakeStorage(other)
        other.answer = second.answer
        store = workspace.store()
        for storage in (workspace.storage, second, workspace.storage):
            workspace.artifacts.address = storage.address
            store.put(remote_run(), file, "a/b.txt")
        store.close()
    assert second.blobs == workspace.storage.blobs


@pytest.mark.parametrize(
    "path", ["", "/", "/mlflow/v2.0", "/mlflow/v2.0/x", "/other" + BASE]
)
def test_another_address_than_a_workspaces_is_an_error(path: str) -> None:
    """It would only be found out with the first file."""
    target = parse_route(f"azureml+http://127.0.0.1:1{path}", env={}).target
    with pytest.raises(MlogError, match="tracking URI ends in"):
        WorkspaceStore(target, dict)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a container of Azure's emulator."""
    with azurite_server(tmp_path_factory.mktemp("azurite")) as url:
        made = httpx.put(
            f"{url}?restype=container&{account_query()}",
            headers={"x-ms-version": "2021-08-06"},
            trust_env=False,
        )
        made.raise_for_status()
        yield url


@pytest.mark.parametrize("block", [1 << 20, 4])
def test_azures_own_emulator_takes_it(
    emulator: str, received: Receiver, file: RunFile, block: int
) -> None:
    """At once and in blocks; read back by another client, by odd names."""
    with receiver() as unused:
        workspace = Workspace(received, unused)
        query = account_query()
        workspace.artifacts.address = lambda path: f"{emulator}/{quote(path)}?{query}"
        for name in ("a/b.txt", "50_x25_ & 1 é+.txt", "mlog/metrics.jsonl"):
            for content in (b"old", b"0123456789", b""):
                assert isinstance(file.path, Path)
                file.path.write_bytes(content)
                sent = RunFile(file.name, file.path, len(content), media_type="text/x")
                workspace.put(sent, name, block=block)
                there = f"{emulator}/{quote(f'{RUN}/{name}')}?{query}"
                got = httpx.get(there, trust_env=False).raise_for_status()
                assert got.content == content
                assert got.headers["content-type"] == "text/x"


def test_azures_own_emulator_refuses_a_changed_signature(
    emulator: str, received: Receiver, file: RunFile
) -> None:
    with receiver() as unused:
        workspace = Workspace(received, unused)
        query = account_query().replace("sig=", "sig=x")
        workspace.artifacts.address = lambda path: f"{emulator}/{path}?{query}"
        with pytest.raises(StoreError, match=r"Auth\w+Fail"):
            workspace.put(file)


@given(
    answer=st.recursive(
        st.none() | st.text(max_size=3) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "errors",
                        "error",
                        "artifactContentInformation",
                        "a",
                        "contentUri",
                        "code",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_whatever_a_workspace_answers_ends_in_an_error_of_the_store(
    answer: Any,
) -> None:
    """Never in another one, and never in a request to somewhere else."""
    store = WorkspaceStore(
        parse_route(f"azureml+http://127.0.0.1:1{BASE}", env={}).target, dict
    )
    reply = Reply(200, {}, json.dumps(answer).encode())
    store._client = type("Fake", (), {"request": lambda *_, **__: reply})()
    with pytest.raises(StoreError):
        store._made(remote_run(), "a")
