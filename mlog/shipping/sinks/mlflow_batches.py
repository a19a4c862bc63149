"""Entries and facts of a run as what MLflow's tracking API takes. Nothing is sent here.

MLflow's server keeps what it parsed before the first value it dislikes and answers 200
all the same: a bare NaN, a step that is no integer or a time with a fraction zeroes its
metric and loses all later ones. So what these functions return holds finite numbers or
exactly the texts below, whole steps and times of 64 bit, and clean keys; an entry that
cannot be told so is named to the caller instead.

Source: MLflow's REST API, and how a server of version 3.17 was seen to behave.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from mlog.shipping.sinks.mlflow_names import is_long, key_of, long_tag
from mlog.shipping.sinks.times import microseconds

__all__ = [
    "MAX_METRICS",
    "MAX_PARAMS",
    "Metric",
    "Metrics",
    "in_batches",
    "metrics_of",
    "milliseconds",
    "param_text",
    "params_of",
    "status_of",
    "tag_text",
    "tags_of",
    "time_or_none",
]

Metric: TypeAlias = dict[str, Any]
"""`key`, `value`, `timestamp` and `step`, as they are sent."""

MAX_METRICS = 1_000
"""Most metrics, params and tags of one request."""

MAX_PARAMS = 100
"""Most params, and most tags, of one request."""

_MAX_PARAM = 6_000
_MAX_TAG = 8_000
_INFINITE = ("Infinity", "-Infinity")
_END_64 = 1 << 63

_STATUS = {
    "NotStarted": "SCHEDULED",
    "Queued": "SCHEDULED",
    "Preparing": "SCHEDULED",
    "Completed": "FINISHED",
    "Failed": "FAILED",
    "NotResponding": "FAILED",
    "Canceled": "KILLED",
}


@dataclass(slots=True)
class Metrics:
    """What the metric entries of a batch come to.

    Attributes:
        points: In the order of the entries.
        tags: What the points themselves cannot say: infinities, which MLflow stores as
            the greatest double, and names whose keys are cut.
        refused: Index of an entry to why it cannot be sent.
    """

    points: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


def metrics_of(entries: Iterable[Mapping[str, Any]], suffix: str = "") -> Metrics:
    """Return the points of metric entries, with their original times and steps.

    A point without a step gets 0, as MLflow's own client would give it.

    Args:
        entries: Of the metrics stream; those without numbers give nothing.
        suffix: Comes behind every name: of a rank, for instance.
    """
    found = Metrics()
    points, keys = found.points, _Keys(suffix, found.tags)
    for index, entry in enumerate(entries):
        metric = entry.get("metric")
        if not isinstance(metric, dict) or not metric:
            continue
        try:
            time, step = milliseconds(entry["ts"]), _step(entry.get("step", 0))
            for name, value in metric.items():
                if type(value) is not float:
                    value = _number(value)
                key = keys[name]
                points.append(
                    {"key": key, "value": value, "timestamp": time, "step": step}
                )
                if value in _INFINITE:
                    tag = key_of(f"mlog.infinite.{name}{suffix}")
                    found.tags[tag] = f"{value} at step {step}, {entry['ts']}"
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            found.refused[index] = f"MLflow cannot take it: {exc}"
    return found


class _Keys(dict[str, str]):
    """Name to key; made when first asked for, and a long name told by a tag."""

    def __init__(self, suffix: str, tags: dict[str, str]) -> None:
        super().__init__()
        self._suffix = suffix
        self._tags = tags

    def __missing__(self, name: str) -> str:
        whole = name + self._suffix
        if is_long(whole):
            self._tags[long_tag(whole)] = tag_text(whole)
        self[name] = key = key_of(whole)
        return key


def in_batches(points: list[Metric]) -> Iterator[list[Metric]]:
    """Yield the points in pieces of what one request may hold."""
    for start in range(0, len(points), MAX_METRICS):
        yield points[start : start + MAX_METRICS]


def params_of(params: Mapping[str, Any]) -> dict[str, str]:
    """Return params as MLflow keeps them; the names are in the keys."""
    return {key_of(name): param_text(value) for name, value in params.items()}


def tags_of(tags: Mapping[str, str | None], prefix: str = "") -> dict[str, str]:
    """Return tags as MLflow keeps them; one without a value is ""."""
    found = {}
    for name, value in tags.items():
        whole = prefix + name
        found[key_of(whole)] = tag_text(value or "")
        if is_long(whole):
            found[long_tag(whole)] = tag_text(whole)
    return found


def param_text(value: object) -> str:
    """Return the text of a param: as MLflow's own client writes it, objects as JSON."""
    if isinstance(value, dict | list):
        value = orjson.dumps(value).decode()
    return _cut(str(value), _MAX_PARAM)


def tag_text(value: object) -> str:
    """Return the text of a tag."""
    return _cut(str(value), _MAX_TAG)


def status_of(word: str) -> str:
    """Return MLflow's word for one of Azure's; all that is not over is RUNNING."""
    return _STATUS.get(word, "RUNNING")


def milliseconds(ts: str) -> int:
    """Return milliseconds since 1970 of an entry's time; what is below is cut off.

    Raises:
        ValueError: It is no such time, or one before 1970.
    """
    return microseconds(ts) // 1_000


def time_or_none(ts: str) -> int | None:
    """Return `milliseconds` of a time; None where it is none."""
    try:
        return milliseconds(ts)
    except ValueError:
        return None


def _step(step: object) -> int:
    if type(step) is not int or not -_END_64 <= step < _END_64:
        raise ValueError(f"its step is no integer of 64 bit: {step!r}")
    return step


def _number(value: object) -> float | str:
    """Return a finite double, or one of the texts that stand for the others."""
    if value == "NaN" or value in _INFINITE:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a metric is no number: {value!r}")
    return float(value)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
