"""`mlog query` asks all runs by SQL."""

import csv
import io
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from click.testing import CliRunner, Result

from mlog.cli.query import command
from mlog.errors import MlogError, RunNotFoundError
from mlog.reader.tables import COLUMNS
from tests.cli.conftest import Child

Query: TypeAlias = Callable[..., Result]


def write(root: Path, run: str, stream: str, *entries: dict[str, Any]) -> None:
    """Write a segment as the format has it."""
    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{stream}.jsonl", "ab") as file:
        for seq, keys in enumerate(entries):
            ts = f"2026-11-23T18:27:{seq % 60:02}.000000Z"
            file.write(orjson.dumps({"ts": ts, "seq": seq, **keys}) + b"\n")


@pytest.fixture
def runs(run_dir: Path) -> Path:
    """A root with two runs."""
    for number, name in enumerate(("a1", "b2"), 1):
        write(
            run_dir,
            f"mnist/{name}",
            "events",
            {"event": "run.start", "data": {"display_name": f"trial {number}"}},
            {
                "event": "run.params",
                "data": {"lr": number / 10, "text": "a,b\n\x1b[2J"},
            },
        )
        points = [{"step": n, "metric": {"loss": number / (n + 1)}} for n in range(3)]
        write(run_dir, f"mnist/{name}", "metrics", *points, {"metric": {"acc": "NaN"}})
    return run_dir


@pytest.fixture
def query() -> Query:
    """Call the command; what it raises is what `mlog` prints as one line."""

    def call(*args: str, width: int = 100, **kwargs: Any) -> Result:
        return CliRunner().invoke(command, args, env={"COLUMNS": str(width)}, **kwargs)

    return call


class TestTable:
    """Rows for people."""

    def test_columns_are_aligned(self, query: Query, runs: Path) -> None:
        sql = """select runs.name, metrics.name as metric, step, value, ts
            from metrics join runs using (run_id) where metrics.value != 1 order by all"""
        shown = query(sql)
        assert shown.stdout == (
            "name     metric  step               value  ts\n"
            "trial 1  acc        –                 NaN  2026-11-23 18:27:03\n"
            "trial 1  loss       1                 0.5  2026-11-23 18:27:01\n"
            "trial 1  loss       2  0.3333333333333333  2026-11-23 18:27:02\n"
            "trial 2  acc        –                 NaN  2026-11-23 18:27:03\n"
            "trial 2  loss       0                 2.0  2026-11-23 18:27:00\n"
            "trial 2  loss       2  0.6666666666666666  2026-11-23 18:27:02\n"
        )
        assert (shown.stderr, shown.exit_code) == ("", 0)

    def test_control_characters_are_shown(self, query: Query, runs: Path) -> None:
        shown = query("select value as 'v\x1b' from params where name = 'text' limit 1")
        assert shown.stdout == "v\\x1b\na,b\\n\\x1b[2J\n"

    def test_all_kinds_of_values(self, query: Query, runs: Path) -> None:
        sql = """select true as a, [1, null] as b, {'x': 'NaN'::double} as c,
            1.50::decimal(9, 2) as d, 'a'::blob as e, null as f, date '2020-01-02' as g,
            map {1: 'é'} as h"""
        row = query(sql, width=300).stdout.splitlines()[1]
        expected = 'true [1,null] {"x":"NaN"} 1.50 61 – 2020-01-02 {"1":"é"}'
        assert row.split() == expected.split()

    def test_where_there_is_no_room_the_last_columns_go(
        self, query: Query, runs: Path
    ) -> None:
        shown = query("from metrics", width=60)
        head, *rows = shown.stdout.splitlines()
        assert head.split() == ["experiment", "run_id", "name", "value", "step"]
        assert all(len(row) <= 60 for row in rows)
        assert shown.stderr == (
            "mlog: no room for ts, rank, attempt, writer, seq, level, logger, msg; "
            "--json and --csv have all\n"
        )

    def test_long_texts_are_cut(self, query: Query, runs: Path) -> None:
        shown = query("select repeat('x', 100) as a, repeat('y', 20) as b", width=50)
        assert shown.stdout.splitlines()[1] == f"{'x' * 27}…  {'y' * 20}"
        sql = "select repeat('x', 1000000) as a"
        assert len(query(sql, width=1 << 20).stdout) < 400

    def test_of_many_rows_the_first_are_shown(self, query: Query, runs: Path) -> None:
        shown = query("select range from range(5000)")
        assert len(shown.stdout.splitlines()) == 1001
        assert shown.stderr == "mlog: the first 1,000 rows; --limit 0 shows all\n"
        assert query("from range(1000)").stderr == ""
        assert (
            len(query("from range(5000)", "--limit", "0").stdout.splitlines()) == 5001
        )
        shown = query("from range(5000)", "--limit", "2")
        assert (shown.stdout.split(), shown.stderr) == (["range", "0", "1"], "")

    def test_a_plan_is_shown_as_it_is(self, query: Query, runs: Path) -> None:
        shown = query("explain from runs").stdout
        assert len(shown.splitlines()) > 3
        assert "explain_value" not in shown

    def test_without_sql_the_columns_are_shown(self, query: Query) -> None:
        rows = [line.split(maxsplit=2) for line in query().stdout.splitlines()]
        assert rows[0] == ["table", "column", "type"]
        assert ["metrics", "value", "DOUBLE"] in rows
        assert len(rows) == 1 + sum(map(len, COLUMNS.values()))
        found = [json.loads(line) for line in query("--json").stdout.splitlines()]
        assert {f["table"]: f["columns"] for f in found} == COLUMNS


