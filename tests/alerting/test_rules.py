"""Rules of alerts: when each holds, and what it says."""

from typing import Any

import pytest

from mlog.alerting.rules import parse_rule


def line(level: str = "INFO", msg: str = "", **more: Any) -> dict[str, Any]:
    return {"level": level, "logger": "train", "msg": msg, **more}


def point(step: int, **metric: Any) -> dict[str, Any]:
    return line(step=step, metric=metric)


class TestFilters:
    def test_an_entry_that_fits_is_told(self) -> None:
        rule = parse_rule("level>=error logger:tr*")
        assert rule.entry(line("WARNING", "slow"), 0.0) is None
        assert rule.entry(line("ERROR", "out of memory"), 0.0) == (
            "ERROR train: out of memory"
        )

    def test_metrics_are_compared(self) -> None:
        rule = parse_rule("loss > 5")
        assert rule.entry(point(1, loss=5), 0.0) is None
        assert rule.entry(point(2, loss=6.5), 0.0) == "INFO train: loss=6.5 step=2"

    def test_for_counts_entries_on_end_that_have_the_metric(self) -> None:
        rule = parse_rule("loss > 5 for 3")
        told = []
        for step, loss in enumerate([6, 7, 1, 6, 7, 8, 9]):
            told.append(rule.entry(point(step, loss=loss), 0.0) is not None)
            assert rule.entry(line(msg="in between"), 0.0) is None
            assert rule.entry(point(step, acc=0), 0.0) is None
        assert told == [False, False, False, False, False, True, False]

    def test_after_it_has_held_it_counts_anew(self) -> None:
        rule = parse_rule("metric.loss>5 for 2")
        held = [rule.entry(point(i, loss=9), 0.0) is not None for i in range(4)]
        assert held == [False, True, False, True]


class TestNonFinite:
    @pytest.mark.parametrize("text", ["non-finite", "nonfinite", " Non-Finite "])
    def test_nan_and_infinities(self, text: str) -> None:
        rule = parse_rule(text)
        assert rule.entry(point(1, loss=1e308), 0.0) is None
        found = rule.entry(point(2, loss="NaN", acc=1), 0.0)
        assert found == "loss not finite: INFO train: loss=NaN acc=1 step=2"
        assert rule.entry(point(3, loss=float("inf")), 0.0) is not None


class TestSilence:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("no entry for 10 minutes", 600),
            ("no entry for 90s", 90),
            ("no entry for 1.5 h", 5400),
            ("No Entry For 2 days", 172_800),
        ],
    )
    def test_it_holds_once_until_an_entry_comes(
        self, text: str, seconds: float
    ) -> None:
        rule = parse_rule(text)
        assert rule.time(1_000.0) is None
        assert rule.time(1_000.0 + seconds - 1) is None
        assert rule.time(1_000.0 + seconds) == f"no entry for {seconds:.0f} seconds"
        assert rule.time(1_000.0 + 2 * seconds) is None
        rule.entry(line(), 5e5)
        assert rule.time(5e5 + seconds - 1) is None
        assert rule.time(5e5 + seconds) is not None


class TestEnds:
    @pytest.mark.parametrize(
        ("text", "status", "holds"),
        [
            ("run ended", "Completed", True),
            ("run ended", "Failed", True),
            ("run failed", "Completed", False),
            ("run failed", "Failed", True),
            ("run failed", "Canceled", True),
        ],
    )
    def test_ends(self, text: str, status: str, holds: bool) -> None:
        found = parse_rule(text).end(status)
        assert found == (f"the run is {status}" if holds else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must not be empty"),
        ("loss >", "expected a value"),
        ("loss > 5 for 0", "1 entry or more"),
        ("error for 3", "needs a comparison"),
        ("no entry for 3 moons", "seconds, minutes, hours or days, got 'moons'"),
        ("no entry for soon", "no such rule: 'no entry for soon'; of a run there are"),
        ("run cancelled", "no such rule: .* 'run failed' and 'no entry for 10 min"),
        ("Run started", "write it in quotes: '\"Run started\"'"),
    ],
)
def test_a_rule_that_cannot_be_understood_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


def test_words_in_quotes_are_a_text_that_is_logged() -> None:
    rule = parse_rule('"run started"')
    assert rule.entry({"level": "INFO", "logger": "a", "msg": "a run started"}, 0.0)
