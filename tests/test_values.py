"""What callers log as metrics and steps, and what the file format makes of it."""

import collections
import datetime
import fractions
import math
import pathlib
import sys
import types
import uuid
import warnings
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog import values as values_module
from mlog.errors import MlogWarning
from mlog.plain import MAX_DEPTH, MAX_LIST, MAX_TEXT
from mlog.values import MAX_NAME, split_metric, step_of
from tests.odd_values import (
    EVIL,
    INF,
    KEYS,
    NAN,
    TREES,
    Color,
    Endless,
    EndlessItems,
    FakeEagerTensor,
    FakeTensor,
    Loss,
    Mode,
    NoItem,
    NoItems,
    NoText,
    Point,
    Size,
    Text,
    nested,
    strict,
    with_cycle,
    with_stack,
)


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may be told again."""
    monkeypatch.setattr("mlog.errors._told", {})


def split(metric: Any) -> tuple[Any, Any]:
    """Split, encode and read back; a warning is no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        numbers, values = split_metric(metric)
    return strict(numbers), strict(values)


def numbers_of(metric: Any) -> Any:
    """Return the numbers of a metric that holds nothing else."""
    numbers, values = split_metric(metric)
    assert values == {}
    return strict(numbers)


def described(value: Any) -> str:
    """Return the text kept of a value without a JSON form."""
    numbers, values = split({"x": value})
    assert numbers == {}
    assert values["x"]["type"] == "mlog.repr"
    text = values["x"]["value"]
    assert isinstance(text, str)
    return text


# --- metrics: numbers --------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip(number: float) -> None:
    """A finite float is written so that the same float is read."""
    (found,) = numbers_of({"x": number}).values()
    assert found == number
    assert math.copysign(1, found) == math.copysign(1, number)


@given(st.one_of(st.integers(), st.integers(-(2**1000), 2**1000)))
def test_integers_are_exact(number: int) -> None:
    """Also integers beyond 64 bits, which the encoder alone would refuse."""
    assert numbers_of({"x": number}) == {"x": number}


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
def test_integers_around_64_bits_are_exact(number: int) -> None:
    """The places where the encoder changes its ways."""
    assert numbers_of({"x": number}) == {"x": number}


def test_integer_beyond_a_double_becomes_text() -> None:
    """`MAP(VARCHAR, DOUBLE)` has to read every line; the digits are kept as text."""
    limit = int(sys.float_info.max)
    assert numbers_of({"x": limit}) == {"x": limit}
    assert described(10**400) == str(10**400)


def test_integer_too_long_for_python_is_bounded() -> None:
    """Beyond the digit limit of `str` it is hexadecimal, and cut."""
    text = described(10**6000)
    assert text.startswith("0x")
    assert len(text) < 2_100


@pytest.mark.parametrize(
    ("number", "word"), [(NAN, "NaN"), (INF, "Infinity"), (-INF, "-Infinity")]
)
def test_nonfinite_floats_become_words(number: float, word: str) -> None:
    """JSON has no NaN and no infinities (RFC 8259, section 6)."""
    assert numbers_of({"x": number}) == {"x": word}
    assert numbers_of({"x": Decimal(number)}) == {"x": word}


def test_booleans_become_one_and_zero() -> None:
    """A metric is a number."""
    found = numbers_of({"yes": True, "no": False})
    assert found == {"yes": 1, "no": 0}
    assert [type(number) for number in found.values()] == [int, int]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (Decimal("0.1"), 0.1),
        (Decimal(2**70), 2**70),
        (Decimal("sNaN"), "NaN"),
        (fractions.Fraction(1, 4), 0.25),
        (fractions.Fraction(2**70), 2**70),
        (datetime.timedelta(minutes=1.5), 90.0),
        (Color.RED, 3),
        (Size.BIG, 7),
    ],
)
def test_other_numbers_become_plain(number: object, expected: object) -> None:
    """Decimal and Fraction as float, whole ones exact; an Enum as its value."""
    assert numbers_of({"x": number}) == {"x": expected}


@pytest.mark.parametrize(
    "number",
    [Decimal("1e999999"), fractions.Fraction(10**400, 3), Decimal(10**400) / 3],
)
def test_numbers_too_large_for_a_float_are_not_made_infinite(number: Any) -> None:
    """Infinity would be a lie."""
    assert described(number)


