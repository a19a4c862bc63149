"""`RunConfiguration`: how a script is run, as settings that may be changed one by one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mlog.azureml.core.conda_dependencies import CondaDependencies
from mlog.azureml.core.environment import (
    DEFAULT_CPU_IMAGE,
    DEFAULT_GPU_IMAGE,
    Environment,
    Section,
)
from mlog.azureml.reach import needs_azure

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "DataReferenceConfiguration",
    "DockerConfiguration",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "RunConfiguration",
    "TensorflowConfiguration",
]


@dataclass
class MpiConfiguration:
    """So many processes, by MPI; one is started here."""

    process_count_per_node: int = 1
    node_count: int = 1

    @property
    def processes(self) -> int:
        """How many there would be."""
        return self.process_count_per_node * self.node_count


@dataclass
class PyTorchConfiguration:
    """So many processes, by PyTorch; one is started here."""

    communication_backend: str = "Nccl"
    process_count: int | None = None
    node_count: int = 1

    @property
    def processes(self) -> int:
        """How many there would be."""
        return self.process_count or self.node_count


@dataclass
class TensorflowConfiguration:
    """So many processes, by TensorFlow; one is started here."""

    worker_count: int = 1
    parameter_server_count: int = 0

    @property
    def processes(self) -> int:
        """How many there would be."""
        return self.worker_count + self.parameter_server_count


@dataclass
class DockerConfiguration:
    """Whether a script runs in the image of its environment.

    Attributes:
        use_docker: Whether it does.
        shared_volumes: Not used.
        arguments: Further arguments of `docker run`.
        shm_size: Size of `/dev/shm`.
    """

    use_docker: bool = False
    shared_volumes: bool = True
    arguments: Sequence[str] | None = None
    shm_size: str | None = None


@dataclass
class History:
    """What is kept of a run; all of it is, whatever is said here."""

    output_collection: bool = True
    snapshot_project: bool = True
    directories_to_watch: list[str] = field(default_factory=lambda: ["logs"])


@dataclass
class AmlComputeConfiguration:
    """Labels of a cluster that would be made for one run."""

    vm_size: str | None = None
    vm_priority: str | None = None
    name: str | None = None
    location: str | None = None
    cluster_max_node_count: int = 1
    retain_cluster: bool = False


@dataclass
class DataReferenceConfiguration:
    """A path in a datastore, which the script finds as `AZUREML_DATAREFERENCE_<key>`.

    Attributes:
        datastore_name, path_on_datastore: The path.
        mode, path_on_compute, overwrite: Labels: data is read where it lies.
    """

    datastore_name: str | None = None
    mode: str = "mount"
    path_on_datastore: str | None = None
    path_on_compute: str | None = None
    overwrite: bool = False


class RunConfiguration:
    """How a script is run.

    Attributes:
        script, arguments, command: What is run.
        target: Name of the compute target; every one is this machine.
        environment: See `Environment`.
        environment_variables: Set for the script, beside those of the environment.
        max_run_duration_seconds: After which the script is ended. None: no limit.
        docker: See `DockerConfiguration`.
        node_count, framework, communicator, mpi, tensorflow, pytorch, history,
        amlcompute, data, output_data, spark, hdi, identity, services, priority,
        datacaches, credential_passthrough: Kept, and not used.
        data_references: Key to `DataReference` or `DataReferenceConfiguration`.
    """

    def __init__(
        self,
        script: str | None = None,
        arguments: Sequence[Any] | str | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
        _history_enabled: bool | None = None,
        _path: str | os.PathLike[str] | None = None,
        command: Sequence[Any] | str | None = None,
    ) -> None:
        """Begin with the SDK's defaults."""
        self.script = script
        self.arguments: Sequence[Any] | str = arguments or []
        self.command = command
        self.framework = framework or "Python"
        self.communicator = communicator or "None"
        self._target: str | None = "local"
        self.environment: Environment | None = Environment()
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies
        self.environment_variables: dict[str, str] = {}
        self.max_run_duration_seconds: float | None = None
        self.node_count = 1
        self.auto_prepare_environment = True
        self.mpi = MpiConfiguration()
        self.pytorch = PyTorchConfiguration()
        self.tensorflow = TensorflowConfiguration()
        self.docker = DockerConfiguration()
        self.history = History()
        self.amlcompute = AmlComputeConfiguration()
        self.data: dict[str, Any] = {}
        self.data_references: dict[str, Any] = {}
        self.output_data: dict[str, Any] = {}
        self.spark, self.hdi = Section(), Section()
        self.identity: Any = None
        self.services: dict[str, Any] = {}
        self.priority: int | None = None
        self.datacaches: list[Any] = []
        self.credential_passthrough = False

    @property
    def target(self) -> str | None:
        """Name of the compute target; may be set to the target itself."""
        return self._target

    @target.setter
    def target(self, value: Any) -> None:
        self._target = getattr(value, "name", value)

    @staticmethod
    def load(path: str | os.PathLike[str], name: str | None = None) -> NoReturn:
        """Raise: `.runconfig` files are not read.

        Raises:
            UserErrorException: Always.
        """
        needs_azure("RunConfiguration.load", "set its attributes in Python")

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        separate_environment_yaml: bool = False,
    ) -> NoReturn:
        """Raise: `.runconfig` files are not written.

        Raises:
            UserErrorException: Always.
        """
        needs_azure("RunConfiguration.save", "set its attributes in Python")
