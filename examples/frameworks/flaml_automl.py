"""Every trial of a FLAML search: its learner, configuration, loss and time."""

from flaml import AutoML
from sklearn.datasets import load_diabetes

import mlog
from mlog.flaml import watch

x, y = load_diabetes(return_X_y=True)

with mlog.start_run("diabetes-flaml") as run:
    automl = watch(AutoML())
    automl.fit(x, y, task="regression", max_iter=4, estimator_list=["lgbm"], verbose=1)

print(run.params["best_learner"], run.get_metrics("trial/validation_loss"))
