"""`Environment`: packages, image and variables of a script.

Environment variables are set, and an interpreter given by its path is used. Packages
are installed into a virtual environment, unless this process's Python has them all. An
image is used where `DockerConfiguration(use_docker=True)` or `docker.enabled` says so.
See `mlog.launch.given`.
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlog.azureml.core import store
from mlog.azureml.core.conda_dependencies import CondaDependencies
from mlog.azureml.core.workspace import Workspace
from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.note import note

__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "DockerSection",
    "Environment",
    "PythonSection",
    "Section",
]

DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"
DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.6-cudnn8-ubuntu20.04"

_KIND = "environments"
_FILE = "azureml_environment.json"
_CURATED = "AzureML-"


class Section:
    """Named settings; unknown ones may be set, as scripts do."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set one."""
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Return None for a setting nobody set."""
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return the settings that are JSON."""
        plain = (str, int, float, bool, list, dict)
        return {key: value for key, value in vars(self).items() if type(value) in plain}


class PythonSection(Section):
    """Which Python runs a script.

    Attributes:
        user_managed_dependencies: Whether the interpreter is used as it is.
        interpreter_path: Its path; "python" is this process's.
        conda_dependencies: Packages that are installed where they are not there.
    """

    def __init__(self) -> None:
        """Begin with the SDK's defaults."""
        self.interpreter_path: str = "python"
        self.user_managed_dependencies: bool = False
        self.conda_dependencies: CondaDependencies | None = CondaDependencies()
        self.base_conda_environment: str | None = None


class DockerSection(Section):
    """Which image a script runs in.

    Attributes:
        enabled: Whether it runs in an image.
        base_image: The image.
        base_dockerfile: Refused where an image is needed: none is built.
        base_image_registry: Its `address` is put before the image.
        arguments: Further arguments of `docker run`.
        shm_size: Size of `/dev/shm`.
        gpu_support: Whether all GPUs are there.
        shared_volumes: Not used.
    """

    def __init__(self) -> None:
        """Begin with the SDK's defaults."""
        self.enabled: bool = False
        self.base_image: str | None = DEFAULT_CPU_IMAGE
        self.base_dockerfile: str | None = None
        self.base_image_registry = Section()
        self.arguments: list[str] = []
        self.shm_size: str = "2g"
        self.gpu_support: bool = False
        self.shared_volumes: bool = True


