"""Which run, which step, which fields: nesting, threads and tasks."""

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import mlog
from mlog import context
from tests.helpers import Entry, entries


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test that warned: under `-W error` mlog's warnings go to stderr."""
    yield
    assert "mlog: warning" not in capsys.readouterr().err


def metrics(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "metrics")


def logs(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "logs")


def numbers(run: mlog.Run) -> list[Any]:
    """Return the value of metric "a" in each entry."""
    return [entry["metric"]["a"] for entry in metrics(run)]


def steps(run: mlog.Run) -> list[int | None]:
    return [entry.get("step") for entry in metrics(run)]


LOGGER = logging.getLogger("context")


def log(value: object, **extra: Any) -> None:
    LOGGER.info("", extra={"metric": {"a": value}, **extra})


def in_thread(function: Callable[[], object]) -> None:
    """Run to the end in a thread; what it raises is raised here."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result()


# --- which run -------------------------------------------------------------------------


def test_an_entry_goes_to_the_innermost_run() -> None:
    with mlog.start_run("outer") as outer:
        log(1)
        with mlog.start_run("inner") as inner:
            assert mlog.current_run() is inner
            log(2)
        assert mlog.current_run() is outer
        log(3)
    assert mlog.current_run() is None
    assert (numbers(outer), numbers(inner)) == ([1, 3], [2])


def test_an_outer_run_that_ends_first_hands_nothing_over() -> None:
    """The inner one goes on; a run that is over takes no entries."""
    outer = mlog.start_run("outer")
    inner = mlog.start_run("inner")
    outer.complete()
    log(1)
    inner.complete()
    assert (numbers(outer), numbers(inner)) == ([], [1])
    assert mlog.current_run() is None


def test_three_runs_end_in_any_order() -> None:
    a, b, c = (mlog.start_run(name) for name in "abc")
    log(3)
    b.complete()
    log(3)
    c.complete()
    log(1)
    a.complete()
    assert (numbers(a), numbers(b), numbers(c)) == ([1], [], [3, 3])


def test_threads_log_into_the_run_of_the_process() -> None:
    """A run that is open before or after the thread began, in whichever thread."""
    with mlog.start_run("whole") as run:
        in_thread(lambda: log(1))
        assert mlog.current_run() is run
    started = threading.Event()
    done = threading.Event()

    def work() -> None:
        started.wait()
        log(2)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    with mlog.start_run("later") as later:
        started.set()
        done.wait()
    thread.join()
    assert (numbers(run), numbers(later)) == ([1], [2])


def test_parallel_runs_of_threads_are_apart() -> None:
    """Each thread has the run that it started, all the time."""
    barrier = threading.Barrier(4)

    def train(n: int) -> mlog.Run:
        with mlog.start_run("parallel", name=f"fold {n}") as run:
            barrier.wait()
            for _ in range(25):
                log(n)
                LOGGER.info("line of %d", n)
            barrier.wait()
        return run

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(train, range(4)))
    for n, run in enumerate(runs):
        assert numbers(run) == [n] * 25
        assert {entry["msg"] for entry in logs(run)} == {f"line of {n}"}
    assert mlog.current_run() is None


def test_a_run_of_a_thread_is_not_that_of_the_main_one() -> None:
    with mlog.start_run("main") as main:
        inner: list[mlog.Run] = []

        def work() -> None:
            with mlog.start_run("thread") as run:
                inner.append(run)
                log(2)

        in_thread(work)
        log(1)
    assert (numbers(main), numbers(inner[0])) == ([1], [2])


def test_parallel_runs_of_tasks_are_apart() -> None:
    """Each asyncio task has the run that it started; a child task its parent's."""

    async def child(n: int) -> None:
        await asyncio.sleep(0)
        log(n)

    async def train(n: int) -> mlog.Run:
        with mlog.start_run("tasks") as run:
            for _ in range(3):
                log(n)
                await asyncio.sleep(0)
            await asyncio.gather(child(n), child(n))
        return run

    async def main() -> list[mlog.Run]:
        return await asyncio.gather(*(train(n) for n in range(3)))

    runs = asyncio.run(main())
    assert [numbers(run) for run in runs] == [[n] * 5 for n in range(3)]
    names = {entry["task"] for run in runs for entry in metrics(run)}
    assert len(names) == 9


def test_work_handed_to_a_thread_with_its_context_goes_to_its_run() -> None:
    """As `asyncio.to_thread` and `contextvars.copy_context` do."""

    async def main() -> tuple[mlog.Run, mlog.Run]:
        with mlog.start_run("first") as first:
            with mlog.start_run("second") as second:
                await asyncio.to_thread(log, 2)
            await asyncio.to_thread(log, 1)
        return first, second

    first, second = asyncio.run(main())
    assert (numbers(first), numbers(second)) == ([1], [2])
    with mlog.start_run("a") as a:
        copied = contextvars.copy_context()
        with mlog.start_run("b") as b:
            in_thread(lambda: copied.run(log, 1))
    assert (numbers(a), numbers(b)) == ([1], [])


def test_a_generator_s_caller_decides() -> None:
    """A generator runs in the context of whoever asks for the next item."""

    def values() -> Iterator[int]:
        for n in (1, 2):
            log(n)
            yield n

    items = values()
    with mlog.start_run("first") as first:
        next(items)
    with mlog.start_run("second") as second:
        next(items)
    assert (numbers(first), numbers(second)) == ([1], [2])


def test_lines_made_elsewhere_after_the_end_are_nobody_s() -> None:
    with mlog.start_run("ended") as run:
        copied = contextvars.copy_context()
    copied.run(log, 1)
    assert numbers(run) == []


