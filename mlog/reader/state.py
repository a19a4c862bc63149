"""What a run is by now: its facts, put together from the events of all its writers.

The events are the truth. `run.json` repeats them, and is read only for what they do
not say: the metrics of a run that goes on (those of one that was killed come from their
lines), an end that a full disk kept out of them, and everything where no `run.start` is
left. Invariants:

- Whatever the files hold, reading does not fail: a line, a value or a file that is not
  as it should be counts as not there.
- Nothing is written and no link below the run's folder is followed.
- In the order of the events (see `mlog.reader.events`) the first value of a param or
  property counts, and the last of a tag, a name or an artifact.
- An attempt ends with its own `run.end`; one of an earlier attempt ends no later one,
  also where the clocks of two hosts differ.

Source of the events: the README, "File format".
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlog.errors import MlogError
from mlog.reader.alive import is_alive, seconds_of
from mlog.reader.document import Document
from mlog.reader.events import WriterEvents, first_time, in_order, read_writers
from mlog.reader.fields import mapping_from, text_from, whole_from
from mlog.reader.summaries import read_summaries

__all__ = ["Artifact", "RunState", "WriterState", "read_state"]

_FINAL = ("Completed", "Failed", "Canceled")

_MOST = 1 << 28
"""Bytes of metrics that are read, the first time, of a run that was killed."""


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
        launch: What `run.launch` says; {} for a run that is no submitted script.
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
    launch: dict[str, Any] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    snapshot: dict[str, Any] | None = None
    read_at: float = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether somebody still makes it, or will: it has no end, and is not dead."""
        return self.status not in (*_FINAL, "NotResponding")

    @property
    def duration(self) -> float | None:
        """Seconds from the start of the first attempt to the end of the last.

        Of a run that is alive up to now, of one that is not responding up to its last
        entry. None where there is no time to be read.
        """
        first, last = seconds_of(self.created), self._until()
        return None if first is None or last is None else max(0.0, last - first)

    def _until(self) -> float | None:
        if self.ended is None and self.goes_on:
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
    writers = read_writers(folder)
    story = _Story(folder)
    for writer, event in in_order(writers):
        story.tell(writer, event)
    document = Document(folder)
    if not story.has_started:
        story.begin_with(document)
    states = [_state_of(writer, folder, now) for writer in writers if writer.facts]
    state = story.state
    state.writers = sorted(states, key=lambda w: (w.started, w.name))
    state.read_at = now
    state.updated = max((w.seen for w in writers), default="") or document.time(
        "updated"
    )
    state.created = state.created or document.time("created") or first_time(writers)
    state.attempt = _attempt(state.writers) or document.attempt
    story.conclude(document, now)
    return state


# --- writers -------------------------------------------------------------------------


