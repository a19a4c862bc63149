"""Files of a run as artifacts of MLflow, and its models as registered ones.

Files go through a `FileStore`: of a tracking server its proxy (`mlflow-artifacts:`), so
that no storage has to be reached from here; of a workspace see `azureml_files`. A run's
own artifacts keep their names; segments and other files of mlog lie below `mlog/`,
registered models below `models/`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from mlog.errors import MlogError
from mlog.layout import slug
from mlog.models import Model, get
from mlog.reader.fields import text_from, whole_from
from mlog.shipping.sink import RunFacts, RunFile, SendResult
from mlog.shipping.sinks.mlflow_api import MlflowApi
from mlog.shipping.sinks.mlflow_batches import tag_text
from mlog.shipping.sinks.mlflow_names import key_of
from mlog.shipping.sinks.mlflow_runs import RemoteRun

__all__ = ["FileStore", "ProxyStore", "StoreError", "artifact_name", "register_model"]

_PROXY = "mlflow-artifacts"
_OWN = "artifacts/"
_UNSAFE = re.compile(r'[#%?\\:*"<>|\x00-\x1f\x7f]|_(?=x[0-9A-F]{2})')
_NOT_IN_MODELS = re.compile(r"[/:]")
_VERSION = "mlog.version"


class StoreError(MlogError):
    """A file was not stored.

    Attributes:
        result: What the shipper should know.
    """

    def __init__(self, result: SendResult) -> None:
        """Say what came, without credentials."""
        super().__init__(result.error)
        self.result = result


class FileStore(Protocol):
    """Where the files of remote runs are kept."""

    def put(self, remote: RemoteRun, file: RunFile, name: str) -> None:
        """Store a file under a name of the run's artifacts; what is there is replaced.

        Raises:
            StoreError, MlflowError, HttpError: It was not stored.
            OSError: The file cannot be read.
        """

    def close(self) -> None:
        """Close the connections of its own."""


class ProxyStore:
    """The server's own proxy of artifacts."""

    def __init__(self, api: MlflowApi) -> None:
        """Send through the calls of a server, which stay its owner's to close."""
        self._api = api

    def put(self, remote: RemoteRun, file: RunFile, name: str) -> None:
        """See `FileStore`."""
        uri = urlsplit(remote.artifacts)
        if uri.scheme != _PROXY:
            raise StoreError(
                SendResult(
                    "refused",
                    f"the server keeps artifacts at {uri.scheme or 'a path'}:, where "
                    "it takes none for us; one with --serve-artifacts and "
                    "--artifacts-destination does",
                )
            )
        self._api.put(f"{uri.path.strip('/')}/{name}", file)

    def close(self) -> None:
        """Do nothing."""


def artifact_name(name: str) -> str:
    """Return where a file of a run lies among its artifacts on the server.

    What the server does not take in a name is written as in `mlflow_names`.

    Args:
        name: Below the run's folder.
    """
    name = name.removeprefix(_OWN) if name.startswith(_OWN) else f"mlog/{name}"
    return _UNSAFE.sub(lambda match: f"_x{ord(match[0]):02X}_", name)


def register_model(
    api: MlflowApi,
    store: FileStore,
    remote: RemoteRun,
    run: RunFacts,
    data: Mapping[str, Any],
) -> None:
    """Make a version of a registered model what a `run.model` event says.

    The files come from the registry beside the runs. What was registered before is left
    as it is; the server numbers versions itself, ours is the tag `mlog.version`.

    Raises:
        ModelNotFoundError: The registry here has no such version (any more).
        StoreError, MlflowError, HttpError: It was not registered.
        OSError: A file cannot be read.
    """
    version = whole_from(data.get("version"))
    model = get(run.folder.parent.parent, text_from(data.get("name")), version)
    name = _model_name(model.name)
    own = {"key": _VERSION, "value": str(model.version)}
    for there in api.model_versions(remote.id):
        if there.get("name") == name and own in there.get("tags", []):
            return
    folder = f"models/{slug(model.name)}/{model.version}"
    for file in model.files:
        path = _path_of(model, file.path)
        sent = RunFile(file.path, path, file.size, sha256=file.sha256)
        store.put(remote, sent, artifact_name(f"{_OWN}{folder}/{file.path}"))
    api.create_model(name, model.description or "")
    tags = [{"key": key_of(k), "value": tag_text(v)} for k, v in model.tags.items()]
    api.create_model_version(
        name=name,
        source=f"{remote.artifacts}/{folder}",
        run_id=remote.id,
        description=model.description or "",
        tags=[*tags, own],
    )


def _model_name(name: str) -> str:
    """Return a name that MLflow takes for a registered model."""
    plain = _NOT_IN_MODELS.sub(lambda match: f"_x{ord(match[0]):02X}_", name)
    return plain if plain.strip(". ") else f"_{plain}"


def _path_of(model: Model, name: str) -> Path:
    """Return where a file of a model is; `Model.path` may be one file or the folder."""
    base = model.root / ".models" / slug(model.name) / str(model.version) / "files"
    return base.joinpath(*name.split("/"))
