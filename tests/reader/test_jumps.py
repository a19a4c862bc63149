"""Going to a place in a segment by number or time."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.layout import SegmentName
from mlog.reader.follow import Found
from mlog.reader.jumps import (
    entries_by_seq,
    entries_by_time,
    older_by_seq,
    older_by_time,
)

BEGIN = datetime(2026, 11, 23, 18, 27, tzinfo=UTC)
LOGS = [SegmentName("logs"), SegmentName("logs", number=1)]
NO_LIMIT = 1 << 40


def line(seq: int, size: int = 0, **fields: Any) -> bytes:
    """Return the line of an entry, a second after the one before."""
    ts = f"{BEGIN + timedelta(seconds=seq):%Y-%m-%dT%H:%M:%S.%fZ}"
    entry = {"ts": ts, "seq": seq, "msg": "x" * size, **fields}
    return json.dumps(entry).encode() + b"\n"


def seqs(found: Any) -> list[int]:
    return [one.entry["seq"] for one in found]


@given(
    sizes=st.lists(st.integers(0, 1 << 14), min_size=1, max_size=40),
    rotated=st.integers(0, 40),
    swapped=st.sets(st.integers(0, 40)),
    garbage=st.sampled_from([b"", b"what?\n", b"\x00" * 9_000 + b"\n", b"torn"]),
    first=st.integers(-1, 41),
    length=st.integers(0, 41),
)
def test_what_is_found_is_what_a_plain_search_finds(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    rotated: int,
    swapped: set[int],
    garbage: bytes,
    first: int,
    length: int,
) -> None:
    """Over rotations, damage, long lines, and neighbours that threads swapped."""
    run = tmp_path_factory.mktemp("run")
    lines = [line(seq, size) for seq, size in enumerate(sizes)]
    for i in sorted(swapped):
        if i + 1 < len(lines) and sizes[i] < 1 << 13:
            lines[i], lines[i + 1] = lines[i + 1], lines[i]
    cut = garbage if garbage.endswith(b"\n") else b""
    (run / "logs.jsonl").write_bytes(b"".join(lines[:rotated]) + garbage)
    (run / "logs.1.jsonl").write_bytes(cut + b"".join(lines[rotated:]))
    last = first + length
    expected = [seq for seq in range(len(sizes)) if first <= seq <= last]
    assert seqs(entries_by_seq(run, LOGS, first, last)) == expected
    begin = BEGIN.timestamp()
    assert seqs(entries_by_time(run, LOGS, begin + first, begin + last)) == expected
    older = [seq for seq in range(len(sizes) - 1, -1, -1) if seq <= first]
    by_seq = older_by_seq(run, LOGS, first, limit=NO_LIMIT)
    by_time = older_by_time(run, LOGS, begin + first, limit=NO_LIMIT)
    assert sorted(seqs(by_seq), reverse=True) == older
    assert sorted(seqs(by_time), reverse=True) == older


def test_only_what_is_near_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 8 MB less than 1 % are parsed."""
    run = tmp_path
    (run / "logs.jsonl").write_bytes(b"".join(line(seq, 100) for seq in range(50_000)))
    parsed = 0

    def counting(raw: bytes) -> dict[str, Any] | None:
        nonlocal parsed
        parsed += 1
        entry: dict[str, Any] = json.loads(raw)
        return entry

    monkeypatch.setattr("mlog.reader.jumps.parse_line", counting)
    assert seqs(entries_by_seq(run, LOGS, 30_000, 30_002)) == [30_000, 30_001, 30_002]
    assert parsed < 700


def test_a_limit_ends_the_way_back(tmp_path: Path) -> None:
    (tmp_path / "logs.jsonl").write_bytes(b"".join(line(n, 1_000) for n in range(900)))
    found = seqs(older_by_seq(tmp_path, LOGS, 800, limit=100_000))
    assert found[0] == 800
    assert 90 < len(found) < 400


def test_a_line_too_long_for_an_entry_does_not_hide_others(tmp_path: Path) -> None:
    content = line(0) + b"x" * 3_000_000 + b"\n" + line(1, 70_000) + line(2)
    (tmp_path / "logs.jsonl").write_bytes(content)
    assert seqs(entries_by_seq(tmp_path, LOGS, 0, 9)) == [0, 1, 2]
    assert seqs(older_by_seq(tmp_path, LOGS, 1, limit=NO_LIMIT)) == [1, 0]
    assert seqs(older_by_seq(tmp_path, LOGS, 0, limit=NO_LIMIT)) == [0]


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\n\n\n", b"torn", b"{}\n", b"x" * 99_999]
)
def test_files_without_entries_have_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "logs.jsonl").write_bytes(content)
    assert entries_by_seq(tmp_path, LOGS, 0, 9) == []
    assert entries_by_time(tmp_path, LOGS, 0, 9e9) == []
    assert list(older_by_seq(tmp_path, LOGS, 9, limit=NO_LIMIT)) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(line(0))
    (tmp_path / "logs.jsonl").symlink_to(tmp_path / "secret")
    assert entries_by_seq(tmp_path, LOGS, 0, 9) == []
    assert list(older_by_seq(tmp_path, LOGS, 9, limit=NO_LIMIT)) == []


def test_found_has_line_and_segment(tmp_path: Path) -> None:
    (tmp_path / "logs.1.jsonl").write_bytes(line(5))
    entry = json.loads(line(5))
    expected = [Found(entry, line(5)[:-1], LOGS[1], tmp_path)]
    assert entries_by_seq(tmp_path, LOGS, 0, 9) == expected
