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

The address is a secret as long as it is valid: it is not stored and not shown, nor is
what the storage says of a request, but for the name of its error. Nothing but the file
goes to it, above all not the token of the workspace. Where it expires amid a large file,
another one is asked for.

Source: the clients in azureml-mlflow 1.62 and azureml-core 1.61; Azure's "Put Blob",
"Put Block" and "Put Block List".
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import orjson

from mlog.errors import MlogError
from mlog.http import CERTIFICATE, Auth, HttpClient, Reply, excerpt
from mlog.shipping.http import client_of, pieces_of, result_of
from mlog.shipping.sink import Outcome, RunFile, SendResult, Target
from mlog.shipping.sinks.mlflow_api import MlflowError
from mlog.shipping.sinks.mlflow_artifacts import StoreError
from mlog.shipping.sinks.mlflow_runs import RemoteRun
from mlog.sources.workspace import FileAddress, workspace_at

__all__ = ["WorkspaceStore"]

_STORAGE_VERSION = "2021-08-06"
_BLOCK = 32 << 20
_MAX_BLOCKS = 50_000
_SLOWEST = 1 << 18  # bytes a second that an upload must make
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_PROOF = re.compile(r"""\?[^\s"'<>]+|\bsig=[^\s"'<>&]+""", re.IGNORECASE)
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
        with file.open() as source:
            address = self._made(remote, name)
            renew = partial(self._existing, remote, name)
            _Upload(self._send, address, renew, self._block).put(file, source)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._storage is not None:
            self._storage[1].close()

    # --- asking the workspace ---

    def _made(self, remote: RemoteRun, name: str) -> FileAddress:
        """Make an artifact if it is not there, and return where it can be put to.

        Raises:
            MlflowError: The run is not there any more.
            StoreError: It is not for us to make.
        """
        reply = self._client.request(
            "POST",
            f"{self._workspace.run_path(remote.experiment, remote.id)}/batch/metadata",
            content=orjson.dumps({"paths": [{"path": name}]}),
            headers={"content-type": "application/json"},
        )
        if reply.status == 409:  # said of the request as a whole
            return self._existing(remote, name)
        if reply.status == 404:
            result = replace(_failure(reply, _said(reply)), outcome="retry")
            raise MlflowError(result, "RESOURCE_DOES_NOT_EXIST", 404)
        answer = _object_in(reply)
        error = _at(answer, "errors", name, "error")
        if not error:
            return self._address(_at(answer, "artifactContentInformation", name))
        if "already exists" in str(error.get("message")):
            return self._existing(remote, name)
        outcome: Outcome = "refused" if error.get("code") == "UserError" else "retry"
        raise StoreError(SendResult(outcome, _words(error)))

    def _existing(self, remote: RemoteRun, name: str) -> FileAddress:
        """Return where an artifact that there is can be put to."""
        reply = self._client.request(
            "GET",
            f"artifact/v2.0{self._workspace.path}/artifacts/ExperimentRun"
            f"/dcid.{quote(remote.id)}/write",
            query={"path": name},
        )
        if reply.status == 404:  # there, but not as this run's: it stays so
            result = _failure(reply, _said(reply))
            raise StoreError(replace(result, outcome="refused"))
        return self._address(_object_in(reply))

    def _address(self, content: Mapping[str, Any]) -> FileAddress:
        """Return the address in what the workspace says of an artifact."""
        found = FileAddress.of(content, self._scheme)
        if found is None:
            text = f"the workspace gives no {self._scheme} address for the file"
            raise StoreError(SendResult("retry", text))
        return found

    # --- asking the storage ---

    def _send(
        self,
        address: FileAddress,
        content: bytes | Iterable[bytes],
        size: int,
        headers: Mapping[str, str],
        more: str,
    ) -> Reply:
        """Put something to an address.

        Args:
            address: Where to.
            content: The body.
            size: Of it, in bytes.
            headers: Further ones.
            more: What comes behind the query of the address.
        """
        return self._storage_at(address.host).request(
            "PUT",
            address.path,
            content=content,
            query=address.query + more,
            headers={
                "content-length": str(size),
                "x-ms-version": _STORAGE_VERSION,
                **headers,
            },
            deadline=60.0 + size / _SLOWEST,
            secrets=address.secrets,
        )

    def _storage_at(self, host: str) -> HttpClient:
        """Return a client of the storage account; the last one is kept."""
        if self._storage is not None:
            if self._storage[0] == host:
                return self._storage[1]
            self._storage[1].close()
        env = {k: v for k, v in self._target.env.items() if k != CERTIFICATE}
        client = client_of(replace(self._target, url=host, env=env), auth=dict)
        self._storage = host, client
        return client


