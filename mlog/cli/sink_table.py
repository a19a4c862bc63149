"""How far each sink of a run is, as `mlog ship --status` and `mlog show` tell it."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mlog.cli.table import Column
from mlog.escaping import inline
from mlog.reader.page_words import size_text, span
from mlog.shipping.status import SinkStatus

__all__ = ["sink_columns", "sink_errors", "sink_fields"]

_MADE = re.compile(r"(?P<address>.+)-(?P<digest>[0-9a-f]{8})")
_LEAST_NAME = 28
"""Of columns for a name that was made from an address."""


def sink_columns(found: Sequence[SinkStatus], now: float) -> list[Column]:
    """Return the columns of a table with a row for each sink.

    Args:
        found: The rows, at least one.
        now: Seconds since the epoch.
    """
    names = [_short_name(inline(s.sink)) for s in found]
    return [
        Column(
            "SINK", names, least=_LEAST_NAME if any("…" in n for n in names) else 12
        ),
        Column("STATE", [s.state for s in found]),
        Column("BEHIND", [f"{s.lag_entries:,}" for s in found], is_right=True),
        Column("BYTES", [size_text(s.lag_bytes) for s in found], is_right=True, rank=3),
        Column(
            "AGE", [span(s.lag_seconds) if s.lag_bytes else "" for s in found], rank=2
        ),
        Column("SENT", [_sent(s) for s in found], is_right=True),
        Column("ACKED", [_ago(s.acked, now) for s in found], rank=1),
        Column(
            "RATE",
            [f"{s.rate:,.0f}/s" if s.rate else "" for s in found],
            is_right=True,
            rank=5,
        ),
        Column("RETRIES", [f"{s.retries:,}" for s in found], is_right=True, rank=4),
        Column("DEAD", [f"{s.dead:,}" for s in found], is_right=True),
    ]


def _short_name(name: str) -> str:
    """Return a name that was made from an address without the middle of that.

    Two sinks often differ in the digest at its end only.
    """
    match = _MADE.fullmatch(name)
    if match is None or len(name) <= _LEAST_NAME:
        return name
    return f"{match['address'][: _LEAST_NAME - 9]}…{match['digest']}"


def sink_errors(found: Sequence[SinkStatus]) -> list[str]:
    """Return the last error of each sink that has one, a whole line each."""
    return list(dict.fromkeys(inline(f"{s.sink}: {s.error}") for s in found if s.error))


def sink_fields(status: SinkStatus) -> dict[str, Any]:
    """Return what there is to a sink under the names it has in Python, as for JSON."""
    return asdict(status) | {"run": str(status.run)}


def _sent(status: SinkStatus) -> str:
    if status.files and not status.entries:
        return size_text(status.bytes)
    return f"{status.entries:,}"


def _ago(moment: float, now: float) -> str:
    return f"{span(max(now - moment, 0.0))} ago" if moment else "never"
