"""Which lines a run takes."""

import importlib.machinery
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import mlog
from mlog.run.levels import QUIET, LevelRule, is_own, level_number
from mlog.types import LevelSpec
from tests.helpers import entries

DEBUG, INFO, WARNING = logging.DEBUG, logging.INFO, logging.WARNING


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that `somelib` is installed and `myproj` is not."""
    for name, path in (
        ("somelib", "/venv/lib/python3/site-packages/somelib/__init__.py"),
        ("debianlib", "/usr/lib/python3/dist-packages/debianlib.py"),
        ("myproj", "/home/me/myproj/__init__.py"),
    ):
        module = types.ModuleType(name)
        module.__file__ = path
        monkeypatch.setitem(sys.modules, name, module)
    spread = types.ModuleType("spread")
    spread.__path__ = ["/venv/lib/python3/site-packages/spread"]
    monkeypatch.setitem(sys.modules, "spread", spread)


# --- whose logger ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("__main__", True),
        ("root", True),
        ("myproj", True),
        ("myproj.data.loader", True),
        ("no.module.of.that.name", True),
        ("somelib", False),
        ("somelib.client", False),
        ("debianlib", False),
        ("spread.part", False),
        ("json", False),
        ("concurrent.futures", False),
        ("sys", False),
        ("pytest", False),
    ],
)
def test_a_logger_is_whose_module_it_names(
    name: str, own: bool, installed: None
) -> None:
    """A library's module lies in site-packages or the standard library."""
    assert is_own(name) is own


def test_a_module_made_by_hand_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook; it has neither a file nor a place."""
    module = types.ModuleType("by_hand")
    monkeypatch.setitem(sys.modules, "by_hand", module)
    assert is_own("by_hand")
    module.__spec__ = importlib.machinery.ModuleSpec("by_hand", None)
    assert is_own("by_hand")


def test_a_module_set_to_none_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blocked", None)
    assert is_own("blocked")


# --- which lines -----------------------------------------------------------------------


def takes(spec: LevelSpec, name: str, level: int, passes: bool = False) -> bool:
    rule = LevelRule(spec)
    taken = rule.accepts(name, level, passes)
    # What is taken in any case must get as far as the run.
    if not passes:
        assert taken is (level >= rule.wanted(name))
    return taken


@pytest.mark.parametrize(
    ("name", "level", "passes", "taken"),
    [
        ("myproj", DEBUG, False, True),
        ("__main__", DEBUG, False, True),
        ("root", DEBUG, False, True),
        ("myproj", 5, False, False),
        ("myproj", 5, True, True),
        ("somelib", INFO, False, True),
        ("somelib", DEBUG, False, False),
        ("somelib", DEBUG, True, True),
        ("urllib3", DEBUG, False, False),
        ("urllib3.connectionpool", DEBUG, True, False),
        ("urllib3.connectionpool", INFO, False, True),
        ("urllib3_mine", DEBUG, False, True),
    ],
)
def test_auto_takes_the_programs_debug_and_libraries_info(
    name: str, level: int, passes: bool, taken: bool, installed: None
) -> None:
    """And what the program's own levels let pass, but no DEBUG of the quiet ones."""
    assert takes("auto", name, level, passes) is taken
    assert takes("AUTO", name, level, passes) is taken


@pytest.mark.parametrize("spec", [WARNING, "WARNING", "warning", {"": WARNING}])
def test_a_level_is_for_all_loggers(spec: Any, installed: None) -> None:
    """Whatever the program's own levels say."""
    for name in ("myproj", "somelib", "urllib3", "root"):
        assert takes(spec, name, WARNING)
        assert not takes(spec, name, INFO)
        assert not takes(spec, name, INFO, passes=True)


def test_the_longest_prefix_wins() -> None:
    spec: LevelSpec = {"": "ERROR", "a": "INFO", "a.b": "WARNING", "a.b.c": "auto"}
    lowest = {"x": 40, "root": 40, "a": 20, "a.x": 20, "ab": 40, "a.b": 30, "a.b.x": 30}
    for name, level in lowest.items():
        assert LevelRule(spec).wanted(name) == level, name
    assert LevelRule(spec).wanted("a.b.c.d") == DEBUG


def test_loggers_outside_a_map_are_auto(installed: None) -> None:
    spec: LevelSpec = {"myproj.data": "WARNING"}
    assert not takes(spec, "myproj.data.x", INFO)
    assert takes(spec, "myproj.other", DEBUG)
    assert not takes(spec, "somelib", DEBUG)


def test_a_quiet_logger_that_is_named_is_heard(installed: None) -> None:
    assert takes({"urllib3": "DEBUG"}, "urllib3.connectionpool", DEBUG)
    assert takes({"urllib3": "auto"}, "urllib3", DEBUG, passes=True)
    assert not takes({"urllib3": "DEBUG"}, "matplotlib", DEBUG, passes=True)


@pytest.mark.parametrize(
    "name",
    "urllib3 matplotlib PIL numba h5py parso fsspec asyncio botocore httpx".split(),
)
def test_the_chatty_libraries_are_quiet(name: str) -> None:
    assert name in QUIET


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        (
            "LOUD",
            ValueError,
            "unknown level 'LOUD'; expected 'auto' or one of CRITICAL",
        ),
        (None, TypeError, "level must be a number or a name, got None"),
        (1.5, TypeError, "got 1.5"),
        (True, TypeError, "got True"),
        (["INFO"], TypeError, "got"),
        ({"a": None}, TypeError, "got None"),
        ({3: "INFO"}, TypeError, "a level map has logger prefixes, got 3"),
    ],
)
def test_a_wrong_level_is_refused(
    wrong: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        LevelRule(wrong)


def test_levels_have_numbers() -> None:
    assert level_number("info") == 20
    assert level_number(15) == 15


def test_level_names_of_the_program_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "_nameToLevel", {**logging._nameToLevel, "TRACE": 5})
    assert level_number("trace") == 5


# --- in a run --------------------------------------------------------------------------


def said(run: mlog.Run) -> list[str]:
    assert run.path is not None
    return [entry["msg"] for entry in entries(run.path, "logs")]


def test_a_run_takes_debug_lines_that_no_console_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.basicConfig(level=logging.WARNING)
    with mlog.start_run("e") as run:
        logging.getLogger("mine").debug("detail")
        logging.getLogger("json").debug("of a library")
        logging.getLogger("json").info("info of a library")
    assert said(run) == ["detail", "info of a library"]
    assert capsys.readouterr().err == ""


def test_what_the_programs_levels_let_pass_is_taken(tmp_path: Path) -> None:
    with mlog.start_run("e") as run:
        logging.getLogger("json").setLevel(logging.DEBUG)
        logging.getLogger("json").debug("asked for")
        logging.getLogger("asyncio").setLevel(logging.DEBUG)
        logging.getLogger("asyncio").debug("quiet in any case")
    assert said(run) == ["asked for"]


def test_metrics_are_taken_whatever_the_level() -> None:
    with mlog.start_run("e", level="CRITICAL") as run:
        log = mlog.getLogger("a")
        log.info("line", metric={"x": 1})
        log.debug(metric={"x": 2})
        log.error("line")
    assert run.path is not None
    assert [e["metric"] for e in entries(run.path, "metrics")] == [{"x": 1}]
    assert not (run.path / "logs.jsonl").exists()
