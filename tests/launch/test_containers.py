"""Scripts in containers: the command line, and a run by a fake engine.

No engine runs on the machines that these tests are for, so a fake `docker` on `PATH`
executes locally what it is told (`fake_docker.py` says what it shows and what not). The
real client without an engine is asked where there is one.
"""

import itertools
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlog.errors import MlogError
from mlog.launch.containers import Engine, Mount, find_engine, folders
from mlog.launch.environments import Container, Environment
from mlog.reader.state import read_state
from mlog.run.launched import request_cancel
from tests.helpers import entries
from tests.launch.conftest import Launch, wait_for_end
from tests.launch.helpers import (
    HANG,
    events,
    is_alive,
    pid_in,
    printed,
    statuses,
    wait_until,
)
from tests.launch.making import IMAGE, FakeDocker

Finished = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def run_dir(root: Path) -> Path:
    """Return one root for all tests here, as making the copy of mlog takes time."""
    return root


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    made = FakeDocker(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{made.client.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("MLOG_CONTAINER_ENGINE", raising=False)
    return made


def of_image(image: str = IMAGE, **options: Any) -> dict[str, Any]:
    return {"environment": Environment.from_image(image, **options)}


# --- a run, by the fake engine -------------------------------------------------------


def test_a_script_in_a_container_writes_into_its_run(
    docker: FakeDocker, finished: Finished
) -> None:
    """Metrics, lines, output and files are those of any other script."""
    code = """
import logging, os
logging.getLogger("train").info("hello", metric={"loss": 0.5}, step=1)
print(os.environ["IMAGE"], os.getcwd())
os.mkdir("outputs")
open("outputs/model.txt", "w").write("m")
"""
    folder = finished(code, config={"environment": f"docker:{IMAGE}"})
    assert statuses(folder)[-2:] == ["Finalizing", "Completed"]
    image, cwd = printed(folder)[0].split()
    assert (image, Path(cwd).name) == (IMAGE, folder.name)
    (metric,) = entries(folder, "metrics")
    assert (metric["metric"], metric["step"]) == ({"loss": 0.5}, 1)
    assert (folder / "artifacts/outputs/model.txt").read_text() == "m"
    assert docker.containers == []


def test_the_run_tells_of_the_container(docker: FakeDocker, finished: Finished) -> None:
    folder = finished("", config=of_image(cpus=1.5))
    state = read_state(folder)
    said = state.launch["environment"]
    assert said["text"] == f"container of {IMAGE}"
    assert said["container"] == {"image": IMAGE, "cpus": 1.5}
    assert state.environment["executable"].startswith(str(docker.inside))
    log = (folder / "artifacts/azureml-logs/20_image_build_log.txt").read_text()
    assert f"image {IMAGE} is sha256:1234" in log
    assert "--cpus 1.5" in log
    assert "azureml-logs/20_image_build_log.txt" in state.artifacts


def test_a_script_for_the_azure_sdk_runs_in_a_container(
    docker: FakeDocker, finished: Finished
) -> None:
    """By v1's own settings; the alias is put into the container, too."""
    docker_section = SimpleNamespace(base_image=IMAGE, shm_size="2g", arguments=[])
    environment = SimpleNamespace(docker=docker_section, environment_variables={"A": 1})
    code = """
import os
from azureml.core import Run
Run.get_context().log("a", int(os.environ["A"]))
"""
    config = {
        "environment": environment,
        "docker_runtime_config": SimpleNamespace(
            use_docker=True, shm_size="4g", arguments=["--network", "host"]
        ),
        "azureml": True,
    }
    folder = finished(code, config=config)
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"a": 1}]
    (words,) = [call for call in docker.calls if "train.py" in call]
    assert words[words.index("--shm-size") + 1] == "4g"
    assert words[words.index("--network") + 1] == "host"


