"""A log that is an artifact of a run already while it grows."""

import hashlib
import os
from typing import Any

from mlog.folder import Folder, OpenFile

__all__ = ["LogArtifact"]


class LogArtifact:
    """Bytes that are appended to one artifact. For one thread at a time.

    Attributes:
        size: How many there are.
        is_open: Whether it takes more.
    """

    def __init__(self, run: Folder, name: str) -> None:
        """Make the file.

        Args:
            run: Folder of the run.
            name: Of the artifact, with `/` between folders.

        Raises:
            OSError: It cannot be made.
        """
        *parents, last = ("artifacts", *name.split("/"))
        folder = run
        for parent in parents:
            folder = folder.child(parent)
        self.size = 0
        self.is_open = True
        self._name = name
        self._digest = hashlib.sha256()
        self._file: OpenFile | None = folder.create(last)

    def append(self, data: bytes) -> None:
        """Append bytes; where the log is closed already, do nothing.

        Raises:
            OSError: The disk refuses; the log is closed then.
        """
        view = memoryview(data)
        try:
            while view and self._file is not None:
                done = os.write(self._file.fd, view)
                self._digest.update(view[:done])
                self.size += done
                view = view[done:]
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Take no more."""
        self._file, self.is_open = None, False

    def facts(self) -> dict[str, Any]:
        """Return what `run.artifact` says of it."""
        return {
            "path": self._name,
            "size": self.size,
            "sha256": self._digest.hexdigest(),
            "media_type": "text/plain",
        }
