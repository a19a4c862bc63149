"""What git knows of the code a run was started with.

Commit, branch and remote are read from git's own files: no process is started and no
code of the repository's owner is run. Whether tracked files were changed only git
itself can tell; `DirtyCheck` asks it in the background.

Whoever starts git here sees to it that git asks nobody, locks nothing, fetches nothing
and runs neither hooks nor a file system monitor nor a diff program.

Source: gitrepository-layout(5), git-config(1), gitrevisions(7).

| variable | meaning | default | precedence |
|---|---|---|---|
| `GIT_DIR` | the repository, as for git itself | unset | before any `.git` upward |
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

__all__ = ["DirtyCheck", "git_diff", "git_facts", "without_credentials"]

_MAX_FILE = 64 << 20
_MAX_LINKS = 5  # as many as git follows from one symbolic ref to the next
_WITH_REFTABLE = "refs/heads/.invalid"  # stands in HEAD where refs are in tables
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SECTION = re.compile(
    r"""\s*\[\s*(?P<name>[A-Za-z0-9.-]+)\s*(?:"(?P<sub>(?:[^"\\]|\\.)*)")?\s*\]"""
)
_KEY = re.compile(r"\s*(?P<key>[A-Za-z][A-Za-z0-9-]*)\s*=(?P<value>.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b"}
_URL = re.compile(
    r"(?P<scheme>(?:[A-Za-z0-9]+::)?[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>[^/?#]*)(?P<path>[^?#]*)"
)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::[0-9]*)?")


# --- facts from files --------------------------------------------------------------


