"""Registered models: found, copied out, and changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import (
    MlogError,
    MlogWarning,
    ModelNotFoundError,
    ModelPathNotFoundError,
    UnsafePathError,
)
from mlog.models import get, models, register
from tests.helpers import REPO
from tests.models.conftest import ids, mode_of, of, put

# --- finding -------------------------------------------------------------------------


def test_a_root_without_models_has_none(root: Path) -> None:
    assert models(root) == models(root, "m") == []


def test_models_come_newest_first(root: Path) -> None:
    for name in ("b", "a", "b"):
        put(root, name)
    assert ids(models(root)) == ["b:2", "a:1", "b:1"]
    assert ids(models(root, "b")) == ["b:2", "b:1"]
    assert ids(models(root, latest=True)) == ["b:2", "a:1"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, ["m:3", "m:2", "m:1"]),
        ("stage", ["m:2", "m:1"]),
        (["stage"], ["m:2", "m:1"]),
        ({"stage": None}, ["m:2", "m:1"]),
        ({"stage": "test"}, ["m:1"]),
        ([["stage", "test"]], ["m:1"]),
        (["stage", ("owner", "me")], ["m:2"]),
        ({"stage": "prod", "owner": "me"}, ["m:2"]),
        ("missing", []),
        ({}, ["m:3", "m:2", "m:1"]),
    ],
)
@pytest.mark.parametrize("of_what", ["tags", "properties"])
def test_models_are_found_by_tags_and_properties(
    root: Path, of_what: str, wanted: Any, found: list[str]
) -> None:
    for texts in ({"stage": "test"}, {"stage": "prod", "owner": "me"}, {}):
        facts: dict[str, Any] = {of_what: texts}
        put(root, "m", **facts)
    assert ids(models(root, **{of_what: wanted})) == found


def test_models_are_found_by_their_run(root: Path) -> None:
    for run_id in ("r1", "r2", None):
        put(root, "m", run_id=run_id)
    assert ids(models(root, run_id="r2")) == ["m:2"]


def test_latest_is_the_highest_that_fits(root: Path) -> None:
    put(root, "m", tags={"stage": "prod"})
    put(root, "m", tags={"stage": "prod"})
    put(root, "m")
    assert ids(models(root, tags={"stage": "prod"}, latest=True)) == ["m:2"]


def test_one_version_is_got_by_its_number(root: Path) -> None:
    for _ in range(3):
        put(root, "m")
    assert get(root, "m").version == 3
    assert get(root, "m", 2).version == get(root, "m", "2").version == 2


def test_what_is_not_there_is_told_with_what_is(root: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model 'm' in .*; .*: none"):
        get(root, "m")
    for name in ("a", "b", "b"):
        put(root, name)
    with pytest.raises(ModelNotFoundError, match=r"the models there: a, b$"):
        get(root, "m")
    with pytest.raises(ModelNotFoundError, match=r"has no version 7; it has 2, 1$"):
        get(root, "b", 7)
    for _ in range(11):
        put(root, "a")
    with pytest.raises(ModelNotFoundError, match=r"12, 11, .*, 3 and 2 more$"):
        get(root, "a", 99)


@pytest.mark.parametrize("version", [0, -1, True, "latest", "1.0", 1.5])
def test_a_version_that_is_no_number_is_refused(root: Path, version: Any) -> None:
    with pytest.raises(ValueError, match="version must be an integer >= 1, got"):
        get(root, "m", version)


def test_a_registry_can_be_moved(root: Path, tmp_path: Path) -> None:
    put(root, run_path=root / "exp" / "r1")
    root.rename(tmp_path / "moved")
    model = get(tmp_path / "moved", "mnist")
    assert model.path.read_bytes() == b"x"
    assert model.run_path == tmp_path / "moved" / "exp" / "r1"


@pytest.mark.parametrize(
    "said", ["", "[]", "{}", '{"name": 1}', '{"files": [{"path": "../x"}]}']
)
def test_a_broken_version_is_told_and_left_out(root: Path, said: str) -> None:
    put(root, "m")
    broken = put(root, "m").path.parents[1] / "model.json"
    facts = json.loads(broken.read_text())
    patch = json.loads(said) if said.startswith('{"files') else None
    if patch:
        patch["files"][0] |= {"size": 0, "sha256": ""}
        said = json.dumps(facts | patch)
    broken.write_text(said)
    with pytest.warns(MlogWarning, match=r"model in .*2 cannot be read"):
        assert ids(models(root)) == ["m:1"]
    assert get(root, "m").version == 1


def test_other_files_in_the_registry_are_left_alone(root: Path) -> None:
    put(root, "m")
    (root / ".models" / "notes.txt").touch()
    (root / ".models" / "m" / "old").mkdir()
    (root / ".models" / "m" / "007").mkdir()
    assert ids(models(root)) == ["m:1"]


# --- copying out ---------------------------------------------------------------------


def test_a_file_is_downloaded(root: Path, weights: Path, tmp_path: Path) -> None:
    path = register(root, "m", weights).download(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "weights.bin"
    assert path.read_bytes() == b"weights"
    assert [other.name for other in path.parent.iterdir()] == ["weights.bin"]


def test_a_folder_is_downloaded(root: Path, tmp_path: Path) -> None:
    model = register(root, "m", {"net/a/1": of(b"1"), "net/2": of(b"2")})
    path = model.download(tmp_path)
    assert path == tmp_path / "net"
    assert (path / "a" / "1").read_bytes() == b"1"
    assert (path / "2").read_bytes() == b"2"


def test_files_side_by_side_are_downloaded(root: Path, tmp_path: Path) -> None:
    model = register(root, "m", {"1": of(b"1"), "2": of(b"2")})
    assert model.download(tmp_path / "x") == tmp_path / "x"
    assert sorted(os.listdir(tmp_path / "x")) == ["1", "2"]


def test_downloads_go_to_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert put(root).download() == Path("model.bin")
    assert (tmp_path / "work" / "model.bin").read_bytes() == b"x"


def test_a_downloaded_file_is_the_users(root: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert mode_of(put(root).download(tmp_path)) == 0o644
    finally:
        os.umask(before)


def test_files_that_are_there_stay(root: Path, tmp_path: Path) -> None:
    model = register(root, "m", {"a": of(b"new"), "b": of(b"new")})
    (tmp_path / "b").write_text("old")
    with pytest.raises(FileExistsError, match="exist_ok=True replaces it"):
        model.download(tmp_path)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b").read_text() == "old"
    model.download(tmp_path, exist_ok=True)
    model.download(tmp_path, exists_ok=True)
    assert (tmp_path / "b").read_text() == "new"


def test_a_changed_file_is_not_downloaded(root: Path, tmp_path: Path) -> None:
    model = put(root)
    model.path.write_bytes(b"y")
    with pytest.raises(MlogError, match=r"model\.bin of model mnist:1 is not what was"):
        model.download(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_missing_file_is_told(root: Path, tmp_path: Path) -> None:
    model = put(root)
    model.path.unlink()
    with pytest.raises(MlogError, match=r"model\.bin of model mnist:1 is missing in"):
        model.download(tmp_path / "out")


def test_a_link_in_the_place_of_a_file_is_not_followed(
    root: Path, weights: Path, tmp_path: Path
) -> None:
    model = put(root)
    model.path.unlink()
    model.path.symlink_to(weights)
    with pytest.raises(UnsafePathError, match="is a link"):
        model.download(tmp_path / "out")


# --- changing ------------------------------------------------------------------------


def test_tags_change_here_and_in_the_registry(root: Path) -> None:
    model = put(root, tags={"a": "1", "b": "2"})
    model.add_tags({"b": 3, "c": None})
    assert model.tags == {"a": "1", "b": "3", "c": "None"}
    model.remove_tags("a")
    model.remove_tags(["c", "missing"])
    assert model.tags == {"b": "3"}
    model.update(tags={"d": "4"}, description="new")
    assert (model.tags, model.description) == ({"d": "4"}, "new")
    model.update()
    assert model == get(root, "mnist")


def test_what_others_changed_is_kept(root: Path) -> None:
    here, there = put(root), get(root, "mnist")
    there.add_tags({"a": "1"})
    here.add_tags({"b": "2"})
    assert here.tags == {"a": "1", "b": "2"}


def test_tags_set_by_several_processes_are_all_there(root: Path) -> None:
    put(root)
    code = f"""
