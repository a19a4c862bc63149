"""`mlog.sweep`, with real scripts, and killed for real."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import MlogError, RunNotFoundError
from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import submit
from mlog.launch.sweep import Sweep, resume_sweep, sweep
from mlog.launch.sweep_plan import Plan
from mlog.launch.sweep_sampling import Grid, Listed
from mlog.launch.sweep_space import make_space
from mlog.launch.sweep_trials import Trial
from mlog.reader.find import iter_runs
from mlog.reader.state import read_state
from mlog.run.launched import request_cancel
from mlog.run.open import open_run
from mlog.run.start import start_run
from tests.helpers import REPO, entries, lost
from tests.launch.helpers import events, is_alive, wait_until

# Logs (alpha - 0.4)² a few times, or does what it is told by files of the folder MARKS.
TRAIN = """
import logging, os, sys, time, pathlib
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
alpha = float(given.get("--alpha", os.environ.get("alpha", 0)))
marks = pathlib.Path(os.environ["MARKS"])
with open(marks / "ran", "a") as file:
    file.write(f"{alpha}\\n")
if (marks / f"fail-{alpha}").exists():
    sys.exit("bad alpha")
for step in range(3):
    value = (alpha - 0.4) ** 2 + 1 / (step + 1)
    metric = {"mse": value}
    logging.getLogger("train").warning("", extra={"metric": metric, "step": step})
while (marks / f"hold-{alpha}").exists():
    time.sleep(0.01)
"""


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of files that tell trials what to do."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("MARKS", str(folder))
    return folder


@pytest.fixture
def script(source: Path, marks: Path) -> Path:
    """Return the path of the script."""
    path = source / "train.py"
    path.write_text(TRAIN)
    return path


@pytest.fixture(autouse=True)
def nothing_left(run_dir: Path) -> Iterator[None]:
    """Fail if a supervisor or a script outlives its test, and end it."""
    yield
    for folder in iter_runs(run_dir):
        state = read_state(folder)
        for writer in state.writers:
            if writer.alive and writer.pid != os.getpid():
                pid = writer.pid or 0
                wait_until(partial(has_ended, pid), f"end of {folder}")


def has_ended(pid: int) -> bool:
    """Whether a process is gone."""
    return not is_alive(pid)


def ran(marks: Path) -> list[float]:
    """Return the alphas of all scripts that were ever begun."""
    path = marks / "ran"
    return sorted(map(float, path.read_text().split())) if path.exists() else []


def parent_of(root: Path) -> Path:
    """Return the folder of the one sweep in a root."""
    (found,) = [f for f in iter_runs(root) if (f / "artifacts/sweep.json").exists()]
    return found


def test_each_combination_is_a_run_with_its_params(
    script: Path, marks: Path, run_dir: Path
) -> None:
    (marks / "fail-0.3").touch()
    told: list[Trial] = []
    found = sweep(
        script,
        {"alpha": "0.2:0.4:0.1"},
        metric="mse",
        jobs=2,
        tags={"team": "a"},
        name="first",
        on_trial=told.append,
    )
    assert ran(marks) == [0.2, 0.3, 0.4]
    assert [trial.status for trial in found.trials] == [
        *("Completed", "Failed", "Completed"),
    ]
    assert sorted(told, key=lambda t: t.number) == found.trials
    assert found.best is not None
    assert (found.best.params, found.best.value) == ({"alpha": 0.4}, 1 / 3)
    assert found.best.metrics["mse"][-1] == 1 / 3
    children = list(found.run.get_children())
    assert {child.id for child in children} == {t.run_id for t in found.trials}
    for trial in found.trials:
        state = read_state(trial.run.path or Path())
        assert state.params == trial.params
        assert state.tags == {"team": "a"}
        assert state.name == f"alpha={trial.params['alpha']}"
    assert found.trials[1].why.startswith("exit code 1")
    # The sweep's own run tells of it.
    folder = found.run.path
    assert folder == parent_of(run_dir)
    assert found.status == "Completed"
    state = read_state(folder)
    assert (state.name, state.params) == ("first", {"alpha": "0.2:0.4:0.1"})
    assert state.tags == {"team": "a", "best_run": found.best.run_id}
    assert state.metrics["best/mse"]["last"] == 1 / 3
    (summary,) = events(folder, "run.sweep")
    assert summary["best"]["params"] == {"alpha": 0.4}
    assert (summary["trials"], summary["Completed"], summary["Failed"]) == (3, 2, 1)
    assert all(lost(run) == {} for run in iter_runs(run_dir))
    lines = [e["msg"] for e in entries(folder, "logs") if "msg" in e]
    assert any("trial 2 Failed: alpha=0.3; exit code 1" in line for line in lines)
    again = Sweep.of(open_run(found.run.id))
    assert [t.status for t in again.trials] == [t.status for t in found.trials]
    assert again.best is not None
    assert again.best.run_id == found.best.run_id
    assert "best mse 0.333" in repr(again)
    assert again.rows()[0]["param.alpha"] == 0.2
    table = again.to_pandas()
    assert list(table["metric.mse"].dropna()) == [
        t.value for t in again.trials if t.value
    ]


def test_params_go_where_a_place_names_them(source: Path, run_dir: Path) -> None:
    config = ScriptRunConfig(
        source,
        command=[sys.executable, "-c", "import sys; print(sys.argv[1:])", "--a={a}"],
        in_place=True,
    )
    plan = Plan(config, Grid(make_space({"a": [1], "--b": ["x y"]})))
    found = plan.config_for(plan.sampling.params(0, (), minimize=True))
    assert found.line[3:] == ["--a=1", "--b", "x y"]
    assert config.command[-1] == "--a={a}"  # type: ignore[index]
    shell = ScriptRunConfig(source, command="echo {a} {other} $b", in_place=True)
    plan = Plan(shell, plan.sampling)
    params = plan.sampling.params(0, (), minimize=True)
    assert plan.config_for(params).command == "echo 1 {other} $b"
    assert plan.variables_for(params) == {"b": "x y"}


def test_values_that_begin_with_a_dash_are_no_options(
    source: Path, run_dir: Path
) -> None:
    """Whatever parses the command line: argparse takes few of them as words."""
    script = """