def git_facts(
    cwd: str | os.PathLike[str], env: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return commit, branch and remote of the repository that a folder lies in.

    Takes well below a millisecond and never raises. The rare repository that keeps its
    refs in tables (reftable) is asked by one short `git rev-parse`.

    Args:
        cwd: Any folder of the working tree.
        env: Where `GIT_DIR` is looked up. None: the process's environment.

    Returns:
        `commit`: the full name of the commit that is checked out; `branch`: absent for
        a detached head; `remote`: the URL that the branch, else `origin`, fetches
        from, without credentials. What is not known is absent; {} outside of git.
    """
    try:
        given = os.environ if env is None else env
        repository = _find(os.path.abspath(cwd), given)
        return {} if repository is None else _facts(repository, os.fspath(cwd))
    except (OSError, ValueError):  # unreadable, or a name that no path can have
        return {}


class _Repository:
    """Where git's files are: of this working tree, and of all that share them."""

    __slots__ = ("common", "own")

    def __init__(self, own: str, common: str) -> None:
        self.own = own
        self.common = common


def _find(cwd: str, env: Mapping[str, str]) -> _Repository | None:
    given = env.get("GIT_DIR")
    if given:
        return _repository(os.path.join(cwd, given))
    folder = cwd
    while True:
        place = os.path.join(folder, ".git")
        link = _gitdir_in(place)
        if link is not None:  # of a worktree or a submodule; git looks no further
            return _repository(os.path.join(folder, link))
        found = _repository(place)
        above = os.path.dirname(folder)
        if found is not None or above == folder:
            return found
        folder = above


def _gitdir_in(place: str) -> str | None:
    """Return the folder that a file named `.git` points to; None if it is none."""
    text = _read(place)
    if text is None or not text.startswith("gitdir:"):
        return None
    return text.removeprefix("gitdir:").strip()


def _repository(folder: str) -> _Repository | None:
    """Return the repository in a folder; None where git would not see one."""
    if _head(folder) is None:
        return None
    common = _read(os.path.join(folder, "commondir"))
    shared = os.path.join(folder, common.strip()) if common is not None else folder
    return _Repository(folder, shared)


def _facts(repository: _Repository, cwd: str) -> dict[str, str]:
    head = _head(repository.own) or ""
    if head == f"ref: {_WITH_REFTABLE}":
        commit, name = _ask_for_head(cwd)
    else:
        commit, name = _follow(repository, head)
    branch = name.removeprefix("refs/heads/")
    remote = without_credentials(_remote(repository.common, branch))
    facts = {"commit": commit, "branch": branch, "remote": remote}
    return {key: value for key, value in facts.items() if value}


def _head(folder: str) -> str | None:
    """Return what HEAD says; None where that is nothing git would accept."""
    text = (_read(os.path.join(folder, "HEAD")) or "").strip()
    target = text.removeprefix("ref:").strip()
    is_ref = text.startswith("ref:") and target.startswith("refs/")
    return text if is_ref or _OBJECT.fullmatch(text) else None


def _follow(repository: _Repository, said: str) -> tuple[str, str]:
    """Follow what HEAD says to a commit and the ref that holds it; "" for none."""
    name = ""
    for _ in range(_MAX_LINKS):
        if not said.startswith("ref:"):
            break
        name = said.removeprefix("ref:").strip()
        if ".." in name or not name.startswith("refs/"):
            return "", ""
        loose = _read(os.path.join(repository.common, name))
        said = loose.strip() if loose else _packed(repository.common, name)
    return said if _OBJECT.fullmatch(said) else "", name


def _packed(common: str, name: str) -> str:
    """Return what `packed-refs` says of a ref; "" if nothing."""
    packed = "\n" + (_read(os.path.join(common, "packed-refs")) or "")
    end = packed.find(f" {name}\n")
    return packed[packed.rfind("\n", 0, end) + 1 : end] if end >= 0 else ""


def _read(path: str) -> str | None:
    """Return the text of a regular file; None for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        fd = os.open(path, flags)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(_MAX_FILE).decode("utf-8", "replace")
    except OSError:
        return None
    finally:
        os.close(fd)


# --- the remote ----------------------------------------------------------------------


def _remote(common: str, branch: str) -> str:
    """Return the URL that a branch fetches from; "" if no remote is set up."""
    urls: dict[str, str] = {}
    upstream = ""
    for section, name, key, value in _settings(os.path.join(common, "config")):
        if (section, key) == ("remote", "url"):
            urls.setdefault(name, _unquoted(value))
        elif (section, name, key) == ("branch", branch, "remote"):
            upstream = _unquoted(value)
    only = next(iter(urls.values())) if len(urls) == 1 else ""
    return urls.get(upstream) or urls.get("origin") or only


def _settings(path: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield section, its name, key and raw value of each line of a config file."""
    section = name = ""
    text = (_read(path) or "").replace("\r\n", "\n").replace("\\\n", "")
    for line in text.split("\n"):
        head = _SECTION.match(line)
        if head is not None:
            section = head["name"].lower()
            name = re.sub(r"\\(.)", r"\1", head["sub"] or "")
            line = line[head.end() :]
        setting = _KEY.match(line)
        if setting is not None:
            yield section, name, setting["key"].lower(), setting["value"]


def _unquoted(value: str) -> str:
    """Return what a raw value means: without quotes, escapes and comments."""
    if not any(char in value for char in '"\\#;'):
        return value.strip()
    found: list[str] = []
    kept = 0  # trailing blanks count only in quotes
    quoted = False
    chars = iter(value.lstrip())
    for char in chars:
        if char == '"':
            quoted = not quoted
            kept = len(found)
            continue
        if char in "#;" and not quoted:
            break
        if char == "\\":
            escaped = next(chars, "")
            char = _ESCAPES.get(escaped, escaped)
        found.append(char)
        if quoted or not char.isspace():
            kept = len(found)
    return "".join(found[:kept])


def without_credentials(url: str) -> str:
    """Return the URL of a remote without user, password and query.

    The user of an SSH remote is kept: it is the same for everybody. A URL whose host
    cannot be told from a password gives "".
    """
    match = _URL.match(url)
    if match is None:  # `git@host:path`, or a folder
        return re.sub(r"\A([^/@:]{2,}):[^/@]*@", r"\1@", url)
    scheme, path = match["scheme"], match["path"]
    user, at, host = match["host"].rpartition("@")
    # A password may hold a slash: then `user:12/34@host` looks like a port and a path.
    may_leak = not at and ":" in host and "@" in path
    if may_leak or _HOST.fullmatch(host) is None:
        return ""
    if "ssh" in scheme.lower() and at:
        host = f"{user.partition(':')[0]}@{host}"
    return f"{scheme}://{host}{path}"


# --- asking git ----------------------------------------------------------------------

_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
}
_HARMLESS = (
    "--no-pager",
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "diff.relative=false",
    "-c",
    "diff.autoRefreshIndex=false",  # else `git diff` writes the index
)
_DIFF = (
    "diff",
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
)
# Of a file that was written again as it had been, there is no more than this line.
_UNCHANGED = re.compile(r"^diff --git .*\n(?=diff --git |\Z)", re.MULTILINE)


def _start(
    cwd: str, *arguments: str, output: IO[bytes] | None = None
) -> "subprocess.Popen[bytes] | None":
    """Start git; None where there is none, or it cannot be started.

    What it says goes to `output`, else to a pipe.
    """
    import subprocess

    env = {**os.environ, **_QUIET}
    program = _program(env.get("PATH", os.defpath))
    if program is None:
        return None
    try:
        return subprocess.Popen(
            [program, *_HARMLESS, *arguments],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, ValueError):
        return None


def _program(path: str) -> str | None:
    """Find git in the absolute folders of `PATH`.

    A relative one, or the current folder as on Windows, could be the repository's.
    """
    name = "git.exe" if os.name == "nt" else "git"
    for folder in path.split(os.pathsep):
        program = os.path.join(folder, name)
        if os.path.isabs(folder) and os.access(program, os.X_OK):
            return program
    return None


