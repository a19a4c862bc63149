"""A submitted script, from `submit` to the end of its run, with real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from mlog.errors import MlogError, RunNotFoundError
from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import submit
from mlog.reader.state import read_state
from mlog.run.launched import request_cancel
from mlog.run.start import start_run
from tests.helpers import REPO, entries, gaps, run_python
from tests.launch.conftest import Launch, wait_for_end
from tests.launch.helpers import (
    HANG,
    events,
    is_alive,
    pid_in,
    printed,
    raw_log,
    statuses,
    wait_until,
)

Finished = Callable[..., Path]


# --- life ----------------------------------------------------------------------------


def test_a_script_runs_to_its_end(finished: Finished) -> None:
    folder = finished("print('hello')")
    assert statuses(folder) == [
        *("NotStarted", "Preparing", "Running", "Finalizing", "Completed")
    ]
    assert printed(folder) == ["hello"]
    assert gaps(folder) == {}


def test_each_status_has_its_time(finished: Finished) -> None:
    found = entries(finished(), "events")
    times = [e["ts"] for e in found if e["event"] in ("run.status", "run.end")]
    assert times == sorted(times)
    assert [datetime.fromisoformat(time) for time in times]


def test_submit_returns_while_the_script_runs(launch: Launch, tmp_path: Path) -> None:
    run = launch(HANG, tmp_path / "pid")
    assert run.folder.name == run.run_id
    assert run.folder.parent.name == "scripts"
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    assert read_state(run.folder).status == "Running"


def test_the_script_outlives_whoever_submitted_it(
    source: Path, run_dir: Path, tmp_path: Path
) -> None:
    (source / "train.py").write_text(HANG + "\n")
    pid = tmp_path / "pid"
    code = f"""
from mlog.launch.config import ScriptRunConfig
from mlog.launch.submit import submit
import os, signal
config = ScriptRunConfig({str(source)!r}, "train.py", [{str(pid)!r}])
run = submit(config, experiment="e")
print(run.folder, run.pid, flush=True)
os.killpg(os.getpid(), signal.SIGKILL)  # as a terminal that is closed
"""
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    folder, supervisor = process.stdout.split()
    wait_until(lambda: pid_in(pid), "the script runs")
    os.kill(int(supervisor), signal.SIGTERM)
    wait_until(lambda: not is_alive(int(supervisor)), "the supervisor ends")
    assert statuses(Path(folder))[-1] == "Canceled"
    assert not is_alive(pid_in(pid))


def test_a_supervisor_is_no_child_that_has_to_be_collected(launch: Launch) -> None:
    run = launch()
    with pytest.raises(ChildProcessError):
        os.waitpid(run.pid, os.WNOHANG)


def test_a_script_that_fails_makes_the_run_fail(finished: Finished) -> None:
    folder = finished("print('before')\nraise SystemExit(3)")
    (end,) = events(folder, "run.end")
    assert end["status"] == "Failed"
    assert end["error"]["exit_code"] == 3
    assert end["error"]["msg"] == "exit code 3; its last lines:\nbefore"


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("fail('too bad')", "Failed"),
        ("cancel()", "Canceled"),
        ("complete()", "Completed"),
    ],
)
def test_what_the_script_says_of_its_run_counts(
    finished: Finished, call: str, status: str
) -> None:
    """A script may give its run up and yet exit with 0."""
    folder = finished(f"import mlog\nmlog.current_run().{call}")
    state = read_state(folder)
    assert state.status == status
    if status == "Failed":
        assert state.error is not None
        assert state.error["msg"] == "too bad"


def test_a_command_needs_no_source(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = ScriptRunConfig(tmp_path / "empty", command=["echo", "hello"])
    run = submit(config, experiment="e", root=run_dir)
    wait_for_end(run)
    assert read_state(run.folder).status == "Completed"
    assert printed(run.folder) == ["hello"]


def test_the_error_holds_the_traceback(finished: Finished) -> None:
    (end,) = events(finished("1 / 0"), "run.end")
    assert end["error"]["msg"].splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_a_script_that_is_killed_says_by_what(finished: Finished) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    (end,) = events(finished(code), "run.end")
    assert end["error"] == {"msg": "ended by SIGKILL", "exit_code": -9}


def test_an_interpreter_that_is_missing_makes_the_run_fail(finished: Finished) -> None:
    folder = finished(config={"environment": "/no/such/python"})
    (end,) = events(folder, "run.end")
    assert end["status"] == "Failed"
    assert end["error"]["msg"] == "there is no interpreter /no/such/python"


def test_a_killed_supervisor_leaves_a_run_that_does_not_respond(
    launch: Launch, tmp_path: Path
) -> None:
    run = launch(HANG, tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(run.pid), "the supervisor is gone")
    os.killpg(pid_in(tmp_path / "pid"), signal.SIGKILL)
    wait_until(lambda: not is_alive(pid_in(tmp_path / "pid")), "the script is gone")
    assert read_state(run.folder).status == "NotResponding"


# --- what it runs in -----------------------------------------------------------------


def test_the_script_runs_in_a_copy(finished: Finished, source: Path) -> None:
    (source / "data.txt").write_text("x")
    folder = finished("import os; print(os.getcwd(), os.path.isfile('data.txt'))")
    cwd, has_data = printed(folder)[0].split()
    assert has_data == "True"
    assert Path(cwd).name == folder.name
    assert Path(cwd) != source
    assert not Path(cwd).exists()
    assert events(folder, "run.snapshot")[0]["files"] == 2


def test_a_script_may_run_in_place(finished: Finished, source: Path) -> None:
    folder = finished("import os; print(os.getcwd())", config={"in_place": True})
    assert printed(folder) == [str(source)]
    assert source.is_dir()


def test_in_place_a_folder_that_is_too_big_is_no_obstacle(
    finished: Finished, source: Path
) -> None:
    """Only a copy has to be made; a command runs wherever it is given."""
    with (source / "big.bin").open("wb") as file:
        file.truncate(400 << 20)
    folder = finished("print('ran')", config={"in_place": True})
    assert printed(folder) == ["ran"]
    assert events(folder, "run.snapshot") == []
    (note,) = printed(folder, "mlog.launch")
    assert note.startswith("no snapshot was taken: ")
    assert "big.bin (400.0 MiB)" in note


def test_outputs_and_logs_are_kept(finished: Finished) -> None:
    code = """
