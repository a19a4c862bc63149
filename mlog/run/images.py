"""Pictures of any kind as the bytes of an image file. Pure: nothing is written.

What is a file already (a path, bytes, a stream) stays as it is, once its first bytes
have told which kind of image it is. Figures and pictures of other libraries draw
themselves. Arrays, tensors and nested lists become a PNG here. No library is imported
that the caller has not imported already.

Pixels are H×W (grey), H×W×1, H×W×3 (RGB) or H×W×4 (with alpha); an array of 1, 3 or 4
channels first is turned where it can be nothing else. Integers lie in 0…255, floats in
0…1, bools are black and white. NaN is black, with one warning; an infinity, and any
other number outside the range, is an error that names the smallest and the largest.

Source: PNG, third edition (W3C, 2025), which has APNG in it.
"""

import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import floor, isnan, prod
from pathlib import Path
from typing import Any

from mlog.errors import warn_once
from mlog.plain import class_name, describe, shape_of
from mlog.run.tables import items_of, on_host, scalar_of

__all__ = [
    "Grid",
    "Media",
    "animation",
    "grid_of",
    "head_of",
    "image_of",
    "image_type",
    "packed",
    "png",
]

_HEAD = 4_096  # bytes that tell the kind of a file
_CHANNELS = (1, 3, 4)
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TOLERANCE = 1e-6  # how far a rounding error may lead out of a range
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"})
_MAX_SIDE = 2**31 - 1

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (b"GIF87a", "image/gif", ".gif"),
    (b"GIF89a", "image/gif", ".gif"),
    (b"BM", "image/bmp", ".bmp"),
    (b"II*\0", "image/tiff", ".tiff"),
    (b"MM\0*", "image/tiff", ".tiff"),
)


@dataclass(frozen=True, slots=True)
class Media:
    """What becomes an artifact.

    Attributes:
        source: The content, or the path of the file that has it.
        media_type: Such as `image/png`.
        suffix: Of the file's name, with the dot.
    """

    source: bytes | Path
    media_type: str
    suffix: str


# --- which kind of image -----------------------------------------------------------


def image_type(head: bytes) -> tuple[str, str] | None:
    """Return media type and suffix of an image by its first bytes; None: no image.

    Known are PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF and SVG.
    """
    for magic, media_type, suffix in _MAGIC:
        if head.startswith(magic):
            return media_type, suffix
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp", ".webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif", ".avif"
    text = head[:_HEAD].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<svg", b"<?xml", b"<!")) and b"<svg" in text:
        return "image/svg+xml", ".svg"
    return None


