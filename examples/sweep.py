"""Fit a ridge regression for several alphas, each as a run of its own.

$ python examples/sweep.py
"""

from pathlib import Path

import mlog

sweep = mlog.sweep(
    Path(__file__).with_name("ridge.py"),
    {"alpha": "0:1:0.5", "solver": ["cholesky"]},
    metric="mse",
    jobs=2,
)
for trial in sweep.trials:
    print(trial.number, trial.status, trial.params["alpha"], round(trial.value or 0))
assert sweep.best is not None
print("best alpha:", sweep.best.params["alpha"], "in run", sweep.best.run_id)
