"""Virtual environments below the root, built once for all runs that want the same.

    <root>/.cache/environments/<hash>/        the environment, where it was built
    <root>/.cache/environments/<hash>/.mlog   says what it is; put there last
    <root>/.cache/environments/<hash>.lock    held by whoever builds it

Invariants:

- The hash covers the interpreter, the lines for pip, and the local files they name.
- An environment without its `.mlog` is none: whoever gets the lock removes it first.
- The lock is also held by what the builder has started, pip for example: if the builder
  is killed, nobody builds in the same place before they have ended.
- The lock file stays, so that two processes never hold two of one name.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from mlog.errors import MlogError
from mlog.folder import Access, Folder, OpenFile
from mlog.launch.build_log import BuildLog
from mlog.launch.environments import Environment
from mlog.launch.interpreters import (
    Interpreter,
    clean_env,
    find_python,
    look_at,
    running,
)
from mlog.launch.pip_settings import has_settings, uv_understands
from mlog.launch.requirements import local_files
from mlog.run.launched import BUILD_LOG

__all__ = ["build"]

_FOLDER = (".cache", "environments")
_READY = ".mlog"
_FORM = 1
_PAUSE = 0.1
_LAST = 8
_INSTALLER = "MLOG_INSTALLER"
_OLDEST_OF_UV = (3, 8)


def build(
    wanted: Environment,
    root: Path,
    access: Access,
    log: BuildLog,
    env: Mapping[str, str],
) -> str:
    """Return the Python of a virtual environment, which is built if it is not there.

    Args:
        wanted: Has `packages`.
        root: Folder of all runs.
        access: Mode bits of what is made there.
        log: Takes what is said.
        env: Environment of the supervisor.

    Raises:
        MlogError: It cannot be built; the message says why.
        Cancelled: The run was cancelled meanwhile.
        OSError: The cache cannot be written to.
    """
    base = _base(wanted, env, log)
    lines = wanted.packages or ()
    name = _name(base, lines)
    cache = Folder.open_below(root, _FOLDER, access)
    place = cache.path / name
    python = place / "bin" / "python"
    if _is_ready(cache, name):
        log.line(f"environment {name} is there already")
        return str(python)
    lock = cache.reopen(f"{name}.lock")
    _take(lock, log)
    if _is_ready(cache, name):
        log.line(f"environment {name} is there now")
        return str(python)
    _remove(place)
    log.line(f"building environment {name} with Python {base.version}: {wanted.text}")
    started = time.monotonic()
    try:
        folder = cache.child(name)
        _Builder(wanted, base, place, log, clean_env(env), lock.fd).build()
        told = {"python": base.version, "base": base.path, "packages": len(lines)}
        folder.replace(_READY, json.dumps(told).encode() + b"\n")
    except BaseException:
        _remove(place)
        raise
    log.line(f"built in {time.monotonic() - started:.1f} s: {place}")
    return str(python)


class _Builder:
    """Builds one environment in its place."""

    def __init__(
        self,
        wanted: Environment,
        base: Interpreter,
        place: Path,
        log: BuildLog,
        env: Mapping[str, str],
        lock: int,
    ) -> None:
        self._wanted = wanted
        self._base = base
        self._place = place
        self._log = log
        self._env = {**env, **_QUIET}
        self._lock = lock

    def build(self) -> None:
        """Make the environment and install the packages."""
        lines = self._wanted.packages or ()
        python = str(self._place / "bin" / "python")
        uv = self._uv(lines)
        if uv is not None:
            # The folder is there, with its mode, and empty.
            make = [uv, "venv", "--allow-existing", "--python", self._base.path]
            install = [uv, "pip", "install", "--python", python, "-r", "-"]
            self._run([*make, str(self._place)], "")
        else:
            self._run([self._base.path, "-m", "venv", str(self._place)], "")
            install = [python, "-m", "pip", "install", "-r", "/dev/stdin"]
        if any(not line.startswith("-") or _installs(line) for line in lines):
            self._run(install, "".join(f"{line}\n" for line in lines))

    def _uv(self, lines: tuple[str, ...]) -> str | None:
        """Return the path of uv; None where pip is to be used."""
        chosen = self._env.get(_INSTALLER, "")
        if chosen not in ("", "uv", "pip"):
            raise MlogError(f"{_INSTALLER} must be uv or pip, got {chosen!r}")
        if chosen == "pip" or (not chosen and not self._suits_uv(lines)):
            return None
        uv = shutil.which("uv", path=self._env.get("PATH"))
        if uv is not None and self._starts(uv):
            return uv
        if chosen == "uv":
            raise MlogError(f"{_INSTALLER}=uv, and there is no uv on PATH")
        return None

    def _suits_uv(self, lines: tuple[str, ...]) -> bool:
        """Whether uv would do what pip does; it is several times as fast."""
        numbers = tuple(int(part) for part in self._base.version.split(".")[:2])
        is_known = numbers >= _OLDEST_OF_UV and uv_understands(lines)
        return is_known and not has_settings(self._env)

    def _starts(self, uv: str) -> bool:
        """Whether what `PATH` calls uv works; pyenv has a stand-in of that name."""
        return self._log.run([uv, "--version"], env=self._env) == 0

    def _run(self, command: list[str], given: str) -> None:
        self._log.line("$ " + " ".join(command))
        code = self._log.run(
            command,
            env=self._env,
            cwd=self._wanted.folder if os.path.isdir(self._wanted.folder) else "/",
            given=given,
            keeps=[self._lock],
        )
        if code != 0:
            raise MlogError(self._failure(code))

    def _failure(self, code: int) -> str:
        """Return why something cannot be installed: the last line first, then more."""
        last = [line for line in self._log.last if line.strip()][-_LAST:]
        what = self._wanted.source or "the environment"
        if not last:
            return f"{what} cannot be installed: exit code {code}"
        # uv draws a tree, and breaks long lines: the last reason begins at its arrow.
        arrow = max((i for i, line in enumerate(last) if "▶" in line), default=-1)
        why = " ".join(line.strip(" ╰─▶×") for line in last[arrow:])
        why = why.removeprefix("ERROR: ").removeprefix("error: ")
        return "\n".join(
            [
                f"{what} cannot be installed: {why}",
                f"(exit code {code}; the end of {BUILD_LOG}:)",
                *last,
            ]
        )


_QUIET = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8",
    "NO_COLOR": "1",
    "UV_NO_PROGRESS": "1",
}


def _base(wanted: Environment, env: Mapping[str, str], log: BuildLog) -> Interpreter:
    """Return the interpreter that an environment is made of."""
    if wanted.python is not None:
        path = shutil.which(wanted.python, path=env.get("PATH"))
        found = look_at(path, env) if path else None
        if found is None:
            raise MlogError(f"there is no Python {wanted.python}")
        return found
    if wanted.python_version is None:
        return running()
    found, remark = find_python(wanted.python_version, env)
    if remark:
        log.remark(remark)
    return found


def _name(base: Interpreter, lines: tuple[str, ...]) -> str:
    """Return the hash that names an environment."""
    what = [_FORM, os.path.realpath(base.path), base.version, lines, local_files(lines)]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _installs(line: str) -> bool:
    return line.startswith(("-e", "--editable", "-r", "--requirement"))


def _is_ready(cache: Folder, name: str) -> bool:
    """Whether an environment is whole, and its interpreter still there."""
    try:
        folder = cache.child(name, create=False)
    except FileNotFoundError:
        return False
    is_whole = folder.size(_READY) > 0
    return is_whole and (folder.path / "bin" / "python").exists()


def _take(lock: OpenFile, log: BuildLog) -> None:
    """Wait for a lock, which goes when the process and all it starts have ended."""
    import fcntl  # only here: there is none on Windows

    is_told = False
    while True:
        try:
            fcntl.flock(lock.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_told:
                log.line("another process is building this environment; waiting for it")
                is_told = True
            log.check()
            time.sleep(_PAUSE)
        else:
            return


def _remove(place: Path) -> None:
    """Remove what is left of an environment, the mark that it is whole first."""
    (place / _READY).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
