"""Look back at a sweep, and register the model of its best alpha.

Written for the Azure ML SDK v1. Run it as it is, after `alpha_sweep.py`:

    python -m mlog.azureml register_best.py
"""

import joblib
from azureml.core import Experiment, Model, Workspace
from azureml.exceptions import ModelPathNotFoundException
from sklearn.datasets import load_diabetes

ws = Workspace.from_config()
run = next(Experiment(ws, "diabetes-sweep").get_runs())
metrics = run.get_metrics()
mse, alpha = min(zip(metrics["mse"], metrics["alpha"], strict=True))

try:
    run.register_model("diabetes-ridge", model_path="outputs/nothing.pkl")
except ModelPathNotFoundException:
    print("that is no file of the run")

model = run.register_model(
    model_name="diabetes-ridge",
    model_path=f"outputs/ridge_{alpha:.2f}.pkl",
    tags={"alpha": f"{alpha:.2f}"},
    description=f"mean squared error {mse:.1f}",
    model_framework=Model.Framework.SCIKITLEARN,
)
print(model.name, model.version, model.tags, model.description)

latest = Model(ws, "diabetes-ridge")
path = latest.download(target_dir="models", exist_ok=True)
X, y = load_diabetes(return_X_y=True)
print(f"r2 of the model that was read back: {joblib.load(path).score(X, y):.2f}")
