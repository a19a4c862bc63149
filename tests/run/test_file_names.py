"""Any name becomes one that a file can have on every system."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlog.run.artifacts import artifact_name
from mlog.run.file_names import safe_name


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("loss", "loss"),
        ("train/ü img", "train/ü img"),
        ("../../etc/passwd", "_/_/etc/passwd"),
        ("/abs", "abs"),
        ("C:\\x", "C_/x"),
        ("a//./b", "a/b"),
        ("a\0b?", "a_b_"),
        ("nul", "_nul"),
        ("com1.txt", "_com1.txt"),
        ("end. ", "end_"),
        ("", "_"),
        ("..", "_"),
        ("\ud800", "\ufffd"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_name_becomes_a_file_name(name: str, stored: str) -> None:
    assert safe_name(name) == stored


@given(st.text())
def test_any_name_can_be_stored(name: str) -> None:
    ready = safe_name(name)
    assert artifact_name(ready, windows=True) == ready
    assert safe_name(ready) == ready
