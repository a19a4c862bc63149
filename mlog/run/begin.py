"""How a run comes to be: choose folder and identity, open the files, make it active.

`begin` makes a run of any class, so that a run can make its children; `start_run` and
`child_run` are its two faces.
"""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mlog import context
from mlog.errors import (
    MlogError,
    RunExistsError,
    RunNotFoundError,
    UnsafePathError,
    told,
    warn_once,
)
from mlog.folder import Folder, access_for
from mlog.layout import (
    SegmentName,
    experiment_name,
    find_root,
    new_run_id,
    slug,
)
from mlog.redaction import Redactor, make_redactor
from mlog.run.cells import close_rerun
from mlog.run.collect import folders_of
from mlog.run.companions import Companions
from mlog.run.core import RunCore, open_runs, runs_here, state_of
from mlog.run.identity import Identity, identify, this_process
from mlog.run.keeper import keeper
from mlog.run.levels import LevelRule
from mlog.run.life import OFF, LifeMethods
from mlog.run.recorder import Recorder
from mlog.run.remote import RemoteSpec, chosen_urls
from mlog.run.repository import git_diff as changes_since_commit
from mlog.run.repository import git_facts
from mlog.run.writer import Place, Writer, WriterOptions
from mlog.tap import ensure_installed
from mlog.types import LevelSpec, Mode

if TYPE_CHECKING:  # the readers are loaded when something is read, not with a start
    from mlog.reader.state import RunState

__all__ = [
    "begin",
    "find_here",
    "forget_implicit",
    "implicit",
    "inherited_env",
    "roots_here",
    "start_off",
]

R = TypeVar("R", bound=LifeMethods)

_DIFF = "git.diff"
"""Artifact with the changes of tracked files since the commit."""

_ALIVE = ("Running", "Preparing", "Finalizing")

_started: dict[str, str | None] = {}
"""Path of each run opened here to the `MLOG_RUN` that this process inherited."""

_replaced_roots: dict[Path, Path] = {}
"""Root that could not be written to, to the temporary one that runs go to instead."""

_nth = 0
_implicit: LifeMethods | None = None
"""The inherited run that `import mlog` joined, until a run is started here."""


