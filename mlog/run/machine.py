"""What a run was computed with: Python, packages, processors, memory, user, script.

Read from files of the system, so nothing is started and next to nothing imported. Of
the environment's variables only the user's name is ever taken.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["environment", "hardware", "packages"]

_MAX_FILE = 65_536
_NO_LIMIT = 1 << 60  # cgroup v1 says "unlimited" by a number near 2**63
_INSTALLED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)"
    r"(?:-(?P<version>[^-]+)(?:-py[0-9.]+)?)?\.(?:dist|egg)-info"
)
_LAUNCHERS = frozenset(("ipykernel_launcher", "colab_kernel_launcher"))


def environment(*, system: str = os.sep) -> dict[str, Any]:
    """Return the facts about this process and its machine. Never raises.

    Takes some milliseconds: most of it goes into listing the folders of `sys.path`.

    Args:
        system: The folder that `proc`, `sys` and `etc` lie in.

    Returns:
        `python`, `executable`, `script` (absolute; absent in a notebook), `platform`,
        `packages` (name to version), `cpu` (`count` this process may use, `model`),
        `gpu` (model names), `ram_bytes` this process may use, `user`. What cannot be
        found out is absent.
    """
    facts: dict[str, Callable[[], Any]] = {
        "python": lambda: sys.version.split()[0],
        "executable": lambda: sys.executable,
        "script": _script,
        "platform": lambda: _platform(system),
        "packages": lambda: packages(sys.path),
    }
    return _known(facts) | hardware(system=system) | _known({"user": _user})


def hardware(*, system: str = os.sep) -> dict[str, Any]:
    """Return `cpu`, `gpu` and `ram_bytes` as `environment` does, and at once."""
    return _known(
        {
            "cpu": lambda: _cpu(system),
            "gpu": lambda: _gpus(system),
            "ram_bytes": lambda: _ram(system),
        }
    )


def _known(facts: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    known = {name: _attempt(find) for name, find in facts.items()}
    return {name: fact for name, fact in known.items() if fact}


def _attempt(find: Callable[[], Any]) -> Any:
    """Return a fact; None where finding it out fails, in whatever way."""
    try:
        return find()
    except Exception:  # facts of foreign systems: no one is worth a run
        return None


# --- the program ---------------------------------------------------------------------


def packages(path: Iterable[str]) -> dict[str, str]:
    """Return the installed packages as `pip` names them, with their versions, sorted.

    Told from the names of their folders; of two versions the one that is imported
    counts.

    Args:
        path: Folders as in `sys.path`.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(path):
        for name, version in _installed_in(folder or os.curdir):
            found.setdefault(name, version)
    return dict(sorted(found.items()))


def _installed_in(folder: str) -> Iterator[tuple[str, str]]:
    try:
        entries = os.listdir(folder)
    except OSError:  # a ZIP file, or not there
        return
    for entry in entries:
        match = _INSTALLED.fullmatch(entry) if entry.endswith("-info") else None
        if match is None:  # also what pip leaves behind: `~ame-1.0.dist-info`
            continue
        version = match["version"] or _version_in(os.path.join(folder, entry))
        if version:
            yield re.sub(r"[-_.]+", "-", match["name"]).lower(), version


