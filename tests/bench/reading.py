"""What reading costs: metrics, runs, log lines, ranks, queries, against references.

    python -m tests.bench.reading [--quick] [--only PART]… [--dir DIR]

Run it in the project's folder with the test extra installed, on a machine that does
nothing else. It writes runs (2 GB; --quick: some MB) and removes them again. Readers
and their reference take turns in this process: figures are medians of the repetitions,
a ratio is that of the medians. References are

    loop     `for line in file: orjson.loads(line)` over the same lines, keeping nothing
    kept     the same, keeping all values in one list
    duckdb   `read_json` with types over the same file, all points unnested
    newlines counting newlines by `mmap.find`
    grep     `grep -c -F` in a process of its own

Times are processor time, of this process and of those it starts, so that others on the
machine matter less; only following is measured by the clock. "process" is a whole `mlog`
command. Nothing here passes or fails: the aims are printed beside the figures.

Options:
    --quick   Small runs and few repetitions: for a first look.
    --only    metrics, runs, logs, ranks or query; may be given several times.
    --dir     Where to write; default: the temporary folder.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.reading_lines import measure_logs
from tests.bench.reading_points import measure_metrics, measure_query, measure_ranks
from tests.bench.reading_runs import measure_runs
from tests.bench.reading_table import Setting, Table

PARTS: dict[str, Callable[[Setting, Table], None]] = {
    "metrics": measure_metrics,
    "runs": measure_runs,
    "ranks": measure_ranks,
    "query": measure_query,
    "logs": measure_logs,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line; 0, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reading")
    parser.add_argument("--quick", action="store_true", help="small runs")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part")
    parser.add_argument("--dir", help="where to write; default: the temporary folder")
    options = parser.parse_args(argv)
    root = Path(tempfile.mkdtemp(prefix="mlog-bench-", dir=options.dir))
    setting = Setting(root, options.quick)
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {cores} cores, load {load:.1f}, {root}")
    try:
        for name in options.only or PARTS:
            PARTS[name](setting, Table(name))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
