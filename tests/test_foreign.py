"""Other people's loggers: structlog, loguru, absl, and methods that call `_log`."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from loguru import logger as loguru_logger

import mlog
from tests.helpers import REPO, Entry, entries, run_python

ENV = {"PYTHONPATH": str(REPO), "MLOG_QUIET": "1"}


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Fail a test that warned: under `-W error` mlog's warnings go to stderr."""
    yield
    assert "mlog: warning" not in capsys.readouterr().err


@pytest.fixture
def shown() -> io.StringIO:
    """Return what a handler on root shows, of any level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(filename)s %(message)s"))
    logging.root.addHandler(handler)
    return stream


def metrics(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "metrics")


def logs(run: mlog.Run) -> list[Entry]:
    assert run.path is not None
    return entries(run.path, "logs")


def line_here() -> int:
    return sys._getframe(1).f_lineno


# --- structlog -------------------------------------------------------------------------


@pytest.fixture
def use_structlog() -> Iterator[Callable[[], Any]]:
    """Return a function that configures structlog to render into `logging`."""

    def configure() -> Any:
        structlog.configure(
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.render_to_log_kwargs,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )

    yield configure
    structlog.reset_defaults()


@pytest.mark.parametrize("first", ["structlog", "mlog"])
def test_structlog_events_are_recorded_in_either_order(
    first: str, use_structlog: Callable[[], Any]
) -> None:
    """Its `LoggerFactory` sets a logger class, before or after the tap is installed."""
    if first == "structlog":
        use_structlog()
        logging.getLogger("bridge.early")
    with mlog.start_run("structlog") as run:
        if first == "mlog":
            use_structlog()
        bridge = structlog.get_logger("bridge.late").bind(fold=2)
        bridge.info("epoch", metric={"loss": 0.3}, step=3)
        called = line_here() - 1
        bridge.debug("text", size=7)
        structlog.get_logger("bridge.early").warning("early")
        try:
            raise ValueError("boom")
        except ValueError:
            bridge.exception("failed")
    (metric,) = metrics(run)
    assert (metric["msg"], metric["metric"], metric["step"]) == (
        "epoch",
        {"loss": 0.3},
        3,
    )
    assert metric["extra"] == {"fold": 2, "level": "info"}
    assert (metric["file"], metric["line"]) == (__file__, called)
    text, early, failed = logs(run)
    assert text["extra"] == {"fold": 2, "level": "debug", "size": 7}
    assert (early["logger"], early["file"]) == ("bridge.early", __file__)
    assert failed["exc"]["type"] == "ValueError"


@pytest.mark.parametrize("presence", ["before", "after"])
def test_structlog_prints_what_it_would_without(presence: str) -> None:
    """Line for line, also with `stacklevel` and a stack, through and past structlog."""
    code = """
import logging, os, sys
import structlog

def helper(**given):
    log.warning("from a helper", **given)

def start(when):
    if os.environ["MODE"] == when:
        import mlog
        mlog.start_run("t")

