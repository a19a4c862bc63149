"""`mlog run`: a script as a run of its own, with its output on this terminal.

Standard output of the script comes out on standard output, its standard error on
standard error, line by line; the command's exit code is the script's. Ctrl-C, SIGTERM
and SIGHUP end the script, and so does a reader of the output that goes away (`| head`).
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click
import orjson

from mlog.cli.completing import complete_experiment, complete_file
from mlog.cli.options import dir_option
from mlog.errors import MlogError, say
from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import submit
from mlog.run.waiting import NOTES, follow, request_cancel

__all__ = ["command"]

_EXAMPLES = """\b
Examples:
  mlog run train.py --lr 0.1
  mlog run --experiment sweep --tag team=a train.py
  mlog run --azureml old_script.py       a script for the Azure ML SDK v1, as it is
  mlog run -- make train                 any command
"""

_UNWATCHED = "the process that watched the script is gone; the script may still run"
_SIGNALS = ("SIGTERM", "SIGHUP")


def _pairs(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Read `k=v` as often as it was given."""
    pairs = {}
    for value in values:
        key, found, text = value.partition("=")
        if not found or not key:
            raise click.BadParameter(f"{value!r} is not of the form k=v", param=param)
        pairs[key] = text
    return pairs


@click.command(
    "run",
    epilog=_EXAMPLES,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--experiment",
    metavar="E",
    shell_complete=complete_experiment,
    help="Experiment of the run.",
)
@click.option("--name", metavar="N", help="Name of the run, for people.")
@click.option("--tag", "tags", multiple=True, callback=_pairs, metavar="K=V")
@click.option("--param", "params", multiple=True, callback=_pairs, metavar="K=V")
@click.option("--detach", is_flag=True, help="Print the run's folder and return.")
@click.option(
    "--in-place", is_flag=True, help="Run in the folder, not in a copy of it."
)
@click.option("--azureml", is_flag=True, help="Let the script import azureml.")
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
    detach: bool,
    in_place: bool,
    azureml: bool,
    as_json: bool,
    dir_: str | None,
    line: tuple[str, ...],
) -> None:
    """Run a script, or any command, as a run.

    LINE is script.py with its arguments. What it logs and prints lands in a run of its
    own. Ctrl-C ends the script, and the run as Canceled.
    """
    if as_json and not detach:
        raise click.UsageError("--json is for --detach: else the script prints")
    options = {
        "experiment": experiment,
        "root": dir_,
        "name": name,
        "tags": tags,
        "params": params,
    }
    show = (_show_json if as_json else click.echo) if detach else None
    with _signals():
        _run(line, show, azureml=azureml, in_place=in_place, options=options)


def _run(
    line: tuple[str, ...],
    show: Callable[[Path], object] | None,
    *,
    azureml: bool,
    in_place: bool,
    options: dict[str, Any],
) -> None:
    """Submit it; then show its folder, or what it prints until it ends."""
    try:
        config = _config(line, azureml=azureml, in_place=in_place)
        submitted = submit(config, **options)
    except (ValueError, TypeError) as exc:
        raise click.UsageError(str(exc)) from exc
    if show is not None:
        show(submitted.folder)
        return
    say(f"mlog: run {submitted.run_id[-6:]} → {submitted.folder}")
    raise SystemExit(_watch(submitted.folder))


def _show_json(folder: Path) -> None:
    facts = {"run": folder.name, "experiment": folder.parent.name, "path": str(folder)}
    click.echo(orjson.dumps(facts))


def _config(line: tuple[str, ...], *, azureml: bool, in_place: bool) -> ScriptRunConfig:
    """Take a script with the folder it lies in; anything else is a command."""
    first = Path(line[0])
    if first.suffix != ".py":
        if azureml:
            raise ValueError(f"--azureml is for Python scripts, got {line[0]!r}")
        return ScriptRunConfig(".", command=list(line), in_place=True)
    if not first.is_file():
        raise MlogError(f"there is no script {line[0]}")
    return ScriptRunConfig(
        first.absolute().parent,
        first.name,
        list(line[1:]),
        azureml=azureml,
        in_place=in_place,
    )


class _Told(KeyboardInterrupt):
    """This process was told to end by a signal other than Ctrl-C's.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let signals that end this process interrupt it as Ctrl-C does.

    One that is ignored, as by `nohup`, stays ignored.
    """
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    former = {number: signal.getsignal(number) for number in numbers}
    taken = [n for n, handler in former.items() if handler is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, former[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Told(number)


def _watch(folder: Path) -> int:
    """Show what the script prints until it has ended; return the exit code."""
    seen, told = _Seen(), int(signal.SIGINT)
    while True:
        try:
            state = follow(folder, seen.show)
        except KeyboardInterrupt as exc:
            if not request_cancel(folder):
                raise
            told = exc.number if isinstance(exc, _Told) else told
            say("mlog: asked the script to end")
            seen.skip()
            continue
        except BrokenPipeError:
            request_cancel(folder)
            raise
        break
    if state.status == "Canceled":
        return 128 + told
    if state.status == "Completed" or seen.code:
        return seen.code
    message = (state.error or {}).get("msg") or _UNWATCHED
    raise MlogError(f"run {state.run_id} is {state.status}: {message}")


class _Seen:
    """Shows entries once, and notes the script's exit code."""

    def __init__(self) -> None:
        self.code = 0
        self._shown = 0
        self._skip = 0

    def skip(self) -> None:
        """Pass over what was shown already: the reading begins anew."""
        self._skip, self._shown = self._shown, 0

    def show(self, entry: Mapping[str, Any]) -> None:
        """Show one entry, if it was printed."""
        self._shown += 1
        if self._shown <= self._skip:
            return
        data = entry.get("data")
        if isinstance(data, dict) and "exit_code" in data:
            code = data["exit_code"]
            self.code = code if code >= 0 else 128 - code
        logger = entry.get("logger")
        if logger == "stdout":
            _write(sys.stdout, entry)
        elif logger in ("stderr", NOTES):
            _write(sys.stderr, entry)


def _write(stream: TextIO, entry: Mapping[str, Any]) -> None:
    goes_on = (entry.get("extra") or {}).get("continues")
    text = entry.get("msg", "") + ("" if goes_on else "\n")
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
