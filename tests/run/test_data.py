"""What a run records besides numbers: the entries, and the files they speak of."""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mlog import context
from mlog.errors import MlogWarning
from mlog.folder import Folder, access_for
from mlog.run import data as data_module
from mlog.run.charts import confusion_matrix
from mlog.run.data import DataMethods
from mlog.run.images import png_of
from mlog.run.joining import joined
from mlog.run.recorder import Recorder
from mlog.run.writer import Place
from tests.helpers import entries
from tests.odd_values import EVIL, NAN

PIXELS = [[0, 255], [255, 0]]


class DataRun(DataMethods):
    """A run of nothing but the methods under test; its files are real."""

    def __init__(self, recorder: Recorder | None, path: Path | None) -> None:
        self._identify(
            recorder,
            run_id="run1",
            experiment="exp",
            name=None,
            path=path,
            parent=None,
        )

    @property
    def folder(self) -> Path:
        assert self.path is not None
        return self.path

    def values(self, name: str) -> list[Any]:
        """Return the values of a name, as they lie in the file."""
        found = entries(self.folder, "metrics")
        return [e["value"][name] for e in found if name in e.get("value", {})]

    def value(self, name: str) -> Any:
        (found,) = self.values(name)
        return found

    def file(self, name: str) -> Path:
        """Return the file that the only value of a name speaks of."""
        value = self.value(name)
        assert value["type"] == "mlog.artifact"
        return self.folder / "artifacts" / str(value["path"])

    def artifacts(self) -> list[str]:
        return [
            e["data"]["path"]
            for e in entries(self.folder, "events")
            if e["event"] == "run.artifact"
        ]


MakeRun = Callable[..., DataRun]


@pytest.fixture
def make_run(run_dir: Path) -> Iterator[MakeRun]:
    """Return a maker of runs of one folder; `rank=1` is one of its ranks."""
    opened: list[Recorder] = []

    def make(
        *, strict: bool = False, rank: int | None = None, main: bool = True
    ) -> DataRun:
        access = access_for(run_dir, "private")
        folder = Folder.open_below(run_dir, ("exp", "run1"), access)
        place = Place(main=main and not rank, rank=rank, world_size=2 if rank else 1)
        if not opened:
            folder.replace("run.json", b"{}")
        recorder = joined(folder, place)
        recorder.strict = strict
        opened.append(recorder)
        return DataRun(recorder, folder.path)

    yield make
    for recorder in opened:
        recorder.is_open = False
        recorder.writer.end("Completed")
        recorder.writer.close()


@pytest.fixture
def run(make_run: MakeRun) -> DataRun:
    """The main writer's run."""
    return make_run()


# --- values ------------------------------------------------------------------------


def test_a_list_is_an_entry(run: DataRun) -> None:
    run.log_list("scores", (n / 2 for n in range(3)), "of the folds", step=7)
    (entry,) = entries(run.folder, "metrics")
    assert entry["value"] == {
        "scores": {"type": "mlog.list", "values": [0.0, 0.5, 1.0]}
    }
    assert (entry["step"], entry["extra"]) == (7, {"description": "of the folds"})


def test_an_empty_list_is_an_entry(run: DataRun) -> None:
    run.log_list("none", [])
    assert run.value("none") == {"type": "mlog.list", "values": []}


def test_nan_is_written_as_its_name(run: DataRun) -> None:
    run.log_list("x", [NAN, -np.inf, None, True, 2**70])
    assert run.value("x")["values"] == ["NaN", "-Infinity", None, True, 2**70]


def test_a_long_list_is_several_entries_in_a_row(run: DataRun) -> None:
    """The description is told once, the step by each."""
    run.log_list("x", range(25_000), "all", step=3)
    found = entries(run.folder, "metrics")
    assert [n for v in run.values("x") for n in v["values"]] == list(range(25_000))
    assert [e["step"] for e in found] == [3] * len(found)
    assert ["extra" in e for e in found] == [True, False, False]


def test_a_row_is_an_entry(run: DataRun) -> None:
    run.log_row(
        "scores", "first", fold=1, auc=np.float32(0.5), run="r", self="s", path=2
    )
    columns = {"fold": 1, "auc": 0.5, "run": "r", "self": "s", "path": 2}
    assert run.value("scores") == {"type": "mlog.row", "columns": columns}
    assert entries(run.folder, "metrics")[0]["extra"] == {"description": "first"}


