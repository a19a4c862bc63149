"""Names that `azureml.data` had; loaded when they are asked for."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlog.azureml.data.consumption import DatasetConsumptionConfig
    from mlog.azureml.data.data_reference import DataReference
    from mlog.azureml.data.datapath import DataPath
    from mlog.azureml.data.dataset_factory import DataType
    from mlog.azureml.data.datasets import FileDataset, TabularDataset
    from mlog.azureml.data.output_dataset_config import OutputFileDatasetConfig

__all__ = [
    "DataPath",
    "DataReference",
    "DataType",
    "DatasetConsumptionConfig",
    "FileDataset",
    "OutputFileDatasetConfig",
    "TabularDataset",
]

_LAZY = {
    "DataPath": "datapath",
    "DataReference": "data_reference",
    "DataType": "dataset_factory",
    "DatasetConsumptionConfig": "consumption",
    "FileDataset": "datasets",
    "OutputFileDatasetConfig": "output_dataset_config",
    "TabularDataset": "datasets",
}


def __getattr__(name: str) -> Any:
    """Load a class (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'azureml.data' has no attribute {name!r}")
    module = importlib.import_module(f"mlog.azureml.data.{_LAZY[name]}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    """Return the names, also those not loaded yet."""
    return list(__all__)
