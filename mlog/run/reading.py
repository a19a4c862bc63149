"""What was recorded, read back: also of a run that is alive in another process."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from mlog.run.family import FamilyMethods
from mlog.types import Stream

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
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
            run_type: Not used: there is one type of runs.
            populate: Return the content of artifacts instead of their names.

        Raises:
            MlogError: The run is off.
        """
        from mlog.reader.metrics import read_metrics

        own = read_metrics(self._need_path(), name, populate=populate)
        if not recursive:
            return own
        below = {
            state.run_id: read_metrics(state.folder, name, populate=populate)
            for state in self._children(recursive=True)
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
    ) -> Iterator[dict[str, Any]]:
        """Yield what was recorded, in order of time, as the dicts of its lines.

        Args:
            stream: "logs", "metrics" or "events"; default: all.
            level: From this level on, by number or name.
            logger: Name of the logger, or a pattern ("train.*").
            step: This step, or from the first to the last of two.
            since: From this time on: RFC 3339, seconds since the epoch, or a datetime.
            rank: Of this rank only.

        Raises:
            MlogError: The run is off.
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
        )

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
