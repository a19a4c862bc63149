"""`remote=`: shippers that runs start, and the processes around them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import MlogError, MlogWarning
from mlog.run.remote import _later, chosen_urls, dies_with_process, shown_url
from mlog.shipping.target import parse_route
from tests.helpers import REPO, run_python
from tests.http_server import Server, reply
from tests.shipping.conftest import all_lines

TRAIN = """
import logging, os, sys, mlog
run = mlog.start_run("exp", remote=sys.argv[1], flush_timeout=float(sys.argv[2]))
for n in range(100):
    logging.getLogger("t").info("n", metric={"loss": n}, step=n)
run.complete()
assert not {"httpx", "httpcore", "click", "mlog.shipping"} & sys.modules.keys()
"""


def only_run(run_dir: Path) -> Path:
    [run] = run_dir.glob("exp/*")
    return run


def wait_for(done: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for other processes; a test that waits in vain fails."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "nothing has happened"
        time.sleep(0.02)


def shippers_of(root: Path) -> list[int]:
    """Return the process ids of the shippers of runs of this test."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environ = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--handed" in command and f"MLOG_DIR={root}".encode() in environ:
            found.append(int(process.name))
    return found


@pytest.fixture(autouse=True)
def no_shipper_is_left(run_dir: Path) -> Iterator[None]:
    yield
    for pid in shippers_of(run_dir):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def nobody() -> str:
    """Return the address of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://me:s3cret@127.0.0.1:{listener.getsockname()[1]}/in"


# --- choosing ------------------------------------------------------------------------


def test_which_remotes_a_run_has() -> None:
    """What the caller says, else those around it, else the environment's."""
    env = {"MLOG_REMOTE": " http://a/x  http://b/y "}
    assert chosen_urls(None, (), env) == ("http://a/x", "http://b/y")
    assert chosen_urls(None, ("http://o",), env) == ("http://o",)
    assert chosen_urls("http://c", ("http://o",), env) == ("http://c",)
    assert chosen_urls(["http://c", "file:///d", "http://c"], (), env) == (
        "http://c",
        "file:///d",
    )
    assert chosen_urls(False, ("http://o",), env) == ()
    assert chosen_urls([], ("http://o",), env) == ()
    assert chosen_urls(None, (), {}) == ()


def test_what_is_no_url_is_said_without_its_secrets() -> None:
    with pytest.raises(ValueError, match="remote must be a URL like"):
        chosen_urls("host:5000", (), {})
    with pytest.raises(TypeError, match="remote must be a URL or several, got int"):
        chosen_urls([7], (), {})  # type: ignore[list-item]
    assert shown_url("https://me:pw@host:1/p?key=secret#x") == "https://host:1/p"
    assert shown_url("no\x1b[2J") == "…"


@pytest.mark.parametrize(
    "url",
    [
        *("u:SECRET@host/x", "https://ada:SE/CRET@h/x", "https://ada:12/CRET@h/x"),
        *("http://ada:SE#CRET@h", "http://ada:12?CRET@h", "http://ada:SECRET"),
    ],
)
def test_where_a_url_has_a_slip_nothing_of_it_is_shown(url: str) -> None:
    """A bare `/`, `?` or `#` in a password ends the host; a scheme may be forgotten."""
    assert shown_url(url) == "…"
    with pytest.raises((MlogError, ValueError)) as caught:
        parse_route(*chosen_urls(url, (), {}), env={})
    assert not {"SE", "CRET", "ada"} & {*re.findall(r"\w+", str(caught.value))}


def test_what_a_command_needs_is_shown_and_what_may_be_secret_is_not(
    tmp_path: Path,
) -> None:
    """The parameters name the sink: without them it would be another one."""
    url = "http://me:pw@h/p?name=team&streams=logs,metrics&rank=all&code=secret"
    shown = "http://h/p?name=team&streams=logs,metrics&rank=all"
    assert shown_url(url) == shown
    assert _later(tmp_path, url) == (
        f"`mlog ship {tmp_path} --to '{shown}'`, with what is not shown of its "
        "address, sends the rest"
    )
    assert _later(tmp_path, "http://h/p") == (
        f"`mlog ship {tmp_path} --to http://h/p` sends the rest"
    )


@pytest.mark.parametrize("url", ["otlp:", "azureml:", "azureml:?experiment=x"])
def test_the_environment_may_say_the_rest_of_an_address(url: str) -> None:
    assert chosen_urls(url, (), {}) == (url,)
    assert chosen_urls(None, (), {"MLOG_REMOTE": url}) == (url,)
    assert shown_url(url) == url


def test_a_slip_in_the_environment_costs_no_run() -> None:
    env = {"MLOG_REMOTE": "http://a nothing u:SECRET@host"}
    with pytest.warns(MlogWarning, match="MLOG_REMOTE must be a URL like") as told:
        assert chosen_urls(None, (), env) == ("http://a",)
    assert "SECRET" not in str(told[0].message)