def head_of(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a file.

    Raises:
        OSError: It is not there, is a folder, or cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(_HEAD)


def image_of(image: Any) -> Media:
    """Return any picture as an image file.

    Args:
        image: Path of an image file, its bytes, or a stream of them; a figure or a
            module with `savefig` (matplotlib, seaborn), its axes, a plotly figure (PNG
            where kaleido is there, else HTML), a PIL image; an array, a tensor or
            nested lists of pixels.

    Raises:
        ValueError: The file is no image, or the pixels have a wrong shape or range.
        TypeError: It is nothing of these.
        OSError: The file cannot be read.
    """
    if isinstance(image, str | os.PathLike):
        return _image_file(Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return _image_bytes(bytes(image))
    drawn = _drawn(image)
    if drawn is not None:
        return drawn
    if callable(getattr(image, "read", None)):
        return _image_bytes(image.read())
    return Media(png_of(image), "image/png", ".png")


def _image_file(path: Path) -> Media:
    return Media(path, *_known(image_type(head_of(path)), str(path)))


def _image_bytes(data: object) -> Media:
    if not isinstance(data, bytes):
        raise TypeError(
            f"an image is read as bytes, got {class_name(data)}; open the file as 'rb'"
        )
    return Media(data, *_known(image_type(data[:_HEAD]), "what was given"))


def _known(found: tuple[str, str] | None, what: str) -> tuple[str, str]:
    if found is None:
        raise ValueError(
            f"{what} is no PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF or SVG image; log_file "
            "keeps files of any kind"
        )
    return found


def _drawn(image: Any) -> Media | None:
    """Return the picture of what can draw itself, None for all else."""
    if callable(save := getattr(image, "savefig", None)):
        return _to_png(lambda stream: save(stream, format="png"))
    if callable(getattr(image, "to_image", None)) and hasattr(image, "to_html"):
        return _of_plotly(image)
    if callable(getattr(image, "save", None)) and isinstance(
        mode := getattr(image, "mode", None), str
    ):
        if mode == "F":  # floats, which PIL would take for integers
            values = memoryview(image.tobytes()).cast("f", (image.height, image.width))
            return Media(png_of(values), "image/png", ".png")
        picture = image if mode in _PNG_MODES else image.convert("RGB")
        return _to_png(lambda stream: picture.save(stream, "PNG"))
    if callable(getattr(image, "get_figure", None)):
        figure = image.get_figure()
        return None if figure is None else _drawn(figure)
    if callable(getattr(image, "to_html", None)) and shape_of(image) is None:
        return Media(image.to_html().encode(), "text/html", ".html")
    return None


def _to_png(save: Any) -> Media:
    import io

    stream = io.BytesIO()
    save(stream)
    return Media(stream.getvalue(), "image/png", ".png")


def _of_plotly(figure: Any) -> Media:
    try:
        return Media(figure.to_image(format="png"), "image/png", ".png")
    except Exception:  # kaleido or its browser is not installed, or cannot start
        html = figure.to_html(include_plotlyjs="cdn")
    return Media(html.encode(), "text/html", ".html")


# --- PNG ---------------------------------------------------------------------------


def png_of(image: Any) -> bytes:
    """Return pixels as a PNG file; see `image_of`."""
    grid = grid_of(image, "an image")
    height, width, channels = _image_shape(grid.shape)
    if len(grid.shape) == 3 and grid.shape[-1] != channels:
        grid = grid.with_last(0)
    return png(width, height, channels, _pixels(grid))


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels."""
    if len(shape) == 2:
        found = (*shape, 1)
    elif len(shape) == 3 and shape[2] in _CHANNELS:
        found = (shape[0], shape[1], shape[2])
    elif len(shape) == 3 and shape[0] in _CHANNELS:
        found = (shape[1], shape[2], shape[0])
    else:
        raise ValueError(
            f"an image has the shape H×W, H×W×1, H×W×3 or H×W×4, got {_told(shape)}"
        )
    if 0 in found:
        raise ValueError(f"an image needs at least one pixel, got {_told(shape)}")
    return found


def _told(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _pixels(grid: "Grid") -> bytes:
    return packed(grid, "B", floats=(0.0, 1.0), factor=255, what="pixels")


def png(width: int, height: int, channels: int, pixels: bytes) -> bytes:
    """Encode pixels as PNG.

    Args:
        width, height: In pixels, at least 1.
        channels: 1 grey, 3 RGB, 4 RGB and alpha.
        pixels: One byte a channel, row by row from the top.
    """
    return b"".join(
        (
            _SIGNATURE,
            _header(width, height, channels),
            _chunk(b"IDAT", _packed_rows(pixels, width * channels)),
            _chunk(b"IEND", b""),
        )
    )


def animation(frames: Any, fps: float) -> bytes:
    """Return frames as an animated PNG, which browsers play like any image.

    Args:
        frames: T×H×W, or T×H×W×C with the pixels of an image; channels may come first
            in a frame where they can be nothing else. Lists of frames, too.
        fps: Frames a second.

    Raises:
        ValueError: A wrong shape, range or rate.
        TypeError: No numbers.
    """
    grid = grid_of(frames, "a video")
    if len(grid.shape) not in (3, 4) or grid.shape[0] == 0:
        raise ValueError(f"a video has the shape T×H×W×C, got {_told(grid.shape)}")
    height, width, channels = _image_shape(grid.shape[1:])
    if len(grid.shape) == 4 and grid.shape[-1] != channels:
        grid = grid.with_last(1)
    pixels, size = _pixels(grid), height * width * channels
    rows = [
        _packed_rows(pixels[start : start + size], width * channels)
        for start in range(0, len(pixels), size)
    ]
    start = (_SIGNATURE, _header(width, height, channels))
    return b"".join((*start, *_animated(rows, width, height, _delay(fps))))


def _delay(fps: float) -> bytes:
    """Return how long a frame is shown, as the fraction of an APNG."""
    if not 0.02 <= fps <= 1_000:
        raise ValueError(f"fps must lie in [0.02, 1000], got {fps!r}")
    return struct.pack(">HH", round(1_000 / fps), 1_000)


def _animated(
    rows: list[bytes], width: int, height: int, delay: bytes
) -> Iterable[bytes]:
    yield _chunk(b"acTL", struct.pack(">II", len(rows), 0))  # 0: for ever
    place = struct.pack(">IIII", width, height, 0, 0)
    number = 0
    for frame in rows:
        yield _chunk(b"fcTL", struct.pack(">I", number) + place + delay + b"\0\0")
        if number == 0:
            yield _chunk(b"IDAT", frame)
        else:
            number += 1
            yield _chunk(b"fdAT", struct.pack(">I", number) + frame)
        number += 1
    yield _chunk(b"IEND", b"")


def _header(width: int, height: int, channels: int) -> bytes:
    if max(width, height) > _MAX_SIDE:
        raise ValueError(f"a PNG has at most {_MAX_SIDE:,} pixels a side")
    kind = _COLOR_TYPES[channels]
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))


def _packed_rows(pixels: bytes, size: int) -> bytes:
    """Compress rows of `size` bytes, each with the filter type 0 before it."""
    starts = range(0, len(pixels), size)
    return zlib.compress(b"".join(b"\0" + pixels[at : at + size] for at in starts))


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


# --- numbers in a regular shape ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grid:
    """Numbers in a regular shape: pixels, samples, whatever is counted.

    Attributes:
        shape: Length of each axis.
        kind: "b" for bools, "i" or "u" for integers, "f" for floats.
        values: A NumPy array of that shape, or a flat list in row-major order.
        dtype: Name of NumPy's type, "" for a list.
    """

    shape: tuple[int, ...]
    kind: str
    values: Any
    dtype: str = ""

    @property
    def is_array(self) -> bool:
        """Whether `values` is a NumPy array."""
        return not isinstance(self.values, list)

    def flat(self) -> list[Any]:
        """Return the numbers as plain Python ones, in row-major order."""
        if isinstance(self.values, list):
            return self.values
        found: list[Any] = self.values.ravel().tolist()
        return found

    def with_last(self, axis: int) -> "Grid":
        """Return the same numbers with one axis moved to the end."""
        count, inner = self.shape[axis], prod(self.shape[axis + 1 :])
        outer = prod(self.shape[:axis])
        shape = (*self.shape[:axis], *self.shape[axis + 1 :], count)
        if not isinstance(self.values, list):
            moved = self.values.reshape(outer, count, inner).swapaxes(1, 2)
            return Grid(shape, self.kind, moved.reshape(shape), self.dtype)
        flat = [
            self.values[(a * count + c) * inner + b]
            for a in range(outer)
            for b in range(inner)
            for c in range(count)
        ]
        return Grid(shape, self.kind, flat, self.dtype)


def grid_of(value: Any, what: str) -> Grid:
    """Return the numbers of an array, a tensor, nested lists or an iterable.

    Args:
        value: Any of these; a tensor on a GPU is waited for and copied.
        what: What it should be, for the error ("an image").

    Raises:
        TypeError: It holds other things than numbers.
        ValueError: Nested lists of unequal lengths.
    """
    array_like = _array_of(value)
    if array_like is None:
        return _grid_of_lists(value, what)
    dtype = array_like.dtype
    if dtype.kind not in "biuf":
        raise TypeError(f"{what} needs numbers, got an array of {dtype}")
    return Grid(tuple(array_like.shape), dtype.kind, array_like, str(dtype))


def _array_of(value: Any) -> Any:
    """Return a NumPy array of the value; None: NumPy is not loaded, or not needed."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not (_has_shape(value) or _holds_arrays(value)):
        return None
    if isinstance(value, list | tuple):
        return numpy.stack([_array_of(item) for item in value])
    value = on_host(value)
    try:
        found = numpy.asarray(value)
    except TypeError:  # a type that NumPy lacks, like bfloat16
        found = numpy.asarray(value.tolist())
    return found


def _has_shape(value: Any) -> bool:
    return not isinstance(value, type) and shape_of(value) is not None


def _holds_arrays(value: Any) -> bool:
    """Whether it is a list of arrays, like the frames of a video."""
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(_has_shape(item) and shape_of(item) != () for item in value)


def _grid_of_lists(value: Any, what: str) -> Grid:
    shape: list[int] = []
    flat: list[Any] = _opened(value, what)
    shape.append(len(flat))
    while flat and all(_is_nested(item) for item in flat):
        rows = [_opened(item, what) for item in flat]
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            told = ", ".join(map(str, sorted(lengths)[:5]))
            raise ValueError(f"the rows of {what} must have one length, got {told}")
        shape.append(lengths.pop())
        flat = list(chain.from_iterable(rows))
    numbers = [_grid_number(item, what) for item in flat]
    kinds = set(map(type, numbers))
    kind = "f" if float in kinds else "b" if kinds == {bool} else "i"
    return Grid(tuple(shape), kind, numbers)


def _is_nested(item: Any) -> bool:
    return isinstance(item, list | tuple | range | array) or (
        _has_shape(item) and shape_of(item) != ()
    )


def _opened(value: Any, what: str) -> list[Any]:
    if isinstance(value, str | bytes | Mapping):
        raise TypeError(f"{what} needs numbers, got {class_name(value)}")
    try:
        return items_of(value)
    except TypeError as exc:
        text = f"{what} needs an array or lists of numbers, got {class_name(value)}"
        raise TypeError(text) from exc


def _grid_number(item: Any, what: str) -> Any:
    found = scalar_of(item)
    if not isinstance(found, int | float):
        got = f"{describe(item)[:100]} ({class_name(item)})"
        raise TypeError(f"{what} needs numbers, got {got}")
    return found


def packed(
    grid: Grid, code: str, *, floats: tuple[float, float], factor: int, what: str
) -> bytes:
    """Return the numbers as unsigned bytes ("B") or 16-bit samples ("h", little-endian).

    Floats are scaled and rounded to the nearest; NaN becomes 0, with one warning.

    Args:
        grid: The numbers.
        code: "B" or "h".
        floats: Range that floats must lie in; up to 1e-6 outside is a rounding error.
        factor: What 1.0 becomes.
        what: What the numbers are, for the error ("pixels").

    Raises:
        ValueError: A number outside its range; names the smallest and the largest.
    """
    ints = (0, 255) if code == "B" else (-32_768, 32_767)
    if grid.kind == "b":
        return _pack_bools(grid, code, factor)
    low, high = floats if grid.kind == "f" else ints
    _check_range(grid, low, high, what)
    to_whole = _whole_array if grid.is_array else _whole_list
    return to_whole(grid, code, floats, factor)


def _pack_bools(grid: Grid, code: str, factor: int) -> bytes:
    if grid.is_array:
        return _little(grid.values.astype(_DTYPES[code]) * factor, code)
    return _pack([factor if value else 0 for value in grid.values], code)


_DTYPES = {"B": "u1", "h": "<i2"}


def _check_range(grid: Grid, low: float, high: float, what: str) -> None:
    least, most, gaps = _extent(grid)
    if gaps:
        warn_once(f"NaN {what}", f"{gaps} of the {what} are NaN; they are kept as 0")
    slack = _TOLERANCE if grid.kind == "f" else 0
    if least is None or (low - slack <= least and most <= high + slack):
        return
    name = "floats" if grid.kind == "f" else "integers"
    raise ValueError(
        f"{what} must lie in [{low}, {high}] when they are {name}; the smallest is "
        f"{least}, the largest {most}"
    )


def _extent(grid: Grid) -> tuple[Any, Any, int]:
    """Return the smallest and largest number and how many are NaN; None of no number."""
    values, gaps = grid.values, 0
    if grid.is_array:
        if grid.kind == "f":
            is_gap = values != values
            gaps = int(is_gap.sum())
            values = values[~is_gap] if gaps else values
        found = (
            (values.min().item(), values.max().item()) if values.size else (None, None)
        )
        return (*found, gaps)
    if grid.kind == "f":
        whole = [value for value in values if not isnan(value)]
        values, gaps = whole, len(values) - len(whole)
    return (min(values), max(values), gaps) if values else (None, None, gaps)


def _whole_array(
    grid: Grid, code: str, floats: tuple[float, float], factor: int
) -> bytes:
    values = grid.values
    if grid.kind == "f":
        numpy = sys.modules["numpy"]
        values = numpy.nan_to_num(values.astype("f8"), nan=0.0).clip(*floats)
        values = numpy.floor(values * factor + 0.5)
    return _little(values, code)


def _little(values: Any, code: str) -> bytes:
    found: bytes = values.astype(_DTYPES[code]).tobytes()
    return found


def _whole_list(
    grid: Grid, code: str, floats: tuple[float, float], factor: int
) -> bytes:
    values: list[Any] = grid.values
    if grid.kind == "f":
        low, high = floats
        clean = (0.0 if isnan(value) else value for value in values)
        values = [floor(min(max(x, low), high) * factor + 0.5) for x in clean]
    return _pack(values, code)


def _pack(values: list[int], code: str) -> bytes:
    found = array(code, values)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes()
