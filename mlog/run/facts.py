"""What a run says of itself in words: params, tags, properties, name, description.

A param is an input: any JSON value, set once. A tag is text and may change. A property
is text, set once, and for programs rather than people.
"""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mlog.errors import MlogError, warn_once
from mlog.plain import safe_str
from mlog.run.core import RunCore, harmless, state_of
from mlog.run.given import as_mapping

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
    from mlog.reader.state import RunState

__all__ = ["FactMethods"]


class FactMethods(RunCore):
    """Params, tags, properties, name and description of a run."""

    _params: dict[str, Any]
    _tags: dict[str, str | None]
    _properties: dict[str, str]
    _description: str
    _metrics_before: dict[str, dict[str, Any]]
    """What earlier attempts have logged, by name; for the summary of this one."""

    # --- params --------------------------------------------------------------------

    @harmless
    def log_params(self, params: object = None, /, **named: Any) -> None:
        """Record inputs of the run. A param is set once: a second value is refused.

        Args:
            params: Mapping, `argparse.Namespace`, dataclass, OmegaConf or the like.
            **named: Params by keyword.
        """
        if self._has_ended():
            return
        ready = self._clean(as_mapping(params, named))
        known = self.params
        new = {key: value for key, value in ready.items() if key not in known}
        for key in ready.keys() - new.keys():
            if self.rank and key not in self._params:  # rank 0 speaks for all
                continue
            if not _is_same(_plain(ready[key]), known[key]):
                text = f"param {key!r} is {known[key]!r} already and stays so"
                warn_once(f"param {key}", text)
        if new:
            self._params.update({key: _plain(value) for key, value in new.items()})
            self._event("run.params", new)

    @property
    def params(self) -> dict[str, Any]:
        """The params, as they were recorded; of an own run what this process set."""
        said = self._said()
        return dict(self._params if said is None else said.params)

    # --- tags ----------------------------------------------------------------------

    @harmless
    def tag(self, key: str, value: Any = None) -> None:
        """Set one tag; without a value it is there, and null. See `set_tags`."""
        self.set_tags({safe_str(key): value})

    @harmless
    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, also of a run that has ended; a tag may change.

        Args:
            tags: Name to value; values become strings, None stays.
        """
        if not isinstance(tags, Mapping):
            text = f"tags must be a mapping, got {type(tags).__name__}"
            raise TypeError(text)
        ready = self._clean({safe_str(k): _text(v) for k, v in tags.items()})
        self._tags.update(ready)
        if ready:
            self._event("run.tags", ready)
            self._changed()

    @harmless
    def remove_tags(self, tags: Any) -> None:
        """Remove tags by name; one that is not there is no error.

        Args:
            tags: One name, or several.
        """
        names = [tags] if isinstance(tags, str) else [safe_str(name) for name in tags]
        for name in names:
            self._tags.pop(name, None)
        if names:
            self._event("run.tags_removed", {"keys": names})
            self._changed()

    @property
    def tags(self) -> dict[str, str | None]:
        """The tags, as they were recorded; of an own run what this process set."""
        said = self._said()
        return dict(self._tags if said is None else said.tags)

    def get_tags(self) -> dict[str, str | None]:
        """Return the tags that all processes have set so far, from the files."""
        return dict(self._tags if self.is_off else self._state().tags)

    # --- properties ----------------------------------------------------------------

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, also to a run that has ended; one that is there stays.

        Args:
            properties: Name to value; values become strings.

        Raises:
            ValueError: A property has another value already; none is added then.
            TypeError: It is no mapping.
        """
        if not isinstance(properties, Mapping):
            text = f"properties must be a mapping, got {type(properties).__name__}"
            raise TypeError(text)
        ready = self._clean({safe_str(k): safe_str(v) for k, v in properties.items()})
        known = self.get_properties() | self._properties
        for key, value in ready.items():
            if known.get(key, value) != value:
                raise ValueError(
                    f"property {key!r} is {known[key]!r} already and cannot become "
                    f"{value!r}; what may change is a tag (set_tags)"
                )
        new = {key: value for key, value in ready.items() if key not in known}
        self._properties.update(new)
        if new:
            self._event("run.properties", new)
            self._changed()

    @property
    def properties(self) -> dict[str, str]:
        """The properties; of an own run what this process set."""
        said = self._said()
        return dict(self._properties if said is None else said.properties)

    def get_properties(self) -> dict[str, str]:
        """Return the properties that all processes have added, from the files."""
        return dict(self._properties if self.is_off else self._state().properties)

    # --- name and description ------------------------------------------------------

    @property
    def name(self) -> str:
        """Name for people; the id where none was given."""
        said = self._said() if self._is_joined else None
        return self._name if said is None else said.name or self.id

    @property
    def display_name(self) -> str:
        """Name for people, which may be changed at any time."""
        return self.name

    @display_name.setter
    def display_name(self, value: str | None) -> None:
        # None and "" take the name away again: the id stands for it.
        text = "" if value is None else safe_str(value)
        self._name = safe_str(self._clean(text)) or self.id
        self._event("run.update", {"display_name": self._name})
        self._changed()

    @property
    def description(self) -> str:
        """Some words on the run, which may be changed at any time."""
        said = self._said() if self._is_joined else None
        return self._description if said is None else said.description

    @description.setter
    def description(self, value: str) -> None:
        self._description = safe_str(self._clean(safe_str(value or "")))
        self._event("run.update", {"description": self._description})
        self._changed()

    # --- inside --------------------------------------------------------------------

    def _state(self) -> "RunState":
        """Read what the files say of the run now."""
        return state_of(self._need_path())

    def _said(self) -> "RunState | None":
        """Return what the files say, where this process alone does not know it all."""
        if not self._own:
            return self._state()
        if self._is_joined:
            with contextlib.suppress(OSError, MlogError):  # its maker is not that far
                return self._state()
        return None

    def _remember(self, said: "RunState | None", name: str | None) -> None:
        """Take over what earlier attempts, or other processes, have said."""
        self._params = dict(said.params) if said is not None else {}
        self._tags = dict(said.tags) if said is not None else {}
        self._properties = dict(said.properties) if said is not None else {}
        self._description = said.description if said is not None else ""
        self._metrics_before = dict(said.metrics) if said is not None else {}
        if name:
            self._name = name
        elif said is not None and said.name:
            self._name = said.name

    def _changed(self) -> None:
        """Have `run.json` follow a change after the end; see `LifeMethods`."""


def _plain(ready: Any) -> Any:
    """Return a JSON-ready value as Python has it: long integers are text by then."""
    if isinstance(ready, dict):
        return {key: _plain(value) for key, value in ready.items()}
    if isinstance(ready, list):
        return [_plain(value) for value in ready]
    return int(orjson.dumps(ready)) if isinstance(ready, orjson.Fragment) else ready


def _is_same(value: Any, known: Any) -> bool:
    """Whether a param has this value; of the files a long integer comes as a double."""
    if value == known:
        return True
    return isinstance(value, int) and isinstance(known, float) and float(value) == known


def _text(value: Any) -> str | None:
    return None if value is None else safe_str(value)
