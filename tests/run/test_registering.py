"""Models that are made of a run's artifacts."""

import inspect
import stat
from pathlib import Path
from typing import Any

import pytest

from mlog.errors import (
    MlogError,
    MlogWarning,
    ModelPathNotFoundError,
    UnsafePathError,
)
from mlog.models import get, models
from mlog.run.recorder import Recorder
from mlog.run.registering import ModelMethods
from mlog.run.start import start_run
from tests.helpers import entries, run_python


class _Run(ModelMethods):
    """A run with no more than the part that is tested."""


def part_of(run: Any, *, recorder: bool = True) -> _Run:
    """Return the part that is tested, on the files of a started run.

    Without its recorder it is what another process has of the run.
    """
    part = _Run()
    own = run.receiver if recorder and isinstance(run.receiver, Recorder) else None
    part._identify(
        own,
        run_id=run.id,
        experiment=run.experiment,
        name=None,
        path=run.path,
        parent=None,
    )
    return part


@pytest.fixture
def run() -> _Run:
    """An open run with some artifacts."""
    made = part_of(start_run("exp", run_id="r1"))
    for name in ("outputs/model.pkl", "outputs/net/a.bin", "outputs/net/b/c.bin"):
        made.upload_file(name, name.encode())
    made.upload_file("outputs/network.bin", b"other")
    return made


def test_an_artifact_becomes_a_model(run: _Run, run_dir: Path) -> None:
    model = run.register_model("mnist", "outputs/model.pkl")
    assert (model.name, model.version, model.run_id) == ("mnist", 1, "r1")
    assert model.run_path == run.path
    assert model.path.name == "model.pkl"
    assert model.path.read_bytes() == b"outputs/model.pkl"
    assert get(run_dir, "mnist") == model
    assert models(run_dir, run_id="r1") == [model]


def test_the_next_one_is_the_next_version(run: _Run) -> None:
    path = "outputs/model.pkl"
    assert [run.register_model("m", path).version for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "path", ["outputs/net", "outputs/net/", "./outputs/net", "outputs\\net"]
)
def test_a_folder_of_artifacts_becomes_a_model(run: _Run, path: str) -> None:
    model = run.register_model("net", path)
    assert [file.path for file in model.files] == ["net/a.bin", "net/b/c.bin"]
    assert model.path.name == "net"


def test_all_of_outputs_can_be_a_model(run: _Run) -> None:
    model = run.register_model("all", "outputs")
    assert [file.path for file in model.files] == [
        "outputs/model.pkl",
        "outputs/net/a.bin",
        "outputs/net/b/c.bin",
        "outputs/network.bin",
    ]


def test_without_a_path_it_is_the_name(run: _Run) -> None:
    run.upload_file("mnist.pkl", b"x")
    assert run.register_model("mnist.pkl").path.read_bytes() == b"x"


def test_everything_told_is_kept(run: _Run, run_dir: Path) -> None:
    run.register_model(
        "m",
        "outputs/model.pkl",
        {"stage": "test"},
        {"data": 1},
        "ScikitLearn",
        "1.9",
        "small",
    )
    model = get(run_dir, "m")
    assert (model.tags, model.properties) == ({"stage": "test"}, {"data": "1"})
    assert (model.framework, model.framework_version) == ("ScikitLearn", "1.9")
    assert model.description == "small"


def test_the_run_tells_of_its_models(run: _Run) -> None:
    model = run.register_model("m", "outputs/model.pkl")
    assert run.path is not None
    told = [e["data"] for e in entries(run.path, "events") if e["event"] == "run.model"]
    assert told == [{"name": "m", "version": 1, "path": str(model.path)}]


def test_the_model_outlives_its_artifact(run: _Run) -> None:
    model = run.register_model("m", "outputs/model.pkl")
    run.upload_file("outputs/model.pkl", b"later")
    assert model.path.read_bytes() == b"outputs/model.pkl"


