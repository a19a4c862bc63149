"""One process writing one run: numbers, names, what is lost, what goes for space."""

import errno
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog import segments
from mlog.entry import MAX_LINE, encode, event_fields
from mlog.folder import PRIVATE, Folder
from mlog.run.writer import Place, Writer, WriterOptions
from tests.helpers import Entry, entries, gaps, lost, read_run, run_python
from tests.test_segments import FakeDisk

MakeWriter = Callable[..., Writer]


def build(
    root: Path, *, place: Place | None = None, on_open: Any = None, **options: Any
) -> Writer:
    """Return a writer of the run "e/r"; its regular work is done by calling `keep`."""
    return Writer(
        Folder.open_below(root, ["e", "r"], PRIVATE),
        place or Place(main=True, attempt=1),
        "r",
        WriterOptions(**options),
        None,
        on_open or (lambda: None),
    )


@pytest.fixture
def make_writer(tmp_path: Path) -> MakeWriter:
    """Return a maker of writers of one run."""
    return lambda **given: build(tmp_path, **given)


@pytest.fixture
def writer(make_writer: MakeWriter) -> Writer:
    """The main writer of a new run."""
    return make_writer()


def metric(**values: Any) -> Entry:
    """Return a metric entry without its number."""
    ts = event_fields("", {})["ts"]
    return {"ts": ts, "seq": 0, "level": "INFO", "logger": "x", "metric": values}


def line(text: str) -> Entry:
    """Return a logs entry without its number."""
    ts = event_fields("", {})["ts"]
    return {"ts": ts, "seq": 0, "level": "INFO", "logger": "x", "msg": text}


def events(writer: Writer, name: str) -> list[Entry]:
    """Return the data of all events of a name."""
    found = entries(writer.folder.path, "events")
    return [e["data"] for e in found if e["event"] == name]


