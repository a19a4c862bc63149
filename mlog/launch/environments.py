"""What a script runs in: an interpreter, packages to be installed, or an image.

An `Environment` says what is wanted; nothing of it is looked for, built or started
before the run is prepared. It is JSON on its way to the supervisor.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlog.errors import MlogError
from mlog.launch import conda_file
from mlog.launch.conda import CondaPackages, from_conda
from mlog.launch.requirements import read_requirements, resolved
from mlog.plain import safe_str

__all__ = ["Container", "Environment", "dependencies_of"]

_REQUIREMENTS = (".txt", ".in", ".pip")
_CONDA = (".yml", ".yaml")
_ENGINES = ("docker", "podman")
_TEXT_PACKAGES = 4


@dataclass(frozen=True, slots=True)
class Container:
    """An image, and what a container of it may use.

    Attributes:
        image: Its name, as the engine knows it.
        engine: "docker", "podman", or the path of one. None: `MLOG_CONTAINER_ENGINE`,
            else whichever is on `PATH`.
        cpus: How many processors. None: all.
        memory: Most memory, "4g". None: all.
        gpus: "all", or what `--gpus` takes. None: none.
        shm_size: Size of `/dev/shm`, "2g". None: the engine's.
        arguments: Further arguments of `docker run`, before the image.
        folders: Files and folders of this machine that are to be found there, too, at
            the same place.
    """

    image: str
    engine: str | None = None
    cpus: float | None = None
    memory: str | None = None
    gpus: str | None = None
    shm_size: str | None = None
    arguments: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no engine could make sense of.

        Raises:
            ValueError: It is no name of an image.
        """
        if (
            not self.image
            or self.image.startswith("-")
            or self.image.split() != [self.image]
        ):
            raise ValueError(f"an image needs a name, got {self.image!r}")


