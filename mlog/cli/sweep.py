"""`mlog sweep`: a script with many params, each time as a run of its own.

Exit codes: 0 when every trial has completed, or was ended early by the rule of --stop;
1 when some failed or none has logged the metric; 128 and the signal's number when a
signal ended the sweep (130: Ctrl-C).
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import click

from mlog.cli import drop_output
from mlog.cli.options import dir_option, pairs
from mlog.cli.sweep_table import Table, is_live, summary_lines, trial_json
from mlog.errors import MlogError, say
from mlog.launch.config import ScriptRunConfig
from mlog.launch.sweep import (
    Sweeping,
    begin_sweep,
    is_minimized,
    make_sampling,
    resume_sweep,
)
from mlog.launch.sweep_conductor import Conductor
from mlog.launch.sweep_domains import Domain
from mlog.launch.sweep_plan import Passing, Plan
from mlog.launch.sweep_process import start_sweep
from mlog.launch.sweep_signals import Signals
from mlog.launch.sweep_space import Space, parse_set
from mlog.launch.sweep_stop import Rule, parse_stop
from mlog.reader.state import read_state

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  mlog sweep train.py --set alpha=0:1:0.05 --set depth=2,4,8 --metric mse --jobs 2
  mlog sweep train.py --set lr=log:1e-5:1e-1 --random 20 --seed 1 --metric loss
  mlog sweep train.py --from trials.jsonl --metric acc --goal maximize --stop median
  mlog sweep --set n=1,2,3 -- ./simulate --size {n} --quiet
  mlog sweep --resume latest

\b
VALUES: 2,4,8  relu,tanh  0:1:0.05 (first:last:step)  1:8  log:1e-5:1e-1
        0.0:0.5  normal:0:1 (these three for --random; log:a:b:n is a grid)
"""

_OF_RESUME = {"resume", "jobs", "dir_", "as_json"}


def _sets(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Domain]:
    """Read `name=values` as often as it was given."""
    found: dict[str, Domain] = {}
    for value in values:
        try:
            name, domain = parse_set(value)
        except ValueError as exc:
            text = str(exc).removeprefix("--set: ")
            raise click.BadParameter(text, param=param) from exc
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice", param=param)
        found[name] = domain
    return found


def _stop(
    _ctx: click.Context, param: click.Parameter, value: str | None
) -> Rule | None:
    try:
        return None if value is None else parse_stop(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param=param) from exc


@click.command(
    "sweep", epilog=_EXAMPLES, context_settings={"ignore_unknown_options": True}
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    callback=_sets,
    metavar="NAME=VALUES",
    help="A parameter and its values; once for each.",
)
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="Trials from a file (- is stdin): a JSON object of params on each line, or a "
    "JSON list of them.",
)
@click.option("--random", type=int, metavar="N", help="Draw N trials by chance.")
@click.option(
    "--bayesian", type=int, metavar="N", help="Try N that look promising (Optuna)."
)
@click.option("--seed", type=int, metavar="N", help="The same seed, the same trials.")
@click.option("--metric", metavar="NAME", help="Compare trials by the best of it.")
@click.option(
    "--goal",
    default="minimize",
    show_default=True,
    type=click.Choice(["minimize", "maximize"]),
    help="What is better.",
)
@click.option(
    "--stop",
    "rule",
    callback=_stop,
    metavar="RULE",
    help="End bad trials early: median, bandit:slack_factor=0.1, "
    "truncation:percentage=20; with interval=N and delay=N.",
)
@click.option("--jobs", type=int, metavar="N", help="So many at once. Default: 1.")
@click.option(
    "--pass",
    "passing",
    default="arguments",
    show_default=True,
    type=click.Choice(get_args(Passing)),
    help="How the script gets params: --name value, or environment variables. Where an "
    "argument has {name}, the value goes there instead.",
)
@click.option("--max-seconds", type=float, metavar="S", help="End the sweep then.")
@click.option("--experiment", metavar="E", help="Experiment of all runs.")
@click.option("--name", metavar="N", help="Name of the sweep, for people.")
@click.option("--tag", "tags", multiple=True, callback=pairs, metavar="K=V")
@click.option(
    "--env",
    "environment",
    metavar="ENV",
    help="Interpreter, requirements.txt, conda environment.yml, or docker:IMAGE.",
)
@click.option("--in-place", is_flag=True, help="Run in the folder, not in copies.")
@click.option("--azureml", is_flag=True, help="Let the script import azureml.")
@click.option("--detach", is_flag=True, help="Print the sweep's folder and return.")
@click.option("--resume", metavar="RUN", help="Go on with a sweep that was ended.")
@click.option("--json", "as_json", is_flag=True, help="Print trials as lines of JSON.")
@dir_option
@click.argument("line", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, /, line: tuple[str, ...], **options: Any) -> None:
    """Run a script once for each combination of values.

    LINE is script.py with its arguments, or any command. Each trial is a run, a child
    of the sweep's run. Ctrl-C ends the running trials; --resume goes on.
    """
    if options["resume"] is not None:
        _refuse_others(ctx, line)
    signals = Signals()
    with signals.taken():
        try:
            found = _resumed(options) if options["resume"] else _new(line, options)
        except (ValueError, TypeError, ImportError) as exc:
            raise click.UsageError(str(exc)) from exc
        if found is not None:
            raise SystemExit(_conduct(found, signals, options))


def _refuse_others(ctx: click.Context, line: tuple[str, ...]) -> None:
    """Refuse what a sweep that is gone on with has already."""
    given = [
        param.opts[0] if param.name != "line" else "LINE"
        for param in ctx.command.params
        if param.name is not None
        and param.name not in _OF_RESUME
        and ctx.get_parameter_source(param.name)
        is click.core.ParameterSource.COMMANDLINE
        and (param.name != "line" or line)
    ]
    if given:
        raise click.UsageError(
            f"--resume goes on with a sweep as it is; leave {', '.join(given)} out"
        )


