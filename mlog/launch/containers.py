"""Running a script in a container, by the command line of docker or podman.

- The root is mounted where it lies, so the script writes its run, its child runs and
  models as any other; so is the source folder of a script that runs in place. The copy
  of mlog is mounted for reading only. Nothing else of this machine is there.
- The user is the one of this process, so that files belong to whoever submitted.
- Values of variables reach the container through the environment of the engine's
  client (`--env NAME`): on a command line anybody could read them. Those that the
  client itself would follow (`PATH`) are the exception.
- The container has a name, and is removed by it at the end in any case: a client that
  is killed leaves its container running.

Source: docker, "docker container run"; podman-run(1).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlog.errors import MlogError
from mlog.launch.build_log import BuildLog
from mlog.launch.environments import Container

__all__ = ["Engine", "Mount", "find_engine"]

_CHOICE = "MLOG_CONTAINER_ENGINE"
_ENGINES = ("docker", "podman")
_TIMEOUT = 60
_INFO = {
    "docker": "{{.SecurityOptions}}",
    "podman": "{{.Host.Security.Rootless}}",
}

# What the client itself would follow; none of these is a secret.
_OF_CLIENT = ("PATH", "HOME", "TMPDIR", "LANG", "TERM", "USER", "LOGNAME", "SHELL")
_OF_CLIENT_TOO = ("LD_", "XDG_", "LC_", "GO")
_REFUSED = ("DOCKER_", "CONTAINER_", "CONTAINERS_", "PODMAN_", "BUILDKIT_")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine that a container finds at the same place.

    Attributes:
        path: The folder.
        is_fixed: Whether it can only be read.
    """

    path: str
    is_fixed: bool = False

    @property
    def argument(self) -> str:
        """What `--mount` is told: a line of CSV, so that any name will do."""
        parts = ["type=bind", f"source={self.path}", f"target={self.path}"]
        parts += ["readonly"] if self.is_fixed else []
        return ",".join(map(_field, parts))