import argparse
parser = argparse.ArgumentParser()
for name in ("--a", "--b", "--c", "-d", "--e"):
    parser.add_argument(name, type=str if name == "--e" else float, dest=name[-1])
print([float(x) if n != "e" else x for n, x in sorted(vars(parser.parse_args()).items())])
"""
    (source / "train.py").write_text(script)
    values = {"a": -5e-05, "b": -1, "c": -0.5, "-d": float("-inf"), "e": "-x y"}
    plan = Plan(ScriptRunConfig(source, "train.py"), Listed([values]))
    arguments = plan.config_for(values).arguments
    assert arguments == ["--a=-5e-05", *"--b -1 --c -0.5 -d-inf".split(), "--e=-x y"]
    line = [sys.executable, str(source / "train.py"), *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == "[-5e-05, -1.0, -0.5, -inf, '-x y']\n"


def test_params_may_be_environment_variables(script: Path, marks: Path) -> None:
    found = sweep(script, {"alpha": [0.5]}, passing="variables")
    assert ran(marks) == [0.5]
    argv = read_state(found.trials[0].run.path or Path()).start["argv"]
    assert argv == ["train.py"]


def test_listed_trials_are_run_as_they_are(script: Path, marks: Path) -> None:
    found = sweep(script, [{"alpha": 0.5}, {"alpha": 0.1, "more": "x"}])
    assert ran(marks) == [0.1, 0.5]
    assert found.trials[1].params == {"alpha": 0.1, "more": "x"}
    assert found.best is None


def test_trials_that_log_no_metric_are_told_of(script: Path) -> None:
    found = sweep(script, {"alpha": [0.5]}, metric="accuracy")
    assert found.best is None
    folder = found.run.path
    assert folder is not None
    warned = [e["msg"] for e in entries(folder, "logs") if e["level"] == "WARNING"]
    assert warned == ["trial 1 has logged no 'accuracy'; it has logged mse"]


def test_a_sweep_whose_trials_all_fail_has_failed(script: Path, marks: Path) -> None:
    (marks / "fail-0.5").touch()
    found = sweep(script, {"alpha": [0.5]})
    assert found.status == "Failed"
    error = read_state(found.run.path or Path()).error or {}
    assert error["msg"].startswith("all trials have failed; the last: exit code 1")


def test_a_sweep_in_a_run_is_its_child(script: Path) -> None:
    with start_run("outer") as outer:
        found = sweep(script, {"alpha": [0.5]}, experiment="inner")
    assert found.run.parent_path == str(outer.path)
    assert read_state(outer.path or Path()).status == "Completed"


# --- early stopping ------------------------------------------------------------------

LONG = """
import logging, sys, time
alpha = float(sys.argv[2])
for step in range(3 if alpha < 1 else 100_000):
    metric = {"mse": alpha + 1 / (step + 1)}
    logging.getLogger("train").warning("", extra={"metric": metric, "step": step})
    time.sleep(0.01)
