"""Foreign lines as entries of a run, on its time line, each once.

Whoever attaches is a writer of its own. Each of its entries says in `extra` where it
comes from (`from`) and where it stands there (`at`): a place that only grows, such as
the offset behind the line. So an attachment that is repeated, or was killed, goes on
behind the last entry that is there; nothing else is kept. The event `run.attach` says
at the beginning what is attached.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mlog.entry import shrink, stamp
from mlog.folder import read_from
from mlog.plain import clean_text, to_json
from mlog.reader.alive import seconds_of
from mlog.reader.blocks import blocks_before
from mlog.reader.entries import read_writers
from mlog.reader.follow import parse_line
from mlog.run.joining import joined, open_run_folder
from mlog.run.keeper import keeper
from mlog.run.writer import Place
from mlog.sources.foreign_lines import parser_of

__all__ = ["Attachment", "Known", "Printed", "last_line"]

_MAX_TEXT = 1 << 18
_YEAR_10000 = 253_402_300_800


class Printed(NamedTuple):
    """A line as a source gives it.

    Attributes:
        text: Without its end.
        at: Place in the source, an integer that only grows or a text that names it.
    """

    text: str
    at: int | str | None = None


class Known(NamedTuple):
    """The last line of a source that is in a run.

    Attributes:
        at: Its place in the source; None: there is none.
        time: Its time, in seconds since the epoch.
    """

    at: int | str | None = None
    time: float | None = None


class Attachment:
    """Writes the lines of one source into one run. For one thread.

    Attributes:
        count: Lines that were written.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        kind: str = "auto",
        last_time: float | None = None,
    ) -> None:
        """Join the run.

        Args:
            folder: Of the run.
            source: Names the source, the same each time: `file:/var/log/x.log`.
            kind: Format of the lines; see `mlog.sources.foreign_lines`.
            last_time: Of the line before, for those that say none.

        Raises:
            MlogError, OSError: It is no run, or may not be written to.
            ValueError: There is no such format.
        """
        self._parse = parser_of(kind)
        self._source = source
        self._name = re.sub(r".*[/:]|#.*", "", source) or source
        self._recorder = joined(open_run_folder(folder), Place(main=False))
        self._last = last_time
        self.count = 0
        keeper.watch(self._recorder.writer)

    def begin(self) -> None:
        """Say what is attached."""
        writer = self._recorder.writer
        writer.start()
        writer.event("run.attach", {"from": self._source})

    def take(self, lines: Iterable[Printed], now: datetime) -> None:
        """Write lines.

        Args:
            lines: In the order of the source.
            now: The time of lines that say none, where none before them did.

        Raises:
            OSError: They cannot be written.
        """
        for line in lines:
            self._write(line, now)

    def close(self) -> None:
        """End the writer; the run goes on as it did."""
        writer = self._recorder.writer
        self._recorder.settle()
        keeper.unwatch(writer)
        if writer.started:
            writer.end("Completed")
        writer.close()

    def _write(self, line: Printed, now: datetime) -> None:
        found = self._parse(clean_text(line.text), now)
        time = found.time if found.time is not None else self._last
        if time is None or not 0 <= time < _YEAR_10000:
            time = now.timestamp()
        self._last = time
        redactor = self._recorder.redactor
        extra: dict[str, Any] = {**to_json(dict(found.fields)), "from": self._source}
        if line.at is not None:
            extra["at"] = line.at
        entry: dict[str, Any] = {
            "ts": stamp(round(time * 1e6)),
            "seq": 0,
            "level": found.level,
            "logger": found.logger or self._name,
        }
        if found.text:
            text = found.text
            entry["msg"] = redactor.text(text) if redactor is not None else text
        entry["extra"] = redactor.fields(extra) if redactor is not None else extra
        if len(line.text) > _MAX_TEXT:
            entry = shrink(entry, len(line.text))
        self._recorder.writer.write("logs", entry)
        self.count += 1


def last_line(folder: Path, source: str) -> Known:
    """Return what is known of the last line of a source that is in a run.

    Raises:
        RunNotFoundError: There is no run.
        OSError: It may not be read.
    """
    sign = b'"from":'
    found = Known()
    for writer in read_writers(folder):
        if not writer.name:  # the main process attaches nothing
            continue
        for segment in reversed(writer.segments.get("logs", [])):
            last = _last_in(folder / segment.filename, source, sign)
            if last.at is None:
                continue
            new, known = last.at, found.at
            if not (isinstance(new, int) and isinstance(known, int) and new <= known):
                found = last
            break
    return found


def _last_in(path: Path, source: str, sign: bytes) -> Known:
    with read_from(path) as file:
        end = file.seek(0, 2)

        def read(start: int, length: int) -> bytes:
            file.seek(start)
            return file.read(length)

        whole = _end_of_lines(read, end)
        for block in blocks_before(read, whole, may_fit=lambda lines: sign in lines):
            for line in reversed(block.split(b"\n")):
                entry = parse_line(line) or {}
                extra = entry.get("extra")
                if isinstance(extra, dict) and extra.get("from") == source:
                    return Known(extra.get("at"), seconds_of(entry["ts"]))
    return Known()


def _end_of_lines(read: Any, end: int) -> int:
    """Return where the last whole line ends."""
    start = max(0, end - (1 << 21))
    return start + int(read(start, end - start).rfind(b"\n")) + 1
