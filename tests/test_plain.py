"""Any object, and the JSON that is made of it."""

import argparse
import collections
import datetime
import fractions
import json
import pathlib
import sys
import types
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog import plain
from mlog.plain import (
    MAX_DEPTH,
    MAX_ITEMS,
    clean_text,
    cut_text,
    safe_str,
    to_json,
)
from tests.helpers import run_python
from tests.odd_values import (
    EVIL,
    INF,
    NAN,
    TREES,
    Color,
    Endless,
    FakeEagerTensor,
    FakeTensor,
    Loss,
    Mode,
    NoText,
    Point,
    Size,
    Text,
    nested,
    strict,
    with_cycle,
    with_stack,
)

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
    for text in (b"NaN", b"007", b"-", b"1 2"):
        assert strict(to_json(orjson.Fragment(text)))["type"] == "mlog.repr"


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
    monkeypatch.setattr(plain, "_MAX_SIZE", 100_000)
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


def test_little_stack_left_is_no_reason_to_raise() -> None:
    """A program deep in its own recursion can still log."""
    deep = {"a": {"b": {"c": [NoText()]}}, "d": Decimal(1)}
    to_json(deep)  # whatever is imported or cached late is there now
    for ready in [with_stack(left, lambda: to_json(deep)) for left in range(12, 60, 4)]:
        strict(ready)


def test_keyboard_interrupt_passes() -> None:
    """Ctrl-C is not a bad value."""

    class Interrupts:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_json(Interrupts())


# --- modules that are not loaded ---------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("decimal.Decimal('0.5')", 0.5),
        ("fractions.Fraction(1, 3)", "1/3"),
        ("datetime.date(2026, 1, 2)", "2026-01-02"),
        ("datetime.datetime(2026, 1, 2)", "2026-01-02T00:00:00"),
        ("datetime.time(1, 2)", "01:02:00"),
        ("datetime.timedelta(seconds=1.5)", 1.5),
        ("pathlib.Path('x')", "x"),
        ("uuid.UUID(int=1)", "00000000-0000-0000-0000-000000000001"),
        ("dataclasses.make_dataclass('A', ['b'])(2)", {"b": 2}),
        ("{2**70}", [2**70]),
    ],
)
def test_class_is_known_though_its_module_came_late(value: str, expected: Any) -> None:
    """A value is converted by its class also where others were converted before."""
    module = value.split(".")[0] if "." in value else "sys"
    code = f"""
import sys
from mlog.plain import to_json
assert to_json([1, "a", None]) == [1, "a", None]
assert to_json(object())["type"] == "mlog.repr"
import {module}
ready = to_json({value})
import orjson
print(orjson.dumps(ready).decode())
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == expected


def test_import_loads_no_module_for_a_few_classes() -> None:
    """`import mlog` loads this module in every program, so it has to be light.

    What orjson loads itself is there in any case.
    """
    code = """
import logging, sys
import orjson
before = set(sys.modules)
import mlog.plain
print(*set(sys.modules) - before)
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    heavy = {"dataclasses", "datetime", "decimal", "fractions", "pathlib"}
    assert heavy & set(done.stdout.split()) == set()


def test_class_of_a_half_loaded_module_is_learnt_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread may be in the middle of `import decimal`."""
    table = plain._ByType({"decimal.Decimal": str})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "decimal", types.ModuleType("decimal"))
        assert table.get(Decimal) is None
    assert table.get(Decimal) is str


# --- whatever is passed ------------------------------------------------------------


@settings(deadline=None)
@given(TREES)
def test_any_object_becomes_strict_json(tree: Any) -> None:
    """Whatever is generated, the writer can encode it and every reader read it."""
    found = strict(to_json(tree))
    assert strict(to_json(found)) == found
    assert strict(to_json(with_cycle(tree)))[1] == {"ring": "<cycle>"}
