"""Opening runs that are there, listing them, and ending abandoned ones."""

import gc
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.errors import MlogError, MlogWarning, RunNotFoundError
from tests.helpers import entries, run_python


def folder(run: mlog.Run) -> Path:
    assert run.path is not None
    return run.path


def killed_run(root: Path) -> str:
    """Return the id of a run whose process was killed."""
    code = (
        "import mlog, sys\n"
        "run = mlog.start_run('e', dir=sys.argv[1])\n"
        "run.log('loss', 1.5, step=0)\n"
        "print(run.id, flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    with child:
        run_id = child.stdout.readline().strip()
        assert mlog.open_run(run_id, dir=root).status == "Running"
        child.send_signal(signal.SIGKILL)
    return run_id


def test_a_finished_run_is_opened_by_any_of_its_names() -> None:
    with mlog.start_run("e", name="lunch", params={"a": 1}) as run:
        run.log("loss", 0.5)
    for ref in (run.id, "latest", "lunch", str(run.path), run.id[-6:]):
        found = mlog.open_run(ref)
        assert (found.id, found.experiment, found.path) == (run.id, "e", run.path)
        assert (found.status, found.params) == ("Completed", {"a": 1})
        assert found.get_metrics() == {"loss": 0.5}


def test_an_unknown_name_says_what_is_there() -> None:
    with mlog.start_run("e", name="lunch"):
        pass
    with pytest.raises(RunNotFoundError, match="did you mean lunch"):
        mlog.open_run("lunhc")


def test_an_open_run_of_this_process_is_the_same_object() -> None:
    with mlog.start_run("e") as run:
        assert mlog.open_run(run.id) is run


def test_opening_writes_nothing(tmp_path: Path) -> None:
    with mlog.start_run("e") as run:
        run.log("loss", 0.5)
    before = sorted(p.name for p in folder(run).iterdir())
    again = mlog.open_run(run.id)
    repr(again), again.get_metrics(), list(again.entries()), again.get_details()
    assert sorted(p.name for p in folder(run).iterdir()) == before


def test_what_is_added_afterwards_comes_from_a_writer_of_its_own() -> None:
    with mlog.start_run("e") as run:
        run.log("loss", 0.5)
    again = mlog.open_run(run.id)
    again.log("test/loss", 0.75)
    assert again.get_metrics() == {"loss": 0.5, "test/loss": 0.75}
    assert again.status == "Completed"
    metrics = [p.name for p in folder(run).iterdir() if p.name.startswith("metrics")]
    assert len(metrics) == 2


@pytest.mark.parametrize("status", ["Completed", "Failed", "Canceled"])
def test_an_abandoned_run_can_be_ended(tmp_path: Path, status: str) -> None:
    run = mlog.open_run(killed_run(tmp_path), dir=tmp_path)
    assert run.status == "NotResponding"
    run.end(status, "the kernel was restarted")
    assert mlog.open_run(run.id, dir=tmp_path).status == status
    assert run.get_metrics() == {"loss": 1.5}


def test_an_abandoned_run_can_be_gone_on_with(tmp_path: Path) -> None:
    """The second attempt knows what the first one was told."""
    run_id = killed_run(tmp_path)
    with mlog.start_run("e", dir=tmp_path, resume=run_id) as run:
        run.log("loss", 1.25, step=0)
        run.log("loss", 1.0, step=1)
    assert run.status == "Completed"
    assert list(run.history("loss").values) == [1.25, 1.0]
    assert len(run.history("loss", attempts="all")) == 3


def test_a_live_run_of_another_process_is_not_ended(tmp_path: Path) -> None:
    code = (
        "import mlog, sys\n"
        "run = mlog.start_run('e', dir=sys.argv[1])\n"
        "print(run.id, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        run = mlog.open_run(child.stdout.readline().strip(), dir=tmp_path)
        with pytest.warns(MlogWarning, match="Running in another process"):
            run.complete()
        assert run.status == "Running"


# --- lists -----------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_filtered() -> None:
    made = []
    for lr in (0.1, 0.2, 0.3):
        with mlog.start_run("sweep", params={"lr": lr}, tags={"owner": "me"}) as run:
            run.log("mse", lr * 10)
            made.append(run.id)
    with mlog.start_run("other"):
        pass
    assert [r.id for r in mlog.runs("sweep")] == made[::-1]
    assert len(mlog.runs()) == 4
    found = mlog.runs("sweep", filter="metric.mse < 2.5 and tag.owner = me")
    assert [r.params["lr"] for r in found] == [0.2, 0.1]
    assert len(mlog.runs("sweep", filter=lambda state: state.params["lr"] > 0.25)) == 1
    assert found[-1].params == {"lr": 0.1}
    assert len(found[:1]) == 1


def test_a_filter_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="filter"):
        mlog.runs(filter="metric.mse <")


def test_a_list_has_a_row_for_each_run() -> None:
    with mlog.start_run("e", name="n", params={"a": 1}, tags={"t": "x"}) as run:
        run.log("loss", float("nan"))
    (row,) = mlog.runs("e").rows()
    assert row["metric.loss"] != row["metric.loss"]
    assert (row["param.a"], row["tag.t"], row["run_id"]) == (1, "x", run.id)
    assert row["duration"] >= 0


def test_a_list_becomes_a_data_frame() -> None:
    pandas: Any = pytest.importorskip("pandas", reason="pandas is not installed")
    with mlog.start_run("e", params={"a": 1}):
        pass
    frame = mlog.runs("e").to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["param.a"]) == [1]


