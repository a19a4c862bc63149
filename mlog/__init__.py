"""Metrics are log records: a run's metrics and log lines in local JSONL files.

`import mlog` changes nothing, with one exception: in a process that inherits a run
(`MLOG_RUN`, set for the child processes of a run) it joins that run.
"""

import os
from typing import TYPE_CHECKING, Any

import orjson as _orjson  # noqa: F401  (8 ms that the first `start_run` need not take)

from mlog.context import bind, set_step, step
from mlog.errors import (
    ActivityFailedError,
    ArtifactNotFoundError,
    MlogError,
    MlogWarning,
    ModelNotFoundError,
    ModelPathNotFoundError,
    RunExistsError,
    RunNotFoundError,
    UnsafePathError,
)
from mlog.logger import MetricLogger
from mlog.tap import getLogger, install, uninstall

if TYPE_CHECKING:
    from mlog.alerting.handler import AlertHandler
    from mlog.config import ConsoleHandler, basicConfig
    from mlog.filters import MetricFilter, RankFilter, SpanFilter
    from mlog.formatters import ConsoleFormatter, EntryFormatter
    from mlog.handlers import FlightRecorderHandler, JSONLHandler
    from mlog.launch.sweep import sweep
    from mlog.models import Model
    from mlog.redaction import Redactor
    from mlog.run.api import Run, current_run
    from mlog.run.handler import RemoteHandler, RunHandler
    from mlog.run.open import open_run, query, runs
    from mlog.run.start import start_run

__all__ = [
    "ActivityFailedError",
    "AlertHandler",
    "ArtifactNotFoundError",
    "ConsoleFormatter",
    "ConsoleHandler",
    "EntryFormatter",
    "FlightRecorderHandler",
    "JSONLHandler",
    "MetricFilter",
    "MetricLogger",
    "MlogError",
    "MlogWarning",
    "Model",
    "ModelNotFoundError",
    "ModelPathNotFoundError",
    "RankFilter",
    "Redactor",
    "RemoteHandler",
    "Run",
    "RunExistsError",
    "RunHandler",
    "RunNotFoundError",
    "SpanFilter",
    "UnsafePathError",
    "basicConfig",
    "bind",
    "current_run",
    "getLogger",
    "install",
    "open_run",
    "query",
    "runs",
    "set_step",
    "start_run",
    "step",
    "sweep",
    "uninstall",
]

__version__ = "0.1.0"

_LAZY = {
    "AlertHandler": "alerting.handler",
    "ConsoleFormatter": "formatters",
    "ConsoleHandler": "config",
    "EntryFormatter": "formatters",
    "FlightRecorderHandler": "handlers",
    "JSONLHandler": "handlers",
    "MetricFilter": "filters",
    "Model": "models",
    "RankFilter": "filters",
    "Redactor": "redaction",
    "RemoteHandler": "run.handler",
    "Run": "run.api",
    "RunHandler": "run.handler",
    "SpanFilter": "filters",
    "basicConfig": "config",
    "current_run": "run.api",
    "open_run": "run.open",
    "query": "run.open",
    "runs": "run.open",
    "start_run": "run.start",
    "sweep": "launch.sweep",
}


def __getattr__(name: str) -> Any:
    """Import the heavier parts when they are first used (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'mlog' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"mlog.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, also those not imported yet."""
    return [*__all__, "__version__"]


if os.environ.get("MLOG_RUN"):
    from mlog.run.start import join_inherited

    join_inherited()
    del join_inherited
