"""The trials of a sweep, as the events of its run tell of them.

Whatever may be lost is written before it is done, so that a sweep that was killed at any
point is gone on with and nothing is run twice:

| event | says | before |
|---|---|---|
| `run.trial` | `number`, `run` (its id), `params` | the trial is submitted, under that id |
| `run.trial_stop` | `number`, `why`, `again`: whether it is to be run anew | it is cancelled |
| `run.trial_end` | `number`, `status`, `value`, `seconds`, `why` | |
| `run.sweep` | counts, and the best trial | the sweep's run ends |

Trials are numbered from 1. A later `run.trial` of a number stands for an earlier one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlog.errors import ArtifactNotFoundError, MlogError
from mlog.launch.sweep_domains import Value
from mlog.launch.sweep_plan import PLAN, Plan
from mlog.layout import run_folder
from mlog.reader.events import in_order, read_writers
from mlog.reader.fields import mapping_from, text_from, whole_from
from mlog.run.api import Run
from mlog.run.artifacts import ArtifactStore
from mlog.run.family import handle
from mlog.run.launched import launch_of

__all__ = [
    "FAILED",
    "OVER",
    "Told",
    "Trial",
    "best_of",
    "is_sweep",
    "read_plan",
    "read_told",
    "read_trials",
]

OVER = ("Completed", "Failed", "Canceled", "NotResponding")
"""Status words of a trial that has ended, or that nobody watches any more."""

FAILED = ("Failed", "NotResponding")
"""Those of one that went wrong."""


@dataclass(slots=True)
class Trial:
    """One run of the script with some params.

    Attributes:
        number: From 1.
        params: What it is run with.
        run_id: Id of its run; "" while it is not there.
        path: Folder of its run; None likewise.
        status: NotStarted, Running, or how it ended.
        value: The best value of the sweep's metric. None: it has logged none.
        why: What ended it, where it did not end by itself or failed.
        seconds: How long it ran.
    """

    number: int
    params: dict[str, Value]
    run_id: str = ""
    path: Path | None = None
    status: str = "NotStarted"
    value: float | None = None
    why: str = ""
    seconds: float | None = None

    @property
    def run(self) -> Run:
        """Its run.

        Raises:
            MlogError: It has none.
        """
        if self.path is None:
            raise MlogError(f"trial {self.number} has no run: it is {self.status}")
        return handle(Run, self.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """What its run has logged; see `Run.get_metrics`."""
        return self.run.get_metrics()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status in OVER

    @property
    def has_failed(self) -> bool:
        """Whether it went wrong."""
        return self.status in FAILED


@dataclass(slots=True)
class Told:
    """What the events say of one trial.

    Attributes:
        run_id: Of its run.
        params: What it was run with, without secrets.
        stop: What `run.trial_stop` says; {} without one.
        end: What `run.trial_end` says; {} without one.
    """

    run_id: str
    params: dict[str, Value]
    stop: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether it has had its run, so that nothing is left to do."""
        status = self.end.get("status")
        has_run = bool(self.end.get("run"))
        return has_run and status != "NotResponding" and not self.is_again

    @property
    def is_again(self) -> bool:
        """Whether it was ended only to be run anew later."""
        status = self.end.get("status")
        return bool(self.stop.get("again")) and status in (None, "Canceled")


def read_told(folder: Path) -> dict[int, Told]:
    """Return what the events of a sweep's run say of its trials, by number.

    Raises:
        RunNotFoundError, OSError: The run cannot be read.
    """
    found: dict[int, Told] = {}
    for _, event in in_order(read_writers(folder)):
        name, data = event["event"], event["data"]
        number = whole_from(data.get("number"))
        if number is None:
            continue
        if name == "run.trial":
            found[number] = Told(
                text_from(data.get("run")), mapping_from(data.get("params"))
            )
        elif name == "run.trial_stop" and number in found:
            found[number].stop = data
        elif name == "run.trial_end" and number in found:
            found[number].end = data
    return found


def read_plan(folder: Path) -> Plan:
    """Return the plan that a sweep's run keeps.

    Raises:
        MlogError: The run is no sweep, or its plan is gone or damaged.
    """
    if not is_sweep(folder):
        raise MlogError(f"run {folder.name} is no sweep")
    try:
        with ArtifactStore(folder).open(PLAN) as file:
            return Plan.decode(file.read())
    except (ArtifactNotFoundError, OSError) as exc:
        raise MlogError(f"the plan of sweep {folder.name} is gone: {exc}") from exc


def is_sweep(folder: Path) -> bool:
    """Whether a run is that of a sweep."""
    return "sweep" in launch_of(folder)


def read_trials(folder: Path) -> list[Trial]:
    """Return the trials that a sweep has begun, by number.

    Raises:
        RunNotFoundError, OSError: The run cannot be read.
    """
    found = read_told(folder)
    return [trial_of(folder, number, found[number]) for number in sorted(found)]


def trial_of(folder: Path, number: int, told: Told) -> Trial:
    """Return a trial as its events tell of it."""
    path = run_folder(folder.parent.parent, folder.parent.name, told.run_id)
    trial = Trial(number, told.params, told.run_id, path, "Running")
    if told.end:
        fill(trial, told.end)
    return trial


def fill(trial: Trial, end: dict[str, Any]) -> None:
    """Let a trial be as its `run.trial_end` says."""
    trial.status = text_from(end.get("status")) or "Failed"
    value, seconds = end.get("value"), end.get("seconds")
    trial.value = value if isinstance(value, int | float) else None
    trial.seconds = seconds if isinstance(seconds, int | float) else None
    trial.why = text_from(end.get("why"))
    if not end.get("run"):  # it could not even be begun
        trial.run_id, trial.path = "", None


def best_of(trials: Iterable[Trial], *, minimize: bool) -> Trial | None:
    """Return the best trial that has not failed; the first of equals."""
    found = [t for t in trials if t.value is not None and not t.has_failed]
    if not found:
        return None
    sign = 1 if minimize else -1
    return min(found, key=lambda trial: sign * (trial.value or 0))
