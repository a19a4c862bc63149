"""Azure ML workspaces: the parts of their addresses, and the files of their runs.

A workspace answers MLflow's API (see `mlog.sources.mlflow`), but not for files: those it
lists itself, and for each it gives an address in its storage account that may be read
from for a while.

    GET <host>/history/v1.0/<workspace>/experimentids/<e>/runs/<r>/artifacts
        {"value":[{"path":"outputs/model.pt"}],"continuationToken":"…"}
    GET <host>/history/v1.0/<workspace>/experimentids/<e>/runs/<r>/artifacts/contentinfo
        ?path=outputs/model.pt
        {"contentUri":"https://…?…&sig=…"}

Nothing but the request for the file goes to that address, above all no credentials; and
it is shown in no message.

Source: the clients in azureml-mlflow 1.62.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from mlog.sources.mlflow_client import Client, ServerError
from mlog.sources.mlflow_facts import objects_in, text_in

__all__ = ["FileAddress", "Workspace", "WorkspaceFiles", "workspace_at"]

_PATH = re.compile(
    r"/mlflow/v\d\.\d(/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
    r"/Microsoft\.MachineLearningServices/workspaces/[^/]+)/*",
    re.IGNORECASE,
)
_MAX_PAGES = 1_000


class Workspace(NamedTuple):
    """Where a workspace is.

    Attributes:
        host: Address of its region's service, without a path.
        path: What names the workspace below each of the service's interfaces.
    """

    host: str
    path: str

    def run_path(self, experiment_id: str, run_id: str) -> str:
        """Return where the service keeps what it knows of a run's files."""
        run = f"experimentids/{quote(experiment_id)}/runs/{quote(run_id)}"
        return f"/history/v1.0{self.path}/{run}/artifacts"


def workspace_at(url: str) -> Workspace | None:
    """Return the workspace of an MLflow tracking URI; None for another server.

    Args:
        url: Begins with http:// or https://.
    """
    parts = urlsplit(url)
    found = _PATH.fullmatch(parts.path)
    if found is None:
        return None
    return Workspace(f"{parts.scheme}://{parts.netloc}", found[1])


class FileAddress(NamedTuple):
    """Where one file can be read or written for a while, without further proof.

    Attributes:
        host: Of the storage account, an address without a path.
        path: Below it, quoted.
        query: Proves the right; sent as it came, and never shown.
    """

    host: str
    path: str
    query: str

    @classmethod
    def of(cls, content: Mapping[str, Any], scheme: str) -> "FileAddress | None":
        """Return the address in what a workspace says of a file; None without a good one.

        Args:
            content: The workspace's words.
            scheme: The only one that is taken: what came by TLS is not sent without.
        """
        given = content.get("contentUri")
        try:
            parts = urlsplit(given if isinstance(given, str) else "")
            _ = parts.port
        except ValueError:
            return None
        if parts.scheme != scheme or not parts.hostname or "@" in parts.netloc:
            return None
        return cls(f"{scheme}://{parts.netloc}", parts.path, parts.query)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, as far as texts are shown at all."""
        return (self.query, *(text for _, text in parse_qsl(self.query)))


class WorkspaceFiles:
    """Reads the files of a workspace's runs."""

    def __init__(self, workspace: Workspace, client: Client) -> None:
        """Read through clients beside that of the tracking URI."""
        self._workspace = workspace
        self._scheme = urlsplit(workspace.host).scheme
        self._client = client

    def paths(self, experiment_id: str, run_id: str) -> Iterator[str]:
        """Yield the names of a run's files.

        Raises:
            ServerError: They cannot be listed.
        """
        where = self._workspace.run_path(experiment_id, run_id)
        ask: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            page = self._service().get(where, ask)
            for item in objects_in(page.get("value")):
                if path := text_in(item, "path"):
                    yield path
            token = text_in(page, "continuationToken")
            if not token or token == ask.get("continuationToken"):
                return
            ask = {"continuationToken": token}

    @contextmanager
    def open(
        self, experiment_id: str, run_id: str, path: str, max_bytes: int
    ) -> Iterator[BinaryIO]:
        """Give one of them to read from.

        Raises:
            ServerError: It is not given, or not all of it; also when read.
        """
        where = self._workspace.run_path(experiment_id, run_id)
        content = self._service().get(f"{where}/contentinfo", {"path": path})
        address = FileAddress.of(content, self._scheme)
        if address is None:
            raise ServerError(f"the workspace gives no {self._scheme} address for it")
        storage = self._client.beside(address.host, credentials=False)
        with storage.stream(
            address.path, address.query, max_bytes, secrets=address.secrets
        ) as file:
            yield file

    def _service(self) -> Client:
        return self._client.beside(self._workspace.host)
