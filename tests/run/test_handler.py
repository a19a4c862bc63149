"""`RunHandler`: a run for programs that configure `logging` and know nothing else."""

import copy
import logging
import logging.config
import logging.handlers
import os
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.errors import MlogWarning
from mlog.tap import getLogger
from tests.helpers import REPO, Entry, entries, run_python

ENV = {"PYTHONPATH": str(REPO)}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say nothing on stderr but warnings; the line has a test of its own."""
    monkeypatch.setenv("MLOG_QUIET", "1")


@pytest.fixture(autouse=True)
def no_hidden_warnings(
    quiet: None, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Fail a test whose run warned where no warning was expected.

    Under `-W error` a warning of mlog's own goes to stderr instead of being raised.
    """
    yield
    assert "mlog: warning" not in capsys.readouterr().err


def runs(root: Path) -> list[Path]:
    return sorted(root.glob("*/*")) if root.exists() else []


def all_entries(root: Path, stream: str) -> list[Entry]:
    return [entry for folder in runs(root) for entry in entries(folder, stream)]


def lines(root: Path) -> list[str]:
    return [entry["msg"] for entry in all_entries(root, "logs")]


def metrics(root: Path) -> list[Any]:
    return [entry["metric"] for entry in all_entries(root, "metrics")]


def basic(level: int = logging.DEBUG, **options: Any) -> mlog.RunHandler:
    """Configure `logging` in the usual way."""
    handler = mlog.RunHandler("e", **options)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler


# --- the usual ways --------------------------------------------------------------------


def test_basic_config_with_a_run_handler_records_all(run_dir: Path) -> None:
    handler = basic()
    getLogger("a").info("line", metric={"loss": 0.5}, step=1)
    getLogger("a").debug("detail")
    logging.warning("on root")
    logging.getLogger("b.c").info("x", extra={"metric": {"acc": 1}})
    assert lines(run_dir) == ["detail", "on root"]
    assert metrics(run_dir) == [{"loss": 0.5}, {"acc": 1}]
    assert runs(run_dir) == [handler.run.path]


DICT_CONFIGS: dict[str, dict[str, Any]] = {
    "by class path": {"class": "mlog.RunHandler", "experiment": "e"},
    "by class path and level": {
        "class": "mlog.RunHandler",
        "experiment": "e",
        "level": "INFO",
    },
    "by factory": {"()": mlog.RunHandler, "experiment": "e", "tags": {"a": "b"}},
    "by factory path": {"()": "mlog.RunHandler", "experiment": "e"},
}


@pytest.mark.parametrize("way", DICT_CONFIGS)
def test_dict_config_with_a_run_handler_records(way: str, run_dir: Path) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"run": DICT_CONFIGS[way]},
            "root": {"level": "INFO", "handlers": ["run"]},
        }
    )
    logging.getLogger("a").info("line")
    getLogger("a").info(metric={"loss": 0.5})
    assert (lines(run_dir), metrics(run_dir)) == (["line"], [{"loss": 0.5}])


def test_nothing_is_opened_before_the_first_entry(run_dir: Path) -> None:
    handler = basic(level=logging.WARNING, filters=[mlog.MetricFilter()])
    logging.getLogger("urllib3").debug("not taken")
    logging.getLogger("a").warning("filtered out")
    assert runs(run_dir) == []
    assert "MLOG_RUN" not in os.environ
    assert mlog.current_run() is None
    getLogger("a").info(metric={"x": 1})
    assert runs(run_dir) == [handler.run.path]
    assert metrics(run_dir) == [{"x": 1}]


def test_the_run_is_the_whole_processs(run_dir: Path) -> None:
    """Not that of the thread or task whose record happened to be the first."""
    handler = basic()
    thread = threading.Thread(target=lambda: logging.getLogger("a").info("first"))
    thread.start()
    thread.join()
    assert mlog.current_run() is handler.run
    logging.getLogger("a").info("second")
    assert lines(run_dir) == ["first", "second"]


def test_many_threads_begin_one_run_and_lose_nothing(run_dir: Path) -> None:
    basic()
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        logging.getLogger("a").info("line %d", number)
        getLogger("a").info(metric={"x": number})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs(run_dir)) == 1
    assert sorted(lines(run_dir)) == [f"line {n}" for n in range(8)]
    assert sorted(m["x"] for m in metrics(run_dir)) == list(range(8))


def test_the_run_can_be_had_before_its_first_entry() -> None:
    handler = basic(params={"lr": 1})
    assert handler.run.params == {"lr": 1}
    assert handler.run is handler.run