def begin(
    cls: type[R],
    experiment: str | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    run_id: str | None = None,
    resume: bool | str | None = None,
    dir: str | os.PathLike[str] | None = None,
    params: object = None,
    tags: Mapping[str, Any] | None = None,
    level: LevelSpec = "auto",
    parent: RunCore | str | os.PathLike[str] | None = None,
    mode: Mode = "private",
    disabled: bool = False,
    outputs: bool | str | Iterable[str] | None = False,
    git_diff: bool = False,
    redact: bool | Redactor | Iterable[str] = True,
    filters: Iterable[Any] = (),
    flight_recorder: int = 0,
    fsync_interval: float | str | None = 1.0,
    segment_bytes: int = 256 << 20,
    max_log_bytes: int = 5 << 30,
    strict: bool = False,
    remote: RemoteSpec = None,
    system: bool | float = False,
    capture: bool | str | Iterable[str] | None = None,
    alerts: Iterable[Any] = (),
    flush_timeout: float | None = None,
    nested: bool = True,
    activate: bool = True,
) -> R:
    """Begin a run of the class `cls`; see `mlog.start_run` for what is not said here.

    Args:
        nested: Whether the run is a child of the one that is active here.
        activate: Whether the records of the calling context go to it from now on. A
            run that is not active yet becomes so as a context manager.
    """
    global _nth
    _check_texts(experiment=experiment, name=name, run_id=run_id)
    rule = LevelRule(level)
    redactor = make_redactor(redact)
    options = WriterOptions(
        _interval(fsync_interval),
        _count("segment_bytes", segment_bytes, 1),
        _count("max_log_bytes", max_log_bytes, 1),
    )
    ring = _count("flight_recorder", flight_recorder)
    companions = Companions(system, capture, alerts)
    filters = [*_filters(filters), *companions.filters]
    folders = folders_of(outputs)
    chosen_urls(remote, (), os.environ)  # refuses what is none before a run is ended
    timeout = _seconds("flush_timeout", flush_timeout)
    ensure_installed()
    ended = close_rerun()
    outer = _outer(ended) if nested else None
    urls = chosen_urls(remote, _remotes_of(outer), os.environ)
    _nth += run_id is None
    if not activate:  # a child: its ranks share it, nobody joins by it
        _nth = max(_nth, 2)
    inherited = inherited_env()
    who = identify(inherited, this_process(), run_id=run_id, nth=_nth)
    if disabled or who.off or inherited.get("MLOG_RUN") == OFF:
        run = start_off(cls, experiment, name, run_id, outer, activate=activate)
        run._parent = _parent_object(parent, outer)
        if activate:
            forget_implicit()
            _started[OFF] = inherited.get("MLOG_RUN")
            run.enter_env()
        return _fill(run, params, tags, description)
    root = find_root(dir, env=os.environ, cwd=_cwd())
    target = _target(root, experiment, who, resume)
    parent_path = _parent_path(parent, outer, who, root) if nested else None
    folder = _open_folder(target, mode)
    target.check(folder)
    if parent_path == str(folder.path):  # its id was given in the run itself
        parent_path = None
    if activate:
        forget_implicit()
    said = _earlier(folder) if who.main else None
    if resume and said is not None and said.status in _ALIVE:
        text = f"run {said.run_id} has not ended yet; both attempts write it now"
        warn_once(f"resume of {said.run_id}", text)
    place = Place(who.main, who.rank, who.world_size, target.attempt)
    identity = folder.path.name
    writer = Writer(folder, place, identity, options, redactor, keeper.ensure)
    recorder = Recorder(
        writer,
        rule,
        outer=outer if activate else None,
        redactor=redactor,
        flight_recorder=ring,
        strict=strict,
        filters=filters,
    )
    run = cls.made(
        recorder,
        run_id=identity,
        experiment=target.experiment,
        name=name or (target.run_id if target.run_id != identity else None),
        path=folder.path,
        parent=parent_path,
        said=said,
    )
    run.outputs, run._cwd = folders, _cwd()
    run._parent = _parent_object(parent, outer)
    facts = _facts(run, redactor, target) | _options(level, redactor)
    run.begin(facts, announce=who.main)
    if not who.main:
        writer.start()
    first = who.main or _is_first_of_node(inherited)
    if first:
        run.start_shippers(urls, timeout)
    companions.join(run, recorder, of_machine=first)
    _started[str(run.path)] = inherited.get("MLOG_RUN")
    if activate:
        run.enter_env()
        context.set_receiver(recorder)
    _tell_parent(run)
    return _fill(run, params, tags, description, git_diff=git_diff and who.main)


def roots_here(root: Path) -> list[Path]:
    """Return where runs of a root lie: also in what takes its place in this process."""
    instead = _replaced_roots.get(root)
    return [root] if instead is None else [instead, root]


def find_here(ref: str, root: Path, experiment: str | None = None) -> Path:
    """Find a run as `find_run` does; first among those of this process."""
    from mlog.reader.find import find_run

    instead = _replaced_roots.get(root)
    if instead is None:
        return find_run(ref, root=root, experiment=experiment)
    try:
        return find_run(ref, root=instead, experiment=experiment)
    except RunNotFoundError:
        with contextlib.suppress(OSError):  # as may be why it was replaced
            return find_run(ref, root=root, experiment=experiment)
        raise


# --- choosing ------------------------------------------------------------------------


class _Target(NamedTuple):
    """Where a run is to be: two folder names below a root."""

    root: Path
    experiment: str
    run_id: str
    joined: bool
    must_be_new: bool
    attempt: int | None

    @property
    def parts(self) -> tuple[str, str]:
        """Names of the folders below the root."""
        return slug(self.experiment), slug(self.run_id)

    def check(self, folder: Folder) -> None:
        """Refuse a run that is there already, unless it may be gone on with."""
        taken = SegmentName("events").filename in folder.names()
        if self.must_be_new and taken:
            raise RunExistsError(
                f"run {self.run_id!r} is there already, in {folder.path}; "
                "pass resume=True to go on with it, or another run_id"
            )


def _target(
    root: Path, experiment: str | None, who: Identity, resume: bool | str | None
) -> _Target:
    """Say which run is meant: one to resume, one to join, or a new one."""
    if isinstance(resume, str):
        path = find_here(resume, root, experiment)
        return _existing(path, None)
    if who.join is not None:
        return _existing(Path(who.join), who.attempt or 1)
    argv = getattr(sys, "argv", None)
    script = argv[0] if argv else None
    label = experiment_name(experiment, cwd=_cwd(), script=script)
    if who.run_id is None and resume:
        raise ValueError(
            "resume=True goes on with the run of run_id=, which is not given; "
            "resume='latest' goes on with the newest run"
        )
    if who.run_id is None:
        run_id = new_run_id(time.time(), os.urandom(3))
        return _Target(root, label, run_id, False, False, 1)
    alone = who.world_size == 1 and who.attempt in (None, 1)
    must_be_new = alone and not resume
    return _Target(root, label, who.run_id, False, must_be_new, who.attempt)