def test_the_exit_code_is_the_scripts(docker: FakeDocker, finished: Finished) -> None:
    folder = finished("print('before')\nraise SystemExit(3)", config=of_image())
    (end,) = events(folder, "run.end")
    assert (end["status"], end["error"]["exit_code"]) == ("Failed", 3)
    assert end["error"]["msg"].endswith("before")


def test_what_the_script_says_of_its_run_counts(
    docker: FakeDocker, finished: Finished
) -> None:
    """Its process has an id of its own in the container."""
    code = "import mlog\nmlog.current_run().fail('too bad')"
    state = read_state(finished(code, config=of_image()))
    assert state.status == "Failed"
    assert state.error is not None
    assert state.error["msg"] == "too bad"


def test_secrets_are_on_no_command_line(docker: FakeDocker, finished: Finished) -> None:
    """Anybody on the machine could read them there."""
    environment = Environment.from_image(IMAGE).with_variables(
        {"API_TOKEN": "s3cr3t-s3cr3t\nof two lines", "PATH": str(docker.inside)}
    )
    code = "import os; print(repr(os.environ['API_TOKEN'][-12:]), os.environ['PATH'])"
    folder = finished(code, config={"environment": environment})
    assert printed(folder) == [f"'of two lines' {docker.inside}"]
    assert "s3cr3t" not in json.dumps(docker.calls)
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(b"s3cr3t" in data for data in written)


def test_variables_of_this_machine_stay_here(
    docker: FakeDocker, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS_MACHINE", "1")
    code = "import os; print('OF_THIS_MACHINE' in os.environ, os.environ['HOME'])"
    assert printed(finished(code, config=of_image())) == ["False /tmp"]


def test_a_container_is_ended_with_its_run(
    docker: FakeDocker, launch: Launch, tmp_path: Path
) -> None:
    run = launch(HANG, tmp_path / "pid", config=of_image())
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    assert len(docker.containers) == 1
    request_cancel(run.folder)
    wait_for_end(run)
    assert statuses(run.folder)[-1] == "Canceled"
    assert docker.containers == []


STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HANG


def test_a_container_that_does_not_end_is_removed(
    docker: FakeDocker, launch: Launch, tmp_path: Path
) -> None:
    """Killing the client alone would leave it running."""
    run = launch(STUBBORN, tmp_path / "pid", config=of_image(), grace=0.3)
    wait_until(lambda: pid_in(tmp_path / "pid"), "the script runs")
    pid = pid_in(tmp_path / "pid")
    request_cancel(run.folder)
    wait_for_end(run)
    assert docker.containers == []
    wait_until(lambda: not is_alive(pid), "the script is gone")


def test_an_image_is_pulled_where_it_is_not_there(
    docker: FakeDocker, finished: Finished
) -> None:
    docker.has(local={}, registry={IMAGE: f"{docker.inside}:/bin"})
    folder = finished("print(1)", config=of_image())
    assert printed(folder) == ["1"]
    assert f"$ docker pull {IMAGE}" in printed(folder, "mlog.launch.build")


def test_an_image_that_does_not_exist_is_named(
    docker: FakeDocker, finished: Finished
) -> None:
    (end,) = events(finished("", config=of_image("nobody/nothing:1")), "run.end")
    assert end["status"] == "Failed"
    assert end["error"]["msg"] == (
        "there is no image nobody/nothing:1, nor can it be had: docker: Error response "
        "from daemon: pull access denied for nobody/nothing:1, repository does not exist"
    )


def test_an_image_without_python_is_told(
    docker: FakeDocker, finished: Finished
) -> None:
    """A command may do without; its run says that it has no metrics."""
    docker.has(local={"busybox": "/bin:/usr/bin"})
    (docker.inside / "python").unlink()
    docker.has(local={"busybox": str(docker.inside)})
    (end,) = events(finished("", config=of_image("busybox")), "run.end")
    failing = "python does not run in a container of busybox: "
    assert end["error"]["msg"].startswith(failing)
    config = {**of_image("busybox"), "command": ["/bin/echo", "hello"]}
    folder = finished(config=config)
    assert printed(folder) == ["hello"]
    (note,) = printed(folder, "mlog.launch")
    assert "there is no Python" in note


@pytest.mark.parametrize("what", [{}, {"command": ["/bin/echo", "never"]}])
def test_what_the_engine_refuses_is_told(
    docker: FakeDocker, finished: Finished, what: dict[str, Any]
) -> None:
    config = {**of_image(arguments=("--no-such-option",)), **what}
    folder = finished(config=config)
    assert "no-such-option" in events(folder, "run.end")[0]["error"]["msg"]
    assert printed(folder) == []


def test_an_old_python_in_an_image_runs_without_metrics(
    docker: FakeDocker, finished: Finished, python310: str
) -> None:
    (docker.inside / "python").unlink()
    (docker.inside / "python").symlink_to(python310)
    folder = finished("print('ran')", config=of_image())
    assert printed(folder) == ["ran"]
    (note,) = printed(folder, "mlog.launch")
    assert note.endswith(" is older than 3.11")


def test_another_python_in_an_image_records_metrics(
    docker: FakeDocker, finished: Finished, another_python: str
) -> None:
    """Though there is no orjson for it."""
    (docker.inside / "python").unlink()
    (docker.inside / "python").symlink_to(another_python)
    code = "import logging; logging.getLogger('a').info(metric={'x': 1})"
    folder = finished(code, config=of_image())
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"x": 1}]
    version = Path(another_python).parents[1].name
    assert read_state(folder).environment["python"] == version


