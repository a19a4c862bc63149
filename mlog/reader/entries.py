"""Entries of a run: which writers there are, what stands in their segments, in order.

Invariants:

- What stood in a segment when it was opened is read, up to its last newline; writers
  may go on meanwhile. Nothing is locked or written, and no link is followed.
- Whatever is no entry is passed over, and its neighbours are read.
- A block has its entries in order of `seq`. Threads of a writer may swap entries over
  the border of two blocks; `iter_entries` sets that right as far as one block reaches.

Lines are parsed a block at a time, as one JSON array: that takes less time than one by
one. A block that is no array of whole entries is parsed line by line.

Source of the order: the README, "File format".
"""

import heapq
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, get_args

import orjson

from mlog.errors import RunNotFoundError
from mlog.layout import SegmentName, parse_segment
from mlog.reader.blocks import cut_lines, read_lines, read_part
from mlog.reader.follow import parse_line
from mlog.reader.search import Choice, parse_search
from mlog.reader.sources import Source, read_source
from mlog.reader.times import Moment, moment_of, seconds_of
from mlog.types import Stream

__all__ = [
    "NONFINITE",
    "Block",
    "WriterFiles",
    "floats_placed",
    "iter_entries",
    "read_blocks",
    "read_writers",
    "seconds_of",
]

