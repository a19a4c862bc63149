"""The order of the package's modules, read from their syntax trees."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import REPO

PACKAGE = REPO / "mlog"

# A module imports only modules on earlier lines, never its own line. A folder counts as
# one module here; its own files may import each other, but in no circle.
LAYOUT = """
errors
types
plain secret_words escaping widths
values layout redaction
http
context
record
entry
folder
segments filters formatters
logger
tap
handlers
reader
models
run
config
sources
adapters
pixels
accelerate flaml keras lightgbm lightning optuna sklearn tensorboard transformers xgboost
shipping
alerting
testing
launch
ui
notebook
azureml
cli
__main__
"""
LEVELS = {
    name: level
    for level, line in enumerate(LAYOUT.strip().splitlines())
    for name in line.split()
}

# What makes entries and writes them; the readers know only the files.
WRITE_SIDE = {
    *(
        "context",
        "segments",
        "filters",
        "formatters",
        "logger",
        "tap",
        "handlers",
        "run",
    )
}

CORE = {
    *(
        "click",
        "httpx",
        "orjson",
        "pathspec",
        "platformdirs",
        "pythonjsonlogger",
        "rich",
    )
}


def module_name(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str) -> Iterator[str]:
    """Yield all modules that a module names in imports, wherever they stand in it.

    `from mlog.run import exits` is an import of `mlog.run.exits`, because that is a
    module; of a name that is none it is an import of `mlog.run`.
    """
    for node in ast.walk(ast.parse(MODULES[module].read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in MODULES else base


def place(module: str) -> str:
    """Return the name under which a module of the package stands in the layout."""
    return module.split(".")[1]


GRAPH = {
    module: {name for name in imports_of(module) if name.split(".")[0] == "mlog"}
    for module in MODULES
    if module != "mlog"
}


def test_every_module_has_a_place() -> None:
    """A new module is added to the layout, on purpose, before it imports anything."""
    assert {place(module) for module in GRAPH} <= LEVELS.keys()


@pytest.mark.parametrize("module", GRAPH)
def test_modules_import_only_lower_levels(module: str) -> None:
    """A module imports only modules on earlier lines of the layout.

    Imports inside functions and those for type checkers count, too.
    """
    own = place(module)
    for target in GRAPH[module] - {"mlog"}:
        fits = place(target) == own or LEVELS[place(target)] < LEVELS[own]
        assert fits, f"{module} imports {target}"


def test_no_circles() -> None:
    """Also within a folder, modules can be put in an order."""
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as exc:
        pytest.fail(" → ".join(exc.args[1]))


def test_no_module_imports_the_package_root() -> None:
    """The root is for users; a module that imported it would depend on everything."""
    assert [module for module, targets in GRAPH.items() if "mlog" in targets] == []


def test_readers_know_nothing_of_the_write_side() -> None:
    """Write side and read side meet only in the file format."""
    readers = [module for module in GRAPH if place(module) == "reader"]
    used = {place(target) for module in readers for target in GRAPH[module]}
    assert used & WRITE_SIDE == set()


@cache
def third_party() -> dict[str, set[str]]:
    """Return for each package that is not of the standard library who imports it."""
    users = defaultdict(set)
    for module in MODULES:
        for name in imports_of(module):
            top = name.split(".")[0]
            if top != "mlog" and top not in sys.stdlib_module_names:
                users[top].add(module)
    return dict(users)


def test_an_optional_dependency_is_imported_in_one_file() -> None:
    """So there is one place that says how to install it; one way into the net, too."""
    once = third_party().keys() - CORE | {"httpx"}
    users = {name: third_party().get(name, set()) for name in once}
    assert {name: found for name, found in users.items() if len(found) > 1} == {}


def test_only_the_command_line_imports_its_libraries() -> None:
    """Programs that log do not pay for click and rich."""
    users = third_party()
    of_cli = users.get("click", set()) | users.get("rich", set())
    assert {place(module) for module in of_cli} <= {"cli"}
