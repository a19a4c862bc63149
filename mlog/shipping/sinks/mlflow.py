"""MLflow tracking servers: `mlflow+http(s)://host:port[/base]`.

| mlog | MLflow |
|---|---|
| experiment, run | the same; our id is the tag `mlog.run_id`, a parent `mlflow.parentRunId` |
| metrics | metrics with their own time and step, at most 1,000 a request |
| params, tags, properties | params; tags; tags named `mlog.property.…` |
| artifacts, segments | artifacts, through the server's proxy; segments below `mlog/` |
| models | registered models, with files below `models/` |
| statuses | FINISHED, FAILED, KILLED, RUNNING, SCHEDULED; ours is the tag `mlog.status` |

Log lines go as files: MLflow has no other place for them. What MLflow would damage
without a word is never sent (see `mlflow_batches`), and when a run has ended its points
are counted back (see `mlflow_check`).

| parameter | meaning | default |
|---|---|---|
| `rank` | `all`: metrics of all ranks, those of rank 3 named `loss.rank3` | rank 0 |
| `experiment` | takes the runs of all experiments | each its own |
| `check` | `all`: count every point back; `off`: none | 50,000 points of a run |

Credentials: of the URL, else the token of the target, else `MLFLOW_TRACKING_USERNAME`
and `MLFLOW_TRACKING_PASSWORD`, else `MLFLOW_TRACKING_TOKEN`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from mlog.errors import MlogError, ModelNotFoundError
from mlog.http import Auth
from mlog.reader.entries import read_blocks, read_writers
from mlog.shipping.http import bearer
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    Rejected,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Target,
    Traits,
)
from mlog.shipping.sinks.mlflow_api import MlflowApi, MlflowError
from mlog.shipping.sinks.mlflow_artifacts import (
    FileStore,
    ProxyStore,
    StoreError,
    artifact_name,
    register_model,
)
from mlog.shipping.sinks.mlflow_batches import (
    MAX_PARAMS,
    Metric,
    in_batches,
    metrics_of,
    status_of,
    tag_text,
    time_or_none,
)
from mlog.shipping.sinks.mlflow_check import mark_of, missing
from mlog.shipping.sinks.mlflow_events import Changes, Texts, changes_of
from mlog.shipping.sinks.mlflow_runs import RemoteRun, RemoteRuns
from mlog.sources.mlflow_client import credentials_of

__all__ = ["MlflowSink", "mlflow_auth", "open_sink"]

_CHECKED = 50_000
_CHECKS = {"all": 1 << 62, "off": 0}
_STATUS = "mlog.status"
_T = TypeVar("_T")
_TRIES = 3  # sendings after which an error of the server counts as one of the batch


def open_sink(target: Target) -> "MlflowSink":
    """Make the sink of a `mlflow+http(s)://` target."""
    return MlflowSink(target)


def mlflow_auth(target: Target) -> Auth:
    """Return the credentials of a target, with MLflow's own variables as the last."""
    usual = bearer(target)
    return lambda: usual() or credentials_of(target.env)


