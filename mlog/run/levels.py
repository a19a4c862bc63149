"""Which lines a run takes: `level="auto"`, one level, or a map by logger prefix.

Metrics at INFO and above are taken whatever is said here.
"""

import functools
import importlib.machinery
import logging
import os
import sys
import sysconfig
from collections.abc import Mapping

from mlog.types import LevelSpec

__all__ = ["QUIET", "LevelRule", "level_number"]

QUIET = frozenset(
    """
    aiobotocore aiohttp asyncio azure boto3 botocore charset_normalizer chardet concurrent
    filelock fontTools fsspec git google graphviz grpc h2 h5py hpack httpcore httpx
    huggingface_hub ipykernel ipywidgets jax jedi markdown matplotlib msal
    multipart numba numexpr openai opentelemetry paramiko parso PIL prompt_toolkit
    py4j pyarrow pydot rasterio requests_oauthlib s3fs s3transfer shapely sqlalchemy
    tensorboard tensorflow tornado traitlets urllib3 watchdog websockets
    werkzeug
    """.split()
)
"""Top-level loggers whose DEBUG lines `level="auto"` never takes: chatty libraries."""

_NOTHING = sys.maxsize


def level_number(level: int | str) -> int:
    """Return the number of a level.

    Raises:
        ValueError: There is no level of that name.
        TypeError: Neither a number nor a name.
    """
    if isinstance(level, bool) or not isinstance(level, int | str):
        raise TypeError(f"level must be a number or a name, got {level!r}")
    if isinstance(level, int):
        return level
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        names = ", ".join(logging.getLevelNamesMapping())
        raise ValueError(f"unknown level {level!r}; expected 'auto' or one of {names}")
    return number


class LevelRule:
    """Says how low a run goes for each logger. Immutable; safe from any thread."""

    def __init__(self, spec: LevelSpec) -> None:
        """Read a level specification.

        Args:
            spec: "auto": DEBUG for the program's own loggers, INFO for libraries, and
                what the program's own levels let pass, but no DEBUG of `QUIET` loggers.
                A level: from there on, for all loggers. A map from logger prefix to
                level (or "auto"): the longest prefix wins; "" is for all others,
                which without it are "auto".

        Raises:
            ValueError, TypeError: As `level_number`.
        """
        rules = spec if isinstance(spec, Mapping) else {"": spec}
        self._prefixes: dict[str, int | None] = {"": None}
        for prefix, level in rules.items():
            if not isinstance(prefix, str):
                raise TypeError(f"a level map has logger prefixes, got {prefix!r}")
            auto = isinstance(level, str) and level.lower() == "auto"
            self._prefixes[prefix] = None if auto else level_number(level)
        self._named = {prefix.partition(".")[0] for prefix in rules if prefix}
        self.wanted = functools.lru_cache(maxsize=10_000)(self._wanted)

    def accepts(self, name: str, level: int, passes: bool) -> bool:
        """Whether a line is taken.

        Args:
            name: The logger's.
            level: The line's.
            passes: Whether the logger's own level lets the line pass.
        """
        if level >= self.wanted(name):
            return True
        return passes and self._rule(name) is None and not self._is_quiet(name)

    def _wanted(self, name: str) -> int:
        """Return the lowest level taken from the logger `name` in any case."""
        fixed = self._rule(name)
        if fixed is not None:
            return fixed
        if self._is_quiet(name) or not is_own(name):
            return logging.INFO
        return logging.DEBUG

    def _rule(self, name: str) -> int | None:
        """Return the level of the longest prefix that fits; None for "auto"."""
        if name == "root":
            name = ""
        while name not in self._prefixes:
            name = name.rpartition(".")[0]
        return self._prefixes[name]

    def _is_quiet(self, name: str) -> bool:
        top = name.partition(".")[0]
        return top in QUIET and top not in self._named


def is_own(name: str) -> bool:
    """Whether a logger belongs to the program rather than to an installed library.

    The module of that name, or of its top-level package, tells by where its file lies;
    a logger named after no module is the program's.
    """
    if name in ("root", "__main__", ""):
        return True
    for candidate in (name, name.partition(".")[0]):
        module = sys.modules.get(candidate)
        if module is not None:
            return not _is_installed(module)
    return True


def _is_installed(module: object) -> bool:
    """Whether a module lies in the standard library or in site-packages."""
    path = getattr(module, "__file__", None)
    if path is None:
        places = list(getattr(module, "__path__", None) or ())
        if not places:  # built in, or made by hand in a notebook
            spec = getattr(module, "__spec__", None)
            loader = getattr(spec, "loader", None)
            return loader is importlib.machinery.BuiltinImporter
        path = places[0]
    path = os.path.abspath(str(path))
    if "site-packages" in path or "dist-packages" in path:
        return True
    return path.startswith(_standard_library())


@functools.cache
def _standard_library() -> str:
    return os.path.abspath(sysconfig.get_paths()["stdlib"]) + os.sep
