"""Submitting a script under the SDK's names."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from mlog.azureml.core.script_run_config import ScriptRunConfig
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.exceptions import UserErrorException
from mlog.launch.submit import submit as launch
from mlog.run.api import Run
from mlog.run.family import handle

__all__ = ["ENVIRONMENT", "OUTPUTS", "TARGET", "properties_of", "submit"]

TARGET = "azureml.target"
"""Property of a submitted run: name of its compute target."""

ENVIRONMENT = "azureml.environment"
"""Property of a submitted run: its environment, as JSON."""

INPUTS = "azureml.inputs"
"""Property of a submitted run: its named data sets, as JSON."""

OUTPUTS = "azureml.outputs"
"""Property of a submitted run: the named folders it writes to, as JSON."""

R = TypeVar("R", bound=Run)


def submit(
    cls: type[R],
    config: Any,
    workspace: Workspace,
    experiment: str,
    tags: Mapping[str, str] | None,
    parent: Run | None = None,
) -> R:
    """Start a script as a run of the class `cls`; see `Experiment.submit`.

    A config that knows by itself how it is submitted (a sweep) says what it is.
    """
    if hasattr(config, "submitted_to"):
        run: R = config.submitted_to(workspace, experiment, tags, parent)
        return run
    if not isinstance(config, ScriptRunConfig):
        raise UserErrorException(
            "only a ScriptRunConfig or a HyperDriveConfig can be submitted, "
            f"got {type(config).__name__}"
        )
    config.placed(workspace)
    submitted = launch(
        config,
        experiment=experiment,
        root=workspace.root,
        tags=tags,
        parent=parent,
    )
    run = handle(cls, submitted.folder)
    run.add_properties(properties_of(config))
    return run


def properties_of(config: ScriptRunConfig) -> dict[str, str]:
    """Return the properties of a run by which its config is known again."""
    said = {TARGET: config.compute_target or "local"}
    if config.environment is not None:
        said[ENVIRONMENT] = json.dumps(config.environment.as_dict())
    if config.inputs:
        documents = {name: data.document() for name, data in config.inputs.items()}
        said[INPUTS] = json.dumps(documents)
    if config.outputs:
        said[OUTPUTS] = json.dumps(config.outputs)
    return said
