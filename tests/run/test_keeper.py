"""The one background thread: its rounds, its life, and forks."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlog.errors import MlogWarning, be_strict
from mlog.run.keeper import Keeper
from tests.helpers import read_run, run_python


class FakeKept:
    """Records its calls; stands for a run, so that rounds can be waited for."""

    def __init__(self, failing: bool = False) -> None:
        self.rounds: list[float] = []
        self.threads: set[int] = set()
        self.parked = 0
        self.called = threading.Semaphore(0)
        self._failing = failing

    def keep(self, now: float) -> None:
        self.rounds.append(now)
        self.threads.add(threading.get_ident())
        self.called.release()
        if self._failing:
            raise OSError("the disk is gone")

    def park(self) -> None:
        self.parked += 1

    def wait(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            assert self.called.acquire(timeout=20)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """A keeper that hardly waits between its rounds."""
    keeper = Keeper(tick=0.001)
    yield keeper
    keeper.stop()


def running() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "mlog-keeper"]


def test_thread_starts_when_somebody_says_so(keeper: Keeper) -> None:
    """The first entry does; a run that records nothing costs no thread."""
    kept = FakeKept()
    keeper.ensure()
    keeper.watch(kept)
    assert running() == []
    keeper.ensure()
    kept.wait(3)
    assert kept.rounds == sorted(kept.rounds)


def test_one_thread_serves_all(keeper: Keeper) -> None:
    many = [FakeKept() for _ in range(5)]
    for kept in many:
        keeper.watch(kept)
        keeper.ensure()
    for kept in many:
        kept.wait(2)
    assert len(running()) == 1
    assert len(set.union(*(kept.threads for kept in many))) == 1


@pytest.mark.slow
def test_threads_that_ensure_at_once_start_one(keeper: Keeper) -> None:
    """A second one would never be stopped, and be there at the next fork."""
    keeper.watch(FakeKept())
    for _ in range(50):
        barrier = threading.Barrier(8)

        def ensure(barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            keeper.ensure()

        threads = [threading.Thread(target=ensure) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(running()) == 1
        keeper.stop()
        assert running() == []


def test_thread_ends_with_the_last_one(keeper: Keeper) -> None:
    first, second = FakeKept(), FakeKept()
    keeper.watch(first)
    keeper.watch(second)
    keeper.ensure()
    second.wait()
    keeper.unwatch(first)
    assert len(running()) == 1
    keeper.unwatch(second)
    keeper.unwatch(second)
    assert running() == []
    keeper.watch(first)
    keeper.ensure()
    assert len(running()) == 1


def test_failure_is_told_once_and_the_rounds_go_on(
    keeper: Keeper, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next round may succeed, and the other runs are none the worse."""
    failing, kept = FakeKept(failing=True), FakeKept()
    keeper.watch(failing)
    keeper.watch(kept)
    keeper.ensure()
    failing.wait(3)
    kept.wait(2)
    keeper.stop()
    said = capsys.readouterr().err
    assert said.count("background work failed: OSError('the disk is gone')") == 1


def test_failure_does_not_end_the_thread_of_a_strict_run(
    keeper: Keeper, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no caller that it could be raised to."""
    failing = FakeKept(failing=True)
    be_strict(1)
    try:
        keeper.watch(failing)
        keeper.ensure()
        failing.wait(3)
    finally:
        keeper.stop()
        be_strict(-1)
    assert "the disk is gone" in capsys.readouterr().err
    assert issubclass(MlogWarning, UserWarning)


def test_keeper_may_be_stopped_from_its_own_thread(keeper: Keeper) -> None:
    """A run may be ended by its own regular work."""
    stopped = threading.Event()

    class Ending(FakeKept):
        def keep(self, now: float) -> None:
            keeper.unwatch(self)
            stopped.set()

    keeper.watch(Ending())
    keeper.ensure()
    assert stopped.wait(20)


def test_fork_stops_the_thread_until_the_next_entry(keeper: Keeper) -> None:
    kept = FakeKept()
    keeper.watch(kept)
    keeper.ensure()
    kept.wait()
    keeper.before_fork()
    assert (running(), kept.parked) == ([], 1)
    keeper.ensure()
    assert len(running()) == 1


def test_child_forgets_what_its_parent_kept(keeper: Keeper) -> None:
    keeper.watch(FakeKept())
    keeper.after_fork_in_child()
    keeper.ensure()
    assert running() == []
    keeper.watch(FakeKept())
    keeper.ensure()
    assert len(running()) == 1


def test_missing_thread_is_no_error(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At interpreter exit no thread can be started."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    keeper.watch(FakeKept())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        keeper.ensure()
    keeper.stop()
    keeper.ensure()
    assert len(running()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_with_an_open_run_warns_of_no_thread(tmp_path: Path) -> None:
    """Python 3.12 and later warn of a fork beside a thread; a run is no reason."""
    code = """
import os, sys, threading
import mlog
with mlog.start_run("e", dir=sys.argv[1], run_id="r") as run:
    for value in range(5):
        run.log("loss", value)
        assert any(t.name == "mlog-keeper" for t in threading.enumerate())
        pid = os.fork()
        if not pid:
            run.log("child", value)
            assert any(t.name == "mlog-keeper" for t in threading.enumerate())
            sys.exit()
        assert threading.active_count() == 1
        assert os.waitpid(pid, 0)[1] == 0
assert threading.active_count() == 1
"""
    done = run_python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(read_run(tmp_path / "e" / "r")) == 6


def test_entries_of_exit_handlers_and_destructors_are_kept(tmp_path: Path) -> None:
    """No thread can be started then, and none is needed."""
    code = """
import atexit, sys
import mlog
class Last:
    def __del__(self):
        logger.info("destructor")
logger = mlog.getLogger("work")
run = mlog.start_run("e", dir=sys.argv[1], run_id="r")
atexit.register(lambda: logger.info("exit handler"))
last = Last()
"""
    done = run_python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = read_run(tmp_path / "e" / "r").values()
    texts = [e["msg"] for e in found if "msg" in e]
    assert texts == ["exit handler", "destructor"]


def test_what_is_added_while_the_thread_ends_is_kept(keeper: Keeper) -> None:
    """One run ends in a thread while another begins: that one is not forgotten."""
    first, second = FakeKept(), FakeKept()

    class Slow(Keeper):
        def stop(self) -> None:
            self.watch(second)
            self.ensure()  # the thread is there still
            super().stop()

    slow = Slow(tick=0.001)
    slow.watch(first)
    slow.ensure()
    slow.unwatch(first)
    second.wait()
    Keeper.stop(slow)
