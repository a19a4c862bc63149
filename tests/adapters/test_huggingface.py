"""The Trainer of Transformers, and Accelerate, with the real libraries on the CPU."""

from pathlib import Path
from typing import Any

import pytest

import mlog

torch: Any = pytest.importorskip("torch")


class TestTrainer:
    @pytest.fixture
    def trainer(self, tmp_path: Path) -> Any:
        """Return what makes a Trainer with given callbacks and arguments."""
        transformers = pytest.importorskip("transformers")

        class Model(torch.nn.Module):  # type: ignore[misc]  # torch is skipped
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(2, 1)

            def forward(self, x: Any, labels: Any) -> dict[str, Any]:
                out = self.layer(x)
                return {"loss": (out - labels).square().mean(), "logits": out}

        data = [{"x": torch.ones(2), "labels": torch.ones(1)} for _ in range(40)]

        def make(*callbacks: Any, **options: Any) -> Any:
            args = transformers.TrainingArguments(
                str(tmp_path / "out"),
                max_steps=8,
                logging_steps=2,
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                **options,
            )
            return transformers.Trainer(
                Model(),
                args,
                train_dataset=data,
                eval_dataset=data,
                callbacks=[*callbacks],
            )

        return make

    def test_what_it_logs_is_grouped_and_has_its_steps(self, trainer: Any) -> None:
        from mlog.transformers import MLogCallback

        with mlog.start_run("e") as run:
            made = trainer(
                MLogCallback(), eval_strategy="steps", eval_steps=4, save_strategy="no"
            )
            made.train()
        told = [line for line in made.state.log_history if "loss" in line]
        history = run.history("train/loss")
        assert list(history.steps)[:4] == [2, 4, 6, 8]
        assert list(history.values)[:4] == [line["loss"] for line in told]
        assert list(run.history("eval/loss").steps) == [4, 8]
        assert run.params["trainer"]["max_steps"] == 8

    def test_checkpoints_become_artifacts_on_request(self, trainer: Any) -> None:
        from mlog.transformers import MLogCallback

        trainer(MLogCallback(checkpoints=True), save_steps=8).train()
        run = mlog.open_run("latest")
        names = run.get_file_names()
        assert [n for n in names if n.startswith("checkpoints/checkpoint-8/")]
        assert run.status == "Completed"


class TestAccelerate:
    def test_config_and_values_are_kept(self) -> None:
        accelerate = pytest.importorskip("accelerate")
        from mlog.accelerate import MLogTracker

        tracker = MLogTracker("acc")
        accelerator = accelerate.Accelerator(cpu=True, log_with=tracker)
        accelerator.init_trackers("project", config={"lr": 0.5, "name": "net"})
        for step in range(3):
            accelerator.log({"loss": 1 / (step + 1)}, step=step)
        accelerator.end_training()
        run = mlog.open_run("latest")
        assert run.params == {"lr": 0.5, "name": "net"}
        assert list(run.history("loss").values) == [1, 1 / 2, 1 / 3]
        assert (run.experiment, run.status) == ("acc", "Completed")
