"""Any compute target is this machine, and says so once."""

from pathlib import Path
from typing import Any

import pytest

from mlog.azureml.core import ComputeTarget, Workspace
from mlog.azureml.core.compute import (
    AmlCompute,
    ComputeInstance,
    Placement,
    RemoteCompute,
    place,
)
from mlog.azureml.exceptions import ComputeTargetException, UserErrorException


def test_a_cluster_is_had_or_created(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both ways that scripts go end at this machine, with one line."""
    assert "cpu" not in workspace.compute_targets
    config = AmlCompute.provisioning_configuration(
        vm_size="STANDARD_D2_V2", max_nodes=4, admin_user_password="my-password"
    )
    created = ComputeTarget.create(workspace, "cpu", config)
    created.wait_for_completion(show_output=True, min_node_count=None)
    had = ComputeTarget(workspace=workspace, name="cpu")
    for target in (created, had, workspace.compute_targets["cpu"]):
        assert type(target) is AmlCompute
        assert (target.name, target.vm_size, target.max_nodes) == (
            *("cpu", "STANDARD_D2_V2", 4),
        )
        assert target.get_status().allocation_state == "Steady"
        assert target.get_status().serialize()["currentNodeCount"] == 1
        assert target.provisioning_state == "Succeeded"
    assert list(workspace.compute_targets) == ["cpu"]
    said = capsys.readouterr()
    assert said.err == "mlog: compute target 'cpu' is this machine\n"
    assert said.out == "Succeeded: cpu is this machine\n"
    kept = b"".join(p.read_bytes() for p in workspace.root.rglob("*.json"))
    assert b"my-password" not in kept


def test_a_target_that_nobody_created_is_found(workspace: Workspace) -> None:
    """In Azure it existed; scripts go on without asking."""
    assert type(ComputeTarget(workspace, "gpu")) is AmlCompute
    assert workspace.compute_targets["gpu"].name == "gpu"
    assert workspace.compute_targets.get("other") is None
    assert AmlCompute(workspace, "gpu").list_nodes()[0]["nodeState"] == "idle"


def test_other_types_are_kept(workspace: Workspace) -> None:
    config = ComputeInstance.provisioning_configuration(vm_size="STANDARD_D3_V2")
    assert isinstance(ComputeTarget.create(workspace, "mine", config), ComputeInstance)
    found = ComputeTarget(workspace, "mine")
    assert isinstance(found, ComputeInstance)
    assert found.type == "ComputeInstance"
    attached = RemoteCompute.attach_configuration(
        address="1.2.3.4", username="me", password="my-password", tags={"a": "b"}
    )
    remote = ComputeTarget.attach(workspace, "vm", attached)
    assert isinstance(remote, RemoteCompute)
    assert remote.tags == {"a": "b"}


def test_a_target_is_forgotten(workspace: Workspace) -> None:
    target = ComputeTarget.create(
        workspace, "cpu", AmlCompute.provisioning_configuration()
    )
    target.update(max_nodes=2)
    assert ComputeTarget(workspace, "cpu").max_nodes == 2
    target.delete()
    target.delete()
    assert workspace.compute_targets == {}


def test_a_file_may_say_more_of_a_name(
    workspace: Workspace, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And then nothing is said on stderr: it was asked for."""
    run_dir.mkdir()
    (run_dir / "compute.toml").write_text(
        '[gpu]\npython = "/opt/bin/python"\nenvironment_variables = { N = 1 }\n'
    )
    assert list(workspace.compute_targets) == ["gpu"]
    assert place(run_dir, "gpu") == Placement("/opt/bin/python", {"N": "1"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", ["[gpu", "gpu = 1", "[gpu]\npython = 1"])
def test_a_wrong_file_is_named(workspace: Workspace, run_dir: Path, text: str) -> None:
    run_dir.mkdir()
    (run_dir / "compute.toml").write_text(text)
    with pytest.raises(ComputeTargetException, match=r"compute\.toml"):
        ComputeTarget(workspace, "gpu")


def test_a_cluster_shows_what_it_was_created_with(workspace: Workspace) -> None:
    config = AmlCompute.provisioning_configuration(
        "STANDARD_D2_V2", vm_priority="lowpriority", min_nodes=1, max_nodes=4
    )
    cluster: Any = ComputeTarget.create(workspace, "cpu", config)
    assert cluster.vm_priority == "lowpriority"
    assert cluster.scale_settings.minimum_node_count == 1
    assert cluster.scale_settings.maximum_node_count == 4
    assert cluster.status.current_node_count == 1
    assert list(cluster.get_active_runs()) == []


def test_there_is_nothing_to_log_in_to(workspace: Workspace) -> None:
    with pytest.raises(UserErrorException, match="this machine"):
        ComputeTarget(workspace, "cpu").get_credentials()
