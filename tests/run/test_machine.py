"""What a run was computed with, read from files of the system."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlog.run.machine import environment, packages
from tests.helpers import REPO, run_python

linux = pytest.mark.skipif(sys.platform != "linux", reason="files of Linux")


@pytest.fixture
def system(tmp_path: Path) -> Callable[[dict[str, str]], str]:
    """A maker of a system's files; returns the folder they lie in."""

    def make(files: dict[str, str]) -> str:
        for name, text in files.items():
            path = tmp_path / "system" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / "system")

    return make


Make = Callable[[dict[str, str]], str]


# --- the program ---------------------------------------------------------------------


def test_python_is_the_one_that_runs() -> None:
    facts = environment()
    assert facts["python"] == platform.python_version()
    assert facts["executable"] == sys.executable


def test_packages_are_those_that_can_be_imported() -> None:
    """The same as Python's own, slower way finds."""
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        name = package.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        found.setdefault(name, package.version)
    assert packages(sys.path) == dict(sorted(found.items()))
    assert environment()["packages"] == packages(sys.path)


@pytest.mark.parametrize(
    ("entry", "package"),
    [
        ("numpy-2.1.0.dist-info", {"numpy": "2.1.0"}),
        ("Ruamel.Yaml_Clib-0.2.dist-info", {"ruamel-yaml-clib": "0.2"}),
        ("torch-2.5.1+cu124.dist-info", {"torch": "2.5.1+cu124"}),
        ("old-name-1.0.egg-info", {"old-name": "1.0"}),
        ("egg-1.0-py3.11.egg-info", {"egg": "1.0"}),
        ("~umpy-1.0.dist-info", {}),
        ("unknown.egg-info", {}),
        ("numpy", {}),
        ("numpy-2.1.0.dist-info.bak", {}),
    ],
)
def test_a_folder_tells_name_and_version(
    tmp_path: Path, entry: str, package: dict[str, str]
) -> None:
    (tmp_path / entry).mkdir()
    assert packages([str(tmp_path)]) == package


def test_a_folder_without_a_version_tells_it_inside(tmp_path: Path) -> None:
    info = tmp_path / "mine.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.2\n")
    assert packages([str(tmp_path)]) == {"mine": "1.2"}


def test_of_two_versions_the_imported_one_counts(tmp_path: Path) -> None:
    for folder, version in (("first", "2"), ("second", "1")):
        (tmp_path / folder / f"a-{version}.dist-info").mkdir(parents=True)
    path = [str(tmp_path / name) for name in ("first", "second", "first", "missing")]
    assert packages(path) == {"a": "2"}


def test_packages_of_the_current_folder_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-1.dist-info").mkdir()
    monkeypatch.chdir(tmp_path)
    assert packages([""]) == {"a": "1"}


PRINT = f"""
import sys
sys.path.insert(0, {str(REPO)!r})
from mlog.run.machine import environment
print(environment().get("script"))
"""


