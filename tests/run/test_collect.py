"""What is in `./outputs` and `./logs` at the end of a run belongs to the run."""

import os
import sys
import warnings
from pathlib import Path

import pytest

from mlog.errors import MlogWarning
from mlog.run.artifacts import ArtifactStore, Stored
from mlog.run.collect import collect, files_below, folders_of
from tests.helpers import REPO, run_python


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """The working directory of a program, with its two folders."""
    folder = tmp_path / "work"
    for name in ("outputs", "logs"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    folder = tmp_path / "root" / "e" / "r"
    folder.mkdir(parents=True)
    return ArtifactStore(folder)


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


class TestCollect:
    """As Azure ML v1: all that lies there, under its path."""

    def test_all_files_are_stored_and_told(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        for name in ("outputs/a", "outputs/b/c", "logs/train.log", "other"):
            write(cwd / name)
        told: list[Stored] = []
        done = collect(store, cwd=cwd, told=told.append)
        assert store.names() == ["logs/train.log", "outputs/a", "outputs/b/c"]
        assert {stored.path for stored in told} == set(store.names())
        assert (done.stored, done.unchanged, done.failed) == (3, 0, [])

    def test_nothing_there_is_nothing_to_do(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        assert collect(store, cwd=tmp_path / "missing").stored == 0
        assert not store.path.exists()

    def test_hidden_files_are_stored_of_outputs_only(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        for name in ("outputs/.a", "outputs/.b/c", "logs/.a", "logs/.b/c", "logs/d"):
            write(cwd / name)
        collect(store, cwd=cwd)
        assert store.names() == ["logs/d", "outputs/.a", "outputs/.b/c"]

    def test_files_stored_already_are_left(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        """By size and time, or where the time differs by content."""
        _, touched, changed = (write(cwd / "outputs" / n, n) for n in "abc")
        collect(store, cwd=cwd)
        os.utime(touched, ns=(1, 1))
        changed.write_text("C")
        os.utime(changed, ns=(2, 2))
        told: list[Stored] = []
        done = collect(store, cwd=cwd, told=told.append)
        assert [stored.path for stored in told] == ["outputs/c"]
        assert (done.stored, done.unchanged) == (1, 2)
        assert (store.path / "outputs" / "c").read_text() == "C"

    def test_file_that_was_uploaded_is_left(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        path = write(cwd / "outputs" / "model.pkl", "model")
        store.put("outputs/model.pkl", path)
        assert collect(store, cwd=cwd).unchanged == 1

    def test_only_new_files_where_asked_for(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        """A copy of an old file is new, whatever time it keeps."""
        copied = write(cwd / "outputs" / "copied")
        os.utime(copied, (1_000, 1_000))
        now = copied.stat().st_ctime
        assert collect(store, cwd=cwd, since=now + 60).stored == 0
        assert collect(store, cwd=cwd, since=now - 60).stored == 1

    def test_other_folders_keep_their_path(
        self, store: ArtifactStore, cwd: Path, tmp_path: Path
    ) -> None:
        """One from elsewhere is stored under its last part."""
        for path in (cwd / "a/b/x", tmp_path / "far/x", tmp_path / "up/x"):
            write(path)
        collect(store, ["./a/b/", str(tmp_path / "far"), "../up"], cwd=cwd)
        assert store.names() == ["a/b/x", "far/x", "up/x"]

    def test_working_directory_itself(self, store: ArtifactStore, cwd: Path) -> None:
        write(cwd / "outputs" / "x")
        write(cwd / "y")
        collect(store, ["."], cwd=cwd)
        assert store.names() == ["outputs/x", "y"]

    def test_folder_may_be_a_link(
        self, store: ArtifactStore, cwd: Path, tmp_path: Path
    ) -> None:
        write(tmp_path / "scratch" / "x")
        (cwd / "outputs").rmdir()
        (cwd / "outputs").symlink_to(tmp_path / "scratch")
        collect(store, cwd=cwd)
        assert store.names() == ["outputs/x"]

    def test_runs_do_not_store_each_other(self, cwd: Path) -> None:
        """Where the root of all runs lies in the folder itself."""
        run = cwd / "outputs" / "runs" / "e" / "r"
        run.mkdir(parents=True)
        write(run.parent / "other" / "run.json")
        write(cwd / "outputs" / "x")
        store = ArtifactStore(run)
        collect(store, cwd=cwd)
        assert store.names() == ["outputs/x"]

    def test_file_names_that_are_no_text_are_mended(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        write(cwd / "outputs" / os.fsdecode(b"caf\xe9"))
        collect(store, cwd=cwd)
        assert store.names() == ["outputs/caf\ufffd"]


class TestTrouble:
    """A file that cannot be stored is told, and keeps no other from it."""

    def test_one_warning_counts_them(self, store: ArtifactStore, cwd: Path) -> None:
        for name in ("a", "b", "c"):
            write(cwd / "outputs" / name)
        for name in ("a", "b"):
            (store.path / "outputs" / name).mkdir(parents=True)
        text = "2 files or folders of outputs, logs could not be .*the first: outputs/a"
        with pytest.warns(MlogWarning, match=text) as caught:
            done = collect(store, cwd=cwd)
        assert len(caught) == 1
        assert (done.stored, len(done.failed)) == (1, 2)
        assert store.names() == ["outputs/c"]

    def test_file_that_vanishes_needs_no_word(
        self, store: ArtifactStore, cwd: Path
    ) -> None:
        for name in ("a", "b"):
            write(cwd / "outputs" / name)

        def told(stored: Stored) -> None:
            (cwd / "outputs" / "b").unlink(missing_ok=True)

        done = collect(store, cwd=cwd, told=told)
        assert (done.stored, done.failed) == (1, [])

    def test_run_that_is_gone_is_a_warning(self, tmp_path: Path, cwd: Path) -> None:
        write(cwd / "outputs" / "a")
        store = ArtifactStore(tmp_path / "root" / "e" / "gone")
        with pytest.warns(MlogWarning, match="removed or moved"):
            assert collect(store, cwd=cwd).stored == 0


class TestFilesBelow:
    """Regular files of a folder, in order; no link leads out of it."""

    def test_links(self, tmp_path: Path) -> None:
        """To a file inside: its content; to a folder or elsewhere: left out."""
        folder = tmp_path / "folder"
        write(folder / "sub" / "file")
        theirs = write(tmp_path / "theirs" / "secret").parent
        (folder / "inside").symlink_to("sub/file")
        (folder / "subfolder").symlink_to("sub")
        (folder / "broken").symlink_to("nothing")
        (folder / "loop").symlink_to("loop")
        (folder / "around").symlink_to(folder)
        os.mkfifo(folder / "pipe")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert [n for n, _ in files_below(folder)] == ["inside", "sub/file"]
        (folder / "outside").symlink_to(theirs)
        (folder / "outside-file").symlink_to(theirs / "secret")
        (folder / "sibling").symlink_to(tmp_path / "folder-2")
        with pytest.warns(MlogWarning, match="3 links in .* lead outside"):
            assert [n for n, _ in files_below(folder)] == ["inside", "sub/file"]

    def test_folder_that_is_not_read_is_an_error_or_noted(self, tmp_path: Path) -> None:
        failed: list[str] = []
        assert list(files_below(tmp_path / "missing", failed=failed)) == []
        assert failed == [f"{tmp_path / 'missing'}: No such file or directory"]
        with pytest.raises(FileNotFoundError):
            list(files_below(tmp_path / "missing"))


class TestFolders:
    """What `outputs=` means."""

    def test_as_in_v1(self) -> None:
        assert folders_of(None) == folders_of(True) == ("outputs", "logs")
        assert folders_of(False) == ()
        assert folders_of("results") == folders_of(Path("results"))
        assert folders_of("results") == ("results", "logs")
        assert folders_of(["a", Path("b")]) == ("a", "b")

    @pytest.mark.parametrize("outputs", [5, 1.5, object()])
    def test_other_things_are_refused(self, outputs: object) -> None:
        with pytest.raises(TypeError, match="outputs must be True, False"):
            folders_of(outputs)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_forked_child_leaves_collecting_to_its_parent(tmp_path: Path) -> None:
    """A worker's end is not the run's: what lies there then may be half written."""
    script = tmp_path / "program.py"
    script.write_text(
        "import multiprocessing, pathlib\n"
        "import mlog\n"
        "if __name__ == '__main__':\n"
        "    pathlib.Path('outputs').mkdir()\n"
        "    pathlib.Path('outputs/model').write_text('half')\n"
        "    run = mlog.start_run('e', outputs=True)\n"
        "    context = multiprocessing.get_context('fork')\n"
        "    child = context.Process(target=run.log, args=('x', 1))\n"
        "    child.start()\n"
        "    child.join()\n"
        "    assert run.get_file_names() == []\n"
        "    run.complete()\n"
        "    assert run.get_file_names() == ['outputs/model']\n"
    )
    done = run_python(script, env={"PYTHONPATH": str(REPO)}, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
