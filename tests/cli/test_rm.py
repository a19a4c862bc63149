"""`mlog rm` removes runs, and only those it may."""

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

import mlog
from mlog.cli.rm import Options, carry_out, command, make_plan
from mlog.errors import MlogError
from mlog.reader.find import iter_runs
from tests.helpers import REPO

Rm: TypeAlias = Callable[..., Result]

ONE, TWO = "20261123-182700-aaaaaa", "20261123-182800-bbbbbb"


@pytest.fixture
def rm() -> Rm:
    """Call the command in this process; its input is no terminal."""
    return lambda *args: CliRunner().invoke(command, args, prog_name="mlog rm")


def add(folder: Path, name: str, *events: dict[str, Any]) -> None:
    with (folder / name).open("a") as file:
        file.writelines(f"{json.dumps(event)}\n" for event in events)


def event(seq: int, name: str, ts: str, **data: Any) -> dict[str, Any]:
    return {"ts": ts, "seq": seq, "event": name, "data": data}


def ended(
    root: Path, run_id: str = ONE, parent: Path | None = None, **start: Any
) -> Path:
    """Make a run that has ended, of 1,000 bytes."""
    folder = root / "mnist" / run_id
    folder.mkdir(parents=True)
    ts = "2020-01-02T03:04:05.000000Z"
    if parent is not None:
        start["parent"] = str(parent)
    add(folder, "events.jsonl", event(0, "writer.start", ts, format=1))
    add(folder, "events.jsonl", event(1, "run.start", ts, **start))
    add(folder, "events.jsonl", event(2, "run.end", ts, status="Completed"))
    add(folder, "events.jsonl", event(3, "writer.end", ts, last=3))
    size = (folder / "events.jsonl").stat().st_size
    (folder / "logs.jsonl").write_bytes(b"\n" * (1000 - size))
    return folder


def open_since(root: Path, seconds: float, run_id: str = ONE) -> Path:
    """Make a run without an end, written elsewhere for the last time some seconds ago."""
    folder = root / "mnist" / run_id
    folder.mkdir(parents=True)
    ts = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()[:19] + "Z"
    add(folder, "events.jsonl", event(0, "writer.start", ts, host="far", boot="x"))
    return folder


def runs(root: Path) -> list[str]:
    return [run.name for run in iter_runs(root)]


