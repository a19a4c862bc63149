"""Runs as tables of SQL."""

import builtins
import math
import os
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import orjson
import pytest

from mlog.reader.find import iter_runs
from mlog.reader.tables import (
    COLUMNS,
    MissingDuckDBError,
    QueryError,
    Tables,
    is_main,
    query,
    write_parquet,
)

Ask: TypeAlias = Callable[[str], list[tuple[Any, ...]]]

TS = "2026-11-23T18:27:00.123456Z"


def write(root: Path, run: str, name: str, *lines: dict[str, Any] | bytes) -> Path:
    """Write a segment; the lines are entries, or bytes as they are."""
    path = root / run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        for seq, line in enumerate(lines):
            entry = {"ts": TS, "seq": seq, **line} if isinstance(line, dict) else line
            file.write(entry if isinstance(entry, bytes) else orjson.dumps(entry))
            file.write(b"\n" * isinstance(line, dict))
    return path


def event(name: str, **data: Any) -> dict[str, Any]:
    return {"event": name, "data": data}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a run in each of two experiments."""
    write(
        tmp_path,
        "mnist/one",
        "events.jsonl",
        event("writer.start", format=1, attempt=1, host="node7"),
        event(
            "run.start",
            experiment="mnist",
            display_name="first",
            parent="/gone/mnist/zero",
            git={"commit": "abc"},
        ),
        event("run.params", lr=0.1, opt="adam", layers=[64, 32], on=True, none=None),
        event("run.tags", owner="me"),
        event(
            "run.end",
            status="Failed",
            error={"type": "ValueError", "msg": "no"},
            metrics={"loss": {"last": 0.25}, "acc": {"last": "NaN"}},
        ),
    )
    write(
        tmp_path,
        "mnist/one",
        "metrics.jsonl",
        {"level": "INFO", "logger": "train", "step": 1, "metric": {"loss": 0.5}},
        {"msg": "half way", "step": 2, "metric": {"loss": 0.25, "acc": 1}},
    )
    write(
        tmp_path,
        "mnist/one",
        "logs.jsonl",
        {"level": "INFO", "logger": "train", "msg": "begins", "file": "a.py"},
        {
            "level": "ERROR",
            "logger": "train.data",
            "msg": "broken",
            "line": 8,
            "exc": {"type": "ValueError", "msg": "no", "traceback": "…"},
            "extra": {"fold": 2},
        },
        {"level": "Level 15", "logger": "x", "msg": "odd"},
    )
    write(tmp_path, "ridge/two", "metrics.jsonl", {"metric": {"loss": 3}})
    return tmp_path


@pytest.fixture
def ask(root: Path) -> Ask:
    """Ask a query of all runs."""
    return lambda sql: list(Tables(list(iter_runs(root)), [root]).answer(sql).rows)


class TestTables:
    """What there is to ask."""

    def test_runs(self, ask: Ask) -> None:
        rows = ask("select * exclude (created, updated, ended, path) from runs")
        params = {"lr": "0.1", "opt": "adam", "layers": "[64,32]", "on": "true"}
        first = rows[0]
        names = [n for n in COLUMNS["runs"] if n not in _TIMES]
        found = dict(zip(names, first, strict=True))
        metric = found.pop("metric")
        assert (metric["loss"], math.isnan(metric["acc"])) == (0.25, True)
        assert found == {
            "experiment": "mnist",
            "run_id": "one",
            "name": "first",
            "status": "Failed",
            "duration": 0.0,
            "attempt": 1,
            "error": "ValueError: no",
            "host": "node7",
            "commit": "abc",
            "parent": "zero",
            "description": None,
            "param": {**params, "none": None},
            "tag": {"owner": "me"},
            "experiment_name": "mnist",
        }

    def test_times_are_utc_without_a_zone(self, ask: Ask) -> None:
        moment = datetime(2026, 11, 23, 18, 27, 0, 123456)
        sql = "select created, updated, ended from runs where run_id = 'one'"
        assert ask(sql) == [(moment, moment, moment)]
        assert ask("select distinct ts from metrics") == [(moment,)]
        assert ask("select current_setting('TimeZone')") == [("UTC",)]

    def test_params_as_text_and_as_numbers(self, ask: Ask) -> None:
        assert ask("select name, value, number from params order by name") == [
            ("layers", "[64,32]", None),
            ("lr", "0.1", 0.1),
            ("none", None, None),
            ("on", "true", None),
            ("opt", "adam", None),
        ]

    def test_tags(self, ask: Ask) -> None:
        assert ask("from tags") == [("mnist", "one", "owner", "me")]

    def test_metrics_have_a_row_for_each_number(self, ask: Ask) -> None:
        sql = "select run_id, name, value, step, seq, msg from metrics order by all"
        assert ask(sql) == [
            ("one", "acc", 1.0, 2, 1, "half way"),
            ("one", "loss", 0.25, 2, 1, "half way"),
            ("one", "loss", 0.5, 1, 0, None),
            ("two", "loss", 3.0, None, 0, None),
        ]

    def test_logs(self, ask: Ask) -> None:
        assert ask("select level, levelno, logger, msg, file, line from logs") == [
            ("INFO", 20, "train", "begins", "a.py", None),
            ("ERROR", 40, "train.data", "broken", None, 8),
            ("Level 15", 15, "x", "odd", None, None),
        ]
        sql = "select exc.type, extra->>'$.fold' from logs where levelno >= 30"
        assert ask(sql) == [("ValueError", "2")]

    def test_events(self, ask: Ask) -> None:
        sql = "select data->>'$.owner' from events where event = 'run.tags'"
        assert ask(sql) == [("me",)]

    def test_tables_join(self, ask: Ask) -> None:
        sql = """select runs.name, min(metrics.value) from runs
            join metrics using (experiment, run_id)
            join params using (experiment, run_id)
            where params.name = 'lr' and metrics.name = 'loss' group by all"""
        assert ask(sql) == [("first", 0.25)]

    @pytest.mark.parametrize("name", COLUMNS)
    def test_columns_are_the_same_where_there_is_no_file(
        self, root: Path, tmp_path: Path, name: str
    ) -> None:
        """And they are those that are told."""
        full = Tables(list(iter_runs(root))).answer(f"from {name}")
        empty = Tables([]).answer(f"from {name}")
        assert full.names == empty.names == list(COLUMNS[name])
        assert full.types == empty.types
        types = [kind.replace('"', "") for kind in full.types]
        assert types == list(COLUMNS[name].values())
        assert list(empty.rows) == []

    def test_times_with_a_zone_come_as_text(self, ask: Ask) -> None:
        sql = "select ts at time zone 'UTC' as t, 1 as t from metrics limit 1"
        assert ask(sql) == [("2026-11-23 18:27:00.123456+00", 1)]

    def test_a_relation_goes_on(self, root: Path) -> None:
        found = query("select name, value from metrics", root=root)
        assert found.filter("name = 'acc'").fetchall() == [("acc", 1.0)]


_TIMES = ("created", "updated", "ended", "path")


class TestFiles:
    """Whatever lies in a run's folder."""

    def test_who_wrote_it_is_in_the_name_of_the_file(
        self, root: Path, ask: Ask
    ) -> None:
        names = ["-r3", "-a2", "-r12-a3.1", "-node7-4711-a2", "-ab12", "-a2-ab12"]
        for place, name in enumerate(names):
            write(root, "x/y", f"metrics{name}.jsonl", {"metric": {"n": place}})
        write(root, "x/y", "metrics.jsonl", {"metric": {"n": 9}})
        sql = """select value::int, writer, rank, attempt from metrics
            where run_id = 'y' order by 1"""
        assert ask(sql) == [
            (0, "r3", 3, 1),
            (1, "a2", 0, 2),
            (2, "r12-a3", 12, 3),
            (3, "node7-4711-a2", None, 2),
            (4, "ab12", 0, 1),
            (5, "a2-ab12", 0, 2),
            (9, "", 0, 1),
        ]
        assert [is_main(n) for n in ("", "a2", "ab12", "a2-ab12")] == [True] * 4
        assert [is_main(n) for n in ("r3", "node7-4711", "r3-a2")] == [False] * 3

    def test_floats_that_json_has_not(self, root: Path, ask: Ask) -> None:
        metric = {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1 << 60}
        write(root, "x/y", "metrics.jsonl", {"metric": metric})
        rows = ask("select value from metrics where run_id = 'y' order by name")
        (nan,), *rest = rows
        assert math.isnan(nan)
        assert rest == [(math.inf,), (-math.inf,), (float(1 << 60),)]

    @pytest.mark.parametrize(
        "garbage",
        [
            b'{"ts":"2026-11-23T18:27:00.123456Z","seq":7,"metric":{"n":',
            b"garbage\n",
            b"\n",
            b"[1]\n3\nnull\n",
            b"\0" * 5000 + b"\n",
            b"\xff\xfe\n",
            b'{"seq":1,"metric":{"n":2}}\n',
            b'{"ts":"then","seq":1,"metric":{"n":2}}\n',
            b'{"ts":"2026-11-23T18:27:00Z","metric":[2]}\n',
            b'{"ts":"2026-11-23T18:27:00Z","metric":{"n":"text","m":null}}\n',
            b"x" * (17 << 20) + b"\n",
        ],
    )
    def test_what_is_no_entry_is_no_row(
        self, root: Path, ask: Ask, garbage: bytes
    ) -> None:
        lines: list[dict[str, Any] | bytes] = [{"metric": {"n": 1}}, garbage]
        if garbage.endswith(b"\n"):
            lines.append({"metric": {"n": 3}})
        write(root, "x/y", "metrics.jsonl", *lines)
        rows = ask("select value from metrics where run_id = 'y'")
        assert rows == [(1.0,), (3.0,)][: len(lines) - (len(lines) == 2)]

    def test_empty_files_have_no_rows(self, root: Path, ask: Ask) -> None:
        write(root, "x/y", "logs.jsonl")
        assert ask("select count(*) from logs where run_id = 'y'") == [(0,)]

    @pytest.mark.parametrize(
        "name", ["[a] *?", "it's", "new\nline", "year=2026", "ünï", "a\\b", "{x}", "**"]
    )
    def test_odd_names_of_folders(self, tmp_path: Path, name: str) -> None:
        root = tmp_path / name
        write(root, "exp/run 1", "metrics.jsonl", {"metric": {"n": 1}})
        write(tmp_path / "a ab", "exp/run 1", "metrics.jsonl", {"metric": {"n": 2}})
        answer = Tables(list(iter_runs(root)), [root]).answer("from metrics")
        assert [row[:4] for row in answer.rows] == [("exp", "run 1", "n", 1.0)]

    def test_a_root_behind_a_link(self, root: Path, tmp_path: Path) -> None:
        link = tmp_path / "link"
        link.symlink_to(root)
        answer = Tables(list(iter_runs(link)), [link]).answer("from metrics")
        assert len(list(answer.rows)) == 4

    def test_links_in_a_run_are_not_followed(self, root: Path, ask: Ask) -> None:
        target = write(root / "elsewhere", "a/b", "target", {"metric": {"n": 1}})
        (root / "mnist" / "one" / "metrics-r5.jsonl").symlink_to(target)
        assert ask("select count(*) from metrics where rank = 5") == [(0,)]

    def test_a_run_that_is_gone_is_counted(self, root: Path) -> None:
        tables = Tables([*iter_runs(root), root / "mnist" / "gone"])
        assert len(list(tables.answer("from metrics").rows)) == 4
        assert len(list(tables.answer("from runs").rows)) == 2
        assert tables.failed == 1
        assert "gone" in tables.reason

    def test_a_path_that_is_no_text_is_counted(self, root: Path) -> None:
        odd = root / os.fsdecode(b"\xff") / "z"
        write(root, os.fsdecode(b"\xff/z"), "metrics.jsonl", {"metric": {"n": 1}})
        tables = Tables([odd])
        assert list(tables.answer("from metrics").rows) == []
        assert tables.failed == 1
        assert "not UTF-8" in tables.reason
        assert [row[:2] for row in tables.answer("from runs").rows] == [("\ufffd", "z")]


