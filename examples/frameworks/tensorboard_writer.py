"""A script written for torch's SummaryWriter, with one import changed."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor

from mlog.tensorboard import SummaryWriter  # was: torch.utils.tensorboard

x, y = load_diabetes(return_X_y=True)
model = SGDRegressor(random_state=0)
writer = SummaryWriter("runs/diabetes")
for epoch in range(5):
    model.partial_fit(x, y)
    error = model.predict(x) - y
    writer.add_scalar("train/mse", np.mean(error**2), epoch)
    writer.add_histogram("train/error", error, epoch)
writer.add_hparams({"penalty": model.penalty}, {"hparam/mse": np.mean(error**2)})
writer.close()
