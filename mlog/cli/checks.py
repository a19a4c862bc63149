"""What `mlog doctor` looks at: one function for each topic, each may find several things.

A finding is fine, worth a look, or a fault that keeps runs from being recorded. Nothing
is changed; only whether the root can be written to is tried, with a file that is
removed at once.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mlog.errors import MlogError, told
from mlog.layout import find_root
from mlog.reader.find import closed, experiment_folders, iter_runs, run_folders
from mlog.reader.page_words import count_text, size_text
from mlog.reader.state import RunState, read_state
from mlog.reader.verify import verify_run
from mlog.run.identity import identify, this_process
from mlog.run.levels import QUIET

__all__ = ["CHECKS", "DISTRIBUTION", "Finding", "Place"]

DISTRIBUTION = "mlog-runs"
Grade: TypeAlias = Literal["fine", "look", "fault"]

_VARIABLES = ("MLOG_DIR", "MLOG_MODE", "MLOG_RUN", "MLOG_QUIET")
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "fuse.sshfs",
    "lustre",
    "ceph",
    "beegfs",
)
_MAX_STATES = 500
_MAX_VERIFIED = 10
_MAX_BYTES = 64 << 20
_MAX_LISTED = 5
_LOW_BYTES, _LOW_SHARE = 1 << 30, 0.02
_EXTRA = re.compile(r"extra\s*==\s*['\"]([A-Za-z0-9_-]+)['\"]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: A word or two.
        grade: "fine", "look" (worth a look), or "fault".
        text: What it is like.
        hint: What to do about it; "" where nothing is.
        facts: The same for programs.
    """

    topic: str
    grade: Grade
    text: str
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look.

    Attributes:
        dir: As given by `--dir`.
        cwd: The working folder.
        env: The environment.
    """

    dir: str | None
    cwd: Path
    env: Mapping[str, str]

    @property
    def root(self) -> Path:
        """The root of all runs."""
        return find_root(self.dir, env=self.env, cwd=self.cwd)


# --- where runs go -------------------------------------------------------------------


def _root(place: Place) -> Iterator[Finding]:
    """Say where runs go and why, and whether they can."""
    root, why = place.root, _reason(place)
    facts: dict[str, Any] = {"path": str(root), "why": why, "exists": root.exists()}
    text = f"{root} ({why})"
    if not root.exists():
        parent = next(p for p in root.parents if p.exists())
        can = os.access(parent, os.W_OK | os.X_OK) and parent.is_dir()
        if can:
            yield Finding("root", "fine", f"{text}; made with the first run", "", facts)
        else:
            yield _unwritable(text, f"{parent} may not be written to", facts)
        return
    try:
        handle, name = tempfile.mkstemp(prefix=".doctor-", dir=root)
        os.close(handle)
        os.unlink(name)
    except OSError as exc:
        yield _unwritable(text, exc.strerror or str(exc), facts)
        return
    yield Finding("root", "fine", text, "", facts)
    yield from _permissions(root)
    yield from _file_system(root)


def _unwritable(text: str, why: str, facts: dict[str, Any]) -> Finding:
    hint = "runs go to a temporary folder; name another root by MLOG_DIR"
    return Finding("root", "fault", f"{text} cannot be written to: {why}", hint, facts)


def _reason(place: Place) -> str:
    if place.dir:
        return "--dir"
    if place.env.get("MLOG_DIR"):
        return "MLOG_DIR"
    for folder in (place.cwd, *place.cwd.parents):
        if os.path.isdir(folder / ".mlog"):
            return "the nearest .mlog folder upward"
    return "the user's data folder; `mlog init` makes one for this project"


def _permissions(root: Path) -> Iterator[Finding]:
    status = root.stat()
    mode = stat.S_IMODE(status.st_mode)
    facts = {"mode": f"{mode:04o}", "owner": status.st_uid}
    if mode & 0o007:
        hint = f"chmod o-rwx {root}"
        text = f"everybody on this machine may look into it ({mode:04o})"
        yield Finding("permissions", "look", text, hint, facts)
    elif mode & 0o070:
        text = f"shared with the group ({mode:04o})"
        yield Finding("permissions", "fine", text, "", facts)
    else:
        yield Finding("permissions", "fine", f"private ({mode:04o})", "", facts)


def _file_system(root: Path) -> Iterator[Finding]:
    kind = _kind_of(root)
    if kind in _NETWORK:
        text = f"a network file system ({kind})"
        hint = "whether a run is alive is known by its heartbeat, up to 3 minutes late"
        yield Finding("file system", "look", text, hint, {"kind": kind})


def _kind_of(root: Path) -> str:
    """Return the kind of the file system a folder is on; "" where unknown."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    path, found = os.path.realpath(root), ("", "")
    for line in lines:
        parts = line.split()
        at = parts[1].replace("\\040", " ")
        inside = at == "/" or path == at or path.startswith(at + "/")
        if inside and len(at) >= len(found[0]):
            found = at, parts[2]
    return found[1]


