"""The time of an entry as a number, as sinks need it."""

from datetime import datetime
from functools import lru_cache

__all__ = ["microseconds"]


def microseconds(ts: str) -> int:
    """Return microseconds since 1970 of an entry's time.

    Raises:
        ValueError: It is no such time, or one before 1970.
    """
    second, point, fraction = ts[:19], ts[19:20], ts[20:-1]
    if ts[-1:] != "Z" or (point == ".") is not fraction.isdecimal():
        raise ValueError(f"its time is none: {ts!r}")
    time = _second(second) * 1_000_000 + int(f"{fraction[:6]:0<6}")
    if time < 0:
        raise ValueError(f"its time is before 1970: {ts}")
    return time


@lru_cache(maxsize=1024)
def _second(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text + "+00:00").timestamp())
    except ValueError as exc:
        raise ValueError(f"its time is none: {text!r}") from exc