import os
for name in ("outputs", "logs", "other"):
    os.mkdir(name)
    open(name + "/a.txt", "w").write(name)
"""
    artifacts = finished(code) / "artifacts"
    assert (artifacts / "outputs/a.txt").read_text() == "outputs"
    assert (artifacts / "logs/a.txt").read_text() == "logs"
    assert not (artifacts / "other").exists()


def test_a_source_folder_that_is_too_big_makes_the_run_fail(
    finished: Finished, source: Path
) -> None:
    with (source / "big.bin").open("wb") as file:
        file.truncate(400 << 20)
    folder = finished("print('never')")
    (end,) = events(folder, "run.end")
    assert end["status"] == "Failed"
    assert "big.bin" in end["error"]["msg"]
    assert printed(folder) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_source_folder_that_cannot_be_read_makes_the_run_fail(
    finished: Finished, source: Path
) -> None:
    (source / "closed").mkdir(mode=0o000)
    folder = finished("print('never')")
    (source / "closed").chmod(0o700)
    (end,) = events(folder, "run.end")
    assert end["status"] == "Failed"
    assert "Permission denied" in end["error"]["msg"]
    assert "closed" in end["error"]["msg"]


def test_a_command_may_be_anything(finished: Finished) -> None:
    folder = finished(config={"command": ["echo", "a b", 3]})
    assert printed(folder) == ["a b 3"]
    folder = finished(config={"command": "echo $((1 + 2)); exit 4"})
    assert printed(folder) == ["3"]
    assert events(folder, "run.end")[0]["error"]["exit_code"] == 4


def test_python_in_a_command_is_the_interpreter_of_the_config(
    finished: Finished,
) -> None:
    command = "python -c 'import sys; print(sys.executable)'"
    folder = finished(config={"command": command})
    (path,) = printed(folder)
    assert os.path.dirname(path) == os.path.dirname(sys.executable)


def test_the_environment_adds_variables(finished: Finished) -> None:
    class Environment:
        environment_variables = {"SHADE": "green"}  # noqa: RUF012  # as v1's

    code = "import os; print(os.environ['SHADE'])"
    assert printed(finished(code, config={"environment": Environment()})) == ["green"]


def test_arguments_reach_the_script_and_the_run(finished: Finished) -> None:
    folder = finished("import sys; print(sys.argv)", "--alpha", 0.5)
    assert printed(folder) == ["['train.py', '--alpha', '0.5']"]
    assert events(folder, "run.start")[0]["argv"] == ["train.py", "--alpha", "0.5"]
    (launched,) = events(folder, "run.launch")
    assert launched["script"] == "train.py"
    assert launched["arguments"] == ["--alpha", "0.5"]


def test_name_params_and_tags_are_those_of_the_run(finished: Finished) -> None:
    folder = finished(name="first", params={"alpha": 0.5}, tags={"team": "a"})
    assert events(folder, "run.params") == [{"alpha": 0.5}]
    assert events(folder, "run.tags") == [{"team": "a"}]
    assert events(folder, "run.start")[0]["display_name"] == "first"


def test_an_open_run_is_the_parent_only_if_it_is_given(finished: Finished) -> None:
    with start_run("outer") as parent:
        alone = finished()
        child = finished(parent=parent)
    assert "parent" not in events(alone, "run.start")[0]
    assert events(child, "run.start")[0]["parent"] == str(parent.path)
    assert parent.path is not None
    assert [data["run"] for data in events(parent.path, "run.child")] == [child.name]


def test_a_parent_that_is_not_there_is_refused(launch: Launch) -> None:
    with pytest.raises(RunNotFoundError):
        launch(parent="nobody")


def test_a_run_that_cannot_be_made_is_told_to_whoever_submits(
    source: Path, tmp_path: Path
) -> None:
    """Here because a folder below the root is a link."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "e").symlink_to(tmp_path)
    (source / "train.py").write_text("")
    config = ScriptRunConfig(source, "train.py")
    with pytest.raises(MlogError, match=r"could not be made: .*is a link"):
        submit(config, experiment="e", root=root)


