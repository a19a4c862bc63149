"""Where files lie: roots, slugs, run ids, names of segments and writers."""

import os
import re
import string
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.layout import (
    SegmentName,
    experiment_name,
    find_root,
    is_slug,
    lock_name,
    new_run_id,
    parse_segment,
    run_folder,
    slug,
    writer_name,
)
from mlog.types import Stream

NAME_CHARS = string.ascii_lowercase + string.digits + "-"

writers = st.text(NAME_CHARS, max_size=20)
streams = st.sampled_from(get_args(Stream))
segments = st.builds(SegmentName, streams, writers, st.integers(0, 10**6))
attempts = st.integers(1, 50)


class TestFindRoot:
    """dir=, else MLOG_DIR, else the nearest .mlog folder upward, else user data."""

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """A folder with `.mlog` and a folder two levels below it."""
        (tmp_path / ".mlog").mkdir()
        (tmp_path / "a" / "b").mkdir(parents=True)
        return tmp_path

    def test_argument_comes_first(self, project: Path) -> None:
        root = find_root("/data/runs", env={"MLOG_DIR": "/env"}, cwd=project)
        assert root == Path("/data/runs")

    def test_variable_comes_second(self, project: Path) -> None:
        assert find_root(None, env={"MLOG_DIR": "/env"}, cwd=project) == Path("/env")

    def test_nearest_folder_upward_comes_third(self, project: Path) -> None:
        assert find_root(None, env={}, cwd=project / "a" / "b") == project / ".mlog"
        (project / "a" / ".mlog").mkdir()
        nearer = find_root(None, env={}, cwd=project / "a" / "b")
        assert nearer == project / "a" / ".mlog"

    def test_user_data_folder_comes_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = tmp_path / "data"
        monkeypatch.setattr("platformdirs.user_data_path", lambda name: data / name)
        assert find_root(None, env={}, cwd=tmp_path) == data / "mlog"

    def test_empty_text_counts_as_not_given(self, project: Path) -> None:
        assert find_root("", env={"MLOG_DIR": ""}, cwd=project) == project / ".mlog"

    def test_file_named_like_the_folder_is_passed_over(self, project: Path) -> None:
        (project / "a" / ".mlog").touch()
        assert find_root(None, env={}, cwd=project / "a") == project / ".mlog"

    def test_link_stays_a_link(self, project: Path, tmp_path: Path) -> None:
        """The root may be a link, to a bigger disk say; it keeps the short name."""
        (project / "a" / "b" / ".mlog").symlink_to(project / ".mlog")
        cwd = project / "a" / "b"
        assert find_root(None, env={}, cwd=cwd) == cwd / ".mlog"

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all"
    )
    def test_unreadable_parent_is_passed_over(self, project: Path) -> None:
        (project / "a").chmod(0)
        try:
            found = find_root(None, env={}, cwd=project / "a" / "b")
        finally:
            (project / "a").chmod(0o700)
        assert found == project / ".mlog"

    @pytest.mark.parametrize("source", ["argument", "variable"])
    def test_relative_path_starts_at_cwd(self, tmp_path: Path, source: str) -> None:
        dir = "x/y" if source == "argument" else None
        root = find_root(dir, env={"MLOG_DIR": "x/y"}, cwd=tmp_path)
        assert root == tmp_path / "x" / "y"

    @pytest.mark.parametrize("source", ["argument", "variable"])
    def test_tilde_is_expanded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        dir = "~/runs" if source == "argument" else None
        root = find_root(dir, env={"MLOG_DIR": "~/runs"}, cwd=Path("/"))
        assert root == tmp_path / "runs"

    @pytest.mark.skipif(os.name == "nt", reason="any user has a home there")
    def test_tilde_of_nobody_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no home folder for '~no-such-user/x'"):
            find_root("~no-such-user/x", env={}, cwd=Path("/"))

    def test_creates_nothing(self, tmp_path: Path) -> None:
        find_root(tmp_path / "new", env={}, cwd=tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestExperimentName:
    """The argument, else the git folder's name, else the script's, else default."""

    def test_argument_comes_first_and_stays_whole(self, tmp_path: Path) -> None:
        (tmp_path / ".git").mkdir()
        assert experiment_name("Größe 2", cwd=tmp_path, script="t.py") == "Größe 2"

    @pytest.mark.parametrize("kind", ["folder", "file"])
    def test_nearest_git_folder_comes_second(self, tmp_path: Path, kind: str) -> None:
        """`.git` is a file in worktrees and submodules."""
        project = tmp_path / "outer" / "project"
        (project / "src").mkdir(parents=True)
        (tmp_path / "outer" / ".git").mkdir()
        git = project / ".git"
        git.mkdir() if kind == "folder" else git.touch()
        name = experiment_name(None, cwd=project / "src", script="train.py")
        assert name == "project"

    @pytest.mark.parametrize(
        ("script", "name"),
        [
            pytest.param("/home/me/train.py", "train", id="script"),
            pytest.param("bin/train", "train", id="console-script"),
            pytest.param("/x/pkg/__main__.py", "pkg", id="package"),
            pytest.param("", "default", id="interactive"),
            pytest.param("-c", "default", id="python-c"),
            pytest.param("-m", "default", id="python-m-too-early"),
            pytest.param("-", "default", id="stdin"),
            pytest.param("/x/ipykernel_launcher.py", "default", id="notebook"),
            pytest.param(None, "default", id="embedded"),
        ],
    )
    def test_script_comes_last(
        self, tmp_path: Path, script: str | None, name: str
    ) -> None:
        assert experiment_name(None, cwd=tmp_path, script=script) == name


class TestSlug:
    """Any text becomes a folder name that is safe everywhere and readable."""

    @pytest.mark.parametrize(
        "text", ["mnist", "lr-0.1_b32", "20261123-182700-3f9a1c", "7", "a" * 255]
    )
    def test_good_name_stays_as_it_is(self, text: str) -> None:
        assert slug(text) == text

    @pytest.mark.parametrize(
        ("text", "readable"),
        [
            ("my first run", "my-first-run"),
            ("a/b\\c", "a-b-c"),
            ("../../etc/passwd", "etc-passwd"),
            (".models", "models"),
            ("v1.", "v1"),
            ("Größe=3", "Gro-e-3"),
            ("naïve", "naive"),
            ("训练", "x"),
            ("", "x"),
            ("..", "x"),
            ("a\0b\n", "a-b"),
            ("nul", "nul"),
            ("NUL.txt", "NUL-txt"),
            ("com1.tar.gz", "com1-tar.gz"),
            ("a" * 300, "a" * 248),
        ],
    )
    def test_changed_name_is_readable_and_ends_in_a_hash(
        self, text: str, readable: str
    ) -> None:
        assert re.fullmatch(re.escape(readable) + "-[0-9a-f]{6}", slug(text))

    @pytest.mark.parametrize(
        "text",
        ["", ".", "..", "a.", "-a", "_a", ".a", "a/b", "a b", "ä", "a\n", "a" * 256],
    )
    def test_bad_names_are_told(self, text: str) -> None:
        assert not is_slug(text)

    @pytest.mark.parametrize(
        "text", ["con", "Con.log", "AUX", "prn.a.b", "lpt9", "COM3"]
    )
    def test_reserved_words_of_windows_are_bad_names(self, text: str) -> None:
        assert not is_slug(text)

    @pytest.mark.parametrize(
        "text", ["console", "con-1", "nulls.txt", "com10", "a.con"]
    )
    def test_reserved_words_inside_a_name_are_fine(self, text: str) -> None:
        assert is_slug(text)

    def test_texts_that_look_alike_get_two_names(self) -> None:
        texts = ["a b", "a/b", "a  b", "a:b", "a" * 300, "a" * 301]
        assert len({slug(text) for text in texts}) == len(texts)

    @given(st.text(st.characters(), max_size=400))
    def test_every_text_gets_a_slug(self, text: str) -> None:
        """Lone surrogates too, which file names on the command line may hold."""
        assert is_slug(slug(text))
        assert slug(slug(text)) == slug(text)

    @given(st.text(), st.text())
    def test_run_folder_is_two_levels_below_the_root(
        self, experiment: str, run_id: str
    ) -> None:
        root = Path("/root")
        folder = run_folder(root, experiment, run_id)
        assert folder.parent.parent == root
        assert os.path.normpath(folder) == str(folder)


class TestRunId:
    """YYYYMMDD-HHMMSS-xxxxxx in UTC, so ids sort by time."""

    def test_form(self) -> None:
        assert new_run_id(1_795_458_420.9, b"\x3f\x9a\x1c") == "20261123-182700-3f9a1c"

    def test_sorts_by_time(self) -> None:
        ids = [new_run_id(now, b"\xff\0\xff") for now in (0, 1, 86400, 2e9)]
        assert ids == sorted(ids)

    def test_is_a_slug(self) -> None:
        assert is_slug(new_run_id(0, b"abc"))

    def test_needs_three_bytes(self) -> None:
        with pytest.raises(ValueError, match="random must be 3 bytes, got 4"):
            new_run_id(0, b"four")


class TestSegmentName:
    """`<stream>[-<writer>][.<n>].jsonl`, taken apart only if it was put together so."""

    @pytest.mark.parametrize(
        ("name", "filename"),
        [
            (SegmentName("metrics"), "metrics.jsonl"),
            (SegmentName("logs", number=2), "logs.2.jsonl"),
            (SegmentName("events", "r3-a2"), "events-r3-a2.jsonl"),
            (SegmentName("logs", "gpu01-4711", 10), "logs-gpu01-4711.10.jsonl"),
        ],
    )
    def test_form(self, name: SegmentName, filename: str) -> None:
        assert name.filename == filename
        assert parse_segment(filename) == name

    @given(segments)
    def test_every_name_parses_back(self, name: SegmentName) -> None:
        assert parse_segment(name.filename) == name

    @given(st.text(max_size=30) | st.from_regex(r"logs[-.a-z0-9]{0,6}\.jsonl\n?"))
    def test_what_parses_was_made_here(self, filename: str) -> None:
        name = parse_segment(filename)
        assert name is None or name.filename == filename

    @pytest.mark.parametrize(
        "filename",
        [
            "run.json",
            "metrics.json",
            "metrics.jsonl.gz",
            "metrics.jsonl\n",
            " metrics.jsonl",
            "Metrics.jsonl",
            "traces.jsonl",
            "metrics-.jsonl",
            "metrics-R3.jsonl",
            "metrics-r_3.jsonl",
            "metrics.0.jsonl",
            "metrics.01.jsonl",
            "metrics.٣.jsonl",
            "metrics.1.2.jsonl",
            "metrics..jsonl",
            "a/metrics.jsonl",
            ".lock",
            "",
        ],
    )
    def test_other_names_are_rejected(self, filename: str) -> None:
        assert parse_segment(filename) is None

    def test_next_counts_on(self) -> None:
        assert SegmentName("logs", "r1", 4).next() == SegmentName("logs", "r1", 5)

    @pytest.mark.parametrize("writer", ["R1", "a/b", "..", "ä", "r1\n"])
    def test_writer_that_would_not_parse_back_is_refused(self, writer: str) -> None:
        with pytest.raises(ValueError, match="writer must match"):
            SegmentName("logs", writer)

    def test_negative_number_is_refused(self) -> None:
        with pytest.raises(ValueError, match="number must be an integer >= 0, got -1"):
            SegmentName("logs", number=-1)


class TestWriterName:
    """A writer is named by what it is: main, a rank, or a process on a host."""

    @pytest.mark.parametrize(
        ("facts", "name"),
        [
            ({"main": True}, ""),
            ({"main": True, "attempt": 3}, "a3"),
            ({"main": True, "rank": 0}, ""),
            ({"rank": 5}, "r5"),
            ({"rank": 5, "attempt": 2}, "r5-a2"),
            ({}, "gpunode0-4711"),
            ({"attempt": 2}, "gpunode0-4711-a2"),
            ({"host": "PC"}, "pc-4711"),
            ({"host": "機械"}, "host-4711"),
            ({"host": ""}, "host-4711"),
        ],
    )
    def test_form(self, facts: dict[str, Any], name: str) -> None:
        usual: dict[str, Any] = {"main": False, "rank": None, "attempt": 1}
        usual |= {"host": "GPU_node-01.example.org", "pid": 4711}
        assert writer_name(**(usual | facts)) == name

    @given(
        main=st.booleans(),
        rank=st.none() | st.integers(0, 10**6),
        host=st.text(),
        pid=st.integers(1, 2**22),
        attempt=attempts,
    )
    def test_names_survive_in_a_file_name(
        self, main: bool, rank: int | None, host: str, pid: int, attempt: int
    ) -> None:
        name = writer_name(main=main, rank=rank, host=host, pid=pid, attempt=attempt)
        for number in (0, 7):
            parsed = parse_segment(SegmentName("events", name, number).filename)
            assert parsed == SegmentName("events", name, number)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["main", "rank", "other"]),
                st.integers(0, 30),
                st.sampled_from(["r1", "a2", "host"]),
                attempts,
            ),
            max_size=30,
        )
    )
    def test_two_writers_get_two_names(
        self, drawn: list[tuple[str, int, str, int]]
    ) -> None:
        """Whatever hosts are called: a host `r1` does not write as rank 1."""
        facts: set[tuple[bool, int | None, str, int, int]] = set()
        for kind, number, host, attempt in drawn:
            if kind == "main":
                facts.add((True, None, "h", 1, attempt))
            elif kind == "rank":
                facts.add((False, number, "h", 1, attempt))
            else:
                facts.add((False, None, host, number, attempt))
        names = {
            writer_name(main=main, rank=rank, host=host, pid=pid, attempt=attempt)
            for main, rank, host, pid, attempt in facts
        }
        assert len(names) == len(facts)

    def test_lock_is_named_by_its_writer(self) -> None:
        assert lock_name("") == ".lock"
        assert lock_name("r3-a2") == ".lock-r3-a2"
