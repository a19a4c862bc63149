"""Entries: one JSON line of the file format for any record."""

import asyncio
import json
import logging
import math
import sys
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, NoReturn

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog import errors
from mlog.context import Scope
from mlog.entry import (
    MAX_LINE,
    MAX_NESTING,
    encode,
    event_fields,
    fields_of,
    halves,
    metric_line,
    salvage,
    shrink,
    stamp,
    text_line,
)
from mlog.plain import MAX_TEXT
from mlog.record import LeanMetric, LeanRecord
from mlog.redaction import Redactor
from tests.helpers import Entry

EMPTY = Scope()
KEYS = [
    *(
        "ts",
        "seq",
        "level",
        "logger",
        "msg",
        "step",
        "metric",
        "value",
        "event",
        "data",
    ),
    *("file", "line", "func", "thread", "task", "exc", "stack", "extra", "cut"),
]


def strict(line: bytes) -> Entry:
    """Parse a line as RFC 8259 has it."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    found: Entry = json.loads(line, parse_constant=refuse)
    return found


def entry_of(
    record: logging.LogRecord, scope: Scope = EMPTY, redactor: Redactor | None = None
) -> Entry:
    """Return the entry of a record as a reader sees it."""
    return strict(encode(fields_of(record, scope, redactor)[1]))


def lean(
    msg: object = "",
    *args: object,
    metric: Any = None,
    step: Any = None,
    extra: Any = None,
    name: str = "train",
    level: int = logging.INFO,
) -> LeanRecord:
    """Make a lean record whose call stands here."""
    frame = sys._getframe()
    parts = (metric, step, extra, frame.f_code, frame.f_lasti)
    return LeanRecord(name, level, msg, args, *parts, frame.f_lineno)


# --- the shape of an entry ---------------------------------------------------------


def test_keys_come_in_the_order_of_the_format(
    make_record: Callable[..., logging.LogRecord],
) -> None:
    """What is there stands in the table's order, and nothing is null."""
    try:
        raise ValueError("no")
    except ValueError:
        record = make_record(
            "x" * (MAX_TEXT + 1),
            exc_info=sys.exc_info(),
            metric={"loss": 1.5, "note": "ok"},
            step=3,
            fold=2,
        )
    record.stack_info = "Stack (most recent call last):"
    entry = entry_of(record)
    assert list(entry) == [key for key in KEYS if key in entry]
    assert set(KEYS) - set(entry) == {"event", "data", "thread", "task"}
    assert None not in entry.values()


def test_a_metric_record_goes_to_the_metrics_stream() -> None:
    stream, entry = fields_of(lean(metric={"loss": 0.5}, step=3), EMPTY, None)
    assert stream == "metrics"
    assert (entry["metric"], entry["step"]) == ({"loss": 0.5}, 3)
    assert "msg" not in entry
    assert "file" not in entry, "only entries with a message say where the call stands"


def test_any_other_record_goes_to_the_logs_stream() -> None:
    stream, entry = fields_of(lean("epoch %d", 3), EMPTY, None)
    assert stream == "logs"
    assert entry["msg"] == "epoch 3"
    assert entry["file"] == __file__
    assert entry["func"] == "lean"


def test_another_librarys_metric_is_an_ordinary_extra(
    make_record: Callable[..., logging.LogRecord],
) -> None:
    """Only a mapping counts as a metric."""
    stream, entry = fields_of(make_record("x", metric="accuracy"), EMPTY, None)
    assert stream == "logs"
    assert entry["extra"] == {"metric": "accuracy"}


def test_extras_cannot_replace_a_key_of_the_entry(
    make_record: Callable[..., logging.LogRecord],
) -> None:
    taken = {"ts": "forged", "seq": -1, "logger": "forged", "event": "run.end"}
    entry = entry_of(make_record("x", **taken, extra_level=1))
    assert entry["extra"] == {**taken, "extra_level": 1}
    assert entry["logger"] == "test"


def test_bound_fields_and_step_belong_to_the_entry_and_the_calls_own_win() -> None:
    scope = Scope(step=7, fields={"fold": 1, "seed": 0})
    entry = entry_of(lean("x", extra={"fold": 2}), scope)
    assert entry["step"] == 7
    assert entry["extra"] == {"fold": 2, "seed": 0}
    assert entry_of(lean("x", step=8), scope)["step"] == 8


def test_loguru_fields_are_unwrapped(
    make_record: Callable[..., logging.LogRecord],
) -> None:
    """Loguru's propagation puts the bound fields into one attribute `extra`."""
    record = make_record("x", extra={"metric": {"loss": 1}, "step": 4, "fold": 2})
    stream, entry = fields_of(record, EMPTY, None)
    assert stream == "metrics"
    assert entry["metric"] == {"loss": 1}
    assert entry["step"] == 4
    assert entry["extra"] == {"fold": 2}


