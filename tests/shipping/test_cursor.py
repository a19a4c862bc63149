"""What is kept of a delivery."""

import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import MlogError
from mlog.shipping.cursor import (
    Cursor,
    Place,
    Position,
    Stats,
    TakenOverError,
    open_place,
    read_cursors,
)
from mlog.shipping.letter import DeadLetter

NAMES = ("logs.jsonl", "metrics-r3.jsonl", "events-a2.1.jsonl")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "exp" / "r1"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def place(run: Path) -> Place:
    return open_place(run, "sink", "here", state=None)


counts = st.integers(0, 2**53)
positions = st.builds(
    Position, counts, st.integers(-1, 2**53), st.booleans(), st.booleans(), counts
)
cursors = st.builds(
    Cursor,
    sink=st.text(max_size=9),
    url=st.text(max_size=9),
    host=st.text(max_size=9),
    segments=st.dictionaries(st.sampled_from(NAMES), positions),
    finished=st.text(max_size=9),
    stats=st.builds(Stats, counts, counts, counts, counts, counts, counts),
    error=st.text(max_size=9),
    failures=counts,
    seen=st.floats(0, 1e12),
    open=st.booleans(),
)


@given(cursors)
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor) -> None:
    assert Cursor.load(cursor.dump()) == cursor


@given(st.binary() | st.from_regex(rb"\{[a-z\":0-9,{}]*\}"))
def test_rubbish_is_no_cursor(content: bytes) -> None:
    """Nothing is guessed from it."""
    with pytest.raises(ValueError):  # noqa: PT011 - what of many is all the same
        Cursor.load(content)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"segments": []},
        {"segments": {"../x": {"offset": 1}}},
        {"segments": {"logs.jsonl": 5}},
        {"segments": {"logs.jsonl": {"offset": -1}}},
        {"segments": {"logs.jsonl": {"offset": True}}},
        {"segments": {"logs.jsonl": {"offset": 1.5}}},
        {"plan": {"segment": "logs.jsonl", "start": 5, "end": 5}},
        {"plan": 7},
    ],
)
def test_a_damaged_cursor_is_a_clear_error(
    run: Path, place: Place, change: dict[str, object]
) -> None:
    document = orjson.loads(Cursor("sink").dump()) | change
    (run / ".ship" / "sink.there.json").write_bytes(orjson.dumps(document))
    with pytest.raises(
        MlogError, match=r"is no cursor: .*Remove it to send the run again"
    ):
        place.cursors()
    assert read_cursors(run) == []


def test_a_cursor_replaces_the_last_as_a_whole(run: Path, place: Place) -> None:
    """A crash while it is written leaves the old one."""
    place.save(Cursor("sink", segments={"logs.jsonl": Position(1)}))
    place.save(Cursor("sink", segments={"logs.jsonl": Position(2)}))
    [(name, cursor)] = place.cursors().items()
    assert (name, cursor.at("logs.jsonl").offset) == ("sink.here.json", 2)
    assert os.listdir(run / ".ship") == ["sink.here.json"]
    assert (run / ".ship").stat().st_mode & 0o777 == 0o700
    assert (run / ".ship" / name).stat().st_mode & 0o777 == 0o600


def test_who_is_taken_over_stops(place: Place) -> None:
    place.save(Cursor("sink"))
    place.forget(place.name)
    with pytest.raises(TakenOverError):
        place.save(Cursor("sink"))


def test_one_shipper_at_a_time(run: Path, place: Place) -> None:
    """Of one host and sink; another sink's does not matter."""
    other = open_place(run, "sink", "here", state=None)
    assert place.lock()
    assert not other.lock()
    assert open_place(run, "sink2", "here", state=None).lock()
    place.release()
    assert other.lock()


def test_taking_up_goes_on_from_the_furthest() -> None:
    own = Cursor(
        "s", segments={"logs.jsonl": Position(5, 1), "metrics.jsonl": Position(9)}
    )
    other = Cursor(
        "s",
        segments={"logs.jsonl": Position(7, 2), "metrics.jsonl": Position(3)},
        stats=Stats(entries=4),
    )
    own.take_up(other)
    assert {n: p.offset for n, p in own.segments.items()} == {
        "logs.jsonl": 7,
        "metrics.jsonl": 9,
    }
    assert own.stats.entries == 4


def test_cursors_lie_elsewhere_where_runs_are_read_only(
    run: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    open_place(run, "sink", "here", state=state).save(Cursor("sink"))
    assert (state / "exp" / "r1" / "sink.here.json").exists()
    assert not (run / ".ship").exists()
    assert [c.sink for c in read_cursors(run, state=state)] == ["sink"]


def test_a_link_is_not_followed(run: Path, tmp_path: Path) -> None:
    (run / ".ship").symlink_to(tmp_path)
    with pytest.raises(MlogError, match="is a link"):
        open_place(run, "sink", "here", state=None)


def test_dead_letters_are_read_once_each(run: Path, place: Place) -> None:
    """One that a crash has cut, or written twice, is no second one."""
    letter = DeadLetter(
        "bad", "2026-11-23T18:27:00Z", "logs.jsonl", 7, b'{"ts":"x","seq":1}'
    )
    file = DeadLetter("gone", "2026-11-23T18:27:00Z", file="artifacts/a")
    unknown = DeadLetter("some", "2026-11-23T18:27:00Z", "logs.jsonl", 0, count=3)
    place.bury([letter])
    path = run / ".ship" / "sink.dead.jsonl"
    with open(path, "ab") as half:
        half.write(b'{"ts":"2026-11')
    place.bury([letter, file, unknown])
    assert place.dead() == [letter, file, unknown]
    assert orjson.loads(path.read_bytes().split(b"\n")[0])["entry"] == {
        "ts": "x",
        "seq": 1,
    }
    place.keep_dead([file])
    assert place.dead() == [file]
    place.keep_dead([])
    assert not path.exists()
