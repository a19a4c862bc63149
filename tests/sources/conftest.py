"""What tests of sources share: a source whose runs are lists."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlog.sources.copies import Advance, File, Origin, Point

BEGAN = 1_700_000_000_000_000
"""2023-11-14T22:13:20Z in microseconds."""


class Listed:
    """A run whose points and files are given."""

    def __init__(self, origin: Origin, points: list[Point], files: list[File]) -> None:
        self.origin = origin
        self.notes: list[str] = []
        self.given, self.stored = points, files

    def points(self, advance: Advance) -> Iterator[Point]:
        for point in self.given:
            advance(1)
            yield point

    def files(self) -> Iterator[File]:
        yield from self.stored


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def listed() -> Callable[..., Listed]:
    """Make a source with one run."""

    def make(
        points: list[Point] | None = None,
        files: list[File] | None = None,
        **facts: Any,
    ) -> Listed:
        usual: dict[str, Any] = {
            "tool": "test",
            "source": "test:1",
            "state": "1",
            "run_id": "r1",
            "experiment": "old runs",
            "name": "first",
            "began": BEGAN,
            "ended": BEGAN + 60_000_000,
            "status": "Completed",
        }
        return Listed(Origin(**(usual | facts)), points or [], files or [])

    return make
