"""MLflow's tracking API: one method for each call, its refusals told apart.

Success is status 200 with an object of JSON. What else a server says ends in an
`MlflowError`, which carries the `SendResult` that the shipper should get.

Source: MLflow's REST API, and how a server of version 3.17 was seen to behave.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from mlog.errors import MlogError
from mlog.http import HttpClient, Reply, excerpt
from mlog.shipping.http import client_of, pieces_of, result_of
from mlog.shipping.sink import RunFile, SendResult, Target
from mlog.shipping.sinks.mlflow_batches import Metric

__all__ = ["API", "MlflowApi", "MlflowError"]

API = "api/2.0/mlflow"
"""Path of the tracking API below the server's address."""

_ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
_PAGE = 5_000
_MAX_REPLY = 16 << 20
_SLOWEST = 1 << 18  # bytes a second that an upload must make
_BAD_HOST = "Invalid Host header"
_PAGE_500 = "<title>500 Internal Server Error</title>"
_NOT_ACTIVE = "must be in the 'active' state"


class MlflowError(MlogError):
    """The server has answered something else than success.

    Attributes:
        result: What the shipper should know.
        code: MLflow's name of the error; "" where it gives none.
        status: HTTP's.
    """

    def __init__(self, result: SendResult, code: str, status: int) -> None:
        """Say what came, without credentials."""
        super().__init__(result.error)
        self.result = result
        self.code = code
        self.status = status

    @property
    def is_missing(self) -> bool:
        """Whether the run, experiment or model asked for is not there."""
        return self.code == "RESOURCE_DOES_NOT_EXIST"

    @property
    def is_deleted(self) -> bool:
        """Whether the run or its experiment was deleted."""
        return self.code == "INVALID_PARAMETER_VALUE" and _NOT_ACTIVE in str(self)

    @property
    def is_page(self) -> bool:
        """Whether it is the page that MLflow answers to what it cannot parse."""
        return self.status == 500 and not self.code and _PAGE_500 in str(self)

    @property
    def is_refused(self) -> bool:
        """Whether what was sent is wrong for good."""
        return self.result.outcome == "refused"


@dataclass(frozen=True, slots=True)
class RemoteExperiment:
    """An experiment of the server.

    Attributes:
        id: The server's.
        deleted: Whether somebody has deleted it there.
    """

    id: str
    deleted: bool


