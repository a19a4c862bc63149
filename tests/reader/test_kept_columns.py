"""Columns from the cache are what a plain look at the lines gives, whatever happened."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlog.folder import PRIVATE, Folder
from mlog.reader.cache import Cache, cache_for
from mlog.reader.columns import Page
from mlog.reader.entries import NONFINITE, seconds_of
from mlog.reader.kept_columns import read_columns
from tests.reader.pages import points_of

NAMES = st.sampled_from(["loss", "acc", "train/lr", "é"])
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.integers(-9, 9),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
)
ENTRIES = st.fixed_dictionaries(
    {"metric": st.dictionaries(NAMES, NUMBERS, max_size=3)},
    optional={
        "step": st.integers(-5, (1 << 64) - 1) | st.none(),
        "value": st.dictionaries(
            NAMES, st.text(max_size=3) | st.just({"type": "mlog.list", "values": [1]})
        ),
    },
)
STEADY = st.builds(
    lambda count, names: [
        {"metric": {n: i / 3 + len(n) for n in names}, "step": i} for i in range(count)
    ],
    st.integers(1, 20),
    st.lists(NAMES, min_size=1, unique=True),
)
BATCHES = STEADY | st.lists(ENTRIES, min_size=1, max_size=5)
ACTIONS = st.one_of(
    st.tuples(st.just("append"), BATCHES),
    st.tuples(st.just("torn"), BATCHES),
    st.tuples(st.just("garbage"), st.binary(max_size=9)),
    st.tuples(st.just("replace"), BATCHES),
    st.tuples(st.just("rewrite"), BATCHES),
    st.tuples(st.just("reverse"), st.none()),
    st.tuples(st.just("delete"), st.none()),
    st.tuples(st.just("truncate"), st.integers(0, 300)),
    st.tuples(st.just("look"), st.booleans()),
    st.tuples(st.just("spoil"), st.integers(0, 4000)),
)


class Segment:
    """A segment of a run that odd things happen to."""

    def __init__(self, root: Path) -> None:
        self.path = root / "e" / "r" / "metrics.jsonl"
        self.path.parent.mkdir(parents=True)
        self.cache = cache_for(root)
        self._seq = 0

    def lines(self, entries: list[dict[str, Any]]) -> bytes:
        found = b""
        for entry in entries:
            ts = f"2026-11-23T18:{self._seq // 60 % 60:02}:{self._seq % 60:02}.123456Z"
            line = {"ts": ts, "seq": self._seq, "level": "INFO", **entry}
            found += orjson.dumps(line) + b"\n"
            self._seq += 1
        return found

    def append(self, data: bytes) -> None:
        with open(self.path, "ab") as file:
            file.write(data)

    def replace(self, data: bytes) -> None:
        other = self.path.with_suffix(".new")
        other.write_bytes(data)
        other.rename(self.path)

    def act(self, action: str, given: Any) -> None:
        old = self.path.read_bytes() if self.path.exists() else b""
        if action == "append":
            self.append(self.lines(given))
        elif action == "torn":
            self.append(self.lines(given)[:-7])
        elif action == "garbage":
            self.append(given + b"\n")
        elif action == "replace":
            self.replace(self.lines(given))
        elif action == "rewrite":
            self.path.write_bytes(self.lines(given))
        elif action == "reverse":  # the size stays
            self.replace(b"".join(reversed(old.splitlines(keepends=True))))
        elif action == "delete":
            self.path.unlink(missing_ok=True)
        elif action == "truncate":
            self.path.write_bytes(old[:given])
        elif action == "spoil":
            spoil(self.path.parents[2] / ".cache", given)
        else:
            assert self.read(bare=given) == plain(self.path)

    def read(self, *, bare: bool = False) -> list[Any]:
        pages = read_columns(self.path, self.cache, bare=bare, small=1, news=1)
        return points(pages) if not bare else plain(self.path)


def spoil(folder: Path, at: int) -> None:
    """Change a byte of each kept file."""
    for file in folder.iterdir() if folder.exists() else ():
        data = bytearray(file.read_bytes())
        data[at % len(data)] ^= 1
        file.write_bytes(data)


def points(pages: list[Page]) -> list[Any]:
    """Return seq, name, value, step and time of each point, in some order."""
    found = (point._replace(value=repr(point.value)) for point in points_of(pages))
    return sorted(map(tuple, found), key=repr)


def plain(path: Path) -> list[Any]:
    """Return the same, line by line."""
    found = []
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    for line in whole.split(b"\n"):
        try:
            entry = orjson.loads(
                line[max(0, line.rfind(b'{"ts":')) :]
            )  # glued: the last
            seq, time = entry["seq"], seconds_of(entry["ts"])
        except (ValueError, KeyError, TypeError):
            continue
        step = entry.get("step")
        step = step if type(step) is int and -(1 << 63) < step < 1 << 63 else None
        values = [(n, NONFINITE.get(v, v)) for n, v in entry.get("metric", {}).items()]
        for name, value in (*values, *entry.get("value", {}).items()):
            found.append((seq, name, repr(value), step, time))
    return sorted(found, key=repr)


@settings(max_examples=60)
@given(actions=st.lists(ACTIONS, min_size=2, max_size=8))
def test_whatever_happened_to_a_segment(
    actions: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Appended, torn, replaced, rewritten, truncated, deleted; the cache spoilt."""
    segment = Segment(tmp_path_factory.mktemp("root"))
    for action, what in actions:
        segment.act(action, what)
        assert segment.read() == plain(segment.path)


