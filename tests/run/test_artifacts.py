"""Artifacts of a run: whole files, under the user's names, nowhere but in its folder."""

import errno
import hashlib
import io
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import ArtifactNotFoundError, MlogError, UnsafePathError
from mlog.folder import GROUP, PRIVATE
from mlog.run.artifacts import (
    ArtifactStore,
    Bar,
    artifact_name,
    copy_out,
    guess_media_type,
)
from tests.helpers import run_python
from tests.test_faults import without_rights

MIB = 1 << 20


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run."""
    folder = tmp_path / "root" / "e" / "r"
    folder.mkdir(parents=True, mode=0o700)
    return folder


@pytest.fixture
def store(run: Path) -> ArtifactStore:
    return ArtifactStore(run)


@pytest.fixture
def open_folders(run: Path, tmp_path: Path) -> None:
    """Let other users reach the run's folder."""
    for folder in (run, *run.parents):
        if folder.is_relative_to(tmp_path.parents[1]):
            folder.chmod(folder.stat().st_mode | 0o711)


def files_in(folder: Path) -> set[str]:
    """Return all files of a run, also hidden and unfinished ones."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class TestNames:
    """One spelling for each name, and none that leads elsewhere."""

    @pytest.mark.parametrize(
        ("typed", "name"),
        [
            ("x", "x"),
            ("./outputs/x", "outputs/x"),
            ("outputs//a/./x", "outputs/a/x"),
            (r"outputs\model.pkl", "outputs/model.pkl"),
            (Path("outputs/x"), "outputs/x"),
            ("…/ü 🙂", "…/ü 🙂"),
            (".hidden/..x..", ".hidden/..x.."),
            ("loss: train?", "loss: train?"),
            ("aux/con.txt", "aux/con.txt"),
        ],
    )
    def test_spelling(self, typed: str, name: str) -> None:
        assert artifact_name(typed, windows=False) == name

    @pytest.mark.parametrize(
        "typed",
        [
            *("..", "../x", "a/../b", "a/..", r"a\..\b", r"..\x"),
            *("/etc/passwd", "//x", r"\x", "C:/x", r"c:\x", "C:x"),
        ],
    )
    def test_that_lead_out_are_refused(self, store: ArtifactStore, typed: str) -> None:
        with pytest.raises(UnsafePathError, match="leads out of the run's folder"):
            artifact_name(typed)
        for action in (store.open, store.status, lambda n: store.put(n, b"x")):
            with pytest.raises(UnsafePathError):
                action(typed)
        assert files_in(store.run) == set()

    @pytest.mark.parametrize("typed", ["", ".", "./", "outputs/", "outputs/."])
    def test_that_name_no_file_are_refused(self, typed: str) -> None:
        with pytest.raises(ValueError, match="names no file"):
            artifact_name(typed)

    @pytest.mark.parametrize(
        ("typed", "text"),
        [
            ("a\0b", "has a NUL"),
            ("a\udc80", "is no Unicode text"),
            ("ü" * 128, "one level of a name may have 255 bytes"),
            ("a/" * 1_000 + "x", "a name may have 2,000 bytes|name may have 2,000"),
        ],
    )
    def test_that_no_disk_takes_are_refused(self, typed: str, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            artifact_name(typed)

    @pytest.mark.parametrize("typed", [b"x", 5, None])
    def test_must_be_text(self, typed: Any) -> None:
        with pytest.raises(TypeError, match=r"."):
            artifact_name(typed)

    @pytest.mark.parametrize(
        "typed", ["con", "a/NUL.txt", "xy:z", "x.", "x ", "a?b", "a\nb", "lpt1"]
    )
    def test_that_windows_takes_otherwise_are_refused_there(self, typed: str) -> None:
        with pytest.raises(ValueError, match="on Windows"):
            artifact_name(typed, windows=True)
        assert artifact_name("auxiliary/com10.txt", windows=True)

    @given(st.text())
    def test_any_text_is_a_name_or_refused(self, typed: str) -> None:
        """A name stays as it is, and leads to a place below the artifacts."""
        try:
            name = artifact_name(typed)
        except (ValueError, UnsafePathError):
            return
        assert artifact_name(name) == name
        assert os.path.normpath(f"/r/artifacts/{name}") == f"/r/artifacts/{name}"

    def test_media_types(self) -> None:
        assert guess_media_type("a/b.png") == "image/png"
        assert guess_media_type("x.csv.gz") == "application/gzip"
        assert guess_media_type("model") == "application/octet-stream"


class TestSources:
    """Bytes, paths and streams become the same artifact."""

    DATA = b"\0\r\n\xff" * 700_000  # more than two blocks, no whole number of them

    @pytest.mark.parametrize("kind", ["bytes", "bytearray", "path", "str", "stream"])
    def test_content_is_exact(
        self, store: ArtifactStore, tmp_path: Path, kind: str
    ) -> None:
        path = tmp_path / "source.bin"
        path.write_bytes(self.DATA)
        sources = {
            "bytes": self.DATA,
            "bytearray": bytearray(self.DATA),
            "path": path,
            "str": str(path),
            "stream": io.BytesIO(self.DATA),
        }
        stored = store.put("a/b.png", cast(BinaryIO, sources[kind]))
        assert (store.path / "a" / "b.png").read_bytes() == self.DATA
        assert (stored.path, stored.size) == ("a/b.png", len(self.DATA))
        assert stored.sha256 == sha256(self.DATA)
        assert stored.media_type == "image/png"

    def test_nothing_is_an_artifact_too(self, store: ArtifactStore) -> None:
        assert store.put("x", b"").size == 0
        assert store.names() == ["x"]

    def test_text_becomes_utf8(self, store: ArtifactStore) -> None:
        stored = store.put("x.txt", io.StringIO("ü\n\ud800"))
        assert (store.path / "x.txt").read_bytes() == "ü\n\ufffd".encode()
        assert stored.size == 6

    def test_stream_is_read_from_where_it_stands_and_stays_open(
        self, store: ArtifactStore
    ) -> None:
        stream = io.BytesIO(b"headbody")
        stream.seek(4)
        assert store.put("x", stream).size == 4
        assert not stream.closed

    def test_stream_may_give_less_than_asked_for(self, store: ArtifactStore) -> None:
        class Slow(io.RawIOBase):
            left = 5

            def read(self, size: int = -1) -> bytes:
                self.left -= 1
                return b"ab" if self.left >= 0 else b""

        assert store.put("x", cast(BinaryIO, Slow())).size == 10

    def test_link_of_the_users_is_read(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"text")
        (tmp_path / "link").symlink_to("file")
        assert store.put("x", tmp_path / "link").size == 4
        assert not (store.path / "x").is_symlink()

    def test_file_that_grows_or_shrinks_is_taken_as_it_is_read(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        path = tmp_path / "growing"
        for change in (4 * MIB, MIB // 2):
            path.write_bytes(b"x" * (2 * MIB))
            changes = iter([change])

            def meanwhile(
                done: int, total: int | None, changes: Iterator[int] = changes
            ) -> None:
                for size in changes:
                    os.truncate(path, size)

            stored = store.put("x", path, progress=meanwhile)
            content = (store.path / "x").read_bytes()
            assert stored.size == len(content) == max(change, MIB)
            assert stored.sha256 == sha256(content)

    @pytest.mark.parametrize("source", [5, None, ["x"], object()])
    def test_other_things_are_refused(self, store: ArtifactStore, source: Any) -> None:
        with pytest.raises(TypeError, match="expected the path of a file, bytes or a"):
            store.put("x", source)
        assert files_in(store.run) == set()

    def test_stream_of_other_things_is_refused(self, store: ArtifactStore) -> None:
        class Odd:
            def read(self, size: int) -> object:
                return [1]

        with pytest.raises(TypeError, match="must give bytes or text, got list"):
            store.put("x", cast(BinaryIO, Odd()))
        assert files_in(store.run) == set()

    def test_what_is_no_file_is_refused(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        """A pipe that nobody writes to must not hold the program up."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileNotFoundError, match="missing"):
            store.put("x", tmp_path / "missing")
        with pytest.raises(IsADirectoryError, match="upload_folder"):
            store.put("x", tmp_path)
        with pytest.raises(OSError, match="not a regular file"):
            store.put("x", tmp_path / "pipe")
        assert files_in(store.run) == set()

    def test_copy_has_the_time_of_the_file(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"x")
        os.utime(path, ns=(10**18 + 1, 10**18 + 1))
        store.put("x", path)
        found = store.status("x")
        assert found is not None
        assert found.st_mtime_ns == path.stat().st_mtime_ns

    def test_big_file_needs_little_memory(self, run: Path) -> None:
        """A sparse file of 300 MiB goes through a process that may have 64 MiB more."""
        code = """
import resource, sys
from pathlib import Path
from mlog.run.artifacts import ArtifactStore
import hashlib, mimetypes
with open(sys.argv[2], "wb") as file:
    file.truncate(300 << 20)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
print(ArtifactStore(sys.argv[1]).put("big", sys.argv[2]).size)
"""
        done = run_python(code, str(run), str(run.parent / "big"))
        assert (done.stdout.strip(), done.stderr) == (str(300 * MIB), "")


