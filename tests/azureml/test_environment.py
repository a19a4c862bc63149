"""Environments and lists of packages: labels that are kept, and a few that count."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.azureml.core import Environment, Workspace
from mlog.azureml.core.conda_dependencies import CondaDependencies
from mlog.azureml.core.runconfig import DockerConfiguration, RunConfiguration
from mlog.azureml.exceptions import UserErrorException
from mlog.launch import conda_file

CONDA = """\
# made by hand
name: project_environment
dependencies:
  # The python interpreter version.
- python=3.8.13
- pip:
  - azureml-defaults~=1.40  # pinned
  - 'scikit-learn>=1.0'
  - --prefer-binary
- conda-forge::lightgbm=3
channels: [anaconda, conda-forge]
"""


def test_a_conda_file_is_read() -> None:
    Path("env.yml").write_text(CONDA)
    env = Environment.from_conda_specification("sk", "env.yml")
    conda = env.python.conda_dependencies
    assert conda is not None
    assert conda.python_version == "3.8.13"
    assert conda.conda_channels == ["anaconda", "conda-forge"]
    assert conda.conda_packages == ["python=3.8.13", "conda-forge::lightgbm=3"]
    assert conda.pip_packages == ["azureml-defaults~=1.40", "scikit-learn>=1.0"]
    assert conda.pip_options == ["--prefer-binary"]


NAMES = st.from_regex(r"[a-z][a-z0-9_.=-]{0,10}", fullmatch=True)


@given(st.lists(NAMES, unique=True), st.lists(NAMES, unique=True), st.lists(NAMES))
def test_a_conda_file_is_written_as_it_is_read(
    conda: list[str], pip: list[str], channels: list[str]
) -> None:
    packages = [*conda, {"pip": pip}] if pip else [*conda]
    document = {"name": "x", "channels": channels, "dependencies": packages}
    read = conda_file.parse(conda_file.dump(document))
    assert {key: value or [] for key, value in read.items()} == document


@pytest.mark.parametrize("text", ["name", "dependencies:\n  python", "a: b\n  - c"])
def test_a_line_that_cannot_be_read_is_named(text: str) -> None:
    Path("env.yml").write_text(text)
    with pytest.raises(UserErrorException, match=r"env\.yml cannot be read: line [12]"):
        Environment.from_conda_specification("x", "env.yml")


def test_packages_are_listed_one_by_one() -> None:
    conda = CondaDependencies.create(
        pip_packages=["numpy==1.20"],
        conda_packages=["scikit-learn"],
        python_version="3.11",
        pip_indexurl="https://example.org",
    )
    conda.add_pip_package("numpy>=2")
    conda.add_conda_package("pandas")
    conda.add_conda_package("Pandas=2")
    conda.add_channel("pytorch")
    conda.remove_channel("anaconda")
    assert "numpy>=2" in conda.pip_packages
    assert "numpy==1.20" not in conda.pip_packages
    assert conda.conda_packages == ["python=3.11", "scikit-learn", "Pandas=2"]
    assert conda.conda_channels == ["conda-forge", "pytorch"]
    assert conda.save_to_file(".", "a/conda.yml") == "a/conda.yml"
    again = CondaDependencies("a/conda.yml")
    assert again.as_dict() == conda.as_dict()
    assert again.serialize_to_string() == conda.serialize_to_string()


def test_requirements_are_read() -> None:
    Path("requirements.txt").write_text("# tools\nnumpy>=2  # newest\n\npandas\n")
    env = Environment.from_pip_requirements("x", "requirements.txt")
    assert env.python.conda_dependencies is not None
    assert {"numpy>=2", "pandas"} <= {*env.python.conda_dependencies.pip_packages}
    with pytest.raises(UserErrorException, match=r"nothing\.txt cannot be read"):
        Environment.from_pip_requirements("x", "nothing.txt")


def test_settings_may_be_changed_one_by_one() -> None:
    """Also those that nobody thought of."""
    env = Environment(name="x")
    env.python.user_managed_dependencies = True
    env.python.interpreter_path = "/opt/bin/python"
    env.docker.enabled = True
    env.docker.base_image = "image:1"
    env.docker.base_image_registry.address = "registry"
    env.docker.something_new = 1
    env.environment_variables["A"] = "1"
    copy = env.clone("y")
    assert (copy.name, copy.docker.base_image) == ("y", "image:1")
    assert copy.python.interpreter_path == "/opt/bin/python"
    assert env.docker.nobody_set_this is None


def test_an_environment_is_registered_by_version(workspace: Workspace) -> None:
    """The same again is no new version."""
    env = Environment("x")
    assert env.register(workspace).version == "1"
    assert env.register(workspace).version == "1"
    env.environment_variables["A"] = "1"
    assert env.register(workspace).version == "2"
    assert Environment.get(workspace, "x").environment_variables == {"A": "1"}
    assert Environment.get(workspace, "x", version="1").environment_variables == {}
    assert list(Environment.list(workspace)) == list(workspace.environments) == ["x"]
    with pytest.raises(UserErrorException, match="registered: x"):
        Environment.get(workspace, "y")
    with pytest.raises(UserErrorException, match="needs a name"):
        Environment().register(workspace)


def test_a_curated_environment_is_what_is_installed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    env = Environment.get(workspace, "AzureML-sklearn-1.0-ubuntu20.04-py38-cpu")
    assert env.name == "AzureML-sklearn-1.0-ubuntu20.04-py38-cpu"
    assert "packages that are installed" in capsys.readouterr().err


def test_an_environment_is_kept_in_a_folder() -> None:
    env = Environment.from_docker_image("x", "image:1")
    env.environment_variables["A"] = "1"
    env.save_to_directory("env")
    with pytest.raises(UserErrorException, match="overwrite=True"):
        env.save_to_directory("env")
    env.save_to_directory("env", overwrite=True)
    found = Environment.load_from_directory("env")
    assert found.as_dict() == env.as_dict()
    with pytest.raises(UserErrorException, match="cannot be read"):
        Environment.load_from_directory("nothing")


def test_nothing_is_built(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    env = Environment.from_dockerfile("x", "Dockerfile")
    assert env.build(workspace).wait_for_completion(show_output=True).status
    assert env.build_local(workspace).status == "Succeeded"
    assert "no image is built" in capsys.readouterr().err
    assert env.get_image_details(workspace)["imageExistsInRegistry"] is False


def test_a_run_configuration_has_what_scripts_set() -> None:
    conda = CondaDependencies.create(pip_packages=["numpy"])
    config = RunConfiguration(script="train.py", conda_dependencies=conda)
    config.target = "cpu"
    config.node_count = 2
    config.docker = DockerConfiguration(use_docker=True)
    config.history.output_collection = False
    assert config.environment is not None
    assert config.environment.python.conda_dependencies is conda
    for call in (RunConfiguration.load, config.save):
        with pytest.raises(UserErrorException, match="in Python"):
            call(".")
