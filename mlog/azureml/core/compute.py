"""Compute targets: every one is this machine, and says so once.

`<root>/compute.toml` (with a `.mlog` folder: `.mlog/compute.toml`) may say more about a
name, and then no line is said:

    [gpu-cluster]
    python = "/opt/torch/bin/python"
    environment_variables = { CUDA_VISIBLE_DEVICES = "0" }
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

from mlog.azureml.core import store
from mlog.azureml.core.later import later
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.exceptions import ComputeTargetException
from mlog.azureml.note import note
from mlog.azureml.reach import Partly, needs_azure

__all__ = [
    "AksCompute",
    "AmlCompute",
    "AmlComputeProvisioningConfiguration",
    "AmlComputeStatus",
    "ComputeInstance",
    "ComputeTarget",
    "ComputeTargetException",
    "DataFactoryCompute",
    "DatabricksCompute",
    "DsvmCompute",
    "HDInsightCompute",
    "KubernetesCompute",
    "Placement",
    "RemoteCompute",
    "place",
]

_KIND = "compute"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the scripts of a compute target run.

    Attributes:
        python: The interpreter; None: this process's.
        environment_variables: What is set for the script.
    """

    python: str | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)


def place(root: Path, name: str) -> Placement:
    """Return where scripts for a compute target run, and say that it is this machine.

    Args:
        root: Folder of all runs, which may hold a `compute.toml`.
        name: The target's.

    Raises:
        ComputeTargetException: `compute.toml` cannot be read, or is wrong.
    """
    said = _mapped(root).get(name)
    if said is None:
        if name not in ("local", "amlcompute"):
            note(f"compute {name}", f"compute target {name!r} is this machine")
        return Placement()
    python, variables = said.get("python"), said.get("environment_variables", {})
    if not isinstance(python, str | None) or not isinstance(variables, dict):
        raise ComputeTargetException(
            f"[{name}] in {root / 'compute.toml'}: python must be a text and "
            "environment_variables a table"
        )
    return Placement(python, {key: str(value) for key, value in variables.items()})


class _Targets(dict[str, "ComputeTarget"]):
    """The listed targets; a name that is not among them is found all the same."""

    def __init__(self, workspace: Workspace, names: Mapping[str, str]) -> None:
        self._workspace = workspace
        super().__init__({name: _make(workspace, name) for name in names})

    def __missing__(self, name: str) -> "ComputeTarget":
        return _make(self._workspace, name)


