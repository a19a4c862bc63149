"""Columns of metrics from the cache, and from the segment what is not in there yet.

What is kept of a segment are its pages; one that has grown gets a further page. They
are written anew only when much has come since, so a run that is looked at again and
again while it is written costs little. Small segments are read as fast without.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlog.reader.blocks import open_segment
from mlog.reader.cache import Cache, Stamp, ends_of, stamp_of
from mlog.reader.column import (
    FLOATS,
    INTEGERS,
    MIXED,
    OTHER,
    TYPED,
    Column,
    Floats,
    Integers,
    numbers,
)
from mlog.reader.columns import Page, read_pages
from mlog.reader.layouts import Layout

__all__ = ["read_columns"]

_FORMAT = 1
_SMALL = 1 << 18
_LARGE = 1 << 31
_NEWS = 1 << 20
_SHARE = 4

_read_before: set[tuple[str, tuple[int, int]]] = set()
"""Segments whose values were read here, and not kept; a second time they are."""


def read_columns(
    path: Path,
    cache: Cache,
    *,
    bare: bool = False,
    wanted: Callable[[str], bool] | None = None,
    small: int = _SMALL,
    news: int = _NEWS,
) -> list[Page]:
    """Return the pages of a segment of metrics; none where there is no such file.

    Args:
        path: Of the segment.
        cache: Of its root.
        bare: Whether only the values are asked for. These are kept for the next time
            only when they are asked for a second time: one look costs nothing more.
        wanted: Says of a name whether its values are asked for.
        small: Bytes of a segment below which nothing is kept.
        news: Bytes by which a segment has to grow before that is kept, too.

    Raises:
        OSError: The segment cannot be read.
    """
    file = open_segment(path)
    if file is None:
        return []
    with file:
        stamp = stamp_of(file)
        if not small <= stamp.size <= _LARGE:
            return list(read_pages(file, bare=bare, wanted=wanted))
        key = "/".join(path.parts[-3:])
        pages = _load(cache, key, file, stamp)
        start = pages[-1].end if pages else 0
        last_time = pages[-1].times[-1] if pages and pages[-1].times else 0.0
        keep = stamp.size - start >= max(news if pages else 1, start // _SHARE)
        if keep and bare and not pages:
            seen = (str(path), stamp.inode)
            keep = seen in _read_before
            _read_before.add(seen)
        if keep:
            bare, wanted = False, None
        pages += read_pages(file, start, last_time=last_time, bare=bare, wanted=wanted)
        if keep:
            _store(cache, key, file, stamp, pages)
    return pages


# --- keeping -------------------------------------------------------------------------


def _store(
    cache: Cache, key: str, file: BinaryIO, stamp: Stamp, pages: list[Page]
) -> None:
    """Keep pages, unless something in them has no exact form there."""
    columns = [c for page in pages for layout in page.layouts for c in layout.columns]
    if not pages or any(c is None or c.kind == OTHER for c in columns):
        return
    body: list[bytes] = []
    facts = {
        "format": _FORMAT,
        "order": sys.byteorder,
        "stamp": [*stamp],
        "ends": ends_of(file, pages[-1].end),
        "pages": [_page_facts(page, body) for page in pages],
    }
    cache.store(key, facts, body)


def _page_facts(page: Page, body: list[bytes]) -> list[Any]:
    """Return what is to be known of a page to find it in the body, and add to that."""
    body += [page.seqs.tobytes(), page.steps.tobytes(), page.times.tobytes()]
    layouts = [_layout_facts(layout, body) for layout in page.layouts]
    return [page.start, page.end, page.count, page.is_ordered, layouts]


def _layout_facts(layout: Layout, body: list[bytes]) -> list[Any]:
    places = layout.places
    facts = [len(places)]
    if isinstance(places, range):
        facts += [places.start, places.stop, places.step]
    else:
        body.append(places.tobytes())
    columns = [_column_facts(c, body) for c in layout.columns if c is not None]
    return [layout.names, facts, columns]


def _column_facts(column: Column, body: list[bytes]) -> list[Any]:
    if column.kind == TYPED:
        body.append(orjson.dumps(column.data))
    else:
        body.append(column.data.tobytes() + column.whole)
    return [column.kind, len(body[-1])]


# --- finding -------------------------------------------------------------------------


def _load(cache: Cache, key: str, file: BinaryIO, stamp: Stamp) -> list[Page]:
    """Return the pages that are kept of a segment; none where that is another one."""
    found = cache.load(key)
    if found is None:
        return []
    facts, body = found
    try:
        if facts["format"] != _FORMAT or facts["order"] != sys.byteorder:
            return []
        inode, size, changed = facts["stamp"]
        end = facts["pages"][-1][1]
        if tuple(inode) != stamp.inode or end > stamp.size:
            return []
        if size != stamp.size:
            if size > stamp.size or ends_of(file, end) != facts["ends"]:
                return []
        elif tuple(changed) != stamp.changed:
            return []
        parts = _Body(body)
        return [_page(each, parts) for each in facts["pages"]]
    except (ValueError, TypeError, KeyError, IndexError):
        return []


class _Body:
    """Gives out the parts of a body, one after the other."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> memoryview:
        """Return the next bytes.

        Raises:
            ValueError: There are not as many.
        """
        part = self._body[self._at : self._at + size]
        if size < 0 or len(part) != size:
            raise ValueError("the body is too short")
        self._at += size
        return part

    def integers(self, count: int) -> Integers:
        return numbers("q", self.take(8 * count))

    def floats(self, count: int) -> Floats:
        return numbers("d", self.take(8 * count))


def _page(facts: list[Any], body: _Body) -> Page:
    start, end, count, is_ordered, layouts = facts
    seqs, steps = body.integers(count), body.integers(count)
    times = body.floats(count)
    found = [_layout(each, count, body) for each in layouts]
    return Page(start, end, count, found, seqs, steps, times, is_ordered is True)


def _layout(facts: list[Any], entries: int, body: _Body) -> Layout:
    names, (count, *bounds), columns = facts
    places = range(*bounds) if bounds else body.integers(count)
    if len(places) != count or len(columns) != len(names):
        raise ValueError("not as many as there should be")
    edges = (places[0], places[-1]) if bounds and count else places
    if count and not 0 <= min(edges) <= max(edges) < entries:
        raise ValueError("a place outside of the page")
    found: list[Column | None] = [
        _column(kind, size, count, body) for kind, size in columns
    ]
    return Layout(tuple(map(str, names)), places, found)


def _column(kind: str, size: int, count: int, body: _Body) -> Column:
    if kind == TYPED:
        values = orjson.loads(body.take(size))
        if type(values) is not list or len(values) != count:
            raise ValueError("not as many values as there should be")
        return Column(TYPED, values)
    if kind == INTEGERS:
        return Column(INTEGERS, body.integers(count))
    if kind not in (FLOATS, MIXED):
        raise ValueError(f"no kind of column: {kind!r}")
    floats = body.floats(count)
    return Column(kind, floats, bytes(body.take(count)) if kind == MIXED else b"")
