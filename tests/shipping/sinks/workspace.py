"""The files' side of an Azure ML workspace, and its storage: fakes.

A real workspace needs an account in a cloud. The fake makes empty artifacts, gives
addresses to write to, and refuses a path twice, as azureml-mlflow 1.62 knows it. Its
storage takes what an address was given for; Azure's own emulator can stand in its place
(see `azurite_server`).
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import httpx

from tests.shipping.sinks.receiver import Answer, Receiver, Request

SCOPE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/lab"
    "/providers/Microsoft.MachineLearningServices/workspaces/vision"
)
BASE = f"/mlflow/v2.0{SCOPE}"
TOKEN = "workspace-token"
_BATCH = re.compile(
    rf"/history/v1\.0{SCOPE}/experimentids/[^/]+/runs/([^/]+)/artifacts/batch/metadata"
)
_LIST = re.compile(
    rf"/history/v1\.0{SCOPE}/experimentids/[^/]+/runs/([^/]+)/artifacts(/contentinfo)?"
)
_WRITE = re.compile(
    rf"/artifact/v2\.0{SCOPE}/artifacts/ExperimentRun/dcid\.([^/]+)/write"
)
_ACCOUNT = "devstoreaccount1"
_PUBLIC_KEY = (  # of every emulator, in its documentation
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass
class FakeStorage:
    """A storage account: blobs by path, each written through its own address.

    Attributes:
        server: Where it is.
        blobs: What was put, by path.
        blocks: What was put of a blob that is not yet one.
        refuse: Gives the answer to a request instead, if any.
    """

    server: Receiver
    blobs: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[tuple[str, str], bytes] = field(default_factory=dict)
    refuse: Callable[[Request], Answer | None] = lambda request: None

    def address(self, path: str) -> str:
        """Return where a file can be put."""
        query = urlencode({"sv": "2021-08-06", "sr": "b", "sig": self.signature(path)})
        return f"{self.server.url}/azureml/{quote(path)}?{query}"

    def signature(self, path: str) -> str:
        """Return what proves the address; it has `+`, `/` or `=`."""
        return base64.b64encode(hashlib.sha256(path.encode()).digest()).decode()

    def answer(self, request: Request) -> Answer:
        """Answer "Put Blob", "Put Block" and "Put Block List"."""
        if (refused := self.refuse(request)) is not None:
            return refused
        parts = urlsplit(request.path)
        path = unquote(parts.path).removeprefix("/azureml/")
        query = {key: value[0] for key, value in parse_qs(parts.query).items()}
        has_version = request.method == "GET" or "x-ms-version" in request.headers
        if query.get("sig") != self.signature(path) or not has_version:
            return 403, b"<Code>AuthenticationFailed</Code>"
        if "authorization" in request.headers:
            return 403, b"<Code>two ways to prove it</Code>"
        if request.method == "GET":
            found = self.blobs.get(path)
            return (
                (404, b"<Code>BlobNotFound</Code>") if found is None else (200, found)
            )
        what = query.get("comp")
        if what == "block":
            self.blocks[path, query["blockid"]] = request.body
        elif what == "blocklist":
            names = re.findall(r"<Latest>(.*?)</Latest>", request.body.decode())
            self.blobs[path] = b"".join(self.blocks.pop((path, n)) for n in names)
        elif request.headers.get("x-ms-blob-type") == "BlockBlob":
            self.blobs[path] = request.body
        else:
            return 400, b"<Code>MissingRequiredHeader</Code>"
        return 201, b""


@dataclass
class FakeArtifacts:
    """What a workspace knows of the files of its runs.

    Attributes:
        address: Gives the address of a path in the storage.
        known: Paths that there are, in the storage.
        page: How many are listed at a time.
        errors: What to say of a path instead.
    """

    address: Callable[[str], str]
    known: set[str] = field(default_factory=set)
    errors: dict[str, dict[str, str]] = field(default_factory=dict)
    page: int = 2

    def answer(self, request: Request) -> Answer | None:
        """Answer a request for artifacts; None: it is another one."""
        parts = urlsplit(request.path)
        if found := _BATCH.fullmatch(parts.path):
            [asked] = json.loads(request.body)["paths"]
            return 200, json.dumps(self._made(found[1], asked["path"])).encode()
        if found := _WRITE.fullmatch(parts.path):
            path = f"ExperimentRun/dcid.{found[1]}/{parse_qs(parts.query)['path'][0]}"
            if path not in self.known:
                return 404, b"{}"
            return 200, json.dumps({"contentUri": self.address(path)}).encode()
        if found := _LIST.fullmatch(parts.path):
            query = {key: value[0] for key, value in parse_qs(parts.query).items()}
            start = f"ExperimentRun/dcid.{found[1]}/"
            if found[2]:
                return 200, json.dumps(self._content(start + query["path"])).encode()
            return 200, json.dumps(self._listed(start, query)).encode()
        return None

    def _content(self, path: str) -> dict[str, str]:
        return {"contentUri": self.address(path)} if path in self.known else {}

    def _listed(self, start: str, query: dict[str, str]) -> dict[str, Any]:
        names = sorted(p.removeprefix(start) for p in self.known if p.startswith(start))
        first = int(query.get("continuationToken", 0))
        some = names[first : first + self.page]
        more = first + self.page < len(names)
        token = {"continuationToken": str(first + self.page)} if more else {}
        return {"value": [{"path": name} for name in some], **token}

    def _made(self, run: str, name: str) -> dict[str, Any]:
        path = f"ExperimentRun/dcid.{run}/{name}"
        error = self.errors.get(name)
        if path in self.known:
            text = f"Resource Conflict: ArtifactId {path} already exists."
            error = {"code": "UserError", "message": text}
        if error is not None:
            return {
                "artifactContentInformation": {},
                "errors": {name: {"error": error}},
            }
        self.known.add(path)
        content = {"contentUri": self.address(path), "path": name}
        return {"artifactContentInformation": {name: content}, "errors": {}}


class FakeWorkspace:
    """A workspace with its storage.

    Attributes:
        service: Where it is.
        storage: Where it keeps files.
        artifacts: What it knows of them.
        instead: Gives the answer to a request instead, if any.
        api: Answers what is not about files.
    """

    def __init__(
        self, service: Receiver, storage: Receiver, *, token: str = TOKEN
    ) -> None:
        """Answer who brings a token."""
        self.service, self.storage = service, FakeStorage(storage)
        self.artifacts = FakeArtifacts(self.storage.address)
        self.instead: Callable[[Request], Answer | None] = lambda request: None
        self.api: Callable[[Request], Answer] = lambda request: (404, b"no path")
        self._proof = f"Bearer {token}"
        service.answer, storage.answer = self._answer, self.storage.answer

    @property
    def url(self) -> str:
        """Its MLflow tracking URI, by http."""
        return f"{self.service.url}{BASE}"

    def _answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != self._proof:
            return 401, b'{"error":{"code":"UserError","message":"no token"}}'
        own = self.instead(request) or self.artifacts.answer(request)
        return own or self.api(request)


def mlflow_behind(client: httpx.Client) -> Callable[[Request], Answer]:
    """Return what answers a workspace's MLflow API, by a real server's."""

    def answer(request: Request) -> Answer:
        if not request.path.startswith(f"{BASE}/api/2.0/mlflow/"):
            return 404, b""
        reply = client.request(
            request.method,
            request.path.removeprefix(BASE),
            content=request.body,
            headers={"content-type": request.headers.get("content-type", "")},
        )
        return reply.status_code, reply.content

    return answer


def account_query() -> str:
    """Return what proves an emulator's address: a signature for all of its account.

    Source: Azure's "Create an account SAS".
    """
    facts = {"sv": "2021-08-06", "ss": "b", "srt": "sco", "sp": "rwdlac"}
    facts |= {"se": "2099-01-01T00:00:00Z"}
    order = [_ACCOUNT, *(facts[name] for name in ("sp", "ss", "srt")), "", facts["se"]]
    text = "\n".join([*order, "", "", facts["sv"], "", ""])
    key = base64.b64decode(_PUBLIC_KEY)
    sig = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
    return urlencode({**facts, "sig": sig})
