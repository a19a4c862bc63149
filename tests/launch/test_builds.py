"""Virtual environments that are built once, whoever is killed meanwhile.

Packages come from a folder of small wheels made here, without a network. Where only the
order of things counts, a stand-in for the interpreter builds at once or when it is told.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlog.errors import MlogError
from mlog.folder import PRIVATE
from mlog.launch.build_log import BuildLog, Cancelled
from mlog.launch.builds import build
from mlog.launch.environments import Environment
from mlog.launch.interpreters import look_at
from mlog.launch.pip_settings import has_settings, uv_understands
from mlog.launch.processes import living_of_run
from mlog.reader.state import read_state
from mlog.run.launched import request_cancel
from mlog.run.open import open_run
from mlog.run.start import start_run
from tests.helpers import REPO, entries
from tests.launch.conftest import Launch, wait_for_end
from tests.launch.helpers import events, is_alive, pid_in, printed, statuses, wait_until
from tests.launch.making import has_uv, make_wheel

Finished = Callable[..., Path]
Build = Callable[..., str]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "gadget", "1.0")
    make_wheel(folder, "gadget", "2.0")
    make_wheel(folder, "widget", "1.5", needs="gadget<2")
    return folder


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let neither pip nor uv look anywhere but where a test says."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take uv where it is there: what is tested does not depend on it."""
    monkeypatch.setenv("MLOG_INSTALLER", "uv" if has_uv() else "pip")


@pytest.fixture
def built(run_dir: Path) -> Iterator[Build]:
    """Return a function that builds in the root of this test, in this process."""
    with start_run("builds", dir=run_dir) as run:

        def start(wanted: Environment) -> str:
            log = BuildLog(run.receiver, lambda: False)  # type: ignore[arg-type]
            return build(wanted, run_dir, PRIVATE, log, os.environ)

        yield start


class Stand:
    """A stand-in for an interpreter: it builds when `go` is there, and counts."""

    def __init__(self, folder: Path, *, is_deaf: bool = False) -> None:
        folder.mkdir()
        self.path = folder / "python"
        self.go = folder / "go"
        self.pid = folder / "pid"
        self._count = folder / "count"
        self.path.write_text(
            f"""#!/bin/sh
if [ "$2" = venv ]; then
    {"trap '' TERM" if is_deaf else ":"}
    echo x >> {self._count}
    echo $$ > {self.pid}.tmp; mv {self.pid}.tmp {self.pid}
    mkdir -p "$3/bin"; touch "$3/half-$$"
    while [ ! -e {self.go} ]; do sleep 0.02; done
    exec {sys.executable} -m venv --without-pip "$3"
fi
exec {sys.executable} "$@"
"""
        )
        self.path.chmod(0o755)

    @property
    def count(self) -> int:
        """How often it has begun to build."""
        return self._count.read_text().count("x") if self._count.exists() else 0

    @property
    def wanted(self) -> Environment:
        """An environment of it, without packages."""
        return Environment(python=str(self.path), packages=())


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setenv("MLOG_INSTALLER", "pip")
    made = Stand(tmp_path / "stand")
    yield made
    made.go.touch()


