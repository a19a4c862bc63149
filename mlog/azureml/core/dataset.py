"""`Dataset`: registered data sets, and ways to make them."""

from typing import Any

from mlog.azureml.core import store
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.data.dataset_factory import FileDatasetFactory, TabularDatasetFactory
from mlog.azureml.data.datasets import KIND, AbstractDataset, load
from mlog.azureml.exceptions import UserErrorException

__all__ = ["Dataset"]


class Dataset:
    """Registered data sets, and ways to make them (`Dataset.File`, `Dataset.Tabular`)."""

    File = FileDatasetFactory
    Tabular = TabularDatasetFactory

    @staticmethod
    def get_by_name(
        workspace: Workspace, name: str, version: int | str = "latest", **kwargs: Any
    ) -> AbstractDataset:
        """Return a registered data set.

        Raises:
            UserErrorException: There is none of that name and version.
        """
        known = store.versions(workspace.root, KIND, name)
        wanted = max(known, default=0) if version == "latest" else int(version)
        if wanted not in known:
            there = ", ".join(sorted(Dataset.get_all(workspace))) or "none"
            raise UserErrorException(
                f"no data set {name!r} of version {version} in {workspace.root}; "
                f"registered: {there}"
            )
        return load(known[wanted])

    @staticmethod
    def get_by_id(workspace: Workspace, id: str, **kwargs: Any) -> AbstractDataset:
        """Return a registered data set by the id that a script was given.

        Raises:
            UserErrorException: There is none.
        """
        for said in _all_versions(workspace):
            if said.get("id") == id:
                return load(said)
        raise UserErrorException(f"no registered data set has the id {id!r}")

    @staticmethod
    def get_all(workspace: Workspace) -> dict[str, AbstractDataset]:
        """Return the latest version of each registered data set, by name."""
        ordered = sorted(_all_versions(workspace), key=lambda said: said["version"])
        return {str(said["name"]): load(said) for said in ordered}


def _all_versions(workspace: Workspace) -> list[dict[str, Any]]:
    folder = workspace.root / store.FOLDER / KIND
    return [
        said
        for path in sorted(folder.glob("[!.]*"))
        for said in store.versions(workspace.root, KIND, path.name).values()
    ]
