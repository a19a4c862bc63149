"""`sweep`: run a script with many params, each time as a run of its own."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mlog.errors import MlogError, say
from mlog.folder import OpenFile
from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import definition_of
from mlog.launch.sweep_conductor import Conductor, Onlooker
from mlog.launch.sweep_domains import Value
from mlog.launch.sweep_plan import PLAN, Passing, Plan, bare
from mlog.launch.sweep_sampling import Bayesian, Grid, Listed, Random, Sampling
from mlog.launch.sweep_signals import Signals
from mlog.launch.sweep_space import Space, make_space
from mlog.launch.sweep_stop import Rule, parse_stop
from mlog.launch.sweep_trials import (
    Told,
    Trial,
    best_of,
    is_sweep,
    read_plan,
    read_told,
    read_trials,
)
from mlog.layout import experiment_name, find_root, new_run_id
from mlog.reader.find import find_run
from mlog.reader.state import RunState, read_state
from mlog.redaction import Redactor
from mlog.run.api import Run
from mlog.run.begin import begin
from mlog.run.core import RunCore
from mlog.run.joining import open_run_folder
from mlog.run.launched import CANCEL
from mlog.run.recorder import Recorder
from mlog.run.start import announce
from mlog.run.writer import try_lock
from mlog.types import Mode

__all__ = [
    "Sweep",
    "Sweeping",
    "begin_sweep",
    "fresh_id",
    "is_minimized",
    "make_sampling",
    "resume_sweep",
    "sweep",
]

Goal = Literal["minimize", "maximize"]

_GOALS = ("minimize", "maximize")
_LOCK = ".conductor"
"""File in a sweep's folder that is held by who goes on with it."""

_MOMENT = 1.0


