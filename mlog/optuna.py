"""A callback for Optuna: each trial becomes a run, a child of the study's.

study.optimize(objective, n_trials=20, callbacks=[MLogCallback()])
"""

from collections.abc import Sequence
from typing import Any

from mlog.adapters import AdapterRun, plain_params
from mlog.run.api import Run

__all__ = ["MLogCallback"]

_COMPLETE, _FAIL = "COMPLETE", "FAIL"


class MLogCallback:
    """Writes a child run for each finished trial, and the best value so far.

    A child has the trial's params, its values, the intermediate ones with their steps,
    and the tags `trial` and `state`; a trial that failed is a Failed run. The study's
    run is the active one, else one of its own, which ends with the process. Safe with
    `n_jobs`.
    """

    def __init__(
        self, run: Run | None = None, *, metrics: str | Sequence[str] = "value"
    ) -> None:
        """Prepare; no run is started.

        Args:
            run: The run of the study. None: the active one, else one of its own.
            metrics: Name of what is optimised, or one for each objective.
        """
        self._own = AdapterRun(run)
        self._metrics = [metrics] if isinstance(metrics, str) else list(metrics)

    def __call__(self, study: Any, trial: Any) -> None:
        """Write one trial. Called by Optuna."""
        run, state = self._own.run, trial.state.name
        child = run.child_run(f"trial {trial.number}")
        child.set_tags({"trial": trial.number, "state": state.lower()})
        child.log_params(plain_params(trial.params))
        if user := {**trial.user_attrs}:
            child.log_params({"user_attrs": plain_params(user)})
        name = self._name(0)
        for step, value in sorted(trial.intermediate_values.items()):
            child.log_metrics({f"intermediate/{name}": value}, step)
        if state == _COMPLETE:
            values = {self._name(i): value for i, value in enumerate(trial.values)}
            child.log_metrics(values)
            run.log_metrics(values, trial.number)
            self._tell_best(study, run, trial.number)
        if trial.duration is not None:
            child.log_metrics({"seconds": trial.duration.total_seconds()})
        if state == _FAIL:
            child.fail(trial.system_attrs.get("fail_reason", "the trial failed"))
        else:
            child.complete()

    def _name(self, index: int) -> str:
        if index < len(self._metrics):
            return self._metrics[index]
        return f"{self._metrics[0]}_{index}"

    def _tell_best(self, study: Any, run: Run, step: int) -> None:
        if len(study.directions) == 1:  # several objectives have no single best
            run.log_metrics({f"best/{self._name(0)}": study.best_value}, step)
