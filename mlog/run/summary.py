"""Last, least, greatest and number of values of each metric, from the writer's own file.

The hot path counts nothing: a summary reads what was appended since it last looked,
on the keeper's thread and once more when the run ends.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlog.entry import salvage
from mlog.folder import read_from

__all__ = ["Summary", "summary_of"]

_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_CHUNK = 1 << 20
_MOST = 16 << 20
"""Bytes of metrics that a process which only joined sums up at its end."""


@dataclass(slots=True)
class Summary:
    """What the metric segments of one writer hold so far. Used by one thread at a time.

    Attributes:
        folder: The run's folder.
        names: File names of the segments, oldest first; grows when a segment begins.
        metrics: Name to `last` (as in the file), `count`, and of the finite values
            `min` and `max`.
    """

    folder: Path
    names: list[str]
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    _file: int = 0
    _offset: int = 0

    def catch_up(self, max_bytes: int | None = None) -> bool:
        """Read on from where the last call stopped.

        Args:
            max_bytes: Roughly how much to read at most. None: everything.

        Returns:
            Whether there was anything to read.

        Raises:
            OSError: A segment cannot be read.
        """
        left = most = math.inf if max_bytes is None else max_bytes
        while self._file < len(self.names) and left > 0:
            is_last = self._file + 1 == len(self.names)
            chunk = self._read()
            left -= len(chunk)
            if chunk:
                self._offset += len(chunk)
                for line in chunk.split(b"\n")[:-1]:
                    self._add(line)
            elif is_last:
                break
            else:
                self._file, self._offset = self._file + 1, 0
        return left < most

    def _read(self) -> bytes:
        """Return whole lines from the current place; b"" when there are none yet."""
        with read_from(self.folder / self.names[self._file]) as file:
            file.seek(self._offset)
            chunk = file.read(_CHUNK)
            if chunk and b"\n" not in chunk:
                chunk += file.readline()
        return chunk[: chunk.rfind(b"\n") + 1]

    def _add(self, line: bytes) -> None:
        entry = salvage(line)
        metric = entry.get("metric") if entry is not None else None
        for name, value in (metric or {}).items():
            number = _NONFINITE[value] if isinstance(value, str) else value
            seen = self.metrics.get(name)
            if seen is None:
                seen = self.metrics[name] = {"last": value, "count": 0}
            seen["last"] = value
            seen["count"] += 1
            if not math.isfinite(number):
                continue
            seen["min"] = min(number, seen.get("min", number))
            seen["max"] = max(number, seen.get("max", number))


def summary_of(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the summary of some segments, of their first 16 MiB; {} if unreadable."""
    summary = Summary(folder, names)
    try:
        summary.catch_up(_MOST)
    except OSError:
        return {}
    return summary.metrics
