"""Whether a version is one of those asked for."""

import pytest

from mlog.launch.versions import fits, requirement


@pytest.mark.parametrize(
    ("version", "wanted", "does"),
    [
        ("3.11.7", "", True),
        ("3.11.7", "==3.11.*", True),
        ("3.11.7", "==3.1.*", False),
        ("3.11.7", "==3.11", False),
        ("3.11", "==3.11.0", True),
        ("3.11.7", "!=3.11.*", False),
        ("3.11.7", ">=3.9,<3.12", True),
        ("3.12.0", ">=3.9,<3.12", False),
        ("1.4.2", "~=1.4", True),
        ("2.0", "~=1.4", False),
        ("1.4.1", "~=1.4.2", False),
        ("1.10", ">1.9", True),
        ("1.0rc1", "", True),
        ("1.0rc1", ">=0.1", False),
        ("1.0", ">=0.1rc1", False),
        ("1.0", "whatever", False),
    ],
)
def test_a_version_fits_or_not(version: str, wanted: str, does: bool) -> None:
    """Of what cannot be told simply it is said that it does not fit."""
    assert fits(version, wanted) is does


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Scikit_Learn>=1", ("scikit-learn", ">=1")),
        ("a", ("a", "")),
        ("a[x]>=1", None),
        ("a; python_version>'3'", None),
        ("a @ https://h", None),
        ("-e .", None),
    ],
)
def test_only_a_plain_requirement_is_taken_apart(
    line: str, found: tuple[str, str] | None
) -> None:
    assert requirement(line) == found
