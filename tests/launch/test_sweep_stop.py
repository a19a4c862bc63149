"""When a trial is ended early."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.launch.sweep_stop import (
    Bandit,
    Median,
    Rule,
    Series,
    Truncation,
    parse_stop,
    rule_from,
    rule_to,
)


def judged(
    rule: Rule, own: list[float], *others: list[float], minimize: bool = True
) -> str | None:
    series = [Series(values, minimize=minimize) for values in (own, *others)]
    return rule.judge(series[0], series[1:], len(own), minimize=minimize)


def test_median_ends_what_is_worse_than_the_others_averages() -> None:
    """The own best against the median of the others' means, at the same interval."""
    others = [[4.0, 2.0], [6.0, 4.0], [9.0, 9.0]]  # means 3, 5, 9 after two values
    assert judged(Median(delay=2), [7.0, 5.5], *others) == (
        "median: 5.5 is worse than 5 after 2 values"
    )
    assert judged(Median(delay=2), [7.0, 5.0], *others) is None
    assert judged(Median(delay=2), [1.0, 7.0], *others) is None
    assert judged(Median(), [1.0, 4.0], *others, minimize=False) is not None


def test_median_leaves_out_who_has_not_come_so_far() -> None:
    assert judged(Median(delay=3), [9.0, 9.0, 9.0], [1.0], [1.0, 1.0]) is None
    assert judged(Median(), [9.0]) is None


def test_bandit_ends_what_is_too_far_from_the_best() -> None:
    assert judged(Bandit(slack_factor=0.1), [0.87], [0.8]) is None
    why = judged(Bandit(slack_factor=0.1), [0.89], [0.8])
    assert why == "bandit: 0.89 is worse than 0.88 after 1 value"
    best = [0.8]
    assert judged(Bandit(slack_factor=0.2), [0.67], best, minimize=False) is None
    assert judged(Bandit(slack_factor=0.2), [0.66], best, minimize=False) is not None
    assert judged(Bandit(slack_amount=0.05), [0.84], best) is None
    assert judged(Bandit(slack_amount=0.05), [0.86], best) is not None


@pytest.mark.parametrize("minimize", [True, False])
def test_slack_of_a_negative_best_is_slack_too(minimize: bool) -> None:
    """A trial as good as the best is never ended."""
    assert judged(Bandit(slack_factor=0.5), [-2.0], [-2.0], minimize=minimize) is None
    worse = -1.0 if minimize else -3.5
    assert judged(Bandit(slack_factor=0.5), [worse], [-2.0], minimize=minimize)


def test_bandit_compares_at_the_same_interval() -> None:
    """What another has reached later does not count yet."""
    assert judged(Bandit(slack_factor=0.1), [5.0], [5.0, 0.1, 0.1]) is None
    assert judged(Bandit(slack_factor=0.1), [5.0, 4.0], [5.0, 0.1, 0.1]) is not None


def test_truncation_ends_the_worst_ones() -> None:
    others = [[1.0], [2.0], [3.0], [4.0]]
    assert judged(Truncation(percentage=20), [5.0], *others) is not None
    assert judged(Truncation(percentage=20), [3.5], *others) is None
    assert judged(Truncation(percentage=40), [3.5], *others) is not None
    assert judged(Truncation(percentage=10), [5.0], *others) is None
    assert judged(Truncation(percentage=50), [1.0], [1.0], [1.0]) is None


def test_a_trial_is_looked_at_from_a_delay_on_and_at_intervals() -> None:
    best = [0.0] * 9
    own = Series([5.0] * 9, minimize=True)
    others = [Series(best, minimize=True)]
    rule = Bandit(slack_factor=0.1, interval=3, delay=5)
    why = rule.judge(own, others, 9, minimize=True)
    assert why is not None
    assert why.endswith("after 6 values")
    assert rule.judge(own, others, 3, minimize=True) is not None  # 7, 8, 9
    assert (
        rule.judge(Series([5.0] * 8, minimize=True), others, 2, minimize=True) is None
    )


series = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6)


@given(own=series, others=st.lists(series, max_size=5), minimize=st.booleans())
def test_no_rule_ends_the_best(
    own: list[float], others: list[list[float]], minimize: bool
) -> None:
    """Who is at least as good as everybody else at every interval goes on."""
    worst = max if minimize else min
    rivals = [[worst(value, own[0]) for value in other] for other in others]
    held = [own[0]] * len(own)
    for rule in (
        Median(),
        Bandit(slack_factor=0.1),
        Bandit(slack_amount=1.0),
        Truncation(percentage=20),
    ):
        assert judged(rule, held, *rivals, minimize=minimize) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("median", Median()),
        ("median:interval=2,delay=5", Median(interval=2, delay=5)),
        ("bandit", Bandit(slack_factor=0.1)),
        ("bandit:slack_factor=0.2", Bandit(slack_factor=0.2)),
        ("bandit:slack_amount=3,delay=1", Bandit(slack_amount=3, delay=1)),
        ("truncation", Truncation(percentage=20)),
        ("truncation:percentage=5", Truncation(percentage=5)),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    assert parse_stop(text) == rule
    assert rule_from(rule_to(rule)) == rule


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("luck", "no rule 'luck'; there are median, bandit, truncation"),
        ("", "no rule ''"),
        ("median:slack=1", "median takes interval, delay; got 'slack=1'"),
        ("median:delay=x", "delay of median must be a number, got 'x'"),
        ("median:interval=0", "interval of median must be an integer >= 1, got 0"),
        ("median:delay=-1", "delay of median must be an integer >= 0, got -1"),
        ("median:delay=1.5", "delay of median must be an integer >= 0, got 1.5"),
        ("bandit:slack_factor=-1", "slack of bandit must be >= 0, got -1"),
        ("bandit:slack_factor=1,slack_amount=1", "either slack_factor or slack_am"),
        ("truncation:percentage=0", "must be from 1 to 99, got 0"),
        ("truncation:percentage=100", "must be from 1 to 99, got 100"),
    ],
)
def test_rules_that_are_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_stop(text)


def test_a_bandit_needs_one_slack() -> None:
    with pytest.raises(ValueError, match="either slack_factor or slack_amount"):
        Bandit()
    bad: Any = "0.1"
    with pytest.raises(ValueError, match="slack of bandit must be >= 0"):
        Bandit(slack_factor=bad)
