"""`mlog plot`: metrics of a run as curves, in the terminal or as a picture.

The only file that imports matplotlib, and only for a PNG.
"""

import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import click
import orjson

from mlog.cli.completing import complete_metric
from mlog.cli.lines import wants_colour
from mlog.cli.options import RunCommand, dir_option, find, run_argument
from mlog.cli.saving import save
from mlog.cli.table import fit, painted, print_lines, width_of
from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.reader.braille import LEAST_WIDTH, braille_plot
from mlog.reader.compare import number_json
from mlog.reader.condense import Column, Summary, above_zero, columns_of, summarize
from mlog.reader.curves import svg_curve
from mlog.reader.numbers import exact, short
from mlog.reader.page_facts import odd_text
from mlog.reader.page_words import count_text, one_line, rest_text, size_text
from mlog.reader.series import History, are_numbers, read_histories

__all__ = ["command", "png"]

_MOST = 8  # metrics where none is named
_MOST_PICTURED = 60
_WIDTH, _HEIGHT = 800, 300  # pixels of a metric in a picture
_LINES = 12
_BOLD = "\x1b[1m"
_INSTALL = "a PNG needs matplotlib: pip install 'mlog-runs[plot]'; an SVG needs nothing"

_EXAMPLES = """\b
Examples:
  mlog plot
  mlog plot baseline loss --log
  mlog plot latest 'val/*' --width 120 --height 20
  mlog plot latest loss --rank all -o loss.svg
"""


