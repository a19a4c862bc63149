"""Threads, tasks and processes: every one writes, none waits for or harms another."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import REPO, Entry, entries, gaps, lost, read_run, run_python

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="forks and signals are those of POSIX"
)

ENV = {"PYTHONPATH": str(REPO)}

START = """
import logging, multiprocessing, os, subprocess, sys, threading
import mlog
from mlog.tap import getLogger
log = getLogger("x")
"""


@pytest.fixture
def folder(run_dir: Path) -> Path:
    """Return the folder of the run that programs here start."""
    return run_dir / "e" / "r"


def program(
    tmp_path: Path, code: str, *args: str, env: dict[str, str] | None = None
) -> None:
    """Run a script that must succeed in silence, warnings being errors."""
    script = tmp_path / "program.py"
    script.write_text(START + code)
    done = run_python(script, *args, env={**ENV, **(env or {})}, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def event_data(wrote: list[Entry], name: str) -> list[Any]:
    return [entry["data"] for entry in wrote if entry.get("event") == name]


def said(wrote: list[Entry]) -> list[str]:
    return [entry["msg"] for entry in wrote if "msg" in entry]


def children(folder: Path) -> dict[str, list[Entry]]:
    """Return what the other writers of a run wrote, checking what all must have."""
    found = read_run(folder)
    del found[""]
    for writer, wrote in found.items():
        assert wrote[0]["event"] == "writer.start", writer
        pid = wrote[0]["data"]["pid"]
        assert writer.rpartition("-")[2] == str(pid), "not a process's own segments"
        assert all(entry.get("event") != "run.start" for entry in wrote)
    return found


# --- threads ---------------------------------------------------------------------------


def test_many_threads_log_without_loss(folder: Path, tmp_path: Path) -> None:
    """8 × 1000 metric calls: all are there, each line whole, each number once."""
    code = """
