"""The script that `submit.py` submits: Ridge regression for some alphas.

It runs without a launcher as well, and then leaves nothing but its output.
"""

import argparse
import logging
from pathlib import Path

import joblib
from diabetes import split
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

logger = logging.getLogger("ridge")

parser = argparse.ArgumentParser()
parser.add_argument("--degree", type=int, default=1)
parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 1.0, 10.0])
args = parser.parse_args()

x_train, x_val, y_train, y_val = split(seed=0)
print(f"degree {args.degree}, {len(x_train)} rows to train on")
models = {}
for step, alpha in enumerate(args.alphas):
    features = PolynomialFeatures(args.degree)
    model = make_pipeline(features, StandardScaler(), Ridge(alpha))
    model.fit(x_train, y_train)
    mse = float(mean_squared_error(y_val, model.predict(x_val)))
    logger.info("", extra={"metric": {"alpha": alpha, "mse": mse}, "step": step})
    print(f"alpha {alpha:g}: mse {mse:.1f}")
    models[mse] = model

best = min(models)
logger.info("", extra={"metric": {"best_mse": best}})
Path("outputs").mkdir(exist_ok=True)
joblib.dump(models[best], "outputs/model.pkl")