class Sweep:
    """A sweep: its run, and its trials as far as they have come.

    Attributes:
        run: The run whose children the trials are.
        plan: What was to be done.
        trials: Those that have begun, by number.
    """

    def __init__(self, run: Run, plan: Plan, trials: Iterable[Trial]) -> None:
        """Use `mlog.sweep`, or `Sweep.of` for one that is there."""
        self.run = run
        self.plan = plan
        self.trials = sorted(trials, key=lambda trial: trial.number)

    @classmethod
    def of(cls, run: Run) -> "Sweep":
        """Read a sweep that is there, also while it goes on.

        Raises:
            MlogError: The run is no sweep.
        """
        folder = run._need_path()
        return cls(run, read_plan(folder), read_trials(folder))

    @property
    def best(self) -> Trial | None:
        """The best trial by the metric; None where none has logged it.

        Trials that failed do not count. Of equal ones it is the first.
        """
        return best_of(self.trials, minimize=self.plan.minimize)

    @property
    def status(self) -> str:
        """Status word of the run."""
        return self.run.get_status()

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dict for each trial: facts, `param.…`, the metric's value."""
        metric = self.plan.metric
        return [
            {
                "trial": trial.number,
                "run_id": trial.run_id,
                "status": trial.status,
                "seconds": trial.seconds,
                **{f"param.{name}": value for name, value in trial.params.items()},
                **({} if metric is None else {f"metric.{metric}": trial.value}),
            }
            for trial in self.trials
        ]

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with one row for each trial.

        Raises:
            ImportError: pandas is not installed.
        """
        from mlog.reader.series import data_frame_of_rows

        return data_frame_of_rows(self.rows())

    def __repr__(self) -> str:
        """Return the id, how many trials there are, and the best one."""
        over = sum(trial.is_over for trial in self.trials)
        text = f"<Sweep {self.run.id}: {over} of {self.plan.sampling.count} trials"
        if self.best is not None:
            text += f", best {self.plan.metric} {self.best.value}"
        return f"{text}>"


def sweep(
    script: ScriptRunConfig | str | os.PathLike[str] | None = None,
    space: Mapping[str, Any] | Iterable[Mapping[str, Value]] | None = None,
    *,
    metric: str | None = None,
    goal: Goal = "minimize",
    jobs: int | None = None,
    random: int | None = None,
    bayesian: int | None = None,
    seed: int | None = None,
    stop: Rule | str | None = None,
    passing: Passing = "arguments",
    max_seconds: float | None = None,
    experiment: str | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    dir: str | os.PathLike[str] | None = None,
    resume: Run | str | os.PathLike[str] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Sweep:
    """Run a script with many params, each time as a run of its own, and wait.

    The runs are children of the sweep's run. A trial that fails does not stop the rest.
    Ctrl-C ends the running trials and then the sweep; `resume` goes on with it, also
    after this process was killed: trials that have ended are not run again, those that
    go on are waited for.

    Args:
        script: Path of a Python script, or a `ScriptRunConfig`.
        space: For each parameter its values: a text as after `mlog sweep --set name=`,
            or an iterable. All combinations are tried. Or an iterable of dicts: these
            are tried.
        metric: By which trials are compared: by the best value that each has logged.
        goal: "minimize" or "maximize".
        jobs: How many trials run at once; default: 1.
        random: Try only so many combinations, drawn by chance.
        bayesian: Try so many that past ones make promising; needs Optuna (extra
            `sweep`).
        seed: For what is left to chance; default: another one each time.
        stop: When a trial is ended early: "median", "bandit:slack_factor=0.1", ….
        passing: How the script gets its params: "arguments" (`--name value`) or
            "variables" (of the environment). Where an argument has `{name}`, the value
            goes there instead.
        max_seconds: After which the whole sweep is ended.
        experiment, name, tags, dir: As for `start_run`; trials get the tags, too.
        resume: A sweep to go on with, by id, name or path; then nothing else is given
            but `jobs`, `dir` and `on_trial`.
        on_trial: Called with each trial that has ended.

    Returns:
        The sweep with `run`, `trials` and `best`.

    Raises:
        ValueError, TypeError, FileNotFoundError: An argument is wrong.
        MlogError: The run cannot be made, or `resume` is no sweep that can be gone on
            with.
        KeyboardInterrupt: Ctrl-C, when the trials have ended.
    """
    signals = Signals()
    with signals.taken():
        if resume is not None:
            if script is not None or space is not None:
                raise ValueError("a sweep that is resumed has its script and space")
            sweeping = resume_sweep(resume, dir=dir, jobs=jobs)
        else:
            if script is None or space is None:
                raise TypeError("sweep needs a script and a space, or resume")
            sampling = make_sampling(space, random=random, bayesian=bayesian, seed=seed)
            plan = Plan(
                config=_script_config(script),
                sampling=sampling,
                metric=metric,
                minimize=is_minimized(goal),
                rule=parse_stop(stop) if isinstance(stop, str) else stop,
                jobs=1 if jobs is None else jobs,
                passing=passing,
                seconds=max_seconds,
                tags={key: str(value) for key, value in (tags or {}).items()},
            )
            sweeping = begin_sweep(plan, experiment=experiment, name=name, dir=dir)
        announce(sweeping.run)
        onlooker = _Caller(on_trial) if on_trial is not None else None
        found = sweeping.conduct(signals, onlooker)
    if signals.number is not None:
        raise KeyboardInterrupt
    return found


class _Caller:
    """An onlooker that calls a function for each trial that has ended."""

    def __init__(self, call: Callable[[Trial], None]) -> None:
        self.ended = call

    def noted(self, text: str) -> None:
        """Say it."""
        say(f"mlog: {text}")

    def tick(self) -> None:
        """Do nothing."""


# --- making a plan -------------------------------------------------------------------


def _script_config(script: ScriptRunConfig | str | os.PathLike[str]) -> ScriptRunConfig:
    """Return what is run; a path is a script in its own folder."""
    if isinstance(script, ScriptRunConfig):
        script.check()
        return script
    path = Path(os.path.abspath(os.path.expanduser(script)))
    if not path.is_file():
        raise FileNotFoundError(f"there is no script {os.fspath(script)!r}")
    return ScriptRunConfig(path.parent, path.name)


def is_minimized(goal: str) -> bool:
    """Return whether a lesser value is better.

    Raises:
        ValueError: It is no goal.
    """
    if goal not in _GOALS:
        raise ValueError(f"goal must be 'minimize' or 'maximize', got {goal!r}")
    return goal == "minimize"


def make_sampling(
    space: Space | Mapping[str, Any] | Iterable[Mapping[str, Value]],
    *,
    random: int | None = None,
    bayesian: int | None = None,
    seed: int | None = None,
) -> Sampling:
    """Return which trials there are; see `sweep`.

    Raises:
        ValueError, TypeError: The space or a number is wrong.
    """
    if random is not None and bayesian is not None:
        raise ValueError("take either random or bayesian, not both")
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"seed must be an integer, got {seed!r}")
    if not isinstance(space, Space | Mapping):
        if random is not None or bayesian is not None:
            raise ValueError("listed trials are tried as they are; leave random out")
        return _listed(space)
    ready = space if isinstance(space, Space) else make_space(space)
    if random is not None:
        return Random(ready, random, seed)
    if bayesian is not None:
        return Bayesian(ready, bayesian, seed)
    return Grid(ready)


def _listed(trials: Iterable[Mapping[str, Value]]) -> Listed:
    listed: list[dict[str, Value]] = []
    for number, params in enumerate(trials, 1):
        if not isinstance(params, Mapping) or not params:
            raise TypeError(f"trial {number} must be a dict of params, got {params!r}")
        made = make_space({name: [value] for name, value in params.items()})
        listed.append(made.at(0))
    return Listed(listed)


# --- beginning -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sweeping:
    """A sweep whose run is open, and that can be conducted.

    Attributes:
        run: Its run.
        plan: What is to be done.
        told: What was done before, by number of the trial.
        held: A lock, so that two do not go on with one sweep at once.
    """

    run: Run
    plan: Plan
    told: Mapping[int, Told]
    held: OpenFile | None = None

    def conduct(self, signals: Signals, onlooker: Onlooker | None = None) -> Sweep:
        """Do what is left, and end the run.

        Raises:
            KeyboardInterrupt: This process was told to end twice.
        """
        conductor = self.conductor(signals)
        conductor.onlooker = onlooker
        conductor.conduct()
        return Sweep(self.run, self.plan, conductor.trials.values())

    def conductor(self, signals: Signals) -> Conductor:
        """Return what conducts it, for an onlooker that wants to look at it."""
        return Conductor(self.run, self.plan, self.told, signals)


def begin_sweep(
    plan: Plan,
    *,
    experiment: str | None = None,
    name: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    parent: RunCore | str | os.PathLike[str] | None = None,
    properties: Mapping[str, str] | None = None,
    run_id: str | None = None,
    mode: Mode = "private",
) -> Sweeping:
    """Begin the run of a sweep.

    Args:
        plan: What is to be done.
        experiment, name, dir, parent, run_id, mode: As for `start_run`; the default of
            `experiment` is that of a submitted script.
        properties: Of the run.

    Raises:
        MlogError: The run cannot be made.
    """
    if os.environ.get("MLOG_MODE", "").strip().lower() == "off":
        raise MlogError("MLOG_MODE=off: a sweep needs runs; unset it")
    config = plan.config
    run = begin(
        Run,
        experiment_name(experiment, cwd=config.source, script=config.script),
        name=name,
        run_id=run_id or fresh_id(),
        dir=dir,
        parent=parent,
        tags=plan.tags,
        mode=mode,
        activate=False,
    )
    try:
        redactor = _redactor_of(run)
        run._put(PLAN, plan.encode(redactor), "application/json")
        said = definition_of(config)
        for key in ("arguments", "command"):
            if redactor is not None and isinstance(said[key], list):
                said[key] = redactor.argv(said[key])
        run._event("run.launch", {**said, "sweep": plan.summary()})
        if not isinstance(plan.sampling, Listed):
            texts = plan.sampling.space.texts
            run.log_params({bare(name): text for name, text in texts.items()})
        if properties:
            run.add_properties(properties)
        if not config.in_place:
            run.take_snapshot(config.source)
    except BaseException as exc:
        run.end("Failed", exc)
        raise
    return Sweeping(run, plan, {})


def resume_sweep(
    ref: Run | str | os.PathLike[str],
    *,
    dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
) -> Sweeping:
    """Open the run of a sweep again, to go on with it.

    Args:
        ref: The run, its id, name or path; that of a trial stands for its sweep.
        dir: Root of all runs; default as for `start_run`.
        jobs: How many trials run at once; default: as before.

    Raises:
        RunNotFoundError: There is no such run.
        MlogError: It is no sweep, or somebody conducts it, or its plan had secrets.
    """
    root = find_root(dir, env=os.environ, cwd=Path.cwd())
    if isinstance(ref, Run):
        folder = ref._need_path()
    else:
        folder = _sweep_of(find_run(os.fspath(ref), root=root))
    plan = read_plan(folder)
    state = _state_in_a_moment(folder)
    if state.goes_on:
        where = next((w for w in state.writers if w.alive and w.main), None)
        by = f" (process {where.pid} on {where.host})" if where is not None else ""
        raise MlogError(
            f"sweep {folder.name} is {state.status}: another process conducts it{by}; "
            "wait for its end, or cancel it"
        )
    plan = plan if jobs is None else replace(plan, jobs=jobs)
    opened = open_run_folder(folder)
    held = opened.reopen(_LOCK)
    if not try_lock(held.fd):
        raise MlogError(f"another process goes on with sweep {folder.name} already")
    told = read_told(folder)
    if CANCEL in opened.names():
        opened.remove(CANCEL)
    run = begin(
        Run, resume=str(folder), dir=folder.parent.parent, nested=False, activate=False
    )
    return Sweeping(run, plan, told, held)


def _state_in_a_moment(folder: Path) -> RunState:
    """Return the state of a sweep, looking twice at one that seems to be conducted.

    What a killed process has just forked holds its locks until it executes a program.
    """
    end = time.monotonic() + _MOMENT
    while (state := read_state(folder)).goes_on:
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return state


def _sweep_of(folder: Path) -> Path:
    """Return the folder of a sweep that a run is a trial of; else that of the run."""
    parent = None if is_sweep(folder) else read_state(folder).parent
    return Path(parent) if parent is not None and is_sweep(Path(parent)) else folder


def _redactor_of(run: Run) -> Redactor | None:
    redactor = getattr(run.receiver, "redactor", None)
    assert isinstance(run.receiver, Recorder)
    return redactor if isinstance(redactor, Redactor) else None


def fresh_id() -> str:
    """Return the id of a new run."""
    return new_run_id(time.time(), os.urandom(3))
