"""A callback for the Trainer of Hugging Face's Transformers.

Trainer(model, args, callbacks=[MLogCallback()], …)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlog.adapters import AdapterRun, framework, joined, plain_params
from mlog.run.api import Run

__all__ = ["MLogCallback"]

_GROUPS = ("eval_", "test_", "train_")
_NOT_KEPT = ("hub_token", "push_to_hub_token")

_Base: Any = framework("transformers").TrainerCallback


class MLogCallback(_Base):  # type: ignore[misc]  # known when it runs
    """Logs what the Trainer logs, as often as `logging_steps` says, on its main process.

    `eval_loss` becomes `eval/loss`, `loss` becomes `train/loss`. Arguments and the
    model's configuration become params; with `checkpoints=True` each saved checkpoint
    becomes an artifact.
    """

    def __init__(
        self,
        run: Run | None = None,
        *,
        checkpoints: bool = False,
        prefix: str = "",
    ) -> None:
        """Prepare; no run is started.

        Args:
            run: The run to log to. None: the active one, else one of its own, which
                ends with the training.
            checkpoints: Whether each checkpoint that is saved becomes an artifact.
            prefix: Put before the names of the metrics, with "/".
        """
        self._own = AdapterRun(run)
        self._checkpoints = checkpoints
        self._prefix = prefix

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Find or start the run, and keep what is trained with."""
        if not state.is_world_process_zero:
            return
        self._own.renew()
        given = {k: v for k, v in args.to_dict().items() if k not in _NOT_KEPT}
        params = {"trainer": given}
        config: Any = getattr(model, "config", None)
        if config is not None and hasattr(config, "to_dict"):
            params["model"] = config.to_dict()
        self._own.run.log_params(plain_params(params))

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Log what the Trainer has just logged."""
        if not state.is_world_process_zero:
            return
        metrics = {
            joined(self._prefix, _grouped(name)): value
            for name, value in (logs or {}).items()
            if isinstance(value, int | float) or hasattr(value, "item")
        }
        if metrics:
            self._own.run.log_metrics(metrics, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Store a checkpoint, if that was asked for."""
        if not (self._checkpoints and state.is_world_process_zero):
            return
        folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
        if folder.is_dir():
            self._own.run.upload_folder(f"checkpoints/{folder.name}", folder)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End a run of its own."""
        if state.is_world_process_zero:
            self._own.end()


def _grouped(name: str) -> str:
    """Return `eval/loss` for `eval_loss`, and `train/loss` for `loss`."""
    for group in _GROUPS:
        if name.startswith(group):
            return f"{group[:-1]}/{name[len(group) :]}"
    return name if name == "epoch" else f"train/{name}"
