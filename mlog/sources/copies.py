"""Runs of another tool, written as runs of ours: original times, ids and order.

A copy is written by one writer, whose events and entries carry the times that the
source gives. Two `run.import` events say where it comes from: the first right after
`run.start`, the last, with the `state` of the source, when all of it was copied. So

- a run whose last `run.import` has the state that the source has now is left alone;
- a copy that was interrupted, or whose source has grown, is gone on with by another
  writer of the same attempt, which writes only what is not there yet;
- a run of the same id that was not copied from there is never touched.

What people have done to a copy (tags, a name, a model) stays as it is.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, TypeAlias

import orjson

from mlog.entry import stamp
from mlog.errors import MlogError, RunNotFoundError, UnsafePathError
from mlog.folder import Folder, access_for, read_from
from mlog.layout import new_run_id, parse_segment, run_folder, slug
from mlog.plain import fit_text, to_json
from mlog.reader.alive import seconds_of
from mlog.reader.entries import read_blocks, read_writers
from mlog.reader.state import RunState, read_state
from mlog.redaction import Redactor, make_redactor
from mlog.run.artifacts import ArtifactStore, Stored
from mlog.run.document import write_document
from mlog.run.summary import Summary
from mlog.run.writer import Place, Writer, WriterOptions
from mlog.values import split_metric

__all__ = [
    "Advance",
    "Copied",
    "File",
    "Origin",
    "Picture",
    "Point",
    "SourceRun",
    "copy_run",
    "id_from",
    "value_from",
]

_LAST_US = 253_402_300_799_999_999  # 9999-12-31: later years have no RFC 3339
_LOGGER = "mlog"
_MAX_NOTES = 20

Advance: TypeAlias = Callable[[int], None]
"""Is told how much more of a source was read, in the unit of its `size`."""


class Picture(NamedTuple):
    """A value that is a file: it becomes an artifact, and the entry names it."""

    name: str
    content: bytes
    media_type: str


class Point(NamedTuple):
    """What was logged at one moment.

    Attributes:
        time: Microseconds since 1970. None: the source does not know.
        step: Position on the x axis.
        values: Metric to number, text, typed object or `Picture`.
    """

    time: int | None
    step: int | None
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """A file that the run had put out.

    Attributes:
        name: Below `artifacts/`.
        size: In bytes; None where the source does not say.
        open: Opens it for reading; may raise OSError or MlogError.
    """

    name: str
    size: int | None
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(slots=True)
class Origin:
    """What a source says of one of its runs.

    Attributes:
        tool: Name of the source's kind, such as "mlflow".
        source: Identifies the run for ever, without secrets.
        state: Changes whenever something of the run has.
        run_id, experiment, name: Of the copy.
        began, ended: Microseconds since 1970; `ended` None if it goes on, or died.
        status: Completed, Failed, Canceled; None without an end. Like `params` and
            `ended`, it may be found out only when all points are read.
        start: More for `run.start`, such as `git`.
        parent: Experiment and id of the run it is a child of.
        children: Of its children, likewise.
        size: How much there is to read, in a unit of the source's choice.
    """

    tool: str
    source: str
    state: str
    run_id: str
    experiment: str
    name: str
    began: int
    ended: int | None = None
    status: str | None = None
    description: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    parent: tuple[str, str] | None = None
    children: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0


class SourceRun(Protocol):
    """One run of a source. Used by one thread; its methods are called once.

    Attributes:
        origin: What is known before the points are read.
        notes: What could not be read; grows while points and files are.
    """

    origin: Origin
    notes: list[str]

    def points(self, advance: Advance) -> Iterator[Point]:
        """Yield all points in order of time, as far as the source has one."""

    def files(self) -> Iterator[File]:
        """Yield all files."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one run.

    Attributes:
        folder: Of the copy.
        what: Whether it is new, has got more, or was complete already.
        points: How many values of metrics were written.
        files: How many artifacts were.
        notes: What could not be taken over, and why.
    """

    folder: Path
    what: Literal["imported", "continued", "unchanged"]
    points: int
    files: int
    notes: list[str]


def id_from(began: int, source: str) -> str:
    """Return the id of a run that has none of its own; the same for the same source."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    return new_run_id(began // 1_000_000, digest[:3])


