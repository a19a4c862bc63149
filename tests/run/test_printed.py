"""Many lines at once make the same entries as one by one."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog import segments
from mlog.run.printed import write_lines
from mlog.run.recorder import Recorder
from mlog.run.start import start_run
from tests.helpers import entries, gaps

TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["", '","', '"', "\\", '\\","', '"}', '"msg":""}', ',"msg":""}']),
    min_size=1,
    max_size=8,
)


def recorder() -> Recorder:
    found = start_run("printed").receiver
    assert isinstance(found, Recorder)
    return found


def written(writer: Any, *texts: str) -> list[dict[str, Any]]:
    """Write lines, and return their entries."""
    before = len(entries(writer.folder.path, "logs"))
    write_lines(writer, "stdout", texts)
    return entries(writer.folder.path, "logs")[before:]


def test_each_line_is_an_entry_with_a_number() -> None:
    writer = recorder().writer
    first, second = written(writer, "one", "two")
    assert first["seq"] + 1 == second["seq"]
    assert list(first) == ["ts", "seq", "level", "logger", "msg"]
    assert (first["level"], first["logger"], first["msg"]) == ("INFO", "stdout", "one")
    assert gaps(writer.folder.path) == {}


@given(TEXTS)
def test_any_text_comes_back(texts: list[str]) -> None:
    writer = recorder().writer
    found = written(writer, *texts)
    assert [entry.get("msg", "") for entry in found] == texts
    assert ["msg" in entry for entry in found] == [bool(text) for text in texts]


def test_a_disk_that_fills_up_amid_the_lines_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whole lines stay where they are; the cut one and the rest come again."""
    writer = recorder().writer
    written(writer, "zero")

    def short(fd: int, line: bytes) -> int:
        monkeypatch.setattr(segments, "_write", os.write)
        return os.write(fd, line[: len(line) // 2])

    monkeypatch.setattr(segments, "_write", short)
    write_lines(writer, "stdout", ["one", "two", "three"])
    names = ["logs.jsonl", "logs.1.jsonl"]
    texts = [(writer.folder.path / name).read_bytes() for name in names]
    lines = b"".join(text[: text.rfind(b"\n") + 1] for text in texts).splitlines()
    assert [line.split(b'"msg":')[1] for line in lines] == [
        *(b'"zero"}', b'"one"}', b'"two"}', b'"three"}')
    ]


def test_lines_that_a_full_disk_refuses_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer = recorder().writer
    written(writer, "zero")

    def full(fd: int, line: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.warns(match="are lost: No space left"):
        patch.setattr(segments, "_write", full)
        write_lines(writer, "stdout", ["one", "two"])
    assert writer.lost == 2
    writer.keep(0.0)
    (dropped,) = [
        e["data"]
        for e in entries(writer.folder.path, "events")
        if e["event"] == "run.dropped"
    ]
    assert dropped["count"] == 2
    assert dropped["last"] == dropped["first"] + 1


def test_on_a_scarce_disk_nothing_is_written() -> None:
    writer = recorder().writer
    writer.scarce = True
    with pytest.warns(match="little disk space"):
        assert written(writer, "one", "two") == []
    assert writer.lost == 2


def test_a_writer_that_cannot_begin_loses_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = recorder().writer

    def fails() -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(writer, "take", fails)
    with pytest.warns(match="are lost: Read-only"):
        write_lines(writer, "stdout", ["one"])
    assert writer.lost == 1
