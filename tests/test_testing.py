"""The fixtures for users' suites, in real pytest runs, and what they are made of."""

import contextlib
import logging
import os
import textwrap
import threading
import tomllib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mlog.handlers import JSONLHandler
from mlog.run.api import current_run
from mlog.run.handler import RunHandler
from mlog.run.start import start_run
from mlog.tap import getLogger
from mlog.testing import end_all_runs, isolated, read_entries
from tests.helpers import REPO, run_python

pytest_plugins = ["pytester"]

Suite = Callable[..., pytest.RunResult]

SHOW = 'import sys; print(*(m for m in sys.modules if m.startswith("mlog")))'


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Run a suite of one file in a child, where pytest finds the plugin by itself."""
    path = [str(REPO)]
    if not entry_points(group="pytest11", name="mlog"):
        path.append(str(declare_plugin(pytester.mkdir("installed"))))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.delenv("MLOG_DIR")
    monkeypatch.setenv("HOME", str(pytester.path / "home"))
    pytester.makeini("[pytest]\nfilterwarnings = error\n")

    def run(code: str, *args: str) -> pytest.RunResult:
        pytester.makepyfile(textwrap.dedent(code))
        return pytester.runpytest_subprocess(*args, timeout=60)

    return run


def declare_plugin(folder: Path) -> Path:
    """Make the metadata that an installed mlog has."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"mlog_runs-{project['version']}.dist-info"
    info.mkdir()
    name, version = project["name"], project["version"]
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata)
    plugins = project["entry-points"]["pytest11"].items()
    lines = ["[pytest11]", *(f"{name} = {module}" for name, module in plugins)]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


class TestFixtures:
    """pytest finds them without an import or a conftest."""

    def test_mlog_run_records_the_tests_metrics(self, suite: Suite) -> None:
        suite("""
            import logging
            from mlog.testing import read_entries

            def test_it(mlog_run, tmp_path):
                logging.getLogger("train").info(metric={"loss": 0.5}, step=1)
                (entry,) = read_entries(mlog_run.path, "metrics")
                assert (entry["metric"], entry["step"]) == ({"loss": 0.5}, 1)
                assert mlog_run.path.is_relative_to(tmp_path)
        """).assert_outcomes(passed=1)

    def test_mlog_run_raises_what_would_be_a_warning(self, suite: Suite) -> None:
        suite("""
            import mlog, pytest

            def test_it(mlog_run):
                with pytest.raises(mlog.MlogWarning, match="mapping"):
                    mlog_run.log_metrics("no mapping")
                with pytest.raises(TypeError, match="mapping"):
                    mlog_run.log_params("no mapping")
        """).assert_outcomes(passed=1)

    def test_mlog_root_gives_each_test_a_root(self, suite: Suite) -> None:
        """What one test leaves open or set is gone in the next."""
        result = suite("""
            import logging, os, mlog
            left = []

            def test_one(mlog_root):
                run = mlog.start_run("a", params={"lr": 0.1})
                mlog.set_step(7)
                left.append(run)
                assert run.path.parent.parent == mlog_root

            def test_two(mlog_root):
                assert mlog.current_run() is None
                assert left[0].status == "Canceled"
                assert not mlog_root.exists()
                with mlog.start_run("b") as run:
                    assert run.path.is_relative_to(mlog_root)
                    assert run.parent_path is None
                    logging.getLogger("x").info(metric={"loss": 1})
                assert b'"step"' not in (run.path / "metrics.jsonl").read_bytes()

            def test_three():
                assert not [name for name in os.environ if "MLOG" in name]
        """)
        result.assert_outcomes(passed=3)

    def test_a_run_of_the_session_goes_on(self, suite: Suite) -> None:
        """Tests with a root of their own neither write into it nor end it."""
        suite("""
            import logging, mlog, pytest
            from mlog.testing import read_entries

            @pytest.fixture(scope="session", autouse=True)
            def session(tmp_path_factory):
                with mlog.start_run(dir=tmp_path_factory.mktemp("all")) as run:
                    yield run

            def test_one(mlog_run, session):
                logging.getLogger("x").warning("one")
                assert mlog_run.parent_path is None

            def test_two(session):
                logging.getLogger("x").warning("two")
                assert mlog.current_run() is session
                assert session.status == "Running"
                logs = read_entries(session.path, "logs")
                assert [entry["msg"] for entry in logs] == ["two"]
        """).assert_outcomes(passed=2)

    def test_help_shows_them(self, suite: Suite) -> None:
        result = suite("", "--fixtures")
        result.stdout.fnmatch_lines(["mlog_root -- *", "    Give the test a root*"])
        result.stdout.fnmatch_lines(["mlog_run -- *", "    Give the test an open*"])


