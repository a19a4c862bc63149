"""Several runs as one: their last entries, then what is added, on one time line.

Between runs the order is that between the writers of one run. What is chosen is decided
here, too, so that lines which cannot fit are passed over without being parsed.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TypeAlias

from mlog.reader.blocks import MayFit
from mlog.reader.follow import Follower, Found
from mlog.reader.sources import Source, read_source

__all__ = [
    "RunsFollower",
    "Sources",
    "Wanted",
    "may_all",
    "may_have",
    "may_have_any",
]

Wanted: TypeAlias = Callable[[Found], bool]

# In any case they stand for "i" and "k", and are no ASCII.
_LIKE_LETTERS = ("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "\N{KELVIN SIGN}")
_LIKE_ASCII = tuple(letter.encode() for letter in _LIKE_LETTERS)
_ESCAPE = b"\\u"
_BACKSLASH = b"\\"


class Sources:
    """Knows who wrote an entry; looks each writer up once."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._known: dict[tuple[Path, str], Source] = {}

    def of(self, found: Found) -> Source:
        """Return the writer of an entry."""
        return self.at(found.folder, found.segment.writer)

    def at(self, folder: Path, writer: str) -> Source:
        """Return a writer of a run by its name."""
        key = (folder, writer)
        source = self._known.get(key)
        if source is None:
            source = read_source(*key)
            if source.since:  # else its first event may still come
                self._known[key] = source
        return source


class RunsFollower:
    """Reads the segments of some runs, also while they grow. For one thread at a time.

    Attributes:
        runs: A follower of each.
        found_any: Whether anything that was wanted has been found so far.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        wanted: Wanted = lambda found: True,
        may_fit: MayFit | None = None,
    ) -> None:
        """Start in front of everything that is there; nothing is read yet.

        Args:
            folders: Those of the runs.
            wanted: Which entries are of interest.
            may_fit: Whether one may be in some bytes, as for `Follower.newest`.
        """
        self.runs = [Follower(folder) for folder in folders]
        self.found_any = False
        self._wanted = wanted
        self._may_fit = may_fit

    @property
    def skipped(self) -> int:
        """Lines passed over so far because they are no entries."""
        return sum(run.skipped for run in self.runs)

    @property
    def torn(self) -> int:
        """How many segments end in a line without a newline."""
        return sum(run.torn for run in self.runs)

    @property
    def has_ended(self) -> bool:
        """Whether all runs have ended, as far as read."""
        return all(run.has_ended for run in self.runs)

    def newest(self) -> Iterator[Found]:
        """Yield what there is, the newest first; `poll` goes on behind the newest.

        Raises:
            OSError: A folder cannot be read.
        """
        each = [run.newest(self._may_fit) for run in self.runs]
        merged = heapq.merge(*each[::-1], key=itemgetter(0), reverse=True)
        return self._chosen(found for _, found in merged)

    def last(self, count: int) -> list[Found]:
        """Return the last entries there are, oldest first."""
        return list(islice(self.newest(), count))[::-1]

    def poll(self) -> Iterator[Found]:
        """Yield the entries added since the last call; the iterator is to be used up.

        Raises:
            OSError: A folder is gone or cannot be read.
        """
        if len(self.runs) == 1:
            return self._chosen(self.runs[0].poll())
        each = [_dated(run.poll()) for run in self.runs]
        merged = heapq.merge(*each, key=itemgetter(0))
        return self._chosen(found for _, found in merged)

    def _chosen(self, each: Iterator[Found]) -> Iterator[Found]:
        wanted = self._wanted
        for found in each:
            if wanted(found):
                self.found_any = True
                yield found


def _dated(each: Iterator[Found]) -> Iterator[tuple[str, Found]]:
    """Yield each entry with the greatest `ts` up to it."""
    latest = ""
    for found in each:
        latest = max(latest, found.entry["ts"])
        yield latest, found


# --- what may be in a line -----------------------------------------------------------


def may_have(needle: bytes, any_case: bool) -> MayFit | None:
    """Return whether lines may have a text in them; see `Needle`. None: any may."""
    if not needle:
        return None
    if not any_case:
        return lambda content: needle in content or _has_escape(content)

    def may_fit(content: bytes) -> bool:
        if needle in content or needle in content.lower() or _has_escape(content):
            return True
        return not content.isascii() and any(x in content for x in _LIKE_ASCII)

    return may_fit


def may_have_any(words: Sequence[bytes]) -> MayFit:
    """Return whether lines may have one of some words in them, as they are."""

    def may_fit(content: bytes) -> bool:
        for word in words:
            if word in content:
                return True
        return _has_escape(content)

    return may_fit


def _has_escape(content: bytes) -> bool:
    # One byte is found ten times as fast as two.
    return _BACKSLASH in content and _ESCAPE in content


def may_all(tests: Sequence[MayFit | None]) -> MayFit | None:
    """Return what says no where one of some tests does; None stands for no test."""
    given = [test for test in tests if test is not None]
    if len(given) < 2:
        return given[0] if given else None
    return lambda content: all(test(content) for test in given)
