"""Writing into a run that somebody else began."""

import os
import sys
import threading
from pathlib import Path

import pytest

import mlog
from mlog.errors import MlogError, UnsafePathError
from mlog.layout import parse_segment
from mlog.run.joining import end_visits, open_run_folder, visiting
from tests.helpers import REPO, entries, lost, read_run, run_python


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


@pytest.fixture
def finished() -> Path:
    with mlog.start_run("e", redact=["plum"], level="WARNING") as run:
        pass
    return folder(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e" / "r").mkdir(parents=True)
    with pytest.raises(MlogError, match="is no run"):
        open_run_folder(tmp_path / "e" / "r")


def test_a_link_is_not_followed(finished: Path) -> None:
    link = finished.parent / "link"
    link.symlink_to(finished)
    with pytest.raises(UnsafePathError, match="is a link"):
        open_run_folder(link)


def test_there_is_one_recorder_for_each_run_and_process(finished: Path) -> None:
    assert visiting(finished) is visiting(finished)


def test_a_visitor_writes_nothing_before_it_is_told_something(finished: Path) -> None:
    before = sorted(os.listdir(finished))
    visiting(finished)
    end_visits()
    assert sorted(os.listdir(finished)) == before


def test_a_visitor_ends_itself_and_not_the_run(finished: Path) -> None:
    run = mlog.open_run(str(finished))
    run.tag("a", "b")
    end_visits()
    writers = read_run(finished)
    (visitor,) = (name for name in writers if name)
    events = [entry["event"] for entry in writers[visitor]]
    assert events == ["writer.start", "run.tags", "writer.end"]
    assert parse_segment(f"events-{visitor}.jsonl") is not None


def test_a_visitor_obeys_what_the_run_was_started_with(finished: Path) -> None:
    mlog.open_run(str(finished)).set_tags({"plum": "very secret"})
    said = [e for e in entries(finished, "events") if e["event"] == "run.tags"]
    assert said[0]["data"] == {"plum": "***"}


def test_visits_of_one_run_can_be_ended_alone(finished: Path) -> None:
    with mlog.start_run("e") as other:
        pass
    one, two = visiting(finished), visiting(folder(other))
    end_visits(finished)
    assert (one.is_open, two.is_open) == (False, True)


@pytest.mark.skipif(sys.platform == "win32", reason="counts files in /proc")
def test_visits_of_many_runs_leave_files_to_open() -> None:
    """Tagging each of a thousand runs must not end in "too many open files"."""
    paths = []
    for _ in range(40):
        with mlog.start_run("e") as run:
            paths.append(str(run.path))
    end_visits()
    before = len(os.listdir("/proc/self/fd"))
    runs = [mlog.open_run(path) for path in paths]
    for _ in range(2):
        for run in runs:
            run.tag("seen", "yes")
    assert len(os.listdir("/proc/self/fd")) - before <= 3 * 32
    end_visits()
    assert len(os.listdir("/proc/self/fd")) == before
    assert {run.tags["seen"] for run in runs} == {"yes"}
    assert all(lost(Path(path)) == {} for path in paths)


def test_threads_share_one_visit(finished: Path) -> None:
    runs = [mlog.open_run(str(finished)) for _ in range(8)]
    start = threading.Barrier(len(runs))

    def write(run: mlog.Run) -> None:
        start.wait()
        run.log("x", 1)

    threads = [threading.Thread(target=write, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end_visits()
    assert len([name for name in read_run(finished) if name]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_visit_ends_with_a_multiprocessing_child(
    finished: Path, tmp_path: Path
) -> None:
    """Such a child is left by `os._exit`; its writer says its last number first."""
    script = tmp_path / "program.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "import mlog\n"
        "def visit(path):\n"
        "    mlog.open_run(path).log('x', 1)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('fork')\n"
        "    child = context.Process(target=visit, args=sys.argv[1:])\n"
        "    child.start()\n"
        "    child.join()\n"
    )
    done = run_python(script, str(finished), env={"PYTHONPATH": str(REPO)})
    assert (done.returncode, done.stderr) == (0, "")
    (visitor,) = (wrote for name, wrote in read_run(finished).items() if name)
    assert visitor[-1]["event"] == "writer.end"
