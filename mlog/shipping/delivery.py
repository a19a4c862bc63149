"""One run to one sink: what is sent next, and what is done about each answer.

`RunDelivery.step` makes at most one call of the sink. Its invariants:

- Batches of a segment go in order; the next only when the one before is settled: each
  of its entries was delivered, or lies as a dead letter on the disk.
- The cursor passes a batch when that is settled, and is on the disk before the next
  call. So a crash repeats at most what was just being sent.
- What failed is sent again as it was (same bounds, same key) until it is settled.
- Files that an event tells of are sent before the event.
- A sink that has never taken anything is not believed when it refuses everything: then
  the address is wrong rather than the entries, and nothing becomes a dead letter.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import orjson

from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.folder import Folder
from mlog.http import HttpError
from mlog.layout import SegmentName, parse_segment
from mlog.reader.state import RunState, read_state
from mlog.shipping.agenda import Agenda, Size, Todo, rfc3339
from mlog.shipping.cursor import Cursor, Place, TakenOverError
from mlog.shipping.letter import DeadLetter
from mlog.shipping.retry import Backoff
from mlog.shipping.sink import (
    Batch,
    Rejected,
    RunEnd,
    RunFile,
    SendResult,
    Sink,
)
from mlog.shipping.source import Source
from mlog.shipping.target import Route
from mlog.shipping.world import World

__all__ = ["RunDelivery", "Step"]

_ORDER = ("events", "metrics", "logs")
_FINAL = ("Completed", "Failed", "Canceled")
_MAX_SUSPECTS = 32
_LONG_WAIT = 600.0
_MAX_ERROR = 300


@dataclass(frozen=True, slots=True)
class _Settled:
    """A batch that was delivered while entries before it were still in doubt."""

    batch: Batch
    result: SendResult
    took: float


_Todo: TypeAlias = "Todo | _Settled"
Step: TypeAlias = Literal["sent", "waits", "idle", "done", "taken"]
"""What came of one step.

