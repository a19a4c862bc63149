"""Event files of TensorBoard, written without it: records, each with one message.

A record is the length of the message (8 bytes), a checksum of the length, the message,
and a checksum of that; checksums are masked CRC-32C, all numbers little-endian. A
message is an `Event` of protobuf, of which only the few fields here are needed.

Sources: TensorFlow, `core/lib/io/record_writer.h`, `core/util/event.proto`,
`core/framework/summary.proto`, `tensor.proto`; TensorBoard,
`plugins/hparams/plugin_data.proto`; RFC 3720, appendix B.4 (CRC-32C).
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, BinaryIO

__all__ = ["EventFile", "crc32c", "masked"]

_VERSION = b"brain.Event:2"
"""From version 2 on a smaller step does not erase the points before it."""

_DT_FLOAT, _DT_STRING, _DATA_CLASS_TENSOR = 1, 7, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1
_POLYNOMIAL = 0x82F63B78


class EventFile:
    """Writes points into an event file.

    TensorBoard keeps numbers with 32 bits; what is too great becomes infinite.
    """

    def __init__(self, file: BinaryIO, time: float) -> None:
        """Begin the file.

        Args:
            file: Where to write; it is not closed.
            time: When the run began, in seconds since the epoch.
        """
        self._file = file
        self._write(_double(1, time) + _bytes(3, _VERSION))

    def scalar(self, tag: str, step: int, time: float, value: float) -> None:
        """Add a number.

        Args:
            tag: Name of the series; "/" groups.
            step: Of 64 bits.
            time: Seconds since the epoch.
            value: NaN and infinities are kept.
        """
        self._add(step, time, _tag(tag) + _float(2, value))

    def text(self, tag: str, step: int, time: float, text: str) -> None:
        """Add a text, which is shown as Markdown; see `scalar`."""
        shape = _bytes(2, _bytes(2, _whole(1, 1)))
        tensor = _whole(1, _DT_STRING) + shape + _bytes(8, _utf8(text))
        plugin = _bytes(1, _bytes(1, b"text")) + _whole(4, _DATA_CLASS_TENSOR)
        self._add(step, time, _tag(tag) + _bytes(9, plugin) + _bytes(8, tensor))

    def image(
        self, tag: str, step: int, time: float, content: bytes, size: tuple[int, int]
    ) -> None:
        """Add a picture.

        Args:
            tag, step, time: See `scalar`.
            content: PNG, JPEG or GIF.
            size: Width and height in pixels; 0 where unknown.
        """
        width, height = size
        image = _whole(1, height) + _whole(2, width) + _bytes(4, content)
        self._add(step, time, _tag(tag) + _bytes(4, image))

    def params(self, time: float, params: Mapping[str, Any]) -> None:
        """Add params, for TensorBoard's HPARAMS; once, before any point.

        Args:
            time: When the run began, in seconds since the epoch.
            params: Name to number, truth or text.
        """
        pairs = b"".join(
            _bytes(1, _bytes(1, _utf8(name)) + _bytes(2, _json_value(value)))
            for name, value in params.items()
        )
        self._session("session_start_info", time, _bytes(3, pairs + _double(5, time)))

    def status(self, time: float, *, is_success: bool) -> None:
        """Say how the run ended, for TensorBoard's HPARAMS."""
        end = _whole(1, 1 if is_success else 2) + _double(2, time)
        self._session("session_end_info", time, _bytes(4, end))

    def _session(self, kind: str, time: float, content: bytes) -> None:
        data = _bytes(1, _bytes(1, b"hparams") + _bytes(2, content))
        empty = _whole(1, _DT_FLOAT) + _bytes(2, _bytes(2, _whole(1, 0)))
        name = _tag(f"_hparams_/{kind}")
        self._add(0, time, name + _bytes(9, data) + _bytes(8, empty))

    def histogram(
        self,
        tag: str,
        step: int,
        time: float,
        edges: Sequence[float],
        counts: Sequence[float],
    ) -> None:
        """Add a histogram: counts between edges, of which there is one more."""
        centres = [(a + b) / 2 for a, b in pairwise(edges)]
        pairs = list(zip(counts, centres, strict=True))
        content = (
            _double(1, edges[0])
            + _double(2, edges[-1])
            + _double(3, sum(counts))
            + _double(4, sum(count * centre for count, centre in pairs))
            + _double(5, sum(count * centre * centre for count, centre in pairs))
            + _doubles(6, edges[1:])
            + _doubles(7, counts)
        )
        self._add(step, time, _tag(tag) + _bytes(5, content))

    def _add(self, step: int, time: float, value: bytes) -> None:
        summary = _bytes(5, _bytes(1, value))
        self._write(_double(1, time) + _whole(2, step) + summary)

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        sums = [struct.pack("<I", masked(crc32c(part))) for part in (length, event)]
        self._file.write(length + sums[0] + event + sums[1])


# --- checksums -----------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes."""
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum that may stand in what others are made of."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE = tuple(map(_entry, range(256)))


# --- protobuf ------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    number &= _MASK
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _key(field: int, kind: int) -> bytes:
    return bytes([field << 3 | kind])


def _whole(field: int, number: int) -> bytes:
    return _key(field, _VARINT) + _varint(number)


def _double(field: int, number: float) -> bytes:
    return _key(field, _FIXED64) + struct.pack("<d", number)


def _float(field: int, number: float) -> bytes:
    try:
        packed = struct.pack("<f", number)
    except OverflowError:
        packed = struct.pack("<f", math.inf if number > 0 else -math.inf)
    return _key(field, _FIXED32) + packed


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _json_value(value: Any) -> bytes:
    """Return a `google.protobuf.Value`."""
    if isinstance(value, bool):
        return _whole(4, value)
    if isinstance(value, int | float):
        return _double(2, value)
    return _bytes(3, _utf8(str(value)))


def _doubles(field: int, numbers: Iterable[float]) -> bytes:
    return _bytes(field, b"".join(struct.pack("<d", number) for number in numbers))


@lru_cache(maxsize=1024)
def _tag(tag: str) -> bytes:
    return _bytes(1, _utf8(tag))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
