"""The table of a sweep: a line for each trial that has ended, and what goes on below.

The lines of ended trials stay; the part below them is drawn anew a few times a second,
where there is a terminal. Everywhere else there are the lines alone.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TextIO

from mlog.cli.fields import status_colour, status_text
from mlog.cli.lines import wants_colour
from mlog.cli.table import Column, fit, fitted, pad, painted, width_of
from mlog.launch.sweep_conductor import Conductor
from mlog.launch.sweep_domains import Choice, Distribution, Domain, Range, text_of
from mlog.launch.sweep_plan import bare, title_of
from mlog.launch.sweep_sampling import Listed
from mlog.launch.sweep_signals import Signals
from mlog.launch.sweep_trials import Trial
from mlog.reader.numbers import short
from mlog.reader.page_words import count_text, one_line, span
from mlog.widths import text_width

__all__ = ["Table", "is_live", "summary_lines", "trial_json"]

_EVERY = 0.1
_BOLD, _DIM, _GREEN, _CYAN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[36m"
_MOST_RUNNING = 8
_MOST_VALUES = 2_000
_WIDEST = 16
_BAR = 24
_GAP = "  "


def is_live(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether a part of the screen can be drawn anew."""
    try:
        return os.isatty(stream.fileno()) and env.get("TERM") != "dumb"
    except (AttributeError, OSError, ValueError):
        return False


class Table:
    """Shows a sweep; an `Onlooker`."""

    def __init__(
        self,
        conductor: Conductor,
        out: TextIO,
        env: Mapping[str, str],
        signals: Signals,
        *,
        live: bool,
    ) -> None:
        """Prepare to show a sweep.

        Args:
            conductor: Of the sweep.
            out: Where it is shown.
            env: Environment variables: `NO_COLOR`, `TERM`, `COLUMNS`.
            signals: Told when nobody reads any more.
            live: Whether the screen is drawn anew.
        """
        self._conductor = conductor
        self._out = out
        self._env = env
        self._signals = signals
        self._is_live = live
        self._colour = wants_colour(out, env)
        self._columns = _Columns(conductor)
        self._below = 0
        self._drawn = -math.inf
        self._began = time.monotonic()
        self._has_heading = False

    def ended(self, trial: Trial) -> None:
        """Print the line of a trial."""
        heading = [] if self._has_heading else [self._heading()]
        self._has_heading = True
        is_best = trial is self._conductor.best
        self._print([*heading, self._row(trial, trial.seconds, is_best=is_best)])

    def noted(self, text: str) -> None:
        """Print a line."""
        self._print([fit(f"mlog: {one_line(text)}", self._width)])

    def tick(self) -> None:
        """Draw what goes on."""
        now = time.monotonic()
        if self._is_live and now - self._drawn >= _EVERY:
            self._drawn = now
            self._print([])

    @property
    def _width(self) -> int:
        """Most characters of a line: one less than there are, so that none is broken."""
        return max(8, width_of(self._out, self._env) - self._is_live)

    def _print(self, lines: list[str]) -> None:
        """Print lines above what goes on."""
        below = list(self._going_on()) if self._is_live else []
        if below and not self._has_heading:
            below.insert(0, self._heading())
        text = "".join(f"{line}\n" for line in [*lines, *below])
        if self._below:
            text = f"\r\x1b[{self._below}A\x1b[J{text}"  # \r: Ctrl-C shows ^C
        self._below = len(below)
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        with self._signals.at_broken_pipe():
            self._out.write(text.encode(encoding, "replace").decode(encoding))
            self._out.flush()

    def _going_on(self) -> Iterator[str]:
        """Yield a line for each trial that runs, and one for the whole."""
        conductor = self._conductor
        running = conductor.running
        if not running and (conductor.stopping or not conductor.left):
            return
        for watched in islice(running, _MOST_RUNNING):
            yield self._row(watched.trial, watched.elapsed)
        if len(running) > _MOST_RUNNING:
            yield f"… and {len(running) - _MOST_RUNNING} more that run"
        yield self._progress()

    def _heading(self) -> str:
        titles = {name: name for name in self._columns.names}
        line = self._columns.line(titles, self._width)
        return painted(line, _BOLD if self._colour else "")

    def _row(
        self, trial: Trial, seconds: float | None, *, is_best: bool = False
    ) -> str:
        cells = self._columns.cells(trial, seconds)
        is_best = is_best and not cells["note"]  # why it was ended is more to know
        if is_best:
            cells["note"] = "best so far"
        colours = {}
        if self._colour:
            colours = {"status": status_colour(cells["status"]), "note": _DIM}
            if is_best:
                colours["note"] = _GREEN
        return self._columns.line(cells, self._width, colours)

    def _progress(self) -> str:
        """Return the line of the whole: how far, how long, the best so far."""
        conductor = self._conductor
        over = conductor.over
        done, count = len(over), conductor.count
        full = round(_BAR * done / count)
        words = [f"{done:,} of {count:,}"]
        if failed := sum(trial.has_failed for trial in over):
            words.append(f"{failed:,} failed")
        words.append(span(time.monotonic() - self._began))
        if conductor.stopping:
            words.append("ending")
        elif (left := seconds_left(conductor)) is not None:
            words.append(f"{span(left)} left")
        if conductor.best is not None:
            words.append(f"best {best_text(conductor)}")
        text = " · ".join(words)
        width = self._width
        if text_width(text) + _BAR + 1 > width:
            return fit(text, width)
        bar = "━" * full + "─" * (_BAR - full)
        return f"{painted(bar, _CYAN if self._colour else '')} {text}"


