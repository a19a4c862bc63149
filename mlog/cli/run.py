"""`mlog run`: a script as a run of its own, with its output on this terminal.

Standard output of the script comes out on standard output, its standard error on
standard error, byte by byte as it comes; the command's exit code is the script's.
Ctrl-C, SIGTERM and SIGHUP reach the script and make the run Canceled, and a reader of
the output that goes away (`| head`) ends it.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import orjson

from mlog.cli.completing import complete_experiment, complete_file
from mlog.cli.options import dir_option, pairs
from mlog.cli.script_line import config_of
from mlog.errors import MlogError, say
from mlog.launch.config import MAX_SECONDS
from mlog.launch.submit import Submitted, submit
from mlog.reader.state import RunState, read_state
from mlog.run.launched import note_typed, request_cancel

if TYPE_CHECKING:
    from mlog.launch.terminal import Lent

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  mlog run train.py --lr 0.1
  mlog run --experiment sweep --tag team=a train.py
  mlog run --memory 8G --max-duration 3600 train.py
  mlog run --env requirements.txt train.py
  mlog run --azureml old_script.py       a script for the Azure ML SDK v1, as it is
  mlog run -- make train                 any command
"""

_UNWATCHED = (
    "the process that watched the script is gone, and the script was told to end; "
    "what it had recorded is kept"
)
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_STRONGER = ("SIGTERM", "SIGKILL")
_MANY, _QUICKLY = 3, 3.0
"""So many typed Ctrl-C in so many seconds mean that the script does not listen."""


@click.command(
    "run",
    epilog=_EXAMPLES,
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--experiment",
    metavar="E",
    shell_complete=complete_experiment,
    help="Experiment of the run.",
)
@click.option("--name", metavar="N", help="Name of the run, for people.")
@click.option("--tag", "tags", multiple=True, callback=pairs, metavar="K=V")
@click.option("--param", "params", multiple=True, callback=pairs, metavar="K=V")
@click.option(
    "--env",
    "environment",
    metavar="ENV",
    help="Interpreter, requirements.txt, conda environment.yml, or docker:IMAGE.",
)
@click.option("--detach", is_flag=True, help="Print the run's folder and return.")
@click.option(
    "--in-place", is_flag=True, help="Run in the folder, not in a copy of it."
)
@click.option("--azureml", is_flag=True, help="Let the script import azureml.")
@click.option(
    "--memory",
    metavar="SIZE",
    help="Most memory each of its processes may reserve: 512M, 8G (Linux).",
)
@click.option(
    "--max-duration",
    "seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=MAX_SECONDS,
    metavar="SECONDS",
    help="After which the script is ended. Default: 30 days.",
)
@click.option("--json", "as_json", is_flag=True, help="With --detach: print as JSON.")
@dir_option
@click.argument(
    "line",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    shell_complete=complete_file,
)
def command(
    experiment: str | None,
    name: str | None,
    tags: dict[str, str],
    params: dict[str, str],
    environment: str | None,
    detach: bool,
    in_place: bool,
    azureml: bool,
    memory: str | None,
    seconds: float,
    as_json: bool,
    dir_: str | None,
    line: tuple[str, ...],
) -> None:
    """Run a script, or any command, as a run.

    LINE is script.py with its arguments; options of mlog come before it. What it logs
    and prints lands in a run of its own. Ctrl-C ends the script, and the run as
    Canceled.
    """
    if as_json and not detach:
        raise click.UsageError("--json is for --detach: else the script prints")
    if os.name != "posix":
        raise MlogError("mlog run needs Linux or macOS; run the script without it")
    from mlog.launch.terminal import lend  # not for Windows

    options: dict[str, Any] = {
        "experiment": experiment,
        "root": dir_,
        "name": name,
        "tags": tags,
        "params": params,
    }
    means: dict[str, Any] = {
        "environment": environment,
        "azureml": azureml,
        "in_place": in_place,
        "memory_limit": memory,
        "max_run_duration_seconds": seconds,
    }
    if detach:
        show = _show_json if as_json else click.echo
        show(_submit(line, means, options | {"forked": _nothing}).folder)
        return
    with _interrupting(), lend() as lent:
        options |= {"attached": lent.attached, "forked": lent.forked}
        submitted = _submit(line, means, options)
        lent.given()
        say(f"mlog: run {submitted.run_id[-6:]} → {submitted.folder}")
        told = _show(submitted.folder, lent)
    raise SystemExit(_exit_code(submitted.folder, told))


def _show_json(folder: Path) -> None:
    facts = {"run": folder.name, "experiment": folder.parent.name, "path": str(folder)}
    click.echo(orjson.dumps(facts))


def _nothing() -> None:
    """Let go of nothing: this process holds nothing open."""


def _submit(
    line: tuple[str, ...], means: dict[str, Any], options: dict[str, Any]
) -> Submitted:
    try:
        return submit(config_of(line, **means), **options)
    except (ValueError, TypeError) as exc:
        raise click.UsageError(str(exc)) from exc


@contextlib.contextmanager
def _interrupting() -> Iterator[None]:
    """Let signals that end this process interrupt it while there is no run yet.

    One that is ignored, as by `nohup`, stays ignored.
    """
    with _on_signals(_interrupt):
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _on_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    taken = [n for n, each in former.items() if each is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, former[number])


def _show(folder: Path, lent: "Lent") -> int:
    """Show what the script prints until all is over.

    Returns:
        The number of the last signal that came meanwhile; 0 if none did.
    """
    told: list[int] = []
    typed: list[float] = []

    def tell(number: int, frame: FrameType | None) -> None:
        """Ask for the same signal, and then for stronger ones."""
        name = signal.Signals(number).name
        names = [name, *(each for each in _STRONGER if each != name)]
        request_cancel(folder, by=names[min(len(told), len(names) - 1)])
        told.append(number)

    def interrupt() -> None:
        """Note a Ctrl-C that the script has got itself; ask where it does not listen."""
        note_typed(folder)
        told.append(signal.SIGINT)
        typed.append(time.monotonic())
        if len(typed) >= _MANY and typed[-1] - typed[-_MANY] <= _QUICKLY:
            request_cancel(folder)

    with _on_signals(tell):
        try:
            lent.show(interrupt)
        except OSError:  # nobody sees it any more
            if not told:
                request_cancel(folder)
            raise
    return told[-1] if told else 0


def _exit_code(folder: Path, told: int) -> int:
    """Return the script's exit code; 128 and a signal's number where one ended it.

    Whoever watches is told why a script ended that nobody ended here.
    """
    state = read_state(folder)
    if state.status == "Canceled":
        if not told:
            say(f"mlog: run {state.run_id} was ended: {_reason(state)}")
        return 128 + (told or signal.SIGTERM)
    code = (state.error or {}).get("exit_code", 0)
    if state.status == "Completed" or code:
        return int(code) if code >= 0 else 128 - int(code)
    raise MlogError(f"run {state.run_id} is {state.status}: {_reason(state)}")


def _reason(state: RunState) -> str:
    if state.status == "NotResponding":
        return _UNWATCHED
    # The first line says it; the end of a log that may follow was shown as it came.
    text = str((state.error or {}).get("msg") or "").strip()
    return text.splitlines()[0] if text else "it says not why"