class TestStart:
    """The name is claimed by the events segment, whose first entry is number 0."""

    def test_nothing_is_made_before_the_first_entry(self, writer: Writer) -> None:
        assert writer.folder.names() == []
        writer.keep(1.0)
        writer.end("Completed")
        assert writer.folder.names() == []

    def test_first_entry_says_who_writes(self, writer: Writer) -> None:
        writer.write("logs", line("hello"))
        first, second = entries(writer.folder.path)
        assert (first["seq"], first["event"]) == (0, "writer.start")
        assert second["seq"] == 1
        data = first["data"]
        assert (data["format"], data["run"], data["attempt"]) == (1, "r", 1)
        assert (data["pid"], data["world_size"]) == (os.getpid(), 1)
        assert "rank" not in data

    def test_is_done_once(self, writer: Writer) -> None:
        for _ in range(3):
            writer.start()
        assert len(entries(writer.folder.path)) == 1

    def test_threads_that_come_at_once_start_one_writer(self, writer: Writer) -> None:
        """Whoever is first: number 0 is `writer.start`."""
        barrier = threading.Barrier(16)

        def work() -> None:
            barrier.wait()
            writer.write("metrics", metric(loss=1))

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (found,) = read_run(writer.folder.path).values()
        assert [e["seq"] for e in found] == list(range(17))
        assert found[0]["event"] == "writer.start"

    def test_record_of_a_signal_handler_amid_the_start_is_refused(
        self, make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It cannot wait for the very thread it interrupts; two names were worse."""
        writer = make_writer()
        refused = []
        create = writer.folder.create

        def interrupted(name: str) -> Any:
            file = create(name)
            with pytest.raises(BlockingIOError) as caught:
                writer.write("logs", line("alarm"))
            refused.append(caught.value.errno)
            return file

        monkeypatch.setattr(writer.folder, "create", interrupted)
        writer.start()
        assert refused == [errno.EAGAIN]
        assert writer.folder.names().count("events.jsonl") == 1
        assert len(entries(writer.folder.path)) == 1

    def test_failure_is_raised_and_the_next_call_tries_again(
        self, writer: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(name: str) -> Any:
            raise PermissionError(errno.EACCES, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(writer.folder, "create", refuse)
            for _ in range(2):
                with pytest.raises(PermissionError):
                    writer.write("logs", line("x"))
        writer.write("logs", line("x"))
        assert len(entries(writer.folder.path)) == 2

    @pytest.mark.parametrize(
        ("place", "names"),
        [
            (Place(main=True), ["", "a2", "a3"]),
            (Place(main=False, rank=3, world_size=8), ["r3", "r3-a2", "r3-a3"]),
            (Place(main=False, rank=3, attempt=2), ["r3-a2"]),
        ],
    )
    def test_next_free_attempt_is_taken(
        self, make_writer: MakeWriter, place: Place, names: list[str]
    ) -> None:
        for attempt, name in enumerate(names, place.attempt or 1):
            writer = make_writer(place=place)
            writer.start()
            assert (writer.name, writer.attempt) == (name, attempt)

    def test_name_that_is_taken_gets_four_digits_more(
        self, make_writer: MakeWriter
    ) -> None:
        """Two processes never write to one file, whatever they are called."""
        for place in (Place(main=True, attempt=1), Place(main=False)):
            first, second = make_writer(place=place), make_writer(place=place)
            first.start()
            second.start()
            assert second.name.startswith(f"{first.name}-".lstrip("-"))
            assert len(second.name.rpartition("-")[2]) == 4

    def test_lock_is_held_until_the_end(self, make_writer: MakeWriter) -> None:
        """Its holder is alive; a second process cannot take it."""
        fcntl = pytest.importorskip("fcntl")
        writer = make_writer()
        writer.start()
        path = writer.folder.path / ".lock"
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        writer.end("Completed")
        assert not path.exists()


class TestNumbers:
    """Each entry has the next number of its writer, over all three streams."""

    def test_are_shared_by_the_streams(self, writer: Writer) -> None:
        writer.write("logs", line("x"))
        writer.write("metrics", metric(loss=1))
        writer.event("run.tags", {})
        (found,) = read_run(writer.folder.path).values()
        assert [e["seq"] for e in found] == [0, 1, 2, 3]

    @pytest.mark.slow
    def test_are_unique_under_threads_that_rotate(
        self, make_writer: MakeWriter
    ) -> None:
        writer = make_writer(segment_bytes=500)
        streams = itertools.cycle(("logs", "metrics", "events"))

        def work() -> None:
            for _ in range(300):
                writer.write(next(streams), metric(loss=1) | {"event": "x"})  # type: ignore[arg-type]

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for now, thread in enumerate(threads):
            writer.keep(float(now))
            thread.join()
        writer.end("Completed")
        (found,) = read_run(writer.folder.path).values()
        assert [e["seq"] for e in found] == list(range(2_402))

    def test_end_names_the_last(self, writer: Writer) -> None:
        writer.write("logs", line("x"))
        writer.end("Failed")
        writer.end("Completed")
        assert events(writer, "writer.end") == [{"last": 2, "status": "Failed"}]
        assert writer.last_seq == 2

    def test_entry_after_the_end_is_kept(self, writer: Writer) -> None:
        """Destructors and exit handlers may still log."""
        writer.start()
        writer.end("Completed")
        writer.write("logs", line("late"))
        assert entries(writer.folder.path, "logs")[0]["seq"] == 2


class TestLongEntries:
    """No line is longer than 1 MiB: metrics are split, the rest is cut."""

    def test_metrics_are_split_and_none_is_lost(self, writer: Writer) -> None:
        """Every part is an entry with a number of its own."""
        values = {f"{'n' * 200}{number}": number for number in range(20_000)}
        writer.write("metrics", metric(**values) | {"step": 7})
        writer.end("Completed")
        found = entries(writer.folder.path, "metrics")
        assert len(found) > 2
        assert list(itertools.chain(*(e["metric"] for e in found))) == list(values)
        assert {e["step"] for e in found} == {7}
        for e in found:
            assert len(encode(e)) <= MAX_LINE
        assert gaps(writer.folder.path) == {}

    def test_words_stay_with_the_first_part(self, writer: Writer) -> None:
        """A thousand names beside a long text are not a thousand copies of it."""
        entry = metric(**{f"n{number}": number for number in range(1_000)})
        entry |= {"msg": "hello", "extra": {"text": "x" * (2 * MAX_LINE)}}
        writer.write("metrics", entry)
        found = entries(writer.folder.path, "metrics")
        assert sum(len(e["metric"]) for e in found) == 1_000
        assert [e.get("msg") for e in found] == ["hello"] + [None] * (len(found) - 1)
        assert sum(len(encode(e)) for e in found) < 2 * MAX_LINE

    @pytest.mark.parametrize("key", ["msg", "extra", "exc"])
    def test_text_is_cut_and_says_so(self, writer: Writer, key: str) -> None:
        text = "é" * MAX_LINE
        entry = line("short") | {key: text if key == "msg" else {"text": text}}
        size = len(encode(entry | {"seq": 1}))
        writer.write("logs", entry)
        (found,) = entries(writer.folder.path, "logs")
        assert found["cut"] == size
        assert len(encode(found)) <= MAX_LINE

    def test_what_has_no_json_form_is_counted_and_its_neighbours_are_not(
        self, writer: Writer
    ) -> None:
        """A number that is taken is accounted for, whatever goes wrong after it."""
        writer.write("logs", line("before"))
        writer.write("logs", line("\ud800"))
        writer.write("logs", line("after"))
        writer.end("Completed")
        assert [e["msg"] for e in entries(writer.folder.path, "logs")] == [
            "before",
            "after",
        ]
        assert list(gaps(writer.folder.path)[""]) == [2]
        assert lost(writer.folder.path) == {}


class TestLosses:
    """What did not reach the disk is named by `run.dropped`, sooner or later."""

    @pytest.fixture
    def disk(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """Return a function that says how the next writes come out; a fake."""

        def choose(*outcomes: "int | str | None") -> None:
            monkeypatch.setattr(segments, "_write", FakeDisk(list(outcomes)).write)

        return choose

    def test_are_told_by_reason_with_the_numbers(
        self, writer: Writer, disk: Callable[..., None]
    ) -> None:
        writer.start()
        disk("EIO", None, "EIO", "EROFS")
        for _ in range(4):
            writer.write("metrics", metric(loss=1))
        writer.keep(1.0)
        io, rofs = os.strerror(errno.EIO), os.strerror(errno.EROFS)
        assert events(writer, "run.dropped") == [
            {"count": 2, "reason": io, "first": 1, "last": 3},
            {"count": 1, "reason": rofs, "first": 4, "last": 4},
        ]
        writer.keep(2.0)
        assert len(events(writer, "run.dropped")) == 2

    def test_that_cannot_be_told_are_kept_for_later(
        self, writer: Writer, disk: Callable[..., None]
    ) -> None:
        """Memory stays bounded: each reason is one count and one range."""
        writer.start()
        disk(*["ENOSPC"] * 20)
        for now in range(10):
            writer.write("metrics", metric(loss=1))
            writer.keep(float(now))
        assert events(writer, "run.dropped") == []
        writer.keep(11.0)
        (told,) = events(writer, "run.dropped")
        assert (told["count"], told["first"]) == (10, 1)
        writer.end("Completed")
        assert lost(writer.folder.path) == {}

    def test_reasons_are_bounded_too(self, writer: Writer) -> None:
        writer.start()
        for number in range(100):
            writer.lose(f"reason {number}", None)
        assert writer.lost == 100
        writer.keep(1.0)
        told = events(writer, "run.dropped")
        assert len(told) == 21
        assert sum(data["count"] for data in told) == 100

    def test_are_told_at_the_end_at_the_latest(
        self, writer: Writer, disk: Callable[..., None]
    ) -> None:
        writer.start()
        disk("EIO")
        writer.write("metrics", metric(loss=1))
        writer.end("Completed")
        assert list(gaps(writer.folder.path)[""]) == [1]
        assert lost(writer.folder.path) == {}

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["logs", "metrics", "events", "keep", "cut off"]),
                st.one_of(
                    st.none(),
                    st.integers(0, 80),
                    st.sampled_from(["ENOSPC", "EIO", "EDQUOT"]),
                ),
            ),
            max_size=40,
        )
    )
    def test_every_entry_is_whole_in_a_file_or_named(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        plan: "list[tuple[Any, int | str | None]]",
    ) -> None:
        """Whatever the disk did, once it works again nothing is missing unnamed."""
        writer = build(tmp_path_factory.mktemp("disk"), segment_bytes=400)
        writer.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(segments, "_write", FakeDisk([out for _, out in plan]).write)
            for now, (action, _) in enumerate(plan):
                if action == "keep":
                    writer.keep(float(now))
                elif action == "cut off":
                    writer.take()
                    writer.cut_off()
                else:
                    writer.write(action, {**event_fields("x", {}), "n": now})
        writer.keep(100.0)
        writer.end("Completed")
        folder = writer.folder.path
        found = entries(folder)
        assert len({e["seq"] for e in found}) == len(found)
        there = {e["n"] for e in found if "n" in e}
        wanted = [now for now, (a, _) in enumerate(plan) if a in ("logs", "metrics")]
        refused = [now for now in wanted if now not in there]
        assert len(refused) <= sum(d["count"] for d in events(writer, "run.dropped"))
        assert lost(folder) == {}
        (end,) = events(writer, "writer.end")
        assert end["last"] == max(e["seq"] for e in found)


class TestCutOff:
    """A call ended by an exception from outside may have taken a number."""

    def test_number_that_is_in_no_file_is_named(self, writer: Writer) -> None:
        for number in range(20):
            writer.write("metrics", metric(loss=number))
        writer.take()
        writer.cut_off()
        for number in range(20):
            writer.write("logs", line(str(number)))
        writer.keep(1.0)
        (told,) = events(writer, "run.dropped")
        assert told == {"count": 1, "reason": "interrupted", "first": 21, "last": 21}

    def test_call_that_had_none_leaves_no_trace(self, writer: Writer) -> None:
        writer.write("metrics", metric(loss=1))
        writer.cut_off()
        writer.keep(1.0)
        writer.end("Completed")
        assert events(writer, "run.dropped") == []
        assert gaps(writer.folder.path) == {}

    def test_last_number_of_all_is_found_too(self, writer: Writer) -> None:
        writer.start()
        writer.take()
        writer.cut_off()
        writer.end("Canceled")
        assert list(gaps(writer.folder.path)[""]) == [1]
        assert lost(writer.folder.path) == {}

    def test_is_found_in_files_of_any_size(self, make_writer: MakeWriter) -> None:
        """Only the ends of the files are read."""
        writer = make_writer(segment_bytes=1_000)
        for number in range(3_000):
            writer.write("metrics", metric(loss=number) | {"msg": "x" * 2_000})
            writer.write("logs", line("x" * 100))
        writer.take()
        writer.cut_off()
        writer.write("logs", line("after"))
        writer.keep(1.0)
        told = events(writer, "run.dropped")
        assert {
            "count": 1,
            "reason": "interrupted",
            "first": 6001,
            "last": 6001,
        } in told


class TestSpace:
    """Over `max_log_bytes` the writer's oldest logs go; metrics and events never."""

    def test_oldest_logs_go_and_are_named(self, make_writer: MakeWriter) -> None:
        writer = make_writer(segment_bytes=1_000, max_log_bytes=5_000)
        for number in range(200):
            writer.write("logs", line(f"line {number}"))
            writer.write("metrics", metric(loss=number))
        writer.keep(1.0)
        writer.end("Completed")
        folder = writer.folder.path
        sizes = [path.stat().st_size for path in folder.glob("logs*.jsonl")]
        assert 3_000 < sum(sizes) <= 5_000
        left = [int(e["msg"].split()[1]) for e in entries(folder, "logs")]
        assert left == list(range(200 - len(left), 200))
        assert len(entries(folder, "metrics")) == 200
        told = events(writer, "run.dropped")
        assert sum(data["count"] for data in told) == 200 - len(left)
        assert {data["reason"] for data in told} == {"max_log_bytes"}
        assert [data["segment"] for data in told][:2] == ["logs.jsonl", "logs.1.jsonl"]
        assert told[0]["first"] == 1
        assert lost(folder) == {}

    def test_active_segment_stays(self, make_writer: MakeWriter) -> None:
        writer = make_writer(segment_bytes=100, max_log_bytes=1)
        for number in range(5):
            writer.write("logs", line(f"line {number}"))
        writer.keep(1.0)
        assert len(entries(writer.folder.path, "logs")) == 1

    def test_segments_are_small_enough_for_the_bound_to_hold(
        self, make_writer: MakeWriter
    ) -> None:
        """With the usual segment size a small bound would never be looked at."""
        writer = make_writer(max_log_bytes=8_000)
        for number in range(200):
            writer.write("logs", line(f"line {number}"))
        writer.keep(1.0)
        folder = writer.folder.path
        assert sum(p.stat().st_size for p in folder.glob("logs*.jsonl")) <= 8_000

    def test_other_writers_files_count_and_stay(self, make_writer: MakeWriter) -> None:
        other = make_writer(place=Place(main=False, rank=1))
        other.write("logs", line("x" * 4_000))
        writer = make_writer(segment_bytes=1_000, max_log_bytes=5_000)
        for number in range(20):
            writer.write("logs", line(f"line {number}"))
        writer.keep(1.0)
        assert len(entries(writer.folder.path / "logs-r1.jsonl")) == 1
        assert events(writer, "run.dropped")
        assert events(other, "run.dropped") == events(writer, "run.dropped")

    def test_torn_and_glued_lines_are_no_obstacle(
        self, make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A line cut short is not counted, one glued behind it is."""
        writer = make_writer(segment_bytes=400, max_log_bytes=800)
        writer.write("logs", line("one"))
        path = writer.folder.path / "logs.jsonl"
        with path.open("ab") as file:
            file.write(b'{"ts":"2026-11-23T18:27:00.000000Z","seq":1')
            file.write(encode(line("glued") | {"seq": 9}))
            file.write(b'{"ts":"2026-11-23T18:27:00.000000Z","seq":1')
        writer.logs.close()
        for number in range(20):
            writer.write("logs", line(f"line {number}"))
        writer.keep(1.0)
        told = events(writer, "run.dropped")[0]
        assert (told["count"], told["first"], told["last"]) == (2, 1, 9)

    def test_file_somebody_removed_is_no_obstacle(
        self, make_writer: MakeWriter
    ) -> None:
        writer = make_writer(segment_bytes=200, max_log_bytes=1_000)
        for number in range(20):
            writer.write("logs", line(f"line {number}"))
        (writer.folder.path / "logs.jsonl").unlink()
        writer.keep(1.0)
        assert events(writer, "run.dropped")[0]["segment"] == "logs.1.jsonl"


class TestRegularWork:
    """`keep` does what is due; one trouble does not hold up the rest."""

    def test_heartbeat_comes_each_interval(self, make_writer: MakeWriter) -> None:
        writer = make_writer(heartbeat=60.0)
        writer.start()
        for now in range(1_000, 1_181):
            writer.keep(float(now))
        assert len(events(writer, "run.heartbeat")) == 3

    def test_sync_comes_each_interval(
        self, make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer = make_writer(fsync_interval=5.0)
        writer.start()
        synced: list[int] = []
        monkeypatch.setattr(segments, "_to_disk", synced.append)
        for now in range(1_000, 1_021):
            writer.event("x", {})
            writer.keep(float(now))
        assert len(synced) == 5

    def test_disk_that_refuses_to_sync_does_not_stop_the_heart(
        self, make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(fd: int) -> None:
            raise OSError(errno.EIO, "I/O error")

        writer = make_writer(heartbeat=1.0)
        writer.write("metrics", metric(loss=1))
        monkeypatch.setattr(segments, "_to_disk", refuse)
        for now in range(1_000, 1_004):
            with pytest.raises(OSError, match="I/O error"):
                writer.keep(float(now))
        assert len(events(writer, "run.heartbeat")) == 3

    def test_end_syncs(
        self, make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for interval, files in ((1.0, 2), (None, 0)):
            synced: list[int] = []
            monkeypatch.setattr(segments, "_to_disk", synced.append)
            writer = make_writer(fsync_interval=interval)
            writer.write("metrics", metric(loss=1))
            writer.end("Completed")
            assert len(synced) == files

    def test_park_syncs_and_wakes_the_keeper_with_the_next_entry(
        self, make_writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a fork the next entry may be long in coming."""
        woken: list[str] = []
        synced: list[int] = []
        writer = make_writer(on_open=lambda: woken.append("x"))
        writer.write("metrics", metric(loss=1))
        monkeypatch.setattr(segments, "_to_disk", synced.append)
        woken.clear()
        writer.park()
        assert (len(synced), woken) == (2, [])
        writer.write("metrics", metric(loss=1))
        assert woken == ["x"]


@pytest.mark.slow
def test_forked_children_write_as_themselves(tmp_path: Path) -> None:
    """A child of a fork amid the work of threads claims a name of its own."""
    code = """
import os, sys, threading
import mlog
done = threading.Event()
def work(name):
    value = 0
    while not done.is_set():
        logger.info(metric={name: value})
        value += 1
logger = mlog.getLogger("work")
with mlog.start_run("e", dir=sys.argv[1], run_id="r", segment_bytes=2000):
    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for child in range(10):
        pid = os.fork()
        if not pid:
            for value in range(20):
                logger.warning("child %d %d", child, value)
            sys.exit()
        assert os.waitpid(pid, 0)[1] == 0
    done.set()
    for thread in threads:
        thread.join()
"""
    done = run_python(code, str(tmp_path), warnings="ignore")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "e" / "r"
    writers = read_run(folder)
    assert len(writers) == 11
    for found in writers.values():
        assert [e["seq"] for e in found] == list(range(len(found)))
        assert orjson.dumps(found[-1]["event"]) == b'"writer.end"'
    texts = {e["msg"] for found in writers.values() for e in found if "msg" in e}
    assert len(texts) == 200
