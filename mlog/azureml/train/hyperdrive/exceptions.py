"""Exceptions of `azureml.train.hyperdrive`, under their names."""

from mlog.azureml.exceptions import UserErrorException

__all__ = ["HyperDriveConfigException"]


class HyperDriveConfigException(UserErrorException, ValueError):
    """A sweep is not described as it should be."""
