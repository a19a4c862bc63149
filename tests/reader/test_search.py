"""Lines are found without parsing them, and where a time begins."""

import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.search import candidate_lines, needle_of, offset_of_time

LINES = st.lists(st.text(alphabet='abAB é"\\\n', max_size=12), max_size=40)


def write(path: Path, texts: list[str]) -> list[bytes]:
    lines = [orjson.dumps({"seq": i, "msg": text}) for i, text in enumerate(texts)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return lines


@given(texts=LINES, wanted=st.text(alphabet='abA é"\\\n', min_size=1, max_size=3))
def test_a_line_is_found_if_its_entry_holds_the_text(
    texts: list[str], wanted: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The bytes are those of JSON; what is found has to be looked at still."""
    path = tmp_path_factory.mktemp("run") / "logs.jsonl"
    lines = write(path, texts)
    needle = needle_of(wanted)
    assert needle is not None
    found = dict(candidate_lines(path, needle))
    data = path.read_bytes()
    assert all(data[at : at + len(line)] == line for at, line in found.items())
    assert list(found.values()) == [line for line in lines if needle in line]
    holding = [line for line, text in zip(lines, texts, strict=True) if wanted in text]
    assert set(holding) <= set(found.values())


def test_capitals_may_count_as_small(tmp_path: Path) -> None:
    lines = write(tmp_path / "logs.jsonl", ["Loss is NaN", "nan", "fine"])
    found = candidate_lines(tmp_path / "logs.jsonl", b"NaN", ignore_case=True)
    assert [line for _, line in found] == lines[:2]


def test_a_part_of_a_segment_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    lines = write(path, ["x"] * 5)
    step = len(lines[0]) + 1
    found = list(candidate_lines(path, b"x", step, 3 * step))
    assert [at for at, _ in found] == [step, 2 * step]


def test_a_torn_last_line_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    lines = write(path, ["x", "x"])
    path.write_bytes(path.read_bytes()[:-1])
    assert [line for _, line in candidate_lines(path, b"x")] == lines[:1]


def test_lines_longer_than_a_block_are_found(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    write(path, ["y" * 900_000 + "x", "z" * 900_000, "x" + "y" * 900_000])
    assert len(list(candidate_lines(path, b"x"))) == 2


@pytest.mark.parametrize("needle", [b"", b"a\nb"])
def test_a_needle_that_no_line_can_hold_is_refused(
    needle: bytes, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="needle must be bytes without a newline"):
        list(candidate_lines(tmp_path / "logs.jsonl", needle))


def test_what_json_cannot_hold_has_no_bytes() -> None:
    assert needle_of("") is None
    assert needle_of("\ud800") is None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_what_is_no_segment_has_no_lines(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "logs.jsonl")
    assert list(candidate_lines(tmp_path / "logs.jsonl", b"x")) == []
    assert offset_of_time(tmp_path / "logs.jsonl", "2026") == 0


# --- times ---------------------------------------------------------------------------


def moment(number: int) -> str:
    return f"2026-11-23T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z"


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,000 entries, two a second, one swapped pair, some lines that are none."""
    path = tmp_path_factory.mktemp("run") / "logs.jsonl"
    lines = [
        orjson.dumps({"ts": moment(i // 2), "seq": i, "msg": "m" * (i % 97)})
        for i in range(20_000)
    ]
    lines[8_000], lines[8_001] = lines[8_001], lines[8_000]
    lines[12_000:12_000] = [b"no entry", b'{"ts":"no time","seq":0}', b"\xff" * 50]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.mark.parametrize("second", [0, 1, 4_000, 5_999, 6_000, 9_999])
def test_no_entry_of_a_time_stands_before_where_it_begins(
    timed: Path, second: int
) -> None:
    """And not many of earlier times behind."""
    at = offset_of_time(timed, moment(second))
    data = timed.read_bytes()
    before, behind = data[:at], data[at:]
    assert moment(second).encode() not in before
    assert moment(second).encode() in behind
    assert at == 0 or before.endswith(b"\n")
    assert behind.index(moment(second).encode()) < 200_000


def test_times_before_and_after_all(timed: Path) -> None:
    assert offset_of_time(timed, "2020") == 0
    assert offset_of_time(timed, "2030") > timed.stat().st_size - 200_000