class _Upload:
    """One file on its way to an address."""

    def __init__(
        self,
        send: Callable[..., Reply],
        address: FileAddress,
        renew: Callable[[], FileAddress],
        block: int,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            send: `WorkspaceStore._send`.
            address: Where to.
            renew: Gives another address, for when that has expired.
            block: Bytes that are sent in one request.
        """
        self._send = send
        self._address = address
        self._renew = renew
        self._block = block
        self._accepted = 0  # requests, since there is this address

    def put(self, file: RunFile, source: BinaryIO) -> None:
        media_type = file.media_type or "application/octet-stream"
        headers = {"x-ms-blob-content-type": media_type}
        if file.size <= self._block:
            whole = pieces_of(source, file.size) if file.size else b""
            headers["x-ms-blob-type"] = "BlockBlob"
            _check(self._send(self._address, whole, file.size, headers, ""))
            return
        block = max(self._block, -(-file.size // _MAX_BLOCKS))
        names: list[str] = []
        for start in range(0, file.size, block):
            names.append(base64.b64encode(b"%08d" % len(names)).decode())
            self._put_block(source, start, min(block, file.size - start), names[-1])
        body = "".join(f"<Latest>{name}</Latest>" for name in names)
        text = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{body}</BlockList>'
        self._request(lambda: text.encode(), len(text), headers, "&comp=blocklist")

    def _put_block(self, source: BinaryIO, start: int, size: int, name: str) -> None:
        def content() -> Iterable[bytes]:
            source.seek(start)
            return pieces_of(source, size)

        self._request(content, size, {}, f"&comp=block&blockid={quote(name, safe='')}")

    def _request(
        self,
        content: Callable[[], bytes | Iterable[bytes]],
        size: int,
        headers: Mapping[str, str],
        more: str,
    ) -> None:
        """Send a part; with a new address where the one that did so far has expired."""
        reply = self._send(self._address, content(), size, headers, more)
        if reply.status == 403 and self._accepted:
            self._address, self._accepted = self._renew(), 0
            reply = self._send(self._address, content(), size, headers, more)
        _check(reply)
        self._accepted += 1


# --- what is said --------------------------------------------------------------------


def _check(reply: Reply) -> None:
    """Let an answer of the storage pass that says that something was stored.

    Raises:
        StoreError: It says something else; what it says may repeat the address, so
            that only the name of the error is shown.
    """
    if reply.status == 201:
        return
    code = _CODE.search(reply.body)
    said = code[1].decode() if code else reply.headers.get("x-ms-error-code", "")
    result = _failure(reply, said if said.isascii() and said.isalnum() else "")
    raise StoreError(replace(result, error=f"the storage: {result.error}"))


def _object_in(reply: Reply) -> dict[str, Any]:
    """Return what the workspace answers.

    Raises:
        StoreError: It is an error, or nothing that a workspace would say.
    """
    found = reply.json()
    if not 200 <= reply.status < 300:
        raise StoreError(_failure(reply, _said(reply)))
    if not isinstance(found, dict):
        text = f"HTTP {reply.status}, but no answer of a workspace"
        raise StoreError(SendResult("blocked", text))
    return found


def _failure(reply: Reply, said: str) -> SendResult:
    """Say what a refusal means, showing of it no more than what is handed in."""
    headers = {k: v for k, v in reply.headers.items() if k == "retry-after"}
    shown = replace(reply, headers=headers, body=said.encode())
    return result_of(shown, delivered=())


def _said(reply: Reply) -> str:
    """Return the words of the workspace's error."""
    found = reply.json()
    return _words(_at(found, "error")) if isinstance(found, dict) else ""


def _words(error: Mapping[str, Any]) -> str:
    """Return code and message of an error, without what may prove a right."""
    told = (error.get(key) for key in ("code", "message"))
    words = [excerpt(_PROOF.sub("***", text)) for text in told if isinstance(text, str)]
    return ": ".join(words) or "an error without a name"


def _at(answer: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the object at a path of keys; an empty one where there is none."""
    found: Any = answer
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
