"""The seam between the shipper and a sink: what is sent, and what came of it.

The shipper owns order, retries, limits, cursors and dead letters. A sink owns one wire
format: it turns a batch into a request, and the reply into a `SendResult`. So a sink is
one small file, knows no clock, keeps nothing on the disk, and never tries again itself.

A factory makes it, named by the scheme of the URL (`mlog.shipping.sinks`) or by an
entry point of the group `mlog.sinks`: `def open_sink(target: Target) -> Sink`.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias, runtime_checkable

import orjson

from mlog.folder import PRIVATE, Folder
from mlog.layout import SegmentName
from mlog.types import Stream

__all__ = [
    "ALL_STREAMS",
    "DELIVERED",
    "Batch",
    "Factory",
    "Outcome",
    "Rejected",
    "RunEnd",
    "RunFacts",
    "RunFile",
    "SendResult",
    "Sink",
    "Target",
    "Traits",
    "WriterFacts",
]

ALL_STREAMS: frozenset[Stream] = frozenset(("logs", "metrics", "events"))

_SEQ = re.compile(rb'\{"ts":"[^"]*","seq":(\d+)[,}]')

Outcome: TypeAlias = Literal["delivered", "retry", "too_large", "refused", "blocked"]
"""What came of sending something.

- `delivered`: it is there for good; what `rejected` names is not, and never will be.
- `retry`: nothing is known to be wrong with it: server down, busy, no answer in time.
- `too_large`: the same in smaller requests may go through (413).
- `refused`: something in it is wrong for good. The shipper halves it until the wrong
  entries are alone; only those become dead letters.
- `blocked`: wrong are the credentials, the address or the server's settings; nothing
  will go through before somebody changes them (401, 403, a redirect, 404 of the whole
  address). The data is kept; after a pause the credentials are asked for again.
"""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Entries of a delivered batch that the sink did not keep.

    Attributes:
        reason: In the sink's words.
        index: Which entry of the batch. None: the sink does not say which.
        count: How many; more than 1 only without an index.
    """

    reason: str
    index: int | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class SendResult:
    """What came of one call of a sink.

    Attributes:
        outcome: See `Outcome`.
        error: One line for people, without secrets; "" when delivered.
        retry_after: Seconds the server asks to wait, None if it does not.
        rejected: Only with `delivered`.
    """

    outcome: Outcome
    error: str = ""
    retry_after: float | None = None
    rejected: tuple[Rejected, ...] = ()


DELIVERED = SendResult("delivered")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of a run before any of its entries is parsed.

    Attributes:
        run_id: Name of the run's folder.
        experiment: As the user wrote it; else the name of the folder.
        name: Display name; the id where none was given.
        folder: The run's folder; a sink may read in it, never write.
        parent: Folder of the run it is a child of, as recorded; it may be gone.
        created: Time of the first `run.start`, RFC 3339; "" where none is left.
        start: What `run.start` says (argv, git, python, cwd, …).
    """

    run_id: str
    experiment: str
    name: str
    folder: Path
    parent: str | None = None
    created: str = ""
    start: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`<experiment folder>/<run id>`: names the run below any root."""
        return "/".join(self.folder.parts[-2:])


@dataclass(frozen=True, slots=True)
class WriterFacts:
    """The process whose entries a batch holds.

    Attributes:
        name: As in its files; "" is the main process of the first attempt.
        attempt: From 1.
        rank: None for a process that is no rank.
        world_size: Number of ranks, 1 when alone.
        host, user: Where it runs and as whom; "" where it does not say.
        pid: None where it does not say.
        start: All that its `writer.start` says.
    """

    name: str = ""
    attempt: int = 1
    rank: int | None = None
    world_size: int = 1
    host: str = ""
    user: str = ""
    pid: int | None = None
    start: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Some whole lines of one segment that follow each other; in order.

    Lines below the level asked for are left out; they count as sent with the batch. A
    batch that had to be tried again has the same `key` and the same bytes; after a
    crash, too, if the sink's traits say `needs_plan`.

    Attributes:
        run: Whose they are.
        writer: Who wrote them.
        segment: Where they stand; gives stream and number.
        start, end: Bytes of the segment that the batch stands for.
        body: The lines, each with its newline; at least one.
        starts: Where each line begins in the segment. None: they follow each other
            from `start` without a gap.
        gap: Whether it is one event, `ship.gap`, which stands for what was removed of
            the segment before it could be sent; `start` is where that begins.
    """

    run: RunFacts
    writer: WriterFacts
    segment: SegmentName
    start: int
    end: int
    body: bytes = field(repr=False)
    starts: tuple[int, ...] | None = field(default=None, repr=False)
    gap: bool = False

    @property
    def stream(self) -> Stream:
        """Which stream the entries belong to."""
        return "events" if self.gap else self.segment.stream

    @property
    def key(self) -> str:
        """`<experiment>/<run id>/<segment>:<start>-<end>`, the same after any crash."""
        end = "gap" if self.gap else self.end
        return f"{self.run.key}/{self.segment.filename}:{self.start}-{end}"

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without their newlines."""
        return self.body[:-1].split(b"\n")

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """The entries, parsed when first asked for; read only.

        A metric that is no JSON number is the text "NaN", "Infinity" or "-Infinity".
        """
        found: list[dict[str, Any]] = orjson.loads(
            b"[" + self.body[:-1].replace(b"\n", b",") + b"]"
        )
        return found

    @cached_property
    def count(self) -> int:
        """Number of entries."""
        return self.body.count(b"\n")

    @property
    def first_seq(self) -> int:
        """The `seq` of the first line; threads may have swapped neighbours."""
        return _seq_in(self.body[: self.body.find(b"\n")])

    @property
    def last_seq(self) -> int:
        """The `seq` of the last line."""
        return _seq_in(self.body[self.body.rfind(b"\n", 0, -1) + 1 : -1])

    def part(self, first: int, stop: int) -> "Batch":
        """Return the batch of the entries from `first` up to before `stop`."""
        starts = self._starts
        start = self.start if first == 0 else starts[first]
        end = self.end if stop == self.count else starts[stop]
        lines = self.lines[first:stop]
        own = None if self.starts is None else self.starts[first:stop]
        body = b"\n".join(lines) + b"\n"
        return replace(self, start=start, end=end, body=body, starts=own)

    def halves(self) -> "tuple[Batch, Batch]":
        """Return two batches of half the entries each; there must be at least two."""
        middle = self.count // 2
        return self.part(0, middle), self.part(middle, self.count)

    def place_of(self, index: int) -> int:
        """Return where a line begins in the segment."""
        return self._starts[index]

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        if self.starts is not None:
            return self.starts
        sizes = (len(line) + 1 for line in self.lines[:-1])
        return tuple(accumulate(sizes, initial=self.start))


