"""Finding runs below a root by what people call them.

A run folder is `<root>/<experiment>/<run_id>` with a `run.json` or a segment in it.
Folders whose name begins with `.` are neither experiments nor runs. Links below the
root are not followed; a path outside it is the caller's own choice.
"""

import json
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from mlog.errors import MlogError, RunNotFoundError
from mlog.escaping import inline
from mlog.layout import SegmentName, parse_segment, slug

__all__ = [
    "closed",
    "experiment_folders",
    "find_run",
    "is_run",
    "iter_runs",
    "name_of",
    "run_folders",
]

_NTH = re.compile(r"-([1-9][0-9]{0,8})")
_FRESH_ID = re.compile(r"([0-9]{8}-[0-9]{6})-([0-9a-f]{6})")
_MAX_NAMED = 8
_TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)
_FIRST_LINE = 65536
_FINAL = ("Completed", "Failed", "Canceled")


def find_run(ref: str, *, root: Path, experiment: str | None = None) -> Path:
    """Find the folder of the run that `ref` stands for.

    The first of these that fits decides: `latest`, or `-1`, `-2`, … for the newest,
    second newest; the id; `<experiment>/<id>`; a path; the run's name;
    `<experiment>/<name>`; the beginning of the id, or its six last digits as printed at
    the start; the beginning of these. An experiment is named as its folder or as users
    call it.

    Newest is what was created last, by the time in the id or else that of the run's
    first event: going on with an old run does not make it new. Reads `run.json` and
    `events.jsonl` only where the id does not settle it.

    Args:
        ref: What somebody typed.
        root: Folder of all runs; need not exist.
        experiment: Only look at this one, by its name or folder.

    Raises:
        RunNotFoundError: Nothing fits; the message offers the closest names.
        MlogError: Several runs fit; the message lists them.
        OSError: What fits, or all that might hold runs, may not be read.
    """
    runs = list(_runs_of(root, experiment))
    nth = _nth(ref)
    if nth is not None:
        found = list(islice(filter(is_run, _newest_first(runs)), nth - 1, nth))
    else:
        found = _fitting(ref, runs, root, is_run)
    if not found:
        raise _not_there(ref, runs, root, experiment)
    if len(found) > 1:
        some = _listed(f"{run.parent.name}/{run.name}" for run in found)
        raise MlogError(f"{ref!r} fits {len(found)} runs in {root}: {some}")
    return found[0]


def iter_runs(root: Path) -> Iterator[Path]:
    """Yield the folders of all runs below a root, by experiment and id.

    A folder that is missing or may not be read has no runs. Nothing is read but names.
    """
    for experiment in experiment_folders(root):
        yield from filter(is_run, _folders(experiment))


def run_folders(root: Path) -> list[Path]:
    """Return the folders that are runs by their place, by experiment and id.

    Faster than `iter_runs` by a look into each; to find none in it is left to whoever
    opens it.
    """
    experiments = experiment_folders(root)
    return [run for experiment in experiments for run in _folders(experiment)]


def experiment_folders(root: Path) -> list[Path]:
    """Return the folders that are experiments by their place."""
    return _folders(root)


def closed(folders: Iterable[Path]) -> dict[Path, OSError]:
    """Return which folders cannot be looked into, and why; missing ones can."""
    found = {}
    for folder in folders:
        try:
            os.scandir(folder).close()
        except FileNotFoundError:
            pass
        except OSError as exc:
            found[folder] = exc
    return found


def _runs_of(root: Path, experiment: str | None) -> Iterator[Path]:
    """Yield the folders of one experiment's runs, or all; see `run_folders`."""
    folder = slug(experiment) if experiment else None
    return (run for run in run_folders(root) if folder in (None, run.parent.name))


def _nth(ref: str) -> int | None:
    """Read `latest` as 1 and `-2` as 2; None for anything else."""
    if ref == "latest":
        return 1
    match = _NTH.fullmatch(ref)
    return int(match[1]) if match else None


def _fitting(
    ref: str, runs: list[Path], root: Path, counts: Callable[[Path], bool]
) -> list[Path]:
    """Return all folders that fit the first rule that any of those that count fits."""
    if not ref:
        return []
    folder = slug(ref)
    above, slash, rest = ref.rpartition("/")
    experiments = (above, slug(above)) if slash else ()

    def those(fits: Callable[[Path], bool]) -> list[Path]:
        return [run for run in runs if fits(run) and counts(run)]

    return (
        those(lambda run: run.name == folder)
        or those(lambda run: run.name == rest and run.parent.name in experiments)
        or _at_path(ref, root, counts)
        or those(lambda run: name_of(run) == ref)
        or those(lambda run: run.parent.name in experiments and name_of(run) == rest)
        or those(lambda run: run.name.startswith(ref) or _short_id(run) == ref)
        or those(lambda run: _short_id(run).startswith(ref))
    )


def _at_path(ref: str, root: Path, counts: Callable[[Path], bool]) -> list[Path]:
    """Return the run at a path; below the root only one that is reached by no link."""
    try:
        path = Path(os.path.abspath(Path(ref).expanduser()))
    except RuntimeError:  # "~nobody"
        return []
    root = Path(os.path.abspath(root))
    if path.is_relative_to(root):
        return [path] if path in run_folders(root) and counts(path) else []
    return [path] if counts(path) else []


