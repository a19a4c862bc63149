"""What the runs of a root are by now, without opening those that have ended.

The index keeps the state of each run that has settled: it has ended, and nobody writes
it any more. Whoever changes such a run makes or removes a file in its folder (a writer
of its own, a lock, a new `run.json`), or does it by hand. Invariants:

- A kept state counts only while the run's folder, its `run.json` and its events
  segments are the very files (inode, size, times) they were before it was read.
- What is not settled, or was changed in the last seconds, is read from its files.
- The index lies in the cache (see `mlog.reader.cache`); deleting it only costs time.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mlog.errors import MlogError
from mlog.layout import parse_segment
from mlog.reader.cache import Cache, cache_for
from mlog.reader.state import Artifact, RunState, WriterState, read_state

__all__ = ["RunIndex"]

_KEY = "runs"
_FORMAT = 2
_FINAL = frozenset({"Completed", "Failed", "Canceled"})
_RACY = 2_000_000_000
_FEW = 100
_NEWS = 20
_SHARE = 50
_MAX_STATE = 1 << 16
_DERIVED = ("folder", "read_at", "artifacts", "writers")
_FIELDS = tuple(f.name for f in fields(RunState))
_PLAIN = tuple(name for name in _FIELDS if name not in _DERIVED)
_HEAVY = frozenset({"children", "start", "environment", "launch", "models", "snapshot"})
_LIGHT = tuple(name for name in _PLAIN if name not in _HEAVY)
"""What lists and filters look at."""

_LATER = frozenset({*_HEAVY, "artifacts", "writers"})
"""What is unpacked when somebody asks for it."""

_ORDER = [*_LIGHT, *sorted(_LATER)]
"""By which an index of another version is told."""

_Signature = list[list[Any]]


class _KeptState(RunState):
    """A state from the index; what is not light is made when it is asked for.

    Safe from any thread: two may make it, and get the same.
    """

    __slots__ = ("_later",)
    _later: Callable[[], Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        folder: Path,
        read_at: float,
        light: Iterable[Any],
        later: Callable[[], Mapping[str, Any]],
    ) -> "_KeptState":
        """Put one together; `later` gives all that is not light."""
        state = cls.__new__(cls)
        state.folder, state.read_at, state._later = folder, read_at, later
        for name, value in zip(_LIGHT, light, strict=True):
            setattr(state, name, value)
        return state

    if not TYPE_CHECKING:  # else any name would seem to be an attribute

        def __getattr__(self, name: str) -> Any:
            """Return an attribute that is not there yet."""
            if name in _LATER:
                for own, value in self._later().items():
                    try:
                        object.__getattribute__(self, own)
                    except AttributeError:
                        setattr(self, own, value)
            return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        """Whether a state, kept or not, says the same."""
        if not isinstance(other, RunState):
            return NotImplemented
        return all(getattr(self, n) == getattr(other, n) for n in _FIELDS)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled and copied as a state that is whole."""
        return RunState, tuple(getattr(self, name) for name in _FIELDS)


