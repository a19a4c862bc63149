"""`start_run`, and the run that a child process finds itself in."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlog.errors import MlogError, say, warn_once
from mlog.redaction import Redactor
from mlog.run.api import Run
from mlog.run.begin import begin, implicit, start_off
from mlog.run.identity import identify, this_process
from mlog.run.joining import joined, open_run_folder
from mlog.run.life import OFF
from mlog.run.remote import RemoteSpec
from mlog.run.writer import Place
from mlog.tap import ensure_installed
from mlog.types import LevelSpec, Mode

__all__ = ["announce", "begin", "join_inherited", "start_run"]


def start_run(
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
    parent: Run | str | os.PathLike[str] | None = None,
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
        description: Some words on it.
        params, tags: As for `Run.log_params` and `Run.set_tags`.
        level: Which lines are taken: "auto", a level, or a map from logger prefix to
            level. Metrics at INFO and above are always taken.
        parent: Run of which this is a child; default: the active one of the context.
        mode: "private" (0600 in 0700) or "group" (0660 in 2770).
        disabled: Record nothing, everything else as usual. Also `MLOG_MODE=off`.
        outputs: Whether what lies in `./outputs` and `./logs` at the end becomes
            artifacts of the run (None: yes); or the folder to take beside `./logs`, or
            all folders to take.
        git_diff: Whether what git says has changed since the commit is stored, without
            secrets, as the artifact `git.diff`; takes as long as git does.
        redact: Whether secrets are taken out; further names, or a `Redactor`.
        filters: `logging.Filter`s for what this run takes.
        flight_recorder: How many lines below `level` are kept in memory, to be written
            when an ERROR or a non-finite metric comes.
        fsync_interval: Seconds of work that a power cut may cost; "always"; None:
            whenever the kernel likes. A killed process loses nothing in any case.
        segment_bytes: Size of a logs file after which the next one begins.
        max_log_bytes: Size of all logs files, over which the oldest goes.
        strict: Raise what would be warned about or counted; for tests.
        alerts: `AlertHandler`s, which look at all that the run records.
        capture: What else of the program becomes entries: "stdout", "stderr",
            "warnings", "exceptions", as one text or a list; True: all of them. The
            console shows them as before.
        system: Whether the load of processors, memory, disks, network, GPUs and of this
            process is recorded as `system/…` metrics, every 15 s or so many seconds;
            needs `mlog-runs[system]`.
        remote: URL of a sink that the run is sent to while it goes on, or several, by
            a process of their own (README, "Shipping"); False: none. Default: those of
            the run around it, else of `MLOG_REMOTE`.
        flush_timeout: Seconds that the end of the run waits until all is sent; default:
            60 in a container or batch job, else 5. Nothing is lost after it.

    Raises:
        RunExistsError: `run_id` is there already, and `resume` is not given.
        RunNotFoundError, MlogError: `resume` or `parent` names no run, or several.
        UnsafePathError: A folder below the root is a link.
        ValueError, TypeError: An argument is wrong.
    """
    return begin(
        Run,
        experiment,
        name=name,
        description=description,
        run_id=run_id,
        resume=resume,
        dir=dir,
        params=params,
        tags=tags,
        level=level,
        parent=parent,
        mode=mode,
        disabled=disabled,
        outputs=outputs,
        git_diff=git_diff,
        redact=redact,
        filters=filters,
        flight_recorder=flight_recorder,
        fsync_interval=fsync_interval,
        segment_bytes=segment_bytes,
        max_log_bytes=max_log_bytes,
        strict=strict,
        remote=remote,
        system=system,
        capture=capture,
        alerts=alerts,
        flush_timeout=flush_timeout,
    )


def announce(run: Run) -> None:
    """Say once on stderr where an implicit run is (`MLOG_QUIET=1`: nowhere)."""
    if os.environ.get("MLOG_QUIET", "") in ("", "0") and run.path is not None:
        say(f"mlog: run {run.id[-6:]} → {run.path}")


def join_inherited() -> None:
    """Make the run of `MLOG_RUN` take this process's records, from the first one on.

    Called by `import mlog` in a process that inherited a run. What is wrong with the
    variable is warned about, never raised.
    """
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
        implicit(start_off(Run, None, None, None, None))
        return
    try:
        folder = open_run_folder(Path(inherited))
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
    run = Run.made(
        joined(folder, place),
        run_id=folder.path.name,
        experiment=folder.path.parent.name,
        path=folder.path,
    )
    run.begin({}, announce=False)
    implicit(run)
