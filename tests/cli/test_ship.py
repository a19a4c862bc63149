"""`mlog ship`."""

import json
import os
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

import mlog as package
from mlog.reader.find import iter_runs
from tests.cli.conftest import Child, Mlog
from tests.helpers import entries


@pytest.fixture
def run(run_dir: Path) -> Path:
    """Record a run with four metrics and two lines."""
    with package.start_run("mnist", level="DEBUG") as made:
        logger = package.getLogger("train")
        for step in range(4):
            logger.info(metric={"loss": step / 2}, step=step)
        logger.info("good")
        logger.debug("detail")
    assert made.path is not None
    return made.path


@pytest.fixture
def lake(tmp_path: Path) -> str:
    return (tmp_path / "lake").as_uri()


def test_the_newest_run_is_sent(
    mlog: Mlog, run: Path, lake: str, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    result = mlog("ship", "--to", lake + "?name=lake")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "0 entries, 3 files sent to lake\n"
    copy = tmp_path / "lake" / "mnist" / run.name
    assert entries(copy) == entries(run)
    assert signal.getsignal(signal.SIGTERM) is before


def test_several_runs_and_sinks(
    mlog: Mlog, run: Path, lake: str, run_dir: Path
) -> None:
    """All of a root, to two places at once; a line of JSON for each."""
    with package.start_run("other") as second:
        second.log("a", 1)
    to = ("--to", lake + "?name=a", "--to", lake + "2?name=b")
    result = mlog("ship", "--root", str(run_dir), *to, "--json")
    assert result.exit_code == 0
    found = [orjson.loads(line) for line in result.stdout.splitlines()]
    assert {each["sink"]: each["done"] for each in found} == {"a": 2, "b": 2}
    status = mlog("ship", "--all", "--status", "--json")
    states = [orjson.loads(line) for line in status.stdout.splitlines()]
    assert len(states) == 4
    assert {each["state"] for each in states} == {"done"}
    assert {each["run"] for each in states} == {str(p) for p in iter_runs(run_dir)}


def test_status_is_a_table(
    mlog: Mlog, run: Path, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = mlog("ship", "--status")
    assert result.exit_code == 0
    assert "none of these runs was sent anywhere" in result.stderr
    mlog("ship", "--to", lake + "?name=lake")
    monkeypatch.setenv("COLUMNS", "200")
    head, row = mlog("ship", run.name, "--status").stdout.splitlines()
    assert head.split() == (
        "RUN SINK STATE BEHIND BYTES AGE SENT ACKED RATE RETRIES DEAD".split()
    )
    assert row.startswith(f"mnist/{run.name}  lake  done ")
    monkeypatch.setenv("COLUMNS", "70")
    assert all(len(x) <= 70 for x in mlog("ship", "--status").stdout.splitlines())


def test_sinks_that_differ_in_their_digest_only_are_told_apart(
    mlog: Mlog, run: Path, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The middle of a name that was made from an address is left out."""
    for ending in ("a", "b"):
        mlog("ship", "--to", f"{lake}-of-the-whole-team-{ending}")
    monkeypatch.setenv("COLUMNS", "90")
    _, *rows = mlog("ship", run.name, "--status").stdout.splitlines()
    names = [row.split()[1] for row in rows]
    assert len({*names}) == len(names)
    assert all(re.fullmatch(r"file-.*…[0-9a-f]{8}", name) for name in names)


def test_status_tells_the_last_error_of_a_sink_in_full(
    mlog: Mlog, run: Path, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all runs, below the table: a terminal has no room for it beside."""
    mlog("ship", "--to", lake + "?name=lake")
    (path,) = run.glob(".ship/lake.*.json")
    error = "no answer from http://logs.example.com: [Errno 111] Connection refused"
    cursor = json.loads(path.read_text()) | {"error": error, "failures": 3}
    path.write_text(json.dumps(cursor))
    other = run.with_name(run.name[:-6] + "abcdef")
    shutil.copytree(run, other)
    monkeypatch.setenv("COLUMNS", "70")
    lines = mlog("ship", "--all", "--status").stdout.splitlines()
    assert len(lines) == 4
    assert lines[3] == f"lake: {error}"


def test_the_environment_names_the_sink(
    mlog: Mlog, run: Path, lake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOG_REMOTE", f"{lake}?name=a {lake}2?name=b")
    assert mlog("ship").stdout.count("3 files sent to") == 2


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ((), 2, "name a sink with --to URL, or MLOG_REMOTE"),
        (("latest", "--all", "--to", "file:///x"), 2, "name runs, or all"),
        (("--root", "a", "--dir", "b", "--to", "file:///x"), 2, "say the same"),
        (("--to", "http://a/?x=1", "--to", "http://a/?x=1"), 2, "the same one"),
        (("--to", "nonsense"), 1, "begins with its scheme"),
        (("--to", "gopher://x"), 1, "no sink for 'gopher'"),
        (("--to", "file:///x?level=INFO"), 1, "level cannot be chosen"),
        (("--to", "http://x", "--level", "LOUD"), 1, "level must be"),
        (("nothing", "--to", "http://x"), 1, "no run 'nothing'"),
    ],
)
def test_what_is_wrong_is_one_line(
    mlog: Mlog, run: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    result = mlog("ship", *args)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_where_runs_were_sent_before_is_offered(
    mlog: Mlog, run: Path, lake: str
) -> None:
    mlog("ship", "--to", lake)
    assert f"these runs were sent to {lake}" in mlog("ship").stderr


def test_no_runs(mlog: Mlog, run_dir: Path, lake: str) -> None:
    result = mlog("ship", "--all", "--to", lake)
    assert result.exit_code == 1
    assert "no runs yet in" in result.stderr


def test_a_run_that_somebody_sends_is_told_of(mlog: Mlog, run: Path, lake: str) -> None:
    """The exit code is 1: not all that was asked for is sent."""
    from mlog.shipping.check import MemorySink
    from mlog.shipping.shipper import Options, host_name, open_delivery
    from mlog.shipping.target import parse_route
    from mlog.shipping.world import World

    route = parse_route(lake + "?name=lake", env={})
    other = open_delivery(run, MemorySink(), route, Options(host=host_name()), World())
    try:
        result = mlog("ship", "--to", lake + "?name=lake")
    finally:
        other.close()
    assert result.exit_code == 1
    assert "by another process here" in result.stderr


def test_dead_letters_are_sent_again(mlog: Mlog, run: Path, lake: str) -> None:
    """An artifact that was gone, and is there again."""
    with package.start_run("mnist", resume=run.name) as again:
        again._event("run.artifact", {"path": "late.txt", "size": 4})
    to = ("--to", lake + "?name=lake")
    result = mlog("ship", *to)
    assert "; 1 refused, see --status" in result.stdout
    result = mlog("ship", "--retry-dead", *to)
    assert (result.exit_code, result.stdout) == (
        1,
        f"{run.name}: 0 sent, 1 refused again\n",
    )
    (run / "artifacts").mkdir()
    (run / "artifacts" / "late.txt").write_text("late")
    result = mlog("ship", "--retry-dead", *to)
    assert (result.exit_code, result.stdout) == (
        0,
        f"{run.name}: 1 sent, 0 refused again\n",
    )
    assert not (run / ".ship" / "lake.dead.jsonl").exists()


def test_rm_knows_what_was_sent(mlog: Mlog, run: Path, lake: str) -> None:
    """A run goes only when its cursor has it all."""
    mlog("ship", "--to", lake + "?name=lake")
    with package.start_run("mnist", resume=run.name) as again:
        again.log("more", 1)
    result = mlog("rm", run.name, "--yes")
    assert result.exit_code == 1
    assert "not all of it was sent: .ship/lake." in result.stderr
    mlog("ship", "--to", lake + "?name=lake")
    assert mlog("rm", run.name, "--yes").exit_code == 0
    assert not run.exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs another user")
def test_runs_that_may_not_be_read_are_told_of(
    start: Child, run: Path, make_run: Callable[..., Path], run_dir: Path
) -> None:
    """Once, with how many; those that may be are shown. As another user."""
    for path in (run, *list(run.parents)[:-1]):
        path.chmod(path.stat().st_mode | 0o055)
    for closed in (make_run("r1"), make_run("r2", experiment="secret").parent):
        closed.chmod(0o700)
    code = """
import os, sys
from mlog.cli.ship import command
os.setgid(65534); os.setuid(65534)
command(["--root", sys.argv[1], "--status", "--state", "/nowhere"])
"""
    _, errors = start("-c", code, str(run_dir)).communicate(timeout=60)
    first, second = errors.decode().splitlines()
    assert first == (
        f"mlog: 2 folders of {run_dir} may not be read by this user, so what is there "
        f"is not sent: {run_dir}/mnist/r1, …"
    )
    assert "was sent anywhere" in second


@pytest.mark.slow
def test_a_server_that_is_down_is_told_of_once(start: Child, run: Path) -> None:
    """Also without a terminal; when it is there, all is sent and the exit code is 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    url = f"http://me:s3cret@127.0.0.1:{address[1]}/in?name=logs&coding=identity"
    child = start("-m", "mlog", "ship", "--to", url)
    assert child.stderr is not None
    line = child.stderr.readline().decode()
    assert line.startswith(
        f"mlog: logs: no answer from http://127.0.0.1:{address[1]}: "
    )
    assert line.endswith("; it is tried until that is mended\n")
    assert "s3cret" not in line

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(address, Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        output, errors = child.communicate(timeout=60)
        server.shutdown()
    assert (child.returncode, errors) == (0, b"")
    assert output.endswith(b" entries sent to logs\n")


@pytest.mark.slow
def test_a_service_ends_by_sigterm(
    start: Child, run: Path, lake: str, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    """It waits for new runs; to be stopped is its usual end, so the exit code is 0."""
    args = ("--all", "--follow", "--to", lake, "--state", str(tmp_path / "state"))
    child = start("-m", "mlog", "ship", *args)
    copy = tmp_path / "lake" / "mnist" / run.name / "run.json"
    while not copy.exists():
        assert child.poll() is None
        os.sched_yield()
    child.terminate()
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0
    assert errors == b""
    assert not (run / ".ship").exists()
