"""Let `import azureml` find `mlog.azureml`, module by module.

While the alias is active, `azureml.core.run` *is* `mlog.azureml.core.run`: one module
with two names in `sys.modules`, so that classes, `isinstance` and pickles agree.

Child processes get the alias too, whichever way they are started: `PYTHONPATH`, and for
multiprocessing `sys.path`, name a folder (`mlog/azureml/shim`) whose package `azureml`
does nothing but activate the alias in the child. Nothing is put into site-packages.

| variable | meaning | who sets it |
|---|---|---|
| `PYTHONPATH` | begins with the shim's folder | `activate`, undone by `deactivate` |
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from mlog.azureml.note import note
from mlog.azureml.reach import instead

__all__ = ["activate", "deactivate", "is_active"]

_ALIAS = "azureml"
_TARGET = "mlog.azureml"

# Modules of mlog.azureml that the SDK never had.
_OWN = frozenset({"alias", "note", "reach", "script", "shim", "__main__"})

SHIM = os.path.join(os.path.dirname(__file__), "shim")
"""The folder that children find on their path."""


def activate(force: bool = False) -> bool:
    """Make `import azureml` find `mlog.azureml`, here and in child processes.

    Where azureml-core is really installed it is left alone, with one line on stderr.
    A second call changes nothing. Not for several threads at once.

    Args:
        force: Take mlog's modules also where azureml-core is installed.

    Returns:
        Whether the alias is active.
    """
    if is_active():
        return True
    if not force and _is_installed():
        note("installed", "azureml-core is installed and used; force=True takes mlog's")
        return False
    _set_aside()
    sys.meta_path.insert(0, _finder)
    _offer_to_children()
    return True


def deactivate() -> None:
    """Undo `activate`; what was imported by then stays usable."""
    if not is_active():
        return
    sys.meta_path.remove(_finder)
    for name in _names():
        del sys.modules[name]
    sys.modules.update(_aside)
    _aside.clear()
    _take_from_children()


def is_active() -> bool:
    """Whether `import azureml` finds `mlog.azureml`."""
    return _finder in sys.meta_path


class _Finder(MetaPathFinder):
    """Answers `azureml` and all below it, before any other finder is asked."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return a spec that loads the module of mlog.

        Raises:
            ModuleNotFoundError: It is out of reach; the message says what to use.
        """
        if fullname != _ALIAS and not fullname.startswith(_ALIAS + "."):
            return None
        inner = fullname[len(_ALIAS) :]
        own = inner[1:].partition(".")[0] in _OWN
        try:
            found = None if own else importlib.util.find_spec(_TARGET + inner)
        except ModuleNotFoundError:  # the module above it is no package
            found = None
        if found is None:
            text = _not_there(fullname, inner[1:])
            raise ModuleNotFoundError(text, name=fullname)
        is_package = found.submodule_search_locations is not None
        return ModuleSpec(
            fullname, _Loader(found.name), origin=found.origin, is_package=is_package
        )


class _Loader(Loader):
    """Gives out the module of mlog as it is."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module under its own name."""
        module = importlib.import_module(self._target)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing but give the module its own spec back: it has run already."""
        module.__spec__ = self._spec


_finder = _Finder()
_aside: dict[str, ModuleType] = {}
"""Modules of a real `azureml` that had been imported before."""


def _not_there(fullname: str, inner: str) -> str:
    advice = instead(inner)
    if advice is None:
        return (
            f"{fullname} is not part of mlog.azureml; the README's table of Azure ML "
            "names says what there is"
        )
    return f"{fullname} needs Azure and has no local counterpart; {advice}"


def _is_installed() -> bool:
    """Whether the real azureml-core can be imported; nothing is."""
    path = [entry for entry in sys.path if entry != SHIM]
    top = PathFinder.find_spec(_ALIAS, path)
    if top is None or top.submodule_search_locations is None:
        return False
    locations = list(top.submodule_search_locations)
    core = PathFinder.find_spec(f"{_ALIAS}.core", locations)
    return core is not None and core.origin is not None


def _set_aside() -> None:
    for name in _names():
        _aside[name] = sys.modules.pop(name)


def _names() -> list[str]:
    prefix = _ALIAS + "."
    return [name for name in sys.modules if name == _ALIAS or name.startswith(prefix)]


def _offer_to_children() -> None:
    rest = os.environ.get("PYTHONPATH")
    if SHIM not in (rest or "").split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SHIM, rest)))
    if SHIM not in sys.path:
        sys.path.insert(1, SHIM)  # where PYTHONPATH would have put it


def _take_from_children() -> None:
    sys.path[:] = [entry for entry in sys.path if entry != SHIM]
    parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    rest = os.pathsep.join(part for part in parts if part != SHIM)
    if rest:
        os.environ["PYTHONPATH"] = rest
    else:
        os.environ.pop("PYTHONPATH", None)
