"""Registered models: versions of files under a name, copied and never changed again."""

import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mlog.errors import (
    MlogError,
    MlogWarning,
    ModelNotFoundError,
    ModelPathNotFoundError,
    UnsafePathError,
)
from mlog.models import Model, ModelFile, get, models, register
from tests.helpers import REPO, run_python


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that is not there yet."""
    return tmp_path / "root"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file to register."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    return path


def of(data: bytes) -> Callable[[], BinaryIO]:
    """Return what opens a file with this content."""
    return lambda: io.BytesIO(data)


def put(root: Path, name: str = "mnist", data: bytes = b"x", **facts: Any) -> Model:
    return register(root, name, {"model.bin": of(data)}, **facts)


def ids(found: list[Model]) -> list[str]:
    return [model.id for model in found]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- registering ---------------------------------------------------------------------


def test_versions_count_up_under_each_name(root: Path) -> None:
    assert [put(root).version for _ in range(3)] == [1, 2, 3]
    assert put(root, "other").version == 1


def test_a_model_says_what_it_is(root: Path, weights: Path) -> None:
    model = register(
        root,
        "mnist",
        weights,
        tags={"stage": "test", "n": 3},
        properties={"data": "v1"},
        description="small",
        framework="ScikitLearn",
        framework_version="1.9",
        run_id="r1",
        run_path=root / "exp" / "r1",
    )
    assert (model.name, model.version, model.id) == ("mnist", 1, "mnist:1")
    assert model.tags == {"stage": "test", "n": "3"}
    assert model.properties == {"data": "v1"}
    assert (model.description, model.framework) == ("small", "ScikitLearn")
    assert model.framework_version == "1.9"
    assert (model.run_id, model.run_path) == ("r1", root / "exp" / "r1")
    assert model.created_time.endswith("Z")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert model.files == (ModelFile("weights.bin", 7, digest),)
    assert model.size == 7


def test_what_is_read_is_what_was_registered(root: Path, weights: Path) -> None:
    made = register(root, "mnist", weights, tags={"a": "ü"}, run_path="/elsewhere/r1")
    assert get(root, "mnist") == made == models(root)[0]
    assert get(root, "mnist").run_path == Path("/elsewhere/r1")


def test_path_and_url_lead_to_the_file(root: Path, weights: Path) -> None:
    model = register(root, "mnist", weights)
    assert model.path.read_bytes() == b"weights"
    assert model.path.name == "weights.bin"
    assert model.url == model.path.as_uri()
    assert model.url.startswith("file:///")


def test_a_folder_is_registered_whole(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    (folder / "layers" / "empty").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "layers" / "1.bin").write_bytes(b"1")
    (folder / "link.bin").symlink_to("layers/1.bin")
    (folder / "loop").symlink_to(".")
    (folder / "broken").symlink_to("missing")
    os.mkfifo(folder / "pipe")
    model = register(root, "net", folder)
    names = ["net/config.json", "net/layers/1.bin", "net/link.bin"]
    assert sorted(file.path for file in model.files) == names
    assert model.path.name == "net"
    assert (model.path / "link.bin").read_bytes() == b"1"


def test_the_registry_itself_is_in_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    register(tmp_path / ".mlog", "first", tmp_path)
    model = register(tmp_path / ".mlog", "second", tmp_path)
    assert [file.path for file in model.files] == [f"{tmp_path.name}/model.bin"]


def test_files_can_come_from_anywhere(root: Path, weights: Path) -> None:
    model = register(root, "m", {"a/w.bin": weights, "b.json": of(b"{}")})
    assert (model.path / "a" / "w.bin").read_bytes() == b"weights"
    assert (model.path / "b.json").read_bytes() == b"{}"


def test_the_files_are_copies(root: Path, weights: Path) -> None:
    """A later training step that writes its file again changes no model."""
    model = register(root, "mnist", weights)
    with weights.open("r+b") as file:
        file.write(b"changed")
    assert model.path.read_bytes() == b"weights"


def test_streams_are_closed(root: Path) -> None:
    stream = io.BytesIO(b"x")
    register(root, "m", {"a": lambda: stream})
    assert stream.closed


def test_any_name_has_its_folder(root: Path) -> None:
    names = ["mnist", "MNIST v2", "größe", "../up", "a/b", "con", "n:1", "a" * 255]
    for name in names:
        assert put(root, name).version == 1
        assert get(root, name).name == name
    assert sorted(model.name for model in models(root)) == sorted(names)
    assert {path.parent for path in (root / ".models").iterdir()} == {root / ".models"}


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
@pytest.mark.parametrize(("group", "file", "folder"), [(0, 0o600, 0o700), (1, 0, 0)])
def test_modes_are_those_of_the_root(
    root: Path, umask: int, group: int, file: int, folder: int
) -> None:
    if group:
        root.mkdir()
        root.chmod(0o2770)
        file, folder = 0o660, 0o2770
    before = os.umask(umask)
    try:
        register(root, "m", {"a/b": of(b"x")})
    finally:
        os.umask(before)
    found = [root / ".models", *(root / ".models").rglob("*")]
    assert {mode_of(path) for path in found if path.is_dir()} == {folder}
    assert {mode_of(path) for path in found if path.is_file()} == {file}


def test_secrets_are_not_written(root: Path) -> None:
    secret = "ghp_" + "a1B2" * 9
    model = put(root, tags={"password": "hunter2"}, description=f"from {secret}")
    model.add_tags({"token": secret})
    model.add_properties({"url": f"https://me:{secret}@host/"})
    written = (model.path.parents[1] / "model.json").read_text()
    assert secret not in written
    assert "hunter2" not in written
    assert model == get(root, "mnist")


def test_another_way_of_cleaning_can_be_given(root: Path) -> None:
    model = put(root, tags={"password": "public"}, clean=lambda facts: facts)
    model.add_tags({"a": "1"})
    assert get(root, "mnist").tags == {"password": "public", "a": "1"}


# --- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["", " ", "a" * 256, "a\0b", "\ud800"])
def test_a_name_that_is_none_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"a model's name must have|no Unicode"):
        put(root, name)
    assert not root.exists()


def test_arguments_of_a_wrong_type_are_refused(root: Path, weights: Path) -> None:
    with pytest.raises(TypeError, match="a model's name must be text, got 3"):
        register(root, 3, weights)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="files must be a path or a mapping"):
        register(root, "m", [weights])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a file must be a path or a function"):
        register(root, "m", {"a": b"data"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="tags must be a mapping, got list"):
        register(root, "m", weights, tags=["a"])  # type: ignore[arg-type]
    assert not root.exists()


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "/a", "a//b", "a/", "a/./b", "a\\b", "a\0"]
)
def test_a_file_cannot_lead_out_of_its_model(root: Path, name: str) -> None:
    with pytest.raises(UnsafePathError, match="is no name of a file in a model"):
        register(root, "m", {name: of(b"")})
    assert not root.exists()


def test_a_file_cannot_lie_below_another(root: Path) -> None:
    with pytest.raises(ValueError, match="'a/b' lies below another file"):
        register(root, "m", {"a": of(b""), "a/b": of(b"")})


def test_a_model_needs_a_file(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="a model needs one at least"):
        register(root, "m", tmp_path / "empty")
    with pytest.raises(ValueError, match="a model needs one at least"):
        register(root, "m", {})
    with pytest.raises(FileNotFoundError, match="missing"):
        register(root, "m", tmp_path / "missing")
    assert not root.exists()


@pytest.mark.parametrize("link", [".models", ".models/m"])
def test_links_in_the_registry_are_not_followed(
    root: Path, tmp_path: Path, link: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(elsewhere)
    with pytest.raises(UnsafePathError, match="is a link"):
        put(root, "m")
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_a_version_is_passed_over(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / ".models" / "m").mkdir(parents=True)
    (root / ".models" / "m" / "1").symlink_to(tmp_path / "elsewhere")
    assert put(root, "m").version == 2
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- whole or not at all -------------------------------------------------------------


class Full(io.BytesIO):
    """A file that cannot be read to its end."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(28, "No space left on device")


