"""Compare models in child runs, each with tags of its own.

Written for the Azure ML SDK v1. Run it as it is:

    python -m mlog.azureml child_runs.py
"""

from azureml.core import Experiment, Workspace
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.model_selection import cross_val_score

ws = Workspace.from_config()
experiment = Experiment(ws, "diabetes-models")
X, y = load_diabetes(return_X_y=True)
models = {"linear": LinearRegression(), "ridge": Ridge(0.1), "lasso": Lasso(0.1)}

with experiment.start_logging() as run:
    for name, model in models.items():
        with run.child_run(name=name) as child:
            child.tag("family", name)
            for fold, r2 in enumerate(cross_val_score(model, X, y, cv=5)):
                child.log("r2", r2, step=fold)
            child.parent.log_row("models", model=name, folds=5)
    children = run.create_children(tag_key="alpha", tag_values=[0.01, 0.1, 1.0])
    for child in children:
        alpha = float(child.get_tags()["alpha"])
        child.log("r2", cross_val_score(Ridge(alpha), X, y, cv=5).mean())
        child.complete()

print(run.get_status(), run.get_metrics("models"))
for child in run.get_children(tags="family"):
    r2 = child.get_metrics("r2")["r2"]
    print(f"{child.name}: {sum(r2) / len(r2):.3f}")
best = max(run.get_children(tags="alpha"), key=lambda c: c.get_metrics()["r2"])
print("best alpha:", best.get_tags()["alpha"])