def _existing(path: Path, attempt: int | None) -> _Target:
    root = path.parent.parent
    return _Target(root, path.parent.name, path.name, True, False, attempt)


def _open_folder(target: _Target, mode: Mode) -> Folder:
    """Open the run's folder, in a temporary root where the root refuses."""
    fallback = access_for(Path(os.sep), mode)  # refuses a wrong mode
    try:
        access = access_for(target.root, mode)
        folder = Folder.open_below(target.root, target.parts, access)
        folder.replace(".probe", b"")
        folder.remove(".probe")
    except UnsafePathError:
        raise
    except (OSError, ValueError) as exc:  # ValueError: no path at all ("\0", "\ud800")
        if isinstance(exc, OSError) and exc.errno in (errno.EMFILE, errno.ENFILE):
            text = "each open run takes some; end some, or raise the limit (ulimit -n)"
            raise OSError(exc.errno, f"{exc.strerror}: {text}") from exc
        root = _replaced(target.root, exc)
        return Folder.open_below(root, target.parts, fallback)
    return folder


def _replaced(root: Path, why: Exception) -> Path:
    """Return the temporary root that this process has in the place of another."""
    if root not in _replaced_roots:
        import tempfile  # only here: it is slow to import

        _replaced_roots[root] = Path(tempfile.mkdtemp(prefix="mlog-"))
        text = f"{root} cannot be written to ({told(why)}); runs of this process go to "
        warn_once("root", f"{text}{_replaced_roots[root]}", about=str(root))
    return _replaced_roots[root]


def _parent_path(
    parent: RunCore | str | os.PathLike[str] | None,
    outer: context.Receiver | None,
    who: Identity,
    root: Path,
) -> str | None:
    if isinstance(parent, RunCore):
        return str(parent.path) if parent.path else None
    if parent is not None:
        return str(find_here(os.fspath(parent), root))
    outer_run = runs_here.get(outer) if outer is not None else None
    if outer_run is not None and outer_run.path is not None:
        return str(outer_run.path)
    return who.parent


def _parent_object(parent: object, outer: context.Receiver | None) -> RunCore | None:
    """Return a parent that is given as an object, or is off: no path leads to it."""
    if parent is not None:
        return parent if isinstance(parent, RunCore) else None
    run = runs_here.get(outer) if outer is not None else None
    return run if run is not None and run.is_off else None


def _interval(value: float | str | None) -> float | str | None:
    if value is None or value == "always":
        return value
    if isinstance(value, str) or isinstance(value, bool) or value <= 0:
        raise ValueError(
            f"fsync_interval must be seconds > 0, 'always' or None, got {value!r}"
        )
    return value


def _seconds(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name} must be seconds >= 0 or None, got {value!r}")
    return float(value)