def test_after_an_error_there_is_no_new_version(root: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        register(root, "m", {"a/1": of(b"x"), "a/2": Full})
    assert models(root) == []
    assert not (root / ".models" / "m" / "1" / "files").exists()
    assert put(root, "m").version == 2


def test_a_killed_registration_is_never_seen(root: Path) -> None:
    """Its number stays taken: somebody may have been told of it."""
    code = f"""
import io, os, signal
from mlog.models import register
class Deadly(io.BytesIO):
    def read(self, size=-1):
        os.kill(os.getpid(), signal.SIGKILL)
register({str(root)!r}, "m", {{"a": lambda: io.BytesIO(b"x"), "b": Deadly}})
"""
    assert run_python(code).returncode == -signal.SIGKILL
    assert (root / ".models" / "m" / "1" / "files" / "a").exists()
    assert models(root) == []
    with pytest.raises(ModelNotFoundError, match="no model 'm'"):
        get(root, "m")
    assert put(root, "m").version == 2
    assert ids(models(root)) == ["m:2"]


def test_a_version_is_not_seen_before_it_is_whole(root: Path) -> None:
    class Watching(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert models(root) == []
            return super().read(size)

    register(root, "m", {"a": Watching})
    assert ids(models(root)) == ["m:1"]


def test_processes_get_versions_of_their_own(root: Path) -> None:
    code = f"""
import io, sys
sys.path.insert(0, {str(REPO)!r})
from mlog.models import register
sys.stdin.read(1)
for n in range(10):
    data = sys.argv[1].encode()
    model = register({str(root)!r}, "m", {{"who": lambda: io.BytesIO(data)}})
    print(model.version)
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for n in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"!")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].decode().split() for process in started]
    given = {int(version): str(n) for n, found in enumerate(said) for version in found}
    assert sorted(given) == list(range(1, 41))
    found = {model.version: model.path.read_text() for model in models(root)}
    assert found == given


def test_threads_get_versions_of_their_own(root: Path) -> None:
    threads = [threading.Thread(target=put, args=(root,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(model.version for model in models(root)) == list(range(1, 9))


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
