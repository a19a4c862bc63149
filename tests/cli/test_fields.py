"""What the fields of a run say in words."""

import pytest

from mlog.cli.fields import age_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7_199, "1 h"),
        (86_400, "1 d"),
        (1e8, "1,157 d"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
