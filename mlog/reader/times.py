"""Times of entries and of callers, as seconds since the epoch."""

from datetime import datetime
from functools import lru_cache
from math import isfinite
from typing import TypeAlias

__all__ = ["Moment", "moment_of", "seconds_of"]

Moment: TypeAlias = str | float | datetime
"""A time: RFC 3339 or a datetime with its zone, or seconds since the epoch."""


def moment_of(time: Moment, argument: str) -> float:
    """Return the seconds since the epoch of a time that a caller named.

    Args:
        time: What the caller gave.
        argument: For the error.

    Raises:
        ValueError: It is no time.
    """
    if isinstance(time, int | float) and isfinite(time):
        return float(time)
    moment = time
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:  # told below
            pass
    if isinstance(moment, datetime) and moment.tzinfo is not None:
        return moment.timestamp()
    raise ValueError(
        f"{argument} must be seconds since the epoch, or a text or datetime with its "
        f"zone like '2026-11-23T18:27:00Z', got {time!r}"
    )


def seconds_of(ts: str) -> float | None:
    """Return the seconds since the epoch of an entry's `ts`; None if it is no time."""
    try:
        if len(ts) == 27 and ts[19] == "." and ts[26] == "Z":
            return (_micros_of_second(ts[:19]) + int(ts[20:26])) / 1_000_000
        moment = datetime.fromisoformat(ts)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=64)
def _micros_of_second(text: str) -> int:
    """Return the microseconds since the epoch at `2026-11-23T18:27:00`, in UTC."""
    return round(datetime.fromisoformat(f"{text}Z").timestamp()) * 1_000_000
