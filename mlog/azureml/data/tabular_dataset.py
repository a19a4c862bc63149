"""The SDK's place for `TabularDataset`."""

from mlog.azureml.data.datasets import TabularDataset

__all__ = ["TabularDataset"]
