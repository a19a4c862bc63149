"""The lean record: for everybody who looks, what `logging` would have made."""

import copy
import json
import logging
import logging.handlers
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.handlers import JSONLHandler
from mlog.record import LeanRecord, metric_of, metric_text
from tests.helpers import entries


class Keep(logging.Handler):
    """Keeps records, and looks at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def keep() -> Keep:
    return Keep()


@pytest.fixture
def logger(keep: Keep) -> Iterator[mlog.MetricLogger]:
    """Return a logger of one handler; a run is open, as metrics want one."""
    logger = mlog.getLogger("lean")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(keep)
    logger.propagate = False
    with mlog.start_run("record"):
        yield logger


STOCK_FIELDS = set(vars(logging.makeLogRecord({})))


def names(record: logging.LogRecord) -> set[str]:
    """Return the names of the fields but for what formatters (pytest's) leave."""
    return set(vars(record)) - {"message", "asctime"}


def test_a_lean_record_has_the_fields_of_a_stock_one(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    logger.info("plain")
    (record,) = keep.records
    assert isinstance(record, LeanRecord)
    assert names(record) == STOCK_FIELDS
    stock = logging.LogRecord(
        "lean", 20, record.pathname, record.lineno, "plain", (), None
    )
    volatile = {"created", "msecs", "relativeCreated", "funcName"}
    for name in STOCK_FIELDS - volatile:
        assert getattr(record, name) == getattr(stock, name), name
        assert type(getattr(record, name)) is type(getattr(stock, name)), name
    assert record.funcName == "test_a_lean_record_has_the_fields_of_a_stock_one"


def test_times_fit_together(logger: mlog.MetricLogger, keep: Keep) -> None:
    """Also when the fields are first read much later."""
    before = logging.makeLogRecord({})
    logger.info("first")
    after = logging.makeLogRecord({})
    (record,) = keep.records
    assert before.created <= record.created <= after.created
    apart = after.created - record.created
    late = after.relativeCreated - record.relativeCreated
    assert late == pytest.approx(apart * 1_000, abs=0.01)
    whole = logging.Formatter("%(asctime)s").formatTime(record)
    assert whole.endswith(f",{int(record.msecs):03d}")
    assert record.msecs == pytest.approx(record.created * 1_000 % 1_000, abs=1.0)


def test_metrics_without_a_message_read_as_text(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    """The same in every way there is to read it."""
    logger.info(metric={"loss": 0.3, "acc": 1}, step=3)
    (record,) = keep.records
    text = "loss=0.3 acc=1 step=3"
    assert record.msg == text
    assert record.getMessage() == text
    assert vars(record)["msg"] == text
    assert logging.makeLogRecord(vars(record)).getMessage() == text
    assert copy.copy(record).getMessage() == text
    assert logging.Formatter("%(message)s").format(record) == text
    assert logging.Formatter("{msg}", style="{").format(record) == text


def test_a_filter_may_change_message_and_arguments(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    """As redacting filters do, in place."""

    def redact(record: logging.LogRecord) -> bool:
        record.msg = f"<{record.msg}>"
        return True

    keep.addFilter(redact)
    logger.info(metric={"loss": 0.3})
    logger.info("text %d", 1)
    assert [record.getMessage() for record in keep.records] == [
        "<loss=0.3>",
        "<text 1>",
    ]
    for record in keep.records:
        assert copy.copy(record).getMessage() == record.getMessage()


def test_a_filter_may_add_fields(
    logger: mlog.MetricLogger, keep: Keep, tmp_path: Path
) -> None:
    """They are in the entry of a handler that sees the record afterwards."""

    def add(record: logging.LogRecord) -> bool:
        record.rank = 7
        return True

    handler = JSONLHandler(tmp_path / "own.jsonl")
    handler.addFilter(add)
    logger.addHandler(handler)
    logger.info(metric={"loss": 0.3})
    logger.info(metric={"loss": 0.3}, extra={"fold": 2})
    logger.info("text")
    logger.info("text", extra={"fold": 2})
    fields = [entry["extra"] for entry in entries(tmp_path / "own.jsonl")]
    assert fields == [{"rank": 7}, {"fold": 2, "rank": 7}] * 2
    logger.removeHandler(handler)
    handler.close()


COMMON = (
    *("code", "path", "line", "function", "time_ns", "given", "given_metric", "file"),
    *("func", "user_fields", "duration", "status", "run", "entry", "seq", "metrics"),
)


@pytest.mark.parametrize("name", COMMON)
def test_a_field_may_have_any_name_that_a_record_has_not(
    name: str, logger: mlog.MetricLogger, keep: Keep
) -> None:
    """`extra={"code": 404}` is `record.code` for a filter; a filter may set it, too."""
    logger.info("text", extra={name: 404})
    logger.info(metric={"loss": 0.3}, extra={name: 404})
    logger.info("text")
    for record in keep.records[:2]:
        assert vars(record)[name] == 404
        assert getattr(record, name) == 404
        assert getattr(copy.copy(record), name) == 404
    plain = keep.records[2]
    assert not hasattr(plain, name)
    setattr(plain, name, 405)
    assert (getattr(plain, name), vars(plain)[name]) == (405, 405)


def test_no_field_of_mlogs_own_is_seen(logger: mlog.MetricLogger, keep: Keep) -> None:
    logger.info("text", metric={"loss": 0.3}, step=3, extra={"fold": 2})
    logger.info(metric={"loss": 0.3}, extra={"fold": 2})
    both, bare = keep.records
    assert names(both) - STOCK_FIELDS == {"metric", "step", "fold"}
    assert names(bare) - STOCK_FIELDS == {"metric", "fold"}
    json.dumps(vars(both))


@pytest.mark.parametrize("change", [copy.copy, copy.deepcopy])
def test_copies_are_plain_records(
    change: Any, logger: mlog.MetricLogger, keep: Keep
) -> None:
    logger.info("epoch %d", 3, metric={"loss": 0.3}, step=3, extra={"fold": 2})
    logger.info(metric={"loss": 0.3})
    for record in keep.records:
        same = change(record)
        assert type(same) is logging.LogRecord
        assert vars(same) == vars(record)
        same.msg, same.args = "changed", ()
        assert record.getMessage() != "changed"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_record_needs_no_mlog(
    protocol: int, logger: mlog.MetricLogger, keep: Keep
) -> None:
    logger.warning("epoch %d", 3, metric={"loss": 0.3}, extra={"fold": 2})
    logger.info(metric={"loss": 0.3})
    for record in keep.records:
        sent = pickle.dumps(record, protocol)
        assert b"mlog.record" not in sent
        assert vars(pickle.loads(sent)) == vars(record)


def test_a_record_sent_by_a_socket_is_complete(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    """`SocketHandler.makePickle` copies `__dict__` and formats the message."""
    sender = logging.handlers.SocketHandler("localhost", 9)
    logger.info(metric={"loss": 0.3}, step=3)
    sent = pickle.loads(sender.makePickle(keep.records[0])[4:])
    received = logging.makeLogRecord(sent)
    assert received.getMessage() == "loss=0.3 step=3"
    assert metric_of(received) == {"loss": 0.3}


def test_a_missing_attribute_is_an_attribute_error(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    logger.info("text")
    record: Any = keep.records[0]
    with pytest.raises(AttributeError, match="nothing"):
        record.nothing  # noqa: B018  # the access is the test
    assert getattr(record, "nothing", 7) == 7


def test_lines_are_those_of_the_call(logger: mlog.MetricLogger, keep: Keep) -> None:
    """Of a call over several lines too, whether it has a message or not."""
    here = sys._getframe().f_lineno
    logger.info("one line")
    logger.info(
        "several",
        metric={"loss": 0.3},
    )
    logger.info(metric={"loss": 0.3})
    logger.info(
        metric={"loss": 0.3},
        step=3,
    )
    logger.info(metric={"loss": 0.3}, extra={"fold": 2})
    lines = [record.lineno - here for record in keep.records]
    assert lines == [1, 2, 6, 7, 11]
    assert {record.filename for record in keep.records} == {"test_record.py"}


def test_a_mapping_is_the_arguments_itself(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    logger.info("%(a)s and %(b)s", {"a": 1, "b": 2})
    logger.info("%s", {})
    logger.info("100%")
    assert [r.getMessage() for r in keep.records] == ["1 and 2", "{}", "100%"]
    assert [r.args for r in keep.records] == [{"a": 1, "b": 2}, ({},), ()]


def test_a_record_tells_who_made_it_not_who_reads_it(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    thread = threading.Thread(target=logger.info, args=("text",), name="maker")
    thread.start()
    thread.join()
    logger.info("text")
    assert [r.threadName for r in keep.records] == ["maker", "MainThread"]
    assert keep.records[0].thread == thread.ident


def test_level_names_are_those_of_the_time_of_reading(
    logger: mlog.MetricLogger, keep: Keep
) -> None:
    logger.log(7, "below")
    logger.setLevel(1)
    logger.log(7, "above")
    assert [record.levelname for record in keep.records] == ["Level 7"]


# --- what a record says of metrics -----------------------------------------------------


def test_only_a_mapping_is_a_metric() -> None:
    """Another library's `extra={"metric": "accuracy"}` is its own."""
    for value in ("accuracy", 0.3, [0.3], None, object()):
        assert metric_of(logging.makeLogRecord({"metric": value})) is None
    assert metric_of(logging.makeLogRecord({"metric": {"loss": 1}})) == {"loss": 1}
    assert metric_of(logging.makeLogRecord({})) is None


def test_metrics_in_loguru_s_extra_count() -> None:
    """Loguru puts what was bound into one field, `extra`."""
    record = logging.makeLogRecord({"extra": {"metric": {"loss": 1}, "step": 3}})
    assert metric_of(record) == {"loss": 1}
    assert metric_of(logging.makeLogRecord({"extra": {"metric": "accuracy"}})) is None


def test_text_of_metrics_is_short() -> None:
    """Six digits, and no value so long that a line cannot be read."""
    assert metric_text({"loss": 0.123456789}) == "loss=0.123457"
    assert metric_text({"a": 1, "b": True, "c": "x"}, 7) == "a=1 b=True c=x step=7"
    assert metric_text({"nan": float("nan")}) == "nan=nan"
    assert metric_text({}) == ""
    assert len(metric_text({"a": "x" * 1_000})) == len("a=") + 80


class Hostile:
    """Neither text nor anything else."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(Hostile())
)


@given(st.dictionaries(st.one_of(st.text(), st.integers()), ANY), ANY)
def test_text_of_metrics_never_raises(metric: dict[Any, Any], step: Any) -> None:
    text = metric_text(metric, step)
    assert isinstance(text, str)
