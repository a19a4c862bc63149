"""The files of a run, as its methods store and fetch them."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import (
    ArtifactNotFoundError,
    MlogError,
    MlogWarning,
    UnsafePathError,
)
from mlog.run.artifacts import Stored
from mlog.run.files import FileMethods


class FileRun(FileMethods):
    """A run that has only files, and keeps its events in a list."""

    def __init__(self, path: Path | None) -> None:
        self.id = "r"
        self.path = path
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        self.events.append((name, data))

    def told(self) -> list[str]:
        """Return the names of all artifacts that were recorded."""
        return [data["path"] for name, data in self.events if name == "run.artifact"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileRun:
    """A run, with another folder as the working directory."""
    folder = tmp_path / "root" / "e" / "r"
    folder.mkdir(parents=True)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return FileRun(folder)


@pytest.fixture
def off(run: FileRun) -> FileRun:
    """A run that is off."""
    return FileRun(None)


def plant(folder: Path, *names: str) -> Path:
    """Make files whose content is their name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def content_of(run: FileRun, name: str) -> bytes:
    assert run.path is not None
    return (run.path / "artifacts" / name).read_bytes()


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


class TestUpload:
    """What was stored is recorded; what was not leaves nothing."""

    def test_file_or_stream(self, run: FileRun) -> None:
        plant(Path(), "model.pkl")
        stored = run.upload_file("./outputs/model.pkl", "model.pkl")
        run.upload_file("plot.png", io.BytesIO(b"png"))
        assert run.events == [
            (
                "run.artifact",
                {
                    "path": "outputs/model.pkl",
                    "size": 9,
                    "sha256": hashlib.sha256(b"model.pkl").hexdigest(),
                    "media_type": "application/octet-stream",
                },
            ),
            (
                "run.artifact",
                {
                    "path": "plot.png",
                    "size": 3,
                    "sha256": hashlib.sha256(b"png").hexdigest(),
                    "media_type": "image/png",
                },
            ),
        ]
        assert isinstance(stored, Stored)
        assert content_of(run, "outputs/model.pkl") == b"model.pkl"
        assert run.get_file_names() == ["outputs/model.pkl", "plot.png"]

    def test_wrong_ones_are_errors_and_leave_nothing(self, run: FileRun) -> None:
        plant(Path(), "x")
        with pytest.raises(UnsafePathError):
            run.upload_file("../x", "x")
        with pytest.raises(FileNotFoundError, match="missing"):
            run.upload_file("x", "missing")
        with pytest.raises(TypeError, match="expected the path of a file"):
            run.upload_file("x", 5)  # type: ignore[arg-type]
        assert run.events == []
        assert run.path is not None
        assert files_in(run.path) == set()

    def test_datastores_are_not_here(self, run: FileRun) -> None:
        plant(Path(), "x")
        for call in (
            lambda: run.upload_file("x", "x", "blob"),
            lambda: run.upload_files(["x"], ["x"], datastore_name="blob"),
            lambda: run.upload_folder("x", ".", "blob"),
        ):
            with pytest.raises(MlogError, match="datastores belonged to Azure"):
                call()
        assert run.get_file_names() == []

    def test_files(self, run: FileRun) -> None:
        plant(Path(), "a", "b")
        assert run.upload_files(["x/a", "x/b"], ["a", "b"]) is None
        assert run.get_file_names() == run.told() == ["x/a", "x/b"]
        stored = run.upload_files(iter(["c"]), iter(["a"]), return_artifacts=True)
        assert stored is not None
        assert [artifact.path for artifact in stored] == ["c"]

    def test_files_are_checked_before_the_first_is_stored(self, run: FileRun) -> None:
        plant(Path(), "a", "b")
        with pytest.raises(TypeError, match="same length, got 2 and 1"):
            run.upload_files(["a", "b"], ["a"])
        with pytest.raises(TypeError, match="must be lists"):
            run.upload_files("a", "a")
        with pytest.raises(FileNotFoundError):
            run.upload_files(["a", "b"], ["a", "missing"])
        with pytest.raises(UnsafePathError):
            run.upload_files(["a", "../b"], ["a", "b"])
        assert run.get_file_names() == []

    def test_files_after_the_timeout_are_not_begun(self, run: FileRun) -> None:
        plant(Path(), "a", "b")
        with pytest.raises(TimeoutError, match="0 of 2 files were copied"):
            run.upload_files(["a", "b"], ["a", "b"], timeout_seconds=0)
        run.upload_files(["a"], ["a"], timeout_seconds=600)
        assert run.get_file_names() == ["a"]

    @pytest.mark.parametrize("name", ["outputs", "./outputs/", "outputs\\"])
    def test_folder(self, run: FileRun, name: str) -> None:
        plant(Path("models"), "a", "sub/b", ".hidden")
        stored = run.upload_folder(name, "models")
        names = ["outputs/.hidden", "outputs/a", "outputs/sub/b"]
        assert [artifact.path for artifact in stored] == names
        assert run.get_file_names() == sorted(run.told()) == names

    @pytest.mark.parametrize("name", ["", ".", "./"])
    def test_folder_without_a_name_keeps_its_own_names(
        self, run: FileRun, name: str
    ) -> None:
        run.upload_folder(name, plant(Path("models"), "a", "sub/b"))
        assert run.get_file_names() == ["a", "sub/b"]

    def test_folder_that_is_none(self, run: FileRun) -> None:
        plant(Path(), "file")
        with pytest.raises(FileNotFoundError):
            run.upload_folder("x", "missing")
        with pytest.raises(NotADirectoryError, match="upload_file stores files"):
            run.upload_folder("x", "file")
        with pytest.raises(UnsafePathError):
            run.upload_folder("../x", ".")

    def test_links_that_lead_out_of_a_folder_are_left_out(
        self, run: FileRun, tmp_path: Path
    ) -> None:
        folder = plant(Path("models"), "a")
        plant(tmp_path, "secret")
        (folder / "link").symlink_to(tmp_path / "secret")
        with pytest.warns(MlogWarning, match="1 links in models lead outside"):
            run.upload_folder("x", folder)
        assert run.get_file_names() == ["x/a"]

    def test_folder_that_holds_the_run_does_not_store_it(
        self, run: FileRun, tmp_path: Path
    ) -> None:
        plant(tmp_path, "cwd/a", "root/other")
        run.upload_folder("x", tmp_path)
        assert run.get_file_names() == ["x/cwd/a"]

    def test_collected_files_are_recorded(self, run: FileRun) -> None:
        plant(Path(), "outputs/a", "logs/b")
        run._collect(("outputs", "logs"), cwd=Path.cwd())
        assert run.told() == ["outputs/a", "logs/b"]


