"""Pictures of any kind as image files; pixels as PNG."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.errors import MlogWarning
from mlog.run.images import animation, grid_of, image_of, image_type, packed, png_of
from tests.odd_values import INF, NAN, FakeTensor

GREY, RGB, RGBA = 1, 3, 4


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may be told again."""
    monkeypatch.setattr("mlog.errors._told", {})


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return kind and content of each chunk of a PNG, whose checksums must be right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + size]
        (check,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
        assert check == zlib.crc32(kind + content)
        found.append((kind, content))
        at += 12 + size
    return found


def decode(data: bytes) -> Any:
    """Return the pixels of a PNG without filters, row by row, channel by channel."""
    (_, head), *rest = chunks(data)
    width, height, depth, color, *zeros = struct.unpack(">IIBBBBB", head)
    assert (depth, zeros) == (8, [0, 0, 0])
    assert [kind for kind, _ in rest] == [b"IDAT", b"IEND"]
    return rows_of(
        zlib.decompress(rest[0][1]), width, height, {0: 1, 2: 3, 6: 4}[color]
    )


def rows_of(raw: bytes, width: int, height: int, channels: int) -> Any:
    size = width * channels + 1
    assert len(raw) == height * size
    rows = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert {row[0] for row in rows} == {0}
    return [
        [list(row[at : at + channels]) for at in range(1, size, channels)]
        for row in rows
    ]


shapes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 4]))


@given(shapes, st.data())
def test_pixels_come_back_as_they_were(
    shape: tuple[int, int, int], data: st.DataObject
) -> None:
    height, width, channels = shape
    pixel = st.lists(st.integers(0, 255), min_size=channels, max_size=channels)
    row = st.lists(pixel, min_size=width, max_size=width)
    image = data.draw(st.lists(row, min_size=height, max_size=height))
    assert decode(png_of(image)) == image
    assert decode(png_of(np.array(image, dtype="u1"))) == image
    assert png_of(np.array(image)) == png_of(image)


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2))
def test_floats_from_0_to_1_are_rounded(image: list[list[float]]) -> None:
    found = decode(png_of(image))
    wanted = [[[int(value * 255 + 0.5)] for value in row] for row in image]
    assert found == wanted
    assert png_of(np.array(image)) == png_of(image)


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f4", "f8", "u2"])
def test_every_type_of_numbers_is_taken(dtype: str, make: Any) -> None:
    top = 255 if dtype in ("u1", "i8", "u2") else 1
    image = make(np.array([[0, top], [top, 0]], dtype=dtype))
    assert decode(png_of(image)) == [[[0], [255]], [[255], [0]]]


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_may_come_first(channels: int, make: Any) -> None:
    """As tensors have them, where it can mean nothing else."""
    image = np.arange(channels * 5 * 7, dtype="u1").reshape(channels, 5, 7)
    assert decode(png_of(make(image))) == np.moveaxis(image, 0, 2).tolist()


def test_channels_last_is_what_is_meant_where_both_can_be() -> None:
    image = np.arange(27, dtype="u1").reshape(3, 3, 3)
    assert decode(png_of(image)) == image.tolist()


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
@pytest.mark.parametrize(
    ("image", "least", "most"),
    [
        (np.array([[0.0, 1.5]]), "0.0", "1.5"),
        (np.array([[-0.25, 1.0]]), "-0.25", "1.0"),
        (np.array([[0.0, INF]]), "0.0", "inf"),
        (np.array([[0, 256]]), "0", "256"),
        (np.array([[-1, 5]]), "-1", "5"),
    ],
)
def test_pixels_out_of_range_are_refused(
    image: Any, least: str, most: str, make: Any
) -> None:
    """The error names the smallest and the largest, so that a scale can be found."""
    with pytest.raises(ValueError, match=f"smallest is {least}, the largest {most}$"):
        png_of(make(image))


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
def test_a_rounding_error_is_no_wrong_range(make: Any) -> None:
    image = make(np.array([[1.0000001, -1e-7]]))
    assert decode(png_of(image)) == [[[255], [0]]]


@pytest.mark.parametrize("make", [np.array, np.ndarray.tolist])
def test_nan_is_black_and_says_so(make: Any) -> None:
    with pytest.warns(MlogWarning, match="1 of the pixels are NaN"):
        data = png_of(make(np.array([[NAN, 1.0]])))
    assert decode(data) == [[[0], [255]]]


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((4,), "4"),
        ((2, 2, 2), "2×2×2"),
        ((1, 2, 3, 3), "1×2×3×3"),
        ((5, 0), "5×0"),
        ((0, 5, 3), "0×5×3"),
        ((), "a single number"),
    ],
)
def test_other_shapes_are_refused(shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(ValueError, match=f"got {told}$"):
        png_of(np.zeros(shape))


def test_rows_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="must have one length, got 1, 2"):
        png_of([[1, 2], [3]])


