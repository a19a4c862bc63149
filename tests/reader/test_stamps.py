"""Many times at once are what each of them is alone."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader import stamps
from mlog.reader.stamps import joined, seconds_in
from mlog.reader.times import seconds_of

MOMENTS = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)
).map(lambda found: found.isoformat(timespec="microseconds")[:26] + "Z")
ODD = st.one_of(
    st.text(max_size=30),
    st.text('0123456789-:.TZ" +', min_size=27, max_size=27),
    st.sampled_from(
        [
            "",
            '"',
            "2026-11-23T18:27:00.12345",
            '2026-11-23T18:27:00.12345"',
            "2026-11-23T18:27:00.12 456Z",
            "2026-13-23T18:27:00.123456Z",
            "2026-11-23T18:27:00.123456+01:00",
            "2026-11-23T18:27:00.123456Z2026-11-23T18:27:00.123456Z",
            "٢026-11-23T18:27:00.123456Z",
            "2026-11-23T18:27:00.12345٦Z",
        ]
    ),
)
TEXTS = st.lists(st.lists(MOMENTS | ODD, min_size=1, max_size=5), max_size=4)


def one_by_one(texts: list[list[str]], last: float) -> list[float]:
    found = []
    for stamp in [stamp for text in texts for stamp in text]:
        time = seconds_of(stamp)
        last = last if time is None else time
        found.append(last)
    return found


@given(TEXTS, st.floats(0, 1e9))
def test_are_those_of_each_one(texts: list[list[str]], last: float) -> None:
    """Good and odd ones, in any number of texts."""
    assert seconds_in([*map(joined, texts)], last).tolist() == one_by_one(texts, last)


@given(st.lists(st.lists(MOMENTS, min_size=1, max_size=9), min_size=1))
def test_are_those_of_each_good_one(texts: list[list[str]]) -> None:
    assert seconds_in([*map(joined, texts)], 0.0).tolist() == one_by_one(texts, 0.0)


def test_more_than_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is none has the time before also over the border of two parts."""
    monkeypatch.setattr(stamps, "_TEXTS", 2)
    good = [[f"2026-11-23T18:27:0{n}.123456Z"] for n in range(5)]
    texts = [*good, ["none"], ["none"], *good]
    assert seconds_in([*map(joined, texts)], 0.0).tolist() == one_by_one(texts, 0.0)


def test_without_numpy_they_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "numpy_if_there", lambda: None)
    texts = [["2026-11-23T18:27:00.123456Z", "x"], ["2026-11-23T18:27:01.000001Z"]]
    assert seconds_in([*map(joined, texts)], 1.0).tolist() == one_by_one(texts, 1.0)


def test_what_is_no_text_is_an_error() -> None:
    """As the caller has to look at such lines one by one."""
    with pytest.raises(TypeError):
        joined(["2026-11-23T18:27:00.123456Z", 5])  # type: ignore[list-item]
