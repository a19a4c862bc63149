"""How the ranks of a run ended, as its main writer finds it in their files."""

import os
from pathlib import Path

import pytest

import mlog
from mlog.folder import PRIVATE, Folder
from mlog.run.status import fate_of_ranks
from mlog.run.writer import Place, Writer, WriterOptions
from tests.helpers import run_python

FINE = ("Completed", "")


def open_writer(
    root: Path, rank: int | None = None, attempt: int = 1, main: bool = False
) -> Writer:
    """Return the started writer of one process of the run "e/r"."""
    folder = Folder.open_below(root, ["e", "r"], PRIVATE)
    place = Place(main=main, rank=rank, attempt=attempt)
    writer = Writer(folder, place, "r", WriterOptions(), None, lambda: None)
    writer.start()
    return writer


@pytest.fixture
def main(tmp_path: Path) -> Writer:
    """The main writer."""
    return open_writer(tmp_path, main=True)


def test_alone_nobody_failed(main: Writer) -> None:
    main.end("Failed")
    assert fate_of_ranks(main.folder.path, main.name) == FINE


def test_ranks_that_failed_are_named_in_order(main: Writer, tmp_path: Path) -> None:
    for rank, status in enumerate(["Failed", "Completed", "Failed", "Canceled"], 1):
        open_writer(tmp_path, rank).end(status)
    found = fate_of_ranks(main.folder.path, main.name)
    assert found == ("Failed", "failed: r1, r3; canceled: r4")


def test_rank_that_was_cancelled_makes_the_run_canceled(
    main: Writer, tmp_path: Path
) -> None:
    open_writer(tmp_path, 1).end("Canceled")
    open_writer(tmp_path, 2).end("Completed")
    found = fate_of_ranks(main.folder.path, main.name)
    assert found == ("Canceled", "canceled: r1")


def test_rank_that_is_gone_without_an_end_has_failed(
    main: Writer, tmp_path: Path
) -> None:
    """SIGKILL, `os._exit`: nothing is written, but the kernel lets go of its lock."""
    open_writer(tmp_path, 1).forget_lock()
    found = fate_of_ranks(main.folder.path, main.name)
    assert found == ("Failed", "gone without an end: r1")


def test_rank_of_another_host_is_left_to_readers(
    main: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock proves nothing here, and clocks differ: an end is not to be guessed."""
    open_writer(tmp_path, 1).forget_lock()
    monkeypatch.setattr("mlog.reader.alive._boot", lambda: "another")
    monkeypatch.setattr("mlog.reader.alive.SILENCE", 0.0)
    assert fate_of_ranks(main.folder.path, main.name) == FINE


def test_rank_that_is_still_there_has_not_failed(main: Writer, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, 1)
    writer.event("run.tags", {"status": "Failed"})
    assert fate_of_ranks(main.folder.path, main.name) == FINE


def test_other_processes_may_fail(main: Writer, tmp_path: Path) -> None:
    """A data loader or a tool that joined does not speak for the run."""
    open_writer(tmp_path).end("Failed")
    assert fate_of_ranks(main.folder.path, main.name) == FINE


def test_earlier_attempts_are_over(tmp_path: Path) -> None:
    """A run that is resumed and completes is Completed."""
    open_writer(tmp_path, main=True).end("Failed")
    open_writer(tmp_path, 1).end("Failed")
    main = open_writer(tmp_path, main=True, attempt=2)
    other = open_writer(tmp_path, 1, attempt=2)
    assert fate_of_ranks(main.folder.path, main.name) == FINE
    other.end("Failed")
    assert fate_of_ranks(main.folder.path, main.name) == ("Failed", "failed: r1-a2")


def test_ranks_that_were_started_anew_count_by_their_last_attempt(
    main: Writer, tmp_path: Path
) -> None:
    """A launcher below `mlog run` restarts its ranks, while the run goes on."""
    open_writer(tmp_path, 0).end("Canceled")
    open_writer(tmp_path, 1).forget_lock()  # killed
    again = [open_writer(tmp_path, rank, attempt=2) for rank in (0, 1)]
    again[0].end("Completed")
    again[1].end("Completed")
    assert fate_of_ranks(main.folder.path, main.name) == FINE


def test_resumed_run_completes(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="first go"),
        mlog.start_run("e", dir=tmp_path, run_id="r"),
    ):
        raise ValueError("first go")
    with mlog.start_run("e", dir=tmp_path, run_id="r", resume=True) as run:
        run.log("loss", 1)
    assert run.status == "Completed"


def test_what_came_after_the_end_does_not_hide_it(main: Writer, tmp_path: Path) -> None:
    """Destructors and exit handlers may write after `writer.end`."""
    writer = open_writer(tmp_path, 1)
    writer.end("Failed")
    for number in range(100):
        writer.event("run.tags", {"late": str(number)})
    assert fate_of_ranks(main.folder.path, main.name) == ("Failed", "failed: r1")


def test_only_the_ends_of_long_files_are_read(main: Writer, tmp_path: Path) -> None:
    writer = open_writer(tmp_path, 1)
    for number in range(2_000):
        writer.event("run.tags", {"text": f"{number} {'x' * 100}"})
    writer.end("Failed")
    assert fate_of_ranks(main.folder.path, main.name) == ("Failed", "failed: r1")


def test_files_that_are_broken_or_planted_are_passed_over(
    main: Writer, tmp_path: Path
) -> None:
    """None of them keeps a run from ending."""
    folder = main.folder.path
    (folder / "events-empty.jsonl").touch()
    (folder / "events-torn.jsonl").write_bytes(b'{"event":"writer.end","da')
    (folder / "events-odd.jsonl").write_bytes(b'[]\n5\nx\n{"event":"writer.end"}\n')
    (folder / "events-folder.jsonl").mkdir()
    (folder / "events-link.jsonl").symlink_to("events.jsonl")
    os.mkfifo(folder / "events-pipe.jsonl")
    open_writer(tmp_path, 1).end("Failed")
    assert fate_of_ranks(folder, main.name) == ("Failed", "failed: r1")


def test_missing_folder_tells_of_no_failure(tmp_path: Path) -> None:
    assert fate_of_ranks(tmp_path / "missing", "") == FINE


def test_failed_rank_makes_the_run_failed(tmp_path: Path) -> None:
    """The main writer ends the run, and looks at the other ranks before it does."""
    code = """
import os, sys
import mlog
rank = 0
if not (pid := os.fork()):
    rank = 1
os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
run = mlog.start_run("e", dir=sys.argv[1], run_id="r")
if rank:
    run.fail("out of memory")
    os._exit(0)
os.waitpid(pid, 0)
run.complete()
print(run.status)
"""
    done = run_python(code, str(tmp_path))
    assert (done.stdout, done.stderr) == ("Failed\n", "")
