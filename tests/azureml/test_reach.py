"""What the SDK's objects had and a machine alone cannot do."""

import pickle
from typing import Any, ClassVar

import pytest

from mlog.azureml.core import Environment, Model, Workspace
from mlog.azureml.core.compute import ComputeTarget
from mlog.azureml.data import FileDataset, TabularDataset
from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.reach import NotLocalError, Partly

OBJECTS: dict[str, Any] = {
    "get_connection": lambda ws: ws,
    "account_key": lambda ws: ws.get_default_datastore(),
    "admin_username": lambda ws: ComputeTarget(ws, "cpu"),
    "get_profile": lambda ws: TabularDataset(["x"]),
    "hydrate": lambda ws: FileDataset(["x"]),
    "add_tags": lambda ws: FileDataset(["x"]),
}


class Thing(Partly):
    """Has one attribute, and had another."""

    _beyond: ClassVar[dict[str, str]] = {"far": "take what is near"}
    near = 1


def test_a_part_out_of_reach_names_the_local_way() -> None:
    """One clear error, which code that looks before it leaps understands."""
    with pytest.raises(UserErrorException, match=r"Thing\.far .* take what is near"):
        getattr(Thing(), "far")  # noqa: B009  # mypy knows that it is not there
    assert not hasattr(Thing(), "far")
    assert getattr(Thing(), "far", None) is None


def test_a_misspelt_name_is_the_usual_error() -> None:
    with pytest.raises(AttributeError, match="'Thing' object has no attribute 'fra'"):
        getattr(Thing(), "fra")  # noqa: B009
    assert pickle.loads(pickle.dumps(Thing())).near == 1


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_of_the_sdk_tell_what_is_missing(
    workspace: Workspace, name: str
) -> None:
    with pytest.raises(NotLocalError, match=f"{name} needs Azure"):
        getattr(OBJECTS[name](workspace), name)


def test_names_that_scripts_print_are_there(workspace: Workspace) -> None:
    """Labels of a datastore, a cluster and a workspace, as notebooks show them."""
    store = workspace.get_default_datastore()
    shown = (store.datastore_type, store.account_name, store.container_name)
    assert shown == ("Local", "local", "workspaceblobstore")
    assert workspace.DEFAULT_CPU_CLUSTER_NAME == "cpu-cluster"
    with pytest.raises(UserErrorException, match="there is no file"):
        Environment.add_private_pip_wheel(workspace, "x.whl")
    assert Model.resource_configuration is None
