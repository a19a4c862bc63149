"""Several runs side by side: what differs in what they were given, and what came out.

The first run is the one that the others are compared with. Pure, but for `read_runs`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from mlog.reader.condense import Summary
from mlog.reader.fields import mapping_from, text_from
from mlog.reader.numbers import exact, short
from mlog.reader.page_facts import Page, heading, read_page
from mlog.reader.page_words import moment, span
from mlog.reader.state import RunState

__all__ = [
    "ABSENT",
    "Comparison",
    "MetricRow",
    "Row",
    "compare",
    "delta_text",
    "number_json",
    "read_runs",
    "run_names",
]


class _Absent:
    """Stands where a run has no value of a name."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
"""Stands where a run has no value of a name; a param may be None."""

_COMMIT = 10  # digits of a commit that are shown


@dataclass(frozen=True, slots=True)
class Row:
    """One name, and its value in each run.

    Attributes:
        name: Of a param, a tag, a fact or a package.
        values: In the order of the runs; ABSENT where a run has none.
    """

    name: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same."""
        first = self.values[0]
        return not all(_is_same(first, value) for value in self.values[1:])


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric, and its numbers in each run.

    Attributes:
        name: The metric's.
        found: In the order of the runs; None where a run has it not.
    """

    name: str
    found: tuple[Summary | None, ...]

    def deltas(self, key: str) -> tuple[float | None, ...]:
        """Return how far each run is from the first; None where one of both is missing.

        Args:
            key: "last", "low" or "high".
        """
        values = [None if one is None else getattr(one, key) for one in self.found]
        return tuple(_delta(values[0], value) for value in values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side; the first is what the others are compared with.

    Attributes:
        pages: What is known of each run.
        names: How each is called here; no two alike.
        facts: Status, times, host, commit and the like.
        params: What they were given, what differs first.
        tags: Likewise.
        packages: Installed ones with their versions, likewise; none where some are
            not known.
        unknown: Names of the runs that did not say which, where others did.
        metrics: In numbers; those of the first run first.
    """

    pages: tuple[Page, ...]
    names: tuple[str, ...]
    facts: tuple[Row, ...]
    params: tuple[Row, ...]
    tags: tuple[Row, ...]
    packages: tuple[Row, ...]
    unknown: tuple[str, ...]
    metrics: tuple[MetricRow, ...]


def read_runs(folders: Iterable[Path], *, most: int = 12) -> list[Page]:
    """Read what is compared of some runs.

    Args:
        folders: The runs'.
        most: As for `read_page`.

    Raises:
        RunNotFoundError: There is no run in a folder.
        OSError: A folder may not be read.
    """
    return [read_page(folder, most=most) for folder in folders]


def compare(pages: Sequence[Page]) -> Comparison:
    """Put runs side by side.

    Args:
        pages: At least one.
    """
    states = [page.state for page in pages]
    names = run_names(states)
    pairs = zip(names, states, strict=True)
    unknown = [name for name, state in pairs if not _packages(state)]
    return Comparison(
        pages=tuple(pages),
        names=tuple(names),
        facts=tuple(_facts(states)),
        params=_rows(state.params for state in states),
        tags=_rows(state.tags for state in states),
        packages=() if unknown else _rows(map(_packages, states)),
        unknown=tuple(unknown) if len(unknown) < len(states) else (),
        metrics=tuple(_metrics(pages)),
    )


def run_names(states: Sequence[RunState]) -> list[str]:
    """Return a name for each run, short and unlike the others.

    The name that people gave it; where several have that one, with the end of the id,
    and for a run that is there twice with its place.
    """
    names = [heading(state)[1] for state in states]
    ids = [f"{n} {s.run_id[-6:]}" for n, s in zip(names, states, strict=True)]
    names = [i if names.count(n) > 1 else n for n, i in zip(names, ids, strict=True)]
    return [
        f"{name} ({place})" if names.count(name) > 1 else name
        for place, name in enumerate(names, 1)
    ]


def number_json(value: float | None) -> float | str | None:
    """Return a number for JSON, as the file format has it: NaN as a text."""
    if value is None or math.isfinite(value):
        return value
    return exact(value)


def delta_text(value: float, delta: float | None) -> str:
    """Return a difference with its sign, and as a share: `-0.033 (-14 %)`.

    Args:
        value: Of the run that is compared.
        delta: That minus the first run's. None, 0 or NaN: "" is returned.
    """
    if not delta or math.isnan(delta):
        return ""
    base = value - delta
    text = f"{'+' if delta > 0 else ''}{short(delta)}"
    share = delta / abs(base) * 100 if base and math.isfinite(base) else math.nan
    if not abs(share) < 1e4:
        return text
    return f"{text} ({share:+.2g} %)" if abs(share) < 10 else f"{text} ({share:+.0f} %)"


def _delta(first: float | None, value: float | None) -> float | None:
    if first is None or value is None:
        return None
    delta = value - first
    return None if math.isnan(delta) else delta


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same; true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _rows(found: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Return one row a name, those that differ first, else in their order."""
    values = list(found)
    names = dict.fromkeys(name for one in values for name in one)
    rows = [Row(name, tuple(v.get(name, ABSENT) for v in values)) for name in names]
    return tuple(sorted(rows, key=lambda row: not row.differs))


def _metrics(pages: Sequence[Page]) -> Iterator[MetricRow]:
    names = dict.fromkeys(name for page in pages for name in page.summaries)
    for name in names:
        yield MetricRow(name, tuple(page.summaries.get(name) for page in pages))


# --- facts ---------------------------------------------------------------------------


def _facts(states: Sequence[RunState]) -> Iterator[Row]:
    """Yield what there is to say of at least one run."""
    for name, tell in _TELLING.items():
        texts = [tell(state) or ABSENT for state in states]
        if any(text is not ABSENT for text in texts):
            yield Row(name, tuple(texts))


def _commit(state: RunState) -> str:
    """Return the commit and the branch, and whether there was more than that."""
    git = mapping_from(state.start.get("git"))
    is_dirty = mapping_from(state.environment.get("git")).get("dirty")
    parts = (
        text_from(git.get("commit"))[:_COMMIT],
        text_from(git.get("branch")),
        "with changes" if is_dirty and git else "",
    )
    return " ".join(filter(None, parts))


def _hosts(state: RunState) -> str:
    hosts = dict.fromkeys(w.host for w in state.writers if w.host)
    return ", ".join(islice(hosts, 4))


def _command(state: RunState) -> str:
    argv = state.start.get("argv")
    return " ".join(map(str, argv)) if isinstance(argv, list) else ""


def _packages(state: RunState) -> dict[str, Any]:
    return mapping_from(state.environment.get("packages"))


_TELLING: Mapping[str, Callable[[RunState], str]] = {
    "id": lambda state: state.run_id,
    "experiment": lambda state: state.experiment,
    "status": lambda state: state.status,
    "started": lambda state: moment(state.created),
    "duration": lambda state: span(state.duration),
    "attempt": lambda state: str(state.attempt) if state.attempt > 1 else "",
    "commit": _commit,
    "command": _command,
    "host": _hosts,
    "python": lambda state: text_from(state.start.get("python")),
}
