"""A callback for Keras: metrics of each epoch and, if wanted, of each batch.

model.fit(x, y, callbacks=[MLogCallback()])
"""

from collections.abc import Mapping
from typing import Any

from mlog.adapters import AdapterRun, framework, joined, plain_params
from mlog.run.api import Run

__all__ = ["MLogCallback"]

_keras = framework("keras")
_Base: Any = _keras.callbacks.Callback


class MLogCallback(_Base):  # type: ignore[misc]  # known when it runs
    """Logs `epoch/<metric>` with the epoch, and `batch/<metric>` with the batch as step.

    It logs to the active run, else to one of its own, which ends with the training.
    """

    def __init__(
        self,
        run: Run | None = None,
        *,
        batches: int = 0,
        store_model: bool = False,
        prefix: str = "",
    ) -> None:
        """Prepare; no run is started.

        Args:
            run: The run to log to. None: the active one, else one of its own.
            batches: Log every so many batches, counted over all epochs; 0: none. Reading
                a batch's metrics makes an accelerator finish it first.
            store_model: Whether the model becomes the artifact `model.keras` at the end.
            prefix: Put before the names of the metrics, with "/".

        Raises:
            ValueError: `batches` is negative.
        """
        super().__init__()
        if batches < 0:
            raise ValueError(f"batches must be an integer >= 0, got {batches!r}")
        self._own = AdapterRun(run)
        self._every = batches
        self._stores_model = store_model
        self._prefix = prefix
        self._batch = 0
        self._is_training = False

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Find or start the run, and keep what the model is trained with."""
        self._own.renew()
        self._is_training = True
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            config = plain_params(optimizer.get_config())
            self._own.run.log_params({joined(self._prefix, "optimizer"): config})

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Log a batch, if it is its turn."""
        self._batch += 1
        if self._every and self._batch % self._every == 0:
            self._log("batch", logs, self._batch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log an epoch."""
        self._log("epoch", logs, epoch)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log what `model.evaluate` found; within `fit` the epoch has it."""
        if not self._is_training:
            self._log("test", logs, None)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Store the model if that was asked for, and end a run of its own."""
        self._is_training = False
        if self._stores_model:
            self._store()
        self._own.end()

    def _log(self, kind: str, logs: Mapping[str, Any] | None, step: int | None) -> None:
        prefix = joined(self._prefix, kind)
        metrics = {joined(prefix, name): value for name, value in (logs or {}).items()}
        if metrics:
            self._own.run.log_metrics(metrics, step)

    def _store(self) -> None:
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            self.model.save(path)
            self._own.run.upload_file("model.keras", path)