@pytest.fixture
def deaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Return a stand-in that SIGTERM does not end while it builds."""
    monkeypatch.setenv("MLOG_INSTALLER", "pip")
    made = Stand(tmp_path / "deaf", is_deaf=True)
    yield made
    made.go.touch()


def environments(root: Path) -> list[Path]:
    return sorted(p for p in (root / ".cache/environments").iterdir() if p.is_dir())


# --- a script in an environment that is built for it ---------------------------------


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_script_finds_the_packages_it_asked_for(
    finished: Finished,
    wheels: Path,
    tmp_path: Path,
    installer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And mlog, though nobody asked for it: its metrics are in the run."""
    if installer == "uv" and not has_uv():
        pytest.skip("uv is not installed")
    monkeypatch.setenv("MLOG_INSTALLER", installer)
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n--find-links {wheels}\nwidget>=1  # with gadget\n")
    code = """
import gadget, logging, sys, widget
logging.getLogger("train").info(metric={"loss": 0.5}, step=1)
print(widget.VERSION, gadget.VERSION, sys.prefix != sys.base_prefix)
"""
    folder = finished(code, config={"environment": file})
    assert printed(folder) == ["1.5 1.0 True"]
    assert [e["metric"] for e in entries(folder, "metrics")] == [{"loss": 0.5}]
    lines = printed(folder, "mlog.launch.build")
    log = folder / "artifacts/azureml-logs/20_image_build_log.txt"
    assert log.read_text().splitlines() == lines
    assert any("widget" in line and "1.5" in line for line in lines)
    state = read_state(folder)
    assert state.environment["packages"]["widget"] == "1.5"
    assert "orjson" not in state.environment["packages"]
    text = "virtual environment (requirements.txt: widget>=1)"
    assert state.launch["environment"]["text"] == text

    again = finished(code, config={"environment": file})
    assert printed(again) == printed(folder)
    (line,) = printed(again, "mlog.launch.build")
    assert "is there already" in line


@pytest.mark.usefixtures("fast")
def test_a_conda_file_is_installed_by_pip(
    finished: Finished, wheels: Path, tmp_path: Path
) -> None:
    """Options of its pip section are followed, and what is different is said."""
    file = tmp_path / "environment.yml"
    file.write_text(
        f"""
name: x
channels: [conda-forge]
dependencies:
  - gadget=2
  - cudatoolkit=11.8
  - pip:
    - --no-index
    - -f {os.path.relpath(wheels, tmp_path)}
"""
    )
    code = "import gadget; print(gadget.VERSION)"
    folder = finished(code, config={"environment": file})
    assert printed(folder) == ["2.0"]
    (note,) = printed(folder, "mlog.launch")
    assert note == (
        "conda packages are installed by pip; left out, as pip has none: cudatoolkit"
    )


@pytest.mark.usefixtures("fast")
def test_a_package_that_is_not_there_makes_the_run_fail(
    finished: Finished, wheels: Path, tmp_path: Path, run_dir: Path
) -> None:
    """The reason is the end of the build log; nothing is left of the build."""
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n--find-links {wheels}\ngadget>=9\n")
    folder = finished("print('never')", config={"environment": file})
    assert statuses(folder) == ["NotStarted", "Preparing", "Failed"]
    (end,) = events(folder, "run.end")
    message = end["error"]["msg"]
    assert message.startswith("requirements.txt cannot be installed: ")
    assert "gadget" in message.splitlines()[0]
    assert message.splitlines()[-1] == printed(folder, "mlog.launch.build")[-1]
    assert printed(folder) == []
    assert environments(run_dir) == []
    assert len(events(folder, "run.artifact")) == 1


@pytest.mark.usefixtures("fast")
def test_an_index_with_a_password_keeps_it(
    finished: Finished, wheels: Path, tmp_path: Path, run_dir: Path
) -> None:
    """It is on no command line, in no file and no error."""
    file = tmp_path / "requirements.txt"
    file.write_text(
        f"-i http://me:s3cr3t-s3cr3t@127.0.0.1:1/simple\n--no-index\n"
        f"-f {wheels}\ngadget\n"
    )
    folder = finished("import gadget", config={"environment": file})
    assert read_state(folder).status == "Completed"
    for path in run_dir.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path


def test_a_run_that_is_cancelled_stops_the_build(
    launch: Launch, stand: Stand, run_dir: Path
) -> None:
    run = launch("print('never')", config={"environment": stand.wanted})
    wait_until(lambda: pid_in(stand.pid), "the build runs")
    request_cancel(run.folder)
    wait_for_end(run)
    assert statuses(run.folder) == ["NotStarted", "Preparing", "Canceled"]
    assert not is_alive(pid_in(stand.pid))
    assert environments(run_dir) == []


