"""Values of TensorBoard's summaries in our words: numbers, texts, histograms, pictures.

A value is old (a field of its own for each kind) or new: a tensor, whose meaning the
plugin says that the first value of its tag names.

Sources: TensorFlow, `core/framework/summary.proto`, `tensor.proto`, `types.proto`;
TensorBoard, `plugins/*/metadata.py`, `plugins/hparams/plugin_data.proto`.
"""

import math
import struct
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from mlog.layout import slug
from mlog.sources.copies import Picture
from mlog.sources.protobuf import Fields, fields_in, numbers_in, signed, varints_in

__all__ = ["Session", "Summaries"]

_FLOAT, _DOUBLE, _STRING, _HALF, _BFLOAT = 1, 2, 7, 19, 14
_INTEGERS = {3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 22: "I", 23: "Q"}
_VALUES = {3: 7, 4: 7, 5: 7, 6: 7, 9: 10, 10: 11, 17: 7, 22: 16, 23: 17}
_MAX_ITEMS = 1_000_000
_MAX_DOUBLE = 1.7976931348623157e308
_PICTURES = {
    b"\x89PNG": ("png", "image/png"),
    b"\xff\xd8\xff": ("jpg", "image/jpeg"),
    b"GIF8": ("gif", "image/gif"),
    b"RIFF": ("wav", "audio/wav"),
}


