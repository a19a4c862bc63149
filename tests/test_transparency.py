"""For everybody else's handlers mlog is not there.

A program of many call forms runs in child processes: once without mlog, and once for
each way in which mlog can be present. Standard output and standard error have to be
the same, byte for byte.
"""

import copy
import logging
import logging.config
import logging.handlers
import os
import pickle
import queue
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import mlog
from tests.helpers import REPO, entries, run_python

PRESENCES = ("before", "after", "all levels", "handler")
"""How mlog is present: a run started before or after `logging` is configured, one that
wants every line, or a `RunHandler` that is made and attached to nothing."""

MORE_PRESENCES = ("installed", "ended", "nested", *PRESENCES)
"""Also the tap alone, a run that has ended, and a run inside another."""

PROLOGUE = """\
import asyncio, copy, functools, json, logging, logging.config, logging.handlers
import os, pickle, queue, sys, threading, warnings

MODE = os.environ["MODE"]

def tap(when):
    if MODE == "control":
        return
    import mlog
    if when == "before" and MODE == "installed":
        mlog.install()
    if when == "before" and MODE in ("before", "nested"):
        mlog.start_run("t")
    if when == "before" and MODE == "nested":
        mlog.start_run("t")
    if when == "before" and MODE == "ended":
        with mlog.start_run("t"):
            pass
    if when == "before" and MODE == "all levels":
        mlog.start_run("t", level=1)
    if when == "after" and MODE == "after":
        mlog.start_run("t")
    if when == "after" and MODE == "handler":
        mlog.RunHandler("t")

early = logging.getLogger("early")
tap("before")
"""