NONFINITE = {
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
"""Floats that JSON has no numbers for, by the texts that stand for them."""

Entry: TypeAlias = dict[str, Any]

_Wanted: TypeAlias = Callable[[Entry], bool]

_SEQ, _TS = itemgetter("seq"), itemgetter("ts")


class Block(NamedTuple):
    """Some entries that follow each other in a segment, in order of `seq`.

    Attributes:
        entries: At least one; `ts` is a text and `seq` an integer, the rest unchecked.
        seqs: The `seq` of each.
    """

    entries: list[Entry]
    seqs: list[int]


@dataclass(slots=True)
class WriterFiles:
    """One process of a run in one attempt.

    Attributes:
        name: As in its files; empty for the main process of the first attempt.
        attempt: From 1.
        rank: None for a process that is no rank.
        source: All that is known of it.
        segments: Its segments by stream, in order of their numbers.
    """

    name: str
    attempt: int
    rank: int | None
    source: Source
    segments: dict[Stream, list[SegmentName]] = field(default_factory=dict)


# --- iter_entries --------------------------------------------------------------------


def iter_entries(
    folder: Path,
    stream: Stream | None = None,
    *,
    level: int | str | None = None,
    logger: str | None = None,
    step: int | tuple[int, int] | range | None = None,
    since: Moment | None = None,
    rank: int | None = None,
    filter: str | Callable[[Entry], bool] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the entries of a run in order: by `seq`, between processes by time.

    Reads as it goes; what is written after the call may or may not be there. An entry
    is the dict of its line, except that NaN and infinities of metrics are floats. An
    entry without a level, logger or step, as events are, passes no filter for it.

    Args:
        folder: The run's.
        stream: "logs", "metrics" or "events". None: all.
        level: From this level on, by number or name; an entry's own level that this
            process has no name for counts as INFO.
        logger: The logger's name, or a pattern for it (`train.*`).
        step: This step; from the first to the last of two, both included; or a range.
        since: From this time on: RFC 3339 with its zone, a datetime with its zone, or
            seconds since the epoch.
        rank: Of this rank only; 0 includes processes that are no rank.
        filter: A line of text such as `level>=warning -retry loss>3` (see the README,
            "Filters"), or a function of an entry.

    Raises:
        RunNotFoundError: There is no such folder.
        TypeError, ValueError: A filter is none.
    """
    if stream is not None and stream not in get_args(Stream):
        expected = ", ".join(map(repr, get_args(Stream)))
        raise ValueError(f"stream must be one of {expected} or None, got {stream!r}")
    if rank is not None and type(rank) is not int:
        raise TypeError(f"rank must be an integer or None, got {rank!r}")
    tests = list(_tests(level, logger, step, since))
    search = parse_search(filter) if isinstance(filter, str) else None
    writers = [w for w in read_writers(folder) if rank in (None, w.rank or 0)]
    each = []
    for writer in writers:
        found = _running(_of_writer(folder, writer, stream), _TS)
        if search is not None:
            found = _searched(found, search, writer.source)
        each.append(found)
    merged = (entry for _, entry in heapq.merge(*each, key=itemgetter(0)))
    if tests:
        merged = (e for e in merged if all(test(e) for test in tests))
    entries = map(floats_placed, merged)
    if filter is None or search is not None:
        return entries
    if not callable(filter):
        raise TypeError(f"filter must be a text or a function, got {filter!r}")
    wanted = filter
    return (entry for entry in entries if wanted(entry))


def _searched(
    found: Iterable[tuple[Any, Entry]], search: Choice, source: Source
) -> Iterator[tuple[Any, Entry]]:
    return (one for one in found if search((one[1], source)))


def _of_writer(
    folder: Path, writer: WriterFiles, stream: Stream | None
) -> Iterator[Entry]:
    """Yield the entries of one writer's streams."""
    chosen = [s for name, s in writer.segments.items() if stream in (None, name)]
    each = (_running(_by_seq(read_blocks(folder, s)), _SEQ) for s in chosen)
    return (entry for _, entry in heapq.merge(*each, key=itemgetter(0)))


def _by_seq(blocks: Iterable[Block]) -> Iterator[Entry]:
    """Yield entries in order of `seq`, where none is out of place by over a block."""
    held: list[Entry] = []
    for block in blocks:
        count = len(held)
        held += block.entries
        held.sort(key=_SEQ)
        yield from held[:count]
        del held[:count]
    yield from held


def _running(
    entries: Iterable[Entry], key: Callable[[Entry], Any]
) -> Iterator[tuple[Any, Entry]]:
    """Yield each entry with the greatest key up to it."""
    greatest = None
    for entry in entries:
        own = key(entry)
        if greatest is None or own > greatest:
            greatest = own
        yield greatest, entry


def floats_placed(entry: Entry) -> Entry:
    """Put floats in the place of the texts that stand for them."""
    metric = entry.get("metric")
    if type(metric) is dict:
        for name, value in metric.items():
            if type(value) is str and value in NONFINITE:
                metric[name] = NONFINITE[value]
    return entry


# --- filters -------------------------------------------------------------------------


def _tests(
    level: int | str | None,
    logger: str | None,
    step: int | tuple[int, int] | range | None,
    since: Moment | None,
) -> Iterator[_Wanted]:
    """Yield what decides about an entry, the cheapest first."""
    if step is not None:
        yield partial(_has_step, _steps(step))
    if logger is not None:
        yield partial(_has_logger, logger)
    if level is not None:
        names = logging.getLevelNamesMapping()
        yield partial(_has_level, names, _level_number(names, level))
    if since is not None:
        yield partial(_is_since, moment_of(since, "since"))


def _has_step(steps: range, entry: Entry) -> bool:
    step = entry.get("step")
    return type(step) is int and step in steps


def _has_logger(pattern: str, entry: Entry) -> bool:
    name = entry.get("logger")
    return type(name) is str and (name == pattern or fnmatchcase(name, pattern))


def _has_level(names: dict[str, int], least: int, entry: Entry) -> bool:
    name = entry.get("level")
    return type(name) is str and _number_of_level(names, name) >= least


def _is_since(begin: float, entry: Entry) -> bool:
    seconds = seconds_of(entry["ts"])
    return seconds is not None and seconds >= begin


def _steps(step: int | tuple[int, int] | range) -> range:
    """Return the steps that a filter stands for."""
    if isinstance(step, range):
        return step
    if type(step) is int:
        return range(step, step + 1)
    if isinstance(step, tuple | list) and [type(n) for n in step] == [int, int]:
        first, last = step
        return range(first, last + 1)
    raise TypeError(f"step must be an integer, (first, last) or a range, got {step!r}")


def _level_number(names: dict[str, int], level: int | str) -> int:
    """Return the number of a level that a caller named."""
    if type(level) is int:
        return level
    if isinstance(level, str) and (number := names.get(level.upper())) is not None:
        return number
    expected = ", ".join(sorted(names, key=lambda name: (names[name], name)))
    raise ValueError(f"level must be a number or one of {expected}, got {level!r}")


def _number_of_level(names: dict[str, int], name: str) -> int:
    """Return the number of a level that an entry names."""
    number = names.get(name)
    if number is None:
        word, _, digits = name.partition(" ")  # "Level 15"
        known = word == "Level" and digits.isascii() and digits.isdigit()
        number = int(digits[:9]) if known else logging.INFO
    return number


# --- writers -------------------------------------------------------------------------


def read_writers(folder: Path) -> list[WriterFiles]:
    """Return the writers of a run, by attempt, rank (those without first) and name.

    Raises:
        RunNotFoundError: There is no such folder.
    """
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise RunNotFoundError(f"no run folder {folder}") from exc
    found = filter(None, map(parse_segment, names))
    writers: dict[str, WriterFiles] = {}
    for segment in sorted(found, key=lambda s: (s.writer, s.stream, s.number)):
        writer = writers.get(segment.writer)
        if writer is None:
            writer = writers[segment.writer] = _writer(folder, segment.writer)
        writer.segments.setdefault(segment.stream, []).append(segment)
    return sorted(
        writers.values(),
        key=lambda w: (w.attempt, -1 if w.rank is None else w.rank, w.name),
    )


def _writer(folder: Path, name: str) -> WriterFiles:
    """Return who a writer is, from its first event, else from its name."""
    source = read_source(folder, name)
    return WriterFiles(name, source.attempt, source.rank, source)


# --- segments ------------------------------------------------------------------------


def read_blocks(folder: Path, segments: Iterable[SegmentName]) -> Iterator[Block]:
    """Yield the entries of a writer's segments of one stream, a block at a time.

    A segment that is not there, or that is no regular file, has none.

    Raises:
        OSError: A segment cannot be read.
    """
    for segment in segments:
        path = folder / segment.filename
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        read = partial(read_part, path, status.st_ino)
        for _, lines in read_lines(read, 0, status.st_size):
            yield from filter(None, map(_parse, cut_lines(lines)))


def _parse(lines: bytes) -> Block | None:
    """Return the entries in some lines, or None where there are none."""
    array = lines.replace(b"\n", b",\n")
    count = len(array) - len(lines) + 1
    try:
        entries = orjson.loads(b"[%b]" % array)
        seqs = [entry["seq"] for entry in entries if type(entry["ts"]) is str]
        whole = len(entries) == len(seqs) == count and type(sum(seqs)) is int
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        found = map(parse_line, lines.split(b"\n"))
        entries = [entry for entry in found if entry is not None]
        seqs = list(map(_SEQ, entries))
    if not seqs:
        return None
    if (ordered := sorted(seqs)) != seqs:
        entries.sort(key=_SEQ)
    return Block(entries, ordered)
