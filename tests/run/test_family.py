"""Children, parents and handles on runs of others."""

import copy
import logging
import os
import pickle
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlog
from mlog.errors import RunExistsError
from tests.helpers import entries, run_python


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def test_a_child_takes_no_log_lines_before_its_block() -> None:
    """`child_run` begins a run; only `with` makes it the active one."""
    log = logging.getLogger("e")
    with mlog.start_run("e") as parent:
        child = parent.child_run("c")
        log.info("to the parent")
        with child:
            log.info("to the child")
            assert mlog.current_run() is child
        log.info("to the parent again")
        assert mlog.current_run() is parent
    assert [e["msg"] for e in entries(folder(child), "logs")] == ["to the child"]
    assert len(entries(folder(parent), "logs")) == 2
    assert (child.parent, child.status) == (parent, "Completed")


def test_children_are_found_from_the_parent_newest_first() -> None:
    with mlog.start_run("e") as parent:
        first, second = parent.create_children(2)
        grandchild = first.child_run("g")
        for run in (grandchild, first, second):
            run.complete()
    found = [run.id for run in parent.get_children()]
    assert set(found) == {first.id, second.id}
    below = [run.id for run in mlog.open_run(parent.id).get_children(recursive=True)]
    assert set(below) == {first.id, second.id, grandchild.id}


def test_children_are_chosen_by_tags_properties_and_status() -> None:
    with mlog.start_run("e") as parent:
        small, large = parent.create_children(tag_key="size", tag_values=[1, 2])
        large.add_properties({"kept": "yes"})
        small.fail("too small")
        large.complete()
        assert [r.id for r in parent.get_children(tags={"size": 2})] == [large.id]
        assert [r.id for r in parent.get_children(tags={"size": 3})] == []
        assert len(list(parent.get_children(tags="size"))) == 2
        assert [r.id for r in parent.get_children(properties="kept")] == [large.id]
        assert [r.id for r in parent.get_children(status="Failed")] == [small.id]


@pytest.mark.parametrize(
    "wrong", [{}, {"count": 2, "tag_key": "a", "tag_values": [1]}, {"tag_key": "a"}]
)
def test_create_children_takes_a_count_or_a_tag(wrong: dict[str, object]) -> None:
    with mlog.start_run("e") as run, pytest.raises(ValueError, match="either count"):
        run.create_children(**wrong)  # type: ignore[arg-type]


def test_an_id_that_is_there_already_is_refused() -> None:
    with mlog.start_run("e") as run:
        run.child_run(run_id="mine").complete()
        with pytest.raises(RunExistsError, match="mine"):
            run.child_run(run_id="mine")


def test_a_child_process_tells_the_parent_of_its_run(tmp_path: Path) -> None:
    """`run.parent.log` from a child process lands in the parent's files."""
    with mlog.start_run("e") as parent:
        code = (
            "import mlog\n"
            "with mlog.start_run('e') as run:\n"
            "    run.parent.log('best', 0.5)\n"
            "    run.parent.tag('told', 'by child')\n"
            "    print(run.id)\n"
        )
        done = run_python(code)
        assert done.returncode == 0, done.stderr
        assert parent.get_metrics() == {"best": 0.5}
        assert parent.get_tags() == {"told": "by child"}
        assert [c.id for c in parent.get_children()] == [done.stdout.strip()]


def test_a_process_that_joins_a_run_knows_it_as_its_maker_does() -> None:
    """Who it is, what is said of it, and whose child it is."""
    code = (
        "import mlog\n"
        "run = mlog.current_run()\n"
        "print(run.name, run.description, run.params, run.tags, run.properties)\n"
        "run.parent.log('seen', 1)\n"
        "run.log_params(lr=2, more=3)\n"
        "run.tag('c', 'd')\n"
        "print(run.params, run.tags, mlog.open_run(run.id).params)\n"
    )
    options = {"name": "n", "params": {"lr": 1}, "tags": {"a": "b"}}
    with (
        mlog.start_run("e") as parent,
        mlog.start_run("e", description="words", **options) as run,  # type: ignore[arg-type]
    ):
        run.add_properties({"x": "y"})
        done = run_python(code, warnings="default")
    assert "param 'lr' is 1 already and stays so" in done.stderr
    known = {"lr": 1, "more": 3}
    assert done.stdout.splitlines() == [
        "n words {'lr': 1} {'a': 'b'} {'x': 'y'}",
        f"{known} {{'a': 'b', 'c': 'd'}} {known}",
    ]
    assert mlog.open_run(run.id).params == known
    assert parent.get_metrics() == {"seen": 1}


def test_children_are_found_where_the_root_was_moved(tmp_path: Path) -> None:
    with mlog.start_run("e", dir=tmp_path / "old") as parent:
        child = parent.child_run()
        child.complete()
    (tmp_path / "old").rename(tmp_path / "new")
    there = mlog.open_run(parent.id, dir=tmp_path / "new")
    (found,) = there.get_children()
    assert found.id == child.id
    assert found.parent is not None
    assert found.parent.path == there.path


