"""What an adapter costs a training step: `python -m tests.bench.adapters`.

Each framework that is installed trains for real, on random numbers; the time spent in
the adapter's own methods is measured from within; shown is the median over all steps. (With and
without in turn would measure the framework's own noise, which is a thousand times
larger.) The aim is 50 µs a step.
"""

import contextlib
import io
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import mlog

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["MLOG_QUIET"] = "1"

AIM = 50.0
REPETITIONS = 5
ROUNDS = 200


class Timed:
    """Stands before some methods of an adapter, and sums the time they take."""

    def __init__(self, adapter: Any, *names: str) -> None:
        self.seconds: list[float] = []
        for name in names:
            setattr(adapter, name, self._watch(getattr(adapter, name)))

    def _watch(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds.append(time.perf_counter() - started)

        return timed


def data() -> tuple[Any, Any]:
    """Return features (200 × 10) and a target."""
    import numpy

    rng = numpy.random.default_rng(0)
    return rng.random((200, 10), "f4"), rng.random(200, "f4")


def xgboost() -> Timed:
    """One metric of one set, a boosting round each."""
    import xgboost as library

    from mlog.xgboost import MLogCallback

    x, y = data()
    matrix = library.DMatrix(x, y)
    callback = MLogCallback()
    timed = Timed(callback, "after_iteration")
    library.train(
        {"max_depth": 1},
        matrix,
        ROUNDS,
        evals=[(matrix, "train")],
        callbacks=[callback],
        verbose_eval=False,
    )
    return timed


def lightgbm() -> Timed:
    """One metric of one set, a boosting round each."""
    import lightgbm as library

    from mlog.lightgbm import MLogCallback

    x, y = data()
    train = library.Dataset(x, y)
    callback = MLogCallback()

    class Step:
        """What LightGBM calls; a method of an object cannot be put before `__call__`."""

        order, before_iteration = callback.order, False

        def log(self, env: Any) -> None:
            callback(env)

        def __call__(self, env: Any) -> None:
            self.log(env)

    step = Step()
    timed = Timed(step, "log")
    library.train(
        {"num_leaves": 2, "verbosity": -1},
        train,
        ROUNDS,
        valid_sets=[train],
        callbacks=[step],
    )
    return timed


def keras() -> Timed:
    """Every batch."""
    import keras as library

    from mlog.keras import MLogCallback

    x, y = data()
    model = library.Sequential([library.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = MLogCallback(batches=1)
    timed = Timed(callback, "on_train_batch_end")
    model.fit(x, y, batch_size=4, epochs=4, verbose=0, callbacks=[callback])
    return timed


def torch_writer() -> Timed:
    """`add_scalar`, as a training loop calls it."""
    from mlog.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        timed = Timed(writer, "add_scalar")
        for step in range(10 * ROUNDS):
            writer.add_scalar("train/loss", 1 / (step + 1), step)
    return timed


def lightning() -> Timed:
    """What Lightning logs, at every step."""
    import logging

    import lightning as library
    import torch

    from mlog.lightning import MLogLogger

    class Model(library.LightningModule):  # type: ignore[misc]  # has no types here
        """One layer."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(10, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            """Log one metric."""
            loss = self.layer(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            """Return a plain one."""
            return torch.optim.SGD(self.parameters(), 0.1)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    dataset = torch.utils.data.TensorDataset(torch.tensor(data()[0]))
    logger = MLogLogger()
    timed = Timed(logger, "log_metrics")
    trainer = library.Trainer(
        max_epochs=4,
        logger=logger,
        log_every_n_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Model(), torch.utils.data.DataLoader(dataset, batch_size=4))
    return timed


def accelerate() -> Timed:
    """`accelerator.log`, at every step."""
    import accelerate as library

    from mlog.accelerate import MLogTracker

    tracker = MLogTracker()
    timed = Timed(tracker, "log")
    accelerator = library.Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("bench")
    for step in range(ROUNDS):
        accelerator.log({"loss": 1 / (step + 1)}, step=step)
    return timed


def transformers() -> Timed:
    """What a Trainer logs, at every step."""
    import torch
    import transformers as library

    from mlog.transformers import MLogCallback

    class Model(torch.nn.Module):  # type: ignore[misc]  # has no types here
        """One layer."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(10, 1)

        def forward(self, x: Any, labels: Any) -> Any:
            """Return loss and output."""
            out = self.layer(x)
            return {"loss": (out - labels).square().mean(), "logits": out}

    rows = [{"x": torch.ones(10), "labels": torch.ones(1)} for _ in range(100)]
    callback = MLogCallback()
    timed = Timed(callback, "on_log")
    with tempfile.TemporaryDirectory() as folder:
        args = library.TrainingArguments(
            folder,
            max_steps=100,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        library.utils.logging.set_verbosity_error()
        trainer = library.Trainer(
            Model(), args, train_dataset=rows, callbacks=[callback]
        )
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
    return timed


CASES: dict[str, Callable[[], Timed]] = {
    "tensorboard": torch_writer,
    "xgboost": xgboost,
    "lightgbm": lightgbm,
    "keras": keras,
    "lightning": lightning,
    "transformers": transformers,
    "accelerate": accelerate,
}


def main() -> None:
    """Measure what is installed, and print a table."""
    warnings.simplefilter("ignore")
    print(f"{'adapter':<14}{'steps':>8}{'µs a step':>12}   aim {AIM:.0f}")
    for name, case in CASES.items():
        if name != "tensorboard" and find_spec(name) is None:
            print(f"{name:<14}  is not installed")
            continue
        with tempfile.TemporaryDirectory() as root:
            os.environ["MLOG_DIR"] = root
            with mlog.start_run("bench"):
                found = [case() for _ in range(REPETITIONS)]
        cost = statistics.median(statistics.median(t.seconds) for t in found) * 1e6
        print(f"{name:<14}{len(found[0].seconds):>8}{cost:>12.1f}")


if __name__ == "__main__":
    main()