def _state_of(writer: WriterEvents, folder: Path, now: float) -> WriterState:
    """Return what is to be known of a writer; looks whether it is alive."""
    end, facts = writer.end, writer.facts
    said = end["data"] if end else {}
    host, boot = text_from(facts.get("host")), text_from(facts.get("boot"))
    place: dict[str, str] = {"host": host, "boot": boot, "seen": writer.seen}
    return WriterState(
        name=writer.name,
        attempt=writer.attempt,
        rank=whole_from(facts.get("rank")),
        world_size=whole_from(facts.get("world_size")) or 1,
        host=host,
        pid=whole_from(facts.get("pid")),
        started=facts["ts"],
        ended=end["ts"] if end else None,
        status=text_from(said.get("status")) or None,
        last_seq=whole_from(said.get("last")),
        main=writer.main,
        alive=end is None and is_alive(folder, writer.name, now=now, **place),
    )


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
        self._joined: dict[str, dict[str, Any]] = {}
        self._summed: set[str] = set()  # writers that said what their metrics come to

    def tell(self, writer: WriterEvents, event: dict[str, Any]) -> None:
        """Add what an event says; one that is not known says nothing."""
        name, data, ts = event["event"], event["data"], event["ts"]
        if name == "run.start":
            self._start(writer, data, ts)
        elif name == "run.end":
            self._finish(writer, data, ts)
        elif name == "writer.end":
            self._joined |= _summary(data.get("metrics"))
        elif name == "run.status":
            self._word = text_from(data.get("status")) or self._word
        elif name in _FACTS:
            _FACTS[name](self.state, data, ts)

    def begin_with(self, document: Document) -> None:
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

    def conclude(self, document: Document, now: float) -> None:
        """Settle status, end and metrics, once all writers are known."""
        state, is_alive = self.state, self._is_alive(now)
        if not self._end and not is_alive:
            self._end = self._end_in(document)
        if not _summary(self._end.get("metrics")):
            state.metrics |= _summary(document.content.get("metrics"))
        state.metrics = self._joined | state.metrics
        # While others of the run go on it is read again and again: then not.
        if not is_alive and any(map(self._was_killed, state.writers)):
            state.metrics |= _summaries(state.folder)
        if self._end:
            state.ended = self._end["ts"] or None
            state.error = mapping_from(self._end.get("error")) or None
            state.status = self._end["status"]
            self._look_for_failed_ranks()
        elif is_alive:
            state.status = self._word

    def _start(self, writer: WriterEvents, data: dict[str, Any], ts: str) -> None:
        state = self.state
        state.created = min(state.created or ts, ts)
        if not self.has_started:  # later attempts may know only the folder's name
            state.experiment = text_from(data.get("experiment")) or state.experiment
        self.has_started = True
        if writer.attempt < self._attempt:  # a clock that differs put it here
            return
        self._attempt, self._started = writer.attempt, ts
        self._word, self._end = "Running", {}
        state.name = text_from(data.get("display_name")) or state.name
        state.parent = text_from(data.get("parent")) or state.parent
        state.start = data

    def _finish(self, writer: WriterEvents, data: dict[str, Any], ts: str) -> None:
        state, metrics = self.state, _summary(data.get("metrics"))
        if metrics:
            self._summed.add(writer.name)
        if writer.main and writer.attempt < self._attempt:
            state.metrics = metrics | state.metrics
            return
        state.metrics |= metrics
        if text_from(data.get("status")):
            self._end = data | {"ts": ts}

    def _was_killed(self, writer: WriterState) -> bool:
        return not writer.alive and not writer.ended and writer.name not in self._summed

    def _is_alive(self, now: float) -> bool:
        state = self.state
        if not state.writers and state.updated:  # no events left, only the files
            seen = state.updated
            return is_alive(state.folder, "", host="", boot="", seen=seen, now=now)
        return any(w.alive for w in _latest(state.writers, self._started))

    def _end_in(self, document: Document) -> dict[str, Any]:
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
    state.name = text_from(data.get("display_name")) or state.name
    if isinstance(data.get("description"), str):
        state.description = data["description"]


def _artifact(state: RunState, data: dict[str, Any], ts: str) -> None:
    path = text_from(data.get("path"))
    if not _is_inside(path):
        return
    state.artifacts[path] = Artifact(
        path,
        whole_from(data.get("size")) or 0,
        text_from(data.get("sha256")),
        text_from(data.get("media_type")),
        ts,
    )


def _child(state: RunState, data: dict[str, Any], ts: str) -> None:
    path = text_from(data.get("path"))
    if path and path not in state.children:
        state.children.append(path)


def _environment(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.environment |= data


def _model(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.models.append(data)


def _launch(state: RunState, data: dict[str, Any], ts: str) -> None:
    state.launch = data


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
    "run.launch": _launch,
    "run.model": _model,
    "run.snapshot": _snapshot,
}


def _summaries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the metrics come to where somebody was killed who did not say so.

    {} where they cannot be read, or are so many that it would take seconds: then what
    `run.json` says, some seconds older, has to do.
    """
    try:
        sizes = (file.lstat().st_size for file in folder.glob("metrics*.jsonl"))
        return read_summaries(folder) if sum(sizes) <= _MOST else {}
    except (OSError, MlogError):
        return {}


# --- values --------------------------------------------------------------------------


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _texts_or_none(values: dict[str, Any]) -> dict[str, str | None]:
    return {k: v for k, v in values.items() if v is None or isinstance(v, str)}


def _first_win(first: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    return first | {key: value for key, value in later.items() if key not in first}


def _summary(value: object) -> dict[str, dict[str, Any]]:
    """Return the metrics of an end, as far as they are what they should be."""
    return {k: v for k, v in mapping_from(value).items() if isinstance(v, dict)}


def _is_inside(path: str) -> bool:
    """Whether a path stays in the folder it is relative to."""
    parts: Iterable[str] = path.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    return plain and "\\" not in path and "\0" not in path
