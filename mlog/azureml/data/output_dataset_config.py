"""`OutputFileDatasetConfig`: a folder that a script writes to."""

from collections.abc import Mapping
from typing import Any, ClassVar

from mlog.azureml.core.datastore import Datastore, inside
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.reach import Partly

__all__ = ["OutputFileDatasetConfig"]


class OutputFileDatasetConfig(Partly):
    """A folder in a datastore that a script writes to; `str(config)` is its path.

    Attributes:
        name: Key in `run.output_datasets`.
        destination: `(datastore, path)`; None: `dataset/<name>` of the default one.
    """

    _beyond: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("read_delimited_files", "read_parquet_files", "register_on_complete"),
        "make a Dataset of str(config) when the run has ended",
    )

    def __init__(
        self,
        name: str | None = None,
        destination: Any = None,
        source: str | None = None,
        partition_format: str | None = None,
    ) -> None:
        """Name a folder; `source` and `partition_format` are not used."""
        self.name = name or "output"
        self.destination = destination
        self.source = source

    def __str__(self) -> str:
        """Return the path; the folder is made where it is missing."""
        datastore, path = self.destination or (None, None)
        if datastore is None:
            datastore = Datastore(Workspace.from_config())
        folder = inside(datastore.root, path or f"dataset/{self.name}")
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def __fspath__(self) -> str:
        """Return the path."""
        return str(self)

    def as_upload(self, *args: Any, **kwargs: Any) -> "OutputFileDatasetConfig":
        """Return it; the script writes to the folder itself."""
        return self

    def as_mount(self, *args: Any, **kwargs: Any) -> "OutputFileDatasetConfig":
        """Return it; the script writes to the folder itself."""
        return self

    def as_input(self, name: str | None = None) -> "OutputFileDatasetConfig":
        """Return it, as the input of another script."""
        return self
