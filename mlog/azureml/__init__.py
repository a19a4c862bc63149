"""The Azure ML SDK v1 as far as it can be had on one machine, under its old names.

`mlog.azureml.core.Run` and its neighbours are what `azureml.core.Run` and its
neighbours were, and keep runs in local files. Two ways to have unmodified scripts and
notebooks find them as `azureml`:

    python -m mlog.azureml train.py --alpha 0.5     # a script with its arguments
    import mlog.azureml; mlog.azureml.activate()    # the first cell of a notebook

or `%load_ext mlog.azureml`. No Azure package is needed; one that is installed is left
alone unless asked otherwise.
"""

from typing import Any

from mlog.azureml.alias import activate, deactivate, is_active

__all__ = ["activate", "deactivate", "is_active"]


def load_ipython_extension(ipython: Any) -> None:
    """Activate the alias: `%load_ext mlog.azureml`."""
    activate()


def unload_ipython_extension(ipython: Any) -> None:
    """Undo it: `%unload_ext mlog.azureml`."""
    deactivate()
