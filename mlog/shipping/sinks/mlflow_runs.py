"""Runs of mlog as runs of MLflow: found again by a tag, else made.

MLflow names runs itself, and making one is not safe to repeat: the answer may be lost.
So every run carries our id as the tag `mlog.run_id`, and is looked for before it is
made. Two shippers (of two hosts) may still make it at once; each looks again after it
has made one, and the earliest by `mlog.claimed` stays.

A run that somebody deleted on the server is not made again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlog.errors import MlogError, RunNotFoundError
from mlog.layout import is_slug
from mlog.reader.state import read_state
from mlog.shipping.sink import RunFacts
from mlog.shipping.sinks.mlflow_api import MlflowApi, MlflowError
from mlog.shipping.sinks.mlflow_batches import tag_text, time_or_none
from mlog.shipping.sinks.mlflow_check import Acknowledged
from mlog.shipping.sinks.mlflow_events import start_tags

__all__ = ["DeletedError", "RemoteRun", "RemoteRuns"]

RUN_ID = "mlog.run_id"
PARENT_ID = "mlog.parent_run_id"
_CLAIMED = "mlog.claimed"
_CREATED = "mlog.created"
_PARENT = "mlflow.parentRunId"
_MAX_EXPERIMENT = 500
_MAX_KEPT = 256


class DeletedError(MlogError):
    """The experiment of a run was deleted; its data waits until it is restored."""


@dataclass(slots=True)
class RemoteRun:
    """A run of the server.

    Attributes:
        id: The server's.
        experiment: Id of its experiment.
        artifacts: Where its artifacts are, a URI.
        status: In MLflow's words.
        gone: Why nothing can be sent to it any more; "" as long as it can.
        is_job: Whether the service that started us made it, and will end it.
        sent: Points that were acknowledged.
        tags: Those that were set, so that none is set twice in a row.
    """

    id: str
    experiment: str
    artifacts: str
    status: str
    sent: Acknowledged
    gone: str = ""
    is_job: bool = False
    tags: dict[str, str] = field(default_factory=dict)


class RemoteRuns:
    """Finds and makes the runs of one server; remembers the last some hundred."""

    def __init__(
        self,
        api: MlflowApi,
        *,
        experiment: str | None = None,
        job: str | None = None,
        limit: int,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Begin with none.

        Args:
            api: The server.
            experiment: Takes the runs of all experiments. None: each its own.
            job: Id of a run on the server that the first run without a parent is.
            limit: For `Acknowledged`.
            clock: Nanoseconds since the epoch.
        """
        self._api = api
        self._experiment = experiment
        self._job = job
        self._limit = limit
        self._clock = clock
        self._known: dict[str, RemoteRun] = {}
        self._experiments: dict[str, str] = {}

    def find(self, run: RunFacts) -> RemoteRun:
        """Return the server's run for one of ours; make it where there is none.

        Raises:
            MlflowError, HttpError: The server does not let us, or does not answer.
        """
        known = self._known.get(run.key)
        if known is None:
            known = self._found(run)
            while len(self._known) >= _MAX_KEPT:
                del self._known[next(iter(self._known))]
            self._known[run.key] = known
        return known

    def forget(self, run: RunFacts) -> None:
        """Look for a run and its experiment anew next time."""
        self._known.pop(run.key, None)
        self._experiments.clear()

    # --- finding ---

    def _found(self, run: RunFacts) -> RemoteRun:
        if self._job is not None and run.parent is None:
            return self._of_job(run, self._job)
        name = (self._experiment or run.experiment)[:_MAX_EXPERIMENT]
        experiment = self._experiment_id(name)
        found = self._search(experiment, run.run_id)
        if found is None:
            found = self._made(run, experiment)
        remote = self._remote(found)
        if not remote.gone:
            self._adopt_children(experiment, run.run_id, remote.id)
        return remote

    def _made(self, run: RunFacts, experiment: str) -> dict[str, Any]:
        """Make a run, and return the one that stays."""
        made = self._api.create_run(experiment, **self._facts(run, experiment))
        found = self._search(experiment, run.run_id) or made
        if found["info"]["run_id"] != made["info"]["run_id"]:
            self._api.delete_run(made["info"]["run_id"])  # another shipper was first
        return found

    def _of_job(self, run: RunFacts, job: str) -> RemoteRun:
        """Return the run of the job that this process is, and mark it as ours."""
        found = self._api.run(job)
        remote = self._remote(found)
        remote.is_job = True
        owner = _tags(found).get(RUN_ID)
        if owner is None:
            self._api.set_tags(job, {RUN_ID: run.run_id, _CREATED: run.created})
        return remote

    def _experiment_id(self, name: str) -> str:
        """Return the id of an experiment; made where there is none.

        Raises:
            DeletedError: Somebody has deleted it.
        """
        known = self._experiments.get(name)
        if known is not None:
            return known
        found = self._api.experiment(name)
        if found is None:
            self._api.create_experiment(name)
            found = self._api.experiment(name)
        if found is None or found.deleted:
            raise DeletedError(
                f"experiment {name!r} was deleted on the server; restore it there, or "
                "name another one by ?experiment="
            )
        self._experiments[name] = found.id
        return found.id

    def _search(self, experiment: str, run_id: str) -> dict[str, Any] | None:
        """Return the server's run with our id; of several the one claimed first.

        One that is not deleted goes before one that is.
        """
        found = self._api.runs(experiment, RUN_ID, run_id)
        return min(found, key=_precedence, default=None)

    def _remote(self, found: Mapping[str, Any]) -> RemoteRun:
        info = found["info"]
        gone = "" if info.get("lifecycle_stage") != "deleted" else _DELETED
        return RemoteRun(
            id=info["run_id"],
            experiment=str(info["experiment_id"]),
            artifacts=info.get("artifact_uri", ""),
            status=info.get("status", ""),
            sent=Acknowledged(self._limit),
            gone=gone,
            tags=_tags(found),
        )

    # --- making ---

    def _facts(self, run: RunFacts, experiment: str) -> dict[str, Any]:
        tags = {
            RUN_ID: run.run_id,
            _CREATED: run.created,
            _CLAIMED: f"{self._clock():020d}",
            **start_tags(run.start),
        }
        parent = _parent_folder(run)
        if parent is not None:
            tags[PARENT_ID] = parent.name
            if there := self._parent(parent, experiment):
                tags[_PARENT] = there
        return {
            "run_name": run.name,
            "start_time": time_or_none(run.created) or 0,
            "tags": [{"key": k, "value": tag_text(v)} for k, v in tags.items() if v],
        }

    def _parent(self, parent: Path, experiment: str) -> str | None:
        """Return the server's id of the run that another is a child of, if it is there.

        Args:
            parent: Its folder, which may be gone.
            experiment: Id of the child's experiment; the parent's may be another one.
        """
        if self._job is not None:
            return self._job
        if self._experiment is None:
            try:
                name = read_state(parent).experiment
            except (RunNotFoundError, OSError):
                name = ""
            if name and (found := self._api.experiment(name[:_MAX_EXPERIMENT])):
                experiment = found.id
        there = self._search(experiment, parent.name)
        return None if there is None else str(there["info"]["run_id"])

    def _adopt_children(self, experiment: str, run_id: str, remote: str) -> None:
        """Put the children that came before their parent below it."""
        for child in self._api.runs(experiment, PARENT_ID, run_id):
            is_active = child["info"].get("lifecycle_stage") != "deleted"
            if is_active and _PARENT not in _tags(child):
                try:
                    self._api.set_tags(child["info"]["run_id"], {_PARENT: remote})
                except MlflowError as exc:
                    if not exc.is_refused:
                        raise


def _parent_folder(run: RunFacts) -> Path | None:
    """Return the folder of a run's parent; None for one that lies below another root.

    Runs may be those of somebody else, who must not make us read elsewhere.
    """
    if run.parent is None:
        return None
    parent, root = Path(run.parent), run.folder.parent.parent
    is_run = parent.parent.parent == root and all(map(is_slug, parent.parts[-2:]))
    return parent if is_run else None


_DELETED = "the run was deleted on the server; restore it there to go on"


def _precedence(found: Mapping[str, Any]) -> tuple[bool, str, str]:
    info = found["info"]
    is_deleted = info.get("lifecycle_stage") == "deleted"
    return is_deleted, _tags(found).get(_CLAIMED, ""), info["run_id"]


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    tags = found.get("data", {}).get("tags", [])
    return {tag["key"]: tag.get("value", "") for tag in tags}
