"""The time line of a run: what was logged around a step or a moment, by all processes.

Given steps: the lines of a process are those with the numbers between its own marks
(`mlog.reader.marks`), which is exact, whatever its clock says. A process that logged no
such step is placed by the clock, in the time that the others took, and so marked.
Given a moment: all by the clock. Clocks of other machines are set right by what
`mlog.reader.skew` estimates.

Given an entry: what the metrics were when it was written.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from mlog.errors import MlogError
from mlog.reader.entries import (
    NONFINITE,
    WriterFiles,
    floats_placed,
    read_writers,
)
from mlog.reader.follow import Found
from mlog.reader.jumps import (
    entries_by_seq,
    entries_by_time,
    older_by_seq,
    older_by_time,
)
from mlog.reader.marks import Span, find_gap, find_spans, step_range
from mlog.reader.skew import Skew, clock_of, estimate
from mlog.reader.sources import Source
from mlog.reader.times import Moment, moment_of, seconds_of

__all__ = ["Around", "Line", "Then", "metrics_at", "read_around"]

_MOST_METRICS = 16 << 20
_COMPARED = 30.0
"""Seconds before and after a moment whose steps tell of the clocks."""

_MOST_COMPARED = 30
"""How many of them, the nearest."""


class Line(NamedTuple):
    """One entry on the time line.

    Attributes:
        found: The entry, and the segment it is in.
        source: Who wrote it.
        is_exact: Whether its place is known by numbers; else by the clock.
        seconds: Its time since the epoch by the clock of the main process.
    """

    found: Found
    source: Source
    is_exact: bool
    seconds: float

    @property
    def entry(self) -> dict[str, Any]:
        """The entry itself."""
        return self.found.entry


@dataclass(frozen=True, eq=False, repr=False)
class Around:
    """What was logged around a step or a moment; iterate over it for the entries.

    Attributes:
        lines: In order of time; with process, and how exact the place is.
        steps: The first and the last step asked for; None for a moment.
        time: The moment, in seconds since the epoch; None for a step.
        attempt: Which attempt at the run; None for a moment: all of them.
        skews: How far the clocks of other machines are from the main process's.
    """

    lines: list[Line]
    steps: tuple[int, int] | None = None
    time: float | None = None
    attempt: int | None = None
    skews: list[Skew] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the entries."""
        return (line.entry for line in self.lines)

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self.lines)

    def __repr__(self) -> str:
        """Say what it is around, and how many entries there are."""
        what = f"steps {self.steps[0]} to {self.steps[1]}" if self.steps else "a moment"
        count = len(self.lines)
        return f"<Around {what}: {count} {'entry' if count == 1 else 'entries'}>"


def read_around(
    folder: Path,
    *,
    step: int | None = None,
    window: int = 5,
    time: Moment | None = None,
    seconds: float = 5.0,
    metric: str | None = None,
    attempt: int | None = None,
) -> Around:
    """Return what was logged around a step, or around a moment.

    Args:
        folder: The run's.
        step: The step in the middle.
        window: How many steps before and after it.
        time: The moment, instead of a step: seconds since the epoch, or a text or
            datetime with its zone.
        seconds: How many seconds before and after it.
        metric: Count steps by this metric only; for programs that log metrics by
            batches and others by epochs.
        attempt: Of which attempt. None: of a step the latest that has it, of a moment
            all.

    Raises:
        RunNotFoundError: There is no such folder.
        MlogError: The run has no such step.
        OSError: A file may not be read.
        TypeError, ValueError: Not one of step and time is given, or an argument is none.
    """
    if (step is None) == (time is None):
        raise ValueError("expected one of step and time")
    if step is not None and type(step) is not int:
        raise TypeError(f"step must be an integer, got {step!r}")
    if not (window >= 0 and seconds >= 0):
        raise ValueError(
            f"window and seconds must be at least 0, got {min(window, seconds)!r}"
        )
    writers = read_writers(folder)
    if attempt is not None:
        writers = [writer for writer in writers if writer.attempt == attempt]
    if time is not None:
        moment = moment_of(time, "time")
        return _around_time(folder, writers, moment, seconds, attempt)
    assert step is not None
    return _around_step(folder, writers, step - window, step + window, metric)


