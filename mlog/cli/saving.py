"""Writing a file of the user's: whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from mlog.errors import MlogError

__all__ = ["save"]


def save(path: Path, content: bytes) -> None:
    """Put content in the place of a file; readers see the old one or the new one.

    It gets the permissions of the file that it replaces, else those of a new one. A
    link stays one: what it points to is replaced.

    Raises:
        MlogError: The folder is not there.
        OSError: The file cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise MlogError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise MlogError(f"there is no folder {path.parent}")
    if path.exists() and not path.is_file():  # /dev/stdout, a named pipe
        path.write_bytes(content)
        return
    descriptor, made = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(made, _mode(path))
        os.replace(made, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(made)
        raise


def _mode(path: Path) -> int:
    """Return the permissions that a file has, or would be made with."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask
