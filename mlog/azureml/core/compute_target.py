"""The same as `azureml.core.compute`, under the name it had before."""

from mlog.azureml.core.compute import (
    AmlCompute,
    ComputeTarget,
    ComputeTargetException,
    RemoteCompute,
)

__all__ = ["AmlCompute", "ComputeTarget", "ComputeTargetException", "RemoteCompute"]
