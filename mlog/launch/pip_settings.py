"""Where pip was told to look for packages, which uv does not know of."""

import configparser
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mlog.launch.requirements import option_of

__all__ = ["has_settings", "uv_understands"]

_PLACES = ("index_url", "extra_index_url", "find_links", "no_index", "proxy")
"""Options that say where packages are; pip writes them with hyphens."""

# Source: uv, "Compatibility with pip", options in a requirements file.
_OF_UV = frozenset(
    (
        *(f"--{place.replace('_', '-')}" for place in _PLACES[:4]),
        *("-i", "-f", "-c", "--constraint", "-e", "--editable"),
        *("-r", "--requirement", "--no-binary", "--only-binary"),
    )
)


def uv_understands(lines: Iterable[str]) -> bool:
    """Whether uv knows all options among lines of requirements."""
    options = filter(None, map(option_of, lines))
    return all(name in _OF_UV for name, _ in options)


def has_settings(env: Mapping[str, str]) -> bool:
    """Whether pip is set up to look elsewhere, by variables or files of its own.

    Source: pip, "Configuration": files and their places.
    """
    names = [f"PIP_{place.upper()}" for place in _PLACES]
    if any(env.get(name) for name in names):
        return True
    return any(_has_places(path) for path in _files(env))


def _files(env: Mapping[str, str]) -> Iterator[Path]:
    home = Path(env.get("HOME") or "~").expanduser()
    if given := env.get("PIP_CONFIG_FILE"):
        if given == os.devnull:
            return
        yield Path(given)
    for folder in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(sys.prefix, "pip.conf")


def _has_places(path: Path) -> bool:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, "utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return False
    return any(
        parser.has_option(section, place.replace("_", "-"))
        for section in ("global", "install")
        if parser.has_section(section)
        for place in _PLACES
    )
