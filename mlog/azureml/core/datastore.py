"""`Datastore`: a folder for data, `<root>/.azureml/datastores/<name>/`.

Any name is found; whatever storage it named before, it is a folder here. Keys and
tokens that scripts pass to register one are not kept.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from mlog.azureml.core import store
from mlog.azureml.core.later import later
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.reach import Partly
from mlog.folder import Folder, access_for
from mlog.layout import slug

__all__ = ["Datastore", "inside"]

DEFAULT = "workspaceblobstore"

_KIND = "datastores"


class Datastore(Partly):
    """A folder for data.

    Attributes:
        workspace, name: As given.
        root: The folder.
        datastore_type: "Local".
        account_name, protocol, endpoint: "local", "file" and "".
        is_sas: False.
    """

    datastore_type = "Local"
    account_name, protocol, endpoint = "local", "file", ""
    is_sas = False
    credential_type: str | None = None
    _beyond: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("account_key", "blob_service", "client_secret", "file_service", "sas_token"),
        "read and write files below datastore.root",
    )

    def __init__(self, workspace: Workspace, name: str | None = None) -> None:
        """Find the folder, and make it where it is missing."""
        self.workspace = workspace
        self.name = name or _default_name(workspace)
        access = access_for(workspace.root, "private")
        parts = (store.FOLDER, _KIND, slug(self.name))
        self.root = Folder.open_below(workspace.root, parts, access).path

    def __repr__(self) -> str:
        """Return name and folder."""
        return f"<Datastore {self.name!r} in {self.root}>"

    @property
    def container_name(self) -> str:
        """The name of the folder."""
        return self.root.name

    @staticmethod
    def get(workspace: Workspace, datastore_name: str) -> "Datastore":
        """Return the datastore of that name; every name has one."""
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Workspace) -> "Datastore":
        """Return the datastore that is used where none is named."""
        return Datastore(workspace)

    @staticmethod
    def list(workspace: Workspace) -> dict[str, "Datastore"]:
        """Return the datastores there are, by name; any other name is found, too."""
        return _Datastores(workspace)

    @staticmethod
    def register_azure_blob_container(
        workspace: Workspace, datastore_name: str, *args: Any, **kwargs: Any
    ) -> "Datastore":
        """Return the folder of that name; nothing else that is given is kept."""
        return Datastore(workspace, datastore_name)

    register_azure_file_share = register_azure_blob_container
    register_azure_data_lake = register_azure_blob_container
    register_azure_data_lake_gen2 = register_azure_blob_container
    register_azure_sql_database = register_azure_blob_container
    register_azure_my_sql = register_azure_blob_container
    register_azure_postgre_sql = register_azure_blob_container
    register_dbfs = register_azure_blob_container
    register_hdfs = register_azure_blob_container

    def set_as_default(self) -> None:
        """Use this one where none is named."""
        self.workspace.set_default_datastore(self.name)

    def unregister(self) -> None:
        """Do nothing: the folder stays with what lies in it."""

    # --- files ---------------------------------------------------------------------

    def upload(
        self,
        src_dir: str | os.PathLike[str],
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> Any:
        """Copy a folder into this one.

        Args:
            src_dir: What to copy, with all below it.
            target_path: Where to, below the datastore.
            overwrite: Whether files that are there already are replaced.
            show_progress: Not used.

        Returns:
            A `DataReference` to the copy.

        Raises:
            UserErrorException: There is no such folder, or the target is outside.
        """
        source = Path(src_dir)
        if not source.is_dir():
            raise UserErrorException(f"src_dir must be a folder, got {source}")
        files = sorted(path for path in source.rglob("*") if path.is_file())
        return self.upload_files(
            files, os.fspath(source), target_path, overwrite, show_progress
        )

    def upload_files(
        self,
        files: Iterable[str | os.PathLike[str]],
        relative_root: str | os.PathLike[str] | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> Any:
        """Copy files into this folder; see `upload`.

        Args:
            files: What to copy.
            relative_root: Folders from here on are kept; default: none are.
            target_path, overwrite, show_progress: As for `upload`.

        Raises:
            UserErrorException: A file is not there, or the target is outside.
        """
        to = inside(self.root, target_path or ".")
        for file in map(Path, files):
            if not file.is_file():
                raise UserErrorException(f"there is no file {file}")
            name = (
                file.name if relative_root is None else _relative(file, relative_root)
            )
            _copy(file, inside(to, name), overwrite)
        return self.path(target_path)

    def download(
        self,
        target_path: str | os.PathLike[str],
        prefix: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> int:
        """Copy files out of this folder.

        Args:
            target_path: A folder; made where it is missing.
            prefix: Only files at or below this path.
            overwrite: Whether files that are there already are replaced.
            show_progress: Not used.

        Returns:
            How many files were copied.
        """
        start = inside(self.root, prefix or ".")
        found = [start] if start.is_file() else sorted(start.rglob("*"))
        files = [path for path in found if path.is_file()]
        copied = [
            _copy(file, Path(target_path) / file.relative_to(self.root), overwrite)
            for file in files
        ]
        return sum(copied)

    def path(
        self, path: str | None = None, data_reference_name: str | None = None
    ) -> Any:
        """Return a `DataReference` to a path below this folder."""
        return later("DataReference")(self, data_reference_name, path)

    def as_mount(self) -> Any:
        """Return a reference to the folder."""
        return self.path()

    def as_download(self, path_on_compute: str | None = None) -> Any:
        """Return a reference to the folder."""
        return self.path()

    def as_upload(self, path_on_compute: str | None = None) -> Any:
        """Return a reference to the folder."""
        return self.path()


class _Datastores(dict[str, Datastore]):
    """Those that have a folder; another name gets one when it is asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        folder = workspace.root / store.FOLDER / _KIND
        names = {_default_name(workspace), *(p.name for p in folder.glob("[!.]*"))}
        super().__init__({name: Datastore(workspace, name) for name in sorted(names)})

    def __missing__(self, name: str) -> Datastore:
        self[name] = Datastore(self._workspace, name)
        return self[name]


def inside(folder: Path, path: str | os.PathLike[str]) -> Path:
    """Return a path below a folder.

    Raises:
        UserErrorException: It leads out of it.
    """
    parts = PurePosixPath(os.fspath(path).replace("\\", "/")).parts
    kept = [part for part in parts if part != "/"]
    if ".." in kept or (os.name == "nt" and any(":" in part for part in kept)):
        raise UserErrorException(f"{os.fspath(path)!r} leads out of {folder}")
    return folder.joinpath(*kept)


def _default_name(workspace: Workspace) -> str:
    said = store.read(workspace.root, "workspaces", workspace.name)
    name = said.get("datastore")
    return name if isinstance(name, str) else DEFAULT


def _relative(file: Path, root: str | os.PathLike[str]) -> str:
    try:
        return file.absolute().relative_to(Path(root).absolute()).as_posix()
    except ValueError as exc:
        raise UserErrorException(f"{file} does not lie in {root}") from exc


def _copy(source: Path, target: Path, overwrite: bool) -> bool:
    """Copy a file; return False where one is there and stays."""
    if target.exists() and not overwrite:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return True
