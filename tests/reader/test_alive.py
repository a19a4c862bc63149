"""Whether a writer is still there: by its lock, and where that says nothing by time."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlog.reader.alive import SILENCE, is_alive, is_time, last_time, seconds_of

SEEN = "2026-11-23T18:27:00.000000Z"
NOW = 1795458420.0  # the same moment
ELSEWHERE = {"host": "node7", "boot": "another-boot"}


@pytest.fixture
def here() -> dict[str, str]:
    """Return what a writer says of the place where this test runs."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    known = boot.read_text().strip() if boot.exists() else ""
    return {"host": os.uname().nodename, "boot": known}


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a maker of lock files: `lock("r1", held=True)`."""
    fds: list[int] = []

    def make(writer: str = "", *, held: bool) -> Path:
        path = tmp_path / (f".lock-{writer}" if writer else ".lock")
        fds.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if held:
            fcntl.flock(fds[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path

    yield make
    for fd in fds:
        os.close(fd)


def alive(
    folder: Path, place: dict[str, str], writer: str = "", silent: float = 1.0
) -> bool:
    """Ask about a writer that was last heard of `silent` seconds ago."""
    host, boot = place["host"], place["boot"]
    return is_alive(folder, writer, host=host, boot=boot, seen=SEEN, now=NOW + silent)


class TestByLock:
    """The kernel lets go of a lock when its holder dies."""

    @pytest.mark.parametrize("writer", ["", "r1", "node7-12-a2"])
    def test_who_holds_it_is_alive(
        self, tmp_path: Path, lock: Callable[..., Path], writer: str
    ) -> None:
        """However long it was silent, and wherever it says it is."""
        lock(writer, held=True)
        assert alive(tmp_path, ELSEWHERE, writer, silent=1e6)

    def test_who_let_go_of_it_here_is_dead(
        self, tmp_path: Path, lock: Callable[..., Path], here: dict[str, str]
    ) -> None:
        """At once, whatever it wrote just before."""
        lock(held=False)
        assert not alive(tmp_path, here)

    def test_a_lock_of_another_writer_says_nothing(
        self, tmp_path: Path, lock: Callable[..., Path], here: dict[str, str]
    ) -> None:
        lock("r1", held=True)
        lock("r2", held=False)
        assert not alive(tmp_path, here, "r2")

    def test_a_look_leaves_no_lock_behind(
        self, tmp_path: Path, lock: Callable[..., Path], here: dict[str, str]
    ) -> None:
        path = lock(held=False)
        alive(tmp_path, here)
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_several_may_look_at_once(
        self, tmp_path: Path, lock: Callable[..., Path], here: dict[str, str]
    ) -> None:
        with lock(held=False).open() as other:
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            assert not alive(tmp_path, here)

    def test_a_look_makes_no_file(self, tmp_path: Path, here: dict[str, str]) -> None:
        alive(tmp_path, here)
        assert list(tmp_path.iterdir()) == []


class TestByTime:
    """Without a lock that tells, the last sign of life counts."""

    @pytest.mark.parametrize(
        ("silent", "expected"),
        [(-5.0, True), (0.0, True), (SILENCE - 1, True), (SILENCE + 1, False)],
    )
    def test_a_free_lock_elsewhere_may_be_one_that_is_not_seen_here(
        self, tmp_path: Path, lock: Callable[..., Path], silent: float, expected: bool
    ) -> None:
        """Some network file systems keep locks to their host."""
        lock(held=False)
        assert alive(tmp_path, ELSEWHERE, silent=silent) == expected

    def test_an_earlier_boot_of_this_host_is_elsewhere(
        self, tmp_path: Path, lock: Callable[..., Path], here: dict[str, str]
    ) -> None:
        lock(held=False)
        place = here | {"boot": "earlier"}
        assert alive(tmp_path, place)
        assert not alive(tmp_path, place, silent=SILENCE + 1)

    def test_a_file_system_without_locks(
        self,
        tmp_path: Path,
        lock: Callable[..., Path],
        here: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(fd: int, operation: int) -> None:
            raise OSError("no locks available")

        lock(held=False)
        monkeypatch.setattr(fcntl, "flock", refuse)
        assert alive(tmp_path, here)
        assert not alive(tmp_path, here, silent=SILENCE + 1)

    def test_a_lock_that_is_not_there(
        self, tmp_path: Path, here: dict[str, str]
    ) -> None:
        assert alive(tmp_path, here)
        assert not alive(tmp_path, here, silent=SILENCE + 1)

    @pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
    def test_a_planted_lock_is_not_touched(
        self,
        tmp_path: Path,
        lock: Callable[..., Path],
        here: dict[str, str],
        kind: str,
    ) -> None:
        """A link, a folder or a pipe is no lock."""
        planted = tmp_path / ".lock-r1"
        if kind == "link":
            planted.symlink_to(lock(held=False))
        elif kind == "folder":
            planted.mkdir()
        else:
            os.mkfifo(planted)
        assert alive(tmp_path, here, "r1")
        assert not alive(tmp_path, here, "r1", silent=SILENCE + 1)

    @pytest.mark.parametrize("seen", ["", "yesterday", "2026-13-01T00:00:00Z"])
    def test_no_time_is_no_sign_of_life(self, tmp_path: Path, seen: str) -> None:
        assert not is_alive(tmp_path, "", host="", boot="", seen=seen, now=NOW)


class TestLastTime:
    """The `ts` of the last whole entry of a segment."""

    @pytest.fixture
    def segment(self, tmp_path: Path) -> Path:
        return tmp_path / "metrics.jsonl"

    def line(self, second: int, text: str = "") -> bytes:
        ts = f"2026-11-23T18:27:{second:02d}.000000Z"
        return f'{{"ts":"{ts}","seq":{second},"msg":"{text}"}}\n'.encode()

    def test_is_that_of_the_last_line(self, segment: Path) -> None:
        segment.write_bytes(self.line(1) + self.line(2))
        assert last_time(segment) == "2026-11-23T18:27:02.000000Z"

    @pytest.mark.parametrize(
        "end",
        [b'{"ts":"2026-11-23T18:27:59', b"garbage\n", b'{"ts":"now","seq":9}\n', b"\n"],
    )
    def test_what_is_no_entry_is_passed_over(self, segment: Path, end: bytes) -> None:
        segment.write_bytes(self.line(1) + end)
        assert last_time(segment) == "2026-11-23T18:27:01.000000Z"

    @pytest.mark.parametrize("size", [10, 8_150, 8_192, 20_000, 1_000_000])
    def test_whatever_the_length_of_the_line(self, segment: Path, size: int) -> None:
        segment.write_bytes(self.line(1) * 500 + self.line(2, "x" * size))
        assert last_time(segment) == "2026-11-23T18:27:02.000000Z"

    def test_a_segment_without_entries_has_none(self, segment: Path) -> None:
        assert last_time(segment) == ""
        segment.touch()
        assert last_time(segment) == ""
        segment.write_bytes(b"x" * 3_000_000)
        assert last_time(segment) == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (SEEN, NOW),
        ("2026-11-23T18:27:00Z", NOW),
        ("2026-11-23T18:27:00.25Z", NOW + 0.25),
        ("2026-11-23 18:27:00Z", None),
        ("2026-11-23T18:27:00", None),
        ("2026-02-30T18:27:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_utc(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("value", [None, 5, "", "2026", b"2026-11-23T18:27:00Z", []])
def test_anything_else_is_no_time(value: object) -> None:
    assert not is_time(value)
