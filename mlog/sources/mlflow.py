"""Runs of an MLflow server, or of an Azure ML workspace, which answers the same API.

Read page by page: memory holds the heads of an experiment's runs and a page of each
metric of one run. A metric's history comes in order of time, so that histories are
merged without being held.

Source: MLflow 3.17, `mlflow/protos/service.proto` and `server/handlers.py`, tried
against its server.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from typing import Any, BinaryIO
from urllib.parse import quote

import orjson

from mlog.sources.copies import Advance, File, Point
from mlog.sources.mlflow_client import Client, ServerError
from mlog.sources.mlflow_facts import (
    Value,
    check_size,
    chosen,
    facts_of,
    merged_points,
    number_in,
    objects_in,
    pairs_in,
    text_in,
    whole_in,
    with_families,
)
from mlog.sources.workspace import WorkspaceFiles, workspace_at

__all__ = ["Server", "ServerRun", "address_of"]

_API = "/api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE = 200
_POINTS = (200, 5_000)
"""Least and most points of a page."""

_HELD = 100_000
"""About how many points are held of all metrics of a run."""

_MAX_FOLDERS = 10_000
_MAX_DEPTH = 50


def address_of(text: str) -> str:
    """Return the address of a server, of what MLflow takes as a tracking URI."""
    if text.startswith("azureml://"):
        return "https://" + text.removeprefix("azureml://")
    return text.removeprefix("mlflow+")


class Server:
    """One tracking server.

    Attributes:
        max_file: Bytes that a file may have to be taken over; 0: none is.
    """

    def __init__(self, client: Client, *, max_file: int = 1 << 30) -> None:
        """Read through a client."""
        self._client = client
        self.max_file = max_file
        workspace = workspace_at(client.url)
        self._workspace = workspace and WorkspaceFiles(workspace, client)

    def runs(self, experiments: Iterable[str] = ()) -> Iterator[list["ServerRun"]]:
        """Yield the runs of each experiment, parents before their children.

        Args:
            experiments: Names or ids of those that are wanted; none: all.

        Raises:
            MlogError: One is not there, or the server refuses.
        """
        found = list(self._experiments())
        for experiment in chosen(found, experiments, _name_and_id):
            yield self._runs_of(experiment)

    def _experiments(self) -> Iterator[dict[str, Any]]:
        for page in self._pages("/experiments/search", {"max_results": _PAGE}):
            for experiment in objects_in(page.get("experiments")):
                name = experiment.get("name")
                if isinstance(name, str) and text_in(experiment, "experiment_id"):
                    yield experiment

    def _runs_of(self, experiment: dict[str, Any]) -> list["ServerRun"]:
        ask = {
            "experiment_ids": [experiment["experiment_id"]],
            "max_results": _PAGE,
            "run_view_type": "ACTIVE_ONLY",
            "order_by": ["attributes.start_time ASC"],
        }
        found = []
        for page in self._pages("/runs/search", ask):
            for run in objects_in(page.get("runs")):
                info = run.get("info")
                if isinstance(info, dict) and text_in(info, "run_id"):
                    found.append(ServerRun(self, run, experiment["name"]))
        return with_families(found)

    def _pages(self, path: str, ask: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the replies to a POST, page after page."""
        token: Any = None
        while True:
            more: dict[str, Any] = {"page_token": token} if token else {}
            page = self._client.post(_API + path, ask | more)
            yield page
            last, token = token, page.get("next_page_token")
            if not token or token == last:
                return

    def history(
        self, run_id: str, name: str, page_size: int, advance: Advance
    ) -> Iterator[Value]:
        """Yield the points of a metric, read in pages."""
        ask: dict[str, Any] = {"run_id": run_id, "metric_key": name}
        ask["max_results"] = page_size
        while True:
            page = self._client.get(f"{_API}/metrics/get-history", ask)
            for point in objects_in(page.get("metrics")):
                value = number_in(point.get("value"))
                if value is None:
                    continue
                yield Value(
                    whole_in(point, "timestamp"), whole_in(point, "step"), name, value
                )
            token = page.get("next_page_token")
            if not token or token == ask.get("page_token"):
                advance(1)
                return
            ask["page_token"] = token

    def files(self, info: dict[str, Any]) -> Iterator[File]:
        """Yield the files of a run.

        Args:
            info: What the server says of the run.
        """
        if self._workspace is not None:
            yield from self._files_of_workspace(self._workspace, info)
            return
        run_id, uri = text_in(info, "run_id"), text_in(info, "artifact_uri")
        folders, seen = [""], 0
        while folders and seen < _MAX_FOLDERS:
            folder, seen = folders.pop(), seen + 1
            for item in self._listed(run_id, folder):
                path = text_in(item, "path")
                if item.get("is_dir"):
                    if path.count("/") < _MAX_DEPTH:
                        folders.append(path)
                elif path:
                    size = whole_in(item, "file_size")
                    open_it = partial(self._open, run_id, uri, path, size)
                    yield File(path, size, open_it)

    def _files_of_workspace(
        self, workspace: WorkspaceFiles, info: dict[str, Any]
    ) -> Iterator[File]:
        own = text_in(info, "experiment_id"), text_in(info, "run_id")
        for path in workspace.paths(*own):
            open_it = partial(workspace.open, *own, path, self.max_file)
            yield File(path, None, open_it)

    def _listed(self, run_id: str, folder: str) -> Iterator[dict[str, Any]]:
        ask = {"run_id": run_id} | ({"path": folder} if folder else {})
        while True:
            page = self._client.get(f"{_API}/artifacts/list", ask)
            yield from objects_in(page.get("files"))
            token = page.get("next_page_token")
            if not token or token == ask.get("page_token"):
                return
            ask["page_token"] = token

    def _open(
        self, run_id: str, uri: str, path: str, size: int
    ) -> AbstractContextManager[BinaryIO]:
        check_size(size, self.max_file)
        base = uri.removeprefix("mlflow-artifacts:")
        if base != uri and base.startswith("/") and not base.startswith("//"):
            address = f"{_PROXY}{quote(base)}/{quote(path)}"
            return self._client.stream(address, {}, self.max_file)
        ask = {"run_uuid": run_id, "path": path}
        return self._client.stream("/get-artifact", ask, self.max_file)


