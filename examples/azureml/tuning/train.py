"""The script that `hyperdrive.py` runs with several parameters."""

import argparse
import os

import joblib
from azureml.core import Run
from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, default=0.01)
parser.add_argument("--penalty", type=str, default="l2")
parser.add_argument("--epochs", type=int, default=10)
args = parser.parse_args()

run = Run.get_context()
X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = SGDRegressor(eta0=args.learning_rate, penalty=args.penalty, random_state=0)
for _ in range(args.epochs):
    model.partial_fit(X_train, y_train)
    run.log("mse", mean_squared_error(y_test, model.predict(X_test)))

os.makedirs("outputs", exist_ok=True)
joblib.dump(model, "outputs/model.pkl")
