"""Packages and images of v1's environments, as submitted scripts find them."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlog.azureml.core import Dataset, Environment, Experiment, ScriptRunConfig
from mlog.azureml.core.conda_dependencies import CondaDependencies
from mlog.azureml.core.runconfig import DockerConfiguration, RunConfiguration
from mlog.azureml.exceptions import ActivityFailedException
from tests.launch.making import IMAGE, FakeDocker, has_uv, make_wheel

Script = Callable[..., ScriptRunConfig]


@pytest.fixture
def script() -> Script:
    """Return a maker of configs for a program text."""

    def make(text: str, **options: Any) -> ScriptRunConfig:
        Path("source").mkdir(exist_ok=True)
        Path("source/train.py").write_text(text)
        return ScriptRunConfig("source", "train.py", **options)

    return make


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    """Return a fake docker, as there is no engine here; see `fake_docker.py`."""
    made = FakeDocker(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{made.client.parent}:{os.environ['PATH']}")
    return made


LOG = """
from azureml.core import Run
run = Run.get_context()
"""


def test_packages_that_are_missing_are_installed(
    experiment: Experiment, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where the conda dependencies say; the SDK's own are there in any case."""
    monkeypatch.setenv("MLOG_INSTALLER", "uv" if has_uv() else "pip")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    Path("wheels").mkdir()
    make_wheel(Path("wheels"), "gadget", "1.0")
    env = Environment("mine")
    env.python.conda_dependencies = CondaDependencies.create(
        pip_packages=["azureml-defaults", "gadget"]
    )
    env.python.conda_dependencies.set_pip_option("--no-index")
    env.python.conda_dependencies.set_pip_option("--find-links wheels")
    code = f"import gadget{LOG}run.log('version', gadget.VERSION)"
    run = experiment.submit(script(code, environment=env))
    run.wait_for_completion()
    assert run.get_metrics() == {"version": "1.0"}
    assert run.get_environment().as_dict() == env.as_dict()
    logs = run.get_details_with_logs()["logFiles"]
    assert "gadget" in logs["azureml-logs/20_image_build_log.txt"]


def test_packages_that_are_here_need_no_build(script: Script) -> None:
    """Nor does an environment that says that somebody else sees to them."""
    env = Environment("mine")
    env.python.conda_dependencies = CondaDependencies.create(pip_packages=["click"])
    assert script("", environment=env).runs_in.packages is None
    env.python.conda_dependencies.add_pip_package("nobody-has-this")
    assert script("", environment=env).runs_in.packages is not None
    env.python.user_managed_dependencies = True
    assert script("", environment=env).runs_in.packages is None


def test_an_interpreter_that_is_promised_has_to_be_there(
    experiment: Experiment, script: Script
) -> None:
    env = Environment("mine")
    env.python.user_managed_dependencies = True
    env.python.interpreter_path = "/opt/nothing/python"
    run = experiment.submit(script("", environment=env))
    with pytest.raises(ActivityFailedException, match="no interpreter /opt/nothing"):
        run.wait_for_completion()


def test_an_image_is_used_with_docker(
    experiment: Experiment, script: Script, docker: FakeDocker
) -> None:
    """Files that are given as data are found in the container, too."""
    Path("data.csv").write_text("1,2")
    data = Dataset.File.from_files(str(Path("data.csv").absolute()))
    env = Environment.from_docker_image("mine", IMAGE)
    code = f"import os, sys{LOG}run.log(os.environ['IMAGE'], len(open(sys.argv[1]).read()))"
    config = script(
        code,
        arguments=[data.as_named_input("csv").as_mount()],
        environment=env,
        docker_runtime_config=DockerConfiguration(use_docker=True, shm_size="4g"),
    )
    run = experiment.submit(config)
    run.wait_for_completion()
    assert run.get_metrics() == {IMAGE: 3}
    (words,) = [call for call in docker.calls if "train.py" in call]
    assert words[words.index("--shm-size") + 1] == "4g"
    mounts = [after for word, after in itertools.pairwise(words) if word == "--mount"]
    assert any(str(Path("data.csv").absolute()) in mount for mount in mounts)


def test_docker_may_be_asked_for_in_three_ways(script: Script) -> None:
    env = Environment.from_docker_image("mine", IMAGE)
    assert script("", environment=env).runs_in.container is None
    given = RunConfiguration()
    given.environment = env
    given.docker = DockerConfiguration(use_docker=True)
    assert script("", run_config=given).runs_in.container is not None
    docker = DockerConfiguration(use_docker=True)
    config = script("", environment=env, docker_runtime_config=docker)
    assert config.runs_in.container is not None
    env.docker.enabled = True
    assert script("", environment=env).runs_in.container is not None


def test_a_dockerfile_is_refused(script: Script) -> None:
    env = Environment.from_dockerfile("mine", "Dockerfile")
    with pytest.raises(ValueError, match="got a Dockerfile"):
        script(
            "",
            environment=env,
            docker_runtime_config=DockerConfiguration(use_docker=True),
        )
