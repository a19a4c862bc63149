"""`SummaryWriter`, against torch's own where the rule is torch's."""

import inspect
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlog
from mlog.errors import MlogWarning
from mlog.tensorboard import SummaryWriter

numpy: Any = pytest.importorskip("numpy")


@pytest.fixture
def torch_writer() -> Any:
    pytest.importorskip("tensorboard")
    pytest.importorskip("torch")
    from torch.utils.tensorboard import SummaryWriter as Theirs

    return Theirs


class TestAsTorchs:
    def test_every_method_has_the_same_arguments(self, torch_writer: Any) -> None:
        """What is left out takes whatever torch's takes."""
        for name, method in inspect.getmembers(torch_writer, inspect.isfunction):
            if name.startswith("_") and name != "__init__":
                continue
            ours = inspect.signature(getattr(SummaryWriter, name))
            if "args" in ours.parameters:
                continue
            theirs = inspect.signature(method)
            known = [
                (p.name, p.default)
                for p in ours.parameters.values()
                if p.kind is not inspect.Parameter.KEYWORD_ONLY
            ]
            assert known == [(p.name, p.default) for p in theirs.parameters.values()], (
                name
            )

    def test_the_same_script_reads_back_equal(
        self, torch_writer: Any, tmp_path: Path
    ) -> None:
        """TensorBoard's reader against ours; torch's keeps 32 bits of a number."""
        from tensorboard.backend.event_processing.event_accumulator import (
            EventAccumulator,
        )

        def script(writer: Any) -> None:
            for step in range(20):
                writer.add_scalar(
                    "train/loss", 1 / (step + 1), step, walltime=1e9 + step
                )
                writer.add_scalar("back", math.sin(step), 20 - step)
            writer.add_scalar("no step", 0.1)
            writer.close()

        script(torch_writer(str(tmp_path / "theirs")))
        script(SummaryWriter(tmp_path / "ours"))
        theirs = EventAccumulator(str(tmp_path / "theirs")).Reload()
        run = mlog.open_run("latest")
        for tag in theirs.Tags()["scalars"]:
            events, history = theirs.Scalars(tag), run.history(tag)
            assert [e.value for e in events] == list(history.values.astype("f4"))
            assert [e.step for e in events] == list(history.steps)
            if tag == "train/loss":
                assert [e.wall_time for e in events] == pytest.approx(
                    list(history.times)
                )

    def test_precision_and_recall_are_torchs(self, torch_writer: Any) -> None:
        from torch.utils.tensorboard.summary import compute_curve

        rng = numpy.random.default_rng(0)
        labels, given = rng.integers(0, 2, 500), rng.random(500)
        with SummaryWriter() as writer:
            writer.add_pr_curve("pr", labels, given, 1, num_thresholds=11)
        table = mlog.open_run("latest").get_metrics("pr")["pr"]
        theirs = compute_curve(labels, given, 11)
        assert table["true_positives"] == pytest.approx(list(theirs[0]))
        assert table["false_positives"] == pytest.approx(list(theirs[1]))
        assert table["precision"] == pytest.approx(list(theirs[4]))
        assert table["recall"] == pytest.approx(list(theirs[5]))


class TestRuns:
    def test_without_a_run_it_has_one_of_its_own_with_the_folders_name(
        self, tmp_path: Path
    ) -> None:
        with SummaryWriter(tmp_path / "runs" / "first") as writer:
            writer.add_scalar("a", 1, 0)
            assert Path(writer.log_dir).is_dir(), "scripts put files there"
        run = mlog.open_run("latest")
        assert (run.name, run.status) == ("first", "Completed")

    def test_the_active_run_is_used_and_goes_on(self) -> None:
        with mlog.start_run("e") as run:
            writer = SummaryWriter()
            writer.add_scalar("a", 1, 0)
            writer.close()
            assert run.status == "Running"
            assert writer.log_dir == f"{run.path}/artifacts"
        assert run.get_metrics() == {"a": 1}

    def test_two_writers_in_one_run_keep_apart(self) -> None:
        with mlog.start_run("e") as run:
            for part in ("train", "valid"):
                SummaryWriter(f"runs/x/{part}").add_scalar("loss", 1, 0)
        assert run.get_metrics() == {"loss": 1, "valid/loss": 1}

    def test_what_comes_after_the_end_is_kept(self) -> None:
        """Torch's opens a new file then."""
        writer = SummaryWriter("runs/late")
        writer.add_scalar("a", 1, 0)
        writer.close()
        writer.add_scalar("a", 2, 1)
        writer.close()
        assert mlog.open_run("latest").get_metrics() == {"a": [1, 2]}

    def test_purging_goes_on_with_the_run_of_that_name(self) -> None:
        with SummaryWriter("runs/long") as writer:
            for step in range(4):
                writer.add_scalar("a", step, step)
        with SummaryWriter("runs/long", purge_step=2) as writer:
            for step in range(2, 6):
                writer.add_scalar("a", 10 * step, step)
        (run,) = mlog.runs()
        assert list(run.history("a").values) == [0, 1, 20, 30, 40, 50]

    def test_an_exception_ends_its_run_as_failed(self) -> None:
        with pytest.raises(ValueError, match="diverged"), SummaryWriter("runs/x"):
            raise ValueError("diverged")
        assert mlog.open_run("latest").status == "Failed"


