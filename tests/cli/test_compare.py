"""`mlog compare` shows runs side by side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result

from mlog.cli.compare import command
from mlog.errors import MlogError
from tests.reader.conftest import Writing

Make: TypeAlias = Callable[..., Writing]


@pytest.fixture
def make(run_dir: Path) -> Make:
    """Make runs `a`, `b`, …, the later the newer."""

    def write(name: str, losses: tuple[Any, ...] = (), **params: Any) -> Writing:
        second = ord(name[0]) - ord("a")
        run = Writing(run_dir / "mnist" / f"20261123-1827{second:02}-{second:06}")
        run.event("run.start", experiment="mnist", display_name=name)
        run.event("run.params", **params)
        for step, loss in enumerate(losses):
            run.metric({"loss": loss}, step)
        run.end()
        (run.folder / "run.json").write_text(json.dumps({"display_name": name}))
        return run

    return write


def call(*args: str, width: int = 100) -> Result:
    return CliRunner().invoke(command, args, env={"COLUMNS": str(width)})


def shown(*args: str, width: int = 100) -> list[str]:
    result = call(*args, width=width)
    assert (result.exit_code, result.stderr) == (0, ""), result.exception
    return result.stdout.splitlines()


def test_the_whole_table(make: Make) -> None:
    make("a", (3, 1, 2), rate=0.1, model="ridge")
    make("b", (4, 2, 4), rate=0.2, model="ridge")
    assert shown("a", "b") == [
        "            a                       b",
        "params that differ (1 of 2)",
        "  rate      0.1                     0.2",
        "metrics (1)",
        "  loss      2                       4  +2 (+100 %)",
        "    min     1                       2  +1 (+100 %)",
        "    max     3                       4  +1 (+33 %)",
        "runs",
        "  id        20261123-182700-000000  20261123-182701-000001",
        "  status    Completed               Completed",
        "  duration  1 min 30 s              1 min 30 s",
    ]


def test_default_is_the_two_newest(make: Make) -> None:
    for name in "abc":
        make(name)
    assert shown()[0].split() == ["b", "c"]
    assert shown("-1", "-3")[0].split() == ["c", "a"]


def test_all_shows_what_is_the_same(make: Make) -> None:
    make("a", rate=0.1, model="ridge").event("run.tags", owner="me")
    make("b", rate=0.2, model="ridge").event("run.tags", owner="me")
    assert "tags: all 1 the same" in shown("a", "b")
    lines = shown("a", "b", "--all")
    assert "params (1 of 2 differ)" in lines
    assert "tags (all the same)" in lines
    assert [line.split() for line in lines if "ridge" in line or "owner" in line] == [
        ["model", "ridge", "ridge"],
        ["owner", "me", "me"],
    ]


def test_packages_are_counted_and_shown_if_asked_for(make: Make) -> None:
    make("a").event("run.environment", packages={"numpy": "1", "x": "1", "same": "1"})
    make("b").event("run.environment", packages={"numpy": "2", "same": "1"})
    assert shown("a", "b")[-1] == "  2 packages differ: --packages shows them"
    assert [line.split() for line in shown("a", "b", "--packages")[-2:]] == [
        ["numpy", "1", "2"],
        ["x", "1", "–"],
    ]


def test_runs_that_have_no_room_come_below(make: Make) -> None:
    """Each block has the first run, which the others are compared with."""
    for name in "abcd":
        make(name, (1.0, 2.0))
    wide = shown("a", "b", "c", "d", width=200)
    assert wide[0].split() == ["a", "b", "c", "d"]
    lines = shown("a", "b", "c", "d", width=80)
    heads = [line.split() for line in lines if line.split()[:1] == ["a"]]
    assert heads == [["a", "b"], ["a", "c"], ["a", "d"]]
    assert max(map(len, lines)) <= 80


def test_a_long_text_leaves_room_for_the_run_beside(make: Make) -> None:
    """Numbers of both and how far they are apart are still there."""
    make("a", (1.0, 2.0), long="x" * 200)
    make("b", (1.0, 3.0), long="x" * 199)
    lines = shown("a", "b", width=80)
    assert lines[0].split() == ["a", "b"]
    (row,) = [line for line in lines if line.startswith("  loss")]
    assert row.split()[:3] == ["loss", "2", "3"]
    assert "+1 (+50 %)" in row


def test_packages_that_are_not_known_differ_in_nothing(make: Make) -> None:
    """As of a run that was killed before it could say."""
    make("a").event("run.environment", packages={"numpy": "1", "x": "1"})
    make("b")
    for more in ([], ["--packages"]):
        assert shown("a", "b", *more)[-1] == "  packages of b are not known"


def test_long_and_odd_texts_stay_on_their_line(make: Make) -> None:
    make("a", **{"p\x1b[2J": "x\n" * 100})
    make("b", **{"p\x1b[2J": "y"})
    result = call("a", "b", width=80)
    assert "\x1b" not in result.stdout
    assert r"p\x1b[2J" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_metric_that_a_run_has_not(make: Make) -> None:
    make("a", (1.0,))
    make("b")
    assert "  loss      1                       –" in shown("a", "b")
    assert "no metrics" in shown("b", "b")


def test_plot_has_the_same_axes_for_all(make: Make) -> None:
    make("a", (0.0, 1.0))
    make("b", (0.0, 10.0, 5.0))
    lines = shown("a", "b", "--plot", width=60)
    start = lines.index("loss")
    assert [n for n, line in enumerate(lines[start:]) if line in ("  a", "  b")] == [
        1,
        10,
    ]
    axes = [line for line in lines[start:] if "└" in line]
    assert len(axes) == 2
    assert axes[0] == axes[1]


def test_plot_without_curves_says_so(make: Make) -> None:
    make("a", (1.0,))
    assert shown("a", "a", "--plot")[-1].startswith("no curves")


def test_json(make: Make) -> None:
    make("a", (3, "NaN"), rate=0.1, model="ridge")
    make("b", (4,), rate=0.2, model="ridge")
    (line,) = shown("a", "b", "--json")
    found = json.loads(line)
    assert [run["name"] for run in found["runs"]] == ["a", "b"]
    assert found["runs"][0]["duration"] == 90
    assert found["params"] == [{"name": "rate", "differs": True, "values": [0.1, 0.2]}]
    assert found["metrics"] == [
        {
            "name": "loss",
            "values": [
                {"last": "NaN", "min": 3, "max": 3, "count": 2, "delta": None},
                {"last": 4, "min": 4, "max": 4, "count": 1, "delta": None},
            ],
        }
    ]
    (line,) = shown("a", "b", "--json", "--all")
    assert [p["name"] for p in json.loads(line)["params"]] == ["rate", "model"]


def test_one_run_is_a_wrong_call(make: Make) -> None:
    make("a")
    result = call("a")
    assert result.exit_code == 2
    assert "give two or more runs" in result.stderr


def test_unknown_run(make: Make) -> None:
    make("a")
    result = call("a", "nothing")
    assert result.exit_code == 1
    assert isinstance(result.exception, MlogError)


def test_no_runs_at_all(run_dir: Path) -> None:
    result = call()
    assert isinstance(result.exception, MlogError)
    assert "no runs yet" in str(result.exception)


def test_help_has_an_example() -> None:
    assert "mlog compare -2 latest --plot" in call("--help").stdout


def test_a_long_name_gives_way_to_numbers(make: Make) -> None:
    """Where there is no room for both, the end of the name is left out."""
    name = "a" + " long" * 12
    first = make(name, (3, 1, 2), rate=0.1)
    second = make("b", (4, 2, 4), rate=0.2)
    ids = first.folder.name, second.folder.name
    wide, *_ = shown(*ids, width=200)
    assert wide.split("  ")[-1] == "b"
    assert wide.strip().startswith(name[:43] + "…")
    narrow = shown(*ids, width=66)
    assert narrow[0].split("  ")[-2:] == [name[:21] + "…", "b"]
    assert "  loss      2                       4  +2 (+100 %)" in narrow