def test_a_build_ends_with_its_supervisor(launch: Launch, stand: Stand) -> None:
    """Nobody would use it, and others would wait for it."""
    run = launch("print('never')", config={"environment": stand.wanted})
    wait_until(lambda: pid_in(stand.pid), "the build runs")
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid_in(stand.pid)), "the build has ended")


def test_what_a_build_leaves_running_is_found_by_its_run(
    launch: Launch, deaf: Stand
) -> None:
    """So `mlog cancel` ends what did not end with the supervisor."""
    run = launch("print('never')", config={"environment": deaf.wanted})
    wait_until(lambda: pid_in(deaf.pid), "the build runs")
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(run.pid), "the supervisor is gone")
    found = [process.pid for process in living_of_run(run.folder)]
    deaf.go.touch()
    assert pid_in(deaf.pid) in found
    wait_until(lambda: not living_of_run(run.folder), "the build ends")


def test_whoever_waits_sees_the_build(
    finished: Finished, stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    stand.go.touch()
    folder = finished("print('ran')", config={"environment": stand.wanted})
    open_run(str(folder)).wait_for_completion(show_output=True)
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("built in ")]
    assert "ran" in shown


# --- the cache -----------------------------------------------------------------------


def test_the_same_is_built_once(built: Build, stand: Stand, run_dir: Path) -> None:
    stand.go.touch()
    python = built(stand.wanted)
    assert built(stand.wanted) == python
    assert stand.count == 1
    assert look_at(python, os.environ) is not None
    (place,) = environments(run_dir)
    assert python == str(place / "bin/python")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_other_packages_are_another_environment(
    tmp_path: Path, wheels: Path, built: Build, stand: Stand
) -> None:
    """So are other contents of a local file that is asked for."""
    stand.go.touch()
    given = shutil.copy(wheels / "gadget-1.0-py3-none-any.whl", tmp_path)
    other = Environment(python=str(stand.path), packages=(f"-c {given}",))
    found = {built(stand.wanted), built(other)}
    Path(given).write_bytes(b"changed")
    assert len(found | {built(other)}) == 3


def test_an_environment_whose_interpreter_is_gone_is_built_again(
    built: Build, stand: Stand
) -> None:
    stand.go.touch()
    python = built(stand.wanted)
    Path(python).unlink()
    assert built(stand.wanted) == python
    assert stand.count == 2


def test_a_link_in_place_of_an_environment_is_not_followed(
    built: Build, stand: Stand, tmp_path: Path, run_dir: Path
) -> None:
    stand.go.touch()
    built(stand.wanted)
    (place,) = environments(run_dir)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MlogError, match="is a link"):
        built(stand.wanted)


BUILDER = """
import os, sys
from pathlib import Path
from mlog.folder import PRIVATE
from mlog.launch.build_log import BuildLog
from mlog.launch.builds import build
from mlog.launch.environments import Environment
from mlog.run.open import open_run
from mlog.run.start import start_run
root, python = Path(sys.argv[1]), sys.argv[2]
with start_run("builds", dir=root) as run:
    log = BuildLog(run.receiver, lambda: False)
    print(run.path, flush=True)
    wanted = Environment(python=python, packages=())
    print(build(wanted, root, PRIVATE, log, os.environ), flush=True)
"""


def builder(root: Path, stand: Stand) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(root), str(stand.path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
    )


def lines_of(process: "subprocess.Popen[str]") -> list[str]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.split()


def is_waiting(process: "subprocess.Popen[str]") -> Path:
    """Return the folder of a builder's run once it waits for another one."""
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    wait_until(
        lambda: any("waiting for it" in e.get("msg", "") for e in entries(folder)),
        "the second builder waits",
    )
    return folder


def test_of_two_builders_one_builds(run_dir: Path, stand: Stand) -> None:
    first = builder(run_dir, stand)
    wait_until(lambda: stand.count == 1, "the first one builds")
    second = builder(run_dir, stand)
    is_waiting(second)
    stand.go.touch()
    (python,) = set(lines_of(first)[1:]) & set(lines_of(second))
    assert look_at(python, os.environ) is not None
    assert stand.count == 1


