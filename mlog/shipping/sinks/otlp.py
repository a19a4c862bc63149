"""OpenTelemetry collectors and backends: `otlp+http(s)://host[:4318][/base]`, or `otlp:`.

Entries go as log records to `/v1/logs` in OTLP's JSON form, coded by gzip; a metric
entry is one with the event name `mlog.metric` (see `otlp_records`).

| parameter | meaning | default |
|---|---|---|
| `metrics` | `logs`, `gauges` (numbers to `/v1/metrics` instead, without steps), `both` | `logs` |

Of the environment (OpenTelemetry's own names) count, where the URL says nothing else:

| variable | meaning |
|---|---|
| `OTEL_EXPORTER_OTLP_ENDPOINT` | address below which `/v1/logs` and `/v1/metrics` are |
| `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT`, `…_METRICS_ENDPOINT` | whole address of one |
| `OTEL_EXPORTER_OTLP_HEADERS`, `…_LOGS_HEADERS`, `…_METRICS_HEADERS` | `name=value,…` |
| `OTEL_EXPORTER_OTLP_TIMEOUT`, `…_LOGS_TIMEOUT`, `…_METRICS_TIMEOUT` | milliseconds |
| `OTEL_EXPORTER_OTLP_COMPRESSION`, `…_LOGS_…`, `…_METRICS_…` | `gzip` or `none` |
| `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | attributes of the resource |

The environment's addresses count only for `otlp:`. What it names for certificates is
left to `SSL_CERT_FILE` and `MLOG_REMOTE_CERT`.

A receiver that takes only a part of a request does not say which; by the protocol it
must not be sent again. So the count of what it rejected is told, and no entry.

Source: OTLP specification 1.x; OpenTelemetry environment variables, protocol exporter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import orjson

from mlog.errors import MlogError
from mlog.http import Auth, Reply, excerpt
from mlog.shipping.coding import gzip
from mlog.shipping.http import bearer, client_of, result_of
from mlog.shipping.sink import (
    DELIVERED,
    Batch,
    Rejected,
    RunEnd,
    RunFacts,
    RunFile,
    SendResult,
    Target,
    Traits,
)
from mlog.shipping.sinks.otlp_records import (
    Json,
    gauges,
    log_records,
    logs_body,
    metrics_body,
    nanoseconds,
    resource,
)

__all__ = ["OtlpSink", "open_sink"]

_ENV = "OTEL_EXPORTER_OTLP"
_DEFAULT = "http://localhost:4318"
_COUNTS = ("rejectedLogRecords", "rejectedDataPoints")

_Signal = Literal["logs", "metrics"]


def open_sink(target: Target) -> "OtlpSink":
    """Make the sink of an `otlp+http(s)://` or `otlp:` target."""
    return OtlpSink(target)


class OtlpSink:
    """Sends entries to a receiver of OTLP over HTTP. See the module."""

    traits = Traits(max_entries=2_000, max_bytes=2 << 20)

    def __init__(self, target: Target) -> None:
        """Prepare; nothing is sent.

        Raises:
            MlogError: A parameter, an address or a variable is none.
        """
        query = dict(target.query)
        metrics = query.pop("metrics", "logs")
        if metrics not in ("logs", "gauges", "both"):
            raise MlogError(f"metrics must be logs, gauges or both, got {metrics!r}")
        if query:
            raise MlogError(f"an OTLP target takes metrics, got {min(query)!r}")
        self._as_logs = metrics != "gauges"
        self._as_gauges = metrics != "logs"
        self._attributes = _resource_attributes(target.env)
        self._ways: dict[_Signal, _Way] = {"logs": _Way(target, "logs")}
        if self._as_gauges:
            self._ways["metrics"] = _Way(target, "metrics")

    def send(self, batch: Batch) -> SendResult:
        """Post the entries as log records, as gauges, or as both."""
        about = resource(batch.run, batch.writer, self._attributes)
        good, refused = _good(batch.entries)
        rejected = [Rejected(reason, index) for index, reason in refused.items()]
        bodies: list[tuple[_Signal, Json]] = []
        logged = good
        if batch.stream == "metrics":
            if self._as_gauges and (points := gauges(good)):
                bodies.append(("metrics", metrics_body(about, points)))
            if not self._as_logs:  # what is no number has no other place
                logged = [entry for entry in good if not _is_all_numbers(entry)]
        if logged:
            records = log_records(logged, batch.writer.name)
            bodies.append(("logs", logs_body(about, records)))
        for signal, body in bodies:
            result = self._ways[signal].post(body)
            if result.outcome != "delivered":
                return result
            rejected += result.rejected
        return SendResult("delivered", rejected=tuple(rejected))

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Not asked for by the traits."""
        return DELIVERED

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Nothing is left to say: the end of a run is one of its events."""
        return DELIVERED

    def close(self) -> None:
        """Close the connections."""
        for way in self._ways.values():
            way.close()


class _Way:
    """One of the receiver's paths, with the settings that the environment has for it."""

    def __init__(self, target: Target, signal: _Signal) -> None:
        self._signal = signal

        def setting(name: str) -> str:
            own = target.env.get(f"{_ENV}_{signal.upper()}_{name}")
            return own or target.env.get(f"{_ENV}_{name}") or ""

        self._headers = _pairs(setting("HEADERS"))
        self._gzip = setting("COMPRESSION") != "none"
        self._client = client_of(
            replace(target, url=_address(target, signal)),
            auth=_auth(target, self._headers),
            deadline=_seconds(setting("TIMEOUT")),
        )

    def post(self, body: Json) -> SendResult:
        content = orjson.dumps(body)
        headers = {"content-type": "application/json"}
        if self._gzip:
            content = gzip(content)
            headers["content-encoding"] = "gzip"
        reply = self._client.request("POST", content=content, headers=headers)
        if reply.status == 415 and self._gzip:
            self._gzip = False
            return self.post(body)
        result = _result(reply)
        if reply.status == 500 and self._is_well():
            return replace(result, outcome="refused")
        return result

    def _is_well(self) -> bool:
        """Whether the receiver takes a request without records.

        By the protocol what is answered 500 must not be sent again. It is, as long as
        the receiver answers that to everything: then it is not the batch.
        """
        headers = {"content-type": "application/json"}
        reply = self._client.request("POST", content=b"{}", headers=headers)
        return reply.status == 200

    def close(self) -> None:
        self._client.close()


