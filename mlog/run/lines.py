r"""From the bytes a program prints to lines, whatever the bytes are.

- A line ends with `\n` or `\r\n`. One that is longer than `LIMIT` comes in parts.
- `\r` alone goes back to the beginning: what stood there is a state that the next one
  replaces, as a progress bar does. A line is its last state that is not empty.
- Nothing is held but the line that is not finished yet.
- What holds nothing of that kind goes through as a block of whole lines, if blocks are
  asked for: a flood is looked at only by searches of the interpreter's own, never line
  by line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LIMIT", "Lines", "Piece"]

LIMIT = 65_536
"""Longest line, or part of one, in bytes."""

_END = re.compile(rb"\r\n|\n|\r")
_NEAR = 1_024


@dataclass(frozen=True, slots=True)
class Piece:
    r"""Some bytes that were printed, and the line they finish, if they finish one.

    Attributes:
        raw: The bytes as they came; those of all pieces are all that was printed.
        line: What stands in the line, without its end. None: it goes on, or is a state
            that is being replaced.
        redraws: How many states of the line have been replaced.
        continues: Whether the rest of the line comes in the next one.
        is_block: `raw` is any number of whole lines, none of them special; `line` is
            None.
    """

    raw: bytes
    line: bytes | None = None
    redraws: int = 0
    continues: bool = False
    is_block: bool = False


class Lines:
    """Cuts one stream into pieces. For one thread at a time."""

    def __init__(
        self, limit: int = LIMIT, *, of_terminal: bool = False, blocks: bool = False
    ) -> None:
        r"""Begin a stream.

        Args:
            limit: For tests.
            of_terminal: Undo what a terminal does to a `\n`, which is to put a `\r` in
                front of it.
            blocks: Whether whole lines that hold nothing special may come as blocks.
        """
        self._limit = limit
        self._of_terminal = of_terminal
        self._blocks = blocks
        self._return = b""
        self._held = b""
        self._state = b""
        self._redraws = 0

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what is complete with the next bytes; to be used up before the next."""
        if self._of_terminal:
            data = self._as_printed(data)
        end = data.rfind(b"\n") + 1
        if self._blocks and end and not self._state:
            block = self._held + data[:end]
            if self._is_plain(block):
                yield Piece(block, is_block=True)
                self._held, data = b"", data[end:]
        yield from self._one_by_one(data)

    def _one_by_one(self, data: bytes) -> Iterator[Piece]:
        """Yield pieces by looking at each ending; states that are replaced in one."""
        start = begin = 0
        looked = max(0, len(self._held) - 1)
        data = self._held + data
        for match in _END.finditer(data, looked):
            at, end = match.span()
            if match[0] == b"\r" and end == len(data):
                break  # half a \r\n perhaps
            if at - start > self._limit:
                if begin < start:
                    yield Piece(data[begin:start])
                yield from self._close(data[start:at], match[0])
                begin = end
            elif match[0] == b"\r":
                if at > start:
                    self._replace(data[start:at])
            else:
                yield self._line(data[start:at], data[begin:end])
                begin = end
            start = end
        if begin < start:
            yield Piece(data[begin:start])
        while len(data) - start > self._limit:
            end = self._cut(data, start)
            yield Piece(data[start:end], data[start:end], self._redraws, True)
            self._state, self._redraws = b"", 0
            start = end
        self._held = data[start:]

    def end(self) -> Iterator[Piece]:
        """Yield what is left at the end of the stream."""
        raw, self._held = self._held + self._return, b""
        self._return = b""
        text = raw.removesuffix(b"\r")
        if raw or self._state:
            yield self._line(text, raw)

    def _as_printed(self, data: bytes) -> bytes:
        r"""Return the bytes before a terminal put `\r\n` for each `\n`."""
        data, self._return = self._return + data, b""
        if data.endswith(b"\r"):
            data, self._return = data[:-1], b"\r"
        return data.replace(b"\r\n", b"\n")

    def _is_plain(self, block: bytes) -> bool:
        r"""Whether whole lines hold no redraws, and none may be too long.

        A line over the limit covers at least one of the windows of half of it.
        """
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            return False
        window = self._limit // 2
        starts = range(0, len(block) - window, window)
        return all(block.find(b"\n", at, at + window) >= 0 for at in starts)

    def _close(self, text: bytes, ending: bytes) -> Iterator[Piece]:
        """Yield the pieces of a text that an ending follows."""
        raw = text + ending
        for part in self._parts(text):
            yield Piece(part, part, self._redraws, True)
            self._state, self._redraws = b"", 0
            raw = raw[len(part) :]
            text = text[len(part) :]
        if ending != b"\r":
            yield self._line(text, raw)
            return
        yield Piece(raw)
        if text:
            self._replace(text)

    def _parts(self, text: bytes) -> Iterator[bytes]:
        """Yield all parts but the last of a text that is too long."""
        start = 0
        while len(text) - start > self._limit:
            end = self._cut(text, start)
            yield text[start:end]
            start = end

    def _line(self, text: bytes, raw: bytes) -> Piece:
        if text:
            self._replace(text)
        piece = Piece(raw, self._state, self._redraws)
        self._state, self._redraws = b"", 0
        return piece

    def _replace(self, text: bytes) -> None:
        self._redraws += bool(self._state)
        self._state = text

    def _cut(self, data: bytes, start: int) -> int:
        """Return where a part that begins at `start` ends.

        That is after a blank if one is near, so that no word is cut (a secret is found
        as a whole or not at all), and never within a character.
        """
        end = start + self._limit
        near = max(start, end - _NEAR)
        blank = max(data.rfind(b" ", near, end), data.rfind(b"\t", near, end))
        if blank > start:
            return blank + 1
        first = end
        while first > max(start + 1, end - 3) and data[first] & 0xC0 == 0x80:
            first -= 1
        return first if data[first] & 0xC0 != 0x80 else end
