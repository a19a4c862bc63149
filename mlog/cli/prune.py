"""`mlog prune`: removes old runs."""

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path

import click

from mlog.cli.completing import complete_experiment, complete_metric
from mlog.cli.options import all_runs, no_experiment
from mlog.cli.rm import (
    Kept,
    Options,
    carry_out,
    check_options,
    make_plan,
    removal_options,
    root_of,
)
from mlog.errors import MlogError, RunNotFoundError, told
from mlog.layout import slug
from mlog.reader.alive import seconds_of
from mlog.reader.query import parse_filter
from mlog.reader.state import RunState, read_state

__all__ = ["command"]

_AGE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?([hdwy])", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}
_STATISTIC = re.compile(r"(.+)\.(last|min|max|count)", re.DOTALL)
_FRESH_ID = re.compile(r"([0-9]{8}-[0-9]{6})-[0-9a-f]{6}")

_EXAMPLES = """\b
Examples:
  mlog prune --older-than 90d --dry-run
  mlog prune --older-than 90d --keep-best 5 --metric mse
  mlog prune --older-than 2w --filter 'status = Failed' --yes
"""


def _age(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Read a span of time as seconds."""
    match = _AGE.fullmatch(value.strip())
    if match is None:
        raise click.BadParameter(
            f"expected a number with h, d, w or y, like 90d, got {value!r}"
        )
    return float(match[1]) * _HOURS[match[2]] * 3600


def _filter(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> Callable[[RunState], bool]:
    """Read a filter; a wrong one is a wrong call."""
    try:
        return (lambda state: True) if value is None else parse_filter(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc).removeprefix("filter: ")) from exc


@click.command("prune", epilog=_EXAMPLES)
@click.option(
    "--older-than",
    "age",
    required=True,
    metavar="AGE",
    callback=_age,
    help="Runs without an entry for so long: 12h, 90d, 8w, 1y.",
)
@click.option(
    "--keep-best",
    "best",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the best N of these in each experiment.",
)
@click.option(
    "--metric",
    metavar="NAME",
    shell_complete=complete_metric,
    help="By its last value; also NAME.min, …",
)
@click.option("--maximize", is_flag=True, help="Greater is better. Default: less.")
@click.option(
    "--experiment",
    metavar="E",
    shell_complete=complete_experiment,
    help="Only runs of this experiment.",
)
@click.option(
    "--filter", "fits", callback=_filter, metavar="TEXT", help="Only runs that fit."
)
@removal_options
def command(
    age: float,
    best: int | None,
    metric: str | None,
    maximize: bool,
    experiment: str | None,
    fits: Callable[[RunState], bool],
    recursive: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Remove runs that are old.

    Shows them and asks. A run stays that is still written, that has children which
    stay or are not old enough, or that has a .ship folder and is not known to be sent
    as a whole. Children that do not fit the filter go only with --recursive.
    """
    if (best is None) != (metric is None):
        raise click.UsageError("--keep-best and --metric go together")
    if maximize and metric is None:
        raise click.UsageError("--maximize needs --keep-best and --metric")
    options = check_options(Options(yes, dry_run, as_json))
    root, since = root_of(dir_), time.time() - age
    found = _find(root, experiment, since, fits)
    chosen, kept = set(found.folders), dict[Path, str]()
    if best is not None and metric is not None:
        kept = _best(found.states, best, metric, maximize=maximize)

    def spare(state: RunState) -> str:
        if state.folder not in chosen and _last_seen(state) > since:
            return "it is not old enough"
        return kept.get(state.folder, "")

    plan = make_plan(root, found.folders, recursive=recursive, spare=spare)
    plan.kept = found.unreadable + plan.kept
    carry_out(root, plan, options)


# --- which runs ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """Runs that are old enough and fit, and those that cannot be read."""

    states: list[RunState]
    unreadable: list[Kept]

    @property
    def folders(self) -> list[Path]:
        return [state.folder for state in self.states]


def _find(
    root: Path, experiment: str | None, since: float, fits: Callable[[RunState], bool]
) -> _Found:
    """Find the runs to decide about, oldest experiment and id first.

    Raises:
        RunNotFoundError: There is no such experiment, or no run at all.
        OSError: The root, or what is in it, cannot be read.
    """
    runs = all_runs(root)
    if experiment is not None:
        name = slug(experiment)
        there = sorted({run.parent.name for run in runs})
        runs = [run for run in runs if run.parent.name == name]
        if not runs:
            raise RunNotFoundError(no_experiment(experiment, there, root))
    found = _Found([], [])
    for run in runs:
        if _created(run) > since:  # younger runs need not be read
            continue
        try:
            state = read_state(run)
            if _last_seen(state) <= since and fits(state):
                found.states.append(state)
        except (MlogError, OSError) as exc:
            found.unreadable.append(Kept(run, f"it cannot be read: {told(exc)}"))
    return found


def _created(run: Path) -> float:
    """Return the time in a run's id; the beginning of all times without one."""
    match = _FRESH_ID.fullmatch(run.name)
    if match is None:
        return -math.inf
    try:
        moment = datetime.strptime(match[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return -math.inf
    return moment.timestamp()


def _last_seen(state: RunState) -> float:
    """Return the time of a run's last entry; else when its files were changed last."""
    last = seconds_of(max(state.updated, state.ended or ""))
    if last is not None:
        return last
    with os.scandir(state.folder) as files:
        return max((f.stat(follow_symlinks=False).st_mtime for f in files), default=0.0)


def _best(
    states: list[RunState], count: int, metric: str, *, maximize: bool
) -> dict[Path, str]:
    """Return the runs that stay, and why: the best of each experiment.

    Where no run of an experiment has the metric there are no best: all of it stays.

    Raises:
        MlogError: None of the runs has the metric.
    """
    valued = [(value, s) for s in states if (value := _value(s, metric)) is not None]
    if states and not valued:
        names = sorted({name for state in states for name in state.metrics})
        close = get_close_matches(metric, names, n=3, cutoff=0.4) or names[:8]
        offer = f"; they have {', '.join(close)}" if close else ""
        raise MlogError(f"no old run has the metric {metric!r}{offer}")
    best: dict[Path, str] = {}
    counts: dict[str, int] = {}
    valued.sort(key=lambda pair: (-pair[0] if maximize else pair[0], pair[1].folder))
    for value, state in valued:
        experiment = state.folder.parent.name
        counts[experiment] = counts.get(experiment, 0) + 1
        if counts[experiment] <= count:
            best[state.folder] = f"one of the best {count} by {metric}: {value:.6g}"
    for state in states:
        if state.folder.parent.name not in counts:
            best[state.folder] = f"no run of its experiment has {metric}"
    return best


def _value(state: RunState, metric: str) -> float | None:
    """Return a finite number of a metric that a run has; None where it has none."""
    match = _STATISTIC.fullmatch(metric)
    if metric in state.metrics or match is None:
        found = state.metrics.get(metric, {}).get("last")
    else:
        found = state.metrics.get(match[1], {}).get(match[2])
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found if -math.inf < found < math.inf else None