def test_a_table_is_an_entry(run: DataRun) -> None:
    run.log_table("t", {"a": [1, 2], "b": ["x", None]}, step=1)
    columns = {"a": [1, 2], "b": ["x", None]}
    assert run.value("t") == {"type": "mlog.table", "columns": columns}


def test_a_histogram_is_an_entry(run: DataRun) -> None:
    run.log_histogram("h", [1, 2, 2], bins=2, step=5)
    run.log_histogram("g", edges=[0, 1], counts=[3])
    wanted = {"type": "mlog.histogram", "edges": [1.0, 1.5, 2.0], "counts": [1, 2]}
    assert run.value("h") == wanted
    assert run.value("g") == {"type": "mlog.histogram", "edges": [0, 1], "counts": [3]}


def test_secrets_are_taken_out(run: DataRun) -> None:
    run.log_list("x", ["password=hunter2hunter2"])
    run.log_table("t", {"note": ["Authorization: Bearer abcdefghijklmnop1234"]})
    written = json.dumps(entries(run.folder, "metrics"))
    assert "hunter2" not in written
    assert "abcdefghijklmnop1234" not in written


def test_a_name_of_any_type_is_a_text(run: DataRun) -> None:
    name: Any = ["a"]
    run.log_list(name, [1])
    run.log_image(name, plot=PIXELS, step=1)
    assert run.values("['a']")[0]["values"] == [1]
    assert run.values("['a']")[1]["path"] == "['a']_1.png"


# --- texts and pages ---------------------------------------------------------------


def test_a_short_text_is_the_value_itself(run: DataRun) -> None:
    run.log_text("sample", "once upon a time", step=2)
    assert run.value("sample") == "once upon a time"
    assert run.artifacts() == []