def _disk(place: Place) -> Iterator[Finding]:
    """Say how much space is left."""
    there = next(p for p in (place.root, *place.root.parents) if p.exists())
    try:
        usage = shutil.disk_usage(there)
    except OSError as exc:
        yield Finding("disk", "look", f"its space is unknown: {exc.strerror}")
        return
    text = f"{size_text(usage.free)} of {size_text(usage.total)} free"
    facts = {"free": usage.free, "total": usage.total}
    if usage.free < min(_LOW_BYTES, usage.total * _LOW_SHARE):
        hint = "lines below WARNING are not recorded; `mlog prune` removes old runs"
        yield Finding("disk", "fault" if not usage.free else "look", text, hint, facts)
    else:
        yield Finding("disk", "fine", text, "", facts)


# --- runs ----------------------------------------------------------------------------


def _runs(place: Place) -> Iterator[Finding]:
    """Say how many runs there are, and which were killed or have lost entries."""
    shut = list(_closed(place.root))
    yield from shut
    folders = sorted(iter_runs(place.root), key=_changed, reverse=True)
    if not folders and shut:
        return
    if not folders:
        hint = "start one with `mlog.start_run()`, or bring some by `mlog import`"
        yield Finding("runs", "fine", "none yet", hint, {"count": 0})
        return
    states = list(_states(folders[:_MAX_STATES]))
    counts = Counter(state.status for state in states)
    parts = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    newest = f"of the newest {_MAX_STATES}: " if len(folders) > _MAX_STATES else ""
    text = f"{count_text(len(folders), 'run')}; {newest}{parts}"
    facts = {"count": len(folders), "statuses": dict(counts)}
    yield Finding("runs", "fine", text, "", facts)
    dead = [s for s in states if s.status == "NotResponding" and not _is_copy(s)]
    if dead:
        text = f"{count_text(len(dead), 'run')} without an end: {_listed(dead)}"
        hint = "killed, or the machine went down; `mlog show ID` says more"
        yield Finding("dead runs", "look", text, hint, {"runs": _ids(dead)})
    yield from _losses(states[:_MAX_VERIFIED])


def _closed(root: Path) -> Iterator[Finding]:
    """Say which folders may not be read; there may be runs in them."""
    shut = closed([*experiment_folders(root), *run_folders(root)])
    if shut:
        why = told(next(iter(shut.values())))
        text = f"{count_text(len(shut), 'folder')} left out: {why}"
        hint = "they are another user's, or their mode was changed"
        facts = {"folders": [str(folder) for folder in shut]}
        yield Finding("closed runs", "look", text, hint, facts)


def _losses(states: list[RunState]) -> Iterator[Finding]:
    small = [state for state in states if _size(state.folder) < _MAX_BYTES]
    bad = []
    for state in small:
        try:
            if not verify_run(state.folder, now=time.time()).is_whole:
                bad.append(state)
        except (MlogError, OSError):
            bad.append(state)
    looked = f"the newest {len(small)}" if len(small) > 1 else "the newest"
    if bad:
        text = f"entries are missing in {_listed(bad)}"
        hint = "`mlog verify ID` says which"
        yield Finding("entries", "look", text, hint, {"runs": _ids(bad)})
    elif small:
        yield Finding("entries", "fine", f"nothing is lost in {looked}")


def _states(folders: list[Path]) -> Iterator[RunState]:
    for folder in folders:
        try:
            yield read_state(folder)
        except (MlogError, OSError):
            continue


