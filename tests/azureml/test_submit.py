"""Scripts that are submitted, and the runs they are."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlog.azureml.core import (
    ComputeTarget,
    Dataset,
    Environment,
    Experiment,
    Run,
    RunConfiguration,
    ScriptRunConfig,
    Workspace,
)
from mlog.azureml.core.runconfig import (
    DataReferenceConfiguration,
    MpiConfiguration,
    PyTorchConfiguration,
)
from mlog.azureml.data import OutputFileDatasetConfig
from mlog.azureml.exceptions import ActivityFailedException, UserErrorException
from mlog.errors import MlogError

Script = Callable[..., ScriptRunConfig]


@pytest.fixture
def script() -> Script:
    """Return a maker of configs: `script("print(1)", arguments=[…])`."""

    def make(text: str, **options: Any) -> ScriptRunConfig:
        Path("src").mkdir(exist_ok=True)
        Path("src/train.py").write_text(text, "utf-8")
        return ScriptRunConfig("src", "train.py", **options)

    return make


TRAIN = """
import argparse, os
from azureml.core import Run, Workspace

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float)
args = parser.parse_args()
run = Run.get_context(allow_offline=False)
run.log("alpha", args.alpha)
run.tag("env", os.environ["MY_VARIABLE"])
os.makedirs("outputs", exist_ok=True)
with open("outputs/model.txt", "w") as file:
    file.write("model")
run.complete()
run.log("after", 1)
workspace = Workspace.from_config()
assert workspace.root == run.experiment.workspace.root
print("trained in", run.experiment.workspace.name, workspace.resource_group)
"""


def test_a_submitted_script_gets_the_run(
    experiment: Experiment, script: Script
) -> None:
    """It finds mlog as azureml, its run, its arguments and its variables."""
    env = Environment("x")
    env.environment_variables = {"MY_VARIABLE": "set"}
    config = script(TRAIN, arguments=["--alpha", 0.5], environment=env)
    run = experiment.submit(config, tags={"kind": "test"})
    details = run.wait_for_completion()
    assert details["status"] == run.get_status() == "Completed"
    assert run.get_metrics() == {"alpha": 0.5, "after": 1}
    assert run.get_tags() == {"kind": "test", "env": "set"}
    assert "outputs/model.txt" in run.get_file_names()
    logs = run.get_details_with_logs()["logFiles"]
    assert logs["user_logs/std_log.txt"] == "trained in ws group\n"
    model = run.register_model("m", "outputs/model.txt")
    assert model.run.id == run.id


def test_a_submitted_script_has_a_type(experiment: Experiment, script: Script) -> None:
    run = experiment.submit(script("print(1)"))
    run.wait_for_completion()
    assert run.type == "azureml.scriptrun"
    assert [r.id for r in Run.list(experiment, type="azureml.scriptrun")] == [run.id]
    assert list(Run.list(experiment, type="hyperdrive")) == []


def test_submitting_shows_the_output_if_asked(
    experiment: Experiment,
    run: Run,
    script: Script,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`submit(show_output=True)` waits, shows what is printed, and raises."""
    for submit in (experiment.submit, run.submit_child):
        done = submit(script("print('a line')"), show_output=True)
        assert done.get_status() == "Completed"
        assert capsys.readouterr().out.count("a line\n") == 1
    with pytest.raises(ActivityFailedException, match="no data"):
        experiment.submit(script("raise ValueError('no data')"), show_output=True)


def test_a_run_is_submitted_under_a_given_id(
    experiment: Experiment, script: Script
) -> None:
    run = experiment.submit(script("print(1)"), run_id="mine")
    run.wait_for_completion()
    assert run.id == "mine"
    with pytest.raises(MlogError, match="run 'mine' is there already"):
        experiment.submit(script("print(1)"), run_id="mine")


