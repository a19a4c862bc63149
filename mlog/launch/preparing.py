"""From what a script is to run in to the command that runs it there.

Called by the supervisor while the run is Preparing. What there is to wait for (a build,
a pull) happens here, and is told in the build log. In every environment mlog is made to
be there; where it cannot be, the script runs all the same, and the run says why it has
no metrics.
"""

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from mlog.errors import MlogError
from mlog.launch.build_log import BuildLog
from mlog.launch.builds import build
from mlog.launch.carry import carried_path, carry
from mlog.launch.containers import Mount, find_engine, folders
from mlog.launch.environments import Container, Environment
from mlog.launch.order import Order
from mlog.run.recorder import Recorder
from mlog.run.status import end_in_container, end_of_process

__all__ = ["Prepared", "prepare"]

_TIMEOUT = 120
_MARK = "mlog-found:"
_OF_SHIM = 127  # exit code of what finds no program to run in its place
_OF_ENGINE = 125  # exit code of docker and podman where they could not do their part
_HOME = "/tmp"  # there in any image, and anybody may write in it
_INFO = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*?)-([^-]+)(?:-py[0-9.]+)?\.(?:dist|egg)-info"
)

# For any Python from 2.7 on. mlog is imported as the script will find it.
_LOOK = """
import json, os, sys
version = "%d.%d.%d" % sys.version_info[:3]
why = ""
if sys.version_info < (3, 11):
    why = "Python " + version + " is older than 3.11"
else:
    try:
        import mlog.run.joining, mlog.run.begin
    except BaseException as exc:
        why = type(exc).__name__ + ": " + str(exc)
        file = getattr(sys.modules.get("mlog"), "__file__", None) or ""
        if file and not os.path.exists(os.path.join(os.path.dirname(file), "tap.py")):
            why = "another package has the name mlog there: " + file
names = []
for folder in sys.path:
    if os.path.isdir(folder):
        names += [name for name in os.listdir(folder) if name.endswith("-info")]
found = {"python": version, "executable": sys.executable, "why": why, "names": names}
sys.stdout.write("\\n" + MARK + json.dumps(found) + "\\n")
""".replace("MARK", repr(_MARK))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is started for a script.

    Attributes:
        line: Command line.
        env: Environment of the process.
        notes: What there is to say about it, in the run.
        facts: What is known of the Python there, where that is not this one.
        end_said: Finds what the script itself said of its end, by the run's folder and
            the id of the process that was started.
        close: Removes what may be left of it; called when it has ended.
        in_container: Whether the process that was started is an engine's client.
    """

    line: list[str]
    env: dict[str, str]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    end_said: Callable[[Path, int], dict[str, Any]] = end_of_process
    close: Callable[[], None] = lambda: None
    in_container: bool = False


def prepare(
    order: Order,
    *,
    cwd: Path,
    env: Mapping[str, str],
    recorder: Recorder,
    is_cancelled: Callable[[], bool],
    tell: Callable[[str, Mapping[str, Any]], None],
    show: Callable[[str], None] = lambda text: None,
) -> Prepared:
    """Find or build what a script runs in, and return how it is started there.

    Args:
        order: What is to be run.
        cwd: Folder it starts in.
        env: Environment it would have in the interpreter of this process.
        recorder: Of the run; takes what is said meanwhile.
        is_cancelled: Asked several times a second while there is something to wait for.
        tell: Writes an event of the run.
        show: Shows a line to whoever watches.

    Raises:
        MlogError: It cannot be had; the message says why.
        Cancelled: The run was cancelled meanwhile.
        OSError: Something could not be started or written.
    """
    wanted = Environment.decoded(order.environment)
    if _is_this(wanted):
        return Prepared(order.line, dict(env), wanted.remarks)
    log = BuildLog(recorder, is_cancelled, show=show)
    for remark in wanted.remarks:
        log.remark(remark)
    preparation = _Preparation(order, wanted, cwd, env, recorder, log)
    try:
        if wanted.container is not None:
            return preparation.in_container(wanted.container)
        return preparation.in_interpreter()
    finally:
        if artifact := log.finish():
            tell("run.artifact", artifact)


class _Preparation:
    """The steps of one preparation."""

    def __init__(
        self,
        order: Order,
        wanted: Environment,
        cwd: Path,
        env: Mapping[str, str],
        recorder: Recorder,
        log: BuildLog,
    ) -> None:
        self._order = order
        self._wanted = wanted
        self._cwd = cwd
        self._log = log
        self._root = Path(order.root)
        self._folder = recorder.writer.folder
        self._env = dict(env)

    def in_interpreter(self) -> Prepared:
        """Return how it is started in another interpreter, built for it or there."""
        env = self._env
        for name in ("VIRTUAL_ENV", "PYTHONHOME"):
            env.pop(name, None)
        if self._wanted.packages is not None:
            python = self._built()
            env["VIRTUAL_ENV"] = os.path.dirname(os.path.dirname(python))
        else:
            python = _found(self._wanted.python or sys.executable, env)
        env["PATH"] = _in_front(os.path.dirname(python), env.get("PATH"))
        env["PYTHONPATH"] = self._carried(env.get("PYTHONPATH"), self._copy())
        looking = {k: v for k, v in env.items() if k != "MLOG_RUN"}
        found = _look([python, "-c", _LOOK], looking, f"{python} does not run")
        return Prepared(
            self._line(python), env, self._notes(found), _facts(found or {})
        )

    def in_container(self, container: Container) -> Prepared:
        """Return how it is started in a container."""
        if container.memory is None and self._order.memory is not None:
            container = replace(container, memory=f"{self._order.memory}b")
        engine = find_engine(container.engine, os.environ)
        engine.need(container.image, self._log)
        copy = self._copy()
        further = map(Path, filter(os.path.exists, container.folders))
        mounts = folders(self._root, self._cwd, *further)
        fixed = Mount(str(copy), is_fixed=True)
        variables = self._variables(copy, [*mounts, fixed])
        name = f"mlog-{self._order.run_id[:40]}-{os.urandom(3).hex()}"
        python = self._wanted.python or "python"

        start = functools.partial(
            engine.command, container, name=name, run_id=self._order.run_id
        )
        looking = {k: v for k, v in variables.items() if k != "MLOG_RUN"}
        # The copy can be written here, so that Python keeps what it has compiled.
        command = start(
            [python, "-c", _LOOK], cwd="/", mounts=mounts, variables=looking
        )
        failing = f"{python} does not run in a container of {container.image}"
        found: dict[str, Any] | None = None
        try:
            found = _look(command, engine.env_of(looking), failing)
        except _NoPythonError as exc:
            if self._is_script or exc.code == _OF_ENGINE:
                raise
        finally:  # of a client that was killed it may still be there
            engine.remove(name)
        self._log.check()
        line = start(
            self._line(python),
            cwd=str(self._cwd),
            mounts=[*mounts, fixed],
            variables=variables,
        )
        self._log.line(f"$ {shlex.join(line)}")
        return Prepared(
            line,
            engine.env_of(variables),
            self._notes(found),
            _facts(found or {}),
            end_in_container,
            lambda: engine.remove(name),
            in_container=True,
        )

    def _built(self) -> str:
        access = self._folder.access
        return build(self._wanted, self._root, access, self._log, self._env)

    def _copy(self) -> Path:
        return carry(self._root, self._folder.access)

    @property
    def _is_script(self) -> bool:
        return self._order.definition.get("script") is not None

    def _line(self, python: str) -> list[str]:
        """Return the command line with the Python that was found."""
        line = self._order.line
        return [python, *line[1:]] if self._is_script else line

    def _carried(self, path: str | None, copy: Path) -> str:
        """Return a PYTHONPATH that leads to the copy wherever it led to mlog."""
        parts = (path or "").split(os.pathsep)
        return os.pathsep.join(carried_path(part, copy) for part in parts if part)

    def _variables(self, copy: Path, mounts: Sequence[Mount]) -> dict[str, str]:
        """Return the environment of a container: mlog's own and what was asked for."""
        own = {k: v for k, v in self._env.items() if k.startswith(("MLOG_", "_MLOG_"))}
        own |= {"HOME": _HOME, "PYTHONUNBUFFERED": self._env["PYTHONUNBUFFERED"]}
        path = self._carried(self._env.get("PYTHONPATH"), copy)
        there = [mount.path for mount in mounts]
        parts = [p for p in path.split(os.pathsep) if _is_below(p, there)]
        variables = {**own, **self._order.variables}
        return {**variables, "PYTHONPATH": os.pathsep.join(parts)}

    def _notes(self, found: Mapping[str, Any] | None) -> tuple[str, ...]:
        """Return why there are no metrics, where that is so."""
        why = "there is no Python" if found is None else found.get("why")
        if not why:
            return ()
        return (f"only what the script prints is recorded, no metrics: {why}",)