def _resumed(options: dict[str, Any]) -> Sweeping:
    return resume_sweep(options["resume"], dir=options["dir_"], jobs=options["jobs"])


def _new(line: tuple[str, ...], options: dict[str, Any]) -> Sweeping | None:
    """Begin a sweep; None where it is left to a process of its own."""
    plan = Plan(
        config=_config(line, options),
        sampling=make_sampling(
            _space(options),
            random=options["random"],
            bayesian=options["bayesian"],
            seed=options["seed"],
        ),
        metric=options["metric"],
        minimize=is_minimized(options["goal"]),
        rule=options["rule"],
        jobs=1 if options["jobs"] is None else options["jobs"],
        passing=options["passing"],
        seconds=options["max_seconds"],
        tags=options["tags"],
    )
    named = {"experiment": options["experiment"], "name": options["name"]}
    if options["detach"]:
        click.echo(start_sweep(plan, root=options["dir_"], **named).folder)
        return None
    return begin_sweep(plan, dir=options["dir_"], **named)


def _config(line: tuple[str, ...], options: dict[str, Any]) -> ScriptRunConfig:
    """Take a script with the folder it lies in; anything else is a command."""
    if not line:
        raise ValueError("what is to be run? Give a script.py, or a command behind --")
    if line[0].startswith("-"):
        raise click.NoSuchOption(line[0])
    first = Path(line[0])
    if first.suffix != ".py":
        if options["azureml"]:
            raise ValueError(f"--azureml is for Python scripts, got {line[0]!r}")
        return ScriptRunConfig(
            ".",
            command=list(line),
            in_place=True,
            environment=options["environment"],
        )
    if not first.is_file():
        raise MlogError(f"there is no script {line[0]}")
    return ScriptRunConfig(
        first.absolute().parent,
        first.name,
        list(line[1:]),
        azureml=options["azureml"],
        in_place=options["in_place"],
        environment=options["environment"],
    )


def _space(options: dict[str, Any]) -> Space | list[dict[str, Any]]:
    sets, source = options["sets"], options["source"]
    if bool(sets) == (source is not None):
        raise ValueError("give either --set NAME=VALUES, once or more, or --from FILE")
    return Space(sets) if source is None else list(_trials(source))


def _trials(source: str) -> Iterable[dict[str, Any]]:
    """Read the trials of a file."""
    text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
    if text.lstrip().startswith("["):
        yield from _parsed(text, source, 1)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield _parsed(line, source, number)


def _parsed(text: str, source: str, number: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise MlogError(f"{source}, line {number} is no JSON: {exc}") from exc


# --- conducting ----------------------------------------------------------------------


def _conduct(sweeping: Sweeping, signals: Signals, options: dict[str, Any]) -> int:
    """Show a sweep until it has ended; return the exit code."""
    run = sweeping.run
    say(f"mlog: sweep {run.id[-6:]} → {run.path}")
    conductor = sweeping.conductor(signals)
    if options["resume"] is not None:
        done = sum(told.is_over for told in sweeping.told.values())
        say(f"mlog: going on: {done} of {conductor.count} trials are done")
    if options["as_json"]:
        conductor.onlooker = _Lines(signals)
    else:
        live = is_live(sys.stdout, os.environ)
        conductor.onlooker = Table(
            conductor, sys.stdout, os.environ, signals, live=live
        )
    conductor.conduct()
    with signals.at_broken_pipe():
        if options["as_json"]:
            _print_json(conductor)
        else:
            click.echo("\n".join(summary_lines(conductor)))
    if signals.is_deaf:
        drop_output()
    return _code(conductor, signals, options)


class _Lines:
    """Prints a line of JSON for each trial that has ended."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def ended(self, trial: Any) -> None:
        """Print it."""
        with self._signals.at_broken_pipe():
            click.echo(json.dumps(trial_json(trial)))

    def noted(self, text: str) -> None:
        """Say it on stderr."""
        say(f"mlog: {text}")

    def tick(self) -> None:
        """Do nothing."""


def _print_json(conductor: Conductor) -> None:
    over, best = conductor.over, conductor.best
    said = {
        "sweep": conductor.run.id,
        "path": str(conductor.run.path),
        "status": conductor.run.status,
        "trials": conductor.count,
        "ended": len(over),
        "failed": sum(trial.has_failed for trial in over),
        "best": None if best is None else trial_json(best),
    }
    click.echo(json.dumps(said))


def _code(conductor: Conductor, signals: Signals, options: dict[str, Any]) -> int:
    run, over = conductor.run, conductor.over
    if conductor.stopping:
        at = "" if options["dir_"] is None else f" --dir {options['dir_']}"
        say(
            f"mlog: the sweep was ended ({conductor.stopping}) with "
            f"{conductor.left} of {conductor.count} trials left; go on with: "
            f"mlog sweep --resume {run.id[-6:]}{at}"
        )
        return 128 + signals.number if signals.number is not None else 1
    metric = conductor.plan.metric
    completed = [trial for trial in over if trial.status == "Completed"]
    if metric is not None and completed and conductor.best is None:
        assert completed[0].path is not None
        names = sorted(read_state(completed[0].path).metrics)
        logged = f"trial {completed[0].number} has logged {', '.join(names) or 'none'}"
        say(f"mlog: no trial has logged a finite {metric!r}; {logged}")
        return 1
    return int(any(trial.has_failed for trial in over))
