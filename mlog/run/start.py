"""`start_run`: choose folder and identity, open the files, make the run active."""

import itertools
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mlog import context
from mlog.errors import MlogError, RunExistsError, UnsafePathError, say, warn_once
from mlog.folder import Folder, access_for, read_from
from mlog.layout import (
    SegmentName,
    experiment_name,
    find_root,
    new_run_id,
    parse_segment,
    slug,
)
from mlog.reader.find import find_run
from mlog.redaction import Redactor, make_redactor
from mlog.run.api import OFF, Run, run_of
from mlog.run.identity import Identity, identify, this_process
from mlog.run.keeper import keeper
from mlog.run.levels import LevelRule
from mlog.run.recorder import Recorder
from mlog.run.writer import Place, Writer, WriterOptions
from mlog.tap import ensure_installed
from mlog.types import LevelSpec, Mode

__all__ = ["announce", "join_inherited", "start_run"]

_started: dict[str, str | None] = {}
"""Path of each run opened here to the `MLOG_RUN` that this process inherited."""

_nth = 0
_implicit: Run | None = None
"""The inherited run that `import mlog` joined, until a run is started here."""


def start_run(
    experiment: str | None = None,
    *,
    name: str | None = None,
    run_id: str | None = None,
    resume: bool | str | None = None,
    dir: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | None = None,
    level: LevelSpec = "auto",
    parent: "Run | str | os.PathLike[str] | None" = None,
    mode: Mode = "private",
    disabled: bool = False,
    redact: bool | Redactor | Iterable[str] = True,
    filters: Iterable[Any] = (),
    flight_recorder: int = 0,
    fsync_interval: float | str | None = 1.0,
    segment_bytes: int = 256 << 20,
    max_log_bytes: int = 5 << 30,
    strict: bool = False,
) -> Run:
    """Start a run, and make it the active one of the calling context.

    From here on every logger of the process writes into it. A second run started in
    the same context becomes its child. Where the root cannot be written to, the run
    goes to a temporary folder, with one warning that names it.

    Args:
        experiment: Group of runs; default: the git folder's name, else the script's.
        name: Name for people; default: the id.
        run_id: The id; default: made from time and chance, or shared by the ranks of a
            job (README, "Processes").
        resume: Go on with a run in a new attempt: the one of `run_id` (True; begun if
            it is not there), or the one named by id, prefix, name, path, "latest" or
            "-2", which must be there. Its params, tags and name are gone on with.
        dir: Root of all runs; default: `MLOG_DIR`, else the nearest `.mlog` folder
            upward, else the user's data folder.
        params, tags: As for `Run.log_params` and `Run.set_tags`.
        level: Which lines are taken: "auto", a level, or a map from logger prefix to
            level. Metrics at INFO and above are always taken.
        parent: Run of which this is a child; default: the active one of the context.
        mode: "private" (0600 in 0700) or "group" (0660 in 2770).
        disabled: Record nothing, everything else as usual. Also `MLOG_MODE=off`.
        redact: Whether secrets are taken out; further names, or a `Redactor`.
        filters: `logging.Filter`s for what this run takes.
        flight_recorder: How many lines below `level` are kept in memory, to be written
            when an ERROR or a non-finite metric comes.
        fsync_interval: Seconds of work that a power cut may cost; "always"; None:
            whenever the kernel likes. A killed process loses nothing in any case.
        segment_bytes: Size of a logs file after which the next one begins.
        max_log_bytes: Size of all logs files, over which the oldest goes.
        strict: Raise what would be warned about or counted; for tests.

    Raises:
        RunExistsError: `run_id` is there already, and `resume` is not given.
        RunNotFoundError, MlogError: `resume` or `parent` names no run, or several.
        UnsafePathError: A folder below the root is a link.
        ValueError, TypeError: An argument is wrong.
    """
    global _nth
    _check_texts(experiment=experiment, name=name, run_id=run_id)
    rule = LevelRule(level)
    redactor = make_redactor(redact)
    options = WriterOptions(_interval(fsync_interval), segment_bytes, max_log_bytes)
    ring = _count("flight_recorder", flight_recorder)
    filters = list(filters)
    ensure_installed()
    _nth += run_id is None
    inherited = _inherited_env()
    who = identify(inherited, this_process(), run_id=run_id, nth=_nth)
    outer = _outer()
    if disabled or who.off or inherited.get("MLOG_RUN") == OFF:
        _forget_implicit()
        run = _start_off(experiment, name, run_id, outer)
        _started[OFF] = inherited.get("MLOG_RUN")
        run.enter_env()
        _fill(run, params, tags)
        return run
    root = find_root(dir, env=os.environ, cwd=_cwd())
    target = _target(root, experiment, who, resume)
    parent_path = _parent_path(parent, outer, who, root)
    folder = _open_folder(target, mode)
    target.check(folder)
    if parent_path == str(folder.path):  # its id was given in the run itself
        parent_path = None
    _forget_implicit()
    place = Place(who.main, who.rank, who.world_size, target.attempt)
    identity = folder.path.name
    writer = Writer(folder, place, identity, options, redactor, keeper.ensure)
    recorder = Recorder(
        writer,
        rule,
        outer=outer,
        redactor=redactor,
        flight_recorder=ring,
        strict=strict,
        filters=filters,
    )
    run = Run(
        recorder,
        run_id=identity,
        experiment=target.experiment,
        name=name or (target.run_id if target.run_id != identity else None),
        path=folder.path,
        parent=parent_path,
        earlier=_earlier(folder) if who.main else None,
    )
    facts = _facts(run, redactor) | _options(level, redactor)
    run.begin(facts, announce=who.main)
    if not who.main:
        writer.start()
    _started[str(run.path)] = inherited.get("MLOG_RUN")
    run.enter_env()
    context.set_receiver(recorder)
    _tell_outer(outer, run)
    _fill(run, params, tags)
    return run


