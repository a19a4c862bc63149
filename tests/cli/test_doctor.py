"""`mlog doctor` says what is worth a look, and makes a bundle without secrets."""

import json
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mlog as library
from mlog.cli import checks, doctor
from mlog.cli.checks import Finding, Place
from tests.cli.conftest import Mlog


def found(name: str, place: Place) -> list[Finding]:
    (check,) = [c for c in checks.CHECKS if c.__name__ == f"_{name}"]
    return list(check(place))


@pytest.fixture
def place(run_dir: Path, tmp_path: Path) -> Place:
    cwd = tmp_path / "work"
    cwd.mkdir()
    env = {"MLOG_DIR": str(run_dir), "PATH": os.environ["PATH"]}
    return Place(None, cwd, env)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the trial run out."""
    left = tuple(c for c in checks.CHECKS if c.__name__ != "_tap")
    monkeypatch.setattr(doctor, "CHECKS", left)


def test_all_is_well(mlog: Mlog) -> None:
    """The whole command, with its trial run in a process of its own."""
    with library.start_run("e") as run:
        run.log("loss", 1)
    shown = mlog("doctor")
    assert shown.exit_code == 0, shown.stdout
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("✓ root")
    assert lines[0].endswith("(MLOG_DIR)")
    assert any(line.startswith("✓ tap ") for line in lines)
    assert not any(line.startswith("✕") for line in lines)


def test_the_whole_answer(mlog: Mlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each finding, and below it what to do where something is wrong."""
    monkeypatch.setattr(doctor, "CHECKS", (_findings, _broken))
    shown = mlog("doctor")
    assert (shown.exit_code, shown.stderr) == (1, "")
    assert shown.stdout.splitlines() == [
        "✓ root       /data/runs (MLOG_DIR)",
        "! dead runs  1 run without an end: a\\nb",
        "             → it was killed",
        "✕ disk       0 B free",
        "             → remove some runs",
        "✓ extra      plot: matplotlib 3",
        "✓            query: duckdb 2",
        "! broken     cannot be looked at: no such thing",
    ]


def _findings(_: Place) -> Iterator[Finding]:
    yield Finding("root", "fine", "/data/runs (MLOG_DIR)")
    yield Finding("dead runs", "look", "1 run without an end: a\nb", "it was killed")
    yield Finding("disk", "fault", "0 B free", "remove some runs")
    yield Finding("extra", "fine", "plot: matplotlib 3")
    yield Finding("extra", "fine", "query: duckdb 2")


def _broken(_: Place) -> Iterator[Finding]:
    raise OSError("no such thing")
    yield


@pytest.mark.usefixtures("quick")
def test_json(mlog: Mlog) -> None:
    shown = mlog("doctor", "--json")
    findings = json.loads(shown.stdout)["findings"]
    topics = {finding["topic"] for finding in findings}
    assert {"root", "disk", "runs", "name", "version", "packages", "extra"} <= topics
    assert {finding["grade"] for finding in findings} <= {"fine", "look", "fault"}


