"""Whatever happens in whatever order: all that was written arrives, and nothing else."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlog.shipping.check import MemorySink
from mlog.shipping.delivery import RunDelivery
from mlog.shipping.retry import Backoff
from mlog.shipping.shipper import Options, open_delivery
from mlog.shipping.sink import Batch, SendResult, Traits
from mlog.shipping.target import parse_route
from mlog.shipping.world import World
from tests.helpers import FakeClock
from tests.shipping.conftest import all_lines, entry

POINTS = ("planned", "sent", "acked", "saved")
FAILURES = ("retry", "blocked", "too_large", "lost reply", "raises")

actions = st.one_of(
    st.tuples(
        st.just("append"), st.sampled_from(("logs", "metrics")), st.integers(1, 30)
    ),
    st.tuples(st.just("half"), st.sampled_from(("logs", "metrics")), st.just(0)),
    st.tuples(st.just("rotate"), st.just("logs"), st.just(0)),
    st.tuples(st.just("step"), st.just(""), st.integers(1, 6)),
    st.tuples(st.just("crash"), st.sampled_from(POINTS), st.integers(1, 3)),
    st.tuples(st.just("fail"), st.sampled_from(FAILURES), st.integers(1, 4)),
    st.tuples(st.just("other host"), st.just(""), st.just(0)),
)


class Crash(BaseException):
    """The process is killed here."""


class Story:
    """A run that is written, and shipped, by processes that come to harm."""

    def __init__(self, root: Path, *, needs_plan: bool) -> None:
        self.folder = root / "exp" / "r1"
        self.folder.mkdir(parents=True)
        self.clock = FakeClock(1_795_500_000.0)
        self.seq = iter(range(1 << 30))
        self.numbers = {"logs": 0, "metrics": 0}
        self.rest: dict[str, bytes] = {}
        self.fails: list[str] = []
        self.crash_at: tuple[str, int] | None = None
        self.host = 0
        self.crashes = 0
        self.got: list[Batch] = []
        self.sink = MemorySink(
            Traits(max_entries=16, needs_plan=needs_plan, has_key=needs_plan),
            answer=self._answer,
        )
        self.delivery: RunDelivery | None = None
        with open(self.folder / "events.jsonl", "wb") as file:
            file.write(entry(next(self.seq), event="writer.start", data={}))

    def do(self, action: tuple[str, str, int]) -> None:
        kind, what, count = action
        try:
            getattr(self, "_" + kind.replace(" ", "_"))(what, count)
        except Crash:
            self.crashes += 1
            self._drop()

    def end(self) -> None:
        """Write the end, and ship all."""
        for stream in ("logs", "metrics"):
            self._append(stream, 1)
        with open(self.folder / "events.jsonl", "ab") as file:
            file.write(
                entry(next(self.seq), event="run.end", data={"status": "Completed"})
            )
        self.fails.clear()
        self.crash_at = None
        for _ in range(2_000):
            if self._open().step() == "done":
                self._drop()
                return
            self.clock.now = max(self.clock.now, self._open().next_try)
        raise AssertionError("it does not come to an end")

    # --- the writer ------------------------------------------------------------------

    def _append(self, stream: str, count: int) -> None:
        number = self.numbers[stream]
        name = f"{stream}.{number}.jsonl" if number else f"{stream}.jsonl"
        with open(self.folder / name, "ab") as file:
            file.write(self.rest.pop(stream, b""))
            for _ in range(count):
                file.write(entry(next(self.seq), level="INFO", logger=stream, msg="x"))

    def _half(self, stream: str, _: int) -> None:
        """Write the beginning of a line; the next append completes it."""
        if stream in self.rest:
            return
        line = entry(next(self.seq), level="INFO", logger=stream, msg="half")
        number = self.numbers[stream]
        name = f"{stream}.{number}.jsonl" if number else f"{stream}.jsonl"
        with open(self.folder / name, "ab") as file:
            file.write(line[:40])
        self.rest[stream] = line[40:]

    def _rotate(self, stream: str, _: int) -> None:
        self._append(stream, 1)
        self.numbers[stream] += 1
        self._append(stream, 1)

    # --- the shipper -----------------------------------------------------------------

    def _open(self) -> RunDelivery:
        if self.delivery is None:
            world = World(self.clock, self.clock, lambda: 0.5, self._reach)
            route = parse_route("https://host/?name=memory", env={})
            options = Options(
                host=f"host{self.host}",
                backoff=Backoff(first=1.0, longest=4.0, pause=1.0),
            )
            self.delivery = open_delivery(self.folder, self.sink, route, options, world)
        return self.delivery

    def _step(self, _: str, count: int) -> None:
        for _n in range(count):
            delivery = self._open()
            if delivery.step() == "waits":
                self.clock.now = max(self.clock.now, delivery.next_try)

    def _crash(self, point: str, count: int) -> None:
        self.crash_at = (point, count)

    def _fail(self, how: str, count: int) -> None:
        self.fails += [how] * count

    def _other_host(self, what: str, count: int) -> None:
        """The host dies; after some minutes another one takes over."""
        self._drop()
        self.clock.advance(200)
        self.host += 1

    def _drop(self) -> None:
        if self.delivery is not None:
            self.delivery.place.release()
            self.delivery = None

    def _reach(self, point: str) -> None:
        if self.crash_at is not None and self.crash_at[0] == point:
            left = self.crash_at[1] - 1
            self.crash_at = (point, left) if left else None
            if not left:
                raise Crash

    def _answer(self, batch: Batch) -> SendResult:
        how = self.fails.pop(0) if self.fails else ""
        if how == "too_large" and batch.count == 1:
            how = ""
        if how == "raises":
            raise ValueError("a mistake")
        if how in ("retry", "blocked", "too_large"):
            return SendResult(how, how)  # type: ignore[arg-type]
        self.got.append(batch)
        return SendResult("retry", how) if how else SendResult("delivered")


@given(story=st.lists(actions, max_size=30), needs_plan=st.booleans())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_all_arrives_whatever_happens(
    story: list[tuple[str, str, int]], needs_plan: bool, tmp_path_factory: Any
) -> None:
    """Each line at least once, in the order of its segment, twice only by a crash.

    With a plan, what comes twice comes under the key of the first time: a sink that
    remembers keys stores it once.
    """
    root = tmp_path_factory.mktemp("story")
    told = Story(root, needs_plan=needs_plan)
    lost = sum(
        count for kind, what, count in story if (kind, what) == ("fail", "lost reply")
    )
    for action in story:
        told.do(action)
    told.end()
    wrote = all_lines(told.folder)
    found = Counter(line for batch in told.got for line in batch.lines)
    assert set(found) == set(wrote)
    assert sum((found - Counter(wrote)).values()) <= 16 * (told.crashes + lost)
    for name in {batch.segment.filename for batch in told.got}:
        own = [batch for batch in told.got if batch.segment.filename == name]
        assert _first_times(own) == (told.folder / name).read_bytes().split(b"\n")[:-1]
    if needs_plan and "too_large" not in {what for _, what, _ in story}:
        by_key = {batch.key: batch.body for batch in told.got}
        once = Counter(line for body in by_key.values() for line in body.splitlines())
        assert once == Counter(wrote)
    shutil.rmtree(root)


def _first_times(batches: list[Batch]) -> list[bytes]:
    seen: dict[bytes, None] = {}
    for batch in batches:
        seen.update(dict.fromkeys(batch.lines))
    return list(seen)


# --- a disk that is full -------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 128 KiB."""
    import subprocess

    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_full_for_the_cursor_stops_sending(
    small_disk: Path, tmp_path: Path
) -> None:
    """Nothing is sent that could not be remembered; with room it goes on."""
    told = Story(tmp_path / "root", needs_plan=False)
    told._append("logs", 60)
    route = parse_route("https://host/?name=memory", env={})
    world = World(told.clock, told.clock, lambda: 0.5)
    options = Options(host="here", state=small_disk)
    delivery = open_delivery(told.folder, told.sink, route, options, world)
    assert delivery.step() == "sent"
    with pytest.raises(OSError, match="No space"), open(small_disk / "x", "wb") as file:
        file.write(bytes(1 << 20))
    sent = len(told.got)
    for _ in range(10):
        delivery.step()
        told.clock.now = max(told.clock.now, delivery.next_try)
    assert len(told.got) <= sent + 1
    assert "No space left" in delivery.cursor.error
    (small_disk / "x").unlink()
    for _ in range(50):
        delivery.step()
        told.clock.now = max(told.clock.now, delivery.next_try)
    assert [line for batch in told.got for line in batch.lines] == [
        *all_lines(told.folder)
    ]
    delivery.close()
