"""What `mlog run` costs, against the same script run directly.

    python -m tests.bench.launch [--quick] [--json] [--dir DIR]

Run it in the project's folder with the test extra installed, on a machine that does
nothing else. Each repetition runs the script directly first and by `mlog run` right
after; the figure is the median of the repetitions, in brackets the least and the
greatest. Nothing here passes or fails: `over` beside a budget is for a person to judge.

- start: how much later the script's first line runs.
- end: how much later the command is back after the script's last line.
- through: a flood of lines of 100 bytes, written in pieces of 1 MiB and read by nobody
  in particular, through a pipe and through a terminal; bytes over the time from the
  first line to the end of the run. All of it is there as entries then.
- capturer: processor time of the supervisor meanwhile.
- latency: from just before a print to its line being in `logs.jsonl`, and on the
  terminal; 200 prints, 10 ms apart.

Options:
    --quick   A fifth of the flood and three repetitions: for a first look.
    --json    One JSON object per figure instead of the table.
    --dir     Where to write; default: the temporary folder. The file system matters.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measure import machine_text, percentile

_REPETITIONS, _MIB = 7, 100
_QUICK_REPETITIONS, _QUICK_MIB = 3, 20
_TICK = 0.0005

_CLOCK = "import time; print(time.time_ns(), flush=True)"

_FLOOD = """
import os, random, sys, time
rng = random.Random(7)
names = "loss accuracy lr grad_norm seconds samples epoch batch".split()
lines, size = [], 0
while size < 1 << 20:
    values = " ".join(f"{name}={rng.random():.4f}" for name in rng.sample(names, 5))
    lines.append(f"2026-11-27 19:{rng.randint(10, 59)}:00 INFO train: {values}"[:99])
    size += len(lines[-1]) + 1
block = "".join(f"{line}\\n" for line in lines).encode()
begun = time.time_ns()
for _ in range(int(sys.argv[1])):
    left = memoryview(block)
    while left:
        left = left[os.write(1, left):]
with open(sys.argv[2], "w") as file:
    file.write(f"{begun} {len(block)} {len(lines)}")
"""

_PRINTS = """
import time
for _ in range(200):
    print("sent", time.time_ns(), flush=True)
    time.sleep(0.01)
"""

_HEAD = ("figure", "", "(min..max)", "unit", "budget", "")


@dataclass
class Figure:
    """One line of the table."""

    unit: str
    budget: float | None = None
    at_least: bool = False
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of all repetitions."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """`ok` or `over`, where there is a budget."""
        if self.budget is None:
            return ""
        kept = (
            self.median >= self.budget if self.at_least else self.median <= self.budget
        )
        return "ok" if kept else "over"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; 0, whatever the figures are."""
    options = _parser().parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="mlog-bench-", dir=options.dir))
    repetitions = _QUICK_REPETITIONS if options.quick else _REPETITIONS
    mib = _QUICK_MIB if options.quick else _MIB
    try:
        if not options.json:
            print(machine_text(folder), _row(_HEAD), sep="\n", flush=True)
        bench = _Bench(folder, mib)
        for part in (bench.start, bench.flood, bench.terminal_flood, bench.latency):
            figures: dict[str, Figure] = {}
            part(figures)  # the first time warms the caches up
            figures.clear()
            for _ in range(repetitions):
                part(figures)
            for name, figure in figures.items():
                _show(name, figure, as_json=options.json)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