class _Columns:
    """Which columns there are, and how wide each is; the same for all lines."""

    def __init__(self, conductor: Conductor) -> None:
        plan = conductor.plan
        self._metric = plan.metric
        self._params = list(_param_widths(conductor))
        count = len(str(conductor.count))
        widest: dict[str, tuple[int, bool, int]] = {
            "trial": (count, True, 0),
            "run": (6, False, 6),
            "status": (12, False, 0),
        }
        for place, (name, width) in enumerate(self._params):
            widest[bare(name)] = (width, True, 2 if place < 3 else 7)
        if plan.metric is not None:
            widest[plan.metric] = (10, True, 1)
        widest["time"] = (9, True, 5)
        widest["note"] = (11, False, 8)
        self._all = [
            Column(name, ["x" * width], is_right=is_right, rank=rank)
            for name, (width, is_right, rank) in widest.items()
        ]
        self._width = -1
        self._kept: list[Column] = []

    @property
    def names(self) -> list[str]:
        """Titles of all columns."""
        return [column.title for column in self._all]

    def cells(self, trial: Trial, seconds: float | None) -> dict[str, str]:
        """Return the cells of a trial, by title."""
        cells = {
            "trial": str(trial.number),
            "run": trial.run_id[-6:],
            "status": status_text(trial.status),
            "time": span(seconds),
            "note": one_line(trial.why.strip().splitlines()[-1]) if trial.why else "",
        }
        for name, _ in self._params:
            if name in trial.params:
                cells[bare(name)] = value_cell(trial.params[name])
        if self._metric is not None and trial.value is not None:
            cells[self._metric] = short(trial.value)
        return cells

    def line(
        self,
        cells: Mapping[str, str],
        width: int,
        colours: Mapping[str, str] | None = None,
    ) -> str:
        """Return a line of cells, with colours by title; the note may be longer."""
        if width != self._width:
            self._width = width
            self._kept, _ = fitted(self._all, width)
        shown: list[str] = []
        used = 0
        for column in self._kept:
            is_note = column.title == "note"
            size = width - used if is_note else column.width
            cell = fit(cells.get(column.title, ""), size)
            if not is_note:
                cell = pad(cell, size, is_right=column.is_right)
            used += size + len(_GAP)
            if used - len(_GAP) > width:
                break
            shown.append(painted(cell, (colours or {}).get(column.title, "")))
        return _GAP.join(shown).rstrip()


def _param_widths(conductor: Conductor) -> Iterator[tuple[str, int]]:
    """Yield the params of a sweep, with the width of their values."""
    sampling = conductor.plan.sampling
    if isinstance(sampling, Listed):
        names = dict.fromkeys(
            name for trial in sampling.trials[:_MOST_VALUES] for name in trial
        )
        domains: Mapping[str, Iterable[Any]] = {
            name: [trial.get(name, "") for trial in sampling.trials[:_MOST_VALUES]]
            for name in names
        }
    else:
        spaces = sampling.space.domains
        domains = {name: _some(domain) for name, domain in spaces.items()}
    for name, values in domains.items():
        yield name, max((text_width(value_cell(value)) for value in values), default=9)


def _some(domain: Domain) -> list[Any]:
    """Return values to take the width from."""
    match domain:
        case Distribution():
            return [-0.0001234]
        case Choice(values):
            return list(values[:_MOST_VALUES])
        case Range():
            return [domain.at(n) for n in range(min(len(domain), _MOST_VALUES))]


def value_cell(value: Any) -> str:
    """Return a param's value as it stands in the table."""
    if isinstance(value, float) and len(text_of(value)) > 9:
        return short(value)
    return fit(one_line(text_of(value)), _WIDEST)


def seconds_left(conductor: Conductor) -> float | None:
    """Return about how long the rest takes, from what the last trials took."""
    times = [t.seconds for t in conductor.over[-50:] if t.seconds is not None]
    if not times:
        return None
    mean = sum(times) / len(times)
    gone = sum(min(watched.elapsed, mean) for watched in conductor.running)
    return max(0.0, mean * conductor.left - gone) / min(
        conductor.plan.jobs, max(1, conductor.left)
    )


def best_text(conductor: Conductor) -> str:
    """Say which trial is the best, and its value."""
    best = conductor.best
    assert best is not None
    assert best.value is not None
    metric = one_line(conductor.plan.metric or "", 40)
    return f"{metric} {short(best.value)} (trial {best.number})"


def summary_lines(conductor: Conductor) -> Iterator[str]:
    """Yield what there is to say at the end."""
    over, best = conductor.over, conductor.best
    counts = Counter(trial.status for trial in over)
    said = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    yield f"{count_text(len(over), 'trial')} of {conductor.count:,}: {said or 'none'}"
    if best is not None:
        params = one_line(title_of(best.params))
        yield f"best: {best_text(conductor)}, run {best.run_id[-6:]}: {params}"
    failed = next((trial for trial in over if trial.has_failed), None)
    if failed is not None and failed.run_id:
        yield f"a failed one: mlog show {failed.run_id[-6:]}"


def trial_json(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON."""
    return {
        "trial": trial.number,
        "run": trial.run_id,
        "path": None if trial.path is None else str(trial.path),
        "status": trial.status,
        "params": trial.params,
        "value": trial.value,
        "seconds": trial.seconds,
        "why": trial.why,
    }
