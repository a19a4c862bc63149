"""A callback for XGBoost: every metric of every evaluation set, step by step.

xgboost.train(params, data, evals=[(valid, "valid")], callbacks=[MLogCallback()])
"""

from typing import Any

from mlog.adapters import AdapterRun, framework, joined
from mlog.run.api import Run

__all__ = ["MLogCallback"]

_xgboost = framework("xgboost")
_Base: Any = _xgboost.callback.TrainingCallback


class MLogCallback(_Base):  # type: ignore[misc]  # known when it runs
    """Logs `<set>/<metric>` of each boosting round; of `xgboost.cv` mean and deviation.

    It logs to the active run, else to one of its own, which ends with the training.
    """

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        """Prepare; no run is started.

        Args:
            run: The run to log to. None: the active one, else one of its own.
            prefix: Put before the names of the metrics, with "/".
        """
        super().__init__()
        self._own = AdapterRun(run)
        self._prefix = prefix

    def before_training(self, model: Any) -> Any:
        """Find or start the run."""
        self._own.renew()
        self._own.run  # noqa: B018  # the first use begins it
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log what the round came to; training goes on."""
        metrics: dict[str, Any] = {}
        for name, found in evals_log.items():
            for metric, values in found.items():
                key = joined(self._prefix, f"{name}/{metric}")
                value = values[-1]
                if isinstance(value, tuple):  # of `cv`: mean and standard deviation
                    metrics[key], metrics[f"{key}-std"] = value
                else:
                    metrics[key] = value
        if metrics:
            self._own.run.log_metrics(metrics, epoch)
        return False

    def after_training(self, model: Any) -> Any:
        """Log where early stopping found the best round, and end a run of its own."""
        best = _attribute(model, "best_iteration"), _attribute(model, "best_score")
        if best[0] is not None:
            named = zip(("best_iteration", "best_score"), best, strict=True)
            found = {
                joined(self._prefix, k): float(v) for k, v in named if v is not None
            }
            self._own.run.log_metrics(found)
        self._own.end()
        return model


def _attribute(model: Any, name: str) -> Any:
    """Return what early stopping has left on a booster."""
    read = getattr(model, "attr", None)
    return read(name) if callable(read) else None
