"""`mlog rm`: removes runs; what `mlog prune` shares with it.

Invariants:

- A run that is live stays, also one that has come to life while the user was asked; so
  does one of which not all is known to be sent (see `protected`), and one with a child
  that stays.
- How the others go says `removing`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson

from mlog.cli.completing import complete_run
from mlog.cli.options import RunCommand, dir_option, find, root_of, typed
from mlog.cli.protected import why_protected
from mlog.cli.removing import remove_run, size_of, sweep
from mlog.cli.table import Column, fitted, print_lines, table_lines, width_of
from mlog.errors import MlogError, told
from mlog.escaping import inline
from mlog.folder import read_from
from mlog.reader.find import iter_runs
from mlog.reader.page_words import count_text, moment, one_line, size_text
from mlog.reader.state import RunState, read_state

__all__ = [
    "Going",
    "Kept",
    "Options",
    "Plan",
    "carry_out",
    "check_options",
    "command",
    "make_plan",
    "removal_options",
    "root_of",
]

_MAX_DOCUMENT = 64 << 20
_MAX_NAMED = 4

_EXAMPLES = """\b
Examples:
  mlog rm 3f9a1c
  mlog rm -2 baseline --dry-run           what would go, and how large it is
  mlog rm sweep/parent --recursive --yes  with its children, without asking
"""


@dataclass(frozen=True, slots=True)
class Going:
    """A run that is to be removed, and its size in bytes."""

    state: RunState
    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A run that is not removed, and why."""

    folder: Path
    reason: str