def _rank(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> int | Literal["all"] | None:
    """Read a rank: a number or `all`."""
    if value is None or value == "all":
        return "all" if value else None
    if value.isascii() and value.isdigit():
        return int(value[:9])
    raise click.BadParameter(f"{value!r} is no rank; expected a number or all")


def _picture(
    _ctx: click.Context, _param: click.Parameter, value: Path | None
) -> Path | None:
    if value is not None and value.suffix.lower() not in (".svg", ".png"):
        raise click.BadParameter(f"{str(value)!r} does not end in .svg or .png")
    return value


@click.command("plot", cls=RunCommand, epilog=_EXAMPLES)
@run_argument
@click.argument(
    "metrics", metavar="[METRIC…]", nargs=-1, shell_complete=complete_metric
)
@click.option(
    "--width",
    type=click.IntRange(LEAST_WIDTH, 10_000),
    help=f"Characters of a line, pixels of a picture. Default: the terminal's; {_WIDTH}.",
)
@click.option(
    "--height",
    type=click.IntRange(3, 10_000),
    help=f"Lines or pixels of each metric. Default: {_LINES}; {_HEIGHT}.",
)
@click.option("--log", "is_log", is_flag=True, help="Logarithmic y axis.")
@click.option(
    "--rank", callback=_rank, metavar="N|all", help="Of this rank, or of each."
)
@click.option(
    "--attempts",
    type=click.Choice(["latest", "all"]),
    default="latest",
    show_default=True,
    help="Where attempts overlap in step: the latest, or all their points.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_picture,
    help="Write a picture instead: FILE.svg or FILE.png.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what is drawn as JSON.")
@dir_option
def command(
    run: str,
    metrics: tuple[str, ...],
    width: int | None,
    height: int | None,
    is_log: bool,
    rank: int | Literal["all"] | None,
    attempts: Literal["latest", "all"],
    output: Path | None,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Draw metrics of RUN (default: latest) over their steps.

    METRIC is a name or a pattern such as 'val/*'; without one the first metrics are
    drawn. Of many points each column shows the least and the greatest, so that no spike
    is lost. NaN is marked ×, infinities ↑ and ↓.
    """
    if output is not None and as_json:
        raise click.UsageError("--json prints to standard output, -o writes a picture")
    folder = _folder(run, metrics, dir_)
    found = read_histories(folder, None, rank=rank, attempts=attempts)
    curves, more = _chosen(found, metrics, folder)
    if output is not None:
        size = (max(120, width or _WIDTH), max(60, height or _HEIGHT))
        if len(curves) > _MOST_PICTURED:
            most = f"a picture has at most {_MOST_PICTURED} curves"
            raise MlogError(f"{most}, got {len(curves)}: name fewer metrics")
        _write(output, curves, size, is_log)
    elif as_json:
        print_lines(_json(name, h, width or 100, is_log) for name, h in curves)
    else:
        own = max(LEAST_WIDTH, width or width_of(sys.stdout, os.environ))
        print_lines([inline(f"{folder.parent.name}/{folder.name}")])
        _print(curves, own, height or _LINES, is_log)
    if more:
        click.echo(f"mlog: {rest_text(more)}: name them to see them", err=True)


# --- which curves --------------------------------------------------------------------


def _folder(run: str, metrics: tuple[str, ...], dir_: str | None) -> Path:
    """Find the run; a metric in the place of the run is explained."""
    try:
        return find(run, dir_)
    except MlogError as exc:
        if metrics or run == "latest":
            raise
        text = f"{exc}; for a metric of the newest run: `mlog plot latest {run}`"
        raise MlogError(text) from exc


def _chosen(
    found: Mapping[str, History], asked: Collection[str], folder: Path
) -> tuple[list[tuple[str, History]], int]:
    """Return what is drawn with its titles, and how many more metrics there are.

    Raises:
        MlogError: There is nothing to draw.
    """
    numbers = {name: h for name, h in found.items() if _is_drawn(h)}
    if not found:
        raise MlogError(f"run {folder.name} has no metrics yet, or none of that rank")
    if not numbers:
        raise MlogError(f"run {folder.name} has no metrics that are numbers")
    names = list(numbers)
    if asked:
        names = [name for one in asked for name in _fitting(one, found, numbers)]
        names = list(dict.fromkeys(names))
        return [c for name in names for c in _by_rank(name, numbers[name])], 0
    several = [name for name in names if len(numbers[name]) > 1] or names
    shown = several[:_MOST]
    more = len(several) - len(shown)
    return [c for name in shown for c in _by_rank(name, numbers[name])], more


def _fitting(
    asked: str, found: Mapping[str, History], numbers: Mapping[str, History]
) -> list[str]:
    """Return the metrics that a name or pattern stands for.

    Raises:
        MlogError: None, or one that is no number.
    """
    if asked in numbers:
        return [asked]
    if asked in found:
        raise MlogError(f"metric {asked!r} has values that are no numbers")
    names = [name for name in numbers if fnmatchcase(name, asked)]
    if names:
        return names
    from difflib import get_close_matches  # slow to import, and only for this

    close = get_close_matches(asked, numbers, n=3, cutoff=0.5) or list(numbers)[:6]
    offer = ", ".join(map(one_line, close))
    raise MlogError(f"no metric {asked!r}; there is {offer}")


def _is_drawn(history: History) -> bool:
    values = history.values
    return are_numbers(values.tolist() if hasattr(values, "tolist") else values)


def _by_rank(name: str, history: History) -> Iterator[tuple[str, History]]:
    """Yield the points of each rank, where they were asked for."""
    ranks = None if history.ranks is None else list(map(int, history.ranks))
    if ranks is None or len({*ranks}) == 1:
        yield name, history
        return
    points = list(zip(history.steps, history.values, history.times, strict=True))
    for rank in sorted({*ranks}):
        own = [point for point, of in zip(points, ranks, strict=True) if of == rank]
        steps, values, times = (list(column) for column in zip(*own, strict=True))
        label = "no rank" if rank < 0 else f"rank {rank}"
        has_steps = history.has_steps
        yield f"{name} · {label}", History(name, steps, values, times, has_steps)


# --- in the terminal -----------------------------------------------------------------


def _print(
    curves: Sequence[tuple[str, History]], width: int, height: int, is_log: bool
) -> None:
    colour = wants_colour(sys.stdout, os.environ)
    lines: list[str] = []
    for name, history in curves:
        title = fit(one_line(name), width)
        title = painted(title, _BOLD) if colour else title
        lines += ["", title]
        lines.append(fit(f"  {_words(history)}", width))
        lines += braille_plot(
            history.steps, history.values, width=width, height=height, log=is_log
        )
    print_lines(lines)


def _words(history: History) -> str:
    """Say in numbers what a curve shows."""
    found = summarize(history.steps, history.values)
    noun = "step" if history.has_steps else "point"
    parts = [f"last {short(found.last)} at {noun} {exact(found.last_step)}"]
    parts += [odd_text(found)] if odd_text(found) else []
    if not math.isnan(found.low):
        parts.append(f"min {short(found.low)} at {exact(found.low_step)}")
        parts.append(f"max {short(found.high)} at {exact(found.high_step)}")
    return ", ".join([*parts, count_text(found.count, "point")])


# --- as JSON -------------------------------------------------------------------------


def _json(name: str, history: History, width: int, is_log: bool) -> str:
    """Return a curve as a line of JSON: its numbers, and the columns that are drawn."""
    found = summarize(history.steps, history.values)
    columns = _columns(history, width * 2, is_log)
    document = {
        "name": name,
        **_summary_json(found),
        "columns": [_column_json(column) for column in columns],
    }
    return orjson.dumps(document).decode()


def _summary_json(found: Summary) -> dict[str, Any]:
    values = {"last": found.last, "min": found.low, "max": found.high}
    odd = {"nan": found.nan, "inf": found.up, "-inf": found.down}
    numbers = {name: number_json(value) for name, value in values.items()}
    return {**numbers, "count": found.count, **odd}


def _column_json(column: Column) -> dict[str, Any]:
    values = {"min": column.low, "max": column.high, "last": column.end}
    return {
        "first_step": column.first,
        "last_step": column.last,
        **{name: number_json(value) for name, value in values.items()},
        "count": column.count,
    }


def _columns(history: History, most: int, is_log: bool) -> list[Column]:
    values = above_zero(history.values) if is_log else history.values
    return columns_of(history.steps, values, most)


# --- as a picture --------------------------------------------------------------------

_Curves = Sequence[tuple[str, History]]


def _write(path: Path, curves: _Curves, size: tuple[int, int], is_log: bool) -> None:
    make: Callable[[_Curves, tuple[int, int], bool], bytes]
    make = _svg if path.suffix.lower() == ".svg" else png
    content = make(curves, size, is_log)
    save(path, content)
    click.echo(f"{inline(str(path))} ({size_text(len(content))})")


def _svg(curves: _Curves, size: tuple[int, int], is_log: bool) -> bytes:
    """Return curves below each other as one SVG, black on white."""
    width, height = size
    drawn = ""
    for place, (name, history) in enumerate(curves):
        one = svg_curve(
            history.steps,
            history.values,
            title=one_line(name),
            width=width,
            height=height,
            log=is_log,
        )
        drawn += one.replace("<svg ", f'<svg y="{place * (height + 12) + 6}" ', 1)
    total = len(curves) * (height + 12)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}"'
        f' viewBox="0 0 {width} {total}" color="#1b1f24"'
        ' style="--mlog-line:#0b62a8;--mlog-bad:#b3261e">'
        f'<rect width="100%" height="100%" fill="#fff"/>{drawn}</svg>\n'
    ).encode()


def png(curves: _Curves, size: tuple[int, int], is_log: bool) -> bytes:
    """Return curves below each other as a PNG.

    Args:
        curves: Title and points of each.
        size: Width and height of each in pixels.
        is_log: Whether the y axis is logarithmic.

    Raises:
        MlogError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise MlogError(_INSTALL) from exc
    width, height = size
    inches = (width / 100, height * len(curves) / 100)
    figure = Figure(figsize=inches, dpi=100, layout="constrained")
    plots = figure.subplots(len(curves), squeeze=False)
    for plot, (name, history) in zip(plots[:, 0], curves, strict=True):
        _draw(plot, name, _columns(history, width // 2, is_log), is_log)
    content = io.BytesIO()
    with warnings.catch_warnings():  # of signs that its fonts do not have
        warnings.simplefilter("ignore")
        figure.savefig(content, format="png")
    return content.getvalue()


def _draw(plot: Any, name: str, columns: list[Column], is_log: bool) -> None:
    """Draw band, line and marks of one metric."""
    x = [column.middle for column in columns]
    low, high, end = (
        [getattr(c, key) for c in columns] for key in ("low", "high", "end")
    )
    plot.fill_between(x, low, high, color="#0b62a8", alpha=0.3, linewidth=0.5)
    marker = "o" if len(columns) <= 20 else None
    plot.plot(x, end, color="#0b62a8", linewidth=1.2, marker=marker, markersize=3)
    if is_log and any(c.is_drawn for c in columns):
        plot.set_yscale("log")
    odd = (("x", 0.98, "nan"), ("^", 0.98, "up"), ("v", 0.02, "down"))
    for sign, place, key in odd:
        marked = [c.middle for c in columns if getattr(c, key)]
        if marked:  # at the edge, whatever the y axis reaches over
            across, at = plot.get_xaxis_transform(), [place] * len(marked)
            plot.plot(marked, at, sign, color="#b3261e", transform=across)
    plot.set_title(one_line(name).replace("$", r"\$"), loc="left", fontsize=10)
    plot.grid(alpha=0.25)
