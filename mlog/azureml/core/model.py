"""`Model`: a registered model, on the local registry."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from mlog import models
from mlog.azureml.core.later import later
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.exceptions import ModelNotFoundException, ModelPathNotFoundException
from mlog.azureml.reach import Partly, needs_azure, no_such_name
from mlog.errors import ModelNotFoundError, RunNotFoundError

__all__ = ["Model"]

_NOT_FOUND = "ModelNotFound"
"""The service's code for it, which scripts look for in `exception.message`."""

_SERVE = "load the model from model.download() in a server of your own"


class Model(Partly):
    """One version of a registered model.

    Attributes:
        workspace: Where it is registered.
        mime_type, datasets, resource_configuration, sample_input_dataset,
        sample_output_dataset: As of a model for which nothing was said.
    """

    mime_type = "application/octet-stream"
    datasets: ClassVar[Mapping[str, Any]] = {}
    resource_configuration = sample_input_dataset = sample_output_dataset = None
    _beyond: ClassVar[Mapping[str, str]] = {
        "add_dataset_references": "name the data in model.add_properties",
        "check_for_conflicts": "leave it out: the registry is a folder",
        "created_by": "see model.run.get_details()['submittedBy']",
        "derived_model_id": "leave it out",
        "get_sas_urls": "use model.path",
        "parent_id": "leave it out",
        "unpack": "leave it out: files are kept as they are",
        "update_tags_properties": "use add_tags, remove_tags and add_properties",
    }

    class Framework:
        """Names for `model_framework`; any other text will do as well."""

        CUSTOM = "Custom"
        MULTI = "Multi"
        ONNX = "Onnx"
        PYTORCH = "PyTorch"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"
        TFKERAS = "TfKeras"

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,
        tags: Any = None,
        properties: Any = None,
        version: int | str | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Find the latest version that fits all that is given.

        Args:
            workspace: Where.
            name: Its name; or else
            id: Name and version: "mnist:3".
            tags, properties: Names, or pairs of name and value, that it must have.
            version, run_id, model_framework: Of it.
            **kwargs: Not used.

        Raises:
            ModelNotFoundException: There is none.
        """
        if id is not None:
            name, _, version = id.rpartition(":")
        found = [
            model
            for model in models.models(
                workspace.root, name, tags=tags, properties=properties, run_id=run_id
            )
            if version is None or str(model.version) == str(version)
            if model_framework in (None, model.framework)
        ]
        if not found:
            raise _not_found(workspace, name, version)
        self.workspace = workspace
        self._registered = max(found, key=lambda model: model.version)

    @classmethod
    def of(cls, workspace: Workspace, registered: models.Model) -> "Model":
        """Return the object of a model of the registry."""
        made = cls.__new__(cls)
        made.workspace = workspace
        made._registered = registered
        return made

    def __repr__(self) -> str:
        """Return what it is."""
        return f"Model(name={self.name}, id={self.id}, version={self.version}, url={self.url})"

    # --- what it is ----------------------------------------------------------------

    @property
    def name(self) -> str:
        """What it was registered as."""
        return self._registered.name

    @property
    def version(self) -> int:
        """Its number: 1, 2, and so on."""
        return self._registered.version

    @property
    def id(self) -> str:
        """Name and version: "mnist:3"."""
        return self._registered.id

    @property
    def url(self) -> str:
        """The `file:` URL of its file or folder."""
        return self._registered.url

    @property
    def path(self) -> Path:
        """Its file or folder, not to be changed."""
        return self._registered.path

    @property
    def tags(self) -> dict[str, str]:
        """Texts that may change."""
        return dict(self._registered.tags)

    @property
    def properties(self) -> dict[str, str]:
        """Texts that are set once."""
        return dict(self._registered.properties)

    @property
    def description(self) -> str | None:
        """A word on it."""
        return self._registered.description

    @property
    def created_time(self) -> str:
        """When it was registered, RFC 3339 in UTC."""
        return self._registered.created_time

    @property
    def run_id(self) -> str | None:
        """Id of the run it comes from."""
        return self._registered.run_id

    @property
    def experiment_name(self) -> str | None:
        """Name of the experiment of that run; None without one, or if it is gone."""
        run_id = self.run_id
        if run_id is None:
            return None
        try:
            return str(later("Run").get(self.workspace, run_id).experiment.name)
        except RunNotFoundError:
            return None

    @property
    def run(self) -> Any:
        """The run it comes from, or None."""
        if self.run_id is None:
            return None
        return later("Run").get(self.workspace, self.run_id)

    @property
    def model_framework(self) -> str | None:
        """What it was made with."""
        return self._registered.framework

    @property
    def model_framework_version(self) -> str | None:
        """Version of that."""
        return self._registered.framework_version

    def serialize(self) -> dict[str, Any]:
        """Return what is known of it."""
        return {
            "name": self.name,
            "version": self.version,
            "id": self.id,
            "url": self.url,
            "description": self.description,
            "tags": self.tags,
            "properties": self.properties,
            "createdTime": self.created_time,
            "runId": self.run_id,
            "framework": self.model_framework,
            "frameworkVersion": self.model_framework_version,
        }

    # --- what can be done ----------------------------------------------------------

    @staticmethod
    def register(
        workspace: Workspace,
        model_path: str | os.PathLike[str],
        model_name: str,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        description: str | None = None,
        datasets: Any = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Sequence[str] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
    ) -> "Model":
        """Copy a file or folder into the registry as the next version of a model.

        Args:
            workspace: Where.
            model_path: What to copy.
            model_name: Its name.
            tags, properties, description: Some words on it.
            model_framework, model_framework_version: What it was made with.
            child_paths: Only these files of the folder.
            datasets, sample_input_dataset, sample_output_dataset,
            resource_configuration: Not used.

        Raises:
            ModelPathNotFoundException: There is no such file or folder.
        """
        source = Path(model_path)
        if not source.exists():
            raise ModelPathNotFoundException(f"there is no file or folder {source}")
        files: Any = source
        if child_paths:
            files = {f"{source.name}/{name}": source / name for name in child_paths}
        made = models.register(
            workspace.root,
            model_name,
            files,
            tags=tags,
            properties=properties,
            description=description,
            framework=model_framework,
            framework_version=model_framework_version,
        )
        return Model.of(workspace, made)

    @staticmethod
    def list(
        workspace: Workspace,
        name: str | None = None,
        tags: Any = None,
        properties: Any = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        expand: bool = True,
        page_count: int = 255,
        model_framework: str | None = None,
    ) -> "list[Model]":
        """Return registered models, newest first.

        Args:
            workspace: Where.
            name, run_id, model_framework: Only models with these.
            tags, properties: Names, or pairs of name and value, that they must have.
            latest: Of each name only the highest version.
            dataset_id, expand, page_count: Not used.
        """
        found = models.models(
            workspace.root,
            name,
            tags=tags,
            properties=properties,
            run_id=run_id,
            latest=latest,
        )
        return [
            Model.of(workspace, model)
            for model in found
            if model_framework in (None, model.framework)
        ]

    @staticmethod
    def get_model_path(
        model_name: str,
        version: int | str | None = None,
        _workspace: Workspace | None = None,
    ) -> str:
        """Return the path of a registered model's file or folder.

        Raises:
            ModelNotFoundException: There is none.
        """
        workspace = _workspace or Workspace.from_config()
        try:
            return str(models.get(workspace.root, model_name, version).path)
        except ModelNotFoundError as exc:
            raise ModelNotFoundException(f"{_NOT_FOUND}: {exc}", exc) from exc

    def download(
        self,
        target_dir: str | os.PathLike[str] = ".",
        exist_ok: bool = False,
        exists_ok: bool | None = None,
    ) -> str:
        """Copy it to a folder, and return the path of the copy.

        Raises:
            FileExistsError: A file is there already.
        """
        return str(self._registered.download(target_dir, exist_ok, exists_ok))

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; others stay."""
        self._registered.add_tags(tags)

    def remove_tags(self, tags: Any) -> None:
        """Remove tags by name."""
        self._registered.remove_tags(tags)

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Set properties; ValueError for one that has another value already."""
        self._registered.add_properties(properties)

    def update(
        self,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
    ) -> None:
        """Replace all tags, or the description, or both."""
        self._registered.update(tags, description)

    def delete(self) -> None:
        """Remove this version and its files."""
        self._registered.delete()

    def print_configuration(self) -> None:
        """Print what is known of it."""
        for key, value in self.serialize().items():
            print(f"{key}: {value}")  # noqa: T201  # asked for

    @staticmethod
    def deploy(*args: Any, **kwargs: Any) -> NoReturn:
        """Raise: there are no web services here."""
        needs_azure("Model.deploy", _SERVE)

    @staticmethod
    def package(*args: Any, **kwargs: Any) -> NoReturn:
        """Raise: no images are built here."""
        needs_azure("Model.package", _SERVE)

    @staticmethod
    def profile(*args: Any, **kwargs: Any) -> NoReturn:
        """Raise: there are no web services here."""
        needs_azure("Model.profile", _SERVE)


def __getattr__(name: str) -> Any:
    """Say what to use instead of the classes for web services."""
    if name in ("InferenceConfig", "ModelPackage"):
        no_such_name(f"azureml.core.model.{name}", _SERVE)
    raise AttributeError(f"module 'azureml.core.model' has no attribute {name!r}")


def _not_found(
    workspace: Workspace, name: str | None, version: int | str | None
) -> ModelNotFoundException:
    there = ", ".join(sorted({m.name for m in models.models(workspace.root)}))
    what = f"model {name!r}" if name is not None else "model"
    which = f" of version {version}" if version is not None else ""
    text = f"no {what}{which} in {workspace.root}; models there: {there or 'none'}"
    return ModelNotFoundException(f"{_NOT_FOUND}: {text}")
