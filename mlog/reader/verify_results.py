"""What checking a run finds; see `verify`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = [
    "MAX_KEPT",
    "ArtifactProblem",
    "Damage",
    "MissingRanks",
    "Numbers",
    "Range",
    "RunCheck",
    "Unreadable",
    "Verdict",
    "WriterCheck",
]

Verdict: TypeAlias = Literal["complete", "lost", "unreadable", "tail unproved"]
Range: TypeAlias = tuple[int, int]
"""First and last, both included."""

MAX_KEPT = 1_000
"""Most ranges, damages and names that are kept of a kind."""


@dataclass(slots=True)
class Numbers:
    """Some `seq`, as ranges.

    Attributes:
        count: How many they are.
        ranges: First and last of each range, both included; at most 1,000 of them.
        more: How many ranges are left out.
    """

    count: int = 0
    ranges: list[Range] = field(default_factory=list)
    more: int = 0

    def add(self, first: int, last: int) -> None:
        """Add numbers that are not among them; best in ascending order."""
        self.count += last - first + 1
        if self.ranges and not self.more and self.ranges[-1][1] == first - 1:
            self.ranges[-1] = (self.ranges[-1][0], last)
        elif len(self.ranges) < MAX_KEPT:
            self.ranges.append((first, last))
        else:
            self.more += 1


@dataclass(frozen=True, slots=True)
class Damage:
    """A place in a segment that is not as it should be.

    Attributes:
        segment: File name.
        line: Number of the line, from 1.
        offset: Bytes before it.
        size: Its bytes, without the newline.
        kind: "damaged": a line that holds no entry; "glued": one with something before
            a whole entry, which counts; "torn": what stands behind the last newline.
    """

    segment: str
    line: int
    offset: int
    size: int
    kind: Literal["damaged", "glued", "torn"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A segment that could not be read, and why."""

    segment: str
    reason: str


@dataclass(slots=True)
class WriterCheck:
    """What was found of one writer.

    Attributes:
        name: As in its file names; "" is the main writer of the first attempt.
        attempt: Which go at the run it belongs to.
        rank: None for a process that is none.
        alive: Whether it is still there.
        ended: Whether there is a `writer.end`.
        entries: How many were read.
        last: The highest number that was read, or that its end tells; -1: none.
        lost: Numbers that nothing explains; where files are unreadable, maybe these.
        in_flight: Numbers that may not have been given to a file when it died.
        dropped: Missing numbers that a `run.dropped` names.
        reasons: Of those drops.
        duplicates: Numbers that came once more.
        damaged: How many lines hold no entry.
        damages: Those, glued and torn ones; at most 1,000.
        absent: Segments that are not there although later ones are, where numbers are
            lost; at most 1,000.
        unreadable: Segments that could not be read.
    """

    name: str
    attempt: int = 1
    rank: int | None = None
    alive: bool = False
    ended: bool = False
    entries: int = 0
    last: int = -1
    lost: Numbers = field(default_factory=Numbers)
    in_flight: Numbers = field(default_factory=Numbers)
    dropped: Numbers = field(default_factory=Numbers)
    reasons: list[str] = field(default_factory=list)
    duplicates: Numbers = field(default_factory=Numbers)
    damaged: int = 0
    damages: list[Damage] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """What the numbers say, in a word or two."""
        if self.lost.count:
            return "unreadable" if self.unreadable else "lost"
        return "complete" if self.ended else "tail unproved"

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, damaged or out of reach, as far as files can tell."""
        return not (self.lost.count or self.damaged or self.unreadable)


@dataclass(frozen=True, slots=True)
class MissingRanks:
    """Ranks that an attempt should have had, and of which there is nothing.

    Attributes:
        attempt: Number of the attempt.
        world_size: How many ranks its writers tell of.
        ranks: The missing ones.
    """

    attempt: int
    world_size: int
    ranks: Numbers


@dataclass(frozen=True, slots=True)
class ArtifactProblem:
    """An artifact that is not what the run says it put out.

    Attributes:
        path: Below `artifacts/`.
        problem: "missing", "size", "sha256", or "unreadable".
        expected, found: Size or checksum; of one that cannot be read why, in `found`.
    """

    path: str
    problem: Literal["missing", "size", "sha256", "unreadable"]
    expected: int | str | None = None
    found: int | str | None = None


@dataclass(slots=True)
class RunCheck:
    """What was found of a run.

    Attributes:
        folder: The run's.
        writers: By attempt, rank (those without first) and name.
        missing_ranks: By attempt.
        artifacts: How many it tells of.
        hashed: Whether their content was looked at, not only their size.
        problems: Those that differ.
    """

    folder: Path
    writers: list[WriterCheck] = field(default_factory=list)
    missing_ranks: list[MissingRanks] = field(default_factory=list)
    artifacts: int = 0
    hashed: bool = False
    problems: list[ArtifactProblem] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost or damaged, as far as files can tell; False: no files."""
        if not self.writers or self.missing_ranks or self.problems:
            return False
        return all(writer.is_whole for writer in self.writers)
