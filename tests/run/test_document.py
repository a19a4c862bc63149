"""`run.json`: it says what the events say, and may be missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlog
from mlog.run.document import write_document
from mlog.run.joining import open_run_folder


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def said(run: mlog.Run) -> dict[str, Any]:
    found = json.loads((folder(run) / "run.json").read_bytes())
    assert isinstance(found, dict)
    return found


def test_it_is_there_from_the_start() -> None:
    with mlog.start_run("e", name="n") as run:
        assert said(run)["status"] == "Running"
        assert (said(run)["run_id"], said(run)["display_name"]) == (run.id, "n")


def test_the_first_one_says_what_is_read_from_the_events_afterwards() -> None:
    """A start writes it without reading the events it has just written."""
    with mlog.start_run("É one", name="n") as outer, mlog.start_run("e") as inner:
        for run in (outer, inner):
            first = said(run)
            write_document(open_run_folder(folder(run)))
            second = said(run)
            assert list(first) == list(second)
            assert first | {"updated": None} == second | {"updated": None}
        assert said(inner)["parent"] == str(outer.path)


def test_a_start_loads_no_reader() -> None:
    """They would take as long as all the rest of it."""
    code = "import mlog, sys; mlog.start_run('e'); "
    code += "print([m for m in sys.modules if m.startswith('mlog.reader')])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n"


def test_it_says_what_the_run_was_told() -> None:
    with mlog.start_run("e", params={"a": 1}, tags={"b": "c"}, description="d") as run:
        run.add_properties({"e": "f"})
        run.log("loss", 0.5)
    found = said(run)
    assert (found["params"], found["tags"]) == ({"a": 1}, {"b": "c"})
    assert (found["description"], found["properties"]) == ("d", {"e": "f"})
    assert found["metrics"] == {
        "loss": {"last": 0.5, "count": 1, "min": 0.5, "max": 0.5}
    }
    assert found["status"] == "Completed"
    assert found["created"] <= found["ended"] <= found["updated"]


def test_it_follows_what_is_said_after_the_end() -> None:
    with mlog.start_run("e") as run:
        run.log("loss", 0.5)
    run.tag("judged", "good")
    mlog.open_run(run.id).display_name = "best"
    assert (said(run)["tags"], said(run)["display_name"]) == (
        {"judged": "good"},
        "best",
    )
    assert said(run)["metrics"]["loss"]["last"] == 0.5


def test_a_missing_one_is_made_from_the_events() -> None:
    with mlog.start_run("e", params={"a": 1}) as run:
        run.log("loss", 0.5)
    before = said(run)
    (folder(run) / "run.json").unlink()
    assert mlog.open_run(run.id).params == {"a": 1}
    write_document(open_run_folder(folder(run)))
    after = said(run)
    assert after | {"updated": None} == before | {"updated": None}


def test_it_tells_the_error() -> None:
    run = mlog.start_run("e")
    run.fail(ValueError("too bad"), error_code="BadInput")
    error = said(run)["error"]
    assert (error["type"], error["msg"], error["code"]) == (
        "ValueError",
        "too bad",
        "BadInput",
    )
