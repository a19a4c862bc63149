"""What a page says of a run, read once: events, curves, and trouble in the logs.

Invariants:
    - Whatever the files hold, a page can be made of it.
    - Work is bounded: of long logs the end is read, of very many points a sample; and
      the page says so.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from mlog.layout import parse_segment
from mlog.reader.blocks import lines_in
from mlog.reader.condense import Summary, summarize
from mlog.reader.fields import mapping_from, text_from
from mlog.reader.follow import parse_line
from mlog.reader.page_words import count_text, moment, one_line, span, value_text
from mlog.reader.series import (
    History,
    are_numbers,
    plain,
    read_histories,
    read_values,
)
from mlog.reader.sparkline import sparkline
from mlog.reader.state import RunState, read_state

__all__ = [
    "SAMPLE",
    "SYMBOLS",
    "LogFacts",
    "Page",
    "Pictures",
    "curve_text",
    "errors_of",
    "facts_of",
    "heading",
    "odd_text",
    "read_others",
    "read_page",
    "tail_of",
]

SYMBOLS = {
    **{"Running": "●", "Completed": "✓", "Failed": "✕"},
    **{"Canceled": "■", "NotResponding": "?"},
}
"""What stands before the status."""

_CHILDREN = 4
Pictures: TypeAlias = Mapping[str, tuple[str, int | None]]
"""Name and step of what was logged as a picture, by the artifact's path."""

SAMPLE = "So many points: curves show a sample of them, and may miss spikes."
"""What a page says whose `is_sample` is set."""

_ALL_SERIES = 8 << 20  # bytes of metrics up to which all are read
_MAX_SERIES = 40 << 20  # up to which those that are drawn are read
_BLOCKS, _BLOCK = 512, 1 << 15  # what is read of longer ones
_MAX_LOG = 32 << 20  # bytes of logs, from their ends
_MAX_TRACEBACK = 10_000
_ERRORS = (b"ERROR", b"CRITICAL")


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What the logs say of trouble.

    Attributes:
        warnings: Entries of level WARNING.
        errors: Entries of level ERROR and CRITICAL.
        last_error: The newest of those, as it was written.
        is_part: Whether the logs were too long to be read from their beginnings.
    """

    warnings: int = 0
    errors: int = 0
    last_error: dict[str, Any] | None = None
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page of a run shows, read once.

    Attributes:
        state: What the events say.
        histories: Points of the metrics that can be drawn, by name.
        summaries: All metrics in numbers.
        others: What was logged and is no number: how often, and the last as a text.
        pictures: What was logged as a picture or another file.
        log: What the logs say.
        is_sample: Whether there are too many points to draw all, so that `histories`
            has only some of them.
    """

    state: RunState
    histories: Mapping[str, History]
    summaries: Mapping[str, Summary]
    others: Mapping[str, tuple[int, str]]
    pictures: Pictures
    log: LogFacts
    is_sample: bool = False


def read_page(folder: Path, *, most: int = 12) -> Page:
    """Read what a page shows of a run.

    Args:
        folder: The run's.
        most: How many metrics to read the points of, where there are many points.

    Raises:
        RunNotFoundError: There is no run in the folder.
        OSError: The folder may not be read.
    """
    state = read_state(folder)
    size = sum(status.st_size for _, status in _segments(folder, "metrics"))
    names = _first_names(state, most) if size > _ALL_SERIES else None
    if size > _MAX_SERIES:
        found = _sample(state, names)
    else:
        found = read_histories(folder, names)
    histories = {name: h for name, h in found.items() if _is_drawn(h)}
    rest = {name: h for name, h in found.items() if name not in histories}
    others = {name: _other(history) for name, history in rest.items()}
    summaries = {name: _summary(facts) for name, facts in state.metrics.items()}
    for name, history in histories.items():
        if size <= _MAX_SERIES or name not in summaries:
            summaries[name] = summarize(history.steps, history.values)
    pictures = _pictures(state, rest)
    log = _read_log(folder)
    is_sample = size > _MAX_SERIES
    return Page(state, histories, summaries, others, pictures, log, is_sample)


def read_others(state: RunState) -> dict[str, tuple[int, Any]]:
    """Return what a run logged that is no number: how often, and the last, as `plain`.

    Of a run with many points nothing is: this is for a look in passing.
    """
    size = sum(status.st_size for _, status in _segments(state.folder, "metrics"))
    if size > _ALL_SERIES:
        return {}
    return {
        name: (len(values), plain(values[-1]))
        for name, (values, is_numeric) in read_values(state.folder).items()
        if not is_numeric and not are_numbers(values)
    }


