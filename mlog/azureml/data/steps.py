"""What is left of a data set, step by step in the order the steps were asked for.

A step is a JSON list:

| step | what is left |
|---|---|
| `["take", n]`, `["skip", n]` | the first n rows or files; all but these |
| `["keep", columns]`, `["drop", columns]` | these columns; the others |
| `["sample", low, high, seed]` | rows or files whose number drawn from `seed` lies in [low, high) |
"""

import random
from collections.abc import Sequence
from typing import Any, TypeVar

__all__ = ["Step", "left_of_frame", "left_of_list"]

Step = Sequence[Any]

T = TypeVar("T")


def left_of_list(items: list[T], steps: Sequence[Step]) -> list[T]:
    """Return what steps leave of a list; columns are not asked for."""
    for kind, *arguments in steps:
        if kind == "take":
            items = items[: arguments[0]]
        elif kind == "skip":
            items = items[arguments[0] :]
        else:
            items = [items[n] for n in _drawn(len(items), *arguments)]
    return items


def left_of_frame(frame: Any, steps: Sequence[Step]) -> Any:
    """Return what steps leave of a `pandas.DataFrame`, with rows numbered anew."""
    for kind, *arguments in steps:
        if kind == "keep":
            frame = frame[arguments[0]]
        elif kind == "drop":
            frame = frame.drop(columns=arguments[0])
        else:
            rows = left_of_list(list(range(len(frame))), [(kind, *arguments)])
            frame = frame.iloc[rows]
    return frame.reset_index(drop=True)


def _drawn(count: int, low: float, high: float, seed: int) -> list[int]:
    draw = random.Random(seed).random
    return [n for n in range(count) if low <= draw() < high]