# --- the command line ----------------------------------------------------------------


def engine(kind: str = "docker", *, is_rootless: bool = False) -> Engine:
    return Engine(f"/usr/bin/{kind}", kind, is_rootless, {"PATH": "/bin", "KEEP": "1"})


def command(
    of: Engine, container: Container | None = None, **variables: str
) -> list[str]:
    return of.command(
        container or Container(IMAGE),
        ["python", "train.py", "--lr", "0.1"],
        name="mlog-1",
        run_id="20261127-1",
        cwd="/work",
        mounts=[Mount("/root"), Mount("/copy", is_fixed=True)],
        variables=variables,
    )


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(words))


def test_the_command_line_of_docker() -> None:
    user = f"{os.getuid()}:{os.getgid()}"
    assert command(engine(), A="1") == [
        *("/usr/bin/docker", "run", "--rm", "--name", "mlog-1"),
        *("--label", "mlog.run=20261127-1", "--init", "--user", user),
        *("--workdir", "/work"),
        *("--mount", "type=bind,source=/root,target=/root"),
        *("--mount", "type=bind,source=/copy,target=/copy,readonly"),
        *("--env", "A", "--entrypoint", "", IMAGE),
        *("python", "train.py", "--lr", "0.1"),
    ]


def test_files_belong_to_whoever_submitted() -> None:
    """Without root an engine has its own way to say so."""
    user = f"{os.getuid()}:{os.getgid()}"
    assert ("--user", user) in pairs(command(engine()))
    assert ("--user", "0:0") in pairs(command(engine(is_rootless=True)))
    podman = pairs(command(engine("podman", is_rootless=True)))
    assert ("--userns", "keep-id") in podman
    assert ("--user", user) in podman
    assert "--userns" not in command(engine("podman"))


def test_resources_are_those_asked_for() -> None:
    container = Container(
        IMAGE,
        cpus=2,
        memory="4g",
        gpus="all",
        shm_size="2g",
        arguments=("--network", "none"),
    )
    found = pairs(command(engine(), container))
    for pair in (
        ("--cpus", "2"),
        ("--memory", "4g"),
        ("--gpus", "all"),
        ("--shm-size", "2g"),
        ("--network", "none"),
    ):
        assert pair in found


