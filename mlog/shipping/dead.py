"""Dead letters, sent once more: after somebody has mended what they were refused for."""

from dataclasses import replace
from datetime import UTC, datetime

from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.layout import SegmentName, parse_segment
from mlog.shipping.delivery import RunDelivery
from mlog.shipping.sink import Batch, RunFile, SendResult

__all__ = ["retry_dead"]


def retry_dead(delivery: RunDelivery) -> tuple[int, int]:
    """Send each dead letter of a run again, alone; keep those that are refused again.

    Returns:
        How many were delivered, and how many are left.

    Raises:
        MlogError: The sink cannot be reached; what was delivered until then is no
            longer kept.
        OSError: The files cannot be read or written.
    """
    letters = delivery.place.dead()
    left = list(letters)
    try:
        for letter in letters:
            if not letter.entry and not letter.file:  # nobody knows which it was
                continue
            result = _send(
                delivery, letter.segment, letter.offset, letter.entry, letter.file
            )
            if result.outcome == "delivered" and not result.rejected:
                left.remove(letter)
            elif result.outcome in ("delivered", "refused", "too_large"):
                reasons = [each.reason for each in result.rejected]
                reason = inline((reasons or [result.error])[0] or letter.reason)
                ts = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                left[left.index(letter)] = replace(letter, reason=reason, ts=ts)
            else:
                raise MlogError(f"{delivery.route.target.name}: {result.error}")
    finally:
        if left != letters:
            delivery.place.keep_dead(left)
            gone = len(letters) - len(left)
            delivery.cursor.stats.entries += gone
            delivery.cursor.stats.dead = sum(letter.count for letter in left)
            delivery.place.save(delivery.cursor)
    return len(letters) - len(left), len(left)


def _send(
    delivery: RunDelivery, segment: str, offset: int, entry: bytes, file: str
) -> SendResult:
    folder = delivery.source.open()
    facts = delivery.source.facts(folder)
    if file:
        try:
            size = folder.path.joinpath(*file.split("/")).lstat().st_size
            path = delivery.source.path.joinpath(*file.split("/"))
            found = RunFile(name=file, path=path, size=size)
            found.open().close()
        except (OSError, MlogError) as exc:
            return SendResult("refused", f"it cannot be read: {exc}")
        return delivery.call(lambda: delivery.sink.send_file(facts, found))
    name = parse_segment(segment) or SegmentName("events")
    body = entry + b"\n"
    writer = delivery.source.writer(folder, name.writer)
    batch = Batch(facts, writer, name, offset, offset + len(body), body)
    return delivery.call(lambda: delivery.sink.send(batch))
