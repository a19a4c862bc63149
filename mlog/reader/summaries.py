"""What the metrics of a run come to, from their lines: for where no end says it.

A process that ends says of each metric its last value, how many there were, the least
and the greatest. One that was killed does not, and `run.json` is seconds old then.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlog.reader.series import read_values

__all__ = ["read_summaries"]


def read_summaries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return for each metric what a run's end would say of it.

    What is read is kept in the cache, as of any other look at the metrics.

    Args:
        folder: The run's.

    Returns:
        Name to `last` (NaN and the infinities as texts), `count`, and of the finite
        values `min` and `max`. Metrics without a number are left out.

    Raises:
        RunNotFoundError: There is no such folder.
        OSError: It may not be read.
    """
    found = read_values(folder, keep=True)
    summed = ((name, _summed(own.values)) for name, own in found.items())
    return {name: summary for name, summary in summed if summary}


def _summed(values: Iterable[Any]) -> dict[str, Any]:
    numbers = [v for v in values if isinstance(v, int | float)]
    if not numbers:
        return {}
    summary: dict[str, Any] = {"last": _as_in_files(numbers[-1]), "count": len(numbers)}
    finite = [v for v in numbers if math.isfinite(v)]
    if finite:
        summary |= {"min": min(finite), "max": max(finite)}
    return summary


def _as_in_files(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
