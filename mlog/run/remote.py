"""The shippers of a run: started with it, told of its end, waited for a little.

A shipper is a process of its own, `python -m mlog ship`, which reads the run's files.
So the program that is recorded never waits for the network, and does not even load
what would talk to it. Address and credentials go to the shipper by a pipe, never on a
command line; the end of the pipe tells it that the run's process has ended or died.

On a host a shipper outlives its run's process, until all is sent or an hour of trying
was in vain. In a container, a batch job or a namespace of process ids it dies with it;
so there the end of the run waits longer. Whatever is left is sent by the shipper of the
next run on the root with the same remote, or by `mlog ship`.

| variable | meaning | default |
|---|---|---|
| `MLOG_REMOTE` | URLs of sinks, with blanks between them | none |
"""

import contextlib
import json
import os
import re
import sys
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlog.errors import MlogError, say, warn_once
from mlog.escaping import inline
from mlog.folder import Folder
from mlog.layout import parse_segment

if TYPE_CHECKING:
    import subprocess
    from urllib.parse import SplitResult

__all__ = [
    "WANTED",
    "Remote",
    "RemoteSpec",
    "chosen_urls",
    "cuts_password",
    "dies_with_process",
    "finish_remotes",
    "shown_url",
    "start_remotes",
    "wants",
]

RemoteSpec: TypeAlias = str | Iterable[str] | bool | None
"""URL of a sink, several, False for none, None for those of `MLOG_REMOTE`."""

WANTED = "wanted"
"""File in `.ship` with the addresses that a run is to be sent to, without credentials.

So that it is sent by the next shipper also if its own one died before it had begun.
"""

_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of Linux
_SHORT, _LONG = 5.0, 60.0
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//.*|(\?.*)?)", re.DOTALL)
"""`scheme://…`, or a scheme alone where the environment says the rest: `otlp:`."""

_EXPECTED = "a URL like https://host/path, mlflow+https://host or file:///folder"

_OPEN = {
    *("level", "streams", "name", "token_file", "token_env", "token_call"),
    *("check", "coding", "create", "experiment", "metrics", "prefix", "rank"),
}
"""Parameters that are shown: settings, and where a secret is. Any other may be one."""

_MAX_CURSOR = 16 << 20
_MAX_SHOWN = 200