class TestRemoved:
    """What goes is gone, and what it took is told."""

    def test_with_yes(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir, ONE)
        ended(run_dir, TWO)
        result = rm(ONE, "--yes")
        assert (result.exit_code, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert lines[0].split() == ["run", "status", "last", "entry", "size"]
        assert lines[1].split() == [
            f"mnist/{ONE}",
            "Completed",
            *("2020-01-02", "03:04:05", "UTC", "1.0", "kB"),
        ]
        assert lines[2:] == ["removed 1 run, 1.0 kB freed"]
        assert os.listdir(run_dir / "mnist") == [TWO]

    def test_a_run_by_mlog(self, rm: Rm, run_dir: Path) -> None:
        with mlog.start_run("real") as run:
            run.log_text("a/b.txt", "text")
        assert rm("latest", "--yes").exit_code == 0
        assert os.listdir(run_dir / "real") == []

    def test_several_by_any_name(self, rm: Rm, run_dir: Path) -> None:
        """One that is named twice goes once."""
        ended(run_dir, ONE)
        ended(run_dir, TWO)
        result = rm("-2", TWO, str(run_dir / "mnist" / TWO), "--yes")
        assert "removed 2 runs, 2.0 kB freed\n" in result.stdout
        assert runs(run_dir) == []

    def test_dry_run_changes_nothing(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir)
        result = rm("latest", "--dry-run")
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1] == "would remove 1 run, 1.0 kB"
        assert runs(run_dir) == [ONE]

    def test_json(self, rm: Rm, run_dir: Path) -> None:
        gone = ended(run_dir, ONE)
        kept = open_since(run_dir, 5, TWO)
        result = rm(ONE, TWO, "--yes", "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout) == {
            "removed": [
                {"run": ONE, "experiment": "mnist", "path": str(gone), "bytes": 1000}
            ],
            "kept": [
                {
                    "run": TWO,
                    "experiment": "mnist",
                    "path": str(kept),
                    "reason": "a process still writes it",
                }
            ],
            "bytes": 1000,
            "dry_run": False,
        }

    def test_a_relative_root_with_dots(
        self, rm: Rm, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = ended(run_dir)
        monkeypatch.chdir(run_dir)
        there = f"../{run_dir.name}"
        assert rm(str(folder), "--dir", there, "--dry-run").exit_code == 0
        assert rm(ONE, "--dir", there, "--yes").exit_code == 0

    def test_two_names_of_one_file_count_once(self, rm: Rm, run_dir: Path) -> None:
        folder = ended(run_dir)
        os.link(folder / "logs.jsonl", folder / "copy")
        assert "would remove 1 run, 1.0 kB" in rm(ONE, "--dry-run").stdout


class TestKept:
    """What may not go stays, and why is told; the others go."""

    def assert_stays(self, rm: Rm, run_dir: Path, reason: str, *more: str) -> None:
        result = rm(ONE, "--yes", *more)
        assert result.exit_code == 1
        told = result.stderr.splitlines()
        assert told[0].startswith(f"mlog: mnist/{ONE} stays: {reason}")
        assert told[1:] == ["mlog: nothing to remove"]
        assert ONE in runs(run_dir)

    def test_a_live_run(self, rm: Rm, run_dir: Path) -> None:
        with mlog.start_run("mnist", run_id=ONE) as run:
            run.log("loss", 1)
            self.assert_stays(rm, run_dir, f"process {os.getpid()} on ")

    def test_one_out_of_which_nothing_may_be_removed(
        self, rm: Rm, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It stays whole. Root may do all, so what the system says is a stand-in's."""
        open_since(run_dir, 3600)
        closed = run_dir / "mnist" / ONE / "artifacts"
        closed.mkdir()
        (closed / "file").touch()
        access = os.access

        def answer(path: str, mode: int, **how: Any) -> bool:
            return path != str(closed) and access(path, mode, **how)

        monkeypatch.setattr(os, "access", answer)
        self.assert_stays(rm, run_dir, f"you may not remove what is in {closed}")
        assert (closed / "file").exists()

    def test_one_that_is_written_elsewhere(self, rm: Rm, run_dir: Path) -> None:
        """There is no lock to be seen, but a sign of life in the last minutes."""
        open_since(run_dir, 60)
        self.assert_stays(rm, run_dir, "a process still writes it")

    def test_one_that_has_died_goes(self, rm: Rm, run_dir: Path) -> None:
        open_since(run_dir, 3600)
        assert rm(ONE, "--yes").exit_code == 0

    def test_one_whose_rank_lives(self, rm: Rm, run_dir: Path) -> None:
        """Although the run itself has ended."""
        folder = ended(run_dir)
        now = datetime.now(UTC).isoformat()[:19] + "Z"
        start = event(0, "writer.start", now, rank=1, host="far", pid=7)
        add(folder, "events-r1.jsonl", start)
        self.assert_stays(rm, run_dir, "process 7 on far still writes it")

    def test_a_writer_without_a_start(self, rm: Rm, run_dir: Path) -> None:
        """Its first line is damaged, or about to be written."""
        folder = ended(run_dir)
        (folder / "events-r1.jsonl").touch()
        self.assert_stays(rm, run_dir, "somebody may be writing it")

    def test_a_status_of_a_run_that_goes_on(self, rm: Rm, run_dir: Path) -> None:
        folder = ended(run_dir)
        ts = "2020-01-02T03:04:06.000000Z"
        add(folder, "events.jsonl", event(4, "run.end", ts, status="Finalizing"))
        self.assert_stays(rm, run_dir, "it is Finalizing")

    def test_others_go_nevertheless(self, rm: Rm, run_dir: Path) -> None:
        open_since(run_dir, 5, ONE)
        ended(run_dir, TWO)
        result = rm(ONE, TWO, "--yes")
        assert result.exit_code == 1
        assert "removed 1 run," in result.stdout
        assert runs(run_dir) == [ONE]

    def test_one_that_is_not_below_the_root(
        self, rm: Rm, run_dir: Path, tmp_path: Path
    ) -> None:
        folder = ended(tmp_path / "elsewhere")
        result = rm(str(folder), "--yes")
        assert result.exit_code == 1
        assert f"it is not in {run_dir}: name its root with --dir" in result.stderr
        assert folder.exists()

    def test_one_that_has_come_to_life(self, run_dir: Path) -> None:
        """While the user was asked, say: then it stays after all."""
        folder = ended(run_dir)
        plan = make_plan(run_dir, [folder], recursive=False)
        assert len(plan.going) == 1
        now = datetime.now(UTC).isoformat()[:19] + "Z"
        add(folder, "events-a2.jsonl", event(0, "writer.start", now, attempt=2))
        with pytest.raises(SystemExit):
            carry_out(run_dir, plan, Options(yes=True, dry_run=False, as_json=True))
        assert [kept.folder for kept in plan.kept] == [folder]
        assert folder.exists()


class TestShipped:
    """A run with a `.ship` folder goes only when all of it is known to be sent."""

    def ship(self, folder: Path, name: str, content: Any) -> None:
        (folder / ".ship").mkdir(exist_ok=True)
        (folder / ".ship" / name).write_text(json.dumps(content))

    @pytest.mark.parametrize("content", [{}, [], "x", {"offset": 3}, {"segments": 1}])
    def test_a_cursor_that_is_not_understood(
        self, rm: Rm, run_dir: Path, content: Any
    ) -> None:
        self.ship(ended(run_dir), "sink.host.json", content)
        reason = "nobody can tell whether it was sent: .ship/sink.host.json"
        TestKept().assert_stays(rm, run_dir, reason)

    def test_no_cursor(self, rm: Rm, run_dir: Path) -> None:
        (ended(run_dir) / ".ship").mkdir()
        TestKept().assert_stays(rm, run_dir, "nobody can tell whether it was sent")

    def test_no_folder(self, rm: Rm, run_dir: Path) -> None:
        (ended(run_dir) / ".ship").write_text("")
        TestKept().assert_stays(rm, run_dir, "nobody can tell whether it was sent")

    def test_a_link(self, rm: Rm, run_dir: Path, tmp_path: Path) -> None:
        (ended(run_dir) / ".ship").symlink_to(tmp_path)
        TestKept().assert_stays(rm, run_dir, "nobody can tell whether it was sent")

    def test_a_cursor_that_is_behind(self, rm: Rm, run_dir: Path) -> None:
        folder = ended(run_dir)
        sizes = {path.name: path.stat().st_size for path in folder.glob("*.jsonl")}
        self.ship(folder, "a.host.json", sizes)
        self.ship(folder, "b.host.json", sizes | {"logs.jsonl": 1})
        TestKept().assert_stays(rm, run_dir, "not all of it was sent: .ship/b.host")

    def test_a_cursor_that_lacks_a_segment(self, rm: Rm, run_dir: Path) -> None:
        self.ship(ended(run_dir), "a.host.json", {"events.jsonl": 1000})
        TestKept().assert_stays(rm, run_dir, "not all of it was sent: .ship/a.host")

    @pytest.mark.parametrize("in_segments", [True, False])
    def test_all_was_sent(self, rm: Rm, run_dir: Path, in_segments: bool) -> None:
        folder = ended(run_dir)
        sizes: dict[str, Any] = {
            path.name: {"offset": path.stat().st_size}
            if in_segments
            else path.stat().st_size
            for path in folder.glob("*.jsonl")
        }
        self.ship(folder, "a.host.json", {"segments": sizes} if in_segments else sizes)
        assert rm(ONE, "--yes").exit_code == 0

    def test_refused_entries(self, rm: Rm, run_dir: Path) -> None:
        self.ship(ended(run_dir), "a.dead.jsonl", {"reason": "no"})
        reason = "entries of it were refused: see .ship/a.dead.jsonl"
        TestKept().assert_stays(rm, run_dir, reason)


class TestChildren:
    """Children go with their parent only if that is asked for."""

    def test_a_parent_stays(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir, TWO, parent=ended(run_dir, ONE))
        reason = f"it has a child ({TWO}): --recursive removes them, too"
        TestKept().assert_stays(rm, run_dir, reason)

    def test_recursive_takes_all(self, rm: Rm, run_dir: Path) -> None:
        child = ended(run_dir, TWO, parent=ended(run_dir, ONE))
        ended(run_dir, "grandchild", parent=child)
        result = rm(ONE, "--recursive", "--yes")
        assert "removed 3 runs, 3.0 kB freed" in result.stdout
        assert runs(run_dir) == []

    def test_children_that_are_named_go(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir, TWO, parent=ended(run_dir, ONE))
        assert rm(ONE, TWO, "--yes").exit_code == 0

    def test_a_child_alone_goes(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir, TWO, parent=ended(run_dir, ONE))
        assert rm(TWO, "--yes").exit_code == 0
        assert runs(run_dir) == [ONE]

    def test_with_a_child_that_stays_the_family_stays(
        self, rm: Rm, run_dir: Path
    ) -> None:
        parent = ended(run_dir, ONE)
        ended(run_dir, TWO, parent=parent)
        live = ended(run_dir, "live", parent=parent)
        (live / "events-r1.jsonl").touch()
        TestKept().assert_stays(rm, run_dir, "its child live stays: ", "--recursive")
        assert len(runs(run_dir)) == 3

    def test_a_root_that_was_moved(self, rm: Rm, run_dir: Path, tmp_path: Path) -> None:
        """Parents are named by a path that may no longer be true."""
        ended(tmp_path / "old", TWO, parent=ended(tmp_path / "old", ONE))
        shutil.move(tmp_path / "old", run_dir)
        TestKept().assert_stays(rm, run_dir, "it has a child")

    def test_a_run_that_is_its_own_ancestor(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir, ONE, parent=run_dir / "mnist" / TWO)
        ended(run_dir, TWO, parent=run_dir / "mnist" / ONE)
        assert rm(ONE, "--recursive", "--yes").exit_code == 0
        assert runs(run_dir) == []


class TestSafely:
    """Nothing outside the run is touched, and no half of a run is left."""

    def test_links_in_a_run_are_not_followed(
        self, rm: Rm, run_dir: Path, tmp_path: Path
    ) -> None:
        folder = ended(run_dir)
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").write_text("x" * 5000)
        (folder / "artifacts").symlink_to(precious)
        (folder / "file").symlink_to(precious / "file")
        assert rm(ONE, "--yes").exit_code == 0
        assert (precious / "file").exists()

    def test_a_link_is_no_run(self, rm: Rm, run_dir: Path, tmp_path: Path) -> None:
        target = ended(tmp_path / "elsewhere")
        (run_dir / "mnist").mkdir(parents=True)
        (run_dir / "mnist" / ONE).symlink_to(target)
        assert isinstance(rm(ONE, "--yes").exception, MlogError)
        assert target.exists()

    def test_a_link_in_the_place_of_the_experiment(
        self, run_dir: Path, tmp_path: Path
    ) -> None:
        """Also one that was put there after the run was found."""
        folder = ended(run_dir)
        plan = make_plan(run_dir, [folder], recursive=False)
        folder.parent.rename(tmp_path / "moved")
        folder.parent.symlink_to(tmp_path / "moved")
        with pytest.raises(SystemExit):
            carry_out(run_dir, plan, Options(yes=True, dry_run=False, as_json=True))
        assert (tmp_path / "moved" / ONE).exists()
        assert len(plan.kept) == 1

    def test_what_is_half_removed_is_no_run(
        self, run_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It goes with the next removal, wherever below the root it is."""
        folder, other = ended(run_dir, ONE), ended(run_dir, TWO)

        def interrupted(*args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

        plan = make_plan(run_dir, [folder], recursive=False)
        options = Options(yes=True, dry_run=False, as_json=False)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", interrupted)
            with pytest.raises(KeyboardInterrupt):
                carry_out(run_dir, plan, options)
        assert runs(run_dir) == [TWO]
        assert len(os.listdir(run_dir / "mnist")) == 2
        carry_out(run_dir, make_plan(run_dir, [other], recursive=False), options)
        assert os.listdir(run_dir / "mnist") == []

    def test_what_the_sweep_frees_is_told(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir)
        left = run_dir / "other" / f".removed-{ONE}-0123abcd"
        left.mkdir(parents=True)
        (left / "logs.jsonl").write_bytes(b"x" * 500)
        (run_dir / "other" / ".removed-by-hand").mkdir()
        result = rm(ONE, "--yes")
        assert result.stdout.splitlines()[-1] == (
            "removed 1 run, 1.5 kB freed, 500 B of it of an interrupted removal"
        )
        assert os.listdir(run_dir / "other") == [".removed-by-hand"]

    def test_a_long_id(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir, "x" * 255)
        assert rm("latest", "--yes").exit_code == 0
        assert os.listdir(run_dir / "mnist") == []


class TestAsking:
    """A terminal is asked; where there is none, --yes is needed."""

    def ask(self, root: Path, answer: bytes) -> "subprocess.CompletedProcess[str]":
        """Call the command in a child that has a terminal for its input."""
        code = "from mlog.cli.rm import command; command()"
        ours, theirs = pty.openpty()
        try:
            os.write(ours, answer)
            return subprocess.run(
                [sys.executable, "-c", code, "latest", "--dir", str(root)],
                stdin=theirs,
                capture_output=True,
                encoding="utf-8",
                env={**os.environ, "PYTHONPATH": str(REPO)},
                timeout=60,
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)

    def test_yes(self, run_dir: Path) -> None:
        ended(run_dir)
        done = self.ask(run_dir, b"y\n")
        assert (done.returncode, runs(run_dir)) == (0, [])
        assert "Remove 1 run, 1.0 kB? [y/N]" in done.stderr
        assert f"mnist/{ONE}" in done.stdout

    @pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"])
    def test_no(self, run_dir: Path, answer: bytes) -> None:
        ended(run_dir)
        done = self.ask(run_dir, answer)
        assert (done.returncode, runs(run_dir)) == (1, [ONE])
        assert done.stderr.endswith("mlog: nothing removed\n")

    def test_without_a_terminal_it_is_a_wrong_call(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir)
        result = rm(ONE)
        assert (result.exit_code, runs(run_dir)) == (2, [ONE])
        assert "add --yes or --dry-run" in result.stderr

    def test_json_does_not_ask(self, rm: Rm, run_dir: Path) -> None:
        ended(run_dir)
        assert (rm(ONE, "--json").exit_code, runs(run_dir)) == (2, [ONE])

    def test_without_a_run_it_is_a_wrong_call(self, rm: Rm) -> None:
        """Nothing is removed because it happens to be the newest."""
        assert rm("--yes").exit_code == 2

    def test_unknown_runs_are_an_error(self, rm: Rm, run_dir: Path) -> None:
        """Then nothing is removed, also not those that are there."""
        ended(run_dir)
        assert isinstance(rm(ONE, "nothing", "--yes").exception, MlogError)
        assert runs(run_dir) == [ONE]


def test_the_whole_answer(
    rm: Rm, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go, and below it why the others stay."""
    monkeypatch.setenv("COLUMNS", "100")
    ended(run_dir, ONE, display_name="a\nname that is rather long")
    open_since(run_dir, 1, TWO)
    result = rm(ONE, TWO, "--dry-run")
    assert result.stdout.splitlines() == [
        "run                           name                        status     "
        "last entry                 size",
        f"mnist/{ONE}  a\\nname that is rather lo…  Completed  "
        "2020-01-02 03:04:05 UTC  1.0 kB",
        "would remove 1 run, 1.0 kB",
    ]
    stays = f"mlog: mnist/{TWO} stays: a process still writes it\n"
    assert (result.exit_code, result.stderr) == (1, stays)
