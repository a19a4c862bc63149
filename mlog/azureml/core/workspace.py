"""`Workspace`: the folder that all runs lie in, under the names a workspace had."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from mlog.azureml.core import store
from mlog.azureml.core.later import later
from mlog.azureml.exceptions import UserErrorException, WorkspaceException
from mlog.azureml.note import note
from mlog.azureml.reach import Partly, needs_azure
from mlog.layout import find_root
from mlog.reader.find import iter_runs

__all__ = ["HANDED_DOWN", "Workspace", "workspace_at"]

_LOCAL = "local"
_CONFIG_FILES = (
    ".azureml/config.json",
    ".azureml/project.json",
    "aml_config/config.json",
    "aml_config/project.json",
    "config.json",
    "project.json",
)
_KEYS = ("workspace_name", "subscription_id", "resource_group")

HANDED_DOWN = {
    "workspace_name": "AZUREML_ARM_WORKSPACE_NAME",
    "subscription_id": "AZUREML_ARM_SUBSCRIPTION",
    "resource_group": "AZUREML_ARM_RESOURCEGROUP",
}
"""Environment variables that tell a submitted script its workspace, as in the SDK."""


class Workspace(Partly):
    """The folder that runs, models and data lie in, and the names it goes by.

    Which folder that is, is decided as for every run of mlog: `MLOG_DIR`, else a key
    "root" in `config.json`, else the nearest `.mlog` folder upward, else the user's
    data folder. Name, subscription, resource group and location are labels, kept and
    given back; all workspaces of one folder share what lies in it.

    Attributes:
        root: The folder.
        name, subscription_id, resource_group, location, sku: The labels.
        tags: Name to text.
        DEFAULT_CPU_CLUSTER_NAME, DEFAULT_GPU_CLUSTER_NAME: Names for compute targets.
    """

    DEFAULT_CPU_CLUSTER_NAME = "cpu-cluster"
    DEFAULT_GPU_CLUSTER_NAME = "gpu-cluster"
    _beyond: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("add_private_endpoint", "delete_connection", "diagnose_workspace"),
            *("get_connection", "list_connections", "list_keys", "private_endpoints"),
            *("set_connection", "update_dependencies"),
        ),
        "leave it out: a workspace is a folder, and nothing is connected to it",
    )

    def __init__(
        self,
        subscription_id: str,
        resource_group: str,
        workspace_name: str,
        auth: Any = None,
        _location: str | None = None,
        _disable_service_check: bool = False,
        _workspace_id: str | None = None,
        sku: str = "basic",
        tags: Mapping[str, str] | None = None,
        _cloud: str = "AzureCloud",
        *,
        _root: Path | None = None,
    ) -> None:
        """Take the labels; `auth` and the rest are not used."""
        self.root = _root if _root is not None else _default_root(Path.cwd())
        said = store.read(self.root, "workspaces", workspace_name)
        self.name = workspace_name
        self.subscription_id = subscription_id or said.get("subscription_id") or _LOCAL
        self.resource_group = resource_group or said.get("resource_group") or _LOCAL
        self.location = _location or said.get("location") or _LOCAL
        self.sku = said.get("sku") or sku
        self.tags = dict(tags or said.get("tags") or {})
        self._friendly_name = said.get("friendly_name") or workspace_name

    def __repr__(self) -> str:
        """Return name, labels and folder."""
        return (
            f"Workspace.create(name={self.name!r}, "
            f"subscription_id={self.subscription_id!r}, "
            f"resource_group={self.resource_group!r})  # {self.root}"
        )

    # --- getting one ---------------------------------------------------------------

    @staticmethod
    def from_config(
        path: str | os.PathLike[str] | None = None,
        auth: Any = None,
        _logger: Any = None,
        _file_name: str | None = None,
    ) -> "Workspace":
        """Read the labels from the nearest `config.json`.

        Looked for in each folder from `path` upward: `.azureml/`, `aml_config/`, the
        folder itself. Where there is none, one line on stderr says which folder the
        runs go to.

        Args:
            path: The file, or the folder to begin with; default: the current one.
            auth, _logger: Not used.
            _file_name: Another name of the file.

        Raises:
            UserErrorException: `path` is not there, or the file is no such file.
        """
        start = Path(path).expanduser().absolute() if path is not None else Path.cwd()
        if path is not None and not start.exists():
            raise UserErrorException(f"there is no config file or folder {start}")
        file = start if start.is_file() else _find_config(start, _file_name)
        if file is None:
            return _without_config(start)
        said = _read_config(file)
        return _labelled(said, _root_of(said, _config_folder(file)))

    @staticmethod
    def get(
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,
    ) -> "Workspace":
        """Return the workspace of that name: any name is this machine's folder."""
        return Workspace(
            subscription_id or "", resource_group or "", name, auth, location
        )

    @staticmethod
    def create(
        name: str,
        auth: Any = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        create_resource_group: bool = True,
        sku: str = "basic",
        tags: Mapping[str, str] | None = None,
        friendly_name: str | None = None,
        *args: Any,
        exist_ok: bool = False,
        show_output: bool = True,
        **kwargs: Any,
    ) -> "Workspace":
        """Remember the labels of a workspace, and return it.

        Args:
            name, subscription_id, resource_group, location, sku, tags, friendly_name:
                The labels.
            exist_ok: Whether it may be there already.
            show_output: Whether to say so.
            auth, create_resource_group, *args, **kwargs: Not used.

        Raises:
            WorkspaceException: It was created before, and `exist_ok` is not given.
        """
        root = _default_root(Path.cwd())
        if store.read(root, "workspaces", name) and not exist_ok:
            raise WorkspaceException(
                f"workspace {name!r} is there already, in {root}; pass exist_ok=True, "
                "or use Workspace.get"
            )
        given = {
            "name": name,
            "subscription_id": subscription_id,
            "resource_group": resource_group,
            "location": location,
            "sku": sku,
            "tags": dict(tags or {}),
            "friendly_name": friendly_name,
        }
        store.write(root, "workspaces", name, given)
        if show_output:
            print(f"Workspace {name} is the folder {root}")  # noqa: T201  # asked for
        return Workspace(subscription_id or "", resource_group or "", name, auth)

    @staticmethod
    def list(
        subscription_id: str | None = None,
        auth: Any = None,
        resource_group: str | None = None,
    ) -> dict[str, "list[Workspace]"]:
        """Return the created workspaces by name, those of one group if it is given."""
        root = _default_root(Path.cwd())
        found = [
            Workspace("", "", said["name"], auth, _root=root)
            for said in store.documents(root, "workspaces")
        ]
        groups = (None, "")
        return {
            ws.name: [ws]
            for ws in found
            if resource_group in groups or ws.resource_group == resource_group
        }

    @staticmethod
    def setup() -> "Workspace":
        """Return the workspace of the nearest config; see `from_config`."""
        return Workspace.from_config()

    def write_config(
        self,
        path: str | os.PathLike[str] | None = None,
        file_name: str | None = None,
    ) -> None:
        """Write the labels to `<path>/.azureml/config.json`, for `from_config`.

        Args:
            path: Folder; default: the current one.
            file_name: Default: `config.json`.
        """
        folder = Path(path or ".").expanduser() / ".azureml"
        folder.mkdir(parents=True, exist_ok=True)
        said = {
            "subscription_id": self.subscription_id,
            "resource_group": self.resource_group,
            "workspace_name": self.name,
        }
        if self.root != find_root(None, env={}, cwd=folder.parent.absolute()):
            said["root"] = str(self.root)
        text = json.dumps(said, indent=4, ensure_ascii=False) + "\n"
        (folder / (file_name or "config.json")).write_text(text, "utf-8")

    # --- what lies in it -----------------------------------------------------------

    @property
    def experiments(self) -> dict[str, Any]:
        """Experiments by name: those with runs."""
        names = {_experiment_name(self.root, path) for path in iter_runs(self.root)}
        experiment = later("Experiment")
        return {name: experiment(self, name) for name in sorted(names)}

    @property
    def models(self) -> dict[str, Any]:
        """The latest version of each model, by name."""
        found = later("Model").list(self, latest=True)
        return {model.name: model for model in found}

    @property
    def environments(self) -> dict[str, Any]:
        """The latest version of each registered environment, by name."""
        environments: dict[str, Any] = later("Environment").list(self)
        return environments

    @property
    def compute_targets(self) -> dict[str, Any]:
        """Compute targets by name; a name that is not listed is found all the same."""
        targets: dict[str, Any] = later("ComputeTarget").list(self)
        return targets

    @property
    def datastores(self) -> dict[str, Any]:
        """Datastores by name; a name that is not listed is found all the same."""
        stores: dict[str, Any] = later("Datastore").list(self)
        return stores

    @property
    def datasets(self) -> dict[str, Any]:
        """The latest version of each registered data set, by name."""
        found: dict[str, Any] = later("Dataset").get_all(self)
        return found

    @property
    def webservices(self) -> dict[str, Any]:
        """Nothing: there are no web services here."""
        return {}

    @property
    def images(self) -> dict[str, Any]:
        """Nothing: there are no images here."""
        return {}

    @property
    def linked_services(self) -> dict[str, Any]:
        """Nothing: there are no linked services here."""
        return {}

    def get_run(self, run_id: str) -> Any:
        """Return a run by its id, beginning of an id, name or path.

        Raises:
            RunNotFoundError: There is none.
        """
        return later("Run").get(self, run_id)

    def get_default_datastore(self) -> Any:
        """Return the datastore that is used where none is named."""
        return later("Datastore").get_default(self)

    def set_default_datastore(self, name: str) -> None:
        """Say which datastore is used where none is named."""
        said = store.read(self.root, "workspaces", self.name)
        said |= {"name": self.name, "datastore": name}
        store.write(self.root, "workspaces", self.name, said)

    def get_default_compute_target(self, type: str) -> Any:
        """Return None: no compute target is the default one."""
        return None

    # --- facts ---------------------------------------------------------------------

    @property
    def service_context(self) -> NoReturn:
        """Raise: there is no service."""
        needs_azure("workspace.service_context", "leave it out")

    @property
    def discovery_url(self) -> str:
        """The `file:` URL of the folder."""
        return self.root.as_uri()

    def get_details(self) -> dict[str, Any]:
        """Return the labels and the folder."""
        return {
            "id": self.root.as_uri(),
            "name": self.name,
            "friendlyName": self._friendly_name,
            "subscriptionId": self.subscription_id,
            "resourceGroup": self.resource_group,
            "location": self.location,
            "sku": self.sku,
            "tags": dict(self.tags),
            "type": "Microsoft.MachineLearningServices/workspaces",
            "root": str(self.root),
        }

    def get_mlflow_tracking_uri(self, with_auth: bool = False) -> NoReturn:
        """Raise: no MLflow server belongs to a folder."""
        needs_azure(
            "get_mlflow_tracking_uri()",
            "point MLflow at a server or folder of its own, or read runs with "
            "run.get_metrics()",
        )

    def get_default_keyvault(self) -> NoReturn:
        """Raise: secrets are not kept here."""
        needs_azure("get_default_keyvault()", "read secrets from environment variables")

    def update(
        self,
        friendly_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Change labels; return what `get_details` says."""
        said = store.read(self.root, "workspaces", self.name) | {"name": self.name}
        given = {"friendly_name": friendly_name, "description": description}
        said |= {key: value for key, value in given.items() if value is not None}
        if tags is not None:
            said["tags"] = self.tags = dict(tags)
        self._friendly_name = friendly_name or self._friendly_name
        store.write(self.root, "workspaces", self.name, said)
        return self.get_details()

    def sync_keys(self) -> None:
        """Do nothing: there are no keys."""

    def delete(
        self,
        delete_dependent_resources: bool = False,
        no_wait: bool = False,
        force_permanently_delete: bool = False,
    ) -> NoReturn:
        """Raise: all runs would be gone with the folder.

        Raises:
            UserErrorException: Always.
        """
        raise UserErrorException(
            f"a workspace is a folder with all its runs; remove {self.root} yourself "
            "if they are to go"
        )


def workspace_at(root: Path | None) -> Workspace:
    """Return the workspace of a folder, with the labels of the nearest config if any.

    Args:
        root: The folder; None: the default one.
    """
    file = _find_config(Path.cwd(), None)
    said = _handed_down() or (_read_config(file) if file is not None else {})
    return _labelled(said, root)


def _labelled(said: Mapping[str, str], root: Path | None) -> Workspace:
    """Return a workspace with the labels of a config."""
    return Workspace(
        said.get("subscription_id", ""),
        said.get("resource_group", ""),
        said.get("workspace_name") or _LOCAL,
        _root=root,
    )


def _root_of(said: Mapping[str, str], folder: Path) -> Path:
    """Return the root that a config in a folder stands for."""
    root = said.get("root")
    if root and not os.environ.get("MLOG_DIR"):
        return folder / Path(root).expanduser()
    return _default_root(folder)


def _handed_down() -> dict[str, str]:
    """Return the labels that a launcher has told this process; {} if there are none."""
    said = {key: os.environ.get(name, "") for key, name in HANDED_DOWN.items()}
    return said if said["workspace_name"] else {}


def _default_root(folder: Path) -> Path:
    return find_root(None, env=os.environ, cwd=folder)


def _without_config(start: Path) -> Workspace:
    root = _default_root(start)
    if said := _handed_down():
        return _labelled(said, root)
    note("config", f"no config.json from {start} upward; runs go to {root}")
    return Workspace("", "", _LOCAL, _root=root)


def _find_config(start: Path, file_name: str | None) -> Path | None:
    names: tuple[str, ...] = _CONFIG_FILES
    if file_name is not None:
        names = (f".azureml/{file_name}", f"aml_config/{file_name}", file_name)
    for folder in (start, *start.parents):
        for name in names:
            file = folder / name
            # Of files beside the script many are called config.json.
            plain = "/" not in name and file_name is None
            if file.is_file() and (not plain or _is_config(file)):
                return file
    return None


def _is_config(file: Path) -> bool:
    try:
        _read_config(file)
    except UserErrorException:
        return False
    return True


def _read_config(file: Path) -> dict[str, str]:
    """Return the labels that a file holds.

    Raises:
        UserErrorException: It is no such file.
    """
    try:
        said = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as exc:
        raise UserErrorException(f"{file} cannot be read as JSON: {exc}") from exc
    if isinstance(said, dict) and "Id" in said and "workspace_name" not in said:
        said = _from_scope(str(said["Id"])) | said  # project.json of older versions
    missing = [k for k in _KEYS if not isinstance(said, dict) or k not in said]
    if missing:
        raise UserErrorException(f"{file} lacks {', '.join(missing)}")
    return {key: str(value) for key, value in said.items()}


def _from_scope(scope: str) -> dict[str, str]:
    """Take apart `/subscriptions/…/resourceGroups/…/…/workspaces/<name>/…`."""
    parts = [part for part in scope.split("/") if part]
    said = {key.lower(): value for key, value in zip(parts[::2], parts[1::2])}  # noqa: B905  # an odd last part says nothing
    names = ("workspaces", "subscriptions", "resourcegroups")
    return {
        key: said[name] for key, name in zip(_KEYS, names, strict=True) if name in said
    }


def _config_folder(file: Path) -> Path:
    """Return the project's folder that a config file belongs to."""
    folder = file.parent
    return folder.parent if folder.name in (".azureml", "aml_config") else folder


def _experiment_name(root: Path, run: Path) -> str:
    """Return the name of a run's experiment, as it was given."""
    folder = run.parent.name
    said = store.read(root, "experiments", folder)
    name = said.get("name")
    return name if isinstance(name, str) else folder
