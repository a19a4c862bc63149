"""What `environment=` may be: an `Environment`, a text, or an object like v1's.

Objects of v1 were made for a machine that had nothing but what they list. Here they
are followed as far as that helps the script:

- mlog stands for all packages of the SDK, so those are not installed.
- Where this very interpreter has all that is asked for, it is used, and nothing built.
- A Python that is too old for mlog is not looked for.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlog.launch.conda import CondaPackages, from_conda
from mlog.launch.environments import Container, Environment, dependencies_of
from mlog.launch.interpreters import running
from mlog.launch.versions import fits, release, requirement
from mlog.plain import class_name, safe_str

__all__ = ["OLDEST", "environment_of"]

OLDEST = (3, 11)
"""The first Python that mlog runs on."""

_SECTIONS = ("python", "docker", "environment_variables")
_ANY_PYTHON = (None, "", "python")
_SDK = re.compile(r"azureml([-_.\[<>=!~; ]|$)")


def environment_of(given: Any, docker: Any = None) -> Environment:
    """Return the environment that is meant.

    Args:
        given: None; an `Environment`; a text or path, see `Environment.named`; or an
            object like v1's.
        docker: None, or v1's `DockerConfiguration`.

    Raises:
        OSError, MlogError: A file cannot be read, or makes no sense.
        ValueError: Something is asked for that is not done here.
        TypeError: It is none of these.
    """
    if isinstance(given, Environment):
        found = given
    elif isinstance(given, str | os.PathLike):
        found = Environment.named(os.fspath(given))
    else:
        if given is not None and not any(hasattr(given, name) for name in _SECTIONS):
            raise TypeError(
                "environment must be a text, a path, an Environment or an object like "
                f"v1's, got {safe_str(given)[:80]} ({class_name(given)}); packages are "
                "Environment(packages=(…))"
            )
        found = _of_v1(given, docker)
    if getattr(docker, "use_docker", False) and found.container is None:
        raise ValueError(
            "docker_runtime_config asks for a container, and the environment names no "
            "image; set environment.docker.base_image, or environment='docker:IMAGE'"
        )
    return found


def _of_v1(given: Any, docker: Any) -> Environment:
    python = getattr(given, "python", None)
    path = getattr(python, "interpreter_path", None)
    path = None if path in _ANY_PYTHON else os.path.expanduser(str(path))
    name = getattr(given, "name", None)
    found = Environment(python=path, source=safe_str(name) if name else None)
    section = getattr(given, "docker", None)
    packages = _packages(python)
    if getattr(docker, "use_docker", False) or getattr(section, "enabled", False):
        text = "the packages of the environment are not installed into the image"
        remarks = (text,) if packages.lines else ()
        found = replace(found, container=_container(section, docker), remarks=remarks)
    elif path is None:
        found = _installed(found, packages)
    variables = getattr(given, "environment_variables", None)
    return found.with_variables(variables if isinstance(variables, Mapping) else {})


def _packages(python: Any) -> CondaPackages:
    """Return what is to be installed; nothing where somebody else sees to that."""
    listed = getattr(python, "conda_dependencies", None)
    as_dict = getattr(listed, "as_dict", None)
    if as_dict is None or getattr(python, "user_managed_dependencies", False):
        return CondaPackages(())
    found = from_conda(dependencies_of(as_dict()))
    return replace(
        found, lines=tuple(line for line in found.lines if not _SDK.match(line.lower()))
    )


def _installed(plain: Environment, packages: CondaPackages) -> Environment:
    """Return this interpreter if it has the packages, else an environment with them."""
    remarks: tuple[str, ...] = ()
    here = running().version
    if packages.python is not None and _is_too_old(packages.python):
        if packages.lines:
            remarks = (
                f"Python {packages.python.lstrip('=')} is too old for mlog; "
                f"{here} is used",
            )
        packages = replace(packages, python=None)
    fits_here = packages.python is None or fits(here, packages.python)
    if fits_here and all(map(_is_here, packages.lines)):
        return plain
    made = Environment.from_packages(packages, Path.cwd(), plain.source)
    return replace(made, remarks=(*made.remarks, *remarks))


def _is_too_old(wanted: str) -> bool:
    """Whether only a Python older than mlog's oldest would do."""
    match = re.fullmatch(r"(?:==|<=|<|~=)\s*([0-9]+(?:\.[0-9]+)*)(?:\.\*)?", wanted)
    numbers = release(match[1]) if match else None
    return numbers is not None and len(numbers) > 1 and numbers[:2] < OLDEST


def _is_here(line: str) -> bool:
    """Whether this interpreter has what a line for pip asks for."""
    from importlib import metadata  # only here: it loads slowly

    if line.startswith("-"):
        return True  # where to look for packages
    asked = requirement(line)
    if asked is None:
        return False
    try:
        version = metadata.version(asked[0])
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return fits(version, asked[1])


def _container(section: Any, docker: Any) -> Container:
    """Return the container that v1's settings ask for.

    Raises:
        ValueError: They name no image, or a Dockerfile.
    """
    image = getattr(section, "base_image", None)
    if not image:
        is_file = bool(getattr(section, "base_dockerfile", None))
        raise ValueError(
            "docker.base_image must name an image, got "
            f"{'a Dockerfile' if is_file else 'nothing'}; images are not built here: "
            "build one (docker build -t NAME .) and name it"
        )
    registry = getattr(getattr(section, "base_image_registry", None), "address", None)
    size = getattr(docker, "shm_size", None) or getattr(section, "shm_size", None)
    return Container(
        f"{registry}/{image}" if registry else str(image),
        gpus="all" if getattr(section, "gpu_support", False) else None,
        shm_size=size,
        arguments=(
            *_texts(getattr(section, "arguments", None)),
            *_texts(getattr(docker, "arguments", None)),
        ),
    )


def _texts(given: Iterable[Any] | Sequence[Any] | None) -> tuple[str, ...]:
    return tuple(str(item) for item in given or ())
