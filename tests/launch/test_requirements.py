"""Lines for pip that have left the folder of their file."""

import os
from pathlib import Path

import pytest

from mlog.launch.requirements import (
    local_files,
    option_of,
    read_requirements,
    resolved,
)


def test_lines_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(
        b"\xef\xbb\xbf# tools\na>=1  # newest\n\n  b ; python_version > '3'\n"
        b"c \\\n  ==2\n--no-index\nd @ https://h/x.whl#sha256=1\n"
    )
    assert read_requirements(tmp_path / "r.txt") == [
        "a>=1",
        "b ; python_version > '3'",
        "c   ==2",
        "--no-index",
        "d @ https://h/x.whl#sha256=1",
    ]


def test_nested_files_are_put_in_their_place(tmp_path: Path) -> None:
    """Each relative to the file that names it."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "r.txt").write_text("a\n-r sub/s.txt\n--requirement=sub/t.txt\nz\n")
    (tmp_path / "sub/s.txt").write_text("s\n-rt.txt\n")
    (tmp_path / "sub/t.txt").write_text("t\n")
    assert read_requirements(tmp_path / "r.txt") == ["a", "s", "t", "t", "z"]


def test_paths_become_absolute(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "x-1-py3-none-any.whl").write_text("")
    (tmp_path / "c.txt").write_text("")
    lines = ["-f wheels", "--find-links=wheels", "-c c.txt", "-e .", "./wheels[test]"]
    lines += ["x-1-py3-none-any.whl", "-f https://h/x", "-f nowhere", "wheels"]
    assert resolved(lines, tmp_path) == [
        f"-f {tmp_path}/wheels",
        f"--find-links {tmp_path}/wheels",
        f"-c {tmp_path}/c.txt",
        f"-e {tmp_path}",
        f"{tmp_path}/wheels[test]",
        f"{tmp_path}/x-1-py3-none-any.whl",
        "-f https://h/x",
        "-f nowhere",
        "wheels",
    ]


def test_files_that_name_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt")
    (tmp_path / "b.txt").write_text("-r a.txt")
    with pytest.raises(ValueError, match=r"name each other: .*a\.txt → .*b\.txt → "):
        read_requirements(tmp_path / "a.txt")


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match=r"r\.txt is no text in UTF-8"):
        read_requirements(tmp_path / "r.txt")
    with pytest.raises(FileNotFoundError):
        read_requirements(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("a", None),
        ("-r x", ("-r", "x")),
        ("-rx", ("-r", "x")),
        ("--no-index", ("--no-index", "")),
        ("--find-links=x", ("--find-links", "x")),
        ("--find-links  https://h/?a=b", ("--find-links", "https://h/?a=b")),
    ],
)
def test_an_option_has_a_name_and_a_value(
    line: str, option: tuple[str, str] | None
) -> None:
    assert option_of(line) == option


def test_local_files_count_by_what_is_in_them(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_text("1")
    lines = ["a", f"{wheel}", "-f /tmp", f"b @ {wheel.as_uri()}"]
    first = local_files(lines)
    wheel.write_text("2")
    assert first != local_files(lines)
    assert local_files(["a>=1", f"-f {tmp_path}"]) == ""


def test_a_local_folder_counts_by_names_sizes_and_times(tmp_path: Path) -> None:
    """Not by what tools leave in it."""
    (tmp_path / "setup.py").write_text("")
    first = local_files([f"-e {tmp_path}"])
    (tmp_path / "x.egg-info").mkdir()
    (tmp_path / "x.egg-info/PKG-INFO").write_text("")
    assert local_files([f"-e {tmp_path}"]) == first
    os.utime(tmp_path / "setup.py", (1, 1))
    assert local_files([f"-e {tmp_path}"]) != first
