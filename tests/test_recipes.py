"""Other programs read a run's files as they are, also while it is written."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.testing import end_all_runs


@pytest.fixture
def folder() -> Iterator[Path]:
    """A run that still goes on: values of all kinds, an error, and a torn last line."""
    import logging

    logger = logging.getLogger("train")
    run = mlog.start_run("recipes")
    assert run.path is not None
    for step in range(3):
        run.log_metrics({"loss": 1 / (step + 1), "acc": step}, step=step)
    run.log("loss", float("nan"), step=3)
    run.log("late/name", 7)
    run.log("note", "a text")
    logger.info("ünï\nsecond line")
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed", extra={"fold": 2})
    for name in ("metrics.jsonl", "logs.jsonl"):
        with open(run.path / name, "ab") as file:
            file.write(b'{"ts":"2026-11-')
    yield run.path
    end_all_runs()


def output(*command: str, **env: str) -> str:
    """Run a program; it may say that the last line is torn."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **env},
        timeout=60,
        check=False,
    )
    return done.stdout


class TestJq:
    def test_a_metric(self, folder: Path) -> None:
        metrics = str(folder / "metrics.jsonl")
        text = "select(.metric.loss) | [.step, .metric.loss]"
        shown = output("jq", "-c", text, metrics)
        assert [json.loads(line) for line in shown.splitlines()] == [
            [0, 1.0],
            [1, 0.5],
            [2, 1 / 3],
            [3, "NaN"],
        ]

    def test_errors(self, folder: Path) -> None:
        text = 'select(.level == "ERROR") | .exc.type, .extra.fold'
        shown = output("jq", "-r", text, str(folder / "logs.jsonl"))
        assert shown.splitlines() == ["ValueError", "2"]


class TestLnav:
    @pytest.fixture
    def home(self, tmp_path: Path) -> str:
        """A home with mlog's format in it."""
        from click.testing import CliRunner

        from mlog.cli import cli

        path = CliRunner().invoke(cli, ["path", "--lnav"]).stdout.strip()
        home = tmp_path / "home"
        home.mkdir()
        output("lnav", "-i", path, HOME=str(home))
        return str(home)

    def test_lines_and_metrics_by_time(self, folder: Path, home: str) -> None:
        files = [str(folder / name) for name in ("logs.jsonl", "metrics.jsonl")]
        shown = output("lnav", "-n", *files, HOME=home)
        lines = shown.splitlines()
        assert '  metric: {"loss":1.0,"acc":0}' in lines
        assert any("ERROR    train" in line and "it failed" in line for line in lines)

    def test_sql(self, folder: Path, home: str) -> None:
        sql = ";select log_level, logger, log_body from mlog_log where logger='train'"
        show = ("-c", sql, "-c", ":write-jsonlines-to -")
        shown = output("lnav", "-n", *show, str(folder / "logs.jsonl"), HOME=home)
        found = [json.loads(line) for line in shown.splitlines()]
        assert [each["log_level"] for each in found] == ["info", "error"]

    def test_events(self, folder: Path, home: str) -> None:
        shown = output("lnav", "-n", str(folder / "events.jsonl"), HOME=home)
        assert "writer.start" in shown


def test_hl(folder: Path) -> None:
    shown = output("hl", "-P", "--color", "never", str(folder / "logs.jsonl"))
    assert "it failed" in shown


def read_whole(path: Path) -> Any:
    """Return what is there up to the last newline, for a reader that wants whole lines."""
    import io

    return io.BytesIO(path.read_bytes().rpartition(b"\n")[0] + b"\n")


def test_pandas(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    whole = read_whole(folder / "metrics.jsonl")
    frame = pandas.read_json(whole, lines=True)
    times = pandas.to_datetime(frame["ts"])
    wide = pandas.json_normalize(frame["metric"].dropna().tolist())
    assert wide["loss"].tolist()[:2] == [1.0, 0.5]
    assert times.dt.tz is not None


def test_polars(folder: Path) -> None:
    polars = pytest.importorskip("polars")
    metric = polars.Struct({"loss": polars.String, "acc": polars.Float64})
    schema = {"ts": polars.String, "step": polars.Int64, "metric": metric}
    frame = polars.read_ndjson(
        read_whole(folder / "metrics.jsonl"), schema=schema, ignore_errors=True
    )
    losses = frame.select(
        polars.col("metric").struct.field("loss").cast(polars.Float64, strict=False)
    )
    assert losses["loss"].to_list()[:2] == [1.0, 0.5]


def test_duckdb(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    columns = "{ts: 'TIMESTAMPTZ', step: 'BIGINT', metric: 'MAP(VARCHAR, DOUBLE)'}"
    found = duckdb.sql(
        f"""select step, metric['loss'] from read_json('{folder}/metrics*.jsonl',
        format='newline_delimited', ignore_errors=true, columns={columns})
        where ts is not null and metric['loss'] is not null order by step"""
    ).fetchall()
    assert found[:3] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert len(found) == 4


def test_grep_and_tail(folder: Path) -> None:
    """Every line stands for itself."""
    shown = output("grep", "-c", '"loss"', str(folder / "metrics.jsonl"))
    assert shown.strip() == "4"
