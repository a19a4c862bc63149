"""What a run is by now: its facts, put together from the events of all its writers.

The events are the truth. `run.json` repeats them, and is read only for what they do
not say: the metrics of a run that has not ended, an end that a full disk kept out of
them, and everything where no `run.start` is left. Invariants:

- Whatever the files hold, reading does not fail: a line, a value or a file that is not
  as it should be counts as not there.
- Nothing is written and no link below the run's folder is followed.
- Inside a writer the order is that of `seq`, between writers that of the running
  maximum of `ts`. Of a param or property the first value counts, of a tag, a name or
  an artifact the last.
- An attempt ends with its own `run.end`; one of an earlier attempt ends no later one,
  also where the clocks of two hosts differ.

Source of the events: the README, "File format".
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from mlog.errors import RunNotFoundError
from mlog.folder import read_from
from mlog.layout import SegmentName, parse_segment
from mlog.reader.alive import is_alive, is_time, last_time, seconds_of
from mlog.reader.follow import parse_line

__all__ = ["Artifact", "RunState", "WriterState", "read_state"]

_FINAL = ("Completed", "Failed", "Canceled")
_MAIN = re.compile(r"(a[1-9][0-9]*)?")
_BEAT = b'"event":"run.heartbeat","data":{}}'
_BLOCK = 1 << 20
_MAX_LINE = 1 << 20
_MAX_DOCUMENT = 64 << 20

_TOO_LONG = b"?"
"""Stands for the beginning of a line that is too long for an entry; no JSON does so."""


@dataclass(frozen=True, slots=True)
class WriterState:
    """One process that wrote the run, or does.

    Attributes:
        name: As in its file names; "" is the main writer of the first attempt.
        attempt: Which go at the run it belongs to.
        rank: Its rank, None for a process that is none.
        world_size: How many ranks there are; 1 when alone.
        host, pid: Where it runs; "" and None where it does not say.
        started, ended: When, RFC 3339; None while it has not ended, or died.
        status: How it ended, None like `ended`.
        last_seq: Number of its last entry, None like `ended`.
        main: Whether it is the one that begins and ends the attempt.
        alive: Whether it is still there.
    """

    name: str
    attempt: int
    rank: int | None
    world_size: int
    host: str
    pid: int | None
    started: str
    ended: str | None
    status: str | None
    last_seq: int | None
    main: bool
    alive: bool


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the run put out.

    Attributes:
        path: Below `artifacts/`, with "/".
        size: In bytes.
        sha256: Of its content, in hex; "" where unknown, like `media_type`.
        ts: When it was put, RFC 3339.
    """

    path: str
    size: int
    sha256: str
    media_type: str
    ts: str


@dataclass(slots=True)
class RunState:
    """What the files say of a run. Times are RFC 3339 texts.

    Attributes:
        folder: Where it is.
        run_id: Its id, the name of the folder.
        experiment: As the user wrote it.
        name: For people; the id where none was given.
        description: Some words on it, or "".
        status: A final word (Completed, Failed, Canceled), one of a run that is alive
            (Running, Preparing, …), or NotResponding: it has no end and no writer.
        error: What ended it, where it failed: `type`, `msg`, `traceback`, `code`.
        created: When its first attempt started; "" where nothing says so.
        updated: Time of its last entry, likewise.
        ended: When its last attempt ended, None if it has not.
        attempt: Number of the last attempt, from 1.
        parent: Path of the run it is a child of; that may be gone or have moved.
        children: Paths of its children, as they were when they started.
        params: Name to JSON value.
        tags: Name to text or None.
        properties: Name to text.
        artifacts: By path.
        metrics: Name to `last` (NaN and the infinities as texts), `count`, and of the
            finite values `min` and `max`.
        writers: By the time of their start.
        start: What the last `run.start` says.
        environment: What `run.environment` says.
        models: What each `run.model` says.
        snapshot: What the last `run.snapshot` says, None without one.
        read_at: When all this was read, seconds since the epoch.
    """

    folder: Path
    run_id: str
    experiment: str = ""
    name: str = ""
    description: str = ""
    status: str = "NotResponding"
    error: dict[str, Any] | None = None
    created: str = ""
    updated: str = ""
    ended: str | None = None
    attempt: int = 1
    parent: str | None = None
    children: list[str] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    writers: list[WriterState] = field(default_factory=list)
    start: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    snapshot: dict[str, Any] | None = None
    read_at: float = 0.0

    @property
    def duration(self) -> float | None:
        """Seconds from the start of the first attempt to the end of the last.

        Of a run that is alive up to now, of one that is not responding up to its last
        entry. None where there is no time to be read.
        """
        first, last = seconds_of(self.created), self._until()
        return None if first is None or last is None else max(0.0, last - first)

    def _until(self) -> float | None:
        if self.ended is None and self.status not in (*_FINAL, "NotResponding"):
            return self.read_at
        return seconds_of(self.ended or self.updated)


