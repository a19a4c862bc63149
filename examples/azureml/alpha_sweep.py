"""Fit a ridge regression for many alphas, all in one run.

Written for the Azure ML SDK v1. Run it as it is:

    python -m mlog.azureml alpha_sweep.py
"""

import os

import joblib
import numpy as np
from azureml.core import Experiment, Workspace
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

ws = Workspace.from_config()
experiment = Experiment(workspace=ws, name="diabetes-sweep")

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)

run = experiment.start_logging()
os.makedirs("outputs", exist_ok=True)
mses = []
for alpha in np.arange(0.0, 1.0, 0.05):
    model = Ridge(alpha=alpha, solver="cholesky").fit(X_train, y_train)
    mse = mean_squared_error(y_test, model.predict(X_test))
    mses.append(mse)
    run.log("alpha", alpha)
    run.log("mse", mse)
    joblib.dump(value=model, filename=f"outputs/ridge_{alpha:.2f}.pkl")

run.log_list("mses", mses, description="one for each alpha")
run.tag("best", f"{min(mses):.2f}")
run.complete()

print(run.get_portal_url())
metrics = run.get_metrics()
best = int(np.argmin(metrics["mse"]))
print(f"best alpha {metrics['alpha'][best]:.2f}, mse {metrics['mse'][best]:.2f}")
print(len(run.get_file_names()), "files")
