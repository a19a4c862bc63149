"""A run survives `kill -9`: what a call returned from is on the disk, whole, once.

A child forks one victim after the other. A victim opens a run and logs from its
threads; after each call that has returned it says so on a pipe. The child kills it
after a number of such words, or a time, chosen by chance, and keeps what was said.
"""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import Entry, entries, gaps, lost, read_run, run_python

ZYGOTE = """
import os, random, select, signal, sys, threading
import mlog
from mlog import start_run

root, trials, threads, seed = sys.argv[1], *map(int, sys.argv[2:])
chance = random.Random(seed)

def log(number, said):
    name = f"t{number}"
    logger = mlog.getLogger("victim." + name)
    value = 0
    while True:
        if value % 3:
            logger.info(metric={name: value}, step=value)
        else:
            logger.warning("%s %d %s", name, value, "x" * chance.randrange(400))
        os.write(said, b"%s %d\\n" % (name.encode(), value))
        value += 1

def victim(trial, said):
    start_run("crash", dir=root, run_id=f"run-{trial}")
    for number in range(1, threads):
        threading.Thread(target=log, args=(number, said), daemon=True).start()
    log(0, said)

def listen(pid, pipe):
    enough, heard = chance.randrange(300) * 6, b""
    seconds = chance.random() * 0.02 if chance.random() < 0.2 else 60
    while len(heard) < enough and select.select([pipe], [], [], seconds)[0]:
        heard += os.read(pipe, 65536)
        seconds = 60
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while more := os.read(pipe, 65536):
        heard += more
    return heard

for trial in range(trials):
    pipe, said = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(pipe)
        victim(trial, said)
    os.close(said)
    with open(f"{root}/said-{trial}", "wb") as file:
        file.write(listen(pid, pipe))
    os.close(pipe)
"""


def label(entry: Entry) -> str:
    """Return what a victim says on the pipe about an entry; "" for other entries."""
    if "metric" in entry:
        ((name, value),) = entry["metric"].items()
        return f"{name} {value}"
    if entry.get("logger", "").startswith("victim."):
        return " ".join(entry["msg"].split(" ")[:2])
    return ""


def folder_of(root: Path, trial: int) -> Path:
    return root / "crash" / f"run-{trial}"


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "trials"), [(1, 150), (8, 150)])
def test_kill_at_any_moment_loses_nothing_returned(
    tmp_path: Path, threads: int, trials: int
) -> None:
    """Every returned call is there, every line parses, no number comes twice or lacks.

    A number may lack only if its call had not returned: in the writer's last second.
    """
    seed = random.randrange(2**32)
    args = [str(tmp_path), str(trials), str(threads), str(seed)]
    done = run_python(ZYGOTE, *args, timeout=300)
    assert done.returncode == 0, done.stderr
    heard = 0
    for trial in range(trials):
        said = (tmp_path / f"said-{trial}").read_text("ascii").split("\n")[:-1]
        folder = folder_of(tmp_path, trial)
        if not folder.exists():
            assert not said
            continue
        heard += len(said)
        found = entries(folder)
        missing = set(said) - {label(entry) for entry in found}
        assert not missing, f"seed {seed}, trial {trial}"
        numbers = [entry["seq"] for entry in found]
        assert len(numbers) == len(set(numbers)), f"seed {seed}, trial {trial}"
        assert lost(folder) == {}, f"seed {seed}, trial {trial}"
    assert heard > 10 * trials


@pytest.mark.slow
def test_kill_of_one_forked_worker_leaves_the_others_whole(tmp_path: Path) -> None:
    """Each process writes segments of its own; one that dies costs nobody a line."""
    code = """
import os, signal, sys
import mlog
with mlog.start_run("fork", dir=sys.argv[1], run_id="r"):
    logger = mlog.getLogger("work")
    pids = []
    for number in range(4):
        ready, said = os.pipe()
        pid = os.fork()
        if not pid:
            for value in range(50):
                logger.info(metric={f"w{number}": value})
            os.write(said, b"x")
            if number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            sys.exit()
        logger.info(metric={"main": number})
        os.read(ready, 1)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
"""
    done = run_python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    writers = read_run(tmp_path / "fork" / "r")
    assert len(writers) == 5
    metrics = [list(e["metric"]) for w in writers.values() for e in w if "metric" in e]
    assert sorted(n for (n,) in metrics) == sorted(
        ["main"] * 4 + [f"w{n}" for n in range(4) for _ in range(50)]
    )
    assert lost(tmp_path / "fork" / "r") == {}