def test_a_long_text_is_a_file(run: DataRun) -> None:
    """More than 64 KiB of UTF-8; nothing of it is cut out."""
    for size, is_file in ((65_536, False), (65_537, True)):
        run.log_text(f"t{size}", "é" * (size // 2) + "x" * (size % 2))
        assert (type(run.value(f"t{size}")) is dict) is is_file
    text = run.file("t65537").read_text(encoding="utf-8")
    assert text == "é" * 32_768 + "x"
    assert run.value("t65537")["media_type"] == "text/plain"


def test_a_page_is_a_file(run: DataRun, tmp_path: Path) -> None:
    class Shown:
        def _repr_html_(self) -> str:
            return "<i>shown</i>"

    run.log_html("text", "<b>ü</b>", step=1)
    run.log_html("object", Shown())
    (tmp_path / "page.html").write_text("<p>", encoding="utf-8")
    run.log_html("path", tmp_path / "page.html")
    assert run.file("text").read_text(encoding="utf-8") == "<b>ü</b>"
    assert run.value("text")["path"] == "text_1.html"
    assert run.file("object").read_text(encoding="utf-8") == "<i>shown</i>"
    assert run.value("path")["path"] == "page.html"
    assert {run.value(n)["media_type"] for n in ("text", "object", "path")} == {
        "text/html"
    }


# --- pictures, sound, files --------------------------------------------------------


def test_pixels_become_a_png(run: DataRun) -> None:
    run.log_image("train/sample", plot=np.array(PIXELS, dtype="u1"), step=100)
    path = "train/sample_100.png"
    wanted = {"type": "mlog.artifact", "path": path, "media_type": "image/png"}
    assert run.value("train/sample") == wanted
    assert run.file("train/sample").read_bytes() == png_of(PIXELS)
    assert run.artifacts() == [path]


@pytest.mark.parametrize("how", ["plot", "path", "second"])
def test_a_picture_may_be_given_anywhere(run: DataRun, how: str) -> None:
    if how == "second":
        run.log_image("x", png_of(PIXELS))
    else:
        arguments: dict[str, Any] = {how: PIXELS}
        run.log_image("x", **arguments)
    assert run.file("x").read_bytes() == png_of(PIXELS)


@pytest.mark.parametrize(
    ("given_path", "stored"),
    [
        ("plot.png", "plot.png"),
        ("./plots/a.png", "plots/a.png"),
        ("plots/../plots/a.png", "a.png"),
        ("{cwd}/plots/a.png", "a.png"),
    ],
)
def test_a_file_is_stored_under_its_own_path(
    run: DataRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given_path: str,
    stored: str,
) -> None:
    """As v1 did, where the path is relative; otherwise under its last part."""
    monkeypatch.chdir(tmp_path)
    Path("plots").mkdir()
    for name in ("plot.png", "plots/a.png"):
        Path(name).write_bytes(png_of(PIXELS))
    run.log_image("x", path=given_path.format(cwd=tmp_path))
    assert run.value("x")["path"] == stored
    assert run.file("x").read_bytes() == png_of(PIXELS)


def test_images_of_one_moment_are_all_kept(run: DataRun) -> None:
    """In v1 two images in one second had one name."""
    for shade in range(20):
        run.log_image("x", plot=[[shade]], step=1 if shade % 2 else None)
    found = [run.folder / "artifacts" / value["path"] for value in run.values("x")]
    assert [path.read_bytes() for path in found] == [png_of([[n]]) for n in range(20)]
    assert found[1].name == "x_1.png"


def test_a_file_logged_again_does_not_replace_the_first(
    run: DataRun, tmp_path: Path
) -> None:
    path = tmp_path / "plot.png"
    for step in (1, 2, 2):
        path.write_bytes(png_of([[step]]))
        run.log_image("x", path=path, step=step)
    names = [value["path"] for value in run.values("x")]
    assert names[:2] == ["plot.png", "plot_2.png"]
    assert len(set(names)) == 3


def test_a_name_that_was_uploaded_is_not_taken(run: DataRun) -> None:
    """Nor one that another process of the run has given."""
    run.upload_file("x_1.png", b"mine")
    run.log_image("x", plot=PIXELS, step=1)
    assert run.get_file_names()[0] == "x_1.png"
    assert (run.folder / "artifacts" / "x_1.png").read_bytes() == b"mine"


def test_ranks_do_not_share_names(run: DataRun, make_run: MakeRun) -> None:
    """They may log the same step at the same moment."""
    other = make_run(rank=1)
    run.log_image("x", plot=[[0]], step=1)
    other.log_image("x", plot=[[1]], step=1)
    names = sorted(value["path"] for value in run.values("x"))
    assert names == ["x_1.png", "x_1_r1.png"]


def test_a_process_that_joined_uses_plain_names(
    run: DataRun, make_run: MakeRun
) -> None:
    """A submitted script is no main writer, and its charts are found by name."""
    script = make_run(main=False)
    script.log_confusion_matrix("cm", y_true=[0, 1], y_pred=[0, 1])
    script.log_image("x", plot=PIXELS, step=1)
    assert script.get_file_names() == ["cm", "x_1.png"]


def test_a_name_that_another_process_is_storing_is_not_taken(
    run: DataRun, make_run: MakeRun
) -> None:
    """And nothing is left of the claims on names."""
    other = make_run(main=False)

    class Figure:
        def savefig(self, target: Any, format: str) -> None:
            target.write(b"figure")

    with run._free_name("x", ".png", 1, bare=False) as name:
        other.log_figure("x", Figure(), step=1)
    assert name == "x_1.png"
    assert other.get_file_names() == [other.value("x")["path"]]
    assert other.get_file_names() != ["x_1.png"]
    assert list(run.folder.glob(".*.claim")) == []


def test_the_step_of_the_context_names_the_file(run: DataRun) -> None:
    with context.step(12):
        run.log_image("x", plot=PIXELS)
    assert run.value("x")["path"] == "x_12.png"


@pytest.mark.parametrize(
    "arguments", [{}, {"path": "a.png", "plot": PIXELS}], ids=["neither", "both"]
)
def test_an_image_is_a_path_or_a_plot(
    run: DataRun, arguments: Any, request: Any
) -> None:
    word = request.node.callspec.id
    with pytest.warns(MlogWarning, match=f"exactly one of path= and plot=, got {word}"):
        run.log_image("x", **arguments)
    assert entries(run.folder) == []


def test_figures_sound_and_video_become_files(run: DataRun) -> None:
    class Figure:
        def savefig(self, target: Any, format: str) -> None:
            target.write(b"figure")

    run.log_figure("figure", Figure(), step=1)
    run.log_audio("audio", [0.0, 0.5], 8_000, step=1)
    run.log_video("video", np.zeros((2, 2, 2)), fps=2, step=1)
    assert run.file("figure").read_bytes() == b"figure"
    kinds = {
        run.value(n)["path"]: run.value(n)["media_type"] for n in ("audio", "video")
    }
    assert kinds == {"audio_1.wav": "audio/wav", "video_1.png": "image/apng"}


def test_a_file_of_any_kind_is_kept(run: DataRun, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"123")
    run.log_file("weights", path, step=1, description="after warm-up")
    wanted = {"path": "weights.bin", "media_type": "application/octet-stream"}
    assert run.value("weights") == {"type": "mlog.artifact", **wanted}
    assert run.file("weights").read_bytes() == b"123"
    (entry,) = entries(run.folder, "metrics")
    assert (entry["step"], entry["extra"]["description"]) == (1, "after warm-up")


def test_a_folder_is_kept_with_all_below(run: DataRun, tmp_path: Path) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "a.txt").write_text("a", encoding="utf-8")
    (tmp_path / "data" / "inner" / "b.txt").write_text("b", encoding="utf-8")
    run.log_folder("set", tmp_path / "data")
    assert run.artifacts() == ["set/a.txt", "set/inner/b.txt"]
    wanted = {"path": "set", "media_type": "inode/directory"}
    assert run.value("set") == {"type": "mlog.artifact", **wanted}


# --- charts ------------------------------------------------------------------------

CHART = confusion_matrix(["a", "b"], ["a", "a"])


@pytest.mark.parametrize("make", [dict, json.dumps])
def test_a_chart_is_a_file_and_an_entry(run: DataRun, make: Any) -> None:
    run.log_confusion_matrix("cm", make(CHART), "of the test set")
    value = run.value("cm")
    assert value == {"type": "mlog.confusion_matrix", **CHART, "path": "cm"}
    stored = run.folder / "artifacts" / "cm"
    assert orjson.loads(stored.read_bytes()) == CHART


def test_a_chart_of_each_step_is_kept(run: DataRun) -> None:
    for step in (1, 2):
        run.log_confusion_matrix("cm", CHART, step=step)
    assert [value["path"] for value in run.values("cm")] == ["cm", "cm_2"]


def test_a_large_chart_is_only_a_file(run: DataRun) -> None:
    labels = [f"c{n}" for n in range(300)]
    chart = CHART | {"data": {"class_labels": labels, "matrix": [[1_000] * 300] * 300}}
    run.log_confusion_matrix("cm", chart)
    value = run.value("cm")
    assert "data" not in value
    stored = run.folder / "artifacts" / value["path"]
    assert orjson.loads(stored.read_bytes()) == chart


def test_charts_are_built_from_data(run: DataRun) -> None:
    true, scores = [0, 1, 1], [0.2, 0.9, 0.4]
    run.log_confusion_matrix("cm", y_true=["a", "b"], y_pred=["a", "a"])
    run.log_accuracy_table("acc", y_true=true, probabilities=scores)
    run.log_residuals("res", y_true=true, y_pred=scores, bins=2)
    run.log_predictions("pred", y_true=true, y_pred=scores, bins=2)
    assert run.value("cm")["data"] == CHART["data"]
    assert run.value("acc")["type"] == "mlog.accuracy_table"
    assert run.value("res")["data"]["bin_counts"] == [1, 2]
    assert run.value("pred")["data"]["bin_counts"] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "needs its value, or y_true= and y_pred=; got neither"),
        ({"value": CHART, "y_true": [1], "y_pred": [1]}, "got both"),
        ({"y_true": [1]}, "needs both y_true= and y_pred="),
        ({"value": {"data": 1}}, "'schema_type' is missing"),
    ],
)
def test_a_wrong_chart_leaves_nothing(run: DataRun, arguments: Any, text: str) -> None:
    with pytest.warns(MlogWarning, match=text):
        run.log_confusion_matrix("cm", **arguments)
    assert entries(run.folder) == []


