"""orjson, or in a Python that has none what does the same; for copies of mlog only.

See `mlog.launch.carry`.
"""

from typing import Any

__all__ = ["orjson"]

orjson: Any
try:
    import orjson

    orjson.Fragment  # noqa: B018  # an old one has none
except (ImportError, AttributeError):
    from mlog.launch import plain_orjson as orjson
