"""FLAML: every trial of an AutoML fit, with its learner, loss and time.

    automl = mlog.flaml.watch(AutoML())
    automl.fit(x, y, task="regression", time_budget=60)

FLAML's own log lines reach the run like those of any library; this adds the numbers,
from the training log that FLAML writes, a JSON line per trial.
"""

import functools
import json
import logging
import os
import tempfile
from collections.abc import Callable
from typing import IO, Any, TypeVar

from mlog.adapters import AdapterRun, plain_params
from mlog.errors import warn_once
from mlog.run.api import Run

__all__ = ["watch"]

A = TypeVar("A")

_LOGGER = "flaml.automl.logger"
_METRICS = ("validation_loss", "trial_time", "wall_clock_time", "sample_size")


def watch(automl: A, *, run: Run | None = None) -> A:
    """Record the next `fit` of a `flaml.AutoML`, trial by trial as they end.

    The step of a trial's metrics is its number; its learner and configuration are kept
    beside them. The best configuration becomes a param. What goes wrong with the
    recording warns; the fit is none the worse.

    Args:
        automl: The object to be fitted.
        run: The run to log to. None: the active one at the fit, else one of its own,
            which ends with the fit.

    Returns:
        The object itself.

    Raises:
        TypeError: It has no `fit`.
    """
    fit = getattr(automl, "fit", None)
    if not callable(fit):
        raise TypeError(f"watch takes a flaml.AutoML, got {type(automl).__name__}")
    given: Any = automl
    given.fit = _watched(given, fit, AdapterRun(run))
    return automl


def _watched(
    automl: Any, fit: Callable[..., Any], own: AdapterRun
) -> Callable[..., Any]:
    @functools.wraps(fit)
    def watched(*args: Any, **kwargs: Any) -> Any:
        vars(automl).pop("fit", None)
        logger = logging.getLogger(_LOGGER)
        with tempfile.TemporaryDirectory() as folder:
            path = kwargs.setdefault("log_file_name", os.path.join(folder, "log"))
            kwargs.setdefault("log_type", "all")
            trials = _Trials(own.run, path)
            logger.addFilter(trials)
            try:
                result = fit(*args, **kwargs)
            except BaseException as exc:
                trials.catch_up()
                own.end(exc)
                raise
            finally:
                logger.removeFilter(trials)
                trials.close()
        _tell_best(own.run, automl)
        own.end()
        return result

    return watched


class _Trials(logging.Filter):
    """Logs the trials that the training log has more of, at each line FLAML logs."""

    def __init__(self, run: Run, path: str) -> None:
        super().__init__()
        self._run = run
        self._path = path
        self._file: IO[str] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Read on; let every line pass."""
        self.catch_up()
        return True

    def catch_up(self) -> None:
        """Log the trials that have ended since the last call."""
        try:
            if self._file is None:
                self._file = open(self._path, encoding="utf-8")
            while (line := self._file.readline()).endswith("\n"):
                self._log(json.loads(line))
        except (OSError, ValueError):  # not there yet, or half a line
            return

    def close(self) -> None:
        """Read the rest, and let the file go."""
        self.catch_up()
        if self._file is not None:
            self._file.close()

    def _log(self, trial: dict[str, Any]) -> None:
        if "record_id" not in trial:  # says which one was the best
            return
        metrics = {name: trial[name] for name in _METRICS if name in trial}
        metrics["learner"] = trial.get("learner")
        number = trial["record_id"]
        self._run.log_metrics({f"trial/{k}": v for k, v in metrics.items()}, number)
        config = plain_params(trial.get("config") or {})
        self._run.log_row("trials", number=number, learner=metrics["learner"], **config)


def _tell_best(run: Run, automl: Any) -> None:
    try:
        run.log_params(
            {
                "best_learner": automl.best_estimator,
                "best_config": plain_params(automl.best_config or {}),
            }
        )
        run.log_metrics({"best/validation_loss": automl.best_loss})
    except Exception as exc:
        warn_once("flaml", f"the best of the fit could not be recorded: {exc!r}")