@dataclass(frozen=True, slots=True)
class Engine:
    """A client whose engine has answered.

    Attributes:
        path: Of the client.
        kind: "docker" or "podman".
        is_rootless: Whether its root is the user who started it.
        env: Environment the client runs in.
    """

    path: str
    kind: str
    is_rootless: bool
    env: Mapping[str, str]

    def need(self, image: str, log: BuildLog) -> None:
        """Have an image on this machine, pulling it where it is not.

        Raises:
            MlogError: There is no such image, or it cannot be had.
            Cancelled: The run was cancelled meanwhile.
        """
        known = _ask(self.path, "image", "inspect", "--format", "{{.Id}}", image)
        if known.returncode == 0:
            log.line(f"image {image} is {known.stdout.strip()[:80]}")
            return
        log.line(f"$ {self.kind} pull {image}")
        code = log.run([self.path, "pull", image], env=self.env)
        if code != 0:
            said = log.last[-1] if log.last else f"exit code {code}"
            raise MlogError(f"there is no image {image}, nor can it be had: {said}")

    def command(
        self,
        container: Container,
        line: Sequence[str],
        *,
        name: str,
        run_id: str,
        cwd: str,
        mounts: Iterable[Mount],
        variables: Mapping[str, str],
    ) -> list[str]:
        """Return the command line that runs another one in a container.

        The client has to be started in an environment with the variables, see `env_of`.

        Args:
            container: Image and resources.
            line: What is run in it.
            name: Of the container.
            run_id: Of the run; a label, by which what was left is found.
            cwd: Folder it starts in.
            mounts: Folders it finds.
            variables: Its environment, beside that of the image.

        Raises:
            MlogError: A variable would lead the client astray.
        """
        words = [
            self.path,
            "run",
            "--rm",
            "--name",
            name,
            "--label",
            f"mlog.run={run_id}",
        ]
        words += self._identity()
        words += ["--workdir", cwd]
        for mount in mounts:
            words += ["--mount", mount.argument]
        options = {
            "--cpus": None if container.cpus is None else f"{container.cpus:g}",
            "--memory": container.memory,
            "--gpus": container.gpus,
            "--shm-size": container.shm_size,
        }
        for option, value in options.items():
            words += [option, str(value)] if value not in (None, "") else []
        words += container.arguments
        for variable, value in variables.items():
            words += ["--env", _variable(variable, value)]
        return [*words, "--entrypoint", "", container.image, *line]

    def env_of(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the environment to start the client in."""
        told = {k: v for k, v in variables.items() if not _is_of_client(k)}
        return {**self.env, **told}

    def remove(self, name: str) -> None:
        """End and remove a container, where there is one."""
        with contextlib.suppress(MlogError):
            _ask(self.path, "rm", "--force", name)

    def _identity(self) -> list[str]:
        """Return the options by which files belong to the user of this process."""
        if not hasattr(os, "getuid"):
            return []
        if self.kind == "podman":
            keep = ["--userns", "keep-id"] if self.is_rootless else []
            return [*keep, "--user", f"{os.getuid()}:{os.getgid()}"]
        user = "0:0" if self.is_rootless else f"{os.getuid()}:{os.getgid()}"
        # Something has to pass signals on: process 1 takes none that it has no
        # handler for.
        return ["--init", "--user", user]


def find_engine(chosen: str | None, env: Mapping[str, str]) -> Engine:
    """Return the engine to be used, after it has answered.

    Args:
        chosen: Name or path of a client. None: `MLOG_CONTAINER_ENGINE`, else the first
            of docker and podman on `PATH`.
        env: Environment of the supervisor.

    Raises:
        MlogError: There is no client, or no engine answers.
    """
    wanted = chosen or env.get(_CHOICE) or None
    names = (wanted,) if wanted else _ENGINES
    found = [path for n in names if (path := shutil.which(n, path=env.get("PATH")))]
    if not found:
        raise MlogError(
            f"there is no {' and no '.join(names)} on PATH; install one, or leave the "
            f"container out ({_CHOICE} names another client)"
        )
    path = found[0]
    # Distributions with podman call it docker, too, for those who are used to that.
    is_podman = "podman" in _ask(path, "--version").stdout.lower()
    kind = "podman" if is_podman else "docker"
    said = _ask(path, "info", "--format", _INFO[kind])
    if said.returncode != 0:
        why = (said.stderr.strip() or said.stdout.strip()).splitlines()
        raise MlogError(
            f"no container engine answers {kind} ({path}): "
            f"{why[-1] if why else f'exit code {said.returncode}'}"
        )
    text = said.stdout.strip()
    is_rootless = text == "true" if kind == "podman" else "name=rootless" in text
    return Engine(path, kind, is_rootless, dict(env))


def _ask(path: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a client's command that takes a moment.

    Raises:
        MlogError: It cannot be started, or does not end.
    """
    try:
        return subprocess.run(
            [path, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"{path} {words[0]} has not answered for {_TIMEOUT} s"
        raise MlogError(text) from None
    except OSError as exc:
        raise MlogError(f"{path} cannot be started: {exc.strerror}") from exc


def _field(text: str) -> str:
    """Return a field of a line of CSV."""
    if any(mark in text for mark in ',"\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _is_of_client(name: str) -> bool:
    return name in _OF_CLIENT or name.startswith(_OF_CLIENT_TOO)


def _variable(name: str, value: str) -> str:
    """Return what `--env` is told of a variable."""
    if name.startswith(_REFUSED) or not name or "=" in name:
        raise MlogError(
            f"variable {name} cannot be set for a container: its client would follow "
            "it; set it in the image"
        )
    return f"{name}={value}" if _is_of_client(name) else name


def folders(*paths: Path) -> list[Mount]:
    """Return mounts of folders, leaving out those that lie in one before them."""
    found: list[Mount] = []
    for path in paths:
        if not any(path.is_relative_to(mount.path) for mount in found):
            found.append(Mount(str(path)))
    return found
