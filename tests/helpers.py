"""What several test modules need: reading runs strictly, child processes, a clock.

Nothing here imports mlog, so a run is judged by the file format alone.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

Entry: TypeAlias = dict[str, Any]

REPO = Path(__file__).parents[1]

_SEGMENT = re.compile(
    r"(?P<stream>logs|metrics|events)(?:-(?P<writer>[a-z0-9-]+))?"
    r"(?:\.(?P<number>[1-9][0-9]*))?\.jsonl"
)


@dataclass
class FakeClock:
    """A clock that moves only when told, in seconds."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on; also serves as a `sleep`."""
        self.now += seconds


def run_python(
    code: str | Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    python: str = sys.executable,
    timeout: float = 60,
    warnings: str = "error",
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end in a child; the caller looks at its exit code.

    Args:
        code: The program's text, or the path of a script.
        *args: Its arguments.
        env: Variables to add to this process's environment.
        cwd: Folder to run in. None: this process's.
        python: The interpreter.
        timeout: Seconds until the child is killed and TimeoutExpired raised.
        warnings: What `-W` says.
    """
    script = [str(code)] if isinstance(code, Path) else ["-c", code]
    return subprocess.run(
        [python, "-W", warnings, *script, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
        cwd=cwd,
        timeout=timeout,
        check=False,
    )


def entries(path: str | os.PathLike[str], stream: str | None = None) -> list[Entry]:
    """Return the entries of a file, or of a run's folder segment by segment.

    Strict: a line that is no JSON object (RFC 8259: no bare NaN) raises ValueError. A
    last line without its newline is not there yet.

    Args:
        path: A JSONL file, or the folder of a run.
        stream: "logs", "metrics" or "events" of a folder. None: all.
    """
    path = Path(path)
    files = [path] if path.is_file() else _segments(path, stream)
    return [entry for file in files for entry in _read(file)]


def read_run(folder: str | os.PathLike[str]) -> dict[str, list[Entry]]:
    """Return the entries of each writer, its streams put together in order of `seq`."""
    writers: dict[str, list[Entry]] = {}
    for file in _segments(Path(folder)):
        writers.setdefault(_parts(file)[1], []).extend(_read(file))
    for found in writers.values():
        found.sort(key=lambda entry: entry["seq"])
    return writers


def gaps(folder: str | os.PathLike[str]) -> dict[str, dict[int, str | None]]:
    """Return for each writer with missing numbers what explains each of them.

    "dropped: …" where a `run.dropped` names it, "in flight" where the writer has no
    `writer.end` and the number lies in its last second, None where it is lost.
    """
    found = {writer: _gaps(wrote) for writer, wrote in read_run(folder).items()}
    return {writer: missing for writer, missing in found.items() if missing}


def lost(folder: str | os.PathLike[str]) -> dict[str, list[int]]:
    """Return for each writer the missing numbers that nothing explains."""
    found = {
        writer: [seq for seq, reason in missing.items() if reason is None]
        for writer, missing in gaps(folder).items()
    }
    return {writer: numbers for writer, numbers in found.items() if numbers}


def _gaps(wrote: list[Entry]) -> dict[int, str | None]:
    by_seq = {entry["seq"]: entry for entry in wrote}
    events = [entry for entry in wrote if "event" in entry]
    ends = [e["data"]["last"] for e in events if e["event"] == "writer.end"]
    dropped = [e["data"] for e in events if e["event"] == "run.dropped"]
    missing: dict[int, str | None] = {}
    above: Entry | None = None  # the next number that is there
    for seq in reversed(range(max([*by_seq, *ends], default=-1) + 1)):
        if seq in by_seq:
            above = by_seq[seq]
            continue
        missing[seq] = _dropped(seq, dropped)
        if missing[seq] is None and not ends and above and _is_late(above, wrote):
            missing[seq] = "in flight"
    return dict(sorted(missing.items()))


def _dropped(seq: int, dropped: list[Entry]) -> str | None:
    for data in dropped:
        if "first" in data and data["first"] <= seq <= data["last"]:
            return f"dropped: {data['reason']}"
    return None


def _is_late(entry: Entry, wrote: list[Entry]) -> bool:
    """Whether an entry lies in the last second of its writer."""
    last = max(_time(other) for other in wrote)
    return last - _time(entry) <= timedelta(seconds=1)


def _time(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry["ts"])


def _segments(folder: Path, stream: str | None = None) -> list[Path]:
    found = [path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)]
    kept = [path for path in found if stream in (None, _parts(path)[0])]
    return sorted(kept, key=_parts)


def _parts(segment: Path) -> tuple[str, str, int]:
    match = _SEGMENT.fullmatch(segment.name)
    if match is None:
        raise ValueError(f"{segment} is no segment")
    return match["stream"], match["writer"] or "", int(match["number"] or 0)


def _read(file: Path) -> list[Entry]:
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    lines = whole.decode("utf-8").split("\n") if whole else []
    return [_parse(line, f"{file}:{n}") for n, line in enumerate(lines, 1)]


def _parse(line: str, where: str) -> Entry:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{where}: bare {constant}")

    try:
        entry = json.loads(line, parse_constant=refuse)
    except json.JSONDecodeError as exc:
        raise ValueError(f"{where}: {exc}: {line[:200]!r}") from exc
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, got {line[:200]!r}")
    return entry
