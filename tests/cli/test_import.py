"""`mlog import` brings runs of other tools home; the sources have tests of their own."""

import json
from pathlib import Path

import pytest

import mlog as library
from tests.cli.conftest import Mlog


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("step,loss,acc\n0,0.5,0.1\n1,0.25,0.2\n")
    return path


def test_a_line_for_each_run(mlog: Mlog, table: Path) -> None:
    shown = mlog("import", "--from", "csv", str(table), "--experiment", "old")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("imported old/log-")
    assert shown.stdout.endswith(" log (4 values)\n")
    again = mlog("import", "--from", "csv", str(table), "--experiment", "old")
    assert (again.exit_code, again.stdout) == (0, "1 run is here already, unchanged\n")
    run = library.open_run("log")
    assert run.get_metrics() == {"loss": [0.5, 0.25], "acc": [0.1, 0.2]}


def test_json(mlog: Mlog, table: Path) -> None:
    shown = mlog("import", "--from", "csv", str(table), "--json")
    (run,) = json.loads(shown.stdout)["runs"]
    assert (run["result"], run["values"], run["files"]) == ("imported", 4, 0)
    assert Path(run["path"]).name == run["run_id"]


def test_columns(mlog: Mlog, table: Path) -> None:
    options = ("--metric", "acc=val/acc", "--step-column", "step")
    mlog("import", "--from", "csv", str(table), *options)
    assert library.open_run("latest").get_metrics() == {"val/acc": [0.1, 0.2]}


def test_what_mlog_exports_comes_back(
    mlog: Mlog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with library.start_run("exp", params={"lr": 0.5}) as run:
        for step in range(3):
            run.log("loss", 0.5 * step, step=step)
    mlog("export", "--to", "tensorboard", str(tmp_path / "tb"))
    mlog("export", "--to", "csv", str(tmp_path / "csv"))
    for form, place in (("tensorboard", "tb"), ("csv", "csv/metrics.csv")):
        root = tmp_path / f"root-{form}"
        given = ("--from", form, str(tmp_path / place), "--dir", str(root))
        shown = mlog("import", *given)
        assert shown.exit_code == 0, shown.stderr
        back = library.open_run("latest", dir=root)
        assert (back.params, back.status) == ({"lr": 0.5}, "Completed")
        assert set(back.get_metrics()) == {"loss"}
        ours, theirs = (list(r.history("loss")) for r in (run, back))
        assert [(s, v) for s, v, _ in ours] == [(s, v) for s, v, _ in theirs]
        assert [t for *_, t in theirs] == pytest.approx([t for *_, t in ours], abs=1e-6)


def test_pictures_go_out_and_come_back(mlog: Mlog, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 3), (200, 30, 30)).save(tmp_path / "x.png")
    with library.start_run("exp") as run:
        run.log_image("eye", path=str(tmp_path / "x.png"), step=3)
    mlog("export", "--to", "tensorboard", str(tmp_path / "tb"))
    given = (
        "--from",
        "tensorboard",
        str(tmp_path / "tb"),
        "--dir",
        str(tmp_path / "b"),
    )
    assert mlog("import", *given).exit_code == 0
    back = library.open_run("latest", dir=tmp_path / "b")
    assert back.path is not None
    content = (back.path / "artifacts" / "eye_3.png").read_bytes()
    assert content == (tmp_path / "x.png").read_bytes()


def test_a_run_that_cannot_be_imported_does_not_stop_the_others(
    mlog: Mlog, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("run_id,step,loss\ne/a,0,1\ne/b,0,1\n")
    with library.start_run("e", run_id="a"):
        pass
    shown = mlog("import", "--from", "csv", str(path))
    assert shown.exit_code == 1
    assert "imported e/b" in shown.stdout
    assert "run a in" in shown.stderr
    assert "was not imported from csv:e/a" in shown.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--from", "csv", "nowhere.csv"), 1, "there is no nowhere.csv"),
        (("--from", "xml", "x"), 2, "'xml' is not one of"),
        (("x",), 2, "Missing option '--from'"),
        (("--from", "mlflow", "http://a:b@h"), 2, "has a user or password in it"),
        (("--from", "mlflow", "ftp://h"), 2, "expected an address"),
        (
            ("--from", "mlflow", "http://127.0.0.1:1"),
            1,
            "no answer from http://127.0.0.1:1",
        ),
        (("--from", "csv", "http://h"), 2, "expected a path"),
        (("--from", "tensorboard", ".", "--metric", "x"), 2, "are for csv"),
        (("--from", "csv", ".", "--experiment", "a", "--experiment", "b"), 2, "once"),
        (("--from", "csv", ".", "--metric", "=x"), 2, "expected COLUMN"),
    ],
)
def test_wrong_calls(mlog: Mlog, args: tuple[str, ...], code: int, says: str) -> None:
    shown = mlog("import", *args)
    assert shown.exit_code == code
    assert says in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr
