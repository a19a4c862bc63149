"""`SummaryWriter` with the methods of `torch.utils.tensorboard`, writing into a run.

    from mlog.tensorboard import SummaryWriter      # was: torch.utils.tensorboard

Tags become metric names, `global_step` the step, `walltime` the time of the entry.
Needs NumPy for pictures, sound and curves, as torch's does; neither torch nor
TensorBoard.

Source: PyTorch, `torch.utils.tensorboard.writer` (signatures and the meaning of the
arguments).
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from mlog.adapters import AdapterRun, joined, plain_params
from mlog.errors import RunNotFoundError, warn_once
from mlog.pixels import array_of, as_hwc, boxes_drawn, grid_of, precision_recall
from mlog.run.api import Run
from mlog.run.data import measured_at
from mlog.run.open import open_run

__all__ = ["SummaryWriter"]

_BINS = 64
"""Bins of a histogram for which no others are asked."""


class SummaryWriter:
    """Logs to the active run, else to one of its own that `close` ends.

    Two writers with folders of their own in one run keep apart: the second puts the
    last part of its `log_dir` before its tags. None of the `add_` methods raises; what
    TensorBoard alone can show (graphs, embeddings, meshes, layouts) is left out with
    one warning.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
        *,
        run: Run | None = None,
    ) -> None:
        """Find or start the run.

        Args:
            log_dir: Its last part is the name of a run of its own. Made as a folder,
                as scripts put their checkpoints there; `log_dir` without it is where
                the run's artifacts lie.
            comment: Appended to the name where there is no `log_dir`.
            purge_step: Go on with the run of that name, if there is one; of steps that
                come again the later ones count.
            max_queue, flush_secs, filename_suffix: Not used: nothing is queued.
            run: The run to log to.
        """
        name = _name(log_dir, comment)
        self._own = AdapterRun(run, name=name)
        if purge_step is not None and name is not None:
            self._own = AdapterRun(run, **_resumed(name))
        self._prefix = _prefix(self._own.run, log_dir)
        self._has_logged = self._is_handle = False
        if log_dir is not None:
            self.log_dir = os.fspath(log_dir)
            os.makedirs(self.log_dir, exist_ok=True)
        elif self._own.run.path is not None:
            self.log_dir = str(self._own.run.path / "artifacts")
            os.makedirs(self.log_dir, mode=0o700, exist_ok=True)
        else:
            self.log_dir = os.path.join("runs", name or "off")

    def get_logdir(self) -> str:
        """Return the folder where scripts put files beside their curves."""
        return self.log_dir

    # --- numbers -------------------------------------------------------------------

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Record one number, exactly (torch's keeps 32 bits of it).

        Args:
            tag: Name of the metric.
            scalar_value: A number, or an array or tensor of one.
            global_step: Its step.
            walltime: When it was, in seconds since 1970. None: now.
            new_style, double_precision: Not used.
        """
        self._numbers({tag: scalar_value}, global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record several numbers as `main_tag/…` in one entry."""
        found = {joined(main_tag, tag): v for tag, v in tag_scalar_dict.items()}
        self._numbers(found, global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Record params with the metrics they led to.

        They belong to this run if it has logged other things and has no other values
        of them; else to a child of it, as torch's makes a run of each call.

        Args:
            hparam_dict: Params.
            metric_dict: Metrics.
            hparam_domain_discrete: Not used.
            run_name: Name of a child; with it there is one in any case.
            global_step: Step of the metrics.
        """
        run, params = self._run, plain_params(hparam_dict)
        known = run.params
        agrees = all(known.get(name, value) == value for name, value in params.items())
        if self._has_logged and agrees and run_name is None:
            run.log_params(params)
            self._numbers(metric_dict, global_step, None)
            return
        with run.child_run(run_name or f"hparams {time.time():.3f}") as child:
            child.log_params(params)
            child.log_metrics(dict(metric_dict), global_step)

    # --- other data ----------------------------------------------------------------

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Record how values are spread.

        Args:
            tag: Name of the metric.
            values: Numbers in any shape.
            global_step, walltime: As for `add_scalar`.
            bins: A rule of `numpy.histogram_bin_edges`, a number of bins, or their
                edges; "tensorflow": 64 bins.
            max_bins: At most so many, where a rule asks for more.
        """
        with self._at(walltime) as run:
            found = array_of(values).ravel()
            if bins == "tensorflow":
                bins = _BINS
            elif isinstance(bins, str):
                bins = _edges(found, bins, max_bins)
            run.log_histogram(self._tag(tag), found, bins=bins, step=global_step)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record a histogram that was counted before.

        Args:
            tag: Name of the metric.
            min: Lower edge of the first bucket.
            max, num, sum, sum_squares: Not used: they follow from the rest.
            bucket_limits, bucket_counts: Upper edges and counts of the buckets.
            global_step, walltime: As for `add_scalar`.
        """
        with self._at(walltime) as run:
            limits = [float(limit) for limit in bucket_limits]
            low = float(min) if not limits or min < limits[0] else limits[0] - 1.0
            counts = [float(count) for count in bucket_counts]
            run.log_histogram(
                self._tag(tag), edges=[low, *limits], counts=counts, step=global_step
            )

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Record a picture.

        Args:
            tag: Name of the metric.
            img_tensor: Pixels: integers in 0…255 or floats in 0…1; what is outside is
                taken for the end of the range, as torch's does.
            global_step, walltime: As for `add_scalar`.
            dataformats: What its axes mean, such as "CHW", "HWC" or "HW".
        """
        with self._at(walltime) as run:
            pixels = as_hwc(array_of(img_tensor), dataformats)
            run.log_image(self._tag(tag), plot=pixels, step=global_step)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Record several pictures as one, eight in a row."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Any = None,
    ) -> None:
        """Record a picture with red boxes on it.

        Args:
            tag: Name of the metric.
            img_tensor, dataformats: As for `add_image`.
            box_tensor: N × 4 numbers: left, top, right and bottom of each box.
            global_step, walltime: As for `add_scalar`.
            rescale: Not used; a picture keeps its size.
            labels: Kept as the description.
        """
        with self._at(walltime) as run:
            pixels = as_hwc(array_of(img_tensor), dataformats)
            drawn = boxes_drawn(pixels, array_of(box_tensor))
            words = (
                labels if labels is None or isinstance(labels, str) else list(labels)
            )
            run.log_image(
                self._tag(tag),
                plot=drawn,
                description="" if words is None else str(words),
                step=global_step,
            )

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Record a figure of matplotlib, or a list of them, and close it.

        Args:
            tag: Name of the metric.
            figure: The figure or figures.
            global_step, walltime: As for `add_scalar`.
            close: Whether pyplot forgets it afterwards.
        """
        with self._at(walltime) as run:
            for each in figure if isinstance(figure, list) else [figure]:
                run.log_figure(self._tag(tag), each, step=global_step)
                pyplot = sys.modules.get("matplotlib.pyplot")
                if close and pyplot is not None:
                    with contextlib.suppress(TypeError):  # no figure of matplotlib's
                        pyplot.close(each)

    def add_text(
        self,
        tag: str,
        text_string: str,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record a text."""
        with self._at(walltime) as run:
            run.log_text(self._tag(tag), text_string, step=global_step)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Record sound.

        Args:
            tag: Name of the metric.
            snd_tensor: Samples in [-1, 1], of shape (n,) or (1, n); what is outside is
                taken for the end of the range.
            global_step, walltime: As for `add_scalar`.
            sample_rate: Samples a second.
        """
        with self._at(walltime) as run:
            samples = array_of(snd_tensor).astype("f8").squeeze().clip(-1.0, 1.0)
            run.log_audio(self._tag(tag), samples, sample_rate, step=global_step)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """Record videos side by side.

        Args:
            tag: Name of the metric.
            vid_tensor: N × T × C × H × W pixels as for `add_image`.
            global_step, walltime: As for `add_scalar`.
            fps: Frames a second.
        """
        with self._at(walltime) as run:
            videos = array_of(vid_tensor)
            frames = [
                grid_of(videos[:, moment].transpose(0, 2, 3, 1))
                for moment in range(videos.shape[1])
            ]
            run.log_video(self._tag(tag), frames, fps, step=global_step)

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Record precision and recall over the threshold, as a table.

        Args:
            tag: Name of the metric.
            labels: What is true: 0 or 1 each.
            predictions: Probability of 1, each.
            global_step, walltime: As for `add_scalar`.
            num_thresholds: Number of thresholds, from 0 to 1.
            weights: What each counts for.
        """
        with self._at(walltime) as run:
            table = precision_recall(labels, predictions, num_thresholds, weights)
            run.log_table(self._tag(tag), table, step=global_step)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Record a curve of precision and recall that was computed before."""
        table = {
            "true_positives": true_positive_counts,
            "false_positives": false_positive_counts,
            "true_negatives": true_negative_counts,
            "false_negatives": false_negative_counts,
            "precision": precision,
            "recall": recall,
        }
        with self._at(walltime) as run:
            found = {name: array_of(column) for name, column in table.items()}
            run.log_table(self._tag(tag), found, step=global_step)

    def add_tensor(
        self,
        tag: str,
        tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record the numbers of a tensor as a list."""
        with self._at(walltime) as run:
            run.log_list(self._tag(tag), array_of(tensor).ravel(), step=global_step)

    # --- what only TensorBoard shows -----------------------------------------------

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        """Leave a model's graph out, with one warning."""
        _left_out("add_graph")

    def add_onnx_graph(self, *args: Any, **kwargs: Any) -> None:
        """Leave a model's graph out, with one warning."""
        _left_out("add_onnx_graph")

    def add_embedding(self, *args: Any, **kwargs: Any) -> None:
        """Leave an embedding out, with one warning."""
        _left_out("add_embedding")

    def add_mesh(self, *args: Any, **kwargs: Any) -> None:
        """Leave a mesh out, with one warning."""
        _left_out("add_mesh")

    def add_custom_scalars(self, *args: Any, **kwargs: Any) -> None:
        """Leave a layout of TensorBoard's page out, with one warning."""
        _left_out("add_custom_scalars")

    def add_custom_scalars_multilinechart(self, *args: Any, **kwargs: Any) -> None:
        """Leave a layout of TensorBoard's page out, with one warning."""
        _left_out("add_custom_scalars_multilinechart")

    def add_custom_scalars_marginchart(self, *args: Any, **kwargs: Any) -> None:
        """Leave a layout of TensorBoard's page out, with one warning."""
        _left_out("add_custom_scalars_marginchart")

    # --- end -----------------------------------------------------------------------

    def flush(self) -> None:
        """Put everything recorded so far on the disk."""
        self._run.flush()

    def close(self) -> None:
        """End a run of its own; any other goes on. What is added later is kept, too."""
        self._run.flush()
        self._own.end()

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End a run of its own as the block ends."""
        if exc_val is not None:
            self._own.end(exc_val)
        else:
            self.close()

    # --- inside --------------------------------------------------------------------

    def _tag(self, tag: str) -> str:
        return joined(self._prefix, tag)

    @property
    def _run(self) -> Run:
        """The run; a handle on it where somebody has ended it meanwhile."""
        run = self._own.run
        if not self._is_handle and run.status != "Running" and run.path is not None:
            run, self._is_handle = open_run(run.path), True
            self._own = AdapterRun(run)
        return run

    def _numbers(
        self, found: Mapping[str, Any], step: int | None, walltime: float | None
    ) -> None:
        self._has_logged = True
        metrics = {self._tag(tag): value for tag, value in found.items()}
        self._run.log_metrics(metrics, step, time=walltime)

    @contextlib.contextmanager
    def _at(self, walltime: float | None) -> Iterator[Run]:
        """Record data other than numbers: what cannot be read warns, as with `log_…`."""
        self._has_logged = True
        run = self._run
        try:
            with measured_at(walltime):
                yield run
        except Exception as exc:
            warn_once("summary writer", f"SummaryWriter: nothing is recorded: {exc}")


def _left_out(method: str) -> None:
    warn_once(method, f"SummaryWriter.{method} shows in TensorBoard only; left out")


def _name(log_dir: str | os.PathLike[str] | None, comment: str) -> str | None:
    if log_dir is None:
        return comment.strip("_- ") or None
    path = os.path.abspath(os.fspath(log_dir))
    return os.path.basename(path) or None


def _resumed(name: str) -> dict[str, Any]:
    """Return the options with which `start_run` goes on with a run, if there is one."""
    try:
        found = open_run(name)
    except (RunNotFoundError, ValueError):
        return {"name": name}
    return {"resume": str(found.path)}


def _prefix(run: Run, log_dir: str | os.PathLike[str] | None) -> str:
    """Return what keeps the tags of a second writer in a run apart from the first's."""
    folder = None if log_dir is None else os.path.abspath(os.fspath(log_dir))
    folders = _folders.setdefault(str(run.path), [])
    if folder not in folders:
        folders.append(folder)
    return "" if folder in (None, folders[0]) else os.path.basename(str(folder))


_folders: dict[str, list[str | None]] = {}
"""The folders of the writers of each run."""


def _edges(values: Any, rule: str, most: int | None) -> Any:
    numpy = sys.modules["numpy"]
    edges = numpy.histogram_bin_edges(values[numpy.isfinite(values)], bins=rule)
    if most is None or len(edges) - 1 <= most:
        return edges
    return numpy.linspace(edges[0], edges[-1], most + 1)
