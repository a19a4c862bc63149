"""Every evaluation set of a LightGBM training, round by round."""

import lightgbm
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import mlog
from mlog.lightgbm import MLogCallback

x, x_valid, y, y_valid = train_test_split(
    *load_diabetes(return_X_y=True), random_state=0
)
train = lightgbm.Dataset(x, y)
valid = lightgbm.Dataset(x_valid, y_valid, reference=train)
params = {"num_leaves": 7, "metric": "rmse", "verbosity": -1}

with mlog.start_run("diabetes-lightgbm", params=params) as run:
    lightgbm.train(
        params,
        train,
        num_boost_round=20,
        valid_sets=[train, valid],
        valid_names=["train", "valid"],
        callbacks=[MLogCallback()],
    )
print(run.get_metrics("valid/rmse"))
