"""Last, min, max and count of each metric, read from the run's own files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlog
from mlog.run.summary import Summary

NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

values = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(sorted(NONFINITE)),
)
metrics = st.dictionaries(st.sampled_from(["loss", "acc", "ü/\u2028"]), values)
files = st.lists(st.lists(st.one_of(metrics, st.none())), min_size=1, max_size=4)


def line(metric: object) -> bytes:
    """Return a line of metrics; None: one of another kind."""
    entry: dict[str, Any] = {"ts": "2026-11-23T18:27:00.123456Z", "seq": 0}
    entry |= {"value": {"x": "text"}} if metric is None else {"metric": metric}
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def model(found: "list[dict[str, Any] | None]") -> dict[str, dict[str, Any]]:
    """Say in the plainest way what a summary should hold."""
    series: dict[str, list[Any]] = {}
    for metric in found:
        for name, value in (metric or {}).items():
            series.setdefault(name, []).append(value)
    wanted = {}
    for name, all_values in series.items():
        finite = [value for value in all_values if not isinstance(value, str)]
        wanted[name] = {"last": all_values[-1], "count": len(all_values)}
        if finite:
            wanted[name] |= {"min": min(finite), "max": max(finite)}
    return wanted


@given(files, st.booleans(), st.data())
def test_summary_equals_the_plain_model(
    tmp_path_factory: pytest.TempPathFactory,
    content: "list[list[dict[str, Any] | None]]",
    torn: bool,
    data: st.DataObject,
) -> None:
    """Over any number of segments and calls, with a line cut short at each end."""
    folder = tmp_path_factory.mktemp("run")
    summary = Summary(folder, [])
    for number, found in enumerate(content):
        path = folder / f"metrics.{number}.jsonl"
        path.touch()
        summary.names.append(path.name)
        for metric in found:
            whole = line(metric)
            cut = data.draw(st.integers(0, len(whole)))
            with path.open("ab", buffering=0) as file:
                file.write(whole[:cut])
                if data.draw(st.booleans()):
                    summary.catch_up(data.draw(st.sampled_from([None, 1, 100])))
                file.write(whole[cut:])
        if torn:
            with path.open("ab") as file:
                file.write(line({"loss": 1})[:-5])
    summary.catch_up()
    assert summary.metrics == model([m for found in content for m in found])


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """The summary of one segment, which is there and empty."""
    (tmp_path / "metrics.jsonl").touch()
    return Summary(tmp_path, ["metrics.jsonl"])


def add(summary: Summary, data: bytes) -> None:
    with (summary.folder / summary.names[-1]).open("ab") as file:
        file.write(data)


def test_without_segments_there_is_nothing(tmp_path: Path) -> None:
    summary = Summary(tmp_path, [])
    summary.catch_up()
    assert summary.metrics == {}


def test_line_without_its_newline_is_not_there_yet(summary: Summary) -> None:
    whole = line({"loss": 1})
    add(summary, whole[:-1])
    summary.catch_up()
    assert summary.metrics == {}
    add(summary, b"\n")
    summary.catch_up()
    assert summary.metrics["loss"]["count"] == 1


def test_whole_entry_behind_a_cut_one_counts(summary: Summary) -> None:
    """The cut one is whole in the next segment."""
    add(summary, line({"loss": 1})[:-9] + line({"loss": 2}))
    add(summary, line({"loss": 3})[:-1] + line({"loss": 4}))
    summary.catch_up()
    assert summary.metrics == {"loss": {"last": 4, "count": 2, "min": 2, "max": 4}}


def test_other_lines_are_passed_over(summary: Summary) -> None:
    add(summary, b'garbage\n[]\n5\n"x"\nnull\n\n{"metric":null}\n\xff\xfe\n')
    add(summary, line({"loss": 1}))
    summary.catch_up()
    assert summary.metrics["loss"]["count"] == 1


def test_texts_that_look_like_entries_are_no_entries(summary: Summary) -> None:
    add(summary, line({'{"ts":"': 1}))
    summary.catch_up()
    assert summary.metrics['{"ts":"']["count"] == 1


def test_lines_longer_than_a_chunk_are_read(summary: Summary) -> None:
    many = {f"name{number}": number for number in range(200_000)}
    add(summary, line(many) + line({"loss": 1}))
    summary.catch_up()
    assert len(summary.metrics) == 200_001


def test_reading_stops_near_the_limit(summary: Summary) -> None:
    """On the keeper's thread a summary takes little of the program's time."""
    add(summary, line({"loss": 1}) * 50_000)
    summary.catch_up(max_bytes=1)
    assert 0 < summary.metrics["loss"]["count"] < 50_000
    summary.catch_up()
    assert summary.metrics["loss"]["count"] == 50_000


def test_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(line({"secret": 1}))
    (tmp_path / "metrics.jsonl").symlink_to("secret")
    with pytest.raises(OSError, match=r"."):
        Summary(tmp_path, ["metrics.jsonl"]).catch_up()


def test_run_ends_with_its_summary(tmp_path: Path) -> None:
    with mlog.start_run("e", dir=tmp_path, run_id="r") as run:
        for value in (3.0, 1.5, math.nan, 2.0, math.inf):
            run.log("loss", value)
    found = json.loads((tmp_path / "e" / "r" / "run.json").read_text())
    wanted = {"last": "Infinity", "count": 5, "min": 1.5, "max": 3.0}
    assert found["metrics"] == {"loss": wanted}