def _newest_first(runs: list[Path]) -> Iterator[Path]:
    """Order runs by creation; the ids settle it, except within one second."""
    dated = sorted(((_second(run), run) for run in runs), reverse=True)
    for _, group in groupby(dated, key=itemgetter(0)):
        same = [run for _, run in group]
        if len(same) > 1:
            same.sort(key=lambda run: (_first_ts(run), run), reverse=True)
        yield from same


def _second(run: Path) -> str:
    """Return the second of creation, as a fresh id begins with it."""
    match = _FRESH_ID.fullmatch(run.name)
    if match:
        return match[1]
    ts = _first_ts(run)
    return f"{ts[:10].replace('-', '')}-{ts[11:19].replace(':', '')}"


def _first_ts(run: Path) -> str:
    """Return the time of the run's first event; without one a text before all times."""
    head = _read(run / SegmentName("events").filename, _FIRST_LINE)
    ts = _field(head.partition(b"\n")[0], "ts")
    return ts if _TS.fullmatch(ts) else ""


def name_of(run: Path) -> str:
    """Return a run's name for people; empty where it has none.

    `run.json` repeats it, but follows a new name at once only when the run has ended: of
    any other run the events tell.
    """
    document = _object(_read(run / "run.json"))
    name = _text(document.get("display_name"))
    if name and document.get("status") in _FINAL:
        return name
    return _name_in_events(run) or name


def _name_in_events(run: Path) -> str:
    """Return the last name that any process has given a run."""
    last, name = "", ""
    for segment in _event_segments(run):
        for line in _read(segment).split(b"\n"):
            if b'"display_name"' not in line:
                continue
            ts, found = _named_by(_object(line))
            if found and ts >= last:
                last, name = ts, found
    return name


def _event_segments(run: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(run))
    except OSError:
        return
    for name in names:
        segment = parse_segment(name)
        if segment is not None and segment.stream == "events":
            yield run / name


def _named_by(event: dict[str, Any]) -> tuple[str, str]:
    """Return the time of an event and the name it gives the run, if it gives one."""
    data = event.get("data")
    if event.get("event") not in ("run.start", "run.update"):
        return "", ""
    name = data.get("display_name") if isinstance(data, dict) else None
    return _text(event.get("ts")), _text(name)


def _short_id(run: Path) -> str:
    match = _FRESH_ID.fullmatch(run.name)
    return match[2] if match else ""


def _field(text: bytes, key: str) -> str:
    """Return one text of a JSON object; empty text for anything unexpected."""
    return _text(_object(text).get(key))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path, size: int = -1) -> bytes:
    """Read the beginning of a regular file that is no link; empty if it cannot be."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return b""
        with open(path, "rb", opener=_open_no_link) as file:
            return file.read(size)
    except OSError:
        return b""


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without links and hidden ones."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:  # missing, or not for us to read
        return []
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def is_run(folder: Path) -> bool:
    """Whether there is a run in a folder."""
    try:
        with os.scandir(folder) as entries:
            return any(
                entry.is_file(follow_symlinks=False)
                and (entry.name == "run.json" or parse_segment(entry.name) is not None)
                for entry in entries
            )
    except (OSError, ValueError):  # ValueError: a NUL in what somebody typed
        return False


def _not_there(
    ref: str, folders: list[Path], root: Path, experiment: str | None
) -> Exception:
    """Return why no run was found: what fits may not be read, or nothing fits."""
    shut = closed([root, *experiment_folders(root), *folders])
    runs = list(filter(is_run, folders))
    fitting = _fitting(ref, folders, root, shut.__contains__)
    if fitting or (shut and not runs):
        return shut[[*fitting, *shut][0]]
    text = _not_found(ref, runs, root, experiment)
    if shut:
        text += f"; not for you to read: {_listed(map(str, shut))}"
    return RunNotFoundError(text)


def _not_found(ref: str, runs: list[Path], root: Path, experiment: str | None) -> str:
    """Say what was looked for and where, and what there is instead."""
    where = f"experiment {experiment!r} of {root}" if experiment else str(root)
    if not runs:
        return f"no run {ref!r}: no runs yet in {where}"
    if _nth(ref) is not None:
        return f"no run {ref!r}: only {len(runs)} in {where}"
    close = _closest(ref, runs)
    offer = f"; did you mean {_listed(map(_typed, close))}?" if close else ""
    return f"no run {ref!r} in {where}{offer}; `mlog ls` lists the runs there"


def _closest(ref: str, runs: list[Path]) -> list[str]:
    from difflib import get_close_matches  # slow to import, and only for this

    named = ((run.name, _short_id(run), name_of(run)) for run in runs)
    names = set(chain.from_iterable(named)) - {""}
    return get_close_matches(ref, sorted(names), n=3, cutoff=0.5)


def _typed(name: str) -> str:
    """Return a name as it is typed in a shell; what cannot be typed is shown escaped."""
    return shlex.quote(name) if name.isprintable() else inline(name)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