def chosen_urls(
    remote: RemoteSpec, outer: Iterable[str], env: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the URLs that a run is sent to.

    Args:
        remote: What the caller says.
        outer: The remotes of the run that it is a child of.
        env: Environment variables.

    Raises:
        TypeError: `remote` is none.
        ValueError: A URL of the caller's has no scheme. One of the environment is
            warned about and left out: the run is worth more.
    """
    if remote is None:
        urls = tuple(outer) or _urls_of(env)
    elif isinstance(remote, bool):
        urls = chosen_urls(None, outer, env) if remote else ()
    elif isinstance(remote, str):
        urls = (remote,)
    else:
        urls = tuple(remote)
    for url in urls:
        if not isinstance(url, str):
            raise TypeError(
                f"remote must be a URL or several, got {type(url).__name__}"
            )
        if not _ADDRESS.fullmatch(url):
            raise ValueError(f"remote must be {_EXPECTED}, got {shown_url(url)!r}")
    return tuple(dict.fromkeys(urls))


def _urls_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the URLs of the environment, as far as they are some."""
    urls = []
    for url in env.get("MLOG_REMOTE", "").split():
        if _ADDRESS.fullmatch(url):
            urls.append(url)
        else:
            text = f"MLOG_REMOTE must be {_EXPECTED}, got {shown_url(url)!r}"
            warn_once("MLOG_REMOTE", f"{text}; it is left out")
    return tuple(urls)


def start_remotes(
    folder: Folder, urls: Iterable[str], flush_timeout: float | None
) -> "list[Remote]":
    """Start a shipper for each URL; what goes wrong is warned about, never raised.

    Args:
        folder: The run's.
        urls: From `chosen_urls`.
        flush_timeout: Seconds that the end of the run waits. None: 60 where the
            shipper dies with this process, else 5.
    """
    if flush_timeout is None:
        flush_timeout = _LONG if dies_with_process(os.environ) else _SHORT
    remotes, path, urls = [], folder.path, list(urls)
    with contextlib.suppress(OSError, MlogError):
        wanted = json.dumps([shown_url(url) for url in urls])
        folder.child(".ship").replace(WANTED, wanted.encode())
    for url in urls:
        try:
            remotes.append(Remote(path, url, flush_timeout))
        except Exception as exc:  # no process, no memory: the run is worth more
            warn_once(
                "remote",
                f"no shipper could be started ({exc}); {_later(path, url)}",
            )
    return remotes


def wants(path: Path, url: str) -> bool:
    """Whether a run was to be sent to the address of a URL when it was started."""
    try:
        with open(path / ".ship" / WANTED, "rb") as file:
            found = json.loads(file.read(_MAX_CURSOR))
    except (OSError, ValueError):
        return False
    shown = shown_url(url)
    return isinstance(found, list) and shown != "…" and shown in found


def dies_with_process(env: Mapping[str, str]) -> bool:
    """Whether what this process starts is ended with it: by a container or a job."""
    if any(env.get(name) for name in _JOBS):
        return True
    try:
        return os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE
    except OSError:  # not Linux, or no /proc
        return False


class Remote:
    """A shipper of one run to one sink.

    Attributes:
        url: Where to, with credentials if it has them.
    """

    def __init__(self, path: Path, url: str, flush_timeout: float) -> None:
        """Start the process.

        Raises:
            OSError: It cannot be started.
        """
        self.url = url
        self._path = path
        self._timeout = flush_timeout
        self._process: subprocess.Popen[bytes] | None = _start()
        order = json.dumps({"run": str(path), "url": url}) + "\n"
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it died at once; told at the end
            self._process.stdin.write(order.encode())
            self._process.stdin.flush()
        _remotes.add(self)

    def __repr__(self) -> str:
        """Show where to, without credentials."""
        return f"<Remote {shown_url(self.url)}>"

    def announce_end(self) -> None:
        """Tell the shipper that nothing more comes; a second call does nothing."""
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()

    def finish(self, deadline: float) -> None:
        """Wait for the shipper, and say what is left; never raises an Exception.

        Args:
            deadline: Monotonic time after which nobody waits any more.
        """
        process, self._process = self._process, None
        if process is None:
            return
        _remotes.discard(self)
        code = _wait(process, deadline - time.monotonic())
        name, error = _output_of(process, code)
        if code is None:
            process.returncode = 0  # it is on its own now; nobody has to wait for it
            self._tell_left(name)
        elif code != 0:
            killed = f"its shipper was killed by signal {-code}" if code < 0 else ""
            detail = f" ({error or killed})" if error or killed else ""
            say(f"mlog: run {_short(self._path)} was not sent{detail}; {self._later()}")

    def is_done(self) -> bool:
        """Whether the shipper has sent everything and is gone; then it is let go of."""
        process = self._process
        if process is None or process.poll() != 0:
            return process is None
        self.finish(time.monotonic())
        return True

    @property
    def timeout(self) -> float:
        """Seconds that the end of the run waits."""
        return self._timeout

    def let_go(self) -> None:
        """Forget a process that is the parent's; for a forked child."""
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError, ValueError):
                        stream.close()

    def _tell_left(self, name: str) -> None:
        left, error = _left(self._path, name)
        size = f"{left:,} bytes of " if left else ""
        why = f" ({error})" if error else ""
        if dies_with_process(os.environ):
            then = self._later()
        else:
            then = f"sending goes on in the background, else {self._later()}"
        where = shown_url(self.url)
        say(f"mlog: {size}run {_short(self._path)} not at {where} yet{why}; {then}")

    def _later(self) -> str:
        return _later(self._path, self.url)


_remotes: "weakref.WeakSet[Remote]" = weakref.WeakSet()
_ended: list[Remote] = []
"""Shippers of runs that have ended inside others, not waited for yet."""


def finish_remotes(remotes: "Iterable[Remote]", *, wait: bool) -> None:
    """Tell shippers that their run has ended; wait for them, and say what is left.

    Args:
        remotes: Those of the run.
        wait: Whether to wait at all; else the end of the run around it does.
    """
    remotes = list(remotes)
    for remote in remotes:
        remote.announce_end()
    _ended.extend(remotes)
    _ended[:] = [remote for remote in _ended if not remote.is_done()]
    if not wait:
        return
    waiting, _ended[:] = list(_ended), []
    deadline = time.monotonic() + max((r.timeout for r in waiting), default=0.0)
    for remote in waiting:
        remote.finish(deadline)


