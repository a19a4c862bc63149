"""zstd, where a library for it is there: the one place that looks for it."""

from collections.abc import Callable

__all__ = ["zstd_compressor"]


def zstd_compressor() -> Callable[[bytes], bytes] | None:
    """Return what compresses at level 1; None without the library."""
    try:
        import zstandard
    except ModuleNotFoundError:
        return None
    compress: Callable[[bytes], bytes] = zstandard.ZstdCompressor(level=1).compress
    return compress
