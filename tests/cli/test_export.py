"""`mlog export` writes runs into files for other programs."""

import csv
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest
from click.testing import CliRunner, Result

from mlog.cli import export
from mlog.cli.export import command
from mlog.errors import MlogError, RunNotFoundError
from mlog.reader import tfexport
from mlog.sources.tensorboard import log_runs

Export: TypeAlias = Callable[..., Result]
Rows: TypeAlias = list[dict[str, str]]


def write(root: Path, run: str, name: str, *entries: dict[str, Any]) -> None:
    """Write a segment as the format has it."""
    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.jsonl", "ab") as file:
        for seq, keys in enumerate(entries):
            ts = f"2026-11-23T18:27:{seq % 60:02}.500000Z"
            file.write(orjson.dumps({"ts": ts, "seq": seq, **keys}) + b"\n")


def event(name: str, **data: Any) -> dict[str, Any]:
    return {"event": name, "data": data}


@pytest.fixture
def runs(run_dir: Path) -> Path:
    """A root with two runs, the first of two ranks and two attempts."""
    write(
        run_dir,
        "mnist/a1",
        "events",
        event("writer.start", attempt=1, rank=0, world_size=2),
        event("run.start", experiment="mnist", display_name="first"),
        event("run.params", lr=0.1, layers=[64, 32], note="a|b,\nc"),
        event("run.tags", owner="me"),
        event("run.end", status="Completed"),
    )
    write(
        run_dir,
        "mnist/a1",
        "metrics",
        {"step": 0, "metric": {"loss": 0.5, "acc": 1}},
        {"step": 1, "metric": {"loss": 0.25}, "value": {"note": "begins"}},
        {"step": 2, "metric": {"loss": "NaN"}},
        {"metric": {"final": 1e300}},
        {
            "step": 2,
            "value": {"w": {"type": "mlog.histogram", "edges": [0, 1], "counts": [3]}},
        },
    )
    write(run_dir, "mnist/a1", "events-a2", event("writer.start", attempt=2, rank=0))
    later = {"ts": "2026-11-23T18:28:00.000000Z", "step": 2}
    write(run_dir, "mnist/a1", "metrics-a2", {**later, "metric": {"loss": 0.125}})
    write(run_dir, "mnist/a1", "metrics-r1", {"step": 0, "metric": {"loss": 9}})
    write(run_dir, "mnist/a1", "metrics-node7-123", {"metric": {"load": 0.5}})
    (run_dir / "mnist" / "a1" / "run.json").write_text('{"display_name":"first"}')
    write(run_dir, "ridge/b2", "metrics", {"step": 5, "metric": {"loss": 7, "r2": 0.5}})
    return run_dir


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def export_to(out: Path, runs: Path) -> Export:
    """Call the command; what it raises is what `mlog` prints as one line."""

    def call(form: str, *args: str) -> Result:
        return CliRunner().invoke(command, [*args, "--to", form, str(out)])

    return call


