"""`mlog ship`: sends runs to a sink, and says how far each sink is."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.options import RunCommand, all_runs, dir_option, find, root_of, typed
from mlog.cli.sink_table import sink_columns, sink_errors, sink_fields
from mlog.cli.table import Column, fitted, print_lines, table_lines, width_of
from mlog.errors import MlogError, told
from mlog.escaping import inline
from mlog.reader.find import closed, experiment_folders, iter_runs, run_folders
from mlog.reader.page_words import count_text, size_text, span
from mlog.reader.state import read_state
from mlog.run.remote import wants
from mlog.shipping.cursor import read_cursors
from mlog.shipping.dead import retry_dead
from mlog.shipping.shipper import Options, Shipper, host_name, open_delivery
from mlog.shipping.sinks import open_sink
from mlog.shipping.status import SinkStatus, read_status
from mlog.shipping.target import Route, parse_route
from mlog.shipping.world import World

__all__ = ["command"]

_RESCAN = 10.0
_GRACE = 25.0
_GIVE_UP = 3600.0
_REDRAW = 0.2
_HICCUP = 1.0
_BAR = 24

_EXAMPLES = """\b
Examples:
  mlog ship --to https://logs.example.com/in       the newest run
  mlog ship --all --to mlflow+https://host:5000    all of them, each once
  mlog ship --root /data/runs --to URL --follow --state ~/.mlog-ship
                                                   a service; the runs are only read
  mlog ship --all --status                         what each sink has
  mlog ship --retry-dead --to URL                  what was refused, once more
"""


@click.command("ship", cls=RunCommand, epilog=_EXAMPLES)
@click.argument("runs", metavar="[RUN…]", nargs=-1, callback=typed)
@click.option("--all", "all_", is_flag=True, help="All runs of the root.")
@click.option("--root", metavar="FOLDER", help="All runs of this root.")
@click.option(
    "--to",
    "urls",
    metavar="URL",
    multiple=True,
    help="Where to; may be given again. Default: MLOG_REMOTE.",
)
@click.option("--level", metavar="LEVEL", help="Lowest level of log lines to send.")
@click.option(
    "--follow",
    is_flag=True,
    help="Go on until the runs have ended; of a root: for ever, with new runs.",
)
@click.option(
    "--state",
    metavar="FOLDER",
    help="Keep cursors and dead letters here instead of in the runs.",
)
@click.option(
    "--take-over", is_flag=True, help="Also where another host is sending the run."
)
@click.option("--status", "show", is_flag=True, help="Show what each sink has.")
@click.option("--retry-dead", is_flag=True, help="Send what was refused once more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
@click.option("--handed", is_flag=True, hidden=True)
@dir_option
def command(
    runs: tuple[str, ...],
    all_: bool,
    root: str | None,
    urls: tuple[str, ...],
    level: str | None,
    follow: bool,
    state: str | None,
    take_over: bool,
    show: bool,
    retry_dead: bool,
    as_json: bool,
    handed: bool,
    dir_: str | None,
) -> None:
    """Send runs to a sink, from where it was left; each entry once.

    Without --follow: what is there now. A server that cannot be reached is tried until
    it can be; Ctrl-C leaves the rest for the next time.
    """
    if handed:
        _ship_handed()
        return
    if runs and (all_ or root):
        raise click.UsageError("name runs, or all with --all or --root, not both")
    if root is not None and dir_ is not None:
        raise click.UsageError("--root and --dir say the same; give one of them")
    folder = root_of(root if root is not None else dir_)
    whole = all_ or root is not None
    places = None if state is None else Path(state).expanduser().absolute()
    chosen: Callable[[], Iterable[Path]]
    if whole:
        if not follow:
            all_runs(folder)  # tells where there are none
        chosen = _AllRuns(folder)
    else:
        named = [find(run, dir_) for run in runs or ("latest",)]
        chosen = lambda: named  # noqa: E731
    if show:
        _show(chosen(), places, as_json)
        return
    routes = _routes(urls, level, chosen, places)
    options = Options(
        host=host_name(),
        state=places,
        take_over=take_over,
        follow=follow,
        rescan=_RESCAN if whole and follow else None,
    )
    if retry_dead:
        _retry(routes, chosen, options, as_json)
        return
    _ship(routes, chosen, options, as_json)


class _AllRuns:
    """Gives the runs of a root; says once if there are more that may not be read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._has_told = False

    def __call__(self) -> Iterator[Path]:
        if not self._has_told:
            self._tell_closed()
        yield from iter_runs(self._root)

    def _tell_closed(self) -> None:
        root = self._root
        shut = sorted(closed([*experiment_folders(root), *run_folders(root)]))
        if shut:
            self._has_told = True
            more = ", …" if len(shut) > 1 else ""
            text = (
                f"mlog: {count_text(len(shut), 'folder')} of {root} may not be read by "
                f"this user, so what is there is not sent: {shut[0]}{more}"
            )
            click.echo(inline(text), err=True)


