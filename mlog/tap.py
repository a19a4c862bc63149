"""The tap: `install` gives the process's loggers the class `MetricLogger`.

They are upgraded in place, so that loggers made before and after take part and no
handler is needed on root.
"""

import logging
import threading
from typing import Any, cast

from mlog.logger import MetricLogger, MetricRootLogger

__all__ = [
    "clear_level_caches",
    "ensure_installed",
    "getLogger",
    "install",
    "is_installed",
    "uninstall",
]

_OVERRIDDEN = frozenset(
    name
    for name, value in vars(MetricLogger).items()
    if callable(value) and name in vars(logging.Logger)
)
_lock = threading.RLock()
_installs = 0
_class_before: Any = None
"""What `manager.loggerClass` was: None unless somebody set it."""

_upgraded: dict[type[logging.Logger], type[logging.Logger]] = {
    logging.Logger: MetricLogger,
    logging.RootLogger: MetricRootLogger,
}


def install() -> None:
    """Upgrade the process's loggers so that they take `metric=` and `step=`.

    Every object of mlog that needs this does it itself. Calls are counted: as many
    `uninstall` undo it. Loggers of a foreign class with level methods of its own stay
    as they are (records of theirs reach a run through a `RunHandler`). What
    `logging.getLoggerClass` says does not change. Safe from any thread.
    """
    global _installs, _class_before
    with _lock:
        _installs += 1
        if _installs > 1:
            return
        manager = logging.root.manager
        _class_before = manager.loggerClass
        manager.loggerClass = _make_logger  # type: ignore[assignment]  # it is called
        for logger in _all_loggers():
            if _is_upgradable(type(logger)):
                logger.__class__ = _upgrade(type(logger))
        clear_level_caches()


def uninstall() -> None:
    """Undo one `install`; with the last one every logger is what it was before.

    A call too many does nothing. Safe from any thread.
    """
    global _installs, _class_before
    with _lock:
        if _installs == 0:
            return
        _installs -= 1
        if _installs:
            return
        original = {new: old for old, new in _upgraded.items()}
        manager = logging.root.manager
        if manager.loggerClass is _make_logger:
            manager.loggerClass = _class_before
        _class_before = None
        for logger in _all_loggers():
            if type(logger) in original:
                logger.__class__ = original[type(logger)]
        clear_level_caches()


def ensure_installed() -> None:
    """Install unless it is done; what mlog's own objects call."""
    with _lock:
        if _installs == 0:
            install()


def is_installed() -> bool:
    """Whether loggers are upgraded."""
    return _installs > 0


def getLogger(name: str | None = None) -> MetricLogger:
    """Return `logging.getLogger(name)`, typed, and installed if it was not.

    A logger of a foreign class that was made before is upgraded, too, because it was
    asked for by name here.
    """
    ensure_installed()
    logger = logging.getLogger(name)
    if not isinstance(logger, MetricLogger):
        logger.__class__ = _upgrade(type(logger))
    return cast(MetricLogger, logger)


def clear_level_caches() -> None:
    """Make every logger ask for its level anew; needed when runs open or close."""
    logging.root.setLevel(logging.root.level)


def _make_logger(name: str) -> logging.Logger:
    """Make a logger of the class that is set at the time, upgraded.

    Stands in `manager.loggerClass`, so that a class that others set by `setLoggerClass`
    after mlog (structlog's `LoggerFactory` does) is upgraded as well.
    """
    base = _class_before or logging.getLoggerClass()
    if _is_upgradable(base):
        base = _upgrade(base)
    return base(name)


def _is_upgradable(base: type[logging.Logger]) -> bool:
    """Whether a class has none of the methods changed that MetricLogger overrides."""
    stock = (
        logging.RootLogger if issubclass(base, logging.RootLogger) else logging.Logger
    )
    return all(getattr(base, name) is getattr(stock, name) for name in _OVERRIDDEN)


def _upgrade(base: type[logging.Logger]) -> type[logging.Logger]:
    """Return a class that is both `base` and a MetricLogger."""
    if issubclass(base, MetricLogger):
        return base
    if base not in _upgraded:
        _upgraded[base] = type(base.__name__, (MetricLogger, base), {})
    return _upgraded[base]


def _all_loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return [logging.root, *(x for x in known if isinstance(x, logging.Logger))]
