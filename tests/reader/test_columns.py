"""Columns of lines that come in turns, or do not, are what the lines say one by one."""

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from mlog.reader.columns import Page, read_pages
from tests.reader.pages import points_of

Entry = dict[str, Any]
LINES = 3_000  # some blocks


def lines_of(metrics: list[Entry], steps: Callable[[int], Any]) -> list[Entry]:
    found = []
    for i, metric in enumerate(metrics):
        ts = f"2026-11-23T18:27:{i // 100 % 60:02}.{i % 100:06}Z"
        step = {} if steps(i) is None else {"step": steps(i)}
        found.append({"ts": ts, "seq": i, "level": "INFO", **step, "metric": metric})
    return found


def one(rng: random.Random, i: int) -> Entry:
    return {"loss": rng.random()}


def turns(rng: random.Random, i: int) -> Entry:
    return {f"name {i % 10}": rng.random()}


def widths(rng: random.Random, i: int) -> Entry:
    """Three layouts, of one, two and five names."""
    return {f"{i % 3}.{k}": rng.random() for k in range((1, 2, 5)[i % 3])}


def integers(rng: random.Random, i: int) -> Entry:
    return {"epoch": i, "loss": rng.random()}


def now_and_then(rng: random.Random, i: int) -> Entry:
    """An integer or a text where there were floats, and names that come seldom."""
    odd = {99: 3, 199: "NaN", 299: (1 << 64) - 1, 399: True, 499: None}.get(
        i % 500, 0.5
    )
    return {"loss": odd} | ({"val": 1.5} if i % 100 == 57 else {})


def many(rng: random.Random, i: int) -> Entry:
    """More names in turn than there are lines in a block."""
    return {f"layer.{i % 1000}": rng.random()}


def anyhow(rng: random.Random, i: int) -> Entry:
    return {f"n{rng.randrange(5)}": rng.choice([rng.random(), 7]) for _ in range(3)}


def changing(rng: random.Random, i: int) -> Entry:
    """Other names after each thousand lines, and then the first ones again."""
    return (one, turns, one)[i // 1000](rng, i)


def nothing(rng: random.Random, i: int) -> Entry:
    return {} if i % 7 == 3 else {"loss": rng.random()}


CASES = (
    *(one, turns, widths, integers, now_and_then, many, anyhow, changing, nothing),
)


def read(folder: Path, data: bytes, **how: Any) -> list[Page]:
    (folder / "metrics.jsonl").write_bytes(data)
    with open(folder / "metrics.jsonl", "rb") as file:
        return list(read_pages(file, **how))


def points(entries: list[Entry]) -> list[tuple[Any, ...]]:
    found = []
    for entry in entries:
        for name, value in entry["metric"].items():
            value = float("nan") if value == "NaN" else value
            if isinstance(value, int | float):
                found.append((entry["seq"], name, told(value), entry.get("step")))
    return found


def told(value: Any) -> Any:
    return struct.pack("d", value) if isinstance(value, float) else value


def points_in(pages: list[Page]) -> list[tuple[Any, ...]]:
    return [(p.seq, p.name, told(p.value), p.step) for p in points_of(pages)]


def by_seq_and_name(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(found, key=lambda point: (point[0], point[1]))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "steps", [lambda i: i, lambda i: None, lambda i: i if i % 3 else None]
)
def test_columns_are_what_the_lines_say(
    case: Callable[[random.Random, int], Entry],
    steps: Callable[[int], Any],
    tmp_path: Path,
) -> None:
    """Also where lines are odd now and then, and over the borders of blocks."""
    rng = random.Random(7)
    entries = lines_of([case(rng, i) for i in range(LINES)], steps)
    data = b"".join(orjson.dumps(e, option=orjson.OPT_APPEND_NEWLINE) for e in entries)
    pages = read(tmp_path, data)
    assert by_seq_and_name(points_in(pages)) == by_seq_and_name(points(entries))


@pytest.mark.parametrize("case", CASES)
def test_a_bare_reading_has_the_same_values(
    case: Callable[[random.Random, int], Entry], tmp_path: Path
) -> None:
    """Only what else is told of entries is left out."""
    rng = random.Random(7)
    entries = lines_of([case(rng, i) for i in range(LINES)], lambda i: i)
    data = b"".join(orjson.dumps(e, option=orjson.OPT_APPEND_NEWLINE) for e in entries)
    [page] = read(tmp_path, data, bare=True)
    assert len(page.seqs) == len(page.steps) == len(page.times) == 0
    found: dict[str, list[tuple[int, Any]]] = {}
    for layout in page.layouts:
        for name, column in zip(layout.names, layout.columns, strict=True):
            assert column is not None
            values = zip(layout.places, map(told, column.values()), strict=True)
            found.setdefault(name, []).extend(values)
    expected: dict[str, list[tuple[int, Any]]] = {}
    for seq, name, value, _ in points(entries):
        expected.setdefault(name, []).append((seq, value))
    assert {name: sorted(own) for name, own in found.items()} == expected