def _is_copy(state: RunState) -> bool:
    """Whether a run was imported while it still went on."""
    return "import.source" in state.properties


def _listed(states: list[RunState]) -> str:
    more = len(states) - _MAX_LISTED
    names = ", ".join(_ids(states)[:_MAX_LISTED])
    return names + (f" and {more:,} more" if more > 0 else "")


def _ids(states: list[RunState]) -> list[str]:
    return [f"{state.folder.parent.name}/{state.run_id}" for state in states]


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _size(folder: Path) -> int:
    try:
        with os.scandir(folder) as found:
            return sum(e.stat(follow_symlinks=False).st_size for e in found)
    except OSError:
        return 0


# --- recording -----------------------------------------------------------------------

_TRIAL = """
import json, logging, sys, time
began = time.perf_counter()
import mlog
imported = time.perf_counter() - began
logging.basicConfig(level="WARNING", stream=open("console", "w"))
logger = logging.getLogger("trial")
logger.setLevel("ERROR")
with mlog.start_run("trial", dir="root", strict=True) as run:
    logger.info(metric={"loss": 0.5}, step=1)
    logging.getLogger("__main__").debug("a line")
with open(run.path / "metrics.jsonl") as file:
    entry = json.loads(file.readline())
lines = len((run.path / "logs.jsonl").read_text().splitlines())
logging.shutdown()
print(json.dumps({"metric": entry["metric"], "lines": lines, "import_ms":
    round(imported * 1e3, 1), "module": mlog.__file__, "version": mlog.__version__,
    "console": open("console").read()}))
"""