def announce(run: Run) -> None:
    """Say once on stderr where an implicit run is (`MLOG_QUIET=1`: nowhere)."""
    if os.environ.get("MLOG_QUIET", "") in ("", "0") and run.path is not None:
        say(f"mlog: run {run.id[-6:]} → {run.path}")


def join_inherited() -> None:
    """Make the run of `MLOG_RUN` take this process's records, from the first one on.

    Called by `import mlog` in a process that inherited a run. What is wrong with the
    variable is warned about, never raised.
    """
    global _implicit
    try:
        who = identify(os.environ, this_process())
    except ValueError as exc:
        warn_once("MLOG_MODE", str(exc))
        return
    inherited = os.environ.get("MLOG_RUN")
    ignored = os.environ.get("MLOG_MODE", "").strip().lower() == "new"
    if ignored or not inherited:
        return
    if who.off or inherited == OFF:
        ensure_installed()
        _implicit = _start_off(None, None, None, None)
        return
    try:
        folder = _open_run(Path(inherited))
    except (OSError, MlogError) as exc:
        warn_once("MLOG_RUN", f"MLOG_RUN={inherited} cannot be joined: {exc}")
        return
    ensure_installed()
    ranked = who.rank is not None and who.join is not None
    place = Place(
        main=False,
        rank=who.rank if ranked else None,
        world_size=who.world_size if ranked else 1,
        attempt=who.attempt or 1,
    )
    options = _options_of(folder)
    redact = options.get("redact", True)
    redactor = Redactor(**redact) if isinstance(redact, dict) else make_redactor(redact)
    run_id = folder.path.name
    writer = Writer(folder, place, run_id, WriterOptions(), redactor, keeper.ensure)
    rule = LevelRule(options.get("level", "auto"))
    recorder = Recorder(writer, rule, redactor=redactor)
    experiment = folder.path.parent.name
    run = Run(recorder, run_id=run_id, experiment=experiment, path=folder.path)
    run.begin({}, announce=False)
    _implicit = run


# --- choosing ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Target:
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
        path = find_run(resume, root=root, experiment=experiment)
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
        import tempfile  # only here: it is slow to import

        root = Path(tempfile.mkdtemp(prefix="mlog-"))
        text = f"{target.root} cannot be written to ({exc}); this run goes to {root}"
        warn_once("root", text)
        return Folder.open_below(root, target.parts, fallback)
    return folder


