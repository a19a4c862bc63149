"""`start_run`: where a run lies, what it is called, how it begins, nests and resumes."""

import errno
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import mlog
from mlog.errors import MlogWarning
from mlog.layout import is_slug
from mlog.redaction import Redactor
from mlog.tap import getLogger
from tests.helpers import REPO, entries, lost, read_run, run_python

ENV = {"PYTHONPATH": str(REPO)}


@pytest.fixture(autouse=True)
def no_hidden_warnings(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test whose run warned where no warning was expected.

    Under `-W error` a warning of mlog's own goes to stderr instead of being raised.
    """
    yield
    assert "mlog: warning" not in capsys.readouterr().err


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def summary(run: mlog.Run) -> dict[str, Any]:
    found = json.loads((folder(run) / "run.json").read_bytes())
    assert isinstance(found, dict)
    return found


def names(run: mlog.Run) -> list[str]:
    return sorted(os.listdir(folder(run)))


def event(run: mlog.Run, name: str) -> dict[str, Any]:
    """Return the data of the only event of that name."""
    found = [e["data"] for e in entries(folder(run), "events") if e["event"] == name]
    assert len(found) == 1, f"{len(found)} of {name}"
    data = found[0]
    assert isinstance(data, dict)
    return data


# --- what a run leaves -----------------------------------------------------------------


def test_a_run_lies_in_a_folder_of_its_experiment(run_dir: Path) -> None:
    with mlog.start_run("mnist", name="first try") as run:
        assert folder(run).parent == run_dir / "mnist"
        assert folder(run).name == run.id
        assert is_slug(run.id)
        assert (run.name, run.experiment) == ("first try", "mnist")
    assert names(run) == ["events.jsonl", "run.json"]


def test_entries_of_a_run_come_in_order() -> None:
    """`writer.start` is number 0, `run.start` 1; `run.end` and `writer.end` are last."""
    with mlog.start_run("order", params={"lr": 0.1}, tags={"who": "me"}) as run:
        run.log("loss", 0.5, step=1)
        logging.getLogger("order").info("half way")
    writers = read_run(folder(run))
    assert list(writers) == [""]
    told = [e.get("event") or e.get("msg") or e["metric"] for e in writers[""]]
    assert told == [
        "writer.start",
        "run.start",
        "run.params",
        "run.tags",
        {"loss": 0.5},
        "half way",
        "run.environment",
        "run.end",
        "writer.end",
    ]
    assert [e["seq"] for e in writers[""]] == list(range(9))
    assert event(run, "writer.end") == {"last": 8, "status": "Completed"}


def test_run_start_tells_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "0.1", "--api-key=sesame"])
    with mlog.start_run("facts", name="Größe") as run:
        pass
    facts = event(run, "run.start")
    assert facts["experiment"] == "facts"
    assert facts["display_name"] == "Größe"
    assert facts["argv"] == ["train.py", "--lr", "0.1", "--api-key=***"]
    assert facts["cwd"] == str(Path.cwd())
    assert facts["python"] == sys.version.split()[0]
    assert "parent" not in facts


def test_writer_start_tells_who_writes() -> None:
    with mlog.start_run("who") as run:
        pass
    facts = event(run, "writer.start")
    assert facts["format"] == 1
    assert facts["run"] == run.id
    assert (facts["pid"], facts["attempt"], facts["world_size"]) == (os.getpid(), 1, 1)


def test_run_json_sums_up_an_ended_run() -> None:
    """It is what people and `mlog ls` read; the entries tell the same."""
    with mlog.start_run("sum", name="n", params={"lr": 1}, tags={"k": "v"}) as run:
        for step, loss in enumerate([3.0, 1.0, float("nan"), 2.0]):
            run.log("loss", loss, step=step)
    found = summary(run)
    assert found["status"] == "Completed"
    assert (found["params"], found["tags"]) == ({"lr": 1}, {"k": "v"})
    expected = {"last": 2.0, "min": 1.0, "max": 3.0, "count": 4}
    assert found["metrics"] == {"loss": expected}
    assert event(run, "run.end")["metrics"] == {"loss": expected}
    assert found["created"] <= found["ended"]


def test_a_running_run_has_its_json_from_the_start() -> None:
    with mlog.start_run("early") as run:
        assert summary(run)["status"] == "Running"


def test_files_are_private_under_any_umask(run_dir: Path) -> None:
    before = os.umask(0o000)
    try:
        with mlog.start_run("private") as run:
            run.log("x", 1)
    finally:
        os.umask(before)
    for path in (run_dir, folder(run).parent, folder(run)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for name in names(run):
        assert stat.S_IMODE((folder(run) / name).stat().st_mode) == 0o600, name


def test_group_mode_shares_with_the_group(run_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        with mlog.start_run("shared", mode="group") as run:
            run.log("x", 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder(run).stat().st_mode) == 0o2770
    assert stat.S_IMODE((folder(run) / "metrics.jsonl").stat().st_mode) == 0o660


# --- names -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["../x", "NUL", "a" * 300, "/etc", "bad \ud800 text", "..", "a\0b", "C:\\x", "ü/ö"],
)
def test_any_text_may_name_an_experiment_and_a_run(text: str, run_dir: Path) -> None:
    """What a user types is slugged for the path, and stays below the root."""
    with mlog.start_run(text, name=text, run_id=text) as run:
        run.log("x", 1)
    assert folder(run).parent.parent == run_dir
    assert is_slug(folder(run).name)
    assert is_slug(folder(run).parent.name)
    assert run.id == folder(run).name
    shown = text.replace("\ud800", "\N{REPLACEMENT CHARACTER}")
    assert summary(run)["display_name"] == summary(run)["experiment"] == shown
    assert event(run, "run.end")["status"] == "Completed"


@pytest.mark.parametrize("argument", ["experiment", "name", "run_id"])
def test_a_name_that_is_no_text_is_refused(argument: str, run_dir: Path) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be text, got 3"):
        mlog.start_run(**{argument: 3})  # type: ignore[arg-type]
    assert not run_dir.exists()


def test_the_git_folder_names_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project" / ".git").mkdir(parents=True)
    (tmp_path / "project" / "src").mkdir()
    monkeypatch.chdir(tmp_path / "project" / "src")
    with mlog.start_run() as run:
        assert run.experiment == "project"


def test_the_script_names_the_experiment_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["somewhere/fit.py"])
    with mlog.start_run() as run:
        assert run.experiment == "fit"


# --- where runs go ---------------------------------------------------------------------


def test_dir_comes_before_the_environment(tmp_path: Path) -> None:
    with mlog.start_run("e", dir=tmp_path / "mine") as run:
        assert folder(run).parent == tmp_path / "mine" / "e"


def test_the_nearest_mlog_folder_upward_is_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOG_DIR")
    (tmp_path / ".mlog").mkdir()
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with mlog.start_run("e") as run:
        assert folder(run).parent == tmp_path / ".mlog" / "e"


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_DATA_HOME is Linux's")
def test_the_users_data_folder_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOG_DIR")
    monkeypatch.chdir(tmp_path)
    with mlog.start_run("e") as run:
        assert folder(run).parent == tmp_path / "data" / "mlog" / "e"


@pytest.mark.parametrize(
    "garbage", ["file", "below a file", "no path", "too long", "not for files"]
)
def test_a_root_that_cannot_be_written_to_is_replaced(
    garbage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training goes on; one warning, at the caller's line, names the new root."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    root: Any = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "root",
        "no path": "bad\0path",
        "too long": tmp_path / ("x" * 5_000),
        "not for files": "/proc/mlog",
    }[garbage]
    with (
        pytest.warns(mlog.MlogWarning, match="cannot be written to") as told,
        mlog.start_run("e", dir=root) as run,
    ):
        run.log("x", 1)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert str(folder(run).parent.parent) in str(told[0].message)
    assert folder(run).parent.parent.parent == tmp_path
    assert len(entries(folder(run), "metrics")) == 1


def test_runs_of_a_process_are_found_in_the_root_that_replaces_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them lie in one, which is warned about once."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLOG_DIR", str(tmp_path / "file"))
    with pytest.warns(mlog.MlogWarning, match="runs of this process go to") as told:
        first, second = mlog.start_run("e"), mlog.start_run("f", name="named")
    assert len(told) == 1
    assert folder(first).parent.parent == folder(second).parent.parent
    assert mlog.open_run("named") is second
    assert mlog.open_run(first.id[-6:]) is first
    assert {run.id for run in mlog.runs()} == {first.id, second.id}
    second.complete()
    first.complete()
    assert mlog.open_run("latest").path == folder(second)
    with mlog.start_run(resume=first.id) as again:
        assert folder(again) == folder(first)
    with pytest.raises(mlog.RunNotFoundError, match="no run 'other'"):
        mlog.open_run("other")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_root_without_write_permission_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with (
        pytest.warns(mlog.MlogWarning, match="cannot be written to"),
        mlog.start_run("e", dir=tmp_path / "locked") as run,
    ):
        assert not folder(run).is_relative_to(tmp_path / "locked")


def test_a_home_that_nobody_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no home folder for '~no-such-user/x'"):
        mlog.start_run("e", dir="~no-such-user/x")


@pytest.mark.parametrize("level", ["experiment", "run"])
def test_a_link_below_the_root_is_not_followed(
    level: str, tmp_path: Path, run_dir: Path
) -> None:
    """Whoever can write into the root must not lead a run's files elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    place = run_dir / "e" if level == "experiment" else run_dir / "e" / "r"
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(mlog.UnsafePathError, match="is a link"):
        mlog.start_run("e", run_id="r")
    assert mlog.current_run() is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with mlog.start_run("e", dir=tmp_path / "link") as run:
        run.log("x", 1)
    assert folder(run).exists()


# --- wrong arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"level": "LOUD"}, "unknown level 'LOUD'; expected 'auto' or one of"),
        ({"level": None}, "level must be a number or a name, got None"),
        ({"level": {"a": True}}, "level must be a number or a name, got True"),
        ({"level": {1: "INFO"}}, "a level map has logger prefixes, got 1"),
        ({"mode": "public"}, "mode must be 'private' or 'group', got 'public'"),
        ({"fsync_interval": 0}, "fsync_interval must be seconds > 0, 'always' or None"),
        ({"fsync_interval": "now"}, "fsync_interval must be"),
        ({"flight_recorder": -1}, "flight_recorder must be an integer >= 0, got -1"),
        ({"filters": 3}, "not iterable"),
        ({"redact": 3}, "not iterable"),
        ({"resume": True}, "resume=True goes on with the run of run_id="),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_made(
    wrong: dict[str, Any], says: str, run_dir: Path
) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        mlog.start_run("e", **wrong)
    assert mlog.current_run() is None
    assert "MLOG_RUN" not in os.environ
    assert not run_dir.exists()


def test_an_unknown_parent_is_refused_before_anything_is_made(run_dir: Path) -> None:
    with pytest.raises(mlog.RunNotFoundError, match="no run 'nobody'"):
        mlog.start_run("e", parent="nobody")
    assert not run_dir.exists()


def test_an_unknown_mode_of_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLOG_MODE", "loud")
    with pytest.raises(ValueError, match="MLOG_MODE must be one of off, new, join"):
        mlog.start_run("e")


# --- once more -------------------------------------------------------------------------


def test_an_id_is_given_once() -> None:
    with mlog.start_run("e", run_id="r1") as run:
        pass
    with pytest.raises(mlog.RunExistsError, match="run 'r1' is there already, in"):
        mlog.start_run("e", run_id="r1")
    assert len(read_run(folder(run))) == 1
    assert mlog.current_run() is None


@pytest.mark.parametrize("how", ["id", "latest", "name", "path", "prefix"])
def test_resuming_makes_a_second_attempt(how: str) -> None:
    """Segments of the first stay as they are; `a2` writes its own."""
    with mlog.start_run("e", run_id="fit-7", name="big one") as first:
        first.log("loss", 1.0, step=1)
    before = (folder(first) / "events.jsonl").read_bytes()
    ways: dict[str, dict[str, Any]] = {
        "id": {"run_id": "fit-7", "resume": True},
        "latest": {"resume": "latest"},
        "name": {"resume": "big one"},
        "path": {"resume": str(first.path)},
        "prefix": {"resume": "fit"},
    }
    again = ways[how]
    with mlog.start_run("e", **again) as second:
        second.log("loss", 0.5, step=2)
    assert second.path == first.path
    assert (folder(first) / "events.jsonl").read_bytes() == before
    told = entries(folder(second) / "events-a2.jsonl")
    assert [e["event"] for e in told][:2] == ["writer.start", "run.start"]
    assert told[0]["data"]["attempt"] == 2
    assert entries(folder(second) / "metrics-a2.jsonl")[0]["metric"] == {"loss": 0.5}
    assert summary(second)["attempt"] == 2
    assert lost(folder(second)) == {}


def test_a_resumed_run_goes_on_with_its_params_tags_and_name() -> None:
    """They belong to the run, not to the attempt; a param is still set once."""
    with mlog.start_run("e", run_id="r", name="shown") as first:
        first.log_params({"lr": 0.1})
        first.set_tags({"stage": "one", "who": "me"})
        created = summary(first)["created"]
    with mlog.start_run("e", run_id="r", resume=True) as second:
        with pytest.warns(mlog.MlogWarning, match="param 'lr' is 0.1 already"):
            second.log_params({"lr": 0.2, "depth": 3})
        second.tag("stage", "two")
    found = summary(second)
    assert found["params"] == {"lr": 0.1, "depth": 3}
    assert found["tags"] == {"stage": "two", "who": "me"}
    assert (found["display_name"], found["created"]) == ("shown", created)


def test_resuming_a_run_without_its_json_works() -> None:
    """`run.json` is derived: it may be missing, broken or not what it should be."""
    for broken in ("", "[1]", '{"params": 3, "display_name": 4}'):
        with mlog.start_run("e", run_id="r", resume=True) as run:
            pass
        (folder(run) / "run.json").write_text(broken)
    (folder(run) / "run.json").unlink()
    with mlog.start_run("e", resume="r") as run:
        assert run.name == "r"
    assert summary(run)["attempt"] == 4


def test_resume_true_begins_a_run_that_is_not_there() -> None:
    """So a requeued job is started by the same line as the first time."""
    with mlog.start_run("e", run_id="job-1", resume=True) as run:
        assert run.id == "job-1"
    assert names(run) == ["events.jsonl", "run.json"]


def test_resuming_nothing_is_an_error() -> None:
    with pytest.raises(mlog.RunNotFoundError, match="no runs yet"):
        mlog.start_run("e", resume="latest")


def test_a_second_attempt_makes_up_for_a_first_that_failed() -> None:
    with mlog.start_run("e", run_id="r") as run:
        run.fail("out of memory")
    with mlog.start_run("e", run_id="r", resume=True) as run:
        pass
    assert summary(run)["status"] == "Completed"


# --- nesting ---------------------------------------------------------------------------


def test_a_run_in_a_run_is_its_child() -> None:
    with mlog.start_run("outer") as outer:
        with mlog.start_run("inner") as inner:
            assert mlog.current_run() is inner
            logging.getLogger("n").info("in the inner one")
        assert mlog.current_run() is outer
        logging.getLogger("n").info("in the outer one")
    assert event(inner, "run.start")["parent"] == str(outer.path)
    assert event(outer, "run.child") == {"run": inner.id, "path": str(inner.path)}
    assert [e["msg"] for e in entries(folder(inner), "logs")] == ["in the inner one"]
    assert [e["msg"] for e in entries(folder(outer), "logs")] == ["in the outer one"]


def test_runs_may_end_out_of_order() -> None:
    outer = mlog.start_run("outer")
    middle = mlog.start_run("middle")
    inner = mlog.start_run("inner")
    middle.complete()
    assert mlog.current_run() is inner
    inner.complete()
    assert mlog.current_run() is outer
    with mlog.start_run("next") as child:
        assert event(child, "run.start")["parent"] == str(outer.path)
    outer.complete()
    assert mlog.current_run() is None


@pytest.mark.parametrize("how", ["run", "id", "path"])
def test_a_parent_may_be_named(how: str) -> None:
    with mlog.start_run("above", run_id="p") as parent:
        pass
    named: Any = {"run": parent, "id": "p", "path": parent.path}[how]
    with mlog.start_run("below", parent=named) as run:
        pass
    assert event(run, "run.start")["parent"] == str(parent.path)
    assert summary(run)["parent"] == str(parent.path)


# --- what child processes see ----------------------------------------------------------


def test_child_processes_find_the_run_by_the_environment() -> None:
    with mlog.start_run("e") as run:
        assert os.environ["MLOG_RUN"] == str(run.path)
    assert "MLOG_RUN" not in os.environ


@pytest.mark.parametrize("inherited", [None, "/some/run"])
def test_the_environment_is_put_back(
    inherited: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if inherited:
        monkeypatch.setenv("MLOG_RUN", inherited)
    outer, inner = mlog.start_run("outer"), mlog.start_run("inner")
    assert os.environ["MLOG_RUN"] == str(inner.path)
    inner.complete()
    assert os.environ["MLOG_RUN"] == str(outer.path)
    outer.complete()
    assert os.environ.get("MLOG_RUN") == inherited


@pytest.mark.parametrize("inherited", [None, "/some/run"])
def test_the_environment_is_put_back_by_runs_that_end_out_of_order(
    inherited: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No child process is ever sent to a run that has ended."""
    if inherited:
        monkeypatch.setenv("MLOG_RUN", inherited)
    first, second, third = (mlog.start_run(n) for n in ("a", "b", "c"))
    second.complete()
    assert os.environ["MLOG_RUN"] == str(third.path)
    third.complete()
    assert os.environ["MLOG_RUN"] == str(first.path)
    first.complete()
    assert os.environ.get("MLOG_RUN") == inherited


def test_a_variable_that_somebody_else_set_is_left_alone() -> None:
    run = mlog.start_run("e")
    os.environ["MLOG_RUN"] = "/other"
    run.complete()
    assert os.environ.pop("MLOG_RUN") == "/other"


def test_a_run_of_this_process_is_no_inherited_one() -> None:
    """`MLOG_RUN` of an own run does not make the next one its child."""
    first = mlog.start_run("e", run_id="one")
    second = mlog.start_run("e", run_id="two")
    first.complete()
    second.complete()
    third = mlog.start_run("e", run_id="one", resume=True)
    fourth = mlog.start_run("e", run_id="two", resume=True)
    third.complete()
    fifth = mlog.start_run("e", run_id="one", resume=True)
    fifth.complete()
    fourth.complete()
    with mlog.start_run("e") as run:
        assert "parent" not in event(run, "run.start")


def test_resuming_the_inherited_run_does_not_make_it_its_own_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with mlog.start_run("e", run_id="r") as run:
        pass
    monkeypatch.setenv("MLOG_RUN", str(run.path))
    with mlog.start_run("e", run_id="r", resume=True) as again:
        pass
    assert "parent" not in summary(again)


# --- runs that are off -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_run_that_is_off_takes_and_drops_all(
    how: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is on the disk, nothing warns, everything else is as usual."""
    if how == "environment":
        monkeypatch.setenv("MLOG_MODE", "off")
    off = how == "argument"
    with mlog.start_run("e", name="n", disabled=off, params={"lr": 1}) as run:
        run.log("loss", 1.0)
        run.tag("a", 1)
        getLogger("x").info(metric={"loss": 1.0})
        logging.getLogger("x").info("line")
        assert mlog.current_run() is run
        assert (run.is_off, run.path, run.status) == (True, None, "Running")
        assert (run.name, run.params, run.tags) == ("n", {"lr": 1}, {"a": "1"})
        assert os.environ["MLOG_RUN"] == "off"  # child processes are off as well
    assert "MLOG_RUN" not in os.environ
    assert run.status == "Completed"
    assert mlog.current_run() is None
    assert not run_dir.exists()


def test_a_run_that_is_off_hides_the_one_around_it() -> None:
    """What is said inside the block is for the inner run, which drops it."""
    with mlog.start_run("outer") as outer:
        with mlog.start_run("inner", disabled=True):
            logging.getLogger("x").info("hidden")
        logging.getLogger("x").info("shown")
    assert [e["msg"] for e in entries(folder(outer), "logs")] == ["shown"]
    assert outer.status == "Completed"


# --- secrets ---------------------------------------------------------------------------

TOKEN = "ghp_" + "a1B2" * 9


def test_no_secret_reaches_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Command line, names, params, tags, messages, extras, errors: nowhere."""
    monkeypatch.setattr(sys, "argv", ["fit.py", "--token", TOKEN, f"url={TOKEN}"])
    log = getLogger("secret")

    def work(run: mlog.Run) -> None:
        run.log_params({"password": "hunter2 and more", "note": TOKEN})
        run.set_tags({"api_key": "sesame-open-1", "note": TOKEN})
        log.info("using %s", TOKEN, extra={"auth": TOKEN, "password": "hunter2 or so"})
        log.info(metric={"text": TOKEN, "x": 1})
        run.log("x", 1, description=TOKEN)
        try:
            raise KeyError(TOKEN)
        except KeyError:
            log.exception("it failed")
        raise RuntimeError(f"cannot log in with {TOKEN}")

    with pytest.raises(RuntimeError), mlog.start_run("e", name=f"n {TOKEN}") as run:
        work(run)
    files = {name: (folder(run) / name).read_text("utf-8") for name in names(run)}
    for name, text in files.items():
        for secret in (TOKEN, "hunter2", "sesame"):
            assert secret not in text, name
    assert len(entries(folder(run), "metrics")) == 2
    assert "cannot log in with ***" in files["run.json"]


@pytest.mark.parametrize(
    ("redact", "expected"),
    [
        (False, {"passphrase": "p", "codeword": "c"}),
        (["codeword"], {"passphrase": "***", "codeword": "***"}),
        (Redactor(names=["codeword"]), {"passphrase": "***", "codeword": "***"}),
    ],
)
def test_what_is_redacted_can_be_chosen(redact: Any, expected: dict[str, str]) -> None:
    with mlog.start_run("e", redact=redact) as run:
        run.log_params({"passphrase": "p", "codeword": "c"})
    assert event(run, "run.params") == expected


# --- strict ----------------------------------------------------------------------------


def test_a_strict_run_raises_what_would_be_warned_about() -> None:
    with mlog.start_run("e", strict=True) as run:
        with pytest.raises(mlog.MlogWarning, match="metric must be a mapping"):
            getLogger("x").info(metric=0.3)  # type: ignore[arg-type]
        with pytest.raises(mlog.MlogWarning, match="metrics must be a mapping"):
            run.log_metrics(0.3)  # type: ignore[arg-type]
    with pytest.warns(mlog.MlogWarning, match="no run open"):
        getLogger("x").info(metric={"a": 1})


@pytest.mark.parametrize("value", [object(), None, {"b": None}, [[1], [2]]])
def test_a_strict_run_raises_for_a_value_that_is_no_metric(value: Any) -> None:
    """Nothing of the call is recorded, and no name is made up."""
    with mlog.start_run("e", strict=True) as run:
        run.log("a", 1)
        several = {"ok": 1, "bad": value}
        expected = "no number, text or short list"
        with pytest.raises(mlog.MlogWarning, match=expected):
            run.log("a", value)
        with pytest.raises(mlog.MlogWarning, match=expected):
            run.log_metrics(several)
        with pytest.raises(mlog.MlogWarning, match=expected):
            getLogger("x").info("text", metric=several)
    assert run.get_metrics() == {"a": 1}
    assert not lost(folder(run))


def test_a_strict_run_raises_for_a_step_that_is_none() -> None:
    with mlog.start_run("e", strict=True) as run:
        with pytest.raises(mlog.MlogWarning, match="step must be an integer"):
            run.log("b", 1, step="x")  # type: ignore[arg-type]
        with pytest.raises(mlog.MlogWarning, match="step must be an integer"):
            run.log_list("b", [1], step="x")  # type: ignore[arg-type]
    assert run.get_metrics() == {}
    assert not lost(folder(run))


def test_a_strict_run_raises_also_when_it_has_ended() -> None:
    run = mlog.start_run("e", strict=True)
    run.complete()
    with pytest.raises(mlog.MlogWarning, match="has ended"):
        run.log("a", 1)
    with pytest.raises(mlog.MlogWarning, match="has ended"):
        run.log_list("a", [1])
    with pytest.raises(mlog.MlogWarning, match="has ended as Completed"):
        run.cancel()


def test_a_block_keeps_its_exception_where_its_run_has_ended() -> None:
    run = mlog.start_run("e", strict=True)
    run.cancel()
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert run.status == "Canceled"


def test_an_error_of_any_length_ends_a_strict_run() -> None:
    """What ended it is cut, and no mistake of the program's."""
    with (
        pytest.raises(ValueError, match="xxx"),
        mlog.start_run("e", strict=True) as run,
    ):
        raise ValueError("x" * 300_000)
    assert "characters cut" in event(run, "run.end")["error"]["msg"]
    assert mlog.open_run(run.id).status == "Failed"


def test_an_end_after_another_is_told() -> None:
    with mlog.start_run("e") as run:
        run.complete()
        run.complete()
    for end, word in ((run.fail, "Failed"), (run.cancel, "Canceled")):
        with pytest.warns(MlogWarning, match=f"Completed and stays so, not {word}"):
            end()
    assert run.status == "Completed"


def test_a_strict_run_raises_what_would_be_counted() -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ZeroDivisionError

    run = mlog.start_run("e", strict=True, filters=[Broken()])
    with pytest.raises((ZeroDivisionError, mlog.MlogWarning)):
        logging.getLogger("x").warning("line")
    run.complete()


# --- options ---------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["always", None, 0.001])
def test_every_fsync_interval_records(interval: Any) -> None:
    with mlog.start_run("e", fsync_interval=interval) as run:
        run.log("x", 1)
        run.flush()
    assert len(entries(folder(run), "metrics")) == 1


def test_logs_go_on_in_a_new_file_when_one_is_full() -> None:
    with mlog.start_run("e", segment_bytes=2_000) as run:
        for number in range(30):
            logging.getLogger("x").info("line %d %s", number, "." * 100)
    assert "logs.1.jsonl" in names(run)
    found = [e["msg"].split()[1] for e in entries(folder(run), "logs")]
    assert found == [str(n) for n in range(30)]
    assert lost(folder(run)) == {}


def test_a_script_without_argv_and_folder_starts_a_run(tmp_path: Path) -> None:
    """Embedded interpreters have no `sys.argv`; a working folder may be removed."""
    code = """
import codecs, os, sys
del sys.argv
codecs.lookup("ascii")  # Python 3.13.0 finds no new codec once the folder is gone
sys.path.remove("")
os.rmdir(os.getcwd())
import mlog
with mlog.start_run() as run:
    run.log("x", 1)
print(run.experiment)
"""
    (tmp_path / "gone").mkdir()
    done = run_python(code, env=ENV, cwd=tmp_path / "gone")
    assert (done.returncode, done.stderr) == (0, "")


def test_metrics_of_earlier_attempts_stay_in_the_summary(run_dir: Path) -> None:
    """Also those of a process that was killed: the run is still found by them."""
    code = """
import os, mlog
run = mlog.start_run("e", run_id="r")
run.log("a", 1)
run.log("b", 1)
run.keep(10.0)
os._exit(9)
"""
    assert run_python(code, env=ENV).returncode == 9
    with mlog.start_run("e", resume="r") as run:
        run.log("b", 2)
    last = {name: said["last"] for name, said in summary(run)["metrics"].items()}
    assert last == {"a": 1, "b": 2}
    assert len(mlog.runs("e", filter="metric.a = 1 and metric.b = 2")) == 1


def test_the_summary_of_an_open_run_follows_its_metrics() -> None:
    """Every few seconds, also where nothing but metrics comes."""
    with mlog.start_run("e") as run:
        for now in (10.0, 20.0, 30.0):
            run.log("a", now)
            run.keep(now)
            assert summary(run)["metrics"]["a"]["last"] == now
        run.log("a", 31.0)
        run.keep(31.0)
        assert summary(run)["metrics"]["a"]["last"] == 30.0


def test_going_on_with_an_open_run_is_told(run_dir: Path) -> None:
    with mlog.start_run("e", run_id="r"):
        with pytest.warns(MlogWarning, match="r has not ended yet"):
            mlog.start_run("e", resume="r").complete()


def test_a_strict_run_that_cannot_be_begun_is_not_left_open() -> None:
    with pytest.raises(TypeError, match="params must be"):
        mlog.start_run("e", strict=True, params=5)
    assert mlog.current_run() is None
    assert mlog.runs("e")[0].status == "Failed"


def test_a_diff_that_cannot_be_stored_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlog.run.begin.changes_since_commit", lambda cwd: "+x")
    monkeypatch.setattr("mlog.run.artifacts.ArtifactStore.put", full_disk)
    with pytest.warns(MlogWarning, match="git_diff: .*no space"):
        run = mlog.start_run("e", git_diff=True)
    run.complete()


def full_disk(*args: Any, **options: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "no space")


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX's")
def test_too_many_open_files_are_an_error_and_no_reason_to_move() -> None:
    """The root is as good as ever; a temporary one would not help either."""
    code = """
import resource, mlog
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
parent = mlog.start_run("e")
try:
    parent.create_children(40)
except OSError as exc:
    print(exc)
parent.complete()
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (0, "")
    assert "open files: each open run takes some" in done.stdout


def test_ctrl_c_while_outputs_are_stored_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **options: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "model").write_text("big")
    monkeypatch.setattr("mlog.run.artifacts.ArtifactStore.put", interrupted)
    run, failed = (mlog.start_run("e", outputs=True) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        failed.fail("too bad")
    with pytest.raises(KeyboardInterrupt):
        run.complete()
    assert mlog.current_run() is None
    assert [summary(each)["status"] for each in (run, failed)] == ["Canceled", "Failed"]
    assert lost(folder(run)) == {}


def test_a_strict_run_has_an_end_also_where_an_output_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "model").write_text("big")
    monkeypatch.setattr("mlog.run.artifacts.ArtifactStore.put", full_disk)
    run = mlog.start_run("e", outputs=True, strict=True)
    with pytest.raises(MlogWarning, match="no space"):
        run.complete()
    assert summary(run)["status"] == "Completed"
