"""`mlog import`: runs of MLflow, TensorBoard or CSV files become runs of ours."""

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.completing import complete_file
from mlog.cli.options import dir_option, root_of
from mlog.errors import MlogError, MlogWarning
from mlog.escaping import inline
from mlog.reader.page_words import count_text
from mlog.sources.copies import Advance, Copied, SourceRun, copy_run

__all__ = ["command"]

_MEBI = 1 << 20
_NOTHING_MORE = (0, 401, 403)
"""What a server answers that gives nothing any more; 0: it does not."""


_EXAMPLES = """\b
Examples:
  mlog import --from tensorboard runs/
  mlog import --from csv lightning_logs/
  mlog import --from csv log.csv --step-column it --metric l=loss --metric acc
  MLFLOW_TRACKING_TOKEN=… mlog import --from mlflow https://mlflow.example.org
  mlog import --from mlflow ./mlruns --experiment ridge
"""


@click.command("import", epilog=_EXAMPLES)
@click.argument("source", metavar="PATH-OR-URL", shell_complete=complete_file)
@click.option(
    "--from",
    "form",
    required=True,
    type=click.Choice(["tensorboard", "csv", "mlflow"]),
    help="What is there.",
)
@click.option(
    "--experiment",
    "experiments",
    multiple=True,
    help="Of MLflow: only this one, by name or id; may be given again. Else: where the "
    "runs go. Default: the name of the folder.",
)
@click.option("--step-column", help="Of CSV: the step. Default: step, epoch, …")
@click.option("--time-column", help="Of CSV: the time. Default: time, timestamp, …")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="COLUMN[=NAME]",
    help="Of CSV: only this column, under a name of its own. May be given again.",
)
@click.option(
    "--max-file",
    type=click.IntRange(min=0),
    default=1024,
    show_default=True,
    metavar="MIB",
    help="Of MLflow: leave out files that are larger; 0 takes none.",
)
@click.option("--json", "as_json", is_flag=True, help="Say as JSON what was imported.")
@dir_option
def command(
    source: str,
    form: str,
    experiments: tuple[str, ...],
    step_column: str | None,
    time_column: str | None,
    metrics: tuple[str, ...],
    max_file: int,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Bring runs home from MLflow, TensorBoard or CSV files.

    Their times, steps, params, tags and files are kept.

    \b
    tensorboard  a folder with event files, or one of them: numbers, texts,
                 histograms, images, audio, hparams
    csv          a file, or a folder with files metrics.csv (Lightning); params of
                 hparams.yaml, or of params.csv (mlog export)
    mlflow       the address of a tracking server or an Azure ML workspace, or a
                 folder mlruns: params, tags, metrics, files, parents and children

    Importing again is safe: what is here already is skipped, and what has come since
    is added. MLflow's credentials are taken from MLFLOW_TRACKING_TOKEN, or from
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    """  # noqa: D301 (\b is click's)
    if form != "csv" and (step_column or time_column or metrics):
        raise click.UsageError("--step-column, --time-column, --metric are for csv")
    if form != "mlflow" and len(experiments) > 1:
        raise click.UsageError("--experiment may be given once: where the runs go")
    root = root_of(dir_)
    job = _Job(root, as_json)
    label = experiments[0] if experiments else None
    found: Iterable[Iterable[SourceRun]]
    if form == "tensorboard":
        from mlog.sources.tensorboard import log_runs

        found = [log_runs(_path(source), label)]
    elif form == "csv":
        from mlog.sources.csvlog import Columns, csv_runs

        columns = Columns(step_column, time_column, _renamed(metrics))
        found = [csv_runs(_path(source), columns, label)]
    else:
        found = _from_mlflow(source, experiments, max_file * _MEBI)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)  # the job says it in its own way
        try:
            for runs in found:
                job.take(runs)
        except MlogError as exc:
            if not job.done and not job.failed:
                raise
            job.stopped = str(exc)
    job.tell()


def _from_mlflow(
    source: str, experiments: tuple[str, ...], max_file: int
) -> Iterator[Iterable[SourceRun]]:
    """Yield the runs of each experiment of a server, or of a folder `mlruns`."""
    if "://" not in source:
        from mlog.sources.mlruns import stored_runs

        yield from stored_runs(_path(source), experiments, max_file=max_file)
        return
    from mlog.sources.mlflow import Server, address_of
    from mlog.sources.mlflow_client import Client

    try:
        client = Client(address_of(source), os.environ)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="PATH-OR-URL") from None
    with client:
        if client.is_open_wire:
            text = "the address is http://: the credentials go over the net as text"
            click.echo(f"mlog: {text}", err=True)
        yield from Server(client, max_file=max_file).runs(experiments)


def _path(source: str) -> Path:
    path = Path(source).expanduser()
    if "://" in source:
        raise click.BadParameter("expected a path", param_hint="PATH-OR-URL")
    if not path.exists():
        raise MlogError(f"there is no {path}")
    return path


def _renamed(metrics: tuple[str, ...]) -> dict[str, str]:
    """Read `COLUMN[=NAME]`."""
    found = {}
    for text in metrics:
        column, _, name = text.partition("=")
        if not column:
            raise click.BadParameter(
                "expected COLUMN or COLUMN=NAME", param_hint="--metric"
            )
        found[column] = name or column
    return found


@dataclass(slots=True)
class _Job:
    """Imports runs, and says what became of them."""

    root: Path
    as_json: bool
    done: list[tuple[SourceRun, Copied]] = field(default_factory=list)
    failed: list[tuple[SourceRun, str]] = field(default_factory=list)
    stopped: str = ""

    def take(self, runs: Iterable[SourceRun]) -> None:
        """Import some runs; one that cannot be is told in the end.

        Raises:
            MlogError: The source gives nothing any more.
            OSError: The root cannot be used, or the disk is full.
        """
        found = list(runs)
        with _progress(found) as advance:
            for run in found:
                try:
                    copied = copy_run(run, self.root, advance=advance)
                except MlogError as exc:
                    if getattr(exc, "status", None) in _NOTHING_MORE:
                        raise
                    self.failed.append((run, str(exc)))
                else:
                    self.done.append((run, copied))

    def tell(self) -> None:
        """Say what was done; exit 1 where there was nothing, or something failed."""
        if self.as_json:
            click.echo(orjson.dumps(self._facts()))
        else:
            self._tell_text()
        if self.stopped:
            click.echo(f"mlog: stopped: {inline(self.stopped)}", err=True)
        for run, why in self.failed:
            click.echo(f"mlog: {inline(run.origin.name)}: {inline(why)}", err=True)
        if not self.done and not self.failed:
            raise MlogError("there are no runs")
        if self.failed or self.stopped:
            raise click.exceptions.Exit(1)

    def _tell_text(self) -> None:
        counts = dict.fromkeys(("imported", "continued", "unchanged"), 0)
        for run, copied in self.done:
            counts[copied.what] += 1
            if copied.what != "unchanged":
                click.echo(_line(run, copied))
            for note in copied.notes:
                click.echo(f"mlog: {inline(run.origin.name)}: {inline(note)}", err=True)
        if counts["unchanged"]:
            text = count_text(counts["unchanged"], "run")
            verb = "is" if counts["unchanged"] == 1 else "are"
            click.echo(f"{text} {verb} here already, unchanged")

    def _facts(self) -> dict[str, Any]:
        runs = [
            {
                "run_id": copied.folder.name,
                "experiment": run.origin.experiment,
                "name": run.origin.name,
                "source": run.origin.source,
                "path": os.fsencode(copied.folder).decode("utf-8", "replace"),
                "result": copied.what,
                "values": copied.points,
                "files": copied.files,
                "notes": copied.notes,
            }
            for run, copied in self.done
        ]
        failed = [{"source": r.origin.source, "error": why} for r, why in self.failed]
        return {"runs": runs, "failed": failed, "stopped": self.stopped or None}


def _line(run: SourceRun, copied: Copied) -> str:
    """Return one line on a run that has got something."""
    counts = [count_text(copied.points, "value")]
    if copied.files:
        counts.append(count_text(copied.files, "file"))
    place = f"{copied.folder.parent.name}/{copied.folder.name}"
    name = "" if run.origin.name == copied.folder.name else f" {run.origin.name}"
    return f"{copied.what} {inline(place + name)} ({', '.join(counts)})"


@contextmanager
def _progress(runs: list[SourceRun]) -> Iterator[Advance]:
    """Show on a terminal how far it is."""
    if not sys.stderr.isatty() or not runs:
        yield lambda _: None
        return
    total = sum(run.origin.size for run in runs)
    label = f"importing {count_text(len(runs), 'run')}"
    with click.progressbar(length=total, label=label, file=sys.stderr) as shown:
        yield shown.update
        shown.update(total)
