"""The index says what the files say, whatever happens to the runs."""

import copy
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlog
from mlog.errors import MlogError
from mlog.folder import read_from
from mlog.reader.cache import cache_for
from mlog.reader.find import run_folders
from mlog.reader.index import RunIndex
from mlog.reader.state import RunState, read_state

NOW = 1_795_458_420.0  # the hour of the entries
LATER = NOW + 1e9
"""Of the looks: all files were changed long before."""


def stamp(second: int) -> str:
    return f"2026-11-23T18:{second // 60 % 60:02}:{second % 60:02}.000000Z"


class Root:
    """A root in which runs come, end, change and go."""

    def __init__(self, root: Path) -> None:
        self.path = root
        self._clock = 0

    def folder(self, number: int) -> Path:
        return self.path / "e" / f"run-{number}"

    def event(self, number: int, name: str, writer: str = "", **data: Any) -> None:
        folder = self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        self._clock += 1
        line = {"ts": stamp(self._clock), "seq": self._clock, "event": name}
        with open(folder / f"events{writer}.jsonl", "ab") as file:
            file.write(orjson.dumps({**line, "data": data}) + b"\n")

    def act(self, action: str, number: int) -> None:
        there = self.folder(number).exists()
        if action == "start" and not there:
            self.event(number, "writer.start", attempt=1, host="elsewhere", boot="x")
            self.event(number, "run.start", experiment="e", display_name=f"n{number}")
        elif action == "remove":
            shutil.rmtree(self.folder(number), ignore_errors=True)
        elif not there:
            return
        elif action == "end":
            metrics = {"loss": {"last": self._clock, "count": 1}}
            self.event(number, "run.end", status="Completed", metrics=metrics)
            self.event(number, "writer.end", last=self._clock, status="Completed")
        elif action == "tag":
            self.event(number, "writer.start", f"-h-{self._clock}", attempt=1)
            self.event(number, "run.tags", f"-h-{self._clock - 1}", t=f"{self._clock}")
        elif action == "resume":
            self.event(number, "writer.start", "-a2", attempt=2, host="elsewhere")
            self.event(number, "run.start", "-a2", display_name="again")
        elif action == "edit":
            (self.folder(number) / "run.json").write_text(f'{{"x": {self._clock}}}')
        elif action == "params":
            params: dict[str, Any] = {f"p{self._clock}": 1}
            self.event(number, "run.params", **params)
        elif action == "empty":
            for file in self.folder(number).iterdir():
                file.unlink()

    def looked_up(self, **options: Any) -> list[Any]:
        options = {"few": 1, "news": 1, "racy": 0} | options
        index = RunIndex(self.path, **options)
        return [plainly(s) for s in index.states(run_folders(self.path), LATER)]

    def read(self) -> list[Any]:
        return [plainly(state_of(folder)) for folder in run_folders(self.path)]


def state_of(folder: Path) -> RunState | MlogError | OSError:
    try:
        return read_state(folder, now=LATER)
    except (MlogError, OSError) as exc:
        return exc


def plainly(state: RunState | MlogError | OSError) -> Any:
    return state if isinstance(state, RunState) else repr(state)


ACTIONS = st.tuples(
    st.sampled_from(
        "start start end end tag resume edit params remove empty look look".split()
    ),
    st.integers(0, 2),
)


@settings(max_examples=80)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=15))
def test_whatever_happened_to_the_runs(
    actions: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Started, ended, tagged later, resumed, edited, emptied and removed."""
    root = Root(tmp_path_factory.mktemp("root"))
    for action, number in actions:
        if action == "look":
            root.looked_up()
        root.act(action, number)
    assert root.looked_up() == root.read()
    assert root.looked_up() == root.read()


def ended(root: Root, count: int) -> None:
    for number in range(count):
        root.act("start", number)
        root.act("end", number)


def test_a_settled_run_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is what the index is for."""
    root = Root(tmp_path)
    ended(root, 3)
    before = root.looked_up()
    opened: list[Path] = []

    def counted(path: Path) -> Any:
        opened.append(path)
        return read_from(path)

    monkeypatch.setattr("mlog.reader.events.read_from", counted)
    root.act("tag", 1)
    after = root.looked_up()
    assert {path.parent.name for path in opened} == {"run-1"}
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1].tags == {"t": str(root._clock - 1)}


def test_a_run_without_an_end_is_read_each_time(tmp_path: Path) -> None:
    """Whether somebody writes it shows in a lock, or in how long it is silent."""
    root = Root(tmp_path)
    root.act("start", 0)
    index = RunIndex(tmp_path, few=1, news=1, racy=0)
    folders = run_folders(tmp_path)
    started = 1_795_456_800.0  # 18:00
    told = [next(iter(index.states(folders, started + t))) for t in (5, 500)]
    assert [plainly(s).status for s in told] == ["Running", "NotResponding"]


def test_a_run_that_changed_just_now_is_read_each_time(tmp_path: Path) -> None:
    """Two changes within a tick of the file system's clock look like one."""
    root = Root(tmp_path)
    ended(root, 3)
    folders = run_folders(tmp_path)
    newest = max(file.stat().st_mtime for file in tmp_path.rglob("*"))
    index = RunIndex(tmp_path, few=1, news=1)
    list(index.states(folders, newest + 0.1))
    assert not (tmp_path / ".cache").exists()
    list(index.states(folders, newest + 10))
    assert len(list((tmp_path / ".cache").iterdir())) == 1


