"""Ten million log lines: search, jump, tail, follow."""

import mmap
import shutil
import statistics
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlog
from mlog.layout import SegmentName
from mlog.reader.jumps import entries_by_time
from tests.bench.reading_table import (
    Setting,
    Table,
    command,
    environment,
    peak_megabytes,
    run_quietly,
    timed,
)

_LINE = (
    b'{"ts":"%s.%06dZ","seq":%d,"level":"%s","logger":"train.loop","msg":"batch %d of '
    b'epoch %d done","file":"train.py","line":42,"func":"main"}\n'
)
_RARE = b"Needle"


def log_lines(root: Path, count: int) -> Path:
    """Write a run with so many log lines, a thousand a second, all in one file."""
    with mlog.start_run("bench", dir=root) as run:
        mlog.getLogger("bench").info("begun")
    assert run.path is not None
    begin = datetime(2026, 11, 23, 18, tzinfo=UTC)
    with open(run.path / "logs.jsonl", "ab") as file:
        for second in range(count // 1000):
            ts = f"{begin + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}".encode()
            rows = [
                _LINE % (ts, i * 1000, second * 1000 + i + 10, b"INFO", i, second)
                for i in range(1000)
            ]
            if second % 100 == 0:
                rows[500] = (
                    rows[500].replace(b"batch", _RARE).replace(b"INFO", b"ERROR")
                )
            file.write(b"".join(rows))
    return run.path


def newlines(path: Path) -> int:
    """Count newlines."""
    count, at = 0, 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=1) as data:
        while (at := data.find(b"\n", at) + 1) > 0:
            count += 1
    return count


def grep(path: Path) -> bytes:
    """Count lines by grep; into a pipe, as it would stop early before /dev/null."""
    line = ["grep", "-c", "-F", _RARE.decode(), str(path)]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout


def measure_logs(setting: Setting, table: Table) -> None:
    """Search, jump and tail in a large run, and follow one that grows."""
    count = setting.number(10_000_000, 20_000)
    root = setting.root / "logs"
    run = log_lines(root, count)
    path = run / "logs.jsonl"
    middle = datetime(2026, 11, 23, 18, tzinfo=UTC) + timedelta(seconds=count // 2000)
    at = middle.timestamp()
    rare = _RARE.decode()
    found = timed(
        2 if not setting.quick else 1,
        {
            "newlines": lambda: newlines(path),
            "grep": lambda: grep(path),
            "search": lambda: run_quietly(command("tail", str(run), "--grep", rare)),
            "jump": lambda: entries_by_time(run, [SegmentName("logs")], at, at),
        },
    )
    table.head(f"{count:,} lines, {path.stat().st_size:,} bytes")
    table.row("newlines", found["newlines"])
    table.row("grep", found["grep"], of="newlines")
    table.row("mlog tail --grep, process", found["search"], of="grep", aim=2)
    table.row("jump to a time", found["jump"], aim=50)
    _measure_tail(setting, table, str(run), count)
    shutil.rmtree(root)
    _measure_following(setting, table)


def _measure_tail(setting: Setting, table: Table, run: str, count: int) -> None:
    tail = {"tail": lambda: run_quietly(command("tail", run, "-n", "50"))}
    table.row("tail, process", timed(setting.repetitions, tail)["tail"], aim=120)
    many = min(count // 2, 200_000)
    line = command("tail", run, "-n", str(many))
    few = timed(1, {"tail": lambda: run_quietly(command("tail", run, "-n", "1"))})
    seconds = timed(1, {"tail": lambda: run_quietly(line)})["tail"] - few["tail"]
    rate = many / max(seconds, 1e-9)
    table.row("tail, lines a second", rate, unit="/s", aim=80_000, least=True)
    for name in ("tail", "show", "verify"):
        peak = peak_megabytes(name, run)
        table.row(f"memory, {name}", peak, unit="MB", aim=200)


def _measure_following(setting: Setting, table: Table) -> None:
    """How long a line takes from the call to the screen, and what waiting costs."""
    root = setting.root / "live"
    lines = setting.number(200, 10)
    with mlog.start_run("bench", dir=root) as run:
        log = mlog.getLogger("bench")
        log.info("begun")
        follower = subprocess.Popen(
            command("tail", "-f", str(run.path)),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert follower.stdout is not None
        try:
            while b"begun" not in follower.stdout.readline():
                pass
            taken = []
            for number in range(lines):
                begin = time.perf_counter()
                log.info("line %d.", number)
                while b"line %d." % number not in follower.stdout.readline():
                    pass
                taken.append(time.perf_counter() - begin)
                time.sleep(0.02)
            before, begin = _cpu(follower.pid), time.perf_counter()
            time.sleep(setting.number(3, 1))
            share = (_cpu(follower.pid) - before) / (time.perf_counter() - begin)
        finally:
            follower.terminate()
            follower.wait()
            follower.stdout.close()
    table.head(f"{lines} lines followed")
    table.row("tail -f, median", statistics.median(taken))
    table.row("tail -f, p95", sorted(taken)[int(lines * 0.95)], aim=60)
    table.row("tail -f, idle, of a core", share * 100, unit="%", aim=2)
    shutil.rmtree(root)


def _cpu(pid: int) -> float:
    """Return the seconds of processor time a process has taken."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / 100
