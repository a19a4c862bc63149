"""Runs of an MLflow server, or of an Azure ML workspace, which answers the same API.

Read page by page: memory holds the heads of an experiment's runs and a page of each
metric of one run. A metric's history comes in order of time, so that histories are
merged without being held.

MLflow's SQL stores keep infinities as the greatest finite numbers; these become
infinities again.

Source: MLflow 3.17, `mlflow/protos/service.proto` and `server/handlers.py`, tried
against its server.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

import orjson

from mlog.errors import MlogError
from mlog.sources.copies import Advance, File, Origin, Point, value_from
from mlog.sources.mlflow_client import Client, ServerError

__all__ = [
    "Server",
    "Value",
    "address_of",
    "facts_of",
    "merged_points",
    "number_in",
    "with_families",
]

_API = "/api/2.0/mlflow"
_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE = 200
_POINTS = (200, 5_000)
"""Least and most points of a page."""

_HELD = 100_000
"""About how many points are held of all metrics of a run."""

_MAX_FOLDERS = 10_000
_MAX_DEPTH = 50
_GREATEST = 1.7976931348623157e308
_STATUS = {"FINISHED": "Completed", "FAILED": "Failed", "KILLED": "Canceled"}
_TAKEN = ("mlflow.runName", "mlflow.note.content", "mlflow.parentRunId")
"""Tags that become something else."""


class Value(NamedTuple):
    """One number of a metric; the time in milliseconds."""

    time: int
    step: int
    name: str
    value: float


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

    def runs(self, experiments: Iterable[str] = ()) -> Iterator[list["ServerRun"]]:
        """Yield the runs of each experiment, parents before their children.

        Args:
            experiments: Names or ids of those that are wanted; none: all.

        Raises:
            MlogError: One is not there, or the server refuses.
        """
        wanted = list(experiments)
        found = list(self._experiments())
        for name in wanted:
            if not any(name in (e["name"], e["experiment_id"]) for e in found):
                names = ", ".join(sorted(e["name"] for e in found)[:20])
                raise MlogError(f"no experiment {name!r} there; there are: {names}")
        for experiment in found:
            keys = (experiment["name"], experiment["experiment_id"])
            if not wanted or any(key in wanted for key in keys):
                yield self._runs_of(experiment)

    def _experiments(self) -> Iterator[dict[str, Any]]:
        for page in self._pages("/experiments/search", {"max_results": _PAGE}):
            for experiment in _objects(page.get("experiments")):
                name = experiment.get("name")
                if isinstance(name, str) and _text(experiment, "experiment_id"):
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
            for run in _objects(page.get("runs")):
                info = run.get("info")
                if isinstance(info, dict) and _text(info, "run_id"):
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
            for point in _objects(page.get("metrics")):
                value = number_in(point.get("value"))
                if value is None:
                    continue
                yield Value(
                    _whole(point, "timestamp"), _whole(point, "step"), name, value
                )
            token = page.get("next_page_token")
            if not token or token == ask.get("page_token"):
                advance(1)
                return
            ask["page_token"] = token

    def files(self, run_id: str, uri: str) -> Iterator[File]:
        """Yield the files of a run."""
        folders, seen = [""], 0
        while folders and seen < _MAX_FOLDERS:
            folder, seen = folders.pop(), seen + 1
            for item in self._listed(run_id, folder):
                path = _text(item, "path")
                if item.get("is_dir"):
                    if path.count("/") < _MAX_DEPTH:
                        folders.append(path)
                elif path:
                    size = _whole(item, "file_size")
                    open_it = partial(self._open, run_id, uri, path, size)
                    yield File(path, size, open_it)

    def _listed(self, run_id: str, folder: str) -> Iterator[dict[str, Any]]:
        ask = {"run_id": run_id} | ({"path": folder} if folder else {})
        while True:
            page = self._client.get(f"{_API}/artifacts/list", ask)
            yield from _objects(page.get("files"))
            token = page.get("next_page_token")
            if not token or token == ask.get("page_token"):
                return
            ask["page_token"] = token

    def _open(
        self, run_id: str, uri: str, path: str, size: int
    ) -> AbstractContextManager[BinaryIO]:
        if size > self.max_file:
            raise MlogError(f"has {size:,} bytes; --max-file would take it")
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
        self._names = [_text(m, "key") for m in _objects(data.get("metrics"))]
        params, tags = _pairs(data.get("params")), _pairs(data.get("tags"))
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
            uri = _text(self._info, "artifact_uri")
            yield from self._server.files(self.origin.run_id, uri)
        except ServerError as exc:
            if exc.status == 0:
                raise
            self.notes.append(f"files cannot be listed: {exc}")


# --- what the server and a folder of files share -------------------------------------


def facts_of(
    info: Mapping[str, Any],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    experiment: str,
    state: str,
) -> Origin:
    """Return what MLflow says of a run, in our words."""
    run_id, ended = _text(info, "run_id"), _whole(info, "end_time")
    status = _STATUS.get(str(info.get("status")))
    user = _text(info, "user_id") or tags.get("mlflow.user", "")
    git = {
        "commit": tags.get("mlflow.source.git.commit"),
        "branch": tags.get("mlflow.source.git.branch"),
        "remote": tags.get("mlflow.source.git.repoURL"),
    }
    known = {key: value for key, value in git.items() if value}
    start: dict[str, Any] = {"git": known} if known else {}
    if script := tags.get("mlflow.source.name"):
        start["argv"] = [script]
    return Origin(
        tool="mlflow",
        source=f"mlflow:{run_id}",
        state=state,
        run_id=run_id,
        experiment=experiment,
        name=tags.get("mlflow.runName") or _text(info, "run_name") or run_id,
        began=_whole(info, "start_time") * 1_000,
        ended=ended * 1_000 if ended else None,
        status=status,
        description=tags.get("mlflow.note.content", ""),
        params={name: value_from(text) for name, text in params.items()},
        tags={k: v for k, v in tags.items() if k not in _TAKEN},
        properties={"import.user": user} if user else {},
        start=start,
    )


class HasParent(Protocol):
    """A run that may name its parent."""

    origin: Origin
    parent_id: str


_R = TypeVar("_R", bound=HasParent)


def with_families(runs: list[_R]) -> list[_R]:
    """Tell runs of one experiment of their parents and children; parents come first."""
    by_id = {run.origin.run_id: run for run in runs}
    for run in runs:
        parent = by_id.get(run.parent_id)
        if parent is not None and parent is not run:
            own, other = run.origin, parent.origin
            own.parent = (other.experiment, other.run_id)
            other.children.append((own.experiment, own.run_id))
    return sorted(runs, key=lambda run: run.origin.parent is not None)


def merged_points(histories: Iterable[Iterator[Value]]) -> Iterator[Point]:
    """Yield the points of several metrics by time, those of one moment together."""
    merged = heapq.merge(*histories, key=attrgetter("time"))
    for (time, step), group in groupby(merged, key=lambda v: (v.time, v.step)):
        values: dict[str, float] = {}
        for each in group:
            if each.name in values:
                yield Point(time * 1_000, step, values)
                values = {}
            values[each.name] = each.value
        yield Point(time * 1_000, step, values)


def number_in(value: object) -> float | None:
    """Return a number as MLflow gives it; None for what is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    if number is None or isinstance(value, bool):
        return None
    return math.copysign(math.inf, number) if abs(number) == _GREATEST else number


def _objects(value: object) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]


def _pairs(value: object) -> dict[str, str]:
    return {_text(p, "key"): _text(p, "value") for p in _objects(value)}


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else ""


def _whole(data: Mapping[str, Any], name: str) -> int:
    """Return an integer; protobuf's JSON may have it as a text."""
    value = data.get(name)
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value[:20])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