class Environment:
    """Packages, image and variables of a script.

    Attributes:
        name, version: Version is None until it is registered.
        environment_variables: Set for the script.
        python, docker: See `PythonSection` and `DockerSection`.
        inferencing_stack_version: Not used.
    """

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        """Begin with the SDK's defaults; further arguments are not used."""
        self.name = name
        self.version: str | None = None
        self.environment_variables: dict[str, str] = {}
        self.python = PythonSection()
        self.docker = DockerSection()
        self.spark = Section()
        self.inferencing_stack_version: str | None = None

    def __repr__(self) -> str:
        """Return name and version."""
        return f"<Environment {self.name!r} version {self.version}>"

    # --- making one ----------------------------------------------------------------

    @staticmethod
    def from_conda_specification(
        name: str, file_path: str | os.PathLike[str]
    ) -> "Environment":
        """Take the packages of a conda file.

        Raises:
            UserErrorException: It cannot be read.
        """
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(file_path)
        return made

    @staticmethod
    def from_pip_requirements(
        name: str,
        file_path: str | os.PathLike[str],
        pip_version: str | None = None,
    ) -> "Environment":
        """Take the packages of a requirements file.

        Raises:
            UserErrorException: It cannot be read.
        """
        try:
            text = Path(file_path).read_text("utf-8-sig")
        except OSError as exc:
            raise UserErrorException(f"{file_path} cannot be read: {exc}") from exc
        lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
        packages = [line for line in lines if line and not line.startswith("#")]
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies.create(pip_packages=packages)
        return made

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: Any = None,
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> "Environment":
        """Note an image, and packages; see the class `DockerSection`."""
        made = _with_packages(name, conda_specification, pip_requirements)
        made.docker.base_image = image
        return made

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str | os.PathLike[str],
        conda_specification: str | os.PathLike[str] | None = None,
        pip_requirements: str | os.PathLike[str] | None = None,
    ) -> "Environment":
        """Note a Dockerfile, and packages; it is not built."""
        made = _with_packages(name, conda_specification, pip_requirements)
        made.docker.base_image = None
        made.docker.base_dockerfile = os.fspath(dockerfile)
        return made

    @staticmethod
    def from_existing_conda_environment(
        name: str, conda_environment_name: str
    ) -> "Environment":
        """Note the name of a conda environment; it is not looked for."""
        made = Environment(name)
        made.python.base_conda_environment = conda_environment_name
        return made

    @staticmethod
    def add_private_pip_wheel(
        workspace: Workspace, file_path: str | os.PathLike[str], exist_ok: bool = False
    ) -> str:
        """Return the `file:` URL of a wheel, which stays where it is.

        Raises:
            UserErrorException: There is no such file.
        """
        path = Path(file_path).absolute()
        if not path.is_file():
            raise UserErrorException(f"there is no file {path}")
        return path.as_uri()

    def clone(self, new_name: str) -> "Environment":
        """Return a copy under another name."""
        made = copy.deepcopy(self)
        made.name, made.version = new_name, None
        return made

    # --- keeping it ----------------------------------------------------------------

    def register(self, workspace: Workspace) -> "Environment":
        """Store it as the next version of its name, unless the latest is the same.

        Raises:
            UserErrorException: It has no name.
        """
        if not self.name:
            raise UserErrorException("an environment needs a name to be registered")
        said = self.as_dict()
        known = store.versions(workspace.root, _KIND, self.name)
        number = next((n for n in reversed(known) if _content(known[n]) == said), None)
        if number is None:
            number = store.add_version(workspace.root, _KIND, self.name, said)
        made = copy.deepcopy(self)
        self.version = made.version = str(number)
        return made

    @staticmethod
    def get(
        workspace: Workspace,
        name: str,
        version: str | None = None,
        label: str | None = None,
    ) -> "Environment":
        """Return a registered environment; of the SDK's curated ones an empty stand-in.

        Args:
            workspace: Where it was registered.
            name: Its name.
            version: Default: the latest.
            label: Not used.

        Raises:
            UserErrorException: There is none.
        """
        known = store.versions(workspace.root, _KIND, name)
        wanted = max(known, default=0) if version is None else version
        for number, said in known.items():
            if str(number) == str(wanted):
                return Environment.from_dict(said)
        if name.startswith(_CURATED):
            text = f"environment {name} stands for the packages that are installed"
            note(f"environment {name}", text)
            return Environment(name)
        there = ", ".join(Environment.list(workspace)) or "none"
        raise UserErrorException(
            f"no environment {name!r} of version {version or 'latest'} in "
            f"{workspace.root}; registered: {there}"
        )

    @staticmethod
    def list(workspace: Workspace) -> dict[str, "Environment"]:
        """Return the latest version of each registered environment, by name."""
        folder = workspace.root / store.FOLDER / _KIND
        found: dict[str, Environment] = {}
        for path in sorted(folder.glob("[!.]*")):
            known = store.versions(workspace.root, _KIND, path.name)
            if known:
                said = known[max(known)]
                found[str(said["name"])] = Environment.from_dict(said)
        return found

    def save_to_directory(
        self, path: str | os.PathLike[str], overwrite: bool = False
    ) -> None:
        """Write it to files in a folder, for `load_from_directory`.

        Raises:
            UserErrorException: The folder is there, and `overwrite` is not given.
        """
        folder = Path(path)
        if folder.exists() and not overwrite:
            raise UserErrorException(f"{folder} is there already; pass overwrite=True")
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_dict(), indent=4, ensure_ascii=False) + "\n"
        (folder / _FILE).write_text(text, "utf-8")
        if self.python.conda_dependencies is not None:
            self.python.conda_dependencies.save(folder / "conda_dependencies.yml")

    @staticmethod
    def load_from_directory(path: str | os.PathLike[str]) -> "Environment":
        """Read what `save_to_directory` wrote.

        Raises:
            UserErrorException: It cannot be read.
        """
        file = Path(path) / _FILE
        try:
            said = json.loads(file.read_text("utf-8-sig"))
        except (OSError, ValueError) as exc:
            raise UserErrorException(f"{file} cannot be read: {exc}") from exc
        return Environment.from_dict(said)

    def build(self, workspace: Workspace, *args: Any, **kwargs: Any) -> "Build":
        """Build nothing: a run builds what it needs, once for all that need the same."""
        _nothing_is_built()
        return Build()

    def build_local(self, workspace: Workspace, *args: Any, **kwargs: Any) -> "Build":
        """Build nothing; see `build`."""
        return self.build(workspace)

    def get_image_details(self, workspace: Workspace) -> dict[str, Any]:
        """Return that there is no image."""
        return {"imageExistsInRegistry": False, "dockerImage": {"name": None}}

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        conda = self.python.conda_dependencies
        python = self.python.as_dict()
        if conda is not None:
            python["conda_dependencies"] = conda.as_dict()
        return {
            "name": self.name,
            "environment_variables": dict(self.environment_variables),
            "python": python,
            "docker": self.docker.as_dict(),
        }

    @staticmethod
    def from_dict(said: Mapping[str, Any]) -> "Environment":
        """Return the environment that `as_dict` described."""
        made = Environment(said.get("name"))
        version = said.get("version")
        made.version = str(version) if version is not None else None
        made.environment_variables = dict(said.get("environment_variables") or {})
        for key, value in (said.get("python") or {}).items():
            if key == "conda_dependencies":
                value = CondaDependencies(_underlying_structure=value)
            setattr(made.python, key, value)
        for key, value in (said.get("docker") or {}).items():
            setattr(made.docker, key, value)
        return made


class Build:
    """What `Environment.build` returns: a build that is done."""

    status = "Succeeded"

    def wait_for_completion(self, show_output: bool = True) -> "Build":
        """Return at once."""
        return self


def _with_packages(
    name: str,
    conda: str | os.PathLike[str] | None,
    pip: str | os.PathLike[str] | None,
) -> Environment:
    if conda is not None:
        return Environment.from_conda_specification(name, conda)
    if pip is not None:
        return Environment.from_pip_requirements(name, pip)
    return Environment(name)


def _content(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if key != "version"}


def _nothing_is_built() -> None:
    note("build", "no image is built; packages are installed when a run needs them")