class TestForPrograms:
    """Rows for other programs: exact, and all of them."""

    def test_json(self, query: Query, runs: Path) -> None:
        sql = "select name, value, step from metrics where run_id = 'a1' order by seq"
        found = [json.loads(line) for line in query(sql, "--json").stdout.splitlines()]
        assert found == [
            {"name": "loss", "value": 1.0, "step": 0},
            {"name": "loss", "value": 0.5, "step": 1},
            {"name": "loss", "value": 1 / 3, "step": 2},
            {"name": "acc", "value": "NaN", "step": None},
        ]

    def test_values_in_json(self, query: Query, runs: Path) -> None:
        sql = """select true as a, [1, null, 'Infinity'::double] as b, 1.5::decimal as c,
            170141183460469231731687303715884105727 as d, '{"x": [1]}'::json as e,
            timestamp '2020-01-02 03:04:05.5' as f, 'a'::blob as g, 1 as a,
            timestamptz '2020-01-02 03:04:05+00' as h, interval 1 day as i, null as a"""
        assert json.loads(query(sql, "--json").stdout) == {
            "a": True,
            "b": [1, None, "Infinity"],
            "c": 1.5,
            "d": "170141183460469231731687303715884105727",
            "e": {"x": [1]},
            "f": "2020-01-02T03:04:05.500000",
            "g": "61",
            "a_1": 1,
            "h": "2020-01-02 03:04:05+00",
            "i": "1 day, 0:00:00",
            "a_2": None,
        }

    def test_csv(self, query: Query, runs: Path) -> None:
        sql = "select name, value, number from params where run_id = 'a1'"
        rows = list(csv.reader(io.StringIO(query(sql, "--csv").stdout)))
        assert rows == [
            ["name", "value", "number"],
            ["lr", "0.1", "0.1"],
            ["text", "a,b\n\x1b[2J", ""],
        ]

    def test_all_rows_come(self, query: Query, runs: Path) -> None:
        for option in ("--json", "--csv"):
            shown = query("from range(12345)", option)
            heading = option == "--csv"
            assert len(shown.stdout.splitlines()) == 12345 + heading
            assert shown.stderr == ""
            shown = query("from range(12345)", option, "--limit", "3")
            assert len(shown.stdout.splitlines()) == 3 + heading

    def test_sql_from_standard_input(self, query: Query, runs: Path) -> None:
        assert query("-", "--csv", input="select 'é' as a;\n").stdout == "a\né\n"


