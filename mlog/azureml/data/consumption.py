"""How a data set reaches a script: as a path, under a name."""

from typing import Any

__all__ = ["DatasetConsumptionConfig"]


class DatasetConsumptionConfig:
    """A data set as an input of a script; `str(config)` is what the script is given.

    That is the path of a file set, and the id of a tabular one.

    Attributes:
        name: Key in `run.input_datasets`, and name of an environment variable.
        dataset: The data set.
        mode: "mount", "download" or "direct"; a label: data is read where it lies.
    """

    def __init__(
        self,
        name: str,
        dataset: Any,
        mode: str = "direct",
        path_on_compute: str | None = None,
    ) -> None:
        """Name an input; `path_on_compute` is not used."""
        self.name = name
        self.dataset = dataset
        self.mode = mode
        self.path_on_compute = path_on_compute

    def __str__(self) -> str:
        """Return what stands for it in a script's arguments."""
        return str(self.dataset.argument)

    def as_mount(
        self, path_on_compute: str | None = None
    ) -> "DatasetConsumptionConfig":
        """Return the input, to be read in place."""
        return self._as("mount")

    def as_download(
        self, path_on_compute: str | None = None
    ) -> "DatasetConsumptionConfig":
        """Return the input; it is read in place, too."""
        return self._as("download")

    def as_direct(self) -> "DatasetConsumptionConfig":
        """Return the input; a script asks `run.input_datasets` for it."""
        return self._as("direct")

    def as_hdfs(self) -> "DatasetConsumptionConfig":
        """Return the input; it is read in place."""
        return self._as("hdfs")

    def _as(self, mode: str) -> "DatasetConsumptionConfig":
        return DatasetConsumptionConfig(self.name, self.dataset, mode)
