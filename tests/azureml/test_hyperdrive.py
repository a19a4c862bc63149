"""Sweeps under the SDK's names."""

import inspect
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlog.azureml.core import Experiment, Run, ScriptRunConfig, Workspace
from mlog.azureml.exceptions import ActivityFailedException, UserErrorException
from mlog.azureml.train import hyperdrive
from mlog.azureml.train.hyperdrive import (
    BanditPolicy,
    BayesianParameterSampling,
    GridParameterSampling,
    HyperDriveConfig,
    HyperDriveConfigException,
    HyperDriveRun,
    HyperDriveRunConfig,
    MedianStoppingPolicy,
    NoTerminationPolicy,
    PrimaryMetricGoal,
    RandomParameterSampling,
    TruncationSelectionPolicy,
    choice,
    loguniform,
    normal,
    qloguniform,
    quniform,
    randint,
    uniform,
)
from mlog.azureml.widgets import RunDetails
from mlog.launch.sweep_domains import Choice, Distribution, Range
from mlog.launch.sweep_sampling import Bayesian, Grid, Random
from mlog.launch.sweep_stop import Bandit, Median, Truncation
from mlog.reader.find import iter_runs
from mlog.reader.state import read_state
from mlog.run.launched import request_cancel
from tests.launch.helpers import is_alive, wait_until

Config = Callable[..., HyperDriveConfig]

TRAIN = """
import os, pathlib, sys, time
from azureml.core import Run

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
alpha = float(given["--alpha"])
run = Run.get_context(allow_offline=False)
if alpha == 0.3:
    sys.exit("bad alpha")
for step in range(2):
    run.log("mse", alpha * (2 - step))
run.log("other", 1)
while pathlib.Path("/").joinpath(os.environ.get("HOLD", "none")).exists():
    time.sleep(0.01)
"""


@pytest.fixture
def script() -> ScriptRunConfig:
    """Return a script that logs its alpha as the last and best value of mse."""
    Path("src").mkdir()
    Path("src/train.py").write_text(TRAIN, "utf-8")
    return ScriptRunConfig("src", "train.py", arguments=["--more", 1])


@pytest.fixture
def config(script: ScriptRunConfig) -> Config:
    """Return a maker of configs: over some alphas, unless told otherwise."""

    def make(*alphas: float, **options: Any) -> HyperDriveConfig:
        given: dict[str, Any] = {
            "run_config": script,
            "hyperparameter_sampling": GridParameterSampling(
                {"--alpha": choice(*(alphas or (0.1, 0.2)))}
            ),
            "primary_metric_name": "mse",
            "primary_metric_goal": PrimaryMetricGoal.MINIMIZE,
            "max_total_runs": 10,
            "max_concurrent_runs": 2,
        }
        return HyperDriveConfig(**given | options)

    return make


@pytest.fixture(autouse=True)
def nothing_left(run_dir: Path) -> Iterator[None]:
    """End the sweeps that go on, and wait until their conductors are gone."""
    yield
    for folder in iter_runs(run_dir):
        writers = [w for w in read_state(folder).writers if w.main and w.alive]
        for pid in [w.pid for w in writers if w.pid not in (None, os.getpid())]:
            request_cancel(folder)
            wait_until(partial(has_ended, pid or 0), f"end of {folder}")


def has_ended(pid: int) -> bool:
    """Whether a process is gone."""
    return not is_alive(pid)


