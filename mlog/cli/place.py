"""`mlog tail --around`: the lines around a step or a moment."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlog.cli.output import Output
from mlog.cli.repeats import Group, grouped
from mlog.errors import MlogError
from mlog.escaping import inline
from mlog.reader.several import Wanted

if TYPE_CHECKING:  # loaded where it is used: most calls of tail do not
    from mlog.reader.around import Around

__all__ = ["Place", "place_option", "show_around"]

_STEP = re.compile(r"(?:step[:=])?(-?\d{1,19})", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?", re.ASCII)
_STEPS, _SECONDS = 5, 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the time line of a run.

    Attributes:
        step: A step; None for a moment.
        moment: A time with its zone; None for a step, or where only the clock is known.
        clock: Time of day, for the day of the run; "" for others.
    """

    step: int | None = None
    moment: datetime | None = None
    clock: str = ""


def _place(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> Place | None:
    """Read what --around says."""
    if value is None:
        return None
    step = _STEP.fullmatch(value)
    if step is not None:
        return Place(step=int(step[1]))
    text = re.sub(r"^(?:ts|time)[:=]", "", value)
    if _CLOCK.fullmatch(text):
        return Place(clock=text)
    try:
        return Place(moment=datetime.fromisoformat(text).astimezone())
    except (ValueError, OverflowError, OSError) as exc:
        raise click.BadParameter(
            f"{value!r} is no place; expected a step like step:41207, or a time like "
            "18:27:03, '2026-11-23 18:27:03' or 2026-11-23T18:27:03Z"
        ) from exc


def place_option(command: Any) -> Any:
    """Give a command the options --around and --window."""
    window = click.option(
        "--window",
        type=click.FloatRange(min=0, max=1e9),
        metavar="N",
        help="How many steps or seconds before and after it. Default: 5.",
    )
    around = click.option(
        "--around",
        callback=_place,
        metavar="PLACE",
        help="All lines around step:41207, or around a time: 18:27:03.",
    )
    return around(window(command))


def show_around(
    folder: Path,
    place: Place,
    window: float | None,
    wanted: Wanted,
    output: Output,
    *,
    each: bool,
) -> bool:
    """Show what was logged around a place; return whether there was anything.

    Args:
        folder: The run's.
        place: The step or time in the middle.
        window: How many steps or seconds before and after; None: the default.
        wanted: Which entries to show.
        output: Where to.
        each: Show lines that say the same one by one.

    Raises:
        MlogError: The run has no such step, or nothing at that time.
        click.BadParameter: The window is no number of steps.
    """
    from mlog.reader.around import read_around

    if place.step is not None:
        if window is not None and not window.is_integer():
            raise click.BadParameter(
                f"expected a whole number of steps, got {window}", param_hint="--window"
            )
        steps = _STEPS if window is None else int(window)
        found = read_around(folder, step=place.step, window=steps)
    else:
        moment = place.moment or _on_day_of(folder, place.clock)
        seconds = _SECONDS if window is None else window
        found = read_around(folder, time=moment.timestamp(), seconds=seconds)
        if not found.lines:
            raise MlogError(_nothing_at(moment, seconds, folder))
    kept = [line.found for line in found.lines if wanted(line.found)]
    signs = {line.source.writer: "≈" for line in found.lines if not line.is_exact}
    groups = [Group(one) for one in kept] if each else grouped(kept)
    _tell(found, signs)
    output(groups, signs=signs, step=place.step)
    return bool(kept)


def _tell(found: "Around", signs: dict[str, str]) -> None:
    """Say how lines were placed, where not all is exact."""
    told = [str(skew) for skew in found.skews]
    if signs:
        count = len(signs)
        who = f"{count} process{'es'[: 2 * (count != 1)]}"
        told.insert(0, f"≈: {who} placed by the clock")
    for text in told:
        click.echo(inline(f"mlog: {text}"), err=True)


def _nothing_at(moment: datetime, seconds: float, folder: Path) -> str:
    """Say that a run has nothing at a time, and when it has."""
    from mlog.reader.state import read_state
    from mlog.reader.times import seconds_of

    state = read_state(folder)
    ends = map(seconds_of, (state.created, state.ended or state.updated))
    each = [datetime.fromtimestamp(end) for end in ends if end is not None]
    span = " to ".join(f"{end:%Y-%m-%d %H:%M:%S}" for end in each)
    about = f"{moment:%Y-%m-%d %H:%M:%S} in {folder}"
    known = f": it went from {span}" if span else ""
    return f"nothing within {seconds:g} s of {about}{known}"


def _on_day_of(folder: Path, clock: str) -> datetime:
    """Return a time of day as the first one after a run has started."""
    from mlog.reader.entries import read_writers

    since = min(
        (w.source.since for w in read_writers(folder) if w.source.since), default=""
    )
    try:
        start = datetime.fromisoformat(since).astimezone()
        hour, minute, *rest = clock.split(":")
        time = timedelta(
            hours=int(hour), minutes=int(minute), seconds=float(rest[0] if rest else 0)
        )
    except (ValueError, OverflowError, OSError) as exc:
        raise MlogError(
            f"the day of {clock} is not known, as nothing says when {folder} started; "
            "give the time with its day"
        ) from exc
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    found = midnight + time
    return found if found >= start - timedelta(minutes=1) else found + timedelta(days=1)