class TestDownload:
    """Files come out under their last part, or where they are wanted."""

    @pytest.fixture
    def run(self, run: FileRun) -> FileRun:
        """A run with three artifacts, and nothing else in the working directory."""
        for name in ("outputs/a", "outputs/sub/b", "plot.png"):
            run.upload_file(name, io.BytesIO(name.encode()))
        return run

    def test_to_the_working_directory(self, run: FileRun) -> None:
        run.download_file("./outputs/sub/b")
        assert Path("b").read_bytes() == b"outputs/sub/b"
        assert files_in(Path()) == {"b"}

    def test_to_a_path_or_into_a_folder(self, run: FileRun) -> None:
        Path("there").mkdir()
        run.download_file("outputs/a", "new/deep/file")
        run.download_file("outputs/a", "there")
        run.download_file("outputs/a", "new/folder/")
        assert files_in(Path()) == {"new/deep/file", "there/a", "new/folder/a"}

    def test_unknown_name_says_the_closest(self, run: FileRun) -> None:
        with pytest.raises(ArtifactNotFoundError, match="closest are 'outputs/a'"):
            run.download_file("output/a")
        with pytest.raises(UnsafePathError):
            run.download_file("../../events.jsonl")
        assert files_in(Path()) == set()

    def test_several(self, run: FileRun) -> None:
        run.download_files()
        assert files_in(Path()) == set(run.get_file_names())
        run.download_files("outputs", "to")
        assert files_in(Path("to")) == {"outputs/a", "outputs/sub/b"}

    @pytest.mark.parametrize("prefix", ["outputs", "outputs/", "./outputs/"])
    def test_several_without_their_prefix(self, run: FileRun, prefix: str) -> None:
        run.download_files(prefix, "to", append_prefix=False)
        assert files_in(Path("to")) == {"a", "sub/b"}

    def test_beginning_of_a_name_is_no_folder_to_take_away(self, run: FileRun) -> None:
        run.download_files("outputs/su", "to", append_prefix=False)
        run.download_files("plot.png", "to", append_prefix=False)
        assert files_in(Path("to")) == {"sub/b", "plot.png"}

    def test_several_to_paths_of_their_own(self, run: FileRun, tmp_path: Path) -> None:
        paths = ["x", str(tmp_path / "far")]
        run.download_files("outputs", "to", output_paths=paths)
        assert Path("to/x").read_bytes() == b"outputs/a"
        assert (tmp_path / "far").read_bytes() == b"outputs/sub/b"

    def test_several_of_nothing_is_an_error(self, run: FileRun) -> None:
        with pytest.raises(ArtifactNotFoundError, match="no artifact 'outpust'"):
            run.download_files("outpust")
        empty = FileRun(run.path and run.path.parent / "empty")
        assert empty.path is not None
        empty.path.mkdir()
        with pytest.raises(ArtifactNotFoundError, match="has no artifacts"):
            empty.download_files()

    def test_wrong_paths_copy_nothing(self, run: FileRun) -> None:
        with pytest.raises(ValueError, match=r"one path for each of 2 artifacts"):
            run.download_files("outputs", output_paths=["x"])
        with pytest.raises(ValueError, match="to one path"):
            run.download_files("outputs", output_paths=["x", "./x"])
        with pytest.raises(TimeoutError, match="0 of 3 files"):
            run.download_files(timeout_seconds=0)
        assert files_in(Path()) == set()

    def test_checksum_is_that_of_the_record(self, run: FileRun) -> None:
        assert run.path is not None
        entries = [
            {"ts": f"2026-11-23T18:27:00.{n:06}Z", "seq": n, "event": e, "data": d}
            for n, (e, d) in enumerate(run.events)
        ]
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        (run.path / "events.jsonl").write_text(lines)
        run.download_file("outputs/a", "fine", _validate_checksum=True)
        artifact = run.path / "artifacts" / "outputs" / "a"
        artifact.write_bytes(b"other")
        with pytest.raises(MlogError, match="was changed or is damaged"):
            run.download_file("outputs/a", "bad", _validate_checksum=True)
        run.download_file("outputs/a", "unchecked")
        assert files_in(Path()) == {"fine", "unchecked"}

    def test_checksum_that_was_not_recorded_is_told(self, run: FileRun) -> None:
        """A killed process may have stored a file and not come to record it."""
        assert run.path is not None
        (run.path / "run.json").write_text("{}")
        with pytest.raises(MlogError, match="no checksum of 'plot"):
            run.download_file("plot.png", _validate_checksum=True)
        with pytest.raises(ArtifactNotFoundError):
            run.download_file("missing", _validate_checksum=True)