def test_complex_number_is_described() -> None:
    """It is no point on a curve."""
    assert described(1 + 2j) == "(1+2j)"


def test_plain_metric_is_copied() -> None:
    """What the caller changes later changes nothing that was logged."""
    metric = {"loss": 0.5, "n": 3}
    numbers, values = split_metric(metric)
    metric["loss"] = 0.0
    assert (numbers, values) == ({"loss": 0.5, "n": 3}, {})


# --- metrics: text and lists -------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("fast", "fast"),
        (Text("fast"), "fast"),
        (Mode.FAST, "fast"),
        (Color.NAME, "red"),
        (datetime.date(2026, 11, 23), "2026-11-23"),
        (
            datetime.datetime(2026, 11, 23, 18, 27, tzinfo=datetime.UTC),
            "2026-11-23T18:27:00+00:00",
        ),
        (pathlib.PurePosixPath("/data/x"), "/data/x"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_text_is_a_value(value: object, text: str) -> None:
    """Strings, dates, paths and UUIDs are kept as text, without a warning."""
    assert split_metric({"x": value}) == ({}, {"x": text})


def test_long_text_keeps_head_and_tail() -> None:
    """One string cannot fill an entry."""
    with pytest.warns(MlogWarning, match="a text of 524,288 characters is too long"):
        _, values = split_metric({"x": "a" * MAX_TEXT + "b" * MAX_TEXT})
    kept = values["x"]
    half = MAX_TEXT // 2 - 25
    assert kept == "a" * half + f"…[{MAX_TEXT + 50} characters cut]…" + "b" * half
    assert split_metric({"x": kept})[1] == values  # it is not cut again


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ([1, 2.5, True], [1, 2.5, 1]),
        ((1, NAN, -INF), [1, "NaN", "-Infinity"]),
        (range(3), [0, 1, 2]),
        ([], []),
        (collections.deque([1.0], maxlen=5), [1.0]),
        ([2**70, Decimal("0.5"), Color.RED], [2**70, 0.5, 3]),
        (Color.SHAPE, [1, 2]),
        ([FakeTensor(0.5), FakeTensor(2, (1,))], [0.5, 2]),
    ],
)
def test_short_list_of_numbers_is_an_mlog_list(value: Any, items: list[Any]) -> None:
    """0 to 1,000 numbers in a row, each by the rules for one number."""
    numbers, values = split_metric({"x": value})
    assert numbers == {}
    assert strict(values) == {"x": {"type": "mlog.list", "values": items}}


def test_list_of_the_greatest_length_is_kept_and_a_longer_one_described() -> None:
    """1,000 numbers are a list; of 1,001 the text says how many there were."""
    _, values = split({"x": [0.5] * MAX_LIST})
    assert len(values["x"]["values"]) == MAX_LIST
    assert described([0.5] * (MAX_LIST + 1)).startswith("list of 1001 items: [0.5, ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (b"abc", "b'abc'"),
        ({3, 1, 2}, "{1, 2, 3}"),
        ([1, "a"], "[1, 'a']"),
        (ValueError("bad"), "ValueError: bad"),
        (float, "<class 'float'>"),
        (range(10**40), f"range(0, {10**40})"),
    ],
)
def test_anything_else_is_described(value: object, text: str) -> None:
    """What is no metric is not lost: its text is kept."""
    assert described(value) == text


def test_description_is_bounded() -> None:
    """A hundred megabytes of bytes or a huge set are not spelt out."""
    assert len(described(b"x" * 10_000_000)) < 1_000
    assert described(set(range(100_000))) == "set of 100000 items"
    assert len(described(types.SimpleNamespace(a="x" * 100_000))) < 2_100


def test_a_class_is_warned_about_once() -> None:
    """One warning per class of value, not one per line."""
    with pytest.warns(MlogWarning, match="metric 'a': .* this set") as told:
        split_metric({"a": {1}, "b": {2}})
    split_metric({"c": {3}})
    assert len(told) == 1
    with pytest.warns(MlogWarning, match="this NoneType"):
        split_metric({"a": None})


def test_typed_object_stays_as_it_is() -> None:
    """A table is not taken apart into metrics."""
    table = {"type": "mlog.table", "columns": {"a": [1, NAN], "b": ["x", None]}}
    _, values = split_metric({"t": table})
    columns = {"a": [1, "NaN"], "b": ["x", None]}
    assert strict(values) == {"t": {"type": "mlog.table", "columns": columns}}


