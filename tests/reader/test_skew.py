"""How far the clocks of machines are apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.reader.skew import Skew, clock_of, estimate
from mlog.reader.sources import Source

MAIN = Source("", 1, 0, "node1", "boot1", "2026-11-23T18:00:00.000000Z")
SAME = Source("r1", 1, 1, "node1", "boot1", "2026-11-23T18:00:01.000000Z")
FAR = Source("r2", 1, 2, "node2", "boot2", "2026-11-23T18:00:02.000000Z")
EARLY = FAR._replace(since="2026-11-23T17:59:57.500000Z")


@given(
    ahead=st.floats(-1e5, 1e5),
    jitter=st.lists(st.floats(0, 0.1), min_size=1, max_size=30),
)
def test_equal_steps_tell_how_far_a_clock_is_ahead(
    ahead: float, jitter: list[float]
) -> None:
    """Within what the steps themselves were apart."""
    own = {step: 1000.0 + step for step in range(len(jitter))}
    other = {step: 1000.0 + step + ahead + late for step, late in enumerate(jitter)}
    (skew,) = estimate(MAIN, [MAIN, FAR], {"": own, "r2": other}).values()
    assert skew.is_known
    assert skew.steps == len(jitter)
    assert skew.spread is not None
    assert ahead - 1e-6 <= skew.seconds <= ahead + 0.1 + 1e-6


def test_processes_of_one_machine_have_one_clock() -> None:
    """One machine may have several names, as in containers."""
    container = SAME._replace(writer="r3", host="c0ffee")
    steps = {"": {1: 10.0}, "r1": {1: 99.0}, "r3": {1: 99.0}}
    assert estimate(MAIN, [MAIN, SAME, container], steps) == {}


def test_of_several_processes_the_first_to_log_a_step_counts() -> None:
    other = FAR._replace(writer="r3", rank=3)
    steps = {"": {1: 10.0}, "r1": {1: 10.5}, "r2": {1: 16.0}, "r3": {1: 15.0}}
    (skew,) = estimate(MAIN, [MAIN, SAME, FAR, other], steps).values()
    assert skew == Skew("node2", 5.0, 0.0, 1, True)


def test_who_started_before_the_run_is_behind() -> None:
    """A process joins a run after it has started."""
    (skew,) = estimate(MAIN, [MAIN, EARLY], {}).values()
    assert skew == Skew("node2", -2.5, None, 0, True)


def test_without_either_nothing_is_known() -> None:
    (skew,) = estimate(MAIN, [MAIN, FAR], {"": {1: 1.0}, "r2": {2: 1.0}}).values()
    assert skew == Skew("node2", 0.0, None, 0, False)


@pytest.mark.parametrize(
    ("skew", "told"),
    [
        (
            Skew("node2", 1.2345, 0.002, 13, True),
            "the clock of node2 is 1.234 s ahead (±0.002 s, from 13 equal steps)",
        ),
        (
            Skew("node2", -0.5, 0.0, 1, True),
            "the clock of node2 is 0.500 s behind (±0.000 s, from 1 equal step)",
        ),
        (
            Skew("node2", -2.5, None, 0, True),
            "the clock of node2 is at least 2.500 s behind, from its start",
        ),
        (
            Skew("node2", 0.0, None, 0, False),
            "the clock of node2 is not compared: no steps in common",
        ),
    ],
)
def test_it_says_so_in_a_line(skew: Skew, told: str) -> None:
    assert str(skew) == told


def test_a_clock_is_that_of_a_boot_else_of_a_host() -> None:
    assert clock_of(MAIN) == "boot1"
    assert clock_of(MAIN._replace(boot="")) == "node1"
