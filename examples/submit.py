"""Submit a training script twice, watch it, and register the better model.

Written as the cells of a notebook. The script and the library beside it lie in
`script_runs/`; each run keeps a copy of that folder, what the script prints, its
metrics, and the model that it leaves in `./outputs`.
"""

# %% What is to be run
from pathlib import Path

from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import submit

source = Path(__file__).parent / "script_runs"
alphas = [0.1, 1.0, 10.0, 100.0]

# %% The first run is watched: head, log as it comes, summary; it raises if it fails
config = ScriptRunConfig(source, "train.py", ["--degree", 1, "--alphas", *alphas])
line = submit(config, experiment="ridge", name="line", show_output=True).run

# %% The second one goes on by itself
config = ScriptRunConfig(source, "train.py", ["--degree", 2, "--alphas", *alphas])
curve = submit(config, experiment="ridge", name="curve", tags={"degree": "2"}).run
print(curve.wait_for_completion()["status"], curve.get_file_names())

# %% The better of the two
best = min([line, curve], key=lambda run: run.get_metrics()["best_mse"])
mse = best.get_metrics()["best_mse"]
model = best.register_model(
    "ridge", model_path="outputs/model.pkl", properties={"mse": f"{mse:.1f}"}
)
print(f"registered {model.name}:{model.version} of {best.display_name}, mse {mse:.1f}")