def test_script_is_the_programs_file(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(PRINT)
    assert run_python(script).stdout == f"{script}\n"


def test_script_is_known_in_another_folder(tmp_path: Path) -> None:
    """A program may be started by a relative name and go elsewhere."""
    script = tmp_path / "train.py"
    script.write_text(f"import os; os.chdir('/')\n{PRINT}")
    assert run_python(Path("train.py"), cwd=tmp_path).stdout == f"{script}\n"


def test_script_is_the_one_a_profiler_runs(tmp_path: Path) -> None:
    script, profiler = tmp_path / "train.py", tmp_path / "profiler.py"
    script.touch()
    profiler.write_text(f"import sys; sys.argv = sys.argv[1:]\n{PRINT}")
    assert run_python(profiler, str(script)).stdout == f"{script}\n"


def test_text_on_the_command_line_has_no_script(tmp_path: Path) -> None:
    assert run_python(PRINT, cwd=tmp_path).stdout == "None\n"


def test_script_of_a_module_is_its_file(tmp_path: Path) -> None:
    main = tmp_path / "trainer" / "__main__.py"
    main.parent.mkdir()
    main.write_text(PRINT)
    done = subprocess.run(
        [sys.executable, "-m", "trainer"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.decode() == f"{main}\n"


def test_a_notebook_has_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = tmp_path / "ipykernel_launcher.py"
    launcher.touch()
    monkeypatch.setattr(sys, "argv", [str(launcher), "-f", "kernel.json"])
    assert "script" not in environment()
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    monkeypatch.setattr(sys, "argv", [])
    assert "script" not in environment()


def test_user_is_the_one_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    assert environment()["user"] == "somebody"


def test_no_variables_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "a-secret-value")
    assert "a-secret-value" not in repr(environment())


# --- the machine ---------------------------------------------------------------------


def test_this_machine_is_told() -> None:
    facts = environment()
    assert facts["platform"].startswith(platform.system())
    assert 0 < facts["cpu"]["count"] <= (os.cpu_count() or 0)
    assert facts["ram_bytes"] > 1 << 26


@linux
def test_processors_that_may_not_be_used_do_not_count() -> None:
    code = """
import os
from mlog.run.machine import environment
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print(environment()["cpu"]["count"])
"""
    assert run_python(code).stdout == "1\n"


@linux
@pytest.mark.parametrize(
    ("files", "model"),
    [
        (
            {
                "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7763 \nflags: a\n"
            },
            "AMD EPYC 7763",
        ),
        (
            {
                "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108\n",
                "proc/device-tree/model": "Raspberry Pi 5\0",
            },
            "Raspberry Pi 5",
        ),
        ({"proc/cpuinfo": "model name\t:\nflags\t: a\n"}, platform.machine()),
        ({}, platform.machine()),
    ],
)
def test_processor_is_named(system: Make, files: dict[str, str], model: str) -> None:
    assert environment(system=system(files))["cpu"]["model"] == model


def test_gpus_are_named_in_their_order(system: Make) -> None:
    folder = "proc/driver/nvidia/gpus"
    text = "Model: \t\t NVIDIA {}\nIRQ:   \t\t 24\nGPU UUID: \t GPU-0\n"
    files = {
        f"{folder}/0000:40:00.0/information": text.format("A100-SXM4-40GB"),
        f"{folder}/0000:07:00.0/information": text.format("H100 PCIe"),
        f"{folder}/0000:99:00.0/other": "",
    }
    facts = environment(system=system(files))
    assert facts["gpu"] == ["NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB"]


def test_without_gpus_none_are_told(system: Make) -> None:
    assert "gpu" not in environment(system=system({}))


@linux
def test_distribution_is_named(system: Make) -> None:
    made = system({"etc/os-release": 'NAME="x"\nPRETTY_NAME="Debian GNU/Linux 12"\n'})
    name = os.uname()
    expected = f"Linux-{name.release}-{name.machine} (Debian GNU/Linux 12)"
    assert environment(system=made)["platform"] == expected


GIB = 1 << 30
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


@linux
@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "1073741824\n"}, GIB),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "max\n"}, None),
        ({"proc/self/cgroup": "0::/job/step\n", f"{V2}/job/memory.max": f"{GIB}"}, GIB),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                f"{V2}/job/memory.max": str(GIB),
                f"{V2}/job/step/memory.max": str(2 * GIB),
            },
            GIB,
        ),
        ({"proc/self/cgroup": "0::/../x\n", f"{V2}/memory.max": str(GIB)}, GIB),
        (
            {
                "proc/self/cgroup": "4:cpu:/docker\n3:memory,x:/docker\n",
                f"{V1}/docker/memory.limit_in_bytes": str(GIB),
                f"{V1}/memory.limit_in_bytes": "9223372036854771712",
            },
            GIB,
        ),
        (
            {
                "proc/self/cgroup": "3:memory:/\n",
                f"{V1}/memory.limit_in_bytes": "9223372036854771712",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": str(1 << 59)}, None),
        ({"proc/self/cgroup": "nonsense\n\n"}, None),
    ],
)
def test_memory_is_what_may_be_used(
    system: Make, files: dict[str, str], limit: int | None
) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert environment(system=system(files))["ram_bytes"] == (limit or physical)


# --- how -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "name", "lost"),
    [
        (os, "sysconf", "ram_bytes"),
        (os, "uname", "platform"),
        (sys, "path", "packages"),
    ],
)
def test_a_fact_that_fails_costs_itself(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, lost: str
) -> None:
    usual = environment()

    def broken(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(where, name, broken)
    assert environment() == {key: usual[key] for key in usual if key != lost}


def test_a_user_without_a_name_is_a_number() -> None:
    code = """
import getpass, os, pwd  # another user may not be able to
from mlog.run.machine import environment
os.setuid(54321)
print(environment().get("user"))
"""
    if os.getuid() != 0:
        pytest.skip("only root can act as another user")
    nobody = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "")
    assert run_python(code, env=nobody).stdout == "54321\n"


def test_little_is_imported() -> None:
    code = """
import mlog.run.machine, sys
before = set(sys.modules)
mlog.run.machine.environment()
print(*sorted(set(sys.modules) - before))
"""
    loaded = run_python(code).stdout.split()
    assert set(loaded) <= {"getpass", "pwd", "termios"}


def test_a_hundred_packages_take_few_milliseconds(tmp_path: Path) -> None:
    for n in range(100):
        (tmp_path / f"package_{n}-1.{n}.dist-info").mkdir()
        (tmp_path / f"package_{n}").mkdir()
    sys.path.append(str(tmp_path))
    took = []
    try:
        for _ in range(10):
            start = time.perf_counter()
            assert len(environment()["packages"]) >= 100
            took.append(time.perf_counter() - start)
    finally:
        sys.path.remove(str(tmp_path))
    assert min(took) < 0.010
