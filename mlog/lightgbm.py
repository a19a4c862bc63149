"""A callback for LightGBM: every metric of every evaluation set, step by step.

lightgbm.train(params, data, valid_sets=[valid], callbacks=[MLogCallback()])
"""

from typing import Any

from mlog.adapters import AdapterRun, joined
from mlog.run.api import Run

__all__ = ["MLogCallback"]


class MLogCallback:
    """Logs `<set>/<metric>` of each boosting round; of `lightgbm.cv` mean and deviation.

    It logs to the active run, else to one of its own, which ends with the last round.
    Early stopping ends the training by an exception that callbacks do not see: a run of
    its own then ends with the process, or with the next training of the callback.

    Attributes:
        order: When LightGBM calls it among its callbacks: before early stopping (30).
        before_iteration: It is called after each round.
    """

    order = 20
    before_iteration = False

    def __init__(self, run: Run | None = None, *, prefix: str = "") -> None:
        """Prepare; no run is started.

        Args:
            run: The run to log to. None: the active one, else one of its own.
            prefix: Put before the names of the metrics, with "/".
        """
        self._own = AdapterRun(run)
        self._prefix = prefix

    def __call__(self, env: Any) -> None:
        """Log what a round came to. Called by LightGBM with its `CallbackEnv`."""
        if env.iteration == env.begin_iteration:
            self._own.end()
            self._own.renew()
        metrics: dict[str, Any] = {}
        for name, metric, value, _, *deviation in env.evaluation_result_list or ():
            # `cv` of LightGBM 3 names all sets "cv_agg", and the set in the metric.
            parts = metric.split(" ") if name == "cv_agg" else (name, metric)
            key = joined(self._prefix, "/".join(parts))
            metrics[key] = value
            if deviation:
                metrics[f"{key}-std"] = deviation[0]
        if metrics:
            self._own.run.log_metrics(metrics, env.iteration)
        if env.iteration == env.end_iteration - 1:
            self._own.end()
