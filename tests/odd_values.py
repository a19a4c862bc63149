"""Values that people pass, some of them by mistake, and strategies for more.

Used where any object must become JSON: `mlog.plain` and `mlog.values`.
"""

import collections
import dataclasses
import enum
import inspect
import json
import math
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import orjson
from hypothesis import strategies as st

NAN, INF = math.nan, math.inf

_T = TypeVar("_T")


def strict(ready: Any) -> Any:
    """Encode as the writer does and read with a parser that refuses NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(orjson.dumps(ready), parse_constant=refuse)


def nested(depth: int, wrap: Any) -> Any:
    """Return 1.0 within `depth` containers."""
    value: Any = 1.0
    for _ in range(depth):
        value = wrap(value)
    return value


def with_stack(left: int, run: Callable[[], _T]) -> _T:
    """Return what `run` returns with about `left` calls to go."""
    depth = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + left)
    try:
        return run()
    finally:
        sys.setrecursionlimit(limit)


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