class ComputeTarget(Partly):
    """A name for this machine.

    `ComputeTarget(workspace, name)` never fails: what it gives is an `AmlCompute`, or
    the type that the target of that name was created with.

    Attributes:
        workspace, name: As given.
        vm_size, min_nodes, max_nodes, location, tags, description: As created; labels.
        type: Text, "AmlCompute" for example.
        provisioning_state: "Succeeded".
    """

    type = "AmlCompute"
    provisioning_state = "Succeeded"
    provisioning_errors: tuple[str, ...] = ()
    is_attached = False
    created_on = modified_on = cluster_resource_id = None
    _beyond: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("add_identity", "admin_user_password", "admin_user_ssh_key"),
            *("admin_username", "applications", "get_usage", "identity_id"),
            *("identity_type", "remove_identity", "ssh_public_access", "update_quotas"),
        ),
        "leave it out: the target is this machine",
    )

    def __new__(cls, workspace: Workspace, name: str, **kwargs: Any) -> "ComputeTarget":
        """Choose the type by what is known of the name."""
        if cls is not ComputeTarget:
            return super().__new__(cls)
        known = store.read(workspace.root, _KIND, name).get("type", "AmlCompute")
        return super().__new__(_TYPES.get(known, AmlCompute))

    def __init__(self, workspace: Workspace, name: str, **kwargs: Any) -> None:
        """Name this machine."""
        self.workspace = workspace
        self.name = name
        self.id = f"{workspace.root.as_uri()}/{store.FOLDER}/{_KIND}/{name}"
        self.location = workspace.location
        self._said = store.read(workspace.root, _KIND, name)
        self.vm_size: str | None = self._said.get("vm_size")
        self.min_nodes: int = self._said.get("min_nodes") or 0
        self.max_nodes: int = self._said.get("max_nodes") or 1
        self.description: str | None = self._said.get("description")
        self.tags: dict[str, str] = self._said.get("tags") or {}
        place(workspace.root, name)

    def __repr__(self) -> str:
        """Return type and name."""
        return f"{self.type}(workspace={self.workspace!r}, name={self.name!r})"

    @staticmethod
    def create(
        workspace: Workspace,
        name: str,
        provisioning_configuration: "ProvisioningConfiguration",
    ) -> "ComputeTarget":
        """Remember a target and return it; nothing is provisioned."""
        said = provisioning_configuration.said
        store.write(workspace.root, _KIND, name, {"name": name, **said})
        return ComputeTarget(workspace, name)

    @staticmethod
    def attach(
        workspace: Workspace,
        name: str,
        attach_configuration: "ProvisioningConfiguration",
    ) -> "ComputeTarget":
        """Do as `create` does."""
        return ComputeTarget.create(workspace, name, attach_configuration)

    @staticmethod
    def list(workspace: Workspace) -> dict[str, "ComputeTarget"]:
        """Return by name what was created and what `compute.toml` names.

        Iterating gives the names, not the targets.
        """
        known = {said["name"]: "" for said in store.documents(workspace.root, _KIND)}
        return _Targets(workspace, known | dict.fromkeys(_mapped(workspace.root), ""))

    def wait_for_completion(
        self,
        show_output: bool = False,
        min_node_count: int | None = None,
        timeout_in_minutes: float | None = None,
        is_delete_operation: bool = False,
    ) -> None:
        """Return at once: this machine is there."""
        if show_output:
            print(f"{self.provisioning_state}: {self.name} is this machine")  # noqa: T201  # asked for

    def refresh_state(self) -> None:
        """Do nothing: the state does not change."""

    def get_status(self) -> Any:
        """Return the state; of an `AmlCompute` an object."""
        return self.provisioning_state

    def serialize(self) -> dict[str, Any]:
        """Return what is known of the target."""
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "location": self.location,
            "description": self.description,
            "tags": dict(self.tags),
            "provisioningState": self.provisioning_state,
            "vmSize": self.vm_size,
            "maxNodes": self.max_nodes,
        }

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Remember the labels given by name."""
        self._said |= {"name": self.name, "type": self.type, **kwargs}
        store.write(self.workspace.root, _KIND, self.name, self._said)
        for key, value in kwargs.items():
            if key in ("vm_size", "min_nodes", "max_nodes", "description", "tags"):
                setattr(self, key, value)

    def delete(self) -> None:
        """Forget the target."""
        store.remove(self.workspace.root, _KIND, self.name)

    def detach(self) -> None:
        """Forget the target."""
        self.delete()

    def get_active_runs(
        self, type: str | None = None, tags: Any = None, status: str | None = None
    ) -> Iterator[Any]:
        """Yield the runs that go on here; see `Run.list_by_compute`."""
        runs: Iterator[Any] = later("Run").list_by_compute(
            self, type, tags, None, status
        )
        return runs

    def get_credentials(self) -> NoReturn:
        """Raise: there is nothing to log in to."""
        needs_azure("get_credentials()", "leave it out: the target is this machine")


@dataclass(frozen=True, slots=True)
class AmlComputeStatus:
    """What a cluster says of itself.

    Attributes:
        allocation_state: "Steady".
        current_node_count, target_node_count: 1: this machine.
    """

    vm_size: str | None
    allocation_state: str = "Steady"
    current_node_count: int = 1
    target_node_count: int = 1
    provisioning_state: str = "Succeeded"
    errors: Any = None

    def serialize(self) -> dict[str, Any]:
        """Return the same as a mapping."""
        return {
            "vmSize": self.vm_size,
            "allocationState": self.allocation_state,
            "currentNodeCount": self.current_node_count,
            "targetNodeCount": self.target_node_count,
            "provisioningState": self.provisioning_state,
            "errors": self.errors,
        }


class ProvisioningConfiguration:
    """Labels for a target that is going to be created."""

    def __init__(self, type: str, given: Mapping[str, Any]) -> None:
        """Keep what was given by name."""
        self.said = {"type": type, **given}
        for key, value in given.items():
            setattr(self, key, value)


class AmlComputeProvisioningConfiguration(ProvisioningConfiguration):
    """Labels for a cluster."""


class _Provisioned(ComputeTarget):
    """A type of target that can be created or attached by a configuration."""

    @classmethod
    def provisioning_configuration(
        cls, *args: Any, **kwargs: Any
    ) -> ProvisioningConfiguration:
        """Return the labels for `ComputeTarget.create`."""
        return ProvisioningConfiguration(cls.type, kwargs)

    @classmethod
    def attach_configuration(
        cls, *args: Any, **kwargs: Any
    ) -> ProvisioningConfiguration:
        """Return the labels for `ComputeTarget.attach`; passwords are left out."""
        kept = {k: v for k, v in kwargs.items() if k in ("description", "tags")}
        return ProvisioningConfiguration(cls.type, kept)


class AmlCompute(ComputeTarget):
    """A cluster, which is this machine."""

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "",
        vm_priority: str = "dedicated",
        min_nodes: int = 0,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int | None = None,
        *args: Any,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        **kwargs: Any,
    ) -> AmlComputeProvisioningConfiguration:
        """Return the labels for `ComputeTarget.create`.

        User names, passwords and keys are not kept.
        """
        given = {
            "vm_size": vm_size,
            "vm_priority": vm_priority,
            "min_nodes": min_nodes,
            "max_nodes": max_nodes,
            "idle_seconds_before_scaledown": idle_seconds_before_scaledown,
            "tags": dict(tags or {}),
            "description": description,
        }
        return AmlComputeProvisioningConfiguration("AmlCompute", given)

    def get_status(self) -> AmlComputeStatus:
        """Return that one node is there."""
        return AmlComputeStatus(self.vm_size)

    @property
    def status(self) -> AmlComputeStatus:
        """What `get_status` returns."""
        return self.get_status()

    @property
    def vm_priority(self) -> str:
        """As created; a label."""
        return str(self._said.get("vm_priority") or "dedicated")

    @property
    def scale_settings(self) -> Any:
        """As created; labels."""
        return SimpleNamespace(
            minimum_node_count=self.min_nodes,
            maximum_node_count=self.max_nodes,
            idle_seconds_before_scaledown=self._said.get(
                "idle_seconds_before_scaledown"
            ),
        )

    def list_nodes(self) -> "list[dict[str, Any]]":
        """Return this machine."""
        return [{"nodeId": self.name, "nodeState": "idle", "ipAddress": "127.0.0.1"}]

    @staticmethod
    def supported_vmsizes(
        workspace: Workspace, location: str | None = None
    ) -> "list[dict[str, Any]]":
        """Return nothing: a size is only a label."""
        return []


class ComputeInstance(_Provisioned):
    """A workstation, which is this machine."""

    type = "ComputeInstance"

    def start(
        self, wait_for_completion: bool = False, show_output: bool = False
    ) -> None:
        """Do nothing: it runs."""

    def stop(
        self, wait_for_completion: bool = False, show_output: bool = False
    ) -> None:
        """Do nothing: this machine goes on."""

    def restart(
        self, wait_for_completion: bool = False, show_output: bool = False
    ) -> None:
        """Do nothing: this machine goes on."""


class AksCompute(_Provisioned):
    """A Kubernetes cluster, which is this machine."""

    type = "AKS"


class KubernetesCompute(_Provisioned):
    """A Kubernetes cluster, which is this machine."""

    type = "Kubernetes"


class RemoteCompute(_Provisioned):
    """A machine reached by SSH; here it is this one."""

    type = "VirtualMachine"


class DsvmCompute(_Provisioned):
    """A virtual machine, which is this machine."""

    type = "DSVM"


class HDInsightCompute(_Provisioned):
    """A Spark cluster, which is this machine."""

    type = "HDInsight"


class DatabricksCompute(_Provisioned):
    """A Databricks workspace, which is this machine."""

    type = "Databricks"


class DataFactoryCompute(_Provisioned):
    """A data factory, which is this machine."""

    type = "DataFactory"


_TYPES: dict[str, type[ComputeTarget]] = {
    kind.type: kind
    for kind in (
        AmlCompute,
        ComputeInstance,
        AksCompute,
        KubernetesCompute,
        RemoteCompute,
        DsvmCompute,
        HDInsightCompute,
        DatabricksCompute,
        DataFactoryCompute,
    )
}


def _make(workspace: Workspace, name: str) -> ComputeTarget:
    return ComputeTarget(workspace, name)


def _mapped(root: Path) -> dict[str, dict[str, Any]]:
    """Return the tables of `compute.toml` by name; {} where there is none."""
    file = root / "compute.toml"
    try:
        said = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ComputeTargetException(f"{file} cannot be read: {exc}") from exc
    wrong = [name for name, table in said.items() if not isinstance(table, dict)]
    if wrong:
        raise ComputeTargetException(f"{file}: {wrong[0]} must be a table")
    return said
