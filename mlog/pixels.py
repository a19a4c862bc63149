"""Arrays as frameworks give them, made into what a run takes: pixels, grids, curves.

Needs NumPy, which every framework that gives such arrays brings along.
"""

from typing import Any

from mlog.adapters import framework

__all__ = ["array_of", "as_hwc", "boxes_drawn", "grid_of", "precision_recall"]

_COLUMNS = 8
_RED = (255, 0, 0)


def array_of(values: Any) -> Any:
    """Return numbers as a NumPy array: of tensors (any device), arrays or lists."""
    numpy = framework("numpy")
    for step in ("detach", "cpu"):
        if callable(method := getattr(values, step, None)):
            values = method()
    if "bfloat16" in str(getattr(values, "dtype", "")):
        values = values.float()  # NumPy has no such type
    found = numpy.asarray(values)
    if found.dtype == object:
        raise ValueError(f"expected numbers, got {type(values).__name__}")
    return found


def as_hwc(array: Any, layout: str) -> Any:
    """Return pixels as height × width × channels, what is outside the range cut off.

    Args:
        array: Integers in 0…255 or floats in 0…1.
        layout: What its axes mean: "CHW", "HWC", "HW", or with N, a number of pictures
            that become one, in any order.

    Raises:
        ValueError: The layout does not fit the array.
    """
    numpy = framework("numpy")
    layout = layout.upper()
    if sorted(layout) not in (["H", "W"], list("CHW"), list("CHNW"), list("HNW")):
        raise ValueError(f"dataformats must be made of N, C, H and W, got {layout!r}")
    if array.ndim != len(layout):
        raise ValueError(
            f"dataformats={layout!r} means {len(layout)} axes, "
            f"got an array of shape {array.shape}"
        )
    order = [layout.index(axis) for axis in "NHWC" if axis in layout]
    found = array.transpose(order)
    if array.dtype.kind == "f":
        found = numpy.nan_to_num(found.clip(0.0, 1.0))
    elif array.dtype.kind in "iu":
        found = found.clip(0, 255).astype("u1")
    return grid_of(found) if "N" in layout else found


def grid_of(pictures: Any) -> Any:
    """Return N × H × W [× C] pixels as one picture, eight in a row, row by row."""
    numpy = framework("numpy")
    count, height, width, *channels = pictures.shape
    columns = min(max(count, 1), _COLUMNS)
    rows = -(-count // columns)
    grid = numpy.zeros((rows * height, columns * width, *channels), pictures.dtype)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        top, left = row * height, column * width
        grid[top : top + height, left : left + width] = picture
    return grid


def boxes_drawn(pixels: Any, boxes: Any) -> Any:
    """Return a copy of pixels (H × W × C) with red boxes of one pixel's width on it.

    Args:
        pixels: Floats in 0…1 or integers in 0…255.
        boxes: N × 4: left, top, right, bottom.
    """
    numpy = framework("numpy")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        pixels = numpy.repeat(pixels, 3, axis=2)
    drawn = pixels.copy()
    height, width = drawn.shape[:2]
    red = numpy.array(_RED, "f8") / (255 if drawn.dtype.kind == "f" else 1)
    for box in boxes.reshape(-1, 4):
        left, right = numpy.clip(box[[0, 2]].astype(int), 0, width - 1)
        top, bottom = numpy.clip(box[[1, 3]].astype(int), 0, height - 1)
        drawn[[top, bottom], left : right + 1, :3] = red
        drawn[top : bottom + 1, [left, right], :3] = red
    return drawn


def precision_recall(
    labels: Any, predictions: Any, count: int, weights: Any = None
) -> dict[str, Any]:
    """Return precision and recall at `count` thresholds from 0 to 1, as columns.

    A sample is positive at its threshold and above.

    Source: PyTorch, `torch.utils.tensorboard.summary.compute_curve`, which falls into
    the same bins.
    """
    numpy = framework("numpy")
    truth = array_of(labels).ravel().astype(bool)
    given = array_of(predictions).ravel().astype("f8")
    if len(truth) != len(given):
        raise ValueError(
            f"labels and predictions must have one length, got {len(truth)} and "
            f"{len(given)}"
        )
    weight = 1.0 if weights is None else array_of(weights).ravel().astype("f8")
    bins = numpy.floor(given * (count - 1)).clip(0, count - 1).astype(int)
    positive = numpy.bincount(bins, truth * weight, count)[::-1].cumsum()[::-1]
    negative = numpy.bincount(bins, ~truth * weight, count)[::-1].cumsum()[::-1]
    least = numpy.finfo("f8").tiny
    return {
        "threshold": numpy.linspace(0.0, 1.0, count),
        "precision": positive / numpy.maximum(positive + negative, least),
        "recall": positive / numpy.maximum(positive[0], least),
        "true_positives": positive,
        "false_positives": negative,
        "true_negatives": negative[0] - negative,
        "false_negatives": positive[0] - positive,
    }
