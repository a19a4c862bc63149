"""What a Hugging Face Trainer logs, with its arguments as params."""

import torch
from sklearn.datasets import load_diabetes
from transformers import Trainer, TrainingArguments

import mlog
from mlog.transformers import MLogCallback


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(10, 1)

    def forward(self, x, labels):
        out = self.layer(x)
        return {"loss": (out - labels).square().mean(), "logits": out}


x, y = (torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True))
data = [{"x": x[i], "labels": y[i : i + 1]} for i in range(len(x))]
options = {"save_strategy": "no", "report_to": [], "use_cpu": True}
args = TrainingArguments("out", max_steps=20, logging_steps=5, **options)
with mlog.start_run("diabetes-trainer") as run:
    Trainer(Model(), args, train_dataset=data, callbacks=[MLogCallback()]).train()
print([int(step) for step in run.history("train/loss").steps])