# Source: azureml-train-core 1.61, `azureml.train.hyperdrive`.
SIGNATURES = {
    HyperDriveConfig: "hyperparameter_sampling, primary_metric_name, "
    "primary_metric_goal, max_total_runs, max_concurrent_runs=None, "
    "max_duration_minutes=10080, policy=None, estimator=None, run_config=None, "
    "resume_from=None, resume_child_runs=None, pipeline=None, debug_flag=None, "
    "custom_run_id=None",
    HyperDriveRunConfig: "estimator, hyperparameter_sampling, primary_metric_name, "
    "primary_metric_goal, max_total_runs, max_concurrent_runs=None, "
    "max_duration_minutes=10080, policy=None",
    BanditPolicy: "evaluation_interval=1, slack_factor=None, slack_amount=None, "
    "delay_evaluation=0",
    MedianStoppingPolicy: "evaluation_interval=1, delay_evaluation=0",
    TruncationSelectionPolicy: "truncation_percentage, evaluation_interval=1, "
    "delay_evaluation=0",
    NoTerminationPolicy: "",
    RandomParameterSampling: "parameter_space, properties=None",
    HyperDriveRun: "experiment, run_id, hyperdrive_config=None, **kwargs",
    HyperDriveRun.get_best_run_by_primary_metric: "self, include_failed=True, "
    "include_canceled=True, include_resume_from_runs=True",
    HyperDriveRun.get_children_sorted_by_primary_metric: "self, top=0, "
    "reverse=False, discard_no_metric=False",
    HyperDriveRun.wait_for_completion: "self, show_output=False, "
    "wait_post_processing=False, raise_on_error=True",
    quniform: "min_value, max_value, q",
    qloguniform: "min_value, max_value, q",
    normal: "mu, sigma",
    randint: "upper",
    choice: "*options",
}


@pytest.mark.parametrize("thing", SIGNATURES, ids=lambda thing: thing.__name__)
def test_arguments_are_those_of_the_sdk(thing: Any) -> None:
    parameters = inspect.signature(thing).parameters.values()
    shown = [str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters]
    assert ", ".join(shown) == SIGNATURES[thing]


@pytest.mark.usefixtures("azureml")
def test_everything_comes_by_a_star() -> None:
    space: dict[str, Any] = {}
    exec("from azureml.train.hyperdrive import *", space)
    exec("import azureml.train.hyperdrive.policy as policy", space)
    assert space["HyperDriveConfig"] is HyperDriveConfig
    assert space["policy"].BanditPolicy is BanditPolicy
    assert set(hyperdrive.__all__) <= space.keys()


def test_expressions() -> None:
    assert choice(1, 2) == choice([1, 2]) == choice(range(1, 3)) == Choice((1, 2))
    assert choice("a") == Choice(("a",))
    three = randint(3)
    assert isinstance(three, Range)
    assert [three.at(n) for n in range(len(three))] == [0, 1, 2]
    assert uniform(0.1, 0.2) == Distribution("uniform", (0.1, 0.2))
    assert loguniform(-6, -1) == Distribution("loguniform", (-6, -1))


@pytest.mark.parametrize(
    ("make", "args", "text"),
    [
        (choice, (), "there is no value"),
        (uniform, (2, 1), "is empty"),
        (normal, ("a", 1), "takes numbers, got 'a'"),
        (randint, (0,), "upper of randint"),
        (quniform, (0, 1, 0), "q must be > 0"),
    ],
)
def test_wrong_expressions(make: Any, args: Any, text: str) -> None:
    with pytest.raises(HyperDriveConfigException, match=text):
        make(*args)


def test_samplings_and_policies_come_to_what_mlog_has(config: Config) -> None:
    space = {"alpha": choice(1, 2), "beta": uniform(0, 1)}
    chance = RandomParameterSampling(space, properties={"seed": 3})
    plan = config(hyperparameter_sampling=chance).plan
    assert isinstance(plan.sampling, Random)
    assert (plan.sampling.seed, plan.sampling.count) == (3, 10)
    grid = GridParameterSampling({"alpha": choice(1, 2)})
    assert isinstance(config(hyperparameter_sampling=grid).plan.sampling, Grid)
    assert (
        config(hyperparameter_sampling=grid, max_total_runs=1).plan.sampling.count == 1
    )
    for policy, rule in (
        (BanditPolicy(slack_factor=0.1), Bandit(slack_factor=0.1)),
        (BanditPolicy(2, None, 0.5, 3), Bandit(2, 3, slack_amount=0.5)),
        (MedianStoppingPolicy(2, 5), Median(2, 5)),
        (TruncationSelectionPolicy(20, 2), Truncation(2, 0, percentage=20)),
        (NoTerminationPolicy(), None),
        (None, None),
    ):
        assert config(policy=policy).plan.rule == rule