@dataclass(frozen=True, slots=True)
class Environment:
    """What a script runs in.

    With `packages` a virtual environment is built, once for all runs that want the
    same; with `container` the script runs in that; otherwise in the interpreter
    `python` as it is.

    Attributes:
        python: Path or name of the interpreter. None: the one that submits; in a
            container its `python`.
        packages: Requirements and options for pip. None: nothing is installed.
        python_version: Of a virtual environment, as in a requirement ("==3.11.*").
            None: that of the interpreter that submits.
        container: Image and resources.
        variables: Set for the script.
        folder: Where pip runs, for what names files relative to it.
        source: What the environment was made from, for people.
        remarks: What there is to say about it in the run.
    """

    python: str | None = None
    packages: tuple[str, ...] | None = None
    python_version: str | None = None
    container: Container | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"
    source: str | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def named(cls, text: str) -> "Environment":
        """Return what a text names.

        Args:
            text: The path or name of an interpreter, the folder of a virtual
                environment, a requirements file (.txt), a conda file (.yml),
                `docker:IMAGE` or `podman:IMAGE`.

        Raises:
            OSError, MlogError: A file cannot be read, or makes no sense.
            ValueError: The text is empty.
        """
        if not text.strip() or "\0" in text:
            raise ValueError(f"environment must name one, got {text!r}")
        engine, colon, image = text.partition(":")
        if colon and engine in _ENGINES and not os.path.exists(text):
            # "docker:" says that it is an image; with only podman here that is used.
            return cls.from_image(
                image, engine="podman" if engine == "podman" else None
            )
        path = os.path.expanduser(text)
        suffix = os.path.splitext(path)[1].lower()
        if suffix in (*_REQUIREMENTS, *_CONDA) and not os.path.exists(path):
            raise FileNotFoundError(f"there is no file {path} to take packages from")
        if suffix in _REQUIREMENTS:
            return cls.from_requirements(path)
        if suffix in _CONDA:
            return cls.from_conda_file(path)
        if os.path.isdir(path):
            path = os.path.join(os.path.abspath(path), "bin", "python")
        elif os.sep in path:
            path = os.path.abspath(path)
        return cls(python=path)

    @classmethod
    def from_requirements(cls, path: str | os.PathLike[str]) -> "Environment":
        """Install what a requirements file of pip lists.

        Raises:
            OSError, MlogError: It cannot be read.
        """
        file = Path(os.path.abspath(os.path.expanduser(path)))
        try:
            lines = read_requirements(file)
        except ValueError as exc:
            raise MlogError(f"{file} cannot be read: {exc}") from exc
        return cls(packages=tuple(lines), folder=str(file.parent), source=file.name)

    @classmethod
    def from_conda_file(cls, path: str | os.PathLike[str]) -> "Environment":
        """Install by pip what a conda file lists.

        Raises:
            OSError, MlogError: It cannot be read, or pip cannot do what it asks for.
        """
        file = Path(os.path.abspath(os.path.expanduser(path)))
        try:
            said = conda_file.parse(file.read_text("utf-8-sig"))
            found = from_conda(dependencies_of(said))
        except ValueError as exc:
            raise MlogError(f"{file} cannot be read: {exc}") from exc
        made = cls.from_packages(found, file.parent, file.name)
        variables = said.get("variables")
        return made.with_variables(variables) if isinstance(variables, dict) else made

    @classmethod
    def from_packages(
        cls, found: CondaPackages, folder: Path, source: str | None
    ) -> "Environment":
        """Install packages that conda would have installed; see `from_conda`."""
        return cls(
            packages=tuple(resolved(found.lines, folder)),
            python_version=found.python,
            folder=str(folder),
            source=source,
            remarks=(found.warning,) if found.warning else (),
        )

    @classmethod
    def from_image(cls, image: str, **options: Any) -> "Environment":
        """Run in a container of an image; the options are those of `Container`."""
        return cls(container=Container(image, **options), source=image)

    def with_variables(self, variables: Mapping[str, Any]) -> "Environment":
        """Return the same with further variables for the script."""
        texts = {str(name): safe_str(value) for name, value in variables.items()}
        return replace(self, variables={**self.variables, **texts})

    @property
    def interpreter(self) -> str:
        """What starts Python there; of one that is not built yet "python"."""
        if self.python is not None:
            return self.python
        return "python" if self.container or self.packages is not None else ""

    @property
    def text(self) -> str:
        """One line about it, for people."""
        if self.container is not None:
            return f"container of {self.container.image}"
        if self.packages is None:
            said = self.python or "this interpreter"
            return f"{said} ({self.source})" if self.source else said
        names = [line for line in self.packages if not line.startswith("-")]
        shown = ", ".join(names[:_TEXT_PACKAGES]) or "no packages"
        if len(names) > _TEXT_PACKAGES:
            shown += f" and {len(names) - _TEXT_PACKAGES} more"
        python = f", Python {self.python_version}" if self.python_version else ""
        source = f"{self.source}: " if self.source else ""
        return f"virtual environment ({source}{shown}{python})"

    def described(self) -> dict[str, Any]:
        """Return what a run says of it; of variables only the names."""
        said = asdict(self)
        said |= {"variables": sorted(self.variables), "text": self.text}
        if self.container is not None:
            said["container"] = _filled(asdict(self.container))
        del said["folder"]
        return _filled(said)

    def encoded(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def decoded(cls, said: Mapping[str, Any]) -> "Environment":
        """Return what `encoded` gave."""
        given = dict(said)
        for name in ("packages", "remarks"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        if box := given.get("container"):
            given["container"] = Container(
                **{
                    **box,
                    "arguments": tuple(box["arguments"]),
                    "folders": tuple(box["folders"]),
                }
            )
        return cls(**given)


def _filled(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value not in (None, [], ())}


def dependencies_of(said: Mapping[str, Any]) -> Sequence[Any]:
    """Return the `dependencies` of a conda file.

    Raises:
        ValueError: They are no list.
    """
    found = said.get("dependencies") or ()
    if not isinstance(found, list | tuple):
        raise ValueError(f"dependencies must be a list, got {found!r}")
    return found