@pytest.mark.slow
@pytest.mark.parametrize("handled", ["KeyboardInterrupt", "TimeoutError"])
def test_call_cut_off_by_a_signal_is_accounted_for(
    tmp_path: Path, handled: str
) -> None:
    """An exception raised by a signal handler amid a call leaves no unexplained gap."""
    code = """
import os, signal, sys, threading
import mlog
kind = getattr(__import__("builtins"), sys.argv[2])
rung = []
def on_alarm(*_):
    rung.append(True)
    raise kind("now")
signal.signal(signal.SIGALRM, on_alarm)
done = threading.Event()
logger = mlog.getLogger("work")
def others(number):
    value = 0
    while not done.is_set():
        logger.info(metric={f"t{number}": value}, step=value)
        value += 1
def log_until_cut(number):
    # a function of its own: CPython 3.13 leaves the jump of a loop in a "try"
    # out of what the "except" covers
    while signal.getitimer(signal.ITIMER_REAL)[0]:
        logger.info(metric={"main": number})
        logger.info("main %d", number)
    while not rung:
        pass  # where it comes only now, the caller still catches it
    # else mlog caught it: a lost line is better than a lost run
with mlog.start_run("cut", dir=sys.argv[1], run_id="r"):
    threads = [
        threading.Thread(target=others, args=(n,), daemon=True) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    caught = 0
    while caught < 100:
        try:
            rung.clear()
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.00001 * caught)
            log_until_cut(caught)
        except kind:
            pass
        caught += 1
    done.set()
    for thread in threads:
        thread.join()
"""
    done = run_python(code, str(tmp_path), handled, warnings="default")
    assert done.returncode == 0, done.stderr
    assert lost(tmp_path / "cut" / "r") == {}