class TestRoot:
    def test_why(self, place: Place, tmp_path: Path) -> None:
        (root,) = [f for f in found("root", place) if f.topic == "root"]
        assert (root.grade, root.facts["why"]) == ("fine", "MLOG_DIR")
        (tmp_path / "work" / ".mlog").mkdir()
        (root, *_) = found("root", Place(None, place.cwd, {}))
        assert root.facts["why"] == "the nearest .mlog folder upward"
        (root, *_) = found("root", Place("x", place.cwd, {}))
        assert root.facts["why"] == "--dir"
        assert "made with the first run" in root.text

    def test_one_that_cannot_be_used(self, place: Place, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (root,) = found("root", Place(str(tmp_path / "file" / "x"), place.cwd, {}))
        assert (root.grade, root.topic) == ("fault", "root")
        assert "MLOG_DIR" in root.hint

    def test_one_that_others_may_read(self, place: Place, run_dir: Path) -> None:
        run_dir.mkdir(mode=0o755)
        (finding,) = [f for f in found("root", place) if f.topic == "permissions"]
        assert (finding.grade, finding.facts["mode"]) == ("look", "0755")
        assert finding.hint.startswith("chmod o-rwx")

    def test_nothing_is_left_in_it(self, place: Place, run_dir: Path) -> None:
        run_dir.mkdir()
        found("root", place)
        assert list(run_dir.iterdir()) == []


class TestRuns:
    def test_none(self, place: Place) -> None:
        (finding,) = found("runs", place)
        assert "mlog import" in finding.hint

    def test_one_that_was_killed(self, place: Place, run_dir: Path) -> None:
        folder = run_dir / "e" / "r1"
        folder.mkdir(parents=True)
        entry = {"ts": "2026-11-23T18:27:00.000000Z", "seq": 0, "event": "writer.start"}
        entry["data"] = {"host": "elsewhere"}
        (folder / "events.jsonl").write_text(json.dumps(entry) + "\n")
        findings = {finding.topic: finding for finding in found("runs", place)}
        assert findings["dead runs"].facts["runs"] == ["e/r1"]

    def test_one_with_losses(self, place: Place, run_dir: Path) -> None:
        with library.start_run("e", dir=run_dir) as run:
            for step in range(5):
                run.log("loss", 1, step=step)
        assert run.path is not None
        lines = (run.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        (run.path / "metrics.jsonl").write_bytes(b"".join(lines[:1] + lines[2:]))
        findings = {finding.topic: finding for finding in found("runs", place)}
        assert findings["entries"].grade == "look"
        assert run.id in findings["entries"].text


class TestVariables:
    def test_what_they_mean(self, place: Place) -> None:
        env = {
            "MLOG_MODE": "off",
            "MLOG_RUN": "/nowhere",
            "MLOG_DIRS": "s3cr3t",
            "MLOG_OTHER": "s3cr3t",
        }
        findings = found("variables", Place(None, place.cwd, env))
        texts = {finding.text: finding for finding in findings}
        assert texts["MLOG_MODE=off: nothing is recorded"].grade == "look"
        assert texts["MLOG_DIRS is set"].hint == "is MLOG_DIR meant?"
        assert texts["MLOG_OTHER is set"].grade == "fine"
        assert not any("s3cr3t" in finding.text for finding in findings)

    def test_wrong_mode(self, place: Place) -> None:
        findings = found("variables", Place(None, place.cwd, {"MLOG_MODE": "maybe"}))
        assert findings[-1].grade == "fault"

    def test_ranks(self, place: Place) -> None:
        env = {"RANK": "3", "WORLD_SIZE": "8"}
        (finding,) = found("variables", Place(None, place.cwd, env))
        assert finding.text.startswith("rank 3 of 8")


class TestNames:
    def test_a_module_in_the_way(self, place: Place) -> None:
        (place.cwd / "mlog.py").touch()
        (finding,) = found("names", place)
        assert (finding.grade, finding.hint) == ("fault", "rename it")

    def test_the_other_project(
        self, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The distribution `mlog` has the same import name."""
        info = tmp_path / "site" / "mlog-0.2.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: mlog\nVersion: 0.2.0\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        findings = found("names", place)
        assert findings[0].grade == "fault"
        assert "the other project `mlog` 0.2.0" in findings[0].text


def test_a_check_that_fails_is_a_finding(
    mlog: Mlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _broken(place: Place) -> Iterator[Finding]:
        raise OSError("no such thing")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (_broken,))
    shown = mlog("doctor")
    assert shown.stdout == "! broken  cannot be looked at: no such thing\n"


@pytest.mark.usefixtures("quick")
class TestBundle:
    @pytest.fixture
    def content(self, mlog: Mlog, tmp_path: Path) -> dict[str, str]:
        with library.start_run("e", redact=False) as run:
            run.log_text("note", "at https://ada:pw123456@example.org")
            run.log("loss", 1)
        path = tmp_path / "b.zip"
        shown = mlog("doctor", "--bundle", "-o", str(path), "--run", "latest")
        assert shown.exit_code == 0, shown.stderr
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with zipfile.ZipFile(path) as archive:
            found = {name: archive.read(name).decode() for name in archive.namelist()}
        for name in found:
            assert name in shown.stdout
        return found

    def test_what_is_in_it(self, content: dict[str, str]) -> None:
        assert {"doctor.txt", "doctor.json", "packages.txt"} <= content.keys()
        assert {
            "run/events.jsonl",
            "run/metrics.jsonl",
            "run/run.json",
        } <= content.keys()
        assert "orjson==" in content["packages.txt"]
        json.loads(content["doctor.json"])

    def test_secrets_are_taken_out(self, content: dict[str, str]) -> None:
        assert not any("pw123456" in text for text in content.values())

    def test_it_replaces_nothing(self, mlog: Mlog, tmp_path: Path) -> None:
        path = tmp_path / "b.zip"
        path.write_text("mine")
        shown = mlog("doctor", "--bundle", "-o", str(path))
        assert (shown.exit_code, path.read_text()) == (1, "mine")

    def test_names_of_people_and_machines(
        self, mlog: Mlog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/home/adalovelace")
        monkeypatch.setenv("USER", "adalovelace")
        clean: Any = doctor._Cleaner()
        text = "/home/adalovelace/x, /data/home/adalovelace, adalovelace runs"
        assert clean(text).decode() == "~/x, /data/home/adalovelace, <user> runs"

    def test_wrong_calls(self, mlog: Mlog) -> None:
        assert mlog("doctor", "-o", "x").exit_code == 2
        assert mlog("doctor", "--run", "latest").exit_code == 2
        assert mlog("doctor", "--bundle", "--run", "nope").exit_code == 1


def test_a_python_that_cannot_be_started_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    (finding,) = found("tap", place)
    assert finding.grade == "fault"
    assert finding.text == (
        "a trial run failed: No such file or directory: /nowhere/python"
    )
