"""What a program prints, warns of and dies of: recorded, and shown as before."""

import contextlib
import copy
import gc
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.run.console import KINDS, kinds_of
from tests.helpers import run_python

Take = Callable[[], dict[str, io.StringIO]]


def lines(run: Any, logger: str) -> list[str]:
    return [entry.get("msg", "") for entry in run.entries("logs", logger=logger)]


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Take:
    """Return what puts streams of our own in the place of the console's.

    To be called in the test itself: pytest puts its own there before.
    """

    def take() -> dict[str, io.StringIO]:
        found = {"stdout": io.StringIO(), "stderr": io.StringIO()}
        for name, stream in found.items():
            monkeypatch.setattr(sys, name, stream)
        return found

    return take


class TestWhatIsAskedFor:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (None, set()),
            (False, set()),
            (True, set(KINDS)),
            ("stdout", {"stdout"}),
            ("stdout, warnings", {"stdout", "warnings"}),
            (["exceptions"], {"exceptions"}),
            ("", set()),
        ],
    )
    def test_kinds(self, given: Any, expected: set[str]) -> None:
        assert kinds_of(given) == expected

    def test_an_unknown_kind_is_refused_before_there_is_a_run(
        self, run_dir: Path
    ) -> None:
        with pytest.raises(ValueError, match=r"stdout, stderr, .*, got 'prints'"):
            mlog.start_run("e", capture="prints")
        assert not list(run_dir.rglob("events.jsonl"))


