"""What callers pass, and what the file format makes of it."""

import argparse
import collections
import dataclasses
import datetime
import enum
import fractions
import inspect
import json
import math
import pathlib
import sys
import types
import typing
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog import values as values_module
from mlog.errors import MlogWarning
from mlog.values import (
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_LIST,
    MAX_NAME,
    MAX_TEXT,
    clean_text,
    cut_text,
    safe_str,
    split_metric,
    step_of,
    to_json,
)

NAN, INF = math.nan, math.inf


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may be told again."""
    monkeypatch.setattr("mlog.errors._told", {})


def strict(ready: Any) -> Any:
    """Encode as the writer does and read with a parser that refuses NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(orjson.dumps(ready), parse_constant=refuse)


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


# --- objects that people pass, some of them by mistake -----------------------------


class Color(enum.Enum):
    """Values of several kinds."""

    RED = 3
    NAME = "red"
    SHAPE = (1, 2)


class Size(enum.IntEnum):
    """Members are integers."""

    BIG = 7


class Mode(enum.StrEnum):
    """Members are strings."""

    FAST = "fast"


class Point(typing.NamedTuple):
    """A namedtuple."""

    x: float
    y: float


@dataclasses.dataclass
class Loss:
    """A dataclass with a mapping in it."""

    total: float
    parts: dict[str, float]


class Text(str):
    """A string of another class."""


class FakeTensor:
    """Fake of a torch tensor: only what duck typing looks at."""

    def __init__(self, value: Any, shape: tuple[int, ...] = ()) -> None:
        self.value = value
        self.shape = shape
        self.dtype = "torch.float32"
        self.synced = 0

    def item(self) -> Any:
        self.synced += 1
        if math.prod(self.shape) != 1:
            raise RuntimeError("a Tensor with many elements has no item")
        return self.value

    def tolist(self) -> Any:
        self.synced += 1
        return self.value

    def __repr__(self) -> str:
        self.synced += 1
        return "tensor(...)"


class FakeEagerTensor:
    """Fake of a TensorFlow tensor, which has `.numpy()` and no `.item()`."""

    dtype = "tf.float32"

    def __init__(self, value: Any, shape: tuple[int, ...] = ()) -> None:
        self.shape = shape
        self._value = value

    def numpy(self) -> FakeTensor:
        return FakeTensor(self._value, self.shape)


class NoText:
    """Neither `str` nor `repr` work."""

    def __str__(self) -> str:
        raise ValueError("no str")

    def __repr__(self) -> str:
        raise KeyError("no repr")


class Endless:
    """Its text asks for its text."""

    def __repr__(self) -> str:
        return repr(self)


class NoItem:
    """An array on a device that was lost."""

    shape = ()

    def item(self) -> float:
        raise RuntimeError("device lost")


class EndlessItem:
    """Its item is one more of its kind."""

    shape = ()

    def item(self) -> "EndlessItem":
        return EndlessItem()


class LyingClass:
    """Even `isinstance` fails with it."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class NoItems(Mapping[str, float]):
    """A mapping that cannot be walked through."""

    def __getitem__(self, key: str) -> float:
        return 1.0

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise OSError("gone")


class EndlessItems(NoItems):
    """A mapping that never ends."""

    def __iter__(self) -> Iterator[str]:
        n = 0
        while True:
            n += 1
            yield str(n)


class NoHash:
    """Not equal to anything, and says so loudly."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


EVIL = [
    NoText,
    Endless,
    NoItem,
    EndlessItem,
    LyingClass,
    NoItems,
    EndlessItems,
    NoHash,
]


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
    _, values = split_metric({"x": "a" * MAX_TEXT + "b" * MAX_TEXT})
    half = MAX_TEXT // 2
    note = f"…[{MAX_TEXT} characters cut]…"
    assert values["x"] == "a" * half + note + "b" * half


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


def nested(depth: int, wrap: Any) -> Any:
    """Return 1.0 within `depth` containers."""
    value: Any = 1.0
    for _ in range(depth):
        value = wrap(value)
    return value


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        split_metric(deep)  # whatever is imported or cached late is there now
        to_json(deep)
        results = [_with_stack(left, deep) for left in range(12, 60, 4)]
    for numbers, values, ready in results:
        strict([numbers, values, ready])


def _with_stack(left: int, value: Any) -> tuple[Any, Any, Any]:
    """Convert with about `left` calls to go."""
    depth = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + left)
    try:
        numbers, values = split_metric(value)
        return numbers, values, to_json(value)
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("convert", [lambda v: split_metric({"x": v}), to_json])
def test_keyboard_interrupt_passes(convert: Any) -> None:
    """Ctrl-C is not a bad value."""

    class Interrupts:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(Interrupts())


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


# --- text --------------------------------------------------------------------------