def test_where_the_run_is_is_said_once(run_dir: Path, tmp_path: Path) -> None:
    """One line, so that people find the files of a run they did not ask for."""
    code = """
import logging, mlog
logging.basicConfig(handlers=[mlog.RunHandler("e")], level="INFO")
logging.info("one")
logging.info("two")
"""
    done = run_python(code, env={**ENV, "MLOG_QUIET": "0"})
    (folder,) = runs(run_dir)
    assert done.stderr == f"mlog: run {folder.name[-6:]} → {folder}\n"
    assert run_python(code, env={**ENV, "MLOG_QUIET": "1"}).stderr == ""


# --- what it takes ---------------------------------------------------------------------


def test_set_level_is_honoured(run_dir: Path) -> None:
    """Lines from that level on; metrics at INFO and above in any case."""
    handler = basic()
    handler.setLevel(logging.WARNING)
    log = getLogger("a")
    log.info("not taken")
    log.warning("taken")
    log.info(metric={"x": 1})
    handler.setLevel("ERROR")  # of the run that is open
    log.warning("not taken")
    log.error("taken too")
    assert lines(run_dir) == ["taken", "taken too"]
    assert metrics(run_dir) == [{"x": 1}]


def test_filters_of_the_handler_are_the_runs(run_dir: Path) -> None:
    handler = basic()
    handler.addFilter(lambda record: "secret" not in str(record.msg))
    log = logging.getLogger("a")
    log.info("secret, first")
    assert runs(run_dir) == []
    log.info("one")
    log.info("secret, second")
    handler.addFilter(lambda record: record.name != "b")
    logging.getLogger("b").info("two")
    log.info("three")
    assert lines(run_dir) == ["one", "three"]


def test_a_filter_sees_every_record_once(run_dir: Path) -> None:
    """Some count, or let only the first of a kind pass."""
    seen: list[str] = []

    def first(record: logging.LogRecord) -> bool:
        seen.append(record.msg)
        return True

    def second(record: logging.LogRecord) -> bool:
        seen.append(f"{record.msg}!")
        return True

    basic(filters=[first]).addFilter(second)
    for text in ("a", "b"):
        logging.getLogger("x").info(text)
    assert seen == ["a", "a!", "b", "b!"]
    assert lines(run_dir) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": "LOUD"}, "unknown level 'LOUD'"),
        ({"levle": "INFO"}, "start_run has no argument levle"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any], says: str) -> None:
    """Not with the first record, which may come much later."""
    with pytest.raises((ValueError, TypeError), match=says):
        mlog.RunHandler("e", **options)


def test_a_run_that_cannot_begin_is_warned_about_once(run_dir: Path) -> None:
    """The program goes on without; it is not tried again with each record."""
    with mlog.start_run("e", run_id="taken"):
        pass
    basic(run_id="taken")
    with pytest.warns(MlogWarning, match="cannot begin, .*RunExistsError") as told:
        logging.getLogger("a").info("one")
    assert (told[0].filename, len(told)) == (__file__, 1)
    logging.getLogger("a").info("two")
    assert lines(run_dir) == []


# --- no record twice -------------------------------------------------------------------


def test_a_handler_on_several_loggers_writes_a_record_once(run_dir: Path) -> None:
    handler = basic()
    logging.getLogger("a").addHandler(handler)
    logging.getLogger("a.b").addHandler(handler)
    logging.getLogger("a.b").warning("once")
    getLogger("a.b").warning(metric={"x": 1})
    assert (lines(run_dir), metrics(run_dir)) == (["once"], [{"x": 1}])


def test_two_handlers_are_one_run(run_dir: Path) -> None:
    first, second = mlog.RunHandler("e"), mlog.RunHandler("e")
    logging.basicConfig(level=logging.INFO, handlers=[first, second])
    logging.info("once")
    assert lines(run_dir) == ["once"]
    assert len(runs(run_dir)) == 1


def test_a_handler_beside_an_open_run_writes_there(run_dir: Path) -> None:
    basic()
    with mlog.start_run("mine") as run:
        logging.getLogger("a").info("once")
        seen: list[mlog.Run | None] = []

        def work() -> None:
            logging.getLogger("a").info("from a thread")
            seen.append(mlog.current_run())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert runs(run_dir) == [run.path]
    assert lines(run_dir) == ["once", "from a thread"]
    assert seen == [run]