def steady(segment: Segment, count: int = 50) -> None:
    segment.append(segment.lines([{"metric": {"loss": i / 7}} for i in range(count)]))


class Counting:
    """Stands in the place of a cache, and says what it was asked."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.starts: list[int] = []

    def load(self, key: str) -> Any:
        found = self.cache.load(key)
        self.starts.append(found[0]["pages"][-1][1] if found else 0)
        return found

    def store(self, *given: Any) -> None:
        self.cache.store(*given)


def test_no_changed_byte_of_a_kept_file_is_believed(tmp_path: Path) -> None:
    """What it says of itself (names, places) is under the checksum, too."""
    segment = Segment(tmp_path)
    steady(segment, 5)
    expected = segment.read()
    [file] = (tmp_path / ".cache").iterdir()
    kept = file.read_bytes()
    for at in range(len(kept)):
        file.write_bytes(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :])
        assert segment.cache.load("e/r/metrics.jsonl") is None, at
    assert segment.read() == expected


def test_a_grown_segment_is_read_on_from_where_it_was_kept(tmp_path: Path) -> None:
    """Only the new part is parsed."""
    segment = Segment(tmp_path)
    steady(segment)
    segment.read()
    size = segment.path.stat().st_size
    steady(segment)
    cache = Counting(segment.cache)
    pages = read_columns(segment.path, cache, small=1, news=1)  # type: ignore[arg-type]
    assert cache.starts == [size]
    assert [(page.start, page.count) for page in pages] == [(0, 50), (size, 50)]


def test_values_are_kept_when_they_are_asked_for_again(tmp_path: Path) -> None:
    """A first bare look costs nothing more; the second one is kept."""
    segment = Segment(tmp_path)
    steady(segment)
    segment.read(bare=True)
    assert not (tmp_path / ".cache").exists()
    segment.read(bare=True)
    assert len(list((tmp_path / ".cache").iterdir())) == 1


def test_small_segments_are_not_kept(tmp_path: Path) -> None:
    """They are read as fast."""
    segment = Segment(tmp_path)
    steady(segment)
    read_columns(segment.path, segment.cache)
    assert not (tmp_path / ".cache").exists()


def test_readers_at_once_while_a_writer_goes_on(tmp_path: Path) -> None:
    """Each sees a beginning of what is there, whoever writes the cache."""
    segment = Segment(tmp_path)
    steady(segment)
    bad: list[Any] = []
    begun, done = threading.Event(), threading.Event()

    def look() -> None:
        while not done.is_set():
            found = {seq for seq, *_ in segment.read()}
            if found != set(range(len(found))) or len(found) < 50:
                bad.append(found)
            begun.set()

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    begun.wait(30)
    for _ in range(40):
        steady(segment, 5)
    done.set()
    for reader in readers:
        reader.join()
    assert bad == []
    assert segment.read() == plain(segment.path)


# --- the cache itself ----------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    found = cache_for(tmp_path)
    found.store("key", {"a": 1}, [b"body"])
    return found


def only_file(root: Path) -> Path:
    (found,) = (root / ".cache").iterdir()
    return found


def test_it_is_the_users_own(cache: Cache, tmp_path: Path) -> None:
    """0600 in 0700, under any umask."""
    assert (tmp_path / ".cache").stat().st_mode & 0o777 == 0o700
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600
    found = cache.load("key")
    assert found is not None
    assert (found[0]["a"], bytes(found[1])) == (1, b"body")
    assert cache.load("another") is None


def link(file: Path) -> None:
    file.rename(file.with_suffix(".x"))
    file.symlink_to(file.with_suffix(".x"))


def writable(file: Path) -> None:
    file.chmod(0o620)


def foreign(file: Path) -> None:
    os.chown(file, 65534, -1)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def pickled(file: Path) -> None:
    file.write_bytes(b"cos\nsystem\n(S'false'\ntR.")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "spoil", [link, writable, foreign, cut, longer, empty, pickled, pipe]
)
def test_what_is_not_whole_and_ones_own_is_not_believed(
    spoil: Callable[[Path], None], cache: Cache, tmp_path: Path
) -> None:
    """Others may have put it there; it is as if it were not."""
    if spoil is foreign and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    spoil(only_file(tmp_path))
    assert cache.load("key") is None


def test_a_file_of_another_key_or_root_is_not_believed(
    cache: Cache, tmp_path: Path
) -> None:
    """It says itself whose it is."""
    other = tmp_path / "other"
    other.mkdir()
    second = cache_for(other)
    second.store("key", {}, [b"other body"])
    only_file(other).write_bytes(only_file(tmp_path).read_bytes())
    assert second.load("key") is None


def test_of_a_root_that_others_write_it_lies_with_the_user(tmp_path: Path) -> None:
    """Nothing is made in it."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2770)
    found = cache_for(root)
    found.store("key", {}, [b"body"])
    assert list(root.iterdir()) == []
    assert found.load("key") is not None
    assert len(list((tmp_path / "cache/mlog/readers").iterdir())) == 1


