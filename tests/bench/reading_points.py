"""The million points: from their lines, from the cache, of many ranks, and by SQL."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import orjson

import mlog
from mlog.reader.metrics import read_metrics
from mlog.reader.series import read_histories
from mlog.reader.tables import Tables
from tests.bench.reading_table import Setting, Table, peak_megabytes, timed

Lines: TypeAlias = Iterator[tuple[int, dict[str, float]]]

_NAMES = [f"train/metric_{i}" for i in range(10)]
_TYPED = """select count(*), sum(v) from (select unnest(map_values(metric)) as v
    from read_json('{}', format = 'newline_delimited', compression = 'uncompressed',
    columns = {{ts: 'TIMESTAMP', seq: 'BIGINT', step: 'BIGINT',
                metric: 'MAP(VARCHAR, DOUBLE)'}}))"""


def wide(steps: int) -> Lines:
    """Ten names per line."""
    rng = random.Random(7)
    for step in range(steps):
        yield step, {name: rng.random() * 3 for name in _NAMES}


def turns(steps: int) -> Lines:
    """One name per line, ten in turns."""
    for step, metrics in wide(steps):
        for name, value in metrics.items():
            yield step, {name: value}


def one(steps: int) -> Lines:
    """One name, ten times as often."""
    rng = random.Random(7)
    for step in range(steps * 10):
        yield step, {"loss": rng.random() * 3}


CASES: dict[str, Callable[[int], Lines]] = {
    "10 names a line": wide,
    "1 name a line, 10 in turns": turns,
    "1 name a line": one,
}


def written(root: Path, lines: Lines) -> Path:
    """Write a run."""
    with mlog.start_run("bench", dir=root, fsync_interval=None) as run:
        for step, metrics in lines:
            run.log_metrics(metrics, step=step)
    assert run.path is not None
    return run.path


def loop(path: Path) -> None:
    """Parse each line and keep nothing."""
    loads = orjson.loads
    with open(path, "rb") as file:
        for line in file:
            loads(line)


def kept(path: Path) -> list[Any]:
    """Parse each line and keep the values, whatever their names are."""
    loads = orjson.loads
    values: list[Any] = []
    with open(path, "rb") as file:
        for line in file:
            values += loads(line)["metric"].values()
    return values


def typed(path: Path) -> object:
    """Let DuckDB unnest all points, and sum them up."""
    return duckdb.execute(_TYPED.format(path)).fetchall()


def measure_metrics(setting: Setting, table: Table) -> None:
    """All points of a run, at first and again."""
    steps = setting.number(100_000, 2_000)
    for title, lines in CASES.items():
        root = setting.root / "metrics"
        run = written(root, lines(steps))
        path = run / "metrics.jsonl"

        def cold(
            read: Callable[[Path], Any], root: Path = root, run: Path = run
        ) -> Callable[[], Any]:
            def call() -> Any:
                shutil.rmtree(root / ".cache", ignore_errors=True)
                return read(run)

            return call

        found = timed(
            setting.repetitions,
            {
                "loop": lambda path=path: loop(path),  # type: ignore[misc]
                "kept": lambda path=path: kept(path),  # type: ignore[misc]
                "duckdb": lambda path=path: typed(path),  # type: ignore[misc]
                "histories, cold": cold(read_histories),
                "histories, cached": lambda run=run: read_histories(run),  # type: ignore[misc]
                "get_metrics, cached": lambda run=run: read_metrics(run),  # type: ignore[misc]
                "get_metrics, cold": cold(_first_metrics),
            },
        )
        table.head(f"{steps * 10:,} points, {title}, {path.stat().st_size:,} bytes")
        table.row("loop", found["loop"])
        table.row("kept", found["kept"], of="loop")
        table.row("duckdb", found["duckdb"], of="loop")
        table.row("histories, cold", found["histories, cold"], of="loop", aim=1.3)
        table.row("histories, cold ", found["histories, cold"], of="duckdb", aim=2.5)
        table.row("histories, cached", found["histories, cached"], aim=30)
        table.row("get_metrics, cold", found["get_metrics, cold"], of="loop", aim=1.3)
        table.row("get_metrics, cached", found["get_metrics, cached"], aim=30)
        shutil.rmtree(root)


def _first_metrics(run: Path) -> Any:
    """Read as a program does that asks once."""
    from mlog.reader import kept_columns

    kept_columns._read_before.clear()
    return read_metrics(run)


def measure_ranks(setting: Setting, table: Table) -> None:
    """64 ranks of one run."""
    ranks, steps = setting.number(64, 4), setting.number(2_000, 50)
    run = written(setting.root / "ranks", wide(steps))
    lines = (run / "metrics.jsonl").read_bytes()
    for rank in range(1, ranks):
        start = {
            "ts": "2026-11-23T18:27:00.123456Z",
            "seq": 0,
            "event": "writer.start",
            "data": {"rank": rank, "world_size": ranks, "attempt": 1},
        }
        (run / f"events-r{rank}.jsonl").write_bytes(orjson.dumps(start) + b"\n")
        (run / f"metrics-r{rank}.jsonl").write_bytes(lines)
    parts = sorted(run.glob("metrics*.jsonl"))
    found = timed(
        setting.repetitions,
        {
            "loop": lambda: list(map(loop, parts)),
            "histories of rank 0": lambda: read_histories(run),
            "histories of all": lambda: read_histories(run, rank="all"),
        },
    )
    table.head(f"{ranks} ranks, {ranks * steps * 10:,} points")
    table.row("loop", found["loop"])
    table.row("histories of rank 0", found["histories of rank 0"], of="loop")
    table.row("histories of all", found["histories of all"], of="loop")


def measure_query(setting: Setting, table: Table) -> None:
    """SQL that needs one run of many, and SQL that needs all."""
    count, steps = setting.number(100, 3), setting.number(10_000, 100)
    root = setting.root / "query"
    run = written(root, wide(steps))
    folders = [run]
    for i in range(count - 1):
        folders.append(run.parent / f"20260101-000000-{i:06x}")
        shutil.copytree(run, folders[-1])
    sql = "select count(*), max(value) from metrics"
    one_run = f"{sql} where run_id = '{run.name}'"

    def ask(text: str) -> list[Any]:
        return list(Tables(folders, [root]).answer(text).rows)

    found = timed(
        setting.repetitions,
        {
            "one": lambda: list(Tables([run], [root]).answer(sql).rows),
            "of many": lambda: ask(one_run),
            "all": lambda: ask(sql),
        },
    )
    table.head(f"{count:,} runs, {count * steps * 10:,} points")
    table.row("a root with that run alone", found["one"])
    table.row("where run_id = …", found["of many"], of="a root with that run alone")
    table.row("all runs", found["all"], of="a root with that run alone")
    peak = peak_megabytes("query", one_run, "--dir", str(root))
    table.row("memory, where run_id = …", peak, unit="MB", aim=200)
    shutil.rmtree(root)