start("before")
structlog.configure(
    processors=[structlog.stdlib.filter_by_level, structlog.stdlib.add_logger_name,
                structlog.stdlib.render_to_log_kwargs],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
logging.basicConfig(
    stream=sys.stdout, level=logging.INFO,
    format="%(levelname)s %(name)s %(filename)s:%(lineno)d %(funcName)s %(message)s",
)
early = logging.getLogger("early")
start("after")
late = logging.getLogger("late")
log = structlog.get_logger("bridge")
log.info("text", a=1)
log.debug("below the level")
log.info("metric", metric={"a": 1}, step=3)
log.warning("extra", stacklevel=1)
helper()
helper(stacklevel=2)
helper(stacklevel=3)
helper(stack_info=True)
log.error("stack", stack_info=True)
for each in (early, late):
    each.info("not through structlog")
    each.info("with fields", extra={"a": 1})
    each.warning("from here", stacklevel=1)
    each.error("with a stack", stack_info=True)
    (lambda: each.info("from above", stacklevel=2))()
"""
    control = run_python(code, env={**ENV, "MODE": "none"}, warnings="default")
    child = run_python(code, env={**ENV, "MODE": presence}, warnings="default")
    assert control.stdout.count("bridge") == 8
    assert child.stdout.splitlines() == control.stdout.splitlines()
    assert child.stderr == control.stderr


# --- loguru ----------------------------------------------------------------------------


@pytest.fixture
def propagate() -> Iterator[None]:
    """Let loguru hand on to `logging`, the way its documentation says."""

    class PropagateHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.getLogger(record.name).handle(record)

    loguru_logger.remove()
    number = loguru_logger.add(PropagateHandler(), format="{message}", level=0)
    yield
    loguru_logger.remove(number)


@pytest.mark.usefixtures("propagate")
def test_loguru_messages_are_recorded() -> None:
    with mlog.start_run("loguru", level=0) as run:
        loguru_logger.bind(metric={"loss": 0.3}, step=3, fold=1).info("epoch")
        called = line_here() - 1
        loguru_logger.bind(fold=1).warning("text {}", 7)
        loguru_logger.trace("lowest")
        try:
            raise ValueError("boom")
        except ValueError:
            loguru_logger.exception("failed")
    (metric,) = metrics(run)
    assert (metric["msg"], metric["metric"], metric["step"]) == (
        "epoch",
        {"loss": 0.3},
        3,
    )
    assert (metric["file"], metric["line"]) == (__file__, called)
    assert metric["extra"] == {"fold": 1}
    text, lowest, failed = logs(run)
    assert (text["msg"], text["extra"]) == ("text 7", {"fold": 1})
    assert (lowest["msg"], lowest["level"]) == ("lowest", "Level 5")
    assert failed["exc"]["type"] == "ValueError"


@pytest.mark.usefixtures("propagate")
def test_loguru_is_shown_as_without_mlog(shown: io.StringIO) -> None:
    """`logger.handle` is not filtered by level, with a run and without."""
    loguru_logger.debug("text")
    with mlog.start_run("loguru"):
        loguru_logger.debug("text")
    loguru_logger.debug("text")
    assert shown.getvalue() == "DEBUG test_foreign.py text\n" * 3


def test_logging_intercepted_by_loguru_is_recorded_once() -> None:
    """The other direction: a handler that hands `logging`'s records to loguru."""
    seen: list[str] = []

    class InterceptHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = loguru_logger.level(record.levelname).name
            message = record.getMessage()
            loguru_logger.opt(depth=6, exception=record.exc_info).log(level, message)

    loguru_logger.remove()
    number = loguru_logger.add(lambda text: seen.append(str(text)), format="{message}")
    logging.root.addHandler(InterceptHandler())
    logging.root.setLevel(logging.INFO)
    with mlog.start_run("loguru") as run:
        mlog.getLogger("caught").info("text")
        mlog.getLogger("caught").info(metric={"a": 1}, step=3)
    loguru_logger.remove(number)
    assert seen == ["text\n", "a=1 step=3\n"]
    assert [entry["msg"] for entry in logs(run)] == ["text"]
    assert [entry["metric"] for entry in metrics(run)] == [{"a": 1}]


# --- absl ------------------------------------------------------------------------------


class AbslLogger(logging.Logger):
    """Like `absl.logging.ABSLLogger`: level methods and `findCaller` of its own."""

    def findCaller(
        self, stack_info: bool = False, stacklevel: int = 1
    ) -> tuple[str, int, str, str | None]:
        frame: Any = sys._getframe(2)
        while frame.f_code.co_filename in (__file__, logging.__file__):
            if frame.f_code.co_name.startswith("test_"):
                break
            frame = frame.f_back
        return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name, None

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.log(logging.INFO, msg, *args, **kwargs)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(level, f"[absl] {msg}", *args, **kwargs)


def make_absl() -> logging.Logger:
    """Make the logger as absl does: set the class, get it, set the class back."""
    before = logging.getLoggerClass()
    logging.setLoggerClass(AbslLogger)
    try:
        return logging.getLogger("absl")
    finally:
        logging.setLoggerClass(before)


@pytest.fixture
def fresh_absl() -> Iterator[None]:
    """Forget the logger afterwards: it is of the class it was made of."""
    yield
    logging.root.manager.loggerDict.pop("absl", None)


@pytest.mark.usefixtures("fresh_absl")
@pytest.mark.parametrize("early", [True, False])
def test_a_logger_like_absl_s_reaches_a_run_through_a_handler(
    early: bool, shown: io.StringIO
) -> None:
    """It stays what it is; with a `RunHandler` on root its records are taken, once."""
    if early:
        make_absl()
    handler = mlog.RunHandler("absl")
    logger = make_absl()
    assert type(logger) is AbslLogger
    logging.root.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("text %d", 7)
    called = line_here() - 1
    logger.info("loss", extra={"metric": {"loss": 0.3}, "step": 3})
    logging.getLogger("ordinary").warning("once")
    run = handler.run
    first, once = logs(run)
    assert (first["msg"], first["line"]) == ("[absl] text 7", called)
    assert once["msg"] == "once"
    (metric,) = metrics(run)
    assert (metric["metric"], metric["step"]) == ({"loss": 0.3}, 3)
    told = [line.partition(" ")[2] for line in shown.getvalue().splitlines()]
    assert told == [
        "test_foreign.py [absl] text 7",
        "test_foreign.py [absl] loss",
        "test_foreign.py once",
    ]


# --- methods of others that call `_log` ------------------------------------------------

TRACE = 5


def trace(self: logging.Logger, message: str, *args: Any, **given: Any) -> None:
    """Ask first, as most do."""
    if self.isEnabledFor(TRACE):
        self._log(TRACE, message, args, **given)


def success(self: logging.Logger, message: str, *args: Any, **given: Any) -> None:
    """Ask nobody, as some do: without mlog this is shown whatever the level."""
    self._log(25, message, args, **given)


@pytest.fixture
def with_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.Logger, "trace", trace, raising=False)
    monkeypatch.setattr(logging.Logger, "success", success, raising=False)