# --- around a step -------------------------------------------------------------------


def _around_step(
    folder: Path, writers: list[WriterFiles], first: int, last: int, metric: str | None
) -> Around:
    for find in (find_spans, find_gap):
        for attempt in sorted({w.attempt for w in writers}, reverse=True):
            own = [writer for writer in writers if writer.attempt == attempt]
            found = {
                w.name: find(folder, w.segments.get("metrics", []), first, last, metric)
                for w in own
            }
            if any(found.values()):
                return _of_attempt(folder, own, found, (first, last), attempt)
    raise MlogError(_no_step(folder, writers, first, last, metric))


def _of_attempt(
    folder: Path,
    writers: list[WriterFiles],
    spans: dict[str, list[Span]],
    steps: tuple[int, int],
    attempt: int,
) -> Around:
    """Return the lines of one attempt, of which some writers have the steps."""
    exact = [writer for writer in writers if spans[writer.name]]
    main = _main(exact)
    times = {w.name: _times_of(spans[w.name]) for w in exact}
    skews = estimate(main.source, [w.source for w in writers], times)
    each: list[list[Line]] = []
    ranges: list[tuple[float, float]] = []
    for writer in sorted(exact, key=lambda w: w is not main):
        behind = _ahead(skews, writer.source)
        for span in spans[writer.name]:
            lines = _lines_of_span(folder, writer, span, behind)
            each.append(lines)
            if writer is main and lines:
                ranges.append(_time_of(span, lines, behind))
    for writer in writers:
        if not spans[writer.name]:
            for begin, end in ranges:
                lines = _lines_by_time(folder, writer, begin, end, skews)
                each.append([x for x in lines if _may_be_of(x.entry, steps)])
    shown = _skews_of(skews, writers)
    return Around(_merged(each), steps, attempt=attempt, skews=shown)


def _may_be_of(entry: dict[str, Any], steps: tuple[int, int]) -> bool:
    """Whether an entry that a clock has placed is not of other steps by its own."""
    step = entry.get("step")
    is_log = "metric" not in entry and "value" not in entry
    return type(step) is not int or not is_log or steps[0] <= step <= steps[1]


def _lines_of_span(
    folder: Path, writer: WriterFiles, span: Span, ahead: float
) -> list[Line]:
    found = [
        one
        for segments in writer.segments.values()
        for one in entries_by_seq(folder, segments, span.first, span.last)
    ]
    found.sort(key=lambda one: one.entry["seq"])
    return _lines(found, writer.source, True, ahead)


def _lines_by_time(
    folder: Path,
    writer: WriterFiles,
    begin: float,
    end: float,
    skews: dict[str, Skew],
    is_exact: bool = False,
) -> list[Line]:
    ahead = _ahead(skews, writer.source)
    found = [
        one
        for segments in writer.segments.values()
        for one in entries_by_time(folder, segments, begin + ahead, end + ahead)
    ]
    found.sort(key=lambda one: one.entry["seq"])
    return _lines(found, writer.source, is_exact, ahead)


def _times_of(spans: list[Span]) -> dict[int, float]:
    """Return when each step was logged first."""
    times: dict[int, float] = {}
    for mark in (mark for span in spans for mark in span.marks):
        seconds = seconds_of(mark.ts)
        if seconds is not None:
            times.setdefault(mark.step, seconds)
    return times


def _time_of(span: Span, lines: list[Line], ahead: float) -> tuple[float, float]:
    """Return when a place in a writer began and ended, by the main clock."""
    begin = seconds_of(span.before.ts) if span.before is not None else None
    first = min(line.seconds for line in lines)
    last = max(line.seconds for line in lines)
    begin = first if begin is None else min(begin - ahead, first)
    return begin, math.inf if span.last == math.inf else last