@pytest.mark.parametrize(("level", "name"), [(20, "INFO"), (15, "Level 15")])
def test_level_is_named(level: int, name: str) -> None:
    assert entry_of(lean("x", level=level))["level"] == name


def test_standard_levels_keep_their_names_when_others_colour_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = dict(logging._levelToName)
    names[logging.WARNING] = "\x1b[33mWARNING\x1b[0m"
    monkeypatch.setattr(logging, "_levelToName", names)
    assert entry_of(lean("x", level=logging.WARNING))["level"] == "WARNING"


def test_time_is_rfc_3339_in_utc_with_microseconds() -> None:
    assert stamp(1_795_459_422_000_001) == "2026-11-23T18:43:42.000001Z"
    assert stamp(0) == "1970-01-01T00:00:00.000000Z"
    assert stamp(-1) == "1969-12-31T23:59:59.999999Z"


def test_thread_is_named_unless_it_is_the_main_one() -> None:
    found: list[Entry] = []
    thread = threading.Thread(
        target=lambda: found.append(entry_of(lean("x"))), name="loader"
    )
    thread.start()
    thread.join()
    assert found[0]["thread"] == "loader"
    assert "thread" not in entry_of(lean("x"))


def test_asyncio_task_is_named() -> None:
    async def main() -> Entry:
        async def work() -> Entry:
            return entry_of(lean("x"))

        return await asyncio.create_task(work(), name="fetch")

    assert asyncio.run(main())["task"] == "fetch"


def test_exception_keeps_type_message_and_traceback(
    make_record: Callable[..., logging.LogRecord],
) -> None:
    try:
        raise json.JSONDecodeError("bad", "doc", 0)
    except ValueError:
        record = make_record("x", exc_info=sys.exc_info())
    exc = entry_of(record)["exc"]
    assert exc["type"] == "json.decoder.JSONDecodeError"
    assert exc["msg"].startswith("bad")
    assert "raise json.JSONDecodeError" in exc["traceback"]


def test_event_has_a_name_and_data() -> None:
    entry = strict(encode(event_fields("run.tags", {"a": 1, "b": math.nan})))
    assert list(entry) == ["ts", "seq", "event", "data"]
    assert entry["data"] == {"a": 1, "b": "NaN"}


# --- misfortune --------------------------------------------------------------------


def test_wrong_message_arguments_are_shown_as_they_came() -> None:
    """`logging` would print a traceback; the line is still worth keeping."""
    assert entry_of(lean("%d and %s", "x"))["msg"] == "%d and %s ('x',)"