@dataclass(slots=True)
class Plan:
    """What goes, children before their parents, and what is kept."""

    going: list[Going] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all that goes."""
        return sum(going.size for going in self.going)


@dataclass(frozen=True, slots=True)
class Options:
    """How to remove.

    Attributes:
        yes: Do not ask.
        dry_run: Only show.
        as_json: Print one JSON object.
    """

    yes: bool
    dry_run: bool
    as_json: bool


def removal_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that remove runs."""
    options = (
        click.option("--recursive", is_flag=True, help="Also children of these runs."),
        click.option("--dry-run", is_flag=True, help="Only show what would go."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        dir_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("rm", cls=RunCommand, epilog=_EXAMPLES)
@click.argument(
    "runs",
    metavar="RUN…",
    nargs=-1,
    required=True,
    callback=typed,
    shell_complete=complete_run,
)
@removal_options
def command(
    runs: tuple[str, ...],
    recursive: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    dir_: str | None,
) -> None:
    """Remove runs with all their files.

    Shows them and asks. A run stays that is still written, that has children (unless
    with --recursive), or that has a .ship folder and is not known to be sent as a
    whole. The exit code is 1 when any of them stays.
    """
    options = check_options(Options(yes, dry_run, as_json))
    root = root_of(dir_)
    plan = make_plan(root, [find(run, dir_) for run in runs], recursive=recursive)
    carry_out(root, plan, options)
    if plan.kept:
        raise SystemExit(1)


def check_options(options: Options) -> Options:
    """Refuse to remove where nobody can be asked."""
    if options.yes or options.dry_run:
        return options
    if options.as_json:
        raise click.UsageError("--json does not ask: add --yes or --dry-run")
    if not sys.stdin.isatty():
        raise click.UsageError(
            "nobody can be asked, standard input is no terminal: add --yes or --dry-run"
        )
    return options


# --- what goes -----------------------------------------------------------------------


def make_plan(
    root: Path,
    folders: Iterable[Path],
    *,
    recursive: bool,
    spare: Callable[[RunState], str] = lambda state: "",
) -> Plan:
    """Decide which runs go.

    Args:
        root: Folder of all runs.
        folders: Of the runs that were asked for.
        recursive: Whether children that were not asked for go with their parents.
        spare: Why a run stays for a reason of the caller's; "" where there is none.
    """
    folders = list(dict.fromkeys(_below(root, folder) for folder in folders))
    return _Planner(root, folders, recursive, spare).plan()


def _below(root: Path, folder: Path) -> Path:
    """Spell the path of a run below the root as `iter_runs` does."""
    is_there = os.path.abspath(folder.parent.parent) == os.path.abspath(root)
    return root / folder.parent.name / folder.name if is_there else folder


class _Planner:
    def __init__(
        self,
        root: Path,
        folders: list[Path],
        recursive: bool,
        spare: Callable[[RunState], str],
    ) -> None:
        self._root = root
        self._folders = folders
        self._asked = set(folders)
        self._recursive = recursive
        self._spare = spare
        self._children = _children_below(root)
        self._states: dict[Path, RunState] = {}
        self._reasons: dict[Path, str] = {}

    def plan(self) -> Plan:
        """Decide about all that were asked for."""
        plan, done = Plan(), set[Path]()
        for folder in self._folders:
            if reason := self._why_kept(folder):
                plan.kept.append(Kept(folder, reason))
            else:
                plan.going += self._family(folder, done)
        return plan

    def _why_kept(self, folder: Path) -> str:
        """Return why a run stays; "" if it goes."""
        if folder not in self._reasons:
            self._reasons[folder] = ""  # one that is its own grandchild ends here
            self._reasons[folder] = self._why(folder)
        return self._reasons[folder]

    def _why(self, folder: Path) -> str:
        if folder.parent.parent != self._root:
            return f"it is not in {self._root}: name its root with --dir"
        try:
            state = self._states[folder] = read_state(folder)
            reason = why_protected(state) or self._spare(state)
        except (MlogError, OSError) as exc:
            return f"it cannot be read: {told(exc)}"
        return reason or self._why_by_children(folder)

    def _why_by_children(self, folder: Path) -> str:
        children = self._children.get(_key(folder), [])
        others = [child for child in children if child not in self._asked]
        if others and not self._recursive:
            names = ", ".join(child.name for child in others[:_MAX_NAMED])
            more = ", …" if len(others) > _MAX_NAMED else ""
            noun = "a child" if len(others) == 1 else f"{len(others):,} children"
            return f"it has {noun} ({names}{more}): --recursive removes them, too"
        for child in children:
            if reason := self._why_kept(child):
                return f"its child {child.name} stays: {reason}"
        return ""

    def _family(self, folder: Path, done: set[Path]) -> Iterator[Going]:
        """Yield a run after its children."""
        if folder in done:
            return
        done.add(folder)
        for child in self._children.get(_key(folder), []):
            yield from self._family(child, done)
        yield Going(self._states[folder], size_of(folder))


def _children_below(root: Path) -> dict[str, list[Path]]:
    """Return the children of the runs below a root, by the key of their parent."""
    found: dict[str, list[Path]] = {}
    for folder in iter_runs(root):
        parent = _parent_of(folder)
        if parent and _key(Path(parent)) != _key(folder):
            found.setdefault(_key(Path(parent)), []).append(folder)
    return found


def _parent_of(folder: Path) -> str | None:
    """Return the parent's path as it was; most runs have none by their document."""
    try:
        with read_from(folder / "run.json") as file:
            if b'"parent"' not in file.read(_MAX_DOCUMENT):
                return None
    except OSError:  # there is none, the events tell
        pass
    try:
        return read_state(folder).parent
    except (MlogError, OSError):
        return None


def _key(run: Path) -> str:
    """Name a run below its root, wherever that lies by now."""
    return "/".join(run.parts[-2:])


# --- doing it ------------------------------------------------------------------------


def carry_out(root: Path, plan: Plan, options: Options) -> None:
    """Show a plan, ask, and remove; what then has to stay joins what is kept.

    Raises:
        SystemExit: Nothing goes, or the user has said no.
    """
    if plan.going and not options.as_json:
        _show(plan)
    _tell_kept(plan.kept)
    gone, left, told = plan.going, 0, len(plan.kept)
    if not options.dry_run:
        if plan.going and not (options.yes or _asks(plan)):
            click.echo("mlog: nothing removed", err=True)
            raise SystemExit(1)
        left, gone = sweep(root), _remove_all(root, plan)
        _tell_kept(plan.kept[told:])
    _conclude(plan, options, gone, left)
    if not gone and not left:
        raise SystemExit(1)


def _show(plan: Plan) -> None:
    """Print a table of what goes."""
    states = [going.state for going in plan.going]
    refs = [inline(_key(state.folder)) for state in states]
    names = [one_line(s.name) if s.name != s.run_id else "" for s in states]
    columns = [
        Column("run", refs),
        Column("name", names, least=8, rank=2),
        Column("status", [one_line(state.status) for state in states]),
        Column("last entry", [moment(state.updated) for state in states], rank=1),
        Column("size", [size_text(going.size) for going in plan.going], is_right=True),
    ]
    width = width_of(sys.stdout, os.environ)
    chosen, _ = fitted([c for c in columns if any(c.cells)], width)
    print_lines(table_lines(chosen, width))


def _tell_kept(kept: list[Kept]) -> None:
    for one in kept:
        text = f"mlog: {_key(one.folder)} stays: {one.reason}"
        click.echo(inline(text), err=True)


def _asks(plan: Plan) -> bool:
    sys.stdout.flush()
    text = f"Remove {count_text(len(plan.going), 'run')}, {size_text(plan.size)}?"
    try:
        return click.confirm(text, err=True)
    except click.Abort:  # Ctrl-D
        click.echo(err=True)
        return False


def _conclude(plan: Plan, options: Options, gone: list[Going], left: int) -> None:
    """Say what was removed, or would be."""
    size = sum(going.size for going in gone) + left
    runs = f"{count_text(len(gone), 'run')}, {size_text(size)}"
    if options.as_json:
        fields = {
            "removed": [_run_json(g.state.folder, bytes=g.size) for g in gone],
            "kept": [_run_json(k.folder, reason=k.reason) for k in plan.kept],
            "bytes": size,
            "dry_run": options.dry_run,
        }
        click.echo(orjson.dumps(fields).decode())
    elif not gone and not left:
        click.echo("mlog: nothing to remove", err=True)
    elif options.dry_run:
        click.echo(f"would remove {runs}")
    else:
        rest = f", {size_text(left)} of it of an interrupted removal" if left else ""
        click.echo(f"removed {runs} freed{rest}")


def _run_json(folder: Path, **fields: Any) -> dict[str, Any]:
    path = os.fsencode(folder).decode("utf-8", "replace")
    run = {"run": folder.name, "experiment": folder.parent.name, "path": path}
    return run | fields


def _remove_all(root: Path, plan: Plan) -> list[Going]:
    """Remove what may still go, and return it; what has to stay joins what is kept."""
    gone: list[Going] = []
    with_child: dict[str, str] = {}
    for going in plan.going:
        folder, parent = going.state.folder, going.state.parent
        reason = with_child.get(_key(folder), "")
        try:
            reason = reason or why_protected(read_state(folder))
            if not reason:
                remove_run(root, folder)
                gone.append(going)
        except (MlogError, OSError) as exc:
            reason = told(exc)
        if reason:
            plan.kept.append(Kept(folder, reason))
            if parent:
                with_child[_key(Path(parent))] = f"its child {folder.name} stays"
    return gone
