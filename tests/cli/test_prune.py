"""`mlog prune` removes old runs, and keeps the best of them."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

import mlog
from mlog.cli.prune import command
from mlog.errors import MlogError
from mlog.reader.find import iter_runs

Prune: TypeAlias = Callable[..., Result]
Made: TypeAlias = Callable[..., Path]


@pytest.fixture
def prune() -> Prune:
    """Call the command in this process; its input is no terminal."""
    return lambda *args: CliRunner().invoke(command, args, prog_name="mlog prune")


@pytest.fixture
def make(run_dir: Path) -> Made:
    """Make a run that ended some days ago."""

    def made(
        name: str,
        days: float,
        *,
        experiment: str = "mnist",
        status: str = "Completed",
        parent: Path | None = None,
        **metrics: Any,
    ) -> Path:
        folder = run_dir / experiment / name
        folder.mkdir(parents=True)
        ts = (datetime.now(UTC) - timedelta(days=days)).isoformat()[:19] + "Z"
        start = {} if parent is None else {"parent": str(parent)}
        last = {name: {"last": value} for name, value in metrics.items()}
        events = [
            ("writer.start", {"format": 1}),
            ("run.start", start),
            ("run.end", {"status": status, "metrics": last}),
            ("writer.end", {"last": 3}),
        ]
        lines = [
            json.dumps({"ts": ts, "seq": seq, "event": event, "data": data}) + "\n"
            for seq, (event, data) in enumerate(events)
        ]
        (folder / "events.jsonl").write_text("".join(lines))
        return folder

    return made


def left(root: Path) -> list[str]:
    return [run.name for run in iter_runs(root)]


class TestOld:
    """What counts is the time of the last entry."""

    def test_older_ones_go(self, prune: Prune, make: Made, run_dir: Path) -> None:
        make("old", 91)
        make("young", 89)
        result = prune("--older-than", "90d", "--yes")
        assert (result.exit_code, result.stderr) == (0, "")
        assert "mnist/old" in result.stdout
        assert result.stdout.splitlines()[-1].startswith("removed 1 run, ")
        assert left(run_dir) == ["young"]

    @pytest.mark.parametrize(
        ("age", "stays"),
        [("12h", 0), ("23.9h", 0), ("25h", 1), ("1.5d", 1), ("0w", 0), ("1y", 1)],
    )
    def test_units(
        self, prune: Prune, make: Made, run_dir: Path, age: str, stays: int
    ) -> None:
        make("run", 1)
        prune("--older-than", age, "--yes")
        assert len(left(run_dir)) == stays

    @pytest.mark.parametrize("age", ["90", "d", "-1d", "90m", "1 month", "", "1e3d"])
    def test_what_is_no_age_is_a_wrong_call(self, prune: Prune, age: str) -> None:
        result = prune("--older-than", age, "--yes")
        assert result.exit_code == 2
        assert "expected a number with h, d, w or y, like 90d" in result.stderr

    def test_a_run_that_went_on_is_young(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        """Its id tells when it was begun, not when it was written last."""
        make("20200102-030405-aaaaaa", 1)
        prune("--older-than", "90d", "--yes")
        assert left(run_dir) == ["20200102-030405-aaaaaa"]

    def test_a_young_id_is_believed(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        """Whatever clock the entries are from."""
        run_id = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-aaaaaa")
        make(run_id, 400)
        prune("--older-than", "90d", "--yes")
        assert left(run_dir) == [run_id]

    def test_without_entries_its_files_tell(self, prune: Prune, run_dir: Path) -> None:
        (run_dir / "mnist" / "empty").mkdir(parents=True)
        (run_dir / "mnist" / "empty" / "events.jsonl").touch()
        assert prune("--older-than", "1h", "--yes").exit_code == 1
        assert left(run_dir) == ["empty"]

    def test_a_live_run_stays(self, prune: Prune, run_dir: Path) -> None:
        with mlog.start_run("live", run_id="live") as run:
            run.log("loss", 1)
            result = prune("--older-than", "0h", "--yes")
        assert (result.exit_code, left(run_dir)) == (1, ["live"])
        assert "live/live stays: process" in result.stderr

    def test_dry_run(self, prune: Prune, make: Made, run_dir: Path) -> None:
        make("old", 91)
        result = prune("--older-than", "90d", "--dry-run")
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1].startswith("would remove 1 run, ")
        assert left(run_dir) == ["old"]

    def test_without_a_terminal_it_is_a_wrong_call(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        make("old", 91)
        assert prune("--older-than", "90d").exit_code == 2
        assert left(run_dir) == ["old"]

    def test_nothing_to_remove(self, prune: Prune, make: Made) -> None:
        make("young", 1)
        result = prune("--older-than", "90d", "--yes")
        assert (result.exit_code, result.stderr) == (1, "mlog: nothing to remove\n")

    def test_no_runs_at_all(self, prune: Prune) -> None:
        result = prune("--older-than", "90d", "--yes")
        assert isinstance(result.exception, MlogError)
        assert "no runs yet in" in str(result.exception)

    def test_help_has_examples(self, prune: Prune) -> None:
        assert "--keep-best 5 --metric mse" in prune("--help").stdout


class TestChosen:
    """Only runs of an experiment, or that fit a filter."""

    def test_experiment(self, prune: Prune, make: Made, run_dir: Path) -> None:
        make("a", 91)
        make("b", 91, experiment="other one-d6c2c3")
        prune("--older-than", "90d", "--experiment", "mnist", "--yes")
        assert left(run_dir) == ["b"]

    def test_unknown_experiment(self, prune: Prune, make: Made) -> None:
        make("a", 91)
        result = prune("--older-than", "90d", "--experiment", "mist", "--yes")
        assert isinstance(result.exception, MlogError)
        assert "did you mean mnist?" in str(result.exception)

    def test_filter(self, prune: Prune, make: Made, run_dir: Path) -> None:
        make("a", 91, status="Failed")
        make("b", 91)
        prune("--older-than", "90d", "--filter", "status = failed", "--yes")
        assert left(run_dir) == ["b"]

    def test_wrong_filter(self, prune: Prune) -> None:
        result = prune("--older-than", "90d", "--filter", "status <", "--yes")
        assert result.exit_code == 2
        assert "expected a value" in result.stderr


class TestBest:
    """Of those that would go, the best of each experiment stay."""

    def best(self, prune: Prune, *args: str) -> Result:
        return prune("--older-than", "90d", "--keep-best", *args, "--yes")

    def test_the_least_stay(self, prune: Prune, make: Made, run_dir: Path) -> None:
        for name, mse in {"a": 3, "b": 1.5, "c": 2, "d": float("nan")}.items():
            make(name, 91, mse=mse)
        make("none", 91)
        make("young", 1, mse=0)
        result = self.best(prune, "2", "--metric", "mse")
        assert result.exit_code == 0
        assert left(run_dir) == ["b", "c", "young"]
        assert "mnist/b stays: one of the best 2 by mse: 1.5\n" in result.stderr

    def test_maximize(self, prune: Prune, make: Made, run_dir: Path) -> None:
        for name, acc in {"a": 0.5, "b": 0.9, "c": 0.7}.items():
            make(name, 91, acc=acc)
        self.best(prune, "1", "--metric", "acc", "--maximize")
        assert left(run_dir) == ["b"]

    def test_of_each_experiment(self, prune: Prune, make: Made, run_dir: Path) -> None:
        for experiment in ("x", "y"):
            make(f"{experiment}1", 91, experiment=experiment, mse=1)
            make(f"{experiment}2", 91, experiment=experiment, mse=2)
        self.best(prune, "1", "--metric", "mse")
        assert left(run_dir) == ["x1", "y1"]

    def test_an_experiment_without_the_metric_stays(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        """Nobody can say which of its runs are the best."""
        make("x1", 91, experiment="x", mse=1)
        make("x2", 91, experiment="x", mse=2)
        make("y1", 91, experiment="y", loss=1)
        result = self.best(prune, "1", "--metric", "mse")
        assert left(run_dir) == ["x1", "y1"]
        assert "y/y1 stays: no run of its experiment has mse\n" in result.stderr

    def test_the_best_stays_though_it_was_killed(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        """It has no end that says how good it was; its lines do."""
        make("a", 91, mse=2)
        make("b", 91, mse=3)
        run = make("killed", 91, mse=9)
        (run / "run.json").unlink(missing_ok=True)
        lines = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if b'.end"' not in line]
        (run / "events.jsonl").write_bytes(b"".join(kept))
        entry = {"ts": "2026-01-01T00:00:00.000000Z", "seq": 99, "metric": {"mse": 1}}
        (run / "metrics.jsonl").write_bytes(json.dumps(entry).encode() + b"\n")
        self.best(prune, "1", "--metric", "mse")
        assert left(run_dir) == ["killed"]

    def test_a_misspelt_metric_removes_nothing(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        make("a", 91, mse=1)
        result = self.best(prune, "1", "--metric", "mes")
        assert isinstance(result.exception, MlogError)
        assert "no old run has the metric 'mes'; they have mse" in str(result.exception)
        assert left(run_dir) == ["a"]

    @pytest.mark.parametrize(
        "args", [("--keep-best", "3"), ("--metric", "mse"), ("--maximize",)]
    )
    def test_what_goes_together(self, prune: Prune, args: tuple[str, ...]) -> None:
        assert prune("--older-than", "90d", "--yes", *args).exit_code == 2


class TestFamilies:
    """A parent goes only with all its children."""

    def test_an_old_family_goes(self, prune: Prune, make: Made, run_dir: Path) -> None:
        make("child", 91, parent=make("parent", 91))
        assert prune("--older-than", "90d", "--yes").exit_code == 0
        assert left(run_dir) == []

    @pytest.mark.parametrize("args", [(), ("--recursive",)])
    def test_a_parent_of_a_young_child_stays(
        self, prune: Prune, make: Made, run_dir: Path, args: tuple[str, ...]
    ) -> None:
        make("child", 1, parent=make("parent", 91))
        result = prune("--older-than", "90d", "--yes", *args)
        assert result.exit_code == 1
        assert left(run_dir) == ["child", "parent"]

    def test_a_parent_of_one_of_the_best_stays(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        parent = make("parent", 91)
        make("a", 91, parent=parent, mse=1)
        make("b", 91, parent=parent, mse=2)
        prune(*("--older-than", "90d", "--keep-best", "1", "--metric", "mse", "--yes"))
        assert left(run_dir) == ["a", "parent"]

    def test_children_that_do_not_fit_go_with_recursive(
        self, prune: Prune, make: Made, run_dir: Path
    ) -> None:
        make("child", 91, parent=make("parent", 91, status="Failed"))
        args = ("--older-than", "90d", "--filter", "status=Failed", "--yes")
        assert prune(*args).exit_code == 1
        assert prune(*args, "--recursive").exit_code == 0
        assert left(run_dir) == []


def test_json(prune: Prune, make: Made, run_dir: Path) -> None:
    folder = make("old", 91)
    size = (folder / "events.jsonl").stat().st_size
    result = prune("--older-than", "90d", "--yes", "--json")
    path = str(folder)
    run = {"run": "old", "experiment": "mnist", "path": path, "bytes": size}
    assert json.loads(result.stdout) == {
        "removed": [run],
        "kept": [],
        "bytes": size,
        "dry_run": False,
    }


def test_the_whole_answer(
    prune: Prune, make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go, and how many stay for which reason."""
    monkeypatch.setenv("COLUMNS", "100")
    for number, days in enumerate((91, 92, 93, 1)):
        make(f"run-{number}", days, loss=number)
    rule = ("--older-than", "90d", "--keep-best", "1", "--metric", "loss")
    result = prune(*rule, "--dry-run")
    times = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
    assert times.sub("(time)", result.stdout).splitlines() == [
        "run          status     last entry                size",
        "mnist/run-1  Completed  (time)  377 B",
        "mnist/run-2  Completed  (time)  377 B",
        "would remove 2 runs, 754 B",
    ]
    kept = "mlog: mnist/run-0 stays: one of the best 1 by loss: 0\n"
    assert (result.exit_code, result.stderr) == (0, kept)