class TestHparams:
    def test_those_of_a_training_are_the_runs_params(self) -> None:
        with SummaryWriter("runs/x") as writer:
            writer.add_scalar("loss", 0.5, 0)
            writer.add_hparams({"lr": 0.1, "net": "mlp"}, {"hparam/acc": 0.9})
        run = mlog.open_run("latest")
        assert run.params == {"lr": 0.1, "net": "mlp"}
        assert run.get_metrics() == {"loss": 0.5, "hparam/acc": 0.9}

    def test_those_of_a_search_are_children(self) -> None:
        with mlog.start_run("e") as run:
            writer = SummaryWriter()
            for lr in (0.1, 0.2):
                writer.add_hparams({"lr": lr}, {"acc": 1 - lr})
        found = {c.params["lr"]: c.get_metrics("acc") for c in run.get_children()}
        assert found == {0.1: {"acc": 0.9}, 0.2: {"acc": 0.8}}


class TestData:
    @pytest.fixture
    def logged(self) -> Any:
        """Return what logs by a function of a writer, and gives the metrics' values."""

        def log(use: Any) -> dict[str, Any]:
            with SummaryWriter("runs/data") as writer:
                use(writer)
            found: dict[str, Any] = mlog.open_run("latest").get_metrics(populate=True)
            return found

        return log

    @pytest.mark.parametrize("layout", ["CHW", "HWC", "WHC"])
    def test_axes_of_a_picture_come_in_any_order(
        self, logged: Any, layout: str
    ) -> None:
        pillow = pytest.importorskip("PIL.Image")
        import io

        pixels = numpy.arange(24, dtype="u1").reshape(2, 4, 3)  # H, W, C
        given = pixels.transpose(["HWC".index(axis) for axis in layout])
        found = logged(lambda w: w.add_image("a", given, 1, dataformats=layout))
        read = numpy.asarray(pillow.open(io.BytesIO(found["a"])))
        assert (read == pixels).all()

    def test_pictures_of_a_batch_stand_eight_in_a_row(self, logged: Any) -> None:
        pillow = pytest.importorskip("PIL.Image")
        import io

        batch = numpy.stack([numpy.full((3, 2, 2), n, "u1") for n in range(9)])
        found = logged(lambda w: w.add_images("a", batch, 1))
        read = numpy.asarray(pillow.open(io.BytesIO(found["a"])))
        assert read.shape == (4, 16, 3)
        assert [read[0, 2 * n, 0] for n in range(8)] == list(range(8))
        assert read[2, 0, 0] == 8

    def test_what_is_out_of_range_is_cut_off_as_torch_does(self, logged: Any) -> None:
        pillow = pytest.importorskip("PIL.Image")
        import io

        found = logged(
            lambda w: w.add_image("a", numpy.array([[-1.0, 7.0]]), 1, None, "HW")
        )
        read = numpy.asarray(pillow.open(io.BytesIO(found["a"])))
        assert read.tolist() == [[0, 255]]

    def test_boxes_are_drawn(self, logged: Any) -> None:
        pillow = pytest.importorskip("PIL.Image")
        import io

        black = numpy.zeros((3, 6, 6), "u1")
        found = logged(
            lambda w: w.add_image_with_boxes("a", black, numpy.array([1, 1, 4, 4]))
        )
        read = numpy.asarray(pillow.open(io.BytesIO(found["a"])))
        assert read[1, 1].tolist() == read[4, 2].tolist() == [255, 0, 0]
        assert read[2, 2].tolist() == read[0, 0].tolist() == [0, 0, 0]

    def test_histograms(self, logged: Any) -> None:
        def use(writer: SummaryWriter) -> None:
            writer.add_histogram("fine", numpy.arange(10.0), 0, bins=[0, 5, 10])
            writer.add_histogram(
                "rule", numpy.arange(100.0), 0, bins="auto", max_bins=3
            )
            writer.add_histogram_raw("raw", 0, 2, 3, 4, 5, [1, 2], [1, 2], 0)

        found = logged(use)
        assert found["fine"]["counts"] == [5, 5]
        assert len(found["rule"]["counts"]) == 3
        assert sum(found["rule"]["counts"]) == 100
        assert found["raw"] == {"edges": [0, 1, 2], "counts": [1, 2]}

    def test_text_sound_video_figures_lists(self, logged: Any) -> None:
        class Figure:
            """Stands for matplotlib's: all that is asked of one."""

            def savefig(self, target: Any, format: str) -> None:
                target.write(b"\x89PNG\r\n\x1a\n")

        def use(writer: SummaryWriter) -> None:
            writer.add_text("text", "hello", 1)
            writer.add_audio("sound", numpy.full((1, 800), 2.0), 1, sample_rate=8000)
            writer.add_video("video", numpy.zeros((2, 3, 3, 4, 4)), 1)
            writer.add_figure("figure", [Figure(), Figure()], 1)
            writer.add_tensor("tensor", numpy.array([[1, 2], [3, 4]]), 1)

        found = logged(use)
        assert found["text"] == "hello"
        assert found["sound"].startswith(b"RIFF")
        assert b"acTL" in found["video"], "an animated PNG"
        assert len(found["figure"]) == 2
        assert found["tensor"] == [1, 2, 3, 4]

    def test_walltime_is_kept_to_the_nearest_microsecond(self) -> None:
        """Most times of whole microseconds are a little less than that as floats."""
        micros = [1_700_000_000_000_000 + n * 12_345 for n in range(200)]
        with SummaryWriter() as writer:
            for step, time in enumerate(micros):
                writer.add_scalar("a", 1, step, walltime=time / 1e6)
            run = writer._run
        assert [round(t * 1e6) for t in run.history("a").times] == micros

    def test_walltime_may_be_a_number_of_numpy(self) -> None:
        with SummaryWriter() as writer:
            for kind in (numpy.float64, numpy.int64, numpy.array):
                writer.add_scalar("a", 1, 0, walltime=kind(1_700_000_000))
            run = writer._run
        assert list(run.history("a").times) == [1.7e9] * 3

    def test_walltime_is_the_time_of_other_data_too(self) -> None:
        with SummaryWriter("runs/x") as writer:
            writer.add_text("a", "b", 1, walltime=1e9)
            writer.add_text("a", "c", 2)
        first, second = mlog.open_run("latest").entries("metrics")
        assert sorted([first["ts"], second["ts"]])[0] == "2001-09-09T01:46:40.000000Z"

    def test_tensors_that_need_gradients_are_read(self, logged: Any) -> None:
        torch = pytest.importorskip("torch")

        def use(writer: SummaryWriter) -> None:
            weights = torch.ones(4, requires_grad=True)
            writer.add_scalar("sum", weights.sum(), 0)
            writer.add_histogram("weights", weights.to(torch.bfloat16), 0)

        found = logged(use)
        assert found["sum"] == 4
        assert sum(found["weights"]["counts"]) == 4