# --- never in the way --------------------------------------------------------------

Call = Callable[[DataRun, Any], None]

CALLS: dict[str, Call] = {
    "list": lambda run, value: run.log_list("x", value),
    "row": lambda run, value: run.log_row("x", a=value),
    "table": lambda run, value: run.log_table("x", value),
    "histogram": lambda run, value: run.log_histogram("x", value),
    "text": lambda run, value: run.log_text("x", value),
    "image": lambda run, value: run.log_image("x", value),
    "figure": lambda run, value: run.log_figure("x", value),
    "audio": lambda run, value: run.log_audio("x", value, value),
    "video": lambda run, value: run.log_video("x", value, value),
    "html": lambda run, value: run.log_html("x", value),
    "file": lambda run, value: run.log_file("x", value),
    "folder": lambda run, value: run.log_folder("x", value),
    "matrix": lambda run, value: run.log_confusion_matrix("x", value),
    "accuracy": lambda run, value: run.log_accuracy_table("x", value),
    "residuals": lambda run, value: run.log_residuals("x", value),
    "predictions": lambda run, value: run.log_predictions("x", value),
    "name": lambda run, value: run.log_image(value, plot=PIXELS),
    "step": lambda run, value: run.log_image("x", plot=PIXELS, step=value),
    "description": lambda run, value: run.log_list("x", [1], description=value),
}
ODD = [None, 5, "no/such/file", b"", [], {}, [[]], object(), NAN, *EVIL[:-3]]


