"""What the adapters for frameworks stand on: which run they log to, and who ends it.

An adapter logs to the run it was given, else to the one that is active where it is
used; where there is none it begins one of its own, and ends that. It is given to other
processes by frameworks that copy or pickle their callbacks: there it finds the run
again as every child process does.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from mlog.plain import safe_str
from mlog.run.api import Run, current_run
from mlog.run.start import start_run

__all__ = ["AdapterRun", "framework", "joined", "plain_params"]


def framework(name: str, install: str | None = None) -> ModuleType:
    """Import the framework an adapter is for.

    Args:
        name: Of the module.
        install: What pip calls it; by default the same.

    Raises:
        ImportError: It is not there; the message has the line that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name != name.partition(".")[0]:
            raise
        raise ImportError(
            f"this part of mlog is for {name}, which is not installed: "
            f"pip install {install or name}"
        ) from exc


class AdapterRun:
    """The run of one adapter. Safe from any thread that may log to the run itself.

    Attributes:
        is_own: Whether the adapter began it, and ends it.
    """

    def __init__(self, run: Run | None = None, **options: Any) -> None:
        """Remember; nothing is started.

        Args:
            run: The run to log to. None: the active one, else one of its own.
            options: Of `start_run`, for one of its own.
        """
        self.is_own = False
        self._run = run
        self._options = options

    @property
    def run(self) -> Run:
        """The run; the first use begins one where there is none."""
        if self._run is None:
            self._run = current_run()
        if self._run is None:
            self._run = start_run(**self._options)
            self.is_own = True
        return self._run

    def renew(self) -> None:
        """Begin anew with the next use: what was trained before has come to its end."""
        if self.is_own and self._run is not None and self._run.status != "Running":
            self._run, self.is_own = None, False

    def end(self, error: BaseException | None = None) -> None:
        """End the run if the adapter began it; a second call does nothing."""
        if not self.is_own or self._run is None:
            return
        if error is None:
            self._run.complete()
        elif isinstance(error, KeyboardInterrupt):
            self._run.cancel()
        else:
            self._run.fail(error)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the run behind: a copy in another process joins it there."""
        return {"is_own": False, "_run": None, "_options": self._options}

    def __deepcopy__(self, memo: Any) -> "AdapterRun":
        """Stay the same: a copy of a callback logs to the same run."""
        return self


def joined(prefix: str, name: str) -> str:
    """Return the name of a metric in a group; without a prefix it stays as it is."""
    return f"{prefix}/{name}" if prefix else name


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params as they are kept: plain values, and words for anything else."""
    return {safe_str(name): _plain(value) for name, value in params.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return plain_params(value)
    try:
        return _plain(value.item())  # a scalar of NumPy or of a tensor library
    except Exception:
        return safe_str(value)