def test_records_that_took_a_queue_are_written_once(run_dir: Path) -> None:
    """The tap has shown them to the run before they went into the queue."""
    handler = mlog.RunHandler("e")
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    logging.basicConfig(
        level=logging.INFO, handlers=[logging.handlers.QueueHandler(waiting)]
    )
    listener = logging.handlers.QueueListener(waiting, handler)
    listener.start()
    logging.getLogger("a").info("line %d", 1)
    getLogger("a").info("with", metric={"x": 1})
    listener.stop()
    assert (lines(run_dir), metrics(run_dir)) == (["line 1"], [{"x": 1}])


class Foreign(logging.Logger):
    """A logger class with ways of its own, which the tap does not reach."""

    def handle(self, record: logging.LogRecord) -> None:
        """Hand the record on, as a library's own class may do differently."""
        super().handle(record)


@pytest.fixture
def foreign() -> Iterator[logging.Logger]:
    """Return a logger that was there before mlog, of a class of its own."""
    logging.setLoggerClass(Foreign)
    try:
        logger = logging.getLogger("foreign.one")
    finally:
        logging.setLoggerClass(logging.Logger)
    yield logger
    del logging.root.manager.loggerDict["foreign.one"]


def test_foreign_loggers_reach_the_run_through_the_handler(
    run_dir: Path, foreign: logging.Logger
) -> None:
    assert type(foreign) is Foreign
    basic(level=logging.INFO)
    foreign.info("foreign")
    foreign.debug("below root's level")
    foreign.info("x", extra={"metric": {"x": 1}})
    assert (lines(run_dir), metrics(run_dir)) == (["foreign"], [{"x": 1}])


def test_the_level_of_the_handler_holds_for_foreign_loggers(
    run_dir: Path, foreign: logging.Logger
) -> None:
    basic(level=logging.INFO).setLevel(logging.ERROR)
    foreign.warning("too low")
    foreign.info("x", extra={"metric": {"x": 1}})
    foreign.error("high enough")
    assert (lines(run_dir), metrics(run_dir)) == (["high enough"], [{"x": 1}])


def test_records_of_other_processes_are_taken(run_dir: Path) -> None:
    """As they come by a SocketHandler's server: copies that no tap here has seen."""
    handler = basic()
    record = logging.LogRecord("a", 20, "/f.py", 3, "from afar", (), None, "work")
    record.process = os.getpid() + 1
    handler.handle(pickle.loads(pickle.dumps(copy.copy(record))))
    assert lines(run_dir) == ["from afar"]


# --- it survives -----------------------------------------------------------------------

LATER: dict[str, Callable[[], object]] = {
    "basicConfig": lambda: logging.basicConfig(force=True, handlers=[]),
    "dictConfig": lambda: logging.config.dictConfig({"version": 1, "root": {}}),
    "dictConfig that keeps loggers": lambda: logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "root": {"level": "ERROR"}}
    ),
    "shutdown": logging.shutdown,
}


@pytest.mark.parametrize("how", LATER)
@pytest.mark.parametrize("when", ["before the first entry", "after it"])
def test_the_run_survives_a_later_configuration(
    how: str, when: str, run_dir: Path
) -> None:
    """Others close all handlers, Hydra for one; metrics are recorded all the same."""
    basic()
    log = getLogger("a")
    if when == "after it":
        log.info(metric={"x": 0})
    LATER[how]()
    log.info(metric={"x": 1})
    assert metrics(run_dir)[-1] == {"x": 1}
    assert len(runs(run_dir)) == 1


def test_closing_the_handler_does_not_end_the_run(run_dir: Path) -> None:
    handler = basic()
    logging.info("one")
    handler.flush()
    handler.close()
    handler.close()
    assert handler.run.status == "Running"
    handler.run.complete()
    logging.info("two")
    assert lines(run_dir) == ["one"]


def test_flushing_an_unused_handler_opens_nothing(run_dir: Path) -> None:
    basic().flush()
    assert runs(run_dir) == []


def test_the_run_of_a_handler_ends_with_the_process(run_dir: Path) -> None:
    code = """
import logging, mlog, sys
logging.basicConfig(handlers=[mlog.RunHandler("e")], level="INFO")
logging.info("one")
sys.exit(3)
"""
    assert run_python(code, env=ENV).returncode == 3
    (end,) = [e for e in all_entries(run_dir, "events") if e["event"] == "run.end"]
    assert end["data"]["status"] == "Failed"


def test_a_handler_may_be_off(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOG_MODE", "off")
    basic()
    getLogger("a").info("line", metric={"x": 1})
    assert runs(run_dir) == []
