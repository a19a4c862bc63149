"""`mlog report` makes one HTML file of runs."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlog.cli.report import command
from mlog.errors import MlogError
from tests.reader.conftest import Writing

ID = "20261123-182700-3f9a1c"


@pytest.fixture
def run(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writing:
    """A run, and an empty folder to be in."""
    run = Writing(run_dir / "mnist" / ID)
    run.event("run.start", experiment="mnist", display_name="fox")
    run.metric({"loss": 1.0}, 1)
    run.end()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return run


def call(*args: str) -> Result:
    return CliRunner().invoke(command, args)


def files() -> list[str]:
    return sorted(os.listdir())


def test_one_file_of_the_newest_run(run: Writing) -> None:
    result = call()
    assert (result.exit_code, result.stderr) == (0, "")
    assert files() == [f"{ID}.html"]
    html = Path(f"{ID}.html").read_text("utf-8")
    assert "mnist / fox" in html
    path = Path.cwd() / f"{ID}.html"
    assert result.stdout.startswith(f"{path} (")


def test_several_runs(run: Writing) -> None:
    assert call("latest", "-1", ID).exit_code == 0
    assert files() == ["report.html"]
    assert "3 runs compared" in Path("report.html").read_text("utf-8")


def test_output_names_the_file(run: Writing) -> None:
    assert call("-o", "x y.html").exit_code == 0
    assert files() == ["x y.html"]


def test_dash_is_standard_output(run: Writing) -> None:
    result = call("-o", "-")
    assert result.stdout.startswith("<!DOCTYPE html>")
    assert result.stdout.endswith("</html>\n")
    assert files() == []


def test_json_says_what_was_made(run: Writing) -> None:
    found = json.loads(call("--json", "-o", "a.html").stdout)
    size = Path("a.html").stat().st_size
    assert found == {
        "path": str(Path("a.html").absolute()),
        "bytes": size,
        "runs": [ID],
    }


def test_json_and_the_page_do_not_mix(run: Writing) -> None:
    assert call("--json", "-o", "-").exit_code == 2


class TestSaving:
    """The file is replaced as a whole."""

    def test_an_older_one_is_replaced_and_keeps_its_mode(self, run: Writing) -> None:
        old = Path("a.html")
        old.write_text("old")
        old.chmod(0o640)
        with old.open() as held:
            assert call("-o", "a.html").exit_code == 0
            assert held.read() == "old"
        assert old.read_text("utf-8").startswith("<!DOCTYPE")
        assert old.stat().st_mode & 0o777 == 0o640

    def test_a_new_one_has_the_mode_of_new_files(self, run: Writing) -> None:
        Path("new").touch()
        call("-o", "a.html")
        assert Path("a.html").stat().st_mode == Path("new").stat().st_mode

    def test_a_link_stays_one(self, run: Writing) -> None:
        Path("real.html").write_text("old")
        Path("link.html").symlink_to("real.html")
        call("-o", "link.html")
        assert Path("link.html").is_symlink()
        assert Path("real.html").read_text("utf-8").startswith("<!DOCTYPE")

    def test_no_folder(self, run: Writing) -> None:
        result = call("-o", "no/such/a.html")
        assert isinstance(result.exception, MlogError)
        assert "there is no folder" in str(result.exception)

    def test_a_folder_in_its_place(self, run: Writing) -> None:
        Path("a.html").mkdir()
        assert isinstance(call("-o", "a.html").exception, MlogError)
        assert files() == ["a.html"]

    def test_a_failure_leaves_nothing(
        self, run: Writing, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", fail)
        assert isinstance(call("-o", "a.html").exception, OSError)
        assert files() == []

    def test_a_device_is_written_to(self, run: Writing) -> None:
        assert call("-o", "/dev/null").exit_code == 0
        assert not Path("/dev/null").is_file()


def test_how_many_curves(run: Writing) -> None:
    for step in range(3):
        run.metric({"a": step, "b": step, "c": step}, step)
    call("-o", "two.html", "--curves", "2")
    call("-o", "none.html", "--curves", "0")
    counts = [Path(f).read_text("utf-8").count("<svg") for f in files()]
    assert counts == [0, 2]


def test_unknown_run(run: Writing) -> None:
    result = call("nothing")
    assert isinstance(result.exception, MlogError)
    assert files() == []


def test_too_many_runs(run: Writing) -> None:
    result = call(*["latest"] * 65)
    assert result.exit_code == 2
    assert "at most 64 runs" in result.stderr


def test_help_has_an_example() -> None:
    assert "mlog report baseline latest -o" in call("--help").stdout