def value_from(text: str) -> str | int | float:
    """Return a param kept as text: a number where it is written as we would write it."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text and abs(number) < 1 << 53:
            return number
    return text


def copy_run(
    run: SourceRun, root: Path, *, advance: Advance = lambda _: None
) -> Copied:
    """Write a run of a source below a root; see the head of the module.

    Raises:
        MlogError: A run of that id is there that was not copied from this source, or
            somebody writes it just now; the source cannot be read any more.
        OSError: The root or the source cannot be used; what was written stays, and the
            next call goes on from there.
    """
    origin = run.origin
    there = _existing(run_folder(root, origin.experiment, origin.run_id))
    if there is not None:
        last = _check(origin, there)
        if last == origin.state:
            return Copied(there.folder, "unchanged", 0, 0, [])
    parts = slug(origin.experiment), slug(origin.run_id)
    folder = Folder.open_below(root, parts, access_for(root, "private"))
    copy = _Copy(origin, folder, there)
    try:
        copy.begin()
        copy.take_points(run.points(advance))
        copy.take_files(run.files())
        return copy.end(run.notes)
    finally:
        copy.close()


# --- what is there already -----------------------------------------------------------


def _existing(folder: Path) -> RunState | None:
    try:
        return read_state(folder)
    except (RunNotFoundError, FileNotFoundError):
        return None


def _check(origin: Origin, there: RunState) -> str | None:
    """Return the state that was copied last; None where a copy was not finished.

    Raises:
        MlogError: The run is no copy from there, or is being written.
    """
    said = list(_imports(there.folder))
    if not any(data.get("source") == origin.source for data in said):
        raise MlogError(
            f"run {there.run_id} in {there.folder.parent} is there already, and was "
            f"not imported from {origin.source}; name another root with --dir"
        )
    if any(writer.alive for writer in there.writers):
        raise MlogError(
            f"run {there.run_id} is being written by another process just now"
        )
    states = [text for d in said if isinstance(text := d.get("state"), str)]
    return states[-1] if states else None


def _imports(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what each `run.import` of a run says, by the time of change of the files."""
    paths = [p for p in folder.iterdir() if _is_events(p.name)]
    for path in sorted(paths, key=lambda p: p.lstat().st_mtime_ns):
        with read_from(path) as lines:
            for line in lines:
                if b'"run.import"' not in line or not line.endswith(b"\n"):
                    continue
                entry = orjson.loads(line)
                if entry.get("event") == "run.import":
                    yield entry["data"]


def _is_events(name: str) -> bool:
    segment = parse_segment(name)
    return segment is not None and segment.stream == "events"


def _known_points(folder: Path) -> Counter[int]:
    """Count the points that a run has, by `_key`."""
    found: Counter[int] = Counter()
    for writer in read_writers(folder):
        for block in read_blocks(folder, writer.segments.get("metrics", [])):
            for entry in block.entries:
                for kind in ("metric", "value"):
                    for name, value in (entry.get(kind) or {}).items():
                        found[_key(name, entry["ts"], entry.get("step"), value)] += 1
                        found[_key(name, None, entry.get("step"), value)] += 1
    return found


def _key(name: str, ts: str | None, step: int | None, value: Any) -> int:
    return hash((name, ts, step, orjson.dumps(value)))


# --- writing -------------------------------------------------------------------------


