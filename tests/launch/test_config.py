"""`ScriptRunConfig`: what can be run, and what is refused."""

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlog.launch.config import MAX_SECONDS, ScriptRunConfig


@pytest.fixture(autouse=True)
def script(source: Path) -> Path:
    path = source / "train.py"
    path.write_text("")
    return path


def test_positional_arguments_have_v1s_order() -> None:
    names = list(inspect.signature(ScriptRunConfig).parameters)
    assert names[:12] == [
        *("source_directory", "script", "arguments", "run_config"),
        *("_telemetry_values", "compute_target", "environment"),
        *("distributed_job_config", "resume_from", "max_run_duration_seconds"),
        *("command", "docker_runtime_config"),
    ]


def test_defaults(source: Path) -> None:
    config = ScriptRunConfig(source, "train.py")
    assert config.line == [sys.executable, "train.py"]
    assert config.max_run_duration_seconds == MAX_SECONDS == 30 * 24 * 3600
    assert config.variables == {}


def test_arguments_become_texts(source: Path) -> None:
    config = ScriptRunConfig(source, "train.py", ["--alpha", 0.5, Path("a b"), 3])
    assert config.line[1:] == ["train.py", "--alpha", "0.5", "a b", "3"]


def test_arguments_as_one_text_are_split_as_by_a_shell(source: Path) -> None:
    config = ScriptRunConfig(source, "train.py", "--name 'a b' -n 3")
    assert config.arguments == ["--name", "a b", "-n", "3"]


def test_a_command_is_run_as_it_is_or_by_the_shell(source: Path) -> None:
    assert ScriptRunConfig(source, command=["echo", 1]).line == ["echo", "1"]
    line = ScriptRunConfig(source, command="echo $HOME && true").line
    assert line == ["/bin/sh", "-c", "echo $HOME && true"]


def test_azureml_names_go_through_their_own_module(source: Path) -> None:
    config = ScriptRunConfig(source, "train.py", ["-x"], azureml=True)
    assert config.line == [sys.executable, "-m", "mlog.azureml", "train.py", "-x"]


def test_an_environment_may_be_a_path(source: Path) -> None:
    config = ScriptRunConfig(source, "train.py", environment=Path("/opt/bin/python"))
    assert config.line[0] == "/opt/bin/python"


def test_an_environment_may_be_v1s(source: Path) -> None:
    python = SimpleNamespace(interpreter_path="/opt/bin/python")
    environment = SimpleNamespace(python=python, environment_variables={"N": 3})
    config = ScriptRunConfig(source, "train.py", environment=environment)
    assert config.interpreter == "/opt/bin/python"
    assert config.variables == {"N": "3"}


def test_an_environment_that_names_no_interpreter_means_this_one(source: Path) -> None:
    environment = SimpleNamespace(python=SimpleNamespace(interpreter_path="python"))
    config = ScriptRunConfig(source, "train.py", environment=environment)
    assert config.interpreter == sys.executable


def test_a_run_config_wins(source: Path) -> None:
    run_config = SimpleNamespace(
        target="local", environment="/a/python", max_run_duration_seconds=5
    )
    config = ScriptRunConfig(
        source,
        "train.py",
        run_config=run_config,
        compute_target="cluster",
        environment="/b/python",
    )
    assert config.interpreter == "/a/python"
    assert config.max_run_duration_seconds == 5


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, ValueError, "either script or command; neither"),
        ({"script": "train.py", "command": "x"}, ValueError, "both are given"),
        ({"command": "x", "arguments": ["-x"]}, ValueError, "arguments are for a scr"),
        ({"command": []}, ValueError, "command must not be empty"),
        ({"command": " "}, ValueError, "command must not be empty"),
        ({"script": "none.py"}, FileNotFoundError, "script 'none.py' is not in sour"),
        ({"script": "../train.py"}, ValueError, "script must lie in source_direct"),
        ({"script": "train.py", "arguments": {"a": 1}}, TypeError, "a list, got dict"),
        ({"script": "train.py", "arguments": ["a\0b"]}, ValueError, "NUL"),
        (
            {"script": "train.py", "max_run_duration_seconds": 0},
            ValueError,
            "seconds > 0 or None, got 0",
        ),
        (
            {"script": "train.py", "compute_target": SimpleNamespace(name="gpu")},
            ValueError,
            "compute_target must be None or 'local', got 'gpu'",
        ),
        (
            {"script": "train.py", "distributed_job_config": object()},
            ValueError,
            "distributed_job_config is not supported",
        ),
        (
            {
                "script": "train.py",
                "docker_runtime_config": SimpleNamespace(use_docker=True),
            },
            ValueError,
            "base_image must name an image, got nothing",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(
    source: Path, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ScriptRunConfig(source, **given)


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"source_directory '.*none' is no fo"):
        ScriptRunConfig(tmp_path / "none", "train.py")


def test_it_is_checked_again_when_it_is_submitted(source: Path, script: Path) -> None:
    """v1 code changes attributes after the fact."""
    config = ScriptRunConfig(source, "train.py")
    config.arguments = ["--late"]
    assert config.line[-1] == "--late"
    script.unlink()
    with pytest.raises(FileNotFoundError):
        config.check()