class TestOtherSuites:
    """A suite that does not use the fixtures runs as it would without mlog."""

    def test_nothing_is_changed(self, suite: Suite) -> None:
        """Not logging, not the environment, and no part that records is imported."""
        result = suite("""
            import logging, os, sys, threading

            def test_it(caplog, recwarn):
                logging.getLogger("x").warning("hello")
                assert caplog.messages == ["hello"]
                assert type(logging.getLogger("x")) is logging.Logger
                assert type(logging.root) is logging.RootLogger
                assert logging.getLoggerClass() is logging.Logger
                assert threading.active_count() == 1
                assert not [name for name in os.environ if "MLOG" in name]
                assert "mlog.testing" in sys.modules
                heavy = {"mlog.run.api", "mlog.entry", "httpx", "click", "rich"}
                assert heavy & set(sys.modules) == set()
        """)
        result.assert_outcomes(passed=1)

    def test_it_can_be_left_out(self, suite: Suite) -> None:
        result = suite("def test_it(mlog_root): pass", "-p", "no:mlog")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*fixture 'mlog_root' not found*"])

    def test_strict_options_are_kept(self, suite: Suite) -> None:
        result = suite("def test_it(): pass", "--strict-markers", "--strict-config")
        result.assert_outcomes(passed=1)