def table(path: Path) -> Rows:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names(folder: Path) -> list[str]:
    """Return what lies in a folder, also below it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


class TestCsv:
    """Numbers of all ranks and attempts, one below the other."""

    def test_metrics(self, export_to: Export, out: Path) -> None:
        shown = export_to("csv", "a1", "b2")
        assert shown.exit_code == 0
        rows = table(out / "metrics.csv")
        assert rows[1] == {
            "run_id": "a1",
            "name": "loss",
            "step": "0",
            "time": "2026-11-23T18:27:00.500000Z",
            "value": "0.5",
            "rank": "0",
            "attempt": "1",
        }
        keys = ("run_id", "name", "step", "value", "rank", "attempt")
        assert [tuple(row[key] for key in keys) for row in rows] == [
            ("a1", "load", "", "0.5", "", "1"),
            ("a1", "loss", "0", "0.5", "0", "1"),
            ("a1", "acc", "0", "1", "0", "1"),
            ("a1", "loss", "1", "0.25", "0", "1"),
            ("a1", "loss", "2", "NaN", "0", "1"),
            ("a1", "final", "", "1e+300", "0", "1"),
            ("a1", "loss", "0", "9", "1", "1"),
            ("a1", "loss", "2", "0.125", "0", "2"),
            ("b2", "loss", "5", "7", "0", "1"),
            ("b2", "r2", "5", "0.5", "0", "1"),
        ]

    def test_params(self, export_to: Export, out: Path) -> None:
        export_to("csv", "a1", "b2")
        rows = [tuple(row.values()) for row in table(out / "params.csv")]
        assert rows == [
            ("a1", "lr", "0.1"),
            ("a1", "layers", "[64,32]"),
            ("a1", "note", "a|b,\nc"),
        ]

    def test_what_is_no_number_is_counted(self, export_to: Export) -> None:
        shown = export_to("csv", "a1")
        text = "mlog: left out 2 values without a place there, of note, w\n"
        assert shown.stderr == text
        assert export_to("csv", "b2", "--force").stderr == ""

    def test_wide_has_a_line_for_each_step(self, export_to: Export, out: Path) -> None:
        """The least rank, the latest attempt: as `history` has them."""
        export_to("csv", "a1", "b2", "--wide")
        rows = table(out / "metrics_wide.csv")
        assert list(rows[0]) == [
            *("run_id", "step", "time"),
            *("load", "loss", "acc", "final", "r2"),
        ]
        assert [(r["run_id"], r["step"], float(r["loss"])) for r in rows] == [
            ("a1", "0", 0.5),
            ("a1", "1", 0.25),
            ("a1", "2", 0.125),
            ("b2", "5", 7.0),
        ]
        assert [row["acc"] != "" for row in rows] == [True, False, False, False]
        assert rows[0]["final"] == "1e+300"
        assert rows[1]["time"] == "2026-11-23T18:27:01.500000Z"
        assert rows[3]["r2"] == "0.5"

    def test_floats_are_exact_and_read_by_pandas(
        self, export_to: Export, out: Path, runs: Path
    ) -> None:
        values = [0.1 + 0.2, 5e-324, "NaN", "-Infinity", 1 << 62]
        entries = [{"step": n, "metric": {"x": v}} for n, v in enumerate(values)]
        write(runs, "x/y", "metrics", *entries)
        export_to("csv", "y", "--wide")
        found = [row["value"] for row in table(out / "metrics.csv")]
        assert found == [str(value) for value in values]
        wide = [row["x"] for row in table(out / "metrics_wide.csv")]
        assert wide[:4] == found[:4]
        pandas = pytest.importorskip("pandas")
        read = pandas.read_csv(out / "metrics.csv")
        assert math.isclose(read["value"][0], 0.1 + 0.2)
        assert math.isnan(read["value"][2])
        assert read["value"][3] == -math.inf

    def test_a_run_without_anything(
        self, export_to: Export, out: Path, runs: Path
    ) -> None:
        write(runs, "x/y", "events", event("run.start"))
        assert export_to("csv", "y", "--wide").exit_code == 0
        assert table(out / "metrics.csv") == table(out / "metrics_wide.csv") == []


def test_json(export_to: Export, out: Path) -> None:
    """Metrics by columns, with what is no number as the format has it."""
    export_to("json", "a1", "b2")
    assert names(out) == ["a1.json", "b2.json"]
    found = json.loads((out / "a1.json").read_text("utf-8"))
    assert found["run_id"] == "a1"
    assert (found["experiment"], found["name"]) == ("mnist", "first")
    assert found["params"] == {"lr": 0.1, "layers": [64, 32], "note": "a|b,\nc"}
    assert found["tags"] == {"owner": "me"}
    assert found["metrics"]["acc"] == {
        "step": [0],
        "time": ["2026-11-23T18:27:00.500000Z"],
        "value": [1],
        "rank": [0],
        "attempt": [1],
    }
    assert found["metrics"]["load"]["rank"] == [None]
    assert found["metrics"]["note"]["value"] == ["begins"]
    assert found["metrics"]["w"]["value"][0]["type"] == "mlog.histogram"
    assert "NaN" in found["metrics"]["loss"]["value"]


def test_parquet(export_to: Export, out: Path) -> None:
    shown = export_to("parquet", "a1", "b2")
    assert shown.exit_code == 0, shown.exception
    parquet = pytest.importorskip("pyarrow.parquet")
    found = parquet.read_table(out / "metrics.parquet")
    assert found.column_names == [
        *("run_id", "name", "step", "time", "value", "rank", "attempt")
    ]
    assert str(found.schema.field("time").type) == "timestamp[us, tz=UTC]"
    export_to("csv", "a1", "b2")
    keys = ("run_id", "name", "step", "rank", "attempt")
    rows = {tuple(str(row[key]) for key in keys) for row in found.to_pylist()}
    expected = table(out / "metrics.csv")
    assert rows == {tuple(row[key] or "None" for key in keys) for row in expected}
    params = parquet.read_table(out / "params.parquet").to_pylist()
    assert params[0] == {"run_id": "a1", "name": "lr", "value": "0.1", "number": 0.1}


class TestTensorBoard:
    """A folder for each run, with one event file."""

    def test_files(self, export_to: Export, out: Path) -> None:
        shown = export_to("tensorboard", "a1", "b2")
        assert shown.exit_code == 0
        assert names(out) == [
            "a1/events.out.tfevents.1795458421.mlog",
            "b2/events.out.tfevents.1795458420.mlog",
        ]
        content = (out / names(out)[0]).read_bytes()
        for text in (b"brain.Event:2", b"loss", b"begins", b"lr | 0.1", b"a\\|b,"):
            assert text in content

    def test_what_has_no_place_is_counted(self, export_to: Export, runs: Path) -> None:
        values = [
            {"type": "mlog.list", "values": [1, 2]},
            {"type": "mlog.histogram", "edges": [0], "counts": [1, 2]},
            {"type": "mlog.histogram", "edges": ["a", "b"], "counts": [1]},
        ]
        entries = [{"value": {f"v{n}": value}} for n, value in enumerate(values)]
        write(runs, "x/y", "metrics", *entries)
        shown = export_to("tensorboard", "y")
        text = "mlog: left out 3 values without a place there, of v0, v1, v2\n"
        assert shown.stderr == text

    def test_of_many_metrics_the_first_are_named(
        self, export_to: Export, runs: Path
    ) -> None:
        entries = [{"value": {f"v{n}": {"type": "mlog.list"}}} for n in range(1_007)]
        write(runs, "x/y", "metrics", *entries)
        shown = export_to("tensorboard", "y")
        assert shown.stderr.endswith(" there, of v0, v1, v2, v3, v4 and 1,002 more\n")
        shown = export_to("csv", "y", "--json", "--force")
        assert orjson.loads(shown.stdout)["left_out"]["v1006"] == 1

    def test_params_and_status_are_its_hparams(
        self, export_to: Export, out: Path
    ) -> None:
        export_to("tensorboard", "a1")
        (run,) = log_runs(out)
        list(run.points(lambda _: None))
        assert run.origin.params == {
            "lr": 0.1,
            "layers": "[64,32]",
            "note": "a|b,\nc",
        }
        assert run.origin.status == "Completed"

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_tensorboard_reads_it(self, export_to: Export, out: Path) -> None:
        module = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator"
        )
        export_to("tensorboard", "a1")
        found = module.EventAccumulator(str(out / "a1")).Reload()
        loss = [(e.step, e.value) for e in found.Scalars("loss")]
        assert loss == [(0, 0.5), (1, 0.25), (2, 0.125)]
        assert found.Scalars("final")[0].value == math.inf
        assert found.Histograms("w")[0].histogram_value.num == 3
        (note,) = found.Tensors("note")
        assert note.tensor_proto.string_val[0] == b"begins"


class TestFiles:
    """Where the files go, and what is left alone."""

    @pytest.mark.parametrize("form", ["csv", "json", "parquet", "tensorboard"])
    def test_files_that_are_there_are_left_alone(
        self, export_to: Export, out: Path, form: str
    ) -> None:
        export_to(form, "a1")
        first, *others = (out / name for name in names(out))
        first.write_text("mine")
        for other in others:
            other.unlink()
        shown = export_to(form, "a1")
        assert isinstance(shown.exception, MlogError)
        assert "is there already; --force replaces" in str(shown.exception)
        assert first.read_text() == "mine"
        assert names(out) == [first.relative_to(out).as_posix()]
        assert export_to(form, "a1", "--force").exit_code == 0
        assert first.read_bytes() != b"mine"

    @pytest.mark.parametrize("form", ["csv", "json", "tensorboard"])
    def test_a_file_appears_whole_or_not_at_all(
        self,
        export_to: Export,
        out: Path,
        monkeypatch: pytest.MonkeyPatch,
        form: str,
    ) -> None:
        def fail(*args: object) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(export, "read_blocks", fail)
        monkeypatch.setattr(export, "read_histories", fail)
        monkeypatch.setattr(tfexport, "read_histories", fail)
        assert isinstance(export_to(form, "a1").exception, OSError)
        assert names(out) == []
        assert [path for path in out.rglob(".*")] == []

    def test_equal_ids_of_two_experiments(
        self, export_to: Export, out: Path, runs: Path
    ) -> None:
        write(runs, "ridge/a1", "metrics", {"metric": {"loss": 1}})
        for form in ("csv", "json", "parquet", "tensorboard"):
            assert export_to(form, "mnist/a1", "ridge/a1").exit_code == 0
        labels = {row["run_id"] for row in table(out / "metrics.csv")}
        assert labels == {"mnist/a1", "ridge/a1"}
        assert {"mnist/a1.json", "ridge/a1.json"} < {*names(out)}
        parquet = pytest.importorskip("pyarrow.parquet")
        found = parquet.read_table(out / "metrics.parquet").to_pydict()
        assert {*found["run_id"]} == labels

    def test_files_have_the_usual_permissions(
        self, export_to: Export, out: Path
    ) -> None:
        before = os.umask(0o027)
        try:
            export_to("csv", "a1")
        finally:
            os.umask(before)
        assert (out / "metrics.csv").stat().st_mode & 0o777 == 0o640

    def test_nothing_is_written_into_a_run(self, runs: Path) -> None:
        target = runs / "mnist" / "a1" / "export"
        shown = CliRunner().invoke(command, ["a1", "--to", "csv", str(target)])
        assert isinstance(shown.exception, MlogError)
        assert not target.exists()

    def test_a_file_in_the_place_of_the_folder(
        self, export_to: Export, out: Path
    ) -> None:
        out.touch()
        assert isinstance(export_to("csv", "a1").exception, MlogError)
        assert out.read_bytes() == b""


class TestCall:
    """How it is called, and what it says."""

    def test_what_was_made_is_told(self, export_to: Export, out: Path) -> None:
        first, second = export_to("csv", "b2").stdout.splitlines()
        assert first.startswith(f"{out / 'metrics.csv'} (")
        assert second.startswith(f"{out / 'params.csv'} (")
        facts = json.loads(export_to("json", "a1", "b2", "--json").stdout)
        assert facts["runs"] == ["a1", "b2"]
        assert [f["path"] for f in facts["files"]] == [
            *(str(out / "a1.json"), str(out / "b2.json"))
        ]
        assert facts["files"][0]["bytes"] == (out / "a1.json").stat().st_size
        assert facts["left_out"] == {}

    def test_runs_by_name_path_and_place(
        self, export_to: Export, out: Path, runs: Path
    ) -> None:
        shown = export_to(
            "json", "first", "-2", str(runs / "ridge" / "b2"), "b2", "--json"
        )
        assert shown.exit_code == 0
        assert sorted(json.loads(shown.stdout)["runs"]) == ["a1", "b2"]

    def test_the_newest_run_is_the_default(self, export_to: Export, runs: Path) -> None:
        write(runs, "mnist/20990101-000000-aaaaaa", "metrics", {"metric": {"n": 1}})
        shown = export_to("json", "--json")
        assert json.loads(shown.stdout)["runs"] == ["20990101-000000-aaaaaa"]

    def test_a_forgotten_folder_is_noticed(
        self, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for run in ("a1", "-2", str(runs / "mnist" / "a1")):
            shown = CliRunner().invoke(command, ["--to", "csv", run])
            assert shown.exit_code == 2
            assert "the folder for the files comes after it" in shown.stderr
        (tmp_path / "a1").mkdir()  # so it is no mistake
        assert CliRunner().invoke(command, ["--to", "csv", "a1"]).exit_code == 0

    @pytest.mark.parametrize(
        "args",
        [
            ("a1", "out"),
            ("--to", "xml", "out"),
            ("--to", "csv"),
            ("--to", "json", "--wide", "a1", "out"),
        ],
    )
    def test_wrong_calls(self, runs: Path, args: tuple[str, ...]) -> None:
        assert CliRunner().invoke(command, args).exit_code == 2

    def test_an_unknown_run(self, export_to: Export, out: Path) -> None:
        shown = export_to("csv", "none-of-these")
        assert isinstance(shown.exception, RunNotFoundError)
        assert not out.exists()

    def test_progress_is_shown_on_a_terminal(
        self, runs: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And nowhere else."""
        monkeypatch.setattr(export, "_BLOCK", 7)
        with CliRunner().isolation() as (_, stderr, _):
            monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
            command(["a1", "--to", "csv", str(out)], standalone_mode=False)
            shown = stderr.getvalue()
        assert b"exporting 1 run" in shown
        assert b"100%" in shown

    def test_help_has_examples(self) -> None:
        shown = CliRunner().invoke(command, ["--help"], env={"COLUMNS": "80"}).stdout
        assert "Examples:\n    mlog export" in shown
        assert "\n  json         RUN.json: facts" in shown


def test_the_whole_answer(export_to: Export, out: Path) -> None:
    """The files that were made, and how much has no place in them."""
    result = export_to("csv", "a1", "b2")
    assert result.stdout == f"{out}/metrics.csv (496 B)\n{out}/params.csv (65 B)\n"
    left_out = "mlog: left out 2 values without a place there, of note, w\n"
    assert (result.exit_code, result.stderr) == (0, left_out)