def test_no_runs_are_an_empty_list(tmp_path: Path) -> None:
    assert len(mlog.runs(dir=tmp_path / "none")) == 0
    assert repr(mlog.runs(dir=tmp_path)) == "no runs"


def test_a_run_is_made_by_start_run_only() -> None:
    with pytest.raises(TypeError, match=r"mlog\.start_run"):
        mlog.Run()


def test_the_surroundings_of_a_run_are_kept_but_not_the_environment() -> None:
    with mlog.start_run("e") as run:
        pass
    (said,) = [
        e["data"]
        for e in entries(folder(run), "events")
        if e["event"] == "run.environment"
    ]
    assert said["packages"]["mlog-runs"]
    assert "env" not in said


def test_metrics_of_processes_that_joined_are_found(tmp_path: Path) -> None:
    """What a visitor has logged is in the summary once the visitor has ended."""
    with mlog.start_run("e") as run:
        run.log("loss", 0.5)
    code = "import mlog, sys; mlog.open_run(sys.argv[1]).log('test/loss', 0.75)"
    done = run_python(code, run.id)
    assert done.returncode == 0, done.stderr
    (found,) = mlog.runs(filter="metric.test/loss > 0.7 and metric.loss = 0.5")
    assert found.id == run.id
    assert mlog.runs().rows()[0]["metric.test/loss"] == 0.75


class TestQuery:
    """All runs by SQL, as DuckDB's relations."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for lr in (0.1, 0.2):
            with mlog.start_run("e", dir=tmp_path / "r", params={"lr": lr}) as run:
                for step in range(3):
                    run.log("loss", lr * step, step=step)
        return tmp_path / "r"

    def test_a_relation_can_be_gone_on_with(self, root: Path) -> None:
        """It lives on its own, and others can be made of it."""
        found = mlog.query("select step, value from metrics", dir=root)
        gc.collect()
        assert found.columns == ["step", "value"]
        totals = found.aggregate("step, sum(value) as total", "step").order("step")
        assert [round(total, 6) for _, total in totals.fetchall()] == [0, 0.3, 0.6]

    def test_frames(self, root: Path) -> None:
        frame = mlog.query("select number from params order by number", dir=root).df()
        assert frame["number"].tolist() == [0.1, 0.2]

    def test_a_root_without_runs(self, tmp_path: Path) -> None:
        assert mlog.query("from runs", dir=tmp_path / "none").fetchall() == []

    @pytest.mark.parametrize("sql", ["selec", "drop table runs", "from nothing"])
    def test_wrong_sql(self, root: Path, sql: str) -> None:
        with pytest.raises(MlogError) as error:
            mlog.query(sql, dir=root)
        assert str(error.value).count("\n") in (0, 2)  # the place is marked

    def test_without_duckdb(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "duckdb", None)
        with pytest.raises(ImportError, match=r'pip install "mlog-runs\[query\]"'):
            mlog.query("from runs", dir=root)