def _tap(place: Place) -> Iterator[Finding]:
    """Record a run in a process of its own, in a folder that is removed."""
    env = {k: v for k, v in place.env.items() if not k.startswith(("MLOG_", "SLURM_"))}
    home = str(Path(__file__).parents[2])
    path = [home, *filter(None, [env.get("PYTHONPATH")])]
    env["PYTHONPATH"] = os.pathsep.join(path)
    with tempfile.TemporaryDirectory(prefix="mlog-doctor-") as folder:
        said = ""
        try:
            done = subprocess.run(
                [sys.executable, "-c", _TRIAL],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
            )
            said = done.stderr.decode("utf-8", "replace")
            found = json.loads(done.stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
            last = (said.strip().splitlines() or [told(exc)])[-1]
            hint = "send what `mlog doctor --bundle` makes"
            yield Finding("tap", "fault", f"a trial run failed: {last}", hint)
            return
    is_right = found["metric"] == {"loss": 0.5} and found["lines"] == 1
    facts = {"import_ms": found["import_ms"]}
    if is_right and not found["console"]:
        text = "a logger at ERROR has recorded its metric, and no console saw it"
        yield Finding("tap", "fine", text, "", facts)
    else:
        yield Finding("tap", "fault", f"a trial run recorded {found}", "", facts)
    levels = f"DEBUG of your own loggers, INFO of libraries; {len(QUIET)} quiet ones"
    yield Finding("levels", "fine", levels, "", {"quiet": sorted(QUIET)})


def _variables(place: Place) -> Iterator[Finding]:
    """Say what the environment asks for."""
    names = sorted(name for name in place.env if name.startswith("MLOG_"))
    for name in names:
        value = place.env[name]
        facts = {"name": name, "value": value}
        if name == "MLOG_MODE" and value.strip().lower() == "off":
            text = "MLOG_MODE=off: nothing is recorded"
            yield Finding("variables", "look", text, "unset it to record", facts)
        elif name == "MLOG_RUN" and value != "off" and not os.path.isdir(value):
            text = f"MLOG_RUN={value} is not there: it was inherited from a run"
            yield Finding("variables", "look", text, "unset MLOG_RUN", facts)
        elif name not in _VARIABLES:  # its value may be a secret
            close = get_close_matches(name, _VARIABLES, n=1, cutoff=0.75)
            grade: Grade = "look" if close else "fine"
            hint = f"is {close[0]} meant?" if close else ""
            yield Finding("variables", grade, f"{name} is set", hint, {"name": name})
        else:
            yield Finding("variables", "fine", f"{name}={value}", "", facts)
    try:
        who = identify(dict(place.env), this_process())
    except ValueError as exc:
        yield Finding("variables", "fault", str(exc))
        return
    if who.world_size > 1:
        text = f"rank {who.rank} of {who.world_size}: all ranks write one run"
        facts = {"name": "rank", "value": str(who.rank)}
        yield Finding("ranks", "fine", text, "", facts)


# --- the installation ----------------------------------------------------------------


def _names(place: Place) -> Iterator[Finding]:
    """Say whether another project of the same import name is in the way."""
    module = Path(__file__).parents[1]
    try:
        other = importlib.metadata.distribution("mlog")
    except importlib.metadata.PackageNotFoundError:
        other = None
    clash = False
    if other is not None:
        text = f"the other project `mlog` {other.version} is installed, too"
        hint = f"pip uninstall mlog; pip install --force-reinstall {DISTRIBUTION}"
        yield Finding("name", "fault", text, hint, {"other": other.version})
        clash = True
    for shadow in (place.cwd / "mlog.py", place.cwd / "mlog"):
        if shadow.exists() and not os.path.samefile(shadow, module):
            is_code = shadow.suffix == ".py" or (shadow / "__init__.py").exists()
            if is_code:
                text = f"{shadow} is imported by scripts here instead of mlog"
                yield Finding("name", "fault", text, "rename it", {"path": str(shadow)})
                clash = True
    found = shutil.which("mlog", path=place.env.get("PATH"))
    own = Path(sys.executable).parent
    if found and Path(found).parent != own and (own / "mlog").exists():
        text = f"`mlog` is {found}, and not that of {own}"
        yield Finding("name", "look", text, "mind PATH", {"path": found})
        clash = True
    if not clash:
        yield Finding("name", "fine", f"mlog is {module}", "", {"path": str(module)})


def _packages(_: Place) -> Iterator[Finding]:
    """Say which Python, system and packages there are."""
    version = _version(DISTRIBUTION)
    python = f"Python {platform.python_version()} on {platform.platform()}"
    facts: dict[str, Any] = {
        "mlog": version,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
    }
    if version is None:
        hint = f"pip install {DISTRIBUTION}"
        yield Finding(
            "version", "look", f"{python}; mlog is not installed", hint, facts
        )
    else:
        yield Finding("version", "fine", f"mlog {version}, {python}", "", facts)
    core, extras = _required()
    missing = [name for name in core if _version(name) is None]
    listed = ", ".join(f"{name} {_version(name)}" for name in core if _version(name))
    packages = {name: _version(name) for name in core}
    if missing:
        text = f"missing: {', '.join(missing)}"
        hint = f"pip install {DISTRIBUTION}"
        yield Finding("packages", "fault", text, hint, {"packages": packages})
    else:
        yield Finding("packages", "fine", listed, "", {"packages": packages})
    yield from _extras(extras)


def _extras(extras: dict[str, list[str]]) -> Iterator[Finding]:
    for extra, names in extras.items():
        found = {name: _version(name) for name in names}
        if all(found.values()):
            text = f"{extra}: " + ", ".join(f"{n} {v}" for n, v in found.items())
            hint = ""
        else:
            absent = ", ".join(name for name, v in found.items() if v is None)
            text = f"{extra}: not installed ({absent})"
            hint = f'pip install "{DISTRIBUTION}[{extra}]"'
        facts = {"extra": extra, "packages": found}
        yield Finding("extra", "fine", text, hint, facts)


def _required() -> tuple[list[str], dict[str, list[str]]]:
    """Return the packages that mlog needs, and those of each extra but the tests'."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    try:
        required = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return core, extras
    for requirement in required:
        name = _NAME.match(requirement)
        if name is None or name[0].lower() == DISTRIBUTION:
            continue
        extra = _EXTRA.search(requirement)
        if extra is None:
            core.append(name[0])
        elif extra[1] != "test":
            extras.setdefault(extra[1], []).append(name[0])
    return core, extras


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


CHECKS: tuple[Callable[[Place], Iterator[Finding]], ...] = (
    _root,
    _disk,
    _runs,
    _tap,
    _variables,
    _names,
    _packages,
)
"""All of them, in the order in which they are shown."""
