"""What was printed, as entries: one line, or many that came at once.

Many are an entry each for the price of a few: they are as `Writer.write` would make
them, with numbers of their own; only the work is shared: one encoding, one `os.write`
of whole lines.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from mlog.entry import stamp
from mlog.run.writer import Writer

__all__ = ["write_line", "write_lines"]

_SCARCE = "little disk space is left"


def write_line(
    writer: Writer, logger: str, level: str, text: str, extra: Mapping[str, Any]
) -> None:
    """Append one line that came just now. Never raises.

    Args:
        writer: Where to.
        logger, level: Names.
        text: The message.
        extra: Further fields of the entry.
    """
    if writer.scarce and level == "INFO":
        writer.lose(_SCARCE, None)
        return
    entry: dict[str, Any] = {
        "ts": stamp(time.time_ns() // 1_000),
        "seq": 0,
        "level": level,
        "logger": logger,
    }
    if text:
        entry["msg"] = text
    if extra:
        entry["extra"] = dict(extra)
    try:
        writer.write("logs", entry)
    except OSError as exc:  # the writer had to begin anew, and could not
        writer.lose(exc.strerror or str(exc), None)


def write_lines(writer: Writer, logger: str, texts: Sequence[str]) -> None:
    """Append INFO lines that came just now. Never raises.

    What cannot be written is counted as lost.

    Args:
        writer: Where to.
        logger: Name of their logger, plain ASCII.
        texts: Their messages, each so short that its entry fits into a line.
    """
    if writer.scarce:
        writer.lose(_SCARCE, None, count=len(texts))
        return
    numbers: list[int] = []
    try:
        take = writer.take  # after the first one it is another
        numbers = [take()]
        take = writer.take
        numbers += [take() for _ in range(len(texts) - 1)]
        writer.logs.append(_encoded(logger, texts, numbers))
    except Exception as exc:  # a full disk, a writer that could not begin anew
        reason = getattr(exc, "strerror", None) or f"{type(exc).__name__}: {exc}"
        first, last = (numbers[0], numbers[-1]) if numbers else (None, None)
        writer.lose(str(reason)[:200], first, last, len(texts))


def _encoded(logger: str, texts: Sequence[str], numbers: list[int]) -> bytes:
    r"""Return one line for each text.

    orjson makes all of them JSON at once. A quote inside a string has a `\` before it
    there, so `","` stands between two strings and nowhere else.
    """
    messages = orjson.dumps(texts)[2:-2].split(b'","')
    head = b'"}\n{"ts":"%b","seq":' % stamp(time.time_ns() // 1_000).encode()
    middle = b',"level":"INFO","logger":"%b","msg":"' % logger.encode()
    parts = [head, b"", middle, b""] * len(texts)
    parts[1::4] = orjson.dumps(numbers)[1:-1].split(b",")
    parts[3::4] = messages
    parts[0] = head[3:]
    parts.append(b'"}\n')
    lines = b"".join(parts)
    # An entry without a message has none; the quotes can only be those of the JSON.
    return lines.replace(b',"msg":""}\n', b"}\n") if "" in texts else lines
