"""TensorBoard's log folders are read as its own writers leave them."""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX import SummaryWriter
from tensorboardX.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2

from mlog.errors import MlogError
from mlog.reader.series import read_histories
from mlog.reader.state import read_state
from mlog.reader.tfevents import EventFile, crc32c, masked
from mlog.sources.copies import Picture, Point, copy_run
from mlog.sources.summaries import Summaries
from mlog.sources.tensorboard import LogRun, log_runs


def found_in(run: LogRun) -> list[Point]:
    return list(run.points(lambda _: None))


def framed(message: bytes) -> bytes:
    """Return the record of a message."""
    length = struct.pack("<Q", len(message))
    sums = [struct.pack("<I", masked(crc32c(part))) for part in (length, message)]
    return length + sums[0] + message + sums[1]


def tensor_value(
    tag: str, plugin: str, dtype: int, shape: tuple[int, ...] = (), **content: Any
) -> summary_pb2.Summary:
    """Return a summary of a tensor, as TensorFlow 2 writes it."""
    dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    tensor = tensor_pb2.TensorProto(
        dtype=dtype,
        tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims),
        **content,
    )
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
    metadata = summary_pb2.SummaryMetadata(plugin_data=data)
    value = summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
    return summary_pb2.Summary(value=[value])