def _version_in(info: str) -> str:
    """Return the version that an `.egg-info` without one in its name tells."""
    text = _read(os.path.join(info, "PKG-INFO"))
    match = re.search(r"^Version: *(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _script() -> str | None:
    """Return the program's file; None in a notebook, a shell or `python -c`."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if not main:
        return None
    # Whoever runs another script (a profiler, a debugger) puts its name there.
    first = os.path.abspath(sys.argv[0]) if getattr(sys, "argv", None) else ""
    found = first if os.path.isfile(first) else os.path.abspath(main)
    name = os.path.splitext(os.path.basename(found))[0]
    return None if name in _LAUNCHERS else found


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except Exception:  # a container's uid without a name; the kinds differ by version
        return str(os.getuid())


# --- the machine ---------------------------------------------------------------------


def _read(path: str, size: int = _MAX_FILE) -> str:
    """Return the beginning of a file as text; "" where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return (file.read(size) or b"").decode("utf-8", "replace")
    except OSError:
        return ""


def _line(text: str, key: str) -> str:
    """Return what follows `key` and a colon or equals sign in one of the lines."""
    match = re.search(rf"^{key}[ \t]*[:=][ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    return match[1].strip('"') if match else ""


def _platform(system: str) -> str:
    if not hasattr(os, "uname"):
        import platform  # on Windows only: slower, and as fast as it gets there

        return platform.platform()
    name = os.uname()
    text = f"{name.sysname}-{name.release}-{name.machine}"
    product = _line(_read(os.path.join(system, "etc", "os-release")), "PRETTY_NAME")
    return f"{text} ({product})" if product else text


def _cpu(system: str) -> dict[str, Any]:
    facts = {"count": _cpu_count(), "model": _attempt(lambda: _cpu_model(system))}
    return {name: fact for name, fact in facts.items() if fact}


def _cpu_count() -> int | None:
    """Return how many processors this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        count: int | None = os.process_cpu_count()
        return count
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _cpu_model(system: str) -> str:
    if sys.platform == "win32":
        import winreg

        place = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string").rstrip(b"\0").decode()
    # The first processor's part is enough; the whole file takes long with hundreds.
    text = _read(os.path.join(system, "proc", "cpuinfo"), 4_096)
    # Boards with ARM name themselves elsewhere.
    board = _read(os.path.join(system, "proc", "device-tree", "model"))
    return _line(text, "model name") or board.rstrip("\0\n") or os.uname().machine


def _gpus(system: str) -> list[str]:
    """Return the models of NVIDIA's GPUs, in the order of their bus addresses."""
    folder = os.path.join(system, "proc", "driver", "nvidia", "gpus")
    places = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    texts = [_read(os.path.join(folder, place, "information")) for place in places]
    return [model for text in texts if (model := _line(text, "Model"))]


def _ram(system: str) -> int | None:
    limits = [limit for limit in (_physical_ram(), _cgroup_limit(system)) if limit]
    return min(limits, default=None)


def ram_bytes() -> int | None:
    """Return how many bytes of memory this process may use; None: not known."""
    found: int | None = _attempt(lambda: _ram(os.sep))
    return found


def _physical_ram() -> int | None:
    """Return the bytes of memory of the machine."""
    if sys.platform == "win32":
        return _windows_ram()
    if sys.platform == "darwin":
        return int.from_bytes(_sysctl("hw.memsize"), sys.byteorder)
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return size if size > 0 else None


def _cgroup_limit(system: str) -> int | None:
    """Return the least memory limit of this process's control groups.

    Source: cgroups(7); Linux, Documentation/admin-guide/cgroup-v2.rst (memory.max) and
    cgroup-v1/memory.rst (memory.limit_in_bytes).
    """
    limits = []
    for line in _read(os.path.join(system, "proc", "self", "cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            mount, name = "", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = "memory", "memory.limit_in_bytes"
        else:
            continue
        top = os.path.join(system, "sys", "fs", "cgroup", mount)
        limits += [_read(path).strip() for path in _upward(top, group, name)]
    numbers = [int(limit) for limit in limits if limit.isdecimal()]
    return min((number for number in numbers if 0 < number < _NO_LIMIT), default=None)


def _upward(top: str, group: str, name: str) -> Iterator[str]:
    """Yield the files of a name in a control group and those above it."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        yield os.path.join(top, *parts[:depth], name)


def _sysctl(name: str) -> bytes:
    """Return a value of macOS's kernel."""
    import ctypes

    ask = ctypes.CDLL(None).sysctlbyname
    size = ctypes.c_size_t(0)
    if ask(name.encode(), None, ctypes.byref(size), None, 0) != 0:
        return b""
    value = ctypes.create_string_buffer(size.value)
    if ask(name.encode(), value, ctypes.byref(size), None, 0) != 0:
        return b""
    return value.raw[: size.value]


def _windows_ram() -> int | None:
    """Return the physical memory that Windows tells in whole KiB."""
    import ctypes

    kibibytes = ctypes.c_ulonglong(0)
    kernel: Any = getattr(ctypes, "windll", None)
    if not kernel.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kibibytes)):
        return None
    return kibibytes.value * 1_024
