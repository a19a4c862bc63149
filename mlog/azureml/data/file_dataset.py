"""The SDK's place for `FileDataset`."""

from mlog.azureml.data.datasets import FileDataset

__all__ = ["FileDataset"]
