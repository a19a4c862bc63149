"""Files of a run, its snapshot, and models made of its files."""

import io
import zipfile
from pathlib import Path

import pytest

from mlog.azureml.core import Experiment, Model, Run, Workspace
from mlog.azureml.exceptions import ModelPathNotFoundException


def test_files_go_up_and_down(run: Run) -> None:
    Path("a.txt").write_text("a")
    run.upload_file("outputs/a.txt", "a.txt")
    run.upload_file("./stream.bin", io.BytesIO(b"bytes"))
    assert run.get_file_names() == ["outputs/a.txt", "stream.bin"]
    run.download_file("outputs/a.txt", output_file_path="copy.txt")
    run.download_file("stream.bin")
    assert Path("copy.txt").read_text() == "a"
    assert Path("stream.bin").read_bytes() == b"bytes"


def test_several_files_go_up_and_down(run: Run) -> None:
    for name in ("a", "b"):
        Path(name).write_text(name)
    run.upload_files(["x/a", "x/b"], ["a", "b"])
    with pytest.raises(TypeError, match="same length"):
        run.upload_files(["x/c"], ["a", "b"])
    run.download_files(prefix="x", output_directory="down", append_prefix=False)
    assert sorted(path.name for path in Path("down").iterdir()) == ["a", "b"]


def test_a_folder_goes_up(run: Run) -> None:
    Path("data/inner").mkdir(parents=True)
    Path("data/inner/a").write_text("a")
    run.upload_folder("up", "data")
    assert run.get_file_names() == ["up/inner/a"]


def test_outputs_and_logs_are_taken_in_at_the_end(experiment: Experiment) -> None:
    run = experiment.start_logging()
    Path("outputs").mkdir()
    Path("outputs/model.pkl").write_bytes(b"model")
    Path("logs").mkdir()
    Path("logs/train.log").write_text("line\n")
    run.complete()
    assert run.get_file_names() == ["logs/train.log", "outputs/model.pkl"]


def test_outputs_may_be_left_out(experiment: Experiment) -> None:
    run = experiment.start_logging(outputs=False)
    Path("outputs").mkdir()
    Path("outputs/model.pkl").write_bytes(b"model")
    run.complete()
    assert run.get_file_names() == []


def test_another_folder_may_be_taken_in(experiment: Experiment) -> None:
    run = experiment.start_logging(outputs="results")
    Path("results").mkdir()
    Path("results/model.pkl").write_bytes(b"model")
    run.complete()
    assert run.get_file_names() == ["results/model.pkl"]


def test_a_snapshot_is_taken_once_and_restored_as_a_zip(experiment: Experiment) -> None:
    Path("src").mkdir()
    Path("src/train.py").write_text("print(1)\n")
    run = experiment.start_logging(snapshot_directory="src")
    with pytest.raises(Exception, match="snapshot"):
        run.take_snapshot("src")
    path = run.restore_snapshot(run.get_snapshot_id(), "down")
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["train.py"]


def test_files_of_a_run_become_a_model(workspace: Workspace, run: Run) -> None:
    Path("model.pkl").write_bytes(b"model")
    run.upload_file("outputs/model.pkl", "model.pkl")
    with pytest.raises(ModelPathNotFoundException, match="no artifact 'nothing'"):
        run.register_model("nothing")
    first, second = (
        run.register_model(
            model_name="diabetes",
            model_path="outputs/model.pkl",
            tags={"area": "health"},
            model_framework=Model.Framework.SCIKITLEARN,
        )
        for _ in range(2)
    )
    assert isinstance(first, Model)
    assert (first.name, first.version, first.id) == ("diabetes", 1, "diabetes:1")
    assert second.version == 2
    assert second.run.id == run.id
    assert second.model_framework == "ScikitLearn"
    assert Path(second.download("down")).read_bytes() == b"model"