class TestNothing:
    """What is said when there is nothing to show."""

    @pytest.mark.parametrize("options", [(), ("--json",), ("--csv",)])
    def test_no_rows(self, query: Query, runs: Path, options: tuple[str, ...]) -> None:
        shown = query("from runs where name = 'x'", *options)
        assert shown.exit_code == 1
        assert isinstance(shown.exception, MlogError)
        assert str(shown.exception) == "no rows"
        heading = "experiment,run_id" if "--csv" in options else ""
        assert shown.stdout[:17] == heading

    def test_no_runs(self, query: Query, tmp_path: Path) -> None:
        shown = query("from runs", "--dir", str(tmp_path))
        assert isinstance(shown.exception, RunNotFoundError)
        assert "start one with" in str(shown.exception)
        assert query("from runs", "--dir", str(tmp_path / "none")).exit_code == 1

    def test_a_root_that_is_no_folder(self, query: Query, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        shown = query("from runs", "--dir", str(tmp_path / "file"))
        assert isinstance(shown.exception, NotADirectoryError)

    def test_another_root(self, query: Query, runs: Path, tmp_path: Path) -> None:
        write(tmp_path / "other", "x/y", "metrics", {"metric": {"n": 1}})
        shown = query("select run_id from runs", "--dir", str(tmp_path / "other"))
        assert shown.stdout == "run_id\ny\n"

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("select 'a\x1b'::int", "mlog: Conversion Error: Could not convert string"),
            ("delete from runs", "mlog: only queries are run, like SELECT"),
            ("from metricx", "mlog: Catalog Error: Table with name metricx does not"),
            ("", "mlog: one SQL query is expected, got nothing\n"),
            ("select value::varchar::int from metrics", "mlog: Conversion Error"),
        ],
    )
    def test_wrong_sql_is_a_wrong_call(
        self, query: Query, runs: Path, sql: str, message: str
    ) -> None:
        shown = query(sql)
        assert shown.exit_code == 2
        assert shown.stderr.startswith(message)
        assert "\x1b" not in shown.stderr

    def test_wrong_sql_is_shown_with_its_place_marked(
        self, query: Query, runs: Path
    ) -> None:
        shown = query("select *\nfrm runs")
        first, line, mark = shown.stderr.splitlines()
        assert first == 'mlog: Parser Error: syntax error at or near "runs"'
        assert line == "LINE 2: frm runs"
        assert mark.index("^") == line.index("runs")

    @pytest.mark.parametrize(
        "args", [("--json", "--csv"), ("--limit", "-1"), ("--limit", "x"), ("1", "2")]
    )
    def test_wrong_calls(self, query: Query, runs: Path, args: tuple[str, ...]) -> None:
        assert query("select 1", *args).exit_code == 2

    def test_runs_that_cannot_be_read_are_counted(
        self, query: Query, runs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        access = os.access
        monkeypatch.setattr(
            os, "access", lambda p, mode: "b2" not in str(p) and access(p, mode)
        )
        shown = query("select count(*) as n from metrics")
        assert shown.stdout == "n\n4\n"
        assert shown.stderr.startswith("mlog: 1 run could not be read: ")

    def test_help_has_examples(self, query: Query) -> None:
        shown = query("--help", width=80).stdout
        assert "Examples:\n    mlog query" in shown
        assert all(len(line) <= 88 for line in shown.splitlines())


_CALL = """
import signal, sys
from mlog.cli.query import command
from mlog.reader import tables
def told(*args, wait=tables._wait):
    print("on", flush=True)
    return wait(*args)
tables._wait = told
signal.signal(signal.SIGINT, signal.default_int_handler)
command(sys.argv[1:])
"""
_LONG = """select count(*) from range(10000000) a, range(10000000) b
    where a.range % 7 = b.range % 5"""


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_ctrl_c_ends_a_query(start: Child, runs: Path) -> None:
    """DuckDB alone would go on."""
    child = start("-c", _CALL, _LONG)
    assert child.stdout is not None
    assert child.stdout.readline() == b"on\n"
    while child.poll() is None:  # the first may come before DuckDB has begun
        child.send_signal(signal.SIGINT)
        try:
            child.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    assert child.returncode != 0
