"""Folders `mlruns`, as MLflow's file store wrote them."""

import os
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import MlogError
from mlog.reader.series import read_histories
from mlog.reader.state import read_state
from mlog.sources.copies import Copied, copy_run
from mlog.sources.mlruns import stored_runs

RUN = "95d3f0a1b2c34d5e8f90112233445566"
CHILD = "a" * 32

META = """\
artifact_uri: file:///somewhere/mlruns/1/{run}/artifacts
end_time: {end}
entry_point_name: ''
experiment_id: '1'
lifecycle_stage: {stage}
run_id: {run}
run_name: {name}
start_time: 1700000000000
status: {status}
user_id: ada
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    top = tmp_path / "mlruns"
    write(top / "1" / "meta.yaml", "experiment_id: '1'\nname: 'exp ''one'''\n")
    write(top / "0" / "meta.yaml", "experiment_id: '0'\nname: Default\n")
    (top / ".trash").mkdir()
    facts: dict[str, Any] = {"stage": "active", "name": "first", "end": 1700000060000}
    for run, status in ((RUN, 3), (CHILD, 4)):
        text = META.format(run=run, status=status, **facts)
        write(top / "1" / run / "meta.yaml", text)
    gone = META.format(run="b" * 32, status=3, **{**facts, "stage": "deleted"})
    write(top / "1" / ("b" * 32) / "meta.yaml", gone)
    folder = top / "1" / RUN
    write(folder / "metrics" / "train" / "loss", "1700000001000 0.25 1\n")
    with open(folder / "metrics" / "train" / "loss", "a") as file:
        file.write("1700000000000 0.5 0\n1700000002000 nan 2\nwhat is this\n")
    write(folder / "params" / "lr", "0.1")
    write(folder / "tags" / "mlflow.note.content", "some\nwords")
    write(folder / "artifacts" / "a" / "b.txt", "hello")
    write(top / "1" / CHILD / "tags" / "mlflow.parentRunId", RUN)
    return top


def imported(store: Path, root: Path) -> dict[str, Copied]:
    found = [run for runs in stored_runs(store) for run in runs]
    return {run.origin.run_id: copy_run(run, root) for run in found}


def test_a_run(store: Path, root: Path) -> None:
    copied = imported(store, root)
    assert set(copied) == {RUN, CHILD}
    state = read_state(copied[RUN].folder)
    assert (state.experiment, state.name) == ("exp 'one'", "first")
    assert (state.status, state.duration) == ("Completed", 60)
    assert (state.params, state.description) == ({"lr": 0.1}, "some\nwords")
    assert [(a.path, a.size) for a in state.artifacts.values()] == [("a/b.txt", 5)]
    assert read_state(copied[CHILD].folder).parent == str(copied[RUN].folder)


def test_points_by_time(store: Path, root: Path) -> None:
    copied = imported(store, root)[RUN]
    history = read_histories(copied.folder)["train/loss"]
    assert [(step, time) for step, _, time in history] == [
        (0, 1700000000),
        (1, 1700000001),
        (2, 1700000002),
    ]
    assert "1 lines that are no points" in copied.notes[0]


def test_links_are_not_followed(store: Path, root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    os.symlink(secret, store / "1" / RUN / "artifacts" / "link")
    os.symlink(secret, store / "1" / RUN / "params" / "link")
    state = read_state(imported(store, root)[RUN].folder)
    assert (list(state.artifacts), state.params) == (["a/b.txt"], {"lr": 0.1})


def test_again(store: Path, root: Path) -> None:
    imported(store, root)
    assert {c.what for c in imported(store, root).values()} == {"unchanged"}


def test_wrong_folders(store: Path, tmp_path: Path) -> None:
    with pytest.raises(MlogError, match="no experiment 'x' there"):
        list(stored_runs(store, ("x",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MlogError, match="no experiments of MLflow"):
        list(stored_runs(tmp_path / "empty"))
