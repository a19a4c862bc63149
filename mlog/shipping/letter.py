"""A dead letter: what a sink refused, and why; a line of JSON in a file of them."""

from dataclasses import dataclass
from typing import Any

import orjson

from mlog.reader.fields import text_from, whole_from

__all__ = ["DeadLetter"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that a sink refused.

    Attributes:
        reason: In the sink's words.
        ts: When, RFC 3339.
        segment: Of an entry: where it stands; "" for a file.
        offset: Where its line begins there, likewise.
        entry: The line, as it was sent; b"" for a file or where nobody knows which.
        line: Of a line that is no JSON: its text, for people.
        file: Name of a file below the run's folder; "" for an entry.
        count: How many entries; more than 1 where nobody knows which.
    """

    reason: str
    ts: str
    segment: str = ""
    offset: int = 0
    entry: bytes = b""
    file: str = ""
    count: int = 1
    line: str = ""

    def dump(self) -> bytes:
        """Return the line of the file."""
        head: dict[str, Any] = {"ts": self.ts, "reason": self.reason}
        if self.file:
            head["file"] = self.file
        else:
            head |= {"segment": self.segment, "offset": self.offset}
        if self.count != 1:
            head["count"] = self.count
        text, entry = self.line, self.entry
        if entry and not _is_json(entry):
            text, entry = entry.decode("utf-8", "replace"), b""
        if text:
            head["line"] = text
        line = orjson.dumps(head)
        if entry:
            line = line[:-1] + b',"entry":' + entry + b"}"
        return line + b"\n"

    @classmethod
    def load(cls, line: bytes) -> "DeadLetter | None":
        """Read a line; None for what is none, as a crash may leave."""
        try:
            found = orjson.loads(line)
        except ValueError:
            return None
        if not isinstance(found, dict):
            return None
        entry = found.get("entry")
        return cls(
            reason=text_from(found.get("reason")),
            ts=text_from(found.get("ts")),
            segment=text_from(found.get("segment")),
            offset=whole_from(found.get("offset")) or 0,
            entry=orjson.dumps(entry) if isinstance(entry, dict) else b"",
            file=text_from(found.get("file")),
            count=whole_from(found.get("count", 1)) or 0,
            line=text_from(found.get("line")),
        )


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True