class TestWithoutPytest:
    """Other tools call `isolated`; they may not even have pytest."""

    def test_it_works(self, tmp_path: Path) -> None:
        code = f"""
import sys
sys.modules["pytest"] = None  # as if it were not there
import logging, unittest
from mlog.testing import isolated, read_entries
import mlog

class Test(unittest.TestCase):
    @isolated({str(tmp_path)!r})
    def test_it(self):
        run = mlog.start_run("a")
        logging.getLogger("x").info(metric={{"loss": 1}})
        self.assertEqual(len(read_entries(run.path, "metrics")), 1)
        self.assertEqual(str(run.path.parent.parent), {str(tmp_path)!r})

unittest.main()
"""
        done = run_python(code, env={"PYTHONPATH": str(REPO)}, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "OK" in done.stderr


class TestIsolated:
    """Inside, a root of its own; after it, all is as it was."""

    def test_runs_go_there_and_end_with_it(self, tmp_path: Path) -> None:
        with isolated(tmp_path / "here") as root:
            assert root == tmp_path / "here"
            run = start_run("a")
            inner = start_run("b")
            assert run.path is not None
            assert run.path.is_relative_to(root)
        assert (run.status, inner.status) == ("Canceled", "Canceled")
        assert current_run() is None

    def test_the_root_does_not_move_with_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with isolated("here") as root:
            monkeypatch.chdir(tmp_path.parent)
            assert start_run("a").path in list(root.glob("a/*"))

    @pytest.mark.parametrize("error", [None, ValueError("no")])
    def test_the_environment_is_put_back(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception | None,
    ) -> None:
        monkeypatch.setenv("MLOG_MODE", "off")
        monkeypatch.delenv("MLOG_DIR")
        before = dict(os.environ)
        with contextlib.suppress(ValueError), isolated(tmp_path):
            assert os.environ["MLOG_DIR"] == str(tmp_path)
            assert "MLOG_MODE" not in os.environ
            start_run("a")
            assert "MLOG_RUN" in os.environ
            if error is not None:
                raise error
        assert dict(os.environ) == before

    def test_a_run_outside_takes_nothing_and_goes_on(self, tmp_path: Path) -> None:
        """Neither from this thread, nor from one that has no active run."""
        log = logging.getLogger("outside")

        def from_a_thread(text: str) -> None:
            thread = threading.Thread(target=log.warning, args=(text,))
            thread.start()
            thread.join()

        with start_run("outer") as outer:
            with isolated(tmp_path / "inside"):
                assert current_run() is None
                log.warning("lost")
                from_a_thread("lost too")
                with start_run("inner") as inner:
                    log.warning("inside")
                    from_a_thread("from inside")
                assert inner.parent_path is None
            assert current_run() is outer
            log.warning("after")
            from_a_thread("from after")
        assert messages(outer.path) == ["after", "from after"]
        assert messages(inner.path) == ["inside", "from inside"]
        assert outer.status == "Completed"

    def test_an_outer_run_ended_inside_stays_ended(self, tmp_path: Path) -> None:
        outer = start_run("outer")
        with isolated(tmp_path / "inside"):
            outer.complete()
        assert current_run() is None

    def test_blocks_nest(self, tmp_path: Path) -> None:
        with isolated(tmp_path / "a") as a:
            one = start_run("x")
            with isolated(tmp_path / "b") as b:
                two = start_run("x")
            assert current_run() is one
            assert os.environ["MLOG_DIR"] == str(a)
        assert one.path in list(a.glob("x/*"))
        assert two.path in list(b.glob("x/*"))

    def test_a_handler_made_before_records_there(self, tmp_path: Path) -> None:
        """A program's own RunHandler, whose run had not begun, begins it inside."""
        log = logging.getLogger("program")
        log.addHandler(RunHandler("handled"))
        with isolated(tmp_path / "inside") as root:
            log.warning("hello")
            (folder,) = root.glob("handled/*")
        assert messages(folder) == ["hello"]


class TestEndAllRuns:
    def test_every_run_is_cancelled(self) -> None:
        outer, inner = start_run("a"), start_run("b")
        end_all_runs()
        assert (outer.status, inner.status) == ("Canceled", "Canceled")
        assert current_run() is None
        end_all_runs()

    def test_a_handler_whose_run_has_not_begun_begins_none(self, run_dir: Path) -> None:
        log = logging.getLogger("program")
        log.addHandler(RunHandler("handled"))
        log.propagate = False
        end_all_runs()
        log.warning("hello")
        assert not list(run_dir.glob("handled/*"))


class TestReadEntries:
    """A run's entries in order of file and line."""

    def test_all_or_one_stream(self) -> None:
        with start_run("a") as run:
            getLogger("x").warning("hello")
            getLogger("x").info(metric={"loss": 1})
        assert run.path is not None
        everything = read_entries(run.path)
        (log,), (metric,) = (read_entries(run.path, s) for s in ("logs", "metrics"))
        assert log["msg"] == "hello"
        assert metric["metric"] == {"loss": 1}
        assert log in everything
        assert metric in everything
        assert len(everything) == 2 + len(read_entries(run.path, "events"))

    def test_segments_come_by_number(self, tmp_path: Path) -> None:
        for seq, name in enumerate(["logs", "logs.2", "logs.10", "logs-r1"]):
            (tmp_path / f"{name}.jsonl").write_text(f'{{"seq": {seq}}}\n')
        assert [e["seq"] for e in read_entries(tmp_path)] == [0, 1, 2, 3]

    def test_other_files_and_unfinished_lines_are_left_out(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "logs.jsonl").write_text('{"seq": 0}\n{"seq": 1')
        (tmp_path / "logs_of_mine.jsonl").write_text("mine\n")
        JSONLHandler(tmp_path / "mine.jsonl").close()
        assert read_entries(tmp_path) == [{"seq": 0}]

    def test_damage_is_an_error(self, tmp_path: Path) -> None:
        """A test should see it, where a reader would skip it."""
        (tmp_path / "logs.jsonl").write_text("what?\n")
        with pytest.raises(ValueError, match="unexpected character"):
            read_entries(tmp_path)

    def test_a_missing_folder_or_unknown_stream_is_an_error(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(FileNotFoundError):
            read_entries(tmp_path / "missing")
        with pytest.raises(ValueError, match="'logs', 'metrics', 'events' or None"):
            read_entries(tmp_path, "metric")  # type: ignore[arg-type]


def messages(folder: Path | None) -> list[object]:
    assert folder is not None
    return [entry["msg"] for entry in read_entries(folder, "logs")]
