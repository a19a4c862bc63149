"""What was recorded, read back: also of a run that is alive in another process."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mlog.run.family import FamilyMethods
from mlog.run.launched import type_of
from mlog.types import Stream

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
    from mlog.reader.around import Around, Then
    from mlog.reader.series import History

__all__ = ["ReadMethods"]


class ReadMethods(FamilyMethods):
    """Metrics, histories and entries of a run."""

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """Return the metrics, each in the shape it was logged in.

        A value logged once is itself, one logged several times a list in the order of
        arrival; lists are lists, a row is `{column: value}`, rows and tables are
        `{column: [values]}`. Images and other files are the names of artifacts. All of
        it is in memory at once, some 32 bytes a value, as is what `history` returns.

        Args:
            name: Only this metric.
            recursive: Also those of all children: then it is `{run id: metrics}`.
            run_type: Of the children only those of this type; see `get_children`.
            populate: Return the content of artifacts instead of their names.

        Raises:
            MlogError: The run is off.
            TypeError: The name is no text.
        """
        from mlog.reader.metrics import read_metrics

        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be the name of a metric, got {name!r}")
        own = read_metrics(self._need_path(), name, populate=populate)
        if not recursive:
            return own
        below = {
            state.run_id: read_metrics(state.folder, name, populate=populate)
            for state in self._children(recursive=True)
            if run_type in (None, type_of(state.folder))
        }
        return {self.id: own, **below}

    def history(
        self,
        name: str,
        *,
        rank: int | Literal["all"] | None = None,
        attempts: Literal["latest", "all"] = "latest",
    ) -> "History":
        """Return all points of a metric: steps, values, times.

        Args:
            name: The metric's.
            rank: Of which rank; default: 0, else the only one that has it.
            attempts: "latest": where attempts overlap in step, the latest wins; "all":
                every point that was ever logged.

        Raises:
            MlogError: The run is off.
        """
        from mlog.reader.series import read_history

        return read_history(self._need_path(), name, rank=rank, attempts=attempts)

    def entries(
        self,
        stream: Stream | None = None,
        *,
        level: int | str | None = None,
        logger: str | None = None,
        step: int | tuple[int, int] | None = None,
        since: str | float | datetime | None = None,
        rank: int | None = None,
        filter: str | Callable[[dict[str, Any]], bool] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield what was recorded, in order of time, as the dicts of its lines.

        Args:
            stream: "logs", "metrics" or "events"; default: all.
            level: From this level on, by number or name.
            logger: Name of the logger, or a pattern ("train.*").
            step: This step, or from the first to the last of two.
            since: From this time on: RFC 3339, seconds since the epoch, or a datetime.
            rank: Of this rank only.
            filter: A line of text such as `level>=warning -retry loss>3` (see the
                README, "Filters"), or a function of an entry.

        Raises:
            MlogError: The run is off.
            ValueError: A filter cannot be understood; the message points at the place.
        """
        from mlog.reader.entries import iter_entries

        return iter_entries(
            self._need_path(),
            stream,
            level=level,
            logger=logger,
            step=step,
            since=since,
            rank=rank,
            filter=filter,
        )

    def around(
        self,
        step: int | None = None,
        window: int = 5,
        *,
        time: str | float | datetime | None = None,
        seconds: float = 5.0,
        metric: str | None = None,
        attempt: int | None = None,
    ) -> "Around":
        """Return what all processes logged around a step, or around a moment.

        Iterate over it for the entries; `.lines` also say who wrote each, and whether
        its place is exact. Lines of a step are those from behind the metrics of the
        step before up to its own: exact in each process that logged the step, by the
        clock in others. Clocks of other machines are compared by equal steps (`.skews`).

        Args:
            step: The step in the middle.
            window: How many steps before and after it.
            time: The moment, instead of a step: RFC 3339, seconds since the epoch, or a
                datetime.
            seconds: How many seconds before and after it.
            metric: Count steps by this metric only, where others count otherwise.
            attempt: Of which attempt. Default: of a step the latest that has it, of a
                moment all.

        Raises:
            MlogError: The run is off, or has no such step.
            TypeError, ValueError: Not one of step and time is given, or it is none.
        """
        from mlog.reader.around import read_around

        return read_around(
            self._need_path(),
            step=step,
            window=window,
            time=time,
            seconds=seconds,
            metric=metric,
            attempt=attempt,
        )

    def metrics_at(self, entry: dict[str, Any]) -> "dict[str, Then]":
        """Return what each metric was when an entry was written, by name.

        Each is the number logged last before it, `(value, step, ts, is_exact)`: by the
        entry's own process, which is exact, else by the main one, as the clock says.

        Args:
            entry: One of `entries()` or `around()`.

        Raises:
            MlogError: The run is off, or has no such entry.
        """
        from mlog.reader.around import metrics_at

        return metrics_at(self._need_path(), entry)

    def __repr__(self) -> str:
        """Return experiment, id, status and folder."""
        where = f" in {self.path}" if self.path else ""
        return f"<Run {self._experiment}/{self.id} {self.status}{where}>"

    def _repr_html_(self) -> str:
        """Return the run as a piece of a page, for notebooks."""
        if self.path is None:
            return "<p>mlog run that is off: nothing is recorded</p>"
        from mlog.reader.page import run_html

        return run_html(self.path)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the run in IPython, with its latest metrics and small curves."""
        if self.path is None:
            printer.text(repr(self))
            return
        from mlog.reader.page import run_text

        printer.text(run_text(self.path))
