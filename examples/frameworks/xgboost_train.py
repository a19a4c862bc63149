"""Every evaluation set of an XGBoost training, round by round."""

import xgboost
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import mlog
from mlog.xgboost import MLogCallback

x, x_valid, y, y_valid = train_test_split(
    *load_diabetes(return_X_y=True), random_state=0
)
train, valid = xgboost.DMatrix(x, y), xgboost.DMatrix(x_valid, y_valid)
params = {"max_depth": 3, "eta": 0.3}

with mlog.start_run("diabetes-xgboost", params=params) as run:
    xgboost.train(
        params,
        train,
        num_boost_round=20,
        evals=[(train, "train"), (valid, "valid")],
        callbacks=[MLogCallback()],
        verbose_eval=False,
    )
print(run.get_metrics("valid/rmse"))
