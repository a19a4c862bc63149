"""Entries as OTLP: every body is parsed by OpenTelemetry's own protocol classes.

No collector can be installed from a package index, so the receiver is a test's own; what
it gets is judged by `opentelemetry-proto`, which refuses unknown fields, floats for times,
bare NaN and two kinds of one value.
"""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.shipping.sink import Batch, Sink
from mlog.shipping.sinks.otlp import OtlpSink
from mlog.shipping.sinks.otlp_records import log_records, logs_body, severity
from tests.helpers import entries
from tests.shipping.sinks.helpers import batches_of, ship
from tests.shipping.sinks.receiver import Receiver, Request

json_format = pytest.importorskip("google.protobuf.json_format")
logs_service = pytest.importorskip(
    "opentelemetry.proto.collector.logs.v1.logs_service_pb2"
)
metrics_service = pytest.importorskip(
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2"
)

OpenSink = Callable[..., Sink]
_IDS = {"traceId": 16, "spanId": 8}


def parse(request: Request) -> Any:
    """Parse a request strictly, by its path; ids have their right lengths."""
    kinds = {
        "/v1/logs": logs_service.ExportLogsServiceRequest,
        "/v1/metrics": metrics_service.ExportMetricsServiceRequest,
    }
    assert request.headers["content-type"] == "application/json"
    body = json.loads(request.body, parse_constant=pytest.fail)
    return json_format.ParseDict(_with_ids(body), kinds[request.path]())


def _with_ids(found: Any) -> Any:
    """Turn hex ids into the base64 that protobuf's own JSON form wants."""
    if isinstance(found, list):
        return [_with_ids(item) for item in found]
    if not isinstance(found, dict):
        return found
    ready = {key: _with_ids(value) for key, value in found.items()}
    for name, size in _IDS.items():
        if name in ready:
            raw = bytes.fromhex(ready[name])
            assert len(raw) == size
            ready[name] = base64.b64encode(raw).decode()
    return ready


def value_of(found: Any) -> Any:
    """Return what an AnyValue holds, as plain Python."""
    kind = found.WhichOneof("value")
    if kind == "kvlist_value":
        return attributes_of(found.kvlist_value.values)
    if kind == "array_value":
        return [value_of(item) for item in found.array_value.values]
    return None if kind is None else getattr(found, kind)


def attributes_of(pairs: Any) -> dict[str, Any]:
    names = [pair.key for pair in pairs]
    assert len(names) == len(set(names)), "a key comes twice"
    return {pair.key: value_of(pair.value) for pair in pairs}


def records_in(requests: list[Request]) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return scope, record and attributes of all log records, in order of `seq`."""
    found = [
        (scope.scope.name, record, attributes_of(record.attributes))
        for request in requests
        if request.path == "/v1/logs"
        for resource in parse(request).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    return sorted(found, key=lambda each: each[2]["mlog.seq"])


def nanoseconds(ts: str) -> int:
    from datetime import UTC, datetime, timedelta

    since = datetime.fromisoformat(ts) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1) * 1_000


def test_every_entry_arrives_once(
    rich_run: Path, received: Receiver, open_url: OpenSink
) -> None:
    """With its time to the microsecond, its logger as scope, and its text."""
    results = ship(rich_run, open_url(f"otlp+{received.url}"))
    assert all(r.outcome == "delivered" and not r.rejected for r in results)
    expected = sorted(entries(rich_run), key=lambda entry: entry["seq"])
    found = records_in(received.requests)
    assert len(found) == len(expected)
    for entry, (scope, record, attributes) in zip(expected, found, strict=True):
        assert attributes["mlog.seq"] == entry["seq"]
        assert attributes["mlog.writer"] == "main"
        assert record.time_unix_nano == nanoseconds(entry["ts"])
        assert scope == entry.get("logger", "")
        if "event" in entry:
            assert record.event_name == f"mlog.{entry['event']}"
            assert value_of(record.body) == entry["data"]
        elif "msg" in entry:
            assert record.body.string_value == entry["msg"]
        if "metric" in entry:
            assert record.event_name == "mlog.metric"
            for name, value in entry["metric"].items():
                there = attributes[f"mlog.metric.{name}"]
                number = float(value) if isinstance(value, str) else value
                assert there == number or math.isnan(there), name
            assert attributes.get("mlog.step") == entry.get("step")
    assert all(r.headers["content-encoding"] == "gzip" for r in received.requests)


def test_a_line_says_where_it_stands_and_what_went_wrong(
    rich_run: Path, received: Receiver, open_url: OpenSink
) -> None:
    ship(rich_run, open_url(f"otlp+{received.url}"))
    found = records_in(received.requests)
    (line,) = [a for _, r, a in found if r.body.string_value == "begins"]
    assert line["fold"] == 2
    assert line["code.function.name"] == "<module>"
    assert line["code.line.number"] > 0
    (wrong,) = [(r, a) for _, r, a in found if r.body.string_value == "went wrong"]
    assert wrong[1]["exception.type"] == "ZeroDivisionError"
    assert "Traceback" in wrong[1]["exception.stacktrace"]
    assert (wrong[0].severity_number, wrong[0].severity_text) == (17, "ERROR")


def test_the_resource_tells_run_host_and_program(
    rich_run: Path, received: Receiver, open_url: OpenSink
) -> None:
    """By OpenTelemetry's names; what the user has set wins over them."""
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "team=vision%20lab,host.name=mine"}
    sink = open_url(f"otlp+{received.url}", **environ)
    ship(rich_run, sink)
    found = parse(received.requests[0]).resource_logs[0].resource
    about = attributes_of(found.attributes)
    assert about["service.name"] == "rich run/α"
    assert about["mlog.run_id"] == rich_run.name
    assert about["service.instance.id"] == f"{rich_run.name}/main"
    assert about["process.runtime.name"] == "python"
    assert (about["team"], about["host.name"]) == ("vision lab", "mine")
    assert about["telemetry.sdk.name"] == "mlog"