class TestWhole:
    """A file is there as a whole or not at all."""

    def test_a_later_one_replaces_it(self, store: ArtifactStore) -> None:
        store.put("x", b"old")
        with store.open("x") as old:
            store.put("x", b"new")
            assert old.read() == b"old"
        assert (store.path / "x").read_bytes() == b"new"
        assert files_in(store.run) == {"artifacts/x"}

    def test_nobody_sees_half_of_it(self, store: ArtifactStore) -> None:
        seen = []

        def look(done: int, total: int | None) -> None:
            seen.append(store.names())

        store.put("a/x", bytes(3 * MIB), progress=look)
        assert seen == [[], [], []]
        assert store.names() == ["a/x"]

    @pytest.mark.parametrize("error", [ValueError("no more"), KeyboardInterrupt()])
    def test_stream_that_breaks_leaves_nothing(
        self, store: ArtifactStore, error: BaseException
    ) -> None:
        class Broken:
            blocks = 2

            def read(self, size: int) -> bytes:
                self.blocks -= 1
                if self.blocks < 0:
                    raise error
                return bytes(MIB)

        store.put("x", b"old")
        for name in ("x", "y/z"):
            with pytest.raises(type(error)):
                store.put(name, cast(BinaryIO, Broken()))
        assert files_in(store.run) == {"artifacts/x"}
        assert (store.path / "x").read_bytes() == b"old"

    def test_full_disk_leaves_nothing(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        (disk / "e" / "r").mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as exc:
            pytest.skip(f"no disk may be mounted here: {exc}")
        try:
            (disk / "e" / "r").mkdir(parents=True)
            store = ArtifactStore(disk / "e" / "r")
            store.put("small", b"x")
            with pytest.raises(OSError, match="'big' was not stored") as caught:
                store.put("big", bytes(4 * MIB))
            assert caught.value.errno == errno.ENOSPC
            assert files_in(store.run) == {"artifacts/small"}
            store.put("fits", bytes(MIB))
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)

    def test_limited_file_size_leaves_nothing(self, run: Path) -> None:
        code = """
import resource, signal, sys
from mlog.run.artifacts import ArtifactStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
store = ArtifactStore(sys.argv[1])
for source in (bytes(1_400_000), bytes(3 << 20)):
    try:
        store.put("x" + str(len(source)), source)
    except OSError as exc:
        print(exc)
"""
        done = run_python(code, str(run))
        assert done.stdout.count("\n") == 1
        assert "File too large: artifact 'x3145728' was not stored" in done.stdout
        assert files_in(run) == {"artifacts/x1400000"}

    def test_killed_process_leaves_no_half_artifact(self, run: Path) -> None:
        code = """
import os, signal, sys
from mlog.run.artifacts import ArtifactStore
def die(done, total):
    os.kill(os.getpid(), signal.SIGKILL)
ArtifactStore(sys.argv[1]).put("a/x", bytes(3 << 20), progress=die)
"""
        assert run_python(code, str(run)).returncode == -9
        store = ArtifactStore(run)
        assert store.names() == []
        (leftover,) = files_in(run)
        assert leftover.startswith(".x.")
        store.put("a/x", b"whole")
        assert store.names() == ["a/x"]

    def test_folder_that_may_not_be_written_to_is_told(
        self, store: ArtifactStore, open_folders: None
    ) -> None:
        with without_rights(store.run), pytest.raises(PermissionError) as caught:
            store.put("x", b"x")
        assert f"artifact 'x' was not stored in {store.path}" in str(caught.value)

    def test_many_at_once_are_each_whole(self, store: ArtifactStore) -> None:
        def put(value: int) -> None:
            for turn in range(20):
                store.put("same/x", bytes([value]) * (value + 1))
                store.put(f"own/{value}/{turn}", bytes([value]))

        threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        content = (store.path / "same" / "x").read_bytes()
        assert content == bytes([content[0]]) * (content[0] + 1)
        assert len(store.names("own/")) == 160
        assert len(files_in(store.run)) == 161

    def test_name_below_a_file_or_of_a_folder_is_refused(
        self, store: ArtifactStore
    ) -> None:
        store.put("a/b", b"x")
        with pytest.raises(MlogError, match="one of its folders is a file"):
            store.put("a/b/c", b"x")
        with pytest.raises(MlogError, match="is a folder of artifacts"):
            store.put("a", b"x")
        assert files_in(store.run) == {"artifacts/a/b"}

    def test_run_that_is_gone_is_told(self, tmp_path: Path) -> None:
        store = ArtifactStore(tmp_path / "e" / "gone")
        with pytest.raises(MlogError, match="removed or moved"):
            store.put("x", b"x")
        assert list(tmp_path.iterdir()) == []