class TestCost:
    """Only what the query is about is read."""

    @pytest.mark.parametrize(
        ("where", "files"),
        [
            ("run_id = 'r7'", 1),
            ("run_id in ('r7', 'r8') and experiment = 'e0'", 1),
            ("run_id like 'r1%' and value > 0", 11),
            ("experiment = 'e1'", 10),
            ("rank = 3", 1),
            ("attempt = 2", 1),
            ("experiment = 'none'", 0),
        ],
    )
    def test_files_of_other_runs_are_not_opened(
        self, tmp_path: Path, where: str, files: int
    ) -> None:
        for number in range(20):
            run = f"e{number % 2}/r{number}"
            write(tmp_path, run, "metrics.jsonl", {"metric": {"n": 1}})
        write(tmp_path, "e2/other", "metrics-r3.jsonl", {"metric": {"n": 1}})
        write(tmp_path, "e2/other", "metrics-r4-a2.jsonl", {"metric": {"n": 1}})
        runs = list(iter_runs(tmp_path))
        sql = f"explain analyze select max(value) from metrics where {where}"
        ((_, plan),) = Tables(runs).answer(sql).rows
        (opened,) = re.findall(r"Total Files Read: (\d+)", plan)
        assert int(opened) == files

    def test_what_is_not_mentioned_is_not_looked_at(self, root: Path) -> None:
        tables = Tables([root / "gone"])
        assert list(tables.answer("select 'runs' is not null and 1").rows) == [(True,)]
        assert tables.failed == 1  # mentioned, if only as a text
        tables = Tables([root / "gone"])
        assert list(tables.answer("select 1").rows) == [(1,)]
        assert tables.failed == 0

    def test_rows_come_as_they_are_asked_for(self) -> None:
        rows = Tables([]).answer("select range from range(1000000000000)").rows
        assert [next(rows), next(rows)] == [(0,), (1,)]


