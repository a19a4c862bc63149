"""A copy of the running mlog for interpreters that have none."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlog.folder import PRIVATE
from mlog.launch.carry import PACKAGE, carried_path, carry
from tests.helpers import entries, lost


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carry(tmp_path_factory.mktemp("root"), PRIVATE)


def python_of(copy: Path, python: str, code: str, **env: str) -> str:
    """Run a program as a script in an environment is run; return what it prints."""
    path = str(copy / "site/mlog/launch/inject")
    done = subprocess.run(
        [python, "-W", "error", "-c", code],
        env={"PATH": "/bin:/usr/bin", "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_copy_is_made_once(copy: Path) -> None:
    assert carry(copy.parents[2], PRIVATE) == copy
    assert [path for path in copy.parent.iterdir() if path != copy] == []
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700


def test_it_is_the_running_mlog_with_what_it_needs(copy: Path) -> None:
    """All but what says that it is installed, which in the script's Python it is not."""
    sources = {p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py")}
    below = copy / "site/mlog"
    assert {path.relative_to(below) for path in below.rglob("*.py")} == sources
    there = {path.name for path in (copy / "deps").iterdir()}
    assert {"click", "httpx", "pathspec", "platformdirs", "pythonjsonlogger"} <= there
    assert not any(name.endswith("-info") for name in there)
    (native,) = copy.glob("native.*")
    assert [path.name for path in native.iterdir()] == ["orjson"]


def test_no_module_of_it_insists_on_orjson(copy: Path) -> None:
    """Only the one line is different, so places in tracebacks are right."""
    for path in (copy / "site/mlog").rglob("*.py"):
        original = PACKAGE / path.relative_to(copy / "site/mlog")
        pairs = list(
            zip(
                path.read_text().splitlines(),
                original.read_text().splitlines(),
                strict=True,
            )
        )
        changed = {before.strip() for after, before in pairs if after != before}
        assert all(re.match(r"import orjson\b", line) for line in changed), path
        if path.name != "stand_in.py":
            text = path.read_text()
            assert not re.search(r"^\s*(import|from) orjson\b", text, re.MULTILINE), (
                path
            )


def test_paths_of_mlog_lead_to_the_copy(copy: Path) -> None:
    shim = str(PACKAGE / "azureml/shim")
    assert carried_path(shim, copy) == str(copy / "site/mlog/azureml/shim")
    assert os.path.isdir(carried_path(shim, copy))
    assert carried_path("/elsewhere", copy) == "/elsewhere"


def base() -> str:
    """Return a Python like this one, without the packages of this environment."""
    return getattr(sys, "_base_executable", sys.executable)


def test_packages_come_last_on_the_path(copy: Path, tmp_path: Path) -> None:
    """An environment's own are found first, whichever they are."""
    (tmp_path / "click.py").write_text("")
    code = "import click, mlog, sys; print(click.__file__); print(mlog.__file__)"
    first, second = python_of(
        copy, base(), f"import sys; sys.path.insert(1, {str(tmp_path)!r})\n{code}"
    ).split()
    assert first == str(tmp_path / "click.py")
    assert second == str(copy / "site/mlog/__init__.py")
    path = python_of(copy, base(), "import sys; print(*sys.path, sep='\\n')").split()
    assert all(p.startswith(str(copy)) for p in path[-3:])
    assert not any(p.startswith(str(copy)) for p in path[:-3])


def test_nobody_sees_an_orjson_that_is_none(copy: Path, another_python: str) -> None:
    """What stands for it in mlog goes by another name."""
    code = """
import importlib.util, mlog.entry
print(importlib.util.find_spec("orjson"), mlog.entry.orjson.__name__)
"""
    assert python_of(copy, another_python, code).split() == [
        *("None", "mlog.launch.plain_orjson")
    ]


RUN = """
import logging, mlog
logging.getLogger().addHandler(logging.NullHandler())
with mlog.start_run("carried", params={"a": 1}) as run:
    log = logging.getLogger("train")
    for step in range(3):
        log.info("line %d", step, metric={"loss": 1 / (step + 1), "nan": float("nan")})
    run.log("big", 1 << 70)
    run.log_table("t", {"x": [1, 2], "y": ["\\ud800", "b"]})
    log.info("odd \\ud800")
    log.info("extra", extra={"at": {1: {2, 3}}})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
print(run.path, run.get_metrics()["loss"][-1])
"""


def test_another_python_records_the_same(
    copy: Path, another_python: str, tmp_path: Path
) -> None:
    """By the stand-in for orjson, into files that any reader takes."""
    shapes = []
    for python in (sys.executable, another_python):
        out = python_of(copy, python, RUN, MLOG_DIR=str(tmp_path), HOME=str(tmp_path))
        folder, last = out.split()
        assert float(last) == pytest.approx(1 / 3)
        assert lost(folder) == {}
        kept = [
            {k: e.get(k) for k in ("msg", "metric", "value", "extra", "event")}
            for e in entries(folder)
            if e.get("event") not in ("run.environment", "run.start", "writer.start")
        ]
        shapes.append([e for e in kept if e["event"] != "run.child"])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.10"])
def test_an_old_python_is_left_in_peace(copy: Path, version: str) -> None:
    """The script runs as if nothing was there."""
    found = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*"))
    if not found:
        pytest.skip(f"there is no Python {version} of pyenv here")
    code = "import sys; print(len([p for p in sys.path if 'carried' in p]))"
    assert python_of(copy, str(found[-1] / "bin/python"), code) == "0\n"
