"""Every public member of the SDK's `Run` and `Experiment` is there, as it was."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from mlog.azureml.core import Experiment, Run
from mlog.azureml.core import run as run_module
from mlog.azureml.exceptions import UserErrorException
from tests.azureml.signatures import EXPERIMENT, RUN, RUN_FUNCTIONS, Row

HERE = Path(__file__).parent

ROWS = [
    *(pytest.param(Run, row, id=f"Run.{row.name}") for row in RUN),
    *(pytest.param(run_module, row, id=row.name) for row in RUN_FUNCTIONS),
    *(pytest.param(Experiment, row, id=f"Experiment.{row.name}") for row in EXPERIMENT),
]

# Set on each object, so a class does not show them.
INSTANCE_ATTRIBUTES = {"id", "name", "workspace"}

Parameter = inspect.Parameter


def parameters(function: Any) -> list[Parameter]:
    """Return the parameters of a function, without self and cls."""
    found = list(inspect.signature(function).parameters.values())
    return [p for p in found if p.name not in ("self", "cls")]


def declared(arguments: str) -> list[Parameter]:
    """Return the parameters that a row declares."""
    space: dict[str, Any] = {}
    exec(f"def declared({arguments}): ...", space)
    return list(inspect.signature(space["declared"]).parameters.values())


def differences(expected: list[Parameter], got: list[Parameter]) -> list[str]:
    """Say where a call that fits the one would not fit the other, or mean another."""
    named = {Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL}
    wanted = [p for p in expected if p.kind not in named]
    found = [p for p in got if p.kind not in named]
    texts = []
    for n, parameter in enumerate(wanted):
        here = found[n] if n < len(found) else None
        if here is None or here.name != parameter.name:
            texts.append(f"argument {n} should be {parameter}, is {here}")
        elif here.default != parameter.default is not Parameter.empty:
            texts.append(f"default of {parameter}, is {here.default!r}")
    for parameter in found[len(wanted) :]:
        if parameter.default is Parameter.empty:
            texts.append(f"{parameter} has to be given, and was not there")
    kinds = {p.kind for p in got}
    return texts + [f"no {p}" for p in expected if p.kind in named - kinds]


@pytest.mark.parametrize(("owner", "row"), ROWS)
def test_a_member_has_the_arguments_it_had(owner: Any, row: Row) -> None:
    """Same names, same order, same defaults; new arguments come last and may be left."""
    if row.arguments is None:
        here = inspect.getattr_static(owner, row.name, None)
        is_property = isinstance(here, property)
        assert is_property or row.name in INSTANCE_ATTRIBUTES
        assert not row.settable or (is_property and here.fset is not None)
    elif row.name != "__exit__":  # called by the interpreter alone, by position
        member = getattr(owner, row.name)
        assert differences(declared(row.arguments), parameters(member)) == []


@pytest.mark.parametrize(("owner", "row"), ROWS)
def test_a_member_has_a_test_or_an_error(owner: Any, row: Row, run: Run) -> None:
    """A row is no promise: its test is there, or its error is raised."""
    assert bool(row.test) != bool(row.error and row.why)
    if row.test:
        file, _, test = row.test.partition("::")
        assert test in names_of_tests(HERE / file)
        return
    on = run if owner is Run else owner
    call = eval(f"lambda member: member({row.call})")
    with pytest.raises(UserErrorException, match=re.escape(row.error)):
        call(getattr(on, row.name))


def names_of_tests(file: Path) -> set[str]:
    """Return the names of the tests in a file."""
    body = ast.parse(file.read_bytes()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("owner", [Run, Experiment])
def test_no_member_is_named_twice(owner: Any) -> None:
    names = [row.name for row in (RUN if owner is Run else EXPERIMENT)]
    assert sorted(set(names)) == sorted(names)


def test_a_difference_would_be_seen() -> None:
    """The comparison itself tells order, names, defaults and what must be given."""

    def same(name: str, value: object = None, *, step: int = 0) -> None: ...
    def other(value: object, name: str) -> None: ...
    def default(name: str, value: object = 1) -> None: ...
    def more(name: str, value: object = None, *, step: int) -> None: ...

    expected = declared("name, value=None")
    assert differences(expected, parameters(same)) == []
    assert len(differences(expected, parameters(other))) == 2
    assert differences(expected, parameters(default)) == ["default of value=None, is 1"]
    assert len(differences(expected, parameters(more))) == 1
    assert differences(declared("name, value"), parameters(same)) == []
    assert differences(declared("**kwargs"), parameters(same)) != []
