"""Classes by name, for the ones that come later in the order of imports.

The SDK's classes name each other in circles (a workspace lists experiments, which have
a workspace); modules here do not. Whoever needs a class of a later module asks here.
"""

import importlib
from typing import Any

__all__ = ["later"]


def later(name: str) -> Any:
    """Return a class of `azureml.core`."""
    return getattr(importlib.import_module("mlog.azureml.core"), name)