def test_other_mapping_with_a_type_is_flattened() -> None:
    """Only the prefix `mlog.` makes an object of the format."""
    metric = {"t": {"type": "adam", "lr": 0.1}}
    assert split_metric(metric) == ({"t/lr": 0.1}, {"t/type": "adam"})


# --- metrics: names ----------------------------------------------------------------


def test_nested_mappings_flatten_with_slashes() -> None:
    """Mappings of any class, dataclasses and namedtuples."""
    metric = {
        "train": {"loss": 1.0, "top": {5: 0.9}},
        "proxy": types.MappingProxyType({"a": 1}),
        "user": collections.UserDict({"a": 2}),
        "data": Loss(3.0, {"l2": 0.5}),
        "point": Point(1.0, 2.0),
        "empty": {},
    }
    assert numbers_of(metric) == {
        "train/loss": 1.0,
        "train/top/5": 0.9,
        "proxy/a": 1,
        "user/a": 2,
        "data/total": 3.0,
        "data/parts/l2": 0.5,
        "point/x": 1.0,
        "point/y": 2.0,
    }


def test_field_that_was_never_set_does_not_hide_the_others() -> None:
    """The dataclass is half built; what it has is kept."""
    half = Loss.__new__(Loss)
    half.total = 1.0
    numbers, values = split({"l": half})
    assert numbers == {"l/total": 1.0}
    assert values == {"l/parts": "<AttributeError>"}


def test_names_that_become_equal_are_all_kept() -> None:
    """Nothing is lost: later ones are numbered, across numbers and texts."""
    metric = {"1": 1.0, 1: 2.0, "a/b": 3.0, "a": {"b": "text"}, "1~2": 4.0}
    numbers, values = split_metric(metric)
    assert numbers == {"1": 1.0, "1~2": 2.0, "a/b": 3.0, "1~2~2": 4.0}
    assert values == {"a/b~2": "text"}


def test_name_of_another_class_becomes_text() -> None:
    """Names are strings in JSON; a `str` subclass is not one to the encoder."""
    found = numbers_of({Text("a"): 1, 2: 2, None: 3, ("x", 1): 4, Mode.FAST: 5})
    assert found == {"a": 1, "2": 2, "None": 3, "('x', 1)": 4, "fast": 5}


def test_empty_name_becomes_an_underscore() -> None:
    """The format wants at least one byte."""
    with pytest.warns(MlogWarning, match="empty name"):
        assert split_metric({"": 1.0}) == ({"_": 1.0}, {})


@pytest.mark.parametrize("char", ["a", "é", "€", "😀", "\ud800"])
def test_long_name_is_cut_between_characters(char: str) -> None:
    """At most 256 bytes of UTF-8, and two long ones stay two."""
    with pytest.warns(MlogWarning, match="256 bytes"):
        numbers, _ = split_metric({char * 300: 1, char * 301: 2, "b" + char * 300: 3})
    assert sorted(strict(numbers).values()) == [1, 2, 3]
    for name in numbers:
        assert 250 < len(name.encode()) <= MAX_NAME


def test_name_of_the_greatest_length_is_kept() -> None:
    """256 bytes are allowed."""
    assert numbers_of({"é" * 128: 1}) == {"é" * 128: 1}


def test_name_with_lone_surrogate_is_cleaned() -> None:
    """UTF-8 cannot hold it."""
    assert numbers_of({"a\udcff": 1}) == {"a\ufffd": 1}


# --- metrics: arrays ---------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("value", [0.1, 3, True])
def test_tensor_scalar_becomes_a_number(shape: tuple[int, ...], value: float) -> None:
    """Through `.item()`, for 0-d tensors and those of shape (1,) (fake tensor)."""
    assert numbers_of({"x": FakeTensor(value, shape)}) == {"x": value}
    assert numbers_of({"x": FakeEagerTensor(value, shape)}) == {"x": value}


def test_short_tensor_becomes_a_list() -> None:
    """Through `.tolist()` (fake tensor)."""
    expected = {"type": "mlog.list", "values": [1.0, "NaN"]}
    for fake in (FakeTensor, FakeEagerTensor):
        _, values = split_metric({"x": fake([1.0, NAN], (2,))})
        assert values == {"x": expected}