def _open_run(path: Path) -> Folder:
    """Open the folder of a run that must be there."""
    access = access_for(path.parent, "private")
    parts = (path.parent.name, path.name)
    folder = Folder.open_below(path.parent.parent, parts, access, create=False)
    # Of ranks any may be the first to write, not only the main one.
    if not any(name == "run.json" or parse_segment(name) for name in folder.names()):
        raise MlogError(f"{path} is no run")
    return folder


def _parent_path(
    parent: Run | str | os.PathLike[str] | None,
    outer: context.Receiver | None,
    who: Identity,
    root: Path,
) -> str | None:
    if isinstance(parent, Run):
        return str(parent.path) if parent.path else None
    if parent is not None:
        return str(find_run(os.fspath(parent), root=root))
    outer_run = run_of(outer)
    if outer_run is not None and outer_run.path is not None:
        return str(outer_run.path)
    return who.parent


def _interval(value: float | str | None) -> float | str | None:
    if value is None or value == "always":
        return value
    if isinstance(value, str) or isinstance(value, bool) or value <= 0:
        raise ValueError(
            f"fsync_interval must be seconds > 0, 'always' or None, got {value!r}"
        )
    return value


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be an integer >= 0, got {value!r}")
    return value


def _check_texts(**given: object) -> None:
    """Refuse a name that is no text, before anything is made of it."""
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be text, got {value!r}")


def _earlier(folder: Folder) -> dict[str, Any]:
    """Return what `run.json` says of earlier attempts; nothing where there are none."""
    path = folder.path / "run.json"
    try:
        said = {} if path.is_symlink() else orjson.loads(path.read_bytes())
    except (OSError, ValueError):  # derived: it may be missing, or in the making
        return {}
    return said if isinstance(said, dict) else {}


def _facts(run: Run, redactor: Redactor | None) -> dict[str, Any]:
    """Return what `run.start` says."""
    argv = [str(part) for part in getattr(sys, "argv", ())]
    facts = {
        "experiment": run.experiment,
        "display_name": run.name,
        "parent": run.parent_path,
        "python": sys.version.split()[0],
        "argv": redactor.argv(argv) if redactor else argv,
        "cwd": str(_cwd()),
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


def _options_of(folder: Folder) -> dict[str, Any]:
    """Return the options of the run that is joined; {} where they cannot be read."""
    try:
        with read_from(folder.path / "events.jsonl") as lines:
            for line in itertools.islice(lines, 10):
                if b'"run.start"' in line:
                    return dict(orjson.loads(line)["data"].get("options", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}


def _cwd() -> Path:
    try:
        return Path.cwd()
    except OSError:  # somebody removed it
        return Path(os.sep)


# --- the process ---------------------------------------------------------------------


def _outer() -> context.Receiver | None:
    """Return the innermost open run of the calling context."""
    run = context.scope().run
    while run is not None and not run.is_open:
        run = run.outer
    return run


def _start_off(
    experiment: str | None,
    name: str | None,
    run_id: str | None,
    outer: context.Receiver | None,
) -> Run:
    run = Run(None, run_id=run_id or "off", experiment=experiment or "off", name=name)
    run.receiver.outer = outer
    run.begin_off()
    context.set_receiver(run.receiver)
    return run


def _inherited_env() -> dict[str, str]:
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


def _forget_implicit() -> None:
    """Let a run that is started here stand before the one joined at import."""
    global _implicit
    if _implicit is not None:
        _implicit.end("Completed")
        _implicit = None


def _fill(
    run: Run, params: Mapping[str, Any] | None, tags: Mapping[str, Any] | None
) -> None:
    if params:
        run.log_params(params)
    if tags:
        run.set_tags(tags)


def _tell_outer(outer: context.Receiver | None, run: Run) -> None:
    """Name the child in the parent's events."""
    if isinstance(outer, Recorder):
        try:
            outer.writer.event("run.child", {"run": run.id, "path": str(run.path)})
        except OSError as exc:
            outer.writer.lose(exc.strerror or str(exc), None)


def _after_fork_in_child() -> None:
    """What the parent exported is inherited now, and this process has started none."""
    global _nth
    _nth = 0
    _started.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