# --- replies -------------------------------------------------------------------------


def _result(reply: Reply) -> SendResult:
    """Say what a reply means by the protocol."""
    result = result_of(reply, delivered=(200,))
    if result.outcome != "delivered":
        return result
    found = reply.json()
    partial = found.get("partialSuccess") if isinstance(found, dict) else None
    if not isinstance(partial, dict):
        return result
    rejected = sum(_count(partial.get(name)) for name in _COUNTS)
    if not rejected:
        return result  # a warning, which changes nothing
    reason = excerpt(str(partial.get("errorMessage") or "rejected"), reply.secrets)
    return SendResult("delivered", rejected=(Rejected(reason, None, rejected),))


def _count(value: Any) -> int:
    try:
        return max(0, int(value or 0))
    except (TypeError, ValueError):
        return 0


# --- entries -------------------------------------------------------------------------


def _good(entries: Sequence[Json]) -> tuple[list[Json], dict[int, str]]:
    """Return the entries that can be told in OTLP, and by index why others cannot."""
    good, refused = [], {}
    for index, entry in enumerate(entries):
        try:
            nanoseconds(entry["ts"])
            entry["seq"]
        except (KeyError, TypeError, ValueError) as exc:
            refused[index] = f"OTLP cannot take it: {exc}"
        else:
            good.append(entry)
    return good, refused


def _is_all_numbers(entry: Json) -> bool:
    """Whether a gauge says all of a metric entry but its step."""
    return not entry.keys() & {"value", "msg", "extra", "exc", "stack"}


# --- settings ------------------------------------------------------------------------


def _address(target: Target, signal: _Signal) -> str:
    url, path = target.url, f"/v1/{signal}"
    if urlsplit(url).netloc:
        base = url.rstrip("/")
        for known in ("/v1/logs", "/v1/metrics"):
            base = base.removesuffix(known)
        return base + path
    if whole := target.env.get(f"{_ENV}_{signal.upper()}_ENDPOINT"):
        return whole
    base = target.env.get(f"{_ENV}_ENDPOINT") or _DEFAULT
    return base.rstrip("/") + path


def _auth(target: Target, given: Mapping[str, str]) -> Auth:
    """Return the credentials of a target, and the headers of the environment."""
    usual = bearer(target)
    return lambda: {**given, **usual()}


def _seconds(text: str) -> float:
    if not text:
        return 30.0
    if not (text.isascii() and text.isdigit() and int(text)):
        raise MlogError(f"{_ENV}_TIMEOUT must be milliseconds, got {text[:40]!r}")
    return int(text) / 1_000


def _pairs(text: str) -> dict[str, str]:
    """Return `name=value,…` as a dict; values are percent-encoded.

    Source: W3C Baggage, as OpenTelemetry's variables use it.
    """
    found = {}
    for part in filter(str.strip, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise MlogError(f"{_ENV}_HEADERS must be name=value,name=value")
        found[unquote(name.strip()).lower()] = unquote(value.strip())
    return found


def _resource_attributes(env: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for part in env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            found[name.strip()] = unquote(value.strip())
    if service := env.get("OTEL_SERVICE_NAME"):
        found["service.name"] = service
    return found