@given(st.text())
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    """Not even copied."""
    assert clean_text(text) is text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\ud800", "\ufffd"),
        ("a\udcffb", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("é\ud800€😀", "é\ufffd€😀"),
        ("\ud83d\ude00", "😀"),
        ("\ufeffx\ud800", "\ufeffx\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced(text: str, clean: str) -> None:
    """By U+FFFD; a pair is the character that it means."""
    assert clean_text(text) == clean


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.integers(-1, 40))
def test_cut_keeps_head_tail_and_size(text: str, limit: int) -> None:
    """`limit` characters of the text are kept, and the size of the whole."""
    short, size = cut_text(text, limit)
    if len(text) <= limit or not text:
        assert (short, size) == (text, None)
        return
    kept = max(limit, 0)
    head, tail = kept - kept // 2, kept // 2
    note = f"…[{len(text) - kept} characters cut]…"
    assert short == text[:head] + note + text[len(text) - tail :]
    assert size == len(text.encode("utf-8", "surrogatepass"))


def test_size_of_a_long_text_is_counted_in_pieces() -> None:
    """More than one piece of a text that is not ASCII."""
    _, size = cut_text("é" * 1_500_000)
    assert size == 3_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        (Text("a"), "a"),
        (Endless(), "<Endless: str() failed: RecursionError>"),
        (NoText(), "<NoText: str() failed: ValueError>"),
    ],
)
def test_safe_str_always_has_a_text(value: object, text: str) -> None:
    """A plain string, whatever the object does."""
    found = safe_str(value)
    assert found == text
    assert type(found) is str


def test_safe_str_of_an_endless_integer() -> None:
    """Python refuses to write more than 4,300 digits."""
    assert safe_str(10**5000) == "<int: str() failed: ValueError>"


def test_safe_str_falls_back_to_repr() -> None:
    """A class with a broken `__str__` often has a good `__repr__`."""

    class Half:
        def __str__(self) -> str:
            return 3  # type: ignore[return-value]

        def __repr__(self) -> str:
            return "Half()"

    assert safe_str(Half()) == "Half()"


# --- other fields ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**70, 2**70),
        (0.1, 0.1),
        (NAN, "NaN"),
        (-INF, "-Infinity"),
        ("a\ud800", "a\ufffd"),
        (Text("a"), "a"),
        ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
        ({1: "a", "1": "b"}, {"1": "a", "1~2": "b"}),
        ((1, [2]), [1, [2]]),
        (range(2), [0, 1]),
        (collections.deque([1]), [1]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset([2, 1]), [1, 2]),
        (Loss(1.0, {"a": NAN}), {"total": 1.0, "parts": {"a": "NaN"}}),
        (Point(1.0, 2.0), {"x": 1.0, "y": 2.0}),
        (Color.SHAPE, [1, 2]),
        (Size.BIG, 7),
        (Mode.FAST, "fast"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(1, 2), "01:02:00"),
        (datetime.timedelta(seconds=1.5), 1.5),
        (Decimal("0.5"), 0.5),
        (Decimal("0.1"), "0.1"),
        (Decimal(2**70), 2**70),
        (Decimal("NaN"), "NaN"),
        (Decimal("1e999"), "1E+999"),
        (fractions.Fraction(1, 3), "1/3"),
        (fractions.Fraction(1, 2), 0.5),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/x"), "/x"),
        (b"caf\xc3\xa9\n", "café\n"),
        (ValueError("bad"), "ValueError: bad"),
        (KeyError(), "KeyError"),
        (FakeTensor(0.5), 0.5),
        (FakeTensor([[1.0, NAN]], (1, 2)), [[1.0, "NaN"]]),
        (FakeEagerTensor(3), 3),
    ],
)
def test_faithful_form(value: object, expected: object) -> None:
    """What has a JSON form of its own gets that one."""
    found = strict(to_json(value))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\xff\x00", "b'\\xff\\x00'"),
        (1 + 2j, "(1+2j)"),
        (argparse.Namespace(lr=0.1), "Namespace(lr=0.1)"),
        (10**400, str(10**400)),
        (int, "<class 'int'>"),
        (FakeTensor(None, (10**6,)), "FakeTensor shape=(1000000,) dtype=torch.float32"),
        (NoText(), "<NoText: repr() failed: KeyError>"),
    ],
)
def test_no_faithful_form(value: object, text: str) -> None:
    """Everything else is a typed description, and no warning: extras are free."""
    assert to_json(value) == {"type": "mlog.repr", "value": text}


def test_numpy_in_other_fields() -> None:
    """Scalars as numbers, small arrays as lists, large ones as a summary."""
    np = pytest.importorskip("numpy")
    found = to_json(
        {
            "f": np.float32(0.5),
            "b": np.bool_(True),
            "a": np.array([[1.0, NAN], [2.0, 3.0]]),
            "one": np.array([1]),
            "t": np.array(["2026-01-01"], dtype="datetime64[ns]"),
            "row": np.array([(1, 2.0)], dtype="i4,f8")[0],
        }
    )
    assert found == {
        "f": 0.5,
        "b": True,
        "a": [[1.0, "NaN"], [2.0, 3.0]],
        "one": [1],
        "t": ["2026-01-01T00:00:00.000000000"],
        "row": [1, 2.0],
    }
    text = "ndarray shape=(1001,) dtype=int8"
    assert to_json(np.zeros(1_001, "i1")) == {"type": "mlog.repr", "value": text}