def test_bayesian_sampling_is_optunas(config: Config) -> None:
    pytest.importorskip("optuna")
    sampling = BayesianParameterSampling({"alpha": uniform(0, 1)})
    plan = config(hyperparameter_sampling=sampling).plan
    assert isinstance(plan.sampling, Bayesian)
    with pytest.raises(HyperDriveConfigException, match="got normal"):
        config(
            hyperparameter_sampling=BayesianParameterSampling({"alpha": normal(0, 1)})
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"run_config": None}, "give the script as run_config"),
        ({"run_config": "train.py"}, "run_config must be a ScriptRunConfig"),
        ({"primary_metric_goal": "MINIMIZE"}, "primary_metric_goal must be a Primary"),
        ({"hyperparameter_sampling": {}}, "hyperparameter_sampling must be a Hyper"),
        ({"policy": "median"}, "policy must be a EarlyTerminationPolicy"),
        ({"max_total_runs": 0}, "number of trials must be an integer >= 1, got 0"),
        ({"max_concurrent_runs": -1}, "jobs must be an integer >= 1, got -1"),
        ({"max_duration_minutes": "x"}, "max_duration_minutes must be a number"),
        ({"primary_metric_name": ""}, "metric must be a name"),
        ({"resume_from": [1]}, "resume_from is not supported"),
        ({"pipeline": 1}, "pipeline is not supported"),
    ],
)
def test_wrong_configs(config: Config, options: dict[str, Any], text: str) -> None:
    with pytest.raises(HyperDriveConfigException, match=text) as caught:
        config(**options)
    assert isinstance(caught.value, UserErrorException)


def test_goals_and_spaces() -> None:
    assert PrimaryMetricGoal.from_str("maximize") is PrimaryMetricGoal.MAXIMIZE
    with pytest.raises(HyperDriveConfigException, match="MAXIMIZE or MINIMIZE"):
        PrimaryMetricGoal.from_str("up")
    with pytest.raises(HyperDriveConfigException, match="'a' is uniform"):
        GridParameterSampling({"a": uniform(0, 1)})
    with pytest.raises(HyperDriveConfigException, match="space is empty"):
        RandomParameterSampling({})
    with pytest.raises(HyperDriveConfigException, match="either slack_factor"):
        BanditPolicy()
    with pytest.raises(HyperDriveConfigException, match="from 1 to 99"):
        TruncationSelectionPolicy(0)


