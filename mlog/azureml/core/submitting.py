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

_OPTIONS = ("tags", "show_output", "run_id", "credential_passthrough")

R = TypeVar("R", bound=Run)


def submit(
    cls: type[R],
    config: Any,
    workspace: Workspace,
    experiment: str,
    tags: Mapping[str, str] | None,
    parent: Run | None = None,
    **options: Any,
) -> R:
    """Start a script as a run of the class `cls`; see `Experiment.submit`."""
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise TypeError(f"submit knows {', '.join(_OPTIONS)}; got {unknown[0]!r}")
    run = _started(
        cls, config, workspace, experiment, tags, parent, options.get("run_id")
    )
    if options.get("show_output"):
        run.wait_for_completion(show_output=True)
    return run


def _started(
    cls: type[R],
    config: Any,
    workspace: Workspace,
    experiment: str,
    tags: Mapping[str, str] | None,
    parent: Run | None,
    run_id: str | None,
) -> R:
    """Start it; a config that knows by itself how (a sweep) is asked to."""
    run: R
    if hasattr(config, "submitted_to"):
        run = config.submitted_to(workspace, experiment, tags, parent, run_id)
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
        run_id=run_id,
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
