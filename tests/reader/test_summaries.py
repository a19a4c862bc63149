"""What metrics come to, from their lines, is what an end would have said."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.reader.state import read_state
from mlog.reader.summaries import read_summaries
from mlog.run.summary import summary_of
from tests.helpers import run_python

VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=20))
def test_they_are_those_of_a_writer_at_its_end(
    tmp_path_factory: pytest.TempPathFactory, metrics: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("e") / "r"
    folder.mkdir()
    with open(folder / "metrics.jsonl", "wb") as file:
        for seq, metric in enumerate(metrics):
            entry = {"ts": "2026-11-23T18:27:00.123456Z", "seq": seq, "metric": metric}
            file.write(orjson.dumps(entry) + b"\n")
    assert read_summaries(folder) == summary_of(folder, ["metrics.jsonl"])


def test_texts_lists_and_tables_are_no_numbers(tmp_path: Path) -> None:
    with mlog.start_run("e", dir=tmp_path) as run:
        run.log("text", "words")
        run.log_list("list", [1, 2])
        run.log("loss", math.nan)
        run.log("loss", 2)
    assert run.path is not None
    assert read_summaries(run.path) == {
        "loss": {"last": 2, "count": 2, "min": 2, "max": 2}
    }


KILLED = """
import os, signal, sys, mlog
with mlog.start_run("e", dir=sys.argv[1], run_id="r") as run:
    for step in range(100):
        run.log("mse", 100 - step, step=step)
    run.log("mse", 7.5, step=100)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_has_its_last_values(tmp_path: Path) -> None:
    """Its `run.json` has none yet; also when somebody else ends it."""
    assert run_python(KILLED, str(tmp_path)).returncode == -signal.SIGKILL
    expected = {"mse": {"last": 7.5, "count": 101, "min": 1, "max": 100}}
    assert read_state(tmp_path / "e" / "r").metrics == expected
    mlog.open_run("r", dir=tmp_path).cancel()
    state = read_state(tmp_path / "e" / "r")
    assert (state.status, state.metrics) == ("Canceled", expected)


def test_a_run_that_goes_on_is_not_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever watches it reads its state again and again; a process of it may be dead."""
    run_python(KILLED, str(tmp_path))
    folder = tmp_path / "e" / "r"
    asked: list[Path] = []

    def asks(run: Path) -> dict[str, Any]:
        asked.append(run)
        return {}

    with mlog.start_run(resume=str(folder), dir=tmp_path):
        monkeypatch.setattr("mlog.reader.state.read_summaries", asks)
        state = read_state(folder)
        assert (state.status, len(state.writers)) == ("Running", 2)
        assert asked == []


def test_what_cannot_be_read_is_as_run_json_says(tmp_path: Path) -> None:
    run_python(KILLED, str(tmp_path))
    folder = tmp_path / "e" / "r"
    said = {"mse": {"last": 50.0, "count": 3}}
    document = orjson.loads((folder / "run.json").read_bytes()) | {"metrics": said}
    (folder / "run.json").write_bytes(orjson.dumps(document))
    os.unlink(folder / "metrics.jsonl")
    assert read_state(folder).metrics == said
