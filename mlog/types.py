"""Names for the shapes that other modules speak about. Names nothing from later modules."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

__all__ = ["Fields", "Json", "LevelSpec", "Metrics", "Mode", "Stream"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""What a JSON document can hold."""

Fields: TypeAlias = Mapping[str, Any]
"""A caller's own fields, as in `extra=`."""

Metrics: TypeAlias = Mapping[str, Any]
"""Metric name to value; numbers are the usual case, see `mlog.values`."""

LevelSpec: TypeAlias = int | str | Mapping[str, int | str]
"""A level by number or name, `"auto"`, or a map from logger prefix to level."""

Mode: TypeAlias = Literal["private", "group"]
"""Who may read a run's files: the user alone, or the user's group."""

Stream: TypeAlias = Literal["logs", "metrics", "events"]
"""One of the three kinds of segment of a writer."""