def test_values_of_variables_go_through_the_client() -> None:
    """But for those that it would follow itself."""
    words = command(engine(), API_KEY="x", PATH="/opt/bin", LD_PRELOAD="l.so")
    assert ("--env", "API_KEY") in pairs(words)
    assert ("--env", "PATH=/opt/bin") in pairs(words)
    assert ("--env", "LD_PRELOAD=l.so") in pairs(words)
    assert engine().env_of({"API_KEY": "x", "PATH": "/opt/bin"}) == {
        **{"PATH": "/bin", "KEEP": "1", "API_KEY": "x"}
    }
    with pytest.raises(MlogError, match="DOCKER_HOST cannot be set for a container"):
        command(engine(), DOCKER_HOST="tcp://elsewhere")


def test_a_folder_may_have_any_name() -> None:
    """`--mount` is a line of CSV."""
    mount = Mount('/a,b"c')
    assert mount.argument == 'type=bind,"source=/a,b""c","target=/a,b""c"'


def test_a_folder_within_another_is_not_mounted_again() -> None:
    found = folders(Path("/runs"), Path("/runs/.cache/work/1"), Path("/source"))
    assert [mount.path for mount in found] == ["/runs", "/source"]


# --- finding an engine ---------------------------------------------------------------


def test_the_engine_may_be_chosen(tmp_path: Path) -> None:
    docker, podman = (FakeDocker(tmp_path / n, n) for n in ("docker", "podman"))
    podman.secure("true")
    path = f"{docker.client.parent}:{podman.client.parent}"
    assert find_engine(None, {"PATH": path}).kind == "docker"
    assert find_engine("podman", {"PATH": path}).kind == "podman"
    assert find_engine("podman", {"PATH": path}).is_rootless
    by_variable = {"PATH": path, "MLOG_CONTAINER_ENGINE": str(podman.client)}
    assert find_engine(None, by_variable).path == str(podman.client)
    only = {"PATH": str(podman.client.parent)}
    assert find_engine(None, only).kind == "podman"
    docker.secure("[name=seccomp,profile=builtin name=rootless]")
    assert find_engine(None, {"PATH": path}).is_rootless
    docker.is_called("podman version 4.3.1")
    docker.secure("false")
    assert find_engine("docker", {"PATH": path}).kind == "podman"


def test_no_client_at_all_is_one_line() -> None:
    with pytest.raises(MlogError, match="there is no docker and no podman on PATH"):
        find_engine(None, {"PATH": "/nothing"})
    with pytest.raises(MlogError, match="there is no nerdctl on PATH"):
        find_engine(None, {"PATH": "/nothing", "MLOG_CONTAINER_ENGINE": "nerdctl"})


def test_an_engine_that_does_not_answer_is_one_line(
    tmp_path: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client says of it is in it."""
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\necho 'Cannot connect to the daemon.' >&2; exit 1\n")
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    (end,) = events(finished("", config=of_image()), "run.end")
    assert end == {
        **end,
        "status": "Failed",
        "error": {
            "msg": f"no container engine answers docker ({client}): Cannot connect to "
            "the daemon."
        },
    }


def has_real_client_only() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode != 0


real_client_only = pytest.mark.skipif(
    not has_real_client_only(), reason="no docker client, or one with an engine"
)


@real_client_only
def test_the_real_client_without_an_engine_is_one_line() -> None:
    with pytest.raises(
        MlogError, match=r"no container engine answers docker \(.*\): .*"
    ):
        find_engine("docker", os.environ)


@real_client_only
def test_the_real_client_takes_the_command_line() -> None:
    """It looks at all options before it turns to an engine."""
    docker = shutil.which("docker")
    assert docker is not None
    container = Container(
        IMAGE, cpus=2, memory="4g", gpus="all", shm_size="2g", arguments=("-v", "/a:/a")
    )
    words = command(Engine(docker, "docker", False, {}), container, A="1")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "daemon" in done.stderr
    words.insert(2, "--no-such-option")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "unknown flag" in done.stderr


@pytest.mark.parametrize("image", ["", "-v", "a b", "a\n"])
def test_what_is_no_name_of_an_image_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match="an image needs a name"):
        Container(image)