def test_a_sweep_is_submitted_waited_for_and_read(
    experiment: Experiment,
    workspace: Workspace,
    config: Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submitted = experiment.submit(config(0.2, 0.1, 0.3), tags={"team": "a"})
    assert isinstance(submitted, HyperDriveRun)
    details = submitted.wait_for_completion(show_output=True)
    assert details["status"] == "Completed"
    out = capsys.readouterr().out
    assert "mlog: trial 2 Completed: alpha=0.1; mse 0.1" in out
    assert "trial 3 Failed: alpha=0.3; exit code 1" in out
    assert submitted.hyperdrive_config is not None
    assert (submitted.type, submitted.tags["team"]) == ("hyperdrive", "a")

    children = submitted.get_children_sorted_by_primary_metric()
    assert [c["best_primary_metric"] for c in children] == [0.1, 0.2, None]
    assert [c["status"] for c in children] == ["Completed", "Completed", "Failed"]
    assert json.loads(children[0]["hyperparameters"]) == {"--alpha": 0.1}
    worst = submitted.get_children_sorted_by_primary_metric(1, reverse=True)
    assert worst == [children[1]]
    known = submitted.get_children_sorted_by_primary_metric(discard_no_metric=True)
    assert known == children[:2]

    best = submitted.get_best_run_by_primary_metric()
    assert best is not None
    assert type(best) is Run
    assert best.id == children[0]["run_id"]
    assert best.get_metrics() == {"mse": [0.2, 0.1], "other": 1}
    launched = best.get_details()["runDefinition"]["arguments"]
    assert launched == ["--more", "1", "--alpha", "0.1"]
    assert best.experiment.workspace is workspace
    assert submitted.get_metrics()[best.id] == best.get_metrics()
    assert submitted.get_metrics("other")[best.id] == {"other": 1}
    assert set(submitted.get_hyperparameters()) == {c["run_id"] for c in children}
    found = list(submitted.get_children(status="Completed"))
    assert {type(child) for child in found} == {Run}
    assert len(found) == 2
    assert list(submitted.get_children(type="hyperdrive")) == []
    assert submitted.get_metrics(run_type="hyperdrive") == {}
    assert best.parent is not None
    assert best.parent.id == submitted.id

    # Another process finds it again, as what it is.
    again = Run.get(workspace, submitted.id)
    assert type(again) is HyperDriveRun
    assert again.hyperdrive_config is None
    assert type(HyperDriveRun(experiment, submitted.id)) is HyperDriveRun
    (listed,) = Run.list(experiment, type="hyperdrive")
    assert listed.id == submitted.id
    with pytest.raises(HyperDriveConfigException, match="is no sweep"):
        HyperDriveRun(experiment, best.id)
    RunDetails(submitted).show()
    assert (
        f'child {best.id}: Completed {{"--alpha": 0.1}} 0.1' in capsys.readouterr().out
    )
    assert submitted.cancel() is False  # it is over


def test_a_sweep_goes_on_by_itself_and_is_cancelled(
    experiment: Experiment, config: Config, tmp_path: Path, monkeypatch: Any
) -> None:
    """What has come so far is read while it goes on."""
    hold = tmp_path / "hold"
    hold.touch()
    monkeypatch.setenv("HOLD", str(hold))
    with experiment.start_logging() as outer:
        submitted = outer.submit_child(config(0.1, 0.2, 0.4))
    assert isinstance(submitted, HyperDriveRun)
    assert submitted.parent is not None
    assert submitted.parent.id == outer.id

    def children() -> list[dict[str, Any]]:
        return submitted.get_children_sorted_by_primary_metric(discard_no_metric=True)

    wait_until(
        lambda: [c["best_primary_metric"] for c in children()] == [0.1, 0.2], "values"
    )
    assert {c["status"] for c in children()} == {"Running"}
    assert submitted.get_status() == "Running"
    assert submitted.cancel() is True
    assert submitted.wait_for_completion()["status"] == "Canceled"
    assert {c["status"] for c in children()} == {"Canceled"}
    assert submitted.get_best_run_by_primary_metric(include_canceled=False) is None
    best = submitted.get_best_run_by_primary_metric()
    assert best is not None


def test_a_sweep_whose_runs_all_fail_raises(
    experiment: Experiment, config: Config
) -> None:
    submitted = experiment.submit(config(0.3))
    with pytest.raises(ActivityFailedException, match="all trials have failed"):
        submitted.wait_for_completion()


def test_variables_of_the_script_reach_its_runs(
    experiment: Experiment, script: ScriptRunConfig, config: Config
) -> None:
    Path("src/train.py").write_text(
        "import os\nfrom azureml.core import Run, Workspace\n"
        "Run.get_context().log('mse', float(os.environ['MINE']))\n"
        "print(Workspace.from_config().name)\n"
    )
    script.run_config.environment_variables["MINE"] = "7"
    submitted = experiment.submit(config(0.1))
    submitted.wait_for_completion()
    (child,) = submitted.get_children()
    assert child.get_metrics() == {"mse": 7.0}
    assert "ws" in child.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"]


def test_other_things_cannot_be_submitted(experiment: Experiment) -> None:
    with pytest.raises(UserErrorException, match="a ScriptRunConfig or a HyperDrive"):
        experiment.submit("train.py")