class MlflowSink:
    """Keeps runs of mlog as runs of an MLflow server. See the module."""

    traits = Traits(
        streams=frozenset(("metrics", "events")),
        artifacts=True,
        segments="at_end",
        max_entries=1_000,
        max_bytes=1 << 20,
        has_key=True,
    )

    def __init__(
        self,
        target: Target,
        *,
        auth: Auth | None = None,
        job: str | None = None,
        store: FileStore | None = None,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            target: Where to.
            auth: Gives credentials. Default: `mlflow_auth`.
            job: Id of a run on the server that is ours already; see `RemoteRuns`.
            store: Keeps files; closed with the sink. Default: the server's proxy.

        Raises:
            MlogError: A parameter is none of those above.
        """
        query = dict(target.query)
        rank, check = query.pop("rank", "0"), query.pop("check", "")
        experiment = query.pop("experiment", None)
        if rank not in ("0", "all"):
            raise MlogError(f"rank must be 0 or all, got {rank!r}")
        if check not in ("", *_CHECKS):
            raise MlogError(f"check must be all or off, got {check!r}")
        if query:
            raise MlogError(
                f"an MLflow target takes rank, experiment and check, got {min(query)!r}"
            )
        client = MlflowApi.client(target, auth=auth or mlflow_auth(target))
        self._api = MlflowApi(target, client)
        self._store = store or ProxyStore(self._api)
        self._checks = check != "off"
        self._runs = RemoteRuns(
            self._api,
            experiment=experiment,
            job=job,
            limit=_CHECKS.get(check, _CHECKED),
        )
        self._all_ranks = rank == "all"
        self._failed = ("", 0)  # the batch that met an error of the server, how often

    def send(self, batch: Batch) -> SendResult:
        """Deliver metrics, or what events change."""
        suffix = self._suffix(batch.writer.rank)
        if batch.stream == "metrics" and suffix is None:
            return DELIVERED

        def deliver(remote: RemoteRun) -> SendResult:
            self._revive(remote)
            if batch.stream == "metrics":
                return self._send_metrics(remote, batch, suffix or "")
            return self._send_events(remote, batch)

        return self._with_remote(batch.run, deliver, count=batch.count, key=batch.key)

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Store an artifact or a segment."""

        def deliver(remote: RemoteRun) -> SendResult:
            self._store.put(remote, file, artifact_name(file.name))
            return DELIVERED

        return self._with_remote(run, deliver)

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Set the status, once all points are known to be there."""

        def deliver(remote: RemoteRun) -> SendResult:
            rejected = self._count_back(run, remote) if self._checks else ()
            tags = {_STATUS: end.status}
            if end.error:
                said = (end.error.get("type"), end.error.get("msg"))
                tags["mlog.error"] = ": ".join(str(part) for part in said if part)
            self._set_tags(remote, {k: tag_text(v) for k, v in tags.items()})
            if not remote.is_job:  # the job's own service ends its run
                remote.status = status_of(end.status)
                facts = {"status": remote.status, "end_time": time_or_none(end.ended)}
                facts = {name: fact for name, fact in facts.items() if fact is not None}
                self._api.update_run(remote.id, **facts)
            return SendResult("delivered", rejected=rejected)

        return self._with_remote(run, deliver)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self._store.close()

    # --- one call ---

    def _with_remote(
        self,
        run: RunFacts,
        deliver: Callable[[RemoteRun], SendResult],
        *,
        count: int = 1,
        key: str = "",
    ) -> SendResult:
        """Deliver something to the server's run, and say what came of it."""
        try:
            remote = self._runs.find(run)
            if remote.gone:
                return _gone(remote.gone, count)
            return deliver(remote)
        except StoreError as exc:
            return exc.result
        except MlflowError as exc:
            error = exc
        if error.is_deleted or error.is_missing:
            self._runs.forget(run)
        if error.is_deleted:  # the run, or its experiment: that is waited for
            return self._deleted(run, count)
        if error.is_missing:  # for good: the run is looked for, or made, anew
            return replace(error.result, outcome="retry")
        if error.status == 500:
            return self._of_server_error(error, key)
        return error.result

    def _deleted(self, run: RunFacts, count: int) -> SendResult:
        """Look what was deleted.

        Raises:
            DeletedError: The experiment.
        """
        try:
            remote = self._runs.find(run)
        except MlflowError as exc:
            return exc.result
        if remote.gone:
            return _gone(remote.gone, count)
        return SendResult("retry", "the run was deleted, but is there again")

    def _of_server_error(self, exc: MlflowError, key: str) -> SendResult:
        """Tell what the server cannot stand from a server that stands nothing.

        MLflow answers 500 to what it cannot parse; so it will for ever. If it goes on
        answering so while it answers other requests well, it is the batch. Its page for
        what is no JSON to it tells so at once.
        """
        self._failed = key, self._failed[1] + 1 if self._failed[0] == key else 1
        if self._failed[1] < _TRIES and not exc.is_page:
            return exc.result
        try:
            self._api.experiment("Default")
        except MlogError:
            return exc.result
        return replace(exc.result, outcome="refused")

    def _revive(self, remote: RemoteRun) -> None:
        """Let a run that was taken for dead be running again: it goes on."""
        if remote.tags.get(_STATUS) != "NotResponding":
            return
        if not remote.is_job:
            self._api.update_run(remote.id, status="RUNNING")
            remote.status = "RUNNING"
        self._set_tags(remote, {_STATUS: "Running"})

    # --- metrics ---

    def _suffix(self, rank: int | None) -> str | None:
        """Return what comes behind the names of a rank's metrics; None: not sent."""
        if not rank:
            return ""
        return f".rank{rank}" if self._all_ranks else None

    def _send_metrics(self, remote: RemoteRun, batch: Batch, suffix: str) -> SendResult:
        found = metrics_of(batch.entries, suffix)
        self._log_points(remote, found.points)
        self._set_tags(remote, found.tags)
        return SendResult("delivered", rejected=_rejected(found.refused))

    def _log_points(self, remote: RemoteRun, points: list[Metric]) -> None:
        for piece in in_batches(points):
            self._api.log_metrics(remote.id, piece)
            if self._checks:
                remote.sent.add(piece)

    def _count_back(self, run: RunFacts, remote: RemoteRun) -> tuple[Rejected, ...]:
        """Look whether all acknowledged points are there; send again what is not."""
        lost = missing(self._api, remote.id, remote.sent)
        if not lost:
            return ()
        for points in self._points_again(run, lost):
            self._log_points(remote, points)
        lost = missing(self._api, remote.id, remote.sent)
        return tuple(
            Rejected(f"{key}: acknowledged by the server, but not there", None, n)
            for key, marks in lost.items()
            for n in (max(1, len(marks)),)
        )

    def _points_again(
        self, run: RunFacts, lost: Mapping[str, set[int]]
    ) -> Iterator[list[Metric]]:
        """Yield the points of a run that are among the lost; all of a key without marks."""
        for writer in read_writers(run.folder):
            suffix = self._suffix(writer.rank)
            if suffix is None:
                continue
            for block in read_blocks(run.folder, writer.segments.get("metrics", ())):
                yield [
                    point
                    for point in metrics_of(block.entries, suffix).points
                    if (marks := lost.get(point["key"])) is not None
                    and (not marks or mark_of(point) in marks)
                ]

    # --- events ---

    def _send_events(self, remote: RemoteRun, batch: Batch) -> SendResult:
        changes = changes_of(batch.entries)
        refused = changes.refused
        self._log_each(changes.params, remote, self._api.log_params, refused)
        new = {k: v for k, v in changes.tags.items() if remote.tags.get(k) != v[0]}
        self._log_each(new, remote, self._api.set_tags, refused)
        remote.tags |= {key: text for key, (text, _) in new.items()}
        for key in changes.removed & remote.tags.keys():
            self._api.delete_tag(remote.id, key)
            del remote.tags[key]
        self._update(remote, changes)
        self._register(remote, batch.run, changes)
        return SendResult("delivered", rejected=_rejected(refused))

    def _update(self, remote: RemoteRun, changes: Changes) -> None:
        """Set name and status where they have changed."""
        facts = {} if changes.name is None else {"run_name": changes.name}
        word = changes.status
        if word is not None and word != remote.status and not remote.is_job:
            facts["status"] = word
        if facts:
            self._api.update_run(remote.id, **facts)
            remote.status = facts.get("status", remote.status)

    def _register(self, remote: RemoteRun, run: RunFacts, changes: Changes) -> None:
        for index, data in changes.models:
            try:
                register_model(self._api, self._store, remote, run, data)
            except ModelNotFoundError as exc:
                changes.refused[index] = str(exc)
            except (StoreError, MlflowError) as exc:
                if exc.result.outcome not in ("refused", "too_large"):
                    raise
                changes.refused[index] = str(exc)

    def _set_tags(self, remote: RemoteRun, tags: Mapping[str, str]) -> None:
        """Set tags that are known to be good."""
        new = {k: v for k, v in tags.items() if remote.tags.get(k) != v}
        for part in _in_parts(new):
            self._api.set_tags(remote.id, part)
            remote.tags |= part

    def _log_each(
        self,
        texts: Texts,
        remote: RemoteRun,
        log: Callable[[str, Mapping[str, str]], None],
        refused: dict[int, str],
    ) -> None:
        """Log params or tags; those that are refused are found, the others go through."""
        for part in _in_parts(texts):
            try:
                log(remote.id, {key: text for key, (text, _) in part.items()})
            except MlflowError as exc:
                if not exc.is_refused or exc.is_missing or exc.is_deleted:
                    raise
                if len(part) == 1:
                    refused[next(iter(part.values()))[1]] = str(exc)
                    continue
                for half in _in_parts(part, (len(part) + 1) // 2):
                    self._log_each(half, remote, log, refused)


def _in_parts(
    texts: Mapping[str, _T], size: int = MAX_PARAMS
) -> Iterator[dict[str, _T]]:
    items = list(texts.items())
    for start in range(0, len(items), size):
        yield dict(items[start : start + size])


def _rejected(refused: Mapping[int, str]) -> tuple[Rejected, ...]:
    return tuple(Rejected(reason, index) for index, reason in sorted(refused.items()))


def _gone(reason: str, count: int) -> SendResult:
    return SendResult("delivered", rejected=(Rejected(reason, None, count),))