@pytest.mark.parametrize(
    "image", [[["a"]], [[None]], [[1j]], np.array([["a"]]), 5, object()]
)
def test_what_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(TypeError, match="an image needs"):
        image_of(image)


def test_tensors_leave_their_device() -> None:
    """Without NumPy's help, as far as they can say what they hold."""

    class Tensor(FakeTensor):
        moved = ""

        def detach(self) -> "Tensor":
            self.moved += "detach "
            return self

        def cpu(self) -> "Tensor":
            self.moved += "cpu"
            return self

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError("Got unsupported ScalarType BFloat16")

    tensor = Tensor([[0.0, 1.0]], (1, 2))
    assert decode(png_of(tensor)) == [[[0], [255]]]
    assert tensor.moved == "detach cpu"


def test_arrays_in_a_list_are_one_grid() -> None:
    grid = grid_of([np.zeros((2, 3)), np.ones((2, 3))], "frames")
    assert grid.shape == (2, 2, 3)


@given(shapes.flatmap(lambda s: st.tuples(st.just((2, *s)), st.integers(0, 3))))
def test_an_axis_moves_to_the_end_as_in_numpy(
    given_shape: tuple[tuple[int, ...], int],
) -> None:
    shape, axis = given_shape
    array = np.arange(np.prod(shape)).reshape(shape)
    moved = np.moveaxis(array, axis, -1)
    for value in (array, array.tolist()):
        found = grid_of(value, "numbers").with_last(axis)
        assert found.shape == moved.shape
        assert found.flat() == moved.ravel().tolist()


@given(st.lists(st.floats(-1, 1), max_size=20))
def test_lists_and_arrays_are_packed_alike(numbers: list[float]) -> None:
    packs = [
        packed(grid_of(value, "x"), "h", floats=(-1, 1), factor=32_767, what="samples")
        for value in (numbers, np.array(numbers, dtype="f8"))
    ]
    assert packs[0] == packs[1]


# --- files that are there already --------------------------------------------------

HEADS = {
    b"\x89PNG\r\n\x1a\n\0": ("image/png", ".png"),
    b"\xff\xd8\xff\xe0": ("image/jpeg", ".jpg"),
    b"GIF89a": ("image/gif", ".gif"),
    b"GIF87a": ("image/gif", ".gif"),
    b"BM\0\0": ("image/bmp", ".bmp"),
    b"RIFF\0\0\0\0WEBPVP8 ": ("image/webp", ".webp"),
    b"II*\0": ("image/tiff", ".tiff"),
    b"MM\0*": ("image/tiff", ".tiff"),
    b"\0\0\0 ftypavif": ("image/avif", ".avif"),
    b"<svg xmlns='http://www.w3.org/2000/svg'>": ("image/svg+xml", ".svg"),
    b"\xef\xbb\xbf <?xml version='1.0'?>\n<svg>": ("image/svg+xml", ".svg"),
    b"<!-- a drawing --><svg>": ("image/svg+xml", ".svg"),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_file_is_known_by_its_first_bytes(head: bytes, tmp_path: Path) -> None:
    """Not by its name; `imghdr` is gone since Python 3.13."""
    path = tmp_path / "picture.txt"
    path.write_bytes(head)
    media_type, suffix = HEADS[head]
    assert image_type(head) == HEADS[head]
    found = image_of(path)
    assert (found.source, found.media_type, found.suffix) == (path, media_type, suffix)
    assert image_of(str(path)) == found
    assert image_of(head).source == head
    assert image_of(io.BytesIO(head)).media_type == media_type


@pytest.mark.parametrize(
    "head", [b"", b"text", b"RIFF\0\0\0\0WAVE", b"<html>", b"\0" * 99]
)
def test_other_files_are_no_images(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(head)
    with pytest.raises(ValueError, match=r"picture\.png is no PNG, JPEG, .*log_file"):
        image_of(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        image_of(tmp_path / "gone.png")


def test_a_stream_must_be_of_bytes() -> None:
    with pytest.raises(TypeError, match="open the file as 'rb'"):
        image_of(io.StringIO("text"))


# --- what draws itself -------------------------------------------------------------


class FakePlot:
    """Has `savefig`, as `matplotlib.pyplot` and its figures do."""

    def savefig(self, target: Any, format: str) -> None:
        target.write(b"drawn as " + format.encode())


class FakeAxes:
    """Belongs to a figure."""

    def get_figure(self) -> FakePlot:
        return FakePlot()


class FakePlotly:
    """A plotly figure without kaleido."""

    def to_image(self, format: str) -> bytes:
        raise ValueError("Image export requires the kaleido package")

    def to_html(self, include_plotlyjs: str) -> str:
        return f"<html>{include_plotlyjs}</html>"


@pytest.mark.parametrize("plot", [FakePlot(), FakeAxes()])
def test_a_plot_saves_itself(plot: Any) -> None:
    found = image_of(plot)
    assert (found.source, found.media_type) == (b"drawn as png", "image/png")


def test_plotly_falls_back_on_html() -> None:
    found = image_of(FakePlotly())
    assert found.source == b"<html>cdn</html>"
    assert (found.media_type, found.suffix) == ("text/html", ".html")


def test_plotly_is_a_png_where_it_can() -> None:
    class WithKaleido(FakePlotly):
        def to_image(self, format: str) -> bytes:
            return b"png"

    assert image_of(WithKaleido()).media_type == "image/png"


def test_matplotlib_figures_axes_and_pyplot_itself() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="figures of the real library")
    matplotlib.use("agg")
    plt = pytest.importorskip("matplotlib.pyplot", reason="as above")
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    for plot in (plt, figure, axes):
        found = image_of(plot)
        assert isinstance(found.source, bytes)
        assert image_type(found.source) == ("image/png", ".png")
    plt.close(figure)


def test_a_real_plotly_figure_becomes_a_file() -> None:
    go = pytest.importorskip(
        "plotly.graph_objects", reason="figures of the real library"
    )
    found = image_of(go.Figure(go.Scatter(y=[1, 2])))
    assert found.suffix in (".png", ".html")
    assert found.source


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"]
)
def test_pil_images_of_any_mode(mode: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="images of the real library")
    found = image_of(image.new(mode, (3, 2)))
    assert found.media_type == "image/png"
    assert isinstance(found.source, bytes)
    assert image.open(io.BytesIO(found.source)).size == (3, 2)


def test_pil_images_of_floats_are_in_0_to_1() -> None:
    image = pytest.importorskip("PIL.Image", reason="images of the real library")
    pixels = np.array([[0, 0.25, 1], [0.5, 0.75, 0.1]], "f4")
    source = image_of(image.fromarray(pixels)).source
    assert source == png_of(pixels)
    with pytest.raises(ValueError, match=r"0.*1"):
        image_of(image.fromarray(pixels * 3))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pil_reads_the_same_pixels(channels: int) -> None:
    image = pytest.importorskip("PIL.Image", reason="a decoder that is not ours")
    shape = (5, 7) if channels == 1 else (5, 7, channels)
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype="u1")
    found = np.asarray(image.open(io.BytesIO(png_of(pixels))))
    assert (found == pixels).all()