class _Copy:
    """Writes one copy, or what a copy lacks."""

    def __init__(self, origin: Origin, folder: Folder, there: RunState | None) -> None:
        self._origin, self._folder, self._there = origin, folder, there
        self._now = self._earliest()
        redactor = make_redactor(True)
        assert isinstance(redactor, Redactor)
        self._redactor = redactor
        self._writer = Writer(
            folder,
            Place(main=there is None, attempt=1),
            folder.path.name,
            WriterOptions(),
            redactor,
            on_open=lambda: None,
            clock=lambda: self._now,
        )
        self._known = Counter() if there is None else _known_points(folder.path)
        self._store = ArtifactStore(folder.path, folder.access)
        self._notes: list[str] = []
        self._params: dict[str, Any] = {}
        self._points = self._files = 0

    def _earliest(self) -> int:
        """Return the time of the first event: of another writer after all others."""
        began = _clamped(self._origin.began)
        last = seconds_of(self._there.updated) if self._there is not None else None
        return began if last is None else max(began, round(last * 1e6))

    def begin(self) -> None:
        """Say what is known of the run before its points."""
        origin, there = self._origin, self._there
        self._writer.start()
        if there is None:
            self._event("run.start", self._start_facts())
        said = {"from": origin.tool, "source": origin.source}
        if there is None or not there.properties.get("import.source"):
            self._event("run.import", said)
        state = there or RunState(self._folder.path, origin.run_id)
        self._params = dict(state.params)
        self._tell_params()
        self._facts("run.tags", origin.tags, state.tags)
        properties = {"import.source": origin.source, **origin.properties}
        self._facts("run.properties", properties, state.properties)
        if origin.description and not state.description:
            self._event("run.update", {"description": origin.description})
        for experiment, run_id in origin.children:
            path = str(run_folder(self._root, experiment, run_id))
            if path not in state.children:
                self._event("run.child", {"run": run_id, "path": path})

    def take_points(self, points: Iterator[Point]) -> None:
        """Write the points that are not there yet."""
        for point in points:
            values = dict(point.values)
            for name, value in values.items():
                if isinstance(value, Picture):
                    values[name] = self._picture(value)
            numbers, others = split_metric(values)
            if others:
                others = self._redactor.fields(others)
            ts = None if point.time is None else stamp(_clamped(point.time))
            entry = self._entry(ts, point.step, numbers, others)
            if entry is not None:
                self._write(entry, point.time)

    def take_files(self, files: Iterator[File]) -> None:
        """Store the files that are not there yet; one that cannot be is noted."""
        there = self._there.artifacts if self._there is not None else {}
        for file in files:
            known = there.get(file.name)
            if known is not None and file.size in (None, known.size):
                continue
            try:
                with file.open() as content:
                    self._put(self._store.put(file.name, content))
            except (UnsafePathError, ValueError, MlogError) as exc:
                self._note(f"{file.name}: {exc}")

    def end(self, notes: list[str]) -> Copied:
        """Say how the run ended there, and that all of it is here."""
        origin = self._origin
        self._tell_params()  # some sources have them among the points
        if origin.ended is not None:
            self._now = max(self._now, _clamped(origin.ended))
        metrics = self._summary()
        said = {"from": origin.tool, "source": origin.source, "state": origin.state}
        self._event("run.import", said)
        final = origin.status is not None
        if final:
            self._event("run.end", {"status": origin.status, "metrics": metrics})
        status = origin.status or "Completed"
        self._writer.end(status, metrics=None if final else metrics)
        self._check_losses()
        write_document(self._folder, metrics=metrics)
        what: Literal["imported", "continued"]
        what = "imported" if self._there is None else "continued"
        found = [*notes, *self._notes]
        return Copied(self._folder.path, what, self._points, self._files, found)

    def close(self) -> None:
        """Let go of the files; an unfinished copy stays for the next call."""
        if self._writer.started and not self._writer.ended:
            self._writer.end("Failed")
        self._writer.close()

    # --- inside --------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        return self._folder.path.parent.parent

    def _start_facts(self) -> dict[str, Any]:
        origin = self._origin
        facts = {"experiment": origin.experiment, "display_name": origin.name}
        if origin.parent is not None:
            facts["parent"] = str(run_folder(self._root, *origin.parent))
        return {**facts, **origin.start}

    def _tell_params(self) -> None:
        self._facts("run.params", self._origin.params, self._params)
        self._params |= self._origin.params

    def _facts(
        self, event: str, given: Mapping[str, Any], there: Mapping[str, Any]
    ) -> None:
        """Write what is not there yet: what people have changed in a copy stays."""
        new = {name: value for name, value in given.items() if name not in there}
        if new:
            self._event(event, new)

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        self._writer.event(name, data)
        self._check_losses()

    def _entry(
        self,
        ts: str | None,
        step: int | None,
        numbers: dict[str, Any],
        others: dict[str, Any],
    ) -> dict[str, Any] | None:
        """Return the entry of what is not there yet; None where all of it is."""
        if self._known:
            numbers = {n: v for n, v in numbers.items() if self._is_new(n, ts, step, v)}
            others = {n: v for n, v in others.items() if self._is_new(n, ts, step, v)}
        if not numbers and not others:
            return None
        self._points += len(numbers) + len(others)
        entry: dict[str, Any] = {"ts": ts, "seq": 0, "level": "INFO", "logger": _LOGGER}
        if step is not None:
            entry["step"] = step
        if numbers:
            entry["metric"] = numbers
        if others:
            entry["value"] = to_json(others)
        return entry

    def _is_new(self, name: str, ts: str | None, step: int | None, value: Any) -> bool:
        key = _key(name, ts, step, value)
        if self._known[key] > 0:
            self._known[key] -= 1
            return False
        return True

    def _write(self, entry: dict[str, Any], time: int | None) -> None:
        if time is None:
            entry["ts"] = stamp(self._now)
        else:
            self._now = max(self._now, _clamped(time))
        self._writer.write("metrics", entry)
        self._check_losses()

    def _picture(self, picture: Picture) -> dict[str, str]:
        """Store a picture, unless the same is there; returns what the entry holds."""
        digest = hashlib.sha256(picture.content).hexdigest()
        there = self._there.artifacts.get(picture.name) if self._there else None
        if there is None or there.sha256 != digest:
            kind = picture.media_type
            self._put(self._store.put(picture.name, picture.content, media_type=kind))
        value = {"type": "mlog.artifact", "path": picture.name}
        return {**value, "media_type": picture.media_type}

    def _put(self, stored: Stored) -> None:
        facts = stored._asdict()
        self._event("run.artifact", facts)
        self._files += 1

    def _summary(self) -> dict[str, dict[str, Any]]:
        """Return last, least, greatest and count over all writers of the copy."""
        names = list(self._writer.made["metrics"])
        if self._there is not None:
            others = [
                segment.filename
                for writer in read_writers(self._folder.path)
                for segment in writer.segments.get("metrics", [])
            ]
            names = [name for name in others if name not in names] + names
        summary = Summary(self._folder.path, names)
        summary.catch_up()
        return summary.metrics

    def _check_losses(self) -> None:
        """Stop where the disk does not take what is written.

        Raises:
            OSError: It does not.
        """
        if self._writer.lost:
            text = f"{self._folder.path} cannot be written to: is the disk full?"
            raise OSError(f"{text} What is there stays; import again to go on")

    def _note(self, text: str) -> None:
        if len(self._notes) < _MAX_NOTES:
            self._notes.append(fit_text(text, 400))


def _clamped(time: int) -> int:
    return min(max(time, 0), _LAST_US)