def _seq_in(line: bytes) -> int:
    match = _SEQ.match(line)
    if match is not None:
        return int(match[1])
    return int(orjson.loads(line)["seq"])


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file of a run: a segment, an artifact, or a document about the run.

    Attributes:
        name: Below the run's folder, with "/": `artifacts/model.pt`, `logs.1.jsonl`.
        path: Where it is here.
        size: Bytes to send, from the beginning; the file may have grown since.
        sent: Bytes from the beginning that the sink has taken before; for segments
            only, 0 where nobody knows.
        sha256: Of an artifact, in hex; "" where unknown.
        media_type: Of an artifact; "" where unknown.
    """

    name: str
    path: Path
    size: int
    sent: int = 0
    sha256: str = ""
    media_type: str = ""

    def open(self) -> BinaryIO:
        """Open it for reading; no link below the root is followed.

        Raises:
            OSError: It is gone, or may not be read.
            UnsafePathError: It is a link, or reached by one.
        """
        *folders, last = self.name.split("/")
        run = self.path.parents[len(folders)]
        parts = (*run.parts[-2:], *folders)
        root = run.parent.parent
        return Folder.open_below(root, parts, PRIVATE, create=False).open(last)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        status: Completed, Failed, Canceled, or NotResponding (it has died).
        ended: When, RFC 3339; of one that died the time of its last entry.
        error: Type, msg and traceback of what ended it, as far as known.
    """

    status: str
    ended: str
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Traits:
    """What a sink takes and how much at once.

    Attributes:
        streams: Streams it takes in batches; those of others count as sent.
        artifacts: Whether it takes artifacts, by `send_file`.
        segments: Whether it takes segments as files, by `send_file`: not at all, once
            when the run has ended, or again and again while they grow.
        max_entries, max_bytes: Most entries and bytes (before any coding) of a batch.
            A single entry of more bytes is a batch of its own.
        needs_plan: Whether the bounds of a batch must be on the disk before it is
            sent, so that after a crash it is sent again byte by byte (dedup tokens).
        has_key: Whether what is sent twice is stored once.
        growth: A growing segment is sent again as a file when it has grown by this
            factor, after ten minutes, or when its run has ended.
    """

    streams: frozenset[Stream] = ALL_STREAMS
    artifacts: bool = False
    segments: Literal["never", "at_end", "growing"] = "never"
    max_entries: int = 5_000
    max_bytes: int = 4 << 20
    needs_plan: bool = False
    has_key: bool = False
    growth: float = 1.0


@runtime_checkable
class Sink(Protocol):
    """Where a shipper delivers. Called by one thread.

    A method may raise, which counts as `retry`; `OSError` and `HttpError` are usual.
    It must return in bounded time, and must not log the content of what it sends.
    """

    @property
    def traits(self) -> Traits:
        """What it takes; the same as long as it lives."""

    def send(self, batch: Batch) -> SendResult:
        """Deliver a batch of a stream in `traits.streams`.

        Batches of a segment come in order, each only after the one before was
        delivered; of several segments, writers and runs in turn. The first batch of a
        run that this object sees may be from its middle: after a restart. Whatever a
        run needs beforehand (a table, a remote run) is found or made here.
        """

    def send_file(self, run: RunFacts, file: RunFile) -> SendResult:
        """Deliver a file as it is; called only for what the traits ask for."""

    def finish(self, run: RunFacts, end: RunEnd) -> SendResult:
        """Say that a run has ended, after all else of it was delivered.

        May come again, also after more batches: a run can be gone on with.
        """

    def close(self) -> None:
        """Let go of connections; may be called twice."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, as a sink's factory gets it; made by `mlog.shipping.target`.

    Attributes:
        kind: Name of the sink: the scheme up to its `+` ("mlflow" of
            `mlflow+https://…`).
        url: Address without credentials, query and the `kind+` in front:
            `https://host:5000/base`.
        query: Parameters of the URL, without those that are the shipper's own
            (`level`, `streams`, `name`, …). They may be secret, as `?api_key=…` is.
        name: Names the sink in cursors and messages.
        token: Gives the bearer token of now, or None; asked for every request.
        login: User and password of the URL, or None.
        env: Environment variables, for names that a protocol has settled
            (`MLFLOW_TRACKING_TOKEN`, `OTEL_EXPORTER_OTLP_HEADERS`).
    """

    kind: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    name: str = ""
    token: Callable[[], str | None] = field(default=lambda: None, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)


Factory: TypeAlias = Callable[[Target], Sink]
