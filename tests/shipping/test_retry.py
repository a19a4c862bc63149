"""When to try again."""

from hypothesis import given
from hypothesis import strategies as st

from mlog.shipping.retry import Backoff


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
