"""A mirror of runs in an object store, by fsspec: s3, gs, az and what else it knows.

    s3://bucket/prefix?endpoint_url=https://…      <prefix>/<experiment>/<run id>/…
    fsspec+sftp://host/folder                      any other protocol of fsspec

The query becomes options of the file system; credentials are found as its library finds
them (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, …). An object cannot be
appended to: a segment is put anew as a whole when it has grown by half, every ten
minutes, and when its run has ended. So an upload is never larger than three times what
there is, and the store can be read by DuckDB, Spark, Ray or Trino at any time.
"""

from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from mlog.errors import MlogError
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Target,
    Traits,
)

__all__ = ["FsspecSink", "open_sink"]

_PIECE = 4 << 20


def open_sink(target: Target) -> "FsspecSink":
    """Make the sink of a target.

    Raises:
        MlogError: A library is missing, or an option is wrong.
    """
    try:
        import fsspec
    except ModuleNotFoundError as exc:
        raise MlogError(
            f'{target.kind}:// needs fsspec: pip install "mlog-runs[fsspec]"'
        ) from exc
    parts = urlsplit(target.url)
    try:
        store = fsspec.filesystem(parts.scheme, **target.query)
    except (ImportError, ValueError, TypeError) as exc:
        raise MlogError(f"{parts.scheme}://: {exc}") from exc
    return FsspecSink(store, store._strip_protocol(target.url))


class FsspecSink:
    """Puts files into a file system of fsspec. See the module."""

    traits = Traits(
        streams=frozenset(),
        artifacts=True,
        segments="growing",
        has_key=True,
        growth=1.5,
    )

    def __init__(self, store: Any, prefix: str) -> None:
        """Prepare.

        Args:
            store: An `AbstractFileSystem`.
            prefix: Path in it.
        """
        self._store = store
        self._prefix = prefix.rstrip("/")

    def send(self, batch: Batch) -> SendResult:
        """Not asked for by the traits."""
        return DELIVERED

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Put a file as a whole."""
        path = f"{self._prefix}/{run.key}/{file.name}"
        try:
            with file.open() as source:
                self._put(source, path, file.size)
        except PermissionError as exc:
            return SendResult("blocked", str(exc) or "not permitted")
        except FileNotFoundError as exc:
            return SendResult("blocked", f"no such bucket or folder: {exc}")
        return DELIVERED

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Nothing to do: the events say it."""
        return DELIVERED

    def close(self) -> None:
        """Nothing to do: fsspec keeps its own connections."""

    def _put(self, source: BinaryIO, path: str, size: int) -> None:
        try:
            target = self._store.open(path, "wb")
        except FileNotFoundError:  # a file system with real folders
            self._store.makedirs(path.rpartition("/")[0], exist_ok=True)
            target = self._store.open(path, "wb")
        with cast(BinaryIO, target):
            while size > 0:
                piece = source.read(min(_PIECE, size))
                if not piece:
                    raise OSError(f"{path} has become shorter while it was sent")
                target.write(piece)
                size -= len(piece)