CALLS = """
tap("after")

log = logging.getLogger("prog.calls")
other = logging.getLogger("lib")
logging.addLevelName(5, "TRACE")

class Thing:
    def method(self):
        log.info("from a method")

    @staticmethod
    def static():
        log.warning("from a static method")

def helper(**kwargs):
    log.info("told where", **kwargs)

def outer(**kwargs):
    helper(**kwargs)

def trace(self, message, *args, **kwargs):
    if self.isEnabledFor(5):
        self._log(5, message, args, **kwargs)

def success(self, message, *args, **kwargs):
    self._log(25, message, args, **kwargs)

def whisper(self, message, *args, **kwargs):
    self._log(3, message, args, **kwargs)

logging.Logger.trace = trace
logging.Logger.success = success
logging.Logger.whisper = whisper

def plain(log):
    log.debug("debug")
    log.info("info %d of %s", 3, "five")
    log.warning("a mapping: %(a)s %(b)r", {"a": 1, "b": "two"})
    log.warning("an empty mapping: %s", {})
    log.warning("a tuple: %s", (1, 2))
    log.error({"a": "dict"})
    log.error(ValueError("an exception as the message"))
    log.error("no arguments: 100%")
    log.critical("critical")
    log.fatal("fatal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.warn("warn")
    log.log(logging.INFO, "log")
    log.log(5, "a level of its own")
    log.log(17, "an odd level")
    log.log(0, "no level")
    log.info(msg="by keyword")
    log.trace("checks first")
    log.success("does not check")
    log.whisper("nor does this, at %s", "level 3")

def fields(log):
    log.info("extra", extra={"a": 1, "b": [1, 2], "_private": 3})
    log.info("extra", extra={})
    log.info("extra", extra=None)
    log.info("of a metric", extra={"metric": {"loss": 0.5}, "step": 3})
    log.debug("of a metric", extra={"metric": {"loss": 0.5}, "step": 3})
    log.info("", extra={"metric": {"loss": 0.5}})
    log.info("of another library", extra={"metric": "accuracy", "step": 1})

def trouble(log):
    try:
        raise ValueError("boom")
    except ValueError as error:
        log.exception("exception %s", "here")
        log.exception("no trace", exc_info=False)
        log.error("given", exc_info=True)
        log.error("given", exc_info=error)
        log.error("given", exc_info=sys.exc_info())
        log.warning("not given", exc_info=False)
        log.warning("not given", exc_info=None)
        log.warning("not given", exc_info=0)
    log.error("none", exc_info=True)
    log.error("none", exc_info=(None, None, None))

def places(log):
    Thing().method()
    Thing.static()
    (lambda: log.info("from a lambda"))()
    [log.info("from a comprehension %d", n) for n in range(2)]
    list(map(log.info, ["from C"]))
    functools.partial(log.info, "from a partial %s", 1)()
    list(log.info("from a generator") for _ in range(1))
    log.info(
        "over %s %s",
        "several",
        "lines",
    )
    exec("log.info('from a string')", {"log": log})
    exec(compile("\\n\\nlog.info('from a string')", "<cell 3>", "exec"), {"log": log})
    helper()
    helper(stacklevel=2)
    outer(stacklevel=3)
    outer(stacklevel=2, stack_info=True)
    outer(stacklevel=99)
    log.info("stack", stack_info=True)

def threads(log):
    thread = threading.Thread(target=log.info, args=("from a thread",), name="worker-x")
    thread.start()
    thread.join()
    thread = threading.Thread(target=places, args=(log,), name="worker-y")
    thread.start()
    thread.join()

async def job(log):
    log.info("in a task")

def tasks(log):
    async def main():
        await asyncio.create_task(job(log), name="task-x")
    asyncio.run(main())

def adapters(log):
    adapter = logging.LoggerAdapter(log, {"who": "me"})
    adapter.info("adapter %d", 1)
    adapter.warning("adapter", extra={"lost": 1})
    adapter.log(logging.ERROR, "adapter")
    logging.LoggerAdapter(adapter, {"inner": 1}).info("adapter in an adapter")
    logging.LoggerAdapter(log).warning("adapter without fields")

def module():
    logging.debug("module")
    logging.info("module %d", 1)
    logging.warning("module", stacklevel=1)
    logging.error("module", extra={"a": 1})
    logging.log(logging.CRITICAL, "module")
    logging.getLogger().info("root")

def records(log):
    record = log.makeRecord(log.name, 10, "far.py", 7, "made %s", ("far",), None, "f")
    log.handle(record)
    log.handle(logging.makeLogRecord({"name": "far", "msg": "sent", "levelno": 10}))

def apart(log):
    alone = logging.getLogger(log.name + ".alone")
    alone.propagate = False
    alone.warning("to nobody but lastResort")
    alone.addHandler(logging.NullHandler())
    alone.warning("to nobody")

def checks(log):
    class Shout(logging.Filter):
        def filter(self, record):
            record.msg = f"! {record.msg}"
            record.seen = getattr(record, "seen", 0) + 1
            return "secret" not in record.msg.lower()
    log.addFilter(Shout())
    log.info("filtered %s", "once")
    log.warning("secret")
    log.filters.clear()
    log.disabled = True
    log.critical("disabled")
    log.disabled = False

def faults(log):
    log.info("wrong arguments %d", "x")
    log.info("too few %s %s", 1)
    class Bad:
        def __str__(self):
            raise RuntimeError("no text")
        def __repr__(self):
            return "<bad>"
    log.info("%s", Bad())

def all_calls():
    for log in (globals()["log"], early, logging.getLogger()):
        plain(log)
        fields(log)
        trouble(log)
        places(log)
        adapters(log)
        records(log)
        checks(log)
    threads(globals()["log"])
    tasks(globals()["log"])
    apart(globals()["log"])
    module()
"""