@pytest.fixture
def strace() -> str:
    """Return the path of strace, if it may trace here."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(
        [found, "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.decode()}")
    return found


def inject(
    strace: str, code: str, root: Path, segment: str, what: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that gets its root as argument, with faults in one segment.

    Args:
        strace: The tool.
        code: The program's text; its run is "fault/r".
        root: The root of its runs.
        segment: File name of the segment whose writes fail.
        what: "error=ENOSPC:when=3+2", say; see strace(1).
    """
    path = root / "fault" / "r" / segment
    path.parent.mkdir(parents=True)
    tool = [strace, "-f", "-qq", "-o", str(root / "trace"), "-P", str(path)]
    tool += ["-e", "trace=write", "-e", f"inject=write:{what}"]
    return subprocess.run(
        [*tool, sys.executable, "-c", code, str(root)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


FORTY_METRICS = """
import sys
import mlog
with mlog.start_run("fault", dir=sys.argv[1], run_id="r", resume=True):
    logger = mlog.getLogger("work")
    for value in range(40):
        logger.info(metric={"loss": value}, step=value)
"""


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
def test_refused_writes_are_named_and_the_rest_goes_on(
    strace: str, tmp_path: Path, error: str
) -> None:
    """What a disk refuses is counted and told with its numbers; training goes on."""
    done = inject(
        strace, FORTY_METRICS, tmp_path, "metrics.jsonl", f"error={error}:when=5+7"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("are lost") == 1
    folder = tmp_path / "fault" / "r"
    values = [e["metric"]["loss"] for e in entries(folder, "metrics")]
    refused = set(range(4, 40, 7))
    assert values == [v for v in range(40) if v not in refused]
    (dropped,) = told(folder)
    assert dropped["count"] == len(refused)
    assert set(gaps(folder)[""]) == {v + 2 for v in refused}  # after two events
    assert dropped["last"] - dropped["first"] == 35
    assert lost(folder) == {}


def test_events_that_are_refused_are_told_when_the_disk_takes_them_again(
    strace: str, tmp_path: Path
) -> None:
    """A `run.dropped` that fails is tried again, and names its own number too."""
    code = (
        FORTY_METRICS.replace(
            "logger = mlog.getLogger",
            "run = mlog.current_run(); logger = mlog.getLogger",
        )
        + "        run.tag('value', value)\n"
    )
    done = inject(strace, code, tmp_path, "events.jsonl", "error=ENOSPC:when=3..30")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "fault" / "r"
    assert sum(d["count"] for d in told(folder)) == 28
    assert gaps(folder)[""].keys() >= {3, 5}
    assert lost(folder) == {}


def test_run_whose_disk_refuses_everything_ends_like_any_other(
    strace: str, tmp_path: Path
) -> None:
    """A disk that takes nothing at all costs the records, not the program."""
    code = FORTY_METRICS + "print('trained')\n"
    done = inject(strace, code, tmp_path, "events.jsonl", "error=EIO")
    assert (done.returncode, done.stdout) == (0, "trained\n")
    values = [e["metric"]["loss"] for e in entries(tmp_path / "fault" / "r", "metrics")]
    assert values == list(range(40))


@pytest.mark.slow
@pytest.mark.parametrize("nth", [1, 2, 3, 17, 40])
def test_kill_at_the_nth_write_leaves_the_entries_before_it(
    strace: str, tmp_path: Path, nth: int
) -> None:
    """The kernel has all entries before the one whose write never began."""
    done = inject(
        strace, FORTY_METRICS, tmp_path, "metrics.jsonl", f"signal=KILL:when={nth}"
    )
    assert done.returncode == -signal.SIGKILL
    folder = tmp_path / "fault" / "r"
    values = [e["metric"]["loss"] for e in entries(folder, "metrics")]
    assert values in (list(range(nth - 1)), list(range(nth)))
    assert lost(folder) == {}


def test_fsync_comes_once_an_interval_and_at_the_end(
    strace: str, tmp_path: Path
) -> None:
    """`fsync_interval` bounds how often; "always" is each entry; None is never."""
    counts = {}
    for interval in ("3600", "'always'", "None"):
        root = tmp_path / interval.strip("'")
        root.mkdir()
        code = FORTY_METRICS.replace("resume", f"fsync_interval={interval}, resume")
        tool = [strace, "-f", "-qq", "-o", str(root / "trace"), "-e", "fsync,fdatasync"]
        program = [sys.executable, "-c", code, str(root)]
        subprocess.run([*tool, *program], check=True, timeout=120)
        counts[interval] = (root / "trace").read_text().count("sync(")
    # 40 metrics, writer.start, run.start, run.end, writer.end
    assert counts["'always'"] >= 44
    assert counts["3600"] <= 4
    assert counts["None"] == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount an ext4 file system in a file; tests need root for that."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    make = ["mkfs.ext4", "-q", str(image)]
    mount = ["mount", "-o", "loop", str(image), str(place)]
    for command in (make, mount):
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as exc:
            pytest.skip(f"no loop device: {exc}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_power_cut_keeps_what_was_synced(disk: Path, tmp_path: Path) -> None:
    """With "always", what a call returned from is on the disk, its name included.

    A copy of the image while it is mounted is the disk at a power cut.
    """
    code = FORTY_METRICS.replace("resume", "fsync_interval='always', resume").replace(
        "    for value", "    mlog.getLogger('x').info('begun')\n    for value"
    )
    code += "        if value == 20: __import__('shutil').copy(*sys.argv[2:])\n"
    copy, place = tmp_path / "copy.img", tmp_path / "copy"
    done = run_python(code, str(disk), str(tmp_path / "disk.img"), str(copy))
    assert done.returncode == 0, done.stderr
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", copy, place], check=True)
    try:
        folder = place / "fault" / "r"
        values = [e["metric"]["loss"] for e in entries(folder, "metrics")]
        assert values == list(range(21))
        assert [e["msg"] for e in entries(folder, "logs")] == ["begun"]
        assert len(entries(folder, "events")) == 2
    finally:
        subprocess.run(["umount", place], check=True)


def told(folder: Path) -> list[Entry]:
    """Return the data of all `run.dropped` events."""
    events = entries(folder, "events")
    return [e["data"] for e in events if e["event"] == "run.dropped"]
