"""A page of a run as plain text, for terminals.

Whatever was logged is shown as text without control characters, a line at most as long
as asked for. Of what is too much the beginning is shown, and the page says so.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mlog.reader.condense import Summary
from mlog.reader.fields import text_from
from mlog.reader.numbers import short
from mlog.reader.page_facts import (
    SAMPLE,
    SYMBOLS,
    Page,
    curve_text,
    errors_of,
    facts_of,
    heading,
    odd_text,
    tail_of,
)
from mlog.reader.page_words import cut, one_line, rest_text, size_text, value_text
from mlog.reader.series import History
from mlog.reader.state import RunState

__all__ = ["MAX_LINES", "page_text"]

MAX_LINES = 24
"""Lines of each part, such as the metrics, that are shown."""


def page_text(page: Page, *, width: int = 100) -> str:
    """Return a page as plain text, without a newline at its end.

    Args:
        page: What to show.
        width: Most characters of a line, at least 60.
    """
    if width < 60:
        raise ValueError(f"width must be at least 60, got {width!r}")
    lines = [
        *_head_lines(page),
        *_error_lines(page, width),
        *_metric_lines(page, width),
        *_other_lines(page),
        *_pair_lines(page.state),
        *_file_lines(page.state),
    ]
    return "\n".join(cut(line, width) for line in lines)


def _head_lines(page: Page) -> Iterator[str]:
    state = page.state
    experiment, name = heading(state)
    symbol = SYMBOLS.get(state.status, "…")
    yield f"{experiment} / {name}  [{symbol} {one_line(state.status)}]"
    facts = facts_of(page) | {"folder": str(state.folder.absolute())}
    tags = (f"{key}={text or ''}" for key, text in state.tags.items())
    if state.tags:
        facts["tags"] = "  ".join(tags)
    if state.description:
        facts["about"] = state.description
    for label, text in facts.items():
        yield f"  {label:<9} {one_line(text, 1_000)}"


def _error_lines(page: Page, width: int) -> Iterator[str]:
    for label, error in errors_of(page):
        kind, msg = text_from(error.get("type")), text_from(error.get("msg"))
        yield f"{label}: {one_line(f'{kind} {msg}'.strip(), width)}"
        last = tail_of(text_from(error.get("traceback"))).rstrip().split("\n")
        yield from (f"    {one_line(line, width)}" for line in last[-6:] if line)


def _metric_lines(page: Page, width: int) -> Iterator[str]:
    """Yield the metrics as a table, each with its curve of blocks."""
    total = len(page.summaries)
    if not total:
        return
    yield f"metrics ({total:,})"
    rows = [
        _metric_cells(name, found, page.histories.get(name))
        for name, found in islice(page.summaries.items(), MAX_LINES)
    ]
    yield from _table([("", "", "last", "min", "max", "points", ""), *rows], width)
    if total > MAX_LINES:
        yield f"  {rest_text(total - MAX_LINES)}"
    if page.is_sample:
        yield f"  {SAMPLE}"


def _other_lines(page: Page) -> Iterator[str]:
    """Yield what was logged and is no number."""
    if page.others:
        yield f"values ({len(page.others):,})"
    for name, (count, text) in islice(page.others.items(), MAX_LINES):
        times = f" ({count:,} times)" if count > 1 else ""
        yield f"  {one_line(name, 60)}{times}  {text}"
    yield from _more(page.others)


def _metric_cells(
    name: str, found: Summary, history: History | None
) -> tuple[str, ...]:
    numbers = (short(found.last), short(found.low), short(found.high))
    spark = curve_text(history, 20)
    return (one_line(name, 60), spark, *numbers, f"{found.count:,}", odd_text(found))


def _table(rows: list[tuple[str, ...]], width: int) -> Iterator[str]:
    """Yield rows in columns; the first, a name, is cut to what the others leave."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sizes[0] = min(sizes[0], max(8, width - sum(sizes[1:]) - 2 * len(sizes)))
    for name, spark, *numbers, note in rows:
        name = name if len(name) <= sizes[0] else "…" + name[1 - sizes[0] :]
        cells = [f"{name:<{sizes[0]}}", f"{spark:<{sizes[1]}}"]
        cells += [f"{n:>{size}}" for n, size in zip(numbers, sizes[2:-1], strict=True)]
        yield f"  {'  '.join([*cells, note])}".rstrip()


def _pair_lines(state: RunState) -> Iterator[str]:
    if state.params:
        yield f"params ({len(state.params):,})"
    names = list(islice(state.params, MAX_LINES))
    size = min(32, max(map(len, map(one_line, names)), default=0))
    for name in names:
        yield f"  {one_line(name, 60):<{size}}  {one_line(value_text(state.params[name]))}"
    yield from _more(state.params)


def _file_lines(state: RunState) -> Iterator[str]:
    if state.artifacts:
        yield f"artifacts ({len(state.artifacts):,})"
    for artifact in islice(state.artifacts.values(), MAX_LINES):
        yield f"  {size_text(artifact.size):>9}  {one_line(artifact.path)}"
    yield from _more(state.artifacts)


def _more(found: Mapping[str, Any]) -> Iterator[str]:
    if len(found) > MAX_LINES:
        yield f"  {rest_text(len(found) - MAX_LINES)}"
