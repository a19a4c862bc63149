"""`mlog ship`: sends runs to a sink, and says how far each sink is."""

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
from mlog.cli.ship_bar import Bar
from mlog.cli.ship_handed import ship_handed
from mlog.cli.sink_table import sink_columns, sink_errors, sink_fields
from mlog.cli.table import Column, fitted, print_lines, table_lines, width_of
from mlog.errors import MlogError, told
from mlog.escaping import inline
from mlog.reader.find import closed, experiment_folders, iter_runs, run_folders
from mlog.reader.page_words import count_text
from mlog.shipping.cursor import read_cursors
from mlog.shipping.dead import retry_dead
from mlog.shipping.shipper import Options, Shipper, host_name, open_delivery
from mlog.shipping.sinks import open_sink
from mlog.shipping.status import SinkStatus, read_status
from mlog.shipping.target import Route, parse_route
from mlog.shipping.world import World

__all__ = ["command"]

_RESCAN = 10.0
_REDRAW = 0.2

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
        ship_handed()
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


def _ship(
    routes: list[Route],
    chosen: Callable[[], Iterable[Path]],
    options: Options,
    as_json: bool,
) -> None:
    """Send to all sinks at once, one thread each."""
    stop = threading.Event()
    shippers = [_shipper(route, options, stop) for route in routes]
    for shipper in shippers:
        shipper.check()
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
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
    bar = Bar(shippers)
    try:
        while any(thread.is_alive() for thread in threads):
            threads[0].join(_REDRAW) if threads[0].is_alive() else time.sleep(0.01)
            bar.draw()
    except KeyboardInterrupt:
        stop.set()
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


def _shipper(route: Route, options: Options, stop: threading.Event) -> Shipper:
    return Shipper(
        open_sink(route.target),
        route,
        options,
        wait=stop.wait,
        tell=lambda text: click.echo(f"mlog: {inline(text)}", err=True),
    )


def _conclude(
    shippers: list[Shipper], stop: threading.Event, as_json: bool, *, is_service: bool
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
    is_cut = stop.is_set() and not is_service
    if failed or is_cut:
        raise SystemExit(1)


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
