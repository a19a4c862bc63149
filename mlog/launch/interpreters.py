"""Python interpreters on this machine: by path, and by the version that is asked for."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlog.errors import MlogError
from mlog.launch.versions import fits, release

__all__ = ["Interpreter", "clean_env", "find_python", "look_at", "running"]

_TELL = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable)"
_TIMEOUT = 30
_MINORS = range(30, 5, -1)

# What would lead another Python astray, or make it join the run.
_NOT_FOR_TOOLS = (
    *("MLOG_RUN", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH"),
    *("VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__", "PYTHONUSERBASE"),
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine.

    Attributes:
        path: What starts it.
        version: "3.11.7".
    """

    path: str
    version: str


def running() -> Interpreter:
    """Return the Python of this process."""
    return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))


def clean_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for another Python and its tools, outside of any run."""
    kept = {key: value for key, value in env.items() if key not in _NOT_FOR_TOOLS}
    return {**kept, "MLOG_MODE": "off"}


def look_at(path: str, env: Mapping[str, str]) -> Interpreter | None:
    """Return the Python that a path starts; None where nothing of the kind starts."""
    try:
        done = subprocess.run(
            [path, "-S", "-E", "-c", _TELL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            env=clean_env(env),
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.split("\n")
    if done.returncode != 0 or len(lines) < 2 or release(lines[0].strip()) is None:
        return None
    return Interpreter(path, lines[0].strip())


def find_python(wanted: str, env: Mapping[str, str]) -> tuple[Interpreter, str | None]:
    """Return a Python of a version that is wanted, and what there is to say of it.

    The one that runs this is preferred, then those of `PATH`, pyenv and uv, the newest
    first. Where one exact release is wanted and not there, another one of the same
    minor version is taken, with a remark.

    Args:
        wanted: As in a requirement: "==3.10.*", ">=3.9,<3.12".
        env: Environment to look in.

    Raises:
        MlogError: There is none; the message names those that there are.
    """
    seen: list[Interpreter] = []
    for found in _candidates(wanted, env):
        if fits(found.version, wanted):
            return found, None
        seen.append(found)
    if near := _near(wanted, seen):
        text = f"Python {wanted.lstrip('=')} is not here; {near.version} is used"
        return near, text
    there = ", ".join(dict.fromkeys(each.version for each in seen)) or "none"
    raise MlogError(
        f"there is no Python {wanted} on this machine (found: {there}); install it, or "
        "ask for another one (python=3.11 in the conda file)"
    )


def _near(wanted: str, seen: list[Interpreter]) -> Interpreter | None:
    match = re.fullmatch(r"==\s*(\d+\.\d+)\.\d+(\.\*)?", wanted)
    if match is None:
        return None
    same = [each for each in seen if fits(each.version, f"=={match[1]}.*")]
    return max(same, key=lambda each: release(each.version) or (), default=None)


def _candidates(wanted: str, env: Mapping[str, str]) -> Iterator[Interpreter]:
    """Yield the Pythons of this machine, each once, those likely to fit first."""
    yield running()
    known = {os.path.realpath(sys.executable)}
    for path in (*_by_folder(env), *_by_name(env)):
        real = os.path.realpath(path)
        if real in known:
            continue
        known.add(real)
        if found := look_at(path, env):
            yield found


def _by_folder(env: Mapping[str, str]) -> list[str]:
    """Return interpreters that pyenv and uv have installed, the newest first."""
    home = Path(env.get("HOME") or "~").expanduser()
    data = Path(env.get("XDG_DATA_HOME") or home / ".local/share")
    folders = [
        Path(env.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(env.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python"),
    ]
    found = [path for folder in folders for path in folder.glob("*/bin/python3")]
    return [str(path) for path in sorted(found, key=_number, reverse=True)]


def _number(path: Path) -> tuple[int, ...]:
    match = re.search(r"\d+(\.\d+)+", path.parent.parent.name)
    return (match and release(match[0])) or ()


def _by_name(env: Mapping[str, str]) -> Iterator[str]:
    names = [*(f"python3.{minor}" for minor in _MINORS), "python3", "python"]
    for name in names:
        if path := shutil.which(name, path=env.get("PATH")):
            yield path