def test_metrics_go_as_gauges_when_asked_for(
    rich_run: Path, received: Receiver, open_url: OpenSink
) -> None:
    """Numbers as points of time; what they cannot say stays a log record."""
    ship(rich_run, open_url(f"otlp+{received.url}?metrics=gauges"))
    points: dict[str, list[float]] = {}
    for request in received.requests:
        if request.path != "/v1/metrics":
            continue
        for metric in parse(request).resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.gauge.data_points:
                kind = point.WhichOneof("value")
                points.setdefault(metric.name, []).append(getattr(point, kind))
    assert points["loss"] == [1 / (n + 1) for n in range(700)] + [0.25]
    assert points["big"][-1] == 2**60 + 699  # exact
    assert math.isnan(points["odd//value"][0])
    assert points["odd//value"][1:3] == [math.inf, -math.inf]
    logged = [r.event_name for _, r, _ in records_in(received.requests)]
    assert 0 < logged.count("mlog.metric") < 20  # those with a text or a table


def test_both_go_when_both_are_asked_for(
    rich_run: Path, received: Receiver, open_url: OpenSink
) -> None:
    ship(rich_run, open_url(f"otlp+{received.url}?metrics=both"))
    paths = [request.path for request in received.requests]
    assert {"/v1/logs", "/v1/metrics"} == set(paths)
    assert len(records_in(received.requests)) == len(entries(rich_run))


def test_ids_of_a_span_stand_where_backends_look_for_them(
    run_dir: Path, received: Receiver, open_url: OpenSink
) -> None:
    """A `SpanFilter` has put them into the entry; ids of another form stay fields."""
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with mlog.start_run("e") as run:
        logger = mlog.getLogger("x")
        fields = {"trace_id": trace, "span_id": span, "trace_flags": 1}
        logger.info("within", extra=fields)
        logger.info("not one", extra={"trace_id": "0" * 32, "span_id": "x"})
    assert run.path is not None
    ship(run.path, open_url(f"otlp+{received.url}"))
    found = {r.body.string_value: (r, a) for _, r, a in records_in(received.requests)}
    within, attributes = found["within"]
    assert (within.trace_id.hex(), within.span_id.hex()) == (trace, span)
    assert within.flags == 1
    assert not attributes.keys() & {"trace_id", "span_id", "trace_flags"}
    other, attributes = found["not one"]
    assert other.trace_id == b""
    assert attributes["trace_id"] == "0" * 32


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values))
def test_any_fields_make_a_body_that_parses(extra: dict[str, Any]) -> None:
    """Also fields named like those that mlog itself sets; none is lost."""
    entry = {
        "ts": "2026-11-23T18:27:00.123456Z",
        "seq": 0,
        "level": "INFO",
        "logger": "x",
        "msg": "m",
        "extra": extra,
    }
    body = json.dumps(logs_body({"attributes": []}, log_records([entry], "")))
    request = Request(
        "POST", "/v1/logs", {"content-type": "application/json"}, body.encode()
    )
    (record,) = parse(request).resource_logs[0].scope_logs[0].log_records
    there = attributes_of(record.attributes)
    assert there.keys() >= extra.keys() - {"trace_id", "span_id", "trace_flags"}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("DEBUG", (5, "DEBUG")),
        ("INFO", (9, "INFO")),
        ("WARNING", (13, "WARN")),
        ("ERROR", (17, "ERROR")),
        ("CRITICAL", (21, "FATAL")),
        ("Level 15", (8, "Level 15")),
        ("Level 5", (2, "Level 5")),
        ("Level 99", (24, "Level 99")),
        ("NOTICE", (10, "NOTICE")),
        ("Verbose thing", (0, "Verbose thing")),
    ],
)
def test_levels(level: str, expected: tuple[int, str]) -> None:
    assert severity(level) == expected