class TestPlace:
    """Files lie below the run's artifacts, with the run's mode, behind no link."""

    def test_planted_links_are_refused(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "x").write_bytes(b"theirs")
        store.put("fine", b"x")
        (store.path / "folder").symlink_to(theirs)
        (store.path / "file").symlink_to(theirs / "x")
        for name in ("folder/x", "folder/new", "file"):
            with pytest.raises(UnsafePathError, match="is a link"):
                store.put(name, b"ours")
            with pytest.raises(UnsafePathError, match="is a link"):
                store.fetch(name, tmp_path / "out")
        assert store.names() == ["fine"]
        assert [p.name for p in theirs.iterdir()] == ["x"]
        assert (theirs / "x").read_bytes() == b"theirs"

    @pytest.mark.parametrize("level", ["artifacts", "r", "e"])
    def test_link_above_is_refused(
        self, store: ArtifactStore, tmp_path: Path, level: str
    ) -> None:
        store.put("x", b"x")
        place = {"artifacts": store.path, "r": store.run, "e": store.run.parent}[level]
        place.rename(tmp_path / "moved")
        place.symlink_to(tmp_path / "moved")
        for action in (lambda: store.put("y", b"y"), store.names):
            with pytest.raises(UnsafePathError, match="is a link"):
                action()

    @pytest.mark.parametrize("access", [PRIVATE, GROUP], ids=["private", "group"])
    def test_modes_are_those_of_the_run(self, run: Path, access: Any) -> None:
        run.chmod(access.folder)
        store = ArtifactStore(run)
        store.put("a/x", b"x")
        for path in (store.path, store.path / "a"):
            assert stat.S_IMODE(path.stat().st_mode) == access.folder
        assert stat.S_IMODE((store.path / "a" / "x").stat().st_mode) == access.file

    def test_names_are_of_regular_files_and_sorted(self, store: ArtifactStore) -> None:
        assert store.names() == []
        for name in ("b", "a/z", "a/b/c", ".hidden", "a.txt"):
            store.put(name, b"x")
        os.mkfifo(store.path / "pipe")
        (store.path / "empty").mkdir()
        assert store.names() == [".hidden", "a.txt", "a/b/c", "a/z", "b"]
        assert store.names("a/") == ["a/b/c", "a/z"]
        assert store.names("./a") == ["a.txt", "a/b/c", "a/z"]
        assert store.names("x") == []

    def test_no_descriptor_stays_open(self, store: ArtifactStore) -> None:
        before = os.listdir("/proc/self/fd")
        for _ in range(3):
            store.put("a/b/x", b"x")
            store.names()
            with pytest.raises(ArtifactNotFoundError):
                store.open("a/b")
        assert os.listdir("/proc/self/fd") == before