"""


def test_a_bad_trial_is_ended_early(source: Path) -> None:
    """As soon as it is known to be bad, with the reason; the rest is not touched."""
    (source / "train.py").write_text(LONG)
    space = {"alpha": [0.1, 0.2, 9.0, 0.15]}
    found = sweep(source / "train.py", space, metric="mse", stop="median:delay=2")
    assert [trial.status for trial in found.trials] == [
        *("Completed", "Completed", "Canceled", "Completed"),
    ]
    state = read_state(found.trials[2].run.path or Path())
    assert state.status == "Canceled"
    assert (state.error or {})["msg"].startswith("median: 9.")
    assert found.trials[2].why == (state.error or {})["msg"]
    assert found.status == "Completed"


def test_a_sweep_is_ended_when_its_time_is_over(source: Path) -> None:
    (source / "train.py").write_text(LONG)
    found = sweep(source / "train.py", {"alpha": [2, 3]}, max_seconds=1)
    assert found.status == "Canceled"
    assert [trial.status for trial in found.trials] == ["Canceled"]
    error = read_state(found.run.path or Path()).error or {}
    assert error["msg"] == "the sweep ran longer than 1 s"


# --- ended and gone on with ----------------------------------------------------------

CONDUCT = """
import json, os, signal, sys
import mlog
from mlog.launch import sweep_conductor
from mlog.launch.sweep_conductor import Conductor

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

where, number, resume = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
submit, end = sweep_conductor.submit, Conductor._end
count = 0

def submitting(*args, **kwargs):
    global count
    count += 1
    if count == number and where == "written":
        die()
    done = submit(*args, **kwargs)
    if count == number and where == "submitted":
        die()
    return done

def ending(self, trial, *args):
    if trial.number == number and where == "over":
        die()
    end(self, trial, *args)
    if trial.number == number and where == "told":
        die()

sweep_conductor.submit, Conductor._end = submitting, ending
if resume:
    mlog.sweep(resume=resume[0])
else:
    mlog.sweep("train.py", {"alpha": [0.1, 0.2, 0.3]}, metric="mse", jobs=2)