def test_few_runs_are_read_without_an_index(tmp_path: Path) -> None:
    """A small root stays as it is."""
    root = Root(tmp_path)
    ended(root, 5)
    assert root.looked_up(few=100) == root.read()
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_runs_elsewhere_are_read_from_their_files(tmp_path: Path) -> None:
    """Names alone do not make them those of the root."""
    one, two = Root(tmp_path / "one"), Root(tmp_path / "two")
    ended(one, 2)
    one.looked_up()
    two.act("start", 0)
    two.act("params", 0)
    (found,) = RunIndex(one.path, few=1).states([two.folder(0)], LATER)
    assert found == read_state(two.folder(0), now=LATER)


def test_a_spoilt_index_costs_time_only(tmp_path: Path) -> None:
    """Also one that is whole, but does not hold what it should."""
    root = Root(tmp_path)
    ended(root, 2)
    root.looked_up()
    cache = cache_for(tmp_path)
    kept = cache.load("runs")
    assert kept is not None
    facts, body = kept
    facts = {key: facts[key] for key in ("format", "fields", "runs")}
    odd = bytes(body).replace(b'"writers"', b'"wroters"')
    for told, held in (
        (facts, odd),
        (facts, b"[]" * 2000),
        (facts, b""),
        (facts | {"runs": {key: 7 for key in facts["runs"]}}, bytes(body)),
        (facts | {"runs": 7}, bytes(body)),
        (facts | {"fields": []}, bytes(body)),
        ({}, bytes(body)),
    ):
        cache.store("runs", told, [held])
        assert root.looked_up(news=99) == root.read()


def test_lists_and_queries_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlog.runs` says the same with it as without."""
    root = Root(tmp_path)
    ended(root, 120)
    monkeypatch.setattr("time.time", lambda: LATER)
    first = mlog.runs(dir=tmp_path).rows()
    assert len(list((tmp_path / ".cache").iterdir())) == 1
    assert mlog.runs(dir=tmp_path).rows() == first
    root.act("tag", 7)
    tagged = [row for row in mlog.runs(dir=tmp_path).rows() if "tag.t" in row]
    assert [row["run_id"] for row in tagged] == ["run-7"]
    assert len(mlog.runs(dir=tmp_path, filter="tag.t ~ '.'")) <= 1


def test_the_state_from_the_index_is_whole(tmp_path: Path) -> None:
    """Artifacts, writers, errors, models and all: nothing is left out."""
    with mlog.start_run("e", dir=tmp_path, params={"a": [1, None, 0.5]}) as run:
        run.log("loss", float("nan"))
        run.upload_file("outputs/x.txt", __file__)
        run.tag("empty")
    assert run.path is not None
    folders, now = [run.path], LATER
    for _ in range(2):
        (found,) = RunIndex(tmp_path, few=1, news=1, racy=0).states(folders, now)
        assert isinstance(found, RunState)
        assert replace(found) == read_state(run.path, now=now)
    assert len(list((tmp_path / ".cache").iterdir())) == 1


def kept(root: Root) -> Any:
    """Return a state from the index, no more of which was asked for."""
    ended(root, 2)
    root.event(0, "run.artifact", path="a.txt", size=3)
    root.looked_up()
    index = RunIndex(root.path, few=1, news=99, racy=0)
    return next(iter(index.states([root.folder(0)], LATER)))


@pytest.mark.parametrize(
    "look",
    [
        lambda state: state,
        copy.copy,
        copy.deepcopy,
        lambda state: pickle.loads(pickle.dumps(state)),
        replace,
        lambda state: RunState(
            **{f.name: getattr(state, f.name) for f in fields(state)}
        ),
    ],
)
def test_a_state_from_the_index_is_one_like_others(
    tmp_path: Path, look: Callable[[Any], Any]
) -> None:
    """Whatever is done with it."""
    root = Root(tmp_path)
    state, expected = look(kept(root)), read_state(root.folder(0), now=LATER)
    assert state == expected
    assert expected == state
    assert asdict(state) == asdict(expected)
    assert not hasattr(state, "nothing")


def test_its_attributes_can_be_set_before_they_are_asked_for(tmp_path: Path) -> None:
    state = kept(Root(tmp_path))
    state.writers = []
    assert "a.txt" in state.artifacts
    assert state.writers == []


def test_what_could_not_be_made_can_be_asked_for_again(tmp_path: Path) -> None:
    """An error is told as it is each time."""
    state = kept(Root(tmp_path))
    later, errors = state._later, iter([OSError("gone"), OSError("gone")])

    def fails() -> Any:
        for error in errors:
            raise error
        return later()

    state._later = fails
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            _ = state.writers
    assert len(state.writers) == 1


def test_a_root_whose_name_is_no_utf_8_goes_without(tmp_path: Path) -> None:
    """There is no key for it."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"))
    try:
        path.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    root = Root(path)
    ended(root, 3)
    assert root.looked_up() == root.read()
