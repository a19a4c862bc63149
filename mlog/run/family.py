"""Parents and children of a run, and the handles they are given out as."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mlog.errors import MlogError
from mlog.folder import GROUP, access_for, read_from
from mlog.run.begin import begin
from mlog.run.core import open_runs, state_of
from mlog.run.joining import options_of
from mlog.run.launched import type_of
from mlog.run.life import LifeMethods

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
    from mlog.reader.state import RunState

__all__ = ["FamilyMethods", "fits", "handle"]

R = TypeVar("R", bound=LifeMethods)

_Wanted = str | Mapping[str, Any] | None
_MAX_DOCUMENT = 64 << 20


def handle(cls: type[R], path: Path, said: "RunState | None" = None) -> R:
    """Return the object of the run at `path`: this process's own, or a new handle.

    Args:
        cls: Class of a new handle.
        path: The run's folder.
        said: What its files say, where that was just read.

    Raises:
        RunNotFoundError: There is no run.
    """
    for run in open_runs():
        if run.path == path and isinstance(run, cls):
            return run
    said = said or state_of(path)
    return cls.made(
        None,
        run_id=path.name,
        experiment=said.experiment,
        path=path,
        parent=said.parent,
        said=said,
    )


def _off(cls: type[R], experiment: str, name: str) -> R:
    """Return what a run that is off becomes in another process: such a run, too."""
    return cls.made(None, run_id="off", experiment=experiment, name=name)


class FamilyMethods(LifeMethods):
    """Children and parent of a run."""

    @property
    def parent(self) -> Self | None:
        """The run of which this one is a child; what it is told is written there."""
        if self.parent_path is None and self._is_joined:
            said = self._said()
            self.parent_path = said.parent if said is not None else None
        if self._parent is None and self.parent_path is not None:
            self._parent = self._find_parent(Path(self.parent_path))
        parent: Self | None = self._parent
        return parent

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a run be given to another process (pickle), which opens it there."""
        if self.path is None:
            return _off, (type(self), self._experiment, self._name)
        return handle, (type(self), self.path)

    def _find_parent(self, told: Path) -> Self | None:
        """Return the parent; of a root that was moved or copied the one in there."""
        root = self.path.parent.parent if self.path is not None else told
        for path in (root.joinpath(*told.parts[-2:]), told):
            if path == self.path:  # a parent of the same name in another root
                continue
            try:
                return handle(type(self), path)
            except (OSError, MlogError):  # removed, or elsewhere
                continue
        return None

    def child_run(
        self, name: str | None = None, run_id: str | None = None, outputs: Any = None
    ) -> Self:
        """Begin a run that is a child of this one.

        Log lines go on to where they went; only `with run.child_run() as child:` makes
        the child the active run, for the block. Levels, redaction and mode are those of
        this run.

        Args:
            name: Name for people.
            run_id: Its id; default: a fresh one.
            outputs: As for `start_run`; None: nothing is collected.

        Raises:
            RunExistsError: There is a run of that id.
        """
        return begin(
            type(self),
            self._experiment,
            name=name,
            run_id=run_id,
            dir=None if self.path is None else self.path.parent.parent,
            parent=self,
            outputs=False if outputs is None else outputs,
            activate=False,
            disabled=self.path is None,
            **self._for_children(),
        )

    def _for_children(self) -> dict[str, Any]:
        """Return the options that a child takes over: levels, redaction, mode."""
        if self.path is None:
            return {}
        shared = access_for(self.path, "private") == GROUP
        return {**options_of(self.path), "mode": "group" if shared else "private"}

    def create_children(
        self,
        count: int | None = None,
        tag_key: str | None = None,
        tag_values: Any = None,
    ) -> list[Self]:
        """Begin several children at once.

        Args:
            count: How many; or else
            tag_key, tag_values: One child for each value, tagged with it.

        Raises:
            ValueError: Neither or both are given.
        """
        if (count is None) == (tag_values is None) or (tag_key is None) != (
            tag_values is None
        ):
            raise ValueError(
                "create_children takes either count, or tag_key with tag_values"
            )
        if tag_values is not None:
            return self._begin_all({str(tag_key): value} for value in tag_values)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"count must be an integer >= 1, got {count!r}")
        return self._begin_all({} for _ in range(count))

    def _begin_all(self, tags: Iterable[dict[str, Any]]) -> list[Self]:
        """Begin a child for each set of tags; all of them, or none stays open."""
        children: list[Self] = []
        try:
            for each in tags:
                children.append(self.child_run())
                children[-1].set_tags(each)
        except BaseException:
            for child in children:
                child.cancel()
            raise
        return children

    def get_children(
        self,
        recursive: bool = False,
        tags: _Wanted = None,
        properties: _Wanted = None,
        type: str | None = None,
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Self]:
        """Yield the children, newest first.

        Args:
            recursive: Also their children.
            tags, properties: Only children that have this name (text), or all of these
                values (mapping).
            type: Only children of this type: "azureml.scriptrun" (submitted scripts) or
                "hyperdrive" (sweeps). Other runs have none.
            status: Only children with this status.
        """
        cls = self.__class__
        for state in self._children(recursive):
            if fits(state, tags, properties, status, type):
                yield handle(cls, state.folder, state)

    def _children(self, recursive: bool) -> "Iterator[RunState]":
        """Yield what the files of the children say, newest first."""
        if self.path is None:
            return
        below = _by_parent(self.path.parent.parent)
        waiting, seen = [_key(self.path)], {_key(self.path)}
        found: list[RunState] = []
        while waiting:
            for state in below.get(waiting.pop(), ()):
                key = _key(state.folder)
                if key in seen:
                    continue
                seen.add(key)
                found.append(state)
                if recursive:
                    waiting.append(key)
        yield from sorted(found, key=lambda s: (s.created, s.run_id), reverse=True)


def fits(
    state: "RunState",
    tags: _Wanted,
    properties: _Wanted,
    status: str | None,
    type: str | None,
) -> bool:
    """Whether a run has the tags, properties, status and type that are asked for."""
    return (
        (status is None or state.status == status)
        and _has(state.tags, tags)
        and _has(state.properties, properties)
        and (type is None or type_of(state.folder) == type)
    )


def _has(said: Mapping[str, Any], wanted: _Wanted) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return wanted in said
    return all(k in said and said[k] == _text(v) for k, v in wanted.items())


def _text(value: Any) -> Any:
    return value if value is None else str(value)


def _by_parent(root: Path) -> "dict[str, list[RunState]]":
    """Return the runs below a root that have a parent, by its place."""
    from mlog.reader.find import iter_runs

    found: dict[str, list[RunState]] = {}
    for folder in iter_runs(root):
        if not _may_have_parent(folder):
            continue
        try:
            state = state_of(folder)
        except (OSError, MlogError):  # removed just now, or not for us to read
            continue
        if state.parent is not None:
            found.setdefault(_key(Path(state.parent)), []).append(state)
    return found


def _key(run: Path) -> str:
    """Name a run below its root, wherever that lies by now."""
    return "/".join(run.parts[-2:])


def _may_have_parent(folder: Path) -> bool:
    """Whether the run's document, if there is one, names a parent: most do not."""
    try:
        with read_from(folder / "run.json") as file:
            return b'"parent"' in file.read(_MAX_DOCUMENT)
    except OSError:
        return True
