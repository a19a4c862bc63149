"""`CondaDependencies`: a list of packages, kept with the environment it belongs to.

What of it a script's Python lacks is installed by pip before the script runs.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from mlog.azureml.exceptions import UserErrorException
from mlog.azureml.reach import Partly
from mlog.launch import conda_file

__all__ = ["CondaDependencies"]

_PYTHON = "3.8.13"  # the SDK's default; too old for mlog, so it asks for none


class CondaDependencies(Partly):
    """A conda file: channels, conda packages, pip packages."""

    DEFAULT_NUMBER_OF_CONDA_PACKAGES = 0
    PYTHON_PREFIX = "python"
    _beyond: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            *("add_cntk_package", "add_tensorflow_conda_package"),
            *("add_tensorflow_pip_package", "merge_requirements", "remove_pip_option"),
        ),
        "name packages with add_pip_package and add_conda_package",
    )

    def __init__(
        self,
        conda_dependencies_file_path: str | os.PathLike[str] | None = None,
        _underlying_structure: Mapping[str, Any] | None = None,
    ) -> None:
        """Read a file, or begin with Python alone.

        Raises:
            UserErrorException: The file cannot be read.
        """
        if conda_dependencies_file_path is not None:
            said = _read(Path(conda_dependencies_file_path))
        else:
            said = dict(_underlying_structure or _default())
        self._name = said.get("name") or "project_environment"
        self._channels = [str(name) for name in said.get("channels") or ()]
        items = list(said.get("dependencies") or ())
        self._conda = [str(item) for item in items if not isinstance(item, Mapping)]
        self._pip = [
            str(package)
            for item in items
            if isinstance(item, Mapping)
            for package in item.get("pip") or ()
        ]

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str = _PYTHON,
        pin_sdk_version: bool = True,
    ) -> "CondaDependencies":
        """Make a list of packages.

        Args:
            pip_indexurl: Where pip looks.
            pip_packages, conda_packages: Requirements.
            python_version: Which Python.
            pin_sdk_version: Not used.
        """
        made = CondaDependencies()
        made.set_python_version(python_version)
        if pip_indexurl:
            made.set_pip_index_url(pip_indexurl)
        for package in conda_packages or ():
            made.add_conda_package(package)
        for package in pip_packages or ():
            made.add_pip_package(package)
        return made

    @property
    def conda_channels(self) -> list[str]:
        """Names of the channels."""
        return list(self._channels)

    @property
    def conda_packages(self) -> list[str]:
        """Requirements for conda, Python among them."""
        return list(self._conda)

    @property
    def pip_packages(self) -> list[str]:
        """Requirements for pip, without options."""
        return [item for item in self._pip if not item.startswith("-")]

    @property
    def pip_options(self) -> list[str]:
        """Options for pip."""
        return [item for item in self._pip if item.startswith("-")]

    @property
    def python_version(self) -> str | None:
        """Which Python is asked for."""
        for item in self._conda:
            if _bare(item) == "python":
                return item[len("python") :].lstrip("=<>~! ") or None
        return None

    def get_python_version(self) -> str | None:
        """Return which Python is asked for."""
        return self.python_version

    def set_python_version(self, version: str) -> None:
        """Ask for another Python."""
        self.remove_conda_package("python")
        self._conda.insert(0, f"python={version}")

    def add_channel(self, channel: str) -> None:
        """Add a channel."""
        _add(self._channels, channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel, if it is there."""
        self._channels = [name for name in self._channels if name != channel]

    def add_conda_package(self, conda_package: str) -> None:
        """Add a requirement for conda; a former one of that package goes."""
        self.remove_conda_package(_bare(conda_package))
        _add(self._conda, conda_package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove the requirement of a package, if it is there."""
        self._conda = [p for p in self._conda if _bare(p) != _bare(conda_package)]

    def add_pip_package(self, pip_package: str) -> None:
        """Add a requirement for pip; a former one of that package goes."""
        self.remove_pip_package(pip_package)
        _add(self._pip, pip_package)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove the requirement of a package, if it is there."""
        self._pip = [p for p in self._pip if _bare(p) != _bare(pip_package)]

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Replace all requirements for pip."""
        self._pip = [*self.pip_options, *pip_requirements]

    def set_pip_index_url(self, index_url: str) -> None:
        """Say where pip looks."""
        self.set_pip_option(f"--index-url {index_url}")

    def set_pip_option(self, pip_option: str) -> None:
        """Set an option of pip; a former one of that name goes."""
        name = pip_option.split()[0].partition("=")[0]
        self._pip = [p for p in self._pip if p.split()[0].partition("=")[0] != name]
        self._pip.insert(0, pip_option)

    def as_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        pip = [{"pip": list(self._pip)}] if self._pip else []
        return {
            "name": self._name,
            "channels": list(self._channels),
            "dependencies": [*self._conda, *pip],
        }

    def serialize_to_string(self) -> str:
        """Return the text of the file."""
        return conda_file.dump(self.as_dict())

    def save(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the file, and return its text.

        Args:
            path: Default: `conda_dependencies.yml` in the current folder.
        """
        text = self.serialize_to_string()
        Path(path or "conda_dependencies.yml").write_text(text, "utf-8")
        return text

    def save_to_file(
        self,
        base_directory: str | os.PathLike[str],
        conda_file_path: str | os.PathLike[str] = "aml_config/conda_dependencies.yml",
    ) -> str:
        """Write the file below a folder, and return its path there."""
        file = Path(base_directory) / conda_file_path
        file.parent.mkdir(parents=True, exist_ok=True)
        self.save(file)
        return os.fspath(conda_file_path)


def _default() -> dict[str, Any]:
    return {
        "name": "project_environment",
        "channels": ["anaconda", "conda-forge"],
        "dependencies": [f"python={_PYTHON}", {"pip": ["azureml-defaults"]}],
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        return conda_file.parse(file.read_text("utf-8-sig"))
    except (OSError, ValueError) as exc:
        raise UserErrorException(f"{file} cannot be read: {exc}") from exc


def _bare(requirement: str) -> str:
    """Return the name of the package that a requirement is for."""
    name = requirement
    for mark in ("=", "<", ">", "!", "~", "[", ";", " ", "@"):
        name = name.partition(mark)[0]
    return name.strip().lower().replace("_", "-")


def _add(items: list[str], item: str) -> None:
    if item not in items:
        items.append(item)
