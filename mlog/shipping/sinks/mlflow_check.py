"""Whether MLflow has what it acknowledged: what was sent is counted back.

The server answers 200 also where it has lost points. So the points of a run are
remembered (8 bytes each) when they are acknowledged, and compared with the histories
that the server gives when the run has ended. Beyond `limit` points of a run only the
newest point of each metric is compared, which one request tells for all of them.
"""

from array import array
from collections.abc import Iterable
from typing import Any

from mlog.shipping.sinks.mlflow_api import MlflowApi
from mlog.shipping.sinks.mlflow_batches import Metric

__all__ = ["Acknowledged", "mark_of", "missing"]

_GREATEST = 1.7976931348623157e308
"""What MLflow stores for an infinity."""

_NOWHERE = (-1 << 63, -1)

_STORED = {"Infinity": _GREATEST, "-Infinity": -_GREATEST}


class Acknowledged:
    """The points of one run that the server said it has taken.

    Attributes:
        marks: Key of a metric to `mark_of` each of its points, up to the limit.
        newest: Key to step and time of its newest point, beyond the limit.
    """

    def __init__(self, limit: int) -> None:
        """Begin with none; `limit` is the most points compared one by one."""
        self.marks: dict[str, array[int]] = {}
        self.newest: dict[str, tuple[int, int]] = {}
        self._left = limit

    def add(self, points: list[Metric]) -> None:
        """Remember points that were acknowledged."""
        within, beyond = points[: self._left], points[self._left :]
        self._left -= len(within)
        for point in within:
            marks = self.marks.get(point["key"])
            if marks is None:
                marks = self.marks[point["key"]] = array("q")
            marks.append(mark_of(point))
        for point in beyond:
            key, place = point["key"], (point["step"], point["timestamp"])
            self.newest[key] = max(place, self.newest.get(key, place))


def mark_of(point: Metric) -> int:
    """Return a number of 64 bit for a point as MLflow stores it."""
    return hash((int(point["timestamp"]), int(point["step"]), _stored(point["value"])))


def missing(api: MlflowApi, run_id: str, sent: Acknowledged) -> dict[str, set[int]]:
    """Ask the server for the points of a run; return the marks of those it has not.

    Where a point of `Acknowledged.newest` is not there, the set is empty: any may be lost.
    """
    lost: dict[str, set[int]] = {}
    for key, marks in sent.marks.items():
        there = set(map(mark_of, api.history(run_id, key)))
        if gone := set(marks) - there:
            lost[key] = gone
    if sent.newest:
        latest = _latest(api.run(run_id).get("data", {}).get("metrics", []))
        for key, place in sent.newest.items():
            if latest.get(key, _NOWHERE) < place:
                lost[key] = set()  # all of it, then
    return lost


def _latest(metrics: Iterable[Metric]) -> dict[str, tuple[int, int]]:
    return {m["key"]: (int(m["step"]), int(m["timestamp"])) for m in metrics}


def _stored(value: Any) -> Any:
    """Return the value that the server gives back; NaN as its text."""
    if isinstance(value, str):
        return _STORED.get(value, value)
    return float(value)
