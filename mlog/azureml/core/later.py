"""Classes by name, for the ones that come later in the order of imports.

The SDK's classes name each other in circles (a workspace lists experiments, which have
a workspace); modules here do not. Whoever needs a class of a later module asks here.
"""

import importlib
from typing import Any

__all__ = ["later"]


_ELSEWHERE = {"HyperDriveRun": "mlog.azureml.train.hyperdrive"}


def later(name: str) -> Any:
    """Return a class of `azureml.core`, or of a module that stands on it."""
    module = _ELSEWHERE.get(name, "mlog.azureml.core")
    return getattr(importlib.import_module(module), name)
