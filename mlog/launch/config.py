"""What is to be run, under v1's names: `ScriptRunConfig`."""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlog.launch.environments import Environment
from mlog.launch.given import environment_of

__all__ = ["MAX_SECONDS", "ScriptRunConfig", "bytes_of"]

MAX_SECONDS = 2_592_000
"""How long a script may run unless it is told otherwise: 30 days, as in v1."""

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([KMGT])?")
_LEAST_MEMORY = 16 << 20
_LOCAL = (None, "", "local")


class ScriptRunConfig:
    """A script with its source folder, arguments and interpreter.

    Checked when it is made. Its attributes may be changed afterwards, as v1 code does;
    they are looked at again when it is submitted.

    Attributes:
        source_directory: Folder that is snapshotted and that the script starts in.
        script: Path of the script relative to it; None where there is a command.
        arguments: Command line of the script, as texts.
        command: What is run instead of a script: a list of texts, or a text for the
            shell.
        max_run_duration_seconds: After which the script is ended. None: no limit.
        azureml: Whether the script finds mlog under the name `azureml`.
        in_place: Whether it runs in the source folder itself, not in a copy.
        memory_limit: Most memory that each of its processes may reserve: bytes, or a
            text such as "512M" or "2G" (of 1,024). None: no limit.
    """

    def __init__(
        self,
        source_directory: str | os.PathLike[str],
        script: str | os.PathLike[str] | None = None,
        arguments: Sequence[Any] | str | None = None,
        run_config: Any = None,
        _telemetry_values: Any = None,
        compute_target: Any = None,
        environment: Any = None,
        distributed_job_config: Any = None,
        resume_from: Any = None,
        max_run_duration_seconds: float | None = MAX_SECONDS,
        command: Sequence[Any] | str | None = None,
        docker_runtime_config: Any = None,
        *,
        azureml: bool = False,
        in_place: bool = False,
        memory_limit: int | str | None = None,
    ) -> None:
        """Describe a run; nothing is started.

        Args:
            source_directory: See the attributes; "" is the current folder.
            script: See the attributes.
            arguments: Of the script; numbers and the like become texts, a text is
                split as the shell would.
            run_config: v1's object, whose `target`, `environment` and
                `max_run_duration_seconds` win over those given here.
            _telemetry_values: Not used.
            compute_target: None or "local".
            environment: What the script runs in: the path of an interpreter or of a
                virtual environment, a requirements file, a conda file,
                "docker:IMAGE", an `mlog.launch.environments.Environment`, or an object
                like v1's. None: the interpreter that submits.
            distributed_job_config: None; ranks are not started yet.
            resume_from: None; there is no other run to start from yet.
            max_run_duration_seconds: See the attributes.
            command: See the attributes.
            docker_runtime_config: None, or v1's object: `use_docker`, `shm_size` and
                `arguments`.
            azureml: See the attributes.
            in_place: See the attributes.
            memory_limit: See the attributes. It is the system's limit of the address
                space (RLIMIT_AS), which CUDA reserves plenty of.

        Raises:
            FileNotFoundError: The folder, the script or a file of the environment is
                not there.
            ValueError: Neither or both of script and command are given, or something
                is asked for that there is not here.
            TypeError: An argument is of a wrong kind.
            MlogError: A file of the environment makes no sense.
        """
        self.source_directory = os.fspath(source_directory) or "."
        self.script = os.fspath(script) if script is not None else None
        self.arguments = _texts("arguments", arguments, split=True)
        self.command = _command(command)
        self.environment = _of(run_config, "environment", environment)
        self.compute_target = _of(run_config, "target", compute_target)
        self.max_run_duration_seconds = _of(
            run_config, "max_run_duration_seconds", max_run_duration_seconds
        )
        self.run_config = run_config
        self.distributed_job_config = distributed_job_config
        self.resume_from = resume_from
        self.docker_runtime_config = docker_runtime_config
        self.azureml = azureml
        self.in_place = in_place
        self.memory_limit = memory_limit
        self.check()

    def check(self) -> None:
        """Refuse what cannot be run; raises as the constructor does."""
        if (self.script is None) == (self.command is None):
            given = "neither" if self.script is None else "both"
            raise ValueError(f"give either script or command; {given} are given")
        if self.command is not None and self.arguments:
            raise ValueError(
                "arguments are for a script; put those of a command into command"
            )
        self._check_files()
        limit = self.max_run_duration_seconds
        if limit is not None and not _is_positive(limit):
            raise ValueError(
                f"max_run_duration_seconds must be seconds > 0 or None, got {limit!r}"
            )
        if bytes_of(self.memory_limit) and sys.platform != "linux":
            raise ValueError("memory_limit is for Linux; leave it out")
        self._check_means()

    @property
    def memory(self) -> int | None:
        """The memory limit in bytes."""
        return bytes_of(self.memory_limit)

    @property
    def source(self) -> Path:
        """The source folder, absolute."""
        return Path(os.path.abspath(os.path.expanduser(self.source_directory)))

    @property
    def runs_in(self) -> Environment:
        """What the script runs in; raises as the constructor does."""
        return environment_of(self.environment, self.docker_runtime_config)

    @property
    def interpreter(self) -> str:
        """Path of the Python that runs the script; "python" of one that is to come."""
        return self.runs_in.interpreter or sys.executable

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that the environment adds for the script."""
        return dict(self.runs_in.variables)

    @property
    def line(self) -> list[str]:
        """The whole command line."""
        if isinstance(self.command, str):
            return ["/bin/sh", "-c", self.command]
        if self.command is not None:
            return list(self.command)
        alias = ["-m", "mlog.azureml"] if self.azureml else []
        return [self.interpreter, *alias, str(self.script), *self.arguments]

    def __repr__(self) -> str:
        """Return source folder and script or command."""
        what = self.script if self.command is None else self.command
        return f"<ScriptRunConfig {what!r} in {self.source_directory!r}>"

    def _check_files(self) -> None:
        if not self.source.is_dir():
            raise FileNotFoundError(
                f"source_directory {str(self.source)!r} is no folder"
            )
        if self.script is None:
            return
        path = Path(os.path.normpath(self.source / self.script))
        if not path.is_relative_to(self.source):
            raise ValueError(
                f"script must lie in source_directory {str(self.source)!r}, "
                f"got {self.script!r}"
            )
        if not path.is_file():
            raise FileNotFoundError(
                f"script {self.script!r} is not in source_directory {str(self.source)!r}"
            )

    def _check_means(self) -> None:
        """Refuse what asks for more than this machine and an interpreter on it."""
        target = getattr(self.compute_target, "name", self.compute_target)
        if target not in _LOCAL:
            raise ValueError(
                f"compute_target must be None or 'local', got {target!r}; "
                "scripts run on this machine"
            )
        for name in ("distributed_job_config", "resume_from"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is not supported; leave it out")
        self.runs_in  # noqa: B018  # raises


def bytes_of(limit: int | str | None) -> int | None:
    """Return a size such as 2_000_000, "512M" or "2 GiB" in bytes; None stays None.

    Raises:
        ValueError: It is none, or so small that no program starts.
    """
    if limit is None:
        return None
    text = str(limit).strip().upper().removesuffix("IB").removesuffix("B").strip()
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * 1024 ** "BKMGT".index(match[2] or "B")) if match else 0
    if isinstance(limit, bool) or size < _LEAST_MEMORY:
        raise ValueError(
            'memory_limit must be bytes, or a text like "512M" or "2G", of at least '
            f"16M, got {limit!r}"
        )
    return size


def _of(run_config: Any, name: str, given: Any) -> Any:
    """Return what a v1 run configuration says, else what was given here."""
    said = getattr(run_config, name, None)
    return given if said is None else said


def _command(command: Sequence[Any] | str | None) -> list[str] | str | None:
    if isinstance(command, str):
        if not command.strip():
            raise ValueError("command must not be empty")
        return command
    if command is None:
        return None
    texts = _texts("command", command, split=False)
    if not texts:
        raise ValueError("command must not be empty")
    return texts


def _texts(name: str, given: object, *, split: bool) -> list[str]:
    """Return the items of a command line as texts."""
    if given is None:
        return []
    if isinstance(given, str) and split:
        return shlex.split(given)
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name} must be a list, got {type(given).__name__}")
    texts = [os.fsdecode(x) if isinstance(x, os.PathLike) else str(x) for x in given]
    for text in texts:
        if "\0" in text:
            raise ValueError(f"{name} must not have a NUL in them, got {text!r}")
    return texts


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