def cuts_password(parts: "SplitResult") -> bool:
    """Whether a bare `/`, `?` or `#` in a password seems to have ended the host."""
    behind = f"{parts.path}{parts.query}{parts.fragment}"
    return "@" in behind and ":" in parts.netloc and "@" not in parts.netloc


def shown_url(url: str) -> str:
    """Return a URL without credentials, with known parameters only, safe to show.

    "…" where it is not sure which part is which: a password with a bare `/`, `?` or
    `#` ends the host for everybody who reads URLs.
    """
    from urllib.parse import parse_qsl, urlencode, urlsplit  # only with a remote

    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where that is a part of a password
    except ValueError:
        return "…"
    if not _ADDRESS.fullmatch(url) or cuts_password(parts):
        return "…"
    host = parts.netloc.rpartition("@")[2]
    slashes = "//" if url[len(parts.scheme) :].startswith("://") else ""
    given = parse_qsl(parts.query, keep_blank_values=True)
    query = urlencode([(k, v) for k, v in given if k in _OPEN], safe="/,:")
    text = f"{parts.scheme}:{slashes}{host}{parts.path}{'?' if query else ''}{query}"
    return inline(text)[:_MAX_SHOWN]


def _later(path: Path, url: str) -> str:
    import shlex

    shown = shown_url(url)
    words = ["mlog", "ship", inline(str(path)), "--to", shown]
    secret = ", with what is not shown of its address," if _hides(url, shown) else ""
    return f"`{shlex.join(words)}`{secret} sends the rest"


def _hides(url: str, shown: str) -> bool:
    """Whether parameters are left out of a URL as it is shown, or all of it."""
    return shown == "…" or url.count("&") + url.count("?") > (
        shown.count("&") + shown.count("?")
    )


def _start() -> "subprocess.Popen[bytes]":
    import subprocess  # only here: programs without a remote do not pay for it

    env = {**os.environ, "MLOG_MODE": "off"}
    env.pop("MLOG_RUN", None)
    return subprocess.Popen(
        # -P: what lies in the working directory is nothing to import from.
        [sys.executable, "-P", "-m", "mlog", "ship", "--handed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=os.sep,
        env=env,
        start_new_session=True,  # Ctrl-C in a terminal is for the trainer
    )


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    import subprocess

    try:
        return process.wait(max(seconds, 0.0))
    except subprocess.TimeoutExpired:
        return None
    except KeyboardInterrupt:  # whoever is asked to stop does not wait
        return process.poll()


def _output_of(process: "subprocess.Popen[bytes]", code: int | None) -> tuple[str, str]:
    """Return the name of the sink and the last line of an error; close the pipes."""
    texts = []
    for stream in (process.stdout, process.stderr):
        text = b""
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                os.set_blocking(stream.fileno(), False)
                text = os.read(stream.fileno(), 4096)
            stream.close()
        texts.append(text.decode("utf-8", "replace").strip())
    name, error = texts
    error = error.rpartition("\n")[2].removeprefix("mlog: ")
    return name, inline(error)[:_MAX_SHOWN]


def _left(path: Path, name: str) -> tuple[int, str]:
    """Return how many bytes a cursor says are left, and its last error."""
    try:
        sizes = {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in os.scandir(path)
            if parse_segment(entry.name) is not None
        }
    except OSError:
        return 0, ""
    found: dict[str, object] = {}
    with contextlib.suppress(OSError, ValueError):
        for entry in os.scandir(path / ".ship"):
            if (
                name
                and entry.name.startswith(f"{name}.")
                and entry.name[-5:] == ".json"
            ):
                with open(entry.path, "rb") as file:
                    found = json.loads(file.read(_MAX_CURSOR))
    segments = found.get("segments")
    segments = segments if isinstance(segments, dict) else {}
    left = 0
    for segment, size in sizes.items():
        position = segments.get(segment)
        offset = position.get("offset") if isinstance(position, dict) else 0
        left += max(size - (offset if isinstance(offset, int) else 0), 0)
    return left, inline(str(found.get("error") or ""))[:_MAX_SHOWN]


def _short(path: Path) -> str:
    return inline(path.name[-6:])


def _after_fork_in_child() -> None:
    """The shippers are the parent's, and their pipes must end with it."""
    for remote in list(_remotes):
        remote.let_go()
    _remotes.clear()
    _ended.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
