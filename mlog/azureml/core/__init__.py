"""Names that `azureml.core` had; loaded when they are asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from mlog.azureml.reach import instead, no_such_name

if TYPE_CHECKING:
    from mlog.azureml.core.compute import ComputeTarget
    from mlog.azureml.core.container_registry import ContainerRegistry
    from mlog.azureml.core.dataset import Dataset
    from mlog.azureml.core.datastore import Datastore
    from mlog.azureml.core.environment import Environment
    from mlog.azureml.core.experiment import Experiment
    from mlog.azureml.core.model import Model
    from mlog.azureml.core.run import Run, get_run
    from mlog.azureml.core.runconfig import RunConfiguration
    from mlog.azureml.core.script_run import ScriptRun
    from mlog.azureml.core.script_run_config import ScriptRunConfig
    from mlog.azureml.core.workspace import Workspace
    from mlog.azureml.data.data_reference import DataReference

__all__ = [
    "VERSION",
    "ComputeTarget",
    "ContainerRegistry",
    "DataReference",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Model",
    "Run",
    "RunConfiguration",
    "ScriptRun",
    "ScriptRunConfig",
    "Workspace",
    "get_run",
]

VERSION = "1.61.0"
"""Version of the SDK whose names these are; scripts print it or compare it."""

__version__ = VERSION

_LAZY = {
    "ComputeTarget": "core.compute",
    "ContainerRegistry": "core.container_registry",
    "DataReference": "data.data_reference",
    "Dataset": "core.dataset",
    "Datastore": "core.datastore",
    "Environment": "core.environment",
    "Experiment": "core.experiment",
    "Model": "core.model",
    "Run": "core.run",
    "RunConfiguration": "core.runconfig",
    "ScriptRun": "core.script_run",
    "ScriptRunConfig": "core.script_run_config",
    "Workspace": "core.workspace",
    "get_run": "core.run",
}

_OUT_OF_REACH = {
    "Image": "core.image",
    "Keyvault": "core.keyvault",
    "LinkedService": "core.linked_service",
    "PrivateEndPoint": "core.private_endpoint",
    "Webservice": "core.webservice",
}


def __getattr__(name: str) -> Any:
    """Load a class (PEP 562), or say what to use instead of one out of reach."""
    if name in _LAZY:
        module = importlib.import_module(f"mlog.azureml.{_LAZY[name]}")
        value = globals()[name] = getattr(module, name)
        return value
    if name not in _OUT_OF_REACH:
        raise AttributeError(f"module 'azureml.core' has no attribute {name!r}")
    no_such_name(f"azureml.core.{name}", instead(_OUT_OF_REACH[name]))


def __dir__() -> list[str]:
    """Return the names, also those not loaded yet."""
    return [*__all__, "__version__"]