# --- animations --------------------------------------------------------------------


@given(st.integers(1, 4), shapes, st.integers(0, 2**32 - 1))
def test_every_frame_of_an_animation_is_there(
    count: int, shape: tuple[int, int, int], seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype="u1")
    found = chunks(animation(frames, 10))
    assert animation(frames.tolist(), 10) == animation(frames, 10)
    assert dict(found)[b"acTL"] == struct.pack(">II", count, 0)
    height, width, channels = shape
    numbers, pixels = [], []
    for kind, content in found:
        if kind == b"fcTL":
            numbers.append(content[:4])
            assert content[4:20] == struct.pack(">IIII", width, height, 0, 0)
            assert content[20:] == struct.pack(">HHBB", 100, 1_000, 0, 0)
        elif kind in (b"IDAT", b"fdAT"):
            raw = content if kind == b"IDAT" else content[4:]
            numbers += [content[:4]] if kind == b"fdAT" else []
            pixels.append(rows_of(zlib.decompress(raw), width, height, channels))
    assert pixels == frames.tolist()
    assert numbers == [struct.pack(">I", n) for n in range(len(numbers))]


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 5, 7), (7, 5)), ((2, 5, 7, 3), (7, 5)), ((2, 3, 5, 7), (7, 5))],
)
def test_pil_plays_an_animation(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = pytest.importorskip("PIL.Image", reason="a decoder that is not ours")
    frames = np.random.default_rng(2).integers(0, 256, shape, dtype="u1")
    found = image.open(io.BytesIO(animation(frames, 4)))
    assert (found.n_frames, found.size) == (2, size)
    for place, frame in enumerate(frames):
        found.seek(place)
        wanted = np.moveaxis(frame, 0, 2) if shape[1] == 3 else frame
        assert (np.asarray(found) == wanted).all()


@pytest.mark.parametrize("fps", [0, -1, 0.001, 10_000, NAN])
def test_a_rate_that_no_animation_can_have_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match=r"fps must lie in \[0.02, 1000\]"):
        animation(np.zeros((1, 2, 2)), fps)


@pytest.mark.parametrize("shape", [(2, 2), (0, 2, 2), (1, 2, 2, 3, 1)])
def test_frames_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a video has the shape"):
        animation(np.zeros(shape), 4)


# --- nothing heavy -----------------------------------------------------------------


def test_no_library_is_imported() -> None:
    """Lists become pictures, tables and charts without NumPy."""
    code = """
import sys
from mlog.run import charts, histograms, images, media, tables
images.png_of([[0.0, 1.0]])
media.audio_of([0.0, 1.0], 8000)
tables.table_values([{"a": 1}])
histograms.histogram([1, 2, 3])
charts.accuracy_table([0, 1], [0.2, 0.9])
heavy = {"numpy", "pandas", "polars", "PIL", "matplotlib", "plotly", "imghdr"}
sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
