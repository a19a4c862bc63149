"""What the machine is doing while a run goes on: `system/…` metrics every few seconds.

Read on the keeper's thread, through psutil and, for NVIDIA's GPUs, nvidia-ml-py. A
sensor that fails is not asked again; its metrics are absent then. Memory and processors
are measured against what the process may use: the limits of its control group, where
there are some, and the processors it is bound to.

The only file that imports psutil and pynvml.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mlog.errors import warn_once
from mlog.run.machine import ram_bytes

__all__ = ["SystemWatch", "allowed_cpus", "interval_of", "sensors"]

Sensor = Callable[[float], dict[str, float]]
"""Returns metrics by name; told the seconds since it was last asked, 0.0 at first."""

_INTERVAL = 15.0
_LEAST = 1.0
_TREE_EVERY = 60.0
"""Seconds after which it is looked which processes there are: all have to be asked."""

_INSTALL = 'pip install "mlog-runs[system]"'


def interval_of(system: bool | float) -> float | None:
    """Return the seconds between two readings that `start_run(system=…)` asks for.

    Raises:
        ValueError: It is no number of seconds from 1 on.
    """
    if system is False or system is None:
        return None
    if system is True:
        return _INTERVAL
    if not isinstance(system, int | float) or not system >= _LEAST:
        raise ValueError(
            f"system must be True, False or seconds >= {_LEAST:g}, got {system!r}"
        )
    return float(system)


class SystemWatch:
    """Reads all sensors now and then, and hands their metrics on. Never raises."""

    def __init__(
        self,
        record: Callable[[dict[str, float]], None],
        interval: float,
        find: Callable[[], list[Sensor]],
    ) -> None:
        """Prepare; the first round finds the sensors and reads them.

        Args:
            record: Takes the metrics of one reading.
            interval: Seconds between two readings.
            find: Returns the sensors; see `sensors`.
        """
        self._record = record
        self._interval = interval
        self._find = find
        self._sensors: list[Sensor] | None = None
        self._last: float | None = None

    def keep(self, now: float) -> None:
        """Read, if it is time; called by the keeper with monotonic seconds."""
        if self._last is not None and now - self._last < self._interval:
            return
        since = 0.0 if self._last is None else now - self._last
        self._last = now
        if metrics := self.read(since):
            self._record(metrics)

    def read(self, since: float) -> dict[str, float]:
        """Return what the sensors say; those that fail are left out from now on."""
        metrics: dict[str, float] = {}
        if self._sensors is None:
            self._sensors = self._find()
        for sensor in list(self._sensors):
            try:
                metrics |= sensor(since)
            except Exception:  # a container, a foreign system, a driver gone
                self._sensors.remove(sensor)
        return {f"system/{name}": value for name, value in metrics.items()}

    def park(self) -> None:
        """Nothing to do around a fork; the child watches nothing."""

    def close(self) -> None:
        """Read no more."""
        self._sensors = []


def sensors(folder: str) -> list[Sensor]:
    """Return what can be read here; without psutil nothing but GPUs, with one warning.

    Args:
        folder: Whose disk is watched.
    """
    return [*_machine(folder), *_gpus()]


def _machine(folder: str) -> list[Sensor]:
    try:
        import psutil
    except ImportError:
        text = f"system metrics need psutil, which is not installed: {_INSTALL}"
        warn_once("psutil", text)
        return []
    return [
        _Cpu(psutil),
        _Memory(psutil),
        _Rates(psutil.disk_io_counters, "disk", ("read_bytes", "write_bytes")),
        _Rates(psutil.net_io_counters, "network", ("bytes_recv", "bytes_sent")),
        _Disk(psutil, folder),
        _Processes(psutil),
    ]


class _Cpu:
    """Load of all processors, of 100."""

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        psutil.cpu_percent(None)  # from here on

    def __call__(self, since: float) -> dict[str, float]:
        percent = self._psutil.cpu_percent(None)
        return {"cpu/percent": percent} if since else {}


class _Memory:
    """Memory in use by the machine, or by the control group where that has a limit."""

    def __init__(self, psutil: Any, group: str = "/sys/fs/cgroup") -> None:
        self._psutil = psutil
        self._limit = ram_bytes()
        self._current = [
            os.path.join(group, "memory.current"),
            os.path.join(group, "memory", "memory.usage_in_bytes"),
        ]

    def __call__(self, since: float) -> dict[str, float]:
        memory = self._psutil.virtual_memory()
        used, total = memory.total - memory.available, memory.total
        if self._limit is not None and self._limit < total:
            total = self._limit
            used = next(self._of_group(), used)
        return {"memory/used_bytes": used, "memory/percent": 100 * used / total}

    def _of_group(self) -> Iterator[int]:
        for path in self._current:
            try:
                with open(path, encoding="ascii") as file:
                    yield int(file.read())
            except (OSError, ValueError):
                continue


class _Rates:
    """Growth of counters a second."""

    def __init__(
        self, read: Callable[[], Any], group: str, names: tuple[str, ...]
    ) -> None:
        self._read = read
        self._group = group
        self._names = names
        self._before: Any = None

    def __call__(self, since: float) -> dict[str, float]:
        before, self._before = self._before, self._read()
        if before is None or self._before is None or not since:
            return {}
        return {
            f"{self._group}/{name}_per_s": max(
                0.0, (getattr(self._before, name) - getattr(before, name)) / since
            )
            for name in self._names
        }


class _Disk:
    """Room on the disk that the run is on."""

    def __init__(self, psutil: Any, folder: str) -> None:
        self._usage = psutil.disk_usage
        self._folder = folder

    def __call__(self, since: float) -> dict[str, float]:
        usage = self._usage(self._folder)
        return {"disk/free_bytes": usage.free, "disk/percent": usage.percent}


class _Processes:
    """This process and all it has started.

    `cpu_percent` is 100 for one processor, `cpu_of_limit_percent` 100 for all that it
    may use.
    """

    def __init__(
        self, psutil: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._own = psutil.Process()
        self._allowed = allowed_cpus()
        self._gone = (psutil.NoSuchProcess, psutil.AccessDenied)
        self._children: dict[int, Any] = {}
        self._clock = clock
        self._looked = -_TREE_EVERY
        self._own.cpu_percent(None)

    def __call__(self, since: float) -> dict[str, float]:
        if self._clock() - self._looked >= _TREE_EVERY:
            self._look()
        found = list(filter(None, map(self._of, [self._own, *self._children.values()])))
        sums = [sum(column) for column in zip(*found, strict=True)]
        names = ("cpu_percent", "rss_bytes", "threads")
        metrics = {f"process/{n}": value for n, value in zip(names, sums, strict=True)}
        metrics["process/count"] = len(found)
        percent = metrics.pop("process/cpu_percent")
        if since:
            metrics["process/cpu_percent"] = percent
            metrics["process/cpu_of_limit_percent"] = percent / self._allowed
        return metrics

    def _look(self) -> None:
        self._looked = self._clock()
        there = {child.pid: child for child in self._own.children(recursive=True)}
        self._children = {
            pid: self._children.get(pid, child) for pid, child in there.items()
        }

    def _of(self, process: Any) -> tuple[float, float, float] | None:
        try:
            with process.oneshot():
                memory = process.memory_info().rss
                return process.cpu_percent(None), memory, process.num_threads()
        except self._gone:
            return None


def allowed_cpus(group: str = "/sys/fs/cgroup") -> float:
    """Return how many processors this process may use: a quota may be a part of one.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
    scheduler/sched-bwc.rst (cpu.cfs_quota_us).
    """
    if hasattr(os, "sched_getaffinity"):
        count = float(len(os.sched_getaffinity(0)))
    else:
        count = float(os.cpu_count() or 1)
    quota = _numbers_in(os.path.join(group, "cpu.max"))
    for folder in ("cpu", "cpu,cpuacct"):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        paths = [os.path.join(group, folder, name) for name in names]
        quota = quota or [number for path in paths for number in _numbers_in(path)]
    if len(quota) == 2 and quota[0] > 0 and quota[1] > 0:
        count = min(count, quota[0] / quota[1])
    return count


def _numbers_in(path: str) -> list[float]:
    """Return the numbers in a file of the kernel; none where there is no limit."""
    try:
        with open(path, encoding="ascii") as file:
            return [float(word) for word in file.read().split()]
    except (OSError, ValueError):  # "max 100000"
        return []


# --- GPUs ----------------------------------------------------------------------------


class _Reading(NamedTuple):
    """A metric of a GPU: its name, and how it is asked."""

    name: str
    ask: Callable[[Any, Any], float]


_OF_A_GPU = (
    _Reading("percent", lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
    _Reading("memory_used_bytes", lambda nvml, gpu: _gpu_memory(nvml, gpu).used),
    _Reading(
        "memory_percent",
        lambda nvml, gpu: (
            100 * _gpu_memory(nvml, gpu).used / _gpu_memory(nvml, gpu).total
        ),
    ),
    _Reading("celsius", lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, 0)),
    _Reading("watts", lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1_000),
)


def _gpu_memory(nvml: Any, gpu: Any) -> Any:
    return nvml.nvmlDeviceGetMemoryInfo(gpu)


def _gpus() -> list[Sensor]:
    """Return a sensor for each reading of each NVIDIA GPU."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except Exception:  # no such library, driver or GPU
        return []
    return [
        _gpu_sensor(pynvml, index, reading)
        for index in range(count)
        for reading in _OF_A_GPU
    ]


def _gpu_sensor(nvml: Any, index: int, reading: _Reading) -> Sensor:
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)

    def sensor(since: float) -> dict[str, float]:
        return {f"gpu/{index}/{reading.name}": reading.ask(nvml, gpu)}

    return sensor