def _no_step(
    folder: Path, writers: list[WriterFiles], first: int, last: int, metric: str | None
) -> str:
    """Say which steps there are instead."""
    of = f" of {metric!r}" if metric is not None else ""
    what = f"no step {first}" if first == last else f"no steps from {first} to {last}"
    ranges = [step_range(folder, w.segments.get("metrics", [])) for w in writers]
    known = [one for one in ranges if one is not None]
    if not known:
        return f"{what}{of} in {folder}: its metrics have no steps"
    least, most = min(low for low, _ in known), max(high for _, high in known)
    return f"{what}{of} in {folder}: its steps go from {least} to {most}"


# --- around a moment -----------------------------------------------------------------


def _around_time(
    folder: Path,
    writers: list[WriterFiles],
    time: float,
    seconds: float,
    attempt: int | None,
) -> Around:
    if not writers:
        return Around([], time=time, attempt=attempt)
    main = _main(writers)
    skews = _skews_near(folder, main, main, writers, time)
    each = []
    for writer in writers:
        skew = skews.get(clock_of(writer.source))
        args = (time - seconds, time + seconds, skews, skew is None)
        each.append(_lines_by_time(folder, writer, *args))
    shown = _skews_of(skews, writers)
    return Around(_merged(each), time=time, attempt=attempt, skews=shown)


def _skews_near(
    folder: Path,
    main: WriterFiles,
    known: WriterFiles,
    writers: list[WriterFiles],
    moment: float,
) -> dict[str, Skew]:
    """Estimate clocks by the steps near to a moment.

    Args:
        folder: The run's.
        main: Whose clock the others are compared with.
        known: By whose clock the moment is.
        writers: All that are compared; of each machine one with metrics counts.
        moment: Seconds since the epoch.
    """
    one_each: dict[str, WriterFiles] = {}
    for writer in (known, main, *writers):
        if "metrics" in writer.segments:
            one_each.setdefault(clock_of(writer.source), writer)
    sources = [writer.source for writer in writers]
    steps: dict[str, dict[int, float]] = {}
    if len(one_each) > 1:
        near = _steps_near(folder, known, moment)
        steps = {
            writer.name: _times_of(
                find_spans(folder, writer.segments["metrics"], min(near), max(near))
            )
            for writer in one_each.values()
            if near
        }
    return estimate(main.source, sources, steps)


def _steps_near(folder: Path, writer: WriterFiles, moment: float) -> list[int]:
    """Return some steps that a writer logged near to a moment."""
    segments = writer.segments.get("metrics", [])
    near = (moment - _COMPARED, moment + _COMPARED)
    dated: list[tuple[float, int]] = []
    for found in entries_by_time(folder, segments, *near):
        step, seconds = found.entry.get("step"), seconds_of(found.entry["ts"])
        if type(step) is int and seconds is not None:
            dated.append((abs(seconds - moment), step))
    return [step for _, step in sorted(dated)[:_MOST_COMPARED]]


# --- lines ---------------------------------------------------------------------------


def _main(writers: list[WriterFiles]) -> WriterFiles:
    """Return the process whose clock counts: the main one, else the least rank."""
    return min(writers, key=lambda w: (-w.attempt, w.rank or 0, w.name))


def _ahead(skews: dict[str, Skew], source: Source) -> float:
    skew = skews.get(clock_of(source))
    return skew.seconds if skew is not None else 0.0


def _skews_of(skews: dict[str, Skew], writers: list[WriterFiles]) -> list[Skew]:
    known = {clock_of(writer.source) for writer in writers}
    return [skew for clock, skew in skews.items() if clock in known]