def test_nothing_can_be_submitted_where_mlog_is_off(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOG_MODE", "off")
    with pytest.raises(MlogError, match="MLOG_MODE=off"):
        launch()


# --- in the script -------------------------------------------------------------------


def test_plain_logging_lands_in_the_run(finished: Finished) -> None:
    """The script imports nothing of mlog."""
    code = """
import logging
logging.getLogger("train").info("step", extra={"metric": {"loss": 0.25}, "step": 3})
logging.getLogger("train").warning("careful")
"""
    folder = finished(code)
    (metric,) = entries(folder, "metrics")
    assert (metric["metric"], metric["step"]) == ({"loss": 0.25}, 3)
    logged = [e["msg"] for e in entries(folder, "logs") if e["logger"] == "train"]
    assert logged == ["careful"]
    assert events(folder, "run.end")[0]["metrics"]["loss"]["last"] == 0.25


def test_the_current_run_is_the_submitted_one(finished: Finished) -> None:
    code = """
import mlog
run = mlog.current_run()
run.log("mse", 2.5)
print(run.id)
"""
    folder = finished(code)
    assert printed(folder) == [folder.name]
    assert entries(folder, "metrics")[0]["metric"] == {"mse": 2.5}


def test_the_path_of_the_script_is_as_without_a_launcher(finished: Finished) -> None:
    path = json.loads(
        printed(finished("import json, sys; print(json.dumps(sys.path))"))[0]
    )
    assert not [folder for folder in path if "launch" in folder]


def test_the_users_sitecustomize_is_still_imported(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('from the user')")
    path = os.pathsep.join([str(own), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    assert printed(finished("print('script')"))[-2:] == ["from the user", "script"]


def test_an_interpreter_without_mlog_runs_all_the_same() -> None:
    """`-S` finds no installed package, so joining fails, and is left."""
    inject = REPO / "mlog" / "launch" / "inject"
    code = f"import sys; sys.path.insert(0, {str(inject)!r}); import sitecustomize"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- what it prints ------------------------------------------------------------------


def test_both_streams_are_kept_line_by_line(finished: Finished) -> None:
    code = "import sys; print('a'); print('b', file=sys.stderr); print('c', end='')"
    folder = finished(code)
    assert printed(folder, "stdout") == ["a", "c"]
    assert printed(folder, "stderr") == ["b"]
    assert sorted(raw_log(folder)) == sorted(b"a\nb\nc")
    (artifact,) = events(folder, "run.artifact")
    assert (artifact["path"], artifact["size"]) == ("user_logs/std_log.txt", 5)


def test_lines_come_while_the_script_runs(launch: Launch, tmp_path: Path) -> None:
    run = launch("print('now')\n" + HANG, tmp_path / "pid")
    wait_until(lambda: printed(run.folder) == ["now"], "the line is there")
    assert raw_log(run.folder) == b"now\n"


def test_lines_of_several_processes_are_not_mixed_up(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one write, although it is printed in parts."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    code = """
import subprocess, sys
part = "for i in range(2000): print('a', 'b', 'c', i)"
both = [subprocess.Popen([sys.executable, "-c", part]) for _ in range(2)]
print(*[each.wait() for each in both])
"""
    lines = printed(finished(code))
    assert sorted(lines[:-1]) == sorted(f"a b c {i}" for i in range(2000) for _ in "xy")
    assert lines[-1] == "0 0"


def test_ranks_write_one_run(
    finished: Finished, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchrun starts them: sessions of their own, `RANK` and `WORLD_SIZE`."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    (source / "rank.py").write_text(
        "import logging, os\n"
        "rank = int(os.environ['RANK'])\n"
        "extra = {'metric': {'loss': 1.0 + rank}}\n"
        "logging.getLogger('t').info('', extra=extra)\n"
        "print('rank', rank)\n"
    )
    code = """
import os, subprocess, sys
ranks = [
    subprocess.Popen(
        [sys.executable, "rank.py"],
        start_new_session=True,
        env=os.environ | {"RANK": str(n), "WORLD_SIZE": "2", "LOCAL_RANK": str(n)},
    )
    for n in range(2)
]
sys.exit(max(rank.wait() for rank in ranks))
"""
    folder = finished(code)
    state = read_state(folder)
    assert state.status == "Completed"
    assert sorted(w.rank for w in state.writers if w.rank is not None) == [0, 1]
    assert state.metrics["loss"]["last"] == 1.0
    assert sorted(printed(folder)) == ["rank 0", "rank 1"]


def test_a_progress_bar_is_one_line_with_a_count(finished: Finished) -> None:
    code = "import sys\nfor i in range(5): sys.stdout.write(f'\\r{i}/4')\nprint()"
    folder = finished(code)
    (line,) = [e for e in entries(folder, "logs") if e["logger"] == "stdout"]
    assert (line["msg"], line["extra"]) == ("4/4", {"redraws": 4})
    assert raw_log(folder) == b"\r0/4\r1/4\r2/4\r3/4\r4/4\n"


def test_bytes_that_are_no_text_survive(finished: Finished) -> None:
    code = r"import sys; sys.stdout.buffer.write(b'\xff\x00caf\xc3\xa9 \xc3\n')"
    folder = finished(code)
    assert printed(folder) == ["\ufffd\0café \ufffd"]
    assert raw_log(folder) == b"\xff\x00caf\xc3\xa9 \xc3\n"


def test_a_flood_without_a_newline_comes_in_parts(finished: Finished) -> None:
    code = "import sys; [sys.stdout.write('x' * 1_000_000) for _ in range(8)]"
    folder = finished(code)
    assert len(raw_log(folder)) == 8_000_000
    lines = [e for e in entries(folder, "logs") if e["logger"] == "stdout"]
    assert "".join(line["msg"] for line in lines) == "x" * 8_000_000
    assert all(line["extra"] == {"continues": True} for line in lines[:-1])
    assert max(len(line["msg"]) for line in lines) <= 65_536


def test_secrets_are_taken_out_everywhere(finished: Finished) -> None:
    secret = "hf_" + "a1B2" * 10
    folder = finished(f"print('token {secret} seen')", "--password", "hunter22")
    assert printed(folder) == ["token *** seen"]
    assert raw_log(folder) == b"token *** seen\n"
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "snapshot.zip":
            assert secret.encode() not in file.read_bytes()
            assert b"hunter22" not in file.read_bytes()


def test_what_a_grandchild_prints_is_kept(finished: Finished) -> None:
    code = "import os, sys; os.system(f'{sys.executable} -c \"print(7)\"')"
    assert printed(finished(code)) == ["7"]


def test_a_script_that_closes_its_streams_goes_on(finished: Finished) -> None:
    code = "import os\nos.close(1); os.close(2)\nos.mkdir('outputs')\nopen('outputs/x', 'w')"
    folder = finished(code)
    assert statuses(folder)[-1] == "Completed"
    assert (folder / "artifacts/outputs/x").exists()


# --- ending it -----------------------------------------------------------------------


def test_a_cancelled_script_gets_a_signal_and_time(
    launch: Launch, tmp_path: Path
) -> None:
    code = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("tidied up")))
"""
    run = launch(code + HANG, tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    assert request_cancel(run.folder)
    wait_for_end(run)
    assert "CancelRequested" in statuses(run.folder)
    assert statuses(run.folder)[-1] == "Canceled"
    assert printed(run.folder) == ["tidied up"]
    assert not request_cancel(run.folder)


def test_a_script_that_does_not_listen_is_killed(
    launch: Launch, tmp_path: Path
) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    run = launch(code + HANG, tmp_path / "pid", grace=0.2)
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    request_cancel(run.folder)
    wait_for_end(run)
    (end,) = events(run.folder, "run.end")
    assert end["status"] == "Canceled"
    assert end["error"] == {"msg": "cancelled on request", "exit_code": -9}


def test_all_processes_of_a_cancelled_script_end(
    launch: Launch, source: Path, tmp_path: Path
) -> None:
    (source / "hang.py").write_text(HANG)
    code = """
import subprocess, sys
subprocess.run([sys.executable, "hang.py", sys.argv[1]])
"""
    run = launch(code, tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the grandchild runs")
    request_cancel(run.folder)
    wait_for_end(run)
    assert not is_alive(pid_in(tmp_path / "pid"))


def test_a_run_may_be_cancelled_before_its_script_starts(launch: Launch) -> None:
    """The request stays until it is seen."""
    run = launch("import time; time.sleep(60)")
    request_cancel(run.folder)
    wait_for_end(run)
    assert statuses(run.folder)[-1] == "Canceled"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_supervisor_cancels_the_run(
    launch: Launch, tmp_path: Path, number: signal.Signals
) -> None:
    run = launch(HANG, tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    os.kill(run.pid, number)
    wait_for_end(run)
    (end,) = events(run.folder, "run.end")
    assert end["status"] == "Canceled"
    assert end["error"]["msg"] == number.name
    assert not is_alive(pid_in(tmp_path / "pid"))


def test_a_script_that_runs_too_long_is_ended(
    finished: Finished, tmp_path: Path
) -> None:
    config = {"max_run_duration_seconds": 0.5}
    folder = finished(HANG, tmp_path / "pid", config=config)
    (end,) = events(folder, "run.end")
    assert end["status"] == "Canceled"
    assert end["error"]["msg"] == "ran longer than max_run_duration_seconds=0.5"


def test_what_a_script_leaves_behind_is_ended(
    finished: Finished, source: Path, tmp_path: Path
) -> None:
    (source / "hang.py").write_text(HANG)
    code = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "hang.py", sys.argv[1]])
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""
    folder = finished(code, tmp_path / "pid")
    assert statuses(folder)[-1] == "Completed"
    assert not is_alive(pid_in(tmp_path / "pid"))
    (note,) = printed(folder, "mlog.launch")
    pid = pid_in(tmp_path / "pid")
    assert note.startswith("the script has ended; ending what it left behind: python")
    assert note.endswith(f" ({pid})")


def test_a_daemon_that_left_the_group_holds_nothing_up(
    finished: Finished, source: Path, tmp_path: Path
) -> None:
    """It keeps the pipe open, but not the run."""
    (source / "hang.py").write_text(HANG)
    code = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "hang.py", sys.argv[1]], start_new_session=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""
    folder = finished(code, tmp_path / "pid")
    assert statuses(folder)[-1] == "Completed"
    daemon = pid_in(tmp_path / "pid")
    assert is_alive(daemon)
    os.kill(daemon, signal.SIGKILL)
    (note,) = printed(folder, "mlog.launch")
    assert note.startswith("the script has ended; what it left running is not heard: ")
    assert note.endswith(f" ({daemon})")


def test_an_id_and_variables_may_be_chosen(launch: Launch) -> None:
    code = "import os; print(os.environ['MINE'])"
    run = launch(code, run_id="mine", variables={"MINE": "3"})
    wait_for_end(run)
    assert (run.run_id, printed(run.folder)) == ("mine", ["3"])
    with pytest.raises(MlogError, match="run 'mine' is there already"):
        launch(code, run_id="mine")


def test_who_cancels_may_say_why(launch: Launch, source: Path, tmp_path: Path) -> None:
    run = launch(HANG, tmp_path / "pid")
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script")
    assert request_cancel(run.folder, "it is too hot")
    wait_for_end(run)
    state = read_state(run.folder)
    assert (state.status, (state.error or {})["msg"]) == ("Canceled", "it is too hot")


def test_submitting_loads_no_more_than_it_needs() -> None:
    heavy = "{'asyncio', 'click', 'httpx', 'multiprocessing', 'numpy', 'rich'}"
    code = f"import sys, mlog.launch.submit; print({heavy} & set(sys.modules))"
    done = run_python(code)
    assert done.stdout.strip() == "set()", done.stderr