class Session:
    """What the hparams plugin says of a run.

    Attributes:
        params: Name to text, number or truth.
        status: Completed or Failed; None where it does not say.
        group: Name of the group of runs, or "".
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.params: dict[str, Any] = {}
        self.status: str | None = None
        self.group = ""

    def learn(self, content: bytes) -> None:
        """Take what one value of the plugin says; ValueError where it is none."""
        data = fields_in(content)
        for start in _messages(data, 3):
            for pair in _messages(start, 1):
                name, value = _text(pair, 1), next(iter(_messages(pair, 2)), {})
                self.params[name] = _json(value)
            self.group = _text(start, 4) or self.group
        for end in _messages(data, 4):
            status = _first_int(end, 1)
            self.status = {1: "Completed", 2: "Failed"}.get(status, self.status)


class Summaries:
    """Takes the values of one event file apart.

    Attributes:
        session: What it has said of params.
        unknown: Plugins whose values have no place here, and how many they were.
    """

    def __init__(self) -> None:
        """Know no tags yet."""
        self.session = Session()
        self.unknown: dict[str, int] = {}
        self._plugins: dict[str, str] = {}

    def values_in(self, summary: bytes, step: int) -> dict[str, Any]:
        """Return the values of a summary by their tags.

        Raises:
            ValueError: It is no summary.
        """
        found: dict[str, Any] = {}
        for value in _messages(fields_in(summary), 1):
            tag = _text(value, 1)
            plugin = self._plugin(value, tag)
            if plugin == "hparams":
                continue
            found |= self._contents(value, tag, plugin, step)
        return found

    def _plugin(self, value: Fields, tag: str) -> str:
        """Return the plugin that a tag belongs to, "" where none was named."""
        for metadata in _messages(value, 9):
            for data in _messages(metadata, 1):
                name = _text(data, 1)
                self._plugins[tag] = name
                if name == "hparams":
                    content = _bytes(data, 2)
                    self.session.learn(content)
        return self._plugins.get(tag, "")

    def _contents(
        self, value: Fields, tag: str, plugin: str, step: int
    ) -> dict[str, Any]:
        if 2 in value:
            return {tag: numbers_in(value[2], "f")[-1]}
        for image in _messages(value, 4):
            return _pictures(tag, step, [_bytes(image, 4)])
        for histogram in _messages(value, 5):
            found = _histogram(histogram)
            return {} if found is None else {tag: found}
        for audio in _messages(value, 6):
            return _pictures(tag, step, [_bytes(audio, 4)])
        if tag == "params" and self.session.params and plugin == "text":
            return {}  # of `mlog export`: the same for people to read
        for tensor in _messages(value, 8):
            read = _PLUGINS.get(plugin, _any)
            content = read(tag, step, tensor)
            if content is not None:
                return content
        if plugin or 8 in value:
            kind = plugin or "tensors"
            self.unknown[kind] = self.unknown.get(kind, 0) + 1
        return {}


# --- tensors -------------------------------------------------------------------------


def _scalar(tag: str, step: int, tensor: Fields) -> dict[str, Any] | None:
    numbers = _numbers(tensor)
    return {tag: numbers[0]} if len(numbers) == 1 else None


def _texts(tag: str, step: int, tensor: Fields) -> dict[str, Any] | None:
    strings = _strings(tensor)
    return {tag: "\n".join(s.decode("utf-8", "replace") for s in strings)}


def _images(tag: str, step: int, tensor: Fields) -> dict[str, Any] | None:
    return _pictures(tag, step, _strings(tensor)[2:])  # width and height come first


def _sounds(tag: str, step: int, tensor: Fields) -> dict[str, Any] | None:
    strings = _strings(tensor)
    is_labelled = len(_shape(tensor)) == 2
    return _pictures(tag, step, strings[::2] if is_labelled else strings)


def _buckets(tag: str, step: int, tensor: Fields) -> dict[str, Any] | None:
    """Return the histogram of rows of left edge, right edge and count."""
    numbers = _numbers(tensor)
    if not numbers or len(numbers) % 3:
        return None
    edges = [numbers[0], *numbers[1::3]]
    return {tag: _edged(edges, numbers[2::3])}


def _any(tag: str, step: int, tensor: Fields) -> dict[str, Any] | None:
    """Return what a tensor without a known plugin can be: a number or a text."""
    if _first_int(tensor, 1) == _STRING and len(_strings(tensor)) == 1:
        return _texts(tag, step, tensor)
    return _scalar(tag, step, tensor)


_PLUGINS: Mapping[str, Callable[[str, int, Fields], dict[str, Any] | None]] = {
    "scalars": _scalar,
    "text": _texts,
    "images": _images,
    "audio": _sounds,
    "histograms": _buckets,
}


def _shape(tensor: Fields) -> list[int]:
    for shape in _messages(tensor, 2):
        return [_first_int(dim, 1) for dim in _messages(shape, 2)]
    return []


def _strings(tensor: Fields) -> list[bytes]:
    return [value for value in tensor.get(8, []) if isinstance(value, bytes)]


def _numbers(tensor: Fields) -> list[Any]:
    """Return the numbers of a tensor; none for a type without them."""
    kind, content = _first_int(tensor, 1), _bytes(tensor, 4)
    if content:
        return _packed(kind, content)
    found = _listed(kind, tensor)
    count = math.prod(_shape(tensor))
    if len(found) == 1 and 1 < count <= _MAX_ITEMS:  # one for all that are equal
        found *= count
    return found


def _packed(kind: int, content: bytes) -> list[Any]:
    if kind == _BFLOAT:
        wide = b"".join(b"\0\0" + content[i : i + 2] for i in range(0, len(content), 2))
        return numbers_in([wide], "f")
    form = {_FLOAT: "f", _DOUBLE: "d", _HALF: "e", **_INTEGERS}.get(kind)
    if form is None:
        return []
    count = len(content) // struct.calcsize(f"<{form}")
    size = count * struct.calcsize(f"<{form}")
    return list(struct.unpack(f"<{count}{form}", content[:size]))


def _listed(kind: int, tensor: Fields) -> list[Any]:
    if kind == _FLOAT:
        return list(numbers_in(tensor.get(5, []), "f"))
    if kind == _DOUBLE:
        return list(numbers_in(tensor.get(6, []), "d"))
    if kind in (_HALF, _BFLOAT):
        bits = varints_in(tensor.get(13, []))
        content = b"".join(struct.pack("<H", bit & 0xFFFF) for bit in bits)
        return _packed(kind, content)
    return list(varints_in(tensor.get(_VALUES[kind], []))) if kind in _VALUES else []


# --- kinds of values -----------------------------------------------------------------


def _pictures(tag: str, step: int, contents: list[bytes]) -> dict[str, Any]:
    """Return files of what may be pictures or sounds, one for each."""
    found = {}
    parts = [slug(part) for part in tag.split("/") if part] or ["_"]
    stem = PurePosixPath(*parts)
    for number, content in enumerate(contents):
        kinds = (kind for head, kind in _PICTURES.items() if content.startswith(head))
        ending, media_type = next(kinds, ("bin", "application/octet-stream"))
        more = f"_{number}" if number else ""
        name = f"{stem}_{step}{more}.{ending}"
        label = f"{tag}/{number}" if number else tag
        found[label] = Picture(name, content, media_type)
    return found


def _histogram(histogram: Fields) -> dict[str, Any] | None:
    """Return an old histogram: the upper edges of its buckets, and their counts."""
    limits = numbers_in(histogram.get(6, []), "d")
    counts = numbers_in(histogram.get(7, []), "d")
    if not limits or len(limits) != len(counts):
        return None
    least = numbers_in(histogram.get(1, []), "d") or [limits[0]]
    greatest = numbers_in(histogram.get(2, []), "d") or [limits[-1]]
    if limits[-1] >= _MAX_DOUBLE:
        limits[-1] = greatest[-1]
    if least[-1] < limits[0]:
        return _edged([least[-1], *limits], counts)
    if len(limits) == 1:
        return _edged([limits[0], limits[0]], counts)
    return _edged(limits, [counts[0] + counts[1], *counts[2:]])


def _edged(edges: list[Any], counts: list[Any]) -> dict[str, Any]:
    whole = [int(c) if float(c).is_integer() else c for c in counts]
    return {"type": "mlog.histogram", "edges": edges, "counts": whole}


# --- fields --------------------------------------------------------------------------


def _json(value: Fields) -> Any:
    """Return what a `google.protobuf.Value` holds."""
    if 2 in value:
        number = numbers_in(value[2], "d")[-1]
        return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
    if 3 in value:
        return _text(value, 3)
    return bool(_first_int(value, 4)) if 4 in value else None


def _messages(fields: Fields, number: int) -> list[Fields]:
    return [fields_in(v) for v in fields.get(number, []) if isinstance(v, bytes)]


def _bytes(fields: Fields, number: int) -> bytes:
    values = [v for v in fields.get(number, []) if isinstance(v, bytes)]
    return values[-1] if values else b""


def _text(fields: Fields, number: int) -> str:
    return _bytes(fields, number).decode("utf-8", "replace")


def _first_int(fields: Fields, number: int) -> int:
    values = [v for v in fields.get(number, []) if isinstance(v, int)]
    return signed(values[-1]) if values else 0