def read_state(folder: Path, *, now: float | None = None) -> RunState:
    """Read what the files of a run say of it now.

    A run that is written by this or another process is read as far as it has come.

    Args:
        folder: The run's.
        now: Seconds since the epoch. None: the time it is.

    Raises:
        RunNotFoundError: There is no such folder, or no run in it.
        OSError: The folder may not be read.
    """
    now = time.time() if now is None else now
    segments = sorted(_segments(folder).items())
    writers = [_read_writer(folder, *found) for found in segments]
    story = _Story(folder)
    for writer, event in _in_order(writers):
        story.tell(writer, event)
    document = _Document(folder)
    if not story.has_started:
        story.begin_with(document)
    states = [writer.state(folder, now) for writer in writers if writer.facts]
    state = story.state
    state.writers = sorted(states, key=lambda w: (w.started, w.name))
    state.read_at = now
    state.updated = max((w.seen for w in writers), default="") or document.time(
        "updated"
    )
    state.created = state.created or document.time("created") or _first(writers)
    state.attempt = _attempt(state.writers) or document.attempt
    story.conclude(document, now)
    return state


# --- files ---------------------------------------------------------------------------


def _segments(folder: Path) -> dict[str, list[SegmentName]]:
    """Return the segments of each writer, and none for a run that has only `run.json`.

    Raises:
        RunNotFoundError: It is the folder of no run.
    """
    found: dict[str, list[SegmentName]] = {}
    is_run = False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                segment = parse_segment(entry.name)
                if segment is None and entry.name != "run.json":
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                is_run = True
                if segment is not None:
                    found.setdefault(segment.writer, []).append(segment)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise RunNotFoundError(f"no run in {folder}: there is no such folder") from exc
    if not is_run:
        raise RunNotFoundError(
            f"no run in {folder}: it has neither a run.json nor a segment like "
            "events.jsonl; a run's folder is <root>/<experiment>/<run id>"
        )
    return found


def _read_writer(folder: Path, name: str, segments: list[SegmentName]) -> "_Writer":
    """Read the events of one writer, and of its other streams only the last time."""
    segments = sorted(segments, key=lambda segment: segment.number)
    newest = {segment.stream: segment for segment in segments}
    seen = [
        last_time(folder / segment.filename)
        for stream, segment in newest.items()
        if stream != "events"
    ]
    events: list[dict[str, Any]] = []
    for segment in segments:
        if segment.stream == "events":
            more, last = _read_events(folder / segment.filename)
            events += more
            seen.append(last)
    events.sort(key=itemgetter("seq"))
    return _Writer(name, events, max(seen, default=""))


