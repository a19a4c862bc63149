"""Filters: by metric name, by rank, and the one that adds a span."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mlog
from mlog.filters import MetricFilter, RankFilter, SpanFilter
from tests.helpers import entries

MakeRecord = Callable[..., logging.LogRecord]


@pytest.mark.parametrize(
    ("names", "metric", "passes"),
    [
        ("*", {"loss": 1}, True),
        ("*", None, False),
        ("*", "accuracy", False),
        ("train/*", {"train/loss": 1}, True),
        ("train/*", {"val/loss": 1}, False),
        ("train/*, val/loss", {"val/loss": 1}, True),
        ("loss", {"acc": 1, "loss": 2}, True),
        ("Loss", {"loss": 1}, False),
    ],
)
def test_metric_filter_lets_records_with_fitting_names_pass(
    make_record: MakeRecord, names: str, metric: object, passes: bool
) -> None:
    record = make_record("x", metric=metric) if metric is not None else make_record()
    assert MetricFilter(names).filter(record) is passes
    assert MetricFilter(names, invert=True).filter(record) is not passes


def test_metric_filter_reads_dotted_extras_of_other_libraries(
    make_record: MakeRecord,
) -> None:
    """Loguru's propagation keeps bound fields in one attribute."""
    record = make_record("x", extra={"metric": {"loss": 1}})
    assert MetricFilter().filter(record)


@pytest.mark.parametrize(
    ("env", "passes"),
    [
        ({}, True),
        ({"RANK": "0"}, True),
        ({"RANK": "1"}, False),
        ({"RANK": "nonsense"}, True),
        ({"SLURM_PROCID": "3"}, False),
        ({"RANK": "0", "SLURM_PROCID": "3"}, True),
    ],
)
def test_rank_filter_lets_rank_0_pass(
    make_record: MakeRecord, env: dict[str, str], passes: bool
) -> None:
    assert RankFilter(env=env).filter(make_record()) is passes


def test_rank_filter_can_choose_ranks_and_let_errors_of_all_pass(
    make_record: MakeRecord,
) -> None:
    chosen = RankFilter(1, 2, level=logging.ERROR, env={"RANK": "1"})
    assert chosen.filter(make_record())
    other = RankFilter(1, 2, level=logging.ERROR, env={"RANK": "5"})
    assert not other.filter(make_record())
    assert other.filter(make_record(level=logging.ERROR))


def test_rank_filter_reads_the_environment_at_each_record(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launchers of processes set RANK after logging was configured."""
    rank_filter = RankFilter()
    monkeypatch.setenv("RANK", "1")
    assert not rank_filter.filter(make_record())


def test_span_filter_adds_the_ids_of_the_current_span(tmp_path: Path) -> None:
    """Log lines and metrics of a run can be found from the trace, and back."""
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=1)
    logger = logging.getLogger("spans")
    with mlog.start_run("e", dir=tmp_path, filters=[SpanFilter()]) as run:
        logger.info("before")
        with trace.use_span(trace.NonRecordingSpan(context)):
            logger.info("within")
            logger.info(metric={"loss": 1.0})  # type: ignore[call-arg]
            logger.info("own", extra={"trace_id": "mine"})
    assert run.path is not None
    before, within, own = entries(run.path / "logs.jsonl")
    (metric,) = entries(run.path / "metrics.jsonl")
    ids = {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}", "trace_flags": 1}
    assert "extra" not in before
    assert within["extra"] == metric["extra"] == ids
    assert own["extra"] == {**ids, "trace_id": "mine"}


def test_span_filter_lets_all_pass_without_opentelemetry(
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never imports the library, and survives one that is half there."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    record = make_record()
    assert SpanFilter().filter(record)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", sys)
    assert SpanFilter().filter(record)
    assert not hasattr(record, "trace_id")
