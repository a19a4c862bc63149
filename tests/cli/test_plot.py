"""`mlog plot` draws metrics in the terminal, or into a picture."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from mlog.cli.plot import command
from mlog.errors import MlogError
from tests.reader.conftest import PNG, Writing

ID = "20261123-182700-3f9a1c"
WHOLE = [
    f"mnist/{ID}",
    "",
    "loss",
    "  last 1 at step 40, 1 NaN, min 1 at 30, max 4 …",
    "                         ×",
    "4 ┤⠉⠒⠤⣀",
    "  │    ⠉⠒⠢⢄⡀",
    "2 ┤        ⠈⠑⠢⠄",
    "  │                                 ⢀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀",
    "  └┬──────────┬──────────┬──────────┬──────────┬",
    "   0         10         20         30         40",
]

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def run(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writing:
    """A run, and an empty folder to be in."""
    run = Writing(run_dir / "mnist" / ID)
    run.event("run.start", experiment="mnist", display_name="fox")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return run


def call(*args: str, width: int = 60) -> Result:
    return CliRunner().invoke(command, args, env={"COLUMNS": str(width)})


def shown(*args: str, width: int = 60) -> list[str]:
    result = call(*args, width=width)
    assert (result.exit_code, result.stderr) == (0, ""), result.exception
    return result.stdout.splitlines()


def titles(lines: list[str]) -> list[str]:
    """Return the names above the curves."""
    return [lines[n + 1] for n, line in enumerate(lines) if line == ""]


def failure(*args: str) -> str:
    result = call(*args)
    assert result.exit_code == 1
    assert isinstance(result.exception, MlogError)
    return str(result.exception)


def test_the_whole_picture(run: Writing) -> None:
    for step, loss in enumerate([4, 2, "NaN", 1, 1]):
        run.metric({"loss": loss}, step * 10)
    assert shown("latest", "loss", "--height", "4", "--width", "48") == WHOLE


class TestMetrics:
    """Names and patterns choose; without one the first are drawn."""

    @pytest.fixture(autouse=True)
    def three(self, run: Writing) -> None:
        for step in range(3):
            run.metric({"loss": step, "val/a": step, "val/b": step}, step)
        run.metric({"once": 1}, 0)
        run.value("note", "good")

    def test_all_with_a_curve(self) -> None:
        assert titles(shown()) == ["loss", "val/a", "val/b"]

    def test_names_and_patterns(self) -> None:
        assert titles(shown("latest", "val/*", "loss", "val/a")) == [
            *("val/a", "val/b", "loss")
        ]
        assert titles(shown("latest", "once")) == ["once"]

    def test_only_the_first_where_there_are_many(self, run: Writing) -> None:
        for step in range(2):
            run.metric({f"m{n}": step for n in range(20)}, step)
        result = call()
        assert len(titles(result.stdout.splitlines())) == 8
        assert result.stderr == "mlog: … and 15 more: name them to see them\n"

    def test_unknown_offers_others(self) -> None:
        assert "there is val/b, val/a" in failure("latest", "val/c")
        assert "there is loss, val/a" in failure("latest", "qqq")

    def test_what_is_no_number(self) -> None:
        assert "values that are no numbers" in failure("latest", "note")

    def test_metric_in_the_place_of_the_run(self) -> None:
        assert failure("loss").endswith("`mlog plot latest loss`")


class TestNothing:
    """Says what is missing."""

    def test_no_metrics(self, run: Writing) -> None:
        assert "has no metrics yet" in failure()

    def test_only_texts(self, run: Writing) -> None:
        run.value("note", "good")
        assert "no metrics that are numbers" in failure()

    def test_no_runs(self, run_dir: Path) -> None:
        assert "no runs yet" in failure()

    def test_nothing_finite(self, run: Writing) -> None:
        run.metric({"loss": "NaN"}, 0)
        assert shown()[-1] == "no finite values"


class TestRanks:
    """Rank 0 unless another is asked for; `all` draws each."""

    @pytest.fixture(autouse=True)
    def ranks(self, run: Writing) -> None:
        for rank in (1, 0):
            for step in range(3):
                run.metric({"loss": step * 10 + rank}, step)
            file = run.folder / "metrics.jsonl"
            file.rename(run.folder / f"metrics-r{rank}.jsonl")

    def test_choice(self) -> None:
        assert "last 20 " in shown()[3]
        assert "last 21 " in shown("latest", "--rank", "1")[3]
        lines = shown("latest", "--rank", "all")
        assert titles(lines) == ["loss · rank 0", "loss · rank 1"]

    def test_unknown(self) -> None:
        assert "none of that rank" in failure("latest", "--rank", "7")
        assert call("--rank", "x").exit_code == 2


class TestPictures:
    """By the ending of the file's name."""

    @pytest.fixture(autouse=True)
    def two(self, run: Writing) -> None:
        for step in range(300):
            run.metric({"loss": step or "NaN", "<b>$x_$": 1 / (step + 1)}, step)

    def test_svg_has_all_curves(self) -> None:
        (line,) = shown("latest", "-o", "a.svg", "--width", "300", "--height", "100")
        assert line.startswith("a.svg (")
        picture = ElementTree.fromstring(Path("a.svg").read_bytes())
        assert (picture.get("width"), picture.get("height")) == ("300", "224")
        inner = picture.findall(f"{SVG}svg")
        assert [svg.get("y") for svg in inner] == ["6", "118"]
        names = [svg.findtext(f"{SVG}text") for svg in inner]
        assert names == ["loss", "<b>$x_$"]

    @pytest.mark.parametrize("log", [[], ["--log"]])
    def test_png_comes_from_matplotlib(self, log: list[str]) -> None:
        pytest.importorskip("matplotlib", reason="draws the PNG")
        shown("latest", "-o", "a.png", "--width", "400", "--height", "120", *log)
        content = Path("a.png").read_bytes()
        assert content[:8] == PNG[:8]
        width, height = content[16:20], content[20:24]
        assert int.from_bytes(width) == 400
        assert int.from_bytes(height) == 240

    def test_png_without_matplotlib_says_how(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert "pip install 'mlog-runs[plot]'" in failure("latest", "-o", "a.png")
        assert not Path("a.png").exists()

    def test_other_endings_are_a_wrong_call(self) -> None:
        result = call("-o", "a.gif")
        assert result.exit_code == 2
        assert "does not end in .svg or .png" in result.stderr
        assert call("-o", "a.svg", "--json").exit_code == 2

    def test_too_many_curves(self, run: Writing) -> None:
        run.metric({f"m{n}": n for n in range(61)}, 0)
        assert "at most 60 curves, got 61" in failure("latest", "m*", "-o", "a.svg")


def test_json_is_a_line_for_each_metric(run: Writing) -> None:
    for step in range(1_000):
        run.metric({"a": 5000 if step == 77 else step, "b": "Infinity"}, step)
    first, second = map(json.loads, shown("latest", "--json", "--width", "24"))
    assert (first["name"], first["max"], first["count"]) == ("a", 5000, 1000)
    assert len(first["columns"]) == 48
    assert max(column["max"] for column in first["columns"]) == 5000
    assert sum(column["count"] for column in first["columns"]) == 1000
    assert (second["last"], second["min"], second["inf"]) == ("Infinity", "NaN", 1000)


@pytest.mark.parametrize("width", [80, 200])
def test_fits_the_terminal(run: Writing, width: int) -> None:
    for step in range(3):
        run.metric({"loss" * 60: step * 1e-9}, step)
    assert max(map(len, shown(width=width))) == width


def test_names_do_not_act_on_the_terminal(run: Writing) -> None:
    run.metric({"\x1b[2J": 1.0}, 1)
    assert titles(shown()) == [r"\x1b[2J"]


def test_log_axis(run: Writing) -> None:
    for step in range(5):
        run.metric({"loss": 10.0**-step}, step)
    labels = [line.split()[0] for line in shown("latest", "--log") if "┤" in line]
    assert labels[0] == "1"
    assert "0.01" in labels


def test_points_without_steps_are_counted(run: Writing) -> None:
    for value in (3.0, 2.0):
        run.metric({"loss": value})
    assert "last 2 at point 1" in shown()[3]


def test_help_has_an_example() -> None:
    assert "mlog plot baseline loss --log" in call("--help").stdout
