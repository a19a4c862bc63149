"""Options that choose entries, and what they choose."""

import logging
import re
from collections.abc import Callable
from fnmatch import translate
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click

from mlog.cli.lines import SHOWN_EVENTS
from mlog.reader.blocks import MayFit
from mlog.reader.follow import Found
from mlog.reader.levels import level_from, level_of, names_from
from mlog.reader.several import (
    Sources,
    Wanted,
    may_all,
    may_have,
    may_have_any,
)

if TYPE_CHECKING:  # loaded where there is a filter: that costs a tenth of a start
    from mlog.reader.grammar import Filter
    from mlog.reader.search import Entry
    from mlog.reader.sources import Source

__all__ = ["choice_options", "chosen"]

_Search: TypeAlias = "Filter[tuple[Entry, Source]]"
_F = TypeVar("_F", bound=Callable[..., Any])


def _level(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int:
    """Read a level's name or number."""
    try:
        return logging.NOTSET if value is None else level_from(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc).removeprefix("filter: ")) from exc


def _filter(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> "_Search | None":
    """Read a filter; a wrong one is a wrong call."""
    if value is None:
        return None
    from mlog.reader.search import parse_search

    try:
        return parse_search(value)
    except ValueError as exc:
        raise click.BadParameter(str(exc).removeprefix("filter: ")) from exc


def choice_options(command: _F) -> _F:
    """Give a command the options that choose entries."""
    options = [
        click.option(
            "--level", callback=_level, metavar="LEVEL", help="Only from it on up."
        ),
        click.option(
            "--logger", metavar="PATTERN", help="Only of such loggers: 'train.*'."
        ),
        click.option(
            "--grep",
            metavar="TEXT",
            help="Only with this text; in any case, unless it has a capital letter.",
        ),
        click.option(
            "--filter",
            callback=_filter,
            metavar="FILTER",
            help="Only what fits: 'level>=warning loss>3 -retry'.",
        ),
        click.option(
            "--rank",
            type=click.IntRange(min=0),
            metavar="RANK",
            help="Only of this rank; 0 includes processes that are none.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def chosen(
    sources: Sources,
    *,
    level: int,
    logger: str | None,
    grep: str | None,
    filter: "_Search | None",
    rank: int | None,
) -> tuple[Wanted, MayFit | None]:
    """Return what decides about entries, and whether lines may hold one that fits.

    Args:
        sources: Knows who wrote an entry.
        level, logger, grep, filter, rank: As the options give them.
    """
    tests = list[Wanted]()
    searches = [_of_text(grep)] if grep else []
    searches += [filter] if filter is not None else []
    asks_for_events = filter is not None and bool(filter.fields & {"event", "stream"})
    if not asks_for_events:
        tests.append(_is_shown)
    if level > logging.NOTSET:
        tests.append(lambda found: level_of(found.entry) >= level)
    if logger is not None:
        matches = re.compile(translate(logger)).match
        tests.append(
            lambda found: matches(str(found.entry.get("logger", ""))) is not None
        )
    if rank is not None:
        tests.append(lambda found: (sources.of(found).rank or 0) == rank)
    tests += [_searched(search, sources) for search in searches]
    may_fit = may_all([_of_level(level), *(may_have(*s.needle) for s in searches)])
    return _all_of(tests), may_fit


def _of_text(text: str) -> "_Search":
    from mlog.reader.search import matches_text

    return matches_text(text)


def _is_shown(found: Found) -> bool:
    event = found.entry.get("event")
    return event is None or event in SHOWN_EVENTS


def _searched(search: "_Search", sources: Sources) -> Wanted:
    return lambda found: search((found.entry, sources.of(found)))


def _all_of(tests: list[Wanted]) -> Wanted:
    if len(tests) == 1:
        return tests[0]

    def wanted(found: Found) -> bool:
        for test in tests:
            if not test(found):
                return False
        return True

    return wanted


def _of_level(level: int) -> MayFit | None:
    """Return whether lines may have a level; those that nobody knows are INFO."""
    if level <= logging.INFO:
        return None
    return may_have_any([f'"{name}'.encode() for name in names_from(level)])
