"""`HyperDriveRun`: a sweep and its child runs."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlog.azureml.core.run import Run
from mlog.azureml.train.hyperdrive.exceptions import HyperDriveConfigException
from mlog.errors import MlogError
from mlog.launch.sweep_plan import Plan
from mlog.launch.sweep_stop import better
from mlog.launch.sweep_trials import Trial, is_sweep, read_plan, read_trials
from mlog.reader.metrics import read_metrics
from mlog.reader.series import read_history
from mlog.reader.state import read_state
from mlog.run.family import fits, handle
from mlog.run.launched import SCRIPT_RUN, request_cancel

__all__ = ["HyperDriveRun"]


class HyperDriveRun(Run):
    """The run of a sweep.

    A process of its own conducts it, which goes on when this one ends.
    """

    _hyperdrive_config: Any = None

    def __init__(
        self,
        experiment: Any,
        run_id: str,
        hyperdrive_config: Any = None,
        **kwargs: Any,
    ) -> None:
        """Get hold of a sweep that is there.

        Args:
            experiment: Its `Experiment`.
            run_id: Its id, or the beginning of it.
            hyperdrive_config: What `hyperdrive_config` is then.
            **kwargs: Not used.

        Raises:
            RunNotFoundError: There is no such run.
            HyperDriveConfigException: It is no sweep.
        """
        super().__init__(experiment, run_id)
        if not is_sweep(self._need_path()):
            raise HyperDriveConfigException(f"run {run_id!r} is no sweep")
        self._hyperdrive_config = hyperdrive_config

    @property
    def hyperdrive_config(self) -> Any:
        """What it was submitted with; None where that was elsewhere."""
        return self._hyperdrive_config

    def cancel(self) -> bool:  # type: ignore[override]  # as the SDK has it
        """End the sweep and its child runs; return whether it went on."""
        return request_cancel(self._need_path())

    def get_children(  # type: ignore[override]  # they are no sweeps
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: str | None = None,
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Run]:
        """Yield the child runs, newest first; see `Run.get_children`."""
        workspace = self.experiment.workspace
        for state in self._children(recursive):
            if fits(state, tags, properties, status, type):
                run = handle(Run, state.folder, state)
                run.belongs_to(workspace)
                yield run

    def get_best_run_by_primary_metric(
        self,
        include_failed: bool = True,
        include_canceled: bool = True,
        include_resume_from_runs: bool = True,
    ) -> Run | None:
        """Return the best child run by the primary metric; None where none has it.

        Args:
            include_failed: Whether one that failed may be it.
            include_canceled: Whether one that was canceled may be it.
            include_resume_from_runs: Not used.
        """
        left_out = [] if include_failed else ["Failed", "NotResponding"]
        left_out += [] if include_canceled else ["Canceled"]
        for child in self.get_children_sorted_by_primary_metric(discard_no_metric=True):
            if child["status"] not in left_out:
                run = handle(Run, self._folder_of(child["run_id"]))
                run.belongs_to(self.experiment.workspace)
                return run
        return None

    def get_children_sorted_by_primary_metric(
        self, top: int = 0, reverse: bool = False, discard_no_metric: bool = False
    ) -> list[dict[str, Any]]:
        """Return the child runs, the best first.

        Args:
            top: How many at most; 0: all.
            reverse: Whether the worst comes first.
            discard_no_metric: Whether those without the metric are left out; else they
                come last.

        Returns:
            For each `run_id`, `hyperparameters` (JSON), `best_primary_metric` and
            `status`.
        """
        plan = read_plan(self._need_path())
        found = [_child(trial, plan) for trial in self._trials()]
        known = [child for child in found if child["best_primary_metric"] is not None]
        known.sort(
            key=lambda child: float(child["best_primary_metric"]),
            reverse=plan.minimize == reverse,
        )
        if not discard_no_metric:
            known += [c for c in found if c["best_primary_metric"] is None]
        return known[:top] if top else known

    def get_hyperparameters(self) -> dict[str, str]:
        """Return the parameters of each child run as JSON, by its id."""
        return {trial.run_id: json.dumps(trial.params) for trial in self._trials()}

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """Return the metrics of all child runs, by their ids.

        Args:
            name: Only this metric.
            recursive: Not used.
            run_type: Only of child runs of this type: all are "azureml.scriptrun".
            populate: Return the content of artifacts instead of their names.
        """
        found: dict[str, Any] = {}
        if run_type not in (None, SCRIPT_RUN):
            return found
        for trial in self._trials():
            assert trial.path is not None
            try:
                found[trial.run_id] = read_metrics(trial.path, name, populate=populate)
            except (OSError, MlogError):  # only just beginning, or removed
                continue
        return found

    def _trials(self) -> list[Trial]:
        """Return the trials that have a run."""
        return [t for t in read_trials(self._need_path()) if t.path is not None]

    def _folder_of(self, run_id: str) -> Path:
        return self._need_path().parent / run_id


def _child(trial: Trial, plan: Plan) -> dict[str, Any]:
    assert trial.path is not None
    status, value = trial.status, trial.value
    if not trial.is_over:
        try:
            status = read_state(trial.path).status
            value = _best_so_far(trial, plan)
        except (OSError, MlogError):  # only just beginning
            status = "NotStarted"
    return {
        "run_id": trial.run_id,
        "hyperparameters": json.dumps(trial.params),
        "best_primary_metric": value,
        "status": status,
    }


def _best_so_far(trial: Trial, plan: Plan) -> float | None:
    assert trial.path is not None
    values = read_history(trial.path, plan.metric or "").values
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return better(numbers, plan.minimize) if numbers else None
