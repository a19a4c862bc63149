"""How far each sink of a run is: lag, counts, last error. Reads only.

What a sink has of a run is the cursor's word; what there is of the run, the files'. So
the lag is right also while no shipper runs.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from mlog.errors import MlogError
from mlog.folder import PRIVATE, Folder
from mlog.reader.alive import seconds_of
from mlog.reader.follow import parse_line
from mlog.shipping.cursor import SHIP, SILENCE, Cursor, Place, read_cursors
from mlog.shipping.source import Source

__all__ = ["SinkStatus", "read_status"]

_COUNTED = 64 << 20


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """What one sink has of one run.

    Attributes:
        run: The run's folder.
        sink, url: Its name and address, without credentials.
        host: Where the shipper runs, or ran.
        state: `sending` (a shipper is at it), `waiting` (it is, and the last request
            failed), `stopped` (none is at it, and something is left), `sent` (nothing
            is left), `done` (and the sink knows how the run ended).
        lag_bytes: Not delivered yet, lines that will be left out by level included.
        lag_entries: The same in lines; beyond 64 MiB as many as their size suggests.
        lag_seconds: Age of the oldest entry that was not delivered; 0 without any.
        acked: When the last delivery was acknowledged, seconds since the epoch; 0.0
            before the first.
        entries, bytes, files: Delivered so far.
        rate: Entries per second of late, while sending.
        retries: Requests that were made again.
        dead: Dead letters that are kept.
        error: The last failure; "" when the last request went well.
        failures: How often in a row.
        segments: Bytes delivered, by name of the segment.
    """

    run: Path
    sink: str
    url: str
    host: str
    state: str
    lag_bytes: int
    lag_entries: int
    lag_seconds: float
    acked: float
    entries: int
    bytes: int
    files: int
    rate: float
    retries: int
    dead: int
    error: str
    failures: int
    segments: dict[str, int]


def read_status(
    run: Path, *, state: Path | None = None, now: float | None = None
) -> list[SinkStatus]:
    """Return how far each sink of a run is; [] where it was never sent anywhere.

    A cursor that cannot be read counts as not there. Never writes.

    Args:
        run: The run's folder.
        state: Folder of cursors that lie outside of the runs (`--state`).
        now: Seconds since the epoch. Default: the clock's.

    Raises:
        OSError, MlogError: The run's folder cannot be read.
    """
    now = time.time() if now is None else now
    source = Source(run)
    folder = source.open()
    sizes = {name: size for name, (_, size) in source.segments(folder).items()}
    found: dict[str, Cursor] = {}
    for cursor in _cursors(run, state):
        known = found.get(cursor.sink)
        if known is None or cursor.seen >= known.seen:
            found[cursor.sink] = cursor
    return [
        _status(run, folder, sizes, cursor, state, now)
        for _, cursor in sorted(found.items())
    ]


def _cursors(run: Path, state: Path | None) -> list[Cursor]:
    found = read_cursors(run)
    if state is not None:
        found += read_cursors(run, state=state)
    return found


def _status(
    run: Path,
    folder: Folder,
    sizes: dict[str, int],
    cursor: Cursor,
    state: Path | None,
    now: float,
) -> SinkStatus:
    offsets = {name: p.offset + p.torn for name, p in cursor.segments.items()}
    behind = {
        name: (offsets.get(name, 0), size)
        for name, size in sizes.items()
        if size > offsets.get(name, 0)
    }
    lines, oldest = 0, now
    for name, (start, size) in behind.items():
        count, first = _look(folder, name, start, size)
        lines += count
        oldest = min(oldest, first if first is not None else now)
    stats = cursor.stats
    return SinkStatus(
        run=run,
        sink=cursor.sink,
        url=cursor.url,
        host=cursor.host,
        state=_word(cursor, bool(behind), now),
        lag_bytes=sum(size - start for start, size in behind.values()),
        lag_entries=lines,
        lag_seconds=max(now - oldest, 0.0),
        acked=stats.acked,
        entries=stats.entries,
        bytes=stats.bytes,
        files=stats.files,
        rate=stats.rate,
        retries=stats.retries,
        dead=_dead(run, cursor.sink, state),
        error=cursor.error,
        failures=cursor.failures,
        segments=offsets,
    )


def _word(cursor: Cursor, is_behind: bool, now: float) -> str:
    if cursor.finished and not is_behind:
        return "done"
    if cursor.open and now - cursor.seen < SILENCE:
        return "waiting" if cursor.failures else "sending"
    return "stopped" if is_behind else "sent"


def _look(folder: Folder, name: str, start: int, size: int) -> tuple[int, float | None]:
    """Count the lines of a part of a segment; return the time of the first, too."""
    try:
        with folder.open(name) as file:
            file.seek(start)
            count, read, first = 0, 0, None
            while read < min(size - start, _COUNTED):
                block = file.read(min(1 << 20, size - start - read))
                if not block:
                    break
                if read == 0:
                    entry = parse_line(block.partition(b"\n")[0])
                    first = seconds_of(entry["ts"]) if entry is not None else None
                count += block.count(b"\n")
                read += len(block)
    except (OSError, MlogError):  # removed just now
        return 0, None
    if 0 < read < size - start:
        count = int(count * (size - start) / read)
    return count, first


def _dead(run: Path, sink: str, state: Path | None) -> int:
    """Count the dead letters that are kept of a sink."""
    places = [(run.parent.parent, (*run.parts[-2:], SHIP))]
    if state is not None:
        places.append((state, run.parts[-2:]))
    total = 0
    for root, parts in places:
        try:
            folder = Folder.open_below(root, parts, PRIVATE, create=False)
            total += sum(each.count for each in Place(folder, sink, "").dead())
        except (OSError, MlogError):
            continue
    return total
