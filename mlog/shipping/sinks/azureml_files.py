"""Files of a run in the storage of an Azure ML workspace.

The workspace makes an empty artifact and gives an address in its storage account that
may be written to for a while; there the file is put:

    POST <host>/history/v1.0/<workspace>/experimentids/<e>/runs/<r>/artifacts/batch/metadata
         {"paths":[{"path":"model.pt"}]}
    200  {"artifactContentInformation":{"model.pt":{"contentUri":"https://…?…&sig=…"}},
          "errors":{}}
    PUT  https://…?…&sig=…      the file; a large one in blocks, then their list

An artifact that is there already (a lost reply, a run gone on with) is an error of its
path; then an address for writing is asked for by its id, and the file is replaced:

    GET  <host>/artifact/v2.0/<workspace>/artifacts/ExperimentRun/dcid.<r>/write?path=…

The address is a secret as long as it is valid: it is not stored and not shown. Nothing
but the file goes to it, above all not the token of the workspace.

Source: the clients in azureml-mlflow 1.62 and azureml-core 1.61; Azure's "Put Blob",
"Put Block" and "Put Block List".
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import orjson

from mlog.errors import MlogError
from mlog.http import Auth, HttpClient, Reply, excerpt
from mlog.shipping.http import client_of, pieces_of, result_of
from mlog.shipping.sink import RunFile, SendResult, Target
from mlog.shipping.sinks.mlflow_artifacts import StoreError
from mlog.shipping.sinks.mlflow_runs import RemoteRun
from mlog.sources.workspace import FileAddress, workspace_at

__all__ = ["WorkspaceStore"]

_STORAGE_VERSION = "2021-08-06"
_BLOCK = 32 << 20
_MAX_BLOCKS = 50_000
_SLOWEST = 1 << 18  # bytes a second that an upload must make
_MAX_REPLY = 1 << 20


class WorkspaceStore:
    """Puts files into the storage of a workspace; a `FileStore`."""

    def __init__(self, target: Target, auth: Auth, *, block: int = _BLOCK) -> None:
        """Prepare; nothing is sent.

        Args:
            target: Whose `url` is the workspace's MLflow tracking URI, by http(s).
            auth: Gives the workspace's credentials.
            block: Bytes that are sent in one request.

        Raises:
            MlogError: The address is not that of a workspace.
        """
        workspace = workspace_at(target.url)
        if workspace is None:
            path = urlsplit(target.url).path
            raise MlogError(
                "an Azure ML workspace's MLflow tracking URI ends in /mlflow/v2.0"
                f"/subscriptions/…/workspaces/<name>, got the path {excerpt(path)!r}"
            )
        self._workspace = workspace
        self._scheme = urlsplit(target.url).scheme
        self._target = replace(target, url=workspace.host)
        self._client = client_of(self._target, auth=auth, max_reply=_MAX_REPLY)
        self._storage: tuple[str, HttpClient] | None = None
        self._block = block

    def put(self, remote: RemoteRun, file: RunFile, name: str) -> None:
        """See `FileStore`."""
        address = self._writable(remote, name)
        with file.open() as source:
            storage = self._storage_at(address.host)
            _Upload(storage, address, self._block).put(file, source)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._storage is not None:
            self._storage[1].close()

    # --- asking the workspace ---

    def _writable(self, remote: RemoteRun, name: str) -> FileAddress:
        """Return the address that a file can be put to."""
        reply = self._client.request(
            "POST",
            f"{self._workspace.run_path(remote.experiment, remote.id)}/batch/metadata",
            content=orjson.dumps({"paths": [{"path": name}]}),
            headers={"content-type": "application/json"},
        )
        if reply.status != 409:  # as a whole it says so of paths that are there
            answer = _object_in(reply)
            error = _at(answer, "errors", name, "error")
            if not error:
                return self._address(_at(answer, "artifactContentInformation", name))
            if "already exists" not in str(error.get("message")):
                raise StoreError(_result_of(error, reply))
        reply = self._client.request(
            "GET",
            f"artifact/v2.0{self._workspace.path}/artifacts/ExperimentRun"
            f"/dcid.{quote(remote.id)}/write",
            query={"path": name},
        )
        return self._address(_object_in(reply))

    def _address(self, content: Mapping[str, Any]) -> FileAddress:
        """Return the address in what the workspace says of an artifact."""
        found = FileAddress.of(content, self._scheme)
        if found is None:
            text = f"the workspace gives no {self._scheme} address for the file"
            raise StoreError(SendResult("retry", text))
        return found

    def _storage_at(self, host: str) -> HttpClient:
        """Return a client of the storage account; the last one is kept."""
        if self._storage is not None:
            if self._storage[0] == host:
                return self._storage[1]
            self._storage[1].close()
        client = client_of(replace(self._target, url=host), auth=dict)
        self._storage = host, client
        return client


class _Upload:
    """One file on its way to an address."""

    def __init__(self, client: HttpClient, address: FileAddress, block: int) -> None:
        self._client = client
        self._address = address
        self._block = block

    def put(self, file: RunFile, source: BinaryIO) -> None:
        media_type = file.media_type or "application/octet-stream"
        headers = {"x-ms-blob-content-type": media_type}
        if file.size <= self._block:
            headers["x-ms-blob-type"] = "BlockBlob"
            self._send(source, file.size, headers)
            return
        block = max(self._block, -(-file.size // _MAX_BLOCKS))
        names: list[str] = []
        for start in range(0, file.size, block):
            names.append(base64.b64encode(b"%08d" % len(names)).decode())
            more = {"comp": "block", "blockid": names[-1]}
            self._send(source, min(block, file.size - start), {}, more)
        body = "".join(f"<Latest>{name}</Latest>" for name in names)
        whole = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{body}</BlockList>'
        self._request(whole.encode(), len(whole), headers, {"comp": "blocklist"})

    def _send(
        self,
        source: BinaryIO,
        size: int,
        headers: Mapping[str, str],
        more: Mapping[str, str] | None = None,
    ) -> None:
        self._request(pieces_of(source, size) if size else b"", size, headers, more)

    def _request(
        self,
        content: bytes | Iterable[bytes],
        size: int,
        headers: Mapping[str, str],
        more: Mapping[str, str] | None = None,
    ) -> None:
        reply = self._client.request(
            "PUT",
            self._address.path,
            content=content,
            query={**self._address.query, **(more or {})},
            headers={
                "content-length": str(size),
                "x-ms-version": _STORAGE_VERSION,
                **headers,
            },
            deadline=60.0 + size / _SLOWEST,
            secrets=self._address.secrets,
        )
        if reply.status != 201:
            result = result_of(reply, delivered=())
            raise StoreError(replace(result, error=f"the storage: {result.error}"))


def _object_in(reply: Reply) -> dict[str, Any]:
    """Return what the workspace answers.

    Raises:
        StoreError: It is an error, or nothing that a workspace would say.
    """
    found = reply.json()
    if reply.status == 200 and isinstance(found, dict):
        return found
    if reply.status == 200:
        text = f"no answer of a workspace: {reply.text}"
        raise StoreError(SendResult("blocked", text))
    raise StoreError(result_of(reply, delivered=()))


def _at(answer: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the object at a path of keys; an empty one where there is none."""
    found: Any = answer
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _result_of(error: Mapping[str, Any], reply: Reply) -> SendResult:
    """Say what an error of one path means: what is the user's stays wrong."""
    code, message = str(error.get("code")), str(error.get("message"))
    text = f"{code}: {excerpt(message, reply.secrets)}"
    return SendResult("refused" if code == "UserError" else "retry", text)
