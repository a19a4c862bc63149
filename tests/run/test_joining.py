"""Writing into a run that somebody else began."""

import os
from pathlib import Path

import pytest

import mlog
from mlog.errors import MlogError, UnsafePathError
from mlog.layout import parse_segment
from mlog.run.joining import end_visits, open_run_folder, visiting
from tests.helpers import entries, read_run


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