def _first_names(state: RunState, most: int) -> list[str] | None:
    """Return the first metrics with several points; None where none are known."""
    several = (n for n, facts in state.metrics.items() if _summary(facts).count > 1)
    return list(islice(several, max(1, most))) or None


def _is_drawn(history: History) -> bool:
    return are_numbers(_listed(history.values))


def _pictures(state: RunState, histories: Mapping[str, History]) -> Pictures:
    """Return which artifacts were logged as what, in order; the last time counts."""
    return {
        value: (name, step if history.has_steps else None)
        for name, history in histories.items()
        for step, value, _ in history
        if isinstance(value, str) and value in state.artifacts
    }


def _other(history: History) -> tuple[int, str]:
    """Return how often something was logged that is no number, and what it was last."""
    return len(history), one_line(value_text(_listed(history.values)[-1]), 120)


def _listed(values: Any) -> list[Any]:
    listed: list[Any] = values.tolist() if hasattr(values, "tolist") else values
    return listed


def _segments(folder: Path, stream: str) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a stream, the last changed first."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            segment = parse_segment(entry.name)
            if segment is not None and segment.stream == stream:
                found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda one: one[1].st_mtime_ns, reverse=True)


def _summary(facts: Mapping[str, Any]) -> Summary:
    """Return what the end of a run says of a metric."""
    count = facts.get("count")
    return Summary(
        count=count if isinstance(count, int) else 0,
        last=_number(facts.get("last")),
        low=_number(facts.get("min")),
        high=_number(facts.get("max")),
    )


def _number(value: Any) -> float:
    try:
        return float(value)  # also "NaN" and "-Infinity", as the format writes them
    except (TypeError, ValueError, OverflowError):
        return math.nan


# --- a sample of the points --------------------------------------------------------


def _sample(state: RunState, names: list[str] | None) -> dict[str, History]:
    """Return some of the points of metrics, evenly out of the files.

    Args:
        state: Of the run; ranks other than 0 are left out.
        names: Which metrics. None: all.
    """
    ranks = {writer.name: writer.rank for writer in state.writers}
    wanted = None if names is None else frozenset(names)
    points: dict[str, tuple[list[int], list[float]]] = {
        name: ([], []) for name in names or ()
    }
    for entry in _some_entries(state.folder, lambda writer: not ranks.get(writer)):
        metric, step = mapping_from(entry.get("metric")), entry.get("step")
        for name in metric if wanted is None else wanted & metric.keys():
            steps, values = points.setdefault(name, ([], []))
            steps.append(step if isinstance(step, int) else len(steps))
            values.append(_number(metric[name]))
    return {
        name: History(name, steps, values, [], has_steps=True)
        for name, (steps, values) in points.items()
        if values
    }


def _some_entries(
    folder: Path, is_wanted: Callable[[str], bool]
) -> Iterator[dict[str, Any]]:
    """Yield entries of the metrics of some writers, from blocks evenly apart."""
    found = [
        (path, status.st_size)
        for path, status in reversed(_segments(folder, "metrics"))
        if (segment := parse_segment(path.name)) and is_wanted(segment.writer)
    ]
    apart = max(_BLOCK, sum(size for _, size in found) // _BLOCKS)
    for path, size in found:
        for start in range(0, size, apart):
            lines = lines_in(path, start, min(_BLOCK, size - start))
            entries = map(parse_line, lines.splitlines())
            yield from (entry for entry in entries if entry is not None)


# --- the log -----------------------------------------------------------------------


def _read_log(folder: Path) -> LogFacts:
    """Count warnings and errors, and find the last error, without parsing all lines."""
    warnings, errors, left, is_part = 0, 0, _MAX_LOG, False
    last: dict[str, Any] | None = None
    for path, status in _segments(folder, "logs"):
        size = min(left, status.st_size)
        is_part |= size < status.st_size
        left -= size
        content = lines_in(path, status.st_size - size, size)
        warnings += sum(1 for _ in _lines_of(content, b"WARNING"))
        for level in _ERRORS:
            places = list(_lines_of(content, level))
            errors += len(places)
            if places:
                last = _later(last, _entry_at(content, places[-1]))
    return LogFacts(warnings, errors, last, is_part)


def _lines_of(content: bytes, level: bytes) -> Iterator[int]:
    """Yield where the lines of a level begin.

    The level is the third key of an entry; what looks the same farther behind is some
    field of the caller's.
    """
    word = b'"level":"%b"' % level
    place = content.find(word)
    while place >= 0:
        begin = content.rfind(b"\n", 0, place) + 1
        if content.count(b'"', begin, place) == 6:  # ts, its value, seq
            yield begin
        place = content.find(word, place + 1)


def _entry_at(content: bytes, begin: int) -> dict[str, Any] | None:
    return parse_line(content[begin : content.find(b"\n", begin)])


def _later(
    one: dict[str, Any] | None, other: dict[str, Any] | None
) -> dict[str, Any] | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda entry: str(entry["ts"]))