def test_where_a_shipper_dies_with_its_run() -> None:
    """In a batch job, and in a namespace of process ids of its own."""
    assert dies_with_process({"SLURM_JOB_ID": "7"})
    inode = os.stat("/proc/self/ns/pid").st_ino if os.path.exists("/proc/self") else 0
    assert dies_with_process({}) == (inode not in (0, 0xEFFFFFFC))


# --- the usual way -------------------------------------------------------------------


def test_a_run_is_sent_while_and_after_it_goes_on(
    server: Server, run_dir: Path
) -> None:
    """All is there when the program ends, and nothing is said."""
    result = run_python(TRAIN, server.url, "60")
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(server.lines()) == sorted(all_lines(only_run(run_dir)))
    assert server.taken[-1].headers["x-mlog-finish"] == "Completed"
    assert shippers_of(run_dir) == []


def test_several_remotes_by_the_environment(
    server: Server, run_dir: Path, tmp_path: Path
) -> None:
    """As with `mlog run` and scripts that know nothing of it; also RemoteHandler."""
    code = """
        import logging, mlog, os
        url = os.environ.pop("HANDLER", None)
        if url:
            handler = mlog.RemoteHandler(url, "exp", flush_timeout=60)
            logging.basicConfig(level=logging.INFO, handlers=[handler])
        else:
            mlog.basicConfig("exp", console=False, flush_timeout=60)
        logging.info("hello")
    """
    mirror = tmp_path / "mirror"
    env = {"MLOG_REMOTE": f"{server.url} file://{mirror}", "MLOG_QUIET": "1"}
    result = run_python(textwrap.dedent(code), env=env)
    assert (result.returncode, result.stderr) == (0, "")
    wrote = sorted(all_lines(only_run(run_dir)))
    assert sorted(server.lines()) == wrote
    assert sorted(all_lines(only_run(mirror))) == wrote
    shutil.rmtree(run_dir)
    server.taken.clear()
    result = run_python(textwrap.dedent(code), env={"HANDLER": server.url})
    assert result.returncode == 0
    assert sorted(server.lines()) == sorted(all_lines(only_run(run_dir)))


def test_children_of_a_run_are_sent_too(server: Server, run_dir: Path) -> None:
    """One wait at the end, for all of them."""
    code = """
        import mlog, sys
        with mlog.start_run("exp", remote=sys.argv[1], flush_timeout=60):
            for n in range(2):
                with mlog.start_run("exp") as child:
                    child.log("n", n)
            with mlog.start_run("other", remote=False) as child:
                child.log("n", 1)
    """
    result = run_python(textwrap.dedent(code), server.url)
    assert (result.returncode, result.stderr) == (0, "")
    wrote = [line for run in run_dir.glob("exp/*") for line in all_lines(run)]
    assert sorted(server.lines()) == sorted(wrote)


# --- trouble -------------------------------------------------------------------------


def test_a_server_that_is_down_costs_a_line(nobody: str, run_dir: Path) -> None:
    """It says how much is left, why, and how to send it; without credentials."""
    result = run_python(TRAIN, nobody, "0.5")
    assert result.returncode == 0
    [line] = result.stderr.splitlines()
    run = only_run(run_dir)
    assert line.startswith("mlog: ")
    assert f"bytes of run {run.name[-6:]} not at http://127.0.0.1" in line
    assert f"`mlog ship {run} --to http://127.0.0.1" in line
    assert "s3cret" not in line
    kept = b"".join(p.read_bytes() for p in run.rglob("*") if p.is_file())
    assert b"s3cret" not in kept


def test_credentials_are_on_no_command_line(nobody: str, run_dir: Path) -> None:
    result = run_python(TRAIN, nobody, "0.2")
    assert result.returncode == 0
    [pid] = shippers_of(run_dir)
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"ship" in command
    assert b"s3cret" not in command
    assert b"127.0.0.1" not in command
    os.kill(pid, signal.SIGKILL)


def test_a_sink_that_does_not_exist_costs_a_line(run_dir: Path) -> None:
    result = run_python(TRAIN, "gopher://me:s3cret@host/x", "60")
    assert result.returncode == 0
    [line] = result.stderr.splitlines()
    assert "was not sent (no sink for 'gopher'; there are" in line
    assert "s3cret" not in line


def test_a_shipper_that_was_killed_costs_a_line(server: Server, run_dir: Path) -> None:
    """The run does not know before its end; then it says why, and what to do."""
    code = """
        import mlog, sys
        run = mlog.start_run("exp", remote=sys.argv[1], flush_timeout=60)
        print("begun", flush=True)
        sys.stdin.readline()
        run.log("a", 1)
        run.complete()
    """
    trainer = start(code, server.url)
    assert trainer.stdout.readline() == "begun\n"
    [pid] = shippers_of(run_dir)
    os.kill(pid, signal.SIGKILL)
    _, errors = trainer.communicate("go\n", timeout=60)
    [line] = errors.splitlines()
    assert "was not sent (its shipper was killed by signal 9); `mlog ship" in line
    assert trainer.returncode == 0


