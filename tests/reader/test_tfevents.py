"""Event files are as TensorBoard writes and reads them."""

import io
import math
from pathlib import Path

import pytest

from mlog.reader.tfevents import EventFile, crc32c

RECORDS = bytes.fromhex(
    "1800000000000000a37f4b22"
    "0900002040fc54d9411a0d627261696e2e4576656e743a32"
    "2b353110"
    "1c00000000000000c8c1951d"
    "0900005040fc54d94110002a0f0a0d0a06612f6c6f7373150000003f"
    "bf1931ad"
)
"""What TensorBoard 2.21 makes of the same, but for `10 00`: it leaves out a step 0."""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksums_are_those_of_the_standard(data: bytes, expected: int) -> None:
    """Source: RFC 3720, appendix B.4."""
    assert crc32c(data) == expected


def test_the_bytes_of_a_file() -> None:
    file = io.BytesIO()
    EventFile(file, 1700000000.5).scalar("a/loss", 0, 1700000001.25, 0.5)
    assert file.getvalue() == RECORDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an event file of all there is."""
    with open(tmp_path / "events.out.tfevents.1.mlog", "wb") as file:
        events = EventFile(file, 1.0)
        for step, value in enumerate((0.5, math.nan, -math.inf, 1e300, -1e300, 3)):
            events.scalar("train/loss", step, 2.0 + step, value)
        for step in (7, -5, 1 << 40, (1 << 63) - 1):
            events.scalar("ünï", step, 9.0, 1.0)
        events.text("notes", 3, 4.0, "é\n| a")
        events.histogram("weights", 2, 5.0, [0.0, 1.0, 3.0], [3, 1])
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reads_it(folder: Path) -> None:
    module = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    found = module.EventAccumulator(str(folder)).Reload()
    loss = [(e.step, e.wall_time, e.value) for e in found.Scalars("train/loss")]
    assert math.isnan(loss.pop(1)[2])
    big = math.inf
    assert loss == [
        *((0, 2.0, 0.5), (2, 4.0, -big), (3, 5.0, big), (4, 6.0, -big), (5, 7.0, 3.0))
    ]
    steps = [event.step for event in found.Scalars("ünï")]
    assert steps == [7, -5, 1 << 40, (1 << 63) - 1]
    (text,) = found.Tensors("notes")
    assert (text.step, text.tensor_proto.string_val[0].decode()) == (3, "é\n| a")
    (event,) = found.Histograms("weights")
    histogram = event.histogram_value
    assert (event.step, histogram.num, histogram.sum) == (2, 4, 3 * 0.5 + 2)
    assert (histogram.min, histogram.max) == (0.0, 3.0)
    assert (histogram.bucket_limit, histogram.bucket) == ([1.0, 3.0], [3.0, 1.0])
