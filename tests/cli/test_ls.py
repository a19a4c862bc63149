"""`mlog ls` lists the runs of a root."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from click.testing import CliRunner, Result

from mlog.cli.ls import command
from mlog.cli.table import Column, fit, fitted, pad, table_lines, width_of
from mlog.errors import MlogError, RunNotFoundError
from mlog.widths import text_width
from tests.cli.conftest import Child

Ls: TypeAlias = Callable[..., Result]
Make: TypeAlias = Callable[..., "Made"]


class Made:
    """A run as the format has it, begun at a minute of a day in 2020."""

    def __init__(self, root: Path, minute: int, experiment: str, run_id: str) -> None:
        self.id = run_id or f"20200501-12{minute:02}00-{minute:06x}"
        self.folder = root / experiment / self.id
        self.folder.mkdir(parents=True)
        self._minute = minute
        self._seq = 0

    def entry(self, stream: str, second: int = 0, **keys: Any) -> "Made":
        ts = f"2020-05-01T12:{self._minute:02}:{second:02}.000000Z"
        line = orjson.dumps({"ts": ts, "seq": self._seq, **keys})
        self._seq += 1
        with open(self.folder / f"{stream}.jsonl", "ab") as file:
            file.write(line + b"\n")
        return self

    def event(self, name: str, second: int = 0, /, **data: Any) -> "Made":
        return self.entry("events", second, event=name, data=data)

    def log(self, level: str, msg: str, **keys: Any) -> "Made":
        return self.entry("logs", level=level, logger="train", msg=msg, **keys)

    def metric(self, step: int | None, **metric: Any) -> "Made":
        at = {} if step is None else {"step": step}
        return self.entry("metrics", level="INFO", logger="train", **at, metric=metric)

    def end(self, status: str = "Completed", /, **last: Any) -> "Made":
        metrics = {
            name: {"last": value, "min": value, "max": value, "count": 1}
            if not isinstance(value, dict)
            else value
            for name, value in last.items()
        }
        return self.event("run.end", 30, status=status, metrics=metrics)


@pytest.fixture
def make(run_dir: Path) -> Make:
    """Make a run that has begun."""

    def begin(
        minute: int, name: str = "", experiment: str = "mnist", run_id: str = ""
    ) -> Made:
        made = Made(run_dir, minute, experiment, run_id)
        made.event("writer.start", format=1, attempt=1, host="node7")
        return made.event("run.start", experiment=experiment, display_name=name)

    return begin


@pytest.fixture
def ls() -> Ls:
    """Call the command; what it raises is what `mlog` prints as one line."""

    def call(*args: str, width: int = 100) -> Result:
        return CliRunner().invoke(command, args, env={"COLUMNS": str(width)})

    return call


def ids(result: Result) -> list[str]:
    """Return the first column of a table, without its heading."""
    assert result.exception is None, result.output
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


def minutes(result: Result) -> list[int]:
    return [int(short, 16) for short in ids(result)]


def told(result: Result) -> str:
    """Return what a call that found nothing says, on one line."""
    assert isinstance(result.exception, MlogError)
    assert result.stdout == ""
    assert "\n" not in str(result.exception)
    return str(result.exception)


class TestTable:
    """A line for each run, the newest first."""

    def test_the_usual_table(self, ls: Ls, make: Make) -> None:
        make(1, "first").metric(41, loss=0.25).end(loss=0.25, acc=0.5)
        make(2, experiment="ridge").end("Failed", loss="NaN", lr_now=1e-7)
        make(3, "no word since")
        shown = ls()
        assert re.sub(r"\d,\d\d\d d", "9,999 d", shown.stdout) == (
            "id      name           experiment  status               age  duration"
            "  step  loss  lr_now  acc\n"
            "000003  no word since  mnist       ? NotResponding  9,999 d     0.0 s\n"
            "000002                 ridge       ✕ Failed         9,999 d    30.0 s"
            "         NaN    1e-7\n"
            "000001  first          mnist       ✓ Completed      9,999 d    30.0 s"
            "    41  0.25          0.5\n"
        )
        assert (shown.stderr, shown.exit_code) == ("", 0)

    def test_a_single_run(self, ls: Ls, make: Make) -> None:
        make(1).end()
        assert minutes(ls()) == [1]

    def test_newest_is_what_was_created_last_whatever_its_id(
        self, ls: Ls, make: Make
    ) -> None:
        make(2, run_id="my-own-id").end()
        make(1).end()
        make(3).end()
        assert ids(ls()) == ["000003", "my-own-id", "000001"]
        assert ids(ls("-n", "2")) == ["000003", "my-own-id"]
        assert ids(ls("-n", "1")) == ["000003"]

    def test_of_many_the_newest_are_shown_and_the_rest_is_counted(
        self, ls: Ls, make: Make
    ) -> None:
        for minute in range(60):
            make(minute).end()
        shown = ls()
        assert minutes(shown) == list(range(59, 9, -1))
        assert shown.stderr == "mlog: 50 of 60 runs; -n 0 shows all\n"
        assert minutes(ls("-n", "0")) == list(range(59, -1, -1))
        assert ls("-n", "2").stderr == ""
        assert len(ls("--json").stdout.splitlines()) == 60

    def test_old_runs_are_not_even_opened(self, ls: Ls, make: Make) -> None:
        """The id says when a run was created: so long lists begin at once."""
        make(59, run_id="20200501-120100-aaaaaa").end()
        make(2).end()
        assert minutes(ls("-n", "1")) == [2]
        assert ids(ls("-n", "0")) == ["aaaaaa", "000002"]

    def test_short_ids_that_are_not_unique_are_whole(self, ls: Ls, make: Make) -> None:
        make(1, run_id="20200501-120100-aaaaaa").end()
        make(2, run_id="20200501-120200-aaaaaa", experiment="ridge").end()
        expected = ["20200501-120200-aaaaaa", "20200501-120100-aaaaaa"]
        assert ids(ls()) == expected
        assert ids(ls("mnist")) == expected[1:]

    def test_three_metrics_that_most_runs_have(self, ls: Ls, make: Make) -> None:
        make(1).end(a=1, b=2, c=3, d=4)
        make(2).end(c=30, d=40)
        assert ls().stdout.splitlines()[0].split()[-3:] == ["c", "d", "a"]

    def test_an_experiment(self, ls: Ls, make: Make) -> None:
        make(1).end()
        make(2, experiment="ridge").end()
        shown = ls("ridge")
        assert minutes(shown) == [2]
        assert "experiment" not in shown.stdout

    def test_the_last_step_is_that_of_the_last_entry_with_one(
        self, ls: Ls, make: Make
    ) -> None:
        made = make(1).metric(7, loss=1).metric(None, loss=2)
        with open(made.folder / "metrics.jsonl", "ab") as file:
            file.write(b'not an entry\n{"ts":"2020-05-01T12:00:00Z","seq":9,"step":99')
        assert json.loads(ls("--json").stdout)["step"] == 7


class TestChoosing:
    """Which runs, in which order, with which columns."""

    @pytest.fixture(autouse=True)
    def runs(self, make: Make) -> None:
        for minute, mse, lr in ((1, 30.0, 0.1), (2, "NaN", 0.2), (3, 20.0, 0.05)):
            made = make(minute, f"trial {minute}")
            made.event("run.params", lr=lr, opt="adam", layers=[64, 64])
            made.event("run.tags", owner="me" if minute > 1 else "you")
            made.end(mse={"last": mse, "min": minute, "max": 99.5, "count": 1_200})
        make(4)

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("mse", [3, 1, 2, 4]),
            ("-mse", [1, 3, 2, 4]),
            ("metric.mse.min", [1, 2, 3, 4]),
            ("-mse.min", [3, 2, 1, 4]),
            ("created", [1, 2, 3, 4]),
            ("-created", [4, 3, 2, 1]),
            ("age", [4, 3, 2, 1]),
            ("param.lr", [3, 1, 2, 4]),
            ("-lr", [2, 1, 3, 4]),
            ("tag.owner", [3, 2, 1, 4]),
            ("-owner", [1, 3, 2, 4]),
            ("-layers", [3, 2, 1, 4]),
            ("name", [4, 1, 2, 3]),
            ("status", [3, 2, 1, 4]),
            ("-duration", [3, 2, 1, 4]),
        ],
    )
    def test_sorting(self, ls: Ls, sort: str, expected: list[int]) -> None:
        """NaN and what is not there come last; of equals the newest is first."""
        assert minutes(ls("--sort", sort)) == expected

    def test_the_best_ones(self, ls: Ls) -> None:
        shown = ls("--sort", "mse", "-n", "1")
        assert minutes(shown) == [3]
        assert shown.stderr == ""

    def test_what_is_sorted_by_is_shown(self, ls: Ls) -> None:
        head = ls("--sort", "-param.lr").stdout.splitlines()[0]
        assert head.split()[-2:] == ["param.lr", "mse"]
        assert ls("--sort", "mse").stdout.splitlines()[0].count("mse") == 1

    def test_a_filter(self, ls: Ls) -> None:
        shown = ls("--filter", "metric.mse < 99 and tag.owner = me")
        assert minutes(shown) == [3]
        assert minutes(ls("--filter", "status=Completed", "--sort", "lr")) == [3, 1, 2]

    def test_columns(self, ls: Ls) -> None:
        columns = "mse.max,mse.count,param.opt,tag.owner,layers"
        shown = ls("--columns", columns, "--columns", "host,attempt", width=140)
        head, _, third, *_ = shown.stdout.splitlines()
        titles = ["mse.max", "mse.count", "param.opt", "tag.owner", "layers"]
        assert head.split()[-7:] == [*titles, "host", "attempt"]
        values = ["99.5", "1,200", "adam", "me", "[64,64]", "node7", "1"]
        assert third.split()[-7:] == values

    def test_numbers_stand_below_each_others_ends(self, ls: Ls) -> None:
        lines = ls("--columns", "param.lr,tag.owner").stdout.splitlines()
        ends = {line.index(lr) + len(lr) for line, lr in zip(
            lines[2:], ("0.05", "0.2", "0.1"), strict=True
        )}  # fmt: skip
        assert ends == {lines[0].index("param.lr") + len("param.lr")}

    def test_a_name_with_a_comma_is_quoted(self, ls: Ls, make: Make) -> None:
        make(5).end(**{"loss, val": 0.125})
        assert "0.125" in ls("--columns", 'metric."loss, val",tag.owner').stdout
        assert "0.125" in ls("--columns", '"loss, val".max').stdout

    def test_a_column_that_no_run_has_is_told(self, ls: Ls) -> None:
        shown = ls("--columns", "ownr,mse")
        assert len(minutes(shown)) == 4
        text = "mlog: no run here has 'ownr'; did you mean owner?\n"
        assert shown.stderr == text

    def test_sorting_by_what_no_run_has_fails(self, ls: Ls) -> None:
        expected = "cannot sort: no run here has 'metric.mes'; did you mean mse?"
        assert told(ls("--sort", "metric.mes")) == expected


class TestOnDemand:
    """What needs whole files is only read when it is asked for."""

    def test_warnings_and_errors(self, ls: Ls, make: Make) -> None:
        made = make(1).log("INFO", "x").log("WARNING", "x").log("WARNING", "x")
        made.log("ERROR", "x").log("CRITICAL", "x")
        made.log("INFO", '"level":"ERROR"', extra={"a": "b", "level": "ERROR"}).end()
        (made.folder / "logs-r1.jsonl").write_bytes(
            b'{"ts":"2020-05-01T12:00:00Z","seq":1,"level":"ERROR","msg":"'
            + b"x" * 3_000_000
            + b'"}\n{"ts":"2020-05-01T12:00:00Z","seq":2,"level":"WARNING"}\n'
            b'{"ts":"2020-05-01T12:00:00Z","seq":3,"level":"ERROR"'
        )
        assert "errors" not in ls().stdout
        head, row = ls("--counts").stdout.splitlines()
        assert head.endswith("warnings  errors")
        assert row.split()[-2:] == ["3", "2"]
        shown = json.loads(ls("--counts", "--json").stdout)
        assert (shown["warnings"], shown["errors"]) == (3, 2)

    def test_a_curve(self, ls: Ls, make: Make) -> None:
        made = make(1)
        for step in range(8):
            made.metric(step, loss=float(step))
        made.end(loss=7.0)
        make(2).entry("metrics", value={"loss": "text"}).end()
        shown = ls("--spark", "loss")
        assert shown.stdout.splitlines()[2].endswith("  ▁▂▃▄▅▆▇█")
        found = [json.loads(x)["spark"] for x in ls("--spark", "loss", "--json").stdout.splitlines()]  # fmt: skip
        assert found == ["", "▁▂▃▄▅▆▇█"]

    def test_a_curve_of_nothing_is_told(self, ls: Ls, make: Make) -> None:
        make(1).end(loss=1)
        assert "did you mean loss?" in ls("--spark", "los").stderr


class TestJson:
    """An object a line, with all that may be of use."""

    def test_a_run(self, ls: Ls, make: Make) -> None:
        made = make(1, "first").event("run.params", lr=0.1)
        made.event("run.tags", owner="me").metric(3, mse=2.5).end(mse=2.5)
        shown = ls("--json").stdout
        assert shown.count("\n") == 1
        assert json.loads(shown) == {
            "run": made.id,
            "experiment": "mnist",
            "name": "first",
            "status": "Completed",
            "created": "2020-05-01T12:01:00.000000Z",
            "updated": "2020-05-01T12:01:30.000000Z",
            "ended": "2020-05-01T12:01:30.000000Z",
            "duration": 30.0,
            "attempt": 1,
            "step": 3,
            "host": "node7",
            "parent": None,
            "params": {"lr": 0.1},
            "tags": {"owner": "me"},
            "properties": {},
            "metrics": {"mse": {"last": 2.5, "min": 2.5, "max": 2.5, "count": 1}},
            "path": str(made.folder),
        }

    def test_nothing_that_a_folder_is_called_breaks_it(
        self, ls: Ls, run_dir: Path
    ) -> None:
        folder = run_dir / os.fsdecode(b"exp\xff") / os.fsdecode(b"a\nb\xfe")
        folder.mkdir(parents=True)
        (folder / "run.json").touch()
        assert json.loads(ls("--json").stdout)["run"] == "a\nb\ufffd"
        assert len(ls().stdout.splitlines()) == 2


class TestWidth:
    """Lines fit the terminal, and what has no room is told."""

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
    def test_no_line_is_longer(self, ls: Ls, make: Make, width: int) -> None:
        for minute in range(3):
            made = make(
                minute, "a rather long name, 日本語も長い", f"experiment-{minute}"
            )
            made.event("run.params", note="words " * 30)
            made.end(**{f"{'deep/' * 9}loss{n}": 1e5 / 3 for n in range(3)})
        for args in ((), ("--columns", "note,deep/loss,host"), ("--counts",)):
            lines = ls(*args, width=width).stdout.splitlines()
            assert len(lines) == 4
            assert all(text_width(line) <= width for line in lines)

    def test_columns_that_were_asked_for_stay_longest(self, ls: Ls, make: Make) -> None:
        make(1, "first").metric(3, mse=1).event("run.params", lr=0.1).end(mse=1)
        shown = ls("--columns", "lr,mse", width=42)
        assert shown.stdout.splitlines()[0].split()[-2:] == ["lr", "mse"]
        expected = "mlog: no room for step, duration, age; --json has everything\n"
        assert shown.stderr == expected

    def test_a_wide_character_takes_two_columns(self, ls: Ls, make: Make) -> None:
        make(1, "日本語").end()
        make(2, "e\u0301te").end()
        _, second, first = ls().stdout.splitlines()
        assert text_width(first[: first.index("✓")]) == text_width(
            second[: second.index("✓")]
        )


class TestTrouble:
    """One line says what is wrong and what to type next."""

    def test_no_runs_yet(self, ls: Ls, run_dir: Path) -> None:
        assert told(ls()) == (
            f"no runs yet in {run_dir}: start one with `mlog.start_run()` in a script, "
            "or name another folder with --dir"
        )

    def test_no_such_experiment(self, ls: Ls, make: Make, run_dir: Path) -> None:
        make(1)
        make(2, experiment="ridge")
        result = ls("mnits")
        assert isinstance(result.exception, RunNotFoundError)
        expected = f"no experiment 'mnits' in {run_dir}; did you mean mnist?"
        assert told(result) == expected
        result = ls("other")
        expected = f"no experiment 'other' in {run_dir}; there are mnist, ridge"
        assert told(result) == expected

    def test_no_run_fits(self, ls: Ls, make: Make) -> None:
        make(1)
        make(2)
        result = ls("--filter", "status=Failed", "--json")
        assert told(result) == "no run fits the filter; there are 2 in all"
        assert result.exit_code == 1

    def test_a_root_that_is_no_folder(self, ls: Ls, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        result = ls("--dir", str(tmp_path / "file"))
        assert isinstance(result.exception, NotADirectoryError)

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may all")
    def test_a_run_that_may_not_be_read(self, ls: Ls, make: Make) -> None:
        make(1).folder.chmod(0)
        make(2)
        assert minutes(ls()) == [2]

    def test_a_wrong_filter_is_code_2_and_points_at_the_mistake(self, ls: Ls) -> None:
        result = ls("--filter", "metric.mse <")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.endswith("\n  metric.mse <\n              ^\n")

    @pytest.mark.parametrize(
        "args", [["-n", "-1"], ["a", "b"], ["--sort"], ["--dir", "~nobody-so/runs"]]
    )
    def test_a_wrong_call_is_code_2(self, ls: Ls, args: list[str]) -> None:
        result = ls(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr

    def test_what_was_logged_cannot_act_on_the_screen(self, ls: Ls, make: Make) -> None:
        bad = "a\x1b[2Jb\nc\u202ed"
        made = make(1, bad).event("run.params", **{bad: bad}).end(bad, **{bad: 1})
        made.metric(1, **{bad: 1})
        (made.folder.parent / "b").mkdir()
        shown = ls("--columns", f"param.{bad},x{bad}", "--spark", f"y{bad}")
        assert len(shown.stdout.splitlines()) == 2
        for text in (*shown.stdout.splitlines(), *shown.stderr.splitlines()):
            assert text.isprintable()

    def test_damaged_files_are_runs_too(self, ls: Ls, make: Make) -> None:
        made = make(1)
        odd = {"loss": {"last": {"a": []}, "count": "x"}, "acc": 7, "b": {"last": None}}
        made.event("run.end", status="?" * 999, metrics=odd)
        made.entry("metrics", step="x")
        with open(made.folder / "metrics.jsonl", "ab") as file:
            file.write(b"\xff\0garbage\n[]\n7\n")
        for args in ((), ("--sort", "loss"), ("--counts", "--spark", "loss")):
            assert minutes(ls(*args)) == [1]

    def test_a_log_that_may_not_be_read_is_told_of(
        self, ls: Ls, make: Make, tmp_path: Path
    ) -> None:
        """As a link, which is not followed; the other runs are listed, and this one."""
        (tmp_path / "elsewhere").touch()
        (make(1).folder / "logs.jsonl").symlink_to(tmp_path / "elsewhere")
        make(2)
        shown = ls("--counts")
        assert minutes(shown) == [2, 1]
        assert "mlog: not counted: " in shown.stderr
        lines = map(json.loads, ls("--counts", "--json").stdout.splitlines())
        assert [line["errors"] for line in lines] == [0, None]

    def test_help_has_examples(self, ls: Ls) -> None:
        assert "\n    mlog ls" in ls("--help").stdout.partition("Examples:\n")[2]


class TestCells:
    """Texts of cells, and the table that they are put into."""

    @pytest.mark.parametrize(
        ("text", "width", "fitting"),
        [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
            ("abc", 1, "…"),
            ("abc", 0, ""),
        ],
    )
    def test_fit(self, text: str, width: int, fitting: str) -> None:
        assert fit(text, width) == fitting

    def test_pad(self) -> None:
        assert pad("日", 4) == "日  "
        assert pad("日", 4, is_right=True) == "  日"

    def test_the_widest_text_gives_way_first(self) -> None:
        columns = [Column("a", ["x" * 9]), Column("b", ["y" * 30], least=4)]
        assert fitted(columns, 21) == (columns, [])
        lines = list(table_lines(columns, 21))
        assert lines[1] == "xxxxxxxxx  yyyyyyyyy…"

    def test_the_greatest_rank_goes_first_and_of_equals_the_last(self) -> None:
        a, b, c = (
            Column(t, ["x" * 9], rank=r) for t, r in (("a", 0), ("b", 2), ("c", 2))
        )
        assert fitted([a, b, c], 31) == ([a, b, c], [])
        assert fitted([a, b, c], 30) == ([a, b], [c])
        assert fitted([a, b, c], 1) == ([a], [c, b])

    def test_colours_take_no_room(self) -> None:
        columns = [
            Column("a", ["x", ""], colour_of=lambda cell: "\x1b[31m"),
            Column("b", ["y", "z"]),
        ]
        plain = list(table_lines(columns, 80))
        coloured = list(table_lines(columns, 80, colour=True))
        assert coloured[1] == "\x1b[31mx\x1b[0m  y"
        assert [re.sub(r"\x1b\[\d*m", "", line) for line in coloured] == plain

    def test_width(self, tmp_path: Path) -> None:
        with open(tmp_path / "file", "w") as file:
            assert width_of(file, {}) == 100
            assert width_of(file, {"COLUMNS": "60"}) == 60
            assert width_of(file, {"COLUMNS": "0"}) == 100
            assert width_of(file, {"COLUMNS": "wide"}) == 100


def test_a_recorded_run_is_listed(start: Child) -> None:
    """The whole way: a script in one process, the command in another."""
    script = """
import mlog
with mlog.start_run("ridge", name="first", params={"alpha": 0.5}) as run:
    for step in range(3):
        run.log("mse", 1.5 - step, step=step)
"""
    recorded = start("-c", script)
    assert recorded.communicate() == (b"", b"")
    code = "from mlog.cli.ls import command; command(['--sort', 'mse'])"
    child = start("-c", code, env={"PYTHONIOENCODING": "ascii"})
    shown, problems = child.communicate()
    assert (problems, child.returncode) == (b"", 0)
    assert shown.splitlines()[1].split()[1:4] == [b"first", b"\\u2713", b"Completed"]
    assert shown.split()[-2:] == [b"2", b"-0.5"]