@pytest.mark.parametrize("has_begun", [True, False])
def test_the_next_start_sends_what_was_left(
    nobody: str, server: Server, run_dir: Path, has_begun: bool
) -> None:
    """Also where the shipper was gone before it had begun; to the same sink only."""
    first = nobody if has_begun else server.url
    answer, server.usual = server.usual, reply(503)
    result = run_python(TRAIN, first + "?name=s", "0.1")
    assert result.returncode == 0
    left = only_run(run_dir)
    other = run_python(TRAIN, "file:///dev/null/x", "0.1")
    assert other.returncode == 0
    wait_for(lambda: bool(list(left.glob(".ship/*.json"))))
    for pid in shippers_of(run_dir):  # as in a job, where it ends with the run
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not os.path.exists(f"/proc/{pid}/fd"))  # type: ignore[misc]
    server.usual = answer
    server.taken.clear()
    before = set(run_dir.glob("exp/*"))
    if not has_begun:
        for path in left.glob(".ship/*.json"):
            path.unlink()
    result = run_python(TRAIN, server.url + "?name=s", "60")
    assert (result.returncode, result.stderr) == (0, "")
    runs = {left, *run_dir.glob("exp/*")} - (before - {left})
    assert len(runs) == 2
    wrote = [line for run in runs for line in all_lines(run)]
    assert sorted(server.lines()) == sorted(wrote)


def start(code: str, *args: str, prefix: tuple[str, ...] = ()) -> Any:
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code), *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


ENDLESS = """
import logging, mlog, sys, time
run = mlog.start_run("exp", remote=sys.argv[1])
n = 0
while True:
    n += 1
    logging.getLogger("t").info("n", metric={"loss": n}, step=n)
    print(n, flush=True)
    time.sleep(0.001)
"""


def test_on_a_host_a_shipper_outlives_a_killed_trainer(
    server: Server, run_dir: Path
) -> None:
    """It sends the rest, tells the sink what happened, and ends by itself."""
    trainer = start(ENDLESS, server.url)
    wait_for(lambda: len(server.lines()) > 10)
    trainer.kill()
    trainer.communicate()
    wait_for(lambda: shippers_of(run_dir) == [])
    assert sorted(server.lines()) == sorted(all_lines(only_run(run_dir)))
    assert server.taken[-1].headers["x-mlog-finish"] == "NotResponding"


def test_ctrl_c_ends_the_trainer_and_not_its_shipper(
    server: Server, run_dir: Path
) -> None:
    trainer = start(ENDLESS, server.url)
    wait_for(lambda: len(server.lines()) > 10)
    trainer.send_signal(signal.SIGINT)
    trainer.communicate(timeout=60)
    assert sorted(server.lines()) == sorted(all_lines(only_run(run_dir)))
    assert server.taken[-1].headers["x-mlog-finish"] == "Canceled"


def test_in_a_namespace_of_its_own_it_dies_and_the_rest_is_sent_later(
    server: Server, run_dir: Path
) -> None:
    """As in a container: when process 1 ends, everything does; nothing is lost."""
    prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs unshare and the right to use it")
    answer, held = server.usual, []
    server.usual = lambda request, connection: held.append(request)  # never answers
    code = TRAIN + "assert sys.stderr.flush() is None\n"
    trainer = start(code, server.url + "?name=s", "1.5", prefix=prefix)
    _, errors = trainer.communicate(timeout=60)
    assert trainer.returncode == 0
    [line] = errors.splitlines()
    assert "in the background" not in line
    assert "sends the rest" in line
    wait_for(lambda: shippers_of(run_dir) == [])
    assert held
    server.usual = answer
    server.taken.clear()
    run = only_run(run_dir)
    args = ("-m", "mlog", "ship", "--all", "--to", server.url + "?name=s")
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    result = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, env=env, check=False
    )
    assert result.returncode == 0, result.stderr
    assert sorted(server.lines()) == sorted(all_lines(run))


def test_a_forked_child_does_not_keep_the_shipper_waiting(
    server: Server, run_dir: Path
) -> None:
    """The child has the pipe's end too, and lives on; the run's end is seen."""
    code = """
        import mlog, os, sys, time
        run = mlog.start_run("exp", remote=sys.argv[1], flush_timeout=60)
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        run.log("a", 1)
        begin = time.monotonic()
        run.complete()
        print(time.monotonic() - begin)
        os.kill(0, 9)
    """
    trainer = start(code, server.url, prefix=("setsid",))
    output, errors = trainer.communicate(timeout=60)
    assert errors == ""
    assert float(output) < 25
    assert sorted(server.lines()) == sorted(all_lines(only_run(run_dir)))