class RunIndex:
    """States of the runs below a root, some of them kept from the last time."""

    def __init__(
        self, root: Path, *, few: int = _FEW, news: int = _NEWS, racy: int = _RACY
    ) -> None:
        """Prepare; the index is read when many runs are asked for.

        Args:
            root: Of all runs.
            few: How many runs are read as fast without it.
            news: How many have to settle before it is written anew.
            racy: Nanoseconds in which a change may leave no trace in the times.
        """
        self._few, self._news, self._racy = few, news, racy
        self._root = str(root)
        self._above = root.parts
        self._environments: dict[tuple[int, int], dict[str, Any]] = {}
        self._cache: Cache | None = None
        self._kept: dict[str, Any] = {}
        self._body = memoryview(b"")
        self._fresh: dict[str, tuple[_Signature, bytes, bytes, bytes]] = {}

    def states(
        self, folders: Iterable[Path], now: float | None = None
    ) -> Iterator[RunState | MlogError | OSError]:
        """Yield the state of each run, or why it cannot be read; keep what is new.

        Args:
            folders: Of runs below the root.
            now: Seconds since the epoch. None: the time it is.
        """
        now = time.time() if now is None else now
        folders = list(folders)
        if len(folders) >= self._few and self._cache is None:
            self._cache = cache_for(Path(self._root))
            self._kept, self._body = _load(self._cache)
        for folder in folders:
            yield self._state(folder, now)
        self._store()

    def _state(self, folder: Path, now: float) -> RunState | MlogError | OSError:
        *above, experiment, run_id = folder.parts
        key = f"{experiment}/{run_id}"
        place = f"{self._root}/{key}"
        try:
            if self._cache is None or tuple(above) != self._above:
                return read_state(folder, now=now)
            if (kept := self._from_index(key, place, folder, now)) is not None:
                return kept
            signature = _signature(place)
            state = read_state(folder, now=now)
        except (MlogError, OSError) as exc:
            return exc
        if _has_settled(state, signature, now * 1e9 - self._racy):
            parts = _packed(state)
            if sum(map(len, parts)) <= _MAX_STATE:
                self._fresh[key] = signature, *parts
        return state

    def _from_index(
        self, key: str, place: str, folder: Path, now: float
    ) -> RunState | None:
        """Return the kept state, if it still holds."""
        found = self._kept.get(key)
        if found is None:
            return None
        try:
            signature, environment, rest, (start, end) = found
            for each in signature:
                if each != _status(place, each[0]):
                    return None
            light = orjson.loads(self._body[start:end])
            return _KeptState.of(
                folder, now, light, lambda: self._rest(folder, now, rest, environment)
            )
        except (OSError, ValueError, TypeError):
            pass
        return None

    def _rest(
        self, folder: Path, now: float, rest: list[int], environment: list[int]
    ) -> dict[str, Any]:
        """Return what of a state is not light."""
        try:
            said: dict[str, Any] = orjson.loads(self._body[slice(*rest)])
            artifacts = [Artifact(**each) for each in said["artifacts"]]
            said["artifacts"] = {each.path: each for each in artifacts}
            said["writers"] = [WriterState(**each) for each in said["writers"]]
            first, last = environment
            said["environment"] = self._environment((first, last))
            return {name: said[name] for name in _LATER}
        except (ValueError, TypeError, KeyError):  # not as it was written
            state = read_state(folder, now=now)
        return {
            name: getattr(state, name) for name in (*_HEAVY, "artifacts", "writers")
        }

    def _environment(self, span: tuple[int, int]) -> dict[str, Any]:
        """Return what many runs have in common; those that do share the object."""
        found = self._environments.get(span)
        if found is None:
            found = orjson.loads(self._body[slice(*span)])
            self._environments[span] = found
        return found

    def _store(self) -> None:
        """Keep what is new, where it is worth writing all of it anew."""
        known = len(self._kept)
        if self._cache is None or len(self._fresh) < max(self._news, known // _SHARE):
            return
        rows: dict[str, list[Any]] = {}
        body = _Body()
        for key, (signature, *spans) in self._kept.items():
            if key not in self._fresh and os.path.isdir(f"{self._root}/{key}"):
                parts = [bytes(self._body[slice(*span)]) for span in spans]
                rows[key] = [signature, *map(body.add, parts)]
        for key, (signature, *fresh) in self._fresh.items():
            rows[key] = [signature, *map(body.add, fresh)]
        facts = {"format": _FORMAT, "fields": _ORDER, "runs": rows}
        self._cache.store(_KEY, facts, body.parts)
        self._fresh = {}


class _Body:
    """Texts one after the other, each of them once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._spans: dict[bytes, tuple[int, int]] = {}
        self._end = 0

    def add(self, part: bytes) -> tuple[int, int]:
        """Return where a text begins and ends."""
        span = self._spans.get(part)
        if span is None:
            span = self._spans[part] = self._end, self._end + len(part)
            self._end = span[1]
            self.parts.append(part)
        return span


def _load(cache: Cache) -> tuple[dict[str, Any], memoryview]:
    found = cache.load(_KEY)
    if found is not None:
        facts, body = found
        runs = facts.get("runs")
        is_known = facts.get("format") == _FORMAT and facts.get("fields") == _ORDER
        if is_known and isinstance(runs, dict):
            return runs, body
    return {}, memoryview(b"")


# --- signatures ----------------------------------------------------------------------


def _signature(place: str) -> _Signature:
    """Return what tells whether a run's files are still the same."""
    names = ["", *sorted(filter(_counts, os.listdir(place)))]
    return [_status(place, name) for name in names]


def _counts(name: str) -> bool:
    segment = parse_segment(name)
    return name == "run.json" or (segment is not None and segment.stream == "events")


def _status(place: str, name: str) -> list[Any]:
    found = os.lstat(f"{place}/{name}" if name else place)
    times = found.st_mtime_ns, found.st_ctime_ns
    return [name, found.st_ino, found.st_size, *times]


def _has_settled(state: RunState, signature: _Signature, before: float) -> bool:
    """Whether a state holds until somebody touches files that were not before."""
    if state.status not in _FINAL or any(writer.alive for writer in state.writers):
        return False
    newest = max(max(mtime, ctime) for _, _, _, mtime, ctime in signature)
    return bool(newest < before)


# --- states --------------------------------------------------------------------------


def _packed(state: RunState) -> tuple[bytes, bytes, bytes]:
    """Return the environment, which many runs have in common, the rest, the light."""
    rest = {name: getattr(state, name) for name in _HEAVY if name != "environment"}
    rest |= {"artifacts": list(state.artifacts.values()), "writers": state.writers}
    light = [getattr(state, name) for name in _LIGHT]
    return orjson.dumps(state.environment), orjson.dumps(rest), orjson.dumps(light)