"""

Conduct = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def conduct(source: Path, script: Path) -> Iterator[Conduct]:
    """Start a conductor in a child, which may kill itself at some point."""
    children: list[subprocess.Popen[bytes]] = []

    def start(where: str = "", number: int = 0, *more: str) -> Any:
        child = subprocess.Popen(
            [sys.executable, "-c", CONDUCT, where, str(number), *more],
            cwd=source,
            env={**os.environ, "PYTHONPATH": str(REPO)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def assert_each_ran_once(found: Sweep, marks: Path, root: Path) -> None:
    assert [trial.status for trial in found.trials] == ["Completed"] * 3
    assert ran(marks) == [0.1, 0.2, 0.3]
    children = [f for f in iter_runs(root) if f != found.run.path]
    assert sorted(f.name for f in children) == sorted(t.run_id for t in found.trials)
    assert {read_state(f).status for f in children} == {"Completed"}
    assert all(lost(f) == {} for f in children)


@pytest.mark.parametrize("where", ["written", "submitted", "over", "told"])
def test_a_killed_sweep_goes_on_where_it_was(
    conduct: Conduct, marks: Path, run_dir: Path, where: str
) -> None:
    """Killed before or after a trial is submitted, or its end is written down.

    What has ended is not run again, what goes on is waited for, what was only written
    down is run.
    """
    assert conduct(where, 2).wait(60) == -signal.SIGKILL
    folder = parent_of(run_dir)
    assert read_state(folder).status == "NotResponding"
    found = sweep(resume=folder.name)
    assert found.run.path == folder
    assert_each_ran_once(found, marks, run_dir)
    assert found.best is not None
    assert found.best.params == {"alpha": 0.3}
    assert read_state(folder).status == "Completed"


def has_come_so_far(child: Any, root: Path, lines: int) -> bool:
    """Whether a sweep has written so many events, or has ended."""
    folders = [path.parents[1] for path in root.glob("[!.]*/*/artifacts/sweep.json")]
    said = sum(len(entries(folder, "events")) for folder in folders)
    return said >= lines or child.poll() is not None


@pytest.mark.slow
@pytest.mark.parametrize("lines", range(4, 24, 3))
def test_a_sweep_killed_at_any_point_goes_on(
    conduct: Conduct, marks: Path, run_dir: Path, lines: int
) -> None:
    """Killed from outside, twice, after so many events."""
    for more in ([], ["latest"]):
        child = conduct("", 0, *more)
        wait_until(partial(has_come_so_far, child, run_dir, lines), f"{lines} events")
        child.kill()
        child.wait()
    assert_each_ran_once(sweep(resume="latest"), marks, run_dir)


def test_running_trials_outlive_their_conductor_and_are_waited_for(
    conduct: Conduct, marks: Path, run_dir: Path
) -> None:
    for alpha in (0.1, 0.2):
        (marks / f"hold-{alpha}").touch()
    child = conduct()
    wait_until(lambda: ran(marks) == [0.1, 0.2], "two running trials")
    child.kill()
    child.wait()
    before = [data["run"] for data in events(parent_of(run_dir), "run.trial")]
    (marks / "hold-0.1").unlink()  # ends while nobody looks
    second = conduct("", 0, "latest")
    wait_until(lambda: ran(marks) == [0.1, 0.2, 0.3], "the third trial")
    (marks / "hold-0.2").unlink()
    assert second.wait(60) == 0, second.stderr
    found = Sweep.of(open_run(str(parent_of(run_dir))))
    assert_each_ran_once(found, marks, run_dir)
    assert [trial.run_id for trial in found.trials[:2]] == before


def test_a_trial_whose_supervisor_was_killed_is_run_anew(
    conduct: Conduct, marks: Path, run_dir: Path
) -> None:
    (marks / "hold-0.1").touch()
    child = conduct()
    wait_until(lambda: 0.1 in ran(marks), "a running trial")
    child.kill()
    child.wait()
    folder = parent_of(run_dir)
    first = events(folder, "run.trial")[0]
    trial = folder.parent / first["run"]
    (running,) = [d for d in events(trial, "run.status") if d["status"] == "Running"]
    supervisor = next(w.pid for w in read_state(trial).writers if w.main)
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    os.killpg(running["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(supervisor), "end of the supervisor")
    (marks / "hold-0.1").unlink()
    found = sweep(resume=str(folder))
    assert [t.status for t in found.trials] == ["Completed"] * 3, [
        t.why for t in found.trials
    ]
    assert found.trials[0].run_id != trial.name
    old = read_state(trial)
    assert old.status == "Canceled"
    assert (old.error or {})["msg"] == "nobody watched it; trial 1 is run anew"
    assert Counter(ran(marks)) == {0.1: 2, 0.2: 1, 0.3: 1}


def test_a_signal_ends_the_running_trials_and_they_are_run_anew(
    conduct: Conduct, marks: Path, run_dir: Path
) -> None:
    for alpha in (0.1, 0.2):
        (marks / f"hold-{alpha}").touch()
    child = conduct()
    wait_until(lambda: ran(marks) == [0.1, 0.2], "two running trials")
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) != 0
    folder = parent_of(run_dir)
    state = read_state(folder)
    assert (state.status, (state.error or {})["msg"]) == ("Canceled", "SIGTERM")
    trials = [f for f in iter_runs(run_dir) if f != folder]
    assert {read_state(f).status for f in trials} == {"Canceled"}
    for alpha in (0.1, 0.2):
        (marks / f"hold-{alpha}").unlink()
    found = sweep(resume=folder.name, jobs=3)
    assert [t.status for t in found.trials] == ["Completed"] * 3
    assert Counter(ran(marks)) == {0.1: 2, 0.2: 2, 0.3: 1}


def test_a_sweep_is_cancelled_from_anywhere(
    script: Path, marks: Path, run_dir: Path
) -> None:
    """By the same request as a script, and gone on with afterwards."""
    (marks / "hold-0.1").touch()

    def cancel() -> None:
        wait_until(lambda: ran(marks) == [0.1], "a running trial")
        assert request_cancel(parent_of(run_dir), "enough")

    thread = threading.Thread(target=cancel)
    thread.start()
    found = sweep(script, {"alpha": [0.1, 0.2]})
    thread.join()
    assert [t.why for t in found.trials] == ["enough"]
    assert found.status == "Canceled"
    (marks / "hold-0.1").unlink()
    found = sweep(resume=found.run)
    assert [t.status for t in found.trials] == ["Completed"] * 2


def test_a_sweep_that_goes_on_is_left_alone(
    conduct: Conduct, marks: Path, run_dir: Path
) -> None:
    (marks / "hold-0.1").touch()
    child = conduct()
    wait_until(lambda: 0.1 in ran(marks), "a running trial")
    with pytest.raises(MlogError, match=f"another process conducts it.*{child.pid}"):
        sweep(resume=parent_of(run_dir).name)
    (marks / "hold-0.1").unlink()
    assert child.wait(60) == 0


def test_only_one_process_goes_on_with_a_sweep(script: Path) -> None:
    """Also if several try at once, before any is known to the others."""
    run = sweep(script, {"alpha": [0.1]}).run
    sweeping = resume_sweep(run)
    sweeping.run.end("Canceled")  # its lock is still held
    with pytest.raises(MlogError, match="another process goes on with sweep"):
        resume_sweep(run)
    del sweeping
    assert sweep(resume=run).status == "Completed"


def test_a_finished_sweep_has_nothing_left_to_do(script: Path, marks: Path) -> None:
    found = sweep(script, {"alpha": [0.1, 0.2]}, metric="mse")
    again = sweep(resume=found.trials[1].run_id)  # a trial stands for its sweep
    assert ran(marks) == [0.1, 0.2]
    assert [t.run_id for t in again.trials] == [t.run_id for t in found.trials]
    assert [t.value for t in again.trials] == [t.value for t in found.trials]


# --- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"goal": "up"}, ValueError, "goal must be 'minimize' or 'maximize', got 'up'"),
        ({"jobs": 0}, ValueError, "jobs must be an integer >= 1, got 0"),
        ({"stop": "median"}, ValueError, "median compares trials by a metric"),
        ({"metric": "m", "stop": "luck"}, ValueError, "no rule 'luck'"),
        ({"metric": ""}, TypeError, "metric must be a name"),
        ({"passing": "mail"}, ValueError, "passing must be 'arguments' or"),
        ({"max_seconds": 0}, ValueError, "seconds must be > 0 or None, got 0"),
        ({"space": None}, TypeError, "needs a script and a space"),
        ({"script": "none.py"}, FileNotFoundError, "there is no script 'none.py'"),
        ({"resume": "latest"}, ValueError, "has its script and space"),
    ],
)
def test_wrong_arguments_begin_nothing(
    script: Path,
    run_dir: Path,
    options: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    given: dict[str, Any] = {"script": script, "space": {"alpha": [1]}, **options}
    with pytest.raises(error, match=text):
        sweep(given.pop("script"), given.pop("space"), **given)
    assert list(iter_runs(run_dir)) == []


def test_only_a_sweep_is_gone_on_with(run_dir: Path) -> None:
    with pytest.raises(RunNotFoundError):
        sweep(resume="latest")
    with start_run("other") as run:
        pass
    with pytest.raises(MlogError, match=f"run {run.id} is no sweep"):
        sweep(resume="latest")


def test_nothing_is_begun_where_runs_are_off(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOG_MODE", "off")
    with pytest.raises(MlogError, match="MLOG_MODE=off: a sweep needs runs"):
        sweep(script, {"alpha": [1]})


def test_secrets_are_not_kept_and_then_nobody_goes_on(
    source: Path, script: Path
) -> None:
    config = ScriptRunConfig(source, "train.py", ["--password", "hunter2hunter2"])
    found = sweep(config, {"alpha": [0.1]})
    for run in (found.run, found.trials[0].run):
        for path in (run.path or Path()).rglob("*"):
            if path.is_file():
                assert b"hunter2" not in path.read_bytes()
    assert json.loads(
        ((found.run.path or Path()) / "artifacts/sweep.json").read_bytes()
    )["redacted"]
    with pytest.raises(MlogError, match="the sweep was given secrets"):
        sweep(resume=found.run)


def test_a_damaged_plan_is_one_clear_line(script: Path) -> None:
    found = sweep(script, {"alpha": [0.1]})
    plan = (found.run.path or Path()) / "artifacts/sweep.json"
    plan.write_text("{}")
    with pytest.raises(MlogError, match=r"sweep\.json is no plan of a sweep"):
        sweep(resume=found.run)
    plan.unlink()
    with pytest.raises(MlogError, match=r"the plan of sweep .* is gone"):
        sweep(resume=found.run)


def test_a_trial_that_cannot_even_begin_does_not_stop_the_rest(
    source: Path, script: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no run, is told of, and is tried again by who goes on."""

    def fail(config: ScriptRunConfig, **options: Any) -> Any:
        if "0.1" in config.arguments:
            raise MlogError("the run could not be made: no space left")
        return submit(config, **options)

    with monkeypatch.context() as patch:
        patch.setattr("mlog.launch.sweep_conductor.submit", fail)
        found = sweep(script, {"alpha": [0.1, 0.2]})
    assert [t.status for t in found.trials] == ["Failed", "Completed"]
    assert found.trials[0].path is None
    assert found.trials[0].why == "the run could not be made: no space left"
    with pytest.raises(MlogError, match="trial 1 has no run"):
        found.trials[0].run  # noqa: B018  # the access is the test
    again = sweep(resume=found.run)
    assert [t.status for t in again.trials] == ["Completed"] * 2
    assert ran(marks) == [0.1, 0.2]