class Evil:
    """Fails in every way an object can while it is shown."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error("evil")

    __repr__ = __str__


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError])
def test_objects_that_cannot_be_shown_do_no_harm(error: type[Exception]) -> None:
    entry = entry_of(lean(Evil(error), extra={"evil": Evil(error)}))
    assert "Evil" in entry["msg"]
    assert "Evil" in str(entry["extra"])


def test_a_record_that_logs_itself_is_stopped() -> None:
    """Nesting is allowed, but not for ever: that would take the whole stack."""
    depth = 0

    class Echo:
        def __str__(self) -> str:
            nonlocal depth
            depth += 1
            return str(fields_of(lean(self), EMPTY, None)[1]["msg"])

    message = entry_of(lean(Echo()))["msg"]
    assert "Echo object" in message
    assert depth == MAX_NESTING


def test_a_long_message_is_cut_to_head_and_tail_and_says_so() -> None:
    text = "a" * 10 + "é" * 50_000_000 + "z" * 10
    entry = entry_of(lean(text))
    assert entry["msg"].startswith("aaaaaaaaaa")
    assert entry["msg"].endswith("zzzzzzzzzz")
    assert "characters cut" in entry["msg"]
    assert entry["cut"] == 20 + 2 * 50_000_000


def test_a_secret_is_redacted_also_where_a_text_is_cut() -> None:
    secret = "hf_" + "Ab3" * 12
    half = MAX_TEXT // 2
    for at in (0, half - 5, half + 20, MAX_TEXT - 3, MAX_TEXT + half):
        text = " " * at + secret + " " * (3 * MAX_TEXT - at)
        message = entry_of(lean(text), redactor=Redactor())["msg"]
        assert "Ab3" not in message, at


def test_secrets_are_redacted_wherever_a_text_can_stand(
    make_record: Callable[..., logging.LogRecord],
) -> None:
    secret = "ghp_" + "Ab3x" * 9
    try:
        raise ValueError(f"token {secret}")
    except ValueError:
        record = make_record(
            f"with {secret}",
            exc_info=sys.exc_info(),
            password="hunter2hunter2",
            deep={"url": f"https://user:{secret}@host/"},
            metric={"note": secret},
        )
    record.stack_info = secret
    line = encode(fields_of(record, EMPTY, Redactor())[1])
    assert secret.encode() not in line
    assert b"hunter2" not in line


def test_control_characters_and_newlines_stay_inside_one_line() -> None:
    text = "a\nb\r\x00\x1b[2J\u2028\u0085 \ud800"
    entry = entry_of(lean(text, name="x\ny"))
    assert entry["msg"] == "a\nb\r\x00\x1b[2J\u2028\u0085 \ufffd"
    assert entry["logger"] == "x\ny"


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=()), max_size=8) | st.integers(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    msg=ANYTHING,
    extra=st.dictionaries(st.text(max_size=6), ANYTHING, max_size=4),
    metric=st.none() | st.dictionaries(st.text(max_size=6), ANYTHING, max_size=4),
    step=ANYTHING,
)
@pytest.mark.filterwarnings("ignore::mlog.errors.MlogWarning")
def test_every_record_becomes_one_strict_line(
    msg: Any, extra: Any, metric: Any, step: Any
) -> None:
    record = lean(msg, metric=metric, step=step, extra=extra)
    entry = entry_of(record, redactor=Redactor())
    assert set(entry) <= set(KEYS)
    for value in entry.get("metric", {}).values():
        assert isinstance(value, int | float) or value in NONFINITE
    for value in entry.get("value", {}).values():
        assert isinstance(value, str) or value["type"].startswith("mlog.")


NONFINITE = ("NaN", "Infinity", "-Infinity")


# --- the short way -----------------------------------------------------------------


@pytest.fixture
def take() -> Callable[[], int]:
    return count().__next__


def learn(metric: Any, step: Any = None) -> Entry:
    """Encode a metric by the general way, as the first call of its kind is."""
    frame = sys._getframe()
    record = LeanMetric("train", 20, metric, step, None, frame.f_code, frame.f_lasti)
    return entry_of(record)


@given(
    metric=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
        st.floats() | st.integers() | st.booleans() | st.none() | st.text(max_size=3),
        max_size=5,
    ),
    step=st.none() | st.integers() | st.floats() | st.booleans(),
)
@pytest.mark.filterwarnings("ignore::mlog.errors.MlogWarning")
def test_the_short_way_writes_what_the_general_way_writes(
    metric: dict[str, Any], step: Any
) -> None:
    """They differ in time and number only; what is not plain is left to the other."""
    errors._told.clear()
    general = learn(metric, step)
    line = metric_line("train", 20, metric, step, count(5).__next__)
    plain = all(type(v) in (int, float) and abs(v) < 2**63 for v in metric.values())
    if not line:
        finite = plain and math.isfinite(sum(metric.values()))
        assert not (finite and metric and (step is None or type(step) is int)) or (
            type(step) is int and not -(2**63) <= step < 2**63
        )
        return
    short = strict(line)
    assert short.pop("seq") == 5
    short.pop("ts"), general.pop("ts"), general.pop("seq")
    assert list(short) == list(general) or not metric
    assert short == (general if metric else {**general, "metric": {}})


def test_a_number_is_taken_only_when_the_line_is_made(
    take: Callable[[], int],
) -> None:
    learn({"loss": 0.5})
    assert metric_line("train", 20, {"loss": math.nan}, None, take) == b""
    assert metric_line("train", 20, {"loss": True}, None, take) == b""
    assert metric_line("train", 20, {"loss": 2**64}, None, take) == b""
    assert metric_line("train", 20, {"new name": 1.0}, None, take) == b""
    assert strict(metric_line("train", 20, {"loss": 1}, 3, take))["seq"] == 0


def test_numpy_scalars_are_short_too(take: Callable[[], int]) -> None:
    np = pytest.importorskip("numpy")
    learn({"loss": 0.5, "n": 1})
    metric = {"loss": np.float32(0.1), "n": np.int64(2**62)}
    short = strict(metric_line("train", 20, metric, 1, take))
    assert short["metric"] == {"loss": float(np.float32(0.1)), "n": 2**62}
    assert list(map(type, short["metric"].values())) == [float, int]
    for odd in (np.float64("nan"), np.bool_(True), np.array([1.0]), np.longdouble(1)):
        assert metric_line("train", 20, {"loss": odd}, 1, take) == b""


def test_the_short_way_names_thread_and_task(take: Callable[[], int]) -> None:
    learn({"loss": 0.5})
    found: list[Entry] = []

    async def work() -> None:
        found.append(strict(metric_line("train", 20, {"loss": 0.5}, 1, take)))

    async def main() -> None:
        await asyncio.create_task(work(), name="fetch")

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="loader")
    thread.start()
    thread.join()
    assert (found[0]["thread"], found[0]["task"]) == ("loader", "fetch")


@given(
    msg=st.text(st.characters(exclude_categories=())),
    metric=st.none() | st.just({"loss": 0.5}) | st.just({"loss": math.nan}),
    step=st.none() | st.integers(-(2**70), 2**70),
)
@pytest.mark.filterwarnings("ignore::mlog.errors.MlogWarning")
def test_the_short_way_of_texts_writes_what_the_general_way_writes(
    msg: str, metric: Any, step: Any
) -> None:
    learn({"loss": 0.5})
    errors._told.clear()
    record = lean(msg, metric=metric, step=step)
    redactor = Redactor()
    general = entry_of(record, redactor=redactor)
    line = text_line(record, step, count(5).__next__, redactor.text)
    if not line:
        return
    short = strict(line)
    assert list(short) == list(general)
    assert short == {**general, "seq": 5}


@pytest.mark.parametrize(
    ("msg", "args", "short"),
    [
        ("epoch %d of %s", (3, "ten"), True),
        ("%s", (None,), True),
        ("plain", (), True),
        ("%s", (object(),), False),
        ("%(a)s", ({"a": 1},), False),
        ("%d", ("no number",), False),
        (object(), (), False),
        ("x" * (MAX_TEXT + 1), (), False),
        ("\ud800", (), False),
        ("", (), False),
    ],
)
def test_only_texts_that_run_no_code_of_others_are_short(
    msg: Any, args: Any, short: bool, take: Callable[[], int]
) -> None:
    learn({"loss": 0.5})
    assert bool(text_line(lean(msg, *args), None, take, None)) is short
    assert take() == int(short), "a number is taken only for a line"


# --- entries that are too long -----------------------------------------------------


def test_a_million_metrics_are_split_and_none_is_lost() -> None:
    metric = {f"m{i}": float(i) for i in range(1_000_000)}
    _, entry = fields_of(lean(metric=metric, step=1), EMPTY, None)
    todo, found = [entry], {}
    while todo:
        part = todo.pop()
        if len(encode(part)) > MAX_LINE:
            todo.extend(halves(part))
        else:
            assert part["step"] == 1
            found.update(part["metric"])
    assert found == metric


@given(st.integers(2, 50))
def test_halves_lose_nothing(size: int) -> None:
    entry = {"seq": 0, "metric": {f"m{i}": i for i in range(size)}, "value": {"s": "x"}}
    names: list[str] = []
    for half in halves(entry):
        names += [*half.get("metric", ()), *half.get("value", ())]
    assert sorted(names) == sorted([*(f"m{i}" for i in range(size)), "s"])


@pytest.mark.parametrize(
    "extra",
    [
        {"one": "x" * 10_000_000},
        {f"k{i}": "v" * 100 for i in range(100_000)},
        {"deep": {f"k{i}": list(range(50)) for i in range(5_000)}},
        {f"k{i}": {"a": "x" * 1_000, "b": [1.5] * 50} for i in range(9_000)},
        {"t": ["é" * 40_000 for _ in range(40)]},
    ],
    ids=["one text", "many keys", "many lists", "nested", "long list"],
)
def test_what_cannot_be_split_is_cut_until_it_fits(extra: Any) -> None:
    entry = fields_of(lean("x" * MAX_TEXT, extra=extra), EMPTY, None)[1]
    size = len(encode(entry))
    if size <= MAX_LINE:
        return
    short = shrink(entry, size)
    line = encode(short)
    assert len(line) <= MAX_LINE
    assert strict(line)["cut"] == size


def test_orjson_and_json_read_an_entry_alike() -> None:
    _, entry = fields_of(lean("x", extra={"a": [1, 2.5, "é"]}), EMPTY, None)
    line = encode(entry)
    assert orjson.loads(line) == strict(line)


@pytest.mark.parametrize(
    ("line", "seq"),
    [
        (b'{"ts":"a","seq":5,"extra":{"ts":"b","seq":77}}\n', 5),
        (b'{"ts":"a","seq":5,"ex{"ts":"a","seq":6,"x":1}\n', 6),
        (b'{"ts":"a","seq":5,"ex{"ts":"a","seq":6,"extra":{"ts":"b","seq":77}}\n', 6),
        (b'{"ts":"a","seq":5\n', None),
        (b"[1]\n", None),
        (b"\n", None),
    ],
)
def test_the_whole_entry_of_a_line_is_found(line: bytes, seq: int | None) -> None:
    """A field of the user's may look like the head of an entry."""
    entry = salvage(line)
    assert (entry["seq"] if entry else None) == seq