SHOWN = """
class Shown(logging.Formatter):
    '''Shows all that is the same in every process.'''

    def format(self, record):
        fields = dict(vars(record))
        for name in ("created", "msecs", "relativeCreated", "thread"):
            fields[name] = type(fields[name]).__name__
        fields["process"] = record.process == os.getpid()
        fields["thread"] = record.thread == threading.get_ident()
        fields["exc_info"] = [str(part)[:40] for part in record.exc_info or ()] or str(record.exc_info)
        if record.exc_info and record.exc_info[2]:
            fields["exc_info"][2] = "traceback"
        fields["message"] = record.getMessage()
        text = super().format(record)
        return json.dumps(sorted(map(str, fields.items())), default=str) + "\\n" + text
"""

FORMAT = (
    "%(levelname)s %(levelno)d %(name)s %(filename)s %(pathname)s %(module)s:%(lineno)d "
    "%(funcName)s %(threadName)s %(processName)s %(message)s"
)

TASK_FORMAT = """
if sys.version_info >= (3, 12):
    FORMAT += " %(taskName)s"
"""

ENV = {"PYTHONPATH": str(REPO), "MLOG_QUIET": "1"}


def outputs(
    tmp_path: Path, body: str, presences: tuple[str, ...] = PRESENCES
) -> dict[str, CompletedProcess[str]]:
    """Run a program without mlog and with each presence of it."""
    script = tmp_path / "program.py"
    script.write_text(f"{PROLOGUE}FORMAT = {FORMAT!r}\n{TASK_FORMAT}{SHOWN}{body}")

    def run(mode: str) -> CompletedProcess[str]:
        root = tmp_path / mode.replace(" ", "-")
        env = {**ENV, "MODE": mode, "MLOG_DIR": str(root)}
        return run_python(script, env=env, cwd=tmp_path)

    modes = ("control", *presences)
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(modes, pool.map(run, modes), strict=True))


def assert_same(
    tmp_path: Path, body: str, presences: tuple[str, ...] = PRESENCES
) -> CompletedProcess[str]:
    """Run a program in every way; return the control, which all others equal."""
    found = outputs(tmp_path, body, presences)
    control = found.pop("control")
    assert control.returncode == 0, control.stderr
    for mode, child in found.items():
        assert child.returncode == 0, (mode, child.stderr)
        assert child.stdout.splitlines() == control.stdout.splitlines(), mode
        assert child.stderr.splitlines() == control.stderr.splitlines(), mode
    return control


