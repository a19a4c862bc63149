"""Tune a learning rate by HyperDrive, and register the best model.

Written for the Azure ML SDK v1. Run it as it is:

    python -m mlog.azureml hyperdrive.py
"""

import json

from azureml.core import Environment, Experiment, ScriptRunConfig, Workspace
from azureml.train.hyperdrive import (
    BanditPolicy,
    GridParameterSampling,
    HyperDriveConfig,
    PrimaryMetricGoal,
    choice,
)
from azureml.widgets import RunDetails

ws = Workspace.from_config()
experiment = Experiment(workspace=ws, name="diabetes-tuning")

script = ScriptRunConfig(
    source_directory="tuning",
    script="train.py",
    arguments=["--epochs", 20],
    compute_target="cpu-cluster",
    environment=Environment(name="sklearn-env"),
)
sampling = GridParameterSampling({"--learning-rate": choice(0.001, 0.01, 0.1)})
policy = BanditPolicy(evaluation_interval=2, slack_factor=2.0, delay_evaluation=10)
config = HyperDriveConfig(
    run_config=script,
    hyperparameter_sampling=sampling,
    policy=policy,
    primary_metric_name="mse",
    primary_metric_goal=PrimaryMetricGoal.MINIMIZE,
    max_total_runs=3,
    max_concurrent_runs=2,
)
hyperdrive_run = experiment.submit(config=config)
hyperdrive_run.wait_for_completion(show_output=True)
RunDetails(hyperdrive_run).show()

for child in hyperdrive_run.get_children_sorted_by_primary_metric():
    params = json.loads(child["hyperparameters"])
    print(child["status"], params, round(child["best_primary_metric"]))

best = hyperdrive_run.get_best_run_by_primary_metric()
metrics = best.get_metrics()
print("best run:", best.id, "last mse:", round(metrics["mse"][-1]))
print("arguments:", best.get_details()["runDefinition"]["arguments"])
model = best.register_model("diabetes-tuned", "outputs/model.pkl")
print("registered", model.name, "version", model.version)
