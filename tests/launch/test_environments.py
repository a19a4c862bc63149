"""What a text names, and what a run says of an environment."""

import json
from pathlib import Path

import pytest

from mlog.errors import MlogError
from mlog.launch.environments import Container, Environment


def test_a_text_names_an_interpreter(tmp_path: Path) -> None:
    assert Environment.named("/opt/bin/python").python == "/opt/bin/python"
    assert Environment.named("python3.12").python == "python3.12"
    (tmp_path / "bin").mkdir()
    environment = Environment.named(str(tmp_path))
    assert environment.python == str(tmp_path / "bin/python")


def test_a_text_names_a_requirements_file(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a\nb>=1\n")
    environment = Environment.named(str(tmp_path / "requirements.txt"))
    assert environment.packages == ("a", "b>=1")
    assert environment.folder == str(tmp_path)
    assert environment.interpreter == "python"


def test_a_text_names_a_conda_file(tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text(
        "dependencies:\n- python=3.12\n- pytorch=2\n- pip:\n  - a\n"
        "variables:\n  SHADE: green\n"
    )
    environment = Environment.named(str(tmp_path / "env.yml"))
    assert environment.packages == ("torch==2.*", "a")
    assert environment.python_version == "==3.12.*"
    assert environment.variables == {"SHADE": "green"}
    assert environment.remarks == (
        "conda packages are installed by pip: pytorch as torch",
    )


@pytest.mark.parametrize(
    ("text", "image", "engine"),
    [
        ("docker:python:3.12-slim", "python:3.12-slim", None),
        ("podman:host:5000/a/b@sha256:1", "host:5000/a/b@sha256:1", "podman"),
    ],
)
def test_a_text_names_an_image(text: str, image: str, engine: str | None) -> None:
    assert Environment.named(text).container == Container(image, engine=engine)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("env.yml", "dependencies: numpy", "must be a list, got 'numpy'"),
        ("env.yml", "dependencies:\n  numpy", "line 2 of the conda file"),
        ("env.yml", "dependencies:\n- a=1|2", "alternatives"),
        ("r.txt", "-r r.txt", "name each other"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(MlogError, match=says) as caught:
        Environment.named(str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)


def test_what_names_nothing_is_refused(tmp_path: Path) -> None:
    for text in ("", "  ", "a\0b"):
        with pytest.raises(ValueError, match="environment must name one"):
            Environment.named(text)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.txt"):
        Environment.named(str(tmp_path / "none.txt"))
    with pytest.raises(ValueError, match="an image needs a name"):
        Environment.named("docker:")


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        (Environment(), "this interpreter"),
        (Environment(source="mine"), "this interpreter (mine)"),
        (Environment(python="/opt/bin/python"), "/opt/bin/python"),
        (Environment.from_image("a:1"), "container of a:1"),
        (Environment(packages=()), "virtual environment (no packages)"),
        (
            Environment(
                packages=("--pre", *"abcdef"), source="r.txt", python_version="==3.12.*"
            ),
            "virtual environment (r.txt: a, b, c, d and 2 more, Python ==3.12.*)",
        ),
    ],
)
def test_a_line_tells_what_it_is(environment: Environment, text: str) -> None:
    assert environment.text == text


def test_values_of_variables_are_not_told() -> None:
    environment = Environment(packages=("a",)).with_variables({"TOKEN": "x", "N": 1})
    assert environment.variables == {"TOKEN": "x", "N": "1"}
    assert environment.described() == {
        "packages": ("a",),
        "variables": ["N", "TOKEN"],
        "text": "virtual environment (a)",
    }


@pytest.mark.parametrize(
    "environment",
    [
        Environment(),
        Environment(packages=("a",), remarks=("b",), variables={"c": "d"}),
        Environment.from_image("a", arguments=("-x",), cpus=2.0, folders=("/b",)),
    ],
)
def test_it_goes_through_json(environment: Environment) -> None:
    said = json.loads(json.dumps(environment.encoded()))
    assert Environment.decoded(said) == environment