class TestSafety:
    """A query reads runs, and does nothing else."""

    @pytest.mark.parametrize(
        "sql",
        [
            "copy (select 1) to '{root}/mnist/x.csv'",
            "with x as (copy (select 1) to '{root}/x.csv') select 1",
            "explain analyze copy (select 1) to '{root}/x.csv'",
            "/* é */ explain analyze\nCoPy(select 1) to '{root}/x.csv'",
            "copy (pivot metrics on name using max(value)) to '{root}/x.csv'",
            "export database '{root}/x'",
            "attach '{root}/x.db'",
            "create table x as select 1",
            "install httpfs",
            "load httpfs",
            "set enable_external_access = true",
            "pragma enable_profiling",
            "call pragma_version()",
            "select 1; select 2",
            "",
            "-- nothing",
        ],
    )
    def test_what_is_no_query_is_refused(self, root: Path, ask: Ask, sql: str) -> None:
        before = sorted(root.rglob("*"))
        with pytest.raises(QueryError, match=r"only queries|one SQL query|Parser"):
            ask(sql.format(root=root))
        assert sorted(root.rglob("*")) == before

    @pytest.mark.parametrize(
        "source",
        [
            "read_text('/etc/hostname')",
            "read_csv('{root}/../secret.csv')",
            "'{root}/link.csv'",
            "glob('/*')",
            "'http://localhost:1/x.parquet'",
            "'https://localhost:1/x.json'",
        ],
    )
    def test_other_files_and_the_network_are_out_of_reach(
        self, root: Path, source: str
    ) -> None:
        runs = root / "runs"
        runs.mkdir()
        (root / "secret.csv").write_text("a\n1\n")
        (runs / "link.csv").symlink_to(root / "secret.csv")
        with pytest.raises(QueryError, match="Permission Error"):
            list(Tables([], [runs]).answer(f"from {source.format(root=runs)}").rows)

    def test_variables_of_the_program_are_no_tables(self) -> None:
        secret = [1]
        with pytest.raises(QueryError, match="secret does not exist"):
            Tables([]).answer("from secret")
        assert secret == [1]

    def test_artifacts_below_the_root_can_be_read(self, root: Path, ask: Ask) -> None:
        path = root / "mnist" / "one" / "artifacts" / "table.csv"
        path.parent.mkdir()
        path.write_text("a,b\n1,2\n")
        assert ask(f"select a + b from read_csv('{path}')") == [(3,)]

    def test_copy_may_be_a_name_or_a_text(self, ask: Ask) -> None:
        assert ask("select 'copy' as \"copy\" -- copy\n;") == [("copy",)]


