"""System metrics: what is read, how often, and what becomes of sensors that fail."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import mlog
from mlog.errors import MlogWarning
from mlog.run import system
from mlog.run.system import SystemWatch, interval_of, sensors


def watch(*found: Callable[[float], dict[str, float]]) -> tuple[SystemWatch, list[Any]]:
    told: list[Any] = []
    return SystemWatch(told.append, 15.0, lambda: list(found)), told


class TestWhen:
    def test_it_reads_at_once_and_then_every_interval(self) -> None:
        asked: list[float] = []

        def sensor(since: float) -> dict[str, float]:
            asked.append(since)
            return {"a": 1.0}

        made, told = watch(sensor)
        for now in (100.0, 101.0, 114.9, 115.0, 131.0):
            made.keep(now)
        assert asked == [0.0, 15.0, 16.0]
        assert told == [{"system/a": 1.0}] * 3

    def test_nothing_to_tell_is_no_entry(self) -> None:
        made, told = watch(lambda since: {})
        made.keep(0.0)
        assert told == []

    def test_after_the_end_nothing_is_read(self) -> None:
        made, told = watch(lambda since: {"a": 1.0})
        made.keep(0.0)
        made.close()
        made.keep(100.0)
        assert len(told) == 1

    @pytest.mark.parametrize(
        ("given", "seconds"), [(False, None), (True, 15.0), (1, 1.0), (2.5, 2.5)]
    )
    def test_how_often_is_said_by_start_run(self, given: Any, seconds: Any) -> None:
        assert interval_of(given) == seconds

    @pytest.mark.parametrize("given", [0, 0.5, -1, "often", float("nan")])
    def test_less_than_a_second_is_refused(self, given: Any) -> None:
        with pytest.raises(ValueError, match="True, False or seconds >= 1, got"):
            interval_of(given)


class TestSensors:
    def test_one_that_fails_is_left_out_from_then_on(self) -> None:
        calls: list[int] = []

        def broken(since: float) -> dict[str, float]:
            calls.append(1)
            raise OSError("no such device")

        made, told = watch(broken, lambda since: {"b": 2.0})
        made.keep(0.0)
        made.keep(20.0)
        assert len(calls) == 1
        assert told == [{"system/b": 2.0}] * 2

    def test_what_this_machine_says(self, tmp_path: Path) -> None:
        pytest.importorskip("psutil")
        made = SystemWatch(lambda metrics: None, 15.0, lambda: sensors(str(tmp_path)))
        first, second = made.read(0.0), made.read(15.0)
        assert 0 < second["system/memory/percent"] <= 100
        assert second["system/disk/free_bytes"] > 0
        assert second["system/process/rss_bytes"] > 1_000_000
        assert second["system/process/count"] >= 1
        assert 0 <= second["system/cpu/percent"] <= 100
        rates = {name for name in second if name.endswith("_per_s")}
        assert rates.isdisjoint(first), "there is no rate before the second reading"
        assert all(second[name] >= 0 for name in rates)

    def test_processes_that_were_started_count(self, tmp_path: Path) -> None:
        psutil = pytest.importorskip("psutil")
        import subprocess

        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
        )
        try:
            found = system._Processes(psutil)(0.0)
        finally:
            child.communicate(b"\n")
        assert found["process/count"] >= 2

    def test_memory_is_that_of_the_control_group_where_it_has_a_limit(
        self, tmp_path: Path
    ) -> None:
        psutil = pytest.importorskip("psutil")
        (tmp_path / "memory.current").write_text("300\n")
        sensor = system._Memory(psutil, str(tmp_path))
        sensor._limit = 1_000
        assert sensor(0.0) == {"memory/used_bytes": 300, "memory/percent": 30.0}

    @pytest.mark.parametrize(
        ("files", "most"),
        [
            ({"cpu.max": "50000 100000\n"}, 0.5),
            ({"cpu.max": "max 100000\n"}, None),
            (
                {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"},
                0.25,
            ),
            ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
            ({"cpu.max": "900000000 100000\n"}, None),
            ({}, None),
        ],
    )
    def test_processors_are_those_that_may_be_used(
        self, tmp_path: Path, files: dict[str, str], most: float | None
    ) -> None:
        """By the control group's quota, and by what the process is bound to."""
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        bound = len(os.sched_getaffinity(0)) if sys.platform == "linux" else None
        found = system.allowed_cpus(str(tmp_path))
        assert found == (most if most is not None else bound or os.cpu_count())

    def test_gpus_are_asked_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stand-in for NVIDIA's library, as the machines of the tests have no GPU."""
        fake = ModuleType("pynvml")

        def no_power(gpu: int) -> float:
            raise RuntimeError("not supported")

        vars(fake).update(
            nvmlInit=lambda: None,
            nvmlDeviceGetCount=lambda: 2,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=50 + gpu),
            nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=1, total=4),
            nvmlDeviceGetTemperature=lambda gpu, kind: 60,
            nvmlDeviceGetPowerUsage=no_power,
        )
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        made = SystemWatch(lambda metrics: None, 15.0, system._gpus)
        found = made.read(0.0)
        assert found["system/gpu/1/percent"] == 51
        assert found["system/gpu/0/memory_percent"] == 25
        assert found["system/gpu/0/celsius"] == 60
        assert "system/gpu/0/watts" not in found

    def test_without_psutil_there_is_one_warning(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "psutil", None)
        with pytest.warns(MlogWarning, match=r"pip install \"mlog-runs\[system\]\""):
            assert system._machine("/") == []


class TestInARun:
    def test_it_is_recorded_until_the_end(self) -> None:
        pytest.importorskip("psutil")
        with mlog.start_run("e", system=True) as run:
            (watching,) = run._companions
            watching.keep(1e9)
            watching.keep(1e9 + 20)
        found = run.get_metrics()
        assert found["system/process/count"]
        assert "system/cpu/percent" in found
        watching.keep(2e9)
        assert run.get_metrics() == found

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_watches_nothing(self) -> None:
        with mlog.start_run("e", system=True) as run:
            child = os.fork()
            if child == 0:
                os._exit(len(run._companions))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_a_wrong_interval_starts_no_run(self, run_dir: Path) -> None:
        with pytest.raises(ValueError, match="system must be"):
            mlog.start_run("e", system="often")  # type: ignore[arg-type]
        assert not list(run_dir.rglob("events.jsonl"))
