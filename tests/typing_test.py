"""What type checkers say of the logging side: read by mypy and pyright, never run.

A comment that ignores an error is a claim that there is one: both checkers report a
comment they do not need (pyright where `enableTypeIgnoreComments` is off).
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, assert_type

import mlog


def loggers() -> None:
    """Loggers are typed, and still stock loggers."""
    logger = assert_type(mlog.getLogger("x"), mlog.MetricLogger)
    assert_type(mlog.getLogger(), mlog.MetricLogger)
    assert_type(mlog.getLogger(None), mlog.MetricLogger)
    stock: logging.Logger = logger
    stock.info("text")
    adapter = logging.LoggerAdapter(logger, {"who": "me"})
    assert_type(adapter.logger, mlog.MetricLogger)
    mlog.getLogger(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def metrics(logger: mlog.MetricLogger, read_only: Mapping[str, float]) -> None:
    """Metrics with and without a message, at every level."""
    logger.info(metric={"loss": 0.3}, step=3)
    logger.info("epoch %d", 3, metric={"loss": 0.3, "acc": 1})
    logger.info(metric=read_only, extra={"fold": 1}, stacklevel=2)
    logger.info(metric={"text": "a string", "nested": {"a": 1}})
    logger.info(metric=None, step=None)
    logger.debug(metric={"a": 1}, step=0)
    logger.warning(metric={"a": 1}, step=0, exc_info=True)
    logger.error(metric={"a": 1}, stack_info=True)
    logger.critical(metric={"a": 1})
    logger.fatal(metric={"a": 1})
    logger.exception("failed", metric={"a": 1})
    logger.exception("failed", exc_info=ValueError("x"))
    logger.log(logging.INFO, metric={"a": 1}, step=1)
    logger.info("text", extra={"metric": {"a": 1}, "step": 1})
    logger.info(ValueError("any object is a message"))


def mistakes(logger: mlog.MetricLogger) -> None:
    """What would be warned about when it runs is an error before."""
    logger.info(metric=0.3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    logger.info(metric="loss")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    logger.info(metric=["loss"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    logger.info(metric={1: 0.3})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    logger.info(metric={"loss": 1}, step="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    logger.info(metric={"loss": 1}, step=0.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    logger.log("INFO", metric={"a": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    logger.log()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def stock(logger: logging.Logger) -> None:
    """On a logger typed by `logging` the form for libraries is the one that checks."""
    logger.info("step", extra={"metric": {"loss": 0.3}, "step": 3})
    logger.info("step", metric={"loss": 0.3})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    logger.info(extra={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    if isinstance(logger, mlog.MetricLogger):
        logger.info(metric={"loss": 0.3})


def context() -> Iterator[None]:
    """Step and fields."""
    with mlog.step(3) as nothing:
        assert_type(nothing, None)
    with mlog.bind(fold=1, model="tree"):
        yield
    mlog.set_step(3)
    mlog.set_step(None)
    blocks: list[AbstractContextManager[None]] = [mlog.step(1), mlog.bind(a=1)]
    blocks.clear()
    mlog.step()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    mlog.step("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mlog.set_step("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mlog.bind(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def runs() -> None:
    """A run is its own context manager."""
    with mlog.start_run("mnist", params={"lr": 0.1}, level={"": "INFO"}) as run:
        assert_type(run, mlog.Run)
        assert_type(run.id, str)
        run.log("loss", 0.3, step=3)
        run.log_metrics({"loss": 0.3}, step=3)
    assert_type(mlog.current_run(), mlog.Run | None)
    mlog.start_run(level=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mlog.start_run(mode="public")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mlog.start_run(nonsense=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def handlers() -> list[logging.Handler]:
    """Handlers are those of `logging`."""
    logging.basicConfig(level=logging.DEBUG, handlers=[mlog.RunHandler("mnist")])
    mlog.RunHandler(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return [mlog.RunHandler(), mlog.JSONLHandler("own.jsonl", "INFO")]


def installing() -> None:
    """Both give nothing back."""
    done: list[Any] = []
    done.append(mlog.install)
    mlog.install()
    mlog.uninstall()
    mlog.install(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