def test_recursive_metrics_are_by_run_id() -> None:
    with mlog.start_run("e") as parent:
        parent.log("loss", 1)
        with parent.child_run() as child:
            child.log("loss", 2)
        assert parent.get_metrics(recursive=True) == {
            parent.id: {"loss": 1},
            child.id: {"loss": 2},
        }


def test_a_run_that_is_off_has_children_that_are_off() -> None:
    run = mlog.start_run("e", disabled=True)
    child = run.child_run()
    assert child.is_off
    child.complete()
    run.complete()


def test_children_are_begun_by_several_threads_at_once() -> None:
    failed: list[BaseException] = []

    def begin(parent: mlog.Run) -> None:
        try:
            for _ in range(15):
                with parent.child_run() as child:
                    assert child.parent is mlog.open_run(parent.id)
        except BaseException as exc:
            failed.append(exc)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with mlog.start_run("e") as parent:
            threads = [threading.Thread(target=begin, args=(parent,)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failed == []
    said = [e for e in entries(folder(parent), "events") if e["event"] == "run.child"]
    assert len(said) == len(list(parent.get_children())) == 90


def test_a_child_takes_over_redaction_levels_and_mode() -> None:
    """What is a secret of the parent's is one of the child's, too."""
    with mlog.start_run("e", redact=["plum"], level="ERROR", mode="group") as parent:
        with parent.child_run() as child:
            child.log_params(plum="very secret")
            logging.getLogger("e").warning("not wanted")
        with mlog.open_run(str(parent.path)).child_run() as other:
            other.tag("plum", "very secret")
    assert (child.params, other.tags) == ({"plum": "***"}, {"plum": "***"})
    assert "logs.jsonl" not in os.listdir(folder(child))
    modes = {folder(run).stat().st_mode & 0o777 for run in (parent, child, other)}
    assert modes == {0o770}


def test_a_child_of_a_run_that_is_off_changes_nothing() -> None:
    """It has a parent to talk to, and takes no lines before its block, as any child."""
    log = logging.getLogger("e")
    with mlog.start_run("e") as real:
        off = mlog.start_run("e", disabled=True)
        child = off.child_run()
        assert child.is_off
        assert child.parent is off
        assert mlog.current_run() is off
        child.parent.log("best", 1)
        off.complete()
        log.info("to the real one")
        child.complete()
    assert [e["msg"] for e in entries(folder(real), "logs")] == ["to the real one"]


@pytest.mark.parametrize("disabled", [False, True])
def test_a_run_that_is_off_is_the_parent_of_one_in_its_block(disabled: bool) -> None:
    with mlog.start_run("e", disabled=True) as off:
        with mlog.start_run("e", disabled=disabled) as inner:
            assert inner.parent is off


def test_a_child_in_a_copied_root_has_its_parent_there(tmp_path: Path) -> None:
    with mlog.start_run("e", dir=tmp_path / "one") as parent:
        with parent.child_run() as child:
            pass
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy = mlog.open_run(child.id, dir=tmp_path / "two")
    assert copy.parent is not None
    copy.parent.tag("told", "yes")
    assert mlog.open_run(parent.id, dir=tmp_path / "one").tags == {}
    assert mlog.open_run(parent.id, dir=tmp_path / "two").tags == {"told": "yes"}


def test_a_parent_of_the_same_name_lies_in_another_root(tmp_path: Path) -> None:
    with mlog.start_run("e", run_id="r", dir=tmp_path / "one") as parent:
        pass
    with mlog.start_run(
        "e", run_id="r", dir=tmp_path / "two", parent=str(parent.path)
    ) as child:
        pass
    found = mlog.open_run(str(child.path)).parent
    assert found is not None
    assert found.path == parent.path


def test_children_are_all_begun_or_none_stays_open() -> None:
    def values() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    with mlog.start_run("e") as parent:
        with pytest.raises(RuntimeError, match="no more"):
            parent.create_children(tag_key="a", tag_values=values())
        assert [run.status for run in parent.get_children()] == ["Canceled"]


@pytest.mark.parametrize("disabled", [False, True])
def test_a_run_can_be_given_to_another_process(disabled: bool) -> None:
    """It is opened there; in its own process it is itself."""
    with mlog.start_run("e", disabled=disabled) as run:
        packed = pickle.dumps(run)
        if not disabled:
            assert pickle.loads(packed) is copy.deepcopy(run) is run
    again = pickle.loads(packed)
    assert (again.path, again.is_off) == (run.path, disabled)
    again.tag("a", "b")
    assert again.tags == {"a": "b"}


def test_an_ended_run_holds_no_file_open() -> None:
    """Whoever keeps the runs of a sweep in a list does not run out of files."""
    with mlog.start_run("e") as parent:
        before = len(os.listdir("/proc/self/fd"))
        children = parent.create_children(5)
        for child in children:
            child.log("x", 1)
            child.complete()
        assert len(os.listdir("/proc/self/fd")) == before
        children[0].tag("late", "yes")
        assert children[0].get_tags() == {"late": "yes"}