- `sent`: something was settled; the next step may follow at once.
- `waits`: something failed; not before `next_try`.
- `idle`: nothing to send now; more may come.
- `done`: the run has ended, and the sink was told of everything.
- `taken`: somebody else ships the run.
"""


@dataclass(slots=True)
class RunDelivery:
    """Delivers one run to one sink.

    Attributes:
        source: The run.
        sink: Where to.
        route: What of it.
        place: Where cursor and dead letters are; its lock is held.
        cursor: How far it is.
        world: Clocks and chance.
        backoff: When to try again.
        max_age: Seconds that an entry waits for more to fill its batch.
        next_try: Monotonic time before which `step` does nothing.
        failures: How often the sink failed in a row.
        failing_since: Monotonic time of the first of them; infinite without any.
        unreachable: Whether the last failure was the server's, not this run's.
        final: Nothing more will be waited for: the trainer said that it ends.
        last: What came of the last step.
    """

    source: Source
    sink: Sink
    route: Route
    place: Place
    cursor: Cursor
    world: World = field(default_factory=World)
    backoff: Backoff = field(default_factory=Backoff)
    max_age: float = 1.0
    next_try: float = 0.0
    failures: int = 0
    failing_since: float = math.inf
    unreachable: bool = False
    final: bool = False
    last: Step = "sent"
    _queue: deque[_Todo] = field(default_factory=deque)
    _suspects: list[Batch] = field(default_factory=list)
    _is_trusted: bool = False
    _agenda: Agenda = field(init=False)
    _dirty: bool = False
    _saved: float = 0.0
    _looked: float = -1e9
    _ended_with: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Begin with batches of a middle size."""
        traits = self.sink.traits
        size = Size(min(1_000, traits.max_entries), traits.max_entries)
        self._agenda = Agenda(
            self.source, traits, self.route, self.cursor, self.world, size, self.max_age
        )
        self._agenda.final = self.final

    @property
    def behind(self) -> int:
        """Bytes that were not delivered, at the last look."""
        return self._agenda.behind

    # --- one step --------------------------------------------------------------------

    def step(self) -> Step:
        """Send one thing, if there is one and it is time.

        Raises:
            OSError, MlogError: The run's folder cannot be read.
        """
        if self.world.monotonic() < self.next_try:
            return "waits"
        try:
            self.last = self._step()
        except TakenOverError:
            self.last = "taken"
        return self.last

    def _step(self) -> Step:
        if self._dirty and not self._save():
            return "waits"
        if not self._queue:
            folder = self.source.open()
            self._agenda.final = self.final
            self._queue.extend(self._agenda.next(folder))
            if not self._queue:
                return self._settle_end(folder)
        todo = self._queue[0]
        if isinstance(todo, RunFile):
            return self._send_file(todo)
        if isinstance(todo, _Settled):
            return self._delivered(todo.batch, todo.result, todo.took)
        return self._send(todo)

    def hold(self, error: str) -> None:
        """Wait, as after a failure of the sink: the run cannot be read just now."""
        self._failed(SendResult("retry", error))

    def close(self) -> None:
        """Say in the cursor that nobody is at it, and let go of the lock."""
        if self.cursor.open:
            self.cursor.open = False
            try:
                self._write()
            except (OSError, MlogError):  # it reads as silent after a while
                pass
        self.place.release()

    # --- sending ---------------------------------------------------------------------

    def _send(self, batch: Batch) -> Step:
        if not batch.body:  # its files were sent, and that is all
            self._pass(batch)
            return self._after_settled()
        if self.sink.traits.needs_plan and not self._plan(batch):
            return "waits"
        began = self.world.monotonic()
        result = self.call(lambda: self.sink.send(batch))
        self.world.reach("sent")
        if result.outcome == "delivered":
            took = self.world.monotonic() - began
            return self._delivered(batch, result, took)
        if result.outcome in ("too_large", "refused"):
            if result.outcome == "too_large":
                self._agenda.size.shrink(batch.count)
            if batch.count > 1:
                self._queue.popleft()
                self._queue.extendleft(reversed(batch.halves()))
                return "sent"
            return self._suspect(batch, result.error or result.outcome)
        self._split_if_slow(batch)
        return self._failed(result)

    def _split_if_slow(self, batch: Batch) -> None:
        """Halve what was tried in vain for a while: it may take the server too long.

        Not where a batch has to stay as it was planned.
        """
        often = self.unreachable and self.failures % 4 == 3
        if often and batch.count > 1 and not self.sink.traits.needs_plan:
            self._queue.popleft()
            self._queue.extendleft(reversed(batch.halves()))
            self._agenda.size.entries = max(batch.count // 2, 1)

    def _delivered(self, batch: Batch, result: SendResult, took: float) -> Step:
        if self._suspects:
            return self._try_suspects(_Settled(batch, result, took))
        try:
            self._bury([self._rejected(batch, each) for each in result.rejected])
        except OSError as exc:
            self._queue[0] = _Settled(batch, result, took)
            return self._failed(SendResult("retry", f"dead letters: {exc}"))
        lost = sum(each.count for each in result.rejected)
        self._pass(batch)
        stats = self.cursor.stats
        stats.entries += max(batch.count - lost, 0)
        stats.bytes += len(batch.body)
        stats.rate = _smooth(stats.rate, batch.count / took if took > 0 else 0.0)
        if batch.count >= self._agenda.size.entries or took > 5.0:
            self._agenda.size.grow(took)
        return self._after_settled()

    def _pass(self, batch: Batch) -> None:
        """Let the cursor pass a batch."""
        self._queue.popleft()
        position = self.cursor.at(batch.segment.filename)
        if batch.gap:
            position.gone = True
            return
        position.offset = batch.end
        if batch.body:
            position.seq = batch.last_seq

    def _after_settled(self) -> Step:
        now = self.world.wall()
        self.cursor.stats.acked = now
        self.cursor.error, self.cursor.failures = "", 0
        self.failures, self.failing_since = 0, math.inf
        self.unreachable = False
        if not self._queue:
            self.cursor.plan = None
        self.world.reach("acked")
        self._dirty = True
        return "sent" if self._save() else "waits"

    def _suspect(self, batch: Batch, reason: str) -> Step:
        """Deal with one entry that the sink refuses."""
        if not self._is_believed():
            self._queue.popleft()
            self._suspects.append(batch)
            if self._queue and len(self._suspects) < _MAX_SUSPECTS:
                return "sent"
            self._queue.clear()
            self._suspects.clear()
            error = f"everything is refused, be it the address: {reason}"
            return self._failed(SendResult("blocked", error))
        try:
            self._bury([self._letter(batch, reason)])
        except OSError as exc:
            return self._failed(SendResult("retry", f"dead letters: {exc}"))
        self._pass(batch)
        return self._after_settled()

    def _is_believed(self) -> bool:
        """Whether the sink has ever taken anything of this run."""
        return self._is_trusted or self.cursor.stats.entries > 0

    def _try_suspects(self, settled: _Settled) -> Step:
        """Send again what was refused before anything was taken: now it is believed."""
        self._is_trusted = True
        self._queue[0] = settled
        self._queue.extendleft(reversed(self._suspects))
        self._suspects.clear()
        return "sent"

    def _failed(self, result: SendResult) -> Step:
        """Note a failure, and when to try again."""
        self.failures += 1
        if self.failures == 1:
            self.failing_since = self.world.monotonic()
        blocked = result.outcome == "blocked"
        wait = self.backoff.delay(
            self.failures,
            self.world.random,
            asked=result.retry_after,
            blocked=blocked,
        )
        self.next_try = self.world.monotonic() + wait
        self.cursor.stats.retries += 1
        self.cursor.failures = self.failures
        self.cursor.error = inline(result.error)[:_MAX_ERROR]
        if self.failures == 1 or self.world.monotonic() - self._saved > 10.0:
            self._save(quiet=True)
        return "waits"

    def call(self, send: Callable[[], SendResult]) -> SendResult:
        """Call the sink; whatever it raises is a failure."""
        self.unreachable = False
        try:
            return send()
        except HttpError as exc:
            self.unreachable = True
            return SendResult("blocked" if exc.blocked else "retry", str(exc))
        except OSError as exc:
            self.unreachable = True
            return SendResult("retry", str(exc))
        except MlogError as exc:
            return SendResult("blocked", str(exc))
        except orjson.JSONDecodeError:  # a line that only looked like an entry
            return SendResult("refused", "it is no JSON")
        except Exception as exc:  # a sink's own mistake costs neither data nor shipper
            return SendResult("retry", f"{type(exc).__name__} in the sink: {exc}")

    # --- files -----------------------------------------------------------------------

    def _send_file(self, file: RunFile) -> Step:
        segment = parse_segment(file.name) is not None
        try:
            with file.open() as opened:
                size = opened.seek(0, 2)
        except (OSError, MlogError) as exc:
            return self._lost_file(file, f"it cannot be read: {exc}")
        if not segment:
            file = replace(file, size=size)
        facts = self.source.facts(self.source.open())
        result = self.call(lambda: self.sink.send_file(facts, file))
        self.world.reach("sent")
        if result.outcome in ("too_large", "refused"):
            return self._lost_file(file, result.error or result.outcome)
        if result.outcome != "delivered":
            return self._failed(result)
        self._queue.popleft()
        self.cursor.stats.files += 1
        if segment:
            position = self.cursor.at(file.name)
            self.cursor.stats.bytes += file.size - position.offset
            position.offset = max(position.offset, file.size)
        return self._after_settled()

    def _lost_file(self, file: RunFile, reason: str) -> Step:
        ts = rfc3339(self.world.wall())
        try:
            self._bury([DeadLetter(reason=inline(reason), ts=ts, file=file.name)])
        except OSError as exc:
            return self._failed(SendResult("retry", f"dead letters: {exc}"))
        self._queue.popleft()
        if parse_segment(file.name) is not None:
            self.cursor.at(file.name).offset = file.size
        return self._after_settled()

    # --- the end ---------------------------------------------------------------------

    def _settle_end(self, folder: Folder) -> Step:
        """Tell the sink that the run has ended, when it has and all was sent."""
        found = self.source.segments(folder)
        if any(size > self.cursor.at(n).offset for n, (_, size) in found.items()):
            if not self._is_over(found):
                return "idle"
            if not self.final:  # what is left is waited for by nobody
                self.final = True
                return "sent"
        elif not self._is_over(found):
            return "idle"
        state = read_state(self.source.path)
        end = _end_of(state)
        if end is None:
            return "idle"
        mark = f"{end.status} {end.ended}"
        if self.cursor.finished == mark:
            return "done"
        return self._finish(folder, found, end, mark)

    def _is_over(self, found: dict[str, tuple[SegmentName, int]]) -> bool:
        """Whether the run has ended; looked at now and then, and after each change."""
        sizes = tuple(sorted(size for _, size in found.values()))
        if self._ended_with == sizes:
            return True
        now = self.world.monotonic()
        if not self.final and now - self._looked < 2.0:
            return False
        self._looked = now
        if _end_of(read_state(self.source.path)) is None:
            return False
        self._ended_with = sizes
        return True

    def _finish(
        self,
        folder: Folder,
        found: dict[str, tuple[SegmentName, int]],
        end: RunEnd,
        mark: str,
    ) -> Step:
        traits, facts = self.sink.traits, self.source.facts(folder)
        path = self.source.path
        files: list[RunFile] = []
        if traits.segments == "at_end":
            files = [
                RunFile(name=name, path=path / name, size=size)
                for name, (_, size) in sorted(found.items())
            ]
        elif traits.segments == "growing" and folder.size("run.json"):
            name = "run.json"
            files = [RunFile(name=name, path=path / name, size=folder.size(name))]
        letters: list[DeadLetter] = []
        for file in files:
            result = self.call(lambda file=file: self.sink.send_file(facts, file))  # type: ignore[misc]
            if result.outcome in ("too_large", "refused"):
                letters.append(self._end_letter(result.error, file=file.name))
            elif result.outcome != "delivered":
                return self._failed(result)
        result = self.call(lambda: self.sink.finish(facts, end))
        self.world.reach("sent")
        if result.outcome in ("delivered", "refused", "too_large"):
            if result.error:
                letters.append(self._end_letter(result.error))
            for each in result.rejected:
                letters.append(self._end_letter(each.reason, count=each.count))
            try:
                self._bury(letters)
            except OSError as exc:
                return self._failed(SendResult("retry", f"dead letters: {exc}"))
            self.cursor.finished = mark
            for name, (_, size) in found.items():
                position = self.cursor.at(name)
                position.torn = max(size - position.offset, 0)
            self._after_settled()
            return "sent"
        return self._failed(result)

    def _end_letter(self, reason: str, *, file: str = "", count: int = 1) -> DeadLetter:
        """Return what is kept of something that a sink refused when a run had ended."""
        text = inline(reason)[:_MAX_ERROR]
        ts = rfc3339(self.world.wall())
        return DeadLetter(reason=text, ts=ts, file=file, count=count)

    # --- the disk --------------------------------------------------------------------

    def _plan(self, batch: Batch) -> bool:
        """Have the bounds of a batch on the disk before it is sent."""
        plan = (batch.segment.filename, batch.start, batch.end)
        if batch.gap or self.cursor.plan == plan:
            return True
        self.cursor.plan = plan
        done = self._save()
        self.world.reach("planned")
        return done

    def _save(self, *, quiet: bool = False) -> bool:
        """Write the cursor; a disk that does not let us is a failure like another."""
        try:
            self._write()
        except OSError as exc:
            if not quiet:
                self._dirty = True
                self._failed(SendResult("retry", f"cursor: {exc}"))
            return False
        self._dirty = False
        self.world.reach("saved")
        return True

    def _write(self) -> None:
        self.cursor.seen = self.world.wall()
        self._saved = self.world.monotonic()
        self.place.save(self.cursor)

    def beat(self) -> None:
        """Show other hosts that this shipper lives; to be called now and then."""
        if self.cursor.open and self.world.monotonic() - self._saved > 60.0:
            self._save(quiet=True)

    def _bury(self, letters: list[DeadLetter]) -> None:
        if letters:
            self.place.bury(letters)
            self.cursor.stats.dead += sum(letter.count for letter in letters)
            self.world.reach("buried")

    def _letter(self, batch: Batch, reason: str) -> DeadLetter:
        return DeadLetter(
            reason=inline(reason)[:_MAX_ERROR],
            ts=rfc3339(self.world.wall()),
            segment=batch.segment.filename,
            offset=batch.place_of(0),
            entry=batch.lines[0],
        )

    def _rejected(self, batch: Batch, rejected: Rejected) -> DeadLetter:
        index = rejected.index
        if index is not None and 0 <= index < batch.count:
            return self._letter(batch.part(index, index + 1), rejected.reason)
        return DeadLetter(
            reason=inline(rejected.reason)[:_MAX_ERROR],
            ts=rfc3339(self.world.wall()),
            segment=batch.segment.filename,
            offset=batch.start,
            count=rejected.count,
        )


def _end_of(state: RunState) -> RunEnd | None:
    """Return how a run ended; None while it goes on."""
    if state.status in _FINAL and not any(w.alive for w in state.writers):
        return RunEnd(state.status, state.ended or state.updated, state.error)
    if state.status == "NotResponding" and state.writers:
        return RunEnd(state.status, state.updated)
    return None


def _smooth(old: float, new: float) -> float:
    return new if old <= 0 else 0.8 * old + 0.2 * new
