"""The part of a run that records more than numbers: lists, tables, pictures, charts.

What fits into an entry is kept there; what is a file becomes an artifact, and the entry
says where it lies: `{"type": "mlog.artifact", "path", "media_type"}`.

Invariants:

- No method here raises (but with `strict`): what is wrong is told by one warning, and
  then nothing of the call is recorded.
- An artifact never takes the place of another one: where its name is taken, the step,
  or else the time in nanoseconds, is added to it. While a file is stored, an empty
  file `<run>/.<hash>.claim` keeps its name from all other processes.
- A run that is off, or has ended, looks at nothing it is given.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from mlog.context import scope
from mlog.plain import clean_text, safe_str
from mlog.run.file_names import own_name, safe_name, text_of_name
from mlog.run.files import FileMethods
from mlog.values import step_of

# The modules that make values and files are imported where they are needed: a program
# that logs numbers should not wait for them.
if TYPE_CHECKING:
    from mlog.run.envelopes import Kind
    from mlog.run.histograms import Bins
    from mlog.run.images import Media

__all__ = ["DataMethods", "measured_at"]

_SHORT_TEXT = 65_536  # bytes of a text that is kept in its entry
_Given = ParamSpec("_Given")
_Self = TypeVar("_Self", bound="DataMethods")


_moment: ContextVar[float | None] = ContextVar("mlog_moment", default=None)


@contextlib.contextmanager
def measured_at(time: float | None) -> Iterator[None]:
    """Give what the block records of this module's kinds of data another time.

    Args:
        time: Seconds since 1970. None: the time of the calls.
    """
    before = _moment.set(time)
    try:
        yield
    finally:
        _moment.reset(before)


def _records(
    method: Callable[Concatenate[_Self, _Given], None],
) -> Callable[Concatenate[_Self, _Given], None]:
    """Make a method warn where it would raise, and do nothing where nothing is kept.

    Unlike `harmless` it leaves all names free, as the columns of a row need them.
    """

    @functools.wraps(method)
    def checked(run: _Self, /, *args: _Given.args, **kwargs: _Given.kwargs) -> None:
        try:
            if run.path is not None and not run._has_ended():
                method(run, *args, **kwargs)
        except Exception as exc:
            name = args[0] if args else kwargs.get("name")
            run._failed(method.__name__, exc, name)

    return cast("Callable[Concatenate[_Self, _Given], None]", checked)


class DataMethods(FileMethods):
    """Methods of a run for every kind of data but numbers. None of them raises.

    Each takes a metric's `name` (1-256 bytes; "/" groups), most a `step` (position on
    the x axis, any order) and a `description`, a word on it that is kept beside the
    value. Nothing passed is changed or kept.
    """

    # --- values --------------------------------------------------------------------

    @_records
    def log_list(
        self, name: str, value: Any, description: str = "", step: int | None = None
    ) -> None:
        """Record a list; further lists of the same name are added to it.

        Args:
            name: Metric name.
            value: Any iterable of numbers, texts, bools and None, of any length, 0
                and 1 included: list, generator, array, Series, set. A text is one item.
            description: A word on it.
            step: Position on the x axis.
        """
        from mlog.run.tables import list_values

        self._record_all(name, list_values(value), step, description)

    @_records
    def log_row(
        self, /, name: str, description: str | None = None, **kwargs: Any
    ) -> None:
        """Record one row of a table: `run.log_row("scores", fold=1, auc=0.93)`.

        Args:
            name: Metric name.
            description: A word on it.
            **kwargs: Column to cell: a number, text, bool, None, or a short flat list
                of these. Rows of one name may have different columns.
        """
        from mlog.run.tables import row_value

        self._record_all(name, [row_value(kwargs)], None, description)

    @_records
    def log_table(
        self, name: str, value: Any, description: str = "", step: int | None = None
    ) -> None:
        """Record a table; rows and further tables of the same name are added to it.

        Args:
            name: Metric name.
            value: Mapping of columns of one length (a scalar is a column of one row),
                DataFrame (pandas, polars), Arrow table, or list of mappings.
            description: A word on it.
            step: Position on the x axis.
        """
        from mlog.run.tables import table_values

        self._record_all(name, table_values(value), step, description)

    @_records
    def log_histogram(
        self,
        name: str,
        values: Any = None,
        *,
        bins: "Bins" = 10,
        range: tuple[float, float] | None = None,
        weights: Any = None,
        edges: Any = None,
        counts: Any = None,
        step: int | None = None,
        description: str = "",
    ) -> None:
        """Count values into bins as `numpy.histogram` does, and record the counts.

        Args:
            name: Metric name.
            values: Numbers in any shape. NaN and the infinities are left out, with one
                warning.
            bins: Number of bins of one width, at most 9,999, or their edges.
            range: Lowest and highest edge; by default the least and greatest value.
            weights: What each value counts for.
            edges, counts: Bins that were counted before (n + 1 and n), instead of
                `values`.
            step: Position on the x axis.
            description: A word on it.
        """
        from mlog.run.histograms import histogram_value

        ready = histogram_value(
            values, bins=bins, range=range, weights=weights, edges=edges, counts=counts
        )
        self._record_all(name, [ready], step, description)

    @_records
    def log_text(
        self, name: str, text: str, step: int | None = None, description: str = ""
    ) -> None:
        """Record a text: up to 64 KiB as the value itself, a longer one as a file.

        Args:
            name: Metric name.
            text: Any text; another object is kept as `str` of it.
            step: Position on the x axis.
            description: A word on it.
        """
        ready = clean_text(safe_str(text))
        data = ready.encode()
        if len(data) <= _SHORT_TEXT:
            self._record_all(name, [ready], step, description)
            return
        from mlog.run.images import Media

        self._keep(name, Media(data, "text/plain", ".txt"), step, description)

    # --- pictures, sound, files ----------------------------------------------------

    @_records
    def log_image(
        self,
        name: str,
        path: Any = None,
        plot: Any = None,
        description: str = "",
        step: int | None = None,
    ) -> None:
        """Record a picture: `path` or `plot`, exactly one of them.

        Args:
            name: Metric name.
            path: Path of an image file (PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF, SVG),
                stored under its own name; or anything that `plot` takes.
            plot: `matplotlib.pyplot` itself, a figure or axes, a plotly figure, a PIL
                image, bytes of an image file; pixels H×W, H×W×1, H×W×3 or H×W×4 in an
                array, a tensor or lists: integers in 0…255, floats in 0…1, or bools.
                NaN is black.
            description: A word on it.
            step: Position on the x axis.
        """
        from mlog.run.images import image_of

        if (path is None) == (plot is None):
            given = "neither" if path is None else "both"
            raise ValueError(
                f"log_image needs exactly one of path= and plot=, got {given}"
            )
        source = plot if path is None else path
        self._keep(name, image_of(source), step, description, own_name(source))

    @_records
    def log_figure(
        self, name: str, figure: Any, step: int | None = None, description: str = ""
    ) -> None:
        """Record a figure of matplotlib, seaborn or plotly; see `log_image`.

        A plotly figure becomes a PNG where kaleido is installed, else an HTML page that
        loads plotly from its public server when it is opened.
        """
        from mlog.run.images import image_of

        self._keep(name, image_of(figure), step, description, own_name(figure))

    @_records
    def log_audio(
        self,
        name: str,
        audio: Any,
        sample_rate: float | None = None,
        step: int | None = None,
        description: str = "",
    ) -> None:
        """Record sound.

        Args:
            name: Metric name.
            audio: Path or bytes of a sound file; or samples, (n,) or (n, channels), as
                floats in [-1, 1] or 16-bit integers, which become a WAV.
            sample_rate: Samples a second; needed for samples only.
            step: Position on the x axis.
            description: A word on it.
        """
        from mlog.run.media import audio_of

        found = audio_of(audio, sample_rate)
        self._keep(name, found, step, description, own_name(audio))

    @_records
    def log_video(
        self,
        name: str,
        video: Any,
        fps: float | None = None,
        step: int | None = None,
        description: str = "",
    ) -> None:
        """Record a video.

        Args:
            name: Metric name.
            video: Path or bytes of a video file; or frames, T×H×W or T×H×W×C with the
                pixels of `log_image`, which become an animated PNG.
            fps: Frames a second, 4 by default; a file has its own.
            step: Position on the x axis.
            description: A word on it.
        """
        from mlog.run.media import video_of

        found = video_of(video, fps)
        self._keep(name, found, step, description, own_name(video))

    @_records
    def log_html(
        self, name: str, html: Any, step: int | None = None, description: str = ""
    ) -> None:
        """Record a page of HTML.

        Args:
            name: Metric name.
            html: The text, the `Path` of a file, or an object with `to_html()` or
                `_repr_html_()`, such as a DataFrame or a plotly figure.
            step: Position on the x axis.
            description: A word on it.
        """
        from mlog.run.images import Media

        source = Path(html) if isinstance(html, PurePath) else _html_of(html)
        media = Media(source, "text/html", ".html")
        self._keep(name, media, step, description, own_name(source))

    @_records
    def log_file(
        self,
        name: str,
        path: str | os.PathLike[str],
        step: int | None = None,
        description: str = "",
    ) -> None:
        """Record a file of any kind and size; it is stored under its own name.

        Args:
            name: Metric name.
            path: Of the file.
            step: Position on the x axis.
            description: A word on it.
        """
        from mlog.run.artifacts import guess_media_type
        from mlog.run.images import Media

        file = Path(path)
        media = Media(file, guess_media_type(file.name), file.suffix)
        self._keep(name, media, step, description, own_name(file))

    @_records
    def log_folder(
        self, name: str, path: str | os.PathLike[str], description: str = ""
    ) -> None:
        """Record a folder with all that is below it, as artifacts that begin with `name`.

        A file that was stored under the same name before is replaced.
        """
        start = safe_name(name)
        self.upload_folder(start, path)
        ready = _artifact(start, "inode/directory")
        self._record_all(name, [ready], None, description)

    # --- charts --------------------------------------------------------------------

    @_records
    def log_confusion_matrix(
        self,
        name: str,
        value: Any = None,
        description: str = "",
        step: int | None = None,
        *,
        y_true: Any = None,
        y_pred: Any = None,
        labels: Any = None,
    ) -> None:
        """Record a confusion matrix: `value`, or `y_true` and `y_pred`.

        Args:
            name: Metric name.
            value: Azure ML's envelope with `class_labels` and `matrix`, as a mapping or
                as JSON text.
            description: A word on it.
            step: Position on the x axis.
            y_true, y_pred: Classes, equally many.
            labels: Order of the classes; by default sorted.
        """
        from mlog.run.charts import confusion_matrix

        if _needs_data(value, y_true, y_pred, "y_true= and y_pred="):
            value = confusion_matrix(y_true, y_pred, labels)
        self._keep_chart("confusion_matrix", name, value, step, description)

    @_records
    def log_accuracy_table(
        self,
        name: str,
        value: Any = None,
        description: str = "",
        step: int | None = None,
        *,
        y_true: Any = None,
        probabilities: Any = None,
        labels: Any = None,
    ) -> None:
        """Record what ROC and precision-recall curves are drawn from.

        Args:
            name: Metric name.
            value: Azure ML's envelope with TP, FP, TN and FN at thresholds, as a
                mapping or as JSON text.
            description: A word on it.
            step: Position on the x axis.
            y_true: Classes, n of them; with `probabilities` instead of `value`.
            probabilities: n×C, or (n,) of the second of two classes.
            labels: The classes in the order of the columns; by default sorted.
        """
        from mlog.run.charts import accuracy_table

        if _needs_data(value, y_true, probabilities, "y_true= and probabilities="):
            value = accuracy_table(y_true, probabilities, labels)
        self._keep_chart("accuracy_table", name, value, step, description)

    @_records
    def log_residuals(
        self,
        name: str,
        value: Any = None,
        description: str = "",
        step: int | None = None,
        *,
        y_true: Any = None,
        y_pred: Any = None,
        bins: "Bins" = 10,
    ) -> None:
        """Record the histogram of the errors of a regression (predicted - actual).

        Args:
            name: Metric name.
            value: Azure ML's envelope with `bin_edges` and `bin_counts`, as a mapping
                or as JSON text.
            description: A word on it.
            step: Position on the x axis.
            y_true, y_pred: Numbers, equally many; instead of `value`.
            bins: As for `log_histogram`.
        """
        from mlog.run.charts import residuals

        if _needs_data(value, y_true, y_pred, "y_true= and y_pred="):
            value = residuals(y_true, y_pred, bins)
        self._keep_chart("residuals", name, value, step, description)

    @_records
    def log_predictions(
        self,
        name: str,
        value: Any = None,
        description: str = "",
        step: int | None = None,
        *,
        y_true: Any = None,
        y_pred: Any = None,
        bins: "Bins" = 10,
    ) -> None:
        """Record predicted over true values of a regression, with error bars.

        Args:
            name: Metric name.
            value: Azure ML's envelope with `bin_averages`, `bin_errors`, `bin_counts`
                and `bin_edges`, as a mapping or as JSON text.
            description: A word on it.
            step: Position on the x axis.
            y_true, y_pred: Numbers, equally many; instead of `value`.
            bins: Of the true values, as for `log_histogram`.
        """
        from mlog.run.charts import predictions

        if _needs_data(value, y_true, y_pred, "y_true= and y_pred="):
            value = predictions(y_true, y_pred, bins)
        self._keep_chart("predictions", name, value, step, description)

    # --- inside --------------------------------------------------------------------

    def _record_all(
        self, name: str, values: list[Any], step: int | None, description: str | None
    ) -> None:
        """Write values of one name, an entry each; the first has the description."""
        extra = {"description": description} if description else None
        for value in values:
            self._record({text_of_name(name): value}, step, extra, _moment.get())
            extra = None

    def _keep(
        self,
        name: str,
        media: "Media",
        step: int | None,
        description: str | None,
        own_name: str | None = None,
    ) -> None:
        """Store a file and record where it lies.

        Args:
            name: Metric name.
            media: What is stored.
            step, description: Of the entry.
            own_name: Name of the file the user gave; None: one is made of `name`.
        """
        stem = safe_name(own_name or text_of_name(name))
        if own_name is not None:
            stem, suffix = os.path.splitext(stem)
        else:
            suffix = media.suffix
        with self._free_name(stem, suffix, step, bare=own_name is not None) as path:
            stored = self._put(path, media.source, media.media_type)
        ready = _artifact(stored.path, media.media_type)
        self._record_all(name, [ready], step, description)

    def _keep_chart(
        self,
        kind: "Kind",
        name: str,
        value: Any,
        step: int | None,
        description: str | None,
    ) -> None:
        """Store a chart as JSON, and record it whole where it fits into an entry."""
        import orjson

        from mlog.run.envelopes import check
        from mlog.run.tables import fits_entry

        chart = check(kind, value)
        with self._free_name(
            safe_name(text_of_name(name)), "", step, bare=True
        ) as path:
            stored = self._put(path, orjson.dumps(chart), "application/json")
        ready = {"type": f"mlog.{kind}", **chart, "path": stored.path}
        if not fits_entry(ready):
            del ready["data"]
        self._record_all(name, [ready], step, description)

    @contextlib.contextmanager
    def _free_name(
        self, stem: str, suffix: str, step: Any, *, bare: bool
    ) -> Iterator[str]:
        """Give a name that no artifact of this run has, and keep it until it is used.

        Args:
            stem, suffix: What the name begins and ends with.
            step: Added where there is one and the name is not free without.
            bare: Whether the first choice is the name without step and time.
        """
        store = self._store()
        folder = store.open_run()
        step = step_of(scope().step if step is None else step)
        for name in self._candidates(stem, suffix, step, bare):
            claim = _claim(name)
            try:
                folder.create(claim)
            except FileExistsError:  # somebody is storing it at this very moment
                continue
            try:
                if not os.path.lexists(store.path / name):
                    yield name
                    return
            finally:
                folder.remove(claim)

    def _candidates(
        self, stem: str, suffix: str, step: int | None, bare: bool
    ) -> Iterator[str]:
        if not self.rank:
            if bare:
                yield f"{stem}{suffix}"
            if step is not None:
                yield f"{stem}_{step}{suffix}"
        elif step is not None:  # the plain names are for rank 0, whoever comes first
            yield f"{stem}_{step}_r{self.rank}{suffix}"
        while True:
            yield f"{stem}_{time.time_ns()}{suffix}"


def _claim(name: str) -> str:
    """Return the name of the file that keeps an artifact's name."""
    import hashlib  # only here: it is slow to import

    return f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.claim"


def _artifact(path: str, media_type: str) -> dict[str, str]:
    return {"type": "mlog.artifact", "path": path, "media_type": media_type}


def _needs_data(value: Any, true: Any, other: Any, names: str) -> bool:
    """Whether a chart is to be built; what is given must be one or the other."""
    if (value is None) == (true is None and other is None):
        given = "neither" if value is None else "both"
        raise ValueError(f"a chart needs its value, or {names}; got {given}")
    if value is None and (true is None or other is None):
        raise ValueError(f"a chart needs both {names}")
    return value is None


def _html_of(html: Any) -> bytes:
    """Return the text of a page."""
    if isinstance(html, bytes | bytearray):
        return bytes(html)
    if not isinstance(html, str):
        for name in ("to_html", "_repr_html_"):
            make = getattr(html, name, None)
            if callable(make):
                html = make()
                break
    if not isinstance(html, str):
        raise TypeError(
            f"expected HTML text, a Path or an object with to_html(), got "
            f"{type(html).__name__}"
        )
    return clean_text(html).encode()
