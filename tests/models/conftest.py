"""A root for registered models, and short ways to register some."""

import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mlog.models import Model, register


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that is not there yet."""
    return tmp_path / "root"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file to register."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    return path


def of(data: bytes) -> Callable[[], BinaryIO]:
    """Return what opens a file with this content."""
    return lambda: io.BytesIO(data)


def put(root: Path, name: str = "mnist", data: bytes = b"x", **facts: Any) -> Model:
    return register(root, name, {"model.bin": of(data)}, **facts)


def ids(found: list[Model]) -> list[str]:
    return [model.id for model in found]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)
