"""`ScriptRunConfig`: a script with all that `experiment.submit` has to know of it."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlog.azureml.alias import SHIM
from mlog.azureml.core.compute import Placement, place
from mlog.azureml.core.datastore import Datastore
from mlog.azureml.core.environment import Environment
from mlog.azureml.core.runconfig import DataReferenceConfiguration, RunConfiguration
from mlog.azureml.core.workspace import HANDED_DOWN, Workspace
from mlog.azureml.data.consumption import DatasetConsumptionConfig
from mlog.azureml.data.data_reference import DataReference
from mlog.azureml.data.output_dataset_config import OutputFileDatasetConfig
from mlog.azureml.note import note
from mlog.launch.config import MAX_SECONDS
from mlog.launch.config import ScriptRunConfig as LocalScript
from mlog.launch.environments import Container
from mlog.launch.environments import Environment as RunsIn
from mlog.launch.given import environment_of

__all__ = ["INPUTS", "OUTPUTS", "ScriptRunConfig"]

INPUTS = "MLOG_AZUREML_INPUTS"
"""Environment variable of a submitted script: JSON, name to data set."""

OUTPUTS = "MLOG_AZUREML_OUTPUTS"
"""Environment variable of a submitted script: JSON, name to folder."""


class ScriptRunConfig(LocalScript):
    """A script to submit, with the SDK's arguments in their order.

    What is set afterwards (`config.run_config.environment = env`) counts, too. The
    compute target is this machine, and one process is started however many a
    distributed job would have.

    Attributes:
        source_directory, script, arguments, command: What is run.
        run_config: See `RunConfiguration`; there always is one.
    """

    run_config: RunConfiguration

    def __init__(
        self,
        source_directory: str | os.PathLike[str],
        script: str | os.PathLike[str] | None = None,
        arguments: Sequence[Any] | str | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: Any = None,
        compute_target: Any = None,
        environment: Environment | None = None,
        distributed_job_config: Any = None,
        resume_from: Any = None,
        max_run_duration_seconds: float | None = MAX_SECONDS,
        command: Sequence[Any] | str | None = None,
        docker_runtime_config: Any = None,
    ) -> None:
        """Describe a run; nothing is started.

        Args:
            source_directory: Folder that is copied into the run and that the script
                starts in.
            script: Path in it; default: that of `run_config`.
            arguments: Numbers, paths and data sets become texts.
            run_config: Wins over target, environment and duration given here.
            compute_target: A name or a target; every one is this machine.
            environment: Packages, image, interpreter and variables of the script.
            distributed_job_config: Not used: one process is started.
            resume_from: Must be None.
            max_run_duration_seconds: After which the script is ended.
            command: What is run instead of a script.
            docker_runtime_config: Whether the image of the environment is used.
            _telemetry_values: Not used.

        Raises:
            FileNotFoundError, ValueError, TypeError: An argument is wrong.
        """
        if run_config is None:
            run_config = RunConfiguration()
            run_config.target = compute_target or "local"
            run_config.environment = environment or Environment()
            run_config.max_run_duration_seconds = max_run_duration_seconds
        self.run_config = run_config
        if script is None and command is None:
            script, command = run_config.script, run_config.command
        self.placement = Placement()
        if arguments is None and command is None:
            arguments = run_config.arguments
        given = arguments if command is None else command
        self._data = list(given) if isinstance(given, list | tuple) else []
        super().__init__(
            source_directory,
            script,
            arguments,
            run_config,
            command=command,
            resume_from=resume_from,
            docker_runtime_config=docker_runtime_config,
        )
        self.distributed_job_config = distributed_job_config
        self._labels: dict[str, str] = {}

    @property
    def environment(self) -> Environment | None:
        """That of the run configuration."""
        return self.run_config.environment

    @environment.setter
    def environment(self, value: Environment | None) -> None:
        self.run_config.environment = value

    @property
    def compute_target(self) -> str | None:
        """Name of that of the run configuration."""
        return self.run_config.target

    @compute_target.setter
    def compute_target(self, value: Any) -> None:
        self.run_config.target = value

    @property
    def max_run_duration_seconds(self) -> float | None:
        """That of the run configuration, else 30 days."""
        said = self.run_config.max_run_duration_seconds
        return MAX_SECONDS if said is None else said

    @max_run_duration_seconds.setter
    def max_run_duration_seconds(self, value: float | None) -> None:
        self.run_config.max_run_duration_seconds = value

    @property
    def runs_in(self) -> RunsIn:
        """What the script runs in.

        That is the interpreter of the compute target in `compute.toml`; else the
        environment, in a container if Docker is asked for. An interpreter that nobody
        said was there (it may have been one of an image) counts only if it is.
        """
        docker = self.docker_runtime_config or self.run_config.docker
        found = environment_of(self.environment, docker)
        if self.placement.python is not None:
            python = self.placement.python
            return replace(found, python=python, packages=None, container=None)
        if found.container is not None:
            return replace(found, container=self._with_data(found.container))
        path = found.python
        if path is None or self._is_promised or shutil.which(path) is not None:
            return found
        note(f"python {path}", f"there is no {path} here; {sys.executable} is used")
        return replace(found, python=None)

    @property
    def _is_promised(self) -> bool:
        """Whether the environment says that its interpreter is there."""
        python = getattr(self.environment, "python", None)
        return python is None or bool(python.user_managed_dependencies)

    def _with_data(self, container: Container) -> Container:
        """Return a container that finds the data of the script."""
        paths = [data.argument for data in self.inputs.values()]
        there = (*container.folders, *paths, *self.outputs.values())
        return replace(container, folders=tuple(map(str, there)))

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for the script."""
        return {
            "PYTHONPATH": _with_shim(os.environ.get("PYTHONPATH")),
            **self._labels,
            **super().variables,
            **{k: str(v) for k, v in self.run_config.environment_variables.items()},
            **self.placement.environment_variables,
            **self._data_variables(),
        }

    @property
    def inputs(self) -> dict[str, Any]:
        """Data sets among the arguments and in the run configuration, by name."""
        given = [*self._data, *self.run_config.data.values()]
        return {i.name: i.dataset for i in _only(DatasetConsumptionConfig, given)}

    @property
    def outputs(self) -> dict[str, str]:
        """Folders that the script is told to write to, by name."""
        given = [*self._data, *self.run_config.output_data.values()]
        return {out.name: str(out) for out in _only(OutputFileDatasetConfig, given)}

    def placed(self, workspace: Workspace) -> "ScriptRunConfig":
        """Look up what is known of the compute target, and say where the script runs.

        Raises:
            ComputeTargetException: `compute.toml` is wrong.
        """
        self.placement = place(workspace.root, self.compute_target or "local")
        labels = {
            "workspace_name": workspace.name,
            "subscription_id": workspace.subscription_id,
            "resource_group": workspace.resource_group,
        }
        self._labels = {HANDED_DOWN[key]: value for key, value in labels.items()}
        self._labels |= _references(workspace, self.run_config.data_references)
        count = getattr(self.distributed_job_config, "processes", 1)
        if count > 1:
            note("processes", f"one process is started here, not {count}")
        return self

    def _data_variables(self) -> dict[str, str]:
        """Return what tells the script of its data."""
        inputs = {name: data.document() for name, data in self.inputs.items()}
        paths = {name: data.argument for name, data in self.inputs.items()}
        told = {INPUTS: json.dumps(inputs)} if inputs else {}
        if self.outputs:
            told[OUTPUTS] = json.dumps(self.outputs)
        return {**paths, **told}

    def _check_means(self) -> None:
        """Refuse what cannot be had on this machine."""
        if self.resume_from is not None:
            raise ValueError(
                "resume_from is not supported; give the folder of the former run's "
                "files as an argument"
            )
        self.runs_in  # noqa: B018  # raises


def _references(workspace: Workspace, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that tell a script where referenced data lies."""
    found = {}
    for key, one in given.items():
        if isinstance(one, DataReferenceConfiguration):
            datastore = Datastore(workspace, one.datastore_name)
            one = DataReference(datastore, key, one.path_on_datastore)
        found[f"AZUREML_DATAREFERENCE_{key}"] = str(one)
    return found


def _with_shim(path: str | None) -> str:
    """Return a PYTHONPATH by which the script finds mlog as `azureml`."""
    parts = [part for part in (path or "").split(os.pathsep) if part]
    return os.pathsep.join(
        [SHIM, *(part for part in parts if Path(part) != Path(SHIM))]
    )


def _only(kind: type[Any], given: Iterable[Any]) -> Iterable[Any]:
    return (item for item in given if isinstance(item, kind))
