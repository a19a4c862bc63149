"""`mlog path` prints where a run or a stream is."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Child, Mlog

OLD = "20261123-090000-aaaaaa"
NEW = "20261124-080000-cccccc"

MakeRun = Callable[..., Path]


class TestRun:
    """Without a stream it is the run's folder."""

    def test_a_recorded_run_is_found_by_the_command(self, start: Child) -> None:
        """The whole way: a script in one process, the command in another."""
        script = "import mlog\nwith mlog.start_run('mnist') as r: print(r.path)"
        recorded, _ = start("-c", script).communicate()
        child = start("-m", "mlog", "path")
        assert child.communicate() == (recorded, b"")
        assert child.returncode == 0
        assert Path(os.fsdecode(recorded.strip())).is_dir()

    def test_the_newest_is_the_default(self, mlog: Mlog, make_run: MakeRun) -> None:
        old, new = make_run(OLD), make_run(NEW)
        assert mlog("path").stdout == f"{new}\n"
        assert mlog("path", "latest").stdout == f"{new}\n"
        assert mlog("path", "-2").stdout == f"{old}\n"
        assert mlog("path", "--json", "-2").stdout.count(OLD) == 2
        assert mlog("path", "--", "-2").stdout == f"{old}\n"

    @pytest.mark.parametrize("ref", [OLD, "20261123", "aaaaaa", f"mnist/{OLD}", "base"])
    def test_a_run_has_many_names(
        self, mlog: Mlog, make_run: MakeRun, ref: str
    ) -> None:
        old, _ = make_run(OLD), make_run(NEW)
        (old / "run.json").write_text('{"display_name": "base"}')
        assert mlog("path", ref).stdout == f"{old}\n"
        assert mlog("path", str(old)).stdout == f"{old}\n"

    def test_dir_chooses_the_root(
        self, mlog: Mlog, make_run: MakeRun, tmp_path: Path
    ) -> None:
        make_run(OLD)
        other = tmp_path / "other" / "mnist" / NEW
        other.mkdir(parents=True)
        (other / "run.json").touch()
        assert mlog("path", "--dir", str(tmp_path / "other")).stdout == f"{other}\n"

    def test_json_is_one_object(self, mlog: Mlog, make_run: MakeRun) -> None:
        folder = make_run(NEW, "metrics.jsonl")
        shown = mlog("path", "--json").stdout
        assert shown.count("\n") == 1
        run = {"run": NEW, "experiment": "mnist"}
        assert json.loads(shown) == {**run, "path": str(folder)}
        file = str(folder / "metrics.jsonl")
        shown = mlog("path", "latest", "metrics", "--json").stdout
        assert json.loads(shown) == {**run, "stream": "metrics", "path": file}

    def test_a_name_that_is_no_text_is_printed_as_it_is(
        self, start: Child, tmp_path: Path
    ) -> None:
        root = os.fsencode(tmp_path) + b"/\xff"
        try:
            os.makedirs(root + b"/mnist/" + OLD.encode())
        except OSError:
            pytest.skip("this file system has only names that are text")
        open(root + b"/mnist/" + OLD.encode() + b"/run.json", "wb").close()
        child = start("-m", "mlog", "path", env={"MLOG_DIR": os.fsdecode(root)})
        shown, problems = child.communicate()
        assert (shown, problems) == (root + b"/mnist/" + OLD.encode() + b"\n", b"")