def _count(name: str, value: int, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return value


def _filters(filters: Iterable[Any]) -> list[Any]:
    """Return filters as a list, having looked at what they are."""
    ready = list(filters)
    for each in ready:
        if not callable(each) and not callable(getattr(each, "filter", None)):
            raise TypeError(
                f"filters must be logging.Filter objects or functions, got {each!r}"
            )
    return ready


def _check_texts(**given: object) -> None:
    """Refuse a name that is no text, before anything is made of it."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be text, got {value!r}")


def _earlier(folder: Folder) -> "RunState | None":
    """Return what earlier attempts have said; None where there are none."""
    if not folder.names():
        return None
    try:
        return state_of(folder.path)
    except (OSError, RunNotFoundError):
        return None


def _facts(
    run: RunCore, redactor: Redactor | None, target: "_Target"
) -> dict[str, Any]:
    """Return what `run.start` says."""
    argv = [str(part) for part in getattr(sys, "argv", ())]
    cwd = _cwd()
    facts = {
        "experiment": run._experiment,
        "display_name": run._name,
        "parent": run.parent_path,
        "python": sys.version.split()[0],
        "argv": redactor.argv(argv) if redactor else argv,
        "cwd": str(cwd),
        "git": git_facts(cwd) or None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _options(level: LevelSpec, redactor: Redactor | None) -> dict[str, Any]:
    """Return what processes that join the run have to know, where it is not usual."""
    options: dict[str, Any] = {}
    if level != "auto":
        options["level"] = dict(level) if isinstance(level, Mapping) else level
    if redactor is None:
        options["redact"] = False
    elif redactor.additions:
        options["redact"] = redactor.additions
    return {"options": options} if options else {}


def _cwd() -> Path:
    try:
        return Path.cwd()
    except OSError:  # somebody removed it
        return Path(os.sep)


# --- the process ---------------------------------------------------------------------


def _remotes_of(outer: context.Receiver | None) -> tuple[str, ...]:
    """Return where the run is sent that is open around this one."""
    run = runs_here.get(outer) if outer is not None else None
    return run.remotes if isinstance(run, LifeMethods) else ()


def _is_first_of_node(env: Mapping[str, str]) -> bool:
    """Whether a rank has to see to it that what its node writes is sent.

    Where all nodes share a file system, its shipper finds that of the main process at
    work and ends at once.
    """
    return env.get("LOCAL_RANK", env.get("SLURM_LOCALID", "")).strip() == "0"


def _outer(ended: Collection[context.Receiver]) -> context.Receiver | None:
    """Return the innermost open run of the calling context.

    Args:
        ended: Runs that the one to be begun takes the place of; those inside them do
            not count.
    """
    found = run = context.scope().run
    while run is not None:
        if run in ended or (run is found and not run.is_open):
            found = run.outer
        run = run.outer
    return found


def start_off(
    cls: type[R],
    experiment: str | None,
    name: str | None,
    run_id: str | None,
    outer: context.Receiver | None,
    *,
    activate: bool = True,
) -> R:
    """Begin a run that records nothing."""
    run = cls.made(
        None, run_id=run_id or "off", experiment=experiment or "off", name=name
    )
    run.receiver.outer = outer if activate else None
    run.begin_off()
    if activate:
        context.set_receiver(run.receiver)
    return run


def inherited_env() -> dict[str, str]:
    """Return the environment as this process got it, without its own runs."""
    env = dict(os.environ)
    path = env.get("MLOG_RUN")
    if path in _started:
        before = _started[path] if path is not None else None
        if before is None:
            del env["MLOG_RUN"]
        else:
            env["MLOG_RUN"] = before
    return env


def implicit(run: LifeMethods) -> None:
    """Remember the run that this process joined without having been asked."""
    global _implicit
    _implicit = run


def forget_implicit() -> None:
    """Let a run that is started here stand before the one joined at import."""
    global _implicit
    if _implicit is not None:
        _implicit.end("Completed")
        _implicit = None


def _fill(
    run: R,
    params: object,
    tags: Mapping[str, Any] | None,
    description: str | None,
    *,
    git_diff: bool = False,
) -> R:
    """Record what a run is begun with; where that raises, no open run is left."""
    try:
        if git_diff:
            _keep_diff(run)
        if params is not None:
            run.log_params(params)
        if tags:
            run.set_tags(tags)
        if description:
            run.description = description
    except BaseException as exc:  # a strict run, or Ctrl-C
        run.__exit__(type(exc), exc, exc.__traceback__)
        raise
    return run


def _keep_diff(run: LifeMethods) -> None:
    """Store what has changed since the commit, without secrets."""
    text = changes_since_commit(run._cwd)
    if text is None:
        warn_once("git_diff", "git_diff: git cannot say what has changed here")
        return
    redactor = run._recorder.redactor if run._recorder is not None else None
    safe = redactor.text(text) if redactor is not None else text
    try:
        run._put(_DIFF, safe.encode(), "text/x-diff")
    except (OSError, MlogError) as exc:  # a full disk; the run itself has begun
        warn_once("git_diff", f"git_diff: {exc}")


def _tell_parent(run: LifeMethods) -> None:
    """Name the child in the parent's events, where the parent is this process's."""
    for parent in open_runs():
        if parent.path is not None and str(parent.path) == run.parent_path:
            parent._event("run.child", {"run": run.id, "path": str(run.path)})


def _after_fork_in_child() -> None:
    """What the parent exported is inherited now, and this process has started none."""
    global _nth
    _nth = 0
    _started.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
