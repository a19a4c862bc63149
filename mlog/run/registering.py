"""The part of a run that makes models of its artifacts; see `mlog.models`."""

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mlog.errors import ModelPathNotFoundError, warn_once
from mlog.folder import access_for
from mlog.run.artifacts import ArtifactStore, artifact_name
from mlog.run.files import FileMethods

if TYPE_CHECKING:  # loaded when a model is registered, not with every start
    from mlog.models import Model, Opener

__all__ = ["ModelMethods"]

_MAX_SHOWN = 10


class ModelMethods(FileMethods):
    """The method of a run that registers models. It raises clear errors."""

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: Any = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
        **kwargs: Any,
    ) -> "Model":
        """Register an artifact of the run as the next version of a model.

        Returns when the copy is on the disk. Also for runs that have ended, or are
        another process's; versions are safe from any number of processes.

        Args:
            model_name: Any text of at most 255 characters.
            model_path: An artifact, or what stands before "/" in the names of several.
                None: the same as `model_name`.
            tags: Texts that may change later.
            properties: Texts that are set once.
            model_framework: What it was made with, such as "ScikitLearn".
            model_framework_version: Of that.
            description: A word on it.
            datasets: Not kept; a cloud's service used it, as it did the following.
            sample_input_dataset: Not kept.
            sample_output_dataset: Not kept.
            resource_configuration: Not kept.
            **kwargs: Not kept; told once.

        Raises:
            ModelPathNotFoundError: The run has no such artifact (yet).
            MlogError: The run is off.
            ValueError, TypeError, OSError: As for `mlog.models.register`.
        """
        path = self._need_path()
        _tell_not_kept(
            datasets=datasets,
            sample_input_dataset=sample_input_dataset,
            sample_output_dataset=sample_output_dataset,
            resource_configuration=resource_configuration,
            **kwargs,
        )
        from mlog.models import register

        model = register(
            path.parent.parent,
            model_name,
            self._model_files(model_name if model_path is None else model_path),
            tags=tags,
            properties=properties,
            description=description,
            framework=model_framework,
            framework_version=model_framework_version,
            run_id=self.id,
            run_path=path,
            access=access_for(path, "private"),
            clean=self._clean,
        )
        self._event(
            "run.model",
            {"name": model.name, "version": model.version, "path": str(model.path)},
        )
        return model

    def _model_files(self, model_path: str) -> dict[str, "Opener"]:
        """Return the artifacts that make the model, by their names in it."""
        store = self._store()
        if isinstance(model_path, str):
            model_path = model_path.rstrip("/\\") or model_path
        name = artifact_name(model_path)
        above, _, last = name.rpartition("/")
        if store.status(name) is not None:
            return {last: partial(store.open, name)}
        start = len(above) + 1 if above else 0
        found = store.names(f"{name}/")
        if not found:
            raise self._no_artifact(store, name)
        return {each[start:]: partial(store.open, each) for each in found}

    def _no_artifact(self, store: ArtifactStore, name: str) -> ModelPathNotFoundError:
        names = store.names()
        shown = ", ".join(names[:_MAX_SHOWN]) or "none"
        more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
        text = f"run {self.id} has no artifact {name!r}; it has: {shown}{more}."
        method = "upload_folder" if os.path.isdir(name) else "upload_file"
        hint = f" Store it first: run.{method}({name!r}, {name!r})"
        return ModelPathNotFoundError(text + (hint if os.path.exists(name) else ""))


def _tell_not_kept(**given: Any) -> None:
    """Warn once about what only a service in a cloud could use."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        text = f"register_model keeps no {', '.join(names)}; the model is registered"
        warn_once(f"register_model {names}", text)
