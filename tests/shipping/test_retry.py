"""When to try again."""

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.shipping.retry import Backoff, parse_retry_after

NOW = 1_795_000_000.0


@given(st.integers(1, 10_000), st.floats(0, 0.999))
def test_full_jitter_stays_below_a_doubling_cap(failures: int, chance: float) -> None:
    """The wait is anything from 0 up to a span that doubles up to the longest."""
    delay = Backoff(first=1.0, longest=60.0).delay(failures, lambda: chance)
    assert 0 <= delay <= min(60.0, 2.0 ** min(failures - 1, 60))


@given(st.floats(0, 3600), st.floats(0, 0.999))
def test_no_less_is_waited_than_was_asked_for(asked: float, chance: float) -> None:
    delay = Backoff().delay(1, lambda: chance, asked=asked)
    assert asked <= delay <= asked + 0.1 * asked + 1.0


def test_what_somebody_must_mend_is_paused_for() -> None:
    """A refused login is not tried every second, also not the first time."""
    assert Backoff(pause=30.0).delay(1, lambda: 0.0, blocked=True) == 30.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 1e7, usegmt=True), 3600.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("NaN", None),
        ("inf", None),
        ("soon", None),
        ("٣", None),
        ("Fri, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    value: str | None, seconds: float | None
) -> None:
    """Both forms of RFC 9110; nonsense counts as none, and an hour is the most."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    found = parse_retry_after(value, NOW)
    assert found is None or (math.isfinite(found) and 0 <= found <= 3600)