class MlflowApi:
    """Calls of one tracking server. A method raises `MlflowError` or `HttpError`."""

    def __init__(self, target: Target, client: HttpClient) -> None:
        """Prepare; nothing is sent.

        Args:
            target: Whose address is named in errors.
            client: Sends; its `max_reply` must hold a page of a metric's history.
        """
        self._host = urlsplit(target.url).netloc
        self._client = client

    @staticmethod
    def client(target: Target, **options: Any) -> HttpClient:
        """Return a client that reads replies as long as this API's."""
        return client_of(target, max_reply=_MAX_REPLY, **options)

    # --- experiments and runs ---

    def experiment(self, name: str) -> RemoteExperiment | None:
        """Return the experiment of a name, None if there is none."""
        query = {"experiment_name": name}
        try:
            found = self._get("experiments/get-by-name", query)["experiment"]
        except MlflowError as exc:
            if exc.is_missing:
                return None
            raise
        deleted = found.get("lifecycle_stage") == "deleted"
        return RemoteExperiment(str(found["experiment_id"]), deleted)

    def create_experiment(self, name: str) -> None:
        """Make an experiment; one of that name may be there."""
        try:
            self._post("experiments/create", {"name": name})
        except MlflowError as exc:
            if exc.code != "RESOURCE_ALREADY_EXISTS":
                raise

    def runs(self, experiment: str, tag: str, value: str) -> list[dict[str, Any]]:
        """Return the runs with a tag, deleted ones, too.

        Args:
            experiment: Id of the experiment they are in.
            tag: Key; one of letters, digits, `_` and `.`.
            value: Its value, one without quotation marks.
        """
        body = {
            "experiment_ids": [experiment],
            "filter": f"tags.{tag} = '{value}'",
            "run_view_type": "ALL",
            "max_results": 1_000,
        }
        found: list[dict[str, Any]] = self._post("runs/search", body).get("runs", [])
        return found

    def create_run(self, experiment: str, **facts: Any) -> dict[str, Any]:
        """Make a run; not to be sent twice."""
        body = {"experiment_id": experiment, **facts}
        run: dict[str, Any] = self._post("runs/create", body)["run"]
        return run

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run with its params, tags and latest metrics."""
        run: dict[str, Any] = self._get("runs/get", {"run_id": run_id})["run"]
        return run

    def update_run(self, run_id: str, **facts: Any) -> None:
        """Change status, end or name of a run."""
        self._post("runs/update", {"run_id": run_id, **facts})

    def delete_run(self, run_id: str) -> None:
        """Delete a run that was made for nothing."""
        self._post("runs/delete", {"run_id": run_id})

    # --- data ---

    def log_metrics(self, run_id: str, points: list[Metric]) -> None:
        """Add at most 1,000 points; those that are there already stay one."""
        self._post("runs/log-batch", {"run_id": run_id, "metrics": points})

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Set at most 100 params, each once and for ever."""
        self._post("runs/log-batch", {"run_id": run_id, "params": _pairs(params)})

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set at most 100 tags."""
        self._post("runs/log-batch", {"run_id": run_id, "tags": _pairs(tags)})

    def delete_tag(self, run_id: str, key: str) -> None:
        """Delete a tag; it may be gone already."""
        try:
            self._post("runs/delete-tag", {"run_id": run_id, "key": key})
        except MlflowError as exc:
            if not exc.is_missing:
                raise

    def history(self, run_id: str, key: str) -> Iterable[Metric]:
        """Yield all points of a metric, page by page; none for an unknown one."""
        query = {"run_id": run_id, "metric_key": key, "max_results": str(_PAGE)}
        while True:
            page = self._get("metrics/get-history", query)
            yield from page.get("metrics", [])
            token = page.get("next_page_token")
            if not token or query.get("page_token") == token:
                return
            query["page_token"] = token

    # --- models ---

    def create_model(self, name: str, description: str) -> None:
        """Make a registered model; one of that name may be there."""
        try:
            body = {"name": name, "description": description}
            self._post("registered-models/create", body)
        except MlflowError as exc:
            if exc.code != "RESOURCE_ALREADY_EXISTS":
                raise

    def model_versions(self, run_id: str) -> list[dict[str, Any]]:
        """Return the versions of models that come from a run."""
        query = {"filter": f"run_id='{run_id}'", "max_results": "1000"}
        found: list[dict[str, Any]]
        found = self._get("model-versions/search", query).get("model_versions", [])
        return found

    def create_model_version(self, **facts: Any) -> None:
        """Make the next version of a model; not to be sent twice."""
        self._post("model-versions/create", facts)

    # --- artifacts ---

    def put(self, path: str, file: RunFile) -> None:
        """Store a file through the server's proxy of artifacts, as a whole.

        Args:
            path: From `mlflow_artifacts`, clean.
            file: What to send; its first `size` bytes.

        Raises:
            OSError: The file cannot be read.
        """
        headers = {
            "content-type": file.media_type or "application/octet-stream",
            "content-length": str(file.size),
        }
        with file.open() as source:
            pieces = pieces_of(source, file.size)
            reply = self._client.request(
                "PUT",
                f"{_ARTIFACTS}/{path}",
                content=pieces if file.size else b"",
                headers=headers,
                deadline=60.0 + file.size / _SLOWEST,
            )
        if reply.status not in (200, 201, 204):  # some proxies keep files themselves
            raise self._error(reply)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # --- requests ---

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        return self._answer(self._client.request("GET", f"{API}/{path}", query=query))

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        reply = self._client.request(
            "POST",
            f"{API}/{path}",
            content=orjson.dumps(body),
            headers={"content-type": "application/json"},
            deadline=60.0,
        )
        return self._answer(reply)

    def _answer(self, reply: Reply) -> dict[str, Any]:
        if reply.status != 200:
            raise self._error(reply)
        found = reply.json()
        if not isinstance(found, dict):  # a login page, another service
            text = f"{self._host} does not answer as MLflow does: {reply.text}"
            raise MlflowError(SendResult("blocked", text), "", 200)
        return found

    def _error(self, reply: Reply) -> MlflowError:
        """Say what a reply that is no success means."""
        found = reply.json()
        said = found if isinstance(found, dict) else {}
        code, message = said.get("error_code"), said.get("message")
        result = result_of(reply, delivered=())
        if reply.status == 403 and reply.body.startswith(_BAD_HOST.encode()):
            text = (
                f"the MLflow server refuses the host name {self._host} (HTTP 403, "
                f"{_BAD_HOST!r}): start it with --allowed-hosts {self._host}, or use "
                "its IP address"
            )
            return MlflowError(SendResult("blocked", text), "", 403)
        if not isinstance(code, str) or not isinstance(message, str):
            return MlflowError(result, "", reply.status)
        text = f"HTTP {reply.status} {code}: {excerpt(message, reply.secrets)}"
        outcome = result.outcome
        if code in ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"):
            outcome = "refused"
        elif code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"):
            outcome = "retry"
        return MlflowError(
            SendResult(outcome, text, result.retry_after), code, reply.status
        )


def _pairs(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in texts.items()]