class TestBadInput:
    """A writer never raises into the training."""

    def test_nan_and_steps_that_go_back_are_kept(self) -> None:
        with SummaryWriter("runs/x") as writer:
            for step, value in ((5, 1.0), (3, math.nan), (4, math.inf)):
                writer.add_scalar("a", value, step)
        history = mlog.open_run("latest").history("a")
        assert list(history.steps) == [5, 3, 4]
        assert [repr(float(v)) for v in history.values] == ["1.0", "nan", "inf"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_worker_logs_as_itself(self) -> None:
        """As a DataLoader's worker that was given a writer."""
        with SummaryWriter("runs/x") as writer:
            writer.add_scalar("a", 1, 0)
            child = os.fork()
            if child == 0:
                writer.add_scalar("a", 2, 1)
                writer.flush()
                os._exit(0)
            os.waitpid(child, 0)
            writer.add_scalar("a", 3, 2)
        run = mlog.open_run("latest")
        values = [entry["metric"]["a"] for entry in run.entries("metrics")]
        assert sorted(values) == [1, 2, 3]
        assert len(list(run.path.glob("metrics*.jsonl"))) == 2  # type: ignore[union-attr]

    def test_a_layout_that_does_not_fit_warns(self) -> None:
        with (
            SummaryWriter("runs/x") as writer,
            pytest.warns(
                MlogWarning, match=r"dataformats='CHW' means 3 axes, got .* \(2, 2\)"
            ),
        ):
            writer.add_image("a", numpy.zeros((2, 2)), 1)

    def test_what_only_tensorboard_shows_warns_once(self) -> None:
        with SummaryWriter("runs/x") as writer:
            with pytest.warns(MlogWarning, match="add_graph shows in TensorBoard only"):
                writer.add_graph(object(), (1, 2))
            writer.add_graph(object())

    @pytest.mark.parametrize("odd", [math.nan, -1.0, 1e18, "soon"])
    def test_a_walltime_that_is_none_is_left_out(self, odd: Any) -> None:
        before = time.time()
        with (
            SummaryWriter("runs/x") as writer,
            pytest.warns(MlogWarning, match="time must be seconds since 1970"),
        ):
            writer.add_scalar("a", 1, 0, walltime=odd)
        (found,) = mlog.open_run("latest").history("a").times
        assert found >= before - 1

    @given(values=st.lists(st.floats(width=64), max_size=5))
    @settings(
        max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_any_float_reads_back(self, tmp_path: Path, values: list[float]) -> None:
        with mlog.start_run("e", dir=tmp_path) as run:
            writer = SummaryWriter()
            for step, value in enumerate(values):
                writer.add_scalar("a", value, step)
        found = run.history("a").values if values else []
        assert [repr(float(v)) for v in found] == [repr(v) for v in values]