def _read_events(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the events of a segment without heartbeats, and the last time in it."""
    events: list[dict[str, Any]] = []
    beat = b""
    try:
        for line in _whole_lines(path):
            if line.endswith(_BEAT):  # most lines of a long run; only the last tells
                beat = line
            elif (event := _event(line)) is not None:
                events.append(event)
    except OSError:  # not for us to read, or a disk that fails
        pass
    last = _event(beat)
    return events, max((e["ts"] for e in (*events, last) if e is not None), default="")


def _event(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line, with `data` in any case; None where there is none."""
    entry = parse_line(line)
    if entry is None or not isinstance(entry.get("event"), str):
        return None
    if not isinstance(entry.get("data"), dict):
        entry["data"] = {}
    return entry if is_time(entry["ts"]) else None


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, without newlines; the last only if it has one."""
    rest = b""
    with read_from(path) as file:
        while block := file.read(_BLOCK):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > _MAX_LINE:
                rest = _TOO_LONG
            yield from lines


class _Document:
    """`run.json`, read when it is first asked; {} where it cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "run.json"
        self._content: dict[str, Any] | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The whole of it."""
        if self._content is None:
            self._content = self._read()
        return self._content

    @property
    def attempt(self) -> int:
        """The attempt it is about."""
        return _whole(self.content.get("attempt")) or 1

    def text(self, key: str) -> str:
        """Return a text in it, or ""."""
        return _text(self.content.get(key))

    def time(self, key: str) -> str:
        """Return a time in it, or ""."""
        value = self.text(key)
        return value if is_time(value) else ""

    def mapping(self, key: str) -> dict[str, Any]:
        """Return an object in it, or {}."""
        return _mapping(self.content.get(key))

    def _read(self) -> dict[str, Any]:
        try:
            with read_from(self._path) as file:
                return _mapping(orjson.loads(file.read(_MAX_DOCUMENT)))
        except (OSError, ValueError):
            return {}


# --- writers -------------------------------------------------------------------------


@dataclass(slots=True)
class _Writer:
    """What one writer says.

    Attributes:
        name: As in its file names.
        events: Its events by `seq`, without heartbeats.
        seen: Time of its last entry in any stream, or "".
        facts: What its `writer.start` says; {} where that cannot be read.
        main: Whether it is one that begins and ends attempts.
    """

    name: str
    events: list[dict[str, Any]]
    seen: str
    facts: dict[str, Any] = field(init=False)
    main: bool = field(init=False)
    _last: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        """Look up what the events say of the writer itself."""
        self._last = {event["event"]: event for event in self.events}
        start = self._last.get("writer.start")
        self.facts = start["data"] | {"ts": start["ts"]} if start else {}
        # The name of a main writer has random digits where its own was taken.
        is_named = _MAIN.fullmatch(self.name) is not None
        self.main = is_named or "run.start" in self._last

    @property
    def attempt(self) -> int:
        """Which go at the run it belongs to."""
        return _whole(self.facts.get("attempt")) or 1

    def state(self, folder: Path, now: float) -> WriterState:
        """Return what is to be known of it; looks whether it is alive."""
        end = self._last.get("writer.end")
        said = end["data"] if end else {}
        host = _text(self.facts.get("host"))
        boot = _text(self.facts.get("boot"))
        place: dict[str, str] = {"host": host, "boot": boot, "seen": self.seen}
        return WriterState(
            name=self.name,
            attempt=self.attempt,
            rank=_whole(self.facts.get("rank")),
            world_size=_whole(self.facts.get("world_size")) or 1,
            host=host,
            pid=_whole(self.facts.get("pid")),
            started=self.facts["ts"],
            ended=end["ts"] if end else None,
            status=_text(said.get("status")) or None,
            last_seq=_whole(said.get("last")),
            main=self.main,
            alive=end is None and is_alive(folder, self.name, now=now, **place),
        )


def _in_order(writers: list[_Writer]) -> Iterator[tuple[_Writer, dict[str, Any]]]:
    """Yield all events, by `seq` in a writer, by the running maximum of `ts` between."""
    dated: list[tuple[str, _Writer, dict[str, Any]]] = []
    for writer in writers:
        so_far = ""
        for event in writer.events:
            so_far = max(so_far, event["ts"])
            dated.append((so_far, writer, event))
    dated.sort(key=itemgetter(0))
    return ((writer, event) for _, writer, event in dated)


def _first(writers: list[_Writer]) -> str:
    return min((e["ts"] for w in writers for e in w.events[:1]), default="")


def _attempt(writers: list[WriterState]) -> int:
    """Return the last attempt, by its main writer where there is one; 0: no writers."""
    mains = [w.attempt for w in writers if w.main]
    ranks = [w.attempt for w in writers if w.rank is not None]
    return max(mains or ranks or [w.attempt for w in writers], default=0)


def _latest(writers: list[WriterState], started: str) -> list[WriterState]:
    """Return the writers that the status of the last attempt depends on.

    Those are its main writer and its ranks. Ranks that were started by the run itself
    count their own restarts, so that it is the newest of them that matter. Other
    processes (data loaders, tools) speak for the run only where there is nobody else.

    Args:
        writers: All.
        started: When the last attempt did.
    """
    attempt = _attempt(writers)
    mains = [w for w in writers if w.main and w.attempt == attempt]
    ranks = [
        w
        for w in writers
        if w.rank is not None
        and not w.main
        and (w.attempt >= attempt or w.started >= started > "")
    ]
    newest = max((w.attempt for w in ranks), default=0)
    return [*mains, *(w for w in ranks if w.attempt == newest)] or writers


# --- events --------------------------------------------------------------------------


class _Story:
    """Fills a `RunState` from the events of a run, told one after the other."""

    def __init__(self, folder: Path) -> None:
        self.state = RunState(
            folder, folder.name, experiment=folder.parent.name, name=folder.name
        )
        self.has_started = False
        self._attempt = 0
        self._started = ""
        self._word = "Running"
        self._end: dict[str, Any] = {}

    def tell(self, writer: _Writer, event: dict[str, Any]) -> None:
        """Add what an event says; one that is not known says nothing."""
        name, data, ts = event["event"], event["data"], event["ts"]
        if name == "run.start":
            self._start(writer, data, ts)
        elif name == "run.end":
            self._finish(writer, data, ts)
        elif name == "run.status":
            self._word = _text(data.get("status")) or self._word
        elif name in _FACTS:
            _FACTS[name](self.state, data, ts)

    def begin_with(self, document: _Document) -> None:
        """Fill what no event has said, where the main writer's events are missing."""
        state = self.state
        state.experiment = document.text("experiment") or state.experiment
        if state.name == state.run_id:
            state.name = document.text("display_name") or state.name
        state.description = state.description or document.text("description")
        state.parent = state.parent or document.text("parent") or None
        state.params = _first_win(document.mapping("params"), state.params)
        state.tags = _texts_or_none(document.mapping("tags")) | state.tags
        state.properties = _first_win(
            _texts(document.mapping("properties")), state.properties
        )

    def conclude(self, document: _Document, now: float) -> None:
        """Settle status, end and metrics, once all writers are known."""
        state = self.state
        if not self._end and not self._is_alive(now):
            self._end = self._end_in(document)
        if not _summary(self._end.get("metrics")):
            state.metrics |= _summary(document.content.get("metrics"))
        if self._end:
            state.ended = self._end["ts"] or None
            state.error = _mapping(self._end.get("error")) or None
            state.status = self._end["status"]
            self._look_for_failed_ranks()
        elif self._is_alive(now):
            state.status = self._word

    def _start(self, writer: _Writer, data: dict[str, Any], ts: str) -> None:
        state = self.state
        state.created = min(state.created or ts, ts)
        if not self.has_started:  # later attempts may know only the folder's name
            state.experiment = _text(data.get("experiment")) or state.experiment
        self.has_started = True
        if writer.attempt < self._attempt:  # a clock that differs put it here
            return
        self._attempt, self._started = writer.attempt, ts
        self._word, self._end = "Running", {}
        state.name = _text(data.get("display_name")) or state.name
        state.parent = _text(data.get("parent")) or state.parent
        state.start = data

    def _finish(self, writer: _Writer, data: dict[str, Any], ts: str) -> None:
        state, metrics = self.state, _summary(data.get("metrics"))
        if writer.main and writer.attempt < self._attempt:
            state.metrics = metrics | state.metrics
            return
        state.metrics |= metrics
        if _text(data.get("status")):
            self._end = data | {"ts": ts}

    def _is_alive(self, now: float) -> bool:
        state = self.state
        if not state.writers and state.updated:  # no events left, only the files
            seen = state.updated
            return is_alive(state.folder, "", host="", boot="", seen=seen, now=now)
        return any(w.alive for w in _latest(state.writers, self._started))

    def _end_in(self, document: _Document) -> dict[str, Any]:
        """Return the end that `run.json` tells of, where a full disk kept no event."""
        is_last = document.attempt >= self.state.attempt
        if document.text("status") not in _FINAL or not is_last:
            return {}
        end = document.time("ended") or document.time("updated")
        return document.content | {"ts": end, "metrics": None}

    def _look_for_failed_ranks(self) -> None:
        """Let a rank that failed make the run Failed."""
        state = self.state
        latest = _latest(state.writers, self._started)
        ranks = [w for w in latest if w.rank is not None and not w.main]
        failed = [w.name for w in ranks if w.status == "Failed"]
        if state.status == "Completed" and failed:
            state.status = "Failed"
            state.error = {"msg": f"failed: {', '.join(sorted(failed))}"}


def _params(state: RunState, data: dict[str, Any], ts: str) -> None:
    for key, value in data.items():
        state.params.setdefault(key, value)


def _tags(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.tags |= _texts_or_none(data)


def _tags_removed(state: RunState, data: dict[str, Any], ts: str) -> None:
    keys = data.get("keys")
    for key in keys if isinstance(keys, list) else []:
        if isinstance(key, str):
            state.tags.pop(key, None)


def _properties(state: RunState, data: dict[str, Any], ts: str) -> None:
    for key, value in _texts(data).items():
        state.properties.setdefault(key, value)


def _update(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.name = _text(data.get("display_name")) or state.name
    if isinstance(data.get("description"), str):
        state.description = data["description"]


def _artifact(state: RunState, data: dict[str, Any], ts: str) -> None:
    path = _text(data.get("path"))
    if not _is_inside(path):
        return
    state.artifacts[path] = Artifact(
        path,
        _whole(data.get("size")) or 0,
        _text(data.get("sha256")),
        _text(data.get("media_type")),
        ts,
    )


def _child(state: RunState, data: dict[str, Any], ts: str) -> None:
    path = _text(data.get("path"))
    if path and path not in state.children:
        state.children.append(path)


def _environment(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.environment |= data


def _model(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.models.append(data)


def _snapshot(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.snapshot = data


_FACTS: Mapping[str, Callable[[RunState, dict[str, Any], str], None]] = {
    "run.params": _params,
    "run.tags": _tags,
    "run.tags_removed": _tags_removed,
    "run.properties": _properties,
    "run.update": _update,
    "run.artifact": _artifact,
    "run.child": _child,
    "run.environment": _environment,
    "run.model": _model,
    "run.snapshot": _snapshot,
}


# --- values --------------------------------------------------------------------------


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    """Return an integer >= 0; None for anything else, also for True."""
    return value if type(value) is int and value >= 0 else None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _texts_or_none(values: dict[str, Any]) -> dict[str, str | None]:
    return {k: v for k, v in values.items() if v is None or isinstance(v, str)}


def _first_win(first: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    return first | {key: value for key, value in later.items() if key not in first}


def _summary(value: object) -> dict[str, dict[str, Any]]:
    """Return the metrics of a `run.end`, as far as they are what they should be."""
    return {k: v for k, v in _mapping(value).items() if isinstance(v, dict)}


def _is_inside(path: str) -> bool:
    """Whether a path stays in the folder it is relative to."""
    parts: Iterable[str] = path.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    return plain and "\\" not in path and "\0" not in path