class ServerRun:
    """One run of a server; a `SourceRun`."""

    def __init__(self, server: Server, run: dict[str, Any], experiment: str) -> None:
        """Take what the search for runs says of it."""
        self._server, self._info = server, run["info"]
        data = run.get("data")
        data = data if isinstance(data, dict) else {}
        self._names = [text_in(m, "key") for m in objects_in(data.get("metrics"))]
        params, tags = pairs_in(data.get("params")), pairs_in(data.get("tags"))
        self.notes: list[str] = []
        state = sha256(orjson.dumps(run, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self.origin = facts_of(self._info, params, tags, experiment, state)
        self.origin.size = len(self._names) + 1
        self.parent_id = tags.get("mlflow.parentRunId", "")

    def points(self, advance: Advance) -> Iterator[Point]:
        """Yield all points in order of time."""
        run_id, names = self.origin.run_id, self._names
        page = max(_POINTS[0], min(_POINTS[1], _HELD // max(1, len(names))))
        return merged_points(
            self._server.history(run_id, name, page, advance) for name in names
        )

    def files(self) -> Iterator[File]:
        """Yield all files; what cannot be listed is noted."""
        if not self._server.max_file:
            return
        try:
            yield from self._server.files(self._info)
        except ServerError as exc:
            if exc.status == 0:
                raise
            self.notes.append(f"files cannot be listed: {exc}")


def _name_and_id(experiment: dict[str, Any]) -> tuple[str, str]:
    return experiment["name"], experiment["experiment_id"]
