"""One write per entry: rotation, short writes, sealing, syncing, signals, threads."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog import segments
from mlog.folder import PRIVATE, Folder, OpenFile
from mlog.segments import Segment, Sync
from tests.helpers import entries, lost, run_python


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder for segments."""
    return Folder.open_below(tmp_path, ["run"], PRIVATE)


def segment(folder: Folder, **options: Any) -> Segment:
    """Return a segment whose files are called 0, 1, 2 and so on."""
    return Segment(lambda number: folder.create(str(number)), **options)


def contents(folder: Folder) -> list[bytes]:
    """Return what is in the files 0, 1, 2 and so on."""
    names = sorted((name for name in folder.names() if name.isdigit()), key=int)
    return [(folder.path / name).read_bytes() for name in names]


class FakeDisk:
    """Stands for `os.write`, with one outcome given for each call.

    A fake, because no real disk fails at a chosen byte of a chosen write. An outcome is
    None (all is well), a number of bytes after which the disk is full, or an errno.
    Once the outcomes are used up all is well.
    """

    def __init__(self, outcomes: "list[int | str | None]") -> None:
        self._outcomes = iter(outcomes)

    def write(self, fd: int, line: bytes) -> int:
        outcome = next(self._outcomes, None)
        if isinstance(outcome, str):
            number = getattr(errno, outcome)
            raise OSError(number, os.strerror(number))
        if outcome is None or outcome >= len(line):
            return os.write(fd, line)
        return os.write(fd, line[:outcome])


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that says how the next writes come out; see `FakeDisk`."""

    def choose(*chosen: "int | str | None") -> None:
        monkeypatch.setattr(segments, "_write", FakeDisk(list(chosen)).write)

    return choose


class TestRotation:
    """A full segment is left and the next one begun."""

    def test_nothing_is_made_before_the_first_entry(self, folder: Folder) -> None:
        segment(folder)
        assert folder.names() == []

    def test_without_a_limit_there_is_one_file(self, folder: Folder) -> None:
        one = segment(folder)
        for _ in range(100):
            one.append(b"x" * 100 + b"\n")
        assert [len(data) for data in contents(folder)] == [10_100]

    def test_next_begins_after_the_entry_that_reaches_the_limit(
        self, folder: Folder
    ) -> None:
        one = segment(folder, max_bytes=10)
        for line in (b"1234\n", b"5678\n", b"9\n"):
            one.append(line)
        assert contents(folder) == [b"1234\n5678\n", b"9\n"]
        assert (one.number, one.size) == (1, 2)

    def test_entry_longer_than_the_limit_stays_whole(self, folder: Folder) -> None:
        one = segment(folder, max_bytes=3)
        one.append(b"1234\n")
        one.append(b"5678\n")
        assert contents(folder) == [b"1234\n", b"5678\n"]

    def test_next_file_appears_with_its_first_entry(self, folder: Folder) -> None:
        one = segment(folder, max_bytes=1)
        one.append(b"1\n")
        assert folder.names() == ["0"]

    @pytest.mark.parametrize("plant", ["file", "link", "dangling", "folder", "pipe"])
    def test_name_that_is_taken_is_left_alone(
        self, folder: Folder, tmp_path: Path, plant: str
    ) -> None:
        """Files are created exclusively: nobody can make a run write into another."""
        path, target = folder.path / "0", tmp_path / "target"
        if plant == "file":
            path.write_bytes(b"theirs")
        elif plant == "link":
            target.write_bytes(b"theirs")
            path.symlink_to(target)
        elif plant == "dangling":
            path.symlink_to(target)
        elif plant == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
        one = segment(folder)
        one.append(b"mine\n")
        assert (folder.path / "1").read_bytes() == b"mine\n"
        assert one.number == 1
        assert not target.exists() or target.read_bytes() == b"theirs"

    @pytest.mark.slow
    def test_threads_that_rotate_at_once_lose_nothing(self, folder: Folder) -> None:
        """Every line of every thread is in one of the files, whole."""
        one = segment(folder, max_bytes=200, sync="later")
        barrier = threading.Barrier(16)

        def work(name: int) -> None:
            barrier.wait()
            for value in range(500):
                one.append(b"%d %d\n" % (name, value))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            one.sync()
        found = b"".join(contents(folder)).split(b"\n")[:-1]
        assert sorted(found) == sorted(
            b"%d %d" % (name, value) for name in range(16) for value in range(500)
        )
        assert len(contents(folder)) > 50


class TestRefusedWrites:
    """A cut line seals its segment; a refused one costs itself only."""

    def test_cut_line_is_written_whole_in_the_next_segment(
        self, folder: Folder, outcomes: Callable[..., None]
    ) -> None:
        one = segment(folder)
        outcomes(None, 3)
        for line in (b"first\n", b"second\n", b"third\n"):
            one.append(line)
        assert contents(folder) == [b"first\nsec", b"second\nthird\n"]

    def test_line_that_is_cut_twice_is_refused(
        self, folder: Folder, outcomes: Callable[..., None]
    ) -> None:
        one = segment(folder)
        outcomes(1, 2)
        with pytest.raises(OSError, match="short write") as caught:
            one.append(b"first\n")
        assert caught.value.errno == errno.ENOSPC
        one.append(b"second\n")
        assert contents(folder) == [b"f", b"fi", b"second\n"]

    @pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT", "EROFS"])
    def test_refused_line_leaves_the_segment_in_use(
        self, folder: Folder, outcomes: Callable[..., None], error: str
    ) -> None:
        one = segment(folder)
        outcomes(None, error)
        one.append(b"first\n")
        with pytest.raises(OSError, match=r".") as caught:
            one.append(b"second\n")
        assert caught.value.errno == getattr(errno, error)
        one.append(b"third\n")
        assert contents(folder) == [b"first\nthird\n"]

    def test_file_that_may_not_grow_is_left(
        self, folder: Folder, outcomes: Callable[..., None]
    ) -> None:
        """EFBIG (`ulimit -f`, FAT32) is about this file; the next one takes more."""
        one = segment(folder)
        outcomes(None, "EFBIG")
        one.append(b"first\n")
        one.append(b"second\n")
        assert contents(folder) == [b"first\n", b"second\n"]

    def test_files_do_not_pile_up_where_none_may_grow(
        self, folder: Folder, outcomes: Callable[..., None]
    ) -> None:
        one = segment(folder)
        outcomes(*["EFBIG"] * 9)
        for _ in range(9):
            with pytest.raises(OSError, match="too large"):
                one.append(b"line\n")
        assert contents(folder) == [b""]

    def test_segment_that_cannot_be_made_is_tried_again(self, folder: Folder) -> None:
        """No number is skipped by a failure that is none of its own."""
        made = iter([OSError(errno.EMFILE, "too many open files"), None])

        def create(number: int) -> OpenFile:
            if error := next(made, None):
                raise error
            return folder.create(str(number))

        one = Segment(create)
        with pytest.raises(OSError, match="too many open files"):
            one.append(b"first\n")
        one.append(b"second\n")
        assert contents(folder) == [b"second\n"]

    @given(
        st.lists(
            st.one_of(st.none(), st.integers(0, 12), st.sampled_from(["ENOSPC", "EIO"]))
        ),
        st.sampled_from([None, 20]),
    )
    def test_every_line_is_whole_in_a_file_or_refused(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        plan: "list[int | str | None]",
        max_bytes: int | None,
    ) -> None:
        """Whatever a disk does: never both missing and not refused, never torn twice."""
        folder = Folder.open_below(tmp_path_factory.mktemp("disk"), ["run"], PRIVATE)
        one = segment(folder, max_bytes=max_bytes)
        lines = [b"line %d\n" % number for number in range(len(plan) + 2)]
        refused = set()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments, "_write", FakeDisk(plan).write)
            for line in lines:
                try:
                    one.append(line)
                except OSError:
                    refused.add(line)
        there = [
            line + b"\n" for data in contents(folder) for line in data.split(b"\n")[:-1]
        ]
        assert there == [line for line in lines if line not in refused]


class TestSync:
    """From the kernel to the disk: at once, when somebody says so, or never."""

    @pytest.fixture
    def synced(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Return the list of names that are put on the disk, in order."""
        names: list[str] = []

        def to_disk(fd: int) -> None:
            names.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))

        monkeypatch.setattr(segments, "_to_disk", to_disk)
        return names

    def test_always_is_each_entry(self, folder: Folder, synced: list[str]) -> None:
        one = segment(folder, sync="always", max_bytes=4)
        for _ in range(3):
            one.append(b"1\n")
        assert synced == ["0", "0", "1"]

    def test_later_is_each_file_with_something_new(
        self, folder: Folder, synced: list[str]
    ) -> None:
        one = segment(folder, sync="later", max_bytes=4)
        assert not one.sync()
        for _ in range(3):
            one.append(b"1\n")
        assert one.sync()
        assert sorted(synced) == ["0", "1"]
        assert not one.sync()
        one.append(b"1\n")
        assert one.sync()
        assert synced[2:] == ["1"]

    def test_line_of_a_late_thread_is_synced_too(
        self,
        folder: Folder,
        synced: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A thread held up before its write may write to a segment that is sealed."""
        one = segment(folder, sync="later", max_bytes=4)
        reached, go_on = threading.Event(), threading.Event()

        def write(fd: int, line: bytes) -> int:
            if line == b"late\n":
                reached.set()
                assert go_on.wait(20)
            return os.write(fd, line)

        monkeypatch.setattr(segments, "_write", write)
        one.append(b"1\n")
        late = threading.Thread(target=one.append, args=(b"late\n",))
        late.start()
        assert reached.wait(20)
        one.append(b"2\n")
        one.append(b"3\n")
        one.sync()
        go_on.set()
        late.join()
        synced.clear()
        assert one.sync()
        assert synced == ["0"]
        assert contents(folder) == [b"1\n2\nlate\n", b"3\n"]

    def test_never_is_left_to_the_kernel(
        self, folder: Folder, synced: list[str], outcomes: Callable[..., None]
    ) -> None:
        one = segment(folder, sync="never", max_bytes=4)
        outcomes(None, 1)
        for _ in range(5):
            one.append(b"1\n")
        assert synced == []

    def test_what_the_disk_refused_is_tried_again(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = segment(folder, sync="later", max_bytes=2)
        one.append(b"1\n")
        one.append(b"2\n")

        def refuse(fd: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(segments, "_to_disk", refuse)
            for _ in range(2):
                with pytest.raises(OSError, match="I/O error"):
                    one.sync()
        assert one.sync()
        assert not one.sync()

    def test_threads_may_sync_at_once(self, folder: Folder) -> None:
        one = segment(folder, sync="later", max_bytes=2)
        failed: list[Exception] = []
        done = threading.Event()

        def sync() -> None:
            while not done.is_set():
                try:
                    one.sync()
                except Exception as exc:
                    failed.append(exc)

        threads = [threading.Thread(target=sync) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            one.append(b"1\n")
        done.set()
        for thread in threads:
            thread.join()
        assert failed == []


class TestLife:
    """Segments are taken over, put aside, begun again and let go of."""

    def test_file_made_elsewhere_is_segment_zero(self, folder: Folder) -> None:
        one = segment(folder, max_bytes=4)
        one.adopt(folder.create("0"))
        one.append(b"1\n")
        one.append(b"2\n")
        one.append(b"3\n")
        assert contents(folder) == [b"1\n2\n", b"3\n"]

    def test_parked_segment_tells_before_it_goes_on(self, folder: Folder) -> None:
        """Around a fork the keeper stops; the next entry has to start it again."""
        calls: list[str] = []
        one = segment(folder, before_open=lambda: calls.append("open"))
        one.append(b"1\n")
        one.park()
        one.park()
        assert calls == ["open"]
        one.append(b"2\n")
        assert calls == ["open", "open"]
        assert contents(folder) == [b"1\n2\n"]

    def test_parked_segment_is_synced(self, folder: Folder) -> None:
        one = segment(folder, sync="later")
        one.append(b"1\n")
        one.park()
        assert one.sync()

    def test_removed_file_is_noticed_and_begun_again(self, folder: Folder) -> None:
        one = segment(folder)
        assert not one.is_lost()
        one.append(b"1\n")
        assert not one.is_lost()
        folder.remove("0")
        assert one.is_lost()
        one.restart()
        one.append(b"2\n")
        assert contents(folder) == [b"2\n"]

    def test_append_after_close_goes_on_in_the_next(self, folder: Folder) -> None:
        one = segment(folder)
        one.append(b"1\n")
        one.close()
        one.close()
        one.append(b"2\n")
        assert contents(folder) == [b"1\n", b"2\n"]

    @pytest.mark.parametrize("sync", ["always", "later", "never"])
    def test_files_are_closed_when_nobody_uses_them(
        self, folder: Folder, sync: Sync
    ) -> None:
        before = len(os.listdir("/proc/self/fd"))
        one = segment(folder, sync=sync, max_bytes=2)
        for _ in range(20):
            one.append(b"1\n")
        one.sync()
        one.close()
        assert len(os.listdir("/proc/self/fd")) == before


SIGNALS = """
import signal, sys
import mlog
said = open(f"{sys.argv[1]}/said", "wb", buffering=0)
logger = mlog.getLogger("work")
count = 0
depth = 0
def on_alarm(*_):
    global count, depth
    if depth < 5:
        depth += 1
        count += 1
        mine = count
        logger.warning("alarm %d", mine)
        said.write(b"alarm %d\\n" % mine)
        depth -= 1
options = eval(sys.argv[2])
with mlog.start_run("signals", dir=sys.argv[1], run_id="r", **options):
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    value = 0
    while count < 500:
        logger.warning("main %d", value)
        said.write(b"main %d\\n" % value)
        logger.info(metric={"loss": value})
        value += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", ["{}", "{'segment_bytes': 2000}", "{'fsync_interval': 'always'}"]
)
def test_signal_handler_may_log_at_any_moment(tmp_path: Path, options: str) -> None:
    """No deadlock, and every returned call is on the disk, at 1,000 signals a second."""
    done = run_python(SIGNALS, str(tmp_path), options)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "signals" / "r"
    found = [e["msg"] for e in entries(folder, "logs")]
    said = (tmp_path / "said").read_text().split("\n")[:-1]
    assert len(said) > 500
    assert sorted(found) == sorted(said)
    numbers = [entry["seq"] for entry in entries(folder)]
    assert sorted(numbers) == list(range(len(numbers)))
    assert lost(folder) == {}
