"""`DataReference`: a path in a datastore, which as text is the local path."""

import re
from typing import Any

from mlog.azureml.core.datastore import Datastore, inside

__all__ = ["DataReference"]


class DataReference:
    """A path in a datastore. `str(reference)` is the path for scripts.

    Attributes:
        datastore: Where it lies.
        data_reference_name: A name for it.
        path_on_datastore: The path there; None: all of it.
        mode: "mount", "download" or "upload"; a label.
    """

    def __init__(
        self,
        datastore: Datastore,
        data_reference_name: str | None = None,
        path_on_datastore: str | None = None,
        mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool = False,
    ) -> None:
        """Name a path; `path_on_compute` and `overwrite` are not used."""
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore
        self.data_reference_name = data_reference_name or _name(path_on_datastore)
        self.mode = mode
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite

    def __str__(self) -> str:
        """Return the local path."""
        return str(inside(self.datastore.root, self.path_on_datastore or "."))

    def __fspath__(self) -> str:
        """Return the local path."""
        return str(self)

    def path(
        self, path: str | None = None, data_reference_name: str | None = None
    ) -> "DataReference":
        """Return a path below this one."""
        parts = [part for part in (self.path_on_datastore, path) if part]
        return DataReference(self.datastore, data_reference_name, "/".join(parts))

    def as_mount(self) -> "DataReference":
        """Return the reference, to be read in place."""
        return self._as("mount")

    def as_download(
        self, path_on_compute: str | None = None, overwrite: bool = False
    ) -> "DataReference":
        """Return the reference; it is read in place, too."""
        return self._as("download")

    def as_upload(
        self, path_on_compute: str | None = None, overwrite: bool = False
    ) -> "DataReference":
        """Return the reference, to be written to in place."""
        return self._as("upload")

    def to_config(self) -> "DataReference":
        """Return the reference, as a value of `run_config.data_references`."""
        return self

    def _as(self, mode: Any) -> "DataReference":
        return DataReference(
            self.datastore, self.data_reference_name, self.path_on_datastore, mode
        )


def _name(path: str | None) -> str:
    return re.sub(r"\W", "_", path or "data")