def _end(process: "subprocess.Popen[bytes]", timeout: float) -> None:
    """Wait for a process, kill it if it takes longer, and leave nothing behind."""
    import subprocess

    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:  # stuck in the kernel, on a dead disk
            process.returncode = -9


class DirtyCheck:
    """Finds out, beside the program, whether tracked files differ from the commit.

    Staged and unstaged changes count; untracked files do not. The answer stays None
    where git cannot say: no git, no repository or no commit, or a repository of
    another user (git's "dubious ownership"). Never raises. Used by one thread at a
    time; ended by `finish`. A forked child learns nothing from it.
    """

    # `git diff --quiet` would do with its exit code, but it writes the index; and what
    # a program does with SIGCHLD or `os.wait` can make an exit code be lost.
    _STATUS = (
        "status",
        "--porcelain=v2",
        "--branch",
        "--no-ahead-behind",
        "--no-renames",
        "--untracked-files=no",
        "--ignore-submodules=untracked",
    )

    def __init__(self, cwd: str | os.PathLike[str]) -> None:
        """Start git in a folder of the working tree and go on at once."""
        self._answer: bool | None = None
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            import tempfile

            self._output = tempfile.TemporaryFile()  # unlike a pipe it is never full
        except OSError:
            return
        self._process = _start(os.fspath(cwd), *self._STATUS, output=self._output)
        if self._process is None:
            self._output.close()

    @property
    def is_running(self) -> bool:
        """Whether git has not answered yet, as far as `poll` has looked."""
        return self._process is not None

    def poll(self) -> bool | None:
        """Return whether there are changes if that is known by now; does not wait."""
        process = self._process
        if process is None or self._pid != os.getpid():
            return self._answer
        code = process.poll()
        if code is not None:
            self._process = None
            with self._output as output:
                output.seek(0)
                said = output.read(10_000)
            self._answer = _has_changes(said) if code == 0 else None
        return self._answer

    def finish(self, timeout: float = 5.0) -> bool | None:
        """Return whether there are changes, after waiting `timeout` seconds at most.

        Git is ended then, whether it has answered or not. A second call does nothing.
        """
        if self._process is not None and self._pid == os.getpid():
            _end(self._process, timeout)
        return self.poll()

    def __del__(self) -> None:
        """End git where nobody waited for it."""
        try:
            self.finish(0)
        except Exception:  # the interpreter is being taken apart
            return


def _has_changes(said: bytes) -> bool | None:
    """Read the beginning of a `git status --porcelain=v2 --branch`."""
    lines = said.split(b"\n")
    if not lines[0].startswith(b"# branch.oid ") or lines[0].endswith(b"(initial)"):
        return None
    return any(line and not line.startswith(b"# ") for line in lines)


def git_diff(
    cwd: str | os.PathLike[str], max_bytes: int = 1 << 20, *, timeout: float = 30.0
) -> str | None:
    """Return the changes of tracked files since the commit as a patch of the whole tree.

    May hold secrets: whoever writes it redacts it first. Never raises.

    Args:
        cwd: Any folder of the working tree.
        max_bytes: Bytes of the patch kept; a last line tells if there were more.
        timeout: Seconds after which git is ended.

    Returns:
        The patch, "" without changes, None where git cannot say; see `DirtyCheck`.
    """
    said = _ask(os.fspath(cwd), (*_DIFF, "HEAD", "--"), max_bytes, timeout)
    if said is None:
        return None
    text = _UNCHANGED.sub("", said[:max_bytes].decode("utf-8", "replace"))
    return f"{text}\n… cut after {max_bytes} bytes\n" if len(said) > max_bytes else text


def _ask_for_head(cwd: str) -> tuple[str, str]:
    """Return commit and full name of the branch; "" for what git does not tell."""
    arguments = ("rev-parse", "HEAD", "--symbolic-full-name", "HEAD")
    said = (_ask(cwd, arguments, 10_000, 2.0) or b"").decode("utf-8", "replace")
    commit, _, name = said.strip().partition("\n")
    if _OBJECT.fullmatch(commit) is None:
        return "", ""
    return commit, name if name.startswith("refs/") else ""


def _ask(
    cwd: str, arguments: tuple[str, ...], max_bytes: int, timeout: float
) -> bytes | None:
    """Return the first `max_bytes + 1` bytes git prints; None where it failed."""
    import threading

    process = _start(cwd, *arguments)
    if process is None or process.stdout is None:
        return None
    watch = threading.Timer(timeout, process.kill)
    watch.daemon = True
    watch.start()
    try:
        with process.stdout as output:
            said = output.read(max_bytes + 1)
        if len(said) > max_bytes:
            process.kill()
        _end(process, 1.0)
    finally:
        watch.cancel()
        watch.join()
    return said if process.returncode == 0 or len(said) > max_bytes else None
