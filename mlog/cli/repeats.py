"""Lines that say the same, as one: repeats (`×120`), and those of ranks (`×8 ranks`).

Two lines say the same when nothing differs but time, number and process. A line belongs
to an earlier one if its process said nothing else in between, or if its process had not
said so yet and the earlier one is at most two seconds old: ranks write at nearly one
time. What is put together stands where the first of the lines stood. Events, and lines
in which metrics differ, are never put together.
"""

from collections.abc import Callable, Iterable, Iterator

from mlog.reader.follow import Found
from mlog.reader.sources import Source
from mlog.reader.times import seconds_of

__all__ = ["Group", "Repeats", "grouped", "key_of"]

_MOST_OPEN = 64
_MOST_AT_ONCE = 2_000
"""Of the same moment, as many ranks write a lot in a burst."""

_MOST_APART = 2.0
_HELD = 1.0


class Group:
    """Some lines that say the same.

    Attributes:
        first: The first of them.
        key: What they say; b"" for what is never put together.
        count: How many there are.
        is_closed: Whether no line joins it any more.
    """

    __slots__ = ("_last", "_others", "count", "first", "is_closed", "key")

    def __init__(self, first: Found, key: bytes = b"") -> None:
        """Begin with one line."""
        self.first = first
        self.key = key
        self.count = 1
        self.is_closed = False
        self._last = first
        self._others: set[str] | None = None

    @property
    def last(self) -> str:
        """Time of the last of them."""
        ts: str = self._last.entry["ts"]
        return ts

    @property
    def writers(self) -> set[str]:
        """Who said it."""
        return {self.first.segment.writer, *(self._others or ())}

    def join(self, found: Found) -> None:
        """Put one more line to them."""
        self.count += 1
        self._last = found
        if self._others is None:
            self._others = set()
        self._others.add(found.segment.writer)

    def says_the_same(self, found: Found, key: bytes) -> bool:
        """Whether a line of the same run with a key could be put to this group."""
        return key == self.key and found.folder is self.first.folder

    def add(self, other: "Group") -> None:
        """Put the lines of a later group to this one."""
        self.count += other.count
        self._last = other._last
        self._others = (self._others or set()) | other.writers

    def note(self, sources: Iterable[Source] = ()) -> str:
        """Say how many there are; "" for one.

        Args:
            sources: Who the writers are.
        """
        if self.count == 1:
            return ""
        who = len(self.writers)
        if who == 1:
            return f"×{self.count}"
        are_ranks = sum(source.rank is not None for source in sources) >= who - 1
        name = "ranks" if are_ranks else "processes"
        return f"×{who} {name}" if self.count == who else f"×{self.count}, {who} {name}"


class Repeats:
    """Groups lines while they come: what repeats the last shown line is held back.

    It is shown once a second, or when something else comes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with nothing shown.

        Args:
            clock: Gives seconds.
        """
        self._clock = clock
        self._shown: Group | None = None
        self._shown_at = 0.0
        self._held: Group | None = None

    def __call__(self, each: Iterable[Found]) -> Iterator[Group]:
        """Yield what is to be shown now, of what has come now and before."""
        for group in grouped(each):
            yield from self._of(group)
        if self._held is not None and self._clock() - self._shown_at >= _HELD:
            yield from self.rest()

    def begin(self, groups: Iterable[Group]) -> Iterator[Group]:
        """Yield groups that are there at the beginning as they are."""
        for group in groups:
            self._shown, self._shown_at = group, self._clock()
            yield group

    def _of(self, group: Group) -> Iterator[Group]:
        """Yield what is to be shown when a group comes."""
        shown = self._shown
        if shown is not None and group.key:
            if shown.says_the_same(group.first, group.key):
                if self._held is None:
                    self._held = group
                else:
                    self._held.add(group)
                return
        yield from self.rest()
        self._shown, self._shown_at = group, self._clock()
        yield group

    def rest(self) -> Iterator[Group]:
        """Yield what is held back."""
        if self._held is not None:
            held, self._held = self._held, None
            self._shown_at = self._clock()
            yield held


def key_of(found: Found) -> bytes:
    """Return what a line says, without its time and number; b"" where none can equal.

    Those two stand before all else in lines that mlog has written; of others no two
    are equal.
    """
    if "event" in found.entry:
        return b""
    raw = found.raw
    begin = raw.find(b'"level":')
    return raw[begin:] if begin > 0 else b""


def grouped(each: Iterable[Found]) -> Iterator[Group]:
    """Yield entries in groups of those that say the same, by the first of each."""
    groups: dict[int, Group] = {}  # those that may still grow, by their number
    by_key: dict[bytes, int] = {}
    last_of: dict[tuple[int, str], Group] = {}
    number = 0
    for found in each:
        key, writer = key_of(found), (id(found.folder), found.segment.writer)
        group = last_of.get(writer)
        if group is None or group.key != key or not key or group.is_closed:
            group = groups.get(by_key.get(key, -1)) if key else None
            if group is not None and not _is_of_another(group, found):
                group = None
        if group is not None:
            group.join(found)
        else:
            group = groups[number] = Group(found, key)
            by_key[key] = number
            number += 1
            while len(groups) > _MOST_OPEN and _is_over(groups, found):
                yield _closed(groups, by_key, next(iter(groups)))
        last_of[writer] = group
    yield from groups.values()


def _is_over(groups: dict[int, Group], found: Found) -> bool:
    """Whether nothing will be put to the first group: it is too old, or one of many."""
    first, now = groups[next(iter(groups))].first.entry["ts"], found.entry["ts"]
    if len(groups) > _MOST_AT_ONCE:
        return True
    if first[:19] == now[:19]:  # within a second, and cheaper than to count
        return False
    return not _is_near(first, now)


def _is_near(first: str, ts: str) -> bool:
    begin, now = seconds_of(first), seconds_of(ts)
    return begin is not None and now is not None and now - begin <= _MOST_APART


def _closed(groups: dict[int, Group], by_key: dict[bytes, int], number: int) -> Group:
    group = groups.pop(number)
    group.is_closed = True
    if by_key.get(group.key) == number:
        del by_key[group.key]
    return group


def _is_of_another(group: Group, found: Found) -> bool:
    """Whether a line is that of another process at nearly the same time."""
    if found.segment.writer in group.writers:
        return False
    if found.folder is not group.first.folder:
        return False
    return _is_near(group.first.entry["ts"], found.entry["ts"])