def test_every_method_is_called_with_odd_values() -> None:
    names = [name for name in vars(DataMethods) if name.startswith("log_")]
    assert len(names) <= len(CALLS)


@pytest.mark.parametrize("what", CALLS)
def test_no_method_raises(run: DataRun, what: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MlogWarning)
        for value in ODD:
            CALLS[what](run, value() if isinstance(value, type) else value)


def test_a_call_that_fails_is_told_once(run: DataRun) -> None:
    text = "log_table\\('t'\\) could not be recorded: the columns of"
    with pytest.warns(MlogWarning, match=text):
        run.log_table("t", {"a": [1], "b": [1, 2]})
    run.log_table("t", {"a": [1], "b": [1, 2]})
    assert entries(run.folder) == []


def test_each_metric_that_cannot_be_recorded_is_told(run: DataRun) -> None:
    """Nobody has to find out by themselves which values are missing."""
    for name in ("a", "b"):
        with pytest.warns(MlogWarning, match=rf"log_image\('{name}'\) could not be"):
            run.log_image(name, path="missing.png")
        with pytest.warns(MlogWarning, match=rf"log_list\('{name}'\) could not be"):
            run.log_list(name=name, value=5)
    run.log_image("a", path="missing-2.png")  # it has been told of


def test_a_loop_of_failing_calls_stops_being_told(run: DataRun) -> None:
    """A run of a million steps does not fill the terminal."""
    with pytest.warns(MlogWarning) as told:
        for step in range(50):
            run.log_list(f"x{step}", 5)
    assert len(told) == 20
    assert str(told[-1].message).endswith("(more of this kind are not told)")


def test_a_strict_run_raises(make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match="must have one length"):
        make_run(strict=True).log_table("t", {"a": [1], "b": [1, 2]})


def test_a_file_that_cannot_be_stored_is_told(run: DataRun, tmp_path: Path) -> None:
    with pytest.warns(
        MlogWarning, match=r"log_file\('x'\) could not be recorded: No such file"
    ):
        run.log_file("x", tmp_path / "gone")
    assert entries(run.folder) == []


def test_a_folder_of_artifacts_is_not_replaced(run: DataRun) -> None:
    run.upload_file("cm/a", b"")
    run.log_confusion_matrix("cm", CHART, step=3)
    assert run.value("cm")["path"] == "cm_3"


def test_an_ended_run_records_nothing(run: DataRun) -> None:
    assert run._recorder is not None
    run._recorder.is_open = False
    with pytest.warns(MlogWarning, match="run run1 has ended; nothing is recorded"):
        run.log_list("x", [1])
    run.log_image("x", plot=PIXELS)
    assert entries(run.folder) == []
    assert not (run.folder / "artifacts").exists()


def test_a_run_that_is_off_looks_at_nothing() -> None:
    class Untouched:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("looked at")

    run = DataRun(None, None)
    for call in CALLS.values():
        call(run, Untouched())


def test_an_artifact_that_fails_leaves_no_entry(
    run: DataRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DataRun, "_put", full)
    with pytest.warns(MlogWarning, match="No space left on device"):
        run.log_image("x", plot=PIXELS)
    assert entries(run.folder) == []


def test_two_processes_without_a_rank_do_not_share_names(
    run: DataRun, make_run: MakeRun
) -> None:
    """The first has the plain name, whichever process it is."""
    make_run(main=False).log_image("x", plot=PIXELS, step=1)
    run.log_image("x", plot=PIXELS, step=1)
    first, second = (value["path"] for value in run.values("x"))
    assert "x_1.png" in (first, second)
    assert first != second


def test_names_are_given_by_one_thread_at_a_time(run: DataRun) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        for shade in range(64):
            pool.submit(run.log_image, "x", plot=[[shade]], step=1)
    found = {
        (run.folder / "artifacts" / v["path"]).read_bytes() for v in run.values("x")
    }
    assert found == {png_of([[shade]]) for shade in range(64)}


def test_the_module_is_light() -> None:
    """A program that logs numbers waits for none of the modules behind it."""
    source = Path(data_module.__file__).read_text(encoding="utf-8")
    top = source.split("if TYPE_CHECKING:")[0]
    for name in ("tables", "images", "media", "charts"):
        assert f"mlog.run.{name}" not in top