@pytest.mark.usefixtures("with_methods")
def test_levels_of_others_are_recorded(shown: io.StringIO) -> None:
    """A run that wants them gets them, and no other handler sees more."""
    logger: Any = logging.getLogger("levels")
    with mlog.start_run("levels", level=TRACE) as run:
        logger.trace("text %d", 7)
        logger.trace("loss", extra={"metric": {"loss": 0.3}})
        logger.setLevel(TRACE)
        logger.trace("shown")
    assert [entry["msg"] for entry in logs(run)] == ["text 7", "shown"]
    assert [entry["level"] for entry in logs(run)] == ["Level 5"] * 2
    assert [entry["metric"] for entry in metrics(run)] == [{"loss": 0.3}]
    assert logs(run)[0]["func"] == "trace"
    assert shown.getvalue() == "Level 5 test_foreign.py shown\n"


@pytest.mark.usefixtures("with_methods")
def test_a_line_that_nobody_asked_for_is_shown_as_without(shown: io.StringIO) -> None:
    """With and without a run; `logging` does not filter in `_log` either."""
    logger: Any = logging.getLogger("levels")
    logger.setLevel(logging.ERROR)
    logger.success("before")
    with mlog.start_run("levels") as run:
        logger.success("inside")
        logger.disabled = True
        logger.success("disabled")
        logger.disabled = False
    logger.success("after")
    told = [line.split()[-1] for line in shown.getvalue().splitlines()]
    assert told == ["before", "inside", "after"]
    assert [entry["msg"] for entry in logs(run)] == ["inside"]