class TestFetching:
    """An artifact is copied out as a whole, or the target stays as it was."""

    def test_folders_above_are_made(self, store: ArtifactStore, tmp_path: Path) -> None:
        store.put("x", b"content")
        store.fetch("x", tmp_path / "new" / "deep" / "y", sha256=sha256(b"content"))
        assert (tmp_path / "new" / "deep" / "y").read_bytes() == b"content"

    def test_unknown_name_says_the_closest(self, store: ArtifactStore) -> None:
        with pytest.raises(ArtifactNotFoundError, match="'x'; it has none at all"):
            store.open("x")
        for name in ("outputs/model.pkl", "outputs/best.pkl", "plot.png"):
            store.put(name, b"x")
        text = "'output/model.pkl'; the closest are 'outputs/model.pkl'"
        with pytest.raises(ArtifactNotFoundError, match=text):
            store.open("output/model.pkl")
        with pytest.raises(ArtifactNotFoundError, match="it has 3 others"):
            store.open("zzzz")
        for name in ("outputs", "plot.png/x"):
            with pytest.raises(ArtifactNotFoundError):
                store.open(name)

    def test_other_checksum_leaves_the_target(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        store.put("x", b"changed")
        target = tmp_path / "out" / "y"
        target.parent.mkdir()
        target.write_bytes(b"old")
        with pytest.raises(MlogError, match="was changed or is damaged"):
            store.fetch("x", target, sha256=sha256(b"recorded"))
        assert target.read_bytes() == b"old"
        assert list(target.parent.iterdir()) == [target]

    def test_error_leaves_the_target(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        store.put("x", bytes(2 * MIB))

        def fail(done: int, total: int | None) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.fetch("x", tmp_path / "out" / "y", progress=fail)
        assert list((tmp_path / "out").iterdir()) == []

    def test_only_regular_files_are_replaced(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        """`/dev/null` stays what it is."""
        store.put("x", b"x")
        os.mkfifo(tmp_path / "pipe")
        for target in (tmp_path / "pipe", tmp_path):
            with pytest.raises(OSError, match="not a regular file"):
                store.fetch("x", target)
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    def test_link_of_the_users_is_followed(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        store.put("x", b"new")
        (tmp_path / "real").write_bytes(b"old")
        (tmp_path / "link").symlink_to("real")
        store.fetch("x", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_bytes() == b"new"

    def test_mode_is_the_users_usual_one(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            copy_out(b"x", tmp_path / "y")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "y").stat().st_mode) == 0o640


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class TestBar:
    """Big copies show on a terminal how far they are, and nowhere else."""

    def test_line_grows_and_goes_away(self) -> None:
        screen = Terminal()
        with Bar("outputs/model.pkl", screen, least=1_000) as bar:
            for done in (0, 500, 501, 1_000):
                bar(done, 1_000)
        drawn = screen.getvalue().split("\r\x1b[K")
        assert drawn == [
            "",
            f"outputs/model.pkl [{'':25}]   0%",
            f"outputs/model.pkl [{'#' * 12:25}]  50%",
            f"outputs/model.pkl [{'#' * 25}] 100%",
            "",
        ]

    def test_small_or_endless_ones_show_nothing(self) -> None:
        screen = Terminal()
        with Bar("x", screen) as bar:
            bar(1, 64 * MIB - 1)
            bar(1 << 40, None)
        assert screen.getvalue() == ""

    @pytest.mark.parametrize("closed", [True, False])
    def test_no_terminal_gets_nothing(self, closed: bool) -> None:
        screen = io.StringIO()
        if closed:
            screen.close()
        with Bar("x", screen) as bar:
            bar(1, 64 * MIB)
        assert closed or screen.getvalue() == ""

    def test_missing_stderr_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stderr", None)
        with Bar("x") as bar:
            bar(1, 64 * MIB)

    def test_source_tells_its_size(self, store: ArtifactStore, tmp_path: Path) -> None:
        told: list[tuple[int, int | None]] = []
        (tmp_path / "x").write_bytes(bytes(MIB + 1))
        for source in (tmp_path / "x", io.BytesIO(b"12")):
            store.put("x", source, progress=lambda *args: told.append(args))
        assert told == [(MIB, MIB + 1), (MIB + 1, MIB + 1), (2, None)]
        told.clear()
        store.fetch("x", tmp_path / "y", progress=lambda *args: told.append(args))
        assert told == [(2, 2)]
