"""Folders below a root: exact modes, no links, whole files, nothing left open."""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

import mlog
from mlog.errors import UnsafePathError
from mlog.folder import (
    GROUP,
    PRIVATE,
    Access,
    Folder,
    access_for,
    append_to,
    read_from,
)
from mlog.testing import isolated
from mlog.types import Mode
from tests.helpers import entries

needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0,
    reason="only root can act as other users",
)

PLANTS = ["a/b", "..", ".", "", "/etc", "a\\b", "a\0b"]


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each umask in turn."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A private folder below a root."""
    return Folder.open_below(tmp_path / "root", ["run"], PRIVATE)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class TestModes:
    """Whatever the umask is: 0600 in 0700, or 0660 in 2770 for a group."""

    @pytest.mark.parametrize("access", [PRIVATE, GROUP], ids=["private", "group"])
    def test_are_exact(self, tmp_path: Path, umask: int, access: Access) -> None:
        folder = Folder.open_below(tmp_path / "root", ["a", "b"], access)
        folder.create("created")
        folder.reopen("reopened")
        folder.replace("replaced", b"x")
        append_to(folder.path / "appended", access)
        assert {mode_of(path) for path in folder.path.iterdir()} == {access.file}
        below = [tmp_path / "root", tmp_path / "root" / "a", folder.path]
        assert {mode_of(path) for path in below} == {access.folder}

    @pytest.mark.parametrize("mode", ["private", "group"])
    def test_of_a_whole_run_are_exact(
        self, tmp_path: Path, umask: int, mode: Mode
    ) -> None:
        access = GROUP if mode == "group" else PRIVATE
        with mlog.start_run("e", dir=tmp_path / "root", mode=mode) as run:
            run.log("loss", 1)
            assert run.path is not None
            files = list(run.path.iterdir())
            assert {mode_of(path) for path in files} == {access.file}
            assert {path.name for path in files} >= {"metrics.jsonl", ".lock"}
        for path in (run.path, run.path.parent, run.path.parent.parent):
            assert mode_of(path) == access.folder

    def test_setgid_root_is_for_the_group(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o2775)
        assert access_for(tmp_path, "private") == GROUP
        tmp_path.chmod(0o755)
        assert access_for(tmp_path, "private") == PRIVATE
        assert access_for(tmp_path / "missing", "private") == PRIVATE

    def test_unknown_mode_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="mode must be 'private' or 'group'"):
            access_for(tmp_path, "public")  # type: ignore[arg-type]

    def test_of_folders_that_are_there_stay(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir(mode=0o755)
        Folder.open_below(tmp_path, ["run"], PRIVATE)
        assert mode_of(tmp_path / "run") == 0o755


class TestLinks:
    """The root may be a link; nothing below it may."""

    def test_root_and_its_parents_may_be_links(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        Folder.open_below(tmp_path / "link" / "root", ["run"], PRIVATE).create("f")
        assert (tmp_path / "real" / "root" / "run" / "f").exists()
        Folder.open_below(tmp_path / "link", ["run"], PRIVATE).create("f")
        assert (tmp_path / "real" / "run" / "f").exists()

    @pytest.mark.parametrize("target", ["elsewhere", "missing"])
    @pytest.mark.parametrize("create", [True, False])
    def test_folder_that_is_a_link_is_refused(
        self, tmp_path: Path, target: str, create: bool
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / target)
        with pytest.raises(UnsafePathError, match="is a link"):
            Folder.open_below(tmp_path, ["link", "x"], PRIVATE, create=create)
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_run_below_a_link_is_refused(self, tmp_path: Path) -> None:
        """Nobody who can write into the root leads a run's files elsewhere."""
        root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
        (root / "fine").mkdir(parents=True)
        elsewhere.mkdir()
        (root / "experiment").symlink_to(elsewhere)
        (root / "fine" / "run").symlink_to(elsewhere)
        for experiment in ("experiment", "fine"):
            with pytest.raises(UnsafePathError, match="is a link"):
                mlog.start_run(experiment, dir=root, run_id="run")
        assert list(elsewhere.iterdir()) == []

    def test_planted_links_are_not_written_through(self, tmp_path: Path) -> None:
        """A link where a run wants a file costs it the name, never the target."""
        target, run_folder = tmp_path / "target", tmp_path / "e" / "r"
        run_folder.mkdir(parents=True)
        target.write_bytes(b"theirs")
        for name in ("metrics.jsonl", "logs.jsonl", ".lock", "run.json"):
            (run_folder / name).symlink_to(target)
        with mlog.start_run("e", dir=tmp_path, run_id="r", resume=True) as run:
            run.log("loss", 0.5)
            mlog.getLogger("x").warning("hello")
        assert target.read_bytes() == b"theirs"
        assert (run_folder / "metrics.1.jsonl").is_file()
        assert (run_folder / "logs.1.jsonl").is_file()
        assert not (run_folder / "run.json").is_symlink()

    def test_only_regular_files_are_read(self, tmp_path: Path) -> None:
        """A planted pipe must not hold a run up, nor a link show it other files."""
        (tmp_path / "file").write_bytes(b"text")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        os.mkfifo(tmp_path / "pipe")
        with read_from(tmp_path / "file") as file:
            assert file.read() == b"text"
        for name in ("link", "pipe", "missing", "."):
            with pytest.raises(OSError, match=r"."):
                read_from(tmp_path / name)

    def test_file_the_user_named_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch(0o644)
        (tmp_path / "link").symlink_to(tmp_path / "file")
        file = append_to(tmp_path / "link", PRIVATE)
        os.write(file.fd, b"x")
        assert (tmp_path / "file").read_bytes() == b"x"
        assert mode_of(tmp_path / "file") == 0o644


class TestNames:
    """Only plain names are taken, so nothing is reached outside the folder."""

    @pytest.mark.parametrize("name", PLANTS)
    def test_other_names_are_refused(self, folder: Folder, name: str) -> None:
        actions: list[Callable[[str], object]] = [
            folder.child,
            folder.create,
            folder.reopen,
            folder.remove,
            folder.size,
            folder.status,
            folder.open,
            lambda n: folder.replace(n, b""),
        ]
        for action in actions:
            with pytest.raises(UnsafePathError, match="is no plain name"):
                action(name)

    @pytest.mark.parametrize("name", ["../../up", "/abs", "a\0b", "..", "CON", "é/ü"])
    def test_what_users_type_stays_below_the_root(
        self, tmp_path: Path, name: str
    ) -> None:
        root = tmp_path / "deep" / "root"
        run = mlog.start_run(name, dir=root, run_id=name)
        run.complete()
        assert run.path is not None
        assert run.path.parents[1] == root
        assert [path.name for path in tmp_path.iterdir()] == ["deep"]


class TestReplace:
    """A file is put in place as a whole."""

    def test_readers_see_the_old_or_the_new(self, folder: Folder) -> None:
        folder.replace("run.json", b"old")
        with (folder.path / "run.json").open("rb") as old:
            folder.replace("run.json", b"new")
            assert old.read() == b"old"
        assert (folder.path / "run.json").read_bytes() == b"new"
        assert folder.names() == ["run.json"]

    def test_failure_leaves_the_old_one_and_nothing_else(self, folder: Folder) -> None:
        (folder.path / "run.json").mkdir()
        with pytest.raises(OSError, match=r"."):
            folder.replace("run.json", b"new")
        assert folder.names() == ["run.json"]

    def test_leftover_of_a_crash_is_no_obstacle(self, folder: Folder) -> None:
        """In a container every process has the same pid."""
        for number in range(2_000):
            (folder.path / f".x.{os.getpid()}-{number}.tmp").touch()
        folder.replace("x", b"new")
        assert (folder.path / "x").read_bytes() == b"new"


class TestPlace:
    """A file of any size is put in place as a whole, as by `replace`."""

    def test_readers_see_nothing_before_it_is_whole(self, folder: Folder) -> None:
        def write(file: BinaryIO) -> str:
            file.write(b"first ")
            file.flush()
            assert not (folder.path / "x").exists()
            file.write(b"second")
            return "done"

        assert folder.place("x", write, sync=True) == "done"
        assert (folder.path / "x").read_bytes() == b"first second"
        assert folder.names() == ["x"]

    def test_file_can_be_written_in_any_order(self, folder: Folder) -> None:
        """A ZIP file is corrected where it begins."""

        def write(file: BinaryIO) -> None:
            file.write(b"xxxx-end")
            file.seek(0)
            file.write(b"head")

        folder.place("x", write)
        assert (folder.path / "x").read_bytes() == b"head-end"

    def test_error_leaves_things_as_they_were(self, folder: Folder) -> None:
        folder.replace("x", b"old")

        def write(file: BinaryIO) -> None:
            file.write(b"half")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            folder.place("x", write)
        assert folder.names() == ["x"]
        assert (folder.path / "x").read_bytes() == b"old"

    def test_unfinished_file_can_lie_elsewhere(self, folder: Folder) -> None:
        below = folder.child("below")

        def write(file: BinaryIO) -> None:
            assert below.names() == []
            assert len(folder.names()) == 2

        below.place("x", write, scratch=folder)
        assert (below.names(), folder.names()) == (["x"], ["below"])

    def test_longest_name_is_taken(self, folder: Folder) -> None:
        for name in ("x" * 255, "ü" * 127, "🙂" * 63):
            folder.replace(name, b"x")
        assert len(folder.names()) == 3

    def test_mode_is_exact(self, tmp_path: Path, umask: int) -> None:
        folder = Folder.open_below(tmp_path / "root", ["run"], GROUP)
        folder.place("x", lambda file: file.write(b"x"))
        assert mode_of(folder.path / "x") == GROUP.file


class TestReading:
    """What lies in a folder is looked at and opened without following links."""

    def test_only_regular_files_are_opened(self, folder: Folder) -> None:
        folder.replace("file", b"text")
        folder.child("below")
        os.mkfifo(folder.path / "pipe")
        with folder.open("file") as file:
            assert file.read() == b"text"
        for name in ("below", "pipe", "missing"):
            with pytest.raises(OSError, match=r"."):
                folder.open(name)

    def test_link_is_refused(self, folder: Folder, tmp_path: Path) -> None:
        (tmp_path / "theirs").write_bytes(b"secret")
        (folder.path / "link").symlink_to(tmp_path / "theirs")
        with pytest.raises(UnsafePathError, match="is a link"):
            folder.open("link")

    def test_status_is_of_the_link_itself(self, folder: Folder) -> None:
        (folder.path / "link").symlink_to("missing")
        found = folder.status("link")
        assert found is not None
        assert stat.S_ISLNK(found.st_mode)
        assert folder.status("missing") is None


class TestState:
    """A folder knows its files and whether it still has its place."""

    def test_exists_until_it_is_removed_or_moved(
        self, folder: Folder, tmp_path: Path
    ) -> None:
        assert folder.exists()
        folder.path.rename(tmp_path / "moved")
        assert not folder.exists()
        folder.path.mkdir()
        assert not folder.exists()

    def test_sizes_and_removal_need_no_file(self, folder: Folder) -> None:
        file = folder.create("f")
        os.write(file.fd, b"1234")
        assert (folder.size("f"), folder.size("missing")) == (4, 0)
        assert folder.remove("f")
        assert not folder.remove("f")

    def test_create_is_exclusive(self, folder: Folder) -> None:
        folder.create("f")
        with pytest.raises(FileExistsError):
            folder.create("f")

    def test_missing_folder_is_not_made_unasked(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Folder.open_below(tmp_path, ["missing"], PRIVATE, create=False)
        assert list(tmp_path.iterdir()) == []

    def test_descriptors_are_not_inherited(self, folder: Folder) -> None:
        file = folder.create("f")
        assert not os.get_inheritable(file.fd)


def test_hundred_runs_leave_no_file_open(tmp_path: Path) -> None:
    """What a run opened is closed when it has ended."""
    with isolated(tmp_path):
        counts = []
        for number in range(101):
            with mlog.start_run("e", run_id=f"r{number}") as run:
                run.log("loss", 1)
                mlog.getLogger("x").info("text")
            counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[-1] == counts[0]


def as_user(uid: int, gid: int, action: Callable[[], None]) -> str:
    """Do something in a child as another user; return what went wrong, or ""."""
    pipe, said = os.pipe()
    pid = os.fork()
    if not pid:
        text = ""
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            action()
        except BaseException as exc:
            text = f"{type(exc).__name__}: {exc}"
        os.write(said, text.encode())
        os._exit(0)
    os.close(said)
    with open(pipe, "rb") as file:
        text = file.read().decode()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A folder that other users can reach and not write to."""
    top = Path(tempfile.gettempdir())
    for path in (tmp_path, *tmp_path.parents):
        if path == top or not path.is_relative_to(top):
            break
        path.chmod(path.stat().st_mode | 0o711)
    return tmp_path


@needs_root
class TestUsers:
    """Runs are the user's own, or the group's where that was asked for."""

    GID = 54_321

    def test_group_root_takes_runs_of_all_its_users(self, open_path: Path) -> None:
        """Each can add a run, and read and resume the other's."""
        root = open_path / "root"
        root.mkdir()
        os.chown(root, 54_001, self.GID)
        root.chmod(0o2770)

        def first() -> None:
            with mlog.start_run("e", dir=root, run_id="one") as run:
                run.log("loss", 1)

        def second() -> None:
            assert entries(root / "e" / "one", "metrics")
            with mlog.start_run("e", dir=root, run_id="two") as run:
                run.log("loss", 2)
            with mlog.start_run("e", dir=root, run_id="one", resume=True) as run:
                run.log("loss", 3)

        def stranger() -> None:
            list(root.iterdir())

        assert as_user(54_001, self.GID, first) == ""
        assert as_user(54_002, self.GID, second) == ""
        assert as_user(54_003, 54_322, stranger).startswith("PermissionError")
        for path in (root / "e").rglob("*"):
            assert path.stat().st_gid == self.GID
        losses = [e["metric"]["loss"] for e in entries(root / "e" / "one", "metrics")]
        assert sorted(losses) == [1, 3]

    def test_private_run_is_read_by_nobody_else(self, open_path: Path) -> None:
        shared = open_path / "shared"
        shared.mkdir()
        shared.chmod(0o777)

        def own() -> None:
            with mlog.start_run("e", dir=shared / "mine", run_id="r") as run:
                run.log("loss", 1)

        def colleague() -> None:
            entries(shared / "mine" / "e" / "r")

        assert as_user(54_001, self.GID, own) == ""
        assert as_user(54_002, self.GID, colleague).startswith("PermissionError")