with mlog.start_run("e", run_id="r"):
    start = threading.Barrier(8)
    def work(thread):
        start.wait()
        for step in range(1_000):
            log.info(metric={"value": thread * 1_000 + step}, step=step)
    threads = [threading.Thread(target=work, args=(n,), name=f"t{n}") for n in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
"""
    program(tmp_path, code)
    found = entries(folder, "metrics")
    assert sorted(e["metric"]["value"] for e in found) == list(range(8_000))
    assert {e["thread"] for e in found} == {f"t{n}" for n in range(8)}
    numbers = [e["seq"] for e in entries(folder)]
    assert len(numbers) == len(set(numbers))
    assert gaps(folder) == {}


def test_threads_that_log_lines_and_metrics_share_the_numbers(
    folder: Path, tmp_path: Path
) -> None:
    code = """
run = mlog.start_run("e", run_id="r")
def work(thread):
    for step in range(200):
        log.info("line %d", step)
        run.log("x", step, step=step)
        run.tag(f"t{thread}", step)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
"""
    program(tmp_path, code)
    assert len(entries(folder, "logs")) == len(entries(folder, "metrics")) == 800
    assert gaps(folder) == {}


# --- fork ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("what", ["metric", "line"])
def test_forks_beside_a_logging_thread_never_hang(
    what: str, folder: Path, tmp_path: Path
) -> None:
    """A hundred children: each writes to segments of its own, and the thread goes on.

    Python warns of forks beside threads; that one thread is the program's own.
    """
    call = {"metric": 'log.info(metric={"x": 1})', "line": 'log.info("line")'}[what]
    code = f"""
import warnings
run = mlog.start_run("e", run_id="r")
stop, written = threading.Event(), 0
def work():
    global written
    while not stop.is_set():
        {call}
        written += 1
thread = threading.Thread(target=work)
thread.start()
warnings.simplefilter("ignore", DeprecationWarning)
for number in range(100):
    pid = os.fork()
    if pid == 0:
        log.info("child %d", number)
        log.info(metric={{"child": number}})
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set(); thread.join()
run.log("written", written)
"""
    program(tmp_path, code)
    found = children(folder)
    assert len(found) >= 99  # a process id may come round again
    numbers = [e["metric"]["child"] for w in found.values() for e in w if "metric" in e]
    assert sorted(numbers) == list(range(100))
    assert lost(folder) == {}
    main = read_run(folder)[""]
    (written,) = [
        e["metric"]["written"] for e in main if "written" in e.get("metric", ())
    ]
    mine = [e for e in main if e.get("metric") == {"x": 1} or e.get("msg") == "line"]
    assert len(mine) == written


def test_a_forked_child_writes_as_itself(folder: Path, tmp_path: Path) -> None:
    """It ends its own part only; no lock of the parent stays held by it."""
    code = """
import fcntl
run = mlog.start_run("e", run_id="r")
log.info("parent, before")
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(writer)
    log.info("child")
    os.read(reader, 1)
    sys.exit(0)
os.close(reader)
log.info("parent, after")
run.complete()
lock = os.open(run.path / "events.jsonl", os.O_RDONLY)
assert not (run.path / ".lock").exists()
os.close(writer)
assert os.waitpid(pid, 0)[1] == 0
"""
    program(tmp_path, code)
    (wrote,) = children(folder).values()
    assert said(wrote) == ["child"]
    assert event_data(wrote, "writer.end") == [{"last": 2, "status": "Completed"}]
    main = read_run(folder)[""]
    assert said(main) == ["parent, before", "parent, after"]
    assert len(event_data(main, "run.end")) == 1


def test_a_forked_child_that_logs_nothing_leaves_nothing(
    folder: Path, tmp_path: Path
) -> None:
    code = """
run = mlog.start_run("e", run_id="r")
log.info("parent")
pid = os.fork()
if pid == 0:
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
"""
    program(tmp_path, code)
    assert children(folder) == {}
    assert event_data(read_run(folder)[""], "run.end") == [{"status": "Completed"}]


def test_no_thread_of_mlogs_runs_while_the_process_forks(
    folder: Path, tmp_path: Path
) -> None:
    """Python 3.12 warns of forks beside threads; here warnings are errors."""
    code = """
run = mlog.start_run("e", run_id="r")
for number in range(5):
    log.info(metric={"x": number})
    pid = os.fork()
    if pid == 0:
        os._exit(threading.active_count() - 1)
    assert os.waitpid(pid, 0)[1] == 0
log.info(metric={"x": 5})
assert "mlog-keeper" in [t.name for t in threading.enumerate()]
"""
    program(tmp_path, code)
    assert len(entries(folder, "metrics")) == 6


def test_a_run_in_a_forked_child_is_a_child_run(folder: Path, tmp_path: Path) -> None:
    code = """
run = mlog.start_run("e", run_id="r")
pid = os.fork()
if pid == 0:
    with mlog.start_run("e", run_id="inner"):
        log.info("inside")
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    program(tmp_path, code)
    inner = read_run(folder.with_name("inner"))[""]
    assert event_data(inner, "run.start")[0]["parent"] == str(folder)
    assert event_data(inner, "run.end") == [{"status": "Completed"}]


# --- multiprocessing -------------------------------------------------------------------

METHODS = ("fork", "spawn", "forkserver")

WORKER = """
def work(number):
    log.info("worker %d", number)
    log.info(metric={"x": number}, step=number)
    return number
"""


@pytest.mark.parametrize("method", METHODS)
def test_multiprocessing_children_join_the_run(
    method: str, folder: Path, tmp_path: Path
) -> None:
    """They leave by `os._exit`, and their writers end all the same."""
    code = f"""{WORKER}
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with mlog.start_run("e", run_id="r"):
        started = [context.Process(target=work, args=(n,)) for n in range(2)]
        for p in started: p.start()
        for p in started: p.join()
        assert [p.exitcode for p in started] == [0, 0]
"""
    program(tmp_path, code)
    found = children(folder)
    assert sorted(said(wrote)[0] for wrote in found.values()) == [
        "worker 0",
        "worker 1",
    ]
    for wrote in found.values():
        (end,) = event_data(wrote, "writer.end")
        assert (end["last"], end["status"]) == (3, "Completed")
        assert end["metrics"]["x"]["count"] == 1
    assert not list(folder.glob(".lock*"))
    assert gaps(folder) == {}


@pytest.mark.parametrize("method", METHODS)
def test_a_multiprocessing_child_that_fails_says_so(
    method: str, folder: Path, tmp_path: Path
) -> None:
    """Its writer ends as Failed; the run is the main process's to judge."""
    code = f"""
def work():
    log.info("about to fail")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise ValueError("boom")
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with mlog.start_run("e", run_id="r"):
        p = context.Process(target=work)
        p.start(); p.join()
        assert p.exitcode == 1
"""
    program(tmp_path, code)
    (wrote,) = children(folder).values()
    assert event_data(wrote, "writer.end")[0]["status"] == "Failed"
    main = read_run(folder)[""]
    assert event_data(main, "run.end")[0]["status"] == "Completed"


def test_a_terminated_child_ends_as_canceled(folder: Path, tmp_path: Path) -> None:
    code = """
def work(ready):
    log.info("waiting")
    ready.set()
    threading.Event().wait(60)
if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with mlog.start_run("e", run_id="r"):
        ready = context.Event()
        p = context.Process(target=work, args=(ready,))
        p.start(); ready.wait(60); p.terminate(); p.join()
        assert p.exitcode == -15, p.exitcode
"""
    program(tmp_path, code)
    (wrote,) = children(folder).values()
    assert event_data(wrote, "writer.end")[0]["status"] == "Canceled"


@pytest.mark.parametrize("method", METHODS)
def test_a_process_pool_writes_by_its_workers(
    method: str, folder: Path, tmp_path: Path
) -> None:
    code = f"""
from concurrent.futures import ProcessPoolExecutor
{WORKER}
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with mlog.start_run("e", run_id="r"):
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            assert list(pool.map(work, range(20))) == list(range(20))
"""
    program(tmp_path, code)
    found = children(folder)
    numbers = [e["metric"]["x"] for w in found.values() for e in w if "metric" in e]
    assert sorted(numbers) == list(range(20))
    assert gaps(folder) == {}
    for wrote in found.values():
        assert len(event_data(wrote, "writer.end")) == 1


def test_a_worker_that_only_uses_logging_is_heard(folder: Path, tmp_path: Path) -> None:
    """A data loader's worker: spawned, its main module imports mlog, and it logs."""
    (tmp_path / "dataset.py").write_text(
        "import logging\n"
        "log = logging.getLogger(__name__)\n"
        "def load(number):\n"
        "    log.info('loading %d', number)\n"
        "    log.info('step', extra={'metric': {'load': number}, 'step': number})\n"
    )
    code = """
import dataset
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with mlog.start_run("e", run_id="r"):
        with context.Pool(1) as pool:
            pool.map(dataset.load, range(3))
            pool.close(); pool.join()
"""
    program(tmp_path, code)
    (wrote,) = children(folder).values()
    assert [e["msg"] for e in wrote if "msg" in e and "metric" not in e] == [
        "loading 0",
        "loading 1",
        "loading 2",
    ]
    assert [e["metric"] for e in wrote if "metric" in e] == [
        {"load": 0},
        {"load": 1},
        {"load": 2},
    ]


# --- subprocess ------------------------------------------------------------------------


def sub(run_dir: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program under an open run `e/r`, as its subprocess."""
    parent = f"""
import subprocess, sys, mlog
with mlog.start_run("e", run_id="r"):
    sys.exit(subprocess.run([sys.executable, "-W", "error", "-c", {code!r}]).returncode)
"""
    return run_python(parent, env={**ENV, **env})


def test_a_subprocess_that_only_logs_joins_the_run(run_dir: Path, folder: Path) -> None:
    code = """
import logging, mlog
logging.getLogger("tool").info("from below")
"""
    done = sub(run_dir, code)
    assert (done.returncode, done.stderr) == (0, "")
    (wrote,) = children(folder).values()
    assert said(wrote) == ["from below"]
    assert event_data(wrote, "writer.end")[0]["status"] == "Completed"


def test_a_subprocess_that_imports_mlog_and_says_nothing_leaves_nothing(
    run_dir: Path, folder: Path
) -> None:
    assert sub(run_dir, "import mlog").stderr == ""
    assert children(folder) == {}


def test_a_subprocess_that_starts_a_run_makes_a_child(
    run_dir: Path, folder: Path
) -> None:
    """Lines before it belong to the run above, lines after it too when it has ended."""
    code = """
import logging, os, mlog
log = logging.getLogger("tool")
log.info("before")
above = os.environ["MLOG_RUN"]
with mlog.start_run("e", run_id="below"):
    log.info("inside")
    assert os.environ["MLOG_RUN"] != above
assert os.environ["MLOG_RUN"] == above
"""
    done = sub(run_dir, code)
    assert (done.returncode, done.stderr) == (0, "")
    (wrote,) = children(folder).values()
    assert said(wrote) == ["before"]
    below = read_run(run_dir / "e" / "below")[""]
    assert said(below) == ["inside"]
    assert event_data(below, "run.start")[0]["parent"] == str(folder)


@pytest.mark.parametrize(
    ("mode", "where", "parent"), [("join", "r", None), ("new", "below", None)]
)
def test_the_mode_decides_what_start_run_does_in_a_subprocess(
    mode: str, where: str, parent: None, run_dir: Path, folder: Path
) -> None:
    """`join`: the run above is the run; `new`: it is no matter."""
    code = f"""
import os
os.environ["MLOG_MODE"] = {mode!r}
import logging, mlog
with mlog.start_run("e", {'run_id="below"' if mode == "new" else ""}) as run:
    logging.getLogger("tool").info("inside")
    print(run.path)
"""
    done = sub(run_dir, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(run_dir / "e" / where)
    found = read_run(run_dir / "e" / where)
    (wrote,) = [w for w in found.values() if said(w)]
    assert said(wrote) == ["inside"]
    if mode == "join":
        assert event_data(found[""], "run.end") == [{"status": "Completed"}]
    else:
        assert "parent" not in event_data(wrote, "run.start")[0]
        assert list(read_run(folder)) == [""]


def test_mode_off_silences_a_subprocess(run_dir: Path, folder: Path) -> None:
    code = """
import os
os.environ["MLOG_MODE"] = "off"
import logging, mlog
logging.getLogger("tool").info("unheard")
with mlog.start_run("e", run_id="below") as run:
    run.log("x", 1)
"""
    assert sub(run_dir, code).stderr == ""
    assert children(folder) == {}
    assert not (run_dir / "e" / "below").exists()


@pytest.mark.parametrize("path", ["/no/such/run", "x", "/", "{dir}"])
def test_a_run_that_cannot_be_joined_is_warned_about(path: str, tmp_path: Path) -> None:
    """`import mlog` never fails."""
    env = {**ENV, "MLOG_RUN": path.format(dir=tmp_path)}
    done = run_python("import mlog", env=env, warnings="default")
    assert done.returncode == 0
    assert done.stderr.count("cannot be joined") == 1


def test_a_mode_that_is_none_is_warned_about_at_import(tmp_path: Path) -> None:
    env = {**ENV, "MLOG_RUN": str(tmp_path), "MLOG_MODE": "loud"}
    done = run_python("import mlog", env=env, warnings="default")
    assert done.returncode == 0
    assert "MLOG_MODE must be one of" in done.stderr


# --- ranks -----------------------------------------------------------------------------

RANK = """
import logging, os, sys, mlog
rank = int(os.environ["RANK"])
with mlog.start_run("e", **eval(os.environ.get("OPTIONS", "{}"))) as run:
    logging.getLogger("fit").info("rank %d", rank)
    run.log("loss", 1.0 + rank, step=0)
    if rank == int(os.environ.get("FAILS", "-1")):
        raise ValueError("boom")
os.write(1, f"{run.path} {run.rank}\\n".encode())
"""

LAUNCHER = """
import os, subprocess, sys
procs = []
for rank in reversed(range(int(sys.argv[2]))):
    env = dict(os.environ, RANK=str(rank), WORLD_SIZE=sys.argv[2])
    command = [sys.executable, "-W", "error", "-c", sys.argv[1]]
    procs.append(subprocess.Popen(command, env=env))
    if "FAILS" in os.environ: procs[-1].wait()  # rank 0 ends last, as it does in a job
for proc in procs: proc.wait()
"""


def launch(code: str = RANK, world: int = 3, **env: str) -> tuple[list[str], str]:
    """Start ranks as torchrun does; return what they printed, and their stderr."""
    done = run_python(LAUNCHER, code, str(world), env={**ENV, **env})
    return sorted(done.stdout.splitlines()), done.stderr


def only_run(run_dir: Path) -> Path:
    (folder,) = (run_dir / "e").iterdir()
    return folder


def test_ranks_share_one_run(run_dir: Path) -> None:
    """Rank 0 is the main writer, the others are `r1`, `r2`: one folder, one end."""
    printed, stderr = launch()
    assert stderr == ""
    folder = only_run(run_dir)
    assert printed == [f"{folder} {rank}" for rank in range(3)]
    found = read_run(folder)
    assert sorted(found) == ["", "r1", "r2"]
    for writer, rank in ("", 0), ("r1", 1), ("r2", 2):
        (start,) = event_data(found[writer], "writer.start")
        assert (start["rank"], start["world_size"]) == (rank, 3)
        assert said(found[writer]) == [f"rank {rank}"]
        assert [e["metric"] for e in found[writer] if "metric" in e] == [
            {"loss": 1.0 + rank}
        ]
    assert len(event_data(found[""], "run.start")) == 1
    assert event_data(found["r1"], "run.start") == []
    assert event_data(found["r1"], "run.end") == []
    assert event_data(found[""], "run.end")[0]["status"] == "Completed"
    assert gaps(folder) == {}


def test_a_rank_that_fails_fails_the_run(run_dir: Path) -> None:
    launch(FAILS="1")
    found = read_run(only_run(run_dir))
    assert event_data(found["r1"], "writer.end")[0]["status"] == "Failed"
    (end,) = event_data(found[""], "run.end")
    assert (end["status"], end["error"]) == ("Failed", {"msg": "failed: r1"})


@pytest.mark.parametrize(
    ("way", "status", "why"),
    [
        ("os.kill(os.getpid(), 9)", "Failed", "gone without an end: r1"),
        ("os._exit(4)", "Failed", "gone without an end: r1"),
        ("os.kill(os.getpid(), 15); time.sleep(60)", "Canceled", "canceled: r1"),
    ],
)
def test_a_rank_that_is_killed_is_told_by_the_end_of_the_run(
    run_dir: Path, way: str, status: str, why: str
) -> None:
    """Rank 0 completes, but the run did not."""
    code = RANK.replace('raise ValueError("boom")', f"import time; {way}")
    launch(code, FAILS="1")
    (end,) = event_data(read_run(only_run(run_dir))[""], "run.end")
    assert (end["status"], end["error"]) == (status, {"msg": why})


def test_ranks_share_the_id_they_are_given(run_dir: Path) -> None:
    launch(world=2, OPTIONS="{'run_id': 'job-7'}")
    assert sorted(read_run(run_dir / "e" / "job-7")) == ["", "r1"]


def test_ranks_share_further_runs_too(run_dir: Path) -> None:
    code = RANK + RANK
    printed, stderr = launch(code, world=2)
    assert stderr == ""
    assert len(set(p.split()[0] for p in printed)) == 2
    for folder in (run_dir / "e").iterdir():
        assert sorted(read_run(folder)) == ["", "r1"]


def test_a_requeued_job_makes_a_second_attempt(run_dir: Path) -> None:
    """Slurm counts the restarts; the ranks come to the same attempt by themselves."""
    env = {"OPTIONS": "{'run_id': 'job-7'}"}
    launch(world=2, FAILS="1", **env)
    launch(world=2, SLURM_RESTART_COUNT="1", **env)
    folder = run_dir / "e" / "job-7"
    found = read_run(folder)
    assert sorted(found) == ["", "a2", "r1", "r1-a2"]
    for writer in ("a2", "r1-a2"):
        assert event_data(found[writer], "writer.start")[0]["attempt"] == 2
    assert event_data(found[""], "run.end")[0]["status"] == "Failed"
    assert event_data(found["a2"], "run.end")[0]["status"] == "Completed"


def test_a_requeued_process_alone_makes_a_second_attempt(run_dir: Path) -> None:
    code = "import mlog\nwith mlog.start_run('e', run_id='job'): pass"
    assert run_python(code, env=ENV).returncode == 0
    again = run_python(code, env={**ENV, "SLURM_RESTART_COUNT": "1"})
    assert (again.returncode, again.stderr) == (0, "")
    assert sorted(read_run(run_dir / "e" / "job")) == ["", "a2"]


def test_a_helper_of_a_rank_is_no_rank(run_dir: Path) -> None:
    """It inherits `RANK`, joins the run, and writes under a name of its own."""
    helper = """
import logging, mlog
logging.getLogger("help").info("just logs")
with mlog.start_run("e") as run:
    assert run.rank is None
    logging.getLogger("help").info("starts")
"""
    code = f"""
import logging, os, subprocess, sys, mlog
with mlog.start_run("e") as run:
    logging.getLogger("fit").info("rank %d", run.rank)
    if run.rank == 1:
        command = [sys.executable, "-W", "error", "-c", {helper!r}]
        assert subprocess.run(command).returncode == 0
assert "_MLOG_RANK_PID" not in os.environ
"""
    _, stderr = launch(code, world=2)
    assert stderr == ""
    found = read_run(only_run(run_dir))
    helpers = {w: e for w, e in found.items() if w not in ("", "r1")}
    assert {line for wrote in helpers.values() for line in said(wrote)} == {
        "just logs",
        "starts",
    }
    for wrote in helpers.values():
        assert "rank" not in wrote[0]["data"]
    assert event_data(found[""], "run.end")[0]["status"] == "Completed"


def test_ranks_below_a_run_join_it_and_share_its_children(
    run_dir: Path, folder: Path
) -> None:
    """The launcher has a run: the ranks' first is that one, the next its child."""
    launcher = f"""
import subprocess, sys, mlog
with mlog.start_run("e", run_id="r"):
    command = [sys.executable, "-c", {LAUNCHER!r}, {RANK + RANK!r}, "2"]
    sys.exit(subprocess.run(command).returncode)
"""
    done = run_python(launcher, env=ENV)
    assert (done.returncode, done.stderr) == (0, "")
    ranks = {w: e for w, e in read_run(folder).items() if w}
    assert sorted(line for e in ranks.values() for line in said(e)) == [
        "rank 0",
        "rank 1",
    ]
    below = read_run(run_dir / "e" / "r-2")
    assert sorted(below) == ["", "r1"]
    assert event_data(below[""], "run.start")[0]["parent"] == str(folder)


def test_a_process_without_a_name_still_starts(run_dir: Path) -> None:
    """A container's user id need not be in any table."""
    code = """
import getpass, mlog
def nobody(): raise KeyError("uid not found")
getpass.getuser = nobody
with mlog.start_run("e", run_id="r"): pass
"""
    done = run_python(code, env=ENV)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.path.exists(run_dir / "e" / "r" / "run.json")


# --- what a child that joins has to know -----------------------------------------------

CHILD = """
import logging, mlog
log = logging.getLogger("child")
log.info("badge=77aa41 and api_key=k-1234567890")
log.info(metric={"x": 1})
log.debug("detail")
"""


def test_a_joining_child_redacts_and_selects_as_the_run_does(
    folder: Path, tmp_path: Path
) -> None:
    """Names of secrets and levels that the run was started with hold in every process."""
    code = f"""
    import subprocess
    with mlog.start_run("e", run_id="r", redact=["badge"], level="INFO"):
        subprocess.run([sys.executable, "-W", "error", "-c", {CHILD!r}], check=True)
    """
    program(tmp_path, textwrap.dedent(code))
    (entry,) = entries(folder, "logs")
    assert entry["msg"] == "badge=*** and api_key=***"


def test_a_child_of_a_run_without_redaction_does_not_redact(
    folder: Path, tmp_path: Path
) -> None:
    code = f"""
    import subprocess
    with mlog.start_run("e", run_id="r", redact=False):
        subprocess.run([sys.executable, "-W", "error", "-c", {CHILD!r}], check=True)
    """
    program(tmp_path, textwrap.dedent(code))
    message = entries(folder, "logs")[0]["msg"]
    assert message == "badge=77aa41 and api_key=k-1234567890"


@pytest.mark.parametrize(
    ("env", "options"), [({"MLOG_MODE": "off"}, ""), ({}, ", disabled=True")]
)
def test_a_child_of_a_run_that_is_off_records_nothing_and_may_log_metrics(
    folder: Path, tmp_path: Path, env: dict[str, str], options: str
) -> None:
    code = f"""
    import subprocess
    assert "MLOG_RUN" not in os.environ
    with mlog.start_run("e", run_id="r"{options}):
        child = {CHILD + 'assert mlog.start_run("e").is_off'!r}
        subprocess.run([sys.executable, "-W", "error", "-c", child], check=True)
    assert "MLOG_RUN" not in os.environ
    """
    program(tmp_path, textwrap.dedent(code), env=env)
    assert not folder.exists()


def test_a_helper_may_join_before_the_main_rank_has_written(run_dir: Path) -> None:
    """Rank 1 is there first; its helper finds a run in what rank 1 wrote."""
    code = """
import os, subprocess, sys, mlog
with mlog.start_run("e") as run:
    assert sorted(os.listdir(run.path)) == [".lock-r1", "events-r1.jsonl"]
    code = "import logging, mlog; logging.getLogger('help').info('early')"
    command = [sys.executable, "-W", "error", "-c", code]
    assert subprocess.run(command).returncode == 0
"""
    done = run_python(code, env={**ENV, "RANK": "1", "WORLD_SIZE": "2"})
    assert (done.returncode, done.stderr) == (0, "")
    helpers = {w: e for w, e in read_run(only_run(run_dir)).items() if w != "r1"}
    assert [said(wrote) for wrote in helpers.values()] == [["early"]]