class _Bench:
    """The measurements; each adds one value to each of its figures."""

    def __init__(self, folder: Path, mib: int) -> None:
        self._source = folder / "source"
        self._root = folder / "root"
        self._note = folder / "note"
        self._mib = mib
        self._source.mkdir()
        for name, code in (
            ("clock.py", _CLOCK),
            ("flood.py", _FLOOD),
            ("prints.py", _PRINTS),
        ):
            (self._source / name).write_text(code)

    def start(self, figures: dict[str, Figure]) -> None:
        """Measure the way to the first line of a script, and from its last one."""
        direct, launched = self._times([]), self._times(["-m", "mlog", "run"])
        _add(figures, "start", "ms", (launched[0] - direct[0]) / 1e6, budget=250)
        _add(figures, "end", "ms", (launched[1] - direct[1]) / 1e6)
        self._clean_up()

    def flood(self, figures: dict[str, Figure]) -> None:
        """Measure a flood through a pipe."""
        nobody = subprocess.DEVNULL
        process = self._start_flood(stdin=nobody, stdout=nobody, stderr=nobody)
        seconds = self._capturer_seconds(process)
        _add(figures, "through a pipe", "MB/s", self._rate(), budget=100, at_least=True)
        share = seconds * 100e6 / (self._mib * 1_048_576)
        _add(figures, "capturer, of 100 MB", "s", share)
        self._clean_up()

    def terminal_flood(self, figures: dict[str, Figure]) -> None:
        """Measure a flood through a terminal that is read as fast as can be."""
        master, slave = os.openpty()
        process = self._start_flood(stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while os.read(master, 65_536):
                pass
        process.wait()
        os.close(master)
        _add(figures, "through a terminal", "MB/s", self._rate())
        self._clean_up()

    def latency(self, figures: dict[str, Figure]) -> None:
        """Measure how long a line takes to its entry and to the terminal."""
        master, slave = os.openpty()
        process = self._run("prints.py", stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        entries: list[float] = []
        thread = threading.Thread(target=self._follow, args=(process, entries))
        thread.start()
        shown: list[float] = []
        with contextlib.suppress(OSError):
            while data := os.read(master, 65_536):
                now = time.time_ns()
                shown += [now - sent for sent in _sent(data)]
        process.wait()
        thread.join()
        os.close(master)
        for name, taken in (("print to entry", entries), ("print to terminal", shown)):
            p95 = percentile(sorted(taken), 0.95) / 1e6
            _add(figures, f"{name}, p95", "ms", p95, budget=20)
        self._clean_up()

    # --- inside ----------------------------------------------------------------------

    def _times(self, launcher: list[str]) -> tuple[float, float]:
        """Return nanoseconds to a script's first line, and from there to the end."""
        begun = time.time_ns()
        done = subprocess.run(
            [sys.executable, *launcher, "clock.py"],
            cwd=self._source,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        first = int(done.stdout)
        return first - begun, time.time_ns() - first

    def _start_flood(self, **streams: int) -> "subprocess.Popen[bytes]":
        return self._run("flood.py", str(self._mib), str(self._note), **streams)

    def _run(self, *args: str, **streams: int) -> "subprocess.Popen[bytes]":
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "mlog", "run", *args],
            cwd=self._source,
            env=self._environment(),
            **streams,  # type: ignore[call-overload]
        )
        return process

    def _environment(self) -> dict[str, str]:
        left_out = ("MLOG", "PYTHONDONTWRITEBYTECODE")
        env = {k: v for k, v in os.environ.items() if not any(x in k for x in left_out)}
        path = str(Path(__file__).parents[2])
        return {
            **env,
            "MLOG_QUIET": "1",
            "MLOG_DIR": str(self._root),
            "PYTHONPATH": path,
        }

    def _folder(self) -> Path | None:
        return next(iter(self._root.glob("*/[0-9]*")), None)

    def _capturer_seconds(self, process: "subprocess.Popen[bytes]") -> float:
        """Wait for the end, and return the processor time of the supervisor."""
        ticks = 0
        while process.poll() is None:
            folder = self._folder()
            if folder is not None:
                ticks = max(ticks, _ticks(folder))
            time.sleep(0.01)
        return ticks / os.sysconf("SC_CLK_TCK")

    def _rate(self) -> float:
        """Return the bytes per second of a flood, having looked that all is there."""
        begun, block, lines = map(int, self._note.read_text().split())
        folder = self._folder()
        assert folder is not None
        found, ended = 0, ""
        for path in folder.glob("logs*.jsonl"):
            with path.open("rb") as file:
                found += sum(b'"logger":"stdout"' in line for line in file)
        for text in (folder / "events.jsonl").read_text().splitlines():
            if '"Finalizing"' in text:
                ended = json.loads(text)["ts"]
        assert found == lines * self._mib, f"{found} of {lines * self._mib} lines"
        return block * self._mib / ((_nanoseconds(ended) - begun) / 1e9) / 1e6

    def _follow(self, process: "subprocess.Popen[bytes]", taken: list[float]) -> None:
        """Note when each line is in the file."""
        offset = 0
        while process.poll() is None:
            folder = self._folder()
            with contextlib.suppress(OSError):
                if folder is not None and folder.is_dir():
                    with (folder / "logs.jsonl").open("rb") as file:
                        file.seek(offset)
                        data = file.read()
                    now = time.time_ns()
                    offset += len(data)
                    taken += [now - sent for sent in _sent(data)]
            time.sleep(_TICK)

    def _clean_up(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


def _ticks(folder: Path) -> int:
    """Return the processor time of a run's main writer so far; 0 where it is gone."""
    try:
        first = (folder / "events.jsonl").read_text().splitlines()[0]
        pid = json.loads(first)["data"]["pid"]
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError, IndexError):
        return 0
    return int(stat[11]) + int(stat[12])


def _sent(data: bytes) -> Iterator[int]:
    """Yield the times in whole lines such as `sent 1795809300123456789`."""
    yield from map(int, re.findall(rb"sent (\d{19})", data))


def _nanoseconds(ts: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(ts).timestamp() * 1e9)


def _add(
    figures: dict[str, Figure],
    name: str,
    unit: str,
    value: float,
    *,
    budget: float | None = None,
    at_least: bool = False,
) -> None:
    figures.setdefault(name, Figure(unit, budget, at_least)).values.append(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.launch")
    parser.add_argument("--quick", action="store_true", help="less, and fewer times")
    parser.add_argument("--json", action="store_true", help="one object per figure")
    parser.add_argument("--dir", help="where to write; default: the temporary folder")
    return parser


def _show(name: str, figure: Figure, *, as_json: bool) -> None:
    if as_json:
        facts = {"figure": name, "median": figure.median, "verdict": figure.verdict}
        print(json.dumps(facts | vars(figure)), flush=True)
        return
    spread = f"({_short(min(figure.values))}..{_short(max(figure.values))})"
    sign = "≥" if figure.at_least else "≤"
    budget = f"{sign} {figure.budget:g}" if figure.budget is not None else ""
    row = (name, _short(figure.median), spread, figure.unit, budget, figure.verdict)
    print(_row(row), flush=True)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _row(cells: Sequence[str]) -> str:
    name, median, spread, unit, budget, verdict = cells
    return f"{name:<24}{median:>7} {spread:<17} {unit:<6}{budget:<7}{verdict}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
