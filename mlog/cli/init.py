"""`mlog init`: a folder for the runs of a project."""

import os
import stat
import subprocess
from pathlib import Path

import click
import orjson

from mlog.errors import MlogError
from mlog.escaping import inline

__all__ = ["command"]

_PRIVATE = 0o700
_GROUP = 0o2770
# What a .gitignore may say; only asked where there is no git to say it itself.
_IGNORES = frozenset({".mlog", ".mlog/", "/.mlog", "/.mlog/", "**/.mlog", "**/.mlog/"})

_EXAMPLES = """\b
Examples:
  mlog init
  mlog init ~/projects/mnist --group
"""


@click.command("init", epilog=_EXAMPLES)
@click.argument(
    "folder",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--group", is_flag=True, help="Let the folder's group read and write the runs."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(folder: Path, group: bool, as_json: bool) -> None:
    """Make .mlog/ in FOLDER (default: .) for the runs of it.

    Runs started in FOLDER or below it are then kept in FOLDER/.mlog, unless `dir=` or
    MLOG_DIR says otherwise. A second call changes nothing.
    """
    folder = folder.absolute()
    made = folder / ".mlog"
    text = _make(made, _GROUP if group else _PRIVATE)
    if as_json:
        path = os.fsencode(made).decode("utf-8", "replace")
        click.echo(orjson.dumps({"path": path, "text": text}))
    else:
        click.echo(inline(text))
    for note in _notes(folder, made):
        click.echo(inline(f"mlog: {note}"), err=True)


def _make(folder: Path, mode: int) -> str:
    """Make the folder with its mode under any umask, and say what was done."""
    try:
        folder.mkdir(mode=_PRIVATE)
    except FileExistsError:
        return _keep(folder, mode)
    folder.chmod(mode)
    return f"made {folder}: runs started in {folder.parent} or below go there"


def _keep(folder: Path, mode: int) -> str:
    """Leave a folder that is there; only open it to its group if that is asked for."""
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise MlogError(f"{folder} is a link; remove it, or use its target by MLOG_DIR")
    if not stat.S_ISDIR(status.st_mode):
        raise MlogError(f"{folder} is in the way and no folder; rename or remove it")
    if mode == _GROUP and stat.S_IMODE(status.st_mode) != _GROUP:
        folder.chmod(_GROUP)
        return f"{folder} is open to its group from now on; older runs stay as they are"
    return (
        f"{folder} is there already: runs started in {folder.parent} or below go there"
    )


def _notes(folder: Path, made: Path) -> list[str]:
    """Return what the user should know beside that."""
    notes = []
    elsewhere = os.environ.get("MLOG_DIR")
    if elsewhere and Path(elsewhere).expanduser().absolute() != made:
        notes.append(f"MLOG_DIR is set and comes first: runs go to {elsewhere}")
    upward = (folder, *folder.parents)
    top = next((f for f in upward if os.path.exists(f / ".git")), None)
    if top is not None and not _is_ignored(made, top):
        notes.append(f"git does not ignore it: add the line .mlog/ to {top}/.gitignore")
    return notes


def _is_ignored(made: Path, top: Path) -> bool:
    """Whether git ignores a folder; without git, whether the usual line is there."""
    try:
        done = subprocess.run(
            ["git", "check-ignore", "-q", "--", f"{made}/"],
            cwd=made.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return _has_line(top)
    return done.returncode == 0 if done.returncode in (0, 1) else _has_line(top)


def _has_line(top: Path) -> bool:
    try:
        text = (top / ".gitignore").read_text("utf-8", "replace")
    except OSError:
        return False
    return not _IGNORES.isdisjoint(line.strip() for line in text.splitlines())
