"""What stands in pages of columns, point by point."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mlog.reader.columns import NO_STEP, Page


class Point(NamedTuple):
    """One value of one name."""

    seq: int
    name: str
    value: Any
    step: int | None
    time: float


def points_of(pages: Iterable[Page]) -> Iterator[Point]:
    """Yield the points of pages that are whole, in some order."""
    for page in pages:
        for layout in page.layouts:
            for name, column in zip(layout.names, layout.columns, strict=True):
                assert column is not None
                for place, value in zip(layout.places, column.values(), strict=True):
                    at = page.steps[place]
                    step = None if at == NO_STEP else at
                    yield Point(page.seqs[place], name, value, step, page.times[place])
