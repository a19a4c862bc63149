"""Keys that MLflow takes, and the way back."""

import posixpath
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlog.shipping.sinks.mlflow_names import (
    MAX_KEY,
    is_long,
    key_of,
    long_tag,
    name_of,
)

names = st.text(min_size=1, max_size=300).filter(lambda n: len(n.encode()) <= 300)
tricky = st.text(alphabet="_x/.@40AF5E%2 ", min_size=1, max_size=12)


def is_taken(key: str) -> bool:
    """Say what MLflow 3.17 says (`mlflow/utils/validation.py`)."""
    plain = re.match(r"^[/\w.\- :]*$", key) is not None and not key.endswith("\n")
    norm = posixpath.normpath(key)
    is_path = norm == key and norm != "." and not norm.startswith(("..", "/"))
    return plain and is_path and 0 < len(key) <= MAX_KEY


@given(names.filter(lambda n: _is_text(n)) | tricky)
@example("_x40_")
@example("_x40@")
@example("a//b")
@example("..a")
@example("a/./..")
@example("x" * 251)
def test_every_name_has_a_key_that_is_taken_and_leads_back(name: str) -> None:
    key = key_of(name)
    assert is_taken(key)
    assert is_long(name) or name_of(key) == name


@pytest.mark.parametrize("name", ["loss", "train/loss", "a_x", "Größe", "a: b.c-d"])
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert key_of(name) == name == name_of(name)


@pytest.mark.parametrize(
    ("name", "key"),
    [("acc@5", "acc_x40_5"), ("/a", "_x2F_a"), ("a//b", "a/_x2F_b"), ("..", "_x2E_.")],
)
def test_what_is_not_taken_is_written_in_hex(name: str, key: str) -> None:
    assert key_of(name) == key


def test_long_names_that_differ_have_keys_that_differ() -> None:
    first, second = "x" * 255 + "1", "x" * 255 + "2"
    assert is_long(first)
    assert key_of(first) != key_of(second)
    assert long_tag(first) != long_tag(second)


def _is_text(name: str) -> bool:
    return not any(0xD800 <= ord(c) < 0xE000 for c in name)
