"""`mlog show` tells what is known of a run."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from mlog.cli.ship import command as ship_command
from mlog.cli.show import command
from mlog.errors import MlogError, RunNotFoundError
from mlog.widths import text_width
from tests.cli.conftest import Child
from tests.cli.test_ls import Made

Show: TypeAlias = Callable[..., Result]
ID = "20200501-120100-3f9a1c"


@pytest.fixture
def run(run_dir: Path) -> Made:
    """A run that has begun."""
    made = Made(run_dir, 1, "mnist", ID)
    facts = {"host": "node7", "pid": 12, "attempt": 1, "world_size": 1}
    made.event("writer.start", format=1, **facts)
    return made.event(
        "run.start",
        experiment="MNIST, wide",
        display_name="first",
        argv=["train.py", "--note", "two words"],
        cwd="/work",
        python="3.11.7",
        git={"commit": "3f9a1c0", "branch": "main", "remote": "https://git/x"},
    )


@pytest.fixture
def show() -> Show:
    """Call the command; what it raises is what `mlog` prints as one line."""

    def call(*args: str, width: int = 100) -> Result:
        return CliRunner().invoke(command, args, env={"COLUMNS": str(width)})

    return call


def sections(result: Result) -> dict[str, str]:
    """Return the text of each section by its title; that on top is ""."""
    assert result.exception is None, result.output
    assert result.stderr == ""
    head, *others = result.stdout.removesuffix("\n").split("\n\n")
    parted = (part.partition("\n") for part in others)
    return {"": head, **{title: text for title, _, text in parted}}


def without_ages(text: str) -> str:
    return re.sub(r" \([\d,]+ d ago\)", "", text)


def fields(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.output
    assert result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    return found


class TestSections:
    """A heading, and a section for each thing there is."""

    def test_a_run_that_has_only_begun(self, show: Show, run: Made) -> None:
        found = sections(show())
        assert without_ages(found.pop("")) == (
            "MNIST, wide / first  ? NotResponding\n"
            f"  id          {ID}\n"
            f"  folder      {run.folder}\n"
            "  started     2020-05-01 12:01:00 UTC\n"
            "  last entry  2020-05-01 12:01:00 UTC\n"
            "  duration    0.0 s\n"
            "  host        node7\n"
            "  pid         12\n"
            "  command     train.py --note 'two words'\n"
            "  in folder   /work"
        )
        assert found == {
            "git": ("  commit  3f9a1c0\n  branch  main\n  remote  https://git/x"),
            "environment": "  python  3.11.7",
            "processes (1)": (
                "  writer  state  host   pid  started\n"
                "  main    lost   node7   12  2020-05-01 12:01:00 UTC"
            ),
        }

    def test_what_it_was_told(self, show: Show, run: Made) -> None:
        run.event("run.params", lr=0.1, layers=[64, 64], note="two\nlines")
        run.event("run.tags", owner="me", gpu=None)
        run.event("run.properties", commit="3f9a")
        run.event("run.update", description="a try")
        found = sections(show())
        assert found["params (3)"] == (
            "  lr      0.1\n  layers  [64,64]\n  note    two\\nlines"
        )
        assert found["tags (2)"] == "  owner  me\n  gpu"
        assert found["properties (1)"] == "  commit  3f9a"
        assert "  about       a try\n" in found[""]

    def test_metrics(self, show: Show, run: Made) -> None:
        run.end(
            loss={"last": "NaN", "min": 0.125, "max": 41_230.0, "count": 1_200},
            odd={"last": "NaN", "count": 1},
        )
        assert sections(show())["metrics (2)"] == (
            "  name  last    min     max  count\n"
            "  loss   NaN  0.125  41,230  1,200\n"
            "  odd    NaN                     1"
        )

    def test_what_was_logged_and_is_no_number(self, show: Show, run: Made) -> None:
        run.metric(0, loss=0.5, odd="NaN")
        for value in ("begins", {"type": "mlog.list", "values": [1, "NaN"]}):
            run.entry("metrics", value={"note\n": value})
        run.entry("metrics", value={"net": {"type": "mlog.row", "columns": {"a": 1}}})
        assert sections(show())["values (2)"] == (
            '  note\\n  (2 times) [1,NaN]\n  net     {"a":1}'
        )
        assert fields(show("--json"))["values"] == {
            "note\n": {"count": 2, "last": [1, None]},
            "net": {"count": 1, "last": {"a": 1}},
        }

    def test_files_models_and_the_snapshot(self, show: Show, run: Made) -> None:
        picture = {"path": "a/b.png", "size": 12_345, "media_type": "image/png"}
        run.event("run.artifact", **picture)
        run.event("run.model", name="net", version=2, path="/runs/.models/net/2")
        run.event("run.snapshot", id="ab12", size=4_000, files=3)
        found = sections(show())
        assert found["artifacts (1)"].split("\n")[1].split() == [
            *("12.3", "kB", "a/b.png", "image/png")
        ]
        assert found["models (1)"].split("\n")[1].split() == [
            *("net", "2", "/runs/.models/net/2")
        ]
        assert found["snapshot"] == "  id     ab12\n  size   4.0 kB\n  files  3"

    def test_the_environment(self, show: Show, run: Made) -> None:
        run.event(
            "run.environment",
            python="3.12.1",
            executable="/bin/python",
            platform="Linux",
            cpu={"count": 8, "model": "EPYC"},
            gpu=["H100", "H100", "T4"],
            ram_bytes=64_000_000_000,
            packages={"numpy": "2.4.6", "click": "8.5.1"},
            user="me",
            git={"dirty": True},
        )
        found = sections(show())
        assert found["environment"] == (
            "  python      3.12.1\n"
            "  executable  /bin/python\n"
            "  platform    Linux\n"
            "  cpu         8 × EPYC\n"
            "  gpu         2 × H100, T4\n"
            "  ram         64.0 GB\n"
            "  packages    2; --packages lists them"
        )
        assert found["git"].endswith("\n  changed files  yes")
        assert "\n  user        me\n" in found[""]
        assert "packages" not in found
        listed = sections(show("--packages"))["packages"]
        assert listed == "  numpy  2.4.6\n  click  8.5.1"

    def test_processes(self, show: Show, run: Made) -> None:
        rank = {"attempt": 2, "rank": 1, "world_size": 2, "host": "node8", "pid": 7}
        other = Made.__new__(Made)
        other.__dict__ |= run.__dict__ | {"_seq": 0}
        for writer, end in (("r1-a2", "Failed"), ("r0-a2", "Completed")):
            facts = rank | {"rank": int(writer[1])}
            other.entry(f"events-{writer}", event="writer.start", data=facts)
            said = {"last": 1_499, "status": end}
            other.entry(f"events-{writer}", 9, event="writer.end", data=said)
        found = sections(show())["processes (3)"].split("\n")
        assert found[0].split()[:7] == [
            *("writer", "state", "rank", "attempt", "host", "pid", "started")
        ]
        assert found[1].split()[:4] == ["main", "lost", "1", "node7"]
        assert found[2].split()[:6] == ["r0-a2", "ended", "0/2", "2", "node8", "7"]
        assert found[3].split()[:4] == ["r1-a2", "ended", "Failed", "1/2"]
        assert found[3].endswith("2020-05-01 12:01:00 UTC     9.0 s    1,500")

    def test_children_are_looked_up(self, show: Show, run: Made, run_dir: Path) -> None:
        child = Made(run_dir, 2, "mnist", "20200501-120200-aaaaaa")
        child.event("writer.start").event("run.start", display_name="fold-1")
        child.event("run.start", parent=str(run.folder)).end()
        gone = "20200501-120300-bbbbbb"
        for path in (f"/moved/since/mnist/{child.id}", f"/x/mnist/{gone}"):
            run.event("run.child", path=path)
        assert sections(show(ID))["children (2)"] == (
            "  id                      name    status       duration\n"
            f"  {child.id}  fold-1  ✓ Completed    30.0 s\n"
            f"  {gone}          … not there"
        )
        assert f"\n  parent    {run.folder}" in sections(show(child.id))[""]

    def test_long_sections_are_cut_and_say_so(self, show: Show, run: Made) -> None:
        run.event("run.params", **{f"p{n:02}": n for n in range(50)})
        run.end(**{f"m{n:02}": n for n in range(50)})
        found = sections(show())
        for title in ("params (50)", "metrics (50)"):
            assert found[title].endswith("\n  … and 10 more; --all shows them")
        assert found["params (50)"].count("\n") == 40
        assert sections(show("--all"))["params (50)"].count("\n") == 49


class TestErrors:
    """What ended the run, with its traceback; and what its log says of trouble."""

    def test_what_ended_it(self, show: Show, run: Made) -> None:
        trace = 'Traceback (most recent call last):\n  File "x.py"\nValueError: a\nb\n'
        error = {"type": "ValueError", "msg": "a\nb", "traceback": trace, "code": 3}
        run.event("run.end", 30, status="Failed", error=error)
        found = sections(show())
        assert found["error"] == (
            "  ValueError: a\n"
            "  b\n"
            "  exit code 3\n"
            "    Traceback (most recent call last):\n"
            '      File "x.py"\n'
            "    ValueError: a\n"
            "    b"
        )

    def test_the_last_three_of_the_log(self, show: Show, run: Made) -> None:
        for n in range(5):
            run.log("ERROR", f"trouble {n}").log("INFO", "fine")
        exc = {"type": "OSError", "msg": "disk\nfull", "traceback": "…"}
        run.log("CRITICAL", "the end", exc=exc)
        run.log("INFO", "x", extra={"level": "ERROR"}).log("INFO", '"level":"ERROR"')
        assert sections(show())["last errors"] == (
            "  2020-05-01 12:01:00 UTC  train: trouble 3\n"
            "  2020-05-01 12:01:00 UTC  train: trouble 4\n"
            "  2020-05-01 12:01:00 UTC  train: the end  OSError: disk\\nfull\n"
            "    …"
        )

    def test_of_all_files_the_last_in_time(self, show: Show, run: Made) -> None:
        for second, name in enumerate(("logs", "logs-r1", "logs.1", "logs-r1.1")):
            run.entry(name, second, level="ERROR", logger="a", msg=f"in {name}")
        last = [
            line.split("a: ")[1] for line in sections(show())["last errors"].split("\n")
        ]
        assert last == ["in logs-r1", "in logs.1", "in logs-r1.1"]

    @pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 60, 3_000_000])
    def test_lines_across_blocks_are_whole(
        self, show: Show, run: Made, size: int
    ) -> None:
        run.log("ERROR", "first").log("INFO", "x" * size).log("ERROR", "y" * size)
        run.log("INFO", "x" * (size // 3)).log("ERROR", "last")
        with open(run.folder / "logs.jsonl", "ab") as file:
            file.write(b'{"ts":"2020-05-01T12:00:00Z","seq":99,"level":"ERROR"')
        found = [entry["msg"][:5] for entry in fields(show("--json"))["last_errors"]]
        assert found == ["first", "yyyyy", "last"]

    def test_a_log_without_errors_has_no_section(self, show: Show, run: Made) -> None:
        run.log("WARNING", "x")
        assert "last errors" not in sections(show())


class TestJson:
    """One object, with all there is."""

    def test_a_run(self, show: Show, run: Made) -> None:
        run.event("run.params", lr=0.1).event("run.artifact", path="a", size=3)
        run.event("run.environment", user="me", packages={"numpy": "2"})
        run.event("run.child", path="/x/y").log("ERROR", "trouble").end(mse=2.5)
        found = fields(show("--json"))
        assert found["run"] == ID
        assert found["path"] == str(run.folder)
        assert found["experiment"] == "MNIST, wide"
        assert (found["status"], found["duration"]) == ("Completed", 30.0)
        assert found["params"] == {"lr": 0.1}
        assert found["metrics"]["mse"]["last"] == 2.5
        assert [each["path"] for each in found["artifacts"]] == ["a"]
        assert found["writers"][0]["alive"] is False
        assert found["children"] == ["/x/y"]
        assert found["environment"] == {"user": "me"}
        assert found["last_errors"][0]["msg"] == "trouble"
        packages = fields(show("--json", "--packages"))["environment"]["packages"]
        assert packages == {"numpy": "2"}

    def test_nothing_that_a_folder_is_called_breaks_it(
        self, show: Show, run_dir: Path
    ) -> None:
        folder = run_dir / os.fsdecode(b"exp\xff") / os.fsdecode(b"a\xfe")
        folder.mkdir(parents=True)
        (folder / "run.json").touch()
        assert fields(show("--json"))["run"] == "a\ufffd"
        assert "a\\udcfe" in sections(show())[""]


class TestNames:
    """A run is named as for every command."""

    @pytest.mark.parametrize("ref", ["latest", "-1", ID, "3f9a1c", f"mnist/{ID}"])
    def test_names(self, show: Show, run: Made, ref: str) -> None:
        assert ID in sections(show(ref))[""]

    def test_the_one_before(self, show: Show, run: Made, run_dir: Path) -> None:
        Made(run_dir, 2, "mnist", "").event("run.start")
        assert ID in sections(show("-2"))[""]
        assert ID not in sections(show())[""]

    def test_dir(self, show: Show, tmp_path: Path) -> None:
        Made(tmp_path / "other", 1, "mnist", ID).event("run.start")
        assert ID in sections(show("--dir", str(tmp_path / "other")))[""]


class TestTrouble:
    """Whatever the files hold, there is something to show, or one line that says why."""

    def test_no_runs_yet(self, show: Show, run_dir: Path) -> None:
        result = show()
        assert isinstance(result.exception, RunNotFoundError)
        assert str(result.exception).startswith(f"no runs yet in {run_dir}: start one")

    def test_no_such_run(self, show: Show, run: Made) -> None:
        result = show("20200501-120100-3f9a1d")
        assert isinstance(result.exception, MlogError)
        assert f"did you mean {ID}?" in str(result.exception)

    @pytest.mark.parametrize("args", [["a", "b"], ["--nonsense"], ["--dir"]])
    def test_a_wrong_call_is_code_2(self, show: Show, args: list[str]) -> None:
        result = show(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr

    def test_damaged_facts(self, show: Show, run: Made) -> None:
        run.event("run.start", argv=[1, None, "x"], git=7, cwd=[])
        run.event("run.environment", cpu=[], gpu=[3], ram_bytes="much", packages=[])
        run.event("run.model", name=None, version=[1]).event("run.model")
        run.event("run.snapshot", size=-1).event("run.child", path="\0")
        run.event("run.artifact", path="a", size="x")
        run.log("ERROR", "x", exc="none").entry("logs", level="ERROR", msg=5)
        odd = {"a": {"last": [1]}, "b": 3, "c": {"last": None, "count": -1}}
        run.event("run.end", 30, status="Failed", error={"msg": 5}, metrics=odd)
        found = sections(show())
        assert found["models (2)"].split("\n")[1].split() == ["[1]"]
        assert found["metrics (2)"].split("\n")[1].split() == ["a", "[1]"]
        fields(show("--json"))

    def test_what_was_logged_cannot_act_on_the_screen(
        self, show: Show, run: Made
    ) -> None:
        bad = "a\x1b[2Jb\nc\u202ed"
        exc = {"type": bad, "msg": bad, "traceback": bad}
        run.event("run.start", experiment=bad, display_name=bad, argv=[bad], cwd=bad)
        run.event("run.update", description=bad).event("run.params", **{bad: bad})
        run.event("run.tags", **{bad: bad}).event("run.properties", **{bad: bad})
        run.event("run.artifact", path=bad, size=1, media_type=bad)
        run.event("run.model", name=bad, version=bad, path=bad)
        run.event("run.child", path=f"/{bad}").event("run.snapshot", id=bad)
        run.event("run.environment", python=bad, gpu=[bad], git={"branch": bad})
        run.log("ERROR", bad, exc=exc).event("run.end", status=bad, error=exc)
        for line in show("--all", "--packages").stdout.splitlines():
            assert line.isprintable()

    @pytest.mark.parametrize("width", [40, 80, 200])
    def test_lines_fit_but_those_to_be_copied(
        self, show: Show, run: Made, width: int
    ) -> None:
        run.event("run.params", note="words " * 60, 長い名前="日本語" * 60)
        run.event("run.artifact", path="deep/" * 30, size=1, media_type="x/" * 30)
        run.log("ERROR", "long " * 60).end(**{"metric/" * 12: 1 / 3})
        for line in show(width=width).stdout.splitlines():
            assert text_width(line) <= width or str(run.folder) in line

    def test_help_has_examples(self, show: Show) -> None:
        assert "\n    mlog show" in show("--help").stdout.partition("Examples:\n")[2]


class TestShipping:
    """How far each sink is, by the words of `mlog ship --status`."""

    @pytest.fixture
    def ship(self, tmp_path: Path) -> Callable[..., None]:
        """Send the newest run to a mirror, named `lake`."""

        def call(*args: str) -> None:
            to = (tmp_path / "lake").as_uri() + "?name=lake"
            result = CliRunner().invoke(ship_command, ["--to", to, *args])
            assert result.exit_code == 0, result.output

        return call

    def test_a_run_that_was_sent_nowhere_says_nothing_of_it(
        self, show: Show, run: Made
    ) -> None:
        assert "shipping" not in sections(show())
        assert fields(show("--json"))["shipping"] == []

    def test_each_sink_is_a_row(
        self, show: Show, run: Made, ship: Callable[..., None]
    ) -> None:
        run.end()
        ship()
        head, row = sections(show())["shipping"].split("\n")
        assert head.split() == "sink state behind bytes sent acked".split()
        assert row.split()[:3] == ["lake", "done", "0"]
        (sink,) = fields(show("--json"))["shipping"]
        assert (sink["sink"], sink["state"], sink["dead"]) == ("lake", "done", 0)
        assert (sink["lag_entries"], sink["error"]) == (0, "")
        assert sink["acked"] > 0

    def test_what_is_left_dead_letters_and_the_last_error(
        self, show: Show, run: Made, ship: Callable[..., None]
    ) -> None:
        """An artifact that was not there, lines after it, and a cursor with an error."""
        run.event("run.artifact", path="late.txt", size=4)
        ship()
        (path,) = (run.folder / ".ship").glob("lake.*.json")
        cursor = json.loads(path.read_text())
        path.write_text(json.dumps(cursor | {"error": "disk\x1b[2J", "failures": 3}))
        run.log("INFO", "one").log("INFO", "two")
        head, row, error = sections(show(width=200))["shipping"].split("\n")
        cells = dict(zip(head.split(), re.split(" {2,}", row.strip()), strict=True))
        assert (cells["sink"], cells["state"]) == ("lake", "stopped")
        assert (cells["behind"], cells["dead"]) == ("2", "1")
        assert error.startswith("  lake: disk")
        assert error.isprintable()
        (sink,) = fields(show("--json"))["shipping"]
        assert (sink["lag_entries"], sink["dead"]) == (2, 1)

    def test_cursors_outside_of_the_run_are_found_if_named(
        self, show: Show, run: Made, ship: Callable[..., None], tmp_path: Path
    ) -> None:
        state = str(tmp_path / "state")
        ship("--state", state)
        assert "shipping" not in sections(show())
        assert "lake" in sections(show("--state", state))["shipping"]

    def test_a_broken_cursor_hides_nothing_else(self, show: Show, run: Made) -> None:
        (run.folder / ".ship").mkdir()
        (run.folder / ".ship" / "lake.host.json").write_text("{")
        assert "shipping" not in sections(show())


def test_a_run_that_goes_on_is_shown(start: Child) -> None:
    """The whole way: a script in one process, the command in another."""
    script = """
import subprocess, sys, mlog
code = "from mlog.cli.show import command; command()"
with mlog.start_run("ridge", name="live", params={"alpha": 0.5}) as run:
    sys.stdout.buffer.write(subprocess.check_output([sys.executable, "-c", code]))
"""
    child = start("-c", script)
    shown, problems = child.communicate()
    assert (problems, child.returncode) == (b"", 0)
    lines = shown.decode().splitlines()
    assert lines[0] == "ridge / live  ● Running"
    assert next(line for line in lines if "  main " in line).split()[1] == "alive"
    assert "  alpha  0.5" in lines