def test_an_unknown_argument_of_submit_is_an_error(
    experiment: Experiment, run: Run, script: Script
) -> None:
    """It is not dropped in silence, and nothing is started."""
    for submit in (experiment.submit, run.submit_child):
        with pytest.raises(TypeError, match=r"show_output.*; got 'show_outputs'"):
            submit(script("print(1)"), show_outputs=True)
    assert list(experiment.get_runs(type="azureml.scriptrun")) == []


def test_children_are_found_by_type(run: Run, script: Script) -> None:
    """`get_metrics(run_type=)` chooses among children; the run itself stays."""
    run.log("a", 1)
    with run.child_run() as plain:
        plain.log("a", 2)
    text = "import mlog; mlog.current_run().log('a', 3)"
    submitted = run.submit_child(script(text))
    submitted.wait_for_completion()
    assert [c.id for c in run.get_children(type="azureml.scriptrun")] == [submitted.id]
    assert list(run.get_children(type="hyperdrive")) == []
    own, other = {run.id: {"a": 1}}, {submitted.id: {"a": 3}}
    assert run.get_metrics(recursive=True, run_type="azureml.scriptrun") == own | other
    assert run.get_metrics(recursive=True, run_type="hyperdrive") == own
    assert len(run.get_metrics(recursive=True)) == 3


