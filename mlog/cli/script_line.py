"""What `mlog run` and `mlog sweep` are told to run."""

import shutil
from pathlib import Path
from typing import Any

from mlog.errors import MlogError
from mlog.launch.config import ScriptRunConfig

__all__ = ["config_of"]


def config_of(
    line: tuple[str, ...], *, azureml: bool, in_place: bool, **means: Any
) -> ScriptRunConfig:
    """Take a script with the folder it lies in; anything else is a command.

    Args:
        line: The script or program, and its arguments.
        azureml, in_place, means: As for `ScriptRunConfig`.

    Raises:
        MlogError: There is no such script.
        ValueError: They do not go together.
    """
    first = Path(line[0])
    if first.suffix != ".py":
        if azureml:
            raise ValueError(f"--azureml is for Python scripts, got {line[0]!r}")
        if first.is_dir() and shutil.which(line[0]) is None:
            raise ValueError(f"{line[0]} is a folder; name the script in it")
        return ScriptRunConfig(".", command=list(line), in_place=True, **means)
    if not first.is_file():
        raise MlogError(f"there is no script {line[0]}")
    return ScriptRunConfig(
        first.absolute().parent,
        first.name,
        list(line[1:]),
        azureml=azureml,
        in_place=in_place,
        **means,
    )
