"""Where the bearer token of a sink comes from: environment, file, command or function.

Whatever gives it is asked for each request, so that a new token counts at once; only a
command is not run more often than every 25 s.
"""

import importlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from mlog.errors import MlogError

__all__ = ["PARAMETERS", "Token", "token_of"]

Token: TypeAlias = Callable[[], str | None]
"""Gives a bearer token, None for none; raises MlogError where it cannot be had."""

PARAMETERS = ("token_file", "token_command", "token_call", "token_env")
"""Parameters of a sink's URL that say where its token comes from; the first counts."""

_MAX_TOKEN = 1 << 16
_FRESH = 25.0  # less than a sink waits after a 401: the next request has a new token
_PATIENCE = 60.0


def token_of(
    own: Mapping[str, str],
    env: Mapping[str, str],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Token:
    """Return what gives the token of a sink.

    Args:
        own: Those of `PARAMETERS` that the URL has.
        env: Environment variables.
        clock: Gives seconds that only grow.

    Raises:
        MlogError: What stands there is no command or function.
    """
    if "token_file" in own:
        path = Path(own["token_file"])
        return lambda: _read(path)
    if "token_command" in own:
        return _Command(own["token_command"], clock)
    if "token_call" in own:
        return _function(own["token_call"])
    name = own.get("token_env", "MLOG_REMOTE_TOKEN")
    command = env.get("MLOG_REMOTE_TOKEN_COMMAND")
    if command and "token_env" not in own and not env.get(name):
        return _Command(command, clock)
    return lambda: env.get(name) or None


def _read(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            return _text(file.read(_MAX_TOKEN))
    except OSError as exc:
        raise MlogError(f"token_file {os.fspath(path)}: {exc.strerror}") from exc


def _text(content: bytes) -> str | None:
    return content.decode("ascii", "replace").strip() or None


class _Command:
    """Runs a program without a shell; the token is what it writes."""

    def __init__(self, text: str, clock: Callable[[], float]) -> None:
        try:
            self._words = shlex.split(text)
        except ValueError as exc:
            raise MlogError(f"token_command is no command: {exc}") from exc
        if not self._words:
            raise MlogError("token_command must name a program, got nothing")
        self._clock = clock
        self._known: tuple[str, float] | None = None

    def __call__(self) -> str:
        now = self._clock()
        if self._known is None or now - self._known[1] >= _FRESH:
            self._known = (self._run(), now)
        return self._known[0]

    def _run(self) -> str:
        """Return what the program says; of an error nothing that it wrote is shown."""
        what = f"token_command {self._words[0]}"
        try:
            done = subprocess.run(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise MlogError(f"{what} took more than {_PATIENCE:.0f} s") from exc
        except OSError as exc:
            raise MlogError(f"{what}: {exc.strerror}") from exc
        if done.returncode != 0:
            raise MlogError(f"{what} failed with exit code {done.returncode}")
        token = _text(done.stdout[:_MAX_TOKEN])
        if token is None:
            raise MlogError(f"{what} wrote no token to its standard output")
        return token


def _function(text: str) -> Token:
    """Return the function that `package.module:name` names; imported when asked."""
    module, colon, name = text.partition(":")
    if not (module and colon and name.isidentifier()):
        raise MlogError(
            f"token_call must be like package.module:function, got {text[:80]!r}"
        )

    def call() -> str | None:
        try:
            token = getattr(importlib.import_module(module), name)()
        except Exception as exc:  # its message may show the token
            raise MlogError(f"token_call {text}: {type(exc).__name__}") from exc
        if token is not None and not isinstance(token, str):
            raise MlogError(
                f"token_call {text} must return a str, got {type(token).__name__}"
            )
        return token

    return call
