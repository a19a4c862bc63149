"""The same as `azureml.exceptions`."""

from mlog.azureml import exceptions
from mlog.azureml.exceptions import *  # noqa: F403  # its __all__ is the point

__all__ = list(exceptions.__all__)
