"""Where files lie: the root, names of folders and segments. Pure: nothing is created.

    <root>/<experiment>/<run_id>/<stream>[-<writer>][.<n>].jsonl

This file owns the names of the format: every other module builds and takes apart paths
through it. Invariants:

- A folder name is a slug; whatever a user types, `run_folder` stays below its root.
- `parse_segment` accepts exactly what `SegmentName.filename` makes, nothing else.
- A writer's name is taken from facts about its process, so two processes that can know
  nothing of each other choose different ones (a clash is settled where it is claimed).

| variable | meaning | default | precedence |
|---|---|---|---|
| `MLOG_DIR` | the root | unset | after `dir=`, before a `.mlog` folder |
"""

import os
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from mlog.types import Stream

__all__ = [
    "LOCK",
    "SegmentName",
    "experiment_name",
    "find_root",
    "is_slug",
    "lock_name",
    "new_run_id",
    "parse_segment",
    "run_folder",
    "slug",
    "writer_name",
]

LOCK = ".lock"
"""Name of the file that the main writer of a first attempt holds while it lives."""

# Launchers of Python text that is in no script of its own.
_NO_SCRIPT = frozenset(
    {"", "-", "-c", "-m", "ipykernel_launcher", "colab_kernel_launcher"}
)

_MAX_SLUG = 255
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_NOT_SLUG = re.compile(r"[^A-Za-z0-9_.-]+")
# Windows opens the device for these names, with any extension: "nul.txt" is NUL.
# Source: Microsoft, "Naming Files, Paths, and Namespaces".
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)

_WRITER = re.compile(r"[a-z0-9-]*")
_SEGMENT = re.compile(
    r"(?P<stream>logs|metrics|events)"
    r"(?:-(?P<writer>[a-z0-9-]+))?"
    r"(?:\.(?P<number>[1-9][0-9]*))?"
    r"\.jsonl"
)


def find_root(
    dir: str | os.PathLike[str] | None, *, env: Mapping[str, str], cwd: Path
) -> Path:
    """Choose the folder that all runs lie in; it need not exist yet.

    The first that is there: `dir`, `MLOG_DIR`, the nearest `.mlog` folder from `cwd`
    upward, the user's data folder of the platform. Empty text counts as not given.

    Args:
        dir: The caller's choice; `~` is expanded, a relative path starts at `cwd`.
        env: Environment variables; `MLOG_DIR` is read like `dir`.
        cwd: Absolute path of the folder to start from.

    Returns:
        An absolute path. Links in it stay: the root and its parents may be links.

    Raises:
        ValueError: `~` or `~user` stands for no folder.
    """
    given = os.fspath(dir) if dir is not None else ""
    chosen = given or env.get("MLOG_DIR", "")
    if chosen:
        return cwd / _expand(chosen)
    for folder in _upward(cwd):
        # os.path.isdir is False for what may not be read; Path.is_dir raises.
        if os.path.isdir(folder / ".mlog"):
            return folder / ".mlog"
    import platformdirs  # only here: most roots are found without it

    return platformdirs.user_data_path("mlog").absolute()


def experiment_name(given: str | None, *, cwd: Path, script: str | None) -> str:
    """Choose the experiment of a run, as text for people; `slug` makes the folder name.

    Args:
        given: The caller's choice; empty text counts as not given.
        cwd: Absolute path; the nearest folder upward that holds `.git` gives its name.
        script: `sys.argv[0]`, whose stem comes next; `-c` and notebooks have none.

    Returns:
        The name, never empty; `"default"` when nothing else gives one.
    """
    return given or _git_name(cwd) or _script_name(script) or "default"


def slug(text: str) -> str:
    """Make a folder name of any text; a text that is one already stays as it is.

    Accents are dropped, other characters outside `[A-Za-z0-9_.-]` become `-`. What had
    to be changed ends in `-` and six hex digits of a hash of the whole text, so that
    two texts which look alike afterwards get two folders.

    Returns:
        1 to 255 ASCII characters for which `is_slug` is true; the same for the same
        text in every process.
    """
    if is_slug(text):
        return text
    import hashlib  # only here: it loads slowly, and most names need no hash

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    readable = _NOT_SLUG.sub("-", _without_accents(text)).lstrip("._-")
    readable = readable[: _MAX_SLUG - 7].rstrip("._-") or "x"
    if _RESERVED.fullmatch(readable):
        readable = readable.replace(".", "-", 1)
    return f"{readable}-{digest}"


def is_slug(text: str) -> bool:
    """Tell whether a text can be a folder name on every platform, as it stands."""
    return (
        _SLUG.fullmatch(text) is not None
        and not text.endswith(".")
        and _RESERVED.fullmatch(text) is None
    )