# --- step ------------------------------------------------------------------------------


def test_set_step_gives_every_later_entry_its_step() -> None:
    with mlog.start_run("step") as run:
        log(0)
        mlog.set_step(3)
        log(1)
        LOGGER.info("line")
        log(2, step=7)
        log(3)
        mlog.set_step(None)
        log(4)
    assert steps(run) == [None, 3, 7, 3, None]
    assert [entry["step"] for entry in logs(run)] == [3]


def test_a_step_block_holds_inside_only() -> None:
    with mlog.start_run("step") as run:
        mlog.set_step(1)
        with mlog.step(2):
            log(0)
            with mlog.step(3):
                log(0)
            log(0)
            mlog.set_step(9)
            log(0)
        log(0)
        with pytest.raises(ValueError, match="out"), mlog.step(4):
            raise ValueError("out")
        log(0)
    assert steps(run) == [2, 3, 2, 9, 1, 1]


def test_the_step_zero_is_a_step() -> None:
    with mlog.start_run("step") as run, mlog.step(5):
        log(0, step=0)
        mlog.getLogger("context").info(metric={"a": 0}, step=0)
        with mlog.step(0):
            log(0)
    assert steps(run) == [0, 0, 0]


def test_step_is_the_thread_s_own() -> None:
    with mlog.start_run("step") as run, mlog.step(3):
        in_thread(lambda: log(0))
        in_thread(lambda: mlog.set_step(8))
        log(0)
    assert steps(run) == [None, 3]


def test_step_is_the_task_s_own() -> None:
    async def train(n: int) -> None:
        with mlog.step(n):
            await asyncio.sleep(0)
            log(n)

    async def main() -> None:
        mlog.set_step(9)
        await asyncio.gather(*(train(n) for n in range(3)))
        log(9)

    with mlog.start_run("step") as run:
        asyncio.run(main())
    assert [(e["metric"]["a"], e["step"]) for e in metrics(run)] == [
        *((n, n) for n in range(3)),
        (9, 9),
    ]


# --- bind ------------------------------------------------------------------------------


def test_bound_fields_are_in_every_entry() -> None:
    with mlog.start_run("bind") as run:
        with mlog.bind(fold=1, model="tree"):
            log(0)
            mlog.getLogger("context").info(metric={"a": 0}, step=1)
            LOGGER.info("line")
            run.log("a", 0)
        log(0)
    assert [entry.get("extra") for entry in metrics(run)] == [
        *[{"fold": 1, "model": "tree"}] * 3,
        None,
    ]
    assert logs(run)[0]["extra"] == {"fold": 1, "model": "tree"}


def test_what_is_bound_inside_and_given_in_the_call_wins() -> None:
    with mlog.start_run("bind") as run, mlog.bind(a=1, b=1, c=1):
        with mlog.bind(b=2, c=2):
            LOGGER.info("line", extra={"c": 3})
        LOGGER.info("line")
    inner, outer = (entry["extra"] for entry in logs(run))
    assert inner == {"a": 1, "b": 2, "c": 3}
    assert outer == {"a": 1, "b": 1, "c": 1}


def test_bound_fields_end_with_the_block_also_by_an_exception() -> None:
    with mlog.start_run("bind") as run:
        with pytest.raises(ValueError, match="out"), mlog.bind(fold=1):
            raise ValueError("out")
        LOGGER.info("line")
    assert "extra" not in logs(run)[0]


def test_bound_fields_are_the_thread_s_own() -> None:
    with mlog.start_run("bind") as run, mlog.bind(fold=1):
        in_thread(lambda: LOGGER.info("thread"))
        copied = contextvars.copy_context()
        in_thread(lambda: copied.run(LOGGER.info, "with the context"))
    assert [entry.get("extra") for entry in logs(run)] == [None, {"fold": 1}]


def test_bound_fields_go_along_into_runs_started_inside() -> None:
    with mlog.bind(sweep=7), mlog.start_run("bind") as run:
        LOGGER.info("line")
    assert logs(run)[0]["extra"] == {"sweep": 7}


def test_bound_fields_replace_no_key_of_an_entry() -> None:
    fields = {"msg": "x", "level": "x", "ts": "x", "seq": -1, "logger": "x"}
    with mlog.start_run("bind") as run, mlog.bind(**fields):
        LOGGER.info("line")
    (entry,) = logs(run)
    assert (entry["msg"], entry["level"], entry["logger"]) == (
        "line",
        "INFO",
        "context",
    )
    assert entry["extra"] == fields


def test_bound_fields_are_not_shown_to_other_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A record is the same with and without a run."""
    with mlog.start_run("bind"), mlog.bind(fold=1), mlog.step(3):
        LOGGER.warning("line")
    (record,) = caplog.records
    assert not hasattr(record, "fold")
    assert not hasattr(record, "step")


def test_step_and_bind_leave_each_other_and_the_run_alone() -> None:
    with mlog.start_run("both") as outer, mlog.bind(fold=1):
        with mlog.step(3), mlog.start_run("inner") as inner:
            log(0)
        log(0)
    (first,), (second,) = metrics(inner), metrics(outer)
    assert (first["step"], first["extra"]) == (3, {"fold": 1})
    assert ("step" in second, second["extra"]) == (False, {"fold": 1})


def test_step_and_bind_work_without_a_run() -> None:
    with mlog.step(3), mlog.bind(fold=1):
        LOGGER.info("nobody listens")
    mlog.set_step(None)
    assert context.scope().fields is None
