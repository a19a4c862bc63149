"""A workspace is the folder of all runs, with the names it goes by."""

import json
from pathlib import Path

import pytest

import mlog
from mlog.azureml.core import Experiment, Workspace
from mlog.azureml.core.authentication import (
    InteractiveLoginAuthentication,
    ServicePrincipalAuthentication,
)
from mlog.azureml.exceptions import (
    AuthenticationException,
    UserErrorException,
    WorkspaceException,
)

CONFIG = {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}


def write_config(path: str, **more: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(CONFIG | more), "utf-8")


@pytest.mark.parametrize(
    "place", ["config.json", ".azureml/config.json", "aml_config/config.json"]
)
def test_a_config_is_found_upward(
    place: str,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_config(place)
    Path("src/deep").mkdir(parents=True)
    monkeypatch.chdir("src/deep")
    ws = Workspace.from_config()
    assert (ws.name, ws.resource_group, ws.subscription_id) == ("w", "g", "s")
    assert ws.root == run_dir
    assert capsys.readouterr().err == ""


def test_without_a_config_the_default_root_is_said_once(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        ws = Workspace.from_config()
    assert ws.root == run_dir
    assert ws.name == ws.resource_group == ws.location == "local"
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"no config.json from {Path.cwd()} upward; runs go to {run_dir}" in err


def test_a_config_of_something_else_is_passed_over(run_dir: Path) -> None:
    """Many programs have a `config.json`; only one with a workspace's names counts."""
    Path("config.json").write_text('{"epochs": 3}')
    assert Workspace.from_config().name == "local"
    with pytest.raises(UserErrorException, match="lacks workspace_name"):
        Workspace.from_config("config.json")


def test_a_config_may_be_named() -> None:
    write_config("other/ws.json")
    assert Workspace.from_config("other/ws.json").name == "w"
    assert Workspace.from_config("other", _file_name="ws.json").name == "w"
    with pytest.raises(UserErrorException, match="there is no config file or folder"):
        Workspace.from_config("nothing.json")
    Path("broken.json").write_text("{")
    with pytest.raises(UserErrorException, match="cannot be read as JSON"):
        Workspace.from_config("broken.json")


def test_a_config_of_the_oldest_form_is_read() -> None:
    scope = (
        "/subscriptions/s/resourceGroups/g/providers/"
        "Microsoft.MachineLearningServices/workspaces/w/projects/p"
    )
    Path("aml_config").mkdir()
    Path("aml_config/project.json").write_text(json.dumps({"Id": scope}))
    ws = Workspace.from_config()
    assert (ws.name, ws.resource_group, ws.subscription_id) == ("w", "g", "s")


def test_a_config_may_name_the_folder(
    monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    """`MLOG_DIR` comes before it."""
    write_config("config.json", root="runs")
    assert Workspace.from_config().root == run_dir
    monkeypatch.delenv("MLOG_DIR")
    ws = Workspace.from_config()
    assert ws.root == Path.cwd() / "runs"
    run = Experiment(ws, "exp").start_logging()
    assert run.path is not None
    assert run.path.parent == Path.cwd() / "runs" / "exp"
    ws.write_config("elsewhere")
    assert Workspace.from_config("elsewhere").root == ws.root


def test_a_written_config_is_read_back(workspace: Workspace) -> None:
    workspace.write_config()
    assert Path(".azureml/config.json").is_file()
    found = Workspace.from_config()
    assert found.get_details() == workspace.get_details()
    workspace.write_config("sub", "ws.json")
    assert Workspace.from_config("sub", _file_name="ws.json").name == "ws"


def test_a_workspace_is_created_once(capsys: pytest.CaptureFixture[str]) -> None:
    def create(**more: bool) -> Workspace:
        return Workspace.create(
            name="new",
            subscription_id="s",
            resource_group="g",
            location="westeurope",
            create_resource_group=True,
            tags={"team": "a"},
            **more,  # type: ignore[arg-type]
        )

    ws = create()
    assert (ws.location, ws.tags) == ("westeurope", {"team": "a"})
    assert f"is the folder {ws.root}" in capsys.readouterr().out
    with pytest.raises(WorkspaceException, match="exist_ok=True"):
        create()
    assert create(exist_ok=True, show_output=False).name == "new"
    assert Workspace.get("new").location == "westeurope"
    assert list(Workspace.list("s")) == ["new"]
    assert Workspace.list("s", resource_group="other") == {}
    assert capsys.readouterr().out == ""


def test_any_name_is_this_machine(run_dir: Path) -> None:
    ws = Workspace("s", "g", "w")
    assert Workspace.get("w", subscription_id="s", resource_group="g").root == ws.root
    assert ws.root == run_dir
    assert ws.discovery_url == run_dir.as_uri()
    assert "Workspace.create(name='w'" in repr(ws)


def test_labels_may_be_changed(workspace: Workspace) -> None:
    workspace.update(friendly_name="ours", tags={"a": "b"})
    found = Workspace.get("ws").get_details()
    assert (found["friendlyName"], found["tags"]) == ("ours", {"a": "b"})


def test_runs_of_mlog_are_there_too(workspace: Workspace) -> None:
    with mlog.start_run("plain") as run:
        run.log_metrics({"a": 1})
    assert list(workspace.experiments) == ["plain"]
    assert [found.id for found in workspace.experiments["plain"].get_runs()] == [run.id]


def test_experiments_keep_names_that_no_folder_can_have(workspace: Workspace) -> None:
    Experiment(workspace, "größe / 1").start_logging()
    assert list(workspace.experiments) == ["größe / 1"]


def test_what_lies_in_it_begins_empty(workspace: Workspace) -> None:
    assert workspace.experiments == workspace.models == workspace.datasets == {}
    assert workspace.compute_targets == workspace.environments == {}
    assert workspace.webservices == workspace.images == workspace.linked_services == {}
    assert workspace.get_default_compute_target("CPU") is None


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("get_mlflow_tracking_uri", "run.get_metrics"),
        ("get_default_keyvault", "environment variables"),
        ("delete", "remove"),
    ],
)
def test_what_only_azure_had_names_the_local_way(
    workspace: Workspace, name: str, advice: str
) -> None:
    with pytest.raises(UserErrorException, match=advice):
        getattr(workspace, name)()


def test_logins_are_accepted_and_forgotten(
    capsys: pytest.CaptureFixture[str],
) -> None:
    auth = ServicePrincipalAuthentication("tenant", "id", "my-password")
    InteractiveLoginAuthentication(force=True, tenant_id="tenant")
    assert Workspace.from_config(auth=auth).name == "local"
    assert "my-password" not in repr(vars(auth))
    err = capsys.readouterr().err
    assert err.count("credentials given are ignored") == 1
    with pytest.raises(AuthenticationException, match="azure-identity"):
        auth.get_authentication_header()


def test_lines_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLOG_QUIET", "1")
    Workspace.from_config()
    assert capsys.readouterr().err == ""