# --- answers -------------------------------------------------------------------------


@pytest.fixture
def batch(rich_run: Path) -> Batch:
    """Return some log lines."""
    sink = OtlpSink.__new__(OtlpSink)
    return next(b for b in batches_of(rich_run, sink) if b.stream == "logs")


def test_what_a_receiver_rejects_is_told_and_not_sent_again(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    """It does not say which; by the protocol the request must not come again."""
    partial = {"rejectedLogRecords": "1", "errorMessage": "too old\nline"}
    body = json.dumps({"partialSuccess": partial}).encode()
    received.answer = lambda request: (200, body)
    result = open_url(f"otlp+{received.url}").send(batch)
    assert result.outcome == "delivered"
    (rejected,) = result.rejected
    assert (rejected.index, rejected.count) == (None, 1)
    assert rejected.reason.startswith("too old")
    assert "\n" not in rejected.reason


def test_a_warning_of_the_receiver_rejects_nothing(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    body = b'{"partialSuccess":{"errorMessage":"deprecated","rejectedLogRecords":0}}'
    received.answer = lambda request: (200, body)
    assert open_url(f"otlp+{received.url}").send(batch).rejected == ()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *[(status, "retry") for status in (429, 502, 503, 504)],
        (400, "refused"),
        (413, "too_large"),
        (401, "blocked"),
        (404, "blocked"),
    ],
)
def test_answers(
    batch: Batch, received: Receiver, open_url: OpenSink, status: int, outcome: str
) -> None:
    received.answer = lambda request: (status, b"")
    assert open_url(f"otlp+{received.url}").send(batch).outcome == outcome


def test_500_is_a_refusal_only_where_the_receiver_takes_other_requests(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    sink = open_url(f"otlp+{received.url}")
    received.answer = lambda request: (500, b"")
    assert sink.send(batch).outcome == "retry"
    received.answer = lambda request: (200 if request.body == b"{}" else 500, b"{}")
    assert sink.send(batch).outcome == "refused"


def test_a_receiver_that_reads_no_gzip_gets_it_plain(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    received.answer = lambda request: (
        415 if "content-encoding" in request.headers else 200,
        b"{}",
    )
    sink = open_url(f"otlp+{received.url}")
    assert sink.send(batch).outcome == "delivered"
    assert sink.send(batch).outcome == "delivered"
    assert len(received.requests) == 3


# --- settings ------------------------------------------------------------------------


def test_the_environment_says_where_to_and_how(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    """`otlp:` alone; variables of a signal win over those for all."""
    sink = open_url(
        "otlp:",
        OTEL_EXPORTER_OTLP_ENDPOINT=received.url + "/base/",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=all%20of%20them,x-other=1",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS="x-key=of%20logs",
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_SERVICE_NAME="trainer",
    )
    sink.send(batch)
    (request,) = received.requests
    assert request.path == "/base/v1/logs"
    assert request.headers["x-key"] == "of logs"
    assert "content-encoding" not in request.headers
    about = json.loads(request.body)["resourceLogs"][0]["resource"]["attributes"]
    assert {"key": "service.name", "value": {"stringValue": "trainer"}} in about


def test_a_whole_address_of_one_signal_is_used_as_it_is(
    batch: Batch, received: Receiver, open_url: OpenSink
) -> None:
    whole = received.url + "/elsewhere"
    open_url("otlp:", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=whole).send(batch)
    assert received.requests[0].path == "/elsewhere"


@pytest.mark.parametrize("path", ["", "/", "/v1/logs"])
def test_an_address_may_or_may_not_have_the_path_of_the_protocol(
    batch: Batch, received: Receiver, open_url: OpenSink, path: str
) -> None:
    open_url(f"otlp+{received.url}{path}").send(batch)
    assert received.requests[0].path == "/v1/logs"


@pytest.mark.parametrize(
    ("url", "env", "text"),
    [
        ("otlp:?metrics=some", {}, "metrics must be logs, gauges or both"),
        ("otlp:?gauges=1", {}, "takes metrics, got 'gauges'"),
        ("otlp:", {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "must be milliseconds"),
        ("otlp:", {"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "must be name=value"),
    ],
)
def test_a_setting_that_is_none_is_told(
    open_url: OpenSink, url: str, env: dict[str, str], text: str
) -> None:
    with pytest.raises(mlog.MlogError, match=text) as raised:
        open_url(url, **env)
    assert "secret" not in str(raised.value)
