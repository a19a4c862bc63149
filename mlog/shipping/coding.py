"""Content codings of bodies: identity, gzip, and zstd where a library for it is there."""

import zlib
from collections.abc import Callable
from typing import TypeAlias

from mlog.errors import MlogError

__all__ = ["Coder", "checked_coding", "coders", "gzip"]

Coder: TypeAlias = Callable[[bytes], bytes]


def gzip(body: bytes) -> bytes:
    """Code a body by gzip, at level 1: the network is slower than more would save."""
    return zlib.compress(body, 1, wbits=31)


def coders() -> dict[str, Coder]:
    """Return what can code a body here, by the names of HTTP."""
    found: dict[str, Coder] = {"identity": bytes, "gzip": gzip}
    try:
        import zstandard
    except ModuleNotFoundError:
        return found
    found["zstd"] = zstandard.ZstdCompressor(level=1).compress
    return found


def checked_coding(wanted: str) -> str:
    """Return what `coding=` of a URL says, if it can be had here.

    Raises:
        MlogError: It cannot.
    """
    if wanted in coders():
        return wanted
    if wanted == "zstd":
        raise MlogError('coding=zstd needs a library: pip install "mlog-runs[zstd]"')
    raise MlogError(f"coding must be one of identity, gzip, zstd, got {wanted[:40]!r}")