def test_what_a_killed_builder_left_is_taken_for_nothing(
    run_dir: Path, deaf: Stand
) -> None:
    """Nobody builds in its place before what it had started has ended."""
    first = builder(run_dir, deaf)
    wait_until(lambda: deaf.count == 1, "the first one builds")
    first.kill()
    first.communicate()
    second = builder(run_dir, deaf)
    is_waiting(second)
    assert deaf.count == 1
    deaf.go.touch()
    (python,) = lines_of(second)
    assert deaf.count == 2
    assert len(list(Path(python).parents[1].glob("half-*"))) == 1
    assert look_at(python, os.environ) is not None


# --- who installs --------------------------------------------------------------------


def test_pip_is_taken_where_uv_would_look_elsewhere(tmp_path: Path) -> None:
    """That reads neither pip's variables nor its files."""
    home = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": "/nothing"}
    assert not has_settings({**home, "PIP_CONFIG_FILE": os.devnull})
    assert has_settings({**home, "PIP_INDEX_URL": "https://h"})
    (tmp_path / "pip.conf").write_text("[global]\ntimeout = 5\n")
    given = {**home, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    before = has_settings(given)
    (tmp_path / "pip.conf").write_text("[install]\nfind-links = /x\n")
    assert has_settings(given)
    assert not before or Path("/etc/pip.conf").exists()


@pytest.mark.parametrize(
    ("line", "does"),
    [
        ("a>=1", True),
        ("--no-index", True),
        ("-f x", True),
        ("--pre", False),
        ("--trusted-host h", False),
    ],
)
def test_pip_is_taken_for_options_that_uv_leaves_out(line: str, does: bool) -> None:
    assert uv_understands([line]) is does


def test_an_installer_that_is_unknown_is_refused(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOG_INSTALLER", "conda")
    with pytest.raises(MlogError, match="MLOG_INSTALLER must be uv or pip, got 'cond"):
        built(Environment(packages=()))


def test_a_python_that_is_not_there_is_told(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/bin")
    with pytest.raises(MlogError, match=r"there is no Python ==3\.1\.\*"):
        built(Environment(packages=(), python_version="==3.1.*"))
    with pytest.raises(MlogError, match="there is no Python /nothing"):
        built(Environment(packages=(), python="/nothing"))


# --- the log -------------------------------------------------------------------------


@pytest.fixture
def log(run_dir: Path) -> Iterator[BuildLog]:
    with start_run("log", dir=run_dir) as run:
        yield BuildLog(run.receiver, lambda: False)  # type: ignore[arg-type]


def test_lines_are_logged_as_they_come(log: BuildLog) -> None:
    script = "printf 'a\\n10%%\\r20%%\\nlast'; echo $GIVEN >&2; cat; exit 3"
    env = {**os.environ, "GIVEN": "b"}
    assert log.run(["sh", "-c", script], env=env, given="input\n") == 3
    assert list(log.last) == ["a", "20%", "lastb", "input"]


def test_a_log_without_a_line_is_no_file(log: BuildLog) -> None:
    assert log.finish() is None


def test_what_a_command_leaves_behind_is_not_waited_for(log: BuildLog) -> None:
    script = "sleep 60 & echo $!"
    assert log.run(["sh", "-c", script], env=os.environ) == 0
    os.kill(int(log.last[-1]), signal.SIGKILL)


def test_what_a_cancelled_command_has_started_is_ended(run_dir: Path) -> None:
    with start_run("log", dir=run_dir) as run:
        said: list[str] = []
        log = BuildLog(run.receiver, lambda: bool(said), grace=0.2)  # type: ignore[arg-type]
        said = log.last  # type: ignore[assignment]
        script = (
            "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & echo $!; wait"
        )
        with pytest.raises(Cancelled):
            log.run(["sh", "-c", script], env=os.environ)
    wait_until(lambda: not is_alive(int(log.last[-1])), "the child is gone")