@pytest.mark.parametrize("handle", ["own", "opened"])
def test_a_run_that_has_ended_can_have_models(handle: str) -> None:
    """As in v1: complete, which collects `./outputs`, then register."""
    started = start_run("exp", run_id="r1")
    run = part_of(started)
    run.upload_file("m", b"x")
    started.complete()
    if handle == "opened":
        run = part_of(started, recorder=False)
    assert run.register_model("m").run_id == "r1"
    assert run.path is not None
    told = [e["data"] for e in entries(run.path, "events") if e["event"] == "run.model"]
    assert [model["name"] for model in told] == ["m"]


@pytest.mark.parametrize("path", ["missing.pkl", "outputs/ne", "outputs/model.pkl/x"])
def test_what_is_no_artifact_is_refused(run: _Run, run_dir: Path, path: str) -> None:
    with pytest.raises(ModelPathNotFoundError) as told:
        run.register_model("m", path)
    assert str(told.value) == (
        f"run r1 has no artifact {path!r}; it has: outputs/model.pkl, "
        "outputs/net/a.bin, outputs/net/b/c.bin, outputs/network.bin."
    )
    assert models(run_dir) == []


def test_a_file_that_is_not_stored_yet_is_found(
    run: _Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./outputs` is collected at the end of a run, not before."""
    (tmp_path / "outputs" / "new").mkdir(parents=True)
    (tmp_path / "outputs" / "new.pkl").touch()
    monkeypatch.chdir(tmp_path)
    hint = r"Store it first: run\.upload_file\('outputs/new.pkl', 'outputs/new.pkl'\)"
    with pytest.raises(ModelPathNotFoundError, match=hint):
        run.register_model("m", "./outputs/new.pkl")
    with pytest.raises(ModelPathNotFoundError, match=r"run\.upload_folder\("):
        run.register_model("m", "outputs/new")


def test_a_run_without_artifacts_says_so() -> None:
    with pytest.raises(ModelPathNotFoundError, match=r"it has: none\."):
        part_of(start_run("exp")).register_model("m")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "C:/x"])
def test_a_path_outside_is_refused(run: _Run, path: str) -> None:
    with pytest.raises(UnsafePathError, match="leads out of the run's folder"):
        run.register_model("m", path)


def test_wrong_arguments_are_refused(run: _Run) -> None:
    with pytest.raises(ValueError, match="a model's name must have"):
        run.register_model("", "outputs/model.pkl")
    with pytest.raises(TypeError, match="tags must be a mapping"):
        run.register_model("m", "outputs/model.pkl", ["a"])  # type: ignore[arg-type]


def test_a_run_that_is_off_has_no_models() -> None:
    with pytest.raises(MlogError, match="is off"):
        part_of(start_run("exp", disabled=True)).register_model("m")


def test_what_only_a_cloud_used_is_told_once(run: _Run) -> None:
    path = "outputs/model.pkl"
    with pytest.warns(MlogWarning, match="keeps no datasets, other; ") as told:
        for _ in range(2):
            run.register_model("m", path, datasets=["d"], other=1, more=None)
    assert len(told) == 1


def test_modes_are_those_of_the_run(run_dir: Path) -> None:
    made = part_of(start_run("exp", mode="group"))
    made.upload_file("m", b"x")
    model = made.register_model("m")
    assert stat.S_IMODE(model.path.stat().st_mode) == 0o660
    assert stat.S_IMODE(model.path.parent.stat().st_mode) == 0o2770


def test_secrets_are_not_written(run: _Run) -> None:
    secret = "ghp_" + "a1B2" * 9
    model = run.register_model("m", "outputs/model.pkl", {"from": secret})
    assert model.tags == {"from": "***"}


def test_the_signature_is_the_known_one() -> None:
    told = inspect.signature(ModelMethods.register_model)
    assert list(told.parameters)[1:] == [
        "model_name",
        "model_path",
        "tags",
        "properties",
        "model_framework",
        "model_framework_version",
        "description",
        "datasets",
        "sample_input_dataset",
        "sample_output_dataset",
        "resource_configuration",
        "kwargs",
    ]


def test_slow_modules_are_loaded_when_they_are_needed() -> None:
    code = """
import mlog.entry, mlog.redaction, sys
before = set(sys.modules)
import mlog.models
print({"hashlib", "shutil", "tempfile", "subprocess"} & (set(sys.modules) - before))
"""
    assert run_python(code).stdout == "set()\n"
