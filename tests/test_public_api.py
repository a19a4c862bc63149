"""What `import mlog` gives, and what it does not do."""

import ast
import inspect
from pathlib import Path

import pytest

import mlog
from tests.helpers import run_python

ROOT_FILE = Path(mlog.__file__)

# Too heavy for a program that only logs.
NOT_IMPORTED = {
    "asyncio",
    "click",
    "httpx",
    "importlib.metadata",
    "multiprocessing",
    "platformdirs",
    "rich",
    "sqlite3",
}


def names_for_type_checkers() -> set[str]:
    """Return the names the root file imports from its modules, also the lazy ones."""
    body = ast.parse(ROOT_FILE.read_bytes()).body
    for node in list(body):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            body += node.body
    return {
        alias.asname or alias.name
        for node in body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlog.")
        for alias in node.names
    }


def test_all_is_sorted() -> None:
    assert mlog.__all__ == sorted(set(mlog.__all__))


def test_all_is_what_is_there() -> None:
    """`__all__`, `dir` and type checkers agree, and every name can be had."""
    shown = {name for name in dir(mlog) if not name.startswith("_")}
    exported = set(mlog.__all__)
    assert shown == exported
    assert names_for_type_checkers() == exported
    assert [name for name in mlog.__all__ if not hasattr(mlog, name)] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'mlog' has no attribute 'nothing'"):
        mlog.nothing  # noqa: B018  # the access is the test


@pytest.mark.parametrize("name", mlog.__all__)
def test_public_objects_have_docstrings(name: str) -> None:
    """Classes and functions say what they are, in words of their own."""
    thing = getattr(mlog, name)
    if callable(thing):
        assert (thing.__doc__ or "").strip()
    for key, member in vars(thing).items() if inspect.isclass(thing) else ():
        if inspect.isfunction(member) and not key.startswith("_"):
            assert (member.__doc__ or "").strip(), f"mlog.{name}.{key}"


def test_types_are_for_users_too() -> None:
    """Type checkers read a package's annotations only with this file (PEP 561)."""
    assert (ROOT_FILE.parent / "py.typed").is_file()


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert mlog.__version__ == version("mlog-runs")


def test_import_is_light() -> None:
    """A program that only logs does not pay for sinks, command line or readers."""
    code = """
import sys
before = set(sys.modules)
import mlog
print(*sorted(set(sys.modules) - before))
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert NOT_IMPORTED & set(done.stdout.split()) == set()


def test_import_changes_nothing_in_logging() -> None:
    """With `import mlog` alone, `logging` is what it was."""
    code = """
import logging, sys, threading, warnings

def state():
    root = logging.root
    return (
        logging.getLoggerClass(), logging.getLogRecordFactory(), logging.lastResort,
        type(root), root.level, list(root.handlers), root.manager.disable,
        type(logging.getLogger("some")), logging.raiseExceptions,
        sys.excepthook, threading.excepthook, warnings.showwarning,
        threading.active_count(),
    )

before = state()
import mlog
assert state() == before, (before, state())
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
