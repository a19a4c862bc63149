"""Create or get a cluster, submit a script to it, and register the best model.

Written for the Azure ML SDK v1. Run it as it is; the cluster is this machine:

    python -m mlog.azureml submit_to_cluster.py
"""

import os

import numpy as np
from azureml.core import Dataset, Environment, Experiment, ScriptRunConfig, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.core.conda_dependencies import CondaDependencies
from sklearn.datasets import load_diabetes

ws = Workspace.from_config()
print("workspace:", ws.name)

cluster_name = "cpu-cluster"
try:
    cluster = ComputeTarget(workspace=ws, name=cluster_name)
    print("found the cluster")
except ComputeTargetException:
    config = AmlCompute.provisioning_configuration(
        vm_size="STANDARD_D2_V2", max_nodes=4
    )
    cluster = ComputeTarget.create(ws, cluster_name, config)
cluster.wait_for_completion(show_output=True)

# Data: written here, uploaded, and handed to the script as a path.
os.makedirs("data", exist_ok=True)
bunch = load_diabetes()
np.savetxt(
    "data/diabetes.csv",
    np.column_stack([bunch.data, bunch.target]),
    delimiter=",",
    header=",".join([*bunch.feature_names, "target"]),
    comments="",
)
datastore = ws.get_default_datastore()
datastore.upload(src_dir="data", target_path="diabetes", overwrite=True)
dataset = Dataset.File.from_files(path=(datastore, "diabetes/diabetes.csv"))

environment = Environment(name="sklearn-env")
environment.python.conda_dependencies = CondaDependencies.create(
    pip_packages=["scikit-learn", "joblib", "azureml-defaults"]
)

experiment = Experiment(workspace=ws, name="diabetes-submit")
runs = []
for alpha in (0.01, 0.1, 1.0):
    source = ScriptRunConfig(
        source_directory="training",
        script="train.py",
        arguments=[
            "--alpha",
            alpha,
            "--data",
            dataset.as_named_input("csv").as_mount(),
        ],
        compute_target=cluster,
        environment=environment,
    )
    runs.append(experiment.submit(source, tags={"alpha": str(alpha)}))
for run in runs:
    run.wait_for_completion(show_output=False)
    print(run.get_status(), run.get_tags()["alpha"], f"{run.get_metrics()['r2']:.3f}")

best = max(experiment.get_runs(), key=lambda run: run.get_metrics()["r2"])
model = best.register_model(
    model_name="diabetes",
    model_path="outputs/model.pkl",
    tags={"alpha": best.get_tags()["alpha"]},
    properties={"r2": f"{best.get_metrics()['r2']:.3f}"},
)
print("registered", model.name, "version", model.version, "of run", model.run_id)
print("downloaded", os.path.basename(model.download(target_dir="down", exist_ok=True)))