class TestStream:
    """With a stream it is the file that the main process writes at last."""

    def path(self, mlog: Mlog, stream: str) -> str:
        result = mlog("path", "latest", stream)
        assert result.exit_code == 0, result.output
        return Path(result.stdout.strip()).name

    def test_the_newest_segment(self, mlog: Mlog, make_run: MakeRun) -> None:
        """By number, not by name."""
        make_run(NEW, "logs.jsonl", "logs.2.jsonl", "logs.10.jsonl", "events.3.jsonl")
        assert self.path(mlog, "logs") == "logs.10.jsonl"
        assert self.path(mlog, "events") == "events.3.jsonl"

    def test_the_newest_attempt(self, mlog: Mlog, make_run: MakeRun) -> None:
        make_run(NEW, "logs.7.jsonl", "logs-a2.5.jsonl", "logs-a10.jsonl")
        assert self.path(mlog, "logs") == "logs-a10.jsonl"

    def test_other_processes_do_not_count(self, mlog: Mlog, make_run: MakeRun) -> None:
        make_run(NEW, "logs.jsonl", "logs-r1.4.jsonl", "logs-r1-a2.jsonl", "logs-x.9")
        assert self.path(mlog, "logs") == "logs.jsonl"

    def test_a_stream_without_a_file_is_an_error(
        self, mlog: Mlog, make_run: MakeRun
    ) -> None:
        make_run(NEW, "logs.jsonl", "metrics-r1.jsonl")
        result = mlog("path", "latest", "events")
        assert (result.exit_code, result.stdout) == (1, "")
        text = f"mlog: run {NEW} has no events of its main process"
        assert result.stderr == f"{text}\n"
        result = mlog("path", "latest", "metrics")
        assert result.stderr.endswith(", only of other processes: metrics-r1.jsonl\n")


class TestTrouble:
    """One line on stderr says what is wrong and what to type next."""

    def fail(self, mlog: Mlog, *args: str) -> str:
        result = mlog("path", *args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("mlog: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    def test_no_runs_yet(self, start: Child, run_dir: Path) -> None:
        child = start("-m", "mlog", "path")
        shown, problems = child.communicate()
        assert (child.returncode, shown) == (1, b"")
        expected = (
            f"mlog: no runs yet in {run_dir}: start one with `mlog.start_run()` in a "
            "script, or name another folder with --dir\n"
        )
        assert problems.decode() == expected

    def test_close_names_are_offered(self, mlog: Mlog, make_run: MakeRun) -> None:
        run = make_run(NEW)
        (run / "run.json").write_text('{"display_name": "baseline"}')
        assert "did you mean baseline?" in self.fail(mlog, "basline")

    def test_too_far_back(self, mlog: Mlog, make_run: MakeRun) -> None:
        make_run(NEW)
        assert "only 1 in" in self.fail(mlog, "-2")

    def test_several_fit(self, mlog: Mlog, make_run: MakeRun) -> None:
        make_run(NEW)
        make_run(OLD)
        assert f"mnist/{OLD}" in self.fail(mlog, "2026")

    def test_a_stream_in_the_place_of_the_run(
        self, mlog: Mlog, make_run: MakeRun
    ) -> None:
        make_run(NEW)
        assert "`mlog path latest metrics`" in self.fail(mlog, "metrics")

    def test_nothing_typed_can_repaint_the_terminal(
        self, mlog: Mlog, make_run: MakeRun
    ) -> None:
        make_run(NEW)
        told = self.fail(mlog, "a\x1b[2Jb\nc")
        assert told[:-1].isprintable()
        told = self.fail(mlog, "--dir", "/a\x1b[2Jb\nc")
        assert told[:-1].isprintable()

    @pytest.mark.parametrize(
        "args",
        [
            ["latest", "metric"],
            ["latest", "metrics", "more"],
            ["--dir"],
            ["--dir", "~nobody-of-that-name/runs"],
            ["-x"],
        ],
    )
    def test_a_wrong_call_is_code_2(self, mlog: Mlog, args: list[str]) -> None:
        result = mlog("path", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr
        assert isinstance(result.exception, SystemExit)

    def test_a_removed_folder_is_no_place_to_fail(
        self, start: Child, tmp_path: Path, make_run: MakeRun
    ) -> None:
        """Where the shell stands does not matter if the root is known."""
        run = make_run(NEW)
        code = "import os, sys; os.rmdir(os.getcwd()); from mlog.cli import main; "
        gone = tmp_path / "gone"
        gone.mkdir()
        child = start("-c", code + "main()", "path", cwd=gone)
        assert child.communicate() == (os.fsencode(run) + b"\n", b"")
