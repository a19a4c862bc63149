"""Params from whatever holds a program's settings, as names and values.

The libraries such objects come from are never imported: before a program has done so,
it holds no object of theirs.
"""

import sys
from collections.abc import Mapping
from typing import Any

from mlog.plain import class_name, pairs_of, safe_str

__all__ = ["as_mapping"]

_ACCEPTED = (
    "a mapping, an argparse.Namespace, a dataclass, a namedtuple, a click context, or "
    "a config of attrs, pydantic or OmegaConf"
)
_WITH_VARS = (
    ("argparse", "Namespace"),
    ("optparse", "Values"),
    ("types", "SimpleNamespace"),
)
_MAX_ITEMS = 1_000  # longer containers hold data, no settings
_MAX_DEPTH = 16


def as_mapping(
    given: Any = None, kwargs: Mapping[str, Any] | None = None, *, what: str = "params"
) -> dict[str, Any]:
    """Return names and values of settings, in their order; nothing is flattened.

    A config object within another becomes a dict, too. Whatever else a value is, it
    stays; nothing passed is changed.

    Args:
        given: A mapping, `argparse.Namespace`, `types.SimpleNamespace`, dataclass,
            namedtuple, click context, or a config of attrs, pydantic or OmegaConf
            (whose interpolations are resolved as far as they can be), or any other
            object whose `to_dict()` returns a mapping. None: nothing.
        kwargs: Further ones.
        what: What they are, for messages.

    Raises:
        TypeError: `given` is nothing of the kind.
        ValueError: A name is given twice.
    """
    pairs = {} if given is None else _settings(given)
    if pairs is None:
        text = f"{what} must be {_ACCEPTED}; got {_kind(given)}"
        raise TypeError(f"{text}; pass what it holds as a mapping")
    found: dict[str, Any] = {}
    for source in (pairs, kwargs or {}):
        for key, value in source.items():
            name = key if type(key) is str else safe_str(key)
            if name in found:
                raise ValueError(f"{name!r} is given twice in {what}; leave one out")
            found[name] = _plain(value, ())
    return found


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}; an instance of it may do"
    return class_name(value)


def _settings(given: Any) -> Mapping[Any, Any] | None:
    """Return what an object holds; None for an object that is nothing of the kind."""
    config = _config(given)
    if config is not None:
        return config
    pairs = pairs_of(given)
    if pairs is not None:
        return dict(pairs)
    return _told_by(given, "to_dict")


def _config(value: Any) -> Mapping[Any, Any] | None:
    """Return what a config object holds that is neither mapping nor dataclass."""
    if isinstance(value, type):
        return None
    if _is(value, "omegaconf", "DictConfig"):
        return _resolved(value)
    if any(_is(value, module, name) for module, name in _WITH_VARS):
        return dict(vars(value))
    if _is(value, "click", "Context"):
        return dict(value.params)
    fields = getattr(type(value), "__attrs_attrs__", None)
    if fields is not None:
        return {f.name: getattr(value, f.name, None) for f in fields}
    if hasattr(type(value), "model_fields"):
        return _told_by(value, "model_dump")
    if hasattr(type(value), "__fields__"):  # pydantic 1
        return _told_by(value, "dict")
    return None


def _is(value: object, module: str, name: str) -> bool:
    """Whether a value is of a class, whose module need not be loaded."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _told_by(value: Any, method: str) -> Mapping[Any, Any] | None:
    """Return what a method of the value returns if that is a mapping."""
    tell = getattr(value, method, None)
    if isinstance(value, type) or not callable(tell):
        return None
    told = tell()
    return told if isinstance(told, Mapping) else None


def _resolved(value: Any) -> Mapping[Any, Any] | None:
    """Return OmegaConf's settings with what their `${…}` stand for."""
    to_container = sys.modules["omegaconf"].OmegaConf.to_container
    try:
        found = to_container(value, resolve=True)
    except Exception:  # one that names nothing: all are kept as they were written
        found = to_container(value, resolve=False)
    return found if isinstance(found, Mapping) else None


def _plain(value: Any, within: tuple[int, ...]) -> Any:
    """Return a value with the config objects in it as dicts.

    Args:
        value: Any; containers are copied only if they are plain and small.
        within: Ids of the containers it lies in.
    """
    if id(value) in within or len(within) > _MAX_DEPTH:
        return value
    deeper = (*within, id(value))
    if type(value) is list and len(value) <= _MAX_ITEMS:
        return [_plain(item, deeper) for item in value]
    settings = value if type(value) is dict else _nested(value)
    if settings is None or len(settings) > _MAX_ITEMS:
        return value
    return {key: _plain(item, deeper) for key, item in settings.items()}


def _nested(value: Any) -> Mapping[Any, Any] | None:
    """Return what a config object within another holds."""
    try:
        return _config(value)
    except Exception:  # code of its class: the value is described as any object is
        return None
