"""Entries as OpenTelemetry's log records and gauges, in the JSON form of OTLP.

A metric entry is a log record with the event name `mlog.metric`, because OTLP's own
metrics know no step; as gauges its numbers lose it. An event is a log record named
`mlog.run.start` and so on. What identifies an entry (`mlog.writer`, `mlog.seq`) is in its
attributes: the protocol has no key by which a receiver could tell a record sent twice.

Integers of 64 bit are texts, trace and span ids hex, and doubles that are not finite the
texts "NaN", "Infinity" and "-Infinity".

Source: OTLP 1.x, JSON Protobuf encoding; the logs data model; semantic conventions for
code, exceptions, host, process, service and VCS.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypeAlias

from mlog.shipping.sink import RunFacts, WriterFacts
from mlog.shipping.sinks.times import microseconds

__all__ = [
    "Json",
    "attributes",
    "gauges",
    "log_records",
    "logs_body",
    "metrics_body",
    "nanoseconds",
    "resource",
    "severity",
]

Json: TypeAlias = dict[str, Any]

_END_64 = 1 << 63
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_LEVELS = {
    "DEBUG": (5, "DEBUG"),
    "INFO": (9, "INFO"),
    "WARNING": (13, "WARN"),
    "ERROR": (17, "ERROR"),
    "CRITICAL": (21, "FATAL"),
    # Names that programs often add with `logging.addLevelName`.
    "TRACE": (1, "TRACE"),
    "NOTSET": (1, "TRACE"),
    "VERBOSE": (5, "VERBOSE"),
    "NOTICE": (10, "NOTICE"),
    "SUCCESS": (10, "SUCCESS"),
    "WARN": (13, "WARN"),
    "FATAL": (21, "FATAL"),
}
_UNNAMED = re.compile(r"Level (\d{1,9})")
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_OF_SPAN = ("trace_id", "span_id", "trace_flags")


# --- log records ---------------------------------------------------------------------


def log_records(
    entries: Iterable[Mapping[str, Any]], writer: str
) -> dict[str, list[Json]]:
    """Return a log record for each entry, by the name of its logger ("" for events)."""
    found: dict[str, list[Json]] = {}
    for entry in entries:
        found.setdefault(entry.get("logger", ""), []).append(_record(entry, writer))
    return found


def logs_body(about: Json, records: Mapping[str, list[Json]]) -> Json:
    """Return the body of a request to `/v1/logs`.

    Args:
        about: The resource, from `resource`.
        records: From `log_records`.
    """
    scopes = [
        {"scope": {"name": name} if name else {}, "logRecords": found}
        for name, found in records.items()
    ]
    return {"resourceLogs": [{"resource": about, "scopeLogs": scopes}]}


def _record(entry: Mapping[str, Any], writer: str) -> Json:
    time = nanoseconds(entry["ts"])
    own: Json = {"mlog.writer": writer or "main", "mlog.seq": entry["seq"]}
    record: Json = {"timeUnixNano": time, "observedTimeUnixNano": time}
    if (level := entry.get("level")) is not None:
        record["severityNumber"], record["severityText"] = severity(level)
    if (event := entry.get("event")) is not None:
        record["eventName"] = f"mlog.{event}"
        record["body"] = _any(entry.get("data", {}))
    elif "metric" in entry or "value" in entry:
        record["eventName"] = "mlog.metric"
        record["body"] = {"stringValue": entry.get("msg") or _metric_text(entry)}
        own |= {f"mlog.metric.{k}": v for k, v in _numbers(entry).items()}
        own |= {f"mlog.value.{k}": v for k, v in entry.get("value", {}).items()}
    else:
        record["body"] = {"stringValue": entry.get("msg", "")}
    own |= _of_call(entry)
    extra = entry.get("extra")
    if isinstance(extra, dict):
        extra = _take_span(extra, record)
        for name, value in extra.items():
            while name in own:
                name = f"extra.{name}"
            own[name] = value
    record["attributes"] = attributes(own)
    return record


def _of_call(entry: Mapping[str, Any]) -> Json:
    """Return what is known of the call and of an exception, by conventional names."""
    found = {name: entry[key] for key, name in _CONVENTIONAL.items() if key in entry}
    if isinstance(trouble := entry.get("exc"), dict):
        found["exception.type"] = trouble.get("type", "")
        found["exception.message"] = trouble.get("msg", "")
        found["exception.stacktrace"] = trouble.get("traceback", "")
    return found


_CONVENTIONAL = {
    "step": "mlog.step",
    "file": "code.file.path",
    "line": "code.line.number",
    "func": "code.function.name",
    "stack": "code.stacktrace",
    "thread": "thread.name",
    "task": "mlog.task",
    "cut": "mlog.cut",
}


def _take_span(extra: Json, record: Json) -> Json:
    """Put the ids of a span into a record; return the other fields.

    Ids that are not of the right form stay fields like others.
    """
    trace, span = extra.get("trace_id"), extra.get("span_id")
    if not isinstance(trace, str) or not _TRACE_ID.fullmatch(trace):
        return extra
    record["traceId"] = trace
    taken = {"trace_id"}
    if isinstance(span, str) and _SPAN_ID.fullmatch(span):
        record["spanId"] = span
        taken.add("span_id")
    flags = extra.get("trace_flags")
    if type(flags) is int and 0 <= flags < 256:
        record["flags"] = flags
        taken.add("trace_flags")
    return {name: value for name, value in extra.items() if name not in taken}


def _metric_text(entry: Mapping[str, Any]) -> str:
    """Return `loss=0.25 step=7`, for backends that show only the body."""
    parts = [f"{name}={value}" for name, value in _numbers(entry).items()]
    parts += [
        f"{name}={value if isinstance(value, str) else value.get('type', '')}"
        for name, value in entry.get("value", {}).items()
        if isinstance(value, str | dict)
    ]
    if "step" in entry:
        parts.append(f"step={entry['step']}")
    return " ".join(parts)


def _numbers(entry: Mapping[str, Any]) -> dict[str, float | int]:
    return {k: _number(v) for k, v in entry.get("metric", {}).items()}


def _number(value: Any) -> float | int:
    """Return the number of a metric; only the three texts come as texts."""
    return float(value) if isinstance(value, str) else value


def severity(level: str) -> tuple[int, str]:
    """Return OpenTelemetry's number and text of a level's name; 0 for an unknown one."""
    known = _LEVELS.get(level.upper())
    if known is not None:
        return known
    unnamed = _UNNAMED.fullmatch(level)
    if unnamed is None:
        return 0, level
    number = min(int(unnamed[1]), 59)
    if number < 10:
        return 1 + min(number // 3, 3), level
    return 4 * (number // 10) + 1 + min(number % 10, 3), level


# --- gauges --------------------------------------------------------------------------


def gauges(entries: Iterable[Mapping[str, Any]]) -> list[Json]:
    """Return a gauge for each metric name, with a point for each of its values."""
    points: dict[str, list[Json]] = {}
    for entry in entries:
        if not entry.get("metric"):
            continue
        time = nanoseconds(entry["ts"])
        for name, value in _numbers(entry).items():
            point: Json = {"timeUnixNano": time, **_point_value(value)}
            points.setdefault(name, []).append(point)
    return [{"name": k, "gauge": {"dataPoints": v}} for k, v in points.items()]


def metrics_body(about: Json, found: list[Json]) -> Json:
    """Return the body of a request to `/v1/metrics`, from `resource` and `gauges`."""
    scope = {"scope": {"name": "mlog"}, "metrics": found}
    return {"resourceMetrics": [{"resource": about, "scopeMetrics": [scope]}]}


def _point_value(value: float | int) -> Json:
    if isinstance(value, int) and -_END_64 <= value < _END_64:
        return {"asInt": str(value)}
    return {"asDouble": _double(value)}


# --- resource ------------------------------------------------------------------------


def resource(
    run: RunFacts, writer: WriterFacts, given: Mapping[str, str] | None = None
) -> Json:
    """Return the resource that a writer of a run is.

    Args:
        run, writer: Whose entries are sent.
        given: Attributes that the user has set; they win, but for the `mlog.` ones.
    """
    start, git = run.start, run.start.get("git")
    found: Json = {
        "service.name": run.experiment,
        "service.instance.id": f"{run.run_id}/{writer.name or 'main'}",
        "telemetry.sdk.name": "mlog",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": _own_version(),
        "host.name": writer.host,
        "process.pid": writer.pid,
        "process.owner": writer.user,
        "process.command_args": start.get("argv"),
        "process.runtime.name": "python" if start.get("python") else "",
        "process.runtime.version": start.get("python"),
        "process.working_directory": start.get("cwd"),
    }
    if isinstance(git, dict):
        found["vcs.ref.head.revision"] = git.get("commit")
        found["vcs.ref.head.name"] = git.get("branch")
    found |= given or {}
    found |= {
        "mlog.run_id": run.run_id,
        "mlog.run_name": run.name,
        "mlog.experiment": run.experiment,
        "mlog.attempt": writer.attempt,
        "mlog.rank": writer.rank,
        "mlog.world_size": writer.world_size,
    }
    return {
        "attributes": attributes(
            {k: v for k, v in found.items() if v not in ("", None, [])}
        )
    }


@lru_cache(maxsize=1)
def _own_version() -> str:
    return version("mlog-runs")


# --- values --------------------------------------------------------------------------


def attributes(fields: Mapping[str, Any]) -> list[Json]:
    """Return fields as a list of keys and values."""
    return [{"key": key, "value": _any(value)} for key, value in fields.items()]


def _any(value: Any) -> Json:
    """Return JSON as an AnyValue; null is one that says nothing."""
    match value:
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int() if -_END_64 <= value < _END_64:
            return {"intValue": str(value)}
        case int() | float():
            return {"doubleValue": _double(value)}
        case dict():
            return {"kvlistValue": {"values": attributes(value)}}
        case list() | tuple():
            return {"arrayValue": {"values": [_any(item) for item in value]}}
    return {}


def _double(value: float) -> float | str:
    value = float(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def nanoseconds(ts: str) -> str:
    """Return nanoseconds since 1970 of an entry's time, as the text OTLP wants.

    Raises:
        ValueError: It is no such time, or one before 1970.
    """
    return f"{microseconds(ts)}000"