def new_run_id(now: float, random: bytes) -> str:
    """Make a run id that sorts by time: `20261123-182700-3f9a1c`, in UTC.

    Args:
        now: Seconds since the epoch.
        random: Three bytes, which tell apart the runs of one second.

    Raises:
        ValueError: `random` is not three bytes.
    """
    if len(random) != 3:
        raise ValueError(f"random must be 3 bytes, got {len(random)}")
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + random.hex()


@dataclass(frozen=True, slots=True)
class SegmentName:
    """Name of one segment of a run.

    Attributes:
        stream: What the segment holds.
        writer: Who writes it, from `writer_name`; empty for the first attempt's main.
        number: 0 for the first segment, then 1, 2, … after each rotation.
    """

    stream: Stream
    writer: str = ""
    number: int = 0

    def __post_init__(self) -> None:
        """Refuse a name that would not parse back."""
        if _WRITER.fullmatch(self.writer) is None:
            raise ValueError(f"writer must match [a-z0-9-]*, got {self.writer!r}")
        if self.number < 0:
            raise ValueError(f"number must be an integer >= 0, got {self.number!r}")

    @property
    def filename(self) -> str:
        """The name in the run's folder: `logs.jsonl`, `metrics-r3.jsonl`, …."""
        writer = f"-{self.writer}" if self.writer else ""
        number = f".{self.number}" if self.number else ""
        return f"{self.stream}{writer}{number}.jsonl"

    def next(self) -> "SegmentName":
        """Name the segment that follows this one after a rotation."""
        return replace(self, number=self.number + 1)


def parse_segment(filename: str) -> SegmentName | None:
    """Take a file name apart; None for a name that is no segment's.

    The inverse of `SegmentName.filename`, for it and for nothing else: `logs.01.jsonl`
    or `LOGS.jsonl` are somebody else's files.
    """
    match = _SEGMENT.fullmatch(filename)
    if match is None:
        return None
    stream = cast(Stream, match["stream"])
    return SegmentName(stream, match["writer"] or "", int(match["number"] or 0))


def writer_name(
    *, main: bool, rank: int | None, host: str, pid: int, attempt: int
) -> str:
    """Name one writer of a run: its process in its attempt.

    Args:
        main: The process that creates the run and ends it; its rank is left out.
        rank: Number among the processes of a launch, or None for a process without.
        host: Name of the machine; its first eight letters and digits are used.
        pid: Process id, which names a process that is neither main nor a rank.
        attempt: 1 for the first go at the run.

    Returns:
        `""` or `a<attempt>` for main, `r<rank>` for a rank, `<host8>-<pid>` for others,
        `-a<attempt>` at the end of the last two from attempt 2. Two writers of one run
        get one name only when their hosts begin alike and their pids are equal.
    """
    if main:
        return f"a{attempt}" if attempt > 1 else ""
    name = f"r{rank}" if rank is not None else f"{_short_host(host)}-{pid}"
    return f"{name}-a{attempt}" if attempt > 1 else name


def lock_name(writer: str) -> str:
    """Name the file that a writer holds while it lives: `.lock` or `.lock-<writer>`."""
    return f"{LOCK}-{writer}" if writer else LOCK


def run_folder(root: Path, experiment: str, run_id: str) -> Path:
    """Name a run's folder; always two levels below the root, whatever the names are."""
    return root / slug(experiment) / slug(run_id)


def _expand(path: str) -> str:
    """Replace a leading `~` or `~user` by that user's home."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError as exc:  # what pathlib raises without a home
        raise ValueError(
            f"no home folder for {path!r}; give the folder as an absolute path"
        ) from exc


def _upward(folder: Path) -> Iterator[Path]:
    """Yield a folder and its parents, nearest first."""
    yield folder
    yield from folder.parents


def _git_name(cwd: Path) -> str:
    """Name the working tree that `cwd` lies in, or give empty text."""
    for folder in _upward(cwd):
        if os.path.exists(folder / ".git"):  # a file in worktrees and submodules
            return folder.name
    return ""


def _script_name(script: str | None) -> str:
    """Name the program by its file, or give empty text for one that has none."""
    path = Path(script or "")
    name = path.parent.name if path.stem == "__main__" else path.stem
    return "" if name in _NO_SCRIPT else name


def _without_accents(text: str) -> str:
    """Write a text in ASCII as far as its letters have a base form there."""
    return "".join(
        char if char.isascii() else "-"
        for char in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(char)
    )


def _short_host(host: str) -> str:
    """Shorten a host name to what a writer's name may hold."""
    return re.sub(r"[^a-z0-9]", "", host.lower())[:8] or "host"