@pytest.mark.parametrize("shape", [(1_001,), (2, 2), (1, 1), (10**9,)])
def test_large_tensor_is_described_without_reading_it(shape: tuple[int, ...]) -> None:
    """Class, shape and dtype; no element is asked for (fake tensor)."""
    tensor = FakeTensor(None, shape)
    assert described(tensor) == f"FakeTensor shape={shape} dtype=torch.float32"
    assert tensor.synced == 0


def test_numpy_scalars_become_plain_numbers() -> None:
    """Every kind of number that NumPy has."""
    np = pytest.importorskip("numpy")
    metric = {
        "f16": np.float16(0.5),
        "f32": np.float32(0.1),
        "f64": np.float64(0.1),
        "long": np.longdouble(0.5),
        "i8": np.int8(-3),
        "u64": np.uint64(2**64 - 1),
        "bool": np.bool_(True),
        "0d": np.array(0.25),
        "1": np.array([4]),
        "nan": np.float32(NAN),
        "inf": np.float64(-INF),
    }
    assert numbers_of(metric) == {
        "f16": 0.5,
        "f32": float(np.float32(0.1)),
        "f64": 0.1,
        "long": 0.5,
        "i8": -3,
        "u64": 2**64 - 1,
        "bool": 1,
        "0d": 0.25,
        "1": 4,
        "nan": "NaN",
        "inf": "-Infinity",
    }


def test_numpy_arrays() -> None:
    """One dimension and up to 1,000 numbers: a list; else a summary."""
    np = pytest.importorskip("numpy")
    _, values = split({"x": np.array([1.5, NAN]), "none": np.zeros(0)})
    assert values["x"] == {"type": "mlog.list", "values": [1.5, "NaN"]}
    assert values["none"] == {"type": "mlog.list", "values": []}
    assert described(np.zeros((2, 3))) == "ndarray shape=(2, 3) dtype=float64"
    assert described(np.zeros(1_001)) == "ndarray shape=(1001,) dtype=float64"
    assert described(np.array(["a", "b"])).startswith("ndarray shape=(2,)")


def test_numpy_odd_scalars() -> None:
    """Text and time as text; what is masked out is not the number 0."""
    np = pytest.importorskip("numpy")
    day = np.datetime64("2026-11-23T00:00:00", "ns")
    _, values = split({"s": np.array("a"), "d": day, "a": np.array([day])})
    assert values["s"] == "a"
    assert values["d"] == values["a"] == "2026-11-23T00:00:00.000000000"
    assert described(np.complex128(1 + 2j)) == "(1+2j)"
    assert described(np.ma.masked).startswith("MaskedConstant")
    assert described(np.float32) == "<class 'numpy.float32'>"


# --- metrics: what goes wrong ------------------------------------------------------


@pytest.mark.parametrize("evil", EVIL)
def test_evil_value_costs_only_itself(evil: type) -> None:
    """Whatever a class does, the other metrics of the call are kept."""
    numbers, values = split({"a": 1.0, "evil": evil(), "list": [evil()], "z": 2.0})
    assert numbers["a"] == 1.0
    assert numbers["z"] == 2.0
    assert any(name.startswith("evil") for name in {**numbers, **values})
    assert values["list"]["type"] == "mlog.repr"


def test_description_names_the_class_where_its_text_fails() -> None:
    """Something to search for is always left."""
    assert described(NoText()) == "<NoText: repr() failed: KeyError>"
    assert described(Endless()) == "<Endless: repr() failed: RecursionError>"
    assert described(NoItem()) == "NoItem shape=() dtype=unknown"


@pytest.mark.parametrize("metric", [NoItems(), None, 3, "loss", ["a"], NoText()])
def test_metric_that_is_no_mapping_is_described(metric: Any) -> None:
    """Promise 1: never in the way, also with a wrong argument."""
    numbers, values = split(metric)
    assert numbers == {}
    assert values["_"]["type"] == "mlog.repr"


def test_cycle_is_told() -> None:
    """A mapping in itself ends there; the same mapping twice is no cycle."""
    inner: dict[str, Any] = {"b": 1.0}
    inner["self"] = inner
    numbers, values = split({"x": inner, "y": inner})
    assert numbers == {"x/b": 1.0, "y/b": 1.0}
    assert values["x/self"] == {"type": "mlog.repr", "value": "<cycle>"}


