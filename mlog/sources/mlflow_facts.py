"""What MLflow says of runs, in our words: of a server and of a folder alike.

MLflow's SQL stores keep infinities as the greatest finite numbers; these become
infinities again.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, TypeVar

from mlog.errors import MlogError
from mlog.sources.copies import Origin, Point, value_from

__all__ = [
    "HasParent",
    "Value",
    "check_size",
    "chosen",
    "facts_of",
    "merged_points",
    "number_in",
    "objects_in",
    "pairs_in",
    "text_in",
    "whole_in",
    "with_families",
]

_GREATEST = 1.7976931348623157e308
_STATUS = {"FINISHED": "Completed", "FAILED": "Failed", "KILLED": "Canceled"}
_TAKEN = ("mlflow.runName", "mlflow.note.content", "mlflow.parentRunId")
"""Tags that become something else."""


class Value(NamedTuple):
    """One number of a metric; the time in milliseconds."""

    time: int
    step: int
    name: str
    value: float


def facts_of(
    info: Mapping[str, Any],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    experiment: str,
    state: str,
) -> Origin:
    """Return what MLflow says of a run, in our words."""
    run_id, ended = text_in(info, "run_id"), whole_in(info, "end_time")
    status = _STATUS.get(str(info.get("status")))
    user = text_in(info, "user_id") or tags.get("mlflow.user", "")
    git = {
        "commit": tags.get("mlflow.source.git.commit"),
        "branch": tags.get("mlflow.source.git.branch"),
        "remote": tags.get("mlflow.source.git.repoURL"),
    }
    known = {key: value for key, value in git.items() if value}
    start: dict[str, Any] = {"git": known} if known else {}
    if script := tags.get("mlflow.source.name"):
        start["argv"] = [script]
    return Origin(
        tool="mlflow",
        source=f"mlflow:{run_id}",
        state=state,
        run_id=run_id,
        experiment=experiment,
        name=tags.get("mlflow.runName") or text_in(info, "run_name") or run_id,
        began=whole_in(info, "start_time") * 1_000,
        ended=ended * 1_000 if ended else None,
        status=status,
        description=tags.get("mlflow.note.content", ""),
        params={name: value_from(text) for name, text in params.items()},
        tags={k: v for k, v in tags.items() if k not in _TAKEN},
        properties={"import.user": user} if user else {},
        start=start,
    )


class HasParent(Protocol):
    """A run that may name its parent."""

    origin: Origin
    parent_id: str


_R = TypeVar("_R", bound=HasParent)


def with_families(runs: list[_R]) -> list[_R]:
    """Tell runs of one experiment of their parents and children; parents come first."""
    by_id = {run.origin.run_id: run for run in runs}
    for run in runs:
        parent = by_id.get(run.parent_id)
        if parent is not None and parent is not run:
            own, other = run.origin, parent.origin
            own.parent = (other.experiment, other.run_id)
            other.children.append((own.experiment, own.run_id))
    return sorted(runs, key=lambda run: run.origin.parent is not None)


def merged_points(histories: Iterable[Iterator[Value]]) -> Iterator[Point]:
    """Yield the points of several metrics by time, those of one moment together."""
    merged = heapq.merge(*histories, key=attrgetter("time"))
    for (time, step), group in groupby(merged, key=lambda v: (v.time, v.step)):
        values: dict[str, float] = {}
        for each in group:
            if each.name in values:
                yield Point(time * 1_000, step, values)
                values = {}
            values[each.name] = each.value
        yield Point(time * 1_000, step, values)


_E = TypeVar("_E")


def chosen(
    found: Iterable[_E], wanted: Iterable[str], keys: Callable[[_E], tuple[str, str]]
) -> list[_E]:
    """Return the experiments that are wanted; all where none is named.

    Args:
        found: Those that are there.
        wanted: Names or ids.
        keys: Gives the name and the id of one.

    Raises:
        MlogError: One is not there.
    """
    by_keys = [(keys(each), each) for each in found]
    names = list(wanted)
    for name in names:
        if not any(name in own for own, _ in by_keys):
            there = ", ".join(sorted(own[0] for own, _ in by_keys)[:20])
            raise MlogError(f"no experiment {name!r} there; there are: {there}")
    return [each for own, each in by_keys if not names or {*own} & {*names}]


def check_size(size: int, max_file: int) -> None:
    """Let a file pass that may be taken over.

    Raises:
        MlogError: It is too large.
    """
    if size > max_file:
        raise MlogError(f"has {size:,} bytes; --max-file would take it")


def number_in(value: object) -> float | None:
    """Return a number as MLflow gives it; None for what is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    if number is None or isinstance(value, bool):
        return None
    return math.copysign(math.inf, number) if abs(number) == _GREATEST else number


def objects_in(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list of JSON; [] for what is no list."""
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]


def pairs_in(value: object) -> dict[str, str]:
    """Return what a list of keys and values says."""
    return {text_in(p, "key"): text_in(p, "value") for p in objects_in(value)}


def text_in(data: Mapping[str, Any], name: str) -> str:
    """Return a text; "" for what is none."""
    value = data.get(name)
    return value if isinstance(value, str) else ""


def whole_in(data: Mapping[str, Any], name: str) -> int:
    """Return an integer; protobuf's JSON may have it as a text."""
    value = data.get(name)
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value[:20])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