def test_what_a_script_prints_is_kept(
    experiment: Experiment, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    run = experiment.submit(script("print('a line of output')"))
    run.wait_for_completion(show_output=True)
    assert "a line of output" in capsys.readouterr().out
    (path,) = (p for p in run.get_all_logs("down") if "std_log" in p)
    assert "a line of output" in Path(path).read_text("utf-8")
    logs = run.get_details_with_logs()["logFiles"]
    assert "a line of output" in logs["user_logs/std_log.txt"]


def test_waiting_for_a_script_that_fails_raises(
    experiment: Experiment, script: Script
) -> None:
    run = experiment.submit(script("raise ValueError('no data')"))
    with pytest.raises(ActivityFailedException, match="failed") as caught:
        run.wait_for_completion()
    assert run.id in caught.value.message
    assert run.wait_for_completion(raise_on_error=False)["status"] == "Failed"


def test_a_script_is_submitted_as_a_child(run: Run, script: Script) -> None:
    child = run.submit_child(script("print(1)"), tags={"n": "1"})
    assert isinstance(child, Run)
    child.wait_for_completion()
    assert child.parent is not None
    assert child.parent.id == run.id
    assert [r.id for r in run.get_children(tags={"n": "1"})] == [child.id]


WAITS = """
import sys, time
from pathlib import Path
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
"""


def test_runs_of_a_compute_target_are_listed_while_they_go_on(
    workspace: Workspace, experiment: Experiment, script: Script, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    target = ComputeTarget(workspace, "cpu")
    config = script(WAITS, arguments=[gate], compute_target=target)
    run = experiment.submit(config)
    experiment.start_logging()
    while run.get_status() != "Running":  # it is being prepared
        assert run.get_status() in ("NotStarted", "Queued", "Preparing", "Running")
    assert [r.id for r in Run.list_by_compute(target)] == [run.id]
    assert list(Run.list_by_compute(ComputeTarget(workspace, "other"))) == []
    gate.touch()
    run.wait_for_completion()
    assert list(Run.list_by_compute(target, status="Running")) == []
    with pytest.raises(UserErrorException, match="Running or Queued"):
        list(Run.list_by_compute(target, status="Completed"))


def test_a_type_of_runs_may_be_given_out_as_something_else(
    experiment: Experiment, script: Script
) -> None:
    seen: list[Any] = []

    def factory(experiment: Experiment, facts: Any) -> str:
        seen.append((experiment.name, facts.run_id, facts.status))
        return "something else"

    run = experiment.submit(script("print(1)"))
    run.wait_for_completion()
    Run.add_type_provider("azureml.scriptrun", factory)
    assert Run.get(experiment.workspace, run.id) == "something else"
    assert seen == [("exp", run.id, "Completed")]
    assert list(Run.list(experiment)) == ["something else"]
    (plain,) = Run.list(experiment, _rehydrate_runs=False)
    assert plain.id == run.id
    with pytest.raises(UserErrorException, match="has a provider already"):
        Run.add_type_provider("azureml.scriptrun", factory)


READS = """
import os, sys
from azureml.core import Run, Dataset
run = Run.get_context()
folder = run.input_datasets["files"]
assert folder == sys.argv[1] == os.environ["files"], (folder, sys.argv)
run.log("files", len(os.listdir(folder)))
with open(os.path.join(sys.argv[2], "result.txt"), "w") as file:
    file.write("result")
assert run.output_datasets == {"out": sys.argv[2]}
table = Dataset.get_by_id(run.experiment.workspace, id=sys.argv[3])
assert run.input_datasets["table"].id == table.id
run.log("table", table.name)
"""


def test_a_script_finds_its_data_by_name(
    workspace: Workspace, experiment: Experiment, script: Script
) -> None:
    """As paths on its command line, and by `run.input_datasets`."""
    Path("data").mkdir()
    Path("data/a.csv").write_text("x,y\n1,2\n")
    store = workspace.get_default_datastore()
    files = Dataset.File.from_files("data").as_named_input("files").as_mount()
    table = Dataset.Tabular.from_delimited_files("data/a.csv")
    table.register(workspace, "numbers")
    out = OutputFileDatasetConfig("out", destination=(store, "results"))
    arguments = [files, out, table.as_named_input("table")]
    run = experiment.submit(script(READS, arguments=arguments))
    run.wait_for_completion()
    assert run.get_metrics() == {"files": 1, "table": "numbers"}
    assert run.input_datasets["files"] == str(Path("data").absolute())
    assert run.output_datasets == {"out": str(store.root / "results")}
    store.download("down", prefix="results")
    assert Path("down/results/result.txt").read_text() == "result"


def test_a_run_keeps_its_environment(experiment: Experiment, script: Script) -> None:
    env = Environment("mine")
    env.environment_variables = {"A": "1"}
    run = experiment.submit(script("print(1)", environment=env))
    run.wait_for_completion()
    assert run.get_environment().as_dict() == env.as_dict()
    other = experiment.start_logging()
    other.complete()
    packages = other.get_environment().python.conda_dependencies
    assert packages is not None
    assert any(name.startswith("orjson==") for name in packages.pip_packages)


def test_a_run_configuration_wins(script: Script) -> None:
    """And what is set after the config was made counts, too."""
    given = RunConfiguration()
    given.target = "gpu"
    given.max_run_duration_seconds = 60
    config = script("", run_config=given, compute_target="cpu")
    assert config.run_config is given
    assert (config.compute_target, config.max_run_duration_seconds) == ("gpu", 60)
    env = Environment("later")
    env.python.interpreter_path = "/bin/sh"
    config.run_config.environment = env
    assert config.environment is env
    assert config.interpreter == "/bin/sh"
    assert script("").run_config.target == "local"
    assert script("").interpreter == sys.executable


def test_the_interpreter_of_an_image_is_replaced(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    env = Environment("image")
    env.python.interpreter_path = "/opt/nothing/python"
    config = script("", environment=env)
    assert config.interpreter == config.interpreter == sys.executable
    said = f"mlog: there is no /opt/nothing/python here; {sys.executable} is used\n"
    assert capsys.readouterr().err == said


def test_script_and_arguments_may_come_from_the_run_configuration() -> None:
    Path("train.py").write_text("")
    given = RunConfiguration(script="train.py", arguments=["--n", 1])
    config = ScriptRunConfig(".", run_config=given)
    assert (config.script, config.arguments) == ("train.py", ["--n", "1"])


def test_a_command_runs_instead_of_a_script(experiment: Experiment) -> None:
    Path("notes.txt").write_text("something to copy")
    code = "from azureml.core import Run; Run.get_context().log('a', 1)"
    run = experiment.submit(ScriptRunConfig(".", command=["python", "-c", code]))
    run.wait_for_completion()
    assert run.get_metrics() == {"a": 1}


def test_the_interpreter_of_a_target_is_used(
    experiment: Experiment, script: Script, run_dir: Path
) -> None:
    run_dir.mkdir()
    (run_dir / "compute.toml").write_text(
        f"[gpu]\npython = '{sys.executable}'\nenvironment_variables = {{ N = 7 }}\n"
    )
    text = "import os\nfrom azureml.core import Run\n"
    text += "Run.get_context().log('n', int(os.environ['N']))\n"
    run = experiment.submit(script(text, compute_target="gpu"))
    run.wait_for_completion()
    assert run.get_metrics() == {"n": 7}


def test_what_is_not_done_here_is_said_once(
    experiment: Experiment, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    config = script(
        "",
        compute_target="gpu",
        distributed_job_config=MpiConfiguration(4, node_count=2),
    )
    for _ in range(2):
        config.placed(experiment.workspace)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "mlog: compute target 'gpu' is this machine",
        "mlog: one process is started here, not 8",
    ]
    assert PyTorchConfiguration(process_count=8).processes == 8


def test_a_wrong_config_is_refused(experiment: Experiment, script: Script) -> None:
    with pytest.raises(UserErrorException, match="only a ScriptRunConfig"):
        experiment.submit("train.py")
    with pytest.raises(FileNotFoundError, match=re.escape("nothing.py")):
        ScriptRunConfig(".", "nothing.py")
    with pytest.raises(ValueError, match="both are given"):
        script("", command=["ls"])
    with pytest.raises(ValueError, match="resume_from is not supported"):
        script("", resume_from="elsewhere")
    with pytest.raises(ValueError, match="arguments are for a script"):
        ScriptRunConfig("src", arguments=["--alpha"], command=["ls"])


FAMILY = """
from azureml.core import Experiment, Run
run = Run.get_context()
with run.child_run("fold") as child:
    child.log("loss", 1)
own = Experiment(run.experiment.workspace, "other").start_logging()
own.log("loss", 2)
own.complete()
run.log("loss", 3)
"""


def test_a_script_may_begin_further_runs(
    experiment: Experiment, script: Script
) -> None:
    """Children of its own run, and runs of other experiments; its own goes on."""
    run = experiment.submit(script(FAMILY))
    run.wait_for_completion()
    (child,) = run.get_children()
    (other,) = Experiment(experiment.workspace, "other").get_runs()
    found = [each.get_metrics() for each in (child, other, run)]
    assert found == [{"loss": 1}, {"loss": 2}, {"loss": 3}]
    assert {each.get_status() for each in (child, other, run)} == {"Completed"}
    assert other.parent is None


def test_details_name_the_compute_target(
    experiment: Experiment, script: Script
) -> None:
    run = experiment.submit(script("", compute_target="cpu"))
    assert run.wait_for_completion()["target"] == "cpu"
    assert experiment.start_logging().get_details()["target"] == "local"


def test_a_script_finds_referenced_data(experiment: Experiment, script: Script) -> None:
    """By the variables that notebooks for remote runs told it to read."""
    store = experiment.workspace.get_default_datastore()
    code = "import os; print(*(os.environ[f'AZUREML_DATAREFERENCE_{k}'] for k in 'ab'))"
    config = script(code)
    config.run_config.data_references = {
        "a": DataReferenceConfiguration(store.name, "download", "in"),
        "b": store.path("out", data_reference_name="b").as_upload().to_config(),
    }
    run = experiment.submit(config)
    run.wait_for_completion()
    (text,) = run.get_details_with_logs()["logFiles"].values()
    assert text.split() == [str(store.root / "in"), str(store.root / "out")]


def test_cancelling_ends_the_script(experiment: Experiment, script: Script) -> None:
    run = experiment.submit(script("import time; time.sleep(600)"))
    run.cancel()
    details = run.wait_for_completion(raise_on_error=False)
    assert details["status"] == run.get_status() == "Canceled"