def test_depth_is_bounded() -> None:
    """32 levels flatten, deeper ones are described."""
    deep = nested(MAX_DEPTH + 1, lambda v: {"a": v})
    assert numbers_of(deep) == {"/".join("a" * (MAX_DEPTH + 1)): 1.0}
    numbers, values = split(nested(10_000, lambda v: {"a": v}))
    assert numbers == {}
    assert len(values) == 1
    assert described(nested(10_000, lambda v: [v])) == "[[[[...]]]]"


def test_mapping_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So are mappings in each other whose names multiply."""
    monkeypatch.setattr(values_module, "_MAX_NESTED", 100)
    assert len(split({"x": EndlessItems()})[0]) == 100
    twice: Any = 1.0
    for _ in range(30):
        twice = {"l": twice, "r": twice}
    numbers, values = split({"l": twice, "z": 1.0})
    assert numbers["z"] == 1.0
    assert len(numbers) + len(values) < 300
    assert values["l/…"]["value"] == "<more names left out>"
    assert len(split(EndlessItems())[0]) == 100


def test_all_metrics_of_a_large_flat_mapping_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is for what nesting multiplies, not for what the caller holds."""
    monkeypatch.setattr(values_module, "_MAX_NESTED", 100)
    metric = {str(n): Decimal(n) for n in range(1_000)}
    assert len(numbers_of(metric)) == 1_000


def test_little_stack_left_is_no_reason_to_raise() -> None:
    """A program deep in its own recursion can still log."""
    deep = {"a": {"b": {"c": [NoText()]}}, "d": Decimal(1)}
    split(deep)  # whatever is imported or cached late is there now
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        results = [
            with_stack(left, lambda: split_metric(deep)) for left in range(12, 60, 4)
        ]
    for numbers, values in results:
        strict([numbers, values])


def test_keyboard_interrupt_passes() -> None:
    """Ctrl-C is not a bad value."""

    class Interrupts:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        split_metric({"x": Interrupts()})


def test_mock_is_described() -> None:
    """A mock says yes to every question."""
    assert described(pytest.importorskip("unittest.mock").MagicMock(name="m"))


# --- steps -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0),
        (-5, -5),
        (3.0, 3),
        (2**63 - 1, 2**63 - 1),
        (Size.BIG, 7),
        (FakeTensor(4), 4),
        (FakeTensor(4.0, (1,)), 4),
    ],
)
def test_step_is_an_integer(step: object, expected: int) -> None:
    """Integers, floats with an integer value, and arrays with one such item."""
    found = step_of(step)
    assert found == expected
    assert type(found) is int


def test_numpy_integer_is_a_step() -> None:
    """A counter out of an array counts as well."""
    np = pytest.importorskip("numpy")
    assert step_of(np.int64(5)) == step_of(np.array([5])) == step_of(np.float32(5)) == 5


def test_no_step_is_none_without_a_word() -> None:
    """Leaving the step out is no mistake."""
    assert step_of(None) is None


@pytest.mark.parametrize(
    "step",
    [True, 0.5, NAN, INF, "3", 2**63, 1e300, [1], FakeTensor([1, 2], (2,)), NoItem()],
)
def test_wrong_step_is_dropped_with_one_warning(step: object) -> None:
    """Also a step beyond 64 bits, which no reader's BIGINT holds."""
    with pytest.warns(MlogWarning, match="step must be an integer") as told:
        assert step_of(step) is None
    assert step_of(step) is None
    assert len(told) == 1


@pytest.mark.parametrize("evil", EVIL)
def test_evil_step_is_dropped(evil: type) -> None:
    """Never raises."""
    with pytest.warns(MlogWarning):
        assert step_of(evil()) is None


# --- whatever is passed ------------------------------------------------------------


@settings(deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_any_metric_becomes_strict_json(metric: dict[Any, Any]) -> None:
    """Numbers are numbers or one of three words; values are texts or typed objects."""
    numbers, values = split({**metric, "ring": with_cycle(metric)})
    for name, number in numbers.items():
        assert 1 <= len(name.encode()) <= MAX_NAME
        assert type(number) in (int, float) or number in (
            "NaN",
            "Infinity",
            "-Infinity",
        )
        assert math.isfinite(float(number)) or type(number) is str
    for name, value in values.items():
        assert 1 <= len(name.encode()) <= MAX_NAME
        assert type(value) is str or value["type"].startswith("mlog.")
    assert not numbers.keys() & values.keys()