@pytest.mark.usefixtures("with_methods")
def test_methods_of_others_pass_metrics_on() -> None:
    """Keywords go along into `_log`; so does the caller's `stacklevel`."""
    logger: Any = logging.getLogger("levels")
    with mlog.start_run("levels") as run:
        logger.success("text", metric={"a": 1}, step=3, stacklevel=2)
        called = line_here() - 1
        logger.success("", metric={"a": 2})
    first, second = metrics(run)
    assert (first["metric"], first["step"], first["line"]) == ({"a": 1}, 3, called)
    assert second["metric"] == {"a": 2}
    assert "msg" not in second


# --- what others change of logging -----------------------------------------------------


def test_fields_of_a_patched_make_record_are_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tracers put their ids on every record this way, in the midst of a run, too."""
    stock = logging.Logger.makeRecord

    def make_record(*args: Any, **given: Any) -> logging.LogRecord:
        record = stock(*args, **given)
        record.trace_id = 17
        return record

    logger = mlog.getLogger("traced")
    with mlog.start_run("patched") as run:
        logger.info("before")
        with monkeypatch.context() as patch:
            patch.setattr(logging.Logger, "makeRecord", make_record)
            logger.info("patched")
            called = line_here() - 1
            logger.info("loss", metric={"a": 1}, step=3)
            logger.info(metric={"a": float("nan")})
        logger.info("after")
    before, patched, after = logs(run)
    assert "extra" not in before
    assert "extra" not in after
    assert patched["extra"] == {"trace_id": 17}
    assert (patched["file"], patched["line"]) == (__file__, called)
    with_text, bare = metrics(run)
    assert (with_text["extra"], with_text["step"]) == ({"trace_id": 17}, 3)
    assert "msg" not in bare


def test_fields_of_a_record_factory_are_recorded() -> None:
    """Also where the factory wraps the one before it, as is usual."""
    stock = logging.getLogRecordFactory()

    def factory(*args: Any, **given: Any) -> logging.LogRecord:
        record = stock(*args, **given)
        record.host = "here"
        return record

    with mlog.start_run("factory") as run:
        logging.setLogRecordFactory(factory)
        mlog.getLogger("made").info("text")
        called = line_here() - 1
        mlog.getLogger("made").info("loss", metric={"a": 1})
        mlog.getLogger("made").info("field", extra={"fold": 1})
        logging.setLogRecordFactory(stock)
        mlog.getLogger("made").info("stock again")
    text, field, again = logs(run)
    assert (text["extra"], text["line"]) == ({"host": "here"}, called)
    assert field["extra"] == {"host": "here", "fold": 1}
    assert "extra" not in again
    assert metrics(run)[0]["extra"] == {"host": "here"}


def test_a_patched_call_handlers_sees_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Error trackers listen there; a run alone does not take it from them."""
    seen: list[str] = []
    stock = logging.Logger.callHandlers

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        stock(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", call_handlers)
    logger = mlog.getLogger("tracked")
    logger.setLevel(logging.INFO)
    logger.addHandler(mlog.RunHandler())
    logger.propagate = False
    with mlog.start_run("tracked"):
        for step in range(3):
            logger.info(metric={"a": 1}, step=step)
        logger.info("text")
    assert seen == ["a=1 step=0", "a=1 step=1", "a=1 step=2", "text"]


def test_filters_of_a_logger_are_asked_as_without(shown: io.StringIO) -> None:
    """Only for what the logger's own level lets pass, and once."""
    asked: list[str] = []

    def ask(record: logging.LogRecord) -> bool:
        asked.append(record.getMessage())
        return True

    logger = mlog.getLogger("filtered")
    logger.addFilter(ask)
    with mlog.start_run("filters"):
        logger.debug("below")
        logger.warning("text")
        logger.warning(metric={"a": 1})
    assert asked == ["text", "a=1"]
    assert shown.getvalue().count("\n") == 2
