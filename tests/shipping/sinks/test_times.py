"""The time of an entry as a number."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.shipping.sinks.times import microseconds

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, 250_000_000_000_000_000))
def test_times_are_exact(number: int) -> None:
    moment = EPOCH + timedelta(microseconds=number)
    assert microseconds(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == number


@pytest.mark.parametrize(
    "ts",
    [
        "",
        "now",
        "2026-11-23T18:27:00.12",
        "2026-11-23T18:27:00.Z",
        "1969-12-31T23:59:59Z",
        "2026-13-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_told(ts: str) -> None:
    with pytest.raises(ValueError, match="its time is"):
        microseconds(ts)


def test_a_time_may_have_no_fraction_or_a_short_one() -> None:
    assert microseconds("1970-01-01T00:00:01Z") == 1_000_000
    assert microseconds("1970-01-01T00:00:00.5Z") == 500_000