class TestPrinting:
    def test_lines_are_recorded_and_shown(self, console: Take) -> None:
        shown = console()
        with mlog.start_run("e", capture="stdout,stderr") as run:
            print("one", 1)
            print("two", end="")
            print(", whole")
            print("wrong", file=sys.stderr)
        assert lines(run, "stdout") == ["one 1", "two, whole"]
        assert lines(run, "stderr") == ["wrong"]
        assert shown["stdout"].getvalue() == "one 1\ntwo, whole\n"
        assert shown["stderr"].getvalue() == "wrong\n"

    def test_a_progress_bar_is_one_line_with_a_count(self, console: Take) -> None:
        shown = console()
        with mlog.start_run("e", capture="stderr") as run:
            for i in range(100):
                print(f"\rstep {i}", end="", file=sys.stderr)
            print(file=sys.stderr)
        (entry,) = run.entries("logs", logger="stderr")
        assert (entry["msg"], entry["extra"]) == ("step 99", {"redraws": 99})
        assert shown["stderr"].getvalue().count("\r") == 100, "untouched"

    def test_a_line_without_an_end_is_kept_at_the_end(self, console: Take) -> None:
        console()
        with mlog.start_run("e", capture="stdout") as run:
            print("almost", end="")
        assert lines(run, "stdout") == ["almost"]

    def test_everything_is_put_back(self, console: Take) -> None:
        shown = console()
        hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
        showwarning = warnings.showwarning
        with mlog.start_run("e", capture=True):
            assert sys.stdout is not shown["stdout"]
        assert sys.stdout is shown["stdout"]
        assert sys.stderr is shown["stderr"]
        assert hooks == (sys.excepthook, threading.excepthook, sys.unraisablehook)
        assert warnings.showwarning is showwarning

    def test_what_somebody_else_put_there_stays(self, console: Take) -> None:
        """`contextlib.redirect_stdout`, pytest and notebooks do so."""
        shown = console()
        theirs = io.StringIO()
        run = mlog.start_run("e", capture="stdout")
        with contextlib.redirect_stdout(theirs):
            print("theirs")
            run.complete()
            assert sys.stdout is theirs
        print("after")  # redirect_stdout has put back what stood there: ours
        assert lines(run, "stdout") == []
        assert shown["stdout"].getvalue() == "after\n"

    def test_the_stream_is_otherwise_as_it_was(self, console: Take) -> None:
        shown = console()
        with mlog.start_run("e", capture="stdout"):
            assert sys.stdout.isatty() is False
            assert sys.stdout.writable()
            assert sys.stdout.getvalue() == ""  # type: ignore[union-attr]
            assert sys.stdout.write("four") == 4
            sys.stdout.writelines(["a\n", "b\n"])
            sys.stdout.flush()
        assert shown["stdout"].getvalue() == "foura\nb\n"

    def test_a_copy_of_it_goes_on(self, console: Take) -> None:
        """As whoever copies all globals makes one."""
        shown = console()
        with mlog.start_run("e", capture="stdout") as run:
            copy.copy(sys.stdout).write("copied\n")
        assert shown["stdout"].getvalue() == "copied\n"
        assert lines(run, "stdout") == ["copied"]

    def test_lines_of_logging_handlers_are_not_repeated(self, console: Take) -> None:
        shown = console()
        logger = logging.getLogger("train")
        with mlog.start_run("e", capture="stderr") as run:
            handler = logging.StreamHandler()  # takes the stream of now
            logger.addHandler(handler)
            logger.warning("once")
            logger.removeHandler(handler)
        assert lines(run, "*") == ["once"]
        assert shown["stderr"].getvalue() == "once\n"

    def test_secrets_are_taken_out(self, console: Take) -> None:
        shown = console()
        with mlog.start_run("e", capture="stdout") as run:
            print("password=hunter2hunter2")
        assert lines(run, "stdout") == ["password=***"]
        assert "hunter2" in shown["stdout"].getvalue(), "shown as before"

    def test_odd_texts_survive(self, console: Take) -> None:
        console()
        with mlog.start_run("e", capture="stdout") as run:
            print("a\udc80b \u2028 ü", end="\r\n")
        assert lines(run, "stdout") == ["a\ufffdb \u2028 ü"]

    def test_threads_do_not_tear_lines(self, console: Take) -> None:
        console()

        def work(number: int) -> None:
            for i in range(200):
                sys.stdout.write(f"{number}-{i}\n")

        with mlog.start_run("e", capture="stdout") as run:
            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        expected = sorted(f"{n}-{i}" for n in range(4) for i in range(200))
        assert sorted(lines(run, "stdout")) == expected

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_records_its_own_lines(self, tmp_path: Path) -> None:
        done = run_python(
            "import mlog, os, sys\n"
            "with mlog.start_run('e', capture='stdout') as run:\n"
            "    print('half', end='', flush=True)\n"
            "    if os.fork() == 0:\n"
            "        print('child', flush=True)\n"
            "        os._exit(0)\n"
            "    os.wait()\n"
            "    print(' whole')\n",
            warnings="ignore",
        )
        assert done.returncode == 0, done.stderr
        assert sorted(lines(mlog.open_run("latest"), "stdout")) == [
            "child",
            "half whole",
        ]

    def test_pythons_own_capture_and_ours_go_together(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with mlog.start_run("e", capture="stdout") as run:
            print("seen by both")
        assert capsys.readouterr().out == "seen by both\n"
        assert lines(run, "stdout") == ["seen by both"]


class TestWarnings:
    def test_they_are_recorded_with_their_place_and_shown(self) -> None:
        done = run_python(
            "import mlog, warnings\n"
            "with mlog.start_run('e', capture='stderr,warnings'):\n"
            "    warnings.warn('careful')\n",
            warnings="default",
        )
        assert "UserWarning: careful" in done.stderr
        (entry,) = mlog.open_run("latest").entries("logs")
        found = entry["logger"], entry["level"], entry["msg"], entry["line"]
        assert found == ("py.warnings", "WARNING", "UserWarning: careful", 3)


class TestExceptions:
    def test_one_that_ends_the_program(self) -> None:
        done = run_python(
            "import mlog\n"
            "mlog.start_run('e', capture='stderr,exceptions')\n"
            "def f():\n"
            "    raise ValueError('diverged')\n"
            "f()\n"
        )
        assert done.returncode == 1
        assert done.stderr.endswith("ValueError: diverged\n"), "shown as before"
        run = mlog.open_run("latest")
        assert run.status == "Failed"
        (entry,) = run.entries("logs")
        assert (entry["logger"], entry["level"]) == ("uncaught", "CRITICAL")
        assert (entry["line"], entry["func"]) == (4, "f")
        assert entry["exc"]["type"] == "ValueError"
        assert "in f" in entry["exc"]["traceback"]

    def test_one_of_a_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
        with (
            contextlib.redirect_stderr(io.StringIO()) as shown,
            mlog.start_run("e", capture="exceptions") as run,
        ):
            thread = threading.Thread(target=lambda: 1 / 0, name="loader")
            thread.start()
            thread.join()
        (entry,) = run.entries("logs", logger="uncaught")
        assert entry["msg"] == "uncaught exception in loader"
        assert entry["exc"]["type"] == "ZeroDivisionError"
        assert "ZeroDivisionError" in shown.getvalue()

    def test_one_that_python_can_only_report(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Odd:
            def __del__(self) -> None:
                raise ValueError("in the end")

        monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        with (
            contextlib.redirect_stderr(io.StringIO()),
            mlog.start_run("e", capture="exceptions") as run,
        ):
            Odd()
            gc.collect()
        (entry,) = run.entries("logs", logger="uncaught")
        assert (entry["exc"]["type"], entry["exc"]["msg"]) == (
            "ValueError",
            "in the end",
        )

    def test_one_of_a_task_is_logged_by_asyncio(self) -> None:
        done = run_python(
            "import asyncio, gc, mlog\n"
            "async def work():\n"
            "    raise ValueError('lost')\n"
            "async def main():\n"
            "    asyncio.create_task(work())\n"
            "    await asyncio.sleep(0)\n"
            "with mlog.start_run('e', capture='exceptions'):\n"
            "    asyncio.run(main())\n"
            "    gc.collect()\n",
            warnings="ignore",
        )
        assert done.returncode == 0, done.stderr
        (entry,) = mlog.open_run("latest").entries("logs", level="ERROR")
        assert (entry["logger"], entry["exc"]["msg"]) == ("asyncio", "lost")
