"""Lists, rows and tables of any source, and the typed values they become."""

import collections
import dataclasses
import datetime
import decimal
import fractions
import itertools
import math
import pathlib
import uuid
import warnings
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import MlogWarning
from mlog.plain import MAX_ITEMS, to_json
from mlog.run.tables import (
    MAX_ENTRY,
    cell,
    columns_of,
    fits_entry,
    items_of,
    list_values,
    row_value,
    table_values,
)
from tests.odd_values import EVIL, TREES, Color, FakeEagerTensor, FakeTensor, Size

NAN, INF = math.nan, math.inf

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(max_size=20),
)


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may be told again."""
    monkeypatch.setattr("mlog.errors._told", {})


def same(one: Any, other: Any) -> bool:
    """Whether values are equal and of one type; NaN is equal to itself."""
    if isinstance(one, list):
        pairs = zip(one, other, strict=True)
        return type(other) is list and all(same(a, b) for a, b in pairs)
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and bool(one == other)


def written(value: Any) -> Any:
    """Return what a reader finds of a value."""
    return orjson.loads(orjson.dumps(to_json(value)))


# --- cells -------------------------------------------------------------------------


@given(SCALARS)
def test_scalars_are_exact(value: Any) -> None:
    assert same(cell(value), value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.int64(2**62), 2**62),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(3), 3),
        (np.array([0.5]), 0.5),
        (FakeTensor(0.25), 0.25),
        (FakeEagerTensor(7), 7),
        (decimal.Decimal("0.1"), 0.1),
        (decimal.Decimal("2"), 2),
        (decimal.Decimal("1e30"), 10**30),
        (decimal.Decimal("NaN"), NAN),
        (decimal.Decimal("-Infinity"), -INF),
        (fractions.Fraction(1, 4), 0.25),
        (datetime.date(2026, 11, 23), "2026-11-23"),
        (datetime.datetime(2026, 11, 23, 18, 27), "2026-11-23T18:27:00"),
        (np.datetime64("2026-11-23T18:27", "ns"), "2026-11-23T18:27:00.000000000"),
        (datetime.timedelta(seconds=90), 90.0),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (Color.RED, 3),
        (Color.NAME, "red"),
        (Size.BIG, 7),
        (b"text", "text"),
        (None, None),
        (np.datetime64("NaT", "s"), None),
        (np.ma.masked, None),
    ],
)
def test_scalars_of_libraries_become_plain_ones(value: Any, kept: Any) -> None:
    assert same(cell(value), kept)


def test_a_decimal_that_no_float_holds_keeps_its_digits() -> None:
    digits = "3.14159265358979323846264338327950288"
    assert cell(decimal.Decimal(digits)) == digits


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ([1, 2.5, "a", None, True], [1, 2.5, "a", None, True]),
        ((1, 2), [1, 2]),
        (np.arange(3), [0, 1, 2]),
        (array("d", [0.5]), [0.5]),
        (collections.deque([1]), [1]),
        ([], []),
    ],
)
def test_short_flat_lists_are_kept(value: Any, kept: Any) -> None:
    """Azure ML v1 refused a list in a cell."""
    assert same(cell(value), kept)


@pytest.mark.parametrize(
    "value", [{"a": 1}, [[1]], [object()], list(range(1_001)), 10**400, object(), int]
)
def test_anything_else_becomes_text_and_says_so(value: Any) -> None:
    with pytest.warns(MlogWarning, match="its description is kept"):
        assert isinstance(cell(value), str)


@pytest.mark.parametrize("evil", EVIL)
def test_a_cell_never_raises(evil: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        orjson.dumps(to_json(cell(evil())))


@given(TREES)
def test_any_cell_is_flat_json(tree: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        kept = cell(tree)
    flat = kept if isinstance(kept, list) else [kept]
    assert {type(item) for item in flat} <= {int, float, str, bool, type(None)}
    orjson.dumps(to_json(kept))


# --- lists -------------------------------------------------------------------------


def values_of(value: Any) -> list[Any]:
    return list(itertools.chain.from_iterable(v["values"] for v in list_values(value)))


@given(st.lists(SCALARS))
def test_a_list_comes_back_whole(items: list[Any]) -> None:
    assert same(values_of(items), items)
    assert same(values_of(iter(items)), items)
    assert same(values_of(tuple(items)), items)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (range(3), [0, 1, 2]),
        ((n * n for n in range(3)), [0, 1, 4]),
        (np.array([1.5, NAN]), [1.5, NAN]),
        (np.array([2**63], dtype="u8"), [2**63]),
        (np.array([True]), [True]),
        (np.array(5), [5]),
        (np.array(["2026-01-01", "NaT"], dtype="M8[ns]"), None),
        (np.array([90, "NaT"], dtype="m8[s]"), [90.0, NAN]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.eye(2), [[1.0, 0.0], [0.0, 1.0]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset(["b", "a"]), ["a", "b"]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        (array("i", [1, 2]), [1, 2]),
        (FakeTensor([1.0, 2.0], (2,)), [1.0, 2.0]),
        (FakeEagerTensor([1.0, 2.0], (2,)), [1.0, 2.0]),
        ([], []),
        (iter(()), []),
    ],
)
def test_any_iterable_is_a_list(value: Any, kept: Any) -> None:
    wanted = ["2026-01-01T00:00:00.000000000", None] if kept is None else kept
    assert same(values_of(value), wanted)


def test_an_empty_list_is_one_value() -> None:
    """Azure ML v1 failed with an AttributeError."""
    assert list_values([]) == [{"type": "mlog.list", "values": []}]


@pytest.mark.parametrize("text", ["abc", b"abc"])
def test_a_text_is_one_item(text: Any) -> None:
    """Azure ML v1 made a list of characters of it."""
    with pytest.warns(MlogWarning, match="one item"):
        assert list_values(text) == [{"type": "mlog.list", "values": ["abc"]}]


@pytest.mark.parametrize("value", [5, None, 0.5, object()])
def test_what_is_no_iterable_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a list or another iterable, got"):
        list_values(value)


def test_a_mapping_is_no_list() -> None:
    with pytest.raises(TypeError, match="log_table take columns"):
        list_values({"a": 1})


def test_the_list_passed_is_not_changed() -> None:
    given_list = [np.int64(1), None]
    list_values(given_list)
    assert type(given_list[0]) is np.int64


# --- rows --------------------------------------------------------------------------


def test_a_row_keeps_its_cells() -> None:
    found = row_value({"fold": np.int64(1), "auc": 0.93, "note": None, "ok": True})
    columns = {"fold": 1, "auc": 0.93, "note": None, "ok": True}
    assert found == {"type": "mlog.row", "columns": columns}


def test_a_row_needs_a_column() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        row_value({})


def test_a_row_of_thousands_of_columns_is_whole() -> None:
    """Azure ML v1 took 15."""
    wide = {f"c{n}": n for n in range(MAX_ITEMS)}
    assert written(row_value(wide))["columns"] == wide


def test_a_row_wider_than_an_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10,000 columns, got 10,001"):
        row_value({f"c{n}": n for n in range(MAX_ITEMS + 1)})


# --- tables ------------------------------------------------------------------------


class Named(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass
class Record:
    a: int
    b: str


TABLE = {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    "value",
    [
        TABLE,
        {"a": (1, 2), "b": iter("xy")},
        {"a": np.array([1, 2]), "b": np.array(["x", "y"])},
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        ({"a": a, "b": b} for a, b in [(1, "x"), (2, "y")]),
        [Named(1, "x"), Named(2, "y")],
        [Record(1, "x"), Record(2, "y")],
        np.array([(1, "x"), (2, "y")], dtype=[("a", "i8"), ("b", "U1")]),
    ],
)
def test_any_table_has_columns(value: Any) -> None:
    found = columns_of(value)
    assert found == TABLE
    assert same(list(found.values()), list(TABLE.values()))


def test_a_scalar_is_a_column_of_one_row() -> None:
    value = {"a": 1, "b": "text", "c": None, "d": np.float32(0.5), "e": np.array([7])}
    columns = {"a": [1], "b": ["text"], "c": [None], "d": [0.5], "e": [7]}
    assert columns_of(value) == columns


def test_records_may_lack_a_name() -> None:
    value = [{"a": 1}, {"b": 2}, {}, {"a": 4}]
    assert columns_of(value) == {"a": [1, None, None, 4], "b": [None, 2, None, None]}


@pytest.mark.parametrize("value", [{}, [], {"a": [], "b": []}])
def test_an_empty_table_is_one_value(value: Any) -> None:
    assert len(table_values(value)) == 1
    assert list(table_values(value)[0]["columns"]) == list(value)


def test_columns_of_unequal_lengths_are_named() -> None:
    text = r"must have one length: 'a' has 3, 'b' has 2"
    with pytest.raises(ValueError, match=text):
        table_values({"a": [1, 2, 3], "b": [1, 2]})


@pytest.mark.parametrize("value", [5, "text", None, [1, 2], ["ab"], object(), dict])
def test_what_is_no_table_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="expected a table: a mapping of columns"):
        table_values(value)


def test_a_column_is_no_mapping() -> None:
    with pytest.raises(TypeError, match="column 'a' is a mapping"):
        table_values({"a": {0: 1, 1: 2}})


def test_names_are_texts_and_differ() -> None:
    value = {1: [1], "1": [2], ("x", "y"): [3], None: [4], "": [5], "\ud800": [6]}
    assert list(columns_of(value)) == ["1", "1~2", "x/y", "None", "", "\ufffd"]


@given(
    st.integers(0, 30).flatmap(
        lambda rows: st.dictionaries(
            st.text(max_size=10),
            st.lists(SCALARS, min_size=rows, max_size=rows),
            max_size=5,
        )
    )
)
def test_a_table_comes_back_whole(table: dict[str, list[Any]]) -> None:
    found = columns_of(table)
    assert list(found) == list(table)
    assert same(list(found.values()), list(table.values()))


# --- several entries ---------------------------------------------------------------


@given(
    st.lists(st.text('a\x00é€😀"', max_size=40).map(lambda t: t * 400), max_size=30),
    st.integers(0, 3),
)
def test_entries_stay_below_the_limit(texts: list[str], numbers: int) -> None:
    table = {"text": texts} | {
        f"n{n}": [0.1 + 0.2] * len(texts) for n in range(numbers)
    }
    found = table_values(table)
    for value in found:
        assert len(orjson.dumps(to_json(value))) <= MAX_ENTRY + 120_000
        assert fits_entry(to_json(value)) or len(value["columns"]["text"]) == 1
    joined = [t for value in found for t in value["columns"]["text"]]
    assert joined == texts


@pytest.mark.parametrize(
    "item", [1, -0.1234567890123456e-300, 2**63, 2**1000, "é" * 99]
)
def test_a_long_list_is_several_values(item: Any) -> None:
    items = [item] * 25_000
    found = list_values(items)
    assert len(found) > 1
    assert all(fits_entry(to_json(value)) for value in found)
    assert [v for value in found for v in written(value)["values"]] == written(
        items[:1]
    ) * 25_000


def test_a_table_of_many_rows_is_several_values() -> None:
    rows = 3 * MAX_ITEMS + 1
    found = table_values({"n": range(rows), "x": [0.5] * rows})
    assert all(fits_entry(to_json(value)) for value in found)
    assert [n for value in found for n in written(value)["columns"]["n"]] == list(
        range(rows)
    )


def test_a_row_larger_than_an_entry_is_refused() -> None:
    """Nothing of such a table is kept: a part of it would be mistaken for the whole."""
    big = ["x" * 200_000]
    with pytest.raises(ValueError, match=r"row 1 takes about .* use log_file"):
        table_values({f"c{n}": [0, *big] for n in range(5)})
    with pytest.raises(ValueError, match="item 0 takes about"):
        list_values(["\x01" * 200_000])


@pytest.mark.parametrize(
    ("ready", "fits"),
    [
        ([0] * MAX_ITEMS, True),
        ([0] * (MAX_ITEMS + 1), False),
        ({"a": [["x" * 1_000] * 300]}, False),
        ({"a": {"b": [[0] * (MAX_ITEMS + 1)]}}, False),
        (5, True),
    ],
)
def test_what_fits_into_an_entry(ready: Any, fits: bool) -> None:
    assert fits_entry(ready) is fits


# --- DataFrames --------------------------------------------------------------------


def test_pandas_cells_are_exact() -> None:
    pd = pytest.importorskip("pandas", reason="DataFrames of the real library")
    frame = pd.DataFrame(
        {
            "i": [1, 2**62],
            "f": [0.1, None],
            "s": ["a", None],
            "b": [True, False],
            "t": [pd.Timestamp("2026-11-23"), pd.NaT],
            "d": pd.to_timedelta([1.5, None], unit="s"),
            "I": pd.array([7, None], dtype="Int64"),
            "c": pd.Categorical(["x", "y"]),
            "o": [decimal.Decimal("0.5"), [1, 2]],
        }
    )
    found = columns_of(frame)
    assert found["i"] == [1, 2**62]
    assert same(found["f"], [0.1, NAN])
    assert found["s"][0] == "a"
    assert same(found["b"], [True, False])
    assert found["t"] == ["2026-11-23T00:00:00", None]
    assert found["d"] == [1.5, None]
    assert found["I"] == [7, None]
    assert found["c"] == ["x", "y"]
    assert found["o"] == [0.5, [1, 2]]


@pytest.mark.parametrize("dtype", ["str", "string", "object", "category"])
def test_a_missing_text_of_pandas_is_none(dtype: str) -> None:
    """It is NaN in columns of text, whose other cells are no numbers."""
    pd = pytest.importorskip("pandas", reason="DataFrames of the real library")
    texts = pd.Series(["x", np.nan], dtype=dtype)
    if dtype == "str":  # a text of its own in pandas 2
        texts = pd.Series(["x", None])
    assert values_of(texts) == ["x", None]
    assert columns_of(pd.DataFrame({"a": texts})) == {"a": ["x", None]}
    mixed = values_of(pd.Series([1.5, "x", np.nan], dtype="object"))
    assert mixed[:2] == [1.5, "x"]
    assert math.isnan(mixed[2])


def test_pandas_index_is_kept_where_it_says_something() -> None:
    pd = pytest.importorskip("pandas", reason="DataFrames of the real library")
    frame = pd.DataFrame({"a": [1, 2]})
    assert list(columns_of(frame)) == ["a"]
    assert list(columns_of(frame[frame.a > 1])) == ["a"]
    assert columns_of(frame.set_axis(["x", "y"])) == {"index": ["x", "y"], "a": [1, 2]}
    assert list(columns_of(frame.rename_axis("id"))) == ["id", "a"]
    many = pd.concat({"u": frame, "v": frame})
    assert list(columns_of(many)) == ["level_0", "level_1", "a"]


def test_pandas_index_may_miss_a_text() -> None:
    pd = pytest.importorskip("pandas", reason="DataFrames of the real library")
    np = pytest.importorskip("numpy", reason="NaN as pandas has it")
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", np.nan])
    assert columns_of(frame) == {"index": ["x", None], "a": [1, 2]}


def test_pandas_columns_may_have_one_name() -> None:
    pd = pytest.importorskip("pandas", reason="DataFrames of the real library")
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "a", ("x", "y")])
    assert columns_of(frame) == {"a": [1], "a~2": [2], "x/y": [3]}
    assert columns_of(pd.DataFrame()) == {}


def test_pandas_series_is_a_list_and_a_column() -> None:
    pd = pytest.importorskip("pandas", reason="DataFrames of the real library")
    series = pd.Series([1, 2], index=["x", "y"])
    assert values_of(series) == [1, 2]
    assert columns_of({"a": series}) == {"a": [1, 2]}
    assert values_of(pd.Series([pd.NaT, pd.Timestamp(0)])) == [
        None,
        "1970-01-01T00:00:00",
    ]


def test_polars_cells_are_exact() -> None:
    pl = pytest.importorskip("polars", reason="DataFrames of the real library")
    frame = pl.DataFrame(
        {
            "i": [2**62, None],
            "f": [0.1, NAN],
            "s": ["a", None],
            "t": [datetime.datetime(2026, 11, 23), None],
            "l": [[1, 2], []],
            "d": [decimal.Decimal("0.50"), None],
        }
    )
    found = columns_of(frame)
    assert found["i"] == [2**62, None]
    assert same(found["f"], [0.1, NAN])
    assert found["s"] == ["a", None]
    assert found["t"] == ["2026-11-23T00:00:00", None]
    assert found["l"] == [[1, 2], []]
    assert found["d"] == [0.5, None]
    assert values_of(frame["i"]) == [2**62, None]
    assert columns_of({"x": frame["i"]}) == {"x": [2**62, None]}


def test_a_lazy_frame_is_to_be_collected() -> None:
    pl = pytest.importorskip("polars", reason="DataFrames of the real library")
    with pytest.raises(TypeError, match=r"call \.collect\(\) on it first"):
        columns_of(pl.LazyFrame({"a": [1]}))


def test_arrow_tables_have_columns() -> None:
    pa = pytest.importorskip("pyarrow", reason="tables of the real library")
    assert columns_of(pa.table({"a": [1, None], "b": ["x", "y"]})) == {
        "a": [1, None],
        "b": ["x", "y"],
    }


def test_items_of_a_list_are_not_copied() -> None:
    """A million numbers are walked through once."""
    numbers = [1, 2]
    assert items_of(numbers) is numbers
