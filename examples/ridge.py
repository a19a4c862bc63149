"""Fit one ridge regression on the diabetes data; `sweep.py` tries many.

$ python examples/ridge.py --alpha 0.4
$ mlog sweep examples/ridge.py --set alpha=0:1:0.25 --metric mse --jobs 2
"""

import argparse

from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

import mlog

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, default=0.1)
parser.add_argument("--solver", default="auto")
args = parser.parse_args()

run = mlog.current_run() or mlog.start_run("ridge")  # of a sweep, or its own
X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = Ridge(alpha=args.alpha, solver=args.solver).fit(X_train, y_train)
run.log("mse", mean_squared_error(y_test, model.predict(X_test)))
