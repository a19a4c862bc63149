"""Each trial of an Optuna study as a child run with its params, value and state."""

import optuna
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

import mlog
from mlog.optuna import MLogCallback

x, y = load_diabetes(return_X_y=True)


def objective(trial):
    alpha = trial.suggest_float("alpha", 1e-3, 10.0, log=True)
    return cross_val_score(Ridge(alpha=alpha), x, y).mean()


with mlog.start_run("diabetes-optuna") as run:
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=8, callbacks=[MLogCallback(metrics="r2")])

for child in run.get_children():
    print(child.name, child.tags["state"], child.params, child.get_metrics("r2"))