import sys
sys.path.insert(0, {str(REPO)!r})
from mlog.models import get
sys.stdin.read(1)
model = get({str(root)!r}, "mnist")
for n in range(20):
    model.add_tags({{f"{{sys.argv[1]}}-{{n}}": n}})
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], stdin=subprocess.PIPE)
        for n in range(3)
    ]
    for process in started:
        process.communicate(b"!", timeout=60)
    tags = get(root, "mnist").tags
    assert tags == {f"{who}-{n}": str(n) for who in range(3) for n in range(20)}


def test_properties_are_set_once(root: Path) -> None:
    model = put(root, properties={"a": "1"})
    model.add_properties({"a": "1", "b": "2"})
    with pytest.raises(ValueError, match="property 'a' is '1' already and stays so"):
        model.add_properties({"c": "3", "a": "2"})
    assert model.properties == get(root, "mnist").properties == {"a": "1", "b": "2"}


def test_a_deleted_version_is_gone_and_its_number_stays_taken(
    root: Path, tmp_path: Path
) -> None:
    put(root)
    model, same = put(root), get(root, "mnist", 2)
    model.delete()
    assert ids(models(root)) == ["mnist:1"]
    assert not model.path.exists()
    gone = "model mnist:2 was deleted from"
    for call in (
        same.delete,
        lambda: same.download(tmp_path / "out"),
        lambda: same.add_tags({"a": "1"}),
        lambda: same.update(description="x"),
    ):
        with pytest.raises(ModelNotFoundError, match=gone):
            call()
    assert put(root).version == 3


def test_a_registry_that_was_removed_is_no_riddle(root: Path) -> None:
    model = put(root)
    shutil.rmtree(root)
    with pytest.raises(ModelNotFoundError, match="was deleted"):
        model.add_tags({"a": "1"})


@pytest.mark.parametrize("error", [ModelNotFoundError, ModelPathNotFoundError])
def test_errors_have_the_base_of_all(error: type[Exception]) -> None:
    assert issubclass(error, MlogError)
    assert issubclass(error, LookupError)


def test_the_registry_is_read_by_any_tool(root: Path) -> None:
    """`model.json` is strict JSON for people, too."""
    put(root, tags={"a": "1"}, run_path=root / "exp" / "r1")
    text = (root / ".models" / "mnist" / "1" / "model.json").read_text()
    facts = json.loads(text)
    assert text.startswith('{\n  "format": 1,\n  "name": "mnist",\n  "version": 1,\n')
    assert facts["run_path"] == "exp/r1"
    assert facts["files"][0]["path"] == "model.bin"
