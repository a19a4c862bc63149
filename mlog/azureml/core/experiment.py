"""`Experiment`: a named group of runs in a workspace."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mlog.azureml.core import store
from mlog.azureml.core.run import Run
from mlog.azureml.core.submitting import submit
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.reach import needs_azure
from mlog.entry import stamp
from mlog.layout import slug
from mlog.reader.find import iter_runs
from mlog.run.begin import begin

__all__ = ["Experiment", "ViewType"]

_KIND = "experiments"


class ViewType:
    """Which experiments `Experiment.list` gives."""

    ActiveOnly = "ActiveOnly"
    ArchivedOnly = "ArchivedOnly"
    All = "All"


class Experiment:
    """A named group of runs.

    Attributes:
        workspace, name: As given.
        id: The same for the same name in the same folder.
    """

    def __init__(self, workspace: Workspace, name: str, **kwargs: Any) -> None:
        """Name a group of runs; it need not have any yet.

        Args:
            workspace: Where its runs lie.
            name: Any text.
            **kwargs: Not used.

        Raises:
            UserErrorException: The name is empty or no text, or the workspace is none.
        """
        if not isinstance(workspace, Workspace):
            raise UserErrorException(
                f"an experiment is in a workspace, got {workspace!r}; "
                "Workspace.from_config() finds one"
            )
        if not isinstance(name, str) or not name:
            raise UserErrorException(f"an experiment's name must be text, got {name!r}")
        self.workspace = workspace
        self.name = name
        self.id = str(uuid.uuid5(uuid.NAMESPACE_URL, self._folder.as_uri()))

    def __repr__(self) -> str:
        """Return name and folder."""
        return f"Experiment(Name: {self.name},\nWorkspace: {self._folder.parent})"

    def _repr_html_(self) -> str:
        import html

        link = html.escape(self.get_portal_url(), quote=True)
        return (
            f'Experiment <b>{html.escape(self.name)}</b>: <a href="{link}">{link}</a>'
        )

    # --- runs ----------------------------------------------------------------------

    def submit(
        self, config: Any, tags: Mapping[str, str] | None = None, **kwargs: Any
    ) -> Run:
        """Start a script as a run, or a sweep, and return while it runs.

        Args:
            config: A `ScriptRunConfig` or a `HyperDriveConfig`.
            tags: For the run.
            **kwargs: `show_output` (True: wait for its end, and show what it prints
                meanwhile; see `Run.wait_for_completion`), `run_id` (default: a fresh
                one), `credential_passthrough` (not used: no credentials are passed).

        Raises:
            UserErrorException: It is another kind of config.
            FileNotFoundError, ValueError: The config is wrong.
            TypeError: There is no such argument.
            MlogError: The run could not be made; there may be one of that id.
            ActivityFailedException: It failed (with `show_output`).
        """
        self._remember()
        return submit(Run, config, self.workspace, self.name, tags, **kwargs)

    def start_logging(self, *args: Any, **kwargs: Any) -> Run:
        """Start a run in this process.

        What lies in `./outputs` and `./logs` at its end becomes files of the run. It
        is no child of another run. No snapshot is taken unless a folder is named.

        Args:
            *args: In the order of the names below.
            **kwargs: `name`, `run_id`, `outputs` (False: take no files in; or the
                folder to take instead), `snapshot_directory`, `display_name`,
                `description`, `tags`.

        Returns:
            The run, which is active: log lines of this process go to it.

        Raises:
            TypeError: There is no such argument.
            RunExistsError: There is a run of that id.
        """
        given = _given(args, kwargs)
        self._remember()
        run = begin(
            Run,
            self.name,
            name=given.get("display_name") or given.get("name"),
            run_id=given.get("run_id"),
            description=given.get("description"),
            tags=given.get("tags"),
            dir=self.workspace.root,
            outputs=_folders(given.get("outputs")),
            nested=False,
        )
        run.belongs_to(self.workspace)
        if given.get("snapshot_directory") is not None:
            run.take_snapshot(given["snapshot_directory"])
        return run

    def get_runs(
        self,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """Yield the runs, newest first; see `Run.list`."""
        return Run.list(self, type, tags, properties, include_children=include_children)

    # --- the experiment itself -----------------------------------------------------

    @property
    def tags(self) -> dict[str, str]:
        """Name to text."""
        return dict(self._said().get("tags") or {})

    @property
    def archived_time(self) -> str | None:
        """When it was archived; None if it is not."""
        return self._said().get("archived_time")

    def archive(self) -> None:
        """Leave it out of `list`; its runs stay."""
        self._write(archived_time=stamp(time.time_ns() // 1_000))

    def reactivate(self, new_name: str | None = None) -> None:
        """Undo `archive`.

        Raises:
            UserErrorException: Another name is given: runs lie in a folder named so.
        """
        if new_name not in (None, self.name):
            raise UserErrorException(
                f"experiment {self.name!r} keeps its name, which is that of a folder; "
                "leave new_name out"
            )
        self._write(archived_time=None)

    def tag(self, key: str, value: str | None = None) -> None:
        """Set one tag."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; others stay."""
        texts = {str(k): v if v is None else str(v) for k, v in tags.items()}
        self._write(tags=self.tags | texts)

    def remove_tags(self, tags: Any) -> None:
        """Remove tags by name; one that is not there is no error."""
        gone = {tags} if isinstance(tags, str) else set(tags)
        self._write(tags={k: v for k, v in self.tags.items() if k not in gone})

    def refresh(self) -> None:
        """Do nothing: what is asked for is read from the files each time."""

    def get_portal_url(self) -> str:
        """Return the `file:` URL of the folder."""
        return self._folder.as_uri()

    def get_docs_url(self) -> str:
        """Return the `file:` URL of the code that documents itself."""
        return Path(__file__).as_uri()

    @staticmethod
    def list(
        workspace: Workspace,
        experiment_name: str | None = None,
        view_type: str = ViewType.ActiveOnly,
        tags: Any = None,
    ) -> "list[Experiment]":
        """Return the experiments of a workspace, by name.

        Args:
            workspace: Where.
            experiment_name: Only this one.
            view_type: "ActiveOnly", "ArchivedOnly" or "All".
            tags: Only those with this tag (text), or all of these (mapping).
        """
        said = {doc["name"] for doc in store.documents(workspace.root, _KIND)}
        names = sorted(said | workspace.experiments.keys())
        found = [Experiment(workspace, name) for name in names]
        return [
            experiment
            for experiment in found
            if experiment_name in (None, experiment.name)
            and _shown(experiment.archived_time, view_type)
            and _has(experiment.tags, tags)
        ]

    @staticmethod
    def delete(workspace: Workspace, experiment_id: str) -> None:
        """Forget an experiment without runs.

        Raises:
            UserErrorException: There is none of that id, or it has runs.
        """
        for experiment in Experiment.list(workspace, view_type=ViewType.All):
            if experiment.id == experiment_id:
                experiment._forget()
                return
        raise UserErrorException(f"no experiment has the id {experiment_id!r}")

    @staticmethod
    def from_directory(path: str | os.PathLike[str], auth: Any = None) -> NoReturn:
        """Raise: folders are not attached to experiments.

        Raises:
            UserErrorException: Always.
        """
        needs_azure(
            "Experiment.from_directory",
            "use Experiment(Workspace.from_config(path), name)",
        )

    # --- inside --------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        return self.workspace.root / slug(self.name)

    def _said(self) -> dict[str, Any]:
        return store.read(self.workspace.root, _KIND, slug(self.name))

    def _write(self, **changes: Any) -> None:
        document = {**self._said(), "name": self.name, **changes}
        store.write(self.workspace.root, _KIND, slug(self.name), document)

    def _remember(self) -> None:
        """Keep the name as it was given, where its folder is called otherwise."""
        if slug(self.name) != self.name and not self._said():
            self._write()

    def _forget(self) -> None:
        if any(run.parent == self._folder for run in iter_runs(self.workspace.root)):
            raise UserErrorException(
                f"experiment {self.name!r} has runs; remove {self._folder} yourself "
                "if they are to go"
            )
        store.remove(self.workspace.root, _KIND, slug(self.name))


_START_LOGGING = (
    "name",
    "run_id",
    "outputs",
    "snapshot_directory",
    "display_name",
    "description",
    "tags",
)


def _given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Put the arguments of `start_logging` together by name."""
    given = dict(zip(_START_LOGGING, args, strict=False))
    if len(args) > len(_START_LOGGING) or given.keys() & kwargs.keys():
        raise TypeError("start_logging got too many arguments, or one of them twice")
    unknown = sorted(kwargs.keys() - set(_START_LOGGING))
    if unknown:
        expected = ", ".join(_START_LOGGING)
        raise TypeError(f"start_logging knows {expected}; got {unknown[0]!r}")
    return given | dict(kwargs)


def _folders(outputs: Any) -> Any:
    """Return what `begin` is told of the folders that are taken in."""
    if outputs is None or isinstance(outputs, bool):
        return outputs is not False
    return (os.fspath(outputs), "logs")


def _shown(archived: str | None, view_type: str) -> bool:
    if view_type == ViewType.All:
        return True
    return (archived is not None) == (view_type == ViewType.ArchivedOnly)


def _has(said: Mapping[str, Any], wanted: Any) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return wanted in said
    return all(said.get(key) == value for key, value in dict(wanted).items())
