"""`Run` with all that only the SDK had; everything else is `mlog.run.api.Run`."""

import builtins
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, NoReturn, Self

from mlog.azureml.core import submitting
from mlog.azureml.core.environment import Environment
from mlog.azureml.core.later import later
from mlog.azureml.core.script_run_config import INPUTS, OUTPUTS
from mlog.azureml.core.workspace import Workspace, workspace_at
from mlog.azureml.data.datasets import FileDataset, load
from mlog.azureml.exceptions import (
    ActivityFailedException,
    ModelPathNotFoundException,
    RunEnvironmentException,
    UserErrorException,
)
from mlog.azureml.reach import needs_azure
from mlog.errors import ActivityFailedError, MlogError, ModelPathNotFoundError
from mlog.layout import slug
from mlog.reader.find import find_run, iter_runs
from mlog.reader.state import RunState, read_state
from mlog.run import begin as beginning
from mlog.run.api import Run as LocalRun
from mlog.run.api import current_run
from mlog.run.begin import begin, inherited_env
from mlog.run.cells import current_cell
from mlog.run.family import fits, handle
from mlog.run.launched import SWEEP, type_of
from mlog.run.start import announce

__all__ = ["Run", "get_run"]

_ALIVE = ("Running", "Queued")


class Run(LocalRun):
    """A run under the names the SDK gave its parts.

    Unlike `mlog.Run` it has an `Experiment` object for `experiment`. What only a cloud
    had raises `UserErrorException`, which says what to use instead.
    """

    _workspace: Workspace | None = None
    _factories: "dict[str, Callable[[Any, Any], Any]]" = {}  # noqa: RUF012  # one for all

    def __init__(
        self, experiment: Any, run_id: str, outputs: str | None = None, **kwargs: Any
    ) -> None:
        """Get hold of a run that is there.

        Args:
            experiment: Its `Experiment`.
            run_id: Its id, or the beginning of it.
            outputs, **kwargs: Not used.

        Raises:
            RunNotFoundError: There is no such run.
        """
        workspace = experiment.workspace
        path = find_run(run_id, root=workspace.root, experiment=experiment.name)
        # Two objects of one run share all they know.
        self.__dict__ = handle(Run, path).__dict__
        self.belongs_to(workspace)

    # --- getting hold of runs ------------------------------------------------------

    @classmethod
    def get_context(
        cls,
        allow_offline: bool = True,
        used_for_context_manager: bool = False,
        **kwargs: Any,
    ) -> "Run":
        """Return the run that this code belongs to, or start one.

        That is the active run; in a submitted script, or another process started in a
        run, the one it was started in. Where there is none a run is started: all is
        stored, and it ends with the process. One line on stderr says where it is.

        Args:
            allow_offline: Whether a run may be started.
            used_for_context_manager, **kwargs: Not used.

        Raises:
            RunEnvironmentException: No launcher handed a run to this process, and none
                may be started.
        """
        if not allow_offline and not inherited_env().get("MLOG_RUN"):
            raise RunEnvironmentException()
        run = current_run()
        if run is None:
            run = _ended_one() or _start()
        if not isinstance(run, Run):
            run.__class__ = Run  # the same run with the SDK's names beside mlog's
            assert isinstance(run, Run)
        _hold(run)
        return run

    @classmethod
    def get_submitted_run(cls, **kwargs: Any) -> "Run":
        """Return the run that a launcher handed to this process; see `get_context`."""
        return cls.get_context(allow_offline=False)

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Any:
        """Return a run of a workspace.

        Args:
            workspace: Where to look.
            run_id: Id, beginning of an id, name or path.

        Raises:
            RunNotFoundError: There is none; the message offers the closest names.
        """
        return _of_its_type(workspace, find_run(run_id, root=workspace.root))

    @staticmethod
    def list(
        experiment: Any,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        status: str | None = None,
        include_children: bool = False,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Any]:
        """Yield the runs of an experiment, newest first.

        Args:
            experiment: An `Experiment`.
            type: Only runs of this type ("azureml.scriptrun": submitted scripts;
                "hyperdrive": sweeps).
            tags, properties: Only runs that have this name (text), or all of these
                values (mapping).
            status: Only runs with this status.
            include_children: Also runs with a parent.
            _rehydrate_runs: Whether types given to `add_type_provider` count.
        """
        workspace = experiment.workspace
        for state in _states(workspace.root, experiment.name):
            if state.parent is not None and not include_children:
                continue
            if fits(state, tags, properties, status, type):
                yield _of_its_type(workspace, state.folder, _rehydrate_runs)

    @staticmethod
    def list_by_compute(
        compute: Any,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        status: str | None = None,
    ) -> Iterator[Any]:
        """Yield the runs that were submitted to a compute target and go on.

        Args:
            compute: A `ComputeTarget`.
            type, tags, properties: As for `list`.
            status: "Running" or "Queued"; default: both.

        Raises:
            UserErrorException: Another status is asked for.
        """
        if status not in (None, *_ALIVE):
            raise UserErrorException(
                f"status must be Running or Queued, got {status!r}"
            )
        wanted = (status,) if status else _ALIVE
        for state in _states(compute.workspace.root):
            there = state.properties.get(submitting.TARGET) == compute.name
            if not there or state.status not in wanted:
                continue
            if fits(state, tags, properties, None, type):
                yield _of_its_type(compute.workspace, state.folder)

    @staticmethod
    def add_type_provider(runtype: str, run_factory: Callable[[Any, Any], Any]) -> None:
        """Have runs of a type given out as something else.

        Args:
            runtype: The type.
            run_factory: Called with the experiment and facts on the run (`run_id`,
                `status`, `tags`, `properties`, …).

        Raises:
            UserErrorException: The type has a provider already.
        """
        if runtype in Run._factories:
            raise UserErrorException(f"the type {runtype!r} has a provider already")
        Run._factories[runtype] = run_factory

    # --- what a run is -------------------------------------------------------------

    @property
    def experiment(self) -> Any:
        """The `Experiment` it belongs to; `run.experiment.workspace` is its workspace."""
        if self._workspace is None:
            root = self.path.parent.parent if self.path is not None else None
            self._workspace = workspace_at(root)
        return later("Experiment")(self._workspace, self._experiment)

    def belongs_to(self, workspace: Workspace) -> None:
        """Remember the workspace, whose labels `run.experiment.workspace` shows."""
        self._workspace = workspace

    @property
    def type(self) -> str | None:
        """The text "azureml.scriptrun" of a submitted script, "hyperdrive" of a sweep.

        None of other runs.
        """
        return type_of(self.path) if self.path is not None else None

    @property
    def number(self) -> int:
        """Which of the experiment's runs it is, by creation; the first is 1."""
        root = self._need_path().parent.parent
        older = [s.run_id for s in _states(root, self._experiment)][::-1]
        return older.index(self.id) + 1

    def get_details(self) -> dict[str, Any]:
        """Return what is known of the run; `target` is its compute target."""
        details = super().get_details()
        target = details["properties"].get(submitting.TARGET)
        return details | ({"target": target} if target else {})

    def get_environment(self) -> Environment:
        """Return the environment it was submitted with, else the packages it found."""
        said = self.get_properties().get(submitting.ENVIRONMENT)
        if said is not None:
            return Environment.from_dict(json.loads(said))
        made = Environment(f"{self.id}-environment")
        found = self._state().environment.get("packages") or {}
        packages = [f"{name}=={version}" for name, version in sorted(found.items())]
        if made.python.conda_dependencies is not None:
            made.python.conda_dependencies.set_pip_requirements(packages)
        return made

    @property
    def input_datasets(self) -> dict[str, Any]:
        """Named inputs: paths of file sets, objects of tabular ones."""
        told = os.environ.get(INPUTS) if self._is_inherited else None
        said = json.loads(told or self.get_properties().get(submitting.INPUTS, "{}"))
        data = {name: load(document) for name, document in said.items()}
        return {
            name: one.argument if isinstance(one, FileDataset) else one
            for name, one in data.items()
        }

    @property
    def output_datasets(self) -> dict[str, str]:
        """Named folders that it writes to."""
        told = os.environ.get(OUTPUTS) if self._is_inherited else None
        found: dict[str, str] = json.loads(
            told or self.get_properties().get(submitting.OUTPUTS, "{}")
        )
        return found

    def get_portal_url(self) -> str:
        """Return the `file:` URL of its folder."""
        return self._need_path().as_uri()

    def get_docs_url(self) -> str:
        """Return the `file:` URL of the code that documents itself."""
        return Path(__file__).as_uri()

    # --- what it can do ------------------------------------------------------------

    def submit_child(
        self, config: Any, tags: Mapping[str, str] | None = None, **kwargs: Any
    ) -> Self:
        """Start a script as a child of this run; see `Experiment.submit`."""
        experiment = self.experiment
        return submitting.submit(
            self.__class__,
            config,
            experiment.workspace,
            experiment.name,
            tags,
            self,
            **kwargs,
        )

    def wait_for_completion(
        self,
        show_output: bool = False,
        wait_post_processing: bool = False,
        raise_on_error: bool = True,
    ) -> dict[str, Any]:
        """Wait until it has ended; see `mlog.Run.wait_for_completion`.

        Raises:
            ActivityFailedException: It failed.
        """
        try:
            return super().wait_for_completion(
                show_output, wait_post_processing, raise_on_error
            )
        except ActivityFailedError as exc:
            raise ActivityFailedException(str(exc), exc) from exc

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
    ) -> Any:
        """Register files of the run as a model; see `mlog.Run.register_model`.

        Returns:
            An `azureml.core.Model`.

        Raises:
            ModelPathNotFoundException: The path is no file of the run.
        """
        try:
            made = super().register_model(
                model_name,
                model_path,
                tags,
                properties,
                model_framework,
                model_framework_version,
                description,
            )
        except ModelPathNotFoundError as exc:
            raise ModelPathNotFoundException(str(exc), exc) from exc
        return later("Model").of(self.experiment.workspace, made)

    def get_secret(self, name: str) -> NoReturn:
        """Raise: secrets are not kept here.

        Raises:
            UserErrorException: Always.
        """
        needs_azure(
            "run.get_secret", f"read an environment variable: os.environ[{name!r}]"
        )

    def get_secrets(self, secrets: Sequence[str]) -> NoReturn:
        """Raise: secrets are not kept here.

        Raises:
            UserErrorException: Always.
        """
        needs_azure("run.get_secrets", "read environment variables: os.environ[name]")

    def complete(self, _set_status: bool = True) -> None:
        """End the run as Completed; one that a launcher handed over goes on.

        Args:
            _set_status: False: only put what was recorded on the disk.
        """
        super().complete(_set_status and not self._is_inherited)

    def clean(self) -> None:
        """Do nothing: no files of a run lie anywhere but in its folder."""

    def __exit__(
        self,
        kind: builtins.type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the run; one that a launcher handed to this process goes on."""
        if self._is_inherited:
            self.flush()
        else:
            super().__exit__(kind, error, trace)

    @property
    def _is_inherited(self) -> bool:
        return self.path is not None and inherited_env().get("MLOG_RUN") == str(
            self.path
        )


class _OfflineRun:
    """What a script without a launcher was given; here that is a real run.

    For scripts that ask `isinstance(run, _OfflineRun)`.
    """


_SubmittedRun = Run


def get_run(
    experiment: Any, run_id: str, rehydrate: bool = True, clean_up: bool = True
) -> Any:
    """Return a run of an experiment.

    Args:
        experiment: An `Experiment`.
        run_id: Its id, or the beginning of it.
        rehydrate: Whether types given to `Run.add_type_provider` count.
        clean_up: Not used.

    Raises:
        RunNotFoundError: There is none.
    """
    workspace = experiment.workspace
    path = find_run(run_id, root=workspace.root, experiment=experiment.name)
    return _of_its_type(workspace, path, rehydrate)


_context: list[Run] = []
"""What `get_context` returned last."""


def _ended_one() -> Run | None:
    """Return the run that `get_context` gave before, if a script has ended it.

    A script has one run for all of its life. A prompt or notebook begins a new one.
    """
    is_interactive = hasattr(sys, "ps1") or current_cell() is not None
    return None if is_interactive or not _context else _context[0]


def _hold(run: Run) -> None:
    """Remember a run that was asked for.

    One that was joined by importing mlog would else end with the first run, or child
    run, that is begun here.
    """
    _context[:] = [run]
    if beginning._implicit is run:
        beginning._implicit = None


def _start() -> Run:
    """Begin a run for a script that nobody submitted."""
    run = begin(Run, outputs=True)
    announce(run)
    return run


def _of_its_type(workspace: Workspace, path: Path, rehydrate: bool = True) -> Any:
    """Return the object of a run, by the provider of its type if there is one."""
    run = handle(Run, path)
    run.belongs_to(workspace)
    if not rehydrate:
        return run
    kind = run.type or ""
    factory = Run._factories.get(kind)
    if factory is None and kind == SWEEP:
        run = handle(later("HyperDriveRun"), path)
        run.belongs_to(workspace)
    return factory(run.experiment, _facts(run)) if factory is not None else run


def _facts(run: Run) -> SimpleNamespace:
    state = read_state(run._need_path())
    return SimpleNamespace(
        run_id=run.id,
        name=state.name,
        status=state.status,
        tags=dict(state.tags),
        properties=dict(state.properties),
        parent_run_id=Path(state.parent).name if state.parent else None,
        run_type=run.type,
        created_utc=state.created,
    )


def _states(root: Path, experiment: str | None = None) -> "list[RunState]":
    """Return what the files of runs say, newest first."""
    found = []
    for path in iter_runs(root):
        if experiment is not None and path.parent.name != slug(experiment):
            continue
        try:
            found.append(read_state(path))
        except (OSError, MlogError):  # removed just now
            continue
    return sorted(found, key=lambda s: (s.created, s.run_id), reverse=True)


def _forget_context() -> None:
    """A forked child asks for its run anew."""
    _context.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_context)