class TestSnapshots:
    """One for each run, taken of sources, and given back as a ZIP file."""

    def test_taken_and_restored(self, run: FileRun) -> None:
        plant(Path("src"), "train.py", ".env")
        taken = run.take_snapshot("src")
        assert run.events == [("run.snapshot", {"id": taken, "size": 8, "files": 1})]
        assert run.get_snapshot_id() == taken
        where = run.restore_snapshot()
        assert where == str(Path(f"{taken}.zip").absolute())
        with zipfile.ZipFile(where) as file:
            assert file.namelist() == ["train.py"]

    def test_restored_where_it_is_wanted(self, run: FileRun) -> None:
        taken = run.take_snapshot(plant(Path("src"), "train.py"))
        assert run.restore_snapshot(taken, "to").endswith(f"/to/{taken}.zip")
        assert run.restore_snapshot(path="to/this.zip").endswith("/to/this.zip")
        assert files_in(Path("to")) == {f"{taken}.zip", "this.zip"}
        with pytest.raises(MlogError, match=f"has the snapshot {taken}, not other"):
            run.restore_snapshot("other")

    def test_once_in_a_run(self, run: FileRun) -> None:
        run.take_snapshot(plant(Path("src"), "train.py"))
        with pytest.raises(MlogError, match="has a snapshot already"):
            run.take_snapshot("src")
        assert len(run.events) == 1

    def test_limits_can_be_raised(self, run: FileRun) -> None:
        plant(Path("src"), "a", "b", "c")
        with pytest.raises(MlogError, match="raise max_bytes and max_files"):
            run.take_snapshot("src", max_files=2)
        assert run.take_snapshot("src", max_files=3, max_bytes=3)

    def test_missing_one_is_told(self, run: FileRun) -> None:
        for call in (run.get_snapshot_id, run.restore_snapshot):
            with pytest.raises(MlogError, match="run r has no snapshot"):
                call()


class TestOff:
    """A run that is off checks what it is given, and keeps nothing."""

    def test_stores_nothing(self, off: FileRun, tmp_path: Path) -> None:
        plant(Path(), "x", "outputs/y")
        before = files_in(tmp_path)
        assert off.upload_file("a", "x") == Stored(
            "a", 0, "", off._put("b", b"").media_type
        )
        assert off.upload_files(["a"], ["x"]) is None
        assert len(off.upload_folder("a", ".")) == 2
        assert off.take_snapshot(".") == ""
        assert off.get_file_names() == []
        off._collect(["outputs"], cwd=Path.cwd())
        assert off.events == []
        assert files_in(tmp_path) == before

    def test_wrong_arguments_are_errors_all_the_same(self, off: FileRun) -> None:
        with pytest.raises(UnsafePathError):
            off.upload_file("../a", io.BytesIO(b"x"))
        with pytest.raises(FileNotFoundError):
            off.upload_file("a", "missing")
        with pytest.raises(FileNotFoundError):
            off.take_snapshot("missing")

    def test_gives_nothing_back(self, off: FileRun) -> None:
        for call in (
            lambda: off.download_file("x"),
            off.download_files,
            off.get_snapshot_id,
            off.restore_snapshot,
        ):
            with pytest.raises(MlogError, match="is off"):
                call()


def test_names_may_be_paths(run: FileRun) -> None:
    """As everywhere in the standard library."""
    plant(Path(), "x")
    run.upload_file(Path("outputs/a"), "x")
    run.upload_files([Path("outputs/b")], [Path("x")])
    run.upload_folder(Path("outputs/all"), Path())
    assert run.get_file_names() == ["outputs/a", "outputs/all/x", "outputs/b"]
    run.download_file(Path("outputs/a"))
    run.download_files(Path("outputs"), "got")
    assert (Path("a").is_file(), Path("got/outputs/b").is_file()) == (True, True)


def test_a_single_path_is_no_list_of_names(run: FileRun) -> None:
    with pytest.raises(TypeError, match="must be lists"):
        run.upload_files(Path("a"), ["x"])  # type: ignore[arg-type]
