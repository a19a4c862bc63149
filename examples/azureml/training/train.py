"""The script that `submit_to_cluster.py` submits."""

import argparse
import os

import joblib
import table
from azureml.core import Run
from sklearn.linear_model import Ridge

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, default=0.1)
parser.add_argument("--data", type=str)
args = parser.parse_args()

run = Run.get_context()
X, y = table.read(args.data)
model = Ridge(alpha=args.alpha).fit(X, y)
run.log("alpha", args.alpha)
run.log("r2", model.score(X, y))
print(f"trained on {len(X)} rows of {os.path.basename(args.data)}")

os.makedirs("outputs", exist_ok=True)
joblib.dump(model, "outputs/model.pkl")
