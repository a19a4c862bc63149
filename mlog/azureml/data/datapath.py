"""`DataPath`: a path in a datastore, to make data sets of."""

from mlog.azureml.core.datastore import Datastore
from mlog.azureml.data.data_reference import DataReference

__all__ = ["DataPath"]


class DataPath:
    """A path in a datastore.

    Attributes:
        datastore, path_on_datastore, name: As given.
    """

    def __init__(
        self,
        datastore: Datastore,
        path_on_datastore: str | None = None,
        name: str | None = None,
    ) -> None:
        """Name a path."""
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore
        self.name = name

    def create_data_reference(
        self,
        data_reference_name: str | None = None,
        datapath_compute_binding: object = None,
    ) -> DataReference:
        """Return a reference to the path."""
        return DataReference(
            self.datastore, data_reference_name, self.path_on_datastore
        )