def _lines(
    found: Iterable[Found], source: Source, is_exact: bool, ahead: float
) -> list[Line]:
    """Place entries of one writer, in order of their numbers."""
    lines = []
    last = 0.0
    for one in found:
        seconds = seconds_of(one.entry["ts"])
        last = seconds - ahead if seconds is not None else last
        lines.append(
            Line(one._replace(entry=floats_placed(one.entry)), source, is_exact, last)
        )
    return lines


def _merged(each: Iterable[list[Line]]) -> list[Line]:
    """Return the lines of all writers by the greatest time so far."""
    merged = heapq.merge(*map(_running, each), key=itemgetter(0))
    return [line for _, line in merged]


def _running(lines: list[Line]) -> Iterator[tuple[float, Line]]:
    latest = -math.inf
    for line in lines:
        latest = max(latest, line.seconds)
        yield latest, line


# --- the metrics of an entry's time --------------------------------------------------


class Then(NamedTuple):
    """What a metric was when an entry was written.

    Attributes:
        value: The number logged last.
        step: Its step, if it has one.
        ts: When that was.
        is_exact: Whether the process of the entry itself logged it; else the clock says
            that it was before.
    """

    value: float
    step: int | None
    ts: str
    is_exact: bool


def metrics_at(
    folder: Path,
    entry: dict[str, Any],
    *,
    writer: str | None = None,
    limit: int = _MOST_METRICS,
) -> dict[str, Then]:
    """Return the last value of each metric at the time of an entry.

    Those of the entry's own process, by number; of names that it does not log those of
    the main process, by the clock. Reads backwards from there.

    Args:
        folder: The run's.
        entry: As `iter_entries` gives it.
        writer: Name of the process that wrote it. None: it is looked for.
        limit: How many bytes of metrics to read at most of each process; what was not
            logged in them is left out.

    Raises:
        RunNotFoundError: There is no such folder.
        MlogError: The run has no such entry.
        OSError: A file may not be read.
    """
    writers = read_writers(folder)
    own = _writer_of(folder, writers, entry, writer)
    found: dict[str, Then] = {}
    segments = own.segments.get("metrics", [])
    _add(found, older_by_seq(folder, segments, entry["seq"], limit=limit), True)
    main = _main([w for w in writers if w.attempt == own.attempt])
    moment = seconds_of(entry["ts"])
    if main is not own and moment is not None:
        moment -= _ahead_at(folder, own, main, moment)
        segments = main.segments.get("metrics", [])
        _add(found, older_by_time(folder, segments, moment, limit=limit), False)
    return found


def _ahead_at(
    folder: Path, own: WriterFiles, main: WriterFiles, moment: float
) -> float:
    """Return how far the clock of a process is ahead of the main one's."""
    if clock_of(own.source) == clock_of(main.source):
        return 0.0
    skews = _skews_near(folder, main, own, [own, main], moment)
    return _ahead(skews, own.source)


def _add(found: dict[str, Then], entries: Iterable[Found], is_exact: bool) -> None:
    """Add the newest value of each metric that is not there yet."""
    for one in entries:
        entry = one.entry
        metric, step = entry.get("metric"), entry.get("step")
        for name, value in metric.items() if type(metric) is dict else ():
            number = NONFINITE.get(value, value) if type(value) is str else value
            if name not in found and isinstance(number, int | float):
                own = step if type(step) is int else None
                found[name] = Then(number, own, entry["ts"], is_exact)


def _writer_of(
    folder: Path,
    writers: list[WriterFiles],
    entry: dict[str, Any],
    name: str | None,
) -> WriterFiles:
    """Return who wrote an entry: number and time of two processes are not the same."""
    seq, ts = entry.get("seq"), entry.get("ts")
    if type(seq) is int and isinstance(ts, str):
        for writer in writers:
            if name is not None and name != writer.name:
                continue
            for segments in writer.segments.values():
                for found in entries_by_seq(folder, segments, seq, seq):
                    if found.entry["ts"] == ts:
                        return writer
    raise MlogError(f"no entry with seq {seq!r} and ts {ts!r} in {folder}")