def test_in_a_root_that_may_not_be_written_nothing_is_made(tmp_path: Path) -> None:
    """What is kept of it lies with the user."""
    root = tmp_path / "theirs"
    segment = Segment(root)
    steady(segment)
    root.chmod(0o500)
    if os.geteuid() == 0:  # who may write everywhere, but not leave files to others
        os.chown(root, 65534, -1)
    assert segment.read() == segment.read() == plain(segment.path)
    assert [path.name for path in root.iterdir()] == ["e"]
    assert len(list((tmp_path / "cache/mlog/readers").iterdir())) == 1
    root.chmod(0o700)


def test_where_nothing_can_be_kept_everything_is_read(tmp_path: Path) -> None:
    """A home without a cache folder costs time only."""
    (tmp_path / "cache").write_text("no folder")
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o777)
    segment = Segment(root)
    steady(segment)
    assert segment.read() == segment.read() == plain(segment.path)
    assert segment.cache.load("key") is None


def test_a_link_in_the_place_of_the_cache_is_not_followed(tmp_path: Path) -> None:
    """Else a reader would write elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / ".cache").symlink_to(elsewhere)
    cache_for(root).store("key", {}, [b"body"])
    assert list(elsewhere.iterdir()) == []


def test_a_crash_leaves_nothing_that_is_believed(tmp_path: Path) -> None:
    """A file is put in place as a whole."""
    place = Folder.open_below(tmp_path, [".cache"], PRIVATE)
    with pytest.raises(ZeroDivisionError):
        place.place("x", lambda file: file.write(b"half") and 1 / 0)
    assert place.names() == []