CONFIGURATIONS = {
    "nothing": "",
    "basicConfig": "logging.basicConfig(stream=sys.stdout, format=FORMAT)\n",
    "basicConfig DEBUG": (
        "logging.basicConfig(stream=sys.stdout, format=FORMAT, level=logging.DEBUG)\n"
    ),
    "basicConfig force": """
logging.basicConfig(stream=sys.stderr)
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=3, force=True)
""",
    "every field": """
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Shown(FORMAT))
logging.basicConfig(handlers=[handler], level=logging.DEBUG)
""",
    "python-json-logger": """
from pythonjsonlogger.json import JsonFormatter
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(JsonFormatter(FORMAT))
logging.basicConfig(handlers=[handler], level=logging.DEBUG)
""",
    "dictConfig": """
logging.config.dictConfig({
    "version": 1,
    "formatters": {"f": {"format": FORMAT}},
    "handlers": {
        "out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout",
                "formatter": "f", "level": "INFO"},
        "far": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "root": {"level": "WARNING", "handlers": ["out"]},
    "loggers": {"prog": {"level": "DEBUG", "handlers": ["far"], "propagate": False}},
})
""",
    "dictConfig keeping loggers": """
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"f": {"format": FORMAT}},
    "handlers": {"out": {"class": "logging.StreamHandler",
                         "stream": "ext://sys.stdout", "formatter": "f"}},
    "root": {"level": "DEBUG", "handlers": ["out"]},
    "loggers": {"early": {"level": "ERROR"}},
})
""",
    "dictConfig incremental": """
logging.basicConfig(stream=sys.stdout, format=FORMAT)
logging.config.dictConfig({
    "version": 1, "incremental": True,
    "root": {"level": "INFO"}, "loggers": {"prog.calls": {"level": "DEBUG"}},
})
""",
    "hydra": """
logging.config.dictConfig({
    "version": 1,
    "formatters": {"simple": {"format": "[%(levelname)s] - %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "simple",
                             "stream": "ext://sys.stdout"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "disable_existing_loggers": False,
})
logging.config.dictConfig({
    "version": 1,
    "formatters": {"simple": {"format": "[%(name)s][%(levelname)s] - %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "simple",
                    "stream": "ext://sys.stdout"},
        "file": {"class": "logging.FileHandler", "formatter": "simple",
                 "filename": os.devnull},
    },
    "root": {"level": "INFO", "handlers": ["console", "file"]},
    "loggers": {"prog": {"level": "DEBUG"}},
    "disable_existing_loggers": False,
})
""",
    "fileConfig": """
import configparser
said = configparser.ConfigParser(interpolation=None)
said.read_dict({
    "loggers": {"keys": "root"}, "handlers": {"keys": "out"}, "formatters": {"keys": "f"},
    "logger_root": {"level": "INFO", "handlers": "out"},
    "handler_out": {"class": "StreamHandler", "args": "(sys.stdout,)", "formatter": "f"},
    "formatter_f": {"format": FORMAT},
})
logging.config.fileConfig(said)
""",
    "disable": """
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=1)
logging.disable(logging.INFO)
""",
    "disable all": """
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=1)
logging.disable()
""",
    "no last resort": "logging.lastResort = None\n",
    "no srcfile": """
logging._srcfile = None
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=1)
""",
    "no threads, processes, tasks": """
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging.logAsyncioTasks = False
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=1)
""",
    "level names": """
logging.addLevelName(logging.INFO, "Info")
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=1)
""",
    "record factory": """
class Record(logging.LogRecord):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.host = "here"
logging.setLogRecordFactory(Record)
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Shown("%(host)s " + FORMAT))
logging.basicConfig(handlers=[handler], level=1)
""",
    "patched makeRecord": """
stock_make_record = logging.Logger.makeRecord
def make_record(*args, **kwargs):
    record = stock_make_record(*args, **kwargs)
    record.trace_id = 17
    return record
logging.Logger.makeRecord = make_record
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Shown("%(trace_id)s " + FORMAT, defaults={"trace_id": 0}))
logging.basicConfig(handlers=[handler], level=1)
""",
    "patched callHandlers": """
stock_call_handlers = logging.Logger.callHandlers
def call_handlers(self, record):
    print("seen:", self.name, record.levelname, record.getMessage())
    return stock_call_handlers(self, record)
logging.Logger.callHandlers = call_handlers
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
""",
    "patched findCaller": """
logging.Logger.findCaller = lambda self, stack_info=False, stacklevel=1: (
    "here.py", 7, "somebody", None
)
logging.basicConfig(stream=sys.stdout, format=FORMAT, level=1)
""",
    "queue": """
lines = queue.SimpleQueue()
target = logging.StreamHandler(sys.stdout)
target.setFormatter(Shown(FORMAT))
logging.basicConfig(handlers=[logging.handlers.QueueHandler(lines)], level=1)
listener = logging.handlers.QueueListener(lines, target)
Shown.format = lambda self, record, text=logging.Formatter.format: text(self, record)
listener.start()
import atexit
atexit.register(listener.stop)
""",
    "memory, flushed elsewhere": """
target = logging.StreamHandler(sys.stdout)
target.setFormatter(logging.Formatter(FORMAT))
memory = logging.handlers.MemoryHandler(10_000, 99, target)
logging.basicConfig(handlers=[memory], level=1)
import atexit
def flush():
    thread = threading.Thread(target=memory.flush, name="flusher")
    thread.start()
    thread.join()
""",
    "filters of handlers": """
class Rank(logging.Filter):
    def filter(self, record):
        record.rank = 7
        record.msg = f"[7] {record.msg}"
        if sys.version_info >= (3, 12):
            record = copy.copy(record)
            record.copied = True
            return record
        return True
handler = logging.StreamHandler(sys.stdout)
handler.addFilter(Rank())
handler.setFormatter(Shown("%(rank)s " + FORMAT))
logging.basicConfig(handlers=[handler, logging.StreamHandler(sys.stdout)], level=1)
""",
    "levels, low": """
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter(FORMAT))
logging.root.addHandler(handler)
logging.root.setLevel(logging.ERROR)
logging.getLogger("prog").setLevel(5)
logging.getLogger("prog.calls").setLevel(logging.INFO)
early.setLevel(4)
""",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_other_handlers_print_what_they_would_without(
    name: str, tmp_path: Path
) -> None:
    """Whatever is configured, before or after mlog, and however a line is logged."""
    body = f"{CONFIGURATIONS[name]}{CALLS}\nall_calls()\n"
    if "flush()" in body:
        body += "flush()\n"
    thorough = name in ("nothing", "every field", "levels, low")
    assert_same(tmp_path, body, MORE_PRESENCES if thorough else PRESENCES)


def test_unwritable_lines_are_reported_as_without(tmp_path: Path) -> None:
    """`logging` tells about wrong arguments; only mlog's frames are more."""
    config = "logging.basicConfig(stream=sys.stdout, level=1)\n"
    body = f"{config}{CALLS}\nfaults(log)\n"
    found = outputs(tmp_path, body)

    def told(child: CompletedProcess[str]) -> list[str]:
        kept = ("---", "Message:", "Arguments:", "TypeError", "RuntimeError")
        return [line for line in child.stderr.splitlines() if line.startswith(kept)]

    control = found.pop("control")
    assert len(told(control)) == 12
    for mode, child in found.items():
        assert told(child) == told(control), mode
        assert child.stdout == control.stdout, mode


def test_a_buffered_record_is_of_its_own_task_and_thread(tmp_path: Path) -> None:
    """A handler may keep records and show them later, on another thread."""
    name = "memory, flushed elsewhere"
    body = f"{CONFIGURATIONS[name]}{CALLS}\ntasks(log)\nthreads(log)\nflush()\n"
    control = assert_same(tmp_path, body, ("before",))
    assert "worker-x" in control.stdout
    assert "flusher" not in control.stdout


def test_a_program_of_several_configurations(tmp_path: Path) -> None:
    """Levels change on the way: what `logging` remembers of them is never stale."""
    assert_same(
        tmp_path,
        """
logging.basicConfig(stream=sys.stdout, format=FORMAT)
log = logging.getLogger("prog")
child = logging.getLogger("prog.child")
tap("after")
def speak():
    for each in (logging.root, log, child):
        each.debug("debug")
        each.info("info")
        each.warning("warning")
speak()
logging.root.setLevel(logging.DEBUG)
speak()
log.setLevel(logging.ERROR)
speak()
child.setLevel(logging.DEBUG)
speak()
logging.disable(logging.INFO)
speak()
logging.disable(logging.NOTSET)
speak()
logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL"}})
speak()
log.disabled = child.disabled = False
child.propagate = False
speak()
logging.shutdown()
speak()
""",
    )


def test_a_socket_receiver_shows_records_below_the_level(tmp_path: Path) -> None:
    """`logger.handle` is not filtered by level (the logging cookbook's receiver)."""
    control = assert_same(
        tmp_path,
        """
logging.basicConfig(stream=sys.stdout, level=logging.ERROR)
tap("after")
sender = logging.handlers.SocketHandler("localhost", 9)
record = logging.LogRecord("far", logging.DEBUG, "far.py", 1, "from %s", ("afar",), None)
sent = sender.makePickle(record)[4:]
record = logging.makeLogRecord(pickle.loads(sent))
logging.getLogger(record.name).handle(record)
""",
    )
    assert control.stdout == "DEBUG:far:from afar\n"


# --- inside one process ----------------------------------------------------------------


@pytest.fixture
def run(run_dir: Path) -> mlog.Run:
    return mlog.start_run("transparency")


def test_caplog_sees_metrics(run: mlog.Run, caplog: pytest.LogCaptureFixture) -> None:
    logger = mlog.getLogger("seen")
    logger.setLevel(logging.INFO)
    logger.info(metric={"loss": 0.3}, step=3)
    logger.info("epoch %d", 3, metric={"loss": 0.25})
    logger.debug("not seen: the level")
    assert caplog.messages == ["loss=0.3 step=3", "epoch 3"]
    assert caplog.records[0].__dict__["metric"] == {"loss": 0.3}


def test_caplog_sees_what_the_levels_let_pass(
    run: mlog.Run, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that wants DEBUG lowers nobody's level; `caplog.at_level` still does."""
    logger = logging.getLogger("seen")
    logger.info("below root's level")
    with caplog.at_level(logging.DEBUG):
        logger.debug("let pass")
    logger.debug("below again")
    assert caplog.messages == ["let pass"]


def test_assert_logs_sees_metrics(run: mlog.Run) -> None:
    logger, case = mlog.getLogger("seen"), unittest.TestCase()
    with case.assertLogs("seen", "INFO") as caught:
        logger.info(metric={"loss": 0.3}, step=3)
        logger.debug("not seen")
    assert caught.output == ["INFO:seen:loss=0.3 step=3"]
    with case.assertNoLogs("seen", "ERROR"):
        logger.info(metric={"loss": 0.3}, step=3)


def test_queue_handlers_hand_metrics_on(run: mlog.Run) -> None:
    """What comes out of the queue is complete, also of a message-less metric."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger = mlog.getLogger("queued")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.handlers.QueueHandler(lines))
    logger.info(metric={"loss": 0.3}, step=3)
    record = pickle.loads(pickle.dumps(lines.get_nowait()))
    assert type(record) is logging.LogRecord
    assert record.getMessage() == "loss=0.3 step=3"
    assert (vars(record)["metric"], vars(record)["step"]) == ({"loss": 0.3}, 3)
    assert (record.funcName, record.filename) == (
        "test_queue_handlers_hand_metrics_on",
        "test_transparency.py",
    )
    assert record.threadName == threading.current_thread().name
    assert record.process == os.getpid()


def test_a_record_handed_on_by_a_queue_is_not_taken_twice(run: mlog.Run) -> None:
    """The tap has shown it to the run; the listener's `RunHandler` leaves it alone."""
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger = mlog.getLogger("queued")
    logger.addHandler(logging.handlers.QueueHandler(lines))
    listener = logging.handlers.QueueListener(lines, mlog.RunHandler())
    listener.start()
    logger.warning("once")
    logger.warning("with a metric", metric={"a": 1})
    listener.stop()
    assert run.path is not None
    assert [e["msg"] for e in entries(run.path, "logs")] == ["once"]
    assert len(entries(run.path, "metrics")) == 1


def test_no_level_and_no_handler_is_changed(run: mlog.Run) -> None:
    assert logging.root.level == logging.WARNING
    assert not any(type(h).__module__.startswith("mlog") for h in logging.root.handlers)
    assert logging.getLogRecordFactory() is logging.LogRecord
    assert logging.getLoggerClass() is logging.Logger
    assert logging.getLogger("new").level == logging.NOTSET


def test_loggers_can_be_pickled_and_copied(run: mlog.Run) -> None:
    for logger in (logging.getLogger("kept"), logging.getLogger()):
        assert pickle.loads(pickle.dumps(logger)) is logger
        assert copy.deepcopy(logger) is logger
    assert logging.getLogger("kept.child").parent is logging.getLogger("kept")
    assert logging.getLogger("kept").getChild("child").name == "kept.child"
