"""Lightning and Fabric, with the real library on the CPU."""

from pathlib import Path
from typing import Any

import pytest

import mlog
from tests.helpers import run_python

torch: Any = pytest.importorskip("torch")
lightning: Any = pytest.importorskip("lightning")

TRAINING = """
import sys, torch, lightning, mlog
from mlog.lightning import MLogLogger

class Model(lightning.LightningModule):
    def __init__(self, lr=0.125):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, _):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss)
        if len(sys.argv) > 1 and sys.argv[1] == "fail" and self.global_step == 3:
            raise ValueError("diverged")
        return loss
    def test_step(self, batch, _):
        self.log("test/loss", self.layer(batch[0]).square().mean())
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.hparams.lr)

def main(**options):
    data = torch.utils.data.TensorDataset(torch.ones(40, 2))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    logger = MLogLogger("lit", checkpoints=True)
    trainer = lightning.Trainer(max_epochs=2, logger=logger, log_every_n_steps=5,
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, **options)
    trainer.fit(Model(), loader)
    trainer.test(Model(), loader, verbose=False)

if __name__ == "__main__":
    main(**(dict(strategy="ddp", devices=2) if "ddp" in sys.argv else dict(devices=1)))
"""


def train(tmp_path: Path, *args: str) -> tuple[Any, str]:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    done = run_python(script, *args, warnings="ignore", timeout=120)
    return done, done.stderr


def test_metrics_params_and_checkpoints_of_a_training(tmp_path: Path) -> None:
    done, told = train(tmp_path)
    assert done.returncode == 0, told
    run = mlog.open_run("latest")
    history = run.history("train/loss")
    assert list(history.steps) == [4, 9, 14, 19], "as log_every_n_steps says"
    assert run.params == {"lr": 0.125}
    assert [n for n in run.get_file_names() if n.startswith("checkpoints/")]
    assert len(run.history("test/loss").steps) == 1, "a test after the fit is kept"
    assert run.status == "Completed"


def test_a_training_that_fails_is_a_failed_run(tmp_path: Path) -> None:
    done, _ = train(tmp_path, "fail")
    assert done.returncode == 1
    run = mlog.open_run("latest")
    assert run.status == "Failed"
    assert "diverged" in str(run.get_details()["error"])


@pytest.mark.slow
def test_two_processes_of_ddp_make_one_run(tmp_path: Path) -> None:
    """The main process logs; the other one joins, or writes nothing."""
    done, told = train(tmp_path, "ddp")
    assert done.returncode == 0, told
    (run,) = mlog.runs("lit")
    assert list(run.history("train/loss").steps) == [4, 9], "20 steps for two processes"
    assert run.params == {"lr": 0.125}
    assert run.status == "Completed"


def test_fabric_logs_through_it() -> None:
    from mlog.lightning import MLogLogger

    with mlog.start_run("e") as run:
        fabric = lightning.Fabric(loggers=MLogLogger(), accelerator="cpu", devices=1)
        fabric.log("loss", torch.tensor(0.5), step=3)
        fabric.log_dict({"a": 1, "b": 2.0}, step=4)
    assert run.get_metrics() == {"loss": 0.5, "a": 1, "b": 2.0}
    assert list(run.history("loss").steps) == [3]


def test_the_logger_names_its_run() -> None:
    from mlog.lightning import MLogLogger

    with mlog.start_run("e") as run:
        logger = MLogLogger()
        assert (logger.name, logger.version) == ("e", run.id)
        assert logger.experiment is run
        assert logger.save_dir is None, "Lightning saves where it always does"
