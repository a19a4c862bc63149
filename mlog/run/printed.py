"""Many lines that came at once, as an entry each, for the price of a few.

The entries are as `Writer.write` would make them, one by one and with numbers of their
own; only the work is shared: one encoding, one `os.write` of whole lines.
"""

import time
from collections.abc import Sequence

import orjson

from mlog.entry import stamp
from mlog.run.writer import Writer

__all__ = ["write_lines"]


def write_lines(writer: Writer, logger: str, texts: Sequence[str]) -> None:
    """Append INFO lines that came just now. Never raises.

    What cannot be written is counted as lost.

    Args:
        writer: Where to.
        logger: Name of their logger, plain ASCII.
        texts: Their messages, each so short that its entry fits into a line.
    """
    if writer.scarce:
        writer.lose("little disk space is left", None, count=len(texts))
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
