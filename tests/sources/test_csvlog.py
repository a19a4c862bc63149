"""Metrics in CSV files, and what is said of a file that is none."""

import math
import os
from pathlib import Path

import pytest

from mlog.errors import MlogError
from mlog.reader.series import read_histories
from mlog.reader.state import read_state
from mlog.sources.copies import Point, copy_run
from mlog.sources.csvlog import Columns, csv_runs

NONE = Columns()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def points_of(path: Path, columns: Columns = NONE) -> list[Point]:
    (run,) = csv_runs(path, columns)
    return list(run.points(lambda _: None))


class TestColumns:
    def test_as_lightning_writes_them(self, tmp_path: Path) -> None:
        """Empty cells are no points; the epoch is a metric beside the step."""
        path = write(
            tmp_path / "metrics.csv",
            "epoch,step,train_loss,val_loss\n0,49,0.5,\n0,99,,0.75\n",
        )
        assert [(p.step, p.values) for p in points_of(path)] == [
            (49, {"epoch": 0, "train_loss": 0.5}),
            (99, {"epoch": 0, "val_loss": 0.75}),
        ]

    def test_an_epoch_is_the_step_where_there_is_no_other(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "epoch,loss\n1,0.5\n2.0,0.25\n")
        assert [(p.step, p.values) for p in points_of(path)] == [
            (1, {"loss": 0.5}),
            (2, {"loss": 0.25}),
        ]

    @pytest.mark.parametrize(
        ("text", "micros"),
        [
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500_000),
            ("2023-11-14 22:13:20.5", 1_700_000_000_500_000),
            ("2023-11-15T00:13:20.5+02:00", 1_700_000_000_500_000),
            ("1700000000.5", 1_700_000_000_500_000),
            ("1700000000500", 1_700_000_000_500_000),
        ],
    )
    def test_times(self, tmp_path: Path, text: str, micros: int) -> None:
        path = write(tmp_path / "a.csv", f"time,loss\n{text},1\n")
        assert points_of(path) == [Point(micros, None, {"loss": 1})]

    def test_seconds_since_the_start_are_a_metric(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "step,time,loss\n0,0.5,1\n")
        assert points_of(path) == [Point(None, 0, {"time": 0.5, "loss": 1})]

    def test_chosen(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "it;when;a;b;note\n3;1700000000;1;2;x\n")
        columns = Columns("it", "when", {"a": "loss"})
        assert points_of(path, columns) == [
            Point(1_700_000_000_000_000, 3, {"loss": 1})
        ]

    def test_numbers_of_all_kinds(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "step,a,b,c\n0,NaN,-inf,9007199254740993\n")
        (point,) = points_of(path)
        assert math.isnan(point.values["a"])
        assert point.values["b"] == -math.inf
        assert point.values["c"] == 9007199254740993

    def test_a_mark_at_the_start_and_tabs(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "\ufeffstep\tloss\n1\t2\n")
        assert points_of(path) == [Point(None, 1, {"loss": 2})]


class TestWrongFiles:
    """One line that names the row, and nothing is written."""

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "row 1 must name two columns"),
            ("hello\n", "row 1 must name two columns"),
            ("a,a\n1,2\n", "row 1 names a column twice: 'a'"),
            ("step,loss\n", "no rows with values"),
            ("step,loss\n0,1\n1,2,3\n", "row 3: 3 cells, but 2 columns"),
            ("step,loss\n0,1\n1,abc\n", "row 3: column 'loss': expected a number"),
            ("step,loss\nx,1\n", "row 2: column 'step': expected a whole step"),
            ("step,loss\n1.5,1\n", "row 2: column 'step': expected a whole step"),
            ("step,loss\n99999999999999999999,1\n", "expected a whole step"),
            ('step,loss\n0,"1\n', "row 2: unexpected end"),
            ("time,loss\n1700000000,1\nsoon,1\n", "row 3: column 'time'"),
        ],
    )
    def test_text(self, tmp_path: Path, text: str, says: str) -> None:
        path = write(tmp_path / "a.csv", text)
        with pytest.raises(MlogError) as error:
            csv_runs(path, NONE)
        assert says in str(error.value)
        assert "\n" not in str(error.value)

    def test_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(b"step,loss\n0,1\n\xff\xfe,2\n")
        with pytest.raises(MlogError, match="no UTF-8 text"):
            csv_runs(path, NONE)

    def test_a_column_that_is_not_there(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "step,loss\n0,1\n")
        with pytest.raises(MlogError, match="no column 'mse'; it has step, loss"):
            csv_runs(path, Columns(metrics={"mse": "mse"}))

    def test_runs_that_are_mixed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "run_id,step,loss\na,0,1\nb,0,1\na,1,1\n")
        with pytest.raises(MlogError, match="'a' do not stand together"):
            csv_runs(path, NONE)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MlogError, match="no file metrics"):
            csv_runs(tmp_path, NONE)


class TestRuns:
    def test_a_folder_of_lightning(self, tmp_path: Path) -> None:
        for number in (0, 1):
            folder = tmp_path / "logs" / f"version_{number}"
            write(folder / "metrics.csv", "step,loss\n0,1\n")
            write(folder / "hparams.yaml", "lr: 0.5\nname: 'a b'\nnested:\n  x: 1\n")
        runs = csv_runs(tmp_path / "logs", NONE)
        assert [run.origin.name for run in runs] == ["version_0", "version_1"]
        assert runs[0].origin.params == {"lr": 0.5, "name": "a b"}
        assert len({run.origin.run_id for run in runs}) == 2

    def test_a_file_that_has_grown(self, tmp_path: Path) -> None:
        """Its rows have no times, so the copy keeps those they got first."""
        path = write(tmp_path / "a.csv", "step,loss\n0,3\n1,2\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        (first,) = csv_runs(path, NONE)
        copied = copy_run(first, tmp_path / "root")
        write(path, "step,loss\n0,3\n1,2\n2,1\n")
        (second,) = csv_runs(path, NONE)
        again = copy_run(second, tmp_path / "root")
        assert (again.what, again.points) == ("continued", 1)
        assert again.folder == copied.folder
        history = read_histories(copied.folder)["loss"]
        assert [(step, value) for step, value, _ in history] == [(0, 3), (1, 2), (2, 1)]
        assert read_state(copied.folder).created.startswith("2023-11-14")

    @pytest.mark.parametrize("name", ["metrics.csv", "metrics_wide.csv"])
    def test_what_mlog_exports(self, tmp_path: Path, name: str) -> None:
        long = "run_id,name,step,time,value,rank,attempt\n"
        rows = "{0},loss,{1},2023-11-14T22:13:20.000000Z,{2},0,1\n"
        wide = "run_id,step,time,loss\n"
        wide_rows = "{0},{1},2023-11-14T22:13:20.000000Z,{2}\n"
        head, row = (long, rows) if name == "metrics.csv" else (wide, wide_rows)
        text = head + row.format("a", 0, 0.5) + row.format("x/b", 0, 7)
        path = write(tmp_path / name, text)
        write(tmp_path / "params.csv", "run_id,name,value\na,lr,0.5\n")
        runs = csv_runs(path, NONE)
        copied = [copy_run(run, tmp_path / "root") for run in runs]
        ids = [c.folder.relative_to(tmp_path / "root").as_posix() for c in copied]
        assert ids == [f"{tmp_path.name}/a", "x/b"]
        assert read_state(copied[0].folder).params == {"lr": 0.5}
        values = [read_histories(c.folder)["loss"].values.tolist() for c in copied]
        assert values == [[0.5], [7]]