def test_typed_object_passes() -> None:
    """What is ready stays as it is."""
    ready = {"type": "mlog.histogram", "edges": [0.0, 1.0], "counts": [3]}
    assert to_json(ready) == ready


def test_foreign_json_is_not_trusted() -> None:
    """A fragment of unknown bytes could hold a bare NaN."""
    assert strict(to_json(orjson.Fragment(b"NaN")))["type"] == "mlog.repr"


def test_cycles_and_depth_are_told() -> None:
    """Both end with a word in the place of the value."""
    ring: list[Any] = [1]
    ring.append({"ring": ring})
    assert to_json(ring) == [1, {"ring": "<cycle>"}]
    assert to_json([ring[:1], ring[:1]]) == [[1], [1]]
    wraps: list[Callable[[Any], Any]] = [lambda v: [v], lambda v: {"a": v}]
    for wrap in wraps:
        text = orjson.dumps(to_json(nested(10_000, wrap))).decode()
        assert "<too deep>" in text
        assert max(text.count("["), text.count("{")) == MAX_DEPTH


@pytest.mark.parametrize("count", [MAX_ITEMS, MAX_ITEMS + 1, 1_000_000])
def test_large_containers_are_cut(count: int) -> None:
    """An ellipsis says how many items are not there."""
    cut, left = count > MAX_ITEMS, f"… {count - MAX_ITEMS} items left out"
    mapping = to_json(dict.fromkeys(range(count), 1))
    assert len(mapping) == MAX_ITEMS + cut
    assert mapping.get("…") == (left if cut else None)
    for items in (to_json(range(count)), to_json(set(range(count)))):
        assert len(items) == MAX_ITEMS + cut
        assert (items[-1] == left) is cut


def test_key_that_looks_like_the_ellipsis_is_kept() -> None:
    """The note makes way for the caller's own key."""
    found = to_json({"…": "mine"} | {str(n): n for n in range(MAX_ITEMS)})
    assert found["…"] == "mine"
    assert found["…~2"] == "… 1 items left out"


def test_keys_that_become_equal_are_all_kept() -> None:
    """Also ten thousand of them, in a moment."""

    class Same:
        def __str__(self) -> str:
            return "same"

    found = to_json({Same(): n for n in range(MAX_ITEMS)})
    assert sorted(found.values()) == list(range(MAX_ITEMS))


def test_whole_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where few objects stand for many, and where texts are long."""
    monkeypatch.setattr(values_module, "_MAX_SIZE", 100_000)
    bomb: Any = 1.0
    for _ in range(30):
        bomb = [bomb] * 1_000
    for value in (bomb, ["x" * 10_000] * 5_000, {n: object() for n in range(9_999)}):
        text = orjson.dumps(to_json(value)).decode()
        assert len(text) < 400_000
        assert "items left out" in text


@pytest.mark.parametrize("evil", EVIL)
def test_evil_field_costs_only_itself(evil: type) -> None:
    """Its neighbours are kept, alone and in any container."""
    for value in (evil(), [evil()], Loss(evil(), {"a": evil()})):
        assert strict(to_json({"a": 1, "evil": value, "z": 2})).items() >= {
            ("a", 1),
            ("z", 2),
        }


def test_evil_key_has_a_name() -> None:
    """Keys are code of others, too."""

    class Key(NoText):
        pass

    assert to_json({Key(): 1}) == {"<Key: str() failed: ValueError>": 1}


def test_mock_is_not_taken_for_an_array() -> None:
    """A mock says yes to every question."""
    mock = pytest.importorskip("unittest.mock").MagicMock(name="m")
    assert to_json(mock)["type"] == "mlog.repr"
    assert described(mock)


# --- whatever is passed ------------------------------------------------------------

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**1100), 2**1100),
    st.floats(),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    ANY_TEXT,
    st.binary(max_size=20),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([Color.RED, Color.SHAPE, Size.BIG, Mode.FAST, ValueError("x")]),
    st.sampled_from([NoText, Endless, NoItem, EndlessItem, NoItems, NoHash]).map(
        lambda evil: evil()
    ),
    st.floats().map(FakeTensor),
    st.lists(st.floats(), min_size=2).map(lambda v: FakeTensor(v, (len(v),))),
)
KEYS = st.one_of(ANY_TEXT, st.integers(), st.floats(), st.none(), st.booleans())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5),
        st.tuples(inner, inner),
        st.lists(inner, max_size=3).map(collections.deque),
        st.tuples(inner, inner).map(lambda pair: Loss(*pair)),
        st.tuples(inner, inner).map(lambda pair: Point(*pair)),
    ),
    max_leaves=15,
)


def with_cycle(tree: Any) -> Any:
    """Return a list of the tree and, within it, the list itself."""
    ring = [tree, {"ring": None}]
    ring[1]["ring"] = ring
    return ring


@settings(deadline=None)
@given(TREES)
def test_any_object_becomes_strict_json(tree: Any) -> None:
    """Whatever is generated, the writer can encode it and every reader read it."""
    found = strict(to_json(tree))
    assert strict(to_json(found)) == found
    assert strict(to_json(with_cycle(tree)))[1] == {"ring": "<cycle>"}


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
