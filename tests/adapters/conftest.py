"""The frameworks warn of their own affairs; here mlog is tested."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let warnings of frameworks pass, but for mlog's own."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore"), append=False)
            item.add_marker(
                pytest.mark.filterwarnings("error::mlog.errors.MlogWarning")
            )


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frameworks leave files in the current folder."""
    monkeypatch.chdir(tmp_path)
