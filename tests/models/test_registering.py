"""Files become versions of a model: copied, whole or not at all."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlog.errors import (
    ModelNotFoundError,
    UnsafePathError,
)
from mlog.models import ModelFile, get, models, register
from tests.helpers import REPO, run_python
from tests.models.conftest import ids, mode_of, of, put


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