class TestErrors:
    """What is wrong is told on one line, with the SQL below it where that is known."""

    @pytest.mark.parametrize(
        ("sql", "expected"),
        [
            ("slect 1", 'syntax error at or near "slect"'),
            ("select nme from runs", '"nme" not found'),
            ("from run", "The tables are runs, params, tags, metrics, logs, events."),
            ("from metric", 'Did you mean "metrics"? The tables are runs'),
            ("from nope", "nope does not exist! The tables are runs"),
            ("select 'x'::int", "Could not convert"),
            ("select value::int from metrics where 1 = 'x'", "Could not convert"),
            ("select error('a' || chr(10) || 'b')", "a b"),
            ("select ?", "parameters"),
        ],
    )
    def test_wrong_sql(self, ask: Ask, sql: str, expected: str) -> None:
        with pytest.raises(QueryError) as caught:
            ask(sql)
        message, *place = str(caught.value).split("\n")
        assert expected in message
        assert not place or (
            place[0] == f"LINE 1: {sql}" and set(place[1]) == {" ", "^"}
        )

    def test_without_duckdb(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = builtins.__import__

        def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "duckdb":
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.delitem(sys.modules, "duckdb", raising=False)
        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(
            MissingDuckDBError, match=r'pip install "mlog-runs\[query\]"'
        ):
            Tables([]).answer("select 1")


def test_parquet(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "it's.parquet"
    write_parquet(list(iter_runs(root)), "select name, value from metrics", path)
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(path).to_pydict()
    assert found["value"] == [0.5, 0.25, 1.0, 3.0]
    with pytest.raises(QueryError, match="gone"):
        write_parquet([root / "gone"], "from metrics", path)


def test_what_needs_more_memory_than_usual_is_written_too(tmp_path: Path) -> None:
    """A run of any length needs little; only rows that are very long need more."""
    entries = [{"step": n, "metric": {"loss": n}} for n in range(150)]
    write(tmp_path, "e/long", "metrics.jsonl", *entries)
    path = tmp_path / "found.parquet"
    sql = "select step, repeat(run_id || step, 200000) as text from metrics"
    write_parquet(list(iter_runs(tmp_path)), sql, path)
    found = duckdb.execute("select count(*) from read_parquet($1)", [str(path)])
    assert found.fetchall() == [(150,)]