# --- what every kind of page says --------------------------------------------------


def facts_of(page: Page) -> dict[str, str]:
    """Return what there is to say of a run besides its name and status."""
    state = page.state
    git = mapping_from(state.start.get("git"))
    commit = text_from(git.get("commit"))[:10]
    hosts = {writer.host: None for writer in state.writers if writer.host}
    several = len(state.writers) > 1
    facts = {
        "id": state.run_id,
        "started": moment(state.created),
        "duration": span(state.duration),
        "attempt": str(state.attempt) if state.attempt > 1 else "",
        "children": _children(state),
        "parent": Path(state.parent).name if state.parent else "",
        "host": ", ".join(islice(hosts, 4)),
        "processes": str(len(state.writers)) if several else "",
        "log": _trouble(page.log),
        "commit": " ".join(filter(None, (commit, text_from(git.get("branch"))))),
    }
    return {name: text for name, text in facts.items() if text}


def heading(state: RunState) -> tuple[str, str]:
    """Return experiment and name."""
    return one_line(state.experiment or "?"), one_line(state.name or state.run_id)


def _children(state: RunState) -> str:
    """Say how many children there are, and which were the first."""
    ids = [Path(child).name for child in state.children[:_CHILDREN]]
    more = ", …" if len(state.children) > len(ids) else ""
    return f"{len(state.children):,}: {', '.join(ids)}{more}" if ids else ""


def _trouble(log: LogFacts) -> str:
    """Say how many warnings and errors there are."""
    counts = {"warning": log.warnings, "error": log.errors}
    texts = [count_text(number, noun) for noun, number in counts.items() if number]
    where = f" in the last {_MAX_LOG >> 20} MB of the log" if log.is_part else ""
    return (", ".join(texts) or "no warnings or errors") + where


def errors_of(page: Page) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what went wrong: what ended the run, and the last error in its log."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    if page.state.error:
        found.append(("Ended by", page.state.error))
    entry = page.log.last_error
    if entry is not None and not _is_same(entry, page.state.error):
        found.append(
            (f"Last error, {moment(text_from(entry['ts']))}", _error_of(entry))
        )
    return found


def _is_same(entry: Mapping[str, Any], error: Mapping[str, Any] | None) -> bool:
    """Whether an entry tells of the exception that ended the run."""
    exc = mapping_from(entry.get("exc"))
    if not exc or not error:
        return False
    return all(exc.get(key) == error.get(key) for key in ("type", "msg"))


def _error_of(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return an entry of the log as what `run.end` says of an error."""
    error = mapping_from(entry.get("exc"))
    msg = text_from(entry.get("msg")) or text_from(error.get("msg"))
    where = text_from(entry.get("logger"))
    return {
        "type": f"{where}: {text_from(entry.get('level'))}" if where else "",
        "msg": msg,
        "traceback": text_from(error.get("traceback")) or text_from(entry.get("stack")),
    }


def tail_of(traceback: str) -> str:
    """Return the end of a traceback, where the error is."""
    if len(traceback) <= _MAX_TRACEBACK:
        return traceback
    return "…" + traceback[-_MAX_TRACEBACK:]


def odd_text(found: Summary) -> str:
    """Say how many points are not finite."""
    counts = {"NaN": found.nan, "Inf": found.up, "-Inf": found.down}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def curve_text(history: History | None, width: int) -> str:
    """Return the curve of blocks of a metric with more than one point."""
    if history is None or len(history) < 2:
        return ""
    return sparkline(history.values, width)
