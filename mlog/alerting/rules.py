"""What an alert is about: a rule, written as a line of text. Pure.

level>=error logger:train.*          a filter, as of `mlog tail --filter`
loss > 5 for 3                       holds for 3 entries with that metric on end
non-finite                           a metric is NaN or infinite
no entry for 10 minutes
run ended | run failed
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mlog.reader.search import parse_search
from mlog.reader.sources import Source

__all__ = ["Ended", "Fits", "NonFinite", "Rule", "Silence", "parse_rule"]

Entry = Mapping[str, Any]

_FOR = re.compile(r"(?P<filter>.+?)\s+for\s+(?P<count>\d+)\s*", re.DOTALL)
_SILENT = re.compile(
    r"no\s+entry\s+for\s+(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)\s*", re.IGNORECASE
)
_ENDED = re.compile(r"run\s+(?P<how>ended|failed)", re.IGNORECASE)
_NEARLY = re.compile(
    r"no\s+entry\b.*"
    r"|run\s+(start\w*|begins?|began|begun|end\w*|fail\w*|cancel\w*|complet\w*"
    r"|finish\w*|stop\w*|succe\w*|not\s*responding)$",
    re.IGNORECASE | re.DOTALL,
)
_NON_FINITE = re.compile(r"non-?finite", re.IGNORECASE)
_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600}
_UNITS |= {"hour": 3600, "d": 86400, "day": 86400}
_NOBODY = Source()


class Rule(Protocol):
    """Told what happens, from several threads; says in words why it holds, or None."""

    def entry(self, entry: Entry, now: float) -> str | None:
        """An entry has come."""

    def time(self, now: float) -> str | None:
        """Time has gone by; `now` is in monotonic seconds."""

    def end(self, status: str) -> str | None:
        """The run has ended with a status."""


class _Silent:
    """A rule that holds for nothing; the others say what they are about."""

    def entry(self, entry: Entry, now: float) -> str | None:
        """Nothing."""
        return None

    def time(self, now: float) -> str | None:
        """Nothing."""
        return None

    def end(self, status: str) -> str | None:
        """Nothing."""
        return None


class Fits(_Silent):
    """Entries that a filter lets pass, a number of them on end."""

    def __init__(self, text: str, count: int = 1) -> None:
        """Parse the filter.

        Raises:
            ValueError: It cannot be understood, or `count` is asked of a filter that
                compares no field.
        """
        self._fits: Callable[[Any], bool] = (found := parse_search(text))
        if count < 1:
            raise ValueError(f"a rule holds for 1 entry or more, got {count}")
        if count > 1 and not found.fields:
            raise ValueError(
                f"'for {count}' needs a comparison, such as 'loss > 5 for 3'"
            )
        self._names = {name.removeprefix("metric.") for name in found.fields}
        self._count, self._held = count, 0

    def entry(self, entry: Entry, now: float) -> str | None:
        """Count the entry, if the rule is about it."""
        if self._count > 1 and not self._is_about(entry):
            return None
        if not self._fits((dict(entry), _NOBODY)):
            self._held = 0
            return None
        self._held += 1
        if self._held < self._count:
            return None
        self._held = 0
        return _words(entry)

    def _is_about(self, entry: Entry) -> bool:
        there = entry.keys() | entry.get("metric", {}).keys()
        return not self._names.isdisjoint(there)


class NonFinite(_Silent):
    """A metric that is NaN or infinite."""

    def entry(self, entry: Entry, now: float) -> str | None:
        """Look at the metrics of an entry."""
        odd = [
            name for name, value in entry.get("metric", {}).items() if _is_odd(value)
        ]
        if not odd:
            return None
        return f"{', '.join(odd)} not finite: {_words(entry)}"


class Silence(_Silent):
    """No entry for so many seconds; holds once, until an entry comes again."""

    def __init__(self, seconds: float) -> None:
        """Begin with the first look at the time."""
        self._seconds = seconds
        self._last: float | None = None
        self._told = False

    def entry(self, entry: Entry, now: float) -> str | None:
        """Begin anew."""
        self._last, self._told = now, False
        return None

    def time(self, now: float) -> str | None:
        """Hold if it is time."""
        if self._last is None:
            self._last = now
        if self._told or now - self._last < self._seconds:
            return None
        self._told = True
        return f"no entry for {now - self._last:.0f} seconds"


class Ended(_Silent):
    """The end of the run, or one that is not Completed."""

    def __init__(self, *, only_failed: bool) -> None:
        """Remember which ends count."""
        self._only_failed = only_failed

    def end(self, status: str) -> str | None:
        """Hold, if this end counts."""
        if self._only_failed and status == "Completed":
            return None
        return f"the run is {status}"


def parse_rule(text: str) -> Rule:
    """Return the rule that a line of text stands for; see the head of this module.

    Raises:
        ValueError: It cannot be understood.
    """
    text = text.strip()
    if _NON_FINITE.fullmatch(text):
        return NonFinite()
    if match := _ENDED.fullmatch(text):
        return Ended(only_failed=match["how"].lower() == "failed")
    if match := _SILENT.fullmatch(text):
        return Silence(_seconds(match["number"], match["unit"].lower()))
    if match := _FOR.fullmatch(text):
        return Fits(match["filter"], int(match["count"]))
    if match := _NEARLY.match(text):
        raise ValueError(
            f"no such rule: {text[:60]!r}; of a run there are 'run ended', 'run "
            "failed' and 'no entry for 10 minutes'; for a text that is logged write "
            f"it in quotes: '\"{match[0]}\"'"
        )
    if not text:
        raise ValueError("a rule must not be empty; such as 'level>=error'")
    return Fits(text)


def _seconds(number: str, unit: str) -> float:
    known = _UNITS.get(unit.rstrip("s") or "s") or _UNITS.get(unit)
    if known is None:
        raise ValueError(f"expected seconds, minutes, hours or days, got {unit!r}")
    return float(number) * known


def _is_odd(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return value in ("NaN", "Infinity", "-Infinity")


def _words(entry: Entry) -> str:
    """Return an entry as a person would tell of it."""
    metrics = " ".join(f"{k}={v}" for k, v in entry.get("metric", {}).items())
    step = f"step={entry['step']}" if "step" in entry else ""
    parts = [entry.get("msg", ""), metrics, step]
    told = " ".join(part for part in parts if part)
    return f"{entry.get('level', '')} {entry.get('logger', '')}: {told}".strip()
