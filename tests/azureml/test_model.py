"""Models under the SDK's names."""

from pathlib import Path

import pytest

from mlog.azureml.core import Model, Run, Workspace
from mlog.azureml.exceptions import (
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
    WebserviceException,
)


@pytest.fixture
def model(workspace: Workspace) -> Model:
    """Return version 2 of a model."""
    Path("model.pkl").write_bytes(b"1")
    Model.register(workspace, "model.pkl", "m", tags={"stage": "old"})
    Path("model.pkl").write_bytes(b"2")
    return Model.register(
        workspace=workspace,
        model_path="model.pkl",
        model_name="m",
        tags={"stage": "new"},
        properties={"a": "b"},
        description="words",
        model_framework=Model.Framework.SCIKITLEARN,
        model_framework_version="1.5",
    )


def test_a_model_is_found_by_name_version_tag_and_id(
    workspace: Workspace, model: Model
) -> None:
    """Without a version it is the latest."""
    assert Model(workspace, "m").version == 2
    assert Model(workspace, name="m", version=1).tags == {"stage": "old"}
    assert Model(workspace, "m", tags=[["stage", "old"]]).version == 1
    assert Model(workspace, id="m:1").version == 1
    for wrong in ({"name": "x"}, {"name": "m", "version": 3}, {"id": "m:7"}):
        with pytest.raises(ModelNotFoundException, match="models there: m"):
            Model(workspace, **wrong)
    with pytest.raises(WebserviceException):  # what scripts catch
        Model(workspace, "x")


def test_models_are_listed(workspace: Workspace, model: Model) -> None:
    assert [found.version for found in Model.list(workspace, "m")] == [2, 1]
    assert [found.version for found in Model.list(workspace, latest=True)] == [2]
    assert [m.version for m in Model.list(workspace, tags={"stage": "old"})] == [1]
    assert Model.list(workspace, model_framework="Onnx") == []
    assert workspace.models["m"].version == 2


def test_a_model_says_what_it_is(model: Model) -> None:
    said = model.serialize()
    assert said["id"] == model.id == "m:2"
    assert said["url"] == model.url == model.path.as_uri()
    assert (model.description, model.properties) == ("words", {"a": "b"})
    assert (model.model_framework, model.model_framework_version) == (
        *("ScikitLearn", "1.5"),
    )
    assert model.run is None
    assert model.created_time
    assert "m:2" in repr(model)


def test_a_model_is_copied_out(workspace: Workspace, model: Model) -> None:
    path = model.download(target_dir="down")
    assert Path(path).read_bytes() == b"2"
    with pytest.raises(FileExistsError, match="exist_ok=True"):
        model.download("down")
    assert model.download("down", exist_ok=True) == path
    found = Model.get_model_path("m", version=1, _workspace=workspace)
    assert Path(found).read_bytes() == b"1"
    with pytest.raises(ModelNotFoundException):
        Model.get_model_path("x")


def test_a_model_may_be_changed_and_deleted(workspace: Workspace, model: Model) -> None:
    model.add_tags({"more": "x"})
    model.remove_tags(["stage"])
    model.add_properties({"c": "d"})
    model.update(description="other words")
    found = Model(workspace, "m")
    assert (found.tags, found.description) == ({"more": "x"}, "other words")
    assert found.properties == {"a": "b", "c": "d"}
    model.delete()
    assert Model(workspace, "m").version == 1


def test_a_model_that_is_not_there_has_the_code_it_had(workspace: Workspace) -> None:
    """Scripts that register a first model look for it."""
    for call in (
        lambda: Model(workspace, "x"),
        lambda: Model.get_model_path("x", _workspace=workspace),
    ):
        with pytest.raises(WebserviceException) as caught:
            call()
        assert "ModelNotFound" in caught.value.message


def test_a_model_names_the_experiment_of_its_run(
    workspace: Workspace, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.upload_file("m.txt", b"m")
    made = run.register_model("from run", "m.txt")
    assert made.experiment_name == run.experiment.name
    made.print_configuration()
    assert f"runId: {run.id}" in capsys.readouterr().out
    Path("m.txt").write_text("m")
    assert Model.register(workspace, "m.txt", "from file").experiment_name is None


def test_some_files_of_a_folder_are_a_model(workspace: Workspace) -> None:
    Path("all").mkdir()
    for name in ("a", "b"):
        Path("all", name).write_text(name)
    model = Model.register(workspace, "all", "some", child_paths=["a"])
    assert [path.name for path in Path(model.download("down")).rglob("*")] == ["a"]
    with pytest.raises(ModelPathNotFoundException, match="no file or folder"):
        Model.register(workspace, "nothing", "x")


@pytest.mark.parametrize("name", ["deploy", "package", "profile"])
def test_serving_is_out_of_reach(name: str) -> None:
    with pytest.raises(UserErrorException, match="server of your own"):
        getattr(Model, name)()
