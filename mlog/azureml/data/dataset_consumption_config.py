"""The SDK's place for `DatasetConsumptionConfig`."""

from mlog.azureml.data.consumption import DatasetConsumptionConfig

__all__ = ["DatasetConsumptionConfig"]
