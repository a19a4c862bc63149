"""Finding runs again: one by what it is called, or all of an experiment."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from mlog.escaping import inline
from mlog.layout import find_root, slug
from mlog.reader.find import run_folders
from mlog.reader.index import RunIndex
from mlog.reader.query import parse_filter
from mlog.reader.state import RunState
from mlog.run.api import Run
from mlog.run.begin import find_here, roots_here
from mlog.run.family import handle

__all__ = ["RunList", "open_run", "query", "runs"]

R = TypeVar("R", bound=Run)


@overload
def open_run(ref: str | os.PathLike[str], *, dir: Any = None) -> Run: ...
@overload
def open_run(ref: str | os.PathLike[str], *, dir: Any = None, cls: type[R]) -> R: ...
def open_run(
    ref: str | os.PathLike[str] = "latest", *, dir: Any = None, cls: type[Any] = Run
) -> Any:
    """Open a run that is there: finished, abandoned, or alive in another process.

    Everything can be read; tags, properties, files and further metrics can be added,
    and are written by a writer of this process's own.

    Args:
        ref: Id, beginning of the id, name, `<experiment>/<id>`, path, "latest", "-2".
        dir: Root of all runs; default as for `start_run`. Where that could not be
            written to, runs of this process are found, too, in the temporary one.
        cls: Class of the object returned.

    Raises:
        RunNotFoundError: Nothing fits; the message offers the closest names.
        MlogError: Several runs fit; the message lists them.
    """
    return handle(cls, find_here(os.fspath(ref), _root(dir)))


def runs(
    experiment: str | None = None,
    filter: str | Callable[[RunState], bool] | None = None,
    *,
    dir: str | os.PathLike[str] | None = None,
) -> "RunList":
    """Return the runs of an experiment, or all, newest first.

    Args:
        experiment: Its name; default: all experiments.
        filter: `"metric.mse < 3000 and tag.owner = me"` (README, "Filters"), or a
            function of what the files say of a run.
        dir: Root of all runs; default as for `start_run`.

    Raises:
        ValueError: The filter cannot be understood; the message points at the place.
    """
    wanted = parse_filter(filter) if isinstance(filter, str) else filter
    folder = slug(experiment) if experiment else None
    root = _root(dir)
    paths = [path for each in roots_here(root) for path in run_folders(each)]
    if folder is not None:
        paths = [path for path in paths if path.parent.name == folder]
    found = []
    for state in RunIndex(root).states(paths):
        if isinstance(state, Exception):  # removed just now, or not for us to read
            continue
        if wanted is None or wanted(state):
            found.append(state)
    found.sort(key=lambda state: (state.created, state.run_id), reverse=True)
    return RunList(found)


def query(sql: str, *, dir: str | os.PathLike[str] | None = None) -> Any:
    """Ask all runs by SQL: their tables are runs, params, tags, metrics, logs, events.

    The columns of each are what `mlog query` without SQL shows. Times are UTC. Nothing
    can be changed by it. The files are read when the relation is, so that it can be
    filtered, joined and aggregated first; `.df()`, `.pl()`, `.arrow()` and `.fetchall()`
    give what it finds.

    Args:
        sql: A query of DuckDB's.
        dir: Root of all runs; default as for `start_run`.

    Returns:
        A `duckdb.DuckDBPyRelation`.

    Raises:
        MlogError: The SQL is wrong, or no query.
        ImportError: DuckDB is not installed: `pip install "mlog-runs[query]"`.
    """
    from mlog.reader import tables  # only here: few programs ask

    return tables.query(sql, root=_root(dir))


class RunList(Sequence[Run]):
    """Runs as they were when they were looked for. Objects are made when asked for."""

    def __init__(self, states: list[RunState]) -> None:
        """Use `runs`."""
        self._states = states

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self._states)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> "RunList": ...
    def __getitem__(self, index: int | slice) -> "Run | RunList":
        """Return one run, or some of them as another list."""
        if isinstance(index, slice):
            return RunList(self._states[index])
        return handle(Run, self._states[index].folder)

    def __iter__(self) -> Iterator[Run]:
        """Yield the runs, newest first."""
        return (handle(Run, state.folder) for state in self._states)

    def __repr__(self) -> str:
        """Return one line for each run."""
        if not self._states:
            return "no runs"
        return "\n".join(
            inline(f"{s.experiment}/{s.run_id}  {s.status}  {s.name}")
            for s in self._states
        )

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dict for each run: facts, `param.…`, `tag.…`, `metric.…`.

        A metric is its last value, as the run's summary says.
        """
        return [_row(state) for state in self._states]

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with one row for each run.

        Raises:
            ImportError: pandas is not installed.
        """
        from mlog.reader.series import data_frame_of_rows

        return data_frame_of_rows(self.rows())


def _row(state: RunState) -> dict[str, Any]:
    return {
        "experiment": state.experiment,
        "run_id": state.run_id,
        "name": state.name,
        "status": state.status,
        "created": state.created,
        "duration": state.duration,
        "attempt": state.attempt,
        **{f"param.{key}": value for key, value in state.params.items()},
        **{f"tag.{key}": value for key, value in state.tags.items()},
        **{
            f"metric.{k}": _number(said.get("last"))
            for k, said in state.metrics.items()
        },
    }


def _number(value: Any) -> Any:
    """Return a number of the files as one; NaN and the infinities are texts there."""
    return float(value) if isinstance(value, str) else value


def _root(dir: str | os.PathLike[str] | None) -> Path:
    return find_root(dir, env=os.environ, cwd=Path.cwd())
