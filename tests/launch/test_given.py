"""What objects with v1's attributes mean."""

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from mlog.launch.environments import Container, Environment
from mlog.launch.given import environment_of
from mlog.launch.interpreters import running


def v1(*dependencies: Any, **settings: Any) -> Any:
    """Return an object like v1's with packages."""
    said = {"dependencies": list(dependencies)}
    listed = SimpleNamespace(as_dict=lambda: said)
    python = SimpleNamespace(conda_dependencies=listed, **settings)
    return SimpleNamespace(name="mine", python=python, environment_variables={"A": 1})


def test_what_is_given_may_be_an_environment_or_a_text() -> None:
    made = Environment(packages=("a",))
    assert environment_of(made) is made
    assert environment_of("/opt/bin/python") == Environment(python="/opt/bin/python")
    assert environment_of(None) == Environment()


def test_packages_that_are_not_here_are_installed() -> None:
    found = environment_of(v1({"pip": ["nobody-has-this>=1", "azureml-defaults"]}))
    assert found.packages == ("nobody-has-this>=1",)
    assert (found.source, found.variables) == ("mine", {"A": "1"})


def test_packages_that_are_here_are_used() -> None:
    """So scripts that ask for what there is start at once, without a network."""
    version = metadata.version("click")
    for line in ("click", f"click=={version}", "Click>=1", "--no-index"):
        assert environment_of(v1({"pip": [line]})).packages is None
    for line in ("click<1", "click[x]", "click; python_version > '3'", "click>=0.1rc1"):
        assert environment_of(v1({"pip": [line]})).packages == (line,)


def test_the_sdk_itself_is_never_installed() -> None:
    names = ["azureml-core==1.40", "azureml_sdk", "azureml-mlflow", "azureml.core"]
    assert environment_of(v1("python=3.8.13", {"pip": names})).packages is None
    assert environment_of(v1({"pip": ["azuremlx"]})).packages == ("azuremlx",)


def test_a_python_that_is_too_old_is_not_looked_for() -> None:
    """Scripts that log through the SDK could not do so in it."""
    found = environment_of(v1("python=3.8.13", {"pip": ["nobody-has-this"]}))
    assert found.python_version is None
    assert found.remarks == (
        f"Python 3.8.13.* is too old for mlog; {running().version} is used",
    )
    assert environment_of(v1("python=3.8.13")).remarks == ()


def test_another_python_is_looked_for() -> None:
    assert environment_of(v1("python=3.99")).python_version == "==3.99.*"
    minor = ".".join(running().version.split(".")[:2])
    assert environment_of(v1(f"python={minor}")).packages is None


def test_what_the_user_manages_is_left_alone() -> None:
    pip = {"pip": ["nobody-has-this"]}
    found = environment_of(v1(pip, user_managed_dependencies=True))
    assert (found.packages, found.python) == (None, None)
    found = environment_of(v1(pip, interpreter_path="/opt/bin/python"))
    assert (found.packages, found.python) == (None, "/opt/bin/python")


def test_an_image_is_used_only_if_docker_is_asked_for() -> None:
    environment = v1({"pip": ["nobody-has-this"]})
    environment.docker = SimpleNamespace(
        base_image="a:1",
        base_image_registry=SimpleNamespace(address="registry:5000"),
        gpu_support=True,
        shm_size="2g",
        arguments=["-v", "/data:/data"],
    )
    assert environment_of(environment).container is None
    docker = SimpleNamespace(use_docker=True, shm_size="8g", arguments=["--ipc=host"])
    found = environment_of(environment, docker)
    assert found.container == Container(
        "registry:5000/a:1",
        gpus="all",
        shm_size="8g",
        arguments=("-v", "/data:/data", "--ipc=host"),
    )
    assert found.packages is None
    assert found.remarks == (
        "the packages of the environment are not installed into the image",
    )
    environment.docker.enabled = True
    assert environment_of(environment).container is not None


def test_a_dockerfile_is_not_built() -> None:
    docker = SimpleNamespace(use_docker=True)
    environment = v1()
    environment.docker = SimpleNamespace(base_image=None, base_dockerfile="FROM x")
    with pytest.raises(ValueError, match="must name an image, got a Dockerfile"):
        environment_of(environment, docker)
    with pytest.raises(ValueError, match="the environment names no image"):
        environment_of("/opt/bin/python", docker)


@pytest.mark.parametrize("given", [["numpy"], 3, {"a": 1}, object()])
def test_what_is_no_environment_is_refused(given: object) -> None:
    """Else the script would run in this one without a word."""
    with pytest.raises(TypeError, match=r"packages are Environment\(packages="):
        environment_of(given)