def values_in(summary: summary_pb2.Summary) -> dict[str, Any]:
    return Summaries().values_in(summary.SerializeToString(), 7)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log folder with two runs, one of them below the other."""
    folder = tmp_path / "logs"
    writer = SummaryWriter(str(folder / "train"))
    for step in range(3):
        writer.add_scalar("loss", 1 / (step + 1), step, walltime=1700000000.25 + step)
    writer.add_scalar("odd", math.nan, -1, walltime=1700000003)
    writer.add_text("note", "hello **you**", 1, walltime=1700000004)
    values = np.array([0.0, 1, 2, 10])
    writer.add_histogram("weights", values, 2, bins=4, walltime=1700000005)
    picture = np.zeros((3, 2, 2), np.uint8)
    writer.add_image("eye/left", picture, 2, walltime=1700000006)
    writer.close()
    other = SummaryWriter(str(folder / "train" / "params"))
    hparams = {"lr": 0.5, "opt": "sgd", "flag": True, "n": 3}
    other.add_hparams(hparams, {"acc": 0.75}, name="trial")
    other.close()
    return folder


class TestAsWrittenByTensorboardX:
    def test_runs_are_folders(self, logs: Path) -> None:
        names = [run.origin.name for run in log_runs(logs)]
        assert names == ["train", "train/params", "train/params/trial"] or names == [
            "train",
            "train/params/trial",
        ]
        assert {run.origin.experiment for run in log_runs(logs)} == {"logs"}

    def test_numbers_with_their_times(self, logs: Path) -> None:
        points = found_in(log_runs(logs)[0])
        assert points[0] == Point(1_700_000_000_250_000, 0, {"loss": 1.0})
        assert points[2].values["loss"] == pytest.approx(1 / 3)
        assert (points[3].step, math.isnan(points[3].values["odd"])) == (-1, True)

    def test_the_rest(self, logs: Path) -> None:
        points = found_in(log_runs(logs)[0])
        merged = {
            name: value for point in points for name, value in point.values.items()
        }
        assert merged["note/text_summary"] == "hello **you**"
        histogram = merged["weights"]
        assert sum(histogram["counts"]) == 4
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
        assert (histogram["edges"][0], histogram["edges"][-1]) == (0, 10)
        picture = merged["eye/left"]
        assert isinstance(picture, Picture)
        assert (picture.name, picture.media_type) == ("eye/left_2.png", "image/png")

    def test_params(self, logs: Path, tmp_path: Path) -> None:
        run = log_runs(logs)[-1]
        copied = copy_run(run, tmp_path / "root")
        state = read_state(copied.folder)
        assert state.params == {"lr": 0.5, "opt": "sgd", "flag": True, "n": 3}
        assert state.metrics["acc"]["last"] == 0.75
        assert state.status == "Completed"

    def test_the_copy(self, logs: Path, tmp_path: Path) -> None:
        run = log_runs(logs)[0]
        copied = copy_run(run, tmp_path / "root")
        state = read_state(copied.folder)
        assert (state.name, state.status) == ("train", "Completed")
        assert list(state.artifacts) == ["eye/left_2.png"]
        history = read_histories(copied.folder)["loss"]
        assert [step for step, _, _ in history] == [0, 1, 2]
        assert run.notes == []

    def test_a_run_that_goes_on_is_added_to(self, logs: Path, tmp_path: Path) -> None:
        """Also where its file ended in the middle of a record."""
        (path,) = log_runs(logs)[0].paths
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 4])
        first = copy_run(log_runs(logs)[0], tmp_path / "root")
        path.write_bytes(content)
        again = copy_run(log_runs(logs)[0], tmp_path / "root")
        assert (first.what, again.what) == ("imported", "continued")
        assert first.points + again.points == 7
        assert first.points
        history = read_histories(again.folder)["loss"]
        assert [step for step, _, _ in history] == [0, 1, 2]


class TestNewForm:
    """TensorFlow 2 writes tensors."""

    @pytest.mark.parametrize(
        ("dtype", "content"),
        [
            (1, {"float_val": [2.5]}),
            (1, {"tensor_content": struct.pack("<f", 2.5)}),
            (2, {"double_val": [2.5]}),
            (19, {"tensor_content": struct.pack("<e", 2.5)}),
            (19, {"half_val": [0x4100]}),
            (14, {"half_val": [0x4020]}),
        ],
    )
    def test_scalars_of_all_types(self, dtype: int, content: dict[str, Any]) -> None:
        assert values_in(tensor_value("a", "scalars", dtype, **content)) == {"a": 2.5}

    def test_integers(self) -> None:
        found = values_in(tensor_value("a", "scalars", 9, int64_val=[-3]))
        assert found == {"a": -3}
        found = values_in(tensor_value("a", "scalars", 3, int_val=[7]))
        assert found == {"a": 7}

    def test_texts(self) -> None:
        value = tensor_value("a", "text", 7, (2,), string_val=[b"x", "é".encode()])
        assert values_in(value) == {"a": "x\né"}

    def test_images(self) -> None:
        strings = [b"2", b"2", b"\x89PNG1", b"\xff\xd8\xff2"]
        found = values_in(tensor_value("a b", "images", 7, (4,), string_val=strings))
        first, second = found["a b"], found["a b/1"]
        assert (first.content, first.media_type) == (b"\x89PNG1", "image/png")
        assert second.name.endswith("_7_1.jpg")

    def test_histograms(self) -> None:
        content = struct.pack("<6d", 0, 1, 3, 1, 2, 4)
        found = values_in(
            tensor_value("h", "histograms", 2, (2, 3), tensor_content=content)
        )
        assert found["h"] == {
            "type": "mlog.histogram",
            "edges": [0, 1, 2],
            "counts": [3, 4],
        }

    def test_sounds(self) -> None:
        strings = [b"RIFFxxxx", b"label"]
        found = values_in(tensor_value("a", "audio", 7, (1, 2), string_val=strings))
        assert found["a"].media_type == "audio/wav"

    def test_only_the_first_value_of_a_tag_names_the_plugin(self) -> None:
        summaries = Summaries()
        first = tensor_value("a", "scalars", 1, float_val=[1])
        later = tensor_value("a", "scalars", 1, float_val=[2])
        later.value[0].ClearField("metadata")
        summaries.values_in(first.SerializeToString(), 0)
        assert summaries.values_in(later.SerializeToString(), 1) == {"a": 2}

    def test_what_has_no_place_is_counted(self, tmp_path: Path) -> None:
        summary = tensor_value("curve", "pr_curves", 1, (2, 2), float_val=[1, 2, 3, 4])
        event = event_pb2.Event(wall_time=1, step=0, summary=summary)
        path = tmp_path / "events.out.tfevents.1.x"
        path.write_bytes(framed(event.SerializeToString()) * 3)
        (run,) = log_runs(path)
        assert found_in(run) == []
        assert run.notes == ["left out 3 values of the plugin 'pr_curves'"]


class TestDamage:
    """What is whole is read, the rest is told."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "events.out.tfevents.1.x"
        with open(path, "wb") as file:
            events = EventFile(file, 1.0)
            for step in range(5):
                events.scalar("a", step, 2.0, step)
        return path

    def steps(self, path: Path) -> tuple[list[int | None], list[str]]:
        (run,) = log_runs(path)
        return [point.step for point in found_in(run)], run.notes

    def test_whole(self, path: Path) -> None:
        assert self.steps(path) == ([0, 1, 2, 3, 4], [])

    @pytest.mark.parametrize("cut", [1, 5, 20, 35])
    def test_a_torn_end(self, path: Path, cut: int) -> None:
        path.write_bytes(path.read_bytes()[:-cut])
        steps, notes = self.steps(path)
        assert steps == [0, 1, 2, 3]
        assert "no whole record" in notes[0]

    def test_a_wrong_checksum_costs_one_record(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-10] ^= 1
        path.write_bytes(content)
        steps, notes = self.steps(path)
        assert steps == [0, 1, 2, 3]
        assert "wrong checksum" in notes[0]

    def test_a_wrong_length_ends_the_file(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[40] ^= 0xFF
        path.write_bytes(content)
        steps, notes = self.steps(path)
        assert steps == []
        assert "damaged from byte 40 on" in notes[0]

    def test_no_event_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "events.out.tfevents.1.x"
        path.write_bytes(framed(b"\xff\xff\xff"))
        assert self.steps(path) == ([], [f"{path.name}: a record is no event"])

    @settings(max_examples=60)
    @given(st.binary(max_size=60), st.integers(0, 120))
    def test_any_bytes_are_read_without_an_error(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int
    ) -> None:
        path = tmp_path_factory.mktemp("x") / "tfevents"
        path.write_bytes((framed(content) + framed(b"\x28" + content))[:cut])
        (run,) = log_runs(path)
        found_in(run)


def test_a_folder_without_event_files(tmp_path: Path) -> None:
    with pytest.raises(MlogError, match="no event files"):
        log_runs(tmp_path)
