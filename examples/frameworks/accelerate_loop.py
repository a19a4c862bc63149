"""A training loop with Accelerate, which logs through a tracker of mlog's."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_diabetes

from mlog.accelerate import MLogTracker

x, y = (torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True))
tracker = MLogTracker("diabetes-accelerate")
accelerator = Accelerator(cpu=True, log_with=tracker)
accelerator.init_trackers("diabetes", config={"lr": 0.1})
model = torch.nn.Linear(10, 1)
model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
for step in range(10):
    loss = torch.nn.functional.mse_loss(model(x), y[:, None])
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    accelerator.log({"loss": loss.item()}, step=step)
run = tracker.tracker
accelerator.end_training()
print(run.status, run.params, len(run.history("loss").steps))