def _is_this(wanted: Environment) -> bool:
    """Whether a script runs in the interpreter of this very process."""
    if wanted.container is not None or wanted.packages is not None:
        return False
    return wanted.python in (None, sys.executable)


def _in_front(first: str, path: str | None) -> str:
    """Return a PATH that begins with a folder."""
    parts = [part for part in (path or "").split(os.pathsep) if part]
    return os.pathsep.join([first, *parts[parts[:1] == [first] :]])


def _found(python: str, env: Mapping[str, str]) -> str:
    """Return the path of an interpreter."""
    path = shutil.which(python, path=env.get("PATH"))
    if path is not None:
        return os.path.abspath(path)
    if os.sep in python:
        raise MlogError(f"there is no interpreter {python}")
    raise MlogError(
        f"there is no environment {python!r}; expected the path of an interpreter, a "
        "requirements.txt, a conda environment.yml, or docker:IMAGE"
    )


class _NoPythonError(MlogError):
    """A Python does not say what it is.

    Attributes:
        code: Exit code of what was started. None: it could not be, or did not end.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def _look(
    command: Sequence[str], env: Mapping[str, str], failing: str
) -> dict[str, Any]:
    """Return what a Python says of itself.

    Raises:
        _NoPythonError: It does not; `failing` and why are the message.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",  # nothing there has the name of a module
            env=env,
            timeout=_TIMEOUT,
            check=False,
        )
        _, mark, said = done.stdout.rpartition(_MARK.encode())
        if mark:
            return dict(orjson.loads(said))
    except (OSError, ValueError) as exc:
        raise _NoPythonError(f"{failing}: {exc}") from exc
    except subprocess.TimeoutExpired:
        text = f"{failing}: it has not answered for {_TIMEOUT} s"
        raise _NoPythonError(text) from None
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    # A client says what is wrong first, and then how to be helped.
    which = 0 if done.returncode in (_OF_ENGINE, _OF_SHIM) else -1
    why = lines[which].strip() if lines else f"exit code {done.returncode}"
    raise _NoPythonError(f"{failing}: {why}", done.returncode)


def _facts(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `run.environment` says of another Python."""
    if not found:
        return None
    matches = filter(None, map(_INFO.fullmatch, found.get("names") or ()))
    pairs = [(re.sub(r"[-_.]+", "-", m[1]).lower(), m[2]) for m in matches]
    facts = {key: found.get(key) for key in ("python", "executable")}
    return {**facts, "packages": dict(sorted(dict(reversed(pairs)).items()))}


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)
