"""A logger for Lightning's Trainer and for Fabric.

Trainer(logger=MLogLogger("my-experiment"))
Fabric(loggers=MLogLogger("my-experiment"))
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlog.adapters import AdapterRun, framework, joined, plain_params
from mlog.run.api import Run
from mlog.run.given import as_mapping

__all__ = ["MLogLogger"]


def _lightning() -> Any:
    """Return Lightning, under either of the two names it is installed by."""
    try:
        return framework("lightning.pytorch", "lightning")
    except ImportError:
        return framework("pytorch_lightning", "lightning")


_Base: Any = _lightning().loggers.logger.Logger


class MLogLogger(_Base):  # type: ignore[misc]  # known when it runs
    """Logs metrics with the step Lightning gives (`log_every_n_steps` decides how often).

    It logs to the active run, else to one of its own, which ends with the process, or
    with a training that fails.
    Under `ddp` all processes are of one run: the main one logs metrics, params and
    checkpoints, the log lines of all of them are kept.

    Attributes:
        name: The run's experiment.
        version: The run's id.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        run: Run | None = None,
        checkpoints: bool = False,
        prefix: str = "",
        **options: Any,
    ) -> None:
        """Find or start the run: processes that Lightning starts then join it.

        Args:
            experiment: Experiment of a run of its own.
            run: The run to log to. None: the active one, else one of its own.
            checkpoints: Whether each checkpoint that Lightning saves, where it always
                does, becomes an artifact as well.
            prefix: Put before the names of the metrics, with "/".
            options: Further ones of `start_run`.
        """
        super().__init__()
        self._own = AdapterRun(run, experiment=experiment, **options)
        self._checkpoints = checkpoints
        self._prefix = prefix
        self._stored: dict[str, float] = {}
        self._own.run  # noqa: B018  # the first use begins it

    @property
    def experiment(self) -> Run:
        """The run itself, for `self.logger.experiment.log_image(…)`."""
        return self._own.run

    @property
    def name(self) -> str:
        """The run's experiment."""
        return str(self._own.run.experiment)

    @property
    def version(self) -> str:
        """The run's id."""
        return self._own.run.id

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics; never raises."""
        if _is_main():
            found = {joined(self._prefix, k): v for k, v in metrics.items()}
            self._own.run.log_metrics(found, step)

    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Keep params: a mapping, an `argparse.Namespace` or an OmegaConf config."""
        if _is_main() and params is not None:
            self._own.run.log_params(plain_params(as_mapping(params)))

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Store the checkpoints that are new, if that was asked for."""
        if not (self._checkpoints and _is_main()):
            return
        for name in ("best_model_path", "last_model_path"):
            path = getattr(checkpoint_callback, name, "")
            if path and os.path.isfile(path):
                self._store(Path(path))

    def finalize(self, status: str) -> None:
        """End a run of its own that failed; Lightning calls it after every stage.

        After "success" the run goes on, for `trainer.test` may follow `fit`; it ends
        with the process, or by `logger.experiment.complete()`.
        """
        if not _is_main():
            return
        if status in ("success", "finished"):
            self._own.run.flush()
        else:
            error = sys.exception() or RuntimeError(f"the training was {status}")
            self._own.end(error)

    def _store(self, path: Path) -> None:
        changed = path.stat().st_mtime
        if self._stored.get(str(path)) != changed:
            self._own.run.upload_file(f"checkpoints/{path.name}", path)
            self._stored[str(path)] = changed


def _is_main() -> bool:
    """Whether this process logs: rank 0 of a distributed job, or a job of its own."""
    return bool(
        framework("lightning_utilities.core.rank_zero").rank_zero_only.rank == 0
    )
