"""Foreign logs on a run's time line, each line once; `mlog attach`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

import mlog
from mlog.cli import cli
from mlog.reader.verify import verify_run
from mlog.sources.attaching import Attachment, Known, Printed, last_line

Attach = Callable[..., Result]
Fake = Callable[[str, str], None]


@pytest.fixture
def run() -> Any:
    with mlog.start_run("e") as made:
        made.log("loss", 1, step=1)
    return made


@pytest.fixture
def attach(run: Any) -> Attach:
    def call(*args: str) -> Result:
        return CliRunner().invoke(cli, ["attach", str(run.path), *args])

    return call


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a shell script on the PATH in the place of a program."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def put(name: str, body: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}")
        (tmp_path / name).chmod(0o755)

    return put


def messages(run: Any) -> list[str]:
    return [entry["msg"] for entry in run.entries("logs")]


def aged(path: Path) -> None:
    """Let a file look as if nobody wrote it any more."""
    os.utime(path, (time.time() - 60, time.time() - 60))


class TestFiles:
    def test_lines_get_their_own_times_and_levels(
        self, run: Any, attach: Attach, tmp_path: Path
    ) -> None:
        path = tmp_path / "server.log"
        path.write_text(
            "2026-11-27T18:27:03Z INFO started\n"
            "2026-11-27T18:27:04Z ERROR lost password=hunter2hunter2\n"
            "Traceback\n"
        )
        shown = attach("--file", str(path))
        assert shown.stdout == f"attached 3 lines to e/{run.id}\n"
        first, second, third = run.entries("logs")
        assert first["ts"] == "2026-11-27T18:27:03.000000Z"
        assert first["logger"] == "server.log"
        assert (second["level"], second["msg"]) == ("ERROR", "ERROR lost password=***")
        assert third["ts"] == second["ts"], "a traceback stays with its error"
        assert first["extra"]["at"] == 34

    def test_done_again_only_what_is_new_comes(
        self, run: Any, attach: Attach, tmp_path: Path
    ) -> None:
        path = tmp_path / "server.log"
        path.write_text("one\ntwo\n")
        attach("--file", str(path))
        with path.open("a") as file:
            file.write("three\n")
        for _ in range(2):
            assert attach("--file", str(path)).exit_code == 0
        assert sorted(messages(run)) == ["one", "three", "two"]
        assert verify_run(run.path, now=time.time()).is_whole

    def test_a_line_that_is_being_written_waits(
        self, run: Any, attach: Attach, tmp_path: Path
    ) -> None:
        path = tmp_path / "server.log"
        path.write_text("one\nhal")
        attach("--file", str(path))
        assert messages(run) == ["one"]
        with path.open("a") as file:
            file.write("f\nlast")
        aged(path)
        attach("--file", str(path))
        assert sorted(messages(run)) == ["half", "last", "one"]

    def test_another_file_of_the_name_is_taken_whole(
        self, run: Any, attach: Attach, tmp_path: Path
    ) -> None:
        path = tmp_path / "server.log"
        for text in ("first\nfile\n", "second\nfile of the name\n"):
            path.write_text(text)
            attach("--file", str(path))
        assert len(messages(run)) == 4

    def test_one_that_was_killed_is_gone_on_with(
        self, run: Any, tmp_path: Path
    ) -> None:
        """Its writer has no end, and its last entry says where it was."""
        attachment = Attachment(run.path, "file:x#1")
        attachment.begin()
        attachment.take([Printed("a", 2), Printed("b", 4)], mlog_now())
        child = os.fork() if hasattr(os, "fork") else 0
        if child == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert last_line(run.path, "file:x#1").at == 4
        assert last_line(run.path, "file:x#2") == Known()
        attachment.close()

    def test_a_line_without_a_time_has_that_of_the_line_before_it(
        self, run: Any, attach: Attach, tmp_path: Path
    ) -> None:
        """Also where that one was attached before."""
        path = tmp_path / "server.log"
        for text in ("2026-11-27T18:27:03Z INFO started\n", "more\n"):
            with path.open("a") as file:
                file.write(text)
            attach("--file", str(path))
        assert {e["ts"] for e in run.entries("logs")} == {"2026-11-27T18:27:03.000000Z"}

    @pytest.mark.slow
    def test_it_is_followed_until_the_run_ends(self, tmp_path: Path) -> None:
        """Over a rotation, too."""
        path = tmp_path / "live.log"
        path.write_text("a 1\n")
        run = mlog.start_run("live")
        assert run.path is not None
        line = [
            sys.executable,
            "-m",
            "mlog",
            "attach",
            str(run.path),
            "--file",
            str(path),
        ]
        child = subprocess.Popen([*line, "-f"], stdout=subprocess.PIPE, text=True)
        wait_for(lambda: messages(run) == ["a 1"])
        with path.open("a") as file:
            file.write("a 2\n")
        wait_for(lambda: len(messages(run)) == 2)
        path.rename(tmp_path / "live.log.1")
        path.write_text("b 1\n")
        wait_for(lambda: len(messages(run)) == 3)
        run.complete()
        assert child.communicate(timeout=30)[0].startswith("attached 3 lines")
        assert sorted(messages(run)) == ["a 1", "a 2", "b 1"]


class TestCommands:
    def test_what_a_command_prints(self, run: Any, attach: Attach) -> None:
        shown = attach("--", "sh", "-c", "echo one; echo WARN two >&2")
        assert shown.exit_code == 0
        assert [e["level"] for e in run.entries("logs")] == ["INFO", "WARNING"]

    def test_one_that_fails_is_told(self, run: Any, attach: Attach) -> None:
        shown = attach("--", "sh", "-c", "echo no such device; exit 3")
        assert shown.exit_code == 1
        assert shown.stderr == "mlog: sh ended with exit code 3: no such device\n"
        assert messages(run) == ["no such device"]

    def test_containers_by_a_stand_in_for_docker(
        self, run: Any, attach: Attach, tmp_path: Path, fake: Fake
    ) -> None:
        """A fake, as no engine runs on the machines of the tests."""
        fake(
            "docker",
            'echo "$@" > "$0.args"\n'
            "echo 2026-11-27T18:27:03.000000001Z one\n"
            "echo 2026-11-27T18:27:03.000000002Z ERROR two\n",
        )
        for _ in range(2):
            assert attach("--docker", "triton").exit_code == 0
        assert messages(run) == ["one", "ERROR two"]
        assert (tmp_path / "docker.args").read_text() == (
            "logs --timestamps --since 2026-11-27T18:27:03.000000002Z -- triton\n"
        )

    def test_what_the_engine_itself_says_is_no_line_of_the_container(
        self, run: Any, attach: Attach, tmp_path: Path, fake: Fake
    ) -> None:
        """And no place to go on from: a fake engine, as above, that fails first."""
        fake(
            "docker",
            'echo "$@" >> "$0.args"\n'
            "echo Error response from daemon: No such container: web >&2; exit 1\n",
        )
        shown = attach("--docker", "web")
        assert shown.exit_code == 1
        assert "No such container: web" in shown.stderr
        attach("--docker", "web")
        assert messages(run) == []
        args = (tmp_path / "docker.args").read_text()
        assert args == "logs --timestamps -- web\n" * 2

    def test_units_by_a_stand_in_for_journalctl(
        self, run: Any, attach: Attach, tmp_path: Path, fake: Fake
    ) -> None:
        """A fake, as no systemd runs on the machines of the tests."""
        lines = [
            {"__CURSOR": "c1", "__REALTIME_TIMESTAMP": "1795804023500000",
             "PRIORITY": "3", "MESSAGE": "oops", "SYSLOG_IDENTIFIER": "nvidia"},
            {"__CURSOR": "c2", "__REALTIME_TIMESTAMP": "1795804024500000",
             "PRIORITY": "6", "MESSAGE": [104, 105]},
        ]  # fmt: skip
        text = b"\n".join(map(orjson.dumps, lines)).decode()
        fake(
            "journalctl",
            f'echo "$@" > "$0.args"\ncase "$*" in *after-cursor*) exit;; esac\n'
            f"cat <<'END'\n{text}\nEND\n",
        )
        for _ in range(2):
            assert attach("--journal", "gpu").exit_code == 0
        first, second = run.entries("logs")
        assert (first["level"], first["logger"], first["msg"]) == (
            "ERROR",
            "nvidia",
            "oops",
        )
        assert (second["logger"], second["msg"]) == ("journal", "hi")
        assert "--after-cursor=c2" in (tmp_path / "journalctl.args").read_text()


class TestWrongCalls:
    @pytest.mark.parametrize(
        "args", [(), ("--docker", "a", "--journal", "b"), ("--file", "a", "--", "ls")]
    )
    def test_one_source_has_to_be_named(self, attach: Attach, args: Any) -> None:
        shown = attach(*args)
        assert shown.exit_code == 2
        assert "give one of --file, --docker, --journal, or a command" in shown.stderr

    def test_a_file_that_is_not_there(self, attach: Attach) -> None:
        shown = attach("--file", "/nowhere/x.log")
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert "/nowhere/x.log" in shown.stderr

    def test_a_folder_is_no_file(self, attach: Attach, tmp_path: Path) -> None:
        assert attach("--file", str(tmp_path)).exit_code == 1


def mlog_now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)