def _routes(
    urls: tuple[str, ...],
    level: str | None,
    chosen: Callable[[], Iterable[Path]],
    state: Path | None,
) -> list[Route]:
    given = urls or tuple(os.environ.get("MLOG_REMOTE", "").split())
    if not given:
        known = {c.url for run in chosen() for c in read_cursors(run, state=state)}
        offer = f"; these runs were sent to {', '.join(sorted(known))}" if known else ""
        raise click.UsageError(
            inline(f"name a sink with --to URL, or MLOG_REMOTE{offer}")
        )
    routes = [parse_route(url, env=os.environ, level=level) for url in given]
    names = [route.target.name for route in routes]
    if len(set(names)) < len(names):
        raise click.UsageError("two of the sinks are the same one")
    return routes


# --- sending -------------------------------------------------------------------------


class _Stop:
    """Ends all shippers of the process, at once or when they have sent what is there."""

    def __init__(self) -> None:
        self.now = threading.Event()

    def on_signal(self, number: int, frame: Any) -> None:
        self.now.set()


def _ship(
    routes: list[Route],
    chosen: Callable[[], Iterable[Path]],
    options: Options,
    as_json: bool,
) -> None:
    """Send to all sinks at once, one thread each."""
    stop = _Stop()
    shippers = [_shipper(route, options, stop) for route in routes]
    _check_levels(shippers)
    before = signal.signal(signal.SIGTERM, stop.on_signal)
    errors: list[BaseException] = []

    def work(shipper: Shipper) -> None:
        try:
            shipper.ship(chosen)
        except BaseException as exc:  # told by the main thread
            errors.append(exc)
        finally:
            shipper.sink.close()

    threads = [
        threading.Thread(target=work, args=(shipper,), daemon=True)
        for shipper in shippers
    ]
    for thread in threads:
        thread.start()
    bar = _Bar(shippers, options)
    try:
        while any(thread.is_alive() for thread in threads):
            threads[0].join(_REDRAW) if threads[0].is_alive() else time.sleep(0.01)
            bar.draw()
    except KeyboardInterrupt:
        stop.now.set()
        bar.clear()
        for thread in threads:
            thread.join(40.0)
        click.echo("mlog: stopped; the rest is sent the next time", err=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        bar.clear()
    if errors:
        raise errors[0]
    is_service = options.rescan is not None  # which ends only by being stopped
    _conclude(shippers, stop, as_json, is_service=is_service)


def _shipper(route: Route, options: Options, stop: _Stop) -> Shipper:
    return Shipper(
        open_sink(route.target),
        route,
        options,
        wait=stop.now.wait,
        tell=lambda text: click.echo(f"mlog: {inline(text)}", err=True),
    )


def _check_levels(shippers: list[Shipper]) -> None:
    """Refuse what a sink cannot do, before anything is sent."""
    for shipper in shippers:
        if shipper.sink.traits.segments == "growing" and shipper.route.level:
            raise MlogError(
                f"{shipper.route.target.name} gets the files as they are: "
                "level cannot be chosen"
            )


def _conclude(
    shippers: list[Shipper], stop: _Stop, as_json: bool, *, is_service: bool
) -> None:
    failed = False
    for shipper in shippers:
        failed = failed or bool(shipper.troubles)
        name = shipper.route.target.name
        dead, files = shipper.dead, shipper.files
        if as_json:
            found = {
                "sink": name,
                "entries": shipper.entries,
                "files": files,
                "dead": dead,
                "done": shipper.done,
                "troubles": sorted(shipper.troubles.values()),
            }
            click.echo(orjson.dumps(found))
            continue
        more = f", {count_text(files, 'file')}" if files else ""
        bad = f"; {dead:,} refused, see --status" if dead else ""
        noun = "entry" if shipper.entries == 1 else "entries"
        click.echo(f"{shipper.entries:,} {noun}{more} sent to {name}{bad}")
    is_cut = stop.now.is_set() and not is_service
    if failed or is_cut:
        raise SystemExit(1)


class _Bar:
    """One line on a terminal for work that takes a while; and what does not go well."""

    def __init__(self, shippers: list[Shipper], options: Options) -> None:
        self._shippers = shippers
        self._is_on = sys.stderr.isatty()
        self._began = time.monotonic()
        self._shown = False
        self._total = 0
        self._told: set[str] = set()

    def draw(self) -> None:
        self._tell_trouble()
        if not self._is_on or time.monotonic() - self._began < 1.0:
            return
        sent = sum(s.sent for s in self._shippers)
        left = sum(s.left for s in self._shippers)
        # What is on its way is in neither: it is still to be waited for.
        self._total = total = max(self._total, sent + left)
        left = total - sent
        share = sent / total if total else 1.0
        filled = int(share * _BAR)
        entries = sum(s.entries for s in self._shippers)
        seconds = time.monotonic() - self._began
        rate = entries / seconds
        eta = f", {span(left / (sent / seconds))} left" if sent and left else ""
        bar = "█" * filled + "░" * (_BAR - filled)
        text = (
            f"{bar} {100 * share:3.0f} %  {size_text(sent)} of {size_text(total)}  "
            f"{entries:,} entries, {rate:,.0f}/s{eta}"
        )
        width = width_of(sys.stderr, os.environ) - 1
        sys.stderr.write("\r\x1b[2K" + text[:width])
        sys.stderr.flush()
        self._shown = True

    def _tell_trouble(self) -> None:
        """Say in a line of its own that a sink fails: once, until it goes well again."""
        for shipper in self._shippers:
            name = shipper.route.target.name
            active = list(shipper.active.values())
            since = min((d.failing_since for d in active), default=math.inf)
            if since == math.inf:
                self._told.discard(name)
            elif name not in self._told and time.monotonic() - since > _HICCUP:
                self._told.add(name)
                self.clear()
                error = next((d.cursor.error for d in active if d.cursor.error), "")
                text = (
                    f"mlog: {name}: {inline(error)}; it is tried until that is mended"
                )
                click.echo(text, err=True)

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._shown = False


# --- a shipper of a run --------------------------------------------------------------


def _ship_handed() -> None:
    """Be the shipper that a run has started: what to do comes by standard input.

    One JSON line: `url`, `run`, `level`. The end of the input says that the run's
    process has ended its run, or has died.
    """
    given = orjson.loads(_first_line(0))
    path = Path(given["run"])
    route = parse_route(given["url"], env=os.environ, level=given.get("level"))
    options = Options(
        host=host_name(), follow=True, until=frozenset((path,)), rescan=None
    )
    stop, wake = _Stop(), threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer
    name = route.target.name
    with contextlib.suppress(OSError):
        sys.stdout.write(name + "\n")
        sys.stdout.flush()

    def wait(seconds: float) -> bool:
        if seconds > 0 and not stop.now.is_set():
            wake.wait(seconds)
        if ended.is_set() and not shipper.final:
            wake.clear()
            shipper.stop_waiting()
        return stop.now.is_set() or _is_hopeless(shipper)

    def listen() -> None:
        while os.read(0, 4096):  # sys.stdin has a lock that a daemon must not hold
            pass
        end()

    def end() -> None:
        ended.set()
        wake.set()

    def on_term(number: int, frame: Any) -> None:
        """Send what is there, in the time that a job's processes are usually given."""
        end()
        timer = threading.Timer(_GRACE, stop_now)
        timer.daemon = True
        timer.start()

    def stop_now() -> None:
        stop.now.set()
        wake.set()

    def chosen() -> Iterable[Path]:
        yield path
        for run in iter_runs(path.parent.parent):  # what earlier runs have left
            cursors = read_cursors(run, name)
            is_left = any(not cursor.finished for cursor in cursors)
            is_left = is_left or (not cursors and wants(run, given["url"]))
            if run == path or not is_left:
                continue
            if not _goes_on(run):  # that has a shipper of its own
                yield run

    ended = threading.Event()
    signal.signal(signal.SIGTERM, on_term)
    shipper = Shipper(open_sink(route.target), route, options, wait=wait)
    _check_levels([shipper])
    threading.Thread(target=listen, daemon=True).start()
    try:
        shipper.ship(chosen)
    finally:
        shipper.sink.close()
    if path in shipper.troubles and path not in shipper.busy:
        raise MlogError(shipper.troubles[path])


def _goes_on(run: Path) -> bool:
    """Whether somebody still makes a run."""
    try:
        return read_state(run).goes_on
    except (OSError, MlogError):
        return False


def _first_line(fd: int) -> bytes:
    """Read up to a newline; what follows stays unread only if it comes later."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(fd, 65536)):
        line += more
    return line


def _is_hopeless(shipper: Shipper) -> bool:
    """Whether nobody waits any more, and the sink has not answered for an hour."""
    now = time.monotonic()
    since = min((d.failing_since for d in shipper.active.values()), default=now)
    return shipper.final and now - since > _GIVE_UP


# --- dead letters --------------------------------------------------------------------


def _retry(
    routes: list[Route],
    chosen: Callable[[], Iterable[Path]],
    options: Options,
    as_json: bool,
) -> None:
    left = 0
    for route in routes:
        sink = open_sink(route.target)
        try:
            for path in chosen():
                left += _retry_run(path, route, sink, options, as_json)
        finally:
            sink.close()
    if left:
        raise SystemExit(1)


def _retry_run(
    path: Path, route: Route, sink: Any, options: Options, as_json: bool
) -> int:
    if not any(c.sink == route.target.name for c in _all_cursors(path, options.state)):
        return 0
    delivery = open_delivery(path, sink, route, options, World())
    try:
        sent, left = retry_dead(delivery)
    finally:
        delivery.close()
    if as_json:
        found = {
            "run": str(path),
            "sink": route.target.name,
            "sent": sent,
            "left": left,
        }
        click.echo(orjson.dumps(found))
    elif sent or left:
        click.echo(f"{path.name}: {sent:,} sent, {left:,} refused again")
    return left


def _all_cursors(path: Path, state: Path | None) -> list[Any]:
    return read_cursors(path) if state is None else read_cursors(path, state=state)


# --- status --------------------------------------------------------------------------


def _show(runs: Iterable[Path], state: Path | None, as_json: bool) -> None:
    """Print how far each sink of each run is."""
    found: list[SinkStatus] = []
    for run in runs:
        try:
            found += read_status(run, state=state)
        except (OSError, MlogError) as exc:
            click.echo(f"mlog: {inline(told(exc))}", err=True)
    if as_json:
        for each in found:
            click.echo(orjson.dumps(sink_fields(each)))
        return
    if not found:
        click.echo("mlog: none of these runs was sent anywhere", err=True)
        return
    runs_of = [inline(f"{s.run.parent.name}/{s.run.name}") for s in found]
    columns = [Column("RUN", runs_of), *sink_columns(found, time.time())]
    width = width_of(sys.stdout, os.environ)
    print_lines(table_lines(fitted(columns, width)[0], width))
    for error in sink_errors(found):
        click.echo(error)
